/* SPDX-License-Identifier: MIT */
/*
 * Reference counts: all widths from 1 to 64 bits, allocation of clusters,
 * creation of refcount blocks and growth of the refcount table.
 *
 * New blocks and tables always go to the end of the file, where nothing can
 * point to them by mistake.  They are complete and synced before the table
 * entry or header field that makes them count.
 */
#include "qcow2_int.h"

#include <errno.h>
#include <stdlib.h>

#define GROW_AHEAD (64ull << 20)

uint64_t qcow2_refcount_load(const struct qcow2 *q, const uint8_t *b, uint64_t i)
{
	switch (q->refcount_order) {
	case 0:
		return b[i / 8] >> (i % 8) & 1;
	case 1:
		return b[i / 4] >> (i % 4 * 2) & 3;
	case 2:
		return b[i / 2] >> (i % 2 * 4) & 15;
	case 3:
		return b[i];
	case 4:
		return ld_be16(b + i * 2);
	case 5:
		return ld_be32(b + i * 4);
	default:
		return ld_be64(b + i * 8);
	}
}

static void store_bits(uint8_t *byte, unsigned shift, unsigned mask, uint64_t v)
{
	*byte = (uint8_t)((*byte & ~(mask << shift)) | ((unsigned)v & mask) << shift);
}

static void refcount_store(const struct qcow2 *q, uint8_t *b, uint64_t i, uint64_t v)
{
	switch (q->refcount_order) {
	case 0:
		store_bits(&b[i / 8], i % 8, 1, v);
		break;
	case 1:
		store_bits(&b[i / 4], i % 4 * 2, 3, v);
		break;
	case 2:
		store_bits(&b[i / 2], i % 2 * 4, 15, v);
		break;
	case 3:
		b[i] = (uint8_t)v;
		break;
	case 4:
		st_be16(b + i * 2, (uint16_t)v);
		break;
	case 5:
		st_be32(b + i * 4, (uint32_t)v);
		break;
	default:
		st_be64(b + i * 8, v);
	}
}

uint64_t qcow2_refcount_max(const struct qcow2 *q)
{
	return q->refcount_order == 6 ? UINT64_MAX : (1ull << (1u << q->refcount_order)) - 1;
}

static void set_in_block(struct qcow2 *q, struct qc_entry *e, uint64_t cluster, uint64_t v)
{
	uint64_t i = cluster & ((1ull << q->rb_bits) - 1);
	uint32_t at = (uint32_t)((i << q->refcount_order) / 8);

	refcount_store(q, e->buf, i, v);
	qc_cache_mark(&q->rbc, e, at, q->refcount_order > 3 ? 1u << (q->refcount_order - 3) : 1);
}

static bool have_block(const struct qcow2 *q, uint64_t range)
{
	return range < q->rt_n && q->rt[range] != 0;
}

/* The block of an existing range. */
static int get_block(struct qcow2 *q, uint64_t cluster, struct qc_entry **e)
{
	return qc_cache_get(q, &q->rbc, q->rt[cluster >> q->rb_bits], e);
}

static int set_existing(struct qcow2 *q, uint64_t cluster, uint64_t v)
{
	struct qc_entry *e;
	int err = get_block(q, cluster, &e);

	if (!err)
		set_in_block(q, e, cluster, v);
	return err;
}

/*
 * A pointer in the header or refcount table may or may not have reached the
 * disk: whatever it names must neither be reused nor relied on, so nothing
 * more is written.  Out of space means that it did not.
 */
static int write_pointer(struct qcow2 *q, const void *raw, size_t len, uint64_t off)
{
	int err = hf_pwrite(q->f, raw, len, off);

	if (err && err != ENOSPC && err != EDQUOT)
		atomic_store(&q->f->sync_failed, true);
	return err;
}

static int write_rt_entry(struct qcow2 *q, uint64_t range, uint64_t off)
{
	uint8_t raw[8];

	st_be64(raw, off);
	return write_pointer(q, raw, sizeof(raw), q->rt_off + range * 8);
}

static int grow_file(struct qcow2 *q, uint64_t size)
{
	int err = hf_truncate(q->f, size);

	if (!err)
		q->grown = size;
	return err;
}

/*
 * A new file in the making grows ahead, and is cut when it is flushed: growing
 * it waits in the host for all writes to it, and the other threads wait for us.
 */
static int extend_file(struct qcow2 *q, uint64_t end)
{
	int err = 0;

	if (end > QC_MAX_HOST)
		return EFBIG;
	if (end <= q->file_end)
		return 0;
	if (end > q->grown && (!q->f->no_sync || grow_file(q, end + GROW_AHEAD)))
		err = grow_file(q, end);
	if (!err)
		q->file_end = end;
	return err;
}

int qcow2_cut_file(struct qcow2 *q)
{
	int err = q->grown > q->file_end ? hf_truncate(q->f, q->file_end) : 0;

	if (!err)
		q->grown = 0;
	return err;
}

/* Sizes of a larger refcount table at the end of the file, with the blocks that it needs. */
struct rt_plan {
	uint64_t first, table, blocks;	/* clusters: start, table length, new blocks after it */
	uint64_t entries;
};

static bool plan_growth(const struct qcow2 *q, uint64_t range, struct rt_plan *p)
{
	uint64_t per_cluster = q->cs / 8, want = MAX(q->rt_n + q->rt_n / 2, range + 1);

	p->first = qc_end_cluster(q);
	p->blocks = 0;
	for (unsigned round = 0; round < 64; round++) {
		uint64_t last, need = 0;

		p->table = (want + per_cluster - 1) / per_cluster;
		p->entries = p->table * per_cluster;
		if (p->entries * 8 > QC_MAX_REFTABLE)
			return false;
		last = p->first + p->table + p->blocks - 1;
		for (uint64_t r = p->first >> q->rb_bits; r <= last >> q->rb_bits; r++)
			need += !have_block(q, r);
		if (need == p->blocks && last >> q->rb_bits < p->entries)
			return true;
		p->blocks = MAX(p->blocks, need);
		want = MAX(want, (last >> q->rb_bits) + 1);
	}
	return false;
}

/* Fill the new blocks and count the new clusters; q->rt is already the new table. */
static int fill_growth(struct qcow2 *q, const struct rt_plan *p)
{
	uint64_t off = (p->first + p->table) << q->cluster_bits;
	uint64_t end = p->first + p->table + p->blocks;
	int err = extend_file(q, end << q->cluster_bits);

	for (uint64_t r = p->first >> q->rb_bits; !err && r <= (end - 1) >> q->rb_bits; r++) {
		struct qc_entry *e;

		if (q->rt[r])
			continue;
		err = qc_cache_new(q, &q->rbc, off, &e);
		q->rt[r] = off;
		if (!err && !qc_meta_add(q, off))
			err = ENOMEM;
		off += q->cs;
	}
	for (uint64_t c = p->first; !err && c < end; c++)
		err = set_existing(q, c, 1);
	return err ? err : qc_cache_write(q, &q->rbc);
}

static int publish_growth(struct qcow2 *q, const struct rt_plan *p)
{
	uint8_t *raw = malloc(p->entries * 8), field[12];
	uint64_t off = p->first << q->cluster_bits;
	int err;

	if (!raw)
		return ENOMEM;
	for (uint64_t i = 0; i < p->entries; i++)
		st_be64(raw + i * 8, q->rt[i]);
	err = hf_pwrite(q->f, raw, p->entries * 8, off);
	free(raw);
	if (!err)
		err = hf_sync(q->f);
	st_be64(field, off);
	st_be32(field + 8, (uint32_t)p->table);
	if (!err)
		err = write_pointer(q, field, sizeof(field), HDR_REFTABLE);
	return err ? err : hf_sync(q->f);
}

static void forget_block(struct qcow2 *q, uint64_t off)
{
	qc_cache_drop(&q->rbc, off);
	qc_meta_del(q, off);
}

static int grow_reftable(struct qcow2 *q, uint64_t range)
{
	uint64_t *old = q->rt, old_n = q->rt_n, old_off = q->rt_off, *bigger;
	uint32_t old_clusters = q->rt_clusters;
	struct rt_plan p;
	int err;

	if (!plan_growth(q, range, &p))
		return EFBIG;
	bigger = calloc(p.entries, sizeof(*bigger));
	if (!bigger)
		return ENOMEM;
	memcpy(bigger, old, old_n * sizeof(*old));
	q->rt = bigger;
	q->rt_n = p.entries;
	err = fill_growth(q, &p);
	if (!err && !qc_meta_add_range(q, p.first << q->cluster_bits, p.table << q->cluster_bits))
		err = ENOMEM;
	if (!err)
		err = publish_growth(q, &p);
	if (err) {
		/* The old table stays; what was counted in old blocks leaks. */
		for (uint64_t r = 0; r < p.entries; r++)
			if (bigger[r] && (r >= old_n || !old[r]))
				forget_block(q, bigger[r]);
		qc_meta_del_range(q, p.first << q->cluster_bits);
		q->rt = old;
		q->rt_n = old_n;
		free(bigger);
		return err;
	}
	free(old);
	q->rt_off = p.first << q->cluster_bits;
	q->rt_clusters = (uint32_t)p.table;
	qc_meta_del_range(q, old_off);
	for (uint32_t i = 0; i < old_clusters; i++)
		qcow2_refcount_drop(q, (old_off >> q->cluster_bits) + i);
	return 0;
}

/* Put a new block for @range at the end of the file, which @range or an existing block counts. */
static int place_block(struct qcow2 *q, uint64_t range)
{
	uint64_t c = qc_end_cluster(q), off = c << q->cluster_bits;
	struct qc_entry *e;
	int err = extend_file(q, off + q->cs);

	if (err)
		return err;
	if (!qc_meta_add(q, off))
		return ENOMEM;
	if (c >> q->rb_bits != range)
		err = set_existing(q, c, 1);
	if (!err)
		err = qc_cache_new(q, &q->rbc, off, &e);
	if (!err && c >> q->rb_bits == range)
		set_in_block(q, e, c, 1);
	if (!err)
		err = qc_cache_write(q, &q->rbc);
	if (!err)
		err = hf_sync(q->f);
	if (!err)
		err = write_rt_entry(q, range, off);
	if (err) {
		forget_block(q, off);
		return err;
	}
	q->rt[range] = off;
	return 0;
}

static int make_block(struct qcow2 *q, uint64_t range)
{
	int err = 0;

	/* The end of the file may itself lie in a range without a block: that one first. */
	for (unsigned round = 0; !err && !have_block(q, range) && round < 8; round++) {
		uint64_t at = qc_end_cluster(q) >> q->rb_bits;

		if (MAX(at, range) >= q->rt_n)
			err = grow_reftable(q, MAX(at, range));
		else
			err = place_block(q, have_block(q, at) ? range : at);
	}
	return !err && !have_block(q, range) ? EIO : err;
}

int qcow2_refcount_set(struct qcow2 *q, uint64_t cluster, uint64_t v)
{
	int err = 0;

	if (v > qcow2_refcount_max(q))
		return ERANGE;
	if (!have_block(q, cluster >> q->rb_bits)) {
		if (!v)
			return 0;
		err = make_block(q, cluster >> q->rb_bits);
	}
	return err ? err : set_existing(q, cluster, v);
}

int qcow2_refcount_drop(struct qcow2 *q, uint64_t cluster)
{
	uint64_t off = cluster << q->cluster_bits, v;
	struct qc_entry *e;
	int err;

	if (!have_block(q, cluster >> q->rb_bits))
		return 0;
	err = get_block(q, cluster, &e);
	if (err)
		return err;
	v = qcow2_refcount_load(q, e->buf, cluster & ((1ull << q->rb_bits) - 1));
	if (!v)
		return 0;
	if (v == 1 && qc_meta_hit(q, off, q->cs))
		return qcow2_mark_corrupt(q, "a table's last reference would go", off);
	set_in_block(q, e, cluster, v - 1);
	if (v > 1)
		return 0;
	qc_cache_drop(&q->l2c, off);
	if (off + q->cs == q->pack_end)
		q->pack_at = q->pack_end = 0;
	if (cluster < q->free_hint && cluster >= q->free_floor)
		q->free_hint = cluster;
	if (q->im->flags & BLOCK_DISCARD_ON)
		hf_punch(q->f, off, q->cs);
	return 0;
}

/* Free clusters in the block @e from @from on: *first and the length of the run. */
static uint64_t free_run(const struct qcow2 *q, const uint8_t *block, uint64_t from,
			 uint64_t want, uint64_t *first)
{
	uint64_t per = 1ull << q->rb_bits, n = 0, i = from;

	while (i < per && qcow2_refcount_load(q, block, i))
		i++;
	*first = i;
	while (i + n < per && n < want && !qcow2_refcount_load(q, block, i + n))
		n++;
	return n;
}

static int find_free(struct qcow2 *q, uint64_t want, uint64_t *cluster, uint64_t *got,
		     struct qc_entry **e)
{
	uint64_t c = MAX(q->free_hint, q->free_floor), mask = (1ull << q->rb_bits) - 1, i;

	for (;;) {
		int err = have_block(q, c >> q->rb_bits) ? 0 : make_block(q, c >> q->rb_bits);

		if (!err)
			err = get_block(q, c, e);
		if (err)
			return err;
		*got = free_run(q, (*e)->buf, c & mask, want, &i);
		*cluster = (c & ~mask) + i;
		if (*got)
			return 0;
		c = (c | mask) + 1;
	}
}

int qcow2_alloc(struct qcow2 *q, uint64_t want, uint64_t *host, uint64_t *got, bool *fresh)
{
	struct qc_entry *e;
	uint64_t c, n, end;
	int err = find_free(q, want, &c, &n, &e);

	if (err)
		return err;
	end = qc_end_cluster(q);
	*fresh = c >= end;
	if (c < end)
		n = MIN(n, end - c);
	*host = c << q->cluster_bits;
	if (c == 0 || qc_meta_hit(q, *host, n << q->cluster_bits))
		return qcow2_mark_corrupt(q, "a free cluster holds a table", *host);
	err = extend_file(q, (c + n) << q->cluster_bits);
	if (err)
		return err;
	for (uint64_t i = 0; i < n; i++)
		set_in_block(q, e, c + i, 1);
	q->free_hint = c + n;
	*got = n;
	return 0;
}

void qcow2_unalloc(struct qcow2 *q, uint64_t host, uint64_t n)
{
	for (uint64_t i = 0; i < n; i++)
		qcow2_refcount_drop(q, (host >> q->cluster_bits) + i);
}

int qcow2_refcount_get(struct qcow2 *q, uint64_t cluster, uint64_t *v)
{
	struct qc_entry *e;
	int err;

	*v = 0;
	if (!have_block(q, cluster >> q->rb_bits))
		return 0;
	err = get_block(q, cluster, &e);
	if (!err)
		*v = qcow2_refcount_load(q, e->buf, cluster & ((1ull << q->rb_bits) - 1));
	return err;
}

int qcow2_refcount_add(struct qcow2 *q, uint64_t cluster)
{
	uint64_t v;
	int err = qcow2_refcount_get(q, cluster, &v);

	return err ? err : v == UINT64_MAX ? ERANGE : qcow2_refcount_set(q, cluster, v + 1);
}

int qcow2_alloc_run(struct qcow2 *q, uint64_t n, uint64_t *host)
{
	uint64_t first, round = 0;
	int err = 0;

	/* Blocks that are missing go to the end of the file themselves: look again. */
	do {
		first = qc_end_cluster(q);
		for (uint64_t r = first >> q->rb_bits;
		     !err && r <= (first + n - 1) >> q->rb_bits; r++)
			if (!have_block(q, r))
				err = make_block(q, r);
	} while (!err && first != qc_end_cluster(q) && ++round < 64);
	if (!err && first != qc_end_cluster(q))
		err = EFBIG;
	if (!err)
		err = extend_file(q, (first + n) << q->cluster_bits);
	for (uint64_t i = 0; !err && i < n; i++)
		err = set_existing(q, first + i, 1);
	*host = first << q->cluster_bits;
	return err;
}
