/* SPDX-License-Identifier: MIT */
/*
 * The layer of a run whose changes are thrown away: an unlinked temporary
 * file (in $TMPDIR, /var/tmp or, failing both, memory) over a read-only
 * image, with one "written" bit per 4 KiB.
 *
 * Flush has nothing to keep, so it costs nothing.
 */
#include "../src/image.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#define GRAIN 4096u
#define PAGE_GRAINS 32768u		/* bits of one bitmap page: 128 MiB of disk */

struct overlay {
	pthread_rwlock_t lock;		/* write: bits change */
	uint64_t **pages;		/* allocated when first written */
	uint64_t npages;
};

static bool grain_written(const struct overlay *o, uint64_t g)
{
	const uint64_t *page = o->pages[g / PAGE_GRAINS];

	return page && (page[g % PAGE_GRAINS / 64] >> (g % 64) & 1);
}

static int mark_written(struct overlay *o, uint64_t g)
{
	uint64_t **page = &o->pages[g / PAGE_GRAINS];

	if (!*page)
		*page = calloc(PAGE_GRAINS / 64, sizeof(uint64_t));
	if (!*page)
		return ENOMEM;
	(*page)[g % PAGE_GRAINS / 64] |= 1ull << (g % 64);
	return 0;
}

/* Length of the run from @off that is all written or all not. */
static uint64_t run_length(const struct overlay *o, uint64_t off, uint64_t len, bool *written)
{
	uint64_t g = off / GRAIN, last = (off + len - 1) / GRAIN;

	*written = grain_written(o, g);
	while (g <= last && grain_written(o, g) == *written)
		g++;
	return MIN(g * GRAIN - off, len);
}

static int overlay_read(struct image *im, uint64_t off, uint64_t len, const struct iovec *iov,
			unsigned niov)
{
	struct overlay *o = im->priv;
	uint64_t pos = 0;
	int err = 0;

	pthread_rwlock_rdlock(&o->lock);
	while (pos < len && !err) {
		struct iovec v[64];
		bool written;
		uint64_t n = run_length(o, off + pos, len - pos, &written);
		unsigned k = iov_slice(iov, niov, pos, n, v, ARRAY_SIZE(v), &n);

		err = written ? hf_preadv(&im->file, v, k, off + pos) :
			image_io(im->backing, BLOCK_READ, off + pos, n, v, k);
		pos += n;
	}
	pthread_rwlock_unlock(&o->lock);
	return err;
}

/* Bits only ever come on, so a place once found stays good. */
static int overlay_place(struct image *im, bool write, uint64_t off, struct image_place *p)
{
	struct overlay *o = im->priv;
	bool written;
	int err = 0;

	if (pthread_rwlock_tryrdlock(&o->lock))
		return EAGAIN;
	p->len = run_length(o, off, p->len, &written);
	pthread_rwlock_unlock(&o->lock);
	if (written) {
		p->file = &im->file;
		p->off = off;
	} else {
		err = write ? EAGAIN : image_place(im->backing, false, off, p->len, p);
	}
	return err;
}

/* A grain about to be written in part gets the rest from below. */
static int fill_grain(struct image *im, uint64_t g)
{
	uint8_t buf[GRAIN];
	int err;

	if (grain_written(im->priv, g))
		return 0;
	err = image_read(im->backing, g * GRAIN, buf, sizeof(buf));
	return err ? err : hf_pwrite(&im->file, buf, sizeof(buf), g * GRAIN);
}

static int overlay_change(struct image *im, uint64_t off, uint64_t len, const struct iovec *iov,
			  unsigned niov)
{
	struct overlay *o = im->priv;
	uint64_t end = off + len;
	int err = 0;

	if (!len)
		return 0;
	pthread_rwlock_wrlock(&o->lock);
	if (off % GRAIN)
		err = fill_grain(im, off / GRAIN);
	if (!err && end % GRAIN)
		err = fill_grain(im, end / GRAIN);
	if (!err)
		err = iov ? hf_pwritev(&im->file, iov, niov, off) :
			hf_zero(&im->file, off, len, true);
	for (uint64_t g = off / GRAIN; !err && g <= (end - 1) / GRAIN; g++)
		err = mark_written(o, g);
	pthread_rwlock_unlock(&o->lock);
	return err;
}

static int overlay_io(struct image *im, enum block_op op, uint64_t off, uint64_t len,
		      const struct iovec *iov, unsigned niov)
{
	switch (op) {
	case BLOCK_READ:
		return overlay_read(im, off, len, iov, niov);
	case BLOCK_WRITE:
		return overlay_change(im, off, len, iov, niov);
	case BLOCK_WRITE_ZEROES:
	case BLOCK_DISCARD:
		return overlay_change(im, off, len, NULL, 0);
	case BLOCK_FLUSH:
		return 0;
	}
	return ENOTSUP;
}

static void overlay_close(struct image *im)
{
	struct overlay *o = im->priv;

	for (uint64_t i = 0; i < o->npages; i++)
		free(o->pages[i]);
	free(o->pages);
	pthread_rwlock_destroy(&o->lock);
	free(o);
}

static const struct block_format overlay_format = {
	.name = "throwaway",
	.io = overlay_io,
	.close = overlay_close,
	.place = overlay_place,
};

static int temporary_file(void)
{
	const char *dir = getenv("TMPDIR");
	int fd = -1;

	if (dir && *dir)
		fd = open(dir, O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
	if (fd < 0)
		fd = open("/var/tmp", O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
	return fd >= 0 ? fd : memfd_create("hvrun-throwaway", MFD_CLOEXEC);
}

struct image *image_throwaway(struct image *base, struct err *e)
{
	uint64_t span = (uint64_t)PAGE_GRAINS * GRAIN;
	struct overlay *o = calloc(1, sizeof(*o));
	struct image *im = calloc(1, sizeof(*im));
	int fd = temporary_file();

	if (o)
		o->npages = (base->size + span - 1) / span;
	if (o)
		o->pages = calloc(o->npages, sizeof(*o->pages));
	if (!o || !o->pages || !im || fd < 0 || ftruncate(fd, (off_t)base->size)) {
		err_set(e, HV_EXIT_HOST, "%s: cannot make a temporary file for the changes to be "
			"discarded; set TMPDIR to a directory with space", base->path);
		if (fd >= 0)
			close(fd);
		if (o)
			free(o->pages);
		free(o);
		free(im);
		image_close(base);
		return NULL;
	}
	pthread_rwlock_init(&o->lock, NULL);
	hf_init(&im->file, fd, false);
	im->fmt = &overlay_format;
	im->path = hv_strdup(base->path);
	im->flags = (base->flags & ~BLOCK_RDONLY) | BLOCK_THROWAWAY;
	im->size = base->size;
	im->priv = o;
	im->backing = base;
	return im;
}
