/* SPDX-License-Identifier: MIT */
/*
 * One transfer at a time by Linux AIO; see aio_solo.h.
 *
 * The context that io_setup(2) returns is the address of a ring in memory
 * (struct aio_ring of the kernel's fs/aio.c, unchanged since 2013 and read so
 * by others), whose tail the kernel moves and whose head its user may.
 */
#include "aio_solo.h"
#include <errno.h>
#include <linux/aio_abi.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <sys/syscall.h>
#include <unistd.h>

#define RING_MAGIC 0xa10a10a1u

struct ring {
	unsigned id, nr;
	_Atomic unsigned head, tail;
	unsigned magic, compat, incompat, header_length;
	struct io_event events[];
};

struct solo {
	aio_context_t ctx;
	int fd;			/* eventfd */
	_Atomic bool busy;
	bool refused;		/* by this kind of file */
	struct iocb cb;
};

static struct ring *ring(const struct solo *s)
{
	return (struct ring *)(uintptr_t)s->ctx;
}

struct solo *solo_new(void)
{
	struct solo *s = hv_zalloc(sizeof(*s));

	s->fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (s->fd < 0 || syscall(SYS_io_setup, 1, &s->ctx) < 0)
		s->ctx = 0;
	if (s->ctx && ring(s)->magic == RING_MAGIC && !ring(s)->incompat &&
	    ring(s)->header_length == sizeof(struct ring) && ring(s)->nr)
		return s;
	solo_free(s);
	return NULL;
}

void solo_free(struct solo *s)
{
	if (!s)
		return;
	HV_BUG_ON(s->busy);
	if (s->ctx)
		syscall(SYS_io_destroy, s->ctx);
	if (s->fd >= 0)
		close(s->fd);
	free(s);
}

bool solo_submit(struct solo *s, bool write, int fd, const struct iovec *iov, unsigned niov,
		 uint64_t off)
{
	struct iocb *list = &s->cb;

	if (s->busy || s->refused || off > INT64_MAX)
		return false;
	s->cb = (struct iocb){
		.aio_lio_opcode = write ? IOCB_CMD_PWRITEV : IOCB_CMD_PREADV,
		.aio_fildes = (uint32_t)fd,
		.aio_buf = (uintptr_t)iov, .aio_nbytes = niov, .aio_offset = (int64_t)off,
		.aio_rw_flags = RWF_NOWAIT, .aio_flags = IOCB_FLAG_RESFD,
		.aio_resfd = (uint32_t)s->fd,
	};
	s->busy = syscall(SYS_io_submit, s->ctx, 1, &list) == 1;
	s->refused = !s->busy && errno != EAGAIN;
	return s->busy;
}

bool solo_busy(const struct solo *s)
{
	return atomic_load_explicit(&s->busy, memory_order_relaxed);
}

bool solo_ready(const struct solo *s)
{
	struct ring *r = ring(s);

	return solo_busy(s) && atomic_load_explicit(&r->tail, memory_order_acquire) !=
	       atomic_load_explicit(&r->head, memory_order_relaxed);
}

bool solo_take(struct solo *s, bool wait, int *result)
{
	struct ring *r = ring(s);
	struct io_event ev;
	unsigned head;

	if (!s->busy || (!wait && !solo_ready(s)))
		return false;
	if (solo_ready(s)) {
		head = r->head;
		ev = r->events[head];
		atomic_store_explicit(&r->head, (head + 1) % r->nr, memory_order_release);
	} else {
		while (syscall(SYS_io_getevents, s->ctx, 1, 1, &ev, NULL) != 1)
			HV_BUG_ON(errno != EINTR);
	}
	s->busy = false;
	*result = (int)ev.res;
	return true;
}

int solo_eventfd(const struct solo *s)
{
	return s->fd;
}
