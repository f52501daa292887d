/* SPDX-License-Identifier: MIT */
/*
 * From guest offset to host cluster: L1 and L2 look-up, and the private copy
 * of an L2 table that must precede every change.
 */
#include "qcow2_int.h"

#include <errno.h>
#include <stdlib.h>

/* Subclusters: none may be both; data needs a place. */
static enum qc_type classify_bitmap(uint64_t bm, uint64_t host)
{
	uint64_t data = bm & SUB_ALL, zero = bm >> 32;

	if ((data & zero) || (data && !host))
		return QC_BAD;
	if (data == SUB_ALL)
		return QC_DATA;
	if (zero == SUB_ALL)
		return QC_ZEROS;
	return data | zero ? QC_MIXED : QC_UNALLOCATED;
}

enum qc_type qcow2_sub_type(const struct qcow2 *q, const struct qc_map *m, uint64_t in)
{
	unsigned i = (unsigned)(in >> q->sub_bits);

	return m->bm >> i & 1 ? QC_DATA : m->bm >> (32 + i) & 1 ? QC_ZEROS : QC_UNALLOCATED;
}

uint64_t qcow2_sub_mask(const struct qcow2 *q, uint64_t from, uint64_t to)
{
	uint64_t first = from >> q->sub_bits, n = ((to - 1) >> q->sub_bits) - first + 1;

	return ((1ull << n) - 1) << first;
}

struct qc_ent qcow2_load_entry(const struct qcow2 *q, const uint8_t *table, uint32_t i)
{
	if (q->ext_l2)
		return (struct qc_ent){ ld_be64(table + i * 16), ld_be64(table + i * 16 + 8) };
	return (struct qc_ent){ ld_be64(table + i * 8), 0 };
}

void qcow2_store_entry(const struct qcow2 *q, uint8_t *table, uint32_t i, struct qc_ent v)
{
	if (q->ext_l2) {
		st_be64(table + i * 16, v.v);
		st_be64(table + i * 16 + 8, v.bm);
	} else {
		st_be64(table + i * 8, v.v);
	}
}

struct qc_map qcow2_classify(const struct qcow2 *q, struct qc_ent ent)
{
	uint64_t entry = ent.v;
	struct qc_map m = { .type = QC_BAD, .entry = entry, .bm = ent.bm,
			    .copied = entry & ENTRY_COPIED };

	if (entry & L2_COMPRESSED) {
		m.type = ent.bm ? QC_BAD : QC_COMPRESSED;
		return m;
	}
	m.host = entry & ENTRY_OFFSET;
	if ((entry & L2_RESERVED) || (m.host & (q->cs - 1)) || (m.host && m.host >= q->file_end))
		return m;
	if (q->ext_l2)
		m.type = entry & L2_ZERO ? QC_BAD : classify_bitmap(ent.bm, m.host);
	else if (entry & L2_ZERO)
		m.type = q->version >= 3 ? QC_ZEROS : QC_BAD;
	else
		m.type = m.host ? QC_DATA : QC_UNALLOCATED;
	return m;
}

/* Sectors a compressed cluster occupies: whole 512-byte units from its first to its last. */
void qcow2_compressed_range(const struct qcow2 *q, uint64_t entry, uint64_t *off, uint64_t *len)
{
	unsigned shift = 62 - (q->cluster_bits - 8);
	uint64_t at = entry & ((1ull << shift) - 1) & (ENTRY_OFFSET | 511);

	*off = at & ~511ull;
	*len = (((entry & ~(ENTRY_COPIED | L2_COMPRESSED)) >> shift) + 1) * 512;
}

static uint32_t l2_index(const struct qcow2 *q, uint64_t off)
{
	return (uint32_t)(off >> q->cluster_bits) & (q->l2_n - 1);
}

static uint32_t l1_index(const struct qcow2 *q, uint64_t off)
{
	return (uint32_t)(off >> (q->cluster_bits + q->l2_bits));
}

int qcow2_get_entries(struct qcow2 *q, uint64_t off, struct qc_ent *out, unsigned max,
		      unsigned *got, bool exclusive)
{
	uint32_t i = l2_index(q, off), n = MIN(max, q->l2_n - i);
	uint64_t table = q->l1[l1_index(q, off)] & ENTRY_OFFSET;
	struct qc_entry *e;
	int err;

	*got = n;
	if (!table) {
		memset(out, 0, n * sizeof(*out));
		return 0;
	}
	if (!exclusive)
		pthread_mutex_lock(&q->cache_lock);
	err = qc_cache_get(q, &q->l2c, table, &e);
	for (uint32_t k = 0; !err && k < n; k++)
		out[k] = qcow2_load_entry(q, e->buf, i + k);
	if (!exclusive)
		pthread_mutex_unlock(&q->cache_lock);
	return err;
}

int qcow2_peek_entries(struct qcow2 *q, uint64_t off, struct qc_ent *out, unsigned max,
		       unsigned *got)
{
	uint32_t i = l2_index(q, off), n = MIN(max, q->l2_n - i);
	uint64_t table = q->l1[l1_index(q, off)] & ENTRY_OFFSET;
	struct qc_entry *e = NULL;

	*got = n;
	if (!table) {
		memset(out, 0, n * sizeof(*out));
		return 0;
	}
	if (pthread_mutex_trylock(&q->cache_lock))
		return EAGAIN;
	e = qc_cache_peek(&q->l2c, table);
	for (uint32_t k = 0; e && k < n; k++)
		out[k] = qcow2_load_entry(q, e->buf, i + k);
	pthread_mutex_unlock(&q->cache_lock);
	return e ? 0 : EAGAIN;
}

static void set_l1(struct qcow2 *q, uint32_t i, uint64_t v)
{
	q->l1[i] = v;
	q->l1_dirty[i / 64 / 64] |= 1ull << (i / 64 % 64);
	q->l1_any_dirty = true;
	q->need_barrier = true;
}

/* The content of a table that a snapshot shares, ready to live on its own. */
static int copy_shared(struct qcow2 *q, uint64_t table, uint8_t **copy)
{
	struct qc_entry *e;
	int err = qc_cache_get(q, &q->l2c, table, &e);

	if (err)
		return err;
	*copy = malloc(q->cs);
	if (!*copy)
		return ENOMEM;
	for (uint32_t i = 0; i < q->l2_n; i++) {
		struct qc_ent v = qcow2_load_entry(q, e->buf, i);

		v.v &= v.v & L2_COMPRESSED ? UINT64_MAX : ~ENTRY_COPIED;
		qcow2_store_entry(q, *copy, i, v);
	}
	return 0;
}

static int new_l2(struct qcow2 *q, uint32_t i, struct qc_entry **e)
{
	uint64_t old = q->l1[i] & ENTRY_OFFSET, host, got;
	uint8_t *copy = NULL;
	bool fresh;
	int err = old ? copy_shared(q, old, &copy) : 0;

	if (!err)
		err = qcow2_alloc(q, 1, &host, &got, &fresh);
	if (err)
		goto out;
	err = qc_cache_new(q, &q->l2c, host, e);
	if (!err && !qc_meta_add(q, host))
		err = ENOMEM;
	if (err) {
		qc_cache_drop(&q->l2c, host);
		qcow2_unalloc(q, host, 1);
		goto out;
	}
	if (copy)
		memcpy((*e)->buf, copy, q->cs);
	set_l1(q, i, host | ENTRY_COPIED);
	if (old) {
		qc_meta_del(q, old);
		qcow2_release(q, old, q->cs);
	}
out:
	free(copy);
	return err;
}

int qcow2_writable_l2(struct qcow2 *q, uint64_t off, struct qc_entry **e)
{
	uint32_t i = l1_index(q, off);

	if (q->l1[i] & ENTRY_COPIED && q->l1[i] & ENTRY_OFFSET)
		return qc_cache_get(q, &q->l2c, q->l1[i] & ENTRY_OFFSET, e);
	return new_l2(q, i, e);
}

void qcow2_put_entry(struct qcow2 *q, struct qc_entry *e, uint64_t off, struct qc_ent value)
{
	uint32_t i = l2_index(q, off), size = q->ext_l2 ? 16 : 8;

	qcow2_store_entry(q, e->buf, i, value);
	qc_cache_mark(&q->l2c, e, i * size, size);
}

void qcow2_release_entry(struct qcow2 *q, uint64_t entry)
{
	uint64_t off, len;

	if (entry & L2_COMPRESSED) {
		qcow2_compressed_range(q, entry, &off, &len);
		pthread_mutex_lock(&q->comp_lock);
		q->comp_entry = 0;
		pthread_mutex_unlock(&q->comp_lock);
		qcow2_release(q, off, len);
	} else if (entry & ENTRY_OFFSET) {
		qcow2_release(q, entry & ENTRY_OFFSET, q->cs);
	}
}
