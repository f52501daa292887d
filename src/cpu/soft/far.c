/* SPDX-License-Identifier: MIT */
/*
 * Far jumps, calls and returns, call gates of 16, 32 and 64 bits, IRET in
 * every mode (Intel SDM vol. 2 JMP, CALL, RET, IRET; vol. 3 ch. 5.8, 20.2).
 */
#include "sys_int.h"

static bool real_like(const struct soft *s)
{
	return !soft_pe(s) || soft_v86(s);
}

static const struct uop *far_done(struct soft *s)
{
	soft_update_mode(s);
	return NULL;
}

static HV_NORETURN void gp(struct soft *s, const struct uop *u, uint16_t sel)
{
	soft_fault_code(s, u, EXC_GP, sel & ~3u);
}

/* The far pointer operand: immediate or memory. */
static void far_operand(struct soft *s, const struct uop *u, bool mem, uint16_t *sel, uint64_t *off)
{
	uint8_t b[10];
	unsigned n = u->osize;

	if (!mem) {
		*sel = u->imm >> 32 & 0xffff;
		*off = n == 2 ? u->imm & 0xffff : u->imm & 0xffffffffu;
		return;
	}
	soft_ld_buf(s, u, uop_lin(s, u, n + 2, false), b, n + 2);
	*off = n == 2 ? ld_le16(b) : n == 4 ? ld_le32(b) : ld_le64(b);
	*sel = ld_le16(b + n);
}

static void real_cs(struct soft *s, const struct uop *u, uint16_t sel, uint64_t rip)
{
	struct x86_seg *cs = &s->seg[SEG_CS];

	if (rip > (soft_v86(s) ? 0xffff : cs->limit))
		soft_fault_code(s, u, EXC_GP, 0);
	cs->sel = sel;
	cs->base = (uint32_t)sel << 4;
	if (soft_v86(s)) {
		cs->limit = 0xffff;
		cs->attr = 0xf3;
	}
	s->rip = rip;
}

/* CS of a direct far jump or call: privilege stays. */
static void direct_cs(struct soft *s, const struct uop *u, uint16_t sel, struct desc *d)
{
	uint32_t a = desc_attr(d);

	if (!desc_is_code(d))
		gp(s, u, sel);
	if (a & SA_DC ? desc_dpl(d) > s->cpl : (sel & 3u) > s->cpl || desc_dpl(d) != s->cpl)
		gp(s, u, sel);
	if (soft_lma(s) && (a & (SA_L | SA_DB)) == (SA_L | SA_DB))
		gp(s, u, sel);
	if (!desc_present(d))
		soft_fault_code(s, u, EXC_NP, sel & ~3u);
}

static void set_cs(struct soft *s, const struct uop *u, uint16_t sel, struct desc *d,
		   unsigned cpl, uint64_t rip)
{
	soft_seg_from_desc(&s->seg[SEG_CS], (sel & ~3u) | cpl, d);
	s->cpl = (uint8_t)cpl;
	s->rip = rip;
}

/* Offset check against the segment that @d describes, then its accessed bit. */
static void check_entry(struct soft *s, const struct uop *u, uint16_t sel, struct desc *d,
			uint64_t *rip)
{
	struct x86_seg cs;

	soft_desc_set_accessed(s, u, d);
	soft_seg_from_desc(&cs, sel, d);
	soft_check_target(s, u, &cs, rip);
}

/* ---- call gates ------------------------------------------------------------------ */

struct gate {
	struct desc d, cs;
	uint16_t sel;
	uint64_t off;
	unsigned size, params;
};

static void read_call_gate(struct soft *s, const struct uop *u, uint16_t sel, struct gate *g)
{
	unsigned type = desc_type(&g->d);

	if (desc_dpl(&g->d) < s->cpl || desc_dpl(&g->d) < (sel & 3u))
		gp(s, u, sel);
	if (!desc_present(&g->d))
		soft_fault_code(s, u, EXC_NP, sel & ~3u);
	g->size = soft_lma(s) ? 8 : type & 8 ? 4 : 2;
	g->sel = g->d.raw >> 16 & 0xffff;
	g->off = (g->d.raw & 0xffff) | (g->size > 2 ? g->d.raw >> 48 << 16 : 0);
	g->params = g->size == 8 ? 0 : g->d.raw >> 32 & 31;
	if (g->size == 8) {
		soft_desc_get_hi(s, u, sel, EXC_GP, &g->d);
		g->off |= g->d.hi << 32;
	}
	if (!(g->sel & ~3u))
		gp(s, u, 0);
	soft_desc_get(s, u, g->sel, EXC_GP, &g->cs);
	if (!desc_is_code(&g->cs) || desc_dpl(&g->cs) > s->cpl)
		gp(s, u, g->sel);
	if (g->size == 8 && (desc_attr(&g->cs) & (SA_L | SA_DB)) != SA_L)
		gp(s, u, g->sel);
	if (!desc_present(&g->cs))
		soft_fault_code(s, u, EXC_NP, g->sel & ~3u);
}

static void jmp_gate(struct soft *s, const struct uop *u, uint16_t sel, struct gate *g)
{
	read_call_gate(s, u, sel, g);
	if (!(desc_attr(&g->cs) & SA_DC) && desc_dpl(&g->cs) != s->cpl)
		gp(s, u, g->sel);
	check_entry(s, u, g->sel, &g->cs, &g->off);
	set_cs(s, u, g->sel, &g->cs, s->cpl, g->off);
}

static void push_return(struct soft *s, const struct uop *u, struct stk *k, unsigned size)
{
	stk_push(s, u, k, s->seg[SEG_CS].sel, size, 0);
	stk_push(s, u, k, UOP_NEXT_RIP(s, u), size, 0);
}

/* To an inner level: its stack from the TSS, with the old SS:SP and the parameters on it. */
static void call_gate_inner(struct soft *s, const struct uop *u, struct gate *g)
{
	unsigned cpl = desc_dpl(&g->cs);
	struct stk old, k = { .flat = true, .mask = UINT64_MAX };
	uint64_t args[31], sp;
	struct x86_seg ss;
	struct desc d;
	uint16_t sel;

	stk_current(s, &old);
	for (unsigned i = 0; i < g->params; i++)
		args[i] = stk_pop(s, u, &old, g->size);
	if (g->size == 8) {
		if (4u + 8 * cpl + 7 > s->tr.limit)
			soft_fault_code(s, u, EXC_TS, s->tr.sel & ~3u);
		k.sp = soft_sys_ld(s, u, s->tr.base + 4 + 8 * cpl, 8);
		soft_seg_null(&ss, (uint16_t)cpl);
		ss.attr |= cpl << SA_DPL_SHIFT;
	} else {
		soft_tss_stack(s, u, cpl, &sel, &sp);
		if (!(sel & ~3u))
			soft_fault_code(s, u, EXC_TS, 0);
		soft_check_ss(s, u, sel, cpl, EXC_TS, EXC_SS, &d);
		soft_desc_set_accessed(s, u, &d);
		soft_seg_from_desc(&ss, sel, &d);
		stk_from_seg(s, &k, &ss, sp, cpl);
	}
	check_entry(s, u, g->sel, &g->cs, &g->off);
	stk_push(s, u, &k, s->seg[SEG_SS].sel, g->size, ss.sel & ~3u);
	stk_push(s, u, &k, s->gpr[R_RSP], g->size, ss.sel & ~3u);
	for (unsigned i = g->params; i-- > 0;)
		stk_push(s, u, &k, args[i], g->size, ss.sel & ~3u);
	push_return(s, u, &k, g->size);
	s->seg[SEG_SS] = ss;
	stk_commit(s, &k);
	set_cs(s, u, g->sel, &g->cs, cpl, g->off);
}

static void call_gate(struct soft *s, const struct uop *u, uint16_t sel, struct gate *g)
{
	struct stk k;

	read_call_gate(s, u, sel, g);
	if (!(desc_attr(&g->cs) & SA_DC) && desc_dpl(&g->cs) < s->cpl) {
		call_gate_inner(s, u, g);
		return;
	}
	stk_current(s, &k);
	if (g->size == 8) {	/* to 64-bit code, perhaps from compatibility mode */
		k.flat = true;
		k.mask = UINT64_MAX;
	}
	check_entry(s, u, g->sel, &g->cs, &g->off);
	push_return(s, u, &k, g->size);
	stk_commit(s, &k);
	set_cs(s, u, g->sel, &g->cs, s->cpl, g->off);
}

/* Jump or call to a TSS, directly or through a task gate. */
static void far_task(struct soft *s, const struct uop *u, uint16_t sel, struct desc *d, bool call)
{
	if (desc_dpl(d) < s->cpl || desc_dpl(d) < (sel & 3u))
		gp(s, u, sel);
	if (desc_type(d) == 5) {
		if (!desc_present(d))
			soft_fault_code(s, u, EXC_NP, sel & ~3u);
		sel = d->raw >> 16 & 0xffff;
		if (sel & 4)
			gp(s, u, sel);
		soft_desc_get(s, u, sel, EXC_GP, d);
		if (desc_is_seg(d) || (desc_type(d) & 7) != 1)
			gp(s, u, sel);
	} else if (sel & 4) {
		gp(s, u, sel);
	}
	if (!desc_present(d))
		soft_fault_code(s, u, EXC_NP, sel & ~3u);
	soft_task_switch(s, u, sel, d, call ? TASK_CALL : TASK_JMP, UOP_NEXT_RIP(s, u), false, 0);
}

/* Call gate, task gate or TSS; #GP for the rest. */
static void far_system(struct soft *s, const struct uop *u, uint16_t sel, struct desc *d, bool call)
{
	unsigned type = desc_type(d);
	struct gate g = { .d = *d };

	if (type == 12 || (type == 4 && !soft_lma(s))) {
		if (call)
			call_gate(s, u, sel, &g);
		else
			jmp_gate(s, u, sel, &g);
	} else if ((type == 1 || type == 5 || type == 9) && !soft_lma(s)) {
		far_task(s, u, sel, d, call);
	} else {
		gp(s, u, sel);
	}
}

/* ---- jump and call --------------------------------------------------------------- */

static const struct uop *far_jmp(struct soft *s, const struct uop *u, bool mem)
{
	struct desc d;
	uint64_t off;
	uint16_t sel;

	far_operand(s, u, mem, &sel, &off);
	if (real_like(s)) {
		real_cs(s, u, sel, off);
		return far_done(s);
	}
	if (!(sel & ~3u))
		gp(s, u, 0);
	soft_desc_get(s, u, sel, EXC_GP, &d);
	if (desc_is_seg(&d)) {
		direct_cs(s, u, sel, &d);
		check_entry(s, u, sel, &d, &off);
		set_cs(s, u, sel, &d, s->cpl, off);
	} else {
		far_system(s, u, sel, &d, false);
	}
	return far_done(s);
}

static const struct uop *far_call(struct soft *s, const struct uop *u, bool mem)
{
	struct desc d;
	struct stk k;
	uint64_t off;
	uint16_t sel;

	far_operand(s, u, mem, &sel, &off);
	stk_current(s, &k);
	if (real_like(s)) {
		if (off > (soft_v86(s) ? 0xffff : s->seg[SEG_CS].limit))
			gp(s, u, 0);
		push_return(s, u, &k, u->osize);
		stk_commit(s, &k);
		real_cs(s, u, sel, off);
		return far_done(s);
	}
	if (!(sel & ~3u))
		gp(s, u, 0);
	soft_desc_get(s, u, sel, EXC_GP, &d);
	if (desc_is_seg(&d)) {
		direct_cs(s, u, sel, &d);
		check_entry(s, u, sel, &d, &off);
		push_return(s, u, &k, u->osize);
		stk_commit(s, &k);
		set_cs(s, u, sel, &d, s->cpl, off);
	} else {
		far_system(s, u, sel, &d, true);
	}
	return far_done(s);
}

const struct uop *op_jmp_far_imm(struct soft *s, const struct uop *u)
{
	return far_jmp(s, u, false);
}

const struct uop *op_jmp_far_mem(struct soft *s, const struct uop *u)
{
	return far_jmp(s, u, true);
}

const struct uop *op_call_far_imm(struct soft *s, const struct uop *u)
{
	return far_call(s, u, false);
}

const struct uop *op_call_far_mem(struct soft *s, const struct uop *u)
{
	return far_call(s, u, true);
}

/* ---- returns ---------------------------------------------------------------------- */

/* CS popped by RETF or IRET. */
static void return_cs(struct soft *s, const struct uop *u, uint16_t sel, struct desc *d)
{
	unsigned rpl = sel & 3, dpl;
	uint32_t a;

	if (!(sel & ~3u))
		gp(s, u, 0);
	soft_desc_get(s, u, sel, EXC_GP, d);
	a = desc_attr(d);
	dpl = desc_dpl(d);
	if (!desc_is_code(d) || rpl < s->cpl || (a & SA_DC ? dpl > rpl : dpl != rpl))
		gp(s, u, sel);
	if (soft_lma(s) && (a & (SA_L | SA_DB)) == (SA_L | SA_DB))
		gp(s, u, sel);
	if (!desc_present(d))
		soft_fault_code(s, u, EXC_NP, sel & ~3u);
}

/* SS popped on a return to level @cpl; a null one may go to 64-bit code above level 3. */
static void return_ss(struct soft *s, const struct uop *u, uint16_t sel, unsigned cpl,
		      const struct desc *cs, struct x86_seg *ss)
{
	struct desc d;

	if (!(sel & ~3u)) {
		if (!soft_lma(s) || !(desc_attr(cs) & SA_L) || cpl == 3 || (sel & 3u) != cpl)
			gp(s, u, 0);
		soft_seg_null(ss, sel);
		ss->attr |= cpl << SA_DPL_SHIFT;
		return;
	}
	soft_check_ss(s, u, sel, cpl, EXC_GP, EXC_SS, &d);
	soft_desc_set_accessed(s, u, &d);
	soft_seg_from_desc(ss, sel, &d);
}

/* RSP popped together with SS: as wide as the code returned to can use. */
static void set_outer_sp(struct soft *s, const struct x86_seg *ss, const struct desc *cs,
			 uint64_t sp)
{
	if (soft_lma(s) && (desc_attr(cs) & SA_L))
		s->gpr[R_RSP] = sp;
	else if (ss->attr & SA_DB)
		s->gpr[R_RSP] = (uint32_t)sp;
	else
		gpr_set(s, R_RSP * 8, 2, sp);
}

static const struct uop *retf(struct soft *s, const struct uop *u, unsigned extra)
{
	unsigned n = u->osize, cpl;
	struct x86_seg ss;
	uint64_t rip, sp;
	struct desc d;
	struct stk k;
	uint16_t sel;

	stk_current(s, &k);
	rip = stk_pop(s, u, &k, n);
	sel = (uint16_t)stk_pop(s, u, &k, n);
	k.sp = (k.sp & ~k.mask) | ((k.sp + extra) & k.mask);
	if (real_like(s)) {
		real_cs(s, u, sel, rip);
		stk_commit(s, &k);
		return far_done(s);
	}
	return_cs(s, u, sel, &d);
	cpl = sel & 3;
	if (cpl == s->cpl) {
		check_entry(s, u, sel, &d, &rip);
		stk_commit(s, &k);
		set_cs(s, u, sel, &d, cpl, rip);
		return far_done(s);
	}
	sp = stk_pop(s, u, &k, n);
	return_ss(s, u, (uint16_t)stk_pop(s, u, &k, n), cpl, &d, &ss);
	check_entry(s, u, sel, &d, &rip);
	s->seg[SEG_SS] = ss;
	set_outer_sp(s, &ss, &d, sp + extra);
	set_cs(s, u, sel, &d, cpl, rip);
	soft_drop_segs(s);
	return far_done(s);
}

const struct uop *op_retf(struct soft *s, const struct uop *u)
{
	return retf(s, u, 0);
}

const struct uop *op_retf_imm(struct soft *s, const struct uop *u)
{
	return retf(s, u, u->imm & 0xffff);
}

/* ---- IRET ------------------------------------------------------------------------- */

/* Flags that IRET may change, by what may be changed at this privilege. */
static uint32_t iret_mask(const struct soft *s, unsigned osize)
{
	uint32_t m = FL_ARITH | FL_TF | FL_DF | FL_NT | FL_RF | FL_AC | FL_ID;

	if (s->cpl <= soft_iopl(s))
		m |= FL_IF;
	if (s->cpl == 0)
		m |= FL_IOPL | FL_VIF | FL_VIP;
	return osize == 2 ? m & 0xffff : m;
}

static void iret_flags(struct soft *s, uint32_t fl, uint32_t mask)
{
	uint32_t old = soft_get_eflags(s);

	s->rf_loaded = true;
	soft_set_eflags(s, (old & ~mask) | (fl & mask));
}

static const struct uop *iret_real(struct soft *s, const struct uop *u)
{
	uint32_t mask = FL_ARITH | FL_TF | FL_IF | FL_DF | FL_IOPL | FL_NT;
	unsigned n = u->osize;
	uint64_t rip, fl;
	struct stk k;
	uint16_t sel;

	stk_current(s, &k);
	rip = stk_pop(s, u, &k, n);
	sel = (uint16_t)stk_pop(s, u, &k, n);
	fl = stk_pop(s, u, &k, n);
	if (n == 4)
		mask |= FL_RF | FL_AC | FL_ID;
	if (soft_v86(s) && soft_iopl(s) < 3) {	/* VME: IF stands for VIF */
		if (!(s->cr4 & CR4_VME) || n != 2 || (fl & FL_TF) ||
		    ((fl & FL_IF) && (s->eflags & FL_VIP)))
			gp(s, u, 0);
		mask = (mask & ~(FL_IF | FL_IOPL)) | FL_VIF;
		fl = (fl & ~(uint64_t)FL_VIF) | (fl & FL_IF ? FL_VIF : 0);
	} else if (soft_v86(s)) {
		mask &= ~FL_IOPL;
	}
	real_cs(s, u, sel, rip);
	stk_commit(s, &k);
	iret_flags(s, (uint32_t)fl, mask);
	return far_done(s);
}

static const struct uop *iret_to_v86(struct soft *s, const struct uop *u, struct stk *k,
				     uint64_t rip, uint16_t cs, uint32_t fl)
{
	static const uint8_t order[] = { SEG_SS, SEG_ES, SEG_DS, SEG_FS, SEG_GS };
	uint16_t sel[ARRAY_SIZE(order)];
	uint64_t sp = stk_pop(s, u, k, 4);

	if (rip > 0xffff)
		gp(s, u, 0);
	for (unsigned i = 0; i < ARRAY_SIZE(order); i++)
		sel[i] = (uint16_t)stk_pop(s, u, k, 4);
	iret_flags(s, fl, FL_DEFINED);
	s->cpl = 3;
	soft_set_seg_real(s, SEG_CS, cs);
	for (unsigned i = 0; i < ARRAY_SIZE(order); i++)
		soft_set_seg_real(s, order[i], sel[i]);
	s->gpr[R_RSP] = (uint32_t)sp;
	s->rip = rip;
	return far_done(s);
}

static const struct uop *iret_task(struct soft *s, const struct uop *u)
{
	struct desc d;
	uint16_t sel;

	if (soft_lma(s))
		gp(s, u, 0);
	sel = (uint16_t)soft_sys_ld(s, u, s->tr.base, 2);
	if (sel & 4)
		soft_fault_code(s, u, EXC_TS, sel & ~3u);
	soft_desc_get(s, u, sel, EXC_TS, &d);
	if (desc_is_seg(&d) || (desc_type(&d) & 7) != 3)
		soft_fault_code(s, u, EXC_TS, sel & ~3u);
	if (!desc_present(&d))
		soft_fault_code(s, u, EXC_NP, sel & ~3u);
	soft_task_switch(s, u, sel, &d, TASK_IRET, UOP_NEXT_RIP(s, u), false, 0);
	return far_done(s);
}

static const struct uop *iret_prot(struct soft *s, const struct uop *u)
{
	unsigned n = u->osize, cpl;
	uint64_t rip, sp = 0;
	struct x86_seg ss;
	uint32_t fl, mask;
	struct desc d;
	struct stk k;
	uint16_t sel;
	bool with_ss;

	stk_current(s, &k);
	rip = stk_pop(s, u, &k, n);
	sel = (uint16_t)stk_pop(s, u, &k, n);
	fl = (uint32_t)stk_pop(s, u, &k, n);
	if ((fl & FL_VM) && n == 4 && s->cpl == 0 && !soft_lma(s))
		return iret_to_v86(s, u, &k, rip, sel, fl);
	return_cs(s, u, sel, &d);
	cpl = sel & 3;
	with_ss = cpl != s->cpl || (s->mode & MODE_CS64);
	if (with_ss) {
		sp = stk_pop(s, u, &k, n);
		return_ss(s, u, (uint16_t)stk_pop(s, u, &k, n), cpl, &d, &ss);
	}
	check_entry(s, u, sel, &d, &rip);
	mask = iret_mask(s, n);
	if (with_ss) {
		s->seg[SEG_SS] = ss;
		set_outer_sp(s, &ss, &d, sp);
	} else {
		stk_commit(s, &k);
	}
	if (cpl != s->cpl) {
		set_cs(s, u, sel, &d, cpl, rip);
		soft_drop_segs(s);
	} else {
		set_cs(s, u, sel, &d, cpl, rip);
	}
	iret_flags(s, fl, mask);
	return far_done(s);
}

const struct uop *op_iret(struct soft *s, const struct uop *u)
{
	s->nmi_blocked = false;		/* even if it faults: SDM vol. 3, 6.7.1 */
	if (real_like(s))
		return iret_real(s, u);
	if (s->eflags & FL_NT)
		return iret_task(s, u);
	return iret_prot(s, u);
}
