/* SPDX-License-Identifier: MIT */
/*
 * Which host clusters hold tables (the overlap check), the ordered flush of
 * cached metadata, and the list of references to drop after it.
 */
#include "qcow2_int.h"

#include <errno.h>
#include <stdlib.h>

static uint64_t slot_of(const struct qc_metaset *m, uint64_t cluster)
{
	return (cluster * 0x9e3779b97f4a7c15ull >> 20) & (m->nslots - 1);
}

static void put(struct qc_metaset *m, uint64_t cluster)
{
	uint64_t i = slot_of(m, cluster);

	while (m->slot[i] && m->slot[i] != cluster)
		i = (i + 1) & (m->nslots - 1);
	m->used += !m->slot[i];
	m->slot[i] = cluster;
}

static bool grow(struct qc_metaset *m)
{
	struct qc_metaset bigger = { .nslots = m->nslots ? m->nslots * 2 : 64 };

	bigger.slot = calloc(bigger.nslots, sizeof(*bigger.slot));
	if (!bigger.slot)
		return false;
	for (uint64_t i = 0; i < m->nslots; i++)
		if (m->slot[i])
			put(&bigger, m->slot[i]);
	free(m->slot);
	m->slot = bigger.slot;
	m->nslots = bigger.nslots;
	m->used = bigger.used;
	return true;
}

bool qc_meta_add(struct qcow2 *q, uint64_t off)
{
	struct qc_metaset *m = &q->meta;

	if (m->used >= m->nslots / 2 && !grow(m))
		return false;
	put(m, off >> q->cluster_bits);
	return true;
}

/* Removal without tombstones: later entries of the run move up into the gap. */
void qc_meta_del(struct qcow2 *q, uint64_t off)
{
	struct qc_metaset *m = &q->meta;
	uint64_t mask = m->nslots - 1, cluster = off >> q->cluster_bits, i, j;

	if (!m->nslots)
		return;
	for (i = slot_of(m, cluster); m->slot[i] != cluster; i = (i + 1) & mask)
		if (!m->slot[i])
			return;
	for (j = (i + 1) & mask; m->slot[j]; j = (j + 1) & mask) {
		if (((j - slot_of(m, m->slot[j])) & mask) < ((j - i) & mask))
			continue;
		m->slot[i] = m->slot[j];
		i = j;
	}
	m->slot[i] = 0;
	m->used--;
}

/* Room for one more range, at its end. */
static bool range_room(struct qc_metaset *m)
{
	struct qc_range *r;

	if (m->nranges & (m->nranges + 1))	/* the array has 2^n - 1 elements */
		return true;
	r = realloc(m->range, (2 * (size_t)m->nranges + 1) * sizeof(*r));
	if (r)
		m->range = r;
	return r != NULL;
}

/* The first range that does not end before @off. */
static unsigned range_at(const struct qc_metaset *m, uint64_t off)
{
	unsigned lo = 0, hi = m->nranges;

	while (lo < hi) {
		unsigned mid = lo + (hi - lo) / 2;

		if (m->range[mid].off + m->range[mid].len <= off)
			lo = mid + 1;
		else
			hi = mid;
	}
	return lo;
}

static struct qc_range whole_clusters(const struct qcow2 *q, uint64_t off, uint64_t len)
{
	return (struct qc_range){ off, qc_clusters(q, len) << q->cluster_bits };
}

bool qc_meta_add_range(struct qcow2 *q, uint64_t off, uint64_t len)
{
	struct qc_metaset *m = &q->meta;
	unsigned i = range_at(m, off);

	if (!len)
		return true;
	if (!range_room(m))
		return false;
	memmove(&m->range[i + 1], &m->range[i], (m->nranges - i) * sizeof(m->range[0]));
	m->range[i] = whole_clusters(q, off, len);
	m->nranges++;
	return true;
}

bool qc_meta_push_range(struct qcow2 *q, uint64_t off, uint64_t len)
{
	struct qc_metaset *m = &q->meta;

	if (!range_room(m))
		return false;
	m->range[m->nranges++] = whole_clusters(q, off, len);
	return true;
}

static int by_offset(const void *a, const void *b)
{
	const struct qc_range *x = a, *y = b;

	return x->off < y->off ? -1 : x->off > y->off;
}

bool qc_meta_sort_ranges(struct qcow2 *q)
{
	struct qc_metaset *m = &q->meta;

	if (m->nranges)
		qsort(m->range, m->nranges, sizeof(m->range[0]), by_offset);
	for (unsigned i = 1; i < m->nranges; i++)
		if (m->range[i - 1].off + m->range[i - 1].len > m->range[i].off)
			return false;
	return true;
}

void qc_meta_del_range(struct qcow2 *q, uint64_t off)
{
	struct qc_metaset *m = &q->meta;
	unsigned i = range_at(m, off);

	if (i == m->nranges || m->range[i].off != off)
		return;
	m->nranges--;
	memmove(&m->range[i], &m->range[i + 1], (m->nranges - i) * sizeof(m->range[0]));
}

bool qc_meta_in_range(const struct qcow2 *q, uint64_t off, uint64_t len)
{
	const struct qc_metaset *m = &q->meta;
	unsigned i = range_at(m, off);

	return i < m->nranges && m->range[i].off < off + len;
}

bool qc_meta_hit(const struct qcow2 *q, uint64_t off, uint64_t len)
{
	const struct qc_metaset *m = &q->meta;

	for (uint64_t c = off >> q->cluster_bits; c <= (off + len - 1) >> q->cluster_bits; c++) {
		uint64_t i = m->nslots ? slot_of(m, c) : 0;

		for (; m->nslots && m->slot[i]; i = (i + 1) & (m->nslots - 1))
			if (m->slot[i] == c)
				return true;
	}
	return qc_meta_in_range(q, off, len);
}

void qc_meta_free(struct qc_metaset *m)
{
	free(m->slot);
	free(m->range);
}

static int write_l1(struct qcow2 *q)
{
	uint8_t raw[64 * 8];

	for (uint32_t g = 0; g * 64 < q->l1_n; g++) {
		uint32_t n = MIN(64u, q->l1_n - g * 64);
		int err;

		if (!(q->l1_dirty[g / 64] >> (g % 64) & 1))
			continue;
		for (uint32_t i = 0; i < n; i++)
			st_be64(raw + i * 8, q->l1[g * 64 + i]);
		err = hf_pwrite(q->f, raw, n * 8, q->l1_off + g * 64 * 8);
		if (err)
			return err;
		q->l1_dirty[g / 64] &= ~(1ull << (g % 64));
	}
	q->l1_any_dirty = false;
	return 0;
}

static void apply_pending(struct qcow2 *q)
{
	for (uint32_t i = 0; i < q->npending; i++)
		if (qcow2_refcount_drop(q, q->pending[i]))
			log_limited(LOG_WARN, "%s: a freed cluster stays allocated (I/O error)",
				    q->im->path);
	q->npending = 0;
}

static int write_meta(struct qcow2 *q, bool sync)
{
	bool barrier = q->need_barrier || q->l1_any_dirty;
	int err;

	if (atomic_load(&q->corrupt))
		return EIO;
	err = qc_cache_write(q, &q->rbc);
	if (!err && barrier)
		err = hf_sync(q->f);
	if (!err && q->l2c.ndirty)
		err = qc_cache_write(q, &q->l2c);
	if (err)
		return err;
	q->need_barrier = false;
	if (q->l1_any_dirty) {
		err = hf_sync(q->f);
		if (!err)
			err = write_l1(q);
	}
	if (!err && (sync || q->npending))
		err = hf_sync(q->f);
	if (!err)
		apply_pending(q);
	return err;
}

int qcow2_flush_meta(struct qcow2 *q, bool sync)
{
	int err = sync ? qcow2_cut_file(q) : 0;

	return err ? err : write_meta(q, sync);
}

/* Before each exclusive step: room in the caches for the tables it may change. */
int qcow2_throttle(struct qcow2 *q)
{
	if (q->l2c.ndirty < q->l2c.n / 2 && q->npending < QC_MAX_PENDING)
		return 0;
	return qcow2_flush_meta(q, false);
}

void qcow2_release(struct qcow2 *q, uint64_t off, uint64_t len)
{
	uint64_t last = (off + len - 1) >> q->cluster_bits;

	for (uint64_t c = off >> q->cluster_bits; c <= last; c++) {
		if (q->npending == q->pending_cap) {
			uint32_t cap = q->pending_cap ? q->pending_cap * 2 : 256;
			uint64_t *p = realloc(q->pending, cap * sizeof(*p));

			if (!p)		/* a leak on disk, nothing worse */
				return;
			q->pending = p;
			q->pending_cap = cap;
		}
		q->pending[q->npending++] = c;
	}
}
