/* SPDX-License-Identifier: MIT */
/*
 * Before the first write: every reference in the image is counted and
 * compared with the stored refcounts.  Leaks are repaired; counts that are
 * too low are repaired when the dirty bit says that they were written late,
 * else the image is refused.  The allocator relies on this: a cluster with
 * refcount 0 is then really free.
 *
 * An image too large for this (by allocated metadata) is opened without it,
 * and then only space past its end is allocated.
 */
#include "qcow2_int.h"

#include <errno.h>
#include <stdlib.h>

#define MAX_CLUSTERS (8u << 20)		/* two bytes of memory each */
#define MAX_TABLE_BYTES (64u << 20)	/* L1 and L2 tables read */
#define EXTRA_RANGES 64u		/* refcount blocks past the end of the file looked at */

struct check {
	struct qcow2 *q;
	uint16_t *refs;
	uint64_t n;		/* clusters in the file */
	uint64_t table_bytes;	/* read so far */
	uint64_t beyond;	/* references past the end of the file */
	uint64_t leaks, low, flags;
	bool too_big, invalid;
	uint8_t *buf;		/* one table */
};

static void count(struct check *c, uint64_t off, uint64_t len)
{
	uint64_t i = off >> c->q->cluster_bits, last = (off + len - 1) >> c->q->cluster_bits;

	for (; i <= last; i++) {
		if (i >= c->n)
			c->beyond++;
		else if (c->refs[i] < UINT16_MAX)
			c->refs[i]++;
	}
}

static void count_l2_entry(struct check *c, struct qc_ent ent)
{
	uint64_t v = ent.v, off = v & ENTRY_OFFSET, len;

	if (v & L2_COMPRESSED) {
		qcow2_compressed_range(c->q, v, &off, &len);
		count(c, off, len);
	} else if ((v & L2_RESERVED) || (off & (c->q->cs - 1)) ||
		   ((c->q->version < 3 || c->q->ext_l2) && (v & L2_ZERO)) ||
		   (ent.bm & ent.bm >> 32) || (!off && (ent.bm & SUB_ALL))) {
		c->invalid = true;
	} else if (off) {
		count(c, off, c->q->cs);
	}
}

/* Read the next @len bytes of tables, within the budget. */
static int read_table(struct check *c, uint64_t off, uint32_t len)
{
	c->table_bytes += len;
	c->too_big |= c->table_bytes > MAX_TABLE_BYTES;
	return c->too_big ? E2BIG : hf_pread(c->q->f, c->buf, len, off);
}

static int count_l2(struct check *c, uint64_t off)
{
	int err;

	count(c, off, c->q->cs);
	if (off >= c->q->file_end)
		return 0;
	err = read_table(c, off, c->q->cs);
	for (uint32_t i = 0; !err && i < c->q->l2_n; i++)
		count_l2_entry(c, qcow2_load_entry(c->q, c->buf, i));
	return err;
}

static int count_active(struct check *c)
{
	struct qcow2 *q = c->q;
	int err = 0;

	count(c, q->l1_off, (uint64_t)q->l1_n * 8);
	for (uint32_t i = 0; i < q->l1_n && !err; i++)
		if (q->l1[i] & ENTRY_OFFSET)
			err = count_l2(c, q->l1[i] & ENTRY_OFFSET);
	return err;
}

static int count_snapshot(struct check *c, const struct qc_snapshot *s)
{
	uint8_t raw[512];
	int err = 0;

	if (!s->l1_n)
		return 0;
	count(c, s->l1_off, (uint64_t)s->l1_n * 8);
	for (uint32_t at = 0; at < s->l1_n && !err; at += 64) {
		uint32_t n = MIN(64u, s->l1_n - at);

		c->table_bytes += n * 8;
		c->too_big |= c->table_bytes > MAX_TABLE_BYTES;
		err = c->too_big ? E2BIG : hf_pread(c->q->f, raw, n * 8, s->l1_off + at * 8ull);
		for (uint32_t i = 0; i < n && !err; i++) {
			uint64_t v = ld_be64(raw + i * 8), off = v & ENTRY_OFFSET;

			c->invalid |= (v & L1_RESERVED) || (off & (c->q->cs - 1));
			if (off && !c->invalid)
				err = count_l2(c, off);
		}
	}
	return err;
}

static int count_all(struct check *c)
{
	struct qcow2 *q = c->q;
	int err;

	count(c, 0, 1);
	count(c, q->rt_off, q->rt_n * 8);
	for (uint64_t i = 0; i < q->rt_n; i++)
		if (q->rt[i])
			count(c, q->rt[i], q->cs);
	if (q->snap_len)
		count(c, q->snap_off, q->snap_len);
	err = count_active(c);
	for (uint32_t i = 0; i < q->nsnapshots && !err; i++)
		err = count_snapshot(c, &q->snap[i]);
	return err;
}

/* A flag that says "only mine" on something with another number of references. */
static bool false_copied(const struct check *c, uint64_t v)
{
	uint64_t i = (v & ENTRY_OFFSET) >> c->q->cluster_bits;

	return (v & ENTRY_COPIED) && !(v & L2_COMPRESSED) && i && i < c->n && c->refs[i] != 1;
}

static int check_flags(struct check *c)
{
	struct qcow2 *q = c->q;
	int err = 0;

	for (uint32_t i = 0; i < q->l1_n && !err; i++) {
		uint64_t off = q->l1[i] & ENTRY_OFFSET;

		c->flags += false_copied(c, q->l1[i]);
		if (off)
			err = hf_pread(q->f, c->buf, q->cs, off);
		for (uint32_t k = 0; off && !err && k < q->l2_n; k++)
			c->flags += false_copied(c, qcow2_load_entry(q, c->buf, k).v);
	}
	return err;
}

/* Compare the block of one range, or (no block) find what it should have counted. */
static int compare_range(struct check *c, uint64_t range, bool fix_low, bool fix_high)
{
	struct qcow2 *q = c->q;
	uint64_t per = 1ull << q->rb_bits, first = range << q->rb_bits;
	bool have = range < q->rt_n && q->rt[range];
	int err = have ? hf_pread(q->f, c->buf, q->cs, q->rt[range]) : 0;

	for (uint64_t i = 0; i < per && !err; i++) {
		uint64_t want = first + i < c->n ? c->refs[first + i] : 0;
		uint64_t is = have ? qcow2_refcount_load(q, c->buf, i) : 0;

		if (!have && first + i >= c->n)
			break;
		is = MIN(is, UINT16_MAX);
		c->low += is < want;
		c->leaks += is > want;
		if ((is < want && fix_low) || (is > want && fix_high))
			err = qcow2_refcount_set(q, first + i, want);
	}
	return err;
}

static int compare(struct check *c, bool fix_low, bool fix_high)
{
	uint64_t ranges = ((c->n - 1) >> c->q->rb_bits) + 1 + EXTRA_RANGES;
	int err = 0;

	c->low = c->leaks = 0;
	for (uint64_t r = 0; r < ranges && !err; r++)
		if ((r < c->q->rt_n && c->q->rt[r]) || r << c->q->rb_bits < c->n)
			err = compare_range(c, r, fix_low, fix_high);
	return err;
}

static bool verdict(struct check *c, struct err *e)
{
	struct qcow2 *q = c->q;
	bool dirty = q->incompat & INCOMPAT_DIRTY;

	if (c->beyond)
		return err_set(e, HV_EXIT_IMAGE, "%s: truncated: %llu clusters lie past the end of "
			       "the file (%llu bytes); copy or download it again, or attach it "
			       "read-only to save what is there", q->im->path,
			       (unsigned long long)c->beyond, (unsigned long long)q->file_end);
	if (c->invalid)
		return qcow2_bad(q, e, "an L2 table holds invalid entries");
	if (c->flags)
		return qcow2_bad(q, e, "%llu shared clusters are marked as private",
				 (unsigned long long)c->flags);
	if (c->low && !dirty)
		return qcow2_bad(q, e, "%llu clusters in use have too low a reference count",
				 (unsigned long long)c->low);
	return true;
}

static bool repair(struct check *c, struct err *e)
{
	struct qcow2 *q = c->q;
	uint64_t leaks = c->leaks, low = c->low;
	/* Somebody else's extension may own what looks leaked. */
	bool high = leaks && !q->foreign_ext;
	int err = 0;

	/* Blocks that the first pass adds are unknown to c->refs: then leaks wait. */
	if (low || high) {
		err = compare(c, low, false);
		high = high && qc_end_cluster(q) == c->n;
		if (!err && high)
			err = compare(c, false, true);
		if (!err)
			err = qcow2_flush_meta(q, true);
	}
	if (err)
		return err_errno(e, HV_EXIT_IMAGE, err, "%s: cannot repair the reference counts",
				 q->im->path);
	if (low)
		log_info("%s: was not closed cleanly: %llu reference counts repaired", q->im->path,
			 (unsigned long long)low);
	if (high)
		log_info("%s: %llu leaked clusters given back", q->im->path,
			 (unsigned long long)leaks);
	return true;
}

static bool too_big(struct qcow2 *q, struct err *e)
{
	q->free_floor = qc_end_cluster(q);
	if (q->incompat & INCOMPAT_DIRTY)
		return err_set(e, HV_EXIT_IMAGE,
			       "%s: was not closed cleanly and is too large to be "
			       "repaired here; repair it: qemu-img check -r all '%s'",
			       q->im->path, q->im->path);
	return true;
}

static bool run_check(struct check *c, struct err *e)
{
	struct qcow2 *q = c->q;
	int err = count_all(c);

	if (c->too_big)
		return too_big(q, e);
	if (!err && !c->invalid && !c->beyond)
		err = check_flags(c);
	if (!err)
		err = compare(c, false, false);
	if (err)
		return err_errno(e, HV_EXIT_IMAGE, err, "%s: cannot read the image", q->im->path);
	return verdict(c, e) && repair(c, e);
}

bool qcow2_check(struct qcow2 *q, struct err *e)
{
	struct check c = { .q = q, .n = qc_end_cluster(q) };
	bool ok;

	if (c.n > MAX_CLUSTERS)
		return too_big(q, e);
	c.refs = calloc(c.n, sizeof(*c.refs));
	c.buf = malloc(q->cs);
	if (!c.refs || !c.buf)
		ok = err_set(e, HV_EXIT_HOST, "%s: out of memory", q->im->path);
	else
		ok = run_check(&c, e);
	free(c.refs);
	free(c.buf);
	return ok;
}
