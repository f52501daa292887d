/* SPDX-License-Identifier: MIT */
/*
 * System management mode of the software CPU: entry state, save area, RSM,
 * SMBASE, SMRAM, what is blocked inside, HLT (AMD APM vol. 2 chapter 10).
 *
 * Handlers run in the mode that SMI enters: 16 bits, flat data segments.  Port
 * 80h of the test raises the request whose bits are written to it.
 */
#include "softsys.h"

#define BASE 0x30000u		/* SMBASE after a reset (10.3.1) */
#define NOTES 0x21000u
#define WINDOW 0xa0000u

static struct svm t;
static struct gm_block *smram;

static void raise_written(struct device *d, uint64_t off, unsigned size, uint64_t val)
{
	vcpu_request(t.v, (uint32_t)val);
}

static uint64_t raise_read(struct device *d, uint64_t off, unsigned size)
{
	return 0;
}

static const struct io_ops raise_ops = {
	.read = raise_read, .write = raise_written, .min_size = 1, .max_size = 1,
};
static struct io_region raise_region;

static int setup(void **state)
{
	struct err e = { 0 };

	svm_init(&t);
	smram = gm_block_new(t.vm->mem, "smram", 0x20000, &e);
	raise_region = (struct io_region){ .kind = BUS_PIO, .base = 0x80, .len = 1,
					   .ops = &raise_ops, .name = "raise" };
	assert_true(bus_add(t.vm->bus, &raise_region, &e));
	return 0;
}

static int teardown(void **state)
{
	svm_free(&t);
	return 0;
}

static void handler_at(uint64_t base, const uint8_t *code, size_t n)
{
	assert_true(gm_write(t.vm->mem, GPA(base + 0x8000), code, n));
	for (unsigned i = 0; i < 0x100; i += 8)
		sys_put(&t, NOTES + i, 0, 8);
}
#define HANDLER(base, name) handler_at(base, name, (size_t)(name##_end - name))

static uint64_t note(unsigned off, unsigned size)
{
	return sys_get(&t, NOTES + off, size);
}

/* ---- registers ---------------------------------------------------------------------- */
CODE(look, "16",
     "	push	%eax\n"			/* the stack is the interrupted one's offset */
     "	mov	$0x21000, %ebx\n"
     "	mov	%cr0, %ecx\n	mov	%ecx, (%ebx)\n"
     "	mov	%cr4, %ecx\n	mov	%ecx, 4(%ebx)\n"
     "	mov	%dr7, %ecx\n	mov	%ecx, 8(%ebx)\n"
     "	mov	%cs, 12(%ebx)\n	mov	%ss, 14(%ebx)\n	mov	%ds, 16(%ebx)\n"
     "	mov	$0xc0000080, %ecx\n	rdmsr\n	mov	%eax, 20(%ebx)\n"
     "	incl	24(%ebx)\n"
     "	std\n	mov	$0xdead, %edx\n	mov	%eax, %cr2\n"
     "	pop	%eax\n"
     "	rsm\n");

static void check_entry(void)
{
	assert_int_equal(note(0, 4) & 0x8000000d, 0);	/* PE EM TS PG */
	assert_int_equal(note(4, 4), 0);
	assert_int_equal(note(8, 4), 0x400);
	assert_int_equal(note(12, 2), BASE >> 4);
	assert_int_equal(note(14, 4), 0);
	assert_int_equal(note(20, 4), 0);
	assert_int_equal(note(24, 4), 1);
}

static void same_seg(const struct x86_seg *a, const struct x86_seg *b)
{
	assert_int_equal(a->sel, b->sel);
	assert_int_equal(a->attr, b->attr);
	assert_int_equal(a->limit, b->limit);
	assert_true(a->base == b->base);
}

static void same_state(const struct x86_state *a, const struct x86_state *b)
{
	assert_memory_equal(a->gpr, b->gpr, sizeof(a->gpr));
	for (unsigned i = 0; i < SEG_NUM; i++)
		same_seg(&a->seg[i], &b->seg[i]);
	same_seg(&a->ldt, &b->ldt);
	same_seg(&a->tr, &b->tr);
	assert_true(a->gdt.base == b->gdt.base && a->gdt.limit == b->gdt.limit);
	assert_true(a->idt.base == b->idt.base && a->idt.limit == b->idt.limit);
	assert_true(a->cr0 == b->cr0 && a->cr3 == b->cr3 && a->cr4 == b->cr4);
	assert_true(a->efer == b->efer && a->dr[6] == b->dr[6] && a->dr[7] == b->dr[7]);
	assert_true(a->rflags == b->rflags);
	assert_int_equal(a->smbase, b->smbase);
}

/* An SMI in front of HLT leaves nothing behind, in every mode. */
static void through(unsigned bits, void (*tune)(void))
{
	struct x86_state was;

	sys_start(&t, bits, 0);
	HANDLER(BASE, look);
	SYS_CODE(&t, 0xf4);
	for (unsigned i = 0; i < 16; i++)
		if (i != R_RSP && (bits == 64 || i < 8))
			t.st.gpr[i] = (bits == 64 ? 0x1122334400000000 : 0) + 0x5566 * (i + 1);
	t.st.rflags |= FL_CF | FL_ZF | FL_OF | FL_ID;
	if (tune)
		tune();
	t.st.smi_pending = 1;
	was = t.st;
	assert_int_equal(svm_run(&t), EXIT_HLT);
	check_entry();
	assert_int_equal(t.st.smm, 0);
	assert_int_equal(t.st.smi_pending, 0);
	assert_true(t.st.rip == was.rip + 1);
	same_state(&t.st, &was);
}

static void null_segments(void)
{
	for (unsigned i = 0; i < SEG_NUM; i++)
		if (i != SEG_CS)
			t.st.seg[i] = (struct x86_seg){ .attr = SA_UNUSABLE };
	t.st.ldt = (struct x86_seg){ .attr = SA_UNUSABLE };
	t.st.seg[SEG_FS].base = 0x7fff12345678;
	t.st.seg[SEG_GS].base = 0xffff888000001000;
}

static void with_pcid(void)
{
	t.st.cr4 |= CR4_PCIDE | CR4_PGE | CR4_SMEP;
	t.st.cr3 |= 5;
	sys_put(&t, 0x3000, 0x83, 8);		/* SMEP: the program is the supervisor's */
	t.st.efer |= EFER_NXE | EFER_SCE;
	t.st.cr0 |= CR0_WP | CR0_AM | CR0_TS;
}

static void with_pae(void)
{
	sys_put(&t, 0x1000, 0x2001, 8);
	sys_put(&t, 0x2000, 0x83, 8);
	t.st.cr3 = 0x1000;
	t.st.cr4 |= CR4_PAE;
	t.st.cr0 |= CR0_PG | CR0_WP;
}

static void breakpoints(void)
{
	t.st.dr[0] = 0x12345;
	t.st.dr[7] = 0x401;
	t.st.dr[6] = DR6_FIXED | 1;
}

static void test_modes(void **state)
{
	through(16, NULL);
	through(32, NULL);
	through(32, with_pae);
	through(32, breakpoints);
	through(64, NULL);
	through(64, null_segments);
	through(64, with_pcid);
}

/* From CPL 3 and virtual-8086 mode: the HLT behind it still faults as such. */
static void test_user(void **state)
{
	static const unsigned bits[] = { 32, 64, V86 };

	for (unsigned i = 0; i < ARRAY_SIZE(bits); i++) {
		uint64_t sp, ip;
		struct frame f;
		uint16_t cs;

		sys_start(&t, bits[i], 3);
		HANDLER(BASE, look);
		SYS_CODE(&t, 0xf4);
		t.st.smi_pending = 1;
		sp = t.st.gpr[R_RSP], ip = t.st.rip, cs = t.st.seg[SEG_CS].sel;
		f = sys_run(&t);
		check_entry();
		assert_int_equal(f.vec, EXC_GP);
		assert_int_equal(f.cs, cs);
		assert_true(f.sp == sp && f.ip == ip);
		assert_int_equal(!!(f.flags & FL_VM), bits[i] == V86);
	}
}

/* Table 10-1, revision 64h, where other software looks for it. */
static void test_save_area(void **state)
{
	through(64, NULL);
	assert_int_equal(sys_get(&t, BASE + 0xfefc, 4), 0x20064);
	assert_int_equal(sys_get(&t, BASE + 0xff00, 4), BASE);
	assert_true(sys_get(&t, BASE + 0xff78, 8) == SVM_CODE);
	assert_true(sys_get(&t, BASE + 0xfff8, 8) == t.st.gpr[R_RAX]);
	assert_true(sys_get(&t, BASE + 0xff80, 8) == t.st.gpr[R_R15]);
	assert_true(sys_get(&t, BASE + 0xffd8, 8) == t.st.gpr[R_RSP]);
	assert_true(sys_get(&t, BASE + 0xff70, 8) == t.st.rflags);
	assert_true(sys_get(&t, BASE + 0xff58, 8) == t.st.cr0);
	assert_true(sys_get(&t, BASE + 0xff50, 8) == t.st.cr3);
	assert_true(sys_get(&t, BASE + 0xff48, 8) == t.st.cr4);
	assert_true(sys_get(&t, BASE + 0xfed0, 8) == t.st.efer);
	assert_int_equal(sys_get(&t, BASE + 0xfe10, 2), K64);
	assert_int_equal(sys_get(&t, BASE + 0xfe12, 2), t.st.seg[SEG_CS].attr);
	assert_true(sys_get(&t, BASE + 0xfe68, 8) == SYS_GDT);
	assert_int_equal(sys_get(&t, BASE + 0xfe84, 4), t.st.idt.limit);
	assert_int_equal(sys_get(&t, BASE + 0xfe90, 2), TSS);
}

CODE(change, "16",		/* RCX, RIP, RFLAGS of the interrupted program */
     "	mov	$0x3fff0, %ebx\n	movl	$0x77, (%ebx)\n"
     "	mov	$0x3ff78, %ebx\n	addl	$1, (%ebx)\n"
     "	mov	$0x3ff70, %ebx\n	orl	$0x400, (%ebx)\n	rsm\n");

static void test_changed(void **state)
{
	sys_start(&t, 32, 0);
	HANDLER(BASE, change);
	SYS_CODE(&t, 0xf4, 0xf4);
	t.st.smi_pending = 1;
	assert_int_equal(svm_run(&t), EXIT_HLT);
	assert_true(t.st.rip == SVM_CODE + 2);
	assert_int_equal(t.st.gpr[R_RCX], 0x77);
	assert_int_equal(t.st.rflags & 0x400, 0x400);
}

/* ---- RSM ---------------------------------------------------------------------------- */
static void test_rsm_outside(void **state)
{
	static const unsigned bits[] = { 16, 32, 64 };

	for (unsigned i = 0; i < ARRAY_SIZE(bits); i++) {
		sys_start(&t, bits[i], 0);
		SYS_CODE(&t, 0x0f, 0xaa);
		assert_int_equal(sys_run(&t).vec, EXC_UD);
	}
	sys_start(&t, 64, 3);
	SYS_CODE(&t, 0x0f, 0xaa);
	assert_int_equal(sys_run(&t).vec, EXC_UD);
}

CODE(poke, "16",		/* store 32 bits at NOTES[80h] what NOTES[84h] says */
     "	mov	$0x21080, %esi\n	mov	(%esi), %ebx\n	mov	4(%esi), %eax\n"
     "	mov	%eax, (%ebx)\n	rsm\n");

static enum vcpu_exit poked(unsigned bits, unsigned off, uint32_t v)
{
	sys_start(&t, bits, 0);
	HANDLER(BASE, poke);
	SYS_CODE(&t, 0xf4);
	sys_put(&t, NOTES + 0x80, BASE + off, 4);
	sys_put(&t, NOTES + 0x84, v, 4);
	t.st.smi_pending = 1;
	return svm_run(&t);
}

/* 10.3.4: what no processor can be is a shutdown. */
static void test_bad_area(void **state)
{
	static const struct { unsigned bits, off; uint32_t v; } bad[] = {
		{ 64, 0xff58, 0x80000010 },	/* CR0: PG without PE */
		{ 64, 0xff58, 0xa0000011 },	/* NW without CD */
		{ 64, 0xff5c, 1 },
		{ 64, 0xff48, 0x80000020 },	/* CR4 */
		{ 64, 0xff48, 0 },		/* long mode without PAE */
		{ 64, 0xff54, 0x100 },		/* CR3 */
		{ 64, 0xfed0, 0x502 },		/* EFER */
		{ 64, 0xfed0, 0x400 },		/* LMA without LME */
		{ 32, 0xfed0, 0x400 },
		{ 64, 0xff7c, 0x00800000 },	/* RIP */
		{ 32, 0xfefc, 0xffffffff },
	};

	for (unsigned i = 0; i < ARRAY_SIZE(bad); i++)
		if (poked(bad[i].bits, bad[i].off, bad[i].v) != EXIT_TRIPLE_FAULT)
			fail_msg("%#x = %#x is accepted", bad[i].off, bad[i].v);
	assert_int_equal(poked(64, 0xff58, 0x80050033), EXIT_HLT);
	assert_int_equal(t.st.cr0, 0x80050033);
}

CODE(count, "16",
     "	mov	$0x21000, %ebx\n	incl	(%ebx)\n	mov	%cs, 4(%ebx)\n	rsm\n");

/* The save area is not RAM: nothing is found to go back to. */
static void test_no_ram(void **state)
{
	sys_start(&t, 16, 0);
	t.st.smbase = 0x3f6000;		/* the handler is below 4 MiB, the area above */
	HANDLER(t.st.smbase, count);
	t.st.smi_pending = 1;
	assert_int_equal(svm_run(&t), EXIT_TRIPLE_FAULT);
	assert_int_equal(note(0, 4), 1);
}

/* ---- SMBASE ------------------------------------------------------------------------- */
CODE(relocate, "16", "	mov	$0x3ff00, %ebx\n	movl	$0x50000, (%ebx)\n	rsm\n");
CODE(twice, "32", "	mov	$4, %al\n	out	%al, $0x80\n	inc	%ecx\n"
		  "	out	%al, $0x80\n	inc	%ecx\n	hlt\n");

static void test_relocation(void **state)
{
	sys_start(&t, 32, 0);
	HANDLER(BASE, relocate);
	HANDLER(0x50000, count);
	LOAD(&t, twice);
	assert_int_equal(svm_run(&t), EXIT_HLT);
	assert_int_equal(t.st.smbase, 0x50000);
	assert_int_equal(t.st.gpr[R_RCX], 2);
	assert_int_equal(note(0, 4), 1);
	assert_int_equal(note(4, 2), 0x5000);
	assert_int_equal(sys_get(&t, 0x5ff00, 4), 0x50000);
	t.v->ops->reset(t.v);
	t.v->ops->get_state(t.v, &t.st);
	assert_int_equal(t.st.smbase, BASE);
}

/* ---- SMRAM -------------------------------------------------------------------------- */
#define LOOPS 3000		/* enough to be translated */

/* Sums a word of the window in a loop, twice, with an SMI in between. */
CODE(outside, "64",
     "	mov	$0xa0010, %rsi\n	call	1f\n	mov	%rbx, %r8\n"
     "	mov	$4, %al\n	out	%al, $0x80\n"
     "	call	1f\n	hlt\n"
     "1:	xor	%ebx, %ebx\n	mov	$3000, %ecx\n"
     "2:	add	(%rsi), %rbx\n	mov	%rbx, 8(%rsi)\n	dec	%ecx\n"
     "	jnz	2b\n	ret\n");
CODE(inside, "16",
     "	mov	$0xa0010, %esi\n	mov	$0x21000, %ebx\n"
     "	mov	(%esi), %eax\n	mov	%eax, (%ebx)\n	movl	$0x99, 16(%esi)\n"
     "	mov	$0x7000, %esp\n	lcall	$0xa000, $0x100\n	mov	%eax, 4(%ebx)\n	rsm\n");
CODE(inner, "16", "	mov	$0x11, %eax\n	lret\n");
CODE(outer, "16", "	mov	$0x22, %eax\n	lret\n");

static void window(bool code_only)
{
	sys_start(&t, 64, 0);
	HANDLER(WINDOW, inside);		/* D_CLS: fetched from SMRAM, too */
	assert_true(gm_block_write(smram, 0x8000, inside, (size_t)(inside_end - inside)));
	assert_true(gm_block_write(smram, 0x100, inner, (size_t)(inner_end - inner)));
	assert_true(gm_write(t.vm->mem, GPA(WINDOW + 0x100), outer, (size_t)(outer_end - outer)));
	sys_put(&t, WINDOW + 0x10, 2, 8);
	assert_true(gm_block_write(smram, 0x10, "\x05\0\0\0\0\0\0\0", 8));
	assert_true(gm_block_write(smram, 0x20, "\0\0\0\0", 4));
	sys_put(&t, WINDOW + 0x20, 0, 4);
	vm_lock(t.vm);
	gm_set_smram(t.vm->mem, GPA(WINDOW), 0x20000, smram, 0, code_only);
	vm_unlock(t.vm);
	t.st.smbase = WINDOW;
	LOAD(&t, outside);
	assert_int_equal(svm_run(&t), EXIT_HLT);
	assert_true(t.st.gpr[R_R8] == 2 * LOOPS);
	assert_true(t.st.gpr[R_RBX] == 2 * LOOPS);
	assert_true(sys_get(&t, WINDOW + 0x18, 8) == 2 * LOOPS);
	assert_int_equal(note(4, 4), 0x11);
	assert_int_equal(note(0, 4), code_only ? 2 : 5);
	assert_int_equal(sys_get(&t, WINDOW + 0x20, 4), code_only ? 0x99 : 0);
}

static void test_smram(void **state)
{
	uint8_t b[4];

	window(false);
	assert_true(gm_block_read(smram, 0x20, b, 4));
	assert_int_equal(ld_le32(b), 0x99);
	assert_true(gm_block_read(smram, 0xfefc, b, 4));	/* the save area is there */
	assert_int_equal(ld_le32(b), 0x20064);
	assert_int_not_equal(sys_get(&t, WINDOW + 0xfefc, 4), 0x20064);
}

static void test_smram_code_only(void **state)
{
	uint8_t b[4];

	window(true);
	assert_true(gm_block_read(smram, 0x20, b, 4));
	assert_int_equal(ld_le32(b), 0);
}

/* ---- what waits outside ------------------------------------------------------------- */
CODE(raises, "16",		/* request NOTES[80h] inside; the end is noted */
     "	mov	$0x21000, %ebx\n	mov	0x80(%ebx), %al\n	movb	$0, 0x80(%ebx)\n"
     "	out	%al, $0x80\n	nop\n	nop\n	incl	(%ebx)\n	rsm\n");

static int blocked(unsigned request)
{
	sys_start(&t, 16, 0);
	HANDLER(BASE, raises);
	SYS_CODE(&t, 0x90, 0xf4);
	sys_put(&t, NOTES + 0x80, request, 1);
	t.st.smi_pending = 1;
	assert_int_equal(svm_run(&t), EXIT_HLT);
	assert_int_equal(t.st.smm, 0);
	return t.st.seg[SEG_CS].base + t.st.rip == SVM_CODE + 2 ? -1 :
	       (int)(t.st.seg[SEG_CS].base + t.st.rip - 1 - SYS_HAND) / 16;
}

static void test_blocked(void **state)
{
	assert_int_equal(blocked(0), -1);
	assert_int_equal(note(0, 4), 1);
	assert_int_equal(blocked(VCPU_REQ_NMI), EXC_NMI);	/* after RSM, before NOP */
	assert_int_equal(note(0, 4), 1);
	assert_int_equal(sys_get(&t, t.st.seg[SEG_SS].base + (t.st.gpr[R_RSP] & 0xffff), 2), 0);
	assert_int_equal(blocked(VCPU_REQ_SMI), -1);
	assert_int_equal(note(0, 4), 2);	/* the second one, after the first */
	t.st.smbase = BASE;
	assert_int_equal(blocked(VCPU_REQ_INIT), EXC_UD);	/* nothing to execute at FFFFFFF0 */
	assert_int_equal(note(0, 4), 1);
}

/* An NMI that was blocked before stays so; IRET opens inside. */
CODE(opens, "16",
     "	mov	$0x7000, %esp\n	pushfw\n	push	%cs\n	push	$1f - opens + 0x8000\n"
     "	mov	$2, %al\n	out	%al, $0x80\n	nop\n	iretw\n1:	nop\n	rsm\n");

static void test_nmi(void **state)
{
	sys_start(&t, 16, 0);
	HANDLER(BASE, raises);
	SYS_CODE(&t, 0x90, 0xf4);
	sys_put(&t, NOTES + 0x80, VCPU_REQ_NMI, 1);
	t.st.smi_pending = t.st.nmi_blocked = 1;
	assert_int_equal(svm_run(&t), EXIT_HLT);
	assert_true(t.st.rip == 2 && t.st.nmi_pending && t.st.nmi_blocked);

	sys_start(&t, 16, 0);
	HANDLER(BASE, opens);
	t.st.smi_pending = 1;
	assert_int_equal(svm_run(&t), EXIT_HLT);
	assert_int_equal(t.st.smm, 1);
	assert_true(t.st.seg[SEG_CS].base + t.st.rip == SYS_HAND + 16 * EXC_NMI + 1);
}

/* ---- HLT ---------------------------------------------------------------------------- */
CODE(no_restart, "16", "	mov	$0x3fec9, %ebx\n	movb	$0, (%ebx)\n	rsm\n");

static enum vcpu_exit from_halt(void)
{
	struct err e = { 0 };
	enum vcpu_exit why;

	t.st.mp_state = MP_HALTED;
	t.st.smi_pending = 1;
	assert_true(t.v->ops->set_state(t.v, &t.st, &e));
	why = t.v->ops->run(t.v);
	t.v->ops->get_state(t.v, &t.st);
	return why;
}

static void test_halt(void **state)
{
	sys_start(&t, 32, 0);
	HANDLER(BASE, count);
	SYS_CODE(&t, 0xf4, 0x90, 0xf4);
	assert_int_equal(svm_run(&t), EXIT_HLT);
	assert_int_equal(from_halt(), EXIT_HLT);
	assert_int_equal(note(0, 4), 1);
	assert_true(t.st.rip == SVM_CODE + 1);		/* halted again */
	assert_true(t.v->wake_mask & VCPU_REQ_SMI);
	HANDLER(BASE, no_restart);
	assert_int_equal(from_halt(), EXIT_HLT);
	assert_true(t.st.rip == SVM_CODE + 3);		/* went on */
}

/* ---- save and load ------------------------------------------------------------------ */
CODE(stops, "16",
     "	mov	$0x21000, %ebx\n	incl	(%ebx)\n	hlt\n"
     "	incl	(%ebx)\n	rsm\n");

static void test_saved_inside(void **state)
{
	struct x86_state inside_st;

	sys_start(&t, 64, 0);
	HANDLER(BASE, stops);
	SYS_CODE(&t, 0xf4);
	t.st.smi_pending = 1;
	assert_int_equal(svm_run(&t), EXIT_HLT);
	assert_int_equal(t.st.smm, 1);
	assert_int_equal(note(0, 4), 1);
	inside_st = t.st;
	t.v->ops->reset(t.v);
	t.st = inside_st;
	assert_int_equal(svm_run(&t), EXIT_HLT);
	assert_int_equal(t.st.smm, 0);
	assert_int_equal(note(0, 4), 2);
	assert_true(t.st.rip == SVM_CODE + 1);
}

int main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
	const struct CMUnitTest tests[] = {
		T(test_modes), T(test_user), T(test_save_area), T(test_changed),
		T(test_rsm_outside), T(test_bad_area), T(test_no_ram), T(test_relocation),
		T(test_smram), T(test_smram_code_only), T(test_blocked), T(test_nmi), T(test_halt),
		T(test_saved_inside),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
