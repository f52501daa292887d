/* SPDX-License-Identifier: MIT */
/*
 * Before the first write: every reference in the image is counted and
 * compared with the stored refcounts.  Leaks are repaired; counts that are
 * too low are repaired when the dirty bit says that they were written late,
 * else the image is refused.  The allocator relies on this: a cluster with
 * refcount 0 is then really free.
 *
 * `hvrun img check` uses the same pass on an image opened leniently: it tells
 * everything, and with --repair also drops entries that lead nowhere, marks
 * anew what is private, and writes the counts from scratch where their own
 * tables are damaged.
 *
 * An image too large for this (by allocated metadata) is opened without it,
 * and then only space past its end is allocated.
 */
#include "qcow2_int.h"

#include <errno.h>
#include <stdlib.h>

#define MAX_CLUSTERS (8u << 20)		/* two bytes of memory each */
#define MAX_TOOL_CLUSTERS (256u << 20)	/* for hvrun img check */
#define MAX_TABLE_BYTES (64u << 20)	/* L1 and L2 tables read */
#define EXTRA_RANGES 64u		/* refcount blocks past the end of the file looked at */

struct check {
	struct qcow2 *q;
	uint16_t *refs;
	uint64_t n;		/* clusters in the file */
	uint64_t table_bytes;	/* read so far */
	uint64_t beyond;	/* references past the end of the file */
	uint64_t leaks, low, flags;
	uint64_t unmarked;	/* not marked as private that are (tool: among the flags) */
	uint64_t invalid, used;	/* entries; guest clusters with data */
	bool too_big, tool, fix;
	struct image_check *r;	/* tool only */
	uint8_t *buf;		/* one table */
};

static void count(struct check *c, uint64_t off, uint64_t len)
{
	uint64_t i = off >> c->q->cluster_bits, last = (off + len - 1) >> c->q->cluster_bits;

	if (!len)
		return;
	for (; i <= last; i++) {
		if (i >= c->n)
			c->beyond++;
		else if (c->refs[i] < UINT16_MAX)
			c->refs[i]++;
	}
}

static bool beyond_file(const struct check *c, uint64_t off, uint64_t len)
{
	return ((off + len - 1) >> c->q->cluster_bits) >= c->n;
}

/* Guest data in a place that holds a table. */
static bool bad_place(const struct check *c, uint64_t off, uint64_t len)
{
	return beyond_file(c, off, len) || qc_meta_hit(c->q, off, len);
}

/* False: the entry makes no sense (and the tool may drop it). */
static bool count_l2_entry(struct check *c, struct qc_ent ent)
{
	uint64_t v = ent.v, off = v & ENTRY_OFFSET, len;

	c->used += (v & L2_COMPRESSED) || off;

	if (v & L2_COMPRESSED) {
		qcow2_compressed_range(c->q, v, &off, &len);
		if (c->tool && bad_place(c, off, len))
			return false;
		count(c, off, len);
	} else if ((v & L2_RESERVED) || (off & (c->q->cs - 1)) ||
		   ((c->q->version < 3 || c->q->ext_l2) && (v & L2_ZERO)) ||
		   (ent.bm & ent.bm >> 32) || (!off && (ent.bm & SUB_ALL))) {
		return false;
	} else if (off) {
		if (c->tool && bad_place(c, off, c->q->cs))
			return false;
		count(c, off, c->q->cs);
	}
	return true;
}

/* Read the next @len bytes of tables, within the budget. */
static int read_table(struct check *c, uint64_t off, uint32_t len)
{
	c->table_bytes += len;
	c->too_big |= c->table_bytes > MAX_TABLE_BYTES && !c->tool;
	return c->too_big ? E2BIG : hf_pread(c->q->f, c->buf, len, off);
}

static int count_l2(struct check *c, uint64_t off)
{
	bool dirty = false;
	int err;

	count(c, off, c->q->cs);
	if (off >= c->q->file_end)
		return 0;
	err = read_table(c, off, c->q->cs);
	for (uint32_t i = 0; !err && i < c->q->l2_n; i++) {
		struct qc_ent gone = { c->q->version >= 3 && !c->q->ext_l2 ? L2_ZERO : 0, 0 };

		if (count_l2_entry(c, qcow2_load_entry(c->q, c->buf, i)))
			continue;
		c->invalid++;
		if (c->r)
			image_damage(c->r, 1, "an L2 entry at %#llx is invalid",
				     (unsigned long long)off + i * (c->q->ext_l2 ? 16 : 8));
		qcow2_store_entry(c->q, c->buf, i, gone);
		dirty = true;
	}
	return err || !c->fix || !dirty ? err : hf_pwrite(c->q->f, c->buf, c->q->cs, off);
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
		c->too_big |= c->table_bytes > MAX_TABLE_BYTES && !c->tool;
		err = c->too_big ? E2BIG : hf_pread(c->q->f, raw, n * 8, s->l1_off + at * 8ull);
		for (uint32_t i = 0; i < n && !err; i++) {
			uint64_t v = ld_be64(raw + i * 8), off = v & ENTRY_OFFSET;

			c->invalid += (v & L1_RESERVED) || (off & (c->q->cs - 1));
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

/* A mark ("only mine") that is there with another number of references, or missing with one. */
static bool wrong_mark(const struct check *c, uint64_t v)
{
	uint64_t i = (v & ENTRY_OFFSET) >> c->q->cluster_bits;

	if ((v & L2_COMPRESSED) || !i || i >= c->n)
		return false;
	return !!(v & ENTRY_COPIED) != (c->refs[i] == 1);
}

/* A missing one costs a copy and nothing else, but other programs mind. */
static void count_mark(struct check *c, uint64_t v)
{
	bool wrong = wrong_mark(c, v);

	c->flags += wrong && (c->tool || (v & ENTRY_COPIED));
	c->unmarked += wrong && !(v & ENTRY_COPIED);
}

static int check_flags(struct check *c)
{
	struct qcow2 *q = c->q;
	int err = 0;

	for (uint32_t i = 0; i < q->l1_n && !err; i++) {
		uint64_t off = q->l1[i] & ENTRY_OFFSET;

		count_mark(c, q->l1[i]);
		if (off)
			err = hf_pread(q->f, c->buf, q->cs, off);
		for (uint32_t k = 0; off && !err && k < q->l2_n; k++)
			count_mark(c, qcow2_load_entry(q, c->buf, k).v);
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

static uint64_t with_right_mark(const struct check *c, uint64_t v, bool *changed)
{
	if (!wrong_mark(c, v))
		return v;
	*changed = true;
	return v ^ ENTRY_COPIED;
}

static int fix_flags(struct check *c)
{
	struct qcow2 *q = c->q;
	int err = 0;

	for (uint32_t i = 0; i < q->l1_n && !err; i++) {
		uint64_t off = q->l1[i] & ENTRY_OFFSET;
		bool changed = false;

		q->l1[i] = with_right_mark(c, q->l1[i], &changed);
		if (changed) {
			q->l1_dirty[i / 64 / 64] |= 1ull << (i / 64 % 64);
			q->l1_any_dirty = true;
		}
		changed = false;
		if (off)
			err = hf_pread(q->f, c->buf, q->cs, off);
		for (uint32_t k = 0; off && !err && k < q->l2_n; k++) {
			struct qc_ent v = qcow2_load_entry(q, c->buf, k);

			v.v = with_right_mark(c, v.v, &changed);
			qcow2_store_entry(q, c->buf, k, v);
		}
		if (off && !err && changed)
			err = hf_pwrite(q->f, c->buf, q->cs, off);
	}
	return err;
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
	/* What an interrupted snapshot took away; only where counts say the same by now. */
	if (!err && c->unmarked && (high || !leaks)) {
		err = fix_flags(c);
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

static bool check_begin(struct check *c, struct err *e)
{
	c->refs = calloc(c->n + 1, sizeof(*c->refs));
	c->buf = malloc(c->q->cs);
	return (c->refs && c->buf) || err_set(e, HV_EXIT_HOST, "%s: out of memory", c->q->im->path);
}

bool qcow2_check(struct qcow2 *q, struct err *e)
{
	struct check c = { .q = q, .n = qc_end_cluster(q) };
	bool ok;

	if (c.n > MAX_CLUSTERS)
		return too_big(q, e);
	ok = check_begin(&c, e) && run_check(&c, e);
	free(c.refs);
	free(c.buf);
	return ok;
}

/* ---- hvrun img check ------------------------------------------------------- */

static int survey(struct check *c)
{
	int err;

	memset(c->refs, 0, c->n * sizeof(*c->refs));
	c->invalid = c->flags = c->beyond = c->used = 0;
	err = count_all(c);
	if (!err)
		err = check_flags(c);
	return err ? err : compare(c, false, false);
}

static void tell(const struct check *c, struct image_check *r)
{
	r->leaks = c->leaks;
	image_damage(r, c->q->damaged, "%llu entries of the tables in memory are invalid",
		     (unsigned long long)c->q->damaged);
	image_damage(r, c->beyond, "%llu clusters past the end of the file",
		     (unsigned long long)c->beyond);
	image_damage(r, c->low, "%llu clusters in use have too low a reference count",
		     (unsigned long long)c->low);
	image_damage(r, c->flags, "%llu clusters are marked wrongly as private or shared",
		     (unsigned long long)c->flags);
	r->allocated = c->used;
	r->total = qc_clusters(c->q, c->q->im->size);
}

/* Counts that cannot be trusted are written anew, past the end of the file. */
static void forget_counts(struct qcow2 *q)
{
	if (q->rt_n)	/* else it was in no place of its own */
		qc_meta_del_range(q, q->rt_off);
	for (uint64_t i = 0; i < q->rt_n; i++)
		if (q->rt[i])
			qc_meta_del(q, q->rt[i]);
	q->rt_n = 0;
	q->rt_clusters = 0;
	q->rt_off = 0;
}

static int mend(struct check *c)
{
	struct qcow2 *q = c->q;
	uint64_t n = c->n;
	int err = 0;

	if (q->version >= 3)
		err = qcow2_set_feature(q, INCOMPAT_DIRTY, 0);
	if (q->rt_damaged)
		forget_counts(q);
	c->fix = true;
	if (!err)
		err = survey(c);	/* drops the invalid entries */
	if (!err)
		err = fix_flags(c);
	if (!err)
		err = compare(c, true, false);
	if (!err && qc_end_cluster(q) == n && !q->foreign_ext)
		err = compare(c, false, true);
	if (!err)
		err = qcow2_flush_meta(q, true);
	if (!err && q->version >= 3)
		err = qcow2_set_feature(q, 0, INCOMPAT_DIRTY | INCOMPAT_CORRUPT);
	return err ? err : hf_sync(q->f);
}

/* After mending: a fresh look, at the file as it is now. */
static int second_look(struct check *c, struct image_check *r)
{
	struct check again = { .q = c->q, .n = qc_end_cluster(c->q), .tool = true };
	int err = 0;

	again.refs = calloc(again.n + 1, sizeof(*again.refs));
	again.buf = malloc(c->q->cs);
	if (!again.refs || !again.buf)
		err = ENOMEM;
	if (!err)
		err = survey(&again);
	if (!err) {
		r->leaks_fixed = r->leaks - MIN(r->leaks, again.leaks);
		r->errors_fixed = r->errors -
			MIN(r->errors, again.invalid + again.beyond + again.low + again.flags);
	}
	/* New count tables change what was free: leaks that are left go now. */
	if (!err && again.leaks && !again.low && !c->q->foreign_ext) {
		err = compare(&again, false, true);
		if (!err)
			err = qcow2_flush_meta(c->q, true);
		if (!err)
			r->leaks_fixed = r->leaks;
	}
	free(again.refs);
	free(again.buf);
	return err;
}

bool qcow2_tool_check(struct image *im, struct image_check *r, struct err *e)
{
	struct qcow2 *q = im->priv;
	struct check c = { .q = q, .n = qc_end_cluster(q), .tool = true, .r = r };
	int err = 0;
	bool ok = c.n <= MAX_TOOL_CLUSTERS ? check_begin(&c, e) :
		err_set(e, HV_EXIT_IMAGE, "%s: too large to be checked", im->path);

	if (ok)
		err = survey(&c);
	if (ok && !err) {
		tell(&c, r);
		c.r = NULL;
		if (r->repair && (r->leaks || r->errors ||
				  (q->incompat & (INCOMPAT_DIRTY | INCOMPAT_CORRUPT)))) {
			err = mend(&c);
			if (!err)
				err = second_look(&c, r);
		}
	}
	free(c.refs);
	free(c.buf);
	if (err)
		err_errno(e, HV_EXIT_IMAGE, err, "%s: cannot check the image", im->path);
	return ok && !err;
}
