/* SPDX-License-Identifier: MIT */
/*
 * Blocks of decoded code: built per vCPU, found by physical address and mode
 * bits, checked against self-modifying code.
 *
 * A block lies in one page; an instruction that crosses into the next page
 * is a block of its own (block_cross.c).  What is no RAM is decoded each time
 * into a transient block that nothing links to.  Whatever must not be entered
 * quickly (that, dead ones) has genp pointing at soft_never_gen.
 *
 * Blocks live in an arena and are freed only all together; a block whose
 * bytes changed is dead and leaves the hash.  A block whose page was written
 * elsewhere has a stale generation and its bytes are compared again.
 */
#include "build.h"
#include "verify.h"
#include <stdlib.h>
#include <sys/mman.h>

#define HASH_BITS 17
#define ARENA_SIZE ((size_t)128 << 20)
#define HUGE_PAGE ((size_t)2 << 20)

_Atomic uint32_t soft_never_gen = 1;

bool soft_blocks_init(struct soft *s)
{
	struct block_cache *c = hv_zalloc(sizeof(*c));

	c->hash = hv_zalloc(sizeof(*c->hash) << HASH_BITS);
	c->nowhere = hv_zalloc(sizeof(struct block) + BUILD_UOPS * sizeof(struct uop));
	c->map = mmap(NULL, ARENA_SIZE + HUGE_PAGE, PROT_READ | PROT_WRITE,
		      MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (c->map == MAP_FAILED) {
		free(c->hash);
		free(c->nowhere);
		free(c);
		return false;
	}
	c->arena = c->map + (-(uintptr_t)c->map & (HUGE_PAGE - 1));
	madvise(c->arena, ARENA_SIZE, MADV_HUGEPAGE);	/* without: slower, no worse */
	s->blocks = c;
	return true;
}

void soft_blocks_free(struct soft *s)
{
	if (!s->blocks)
		return;
	munmap(s->blocks->map, ARENA_SIZE + HUGE_PAGE);
	free(s->blocks->hash);
	free(s->blocks->nowhere);
	free(s->blocks);
	s->blocks = NULL;
}

void soft_blocks_flush(struct soft *s)
{
	struct block_cache *c = s->blocks;

	memset(c->jc, 0, sizeof(c->jc));
	for (size_t i = 0; i < ARRAY_SIZE(c->jc); i++)
		c->jc[i].mode = ~0u;
	memset(c->hash, 0, sizeof(*c->hash) << HASH_BITS);
	c->used = 0;
	c->flushes++;
	s->cur = NULL;
	if (s->jit)
		soft_jit_flush(s);
}

static struct block **bucket(struct block_cache *c, const uint8_t *host, uint32_t mode)
{
	uint64_t k = ((uintptr_t)host ^ (uint64_t)mode << 32) * 0x9e3779b97f4a7c15ull;

	return &c->hash[k >> (64 - HASH_BITS)];
}

/* ---- self-modifying code ------------------------------------------------------ */
static uint64_t line_mask(unsigned off, unsigned len)
{
	unsigned first = (off & 4095) >> 6, last = ((off & 4095) + len - 1) >> 6;

	return (~0ull << first) & (~0ull >> (63 - MIN(last, 63u)));
}

/* Announce code at [off, off+len) of a page; returns the generation to remember. */
uint32_t soft_mark_code(struct soft *s, struct gm_block *b, uint64_t off, unsigned len)
{
	struct gm_code *c = &b->code[off >> 12];
	uint64_t mask = line_mask((unsigned)(off & 4095), len);

	if (!atomic_fetch_or(&c->lines, mask))
		soft_protect_code(s, b, off & ~4095ull);
	return atomic_load(&c->gen);
}

/* False: another vCPU wrote the page meanwhile. */
bool soft_still_marked(struct gm_block *b, uint64_t off, unsigned len, uint32_t gen)
{
	struct gm_code *c = &b->code[off >> 12];
	uint64_t mask = line_mask((unsigned)(off & 4095), len);

	return (atomic_load(&c->lines) & mask) == mask && atomic_load(&c->gen) == gen;
}

HN(soft_h_cut)
{
	s->rip = UOP_RIP(s, u);
	return NULL;
}

/* Make what follows @u leave the block.  A branch leaves it anyway. */
static void cut_after(struct soft *s, const struct uop *u)
{
	struct block *b = s->cur;
	size_t i;

	if (!u || !b)
		return;
	if (u < b->u || u >= b->u + b->nuops) {
		s->jit_cut = true;	/* a copy of its uop, called by translated code */
		return;
	}
	i = (size_t)(u - b->u) + 1;
	if (i < b->nuops)
		b->u[i].fn = soft_h_cut;
	b->cut = true;
}

/* Forget the marks first: a reader of the old generation then finds its marks gone. */
static bool forget_code(struct soft *s, struct gm_block *b, uint64_t off, size_t len)
{
	struct gm_code *c = &b->code[off >> 12];

	if (!(atomic_load(&c->lines) & line_mask((unsigned)(off & 4095), (unsigned)len)))
		return false;
	if (unlikely(s->vfy))
		soft_verify_effect(s);
	atomic_store(&c->lines, 0);
	atomic_fetch_add(&c->gen, 1);
	return true;
}

void soft_code_store(struct soft *s, const struct uop *u, struct gm_block *b, uint64_t off,
		     size_t len)
{
	bool hit = false;

	if (!b->code)
		return;
	while (len) {
		size_t n = MIN(len, 4096 - (off & 4095));

		hit |= forget_code(s, b, off, n);
		off += n;
		len -= n;
	}
	if (hit)
		cut_after(s, u);
}

void soft_block_kill(struct soft *s, struct block *b)
{
	struct block **p = bucket(s->blocks, b->host, b->mode);

	for (; *p; p = &(*p)->hash_next)
		if (*p == b) {
			*p = b->hash_next;
			break;
		}
	b->genp = &soft_never_gen;
	b->gen = 0;
}

static bool fresh(const struct block *b)
{
	return b->cross ? soft_cross_fresh(b) : b->gen == atomic_load(b->genp);
}

/* A stale block: true if its bytes are as they were, and then it is fresh again. */
static bool block_revive(struct soft *s, struct block *b)
{
	uint32_t gen;

	if (b->cross)
		return soft_cross_revive(s, b);
	gen = soft_mark_code(s, b->gmb, b->off, b->bytes);
	if (memcmp(b->host, b->copy, b->bytes) || b->cut ||
	    !soft_still_marked(b->gmb, b->off, b->bytes, gen))
		return false;
	b->gen = gen;
	if (b->jit)
		soft_jit_revived(s, b);
	return true;
}

struct block *soft_block_alloc(struct soft *s)
{
	struct block_cache *c = s->blocks;
	size_t need = sizeof(struct block) + BUILD_UOPS * sizeof(struct uop) + BUILD_INSNS * 15 +
		      sizeof(struct cross) + 128;

	if (c->used + need > ARENA_SIZE)
		soft_blocks_flush(s);
	return (struct block *)(void *)(c->arena + c->used);
}

void soft_block_commit(struct builder *w, const uint8_t *bytes)
{
	struct block_cache *c = w->s->blocks;
	struct block *b = w->b;
	uint8_t *end = (uint8_t *)&b->u[w->nuops];

	memcpy(end, bytes, b->bytes);
	b->copy = end;
	end += b->bytes;
	c->used = ((size_t)(end - c->arena) + 15) & ~(size_t)15;
}

/* For what belongs to a block and lives as long as it. */
void *soft_arena_alloc(struct soft *s, size_t n)
{
	struct block_cache *c = s->blocks;
	void *p = c->arena + c->used;

	if (n > ARENA_SIZE - c->used)
		return NULL;
	c->used = MIN((c->used + n + 15) & ~(size_t)15, ARENA_SIZE);
	return p;
}

void soft_block_insert(struct soft *s, struct block *b)
{
	struct block **h = bucket(s->blocks, b->host, b->mode);

	b->hash_next = *h;
	*h = b;
	if (s->jit)
		soft_jit_watch(s, b);
}

static uint64_t lin_of(const struct soft *s, uint64_t rip)
{
	return s->mode & MODE_CS64 ? rip : (uint32_t)(rip + s->seg[SEG_CS].base);
}

static struct block *build(struct soft *s, uint32_t mode, const struct gm_page *pg, uint64_t lin)
{
	unsigned off = lin & 4095, avail = 4096 - off;
	struct builder w = { .s = s, .mode = mode, .host = pg->host + off };

	w.single = mode & (MODE_TF | MODE_CODE_BP);
	for (int tries = 0;; tries++) {
		uint32_t gen;

		w.b = soft_block_alloc(s);
		*w.b = (struct block){ .mode = mode, .host = w.host, .gmb = pg->block,
				       .off = pg->block_off + off };
		w.nuops = w.ninsns = w.bytes = 0;
		w.ended = w.branch = false;
		/* Mark generously before reading, then look whether anybody wrote. */
		gen = soft_mark_code(s, pg->block, w.b->off, MIN(avail, 64u));
		soft_build_page(&w, avail);
		if (!w.ninsns)
			return soft_cross_build(s, mode, pg, lin);
		soft_build_finish(&w);
		soft_block_commit(&w, w.host);
		w.b->gen = gen;
		if (w.bytes > 1)
			(void)soft_mark_code(s, pg->block, w.b->off, w.bytes);
		if (tries > 100 || (soft_still_marked(pg->block, w.b->off, MAX(w.bytes, 1u), gen) &&
				    !memcmp(w.b->copy, w.host, w.bytes)))
			break;
	}
	w.b->genp = &pg->block->code[w.b->off >> 12].gen;
	soft_block_insert(s, w.b);
	return w.b;
}

/* ---- lookup --------------------------------------------------------------------- */
static void check_limit(struct soft *s)
{
	if (s->mode & MODE_CS64 ? (uint64_t)sext(s->rip, 6) != s->rip :
				  s->rip > s->seg[SEG_CS].limit)
		soft_fault_code(s, NULL, EXC_GP, 0);
}

/* Not RAM: a page of all-ones. */
static struct block *block_nowhere(struct soft *s, uint32_t mode)
{
	static const uint8_t ones[16] = { [0 ... 15] = 0xff };
	struct builder w = { .s = s, .mode = mode, .single = true, .host = ones,
			     .b = s->blocks->nowhere };

	*w.b = (struct block){ .genp = &soft_never_gen, .mode = mode, .transient = true };
	soft_build_page(&w, sizeof(ones));
	soft_build_finish(&w);
	return w.b;
}

static struct block *hash_find(struct soft *s, const uint8_t *host, uint32_t mode)
{
	struct block **head = bucket(s->blocks, host, mode), **at = head, *b;

	while ((b = *at) && (b->host != host || b->mode != mode))
		at = &b->hash_next;
	/* What is wanted now will be again: each block passed on the way is a cache miss. */
	if (b && at != head) {
		*at = b->hash_next;
		b->hash_next = *head;
		*head = b;
	}
	return b;
}

static void remember(struct soft *s, uint32_t mode, struct block *b)
{
	if (!(mode & (MODE_TF | MODE_CODE_BP)))
		*jc_slot(s, s->rip) = (struct jc_entry){ .rip = s->rip, .mode = mode, .b = b };
}

/* Without a walk: the page is in the fetch TLB and its block fresh. */
static struct block *block_known(struct soft *s, uint32_t mode, uint64_t lin)
{
	const struct soft_tlbe *e = &s->tlb[lin >> 12 & (TLB_SIZE - 1)];
	struct block *b;

	if (e->tag_x != (lin & ~0xfffull) || (!(s->mode & MODE_CS64) &&
					      s->rip > s->seg[SEG_CS].limit))
		return NULL;
	b = hash_find(s, (const uint8_t *)(uintptr_t)(lin + e->delta), mode);
	if (b && b->cross)
		return soft_cross_known(s, b, lin);
	if (!b || b->gen != atomic_load_explicit(b->genp, memory_order_relaxed))
		return NULL;
	remember(s, mode, b);
	return b;
}

struct block *soft_block_ready(struct soft *s)
{
	return block_known(s, s->mode, lin_of(s, s->rip));
}

struct block *soft_block_get(struct soft *s, uint32_t mode)
{
	uint64_t lin = lin_of(s, s->rip);
	struct block *b = block_known(s, mode, lin);
	struct gm_page pg;
	bool ram;

	if (b)
		return b;
	check_limit(s);
	soft_fetch_page(s, lin, &pg, &ram);
	if (!ram)
		return block_nowhere(s, mode);
	b = jc_slot(s, s->rip)->b;	/* its translation may have been all that was missing */
	if (!b || b->host != pg.host + (lin & 4095) || b->mode != mode ||
	    b->genp == &soft_never_gen)
		b = hash_find(s, pg.host + (lin & 4095), mode);
	if (b && b->cross)
		b = soft_cross_pick(s, b, lin);
	if (b && !fresh(b) && !block_revive(s, b)) {
		soft_block_kill(s, b);
		b = NULL;
	}
	if (!b)
		b = build(s, mode, &pg, lin);
	if (b->cross)
		soft_jit_crossed(s, b);
	else if (!b->transient)
		remember(s, mode, b);
	return b;
}
