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
};

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
	struct epoll_event ev = { .events = EPOLLIN };

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
	free(l);
}

static uint32_t to_epoll(unsigned ev)
{
	return (ev & LOOP_IN ? EPOLLIN : 0) | (ev & LOOP_OUT ? EPOLLOUT : 0);
}

bool loop_add_fd(struct loop *l, struct loop_fd *f, struct err *e)
{
	struct epoll_event ev = { .events = to_epoll(f->events), .data.ptr = f };

	if (epoll_ctl(l->ep, EPOLL_CTL_ADD, f->fd, &ev) < 0)
		return err_errno(e, HV_EXIT_HOST, errno, "cannot watch descriptor %d", f->fd);
	f->active = true;
	return true;
}

void loop_mod_fd(struct loop *l, struct loop_fd *f, unsigned events)
{
	struct epoll_event ev = { .events = to_epoll(events), .data.ptr = f };

	if (!f->active || f->events == events)
		return;
	f->events = events;
	epoll_ctl(l->ep, EPOLL_CTL_MOD, f->fd, &ev);
}

void loop_del_fd(struct loop *l, struct loop_fd *f)
{
	if (!f->active)
		return;
	f->active = false;
	epoll_ctl(l->ep, EPOLL_CTL_DEL, f->fd, NULL);
}

void loop_post(struct loop *l, struct loop_work *w)
{
	struct loop_work *head;

	if (__atomic_exchange_n(&w->queued, 1, __ATOMIC_ACQ_REL))
		return;
	head = atomic_load(&l->posted);
	do
		w->next = head;
	while (!atomic_compare_exchange_weak(&l->posted, &head, w));
	loop_wake(l);
}

/* Posted work runs in the order in which it was posted: reverse the stack first. */
static void run_posted(struct loop *l)
{
	struct loop_work *w = atomic_exchange(&l->posted, NULL), *fifo = NULL, *next;

	for (; w; w = next) {
		next = w->next;
		w->next = fifo;
		fifo = w;
	}
	for (; fifo; fifo = next) {
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
	struct loop_fd *f = ev->data.ptr;
	unsigned got = 0;
	uint64_t junk;

	if (!f) {
		if (read(l->wake_fd, &junk, sizeof(junk)) < 0)
			return;
		return;
	}
	got |= ev->events & EPOLLIN ? LOOP_IN : 0;
	got |= ev->events & EPOLLOUT ? LOOP_OUT : 0;
	got |= ev->events & (EPOLLHUP | EPOLLERR) ? LOOP_HUP : 0;
	if (f->active)
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
