/* SPDX-License-Identifier: MIT */
/* Asynchronous file I/O by io_uring; see aio.h. */
#include "aio.h"
#include "clock.h"
#include "loop.h"
#include <errno.h>
#include <limits.h>
#include <liburing.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <unistd.h>

#define RING_ENTRIES 256u

struct aio {
	struct io_uring ring;
	struct loop *loop;
	struct loop_fd fd;		/* an eventfd, raised by the ring */
	struct loop_idle idle_watch;
	void (*done)(void *opaque, void *tag, int result);
	void (*idle)(void *opaque);
	void *opaque;
	_Atomic unsigned busy;		/* written under dev_lock, as what follows */
	_Atomic uint64_t since;		/* host ns: last completion, or begin of the first */
	_Atomic uint64_t gap;		/* ns from there to a completion, as it is of late */
	unsigned prepared;
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

static bool idle_ready(void *opaque)
{
	return io_uring_cq_ready(&((struct aio *)opaque)->ring);
}

static void idle_look(void *opaque, bool on)
{
	io_uring_cq_eventfd_toggle(&((struct aio *)opaque)->ring, !on);
}

static void idle_done(void *opaque)
{
	struct aio *a = opaque;

	if (aio_reap(a, false))
		a->idle(a->opaque);
}

/* Completions raised the eventfd (edge-triggered: it is never read). */
static void ring_ready(void *opaque, unsigned events)
{
	struct aio *a = opaque;

	if (aio_reap(a, false))
		a->idle(a->opaque);
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
	a->idle_watch = (struct loop_idle){ .due = idle_due, .ready = idle_ready,
					    .watch = idle_look, .fn = idle_done, .opaque = a };
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
	io_uring_queue_exit(&a->ring);
	close(a->fd.fd);
	free(a);
}

bool aio_queue(struct aio *a, bool write, int fd, const struct iovec *iov, unsigned niov,
	       uint64_t off, bool copies, void *tag)
{
	struct io_uring_sqe *e;

	if (niov > IOV_MAX || a->busy >= RING_ENTRIES)
		return false;
	e = io_uring_get_sqe(&a->ring);
	if (!e)
		return false;
	if (write)
		io_uring_prep_writev(e, fd, iov, niov, off);
	else
		io_uring_prep_readv(e, fd, iov, niov, off);
	if (copies)
		e->flags |= IOSQE_ASYNC;
	io_uring_sqe_set_data(e, tag);
	if (!a->busy)
		atomic_store_explicit(&a->since, host_now_ns(), memory_order_relaxed);
	a->busy++;
	a->prepared++;
	return true;
}

void aio_submit(struct aio *a)
{
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

unsigned aio_reap(struct aio *a, bool wait)
{
	struct io_uring_cqe *c;
	unsigned n = 0;

	aio_submit(a);
	if (wait && a->busy)
		while (io_uring_wait_cqe(&a->ring, &c) == -EINTR)
			;
	while (io_uring_peek_cqe(&a->ring, &c) == 0) {
		void *tag = io_uring_cqe_get_data(c);
		int result = c->res;

		io_uring_cqe_seen(&a->ring, c);
		a->busy--;
		n++;
		a->done(a->opaque, tag, result);
	}
	if (n)
		learn_gap(a, n);
	return n;
}

unsigned aio_busy(const struct aio *a)
{
	return a->busy;
}
