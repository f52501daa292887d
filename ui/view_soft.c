/* SPDX-License-Identifier: MIT */
/*
 * The picture without a graphics card: drawn by the processor into the
 * window's own surface, and only what has changed.  Scaling as view_gl.c has
 * it from OpenGL 3.3 (nearest, and linear between the centres of pixels).
 *
 * A window whose pixels are not 32-bit XRGB is drawn beside it and converted
 * by SDL.
 */
#include "view.h"
#include <stdlib.h>

#define CHANGES 16
#define GROUND 0x101214u

/* One direction of the picture's scale: for each pixel shown the one it comes from. */
struct axis {
	int from, to;		/* sizes for which this holds; smooth as below */
	bool smooth;
	int *at;		/* the first, of two when smooth */
	uint16_t *part;		/* of the second, in 256ths */
};

struct view_soft {
	SDL_Window *win;
	SDL_Surface *picture, *canvas;	/* canvas: only beside a window of other pixels */
	struct axis x, y;
	uint32_t *row;			/* smooth: two rows of the picture, mixed */
	struct view_frame shown;
	const void *pixels;		/* of the window, when it was drawn last; NULL: not yet */
	int w, h;			/* its size then */
	SDL_Rect changed[CHANGES];	/* in the picture */
	SDL_Rect touched[2 * VIEW_PANELS];	/* in the window */
	unsigned nchanged, ntouched;
	struct soft_panel {
		SDL_Surface *s;
		SDL_Rect at;
	} panel[VIEW_PANELS];
};

/* The last one grows where there is no room. */
static void add(SDL_Rect *list, unsigned *n, unsigned max, SDL_Rect r)
{
	if (*n < max)
		list[(*n)++] = r;
	else
		SDL_UnionRect(&list[max - 1], &r, &list[max - 1]);
}

static void *soft_open(SDL_Window *win)
{
	const char *driver = SDL_GetCurrentVideoDriver();
	struct view_soft *v;

	/* Else SDL brings the surface to the screen by the OpenGL that we do without. */
	if (driver && !strcmp(driver, "x11"))
		SDL_SetHint(SDL_HINT_FRAMEBUFFER_ACCELERATION, "0");
	if (!SDL_GetWindowSurface(win))
		return NULL;
	v = hv_zalloc(sizeof(*v));
	v->win = win;
	return v;
}

static void soft_resize(void *view, unsigned w, unsigned h)
{
	struct view_soft *v = view;

	SDL_FreeSurface(v->picture);
	v->picture = SDL_CreateRGBSurfaceWithFormat(0, (int)w, (int)h, 32, SDL_PIXELFORMAT_RGB888);
	free(v->row);
	v->row = hv_zalloc((w + 1) * sizeof(*v->row));
	v->pixels = NULL;
}

static uint32_t *pixel(const SDL_Surface *s, int x, int y)
{
	return (uint32_t *)((uint8_t *)s->pixels + (ptrdiff_t)y * s->pitch) + x;
}

static void soft_upload(void *view, const uint32_t *pixels, unsigned stride, struct rect r)
{
	struct view_soft *v = view;

	if (!v->picture)
		return;
	for (unsigned y = r.y; y < r.y + r.h; y++)
		memcpy(pixel(v->picture, (int)r.x, (int)y), pixels + (size_t)y * stride + r.x,
		       (size_t)r.w * 4);
	add(v->changed, &v->nchanged, CHANGES,
	    (SDL_Rect){ (int)r.x, (int)r.y, (int)r.w, (int)r.h });
}

static bool same_panel(const struct soft_panel *p, const SDL_Surface *s, SDL_Point at)
{
	if (!p->s || !s)
		return !p->s && !s;
	if (p->at.x != at.x || p->at.y != at.y || p->at.w != s->w || p->at.h != s->h)
		return false;
	for (int y = 0; y < s->h; y++)
		if (memcmp(pixel(p->s, 0, y), pixel(s, 0, y), (size_t)s->w * 4))
			return false;
	return true;
}

static void soft_set_panel(void *view, unsigned slot, SDL_Surface *s, SDL_Point at)
{
	struct view_soft *v = view;
	struct soft_panel *p = &v->panel[slot];

	if (same_panel(p, s, at))
		return;
	if (p->s)
		add(v->touched, &v->ntouched, ARRAY_SIZE(v->touched), p->at);
	SDL_FreeSurface(p->s);
	p->s = s ? SDL_DuplicateSurface(s) : NULL;
	if (!p->s)
		return;
	SDL_SetSurfaceBlendMode(p->s, SDL_BLENDMODE_BLEND);
	p->at = (SDL_Rect){ at.x, at.y, s->w, s->h };
	add(v->touched, &v->ntouched, ARRAY_SIZE(v->touched), p->at);
}

/* ---- scaling ------------------------------------------------------------------ */

static void axis_close(struct axis *a)
{
	free(a->at);
	free(a->part);
	*a = (struct axis){ 0 };
}

/* In 1/65536 of the picture's pixels; centres are at halves. */
static void axis_set(struct axis *a, int from, int to, bool smooth)
{
	if (a->from == from && a->to == to && a->smooth == smooth)
		return;
	axis_close(a);
	a->at = hv_zalloc((size_t)to * sizeof(*a->at));
	a->part = hv_zalloc((size_t)to * sizeof(*a->part));
	for (int i = 0; i < to; i++) {
		int64_t p = ((2 * (int64_t)i + 1) * from * 32768) / to;

		if (smooth)
			p = SDL_max(p - 32768, 0);
		a->at[i] = SDL_min((int)(p >> 16), from - 1);
		a->part[i] = smooth && a->at[i] + 1 < from ? (uint16_t)((p & 0xffff) >> 8) : 0;
	}
	a->from = from;
	a->to = to;
	a->smooth = smooth;
}

static inline uint32_t mix(uint32_t a, uint32_t b, uint32_t part)
{
	uint32_t rb = (a & 0xff00ff) * (256 - part) + (b & 0xff00ff) * part;
	uint32_t g = (a & 0xff00) * (256 - part) + (b & 0xff00) * part;

	return (rb >> 8 & 0xff00ff) | (g >> 8 & 0xff00);
}

/* Row @y of the picture as shown, columns [x0, x1), to @out. */
static void smooth_row(struct view_soft *v, int y, int x0, int x1, uint32_t *out)
{
	int from = v->x.at[x0], to = SDL_min(v->x.at[x1 - 1] + 2, v->picture->w);
	const uint32_t *a = pixel(v->picture, 0, v->y.at[y]);
	const uint32_t *b = v->y.part[y] ? pixel(v->picture, 0, v->y.at[y] + 1) : a;

	for (int i = from; i < to; i++)
		v->row[i] = mix(a[i], b[i], v->y.part[y]);
	v->row[to] = 0;		/* read with a part of 0 */
	for (int x = x0; x < x1; x++) {
		int i = v->x.at[x];

		*out++ = mix(v->row[i], v->row[i + 1], v->x.part[x]);
	}
}

static void nearest_row(struct view_soft *v, int y, int x0, int x1, uint32_t *out)
{
	const uint32_t *in = pixel(v->picture, 0, v->y.at[y]);

	if (v->x.from == v->x.to)
		memcpy(out, in + x0, (size_t)(x1 - x0) * 4);
	else
		for (int x = x0; x < x1; x++)
			*out++ = in[v->x.at[x]];
}

static void dim_row(uint32_t *p, int n)
{
	for (int i = 0; i < n; i++)
		p[i] = mix(0, p[i], 154);
}

/* The picture's part of @r, which is in the window. */
static void draw_picture(struct view_soft *v, const struct view_frame *f, SDL_Surface *to,
			 SDL_Rect r)
{
	bool smooth = f->smooth && (f->dst.w != v->picture->w || f->dst.h != v->picture->h);

	if (!SDL_IntersectRect(&r, &f->dst, &r))
		return;
	axis_set(&v->x, v->picture->w, f->dst.w, smooth);
	axis_set(&v->y, v->picture->h, f->dst.h, smooth);
	for (int i = 0; i < r.h; i++) {
		int y = r.y - f->dst.y + i, x0 = r.x - f->dst.x;
		uint32_t *out = pixel(to, r.x, r.y + i);

		if (smooth)
			smooth_row(v, y, x0, x0 + r.w, out);
		else if (i && v->y.at[y] == v->y.at[y - 1] && !f->dim)
			memcpy(out, pixel(to, r.x, r.y + i - 1), (size_t)r.w * 4);
		else
			nearest_row(v, y, x0, x0 + r.w, out);
		if (f->dim)
			dim_row(out, r.w);
	}
}

/* ---- a frame ------------------------------------------------------------------------ */

static bool inside(const SDL_Rect *r, const SDL_Rect *in)
{
	return r->x >= in->x && r->y >= in->y && r->x + r->w <= in->x + in->w &&
	       r->y + r->h <= in->y + in->h;
}

static void draw(struct view_soft *v, const struct view_frame *f, SDL_Surface *to, SDL_Rect r)
{
	bool picture = v->picture && !f->blank;

	SDL_SetClipRect(to, &r);
	if (!picture || !inside(&r, &f->dst))
		SDL_FillRect(to, &r, GROUND);
	if (picture)
		draw_picture(v, f, to, r);
	for (unsigned i = 0; i < VIEW_PANELS; i++) {
		SDL_Rect at = v->panel[i].at;

		if (v->panel[i].s)
			SDL_BlitSurface(v->panel[i].s, NULL, to, &at);
	}
	SDL_SetClipRect(to, NULL);
}

/* Where in the window a part of the picture is, with the neighbours that are mixed with it. */
static SDL_Rect place(const struct view_soft *v, const struct view_frame *f, SDL_Rect r)
{
	int w = v->picture->w, h = v->picture->h, x1, y1;

	if (f->dst.w == w && f->dst.h == h)
		return (SDL_Rect){ f->dst.x + r.x, f->dst.y + r.y, r.w, r.h };
	x1 = (int)((int64_t)(r.x + r.w + 1) * f->dst.w / w) + 1;
	y1 = (int)((int64_t)(r.y + r.h + 1) * f->dst.h / h) + 1;
	r.x = (int)((int64_t)(r.x - 1) * f->dst.w / w) - 1;
	r.y = (int)((int64_t)(r.y - 1) * f->dst.h / h) - 1;
	return (SDL_Rect){ f->dst.x + r.x, f->dst.y + r.y, x1 - r.x, y1 - r.y };
}

static bool same_frame(const struct view_frame *a, const struct view_frame *b)
{
	return SDL_RectEquals(&a->dst, &b->dst) && a->smooth == b->smooth &&
	       a->blank == b->blank && a->dim == b->dim;
}

/* What must be drawn of a window of this size. */
static unsigned collect(struct view_soft *v, const struct view_frame *f, bool whole, SDL_Rect all,
			SDL_Rect *list)
{
	unsigned n = 0;

	if (whole) {
		list[n++] = all;
	} else {
		for (unsigned i = 0; i < v->nchanged && v->picture && !f->blank; i++)
			list[n++] = place(v, f, v->changed[i]);
		for (unsigned i = 0; i < v->ntouched; i++)
			list[n++] = v->touched[i];
	}
	v->nchanged = v->ntouched = 0;
	for (unsigned i = 0; i < n;)
		if (SDL_IntersectRect(&list[i], &all, &list[i]))
			i++;
		else
			list[i] = list[--n];
	return n;
}

/* What is drawn into: the window itself if its pixels are ours. */
static SDL_Surface *target(struct view_soft *v, SDL_Surface *window)
{
	if (window->format->format == SDL_PIXELFORMAT_RGB888)
		return window;
	if (v->canvas && (v->canvas->w != window->w || v->canvas->h != window->h)) {
		SDL_FreeSurface(v->canvas);
		v->canvas = NULL;
	}
	if (!v->canvas)
		v->canvas = SDL_CreateRGBSurfaceWithFormat(0, window->w, window->h, 32,
							   SDL_PIXELFORMAT_RGB888);
	return v->canvas;
}

static void soft_present(void *view, const struct view_frame *f)
{
	struct view_soft *v = view;
	SDL_Surface *window = SDL_GetWindowSurface(v->win);
	SDL_Surface *to = window ? target(v, window) : NULL;
	SDL_Rect list[CHANGES + 2 * VIEW_PANELS];
	unsigned n;
	bool whole;

	if (!to) {
		v->pixels = NULL;
		return;
	}
	whole = f->whole || window->pixels != v->pixels || window->w != v->w ||
		window->h != v->h || !same_frame(f, &v->shown);
	n = collect(v, f, whole, (SDL_Rect){ 0, 0, to->w, to->h }, list);
	for (unsigned i = 0; i < n; i++) {
		draw(v, f, to, list[i]);
		if (to != window)
			SDL_BlitSurface(to, &list[i], window, &(SDL_Rect){ list[i].x, list[i].y,
									   0, 0 });
	}
	v->shown = *f;
	v->pixels = window->pixels;
	v->w = window->w;
	v->h = window->h;
	if (n)
		SDL_UpdateWindowSurfaceRects(v->win, list, (int)n);
}

static void soft_close(void *view)
{
	struct view_soft *v = view;

	for (unsigned i = 0; i < VIEW_PANELS; i++)
		SDL_FreeSurface(v->panel[i].s);
	SDL_FreeSurface(v->picture);
	SDL_FreeSurface(v->canvas);
	axis_close(&v->x);
	axis_close(&v->y);
	free(v->row);
	free(v);
}

const struct view_ops view_soft_ops = {
	.name = "software", .open = soft_open, .resize = soft_resize, .upload = soft_upload,
	.panel = soft_set_panel, .present = soft_present, .close = soft_close,
};
