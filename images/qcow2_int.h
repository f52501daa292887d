/* SPDX-License-Identifier: MIT */
/*
 * Inside of the qcow2 format (QEMU's docs/interop/qcow2.txt, versions 2, 3).
 *
 * Order on disk: a cluster's refcount is written before anything points to
 * it, data and new tables are synced before the L2 entry (and these before
 * the L1 entry) that publishes them, and what was replaced loses its
 * reference only after that.  New mappings gather in the caches until a
 * flush, an eviction or a limit runs the whole sequence
 * (qcow2_flush_meta()); a crash in between can leak clusters, not more.
 *
 * Locks: lock held shared = mappings are stable, data moves in place;
 * exclusive = anything may change.  cache_lock serialises look-ups in the
 * L2 cache by shared holders; comp_lock guards the decompressed cluster.
 * Exclusive also means that no transfer outside of the lock (qcow2_place())
 * is under way.
 */
#ifndef HV_QCOW2_INT_H
#define HV_QCOW2_INT_H

#include "../src/imgtool.h"
#include "../src/log.h"
#include <pthread.h>
#include <stdatomic.h>

#define QCOW2_MAGIC 0x514649fbu

#define INCOMPAT_DIRTY (1ull << 0)
#define INCOMPAT_CORRUPT (1ull << 1)
#define INCOMPAT_DATA_FILE (1ull << 2)
#define INCOMPAT_COMPRESSION (1ull << 3)
#define INCOMPAT_EXTENDED_L2 (1ull << 4)
#define INCOMPAT_KNOWN (INCOMPAT_DIRTY | INCOMPAT_CORRUPT | INCOMPAT_COMPRESSION | \
			INCOMPAT_EXTENDED_L2)

#define HDR_INCOMPAT 72
#define HDR_COMPAT 80
#define HDR_AUTOCLEAR 88
#define HDR_REFTABLE 48

#define ENTRY_COPIED (1ull << 63)
#define L2_COMPRESSED (1ull << 62)
#define L2_ZERO 1ull
#define ENTRY_OFFSET 0x00fffffffffffe00ull
#define L1_RESERVED 0x7f000000000001ffull
#define L2_RESERVED 0x3f000000000001feull
#define SUB_ALL 0xffffffffull		/* extended L2: all 32 subclusters */

#define QC_MAX_L1 (32u << 20)		/* bytes */
#define QC_MAX_REFTABLE (8u << 20)	/* bytes */
#define QC_MAX_SNAPSHOTS 65535u
#define QC_MAX_HOST (1ull << 55)	/* no cluster at or past this offset */
#define QC_STEP 1024u			/* clusters changed under one exclusive hold */
#define QC_MAX_PENDING 16384u

struct qc_entry {
	uint64_t off;		/* host offset of the table, 0 = empty */
	uint64_t dirty;		/* one bit per 64th of the table */
	uint32_t next;		/* index + 1 in the hash chain */
	bool recent;
	uint8_t *buf;
};

struct qc_cache {
	struct qc_entry *e;
	uint32_t *bucket;	/* index + 1 */
	uint32_t n, nbuckets, hand, ndirty;
	uint32_t tsize;		/* bytes of a table */
};

struct qc_range {
	uint64_t off, len;
};

struct qc_snapshot {
	uint64_t l1_off;
	uint32_t l1_n;
	uint8_t *raw;		/* the entry as in the table, padded */
	uint32_t raw_len;
};

/* Host clusters that hold tables: never to be written as data. */
struct qc_metaset {
	uint64_t *slot;		/* cluster index, 0 = empty */
	uint64_t nslots, used;
	struct qc_range *range;	/* by offset; they do not overlap */
	unsigned nranges;
};

enum qc_compression { QC_ZLIB = 0, QC_ZSTD = 1 };

struct qcow2 {
	struct image *im;
	struct hostfile *f;
	bool readonly;
	/* header; immutable unless said */
	unsigned version, cluster_bits, l2_bits, refcount_order, rb_bits;
	bool ext_l2;			/* 16-byte L2 entries with 32 subclusters */
	unsigned sub_bits;		/* size of a subcluster; cluster_bits without ext_l2 */
	uint32_t cs, l2_n;
	uint64_t incompat, autoclear;	/* exclusive */
	uint32_t header_len;
	enum qc_compression compression;
	char backing_name[1024], backing_fmt[32];
	bool foreign_ext;		/* extensions that may own clusters */
	uint8_t *kept_ext;		/* extensions but the backing format, as stored */
	uint32_t kept_len;
	uint64_t compat, disk_size;	/* compatible features; size as in the header */
	bool lenient;			/* IMAGE_LENIENT: damage is counted, not refused */
	bool rt_damaged;
	uint64_t damaged;		/* table entries dropped while loading */
	uint32_t nsnapshots;
	uint64_t snap_off, snap_len;
	struct qc_snapshot *snap;

	pthread_rwlock_t lock;
	pthread_mutex_t cache_lock, comp_lock;
	/* Transfers that go straight to data clusters; lock exclusive waits for them. */
	atomic_uint placed;
	atomic_bool place_waited;	/* somebody waits for placed == 0 */
	pthread_mutex_t place_lock;	/* leaf */
	pthread_cond_t place_none;
	/* below: changed only with lock held exclusive */
	uint64_t l1_off;
	uint64_t *l1;			/* host byte order */
	uint32_t l1_n;
	uint64_t *l1_dirty;		/* bit per 64 entries */
	bool l1_any_dirty;
	bool need_barrier;		/* cached L2 entries point to unsynced clusters */
	uint64_t rt_off, *rt;
	uint32_t rt_clusters;
	uint64_t rt_n;
	struct qc_cache l2c, rbc;
	struct qc_metaset meta;
	uint64_t file_end;		/* of what is used */
	uint64_t grown;			/* size of a new file in the making that is ahead, or 0 */
	uint64_t free_hint, free_floor;	/* cluster index */
	uint64_t *pending;		/* clusters that lose a reference at the next flush */
	uint32_t npending, pending_cap;
	atomic_bool corrupt;		/* stop writing */
	/* under comp_lock */
	uint8_t *comp_in, *comp_out;
	uint64_t comp_entry;		/* L2 entry of what is in comp_out, 0 = none */
	uint64_t walked;		/* exclusive: counts raised by the walk under way */
	uint64_t pack_at, pack_end;	/* exclusive: where the next compressed data goes */
};

/* One L2 entry as in the table; @bm only with extended L2: allocated, zero << 32. */
struct qc_ent {
	uint64_t v, bm;
};

enum qc_type { QC_UNALLOCATED, QC_ZEROS, QC_DATA, QC_COMPRESSED, QC_MIXED, QC_BAD };

struct qc_map {
	enum qc_type type;
	uint64_t host;		/* data, preallocated: offset; 0 = none */
	uint64_t entry, bm;
	bool copied;
};

static inline uint64_t qc_clusters(const struct qcow2 *q, uint64_t bytes)
{
	return (bytes >> q->cluster_bits) + ((bytes & (q->cs - 1)) != 0);
}

/* First cluster that has never been used. */
static inline uint64_t qc_end_cluster(const struct qcow2 *q)
{
	return qc_clusters(q, q->file_end);
}

/* qcow2_header.c */
bool qcow2_bad(const struct qcow2 *q, struct err *e, const char *fmt, ...) HV_PRINTF(3, 4);
bool qcow2_read_header(struct qcow2 *q, struct err *e);
bool qcow2_load_tables(struct qcow2 *q, struct err *e);
int qcow2_set_feature(struct qcow2 *q, uint64_t set, uint64_t clear);
int qcow2_mark_corrupt(struct qcow2 *q, const char *what, uint64_t off);

/* The header cluster (q->cs bytes) from the fields of @q; false: does not fit. */
bool qcow2_build_header(const struct qcow2 *q, uint8_t *h);
/* Size, L1 place and length: one write inside the first sector. */
int qcow2_write_geometry(struct qcow2 *q);

/* qcow2_cache.c */
bool qc_cache_init(struct qc_cache *c, uint32_t n, uint32_t tsize);
void qc_cache_free(struct qc_cache *c);
int qc_cache_get(struct qcow2 *q, struct qc_cache *c, uint64_t off, struct qc_entry **e);
struct qc_entry *qc_cache_peek(struct qc_cache *c, uint64_t off);	/* NULL: not there */
int qc_cache_new(struct qcow2 *q, struct qc_cache *c, uint64_t off, struct qc_entry **e);
void qc_cache_mark(struct qc_cache *c, struct qc_entry *e, uint32_t at, uint32_t len);
int qc_cache_write(struct qcow2 *q, struct qc_cache *c);
void qc_cache_drop(struct qc_cache *c, uint64_t off);

/* qcow2_meta.c */
bool qc_meta_add(struct qcow2 *q, uint64_t off);
void qc_meta_del(struct qcow2 *q, uint64_t off);
bool qc_meta_add_range(struct qcow2 *q, uint64_t off, uint64_t len);
void qc_meta_del_range(struct qcow2 *q, uint64_t off);
/* Many at once, in any order: sort_ranges() before anything else is asked; false: overlaps. */
bool qc_meta_push_range(struct qcow2 *q, uint64_t off, uint64_t len);
bool qc_meta_sort_ranges(struct qcow2 *q);
bool qc_meta_hit(const struct qcow2 *q, uint64_t off, uint64_t len);
bool qc_meta_in_range(const struct qcow2 *q, uint64_t off, uint64_t len);
void qc_meta_free(struct qc_metaset *m);
int qcow2_flush_meta(struct qcow2 *q, bool sync);
int qcow2_throttle(struct qcow2 *q);
void qcow2_release(struct qcow2 *q, uint64_t off, uint64_t len);

/* qcow2_refcount.c: all exclusive */
uint64_t qcow2_refcount_load(const struct qcow2 *q, const uint8_t *block, uint64_t i);
int qcow2_refcount_set(struct qcow2 *q, uint64_t cluster, uint64_t value);
int qcow2_refcount_drop(struct qcow2 *q, uint64_t cluster);
/* Up to @want adjacent free clusters; *fresh: past the old end of file, so zeros. */
int qcow2_alloc(struct qcow2 *q, uint64_t want, uint64_t *host, uint64_t *got, bool *fresh);
void qcow2_unalloc(struct qcow2 *q, uint64_t host, uint64_t n);
/* Exactly @n adjacent clusters, at the end of the file. */
int qcow2_alloc_run(struct qcow2 *q, uint64_t n, uint64_t *host);
int qcow2_refcount_get(struct qcow2 *q, uint64_t cluster, uint64_t *v);
int qcow2_refcount_add(struct qcow2 *q, uint64_t cluster);
/* A file that was grown ahead gets its true size. */
int qcow2_cut_file(struct qcow2 *q);
uint64_t qcow2_refcount_max(const struct qcow2 *q);

/* qcow2_map.c */
struct qc_map qcow2_classify(const struct qcow2 *q, struct qc_ent entry);
/* Kind of the subcluster at @in of a cluster with mixed ones. */
enum qc_type qcow2_sub_type(const struct qcow2 *q, const struct qc_map *m, uint64_t in);
/* Bits of the subclusters that [from, to) of a cluster touches. */
uint64_t qcow2_sub_mask(const struct qcow2 *q, uint64_t from, uint64_t to);
struct qc_ent qcow2_load_entry(const struct qcow2 *q, const uint8_t *table, uint32_t i);
void qcow2_store_entry(const struct qcow2 *q, uint8_t *table, uint32_t i, struct qc_ent v);
/* Copy up to @max entries from guest offset @off on (one L2 table); shared or exclusive. */
int qcow2_get_entries(struct qcow2 *q, uint64_t off, struct qc_ent *out, unsigned max,
		      unsigned *got, bool exclusive);
/* Likewise, but EAGAIN rather than wait for anything; shared. */
int qcow2_peek_entries(struct qcow2 *q, uint64_t off, struct qc_ent *out, unsigned max,
		       unsigned *got);
/* A writable L2 table for @off; exclusive.  The entry is valid until the next cache call. */
int qcow2_writable_l2(struct qcow2 *q, uint64_t off, struct qc_entry **e);
void qcow2_put_entry(struct qcow2 *q, struct qc_entry *e, uint64_t off, struct qc_ent value);
/* Drop what @entry refers to, after the next flush. */
void qcow2_release_entry(struct qcow2 *q, uint64_t entry);
void qcow2_compressed_range(const struct qcow2 *q, uint64_t entry, uint64_t *off, uint64_t *len);

/* qcow2_compress.c: copy [from, from + len) of the cluster behind @entry; any lock state */
int qcow2_read_compressed(struct qcow2 *q, uint64_t entry, uint32_t from, uint32_t len,
			  const struct iovec *iov, unsigned niov, uint64_t iov_off);

/* qcow2_io.c */
void qcow2_lock(struct qcow2 *q);	/* exclusive; pthread_rwlock_unlock() ends it */
int qcow2_place(struct image *im, bool write, uint64_t off, struct image_place *p);
void qcow2_unplace(struct image *im);
int qcow2_io(struct image *im, enum block_op op, uint64_t off, uint64_t len,
	     const struct iovec *iov, unsigned niov);
int qcow2_read(struct qcow2 *q, uint64_t off, uint64_t len, const struct iovec *iov,
	       unsigned niov, uint64_t iov_off, bool exclusive);
/* qcow2_write.c */
int qcow2_write(struct qcow2 *q, uint64_t off, uint64_t len, const struct iovec *iov,
		unsigned niov);
/* qcow2_zero.c */
int qcow2_write_zeroes(struct qcow2 *q, uint64_t off, uint64_t len);
int qcow2_discard(struct qcow2 *q, uint64_t off, uint64_t len);

/* qcow2_check.c: compare references with refcounts, repair leaks (all, if dirty) */
bool qcow2_check(struct qcow2 *q, struct err *e);
bool qcow2_tool_check(struct image *im, struct image_check *r, struct err *e);

/* qcow2_snapshot.c */
bool qcow2_snapshot(struct image *im, enum image_snap_op op, const char *name, struct err *e);
bool qcow2_snapshot_list(struct image *im, unsigned i, struct image_snap *s);
/* qcow2_resize.c: a new L1 table (of @n entries, now q's) takes the place of the old */
int qcow2_switch_l1(struct qcow2 *q, uint64_t *l1, uint32_t n, uint64_t disk_size);
/* Every cluster that @l1 leads to, each time it does; @fn: 0 or an errno. */
int qcow2_walk(struct qcow2 *q, const uint64_t *l1, uint32_t n,
	       int (*fn)(struct qcow2 *q, uint64_t cluster));
bool qcow2_resize(struct image *im, uint64_t size, struct err *e);
bool qcow2_make_empty(struct image *im, struct err *e);
/* qcow2_write.c: places without content for [off, off + len) */
int qcow2_preallocate(struct qcow2 *q, uint64_t off, uint64_t len);
/* qcow2_pack.c */
int qcow2_pack(struct image *im, const uint8_t *in, uint8_t *out, uint32_t *len);
int qcow2_write_packed(struct image *im, uint64_t off, const uint8_t *packed, uint32_t len);
/* qcow2_create.c */
extern const struct image_opt_help qcow2_options[];
bool qcow2_create(struct image_create *c, struct err *e);
bool qcow2_set_backing(struct image *im, const char *name, const char *fmt, struct err *e);
/* qcow2.c: for qcow2_create() */
bool qcow2_open(struct image *im, struct err *e);
void qcow2_close(struct image *im);
/* qcow2_tool.c */
extern const struct image_tool qcow2_tool;

#endif
