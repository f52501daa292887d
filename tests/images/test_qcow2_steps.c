/* SPDX-License-Identifier: MIT */
/*
 * Every change of a whole qcow2 image (snapshots, sizes, backing file,
 * emptying, repair), ended before each of its writes in turn: by the death of
 * the process, by a disk that is full from there on, and by one that is full
 * for one write.  Afterwards the image is sound, but for leaks that the next
 * open gives back, and holds what it held before or what it was to hold: the
 * disk and every snapshot.  HV_TEST_STEP=1: really before each, all shapes.
 */
#include "../lib/imgtest.h"
#include "../../src/imgtool.h"

#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>
#include <cmocka.h>

#define DISK (1u << 20)
#define SNAPS 3
#define REACHED 77

static const char *const shapes[] = {
	"cluster_size=4096", "cluster_size=16k,extended_l2=on", "cluster_size=4096,compat=v2",
	"cluster_size=4096,refcount_bits=8", "cluster_size=512,refcount_bits=64",
};

static const char *const snap_names[SNAPS] = { "one", "two", "three" };

/* What can be seen of an image. */
struct view {
	uint64_t size, snap_size[SNAPS];
	bool snap[SNAPS];
	uint8_t *data, *snap_data[SNAPS];
};

static void forget(struct view *v)
{
	free(v->data);
	for (unsigned i = 0; i < SNAPS; i++)
		free(v->snap_data[i]);
	memset(v, 0, sizeof(*v));
}

static uint8_t *content(struct image *im)
{
	uint8_t *p = malloc(im->size);

	assert_non_null(p);
	assert_int_equal(it_read(im, 0, p, im->size), 0);
	return p;
}

static void look(const char *path, struct view *v)
{
	struct image *im = it_open(path, "qcow2", BLOCK_RDONLY);

	memset(v, 0, sizeof(*v));
	v->size = im->size;
	v->data = content(im);
	image_close(im);
	for (unsigned i = 0; i < SNAPS; i++) {
		im = it_open(path, "qcow2", BLOCK_RDONLY | IMAGE_LENIENT);
		v->snap[i] = im->fmt->tool->snapshot(im, SNAP_VIEW, snap_names[i], NULL);
		if (v->snap[i]) {
			v->snap_size[i] = im->size;
			v->snap_data[i] = content(im);
		}
		image_close(im);
	}
}

static bool same(uint64_t n, const uint8_t *x, uint64_t m, const uint8_t *y)
{
	return n == m && !memcmp(x, y, n);
}

static bool either(const struct view *is, const struct view *a, const struct view *b)
{
	if (!same(is->size, is->data, a->size, a->data) &&
	    !same(is->size, is->data, b->size, b->data))
		return false;
	for (unsigned i = 0; i < SNAPS; i++) {
		bool as_a = is->snap[i] == a->snap[i] &&
			(!is->snap[i] || same(is->snap_size[i], is->snap_data[i],
					      a->snap_size[i], a->snap_data[i]));
		bool as_b = is->snap[i] == b->snap[i] &&
			(!is->snap[i] || same(is->snap_size[i], is->snap_data[i],
					      b->snap_size[i], b->snap_data[i]));

		if (!as_a && !as_b)
			return false;
	}
	return true;
}

/* ---- the changes --------------------------------------------------------- */

static bool snap_op(struct image *im, enum image_snap_op op, const char *name)
{
	return im->fmt->tool->snapshot(im, op, name, NULL);
}

static bool take(struct image *im)
{
	return snap_op(im, SNAP_CREATE, "three");
}

static bool apply(struct image *im)
{
	return snap_op(im, SNAP_APPLY, "one");
}

static bool delete(struct image *im)
{
	return snap_op(im, SNAP_DELETE, "one");
}

static bool grow(struct image *im)
{
	return im->fmt->tool->resize(im, 40u << 20, NULL);
}

static bool grow_a_little(struct image *im)
{
	return im->fmt->tool->resize(im, DISK + 1024, NULL);
}

static bool shrink(struct image *im)
{
	return im->fmt->tool->resize(im, DISK / 2 + 512, NULL);
}

static bool empty(struct image *im)
{
	return im->fmt->tool->make_empty(im, NULL);
}

static bool rename_backing(struct image *im)
{
	return im->fmt->tool->set_backing(im, "base.raw", "raw", NULL);
}

static bool throw_away(struct image *im)
{
	return !it_op(im, BLOCK_DISCARD, 0, im->size) && !it_op(im, BLOCK_FLUSH, 0, 0);
}

static const struct change {
	const char *name;
	bool (*run)(struct image *im);
	bool torn;	/* content in between is allowed: discards go piece by piece */
} changes[] = {
	{ "take", take, false },
	{ "apply", apply, false },
	{ "delete", delete, false },
	{ "grow", grow, false },
	{ "grow a little", grow_a_little, false },
	{ "shrink", shrink, true },
	{ "empty", empty, false },
	{ "backing", rename_backing, false },
	{ "discard", throw_away, true },
};

/* ---- images to change ----------------------------------------------------- */

static void scribble(struct image *im, struct rng *r, unsigned n)
{
	uint8_t b[8192];

	while (n--) {
		uint64_t at = rng_below(r, (im->size - sizeof(b)) / 512) * 512;

		for (unsigned i = 0; i < sizeof(b); i++)
			b[i] = (uint8_t)(rng_next(r) >> 11);
		assert_int_equal(it_write(im, at, b, sizeof(b)), 0);
	}
}

static void pack_some(struct image *im, struct rng *r)
{
	const struct image_tool *t = im->fmt->tool;
	uint32_t unit = t->pack_unit(im), len;
	uint8_t *in = malloc(unit), *out = malloc(unit);

	for (unsigned i = 0; i < 10; i++) {
		memset(in, (int)rng_below(r, 250) + 1, unit);
		assert_int_equal(t->pack(im, in, out, &len), 0);
		assert_int_equal(t->write_packed(im, rng_below(r, DISK / unit) * unit, out, len),
				 0);
	}
	free(in);
	free(out);
}

static void make(const char *path, const char *shape)
{
	struct rng r = { 5 };
	struct image *im;

	unlink(path);
	assert_int_equal(it_run("qemu-img create -f qcow2 -o %s %s 1M", shape, path), 0);
	im = it_open(path, "qcow2", BLOCK_DISCARD_ON);
	im->file.no_sync = true;
	scribble(im, &r, 20);
	pack_some(im, &r);
	assert_true(snap_op(im, SNAP_CREATE, "one"));
	scribble(im, &r, 10);
	assert_true(snap_op(im, SNAP_CREATE, "two"));
	scribble(im, &r, 5);
	pack_some(im, &r);
	image_close(im);
}

/* ---- ends ------------------------------------------------------------------ */

enum end { DIES, STAYS_FULL, FULL_ONCE };

static unsigned fail_at, calls, stride;	/* stride: every nth write only */
static enum end how;

static int fault(struct hostfile *f, enum hf_op op, uint64_t off, uint64_t len)
{
	if (op == HF_READ || op == HF_XATTR)
		return 0;
	calls++;
	if (how == DIES && calls == fail_at)
		_exit(REACHED);
	if (op == HF_SYNC || op == HF_PUNCH)
		return 0;
	return how != DIES && (how == FULL_ONCE ? calls == fail_at : calls >= fail_at) ? ENOSPC : 0;
}

/* In a process of its own; true: the fault was reached. */
static bool attempt(const char *path, const struct change *c)
{
	int st = 0;
	pid_t pid = fork();

	if (pid == 0) {
		struct image *im = image_open(path, "qcow2", BLOCK_DISCARD_ON, NULL);

		if (!im)
			_exit(2);
		if (!freopen("/dev/null", "w", stderr))
			_exit(3);
		im->file.no_sync = true;
		hostfile_fault = fault;
		c->run(im);
		image_close(im);
		_exit(calls >= fail_at ? REACHED : 0);
	}
	assert_int_equal(waitpid(pid, &st, 0), pid);
	assert_true(WIFEXITED(st) && (WEXITSTATUS(st) == 0 || WEXITSTATUS(st) == REACHED));
	return WEXITSTATUS(st) == REACHED;
}

/* As qemu-img check says, but for missing marks ("only mine"), which cost a copy each. */
static int check(const char *path)
{
	int rc = it_run("qemu-img check -q -f qcow2 %s", path);

	return rc == 2 && it_run("qemu-img check -f qcow2 %s 2>&1 | grep ERROR | "
				 "grep -qv 'ERROR OFLAG_COPIED'", path) ? 3 : rc;
}

static void judge(const char *path, const struct change *c, const struct view *a,
		  const struct view *b)
{
	int rc = check(path);
	struct view is, again;
	struct image *im;

	if (rc != 0 && rc != 3)
		fail_msg("%s, %s, end %d at %u: qemu-img check says %d", path, c->name, how,
			 fail_at, rc);
	look(path, &is);
	if (!c->torn && !either(&is, a, b))
		fail_msg("%s, %s, end %d at %u: other content", path, c->name, how, fail_at);
	image_close(it_open(path, "qcow2", BLOCK_DISCARD_ON));	/* repairs */
	rc = it_run("qemu-img check -q -f qcow2 %s", path);
	if (rc)
		fail_msg("%s, %s, end %d at %u: after opening it qemu-img check says %d", path,
			 c->name, how, fail_at, rc);
	look(path, &again);
	if (!either(&again, &is, &is))
		fail_msg("%s, %s, end %d at %u: content changed by opening", path, c->name, how,
			 fail_at);
	/* It goes on working: everything may be written, snapshots stay. */
	im = it_open(path, "qcow2", BLOCK_DISCARD_ON);
	im->file.no_sync = true;
	memset(again.data, 0x6b, again.size);
	assert_int_equal(it_write(im, 0, again.data, again.size), 0);
	image_close(im);
	forget(&is);
	look(path, &is);
	if (!either(&is, &again, &again) || it_run("qemu-img check -q -f qcow2 %s", path))
		fail_msg("%s, %s, end %d at %u: damage after writing", path, c->name, how, fail_at);
	forget(&is);
	forget(&again);
}

static unsigned all_steps(const char *base, const char *path, const struct change *c)
{
	struct view a, b;
	bool reached = true;
	unsigned steps = 0;

	look(base, &a);
	how = DIES;
	fail_at = UINT32_MAX;
	assert_int_equal(it_run("cp %s %s", base, path), 0);
	attempt(path, c);
	look(path, &b);
	assert_int_equal(it_run("qemu-img check -q -f qcow2 %s", path), 0);
	for (how = DIES; how <= FULL_ONCE; how++) {
		reached = true;
		for (fail_at = 1 + (unsigned)how % stride; reached && fail_at < 3000;
		     fail_at += stride, steps++) {
			assert_int_equal(it_run("cp %s %s", base, path), 0);
			reached = attempt(path, c);
			judge(path, c, &a, &b);
		}
	}
	forget(&a);
	forget(&b);
	return steps;
}

static void test_steps(void **state)
{
	const char *env = getenv("HV_TEST_STEP");
	unsigned steps = 0;

	stride = env ? (unsigned)MAX(atoi(env), 1) : 6;
	it_skip_without("qemu-img");
	assert_int_equal(it_run("truncate -s 1M %s", it_path("base.raw")), 0);
	for (unsigned s = 0; s < (env ? ARRAY_SIZE(shapes) : 2u); s++) {
		const char *base = it_path("before.qcow2"), *path = it_path("work.qcow2");

		make(base, shapes[s]);
		for (unsigned i = 0; i < ARRAY_SIZE(changes); i++) {
			unsigned n = all_steps(base, path, &changes[i]);

			printf("%s: %s: %u ends\n", shapes[s], changes[i].name, n);
			fflush(stdout);
			steps += n;
		}
	}
	printf("%u ends in all\n", steps);
	assert_true(steps > 100);
}

int main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(test_steps) };

	return cmocka_run_group_tests(tests, NULL, NULL);
}
