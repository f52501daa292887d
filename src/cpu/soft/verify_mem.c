/* SPDX-License-Identifier: MIT */
/*
 * Lockstep, memory: pages that the interpreter wrote, kept as they were; the
 * shadows that translated code writes instead, and the TLB entries that lead
 * it there.  verify.c says why.
 */
#include "verify_int.h"

static struct vpage *page_find(struct soft_verify *v, const uint8_t *host)
{
	for (unsigned i = 0; i < v->npages; i++)
		if (v->page[i].host == host)
			return &v->page[i];
	return NULL;
}

static struct vpage *page_add(struct soft *s, const struct gm_page *pg)
{
	struct soft_verify *v = s->vfy;
	struct vpage *p = &v->page[v->npages];
	const struct gm_code *c = pg->block->code;

	if (v->npages == MAX_PAGES)
		siglongjmp(s->fault_jmp, VFY_TOO_MUCH);
	*p = (struct vpage){ .host = pg->host, .old = v->space + v->npages * 8192 };
	p->shadow = p->old + 4096;
	p->fast = !pg->readonly && !(c && atomic_load(&c[pg->block_off >> 12].lines));
	memcpy(p->old, pg->host, 4096);
	v->npages++;
	return p;
}

bool soft_verify_access(struct soft *s, uint64_t lin, bool write, struct gm_page *pg)
{
	struct soft_verify *v = s->vfy;
	struct vpage *p;

	if (v->phase == VFY_IDLE || (v->phase == VFY_REF && !write))
		return false;
	p = page_find(v, pg->host);
	if (!p && !write)
		return false;
	if (!p) {		/* by translated code: the comparison will find it */
		p = page_add(s, pg);
		memcpy(p->shadow, p->old, 4096);
	}
	if (v->phase == VFY_NATIVE) {
		pg->host = p->shadow;
		return true;
	}
	lin &= ~0xfffull;
	for (unsigned i = 0; i < p->nlin; i++)
		if (p->lin[i] == lin)
			return false;
	if (p->nlin < MAX_LINS)
		p->lin[p->nlin++] = lin;
	return false;
}

void soft_verify_stored(struct soft *s, const uint8_t *host, size_t off, size_t len)
{
	struct vpage *p;

	if (s->vfy->phase != VFY_REF)
		return;
	p = page_find(s->vfy, host);
	HV_BUG_ON(!p);
	while (len) {
		size_t n = MIN(len, 64 - (off & 63));

		p->mask[off >> 6] |= ~0ull >> (64 - n) << (off & 63);
		off += n;
		len -= n;
	}
}

bool soft_verify_span(struct soft *s, const uint8_t *host, size_t off)
{
	const struct soft_verify *v = s->vfy;

	for (unsigned i = 0; v->phase != VFY_IDLE && i < v->npages; i++) {
		const struct vpage *p = &v->page[i];

		if (!p->fast || (v->phase == VFY_REF ? p->host : p->shadow) != host)
			continue;
		soft_verify_stored(s, host, off, 4096 - off);
		return true;
	}
	return false;
}

bool soft_verify_tag(struct soft *s, struct soft_tlbe *e)
{
	struct soft_verify *v = s->vfy;

	if (v->phase != VFY_IDLE || v->ntags == MAX_TAGS)
		return false;
	v->tag[v->ntags++] = e;
	return true;
}

void verify_drop_tags(struct soft *s)
{
	struct soft_verify *v = s->vfy;

	soft_slots_clear(s);
	while (v->ntags)
		v->tag[--v->ntags]->tag_w = TLB_NONE;
}

void soft_verify_walk(struct soft *s, struct gm_page *pg)
{
	struct soft_verify *v = s->vfy;
	struct vpage *p = v->phase == VFY_IDLE ? NULL : page_find(v, pg->host);

	if (!p)
		return;
	p->table = true;
	if (v->phase == VFY_NATIVE) {
		pg->host = p->shadow;
		pg->readonly = true;	/* no A and D bits there */
	}
}

void verify_take_back(struct soft_verify *v)
{
	for (unsigned i = 0; i < v->npages; i++) {
		struct vpage *p = &v->page[i];

		for (unsigned off = 0; off < 4096; off++)
			if (!p->mask[off >> 6])
				off |= 63;
			else if (p->mask[off >> 6] >> (off & 63) & 1)
				p->host[off] = p->old[off];
	}
}

unsigned verify_page_differs(const struct vpage *p)
{
	for (unsigned off = 0; off < 4096; off++) {
		uint64_t m = p->mask[off >> 6];

		if (!m && !(off & 63) && !memcmp(p->old + off, p->shadow + off, 64))
			off |= 63;
		else if (((m >> (off & 63) & 1 ? p->host : p->old)[off] ^ p->shadow[off]) &
			 (p->table && !(off & 7) ? ~(PTE_A | PTE_D) & 0xff : 0xff))
			return off;
	}
	return 4096;
}

static void patch_entry(struct soft_verify *v, struct soft_tlbe *e, const struct vpage *p)
{
	uint64_t lin = e->tag_r != TLB_NONE ? e->tag_r : e->tag_x;

	if (lin == TLB_NONE || v->npatches == MAX_PATCHES ||
	    (const uint8_t *)(uintptr_t)(lin + e->delta) != p->host)
		return;
	v->patch[v->npatches].e = e;
	v->patch[v->npatches].was = *e;
	e->delta = (uintptr_t)p->shadow - lin;
	if (p->fast && e->tag_r != TLB_NONE)
		e->tag_w = lin;
	v->patch[v->npatches++].is = *e;
}

static void shadow_table(struct soft_verify *v, struct soft_tlbe *table, const struct vpage *p,
			 bool all)
{
	for (unsigned k = 0; k < p->nlin; k++)
		patch_entry(v, &table[p->lin[k] >> 12 & (TLB_SIZE - 1)], p);
	for (unsigned k = 0; all && k < TLB_SIZE; k++)
		patch_entry(v, &table[k], p);
}

void verify_shadow_tlb(struct soft *s, bool all)
{
	struct soft_verify *v = s->vfy;

	v->npatches = 0;
	soft_slots_clear(s);
	if ((uint8_t *)s->tlb < (uint8_t *)s->tlbs ||
	    (uint8_t *)s->tlb >= (uint8_t *)s->tlbs + sizeof(s->tlbs))
		return;		/* the one that never hits */
	for (unsigned i = 0; i < v->npages; i++) {
		struct vpage *p = &v->page[i];

		memcpy(p->shadow, p->old, 4096);
		if (s->cpl) {
			shadow_table(v, s->tlb, p, all);
			continue;
		}
		/* STAC and CLAC go from the one to the other. */
		shadow_table(v, s->tlbs[TLB_KERN], p, all);
		shadow_table(v, s->tlbs[TLB_KERN_AC], p, all);
	}
}

void verify_restore_tlb(struct soft *s)
{
	struct soft_verify *v = s->vfy;

	soft_slots_clear(s);
	while (v->npatches) {
		struct soft_tlbe *e = v->patch[--v->npatches].e;

		if (!memcmp(e, &v->patch[v->npatches].is, sizeof(*e)))
			*e = v->patch[v->npatches].was;
	}
}
