/* SPDX-License-Identifier: MIT */
/*
 * Changes of the whole image: another L1 table in the place of the old one
 * (growth, applying a snapshot, emptying), a new disk size.
 *
 * The new table is complete and synced before one write in the header's first
 * sector switches to it; what the old one held is released after that, so
 * that a crash leaks and nothing else.
 */
#include "qcow2_int.h"

#include <errno.h>
#include <stdlib.h>

static int write_table(struct qcow2 *q, const uint64_t *l1, uint32_t n, uint64_t host)
{
	uint8_t *raw = calloc(n + 1, 8);
	int err;

	if (!raw)
		return ENOMEM;
	for (uint32_t i = 0; i < n; i++)
		st_be64(raw + i * 8, l1[i]);
	err = hf_pwrite(q->f, raw, (size_t)n * 8, host);
	free(raw);
	return err ? err : hf_sync(q->f);
}

static void drop_run(struct qcow2 *q, uint64_t off, uint64_t bytes)
{
	for (uint64_t i = 0; i < qc_clusters(q, bytes); i++)
		qcow2_refcount_drop(q, (off >> q->cluster_bits) + i);
}

int qcow2_switch_l1(struct qcow2 *q, uint64_t *l1, uint32_t n, uint64_t disk_size)
{
	uint64_t old_off = q->l1_off, old_len = (uint64_t)q->l1_n * 8, old_size = q->disk_size;
	uint64_t host, *dirty = calloc(n / 64 / 64 + 1, 8);
	uint32_t old_n = q->l1_n;
	int err = dirty ? qcow2_flush_meta(q, true) : ENOMEM;

	if (!err)
		err = qcow2_alloc_run(q, MAX(qc_clusters(q, (uint64_t)n * 8), 1ull), &host);
	if (!err)
		err = qc_cache_write(q, &q->rbc);
	if (!err)
		err = write_table(q, l1, n, host);
	if (!err && !qc_meta_add_range(q, host, (uint64_t)n * 8))
		err = ENOMEM;
	if (err) {
		free(dirty);
		return err;
	}
	q->l1_off = host;
	q->l1_n = n;
	q->disk_size = disk_size;
	err = qcow2_write_geometry(q);
	if (err) {	/* either table may count now: nothing more is written */
		q->l1_off = old_off;
		q->l1_n = old_n;
		q->disk_size = old_size;
		atomic_store(&q->f->sync_failed, true);
		free(dirty);
		return err;
	}
	free(q->l1);
	free(q->l1_dirty);
	q->l1 = l1;
	q->l1_dirty = dirty;
	q->l1_any_dirty = false;
	q->im->size = disk_size & ~(uint64_t)(BLOCK_SECTOR - 1);
	if (old_off) {
		qc_meta_del_range(q, old_off);
		drop_run(q, old_off, old_len);
	}
	return 0;
}

static int walk_entry(struct qcow2 *q, struct qc_ent v, int (*fn)(struct qcow2 *, uint64_t))
{
	uint64_t off = v.v & ENTRY_OFFSET, len = q->cs;
	int err = 0;

	if (v.v & L2_COMPRESSED)
		qcow2_compressed_range(q, v.v, &off, &len);
	else if (!off)
		return 0;
	for (uint64_t c = off >> q->cluster_bits;
	     !err && c <= (off + len - 1) >> q->cluster_bits; c++)
		err = fn(q, c);
	return err;
}

int qcow2_walk(struct qcow2 *q, const uint64_t *l1, uint32_t n,
	       int (*fn)(struct qcow2 *q, uint64_t cluster))
{
	uint8_t *table = malloc(q->cs);
	int err = table ? 0 : ENOMEM;

	for (uint32_t i = 0; i < n && !err; i++) {
		uint64_t off = l1[i] & ENTRY_OFFSET;
		struct qc_entry *e;

		if (!off)
			continue;
		err = qc_cache_get(q, &q->l2c, off, &e);
		if (!err)
			memcpy(table, e->buf, q->cs);
		for (uint32_t k = 0; k < q->l2_n && !err; k++)
			err = walk_entry(q, qcow2_load_entry(q, table, k), fn);
		if (!err)
			err = fn(q, off >> q->cluster_bits);
	}
	free(table);
	return err;
}

/* The rest of the last cluster may hold what was there before the disk was made smaller. */
static int clear_tail(struct qcow2 *q, uint64_t old, uint64_t size)
{
	uint64_t end = MIN(qc_clusters(q, old) << q->cluster_bits, size);
	int err = old && end > old ? qcow2_write_zeroes(q, old, end - old) : 0;

	return err || end <= old ? err : qcow2_flush_meta(q, true);
}

static int grow(struct qcow2 *q, uint64_t size)
{
	uint64_t span = (uint64_t)q->l2_n << q->cluster_bits, need = (size + span - 1) / span;
	uint64_t old = q->im->size, below = q->im->backing ? q->im->backing->size : 0, *l1;
	int err;

	if (need > QC_MAX_L1 / 8)
		return EFBIG;
	err = clear_tail(q, old, size);
	if (err)
		return err;
	if (need <= q->l1_n) {
		q->disk_size = size;
		q->im->size = size & ~(uint64_t)(BLOCK_SECTOR - 1);
		err = qcow2_write_geometry(q);
	} else {
		l1 = calloc(need, sizeof(*l1));
		if (!l1)
			return ENOMEM;
		if (q->l1_n)
			memcpy(l1, q->l1, q->l1_n * sizeof(*l1));
		err = qcow2_switch_l1(q, l1, (uint32_t)need, size);
		if (err)
			free(l1);
	}
	/* What is new reads as zeros, whatever the backing file has there. */
	if (!err && old && below > old)
		err = qcow2_write_zeroes(q, old, MIN(below, q->im->size) - old);
	return err;
}

static int shrink(struct qcow2 *q, uint64_t size)
{
	uint64_t from = qc_clusters(q, size) << q->cluster_bits;
	unsigned flags = q->im->flags;
	int err = 0;

	q->im->flags |= BLOCK_DISCARD_ON;
	if (from < q->im->size)
		err = qcow2_discard(q, from, q->im->size - from);
	q->im->flags = flags;
	if (!err)
		err = qcow2_flush_meta(q, true);
	if (err)
		return err;
	q->disk_size = size;
	q->im->size = size & ~(uint64_t)(BLOCK_SECTOR - 1);
	return qcow2_write_geometry(q);
}

/* A snapshot taken with another size is only restorable when it says which. */
static bool snapshots_know_size(const struct qcow2 *q)
{
	for (uint32_t i = 0; i < q->nsnapshots; i++)
		if (ld_be32(q->snap[i].raw + 36) < 16)
			return false;
	return true;
}

bool qcow2_resize(struct image *im, uint64_t size, struct err *e)
{
	struct qcow2 *q = im->priv;
	int err;

	if (!snapshots_know_size(q))
		return err_set(e, HV_EXIT_IMAGE, "%s: has snapshots of an old kind that do not "
			       "record their size; delete them first", im->path);
	err = size < q->disk_size ? shrink(q, size) : size > q->disk_size ? grow(q, size) : 0;
	if (!err)
		err = qcow2_flush_meta(q, true);
	return !err || err_errno(e, HV_EXIT_HOST, err, "%s: cannot change the size", im->path);
}

bool qcow2_make_empty(struct image *im, struct err *e)
{
	struct qcow2 *q = im->priv;
	uint32_t n = q->l1_n;
	uint64_t *old = calloc(n + 1, 8), *l1 = calloc(n + 1, 8);
	int err = old && l1 ? qcow2_flush_meta(q, true) : ENOMEM;

	if (!err) {
		memcpy(old, q->l1, n * 8ull);
		err = qcow2_switch_l1(q, l1, n, q->disk_size);
	}
	if (err)
		free(l1);
	for (uint32_t i = 0; !err && i < n; i++)
		if (old[i] & ENTRY_OFFSET)
			qc_meta_del(q, old[i] & ENTRY_OFFSET);
	if (!err)
		err = qcow2_walk(q, old, n, qcow2_refcount_drop);
	if (!err)
		err = qcow2_flush_meta(q, true);
	free(old);
	return !err || err_errno(e, HV_EXIT_HOST, err, "%s: cannot empty the image", im->path);
}
