/* SPDX-License-Identifier: MIT */
/*
 * virtio-gpu scanout 0: which part of which resource the display shows, what
 * was flushed since the viewer looked, and the cursor (VIRTIO 1.2, 5.7.6.8).
 *
 * Pixels are copied when a viewer refreshes, from the host's image or, for a
 * blob, from guest memory: an unwatched screen costs nothing.
 */
#include "gpu_int.h"
#include <endian.h>

/* ---- pixels ------------------------------------------------------------------- */
/* Bytes in memory order, as the formats are named (5.7.6.8). */
static uint32_t xrgb_of(uint32_t p, uint32_t format)
{
	switch (format) {
	case 3:				/* A8R8G8B8, X8R8G8B8 */
	case 4:
		return __builtin_bswap32(p);
	case 67:			/* R8G8B8A8, R8G8B8X8 */
	case 134:
		return (p & 0xff00ff00) | (p & 0xff) << 16 | (p >> 16 & 0xff);
	case 68:			/* X8B8G8R8, A8B8G8R8 */
	case 121:
		p = __builtin_bswap32(p);
		return (p & 0xff00ff00) | (p & 0xff) << 16 | (p >> 16 & 0xff);
	default:			/* B8G8R8A8, B8G8R8X8 */
		return p;
	}
}

void gpu_to_xrgb(uint32_t *p, size_t n, uint32_t format, bool alpha)
{
	uint32_t mask = alpha ? UINT32_MAX : 0xffffff;

	if (format <= 2 && alpha)
		return;
	for (size_t i = 0; i < n; i++)
		p[i] = xrgb_of(p[i], format) & mask;
}

/* ---- what is shown -------------------------------------------------------------- */
static struct gpu_rect clip(struct gpu_rect r, struct gpu_rect by)
{
	uint64_t x0 = MAX(r.x, by.x), y0 = MAX(r.y, by.y);
	uint64_t x1 = MIN((uint64_t)r.x + r.w, (uint64_t)by.x + by.w);
	uint64_t y1 = MIN((uint64_t)r.y + r.h, (uint64_t)by.y + by.h);

	if (x0 >= x1 || y0 >= y1)
		return (struct gpu_rect){ 0 };
	return (struct gpu_rect){ (uint32_t)x0, (uint32_t)y0, (uint32_t)(x1 - x0),
				  (uint32_t)(y1 - y0) };
}

static void add_dirty(struct gpu *g, struct gpu_rect r)
{
	struct gpu_rect *d = &g->dirty;
	uint32_t x1, y1;

	if (!r.w)
		return;
	if (!d->w) {
		*d = r;
		return;
	}
	x1 = MAX(d->x + d->w, r.x + r.w);
	y1 = MAX(d->y + d->h, r.y + r.h);
	d->x = MIN(d->x, r.x);
	d->y = MIN(d->y, r.y);
	d->w = x1 - d->x;
	d->h = y1 - d->y;
}

static bool scanout_ok(const struct gpu *g, const struct gpu_scanout *s)
{
	const struct gpu_res *r = gpu_res_find((struct gpu *)g, s->res);
	const struct gpu_rect *c = &s->r;

	if (!r || !c->w || !c->h || c->w > DISPLAY_MAX_DIM || c->h > DISPLAY_MAX_DIM)
		return false;
	if (!r->blob)
		return range_ok(c->x, c->w, r->w) && range_ok(c->y, c->h, r->h);
	/* The last line of the rectangle must be inside the blob. */
	return gpu_format_ok(s->format) && c->x <= GPU_MAX_DIM && c->y <= GPU_MAX_DIM &&
	       s->stride <= GPU_MAX_DIM * 4 && s->offset <= r->size &&
	       range_ok(s->offset + (uint64_t)(c->y + c->h - 1) * s->stride,
			((uint64_t)c->x + c->w) * 4, r->size);
}

enum gpu_cmd gpu_set_scanout(struct virtio_vga *v, const struct gpu_scanout *s)
{
	struct gpu *g = &v->gpu;

	if (s->res && !gpu_res_find(g, s->res))
		return GPU_E_RESOURCE;
	if (s->res && !scanout_ok(g, s))
		return GPU_E_PARAMETER;
	g->scan = *s;
	g->active |= s->res != 0;
	g->dirty = (struct gpu_rect){ 0, 0, s->r.w, s->r.h };
	return GPU_OK;
}

void gpu_scanout_lost(struct virtio_vga *v, uint32_t res)
{
	if (v->gpu.scan.res == res)
		v->gpu.scan.res = 0;
	if (v->gpu.cursor_res == res)
		v->gpu.cursor_res = 0;
}

void gpu_flush(struct virtio_vga *v, uint32_t res, struct gpu_rect r)
{
	struct gpu *g = &v->gpu;

	if (g->scan.res != res)
		return;
	r = clip(r, g->scan.r);
	r.x -= r.w ? g->scan.r.x : 0;
	r.y -= r.w ? g->scan.r.y : 0;
	add_dirty(g, r);
}

void gpu_show_vga(struct virtio_vga *v)
{
	v->gpu.active = false;
	v->vga.redraw = true;
	if (gpu_display(v))
		display_set_cursor(gpu_display(v), NULL);
}

/* ---- refresh ---------------------------------------------------------------------- */
static void copy_image(const struct gpu_res *r, const struct gpu_scanout *s, struct gpu_rect d,
		       struct surface *to)
{
	for (uint32_t y = d.y; y < d.y + d.h; y++) {
		uint32_t *line = to->pixels + (size_t)y * to->stride + d.x;

		memcpy(line, r->image + (size_t)(s->r.y + y) * r->w + s->r.x + d.x,
		       (size_t)d.w * 4);
		gpu_to_xrgb(line, d.w, r->format, false);
	}
}

static void copy_blob(struct virtio_vga *v, const struct gpu_res *r, struct gpu_rect d,
		      struct surface *to)
{
	const struct gpu_scanout *s = &v->gpu.scan;
	struct gpu_reader rd;

	gpu_read_start(&rd, v, r);
	for (uint32_t y = d.y; y < d.y + d.h; y++) {
		uint32_t *line = to->pixels + (size_t)y * to->stride + d.x;
		uint64_t off = s->offset + ((uint64_t)s->r.y + y) * s->stride +
			       ((uint64_t)s->r.x + d.x) * 4;

		if (!gpu_read_at(&rd, off, line, (size_t)d.w * 4))
			return;		/* the backing was taken away */
		gpu_to_xrgb(line, d.w, s->format, false);
	}
}

static void draw(struct virtio_vga *v, const struct gpu_res *r, struct display *d)
{
	struct gpu *g = &v->gpu;
	struct surface *to;
	struct gpu_rect c;

	to = display_surface(d);
	if (to->w != g->scan.r.w || to->h != g->scan.r.h) {
		if (!display_resize(d, g->scan.r.w, g->scan.r.h))
			return;
		g->dirty = (struct gpu_rect){ 0, 0, g->scan.r.w, g->scan.r.h };
	}
	c = clip(g->dirty, (struct gpu_rect){ 0, 0, to->w, to->h });
	g->dirty.w = 0;
	if (!c.w)
		return;
	if (r->blob)
		copy_blob(v, r, c, to);
	else
		copy_image(r, &g->scan, c, to);
	display_damage(d, (struct rect){ c.x, c.y, c.w, c.h });
}

void gpu_refresh(void *dev)
{
	struct virtio_vga *v = dev;
	struct display *d = gpu_display(v);
	const struct gpu_res *r;

	if (!v->gpu.active) {
		vga_refresh(&v->vga);
		return;
	}
	r = gpu_res_find(&v->gpu, v->gpu.scan.res);
	display_set_blank(d, !r);
	if (r)
		draw(v, r, d);
}

size_t gpu_text(void *dev, char *buf, size_t len)
{
	struct virtio_vga *v = dev;

	return v->gpu.active ? 0 : vga_text(&v->vga, buf, len);
}

/* ---- cursor ------------------------------------------------------------------------- */
static bool cursor_pixels(struct virtio_vga *v, const struct gpu_res *r, uint32_t *out)
{
	struct gpu_reader rd;

	if (!r->blob) {
		if (r->w != GPU_CURSOR || r->h != GPU_CURSOR)
			return false;
		memcpy(out, r->image, GPU_CURSOR * GPU_CURSOR * 4);
		gpu_to_xrgb(out, GPU_CURSOR * GPU_CURSOR, r->format, true);
		return true;
	}
	gpu_read_start(&rd, v, r);
	return gpu_read_at(&rd, 0, out, GPU_CURSOR * GPU_CURSOR * 4);
}

void gpu_set_cursor(struct virtio_vga *v)
{
	struct gpu *g = &v->gpu;
	struct display *d = gpu_display(v);
	const struct gpu_res *r = gpu_res_find(g, g->cursor_res);
	struct cursor c = { .w = GPU_CURSOR, .h = GPU_CURSOR };

	if (!d)
		return;
	c.hot_x = MIN(g->hot_x, GPU_CURSOR - 1);
	c.hot_y = MIN(g->hot_y, GPU_CURSOR - 1);
	c.visible = r && cursor_pixels(v, r, c.argb);
	display_set_cursor(d, &c);
}

bool gpu_scan_post_load(struct virtio_vga *v, struct err *e)
{
	struct gpu *g = &v->gpu;

	if (g->scan.res && !scanout_ok(g, &g->scan))
		return err_set(e, HV_EXIT_IMAGE, "impossible virtio-gpu scanout");
	g->dirty = (struct gpu_rect){ 0, 0, g->scan.r.w, g->scan.r.h };
	gpu_set_cursor(v);
	return true;
}
