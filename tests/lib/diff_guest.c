/* SPDX-License-Identifier: MIT */
/*
 * Run a differential case in the interpreter: ring 3 of a small machine in
 * long mode whose page tables map the case's pages at the addresses that
 * the host uses.  Every vector's handler is a HLT in ring 0.
 */
#include "diff.h"
#include "testvm.h"
#include <stdlib.h>

/* Guest physical layout; kernel things are mapped at KERN + physical, supervisor only. */
#define P_PML4 0x1000
#define P_PDPT 0x2000
#define P_PD 0x3000
#define P_PT_CODE 0x7000
#define P_PT_DATA 0x8000
#define P_PT_KERN 0x9000
#define P_PDPT_KERN 0x4000
#define P_PD_KERN 0x5000
#define P_GDT 0xa000
#define P_IDT 0xb000
#define P_TSS 0xc000
#define P_HLT 0xd000
#define P_STACK 0xe000		/* one page */
#define P_CODE 0x10000
#define P_DATA 0x20000
#define RAM 0x40000
#define KERN 0xffffff8000000000ull

#define PTE_P 1ull
#define PTE_W 2ull
#define PTE_U 4ull
#define PTE_AD 0x60ull
#define PTE_NX (1ull << 63)

enum { SEL_KCODE = 0x08, SEL_KDATA = 0x10, SEL_UCODE32 = 0x23, SEL_UDATA = 0x2b, SEL_UCODE = 0x33,
       SEL_TSS = 0x40 };

uint8_t *diff_guest_data;
static struct vm *vm;
static struct soft *cpu;
static uint8_t *ram;
static struct x86_seg seg_code64, seg_code32, seg_data;

static void put64(unsigned at, uint64_t v)
{
	memcpy(ram + at, &v, 8);
}

static void make_tables(void)
{
	uint64_t upper = PTE_P | PTE_W | PTE_U | PTE_AD;

	put64(P_PML4, P_PDPT | upper);
	put64(P_PDPT, P_PD | upper);
	put64(P_PD + 8 * (DIFF_CODE >> 21), P_PT_CODE | upper);
	put64(P_PD + 8 * (DIFF_DATA >> 21), P_PT_DATA | upper);
	put64(P_PML4 + 8 * 511, P_PDPT_KERN | upper);
	put64(P_PDPT_KERN, P_PD_KERN | upper);
	put64(P_PD_KERN, P_PT_KERN | upper);
	put64(P_PT_CODE, P_CODE | PTE_P | PTE_U | PTE_AD);
	for (unsigned i = 0; i < DIFF_DATA_LEN >> 12; i++)
		put64(P_PT_DATA + 8 * i, (P_DATA + i * 0x1000) | PTE_P | PTE_U | PTE_AD | PTE_NX |
		      (i * 0x1000 < DIFF_RW_LEN ? PTE_W : 0));
	for (unsigned i = 0; i < 16; i++)
		put64(P_PT_KERN + 8 * i, i * 0x1000 | PTE_P | PTE_W | PTE_AD);
	_Static_assert(DIFF_CODE >> 30 == 0 && DIFF_DATA >> 30 == 0, "one PD");
}

static void make_descriptors(void)
{
	uint64_t tss = KERN + P_TSS;

	put64(P_GDT + SEL_KCODE, 0x00af9b000000ffff);
	put64(P_GDT + SEL_KDATA, 0x00cf93000000ffff);
	put64(P_GDT + (SEL_UCODE32 & ~7), 0x00cffb000000ffff);
	put64(P_GDT + (SEL_UDATA & ~7), 0x00cff3000000ffff);
	put64(P_GDT + (SEL_UCODE & ~7), 0x00affb000000ffff);
	put64(P_GDT + SEL_TSS,
	      0x00008b0000000067 | (tss & 0xffffff) << 16 | (tss >> 24 & 0xff) << 56);
	put64(P_GDT + SEL_TSS + 8, tss >> 32);
	put64(P_TSS + 4, KERN + P_STACK + 0x1000);
	ram[P_TSS + 0x66] = 0x68;		/* no I/O bitmap */
	for (unsigned i = 0; i < 32; i++) {
		uint64_t h = KERN + P_HLT + i * 16;

		put64(P_IDT + i * 16, (h & 0xffff) | SEL_KCODE << 16 | 0xee00ull << 32 |
		      (h >> 16 & 0xffff) << 48);
		put64(P_IDT + i * 16 + 8, h >> 32);
		ram[P_HLT + i * 16] = 0xf4;
	}
}

static struct x86_seg make_seg(uint16_t sel, uint32_t attr)
{
	return (struct x86_seg){ .sel = sel, .attr = attr, .limit = 0xffffffff };
}

static void make_cpu(void)
{
	struct x86_state *st = hv_zalloc(sizeof(*st));
	struct vcpu *v = vm->cpus[0];
	struct err e = { 0 };

	v->ops->reset(v);
	v->ops->get_state(v, st);
	seg_code64 = make_seg(SEL_UCODE, 0xa0fb);
	seg_code32 = make_seg(SEL_UCODE32, 0xc0fb);
	seg_data = make_seg(SEL_UDATA, 0xc0f3);
	for (unsigned i = 0; i < SEG_NUM; i++)
		st->seg[i] = seg_data;
	st->seg[SEG_CS] = seg_code64;
	st->gdt = (struct x86_dtable){ .base = KERN + P_GDT, .limit = 0x4f };
	st->idt = (struct x86_dtable){ .base = KERN + P_IDT, .limit = 0x1ff };
	st->tr = (struct x86_seg){
		.base = KERN + P_TSS, .limit = 0x67, .attr = 0x8b, .sel = SEL_TSS
	};
	st->cr0 = 0x80050033;			/* PG AM WP NE ET MP PE */
	st->cr3 = P_PML4;
	st->cr4 = 0x50620;			/* PAE OSFXSR OSXMMEXCPT FSGSBASE OSXSAVE */
	st->efer = 0xd01;			/* NXE LMA LME SCE */
	st->xcr0 = soft_xcr0_mask();
	st->rflags = 0x202;
	st->rip = DIFF_CODE;
	if (!v->ops->set_state(v, st, &e))
		fail_msg("set_state: %s", e.msg);
	free(st);
	cpu = v->impl;
}

void diff_guest_init(const uint8_t *data)
{
	struct err e = { 0 };
	struct gm_page pg;

	vm = tvm_new(RAM);
	if (!vm_set_engine(vm, &soft_cpu_ops, 1, &e))
		fail_msg("engine: %s", e.msg);
	assert_true(gm_lookup(vm->mem, 0, &pg));
	ram = pg.host;
	diff_guest_data = ram + P_DATA;
	memset(ram + P_CODE, 0xcc, 0x1000);
	memcpy(diff_guest_data, data, DIFF_DATA_LEN);
	make_tables();
	make_descriptors();
	make_cpu();
}

struct vcpu *diff_guest_cpu(void)
{
	return vm->cpus[0];
}

static void load_state(const struct diff_case *c)
{
	struct soft *s = cpu;

	memcpy(s->gpr, c->in.gpr, 16 * 8);
	s->rip = c->in.rip;
	s->halted = false;
	s->intr_shadow = false;
	for (unsigned i = 0; i < SEG_NUM; i++)
		s->seg[i] = seg_data;
	s->seg[SEG_CS] = c->bits == 64 ? seg_code64 : seg_code32;
	s->seg[SEG_FS].base = c->in.fsbase;
	s->seg[SEG_GS].base = c->in.gsbase;
	s->cpl = 3;
	soft_set_eflags(s, (uint32_t)c->in.rflags);
	soft_update_mode(s);
	memcpy(s->fx, c->in.fx, DIFF_FX_LEN);
	soft_fpu_sync_in(s);
}

static uint64_t frame(unsigned slot)
{
	uint64_t v;

	memcpy(&v, ram + P_STACK + 0x1000 - 8 * slot, 8);
	return v;
}

static void save_state(struct diff_out *o)
{
	struct soft *s = cpu;

	o->vector = (unsigned)((s->rip - (KERN + P_HLT)) / 16);
	memcpy(o->st.gpr, s->gpr, 16 * 8);
	o->st.gpr[R_RSP] = frame(2);
	o->st.rflags = frame(3);
	o->st.rip = frame(5);
	o->error = o->vector == 8 || (o->vector >= 10 && o->vector <= 14) || o->vector == 17 ?
		   (uint32_t)frame(6) : 0;
	o->cr2 = s->cr2;
	o->st.fsbase = s->seg[SEG_FS].base;
	o->st.gsbase = s->seg[SEG_GS].base;
	soft_fpu_sync_out(s);
	memcpy(o->st.fx, s->fx, DIFF_FX_LEN);
	if (o->vector == EXC_BP)
		o->st.rip--;
}

void diff_guest_run(const struct diff_case *c, struct diff_out *out)
{
	struct vcpu *v = vm->cpus[0];
	size_t off = c->in.rip - DIFF_CODE, n = MIN(c->len, 0x1000 - off);
	static uint8_t int3[sizeof(c->code)];
	enum vcpu_exit why;

	memset(int3, 0xcc, sizeof(int3));
	assert_true(gm_write(vm->mem, GPA(P_CODE + off), c->code, n));
	for (unsigned i = 0; i < c->npatch; i++)
		memcpy(diff_guest_data + (c->patch[i].at - DIFF_DATA), c->patch[i].b,
		       c->patch[i].len);
	load_state(c);
	why = v->ops->run(v);
	if (why != EXIT_HLT)
		fail_msg("interpreter left with %d: %s", why, v->fail);
	save_state(out);
	assert_true(gm_write(vm->mem, GPA(P_CODE + off), int3, n));
}
