/* SPDX-License-Identifier: MIT */
/*
 * The request layer: completions only through the loop or drain, refusals,
 * drain from inside a completion, close with notices under way, many
 * requests at once on qcow2.
 */
#include "../lib/imgtest.h"

#include "../../src/clock.h"
#include "../../src/imgtool.h"
#include "../../src/loop.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>
#include <cmocka.h>

struct fixture {
	pthread_mutex_t lock;
	struct vclock *clk;
	struct loop *loop;
	struct block *b;
};

static void setup(struct fixture *x, const char *path, const char *fmt, unsigned flags)
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

static void teardown(struct fixture *x)
{
	pthread_mutex_lock(&x->lock);
	block_close(x->b);
	pthread_mutex_unlock(&x->lock);
	loop_poll(x->loop, 0);	/* a late notice frees what close could not */
	loop_free(x->loop);
	vclock_free(x->clk);
	pthread_mutex_destroy(&x->lock);
}

static const char *raw_file(size_t n)
{
	const char *f = it_path("blk.raw");
	uint8_t *d = calloc(1, n);

	it_write_file(f, d, n);
	free(d);
	return f;
}

struct result {
	int error, calls;
	struct block *drain_in_done;
};

static void done(struct block_req *r, int error)
{
	struct result *res = r->opaque;

	res->error = error;
	res->calls++;
	if (res->drain_in_done)
		block_drain(res->drain_in_done);
}

static void submit(struct fixture *x, struct block_req *r)
{
	pthread_mutex_lock(&x->lock);
	block_submit(x->b, r);
	pthread_mutex_unlock(&x->lock);
}

static void drain(struct fixture *x)
{
	pthread_mutex_lock(&x->lock);
	block_drain(x->b);
	pthread_mutex_unlock(&x->lock);
}

static void test_completion_through_loop(void **state)
{
	uint8_t w[1024], g[1024] = { 0 };
	struct iovec wv[2] = { { w, 100 }, { w + 100, 924 } }, gv = { g, 1024 };
	struct result res = { -1, 0, NULL };
	struct fixture x;
	struct block_req r = { .op = BLOCK_WRITE, .off = 512, .len = 1024, .iov = wv, .niov = 2,
			       .done = done, .opaque = &res };

	memset(w, 0x77, sizeof(w));
	setup(&x, raw_file(8192), NULL, 0);
	assert_int_equal(block_info(x.b)->size, 8192);
	assert_string_equal(block_info(x.b)->format, "raw");
	submit(&x, &r);
	assert_int_equal(res.calls, 0);	/* never from inside submit */
	while (!res.calls)
		loop_poll(x.loop, 1000);
	assert_int_equal(res.error, 0);
	r = (struct block_req){ .op = BLOCK_READ, .off = 512, .len = 1024, .iov = &gv, .niov = 1,
				.done = done, .opaque = &res };
	submit(&x, &r);
	drain(&x);
	assert_int_equal(res.calls, 2);
	assert_memory_equal(w, g, sizeof(w));
	loop_poll(x.loop, 0);
	assert_int_equal(res.calls, 2);
	teardown(&x);
}

static void expect_error(struct fixture *x, enum block_op op, uint64_t off, uint64_t len,
			 unsigned iov_len, int error)
{
	static uint8_t buf[8192];
	struct iovec v = { buf, iov_len };
	struct result res = { -1, 0, NULL };
	struct block_req r = { .op = op, .off = off, .len = len, .iov = &v, .niov = 1,
			       .done = done, .opaque = &res };

	submit(x, &r);
	assert_int_equal(res.calls, 0);
	drain(x);
	assert_int_equal(res.calls, 1);
	assert_int_equal(res.error, error);
}

static void test_refusals(void **state)
{
	struct fixture x;

	setup(&x, raw_file(8192), NULL, 0);
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
	teardown(&x);
	setup(&x, raw_file(8192), NULL, BLOCK_RDONLY);
	assert_true(block_info(x.b)->readonly);
	expect_error(&x, BLOCK_WRITE, 0, 512, 512, EROFS);
	expect_error(&x, BLOCK_WRITE_ZEROES, 0, 512, 0, EROFS);
	expect_error(&x, BLOCK_READ, 0, 512, 512, 0);
	expect_error(&x, BLOCK_FLUSH, 0, 0, 0, 0);
	teardown(&x);
	setup(&x, raw_file(8192), NULL, BLOCK_THROWAWAY);
	assert_false(block_info(x.b)->readonly);
	assert_string_equal(block_info(x.b)->format, "raw");
	expect_error(&x, BLOCK_WRITE, 0, 512, 512, 0);
	teardown(&x);
}

static void test_drain_in_completion(void **state)
{
	struct fixture x;
	struct result res[4];
	struct block_req r[4];

	setup(&x, raw_file(8192), NULL, 0);
	for (unsigned i = 0; i < 4; i++) {
		res[i] = (struct result){ -1, 0, i == 0 ? x.b : NULL };
		r[i] = (struct block_req){ .op = BLOCK_FLUSH, .done = done, .opaque = &res[i] };
		submit(&x, &r[i]);
	}
	drain(&x);
	for (unsigned i = 0; i < 4; i++)
		assert_int_equal(res[i].calls, 1);
	teardown(&x);
}

/* Close right after submit: everything is delivered, nothing after. */
static void test_close_in_flight(void **state)
{
	for (unsigned round = 0; round < 50; round++) {
		struct fixture x;
		struct result res[8];
		struct block_req r[8];

		setup(&x, raw_file(8192), NULL, 0);
		for (unsigned i = 0; i < 8; i++) {
			res[i] = (struct result){ -1, 0, NULL };
			r[i] = (struct block_req){ .op = BLOCK_WRITE_ZEROES,
						   .off = i * 512,
						   .len = 512,
						   .done = done,
						   .opaque = &res[i] };
			submit(&x, &r[i]);
		}
		teardown(&x);
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
	struct result res = { -1, 0, NULL };
	struct fixture x;

	it_skip_without("qemu-img");
	assert_int_equal(it_run("qemu-img create -f qcow2 '%s' %u", it_path("par.qcow2"),
				PIECES * PIECE), 0);
	setup(&x, it_path("par.qcow2"), NULL, BLOCK_DISCARD_ON);
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
						   .done = done,
						   .opaque = &res };
			submit(&x, &r[i]);
		}
		drain(&x);
		assert_int_equal(res.calls, (pass + 1) * PIECES);
		if (pass % 2)
			assert_memory_equal(data, back, sizeof(data));
	}
	teardown(&x);
	assert_int_equal(it_run("qemu-img check '%s'", it_path("par.qcow2")), 0);
}

static void set_options(struct fixture *x, const struct block_options *o)
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
		struct result res = { 0 };
		struct fixture x;

		setup(&x, raw_file(65536), NULL, 0);
		set_options(&x, &one_an_hour[k]);
		for (unsigned i = 0; i < 8; i++) {
			memset(buf[i], (int)i + 1, sizeof(buf[i]));
			v[i] = (struct iovec){ buf[i], 4096 };
			r[i] = (struct block_req){ .op = BLOCK_WRITE, .off = 4096 * i, .len = 4096,
						   .iov = &v[i], .niov = 1, .done = done,
						   .opaque = &res };
			submit(&x, &r[i]);
		}
		flush = (struct block_req){ .op = BLOCK_FLUSH, .done = done, .opaque = &res };
		submit(&x, &flush);
		while (res.calls < 1)
			loop_poll(x.loop, 100);
		assert_true(res.calls < 4);
		drain(&x);
		assert_int_equal(res.calls, 9);
		assert_int_equal(res.error, 0);
		teardown(&x);
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
	struct result res = { 0 };
	struct fixture x;
	struct block_req r = { .op = BLOCK_WRITE, .len = 512, .iov = &v, .niov = 1, .done = done,
			       .opaque = &res };

	setup(&x, raw_file(8192), NULL, 0);
	set_options(&x, &(struct block_options){ .cache = BLOCK_CACHE_WRITETHROUGH });
	syncs = 0;
	hostfile_fault = count_syncs;
	submit(&x, &r);
	drain(&x);
	assert_int_equal(syncs, 1);
	r.op = BLOCK_READ;
	submit(&x, &r);
	drain(&x);
	assert_int_equal(syncs, 1);
	hostfile_fault = NULL;
	assert_int_equal(res.calls, 2);
	teardown(&x);
}

/* cache=none: aligned and odd requests see each other's data. */
static void direct_mix(const char *path, const char *fmt)
{
	uint8_t *mem = aligned_alloc(4096, 65536);
	struct result res = { 0 };
	struct fixture x;
	struct iovec v[2];
	struct block_req r = { .iov = v, .niov = 1, .done = done, .opaque = &res };

	setup(&x, path, fmt, 0);
	set_options(&x, &(struct block_options){ .cache = BLOCK_CACHE_NONE });
	memset(mem, 0x11, 16384);
	v[0] = (struct iovec){ mem, 16384 };
	r.op = BLOCK_WRITE, r.off = 4096, r.len = 16384;
	submit(&x, &r);
	drain(&x);
	memset(mem + 1, 0x22, 1024);		/* odd memory: goes the other way */
	v[0] = (struct iovec){ mem + 1, 1024 };
	r.off = 4096 + 512, r.len = 1024;
	submit(&x, &r);
	drain(&x);
	v[0] = (struct iovec){ mem + 32768, 100 };
	v[1] = (struct iovec){ mem + 32868, 16384 - 100 };
	r.op = BLOCK_READ, r.off = 4096, r.len = 16384, r.niov = 2;
	submit(&x, &r);
	drain(&x);
	v[0] = (struct iovec){ mem + 16384, 16384 };
	r.niov = 1;
	submit(&x, &r);
	drain(&x);
	assert_int_equal(res.error, 0);
	assert_memory_equal(mem + 16384, mem + 32768, 16384);
	for (unsigned i = 0; i < 16384; i++)
		assert_int_equal(mem[16384 + i], i >= 512 && i < 1536 ? 0x22 : 0x11);
	teardown(&x);
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
	struct result res = { -1, 0, NULL };
	struct fixture x;

	setup(&x, raw_file(8192), NULL, 0);
	block_on_stop(x.b, on_stop, NULL);
	no_space = 1;
	told = 0;
	hostfile_fault = full;
	for (unsigned i = 0; i < 2; i++) {
		r[i] = (struct block_req){ .op = BLOCK_WRITE, .off = 512 * i, .len = 512,
					   .iov = &v[i], .niov = 1, .done = done, .opaque = &res };
		submit(&x, &r[i]);
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
	submit(&x, &r[0]);
	drain(&x);
	assert_memory_equal(back, buf[1], 512);
	no_space = 1;
	r[1].off = 1024;
	submit(&x, &r[1]);
	drain(&x);
	assert_int_equal(res.calls, 4);
	assert_int_equal(res.error, ENOSPC);
	hostfile_fault = NULL;
	teardown(&x);
}

/* Many transfers at once, by the ring and (as where there is none) by threads only. */
static void mixed(unsigned flags)
{
	enum { N = 64, LEN = 3072 };
	static uint8_t w[N][LEN], g[N][LEN];
	static struct iovec v[N][3];
	static struct block_req r[N];
	struct result res = { 0 };
	struct fixture x;

	setup(&x, raw_file(N * LEN + 100), "raw", flags);
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
						   .niov = 3, .done = done, .opaque = &res };
			submit(&x, &r[i]);
		}
		if (pass)
			drain(&x);
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
	submit(&x, &r[0]);
	drain(&x);
	assert_int_equal(res.error, 0);
	assert_int_equal(g[0][1100 + 100], 0);
	teardown(&x);
}

static void test_ring(void **state)
{
	mixed(0);
	mixed(BLOCK_THREADS);
}

/* ---- Mixed traffic against a model: every path of a request at once ---- */

#define MIX_SIZE (4u << 20)
#define MIX_SLOTS 24u

struct mix {
	struct fixture x;
	struct rng rng;
	uint8_t *model;
	unsigned left, inflight;
	struct mix_slot {
		struct mix *m;
		struct block_req r;
		struct iovec v[3];
		uint8_t *buf;
		uint64_t off;
		uint64_t len;
	} slot[MIX_SLOTS];
};

static void mix_next(struct mix_slot *s);

static void mix_done(struct block_req *r, int error)
{
	struct mix_slot *s = r->opaque;
	struct mix *m = s->m;

	assert_int_equal(error, 0);
	if (r->op == BLOCK_READ)
		assert_memory_equal(s->buf, m->model + s->off, s->len);
	m->inflight--;
	if (m->left)
		mix_next(s);
}

/* A slot owns every MIX_SLOTS-th 16 KiB of the disk: clusters are shared, sectors are not. */
static void mix_next(struct mix_slot *s)
{
	struct mix *m = s->m;
	unsigned n = (unsigned)(s - m->slot), kind = (unsigned)rng_below(&m->rng, 16);
	uint64_t stripes = MIX_SIZE / 16384 / MIX_SLOTS, in = rng_below(&m->rng, 32) * 512, a, b;

	m->left--;
	m->inflight++;
	if (kind < 8)
		in &= ~4095ull;
	s->len = (1 + rng_below(&m->rng, (16384 - in) / 512)) * 512;
	if (kind < 8 && s->len >= 4096)
		s->len &= ~4095ull;
	s->off = (rng_below(&m->rng, stripes) * MIX_SLOTS + n) * 16384 + in;
	a = rng_below(&m->rng, s->len);
	b = a + rng_below(&m->rng, s->len - a);
	s->v[0] = (struct iovec){ s->buf, a };
	s->v[1] = (struct iovec){ s->buf + a, b - a };
	s->v[2] = (struct iovec){ s->buf + b, s->len - b };
	s->r = (struct block_req){ .off = s->off, .len = s->len, .iov = s->v, .niov = 3,
				   .done = mix_done, .opaque = s };
	s->r.op = kind == 0 ? BLOCK_WRITE_ZEROES : kind == 1 ? BLOCK_FLUSH :
		  kind & 1 ? BLOCK_WRITE : BLOCK_READ;
	if (s->r.op == BLOCK_WRITE)
		for (uint64_t i = 0; i < s->len; i++)
			m->model[s->off + i] = s->buf[i] = (uint8_t)rng_next(&m->rng);
	if (s->r.op == BLOCK_WRITE_ZEROES)
		memset(m->model + s->off, 0, s->len);
	block_submit(m->x.b, &s->r);
}

static void mix_run(const char *path, const char *fmt, unsigned flags, enum block_cache cache,
		    uint8_t *model, uint64_t seed)
{
	struct block_options o = { .cache = cache };
	struct mix *m = calloc(1, sizeof(*m));
	struct err e = { 0 };

	m->rng.s = seed;
	m->left = 1500;
	m->model = model;
	setup(&m->x, path, fmt, flags);
	if (!block_set_options(m->x.b, &o, &e))
		print_message("%s\n", e.msg);	/* no O_DIRECT here: then without */
	pthread_mutex_lock(&m->x.lock);
	for (unsigned i = 0; i < MIX_SLOTS; i++) {
		m->slot[i].m = m;
		m->slot[i].buf = aligned_alloc(4096, 16384);
		memset(m->slot[i].buf, 0, 16384);
		mix_next(&m->slot[i]);
	}
	pthread_mutex_unlock(&m->x.lock);
	while (m->inflight || m->left)
		loop_poll(m->x.loop, 100);
	for (unsigned i = 0; i < MIX_SLOTS; i++)
		free(m->slot[i].buf);
	teardown(&m->x);
	free(m);
}

static void mix_compare(const char *path, const char *fmt, const uint8_t *model)
{
	struct image *im = it_open(path, fmt, BLOCK_RDONLY);
	uint8_t *got = malloc(MIX_SIZE);

	assert_int_equal(it_read(im, 0, got, MIX_SIZE), 0);
	assert_memory_equal(got, model, MIX_SIZE);
	image_close(im);
	free(got);
}

static void mix_create(const char *name, const char *path, const char *backing)
{
	const char *rel = backing ? strrchr(backing, '/') + 1 : NULL;
	struct image_create c = { .path = path, .size = MIX_SIZE, .backing = rel,
				  .backing_fmt = backing ? "raw" : NULL };
	struct err e = { 0 };

	if (!image_create(image_format(name, &e), &c, &e))
		fail_msg("%s", e.msg);
	image_create_end(&c);
}

static void test_mixed(void **state)
{
	static const struct {
		const char *fmt;
		bool backing;
		unsigned flags;
		enum block_cache cache;
	} rows[] = {
		{ "raw", false, 0, BLOCK_CACHE_WRITEBACK },
		{ "raw", false, 0, BLOCK_CACHE_NONE },
		{ "raw", false, BLOCK_THREADS, BLOCK_CACHE_WRITEBACK },
		{ "qcow2", false, BLOCK_DISCARD_ON, BLOCK_CACHE_WRITEBACK },
		{ "qcow2", true, BLOCK_DISCARD_ON, BLOCK_CACHE_WRITEBACK },
		{ "qcow2", true, 0, BLOCK_CACHE_NONE },
		{ "qcow2", true, 0, BLOCK_CACHE_WRITETHROUGH },
		{ "vdi", false, 0, BLOCK_CACHE_WRITEBACK },
		{ "vhdx", false, 0, BLOCK_CACHE_NONE },
		{ "vmdk", false, 0, BLOCK_CACHE_WRITEBACK },
		{ "vhd", false, 0, BLOCK_CACHE_WRITEBACK },
	};
	uint8_t *model = malloc(MIX_SIZE), *base = malloc(MIX_SIZE);
	struct rng rng = { 5 };

	for (unsigned i = 0; i < MIX_SIZE; i++)
		base[i] = (uint8_t)rng_next(&rng);
	for (unsigned i = 0; i < ARRAY_SIZE(rows); i++) {
		char name[32];
		const char *path, *below = it_path("mix-base");

		snprintf(name, sizeof(name), "mix%u", i);
		path = it_path(name);
		it_write_file(below, base, MIX_SIZE);
		if (!strcmp(rows[i].fmt, "raw"))
			it_write_file(path, base, MIX_SIZE);
		else
			mix_create(rows[i].fmt, path, rows[i].backing ? below : NULL);
		if (rows[i].backing || !strcmp(rows[i].fmt, "raw"))
			memcpy(model, base, MIX_SIZE);
		else
			memset(model, 0, MIX_SIZE);
		for (unsigned again = 0; again < 2; again++) {
			mix_run(path, rows[i].fmt, rows[i].flags, rows[i].cache, model,
				100 * again + i);
			mix_compare(path, rows[i].fmt, model);
		}
	}
	/* And with the changes thrown away. */
	it_write_file(it_path("mix0"), base, MIX_SIZE);
	memcpy(model, base, MIX_SIZE);
	mix_run(it_path("mix0"), "raw", BLOCK_THROWAWAY, BLOCK_CACHE_WRITEBACK, model, 78);
	mix_compare(it_path("mix0"), "raw", base);
	free(model);
	free(base);
}

/* ---- Long reads: a piece of them is copied at once ---- */

#define LONG_SIZE (3u << 20)
#define LONG_ODD 100u			/* and an incomplete sector */

static void long_read(struct fixture *x, const uint8_t *model, uint64_t off, uint64_t len,
		      unsigned pieces, bool cold)
{
	struct iovec v[64];
	struct result res = { 0 };
	struct block_req r = { .op = BLOCK_READ, .off = off, .len = len, .iov = v,
			       .niov = pieces, .done = done, .opaque = &res };
	uint8_t *buf = malloc(len);
	uint64_t each = len / pieces, at = 0;

	memset(buf, 0xa5, len);
	for (unsigned i = 0; i < pieces; i++) {
		v[i] = (struct iovec){ buf + at, i + 1 < pieces ? each : len - at };
		at += v[i].iov_len;
	}
	if (cold) {
		int fd = open(block_info(x->b)->path, O_RDONLY);

		assert_int_equal(fsync(fd) | posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED), 0);
		close(fd);
	}
	submit(x, &r);
	while (!res.calls)
		loop_poll(x->loop, 100);
	assert_int_equal(res.error, 0);
	assert_memory_equal(buf, model + off, len);
	free(buf);
}

static void test_long_reads(void **state)
{
	static const unsigned pieces[] = { 1, 2, 5, 64 };
	uint8_t *model = calloc(1, LONG_SIZE + 512);
	const char *raw = it_path("long.raw"), *qcow2;
	struct rng rng = { 6 };
	bool qemu;

	for (unsigned i = 0; i < LONG_SIZE + LONG_ODD; i++)
		model[i] = (uint8_t)rng_next(&rng);
	it_write_file(raw, model, LONG_SIZE + LONG_ODD);
	qcow2 = it_path("long.qcow2");
	qemu = it_have("qemu-img") &&
	       !it_run("qemu-img convert -f raw -O qcow2 %s %s", raw, qcow2);
	for (unsigned f = 0; f < 1u + qemu; f++) {
		for (unsigned i = 0; i < 4 * ARRAY_SIZE(pieces); i++) {
			struct fixture x;
			unsigned n = pieces[i / 4];

			setup(&x, f ? qcow2 : raw, f ? "qcow2" : "raw", 0);
			long_read(&x, model, 4096, 384 << 10, n, i & 1);
			long_read(&x, model, 65536 - 512, 1 << 20, n, i & 1);
			long_read(&x, model, LONG_SIZE - (2u << 20) + 512, 2u << 20, n, i & 1);
			teardown(&x);
		}
	}
	free(model);
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
		cmocka_unit_test(test_mixed),
		cmocka_unit_test(test_long_reads),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
