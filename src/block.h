/* SPDX-License-Identifier: MIT */
/*
 * The disk seam: controllers submit requests, an image format serves them.
 *
 * A struct block is opened by images/ (through block_open_image()) and used
 * by devices under dev_lock.  Requests complete on the loop thread under
 * dev_lock, in any order; a request is owned by the block layer between
 * submit and its callback.  Formats do their I/O in worker threads and never
 * call back from submit().
 */
#ifndef HV_BLOCK_H
#define HV_BLOCK_H

#include "err.h"
#include "util.h"
#include <sys/uio.h>

struct loop;
struct block;
struct block_req;

enum block_op { BLOCK_READ, BLOCK_WRITE, BLOCK_FLUSH, BLOCK_DISCARD, BLOCK_WRITE_ZEROES };

struct block_req {
	enum block_op op;
	uint64_t off, len;	/* bytes; multiples of 512 */
	struct iovec *iov;	/* read, write: sum of lengths == len; alive until done() */
	unsigned niov;
	/* result: 0 or a positive errno; on the loop thread under dev_lock */
	void (*done)(struct block_req *r, int error);
	void *opaque;
	struct block *block;	/* set by block_submit() */
	struct block_req *next;	/* block layer only */
	int error;		/* block layer only */
};

enum block_flags {
	BLOCK_RDONLY = 1 << 0,
	BLOCK_DISCARD_ON = 1 << 1,	/* pass discards to the host */
	BLOCK_NO_LOCK = 1 << 2,		/* tests only */
	BLOCK_THROWAWAY = 1 << 3,	/* --discard: writes go to an unlinked overlay */
};

struct block_info {
	const char *format;	/* "raw", "qcow2", ... */
	uint64_t size;		/* bytes the guest sees */
	bool readonly;
	char path[4096];
};

/*
 * An image format.  open() gets the descriptor of the already locked file
 * and owns it on success.  submit() queues to workers.  All formats serve
 * synchronous preadv-like calls internally; the generic worker pool in
 * src/block.c calls rw() on its threads (formats lock themselves).
 */
struct block_format {
	const char *name;
	/* 0..100: how sure, from the first @n bytes (n <= 4096) and the file size. */
	int (*probe)(const uint8_t *head, size_t n, uint64_t file_size);
	void *(*open)(int fd, const char *path, unsigned flags, struct block_info *info,
		      struct err *e);
	/* Worker thread: perform one request; 0 or a positive errno. */
	int (*perform)(void *img, struct block_req *r);
	void (*close)(void *img);	/* flushes caches; may block */
};

/*
 * Open @path, format by @format name or (NULL) by content, take the image
 * lock (refusing a second opener with the holder's pid), start the workers.
 * Completions go through @loop.  NULL + @e on failure: nothing created or
 * changed.  Set-up thread.
 */
struct block *block_open(const char *path, const char *format, unsigned flags,
			 struct loop *loop, struct err *e);
const struct block_info *block_info(const struct block *b);

/* Queue @r; range-checked here: outside [0, size) completes with EIO (posted). */
void block_submit(struct block *b, struct block_req *r);
/* Wait until nothing is in flight (reset, snapshot, close); drops dev_lock while waiting. */
void block_drain(struct block *b);
void block_close(struct block *b);	/* drains, flushes, unlocks */

/* Table of the formats, in images/all.c. */
extern const struct block_format *const block_formats[];

#endif
