/* SPDX-License-Identifier: MIT */
/*
 * The same script of operations with the nth host call failing, for every n:
 * no crash, structure never worse than leaks (qemu-img check 0 or 3), nothing
 * that was acknowledged lost, and after one clean open no leak is left.
 */
#include "../lib/imgtest.h"

#include "../../src/log.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <cmocka.h>

#define DISK (3u << 20)
#define OPS 30

enum mode { ONE_SHOT, FROM_THEN_ON, MODES };

static struct {
	unsigned long calls, fail_at;
	enum mode mode;
	int error;
	bool fired;
} plan;

static int inject(struct hostfile *f, enum hf_op op, uint64_t off, uint64_t len)
{
	unsigned long n = ++plan.calls;

	if (n != plan.fail_at && !(plan.mode == FROM_THEN_ON && n > plan.fail_at))
		return 0;
	/* reads do not run out of space */
	plan.fired = true;
	return op == HF_READ ? EIO : plan.error;
}

/* What a sector may hold: the old or the new value while a write has failed. */
struct shadow {
	uint8_t now[DISK / 512], maybe[DISK / 512];
};

static void put_value(struct shadow *s, uint64_t first, uint64_t n, uint8_t v, bool ok)
{
	for (uint64_t i = first; i < first + n; i++) {
		s->maybe[i] = ok ? v : s->maybe[i] == s->now[i] ? v : 0xff;
		if (ok)
			s->now[i] = v;
	}
}

/* True if a flush after the last operation succeeded: then all of it must be there. */
static bool script(struct image *im, struct shadow *s, uint64_t seed)
{
	struct rng r = { seed };
	static uint8_t buf[DISK];

	for (unsigned i = 0; i < OPS; i++) {
		uint64_t first = rng_below(&r, DISK / 512), n = 1 + rng_below(&r, 600);
		uint8_t v = (uint8_t)(1 + rng_below(&r, 250));
		int err;

		n = first + n > DISK / 512 ? DISK / 512 - first : n;
		switch (rng_below(&r, 8)) {
		case 0:
			it_op(im, BLOCK_FLUSH, 0, 0);
			break;
		case 1:
			err = it_op(im, BLOCK_WRITE_ZEROES, first * 512, n * 512);
			put_value(s, first, n, 0, !err);
			break;
		case 2:
			it_read(im, first * 512, buf, n * 512);
			break;
		default:
			memset(buf, v, n * 512);
			err = it_write(im, first * 512, buf, n * 512);
			put_value(s, first, n, v, !err);
		}
	}
	return !it_op(im, BLOCK_FLUSH, 0, 0) || !it_op(im, BLOCK_FLUSH, 0, 0);
}

static void expect_content(const char *f, const struct shadow *s, bool exact)
{
	static uint8_t buf[DISK];
	struct image *im = it_open(f, "qcow2", 0);	/* repairs leaks */

	assert_int_equal(it_read(im, 0, buf, DISK), 0);
	image_close(im);
	for (unsigned i = 0; exact && i < DISK; i++) {
		uint8_t now = s->now[i / 512], maybe = s->maybe[i / 512];

		if (buf[i] != now && buf[i] != maybe && maybe != 0xff)
			fail_msg("call %lu: sector %u holds %u, not %u", plan.fail_at, i / 512,
				 buf[i], now);
	}
}

/* One run; false when the script made fewer calls than @fail_at. */
static bool one_case(const char *opts, unsigned flags, unsigned long fail_at, enum mode mode,
		     int error)
{
	const char *f = it_path("fault.qcow2");
	static struct shadow s;
	bool durable = false;
	struct image *im;
	int rc;

	memset(&s, 0, sizeof(s));
	assert_int_equal(it_run("cp '%s' '%s'", it_path(opts), f), 0);
	memset(&plan, 0, sizeof(plan));
	plan.fail_at = fail_at;
	plan.mode = mode;
	plan.error = error;
	hostfile_fault = inject;
	im = image_open(f, "qcow2", flags, NULL);
	if (im) {
		durable = script(im, &s, 42);
		image_close(im);
	}
	hostfile_fault = NULL;
	rc = it_run("qemu-img check '%s'", f);
	if (rc != 0 && rc != 3)
		fail_msg("%s, call %lu, mode %d: qemu-img check says %d", opts, fail_at, mode, rc);
	expect_content(f, &s, durable);
	if (it_run("qemu-img check '%s'", f))
		fail_msg("%s, call %lu, mode %d: not clean after one open", opts, fail_at, mode);
	return plan.fired;
}

static void all_cases(const char *name, const char *opts, unsigned flags, unsigned step)
{
	unsigned long cases = 0;

	assert_int_equal(
		it_run("qemu-img create -f qcow2 -o %s '%s' %u", opts, it_path(name), DISK), 0);
	for (enum mode m = ONE_SHOT; m < MODES; m++)
		for (int e = 0; e < 2; e++)
			for (unsigned long n = 1 + e; one_case(name, flags, n, m, e ? EIO : ENOSPC);
			     n += step)
				cases++;
	print_message("%s: %lu cases\n", opts, cases);
	assert_true(cases > 20);
}

static void test_faults(void **state)
{
	const char *env = getenv("HV_TEST_STEP");
	unsigned step = env && *env ? (unsigned)strtoul(env, NULL, 0) : 11;

	it_skip_without("qemu-img");
	log_open("/dev/null");
	all_cases("f1", "cluster_size=4096", BLOCK_DISCARD_ON, step);
	all_cases("f2", "cluster_size=512,refcount_bits=64", 0, step * 5);
	all_cases("f3", "cluster_size=65536", 0, step);
}

int main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(test_faults) };

	return cmocka_run_group_tests(tests, NULL, NULL);
}
