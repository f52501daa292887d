/* SPDX-License-Identifier: MIT */
/*
 * Lockstep, execution: a unit's blocks by the interpreter, then by translated
 * code, each from the same registers; once more for good where a unit cannot
 * be repeated.
 */
#include "verify_int.h"

void verify_save(struct soft *s, struct snap *p)
{
	soft_fpu_park(s);
	soft_fpu_sync_out(s);
	p->flags = soft_get_eflags(s);
	memcpy(p->regs, s, SNAP_BYTES);
	memcpy(p->fx, s->fx, sizeof(p->fx));
	p->fpu = *s->fpu;
	p->exc = s->exc;
	p->delivering = s->delivering;
}

void verify_load(struct soft *s, const struct snap *p)
{
	soft_fpu_park(s);
	memcpy((void *)s, p->regs, SNAP_BYTES);
	memcpy(s->fx, p->fx, sizeof(p->fx));
	*s->fpu = p->fpu;
	s->exc = p->exc;
	s->delivering = p->delivering;
	s->fp_fault = false;
	soft_jit_new_mode(s);	/* keys do not come back */
}

static HN(h_stop)
{
	s->rip = UOP_RIP(s, u);
	s->vfy->stopped = true;
	return NULL;
}

static void patch_stop(struct soft_verify *v, const struct block *b)
{
	v->patched = b->jit->stop;
	if (!v->patched)
		return;
	v->patched_fn = v->patched->fn;
	v->patched->fn = h_stop;
}

static void unpatch(struct soft_verify *v)
{
	if (v->patched)
		v->patched->fn = v->patched_fn;
	v->patched = NULL;
}

static void interpret(struct soft *s, struct block *b)
{
	const struct uop *u = b->u;

	s->gpr[GPR_RIP] = s->rip;
	s->cur = b;
	s->budget = -1;		/* to the end of the block */
	u = b->fn0(s, u);
	while (u)
		u = u->fn(s, u);
}

/* The block that follows, if it is translated. */
static struct block *next_block(struct soft *s)
{
	struct block *b;

	if (s->intr_shadow || s->halted || s->mode & (MODE_TF | MODE_CODE_BP))
		return NULL;
	s->gpr[GPR_RIP] = s->rip;
	b = soft_jc_find(s);
	if (!b)
		b = soft_block_ready(s);
	if (!b || !b->jit_entry || atomic_load(b->genp) != b->gen || b->cut)
		return NULL;
	if (!(b->mode & MODE_CS64) && (s->seg[SEG_CS].base || s->seg[SEG_CS].limit != 0xffffffff))
		return NULL;
	return b;
}

static void run_ref(struct soft *s)
{
	struct soft_verify *v = s->vfy;
	struct block *b = v->blk[0];
	uint32_t undef = 0;

	v->n = 0;
	do {
		undef = (undef & ~b->jit->fl_kill) | b->jit->fl_undef;
		v->rip[v->n] = s->rip;
		v->blk[v->n++] = b;
		patch_stop(v, b);
		interpret(s, b);
		unpatch(v);
	} while (!v->stopped && v->n < VERIFY_CHAIN && (b = next_block(s)) &&
		 !(b->jit->fl_read & undef));
}

/* After JX_UOP: the unit ends here. */
static bool at_stop(const struct soft *s)
{
	return (struct uop *)(uintptr_t)s->jit_arg == s->cur->jit->stop;
}

/*
 * The interpreter's part: a branch whose operand missed the TLB, state that
 * cannot be in the host's registers.
 */
static void rest_of_block(struct soft *s, const struct uop *u)
{
	struct soft_verify *v = s->vfy;

	s->gpr[GPR_RIP] = s->rip - u->off;
	s->budget = -1;
	v->stopped = false;
	patch_stop(v, s->cur);
	u = u == s->cur->u ? s->cur->fn0(s, u) : u;
	while (u)
		u = u->fn(s, u);
	unpatch(v);
}

static void run_native(struct soft *s)
{
	struct soft_verify *v = s->vfy;
	unsigned i = 0;

	s->jit_left = (int32_t)v->n;
	s->rip = v->rip[0];
	for (;;) {
		unsigned how, done;

		s->gpr[GPR_RIP] = s->rip;
		s->cur = v->blk[i];
		how = soft_jit_run(s, v->blk[i]);
		done = v->n - (unsigned)MAX(s->jit_left, 0);
		if (how == JX_UOP && !at_stop(s)) {
			rest_of_block(s, (const struct uop *)(uintptr_t)s->jit_arg);
			if (v->stopped)
				return;
		} else if (how == JX_LEAVE || how == JX_UOP) {
			return;
		}
		if (s->jit_left <= 0)
			return;
		if (how == JX_BLOCK && done == i) {	/* stale: a device wrote code */
			v->skip = true;
			return;
		}
		if (s->rip != v->rip[done])
			return;		/* the comparison will find it */
		i = done;
		s->gpr[GPR_RIP] = s->rip;
		soft_jit_arrived(s, how, v->blk[i]);
	}
}

void soft_verify_effect(struct soft *s)
{
	if (s->vfy->phase != VFY_IDLE)
		siglongjmp(s->fault_jmp, VFY_EFFECT);
}

static enum verify_result guarded(struct soft *s, enum verify_phase phase,
				  void (*run)(struct soft *s))
{
	enum verify_result r = (enum verify_result)sigsetjmp(s->fault_jmp, 0);

	if (r == VFY_END) {
		s->vfy->phase = phase;
		s->req = &s->vfy->no_req;
		run(s);
	}
	s->vfy->phase = VFY_IDLE;
	unpatch(s->vfy);
	if (s->split_locked)
		soft_split_unlock(s);
	return r;
}

enum verify_result verify_run_ref(struct soft *s)
{
	return guarded(s, VFY_REF, run_ref);
}

enum verify_result verify_run_native(struct soft *s)
{
	return guarded(s, VFY_NATIVE, run_native);
}

/*
 * The unit's first block as if nothing had happened, once.  By translated
 * code, since the interpreter's own form would be cut by a store into code.
 */
void verify_do_once(struct soft *s)
{
	struct soft_verify *v = s->vfy;

	verify_take_back(v);
	verify_load(s, &v->before);
	soft_fpu_sync_in(s);
	memcpy(&s->fault_jmp, &v->outer, sizeof(v->outer));
	s->req = &s->vcpu->req;
	s->gpr[GPR_RIP] = s->rip;
	s->cur = v->blk[0];
	s->jit_left = 1;
	if (soft_jit_run(s, v->blk[0]) == JX_UOP && !at_stop(s))
		rest_of_block(s, (const struct uop *)(uintptr_t)s->jit_arg);
}
