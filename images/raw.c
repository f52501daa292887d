/* SPDX-License-Identifier: MIT */
/*
 * Raw images and block devices: byte n of the disk is byte n of the file.
 *
 * A file whose size is no multiple of the sector reads as zeros up to the
 * next one.  Discards and zero writes become holes where the host can.
 */
#include "formats.h"

#include <errno.h>

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

const struct block_format raw_format = {
	.name = "raw",
	.probe = raw_probe,
	.open = raw_open,
	.io = raw_io,
	.close = raw_close,
};
