/* SPDX-License-Identifier: MIT */
/*
 * Microsoft VHDX: dynamic, fixed and differencing, with log replay; 512 and
 * 4096 byte sectors.  What is unknown and required is refused.
 */
#include "formats.h"
#include "vhdx_int.h"
#include "../src/log.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/random.h>

#define OFFSET_MASK 0xfffffffffff00000ull
#define STATE_MASK 7ull

bool vx_bad(const struct vhdx *v, struct err *e, const char *what)
{
	return err_set(e, HV_EXIT_IMAGE, "%s: damaged VHDX image: %s", v->b.im->path, what);
}

uint32_t vx_checksum(const uint8_t *p, size_t n)
{
	static const uint8_t zeros[4];
	uint32_t c = crc32c(0, p, 4);

	c = crc32c(c, zeros, 4);
	return crc32c(c, p + 8, n - 8);
}

void vx_new_guid(uint8_t *g)
{
	if (getrandom(g, 16, 0) != 16)
		st_le64(g, host_now_ns());
	g[7] = (g[7] & 0x0f) | 0x40;
	g[8] = (g[8] & 0x3f) | 0x80;
}

int vx_pread(struct vhdx *v, void *buf, size_t len, uint64_t off)
{
	int err = hf_pread(v->b.f, buf, len, off);

	for (unsigned i = 0; i < v->npatch && !err; i++) {
		uint64_t from = MAX(off, v->patch[i].off);
		uint64_t to = MIN(off + len, v->patch[i].off + VX_PAGE);

		if (from < to)
			memcpy((uint8_t *)buf + (from - off),
			       v->patch[i].data + (from - v->patch[i].off), to - from);
	}
	return err;
}

/* ---- the table ---------------------------------------------------------------- */

static uint64_t entry_index(const struct vhdx *v, uint64_t block)
{
	return block + block / v->ratio;
}

/* First and number of table entries behind page @p. */
static void span(const struct vhdx *v, uint64_t p, uint64_t *first, uint64_t *n)
{
	uint64_t last = MIN((p + 1) * VX_TABLE_PAGE, v->b.n) - 1;

	*first = entry_index(v, p * VX_TABLE_PAGE);
	*n = entry_index(v, last) - *first + 1;
}

/* The log, the metadata and the block table are no place for blocks. */
static bool in_region(const struct vhdx *v, uint64_t host)
{
	const struct { uint64_t off, len; } r[] = {
		{ v->log_off, v->log_len }, { v->meta_off, 1 << 20 }, { v->bat_off, v->bat_n * 8 },
	};

	for (unsigned i = 0; i < ARRAY_SIZE(r); i++)
		if (host < r[i].off + r[i].len && r[i].off < host + (1ull << v->b.bits))
			return true;
	return false;
}

static uint64_t decode(const struct vhdx *v, uint64_t x)
{
	uint64_t host = x & OFFSET_MASK, state = x & STATE_MASK;

	if (state == VX_NOT_PRESENT || state == VX_UNDEFINED)
		return BAT_NONE;
	if (state == VX_ZERO || state == VX_UNMAPPED)
		return BAT_ZERO;
	if ((state != VX_PRESENT && state != VX_PARTIAL) || host < 1 << 20 ||
	    !range_ok(host, 1ull << v->b.bits, v->b.end) || in_region(v, host) ||
	    (state == VX_PARTIAL && !v->has_parent))
		return BAT_BAD;
	return host | (state == VX_PARTIAL ? BAT_PARTIAL : 0);
}

static int vhdx_load(struct bat *b, uint64_t p, uint64_t *e)
{
	struct vhdx *v = b->priv;
	uint64_t first, n;
	uint8_t *raw;
	int err;

	span(v, p, &first, &n);
	raw = malloc(n * 8);
	err = raw ? vx_pread(v, raw, n * 8, v->bat_off + first * 8) : ENOMEM;
	for (uint64_t i = 0; !err && i < VX_TABLE_PAGE && p * VX_TABLE_PAGE + i < b->n; i++)
		e[i] = decode(v,
			      ld_le64(raw + (entry_index(v, p * VX_TABLE_PAGE + i) - first) * 8));
	free(raw);
	return err;
}

static uint64_t encode(uint64_t e)
{
	return e == BAT_NONE || e == BAT_BAD ? VX_NOT_PRESENT : e == BAT_ZERO ? VX_ZERO :
		(e & OFFSET_MASK) | (e & BAT_PARTIAL ? VX_PARTIAL : VX_PRESENT);
}

/* The pages of the file behind one page of the table, the changed ones logged. */
static int vhdx_store(struct bat *b, uint64_t p, const uint64_t *e)
{
	struct vhdx *v = b->priv;
	uint64_t first, n, from, to, off[16];
	unsigned changed = 0;
	uint8_t *raw;
	int err;

	span(v, p, &first, &n);
	from = (v->bat_off + first * 8) & ~(VX_PAGE - 1ull);
	to = (v->bat_off + (first + n) * 8 + VX_PAGE - 1) & ~(VX_PAGE - 1ull);
	raw = malloc(2 * (to - from));
	err = raw ? hf_pread(b->f, raw, to - from, from) : ENOMEM;
	if (!err)
		memcpy(raw + (to - from), raw, to - from);
	for (uint64_t i = 0; !err && i < VX_TABLE_PAGE && p * VX_TABLE_PAGE + i < b->n; i++) {
		uint64_t at = v->bat_off + entry_index(v, p * VX_TABLE_PAGE + i) * 8 - from;

		if (decode(v, ld_le64(raw + at)) != e[i])	/* others keep their exact state */
			st_le64(raw + at, encode(e[i]));
	}
	for (uint64_t at = 0; !err && at < to - from && changed < 16; at += VX_PAGE) {
		if (!memcmp(raw + at, raw + (to - from) + at, VX_PAGE))
			continue;
		memmove(raw + changed * VX_PAGE, raw + at, VX_PAGE);
		off[changed++] = from + at;
	}
	if (!err && changed)
		err = vx_logged_write(v, off, raw, changed);
	free(raw);
	return err;
}

static int vhdx_place(struct bat *b, uint64_t block, uint64_t *host)
{
	uint64_t end = b->end + (1ull << b->bits);
	int err = hf_truncate(b->f, end);

	*host = b->end;
	if (!err)
		b->end = end;
	return err;
}

/* Where the bits of @block are; 0: nowhere. */
static uint64_t bitmap_place(struct vhdx *v, uint64_t block)
{
	uint64_t i = (block / v->ratio + 1) * (v->ratio + 1) - 1, x, bits;
	uint8_t raw[8];

	if (i >= v->bat_n || vx_pread(v, raw, 8, v->bat_off + i * 8))
		return 0;
	x = ld_le64(raw);
	bits = (1ull << v->b.bits) / v->sector / 8;
	if ((x & STATE_MASK) != VX_PRESENT || !range_ok(x & OFFSET_MASK, 1 << 20, v->b.end))
		return 0;
	return (x & OFFSET_MASK) + block % v->ratio * bits;
}

static int vhdx_bitmap(struct bat *b, uint64_t block, uint64_t host, uint8_t *bits)
{
	struct vhdx *v = b->priv;
	uint64_t at = bitmap_place(v, block), n = (1ull << b->bits) / v->sector;
	uint8_t *raw = malloc(n / 8);
	int err = !raw ? ENOMEM : at ? vx_pread(v, raw, n / 8, at) : EIO;

	for (uint64_t i = 0; !err && i < n; i++) {	/* one bit for each 512 bytes */
		if (!(raw[i / 8] >> (i % 8) & 1))
			continue;
		for (uint64_t k = i * (v->sector / 512); k < (i + 1) * (v->sector / 512); k++)
			bits[k / 8] |= (uint8_t)(1u << (k % 8));
	}
	free(raw);
	return err;
}

static int vhdx_complete(struct bat *b, uint64_t block, uint64_t *e)
{
	*e = BAT_HOST(*e);
	return bat_set(b, block, *e);
}

static const struct bat_ops vhdx_ops = {
	.load = vhdx_load,
	.store = vhdx_store,
	.place = vhdx_place,
	.bitmap = vhdx_bitmap,
	.complete = vhdx_complete,
};

/* ---- headers ------------------------------------------------------------------ */

static bool header_ok(const uint8_t *h)
{
	return !memcmp(h, "head", 4) && ld_le32(h + 4) == vx_checksum(h, VX_PAGE);
}

static bool read_headers(struct vhdx *v, struct err *e)
{
	uint8_t one[VX_PAGE], two[VX_PAGE];
	bool a = !hf_pread(v->b.f, one, VX_PAGE, VX_HEADER1) && header_ok(one);
	bool b = !hf_pread(v->b.f, two, VX_PAGE, VX_HEADER2) && header_ok(two);

	if (!a && !b)
		return vx_bad(v, e, "no valid header");
	memcpy(v->hdr, a && (!b || ld_le64(one + HD_SEQ) >= ld_le64(two + HD_SEQ)) ? one : two,
	       VX_PAGE);
	if (ld_le16(v->hdr + HD_VERSION) != 1 || ld_le16(v->hdr + HD_LOG_VERSION))
		return err_set(e, HV_EXIT_IMAGE, "%s: VHDX version %u, log version %u; hvrun reads "
			       "1 and 0", v->b.im->path, ld_le16(v->hdr + HD_VERSION),
			       ld_le16(v->hdr + HD_LOG_VERSION));
	v->log_off = ld_le64(v->hdr + HD_LOG_OFF);
	v->log_len = ld_le32(v->hdr + HD_LOG_LEN);
	if (v->log_off < 1 << 20 || v->log_off % (1 << 20) || v->log_len % (1 << 20) ||
	    !v->log_len || v->log_len > VX_MAX_LOG ||
	    !range_ok(v->log_off, v->log_len, v->file_size))
		return vx_bad(v, e, "its log is in a wrong place or too large");
	return true;
}

/* Both, one after the other: at least one is valid at any time. */
int vx_write_headers(struct vhdx *v)
{
	static const uint64_t place[] = { VX_HEADER1, VX_HEADER2 };
	int err = 0;

	for (unsigned i = 0; i < 2 && !err; i++) {
		st_le64(v->hdr + HD_SEQ, ld_le64(v->hdr + HD_SEQ) + 1);
		st_le32(v->hdr + 4, vx_checksum(v->hdr, VX_PAGE));
		/* the older one first */
		err = hf_pwrite(v->b.f, v->hdr, VX_PAGE, place[(ld_le64(v->hdr + HD_SEQ) + 1) % 2]);
		if (!err)
			err = hf_sync(v->b.f);
	}
	return err;
}

static bool log_in_use(const struct vhdx *v)
{
	static const uint8_t none[16];

	return memcmp(v->hdr + HD_LOG_GUID, none, 16);
}

static bool replay(struct vhdx *v, struct err *e)
{
	int err;

	if (!log_in_use(v))
		return true;
	if (!vx_replay(v, e))
		return false;
	if (v->im_readonly)
		return true;
	memset(v->hdr + HD_LOG_GUID, 0, 16);
	err = vx_write_headers(v);
	return !err || err_errno(e, HV_EXIT_IMAGE, err, "%s: cannot write the headers",
				 v->b.im->path);
}

static bool open_parent(struct vhdx *v, struct err *e)
{
	struct image *im = v->b.im;
	const struct vhdx *p;

	if (!v->has_parent || (im->flags & IMAGE_NO_BACKING))
		return true;
	if (!image_open_backing(im, v->parent, "vhdx", e))
		return false;
	p = im->backing->priv;
	if (!memcmp(p->hdr + HD_DATA_GUID, v->linkage, 16))
		return true;
	return err_set(e, HV_EXIT_IMAGE, "%s: its parent '%.128s' was changed after this image was "
		       "made over it", im->path, v->parent);
}

static bool vhdx_open(struct image *im, struct err *e)
{
	struct vhdx *v = hv_zalloc(sizeof(*v));
	char magic[8];

	v->b = (struct bat){ .im = im, .f = &im->file, .ops = &vhdx_ops, .priv = v,
			     .page_n = VX_TABLE_PAGE, .can_zero = true };
	v->im_readonly = im->flags & BLOCK_RDONLY;
	im->priv = v;
	pthread_mutex_init(&v->begin_lock, NULL);
	if (hf_pread(&im->file, magic, 8, 0) || memcmp(magic, "vhdxfile", 8) ||
	    hf_size(&im->file, &v->file_size)) {
		vx_bad(v, e, "no VHDX signature");
		goto fail;
	}
	if (!read_headers(v, e) || !replay(v, e) || hf_size(&im->file, &v->file_size))
		goto fail;
	v->b.end = (v->file_size + (1 << 20) - 1) & OFFSET_MASK;
	if (vx_read_regions(v, e) && vx_read_metadata(v, e) && open_parent(v, e) &&
	    bat_init(&v->b, e))
		return true;
fail:
	pthread_mutex_destroy(&v->begin_lock);
	free(v->patch);
	free(v);
	im->priv = NULL;
	return false;
}

static int vhdx_io(struct image *im, enum block_op op, uint64_t off, uint64_t len,
		   const struct iovec *iov, unsigned niov)
{
	struct vhdx *v = im->priv;
	int err = 0;

	if (op != BLOCK_READ && op != BLOCK_FLUSH && !v->writing && !v->b.readonly)
		err = vx_begin_writing(v);
	return err ? err : bat_io(&v->b, op, off, len, iov, niov, 0);
}

static int vhdx_place_at(struct image *im, bool write, uint64_t off, struct image_place *p)
{
	return bat_place(&((struct vhdx *)im->priv)->b, write, off, p);
}

static void vhdx_close(struct image *im)
{
	struct vhdx *v = im->priv;
	int err = v->b.readonly ? 0 : v->b.ndirty && !v->writing ? vx_begin_writing(v) : 0;

	if (!err && !v->b.readonly)
		err = bat_flush(&v->b);
	if (!err && v->writing) {
		memset(v->hdr + HD_LOG_GUID, 0, 16);
		err = vx_write_headers(v);
	}
	if (err)
		log_error("%s: the last changes could not be written: %s", im->path,
			  strerror(err));
	bat_free(&v->b);
	pthread_mutex_destroy(&v->begin_lock);
	free(v->patch);
	free(v);
}

static int vhdx_probe(const uint8_t *head, size_t n, uint64_t size)
{
	return !memcmp(head, "vhdxfile", 8) ? 100 : 0;
}

/* ---- hvrun img ----------------------------------------------------------------- */

static int vhdx_map(struct image *im, uint64_t off, uint64_t len, uint64_t *n, enum image_kind *k)
{
	struct vhdx *v = im->priv;

	return bat_map(&v->b, off, len, n, k);
}

static bool vhdx_check(struct image *im, struct image_check *r, struct err *e)
{
	struct vhdx *v = im->priv;

	if (!bat_check(&v->b, r, 1 << 20, 0, 1ull << v->b.bits, e))
		return false;
	r->leaks = 0;	/* blocks that are zeros or unmapped may keep their space */
	return true;
}

static void vhdx_info(struct image *im, struct image_info *i)
{
	const struct vhdx *v = im->priv;

	image_field(i, "block size", "%llu", 1ull << v->b.bits);
	image_field(i, "sector size", "%u", v->sector);
	image_field(i, "log size", "%llu", (unsigned long long)v->log_len);
	i->dirty = log_in_use(v);
	if (v->has_parent) {
		snprintf(i->backing, sizeof(i->backing), "%s", v->parent);
		snprintf(i->backing_fmt, sizeof(i->backing_fmt), "vhdx");
	}
}

static bool vhdx_set_backing(struct image *im, const char *name, const char *fmt, struct err *e)
{
	return err_set(e, HV_EXIT_USAGE, "%s: cannot give a VHDX image another parent; make a new "
		       "overlay", im->path);
}

static const struct image_tool vhdx_tool = {
	.options = vhdx_options,
	.create = vhdx_create,
	.map = vhdx_map,
	.check = vhdx_check,
	.resize = vhdx_resize,
	.info = vhdx_info,
	.set_backing = vhdx_set_backing,
	.thin = true,
};

const struct block_format vhdx_format = {
	.name = "vhdx",
	.probe = vhdx_probe,
	.open = vhdx_open,
	.io = vhdx_io,
	.place = vhdx_place_at,
	.close = vhdx_close,
	.tool = &vhdx_tool,
};
