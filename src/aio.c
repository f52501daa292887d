/* SPDX-License-Identifier: MIT */
/* Asynchronous file I/O by io_uring; see aio.h. */
#include "aio.h"
#include "aio_solo.h"
#include "clock.h"
#include "hostfile.h"
#include "loop.h"
#include <errno.h>
#include <limits.h>
#include <liburing.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <unistd.h>

#define RING_ENTRIES 256u
#define LONE_MAX 16u		/* requests one by one, each waited for in HLT: so many count, */
#define LONE_SURE 9u		/* after so many it is a habit, */
#define LONE_PROBE 32u		/* which one in so many requests puts to the test */
#define LONE_NS 100000u		/* so soon their completions come */

struct transfer {
	bool write;
	int fd;
	const struct iovec *iov;
	unsigned niov;
	uint64_t off;
	unsigned how;
	void *tag;
};

struct aio {
	struct io_uring ring;
	struct solo *solo;		/* NULL: the host has no such thing */
	struct loop *loop;
	struct loop_fd fd;		/* an eventfd, raised by the ring */
	struct loop_fd solo_fd;		/* likewise; no events: the vCPU looks */
	struct loop_idle idle_watch;
	void (*done)(void *opaque, void *tag, int result);
	void (*idle)(void *opaque);
	void *opaque;
	_Atomic unsigned busy;		/* written under dev_lock, as what follows */
	_Atomic uint64_t since;		/* host ns: last completion, or begin of the first */
	_Atomic uint64_t gap;		/* ns from there to a completion, as it is of late */
	unsigned prepared;		/* in the ring */
	struct transfer first;		/* the only one in flight, while ... */
	bool held;			/* ... it waits for aio_submit() to choose its way */
	unsigned lone;			/* up to LONE_MAX: the guest waits for each, halted */
	unsigned probe;			/* requests since it was last put to the test */
	bool always;			/* the habit is assumed */
	bool asked;			/* a vCPU looks for the only one in flight */
};

static uint64_t idle_due(void *opaque)
{
	struct aio *a = opaque;

	if (!atomic_load_explicit(&a->busy, memory_order_relaxed))
		return 0;
	return atomic_load_explicit(&a->since, memory_order_relaxed) +
	       atomic_load_explicit(&a->gap, memory_order_relaxed);
}

/* @n completions: the times between them, where a short one counts more than a long one. */
static void learn_gap(struct aio *a, unsigned n)
{
	uint64_t now = host_now_ns(), gap = atomic_load_explicit(&a->gap, memory_order_relaxed);
	uint64_t took = (now - atomic_load_explicit(&a->since, memory_order_relaxed)) / n;

	gap = !gap ? took : took < gap ? gap - (gap - took) / 4 : gap + (took - gap) / 8;
	atomic_store_explicit(&a->gap, gap, memory_order_relaxed);
	atomic_store_explicit(&a->since, now, memory_order_relaxed);
}

/*
 * @n completions came, @halted: to a vCPU that looked.  Had it been asked to,
 * that says little about the guest.
 */
static void learn_lone(struct aio *a, unsigned n, bool halted)
{
	if (!n)
		return;
	if (halted && n == 1)
		a->lone = MIN(a->lone + 1, LONE_MAX);
	else if (!a->asked)
		a->lone /= 2;
	a->asked = false;
}

static bool idle_ready(void *opaque)
{
	struct aio *a = opaque;

	return io_uring_cq_ready(&a->ring) || (a->solo && solo_ready(a->solo));
}

static void idle_look(void *opaque, bool on)
{
	io_uring_cq_eventfd_toggle(&((struct aio *)opaque)->ring, !on);
}

static void idle_done(void *opaque)
{
	struct aio *a = opaque;
	unsigned n = aio_reap(a, false);

	learn_lone(a, n, true);
	if (n)
		a->idle(a->opaque);
}

/* It has not come while the vCPU looked: the loop must be woken. */
static void idle_leave(void *opaque)
{
	struct aio *a = opaque;

	a->lone -= a->asked && a->lone;
	a->asked = false;
	if (a->solo && solo_busy(a->solo))
		loop_mod_fd(a->loop, &a->solo_fd, LOOP_IN | LOOP_EDGE);
}

/* Completions raised the eventfd (edge-triggered: it is never read). */
static void ring_ready(void *opaque, unsigned events)
{
	struct aio *a = opaque;
	unsigned n = aio_reap(a, false);

	learn_lone(a, n, false);
	if (n)
		a->idle(a->opaque);
}

static void solo_open(struct aio *a)
{
	a->solo = solo_new();
	if (!a->solo)
		return;
	a->solo_fd = (struct loop_fd){ .fd = solo_eventfd(a->solo), .events = LOOP_EDGE,
				       .fn = ring_ready, .opaque = a };
	if (!loop_add_fd(a->loop, &a->solo_fd, NULL)) {
		solo_free(a->solo);
		a->solo = NULL;
	}
}

struct aio *aio_new(struct loop *loop, void (*done)(void *opaque, void *tag, int result),
		    void (*idle)(void *opaque), void *opaque)
{
	struct aio *a = hv_zalloc(sizeof(*a));

	a->loop = loop;
	a->done = done;
	a->idle = idle;
	a->opaque = opaque;
	/* Refused by seccomp or sysctl, or an old kernel: threads do it. */
	if (io_uring_queue_init(RING_ENTRIES, &a->ring, IORING_SETUP_CLAMP) < 0) {
		free(a);
		return NULL;
	}
	a->fd = (struct loop_fd){ .fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK),
				  .events = LOOP_IN | LOOP_EDGE, .fn = ring_ready, .opaque = a };
	if (a->fd.fd < 0 || io_uring_register_eventfd(&a->ring, a->fd.fd) ||
	    !loop_add_fd(loop, &a->fd, NULL)) {
		io_uring_queue_exit(&a->ring);
		if (a->fd.fd >= 0)
			close(a->fd.fd);
		free(a);
		return NULL;
	}
	solo_open(a);
	a->idle_watch = (struct loop_idle){ .due = idle_due, .ready = idle_ready,
					    .watch = idle_look, .fn = idle_done,
					    .leave = idle_leave, .opaque = a };
	loop_add_idle(loop, &a->idle_watch);
	return a;
}

void aio_free(struct aio *a)
{
	if (!a)
		return;
	HV_BUG_ON(a->busy);
	loop_del_idle(a->loop, &a->idle_watch);
	loop_del_fd(a->loop, &a->fd);
	if (a->solo)
		loop_del_fd(a->loop, &a->solo_fd);
	solo_free(a->solo);
	io_uring_queue_exit(&a->ring);
	close(a->fd.fd);
	free(a);
}

void aio_assume_lone(struct aio *a)
{
	a->always = true;
}

static bool to_ring(struct aio *a, const struct transfer *t)
{
	struct io_uring_sqe *e = io_uring_get_sqe(&a->ring);

	if (!e)
		return false;
	if (t->write)
		io_uring_prep_writev(e, t->fd, t->iov, t->niov, t->off);
	else
		io_uring_prep_readv(e, t->fd, t->iov, t->niov, t->off);
	if (t->how & AIO_COPIES)
		e->flags |= IOSQE_ASYNC;
	io_uring_sqe_set_data(e, t->tag);
	a->prepared++;
	return true;
}

bool aio_queue(struct aio *a, bool write, int fd, const struct iovec *iov, unsigned niov,
	       uint64_t off, unsigned how, void *tag)
{
	struct transfer t = { write, fd, iov, niov, off, how, tag };

	if (niov > IOV_MAX || a->busy >= RING_ENTRIES)
		return false;
	if (!a->busy) {
		a->first = t;
		a->held = true;
		atomic_store_explicit(&a->since, host_now_ns(), memory_order_relaxed);
	} else {
		a->lone = 0;
		if (a->held)
			HV_BUG_ON(!to_ring(a, &a->first));	/* an empty ring has room */
		a->held = false;
		if (!to_ring(a, &t))
			return false;
	}
	a->busy++;
	return true;
}

/* Shall the vCPU look for the only request there is? */
static bool ask(struct aio *a)
{
	if (a->always)
		return loop_expect(a->loop);
	if (a->lone < LONE_SURE || ++a->probe >= LONE_PROBE ||
	    atomic_load_explicit(&a->gap, memory_order_relaxed) > LONE_NS) {
		a->probe = 0;
		return false;
	}
	return loop_expect(a->loop);
}

static void submit_first(struct aio *a)
{
	const struct transfer *t = &a->first;

	a->held = false;
	a->asked = ask(a);
	if (a->asked && a->solo && t->how & AIO_DIRECT && iov_total(t->iov, t->niov) <= SOLO_MAX &&
	    solo_submit(a->solo, t->write, t->fd, t->iov, t->niov, t->off))
		return;
	HV_BUG_ON(!to_ring(a, t));
}

void aio_submit(struct aio *a)
{
	if (a->held)
		submit_first(a);
	/* What the kernel does not take now (EBUSY, EAGAIN) goes with the next call. */
	while (a->prepared) {
		int r = io_uring_submit(&a->ring);

		if (r == -EINTR)
			continue;
		if (r <= 0)
			break;
		a->prepared -= MIN((unsigned)r, a->prepared);
	}
}

static void complete(struct aio *a, void *tag, int result)
{
	a->busy--;
	a->done(a->opaque, tag, result);
}

/* How many, 0 or 1: one that would have to wait begins anew in the ring. */
static unsigned reap_solo(struct aio *a, bool wait)
{
	int result;

	if (!a->solo || !solo_take(a->solo, wait, &result))
		return 0;
	loop_mod_fd(a->loop, &a->solo_fd, LOOP_EDGE);
	if (result == -EAGAIN && to_ring(a, &a->first)) {
		a->lone = 0;
		aio_submit(a);
		return 0;
	}
	complete(a, a->first.tag, result);
	return 1;
}

unsigned aio_reap(struct aio *a, bool wait)
{
	struct io_uring_cqe *c;
	unsigned n;

	aio_submit(a);
	n = reap_solo(a, wait);
	if (wait && !n && a->busy)
		while (io_uring_wait_cqe(&a->ring, &c) == -EINTR)
			;
	while (io_uring_peek_cqe(&a->ring, &c) == 0) {
		void *tag = io_uring_cqe_get_data(c);
		int result = c->res;

		io_uring_cqe_seen(&a->ring, c);
		complete(a, tag, result);
		n++;
	}
	if (n)
		learn_gap(a, n);
	return n;
}

unsigned aio_busy(const struct aio *a)
{
	return a->busy;
}
