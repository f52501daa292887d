/* SPDX-License-Identifier: MIT */
/*
 * VMware VMDK: monolithicSparse, monolithicFlat, twoGbMaxExtentSparse and
 * -Flat (split), streamOptimized (read, and written by conversion only), and
 * overlays by parentFileNameHint.  ESX formats (COWD, VMFS) are refused.
 *
 * The content id (CID) changes with the first write after opening, so that an
 * overlay made before notices that its parent is another disk now.
 */
#include "formats.h"
#include "vmdk_int.h"
#include "../src/log.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#define TEXT_MAGIC "# Disk DescriptorFile"

static int vmdk_probe(const uint8_t *head, size_t n, uint64_t size)
{
	return !memcmp(head, "KDMV", 4) || !memcmp(head, TEXT_MAGIC, strlen(TEXT_MAGIC)) ? 100 : 0;
}

/* @len bytes of text at @off of the image's own file. */
static bool read_descriptor(struct vmdk *v, uint64_t off, uint64_t len, bool extents,
			    struct err *e)
{
	char *text = hv_zalloc(VMDK_MAX_DESC + 1);
	bool ok;

	if (!len || len > VMDK_MAX_DESC || hf_pread(&v->im->file, text, len, off))
		ok = err_set(e, HV_EXIT_IMAGE, "%s: the VMDK descriptor cannot be read",
			     v->im->path);
	else
		ok = vmdk_parse(v, text, extents, e);
	if (v->cid_at)
		v->cid_at += off;
	free(text);
	return ok;
}

static bool open_single(struct vmdk *v, struct err *e)
{
	struct vmdk_extent *x = hv_zalloc(sizeof(*x));
	uint8_t h[VMDK_SECTOR];
	uint64_t desc, len;

	v->ext = x;
	v->n = 1;
	x->kind = VMDK_SPARSE;
	hf_init(&x->own, -1, false);
	x->f = &v->im->file;
	if (hf_pread(x->f, h, sizeof(h), 0))
		return err_set(e, HV_EXIT_IMAGE, "%s: cannot read the header", v->im->path);
	if ((v->im->flags & IMAGE_NEW) && ld_le64(h + VH_GD) == GD_AT_END) {
		v->n = 0;
		return vmdk_stream_open(v, e);
	}
	if (!vmdk_open_sparse(v, x, h, e))
		return false;
	desc = ld_le64(h + VH_DESC);
	len = ld_le64(h + VH_DESC_SIZE);
	v->parent_cid = UINT32_MAX;
	if (desc > UINT32_MAX || len > VMDK_MAX_DESC / VMDK_SECTOR)
		return err_set(e, HV_EXIT_IMAGE, "%s: damaged VMDK image: the descriptor is in a "
			       "wrong place", v->im->path);
	return !desc || !len ||
		read_descriptor(v, desc * VMDK_SECTOR, len * VMDK_SECTOR, false, e);
}

static bool open_parts(struct vmdk *v, struct err *e)
{
	uint8_t h[VMDK_SECTOR];
	uint64_t size;

	if (hf_size(&v->im->file, &size) ||
	    !read_descriptor(v, 0, MIN(size, VMDK_MAX_DESC), true, e))
		return false;
	for (unsigned i = 0; i < v->n; i++) {
		v->ext[i].f = &v->ext[i].own;
		if (v->ext[i].kind == VMDK_SPARSE && !vmdk_open_sparse(v, &v->ext[i], h, e))
			return false;
	}
	return true;
}

static bool open_parent(struct vmdk *v, struct err *e)
{
	struct image *im = v->im;

	if (v->parent_cid == UINT32_MAX || (im->flags & IMAGE_NO_BACKING))
		return true;
	if (!v->parent[0])
		return err_set(e, HV_EXIT_IMAGE, "%s: it does not say what its parent is",
			       im->path);
	if (!image_open_backing(im, v->parent, "vmdk", e))
		return false;
	if (((struct vmdk *)im->backing->priv)->cid == v->parent_cid)
		return true;
	return err_set(e, HV_EXIT_IMAGE, "%s: its parent '%.128s' was changed after this image was "
		       "made over it (another content id)", im->path, v->parent);
}

static void vmdk_free(struct vmdk *v)
{
	for (unsigned i = 0; i < v->n; i++) {
		bat_free(&v->ext[i].b);
		free(v->ext[i].gd);
		free(v->ext[i].rgd);
		hf_close(&v->ext[i].own);
	}
	free(v->ext);
	if (v->stream)
		free(v->stream->gd);
	free(v->stream);
	pthread_mutex_destroy(&v->cid_lock);
	free(v);
}

static bool vmdk_open(struct image *im, struct err *e)
{
	struct vmdk *v = hv_zalloc(sizeof(*v));
	char magic[4];
	bool ok;

	v->im = im;
	im->priv = v;
	pthread_mutex_init(&v->cid_lock, NULL);
	ok = !hf_pread(&im->file, magic, 4, 0) && !memcmp(magic, "KDMV", 4) ? open_single(v, e) :
		open_parts(v, e);
	if (ok && v->n)
		im->size = v->ext[v->n - 1].base + v->ext[v->n - 1].size;
	if (ok && (v->stream || open_parent(v, e)))
		return true;
	vmdk_free(v);
	im->priv = NULL;
	return false;
}

/* ---- requests ------------------------------------------------------------------ */

static struct vmdk_extent *find(struct vmdk *v, uint64_t off)
{
	unsigned lo = 0, hi = v->n;

	while (hi - lo > 1) {
		unsigned mid = (lo + hi) / 2;

		if (v->ext[mid].base <= off)
			lo = mid;
		else
			hi = mid;
	}
	return &v->ext[lo];
}

static int flat_io(struct vmdk *v, struct vmdk_extent *x, enum block_op op, uint64_t off,
		   uint64_t len, const struct iovec *iov, unsigned niov, uint64_t iov_off)
{
	uint64_t host = x->flat_off + off;

	if (x->kind == VMDK_ZERO && op == BLOCK_READ)
		iov_zero(iov, niov, iov_off, len);
	if (x->kind == VMDK_ZERO)
		return op == BLOCK_WRITE ? EROFS : 0;
	if (op == BLOCK_DISCARD || op == BLOCK_WRITE_ZEROES)
		return hf_zero(x->f, host, len, v->im->flags & BLOCK_DISCARD_ON);
	return hf_move(x->f, op == BLOCK_WRITE, host, len, iov, niov, iov_off);
}

static int flush_all(struct vmdk *v)
{
	int err = 0;

	for (unsigned i = 0; i < v->n && !err; i++)
		if (v->ext[i].kind == VMDK_SPARSE)
			err = bat_flush(&v->ext[i].b);
		else if (v->ext[i].kind == VMDK_FLAT && !(v->im->flags & BLOCK_RDONLY))
			err = hf_sync(v->ext[i].f);
	return err;
}

/* Whoever was made over this disk as it was must not be used over what it becomes. */
static int renew_cid(struct vmdk *v)
{
	char digits[9];
	int err = 0;

	pthread_mutex_lock(&v->cid_lock);
	if (!v->cid_fresh && v->cid_at && !(v->im->flags & IMAGE_KEEP_ID)) {
		v->cid = (uint32_t)(host_now_ns() * 2654435761u >> 3) % 0xfffffffdu;
		snprintf(digits, sizeof(digits), "%08x", v->cid);
		err = hf_pwrite(&v->im->file, digits, 8, v->cid_at);
	}
	v->cid_fresh = !err;
	pthread_mutex_unlock(&v->cid_lock);
	return err;
}

static int stream_io(struct vmdk *v, enum block_op op, uint64_t off, uint64_t len,
		     const struct iovec *iov, unsigned niov)
{
	if (op == BLOCK_WRITE)
		return vmdk_stream_raw(v, off, len, iov, niov);
	return op == BLOCK_FLUSH ? 0 : ENOTSUP;
}

static int vmdk_io(struct image *im, enum block_op op, uint64_t off, uint64_t len,
		   const struct iovec *iov, unsigned niov)
{
	struct vmdk *v = im->priv;
	uint64_t pos = 0;
	int err = 0;

	if (v->stream)
		return stream_io(v, op, off, len, iov, niov);
	if (op == BLOCK_FLUSH)
		return flush_all(v);
	if (op != BLOCK_READ && (im->flags & BLOCK_RDONLY))
		return EROFS;
	if (op != BLOCK_READ && !v->cid_fresh)
		err = renew_cid(v);
	while (pos < len && !err) {
		struct vmdk_extent *x = find(v, off + pos);
		uint64_t in = off + pos - x->base, n = MIN(len - pos, x->size - in);

		err = x->kind == VMDK_SPARSE ? bat_io(&x->b, op, in, n, iov, niov, pos) :
			flat_io(v, x, op, in, n, iov, niov, pos);
		pos += n;
	}
	return err;
}

static void vmdk_close(struct image *im)
{
	struct vmdk *v = im->priv;
	int err = v->stream ? vmdk_stream_end(v) : im->flags & BLOCK_RDONLY ? 0 : flush_all(v);

	if (err)
		log_error("%s: the last changes could not be written: %s", im->path,
			  strerror(err));
	vmdk_free(v);
}

/* ---- hvrun img ----------------------------------------------------------------- */

static int vmdk_map(struct image *im, uint64_t off, uint64_t len, uint64_t *n, enum image_kind *k)
{
	struct vmdk *v = im->priv;
	struct vmdk_extent *x = find(v, off);

	if (x->kind == VMDK_SPARSE)
		return bat_map(&x->b, off - x->base, MIN(len, x->base + x->size - off), n, k);
	*n = MIN(len, x->base + x->size - off);
	*k = x->kind == VMDK_ZERO ? IMAGE_ZERO : IMAGE_DATA;
	return 0;
}

/* Grains' room that directories and tables behind the overhead take (after growing). */
static uint64_t moved_tables(const struct vmdk_extent *x)
{
	const uint32_t *dir[2] = { x->gd, x->rgd };
	uint64_t bytes = 0;

	for (unsigned k = 0; k < 2; k++) {
		if ((k ? x->rgd_off : x->gd_off) >= x->overhead)
			bytes += x->b.npages * 4 + VMDK_SECTOR;
		for (uint64_t i = 0; dir[k] && i < x->b.npages; i++)
			bytes += dir[k][i] * (uint64_t)VMDK_SECTOR >= x->overhead ?
				 VMDK_GTES * 4 : 0;
	}
	return bytes ? (bytes >> x->b.bits) + 2 : 0;
}

static bool vmdk_check(struct image *im, struct image_check *r, struct err *e)
{
	struct vmdk *v = im->priv;
	bool ok = true;

	for (unsigned i = 0; i < v->n && ok; i++) {
		struct bat *b = &v->ext[i].b;

		if (v->ext[i].kind != VMDK_SPARSE)
			continue;
		ok = bat_check(b, r, MAX(v->ext[i].overhead, 512ull), 0, 1ull << b->bits, e);
		r->leaks -= MIN(r->leaks, moved_tables(&v->ext[i]));
	}
	return ok;
}

static void vmdk_info(struct image *im, struct image_info *i)
{
	const struct vmdk *v = im->priv;

	image_field(i, "type", "%s", v->type);
	image_field(i, "extents", "%u", v->n);
	image_field(i, "content id", "%08x", v->cid);
	if (v->n && v->ext[0].kind == VMDK_SPARSE)
		image_field(i, "grain size", "%u", 1u << v->ext[0].b.bits);
	if (v->parent_cid != UINT32_MAX) {
		snprintf(i->backing, sizeof(i->backing), "%s", v->parent);
		snprintf(i->backing_fmt, sizeof(i->backing_fmt), "vmdk");
	}
}

static bool vmdk_set_backing(struct image *im, const char *name, const char *fmt, struct err *e)
{
	return err_set(e, HV_EXIT_USAGE, "%s: cannot give a VMDK image another parent; make a new "
		       "overlay", im->path);
}

static uint32_t vmdk_pack_unit(struct image *im)
{
	return ((struct vmdk *)im->priv)->stream ? 65536 : 0;
}

static bool vmdk_only_packed(struct image *im)
{
	return ((struct vmdk *)im->priv)->stream;
}

static int vmdk_write_packed(struct image *im, uint64_t off, const uint8_t *packed, uint32_t len)
{
	struct vmdk *v = im->priv;

	return v->stream ? vmdk_stream_grain(v, off, packed, len) : ENOTSUP;
}

static const struct image_tool vmdk_tool = {
	.options = vmdk_options,
	.create = vmdk_create,
	.map = vmdk_map,
	.check = vmdk_check,
	.resize = vmdk_resize,
	.info = vmdk_info,
	.set_backing = vmdk_set_backing,
	.pack_unit = vmdk_pack_unit,
	.pack = vmdk_pack,
	.write_packed = vmdk_write_packed,
	.only_packed = vmdk_only_packed,
	.thin = true,
};

const struct block_format vmdk_format = {
	.name = "vmdk",
	.probe = vmdk_probe,
	.open = vmdk_open,
	.io = vmdk_io,
	.close = vmdk_close,
	.tool = &vmdk_tool,
};
