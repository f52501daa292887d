/* SPDX-License-Identifier: MIT */
/*
 * What VDI, VHD, VHDX and VMDK have in common: a disk cut into blocks, and a
 * table that says where in the file each block is, if anywhere.
 *
 * The table is kept in pages, loaded on demand and dropped again when clean.
 * A new block goes to the end of the file with all its content; its entry is
 * stored at the next flush, after the data has been synced, so that a crash
 * leaves space that nothing uses and nothing worse.  A block that is only
 * partly there (differencing VHD and VHDX written by others) is completed
 * before it is first written to.
 *
 * Locks: lock shared = entries stable, data moves in place; exclusive = they
 * may change.  cache_lock serialises look-ups of shared holders.
 */
#ifndef HV_BAT_H
#define HV_BAT_H

#include "../src/imgtool.h"
#include <pthread.h>

/* An entry: offset of the block's data in the file (512-aligned) plus flags, or: */
#define BAT_NONE 0ull			/* not here: backing file or zeros */
#define BAT_ZERO 1ull			/* zeros, whatever the backing file has */
#define BAT_BAD 2ull			/* makes no sense */
#define BAT_PARTIAL 4ull		/* flag: ops->bitmap() tells which sectors are here */
#define BAT_PACKED 8ull			/* flag: ops->unpack() */
#define BAT_HOST(e) ((e) & ~511ull)

#define BAT_MAX_PAGES (1u << 20)

struct bat;

struct bat_ops {
	/* Entries of page @p (b->page_n of them, fewer at the end) from the file. */
	int (*load)(struct bat *b, uint64_t p, uint64_t *e);
	int (*store)(struct bat *b, uint64_t p, const uint64_t *e);
	/* Room for @block at the end of the file, reading as zeros; exclusive. */
	int (*place)(struct bat *b, uint64_t block, uint64_t *host);
	/* Before and after the tables are written; NULL: nothing to do. */
	int (*begin_store)(struct bat *b);
	int (*end_store)(struct bat *b);
	/* Partial blocks: a bit per sector, least significant first; all of it now here. */
	int (*bitmap)(struct bat *b, uint64_t block, uint64_t host, uint8_t *bits);
	int (*complete)(struct bat *b, uint64_t block, uint64_t *entry);
	/* The whole block behind a packed entry. */
	int (*unpack)(struct bat *b, uint64_t host, uint8_t *out);
};

struct bat_page {
	uint64_t *e;
	bool dirty, recent;
};

struct bat {
	struct image *im;
	struct hostfile *f;
	const struct bat_ops *ops;
	void *priv;			/* the format's */
	uint64_t base, size;		/* guest bytes: start in the disk, length */
	uint64_t n;			/* blocks */
	unsigned bits;			/* log2 of the block size */
	uint32_t page_n;		/* entries of a page */
	bool readonly, can_zero;
	bool fill_alloc;		/* a new block's space may hold old data: write all of it */
	pthread_rwlock_t lock;
	pthread_mutex_t cache_lock;
	/* below: exclusive, or cache_lock */
	struct bat_page *page;
	uint64_t npages, loaded, ndirty, hand;
	uint64_t end;			/* the format's: where the next block goes */
	uint8_t *unpacked;		/* under cache_lock */
	uint64_t unpacked_host;
};

/* Fields up to priv, base, size, bits, page_n and flags are set; the rest here. */
bool bat_init(struct bat *b, struct err *e);
void bat_free(struct bat *b);
/* @off relative to b->base, inside b->size. */
int bat_io(struct bat *b, enum block_op op, uint64_t off, uint64_t len, const struct iovec *iov,
	   unsigned niov, uint64_t iov_off);
int bat_flush(struct bat *b);		/* entries and data on the disk */
int bat_map(struct bat *b, uint64_t off, uint64_t len, uint64_t *n, enum image_kind *k);
int bat_get(struct bat *b, uint64_t block, uint64_t *e);	/* exclusive or set-up */
int bat_set(struct bat *b, uint64_t block, uint64_t e);
/*
 * Entries inside [first, b->end), none overlapping (each @stride bytes from
 * @before its data on).  Repair drops entries that lead nowhere; overlaps stay.
 */
bool bat_check(struct bat *b, struct image_check *r, uint64_t first, uint64_t before,
	       uint64_t stride, struct err *e);
/*
 * block_format.place for reads; @off as in bat_io().  Data never moves in these
 * formats and its space is not used again, so nothing needs to be held.
 */
int bat_place(struct bat *b, bool write, uint64_t off, struct image_place *p);
/*
 * The disk has grown from @old to b->size, on disk too, nothing in flight and
 * nothing dirty: take the new table over; what was past the old end is zeros.
 */
bool bat_grown(struct bat *b, uint64_t old, struct err *e);
bool bat_may_grow(struct bat *b, uint64_t size, struct err *e);	/* and writes the table out */

#endif
