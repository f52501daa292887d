/* SPDX-License-Identifier: MIT */
/*
 * System instructions: control, debug and descriptor-table registers, MSRs,
 * SYSCALL/SYSENTER, and the checks around them (Intel SDM vol. 2 and vol. 3
 * ch. 2; SYSCALL from compatibility mode as in AMD APM vol. 3).
 */
#include "sys_int.h"
#include "intops.h"

#define CR4_ALLOWED \
	(CR4_VME | CR4_PVI | CR4_TSD | CR4_DE | CR4_PSE | CR4_PAE | CR4_MCE | CR4_PGE | CR4_PCE | \
	 CR4_OSFXSR | CR4_OSXMMEXCPT | CR4_FSGSBASE | CR4_PCIDE | CR4_OSXSAVE | CR4_SMEP | \
	 CR4_SMAP)
/* Automatic IBRS may be set: nothing is speculated on the guest's behalf across privilege. */
#define EFER_ALLOWED (EFER_SCE | EFER_LME | EFER_LMA | EFER_NXE | EFER_AIBRSE)

static HV_NORETURN void gp0(struct soft *s, const struct uop *u)
{
	soft_fault_code(s, u, EXC_GP, 0);
}

/* ---- mode ------------------------------------------------------------------ */

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

/* ---- control registers --------------------------------------------------------- */

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

static unsigned native_size(const struct soft *s)
{
	return s->mode & MODE_CS64 ? 8 : 4;
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
	gpr_set(s, u->rm, native_size(s), v);
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
	uint64_t v = gpr_get(s, u->rm, native_size(s));
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
		gp0(s, u);
	return uop_leave(s, u);
}

const struct uop *op_clts(struct soft *s, const struct uop *u)
{
	s->cr0 &= ~CR0_TS;
	soft_update_mode(s);
	return uop_leave(s, u);
}

static uint16_t ld_ew(struct soft *s, const struct uop *u)
{
	return u->flags & UOP_MOD3 ? rd16(s, u->rm) : soft_ld16(s, u, uop_lin(s, u, 2, false));
}

/* SLDT, STR, SMSW: register as wide as the operand, memory always 16 bits. */
static const struct uop *store_word(struct soft *s, const struct uop *u, uint64_t v)
{
	if (u->flags & UOP_MOD3)
		gpr_set(s, u->rm, u->osize, v);
	else
		soft_st16(s, u, uop_lin(s, u, 2, true), (uint16_t)v);
	return u + 1;
}

const struct uop *op_smsw(struct soft *s, const struct uop *u)
{
	return store_word(s, u, s->cr0);
}

const struct uop *op_lmsw(struct soft *s, const struct uop *u)
{
	uint16_t v = ld_ew(s, u);
	uint64_t keep = s->cr0 & CR0_PE;	/* LMSW cannot clear PE */

	if (!soft_set_cr0(s, (s->cr0 & ~0xfull) | keep | (v & 0xf)))
		gp0(s, u);
	return uop_leave(s, u);
}

/* ---- debug registers --------------------------------------------------------------- */

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
	gpr_set(s, u->rm, native_size(s), s->dr[dr_number(s, u)]);
	return u + 1;
}

const struct uop *op_mov_to_dr(struct soft *s, const struct uop *u)
{
	unsigned n = dr_number(s, u);
	uint64_t v = gpr_get(s, u->rm, native_size(s));

	if (n >= 6 && v >> 32)
		gp0(s, u);
	if (n == 6)
		v = (v & 0xe00f) | DR6_FIXED;
	else if (n == 7)
		v = (v & 0xffff23ffu) | 0x400;
	s->dr[n] = v;
	soft_update_mode(s);
	return uop_leave(s, u);
}

/* ---- descriptor tables ----------------------------------------------------------------- */

static const struct uop *store_table(struct soft *s, const struct uop *u,
				     const struct x86_dtable *t)
{
	unsigned n = s->mode & MODE_CS64 ? 8 : 4;
	uint8_t b[10];

	st_le16(b, t->limit);
	st_le64(b + 2, t->base);
	soft_st_buf(s, u, uop_lin(s, u, n + 2, true), b, n + 2);
	return u + 1;
}

static const struct uop *load_table(struct soft *s, const struct uop *u, struct x86_dtable *t)
{
	unsigned n = s->mode & MODE_CS64 ? 8 : 4;
	uint8_t b[10] = { 0 };
	uint64_t base;

	soft_ld_buf(s, u, uop_lin(s, u, n + 2, false), b, n + 2);
	base = n == 8 ? ld_le64(b + 2) : ld_le32(b + 2);
	if (n == 4 && u->osize == 2)
		base &= 0xffffff;
	if (!canonical(base))
		gp0(s, u);
	t->base = base;
	t->limit = ld_le16(b);
	return uop_leave(s, u);
}

const struct uop *op_sgdt(struct soft *s, const struct uop *u)
{
	return store_table(s, u, &s->gdt);
}

const struct uop *op_sidt(struct soft *s, const struct uop *u)
{
	return store_table(s, u, &s->idt);
}

const struct uop *op_lgdt(struct soft *s, const struct uop *u)
{
	return load_table(s, u, &s->gdt);
}

const struct uop *op_lidt(struct soft *s, const struct uop *u)
{
	return load_table(s, u, &s->idt);
}

const struct uop *op_sldt(struct soft *s, const struct uop *u)
{
	return store_word(s, u, s->ldt.sel);
}

const struct uop *op_str(struct soft *s, const struct uop *u)
{
	return store_word(s, u, s->tr.sel);
}

/* Second half of an LDT or TSS descriptor in long mode. */
static void get_base_hi(struct soft *s, const struct uop *u, uint16_t sel, struct desc *d)
{
	soft_desc_get_hi(s, u, sel, EXC_GP, d);
	if (!canonical(desc_base(d) | d->hi << 32))
		soft_fault_code(s, u, EXC_GP, sel & ~3u);
}

const struct uop *op_lldt(struct soft *s, const struct uop *u)
{
	uint16_t sel = ld_ew(s, u);
	struct desc d;

	if (!(sel & ~3u)) {
		soft_seg_null(&s->ldt, sel);
		return uop_leave(s, u);
	}
	if (sel & 4)
		soft_fault_code(s, u, EXC_GP, sel & ~3u);
	soft_desc_get(s, u, sel, EXC_GP, &d);
	if (desc_is_seg(&d) || desc_type(&d) != 2)
		soft_fault_code(s, u, EXC_GP, sel & ~3u);
	if (!desc_present(&d))
		soft_fault_code(s, u, EXC_NP, sel & ~3u);
	if (soft_lma(s))
		get_base_hi(s, u, sel, &d);
	soft_seg_from_desc(&s->ldt, sel, &d);
	s->ldt.base |= d.hi << 32;
	return uop_leave(s, u);
}

const struct uop *op_ltr(struct soft *s, const struct uop *u)
{
	uint16_t sel = ld_ew(s, u);
	struct desc d;
	unsigned type;

	if (!(sel & ~3u) || sel & 4)
		soft_fault_code(s, u, EXC_GP, sel & ~3u);
	soft_desc_get(s, u, sel, EXC_GP, &d);
	type = desc_type(&d);
	if (desc_is_seg(&d) || (type != 9 && (type != 1 || soft_lma(s))))
		soft_fault_code(s, u, EXC_GP, sel & ~3u);
	if (!desc_present(&d))
		soft_fault_code(s, u, EXC_NP, sel & ~3u);
	if (soft_lma(s))
		get_base_hi(s, u, sel, &d);
	d.raw |= 2ull << 40;	/* busy */
	soft_sys_st(s, u, d.lin + 5, 1, d.raw >> 40 & 0xff);
	soft_seg_from_desc(&s->tr, sel, &d);
	s->tr.base |= d.hi << 32;
	return uop_leave(s, u);
}

/* ---- LAR, LSL, VERR, VERW, ARPL ------------------------------------------------------------ */

static void set_zf(struct soft *s, bool zf)
{
	soft_set_arith(s, (soft_arith(s) & ~FL_ZF) | (zf ? FL_ZF : 0));
}

/* Visible at this privilege?  Fills @d. */
static bool look_up(struct soft *s, const struct uop *u, uint16_t sel, struct desc *d)
{
	bool conforming;

	if (!(sel & ~3u) || !soft_desc_read(s, u, sel, d))
		return false;
	conforming = desc_is_code(d) && desc_attr(d) & SA_DC;
	return conforming || (desc_dpl(d) >= s->cpl && desc_dpl(d) >= (sel & 3u));
}

const struct uop *op_lar(struct soft *s, const struct uop *u)
{
	/* system types: 16-bit TSS, LDT, busy, call gate, task gate, then 32-bit */
	uint32_t ok_types = soft_lma(s) ? 0x1a04 : 0x1a3e;
	struct desc d;
	bool ok = look_up(s, u, ld_ew(s, u), &d);

	if (ok && !desc_is_seg(&d))
		ok = ok_types >> desc_type(&d) & 1;
	set_zf(s, ok);
	if (ok)
		gpr_set(s, u->reg, u->osize, d.raw >> 32 & 0x00ffff00);
	return u + 1;
}

const struct uop *op_lsl(struct soft *s, const struct uop *u)
{
	uint32_t ok_types = soft_lma(s) ? 0x0a04 : 0x0a0e;
	struct desc d;
	bool ok = look_up(s, u, ld_ew(s, u), &d);

	if (ok && !desc_is_seg(&d))
		ok = ok_types >> desc_type(&d) & 1;
	set_zf(s, ok);
	if (ok)
		gpr_set(s, u->reg, u->osize, desc_limit(&d));
	return u + 1;
}

const struct uop *op_verr(struct soft *s, const struct uop *u)
{
	struct desc d;
	bool ok = look_up(s, u, ld_ew(s, u), &d);

	set_zf(s, ok && desc_is_seg(&d) && (!desc_is_code(&d) || desc_attr(&d) & SA_RW));
	return u + 1;
}

const struct uop *op_verw(struct soft *s, const struct uop *u)
{
	struct desc d;
	bool ok = look_up(s, u, ld_ew(s, u), &d);

	set_zf(s, ok && desc_is_seg(&d) && !desc_is_code(&d) && desc_attr(&d) & SA_RW);
	return u + 1;
}

const struct uop *op_arpl(struct soft *s, const struct uop *u)
{
	uint64_t lin = u->flags & UOP_MOD3 ? 0 : uop_lin(s, u, 2, true);
	uint16_t dst = u->flags & UOP_MOD3 ? rd16(s, u->rm) : soft_ld16(s, u, lin);
	uint16_t src = rd16(s, u->reg);
	bool lower = (dst & 3) < (src & 3);

	if (!(u->flags & UOP_MOD3))
		soft_probe_write(s, u, lin, 2);
	if (lower) {
		dst = (uint16_t)((dst & ~3) | (src & 3));
		if (u->flags & UOP_MOD3)
			wr16(s, u->rm, dst);
		else
			soft_st16(s, u, lin, dst);
	}
	set_zf(s, lower);
	return u + 1;
}

/* ---- segment registers ------------------------------------------------------------------------
 */

static void after_ss(struct soft *s, unsigned seg)
{
	if (seg == SEG_SS)
		s->intr_shadow = s->ss_shadow = true;
}

const struct uop *op_mov_to_seg(struct soft *s, const struct uop *u)
{
	if (u->reg == SEG_CS)
		soft_fault(s, u, EXC_UD);
	soft_load_seg(s, u, u->reg, ld_ew(s, u));
	after_ss(s, u->reg);
	return uop_leave(s, u);
}

const struct uop *op_pop_seg(struct soft *s, const struct uop *u)
{
	unsigned seg = u->imm8 & 0x80 ? SEG_FS + (u->imm8 >> 3 & 1) : u->imm8 >> 3;
	struct stk k;
	uint16_t sel;

	stk_current(s, &k);
	sel = (uint16_t)stk_pop(s, u, &k, u->osize);
	soft_load_seg(s, u, seg, sel);
	/* a new SS does not change how the old stack pointer is adjusted */
	stk_commit(s, &k);
	after_ss(s, seg);
	return uop_leave(s, u);
}

static const struct uop *load_far(struct soft *s, const struct uop *u, unsigned seg)
{
	unsigned n = u->osize;
	uint8_t b[10];

	soft_ld_buf(s, u, uop_lin(s, u, n + 2, false), b, n + 2);
	soft_load_seg(s, u, seg, ld_le16(b + n));
	gpr_set(s, u->reg, n, n == 8 ? ld_le64(b) : n == 4 ? ld_le32(b) : ld_le16(b));
	return uop_leave(s, u);
}

const struct uop *op_les(struct soft *s, const struct uop *u) { return load_far(s, u, SEG_ES); }
const struct uop *op_lds(struct soft *s, const struct uop *u) { return load_far(s, u, SEG_DS); }
const struct uop *op_lss(struct soft *s, const struct uop *u) { return load_far(s, u, SEG_SS); }
const struct uop *op_lfs(struct soft *s, const struct uop *u) { return load_far(s, u, SEG_FS); }
const struct uop *op_lgs(struct soft *s, const struct uop *u) { return load_far(s, u, SEG_GS); }

static void check_fsgsbase(struct soft *s, const struct uop *u)
{
	if (!(s->cr4 & CR4_FSGSBASE))
		soft_fault(s, u, EXC_UD);
}

const struct uop *op_rdfsgsbase(struct soft *s, const struct uop *u)
{
	unsigned seg = soft_optable[u->row].ext & 1 ? SEG_GS : SEG_FS;

	check_fsgsbase(s, u);
	gpr_set(s, u->rm, u->flags & UOP_REXW ? 8 : 4, s->seg[seg].base);
	return u + 1;
}

const struct uop *op_wrfsgsbase(struct soft *s, const struct uop *u)
{
	unsigned seg = soft_optable[u->row].ext & 1 ? SEG_GS : SEG_FS;
	uint64_t v = gpr_get(s, u->rm, u->flags & UOP_REXW ? 8 : 4);

	check_fsgsbase(s, u);
	if (!canonical(v))
		gp0(s, u);
	s->seg[seg].base = v;
	return u + 1;
}

const struct uop *op_swapgs(struct soft *s, const struct uop *u)
{
	uint64_t base = s->seg[SEG_GS].base;

	s->seg[SEG_GS].base = s->kernel_gs_base;
	s->kernel_gs_base = base;
	return u + 1;
}

/* ---- interrupts by instruction
 * ------------------------------------------------------------------- */

const struct uop *op_int3(struct soft *s, const struct uop *u)
{
	soft_int(s, u, EXC_BP, INT_3);
	return NULL;
}

const struct uop *op_int(struct soft *s, const struct uop *u)
{
	soft_int(s, u, u->imm8, INT_N);
	return NULL;
}

const struct uop *op_into(struct soft *s, const struct uop *u)
{
	if (!(soft_arith(s) & FL_OF))
		return uop_leave(s, u);
	soft_int(s, u, EXC_OF, INT_3);
	return NULL;
}

const struct uop *op_int1(struct soft *s, const struct uop *u)
{
	soft_int(s, u, EXC_DB, INT_1);
	return NULL;
}

const struct uop *op_hlt(struct soft *s, const struct uop *u)
{
	s->halted = true;
	return uop_leave(s, u);
}

/* ---- fast system calls
 * --------------------------------------------------------------------------------- */

static void flat_code(struct x86_seg *cs, uint16_t sel, unsigned dpl, bool l)
{
	*cs = (struct x86_seg){ .limit = 0xffffffffu, .sel = sel,
				.attr = 0x9b | dpl << SA_DPL_SHIFT | SA_G | (l ? SA_L : SA_DB) };
}

static void flat_stack(struct x86_seg *ss, uint16_t sel, unsigned dpl)
{
	*ss = (struct x86_seg){ .limit = 0xffffffffu, .sel = sel,
				.attr = 0x93 | dpl << SA_DPL_SHIFT | SA_G | SA_DB };
}

const struct uop *op_syscall(struct soft *s, const struct uop *u)
{
	uint16_t sel = s->star >> 32 & 0xfffc;
	uint32_t fl = soft_get_eflags(s) & ~FL_RF;
	uint64_t next = UOP_NEXT_RIP(s, u);

	if (!(s->efer & EFER_SCE) || !soft_pe(s))
		soft_fault(s, u, EXC_UD);
	if (soft_lma(s)) {
		s->rip = s->mode & MODE_CS64 ? s->lstar : s->cstar;
		s->gpr[R_RCX] = s->mode & MODE_CS64 ? next : (uint32_t)next;
		s->gpr[R_R11] = fl;
		soft_set_eflags(s, (fl & ~(uint32_t)s->sfmask) | 2);
		flat_code(&s->seg[SEG_CS], sel, 0, true);
	} else {
		s->gpr[R_RCX] = (uint32_t)next;
		s->rip = (uint32_t)s->star;
		soft_set_eflags(s, fl & ~(FL_IF | FL_VM));
		flat_code(&s->seg[SEG_CS], sel, 0, false);
	}
	flat_stack(&s->seg[SEG_SS], (uint16_t)(sel + 8), 0);
	s->cpl = 0;
	s->no_step = !(s->eflags & FL_TF);	/* masked before the trap would be taken */
	soft_update_mode(s);
	return NULL;
}

const struct uop *op_sysret(struct soft *s, const struct uop *u)
{
	uint16_t sel = s->star >> 48 & 0xffff;
	bool to64 = soft_lma(s) && u->flags & UOP_REXW;

	if (!(s->efer & EFER_SCE) || !soft_pe(s))
		soft_fault(s, u, EXC_UD);
	if (to64 && !canonical(s->gpr[R_RCX]))
		gp0(s, u);
	s->rip = to64 ? s->gpr[R_RCX] : (uint32_t)s->gpr[R_RCX];
	flat_code(&s->seg[SEG_CS], (uint16_t)((to64 ? sel + 16 : sel) | 3), 3, to64);
	flat_stack(&s->seg[SEG_SS], (uint16_t)((sel + 8) | 3), 3);
	if (soft_lma(s))
		soft_set_eflags(s, (s->gpr[R_R11] & 0x3c7fd7) | 2);
	else
		soft_set_eflags(s, soft_get_eflags(s) | FL_IF);
	s->cpl = 3;
	soft_update_mode(s);
	s->no_step = true;
	if (s->eflags & FL_TF)	/* the trap that SYSCALL's mask held back */
		soft_db_trap(s, DR6_BS);
	return NULL;
}

const struct uop *op_sysenter(struct soft *s, const struct uop *u)
{
	uint16_t sel = s->sysenter_cs & 0xfffc;
	bool lma = soft_lma(s);

	if (!soft_pe(s) || !sel)
		gp0(s, u);
	soft_set_eflags(s, soft_get_eflags(s) & ~(FL_VM | FL_IF | FL_RF));
	flat_code(&s->seg[SEG_CS], sel, 0, lma);
	flat_stack(&s->seg[SEG_SS], (uint16_t)(sel + 8), 0);
	s->gpr[R_RSP] = lma ? s->sysenter_esp : (uint32_t)s->sysenter_esp;
	s->rip = lma ? s->sysenter_eip : (uint32_t)s->sysenter_eip;
	s->cpl = 0;
	soft_update_mode(s);
	return NULL;
}

const struct uop *op_sysexit(struct soft *s, const struct uop *u)
{
	uint16_t sel = s->sysenter_cs & 0xfffc;
	bool to64 = u->flags & UOP_REXW;

	if (!soft_pe(s) || !sel)
		gp0(s, u);
	if (to64 && (!canonical(s->gpr[R_RCX]) || !canonical(s->gpr[R_RDX])))
		gp0(s, u);
	sel = (uint16_t)(sel + (to64 ? 32 : 16));
	flat_code(&s->seg[SEG_CS], sel | 3, 3, to64);
	flat_stack(&s->seg[SEG_SS], (uint16_t)((sel + 8) | 3), 3);
	s->gpr[R_RSP] = to64 ? s->gpr[R_RCX] : (uint32_t)s->gpr[R_RCX];
	s->rip = to64 ? s->gpr[R_RDX] : (uint32_t)s->gpr[R_RDX];
	s->cpl = 3;
	soft_update_mode(s);
	return NULL;
}

/* ---- MSRs, time, identification
 * ------------------------------------------------------------------------------ */

const struct uop *op_rdmsr(struct soft *s, const struct uop *u)
{
	uint64_t v;

	if (!soft_rdmsr(s, (uint32_t)s->gpr[R_RCX], &v))
		gp0(s, u);
	s->gpr[R_RAX] = (uint32_t)v;
	s->gpr[R_RDX] = v >> 32;
	return u + 1;
}

const struct uop *op_wrmsr(struct soft *s, const struct uop *u)
{
	uint64_t v = (uint32_t)s->gpr[R_RAX] | s->gpr[R_RDX] << 32;

	if (!soft_wrmsr(s, (uint32_t)s->gpr[R_RCX], v))
		gp0(s, u);
	return uop_leave(s, u);
}

static void check_tsd(struct soft *s, const struct uop *u)
{
	if (s->cr4 & CR4_TSD && s->cpl)
		gp0(s, u);
}

const struct uop *op_rdtsc(struct soft *s, const struct uop *u)
{
	uint64_t v;

	check_tsd(s, u);
	v = soft_rdtsc(s);
	s->gpr[R_RAX] = (uint32_t)v;
	s->gpr[R_RDX] = v >> 32;
	return u + 1;
}

const struct uop *op_rdtscp(struct soft *s, const struct uop *u)
{
	op_rdtsc(s, u);
	s->gpr[R_RCX] = (uint32_t)s->tsc_aux;
	return u + 1;
}

const struct uop *op_rdpmc(struct soft *s, const struct uop *u)
{
	gp0(s, u);	/* no counters */
}

const struct uop *op_cpuid(struct soft *s, const struct uop *u)
{
	uint32_t r[4];

	soft_cpuid(s, (uint32_t)s->gpr[R_RAX], (uint32_t)s->gpr[R_RCX], r);
	s->gpr[R_RAX] = r[0];
	s->gpr[R_RBX] = r[1];
	s->gpr[R_RCX] = r[2];
	s->gpr[R_RDX] = r[3];
	return u + 1;
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
		gp0(s, u);
	s->gpr[R_RAX] = (uint32_t)v;
	s->gpr[R_RDX] = v >> 32;
	return u + 1;
}

const struct uop *op_xsetbv(struct soft *s, const struct uop *u)
{
	uint64_t v = (uint32_t)s->gpr[R_RAX] | s->gpr[R_RDX] << 32;

	check_osxsave(s, u);
	if ((uint32_t)s->gpr[R_RCX] || v & ~soft_xcr0_mask() || !(v & 1) || (v & 6) == 4)
		gp0(s, u);
	s->xcr0 = v;
	soft_update_mode(s);
	return uop_leave(s, u);
}

static const struct uop *hw_random(struct soft *s, const struct uop *u, bool seed)
{
	unsigned long long v = 0;
	bool ok = false;

	for (unsigned i = 0; i < 10 && !ok; i++) {
		if (seed)
			__asm__ volatile("rdseed %0; setc %1" : "=r"(v), "=qm"(ok) : : "cc");
		else
			__asm__ volatile("rdrand %0; setc %1" : "=r"(v), "=qm"(ok) : : "cc");
	}
	gpr_set(s, u->rm, u->osize, ok ? v : 0);
	soft_set_arith(s, ok ? FL_CF : 0);
	return u + 1;
}

const struct uop *op_rdrand(struct soft *s, const struct uop *u) { return hw_random(s, u, false); }
const struct uop *op_rdseed(struct soft *s, const struct uop *u) { return hw_random(s, u, true); }

/* ---- caches and translations
 * --------------------------------------------------------------------------------- */

const struct uop *op_invlpg(struct soft *s, const struct uop *u)
{
	uint64_t ea = uop_ea(s, u);

	if (!(s->mode & MODE_CS64) || u->seg >= SEG_FS)
		ea += s->seg[u->seg].base;
	soft_tlb_flush_page(s, lin_wrap(s, ea));
	return uop_leave(s, u);
}

/* SDM vol. 2 INVPCID: one address, one PCID, everything, everything but global. */
const struct uop *op_invpcid(struct soft *s, const struct uop *u)
{
	uint64_t type = gpr_get(s, u->reg, native_size(s));
	uint8_t d[16];

	if (s->cpl)
		gp0(s, u);
	soft_ld_buf(s, u, uop_lin(s, u, 16, false), d, 16);
	if (type > 3 || ld_le64(d) >> 12 ||
	    (type < 2 && ld_le64(d) && !(s->cr4 & CR4_PCIDE)) ||
	    (type == 0 && !canonical(ld_le64(d + 8))))
		gp0(s, u);
	if (type == 0)
		soft_tlb_flush_pcid_page(s, (unsigned)ld_le64(d), ld_le64(d + 8));
	else if (type == 1)
		soft_tlb_flush_pcid(s, (unsigned)ld_le64(d));
	else
		soft_tlb_flush(s, type == 3);
	return uop_leave(s, u);
}

/* WBINVD, INVD: the cache is always coherent here. */
const struct uop *op_nothing(struct soft *s, const struct uop *u)
{
	return u + 1;
}

const struct uop *op_clflush(struct soft *s, const struct uop *u)
{
	soft_ld8(s, u, uop_lin(s, u, 1, false));	/* faults like a load */
	return u + 1;
}

/* The 64-byte line that contains the address in rAX (AMD APM vol. 3). */
const struct uop *op_clzero(struct soft *s, const struct uop *u)
{
	static const uint8_t zero[64];
	uint64_t ea = s->gpr[R_RAX];

	if (u->asize != 8)
		ea &= u->asize == 4 ? 0xffffffff : 0xffff;
	soft_st_buf(s, u, ea_lin(s, u, ea, 1, true) & ~63ull, zero, 64);
	return u + 1;
}

const struct uop *op_rdpid(struct soft *s, const struct uop *u)
{
	s->gpr[u->rm >> 3] = s->mode & MODE_CS64 ? s->tsc_aux : (uint32_t)s->tsc_aux;
	return u + 1;
}

const struct uop *op_fence(struct soft *s, const struct uop *u)
{
	atomic_thread_fence(memory_order_seq_cst);
	return u + 1;
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

/* ---- I/O permission, reset
 * -------------------------------------------------------------------------------------- */

void soft_check_io(struct soft *s, const struct uop *u, unsigned port, unsigned size)
{
	uint16_t map;
	uint32_t bits;

	soft_note_io_bp(s, port, size);
	if (!soft_pe(s) || (!soft_v86(s) && s->cpl <= soft_iopl(s)))
		return;
	if (!(s->tr.attr & 8) || s->tr.limit < 0x67)	/* needs a 32- or 64-bit TSS */
		gp0(s, u);
	map = (uint16_t)soft_sys_ld(s, u, s->tr.base + 0x66, 2);
	if (map + port / 8 + 1u > s->tr.limit)
		gp0(s, u);
	bits = (uint32_t)soft_sys_ld(s, u, s->tr.base + map + port / 8, 2);
	if (bits >> (port & 7) & ((1u << size) - 1))
		gp0(s, u);
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
