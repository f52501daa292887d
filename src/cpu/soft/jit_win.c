/* SPDX-License-Identifier: MIT */
/*
 * One check for several accesses: those through the same base register with
 * small displacements, and runs of pushes and pops, that follow each other.
 *
 * The first of them checks the whole range, and while T1 still holds the
 * page's delta the others access memory at once.  If that check fails, the
 * interpreter does the rest of the block; a block that fails often (the range
 * crosses a page, the page is device memory) is translated once more without
 * windows (soft_jit_narrow()).  64-bit code only.
 */
#include "jit_trans.h"

#define MAX_RANGE 1024

struct access {
	unsigned gpr, size;
	int32_t disp;
	bool write;
};

/* Of a vector operand in memory; 0: not for us. */
static unsigned vector_size(const struct uop *u)
{
	const struct optable_info *inf = &soft_optable_info[u->row];

	if (soft_optable[u->row].attr & A_ALIGN16)
		return 0;
	for (unsigned i = 0; i < inf->n; i++) {
		const struct opd *o = &inf->opd[i];

		if (o->kind != K_V && o->kind != K_W && o->kind != K_M && o->kind != K_I)
			return 0;
	}
	return 16;
}

static bool ea_simple(const struct uop *u)
{
	return u->flags & UOP_FLATSEG && u->asize == 8 && u->base < 16 &&
	       jit_home[u->base] >= 0 && u->index == GPR_ZERO && jit_ea_ok(u);
}

/* The one memory access of @u, if it goes through a register alone. */
static bool simple_access(const struct plan *p, const struct uop *u, struct access *a)
{
	switch (p->kind) {
	case JK_PUSH:
	case JK_PUSH_I:
	case JK_CALL:
		*a = (struct access){ R_RSP, 8, -8, true };
		return true;
	case JK_POP:
	case JK_RET:
		*a = (struct access){ R_RSP, 8, 0, false };
		return true;
	case JK_LEAVE:
		*a = (struct access){ R_RBP, 8, 0, false };
		return true;
	default:
		break;
	}
	if (u->flags & UOP_MOD3 || !ea_simple(u))
		return false;
	*a = (struct access){ .gpr = u->base, .disp = (int32_t)u->disp };
	if (p->kind == JK_SSE) {
		a->size = vector_size(u);
		a->write = soft_optable_info[u->row].opd[0].kind != K_V;
		return a->size;
	}
	if (!p->r || !(p->r->use & (U_ER | U_EW)))
		return false;
	a->size = jit_e_size(u, p->r);
	a->write = p->r->use & U_EW;
	return true;
}

/* T1 is as it was behind @u, if its memory access is inside the window. */
static bool keeps(const struct plan *p, const struct uop *u)
{
	bool mem = !(u->flags & UOP_MOD3);

	switch (p->kind) {
	case JK_GENERIC:
		if (mem && p->r->use & (U_ER | U_EW))
			return ea_simple(u);
		return !jit_is_high(p->r, u) && (jit_home[u->rm >> 3] >= 0 || p->r->ext != NO_REG ||
						 jit_home[u->reg >> 3] >= 0);
	case JK_MOV_IMM:
	case JK_MUL:
		return !mem || ea_simple(u);
	case JK_CMPXCHG:
		return mem && ea_simple(u);
	case JK_LEA:
		return u->osize >= 4 && (u->base >= 16 || jit_home[u->base] >= 0 ||
					 u->index >= 16 || jit_home[u->index] >= 0);
	case JK_SSE:
		return vector_size(u) && (!mem || ea_simple(u));
	case JK_NOP:
	case JK_PAUSE:
	case JK_PUSH:
	case JK_PUSH_I:
	case JK_POP:
	case JK_BSWAP:
	case JK_CBW:
	case JK_CARRY:
		return true;
	default:
		return false;
	}
}

/* @gpr moves by a constant. */
static bool moves(const struct plan *p, const struct uop *u, unsigned gpr, int32_t *by)
{
	uop_fn fn = p->r ? p->r->fn : NULL;

	switch (p->kind) {
	case JK_PUSH:
	case JK_PUSH_I:
		*by = -8;
		return gpr == R_RSP;
	case JK_POP:
		*by = 8;
		return gpr == R_RSP && u->rm != R_RSP * 8;
	case JK_LEA:
		*by = (int32_t)u->disp;
		return u->reg == gpr * 8 && u->base == gpr && u->index == GPR_ZERO &&
		       u->osize == 8 && u->asize == 8;
	case JK_GENERIC:
		if (!(u->flags & UOP_MOD3) || u->rm != gpr * 8 || u->osize != 8)
			return false;
		*by = fn == h_add_ei ? (int32_t)u->imm : fn == h_sub_ei ? -(int32_t)u->imm :
		      fn == h_inc ? 1 : -1;
		return fn == h_add_ei || fn == h_sub_ei || fn == h_inc || fn == h_dec;
	default:
		return false;
	}
}

static bool writes(const struct plan *p, const struct uop *u, unsigned gpr)
{
	uint16_t use = p->r ? p->r->use : 0;

	switch (p->kind) {
	case JK_GENERIC:
	case JK_MOV_IMM:
	case JK_CMPXCHG:
		return (use & U_EW && u->flags & UOP_MOD3 && u->rm >> 3 == gpr) ||
		       (use & U_GW && u->reg >> 3 == gpr) ||
		       (p->kind == JK_CMPXCHG && gpr == R_RAX);
	case JK_LEA:
		return u->reg >> 3 == gpr;
	case JK_MUL:
		return gpr == R_RAX || gpr == R_RDX;
	case JK_POP:
	case JK_BSWAP:
		return u->rm >> 3 == gpr;
	case JK_CBW:
		return gpr == R_RAX;
	case JK_SSE:	/* keeps(): no general register */
	case JK_NOP:
	case JK_PAUSE:
	case JK_PUSH:
	case JK_PUSH_I:
	case JK_CARRY:
		return false;
	default:
		return true;
	}
}

/* Carry a window on the register behind @u; false: it ends. */
static bool pass(const struct plan *p, const struct uop *u, unsigned gpr, int32_t *moved)
{
	int32_t by;

	*moved = 0;
	if (!keeps(p, u))
		return false;
	if (moves(p, u, gpr, &by)) {
		*moved = by;
		return by > -MAX_RANGE && by < MAX_RANGE;
	}
	return !writes(p, u, gpr);
}

bool jit_win_hit(const struct trans *t, unsigned gpr, int32_t disp, unsigned size, bool write)
{
	const struct window *w = &t->win;

	return w->open && w->gpr == gpr && disp >= w->lo && disp + (int32_t)size <= w->hi &&
	       (w->write || !write);
}

/*
 * How far a check for this access should reach: [*lo, *hi) from the register.
 * True if later uops of the block profit.
 */
bool jit_win_plan(const struct trans *t, unsigned gpr, int32_t *lo, int32_t *hi, bool *write)
{
	int32_t off = 0, moved;
	bool more = false;

	if (!t->word || t->b->narrow || *lo < -(1 << 30) || *hi > 1 << 30)
		return false;
	for (unsigned i = t->at;; i++) {
		const struct plan *p = &t->plan[i];
		const struct uop *u = &t->b->u[i];
		struct access a;

		if (i > t->at) {
			if (simple_access(p, u, &a) && a.gpr == gpr) {
				int32_t l = MIN(*lo, a.disp + off);
				int32_t h = MAX(*hi, a.disp + off + (int32_t)a.size);

				if ((int64_t)h - l > MAX_RANGE)
					break;
				*lo = l;
				*hi = h;
				*write |= a.write;
				more = true;
			} else if (!(p->kind == JK_SSE && u->flags & UOP_MOD3) &&
				   (p->faults || p->kind >= JK_BRANCHES)) {
				break;
			}
		}
		if (i + 1 >= t->nplan || !pass(p, u, gpr, &moved))
			break;
		off += moved;
	}
	return more;
}

/* Open what was planned: its failure leaves the block. */
void jit_win_open(struct trans *t, unsigned gpr, int32_t lo, int32_t hi, bool write)
{
	struct jit_window *w = soft_arena_alloc(t->s, sizeof(*w));

	if (!w) {
		t->e.p = t->e.end;	/* give up */
		return;
	}
	*w = (struct jit_window){ t->cur->u, lo, hi, (uint8_t)gpr };
	t->win = (struct window){ true, write, (uint8_t)gpr, lo, hi };
	t->cur->side = true;
	t->cur->window = w;
}

/* Behind each uop. */
void jit_win_pass(struct trans *t, const struct uop *u)
{
	int32_t moved;

	if (!t->win.open)
		return;
	if (!pass(t->p, u, t->win.gpr, &moved)) {
		t->win.open = false;
		return;
	}
	t->win.lo -= moved;
	t->win.hi -= moved;
}
