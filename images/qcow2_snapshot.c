/* SPDX-License-Identifier: MIT */
/*
 * Internal snapshots: take, apply, delete, list.
 *
 * A snapshot is a copy of the L1 table; every cluster it leads to gets one
 * more reference, and nothing reachable from it is marked as private.  Marks
 * go before counts rise and come back after counts fell, so that a crash
 * leaves counts that are too high (leaks).  Version 3 images carry the dirty
 * bit meanwhile.
 */
#include "qcow2_int.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#define FIXED 40u
#define EXTRA 24u

static const char *snap_id(const struct qc_snapshot *s, size_t *n)
{
	*n = ld_be16(s->raw + 12);
	return (const char *)s->raw + FIXED + ld_be32(s->raw + 36);
}

static const char *snap_name(const struct qc_snapshot *s, size_t *n)
{
	size_t idn;
	const char *id = snap_id(s, &idn);

	*n = ld_be16(s->raw + 14);
	return id + idn;
}

static bool same(const char *text, size_t n, const char *want)
{
	return n == strlen(want) && !memcmp(text, want, n);
}

static struct qc_snapshot *find(struct qcow2 *q, const char *name)
{
	for (int pass = 0; pass < 2; pass++)	/* names count before numbers */
		for (uint32_t i = 0; i < q->nsnapshots; i++) {
			size_t n;
			const char *t = pass ? snap_id(&q->snap[i], &n) :
				snap_name(&q->snap[i], &n);

			if (same(t, n, name))
				return &q->snap[i];
		}
	return NULL;
}

static uint64_t snap_size(const struct qcow2 *q, const struct qc_snapshot *s)
{
	return ld_be32(s->raw + 36) >= 16 ? ld_be64(s->raw + FIXED + 8) : q->disk_size;
}

bool qcow2_snapshot_list(struct image *im, unsigned i, struct image_snap *out)
{
	struct qcow2 *q = im->priv;
	const struct qc_snapshot *s;
	const char *t;
	size_t n;

	if (i >= q->nsnapshots || !q->snap)
		return false;
	s = &q->snap[i];
	t = snap_id(s, &n);
	snprintf(out->id, sizeof(out->id), "%.*s", (int)n, t);
	t = snap_name(s, &n);
	snprintf(out->name, sizeof(out->name), "%.*s", (int)n, t);
	out->sec = ld_be32(s->raw + 16);
	out->vm_ns = ld_be64(s->raw + 24);
	out->vm_bytes = ld_be32(s->raw + 36) >= 8 ? ld_be64(s->raw + FIXED) :
		ld_be32(s->raw + 32);
	out->disk_size = snap_size(q, s);
	return true;
}

/* ---- the table ---------------------------------------------------------- */

static int write_header_fields(struct qcow2 *q, uint32_t n, uint64_t off)
{
	uint8_t raw[12];
	int err;

	st_be32(raw, n);
	st_be64(raw + 4, off);
	err = hf_pwrite(q->f, raw, sizeof(raw), 60);
	return err ? err : hf_sync(q->f);
}

/* A table of all entries but @skip, plus @extra; then the old one is free. */
static int rewrite_table(struct qcow2 *q, const struct qc_snapshot *skip,
			 const struct qc_snapshot *extra)
{
	uint64_t old = q->snap_off, old_len = q->snap_len, host = 0, len = 0;
	uint32_t n = 0;
	uint8_t *raw;
	int err = 0;

	for (uint32_t i = 0; i < q->nsnapshots; i++)
		len += &q->snap[i] == skip ? 0 : q->snap[i].raw_len;
	len += extra ? extra->raw_len : 0;
	raw = calloc(1, len + 1);
	if (!raw)
		return ENOMEM;
	len = 0;
	for (uint32_t i = 0; i <= q->nsnapshots; i++) {
		const struct qc_snapshot *s = i < q->nsnapshots ? &q->snap[i] : extra;

		if (!s || s == skip)
			continue;
		memcpy(raw + len, s->raw, s->raw_len);
		len += s->raw_len;
		n++;
	}
	if (len)
		err = qcow2_alloc_run(q, qc_clusters(q, len), &host);
	if (!err)
		err = hf_pwrite(q->f, raw, len, host);
	free(raw);
	if (!err)
		err = qc_cache_write(q, &q->rbc);
	if (!err)
		err = hf_sync(q->f);
	if (!err && len && !qc_meta_add_range(q, host, len))
		err = ENOMEM;
	if (!err)
		err = write_header_fields(q, n, host);
	if (err)
		return err;
	q->snap_off = host;
	q->snap_len = len;
	if (old_len) {
		qc_meta_del_range(q, old);
		for (uint64_t i = 0; i < qc_clusters(q, old_len); i++)
			qcow2_refcount_drop(q, (old >> q->cluster_bits) + i);
	}
	return 0;
}

/* ---- marks --------------------------------------------------------------- */

/* Set or clear "private" in one table by @want(); *changed tells. */
static int mark_l2(struct qcow2 *q, uint64_t table, bool restore, bool *changed)
{
	uint8_t *copy = malloc(q->cs);
	struct qc_entry *e;
	int err = copy ? qc_cache_get(q, &q->l2c, table, &e) : ENOMEM;

	*changed = false;
	if (!err)
		memcpy(copy, e->buf, q->cs);
	for (uint32_t i = 0; i < q->l2_n && !err; i++) {
		struct qc_ent v = qcow2_load_entry(q, copy, i), was = v;
		uint64_t refs = 0;

		if ((v.v & L2_COMPRESSED) || !(v.v & ENTRY_OFFSET))
			continue;
		if (restore)
			err = qcow2_refcount_get(q, (v.v & ENTRY_OFFSET) >> q->cluster_bits, &refs);
		v.v = refs == 1 ? v.v | ENTRY_COPIED : v.v & ~ENTRY_COPIED;
		*changed |= v.v != was.v;
		qcow2_store_entry(q, copy, i, v);
	}
	if (!err && *changed)
		err = qc_cache_get(q, &q->l2c, table, &e);
	if (!err && *changed) {
		memcpy(e->buf, copy, q->cs);
		qc_cache_mark(&q->l2c, e, 0, q->cs);
	}
	free(copy);
	return err;
}

/* @own: the active L1 table, whose entries carry marks themselves. */
static int mark_all(struct qcow2 *q, uint64_t *l1, uint32_t n, bool restore, bool own)
{
	int err = 0;

	for (uint32_t i = 0; i < n && !err; i++) {
		uint64_t off = l1[i] & ENTRY_OFFSET, refs = 0, was = l1[i];
		bool changed;

		if (!off)
			continue;
		err = mark_l2(q, off, restore, &changed);
		if (!err && restore)
			err = qcow2_refcount_get(q, off >> q->cluster_bits, &refs);
		l1[i] = refs == 1 ? l1[i] | ENTRY_COPIED : l1[i] & ~ENTRY_COPIED;
		if (own && was != l1[i]) {
			q->l1_dirty[i / 64 / 64] |= 1ull << (i / 64 % 64);
			q->l1_any_dirty = true;
		}
		if (!err)
			err = qcow2_throttle(q);
	}
	return err ? err : qcow2_flush_meta(q, true);
}

static int one_more_fits(struct qcow2 *q, uint64_t cluster)
{
	uint64_t v;
	int err = qcow2_refcount_get(q, cluster, &v);

	return err ? err : v >= qcow2_refcount_max(q) - 1 ? ERANGE : 0;
}

static int raise(struct qcow2 *q, uint64_t cluster)
{
	int err = qcow2_refcount_add(q, cluster);

	q->walked += !err;
	return err;
}

static int lower(struct qcow2 *q, uint64_t cluster)
{
	if (!q->walked)
		return 0;
	q->walked--;
	return qcow2_refcount_drop(q, cluster);
}

/* One more reference for all that @l1 leads to, or for nothing. */
static int raise_all(struct qcow2 *q, const uint64_t *l1, uint32_t n)
{
	int err;

	q->walked = 0;
	err = qcow2_walk(q, l1, n, raise);
	if (err)
		qcow2_walk(q, l1, n, lower);
	return err;
}

static int begin(struct qcow2 *q)
{
	int err = qcow2_flush_meta(q, true);

	q->pack_at = q->pack_end = 0;
	if (!err && q->version >= 3)
		err = qcow2_set_feature(q, INCOMPAT_DIRTY, 0);
	return err ? err : hf_sync(q->f);
}

static int end(struct qcow2 *q, int err)
{
	for (int i = 0; i < 2 && !err; i++)
		err = qcow2_flush_meta(q, true);
	if (!err && q->version >= 3)
		err = qcow2_set_feature(q, 0, INCOMPAT_DIRTY);
	return err ? err : hf_sync(q->f);
}

/* ---- the three operations ------------------------------------------------- */

/* A new entry in words of the specification; its L1 copy is at @l1_off. */
static bool make_entry(struct qcow2 *q, const char *name, uint64_t l1_off, struct qc_snapshot *s)
{
	uint64_t id = 0;
	struct timespec now;
	char idtext[24];
	uint32_t len;

	for (uint32_t i = 0; i < q->nsnapshots; i++) {
		size_t n;
		uint64_t v = strtoull(snap_id(&q->snap[i], &n), NULL, 10);

		id = MAX(id, n < 20 ? v : 0);
	}
	snprintf(idtext, sizeof(idtext), "%llu", (unsigned long long)id + 1);
	len = FIXED + EXTRA + (uint32_t)strlen(idtext) + (uint32_t)strlen(name);
	s->raw_len = (len + 7) & ~7u;
	s->raw = calloc(1, s->raw_len + 1);
	if (!s->raw)
		return false;
	s->l1_off = l1_off;
	s->l1_n = q->l1_n;
	clock_gettime(CLOCK_REALTIME, &now);
	st_be64(s->raw, l1_off);
	st_be32(s->raw + 8, q->l1_n);
	st_be16(s->raw + 12, (uint16_t)strlen(idtext));
	st_be16(s->raw + 14, (uint16_t)strlen(name));
	st_be32(s->raw + 16, (uint32_t)now.tv_sec);
	st_be32(s->raw + 20, (uint32_t)now.tv_nsec);
	st_be32(s->raw + 36, EXTRA);
	st_be64(s->raw + FIXED + 8, q->disk_size);
	st_be64(s->raw + FIXED + 16, UINT64_MAX);	/* no instruction count */
	memcpy(s->raw + FIXED + EXTRA, idtext, strlen(idtext));
	memcpy(s->raw + FIXED + EXTRA + strlen(idtext), name, strlen(name));
	return true;
}

static int store_l1_copy(struct qcow2 *q, uint64_t *host)
{
	uint8_t *raw = calloc(q->l1_n + 1, 8);
	int err =
		raw ? qcow2_alloc_run(q, MAX(qc_clusters(q, q->l1_n * 8ull), 1ull), host) : ENOMEM;

	for (uint32_t i = 0; !err && i < q->l1_n; i++)
		st_be64(raw + i * 8, q->l1[i] & ~ENTRY_COPIED);
	if (!err)
		err = hf_pwrite(q->f, raw, q->l1_n * 8ull, *host);
	free(raw);
	if (!err && !qc_meta_add_range(q, *host, q->l1_n * 8ull))
		err = ENOMEM;
	return err;
}

static int take(struct qcow2 *q, const char *name)
{
	struct qc_snapshot s = { 0 }, *all;
	uint64_t host;
	int err = qcow2_walk(q, q->l1, q->l1_n, one_more_fits);

	if (!err)
		err = begin(q);
	if (!err)
		err = mark_all(q, q->l1, q->l1_n, false, true);
	if (!err) {
		err = raise_all(q, q->l1, q->l1_n);
		if (err) {
			mark_all(q, q->l1, q->l1_n, true, true);
			end(q, 0);
		}
	}
	if (!err)
		err = store_l1_copy(q, &host);
	if (!err && !make_entry(q, name, host, &s))
		err = ENOMEM;
	if (!err)
		err = rewrite_table(q, NULL, &s);
	all = err ? NULL : realloc(q->snap, (q->nsnapshots + 2) * sizeof(*all));
	if (!err && !all)
		err = ENOMEM;
	if (err) {
		free(s.raw);
		return err;
	}
	q->snap = all;
	q->snap[q->nsnapshots++] = s;
	return end(q, 0);
}

static int load_l1(struct qcow2 *q, const struct qc_snapshot *s, uint32_t n, uint64_t **out)
{
	uint64_t *l1 = calloc(MAX(n, s->l1_n) + 1, 8);
	int err = l1 ? hf_pread(q->f, l1, s->l1_n * 8ull, s->l1_off) : ENOMEM;

	for (uint32_t i = 0; !err && i < s->l1_n; i++) {
		l1[i] = ld_be64(&l1[i]);
		if ((l1[i] & L1_RESERVED) || (l1[i] & ENTRY_OFFSET & (q->cs - 1)) ||
		    (l1[i] & ENTRY_OFFSET) >= q->file_end)
			err = EIO;
	}
	if (err)
		free(l1);
	else
		*out = l1;
	return err;
}

/* The L2 tables of the active L1 come into or leave the set that data must not touch. */
static int guard_tables(struct qcow2 *q, const uint64_t *l1, uint32_t n, bool in)
{
	for (uint32_t i = 0; i < n; i++) {
		uint64_t off = l1[i] & ENTRY_OFFSET;

		if (off && in && !qc_meta_add(q, off))
			return ENOMEM;
		if (off && !in)
			qc_meta_del(q, off);
	}
	return 0;
}

static int apply(struct qcow2 *q, const struct qc_snapshot *s)
{
	uint64_t size = snap_size(q, s), span = (uint64_t)q->l2_n << q->cluster_bits, *l1, *old;
	uint32_t n = (uint32_t)MAX((size + span - 1) / span, (uint64_t)s->l1_n), old_n = q->l1_n;
	int err = size > IMAGE_MAX_SIZE || (size + span - 1) / span > QC_MAX_L1 / 8 ? EFBIG :
		load_l1(q, s, n, &l1);

	if (err)
		return err;
	old = calloc(old_n + 1, 8);
	err = old ? qcow2_walk(q, l1, n, one_more_fits) : ENOMEM;
	if (!err)
		err = begin(q);
	if (!err)
		err = mark_all(q, l1, n, false, false);
	if (!err) {
		err = raise_all(q, l1, n);
		if (err) {
			mark_all(q, q->l1, q->l1_n, true, true);
			end(q, 0);
		}
	}
	if (!err) {
		memcpy(old, q->l1, old_n * 8ull);
		err = qcow2_switch_l1(q, l1, n, size);
	}
	if (err) {
		free(l1);
		free(old);
		return err;
	}
	err = guard_tables(q, old, old_n, false);
	if (!err)
		err = guard_tables(q, q->l1, q->l1_n, true);
	if (!err)
		err = qcow2_walk(q, old, old_n, qcow2_refcount_drop);
	free(old);
	return end(q, err);
}

static int delete(struct qcow2 *q, struct qc_snapshot *s)
{
	uint64_t *l1;
	int err = load_l1(q, s, 0, &l1);

	if (err)
		return err;
	err = begin(q);
	if (!err)
		err = rewrite_table(q, s, NULL);
	if (!err) {
		qc_meta_del_range(q, s->l1_off);
		err = qcow2_walk(q, l1, s->l1_n, qcow2_refcount_drop);
	}
	for (uint64_t i = 0; !err && i < MAX(qc_clusters(q, s->l1_n * 8ull), 1ull); i++)
		err = qcow2_refcount_drop(q, (s->l1_off >> q->cluster_bits) + i);
	free(l1);
	if (err)
		return err;
	free(s->raw);
	memmove(s, s + 1, (size_t)(&q->snap[q->nsnapshots] - (s + 1)) * sizeof(*s));
	q->nsnapshots--;
	return end(q, mark_all(q, q->l1, q->l1_n, true, true));
}

static int view(struct qcow2 *q, const struct qc_snapshot *s)
{
	uint64_t size = snap_size(q, s), span = (uint64_t)q->l2_n << q->cluster_bits, *l1;
	uint64_t n = MAX((size + span - 1) / span, (uint64_t)s->l1_n);
	int err = n > QC_MAX_L1 / 8 || !q->readonly ? EINVAL : load_l1(q, s, (uint32_t)n, &l1);

	if (err)
		return err;
	free(q->l1);
	q->l1 = l1;
	q->l1_n = (uint32_t)n;
	q->im->size = size & ~(uint64_t)(BLOCK_SECTOR - 1);
	return 0;
}

static bool why(struct image *im, const char *what, const char *name, int err, struct err *e)
{
	if (!err)
		return true;
	if (err == ERANGE)
		return err_set(e, HV_EXIT_IMAGE, "%s: its reference counts are too narrow for one "
			       "more snapshot; convert it with refcount_bits=16", im->path);
	return err_errno(e, HV_EXIT_HOST, err, "%s: cannot %s snapshot '%.64s'", im->path, what,
			 name);
}

bool qcow2_snapshot(struct image *im, enum image_snap_op op, const char *name, struct err *e)
{
	struct qcow2 *q = im->priv;
	struct qc_snapshot *s = find(q, name);

	if (op == SNAP_CREATE) {
		if (s)
			return err_set(e, HV_EXIT_GENERIC, "%s: has a snapshot '%.64s' already; "
				       "take another name", im->path, name);
		if (!*name || strlen(name) > 255)
			return err_set(e, HV_EXIT_USAGE, "a snapshot's name has 1 to 255 bytes");
		if (q->nsnapshots >= QC_MAX_SNAPSHOTS)
			return err_set(e, HV_EXIT_IMAGE, "%s: too many snapshots", im->path);
		return why(im, "take", name, take(q, name), e);
	}
	if (!s)
		return err_set(e, HV_EXIT_GENERIC, "%s: has no snapshot '%.64s'; hvrun img "
			       "snapshot list shows them", im->path, name);
	if (op == SNAP_VIEW)
		return why(im, "read", name, view(q, s), e);
	if (op == SNAP_APPLY)
		return why(im, "apply", name, apply(q, s), e);
	return why(im, "delete", name, delete(q, s), e);
}
