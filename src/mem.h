/* SPDX-License-Identifier: MIT */
/*
 * Guest physical memory: RAM, ROM and video memory as the guest sees it.
 *
 * A gm_block is host memory (private, in huge pages where there are; mapped for the
 * life of the VM).
 * A gm_slot shows a part of a block at a guest physical address.  Slots
 * never overlap: i440FX PAM switching re-points a slot from ROM to RAM
 * instead of stacking priorities.
 *
 * Devices copy with gm_read()/gm_write() or map spans for block and network
 * payloads.  Host addresses belong to src/mem.c and src/cpu/ (mem_cpu.h).
 *
 * Locking: slots change only under vm->dev_lock with a call to the
 * registered listener, which makes every vCPU drop stale translations.
 * Copies take no lock: blocks are never unmapped while the VM lives.
 */
#ifndef HV_MEM_H
#define HV_MEM_H

#include "err.h"
#include "util.h"

typedef struct { uint64_t v; } gpa_t;
#define GPA(x) ((gpa_t){ (x) })

#define GM_PAGE 4096u
#define GM_MAX_SLOTS 64

struct guest_mem;
struct bell;
struct gm_block;
struct gm_slot;

enum gm_flags {
	GM_READONLY = 1 << 0,	/* guest writes go to the bus (ROM: nobody there; flash) */
	GM_DIRTY_LOG = 1 << 1,	/* record written pages (video memory) */
	GM_DISABLED = 1 << 2,	/* slot exists but shows nothing */
	GM_RESERVED = 1 << 3,	/* its place is kept while it is disabled: the board's own */
};

struct guest_mem *gm_new(void);
void gm_free(struct guest_mem *gm);

/*
 * New zeroed block of @size bytes (page multiple), named for /proc/PID/maps.
 * Host memory is committed on first touch.  NULL + @e on failure.  Owned by @gm.
 */
struct gm_block *gm_block_new(struct guest_mem *gm, const char *name, uint64_t size,
			      struct err *e);
uint64_t gm_block_size(const struct gm_block *b);
const char *gm_block_name(const struct gm_block *b);
/* All blocks: NULL starts, NULL ends; the order depends on how the machine was made only. */
struct gm_block *gm_block_next(struct guest_mem *gm, struct gm_block *b);

/* Copy into/out of a block directly (firmware load, VRAM scan-out). false: outside. */
HV_MUSTCHECK bool gm_block_write(struct gm_block *b, uint64_t off, const void *src, size_t len);
HV_MUSTCHECK bool gm_block_read(const struct gm_block *b, uint64_t off, void *dst, size_t len);

/* Show @block [@off, @off+@len) at @at.  Overlap with an enabled or reserved slot is an error. */
struct gm_slot *gm_slot_add(struct guest_mem *gm, gpa_t at, uint64_t len, struct gm_block *block,
			    uint64_t off, unsigned flags, struct err *e);
/* Re-point, move, enable or disable a slot.  Under dev_lock.  false: overlap, no change made. */
bool gm_slot_set(struct guest_mem *gm, struct gm_slot *s, gpa_t at, struct gm_block *block,
		 uint64_t off, unsigned flags);

/*
 * SMRAM: what processors in system management mode see at [@at, @at+@len) in
 * place of the slots: @block from @off on, or nothing else (@block NULL).
 * @code_only: they fetch instructions from there, their data is as outside.
 * Under dev_lock.  Devices never see it.
 */
void gm_set_smram(struct guest_mem *gm, gpa_t at, uint64_t len, struct gm_block *block,
		  uint64_t off, bool code_only);

/* Guest memory copies: fail whole (false) unless every byte is RAM/ROM (write: RAM). */
HV_MUSTCHECK bool gm_read(struct guest_mem *gm, gpa_t at, void *dst, size_t len);
HV_MUSTCHECK bool gm_write(struct guest_mem *gm, gpa_t at, const void *src, size_t len);
HV_MUSTCHECK bool gm_read_le16(struct guest_mem *gm, gpa_t at, uint16_t *out);
HV_MUSTCHECK bool gm_read_le32(struct guest_mem *gm, gpa_t at, uint32_t *out);
HV_MUSTCHECK bool gm_read_le64(struct guest_mem *gm, gpa_t at, uint64_t *out);
HV_MUSTCHECK bool gm_write_le16(struct guest_mem *gm, gpa_t at, uint16_t v);
HV_MUSTCHECK bool gm_write_le32(struct guest_mem *gm, gpa_t at, uint32_t v);
HV_MUSTCHECK bool gm_write_le64(struct guest_mem *gm, gpa_t at, uint64_t v);

/*
 * Span: host view of [at, at+len) for payloads.  May come back shorter
 * (slot boundary): loop.  false: not RAM (or read-only with @writable).
 * gm_unmap() reports how many leading bytes were written.
 */
struct gm_span {
	void *host;
	size_t len;
	bool writable;
	gpa_t at;
};
HV_MUSTCHECK bool gm_map(struct guest_mem *gm, gpa_t at, size_t len, bool writable,
			 struct gm_span *out);
void gm_unmap(struct guest_mem *gm, struct gm_span *s, size_t dirtied);

/*
 * Give the host back the whole pages of [@at, @at+@len) that are RAM; they
 * read as zeros afterwards.  What is no RAM is left alone.
 */
void gm_discard(struct guest_mem *gm, gpa_t at, uint64_t len);

/* Total RAM given to the guest, and its part below 4 GiB (set by the board). */
uint64_t gm_ram_size(const struct guest_mem *gm);
uint64_t gm_ram_below_4g(const struct guest_mem *gm);
void gm_set_ram_size(struct guest_mem *gm, uint64_t total, uint64_t below_4g);

/*
 * Dirty pages of a slot with GM_DIRTY_LOG since the last call: one bit a
 * 4 KiB page into @bitmap (len/4096 bits, rounded up to u64s), log cleared.
 * Returns true if any bit is set.  Under dev_lock.
 */
bool gm_dirty_harvest(struct guest_mem *gm, struct gm_slot *s, uint64_t *bitmap);
/* Rung on any thread when a clean page of @b is marked; NULL: none is.  While no CPU runs. */
void gm_dirty_set_bell(struct gm_block *b, struct bell *bell);
/* Does that tell of what the guest itself writes?  Else only the harvest finds it. */
bool gm_dirty_tells(const struct guest_mem *gm);

#endif
