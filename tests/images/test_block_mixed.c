/* SPDX-License-Identifier: MIT */
/*
 * The request layer under mixed traffic, against a model of the disk: every
 * path of a request at once, on every format, and long reads.
 */
#include "../lib/blockrig.h"
#include "../../src/imgtool.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

/* ---- Mixed traffic against a model: every path of a request at once ---- */

#define MIX_SIZE (4u << 20)
#define MIX_SLOTS 24u

struct mix {
	struct blockrig x;
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
	blk_setup(&m->x, path, fmt, flags);
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
	blk_teardown(&m->x);
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

static void long_read(struct blockrig *x, const uint8_t *model, uint64_t off, uint64_t len,
		      unsigned pieces, bool cold)
{
	struct iovec v[64];
	struct blk_result res = { 0 };
	struct block_req r = { .op = BLOCK_READ, .off = off, .len = len, .iov = v,
			       .niov = pieces, .done = blk_done, .opaque = &res };
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
	blk_submit(x, &r);
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
			struct blockrig x;
			unsigned n = pieces[i / 4];

			blk_setup(&x, f ? qcow2 : raw, f ? "qcow2" : "raw", 0);
			long_read(&x, model, 4096, 384 << 10, n, i & 1);
			long_read(&x, model, 65536 - 512, 1 << 20, n, i & 1);
			long_read(&x, model, LONG_SIZE - (2u << 20) + 512, 2u << 20, n, i & 1);
			blk_teardown(&x);
		}
	}
	free(model);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_mixed),
		cmocka_unit_test(test_long_reads),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
