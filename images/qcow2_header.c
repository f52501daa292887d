/* SPDX-License-Identifier: MIT */
/*
 * The qcow2 header, its extensions and feature bits, and the tables that
 * stay in memory (L1, refcount table, snapshot positions).  Everything is
 * refused that is not understood completely.
 */
#include "qcow2_int.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#define HEAD_MAX (64u * 1024)
#define QC_MAX_SNAP_BYTES (16u << 20)	/* names and extra data in memory */
#define V2_LEN 72u
#define V3_LEN 104u

enum { EXT_END = 0, EXT_BACKING_FMT = 0xe2792aca, EXT_FEATURES = 0x6803f857,
       EXT_BITMAPS = 0x23852875, EXT_CRYPTO = 0x0537be77, EXT_DATA_FILE = 0x44415441 };

bool qcow2_bad(const struct qcow2 *q, struct err *e, const char *fmt, ...)
{
	char what[256];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(what, sizeof(what), fmt, ap);
	va_end(ap);
	return err_set(e, HV_EXIT_IMAGE, "%s: damaged qcow2 image: %s; look at it with: "
		       "qemu-img check '%s'", q->im->path, what, q->im->path);
}

static bool unsupported(const struct qcow2 *q, struct err *e, const char *what)
{
	return err_set(e, HV_EXIT_IMAGE, "%s: this qcow2 image uses %s, which hvrun does not "
		       "support; convert it: qemu-img convert -O qcow2 '%s' NEW.qcow2",
		       q->im->path, what, q->im->path);
}

int qcow2_set_feature(struct qcow2 *q, uint64_t set, uint64_t clear)
{
	uint8_t raw[8];

	q->incompat = (q->incompat | set) & ~clear;
	st_be64(raw, q->incompat);
	return hf_pwrite(q->f, raw, sizeof(raw), HDR_INCOMPAT);
}

int qcow2_mark_corrupt(struct qcow2 *q, const char *what, uint64_t off)
{
	if (q->readonly || atomic_exchange(&q->corrupt, true))
		return EIO;
	log_error("%s: damaged: %s (%#llx); nothing more is written to it", q->im->path, what,
		  (unsigned long long)off);
	if (q->version >= 3)
		qcow2_set_feature(q, INCOMPAT_CORRUPT, 0);
	return EIO;
}

/* The name the image itself gives to an incompatible feature bit. */
static void feature_name(const uint8_t *ext, size_t len, unsigned bit, char *out, size_t n)
{
	snprintf(out, n, "an unknown feature (incompatible bit %u)", bit);
	for (size_t i = 0; i + 48 <= len; i += 48)
		if (ext[i] == 0 && ext[i + 1] == bit)
			snprintf(out, n, "the feature '%.46s' (incompatible bit %u)",
				 (const char *)ext + i + 2, bit);
}

static bool refuse_features(const struct qcow2 *q, const uint8_t *names, size_t len,
			    struct err *e)
{
	uint64_t odd = q->incompat & ~INCOMPAT_KNOWN;
	char what[128];

	if (q->incompat & INCOMPAT_DATA_FILE)
		return unsupported(q, e, "an external data file");
	if (odd) {
		feature_name(names, len, (unsigned)__builtin_ctzll(odd), what, sizeof(what));
		return unsupported(q, e, what);
	}
	return true;
}

static bool copy_name(char *dst, size_t cap, const uint8_t *src, size_t len)
{
	if (len >= cap || memchr(src, 0, len))
		return false;
	memcpy(dst, src, len);
	dst[len] = '\0';
	return true;
}

/* Header extensions from @at to @end of @h. */
static bool read_extensions(struct qcow2 *q, const uint8_t *h, size_t at, size_t end,
			    struct err *e)
{
	const uint8_t *names = NULL;
	size_t names_len = 0, start, n;

	q->kept_ext = malloc(end - at + 8);
	if (!q->kept_ext)
		return err_set(e, HV_EXIT_HOST, "%s: out of memory", q->im->path);

	while (at + 8 <= end) {
		uint32_t type = ld_be32(h + at), len = ld_be32(h + at + 4);

		at += 8;
		if (type == EXT_END)
			break;
		if (len > end - at)
			return qcow2_bad(q, e, "a header extension is longer than the header");
		if (type == EXT_BACKING_FMT) {
			if (!copy_name(q->backing_fmt, sizeof(q->backing_fmt), h + at, len))
				return qcow2_bad(q, e, "the backing format's name is invalid");
		} else if (type == EXT_FEATURES) {
			names = h + at;
			names_len = len;
		} else if (type == EXT_CRYPTO) {
			return unsupported(q, e, "LUKS encryption");
		} else if (type == EXT_DATA_FILE) {
			return unsupported(q, e, "an external data file");
		} else {
			q->foreign_ext = true;	/* bitmaps, or something newer */
		}
		start = at - 8;
		at += MIN((len + 7ull) & ~7ull, end - at);
		n = at - start;
		if (type != EXT_BACKING_FMT) {
			memcpy(q->kept_ext + q->kept_len, h + start, n);
			q->kept_len += n;
		}
	}
	return refuse_features(q, names, names_len, e);
}

static bool read_v3(struct qcow2 *q, const uint8_t *h, struct err *e)
{
	uint8_t ctype;

	q->incompat = ld_be64(h + HDR_INCOMPAT);
	q->compat = ld_be64(h + HDR_COMPAT);
	q->autoclear = ld_be64(h + HDR_AUTOCLEAR);
	q->refcount_order = ld_be32(h + 96);
	q->header_len = ld_be32(h + 100);
	if (q->header_len < V3_LEN || q->header_len > q->cs || q->header_len % 8)
		return qcow2_bad(q, e, "header length %u", q->header_len);
	if (q->refcount_order > 6)
		return qcow2_bad(q, e, "refcount width 2^%u bits", q->refcount_order);
	ctype = q->header_len > V3_LEN ? h[104] : 0;
	if (ctype > QC_ZSTD && !(q->incompat & ~INCOMPAT_KNOWN))
		return unsupported(q, e, "an unknown compression type");
	if ((ctype != 0) != !!(q->incompat & INCOMPAT_COMPRESSION))
		return qcow2_bad(q, e, "compression type and its feature bit disagree");
	q->compression = ctype == QC_ZSTD ? QC_ZSTD : QC_ZLIB;
	return true;
}

static bool read_geometry(struct qcow2 *q, const uint8_t *h, struct err *e)
{
	uint64_t size = ld_be64(h + 24), span;

	q->ext_l2 = q->incompat & INCOMPAT_EXTENDED_L2;
	if (q->ext_l2 && q->cluster_bits < 14)
		return qcow2_bad(q, e, "extended L2 entries with clusters of %u bytes", q->cs);
	q->l2_bits = q->cluster_bits - (q->ext_l2 ? 4 : 3);
	q->sub_bits = q->cluster_bits - (q->ext_l2 ? 5 : 0);
	q->l2_n = 1u << q->l2_bits;
	q->rb_bits = q->cluster_bits + 3 - q->refcount_order;
	q->l1_n = ld_be32(h + 36);
	q->l1_off = ld_be64(h + 40);
	q->rt_off = ld_be64(h + 48);
	q->rt_clusters = ld_be32(h + 56);
	q->nsnapshots = ld_be32(h + 60);
	q->snap_off = ld_be64(h + 64);
	q->disk_size = size;
	q->im->size = size & ~(uint64_t)(BLOCK_SECTOR - 1);
	if (size > IMAGE_MAX_SIZE)
		return err_set(e, HV_EXIT_IMAGE, "%s: the disk inside claims %llu bytes; more than "
			       "1 PiB is not supported (is the header damaged?)", q->im->path,
			       (unsigned long long)size);
	span = (uint64_t)q->l2_n << q->cluster_bits;
	if (q->l1_n > QC_MAX_L1 / 8)
		return qcow2_bad(q, e, "an L1 table of %u entries", q->l1_n);
	if (q->l1_n < (size + span - 1) / span)
		return qcow2_bad(q, e, "the L1 table is too small for the disk's size");
	if ((uint64_t)q->rt_clusters << q->cluster_bits > QC_MAX_REFTABLE || !q->rt_clusters)
		return qcow2_bad(q, e, "a refcount table of %u clusters", q->rt_clusters);
	if (q->nsnapshots > QC_MAX_SNAPSHOTS)
		return qcow2_bad(q, e, "%u snapshots", q->nsnapshots);
	return true;
}

static bool read_backing_name(struct qcow2 *q, const uint8_t *h, size_t avail, size_t *ext_end,
			      struct err *e)
{
	uint64_t off = ld_be64(h + 8);
	uint32_t len = ld_be32(h + 16);

	*ext_end = avail;
	if (!off || !len)
		return true;
	if (len >= sizeof(q->backing_name) || off < q->header_len || !range_ok(off, len, avail) ||
	    !copy_name(q->backing_name, sizeof(q->backing_name), h + off, len))
		return qcow2_bad(q, e, "the backing file's name is invalid");
	*ext_end = off;
	return true;
}

static bool parse_header(struct qcow2 *q, const uint8_t *h, size_t n, struct err *e)
{
	size_t avail, ext_end;
	uint32_t crypt;

	q->version = ld_be32(h + 4);
	if (ld_be32(h) != QCOW2_MAGIC)
		return err_set(e, HV_EXIT_IMAGE, "%s: not a qcow2 image (no 'QFI' at its start)",
			       q->im->path);
	if (q->version != 2 && q->version != 3)
		return err_set(e, HV_EXIT_IMAGE, "%s: qcow2 version %u; hvrun reads 2 and 3",
			       q->im->path, q->version);
	q->cluster_bits = ld_be32(h + 20);
	if (q->cluster_bits < 9 || q->cluster_bits > 21)
		return qcow2_bad(q, e, "a cluster size of 2^%u bytes", q->cluster_bits);
	q->cs = 1u << q->cluster_bits;
	avail = MIN(n, q->cs);
	q->header_len = V2_LEN;
	q->refcount_order = 4;
	if (q->version == 3 && !read_v3(q, h, e))
		return false;
	if (q->header_len > avail)
		return qcow2_bad(q, e, "header length %u", q->header_len);
	crypt = ld_be32(h + 32);
	if (crypt)
		return unsupported(q, e, crypt == 2 ? "LUKS encryption" : "encryption");
	if (!read_backing_name(q, h, avail, &ext_end, e) ||
	    !read_extensions(q, h, q->header_len, ext_end, e) || !read_geometry(q, h, e))
		return false;
	if ((q->incompat & INCOMPAT_CORRUPT) && !q->readonly && !q->lenient)
		return err_set(e, HV_EXIT_IMAGE,
			       "%s: marked as corrupt, so hvrun will not write to "
			       "it; repair it: hvrun img check --repair '%s', or attach it "
			       "read-only", q->im->path, q->im->path);
	return true;
}

bool qcow2_read_header(struct qcow2 *q, struct err *e)
{
	uint8_t *h = hv_zalloc(HEAD_MAX);
	int err = hf_size(q->f, &q->file_end);
	size_t n = MIN(q->file_end, HEAD_MAX);
	bool ok;

	if (!err)
		err = hf_pread(q->f, h, HEAD_MAX, 0);
	if (err)
		ok = err_errno(e, HV_EXIT_IMAGE, err, "%s: cannot read the header", q->im->path);
	else if (n < V3_LEN)
		ok = err_set(e, HV_EXIT_IMAGE, "%s: truncated: a qcow2 header needs %u bytes, the "
			     "file has %zu; copy or download it again", q->im->path, V3_LEN, n);
	else
		ok = parse_header(q, h, n, e);
	free(h);
	return ok;
}

/* A table must be aligned and inside the file. */
static bool check_bounds(struct qcow2 *q, const char *what, uint64_t off, uint64_t len,
			 struct err *e)
{
	if (off & (q->cs - 1))
		return qcow2_bad(q, e, "%s is misaligned (%#llx)", what, (unsigned long long)off);
	if (!range_ok(off, len, qc_end_cluster(q) << q->cluster_bits))
		return err_set(e, HV_EXIT_IMAGE, "%s: truncated or damaged: %s at %#llx lies past "
			       "the end of the file (%llu bytes); copy or download it again",
			       q->im->path, what, (unsigned long long)off,
			       (unsigned long long)q->file_end);
	return true;
}

/* And clear of the others. */
static bool check_place(struct qcow2 *q, const char *what, uint64_t off, uint64_t len,
			struct err *e)
{
	if (!check_bounds(q, what, off, len, e))
		return false;
	if (qc_meta_in_range(q, off, len))
		return qcow2_bad(q, e, "%s overlaps another table", what);
	if (!qc_meta_add_range(q, off, len))
		return err_set(e, HV_EXIT_HOST, "%s: out of memory", q->im->path);
	return true;
}

static uint64_t *load_be64(struct qcow2 *q, uint64_t off, uint64_t n, const char *what,
			   struct err *e)
{
	uint64_t *t = calloc(n ? n : 1, 8);
	int err = t ? hf_pread(q->f, t, n * 8, off) : ENOMEM;

	if (err) {
		free(t);
		err_errno(e, HV_EXIT_IMAGE, err, "%s: cannot read %s", q->im->path, what);
		return NULL;
	}
	for (uint64_t i = 0; i < n; i++)
		t[i] = ld_be64(&t[i]);
	return t;
}

static bool check_entry(struct qcow2 *q, const uint64_t *t, uint64_t i, uint64_t reserved,
			const char *what, struct err *e)
{
	uint64_t off = t[i] & ENTRY_OFFSET;

	if ((t[i] & reserved) || (off & (q->cs - 1)))
		return qcow2_bad(q, e, "entry %llu of %s is invalid (%#llx)",
				 (unsigned long long)i, what, (unsigned long long)t[i]);
	if (!off)
		return true;
	if (off >= q->file_end)
		return err_set(e, HV_EXIT_IMAGE,
			       "%s: truncated: entry %llu of %s points past "
			       "the end of the file (%llu bytes); copy or download it again",
			       q->im->path, (unsigned long long)i, what,
			       (unsigned long long)q->file_end);
	/* Snapshots may share an L2 table, nothing may share a refcount block. */
	if (qc_meta_in_range(q, off, q->cs) || (t == q->rt && qc_meta_hit(q, off, q->cs)))
		return qcow2_bad(q, e, "entry %llu of %s points into another table",
				 (unsigned long long)i, what);
	if (!qc_meta_add(q, off))
		return err_set(e, HV_EXIT_HOST, "%s: out of memory", q->im->path);
	return true;
}

static bool load_table(struct qcow2 *q, uint64_t *t, uint64_t n, uint64_t reserved,
		       const char *what, struct err *e)
{
	for (uint64_t i = 0; i < n; i++) {
		if (check_entry(q, t, i, reserved, what, e))
			continue;
		if (!q->lenient)
			return false;
		t[i] = 0;
		q->damaged++;
		q->rt_damaged |= t == q->rt;
		if (t == q->l1) {
			q->l1_dirty[i / 64 / 64] |= 1ull << (i / 64 % 64);
			q->l1_any_dirty = true;
		}
	}
	return true;
}

/* Keep the entry's bytes: a rewritten table holds them as they were. */
static bool keep_snapshot(struct qcow2 *q, struct qc_snapshot *s, uint64_t at, uint32_t len)
{
	s->raw_len = (len + 7) & ~7u;
	s->raw = calloc(1, s->raw_len);
	return s->raw && !hf_pread(q->f, s->raw, len, at);
}

static bool load_snapshots(struct qcow2 *q, struct err *e)
{
	uint64_t at = q->snap_off, total = 0;
	uint8_t h[40];

	q->snap = calloc(q->nsnapshots + 1, sizeof(*q->snap));
	if (!q->snap)
		return err_set(e, HV_EXIT_HOST, "%s: out of memory", q->im->path);
	for (uint32_t i = 0; i < q->nsnapshots; i++) {
		struct qc_snapshot *s = &q->snap[i];
		uint32_t extra, len;

		if (!range_ok(at, sizeof(h), q->file_end) || hf_pread(q->f, h, sizeof(h), at))
			return qcow2_bad(q, e, "snapshot %u cannot be read", i);
		s->l1_off = ld_be64(h);
		s->l1_n = ld_be32(h + 8);
		extra = ld_be32(h + 36);
		if (extra > 1024 || s->l1_n > QC_MAX_L1 / 8 || (s->l1_off & (q->cs - 1)) ||
		    !range_ok(s->l1_off, (uint64_t)s->l1_n * 8, q->file_end))
			return qcow2_bad(q, e, "snapshot %u is invalid", i);
		len = (uint32_t)sizeof(h) + extra + ld_be16(h + 12) + ld_be16(h + 14);
		total += len;
		if (!range_ok(at, len, q->file_end) || total > QC_MAX_SNAP_BYTES ||
		    !keep_snapshot(q, s, at, len))
			return qcow2_bad(q, e, "snapshot %u cannot be read", i);
		at = (at + len + 7) & ~7ull;
	}
	q->snap_len = at - q->snap_off;
	if (q->snap_len && !check_place(q, "the snapshot table", q->snap_off, q->snap_len, e))
		return false;
	for (uint32_t i = 0; i < q->nsnapshots; i++) {
		uint64_t len = (uint64_t)q->snap[i].l1_n * 8;

		if (!len)
			continue;
		if (!check_bounds(q, "a snapshot's L1 table", q->snap[i].l1_off, len, e))
			return false;
		if (!qc_meta_push_range(q, q->snap[i].l1_off, len))
			return err_set(e, HV_EXIT_HOST, "%s: out of memory", q->im->path);
	}
	return qc_meta_sort_ranges(q) ||
	       qcow2_bad(q, e, "a snapshot's L1 table overlaps another table");
}

bool qcow2_load_tables(struct qcow2 *q, struct err *e)
{
	if (!check_place(q, "the header", 0, q->cs, e) ||
	    !check_place(q, "the L1 table", q->l1_off, (uint64_t)q->l1_n * 8, e))
		return false;
	q->l1 = load_be64(q, q->l1_off, q->l1_n, "the L1 table", e);
	q->l1_dirty = calloc(q->l1_n / 64 / 64 + 1, 8);
	if (!q->l1 || !q->l1_dirty)
		return false;
	if (q->readonly && !q->lenient)	/* refcounts do not matter */
		return load_table(q, q->l1, q->l1_n, L1_RESERVED, "the L1 table", e);
	q->rt_n = ((uint64_t)q->rt_clusters << q->cluster_bits) / 8;
	if (!check_place(q, "the refcount table", q->rt_off, q->rt_n * 8, e)) {
		if (!q->lenient)
			return false;
		q->rt_damaged = true;
		q->damaged++;
		q->rt_n = 0;
	}
	q->rt = load_be64(q, q->rt_off, q->rt_n, "the refcount table", e);
	return q->rt && load_snapshots(q, e) &&
		load_table(q, q->rt, q->rt_n, ~ENTRY_OFFSET, "the refcount table", e) &&
		load_table(q, q->l1, q->l1_n, L1_RESERVED, "the L1 table", e);
}

bool qcow2_build_header(const struct qcow2 *q, uint8_t *h)
{
	uint32_t fmt_len = (uint32_t)strlen(q->backing_fmt), at = q->header_len;
	uint32_t name_len = (uint32_t)strlen(q->backing_name);

	if (at + q->kept_len + 16 + fmt_len + 8 + name_len + 8 > q->cs)
		return false;
	memset(h, 0, q->cs);
	st_be32(h, QCOW2_MAGIC);
	st_be32(h + 4, q->version);
	st_be32(h + 20, q->cluster_bits);
	st_be64(h + 24, q->disk_size);
	st_be32(h + 36, q->l1_n);
	st_be64(h + 40, q->l1_off);
	st_be64(h + 48, q->rt_off);
	st_be32(h + 56, q->rt_clusters);
	st_be32(h + 60, q->nsnapshots);
	st_be64(h + 64, q->nsnapshots ? q->snap_off : 0);
	if (q->version >= 3) {
		st_be64(h + HDR_INCOMPAT, q->incompat);
		st_be64(h + HDR_COMPAT, q->compat);
		st_be64(h + HDR_AUTOCLEAR, q->autoclear);
		st_be32(h + 96, q->refcount_order);
		st_be32(h + 100, q->header_len);
		if (q->header_len > V3_LEN)
			h[V3_LEN] = (uint8_t)q->compression;
	}
	if (fmt_len) {
		st_be32(h + at, EXT_BACKING_FMT);
		st_be32(h + at + 4, fmt_len);
		memcpy(h + at + 8, q->backing_fmt, fmt_len);
		at += 8 + ((fmt_len + 7) & ~7u);
	}
	memcpy(h + at, q->kept_ext, q->kept_len);
	at += q->kept_len + 8;		/* and the end of the extensions, zeros */
	if (name_len) {
		st_be64(h + 8, at);
		st_be32(h + 16, name_len);
		memcpy(h + at, q->backing_name, name_len);
	}
	return true;
}

int qcow2_write_geometry(struct qcow2 *q)
{
	uint8_t raw[24] = { 0 };
	int err;

	st_be64(raw, q->disk_size);
	st_be32(raw + 12, q->l1_n);
	st_be64(raw + 16, q->l1_off);
	err = hf_pwrite(q->f, raw, sizeof(raw), 24);
	return err ? err : hf_sync(q->f);
}
