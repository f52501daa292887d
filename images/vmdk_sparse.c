/* SPDX-License-Identifier: MIT */
/*
 * Sparse extents: header, grain directory (kept in memory), grain tables
 * (the pages of bat.h), a second copy of both kept equal.
 *
 * Compressed grains (streamOptimized) are read; such a file cannot be changed
 * in place, see vmdk_stream.c.
 */
#include "vmdk_int.h"

#include <errno.h>
#include <stdlib.h>
#include <zlib.h>

static int load_gt(struct bat *b, uint64_t p, uint64_t *e)
{
	struct vmdk_extent *x = b->priv;
	uint64_t at = x->gd[p] * (uint64_t)VMDK_SECTOR, grain = 1ull << b->bits;
	uint8_t raw[VMDK_GTES * 4];
	int err;

	if (!at)
		return 0;
	if (!range_ok(at, sizeof(raw), (b->end + 511) & ~511ull))
		return EIO;
	err = hf_pread(b->f, raw, sizeof(raw), at);
	for (uint32_t i = 0; !err && i < VMDK_GTES; i++) {
		uint32_t g = ld_le32(raw + i * 4);
		uint64_t host = g * (uint64_t)VMDK_SECTOR;

		if (!g)
			e[i] = BAT_NONE;
		else if (g == 1 && b->can_zero)
			e[i] = BAT_ZERO;
		else if (host < VMDK_SECTOR || host >= b->end)
			e[i] = BAT_BAD;
		else if (x->flags & VF_COMPRESSED)
			e[i] = host | BAT_PACKED;
		else
			e[i] = b->end - host < grain ? BAT_BAD : host;
	}
	return err;
}

static int write_gde(struct bat *b, uint64_t dir, uint64_t p, uint32_t sector)
{
	uint8_t raw[4];

	st_le32(raw, sector);
	return hf_pwrite(b->f, raw, 4, dir + p * 4);
}

/* A table at the end of the file, for a directory entry that had none. */
static int new_table(struct bat *b, uint32_t *dir, uint64_t dir_off, uint64_t p,
		     const uint8_t *raw, uint32_t len)
{
	uint64_t at = b->end;
	int err = at / VMDK_SECTOR > UINT32_MAX - 8 ? EFBIG : hf_pwrite(b->f, raw, len, at);

	if (!err)
		err = hf_sync(b->f);
	if (!err)
		err = write_gde(b, dir_off, p, (uint32_t)(at / VMDK_SECTOR));
	if (err)
		return err;
	dir[p] = (uint32_t)(at / VMDK_SECTOR);
	b->end = at + MAX(1ull << b->bits, (uint64_t)len);
	return hf_truncate(b->f, b->end);
}

static int store_gt(struct bat *b, uint64_t p, const uint64_t *e)
{
	struct vmdk_extent *x = b->priv;
	uint8_t raw[VMDK_GTES * 4];
	int err = 0;

	for (uint32_t i = 0; i < VMDK_GTES; i++)
		st_le32(raw + i * 4, e[i] == BAT_ZERO ? 1 : e[i] <= BAT_BAD ? 0 :
			(uint32_t)(BAT_HOST(e[i]) / VMDK_SECTOR));
	if (x->rgd)
		err = x->rgd[p] ? hf_pwrite(b->f, raw, sizeof(raw),
					    x->rgd[p] * (uint64_t)VMDK_SECTOR) :
			new_table(b, x->rgd, x->rgd_off, p, raw, sizeof(raw));
	if (err)
		return err;
	return x->gd[p] ? hf_pwrite(b->f, raw, sizeof(raw), x->gd[p] * (uint64_t)VMDK_SECTOR) :
		new_table(b, x->gd, x->gd_off, p, raw, sizeof(raw));
}

static int place_grain(struct bat *b, uint64_t block, uint64_t *host)
{
	uint64_t end = b->end + (1ull << b->bits);
	int err = end / VMDK_SECTOR > UINT32_MAX ? EFBIG : hf_truncate(b->f, end);

	*host = b->end;
	if (!err)
		b->end = end;
	return err;
}

static int unpack_grain(struct bat *b, uint64_t host, uint8_t *out)
{
	uLongf n = 1ul << b->bits;
	uint8_t mark[12], *in;
	uint32_t len;
	int err = hf_pread(b->f, mark, sizeof(mark), host);

	if (err)
		return err;
	len = ld_le32(mark + 8);
	if (!len || len > (2u << b->bits) + 512 || !range_ok(host + 12, len, b->end))
		return EIO;
	in = malloc(len);
	err = in ? hf_pread(b->f, in, len, host + 12) : ENOMEM;
	memset(out, 0, n);
	if (!err && uncompress(out, &n, in, len) != Z_OK)
		err = EIO;
	free(in);
	return err;
}

static const struct bat_ops sparse_ops = { .load = load_gt, .store = store_gt,
					   .place = place_grain };
static const struct bat_ops packed_ops = { .load = load_gt, .store = store_gt,
					   .place = place_grain, .unpack = unpack_grain };

static bool bad(const struct vmdk *v, struct err *e, const char *what)
{
	return err_set(e, HV_EXIT_IMAGE, "%s: damaged VMDK image: %s", v->im->path, what);
}

static uint32_t *load_directory(struct vmdk *v, struct vmdk_extent *x, uint64_t off, uint64_t n,
				struct err *e)
{
	uint32_t *d;
	int err;

	if (off < VMDK_SECTOR || !range_ok(off, n * 4, (x->b.end + 511) & ~511ull)) {
		bad(v, e, "the grain directory lies outside the file");
		return NULL;
	}
	d = calloc(n + 1, 4);
	err = d ? hf_pread(x->f, d, n * 4, off) : ENOMEM;
	if (err) {
		free(d);
		err_errno(e, HV_EXIT_IMAGE, err, "%s: cannot read the grain directory",
			  v->im->path);
		return NULL;
	}
	for (uint64_t i = 0; i < n; i++)
		d[i] = ld_le32(&d[i]);
	return d;
}

/* The header at the end of a stream replaces the one in front. */
static bool read_footer(struct vmdk *v, struct vmdk_extent *x, uint8_t *h, struct err *e)
{
	uint8_t foot[1536];

	if (x->b.end < 3 * sizeof(foot) || hf_pread(x->f, foot, sizeof(foot),
						    x->b.end - sizeof(foot)) ||
	    ld_le32(foot + 12) != MARK_FOOTER || memcmp(foot + 512, "KDMV", 4) ||
	    ld_le32(foot + 1024 + 12) != MARK_EOS)
		return err_set(e, HV_EXIT_IMAGE, "%s: truncated: the end of this stream-optimized "
			       "VMDK is missing; copy or download it again", v->im->path);
	memcpy(h, foot + 512, 512);
	return ld_le64(h + VH_GD) != GD_AT_END || bad(v, e, "a footer without a directory");
}

static bool check_header(struct vmdk *v, const uint8_t *h, struct err *e)
{
	uint32_t flags = ld_le32(h + VH_FLAGS), version = ld_le32(h + VH_VERSION);
	uint64_t grain = ld_le64(h + VH_GRAIN);

	if (version < 1 || version > 3)
		return err_set(e, HV_EXIT_IMAGE, "%s: VMDK version %u; hvrun reads 1 to 3",
			       v->im->path, version);
	if (flags >> 16 & ~(VF_KNOWN >> 16))	/* the upper half is incompatible */
		return err_set(e, HV_EXIT_IMAGE,
			       "%s: this VMDK needs a feature that hvrun does not "
			       "know (flags %#x)",
			       v->im->path, flags);
	if ((flags & VF_COMPRESSED) && ld_le16(h + VH_COMPRESS) != 1)
		return err_set(e, HV_EXIT_IMAGE, "%s: VMDK compression %u is not supported",
			       v->im->path, ld_le16(h + VH_COMPRESS));
	if ((flags & VF_NEWLINE) && memcmp(h + VH_NEWLINES, "\n \r\n", 4))
		return bad(v, e, "it was changed by a text-mode transfer");
	if (!is_pow2(grain) || grain < 8 || grain > 4096 || ld_le32(h + VH_GTES) != VMDK_GTES)
		return bad(v, e, "the grain size is impossible");
	if (!ld_le64(h + VH_CAPACITY) || ld_le64(h + VH_CAPACITY) > IMAGE_MAX_SIZE / VMDK_SECTOR)
		return bad(v, e, "the disk's size is impossible");
	return true;
}

bool vmdk_open_sparse(struct vmdk *v, struct vmdk_extent *x, uint8_t *h, struct err *e)
{
	uint64_t n;

	if (hf_size(x->f, &x->b.end) || hf_pread(x->f, h, VMDK_SECTOR, 0) || memcmp(h, "KDMV", 4))
		return bad(v, e, "an extent without header");
	if (ld_le64(h + VH_GD) == GD_AT_END && !read_footer(v, x, h, e))
		return false;
	if (!check_header(v, h, e))
		return false;
	x->flags = ld_le32(h + VH_FLAGS);
	if ((x->flags & VF_COMPRESSED) && !(v->im->flags & BLOCK_RDONLY))
		return err_set(e, HV_EXIT_IMAGE, "%s: a stream-optimized VMDK is for transport and "
			       "cannot be written to; attach it with readonly=on or --discard, or: "
			       "hvrun img convert -O qcow2", v->im->path);
	if (!x->size)
		x->size = ld_le64(h + VH_CAPACITY) * VMDK_SECTOR;
	x->b.im = v->im;
	x->b.f = x->f;
	x->b.ops = x->flags & VF_COMPRESSED ? &packed_ops : &sparse_ops;
	x->b.priv = x;
	x->b.base = x->base;
	x->b.size = x->size;
	x->b.page_n = VMDK_GTES;
	x->b.bits = (unsigned)__builtin_ctzll(ld_le64(h + VH_GRAIN)) + 9;
	x->b.can_zero = x->flags & VF_ZEROED;
	x->gd_off = ld_le64(h + VH_GD) * VMDK_SECTOR;
	x->overhead = ld_le64(h + VH_OVERHEAD) * VMDK_SECTOR;
	if (x->size > ld_le64(h + VH_CAPACITY) * VMDK_SECTOR ||
	    ld_le64(h + VH_GD) > UINT32_MAX || ld_le64(h + VH_RGD) > UINT32_MAX)
		return bad(v, e, "the extent is smaller than the descriptor says");
	if (!bat_init(&x->b, e))
		return false;
	n = x->b.npages;
	x->gd = load_directory(v, x, x->gd_off, n, e);
	if (x->gd && (x->flags & VF_RGD) && !x->b.readonly) {
		x->rgd_off = ld_le64(h + VH_RGD) * VMDK_SECTOR;
		x->rgd = load_directory(v, x, x->rgd_off, n, e);
	}
	if (!x->b.readonly)	/* new grains on grain boundaries */
		x->b.end = (MAX(x->b.end, x->overhead) + (1ull << x->b.bits) - 1) >>
			x->b.bits << x->b.bits;
	return x->gd && (x->rgd || x->b.readonly || !(x->flags & VF_RGD));
}

/* ---- new ones ------------------------------------------------------------------- */

#define GRAIN 128u			/* sectors */
#define GT_SECTORS (VMDK_GTES * 4 / VMDK_SECTOR)

static uint64_t tables(uint64_t capacity)
{
	uint64_t grains = (capacity + GRAIN - 1) / GRAIN;

	return (grains + VMDK_GTES - 1) / VMDK_GTES;
}

uint64_t vmdk_sparse_header(uint8_t *h, uint64_t capacity, uint64_t desc, bool stream)
{
	uint64_t n = tables(capacity), gd = (n * 4 + 511) / 512, rgd_at = 1 + desc;
	uint64_t gd_at = rgd_at + gd + n * GT_SECTORS, over = gd_at + gd + n * GT_SECTORS;

	over = stream ? GRAIN : (over + GRAIN - 1) / GRAIN * GRAIN;
	memset(h, 0, VMDK_SECTOR);
	memcpy(h, "KDMV", 4);
	st_le32(h + VH_VERSION, stream ? 3 : 1);
	st_le32(h + VH_FLAGS, VF_NEWLINE | (stream ? VF_COMPRESSED | VF_MARKERS : VF_RGD));
	st_le64(h + VH_CAPACITY, capacity);
	st_le64(h + VH_GRAIN, GRAIN);
	st_le64(h + VH_DESC, desc ? 1 : 0);
	st_le64(h + VH_DESC_SIZE, desc);
	st_le32(h + VH_GTES, VMDK_GTES);
	st_le64(h + VH_RGD, stream ? 0 : rgd_at);
	st_le64(h + VH_GD, stream ? GD_AT_END : gd_at);
	st_le64(h + VH_OVERHEAD, over);
	memcpy(h + VH_NEWLINES, "\n \r\n", 4);
	st_le16(h + VH_COMPRESS, stream);
	return over;
}

static int write_directory(struct hostfile *f, uint64_t at, uint64_t n)
{
	uint64_t gd = (n * 4 + 511) / 512;
	uint8_t *raw = calloc(gd, 512);
	int err;

	if (!raw)
		return ENOMEM;
	for (uint64_t i = 0; i < n; i++)
		st_le32(raw + i * 4, (uint32_t)(at + gd + i * GT_SECTORS));
	err = hf_pwrite(f, raw, gd * 512, at * VMDK_SECTOR);
	free(raw);
	return err;
}

int vmdk_write_sparse(struct hostfile *f, const uint8_t *h)
{
	uint64_t n = tables(ld_le64(h + VH_CAPACITY));
	int err = hf_truncate(f, ld_le64(h + VH_OVERHEAD) * VMDK_SECTOR);

	if (!err)
		err = hf_pwrite(f, h, VMDK_SECTOR, 0);
	if (!err && ld_le64(h + VH_RGD))
		err = write_directory(f, ld_le64(h + VH_RGD), n);
	if (!err && ld_le64(h + VH_GD) != GD_AT_END)
		err = write_directory(f, ld_le64(h + VH_GD), n);
	return err;
}
