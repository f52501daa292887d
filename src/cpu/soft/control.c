/* SPDX-License-Identifier: MIT */
/*
 * The registers that set the CPU's mode: control registers, EFER and XCR0,
 * debug registers, the AC flag; the mode word that the decoder and the
 * translator key on; reset (Intel SDM vol. 3 ch. 2, 9.1 and 17.2).
 */
#include "sys_int.h"

#define CR4_ALLOWED \
	(CR4_VME | CR4_PVI | CR4_TSD | CR4_DE | CR4_PSE | CR4_PAE | CR4_MCE | CR4_PGE | CR4_PCE | \
	 CR4_OSFXSR | CR4_OSXMMEXCPT | CR4_FSGSBASE | CR4_PCIDE | CR4_OSXSAVE | CR4_SMEP | \
	 CR4_SMAP)
/* Automatic IBRS may be set: nothing is speculated on the guest's behalf across privilege. */
#define EFER_ALLOWED (EFER_SCE | EFER_LME | EFER_LMA | EFER_NXE | EFER_AIBRSE)

static bool flat_seg(const struct x86_seg *sg)
{
	return !sg->base && sg->limit == 0xffffffffu && !(sg->attr & SA_UNUSABLE) &&
	       (sg->attr & (SA_CODE | SA_DC | SA_RW)) == SA_RW;
}

static bool bp_armed(const struct soft *s)
{
	return (s->dr[7] & 0xff) != 0;
}

void soft_update_mode(struct soft *s)
{
	const struct x86_seg *cs = &s->seg[SEG_CS];
	uint32_t m = s->mode & MODE_A20_OFF;
	bool lma = soft_lma(s);

	if (s->cr0 & CR0_PE)
		m |= MODE_PE;
	if (s->eflags & FL_VM)
		m |= MODE_VM86;
	if (lma)
		m |= MODE_LMA;
	if (lma && cs->attr & SA_L)
		m |= MODE_CS64 | MODE_SS32 | MODE_FLAT;
	else if (cs->attr & SA_DB)
		m |= MODE_CS32;
	if (s->seg[SEG_SS].attr & SA_DB)
		m |= MODE_SS32;
	if (s->cpl == 3)
		m |= MODE_CPL3;
	if (s->eflags & FL_TF)
		m |= MODE_TF;
	if (flat_seg(&s->seg[SEG_ES]) && flat_seg(&s->seg[SEG_SS]) && flat_seg(&s->seg[SEG_DS]))
		m |= MODE_FLAT;
	if (bp_armed(s))
		m |= MODE_CODE_BP;
	if (s->cr0 & (CR0_EM | CR0_TS) || !(s->cr4 & CR4_OSFXSR))
		m |= MODE_FPU_OFF;
	if (s->cr0 & CR0_TS || !(s->cr4 & CR4_OSXSAVE) || (s->xcr0 & 6) != 6)
		m |= MODE_AVX_OFF;
	s->mode = m;
	soft_jit_new_mode(s);
	soft_tlb_select(s);
}

bool soft_set_cr0(struct soft *s, uint64_t v)
{
	uint64_t old = s->cr0, diff;

	v = (v & (CR0_PE | CR0_MP | CR0_EM | CR0_TS | CR0_NE | CR0_WP | CR0_AM | CR0_NW | CR0_CD |
		  CR0_PG)) | CR0_ET;
	if ((v & CR0_PG && !(v & CR0_PE)) || (v & CR0_NW && !(v & CR0_CD)))
		return false;
	diff = v ^ old;
	if (diff & v & CR0_PG && s->efer & EFER_LME) {
		if (!(s->cr4 & CR4_PAE) || s->seg[SEG_CS].attr & SA_L)
			return false;
	} else if (v & CR0_PG && s->cr4 & CR4_PAE && !(s->efer & EFER_LME) &&
		   diff & (CR0_PG | CR0_CD | CR0_NW)) {
		if (!soft_mmu_load_pdptes(s, s->cr3))
			return false;
	}
	if (diff & CR0_PG && !(v & CR0_PG) && (s->mode & MODE_CS64 || s->cr4 & CR4_PCIDE))
		return false;
	s->cr0 = v;
	if (v & CR0_PG && s->efer & EFER_LME)
		s->efer |= EFER_LMA;
	else
		s->efer &= ~EFER_LMA;
	if (diff & CR0_PE && !(v & CR0_PE))
		s->cpl = 0;
	if (diff & (CR0_PG | CR0_WP | CR0_PE))
		soft_tlb_flush(s, false);
	soft_update_mode(s);
	return true;
}

bool soft_set_cr3(struct soft *s, uint64_t v)
{
	bool pcids = s->cr4 & CR4_PCIDE, keep = pcids && v >> 63;

	if (pcids)
		v &= ~(1ull << 63);
	if (soft_lma(s) && v >> PHYS_BITS)
		return false;
	if (!soft_lma(s))
		v = (uint32_t)v;
	if (s->cr0 & CR0_PG && s->cr4 & CR4_PAE && !soft_lma(s) && !soft_mmu_load_pdptes(s, v))
		return false;
	s->cr3 = v;
	soft_tlb_load_pcid(s, pcids ? v & 0xfff : 0, keep);
	return true;
}

bool soft_set_cr4(struct soft *s, uint64_t v)
{
	uint64_t diff = v ^ s->cr4;

	if (v & ~CR4_ALLOWED || (v & CR4_OSXSAVE && !soft_has_feat(F_XSAVE)))
		return false;
	if (soft_lma(s) && !(v & CR4_PAE))
		return false;
	if (diff & v & CR4_PCIDE && (!soft_lma(s) || s->cr3 & 0xfff))
		return false;
	if (s->cr0 & CR0_PG && !soft_lma(s) && v & CR4_PAE &&
	    diff & (CR4_PAE | CR4_PGE | CR4_PSE | CR4_SMEP) && !soft_mmu_load_pdptes(s, s->cr3))
		return false;
	s->cr4 = v;
	if (diff & (CR4_PAE | CR4_PGE | CR4_PSE | CR4_SMEP | CR4_SMAP | CR4_PCIDE))
		soft_tlb_flush(s, false);
	soft_update_mode(s);
	return true;
}

bool soft_set_efer(struct soft *s, uint64_t v)
{
	if (v & ~EFER_ALLOWED)
		return false;
	if ((v ^ s->efer) & EFER_LME && s->cr0 & CR0_PG)
		return false;
	v = (v & ~EFER_LMA) | (s->efer & EFER_LMA);
	if ((v ^ s->efer) & EFER_NXE)
		soft_tlb_flush(s, false);
	s->efer = v;
	soft_update_mode(s);
	return true;
}

const struct uop *op_mov_from_cr(struct soft *s, const struct uop *u)
{
	const struct apic *a = &s->vcpu->apic;
	uint64_t v;

	switch (u->reg) {
	case 0:
		v = s->cr0;
		break;
	case 2:
		v = s->cr2;
		break;
	case 3:
		v = s->cr3;
		break;
	case 4:
		v = s->cr4;
		break;
	case 8:
		v = 0;
		if (a->ops) {
			soft_dev_lock(s);
			v = a->ops->get_tpr(a->opaque) >> 4;
			soft_dev_unlock(s);
		}
		break;
	default:
		soft_fault(s, u, EXC_UD);
	}
	gpr_set(s, u->rm, soft_native_size(s), v);
	return u + 1;
}

static bool set_cr8(struct soft *s, uint64_t v)
{
	const struct apic *a = &s->vcpu->apic;

	if (v > 15)
		return false;
	if (a->ops) {
		soft_dev_lock(s);
		a->ops->set_tpr(a->opaque, (uint8_t)(v << 4));
		soft_dev_unlock(s);
		s->intr_latched = true;	/* a lower priority may let one through */
	}
	return true;
}

const struct uop *op_mov_to_cr(struct soft *s, const struct uop *u)
{
	uint64_t v = gpr_get(s, u->rm, soft_native_size(s));
	bool ok = true;

	switch (u->reg) {
	case 0:
		ok = !(v >> 32) && soft_set_cr0(s, v);
		break;
	case 2:
		s->cr2 = v;
		break;
	case 3:
		ok = soft_set_cr3(s, v);
		break;
	case 4:
		ok = soft_set_cr4(s, v);
		break;
	case 8:
		ok = set_cr8(s, v);
		break;
	default:
		soft_fault(s, u, EXC_UD);
	}
	if (!ok)
		soft_gp0(s, u);
	return uop_leave(s, u);
}

const struct uop *op_clts(struct soft *s, const struct uop *u)
{
	s->cr0 &= ~CR0_TS;
	soft_update_mode(s);
	return uop_leave(s, u);
}

const struct uop *op_smsw(struct soft *s, const struct uop *u)
{
	return uop_st_word(s, u, s->cr0);
}

const struct uop *op_lmsw(struct soft *s, const struct uop *u)
{
	uint16_t v = uop_ld_ew(s, u);
	uint64_t keep = s->cr0 & CR0_PE;	/* LMSW cannot clear PE */

	if (!soft_set_cr0(s, (s->cr0 & ~0xfull) | keep | (v & 0xf)))
		soft_gp0(s, u);
	return uop_leave(s, u);
}

static void check_osxsave(struct soft *s, const struct uop *u)
{
	if (!(s->cr4 & CR4_OSXSAVE))
		soft_fault(s, u, EXC_UD);
}

const struct uop *op_xgetbv(struct soft *s, const struct uop *u)
{
	uint64_t v = s->xcr0;

	check_osxsave(s, u);
	if ((uint32_t)s->gpr[R_RCX] == 1 && soft_has_feat(F_XGETBV1))
		v &= soft_xinuse(s);
	else if ((uint32_t)s->gpr[R_RCX])
		soft_gp0(s, u);
	s->gpr[R_RAX] = (uint32_t)v;
	s->gpr[R_RDX] = v >> 32;
	return u + 1;
}

const struct uop *op_xsetbv(struct soft *s, const struct uop *u)
{
	uint64_t v = (uint32_t)s->gpr[R_RAX] | s->gpr[R_RDX] << 32;

	check_osxsave(s, u);
	if ((uint32_t)s->gpr[R_RCX] || v & ~soft_xcr0_mask() || !(v & 1) || (v & 6) == 4)
		soft_gp0(s, u);
	s->xcr0 = v;
	soft_update_mode(s);
	return uop_leave(s, u);
}

const struct uop *op_stac(struct soft *s, const struct uop *u)
{
	if (s->cpl)
		soft_fault(s, u, EXC_UD);
	s->eflags |= FL_AC;
	soft_tlb_select(s);
	return u + 1;
}

const struct uop *op_clac(struct soft *s, const struct uop *u)
{
	if (s->cpl)
		soft_fault(s, u, EXC_UD);
	s->eflags &= ~FL_AC;
	soft_tlb_select(s);
	return u + 1;
}

static unsigned dr_number(struct soft *s, const struct uop *u)
{
	unsigned n = u->reg;

	if (n > 7 || ((n == 4 || n == 5) && s->cr4 & CR4_DE))
		soft_fault(s, u, EXC_UD);
	if (s->dr[7] & DR7_GD) {
		s->dr[6] |= DR6_BD;
		soft_fault(s, u, EXC_DB);
	}
	return n == 4 || n == 5 ? n + 2 : n;
}

const struct uop *op_mov_from_dr(struct soft *s, const struct uop *u)
{
	gpr_set(s, u->rm, soft_native_size(s), s->dr[dr_number(s, u)]);
	return u + 1;
}

const struct uop *op_mov_to_dr(struct soft *s, const struct uop *u)
{
	unsigned n = dr_number(s, u);
	uint64_t v = gpr_get(s, u->rm, soft_native_size(s));

	if (n >= 6 && v >> 32)
		soft_gp0(s, u);
	if (n == 6)
		v = (v & 0xe00f) | DR6_FIXED;
	else if (n == 7)
		v = (v & 0xffff23ffu) | 0x400;
	s->dr[n] = v;
	soft_update_mode(s);
	return uop_leave(s, u);
}

/* SDM vol. 3 table 9-1. */
void soft_sys_reset(struct soft *s, bool init_only)
{
	for (unsigned i = 0; i < SEG_NUM; i++)
		s->seg[i] = (struct x86_seg){ .limit = 0xffff, .attr = 0x93 };
	s->no_step = s->rf_loaded = s->ss_shadow = false;
	s->dr_hit = 0;
	s->seg[SEG_CS].sel = 0xf000;
	s->seg[SEG_CS].base = 0xffff0000u;
	s->seg[SEG_CS].attr = 0x9b;
	s->ldt = (struct x86_seg){ .limit = 0xffff, .attr = 0x82 };
	s->tr = (struct x86_seg){ .limit = 0xffff, .attr = 0x8b };
	s->gdt = s->idt = (struct x86_dtable){ .limit = 0xffff };
	s->cr0 = CR0_ET | (init_only ? s->cr0 & (CR0_CD | CR0_NW) : CR0_CD | CR0_NW);
	s->cr2 = s->cr3 = s->cr4 = s->efer = 0;
	s->cpl = 0;
	memset(s->dr, 0, sizeof(s->dr));
	s->dr[6] = DR6_FIXED;
	s->dr[7] = 0x400;
	if (init_only)
		return;
	s->kernel_gs_base = 0;
	soft_tlb_flush(s, false);
	s->xcr0 = 1;
	s->pat = 0x0007040600070406ull;
	s->misc_enable = 1;
	s->tsc_aux = s->tsc_adjust = s->tsc_deadline = 0;
	s->tsc_offset = s->pv_time = 0;
	s->star = s->lstar = s->cstar = s->sfmask = 0;
	s->sysenter_cs = s->sysenter_esp = s->sysenter_eip = 0;
	s->mtrr_def = 0;
	memset(s->mtrr_fix, 0, sizeof(s->mtrr_fix));
	memset(s->mtrr_var, 0, sizeof(s->mtrr_var));
}
