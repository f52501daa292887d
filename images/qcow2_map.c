/* SPDX-License-Identifier: MIT */
/*
 * From guest offset to host cluster: L1 and L2 look-up, and the private copy
 * of an L2 table that must precede every change.
 */
#include "qcow2_int.h"

#include <errno.h>
#include <stdlib.h>

struct qc_map qcow2_classify(const struct qcow2 *q, uint64_t entry)
{
	struct qc_map m = { .type = QC_BAD, .entry = entry, .copied = entry & ENTRY_COPIED };

	if (entry & L2_COMPRESSED) {
		m.type = QC_COMPRESSED;
		return m;
	}
	m.host = entry & ENTRY_OFFSET;
	if ((entry & L2_RESERVED) || (m.host & (q->cs - 1)) || (m.host && m.host >= q->file_end))
		return m;
	if (entry & L2_ZERO)
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

int qcow2_get_entries(struct qcow2 *q, uint64_t off, uint64_t *out, unsigned max,
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
		out[k] = ld_be64(e->buf + (i + k) * 8);
	if (!exclusive)
		pthread_mutex_unlock(&q->cache_lock);
	return err;
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
		uint64_t v = ld_be64(e->buf + i * 8);

		st_be64(*copy + i * 8, v & L2_COMPRESSED ? v : v & ~ENTRY_COPIED);
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

void qcow2_put_entry(struct qcow2 *q, struct qc_entry *e, uint64_t off, uint64_t value)
{
	uint32_t at = l2_index(q, off) * 8;

	st_be64(e->buf + at, value);
	qc_cache_mark(&q->l2c, e, at, 8);
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
