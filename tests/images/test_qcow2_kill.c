/* SPDX-License-Identifier: MIT */
/*
 * A writer killed at random moments (SIGKILL): the image is clean or leaks
 * (qemu-img check 0 or 3), every write acknowledged by a flush is there, and
 * one open gives the leaks back.
 */
#include "../lib/imgtest.h"

#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
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

/* Child: write, flush every BATCH, report the number that is safe. */
static void writer(const char *f, uint64_t round, int fd)
{
	struct image *im = image_open(f, "qcow2", BLOCK_DISCARD_ON, NULL);
	uint8_t b[BLK];

	for (uint64_t i = 0; im && i < DISK / BLK; i++) {
		stamp(b, round, i);
		if (it_write(im, place(round, i), b, BLK))
			break;
		if (i % BATCH != BATCH - 1)
			continue;
		if (it_op(im, BLOCK_FLUSH, 0, 0) || write(fd, &i, sizeof(i)) != sizeof(i))
			break;
	}
	_exit(0);
}

/* The last write number the child reported before the kill; UINT64_MAX: none. */
static uint64_t run_and_kill(const char *f, uint64_t round, unsigned reports)
{
	uint64_t safe = UINT64_MAX, v;
	int p[2];
	pid_t pid;

	assert_int_equal(pipe(p), 0);
	pid = fork();
	if (pid == 0) {
		close(p[0]);
		writer(f, round, p[1]);
	}
	close(p[1]);
	while (reports-- && read(p[0], &v, sizeof(v)) == sizeof(v))
		safe = v;
	kill(pid, SIGKILL);
	waitpid(pid, NULL, 0);
	while (read(p[0], &v, sizeof(v)) == sizeof(v))
		safe = v;
	close(p[0]);
	return safe;
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
		safe = run_and_kill(f, i, 1 + (unsigned)rng_below(&r, 60));
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
