/* SPDX-License-Identifier: MIT */
/*
 * Every format that is written, while the host's calls fail: the same script
 * with the nth preadv(), pwritev(), fdatasync(), fallocate() or ftruncate()
 * that does not do what it should, for every n.  The calls are the C
 * library's, replaced here, so that nothing of hvrun knows of it.
 *
 * No crash, structure never worse than lost space (qemu-img check), nothing
 * lost that a flush acknowledged, each sector old or new; after one clean
 * open nothing is lost any more, and the image takes further writes, which
 * qemu-img reads back.  A transfer that is only short or interrupted is not
 * even seen.  HV_TEST_STEP=1: every n (default: every 31st);
 * HV_TEST_ONLY: one format.
 */
#include "../lib/imgtest.h"

#include "../../src/imgtool.h"
#include "../../src/log.h"

#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>
#include <cmocka.h>

#define DISK (6u << 20)
#define SECTORS (DISK / 512)
#define OPS 30

/* How a call goes wrong; LASTING: all later ones that change the file, too. */
enum mode { FAIL_EIO, FAIL_ENOSPC, LASTING_EIO, LASTING_ENOSPC, TORN_EIO, TORN_ENOSPC, SHORT,
	    INTERRUPTED, MODES };

static struct {
	bool armed, fired, torn;
	unsigned long calls, at;
	enum mode mode;
} plan;

static int plan_error(void)
{
	return plan.mode == FAIL_ENOSPC || plan.mode == LASTING_ENOSPC ||
	       plan.mode == TORN_ENOSPC ? ENOSPC : plan.mode == INTERRUPTED ? EINTR : EIO;
}

/* Is it this call's turn? */
static bool turn(bool changes)
{
	bool lasting = plan.mode == LASTING_EIO || plan.mode == LASTING_ENOSPC;

	if (!plan.armed)
		return false;
	if (++plan.calls == plan.at)
		return plan.fired = true;
	return lasting && changes && plan.calls > plan.at;
}

static int broken(bool changes)
{
	if (!turn(changes) || plan.mode == SHORT)
		return 0;
	errno = changes ? plan_error() : plan.mode == INTERRUPTED ? EINTR : EIO;
	return -1;
}

typedef ssize_t vec_fn(int fd, const struct iovec *v, int n, off_t off);

/* A transfer: whole, refused, or its first half, after which a torn one fails. */
static ssize_t transfer(vec_fn *real, bool write, int fd, const struct iovec *v, int n, off_t off)
{
	struct iovec part[16];
	uint64_t half = iov_total(v, (unsigned)n) / 1024 * 512, got;
	bool torn = plan.mode == TORN_EIO || plan.mode == TORN_ENOSPC;
	unsigned k;

	if (plan.torn) {
		plan.torn = false;
		errno = write ? plan_error() : EIO;
		return -1;
	}
	if (!turn(write))
		return real(fd, v, n, off);
	if (!half || !(torn || plan.mode == SHORT)) {
		if (plan.mode == SHORT)
			return real(fd, v, n, off);
		errno = write || plan.mode == INTERRUPTED ? plan_error() : EIO;
		return -1;
	}
	plan.torn = torn;
	k = iov_slice(v, (unsigned)n, 0, half, part, ARRAY_SIZE(part), &got);
	return real(fd, part, (int)k, off);
}

ssize_t preadv(int fd, const struct iovec *v, int n, off_t off)
{
	static vec_fn *real;

	if (!real)
		real = (vec_fn *)dlsym(RTLD_NEXT, "preadv");
	return transfer(real, false, fd, v, n, off);
}

ssize_t pwritev(int fd, const struct iovec *v, int n, off_t off)
{
	static vec_fn *real;

	if (!real)
		real = (vec_fn *)dlsym(RTLD_NEXT, "pwritev");
	return transfer(real, true, fd, v, n, off);
}

/* No power is lost here, so the disk need not hear of it. */
int fdatasync(int fd)
{
	/* An interrupted sync is a failed one: the manual names no such error. */
	return plan.mode != INTERRUPTED && broken(true) ? -1 : 0;
}

int fallocate(int fd, int mode, off_t off, off_t len)
{
	static int (*real)(int, int, off_t, off_t);

	if (!real)
		real = (int (*)(int, int, off_t, off_t))dlsym(RTLD_NEXT, "fallocate");
	return broken(true) ? -1 : real(fd, mode, off, len);
}

int ftruncate(int fd, off_t len)
{
	static int (*real)(int, off_t);

	if (!real)
		real = (int (*)(int, off_t))dlsym(RTLD_NEXT, "ftruncate");
	return broken(true) ? -1 : real(fd, len);
}

/* What a sector holds, or may hold while a write of it has failed. */
struct shadow {
	uint8_t now[SECTORS], maybe[SECTORS];
};
#define ANY 0xff

static void put_value(struct shadow *s, uint64_t first, uint64_t n, uint8_t v, bool ok)
{
	for (uint64_t i = first; i < first + n; i++) {
		s->maybe[i] = ok ? v : s->maybe[i] == s->now[i] ? v : ANY;
		if (ok)
			s->now[i] = v;
	}
}

static void one_op(struct image *im, struct shadow *s, struct rng *r, unsigned *errors)
{
	static uint8_t buf[DISK];
	uint64_t first = rng_below(r, SECTORS), n = 1 + rng_below(r, 900);
	uint8_t v = (uint8_t)(1 + rng_below(r, 250));
	int err;

	n = MIN(n, SECTORS - first);
	switch (rng_below(r, 9)) {
	case 0:
		err = it_op(im, BLOCK_FLUSH, 0, 0);
		break;
	case 1:
		err = it_op(im, BLOCK_WRITE_ZEROES, first * 512, n * 512);
		put_value(s, first, n, 0, !err);
		break;
	case 2:
		err = it_read(im, first * 512, buf, n * 512);
		break;
	case 3:
		err = it_op(im, BLOCK_DISCARD, first * 512, n * 512);
		put_value(s, first, n, 0, false);
		break;
	default:
		memset(buf, v, n * 512);
		err = it_write(im, first * 512, buf, n * 512);
		put_value(s, first, n, v, !err);
	}
	*errors += err != 0;
}

/* True if a flush after the last operation succeeded: then all of it must be there. */
static bool script(struct image *im, struct shadow *s, uint64_t seed, unsigned *errors)
{
	struct rng r = { seed };

	for (unsigned i = 0; i < OPS; i++)
		one_op(im, s, &r, errors);
	return !it_op(im, BLOCK_FLUSH, 0, 0) || !it_op(im, BLOCK_FLUSH, 0, 0);
}

/* Each sector is what it may be; from here on it is what it was found to be. */
static void settle(const uint8_t *disk, struct shadow *s, bool exact, const char *what)
{
	for (unsigned i = 0; i < SECTORS; i++) {
		const uint8_t *p = disk + i * 512;

		if (exact && s->maybe[i] != ANY && *p != s->now[i] && *p != s->maybe[i])
			fail_msg("%s, call %lu, mode %d: sector %u holds %u, not %u", what,
				 plan.at, (int)plan.mode, i, *p, s->now[i]);
		if (memcmp(p, p + 1, 511))
			fail_msg("%s, call %lu, mode %d: sector %u is a mixture", what, plan.at,
				 (int)plan.mode, i);
		s->now[i] = s->maybe[i] = *p;
	}
}

struct format {
	const char *name, *qemu, *opts;
	unsigned flags;
	bool checks;		/* qemu-img check knows the format */
	unsigned many;		/* so many times more calls than others */
};

static const struct format formats[] = {
	{ "raw", "raw", "", BLOCK_DISCARD_ON, false, 1 },
	{ "qcow2", "qcow2", "-o cluster_size=4096", BLOCK_DISCARD_ON, true, 3 },
	{ "qcow2", "qcow2", "-o cluster_size=512,refcount_bits=64", 0, true, 10 },
	{ "qcow2", "qcow2", "-o cluster_size=65536", 0, true, 1 },
	{ "qcow2", "qcow2", "-o lazy_refcounts=on,extended_l2=on", BLOCK_DISCARD_ON, true, 1 },
	{ "vdi", "vdi", "", BLOCK_DISCARD_ON, true, 1 },
	{ "vhd", "vpc", "-o force_size=on", 0, false, 1 },
	{ "vhdx", "vhdx", "-o block_size=1M", 0, true, 1 },
	{ "vmdk", "vmdk", "", 0, true, 1 },
};

static void check_own(struct image *im, const struct format *f)
{
	struct image_check c = { .repair = false };
	struct err e = { 0 };

	if (!im->fmt->tool->check)
		return;
	if (!im->fmt->tool->check(im, &c, &e))
		fail_msg("%s", e.msg);
	/* Only VDI's count of blocks may be behind or ahead; everybody takes that. */
	if (c.errors > !strcmp(f->name, "vdi"))
		fail_msg("%s %s, call %lu, mode %d: %s", f->name, f->opts, plan.at,
			 (int)plan.mode, c.first);
}

/* @worst: 3 while space may be lost.  A VHDX may then also have a log, which a copy replays. */
static void check_qemu(const char *file, const struct format *f, int worst)
{
	const char *copy = it_path("check.img");
	int rc = 0;

	if (worst && !strcmp(f->name, "vhdx"))
		rc = it_run("cp '%s' '%s' && qemu-img check -f vhdx -r all '%s'", file, copy,
			    copy);
	else if (f->checks)
		rc = it_run("qemu-img check -f %s '%s'", f->qemu, file);

	if (rc && rc != worst && !(rc == 2 && !strcmp(f->name, "vdi")))
		fail_msg("%s %s, call %lu, mode %d: qemu-img check says %d", f->name, f->opts,
			 plan.at, (int)plan.mode, rc);
}

static void write_more(struct image *im, const struct format *f, struct shadow *s,
		       const char *file)
{
	const char *raw = it_path("fault.raw");
	unsigned errors = 0;
	uint8_t *disk;
	size_t len;

	assert_true(script(im, s, plan.at + 43, &errors));
	assert_int_equal(errors, 0);
	check_own(im, f);
	image_close(im);
	check_qemu(file, f, 0);
	assert_int_equal(it_run("qemu-img convert -f %s -O raw '%s' '%s'", f->qemu, file, raw), 0);
	disk = it_read_file(raw, &len);
	assert_true(len >= DISK);
	settle(disk, s, true, "qemu-img convert");
	free(disk);
}

/* One run; false when the script made fewer calls than plan.at. */
static bool one_case(const struct format *f)
{
	const char *file = it_path("fault.img");
	static uint8_t disk[DISK];
	static struct shadow s;
	unsigned errors = 0;
	bool durable = false;
	struct image *im;

	memset(&s, 0, sizeof(s));
	assert_int_equal(it_run("cp '%s' '%s'", it_path("empty.img"), file), 0);
	plan.armed = true;
	im = image_open(file, f->name, f->flags, NULL);
	if (im) {
		durable = script(im, &s, 42, &errors);
		image_close(im);
	}
	plan.armed = plan.torn = false;
	if (plan.mode == SHORT || plan.mode == INTERRUPTED)
		if (!durable || errors)
			fail_msg("%s, call %lu: a %s transfer was seen", f->name, plan.at,
				 plan.mode == SHORT ? "short" : "interrupted");
	check_qemu(file, f, 3);
	im = it_open(file, f->name, f->flags);		/* repairs */
	assert_int_equal(it_read(im, 0, disk, DISK), 0);
	settle(disk, &s, durable, f->name);
	check_own(im, f);
	write_more(im, f, &s, file);
	return plan.fired;
}

static unsigned long all_cases(const struct format *f, unsigned step)
{
	const char *empty = it_path("empty.img");
	unsigned long cases = 0;

	step *= f->many;
	it_run("rm -f '%s'", empty);
	assert_int_equal(it_run("qemu-img create -f %s %s '%s' %u", f->qemu, f->opts, empty,
				DISK), 0);
	for (enum mode m = 0; m < MODES; m++)
		for (unsigned long n = 1 + m * 3 % step;; n += step, cases++) {
			memset(&plan, 0, sizeof(plan));
			plan.at = n;
			plan.mode = m;
			if (!one_case(f))
				break;
		}
	print_message("%s %s: %lu faults\n", f->name, f->opts, cases);
	assert_true(cases > 7);
	return cases;
}

static void test_faults(void **state)
{
	const char *env = getenv("HV_TEST_STEP"), *only = getenv("HV_TEST_ONLY");
	unsigned step = env && *env ? (unsigned)strtoul(env, NULL, 0) : 31;
	unsigned long cases = 0;

	it_skip_without("qemu-img");
	log_open("/dev/null");
	for (unsigned i = 0; i < ARRAY_SIZE(formats); i++)
		if (!only || !strcmp(only, formats[i].name))
			cases += all_cases(&formats[i], step);
	print_message("%lu faults\n", cases);
}

int main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(test_faults) };

	return cmocka_run_group_tests(tests, NULL, NULL);
}
