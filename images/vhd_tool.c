/* SPDX-License-Identifier: MIT */
/*
 * VHD for `hvrun img`: making, growing, checking and describing one (the same
 * specification as vhd.c, with its appendix on geometry).
 */
#include "vhd_int.h"
#include "utf16.h"
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/random.h>
#include <time.h>
#include <unistd.h>

#define EPOCH_2000 946684800
#define BLOCK_BITS 21u

static const struct image_opt_help vhd_options[] = {
	{ "subformat", "dynamic|fixed", "grow on demand, or all at once; dynamic" },
	{ NULL, NULL, NULL },
};

/* Cylinders, heads and sectors as the specification's appendix computes them. */
static void geometry(uint64_t size, uint8_t *out)
{
	uint32_t total = (uint32_t)MIN(size / SECTOR, 65535ull * 16 * 255), spt, heads, ct;

	if (total >= 65535u * 16 * 63) {
		spt = 255;
		heads = 16;
		ct = total / spt;
	} else {
		spt = 17;
		ct = total / spt;
		heads = MAX((ct + 1023) / 1024, 4u);
		if (ct >= heads * 1024 || heads > 16) {
			spt = 31;
			heads = 16;
			ct = total / spt;
		}
		if (ct >= heads * 1024) {
			spt = 63;
			heads = 16;
			ct = total / spt;
		}
	}
	st_be16(out, (uint16_t)(ct / heads));
	out[2] = (uint8_t)heads;
	out[3] = (uint8_t)spt;
}

static void build_footer(uint64_t size, uint32_t type, uint8_t *f)
{
	memset(f, 0, SECTOR);
	memcpy(f, "conectix", 8);
	st_be32(f + 8, 2);
	st_be32(f + 12, 0x00010000);
	st_be64(f + 16, type == TYPE_FIXED ? UINT64_MAX : SECTOR);
	st_be32(f + 24, (uint32_t)(time(NULL) - EPOCH_2000));
	memcpy(f + 28, "win ", 4);	/* readers take the size from 48, not from the geometry */
	st_be32(f + 32, 0x00060001);
	memcpy(f + 36, "Wi2k", 4);
	st_be64(f + 40, size);
	st_be64(f + 48, size);
	geometry(size, f + 56);
	st_be32(f + 60, type);
	if (getrandom(f + 68, 16, 0) != 16)
		st_le64(f + 68, host_now_ns());
	st_be32(f + 64, vhd_checksum(f, SECTOR, 64));
}

/* The parent's name in both places; the locator's data is at @at. */
static bool name_parent(const struct image_create *c, uint8_t *dyn, uint8_t *loc, uint64_t at)
{
	const struct vhd *p = c->backing_im->priv;
	size_t n = path_to_utf16(c->backing, false, loc, SECTOR);

	if (!n || !path_to_utf16(c->backing, true, dyn + 64, 512))
		return false;
	memcpy(dyn + 40, p->footer + 68, 16);
	memcpy(dyn + 56, p->footer + 24, 4);
	st_be32(dyn + 576, W2RU);
	st_be32(dyn + 580, SECTOR);
	st_be32(dyn + 584, (uint32_t)n);
	st_be64(dyn + 592, at);
	return true;
}

static bool write_dynamic(struct image_create *c, struct hostfile *f, const uint8_t *footer,
			  struct err *e)
{
	uint64_t entries = (c->size + (1 << BLOCK_BITS) - 1) >> BLOCK_BITS, at = 1536;
	uint64_t table = (entries * 4 + 511) & ~511ull, end = at + table;
	uint8_t dyn[1024] = { 0 }, loc[SECTOR] = { 0 }, *ones = malloc(table);
	int err = ones ? 0 : ENOMEM;

	memcpy(dyn, "cxsparse", 8);
	st_be64(dyn + 8, UINT64_MAX);
	st_be64(dyn + 16, at);
	st_be32(dyn + 24, 0x00010000);
	st_be32(dyn + 28, (uint32_t)entries);
	st_be32(dyn + 32, 1u << BLOCK_BITS);
	if (c->backing && !name_parent(c, dyn, loc, end)) {
		free(ones);
		return err_set(e, HV_EXIT_USAGE, "%s: the parent's name is too long", c->path);
	}
	st_be32(dyn + 36, vhd_checksum(dyn, sizeof(dyn), 36));
	if (ones)
		memset(ones, 0xff, table);
	if (!err)
		err = hf_pwrite(f, footer, SECTOR, 0);
	if (!err)
		err = hf_pwrite(f, dyn, sizeof(dyn), SECTOR);
	if (!err)
		err = hf_pwrite(f, ones, table, at);
	if (!err && c->backing)
		err = hf_pwrite(f, loc, SECTOR, end);
	if (!err)
		err = hf_pwrite(f, footer, SECTOR, end + (c->backing ? SECTOR : 0));
	free(ones);
	return !err || err_errno(e, HV_EXIT_HOST, err, "%s: cannot write", c->path);
}

static bool vhd_create(struct image_create *c, struct err *e)
{
	const char *sub = image_opt(c, "subformat");
	bool fixed = sub && !strcmp(sub, "fixed"), ok;
	uint8_t footer[SECTOR];
	struct hostfile f;
	int err = 0;

	if (sub && !fixed && strcmp(sub, "dynamic"))
		return err_set(e, HV_EXIT_USAGE, "subformat=%.32s: use dynamic or fixed", sub);
	if (c->size > 2040ull << 30)
		return err_set(e, HV_EXIT_USAGE, "a VHD image has at most 2040 GiB; use vhdx");
	if (c->backing && (fixed || strcmp(c->backing_im->fmt->name, "vhd")))
		return err_set(e, HV_EXIT_USAGE, "a VHD overlay is dynamic and needs a VHD backing "
			       "file");
	build_footer(c->size, c->backing ? TYPE_DIFF : fixed ? TYPE_FIXED : TYPE_DYNAMIC, footer);
	hf_init(&f, image_create_file(c, c->path, e), false);
	if (f.fd < 0)
		return false;
	if (fixed) {
		err = hf_truncate(&f, c->size);
		if (!err)
			err = hf_pwrite(&f, footer, SECTOR, c->size);
		ok = !err || err_errno(e, HV_EXIT_HOST, err, "%s: cannot write", c->path);
	} else {
		ok = write_dynamic(c, &f, footer, e);
	}
	hf_close(&f);
	return ok;
}

static int vhd_map(struct image *im, uint64_t off, uint64_t len, uint64_t *n, enum image_kind *k)
{
	struct vhd *v = im->priv;

	*n = len;
	*k = IMAGE_DATA;
	return v->fixed ? 0 : bat_map(&v->b, off, len, n, k);
}

/* Size and geometry; the copy at the end first, so that one of them is always good. */
static int store_footer(struct vhd *v, uint64_t size, uint64_t end)
{
	int err;

	memcpy(v->footer + 28, "win ", 4);	/* as in build_footer() */
	st_be64(v->footer + 48, size);
	geometry(size, v->footer + 56);
	st_be32(v->footer + 64, vhd_checksum(v->footer, SECTOR, 64));
	err = hf_pwrite(v->b.f, v->footer, SECTOR, end);
	if (!err)
		err = hf_sync(v->b.f);
	if (!err && !v->fixed)
		err = hf_pwrite(v->b.f, v->footer, SECTOR, 0);
	return err ? err : hf_sync(v->b.f);
}

/* A longer table goes behind the blocks, then the header (one sector) names it. */
static int move_table(struct vhd *v, uint64_t entries)
{
	uint64_t len = (entries * 4 + 511) & ~511ull, at = v->b.end;
	uint8_t *t = malloc(len);
	int err = t ? 0 : ENOMEM;

	if (!err)
		memset(t, 0xff, len);
	if (!err)
		err = hf_pread(v->b.f, t, MIN(ld_be32(v->dyn + 28) * 4ull, len), v->table_off);
	if (!err)
		err = hf_pwrite(v->b.f, v->footer, SECTOR, at + len);
	if (!err)
		err = hf_pwrite(v->b.f, t, len, at);
	if (!err)
		err = hf_sync(v->b.f);
	free(t);
	if (err)
		return err;
	v->b.end = at + len;
	st_be64(v->dyn + 16, at);
	st_be32(v->dyn + 28, (uint32_t)entries);
	st_be32(v->dyn + 36, vhd_checksum(v->dyn, sizeof(v->dyn), 36));
	err = hf_pwrite(v->b.f, v->dyn, SECTOR, ld_be64(v->footer + 16));
	return err ? err : hf_sync(v->b.f);
}

/*
 * The old footer becomes part of the disk.  Cut off between the two steps, its
 * 512 bytes are junk in the new, unused space: there is no room for more order.
 */
static int grow_fixed(struct vhd *v, uint64_t size)
{
	uint64_t old = v->b.im->size;
	int err = store_footer(v, size, size);	/* makes the file longer in one step */

	return err ? err : hf_zero(v->b.f, old, MIN((uint64_t)SECTOR, size - old), false);
}

static bool vhd_resize(struct image *im, uint64_t size, struct err *e)
{
	struct vhd *v = im->priv;
	uint64_t old = im->size;
	int err = 0;

	v->b.size = old;
	if (size > 2040ull << 30)
		return err_set(e, HV_EXIT_USAGE, "a VHD image has at most 2040 GiB; use vhdx");
	if (v->fixed && size < old)
		return err_set(e, HV_EXIT_USAGE, "%s: vhd images cannot shrink; convert it to a "
			       "smaller one", im->path);
	if (v->fixed) {
		err = grow_fixed(v, size);
		if (!err)
			im->size = v->b.size = size;
		return !err || err_errno(e, HV_EXIT_HOST, err, "%s: cannot grow", im->path);
	}
	if (!bat_may_grow(&v->b, size, e))
		return false;
	if ((size - 1) >> v->b.bits >= ld_be32(v->dyn + 28))
		err = move_table(v, ((size - 1) >> v->b.bits) + 1);
	if (!err)
		err = store_footer(v, size, v->b.end);
	if (err)
		return err_errno(e, HV_EXIT_HOST, err, "%s: cannot grow", im->path);
	im->size = size;
	return vhd_read_dynamic(v, e) && bat_grown(&v->b, old, e);
}

static bool vhd_check(struct image *im, struct image_check *r, struct err *e)
{
	struct vhd *v = im->priv;
	uint64_t stride = v->bitmap_len + (1ull << v->b.bits);
	uint8_t tail[SECTOR];

	if (v->fixed)
		return true;
	if (hf_pread(v->b.f, tail, SECTOR, v->b.end) || !vhd_footer_ok(tail)) {
		image_damage(r, 1, "the footer at the end is missing");
		if (r->repair && !hf_pwrite(v->b.f, v->footer, SECTOR, v->b.end))
			r->errors_fixed++;
	}
	if (!bat_check(&v->b, r, v->first, v->bitmap_len, stride, e))
		return false;
	r->leaks -= MIN(r->leaks, (v->table_len + stride - 1) / stride);
	return true;
}

static void vhd_info(struct image *im, struct image_info *i)
{
	static const char *const types[] = { "?", "?", "fixed", "dynamic", "differencing" };
	struct vhd *v = im->priv;

	image_field(i, "type", "%s", types[v->type]);
	image_field(i, "written by", "%.4s", v->footer + 28);
	if (!v->fixed)
		image_field(i, "block size", "%u", 1u << v->b.bits);
	if (v->type == TYPE_DIFF && vhd_parent_name(v, i->backing, sizeof(i->backing)))
		snprintf(i->backing_fmt, sizeof(i->backing_fmt), "vhd");
}

static bool vhd_set_backing(struct image *im, const char *name, const char *fmt, struct err *e)
{
	return err_set(e, HV_EXIT_USAGE, "%s: cannot give a VHD image another parent; make a new "
		       "overlay", im->path);
}

const struct image_tool vhd_tool = {
	.options = vhd_options,
	.create = vhd_create,
	.map = vhd_map,
	.check = vhd_check,
	.resize = vhd_resize,
	.info = vhd_info,
	.set_backing = vhd_set_backing,
	.thin = true,
};
