/* SPDX-License-Identifier: MIT */
/*
 * Compressed clusters, written: packed one behind the other, several to a
 * host cluster, each counting as one reference to every cluster it touches.
 *
 * Raw deflate with a window of 4 KiB (readers rely on that) or one zstd frame.
 */
#include "qcow2_int.h"

#include <errno.h>
#include <stdlib.h>
#include <zlib.h>
#include <zstd.h>

#define WINDOW_BITS (-12)
#define DEFLATE_LEVEL 4		/* three fifths of the time of 6, a few per cent more space */
#define DEFLATE_MEM 8		/* with 9 the tables outgrow the first cache: slower */
#define ZSTD_LEVEL 3

static int pack_deflate(const uint8_t *in, uint32_t n, uint8_t *out, uint32_t *len)
{
	z_stream z = { .next_in = (uint8_t *)in, .avail_in = n, .next_out = out,
		       .avail_out = n - 1 };
	int r;

	if (deflateInit2(&z, DEFLATE_LEVEL, Z_DEFLATED, WINDOW_BITS, DEFLATE_MEM,
			 Z_DEFAULT_STRATEGY) != Z_OK)
		return ENOMEM;
	r = deflate(&z, Z_FINISH);
	*len = r == Z_STREAM_END ? n - 1 - z.avail_out : 0;
	deflateEnd(&z);
	return 0;
}

static int pack_zstd(const uint8_t *in, uint32_t n, uint8_t *out, uint32_t *len)
{
	size_t r = ZSTD_compress(out, n - 1, in, n, ZSTD_LEVEL);

	*len = ZSTD_isError(r) ? 0 : (uint32_t)r;
	return 0;
}

int qcow2_pack(struct image *im, const uint8_t *in, uint8_t *out, uint32_t *len)
{
	const struct qcow2 *q = im->priv;

	return q->compression == QC_ZSTD ? pack_zstd(in, q->cs, out, len) :
		pack_deflate(in, q->cs, out, len);
}

/* One more reference to the cluster that is being filled, if its count allows. */
static bool share(struct qcow2 *q, uint64_t off)
{
	uint64_t v;

	return !qcow2_refcount_get(q, off >> q->cluster_bits, &v) && v < qcow2_refcount_max(q) &&
		v && !qcow2_refcount_set(q, off >> q->cluster_bits, v + 1);
}

/* Room for @len bytes, references counted. */
static int place(struct qcow2 *q, uint32_t len, uint64_t *at)
{
	uint64_t host, got, left = q->pack_end - q->pack_at;
	bool fresh, shared = left && share(q, q->pack_at);
	int err;

	if (shared && left >= len) {
		*at = q->pack_at;
		q->pack_at += len;
		return 0;
	}
	err = qcow2_alloc(q, 1, &host, &got, &fresh);
	if (shared && (err || host != q->pack_end))
		qcow2_refcount_drop(q, q->pack_at >> q->cluster_bits);
	if (err) {
		q->pack_at = q->pack_end = 0;
		return err;
	}
	if (!shared || host != q->pack_end)
		q->pack_at = host;
	*at = q->pack_at;
	q->pack_at += len;
	q->pack_end = host + q->cs;
	return 0;
}

static struct qc_ent packed_entry(const struct qcow2 *q, uint64_t at, uint32_t len)
{
	uint64_t more = ((at + len - 1) >> 9) - (at >> 9);

	return (struct qc_ent){ at | L2_COMPRESSED | more << (62 - (q->cluster_bits - 8)), 0 };
}

/* Exclusive. */
static int store(struct qcow2 *q, uint64_t off, const uint8_t *packed, uint32_t len)
{
	int err = qcow2_throttle(q);
	struct qc_entry *e;
	struct qc_ent old;
	unsigned got;
	uint64_t at;

	if (!err)
		err = qcow2_writable_l2(q, off, &e);
	if (!err)
		err = qcow2_get_entries(q, off, &old, 1, &got, true);
	if (!err)
		err = place(q, len, &at);
	if (!err && (at + len) >> (62 - (q->cluster_bits - 8)))
		err = EFBIG;
	if (!err)
		err = hf_pwrite(q->f, packed, len, at);
	if (!err)
		err = qcow2_writable_l2(q, off, &e);
	if (err)
		return err;
	qcow2_put_entry(q, e, off, packed_entry(q, at, len));
	q->need_barrier = true;
	qcow2_release_entry(q, old.v);
	return 0;
}

int qcow2_write_packed(struct image *im, uint64_t off, const uint8_t *packed, uint32_t len)
{
	struct qcow2 *q = im->priv;
	int err;

	if (q->readonly || atomic_load(&q->corrupt))
		return q->readonly ? EROFS : EIO;
	if ((off & (q->cs - 1)) || off >= im->size || !len || len >= q->cs)
		return EINVAL;
	qcow2_lock(q);
	err = store(q, off, packed, len);
	pthread_rwlock_unlock(&q->lock);
	return err;
}
