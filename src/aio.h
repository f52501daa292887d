/* SPDX-License-Identifier: MIT */
/*
 * Asynchronous file I/O by io_uring, for disks whose bytes are a file's.
 *
 * One ring a disk; everything under vm->dev_lock.  Completions arrive through
 * the loop, through a vCPU that would sleep otherwise (loop_idle()), or when
 * asked for.
 *
 * A guest that submits one request after the other and each time halts until
 * it is there gets the next one without the halt: the vCPU looks for it as
 * soon as the access that submitted it is over (loop_look()), with no locks
 * held and for as long as the last ones took, and short ones past the page
 * cache go another way (aio_solo.h).  One in some requests takes the old way,
 * to see whether the guest still has nothing else to do.
 */
#ifndef HV_AIO_H
#define HV_AIO_H

#include "util.h"
#include <sys/uio.h>

struct aio;
struct loop;

/* @done: @result as of preadv(2): bytes or a negative errno.  NULL: the host has no io_uring. */
struct aio *aio_new(struct loop *loop, void (*done)(void *opaque, void *tag, int result),
		    void (*idle)(void *opaque), void *opaque);
void aio_assume_lone(struct aio *a);	/* tests: the guest has that habit, and keeps it */
void aio_free(struct aio *a);		/* nothing in flight */
enum aio_how {
	AIO_COPIES = 1 << 0,	/* the kernel will copy much: another processor may do that */
	AIO_DIRECT = 1 << 1,	/* past the page cache */
};
/* Prepare a transfer of whole @iov; false: no room now, or not possible. */
bool aio_queue(struct aio *a, bool write, int fd, const struct iovec *iov, unsigned niov,
	       uint64_t off, unsigned how, void *tag);
void aio_submit(struct aio *a);		/* what was prepared starts */
/* Call done() for what is complete; @wait: for at least one, if any is in flight. */
unsigned aio_reap(struct aio *a, bool wait);
unsigned aio_busy(const struct aio *a);	/* prepared or in flight */

#endif
