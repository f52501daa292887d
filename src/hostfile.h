/* SPDX-License-Identifier: MIT */
/*
 * A host file as image formats see it: whole transfers or an errno, reads
 * past the end give zeros, a failed sync is never forgotten (nothing is
 * written after it).
 *
 * Safe from several threads at once, except hf_truncate() (the format's own
 * lock).  All functions return 0 or a positive errno.
 */
#ifndef HV_HOSTFILE_H
#define HV_HOSTFILE_H

#include "util.h"
#include <stdatomic.h>
#include <sys/uio.h>

struct hostfile {
	int fd;
	bool blockdev;			/* immutable */
	int direct_fd;			/* the same file past the page cache; -1: none */
	uint32_t direct_align;		/* of offset, length and memory */
	atomic_bool sync_failed;	/* sticky: the kernel forgets, we do not */
	atomic_bool no_punch, no_zero, no_reserve;	/* the file system cannot */
	bool no_sync;			/* a new file in the making: order does not matter yet */
};

enum hf_op { HF_READ, HF_WRITE, HF_SYNC, HF_ZERO, HF_PUNCH, HF_TRUNCATE, HF_XATTR };

/* Tests: asked before every call when set; a non-zero answer is the result. */
extern int (*hostfile_fault)(struct hostfile *f, enum hf_op op, uint64_t off, uint64_t len);

void hf_init(struct hostfile *f, int fd, bool blockdev);
void hf_close(struct hostfile *f);
/*
 * From now on aligned transfers bypass the page cache (O_DIRECT); others still
 * go through it, which the kernel keeps coherent.  Before the first transfer.
 */
int hf_open_direct(struct hostfile *f);
/* The descriptor for one transfer: direct_fd if everything is aligned. */
int hf_transfer_fd(const struct hostfile *f, const struct iovec *v, unsigned n, uint64_t off);
int hf_size(struct hostfile *f, uint64_t *size);
int hf_preadv(struct hostfile *f, const struct iovec *iov, unsigned niov, uint64_t off);
/* From the page cache or not at all: 0 or EAGAIN. */
int hf_read_now(struct hostfile *f, const struct iovec *iov, unsigned niov, uint64_t off,
		uint64_t len);
int hf_pwritev(struct hostfile *f, const struct iovec *iov, unsigned niov, uint64_t off);
/* @len bytes of @iov from @iov_off on, to or from the file at @at. */
int hf_move(struct hostfile *f, bool write, uint64_t at, uint64_t len, const struct iovec *iov,
	    unsigned niov, uint64_t iov_off);
int hf_pread(struct hostfile *f, void *buf, size_t len, uint64_t off);
int hf_pwrite(struct hostfile *f, const void *buf, size_t len, uint64_t off);
int hf_sync(struct hostfile *f);
/* Make [off, off+len) read as zeros; with @unmap its space is given back where possible. */
int hf_zero(struct hostfile *f, uint64_t off, uint64_t len, bool unmap);
/* Advice: give the space back; content afterwards is zeros or unchanged. */
int hf_punch(struct hostfile *f, uint64_t off, uint64_t len);
int hf_truncate(struct hostfile *f, uint64_t size);
/*
 * A short text kept beside the content (extended attribute).  get: "" where
 * there is none or the file cannot have one; ERANGE: longer than @n - 1.
 * set: NULL removes it.
 */
int hf_get_note(struct hostfile *f, const char *name, char *buf, size_t n);
int hf_set_note(struct hostfile *f, const char *name, const char *text);

/* The bytes [off, off+len) of @src as at most @max elements of @dst; *got = bytes described. */
unsigned iov_slice(const struct iovec *src, unsigned niov, uint64_t off, uint64_t len,
		   struct iovec *dst, unsigned max, uint64_t *got);
uint64_t iov_total(const struct iovec *iov, unsigned niov);
void iov_zero(const struct iovec *iov, unsigned niov, uint64_t off, uint64_t len);
void iov_from_buf(const struct iovec *iov, unsigned niov, uint64_t off, const void *buf,
		  uint64_t len);
void iov_to_buf(const struct iovec *iov, unsigned niov, uint64_t off, void *buf, uint64_t len);

#endif
