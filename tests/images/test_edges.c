/* SPDX-License-Identifier: MIT */
/*
 * Images in odd places: on a file system without locks, on a read-only one,
 * cut short or made longer by somebody else while in use.  (Two openers:
 * test_image_open.c.)
 */
#include "../lib/imgtest.h"
#include "../../src/imgtool.h"
#include <errno.h>
#include <fcntl.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>
#include <cmocka.h>

#define SIZE (1u << 20)
#define SKIPPED 77

/* @fn in a process of its own; its result is the exit status. */
static int apart(int (*fn)(const char *path), const char *path)
{
	int status = 0;
	pid_t pid = fork();

	if (pid == 0)
		_exit(fn(path));
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFEXITED(status));
	return WEXITSTATUS(status);
}

/* As NFS without a lock daemon answers. */
static bool forbid_locks(void)
{
	struct sock_filter f[] = {
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_fcntl, 0, 3),
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, args[1])),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, F_OFD_SETLK, 0, 1),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | ENOLCK),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
	};
	struct sock_fprog p = { ARRAY_SIZE(f), f };

	return !prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) &&
	       !prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &p);
}

static int open_without_locks(const char *path)
{
	struct err e = { 0 };
	struct image *a, *b;

	if (!forbid_locks())
		return SKIPPED;
	a = image_open(path, "raw", 0, &e);
	b = image_open(path, "raw", 0, &e);	/* cannot be noticed; the user was warned */
	image_close(b);
	image_close(a);
	return a && b ? 0 : 1;
}

static void test_no_locks(void **state)
{
	const char *path = it_path("nolock.raw");
	static uint8_t data[SIZE];
	int rc;

	it_write_file(path, data, sizeof(data));
	rc = apart(open_without_locks, path);
	if (rc == SKIPPED)
		skip();
	assert_int_equal(rc, 0);
}

static int open_on_readonly(const char *dir)
{
	char path[4096];
	struct err e = { 0 };
	struct image *im;
	uint8_t b[512] = { 7 };
	bool ok;

	if (unshare(CLONE_NEWNS) || mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL) ||
	    mount("tmpfs", dir, "tmpfs", 0, "size=4m"))
		return SKIPPED;
	snprintf(path, sizeof(path), "%s/d.raw", dir);
	it_write_file(path, b, sizeof(b));
	if (mount("tmpfs", dir, "tmpfs", MS_REMOUNT | MS_RDONLY, NULL))
		return SKIPPED;
	im = image_open(path, NULL, 0, &e);
	ok = !im && strstr(e.msg, "attach it read-only");
	im = image_open(path, NULL, BLOCK_RDONLY, &e);
	ok = ok && im && !it_read(im, 0, b, 512) && b[0] == 7;
	image_close(im);
	im = image_open(path, NULL, BLOCK_THROWAWAY, &e);
	b[0] = 9;
	ok = ok && im && !it_write(im, 0, b, 512);
	image_close(im);
	return ok ? 0 : 1;
}

static void test_readonly_file_system(void **state)
{
	char dir[4096];
	int rc;

	snprintf(dir, sizeof(dir), "%s/ro", it_dir());
	assert_int_equal(it_run("mkdir %s", dir), 0);
	rc = apart(open_on_readonly, dir);
	if (rc == SKIPPED)
		skip();		/* mounting needs root */
	assert_int_equal(rc, 0);
}

/* Cut short by somebody else: what is gone reads as zeros, and writes bring it back. */
static void test_shrinking(void **state)
{
	const char *path = it_path("shrink.raw");
	static uint8_t data[SIZE], got[SIZE], zeros[SIZE];
	struct image *im;

	memset(data, 0x5a, sizeof(data));
	it_write_file(path, data, sizeof(data));
	im = it_open(path, "raw", 0);
	assert_int_equal(truncate(path, SIZE / 2), 0);
	assert_int_equal(it_read(im, 0, got, SIZE), 0);
	assert_memory_equal(got, data, SIZE / 2);
	assert_memory_equal(got + SIZE / 2, zeros, SIZE / 2);
	assert_int_equal(image_read_now(im, SIZE / 2, 512, &(struct iovec){ got, 512 }, 1), EAGAIN);
	assert_int_equal(it_write(im, SIZE - 512, data, 512), 0);
	assert_int_equal(it_read(im, SIZE - 512, got, 512), 0);
	assert_memory_equal(got, data, 512);
	image_close(im);
}

/* Made longer by somebody else: the disk keeps its size until it is opened again. */
static void test_growing(void **state)
{
	const char *path = it_path("grow.raw");
	static uint8_t data[SIZE];
	struct image *im;

	it_write_file(path, data, sizeof(data));
	im = it_open(path, "raw", 0);
	assert_int_equal(truncate(path, 2 * SIZE), 0);
	assert_int_equal(im->size, SIZE);
	image_close(im);
	im = it_open(path, "raw", 0);
	assert_int_equal(im->size, 2 * SIZE);
	image_close(im);
}

/* A qcow2 file cut in its tables or data: no crash, nothing from elsewhere, damage is found. */
static void test_shrinking_qcow2(void **state)
{
	const char *path = it_path("cut.qcow2");
	struct image_create c = { .path = path, .size = SIZE };
	struct image_check check = { .repair = false };
	static uint8_t data[SIZE], got[SIZE];
	struct err e = { 0 };
	struct image *im;

	assert_true(image_create(image_format("qcow2", &e), &c, &e));
	image_create_end(&c);
	memset(data, 0x5a, sizeof(data));
	im = it_open(path, "qcow2", 0);
	assert_int_equal(it_write(im, 0, data, SIZE), 0);
	assert_int_equal(it_op(im, BLOCK_FLUSH, 0, 0), 0);
	assert_int_equal(truncate(path, SIZE / 2), 0);
	assert_int_equal(it_read(im, 0, got, SIZE), 0);
	for (unsigned i = 0; i < SIZE; i++)
		assert_true(got[i] == 0x5a || got[i] == 0);
	image_close(im);
	im = image_open(path, "qcow2", BLOCK_RDONLY | IMAGE_LENIENT, &e);
	if (im) {
		im->fmt->tool->check(im, &check, &e);
		assert_true(check.errors + check.leaks > 0);
		image_close(im);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_no_locks), cmocka_unit_test(test_readonly_file_system),
		cmocka_unit_test(test_shrinking), cmocka_unit_test(test_growing),
		cmocka_unit_test(test_shrinking_qcow2),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
