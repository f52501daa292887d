/* SPDX-License-Identifier: MIT */
/*
 * The loop thread; see loop.h.
 *
 * epoll for descriptors, an eventfd to be woken, the virtual clock's next
 * deadline as the time-out (epoll_pwait2: nanoseconds), a lock-free stack
 * for posted work.
 */
#include "loop.h"
#include "clock.h"
#include "log.h"
#include <errno.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <time.h>
#include <unistd.h>

struct loop {
	pthread_mutex_t *lock;
	struct vclock *clk;
	int ep, wake_fd;
	pthread_t thread;
	bool started;
	_Atomic bool quit;
	_Atomic bool awake;	/* the thread will look at clock and work before it sleeps */
	_Atomic(struct loop_work *) posted;
	/* Leaf: descriptors by slot, so that a late event finds out that its own is gone. */
	pthread_mutex_t fds_lock;
	struct fd_slot {
		struct loop_fd *f;		/* NULL: free */
		uint32_t seq;
	} *fds;
	unsigned nfds;
	pthread_mutex_t idle_lock;		/* held by the vCPU that watches */
	struct loop_idle *idlers;		/* change: dev_lock and idle_lock */
	unsigned idle_missed, idle_skipped;	/* under idle_lock: looks in vain, sleeps since */
	bool accessing, expected;		/* under dev_lock: loop_access(), loop_expect() */
};

#define NO_FD UINT64_MAX	/* data of the wake-up descriptor */
#define IDLE_MAX_NS 120000u	/* a look lasts at most so long */
#define IDLE_LATE_NS 20000u	/* what is expected may be so late */
#define IDLE_MISSES 4u		/* looks in vain, one after the other, until ... */
#define IDLE_SKIP 64u		/* ... so many sleeps without a look */

static void loop_wake(void *opaque)
{
	struct loop *l = opaque;
	uint64_t one = 1;

	if (atomic_exchange(&l->awake, true))
		return;
	if (write(l->wake_fd, &one, sizeof(one)) < 0)
		return;	/* counter saturated: already awake */
}

struct loop *loop_new(pthread_mutex_t *dev_lock, struct vclock *clk, struct err *e)
{
	struct loop *l = hv_zalloc(sizeof(*l));
	struct epoll_event ev = { .events = EPOLLIN, .data.u64 = NO_FD };

	pthread_mutex_init(&l->fds_lock, NULL);
	pthread_mutex_init(&l->idle_lock, NULL);
	l->lock = dev_lock;
	l->clk = clk;
	l->awake = true;
	l->ep = epoll_create1(EPOLL_CLOEXEC);
	l->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (l->ep < 0 || l->wake_fd < 0 ||
	    epoll_ctl(l->ep, EPOLL_CTL_ADD, l->wake_fd, &ev) < 0) {
		err_errno(e, HV_EXIT_HOST, errno, "cannot create the event loop");
		loop_free(l);
		return NULL;
	}
	vclock_set_wakeup(clk, loop_wake, l);
	return l;
}

void loop_free(struct loop *l)
{
	if (!l)
		return;
	loop_stop(l);
	vclock_set_wakeup(l->clk, NULL, NULL);
	if (l->ep >= 0)
		close(l->ep);
	if (l->wake_fd >= 0)
		close(l->wake_fd);
	pthread_mutex_destroy(&l->fds_lock);
	pthread_mutex_destroy(&l->idle_lock);
	free(l->fds);
	free(l);
}

static uint32_t to_epoll(unsigned ev)
{
	return (ev & LOOP_EDGE ? EPOLLET : 0) | (ev & LOOP_IN ? EPOLLIN : 0) |
	       (ev & LOOP_OUT ? EPOLLOUT : 0);
}

static void take_slot(struct loop *l, struct loop_fd *f)
{
	pthread_mutex_lock(&l->fds_lock);
	for (f->slot = 0; f->slot < l->nfds && l->fds[f->slot].f; f->slot++)
		;
	if (f->slot == l->nfds) {
		struct fd_slot *more = hv_zalloc((l->nfds + 16) * sizeof(*more));

		if (l->nfds)
			memcpy(more, l->fds, l->nfds * sizeof(*more));
		free(l->fds);
		l->fds = more;
		l->nfds += 16;
	}
	l->fds[f->slot].f = f;
	pthread_mutex_unlock(&l->fds_lock);
}

static void free_slot(struct loop *l, struct loop_fd *f)
{
	pthread_mutex_lock(&l->fds_lock);
	l->fds[f->slot].f = NULL;
	l->fds[f->slot].seq++;
	f->active = false;
	pthread_mutex_unlock(&l->fds_lock);
}

static uint64_t slot_data(struct loop *l, const struct loop_fd *f)
{
	uint64_t v;

	pthread_mutex_lock(&l->fds_lock);
	v = (uint64_t)f->slot << 32 | l->fds[f->slot].seq;
	pthread_mutex_unlock(&l->fds_lock);
	return v;
}

/* Under dev_lock.  NULL: it was deleted since the event. */
static struct loop_fd *slot_find(struct loop *l, uint64_t data)
{
	struct loop_fd *f = NULL;

	pthread_mutex_lock(&l->fds_lock);
	if (data >> 32 < l->nfds && l->fds[data >> 32].seq == (uint32_t)data)
		f = l->fds[data >> 32].f;
	pthread_mutex_unlock(&l->fds_lock);
	return f;
}

bool loop_add_fd(struct loop *l, struct loop_fd *f, struct err *e)
{
	struct epoll_event ev = { .events = to_epoll(f->events) };

	take_slot(l, f);
	ev.data.u64 = slot_data(l, f);
	f->active = true;
	if (epoll_ctl(l->ep, EPOLL_CTL_ADD, f->fd, &ev) < 0) {
		free_slot(l, f);
		return err_errno(e, HV_EXIT_HOST, errno, "cannot watch descriptor %d", f->fd);
	}
	return true;
}

void loop_mod_fd(struct loop *l, struct loop_fd *f, unsigned events)
{
	struct epoll_event ev = { .events = to_epoll(events) };

	if (!f->active || f->events == events)
		return;
	ev.data.u64 = slot_data(l, f);
	f->events = events;
	epoll_ctl(l->ep, EPOLL_CTL_MOD, f->fd, &ev);
}

void loop_del_fd(struct loop *l, struct loop_fd *f)
{
	if (!f->active)
		return;
	free_slot(l, f);
	epoll_ctl(l->ep, EPOLL_CTL_DEL, f->fd, NULL);
}

static void push(struct loop *l, struct loop_work *w)
{
	struct loop_work *head = atomic_load(&l->posted);

	do
		w->next = head;
	while (!atomic_compare_exchange_weak(&l->posted, &head, w));
}

void loop_post(struct loop *l, struct loop_work *w)
{
	if (__atomic_exchange_n(&w->queued, 1, __ATOMIC_ACQ_REL))
		return;
	push(l, w);
	loop_wake(l);
}

/* Posted work runs in the order in which it was posted: the stack, reversed. */
static struct loop_work *take_posted(struct loop *l)
{
	struct loop_work *w = atomic_exchange(&l->posted, NULL), *fifo = NULL, *next;

	for (; w; w = next) {
		next = w->next;
		w->next = fifo;
		fifo = w;
	}
	return fifo;
}

bool loop_unpost(struct loop *l, struct loop_work *gone)
{
	if (l->started)
		return false;
	for (struct loop_work *w = take_posted(l), *next; w; w = next) {
		next = w->next;
		if (w != gone)
			push(l, w);
	}
	gone->queued = 0;
	return true;
}

static void run_posted(struct loop *l)
{
	for (struct loop_work *fifo = take_posted(l), *next; fifo; fifo = next) {
		next = fifo->next;
		__atomic_store_n(&fifo->queued, 0, __ATOMIC_RELEASE);
		fifo->fn(fifo->opaque);
	}
}

static int wait_events(struct loop *l, struct epoll_event *ev, int max, int timeout_ms)
{
	uint64_t next, now;
	struct timespec ts = { 0, 0 };

	pthread_mutex_lock(l->lock);
	atomic_store(&l->awake, false);
	next = vclock_next(l->clk);
	pthread_mutex_unlock(l->lock);
	if (atomic_load(&l->posted))
		return epoll_wait(l->ep, ev, max, 0);
	if (timeout_ms >= 0 || next == UINT64_MAX)
		return epoll_wait(l->ep, ev, max, timeout_ms);
	now = vclock_now(l->clk);
	if (next > now) {
		ts.tv_sec = (time_t)((next - now) / NS_PER_SEC);
		ts.tv_nsec = (long)((next - now) % NS_PER_SEC);
	}
	return epoll_pwait2(l->ep, ev, max, &ts, NULL);
}

static void dispatch_fd(struct loop *l, const struct epoll_event *ev)
{
	struct loop_fd *f;
	unsigned got = 0;
	uint64_t junk;

	if (ev->data.u64 == NO_FD) {
		if (read(l->wake_fd, &junk, sizeof(junk)) < 0)
			return;
		return;
	}
	got |= ev->events & EPOLLIN ? LOOP_IN : 0;
	got |= ev->events & EPOLLOUT ? LOOP_OUT : 0;
	got |= ev->events & (EPOLLHUP | EPOLLERR) ? LOOP_HUP : 0;
	f = slot_find(l, ev->data.u64);
	if (f)
		f->fn(f->opaque, got);
}

void loop_poll(struct loop *l, int timeout_ms)
{
	struct epoll_event ev[1];
	int n = wait_events(l, ev, 1, timeout_ms);

	pthread_mutex_lock(l->lock);
	atomic_store(&l->awake, true);
	/* One descriptor a pass: a callback may delete (and free) any other. */
	for (int i = 0; i < n; i++)
		dispatch_fd(l, &ev[i]);
	run_posted(l);
	vclock_run(l->clk);
	pthread_mutex_unlock(l->lock);
}

/* ---- Watching instead of sleeping ---- */

void loop_add_idle(struct loop *l, struct loop_idle *i)
{
	pthread_mutex_lock(&l->idle_lock);
	i->next = l->idlers;
	l->idlers = i;
	pthread_mutex_unlock(&l->idle_lock);
}

void loop_del_idle(struct loop *l, struct loop_idle *i)
{
	struct loop_idle **p = &l->idlers;

	pthread_mutex_lock(&l->idle_lock);	/* who watches does not take dev_lock meanwhile */
	while (*p && *p != i)
		p = &(*p)->next;
	if (*p)
		*p = i->next;
	pthread_mutex_unlock(&l->idle_lock);
}

static bool any_ready(const struct loop *l)
{
	bool ready = false;

	for (const struct loop_idle *i = l->idlers; i; i = i->next)
		ready |= i->ready(i->opaque);
	return ready;
}

static void watch(struct loop *l, bool on)
{
	for (struct loop_idle *i = l->idlers; i; i = i->next)
		i->watch(i->opaque, on);
}

static void spin(struct loop *l, uint64_t end, const _Atomic uint32_t *word, uint32_t mask)
{
	bool ready = any_ready(l), asked = false;

	while (!ready && !asked && host_now_ns() < end) {
		for (unsigned i = 0; i < 16; i++)
			__builtin_ia32_pause();
		ready = any_ready(l);
		asked = atomic_load_explicit(word, memory_order_relaxed) & mask;
	}
	if (ready)
		l->idle_missed = 0;
	else if (!asked)
		l->idle_missed++;
}

/* Until when to look; 0: not at all, it is far off, or the last looks were in vain. */
static uint64_t look_until(struct loop *l)
{
	uint64_t now = 0, end = 0;

	for (const struct loop_idle *i = l->idlers; i; i = i->next) {
		uint64_t due = i->due(i->opaque);

		if (!due)
			continue;
		now = now ? now : host_now_ns();
		if (due < now + IDLE_MAX_NS)
			end = MAX(end, MIN(MAX(due, now) + IDLE_LATE_NS, now + IDLE_MAX_NS));
	}
	if (end && l->idle_missed >= IDLE_MISSES) {
		if (++l->idle_skipped < IDLE_SKIP)
			return 0;
		l->idle_skipped = 0;
		l->idle_missed = IDLE_MISSES - 1;
	}
	return end;
}

/* Is something ready? */
static bool look(struct loop *l, const _Atomic uint32_t *word, uint32_t mask)
{
	bool ready = false;
	uint64_t end;

	if (pthread_mutex_trylock(&l->idle_lock))
		return false;
	end = look_until(l);
	if (end) {
		watch(l, true);
		spin(l, end, word, mask);
		watch(l, false);
		ready = any_ready(l);	/* what came last woke nobody */
	}
	pthread_mutex_unlock(&l->idle_lock);
	return ready;
}

static void work_off(struct loop *l, bool leave)
{
	pthread_mutex_lock(l->lock);
	for (struct loop_idle *i = l->idlers; i; i = i->next) {
		if (i->ready(i->opaque))
			i->fn(i->opaque);
		if (leave && i->leave)
			i->leave(i->opaque);
	}
	pthread_mutex_unlock(l->lock);
}

void loop_idle(struct loop *l, const _Atomic uint32_t *word, uint32_t mask)
{
	if (__atomic_load_n(&l->idlers, __ATOMIC_RELAXED) && look(l, word, mask))
		work_off(l, false);
}

bool loop_access(struct loop *l, bool begin)
{
	bool expected = l->expected;

	l->accessing = begin;
	l->expected = false;
	return expected;
}

bool loop_expect(struct loop *l)
{
	l->expected |= l->accessing;
	return l->expected;
}

void loop_look(struct loop *l, const _Atomic uint32_t *word, uint32_t mask)
{
	look(l, word, mask);
	work_off(l, true);
}

static void *loop_main(void *arg)
{
	struct loop *l = arg;

	pthread_setname_np(pthread_self(), "loop");
	while (!atomic_load(&l->quit))
		loop_poll(l, -1);
	return NULL;
}

bool loop_start(struct loop *l, struct err *e)
{
	int rc;

	if (l->started)
		return true;
	atomic_store(&l->quit, false);
	rc = pthread_create(&l->thread, NULL, loop_main, l);
	if (rc)
		return err_errno(e, HV_EXIT_HOST, rc, "cannot start the loop thread");
	l->started = true;
	return true;
}

void loop_stop(struct loop *l)
{
	if (!l->started)
		return;
	atomic_store(&l->quit, true);
	atomic_store(&l->awake, false);
	loop_wake(l);
	pthread_join(l->thread, NULL);
	l->started = false;
}
