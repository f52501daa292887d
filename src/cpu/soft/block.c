/* SPDX-License-Identifier: MIT */
/*
 * Blocks of decoded code: built per vCPU, found by physical address and mode
 * bits, checked against self-modifying code.
 *
 * A block lies in one page.  An instruction that crosses into the next page
 * is decoded each time, from both pages as they are mapped then, into a
 * transient block that nothing links to.  Whatever must not be entered
 * quickly (transient, dead) has genp pointing at never_gen.
 *
 * Blocks live in an arena and are freed only all together; a block whose
 * bytes changed is dead and leaves the hash.  A block whose page was written
 * elsewhere has a stale generation and its bytes are compared again.
 */
#include "jit.h"
#include "verify.h"
#include <stdlib.h>
#include <sys/mman.h>

#define HASH_BITS 17
#define ARENA_SIZE ((size_t)128 << 20)
#define MAX_INSNS 32u
#define MAX_UOPS (MAX_INSNS * 2 + 3)	/* guards; closing uop; link */

static _Atomic uint32_t never_gen = 1;	/* blocks compare with 0 */

static void free_crossings(struct block_cache *c)
{
	free(c->crossing);
	for (unsigned i = 0; i < CROSSINGS; i++)
		free(c->crossings[i].b);
}

bool soft_blocks_init(struct soft *s)
{
	struct block_cache *c = hv_zalloc(sizeof(*c));

	c->hash = hv_zalloc(sizeof(*c->hash) << HASH_BITS);
	c->crossing = hv_zalloc(sizeof(struct block) + MAX_UOPS * sizeof(struct uop));
	for (unsigned i = 0; i < CROSSINGS; i++) {
		c->crossings[i].lin = 1;
		c->crossings[i].b = hv_zalloc(sizeof(struct block) + MAX_UOPS * sizeof(struct uop));
	}
	c->arena = mmap(NULL, ARENA_SIZE, PROT_READ | PROT_WRITE,
			MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (c->arena == MAP_FAILED) {
		free(c->hash);
		free_crossings(c);
		free(c);
		return false;
	}
	s->blocks = c;
	return true;
}

void soft_blocks_free(struct soft *s)
{
	if (!s->blocks)
		return;
	munmap(s->blocks->arena, ARENA_SIZE);
	free(s->blocks->hash);
	free_crossings(s->blocks);
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
static uint32_t mark_code(struct soft *s, struct gm_block *b, uint64_t off, unsigned len)
{
	struct gm_code *c = &b->code[off >> 12];
	uint64_t mask = line_mask((unsigned)(off & 4095), len);

	if (!atomic_fetch_or(&c->lines, mask))
		soft_protect_code(s, b, off & ~4095ull);
	return atomic_load(&c->gen);
}

/* False: another vCPU wrote the page meanwhile. */
static bool still_marked(struct gm_block *b, uint64_t off, unsigned len, uint32_t gen)
{
	struct gm_code *c = &b->code[off >> 12];
	uint64_t mask = line_mask((unsigned)(off & 4095), len);

	return (atomic_load(&c->lines) & mask) == mask && atomic_load(&c->gen) == gen;
}

static HN(h_cut)
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
		b->u[i].fn = h_cut;
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

static void block_kill(struct soft *s, struct block *b)
{
	struct block **p = bucket(s->blocks, b->host, b->mode);

	for (; *p; p = &(*p)->hash_next)
		if (*p == b) {
			*p = b->hash_next;
			break;
		}
	b->genp = &never_gen;
	b->gen = 0;
}

/* A stale block: true if its bytes are as they were, and then it is fresh again. */
static bool block_revive(struct soft *s, struct block *b)
{
	uint32_t gen = mark_code(s, b->gmb, b->off, b->bytes);

	if (memcmp(b->host, b->copy, b->bytes) || b->cut ||
	    !still_marked(b->gmb, b->off, b->bytes, gen))
		return false;
	b->gen = gen;
	if (b->jit)
		soft_jit_revived(s, b);
	return true;
}

/* ---- building ------------------------------------------------------------------- */
/* In place of what cannot be decoded. */
static HN(h_undefined)
{
	soft_fault(s, u, EXC_UD);
}

static HN(h_too_long)
{
	soft_fault_code(s, u, EXC_GP, 0);
}

/* Privilege and FPU availability, in front of instructions that need a look. */
HN(soft_h_guard)
{
	uint32_t attr = soft_optable_info[u->row].attr;
	bool ts = s->cr0 & 8, em = s->cr0 & 4;

	if (attr & A_PRIV && s->cpl)
		soft_fault_code(s, u, EXC_GP, 0);
	if (attr & A_SSE && (em || !(s->cr4 & 0x200)))
		soft_fault(s, u, EXC_UD);
	if (attr & A_MMX && em)
		soft_fault(s, u, EXC_UD);
	if (attr & A_AVX && (!(s->cr4 & 0x40000) || (s->xcr0 & 6) != 6))
		soft_fault(s, u, EXC_UD);
	if ((attr & (A_SSE | A_MMX | A_FPU | A_AVX) && ts) || (attr & A_FPU && em))
		soft_fault(s, u, EXC_NM);
	NEXT(s, u);
}

/* Closing uops: go on behind the block, directly or through the run loop. */
HN(soft_h_continue)
{
	return soft_fall(s, u);
}

struct builder {
	struct soft *s;
	struct block *b;
	const uint8_t *host;	/* first byte of the block */
	uint32_t mode;
	unsigned nuops, ninsns, bytes;
	bool ended, branch, single;
};

static void add_uop(struct builder *w, const struct uop *u)
{
	w->b->u[w->nuops++] = *u;
}

static void add_guard(struct builder *w, const struct uop *u)
{
	uint32_t attr = soft_optable_info[u->row].attr;
	struct uop g = *u;

	if (!(attr & A_PRIV) && !(attr & A_AVX && w->mode & MODE_AVX_OFF) &&
	    !(attr & (A_FPU | A_SSE | A_MMX) && w->mode & MODE_FPU_OFF))
		return;
	g.fn = soft_h_guard;
	g.len = 0;
	add_uop(w, &g);
}

/* Jcc behind CMP or TEST: one handler for both. */
static void try_fuse(struct builder *w, const struct uop *jcc)
{
	struct uop *prev = &w->b->u[w->nuops - 1];
	const struct optable_row *r = &soft_optable[jcc->row];
	uop_fn fn;

	if (!w->nuops || !((r->map == M1 && (r->opcode & 0xf0) == 0x70) ||
			   (r->map == M0F && (r->opcode & 0xf0) == 0x80)))
		return;
	fn = soft_fuse(prev, r->opcode & 15);
	if (fn)
		prev->fn = fn;
}

static bool is_branch(const struct optable_info *inf, const struct uop *u)
{
	const struct optable_row *r = &soft_optable[u->row];

	if (inf->n && inf->opd[0].kind == K_J)
		return true;
	return r->map == M1 && ((r->opcode & 0xfe) == 0xc2 ||
				(r->opcode == 0xff && (r->ext == X_(2) || r->ext == X_(4))));
}

static void add_insn(struct builder *w, struct uop *u, unsigned len)
{
	const struct optable_info *inf = &soft_optable_info[u->row];

	add_guard(w, u);
	if (inf->attr & A_END) {
		w->ended = true;
		w->branch = is_branch(inf, u);
		if (w->branch && !w->single)
			try_fuse(w, u);
	}
	soft_specialise(u);
	add_uop(w, u);
	w->ninsns++;
	w->bytes += len;
}

/* Its bytes count too: other bytes there make another block. */
static void add_bad(struct builder *w, int why, unsigned len)
{
	struct uop u = { .fn = why == -EXC_UD ? h_undefined : h_too_long,
			 .off = (uint16_t)w->bytes };

	add_uop(w, &u);
	w->ninsns++;
	w->bytes += len;
	w->ended = true;
}

static void finish(struct builder *w)
{
	struct block *b = w->b;
	struct uop u = { .fn = w->ended || w->single ? h_cut : soft_h_continue,
			 .off = (uint16_t)w->bytes };

	if (!w->branch)
		add_uop(w, &u);
	if (!w->s->vfy)		/* which looks at flags where nobody else can */
		soft_drop_flags(b->u, w->nuops);
	b->nuops = (uint16_t)w->nuops;
	b->n = (uint16_t)w->ninsns;
	b->bytes = (uint16_t)w->bytes;
	memset(&b->u[w->nuops++], 0, sizeof(struct uop));
}

/* Decode from @w->host, @avail bytes to the page end.  0 bytes: the first instruction crosses. */
static void build_page(struct builder *w, unsigned avail)
{
	unsigned max = w->single ? 1 : MAX_INSNS;

	while (!w->ended && w->ninsns < max) {
		struct uop u;
		int r = soft_decode(w->host + w->bytes, avail - w->bytes, w->mode, w->bytes, &u);

		if (r == 0)
			break;
		if (r < 0)
			add_bad(w, r, MIN(avail - w->bytes, 15u));
		else
			add_insn(w, &u, (unsigned)r);
	}
}

static struct block *block_alloc(struct soft *s)
{
	struct block_cache *c = s->blocks;
	size_t need = sizeof(struct block) + MAX_UOPS * sizeof(struct uop) + MAX_INSNS * 15;

	if (c->used + need > ARENA_SIZE)
		soft_blocks_flush(s);
	return (struct block *)(void *)(c->arena + c->used);
}

/* Keep a copy of the bytes behind the uops, and the arena up to there. */
static void block_commit(struct builder *w, const uint8_t *bytes)
{
	struct block_cache *c = w->s->blocks;
	struct block *b = w->b;
	uint8_t *end = (uint8_t *)&b->u[w->nuops];

	memcpy(end, bytes, b->bytes);
	b->copy = end;
	end += b->bytes;
	c->used = ((size_t)(end - c->arena) + 63) & ~(size_t)63;
}

/* For what belongs to a block and lives as long as it. */
void *soft_arena_alloc(struct soft *s, size_t n)
{
	struct block_cache *c = s->blocks;
	void *p = c->arena + c->used;

	if (n > ARENA_SIZE - c->used)
		return NULL;
	c->used = MIN((c->used + n + 63) & ~(size_t)63, ARENA_SIZE);
	return p;
}

static uint64_t lin_of(const struct soft *s, uint64_t rip)
{
	return s->mode & MODE_CS64 ? rip : (uint32_t)(rip + s->seg[SEG_CS].base);
}

/*
 * One instruction over two pages: no marks, its bytes are compared each time.
 */
static struct crossing *crossing_slot(struct soft *s, uint64_t lin)
{
	return &s->blocks->crossings[lin >> 12 & (CROSSINGS - 1)];
}

static struct block *build_crossing(struct soft *s, uint32_t mode, const struct gm_page *pg,
				    uint64_t lin)
{
	unsigned n1 = 4096 - (lin & 4095), n2 = 15 - n1;
	struct builder w = { .s = s, .mode = mode, .single = true };
	struct crossing *c;
	struct gm_page pg2;
	uint8_t bytes[16];
	bool ram;

	soft_fetch_page(s, lin + n1, &pg2, &ram);
	c = crossing_slot(s, lin);
	c->lin = 1;
	w.b = c->b;
	*w.b = (struct block){ .genp = &never_gen, .mode = mode, .transient = true };
	memcpy(bytes, pg->host + (lin & 4095), n1);
	if (ram)
		memcpy(bytes + n1, pg2.host, n2);
	else
		memset(bytes + n1, 0xff, n2);
	w.host = bytes;
	build_page(&w, 15);
	finish(&w);
	if (ram) {
		memcpy(c->bytes, bytes, 15);
		c->lin = lin;
	}
	return w.b;
}

/* The same again: both pages still mapped, the same bytes in them. */
static struct block *crossing_known(struct soft *s, uint32_t mode, uint64_t lin)
{
	const struct crossing *c = crossing_slot(s, lin);
	unsigned n1 = 4096 - (lin & 4095);
	const struct soft_tlbe *e1 = &s->tlb[lin >> 12 & (TLB_SIZE - 1)];
	const struct soft_tlbe *e2 = &s->tlb[(lin + n1) >> 12 & (TLB_SIZE - 1)];

	if (n1 > 14 || c->lin != lin || c->b->mode != mode || c->b->cut ||
	    !(mode & MODE_CS64) || mode & (MODE_TF | MODE_CODE_BP))
		return NULL;
	if (e1->tag_x != (lin & ~0xfffull) || e2->tag_x != lin + n1)
		return NULL;
	if (memcmp(c->bytes, (const void *)(uintptr_t)(lin + e1->delta), n1) ||
	    memcmp(c->bytes + n1, (const void *)(uintptr_t)(lin + n1 + e2->delta), 15 - n1))
		return NULL;
	return c->b;
}

static struct block *build(struct soft *s, uint32_t mode, const struct gm_page *pg, uint64_t lin)
{
	unsigned off = lin & 4095, avail = 4096 - off;
	struct builder w = { .s = s, .mode = mode, .host = pg->host + off };
	struct block **h;

	w.single = mode & (MODE_TF | MODE_CODE_BP);
	for (int tries = 0;; tries++) {
		uint32_t gen;

		w.b = block_alloc(s);
		*w.b = (struct block){ .mode = mode, .host = w.host, .gmb = pg->block,
				       .off = pg->block_off + off };
		w.nuops = w.ninsns = w.bytes = 0;
		w.ended = w.branch = false;
		/* Mark generously before reading, then look whether anybody wrote. */
		gen = mark_code(s, pg->block, w.b->off, MIN(avail, 64u));
		build_page(&w, avail);
		if (!w.ninsns)
			return build_crossing(s, mode, pg, lin);
		finish(&w);
		block_commit(&w, w.host);
		w.b->gen = gen;
		if (w.bytes > 1)
			(void)mark_code(s, pg->block, w.b->off, w.bytes);
		if (tries > 100 || (still_marked(pg->block, w.b->off, MAX(w.bytes, 1u), gen) &&
				    !memcmp(w.b->copy, w.host, w.bytes)))
			break;
	}
	w.b->genp = &pg->block->code[w.b->off >> 12].gen;
	h = bucket(s->blocks, w.b->host, mode);
	w.b->hash_next = *h;
	*h = w.b;
	if (s->jit)
		soft_jit_watch(s, w.b);
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
			     .b = s->blocks->crossing };

	*w.b = (struct block){ .genp = &never_gen, .mode = mode, .transient = true };
	build_page(&w, sizeof(ones));
	finish(&w);
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
	if (!b || b->gen != atomic_load_explicit(b->genp, memory_order_relaxed))
		return NULL;
	remember(s, mode, b);
	return b;
}

struct block *soft_block_get(struct soft *s, uint32_t mode)
{
	uint64_t lin = lin_of(s, s->rip);
	struct block *b = block_known(s, mode, lin);
	struct gm_page pg;
	bool ram;

	if (b || (b = crossing_known(s, mode, lin)))
		return b;
	check_limit(s);
	soft_fetch_page(s, lin, &pg, &ram);
	if (!ram)
		return block_nowhere(s, mode);
	b = jc_slot(s, s->rip)->b;	/* its translation may have been all that was missing */
	if (!b || b->host != pg.host + (lin & 4095) || b->mode != mode || b->genp == &never_gen)
		b = hash_find(s, pg.host + (lin & 4095), mode);
	if (b && b->gen != atomic_load(b->genp) && !block_revive(s, b)) {
		block_kill(s, b);
		b = NULL;
	}
	if (!b)
		b = build(s, mode, &pg, lin);
	if (!b->transient)
		remember(s, mode, b);
	return b;
}
