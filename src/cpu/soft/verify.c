/* SPDX-License-Identifier: MIT */
/*
 * Lockstep: translated code against the interpreter.
 *
 * A unit is a chain of up to VERIFY_CHAIN translated blocks.  The interpreter
 * executes it first (verify_run.c), on the guest's memory; no TLB entry has a
 * write tag then, so every store passes soft_verify_access() (verify_mem.c),
 * which keeps the page as it was, and soft_verify_stored(), which notes the
 * bytes.  Then the translated code executes it from the same registers on
 * shadows of those pages, as they were before; the TLB sends it there.
 * Registers, the result (where it went on, which exception) and memory are
 * compared (verify_report.c), flags where they are defined (verify_flags.c);
 * a store to any other page or byte is a difference too.  What the
 * interpreter did remains.
 *
 * A unit ends in front of instructions that cannot be repeated.  A device
 * access or a store into code that turns up in the middle ends the comparison
 * there: everything is taken back and done once more for good.
 *
 * Devices write memory meanwhile: a difference is only believed after the
 * unit was taken back and compared again several times.  vCPUs take turns.
 */
#include "verify_int.h"
#include "../../log.h"
#include <stdlib.h>
#include <sys/mman.h>

#define VERIFY_TRIES 5u
#define TURN 64u		/* units between looks at who waits */

struct verify_turns {
	pthread_mutex_t lock;
	pthread_cond_t moved;
	unsigned next, serving;
};

void soft_verify_lock(struct soft *s)
{
	struct verify_turns *t = s->vcpu->vm->engine_data;
	unsigned mine;

	pthread_mutex_lock(&t->lock);
	mine = t->next++;
	while (t->serving != mine)
		pthread_cond_wait(&t->moved, &t->lock);
	pthread_mutex_unlock(&t->lock);
}

void soft_verify_unlock(struct soft *s)
{
	struct verify_turns *t = s->vcpu->vm->engine_data;

	pthread_mutex_lock(&t->lock);
	t->serving++;
	pthread_cond_broadcast(&t->moved);
	pthread_mutex_unlock(&t->lock);
}

void soft_verify_turn(struct soft *s)
{
	if (++s->vfy->turn < TURN || s->vcpu->vm->ncpus == 1)
		return;
	s->vfy->turn = 0;
	soft_guest_leave(s);
	soft_guest_enter(s);
}

bool soft_verify_vm_init(struct vm *vm)
{
	struct verify_turns *t = hv_zalloc(sizeof(*t));

	pthread_mutex_init(&t->lock, NULL);
	pthread_cond_init(&t->moved, NULL);
	vm->engine_data = t;
	return true;
}

void soft_verify_vm_free(struct vm *vm)
{
	struct verify_turns *t = vm->engine_data;

	pthread_mutex_destroy(&t->lock);
	pthread_cond_destroy(&t->moved);
	free(t);
	vm->engine_data = NULL;
}

static void attempt(struct soft *s, unsigned n)
{
	struct soft_verify *v = s->vfy;

	verify_drop_tags(s);
	v->npages = 0;
	v->stopped = v->skip = false;
	v->ref = verify_run_ref(s);
	verify_save(s, &v->after);
	if (v->ref == VFY_TOO_MUCH) {
		v->skip = true;
		return;
	}
	verify_load(s, &v->before);
	soft_fpu_sync_in(s);
	verify_shadow_tlb(s, n > 0);
	v->native = verify_run_native(s);
	verify_restore_tlb(s);
	verify_save(s, &v->got);
}

static bool verified(struct soft *s)
{
	static __thread struct verify_report r;
	struct soft_verify *v = s->vfy;

	for (unsigned n = 0; n < VERIFY_TRIES; n++) {
		attempt(s, n);
		if (v->skip || v->native == VFY_TOO_MUCH) {
			v->skipped++;
			return true;
		}
		verify_compare(v, &r);
		if (!r.n)
			return true;
		v->retries++;
		if (n + 1 < VERIFY_TRIES) {
			verify_take_back(v);
			verify_load(s, &v->before);
			soft_fpu_sync_in(s);
		}
	}
	verify_report(s, &r);
	v->failed = true;
	return false;
}

static void finish(struct soft *s)
{
	struct soft_verify *v = s->vfy;

	verify_load(s, &v->after);
	soft_fpu_sync_in(s);
	memcpy(&s->fault_jmp, &v->outer, sizeof(v->outer));
	s->req = &s->vcpu->req;
	if (v->ref == VFY_FAULT)
		siglongjmp(s->fault_jmp, 1);
}

const struct uop *soft_verify_unit(struct soft *s)
{
	struct soft_verify *v = s->vfy;
	int64_t budget = s->budget;
	struct block *b = s->cur;

	if (v->failed)
		return NULL;
	if (b->cut)	/* by an interpreted execution, before it was translated */
		return b->fn0(s, b->u);
	v->blk[0] = b;
	s->rip = s->gpr[GPR_RIP];
	memcpy(&v->outer, &s->fault_jmp, sizeof(v->outer));
	verify_save(s, &v->before);
	v->units++;
	s->budget = budget;
	verified(s);
	v->blocks += v->n;
	s->budget = budget;
	if (v->ref == VFY_EFFECT || v->ref == VFY_TOO_MUCH) {
		v->effects += v->ref == VFY_EFFECT;
		verify_do_once(s);
	} else {
		finish(s);
	}
	s->budget = budget;
	return NULL;
}

bool soft_verify_failed(const struct soft *s)
{
	return s->vfy->failed;
}

bool soft_verify_init(struct soft *s)
{
	struct soft_verify *v = hv_zalloc(sizeof(*v));

	v->space = mmap(NULL, MAX_PAGES * 8192, PROT_READ | PROT_WRITE,
			MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (v->space == MAP_FAILED) {
		free(v);
		return false;
	}
	s->vfy = v;
	return true;
}

void soft_verify_free(struct soft *s)
{
	struct soft_verify *v = s->vfy;

	if (!v)
		return;
	log_info("CPU %u: %llu runs of %llu translated blocks compared with the interpreter, "
		 "%llu not to the end for device accesses, %llu not at all, %llu repeated",
		 s->vcpu->index, (unsigned long long)v->units, (unsigned long long)v->blocks,
		 (unsigned long long)v->effects, (unsigned long long)v->skipped,
		 (unsigned long long)v->retries);
	munmap(v->space, MAX_PAGES * 8192);
	free(v);
	s->vfy = NULL;
}
