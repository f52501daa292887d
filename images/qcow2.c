/* SPDX-License-Identifier: MIT */
/*
 * The qcow2 format descriptor: open, close.
 *
 * Left out, and refused by name where an image needs it: encryption and
 * external data files.  Persistent bitmaps become inconsistent, as their
 * specification provides for writers that do not know them.
 */
#include "formats.h"
#include "qcow2_int.h"

#include <errno.h>
#include <stdlib.h>

#define L2_CACHE_BYTES (16u << 20)
#define RB_CACHE_BYTES (4u << 20)

static int qcow2_probe(const uint8_t *head, size_t n, uint64_t file_size)
{
	return n >= 8 && ld_be32(head) == QCOW2_MAGIC && ld_be32(head + 4) >= 2 ? 100 : 0;
}

static void qcow2_free(struct qcow2 *q)
{
	qc_cache_free(&q->l2c);
	qc_cache_free(&q->rbc);
	qc_meta_free(&q->meta);
	pthread_rwlock_destroy(&q->lock);
	pthread_mutex_destroy(&q->cache_lock);
	pthread_mutex_destroy(&q->comp_lock);
	pthread_mutex_destroy(&q->place_lock);
	pthread_cond_destroy(&q->place_none);
	free(q->l1);
	free(q->l1_dirty);
	free(q->rt);
	for (uint32_t i = 0; q->snap && i < q->nsnapshots; i++)
		free(q->snap[i].raw);
	free(q->snap);
	free(q->kept_ext);
	free(q->pending);
	free(q->comp_in);
	free(q->comp_out);
	free(q);
}

static struct qcow2 *qcow2_new(struct image *im)
{
	struct qcow2 *q = hv_zalloc(sizeof(*q));
	pthread_rwlockattr_t a;

	q->im = im;
	q->f = &im->file;
	q->readonly = im->flags & BLOCK_RDONLY;
	q->lenient = im->flags & IMAGE_LENIENT;
	pthread_rwlockattr_init(&a);
	/* Readers never nest; a stream of reads must not starve allocation. */
	pthread_rwlockattr_setkind_np(&a, PTHREAD_RWLOCK_PREFER_WRITER_NONRECURSIVE_NP);
	pthread_rwlock_init(&q->lock, &a);
	pthread_rwlockattr_destroy(&a);
	pthread_mutex_init(&q->cache_lock, NULL);
	pthread_mutex_init(&q->comp_lock, NULL);
	pthread_mutex_init(&q->place_lock, NULL);
	pthread_cond_init(&q->place_none, NULL);
	return q;
}

static bool init_caches(struct qcow2 *q, struct err *e)
{
	uint32_t l2 = MIN(L2_CACHE_BYTES / q->cs, 4096u), rb = MIN(RB_CACHE_BYTES / q->cs, 1024u);

	l2 = MAX(MIN(l2, q->l1_n), 8u);
	rb = MAX(rb, 8u);
	if (!qc_cache_init(&q->l2c, l2, q->cs) ||
	    ((!q->readonly || q->lenient) && !qc_cache_init(&q->rbc, rb, q->cs)))
		return err_set(e, HV_EXIT_HOST, "%s: out of memory", q->im->path);
	return true;
}

static bool open_backing(struct qcow2 *q, struct err *e)
{
	struct image *im = q->im;
	const char *fmt = q->backing_fmt[0] ? q->backing_fmt : NULL;

	if (!q->backing_name[0])
		return true;
	if (!image_open_backing(im, q->backing_name, fmt, e))
		return false;
	/* A raw disk's guest could have written a header that names other files. */
	if (!fmt && im->backing && im->backing->backing)
		return err_set(
			e, HV_EXIT_IMAGE,
			"%s: does not record the format of its backing "
			"file, and that one names a further file; record it: qemu-img rebase "
			"-u -b '%s' -F qcow2 '%s'",
			im->path, q->backing_name, im->path);
	return true;
}

/* The first changes to the file, once nothing can refuse it any more. */
static bool begin_writing(struct qcow2 *q, struct err *e)
{
	uint8_t zero[8] = { 0 };
	int err = 0;

	if (q->readonly || q->lenient)
		return true;
	if (q->file_end > QC_MAX_HOST || q->f->blockdev)
		return err_set(e, HV_EXIT_IMAGE, "%s: a qcow2 image on a block device can only be "
			       "attached read-only", q->im->path);
	if (!qcow2_check(q, e))
		return false;
	if (q->autoclear)
		err = hf_pwrite(q->f, zero, sizeof(zero), HDR_AUTOCLEAR);
	if (!err && (q->incompat & INCOMPAT_DIRTY)) {
		err = qcow2_flush_meta(q, true);
		if (!err)
			err = qcow2_set_feature(q, 0, INCOMPAT_DIRTY);
	}
	if (err)
		return err_errno(e, HV_EXIT_IMAGE, err, "%s: cannot write to the image",
				 q->im->path);
	return true;
}

bool qcow2_open(struct image *im, struct err *e)
{
	struct qcow2 *q = qcow2_new(im);

	im->priv = q;
	if (qcow2_read_header(q, e) && qcow2_load_tables(q, e) && init_caches(q, e) &&
	    open_backing(q, e) && begin_writing(q, e))
		return true;
	qcow2_free(q);
	im->priv = NULL;
	return false;
}

void qcow2_close(struct image *im)
{
	struct qcow2 *q = im->priv;
	int err = 0;

	/* Twice: the first flush makes the references to drop, the second writes them. */
	for (int i = 0; i < 2 && !q->readonly && !q->lenient && !err && !atomic_load(&q->corrupt);
	     i++)
		err = qcow2_flush_meta(q, true);
	if (err)
		log_error("%s: the last changes could not be written: %s", im->path,
			  strerror(err));
	qcow2_free(q);
}

const struct block_format qcow2_format = {
	.name = "qcow2",
	.probe = qcow2_probe,
	.open = qcow2_open,
	.io = qcow2_io,
	.close = qcow2_close,
	.place = qcow2_place,
	.unplace = qcow2_unplace,
	.tool = &qcow2_tool,
};
