/* SPDX-License-Identifier: MIT */
/*
 * The TLB: which table is in force, and how entries come into it.
 *
 * A tag is only given where the access needs nothing but the copy: never a
 * write tag for a clean page (D = 0), read-only memory, a page with decoded
 * code, or a dirty-logged page not yet marked; never any tag for MMIO.
 */
#include "tlb_int.h"
#include "verify.h"

/* In force while every access must be looked at (#AC, data breakpoints): never filled. */
static struct soft_tlbe empty_tlb[TLB_SIZE] = {
	[0 ... TLB_SIZE - 1] = { TLB_NONE, TLB_NONE, TLB_NONE, 0 }
};

unsigned soft_tlb_table(const struct soft *s)
{
	if (s->cpl == 3)
		return s->space;
	return (s->cr4 & CR4_SMAP) && !(s->eflags & FL_AC) ? TLB_KERN : TLB_KERN_AC;
}

unsigned soft_sys_table(const struct soft *s)
{
	return s->cr4 & CR4_SMAP ? TLB_KERN : TLB_KERN_AC;
}

bool soft_align_checked(const struct soft *s)
{
	return s->cpl == 3 && (s->eflags & FL_AC) && (s->cr0 & CR0_AM);
}

/* Any of DR0-3 armed for data (R/W bits not 00 and L or G set). */
bool soft_data_bp_armed(const struct soft *s)
{
	uint64_t d = s->dr[7];

	for (unsigned i = 0; (d & 0xff) && i < 4; i++)
		if ((d >> 2 * i & 3) && (d >> (16 + 4 * i) & 3))
			return true;
	return false;
}

bool soft_tlb_watched(const struct soft *s)
{
	return s->tlb == empty_tlb;
}

void soft_tlb_select(struct soft *s)
{
	if (unlikely(soft_align_checked(s) || soft_data_bp_armed(s)))
		s->tlb = empty_tlb;
	else
		s->tlb = s->tlbs[soft_tlb_table(s)];
	s->slots_ok = s->tlb != s->tlbs[TLB_KERN_AC] || !(s->cr4 & CR4_SMAP);
	if (unlikely(s->tlb == empty_tlb))
		soft_slots_clear(s);
}

/* ---- translation ------------------------------------------------------------ */

HV_NORETURN void soft_fault_noncanonical(struct soft *s, const struct uop *u)
{
	soft_fault_code(s, u, u && u->seg == SEG_SS ? EXC_SS : EXC_GP, 0);
}

static void note_dirty_tag(struct soft *s, const struct gm_page *pg)
{
	gm_mark_dirty(pg->block, pg->block_off);
	for (unsigned i = 0; i < s->n_dirty_tags; i++)
		if (s->dirty_tags[i].off == pg->block_off && s->dirty_tags[i].block == pg->block)
			return;
	if (s->n_dirty_tags == ARRAY_SIZE(s->dirty_tags))
		soft_tlb_flush(s, false);
	s->dirty_tags[s->n_dirty_tags].block = pg->block;
	s->dirty_tags[s->n_dirty_tags++].off = pg->block_off;
}

/* A write tag is allowed for this page of RAM.  Marks dirty-logged pages. */
static bool writable_fast(struct soft *s, const struct gm_page *pg)
{
	if (pg->readonly)
		return false;
	if (pg->block->code && atomic_load(&pg->block->code[pg->block_off >> 12].lines))
		return false;
	if (pg->dirty_log)
		note_dirty_tag(s, pg);
	return true;
}

static void tlb_fill(struct soft *s, uint64_t lin, unsigned table, enum soft_access acc,
		     const struct soft_walk *w, const struct gm_page *pg)
{
	unsigned i = lin >> 12 & (TLB_SIZE - 1);
	struct soft_tlbe *e = &s->tlbs[table][i];
	uint64_t page = lin & ~0xfffull, bit = 1ull << (i & 63);
	bool wr = (w->perm & PTE_D) && soft_mmu_allowed(s, w->perm, ACC_W, table);

	if (acc != ACC_W && pg->dirty_log)
		wr = false;	/* reading must not mark it dirty */
	wr = wr && writable_fast(s, pg);	/* may flush */
	wr = wr && !pg->code_only;
	e->delta = (uintptr_t)pg->host - page;
	e->tag_r = !pg->code_only && soft_mmu_allowed(s, w->perm, ACC_R, table) ? page : TLB_NONE;
	e->tag_x = soft_mmu_allowed(s, w->perm, ACC_X, table) ? page : TLB_NONE;
	if (unlikely(s->vfy) && wr)
		wr = soft_verify_tag(s, e);
	e->tag_w = wr ? page : TLB_NONE;
	s->tlb_used[table][i / 64] |= bit;
	if (w->global) {
		s->tlb_global[table][i / 64] |= bit;
	} else {
		s->tlb_global[table][i / 64] &= ~bit;
		s->tlb_local[table][i / 4096] |= 1ull << (i / 64 & 63);
	}
	if (w->large) {
		s->tlb_large[table][i / 64] |= bit;
		s->tlb_gib |= 1ull << (lin >> 30 & 63);
	} else {
		s->tlb_large[table][i / 64] &= ~bit;
	}
}

bool soft_is_apic_page(struct soft *s, uint64_t phys)
{
	const struct apic *a = &s->vcpu->apic;
	uint64_t base;

	if (likely(phys >> 32 || phys < 0x80000000u) || !a->ops)
		return false;
	base = a->ops->get_base(a->opaque);	/* only this vCPU changes it */
	return (base & 0xc00) == 0x800 && ((phys ^ base) & PHYS_MASK & ~0xfffull) == 0;
}

void soft_translate(struct soft *s, const struct uop *u, uint64_t lin, enum soft_access acc,
		    unsigned table, struct xlat *x)
{
	struct soft_walk w;
	uint32_t code;

	if (unlikely(!canonical(lin)))
		soft_fault_noncanonical(s, u);
	if (!soft_mmu_walk(s, lin, acc, table, &w, &code)) {
		s->cr2 = lin;
		soft_fault_code(s, u, EXC_PF, code);
	}
	x->phys = w.phys;
	x->ram = !soft_is_apic_page(s, w.phys) && soft_phys_page(s, w.phys, acc == ACC_X, &x->pg);
	if (unlikely(s->vfy) && x->ram && soft_verify_access(s, lin, acc == ACC_W, &x->pg))
		return;
	if (x->ram)
		tlb_fill(s, lin, table, acc, &w, &x->pg);
}
