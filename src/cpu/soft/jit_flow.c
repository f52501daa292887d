/* SPDX-License-Identifier: MIT */
/*
 * The translator's control flow between blocks at run time: chaining, the
 * table of indirect targets, and the keys that make both safe.
 *
 * Translated code is found by physical address, jumps by linear address.
 * What was learnt about a linear address ("the block at this RIP is that
 * code") is kept as a sum with a random 64-bit key, one for each mode; to
 * forget everything learnt is to draw a new key.  A key stands for what the
 * page tables said when it was drawn: dropping a translation of a page that
 * it vouches for changes it.  Two sums with different keys are equal with a
 * probability of 2^-64.
 *
 * Keys of CPL 3 belong to an address space (tlb_flush.c); those of CPL 0 survive
 * a CR3 load as long as they vouch for global pages only.
 */
#include "jit.h"
#include "sys_int.h"

/* ---- keys ---------------------------------------------------------------------- */
/* Steele, Lea, Flood: Fast splittable pseudorandom number generators (2014), SplitMix64. */
static uint64_t draw(struct soft *s)
{
	uint64_t z = s->jit_seed += 0x9e3779b97f4a7c15ull;

	z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9ull;
	z = (z ^ z >> 27) * 0x94d049bb133111ebull;
	return z ^ z >> 31;
}

static bool of_user(unsigned class)
{
	return class >> 2 & 1;
}

/* @who: a space, TLB_SPACES: the kernel. */
static void renew(struct soft *s, unsigned who)
{
	if (!s->jit)
		return;
	memset(&s->jit_exec[who], 0, sizeof(s->jit_exec[who]));
	if (who < TLB_SPACES && who != s->space) {
		memset(s->jit_kept[who], 0, sizeof(s->jit_kept[who]));
		return;
	}
	for (unsigned i = 0; i < JIT_CLASSES; i++)
		if (of_user(i) == (who < TLB_SPACES))
			s->jit_keys[i] = draw(s);
	soft_jit_new_mode(s);
}

static void renew_kernel_if_local(struct soft *s)
{
	if (s->jit_exec[TLB_SPACES].local)
		renew(s, TLB_SPACES);
}

void soft_jit_unmap(struct soft *s, bool keep_global)
{
	for (unsigned i = 0; i < TLB_SPACES; i++)
		renew(s, i);
	if (keep_global)
		renew_kernel_if_local(s);
	else
		renew(s, TLB_SPACES);
}

void soft_jit_unmap_space(struct soft *s, unsigned space)
{
	renew(s, space);
	if (space == s->space)
		renew_kernel_if_local(s);
}

void soft_jit_switch(struct soft *s, unsigned from, unsigned to)
{
	if (!s->jit)
		return;
	memcpy(s->jit_kept[from], s->jit_keys, sizeof(s->jit_keys));
	for (unsigned i = 0; i < JIT_CLASSES; i++)
		if (of_user(i))
			s->jit_keys[i] = s->jit_kept[to][i] ? s->jit_kept[to][i] : draw(s);
	renew_kernel_if_local(s);
	soft_jit_new_mode(s);
}

static unsigned page_bit(uint64_t lin)
{
	return (lin >> 12 ^ lin >> 24) & 4095;
}

void soft_jit_unmap_page(struct soft *s, uint64_t lin)
{
	unsigned b = page_bit(lin);

	for (unsigned who = 0; who <= TLB_SPACES; who++)
		if (s->jit_exec[who].page[b >> 6] >> (b & 63) & 1 ||
		    s->jit_exec[who].large >> (lin >> 30 & 63) & 1)
			renew(s, who);
}

/* The key in force vouches for the page at @rip from now on. */
static void vouch(struct soft *s, uint64_t rip)
{
	unsigned who = s->mode & MODE_CPL3 ? s->space : TLB_SPACES, b = page_bit(rip);
	unsigned i = rip >> 12 & (TLB_SIZE - 1), t = soft_tlb_table(s);
	bool here = s->tlbs[t][i].tag_x == (rip & ~0xfffull);

	s->jit_exec[who].page[b >> 6] |= 1ull << (b & 63);
	if (!here || s->tlb_large[t][i / 64] >> (i & 63) & 1)
		s->jit_exec[who].large |= 1ull << (rip >> 30 & 63);
	if (!here || !(s->tlb_global[t][i / 64] >> (i & 63) & 1))
		s->jit_exec[who].local = true;
}

void soft_jit_crossed(struct soft *s, struct block *b)
{
	if (!b->jit)
		return;
	vouch(s, s->rip + b->cross->n1);
	b->cross->key = s->rip - (b->off & 4095) + s->jit_key;
}

/* ---- indirect jumps ---------------------------------------------------------------- */
struct jit_target *soft_jit_slot(struct soft *s, uint64_t rip)
{
	return &s->jit_tab[(uint32_t)rip * JT_HASH >> (32 - JT_BITS)];
}

void soft_jit_learn(struct soft *s, uint64_t rip, const struct block *b)
{
	vouch(s, rip);
	*soft_jit_slot(s, rip) = (struct jit_target){ rip + s->jit_key, b->jit_entry };
}

const struct uop *soft_jit_go_rip(struct soft *s)
{
	uint64_t rip = s->jit_arg;
	unsigned flushes = s->blocks->flushes;
	struct block *b;
	const struct uop *u;

	s->gpr[GPR_RIP] = rip;
	u = soft_goto_uop(s, &b);
	if (!u || flushes != s->blocks->flushes || !b->jit_entry)
		return u;
	soft_jit_learn(s, rip, b);
	return u;
}

/* ---- direct jumps ------------------------------------------------------------------- */
void soft_jit_revived(struct soft *s, struct block *b)
{
	struct jit_block *t = b->jit;

	memcpy(t->gen, &b->gen, sizeof(b->gen));
	if (t->gen2)
		memcpy(t->gen2, &b->cross->gen, sizeof(b->cross->gen));
	for (unsigned i = 0; i < t->nlinks; i++)
		if (t->link[i].key)
			memset(t->link[i].key, 0, 8);
		else
			em_fix(t->link[i].site, t->link[i].stub);
}

/*
 * Forward inside a page: no check, since the generation that @from was
 * checked against is @to's.  Into another page: the code in front of the jump
 * compares key and page, the generation is looked at.  Backward: also the
 * request word.
 */
static void try_link(struct soft *s, struct jit_link *l, const struct block *to)
{
	const struct block *from = l->from;
	uint64_t sum;

	if (l->key)
		l->patience = 100;
	if (!to->jit || (to->transient && !to->cross) || to->mode != from->mode)
		return;
	if (l->key) {
		vouch(s, s->gpr[GPR_RIP]);
		sum = s->jit_page + s->jit_key;
		memcpy(l->key, &sum, sizeof(sum));
		em_fix(l->site, l->delta > 0 ? to->jit->check : to->jit->poll);
	} else if (to->genp == from->genp &&
		   (uint64_t)(to->host - from->host) == (uint64_t)(int64_t)l->delta) {
		em_fix(l->site, l->delta > 0 && to->gen == from->gen ? to->jit->body :
								       to->jit->poll);
	}
}

const struct uop *soft_jit_go_link(struct soft *s, struct jit_link *l)
{
	unsigned flushes = s->blocks->flushes;
	uint64_t key = s->jit_key;
	const struct uop *u;
	struct block *b;

	s->gpr[GPR_RIP] = s->jit_page + (l->from->off & 4095) + (uint64_t)(int64_t)l->delta;
	if (!(l->from->mode & MODE_CS64))
		s->gpr[GPR_RIP] = (uint32_t)s->gpr[GPR_RIP];
	u = soft_goto_uop(s, &b);
	if (u && flushes == s->blocks->flushes && key == s->jit_key)
		try_link(s, l, b);
	return u;
}

void soft_jit_arrived(struct soft *s, enum jit_exit how, const struct block *b)
{
	if (how == JX_LINK)
		try_link(s, (struct jit_link *)(uintptr_t)s->jit_arg, b);
	else if (how == JX_GOTO)
		soft_jit_learn(s, s->gpr[GPR_RIP], b);
}

/* ---- windows ----------------------------------------------------------------------------- */
#define CROSSES 64u		/* will fail again and again; other reasons may pass */
#define TOO_MANY 4096u

void soft_jit_again(struct soft *s, struct block *b)
{
	struct jit_block *old = b->jit, *t;
	uint8_t *from[3] = { old->poll, old->check, old->body }, *to[3];

	if (!soft_jit_translate(s, b))
		return;
	t = b->jit;
	to[0] = t->poll;
	to[1] = t->check;
	to[2] = t->body;
	for (unsigned i = 0; i < 3; i++) {
		struct emit e = { .p = from[i], .end = from[i] + 5 };

		em_fix(em_jmp(&e), to[i]);
	}
	b->jit_entry = em_rx(&(struct emit){ .rx_off = s->jit->rx - s->jit->rw }, t->poll);
}

/* The interpreter does the rest of the block. */
const struct uop *soft_jit_go_window(struct soft *s, const struct jit_window *w)
{
	uint64_t base = s->gpr[w->gpr];
	struct block *b = s->cur;
	unsigned flushes = s->blocks->flushes;
	const struct uop *u = w->u;
	uint64_t rip = s->jit_page + (b->off & 4095);

	b->jit->misses += ((base + (uint64_t)w->lo) ^ (base + (uint64_t)w->hi - 1)) >> 12 ?
			  CROSSES : 1;
	if (b->jit->misses >= TOO_MANY && !b->narrow) {
		uint64_t at = rip + u->off;

		b->narrow = true;
		soft_jit_again(s, b);
		if (flushes != s->blocks->flushes) {
			s->rip = at;
			return NULL;
		}
	}
	s->gpr[GPR_RIP] = rip;
	return u == b->u ? b->fn0(s, u) : u;
}
