/* SPDX-License-Identifier: MIT */
/*
 * Random operations on qcow2 images of many shapes against a plain buffer,
 * with qemu-img as the independent judge of structure (check: rc 0) and
 * content (compare).  HV_TEST_ROUNDS and HV_TEST_SEED widen the search.
 */
#include "../lib/imgtest.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <cmocka.h>

#define DEFAULT_ROUNDS 300
#define OPS 40

struct shape {
	unsigned version, cluster_bits, refcount_bits;
	bool backed, discard, snapshot, ext;
	uint64_t size, backing_size;
};

struct model {
	uint8_t *data;
	struct shape sh;
	struct image *im;
	struct rng *r;
	char img[256], raw[256], base[256];
};

static uint64_t env_number(const char *name, uint64_t def)
{
	const char *v = getenv(name);

	return v && *v ? strtoull(v, NULL, 0) : def;
}

/* MIN() would draw its random argument twice. */
static uint64_t least(uint64_t a, uint64_t b)
{
	return a < b ? a : b;
}

static struct shape pick_shape(struct rng *r)
{
	struct shape s = { .version = rng_below(r, 4) ? 3 : 2 };

	s.cluster_bits = rng_below(r, 3) ? 9 + rng_below(r, 8) : 9 + rng_below(r, 13);
	s.refcount_bits = s.version == 3 ? 1u << rng_below(r, 7) : 16;
	s.ext = s.version == 3 && s.cluster_bits >= 14 && rng_below(r, 2);
	s.backed = rng_below(r, 3) == 0;
	s.discard = rng_below(r, 2);
	s.snapshot = s.refcount_bits > 1 && rng_below(r, 4) == 0;
	s.size = least((1ull << s.cluster_bits) * (40 + rng_below(r, 400)), 16ull << 20);
	s.size = (s.size - rng_below(r, 3) * 512) & ~511ull;
	s.backing_size = (s.size / 2 + rng_below(r, s.size)) & ~511ull;
	return s;
}

static void fill(struct rng *r, uint8_t *p, uint64_t n)
{
	uint64_t v = rng_next(r);

	for (uint64_t i = 0; i < n; i++)
		p[i] = (uint8_t)(v >> (i % 8 * 8)) ^ (uint8_t)(i >> 3);
}

static void make_backing(struct model *m)
{
	uint8_t *b = calloc(1, m->sh.backing_size);

	for (unsigned i = 0; i < 4; i++) {
		uint64_t at = rng_below(m->r, m->sh.backing_size);

		fill(m->r, b + at, rng_below(m->r, m->sh.backing_size - at) + 1);
	}
	memcpy(m->data, b, MIN(m->sh.size, m->sh.backing_size));
	it_write_file(m->base, b, m->sh.backing_size);
	free(b);
}

static void make_image(struct model *m)
{
	const struct shape *s = &m->sh;
	char opts[128], backing[600] = "";

	snprintf(opts, sizeof(opts), "compat=%s,cluster_size=%u%s",
		 s->version == 3 ? "1.1" : "0.10", 1u << s->cluster_bits,
		 s->ext ? ",extended_l2=on" : "");
	if (s->version == 3)
		snprintf(opts + strlen(opts), sizeof(opts) - strlen(opts), ",refcount_bits=%u",
			 s->refcount_bits);
	if (s->backed) {
		make_backing(m);
		snprintf(backing, sizeof(backing), "-b '%s' -F raw", m->base);
	}
	assert_int_equal(it_run("qemu-img create -f qcow2 -o %s %s '%s' %llu", opts, backing,
				m->img, (unsigned long long)s->size), 0);
}

static void open_image(struct model *m)
{
	m->im = it_open(m->img, "qcow2", m->sh.discard ? BLOCK_DISCARD_ON : 0);
	assert_int_equal(m->im->size, m->sh.size);
}

/* The documented effect of a discard: whole clusters become zeros, the rest stays. */
static void model_discard(struct model *m, uint64_t off, uint64_t len)
{
	uint64_t cs = 1ull << m->sh.cluster_bits, first = (off + cs - 1) / cs * cs;
	uint64_t end = off + len == m->sh.size ? m->sh.size : (off + len) / cs * cs;

	if (m->sh.discard && !(m->sh.version == 2 && m->sh.backed) && end > first)
		memset(m->data + first, 0, end - first);
}

static void do_write(struct model *m, uint64_t off, uint64_t len)
{
	struct iovec v[4];
	unsigned n = 0;
	uint64_t pos = 0;

	fill(m->r, m->data + off, len);
	while (pos < len) {
		uint64_t k = n == 3 ? len - pos : least(len - pos, 512 * (1 + rng_below(m->r, 64)));

		v[n++] = (struct iovec){ m->data + off + pos, k };
		pos += k;
	}
	assert_int_equal(image_io(m->im, BLOCK_WRITE, off, len, v, n), 0);
}

static void do_read(struct model *m, uint64_t off, uint64_t len)
{
	uint8_t *buf = malloc(len);

	memset(buf, 0xa5, len);
	assert_int_equal(it_read(m->im, off, buf, len), 0);
	assert_memory_equal(buf, m->data + off, len);
	free(buf);
}

static void one_op(struct model *m)
{
	uint64_t sectors = m->sh.size / 512, at = rng_below(m->r, sectors);
	uint64_t n = 1 + rng_below(m->r, least(sectors - at, 1 + rng_below(m->r, 2048)));
	uint64_t off = at * 512, len = n * 512;

	switch (rng_below(m->r, 12)) {
	case 0: case 1: case 2: case 3: case 4:
		do_write(m, off, len);
		break;
	case 5: case 6: case 7:
		do_read(m, off, len);
		break;
	case 8:
		assert_int_equal(it_op(m->im, BLOCK_WRITE_ZEROES, off, len), 0);
		memset(m->data + off, 0, len);
		break;
	case 9:
		assert_int_equal(it_op(m->im, BLOCK_DISCARD, off, len), 0);
		model_discard(m, off, len);
		break;
	case 10:
		assert_int_equal(it_op(m->im, BLOCK_FLUSH, 0, 0), 0);
		break;
	default:
		image_close(m->im);
		open_image(m);
	}
}

static void judge(struct model *m, uint64_t seed)
{
	int rc = it_run("qemu-img check '%s'", m->img);

	if (rc)
		fail_msg("seed %#llx: qemu-img check says %d", (unsigned long long)seed, rc);
	it_write_file(m->raw, m->data, m->sh.size);
	rc = it_run("qemu-img compare -f qcow2 -F raw '%s' '%s'", m->img, m->raw);
	if (rc)
		fail_msg("seed %#llx: qemu-img compare says %d", (unsigned long long)seed, rc);
}

/* An internal snapshot freezes the content so far; it must stay what it was. */
static void take_snapshot(struct model *m, uint8_t **frozen)
{
	assert_int_equal(it_run("qemu-img snapshot -c s1 '%s'", m->img), 0);
	*frozen = malloc(m->sh.size);
	memcpy(*frozen, m->data, m->sh.size);
}

static void judge_snapshot(struct model *m, uint8_t *frozen, uint64_t seed)
{
	it_write_file(m->raw, frozen, m->sh.size);
	assert_int_equal(it_run("qemu-img convert -l s1 -O raw '%s' '%s.s1'", m->img, m->img), 0);
	if (it_run("cmp '%s' '%s.s1'", m->raw, m->img))
		fail_msg("seed %#llx: the snapshot changed", (unsigned long long)seed);
	free(frozen);
}

static void sequence(uint64_t seed)
{
	struct rng r = { seed };
	struct model m = { .sh = pick_shape(&r), .r = &r };
	uint8_t *frozen = NULL;

	snprintf(m.img, sizeof(m.img), "%s", it_path("r.qcow2"));
	snprintf(m.raw, sizeof(m.raw), "%s", it_path("r.raw"));
	snprintf(m.base, sizeof(m.base), "%s", it_path("r.base"));
	m.data = calloc(1, m.sh.size);
	make_image(&m);
	open_image(&m);
	for (unsigned i = 0; i < OPS; i++) {
		if (i == OPS / 2 && m.sh.snapshot) {
			image_close(m.im);
			take_snapshot(&m, &frozen);
			open_image(&m);
		}
		one_op(&m);
	}
	image_close(m.im);
	judge(&m, seed);
	if (frozen)
		judge_snapshot(&m, frozen, seed);
	free(m.data);
}

static void test_random_sequences(void **state)
{
	uint64_t rounds = env_number("HV_TEST_ROUNDS", DEFAULT_ROUNDS);
	uint64_t seed = env_number("HV_TEST_SEED", 1);

	it_skip_without("qemu-img");
	for (uint64_t i = 0; i < rounds; i++)
		sequence(seed + i);
}

int main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(test_random_sequences) };

	return cmocka_run_group_tests(tests, NULL, NULL);
}
