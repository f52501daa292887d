/* SPDX-License-Identifier: MIT */
/*
 * Reading, flushing, and the dispatch of requests.
 */
#include "qcow2_int.h"

#include <errno.h>
#include <stdlib.h>

#define RUN 64		/* L2 entries looked at in one go */
#define IOVS 64

static int bad_entry(struct qcow2 *q, uint64_t entry)
{
	log_limited(LOG_ERROR, "%s: damaged: an L2 entry is invalid (%#llx)", q->im->path,
		    (unsigned long long)entry);
	return EIO;
}

static int read_backing(struct qcow2 *q, uint64_t off, uint64_t len, const struct iovec *iov,
			unsigned niov, uint64_t iov_off)
{
	struct image *b = q->im->backing;
	uint64_t have = !b || off >= b->size ? 0 : MIN(len, b->size - off), pos = 0;
	int err = 0;

	iov_zero(iov, niov, iov_off + have, len - have);
	while (pos < have && !err) {
		struct iovec v[IOVS];
		uint64_t n;
		unsigned k = iov_slice(iov, niov, iov_off + pos, have - pos, v, IOVS, &n);

		err = image_io(b, BLOCK_READ, off + pos, n, v, k);
		pos += n;
	}
	return err;
}

static int read_data(struct qcow2 *q, uint64_t host, uint64_t len, const struct iovec *iov,
		     unsigned niov, uint64_t iov_off)
{
	uint64_t pos = 0;
	int err = 0;

	while (pos < len && !err) {
		struct iovec v[IOVS];
		uint64_t n;
		unsigned k = iov_slice(iov, niov, iov_off + pos, len - pos, v, IOVS, &n);

		if (!n)
			return EINVAL;
		err = hf_preadv(q->f, v, k, host + pos);
		pos += n;
	}
	return err;
}

/* How many entries from the first continue it: same kind, adjacent data. */
static unsigned same_run(const struct qcow2 *q, const struct qc_ent *entries, unsigned n,
			 struct qc_map *first)
{
	unsigned i;

	*first = qcow2_classify(q, entries[0]);
	if (first->type == QC_COMPRESSED || first->type == QC_MIXED || first->type == QC_BAD)
		return 1;
	for (i = 1; i < n; i++) {
		struct qc_map m = qcow2_classify(q, entries[i]);

		if (m.type != first->type)
			break;
		if (m.type == QC_DATA && m.host != first->host + (uint64_t)i * q->cs)
			break;
	}
	return i;
}

/* [in, in + len) of a cluster whose subclusters differ; @off: of the first byte in the disk. */
static int read_mixed(struct qcow2 *q, const struct qc_map *m, uint64_t off, uint64_t len,
		      const struct iovec *iov, unsigned niov, uint64_t iov_off)
{
	uint64_t in = off & (q->cs - 1), sub = 1ull << q->sub_bits;
	int err = 0;

	while (len && !err) {
		enum qc_type t = qcow2_sub_type(q, m, in);
		uint64_t n = sub - (in & (sub - 1));

		while (n < len && qcow2_sub_type(q, m, in + n) == t)
			n += sub;
		n = MIN(n, len);
		if (t == QC_ZEROS)
			iov_zero(iov, niov, iov_off, n);
		else
			err = t == QC_DATA ? read_data(q, m->host + in, n, iov, niov, iov_off) :
				read_backing(q, off, n, iov, niov, iov_off);
		in += n;
		off += n;
		iov_off += n;
		len -= n;
	}
	return err;
}

/* One run of at most RUN clusters from @off; *done = bytes read. */
static int read_run(struct qcow2 *q, uint64_t off, uint64_t len, const struct iovec *iov,
		    unsigned niov, uint64_t iov_off, bool exclusive, uint64_t *done)
{
	struct qc_ent entries[RUN];
	uint64_t in = off & (q->cs - 1), n;
	unsigned want = (unsigned)MIN(qc_clusters(q, in + len), (uint64_t)RUN), got;
	struct qc_map m;
	int err = qcow2_get_entries(q, off, entries, want, &got, exclusive);

	if (err)
		return err;
	n = ((uint64_t)same_run(q, entries, got, &m) << q->cluster_bits) - in;
	*done = n = MIN(n, len);
	switch (m.type) {
	case QC_UNALLOCATED:
		return read_backing(q, off, n, iov, niov, iov_off);
	case QC_ZEROS:
		iov_zero(iov, niov, iov_off, n);
		return 0;
	case QC_DATA:
		return read_data(q, m.host + in, n, iov, niov, iov_off);
	case QC_COMPRESSED:
		return qcow2_read_compressed(q, m.entry, (uint32_t)in, (uint32_t)n, iov, niov,
					     iov_off);
	case QC_MIXED:
		return read_mixed(q, &m, off, n, iov, niov, iov_off);
	case QC_BAD:
		break;
	}
	return bad_entry(q, m.entry);
}

int qcow2_read(struct qcow2 *q, uint64_t off, uint64_t len, const struct iovec *iov,
	       unsigned niov, uint64_t iov_off, bool exclusive)
{
	int err = 0;

	while (len && !err) {
		uint64_t n = 0;

		err = read_run(q, off, len, iov, niov, iov_off, exclusive, &n);
		off += n;
		iov_off += n;
		len -= n;
	}
	return err;
}

static int qcow2_flush(struct qcow2 *q)
{
	bool synced;
	int err;

	if (q->readonly)
		return 0;
	pthread_rwlock_wrlock(&q->lock);
	synced = q->npending != 0;
	err = qcow2_flush_meta(q, false);
	pthread_rwlock_unlock(&q->lock);
	/* With references to drop it has synced last of all; else sync without the lock. */
	return err || synced ? err : hf_sync(q->f);
}

int qcow2_io(struct image *im, enum block_op op, uint64_t off, uint64_t len,
	     const struct iovec *iov, unsigned niov)
{
	struct qcow2 *q = im->priv;
	int err;

	switch (op) {
	case BLOCK_READ:
		pthread_rwlock_rdlock(&q->lock);
		err = qcow2_read(q, off, len, iov, niov, 0, false);
		pthread_rwlock_unlock(&q->lock);
		return err;
	case BLOCK_FLUSH:
		return qcow2_flush(q);
	case BLOCK_WRITE:
	case BLOCK_WRITE_ZEROES:
	case BLOCK_DISCARD:
		break;
	}
	if (q->readonly)
		return EROFS;
	if (atomic_load(&q->corrupt))
		return EIO;
	return op == BLOCK_WRITE ? qcow2_write(q, off, len, iov, niov) :
		op == BLOCK_WRITE_ZEROES ? qcow2_write_zeroes(q, off, len) :
		qcow2_discard(q, off, len);
}
