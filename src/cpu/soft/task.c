/* SPDX-License-Identifier: MIT */
/*
 * Hardware task switching with 16- and 32-bit TSSs (Intel SDM vol. 3 ch. 8).
 *
 * Everything that can fault in the old task is done first; faults in the
 * second half belong to the new task, as the manual has it.
 */
#include "sys_int.h"

/* Offsets by TSS width. */
struct tss_layout {
	uint8_t size;		/* of a register slot */
	uint8_t ip, flags, gpr, seg, ldt, nsegs, min_limit;
};

static const struct tss_layout tss32 = {
	.size = 4, .ip = 0x20, .flags = 0x24, .gpr = 0x28, .seg = 0x48, .ldt = 0x60, .nsegs = 6,
	.min_limit = 0x67,
};
static const struct tss_layout tss16 = {
	.size = 2, .ip = 0x0e, .flags = 0x10, .gpr = 0x12, .seg = 0x22, .ldt = 0x2a, .nsegs = 4,
	.min_limit = 0x2b,
};

/* What a TSS says. */
struct task {
	uint32_t ip, flags, gpr[8], cr3;
	uint16_t seg[6], ldt;
	bool trap;
};

static const struct tss_layout *layout(unsigned type)
{
	return type & 8 ? &tss32 : &tss16;
}

void soft_tss_stack(struct soft *s, const struct uop *u, unsigned pl, uint16_t *ss, uint64_t *sp)
{
	bool wide = s->tr.attr & 8;
	unsigned off = wide ? 4 + 8 * pl : 2 + 4 * pl, n = wide ? 4 : 2;

	if (off + (wide ? 5 : 3) > s->tr.limit)
		soft_fault_code(s, u, EXC_TS, ext_code(s, s->tr.sel));
	*sp = soft_sys_ld(s, u, s->tr.base + off, n);
	*ss = (uint16_t)soft_sys_ld(s, u, s->tr.base + off + n, 2);
}

static void read_task(struct soft *s, const struct uop *u, uint64_t base,
		      const struct tss_layout *l, struct task *t)
{
	memset(t, 0, sizeof(*t));
	t->ip = (uint32_t)soft_sys_ld(s, u, base + l->ip, l->size);
	t->flags = (uint32_t)soft_sys_ld(s, u, base + l->flags, l->size);
	for (unsigned i = 0; i < 8; i++)
		t->gpr[i] = (uint32_t)soft_sys_ld(s, u, base + l->gpr + i * l->size, l->size);
	for (unsigned i = 0; i < l->nsegs; i++)
		t->seg[i] = (uint16_t)soft_sys_ld(s, u, base + l->seg + i * l->size, 2);
	t->ldt = (uint16_t)soft_sys_ld(s, u, base + l->ldt, 2);
	if (l == &tss32) {
		t->cr3 = (uint32_t)soft_sys_ld(s, u, base + 0x1c, 4);
		t->trap = soft_sys_ld(s, u, base + 0x64, 1) & 1;
	}
}

static void save_task(struct soft *s, const struct uop *u, const struct tss_layout *l,
		      uint64_t next_rip, bool clear_nt)
{
	uint32_t fl = soft_get_eflags(s) & ~(clear_nt ? FL_NT : 0);
	uint64_t base = s->tr.base;

	soft_sys_st(s, u, base + l->ip, l->size, next_rip);
	soft_sys_st(s, u, base + l->flags, l->size, fl);
	for (unsigned i = 0; i < 8; i++)
		soft_sys_st(s, u, base + l->gpr + i * l->size, l->size, s->gpr[i]);
	for (unsigned i = 0; i < l->nsegs; i++)
		soft_sys_st(s, u, base + l->seg + i * l->size, 2, s->seg[i].sel);
}

static void set_busy(struct soft *s, const struct uop *u, uint64_t desc_lin, bool busy)
{
	uint8_t b = (uint8_t)soft_sys_ld(s, u, desc_lin + 5, 1);

	soft_sys_st(s, u, desc_lin + 5, 1, busy ? b | 2 : b & ~2u);
}

/* ---- second half: in the new task -------------------------------------------------- */

static HV_NORETURN void task_fault(struct soft *s, unsigned vector, uint16_t sel)
{
	soft_fault_code(s, NULL, vector, ext_code(s, sel));
}

static void load_task_ldt(struct soft *s, uint16_t sel)
{
	struct desc d;

	soft_seg_null(&s->ldt, sel);
	if (!(sel & ~3u))
		return;
	if ((sel & 4) || !soft_desc_read(s, NULL, sel, &d) || desc_is_seg(&d) ||
	    desc_type(&d) != 2 || !desc_present(&d))
		task_fault(s, EXC_TS, sel);
	soft_seg_from_desc(&s->ldt, sel, &d);
}

static void load_task_cs(struct soft *s, uint16_t sel)
{
	unsigned rpl = sel & 3;
	struct desc d;

	if (!(sel & ~3u))
		task_fault(s, EXC_TS, 0);
	soft_desc_get(s, NULL, sel, EXC_TS, &d);
	if (!desc_is_code(&d) ||
	    (desc_attr(&d) & SA_DC ? desc_dpl(&d) > rpl : desc_dpl(&d) != rpl))
		task_fault(s, EXC_TS, sel);
	if (!desc_present(&d))
		task_fault(s, EXC_NP, sel);
	soft_desc_set_accessed(s, NULL, &d);
	soft_seg_from_desc(&s->seg[SEG_CS], sel, &d);
}

static void load_task_ss(struct soft *s, uint16_t sel)
{
	struct desc d;

	if (!(sel & ~3u))
		task_fault(s, EXC_TS, 0);
	soft_check_ss(s, NULL, sel, s->cpl, EXC_TS, EXC_SS, &d);
	soft_desc_set_accessed(s, NULL, &d);
	soft_seg_from_desc(&s->seg[SEG_SS], sel, &d);
}

static void load_task_data(struct soft *s, unsigned seg, uint16_t sel)
{
	struct desc d;
	uint32_t a;

	if (!(sel & ~3u))
		return;
	soft_desc_get(s, NULL, sel, EXC_TS, &d);
	a = desc_attr(&d);
	if (!desc_is_seg(&d) || (a & (SA_CODE | SA_RW)) == SA_CODE)
		task_fault(s, EXC_TS, sel);
	if ((a & (SA_CODE | SA_DC)) != (SA_CODE | SA_DC) &&
	    (desc_dpl(&d) < s->cpl || desc_dpl(&d) < (sel & 3u)))
		task_fault(s, EXC_TS, sel);
	if (!desc_present(&d))
		task_fault(s, EXC_NP, sel);
	soft_desc_set_accessed(s, NULL, &d);
	soft_seg_from_desc(&s->seg[seg], sel, &d);
}

static void load_task_segs(struct soft *s, const struct task *t)
{
	static const uint8_t data[] = { SEG_ES, SEG_DS, SEG_FS, SEG_GS };

	if (soft_v86(s)) {
		s->cpl = 3;
		for (unsigned i = 0; i < SEG_NUM; i++)
			soft_set_seg_real(s, i, t->seg[i]);
		load_task_ldt(s, t->ldt);
		return;
	}
	load_task_ldt(s, t->ldt);
	load_task_cs(s, t->seg[SEG_CS]);
	load_task_ss(s, t->seg[SEG_SS]);
	for (unsigned i = 0; i < ARRAY_SIZE(data); i++)
		load_task_data(s, data[i], t->seg[data[i]]);
}

/* Registers that need no check. */
static void load_task_regs(struct soft *s, const struct tss_layout *l, const struct task *t)
{
	for (unsigned i = 0; i < 8; i++)
		s->gpr[i] = l->size == 4 ? t->gpr[i] : (s->gpr[i] & 0xffff0000u) | t->gpr[i];
	for (unsigned i = 0; i < SEG_NUM; i++)
		soft_seg_null(&s->seg[i], t->seg[i]);
	s->cpl = t->seg[SEG_CS] & 3;
	s->seg[SEG_CS].attr = SA_UNUSABLE;
	s->rip = t->ip;
	soft_set_eflags(s, ((l->size == 4 ? t->flags : t->flags & 0xffff) & FL_DEFINED) | 2);
	s->rf_loaded = true;
}

static void push_task_code(struct soft *s, const struct tss_layout *l, uint32_t code)
{
	struct stk k;

	stk_current(s, &k);
	stk_push(s, NULL, &k, code, l->size, 0);
	stk_commit(s, &k);
}

void soft_task_switch(struct soft *s, const struct uop *u, uint16_t sel, const struct desc *d,
		      enum task_why why, uint64_t next_rip, bool has_code, uint32_t code)
{
	const struct tss_layout *l = layout(desc_type(d)), *ol = layout(s->tr.attr);
	uint64_t base = desc_base(d), old_desc = s->gdt.base + (s->tr.sel & ~7u);
	bool nested = why == TASK_CALL || why == TASK_INT;
	struct task t;

	if (desc_limit(d) < l->min_limit)
		soft_fault_code(s, u, EXC_TS, ext_code(s, sel));
	soft_sys_probe_write(s, u, s->tr.base, ol->min_limit + 1u);
	soft_sys_probe_write(s, u, base, 2);
	soft_sys_probe_write(s, u, old_desc, 8);
	soft_sys_probe_write(s, u, d->lin, 8);
	read_task(s, u, base, l, &t);

	save_task(s, u, ol, next_rip, why == TASK_IRET);
	if (nested) {
		soft_sys_st(s, u, base, 2, s->tr.sel);
		t.flags |= FL_NT;
	} else {
		set_busy(s, u, old_desc, false);
	}
	if (why != TASK_IRET)
		set_busy(s, u, d->lin, true);
	soft_seg_from_desc(&s->tr, sel, d);
	s->tr.attr |= 2;
	s->cr0 |= CR0_TS;
	s->dr[7] &= ~0x155ull;
	if (l == &tss32 && (s->cr0 & CR0_PG) && !soft_set_cr3(s, t.cr3))
		task_fault(s, EXC_TS, sel);

	load_task_regs(s, l, &t);
	load_task_segs(s, &t);
	soft_update_mode(s);
	if (has_code)
		push_task_code(s, l, code);
	if (s->rip > s->seg[SEG_CS].limit)
		task_fault(s, EXC_GP, 0);
	s->no_step = true;	/* the old task's TF does not reach into the new one */
	if (t.trap)
		soft_db_trap(s, DR6_BT);
}
