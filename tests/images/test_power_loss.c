/* SPDX-License-Identifier: MIT */
/*
 * Power loss: every call to the host file is recorded; then states are made
 * that a disk could hold when the power goes: all that was synced, plus a
 * prefix or any subset of what was written since, writes cut at sectors.
 * Each must open, hold what guest flushes promised (each sector the flushed
 * value or one written later), be sound by our check, and now and then by
 * qemu-img's.  HV_TEST_ROUNDS: states in all.
 */
#include "../lib/imgtest.h"
#include "../../src/imgtool.h"
#include "../../src/log.h"

#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>
#include <cmocka.h>

#define DISK (6u << 20)
#define SECTORS (DISK / 512)
#define DEFAULT_STATES 350
#define MAX_OPS 4096
#define GUEST_OPS 40
#define FILE_MAX (96u << 20)

struct op {
	enum hf_op kind;
	uint64_t off, len;
	uint8_t *data;			/* what the range held afterwards */
	unsigned guest;			/* guest operations begun before it */
};

static struct {
	struct op op[MAX_OPS];
	unsigned n;
	bool on, open;			/* open: the last one is not finished */
	unsigned guest;
} rec;

/* The previous call is over: keep what it left. */
static void finish_op(struct hostfile *f)
{
	struct op *o;

	if (!rec.open)
		return;
	o = &rec.op[rec.n - 1];
	rec.open = false;
	if (o->kind != HF_WRITE && o->kind != HF_ZERO && o->kind != HF_PUNCH)
		return;
	o->data = calloc(1, o->len + 1);
	if (pread(f->fd, o->data, o->len, (off_t)o->off) < 0)
		o->len = 0;
}

static int record(struct hostfile *f, enum hf_op kind, uint64_t off, uint64_t len)
{
	if (!rec.on)
		return 0;
	finish_op(f);
	if (kind == HF_READ || kind == HF_XATTR)
		return 0;
	assert_true(rec.n < MAX_OPS);
	rec.op[rec.n++] = (struct op){ .kind = kind, .off = off, .len = len, .guest = rec.guest };
	rec.open = true;
	return 0;
}

/* What the guest did: one number a write, in every sector it touches. */
struct guest_op {
	unsigned first, n;		/* sectors */
	uint32_t value;			/* 0: zeros */
	bool flush;
	unsigned done_at;		/* host calls recorded when it had completed */
};

static struct guest_op gop[GUEST_OPS + 1];

static void run_guest(struct image *im, uint64_t seed)
{
	struct rng r = { seed };
	static uint32_t buf[DISK / 4];

	for (unsigned i = 0; i < GUEST_OPS; i++) {
		struct guest_op *g = &gop[i];

		*g = (struct guest_op){ .first = (unsigned)rng_below(&r, SECTORS), .value = i + 1 };
		g->n = 1 + (unsigned)rng_below(&r, rng_below(&r, 3) ? 40 : 700);
		g->n = MIN(g->n, SECTORS - g->first);
		g->flush = rng_below(&r, 5) == 0;
		rec.guest = i + 1;
		if (g->flush) {
			g->n = 0;
			assert_int_equal(it_op(im, BLOCK_FLUSH, 0, 0), 0);
		} else if (rng_below(&r, 6) == 0) {
			g->value = 0;
			assert_int_equal(it_op(im, BLOCK_WRITE_ZEROES, g->first * 512ull,
					       g->n * 512ull), 0);
		} else {
			for (unsigned k = 0; k < g->n * 128; k++)
				buf[k] = g->value;
			assert_int_equal(it_write(im, g->first * 512ull, buf, g->n * 512ull), 0);
		}
		finish_op(&im->file);
		g->done_at = rec.n;
	}
}

static void apply(int fd, const struct op *o, struct rng *r, bool tear)
{
	uint64_t from = 0, to = o->len;

	if (o->kind == HF_TRUNCATE) {
		assert_int_equal(ftruncate(fd, (off_t)o->off), 0);
		return;
	}
	if (!o->data)
		return;
	if (tear && o->len > 512) {	/* only the first or the last sectors arrived */
		uint64_t cut = (1 + rng_below(r, (o->len - 1) / 512)) * 512 - o->off % 512;

		if (cut < o->len && rng_below(r, 2))
			to = cut;
		else if (cut < o->len)
			from = cut;
	}
	assert_int_equal(pwrite(fd, o->data + from, to - from, (off_t)(o->off + from)), to - from);
}

/* Half of the losses happen inside a flush: there the order matters. */
static unsigned pick_moment(struct rng *r)
{
	unsigned g = (unsigned)rng_below(r, GUEST_OPS), from;

	for (unsigned i = 0; rng_below(r, 2) && i < GUEST_OPS && !gop[g].flush; i++)
		g = (g + 1) % GUEST_OPS;
	if (!gop[g].flush)
		return 1 + (unsigned)rng_below(r, rec.n);
	from = g ? gop[g - 1].done_at : 0;
	return from + 1 + (unsigned)rng_below(r, MAX(gop[g].done_at - from, 1u));
}

/* The state after a loss during host call @at. */
static void make_state(const char *f, const char *start, unsigned at, struct rng *r)
{
	unsigned synced = 0, how = (unsigned)rng_below(r, 3);
	int fd;

	assert_int_equal(it_run("cp '%s' '%s'", start, f), 0);
	fd = open(f, O_RDWR);
	for (unsigned i = 0; i < at; i++)
		if (rec.op[i].kind == HF_SYNC)
			synced = i;
	for (unsigned i = 0; i < at; i++) {
		/* sizes are metadata of the host's journal: in order, and before later writes */
		bool keep = i < synced || how == 0 || rec.op[i].kind == HF_TRUNCATE ||
			(how == 1 ? i + 1 < at : rng_below(r, 2));

		if (keep)
			apply(fd, &rec.op[i], r, i >= synced && how == 2 && rng_below(r, 4) == 0);
	}
	close(fd);
}

static void expect_promised(struct image *im, unsigned at, const char *what)
{
	static uint32_t buf[DISK / 4], durable[SECTORS];
	unsigned last = 0, begun = at ? rec.op[at - 1].guest : 0;

	for (unsigned i = 0; i < GUEST_OPS; i++)
		if (gop[i].flush && gop[i].done_at <= at)
			last = i + 1;
	memset(durable, 0, sizeof(durable));
	for (unsigned i = 0; i < last; i++)
		for (unsigned s = 0; s < gop[i].n; s++)
			durable[gop[i].first + s] = gop[i].value;
	assert_int_equal(it_read(im, 0, buf, DISK), 0);
	for (unsigned s = 0; s < SECTORS; s++) {
		bool ok = buf[s * 128] == durable[s];

		for (unsigned i = last; i < begun && !ok; i++)
			ok = s - gop[i].first < gop[i].n && buf[s * 128] == gop[i].value;
		for (unsigned k = 1; k < 128 && ok; k++)
			ok = buf[s * 128 + k] == buf[s * 128];
		if (!ok)
			fail_msg("%s: loss at call %u: sector %u holds %u, flushed was %u", what,
				 at, s, buf[s * 128], durable[s]);
	}
}

static void judge_state(const char *f, const char *fmt, const char *qemu, unsigned at, bool ask)
{
	struct image_check c = { 0 };
	struct err e = { 0 };
	struct image *im = image_open(f, fmt, 0, &e);	/* repairs what may be repaired */

	if (!im)
		fail_msg("%s: loss at call %u: does not open: %s", fmt, at, e.msg);
	im->file.no_sync = true;
	expect_promised(im, at, fmt);
	image_close(im);
	im = it_open(f, fmt, IMAGE_LENIENT | BLOCK_RDONLY);
	assert_true(im->fmt->tool->check(im, &c, &e));
	image_close(im);
	if (c.errors && strcmp(fmt, "vdi") && strcmp(fmt, "vhd"))
		fail_msg("%s: loss at call %u: %s", fmt, at, c.first);
	if (ask && qemu) {
		int rc = it_run("qemu-img check -f %s '%s'", qemu, f);

		if (rc != 0 && rc != 3)
			fail_msg("%s: loss at call %u: qemu-img check says %d", fmt, at, rc);
	}
}

static const struct shape {
	const char *fmt, *qemu, *name, *value;
} shapes[] = {
	{ "qcow2", "qcow2", "cluster_size", "4096" },
	{ "qcow2", "qcow2", "cluster_size", "512" },
	{ "qcow2", "qcow2", "extended_l2", "on" },
	{ "vhdx", "vhdx", "block_size", "1M" },
	{ "vmdk", "vmdk", NULL, NULL },
	{ "vdi", NULL, NULL, NULL },
	{ "vhd", NULL, NULL, NULL },
};

static void record_run(const struct shape *s, const char *f, const char *start, uint64_t seed)
{
	struct image_create c = { .path = f, .size = DISK };
	struct err e = { 0 };
	struct image *im;

	if (s->name)
		c.opt[c.nopt++] = (struct image_opt){ s->name, s->value };
	unlink(f);
	if (!image_create(image_format(s->fmt, NULL), &c, &e))
		fail_msg("%s", e.msg);
	image_create_end(&c);
	assert_int_equal(it_run("cp '%s' '%s'", f, start), 0);
	for (unsigned i = 0; i < rec.n; i++)
		free(rec.op[i].data);
	memset(&rec, 0, sizeof(rec));
	rec.on = true;
	hostfile_fault = record;
	im = it_open(f, s->fmt, seed % 2 ? BLOCK_DISCARD_ON : 0);
	im->file.no_sync = true;
	run_guest(im, seed);
	finish_op(&im->file);
	rec.on = false;
	image_close(im);
	hostfile_fault = NULL;
}

static void test_power_loss(void **state)
{
	const char *env = getenv("HV_TEST_ROUNDS"), *first = getenv("HV_TEST_SEED");
	unsigned long states = env && *env ? strtoul(env, NULL, 0) : DEFAULT_STATES, made = 0;
	unsigned long seed = first && *first ? strtoul(first, NULL, 0) : 1;
	const char *f = it_path("p.img"), *start = it_path("p.start"), *loss = it_path("p.loss");
	bool qemu = it_have("qemu-img");

	log_open("/dev/null");
	for (; made < states; seed++) {
		const struct shape *s = &shapes[seed % ARRAY_SIZE(shapes)];
		struct rng r = { seed };

		record_run(s, f, start, seed);
		for (unsigned i = 0; i < 35 && made < states; i++, made++) {
			unsigned at = MIN(pick_moment(&r), rec.n);

			make_state(loss, start, at, &r);
			judge_state(loss, s->fmt, s->qemu, at, qemu && i % 8 == 0);
		}
	}
	print_message("%lu states\n", made);
}

int main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(test_power_loss) };

	return cmocka_run_group_tests(tests, NULL, NULL);
}
