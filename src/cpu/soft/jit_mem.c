/* SPDX-License-Identifier: MIT */
/*
 * Translated code's way to memory: effective address, the check against the
 * TLB, and where the guest's flags are kept meanwhile.
 *
 * The check is that of soft_ld64(): the entry of the first byte's page must
 * have the tag of the last byte's.  Anything else jumps out of line, where
 * the uop's handler does the whole instruction.
 */
#include "jit_trans.h"

/* ---- flags ------------------------------------------------------------------- */
void jit_save_flags(struct trans *t)
{
	if (t->in_rax)
		return;
	em_op(&t->e, 0, 0x8b, H_FLAGS, hop_reg(H_STATE));	/* what was there does not matter */
	em8(&t->e, 0x9f);			/* lahf */
	em_op(&t->e, EM_8, OPF(0x90), 0, hop_reg(H_FLAGS));	/* seto al */
	t->in_rax = true;
}

/* CMP AL,81h overflows exactly if AL is 1. */
static void flags_to_efl(struct emit *e)
{
	em8(e, 0x3c);
	em8(e, 0x81);
	em8(e, 0x9e);				/* sahf */
}

void jit_need_flags(struct trans *t, unsigned mask)
{
	if (!mask || t->in_efl)
		return;
	if (mask == FL_CF) {			/* only CF is right then */
		em_op(&t->e, 0, OPF(0xba), 4, hop_reg(H_FLAGS));
		em8(&t->e, 8);
		return;
	}
	flags_to_efl(&t->e);
	t->in_efl = true;
}

/* ---- addresses ------------------------------------------------------------------ */
bool jit_ea_ok(const struct uop *u)
{
	int64_t disp = u->disp + (u->base == GPR_RIP ? 4096 : 0);

	return disp == (int32_t)disp && u->disp == (int32_t)u->disp && u->asize >= 4 &&
	       !(u->base == GPR_RIP && u->index != GPR_ZERO);
}

static int ea_home(unsigned gpr)
{
	return gpr < 16 ? jit_home[gpr] : NO_REG;
}

/* Everything in registers: the operand itself. */
bool jit_ea_direct(const struct uop *u, struct hop *m)
{
	int b = ea_home(u->base), i = ea_home(u->index);

	if ((u->base < 16 && b < 0) || (u->index < 16 && i < 0) || u->base == GPR_RIP)
		return false;
	*m = hop_sib(b, i, i < 0 ? 0 : u->scale, (int32_t)u->disp);
	return true;
}

void jit_lea(struct trans *t, const struct uop *u, bool t1_free)
{
	int b = ea_home(u->base), i = ea_home(u->index);
	struct emit *e = &t->e;
	struct hop m;

	if (jit_ea_direct(u, &m)) {
		em_lea(e, H_T0, m);
	} else if (u->base == GPR_RIP) {
		em_load(e, H_T0, hop_mem(H_STATE, STATE(jit_page)));
		em_lea(e, H_T0, hop_mem(H_T0, (int32_t)u->disp + (int32_t)(t->b->off & 4095)));
	} else if (u->index == GPR_ZERO) {
		em_load(e, H_T0, slot(u->base * 8u));
		if (u->disp)
			em_lea(e, H_T0, hop_mem(H_T0, (int32_t)u->disp));
	} else if (i >= 0) {
		em_load(e, H_T0, slot(u->base * 8u));
		em_lea(e, H_T0, hop_sib(H_T0, i, u->scale, (int32_t)u->disp));
	} else {
		em_load(e, H_T0, slot(u->index * 8u));
		if (b >= 0 || u->base == GPR_ZERO) {
			em_lea(e, H_T0, hop_sib(b, H_T0, u->scale, (int32_t)u->disp));
		} else if (t1_free) {
			em_load(e, H_T1, slot(u->base * 8u));
			em_lea(e, H_T0, hop_sib(H_T1, H_T0, u->scale, (int32_t)u->disp));
		} else {
			em_lea(e, H_T0, hop_sib(NO_REG, H_T0, u->scale, (int32_t)u->disp));
			em_op(e, EM_W, 0x03, H_T0, slot(u->base * 8u));
		}
	}
	if (u->asize == 4)
		em_op(e, 0, 0x8b, H_T0, hop_reg(H_T0));
}

static void lea_lin(struct trans *t, const struct uop *u)
{
	jit_lea(t, u, false);
	if (!(u->flags & UOP_FLATSEG))
		em_op(&t->e, EM_W, 0x03, H_T0,
		      hop_mem(H_STATE, STATE(seg) + (int32_t)(u->seg * sizeof(struct x86_seg) +
							       offsetof(struct x86_seg, base))));
}

/* ---- the check ------------------------------------------------------------------- */
void jit_slow_jump(struct trans *t, unsigned cc)
{
	uint8_t *at = em_jcc(&t->e, cc);

	HV_BUG_ON(t->cur->n == ARRAY_SIZE(t->cur->from));
	t->cur->from[t->cur->n++] = at;
}

void jit_sp_settle(struct trans *t)
{
	int sp = jit_home[R_RSP];

	if (t->sp_lag)
		em_lea(&t->e, sp, hop_mem(sp, t->sp_lag));
	t->sp_lag = 0;
}

void jit_sp_move(struct trans *t, int32_t words)
{
	int sp = jit_home[R_RSP];

	if (t->win.open && t->win.gpr == R_RSP)
		t->sp_lag += words * 8;
	else
		em_op(&t->e, t->word, 0x8d, sp, hop_mem(sp, words * (t->word ? 8 : 4)));
}

/* T1 = address of the first byte, T0 = of the last (or what to compare): T1 = delta. */
static void check(struct trans *t, bool write, int32_t mask)
{
	struct emit *e = &t->e;

	t->win.open = false;
	em_op(e, 0, 0xc1, 5, hop_reg(H_T1));
	em8(e, 12 - 5);
	_Static_assert(sizeof(struct soft_tlbe) == 32, "shift");
	em_alu_imm(e, 0, 4, hop_reg(H_T1), (TLB_SIZE - 1) << 5);
	em_op(e, EM_W, 0x03, H_T1, hop_mem(H_STATE, STATE(tlb)));
	em_alu_imm(e, EM_W, 4, hop_reg(H_T0), mask);
	em_op(e, EM_W, 0x3b, H_T0,
	      hop_mem(H_T1, write ? offsetof(struct soft_tlbe, tag_w) :
				    offsetof(struct soft_tlbe, tag_r)));
	jit_slow_jump(t, 5);
	em_load(e, H_T1, hop_mem(H_T1, offsetof(struct soft_tlbe, delta)));
	t->in_efl = false;
}

/*
 * T0 = linear address -> T1 = delta; T0 is spoiled.  If it must be aligned,
 * misalignment is a mismatch, too, and no access crosses pages.
 */
static void check_t0(struct trans *t, unsigned size, bool write, bool aligned)
{
	struct emit *e = &t->e;

	em_op(e, 0, 0x8b, H_T1, hop_reg(H_T0));
	if (size > 1 && !aligned)
		em_alu_imm(e, EM_W, 0, hop_reg(H_T0), (int32_t)size - 1);
	check(t, write, -4096 | (aligned ? (int32_t)size - 1 : 0));
}

/* Check [gpr + disp, ... + size) for this access, perhaps for later ones, too. */
static struct hop by_gpr(struct trans *t, unsigned gpr, int32_t disp, unsigned size, bool write)
{
	int32_t lo = disp, hi = disp + (int32_t)size;
	int base = jit_home[gpr];
	struct emit *e = &t->e;
	bool more;

	t->scratch = H_T0;
	if (jit_win_hit(t, gpr, disp, size, write))
		return hop_sib(base, H_T1, 0, disp + (gpr == R_RSP ? t->sp_lag : 0));
	jit_sp_settle(t);
	jit_save_flags(t);
	more = jit_win_plan(t, gpr, &lo, &hi, &write);
	if (jit_slot_ok(t)) {
		em_lea(e, H_T0, hop_mem(base, lo));
		jit_slot_check(t, &(struct slot_access){ .base = gpr, .index = GPR_ZERO,
							 .span = (unsigned)(hi - lo),
							 .write = write });
		if (more)
			jit_win_open(t, gpr, lo, hi, write);
		return hop_sib(base, H_T1, 0, disp);
	}
	if (lo)
		em_lea(e, H_T1, hop_mem(base, lo));
	else	/* costs no time, which a chain of pointers would notice */
		em_mov_rr(e, H_T1, base);
	if (hi - lo > 1)
		em_lea(e, H_T0, hop_mem(base, hi - 1));
	else
		em_mov_rr(e, H_T0, H_T1);
	check(t, write, -4096);
	if (more)
		jit_win_open(t, gpr, lo, hi, write);
	return hop_sib(base, H_T1, 0, disp);
}

/* T0 + T1 is the operand. */
static struct hop both_scratch(struct trans *t, const struct uop *u)
{
	if (home(u->reg) >= 0) {
		t->scratch = NO_REG;
		return hop_sib(H_T0, H_T1, 0, 0);
	}
	em_op(&t->e, EM_W, 0x03, H_T0, hop_reg(H_T1));
	t->scratch = H_T1;
	return hop_mem(H_T0, 0);
}

static struct hop by_slot(struct trans *t, const struct uop *u, unsigned size, bool write,
			  bool aligned, bool simple)
{
	struct slot_access a = { .base = u->base, .index = u->index, .span = size, .write = write,
				 .by_host = !simple };

	if (aligned)
		a.align = (uint8_t)__builtin_ctz(size);
	lea_lin(t, u);
	jit_slot_check(t, &a);
	if (!simple)
		return both_scratch(t, u);
	t->scratch = H_T0;
	return hop_sib(ea_home(u->base), H_T1, 0, (int32_t)u->disp);
}

static struct hop mem_operand(struct trans *t, const struct uop *u, unsigned size, bool write,
			      bool aligned)
{
	bool direct, flat = u->asize == 8 && u->flags & UOP_FLATSEG;
	struct mem_use *a = &t->access[t->at];
	struct hop m;

	if (t->quick && t->group[t->at] >= 0)
		return jit_group_operand(t, u, (unsigned)t->group[t->at]);
	*a = (struct mem_use){ a->n + 1, (uint8_t)size, write, aligned };
	direct = flat && jit_ea_direct(u, &m) && m.disp < INT32_MAX - 4096;
	if (direct && m.index < 0 && m.base >= 0 && !aligned)
		return by_gpr(t, u->base, m.disp, size, write);
	jit_save_flags(t);
	if (jit_slot_ok(t))
		return by_slot(t, u, size, write, aligned, direct && m.index < 0 && m.base >= 0);
	if (direct && size > 1 && !aligned) {
		em_lea(&t->e, H_T1, m);
		m.disp += (int32_t)size - 1;
		em_lea(&t->e, H_T0, m);
		m.disp -= (int32_t)size - 1;
		check(t, write, -4096);
	} else {
		lea_lin(t, u);
		check_t0(t, size, write, aligned);
	}
	if (direct && m.index < 0 && m.base >= 0) {
		t->scratch = H_T0;
		return hop_sib(m.base, H_T1, 0, m.disp);
	}
	/* The same value as before: nothing in between changes a guest register. */
	lea_lin(t, u);
	if (home(u->reg) >= 0 && u->flags & UOP_FLATSEG) {
		t->scratch = NO_REG;
		return hop_sib(H_T0, H_T1, 0, 0);
	}
	em_op(&t->e, EM_W, 0x03, H_T0, hop_reg(H_T1));
	t->scratch = H_T1;
	return hop_mem(H_T0, 0);
}

struct hop jit_mem(struct trans *t, const struct uop *u, unsigned size, bool write)
{
	return mem_operand(t, u, size, write, false);
}

struct hop jit_mem_aligned(struct trans *t, const struct uop *u, unsigned size, bool write)
{
	return mem_operand(t, u, size, write, true);
}

struct hop jit_at(struct trans *t, unsigned gpr, int32_t disp, unsigned size, bool write)
{
	struct hop m = hop_mem(jit_home[gpr], disp);

	if (t->word)
		return by_gpr(t, gpr, disp, size, write);
	jit_save_flags(t);
	em_op(&t->e, 0, 0x8d, H_T0, m);
	check_t0(t, size, write, false);
	t->scratch = H_T0;
	em_op(&t->e, 0, 0x8d, H_T0, m);
	em_op(&t->e, EM_W, 0x03, H_T1, hop_reg(H_T0));
	return hop_mem(H_T1, 0);
}

struct hop jit_stack(struct trans *t, unsigned gpr, int32_t disp, bool write)
{
	return jit_at(t, gpr, disp, t->word ? 8 : 4, write);
}
