/* SPDX-License-Identifier: MIT */
/*
 * virtio-gpu resources (VIRTIO 1.2, 5.7.6.8): 2D images with a copy on the
 * host, and blobs that live in guest memory only; their scattered backing.
 *
 * Backing entries of all resources are packed into one table in the order of
 * attachment, so that a saved state has a fixed shape.
 */
#include "gpu_int.h"
#include <stdlib.h>

const struct state_field gpu_res_fields[] = {
	STATE_U32(struct gpu_res, id), STATE_BOOL(struct gpu_res, blob),
	STATE_U32(struct gpu_res, format), STATE_U32(struct gpu_res, w),
	STATE_U32(struct gpu_res, h), STATE_U64(struct gpu_res, size),
	STATE_U32(struct gpu_res, first), STATE_U32(struct gpu_res, n), STATE_END
};
const struct state_field gpu_entry_fields[] = {
	STATE_U64(struct gpu_entry, at), STATE_U32(struct gpu_entry, len), STATE_END
};

struct gpu_res *gpu_res_find(struct gpu *g, uint32_t id)
{
	for (unsigned i = 0; id && i < GPU_MAX_RES; i++)
		if (g->res[i].id == id)
			return &g->res[i];
	return NULL;
}

bool gpu_format_ok(uint32_t format)
{
	static const uint8_t known[] = { 1, 2, 3, 4, 67, 68, 121, 134 };

	return format < 256 && memchr(known, (int)format, sizeof(known));
}

static struct gpu_res *new_res(struct gpu *g, uint32_t id)
{
	for (unsigned i = 0; i < GPU_MAX_RES; i++)
		if (!g->res[i].id) {
			g->res[i] = (struct gpu_res){ .id = id };
			return &g->res[i];
		}
	return NULL;
}

static bool make_image(struct gpu *g, struct gpu_res *r)
{
	uint64_t bytes = (uint64_t)r->w * r->h * 4;

	if (g->image_bytes + bytes > GPU_MAX_IMAGES)
		return false;
	r->image = calloc(1, bytes);
	if (r->image)
		g->image_bytes += bytes;
	return r->image != NULL;
}

static bool dims_ok(uint32_t w, uint32_t h)
{
	return w && h && w <= GPU_MAX_DIM && h <= GPU_MAX_DIM;
}

enum gpu_cmd gpu_res_create(struct gpu *g, uint32_t id, uint32_t format, uint32_t w, uint32_t h)
{
	struct gpu_res *r;

	if (!id || gpu_res_find(g, id))
		return GPU_E_RESOURCE;
	if (!gpu_format_ok(format) || !dims_ok(w, h))
		return GPU_E_PARAMETER;
	r = new_res(g, id);
	if (!r)
		return GPU_E_MEMORY;
	r->format = format;
	r->w = w;
	r->h = h;
	if (make_image(g, r))
		return GPU_OK;
	r->id = 0;
	return GPU_E_MEMORY;
}

enum gpu_cmd gpu_blob_create(struct gpu *g, uint32_t id, uint64_t size, struct gpu_res **out)
{
	struct gpu_res *r;

	if (!id || gpu_res_find(g, id))
		return GPU_E_RESOURCE;
	r = new_res(g, id);
	if (!r)
		return GPU_E_MEMORY;
	r->blob = true;
	r->size = size;
	*out = r;
	return GPU_OK;
}

void gpu_res_drop(struct gpu *g, struct gpu_res *r)
{
	gpu_detach(g, r);
	if (r->image)
		g->image_bytes -= (uint64_t)r->w * r->h * 4;
	free(r->image);
	*r = (struct gpu_res){ 0 };
}

/* Trusts nothing but the images: a refused load leaves anything else behind. */
void gpu_res_drop_all(struct gpu *g)
{
	for (unsigned i = 0; i < GPU_MAX_RES; i++)
		free(g->res[i].image);
	memset(g->res, 0, sizeof(g->res));
	memset(g->entry, 0, sizeof(g->entry));
	g->nentries = 0;
	g->image_bytes = 0;
}

/* ---- backing ----------------------------------------------------------------- */
enum gpu_cmd gpu_attach(struct gpu *g, struct gpu_res *r, uint32_t n)
{
	if (r->n)
		return GPU_E_UNSPEC;
	if (!n)
		return GPU_E_PARAMETER;
	if (n > GPU_MAX_ENTRIES - g->nentries)
		return GPU_E_MEMORY;
	r->first = g->nentries;
	r->n = n;
	g->nentries += n;
	return GPU_OK;
}

void gpu_detach(struct gpu *g, struct gpu_res *r)
{
	uint32_t n = r->n, end = r->first + n;

	if (!n)
		return;
	memmove(&g->entry[r->first], &g->entry[end],
		(g->nentries - end) * sizeof(g->entry[0]));
	memset(&g->entry[g->nentries - n], 0, n * sizeof(g->entry[0]));
	g->nentries -= n;
	for (unsigned i = 0; i < GPU_MAX_RES; i++)
		if (g->res[i].n && g->res[i].first > r->first)
			g->res[i].first -= n;
	r->first = r->n = 0;
}

void gpu_read_start(struct gpu_reader *rd, struct virtio_vga *v, const struct gpu_res *r)
{
	*rd = (struct gpu_reader){ .g = &v->gpu, .r = r, .gm = dev_mem(&v->vga.pci.dev) };
}

/* Offsets normally grow; going back starts over. */
bool gpu_read_at(struct gpu_reader *rd, uint64_t off, void *dst, size_t len)
{
	uint8_t *to = dst;

	if (off < rd->base) {
		rd->entry = 0;
		rd->base = 0;
	}
	while (len && rd->entry < rd->r->n) {
		const struct gpu_entry *en = &rd->g->entry[rd->r->first + rd->entry];
		size_t n;

		if (off - rd->base >= en->len) {
			rd->base += en->len;
			rd->entry++;
			continue;
		}
		n = MIN(len, (size_t)(en->len - (off - rd->base)));
		if (!gm_read(rd->gm, GPA(en->at + (off - rd->base)), to, n))
			return false;
		to += n;
		off += n;
		len -= n;
	}
	return !len;
}

static bool inside(const struct gpu_res *r, struct gpu_rect c)
{
	return c.w && c.h && range_ok(c.x, c.w, r->w) && range_ok(c.y, c.h, r->h);
}

/* 5.7.6.8: rows of the rectangle, @offset into the backing, as far apart as the image's. */
enum gpu_cmd gpu_transfer(struct virtio_vga *v, struct gpu_res *r, struct gpu_rect c,
			  uint64_t offset)
{
	struct gpu_reader rd;

	if (r->blob)
		return GPU_OK;		/* nothing is kept on the host */
	if (!inside(r, c) || offset > (uint64_t)GPU_MAX_DIM * GPU_MAX_DIM * 4)
		return GPU_E_PARAMETER;
	gpu_read_start(&rd, v, r);
	for (uint32_t y = 0; y < c.h; y++)
		if (!gpu_read_at(&rd, offset + (uint64_t)y * r->w * 4,
				 r->image + (uint64_t)(c.y + y) * r->w + c.x, (size_t)c.w * 4))
			return GPU_E_UNSPEC;
	return GPU_OK;
}

/* ---- load ------------------------------------------------------------------------ */
/* Inside the table, and no entry belongs to two. */
static bool backing_ok(const struct gpu *g, const struct gpu_res *r)
{
	if (!range_ok(r->first, r->n, g->nentries))
		return false;
	for (const struct gpu_res *o = g->res; o < r; o++)
		if (o->first < r->first + r->n && r->first < o->first + o->n)
			return false;
	return true;
}

static bool load_one(struct virtio_vga *v, struct gpu_res *r)
{
	struct gpu_rect all = { 0, 0, r->w, r->h };

	if (!r->id)
		return !r->n;
	if (!backing_ok(&v->gpu, r))
		return false;
	if (r->blob)
		return true;
	if (!gpu_format_ok(r->format) || !dims_ok(r->w, r->h) || !make_image(&v->gpu, r))
		return false;
	if (r->n)	/* what the guest has drawn by now */
		gpu_transfer(v, r, all, 0);
	return true;
}

bool gpu_res_post_load(struct virtio_vga *v, struct err *e)
{
	struct gpu *g = &v->gpu;
	uint64_t used = 0;
	bool ok = g->nentries <= GPU_MAX_ENTRIES;

	g->image_bytes = 0;
	for (unsigned i = 0; i < GPU_MAX_RES; i++) {
		free(g->res[i].image);
		g->res[i].image = NULL;
	}
	for (unsigned i = 0; ok && i < GPU_MAX_RES; i++) {
		for (unsigned j = 0; j < i; j++)
			ok = ok && (!g->res[i].id || g->res[i].id != g->res[j].id);
		ok = ok && load_one(v, &g->res[i]);
		used += g->res[i].n;
	}
	return (ok && used == g->nentries) ||
	       err_set(e, HV_EXIT_IMAGE, "impossible virtio-gpu resources");
}
