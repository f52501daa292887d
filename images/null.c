/* SPDX-License-Identifier: MIT */
/*
 * A disk that is not there (null:SIZE): for measuring everything but the
 * image.  Writes vanish; a read leaves the memory as it was, which is the
 * guest's own.
 */
#include "../src/imgtool.h"

#include <errno.h>
#include <stdlib.h>

static int null_io(struct image *im, enum block_op op, uint64_t off, uint64_t len,
		   const struct iovec *iov, unsigned niov)
{
	return 0;
}

static void null_close(struct image *im)
{
}

/* Chosen by name only: not among block_formats[]. */
static const struct block_format null_format = {
	.name = "null",
	.io = null_io,
	.close = null_close,
	.instant = true,
};

struct image *image_null(const char *size, unsigned flags, struct err *e)
{
	struct image *im;
	uint64_t n;

	if (!image_size(size, &n) || !n || n % BLOCK_SECTOR) {
		err_set(e, HV_EXIT_USAGE, "null:%.64s: give a size in whole sectors, for example "
			"null:1G (a file of that name: ./null:...)", size);
		return NULL;
	}
	im = hv_zalloc(sizeof(*im));
	hf_init(&im->file, -1, false);
	im->fmt = &null_format;
	im->path = hv_strdup("null:");
	im->flags = flags;
	im->size = n;
	return im;
}
