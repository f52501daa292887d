/* SPDX-License-Identifier: MIT */
/*
 * The loop thread: file descriptors, virtual-clock timers, posted work.
 *
 * Callbacks run on the loop thread under vm->dev_lock.  One loop per VM.
 */
#ifndef HV_LOOP_H
#define HV_LOOP_H

#include "err.h"
#include "util.h"
#include <pthread.h>

struct loop;
struct vclock;

struct loop *loop_new(pthread_mutex_t *dev_lock, struct vclock *clk, struct err *e);
void loop_free(struct loop *l);		/* stops the thread first */
bool loop_start(struct loop *l, struct err *e);
void loop_stop(struct loop *l);

/* LOOP_EDGE: called once for each time the descriptor becomes ready, not while it is. */
enum { LOOP_IN = 1, LOOP_OUT = 2, LOOP_HUP = 4, LOOP_EDGE = 8 };

/* One per descriptor, owned by the caller, alive until loop_del_fd() returned. */
struct loop_fd {
	int fd;
	unsigned events;	/* LOOP_IN | LOOP_OUT wanted; change with loop_mod_fd() */
	void (*fn)(void *opaque, unsigned events);
	void *opaque;
	bool active;		/* loop.c only, as what follows */
	unsigned slot;
};
bool loop_add_fd(struct loop *l, struct loop_fd *f, struct err *e);
void loop_mod_fd(struct loop *l, struct loop_fd *f, unsigned events);
void loop_del_fd(struct loop *l, struct loop_fd *f);	/* under dev_lock, or loop stopped */

/* Work posted from any thread, lock-free for the caller; runs once per post.  Embedded. */
struct loop_work {
	void (*fn)(void *opaque);
	void *opaque;
	struct loop_work *next;	/* loop.c only */
	int queued;		/* loop.c only */
};
void loop_post(struct loop *l, struct loop_work *w);
/* Takes work back whose owner goes away; false: the loop's thread runs and may be at it. */
bool loop_unpost(struct loop *l, struct loop_work *w);

/*
 * What an idle vCPU watches for some microseconds before it sleeps, so that a
 * completion that is about to come needs no other thread.  Added and removed
 * under dev_lock, or before the loop starts.
 */
struct loop_idle {
	uint64_t (*due)(void *opaque);		/* host ns: expected then; 0: nothing is */
	bool (*ready)(void *opaque);		/* has it? */
	void (*watch)(void *opaque, bool on);	/* on: the loop need not be woken for it */
	void (*fn)(void *opaque);		/* work it off; under dev_lock */
	void (*leave)(void *opaque);		/* nobody looks: likewise */
	void *opaque;
	struct loop_idle *next;			/* loop.c only */
};
void loop_add_idle(struct loop *l, struct loop_idle *i);
void loop_del_idle(struct loop *l, struct loop_idle *i);
/* vCPU thread, no locks held: returns when *@word has one of @mask, or soon. */
void loop_idle(struct loop *l, const _Atomic uint32_t *word, uint32_t mask);
/*
 * The same at once, for a guest that will do nothing but wait for what it just
 * started.  Around a device access, under dev_lock, the vCPU calls
 * loop_access(): true, false.  A device that has learned that habit calls
 * loop_expect() in it; true: somebody will look.  The end of the access then
 * returns true, and the vCPU calls loop_look() as soon as it holds no locks.
 * What has not come when that returns has had its leave() called.
 */
bool loop_access(struct loop *l, bool begin);
bool loop_expect(struct loop *l);
void loop_look(struct loop *l, const _Atomic uint32_t *word, uint32_t mask);

/* Tests without a thread: run what is ready now, at most one pass; under dev_lock not held. */
void loop_poll(struct loop *l, int timeout_ms);

#endif
