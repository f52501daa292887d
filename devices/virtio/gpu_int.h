/* SPDX-License-Identifier: MIT */
/*
 * virtio-gpu 2D, private interface between gpu.c (device, commands),
 * gpu_res.c (resources and their backing) and gpu_scan.c (scanouts, cursors).
 *
 * Everything runs under vm->dev_lock.
 */
#ifndef HV_VIRTIO_GPU_INT_H
#define HV_VIRTIO_GPU_INT_H

#include "../../src/display.h"
#include "../vga_int.h"
#include "virtio.h"

#define GPU_MAX_RES 256u
#define GPU_MAX_ENTRIES 65536u		/* pages of backing, all resources together */
#define GPU_MAX_DIM 8192u
#define GPU_MAX_IMAGES (256u << 20)	/* bytes of all images */
#define GPU_CURSOR 64u
#define GPU_MAX_HEADS 16u		/* scanouts, in the layout of GET_DISPLAY_INFO too */

/* Commands and answers (VIRTIO 1.2, 5.7.6.7) */
enum gpu_cmd {
	GPU_GET_DISPLAY_INFO = 0x0100, GPU_RESOURCE_CREATE_2D, GPU_RESOURCE_UNREF, GPU_SET_SCANOUT,
	GPU_RESOURCE_FLUSH, GPU_TRANSFER_TO_HOST_2D, GPU_ATTACH_BACKING, GPU_DETACH_BACKING,
	GPU_GET_CAPSET_INFO, GPU_GET_CAPSET, GPU_GET_EDID, GPU_ASSIGN_UUID, GPU_CREATE_BLOB,
	GPU_SET_SCANOUT_BLOB,
	GPU_UPDATE_CURSOR = 0x0300, GPU_MOVE_CURSOR,
	GPU_OK = 0x1100, GPU_OK_DISPLAY_INFO, GPU_OK_CAPSET_INFO, GPU_OK_CAPSET, GPU_OK_EDID,
	GPU_E_UNSPEC = 0x1200, GPU_E_MEMORY, GPU_E_SCANOUT, GPU_E_RESOURCE, GPU_E_CONTEXT,
	GPU_E_PARAMETER,
};

struct gpu_rect { uint32_t x, y, w, h; };

struct virtio_vga;

struct gpu_entry {
	uint64_t at;
	uint32_t len;
};

struct gpu_res {
	uint32_t id;			/* 0: free */
	bool blob;
	uint32_t format, w, h;		/* of a 2D resource */
	uint64_t size;			/* of a blob */
	uint32_t first, n;		/* backing: entries of struct gpu */
	uint32_t *image;		/* 2D: w * h pixels.  Not saved: read again */
};

struct gpu_scanout {
	uint32_t res;			/* id; 0: off */
	struct gpu_rect r;		/* part of the resource that is shown */
	uint32_t format, stride;	/* blob: bytes a line */
	uint64_t offset;		/* blob: of the first line */
};

/* A monitor of the guest. */
struct gpu_head {
	struct gpu_scanout scan;
	uint32_t cursor_res, hot_x, hot_y;
	uint32_t want_w, want_h;	/* size of the viewer's window */

	/* Derived */
	struct gpu_rect dirty;		/* of the scanout; w 0: nothing */
	struct virtio_vga *v;
	struct display *d;		/* NULL: nobody can look */
};

struct gpu {
	struct gpu_res res[GPU_MAX_RES];
	struct gpu_entry entry[GPU_MAX_ENTRIES];
	uint32_t nentries;		/* used, packed */
	struct gpu_head head[GPU_MAX_HEADS];
	uint32_t nheads;		/* as outputs, but for a state that is being loaded */
	bool active;			/* a driver has set a scanout since the reset */
	uint32_t events;

	/* Derived */
	uint32_t outputs;		/* how many the board gave it */
	uint64_t image_bytes;
	struct virtq_elem elem;
};

struct virtio_vga {
	struct vga vga;			/* must stay first: begins with struct virtio_dev */
	struct gpu gpu;
};

static inline struct virtio_vga *virtio_vga_of(struct virtio_dev *v)
{
	return container_of(v, struct virtio_vga, vga.virtio);
}

/* NULL: a scanout that the device has not. */
static inline struct gpu_head *gpu_head(struct gpu *g, uint32_t i)
{
	return i < g->nheads ? &g->head[i] : NULL;
}

/* gpu_res.c: each returns GPU_OK or GPU_E_*. */
extern const struct state_field gpu_res_fields[], gpu_entry_fields[];
struct gpu_res *gpu_res_find(struct gpu *g, uint32_t id);	/* NULL: none; id 0 is none */
bool gpu_format_ok(uint32_t format);
enum gpu_cmd gpu_res_create(struct gpu *g, uint32_t id, uint32_t format, uint32_t w, uint32_t h);
enum gpu_cmd gpu_blob_create(struct gpu *g, uint32_t id, uint64_t size, struct gpu_res **out);
void gpu_res_drop(struct gpu *g, struct gpu_res *r);
void gpu_res_drop_all(struct gpu *g);
/* Room for @n entries of backing; the caller fills g->entry[r->first ...]. */
enum gpu_cmd gpu_attach(struct gpu *g, struct gpu_res *r, uint32_t n);
void gpu_detach(struct gpu *g, struct gpu_res *r);
enum gpu_cmd gpu_transfer(struct virtio_vga *v, struct gpu_res *r, struct gpu_rect rect,
			  uint64_t offset);
/* After a load: checks everything, makes the images again. */
bool gpu_res_post_load(struct virtio_vga *v, struct err *e);

/* Reading a resource's backing from front to back. */
struct gpu_reader {
	const struct gpu *g;
	const struct gpu_res *r;
	struct guest_mem *gm;
	uint32_t entry;
	uint64_t base;		/* offset of that entry */
};
void gpu_read_start(struct gpu_reader *rd, struct virtio_vga *v, const struct gpu_res *r);
bool gpu_read_at(struct gpu_reader *rd, uint64_t off, void *dst, size_t len);

/* gpu_scan.c */
void gpu_to_xrgb(uint32_t *p, size_t n, uint32_t format, bool alpha);	/* in place */
enum gpu_cmd gpu_set_scanout(struct gpu_head *h, const struct gpu_scanout *s);
void gpu_flush(struct virtio_vga *v, uint32_t res, struct gpu_rect r);
void gpu_scanout_lost(struct virtio_vga *v, uint32_t res);	/* the resource goes away */
void gpu_set_cursor(struct gpu_head *h);
void gpu_make_heads(struct virtio_vga *v);	/* g->outputs of them, with their displays */
struct display_source gpu_source(struct gpu_head *h);
void gpu_reset_sizes(struct gpu *g);
void gpu_show_vga(struct virtio_vga *v);	/* reset: the VGA's picture again */
bool gpu_same_heads(struct gpu *g, struct err *e);	/* first: others count on them */
bool gpu_scan_post_load(struct virtio_vga *v, struct err *e);

#endif
