/* SPDX-License-Identifier: MIT */
/*
 * Damaged and hostile qcow2 images: thousands of mutations of headers and
 * tables.  Each must be refused with words or serve requests and errors:
 * no crash, no hang, no growth of memory, and (no mutation may lead there)
 * no file opened outside the directory.  Reading back what was written
 * successfully is checked where the image was accepted as sound.
 */
#include "../lib/imgtest.h"
#include "../../src/util.h"

#include "../../src/log.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/time.h>
#include <unistd.h>
#include <cmocka.h>

#define DEFAULT_ROUNDS 3000
#define MAX_RSS_GROWTH_KIB (64 * 1024)

struct seed_image {
	uint8_t *data;
	size_t len;
};

static const char *const recipes[] = {
	"qemu-img create -f qcow2 -o cluster_size=4096 %1$s 8M && qemu-io -c 'write 0 300k' "
	"-c 'write -z 64k 32k' -c 'write 5M 100k' %1$s && qemu-img snapshot -c s %1$s && "
	"qemu-io -c 'write 10k 100k' %1$s",
	"qemu-img create -f qcow2 -o cluster_size=512,refcount_bits=1 %1$s 2M && qemu-io "
	"-c 'write 0 100k' %1$s",
	"qemu-img create -f qcow2 -o compat=0.10,cluster_size=1024 %1$s 4M && qemu-io "
	"-c 'write 0 100k' -c 'write -c 200k 1k' -c 'write -c 201k 1k' %1$s",
	"qemu-img create -f qcow2 -o compression_type=zstd,cluster_size=8192 %1$s 4M && qemu-io "
	"-c 'write 0 100k' -c 'write -c 400k 8k' -c 'write -c 408k 8k' %1$s",
	"qemu-img create -f qcow2 -o lazy_refcounts=on,cluster_size=2M,refcount_bits=64 %1$s 64M "
	"&& "
	"qemu-io -c 'write 0 100k' %1$s",
};

static struct seed_image make_seed(unsigned i)
{
	char cmd[1024], name[32];
	struct seed_image s;

	snprintf(name, sizeof(name), "seed%u.qcow2", i);
	snprintf(cmd, sizeof(cmd), recipes[i], it_path(name));
	assert_int_equal(it_run("%s", cmd), 0);
	s.data = it_read_file(it_path(name), &s.len);
	return s;
}

/* A value that is more likely than chance to be trouble. */
static uint64_t nasty(struct rng *r, const struct seed_image *s)
{
	static const uint64_t v[] = { 0, 1, 0x1ff, 0x200, 0xfffffff8, 0xffffffff, 1ull << 31,
				      1ull << 40, 1ull << 55, 1ull << 62, 1ull << 63, UINT64_MAX,
				      0x8000000000000200, 0x4000000000000001, 0xffff000000000000 };

	switch (rng_below(r, 4)) {
	case 0:
		return v[rng_below(r, ARRAY_SIZE(v))];
	case 1:	/* somewhere in the file, perhaps private */
		return (rng_below(r, s->len) & ~511ull) | (rng_next(r) & 1ull << 63);
	case 2:
		return rng_below(r, 64);
	default:
		return rng_next(r);
	}
}

static uint64_t be_at(const struct seed_image *s, uint64_t at)
{
	return at + 8 <= s->len ? ld_be64(s->data + at) & 0x00ffffffffffffff : 0;
}

/* A place in the header, or an entry of one of the tables. */
static uint64_t pick_place(struct rng *r, const struct seed_image *s)
{
	uint64_t l1 = be_at(s, 40), rt = be_at(s, 48), snap = be_at(s, 64), at;

	switch (rng_below(r, 6)) {
	case 0: case 1:
		return rng_below(r, 14) * 8;
	case 2:
		return l1 + rng_below(r, 4) * 8;
	case 3:
		return rt + rng_below(r, 4) * 8;
	case 4:
		at = be_at(s, rng_below(r, 2) ? l1 : rt) & ~511ull;
		return at + rng_below(r, 64) * 8;
	default:
		return snap ? snap + rng_below(r, 6) * 8 : rng_below(r, 128);
	}
}

static void mutate(struct rng *r, uint8_t *d, size_t *len, const struct seed_image *s)
{
	unsigned n = 1 + rng_below(r, 3);

	while (n--) {
		uint64_t at = pick_place(r, s), v = nasty(r, s);

		if (at + 8 > s->len)
			continue;
		if (rng_below(r, 3) == 0)
			d[at + rng_below(r, 8)] ^= 1u << rng_below(r, 8);
		else if (rng_below(r, 3) == 0)
			st_be32(d + at + rng_below(r, 2) * 4, (uint32_t)v);
		else
			st_be64(d + at, v);
	}
	if (rng_below(r, 16) == 0)
		*len = 1 + rng_below(r, s->len);
}

static void one_mutation(uint64_t seed, const struct seed_image *seeds, unsigned *opened)
{
	struct rng r = { seed };
	const struct seed_image *s = &seeds[rng_below(&r, ARRAY_SIZE(recipes))];
	static const unsigned flags[] = { 0, BLOCK_DISCARD_ON, BLOCK_RDONLY, BLOCK_THROWAWAY };
	const char *f = it_path("hostile.qcow2");
	uint8_t *d = malloc(s->len);
	size_t len = s->len;
	struct err e = { 0 };
	struct image *im;

	memcpy(d, s->data, s->len);
	mutate(&r, d, &len, s);
	it_write_file(f, d, len);
	free(d);
	alarm(20);	/* a hang kills the test program */
	im = image_open(f, "qcow2", flags[rng_below(&r, 4)], &e);
	if (im) {
		++*opened;
		it_random_ops(im, &r, 24);
		image_close(im);
	} else if (!strstr(e.msg, "hostile.qcow2") || !e.exit_code) {
		fail_msg("seed %llu: refused without saying why: %s", (unsigned long long)seed,
			 e.msg);
	}
	alarm(0);
}

static void test_mutations(void **state)
{
	const char *env = getenv("HV_TEST_ROUNDS"), *first = getenv("HV_TEST_SEED");
	unsigned long rounds = env && *env ? strtoul(env, NULL, 0) : DEFAULT_ROUNDS;
	unsigned long seed = first && *first ? strtoul(first, NULL, 0) : 1;
	struct seed_image seeds[ARRAY_SIZE(recipes)];
	unsigned opened = 0;
	long before;

	it_skip_without("qemu-io");
	log_open("/dev/null");
	for (unsigned i = 0; i < ARRAY_SIZE(recipes); i++)
		seeds[i] = make_seed(i);
	before = it_peak_rss();
	for (unsigned long i = 0; i < rounds; i++)
		one_mutation(seed + i, seeds, &opened);
	print_message("%lu images, %u opened, peak memory +%ld KiB\n", rounds, opened,
		      it_peak_rss() - before);
#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)	/* their own memory */
	assert_true(it_peak_rss() - before <= MAX_RSS_GROWTH_KIB);
#endif
	/* the mutations are neither all fatal nor all harmless */
	assert_true(rounds < 100 || (opened > rounds / 20 && opened < rounds - rounds / 20));
	for (unsigned i = 0; i < ARRAY_SIZE(recipes); i++)
		free(seeds[i].data);
}

/* As many snapshots and L2 tables as are allowed: nothing may look for each among all others. */
static void test_many_tables(void **state)
{
	enum { CS = 512, N = 65535, L1 = 1 << 20, L2 = 1 << 16 };
	const char *f = it_path("many.qcow2");
	uint64_t table = CS, l1 = table + 40ull * N / CS * CS + CS, rt = l1 + 8ull * L1;
	uint64_t own = rt + CS, l2 = own + (uint64_t)N * CS, end = l2 + (uint64_t)L2 * CS;
	size_t len = own;
	uint8_t *d = calloc(1, len);
	struct err e = { 0 };

	assert_non_null(d);
	st_be32(d, 0x514649fb);
	st_be32(d + 4, 3);
	st_be32(d + 20, 9);
	st_be64(d + 24, (uint64_t)L1 * 64 * CS);
	st_be32(d + 36, L1);
	st_be64(d + 40, l1);
	st_be64(d + 48, rt);
	st_be32(d + 56, 1);
	st_be32(d + 60, N);
	st_be64(d + 64, table);
	st_be32(d + 96, 4);
	st_be32(d + 100, 104);
	for (unsigned i = 0; i < N; i++) {	/* from the last to the first */
		st_be64(d + table + i * 40ull, own + (uint64_t)(N - 1 - i) * CS);
		st_be32(d + table + i * 40ull + 8, 1);
	}
	for (unsigned i = 0; i < L1; i++)
		st_be64(d + l1 + i * 8ull, l2 + (uint64_t)(i % L2) * CS);
	it_write_file(f, d, len);
	free(d);
	assert_int_equal(truncate(f, (off_t)end), 0);
	alarm(20);
	image_close(image_open(f, "qcow2", 0, &e));
	alarm(0);
	/* two in one place */
	assert_int_equal(it_run("dd if=%s of=%s bs=1 count=8 skip=512 seek=552 conv=notrunc", f, f),
			 0);
	assert_null(image_open(f, "qcow2", 0, &e));
	assert_non_null(strstr(e.msg, "overlaps another table"));
	unlink(f);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_mutations),
		cmocka_unit_test(test_many_tables),	/* last: mutations look at the peak */
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
