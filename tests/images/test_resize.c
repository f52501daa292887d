/* SPDX-License-Identifier: MIT */
/*
 * Growing VDI, VHD, VHDX and VMDK images, far enough for their tables to
 * move: content kept, new space zeros, qemu-img agrees; and with every host
 * call failing in turn the image stays whole, of the old or the new size.
 * A size that the format cannot have is refused before anything is written.
 */
#include "../lib/imgtest.h"
#include "../../src/imgtool.h"
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>
#include <cmocka.h>

#define START (11u << 20)
#define PIECES 24u

static const struct row {
	const char *fmt, *qemu, *opt, *value;
	uint64_t sizes[4];
} rows[] = {
	{ "vdi", "vdi", NULL, NULL, { 12 << 20, (200ull << 20) + 512, 3ull << 30, 1ull << 40 } },
	{ "vdi", "vdi", "subformat", "fixed", { 12 << 20, 150ull << 20, 300 << 20 } },
	{ "vhd", "vpc", NULL, NULL, { 12 << 20, 300ull << 20, 5ull << 30, 1ull << 40 } },
	{ "vhd", "vpc", "subformat", "fixed", { (11 << 20) + 4608, 80 << 20 } },
	{ "vhdx", "vhdx", NULL, NULL, { 12 << 20, 300ull << 20, 5ull << 40, 20ull << 40 } },
	{ "vmdk", "vmdk", NULL, NULL, { 12 << 20, 5ull << 30, 40ull << 30 } },
	{ "vmdk", "vmdk", "subformat", "monolithicFlat", { 12 << 20, 90 << 20 } },
};

struct piece {
	uint64_t off;
	uint8_t data[4096];
};

struct model {
	struct piece p[PIECES];
	unsigned n;
};

static void make(const struct row *r, const char *path)
{
	struct image_create c = { .path = path, .size = START };
	struct err e = { 0 };

	if (r->opt)
		c.opt[c.nopt++] = (struct image_opt){ r->opt, r->value };
	if (!image_create(image_format(r->fmt, &e), &c, &e))
		fail_msg("%s: %s", r->fmt, e.msg);
	image_create_end(&c);
}

static void add_piece(struct image *im, struct model *m, struct rng *rng, uint64_t off)
{
	struct piece *p = &m->p[m->n++];

	assert_true(m->n <= PIECES);
	p->off = off;
	for (unsigned i = 0; i < sizeof(p->data); i++)
		p->data[i] = (uint8_t)rng_next(rng);
	assert_int_equal(it_write(im, off, p->data, sizeof(p->data)), 0);
}

static void check(struct image *im, const struct model *m, uint64_t old, uint64_t size)
{
	uint8_t got[4096], zeros[4096] = { 0 };

	assert_int_equal(im->size, size);
	for (unsigned i = 0; i < m->n; i++) {
		assert_int_equal(it_read(im, m->p[i].off, got, sizeof(got)), 0);
		assert_memory_equal(got, m->p[i].data, sizeof(got));
	}
	for (uint64_t at = old; at + 4096 <= size; at += MAX((size - old) / 64 & ~511ull, 4096)) {
		assert_int_equal(it_read(im, at, got, sizeof(got)), 0);
		assert_memory_equal(got, zeros, sizeof(got));
	}
}

static void check_damage(struct image *im, uint64_t leaks)
{
	struct image_check c = { .repair = false };
	struct err e = { 0 };

	if (im->fmt->tool->check && !im->fmt->tool->check(im, &c, &e))
		fail_msg("%s", e.msg);
	if (c.leaks > leaks)
		fail_msg("%s: %llu leaks", im->path, (unsigned long long)c.leaks);
	if (c.errors)
		fail_msg("%s: %s", im->path, c.first);
}

static void fill(struct image *im, struct model *m, struct rng *rng)
{
	for (unsigned i = 0; i < 6; i++)
		add_piece(im, m, rng, i * (2u << 20) - (i ? 4096 * i : 0));
	add_piece(im, m, rng, START - 4096);
}

static void grow(const struct row *r, const char *path)
{
	struct model m = { .n = 0 };
	struct rng rng = { 9 };
	struct err e = { 0 };
	uint64_t old = START;
	struct image *im;

	make(r, path);
	im = it_open(path, r->fmt, 0);
	fill(im, &m, &rng);
	for (unsigned i = 0; i < 4 && r->sizes[i]; i++) {
		/* Once in the image that was written to, once in a fresh one. */
		if (i & 1) {
			image_close(im);
			im = it_open(path, r->fmt, 0);
		}
		if (!im->fmt->tool->resize(im, r->sizes[i], &e))
			fail_msg("%s %u: %s", r->fmt, i, e.msg);
		check(im, &m, old, r->sizes[i]);
		add_piece(im, &m, &rng, (r->sizes[i] - 4096) & ~511ull);
		old = r->sizes[i];
	}
	assert_false(im->fmt->tool->resize(im, old - 4096, &e));
	image_close(im);
	im = it_open(path, r->fmt, 0);
	check(im, &m, old, old);
	check_damage(im, 0);
	image_close(im);
	if (!it_have("qemu-img"))
		return;
	if (old <= 64ull << 30) {
		char raw[4096];

		snprintf(raw, sizeof(raw), "%s.raw", path);
		im = it_open(path, r->fmt, BLOCK_RDONLY);
		it_write_file(raw, "", 0);
		assert_int_equal(truncate(raw, (off_t)old), 0);
		image_close(im);
		im = it_open(raw, "raw", BLOCK_NO_LOCK);
		for (unsigned i = 0; i < m.n; i++)
			assert_int_equal(it_write(im, m.p[i].off, m.p[i].data, 4096), 0);
		image_close(im);
		assert_int_equal(it_run("qemu-img compare -q -f %s -F raw %s %s", r->qemu, path,
					raw), 0);
		unlink(raw);
	}
	if (strcmp(r->qemu, "vpc"))
		it_run("qemu-img check -q -f %s %s", r->qemu, path);
}

static void test_grow(void **state)
{
	for (unsigned i = 0; i < ARRAY_SIZE(rows); i++) {
		char name[64];

		snprintf(name, sizeof(name), "grow%u.%s", i, rows[i].fmt);
		grow(&rows[i], it_path(name));
	}
}

static unsigned fail_at, calls;

/* From the nth change on the host refuses everything, as a dying disk or a crash would. */
static int fail_from(struct hostfile *f, enum hf_op op, uint64_t off, uint64_t len)
{
	return op == HF_READ ? 0 : ++calls >= fail_at ? EIO : 0;
}

static void faults(const struct row *r, const char *path)
{
	bool failed = true;

	for (fail_at = 1; failed && fail_at < 200; fail_at++) {
		struct model m = { .n = 0 };
		struct rng rng = { fail_at };
		struct err e = { 0 };
		struct image *im;

		unlink(path);
		if (r->value && strstr(r->value, "Flat")) {
			char flat[4096];

			snprintf(flat, sizeof(flat), "%.*s-flat.vmdk", (int)strlen(path) - 5, path);
			unlink(flat);
		}
		make(r, path);
		im = it_open(path, r->fmt, 0);
		fill(im, &m, &rng);
		assert_int_equal(it_op(im, BLOCK_FLUSH, 0, 0), 0);
		calls = 0;
		hostfile_fault = fail_from;
		failed = !im->fmt->tool->resize(im, r->sizes[1], &e);
		image_close(im);	/* cannot write either */
		hostfile_fault = NULL;
		im = it_open(path, r->fmt, 0);
		assert_true(im->size == START || im->size == r->sizes[1]);
		/* A fixed VHD may show its old footer: 512 bytes of the new space. */
		check(im, &m, START + (r->value && !strcmp(r->fmt, "vhd") ? 512 : 0), im->size);
		if (im->size > START)
			assert_int_equal(it_op(im, BLOCK_WRITE_ZEROES, START, 512), 0);
		/* And it can be grown now. */
		if (!im->fmt->tool->resize(im, r->sizes[1], &e))
			fail_msg("%s, fault %u: %s", r->fmt, fail_at, e.msg);
		check(im, &m, START, r->sizes[1]);
		add_piece(im, &m, &rng, r->sizes[1] - 8192);
		image_close(im);
		im = it_open(path, r->fmt, 0);
		check(im, &m, r->sizes[1], r->sizes[1]);
		check_damage(im, 1000);
		image_close(im);
	}
	assert_true(fail_at > 3 && fail_at < 200);
}

static void test_faults(void **state)
{
	for (unsigned i = 0; i < ARRAY_SIZE(rows); i++) {
		char name[64];

		snprintf(name, sizeof(name), "fault%u.%s", i, rows[i].fmt);
		faults(&rows[i], it_path(name));
	}
}

/* What is in the file, as far as a small image goes. */
static uint64_t file_sum(const char *path)
{
	uint8_t buf[4096];
	uint64_t sum = 14695981039346656037ull;
	struct stat st;
	FILE *f = fopen(path, "rb");
	size_t n;

	assert_non_null(f);
	assert_int_equal(fstat(fileno(f), &st), 0);
	assert_true(st.st_size < 256 << 20);
	while ((n = fread(buf, 1, sizeof(buf), f)) != 0)
		for (size_t i = 0; i < n; i++)
			sum = (sum ^ buf[i]) * 1099511628211ull;
	fclose(f);
	return sum;
}

/* One format, one size: done, or refused with the file as it was and still in use. */
static void grow_absurdly(const struct row *r, const char *path, uint64_t size, bool possible)
{
	struct model m = { .n = 0 };
	struct rng rng = { 5 };
	struct err e = { 0 };
	struct image *im;
	uint64_t before;
	bool ok;

	unlink(path);
	make(r, path);
	im = it_open(path, r->fmt, 0);
	fill(im, &m, &rng);
	assert_int_equal(image_io(im, BLOCK_FLUSH, 0, 0, NULL, 0), 0);
	before = file_sum(path);
	ok = im->fmt->tool->resize(im, size, &e);
	if (ok && !possible)
		fail_msg("%s: grew to %llu", path, (unsigned long long)size);
	if (!ok) {
		assert_true(e.msg[0]);
		assert_true(file_sum(path) == before);
		check(im, &m, START, START);
		assert_true(im->fmt->tool->resize(im, START + 512, &e));
	}
	check(im, &m, START, ok ? size : START + 512);
	image_close(im);
	im = it_open(path, r->fmt, 0);
	check(im, &m, START, ok ? size : START + 512);
	check_damage(im, 0);
	image_close(im);
}

static void test_absurd(void **state)
{
	for (unsigned i = 0; i < ARRAY_SIZE(rows); i++) {
		char name[64];
		bool vmdk = !strcmp(rows[i].fmt, "vmdk") && !rows[i].opt;
		bool vhd = !strcmp(rows[i].fmt, "vhd");

		if (rows[i].opt)	/* a fixed one is as large as the host lets it be */
			continue;
		snprintf(name, sizeof(name), "absurd%u.%s", i, rows[i].fmt);
		grow_absurdly(&rows[i], it_path(name), (2ull << 40) + 512, !vmdk && !vhd);
		grow_absurdly(&rows[i], it_path(name), 1ull << 50, false);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_grow), cmocka_unit_test(test_faults),
		cmocka_unit_test(test_absurd),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
