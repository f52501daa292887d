/* SPDX-License-Identifier: MIT */
/* VDI for `hvrun img`: making, growing, checking and describing one; see vdi.c. */
#include "vdi_int.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/random.h>

static const struct image_opt_help vdi_options[] = {
	{ "subformat", "dynamic|fixed", "grow on demand, or all at once; dynamic" },
	{ NULL, NULL, NULL },
};

static void make_uuid(uint8_t *u)
{
	if (getrandom(u, 16, 0) != 16)
		st_le64(u, host_now_ns());
	u[6] = (u[6] & 0x0f) | 0x40;
	u[8] = (u[8] & 0x3f) | 0x80;
}

static void build_header(const struct image_create *c, bool fixed, uint8_t *h)
{
	uint64_t blocks = (c->size + (1 << 20) - 1) >> 20;
	uint64_t table = (blocks * 4 + 511) & ~511ull;

	snprintf((char *)h, 64, "<<< Oracle VM VirtualBox Disk Image >>>\n");
	st_le32(h + 0x40, SIGNATURE);
	st_le32(h + 0x44, 0x00010001);
	st_le32(h + 0x48, 400);
	st_le32(h + H_TYPE, c->backing ? TYPE_DIFF : fixed ? TYPE_FIXED : TYPE_DYNAMIC);
	st_le32(h + H_BMAP, HDR);
	st_le32(h + H_DATA, (uint32_t)(HDR + table));
	st_le32(h + H_SECTOR, 512);
	st_le64(h + H_SIZE, c->size);
	st_le32(h + H_BLOCK, 1 << 20);
	st_le32(h + H_BLOCKS, (uint32_t)blocks);
	st_le32(h + H_ALLOCATED, fixed ? (uint32_t)blocks : 0);
	make_uuid(h + H_UUID);
	make_uuid(h + H_UUID + 16);
}

static int write_table(struct hostfile *f, const uint8_t *h, bool fixed)
{
	uint64_t blocks = ld_le32(h + H_BLOCKS);
	uint8_t *t = malloc(blocks * 4 + 512);
	int err;

	if (!t)
		return ENOMEM;
	memset(t, 0xff, blocks * 4 + 512);
	for (uint64_t i = 0; fixed && i < blocks; i++)
		st_le32(t + i * 4, (uint32_t)i);
	err = hf_pwrite(f, t, ld_le32(h + H_DATA) - HDR, HDR);
	free(t);
	if (!err && fixed)
		err = hf_truncate(f, ld_le32(h + H_DATA) + (blocks << 20));
	return err ? err : hf_pwrite(f, h, HDR, 0);
}

static bool vdi_create(struct image_create *c, struct err *e)
{
	const char *sub = image_opt(c, "subformat");
	bool fixed = sub && (!strcmp(sub, "fixed") || !strcmp(sub, "static"));
	uint8_t h[HDR] = { 0 };
	struct hostfile f;
	int err;

	if (sub && !fixed && strcmp(sub, "dynamic"))
		return err_set(e, HV_EXIT_USAGE, "subformat=%.32s: use dynamic or fixed", sub);
	if (c->size > (uint64_t)MAX_BLOCKS << 20)
		return err_set(e, HV_EXIT_USAGE, "a VDI image has at most 32 TiB");
	build_header(c, fixed && !c->backing, h);
	if (c->backing) {
		const struct vdi *p = c->backing_im->priv;

		if (strcmp(c->backing_im->fmt->name, "vdi"))
			return err_set(e, HV_EXIT_USAGE, "a VDI overlay needs a VDI backing file");
		memcpy(h + H_LINK, p->hdr + H_UUID, 32);
		fixed = false;
	}
	hf_init(&f, image_create_file(c, c->path, e), false);
	if (f.fd < 0)
		return false;
	err = write_table(&f, h, fixed);
	hf_close(&f);
	return !err || err_errno(e, HV_EXIT_HOST, err, "%s: cannot write", c->path);
}

static int vdi_map(struct image *im, uint64_t off, uint64_t len, uint64_t *n, enum image_kind *k)
{
	struct vdi *v = im->priv;

	return bat_map(&v->b, off, len, n, k);
}

/* ---- growing -------------------------------------------------------------------- */

static int move_block(struct vdi *v, uint64_t block, uint64_t from)
{
	uint64_t len = 1ull << v->b.bits, host;
	uint8_t *buf = malloc(len);
	int err = buf ? vdi_place(&v->b, block, &host) : ENOMEM;

	if (!err)
		err = hf_pread(v->b.f, buf, len, from);
	if (!err)
		err = hf_pwrite(v->b.f, buf, len, host);
	free(buf);
	return err ? err : bat_set(&v->b, block, host);
}

/* Nothing lies in the first @k blocks of the file any more, for the table to grow into. */
static int clear_front(struct vdi *v, uint64_t k)
{
	uint64_t end = vdi_block_end(v, k), e;
	int err = 0;

	if (v->b.end < end) {
		err = hf_truncate(v->b.f, end);
		v->b.end = end;
	}
	for (uint64_t i = 0; i < v->b.n && !err; i++) {
		err = bat_get(&v->b, i, &e);
		if (!err && e > BAT_BAD && BAT_HOST(e) < end)
			err = move_block(v, i, BAT_HOST(e));
	}
	return err ? err : bat_flush(&v->b);
}

/* The entries as they will be, the file's first @k blocks being no blocks any more. */
static int write_entries(struct vdi *v, uint64_t k, uint64_t blocks, uint64_t at, bool fixed)
{
	uint8_t *t = malloc(blocks * 4);
	uint32_t next = vdi_blocks_in_file(v);
	int err = t ? 0 : ENOMEM;
	uint64_t e;

	for (uint64_t i = 0; i < blocks && !err; i++) {
		uint32_t x = fixed ? next++ - (uint32_t)k : NOT_HERE;

		if (i < v->b.n) {
			err = bat_get(&v->b, i, &e);
			x = vdi_to_disk(v, e);
			x -= x < ZEROS ? (uint32_t)k : 0;
			next = vdi_blocks_in_file(v);
		}
		if (!err)
			st_le32(t + i * 4, x);
	}
	if (!err)
		err = hf_pwrite(v->b.f, t, blocks * 4, at);
	free(t);
	return err ? err : hf_sync(v->b.f);
}

/* Each step leaves a whole image: of the old size up to the last write, of the header. */
static int grow(struct vdi *v, uint64_t size)
{
	uint64_t block = 1ull << v->b.bits, blocks = (size + block - 1) >> v->b.bits, k = 0;
	uint64_t table = (blocks * 4 + 511) & ~511ull, at = v->bmap_off;
	bool fixed = ld_le32(v->hdr + H_TYPE) == TYPE_FIXED;
	uint32_t count;
	int err = 0;

	if (at + table > v->data_off) {
		at = v->data_off;
		k = (table + block - 1) >> v->b.bits;
		err = clear_front(v, k);
	}
	count = vdi_blocks_in_file(v) - (uint32_t)k;
	if (!err && fixed && blocks > v->b.n) {
		count += (uint32_t)(blocks - v->b.n);
		err = hf_truncate(v->b.f, v->b.end + ((blocks - v->b.n) << v->b.bits));
	}
	if (!err)
		err = write_entries(v, k, blocks, at, fixed);
	if (err)
		return err;
	st_le32(v->hdr + H_BMAP, (uint32_t)at);
	st_le32(v->hdr + H_DATA, (uint32_t)(v->data_off + (k << v->b.bits)));
	st_le64(v->hdr + H_SIZE, size);
	st_le32(v->hdr + H_BLOCKS, (uint32_t)blocks);
	st_le32(v->hdr + H_ALLOCATED, count);
	err = hf_pwrite(v->b.f, v->hdr, HDR, 0);
	return err ? err : hf_sync(v->b.f);
}

static bool vdi_resize(struct image *im, uint64_t size, struct err *e)
{
	struct vdi *v = im->priv;
	uint64_t old = v->b.size;
	int err;

	if (!bat_may_grow(&v->b, size, e))
		return false;
	if ((size - 1) >> v->b.bits >= MAX_BLOCKS)
		return err_set(e, HV_EXIT_USAGE, "%s: too large for a VDI image with blocks of "
			       "this size", im->path);
	err = grow(v, size);
	if (err)
		return err_errno(e, HV_EXIT_HOST, err, "%s: cannot grow", im->path);
	return vdi_read_header(v, e) && bat_grown(&v->b, old, e);
}

static bool vdi_check(struct image *im, struct image_check *r, struct err *e)
{
	struct vdi *v = im->priv;
	uint64_t first;

	if (v->stored != vdi_blocks_in_file(v)) {
		image_damage(r, 1, "the header counts %u blocks, the file has %u", v->stored,
			     vdi_blocks_in_file(v));
		if (r->repair) {
			/* a flush writes the count */
			if (!bat_get(&v->b, 0, &first) && !bat_set(&v->b, 0, first))
				r->errors_fixed++;
		}
	}
	return bat_check(&v->b, r, v->data_off, 0, 1ull << v->b.bits, e);
}

static void vdi_info(struct image *im, struct image_info *i)
{
	static const char *const types[] = { "?", "dynamic", "fixed", "undo", "differencing" };
	const struct vdi *v = im->priv;

	image_field(i, "type", "%s", types[ld_le32(v->hdr + H_TYPE)]);
	image_field(i, "block size", "%u", 1u << v->b.bits);
	image_field(i, "blocks in file", "%u", vdi_blocks_in_file(v));
	if (im->backing)
		snprintf(i->backing, sizeof(i->backing), "%s", strrchr(im->backing->path, '/') ?
			 strrchr(im->backing->path, '/') + 1 : im->backing->path);
}

static bool vdi_set_backing(struct image *im, const char *name, const char *fmt, struct err *e)
{
	return err_set(e, HV_EXIT_USAGE, "%s: a VDI image finds its parent by UUID, not by name",
		       im->path);
}

const struct image_tool vdi_tool = {
	.options = vdi_options,
	.create = vdi_create,
	.map = vdi_map,
	.check = vdi_check,
	.resize = vdi_resize,
	.info = vdi_info,
	.set_backing = vdi_set_backing,
	.thin = true,
};
