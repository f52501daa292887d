/* SPDX-License-Identifier: MIT */
/*
 * Growing VMDK images of one extent: flat, or sparse with a grain directory
 * that moves behind everything else together with the tables it gains (other
 * programs want every table to exist).  Split images are refused.
 */
#include "vmdk_int.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#define GT_BYTES (VMDK_GTES * 4u)

/* The number of sectors in the descriptor's only extent line. */
static bool replace_sectors(char *text, size_t room, uint64_t sectors)
{
	char *line = text, number[24], *at, *end;
	size_t n, old;

	while (line && strncmp(line, "RW ", 3)) {
		line = strchr(line, '\n');
		line = line ? line + 1 : NULL;
	}
	if (!line)
		return false;
	at = line + 3;
	old = strspn(at, "0123456789");
	end = at + old;
	n = (size_t)snprintf(number, sizeof(number), "%llu", (unsigned long long)sectors);
	if (strlen(text) - old + n >= room)
		return false;
	memmove(at + n, end, strlen(end) + 1);
	memcpy(at, number, n);
	return true;
}

/* Rewrite the descriptor: the text at @off of the image's file, @len bytes (0: all of it). */
static int store_descriptor(struct vmdk *v, uint64_t off, uint64_t len, uint64_t sectors)
{
	char *text = hv_zalloc(VMDK_MAX_DESC + 1);
	uint64_t size = 0, n = len;
	int err = len ? 0 : hf_size(&v->im->file, &size);

	if (!len)
		n = MIN(size, (uint64_t)VMDK_MAX_DESC);
	if (!err)
		err = hf_pread(&v->im->file, text, n, off);
	if (!err && !replace_sectors(text, len ? len : VMDK_MAX_DESC, sectors))
		err = EIO;
	if (!err && !len) {
		n = strlen(text);
		err = hf_truncate(&v->im->file, MAX(n, size));
	}
	if (!err)
		err = hf_pwrite(&v->im->file, text, n, off);
	free(text);
	return err ? err : hf_sync(&v->im->file);
}

/* @dir with new tables after it, for @n entries, from @at on; *end: behind them. */
static int put_directory(struct vmdk_extent *x, const uint32_t *dir, uint64_t have, uint64_t n,
			 uint64_t at, uint64_t *end)
{
	uint64_t len = (n * 4 + VMDK_SECTOR - 1) & ~(VMDK_SECTOR - 1ull), gt = at + len;
	uint8_t *raw = calloc(1, len);
	int err = raw ? 0 : ENOMEM;

	for (uint64_t i = 0; i < n && !err; i++) {
		if (i < have && dir[i]) {
			st_le32(raw + i * 4, dir[i]);
			continue;
		}
		st_le32(raw + i * 4, (uint32_t)(gt / VMDK_SECTOR));
		gt += GT_BYTES;
		err = gt / VMDK_SECTOR > UINT32_MAX ? EFBIG : 0;
	}
	*end = gt;
	if (!err)
		err = hf_truncate(x->f, gt);	/* the new tables: zeros */
	if (!err)
		err = hf_pwrite(x->f, raw, len, at);
	free(raw);
	return err;
}

static int grow_sparse(struct vmdk *v, struct vmdk_extent *x, uint64_t size)
{
	uint64_t cover = (uint64_t)VMDK_GTES << x->b.bits, n = (size + cover - 1) / cover, end;
	uint64_t at = x->b.end;
	uint8_t h[VMDK_SECTOR];
	int err = hf_pread(x->f, h, sizeof(h), 0);

	if (!err && n > x->b.npages) {
		err = put_directory(x, x->gd, x->b.npages, n, at, &end);
		st_le64(h + VH_GD, at / VMDK_SECTOR);
		if (!err && x->rgd) {
			at = (end + VMDK_SECTOR - 1) & ~(VMDK_SECTOR - 1ull);
			err = put_directory(x, x->rgd, x->b.npages, n, at, &end);
			st_le64(h + VH_RGD, at / VMDK_SECTOR);
		}
	}
	if (!err)
		err = hf_sync(x->f);
	st_le64(h + VH_CAPACITY, size / VMDK_SECTOR);
	if (!err)
		err = hf_pwrite(x->f, h, sizeof(h), 0);
	if (!err)
		err = hf_sync(x->f);
	if (!err && ld_le64(h + VH_DESC) && ld_le64(h + VH_DESC_SIZE))
		err = store_descriptor(v, ld_le64(h + VH_DESC) * VMDK_SECTOR,
				       ld_le64(h + VH_DESC_SIZE) * VMDK_SECTOR, size / VMDK_SECTOR);
	return err;
}

/* Take over what grow_sparse() wrote. */
static bool reopen_sparse(struct vmdk *v, struct vmdk_extent *x, uint64_t old, struct err *e)
{
	uint8_t h[VMDK_SECTOR];

	bat_free(&x->b);
	free(x->gd);
	free(x->rgd);
	x->gd = x->rgd = NULL;
	x->size = 0;
	x->b.loaded = x->b.ndirty = x->b.hand = 0;
	if (!vmdk_open_sparse(v, x, h, e))
		return false;
	return bat_grown(&x->b, old, e);
}

bool vmdk_resize(struct image *im, uint64_t size, struct err *e)
{
	struct vmdk *v = im->priv;
	struct vmdk_extent *x = v->ext;
	uint64_t old = im->size;
	int err;

	if (v->n != 1 || x->kind == VMDK_ZERO)
		return err_set(e, HV_EXIT_USAGE, "%s: a VMDK image in several parts cannot be "
			       "resized; convert it", im->path);
	if (size < old)
		return err_set(e, HV_EXIT_USAGE, "%s: vmdk images cannot shrink; convert it to a "
			       "smaller one", im->path);
	if (x->kind == VMDK_SPARSE) {
		if (size > VMDK_MAX_SPARSE)
			return err_set(e, HV_EXIT_USAGE, "%s: a sparse VMDK file has at most "
				       "2 TiB; convert it to qcow2", im->path);
		if (!bat_may_grow(&x->b, size, e))
			return false;
		err = grow_sparse(v, x, size);
		if (err)
			return err_errno(e, HV_EXIT_HOST, err, "%s: cannot grow", im->path);
		return reopen_sparse(v, x, old, e);
	}
	err = x->flat_off ? ENOTSUP : hf_truncate(x->f, size);
	if (!err)
		err = store_descriptor(v, 0, 0, size / VMDK_SECTOR);
	if (err)
		return err_errno(e, HV_EXIT_HOST, err, "%s: cannot grow", im->path);
	x->size = im->size = size;
	return true;
}
