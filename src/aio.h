/* SPDX-License-Identifier: MIT */
/*
 * Asynchronous file I/O by io_uring, for disks whose bytes are a file's.
 *
 * One ring a disk; everything under vm->dev_lock.  Completions arrive through
 * the loop, or when asked for.
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
void aio_free(struct aio *a);		/* nothing in flight */
/*
 * Prepare a transfer of whole @iov; false: no room now, or not possible.
 * @copies: the kernel will copy much, which another processor may do.
 */
bool aio_queue(struct aio *a, bool write, int fd, const struct iovec *iov, unsigned niov,
	       uint64_t off, bool copies, void *tag);
void aio_submit(struct aio *a);		/* what was prepared starts */
/* Call done() for what is complete; @wait: for at least one, if any is in flight. */
unsigned aio_reap(struct aio *a, bool wait);
unsigned aio_busy(const struct aio *a);	/* prepared or in flight */

#endif
