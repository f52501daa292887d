/* SPDX-License-Identifier: MIT */
/*
 * One transfer at a time past the page cache, whose completion is found by
 * looking at memory: Linux AIO (io_submit(2)), which completes from the
 * host's interrupt.  io_uring finishes such a transfer in the thread that
 * submitted it, which costs an interrupt to that thread's processor and a way
 * through the kernel, just when it is watching.
 *
 * Everything under vm->dev_lock, but for solo_ready().
 */
#ifndef HV_AIO_SOLO_H
#define HV_AIO_SOLO_H

#include "util.h"
#include <sys/uio.h>

#define SOLO_MAX (64u << 10)	/* bytes: more is not one request to the host's disk */

struct solo;

struct solo *solo_new(void);	/* NULL: the host has it not, or not in the known form */
void solo_free(struct solo *s);	/* nothing in flight */
/* false: not now.  An O_DIRECT @fd; what would wait for more than the disk ends with -EAGAIN. */
bool solo_submit(struct solo *s, bool write, int fd, const struct iovec *iov, unsigned niov,
		 uint64_t off);
bool solo_busy(const struct solo *s);
/* Any thread, no locks: is it complete? */
bool solo_ready(const struct solo *s);
/* Take the result, as of preadv(2), @wait: when it is there.  false: nothing to take. */
bool solo_take(struct solo *s, bool wait, int *result);
/* An eventfd (edge-triggered: never read) that completions raise. */
int solo_eventfd(const struct solo *s);

#endif
