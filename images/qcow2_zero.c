/* SPDX-License-Identifier: MIT */
/*
 * Zero writes and discards: whole clusters by their L2 entries, the ragged
 * ends of a zero write as data; a discard leaves ragged ends alone.
 *
 * Version 2 has no zero clusters: there an entry can only be cleared, which
 * means zeros when no backing file shines through.
 */
#include "qcow2_int.h"

#include <errno.h>

#define ZEROS (64u * 1024)
#define MAX_PIECES 32u		/* 2 MiB: the largest cluster */

static struct qc_ent zero_entry(const struct qcow2 *q, uint64_t host, bool zero)
{
	if (q->ext_l2)
		return (struct qc_ent){ host, zero ? SUB_ALL << 32 : 0 };
	return (struct qc_ent){ host | (zero ? L2_ZERO : 0), 0 };
}

/* What becomes of one entry; false: it may stay. */
static bool replacement(const struct qcow2 *q, const struct qc_map *m, bool discard,
			struct qc_ent *v)
{
	bool backed = q->im->backing != NULL;
	bool keep = !discard && !(q->im->flags & BLOCK_DISCARD_ON);

	*v = zero_entry(q, 0, backed);
	switch (m->type) {
	case QC_UNALLOCATED:
		return backed || m->host; /* a discarded cluster must not show the backing file */
	case QC_ZEROS:
		return discard && m->host;
	case QC_MIXED:
	case QC_DATA:
		if (keep && m->copied && m->host && q->version >= 3)
			*v = zero_entry(q, m->host | ENTRY_COPIED, true);
		return true;
	case QC_COMPRESSED:
		return true;
	case QC_BAD:
		break;
	}
	return false;
}

/* Entries of one step that change; a bad one ends it. */
static int count_changes(struct qcow2 *q, const struct qc_ent *entries, unsigned n,
			 bool discard, unsigned *changes)
{
	struct qc_ent v;

	*changes = 0;
	for (unsigned i = 0; i < n; i++) {
		struct qc_map m = qcow2_classify(q, entries[i]);

		if (m.type == QC_BAD)
			return qcow2_mark_corrupt(q, "an L2 entry is invalid", entries[i].v);
		*changes += replacement(q, &m, discard, &v);
	}
	return 0;
}

static int change_entries(struct qcow2 *q, uint64_t off, unsigned n, bool discard)
{
	struct qc_ent entries[QC_STEP], v;
	struct qc_entry *e;
	unsigned got;
	int err = qcow2_writable_l2(q, off, &e);

	if (!err)	/* once more: a table that was shared has lost its flags */
		err = qcow2_get_entries(q, off, entries, n, &got, true);
	if (!err)
		err = qcow2_writable_l2(q, off, &e);
	for (unsigned i = 0; !err && i < n; i++) {
		struct qc_map m = qcow2_classify(q, entries[i]);

		if (!replacement(q, &m, discard, &v))
			continue;
		qcow2_put_entry(q, e, off + ((uint64_t)i << q->cluster_bits), v);
		if ((v.v & ENTRY_OFFSET) == 0)
			qcow2_release_entry(q, entries[i].v);
	}
	return err;
}

/* Up to @clusters whole clusters from @off, within one L2 table; exclusive. */
static int zero_step(struct qcow2 *q, uint64_t off, uint64_t clusters, bool discard,
		     uint64_t *done)
{
	struct qc_ent entries[QC_STEP];
	uint64_t table = (uint64_t)q->l2_n << q->cluster_bits;
	unsigned n, changes;
	int err = qcow2_throttle(q);

	if (err)
		return err;
	if (!q->l1[off / table] && !q->im->backing) {
		*done = MIN(clusters << q->cluster_bits, table - off % table);
		return 0;
	}
	err = qcow2_get_entries(q, off, entries, (unsigned)MIN(clusters, (uint64_t)QC_STEP), &n,
				true);
	if (!err)
		err = count_changes(q, entries, n, discard, &changes);
	if (!err && changes)
		err = change_entries(q, off, n, discard);
	*done = (uint64_t)n << q->cluster_bits;
	return err;
}

static int zero_clusters(struct qcow2 *q, uint64_t off, uint64_t clusters, bool discard)
{
	int err = 0;

	while (clusters && !err) {
		uint64_t done = 0;

		qcow2_lock(q);
		err = zero_step(q, off, clusters, discard, &done);
		pthread_rwlock_unlock(&q->lock);
		off += done;
		clusters -= done >> q->cluster_bits;
	}
	return err;
}

static bool already_zero(struct qcow2 *q, uint64_t off)
{
	struct qc_map m = { .type = QC_BAD };
	struct qc_ent entry;
	unsigned n;

	pthread_rwlock_rdlock(&q->lock);
	if (!qcow2_get_entries(q, off, &entry, 1, &n, false))
		m = qcow2_classify(q, entry);
	pthread_rwlock_unlock(&q->lock);
	return m.type == QC_ZEROS || (m.type == QC_UNALLOCATED && !q->im->backing);
}

/* Zeros as data, within one cluster. */
static int zero_part(struct qcow2 *q, uint64_t off, uint64_t len)
{
	static const uint8_t zeros[ZEROS];
	struct iovec v[MAX_PIECES];
	uint64_t left = len;
	unsigned n = 0;

	if (already_zero(q, off))
		return 0;
	for (; left && n < MAX_PIECES; n++) {
		v[n].iov_base = (void *)zeros;
		v[n].iov_len = MIN(left, sizeof(zeros));
		left -= v[n].iov_len;
	}
	return qcow2_write(q, off, len - left, v, n);
}

static int zero_as_data(struct qcow2 *q, uint64_t off, uint64_t len)
{
	int err = 0;

	while (len && !err) {
		uint64_t n = MIN(len, q->cs - (off & (q->cs - 1)));

		err = zero_part(q, off, n);
		off += n;
		len -= n;
	}
	return err;
}

/* The whole clusters in [off, off + len); the end of the disk counts as a boundary. */
static uint64_t whole(const struct qcow2 *q, uint64_t off, uint64_t len, uint64_t *first)
{
	uint64_t end = off + len, mask = q->cs - 1;

	*first = (off + mask) & ~mask;
	end = end == q->im->size ? (end + mask) & ~mask : end & ~mask;
	return end > *first ? (end - *first) >> q->cluster_bits : 0;
}

int qcow2_write_zeroes(struct qcow2 *q, uint64_t off, uint64_t len)
{
	uint64_t first, n = whole(q, off, len, &first), after = first + (n << q->cluster_bits);
	int err;

	if (!n || (q->version < 3 && q->im->backing))
		return zero_as_data(q, off, len);
	err = zero_as_data(q, off, first - off);
	if (!err)
		err = zero_clusters(q, first, n, false);
	return err || after >= off + len ? err : zero_as_data(q, after, off + len - after);
}

int qcow2_discard(struct qcow2 *q, uint64_t off, uint64_t len)
{
	uint64_t first, n = whole(q, off, len, &first);

	if (!n || (q->version < 3 && q->im->backing))
		return 0;
	return zero_clusters(q, first, n, true);
}
