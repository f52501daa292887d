/* SPDX-License-Identifier: MIT */
/*
 * The TLB and the memory accesses that miss it: page crossing, MMIO, code
 * pages, alignment checks and data breakpoints.
 *
 * A tag is only given where the access needs nothing but the copy: never a
 * write tag for a clean page (D = 0), read-only memory, a page with decoded
 * code, or a dirty-logged page not yet marked; never any tag for MMIO.
 *
 * Dropping translations of other vCPUs is synchronous.  A vCPU counts as
 * quiescent (in_guest == 0) while it sleeps, is outside run(), or holds or
 * waits for dev_lock, so a waiter may itself hold dev_lock.
 */
#include "../../loop.h"
#include "sys_int.h"
#include "verify.h"
#include <sched.h>

struct xlat {
	struct gm_page pg;
	uint64_t phys;
	bool ram;
};

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

static unsigned sys_table(const struct soft *s)
{
	return s->cr4 & CR4_SMAP ? TLB_KERN : TLB_KERN_AC;
}

static bool align_checked(const struct soft *s)
{
	return s->cpl == 3 && (s->eflags & FL_AC) && (s->cr0 & CR0_AM);
}

/* Any of DR0-3 armed for data (R/W bits not 00 and L or G set). */
static bool data_bp_armed(const struct soft *s)
{
	uint64_t d = s->dr[7];

	for (unsigned i = 0; (d & 0xff) && i < 4; i++)
		if ((d >> 2 * i & 3) && (d >> (16 + 4 * i) & 3))
			return true;
	return false;
}

void soft_tlb_select(struct soft *s)
{
	if (unlikely(align_checked(s) || data_bp_armed(s)))
		s->tlb = empty_tlb;
	else
		s->tlb = s->tlbs[soft_tlb_table(s)];
	s->slots_ok = s->tlb != s->tlbs[TLB_KERN_AC] || !(s->cr4 & CR4_SMAP);
	if (unlikely(s->tlb == empty_tlb))
		soft_slots_clear(s);
}

/* ---- other threads -------------------------------------------------------- */

/* Flush first, then clear the bit: whoever sees it clear knows that nothing stale is left. */
void soft_tlb_ack(struct soft *s)
{
	if (!(atomic_load(&s->vcpu->req) & VCPU_REQ_TLB))
		return;
	if (atomic_load(&s->a20_off))
		s->mode |= MODE_A20_OFF;
	else
		s->mode &= ~(uint32_t)MODE_A20_OFF;
	soft_tlb_flush(s, false);
	vcpu_clear(s->vcpu, VCPU_REQ_TLB);
}

void soft_guest_enter(struct soft *s)
{
	if (unlikely(s->vfy))
		soft_verify_lock(s);
	atomic_store(&s->in_guest, 1);
	soft_tlb_ack(s);
}

void soft_guest_leave(struct soft *s)
{
	if (unlikely(s->vfy))
		soft_verify_effect(s);
	soft_fpu_park(s);	/* devices compute with the host's own MXCSR */
	atomic_store(&s->in_guest, 0);
	if (unlikely(s->vfy))
		soft_verify_unlock(s);
}

void soft_dev_lock(struct soft *s)
{
	soft_guest_leave(s);
	vm_lock(s->vcpu->vm);
}

void soft_dev_unlock(struct soft *s)
{
	vm_unlock(s->vcpu->vm);
	soft_guest_enter(s);
}

uint64_t soft_bus_read(struct soft *s, enum bus_kind k, uint64_t addr, unsigned size)
{
	uint64_t v;

	soft_guest_leave(s);
	v = bus_read(s->vcpu->vm->bus, k, addr, size);
	soft_guest_enter(s);
	return v;
}

void soft_bus_write(struct soft *s, enum bus_kind k, uint64_t addr, unsigned size, uint64_t v)
{
	struct vm *vm = s->vcpu->vm;
	bool look;

	soft_dev_lock(s);
	loop_access(vm->loop, true);
	bus_write_locked(vm->bus, k, addr, size, v);
	look = loop_access(vm->loop, false);
	vm_unlock(vm);
	if (unlikely(look))
		loop_look(vm->loop, &s->vcpu->req, ~(uint32_t)VCPU_REQ_TLB);
	soft_guest_enter(s);
}

static bool tlb_dropped(struct vcpu *v)
{
	struct soft *s = v->impl;

	return !atomic_load(&s->in_guest) || !(atomic_load(&v->req) & VCPU_REQ_TLB);
}

/* Make every vCPU but @self drop its translations; returns when none uses an old one. */
static void drop_all(struct vm *vm, struct soft *self)
{
	for (unsigned i = 0; i < vm->ncpus; i++) {
		struct vcpu *v = vm->cpus[i];

		if (v && v->impl && v->impl != self)
			atomic_fetch_or(&v->req, VCPU_REQ_TLB);
	}
	for (unsigned i = 0; i < vm->ncpus; i++) {
		struct vcpu *v = vm->cpus[i];

		if (!v || !v->impl || v->impl == self)
			continue;
		for (unsigned n = 0; !tlb_dropped(v); n++) {
			if (n < 200)
				__builtin_ia32_pause();
			else
				sched_yield();
		}
	}
}

void soft_set_a20(struct vm *vm, bool pass)
{
	for (unsigned i = 0; i < vm->ncpus; i++) {
		struct vcpu *v = vm->cpus[i];

		if (v && v->impl)
			atomic_store(&((struct soft *)v->impl)->a20_off, !pass);
	}
	drop_all(vm, NULL);
}

static void slot_changed(void *opaque, struct gm_slot *slot, const struct gm_slot *old)
{
	drop_all(opaque, NULL);
}

static void smram_changed(void *opaque)
{
	drop_all(opaque, NULL);
}

/*
 * Called before the log is fetched and cleared.  A tag given out between this
 * and the clearing stays; its page is marked once more when the tag goes.
 */
static void dirty_sync(void *opaque, struct gm_slot *slot)
{
	drop_all(opaque, NULL);
}

void soft_mmu_vm_init(struct vm *vm)
{
	const struct gm_listener l = {
		.changed = slot_changed, .dirty_sync = dirty_sync,
		.smram_changed = smram_changed, .dirty_tells = true, .opaque = vm,
	};

	gm_set_listener(vm->mem, &l);
}

static void drop_write_tags(struct soft *s, const uint8_t *host)
{
	soft_slots_protect(s, host);
	for (unsigned t = 0; t < TLB_TABLES; t++)
		for (unsigned w = 0; w < TLB_SIZE / 64; w++)
			for (uint64_t b = s->tlb_used[t][w]; b; b &= b - 1) {
				struct soft_tlbe *e = &s->tlbs[t][w * 64 + __builtin_ctzll(b)];

				if (e->tag_w != TLB_NONE &&
				    (const uint8_t *)(uintptr_t)(e->tag_w + e->delta) == host)
					e->tag_w = TLB_NONE;
			}
}

void soft_protect_code(struct soft *s, struct gm_block *b, uint64_t block_off)
{
	drop_write_tags(s, b->host + (block_off & ~0xfffull));
	if (s->vcpu->vm->ncpus == 1)
		return;
	soft_guest_leave(s);
	drop_all(s->vcpu->vm, s);
	soft_guest_enter(s);
}

/* ---- translation ------------------------------------------------------------ */

static HV_NORETURN void fault_noncanonical(struct soft *s, const struct uop *u)
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
	if (w->global)
		s->tlb_global[table][i / 64] |= bit;
	else
		s->tlb_global[table][i / 64] &= ~bit;
	if (w->large) {
		s->tlb_large[table][i / 64] |= bit;
		s->tlb_gib |= 1ull << (lin >> 30 & 63);
	} else {
		s->tlb_large[table][i / 64] &= ~bit;
	}
}

static bool is_apic_page(struct soft *s, uint64_t phys)
{
	const struct apic *a = &s->vcpu->apic;
	uint64_t base;

	if (likely(phys >> 32 || phys < 0x80000000u) || !a->ops)
		return false;
	base = a->ops->get_base(a->opaque);	/* only this vCPU changes it */
	return (base & 0xc00) == 0x800 && ((phys ^ base) & PHYS_MASK & ~0xfffull) == 0;
}

static void translate(struct soft *s, const struct uop *u, uint64_t lin, enum soft_access acc,
		      unsigned table, struct xlat *x)
{
	struct soft_walk w;
	uint32_t code;

	if (unlikely(!canonical(lin)))
		fault_noncanonical(s, u);
	if (!soft_mmu_walk(s, lin, acc, table, &w, &code)) {
		s->cr2 = lin;
		soft_fault_code(s, u, EXC_PF, code);
	}
	x->phys = w.phys;
	x->ram = !is_apic_page(s, w.phys) && soft_phys_page(s, w.phys, acc == ACC_X, &x->pg);
	if (unlikely(s->vfy) && x->ram && soft_verify_access(s, lin, acc == ACC_W, &x->pg))
		return;
	if (x->ram)
		tlb_fill(s, lin, table, acc, &w, &x->pg);
}

/* ---- one access inside a page ------------------------------------------------- */

static uint64_t mmio_read(struct soft *s, uint64_t phys, unsigned size)
{
	const struct apic *a = &s->vcpu->apic;
	uint64_t v;

	if (!is_apic_page(s, phys))
		return soft_bus_read(s, BUS_MMIO, phys, size);
	soft_dev_lock(s);
	v = a->ops->mmio_read(a->opaque, phys & 0xffc) >> 8 * (phys & 3);
	soft_dev_unlock(s);
	return size == 8 ? v : v & ((1ull << 8 * size) - 1);
}

static void mmio_write(struct soft *s, uint64_t phys, unsigned size, uint64_t v)
{
	const struct apic *a = &s->vcpu->apic;

	if (!is_apic_page(s, phys)) {
		soft_bus_write(s, BUS_MMIO, phys, size, v);
		return;
	}
	if ((phys & 3) || size < 4)
		return;		/* SDM vol. 3 "APIC register map": aligned 32-bit writes only */
	soft_dev_lock(s);
	a->ops->mmio_write(a->opaque, phys & 0xffc, (uint32_t)v);
	soft_dev_unlock(s);
}

static unsigned piece(uint64_t addr, size_t len)
{
	unsigned n = 8;

	while (n > len || (addr & (n - 1)))
		n >>= 1;
	return n;
}

static void ld_part(struct soft *s, const struct xlat *x, void *dst, size_t len)
{
	uint64_t phys = x->phys;
	uint8_t *d = dst;

	if (likely(x->ram)) {
		const uint8_t *h = x->pg.host + (x->phys & 0xfff);

		switch (len) {	/* single copies, so that aligned accesses stay atomic */
		case 1: *d = *h; return;
		case 2: memcpy(d, h, 2); return;
		case 4: memcpy(d, h, 4); return;
		case 8: memcpy(d, h, 8); return;
		default: memcpy(d, h, len); return;
		}
	}
	if (len == 2 || len == 4 || len == 8) {	/* the bus splits unaligned ones */
		uint64_t v = mmio_read(s, phys, len);

		memcpy(d, &v, len);
		return;
	}
	while (len) {
		unsigned n = piece(phys, len);
		uint64_t v = mmio_read(s, phys, n);

		memcpy(d, &v, n);
		d += n, phys += n, len -= n;
	}
}

static void st_ram(struct soft *s, const struct uop *u, const struct xlat *x, const uint8_t *p,
		   size_t len)
{
	uint64_t off = x->pg.block_off + (x->phys & 0xfff);
	uint8_t *h = x->pg.host + (x->phys & 0xfff);

	switch (len) {
	case 1: *h = *p; break;
	case 2: memcpy(h, p, 2); break;
	case 4: memcpy(h, p, 4); break;
	case 8: memcpy(h, p, 8); break;
	default: memcpy(h, p, len); break;
	}
	if (unlikely(s->vfy))
		soft_verify_stored(s, x->pg.host, x->phys & 0xfff, len);
	if (x->pg.block->code && atomic_load(&x->pg.block->code[off >> 12].lines))
		soft_code_store(s, u, x->pg.block, off, len);
	if (x->pg.dirty_log)
		gm_mark_dirty(x->pg.block, off);
}

static void st_part(struct soft *s, const struct uop *u, const struct xlat *x, const void *src,
		    size_t len)
{
	uint64_t phys = x->phys, v;
	const uint8_t *p = src;

	if (likely(x->ram && !x->pg.readonly)) {
		st_ram(s, u, x, p, len);
		return;
	}
	while (len) {	/* a write to ROM is the bus's: flash takes commands so */
		unsigned n = len == 2 || len == 4 || len == 8 ? len : piece(phys, len);

		v = 0;
		memcpy(&v, p, n);
		mmio_write(s, phys, n, v);
		p += n, phys += n, len -= n;
	}
}

/* ---- checks in front of an explicit access ------------------------------------- */

static void note_data_bp(struct soft *s, uint64_t lin, size_t len, bool write)
{
	uint64_t d = s->dr[7];

	for (unsigned i = 0; i < 4; i++) {
		unsigned rw = d >> (16 + 4 * i) & 3, ln = d >> (18 + 4 * i) & 3;
		uint64_t n = ln == 2 ? 8 : ln + 1, at = s->dr[i] & ~(n - 1);

		if (!(d >> 2 * i & 3) || rw == 0 || rw == 2 || (rw == 1 && !write))
			continue;
		if (at < lin + len && lin < at + n)
			s->dr_hit |= 1u << i;
	}
}

void soft_note_io_bp(struct soft *s, unsigned port, unsigned size)
{
	uint64_t d = s->dr[7];

	if (likely(!(d & 0xff)) || !(s->cr4 & CR4_DE))
		return;
	for (unsigned i = 0; i < 4; i++) {
		unsigned n = (d >> (18 + 4 * i) & 3) + 1;
		uint64_t at = s->dr[i] & ~(uint64_t)(n - 1);

		if ((d >> 2 * i & 3) && (d >> (16 + 4 * i) & 3) == 2 && at < port + size &&
		    port < at + n)
			s->dr_hit |= 1u << i;
	}
}

/* SDM vol. 3 table 6-7; states are accessed in words or doublewords. */
static unsigned align_mask(size_t len)
{
	switch (len) {
	case 1: case 2: case 4: case 8: case 16:
		return (unsigned)len - 1;
	case 32:			/* YMM: as AMD does */
		return 15;
	case 10:			/* 80-bit real */
		return 7;
	case 14: case 94:		/* 16-bit FNSTENV, FNSAVE */
		return 1;
	case 28: case 108:
		return 3;
	default:
		return 0;
	}
}

static void check_access(struct soft *s, const struct uop *u, uint64_t lin, size_t len, bool write)
{
	size_t most = len == 32 ? 32 : MIN(len, 16u);

	if (likely(s->tlb != empty_tlb))
		return;
	if (unlikely(!canonical(lin) ||
		     (len != 10 && !canonical(lin_wrap(s, lin + most - 1)))))
		fault_noncanonical(s, u);
	if (align_checked(s) && lin & align_mask(len) &&
	    !(u && soft_optable[u->row].attr & A_NOAC))
		soft_fault_code(s, u, EXC_AC, 0);
	if (data_bp_armed(s))
		note_data_bp(s, lin, len, write);
}

/* Translate [lin, lin+len): one or two pages.  Returns the bytes in the first. */
static size_t translate_range(struct soft *s, const struct uop *u, uint64_t lin, size_t len,
			      enum soft_access acc, unsigned table, struct xlat x[2])
{
	size_t first = 0x1000 - (lin & 0xfff);

	lin = lin_wrap(s, lin);
	/* A plain operand that reaches out of the canonical half: before any page fault. */
	if (unlikely(first < len && (len <= 8 || len == 16 || len == 32) &&
		     !canonical(lin_wrap(s, lin + first))))
		fault_noncanonical(s, u);
	translate(s, u, lin, acc, table, &x[0]);
	if (first >= len)
		return len;
	translate(s, u, lin_wrap(s, lin + first), acc, table, &x[1]);
	return first;
}

static void ld_table(struct soft *s, const struct uop *u, uint64_t lin, void *dst, size_t len,
		     unsigned table)
{
	struct soft_tlbe *e = &s->tlbs[table][lin >> 12 & (TLB_SIZE - 1)];
	struct xlat x[2];
	size_t n;

	if (likely(e->tag_r == ((lin + len - 1) & ~0xfffull) && len <= 0x1000)) {
		memcpy(dst, (const void *)(uintptr_t)(lin + e->delta), len);
		return;
	}
	n = translate_range(s, u, lin, len, ACC_R, table, x);
	ld_part(s, &x[0], dst, n);
	if (n < len)
		ld_part(s, &x[1], (uint8_t *)dst + n, len - n);
}

static void st_table(struct soft *s, const struct uop *u, uint64_t lin, const void *src, size_t len,
		     unsigned table)
{
	struct soft_tlbe *e = &s->tlbs[table][lin >> 12 & (TLB_SIZE - 1)];
	struct xlat x[2];
	size_t n;

	if (likely(e->tag_w == ((lin + len - 1) & ~0xfffull) && len <= 0x1000)) {
		memcpy((void *)(uintptr_t)(lin + e->delta), src, len);
		return;
	}
	n = translate_range(s, u, lin, len, ACC_W, table, x);
	st_part(s, u, &x[0], src, n);
	if (n < len)
		st_part(s, u, &x[1], (const uint8_t *)src + n, len - n);
}

/* ---- interface -------------------------------------------------------------------- */

uint64_t soft_ld_slow(struct soft *s, const struct uop *u, uint64_t lin, unsigned size)
{
	struct xlat x;
	uint64_t v = 0;

	check_access(s, u, lin, size, false);
	if (likely((lin & 0xfff) + size <= 0x1000)) {
		translate(s, u, lin, ACC_R, soft_tlb_table(s), &x);
		ld_part(s, &x, &v, size);
	} else {
		ld_table(s, u, lin, &v, size, soft_tlb_table(s));
	}
	return v;
}

void soft_st_slow(struct soft *s, const struct uop *u, uint64_t lin, unsigned size, uint64_t v)
{
	struct xlat x;

	check_access(s, u, lin, size, true);
	if (likely((lin & 0xfff) + size <= 0x1000)) {
		translate(s, u, lin, ACC_W, soft_tlb_table(s), &x);
		st_part(s, u, &x, &v, size);
	} else {
		st_table(s, u, lin, &v, size, soft_tlb_table(s));
	}
}

void soft_ld_buf(struct soft *s, const struct uop *u, uint64_t lin, void *dst, size_t len)
{
	check_access(s, u, lin, len, false);
	ld_table(s, u, lin, dst, len, soft_tlb_table(s));
}

void soft_st_buf(struct soft *s, const struct uop *u, uint64_t lin, const void *src, size_t len)
{
	check_access(s, u, lin, len, true);
	st_table(s, u, lin, src, len, soft_tlb_table(s));
}

void soft_probe_write(struct soft *s, const struct uop *u, uint64_t lin, size_t len)
{
	struct xlat x[2];

	check_access(s, u, lin, len, true);
	translate_range(s, u, lin, len, ACC_W, soft_tlb_table(s), x);
}

void *soft_host_ptr(struct soft *s, const struct uop *u, uint64_t lin, bool write, size_t *len)
{
	const struct soft_tlbe *e = &s->tlb[lin >> 12 & (TLB_SIZE - 1)];
	struct xlat x;

	*len = 0x1000 - (lin & 0xfff);
	if (likely((write ? e->tag_w : e->tag_r) == (lin & ~0xfffull)))
		return (void *)(uintptr_t)(lin + e->delta);
	if (s->tlb == empty_tlb)
		return NULL;
	translate(s, u, lin, write ? ACC_W : ACC_R, soft_tlb_table(s), &x);
	if (unlikely(s->vfy) && write && x.ram && soft_verify_span(s, x.pg.host, lin & 0xfff))
		return x.pg.host + (lin & 0xfff);
	if ((write ? e->tag_w : e->tag_r) != (lin & ~0xfffull))
		return NULL;
	return (void *)(uintptr_t)(lin + e->delta);
}

void *soft_rmw_ptr(struct soft *s, const struct uop *u, uint64_t lin, unsigned size)
{
	const struct soft_tlbe *e = &s->tlb[lin >> 12 & (TLB_SIZE - 1)];
	struct xlat x;

	s->rmw_block = NULL;
	if (likely(e->tag_w == ((lin + size - 1) & ~0xfffull)))
		return (void *)(uintptr_t)(lin + e->delta);
	check_access(s, u, lin, size, true);
	if ((lin & 0xfff) + size > 0x1000)
		return NULL;
	translate(s, u, lin, ACC_W, soft_tlb_table(s), &x);
	if (!x.ram || x.pg.readonly)
		return NULL;
	if (x.pg.dirty_log)
		gm_mark_dirty(x.pg.block, x.pg.block_off);
	s->rmw_block = x.pg.block;
	s->rmw_off = x.pg.block_off + (lin & 0xfff);
	return x.pg.host + (lin & 0xfff);
}

void soft_rmw_done(struct soft *s, const struct uop *u, unsigned size)
{
	struct gm_block *b = s->rmw_block;

	if (unlikely(s->vfy) && b)
		soft_verify_stored(s, b->host + (s->rmw_off & ~0xfffull), s->rmw_off & 0xfff, size);
	if (b && b->code && atomic_load(&b->code[s->rmw_off >> 12].lines))
		soft_code_store(s, u, b, s->rmw_off, size);
}

uint64_t soft_ld_as(struct soft *s, const struct uop *u, uint64_t lin, unsigned size, bool user)
{
	uint64_t v = 0;
	unsigned t = user ? s->space : (s->eflags & FL_AC) ? TLB_KERN_AC : sys_table(s);

	ld_table(s, u, lin_wrap(s, lin), &v, size, t);
	return v;
}

void soft_st_as(struct soft *s, const struct uop *u, uint64_t lin, unsigned size, uint64_t v,
		bool user)
{
	unsigned t = user ? s->space : (s->eflags & FL_AC) ? TLB_KERN_AC : sys_table(s);

	st_table(s, u, lin_wrap(s, lin), &v, size, t);
}

uint64_t soft_sys_ld(struct soft *s, const struct uop *u, uint64_t lin, unsigned size)
{
	uint64_t v = 0;

	ld_table(s, u, lin_wrap(s, lin), &v, size, sys_table(s));
	return v;
}

void soft_sys_st(struct soft *s, const struct uop *u, uint64_t lin, unsigned size, uint64_t v)
{
	st_table(s, u, lin_wrap(s, lin), &v, size, sys_table(s));
}

void soft_sys_probe_write(struct soft *s, const struct uop *u, uint64_t lin, unsigned len)
{
	struct xlat x[2];

	translate_range(s, u, lin_wrap(s, lin), len, ACC_W, sys_table(s), x);
}

void soft_fetch_page(struct soft *s, uint64_t lin, struct gm_page *out, bool *ram)
{
	struct xlat x;

	translate(s, NULL, lin, ACC_X, soft_tlb_table(s), &x);
	*ram = x.ram;
	if (x.ram)
		*out = x.pg;
}
