/* SPDX-License-Identifier: MIT */
/*
 * Every writable format but qcow2 (which has its own): random operations on
 * images made by hvrun and by qemu-img against a plain buffer, judged by
 * qemu-img check and compare; overlays of formats that have them, and
 * damaged images.  HV_TEST_ROUNDS and HV_TEST_SEED widen the search, HV_TEST_ONLY
 * (a pattern like test_made*) narrows it.
 */
#include "../lib/imgtest.h"
#include "../../src/imgtool.h"
#include "../../src/log.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>
#include <cmocka.h>

#define MAX_SIZE (24u << 20)
#define OPS 40

struct shape {
	const char *fmt, *qemu, *opts;	/* our name, QEMU's, options as for both */
	bool check;			/* qemu-img can check it */
};

static const struct shape ours[] = {
	{ "vdi", "vdi", "", true },
	{ "vdi", "vdi", "subformat=fixed", true },
	{ "vhd", "vpc", "", false },
	{ "vhd", "vpc", "subformat=fixed", false },
	{ "vmdk", "vmdk", "", true },
	{ "vmdk", "vmdk", "subformat=monolithicFlat", true },
	{ "vmdk", "vmdk", "subformat=twoGbMaxExtentSparse", true },
	{ "vmdk", "vmdk", "subformat=twoGbMaxExtentFlat", true },
	{ "vhdx", "vhdx", "", true },
	{ "vhdx", "vhdx", "block_size=1M", true },
	{ "vhdx", "vhdx", "subformat=fixed", true },
};

static const struct shape theirs[] = {
	{ "vdi", "vdi", "", true },
	{ "vdi", "vdi", "static=on", true },
	{ "vhd", "vpc", "", false },
	{ "vhd", "vpc", "force_size=on", false },
	{ "vhd", "vpc", "subformat=fixed", false },
	{ "vmdk", "vmdk", "", true },
	{ "vmdk", "vmdk", "subformat=monolithicFlat", true },
	{ "vmdk", "vmdk", "subformat=twoGbMaxExtentSparse", true },
	{ "vmdk", "vmdk", "subformat=twoGbMaxExtentFlat", true },
	{ "vmdk", "vmdk", "zeroed_grain=on", true },
	{ "vmdk", "vmdk", "compat6=on", true },
	{ "vhdx", "vhdx", "", true },
	{ "vhdx", "vhdx", "block_size=1M,log_size=2M", true },
	{ "vhdx", "vhdx", "subformat=fixed", true },
};

struct model {
	uint8_t *data;
	uint64_t size, seed;
	struct image *im;
	struct rng *r;
	const struct shape *sh;
	const char *path;
	unsigned flags;
};

static void make(const char *path, const struct shape *sh, uint64_t size, const char *backing,
		 struct image *below)
{
	struct image_create c = { .path = path, .size = size, .backing = backing,
				  .backing_im = below };
	char opts[128], *save = NULL;
	struct err e = { 0 };

	snprintf(opts, sizeof(opts), "%s", sh->opts);
	for (char *p = strtok_r(opts, ",", &save); p; p = strtok_r(NULL, ",", &save)) {
		char *eq = strchr(p, '=');

		*eq = '\0';
		c.opt[c.nopt++] = (struct image_opt){ p, eq + 1 };
	}
	if (!image_create(image_format(sh->fmt, NULL), &c, &e))
		fail_msg("%s %s: %s", sh->fmt, sh->opts, e.msg);
	image_create_end(&c);
}

static void fill(struct rng *r, uint8_t *p, uint64_t n)
{
	uint64_t v = rng_next(r);

	for (uint64_t i = 0; i < n; i++)
		p[i] = (uint8_t)(v >> (i % 8 * 8)) ^ (uint8_t)(i >> 7);
}

static void open_it(struct model *m)
{
	m->flags = rng_below(m->r, 2) ? BLOCK_DISCARD_ON : 0;
	m->im = it_open(m->path, rng_below(m->r, 2) ? m->sh->fmt : NULL, m->flags);
	assert_string_equal(m->im->fmt->name, m->sh->fmt);
	m->im->file.no_sync = true;
	if (m->im->size != m->size)
		fail_msg("%s %s seed %llu: %llu bytes", m->sh->fmt, m->sh->opts,
			 (unsigned long long)m->seed, (unsigned long long)m->im->size);
}

static void do_read(struct model *m, uint64_t off, uint64_t len)
{
	uint8_t *buf = malloc(len);

	memset(buf, 0xa5, len);
	assert_int_equal(it_read(m->im, off, buf, len), 0);
	if (memcmp(buf, m->data + off, len))
		fail_msg("%s %s seed %llu: read %llu+%llu differs", m->sh->fmt, m->sh->opts,
			 (unsigned long long)m->seed, (unsigned long long)off,
			 (unsigned long long)len);
	free(buf);
}

/* A discard is advice: afterwards each sector is zeros or what it was. */
static void do_discard(struct model *m, uint64_t off, uint64_t len)
{
	static const uint8_t zero[512];
	uint8_t *buf = malloc(len);

	assert_int_equal(it_op(m->im, BLOCK_DISCARD, off, len), 0);
	assert_int_equal(it_read(m->im, off, buf, len), 0);
	for (uint64_t i = 0; i < len; i += 512)
		assert_true(!memcmp(buf + i, zero, 512) ||
			    !memcmp(buf + i, m->data + off + i, 512));
	memcpy(m->data + off, buf, len);
	free(buf);
}

static void one_op(struct model *m)
{
	uint64_t sectors = m->size / 512, at = rng_below(m->r, sectors);
	uint64_t max = rng_below(m->r, 3) ? 64 : 6000, off = at * 512;
	uint64_t len = (1 + rng_below(m->r, max)) * 512;

	len = MIN(len, m->size - off);
	switch (rng_below(m->r, 10)) {
	case 0: case 1: case 2: case 3:
		fill(m->r, m->data + off, len);
		assert_int_equal(it_write(m->im, off, m->data + off, len), 0);
		break;
	case 4: case 5: case 6:
		do_read(m, off, len);
		break;
	case 7:
		assert_int_equal(it_op(m->im, BLOCK_WRITE_ZEROES, off, len), 0);
		memset(m->data + off, 0, len);
		break;
	case 8:
		do_discard(m, off, len);
		break;
	default:
		if (rng_below(m->r, 2)) {
			assert_int_equal(it_op(m->im, BLOCK_FLUSH, 0, 0), 0);
		} else {
			image_close(m->im);
			open_it(m);
		}
	}
}

static void run_ops(struct model *m)
{
	open_it(m);
	for (unsigned i = 0; i < OPS; i++)
		one_op(m);
	do_read(m, 0, m->size);
	image_close(m->im);
}

/* Our own check finds nothing either. */
static void self_check(struct model *m)
{
	struct image_check c = { 0 };
	struct err e = { 0 };
	struct image *im = it_open(m->path, m->sh->fmt, IMAGE_LENIENT | BLOCK_RDONLY);

	if (im->fmt->tool->check) {
		assert_true(im->fmt->tool->check(im, &c, &e));
		if (c.errors || c.leaks)
			fail_msg("%s %s seed %llu: own check: %llu errors, %llu leaks: %s",
				 m->sh->fmt, m->sh->opts, (unsigned long long)m->seed,
				 (unsigned long long)c.errors, (unsigned long long)c.leaks,
				 c.first);
	}
	image_close(im);
}

static void judge(struct model *m, bool qemu)
{
	const char *raw = it_path("m.raw");

	self_check(m);
	if (!qemu)
		return;
	if (m->sh->check && it_run("qemu-img check -f %s '%s'", m->sh->qemu, m->path))
		fail_msg("%s %s seed %llu: qemu-img check", m->sh->fmt, m->sh->opts,
			 (unsigned long long)m->seed);
	it_write_file(raw, m->data, m->size);
	if (it_run("qemu-img compare -f %s -F raw '%s' '%s'", m->sh->qemu, m->path, raw))
		fail_msg("%s %s seed %llu: qemu-img compare", m->sh->fmt, m->sh->opts,
			 (unsigned long long)m->seed);
}

static void clean(void)
{
	it_run("rm -f '%s'/fr*", it_dir());
}

static void sequence(uint64_t seed, bool by_qemu)
{
	struct rng r = { seed * 2 + by_qemu };
	const struct shape *sh = by_qemu ? &theirs[seed % ARRAY_SIZE(theirs)] :
		&ours[seed % ARRAY_SIZE(ours)];
	struct model m = { .r = &r, .sh = sh, .seed = seed, .path = it_path("fr.img") };
	struct image *im;

	clean();
	m.size = (1 + rng_below(&r, MAX_SIZE / 512)) * 512;
	m.data = calloc(1, 2 * MAX_SIZE);
	if (by_qemu) {
		fill(&r, m.data, m.size / 3 & ~511ull);
		it_write_file(it_path("m.raw"), m.data, m.size);
		if (it_run("qemu-img convert -f raw -O %s %s%s '%s' '%s'", sh->qemu,
			   sh->opts[0] ? "-o " : "", sh->opts, it_path("m.raw"), m.path))
			fail_msg("qemu-img cannot make %s %s", sh->qemu, sh->opts);
		im = it_open(m.path, NULL, BLOCK_RDONLY);	/* VHD rounds up to its geometry */
		m.size = im->size;
		assert_true(m.size <= 2 * MAX_SIZE);
		image_close(im);
	} else {
		make(m.path, sh, m.size, NULL, NULL);
	}
	run_ops(&m);
	judge(&m, true);
	free(m.data);
}

static void rounds(unsigned def, bool by_qemu)
{
	const char *env = getenv("HV_TEST_ROUNDS"), *first = getenv("HV_TEST_SEED");
	unsigned long n = env && *env ? strtoul(env, NULL, 0) : def;
	unsigned long seed = first && *first ? strtoul(first, NULL, 0) : 1;

	it_skip_without("qemu-img");
	for (unsigned long i = 0; i < n; i++)
		sequence(seed + i, by_qemu);
}

static void test_made_by_us(void **state)
{
	rounds(3 * ARRAY_SIZE(ours), false);
}

static void test_made_by_qemu(void **state)
{
	rounds(3 * ARRAY_SIZE(theirs), true);
}

/* Overlays: what is below shows until written; the base never changes. */
static void one_overlay(const struct shape *sh, uint64_t seed)
{
	struct rng r = { seed };
	struct model base = { .r = &r, .sh = sh, .seed = seed, .path = it_path("fr-base.vdi") };
	struct model top = { .r = &r, .sh = sh, .seed = seed, .path = it_path("fr-top.vdi") };
	struct image *below;

	clean();
	base.size = top.size = (1 + rng_below(&r, MAX_SIZE / 512)) * 512;
	base.data = calloc(1, MAX_SIZE);
	top.data = malloc(MAX_SIZE);
	make(base.path, sh, base.size, NULL, NULL);
	run_ops(&base);
	memcpy(top.data, base.data, MAX_SIZE);
	below = it_open(base.path, sh->fmt, BLOCK_RDONLY);
	make(top.path, sh, top.size, "fr-base.vdi", below);
	image_close(below);
	run_ops(&top);
	judge(&top, false);
	judge(&base, true);
	free(base.data);
	free(top.data);
}

static void test_overlays(void **state)
{
	static const struct shape shapes[] = {
		{ "vdi", "vdi", "", true },
		{ "vhd", "vpc", "", false },
		{ "vmdk", "vmdk", "", true },
		{ "vhdx", "vhdx", "", true },
	};
	const char *env = getenv("HV_TEST_ROUNDS");
	unsigned long n = env && *env ? strtoul(env, NULL, 0) / 4 : 6;

	it_skip_without("qemu-img");
	for (unsigned long i = 0; i < n * ARRAY_SIZE(shapes); i++)
		one_overlay(&shapes[i % ARRAY_SIZE(shapes)], i + 1);
}

/* ---- the log of VHDX ------------------------------------------------------------- */

/* Writes of the block table fail: its entry stays in the log. */
static int no_table(struct hostfile *f, enum hf_op op, uint64_t off, uint64_t len)
{
	return op == HF_WRITE && off >= 3u << 20 && off < 4u << 20 ? EIO : 0;
}

/* A writer that dies between log and table. */
static void leave_log(const char *f)
{
	static uint8_t buf[3u << 20];
	pid_t pid;

	clean();
	make(f, &(struct shape){ "vhdx", "vhdx", "block_size=1M", true }, 64u << 20, NULL, NULL);
	pid = fork();
	if (!pid) {
		struct image *im = image_open(f, NULL, 0, NULL);

		memset(buf, 9, sizeof(buf));
		hostfile_fault = no_table;
		if (it_write(im, 5 << 20, buf, sizeof(buf)))
			_exit(1);
		it_op(im, BLOCK_FLUSH, 0, 0);
		_exit(0);
	}
	assert_int_equal(waitpid(pid, NULL, 0), pid);
}

static void expect_nines(const char *f, unsigned flags)
{
	struct image_info info = { 0 };
	struct image *im = it_open(f, NULL, flags);
	static uint8_t buf[3u << 20];

	im->fmt->tool->info(im, &info);
	assert_int_equal(info.dirty, flags & BLOCK_RDONLY);
	assert_int_equal(it_read(im, 5 << 20, buf, sizeof(buf)), 0);
	for (unsigned i = 0; i < sizeof(buf); i++)
		assert_int_equal(buf[i], 9);
	image_close(im);
}

static void test_vhdx_log(void **state)
{
	const char *f = it_path("fr-log.vhdx");

	it_skip_without("qemu-io");
	log_open("/dev/null");
	leave_log(f);
	assert_int_not_equal(it_run("qemu-img check -f vhdx '%s'", f), 0);	/* wants a replay */
	expect_nines(f, BLOCK_RDONLY);		/* in memory */
	expect_nines(f, 0);
	assert_int_equal(it_run("qemu-img check -f vhdx '%s'", f), 0);
	leave_log(f);				/* QEMU replays what we wrote */
	assert_int_equal(it_run("qemu-img check -f vhdx -r all '%s' && qemu-io -f vhdx -c "
				"'read -P 9 5M 3M' '%s' | grep -v failed", f, f), 0);
	expect_nines(f, 0);
}

/* A transport format: made by conversion, read by both, never written in place. */
static void test_stream(void **state)
{
	const char *f = it_path("fr-stream.vmdk");
	struct err e = { 0 };

	it_skip_without("qemu-io");
	clean();
	assert_int_equal(it_run("cd '%s' && qemu-img create -f raw fr.raw 20M && qemu-io -f raw -c "
				"'write -P 4 1M 5M' fr.raw && qemu-img convert -O vmdk -o "
				"subformat=streamOptimized fr.raw '%s'", it_dir(), f), 0);
	assert_null(image_open(f, NULL, 0, &e));
	assert_non_null(strstr(e.msg, "stream-optimized"));
	image_close(it_open(f, NULL, BLOCK_THROWAWAY));
	image_close(it_open(f, NULL, BLOCK_RDONLY));
	assert_int_equal(truncate(f, 9000), 0);
	assert_null(image_open(f, NULL, 0, &e));
}

/* ---- damaged ------------------------------------------------------------------ */

/* Places that matter: the first 64 KiB, a few pages on, the end. */
static void mutate(struct rng *r, uint8_t *d, size_t *len)
{
	static const uint64_t v[] = { 0, 1, 0x1ff, 0xfffffff8, 0xffffffff, 1ull << 31, 1ull << 40,
				      1ull << 62, UINT64_MAX, 0x200, 0x100000 };

	for (unsigned n = 1 + (unsigned)rng_below(r, 3); n; n--) {
		uint64_t range[] = { 512, 2048, 65536, *len }, pick = rng_below(r, 5);
		uint64_t at = pick == 4 ? *len - rng_below(r, MIN(*len, 1024u)) - 1 :
			rng_below(r, MIN(range[pick], (uint64_t)*len));

		at &= ~3ull;
		if (at + 8 > *len)
			continue;
		if (rng_below(r, 3) == 0)
			d[at] ^= 1u << rng_below(r, 8);
		else if (rng_below(r, 2))
			st_le32(d + at, (uint32_t)v[rng_below(r, ARRAY_SIZE(v))]);
		else
			st_be64(d + at, v[rng_below(r, ARRAY_SIZE(v))]);
	}
	if (rng_below(r, 12) == 0)
		*len = 1 + rng_below(r, *len);
}

static void one_mutation(uint64_t seed, unsigned *opened)
{
	struct rng r = { seed };
	const struct shape *sh = &theirs[rng_below(&r, ARRAY_SIZE(theirs))];
	static const unsigned flags[] = { 0, BLOCK_DISCARD_ON, BLOCK_RDONLY, BLOCK_THROWAWAY,
					  IMAGE_LENIENT };
	struct image_check c = { .repair = true };
	struct err e = { 0 };
	char name[64];
	struct image *im;
	unsigned f = flags[rng_below(&r, ARRAY_SIZE(flags))];
	size_t len;
	uint8_t *d;

	snprintf(name, sizeof(name), "hs%u.img", (unsigned)(sh - theirs));
	d = it_read_file(it_path(name), &len);
	mutate(&r, d, &len);
	it_write_file(it_path("fr-hostile.img"), d, len);
	free(d);
	alarm(20);
	im = image_open(it_path("fr-hostile.img"), sh->fmt, f, &e);
	if (im) {
		++*opened;
		if (f == IMAGE_LENIENT && im->fmt->tool->check)
			im->fmt->tool->check(im, &c, &e);
		im->file.no_sync = true;
		it_random_ops(im, &r, 24);
		image_close(im);
	} else if (!e.msg[0] || !e.exit_code) {
		fail_msg("seed %llu: refused without a word", (unsigned long long)seed);
	}
	alarm(0);
}

static void test_hostile(void **state)
{
	const char *env = getenv("HV_TEST_ROUNDS"), *first = getenv("HV_TEST_SEED");
	unsigned long n = env && *env ? strtoul(env, NULL, 0) : 1000;
	unsigned long seed = first && *first ? strtoul(first, NULL, 0) : 1;
	unsigned opened = 0;
	long before;

	it_skip_without("qemu-io");
	log_open("/dev/null");
	for (size_t i = 0; i < ARRAY_SIZE(theirs); i++) {
		char name[64];

		snprintf(name, sizeof(name), "hs%zu.img", i);
		assert_int_equal(it_run("cd '%s' && qemu-img create -f %s %s%s %s 3M && "
					"qemu-io -f %s -c 'write -P 5 0 600k' %s",
					it_dir(), theirs[i].qemu, theirs[i].opts[0] ? "-o " : "",
					theirs[i].opts, name, theirs[i].qemu, name),
				 0);
	}
	before = it_peak_rss();
	for (unsigned long i = 0; i < n; i++)
		one_mutation(seed + i, &opened);
	print_message("%lu images, %u opened, peak memory +%ld KiB\n", n, opened,
		      it_peak_rss() - before);
#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
	assert_true(it_peak_rss() - before <= 64 * 1024);
#endif
	assert_true(n < 100 || (opened > n / 20 && opened < n - n / 20));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_made_by_us),
		cmocka_unit_test(test_made_by_qemu),
		cmocka_unit_test(test_overlays),
		cmocka_unit_test(test_vhdx_log),
		cmocka_unit_test(test_stream),
		cmocka_unit_test(test_hostile),
	};

	if (getenv("HV_TEST_ONLY"))
		cmocka_set_test_filter(getenv("HV_TEST_ONLY"));
	return cmocka_run_group_tests(tests, NULL, NULL);
}
