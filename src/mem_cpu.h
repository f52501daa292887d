/* SPDX-License-Identifier: MIT */
/*
 * Guest memory as the CPU engines need it: host pointers, slot iteration,
 * change notification, and the page table of code marks for self-modifying
 * code.  Only src/mem.c and src/cpu/ include this.
 */
#ifndef HV_MEM_CPU_H
#define HV_MEM_CPU_H

#include "bell.h"
#include "mem.h"
#include <stdatomic.h>

struct gm_slot {
	uint64_t gpa, len;
	struct gm_block *block;
	uint64_t off;		/* inside the block */
	unsigned flags;		/* enum gm_flags */
	unsigned id;		/* stable index: KVM slot number */
	bool used;
};

/*
 * Per 4 KiB page of a block: which 64-byte lines hold decoded code, and a
 * generation that every write to such a line increments.  A decoded block of
 * code remembers the generation and is stale when it differs.
 */
struct gm_code {
	_Atomic uint64_t lines;
	_Atomic uint32_t gen;
	uint32_t pad;
};

struct gm_block {
	char name[32];
	uint8_t *host;
	uint64_t size;
	struct gm_code *code;	/* size / 4096 entries, allocated by gm_code_enable() */
	_Atomic uint64_t *dirty;	/* bit a page; always present, set when DIRTY_LOG */
	struct bell *dirty_bell;	/* NULL: none */
	struct gm_block *next;
};

/* Host view of the page that holds @at, found in the enabled slots. */
struct gm_page {
	uint8_t *host;		/* start of the page */
	struct gm_block *block;
	uint64_t block_off;	/* page start inside the block */
	bool readonly, dirty_log;
	bool code_only;		/* SMRAM that data accesses do not reach */
};

/* false: no slot there (MMIO or hole).  Lock-free; any vCPU thread. */
bool gm_lookup(struct guest_mem *gm, uint64_t gpa, struct gm_page *out);
/* The same as seen in system management mode, by a fetch (@code) or a data access. */
bool gm_lookup_smm(struct guest_mem *gm, uint64_t gpa, bool code, struct gm_page *out);

/* Engine listener: called under dev_lock after any slot change in [at, at+len). */
struct gm_listener {
	void (*changed)(void *opaque, struct gm_slot *s, const struct gm_slot *old);
	/* Fetch-and-clear the engine's own dirty log of @s into the block's bitmap. */
	void (*dirty_sync)(void *opaque, struct gm_slot *s);
	void (*smram_changed)(void *opaque);	/* NULL: no system management mode */
	bool dirty_tells;	/* pages are marked as they are written, not by dirty_sync() */
	void *opaque;
};
void gm_set_listener(struct guest_mem *gm, const struct gm_listener *l);
/* Call @fn for every slot in use, in the order in which they were added. */
void gm_for_each_slot(struct guest_mem *gm, void (*fn)(void *opaque, struct gm_slot *s),
		      void *opaque);

/* Allocate the code marks of every block, present and future (software CPU only). */
void gm_code_enable(struct guest_mem *gm);

static inline void gm_mark_dirty(struct gm_block *b, uint64_t off)
{
	uint64_t bit = 1ull << (off >> 12 & 63);
	uint64_t was = atomic_fetch_or_explicit(&b->dirty[off >> 18], bit, memory_order_relaxed);

	if (!(was & bit))
		bell_ring(b->dirty_bell);
}

/* A write of @len bytes at @off happened: bump the generation of marked lines. */
void gm_code_written(struct gm_block *b, uint64_t off, size_t len);

#endif
