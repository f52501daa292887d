/* SPDX-License-Identifier: MIT */
/*
 * Loops of one block, many iterations at a time.
 *
 * A block that jumps back to itself gets a second version.  In front of it the
 * memory operands whose registers change by a constant in each iteration are
 * checked once for as many iterations as stay in their pages (soft_loop_try());
 * then these run without address checks, polls and saved flags, until one of
 * the changing registers has the value of the last of them.  That is looked at
 * right in front of the last instruction that sets all flags, where none is
 * live; the rest of the iteration is ordinary code.  Everything that goes out
 * of line in the second version ends in the interpreter.
 *
 * No C code runs meanwhile that could drop a translation, and other vCPUs that
 * want one dropped wait as they do for a block.
 */
#include "jit_trans.h"

#define MAX_SPAN 512	/* bytes that one check covers in an iteration */
#define MAX_STEP 256
#define MAX_TIMES 1024u	/* iterations without a look at requests */
#define NEVER 0x7fffffff

/* ---- which registers change, and how -------------------------------------------------- */
struct reg_use {
	bool other;		/* changed in a way that is not known */
	uint8_t width;		/* 0: never changed; 4, 8: by constants */
	int64_t step;
};

static uint32_t bit(unsigned off)
{
	return 1u << (off >> 3 & 15);
}

static uint32_t first_operand(const struct uop *u)
{
	const struct optable_info *inf = &soft_optable_info[u->row];

	switch (inf->n ? inf->opd[0].kind : K_NONE) {
	case K_G:
		return bit(u->reg);
	case K_E: case K_R:
		return u->flags & UOP_MOD3 ? bit(u->rm) : 0;
	case K_B:
		return 1u << VEX_V(u);
	default:
		return 0;
	}
}

/* PCMPxSTRx are the ones there that set flags. */
static bool string_map(unsigned map)
{
	return map == M3A || map == V3A;
}

/* A vector instruction with a general register as operand. */
static bool names_gpr(const struct uop *u)
{
	const struct optable_info *inf = &soft_optable_info[u->row];

	for (unsigned i = 0; i < inf->n; i++) {
		unsigned k = inf->opd[i].kind;

		if (k == K_G || k == K_B || ((k == K_E || k == K_R) && u->flags & UOP_MOD3))
			return true;
	}
	return false;
}

/* General registers that @u may change. */
static uint32_t changes(const struct uop *u, const struct plan *p)
{
	uop_fn fn = soft_optable[u->row].fn;
	uint32_t m = 0;

	switch (p->kind) {
	case JK_GENERIC:
		if (p->r->use & U_EW && u->flags & UOP_MOD3)
			m |= bit(u->rm);
		if (p->r->use & U_GW)
			m |= bit(u->reg);
		return m;
	case JK_NOP: case JK_PAUSE: case JK_CARRY: case JK_JCC:
		return 0;
	case JK_LEA:
		return bit(u->reg);
	case JK_MOV_IMM:
		return u->flags & UOP_MOD3 ? bit(u->rm) : 0;
	case JK_SSE: case JK_VEX: case JK_X87:
		if (fn == h_fnstsw_ax)
			return 1u << R_RAX;
		if (fn == h_mulx)
			m = 1u << VEX_V(u);
		if (soft_optable[u->row].fout && string_map(soft_optable[u->row].map))
			m |= 1u << R_RCX;
		return m | first_operand(u);
	default:
		return 0xffff;
	}
}

/* True: @u adds *step to a register of *width bytes and does nothing else to registers. */
static bool adds(const struct uop *u, const struct plan *p, int64_t *step, unsigned *width)
{
	uop_fn fn = soft_optable[u->row].fn;

	*width = u->osize;
	if (u->osize < 4)
		return false;
	if (p->kind == JK_LEA) {
		*step = u->disp;
		return u->base * 8u == u->reg && u->index == GPR_ZERO && u->osize == 8 &&
		       u->asize == 8;
	}
	if (p->kind != JK_GENERIC || !(u->flags & UOP_MOD3))
		return false;
	*step = fn == h_add_ei ? (int64_t)u->imm : fn == h_sub_ei ? -(int64_t)u->imm :
		fn == h_inc ? 1 : -1;
	return fn == h_add_ei || fn == h_sub_ei || fn == h_inc || fn == h_dec;
}

/* @r: all 16, before uop @to; returns false if one of them is too wild to tell. */
static void count_regs(const struct trans *t, const struct plan *p, unsigned to, struct reg_use *r)
{
	memset(r, 0, 16 * sizeof(*r));
	for (unsigned i = 0; i < to; i++) {
		uint32_t m = changes(&t->b->u[i], &p[i]);
		int64_t step = 0;
		unsigned width;
		bool known = adds(&t->b->u[i], &p[i], &step, &width);

		for (; m; m &= m - 1) {
			struct reg_use *x = &r[__builtin_ctz(m)];

			if (!known || step != (int32_t)step || (x->width && x->width != width))
				x->other = true;
			x->width = (uint8_t)width;
			x->step += step;
		}
	}
}

/* ---- groups of operands ----------------------------------------------------------------- */
static bool steady(const struct reg_use *r, unsigned gpr)
{
	return gpr >= 16 || (!r[gpr].other && r[gpr].width != 4);
}

static bool changed(const struct reg_use *r, unsigned gpr)
{
	return gpr >= 18 || (gpr < 16 && r[gpr].width) || gpr == GPR_RIP;
}

static int64_t step_of(const struct reg_use *r, unsigned gpr)
{
	return gpr < 16 ? r[gpr].step : 0;
}

static bool join(struct jit_group *g, int64_t rel, const struct mem_use *a)
{
	int64_t lo = MIN(rel, (int64_t)g->lo), hi = MAX(rel + a->size, (int64_t)g->lo + g->span);
	unsigned align = MAX(g->align, a->aligned ? a->size : 1u);

	if (hi - lo > MAX_SPAN || (g->align > 1 && a->aligned && (rel - g->arel) & (align - 1)))
		return false;
	if (a->aligned && g->align <= 1)
		g->arel = (int32_t)rel;
	g->align = (uint8_t)align;
	g->lo = (int32_t)lo;
	g->span = (uint16_t)(hi - lo);
	g->write |= a->write;
	return true;
}

static int find_group(struct jit_loop *l, const struct uop *u, int64_t step, int64_t rel,
		      const struct mem_use *a, bool base_step)
{
	struct jit_group *g;

	for (unsigned i = 0; i < l->ngroups; i++) {
		g = &l->g[i];
		if (g->base == u->base && g->index == u->index && g->scale == u->scale &&
		    g->step == step && join(g, rel, a))
			return (int)i;
	}
	if (l->ngroups == ARRAY_SIZE(l->g))
		return -1;
	g = &l->g[l->ngroups++];
	*g = (struct jit_group){ .base = u->base, .index = u->index, .scale = u->scale,
				 .align = 1, .lo = (int32_t)rel, .span = a->size,
				 .step = (int32_t)step };
	g->fixed = !base_step && u->index < 16 && jit_home[u->index] >= 0;
	join(g, rel, a);
	return (int)l->ngroups - 1;
}

static void make_groups(struct trans *t, const struct plan *p, unsigned n)
{
	struct reg_use all[16], now[16];

	count_regs(t, p, n, all);
	for (unsigned i = 0; i < n; i++) {
		const struct uop *u = &t->b->u[i];
		const struct mem_use *a = &t->access[i];
		int64_t step, rel;

		t->group[i] = -1;
		if (a->n != 1 || u->asize != 8 || !(u->flags & (UOP_FLATSEG)) ||
		    u->flags & UOP_LOCK || !steady(all, u->base) || !steady(all, u->index))
			continue;
		count_regs(t, p, i, now);
		step = step_of(all, u->base) + step_of(all, u->index) * (1 << u->scale);
		rel = u->disp + step_of(now, u->base) + step_of(now, u->index) * (1 << u->scale);
		if (step > MAX_STEP || step < -MAX_STEP || rel != (int32_t)rel ||
		    (a->aligned && step & (a->size - 1)))
			continue;
		t->group[i] = (int8_t)find_group(t->loop, u, step, rel, a,
						  changed(all, u->base));
	}
}

/* ---- the run time -------------------------------------------------------------------------- */
static uint64_t first_address(const struct soft *s, const struct jit_loop *l,
			      const struct jit_group *g)
{
	uint64_t base = g->base == GPR_RIP ? s->jit_page + (l->b->off & 4095) : s->gpr[g->base];

	return base + (s->gpr[g->index] << g->scale) + (uint64_t)(int64_t)g->lo;
}

/* Iterations that @g allows; its delta is stored. */
static __attribute__((target("general-regs-only"))) unsigned
group_times(struct soft *s, const struct jit_loop *l, unsigned i)
{
	const struct jit_group *g = &l->g[i];
	uint64_t lin = first_address(s, l, g);
	const struct soft_tlbe *e = &s->tlb[lin >> 12 & (TLB_SIZE - 1)];
	unsigned off = lin & 4095;

	if ((g->write ? e->tag_w : e->tag_r) != (lin & ~0xfffull) || off + g->span > 4096 ||
	    (lin + (uint64_t)(int64_t)(g->arel - g->lo)) & (g->align - 1u))
		return 0;
	s->loop_delta[i] = e->delta;
	if (g->base == GPR_RIP)
		s->loop_delta[i] += lin - (uint64_t)(int64_t)g->lo;
	if (g->fixed)
		s->loop_delta[i] += s->gpr[g->base];
	if (g->step > 0)
		return (4096 - off - g->span) / (unsigned)g->step + 1;
	return g->step < 0 ? off / (unsigned)-g->step + 1 : MAX_TIMES;
}

/* The loop ended early: is it worth it? */
static __attribute__((target("general-regs-only"))) bool
too_short(struct soft *s, struct jit_loop *l, uint64_t now)
{
	uint64_t ran;

	if (s->loop_last != l || now == l->end)
		return false;
	ran = l->step > 0 ? (s->loop_left - l->start) / (uint64_t)l->step :
			    (l->start - s->loop_left) / (uint64_t)-l->step;
	if (l->midway) {
		l->midway = false;
		return false;
	}
	if (ran >= 16) {
		l->shorts = 0;
		return false;
	}
	if (l->shorts < 12)
		l->shorts++;
	s->loop_last = NULL;
	l->skip = l->shorts < 4 ? 0 : 16 << (l->shorts - 4);
	l->midway = l->skip != 0;
	return l->shorts >= 4;
}

/* Number of iterations that may run unchecked; all registers are in *s. */
static __attribute__((target("general-regs-only"))) uint64_t
soft_loop_try(struct soft *s, struct jit_loop *l)
{
	uint64_t mask = l->width == 4 ? 0xffffffff : ~0ull, now = s->gpr[l->reg] & mask;
	unsigned times = MAX_TIMES;

	if (too_short(s, l, now))
		return 0;
	l->skip = 0;
	if (atomic_load_explicit(s->req, memory_order_relaxed) ||
	    atomic_load_explicit(l->b->genp, memory_order_relaxed) != l->b->gen ||
	    (s->fpu_live & l->live) != l->live)
		return 0;
	if (s->vfy)
		times = MIN(times, (unsigned)MAX(s->jit_left, 0));
	for (unsigned i = 0; i < l->ngroups; i++)
		times = MIN(times, group_times(s, l, i));
	if (times < 3) {
		if (l->fails < 8)
			l->fails++;
		l->skip = 1 << l->fails >> 2;
		l->midway = true;
		return 0;
	}
	l->fails = 0;
	l->start = now;
	l->end = (now + times * (uint64_t)l->step) & mask;
	s->loop_last = l;
	s->loop_limit = (now + (uint64_t)l->before + (times - 1) * (uint64_t)l->step) & mask;
	return times;
}

/* T1 = struct jit_loop: "not zero" if the second version may run. */
uint8_t *jit_make_try(struct emit *e)
{
	uint8_t *start = e->p;

	jit_emit_spill(e);
	em_lea(e, 7, hop_mem(H_STATE, -STATE_BIAS));
	em_mov_rr(e, 6, H_T1);
	em_alu_imm(e, EM_W, 5, hop_reg(4), 8);
	em_mov_imm64(e, 0, (uintptr_t)soft_loop_try);
	em_op(e, 0, 0xff, 2, hop_reg(0));
	em_alu_imm(e, EM_W, 0, hop_reg(4), 8);
	em_mov_rr(e, H_T0, 0);
	jit_emit_reload_gprs(e);
	em_op(e, 0, 0x85, H_T0, hop_reg(H_T0));
	em8(e, 0xc3);
	return start;
}

/* ---- emission ------------------------------------------------------------------------------- */
/* A register to tell iterations apart. */
static bool pick_reg(const struct trans *t, const struct plan *p, unsigned n, struct jit_loop *l)
{
	struct reg_use r[16];

	count_regs(t, p, n, r);
	for (unsigned w = 8; w >= 4; w -= 4)
		for (unsigned g = 0; g < 16; g++)
			if (!r[g].other && r[g].width == w && r[g].step && jit_home[g] >= 0) {
				l->reg = (uint8_t)g;
				l->width = (uint8_t)w;
				l->step = r[g].step;
				return true;
			}
	return false;
}

void jit_plan_loop(struct trans *t, const struct plan *p, unsigned n)
{
	const struct uop *jcc = &t->b->u[n - 1];
	struct jit_loop loop = { .b = t->b, .skip = 3 };

	t->loop = NULL;
	if (p[n - 1].kind != JK_JCC || jcc->imm || !t->word || n < 2 || n > MAX_SLOW / 2)
		return;
	for (unsigned i = 0; i < n; i++) {
		if (p[i].kind == JK_CALLOUT || p[i].kind == JK_GUARD || p[i].kind == JK_SYS ||
		    p[i].kind == JK_AC)
			return;
		loop.live |= (uint8_t)jit_tell(p[i].need);
	}
	if (!pick_reg(t, p, n, &loop))
		return;
	t->loop = soft_arena_alloc(t->s, sizeof(*t->loop));
	if (t->loop)
		*t->loop = loop;
}

/* The jump back at @site, where the flags are in rax; returns the one to the block's head. */
uint8_t *jit_loop_back(struct trans *t, uint8_t *site)
{
	struct emit *e = &t->e;

	em_fix(site, e->p);
	t->back = e->p;
	em_mov_imm64(e, H_T1, (uintptr_t)t->loop);
	em_alu_imm(e, 0, 5, hop_mem(H_T1, offsetof(struct jit_loop, skip)), 1);
	t->try_it = em_jcc(e, 8);
	t->to_head = e->p;
	return em_jmp(e);
}

/* Last uop that sets all flags where none is live before. */
static int flag_setter(const struct trans *t, const struct plan *p, unsigned n)
{
	for (unsigned i = n - 1; i-- > 0;)
		if (p[i].must == FL_ARITH && !p[i].reads &&
		    (!p[i].faults || t->group[i] >= 0))
			return (int)i;
	return -1;
}

/* In lockstep mode an iteration counts as a block. */
static void emit_count(struct trans *t)
{
	struct hop left = hop_mem(H_STATE, STATE(jit_left));

	em_op(&t->e, 0, 0x8b, H_T0, left);
	em_lea(&t->e, H_T0, hop_mem(H_T0, -1));
	em_op(&t->e, 0, 0x89, H_T0, left);
}

static void emit_limit(struct trans *t, uint8_t **tail)
{
	const struct jit_loop *l = t->loop;

	em_op(&t->e, l->width == 8 ? EM_W : 0, 0x3b, jit_home[l->reg],
	      hop_mem(H_STATE, STATE(loop_limit)));
	*tail = em_jcc(&t->e, 4);
}

/* @u uses none of rax, T0 and T1 but for the address of its operand, and cannot leave the loop. */
static bool plain(const struct trans *t, const struct plan *p, unsigned i)
{
	const struct uop *u = &t->b->u[i];
	uop_fn fn = soft_optable[u->row].fn;
	bool mem = t->access[i].n != 0;

	if (mem && t->group[i] < 0)
		return false;
	if (p->kind == JK_GENERIC)
		return !jit_is_high(p->r, u) && (mem || home(u->rm) >= 0) &&
		       (p->r->ext != NO_REG || home(u->reg) >= 0) && !(u->reg & 7 && u->osize == 1);
	if (p->kind == JK_SSE || p->kind == JK_VEX)
		return p->need && !changes(u, p) && !names_gpr(u);
	return p->kind == JK_NOP || (p->kind == JK_X87 && fn != h_fldcw && fn != h_ldmxcsr &&
				     fn != h_fnstsw_ax);
}

/*
 * In a loop of plain instructions the deltas stay in registers: T1, rax, and
 * T0 where no address must be computed in it.
 */
static void place_deltas(struct trans *t, const struct plan *p, unsigned n)
{
	static const int8_t pool[] = { H_T1, H_FLAGS, H_T0 };
	unsigned have = t->s->vfy ? 2 : 3;	/* emit_count() uses T0 */
	bool computed = false;

	memset(t->delta_in, -1, sizeof(t->delta_in));
	for (unsigned i = 0; i + 1 < n; i++) {
		const struct uop *u = &t->b->u[i];
		bool direct = u->base == GPR_RIP || (u->base < 16 && jit_home[u->base] >= 0);
		bool fixed = t->group[i] >= 0 && t->loop->g[t->group[i]].fixed;

		if (!plain(t, &p[i], i))
			return;
		if (fixed)
			continue;
		if (t->group[i] >= 0 && (!direct || u->index != GPR_ZERO))
			computed = true;
		if (t->group[i] >= 0 && !direct && u->index != GPR_ZERO &&
		    (u->index >= 16 || jit_home[u->index] < 0))
			return;		/* T1 is needed for the address, too */
	}
	if (computed && t->loop->ngroups > 2)
		return;
	if (computed || t->loop->ngroups > have)
		have = 2;
	for (unsigned g = 0; g < have && g < t->loop->ngroups; g++) {
		t->delta_in[g] = pool[g];
		em_load(&t->e, pool[g], hop_mem(H_STATE, STATE(loop_delta) + 8 * (int32_t)g));
	}
}

static void emit_quick(struct trans *t, const struct plan *p, unsigned n, unsigned setter)
{
	struct emit *e = &t->e;
	uint8_t *top, *tail = NULL;
	unsigned cc = soft_optable[t->b->u[n - 1].row].opcode & 15;

	place_deltas(t, p, n);
	top = e->p;
	if (t->s->vfy)
		emit_count(t);
	t->quick = true;
	t->win.open = false;
	t->in_efl = true;
	t->in_rax = false;
	for (unsigned i = 0; i + 1 < n; i++) {
		if (i == setter)
			emit_limit(t, &tail);
		jit_emit_one(t, p, i);
		t->cur->next = true;
	}
	if (!t->in_efl)
		jit_need_flags(t, FL_ARITH);
	em_fix(em_jcc(e, cc), top);
	t->quick = false;
	t->in_rax = false;
	jit_save_flags(t);
	em_store(e, hop_mem(H_STATE, STATE(loop_left)), jit_home[t->loop->reg]);
	em_fix(em_jmp(e), t->done);
	/* The last iteration's rest. */
	em_fix(tail, e->p);
	t->win.open = false;
	t->in_rax = t->in_efl = false;
	for (unsigned i = setter; i + 1 < n; i++)
		jit_emit_one(t, p, i);
	t->p = &p[n - 1];
	jit_save_flags(t);
	jit_need_flags(t, t->p->reads);
	em_fix(em_jcc(e, cc), t->back);
	em_fix(em_jmp(e), t->done);
}

/* There is no second version. */
static void forget_try(struct trans *t)
{
	memset(t->back, 0x90, (size_t)(t->to_head - t->back));
	*t->back = 0xe9;
	em_fix(t->back + 1, t->to_head);
}

void jit_emit_loop(struct trans *t, const struct plan *p, unsigned n)
{
	struct reg_use r[16];
	struct emit *e = &t->e;
	int setter;

	if (!t->loop)
		return;
	make_groups(t, p, n);
	setter = flag_setter(t, p, n);
	if (!t->loop->ngroups || setter < 0) {
		if (e->p < e->end)
			forget_try(t);
		return;
	}
	count_regs(t, p, (unsigned)setter, r);
	t->loop->before = r[t->loop->reg].step;
	em_fix(t->try_it, e->p);
	em_fix(em_call(e), t->s->jit->loop_try);
	em_fix(em_jcc(e, 4), t->to_head);
	em8(e, 0x3c);				/* flags: as in jit_mem.c */
	em8(e, 0x81);
	em8(e, 0x9e);
	emit_quick(t, p, n, (unsigned)setter);
}

static struct hop held_operand(struct trans *t, const struct uop *u, int delta, bool fixed)
{
	int base = u->base < 16 ? jit_home[u->base] : NO_REG;

	if (fixed)
		return hop_sib(delta, jit_home[u->index], u->scale, (int32_t)u->disp);
	if (u->base == GPR_RIP)
		return hop_mem(delta, (int32_t)u->disp);
	if (base >= 0 && u->index == GPR_ZERO)
		return hop_sib(base, delta, 0, (int32_t)u->disp);
	jit_lea(t, u, false);
	return hop_sib(H_T0, delta, 0, 0);
}

/* Where a checked operand is on the host.  Touches no flags. */
struct hop jit_group_operand(struct trans *t, const struct uop *u, unsigned group)
{
	struct hop delta = hop_mem(H_STATE, STATE(loop_delta) + 8 * (int32_t)group);
	int kind = t->p->kind, base = u->base < 16 ? jit_home[u->base] : NO_REG;
	struct emit *e = &t->e;

	t->scratch = H_T1;
	if (t->delta_in[group] >= 0)
		return held_operand(t, u, t->delta_in[group], t->loop->g[group].fixed);
	if (t->loop->g[group].fixed) {
		em_load(e, H_T0, delta);
		return held_operand(t, u, H_T0, true);
	}
	if (u->base == GPR_RIP) {
		em_load(e, H_T0, delta);
		return hop_mem(H_T0, (int32_t)u->disp);
	}
	if (base >= 0 && u->index == GPR_ZERO) {
		em_load(e, H_T0, delta);
		return hop_sib(base, H_T0, 0, (int32_t)u->disp);
	}
	t->win.open = false;
	jit_lea(t, u, true);
	em_load(e, H_T1, delta);
	if (kind == JK_SSE || kind == JK_X87 || kind == JK_VEX) {
		t->scratch = H_T0;	/* only for a result */
		return hop_sib(H_T0, H_T1, 0, 0);
	}
	em_lea(e, H_T0, hop_sib(H_T0, H_T1, 0, 0));
	return hop_mem(H_T0, 0);
}
