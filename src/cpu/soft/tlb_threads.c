/* SPDX-License-Identifier: MIT */
/*
 * The TLB and other threads: dropping translations of every vCPU, and when a
 * vCPU is known to use none.
 *
 * Dropping translations of other vCPUs is synchronous.  A vCPU counts as
 * quiescent (in_guest == 0) while it sleeps, is outside run(), or holds or
 * waits for dev_lock, so a waiter may itself hold dev_lock.
 */
#include "sys_int.h"
#include "verify.h"
#include "../../loop.h"
#include <sched.h>

/* Flush first, then clear the bit: whoever sees it clear knows that nothing stale is left. */
void soft_tlb_ack(struct soft *s)
{
	if (!(atomic_load(&s->vcpu->req) & VCPU_REQ_TLB))
		return;
	if (atomic_load(&s->a20_off))
		s->mode |= MODE_A20_OFF;
	else
		s->mode &= ~(uint32_t)MODE_A20_OFF;
	soft_tlb_flush(s, false);
	vcpu_clear(s->vcpu, VCPU_REQ_TLB);
}

void soft_guest_enter(struct soft *s)
{
	if (unlikely(s->vfy))
		soft_verify_lock(s);
	atomic_store(&s->in_guest, 1);
	soft_tlb_ack(s);
}

void soft_guest_leave(struct soft *s)
{
	if (unlikely(s->vfy))
		soft_verify_effect(s);
	soft_fpu_park(s);	/* devices compute with the host's own MXCSR */
	atomic_store(&s->in_guest, 0);
	if (unlikely(s->vfy))
		soft_verify_unlock(s);
}

void soft_dev_lock(struct soft *s)
{
	soft_guest_leave(s);
	vm_lock(s->vcpu->vm);
}

void soft_dev_unlock(struct soft *s)
{
	vm_unlock(s->vcpu->vm);
	soft_guest_enter(s);
}

uint64_t soft_bus_read(struct soft *s, enum bus_kind k, uint64_t addr, unsigned size)
{
	uint64_t v;

	soft_guest_leave(s);
	v = bus_read(s->vcpu->vm->bus, k, addr, size);
	soft_guest_enter(s);
	return v;
}

void soft_bus_write(struct soft *s, enum bus_kind k, uint64_t addr, unsigned size, uint64_t v)
{
	struct vm *vm = s->vcpu->vm;
	bool look;

	soft_dev_lock(s);
	loop_access(vm->loop, true);
	bus_write_locked(vm->bus, k, addr, size, v);
	look = loop_access(vm->loop, false);
	vm_unlock(vm);
	if (unlikely(look))
		loop_look(vm->loop, &s->vcpu->req, ~(uint32_t)VCPU_REQ_TLB);
	soft_guest_enter(s);
}

static bool tlb_dropped(struct vcpu *v)
{
	struct soft *s = v->impl;

	return !atomic_load(&s->in_guest) || !(atomic_load(&v->req) & VCPU_REQ_TLB);
}

/* Make every vCPU but @self drop its translations; returns when none uses an old one. */
static void drop_all(struct vm *vm, struct soft *self)
{
	for (unsigned i = 0; i < vm->ncpus; i++) {
		struct vcpu *v = vm->cpus[i];

		if (v && v->impl && v->impl != self)
			atomic_fetch_or(&v->req, VCPU_REQ_TLB);
	}
	for (unsigned i = 0; i < vm->ncpus; i++) {
		struct vcpu *v = vm->cpus[i];

		if (!v || !v->impl || v->impl == self)
			continue;
		for (unsigned n = 0; !tlb_dropped(v); n++) {
			if (n < 200)
				__builtin_ia32_pause();
			else
				sched_yield();
		}
	}
}

void soft_set_a20(struct vm *vm, bool pass)
{
	for (unsigned i = 0; i < vm->ncpus; i++) {
		struct vcpu *v = vm->cpus[i];

		if (v && v->impl)
			atomic_store(&((struct soft *)v->impl)->a20_off, !pass);
	}
	drop_all(vm, NULL);
}

static void slot_changed(void *opaque, struct gm_slot *slot, const struct gm_slot *old)
{
	drop_all(opaque, NULL);
}

static void smram_changed(void *opaque)
{
	drop_all(opaque, NULL);
}

/*
 * Called before the log is fetched and cleared.  A tag given out between this
 * and the clearing stays; its page is marked once more when the tag goes.
 */
static void dirty_sync(void *opaque, struct gm_slot *slot)
{
	drop_all(opaque, NULL);
}

void soft_mmu_vm_init(struct vm *vm)
{
	const struct gm_listener l = {
		.changed = slot_changed, .dirty_sync = dirty_sync,
		.smram_changed = smram_changed, .dirty_tells = true, .opaque = vm,
	};

	gm_set_listener(vm->mem, &l);
}

static void drop_write_tags(struct soft *s, const uint8_t *host)
{
	soft_slots_protect(s, host);
	for (unsigned t = 0; t < TLB_TABLES; t++)
		for (unsigned w = 0; w < TLB_WORDS; w++)
			for (uint64_t b = s->tlb_used[t][w]; b; b &= b - 1) {
				struct soft_tlbe *e = &s->tlbs[t][w * 64 + __builtin_ctzll(b)];

				if (e->tag_w != TLB_NONE &&
				    (const uint8_t *)(uintptr_t)(e->tag_w + e->delta) == host)
					e->tag_w = TLB_NONE;
			}
}

void soft_protect_code(struct soft *s, struct gm_block *b, uint64_t block_off)
{
	drop_write_tags(s, b->host + (block_off & ~0xfffull));
	if (s->vcpu->vm->ncpus == 1)
		return;
	soft_guest_leave(s);
	drop_all(s->vcpu->vm, s);
	soft_guest_enter(s);
}
