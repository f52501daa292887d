/* SPDX-License-Identifier: MIT */
/*
 * What the window's frame path costs, as a multiple of a memcpy of the same
 * rows: damage from the display's surface into the view's texture.  Prints a
 * line for each view and size of damage; scripts/bench display runs it.
 *
 * Processor time of this thread, the median of many frames, paths and memcpy
 * in turns: other load on the computer does not count.
 */
#include "../../ui/ui.h"
#include "../../ui/view.h"
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#define W 1920u
#define H 1080u
#define FRAMES 121

static double cpu_us(clockid_t whose)
{
	struct timespec t;

	clock_gettime(whose, &t);
	return (double)t.tv_sec * 1e6 + (double)t.tv_nsec / 1e3;
}

static int compare(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return x < y ? -1 : x > y;
}

static double median(double *v)
{
	qsort(v, FRAMES, sizeof(*v), compare);
	return v[FRAMES / 2];
}

static void plain(uint32_t *to, const struct surface *s, struct rect r)
{
	for (unsigned y = r.y; y < r.y + r.h; y++)
		memcpy(to + (size_t)y * W + r.x, s->pixels + (size_t)y * s->stride + r.x,
		       (size_t)r.w * 4);
}

static void measure(const struct view_ops *ops, void *view, struct display *d, struct rect r)
{
	static double copy[FRAMES], path[FRAMES], frame[FRAMES];
	struct surface *s = display_surface(d);
	uint32_t *to = hv_zalloc((size_t)W * H * 4);
	struct rect got[DISPLAY_MAX_RECTS];
	bool resized;

	for (unsigned f = 0; f < FRAMES; f++) {
		double t0, t1, t2;

		for (unsigned y = r.y; y < r.y + r.h; y++)	/* as a guest that drew it */
			memset(s->pixels + (size_t)y * s->stride + r.x, (int)f, (size_t)r.w * 4);
		t0 = cpu_us(CLOCK_THREAD_CPUTIME_ID);
		plain(to, s, r);
		t1 = cpu_us(CLOCK_THREAD_CPUTIME_ID);
		display_damage(d, r);
		for (unsigned n = display_take_damage(d, got, &resized), i = 0; i < n; i++)
			ops->upload(view, s->pixels, s->stride, got[i]);
		t2 = cpu_us(CLOCK_THREAD_CPUTIME_ID);
		copy[f] = t1 - t0;
		path[f] = t2 - t1;
		t0 = cpu_us(CLOCK_PROCESS_CPUTIME_ID);
		ops->present(view, &(struct view_frame){ .dst = { 0, 0, W, H } });
		frame[f] = cpu_us(CLOCK_PROCESS_CPUTIME_ID) - t0;
	}
	printf("frame path  %-10s %4u x %-4u memcpy %7.1f us, path %7.1f us: %.2f times; "
	       "shown for %7.1f us\n", ops->name, r.w, r.h, median(copy), median(path),
	       median(path) / median(copy), median(frame));
	free(to);
}

int main(void)
{
	static const struct rect rects[] = { { 0, 0, W, H }, { 300, 200, 800, 600 },
					     { 100, 100, 200, 100 } };
	const struct view_ops *const views[] = { &view_gl_ops, &view_soft_ops };
	struct display *d = display_new();
	struct err e = { 0 };

	if (!ui_open(&e) || !display_resize(d, W, H)) {
		fprintf(stderr, "bench_display: %s\n", e.msg);
		return 1;
	}
	for (unsigned i = 0; i < ARRAY_SIZE(views); i++) {
		SDL_Window *win = SDL_CreateWindow("hvrun", 0, 0, W, H,
						   views[i]->window_flags);
		void *view = win ? views[i]->open(win) : NULL;

		if (!view) {
			printf("frame path  %s: not available here\n", views[i]->name);
			continue;
		}
		views[i]->resize(view, W, H);
		for (unsigned k = 0; k < ARRAY_SIZE(rects); k++)
			measure(views[i], view, d, rects[k]);
		views[i]->close(view);
		SDL_DestroyWindow(win);
	}
	display_free(d);
	SDL_Quit();
	return 0;
}
