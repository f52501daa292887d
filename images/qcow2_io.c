/* SPDX-License-Identifier: MIT */
/*
 * Reading, flushing, and the dispatch of requests.
 */
#include "qcow2_int.h"

#include <errno.h>
#include <stdlib.h>

#define RUN 64		/* L2 entries looked at in one go */

static int bad_entry(struct qcow2 *q, uint64_t entry)
{
	log_limited(LOG_ERROR, "%s: damaged: an L2 entry is invalid (%#llx)", q->im->path,
		    (unsigned long long)entry);
	return EIO;
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
		else if (t == QC_DATA)
			err = hf_move(q->f, false, m->host + in, n, iov, niov, iov_off);
		else
			err = image_read_backing(q->im, off, n, iov, niov, iov_off);
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
		return image_read_backing(q->im, off, n, iov, niov, iov_off);
	case QC_ZEROS:
		iov_zero(iov, niov, iov_off, n);
		return 0;
	case QC_DATA:
		return hf_move(q->f, false, m.host + in, n, iov, niov, iov_off);
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

/* ---- Transfers past the lock ---- */

void qcow2_lock(struct qcow2 *q)
{
	pthread_rwlock_wrlock(&q->lock);
	if (!atomic_load(&q->placed))
		return;
	/* New ones cannot begin; those under way end without this lock. */
	pthread_mutex_lock(&q->place_lock);
	atomic_store(&q->place_waited, true);
	while (atomic_load(&q->placed))
		pthread_cond_wait(&q->place_none, &q->place_lock);
	atomic_store(&q->place_waited, false);
	pthread_mutex_unlock(&q->place_lock);
}

void qcow2_unplace(struct image *im)
{
	struct qcow2 *q = im->priv;

	if (atomic_fetch_sub(&q->placed, 1) != 1 || !atomic_load(&q->place_waited))
		return;
	pthread_mutex_lock(&q->place_lock);
	pthread_cond_broadcast(&q->place_none);
	pthread_mutex_unlock(&q->place_lock);
}

/* What is not in this image: the one below, or zeros. */
static int place_below(struct qcow2 *q, uint64_t off, struct image_place *p)
{
	struct image *b = q->im->backing;

	if (!b || off >= b->size) {
		p->file = NULL;
		return 0;
	}
	return image_place(b, false, off, MIN(p->len, b->size - off), p);
}

/* Data clusters that a write may go to where they are. */
static int place_write(struct qcow2 *q, uint64_t off, const struct qc_map *m)
{
	if (!m->copied || !(q->l1[off >> (q->cluster_bits + q->l2_bits)] & ENTRY_COPIED))
		return EAGAIN;
	return 0;
}

static int place_shared(struct qcow2 *q, bool write, uint64_t off, struct image_place *p)
{
	struct qc_ent entries[RUN];
	uint64_t in = off & (q->cs - 1);
	unsigned want = (unsigned)MIN(qc_clusters(q, in + p->len), (uint64_t)RUN), got, n, i;
	struct qc_map m;
	int err = qcow2_peek_entries(q, off, entries, want, &got);

	if (err)
		return err;
	n = same_run(q, entries, got, &m);
	if (write) {
		for (i = 0; i < n && !err; i++) {
			struct qc_map k = qcow2_classify(q, entries[i]);

			err = place_write(q, off, &k);
		}
		if (err || m.type != QC_DATA)
			return EAGAIN;
	}
	p->len = MIN(p->len, ((uint64_t)n << q->cluster_bits) - in);
	if (m.type == QC_UNALLOCATED)
		return place_below(q, off, p);
	if (m.type != QC_DATA && m.type != QC_ZEROS)
		return EAGAIN;
	p->file = m.type == QC_DATA ? q->f : NULL;
	p->off = m.host + in;
	if (m.type != QC_DATA || q->readonly)
		return 0;
	if (write && qc_meta_hit(q, p->off, p->len))
		return EAGAIN;		/* qcow2_write() says what it thinks of that */
	atomic_fetch_add(&q->placed, 1);
	p->held = q->im;
	return 0;
}

int qcow2_place(struct image *im, bool write, uint64_t off, struct image_place *p)
{
	struct qcow2 *q = im->priv;
	int err;

	if ((write && (q->readonly || atomic_load(&q->corrupt))) ||
	    pthread_rwlock_tryrdlock(&q->lock))
		return EAGAIN;
	err = place_shared(q, write, off, p);
	pthread_rwlock_unlock(&q->lock);
	return err;
}

static int qcow2_flush(struct qcow2 *q)
{
	bool synced;
	int err;

	if (q->readonly)
		return 0;
	qcow2_lock(q);
	synced = q->npending != 0;
	err = qcow2_cut_file(q);
	if (!err)
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
