/* SPDX-License-Identifier: MIT */
/*
 * The format of a disk is decided once: a guest that writes another format's
 * header into its raw disk changes nothing, neither where the file carries
 * the record nor where it cannot.
 */
#include "../lib/imgtest.h"

#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/xattr.h>
#include <unistd.h>
#include <cmocka.h>

#define NOTE "user.hvrun.format"

static int no_xattr(struct hostfile *f, enum hf_op op, uint64_t off, uint64_t len)
{
	return op == HF_XATTR ? EOPNOTSUPP : 0;
}

static int plain_file(void **state)
{
	static const uint8_t zeros[65536];

	hostfile_fault = NULL;
	*state = (void *)it_path("disk.img");
	unlink(*state);
	it_write_file(*state, zeros, sizeof(zeros));
	return 0;
}

static int without_xattr(void **state)
{
	plain_file(state);
	hostfile_fault = no_xattr;
	return 0;
}

static int restore(void **state)
{
	hostfile_fault = NULL;
	return 0;
}

static void need_xattr(const char *f)
{
	if (setxattr(f, "user.hvrun.test", "x", 1, 0) < 0) {
		print_message("skipped: no user attributes in %s\n", it_dir());
		skip();
	}
}

static const char *note_of(const char *f)
{
	static char buf[32];
	ssize_t n = getxattr(f, NOTE, buf, sizeof(buf) - 1);

	buf[n < 0 ? 0 : n] = '\0';
	return buf;
}

/* A version 3 header that names a backing file; enough to be taken for qcow2. */
static void header(uint8_t *b, size_t n)
{
	memset(b, 0, n);
	st_be32(b, 0x514649fb);
	st_be32(b + 4, 3);
	st_be32(b + 20, 16);
}

static void expect_format(const char *f, const char *name, unsigned flags, const char *want)
{
	struct image *im = it_open(f, name, flags);

	assert_string_equal(im->fmt->name, want);
	image_close(im);
}

static void test_recorded(void **state)
{
	const char *f = *state;
	uint8_t b[4096], got[4096];
	struct image *im;

	need_xattr(f);
	im = it_open(f, NULL, 0);
	assert_string_equal(note_of(f), "raw");
	header(b, sizeof(b));
	assert_int_equal(it_write(im, 0, b, sizeof(b)), 0);
	image_close(im);
	im = it_open(f, NULL, 0);
	assert_string_equal(im->fmt->name, "raw");
	assert_int_equal(it_read(im, 0, got, sizeof(got)), 0);
	assert_memory_equal(got, b, sizeof(b));
	memset(b, 0, sizeof(b));
	memcpy(b, "KDMV", 4);		/* nor is it refused for a foreign format */
	assert_int_equal(it_write(im, 0, b, sizeof(b)), 0);
	image_close(im);
	expect_format(f, NULL, 0, "raw");
	expect_format(f, NULL, BLOCK_RDONLY, "raw");
	im = it_open(f, NULL, BLOCK_THROWAWAY);
	assert_string_equal(im->backing->fmt->name, "raw");
	image_close(im);
	assert_true(block_is_recorded(f));
}

static void test_no_record(void **state)
{
	const char *f = *state, *q = it_path("disk.qcow2");

	need_xattr(f);
	expect_format(f, NULL, BLOCK_RDONLY, "raw");
	image_close(it_open(f, NULL, BLOCK_THROWAWAY));
	assert_string_equal(note_of(f), "");
	assert_false(block_is_recorded(f));
	it_skip_without("qemu-img");
	assert_int_equal(it_run("qemu-img create -f qcow2 '%s' 1M", q), 0);
	expect_format(q, NULL, 0, "qcow2");
	assert_string_equal(note_of(q), "");
}

static void test_named_wins(void **state)
{
	const char *f = *state;

	need_xattr(f);
	it_skip_without("qemu-img");
	assert_int_equal(it_run("qemu-img create -f qcow2 '%s' 1M", f), 0);
	expect_format(f, "raw", 0, "raw");	/* as data: recorded */
	assert_string_equal(note_of(f), "raw");
	expect_format(f, NULL, 0, "raw");
	expect_format(f, "qcow2", BLOCK_RDONLY, "qcow2");
	assert_string_equal(note_of(f), "raw");	/* read-only: nothing is written */
	expect_format(f, "qcow2", 0, "qcow2");
	assert_string_equal(note_of(f), "");
	expect_format(f, NULL, 0, "qcow2");
}

static void test_failed_open_records_nothing(void **state)
{
	const char *f = *state;
	struct err e = { 0 };

	need_xattr(f);
	assert_int_equal(setxattr(f, NOTE, "raw", 3, 0), 0);
	assert_null(image_open(f, "qcow2", 0, &e));
	assert_string_equal(note_of(f), "raw");
}

static void expect_bad_note(const char *f, const char *note, const char *words)
{
	struct err e = { 0 };

	assert_int_equal(setxattr(f, NOTE, note, strlen(note), 0), 0);
	assert_null(image_open(f, NULL, 0, &e));
	assert_int_equal(e.exit_code, HV_EXIT_IMAGE);
	if (!strstr(e.msg, words))
		fail_msg("\"%s\" lacks \"%s\"", e.msg, words);
}

static void test_bad_notes(void **state)
{
	const char *f = *state;

	need_xattr(f);
	expect_bad_note(f, "vhd7", "recorded on the file");
	expect_bad_note(f, "a text much longer than the name of any format", "format=raw");
	expect_format(f, "raw", 0, "raw");
	assert_string_equal(note_of(f), "raw");
}

static void test_guard(void **state)
{
	const char *f = *state;
	uint8_t b[8192] = { 0 }, got[4096];
	struct image *im = it_open(f, NULL, 0);

	assert_string_equal(note_of(f), "");
	b[510] = 0x55, b[511] = 0xaa;
	assert_int_equal(it_write(im, 0, b, sizeof(b)), 0);	/* a boot sector is fine */
	header(b, sizeof(b));
	assert_int_equal(it_write(im, 0, b, 512), EIO);
	assert_int_equal(it_write(im, 0, b, sizeof(b)), EIO);
	assert_int_equal(it_read(im, 0, got, sizeof(got)), 0);
	assert_int_equal(got[510], 0x55);			/* nothing was written */
	assert_int_equal(got[0], 0);
	assert_int_equal(it_write(im, 512, b, 512), 0);		/* only where it counts */
	assert_int_equal(it_write(im, 4096, b, 512), 0);
	assert_int_equal(it_op(im, BLOCK_WRITE_ZEROES, 0, 512), 0);
	image_close(im);
	expect_format(f, NULL, 0, "raw");
	im = it_open(f, "raw", 0);				/* named: the user knows */
	assert_int_equal(it_write(im, 0, b, 512), 0);
	image_close(im);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_recorded, plain_file, restore),
		cmocka_unit_test_setup_teardown(test_no_record, plain_file, restore),
		cmocka_unit_test_setup_teardown(test_named_wins, plain_file, restore),
		cmocka_unit_test_setup_teardown(test_failed_open_records_nothing, plain_file,
						restore),
		cmocka_unit_test_setup_teardown(test_bad_notes, plain_file, restore),
		cmocka_unit_test_setup_teardown(test_guard, without_xattr, restore),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
