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
#include "bat.h"
#include "formats.h"
#include "utf16.h"
#include "../src/log.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/random.h>
#include <time.h>
#include <unistd.h>

#define SECTOR 512u
#define UNUSED 0xffffffffu
#define PAGE 2048u
#define MAX_BLOCKS (16u << 20)
#define EPOCH_2000 946684800
#define W2RU 0x57327275u		/* locator: relative name, UTF-16LE */
#define BLOCK_BITS 21u

enum { TYPE_FIXED = 2, TYPE_DYNAMIC = 3, TYPE_DIFF = 4 };

struct vhd {
	struct bat b;
	bool fixed;
	uint32_t type, bitmap_len;
	uint64_t table_off, table_len;
	uint64_t first;			/* the first byte for blocks */
	uint8_t footer[SECTOR], dyn[1024];
};

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

static uint32_t checksum(const uint8_t *p, size_t n, size_t at)
{
	uint32_t sum = 0;

	for (size_t i = 0; i < n; i++)
		sum += i >= at && i < at + 4 ? 0 : p[i];
	return ~sum;
}

static bool footer_ok(const uint8_t *f)
{
	return !memcmp(f, "conectix", 8) && ld_be32(f + 64) == checksum(f, SECTOR, 64);
}

static int vhd_probe(const uint8_t *head, size_t n, uint64_t size)
{
	if (!memcmp(head, "conectix", 8))
		return 100;
	return footer_ok(head + n) && ld_be32(head + n + 60) == TYPE_FIXED ? 90 : 0;
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
	if (footer_ok(tail) && (ld_be32(tail + 60) == TYPE_FIXED || !footer_ok(v->footer)))
		memcpy(v->footer, tail, SECTOR);
	if (!footer_ok(v->footer))
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
	v->b.end = footer_ok(tail) ? size - SECTOR : (size + SECTOR - 1) & ~511ull;
	return true;
}

static bool read_dynamic(struct vhd *v, struct err *e)
{
	struct image *im = v->b.im;
	uint64_t at = ld_be64(v->footer + 16), entries, table;
	uint32_t block;

	if (!range_ok(at, sizeof(v->dyn), v->b.end) ||
	    hf_pread(&im->file, v->dyn, sizeof(v->dyn), at) || memcmp(v->dyn, "cxsparse", 8) ||
	    ld_be32(v->dyn + 36) != checksum(v->dyn, sizeof(v->dyn), 36))
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

/* The name in one of the locators, else the one in the header. */
static bool parent_name(struct vhd *v, char *name, size_t n)
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
	if (!parent_name(v, name, sizeof(name)))
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
	if (read_footer(v, e) && (v->fixed || (read_dynamic(v, e) &&
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

/* ---- hvrun img ----------------------------------------------------------------- */

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
	st_be32(f + 64, checksum(f, SECTOR, 64));
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
	st_be32(dyn + 36, checksum(dyn, sizeof(dyn), 36));
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

/* ---- growing -------------------------------------------------------------------- */

/* Size and geometry; the copy at the end first, so that one of them is always good. */
static int store_footer(struct vhd *v, uint64_t size, uint64_t end)
{
	int err;

	memcpy(v->footer + 28, "win ", 4);	/* as in build_footer() */
	st_be64(v->footer + 48, size);
	geometry(size, v->footer + 56);
	st_be32(v->footer + 64, checksum(v->footer, SECTOR, 64));
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
	st_be32(v->dyn + 36, checksum(v->dyn, sizeof(v->dyn), 36));
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
	return read_dynamic(v, e) && bat_grown(&v->b, old, e);
}

static bool vhd_check(struct image *im, struct image_check *r, struct err *e)
{
	struct vhd *v = im->priv;
	uint64_t stride = v->bitmap_len + (1ull << v->b.bits);
	uint8_t tail[SECTOR];

	if (v->fixed)
		return true;
	if (hf_pread(v->b.f, tail, SECTOR, v->b.end) || !footer_ok(tail)) {
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
	if (v->type == TYPE_DIFF && parent_name(v, i->backing, sizeof(i->backing)))
		snprintf(i->backing_fmt, sizeof(i->backing_fmt), "vhd");
}

static bool vhd_set_backing(struct image *im, const char *name, const char *fmt, struct err *e)
{
	return err_set(e, HV_EXIT_USAGE, "%s: cannot give a VHD image another parent; make a new "
		       "overlay", im->path);
}

static const struct image_tool vhd_tool = {
	.options = vhd_options,
	.create = vhd_create,
	.map = vhd_map,
	.check = vhd_check,
	.resize = vhd_resize,
	.info = vhd_info,
	.set_backing = vhd_set_backing,
	.thin = true,
};

const struct block_format vhd_format = {
	.name = "vhd",
	.probe = vhd_probe,
	.open = vhd_open,
	.io = vhd_io,
	.place = vhd_place_at,
	.close = vhd_close,
	.tool = &vhd_tool,
};
