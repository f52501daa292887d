/* SPDX-License-Identifier: MIT */
/*
 * VirtualBox VDI (version 1.1): dynamic, fixed and differencing.
 *
 * A header, one table of 32-bit block numbers (-1 not here, -2 zeros), then
 * blocks.  A differencing image names its parent by UUID only; it is looked
 * for among the *.vdi files of the same directory.  Blocks of 1 MiB are what
 * everybody writes; other powers of two are read, and so is the extra data
 * per block that nobody uses (refused).  vdi_tool.c has what `hvrun img` does.
 */
#include "vdi_int.h"
#include "formats.h"
#include "../src/log.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

uint64_t vdi_block_end(const struct vdi *v, uint64_t n)
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
			vdi_block_end(v, x + 1ull) > b->end ? BAT_BAD : vdi_block_end(v, x);
	}
	free(raw);
	return err;
}

uint32_t vdi_to_disk(const struct vdi *v, uint64_t e)
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
		st_le32(raw + i * 4, vdi_to_disk(v, e[i]));
	err = hf_pwrite(b->f, raw, n * 4, v->bmap_off + p * PAGE * 4);
	free(raw);
	return err;
}

uint32_t vdi_blocks_in_file(const struct vdi *v)
{
	return (uint32_t)((v->b.end - v->data_off) >> v->b.bits);
}

/* The count first: a table entry past it would be refused elsewhere. */
static int vdi_begin_store(struct bat *b)
{
	struct vdi *v = b->priv;
	uint32_t n = vdi_blocks_in_file(v);
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

int vdi_place(struct bat *b, uint64_t block, uint64_t *host)
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

bool vdi_read_header(struct vdi *v, struct err *e)
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
	v->b.end = MIN(v->b.end, vdi_block_end(v, MAX_BLOCKS));
	return true;
}

static bool vdi_open(struct image *im, struct err *e)
{
	struct vdi *v = hv_zalloc(sizeof(*v));

	v->b = (struct bat){ .im = im, .f = &im->file, .ops = &vdi_ops, .priv = v, .page_n = PAGE,
			     .can_zero = true };
	im->priv = v;
	if (vdi_read_header(v, e) &&
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

const struct block_format vdi_format = {
	.name = "vdi",
	.probe = vdi_probe,
	.open = vdi_open,
	.io = vdi_io,
	.place = vdi_place_at,
	.close = vdi_close,
	.tool = &vdi_tool,
};
