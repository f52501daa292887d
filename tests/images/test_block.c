/* SPDX-License-Identifier: MIT */
/*
 * The request layer: completions only through the loop or drain, refusals,
 * drain from inside a completion, close with notices under way, limits, cache
 * modes, a full disk; test_block_mixed.c has requests of all kinds at once.
 */
#include "../lib/blockrig.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

static const char *raw_file(size_t n)
{
	const char *f = it_path("blk.raw");
	uint8_t *d = calloc(1, n);

	it_write_file(f, d, n);
	free(d);
	return f;
}

static void test_completion_through_loop(void **state)
{
	uint8_t w[1024], g[1024] = { 0 };
	struct iovec wv[2] = { { w, 100 }, { w + 100, 924 } }, gv = { g, 1024 };
	struct blk_result res = { -1, 0, NULL };
	struct blockrig x;
	struct block_req r = { .op = BLOCK_WRITE, .off = 512, .len = 1024, .iov = wv, .niov = 2,
			       .done = blk_done, .opaque = &res };

	memset(w, 0x77, sizeof(w));
	blk_setup(&x, raw_file(8192), NULL, 0);
	assert_int_equal(block_info(x.b)->size, 8192);
	assert_string_equal(block_info(x.b)->format, "raw");
	blk_submit(&x, &r);
	assert_int_equal(res.calls, 0);	/* never from inside submit */
	while (!res.calls)
		loop_poll(x.loop, 1000);
	assert_int_equal(res.error, 0);
	r = (struct block_req){ .op = BLOCK_READ, .off = 512, .len = 1024, .iov = &gv, .niov = 1,
				.done = blk_done, .opaque = &res };
	blk_submit(&x, &r);
	blk_drain(&x);
	assert_int_equal(res.calls, 2);
	assert_memory_equal(w, g, sizeof(w));
	loop_poll(x.loop, 0);
	assert_int_equal(res.calls, 2);
	blk_teardown(&x);
}

static void expect_error(struct blockrig *x, enum block_op op, uint64_t off, uint64_t len,
			 unsigned iov_len, int error)
{
	static uint8_t buf[8192];
	struct iovec v = { buf, iov_len };
	struct blk_result res = { -1, 0, NULL };
	struct block_req r = { .op = op, .off = off, .len = len, .iov = &v, .niov = 1,
			       .done = blk_done, .opaque = &res };

	blk_submit(x, &r);
	assert_int_equal(res.calls, 0);
	blk_drain(x);
	assert_int_equal(res.calls, 1);
	assert_int_equal(res.error, error);
}

static void test_refusals(void **state)
{
	struct blockrig x;

	blk_setup(&x, raw_file(8192), NULL, 0);
	expect_error(&x, BLOCK_READ, 8192, 512, 512, EINVAL);
	expect_error(&x, BLOCK_READ, UINT64_MAX - 511, 512, 512, EINVAL);
	expect_error(&x, BLOCK_READ, UINT64_MAX - 511, 1024, 1024, EINVAL);
	expect_error(&x, BLOCK_WRITE, 0, UINT64_MAX - 511, 512, EINVAL);
	expect_error(&x, BLOCK_WRITE, 1, 512, 512, EINVAL);
	expect_error(&x, BLOCK_WRITE, 0, 513, 513, EINVAL);
	expect_error(&x, BLOCK_WRITE, 0, 1024, 512, EINVAL);
	expect_error(&x, BLOCK_DISCARD, 0, 16384, 0, EINVAL);
	expect_error(&x, (enum block_op)99, 0, 512, 512, ENOTSUP);
	expect_error(&x, BLOCK_FLUSH, 12345, 7, 0, 0);
	expect_error(&x, BLOCK_DISCARD, 0, 8192, 0, 0);
	blk_teardown(&x);
	blk_setup(&x, raw_file(8192), NULL, BLOCK_RDONLY);
	assert_true(block_info(x.b)->readonly);
	expect_error(&x, BLOCK_WRITE, 0, 512, 512, EROFS);
	expect_error(&x, BLOCK_WRITE_ZEROES, 0, 512, 0, EROFS);
	expect_error(&x, BLOCK_READ, 0, 512, 512, 0);
	expect_error(&x, BLOCK_FLUSH, 0, 0, 0, 0);
	blk_teardown(&x);
	blk_setup(&x, raw_file(8192), NULL, BLOCK_THROWAWAY);
	assert_false(block_info(x.b)->readonly);
	assert_string_equal(block_info(x.b)->format, "raw");
	expect_error(&x, BLOCK_WRITE, 0, 512, 512, 0);
	blk_teardown(&x);
}

static void test_drain_in_completion(void **state)
{
	struct blockrig x;
	struct blk_result res[4];
	struct block_req r[4];

	blk_setup(&x, raw_file(8192), NULL, 0);
	for (unsigned i = 0; i < 4; i++) {
		res[i] = (struct blk_result){ -1, 0, i == 0 ? x.b : NULL };
		r[i] = (struct block_req){ .op = BLOCK_FLUSH, .done = blk_done, .opaque = &res[i] };
		blk_submit(&x, &r[i]);
	}
	blk_drain(&x);
	for (unsigned i = 0; i < 4; i++)
		assert_int_equal(res[i].calls, 1);
	blk_teardown(&x);
}

/* Close right after submit: everything is delivered, nothing after. */
static void test_close_in_flight(void **state)
{
	for (unsigned round = 0; round < 50; round++) {
		struct blockrig x;
		struct blk_result res[8];
		struct block_req r[8];

		blk_setup(&x, raw_file(8192), NULL, 0);
		for (unsigned i = 0; i < 8; i++) {
			res[i] = (struct blk_result){ -1, 0, NULL };
			r[i] = (struct block_req){ .op = BLOCK_WRITE_ZEROES,
						   .off = i * 512,
						   .len = 512,
						   .done = blk_done,
						   .opaque = &res[i] };
			blk_submit(&x, &r[i]);
		}
		blk_teardown(&x);
		for (unsigned i = 0; i < 8; i++) {
			assert_int_equal(res[i].calls, 1);
			assert_int_equal(res[i].error, 0);
		}
	}
}

#define PIECE 24576u	/* not a divisor of the cluster: neighbours share clusters */
#define PIECES 256

static void test_parallel_qcow2(void **state)
{
	static uint8_t data[PIECES][PIECE], back[PIECES][PIECE];
	static struct block_req r[PIECES];
	static struct iovec v[PIECES];
	struct blk_result res = { -1, 0, NULL };
	struct blockrig x;

	it_skip_without("qemu-img");
	assert_int_equal(it_run("qemu-img create -f qcow2 '%s' %u", it_path("par.qcow2"),
				PIECES * PIECE), 0);
	blk_setup(&x, it_path("par.qcow2"), NULL, BLOCK_DISCARD_ON);
	for (unsigned pass = 0; pass < 4; pass++) {
		for (unsigned i = 0; i < PIECES; i++) {
			bool rd = pass % 2;

			memset(rd ? back[i] : data[i], (int)(i + pass), PIECE);
			v[i] = (struct iovec){ rd ? back[i] : data[i], PIECE };
			r[i] = (struct block_req){ .op = rd ? BLOCK_READ : BLOCK_WRITE,
						   .off = (uint64_t)(i * 37 % PIECES) * PIECE,
						   .len = PIECE,
						   .iov = &v[i],
						   .niov = 1,
						   .done = blk_done,
						   .opaque = &res };
			blk_submit(&x, &r[i]);
		}
		blk_drain(&x);
		assert_int_equal(res.calls, (pass + 1) * PIECES);
		if (pass % 2)
			assert_memory_equal(data, back, sizeof(data));
	}
	blk_teardown(&x);
	assert_int_equal(it_run("qemu-img check '%s'", it_path("par.qcow2")), 0);
}

static void set_options(struct blockrig *x, const struct block_options *o)
{
	struct err e = { 0 };

	if (!block_set_options(x->b, o, &e))
		fail_msg("%s", e.msg);
}

/* One request an hour: the first runs, the rest wait until a drain lifts the limit. */
static void test_limits(void **state)
{
	static const struct block_options one_an_hour[] = {
		{ .iops = 1 }, { .bps = 1 },
	};

	for (unsigned k = 0; k < ARRAY_SIZE(one_an_hour); k++) {
		uint8_t buf[8][4096];
		struct iovec v[8];
		struct block_req r[8], flush;
		struct blk_result res = { 0 };
		struct blockrig x;

		blk_setup(&x, raw_file(65536), NULL, 0);
		set_options(&x, &one_an_hour[k]);
		for (unsigned i = 0; i < 8; i++) {
			memset(buf[i], (int)i + 1, sizeof(buf[i]));
			v[i] = (struct iovec){ buf[i], 4096 };
			r[i] = (struct block_req){ .op = BLOCK_WRITE, .off = 4096 * i, .len = 4096,
						   .iov = &v[i], .niov = 1, .done = blk_done,
						   .opaque = &res };
			blk_submit(&x, &r[i]);
		}
		flush = (struct block_req){ .op = BLOCK_FLUSH, .done = blk_done, .opaque = &res };
		blk_submit(&x, &flush);
		while (res.calls < 1)
			loop_poll(x.loop, 100);
		assert_true(res.calls < 4);
		blk_drain(&x);
		assert_int_equal(res.calls, 9);
		assert_int_equal(res.error, 0);
		blk_teardown(&x);
	}
}

static atomic_uint syncs;

static int count_syncs(struct hostfile *f, enum hf_op op, uint64_t off, uint64_t len)
{
	syncs += op == HF_SYNC;
	return 0;
}

static void test_writethrough(void **state)
{
	uint8_t buf[512] = { 1 };
	struct iovec v = { buf, 512 };
	struct blk_result res = { 0 };
	struct blockrig x;
	struct block_req r = { .op = BLOCK_WRITE, .len = 512, .iov = &v, .niov = 1,
			       .done = blk_done, .opaque = &res };

	blk_setup(&x, raw_file(8192), NULL, 0);
	set_options(&x, &(struct block_options){ .cache = BLOCK_CACHE_WRITETHROUGH });
	syncs = 0;
	hostfile_fault = count_syncs;
	blk_submit(&x, &r);
	blk_drain(&x);
	assert_int_equal(syncs, 1);
	r.op = BLOCK_READ;
	blk_submit(&x, &r);
	blk_drain(&x);
	assert_int_equal(syncs, 1);
	hostfile_fault = NULL;
	assert_int_equal(res.calls, 2);
	blk_teardown(&x);
}

/* cache=none: aligned and odd requests see each other's data. */
static void direct_mix(const char *path, const char *fmt)
{
	uint8_t *mem = aligned_alloc(4096, 65536);
	struct blk_result res = { 0 };
	struct blockrig x;
	struct iovec v[2];
	struct block_req r = { .iov = v, .niov = 1, .done = blk_done, .opaque = &res };

	blk_setup(&x, path, fmt, 0);
	set_options(&x, &(struct block_options){ .cache = BLOCK_CACHE_NONE });
	memset(mem, 0x11, 16384);
	v[0] = (struct iovec){ mem, 16384 };
	r.op = BLOCK_WRITE, r.off = 4096, r.len = 16384;
	blk_submit(&x, &r);
	blk_drain(&x);
	memset(mem + 1, 0x22, 1024);		/* odd memory: goes the other way */
	v[0] = (struct iovec){ mem + 1, 1024 };
	r.off = 4096 + 512, r.len = 1024;
	blk_submit(&x, &r);
	blk_drain(&x);
	v[0] = (struct iovec){ mem + 32768, 100 };
	v[1] = (struct iovec){ mem + 32868, 16384 - 100 };
	r.op = BLOCK_READ, r.off = 4096, r.len = 16384, r.niov = 2;
	blk_submit(&x, &r);
	blk_drain(&x);
	v[0] = (struct iovec){ mem + 16384, 16384 };
	r.niov = 1;
	blk_submit(&x, &r);
	blk_drain(&x);
	assert_int_equal(res.error, 0);
	assert_memory_equal(mem + 16384, mem + 32768, 16384);
	for (unsigned i = 0; i < 16384; i++)
		assert_int_equal(mem[16384 + i], i >= 512 && i < 1536 ? 0x22 : 0x11);
	blk_teardown(&x);
	free(mem);
}

static void test_direct(void **state)
{
	const char *f = raw_file(65536 + 512);
	struct image *im = it_open(f, "raw", 0);
	int err = hf_open_direct(&im->file);

	image_close(im);
	if (err)
		skip();		/* the scratch directory cannot do it */
	direct_mix(f, "raw");
	if (it_run("qemu-img create -f qcow2 %s 1M", it_path("d.qcow2")) == 0)
		direct_mix(it_path("d.qcow2"), "qcow2");
}

static atomic_int no_space, told;

static int full(struct hostfile *f, enum hf_op op, uint64_t off, uint64_t len)
{
	return op == HF_WRITE && no_space ? ENOSPC : 0;
}

static void on_stop(void *opaque, struct block *b, enum block_op op, int error)
{
	assert_int_equal(error, ENOSPC);
	told++;
}

/* A full disk: the request is kept, tried again, and in the end done; a drain gives it up. */
static void test_held(void **state)
{
	uint8_t buf[2][512] = { { 1 }, { 2 } }, back[512];
	struct iovec v[2] = { { buf[0], 512 }, { buf[1], 512 } };
	struct block_req r[2];
	struct blk_result res = { -1, 0, NULL };
	struct blockrig x;

	blk_setup(&x, raw_file(8192), NULL, 0);
	block_on_stop(x.b, on_stop, NULL);
	no_space = 1;
	told = 0;
	hostfile_fault = full;
	for (unsigned i = 0; i < 2; i++) {
		r[i] = (struct block_req){ .op = BLOCK_WRITE, .off = 512 * i, .len = 512,
					   .iov = &v[i], .niov = 1, .done = blk_done,
					   .opaque = &res };
		blk_submit(&x, &r[i]);
	}
	while (!told)
		loop_poll(x.loop, 1);
	block_retry(x.b);		/* still full */
	assert_true(block_held(x.b));
	while (told < 2)
		loop_poll(x.loop, 1);
	assert_int_equal(res.calls, 0);
	no_space = 0;
	while (block_held(x.b)) {
		block_retry(x.b);
		loop_poll(x.loop, 1);
	}
	while (res.calls < 2)
		loop_poll(x.loop, 1);
	assert_int_equal(res.error, 0);
	v[0].iov_base = back;
	r[0].op = BLOCK_READ, r[0].off = 512;
	blk_submit(&x, &r[0]);
	blk_drain(&x);
	assert_memory_equal(back, buf[1], 512);
	no_space = 1;
	r[1].off = 1024;
	blk_submit(&x, &r[1]);
	blk_drain(&x);
	assert_int_equal(res.calls, 4);
	assert_int_equal(res.error, ENOSPC);
	hostfile_fault = NULL;
	blk_teardown(&x);
}

/* Many transfers at once, by the ring and (as where there is none) by threads only. */
static void mixed(unsigned flags)
{
	enum { N = 64, LEN = 3072 };
	static uint8_t w[N][LEN], g[N][LEN];
	static struct iovec v[N][3];
	static struct block_req r[N];
	struct blk_result res = { 0 };
	struct blockrig x;

	blk_setup(&x, raw_file(N * LEN + 100), "raw", flags);
	for (unsigned pass = 0; pass < 2; pass++) {
		for (unsigned i = 0; i < N; i++) {
			uint8_t *p = pass ? g[i] : w[i];

			if (!pass)
				memset(p, (int)(i * 7 + 1), LEN);
			v[i][0] = (struct iovec){ p, 100 };
			v[i][1] = (struct iovec){ p + 100, 1000 };
			v[i][2] = (struct iovec){ p + 1100, LEN - 1100 };
			r[i] = (struct block_req){ .op = pass ? BLOCK_READ : BLOCK_WRITE,
						   .off = i * LEN, .len = LEN, .iov = v[i],
						   .niov = 3, .done = blk_done, .opaque = &res };
			blk_submit(&x, &r[i]);
		}
		if (pass)
			blk_drain(&x);
		while (res.calls < N)
			loop_poll(x.loop, 100);
		assert_int_equal(res.calls, N);
		res.calls = 0;
	}
	assert_memory_equal(w, g, sizeof(w));
	/* The last, incomplete sector: a short read that is done again. */
	r[0].off = N * LEN, r[0].len = 512;
	v[0][2].iov_len = 512;
	v[0][0].iov_len = v[0][1].iov_len = 0;
	memset(g[0] + 1100, 0xff, 512);
	blk_submit(&x, &r[0]);
	blk_drain(&x);
	assert_int_equal(res.error, 0);
	assert_int_equal(g[0][1100 + 100], 0);
	blk_teardown(&x);
}

static void test_ring(void **state)
{
	mixed(0);
	mixed(BLOCK_THREADS);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_completion_through_loop),
		cmocka_unit_test(test_refusals),
		cmocka_unit_test(test_drain_in_completion),
		cmocka_unit_test(test_close_in_flight),
		cmocka_unit_test(test_parallel_qcow2),
		cmocka_unit_test(test_limits),
		cmocka_unit_test(test_writethrough),
		cmocka_unit_test(test_direct),
		cmocka_unit_test(test_held),
		cmocka_unit_test(test_ring),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
