/* SPDX-License-Identifier: MIT */
/*
 * Raw images and block devices: byte n of the disk is byte n of the file.
 *
 * A file whose size is no multiple of the sector reads as zeros up to the
 * next one.  Discards and zero writes become holes where the host can.
 */
#include "formats.h"
#include "../src/imgtool.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

static int raw_probe(const uint8_t *head, size_t n, uint64_t file_size)
{
	return 1;
}

static bool raw_open(struct image *im, struct err *e)
{
	uint64_t size;
	int err = hf_size(&im->file, &size);

	if (err)
		return err_errno(e, HV_EXIT_IMAGE, err, "%s: cannot find its size", im->path);
	if (size > IMAGE_MAX_SIZE)	/* before rounding up */
		size = IMAGE_MAX_SIZE + 1;
	im->size = (size + BLOCK_SECTOR - 1) / BLOCK_SECTOR * BLOCK_SECTOR;
	return true;
}

static int raw_io(struct image *im, enum block_op op, uint64_t off, uint64_t len,
		  const struct iovec *iov, unsigned niov)
{
	switch (op) {
	case BLOCK_READ:
		return hf_preadv(&im->file, iov, niov, off);
	case BLOCK_WRITE:
		return hf_pwritev(&im->file, iov, niov, off);
	case BLOCK_FLUSH:
		return im->flags & BLOCK_RDONLY ? 0 : hf_sync(&im->file);
	case BLOCK_DISCARD:
		return hf_punch(&im->file, off, len);
	case BLOCK_WRITE_ZEROES:
		return hf_zero(&im->file, off, len, im->flags & BLOCK_DISCARD_ON);
	}
	return ENOTSUP;
}

static void raw_close(struct image *im)
{
	if (!(im->flags & BLOCK_RDONLY))
		hf_sync(&im->file);
}

/* ---- hvrun img -------------------------------------------------------------- */

static const struct image_opt_help raw_options[] = {
	{ "preallocation", "off|falloc|full", "reserve space now, off" },
	{ NULL, NULL, NULL },
};

static int fill_zeros(int fd, const struct image_create *c)
{
	static const uint8_t zeros[1 << 20];
	uint64_t size = c->size;
	struct hostfile f;
	int err = 0;

	hf_init(&f, fd, false);
	for (uint64_t at = 0; at < size && !err; at += sizeof(zeros)) {
		err = hf_pwrite(&f, zeros, MIN(sizeof(zeros), size - at), at);
		if (!err)
			err = image_create_step(c, MIN(at + sizeof(zeros), size), size);
	}
	return err;
}

static bool raw_create(struct image_create *c, struct err *e)
{
	const char *pre = image_opt(c, "preallocation");
	int fd, err;

	if (pre && strcmp(pre, "off") && strcmp(pre, "falloc") && strcmp(pre, "full"))
		return err_set(e, HV_EXIT_USAGE, "preallocation=%.32s: use off, falloc or full",
			       pre);
	fd = image_create_file(c, c->path, e);
	if (fd < 0)
		return false;
	err = ftruncate(fd, (off_t)c->size) ? errno : 0;
	if (!err && pre && !strcmp(pre, "falloc"))
		err = fallocate(fd, 0, 0, (off_t)c->size) ? errno : 0;
	if (!err && pre && !strcmp(pre, "full"))
		err = fill_zeros(fd, c);
	close(fd);
	return !err || err_errno(e, HV_EXIT_HOST, err, "%s: cannot reserve the space", c->path);
}

static int raw_map(struct image *im, uint64_t off, uint64_t len, uint64_t *n,
		   enum image_kind *k)
{
	off_t data = lseek(im->file.fd, (off_t)off, SEEK_DATA), hole;

	*n = len;
	*k = IMAGE_DATA;
	if (data < 0) {
		if (errno == ENXIO)	/* no data up to the end */
			*k = IMAGE_ZERO;
		return 0;
	}
	if ((uint64_t)data > off) {
		*k = IMAGE_ZERO;
		*n = MIN(len, (uint64_t)data - off);
		return 0;
	}
	hole = lseek(im->file.fd, (off_t)off, SEEK_HOLE);
	if (hole > 0 && (uint64_t)hole > off)
		*n = MIN(len, ((uint64_t)hole - off + BLOCK_SECTOR - 1) & ~(BLOCK_SECTOR - 1ull));
	return 0;
}

static bool raw_resize(struct image *im, uint64_t size, struct err *e)
{
	int err = im->file.blockdev ? ENOTSUP : hf_truncate(&im->file, size);

	if (!err)
		im->size = (size + BLOCK_SECTOR - 1) / BLOCK_SECTOR * BLOCK_SECTOR;
	return !err || err_errno(e, HV_EXIT_HOST, err, "%s: cannot change the size", im->path);
}

/* A CD image is raw content; info says so. */
static void raw_info(struct image *im, struct image_info *i)
{
	uint8_t d[73] = { 0 };

	if (hf_pread(&im->file, d, 72, 0x8000) || memcmp(d + 1, "CD001", 5))
		return;
	for (unsigned k = 40; k < 72; k++)
		d[k] = d[k] < ' ' || d[k] > '~' ? ' ' : d[k];
	image_field(i, "content", "ISO 9660 (CD/DVD)");
	image_field(i, "volume", "%.*s", (int)strcspn((char *)d + 40, " "), d + 40);
}

static const struct image_tool raw_tool = {
	.options = raw_options,
	.create = raw_create,
	.map = raw_map,
	.resize = raw_resize,
	.info = raw_info,
	.thin = true,
};

const struct block_format raw_format = {
	.name = "raw",
	.probe = raw_probe,
	.open = raw_open,
	.io = raw_io,
	.close = raw_close,
	.plain = true,
	.tool = &raw_tool,
};
