/* SPDX-License-Identifier: MIT */
/*
 * The virtual clock: nanoseconds of guest time, stopped while the VM is
 * paused, and the timers on it.  Tests advance it by hand.
 *
 * Locking: everything under vm->dev_lock, except vclock_now(), which is
 * lock-free.  Timer callbacks run on the loop thread under dev_lock.
 */
#ifndef HV_CLOCK_H
#define HV_CLOCK_H

#include "util.h"

struct vclock;

struct vtimer {
	struct vclock *clk;	/* immutable after vtimer_init() */
	void (*fn)(void *opaque);
	void *opaque;
	uint64_t deadline;	/* virtual ns; meaningful while armed */
	uint32_t heap_pos;	/* index + 1 in the clock's heap; 0 = not armed */
};

/* @manual: time moves only by vclock_advance() (tests).  Never NULL. */
struct vclock *vclock_new(bool manual);
void vclock_free(struct vclock *c);	/* after its timers were cancelled */

uint64_t vclock_now(const struct vclock *c);		/* ns since the machine was created */
void vclock_pause(struct vclock *c);
void vclock_resume(struct vclock *c);
/* Restore: set the current value; timers keep their absolute deadlines. */
void vclock_set(struct vclock *c, uint64_t now);

void vtimer_init(struct vtimer *t, struct vclock *c, void (*fn)(void *), void *opaque);
void vtimer_arm(struct vtimer *t, uint64_t deadline);	/* re-arming moves it */
void vtimer_cancel(struct vtimer *t);
static inline bool vtimer_armed(const struct vtimer *t) { return t->heap_pos != 0; }

/* Run all timers that are due (loop thread, under dev_lock). */
void vclock_run(struct vclock *c);
/* Deadline of the next timer in virtual ns, UINT64_MAX when none or paused. */
uint64_t vclock_next(const struct vclock *c);
/* Called (under dev_lock) when an earlier deadline was armed: wakes the loop. */
void vclock_set_wakeup(struct vclock *c, void (*fn)(void *), void *opaque);
/* Manual clocks: move on by @ns, running timers at their exact times. */
void vclock_advance(struct vclock *c, uint64_t ns);

/* muldiv without overflow: a * b / c, 128-bit intermediate (c != 0). */
static inline uint64_t muldiv64(uint64_t a, uint64_t b, uint64_t c)
{
	return (uint64_t)((unsigned __int128)a * b / c);
}

#define NS_PER_SEC 1000000000ull
#define NS_PER_MS 1000000ull
#define NS_PER_US 1000ull

#endif
