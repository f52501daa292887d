/* SPDX-License-Identifier: MIT */
/*
 * What hvrun makes and changes as a whole: images created with every option,
 * random sequences of writes, compressed writes, snapshots (take, apply,
 * delete) and size changes against a model, damaged images repaired; qemu-img
 * check and compare judge.  HV_TEST_ROUNDS and HV_TEST_SEED widen the search.
 */
#include "../lib/imgtest.h"
#include "../../src/imgtool.h"
#include "../../src/log.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>
#include <cmocka.h>

#define DEFAULT_ROUNDS 42
#define MAX_SIZE (8u << 20)
#define SNAPS 3

static const char *const shapes[] = {
	"cluster_size=512",
	"cluster_size=4096",
	"cluster_size=65536",
	"cluster_size=2M",
	"cluster_size=4096,compat=v2",
	"cluster_size=512,compat=v2",
	"cluster_size=512,refcount_bits=64",
	"cluster_size=4096,refcount_bits=2",
	"cluster_size=4096,refcount_bits=4",
	"cluster_size=16k,extended_l2=on",
	"cluster_size=64k,extended_l2=on,compression_type=zstd",
	"cluster_size=4096,compression_type=zstd",
	"cluster_size=8192,refcount_bits=1",
	"cluster_size=1024,lazy_refcounts=on,refcount_bits=32",
};

static bool make(const char *path, char *opts, uint64_t size, struct err *e)
{
	struct image_create c = { .path = path, .size = size };
	char *save = NULL;
	bool ok;

	for (char *p = strtok_r(opts, ",", &save); p; p = strtok_r(NULL, ",", &save)) {
		char *eq = strchr(p, '=');

		*eq = '\0';
		c.opt[c.nopt++] = (struct image_opt){ p, eq + 1 };
	}
	unlink(path);
	ok = image_create(image_format("qcow2", NULL), &c, e);
	image_create_end(&c);
	return ok;
}

static void must_make(const char *path, const char *opts, uint64_t size)
{
	char copy[256];
	struct err e = { 0 };

	snprintf(copy, sizeof(copy), "%s", opts);
	if (!make(path, copy, size, &e))
		fail_msg("%s: %s", opts, e.msg);
}

struct model {
	uint8_t *data;			/* MAX_SIZE */
	uint64_t size;
	struct { bool used; uint8_t *data; uint64_t size; } snap[SNAPS];
	struct image *im;
	struct rng *r;
	const char *path;
	bool snapshots;
	uint64_t seed;
};

static void fill(struct rng *r, uint8_t *p, uint64_t n)
{
	uint64_t v = rng_next(r);

	for (uint64_t i = 0; i < n; i++)
		p[i] = (uint8_t)(v >> (i % 8 * 8)) ^ (uint8_t)(i >> 6);
}

static void do_write(struct model *m)
{
	uint64_t at = rng_below(m->r, m->size / 512) * 512, n = 512 * (1 + rng_below(m->r, 400));

	n = MIN(n, m->size - at);
	fill(m->r, m->data + at, n);
	assert_int_equal(it_write(m->im, at, m->data + at, n), 0);
}

static void do_packed(struct model *m)
{
	const struct image_tool *t = m->im->fmt->tool;
	uint32_t unit = t->pack_unit(m->im), len;
	uint64_t n = (m->size + unit - 1) / unit, at = rng_below(m->r, n);
	uint8_t *in = calloc(1, unit), *out = malloc(unit);

	for (uint64_t i = 0; i < 1 + rng_below(m->r, 6) && at < n; i++, at++) {
		uint64_t have = MIN(unit, m->size - at * unit);

		memset(in, 0, unit);
		fill(m->r, in, have);
		assert_int_equal(t->pack(m->im, in, out, &len), 0);
		if (!len)
			continue;
		assert_int_equal(t->write_packed(m->im, at * unit, out, len), 0);
		memcpy(m->data + at * unit, in, have);
	}
	free(in);
	free(out);
}

static bool snap_op(struct model *m, enum image_snap_op op, unsigned i)
{
	char name[16];
	struct err e = { 0 };

	snprintf(name, sizeof(name), "snap-%u", i);
	if (m->im->fmt->tool->snapshot(m->im, op, name, &e))
		return true;
	if (!strstr(e.msg, "too narrow"))
		fail_msg("seed %llu: op %d: %s", (unsigned long long)m->seed, op, e.msg);
	return false;
}

static void do_snapshot(struct model *m)
{
	unsigned i = (unsigned)rng_below(m->r, SNAPS);

	if (!m->snap[i].used) {
		if (!snap_op(m, SNAP_CREATE, i))
			return;
		m->snap[i].used = true;
		m->snap[i].size = m->size;
		m->snap[i].data = malloc(MAX_SIZE);
		memcpy(m->snap[i].data, m->data, MAX_SIZE);
	} else if (rng_below(m->r, 2)) {
		if (!snap_op(m, SNAP_APPLY, i))
			return;
		m->size = m->snap[i].size;
		memcpy(m->data, m->snap[i].data, MAX_SIZE);
	} else {
		assert_true(snap_op(m, SNAP_DELETE, i));
		free(m->snap[i].data);
		m->snap[i].used = false;
	}
	assert_int_equal(m->im->size, m->size);
}

static void do_resize(struct model *m)
{
	uint64_t size = (1 + rng_below(m->r, MAX_SIZE / 512)) * 512;
	struct err e = { 0 };

	if (!m->im->fmt->tool->resize(m->im, size, &e))
		fail_msg("seed %llu: %s", (unsigned long long)m->seed, e.msg);
	if (size < m->size)	/* what was cut off does not show again */
		memset(m->data + size, 0, m->size - size);
	assert_int_equal(m->im->size, size);
	m->size = size;
}

static void reopen(struct model *m)
{
	image_close(m->im);
	m->im = it_open(m->path, "qcow2", rng_below(m->r, 2) ? BLOCK_DISCARD_ON : 0);
	m->im->file.no_sync = true;	/* order is not what is tested here */
	assert_int_equal(m->im->size, m->size);
}

static void one_op(struct model *m)
{
	uint8_t *buf;

	switch (rng_below(m->r, 10)) {
	case 0: case 1: case 2:
		do_write(m);
		break;
	case 3: case 4:
		do_packed(m);
		break;
	case 5: case 6:
		do_snapshot(m);
		break;
	case 7:
		do_resize(m);
		break;
	case 8:
		reopen(m);
		break;
	default:
		buf = malloc(m->size);
		assert_int_equal(it_read(m->im, 0, buf, m->size), 0);
		assert_memory_equal(buf, m->data, m->size);
		free(buf);
	}
}

static void judge_snapshot(struct model *m, unsigned i)
{
	uint8_t *buf = malloc(m->snap[i].size);

	m->im = it_open(m->path, "qcow2", BLOCK_RDONLY | IMAGE_LENIENT);
	assert_true(snap_op(m, SNAP_VIEW, i));
	assert_int_equal(m->im->size, m->snap[i].size);
	assert_int_equal(it_read(m->im, 0, buf, m->im->size), 0);
	assert_memory_equal(buf, m->snap[i].data, m->im->size);
	image_close(m->im);
	free(buf);
}

static void judge(struct model *m)
{
	const char *raw = it_path("t.raw");
	int rc = it_run("qemu-img check '%s'", m->path);

	if (rc)
		fail_msg("seed %llu: qemu-img check says %d", (unsigned long long)m->seed, rc);
	it_write_file(raw, m->data, m->size);
	if (it_run("qemu-img compare -f qcow2 -F raw '%s' '%s'", m->path, raw))
		fail_msg("seed %llu: content differs", (unsigned long long)m->seed);
	for (unsigned i = 0; i < SNAPS; i++) {
		if (!m->snap[i].used)
			continue;
		judge_snapshot(m, i);
		it_write_file(raw, m->snap[i].data, m->snap[i].size);
		/* QEMU takes the size of now for every snapshot */
		if (m->snap[i].size == m->size &&
		    it_run("qemu-img convert -l snap-%u -O raw '%s' '%s.s' && qemu-img compare "
			   "-f raw -F raw '%s.s' '%s'",
			   i, m->path, m->path, m->path, raw))
			fail_msg("seed %llu: snapshot %u differs", (unsigned long long)m->seed, i);
		free(m->snap[i].data);
	}
}

static void sequence(uint64_t seed)
{
	struct rng r = { seed };
	struct model m = { .r = &r, .seed = seed, .path = it_path("t.qcow2") };
	const char *shape = shapes[seed % ARRAY_SIZE(shapes)];

	m.data = calloc(1, MAX_SIZE);
	m.size = (1 + rng_below(&r, MAX_SIZE / 512)) * 512;
	must_make(m.path, shape, m.size);
	m.im = it_open(m.path, NULL, 0);
	m.im->file.no_sync = true;
	assert_int_equal(m.im->size, m.size);
	for (unsigned i = 0; i < 30; i++)
		one_op(&m);
	image_close(m.im);
	judge(&m);
	free(m.data);
}

static void test_sequences(void **state)
{
	const char *env = getenv("HV_TEST_ROUNDS"), *first = getenv("HV_TEST_SEED");
	unsigned long rounds = env && *env ? strtoul(env, NULL, 0) : DEFAULT_ROUNDS;
	unsigned long seed = first && *first ? strtoul(first, NULL, 0) : 1;

	it_skip_without("qemu-img");
	for (unsigned long i = 0; i < rounds; i++)
		sequence(seed + i);
}

/* Every option: qemu-img finds nothing, and can write to it. */
static void test_create(void **state)
{
	static const char *const more[] = { "preallocation=metadata", "preallocation=falloc",
		"preallocation=full", "extended_l2=on,preallocation=metadata",
		"cluster_size=512,preallocation=metadata,refcount_bits=64" };
	const char *f = it_path("c.qcow2");

	it_skip_without("qemu-io");
	for (size_t i = 0; i < ARRAY_SIZE(shapes) + ARRAY_SIZE(more); i++) {
		const char *o = i < ARRAY_SIZE(shapes) ? shapes[i] : more[i - ARRAY_SIZE(shapes)];

		must_make(f, o, 5u << 20);
		if (it_run("qemu-img check '%s' && qemu-io -f qcow2 -c 'read -P 0 0 5M' "
			   "-c 'write -P 3 1M 2M' '%s' && qemu-img check '%s'",
			   f, f, f))
			fail_msg("%s: not what QEMU expects", o);
	}
	must_make(f, "cluster_size=512", 8ull << 30);	/* an L1 table of many clusters */
	assert_int_equal(it_run("qemu-img check '%s'", f), 0);
}

static void test_create_refusals(void **state)
{
	static const char *const bad[] = {
		"cluster_size=3000", "cluster_size=4M", "refcount_bits=3",
		"extended_l2=on,cluster_size=4096", "compat=v2,extended_l2=on", "nonsense=1",
		"compression_type=lzo", "preallocation=some" };
	const char *f = it_path("bad.qcow2");

	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		char copy[64];
		struct err e = { 0 };

		snprintf(copy, sizeof(copy), "%s", bad[i]);
		assert_false(make(f, copy, 1 << 20, &e));
		assert_int_equal(e.exit_code, HV_EXIT_USAGE);
		assert_int_not_equal(access(f, F_OK), 0);
	}
}

/* Overwrite bytes of a sound image, repair, and let qemu-img look. */
static void one_repair(struct rng *r, bool *hopeless)
{
	const char *f = it_path("rep.qcow2");
	struct image_check c = { .repair = true };
	struct err e = { 0 };
	struct image *im;
	uint8_t *d;
	size_t n;

	assert_int_equal(it_run("cp '%s' '%s'", it_path("sound.qcow2"), f), 0);
	d = it_read_file(f, &n);
	for (unsigned i = 0; i < 1 + rng_below(r, 4); i++) {
		/* not the header: L1, L2, refcount table, refcount blocks */
		static const unsigned at[] = { 48, 40 };
		uint64_t table = ld_be64(d + at[rng_below(r, 2)]), go = table;

		if (rng_below(r, 2))
			go = ld_be64(d + table) & 0x00fffffffffffe00;
		if (go + 128 > n)
			continue;
		st_be64(d + go + rng_below(r, 16) * 8, rng_below(r, 2) ? rng_next(r) :
			rng_below(r, n) & ~4095ull);
	}
	it_write_file(f, d, n);
	free(d);
	im = image_open(f, "qcow2", IMAGE_LENIENT, &e);
	*hopeless = !im;
	if (!im)
		return;
	assert_true(im->fmt->tool->check(im, &c, &e));
	image_close(im);
	if (c.errors <= c.errors_fixed && c.leaks <= c.leaks_fixed &&
	    it_run("qemu-img check '%s'", f))
		fail_msg("said to be repaired (%llu errors: %s), but is not",
			 (unsigned long long)c.errors, c.first);
	*hopeless = c.errors > c.errors_fixed;
}

static void test_repair(void **state)
{
	struct rng r = { 77 };
	unsigned lost = 0;
	bool hopeless;

	it_skip_without("qemu-io");
	log_open("/dev/null");
	assert_int_equal(it_run("qemu-img create -f qcow2 -o cluster_size=4096 %1$s 8M && qemu-io "
				"-c 'write 0 300k' -c 'write -z 64k 32k' -c 'write 5M 100k' %1$s",
				it_path("sound.qcow2")), 0);
	for (unsigned i = 0; i < 60; i++) {
		one_repair(&r, &hopeless);
		lost += hopeless;
	}
	print_message("60 damaged images, %u not repaired completely\n", lost);
	assert_true(lost < 30);
}

static void test_check_leaks(void **state)
{
	const char *f = it_path("leak.qcow2");
	struct image_check c = { 0 };
	struct image *im;
	struct err e = { 0 };
	uint8_t *d;
	size_t n;

	it_skip_without("qemu-io");
	assert_int_equal(it_run("qemu-img create -f qcow2 '%s' 8M && qemu-io -c 'write 0 1M' '%s'",
				f, f), 0);
	d = it_read_file(f, &n);
	memset(d + (ld_be64(d + ld_be64(d + 40)) & 0x00fffffffffffe00), 0, 64);	/* 8 entries */
	it_write_file(f, d, n);
	free(d);
	im = it_open(f, "qcow2", IMAGE_LENIENT | BLOCK_RDONLY);
	assert_true(im->fmt->tool->check(im, &c, &e));
	image_close(im);
	assert_int_equal(c.leaks, 8);
	assert_int_equal(c.errors, 0);
	c = (struct image_check){ .repair = true };
	im = it_open(f, "qcow2", IMAGE_LENIENT);
	assert_true(im->fmt->tool->check(im, &c, &e));
	image_close(im);
	assert_int_equal(c.leaks_fixed, 8);
	assert_int_equal(it_run("qemu-img check '%s'", f), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_create),
		cmocka_unit_test(test_create_refusals),
		cmocka_unit_test(test_sequences),
		cmocka_unit_test(test_check_leaks),
		cmocka_unit_test(test_repair),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
