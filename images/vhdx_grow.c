/* SPDX-License-Identifier: MIT */
/*
 * Growing a VHDX image ([MS-VHDX] 2.2.3, 2.5, 2.6): the disk's size, and where
 * the block table is too short, a longer copy of it behind everything else.
 * Both region tables and the size change by one entry of the log, so that
 * all of it is there or nothing.
 */
#include "vhdx_int.h"

#include <errno.h>
#include <stdlib.h>

#define MEG (1u << 20)
#define REGION_LEN 65536u

/* The table's copy, with room for @n entries, at the end of the file. */
static int copy_table(struct vhdx *v, uint64_t n, uint64_t *off, uint64_t *len)
{
	uint64_t have = v->bat_n * 8;
	uint8_t *buf = malloc(MEG);
	int err = buf ? 0 : ENOMEM;

	*off = v->b.end;
	*len = (n * 8 + MEG - 1) & ~(MEG - 1ull);
	if (!err)
		err = hf_truncate(v->b.f, *off + *len);
	for (uint64_t at = 0; at < have && !err; at += MEG) {
		uint64_t piece = MIN(have - at, (uint64_t)MEG);

		err = hf_pread(v->b.f, buf, piece, v->bat_off + at);
		if (!err)
			err = hf_pwrite(v->b.f, buf, piece, *off + at);
	}
	free(buf);
	if (!err) {
		v->b.end = v->file_size = *off + *len;
		err = hf_sync(v->b.f);
	}
	return err;
}

/* The first page of the region table at @at as it will be. */
static int region_page(struct vhdx *v, uint64_t at, uint64_t off, uint64_t len, uint8_t *page)
{
	uint8_t *t = malloc(REGION_LEN);
	int err = t ? hf_pread(v->b.f, t, REGION_LEN, at) : ENOMEM;
	uint32_t n = err ? 0 : MIN(ld_le32(t + 8), (VX_PAGE - 16) / 32);
	bool found = false;

	for (uint32_t i = 0; i < n && !found; i++) {
		uint8_t *r = t + 16 + i * 32;

		found = !memcmp(r, vx_guid_bat, 16);
		if (found) {
			st_le64(r + 16, off);
			st_le32(r + 24, (uint32_t)len);
		}
	}
	if (!err && !found)
		err = EIO;
	if (!err) {
		st_le32(t + 4, vx_checksum(t, REGION_LEN));
		memcpy(page, t, VX_PAGE);
	}
	free(t);
	return err;
}

static int grow(struct vhdx *v, uint64_t size)
{
	uint64_t blocks = (size + (1ull << v->b.bits) - 1) >> v->b.bits;
	uint64_t entries = blocks + (blocks - 1) / v->ratio, off[3], at = 0, len = 0;
	uint8_t *pages = calloc(3, VX_PAGE);
	unsigned n = 1;
	int err = pages ? 0 : ENOMEM;

	off[0] = v->size_at & ~(VX_PAGE - 1ull);
	if (!err && (v->size_at & (VX_PAGE - 1)) > VX_PAGE - 8)
		err = ENOTSUP;
	if (!err)
		err = hf_pread(v->b.f, pages, VX_PAGE, off[0]);
	if (!err)
		st_le64(pages + (v->size_at - off[0]), size);
	if (!err && entries > v->bat_n) {
		err = copy_table(v, entries, &at, &len);
		for (; n < 3 && !err; n++) {
			off[n] = n == 1 ? VX_REGIONS1 : VX_REGIONS2;
			err = region_page(v, off[n], at, len, pages + n * VX_PAGE);
		}
	}
	if (!err)
		err = vx_logged_write(v, off, pages, n);
	free(pages);
	if (!err && len) {
		v->bat_off = at;
		v->bat_n = len / 8;
	}
	return err;
}

bool vhdx_resize(struct image *im, uint64_t size, struct err *e)
{
	struct vhdx *v = im->priv;
	uint64_t old = v->b.size;
	int err = 0;

	if (size > 64ull << 40)
		return err_set(e, HV_EXIT_USAGE, "a VHDX image has at most 64 TiB");
	if (size % v->sector)
		return err_set(e, HV_EXIT_USAGE, "%s: its sectors have %u bytes; give a multiple",
			       im->path, v->sector);
	if (!v->writing && !v->b.readonly)
		err = vx_begin_writing(v);
	if (err)
		return err_errno(e, HV_EXIT_HOST, err, "%s: cannot write", im->path);
	if (!bat_may_grow(&v->b, size, e))
		return false;
	err = grow(v, size);
	if (err)
		return err_errno(e, HV_EXIT_HOST, err, "%s: cannot grow", im->path);
	v->b.size = size;
	return bat_grown(&v->b, old, e);
}
