/* SPDX-License-Identifier: MIT */
/*
 * For tests of the request layer: an open disk with a loop, a lock and a clock
 * of its own, requests under the lock, and what came of them.
 */
#ifndef HV_BLOCKRIG_H
#define HV_BLOCKRIG_H

#include "imgtest.h"
#include "../../src/clock.h"
#include "../../src/loop.h"
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>

struct blockrig {
	pthread_mutex_t lock;
	struct vclock *clk;
	struct loop *loop;
	struct block *b;
};

/* @fmt NULL: found out.  Asserts. */
void blk_setup(struct blockrig *x, const char *path, const char *fmt, unsigned flags);
void blk_teardown(struct blockrig *x);		/* closes, requests in flight included */
void blk_submit(struct blockrig *x, struct block_req *r);
void blk_drain(struct blockrig *x);

/* For block_req.opaque of requests that end in blk_done(). */
struct blk_result {
	int error, calls;
	struct block *drain_in_done;
};
void blk_done(struct block_req *r, int error);

#endif
