/* SPDX-License-Identifier: MIT */
/*
 * Writing: in place under the shared lock where the cluster is ours alone,
 * else into new clusters under the exclusive one, with the rest of a partly
 * written cluster copied from what was visible before.
 */
#include "qcow2_int.h"

#include <errno.h>
#include <stdlib.h>

#define RUN 64

static int write_data(struct qcow2 *q, uint64_t host, uint64_t len, const struct iovec *iov,
		      unsigned niov, uint64_t iov_off)
{
	if (qc_meta_hit(q, host, len))
		return qcow2_mark_corrupt(q, "guest data would overwrite a table", host);
	return hf_move(q->f, true, host, len, iov, niov, iov_off);
}

/* What a write needs from the clusters it touches. */
struct span {
	uint64_t off, len;	/* guest bytes */
	uint64_t in;		/* offset of the first byte in its cluster */
	struct qc_ent entries[RUN];
	unsigned n;		/* entries known */
};

static int look_up(struct qcow2 *q, struct span *s, bool exclusive)
{
	s->in = s->off & (q->cs - 1);
	return qcow2_get_entries(q, s->off, s->entries,
				 (unsigned)MIN(qc_clusters(q, s->in + s->len), (uint64_t)RUN),
				 &s->n, exclusive);
}

/* The subclusters of cluster @i that @s writes. */
static uint64_t touched(const struct qcow2 *q, const struct span *s, unsigned i)
{
	uint64_t end = s->in + s->len - MIN(s->in + s->len, (uint64_t)i << q->cluster_bits);

	return qcow2_sub_mask(q, i ? 0 : s->in, MIN(end, (uint64_t)q->cs));
}

/* Everything that @s writes of cluster @i is there and ours alone. */
static bool in_place(const struct qcow2 *q, const struct span *s, unsigned i,
		     const struct qc_map *m)
{
	if (!m->copied || !m->host)
		return false;
	return m->type == QC_DATA || (m->type == QC_MIXED && !(touched(q, s, i) & ~m->bm));
}

/* Adjacent clusters that may be written where they are. */
static unsigned in_place_run(const struct qcow2 *q, const struct span *s, uint64_t *host)
{
	unsigned i;

	for (i = 0; i < s->n; i++) {
		struct qc_map m = qcow2_classify(q, s->entries[i]);

		if (i == 0)
			*host = m.host;
		if (!in_place(q, s, i, &m) || m.host != *host + (uint64_t)i * q->cs)
			break;
	}
	return i;
}

/* Bytes of @s inside its first @clusters. */
static uint64_t span_bytes(const struct qcow2 *q, const struct span *s, uint64_t clusters)
{
	return MIN((clusters << q->cluster_bits) - s->in, s->len);
}

/* Content of [from, to) of the guest cluster at @guest as seen before the write, to @host. */
static int copy_part(struct qcow2 *q, uint64_t guest, uint64_t host, uint64_t from, uint64_t to,
		     bool zeros, bool fresh)
{
	struct iovec v = { NULL, to - from };
	int err;

	if (from == to || (zeros && fresh))
		return 0;
	if (zeros)
		return hf_zero(q->f, host + from, to - from, false);
	v.iov_base = malloc(v.iov_len);
	if (!v.iov_base)
		return ENOMEM;
	err = qcow2_read(q, guest + from, v.iov_len, &v, 1, 0, true);
	if (!err)
		err = hf_pwrite(q->f, v.iov_base, v.iov_len, host + from);
	free(v.iov_base);
	return err;
}

static bool reads_zero(const struct qcow2 *q, const struct qc_map *m, uint64_t guest)
{
	const struct image *b = q->im->backing;

	return m->type == QC_ZEROS || (m->type == QC_UNALLOCATED && (!b || guest >= b->size));
}

/*
 * A new or not wholly allocated cluster gets whole subclusters around the
 * data, or, where its old data moves with it, everything.
 */
static bool whole_cluster(const struct qcow2 *q, const struct qc_map *m, uint64_t host)
{
	if (!q->ext_l2 || m->type == QC_COMPRESSED)
		return true;
	return m->host != host && (m->bm & SUB_ALL);
}

/* Subclusters of entry @i that hold data after writing @s to @host. */
static uint64_t filled(const struct qcow2 *q, const struct span *s, unsigned i,
		       const struct qc_map *m, uint64_t host)
{
	return whole_cluster(q, m, host) ? SUB_ALL : touched(q, s, i);
}

/* Head, data and tail of @n clusters at @host. */
static int fill_clusters(struct qcow2 *q, const struct span *s, unsigned n, uint64_t host,
			 bool fresh, const struct iovec *iov, unsigned niov, uint64_t iov_off)
{
	uint64_t len = span_bytes(q, s, n), guest = s->off - s->in;
	uint64_t tail = (s->in + len) & (q->cs - 1), last = (uint64_t)(n - 1) << q->cluster_bits;
	uint64_t sub = (1ull << q->sub_bits) - 1, lo = 0, hi = q->cs;
	struct qc_map first = qcow2_classify(q, s->entries[0]);
	struct qc_map end = qcow2_classify(q, s->entries[n - 1]);
	int err;

	if (!whole_cluster(q, &first, host))
		lo = s->in & ~sub;
	if (!whole_cluster(q, &end, host + last))
		hi = (tail + sub) & ~sub;
	err = copy_part(q, guest, host, lo, s->in, reads_zero(q, &first, guest), fresh);
	if (!err && tail)
		err = copy_part(q, guest + last, host + last, tail, hi,
				reads_zero(q, &end, guest + last), fresh);
	return err ? err : write_data(q, host + s->in, len, iov, niov, iov_off);
}

/* Clusters from the first that all need a new place. */
static unsigned new_run(const struct qcow2 *q, const struct span *s)
{
	unsigned i;

	for (i = 0; i < s->n; i++) {
		struct qc_map m = qcow2_classify(q, s->entries[i]);

		if (m.type == QC_BAD || (m.copied && m.host && m.type != QC_COMPRESSED))
			break;
	}
	return i;
}

static int publish(struct qcow2 *q, const struct span *s, unsigned n, uint64_t host)
{
	uint64_t guest = s->off - s->in;
	struct qc_entry *e;
	int err = qcow2_writable_l2(q, s->off, &e);

	if (err)
		return err;
	for (unsigned i = 0; i < n; i++) {
		uint64_t at = (uint64_t)i << q->cluster_bits, data;
		struct qc_map m = qcow2_classify(q, s->entries[i]);
		struct qc_ent v = { (host + at) | ENTRY_COPIED, 0 };

		if (q->ext_l2) {
			data = filled(q, s, i, &m, host + at);
			v.bm = (m.bm & ~(data << 32)) | data;
		}
		qcow2_put_entry(q, e, guest + at, v);
	}
	q->need_barrier = true;
	return 0;
}

/* New clusters for the start of @s; *done = bytes written. */
static int write_new(struct qcow2 *q, const struct span *s, const struct iovec *iov,
		     unsigned niov, uint64_t iov_off, uint64_t *done)
{
	uint64_t host, got;
	bool fresh;
	int err = qcow2_alloc(q, new_run(q, s), &host, &got, &fresh);

	if (err)
		return err;
	err = fill_clusters(q, s, (unsigned)got, host, fresh, iov, niov, iov_off);
	if (!err)
		err = publish(q, s, (unsigned)got, host);
	if (err) {
		qcow2_unalloc(q, host, got);
		return err;
	}
	for (unsigned i = 0; i < got; i++)
		qcow2_release_entry(q, s->entries[i].v);
	*done = span_bytes(q, s, got);
	return 0;
}

/* A cluster with a place but (some) zeros or nothing in it: fill, then tell. */
static int write_preallocated(struct qcow2 *q, const struct span *s, uint64_t host,
			      const struct iovec *iov, unsigned niov, uint64_t iov_off,
			      uint64_t *done)
{
	int err = qc_meta_hit(q, host, q->cs) ?
		qcow2_mark_corrupt(q, "guest data would overwrite a table", host) :
		fill_clusters(q, s, 1, host, false, iov, niov, iov_off);

	if (!err)
		err = publish(q, s, 1, host);
	*done = span_bytes(q, s, 1);
	return err;
}

static int write_exclusive(struct qcow2 *q, struct span *s, const struct iovec *iov,
			   unsigned niov, uint64_t iov_off, uint64_t *done)
{
	int err = qcow2_throttle(q);
	struct qc_entry *e;
	struct qc_map m;

	/* First a table of our own: in a shared one COPIED would mean nothing. */
	if (!err)
		err = qcow2_writable_l2(q, s->off, &e);
	if (!err)
		err = look_up(q, s, true);
	if (err)
		return err;
	m = qcow2_classify(q, s->entries[0]);
	if (m.type == QC_BAD)
		return qcow2_mark_corrupt(q, "an L2 entry is invalid", s->entries[0].v);
	if (in_place(q, s, 0, &m)) {	/* somebody else was first */
		*done = span_bytes(q, s, 1);
		return write_data(q, m.host + s->in, *done, iov, niov, iov_off);
	}
	if (m.type != QC_COMPRESSED && m.copied && m.host)
		return write_preallocated(q, s, m.host, iov, niov, iov_off, done);
	return write_new(q, s, iov, niov, iov_off, done);
}

/* The L1 entry is private too: only then do COPIED flags below it count. */
static bool l2_private(const struct qcow2 *q, uint64_t off)
{
	return q->l1[off >> (q->cluster_bits + q->l2_bits)] & ENTRY_COPIED;
}

static int write_step(struct qcow2 *q, struct span *s, const struct iovec *iov, unsigned niov,
		      uint64_t iov_off, uint64_t *done)
{
	uint64_t host = 0;
	unsigned n = 0;
	int err;

	pthread_rwlock_rdlock(&q->lock);
	err = look_up(q, s, false);
	if (!err && l2_private(q, s->off))
		n = in_place_run(q, s, &host);
	if (!err && n) {
		*done = span_bytes(q, s, n);
		err = write_data(q, host + s->in, *done, iov, niov, iov_off);
	}
	pthread_rwlock_unlock(&q->lock);
	if (err || n)
		return err;
	qcow2_lock(q);
	err = write_exclusive(q, s, iov, niov, iov_off, done);
	pthread_rwlock_unlock(&q->lock);
	return err;
}

int qcow2_write(struct qcow2 *q, uint64_t off, uint64_t len, const struct iovec *iov,
		unsigned niov)
{
	uint64_t pos = 0;
	int err = 0;

	while (pos < len && !err) {
		struct span s = { .off = off + pos, .len = len - pos };
		uint64_t done = 0;

		err = write_step(q, &s, iov, niov, pos, &done);
		pos += done;
	}
	return err;
}

/* One run of clusters that have no place yet; exclusive. */
static int preallocate_step(struct qcow2 *q, struct span *s, uint64_t *done)
{
	int err = qcow2_throttle(q);
	uint64_t host, got;
	struct qc_entry *e;
	bool fresh;

	if (!err)
		err = qcow2_writable_l2(q, s->off, &e);
	if (!err)
		err = look_up(q, s, true);
	if (err)
		return err;
	*done = span_bytes(q, s, MAX(new_run(q, s), 1u));
	if (!new_run(q, s))
		return 0;
	err = qcow2_alloc(q, new_run(q, s), &host, &got, &fresh);
	if (err)
		return err;
	*done = span_bytes(q, s, got);
	if (!fresh)
		err = hf_zero(q->f, host, got << q->cluster_bits, false);
	return err ? err : publish(q, s, (unsigned)got, host);
}

int qcow2_preallocate(struct qcow2 *q, uint64_t off, uint64_t len)
{
	uint64_t end = off + len;
	int err = 0;

	while (off < end && !err) {
		struct span s = { .off = off, .len = end - off };
		uint64_t done = 0;

		qcow2_lock(q);
		err = preallocate_step(q, &s, &done);
		pthread_rwlock_unlock(&q->lock);
		off += done;
	}
	return err;
}
