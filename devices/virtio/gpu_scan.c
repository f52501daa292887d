/* SPDX-License-Identifier: MIT */
/*
 * virtio-gpu scanouts: which part of which resource each display shows, what
 * was flushed since the viewer looked, and its cursor (VIRTIO 1.2, 5.7.6.8).
 *
 * Pixels are copied when a viewer refreshes, from the host's image or, for a
 * blob, from guest memory: an unwatched screen costs nothing.
 */
#include "gpu_int.h"
#include "../edid.h"
#include <endian.h>

#define EVENT_DISPLAY 1u
#define DEFAULT_W 1280u
#define DEFAULT_H 800u
#define OTHERS_W 1024u	/* of the others than scanout 0, until somebody looks */
#define OTHERS_H 768u

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

/* A viewer would find something new. */
static void tell(struct gpu_head *h)
{
	if (h->d)
		display_changed(h->d);
}

static void add_dirty(struct gpu_head *h, struct gpu_rect r)
{
	struct gpu_rect *d = &h->dirty;
	uint32_t x1, y1;

	if (!r.w)
		return;
	tell(h);
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

enum gpu_cmd gpu_set_scanout(struct gpu_head *h, const struct gpu_scanout *s)
{
	struct gpu *g = &h->v->gpu;

	if (s->res && !gpu_res_find(g, s->res))
		return GPU_E_RESOURCE;
	if (s->res && !scanout_ok(g, s))
		return GPU_E_PARAMETER;
	h->scan = *s;
	g->active |= s->res != 0;
	h->dirty = (struct gpu_rect){ 0, 0, s->r.w, s->r.h };
	tell(h);
	return GPU_OK;
}

void gpu_scanout_lost(struct virtio_vga *v, uint32_t res)
{
	for (struct gpu_head *h = v->gpu.head; h < v->gpu.head + v->gpu.nheads; h++) {
		if (h->scan.res == res) {
			h->scan.res = 0;
			tell(h);
		}
		if (h->cursor_res == res)
			h->cursor_res = 0;
	}
}

static void flush_one(struct gpu_head *h, struct gpu_rect r)
{
	r = clip(r, h->scan.r);
	r.x -= r.w ? h->scan.r.x : 0;
	r.y -= r.w ? h->scan.r.y : 0;
	add_dirty(h, r);
}

void gpu_flush(struct virtio_vga *v, uint32_t res, struct gpu_rect r)
{
	for (struct gpu_head *h = v->gpu.head; h < v->gpu.head + v->gpu.nheads; h++)
		if (h->scan.res == res)
			flush_one(h, r);
}

void gpu_show_vga(struct virtio_vga *v)
{
	v->gpu.active = false;
	v->vga.redraw = true;
	vga_touched(&v->vga);
	for (unsigned i = 0; i < v->gpu.nheads; i++)
		if (v->gpu.head[i].d)
			display_set_cursor(v->gpu.head[i].d, NULL);
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

static void copy_blob(struct gpu_head *h, const struct gpu_res *r, struct gpu_rect d,
		      struct surface *to)
{
	const struct gpu_scanout *s = &h->scan;
	struct gpu_reader rd;

	gpu_read_start(&rd, h->v, r);
	for (uint32_t y = d.y; y < d.y + d.h; y++) {
		uint32_t *line = to->pixels + (size_t)y * to->stride + d.x;
		uint64_t off = s->offset + ((uint64_t)s->r.y + y) * s->stride +
			       ((uint64_t)s->r.x + d.x) * 4;

		if (!gpu_read_at(&rd, off, line, (size_t)d.w * 4))
			return;		/* the backing was taken away */
		gpu_to_xrgb(line, d.w, s->format, false);
	}
}

static void draw(struct gpu_head *h, const struct gpu_res *r)
{
	const struct gpu_scanout *s = &h->scan;
	struct surface *to = display_surface(h->d);
	struct gpu_rect c;

	if (to->w != s->r.w || to->h != s->r.h) {
		if (!display_resize(h->d, s->r.w, s->r.h))
			return;
		h->dirty = (struct gpu_rect){ 0, 0, s->r.w, s->r.h };
	}
	c = clip(h->dirty, (struct gpu_rect){ 0, 0, to->w, to->h });
	h->dirty.w = 0;
	if (!c.w)
		return;
	if (r->blob)
		copy_blob(h, r, c, to);
	else
		copy_image(r, s, c, to);
	display_damage(h->d, (struct rect){ c.x, c.y, c.w, c.h });
}

static bool is_vga(const struct gpu_head *h)
{
	return h == h->v->gpu.head && !h->v->gpu.active;
}

static void refresh(void *head)
{
	struct gpu_head *h = head;
	const struct gpu_res *r;

	if (is_vga(h)) {
		vga_refresh(&h->v->vga);
		return;
	}
	r = gpu_res_find(&h->v->gpu, h->scan.res);
	display_set_blank(h->d, !r);
	if (r)
		draw(h, r);
}

/* Guests flush what they have drawn. */
static int rest_ms(void *head)
{
	struct gpu_head *h = head;

	return is_vga(h) ? vga_rest_ms(&h->v->vga) : -1;
}

static size_t text(void *head, char *buf, size_t len)
{
	struct gpu_head *h = head;

	return is_vga(h) ? vga_text(&h->v->vga, buf, len) : 0;
}

/*
 * Guests do not say how they put their monitors together.  Those that draw
 * one picture for all show parts of it; of others it is taken that they do
 * as the display information says: side by side, the first one at the left.
 */
static void place(void *head, struct display_place *out)
{
	const struct gpu_head *h = head;
	const struct gpu *g = &h->v->gpu;
	struct display_place row = { .h = 0 }, one = { .h = 0 };
	bool shared = true;
	unsigned n = 0;

	if (is_vga(h) || !h->scan.res)
		return;
	for (const struct gpu_head *o = g->head; o < g->head + g->nheads; o++) {
		const struct gpu_rect *r = &o->scan.r;

		if (!o->scan.res)
			continue;
		if (o == h)
			row.r = (struct rect){ row.w, 0, r->w, r->h };
		shared = shared && o->scan.res == h->scan.res && o->scan.stride == h->scan.stride &&
			 o->scan.offset == h->scan.offset;
		n++;
		row.w += r->w;
		row.h = MAX(row.h, r->h);
		one.w = MAX(one.w, r->x + r->w);
		one.h = MAX(one.h, r->y + r->h);
	}
	one.r = (struct rect){ h->scan.r.x, h->scan.r.y, h->scan.r.w, h->scan.r.h };
	if (n > 1)
		*out = shared ? one : row;
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

void gpu_set_cursor(struct gpu_head *h)
{
	const struct gpu_res *r = gpu_res_find(&h->v->gpu, h->cursor_res);
	struct cursor c = { .w = GPU_CURSOR, .h = GPU_CURSOR };

	if (!h->d)
		return;
	c.hot_x = MIN(h->hot_x, GPU_CURSOR - 1);
	c.hot_y = MIN(h->hot_y, GPU_CURSOR - 1);
	c.visible = r && cursor_pixels(h->v, r, c.argb);
	display_set_cursor(h->d, &c);
}

/* ---- the monitors ------------------------------------------------------------------- */
static bool want_size(void *dev, unsigned w, unsigned h)
{
	struct gpu_head *head = dev;
	struct gpu *g = &head->v->gpu;

	if (!g->active)
		return false;
	w = MIN(MAX(w, 320u), EDID_MAX_DIM) & ~7u;	/* guests' timings count in eights */
	h = MIN(MAX(h, 200u), EDID_MAX_DIM);
	if (head->want_w == w && head->want_h == h)
		return true;
	head->want_w = w;
	head->want_h = h;
	g->events |= EVENT_DISPLAY;
	virtio_config_changed(&head->v->vga.virtio);
	return true;
}

struct display_source gpu_source(struct gpu_head *h)
{
	return (struct display_source){ .refresh = refresh, .text = text, .want_size = want_size,
					.rest_ms = rest_ms, .place = place, .dev = h };
}

void gpu_reset_sizes(struct gpu *g)
{
	for (unsigned i = 0; i < GPU_MAX_HEADS; i++) {
		bool used = i < g->nheads;

		g->head[i].want_w = !i ? DEFAULT_W : used ? OTHERS_W : 0;
		g->head[i].want_h = !i ? DEFAULT_H : used ? OTHERS_H : 0;
	}
}

/* Scanout 0's source is set with the VGA. */
void gpu_make_heads(struct virtio_vga *v)
{
	struct gpu *g = &v->gpu;
	struct display *first = v->vga.pci.dev.vm->display;

	g->nheads = g->outputs = MAX(g->outputs, 1u);
	if (first)
		display_set_scanouts(first, g->nheads);
	for (unsigned i = 0; i < GPU_MAX_HEADS; i++) {
		struct display_source src = gpu_source(&g->head[i]);

		g->head[i].v = v;
		g->head[i].d = first ? display_scanout(first, i) : NULL;
		if (i && g->head[i].d)
			display_set_source(g->head[i].d, &src);
	}
	gpu_reset_sizes(g);
}

bool gpu_same_heads(struct gpu *g, struct err *e)
{
	uint32_t saved = g->nheads;

	g->nheads = g->outputs;
	return saved == g->outputs ||
	       err_set(e, HV_EXIT_IMAGE, "it was saved with %u screens, this machine has %u; "
		       "give --vga virtio,outputs=%u", saved, g->outputs, saved);
}

bool gpu_scan_post_load(struct virtio_vga *v, struct err *e)
{
	struct gpu *g = &v->gpu;

	for (struct gpu_head *h = g->head; h < g->head + g->nheads; h++) {
		if (h->scan.res && !scanout_ok(g, &h->scan))
			return err_set(e, HV_EXIT_IMAGE, "impossible virtio-gpu scanout");
		if (h->want_w > EDID_MAX_DIM || h->want_h > EDID_MAX_DIM)
			return err_set(e, HV_EXIT_IMAGE, "impossible virtio-gpu window size");
		h->dirty = (struct gpu_rect){ 0, 0, h->scan.r.w, h->scan.r.h };
		gpu_set_cursor(h);
		tell(h);
	}
	return true;
}
