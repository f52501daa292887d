/* SPDX-License-Identifier: MIT */
/*
 * Translated code: the end of a block.
 *
 * A guest CALL is a host CALL: it pushes the guest's return address as a tag,
 * then the host's, which lands behind it.  A guest RET whose target is the tag
 * on top is a host RET, so that the host's return predictor serves the guest.
 * Anything else looks the target up in jit_tab.  Frames are dropped at any
 * time by setting the host's stack pointer back (jit_sp): on every way out to
 * C, and when there is no more room.
 *
 * A direct jump into another page compares the sum of key and page that it was
 * chained for (jit_flow.c).
 */
#include "jit_trans.h"

enum { LATE_CROSS, LATE_CROSS_CALL, LATE_ROOM, LATE_RET, LATE_JMP, LATE_CALL };

static uint8_t *jcc_late(struct trans *t, unsigned cc, unsigned kind)
{
	uint8_t *at = em_jcc(&t->e, cc);

	HV_BUG_ON(t->nlate == MAX_LATE);
	t->late[t->nlate++] = (struct late){ .kind = (uint8_t)kind, .from = at };
	return at;
}

static struct late *last_late(struct trans *t)
{
	return &t->late[t->nlate - 1];
}

/* ---- direct jumps ---------------------------------------------------------------- */
static struct jit_link *new_link(struct trans *t, int64_t delta)
{
	struct jit_link *l = &t->t->link[t->t->nlinks++];

	*l = (struct jit_link){ .from = t->b, .delta = (int32_t)delta };
	return l;
}

static void link_stub(struct trans *t, struct jit_link *l)
{
	l->stub = t->e.p;
	jit_exit(t, JX_LINK, l);
}

static bool same_page(const struct trans *t, int64_t delta)
{
	int64_t at = (int64_t)(t->b->off & 4095) + delta;

	return at >= 0 && at <= 4095;
}

/* Key and page are those of the chain: go; else out of line. */
static void emit_cross(struct trans *t, int64_t delta, bool call)
{
	int64_t at = (int64_t)(t->b->off & 4095) + delta;
	struct jit_link *l = new_link(t, delta);
	struct emit *e = &t->e;

	em8(e, 0x49);				/* mov r15, imm64 */
	em8(e, 0xb8 | (H_T1 & 7));
	l->key = e->p;
	em64(e, 0);
	em_op(e, EM_W, 0x2b, H_T1, hop_mem(H_STATE, STATE(jit_key)));
	em_op(e, EM_W, 0x3b, H_T1, hop_mem(H_STATE, STATE(jit_page)));
	jcc_late(t, 5, call ? LATE_CROSS_CALL : LATE_CROSS);
	last_late(t)->link = l;
	em_op(e, t->word, 0x8d, H_T1, hop_mem(H_T1, (int32_t)(at & ~4095ll)));
	em_store(e, hop_mem(H_STATE, STATE(jit_page)), H_T1);
	l->site = call ? em_call(e) : em_jmp(e);
	if (call)
		last_late(t)->back = e->p;
}

/* The jump at @site goes @delta bytes from the block's start. */
static void emit_link(struct trans *t, uint8_t *site, int64_t delta)
{
	struct jit_link *l;

	em_fix(site, t->e.p);
	if (!same_page(t, delta)) {
		emit_cross(t, delta, false);
		return;
	}
	l = new_link(t, delta);
	l->site = site;
	link_stub(t, l);
}

static void emit_jump(struct trans *t, int64_t delta)
{
	if (same_page(t, delta))
		emit_link(t, em_jmp(&t->e), delta);
	else
		emit_cross(t, delta, false);
}

/* ---- indirect jumps ---------------------------------------------------------------- */
uint8_t *jit_emit_probe(struct emit *e)
{
	_Static_assert(sizeof(struct jit_target) == 16, "shift");
	em_op(e, 0, 0x69, H_T1, hop_reg(H_T0));
	em32(e, JT_HASH);
	em_op(e, 0, 0xc1, 5, hop_reg(H_T1));
	em8(e, 32 - JT_BITS - 4);
	em_alu_imm(e, 0, 4, hop_reg(H_T1), ((1 << JT_BITS) - 1) << 4);
	em_op(e, EM_W, 0x03, H_T0, hop_mem(H_STATE, STATE(jit_key)));
	em_op(e, EM_W, 0x3b, H_T0, hop_sib(H_STATE, H_T1, 0, STATE(jit_tab)));
	return em_jcc(e, 5);
}

void jit_emit_page(struct emit *e, int reg, int32_t to)
{
	em_op(e, EM_W, 0x2b, reg, hop_mem(H_STATE, STATE(jit_key)));
	em_alu_imm(e, EM_W, 4, hop_reg(reg), -4096);
	em_store(e, hop_mem(H_STATE, to), reg);
}

static void probe(struct trans *t, unsigned late)
{
	uint8_t *at = jit_emit_probe(&t->e);

	HV_BUG_ON(t->nlate == MAX_LATE);
	t->late[t->nlate++] = (struct late){ .kind = (uint8_t)late, .from = at };
}

/* T0 = target: to the out-of-line part unless canonical. */
static void check_canonical(struct trans *t)
{
	if (!t->word)
		return;
	em_mov_rr(&t->e, H_T1, H_T0);
	em_op(&t->e, EM_W, 0xc1, 4, hop_reg(H_T1));
	em8(&t->e, 16);
	em_op(&t->e, EM_W, 0xc1, 7, hop_reg(H_T1));
	em8(&t->e, 16);
	em_op(&t->e, EM_W, 0x3b, H_T1, hop_reg(H_T0));
	jit_slow_jump(t, 5);
}

static void move_sp(struct trans *t, int32_t words, int32_t bytes)
{
	em_op(&t->e, t->word, 0x8d, jit_home[R_RSP],
	      hop_mem(jit_home[R_RSP], words * (t->word ? 8 : 4) + bytes));
}

/* ---- calls ------------------------------------------------------------------------ */
/* Leaves the return address in T0. */
static void push_return(struct trans *t, const struct uop *u)
{
	struct hop m = jit_stack(t, R_RSP, t->word ? -8 : -4, true);
	int32_t off = (int32_t)(t->b->off & 4095) + u->off + u->len;

	em_load(&t->e, H_T0, hop_mem(H_STATE, STATE(jit_page)));
	em_op(&t->e, t->word, 0x8d, H_T0, hop_mem(H_T0, off));
	em_op(&t->e, t->word, 0x89, H_T0, m);
	move_sp(t, -1, 0);
}

/* T0 = return address. */
static void push_frame(struct trans *t)
{
	em_op(&t->e, EM_W, 0x3b, 4, hop_mem(H_STATE, STATE(jit_lim)));
	jcc_late(t, 2, LATE_ROOM);
	last_late(t)->back = t->e.p;
	em8(&t->e, 0x41);			/* push r14 */
	em8(&t->e, 0x56);
}

/* Behind the host's CALL: T0 = return address, only the tag is left of the frame. */
static void landing(struct trans *t, const struct uop *u)
{
	int64_t next = u->off + u->len;

	em_lea(&t->e, 4, hop_mem(4, 8));
	em_op(&t->e, t->word, 0x8d, H_T1,
	      hop_mem(H_T0, -(int32_t)((t->b->off & 4095) + next)));
	em_store(&t->e, hop_mem(H_STATE, STATE(jit_page)), H_T1);
	emit_jump(t, next);
}

static void emit_call(struct trans *t, const struct uop *u)
{
	struct jit_link *l;

	jit_save_flags(t);
	push_return(t, u);
	push_frame(t);
	if (!same_page(t, (int64_t)u->imm)) {
		emit_cross(t, (int64_t)u->imm, true);
		landing(t, u);
		return;
	}
	l = new_link(t, (int64_t)u->imm);
	l->site = em_call(&t->e);
	landing(t, u);
	em_fix(l->site, t->e.p);
	link_stub(t, l);
}

static void load_target(struct trans *t, const struct uop *u)
{
	jit_save_flags(t);
	if (u->flags & UOP_MOD3) {
		if (home(u->rm) < 0)
			em_op(&t->e, t->word, 0x8b, H_T0, slot(u->rm));
		else
			em_op(&t->e, t->word, 0x8b, H_T0, hop_reg(home(u->rm)));
	} else {
		struct hop m = jit_mem(t, u, t->word ? 8 : 4, false);

		em_op(&t->e, t->word, 0x8b, H_T0, m);
	}
	t->in_efl = false;
}

static void emit_jmp_e(struct trans *t, const struct uop *u)
{
	load_target(t, u);
	probe(t, LATE_JMP);
	jit_emit_page(&t->e, H_T0, STATE(jit_page));
	em_op(&t->e, 0, 0xff, 4, hop_sib(H_STATE, H_T1, 0, STATE(jit_tab) + 8));
}

/* The target is looked up first: pushing needs both scratch registers. */
static void emit_call_e(struct trans *t, const struct uop *u)
{
	struct emit *e = &t->e;

	load_target(t, u);
	t->win.open = false;
	probe(t, LATE_CALL);
	jit_emit_page(e, H_T0, STATE(jit_next));
	em_load(e, H_T1, hop_sib(H_STATE, H_T1, 0, STATE(jit_tab) + 8));
	em_store(e, hop_mem(H_STATE, STATE(jit_arg)), H_T1);
	last_late(t)->back = e->p;
	push_return(t, u);
	push_frame(t);
	em_load(e, H_T1, hop_mem(H_STATE, STATE(jit_next)));
	em_store(e, hop_mem(H_STATE, STATE(jit_page)), H_T1);
	em_op(e, 0, 0xff, 2, hop_mem(H_STATE, STATE(jit_arg)));
	landing(t, u);
}

static void emit_ret(struct trans *t, const struct uop *u)
{
	jit_save_flags(t);
	em_op(&t->e, t->word, 0x8b, H_T0, jit_stack(t, R_RSP, 0, false));
	em_op(&t->e, EM_W, 0x3b, H_T0, hop_mem(4, 8));
	jcc_late(t, 5, LATE_RET);
	last_late(t)->sp_lag = t->sp_lag;
	move_sp(t, 1, (int32_t)u->imm + t->sp_lag);
	t->sp_lag = 0;
	em8(&t->e, 0xc3);
}

void jit_emit_end(struct trans *t, const struct uop *u)
{
	int64_t next = u->off + u->len;
	uint8_t *a, *b;

	switch (t->p->kind) {
	case JK_JCC:
		jit_save_flags(t);
		jit_need_flags(t, t->p->reads);
		a = em_jcc(&t->e, soft_optable[u->row].opcode & 15);
		t->done = t->e.p;
		b = em_jmp(&t->e);
		if (t->loop)
			a = jit_loop_back(t, a);
		emit_link(t, a, (int64_t)u->imm);
		emit_link(t, b, next);
		break;
	case JK_TAIL:
		jit_emit_tail(t, u);
		break;
	case JK_CALL:
		emit_call(t, u);
		break;
	case JK_JMP:
		jit_save_flags(t);
		emit_jump(t, (int64_t)u->imm);
		break;
	case JK_CONT:
		jit_save_flags(t);
		emit_jump(t, next);
		break;
	case JK_RET:
		emit_ret(t, u);
		break;
	case JK_CALL_E:
		emit_call_e(t, u);
		break;
	case JK_JMP_E:
		emit_jmp_e(t, u);
		break;
	default:
		jit_save_flags(t);
		jit_emit_side(t, u);
	}
}

/* ---- out of line --------------------------------------------------------------------- */
/* Not the chain's key or page: look the target up, now and then chain anew. */
static void late_cross(struct trans *t, const struct late *w)
{
	int64_t at = (int64_t)(t->b->off & 4095) + w->link->delta;
	struct emit *e = &t->e;
	uint8_t *again;

	em_mov_imm64(e, H_T1, (uintptr_t)w->link);
	em_op(e, 0, 0xff, 1, hop_mem(H_T1, offsetof(struct jit_link, patience)));
	again = em_jcc(e, 8);
	em_load(e, H_T0, hop_mem(H_STATE, STATE(jit_page)));
	em_op(e, t->word, 0x8d, H_T0, hop_mem(H_T0, (int32_t)at));
	if (w->kind == LATE_CROSS_CALL) {
		em_fix(em_call(e), t->s->jit->lookup);
		em_fix(em_jmp(e), w->back);
	} else {
		em_fix(em_jmp(e), t->s->jit->lookup);
	}
	em_fix(again, e->p);
	em_fix(w->link->site, e->p);	/* not reached: without a chain the key is 0 */
	link_stub(t, w->link);
}

/* The target in T0 is not that of the frame, which is dropped unless it is the outermost. */
static void late_ret(struct trans *t, const struct late *w)
{
	struct emit *e = &t->e;
	uint8_t *last;

	t->sp_lag = w->sp_lag;
	jit_sp_settle(t);
	check_canonical(t);
	move_sp(t, 1, (int32_t)t->cur->u->imm);
	em_op(e, EM_W, 0x3b, 4, hop_mem(H_STATE, STATE(jit_sp)));
	last = em_jcc(e, 4);
	em_lea(e, 4, hop_mem(4, 16));
	em_fix(last, e->p);
	em_fix(em_jmp(e), t->s->jit->lookup);
}

/* The target is not in the table. */
static void late_indirect(struct trans *t, const struct late *w)
{
	struct emit *e = &t->e;

	em_op(e, EM_W, 0x2b, H_T0, hop_mem(H_STATE, STATE(jit_key)));
	check_canonical(t);
	if (w->kind == LATE_JMP) {
		em_op(e, EM_W, 0x03, H_T0, hop_mem(H_STATE, STATE(jit_key)));
		em_fix(em_jmp(e), t->s->jit->missed);
		return;
	}
	em_store(e, hop_mem(H_STATE, STATE(jit_next)), H_T0);
	em_mov_imm64(e, H_T1, (uintptr_t)em_rx(e, t->s->jit->missed_call));
	em_store(e, hop_mem(H_STATE, STATE(jit_arg)), H_T1);
	em_fix(em_jmp(e), w->back);
}

void jit_emit_late(struct trans *t)
{
	for (unsigned i = 0; i < t->nlate; i++) {
		const struct late *w = &t->late[i];

		em_fix(w->from, t->e.p);
		switch (w->kind) {
		case LATE_CROSS:
		case LATE_CROSS_CALL:
			late_cross(t, w);
			break;
		case LATE_ROOM:
			em_load(&t->e, 4, hop_mem(H_STATE, STATE(jit_sp)));
			em_fix(em_jmp(&t->e), w->back);
			break;
		case LATE_RET:
			late_ret(t, w);
			break;
		default:
			late_indirect(t, w);
		}
	}
}
