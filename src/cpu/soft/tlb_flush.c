/* SPDX-License-Identifier: MIT */
/*
 * Dropping translations, and the address spaces that are kept (SDM vol. 3,
 * 4.10.2 to 4.10.4).
 *
 * With CR4.PCIDE each of the latest TLB_SPACES PCIDs has a user table of its
 * own; without, one table serves.  The kernel's tables are common: going to
 * another space drops what is not global in them.  A table takes memory when
 * its space is first used.
 *
 * Global translations are dropped for all spaces.
 */
#include "sys_int.h"

static void clear_entries(struct soft *s, unsigned t, unsigned word, uint64_t bits)
{
	s->tlb_used[t][word] &= ~bits;
	s->tlb_global[t][word] &= ~bits;
	s->tlb_large[t][word] &= ~bits;
	for (; bits; bits &= bits - 1) {
		struct soft_tlbe *e = &s->tlbs[t][word * 64 + __builtin_ctzll(bits)];

		e->tag_r = e->tag_w = e->tag_x = TLB_NONE;
	}
}

static void clear_table(struct soft *s, unsigned t)
{
	for (unsigned w = 0; w < TLB_WORDS; w++)
		if (s->tlb_used[t][w])
			clear_entries(s, t, w, s->tlb_used[t][w]);
	memset(s->tlb_local[t], 0, sizeof(s->tlb_local[t]));
}

/* Going to another address space does this: it looks where there is something only. */
static void clear_local(struct soft *s, unsigned t)
{
	for (unsigned i = 0; i < TLB_WORDS / 64; i++) {
		for (uint64_t b = s->tlb_local[t][i]; b; b &= b - 1) {
			unsigned w = i * 64 + (unsigned)__builtin_ctzll(b);

			clear_entries(s, t, w, s->tlb_used[t][w] & ~s->tlb_global[t][w]);
		}
		s->tlb_local[t][i] = 0;
	}
}

/* Pages written through tags since they were marked: mark them again before the tags go. */
static void flush_dirty_tags(struct soft *s)
{
	for (unsigned i = 0; i < s->n_dirty_tags; i++)
		gm_mark_dirty(s->dirty_tags[i].block, s->dirty_tags[i].off);
	s->n_dirty_tags = 0;
}

static unsigned current_pcid(const struct soft *s)
{
	return s->cr4 & CR4_PCIDE ? s->cr3 & 0xfff : 0;
}

void soft_tlb_flush(struct soft *s, bool keep_global)
{
	soft_jit_unmap(s, keep_global);
	if (keep_global)
		soft_slots_switch(s);
	else
		soft_slots_clear(s);
	for (unsigned t = 0; t < TLB_TABLES; t++)
		if (keep_global)
			clear_local(s, t);
		else
			clear_table(s, t);
	if (keep_global)
		return;
	flush_dirty_tags(s);
	s->tlb_gib = 0;
	for (unsigned i = 0; i < TLB_SPACES; i++)
		if (s->space_pcid[i] != PCID_NONE && i != s->space)
			s->space_pcid[i] = PCID_NONE - 1;	/* ready for anybody */
	s->space_pcid[s->space] = (uint16_t)current_pcid(s);
}

void soft_tlb_init(struct soft *s)
{
	soft_slots_init(s);
	for (unsigned i = 1; i < TLB_SPACES; i++)
		s->space_pcid[i] = PCID_NONE;
	memset(s->tlbs[0], 0xff, sizeof(s->tlbs[0]));	/* TLB_NONE */
	memset(s->tlbs[TLB_KERN], 0xff, sizeof(s->tlbs[0]));
	memset(s->tlbs[TLB_KERN_AC], 0xff, sizeof(s->tlbs[0]));
}

/* ---- one page --------------------------------------------------------------------- */
static uint64_t entry_page(const struct soft_tlbe *e)
{
	return e->tag_r != TLB_NONE ? e->tag_r : e->tag_x != TLB_NONE ? e->tag_x : e->tag_w;
}

/* A large page is kept in pieces of 4 KiB; any address in it drops them all. */
static void flush_large(struct soft *s, unsigned t, uint64_t lin)
{
	for (unsigned w = 0; w < TLB_WORDS; w++) {
		uint64_t drop = 0;

		for (uint64_t b = s->tlb_large[t][w]; b; b &= b - 1) {
			unsigned i = (unsigned)__builtin_ctzll(b);

			if (!((entry_page(&s->tlbs[t][w * 64 + i]) ^ lin) >> 30))
				drop |= 1ull << i;
		}
		if (drop)
			clear_entries(s, t, w, drop);
	}
}

static void flush_page(struct soft *s, unsigned t, uint64_t lin, bool global_only)
{
	unsigned i = lin >> 12 & (TLB_SIZE - 1);

	if (s->tlb_gib >> (lin >> 30 & 63) & 1)
		flush_large(s, t, lin);
	if (!global_only || s->tlb_global[t][i / 64] >> (i & 63) & 1)
		clear_entries(s, t, i / 64, 1ull << (i & 63));
}

/* In other spaces only global translations must go; large ones go in any case. */
void soft_tlb_flush_page(struct soft *s, uint64_t lin)
{
	soft_jit_unmap_page(s, lin);
	if (s->tlb_gib >> (lin >> 30 & 63) & 1)
		soft_slots_clear(s);
	else
		soft_slots_drop_page(s, lin);
	for (unsigned t = 0; t < TLB_TABLES; t++)
		flush_page(s, t, lin, TLB_IS_USER(t) && t != s->space);
}

/* ---- address spaces ------------------------------------------------------------------ */
/* Its table, or TLB_SPACES. */
static unsigned find(const struct soft *s, unsigned pcid)
{
	unsigned i = 0;

	while (i < TLB_SPACES && s->space_pcid[i] != pcid)
		i++;
	return i;
}

static void flush_space(struct soft *s, unsigned space)
{
	soft_jit_unmap_space(s, space);
	clear_local(s, space);
	if (space != s->space)
		return;
	soft_slots_switch(s);
	clear_local(s, TLB_KERN);
	clear_local(s, TLB_KERN_AC);
}

void soft_tlb_flush_pcid(struct soft *s, unsigned pcid)
{
	unsigned space = find(s, pcid);

	if (space < TLB_SPACES)
		flush_space(s, space);
}

void soft_tlb_flush_pcid_page(struct soft *s, unsigned pcid, uint64_t lin)
{
	unsigned space = find(s, pcid);

	if (space == s->space) {
		soft_tlb_flush_page(s, lin);
	} else if (space < TLB_SPACES) {
		soft_jit_unmap_space(s, space);
		flush_page(s, space, lin, false);
	}
}

/* The one not used for longest, empty. */
static unsigned take_space(struct soft *s, unsigned pcid)
{
	unsigned v = s->space == 0;

	for (unsigned i = 0; i < TLB_SPACES; i++)
		if (i != s->space && s->space_clock - s->space_used[i] >
				     s->space_clock - s->space_used[v])
			v = i;
	if (s->space_pcid[v] == PCID_NONE)
		memset(s->tlbs[v], 0xff, sizeof(s->tlbs[v]));
	soft_jit_unmap_space(s, v);
	clear_table(s, v);
	s->space_pcid[v] = (uint16_t)pcid;
	return v;
}

void soft_tlb_load_pcid(struct soft *s, unsigned pcid, bool keep)
{
	unsigned space = find(s, pcid), old = s->space;

	if (space != old) {
		soft_slots_switch(s);
		clear_local(s, TLB_KERN);
		clear_local(s, TLB_KERN_AC);
		if (space == TLB_SPACES)
			space = take_space(s, pcid);
		s->space = space;
		soft_jit_switch(s, old, space);
		soft_tlb_select(s);
	}
	s->space_used[space] = ++s->space_clock;
	if (!keep)
		flush_space(s, space);
}
