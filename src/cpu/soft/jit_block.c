/* SPDX-License-Identifier: MIT */
/*
 * Translation of one block: what each uop becomes, which flags live where
 * (backward), emission, the ends of the block, the out-of-line parts.
 *
 * Between blocks the guest's flags are in rax.  An instruction that may fault
 * counts as reading all flags: an exception pushes them.
 */
#include "jit_trans.h"
#include "verify.h"
#include <sys/mman.h>
#include <time.h>

#define MAX_CODE 24576u		/* of one block, generously */
#define ALL FL_ARITH

static uint16_t cond_flags(unsigned cc)
{
	static const uint16_t reads[8] = {
		FL_OF, FL_CF, FL_ZF, FL_CF | FL_ZF, FL_SF, FL_PF, FL_SF | FL_OF,
		FL_SF | FL_OF | FL_ZF,
	};

	return reads[cc >> 1 & 7];
}

/* ---- plan ---------------------------------------------------------------------- */
static void plan_flags(struct plan *p, const struct uop *u)
{
	bool by_imm = p->r->use & U_I8;
	unsigned count = u->imm8 & (u->osize == 8 ? 63 : 31);

	p->reads = p->must = p->may = 0;
	switch (p->r->flags) {
	case FK_ADC:
		p->reads = FL_CF;
		__attribute__((fallthrough));
	case FK_ALL:
		p->must = p->may = ALL;
		break;
	case FK_INC:
		p->must = p->may = ALL & ~FL_CF;
		break;
	case FK_SHIFT:
		p->may = by_imm && !count ? 0 : ALL;
		p->must = by_imm ? p->may : 0;
		break;
	case FK_ROT:
		p->may = by_imm && !count ? 0 : FL_CF | FL_OF;
		p->must = by_imm ? p->may : 0;
		break;
	case FK_RC:
		p->reads = FL_CF;
		p->may = FL_CF | FL_OF;
		break;
	/* What is undefined here processors may leave as it was. */
	case FK_MUL:
		p->may = ALL;
		p->must = FL_CF | FL_OF;
		break;
	case FK_SCAN:
		p->may = ALL;
		p->must = FL_ZF;
		break;
	case FK_BT:
		p->must = p->may = FL_CF;
		break;
	case FK_CF_CHAIN:
		p->reads = p->must = p->may = FL_CF;
		break;
	case FK_OF_CHAIN:
		p->reads = p->must = p->may = FL_OF;
		break;
	case FK_CC:
		p->reads = cond_flags(soft_optable[u->row].opcode);
		break;
	}
}

static bool high_byte(const struct jit_row *r, const struct uop *u)
{
	if (u->flags & UOP_MOD3 && r->use & (U_ER | U_EW) && u->rm & 7)
		return true;
	return r->ext == NO_REG && r->use & (U_GR | U_GW) && u->reg & 7;
}

/* False: not in this form. */
static bool native_form(const struct jit_row *r, const struct uop *u, unsigned word)
{
	bool mem = !(u->flags & UOP_MOD3) && r->use & (U_ER | U_EW);

	if (high_byte(r, u) && !jit_high_ok(r, u))
		return false;
	if ((mem || r->kind == JK_LEA) && !jit_ea_ok(u))
		return false;
	if (mem && word == 4 && !(u->flags & UOP_FLATSEG))
		return false;
	/* Its source's size is not the uop's: only where that is sure. */
	if (r->fn == h_crc32 && (word != 8 || u->flags & UOP_P66))
		return false;
	switch (r->kind) {
	case JK_GENERIC:
	case JK_MUL:
	case JK_CMPXCHG:
		return !(u->osize == 1 && !r->op8) && !(mem && r->use & U_REGONLY);
	case JK_PUSH:
		return u->osize == word;
	case JK_DIV:
	case JK_IDIV:
		return u->osize >= 4;
	case JK_CLI:
		return word == 8;
	case JK_POP:
		return u->osize == word && !mem && u->rm != R_RSP * 8;
	case JK_PUSH_I:
	case JK_PUSHF:
	case JK_LEAVE:
	case JK_CALL:
	case JK_CALL_E:
	case JK_JMP_E:
	case JK_RET:
	case JK_JCC:
	case JK_JMP:
		return u->osize == word;
	case JK_MOVS:
	case JK_STOS:
	case JK_LODS:
		return !(u->flags & (UOP_REP | UOP_REPNE)) && u->asize == word &&
		       (r->kind == JK_STOS || u->flags & UOP_FLATSEG);
	case JK_BSWAP:
		return u->osize >= 4;
	default:
		return true;
	}
}

static bool ends(const struct block *b, unsigned i)
{
	return i + 1u == b->nuops;
}

/* Vector, MMX and x87 instructions, and what else has VEX. */
static bool plan_fpu(struct plan *p, const struct block *b, const struct uop *u)
{
	uint32_t attr = soft_optable_info[u->row].attr;
	bool mem = !(u->flags & UOP_MOD3);

	if (attr & A_AVX && b->mode & MODE_AVX_OFF)
		return false;
	if (mem && (!jit_ea_ok(u) || !(u->flags & UOP_FLATSEG || b->mode & MODE_CS64)))
		return false;
	if (jit_vex_plan(b, u, p))
		return true;
	return !(b->mode & MODE_FPU_OFF) && (jit_sse_plan(u, p) || jit_x87_plan(u, p));
}

static void plan_one(struct plan *p, const struct block *b, unsigned i, bool verify)
{
	const struct uop *u = &b->u[i];
	bool native = u->len != 0;

	*p = (struct plan){ .kind = JK_CALLOUT, .faults = true, .may = ALL };
	if (u->len == 0) {
		uop_fn fn = i ? u->fn : b->fn0;

		if (ends(b, i))
			p->kind = fn == soft_h_continue ? JK_CONT : JK_SIDE;
		else if (!verify && fn == soft_h_guard && soft_optable_info[u->row].attr & A_PRIV)
			p->kind = b->mode & MODE_CPL3 ? JK_SIDE : JK_GUARD;
		return;
	}
	p->r = native ? jit_row_of(u->row) : NULL;
	if (p->r && native_form(p->r, u, b->mode & MODE_CS64 ? 8 : 4)) {
		p->kind = p->r->kind;
		p->faults = p->kind == JK_PUSH || p->kind == JK_PUSH_I || p->kind == JK_POP ||
			    p->kind == JK_LEAVE || p->kind >= JK_DIV ||
			    (!(u->flags & UOP_MOD3) && p->r->use & (U_ER | U_EW));
		plan_flags(p, u);
		if (p->kind == JK_PUSH && !(u->flags & UOP_MOD3))
			p->kind = JK_PUSH_M;
		if (p->kind == JK_CARRY)
			p->reads = ALL;
	} else if (native && plan_fpu(p, b, u)) {
		;
	} else if (native && soft_optable_info[u->row].attr & A_END) {
		/* LOOP, JCXZ and odd forms of branches go on through the link behind their uop. */
		p->kind = verify || soft_optable_info[u->row].attr & A_F64 ? JK_SIDE : JK_TAIL;
	}
}

static bool last_kind(unsigned kind)
{
	return kind == JK_SIDE || kind == JK_CONT || kind == JK_TAIL || kind >= JK_BRANCHES;
}

/* Number of uops to emit. */
static unsigned make_plan(struct plan *p, const struct block *b, bool verify, unsigned *native)
{
	unsigned n = 0;
	uint16_t live = ALL;
	uint32_t undef = 0;

	*native = 0;
	while (n < b->nuops) {
		plan_one(&p[n], b, n, verify);
		if (verify && soft_verify_stops(&b->u[n], p[n].kind == JK_CALLOUT, &undef))
			p[n] = (struct plan){ .kind = JK_SIDE, .faults = true, .may = ALL };
		*native += p[n].kind != JK_CALLOUT && p[n].kind != JK_SIDE && p[n].kind != JK_CONT;
		if (last_kind(p[n++].kind))
			break;
	}
	for (unsigned i = n; i-- > 0;) {
		p[i].after = i + 1 < n && p[i + 1].kind != JK_CALLOUT ?
			     p[i + 1].need | p[i + 1].after : 0;
		p[i].live = live;
		live = (uint16_t)((live & ~p[i].must) | p[i].reads);
		if (p[i].faults)
			live = ALL;
	}
	return n;
}

/* ---- ways out ---------------------------------------------------------------------- */
void jit_exit(struct trans *t, enum jit_exit how, const void *arg)
{
	em_mov_imm64(&t->e, H_T1, (uintptr_t)arg);
	em_mov_imm64(&t->e, H_T0, how);
	em_fix(em_jmp(&t->e), t->s->jit->exit);
}

static void side(struct trans *t, enum jit_exit how, const void *arg)
{
	em_mov_imm64(&t->e, H_T1, (uintptr_t)t->b);
	em_store(&t->e, hop_mem(H_STATE, STATE(cur)), H_T1);
	jit_exit(t, how, arg);
}

void jit_emit_side(struct trans *t, const struct uop *u)
{
	side(t, JX_UOP, u);
}

/* ---- handlers --------------------------------------------------------------------------- */
const struct jit_callout *jit_make_callout(struct trans *t, const struct uop *u)
{
	struct jit_callout *c = soft_arena_alloc(t->s, sizeof(*c));

	if (!c) {
		t->e.p = t->e.end;	/* give up */
		return NULL;
	}
	*c = (struct jit_callout){ .u = *u, .b = t->b, .sets_flags = true };
	c->ret = soft_h_jit_return;
	if (u->len) {
		c->u.fn = soft_optable[u->row].fn;
		soft_specialise(&c->u);
		c->sets_flags = soft_optable[u->row].fout != 0;
	} else if (u == t->b->u) {
		c->u.fn = t->b->fn0;
	}
	return c;
}

static void emit_callout(struct trans *t, const struct uop *u)
{
	em_mov_imm64(&t->e, H_T1, (uintptr_t)jit_make_callout(t, u));
	em_fix(em_call(&t->e), t->s->jit->callout);
}

static void emit_slow(struct trans *t, const struct slow *w)
{
	if (!w->n)
		return;
	for (unsigned i = 0; i < w->n; i++)
		em_fix(w->from[i], t->e.p);
	if (w->side) {
		side(t, w->window ? JX_WINDOW : JX_UOP, w->window ? w->window : (const void *)w->u);
		return;
	}
	emit_callout(t, w->u);
	if (w->next) {
		jit_emit_side(t, w->u + 1);
		return;
	}
	jit_live_again(t, w->need);
	if (w->to_eflags) {
		em8(&t->e, 0x3c);
		em8(&t->e, 0x81);
		em8(&t->e, 0x9e);
	}
	em_fix(em_jmp(&t->e), w->back);
}

/* ---- the block --------------------------------------------------------------------------- */
/* The second page of an instruction in two: mapped as it was, and not written. */
static void emit_second(struct trans *t, uint8_t **stale)
{
	const struct cross *c = t->b->cross;
	struct emit *e = &t->e;

	em_mov_imm64(e, H_T1, (uintptr_t)&c->key);
	em_load(e, H_T1, hop_mem(H_T1, 0));
	em_op(e, EM_W, 0x2b, H_T1, hop_mem(H_STATE, STATE(jit_key)));
	em_op(e, EM_W, 0x3b, H_T1, hop_mem(H_STATE, STATE(jit_page)));
	stale[0] = em_jcc(e, 5);
	em_mov_imm64(e, H_T0, (uintptr_t)c->genp);
	em_op(e, 0, 0x81, 7, hop_mem(H_T0, 0));
	t->t->gen2 = e->p;
	em32(e, c->gen);
	stale[1] = em_jcc(e, 5);
}

static void emit_head(struct trans *t, uint8_t **stale)
{
	struct jit_block *j = t->t;
	struct emit *e = &t->e;

	j->poll = e->p;
	em_load(e, H_T0, hop_mem(H_STATE, STATE(req)));
	em_op(e, 0, 0x83, 7, hop_mem(H_T0, 0));
	em8(e, 0);
	stale[0] = em_jcc(e, 5);
	j->check = e->p;
	t->s->jit->past_poll = j->check - j->poll;
	em_mov_imm64(e, H_T0, (uintptr_t)t->b->genp);
	em_op(e, 0, 0x81, 7, hop_mem(H_T0, 0));
	j->gen = e->p;
	em32(e, t->b->gen);
	stale[1] = em_jcc(e, 5);
	j->body = e->p;
	t->in_rax = true;
	stale += 2;
	if (t->b->cross) {
		emit_second(t, stale);
		stale += 2;
	}
	if (!t->s->vfy)
		return;
	em_op(e, 0, 0xff, 1, hop_mem(H_STATE, STATE(jit_left)));	/* dec */
	*stale = em_jcc(e, 8);
}

static void emit_native(struct trans *t, const struct uop *u)
{
	switch (t->p->kind) {
	case JK_GUARD:
		jit_emit_guard(t);
		break;
	case JK_SSE:
		jit_emit_sse(t, u);
		break;
	case JK_X87:
		jit_emit_x87(t, u);
		break;
	case JK_VEX:
		jit_emit_vex(t, u);
		break;
	default:
		jit_emit_uop(t, u);
	}
	t->cur->need = t->p->after;
	t->cur->back = t->e.p;
	t->cur->to_eflags = t->in_efl;
}

/* RSP's own register may be late in front of @u: see jit_sp_move(). */
static bool lets_sp_lag(const struct plan *p, const struct uop *u)
{
	switch (p->kind) {
	case JK_PUSH_I:
	case JK_POP:
	case JK_RET:
		return true;
	case JK_PUSH:
		return u->rm >> 3 != R_RSP;
	case JK_GENERIC:
		return u->flags & UOP_MOD3 && u->rm >> 3 != R_RSP && u->reg >> 3 != R_RSP;
	default:
		return false;
	}
}

void jit_emit_one(struct trans *t, const struct plan *p, unsigned i)
{
	const struct uop *u = &t->b->u[i];

	if (!lets_sp_lag(&p[i], u))
		jit_sp_settle(t);
	t->p = &p[i];
	t->at = i;
	HV_BUG_ON(t->nslow == ARRAY_SIZE(t->slow));
	t->cur = &t->slow[t->nslow++];
	*t->cur = (struct slow){ .u = u, .side = last_kind(p[i].kind) };
	if (last_kind(p[i].kind)) {
		jit_emit_end(t, u);
	} else if (p[i].kind == JK_CALLOUT) {
		jit_save_flags(t);
		emit_callout(t, u);
		t->in_efl = false;
		jit_need_live(t, p[i].after, u + 1);
	} else {
		emit_native(t, u);
	}
	jit_win_pass(t, u);
}

static bool emit_block(struct trans *t, const struct plan *p, unsigned n)
{
	uint8_t *stale[5] = { NULL }, *hot;

	emit_head(t, stale);
	hot = jit_emit_sample(t);
	if (p[0].kind != JK_CALLOUT)
		jit_need_live(t, p[0].need | p[0].after, t->b->u);
	jit_plan_loop(t, p, n);
	for (unsigned i = 0; i < n; i++)
		jit_emit_one(t, p, i);
	jit_emit_loop(t, p, n);
	jit_emit_late(t);
	for (unsigned i = 0; i < t->nmisses; i++)
		jit_emit_miss(t, &t->misses[i]);
	for (unsigned i = 0; i < t->nslow; i++)
		emit_slow(t, &t->slow[i]);
	for (unsigned i = 0; i < t->nreload; i++)
		jit_emit_reload(t, &t->reload[i]);
	for (unsigned i = 0; i < ARRAY_SIZE(stale) && stale[i]; i++)
		em_fix(stale[i], t->e.p);
	jit_exit(t, JX_BLOCK, t->b);
	if (hot) {
		em_fix(hot, t->e.p);
		jit_exit(t, JX_HOT, t->b);
	}
	return t->e.p < t->e.end;
}

#define AHEAD 65536u

/* Sixteen pages at a time: one by one they cost a page fault each, in both mappings. */
static void touch_ahead(struct soft_jit *j)
{
	size_t n = MIN(AHEAD, j->size - j->touched);

	if (likely(j->used + AHEAD / 8 <= j->touched) || !n)
		return;
	(void)madvise(j->rw + j->touched, n, MADV_POPULATE_WRITE);
	(void)madvise(j->rx + j->touched, n, MADV_POPULATE_READ);
	j->touched += n;
}

static bool translate_block(struct soft *s, struct block *b)
{
	struct soft_jit *j = s->jit;
	struct plan plan[MAX_SLOW];
	unsigned n, native;
	struct trans t;

	HV_BUG_ON(b->nuops > ARRAY_SIZE(plan));
	n = make_plan(plan, b, s->vfy, &native);
	if (!native)
		return false;
	t.t = NULL;
	if (j->size - j->used >= MAX_CODE)
		t.t = soft_arena_alloc(s, sizeof(*t.t));
	if (!t.t) {
		soft_blocks_flush(s);
		return false;
	}
	touch_ahead(j);
	t.s = s;
	t.b = b;
	t.word = b->mode & MODE_CS64 ? EM_W : 0;
	t.in_rax = t.in_efl = false;
	t.nslow = t.nreload = 0;
	t.nlate = t.at = t.nmisses = t.npicks = 0;
	t.quick = t.win.open = false;
	t.sp_lag = 0;
	t.plan = plan;
	t.nplan = n;
	memset(t.access, 0, sizeof(t.access));
	t.e = (struct emit){ j->rw + j->used, j->rw + j->used + MAX_CODE, j->rx - j->rw };
	*t.t = (struct jit_block){ .stop = plan[n - 1].kind == JK_SIDE ? &b->u[n - 1] : NULL };
	if (!emit_block(&t, plan, n))
		return false;
	b->jit = t.t;
	t.t->len = (uint32_t)(t.e.p - t.t->poll);
	if (s->vfy)
		soft_verify_translated(b);
	if (unlikely(j->map))
		soft_jit_map_block(s, b);
	if (unlikely(j->check))
		soft_jit_check(j, t.t->poll, t.t->len);
	j->used = ((size_t)(t.e.p - j->rw) + 15) & ~(size_t)15;
	j->blocks++;
	j->native += native;
	j->called += n - native;
	return true;
}

#define INTERRUPTED 50000	/* ns: it was not the translation that took so long */

static uint64_t host_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000000000 + (uint64_t)ts.tv_nsec;
}

bool soft_jit_translate(struct soft *s, struct block *b)
{
	uint64_t took;
	bool done;

	if (likely(!s->vcpu->vm->soft.stats))
		return translate_block(s, b);
	took = host_ns();
	done = translate_block(s, b);
	took = host_ns() - took;
	if (took < INTERRUPTED) {
		s->jit->ns += took;
		s->jit->timed++;
	}
	return done;
}
