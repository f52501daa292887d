/* SPDX-License-Identifier: MIT */
/*
 * Images that QEMU wrote, with every option that changes the layout, read
 * the same here; written to, they stay clean by qemu-img check and equal by
 * qemu-img compare.
 */
#include "../lib/imgtest.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <cmocka.h>

#define SIZE (4u << 20)

static const char *const options[] = {
	"compat=0.10",
	"compat=1.1",
	"cluster_size=512",
	"cluster_size=1024",
	"cluster_size=2048",
	"cluster_size=4096",
	"cluster_size=8192",
	"cluster_size=16384",
	"cluster_size=32768",
	"cluster_size=131072",
	"cluster_size=262144",
	"cluster_size=524288",
	"cluster_size=1048576",
	"cluster_size=2097152",
	"cluster_size=512,compat=0.10",
	"cluster_size=2097152,compat=0.10",
	"refcount_bits=1",
	"refcount_bits=2",
	"refcount_bits=4",
	"refcount_bits=8",
	"refcount_bits=32",
	"refcount_bits=64",
	"refcount_bits=1,cluster_size=512",
	"refcount_bits=64,cluster_size=512",
	"lazy_refcounts=on",
	"preallocation=metadata",
	"preallocation=falloc",
	"preallocation=full",
	"preallocation=metadata,cluster_size=512,refcount_bits=64",
	"compression_type=zstd",
	"compression_type=zlib,cluster_size=4096",
	"compression_type=zstd,cluster_size=2097152",
	"extended_l2=on",
	"extended_l2=on,cluster_size=16384",
	"extended_l2=on,cluster_size=2097152",
	"extended_l2=on,cluster_size=131072,refcount_bits=8",
	"extended_l2=on,compression_type=zstd",
	"extended_l2=on,preallocation=metadata",
	"extended_l2=on,preallocation=falloc",
};

static uint8_t *content(struct rng *r)
{
	uint8_t *d = calloc(1, SIZE);

	for (unsigned i = 0; i < 30; i++) {
		uint64_t at = rng_below(r, SIZE), n = rng_below(r, SIZE / 16);
		uint64_t v = rng_next(r);

		for (uint64_t k = at; k < at + n && k < SIZE; k++)
			d[k] = i % 3 ? (uint8_t)(v >> (k % 8 * 8)) : (uint8_t)rng_next(r);
	}
	return d;
}

static void expect_content(const char *path, unsigned flags, const uint8_t *want)
{
	struct image *im = it_open(path, NULL, flags);
	uint8_t *got = malloc(SIZE);

	if (!(flags & BLOCK_THROWAWAY))
		assert_string_equal(im->fmt->name, "qcow2");
	assert_int_equal(im->size, SIZE);
	assert_int_equal(it_read(im, 0, got, SIZE), 0);
	assert_memory_equal(got, want, SIZE);
	image_close(im);
	free(got);
}

/* Overwrite parts, close, and let QEMU judge. */
static void write_and_judge(const char *path, struct rng *r, uint8_t *d, const char *what)
{
	struct image *im = it_open(path, "qcow2", BLOCK_DISCARD_ON);

	for (unsigned i = 0; i < 40; i++) {
		uint64_t at = rng_below(r, SIZE / 512) * 512, n = 512 * (1 + rng_below(r, 100));

		n = at + n > SIZE ? SIZE - at : n;
		memset(d + at, (int)rng_next(r), n);
		assert_int_equal(it_write(im, at, d + at, n), 0);
	}
	image_close(im);
	it_write_file(it_path("f.raw"), d, SIZE);
	if (it_run("qemu-img check '%s'", path))
		fail_msg("%s: not clean after writing", what);
	if (it_run("qemu-img compare -f qcow2 -F raw '%s' '%s'", path, it_path("f.raw")))
		fail_msg("%s: content differs after writing", what);
}

static void one_option(const char *opt, bool compress, struct rng *r)
{
	uint8_t *d = content(r);
	const char *raw = it_path("f.raw"), *img = it_path("f.qcow2");

	it_write_file(raw, d, SIZE);
	if (it_run("qemu-img convert -f raw -O qcow2 %s -o %s '%s' '%s'", compress ? "-c" : "", opt,
		   raw, img))
		fail_msg("qemu-img cannot make %s", opt);
	expect_content(img, BLOCK_RDONLY, d);
	expect_content(img, 0, d);
	expect_content(img, BLOCK_THROWAWAY, d);
	write_and_judge(img, r, d, opt);
	free(d);
}

static void test_options(void **state)
{
	struct rng r = { 7 };

	it_skip_without("qemu-img");
	for (size_t i = 0; i < ARRAY_SIZE(options); i++)
		one_option(options[i], false, &r);
}

static void test_compressed(void **state)
{
	struct rng r = { 8 };

	it_skip_without("qemu-img");
	for (size_t i = 0; i < ARRAY_SIZE(options); i++)
		if (!strstr(options[i], "preallocation"))
			one_option(options[i], true, &r);
}

/* raw <- qcow2 (v2, small clusters) <- compressed qcow2 <- top; each shorter or longer. */
static void test_chain(void **state)
{
	struct rng r = { 9 };
	uint8_t *d = content(&r);
	const char *dir = it_dir(), *top;

	it_skip_without("qemu-io");
	it_write_file(it_path("c0.raw"), d, SIZE);
	assert_int_equal(
		it_run("cd '%s' && qemu-img create -f qcow2 -o compat=0.10,cluster_size=4096 "
		       "-b c0.raw -F raw c1.qcow2 %u && qemu-io -c 'write -P 0x11 1000k 77k' "
		       "c1.qcow2 && "
		       "qemu-img create -f qcow2 -o cluster_size=512 -b c1.qcow2 -F qcow2 c2.qcow2 "
		       "&& "
		       "qemu-io -c 'write -P 0x22 2000k 50k' -c 'write -z 100k 30k' c2.qcow2 && "
		       "qemu-img create -f qcow2 -b '%s/c2.qcow2' -F qcow2 c3.qcow2",
		       dir, SIZE, dir),
		0);
	memset(d + 1000 * 1024, 0x11, 77 * 1024);
	memset(d + 2000 * 1024, 0x22, 50 * 1024);
	memset(d + 100 * 1024, 0, 30 * 1024);
	top = it_path("c3.qcow2");
	expect_content(top, BLOCK_RDONLY, d);
	write_and_judge(top, &r, d, "chain");
	assert_int_equal(it_run("qemu-img check '%s'", it_path("c2.qcow2")), 0);
	free(d);
}

/* Written by hvrun, read and changed by QEMU, read by hvrun. */
static void test_back_and_forth(void **state)
{
	uint8_t *d = calloc(1, SIZE);
	const char *img = it_path("b.qcow2");
	struct rng r = { 10 };

	it_skip_without("qemu-io");
	assert_int_equal(
		it_run("qemu-img create -f qcow2 -o refcount_bits=64,cluster_size=512 '%s' %u", img,
		       SIZE),
		0);
	for (unsigned i = 0; i < 4; i++) {
		write_and_judge(img, &r, d, "back and forth");
		assert_int_equal(it_run("qemu-io -c 'write -P 0x%x %uk 99k' '%s'", 0x30 + i,
					i * 512, img), 0);
		memset(d + i * 512 * 1024, 0x30 + (int)i, 99 * 1024);
		expect_content(img, 0, d);
	}
	free(d);
}

/* A lazy-refcounts image whose writer died: the counts are rebuilt before the first write. */
static void test_dirty(void **state)
{
	static const char *const shapes[] = { "cluster_size=512,refcount_bits=64",
					      "cluster_size=4096", "cluster_size=65536" };
	const char *img = it_path("dirty.qcow2");
	struct rng r = { 11 };

	it_skip_without("qemu-io");
	for (size_t i = 0; i < ARRAY_SIZE(shapes); i++) {
		uint8_t *d = calloc(1, SIZE), *raw;
		size_t n;

		assert_int_equal(it_run("qemu-img create -f qcow2 -o lazy_refcounts=on,%s '%s' %u",
					shapes[i], img, SIZE), 0);
		it_run("ulimit -c 0; qemu-io -c 'write -P 0x42 64k 1M' -c flush -c abort '%s'",
		       img);
		memset(d + 65536, 0x42, 1 << 20);
		raw = it_read_file(img, &n);
		assert_int_equal(raw[79] & 1, 1);	/* incompatible bit 0: dirty */
		free(raw);
		expect_content(img, BLOCK_RDONLY, d);
		expect_content(img, 0, d);
		raw = it_read_file(img, &n);
		assert_int_equal(raw[79] & 1, 0);
		free(raw);
		write_and_judge(img, &r, d, "dirty");
		free(d);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_options),
		cmocka_unit_test(test_compressed),
		cmocka_unit_test(test_chain),
		cmocka_unit_test(test_back_and_forth),
		cmocka_unit_test(test_dirty),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
