/* SPDX-License-Identifier: MIT */
/*
 * The view without OpenGL draws only what has changed: whatever is done to it,
 * its window shows what one that draws everything shows.
 */
#include "../../ui/ui.h"
#include "../../ui/view.h"
#include "../../src/util.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <cmocka.h>

#define ROUNDS 3000u

struct pair {
	SDL_Window *win[2];
	void *view[2];		/* [1]: always drawn as a whole */
	struct view_frame f;
	unsigned w, h;
	uint32_t *pixels;
};

static unsigned upto(unsigned n)
{
	return (unsigned)rand() % n;
}

static void resize(struct pair *p)
{
	p->w = 1 + upto(200);
	p->h = 1 + upto(120);
	p->pixels = realloc(p->pixels, (size_t)p->w * p->h * 4);
	for (unsigned i = 0; i < p->w * p->h; i++)
		p->pixels[i] = (uint32_t)rand() & 0xffffff;
	for (unsigned k = 0; k < 2; k++) {
		view_soft_ops.resize(p->view[k], p->w, p->h);
		view_soft_ops.upload(p->view[k], p->pixels, p->w,
				     (struct rect){ 0, 0, p->w, p->h });
	}
}

static void pair_open(struct pair *p, int w, int h)
{
	assert_int_equal(SDL_Init(SDL_INIT_VIDEO), 0);
	for (unsigned k = 0; k < 2; k++) {
		p->win[k] = SDL_CreateWindow("view", 0, 0, w, h, 0);
		p->view[k] = view_soft_ops.open(p->win[k]);
		assert_non_null(p->view[k]);
	}
	resize(p);
}

static void pair_close(struct pair *p)
{
	for (unsigned k = 0; k < 2; k++) {
		view_soft_ops.close(p->view[k]);
		SDL_DestroyWindow(p->win[k]);
	}
	free(p->pixels);
	SDL_Quit();
}

/* Anywhere in the window or not, at any scale. */
static void place(struct pair *p)
{
	unsigned k = upto(4);

	p->f.dst = (SDL_Rect){ (int)upto(80) - 20, (int)upto(60) - 20, (int)(p->w * (k ? k : 1)),
			       (int)(p->h * (k ? k : 1)) };
	if (!k)
		p->f.dst.w = 1 + (int)upto(400), p->f.dst.h = 1 + (int)upto(300);
	p->f.smooth = upto(2);
}

static void change(struct pair *p)
{
	struct rect r = { upto(p->w), upto(p->h), 0, 0 };

	r.w = 1 + upto(MIN(p->w - r.x, 30u));
	r.h = 1 + upto(MIN(p->h - r.y, 20u));
	for (unsigned y = r.y; y < r.y + r.h; y++)
		for (unsigned x = r.x; x < r.x + r.w; x++)
			p->pixels[y * p->w + x] = (uint32_t)rand() & 0xffffff;
	for (unsigned k = 0; k < 2; k++)
		view_soft_ops.upload(p->view[k], p->pixels, p->w, r);
}

static void panel(struct pair *p)
{
	unsigned slot = upto(VIEW_PANELS);
	SDL_Point at = { (int)upto(320) - 20, (int)upto(220) - 20 };
	SDL_Surface *s = NULL;

	if (upto(3)) {
		s = SDL_CreateRGBSurfaceWithFormat(0, 1 + (int)upto(90), 1 + (int)upto(50), 32,
						   SDL_PIXELFORMAT_ARGB8888);
		SDL_FillRect(s, NULL, (uint32_t)rand() << 4);
	}
	for (unsigned k = 0; k < 2; k++)
		view_soft_ops.panel(p->view[k], slot, s, at);
	SDL_FreeSurface(s);
}

static void resize_window(struct pair *p)
{
	int w = 200 + (int)upto(200), h = 150 + (int)upto(150);

	for (unsigned k = 0; k < 2; k++)
		SDL_SetWindowSize(p->win[k], w, h);
}

static void step(struct pair *p)
{
	switch (upto(12)) {
	case 0:
		place(p);
		break;
	case 1:
		panel(p);
		break;
	case 2:
		if (!upto(8))
			resize(p);
		else if (!upto(8))
			resize_window(p);
		break;
	case 3:
		if (!upto(8))
			p->f.dim = !p->f.dim;
		break;
	case 4:
		if (!upto(8))
			p->f.blank = !p->f.blank;
		break;
	case 5:
		for (unsigned n = upto(40); n; n--)
			change(p);
		break;
	default:
		change(p);
	}
}

static void same(struct pair *p, unsigned round)
{
	SDL_Surface *a = SDL_GetWindowSurface(p->win[0]), *b = SDL_GetWindowSurface(p->win[1]);

	for (int y = 0; y < a->h; y++)
		if (memcmp((char *)a->pixels + (ptrdiff_t)y * a->pitch,
			   (char *)b->pixels + (ptrdiff_t)y * b->pitch, (size_t)a->w * 4))
			fail_msg("round %u: row %d differs", round, y);
}

static void test_parts_make_the_whole(void **state)
{
	struct pair p = { 0 };

	srand(1);
	pair_open(&p, 320, 240);
	place(&p);
	for (unsigned i = 0; i < ROUNDS; i++) {
		step(&p);
		for (unsigned k = 0; k < 2; k++) {
			p.f.whole = k;
			view_soft_ops.present(p.view[k], &p.f);
		}
		same(&p, i);
	}
	pair_close(&p);
}

/* A window shows what the picture is: every pixel at 1:1, blocks of it at whole multiples. */
static void test_the_picture_is_shown(void **state)
{
	struct pair p = { 0 };
	SDL_Surface *s;
	uint32_t *row;

	srand(2);
	pair_open(&p, 640, 480);
	for (unsigned k = 1; k <= 3; k++) {
		p.f = (struct view_frame){ .dst = { 5, 7, (int)(p.w * k), (int)(p.h * k) } };
		view_soft_ops.present(p.view[0], &p.f);
		s = SDL_GetWindowSurface(p.win[0]);
		for (unsigned y = 0; y < p.h * k; y++) {
			row = (uint32_t *)((char *)s->pixels + (y + 7) * (size_t)s->pitch) + 5;
			for (unsigned x = 0; x < p.w * k; x++)
				assert_int_equal(row[x] & 0xffffff, p.pixels[y / k * p.w + x / k]);
		}
	}
	pair_close(&p);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_parts_make_the_whole),
		cmocka_unit_test(test_the_picture_is_shown),
	};

	setenv("SDL_VIDEODRIVER", "dummy", 1);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
