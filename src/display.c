/* SPDX-License-Identifier: MIT */
/*
 * Surface, damage list and screenshots; see display.h.  PNG by libpng.
 */
#include "display.h"
#include <errno.h>
#include <png.h>
#include <setjmp.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

struct display {
	struct display_source src;
	struct surface s;
	struct rect damage[DISPLAY_MAX_RECTS];
	unsigned ndamage;
	bool resized, blank;
	struct cursor cursor;
	bool has_cursor;
	unsigned cursor_serial;
	uint64_t serial;
	struct bell *bell;
	struct display *others[DISPLAY_MAX_SCANOUTS - 1];	/* of scanout 0: 1 and so on */
	unsigned nothers;
};

struct display *display_new(void)
{
	struct display *d = hv_zalloc(sizeof(*d));

	HV_BUG_ON(!display_resize(d, 720, 400));
	return d;
}

void display_free(struct display *d)
{
	if (!d)
		return;
	while (d->nothers)
		display_free(d->others[--d->nothers]);
	free(d->s.pixels);
	free(d);
}

void display_set_scanouts(struct display *d, unsigned n)
{
	HV_BUG_ON(!n || n > DISPLAY_MAX_SCANOUTS);
	while (d->nothers + 1 < n)
		d->others[d->nothers++] = display_new();
	while (d->nothers + 1 > n)
		display_free(d->others[--d->nothers]);
}

unsigned display_scanouts(const struct display *d)
{
	return d->nothers + 1;
}

struct display *display_scanout(struct display *d, unsigned i)
{
	return !i ? d : i <= d->nothers ? d->others[i - 1] : NULL;
}

void display_set_source(struct display *d, const struct display_source *src)
{
	d->src = *src;
}

bool display_resize(struct display *d, unsigned w, unsigned h)
{
	uint32_t *pixels;

	if (!w || !h || w > DISPLAY_MAX_DIM || h > DISPLAY_MAX_DIM)
		return false;
	if (d->s.w == w && d->s.h == h)
		return true;
	pixels = calloc((size_t)w * h, sizeof(*pixels));
	if (!pixels)
		return false;
	free(d->s.pixels);
	d->s = (struct surface){ .pixels = pixels, .w = w, .h = h, .stride = w };
	d->resized = true;
	d->ndamage = 0;
	display_damage(d, (struct rect){ 0, 0, w, h });
	return true;
}

struct surface *display_surface(struct display *d)
{
	return &d->s;
}

static struct rect bounding(struct rect a, struct rect b)
{
	unsigned x1 = MAX(a.x + a.w, b.x + b.w), y1 = MAX(a.y + a.h, b.y + b.h);
	struct rect r = { MIN(a.x, b.x), MIN(a.y, b.y), 0, 0 };

	r.w = x1 - r.x;
	r.h = y1 - r.y;
	return r;
}

void display_damage(struct display *d, struct rect r)
{
	if (r.x >= d->s.w || r.y >= d->s.h || !r.w || !r.h)
		return;
	r.w = MIN(r.w, d->s.w - r.x);
	r.h = MIN(r.h, d->s.h - r.y);
	d->serial++;
	if (d->ndamage < DISPLAY_MAX_RECTS) {
		d->damage[d->ndamage++] = r;
		return;
	}
	for (unsigned i = 0; i < d->ndamage; i++)
		r = bounding(r, d->damage[i]);
	d->damage[0] = r;
	d->ndamage = 1;
}

void display_set_blank(struct display *d, bool blank)
{
	if (d->blank == blank)
		return;
	d->blank = blank;
	display_damage(d, (struct rect){ 0, 0, d->s.w, d->s.h });
}

void display_set_cursor(struct display *d, const struct cursor *c)
{
	d->has_cursor = c != NULL;
	if (c)
		d->cursor = *c;
	d->cursor_serial++;
	display_changed(d);
}

bool display_cursor(const struct display *d, unsigned *serial, const struct cursor **out)
{
	if (*serial == d->cursor_serial)
		return false;
	*serial = d->cursor_serial;
	*out = d->has_cursor ? &d->cursor : NULL;
	return true;
}

bool display_want_size(struct display *d, unsigned w, unsigned h)
{
	return d->src.want_size && d->src.want_size(d->src.dev, w, h);
}

struct display_place display_place(struct display *d)
{
	struct display_place p = { { 0, 0, d->s.w, d->s.h }, d->s.w, d->s.h };

	if (d->src.place)
		d->src.place(d->src.dev, &p);
	return p;
}

void display_changed(struct display *d)
{
	bell_ring(d->bell);
}

void display_set_bell(struct display *d, struct bell *b)
{
	d->bell = b;
}

int display_rest_ms(struct display *d)
{
	return !d->src.refresh ? -1 : d->src.rest_ms ? d->src.rest_ms(d->src.dev) : 0;
}

uint64_t display_serial(const struct display *d)
{
	return d->serial;
}

void display_refresh(struct display *d)
{
	if (d->src.refresh)
		d->src.refresh(d->src.dev);
}

unsigned display_take_damage(struct display *d, struct rect out[DISPLAY_MAX_RECTS],
			     bool *resized)
{
	unsigned n = d->ndamage;

	memcpy(out, d->damage, n * sizeof(out[0]));
	*resized = d->resized;
	d->ndamage = 0;
	d->resized = false;
	return n;
}

bool display_blank(const struct display *d)
{
	return d->blank;
}

size_t display_text(struct display *d, char *buf, size_t len)
{
	return d->src.text ? d->src.text(d->src.dev, buf, len) : 0;
}

/* longjmp target of libpng's errors: no locals that change after setjmp. */
static bool write_png(const struct surface *s, FILE *f, uint8_t *row)
{
	png_structp png = png_create_write_struct(PNG_LIBPNG_VER_STRING, NULL, NULL, NULL);
	png_infop info = png ? png_create_info_struct(png) : NULL;

	if (!info || setjmp(png_jmpbuf(png))) {
		png_destroy_write_struct(&png, &info);
		return false;
	}
	png_init_io(png, f);
	png_set_IHDR(png, info, s->w, s->h, 8, PNG_COLOR_TYPE_RGB, PNG_INTERLACE_NONE,
		     PNG_COMPRESSION_TYPE_DEFAULT, PNG_FILTER_TYPE_DEFAULT);
	png_write_info(png, info);
	for (unsigned y = 0; y < s->h; y++) {
		const uint32_t *p = s->pixels + (size_t)y * s->stride;

		for (unsigned x = 0; x < s->w; x++) {
			row[x * 3] = (uint8_t)(p[x] >> 16);
			row[x * 3 + 1] = (uint8_t)(p[x] >> 8);
			row[x * 3 + 2] = (uint8_t)p[x];
		}
		png_write_row(png, row);
	}
	png_write_end(png, NULL);
	png_destroy_write_struct(&png, &info);
	return true;
}

bool display_screenshot(struct display *d, const char *path, struct err *e)
{
	FILE *f = fopen(path, "wbe");
	uint8_t *row;
	bool ok;

	if (!f)
		return err_errno(e, HV_EXIT_GENERIC, errno, "cannot write the screenshot %s", path);
	row = hv_zalloc((size_t)d->s.w * 3);
	ok = write_png(&d->s, f, row);
	free(row);
	ok = !fclose(f) && ok;
	if (ok)
		return true;
	unlink(path);
	return err_set(e, HV_EXIT_HOST, "cannot write the screenshot %s: is the disk full?", path);
}
