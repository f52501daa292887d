/* SPDX-License-Identifier: MIT */
/* Recordings: the file's structure, and what libvpx's decoder sees in it. */
#include "../../src/record.h"
#include "../../src/display.h"
#include "../../src/vm.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>
#include <vpx/vp8dx.h>
#include <vpx/vpx_decoder.h>
#include <cmocka.h>

static char path[] = "/tmp/hvrun-film.XXXXXX";

static uint64_t be(const uint8_t *p, unsigned n)
{
	uint64_t v = 0;

	while (n--)
		v = v << 8 | *p++;
	return v;
}

/* An element's id and content at @at; advances to the next one. */
static uint32_t element(const uint8_t *d, size_t n, size_t *at, const uint8_t **body, size_t *len)
{
	unsigned id = 1, sz = 1;
	uint32_t v;

	while (!(d[*at] & 0x80 >> (id - 1)))
		id++;
	v = (uint32_t)be(d + *at, id);
	*at += id;
	while (!(d[*at] & 0x80 >> (sz - 1)))
		sz++;
	*len = be(d + *at, sz) & ((1ull << 7 * sz) - 1);
	*at += sz;
	assert_true(*len <= n - *at);
	*body = d + *at;
	*at += *len;
	return v;
}

struct seen {
	unsigned frames, keys, w, h;
	uint64_t last_ms;
	double duration;
	uint8_t y;		/* the middle of the last frame */
};

static void decode(struct seen *s, vpx_codec_ctx_t *vpx, const uint8_t *frame, size_t n)
{
	vpx_codec_iter_t it = NULL;
	vpx_image_t *im;

	assert_int_equal(vpx_codec_decode(vpx, frame, (unsigned)n, NULL, 0), 0);
	im = vpx_codec_get_frame(vpx, &it);
	assert_non_null(im);
	s->w = im->d_w;
	s->h = im->d_h;
	s->y = im->planes[0][(size_t)(im->d_h / 2) * (size_t)im->stride[0] + im->d_w / 2];
}

static void walk(struct seen *s, vpx_codec_ctx_t *vpx, const uint8_t *d, size_t n, uint64_t base)
{
	size_t at = 0, len;
	const uint8_t *b;

	while (at < n) {
		uint32_t id = element(d, n, &at, &b, &len);

		if (id == 0x18538067 || id == 0x1549a966 || id == 0x1f43b675) {
			walk(s, vpx, b, len, 0);
		} else if (id == 0xe7) {
			base = be(b, (unsigned)len);
		} else if (id == 0x4489) {
			uint64_t bits = be(b, 8);

			memcpy(&s->duration, &bits, 8);
		} else if (id == 0xa3) {
			assert_int_equal(b[0], 0x81);
			s->last_ms = base + be(b + 1, 2);
			s->keys += b[3] >> 7;
			s->frames++;
			decode(s, vpx, b + 4, len - 4);
		}
	}
}

static struct seen read_film(void)
{
	struct seen s = { .frames = 0 };
	vpx_codec_ctx_t vpx;
	struct stat st;
	uint8_t *d;
	FILE *f = fopen(path, "rb");

	assert_non_null(f);
	assert_int_equal(fstat(fileno(f), &st), 0);
	d = malloc((size_t)st.st_size);
	assert_int_equal(fread(d, 1, (size_t)st.st_size, f), st.st_size);
	fclose(f);
	assert_int_equal(be(d, 4), 0x1a45dfa3);
	assert_int_equal(vpx_codec_dec_init(&vpx, vpx_codec_vp8_dx(), NULL, 0), 0);
	walk(&s, &vpx, d, (size_t)st.st_size, 0);
	vpx_codec_destroy(&vpx);
	free(d);
	return s;
}

static void fill(uint32_t *px, unsigned n, uint32_t c)
{
	for (unsigned i = 0; i < n; i++)
		px[i] = c;
}

/* Black, then white; odd sizes; a picture of another size is fitted in. */
static void test_film(void **state)
{
	uint32_t *px = malloc(400 * 300 * 4);
	struct err e = { 0 };
	struct film *m;
	struct seen s;

	unlink(path);
	m = film_open(path, 161, 99, &e);
	assert_non_null(m);
	fill(px, 161 * 99, 0);
	assert_true(film_frame(m, px, 161, 99, 161, 0));
	fill(px, 161 * 99, 0xffffff);
	for (unsigned i = 1; i < 10; i++)
		assert_true(film_frame(m, px, 161, 99, 161, i * 50));
	fill(px, 400 * 300, 0xffffff);
	assert_true(film_frame(m, px, 400, 300, 400, 30000));
	assert_true(film_frame(m, px, 7, 300, 7, 20000));	/* time does not fall */
	assert_true(film_close(m, 31000, &e));
	s = read_film();
	assert_int_equal(s.frames, 12);
	assert_true(s.keys >= 1);
	assert_int_equal(s.w, 162);
	assert_int_equal(s.h, 100);
	assert_int_equal(s.last_ms, 30001);
	assert_true(s.duration == 31000.0);
	assert_true(s.y > 215);		/* white, studio swing */
	assert_null(film_open(path, 16, 16, &e));	/* not over another file */
	assert_non_null(strstr(e.msg, "File exists"));
	free(px);
}

static uint32_t colour = 0x0000ff;

static void paint(void *dev)
{
	struct display *d = dev;

	display_resize(d, 320, 200);
	fill(display_surface(d)->pixels, 320 * 200, colour);
	display_damage(d, (struct rect){ 0, 0, 320, 200 });
}

/* From a machine's display, in the thread of its own: the second one is not the first. */
static void test_record(void **state)
{
	struct display_source src = { .refresh = paint };
	struct vm *vm = vm_new(true, NULL);
	struct err e = { 0 };
	struct record *r;
	struct seen s;

	unlink(path);
	vm->display = display_new();
	display_set_scanouts(vm->display, 2);
	src.dev = display_scanout(vm->display, 1);
	display_set_source(src.dev, &src);
	r = record_start(vm, 1, path, &e);
	if (!r)
		fail_msg("%s", e.msg);
	vm_lock(vm);
	colour = 0xffffff;
	vm_unlock(vm);
	nanosleep(&(struct timespec){ .tv_nsec = 300000000 }, NULL);
	assert_true(record_stop(r, &e));
	s = read_film();
	assert_true(s.frames >= 1 && s.frames <= 2);	/* nothing while nothing changes */
	assert_int_equal(s.w, 320);
	assert_int_equal(s.h, 200);
	assert_true(s.duration >= 300);
	display_free(vm->display);
	vm->display = NULL;
	vm_free(vm);
}

static int set_up(void **state)
{
	int fd = mkstemp(path);

	return fd < 0 ? -1 : close(fd);
}

static int clean_up(void **state)
{
	return unlink(path);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_film), cmocka_unit_test(test_record),
	};

	return cmocka_run_group_tests(tests, set_up, clean_up);
}
