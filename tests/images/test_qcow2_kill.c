/* SPDX-License-Identifier: MIT */
/*
 * A writer killed at random moments (SIGKILL): the image is clean or leaks
 * (qemu-img check 0 or 3), every write acknowledged by a flush is there, and
 * one open gives the leaks back.
 */
#include "../lib/imgtest.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>
#include <cmocka.h>

#define DEFAULT_ROUNDS 30
#define DISK (64u << 20)
#define BLK 4096u
#define BATCH 8

/* Write number @i goes to a place of its own, so that the last flush says all. */
static uint64_t place(uint64_t round, uint64_t i)
{
	return (i * 2654435761u + round) % (DISK / BLK) * BLK;
}

static void stamp(uint8_t *b, uint64_t round, uint64_t i)
{
	for (unsigned k = 0; k < BLK; k += 16) {
		st_le64(b + k, round + 1);
		st_le64(b + k + 8, i);
	}
}

struct job {
	const char *path;
	uint64_t round;
};

/* Child: write, flush every BATCH, report the number that is safe. */
static void writer(void *opaque, int fd)
{
	struct job *j = opaque;
	struct image *im = image_open(j->path, "qcow2", BLOCK_DISCARD_ON, NULL);
	uint8_t b[BLK];

	for (uint64_t i = 0; im && i < DISK / BLK; i++) {
		stamp(b, j->round, i);
		if (it_write(im, place(j->round, i), b, BLK))
			break;
		if (i % BATCH != BATCH - 1)
			continue;
		if (it_op(im, BLOCK_FLUSH, 0, 0) || write(fd, &i, sizeof(i)) != sizeof(i))
			break;
	}
}

static void expect_writes(const char *f, uint64_t round, uint64_t safe)
{
	struct image *im = it_open(f, "qcow2", 0);
	uint8_t want[BLK], got[BLK];

	for (uint64_t i = 0; safe != UINT64_MAX && i <= safe; i++) {
		stamp(want, round, i);
		assert_int_equal(it_read(im, place(round, i), got, BLK), 0);
		assert_memory_equal(got, want, BLK);
	}
	image_close(im);
}

static void test_sigkill(void **state)
{
	const char *env = getenv("HV_TEST_ROUNDS");
	unsigned rounds = env && *env ? (unsigned)strtoul(env, NULL, 0) : DEFAULT_ROUNDS;
	unsigned leaks = 0;
	struct rng r = { 5 };

	it_skip_without("qemu-img");
	for (unsigned i = 0; i < rounds; i++) {
		const char *f = it_path("kill.qcow2");
		uint64_t safe;
		int rc;

		if (i % 6 == 0)
			assert_int_equal(
				it_run("qemu-img create -f qcow2 -o cluster_size=%u '%s' %u",
				       i % 12 ? 65536 : 4096, f, DISK),
				0);
		safe = it_kill_writer(writer, &(struct job){ f, i },
				      1 + (unsigned)rng_below(&r, 60), UINT64_MAX);
		rc = it_run("qemu-img check '%s'", f);
		if (rc != 0 && rc != 3)
			fail_msg("round %u: qemu-img check says %d", i, rc);
		leaks += rc == 3;
		expect_writes(f, i, safe);
		assert_int_equal(it_run("qemu-img check '%s'", f), 0);
	}
	print_message("%u kills, %u left leaks before the next open\n", rounds, leaks);
}

int main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(test_sigkill) };

	return cmocka_run_group_tests(tests, NULL, NULL);
}
