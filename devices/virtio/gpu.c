/* SPDX-License-Identifier: MIT */
/*
 * virtio-gpu, 2D, with the VGA in the same PCI function (VIRTIO 1.2, 5.7):
 * firmware and guests without a driver see a standard VGA on scanout 0, a
 * driver's first scanout takes the screen over, a reset gives it back.
 *
 * One to sixteen scanouts, all of them plugged in, each with its EDID, its
 * cursor and the size of its viewer's window; guest-memory blobs.  Left out:
 * 3D (virgl), host blobs, UUIDs.
 */
#include "gpu_int.h"
#include "../edid.h"

#define F_EDID 1
#define F_RESOURCE_BLOB 3
#define BLOB_MEM_GUEST 1u
#define FLAG_FENCE 1u
#define HDR_LEN 24u
#define CONFIG_LEN 16u
#define Q_CONTROL 0
#define Q_CURSOR 1
#define MAX_ANSWER (HDR_LEN + 8 + 1024)

static const struct state_field scanout_fields[] = {
	STATE_U32(struct gpu_scanout, res), STATE_U32(struct gpu_scanout, r.x),
	STATE_U32(struct gpu_scanout, r.y), STATE_U32(struct gpu_scanout, r.w),
	STATE_U32(struct gpu_scanout, r.h), STATE_U32(struct gpu_scanout, format),
	STATE_U32(struct gpu_scanout, stride), STATE_U64(struct gpu_scanout, offset), STATE_END
};

static const struct state_field viewer_fields[] = {
	STATE_U32(struct gpu_head, cursor_res), STATE_U32(struct gpu_head, hot_x),
	STATE_U32(struct gpu_head, hot_y), STATE_U32(struct gpu_head, want_w),
	STATE_U32(struct gpu_head, want_h), STATE_END
};
static const struct state_field head_fields[] = {
	STATE_STRUCT(struct gpu_head, scan, scanout_fields), STATE_U32(struct gpu_head, cursor_res),
	STATE_U32(struct gpu_head, hot_x), STATE_U32(struct gpu_head, hot_y),
	STATE_U32(struct gpu_head, want_w), STATE_U32(struct gpu_head, want_h), STATE_END
};

/* Version 2 had scanout 0 only. */
#define T struct virtio_vga
static const struct state_field virtio_vga_state[] = {
	VIRTIO_STATE(T, vga.virtio), STATE_STRUCT(T, vga, vga_core_fields),
	STATE_STRUCTS(T, gpu.res, gpu_res_fields), STATE_STRUCTS(T, gpu.entry, gpu_entry_fields),
	STATE_U32(T, gpu.nentries), STATE_STRUCT(T, gpu.head[0].scan, scanout_fields),
	STATE_BOOL(T, gpu.active), STATE_STRUCT(T, gpu.head[0], viewer_fields),
	STATE_U32(T, gpu.events),
	STATE_ROW_(T, gpu.nheads, uint32_t, F_U32, 3),
	{ .name = "gpu.head[1]", .off = offsetof(T, gpu.head[1]), .size = sizeof(struct gpu_head),
	  .count = GPU_MAX_HEADS - 1, .kind = F_STRUCT, .since = 3, .sub = head_fields },
	STATE_END
};
#undef T

/* One command: read once, answered once. */
struct gpu_req {
	struct virtio_vga *v;
	struct virtq *q;
	const struct virtq_elem *el;
	uint8_t in[128];	/* header and the command's fixed part; zero behind its end */
	uint8_t out[MAX_ANSWER];
	uint32_t out_len;	/* with the header */
};

static uint32_t arg32(const struct gpu_req *r, unsigned off)
{
	return ld_le32(r->in + HDR_LEN + off);
}

static uint64_t arg64(const struct gpu_req *r, unsigned off)
{
	return ld_le64(r->in + HDR_LEN + off);
}

static struct gpu_rect arg_rect(const struct gpu_req *r)
{
	return (struct gpu_rect){ arg32(r, 0), arg32(r, 4), arg32(r, 8), arg32(r, 12) };
}

/* ---- commands --------------------------------------------------------------------- */
static enum gpu_cmd display_info(struct gpu_req *r)
{
	const struct gpu *g = &r->v->gpu;
	uint32_t x = 0;

	for (uint32_t i = 0; i < g->nheads; i++) {
		uint8_t *mode = r->out + HDR_LEN + 24 * i;

		st_le32(mode, x);		/* side by side */
		st_le32(mode + 8, g->head[i].want_w);
		st_le32(mode + 12, g->head[i].want_h);
		st_le32(mode + 16, 1);		/* enabled */
		x += g->head[i].want_w;
	}
	r->out_len = HDR_LEN + 24 * GPU_MAX_HEADS;
	return GPU_OK_DISPLAY_INFO;
}

static enum gpu_cmd get_edid(struct gpu_req *r)
{
	uint32_t i = arg32(r, 0);
	const struct gpu_head *h = gpu_head(&r->v->gpu, i);

	if (!h)
		return GPU_E_SCANOUT;
	st_le32(r->out + HDR_LEN, EDID_SIZE);
	edid_make(r->out + HDR_LEN + 8, i, h->want_w, h->want_h);
	r->out_len = HDR_LEN + 8 + 1024;
	return GPU_OK_EDID;
}

static enum gpu_cmd create_2d(struct gpu_req *r)
{
	return gpu_res_create(&r->v->gpu, arg32(r, 0), arg32(r, 4), arg32(r, 8), arg32(r, 12));
}

static enum gpu_cmd unref(struct gpu_req *r)
{
	struct gpu_res *res = gpu_res_find(&r->v->gpu, arg32(r, 0));

	if (!res)
		return GPU_E_RESOURCE;
	gpu_scanout_lost(r->v, res->id);
	gpu_res_drop(&r->v->gpu, res);
	return GPU_OK;
}

/* @n entries behind the fixed part, @at bytes from the start of the command. */
static enum gpu_cmd take_entries(struct gpu_req *r, struct gpu_res *res, uint32_t n, unsigned at)
{
	struct gpu *g = &r->v->gpu;
	uint8_t buf[16 * 64];
	enum gpu_cmd how;

	if (n > GPU_MAX_ENTRIES || at + 16ull * n > r->el->out_len)
		return GPU_E_PARAMETER;
	how = gpu_attach(g, res, n);
	for (uint32_t i = 0; how == GPU_OK && i < n; i += 64) {
		uint32_t k = MIN(n - i, 64u);

		if (!virtq_read(r->q, r->el, at + 16ull * i, buf, 16ul * k)) {
			gpu_detach(g, res);
			return GPU_E_UNSPEC;
		}
		for (uint32_t j = 0; j < k; j++)
			g->entry[res->first + i + j] = (struct gpu_entry){
				ld_le64(buf + 16 * j), ld_le32(buf + 16 * j + 8)
			};
	}
	return how;
}

static enum gpu_cmd attach_backing(struct gpu_req *r)
{
	struct gpu_res *res = gpu_res_find(&r->v->gpu, arg32(r, 0));

	return res ? take_entries(r, res, arg32(r, 4), HDR_LEN + 8) : GPU_E_RESOURCE;
}

static enum gpu_cmd detach_backing(struct gpu_req *r)
{
	struct gpu_res *res = gpu_res_find(&r->v->gpu, arg32(r, 0));

	if (!res)
		return GPU_E_RESOURCE;
	gpu_detach(&r->v->gpu, res);
	return GPU_OK;
}

static enum gpu_cmd create_blob(struct gpu_req *r)
{
	struct gpu_res *res;
	enum gpu_cmd how;

	if (!virtio_has(&r->v->vga.virtio, F_RESOURCE_BLOB))
		return GPU_E_UNSPEC;
	if (arg32(r, 4) != BLOB_MEM_GUEST)
		return GPU_E_PARAMETER;
	how = gpu_blob_create(&r->v->gpu, arg32(r, 0), arg64(r, 24), &res);
	if (how != GPU_OK || !arg32(r, 12))
		return how;
	how = take_entries(r, res, arg32(r, 12), HDR_LEN + 32);
	if (how != GPU_OK)
		gpu_res_drop(&r->v->gpu, res);
	return how;
}

static enum gpu_cmd set_scanout(struct gpu_req *r)
{
	struct gpu_scanout s = { .res = arg32(r, 20), .r = arg_rect(r) };
	const struct gpu_res *res = gpu_res_find(&r->v->gpu, s.res);
	struct gpu_head *h = gpu_head(&r->v->gpu, arg32(r, 16));

	if (!h)
		return GPU_E_SCANOUT;
	return res && res->blob ? GPU_E_PARAMETER : gpu_set_scanout(h, &s);
}

static enum gpu_cmd set_scanout_blob(struct gpu_req *r)
{
	struct gpu_scanout s = {
		.res = arg32(r, 20), .r = arg_rect(r), .format = arg32(r, 32),
		.stride = arg32(r, 40), .offset = arg32(r, 56),
	};
	const struct gpu_res *res = gpu_res_find(&r->v->gpu, s.res);
	struct gpu_head *h = gpu_head(&r->v->gpu, arg32(r, 16));

	if (!h)
		return GPU_E_SCANOUT;
	return res && !res->blob ? GPU_E_PARAMETER : gpu_set_scanout(h, &s);
}

static enum gpu_cmd flush(struct gpu_req *r)
{
	uint32_t id = arg32(r, 16);

	if (!gpu_res_find(&r->v->gpu, id))
		return GPU_E_RESOURCE;
	gpu_flush(r->v, id, arg_rect(r));
	return GPU_OK;
}

static enum gpu_cmd transfer(struct gpu_req *r)
{
	struct gpu_res *res = gpu_res_find(&r->v->gpu, arg32(r, 24));

	return res ? gpu_transfer(r->v, res, arg_rect(r), arg64(r, 16)) : GPU_E_RESOURCE;
}

static enum gpu_cmd update_cursor(struct gpu_req *r)
{
	struct gpu_head *h = gpu_head(&r->v->gpu, arg32(r, 0));

	if (!h)
		return GPU_E_SCANOUT;
	h->cursor_res = arg32(r, 16);
	h->hot_x = arg32(r, 20);
	h->hot_y = arg32(r, 24);
	gpu_set_cursor(h);
	return GPU_OK;
}

/* The pointer is where the host's is: a viewer draws it there. */
static enum gpu_cmd move_cursor(struct gpu_req *r)
{
	return gpu_head(&r->v->gpu, arg32(r, 0)) ? GPU_OK : GPU_E_SCANOUT;
}

static const struct gpu_row {
	enum gpu_cmd cmd;
	unsigned len;		/* of the fixed part, behind the header */
	enum gpu_cmd (*run)(struct gpu_req *r);
} rows[] = {
	{ GPU_GET_DISPLAY_INFO, 0, display_info }, { GPU_GET_EDID, 8, get_edid },
	{ GPU_RESOURCE_CREATE_2D, 16, create_2d }, { GPU_RESOURCE_UNREF, 8, unref },
	{ GPU_SET_SCANOUT, 24, set_scanout }, { GPU_RESOURCE_FLUSH, 24, flush },
	{ GPU_TRANSFER_TO_HOST_2D, 32, transfer }, { GPU_ATTACH_BACKING, 8, attach_backing },
	{ GPU_DETACH_BACKING, 8, detach_backing }, { GPU_CREATE_BLOB, 32, create_blob },
	{ GPU_SET_SCANOUT_BLOB, 72, set_scanout_blob }, { GPU_UPDATE_CURSOR, 32, update_cursor },
	{ GPU_MOVE_CURSOR, 32, move_cursor },
};

static enum gpu_cmd run(struct gpu_req *r)
{
	uint32_t cmd = ld_le32(r->in);

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++)
		if (rows[i].cmd == cmd && r->el->out_len >= HDR_LEN + rows[i].len)
			return rows[i].run(r);
	return GPU_E_UNSPEC;
}

/* ---- queues ------------------------------------------------------------------------- */
/* Bytes of the answer that fit. */
static uint32_t serve(struct virtio_vga *v, unsigned q)
{
	struct virtq_elem *el = &v->gpu.elem;
	struct gpu_req r = { .v = v, .q = &v->vga.virtio.vq[q], .el = el, .out_len = HDR_LEN };
	enum gpu_cmd how = GPU_E_UNSPEC;

	if (el->out_len >= HDR_LEN &&
	    virtq_read(r.q, el, 0, r.in, (size_t)MIN(el->out_len, sizeof(r.in))))
		how = run(&r);
	if (how >= GPU_E_UNSPEC)
		r.out_len = HDR_LEN;
	st_le32(r.out, how);
	if (ld_le32(r.in + 4) & FLAG_FENCE) {
		st_le32(r.out + 4, FLAG_FENCE);
		memcpy(r.out + 8, r.in + 8, 12);	/* fence and context */
	}
	r.out_len = (uint32_t)MIN(r.out_len, el->in_len);
	return virtq_write(r.q, el, 0, r.out, r.out_len) ? r.out_len : 0;
}

static void gpu_kick(struct virtio_dev *vd, unsigned q)
{
	struct virtio_vga *v = virtio_vga_of(vd);
	unsigned n = 0;

	while (n++ < VIRTIO_KICK_BUDGET && virtq_pop(&vd->vq[q], &v->gpu.elem))
		virtq_push(&vd->vq[q], v->gpu.elem.head, serve(v, q));
	virtio_flush(vd, q);
	if (n > VIRTIO_KICK_BUDGET)
		virtio_requeue(vd, q);
}

/* ---- the device ---------------------------------------------------------------------- */
static uint64_t gpu_features(const struct virtio_dev *v)
{
	return VIRTIO_BIT(F_EDID) | VIRTIO_BIT(F_RESOURCE_BLOB);
}

static void gpu_get_config(const struct virtio_dev *vd, uint8_t *cfg)
{
	const struct gpu *g = &virtio_vga_of((struct virtio_dev *)vd)->gpu;

	st_le32(cfg, g->events);
	st_le32(cfg + 8, g->nheads);
}

static void gpu_set_config(struct virtio_dev *vd, const uint8_t *cfg, unsigned off, unsigned len)
{
	if (off == 4 && len == 4)	/* events_clear */
		virtio_vga_of(vd)->gpu.events &= ~ld_le32(cfg + 4);
}

static void gpu_quiesce(struct virtio_dev *vd)
{
	struct virtio_vga *v = virtio_vga_of(vd);
	struct gpu *g = &v->gpu;

	gpu_res_drop_all(g);
	for (struct gpu_head *h = g->head; h < g->head + GPU_MAX_HEADS; h++) {
		h->scan = (struct gpu_scanout){ 0 };
		h->cursor_res = h->hot_x = h->hot_y = 0;
		h->dirty.w = 0;
	}
	g->events = 0;
	gpu_show_vga(v);
}

static const struct virtio_class gpu_class = {
	.type = VIRTIO_ID_GPU,
	.class_code = 0x0300,
	.config_len = CONFIG_LEN,
	.features = gpu_features,
	.get_config = gpu_get_config,
	.set_config = gpu_set_config,
	.kick = gpu_kick,
	.reset = gpu_quiesce,
};

void virtio_vga_set_outputs(struct device *d, unsigned n)
{
	HV_BUG_ON(!n || n > GPU_MAX_HEADS);
	virtio_vga_of(virtio_of(d))->gpu.outputs = n;
}

static bool virtio_vga_realize(struct device *d, struct err *e)
{
	struct virtio_vga *v = virtio_vga_of(virtio_of(d));
	struct display_source src = gpu_source(&v->gpu.head[0]);
	struct gm_block *rom = vga_take_rom(&v->vga);

	v->vga.virtio.disable_legacy = true;
	gpu_make_heads(v);
	return virtio_realize(&v->vga.virtio, &gpu_class, 2, 256, e) &&
	       vga_core_realize(&v->vga, rom, &src, e);
}

static void virtio_vga_reset(struct device *d)
{
	struct virtio_vga *v = virtio_vga_of(virtio_of(d));

	virtio_reset(d);
	vga_core_reset(&v->vga);
	gpu_reset_sizes(&v->gpu);
}

static void virtio_vga_unrealize(struct device *d)
{
	struct virtio_vga *v = virtio_vga_of(virtio_of(d));

	gpu_res_drop_all(&v->gpu);
	for (unsigned i = 1; i < GPU_MAX_HEADS; i++)
		v->gpu.head[i].d = NULL;
	if (d->vm->display)
		display_set_scanouts(d->vm->display, 1);
	vga_core_unrealize(&v->vga);
	virtio_unrealize(virtio_of(d));
}

static bool virtio_vga_post_load(struct device *d, struct err *e)
{
	struct virtio_vga *v = virtio_vga_of(virtio_of(d));

	return gpu_same_heads(&v->gpu, e) && vga_core_post_load(&v->vga, e) &&
	       virtio_post_load(&v->vga.virtio, e) && gpu_res_post_load(v, e) &&
	       gpu_scan_post_load(v, e);
}

const struct device_ops virtio_vga_ops = {
	.name = "virtio-vga",
	.size = sizeof(struct virtio_vga),
	.realize = virtio_vga_realize,
	.reset = virtio_vga_reset,
	.unrealize = virtio_vga_unrealize,
	.state = virtio_vga_state,
	.state_version = 3,
	.post_load = virtio_vga_post_load,
};
