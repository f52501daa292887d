/* SPDX-License-Identifier: MIT */
/*
 * Modes and system registers of the software CPU: switches between all modes,
 * control and model-specific registers, CPUID, INIT and SIPI, self-modifying
 * code (Intel SDM vol. 3 ch. 2, 9, 10.6).
 */
#include "softsys.h"
#include <pthread.h>
#include <stdio.h>

static struct svm t;
static struct soft *s;

static int setup(void **state)
{
	svm_init(&t);
	s = t.v->impl;
	return 0;
}

static int teardown(void **state)
{
	svm_free(&t);
	return 0;
}

static void check(struct frame f, int vec, const char *what)
{
	if (f.vec != vec || (vec == EXC_GP && f.err))
		fail_msg("%s: vector %d code %#x at %#llx, expected %d", what, f.vec, f.err,
			 (unsigned long long)f.ip, vec);
}

/* ---- through all modes and back ------------------------------------------------------- */
/*
 * real -> protected 32 -> PAE paging -> off -> long, 64-bit -> compatibility
 * -> 64-bit -> compatibility, paging off -> protected 16 -> real; each leaves a bit.
 */
CODE(tour, "16",
     "tour_start:\n"
     "	lgdtl	%cs:tour_gdtr - tour_start\n"
     "	mov	%cr0, %eax\n	or	$1, %al\n	mov	%eax, %cr0\n"
     "	ljmpl	$0x08, $0x10000 + 1f - tour_start\n"
     "	.code32\n"
     "1:	mov	$0x10, %eax\n	mov	%eax, %ds\n	mov	%eax, %ss\n"
     "	mov	%eax, %es\n"
     "	mov	$0x30000, %esp\n"
     "	orl	$0x1, 0x20000\n"
     "	mov	%cr4, %eax\n	or	$0x20, %eax\n	mov	%eax, %cr4\n"
     "	mov	$0x100000, %eax\n	mov	%eax, %cr3\n"
     "	mov	%cr0, %eax\n	or	$0x80000000, %eax\n	mov	%eax, %cr0\n"
     "	orl	$0x2, 0x40020000\n"			/* alias that only PAE has */
     "	mov	%cr0, %eax\n	and	$0x7fffffff, %eax\n	mov	%eax, %cr0\n"
     "	mov	$0x104000, %eax\n	mov	%eax, %cr3\n"
     "	mov	$0xc0000080, %ecx\n	rdmsr\n	or	$0x100, %eax\n	wrmsr\n"
     "	mov	%cr0, %eax\n	or	$0x80000000, %eax\n	mov	%eax, %cr0\n"
     "	orl	$0x4, 0x20000\n"			/* compatibility mode already */
     "	ljmpl	$0x18, $0x10000 + 2f - tour_start\n"
     "	.code64\n"
     "2:	orl	$0x8, 0x20000\n"
     "	mov	$0x123456789abc, %r15\n"
     "	lea	3f(%rip), %rax\n"
     "	push	$8\n	push	%rax\n	lretq\n"
     "	.code32\n"
     "3:	orl	$0x10, 0x20000\n"
     "	ljmpl	$0x18, $0x10000 + 4f - tour_start\n"
     "	.code64\n"
     "4:	mov	%r15, 0x20008\n"
     "	orl	$0x20, 0x20000\n"
     "	lea	5f(%rip), %rax\n"
     "	push	$8\n	push	%rax\n	lretq\n"
     "	.code32\n"
     "5:	mov	%cr0, %eax\n	and	$0x7fffffff, %eax\n	mov	%eax, %cr0\n"
     "	mov	$0xc0000080, %ecx\n	rdmsr\n	mov	%eax, 0x20010\n"
     "	and	$~0x100, %eax\n	wrmsr\n"
     "	orl	$0x40, 0x20000\n"
     "	ljmpl	$0x38, $6f - tour_start\n"
     "	.code16\n"
     "6:	mov	$0x40, %eax\n	mov	%eax, %ss\n	mov	%eax, %es\n"
     "	mov	%eax, %fs\n"
     "	mov	%cr0, %eax\n	and	$0xfe, %al\n	mov	%eax, %cr0\n"
     "	ljmpw	$0x1000, $7f - tour_start\n"
     "7:	mov	$0x2000, %ax\n	mov	%ax, %es\n"
     "	orl	$0x80, %es:0\n"
     "	xor	%eax, %eax\n	mov	%ax, %ds\n"
     "	mov	$0x20000, %ebx\n	orl	$0x100, (%ebx)\n"			/* unreal:
	     DS kept its limit */
     "	hlt\n"
     "	.balign 8\n"
     "tour_gdtr: .word 0x1ff\n	.long 0x6000\n");

static void test_tour(void **state)
{
	sys_start(&t, 64, 0);		/* for the GDT */
	svm_start(&t, 16);
	sys_put(&t, SYS_GDT + K16, sys_desc(SVM_CODE, 0xffff, 0x009b), 8);
	for (unsigned i = 0; i < 0x8000; i += 8)
		sys_put(&t, 0x100000 + i, 0, 8);
	sys_put(&t, 0x100000, 0x101001, 8);
	sys_put(&t, 0x100008, 0x102001, 8);
	sys_put(&t, 0x101000, 0x83, 8);
	sys_put(&t, 0x102000, 0x83, 8);
	sys_put(&t, 0x104000, 0x105003, 8);
	sys_put(&t, 0x105000, 0x83, 8);
	sys_put(&t, SVM_DATA, 0, 8);
	LOAD(&t, tour);
	assert_int_equal(svm_run(&t), EXIT_HLT);
	assert_int_equal(sys_get(&t, SVM_DATA, 4), 0x1ff);
	assert_true(sys_get(&t, SVM_DATA + 8, 8) == 0x123456789abc);
	assert_int_equal(sys_get(&t, SVM_DATA + 0x10, 4), EFER_LME);
	assert_int_equal(t.st.cr0 & 0x80000001, 0);
	assert_int_equal(t.st.efer, 0);
}

/* ---- control registers ------------------------------------------------------------------ */
/* MOV CRn, RAX in 64-bit mode (or 32-bit); vector or -1. */
static int mov_cr(unsigned bits, unsigned n, uint64_t v)
{
	const uint8_t code[] = { 0x0f, 0x22, (uint8_t)(0xc0 | n << 3), 0xf4 };
	struct frame f;

	t.st.gpr[R_RAX] = v;
	svm_code(&t, code, sizeof(code));
	f = sys_run(&t);
	if (f.vec == EXC_GP)
		assert_int_equal(f.err, 0);
	return f.vec;
}

static void test_cr0(void **state)
{
	for (unsigned b = 0; b < 64; b++) {
		sys_start(&t, 64, 0);
		assert_int_equal(mov_cr(64, 0, (1ull << b | 0x80000011) & ~(b == 29 ?
			0x40000000ull : 0)),
				 b >= 32 || b == 29 ? EXC_GP : -1);
	}
	sys_start(&t, 64, 0);
	assert_int_equal(mov_cr(64, 0, 0x80000010), EXC_GP);	/* PG without PE */
	sys_start(&t, 64, 0);
	assert_int_equal(mov_cr(64, 0, 0x11), EXC_GP);		/* PG off in 64-bit mode */
	sys_start(&t, 64, 0);
	assert_int_equal(mov_cr(64, 0, 0xe0000011), -1);	/* NW with CD */
	sys_start(&t, 64, 0);
	assert_int_equal(mov_cr(64, 0, 0x9ffaffc0 | 0x11), -1);	/* reserved bits are ignored */
	assert_int_equal(t.st.cr0, 0x80000011 | (0x9ffaffc0 & 0x50000));
	sys_start(&t, 32, 0);
	t.st.efer = EFER_LME;
	t.st.cr3 = 0x1000;
	assert_int_equal(mov_cr(32, 0, 0x80000011), EXC_GP);	/* LME without PAE */
	sys_start(&t, 32, 0);
	t.st.efer = EFER_LME;
	t.st.cr4 |= CR4_PAE;
	t.st.seg[SEG_CS].attr |= SA_L;
	assert_int_equal(mov_cr(32, 0, 0x80000011), EXC_GP);	/* with CS.L */
}

static void test_cr3_cr4(void **state)
{
	static const uint64_t allowed = 0x3707ff;	/* what leaf 1 and 7 advertise */

	for (unsigned b = 12; b < 64; b++) {
		sys_start(&t, 64, 0);
		assert_int_equal(mov_cr(64, 3, 0x1000 | (b >= 40 ? 1ull << b : 0)), b >= 40 ?
				 EXC_GP : -1);
	}
	for (unsigned b = 0; b < 64; b++) {
		sys_start(&t, 64, 0);
		sys_put(&t, 0x3000, 0x83, 8);		/* SMEP: the program is the supervisor's */
		assert_int_equal(mov_cr(64, 4, CR4_PAE | 1ull << b), allowed >> b & 1 && b < 22 ?
				 -1 : EXC_GP);
	}
	sys_start(&t, 64, 0);
	assert_int_equal(mov_cr(64, 4, 0), EXC_GP);		/* PAE off in long mode */
	sys_start(&t, 64, 0);
	t.st.cr3 |= 8;
	assert_int_equal(mov_cr(64, 4, CR4_PAE | CR4_PCIDE), EXC_GP);
	sys_start(&t, 32, 0);
	assert_int_equal(mov_cr(32, 4, CR4_PCIDE), EXC_GP);	/* only in long mode */
	sys_start(&t, 64, 0);
	t.st.cr4 |= CR4_PCIDE;
	assert_int_equal(mov_cr(64, 3, 0x1005 | 1ull << 63), -1);
	assert_int_equal(t.st.cr3, 0x1005);
	/* compatibility: PG off with PCIDE */
	sys_start(&t, 64, 0);
	t.st.cr4 |= CR4_PCIDE;
	sys_segs(&t, K32, KDS);
	assert_int_equal(mov_cr(32, 0, 0x11), EXC_GP);
	for (unsigned n = 0; n < 8; n++) {
		int want = n == 1 || n >= 5 ? EXC_UD : -1;

		sys_start(&t, 64, 0);
		assert_int_equal(mov_cr(64, n, n == 3 ? 0x1000 : n == 4 ? 0x20 : 0x80000011), want);
		sys_start(&t, 64, 3);
		if (want < 0)
			assert_int_equal(mov_cr(64, n, 0), EXC_GP);
	}
	sys_start(&t, 64, 0);					/* CR8 */
	t.st.gpr[R_RAX] = 16;
	SYS_CODE(&t, 0x44, 0x0f, 0x22, 0xc0);
	check(sys_run(&t), EXC_GP, "CR8");
	sys_start(&t, 32, 0);					/* LMSW cannot clear PE */
	SYS_CODE(&t, 0x0f, 0x01, 0xf0, 0xf4);
	check(sys_run(&t), -1, "lmsw");
	assert_int_equal(t.st.cr0 & 0xf, 1);
}

/* ---- MSRs ----------------------------------------------------------------------------------- */
static int wrmsr(uint32_t msr, uint64_t v)
{
	static const uint8_t code[] = { 0x0f, 0x30, 0x31, 0xc0, 0x31, 0xd2, 0x0f, 0x32, 0xf4 };
	struct frame f;

	sys_start(&t, 64, 0);
	t.st.gpr[R_RCX] = msr;
	t.st.gpr[R_RAX] = (uint32_t)v;
	t.st.gpr[R_RDX] = v >> 32;
	svm_code(&t, code, sizeof(code));
	f = sys_run(&t);
	if (f.vec == EXC_GP)
		assert_int_equal(f.err, 0);
	else if (msr != 0xc0000080 && msr != 0xc0000100)
		assert_true((t.st.gpr[R_RDX] << 32 | t.st.gpr[R_RAX]) == v);
	return f.vec;
}

static void test_msr(void **state)
{
	static const uint32_t canon[] = { 0x175, 0x176, 0xc0000082, 0xc0000083, 0xc0000100,
					  0xc0000101, 0xc0000102 };
	static const uint32_t small[] = { 0xc0000084, 0xc0000103 };

	for (unsigned i = 0; i < ARRAY_SIZE(canon); i++) {
		assert_int_equal(wrmsr(canon[i], 0x7fffffffffff), -1);
		assert_int_equal(wrmsr(canon[i], 0xffff800000000000), -1);
		assert_int_equal(wrmsr(canon[i], 0x800000000000), EXC_GP);
		assert_int_equal(wrmsr(canon[i], 0xfff7800000000000), EXC_GP);
	}
	for (unsigned i = 0; i < ARRAY_SIZE(small); i++) {
		assert_int_equal(wrmsr(small[i], 0xffffffff), -1);
		assert_int_equal(wrmsr(small[i], 0x100000000), EXC_GP);
	}
	for (unsigned b = 0; b < 64; b++)	/* EFER: SCE, NXE, AIBRSE; LME as it is, LMA kept */
		assert_int_equal(wrmsr(0xc0000080, EFER_LME | EFER_LMA | 1ull << b),
				 b == 0 || b == 8 || b == 10 || b == 11 || b == 21 ? -1 : EXC_GP);
	assert_int_equal(wrmsr(0xc0000080, 0), EXC_GP);		/* LME off under paging */
	for (unsigned v = 0; v < 256; v++) {
		bool ok = v < 8 && v != 2 && v != 3;

		assert_int_equal(wrmsr(0x277, 0x0006060606060606ull | (uint64_t)v << 56),
				 ok ? -1 : EXC_GP);
		assert_int_equal(wrmsr(0x250, (uint64_t)v << 24), ok && v != 7 ? -1 : EXC_GP);
		assert_int_equal(wrmsr(0x2ff, 0xc00 | v), ok && v != 7 ? -1 : EXC_GP);
		assert_int_equal(wrmsr(0x200, 0x80000000 | v), ok && v != 7 ? -1 : EXC_GP);
	}
	assert_int_equal(wrmsr(0x201, 0xff80000800), -1);
	assert_int_equal(wrmsr(0x201, 0xff80000400), EXC_GP);
	assert_int_equal(wrmsr(0x201, 0x10080000800), EXC_GP);
	assert_int_equal(wrmsr(0x2ff, 0x1000), EXC_GP);
	assert_int_equal(wrmsr(0x12345, 0), EXC_GP);
	assert_int_equal(wrmsr(0xda0, 0), EXC_GP);		/* XSS: no XSAVES */
	sys_start(&t, 64, 3);
	SYS_CODE(&t, 0x0f, 0x32);
	check(sys_run(&t), EXC_GP, "rdmsr at CPL 3");
}

/* XSETBV, XGETBV: CR4.OSXSAVE, level, values. */
static void test_xcr(void **state)
{
	bool ok;

	if (!soft_has_feat(F_XSAVE))
		skip();
	for (unsigned v = 0; v < 256; v++) {
		sys_start(&t, 64, 0);
		t.st.cr4 |= CR4_OSXSAVE;
		t.st.gpr[R_RAX] = v;
		SYS_CODE(&t, 0x0f, 0x01, 0xd1, 0xf4);
		ok = v == 1 || v == 3 || (v == 7 && soft_has_feat(F_AVX));
		check(sys_run(&t), ok ? -1 : EXC_GP, "xsetbv");
		if (ok)
			assert_int_equal(t.st.xcr0, v);
	}
	sys_start(&t, 64, 0);
	t.st.cr4 |= CR4_OSXSAVE;
	t.st.gpr[R_RAX] = t.st.gpr[R_RCX] = 1;
	check(sys_run(&t), EXC_GP, "XCR1");
	sys_start(&t, 64, 0);
	t.st.gpr[R_RAX] = 1;
	check(sys_run(&t), EXC_UD, "no OSXSAVE");
	sys_start(&t, 64, 3);
	t.st.cr4 |= CR4_OSXSAVE;
	t.st.gpr[R_RAX] = 1;
	check(sys_run(&t), EXC_GP, "CPL 3");
}

/* ---- CPUID ----------------------------------------------- */
/* XCR0's components and the sizes of the XSAVE area (Intel SDM vol. 1, 13.2). */
static void check_leaf_d(void)
{
	uint64_t mask = soft_xcr0_mask();
	uint32_t r[4];

	s->xcr0 = 3;
	soft_cpuid(s, 0xd, 0, r);
	assert_true(r[0] == mask && r[1] == 576 && r[2] == (mask & 4 ? 832u : 576u) && !r[3]);
	soft_cpuid(s, 0xd, 1, r);
	assert_int_equal(r[0], 7);			/* XSAVEOPT, XSAVEC, XGETBV 1; no XSAVES */
	soft_cpuid(s, 0xd, 2, r);
	assert_true(r[0] == (mask & 4 ? 256u : 0) && r[1] == (mask & 4 ? 576u : 0));
	s->xcr0 = mask;
	soft_cpuid(s, 0xd, 0, r);
	assert_int_equal(r[1], mask & 4 ? 832 : 576);
	s->xcr0 = 1;
}

/* x86-64-v2 at least; what is beyond is said only if the instructions exist. */
static void test_cpuid(void **state)
{
	uint32_t r[4];

	soft_cpuid(s, 0, 0, r);
	assert_int_equal(r[0], 0xd);
	soft_cpuid(s, 1, 0, r);
	assert_int_equal(r[2] & 0x982201, 0x982201);	/* SSE3 SSSE3 CX16 SSE4.1 SSE4.2 POPCNT */
	assert_int_equal(r[2] & 1 << 3, 0);
	assert_int_equal(r[2] >> 12 & 1, soft_has_feat(F_FMA));
	assert_int_equal(r[2] >> 22 & 1, soft_has_feat(F_MOVBE));
	assert_int_equal(r[2] >> 28 & 1, soft_has_feat(F_AVX));
	assert_int_equal(r[2] >> 29 & 1, soft_has_feat(F_F16C));
	assert_int_equal(r[3] & 0x0783fbff, 0x0783fbff & ~(1u << 10 | 1u << 18));
	assert_int_equal(r[2] >> 27 & 1, 0);
	s->cr4 |= CR4_OSXSAVE;
	soft_cpuid(s, 1, 0, r);
	assert_int_equal(r[2] >> 27 & 1, 1);
	soft_cpuid(s, 7, 0, r);
	/* nothing of RTM, AVX-512 */
	assert_int_equal(r[1] & ~(0x1c0683u | 1 << 3 | 1 << 5 | 1 << 8 | 1 << 23 | 1 << 24 |
				  1 << 29), 0);
	assert_int_equal(r[1] >> 5 & 1, soft_has_feat(F_AVX2));
	assert_int_equal(r[2] & ~0x400600u, 0);	/* VAES and its like; no UMIP, PKU, LA57 */
	soft_cpuid(s, 7, 1, r);
	assert_int_equal(r[0] | r[1] | r[2] | r[3], 0);
	soft_cpuid(s, 0x80000001, 0, r);
	assert_int_equal(r[2] & 1, 1);
	assert_int_equal(r[2] & (1 << 2 | 1 << 6 | 1 << 11 | 1 << 16), 0);
	assert_int_equal(r[3] & 0x2c100800, 0x2c100800);
	assert_int_equal(r[3] & 0x42000000, 0);		/* no FFXSR */
	soft_cpuid(s, 0x80000008, 0, r);
	assert_int_equal(r[0], PHYS_BITS | 48 << 8);
	assert_int_equal(r[1], 1);			/* CLZERO */
	check_leaf_d();
	soft_cpuid(s, 0x7fffffff, 0, r);
	assert_int_equal(r[0] | r[1] | r[2] | r[3], 0);
}

/* ---- INIT, SIPI ------------------------------------------ */
static void test_init(void **state)
{
	/* HLT with interrupts off: only NMI, INIT wake; the BSP starts at the reset vector */
	sys_start(&t, 64, 0);
	SYS_CODE(&t, 0xf4);
	check(sys_run(&t), -1, "hlt");
	assert_int_equal(t.v->wake_mask & VCPU_REQ_INTR, 0);
	assert_true(t.v->wake_mask & VCPU_REQ_INIT && t.v->wake_mask & VCPU_REQ_NMI);
	s->xcr0 = 3;
	s->pat = 0x0007040600070401ull;
	vcpu_request(t.v, VCPU_REQ_INIT | VCPU_REQ_LEAVE);
	assert_int_equal(t.v->ops->run(t.v), EXIT_KICKED);
	vcpu_clear(t.v, VCPU_REQ_LEAVE);
	t.v->ops->get_state(t.v, &t.st);
	assert_int_equal(t.st.rip, 0xfff0);
	assert_true(t.st.seg[SEG_CS].base == 0xffff0000 && t.st.seg[SEG_CS].sel == 0xf000);
	assert_int_equal(t.st.mp_state, MP_RUNNABLE);
	assert_int_equal(t.st.rflags, 2);
	assert_int_equal(t.st.cr0 & ~0x60000000, 0x10);
	assert_int_equal(t.st.cr4 | t.st.efer | t.st.cr3, 0);
	assert_true(t.st.xcr0 == 3 && t.st.pat == 0x0007040600070401ull);
	/* as an application processor: waits, then starts at the vector; a second SIPI is lost */
	s->wait_sipi = true;
	assert_int_equal(t.v->ops->run(t.v), EXIT_WAIT_SIPI);
	sys_put(&t, 0x12000, 0x90f4, 2);
	atomic_store(&t.v->sipi_vector, 0x12);
	vcpu_request(t.v, VCPU_REQ_SIPI);
	assert_int_equal(t.v->ops->run(t.v), EXIT_HLT);
	t.v->ops->get_state(t.v, &t.st);
	assert_int_equal(t.st.seg[SEG_CS].sel, 0x1200);
	assert_int_equal(t.st.seg[SEG_CS].base, 0x12000);
	assert_int_equal(t.st.rip, 1);
	vcpu_request(t.v, VCPU_REQ_SIPI);
	assert_int_equal(t.v->ops->run(t.v), EXIT_HLT);
	assert_int_equal(s->rip, 1);
}

/* ---- self-modifying code --------------------------------- */
/* Into the next instruction, the same block. */
CODE(smc_next, "64",
     "	xor	%eax, %eax\n"
     "	mov	$50, %ecx\n"
     "1:	movb	%cl, 2f+1(%rip)\n"		/* the immediate of the next instruction */
     "2:	mov	$0, %dl\n"
     "	cmp	%cl, %dl\n"
     "	jne	3f\n"
     "	inc	%eax\n"
     "3:	dec	%ecx\n"
     "	jnz	1b\n"
     "	hlt\n");
/* Into another block of the page, by REP MOVSB, and a locked instruction. */
CODE(smc_block, "64",
     "	xor	%eax, %eax\n"
     "	mov	$50, %ebx\n"
     "1:	lea	4f(%rip), %rsi\n"
     "	test	$1, %bl\n"
     "	jz	2f\n"
     "	lea	5f(%rip), %rsi\n"
     "2:	lea	6f(%rip), %rdi\n"
     "	mov	$6, %ecx\n"
     "	rep movsb\n"
     "	call	6f\n"
     "	lock incl	6f+1(%rip)\n"
     "	call	6f\n"
     "	dec	%ebx\n"
     "	jnz	1b\n"
     "	hlt\n"
     "4:	add	$1, %eax\n	nop\n	nop\n	ret\n"
     "5:	add	$0x100, %eax\n	ret\n"
     "	.balign 64\n"
     "6:	nop\n	nop\n	nop\n	nop\n	nop\n	ret\n");

static void test_smc(void **state)
{
	sys_start(&t, 64, 0);
	LOAD(&t, smc_next);
	check(sys_run(&t), -1, "next instruction");
	assert_int_equal(t.st.gpr[R_RAX], 50);
}

/* A store that runs over the border into the page that executes. */
static void test_smc_cross(void **state)
{
	static const uint8_t code[] = {
		0x48, 0xc7, 0x03, 0x90, 0x90, 0xf4, 0x00,	/* mov qword [rbx], 0f49090h */
		0xb0, 0x01, 0xf4,				/* replaced by HLT */
	};

	for (unsigned i = 0; i < 20; i++) {
		sys_start(&t, 64, 0);
		assert_true(gm_write(t.vm->mem, GPA(0x11000 - 5), code, sizeof(code)));
		t.st.rip = 0x11000 - 5;
		t.st.gpr[R_RBX] = 0x11000;
		assert_int_equal(svm_run(&t), EXIT_HLT);
		assert_int_equal(t.st.rip, 0x11003);
		assert_int_equal(t.st.gpr[R_RAX], 0);
	}
}

/* By DMA between two runs, and by a device while it runs (here: the other vCPU below). */
static void test_smc_dma(void **state)
{
	sys_start(&t, 64, 0);
	for (unsigned i = 1; i < 100; i++) {
		const uint8_t code[] = { 0xb8, (uint8_t)i, 0, 0, 0, 0xeb, 0x00, 0xf4 };

		svm_code(&t, code, sizeof(code));
		s->rip = SVM_CODE;
		s->halted = false;
		if (i == 1)
			(void)svm_run(&t);
		else
			assert_int_equal(t.v->ops->run(t.v), EXIT_HLT);
		assert_int_equal(s->gpr[R_RAX], i);
	}
}

static void test_smc_block(void **state)
{
	struct frame f;

	sys_start(&t, 64, 0);
	LOAD(&t, smc_block);
	f = sys_run(&t);
	/*
	 * LOCK INC of the bytes behind the opcode: 83 c0 01 -> ModRM c1: add ecx;
	 * 05 00 01 00 00 -> immediate 101h.
	 */
	check(f, -1, "block");
	assert_int_equal(t.st.gpr[R_RAX], 25 * (0x100 + 0x101) + 25);
}

/* Two vCPUs: one rewrites a function and says so, the other must then see it. */
CODE(smc_writer, "64",
     "	mov	$2000, %ecx\n"
     "1:	mov	%ecx, 0x11001\n"		/* immediate of MOV EAX at 0x11000 */
     "	mov	%ecx, 0x20000\n"
     "2:	pause\n	cmp	0x20004, %ecx\n	jne	2b\n"
     "	dec	%ecx\n	jnz	1b\n"
     "	movl	$-1, 0x20000\n"
     "	hlt\n");
CODE(smc_reader, "64",
     "	xor	%ebx, %ebx\n"
     "1:	mov	0x20000, %ecx\n"
     "	cmp	$-1, %ecx\n	je	9f\n"
     "	cmp	0x20004, %ecx\n	je	1b\n"
     "	mov	$0x11000, %edx\n"
     "	call	*%rdx\n"
     "	cmp	%eax, %ecx\n	je	2f\n	inc	%ebx\n"
     "2:	mov	%ecx, 0x20004\n	jmp	1b\n"
     "9:	hlt\n");

static void *run_other(void *arg)
{
	struct vcpu *v = arg;

	return (void *)(uintptr_t)v->ops->run(v);
}

static void test_smc_smp(void **state)
{
	struct vm *vm = tvm_new(4 << 20);
	struct svm two[2];
	struct err e = { 0 };
	pthread_t th;
	void *why;

	assert_true(vm_set_engine(vm, &soft_cpu_ops, 2, &e));
	for (unsigned i = 0; i < 2; i++) {
		two[i] = (struct svm){ .vm = vm, .v = vm->cpus[i] };
		sys_start(&two[i], 64, 0);
		two[i].st.mp_state = MP_RUNNABLE;
		two[i].st.rip = SVM_CODE + 0x400 * i;
		two[i].st.gpr[R_RSP] = SVM_STACK + 0x1000 * i;
		assert_true(vm->cpus[i]->ops->set_state(vm->cpus[i], &two[i].st, &e));
	}
	assert_true(gm_write(vm->mem, GPA(SVM_CODE), smc_writer,
			     (size_t)(smc_writer_end - smc_writer)));
	assert_true(gm_write(vm->mem, GPA(SVM_CODE + 0x400), smc_reader,
			     (size_t)(smc_reader_end - smc_reader)));
	sys_put(&two[0], 0x11000, 0xc300000000b8, 8);
	sys_put(&two[0], SVM_DATA, 0, 8);
	assert_int_equal(pthread_create(&th, NULL, run_other, vm->cpus[1]), 0);
	assert_int_equal(vm->cpus[0]->ops->run(vm->cpus[0]), EXIT_HLT);
	pthread_join(th, &why);
	assert_int_equal((uintptr_t)why, EXIT_HLT);
	vm->cpus[1]->ops->get_state(vm->cpus[1], &two[1].st);
	assert_int_equal(two[1].st.gpr[R_RBX], 0);
	tvm_free(vm);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_tour, setup, teardown),
		cmocka_unit_test_setup_teardown(test_cr0, setup, teardown),
		cmocka_unit_test_setup_teardown(test_cr3_cr4, setup, teardown),
		cmocka_unit_test_setup_teardown(test_msr, setup, teardown),
		cmocka_unit_test_setup_teardown(test_xcr, setup, teardown),
		cmocka_unit_test_setup_teardown(test_cpuid, setup, teardown),
		cmocka_unit_test_setup_teardown(test_init, setup, teardown),
		cmocka_unit_test_setup_teardown(test_smc, setup, teardown),
		cmocka_unit_test_setup_teardown(test_smc_cross, setup, teardown),
		cmocka_unit_test_setup_teardown(test_smc_dma, setup, teardown),
		cmocka_unit_test_setup_teardown(test_smc_block, setup, teardown),
		cmocka_unit_test_setup_teardown(test_smc_smp, setup, teardown),
	};

	return cmocka_run_group_tests_name("soft-modes", tests, NULL, NULL);
}
