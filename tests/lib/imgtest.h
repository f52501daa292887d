/* SPDX-License-Identifier: MIT */
/*
 * Helpers of the image tests: a scratch directory, running qemu-img as an
 * independent judge, a reproducible random stream, whole-buffer image I/O.
 */
#ifndef HV_IMGTEST_H
#define HV_IMGTEST_H

#include "../../src/image.h"

struct rng { uint64_t s; };
uint64_t rng_next(struct rng *r);
uint64_t rng_below(struct rng *r, uint64_t n);	/* n > 0 */

const char *it_dir(void);			/* created on first use, removed at exit */
const char *it_path(const char *name);		/* in it_dir(); valid for the next 255 calls */
/* Shell command, output discarded; its exit status (-1: did not run). */
int it_run(const char *fmt, ...) HV_PRINTF(1, 2);
bool it_have(const char *tool);
void it_skip_without(const char *tool);		/* cmocka skip() with a reason */
void it_write_file(const char *path, const void *data, size_t len);
uint8_t *it_read_file(const char *path, size_t *len);

int it_read(struct image *im, uint64_t off, void *buf, uint64_t len);
int it_write(struct image *im, uint64_t off, const void *buf, uint64_t len);
int it_op(struct image *im, enum block_op op, uint64_t off, uint64_t len);
/* @n requests of all kinds, whatever their results. */
void it_random_ops(struct image *im, struct rng *r, unsigned n);
struct image *it_open(const char *path, const char *fmt, unsigned flags);	/* asserts */

/*
 * Runs @writer in a child that tells of its progress by writing 64-bit numbers to @report,
 * and kills it (SIGKILL) after the first @reports of them.  The last number; @none: there was none.
 */
uint64_t it_kill_writer(void (*writer)(void *opaque, int report), void *opaque,
			unsigned reports, uint64_t none);

/* Largest resident size of this process so far, KiB. */
long it_peak_rss(void);

#endif
