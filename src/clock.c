/* SPDX-License-Identifier: MIT */
/*
 * The virtual clock; see clock.h.
 *
 * now = base + (host - origin) while running; a manual clock only has base.
 * Base and origin belong together: a reader that took the origin of before a
 * pause and the base of after it would count the time between them twice.
 * Hence the sequence number, odd while they change (one thread at a time).
 * Armed timers form a binary heap of pointers ordered by deadline.
 */
#include "clock.h"
#include <stdatomic.h>
#include <stdlib.h>

#define VCLOCK_MAX_TIMERS 512

struct vclock {
	_Atomic uint32_t seq;
	_Atomic uint64_t base;
	_Atomic uint64_t origin;	/* host ns at which base was right; 0 = stopped */
	bool manual;
	struct vtimer *heap[VCLOCK_MAX_TIMERS];
	uint32_t n;
	void (*wakeup)(void *);
	void *wakeup_opaque;
};

struct vclock *vclock_new(bool manual)
{
	struct vclock *c = hv_zalloc(sizeof(*c));

	c->manual = manual;
	return c;
}

void vclock_free(struct vclock *c)
{
	free(c);
}

uint64_t vclock_now(const struct vclock *c)
{
	uint64_t origin, base, now;
	uint32_t seq;

	do {
		seq = atomic_load_explicit(&c->seq, memory_order_acquire);
		origin = atomic_load_explicit(&c->origin, memory_order_acquire);
		base = atomic_load_explicit(&c->base, memory_order_acquire);
		now = origin ? base + (host_now_ns() - origin) : base;
	} while (unlikely(seq & 1 ||
			  seq != atomic_load_explicit(&c->seq, memory_order_relaxed)));
	return now;
}

/* Readers wait from here to change_end(): none has seen a later time than what is read next. */
static void change_begin(struct vclock *c)
{
	atomic_fetch_add(&c->seq, 1);
}

static void change_end(struct vclock *c, uint64_t base, uint64_t origin)
{
	atomic_store_explicit(&c->base, base, memory_order_release);
	atomic_store_explicit(&c->origin, origin, memory_order_release);
	atomic_fetch_add(&c->seq, 1);
}

void vclock_pause(struct vclock *c)
{
	uint64_t origin, base;

	change_begin(c);
	origin = atomic_load(&c->origin);
	base = atomic_load(&c->base);
	change_end(c, origin ? base + (host_now_ns() - origin) : base, 0);
}

static void wake(struct vclock *c)
{
	if (c->wakeup)
		c->wakeup(c->wakeup_opaque);
}

void vclock_resume(struct vclock *c)
{
	if (c->manual || atomic_load(&c->origin))
		return;
	change_begin(c);
	change_end(c, atomic_load(&c->base), host_now_ns());
	wake(c);
}

void vclock_set(struct vclock *c, uint64_t now)
{
	bool running = atomic_load(&c->origin) != 0;

	change_begin(c);
	change_end(c, now, 0);
	if (running)
		vclock_resume(c);
}

void vclock_set_wakeup(struct vclock *c, void (*fn)(void *), void *opaque)
{
	c->wakeup = fn;
	c->wakeup_opaque = opaque;
}

static void heap_put(struct vclock *c, uint32_t i, struct vtimer *t)
{
	c->heap[i] = t;
	t->heap_pos = i + 1;
}

static void heap_up(struct vclock *c, uint32_t i)
{
	struct vtimer *t = c->heap[i];

	while (i && c->heap[(i - 1) / 2]->deadline > t->deadline) {
		heap_put(c, i, c->heap[(i - 1) / 2]);
		i = (i - 1) / 2;
	}
	heap_put(c, i, t);
}

static void heap_down(struct vclock *c, uint32_t i)
{
	struct vtimer *t = c->heap[i];

	for (uint32_t k; (k = 2 * i + 1) < c->n; i = k) {
		if (k + 1 < c->n && c->heap[k + 1]->deadline < c->heap[k]->deadline)
			k++;
		if (c->heap[k]->deadline >= t->deadline)
			break;
		heap_put(c, i, c->heap[k]);
	}
	heap_put(c, i, t);
}

void vtimer_init(struct vtimer *t, struct vclock *c, void (*fn)(void *), void *opaque)
{
	*t = (struct vtimer){ .clk = c, .fn = fn, .opaque = opaque };
}

void vtimer_cancel(struct vtimer *t)
{
	struct vclock *c = t->clk;
	uint32_t i = t->heap_pos;

	if (!i--)
		return;
	t->heap_pos = 0;
	if (i != --c->n) {
		heap_put(c, i, c->heap[c->n]);
		heap_up(c, i);
		heap_down(c, c->heap[i]->heap_pos - 1);
	}
}

void vtimer_arm(struct vtimer *t, uint64_t deadline)
{
	struct vclock *c = t->clk;

	vtimer_cancel(t);
	HV_BUG_ON(c->n == VCLOCK_MAX_TIMERS);
	t->deadline = deadline;
	c->heap[c->n] = t;
	heap_up(c, c->n++);
	if (t->heap_pos == 1)
		wake(c);
}

uint64_t vclock_next(const struct vclock *c)
{
	if (!c->n || (!c->manual && !atomic_load(&c->origin)))
		return UINT64_MAX;
	return c->heap[0]->deadline;
}

/* A timer that re-arms itself in the past cannot starve the loop: bounded work a call. */
void vclock_run(struct vclock *c)
{
	uint64_t now = vclock_now(c);

	for (unsigned budget = 4 * VCLOCK_MAX_TIMERS; budget && c->n; budget--) {
		struct vtimer *t = c->heap[0];

		if (t->deadline > now)
			return;
		vtimer_cancel(t);
		t->fn(t->opaque);
	}
}

void vclock_advance(struct vclock *c, uint64_t ns)
{
	uint64_t end = atomic_load(&c->base) + ns;

	HV_BUG_ON(!c->manual);
	while (c->n && c->heap[0]->deadline <= end) {
		struct vtimer *t = c->heap[0];

		if (t->deadline > atomic_load(&c->base))
			atomic_store(&c->base, t->deadline);
		vtimer_cancel(t);
		t->fn(t->opaque);
	}
	atomic_store(&c->base, end);
}
