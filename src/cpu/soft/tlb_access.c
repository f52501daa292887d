/* SPDX-License-Identifier: MIT */
/*
 * Memory accesses that miss the TLB: page crossing, MMIO, code pages,
 * alignment checks and data breakpoints.
 */
#include "tlb_int.h"
#include "verify.h"

/* ---- one access inside a page ------------------------------------------------- */

static uint64_t mmio_read(struct soft *s, uint64_t phys, unsigned size)
{
	const struct apic *a = &s->vcpu->apic;
	uint64_t v;

	if (!soft_is_apic_page(s, phys))
		return soft_bus_read(s, BUS_MMIO, phys, size);
	soft_dev_lock(s);
	v = a->ops->mmio_read(a->opaque, phys & 0xffc) >> 8 * (phys & 3);
	soft_dev_unlock(s);
	return size == 8 ? v : v & ((1ull << 8 * size) - 1);
}

static void mmio_write(struct soft *s, uint64_t phys, unsigned size, uint64_t v)
{
	const struct apic *a = &s->vcpu->apic;

	if (!soft_is_apic_page(s, phys)) {
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

	if (likely(!soft_tlb_watched(s)))
		return;
	if (unlikely(!canonical(lin) ||
		     (len != 10 && !canonical(lin_wrap(s, lin + most - 1)))))
		soft_fault_noncanonical(s, u);
	if (soft_align_checked(s) && lin & align_mask(len) &&
	    !(u && soft_optable[u->row].attr & A_NOAC))
		soft_fault_code(s, u, EXC_AC, 0);
	if (soft_data_bp_armed(s))
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
		soft_fault_noncanonical(s, u);
	soft_translate(s, u, lin, acc, table, &x[0]);
	if (first >= len)
		return len;
	soft_translate(s, u, lin_wrap(s, lin + first), acc, table, &x[1]);
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
		soft_translate(s, u, lin, ACC_R, soft_tlb_table(s), &x);
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
		soft_translate(s, u, lin, ACC_W, soft_tlb_table(s), &x);
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
	if (soft_tlb_watched(s))
		return NULL;
	soft_translate(s, u, lin, write ? ACC_W : ACC_R, soft_tlb_table(s), &x);
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
	soft_translate(s, u, lin, ACC_W, soft_tlb_table(s), &x);
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
	unsigned t = user ? s->space : (s->eflags & FL_AC) ? TLB_KERN_AC : soft_sys_table(s);

	ld_table(s, u, lin_wrap(s, lin), &v, size, t);
	return v;
}

void soft_st_as(struct soft *s, const struct uop *u, uint64_t lin, unsigned size, uint64_t v,
		bool user)
{
	unsigned t = user ? s->space : (s->eflags & FL_AC) ? TLB_KERN_AC : soft_sys_table(s);

	st_table(s, u, lin_wrap(s, lin), &v, size, t);
}

uint64_t soft_sys_ld(struct soft *s, const struct uop *u, uint64_t lin, unsigned size)
{
	uint64_t v = 0;

	ld_table(s, u, lin_wrap(s, lin), &v, size, soft_sys_table(s));
	return v;
}

void soft_sys_st(struct soft *s, const struct uop *u, uint64_t lin, unsigned size, uint64_t v)
{
	st_table(s, u, lin_wrap(s, lin), &v, size, soft_sys_table(s));
}

void soft_sys_probe_write(struct soft *s, const struct uop *u, uint64_t lin, unsigned len)
{
	struct xlat x[2];

	translate_range(s, u, lin_wrap(s, lin), len, ACC_W, soft_sys_table(s), x);
}

void soft_fetch_page(struct soft *s, uint64_t lin, struct gm_page *out, bool *ram)
{
	struct xlat x;

	soft_translate(s, NULL, lin, ACC_X, soft_tlb_table(s), &x);
	*ram = x.ram;
	if (x.ram)
		*out = x.pg;
}
