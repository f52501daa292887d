/* SPDX-License-Identifier: MIT */
/* Tests of the request layer; see blockrig.h. */
#include "blockrig.h"

void blk_setup(struct blockrig *x, const char *path, const char *fmt, unsigned flags)
{
	struct err e = { 0 };

	pthread_mutex_init(&x->lock, NULL);
	x->clk = vclock_new(true);
	x->loop = loop_new(&x->lock, x->clk, &e);
	assert_non_null(x->loop);
	x->b = block_open(path, fmt, flags, x->loop, &e);
	if (!x->b)
		fail_msg("%s", e.msg);
}

void blk_teardown(struct blockrig *x)
{
	pthread_mutex_lock(&x->lock);
	block_close(x->b);
	pthread_mutex_unlock(&x->lock);
	loop_poll(x->loop, 0);	/* a late notice frees what close could not */
	loop_free(x->loop);
	vclock_free(x->clk);
	pthread_mutex_destroy(&x->lock);
}

void blk_done(struct block_req *r, int error)
{
	struct blk_result *res = r->opaque;

	res->error = error;
	res->calls++;
	if (res->drain_in_done)
		block_drain(res->drain_in_done);
}

void blk_submit(struct blockrig *x, struct block_req *r)
{
	pthread_mutex_lock(&x->lock);
	block_submit(x->b, r);
	pthread_mutex_unlock(&x->lock);
}

void blk_drain(struct blockrig *x)
{
	pthread_mutex_lock(&x->lock);
	block_drain(x->b);
	pthread_mutex_unlock(&x->lock);
}
