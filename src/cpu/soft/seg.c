/* SPDX-License-Identifier: MIT */
/*
 * Segmentation: address checks, descriptor reads, segment register loads,
 * and the stack helper of far transfers (Intel SDM vol. 3 ch. 3 and 5).
 *
 * A null selector loaded in long mode clears the base, as Intel processors
 * do.  Real mode keeps limit and attributes of the segment caches, which is
 * what makes "unreal" mode work.
 */
#include "sys_int.h"

static HV_NORETURN void seg_fault(struct soft *s, const struct uop *u, unsigned seg)
{
	soft_fault_code(s, u, seg == SEG_SS ? EXC_SS : EXC_GP, 0);
}

/* Is [ea, ea+len) inside? */
static bool limit_ok(uint32_t limit, uint32_t attr, uint64_t ea, unsigned len)
{
	uint64_t last = ea + len - 1;

	if ((attr & (SA_S | SA_CODE | SA_DC)) == (SA_S | SA_DC))	/* expand down */
		return ea > limit && last <= (attr & SA_DB ? 0xffffffffu : 0xffffu);
	return last <= limit;
}

uint64_t soft_seg_lin(struct soft *s, const struct uop *u, unsigned seg, uint64_t ea,
		      unsigned len, bool write)
{
	const struct x86_seg *sg = &s->seg[seg];

	if (s->mode & MODE_CS64)
		return seg >= SEG_FS ? sg->base + ea : ea;
	if (unlikely(sg->attr & SA_UNUSABLE))
		seg_fault(s, u, seg);
	if ((s->mode & (MODE_PE | MODE_VM86)) == MODE_PE) {
		bool code = sg->attr & SA_CODE, rw = sg->attr & SA_RW;

		if (write ? code || !rw : code && !rw)
			seg_fault(s, u, seg);
	}
	if (unlikely(!limit_ok(sg->limit, sg->attr, ea, len)))
		seg_fault(s, u, seg);
	return (uint32_t)(sg->base + ea);
}

/* ---- descriptors ------------------------------------------------------------ */

bool soft_desc_read(struct soft *s, const struct uop *u, uint16_t sel, struct desc *d)
{
	uint64_t base = s->gdt.base;
	uint32_t limit = s->gdt.limit;

	if (sel & 4) {
		if (s->ldt.attr & SA_UNUSABLE)
			return false;
		base = s->ldt.base;
		limit = s->ldt.limit;
	}
	if ((sel | 7u) > limit)
		return false;
	d->lin = lin_wrap(s, base + (sel & ~7u));
	d->raw = soft_sys_ld(s, u, d->lin, 8);
	d->hi = 0;
	return true;
}

void soft_desc_get(struct soft *s, const struct uop *u, uint16_t sel, unsigned vector,
		   struct desc *d)
{
	if (!soft_desc_read(s, u, sel, d))
		soft_fault_code(s, u, vector, ext_code(s, sel));
}

void soft_desc_get_hi(struct soft *s, const struct uop *u, uint16_t sel, unsigned vector,
		      struct desc *d)
{
	uint32_t limit = sel & 4 ? s->ldt.limit : s->gdt.limit;

	if ((sel & ~7u) + 15 > limit)
		soft_fault_code(s, u, vector, ext_code(s, sel));
	d->hi = soft_sys_ld(s, u, d->lin + 8, 8);
	if (d->hi >> 40 & 0x1f)
		soft_fault_code(s, u, vector, ext_code(s, sel));
}

void soft_desc_set_accessed(struct soft *s, const struct uop *u, struct desc *d)
{
	if (d->raw >> 40 & 1)
		return;
	d->raw |= 1ull << 40;
	soft_sys_st(s, u, d->lin + 5, 1, d->raw >> 40 & 0xff);
}

void soft_seg_from_desc(struct x86_seg *sg, uint16_t sel, const struct desc *d)
{
	sg->sel = sel;
	sg->base = desc_base(d);
	sg->limit = desc_limit(d);
	sg->attr = desc_attr(d);
}

void soft_seg_null(struct x86_seg *sg, uint16_t sel)
{
	sg->sel = sel;
	sg->base = 0;
	sg->limit = 0;
	sg->attr = SA_UNUSABLE;
}

/* ---- segment register loads --------------------------------------------------- */

void soft_set_seg_real(struct soft *s, unsigned seg, uint16_t sel)
{
	struct x86_seg *sg = &s->seg[seg];

	sg->sel = sel;
	sg->base = (uint32_t)sel << 4;
	if (soft_v86(s)) {
		sg->limit = 0xffff;
		sg->attr = 0xf3;
	} else if (sg->attr & SA_UNUSABLE) {
		sg->limit = 0xffff;
		sg->attr = 0x93;
	}
}

void soft_check_ss(struct soft *s, const struct uop *u, uint16_t sel, unsigned cpl,
		   unsigned vec_bad, unsigned vec_np, struct desc *d)
{
	soft_desc_get(s, u, sel, vec_bad, d);
	if ((sel & 3u) != cpl || desc_dpl(d) != cpl || !desc_is_seg(d) || desc_is_code(d) ||
	    !(desc_attr(d) & SA_RW))
		soft_fault_code(s, u, vec_bad, ext_code(s, sel));
	if (!desc_present(d))
		soft_fault_code(s, u, vec_np, ext_code(s, sel));
}

static void load_ss(struct soft *s, const struct uop *u, uint16_t sel)
{
	struct desc d;

	if (!(sel & ~3u)) {
		if (!(s->mode & MODE_CS64) || s->cpl == 3 || (sel & 3u) != s->cpl)
			soft_fault_code(s, u, EXC_GP, 0);
		soft_seg_null(&s->seg[SEG_SS], sel);
		s->seg[SEG_SS].attr |= (uint32_t)s->cpl << SA_DPL_SHIFT;
		return;
	}
	soft_check_ss(s, u, sel, s->cpl, EXC_GP, EXC_SS, &d);
	soft_desc_set_accessed(s, u, &d);
	soft_seg_from_desc(&s->seg[SEG_SS], sel, &d);
}

void soft_load_seg(struct soft *s, const struct uop *u, unsigned seg, uint16_t sel)
{
	struct desc d;

	if (!soft_pe(s) || soft_v86(s)) {
		soft_set_seg_real(s, seg, sel);
	} else if (seg == SEG_SS) {
		load_ss(s, u, sel);
	} else if (!(sel & ~3u)) {
		soft_seg_null(&s->seg[seg], sel);
	} else {
		soft_desc_get(s, u, sel, EXC_GP, &d);
		if (!desc_is_seg(&d) || (desc_is_code(&d) && !(desc_attr(&d) & SA_RW)))
			soft_fault_code(s, u, EXC_GP, ext_code(s, sel));
		/* data and non-conforming code: DPL >= max(CPL, RPL) */
		if ((desc_attr(&d) & (SA_CODE | SA_DC)) != (SA_CODE | SA_DC) &&
		    (desc_dpl(&d) < (sel & 3u) || desc_dpl(&d) < s->cpl))
			soft_fault_code(s, u, EXC_GP, ext_code(s, sel));
		if (!desc_present(&d))
			soft_fault_code(s, u, EXC_NP, ext_code(s, sel));
		soft_desc_set_accessed(s, u, &d);
		soft_seg_from_desc(&s->seg[seg], sel, &d);
	}
	soft_update_mode(s);
}

void soft_drop_segs(struct soft *s)
{
	static const uint8_t segs[] = { SEG_ES, SEG_DS, SEG_FS, SEG_GS };

	for (unsigned i = 0; i < ARRAY_SIZE(segs); i++) {
		struct x86_seg *sg = &s->seg[segs[i]];

		if (sg->attr & SA_UNUSABLE)
			continue;
		if ((sg->attr & (SA_CODE | SA_DC)) != (SA_CODE | SA_DC) &&
		    SA_DPL(sg->attr) < s->cpl)
			soft_seg_null(sg, 0);
	}
}

void soft_check_target(struct soft *s, const struct uop *u, const struct x86_seg *cs,
		       uint64_t *rip)
{
	if (soft_lma(s) && (cs->attr & SA_L)) {
		if (!canonical(*rip))
			soft_fault_code(s, u, EXC_GP, ext_code(s, 0));
		return;
	}
	*rip = (uint32_t)*rip;
	if (*rip > cs->limit)
		soft_fault_code(s, u, EXC_GP, ext_code(s, 0));
}

/* ---- stacks under construction -------------------------------------------------- */

void stk_from_seg(const struct soft *s, struct stk *k, const struct x86_seg *ss, uint64_t sp,
		  unsigned cpl)
{
	k->flat = false;
	k->base = ss->base;
	k->limit = ss->limit;
	k->attr = ss->attr;
	k->mask = ss->attr & SA_DB ? 0xffffffffu : 0xffffu;
	k->sp = sp;
	k->user = cpl == 3;
}

void stk_current(const struct soft *s, struct stk *k)
{
	stk_from_seg(s, k, &s->seg[SEG_SS], s->gpr[R_RSP], s->cpl);
	if (s->mode & MODE_CS64) {
		k->flat = true;
		k->mask = UINT64_MAX;
		k->base = 0;
	}
}

static uint64_t stk_lin(struct soft *s, const struct uop *u, const struct stk *k, uint64_t sp,
			unsigned size, uint32_t ss_code)
{
	if (k->flat ? !canonical(sp) || !canonical(sp + size - 1)
		    : (k->attr & SA_UNUSABLE) || !limit_ok(k->limit, k->attr, sp, size))
		soft_fault_code(s, u, EXC_SS, ss_code);
	return k->flat ? sp : (uint32_t)(k->base + sp);
}

void stk_push(struct soft *s, const struct uop *u, struct stk *k, uint64_t v, unsigned size,
	      uint32_t ss_code)
{
	uint64_t sp = (k->sp - size) & k->mask;

	soft_st_as(s, u, stk_lin(s, u, k, sp, size, ss_code), size, v, k->user);
	k->sp = (k->sp & ~k->mask) | sp;
}

uint64_t stk_pop(struct soft *s, const struct uop *u, struct stk *k, unsigned size)
{
	uint64_t sp = k->sp & k->mask;
	uint64_t v = soft_ld_as(s, u, stk_lin(s, u, k, sp, size, 0), size, k->user);

	k->sp = (k->sp & ~k->mask) | ((sp + size) & k->mask);
	return v;
}

/* The stack pointer's width is that of the stack used: upper bits of a narrow one stay. */
void stk_commit(struct soft *s, const struct stk *k)
{
	if (k->mask == 0xffff)
		gpr_set(s, R_RSP * 8, 2, k->sp);
	else
		s->gpr[R_RSP] = k->flat ? k->sp : (uint32_t)k->sp;
}
