/* SPDX-License-Identifier: MIT */
/*
 * The disk seam: controllers submit requests, an image format serves them.
 *
 * A struct block is opened by images/ (through block_open_image()) and used
 * by devices under dev_lock.  Requests complete on the loop thread under
 * dev_lock, in any order; a request is owned by the block layer between
 * submit and its callback.  Formats (image.h) do their I/O in worker threads
 * and never call back from submit().
 */
#ifndef HV_BLOCK_H
#define HV_BLOCK_H

#include "bell.h"
#include "err.h"
#include "util.h"
#include <stdatomic.h>
#include <sys/uio.h>

struct loop;
struct block;
struct block_req;
struct image;

enum block_op { BLOCK_READ, BLOCK_WRITE, BLOCK_FLUSH, BLOCK_DISCARD, BLOCK_WRITE_ZEROES };

struct block_req {
	enum block_op op;
	uint64_t off, len;	/* bytes; multiples of 512 */
	struct iovec *iov;	/* read, write: sum of lengths == len; alive until done() */
	unsigned niov;
	/*
	 * Result: 0 or a positive errno; under dev_lock, on the loop thread or
	 * inside block_drain().  May submit again, @r included.
	 */
	void (*done)(struct block_req *r, int error);
	void *opaque;
	struct image *held;	/* block layer only: image_unplace() when it is over */
	struct block *block;	/* set by block_submit() */
	struct block_req *next;	/* block layer only, as what follows */
	int error;
	bool retried;
	uint64_t expect;	/* bytes that the ring transfers */
};

enum block_flags {
	BLOCK_RDONLY = 1 << 0,
	BLOCK_DISCARD_ON = 1 << 1,	/* act on discards (free space); else they do nothing */
	BLOCK_NO_LOCK = 1 << 2,		/* tests only */
	BLOCK_THROWAWAY = 1 << 3,	/* --discard: writes go to an unlinked overlay */
	BLOCK_THREADS = 1 << 4,		/* tests only: as on a host without io_uring */
	BLOCK_LOOK = 1 << 5,		/* tests only: as if the guest always waited, see aio.h */
};

#define BLOCK_SECTOR 512u
#define BLOCK_MAX_BYTES (256u << 20)	/* of one read or write */

enum block_cache { BLOCK_CACHE_WRITEBACK, BLOCK_CACHE_NONE, BLOCK_CACHE_WRITETHROUGH };

/* How requests are treated, beyond what the image is; all zero: the defaults. */
struct block_options {
	enum block_cache cache;
	uint64_t iops, bps;	/* limits a second over all requests; 0: none */
	/* Host errors go to the guest; else block_on_stop() hears of them. */
	bool report_read, report_write;
};

/* Requests taken, for whoever wants to show that a disk is busy. */
struct block_activity {
	_Atomic uint64_t reads, writes;		/* writes: all that change the disk */
	struct bell *bell;	/* rung for each request; under dev_lock */
};

struct block_info {
	const char *format;	/* "raw", "qcow2", ... */
	uint64_t size;		/* bytes the guest sees */
	bool readonly;
	char path[4096];
};

/*
 * Open @path, format by @format name or (NULL) by content, take the image
 * lock (refusing a second opener with the holder's pid), start the workers.
 * Completions go through @loop.  NULL + @e on failure: nothing created or
 * changed.  Set-up thread.
 */
struct block *block_open(const char *path, const char *format, unsigned flags,
			 struct loop *loop, struct err *e);
/* Once, before the first request.  false + @e: not possible with this file. */
bool block_set_options(struct block *b, const struct block_options *o, struct err *e);
/* Is @path a file that was attached as a disk before, with its format recorded on it? */
bool block_is_recorded(const char *path);
const struct block_info *block_info(const struct block *b);
/* Is @b the image in this file (st_dev, st_ino), and keeps what is written? */
bool block_is_file(const struct block *b, uint64_t dev, uint64_t ino);

/* From now on requests count in @a too; before the first one.  @a outlives @b. */
void block_count(struct block *b, struct block_activity *a);

/*
 * Queue @r, under dev_lock.  Checked here: a misaligned or out-of-range
 * request, or lengths that do not add up, completes with EINVAL, a write to
 * a read-only disk with EROFS, always through done() and never from inside
 * this call.  A discard is advice: it may change nothing.
 */
void block_submit(struct block *b, struct block_req *r);
/*
 * @end is called (as done() is) after the done() calls of a batch: interrupts
 * go there.  Who sets it calls block_poll() after it has submitted something:
 * that starts the batch, and calls done() for what is complete already.
 */
void block_set_batch(struct block *b, void (*end)(void *opaque), void *opaque);
void block_poll(struct block *b);	/* under dev_lock */

/*
 * When the host cannot serve a request (disk full, I/O error) it is kept, and
 * @stop hears of the first one: on any thread, no locks held; it may only
 * record and signal.  block_retry() tries them all again; block_held() tells
 * whether any is still kept or being tried.  A drain gives the errors to the
 * guest.  Without @stop errors go to the guest at once.
 */
void block_on_stop(struct block *b, void (*stop)(void *opaque, struct block *b, enum block_op op,
						 int error), void *opaque);
void block_retry(struct block *b);
bool block_held(struct block *b);
/*
 * Finish everything in flight (reset, snapshot, close): under dev_lock,
 * which is kept; the remaining done() calls are made on this thread.
 */
void block_drain(struct block *b);
/* Make the image larger, under dev_lock; the caller tells the guest.  false + @e: as it was. */
bool block_resize(struct block *b, uint64_t size, struct err *e);
/* Drains, flushes, unlocks.  Under dev_lock or with the loop stopped; not from done(). */
void block_close(struct block *b);

#endif
