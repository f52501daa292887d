/* SPDX-License-Identifier: MIT */
/*
 * VirtualBox VDI (version 1.1): dynamic, fixed and differencing.
 *
 * A header, one table of 32-bit block numbers (-1 not here, -2 zeros), then
 * blocks.  A differencing image names its parent by UUID only; it is looked
 * for among the *.vdi files of the same directory.  Blocks of 1 MiB are what
 * everybody writes; other powers of two are read, and so is the extra data
 * per block that nobody uses (refused).
 */
#include "bat.h"
#include "formats.h"
#include "../src/log.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/random.h>
#include <unistd.h>

#define SIGNATURE 0xbeda107fu
#define HDR 512u
#define NOT_HERE 0xffffffffu
#define ZEROS 0xfffffffeu
#define PAGE 4096u
#define MAX_BLOCKS (32u << 20)

enum { TYPE_DYNAMIC = 1, TYPE_FIXED = 2, TYPE_UNDO = 3, TYPE_DIFF = 4 };
enum { H_TYPE = 0x4c, H_BMAP = 0x154, H_DATA = 0x158, H_SECTOR = 0x168, H_SIZE = 0x170,
       H_BLOCK = 0x178, H_EXTRA = 0x17c, H_BLOCKS = 0x180, H_ALLOCATED = 0x184,
       H_UUID = 0x188, H_LINK = 0x1a8 };

struct vdi {
	struct bat b;
	uint8_t hdr[HDR];
	uint32_t bmap_off, data_off;
	uint32_t stored;		/* count of blocks in the file's header */
};

static uint64_t block_end(const struct vdi *v, uint64_t n)
{
	return v->data_off + (n << v->b.bits);
}

static int vdi_load(struct bat *b, uint64_t p, uint64_t *e)
{
	struct vdi *v = b->priv;
	uint64_t n = MIN((uint64_t)PAGE, b->n - p * PAGE);
	uint8_t *raw = malloc(n * 4);
	int err = raw ? hf_pread(b->f, raw, n * 4, v->bmap_off + p * PAGE * 4) : ENOMEM;

	for (uint64_t i = 0; !err && i < n; i++) {
		uint32_t x = ld_le32(raw + i * 4);

		e[i] = x == NOT_HERE ? BAT_NONE : x == ZEROS ? BAT_ZERO :
			block_end(v, x + 1ull) > b->end ? BAT_BAD : block_end(v, x);
	}
	free(raw);
	return err;
}

static uint32_t to_disk(const struct vdi *v, uint64_t e)
{
	return e == BAT_NONE || e == BAT_BAD ? NOT_HERE : e == BAT_ZERO ? ZEROS :
		(uint32_t)((BAT_HOST(e) - v->data_off) >> v->b.bits);
}

static int vdi_store(struct bat *b, uint64_t p, const uint64_t *e)
{
	struct vdi *v = b->priv;
	uint64_t n = MIN((uint64_t)PAGE, b->n - p * PAGE);
	uint8_t *raw = malloc(n * 4);
	int err = 0;

	if (!raw)
		return ENOMEM;
	for (uint64_t i = 0; i < n; i++)
		st_le32(raw + i * 4, to_disk(v, e[i]));
	err = hf_pwrite(b->f, raw, n * 4, v->bmap_off + p * PAGE * 4);
	free(raw);
	return err;
}

static uint32_t blocks_in_file(const struct vdi *v)
{
	return (uint32_t)((v->b.end - v->data_off) >> v->b.bits);
}

/* The count first: a table entry past it would be refused elsewhere. */
static int vdi_begin_store(struct bat *b)
{
	struct vdi *v = b->priv;
	uint32_t n = blocks_in_file(v);
	uint8_t raw[4];
	int err;

	if (n == v->stored)
		return 0;
	st_le32(raw, n);
	err = hf_pwrite(b->f, raw, 4, H_ALLOCATED);
	if (!err)
		v->stored = n;
	return err;
}

static int vdi_place(struct bat *b, uint64_t block, uint64_t *host)
{
	int err = hf_truncate(b->f, b->end + (1ull << b->bits));

	*host = b->end;
	if (!err)
		b->end += 1ull << b->bits;
	return err;
}

static const struct bat_ops vdi_ops = {
	.load = vdi_load,
	.store = vdi_store,
	.begin_store = vdi_begin_store,
	.place = vdi_place,
};

static int vdi_probe(const uint8_t *head, size_t n, uint64_t size)
{
	return ld_le32(head + 0x40) == SIGNATURE ? 100 : 0;
}

static bool bad(const struct image *im, struct err *e, const char *what)
{
	return err_set(e, HV_EXIT_IMAGE, "%s: damaged VDI image: %s", im->path, what);
}

static bool is_null_uuid(const uint8_t *u)
{
	static const uint8_t none[16];

	return !memcmp(u, none, 16);
}

/* The file of this directory whose UUID is the parent's. */
static bool find_parent(struct image *im, const uint8_t *uuid, struct err *e)
{
	char *copy = hv_strdup(im->path), name[256] = "";
	struct dirent *de;
	uint8_t hdr[HDR];
	DIR *d = opendir(dirname(copy));

	while (d && !name[0] && (de = readdir(d)) != NULL) {
		size_t len = strlen(de->d_name);
		int fd = len > 4 && !strcasecmp(de->d_name + len - 4, ".vdi")
				 ? openat(dirfd(d), de->d_name,
					  O_RDONLY | O_NONBLOCK | O_NOFOLLOW | O_CLOEXEC)
				 : -1;

		if (fd < 0)
			continue;
		if (pread(fd, hdr, HDR, 0) == HDR && ld_le32(hdr + 0x40) == SIGNATURE &&
		    !memcmp(hdr + H_UUID, uuid, 16))
			snprintf(name, sizeof(name), "%s", de->d_name);
		close(fd);
	}
	if (d)
		closedir(d);
	free(copy);
	if (!name[0])
		return err_set(e, HV_EXIT_IMAGE, "%s: its parent image is in no *.vdi file of the "
			       "same directory; move it there", im->path);
	return image_open_backing(im, name, "vdi", e);
}

static bool read_header(struct vdi *v, struct err *e)
{
	struct image *im = v->b.im;
	const uint8_t *h = v->hdr;
	uint32_t block = ld_le32(h + H_BLOCK), type = ld_le32(h + H_TYPE);
	uint64_t file_end;

	if (hf_pread(&im->file, v->hdr, HDR, 0) || hf_size(&im->file, &file_end))
		return bad(im, e, "the header cannot be read");
	if (ld_le32(h + 0x40) != SIGNATURE)
		return bad(im, e, "no VDI signature");
	block = ld_le32(h + H_BLOCK);
	type = ld_le32(h + H_TYPE);
	if (ld_le32(h + 0x44) != 0x00010001)
		return err_set(e, HV_EXIT_IMAGE, "%s: VDI version %u.%u; hvrun reads 1.1", im->path,
			       ld_le16(h + 0x46), ld_le16(h + 0x44));
	if (type != TYPE_DYNAMIC && type != TYPE_FIXED && type != TYPE_DIFF)
		return err_set(e, HV_EXIT_IMAGE, "%s: VDI type %u is not supported", im->path,
			       type);
	if (ld_le32(h + H_SECTOR) != 512 || ld_le32(h + H_EXTRA))
		return bad(im, e, "sectors that are not of 512 bytes, or extra data");
	if (!is_pow2(block) || block < 4096 || block > 256u << 20)
		return bad(im, e, "the block size is impossible");
	im->size = ld_le64(h + H_SIZE) & ~511ull;
	v->bmap_off = ld_le32(h + H_BMAP);
	v->data_off = ld_le32(h + H_DATA);
	v->stored = ld_le32(h + H_ALLOCATED);
	v->b.size = im->size;
	v->b.bits = (unsigned)__builtin_ctz(block);
	if (!im->size || im->size > IMAGE_MAX_SIZE || ld_le32(h + H_BLOCKS) > MAX_BLOCKS ||
	    (im->size - 1) >> v->b.bits >= ld_le32(h + H_BLOCKS))
		return bad(im, e, "the table does not fit the disk's size");
	if (v->bmap_off < HDR || v->bmap_off % 512 || v->data_off % 512 ||
	    v->data_off < v->bmap_off + ld_le32(h + H_BLOCKS) * 4ull || file_end < v->data_off)
		return bad(im, e, "the table or the data is in a wrong place");
	/* Past what the file holds or the header counts there is nothing. */
	v->b.end = v->data_off + (((file_end - v->data_off) >> v->b.bits) << v->b.bits);
	v->b.end = MIN(v->b.end, block_end(v, MAX_BLOCKS));
	return true;
}

static bool vdi_open(struct image *im, struct err *e)
{
	struct vdi *v = hv_zalloc(sizeof(*v));

	v->b = (struct bat){ .im = im, .f = &im->file, .ops = &vdi_ops, .priv = v, .page_n = PAGE,
			     .can_zero = true };
	im->priv = v;
	if (read_header(v, e) &&
	    (is_null_uuid(v->hdr + H_LINK) || ld_le32(v->hdr + H_TYPE) != TYPE_DIFF ||
	     (im->flags & IMAGE_NO_BACKING) || find_parent(im, v->hdr + H_LINK, e)) &&
	    bat_init(&v->b, e))
		return true;
	free(v);
	im->priv = NULL;
	return false;
}

static int vdi_io(struct image *im, enum block_op op, uint64_t off, uint64_t len,
		  const struct iovec *iov, unsigned niov)
{
	struct vdi *v = im->priv;

	return bat_io(&v->b, op, off, len, iov, niov, 0);
}

static int vdi_place_at(struct image *im, bool write, uint64_t off, struct image_place *p)
{
	return bat_place(&((struct vdi *)im->priv)->b, write, off, p);
}

static void vdi_close(struct image *im)
{
	struct vdi *v = im->priv;
	int err = v->b.readonly ? 0 : bat_flush(&v->b);

	if (err)
		log_error("%s: the last changes could not be written: %s", im->path,
			  strerror(err));
	bat_free(&v->b);
	free(v);
}

/* ---- hvrun img ----------------------------------------------------------------- */

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
	uint64_t end = block_end(v, k), e;
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
	uint32_t next = blocks_in_file(v);
	int err = t ? 0 : ENOMEM;
	uint64_t e;

	for (uint64_t i = 0; i < blocks && !err; i++) {
		uint32_t x = fixed ? next++ - (uint32_t)k : NOT_HERE;

		if (i < v->b.n) {
			err = bat_get(&v->b, i, &e);
			x = to_disk(v, e);
			x -= x < ZEROS ? (uint32_t)k : 0;
			next = blocks_in_file(v);
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
	count = blocks_in_file(v) - (uint32_t)k;
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
	return read_header(v, e) && bat_grown(&v->b, old, e);
}

static bool vdi_check(struct image *im, struct image_check *r, struct err *e)
{
	struct vdi *v = im->priv;
	uint64_t first;

	if (v->stored != blocks_in_file(v)) {
		image_damage(r, 1, "the header counts %u blocks, the file has %u", v->stored,
			     blocks_in_file(v));
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
	image_field(i, "blocks in file", "%u", blocks_in_file(v));
	if (im->backing)
		snprintf(i->backing, sizeof(i->backing), "%s", strrchr(im->backing->path, '/') ?
			 strrchr(im->backing->path, '/') + 1 : im->backing->path);
}

static bool vdi_set_backing(struct image *im, const char *name, const char *fmt, struct err *e)
{
	return err_set(e, HV_EXIT_USAGE, "%s: a VDI image finds its parent by UUID, not by name",
		       im->path);
}

static const struct image_tool vdi_tool = {
	.options = vdi_options,
	.create = vdi_create,
	.map = vdi_map,
	.check = vdi_check,
	.resize = vdi_resize,
	.info = vdi_info,
	.set_backing = vdi_set_backing,
	.thin = true,
};

const struct block_format vdi_format = {
	.name = "vdi",
	.probe = vdi_probe,
	.open = vdi_open,
	.io = vdi_io,
	.place = vdi_place_at,
	.close = vdi_close,
	.tool = &vdi_tool,
};
