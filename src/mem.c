/* SPDX-License-Identifier: MIT */
/* Guest physical memory: blocks, slots, bounds-checked copies; see mem.h. */
#include "mem_cpu.h"
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

struct guest_mem {
	struct gm_slot slots[GM_MAX_SLOTS];
	unsigned nslots;
	struct gm_block *blocks;
	struct gm_listener listener;
	bool code_enabled;
	struct gm_slot smram;		/* not in use: block is NULL */
	bool smram_code_only;
	uint64_t ram_size, ram_below_4g;
};

struct guest_mem *gm_new(void)
{
	return hv_zalloc(sizeof(struct guest_mem));
}

void gm_free(struct guest_mem *gm)
{
	struct gm_block *b, *next;

	if (!gm)
		return;
	for (b = gm->blocks; b; b = next) {
		next = b->next;
		munmap(b->host, b->size);
		if (b->code)
			munmap(b->code, b->size / GM_PAGE * sizeof(struct gm_code));
		munmap(b->dirty, (b->size >> 18) * 8 + 8);
		free(b);
	}
	free(gm);
}

static void *map_anon(size_t len)
{
	void *p = mmap(NULL, len, PROT_READ | PROT_WRITE,
		       MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

	return p == MAP_FAILED ? NULL : p;
}

static void block_code_alloc(struct gm_block *b)
{
	if (!b->code)
		b->code = map_anon(b->size / GM_PAGE * sizeof(struct gm_code));
	HV_BUG_ON(!b->code);
}

/*
 * Guest memory has the guest's own races: its processors and devices read and
 * write it without locks of ours, as on the real machine.
 */
#ifdef __SANITIZE_THREAD__
void AnnotateBenignRaceSized(const char *file, int line, const volatile void *p, unsigned long len,
			     const char *what);

static void races_are_the_guests(struct gm_block *b)
{
	AnnotateBenignRaceSized(__FILE__, __LINE__, b->host, b->size, b->name);
}
#else
static void races_are_the_guests(struct gm_block *b) { }
#endif

#define HUGE_PAGE ((uintptr_t)MiB(2))

/*
 * Private memory in huge pages where there are: a first touch costs a tenth then, and so
 * do this computer's own TLB misses.  A mapping of /dev/zero is that with a name in
 * /proc/PID/maps, which tells guest memory from ours.
 */
static void *map_ram(uint64_t size)
{
	uint64_t all = size >= HUGE_PAGE ? size + HUGE_PAGE : size;
	int fd = open("/dev/zero", O_RDWR | O_CLOEXEC);
	int flags = MAP_PRIVATE | MAP_NORESERVE | (fd < 0 ? MAP_ANONYMOUS : 0);
	uint8_t *p = mmap(NULL, all, PROT_READ | PROT_WRITE, flags, fd, 0), *at;

	if (fd >= 0)
		close(fd);
	if (p == MAP_FAILED || all == size)
		return p;
	at = (uint8_t *)(((uintptr_t)p + HUGE_PAGE - 1) & ~(HUGE_PAGE - 1));
	if (at != p)
		munmap(p, (size_t)(at - p));
	if (p + all != at + size)
		munmap(at + size, (size_t)(p + all - (at + size)));
	madvise(at, size, MADV_HUGEPAGE);	/* without: slower, no worse */
	return at;
}

static bool block_map(struct gm_block *b, struct err *e)
{
	b->host = map_ram(b->size);
	if (b->host == MAP_FAILED)
		return err_errno(
			e, HV_EXIT_HOST, errno,
			"cannot map %llu MiB of guest memory (%s); give less with --memory",
			(unsigned long long)(b->size >> 20), b->name);
	races_are_the_guests(b);
	return true;
}

struct gm_block *gm_block_new(struct guest_mem *gm, const char *name, uint64_t size,
			      struct err *e)
{
	struct gm_block *b = hv_zalloc(sizeof(*b));

	HV_BUG_ON(!size || size % GM_PAGE);
	snprintf(b->name, sizeof(b->name), "%s", name);
	b->size = size;
	if (!block_map(b, e)) {
		free(b);
		return NULL;
	}
	b->dirty = map_anon((size >> 18) * 8 + 8);
	HV_BUG_ON(!b->dirty);
	if (gm->code_enabled)
		block_code_alloc(b);
	b->next = gm->blocks;
	gm->blocks = b;
	return b;
}

uint64_t gm_block_size(const struct gm_block *b)
{
	return b->size;
}

const char *gm_block_name(const struct gm_block *b)
{
	return b->name;
}

struct gm_block *gm_block_next(struct guest_mem *gm, struct gm_block *b)
{
	return b ? b->next : gm->blocks;
}

void gm_code_enable(struct guest_mem *gm)
{
	gm->code_enabled = true;
	for (struct gm_block *b = gm->blocks; b; b = b->next)
		block_code_alloc(b);
}

void gm_code_written(struct gm_block *b, uint64_t off, size_t len)
{
	if (!b->code || !len)
		return;
	for (uint64_t page = off >> 12; page <= (off + len - 1) >> 12; page++) {
		uint64_t first = page == off >> 12 ? (off & 4095) >> 6 : 0;
		uint64_t last = page == (off + len - 1) >> 12 ? ((off + len - 1) & 4095) >> 6 : 63;
		uint64_t mask = (~0ull << first) & (~0ull >> (63 - last));

		if (atomic_load_explicit(&b->code[page].lines, memory_order_acquire) & mask)
			atomic_fetch_add(&b->code[page].gen, 1);
	}
}

/* All host-side writes into guest memory pass here. */
static void block_written(struct gm_block *b, uint64_t off, size_t len)
{
	gm_code_written(b, off, len);
	for (uint64_t page = off >> 12; len && page <= (off + len - 1) >> 12; page++)
		gm_mark_dirty(b, page << 12);
}

bool gm_block_write(struct gm_block *b, uint64_t off, const void *src, size_t len)
{
	if (!range_ok(off, len, b->size))
		return false;
	memcpy(b->host + off, src, len);
	block_written(b, off, len);
	return true;
}

bool gm_block_read(const struct gm_block *b, uint64_t off, void *dst, size_t len)
{
	if (!range_ok(off, len, b->size))
		return false;
	memcpy(dst, b->host + off, len);
	return true;
}

void gm_set_listener(struct guest_mem *gm, const struct gm_listener *l)
{
	gm->listener = *l;
}

void gm_for_each_slot(struct guest_mem *gm, void (*fn)(void *opaque, struct gm_slot *s),
		      void *opaque)
{
	for (unsigned i = 0; i < gm->nslots; i++)
		fn(opaque, &gm->slots[i]);
}

static bool overlaps(const struct guest_mem *gm, const struct gm_slot *self, uint64_t at,
		     uint64_t len)
{
	for (unsigned i = 0; i < gm->nslots; i++) {
		const struct gm_slot *s = &gm->slots[i];

		if (s == self || (s->flags & (GM_DISABLED | GM_RESERVED)) == GM_DISABLED)
			continue;
		if (at < s->gpa + s->len && s->gpa < at + len)
			return true;
	}
	return false;
}

static bool slot_fits(const struct guest_mem *gm, const struct gm_slot *self, uint64_t at,
		      uint64_t len, const struct gm_block *block, uint64_t off, unsigned flags)
{
	if (at % GM_PAGE || len % GM_PAGE || off % GM_PAGE || !len)
		return false;
	if (!range_ok(off, len, block->size) || at + len < at)
		return false;
	return flags & GM_DISABLED || !overlaps(gm, self, at, len);
}

struct gm_slot *gm_slot_add(struct guest_mem *gm, gpa_t at, uint64_t len, struct gm_block *block,
			    uint64_t off, unsigned flags, struct err *e)
{
	struct gm_slot *s;
	struct gm_slot old = { .flags = GM_DISABLED };

	if (gm->nslots == GM_MAX_SLOTS || !slot_fits(gm, NULL, at.v, len, block, off, flags)) {
		err_set(e, HV_EXIT_GENERIC, "memory slot %s at %#llx+%#llx does not fit",
			block->name, (unsigned long long)at.v, (unsigned long long)len);
		return NULL;
	}
	s = &gm->slots[gm->nslots];
	*s = (struct gm_slot){ .gpa = at.v, .len = len, .block = block, .off = off,
			       .flags = flags, .id = gm->nslots, .used = true };
	gm->nslots++;
	if (gm->listener.changed)
		gm->listener.changed(gm->listener.opaque, s, &old);
	return s;
}

bool gm_slot_set(struct guest_mem *gm, struct gm_slot *s, gpa_t at, struct gm_block *block,
		 uint64_t off, unsigned flags)
{
	struct gm_slot old = *s;

	if (!slot_fits(gm, s, at.v, s->len, block, off, flags))
		return false;
	if (old.gpa == at.v && old.block == block && old.off == off && old.flags == flags)
		return true;
	s->gpa = at.v;
	s->block = block;
	s->off = off;
	s->flags = flags;
	if (gm->listener.changed)
		gm->listener.changed(gm->listener.opaque, s, &old);
	return true;
}

static struct gm_slot *find_slot(struct guest_mem *gm, uint64_t at)
{
	for (unsigned i = 0; i < gm->nslots; i++) {
		struct gm_slot *s = &gm->slots[i];

		if (at - s->gpa < s->len && !(s->flags & GM_DISABLED))
			return s;
	}
	return NULL;
}

static void slot_page(const struct gm_slot *s, uint64_t gpa, struct gm_page *out)
{
	out->block = s->block;
	out->block_off = s->off + ((gpa & ~(uint64_t)(GM_PAGE - 1)) - s->gpa);
	out->host = s->block->host + out->block_off;
	out->readonly = s->flags & GM_READONLY;
	out->dirty_log = s->flags & GM_DIRTY_LOG;
	out->code_only = false;
}

bool gm_lookup(struct guest_mem *gm, uint64_t gpa, struct gm_page *out)
{
	struct gm_slot *s = find_slot(gm, gpa);

	if (!s)
		return false;
	slot_page(s, gpa, out);
	return true;
}

bool gm_lookup_smm(struct guest_mem *gm, uint64_t gpa, bool code, struct gm_page *out)
{
	struct gm_slot s = gm->smram;
	bool code_only = gm->smram_code_only;

	if (!s.block || gpa - s.gpa >= s.len || (code_only && !code))
		return gm_lookup(gm, gpa, out);
	slot_page(&s, gpa, out);
	out->code_only = code_only;
	return true;
}

void gm_set_smram(struct guest_mem *gm, gpa_t at, uint64_t len, struct gm_block *block,
		  uint64_t off, bool code_only)
{
	HV_BUG_ON(block && !slot_fits(gm, NULL, at.v, len, block, off, GM_DISABLED));
	gm->smram = (struct gm_slot){ .gpa = at.v, .len = len, .block = block, .off = off };
	gm->smram_code_only = code_only;
	if (gm->listener.smram_changed)
		gm->listener.smram_changed(gm->listener.opaque);
}

bool gm_map(struct guest_mem *gm, gpa_t at, size_t len, bool writable, struct gm_span *out)
{
	struct gm_slot *s = find_slot(gm, at.v);
	uint64_t in;

	if (!s || !len || (writable && s->flags & GM_READONLY))
		return false;
	in = at.v - s->gpa;
	out->host = s->block->host + s->off + in;
	out->len = MIN(len, s->len - in);
	out->writable = writable;
	out->at = at;
	return true;
}

void gm_unmap(struct guest_mem *gm, struct gm_span *sp, size_t dirtied)
{
	struct gm_slot *s;

	if (!dirtied || !sp->writable)
		return;
	s = find_slot(gm, sp->at.v);
	if (s && range_ok(sp->at.v - s->gpa, dirtied, s->len))
		block_written(s->block, s->off + (sp->at.v - s->gpa), dirtied);
}

static void discard_span(struct guest_mem *gm, struct gm_span *sp)
{
	uintptr_t from = ((uintptr_t)sp->host + GM_PAGE - 1) & ~(uintptr_t)(GM_PAGE - 1);
	uintptr_t to = ((uintptr_t)sp->host + sp->len) & ~(uintptr_t)(GM_PAGE - 1);

	if (from < to && madvise((void *)from, to - from, MADV_DONTNEED) == 0)
		gm_unmap(gm, sp, sp->len);	/* contents changed */
}

void gm_discard(struct guest_mem *gm, gpa_t at, uint64_t len)
{
	struct gm_span sp;

	while (len) {
		if (!gm_map(gm, at, len, true, &sp))
			return;
		discard_span(gm, &sp);
		at.v += sp.len;
		len -= sp.len;
	}
}

/* Whole range backed (and writable)?  Checked before the first byte moves. */
static bool range_backed(struct guest_mem *gm, gpa_t at, size_t len, bool write)
{
	struct gm_span sp;

	if (at.v + len < at.v)
		return false;
	while (len) {
		if (!gm_map(gm, at, len, write, &sp))
			return false;
		at.v += sp.len;
		len -= sp.len;
	}
	return true;
}

bool gm_read(struct guest_mem *gm, gpa_t at, void *dst, size_t len)
{
	struct gm_span sp;
	uint8_t *p = dst;

	if (!range_backed(gm, at, len, false))
		return false;
	for (; len; at.v += sp.len, p += sp.len, len -= sp.len) {
		if (!gm_map(gm, at, len, false, &sp))
			return false;
		memcpy(p, sp.host, sp.len);
	}
	return true;
}

bool gm_write(struct guest_mem *gm, gpa_t at, const void *src, size_t len)
{
	struct gm_span sp;
	const uint8_t *p = src;

	if (!range_backed(gm, at, len, true))
		return false;
	for (; len; at.v += sp.len, p += sp.len, len -= sp.len) {
		if (!gm_map(gm, at, len, true, &sp))
			return false;
		memcpy(sp.host, p, sp.len);
		gm_unmap(gm, &sp, sp.len);
	}
	return true;
}

/* Single loads and stores, so that another CPU never sees half of an aligned index. */
#define GM_ACCESS(bits) \
	bool gm_read_le##bits(struct guest_mem *gm, gpa_t at, uint##bits##_t *out) \
	{ \
		struct gm_span sp; \
		if (at.v % sizeof(*out) || !gm_map(gm, at, sizeof(*out), false, &sp) || \
		    sp.len < sizeof(*out)) \
			return gm_read(gm, at, out, sizeof(*out)); \
		*out = __atomic_load_n((uint##bits##_t *)sp.host, __ATOMIC_ACQUIRE); \
		return true; \
	} \
	bool gm_write_le##bits(struct guest_mem *gm, gpa_t at, uint##bits##_t v) \
	{ \
		struct gm_span sp; \
		if (at.v % sizeof(v) || !gm_map(gm, at, sizeof(v), true, &sp) || \
		    sp.len < sizeof(v)) \
			return gm_write(gm, at, &v, sizeof(v)); \
		__atomic_store_n((uint##bits##_t *)sp.host, v, __ATOMIC_RELEASE); \
		gm_unmap(gm, &sp, sizeof(v)); \
		return true; \
	}
GM_ACCESS(16)
GM_ACCESS(32)
GM_ACCESS(64)

uint64_t gm_ram_size(const struct guest_mem *gm)
{
	return gm->ram_size;
}

uint64_t gm_ram_below_4g(const struct guest_mem *gm)
{
	return gm->ram_below_4g;
}

void gm_set_ram_size(struct guest_mem *gm, uint64_t total, uint64_t below_4g)
{
	gm->ram_size = total;
	gm->ram_below_4g = below_4g;
}

void gm_dirty_set_bell(struct gm_block *b, struct bell *bell)
{
	b->dirty_bell = bell;
}

bool gm_dirty_tells(const struct guest_mem *gm)
{
	return gm->listener.dirty_tells;
}

bool gm_dirty_harvest(struct guest_mem *gm, struct gm_slot *s, uint64_t *bitmap)
{
	uint64_t page0 = s->off >> 12, pages = s->len >> 12;
	bool any = false;

	if (gm->listener.dirty_sync)
		gm->listener.dirty_sync(gm->listener.opaque, s);
	memset(bitmap, 0, (pages + 63) / 64 * 8);
	for (uint64_t w = page0 >> 6; w <= (page0 + pages - 1) >> 6; w++) {
		uint64_t bits = atomic_load_explicit(&s->block->dirty[w], memory_order_relaxed);

		if (!bits)
			continue;
		bits = atomic_exchange(&s->block->dirty[w], 0);
		for (; bits; bits &= bits - 1) {
			uint64_t page = w * 64 + (uint64_t)__builtin_ctzll(bits) - page0;

			if (page < pages) {
				bitmap[page / 64] |= 1ull << page % 64;
				any = true;
			}
		}
	}
	return any;
}
