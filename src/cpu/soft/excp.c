/* SPDX-License-Identifier: MIT */
/*
 * Exceptions and interrupts: raising, double and triple faults, and delivery
 * through the real-mode vector table, the 16/32-bit IDT with task gates and
 * virtual-8086 mode, and the long-mode IDT with its stack table (Intel SDM
 * vol. 3 ch. 6, 17 and 20).
 *
 * Delivery changes registers only after its last access that may fault, so
 * that a nested fault finds the interrupted state whole.
 */
#include "sys_int.h"

/* s->delivering: severity of the event on its way (SDM vol. 3 table 6-5). */
enum { SEV_NONE, SEV_BENIGN, SEV_CONTRIBUTORY, SEV_PAGE_FAULT, SEV_DOUBLE };

struct event {
	uint8_t vector;
	bool has_code, fault;	/* fault: RF is set in the pushed flags */
	bool gate_dpl;		/* INT n, INT3, INTO: CPL must reach the gate */
	bool keep_rf;		/* external interrupt: RF is pushed as it is */
	uint32_t code;
	uint64_t rip;		/* pushed */
};

/* ---- raising -------------------------------------------------------------------- */

static HV_NORETURN void raise_exc(struct soft *s, const struct uop *u, unsigned vector,
				  bool has_code, uint32_t code)
{
	if (u)
		s->rip = UOP_RIP(s, u);
	s->exc.vector = (uint8_t)vector;
	s->exc.has_code = has_code;
	s->exc.code = code;
	s->exc.pending = true;
	s->dr_hit = 0;
	siglongjmp(s->fault_jmp, 1);
}

void soft_fault(struct soft *s, const struct uop *u, unsigned vector)
{
	raise_exc(s, u, vector, false, 0);
}

void soft_fault_code(struct soft *s, const struct uop *u, unsigned vector, uint32_t code)
{
	if (vector != EXC_PF && vector != EXC_AC && s->delivering && s->exc.ext)
		code |= 1;
	raise_exc(s, u, vector, true, code);
}

static unsigned severity(unsigned vector)
{
	switch (vector) {
	case EXC_DE: case EXC_TS: case EXC_NP: case EXC_SS: case EXC_GP:
		return SEV_CONTRIBUTORY;
	case EXC_PF:
		return SEV_PAGE_FAULT;
	case EXC_DF:
		return SEV_DOUBLE;
	default:
		return SEV_BENIGN;
	}
}

/* ---- pieces shared by all forms of delivery ----------------------------------------- */

static uint32_t gate_code(const struct soft *s, const struct event *e)
{
	return (uint32_t)e->vector << 3 | 2 | (s->exc.ext ? 1 : 0);
}

static HV_NORETURN void gate_fault(struct soft *s, const struct uop *u, unsigned vector,
				   const struct event *e)
{
	soft_fault_code(s, u, vector, gate_code(s, e));
}

static uint32_t flags_image(const struct soft *s, const struct event *e)
{
	uint32_t fl = soft_get_eflags(s);

	return e->fault ? fl | FL_RF : e->keep_rf ? fl : fl & ~FL_RF;
}

/* After the last access: flags of the handler. */
static void handler_flags(struct soft *s, bool int_gate, uint32_t also_clear)
{
	s->eflags &= ~(FL_TF | FL_RF | also_clear | (int_gate ? FL_IF : 0));
	s->halted = false;
	s->intr_shadow = s->ss_shadow = false;
}

static void load_real_cs(struct soft *s, uint16_t sel)
{
	struct x86_seg *cs = &s->seg[SEG_CS];

	cs->sel = sel;
	cs->base = (uint32_t)sel << 4;
	if (soft_v86(s)) {
		cs->limit = 0xffff;
		cs->attr = 0xf3;
	}
}

/* ---- real mode, and INT n redirected inside virtual-8086 mode -------------------------- */

static void deliver_ivt(struct soft *s, const struct uop *u, const struct event *e,
			uint64_t table, uint32_t flags, uint32_t clear)
{
	uint32_t ivt = (uint32_t)soft_ld_as(s, u, table + e->vector * 4u, 4, soft_v86(s));
	struct stk k;

	stk_current(s, &k);
	stk_push(s, u, &k, flags, 2, 0);
	stk_push(s, u, &k, s->seg[SEG_CS].sel, 2, 0);
	stk_push(s, u, &k, e->rip, 2, 0);
	stk_commit(s, &k);
	load_real_cs(s, ivt >> 16);
	s->rip = ivt & 0xffff;
	handler_flags(s, false, clear);
}

static void deliver_real(struct soft *s, const struct uop *u, const struct event *e)
{
	if (e->vector * 4u + 3 > s->idt.limit)
		gate_fault(s, u, EXC_GP, e);
	deliver_ivt(s, u, e, s->idt.base, flags_image(s, e), FL_IF | FL_AC);
}

/* CR4.VME: a clear bit in the TSS's redirection map sends INT n to the 8086 handler. */
static bool vme_redirected(struct soft *s, const struct uop *u, unsigned vector)
{
	uint16_t map;

	if (!(s->cr4 & CR4_VME) || s->tr.limit < 0x67)
		return false;
	map = (uint16_t)soft_sys_ld(s, u, s->tr.base + 0x66, 2);
	if (map < 32 || map - 32u + vector / 8 > s->tr.limit)
		return false;
	return !(soft_sys_ld(s, u, s->tr.base + map - 32 + vector / 8, 1) >> (vector & 7) & 1);
}

/* INT n in virtual-8086 mode; true: done. */
static bool deliver_v86_int(struct soft *s, const struct uop *u, const struct event *e)
{
	uint32_t fl = flags_image(s, e);

	if (vme_redirected(s, u, e->vector)) {
		if (soft_iopl(s) == 3) {
			deliver_ivt(s, u, e, 0, fl, FL_IF);
			return true;
		}
		fl = (fl & ~(FL_IF | FL_IOPL)) | FL_IOPL | (s->eflags & FL_VIF ? FL_IF : 0);
		deliver_ivt(s, u, e, 0, fl, FL_VIF);
		return true;
	}
	if (soft_iopl(s) < 3)
		soft_fault_code(s, u, EXC_GP, 0);
	return false;
}

/* ---- protected mode, 16- and 32-bit gates ------------------------------------------------ */

static void read_gate(struct soft *s, const struct uop *u, const struct event *e, unsigned size,
		      struct desc *g)
{
	unsigned type;

	if (e->vector * size + size - 1 > s->idt.limit)
		gate_fault(s, u, EXC_GP, e);
	g->lin = lin_wrap(s, s->idt.base + e->vector * size);
	g->raw = soft_sys_ld(s, u, g->lin, 8);
	g->hi = size == 16 ? soft_sys_ld(s, u, g->lin + 8, 8) : 0;
	type = desc_type(g);
	if (desc_is_seg(g) || (type & 6) < 4 ||
	    (size == 16 ? type < 14 : (type & 7) == 4 || type == 13))
		gate_fault(s, u, EXC_GP, e);
	if (e->gate_dpl && desc_dpl(g) < s->cpl)
		gate_fault(s, u, EXC_GP, e);
	if (!desc_present(g))
		gate_fault(s, u, EXC_NP, e);
}

/* The handler's code segment; returns the new CPL. */
static unsigned gate_cs(struct soft *s, const struct uop *u, uint16_t sel, struct desc *d)
{
	if (!(sel & ~3u))
		soft_fault_code(s, u, EXC_GP, 0);
	soft_desc_get(s, u, sel, EXC_GP, d);
	if (!desc_is_seg(d) || !desc_is_code(d) || desc_dpl(d) > s->cpl)
		soft_fault_code(s, u, EXC_GP, sel & ~3u);
	if (soft_lma(s) && (desc_attr(d) & (SA_L | SA_DB)) != SA_L)
		soft_fault_code(s, u, EXC_GP, sel & ~3u);
	if (!desc_present(d))
		soft_fault_code(s, u, EXC_NP, sel & ~3u);
	return desc_attr(d) & SA_DC ? s->cpl : desc_dpl(d);
}

static void enter_handler(struct soft *s, const struct uop *u, struct desc *cs, uint16_t sel,
			  unsigned cpl, uint64_t rip)
{
	soft_seg_from_desc(&s->seg[SEG_CS], (sel & ~3u) | cpl, cs);
	s->rip = rip;
	s->cpl = (uint8_t)cpl;
}

static void inner_stack(struct soft *s, const struct uop *u, unsigned cpl, struct x86_seg *ss,
			struct stk *k)
{
	struct desc d;
	uint16_t sel;
	uint64_t sp;

	soft_tss_stack(s, u, cpl, &sel, &sp);
	if (!(sel & ~3u))
		soft_fault_code(s, u, EXC_TS, 0);
	soft_check_ss(s, u, sel, cpl, EXC_TS, EXC_SS, &d);
	soft_desc_set_accessed(s, u, &d);
	soft_seg_from_desc(ss, sel, &d);
	stk_from_seg(s, k, ss, sp, cpl);
}

static void push_frame(struct soft *s, const struct uop *u, const struct event *e, struct stk *k,
		       unsigned size, bool inner, uint32_t ss_code)
{
	static const uint8_t v86_segs[] = { SEG_GS, SEG_FS, SEG_DS, SEG_ES };

	if (soft_v86(s))
		for (unsigned i = 0; i < ARRAY_SIZE(v86_segs); i++)
			stk_push(s, u, k, s->seg[v86_segs[i]].sel, size, ss_code);
	if (inner) {
		stk_push(s, u, k, s->seg[SEG_SS].sel, size, ss_code);
		stk_push(s, u, k, s->gpr[R_RSP], size, ss_code);
	}
	stk_push(s, u, k, flags_image(s, e), size, ss_code);
	stk_push(s, u, k, s->seg[SEG_CS].sel, size, ss_code);
	stk_push(s, u, k, e->rip, size, ss_code);
	if (e->has_code)
		stk_push(s, u, k, e->code, size, ss_code);
}

static void deliver_task_gate(struct soft *s, const struct uop *u, const struct event *e,
			      const struct desc *g)
{
	uint16_t sel = g->raw >> 16 & 0xffff;
	struct desc d;

	if (sel & 4)
		soft_fault_code(s, u, EXC_GP, sel & ~3u);
	soft_desc_get(s, u, sel, EXC_GP, &d);
	if (desc_is_seg(&d) || (desc_type(&d) != 1 && desc_type(&d) != 9))
		soft_fault_code(s, u, EXC_GP, sel & ~3u);
	if (!desc_present(&d))
		soft_fault_code(s, u, EXC_NP, sel & ~3u);
	soft_task_switch(s, u, sel, &d, TASK_INT, e->rip, e->has_code, e->code);
	s->halted = false;
}

static void deliver_prot(struct soft *s, const struct uop *u, const struct event *e)
{
	unsigned size, cpl, type;
	struct x86_seg ss, cs;
	struct desc g, d;
	uint64_t target;
	uint16_t sel;
	struct stk k;
	bool inner;

	read_gate(s, u, e, 8, &g);
	type = desc_type(&g);
	if (type == 5) {
		deliver_task_gate(s, u, e, &g);
		return;
	}
	size = type & 8 ? 4 : 2;
	sel = g.raw >> 16 & 0xffff;
	target = (g.raw & 0xffff) | (size == 4 ? g.raw >> 48 << 16 : 0);
	cpl = gate_cs(s, u, sel, &d);
	if (soft_v86(s) && cpl != 0)
		soft_fault_code(s, u, EXC_GP, sel & ~3u);
	inner = cpl != s->cpl;
	if (inner)
		inner_stack(s, u, cpl, &ss, &k);
	else
		stk_current(s, &k);
	soft_desc_set_accessed(s, u, &d);
	soft_seg_from_desc(&cs, sel, &d);
	soft_check_target(s, u, &cs, &target);
	push_frame(s, u, e, &k, size, inner, inner ? ss.sel & ~3u : 0);

	if (soft_v86(s))
		for (unsigned i = 0; i < SEG_NUM; i++)
			if (i != SEG_CS && i != SEG_SS)
				soft_seg_null(&s->seg[i], 0);
	if (inner)
		s->seg[SEG_SS] = ss;
	stk_commit(s, &k);
	enter_handler(s, u, &d, sel, cpl, target);
	handler_flags(s, !(type & 1), FL_NT | FL_VM);
}

/* ---- long mode --------------------------------------------------------------------------------
 */

static uint64_t tss64_ptr(struct soft *s, const struct uop *u, unsigned off)
{
	if (off + 7 > s->tr.limit)
		soft_fault_code(s, u, EXC_TS, s->tr.sel & ~3u);
	return soft_sys_ld(s, u, s->tr.base + off, 8);
}

static void deliver_long(struct soft *s, const struct uop *u, const struct event *e)
{
	struct stk k = { .flat = true, .mask = UINT64_MAX };
	unsigned cpl, ist;
	struct desc g, d;
	uint64_t target;
	uint16_t sel;

	read_gate(s, u, e, 16, &g);
	sel = g.raw >> 16 & 0xffff;
	ist = g.raw >> 32 & 7;
	target = (g.raw & 0xffff) | (g.raw >> 48 << 16) | g.hi << 32;
	cpl = gate_cs(s, u, sel, &d);
	if (ist)
		k.sp = tss64_ptr(s, u, 0x24 + 8 * (ist - 1));
	else if (cpl != s->cpl)
		k.sp = tss64_ptr(s, u, 4 + 8 * cpl);
	else
		k.sp = s->gpr[R_RSP];
	k.user = cpl == 3;
	if (!canonical(target))
		soft_fault_code(s, u, EXC_GP, 0);
	k.sp &= ~15ull;
	soft_desc_set_accessed(s, u, &d);
	push_frame(s, u, e, &k, 8, true, 0);

	if (cpl != s->cpl) {
		soft_seg_null(&s->seg[SEG_SS], (uint16_t)cpl);
		s->seg[SEG_SS].attr |= cpl << SA_DPL_SHIFT;
	}
	s->gpr[R_RSP] = k.sp;
	enter_handler(s, u, &d, sel, cpl, target);
	handler_flags(s, !(desc_type(&g) & 1), FL_NT | FL_VM);
}

/* ---- entry points
 * --------------------------------------------------------------------------------- */

static void deliver(struct soft *s, const struct uop *u, const struct event *e)
{
	if (!soft_pe(s))
		deliver_real(s, u, e);
	else if (soft_lma(s))
		deliver_long(s, u, e);
	else
		deliver_prot(s, u, e);
	if (e->vector == EXC_DB)
		s->dr[7] &= ~(uint64_t)DR7_GD;
	s->delivering = SEV_NONE;
	soft_update_mode(s);
}

void soft_take_fault(struct soft *s)
{
	struct event e = {
		.vector = s->exc.vector, .has_code = s->exc.has_code, .code = s->exc.code,
		.fault = true, .rip = s->rip,
	};
	unsigned first = s->delivering, sev = severity(e.vector);

	s->exc.pending = false;
	if (first == SEV_DOUBLE) {
		s->delivering = SEV_NONE;
		s->triple_fault = true;
		return;
	}
	if (first > SEV_BENIGN && sev > SEV_BENIGN &&
	    (first == SEV_PAGE_FAULT || sev != SEV_PAGE_FAULT)) {
		e.vector = EXC_DF;
		e.has_code = true;
		e.code = 0;
		sev = SEV_DOUBLE;
	}
	if (!soft_pe(s))
		e.has_code = false;
	s->delivering = (uint8_t)sev;
	s->exc.ext = true;
	deliver(s, NULL, &e);
}

void soft_deliver(struct soft *s, unsigned vector, bool has_code, uint32_t code, bool soft_int)
{
	struct event e = {
		.vector = (uint8_t)vector, .has_code = has_code, .code = code,
		.gate_dpl = soft_int, .rip = s->rip, .keep_rf = !soft_int,
	};

	if (s->exc.pending) {
		soft_take_fault(s);
		return;
	}
	if (vector == EXC_NMI && !soft_int)
		s->nmi_blocked = true;
	s->delivering = SEV_BENIGN;
	s->exc.ext = !soft_int;
	deliver(s, NULL, &e);
}

void soft_int(struct soft *s, const struct uop *u, unsigned vector, enum soft_int_kind kind)
{
	struct event e = {
		.vector = (uint8_t)vector, .gate_dpl = kind != INT_1, .rip = UOP_NEXT_RIP(s, u),
	};

	s->delivering = SEV_BENIGN;
	s->exc.ext = kind == INT_1;
	s->no_step = true;
	if (kind == INT_N && soft_v86(s) && deliver_v86_int(s, u, &e)) {
		s->delivering = SEV_NONE;
		soft_update_mode(s);
		return;
	}
	deliver(s, u, &e);
}

/* ---- debug exceptions
 * ---------------------------------------------------------------------------- */

static void deliver_db(struct soft *s, uint32_t dr6_bits)
{
	struct event e = { .vector = EXC_DB, .rip = s->rip };

	s->dr[6] |= dr6_bits;
	s->delivering = SEV_BENIGN;
	s->exc.ext = true;
	deliver(s, NULL, &e);
}

void soft_db_trap(struct soft *s, uint32_t dr6_bits)
{
	deliver_db(s, dr6_bits);
}

bool soft_debug_before(struct soft *s)
{
	uint64_t lin = s->rip + (s->mode & MODE_CS64 ? 0 : s->seg[SEG_CS].base), d = s->dr[7];
	bool held = s->ss_shadow;
	uint32_t hit = 0;

	s->no_step = s->rf_loaded = s->ss_shadow = false;
	if (held)	/* MOV SS before us: its data breakpoints stay pending */
		return true;
	s->dr_hit = 0;
	if (!(d & 0xff) || (s->eflags & FL_RF))
		return true;
	for (unsigned i = 0; i < 4; i++)
		if ((d >> 2 * i & 3) && !(d >> (16 + 4 * i) & 15) && s->dr[i] == lin_wrap(s, lin))
			hit |= 1u << i;
	if (!hit)
		return true;
	deliver_db(s, hit);
	return false;
}

void soft_debug_after(struct soft *s, uint32_t mode_before)
{
	uint32_t bits = s->dr_hit;

	if (!s->rf_loaded)
		s->eflags &= ~FL_RF;
	if ((mode_before & MODE_TF) && !s->no_step)
		bits |= DR6_BS;
	if (s->ss_shadow)	/* held back until after the next instruction */
		return;
	s->dr_hit = 0;
	if (bits)
		deliver_db(s, bits);
}
