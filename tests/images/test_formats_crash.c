/* SPDX-License-Identifier: MIT */
/*
 * VDI, VHD, VHDX and VMDK whose writers are killed at random moments.  The
 * structure is whole (space may be lost), what a flush acknowledged is
 * there, and the image takes further writes.
 */
#include "../lib/imgtest.h"
#include "../../src/imgtool.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>
#include <cmocka.h>

#define DISK (96u << 20)
#define BLK 4096u
#define BATCH 4u
#define WRITES 40u

static const char *const formats[] = { "vdi", "vhd", "vhdx", "vmdk" };

static uint64_t place(uint64_t round, uint64_t i)
{
	return (i * 2654435761u + round * 7) % (DISK / BLK) * BLK;
}

static void stamp(uint8_t *b, uint64_t round, uint64_t i)
{
	for (unsigned k = 0; k < BLK; k += 16) {
		st_le64(b + k, round + 1);
		st_le64(b + k + 8, i);
	}
}

static void make(const char *path, const char *fmt)
{
	struct image_create c = { .path = path, .size = DISK };
	struct err e = { 0 };

	unlink(path);
	if (!image_create(image_format(fmt, &e), &c, &e))
		fail_msg("%s", e.msg);
	image_create_end(&c);
}

/* Writes @n blocks, a flush each BATCH; the number of those that a flush made safe. */
static uint64_t write_some(struct image *im, uint64_t round, uint64_t n, int report)
{
	uint8_t b[BLK];
	uint64_t safe = 0;
	bool lost = false;

	for (uint64_t i = 0; i < n; i++) {
		stamp(b, round, i);
		lost |= it_write(im, place(round, i), b, BLK) != 0;
		if (i % BATCH != BATCH - 1 || it_op(im, BLOCK_FLUSH, 0, 0) || lost)
			continue;
		safe = i + 1;
		if (report >= 0 && write(report, &safe, sizeof(safe)) != sizeof(safe))
			break;
	}
	return safe;
}

/* Opens (which repairs), finds the first @safe writes, no damage; writes again. */
static void expect_whole(const char *path, const char *fmt, uint64_t round, uint64_t safe)
{
	struct image_check c = { .repair = false };
	struct image *im = it_open(path, fmt, 0);
	uint8_t want[BLK], got[BLK];
	struct err e = { 0 };

	for (uint64_t i = 0; i < safe; i++) {
		stamp(want, round, i);
		assert_int_equal(it_read(im, place(round, i), got, BLK), 0);
		assert_memory_equal(got, want, BLK);
	}
	if (!im->fmt->tool->check(im, &c, &e))
		fail_msg("%s", e.msg);
	/* Only VDI's count of blocks may be behind or ahead; everybody takes that. */
	if (c.errors > !strcmp(fmt, "vdi"))
		fail_msg("%s, round %llu: %s", fmt, (unsigned long long)round, c.first);
	assert_int_equal(write_some(im, round + 1000000, BATCH, -1), BATCH);
	image_close(im);
}

struct job {
	const char *path, *fmt;
	uint64_t round;
};

static void writer(void *opaque, int report)
{
	struct job *j = opaque;
	struct image *im = image_open(j->path, j->fmt, 0, NULL);

	if (im)
		write_some(im, j->round, DISK / BLK, report);
}

static void test_sigkill(void **state)
{
	const char *env = getenv("HV_TEST_ROUNDS");
	unsigned rounds = env && *env ? (unsigned)strtoul(env, NULL, 0) : 3;
	struct rng r = { 11 };

	for (unsigned f = 0; f < ARRAY_SIZE(formats); f++)
		for (unsigned i = 0; i < rounds; i++) {
			char name[32];
			const char *path;
			uint64_t safe;

			snprintf(name, sizeof(name), "kill.%s", formats[f]);
			path = it_path(name);
			if (i % 6 == 0)
				make(path, formats[f]);
			safe = it_kill_writer(writer, &(struct job){ path, formats[f], i },
					      1 + (unsigned)rng_below(&r, 30), 0);
			expect_whole(path, formats[f], i, safe);
			if (it_have("qemu-img") && strcmp(formats[f], "vhd"))
				assert_int_equal(it_run("qemu-img check '%s'", path) & ~3, 0);
		}
}

int main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(test_sigkill) };

	return cmocka_run_group_tests(tests, NULL, NULL);
}
