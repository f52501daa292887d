/* SPDX-License-Identifier: MIT */
/*
 * The run loop, and the ways from one block to the next.
 *
 * Blocks chain directly inside a page: the mapping that led to the first one
 * leads to the second as well.  Across pages a small cache keyed by rip is
 * checked against the fetch TLB.  Every block entry looks at the request
 * word, the page's generation and the budget; whenever one of them objects
 * the handler returns NULL and the run loop sorts it out.
 *
 * The budget also bounds the host stack should the compiler fail to make a
 * sibling call.
 */
#include "intops.h"
#include "sys_int.h"
#include "jit.h"
#include "verify.h"

#define BUDGET 20000

/* ---- between blocks -------------------------------------------------------------- */
const struct uop *soft_enter_slow(struct soft *s, struct block *b)
{
	s->rip = s->gpr[GPR_RIP];
	return NULL;
}

static bool stepping(const struct soft *s)
{
	return s->budget < 0 || s->mode & (MODE_TF | MODE_CODE_BP) ||
	       atomic_load_explicit(s->req, memory_order_relaxed);
}

/* A transient block has no generation to compare: it was decoded just now. */
static const struct uop *enter_found(struct soft *s, struct block *b)
{
	s->budget -= b->n;
	s->cur = b;
	GOTO_UOP(s, b->u);
}

const struct uop *soft_goto_slow(struct soft *s)
{
	s->rip = s->gpr[GPR_RIP];
	if (stepping(s))
		return NULL;
	return enter_found(s, soft_block_get(s, s->mode));
}

const struct uop *soft_goto_link(struct soft *s, struct block **slot, uint64_t delta)
{
	const struct block *from = s->cur;
	unsigned flushes = s->blocks->flushes;
	struct block *b;

	s->rip = s->gpr[GPR_RIP];
	if (stepping(s))
		return NULL;
	b = soft_jc_find(s);
	if (b)
		b = atomic_load(b->genp) == b->gen ? b : NULL;
	if (!b)
		b = soft_block_get(s, s->mode);
	if (flushes == s->blocks->flushes && !b->transient && !from->transient &&
	    from->mode == b->mode)
		*slot = (uint64_t)(b->host - from->host) == delta &&
			!(((uintptr_t)b->host ^ (uintptr_t)from->host) & ~4095ull) ? b : LINK_NEVER;
	return enter_found(s, b);
}

const struct uop *soft_goto_uop(struct soft *s, struct block **found)
{
	struct block *b;

	s->rip = s->gpr[GPR_RIP];
	if (stepping(s))
		return NULL;
	b = soft_jc_find(s);
	if (!b || atomic_load_explicit(b->genp, memory_order_relaxed) != b->gen)
		b = soft_block_get(s, s->mode);
	s->budget -= b->n;
	s->cur = b;
	*found = b;
	return b->u;
}

/* ---- requests -------------------------------------------------------------------- */
static void take_interrupt(struct soft *s)
{
	struct vcpu *v = s->vcpu;
	int vec = -1;

	if (v->apic.ops) {
		soft_fpu_park(s);
		soft_dev_lock(s);
		vec = v->apic.ops->ack(v->apic.opaque);
		soft_dev_unlock(s);
	}
	s->intr_latched = vec >= 0;
	if (vec < 0)
		return;
	s->halted = false;
	soft_deliver(s, (unsigned)vec & 0xff, false, 0, false);
}

/* The request word holds nothing that cannot be served now: block entries look at it. */
static void collect_requests(struct soft *s)
{
	struct vcpu *v = s->vcpu;
	uint32_t req = atomic_load(&v->req);

	if (req & VCPU_REQ_TLB)
		soft_tlb_ack(s);
	if (req & VCPU_REQ_SMI) {
		vcpu_clear(v, VCPU_REQ_SMI);
		s->smi_latched = true;
	}
	if (req & VCPU_REQ_INTR) {
		vcpu_clear(v, VCPU_REQ_INTR);
		s->intr_latched = true;
	}
	if (req & VCPU_REQ_NMI) {
		vcpu_clear(v, VCPU_REQ_NMI);
		s->nmi_latched = true;
	}
	if (req & VCPU_REQ_INIT) {
		vcpu_clear(v, VCPU_REQ_INIT);
		s->init_latched = s->smm;
		if (!s->smm)
			soft_init_signal(s);
	}
	if (req & VCPU_REQ_SIPI) {
		vcpu_clear(v, VCPU_REQ_SIPI);
		soft_sipi(s, (uint8_t)atomic_load(&v->sipi_vector));
	}
}

static void deliver_pending(struct soft *s)
{
	if (s->intr_shadow || s->wait_sipi)
		return;
	if (s->smi_latched && !s->smm) {
		s->smi_latched = false;
		soft_smi(s);
		return;
	}
	if (s->nmi_latched && !s->nmi_blocked) {
		s->nmi_latched = false;
		s->halted = false;
		s->nmi_blocked = true;
		soft_deliver(s, EXC_NMI, false, 0, false);
		return;
	}
	if (s->intr_latched && s->eflags & FL_IF)
		take_interrupt(s);
}

/* ---- run ------------------------------------------------------------------------- */
static void run_uops(struct soft *s, struct block *b)
{
	const struct uop *u = b->u;

	s->gpr[GPR_RIP] = s->rip;
	s->cur = b;
	do
		u = u->fn(s, u);
	while (u);
}

/* One instruction: debugging, or the one after STI and its like. */
static void run_step(struct soft *s)
{
	uint32_t mode = s->mode;

	s->intr_shadow = false;
	if (!(mode & (MODE_TF | MODE_CODE_BP)))
		s->ss_shadow = false;
	else if (!soft_debug_before(s))
		return;
	s->budget = -1;
	run_uops(s, soft_block_get(s, mode | MODE_TF));
	s->budget = BUDGET - 1;
	if (mode & (MODE_TF | MODE_CODE_BP))
		soft_debug_after(s, mode);
}

static void run_blocks(struct soft *s)
{
	struct block *b;

	s->eflags &= ~FL_RF;
	s->gpr[GPR_RIP] = s->rip;
	b = soft_jc_find(s);
	if (!b || atomic_load_explicit(b->genp, memory_order_relaxed) != b->gen)
		b = soft_block_get(s, s->mode);
	s->budget -= b->n;
	run_uops(s, b);
}

static bool run_once(struct soft *s, enum vcpu_exit *why)
{
	struct vcpu *v = s->vcpu;

	s->insns += (uint64_t)(BUDGET - s->budget);
	s->budget = BUDGET;
	if (unlikely(s->triple_fault)) {
		*why = EXIT_TRIPLE_FAULT;
		return false;
	}
	if (unlikely(s->vfy)) {
		if (soft_verify_failed(s)) {
			*why = EXIT_FAIL;
			return false;
		}
		soft_verify_turn(s);
	}
	if (unlikely(atomic_load(&v->req))) {
		collect_requests(s);
		if (atomic_load(&v->req) & VCPU_REQ_LEAVE) {
			*why = EXIT_KICKED;
			return false;
		}
	}
	if (unlikely(s->intr_latched || s->nmi_latched || s->smi_latched))
		deliver_pending(s);
	if (unlikely(s->wait_sipi)) {
		*why = EXIT_WAIT_SIPI;
		return false;
	}
	if (unlikely(s->halted)) {
		v->wake_mask = VCPU_REQ_NMI | VCPU_REQ_SMI | VCPU_REQ_INIT | VCPU_REQ_TLB |
			       (s->eflags & FL_IF ? VCPU_REQ_INTR : 0);
		s->intr_shadow = false;
		if (s->intr_latched && s->eflags & FL_IF)
			return true;
		*why = EXIT_HLT;
		return false;
	}
	if (unlikely(s->jit_bad))
		soft_jit_review(s);
	if (unlikely(s->intr_shadow || s->mode & (MODE_TF | MODE_CODE_BP)))
		run_step(s);
	else
		run_blocks(s);
	return true;
}

enum vcpu_exit soft_run(struct vcpu *v)
{
	struct soft *s = v->impl;
	enum vcpu_exit why;

	s->budget = BUDGET;
	soft_guest_enter(s);
	if (sigsetjmp(s->fault_jmp, 0)) {
		s = v->impl;
		if (s->budget < 0)
			s->budget = BUDGET;
		if (s->split_locked)
			soft_split_unlock(s);
		soft_take_fault(s);
	}
	while (run_once(s, &why))
		;
	soft_fpu_park(s);
	soft_guest_leave(s);
	return why;
}
