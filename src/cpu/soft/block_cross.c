/* SPDX-License-Identifier: MIT */
/*
 * Blocks of one instruction that lies in two pages.
 *
 * Such a block depends on the bytes of both pages, and on which page is
 * mapped behind the first.  It is found by the place of its first byte like
 * any other, several of them may stand there, one for each second page.
 * The interpreter looks it up each time (block.transient), which looks at the
 * second page's translation and generation.  Translated code is chained to it
 * as to any other block of the first page: its head compares the second
 * page's generation, and its mapping by a key as jumps between pages do
 * (jit_flow.c); where they differ it is looked up here.
 *
 * Where the second page is no RAM a block is decoded each time.
 */
#include "build.h"
#include "sys_int.h"

#define KEPT 4u		/* second pages for one first one */

static uint64_t second_page(const struct soft *s, uint64_t lin)
{
	uint64_t at = (lin | 4095) + 1;

	return s->mode & MODE_CS64 ? at : (uint32_t)at;
}

static bool second_fresh(const struct block *b)
{
	return atomic_load(b->cross->genp) == b->cross->gen;
}

static struct block *next_here(const struct block *b)
{
	struct block *n = b->hash_next;

	while (n && (n->host != b->host || n->mode != b->mode))
		n = n->hash_next;
	return n;
}

static struct block *with_second(struct block *b, const uint8_t *host)
{
	while (b && b->cross->host != host)
		b = next_here(b);
	return b;
}

struct block *soft_cross_known(struct soft *s, struct block *b, uint64_t lin)
{
	uint64_t lin2 = second_page(s, lin);
	const struct soft_tlbe *e = &s->tlb[lin2 >> 12 & (TLB_SIZE - 1)];

	if (e->tag_x != lin2)
		return NULL;
	b = with_second(b, (const uint8_t *)(uintptr_t)(lin2 + e->delta));
	if (!b || b->gen != atomic_load(b->genp) || !second_fresh(b))
		return NULL;
	soft_jit_crossed(s, b);
	return b;
}

static void fetch_second(struct soft *s, uint64_t lin, struct gm_page *pg, bool *ram)
{
	uint64_t lin2 = second_page(s, lin);

	if (s->mode & MODE_CS64 && !canonical(lin2))
		soft_fault_code(s, NULL, EXC_GP, 0);
	soft_fetch_page(s, lin2, pg, ram);
}

struct block *soft_cross_pick(struct soft *s, struct block *b, uint64_t lin)
{
	struct gm_page pg;
	bool ram;

	fetch_second(s, lin, &pg, &ram);
	return ram ? with_second(b, pg.host) : NULL;
}

bool soft_cross_fresh(const struct block *b)
{
	return b->gen == atomic_load(b->genp) && second_fresh(b);
}

bool soft_cross_revive(struct soft *s, struct block *b)
{
	struct cross *c = b->cross;
	unsigned n2 = b->bytes - c->n1;
	uint32_t gen = soft_mark_code(s, b->gmb, b->off, c->n1);
	uint32_t gen2 = soft_mark_code(s, c->gmb, c->off, n2);

	if (memcmp(b->host, b->copy, c->n1) || memcmp(c->host, b->copy + c->n1, n2) || b->cut ||
	    !soft_still_marked(b->gmb, b->off, c->n1, gen) ||
	    !soft_still_marked(c->gmb, c->off, n2, gen2))
		return false;
	b->gen = gen;
	c->gen = gen2;
	if (b->jit)
		soft_jit_revived(s, b);
	return true;
}

/* ---- building ------------------------------------------------------------------- */
static struct block *on_no_ram(struct soft *s, uint32_t mode, const uint8_t *first, unsigned n1)
{
	struct builder w = { .s = s, .mode = mode, .single = true, .b = s->blocks->nowhere };
	uint8_t bytes[16];

	*w.b = (struct block){ .genp = &soft_never_gen, .mode = mode, .transient = true };
	memset(bytes, 0xff, sizeof(bytes));
	memcpy(bytes, first, n1);
	w.host = bytes;
	soft_build_page(&w, 15);
	soft_build_finish(&w);
	return w.b;
}

static bool try_build(struct soft *s, struct builder *w, const struct gm_page *pg, unsigned off,
		      const struct gm_page *pg2)
{
	unsigned n1 = 4096 - off, n2 = 15 - n1;
	struct block *b = soft_block_alloc(s);
	uint32_t gen, gen2;
	uint8_t bytes[16];
	struct cross *c;

	*b = (struct block){ .mode = w->mode, .host = pg->host + off, .gmb = pg->block,
			     .off = pg->block_off + off, .transient = true };
	gen = soft_mark_code(s, pg->block, b->off, n1);
	gen2 = soft_mark_code(s, pg2->block, pg2->block_off, n2);
	memcpy(bytes, b->host, n1);
	memcpy(bytes + n1, pg2->host, n2);
	*w = (struct builder){ .s = s, .b = b, .host = bytes, .mode = w->mode, .crossing = true,
				.single = w->mode & (MODE_TF | MODE_CODE_BP) };
	soft_build_page(w, 15);
	soft_build_finish(w);
	soft_block_commit(w, bytes);
	c = soft_arena_alloc(s, sizeof(*c));
	HV_BUG_ON(!c);		/* soft_block_alloc() left room */
	*c = (struct cross){ .host = pg2->host, .gmb = pg2->block, .off = pg2->block_off,
			     .genp = &pg2->block->code[pg2->block_off >> 12].gen, .gen = gen2,
			     .n1 = n1 };
	b->cross = c;
	b->gen = gen;
	b->genp = &pg->block->code[b->off >> 12].gen;
	return soft_still_marked(pg->block, b->off, n1, gen) &&
	       soft_still_marked(pg2->block, pg2->block_off, n2, gen2) &&
	       !memcmp(b->host, bytes, n1) && !memcmp(c->host, bytes + n1, n2);
}

/* A program that maps the second page anew each time it runs leaves one each time. */
static void kill_surplus(struct soft *s, struct block *b)
{
	struct block *last = b;
	unsigned n = 0;

	while ((b = next_here(b))) {
		last = b;
		n++;
	}
	if (n < KEPT)
		return;
	soft_block_kill(s, last);
	last->cross->key = 0;
}

struct block *soft_cross_build(struct soft *s, uint32_t mode, const struct gm_page *pg,
			       uint64_t lin)
{
	struct builder w = { .mode = mode };
	unsigned off = lin & 4095;
	struct gm_page pg2;
	bool ram;

	fetch_second(s, lin, &pg2, &ram);
	if (!ram)
		return on_no_ram(s, mode, pg->host + off, 4096 - off);
	for (int tries = 0; !try_build(s, &w, pg, off, &pg2) && tries < 100; tries++)
		;
	soft_block_insert(s, w.b);
	kill_surplus(s, w.b);
	return w.b;
}
