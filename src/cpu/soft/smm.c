/* SPDX-License-Identifier: MIT */
/*
 * System management mode: entry by SMI, the state save area, RSM (AMD64
 * Architecture Programmer's Manual vol. 2, document 24593, chapter 10, with
 * the 64-bit save area of table 10-1; the same in Intel SDM vol. 3 ch. 31 but
 * for the place of the fields).
 *
 * Memory looks different inside: SMRAM (mem.h) covers what the slots show.
 * Translations do not outlive a change; decoded code is known by the memory
 * it came from and does.
 *
 * The revision says: SMBASE can be moved, no I/O restart.  An HLT that was
 * interrupted is resumed when the auto-halt byte is left as it is.  A save
 * area that RSM cannot accept is a shutdown, as is one that is not RAM.
 *
 * Left out: I/O restart, SMM_ADDR and SMM_MASK (TSEG), HWCR.SMMLOCK.
 */
#include "sys_int.h"

#define AREA 0xfe00u		/* from SMBASE */
#define AREA_LEN 0x200u
#define AT(off) ((off) - AREA)
#define A_SEG AT(0xfe00)	/* ES CS SS DS FS GS, 16 bytes each */
#define A_GDT AT(0xfe60)
#define A_LDT AT(0xfe70)
#define A_IDT AT(0xfe80)
#define A_TR AT(0xfe90)
#define A_HALT AT(0xfec9)
#define A_NMI AT(0xfeca)
#define A_REVISION AT(0xfefc)
#define A_SMBASE AT(0xff00)
#define A_RFLAGS AT(0xff70)
#define REVISION 0x20064u
#define SEG_ATTR 0xf0ffu

/* Registers that are stored as they are. */
static const struct { uint16_t at, field; } regs[] = {
#define R(off, f) { AT(off), offsetof(struct soft, f) }
	R(0xfed0, efer), R(0xff48, cr4), R(0xff50, cr3), R(0xff58, cr0), R(0xff60, dr[7]),
	R(0xff68, dr[6]), R(0xff78, rip),
	R(0xff80, gpr[15]), R(0xff88, gpr[14]), R(0xff90, gpr[13]), R(0xff98, gpr[12]),
	R(0xffa0, gpr[11]), R(0xffa8, gpr[10]), R(0xffb0, gpr[9]), R(0xffb8, gpr[8]),
	R(0xffc0, gpr[R_RDI]), R(0xffc8, gpr[R_RSI]), R(0xffd0, gpr[R_RBP]),
	R(0xffd8, gpr[R_RSP]), R(0xffe0, gpr[R_RBX]), R(0xffe8, gpr[R_RDX]),
	R(0xfff0, gpr[R_RCX]), R(0xfff8, gpr[R_RAX]),
#undef R
};

/* ---- the save area -------------------------------------------------------------- */
static void area_page(struct soft *s, uint64_t phys, uint8_t *buf, size_t len, bool write)
{
	struct gm_page pg;

	if (!soft_phys_page(s, phys, true, &pg)) {
		memset(buf, 0xff, write ? 0 : len);
	} else if (!write) {
		memcpy(buf, pg.host + (phys & 0xfff), len);
	} else if (!pg.readonly) {
		memcpy(pg.host + (phys & 0xfff), buf, len);
		gm_code_written(pg.block, pg.block_off + (phys & 0xfff), len);
		if (pg.dirty_log)
			gm_mark_dirty(pg.block, pg.block_off);
	}
}

static void area_copy(struct soft *s, uint8_t *area, bool write)
{
	uint64_t at = (uint64_t)s->smbase + AREA;
	size_t first = MIN((size_t)(0x1000 - (at & 0xfff)), (size_t)AREA_LEN);

	area_page(s, at, area, first, write);
	if (first < AREA_LEN)
		area_page(s, at + first, area + first, AREA_LEN - first, write);
}

static void put_seg(uint8_t *p, const struct x86_seg *g)
{
	st_le16(p, g->sel);
	st_le16(p + 2, g->attr & SEG_ATTR & (g->attr & SA_UNUSABLE ? ~SA_P : ~0u));
	st_le32(p + 4, g->limit);
	st_le64(p + 8, g->base);
}

static void get_seg(const uint8_t *p, struct x86_seg *g)
{
	uint32_t attr = ld_le16(p + 2) & SEG_ATTR;

	*g = (struct x86_seg){ .sel = ld_le16(p), .limit = ld_le32(p + 4), .base = ld_le64(p + 8),
			       .attr = attr & SA_P ? attr : attr | SA_UNUSABLE };
}

static void put_table(uint8_t *p, const struct x86_dtable *t)
{
	st_le32(p + 4, t->limit);
	st_le64(p + 8, t->base);
}

static void get_table(const uint8_t *p, struct x86_dtable *t)
{
	*t = (struct x86_dtable){ .limit = ld_le16(p + 4), .base = ld_le64(p + 8) };
}

static void put_area(struct soft *s, uint8_t *a)
{
	for (unsigned i = 0; i < ARRAY_SIZE(regs); i++)
		st_le64(a + regs[i].at, *(uint64_t *)((uint8_t *)s + regs[i].field));
	for (unsigned i = 0; i < SEG_NUM; i++)
		put_seg(a + A_SEG + 16 * i, &s->seg[i]);
	put_table(a + A_GDT, &s->gdt);
	put_seg(a + A_LDT, &s->ldt);
	put_table(a + A_IDT, &s->idt);
	put_seg(a + A_TR, &s->tr);
	st_le64(a + A_RFLAGS, soft_get_eflags(s));
	a[A_HALT] = s->halted;
	a[A_NMI] = s->nmi_blocked;
	st_le32(a + A_REVISION, REVISION);
	st_le32(a + A_SMBASE, s->smbase);
}

/* ---- entry (10.3.2) --------------------------------------------------------------- */
static void smm_registers(struct soft *s)
{
	for (unsigned i = 0; i < SEG_NUM; i++)
		s->seg[i] = (struct x86_seg){ .limit = 0xffffffff, .attr = 0x8093 };
	s->seg[SEG_CS].sel = (uint16_t)(s->smbase >> 4);
	s->seg[SEG_CS].base = s->smbase;
	s->seg[SEG_CS].attr = 0x809b;
	s->rip = 0x8000;
	s->eflags = 2;
	soft_set_arith(s, 0);
	s->cr0 &= ~(CR0_PE | CR0_EM | CR0_TS | CR0_PG);
	s->cr4 = s->efer = 0;
	s->dr[7] = 0x400;
	s->cpl = 0;
}

void soft_smi(struct soft *s)
{
	uint8_t area[AREA_LEN];

	log_limited(LOG_DEBUG, "vCPU %u: SMI at %#llx, SMBASE %#x", s->vcpu->index,
		    (unsigned long long)s->rip, s->smbase);
	s->smm = true;
	area_copy(s, area, false);
	put_area(s, area);
	area_copy(s, area, true);
	smm_registers(s);
	s->halted = false;
	s->nmi_blocked = true;
	s->dr_hit = 0;
	soft_tlb_flush(s, false);
	soft_update_mode(s);
}

/* ---- RSM (10.3.4) -------------------------------------------------------------------- */
/* Paging and its registers in an order in which each step is checked; false: not acceptable. */
static bool set_modes(struct soft *s, const uint8_t *a)
{
	uint64_t cr0 = ld_le64(a + AT(0xff58)), cr3 = ld_le64(a + AT(0xff50));
	uint64_t cr4 = ld_le64(a + AT(0xff48)), efer = ld_le64(a + AT(0xfed0));

	s->cr0 = CR0_ET;
	s->cr4 = s->efer = 0;
	s->cpl = 0;
	s->seg[SEG_CS].attr &= ~SA_L;	/* of the handler */
	soft_tlb_flush(s, false);
	soft_update_mode(s);
	if (cr0 >> 32 || cr3 >> PHYS_BITS || !soft_set_efer(s, efer & ~EFER_LMA))
		return false;
	s->cr3 = cr3 & (cr4 & CR4_PCIDE ? ~0xfffull : ~0ull);
	if (!soft_set_cr4(s, cr4 & ~CR4_PCIDE) || !soft_set_cr0(s, cr0))
		return false;
	if ((efer ^ s->efer) & EFER_LMA)
		return false;
	return !(cr4 & CR4_PCIDE) || (soft_set_cr4(s, cr4) && soft_set_cr3(s, cr3));
}

static void get_area(struct soft *s, const uint8_t *a)
{
	for (unsigned i = 0; i < ARRAY_SIZE(regs); i++)
		if (regs[i].at > AT(0xff58))	/* the rest: set_modes() */
			*(uint64_t *)((uint8_t *)s + regs[i].field) = ld_le64(a + regs[i].at);
	for (unsigned i = 0; i < SEG_NUM; i++)
		get_seg(a + A_SEG + 16 * i, &s->seg[i]);
	get_table(a + A_GDT, &s->gdt);
	get_seg(a + A_LDT, &s->ldt);
	get_table(a + A_IDT, &s->idt);
	get_seg(a + A_TR, &s->tr);
	s->dr[6] = (s->dr[6] & 0xe00f) | DR6_FIXED;
	s->dr[7] = (s->dr[7] & 0xffff23ffu) | 0x400;
	s->eflags = ((uint32_t)ld_le64(a + A_RFLAGS) & FL_DEFINED & ~FL_ARITH) | 2;
	soft_set_arith(s, (uint32_t)ld_le64(a + A_RFLAGS));
	s->halted = a[A_HALT] & 1;
	s->nmi_blocked = a[A_NMI] & 1;
	s->smbase = ld_le32(a + A_SMBASE);
	if (s->cr0 & CR0_PE)
		s->cpl = s->eflags & FL_VM ? 3 : SA_DPL(s->seg[SEG_SS].attr);
}

/* Only the first five bytes of the mode's address survive outside 64-bit mode. */
static void check_rip(struct soft *s)
{
	if (!soft_lma(s) || !(s->seg[SEG_CS].attr & SA_L))
		s->rip &= 0xffffffffu;
	else if (!canonical(s->rip))
		s->triple_fault = true;
}

const struct uop *op_rsm(struct soft *s, const struct uop *u)
{
	uint8_t area[AREA_LEN];

	if (!s->smm)
		soft_fault(s, u, EXC_UD);
	area_copy(s, area, false);
	s->smm = false;
	if (ld_le32(area + A_REVISION) == UINT32_MAX || !set_modes(s, area))
		s->triple_fault = true;
	get_area(s, area);
	check_rip(s);
	s->intr_shadow = s->ss_shadow = false;
	s->no_step = s->rf_loaded = true;	/* what follows is not stepped over twice */
	soft_tlb_flush(s, false);
	soft_update_mode(s);
	s->intr_latched = true;		/* ask the APIC */
	if (s->init_latched) {
		s->init_latched = false;
		vcpu_request(s->vcpu, VCPU_REQ_INIT);
	}
	return NULL;
}
