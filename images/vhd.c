/* SPDX-License-Identifier: MIT */
/*
 * Microsoft VHD (Virtual Hard Disk Image Format Specification 1.0): fixed,
 * dynamic and differencing.
 *
 * A fixed disk is raw content with a footer.  The others have a copy of the
 * footer in front, a table of 32-bit sector numbers, and blocks that begin
 * with a bitmap of the sectors in them; the footer moves with the end of the
 * file, and the copy counts when it is missing there.  A differencing disk
 * finds its parent by the relative name it records, in its own directory.
 */
#include "vhd_int.h"
#include "formats.h"
#include "utf16.h"
#include "../src/log.h"
#include <errno.h>
#include <stdlib.h>

#define MAX_BLOCKS (16u << 20)

/* ---- table ------------------------------------------------------------------ */

static int vhd_load(struct bat *b, uint64_t p, uint64_t *e)
{
	struct vhd *v = b->priv;
	uint64_t n = MIN((uint64_t)PAGE, b->n - p * PAGE);
	uint8_t *raw = malloc(n * 4);
	int err = raw ? hf_pread(b->f, raw, n * 4, v->table_off + p * PAGE * 4) : ENOMEM;
	bool partial = v->type == TYPE_DIFF || !b->readonly;

	for (uint64_t i = 0; !err && i < n; i++) {
		uint32_t x = ld_be32(raw + i * 4);
		uint64_t host = x * (uint64_t)SECTOR + v->bitmap_len;

		if (x == UNUSED)
			e[i] = BAT_NONE;
		else if (x * (uint64_t)SECTOR < v->first ||
			 !range_ok(host, 1ull << b->bits, b->end) ||
			 (x * (uint64_t)SECTOR < v->table_off + v->table_len &&
			  host + (1ull << b->bits) > v->table_off))
			e[i] = BAT_BAD;
		else
			e[i] = host | (partial ? BAT_PARTIAL : 0);
	}
	free(raw);
	return err;
}

static int vhd_store(struct bat *b, uint64_t p, const uint64_t *e)
{
	struct vhd *v = b->priv;
	uint64_t n = MIN((uint64_t)PAGE, b->n - p * PAGE);
	uint8_t *raw = malloc(n * 4);
	int err;

	if (!raw)
		return ENOMEM;
	for (uint64_t i = 0; i < n; i++)
		st_be32(raw + i * 4, e[i] <= BAT_BAD ? UNUSED :
			(uint32_t)((BAT_HOST(e[i]) - v->bitmap_len) / SECTOR));
	err = hf_pwrite(b->f, raw, n * 4, v->table_off + p * PAGE * 4);
	free(raw);
	return err;
}

static int write_full_bitmap(struct vhd *v, uint64_t host)
{
	uint8_t *ones = malloc(v->bitmap_len);
	int err;

	if (!ones)
		return ENOMEM;
	memset(ones, 0xff, v->bitmap_len);
	err = hf_pwrite(v->b.f, ones, v->bitmap_len, host - v->bitmap_len);
	free(ones);
	return err;
}

/*
 * The bitmap takes the place of the old footer, which moves behind the block: by
 * one write, which makes the file longer, so that there is always one at the end.
 */
static int vhd_place(struct bat *b, uint64_t block, uint64_t *host)
{
	struct vhd *v = b->priv;
	uint64_t end = b->end + v->bitmap_len + (1ull << b->bits);
	int err = end / SECTOR >= UNUSED ? EFBIG : hf_pwrite(b->f, v->footer, SECTOR, end);

	*host = b->end + v->bitmap_len;
	if (!err)
		err = write_full_bitmap(v, *host);
	if (!err)
		b->end = end;
	return err;
}

static int vhd_bitmap(struct bat *b, uint64_t block, uint64_t host, uint8_t *bits)
{
	struct vhd *v = b->priv;
	int err = hf_pread(b->f, bits, v->bitmap_len, host - v->bitmap_len);

	for (uint32_t i = 0; !err && i < v->bitmap_len; i++)	/* the first sector is bit 7 */
		bits[i] = (uint8_t)((bits[i] * 0x0202020202ull & 0x010884422010ull) % 1023);
	return err;
}

static int vhd_complete(struct bat *b, uint64_t block, uint64_t *e)
{
	int err = write_full_bitmap(b->priv, BAT_HOST(*e));

	if (err)
		return err;
	*e = BAT_HOST(*e);
	return bat_set(b, block, *e);
}

static const struct bat_ops vhd_ops = {
	.load = vhd_load,
	.store = vhd_store,
	.place = vhd_place,
	.bitmap = vhd_bitmap,
	.complete = vhd_complete,
};

/* ---- opening ------------------------------------------------------------------ */

uint32_t vhd_checksum(const uint8_t *p, size_t n, size_t at)
{
	uint32_t sum = 0;

	for (size_t i = 0; i < n; i++)
		sum += i >= at && i < at + 4 ? 0 : p[i];
	return ~sum;
}

bool vhd_footer_ok(const uint8_t *f)
{
	return !memcmp(f, "conectix", 8) && ld_be32(f + 64) == vhd_checksum(f, SECTOR, 64);
}

static int vhd_probe(const uint8_t *head, size_t n, uint64_t size)
{
	if (!memcmp(head, "conectix", 8))
		return 100;
	return vhd_footer_ok(head + n) && ld_be32(head + n + 60) == TYPE_FIXED ? 90 : 0;
}

static bool bad(const struct image *im, struct err *e, const char *what)
{
	return err_set(e, HV_EXIT_IMAGE, "%s: damaged VHD image: %s", im->path, what);
}

static bool read_footer(struct vhd *v, struct err *e)
{
	struct image *im = v->b.im;
	uint64_t size;
	uint8_t tail[SECTOR];

	if (hf_size(&im->file, &size) || size < SECTOR ||
	    hf_pread(&im->file, v->footer, SECTOR, 0) ||
	    hf_pread(&im->file, tail, SECTOR, size - SECTOR))
		return bad(im, e, "no footer");
	/* Fixed: content first, so only the end counts. */
	if (vhd_footer_ok(tail) && (ld_be32(tail + 60) == TYPE_FIXED || !vhd_footer_ok(v->footer)))
		memcpy(v->footer, tail, SECTOR);
	if (!vhd_footer_ok(v->footer))
		return bad(im, e, "its footer is missing or its checksum is wrong");
	v->type = ld_be32(v->footer + 60);
	if (ld_be32(v->footer + 12) >> 16 != 1)
		return err_set(e, HV_EXIT_IMAGE, "%s: VHD version %u.x; hvrun reads 1", im->path,
			       ld_be32(v->footer + 12) >> 16);
	if (v->type != TYPE_FIXED && v->type != TYPE_DYNAMIC && v->type != TYPE_DIFF)
		return err_set(e, HV_EXIT_IMAGE, "%s: VHD type %u is not supported", im->path,
			       v->type);
	im->size = ld_be64(v->footer + 48) & ~511ull;
	if (!im->size || im->size > IMAGE_MAX_SIZE)
		return bad(im, e, "the disk's size is impossible");
	v->fixed = v->type == TYPE_FIXED;
	if (v->fixed && im->size > size - SECTOR)
		return bad(im, e, "truncated: the disk is larger than the file");
	v->b.end = vhd_footer_ok(tail) ? size - SECTOR : (size + SECTOR - 1) & ~511ull;
	return true;
}

bool vhd_read_dynamic(struct vhd *v, struct err *e)
{
	struct image *im = v->b.im;
	uint64_t at = ld_be64(v->footer + 16), entries, table;
	uint32_t block;

	if (!range_ok(at, sizeof(v->dyn), v->b.end) ||
	    hf_pread(&im->file, v->dyn, sizeof(v->dyn), at) || memcmp(v->dyn, "cxsparse", 8) ||
	    ld_be32(v->dyn + 36) != vhd_checksum(v->dyn, sizeof(v->dyn), 36))
		return bad(im, e, "the dynamic header is missing or its checksum is wrong");
	block = ld_be32(v->dyn + 32);
	entries = ld_be32(v->dyn + 28);
	v->table_off = ld_be64(v->dyn + 16);
	table = (entries * 4 + 511) & ~511ull;
	if (!is_pow2(block) || block < 4096 || block > 256u << 20)
		return bad(im, e, "the block size is impossible");
	v->b.bits = (unsigned)__builtin_ctz(block);
	v->b.size = im->size;
	if (entries > MAX_BLOCKS || (im->size - 1) >> v->b.bits >= entries)
		return bad(im, e, "the table does not fit the disk's size");
	if (v->table_off % SECTOR || v->table_off < SECTOR ||
	    !range_ok(v->table_off, table, v->b.end))
		return bad(im, e, "the table is in a wrong place");
	v->bitmap_len = (block / SECTOR / 8 + 511) & ~511u;
	v->table_len = table;
	v->first = at + sizeof(v->dyn);		/* the table may be anywhere */
	v->b.end = (v->b.end + 511) & ~511ull;
	return true;
}

bool vhd_parent_name(struct vhd *v, char *name, size_t n)
{
	for (unsigned i = 0; i < 8; i++) {
		const uint8_t *l = v->dyn + 576 + i * 24;
		uint32_t len = ld_be32(l + 8);
		uint64_t at = ld_be64(l + 16);
		uint8_t raw[1024];

		if (ld_be32(l) != W2RU || !len || len > sizeof(raw) ||
		    !range_ok(at, len, v->b.end) || hf_pread(v->b.f, raw, len, at))
			continue;
		if (utf16_to_path(raw, len, false, name, n))
			return true;
	}
	return utf16_to_path(v->dyn + 64, 512, true, name, n);
}

static bool open_parent(struct vhd *v, struct err *e)
{
	struct image *im = v->b.im;
	const struct vhd *p;
	char name[1024];

	if (im->flags & IMAGE_NO_BACKING)
		return true;
	if (!vhd_parent_name(v, name, sizeof(name)))
		return bad(im, e, "it does not say what its parent is");
	if (!image_open_backing(im, name, "vhd", e))
		return false;
	p = im->backing->priv;
	if (memcmp(p->footer + 68, v->dyn + 40, 16))
		return err_set(e, HV_EXIT_IMAGE, "%s: '%.128s' is not the parent it was made for "
			       "(another unique id)", im->path, name);
	return true;
}

static bool vhd_open(struct image *im, struct err *e)
{
	struct vhd *v = hv_zalloc(sizeof(*v));

	v->b = (struct bat){ .im = im, .f = &im->file, .ops = &vhd_ops, .priv = v,
			     .page_n = PAGE };
	im->priv = v;
	if (read_footer(v, e) && (v->fixed || (vhd_read_dynamic(v, e) &&
	    (v->type != TYPE_DIFF || open_parent(v, e)) && bat_init(&v->b, e))))
		return true;
	free(v);
	im->priv = NULL;
	return false;
}

static int fixed_io(struct image *im, enum block_op op, uint64_t off, uint64_t len,
		    const struct iovec *iov, unsigned niov)
{
	switch (op) {
	case BLOCK_READ:
		return hf_preadv(&im->file, iov, niov, off);
	case BLOCK_WRITE:
		return im->flags & BLOCK_RDONLY ? EROFS : hf_pwritev(&im->file, iov, niov, off);
	case BLOCK_FLUSH:
		return im->flags & BLOCK_RDONLY ? 0 : hf_sync(&im->file);
	case BLOCK_DISCARD:
	case BLOCK_WRITE_ZEROES:
		return im->flags & BLOCK_RDONLY ? EROFS :
			hf_zero(&im->file, off, len, im->flags & BLOCK_DISCARD_ON);
	}
	return ENOTSUP;
}

static int vhd_io(struct image *im, enum block_op op, uint64_t off, uint64_t len,
		  const struct iovec *iov, unsigned niov)
{
	struct vhd *v = im->priv;

	return v->fixed ? fixed_io(im, op, off, len, iov, niov) :
		bat_io(&v->b, op, off, len, iov, niov, 0);
}

static int vhd_place_at(struct image *im, bool write, uint64_t off, struct image_place *p)
{
	struct vhd *v = im->priv;

	return v->fixed ? 0 : bat_place(&v->b, write, off, p);
}

static void vhd_close(struct image *im)
{
	struct vhd *v = im->priv;
	int err = im->flags & BLOCK_RDONLY ? 0 : v->fixed ? hf_sync(&im->file) : bat_flush(&v->b);

	if (err)
		log_error("%s: the last changes could not be written: %s", im->path,
			  strerror(err));
	bat_free(&v->b);
	free(v);
}

const struct block_format vhd_format = {
	.name = "vhd",
	.probe = vhd_probe,
	.open = vhd_open,
	.io = vhd_io,
	.place = vhd_place_at,
	.close = vhd_close,
	.tool = &vhd_tool,
};
