/* SPDX-License-Identifier: MIT */
/*
 * Opening: what is refused, in which words and with which exit code; locks
 * against other processes; confinement of backing files; raw images and
 * throwaway layers.
 */
#include "../lib/imgtest.h"

#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>
#include <cmocka.h>

static void expect_refused(const char *path, const char *fmt, unsigned flags, int code,
			   const char *words)
{
	struct err e = { 0 };
	struct image *im = image_open(path, fmt, flags, &e);

	if (im)
		fail_msg("%s was opened", path);
	if (e.exit_code != code || !strstr(e.msg, words))
		fail_msg("code %d, \"%s\" lacks \"%s\"", e.exit_code, e.msg, words);
	assert_null(strchr(e.msg, '\n'));
}

static void test_host_refusals(void **state)
{
	const char *f = it_path("empty.img");

	expect_refused(it_path("missing.img"), NULL, 0, HV_EXIT_IMAGE, "no such file");
	assert_int_not_equal(access(it_path("missing.img"), F_OK), 0);
	expect_refused(it_dir(), NULL, BLOCK_RDONLY, HV_EXIT_IMAGE, "directory");
	expect_refused(it_dir(), NULL, 0, HV_EXIT_IMAGE, "directory");
	it_write_file(f, "", 0);
	expect_refused(f, NULL, 0, HV_EXIT_IMAGE, "empty (0 bytes)");
	expect_refused("/dev/null", NULL, 0, HV_EXIT_IMAGE, "neither a file nor a block device");
	it_write_file(f, "x", 1);
	expect_refused(f, "vhd7", 0, HV_EXIT_IMAGE, "unknown disk format");
	f = it_path("fifo");
	assert_int_equal(mkfifo(f, 0600), 0);
	expect_refused(f, NULL, BLOCK_RDONLY, HV_EXIT_IMAGE, "neither");
	if (geteuid() != 0) {
		f = it_path("closed.img");
		it_write_file(f, "x", 1);
		chmod(f, 0);
		expect_refused(f, NULL, 0, HV_EXIT_IMAGE, "no permission");
	}
}

static void test_known_foreign_formats(void **state)
{
	const char *f = it_path("foreign.img");
	uint8_t b[4096] = { 0 };

	memcpy(b, "COWD", 4);
	it_write_file(f, b, sizeof(b));
	expect_refused(f, NULL, 0, HV_EXIT_IMAGE, "VMDK");
	memcpy(b, "QFI\xfb\0\0\0\1", 8);
	it_write_file(f, b, sizeof(b));
	expect_refused(f, NULL, 0, HV_EXIT_IMAGE, "qcow (version 1)");
	/* Named as raw nothing is looked at. */
	image_close(it_open(f, "raw", 0));
}

static void test_absurd_raw_size(void **state)
{
	const char *f = it_path("huge.img");
	int fd = open(f, O_RDWR | O_CREAT, 0600);

	if (ftruncate(fd, (off_t)1 << 51) == 0)
		expect_refused(f, "raw", 0, HV_EXIT_IMAGE, "1 PiB");
	close(fd);
	unlink(f);
}

/* A qcow2 header with one field replaced. */
static void expect_header(unsigned at, unsigned len, uint64_t v, unsigned flags,
			  const char *words)
{
	const char *f = it_path("h.qcow2");
	uint8_t *b;
	size_t n;

	assert_int_equal(it_run("qemu-img create -f qcow2 '%s' 1M", f), 0);
	b = it_read_file(f, &n);
	for (unsigned i = 0; i < len; i++)
		b[at + i] = (uint8_t)(v >> (8 * (len - 1 - i)));
	it_write_file(f, b, n);
	expect_refused(f, NULL, flags, HV_EXIT_IMAGE, words);
	free(b);
	b = it_read_file(f, &n);
	for (unsigned i = 0; i < len; i++)	/* and nothing was changed */
		assert_int_equal(b[at + i], (uint8_t)(v >> (8 * (len - 1 - i))));
	free(b);
}

static void test_qcow2_headers(void **state)
{
	it_skip_without("qemu-img");
	expect_header(4, 4, 9, 0, "version 9");
	expect_header(20, 4, 8, 0, "cluster size");
	expect_header(20, 4, 22, 0, "cluster size");
	expect_header(24, 8, 1ull << 60, 0, "1 PiB");
	expect_header(24, 8, 0, 0, "size 0");
	expect_header(24, 8, 1ull << 45, 0, "L1 table is too small");
	expect_header(32, 4, 2, 0, "LUKS");
	expect_header(32, 4, 1, 0, "encryption");
	expect_header(36, 4, 0xffffffff, 0, "L1 table of");
	expect_header(40, 8, 0x30200, 0, "misaligned");
	expect_header(40, 8, 0x10000, 0, "overlaps");
	expect_header(40, 8, 0x40000000, 0, "past the end");
	expect_header(48, 8, 0x7fffffffffff0000, 0, "past the end");
	expect_header(56, 4, 0, 0, "refcount table");
	expect_header(56, 4, 0xffffffff, 0, "refcount table");
	expect_header(60, 4, 70000, 0, "70000 snapshots");
	expect_header(72, 8, 2, 0, "marked as corrupt");
	expect_header(72, 8, 4, 0, "external data file");
	expect_header(72, 8, 1ull << 40, 0, "unknown feature (incompatible bit 40)");
	expect_header(96, 4, 7, 0, "refcount width");
	expect_header(100, 4, 0xfffffff8, 0, "header length");
}

static void test_qcow2_truncated(void **state)
{
	const char *f = it_path("t.qcow2");
	uint8_t *b;
	size_t n;

	it_skip_without("qemu-io");
	assert_int_equal(
		it_run("qemu-img create -f qcow2 '%s' 8M && qemu-io -c 'write 0 4M' '%s'", f, f),
		0);
	b = it_read_file(f, &n);
	it_write_file(f, b, n - (1u << 20));
	expect_refused(f, NULL, 0, HV_EXIT_IMAGE, "truncated");
	it_write_file(f, b, 0x30000);
	expect_refused(f, NULL, BLOCK_RDONLY, HV_EXIT_IMAGE, "past the end");
	it_write_file(f, b, 80);
	expect_refused(f, NULL, BLOCK_RDONLY, HV_EXIT_IMAGE, "truncated");
	free(b);
}

static void test_named_feature(void **state)
{
	it_skip_without("qemu-img");
	assert_int_equal(it_run("cd '%s' && qemu-img create -f qcow2 -o data_file=x.raw x.qcow2 1M",
				it_dir()), 0);
	expect_refused(it_path("x.qcow2"), NULL, 0, HV_EXIT_IMAGE, "external data file");
}

static void make_overlay(const char *name, const char *backing)
{
	assert_int_equal(it_run("cd '%s/in' && qemu-img create -u -f qcow2 -b '%s' -F raw '%s' 1M",
				it_dir(), backing, name), 0);
}

static void test_confinement(void **state)
{
	static const struct { const char *backing, *words; } cases[] = {
		{ "/etc/passwd", "not in the same directory" },
		{ "../out.raw", "not in the same directory" },
		{ "sub/../../out.raw", "not in the same directory" },
		{ "link-out", "not in the same directory" },
		{ "nbd://127.0.0.1/x", "an address" },
		{ "file:base.raw", "an address" },
		{ "/dev/zero", "not in the same directory" },
		{ "/proc/self/mem", "not in the same directory" },
		{ "sub", "directory" },
		{ "nowhere.raw", "no such file" },
	};
	const char *top;

	it_skip_without("qemu-img");
	assert_int_equal(it_run("cd '%s' && mkdir -p in/sub && truncate -s 1M out.raw in/base.raw "
				"in/sub/deep.raw && ln -sf ../out.raw in/link-out && "
				"ln -sf base.raw in/link-in", it_dir()), 0);
	top = it_path("in/top.qcow2");
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		make_overlay("top.qcow2", cases[i].backing);
		expect_refused(top, NULL, 0, HV_EXIT_IMAGE, cases[i].words);
	}
	make_overlay("top.qcow2", "sub/deep.raw");
	image_close(it_open(top, NULL, 0));
	make_overlay("top.qcow2", "link-in");
	image_close(it_open(top, NULL, 0));
	make_overlay("top.qcow2", it_path("in/base.raw"));
	image_close(it_open(top, NULL, 0));
}

static void test_chain_limits(void **state)
{
	it_skip_without("qemu-img");
	assert_int_equal(
		it_run("cd '%s' && qemu-img create -u -f qcow2 -b l2.qcow2 -F qcow2 l1.qcow2 1M "
		       "&& qemu-img create -u -f qcow2 -b l1.qcow2 -F qcow2 l2.qcow2 1M",
		       it_dir()),
		0);
	expect_refused(it_path("l1.qcow2"), NULL, BLOCK_RDONLY, HV_EXIT_IMAGE, "a loop");
	assert_int_equal(
		it_run("cd '%s' && truncate -s 1M d0.qcow2 && F=raw; for i in 1 2 3 4 5 6 7 8 9;"
		       " do qemu-img create -u -f qcow2 -b d$((i-1)).qcow2 -F $F d$i.qcow2 1M;"
		       " F=qcow2; done",
		       it_dir()),
		0);
	image_close(it_open(it_path("d7.qcow2"), NULL, 0));
	expect_refused(it_path("d8.qcow2"), NULL, 0, HV_EXIT_IMAGE, "more than 8");
}

/* A raw base whose guest wrote a qcow2 header that names another file. */
static void test_planted_header(void **state)
{
	it_skip_without("qemu-img");
	assert_int_equal(
		it_run("cd '%s' && truncate -s 1M secret.raw && qemu-img create -f qcow2 -b "
		       "secret.raw -F raw planted.raw 1M && qemu-img create -f qcow2 -b "
		       "planted.raw -F raw p.qcow2 1M",
		       it_dir()),
		0);
	image_close(it_open(it_path("p.qcow2"), NULL, 0));
	/* Without the recorded format: strip the extension by rewriting its type. */
	size_t n;
	uint8_t *b = it_read_file(it_path("p.qcow2"), &n);

	assert_int_equal(ld_be32(b + ld_be32(b + 100)), 0xe2792aca);
	st_be32(b + ld_be32(b + 100), 0x12345678);
	it_write_file(it_path("p.qcow2"), b, n);
	free(b);
	expect_refused(it_path("p.qcow2"), NULL, 0, HV_EXIT_IMAGE, "does not record the format");
}

static pid_t start_holder(const char *cmd)
{
	int p[2];
	pid_t pid;
	char c;

	assert_int_equal(pipe(p), 0);
	pid = fork();
	if (pid == 0) {
		dup2(p[1], 1);
		dup2(open("/dev/null", O_WRONLY), 2);
		execl("/bin/sh", "sh", "-c", cmd, (char *)NULL);
		_exit(127);
	}
	close(p[1]);
	assert_int_equal(read(p[0], &c, 1), 1);	/* it has opened the image */
	close(p[0]);
	return pid;
}

static void stop(pid_t pid)
{
	kill(pid, SIGKILL);
	waitpid(pid, NULL, 0);
}

static void expect_locked(const char *path, unsigned flags, pid_t holder)
{
	char pid[32];

	snprintf(pid, sizeof(pid), "(pid %d)", (int)holder);
	expect_refused(path, NULL, flags, HV_EXIT_LOCKED, pid);
}

static void test_lock_qemu(void **state)
{
	static const char *const formats[] = { "qcow2", "raw" };
	const char *f = it_path("lock.img");
	char cmd[512];

	it_skip_without("qemu-io");
	for (size_t i = 0; i < ARRAY_SIZE(formats); i++) {
		assert_int_equal(it_run("qemu-img create -f %s '%s' 4M", formats[i], f), 0);
		for (unsigned ro = 0; ro < 2; ro++) {
			pid_t pid;

			snprintf(cmd, sizeof(cmd),
				 "exec stdbuf -o0 qemu-io %s -f %s -c 'read 0 512' "
				 "-c 'sleep 60000' '%s'",
				 ro ? "-r" : "", formats[i], f);
			pid = start_holder(cmd);
			/* "qemu-io -r -f raw" itself says that others may write */
			if (!ro || i == 0)
				expect_locked(f, 0, pid);
			if (ro)
				image_close(it_open(f, NULL, BLOCK_RDONLY));
			else
				expect_locked(f, BLOCK_RDONLY, pid);
			stop(pid);
			image_close(it_open(f, NULL, 0));
		}
	}
}

static void test_lock_against_qemu(void **state)
{
	const char *f = it_path("lock.qcow2");
	struct image *im;

	it_skip_without("qemu-io");
	assert_int_equal(it_run("qemu-img create -f qcow2 '%s' 4M", f), 0);
	im = it_open(f, NULL, 0);
	assert_int_not_equal(it_run("qemu-io -c 'read 0 512' '%s'", f), 0);
	assert_int_not_equal(it_run("qemu-io -r -c 'read 0 512' '%s'", f), 0);
	assert_int_not_equal(it_run("qemu-img check '%s'", f), 0);
	assert_int_not_equal(it_run("qemu-img resize '%s' 8M", f), 0);
	image_close(im);
	assert_int_equal(it_run("qemu-img check '%s'", f), 0);
	im = it_open(f, NULL, BLOCK_RDONLY);
	assert_int_equal(it_run("qemu-io -r -c 'read 0 512' '%s'", f), 0);
	assert_int_not_equal(it_run("qemu-io -c 'read 0 512' '%s'", f), 0);
	image_close(im);
}

static pid_t hvrun_holder(const char *path, unsigned flags)
{
	int p[2];
	pid_t pid;
	char c = 0;

	assert_int_equal(pipe(p), 0);
	pid = fork();
	if (pid == 0) {
		struct image *im = image_open(path, NULL, flags, NULL);

		c = im ? 'y' : 'n';
		if (write(p[1], &c, 1) != 1)
			_exit(1);
		for (;;)
			pause();
	}
	assert_int_equal(read(p[0], &c, 1), 1);
	assert_int_equal(c, 'y');
	close(p[0]);
	close(p[1]);
	return pid;
}

static void test_lock_hvrun(void **state)
{
	const char *f = it_path("two.raw");
	uint8_t b[4096] = { 1 };
	pid_t pid;

	it_write_file(f, b, sizeof(b));
	pid = hvrun_holder(f, 0);
	expect_locked(f, 0, pid);
	expect_locked(f, BLOCK_RDONLY, pid);
	expect_locked(f, BLOCK_THROWAWAY, pid);
	assert_int_equal(truncate(f, 1 << 20), 0);	/* growth does not loosen it */
	expect_locked(f, 0, pid);
	stop(pid);
	pid = hvrun_holder(f, BLOCK_RDONLY);		/* none left after SIGKILL */
	image_close(it_open(f, NULL, BLOCK_RDONLY));
	image_close(it_open(f, NULL, BLOCK_THROWAWAY));
	expect_locked(f, 0, pid);
	stop(pid);
	image_close(it_open(f, NULL, 0));
}

static void test_given_twice(void **state)
{
	const char *f = it_path("self.raw");
	struct image *im;

	it_write_file(f, "0123456789", 10);
	im = it_open(f, "raw", 0);
	expect_refused(f, "raw", 0, HV_EXIT_LOCKED, "given twice");
	image_close(im);
}

static void test_backing_is_locked(void **state)
{
	struct image *im;

	it_skip_without("qemu-img");
	assert_int_equal(
		it_run("cd '%s' && truncate -s 1M lb.raw && qemu-img create -f qcow2 -b lb.raw "
		       "-F raw lt.qcow2",
		       it_dir()),
		0);
	im = it_open(it_path("lt.qcow2"), NULL, 0);
	expect_refused(it_path("lb.raw"), "raw", 0, HV_EXIT_LOCKED, "given twice");
	image_close(it_open(it_path("lb.raw"), "raw", BLOCK_RDONLY));
	image_close(im);
}

static void test_raw(void **state)
{
	const char *f = it_path("odd.raw");
	uint8_t b[4096], got[4096];
	struct image *im;

	memset(b, 0x5a, sizeof(b));
	it_write_file(f, b, 1000);
	expect_refused(f, NULL, BLOCK_DISCARD_ON, HV_EXIT_IMAGE, "hardly a raw disk");
	image_close(it_open(f, NULL, BLOCK_RDONLY));
	im = it_open(f, "raw", BLOCK_DISCARD_ON);
	assert_int_equal(im->size, 1024);	/* rounded up, zeros at the end */
	assert_int_equal(it_read(im, 0, got, 1024), 0);
	assert_memory_equal(got, b, 1000);
	for (unsigned i = 1000; i < 1024; i++)
		assert_int_equal(got[i], 0);
	image_close(im);
	unlink(f);
	b[510] = 0x55;
	b[511] = 0xaa;
	it_write_file(f, b, 1000);
	image_close(it_open(f, NULL, 0));	/* what boots is a disk */
	it_write_file(f, b, sizeof(b));
	im = it_open(f, NULL, BLOCK_DISCARD_ON);
	assert_string_equal(im->fmt->name, "raw");
	assert_int_equal(it_op(im, BLOCK_WRITE_ZEROES, 512, 1024), 0);
	memset(b + 512, 0, 1024);
	assert_int_equal(it_read(im, 0, got, sizeof(got)), 0);
	assert_memory_equal(got, b, sizeof(b));
	assert_int_equal(it_op(im, BLOCK_DISCARD, 0, 4096), 0);
	assert_int_equal(it_op(im, BLOCK_FLUSH, 0, 0), 0);
	image_close(im);
}

/* Random operations on a throwaway layer; the file below does not change by a byte. */
static void test_throwaway(void **state)
{
	enum { N = 1 << 20 };
	const char *f = it_path("keep.raw");
	uint8_t *m = malloc(N), *orig = malloc(N), *got = malloc(N), *after;
	struct rng r = { 3 };
	struct image *im;
	size_t n;

	for (unsigned i = 0; i < N; i++)
		m[i] = (uint8_t)rng_next(&r);
	memcpy(orig, m, N);
	it_write_file(f, m, N);
	im = it_open(f, NULL, BLOCK_THROWAWAY);
	for (unsigned i = 0; i < 500; i++) {
		uint64_t off = rng_below(&r, N / 512) * 512, len = 512 * (1 + rng_below(&r, 40));

		len = off + len > N ? N - off : len;
		if (i % 4 == 3) {
			memset(m + off, 0, len);
			assert_int_equal(it_op(im, i % 8 == 3 ? BLOCK_DISCARD :
					       BLOCK_WRITE_ZEROES, off, len), 0);
		} else {
			memset(m + off, (int)i, len);
			assert_int_equal(it_write(im, off, m + off, len), 0);
		}
	}
	assert_int_equal(it_op(im, BLOCK_FLUSH, 0, 0), 0);
	assert_int_equal(it_read(im, 0, got, N), 0);
	assert_memory_equal(got, m, N);
	image_close(im);
	after = it_read_file(f, &n);
	assert_int_equal(n, N);
	assert_memory_equal(after, orig, N);
	free(after);
	free(m);
	free(orig);
	free(got);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_host_refusals),
		cmocka_unit_test(test_known_foreign_formats),
		cmocka_unit_test(test_absurd_raw_size),
		cmocka_unit_test(test_qcow2_headers),
		cmocka_unit_test(test_qcow2_truncated),
		cmocka_unit_test(test_named_feature),
		cmocka_unit_test(test_confinement),
		cmocka_unit_test(test_chain_limits),
		cmocka_unit_test(test_planted_header),
		cmocka_unit_test(test_lock_qemu),
		cmocka_unit_test(test_lock_against_qemu),
		cmocka_unit_test(test_lock_hvrun),
		cmocka_unit_test(test_given_twice),
		cmocka_unit_test(test_backing_is_locked),
		cmocka_unit_test(test_raw),
		cmocka_unit_test(test_throwaway),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
