/* SPDX-License-Identifier: MIT */
/*
 * Instructions on descriptors and segment registers: the descriptor tables,
 * LDTR and TR, LAR to ARPL, loads of segment registers, FS and GS bases
 * (Intel SDM vol. 2; vol. 3 ch. 3 and 5).  What they check is in seg.c.
 */
#include "sys_int.h"
#include "intops.h"

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
		soft_gp0(s, u);
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
	return uop_st_word(s, u, s->ldt.sel);
}

const struct uop *op_str(struct soft *s, const struct uop *u)
{
	return uop_st_word(s, u, s->tr.sel);
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
	uint16_t sel = uop_ld_ew(s, u);
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
	uint16_t sel = uop_ld_ew(s, u);
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
	bool ok = look_up(s, u, uop_ld_ew(s, u), &d);

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
	bool ok = look_up(s, u, uop_ld_ew(s, u), &d);

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
	bool ok = look_up(s, u, uop_ld_ew(s, u), &d);

	set_zf(s, ok && desc_is_seg(&d) && (!desc_is_code(&d) || desc_attr(&d) & SA_RW));
	return u + 1;
}

const struct uop *op_verw(struct soft *s, const struct uop *u)
{
	struct desc d;
	bool ok = look_up(s, u, uop_ld_ew(s, u), &d);

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

static void after_ss(struct soft *s, unsigned seg)
{
	if (seg == SEG_SS)
		s->intr_shadow = s->ss_shadow = true;
}

const struct uop *op_mov_to_seg(struct soft *s, const struct uop *u)
{
	if (u->reg == SEG_CS)
		soft_fault(s, u, EXC_UD);
	soft_load_seg(s, u, u->reg, uop_ld_ew(s, u));
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
		soft_gp0(s, u);
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
