/* SPDX-License-Identifier: MIT */
/*
 * Code that changes, on every tier of the software CPU: interpreter,
 * translator (each block at its first execution), translator in lockstep.
 * Intel SDM vol. 3, 8.1.3 and 11.6; AMD APM vol. 2, 7.6.1: on one processor a
 * store is seen by the next instruction fetch; other processors' and devices'
 * stores are seen after a jump at the latest where these programs wait.
 */
#include "softsys.h"
#include <pthread.h>
#include <stdlib.h>

static struct svm t;

static const struct tier {
	const char *name, *jit;
	bool verify;
} tiers[] = {
	{ "interpreter", "0", false }, { "translator", "1", false }, { "lockstep", "1", true },
};

static int start_cpus(void **state, unsigned ncpus)
{
	const struct tier *k = *state;
	struct err e = { 0 };

	setenv("HV_JIT", k->jit, 1);
	memset(&t, 0, sizeof(t));
	t.vm = tvm_new(4 << 20);
	t.vm->soft.verify = k->verify;
	if (!vm_set_engine(t.vm, &soft_cpu_ops, ncpus, &e))
		return -1;
	t.v = t.vm->cpus[0];
	sys_start(&t, 64, 0);
	return 0;
}

static int start_tier(void **state)
{
	return start_cpus(state, 1);
}

static int start_two(void **state)
{
	return start_cpus(state, 2);
}

static int stop_tier(void **state)
{
	svm_free(&t);
	return 0;
}

static uint64_t run_rax(void)
{
	enum vcpu_exit why = svm_run(&t);

	if (why != EXIT_HLT)
		fail_msg("ended with %d at %llx: %s", why, (unsigned long long)t.st.rip,
			 t.v->fail);
	return t.st.gpr[R_RAX];
}

/* A loop that changes its own constant each time, in front of and behind the store. */
CODE(loop, "64",
     "	xor	%eax, %eax\n	mov	$100, %ecx\n"
     "1:	add	$1, %eax\n"
     "	mov	%ecx, 2f+1(%rip)\n"
     "2:	mov	$0, %edx\n"
     "	add	%edx, %eax\n"
     "	movb	%cl, 1b+2(%rip)\n"
     "	andb	$1, 1b+2(%rip)\n"
     "	dec	%ecx\n	jnz	1b\n	hlt\n");

static void test_loop(void **state)
{
	LOAD(&t, loop);
	/* 1 + the sum of 1..100, + the parities of 100..2 */
	assert_int_equal(run_rax(), 1 + 5050 + 49);
}

/* Every kind of store hits the instruction that follows it directly. */
CODE(kinds, "64",
     "	xor	%eax, %eax\n	mov	$30, %ebx\n	mov	$0xf4c3, %r8d\n"
     "1:	lea	2f+1(%rip), %rdi\n	movb	%bl, (%rdi)\n"
     "2:	mov	$0, %cl\n	cmp	%bl, %cl\n	jne	9f\n"
     "	lea	3f+1(%rip), %rdi\n	mov	%bl, %al\n	stosb\n"
     "3:	mov	$0, %cl\n	cmp	%bl, %cl\n	jne	9f\n"
     "	lea	4f+1(%rip), %rdi\n	lea	3b+1(%rip), %rsi\n	movsb\n"
     "4:	mov	$0, %cl\n	cmp	%bl, %cl\n	jne	9f\n"
     "	mov	%bl, %dl\n	xchg	%dl, 5f+1(%rip)\n"
     "5:	mov	$0, %cl\n	cmp	%bl, %cl\n	jne	9f\n"
     "	movb	$0, 6f+1(%rip)\n	lock xadd %bl, 6f+1(%rip)\n	mov	5b+1(%rip), %bl\n"
     "6:	mov	$0, %cl\n	cmp	%bl, %cl\n	jne	9f\n"
     "	mov	%ebx, %edx\n	shl	$8, %edx\n	mov	$0xb1, %dl\n"
     "	lea	8f(%rip), %rsp\n	mov	$0x90909090f4c3f5f9, %rcx\n	pushf\n	popf\n"
     "	mov	7f-1(%rip), %cl\n	mov	%bl, 7f+1(%rip)\n"
     "7:	mov	$0, %cl\n	cmp	%bl, %cl\n	jne	9f\n"
     "	dec	%ebx\n	jnz	1b\n	mov	$77, %eax\n	hlt\n"
     "9:	mov	%ebx, %eax\n	hlt\n"
     "	.balign 64\n	.skip 64\n8:\n");

static void test_kinds(void **state)
{
	LOAD(&t, kinds);
	assert_int_equal(run_rax(), 77);
}

/* Variables beside the code that uses them, in the same page and the same line. */
CODE(mixed, "64",
     "	xor	%eax, %eax\n	mov	$2000, %ecx\n	jmp	1f\n"
     "8:	.quad	0, 0\n"
     "1:	incl	8b(%rip)\n	mov	%rcx, 8b+8(%rip)\n	call	2f\n"
     "	dec	%ecx\n	jnz	1b\n	mov	8b(%rip), %edx\n	add	%edx, %eax\n"
     "	hlt\n"
     "2:	mov	8b+8(%rip), %edx\n	add	%edx, %eax\n	push	%rax\n"
     "	pop	9f(%rip)\n"
     "	mov	9f(%rip), %eax\n	ret\n"
     "9:	.quad	0\n");

static void test_mixed(void **state)
{
	LOAD(&t, mixed);
	assert_int_equal(run_rax(), 2000 * 2001 / 2 + 2000);
}

/* A jump label as kernels use it: five bytes of NOP or JMP, flipped by one 8-byte store. */
CODE(label, "64",
     "	xor	%eax, %eax\n	xor	%ebx, %ebx\n	mov	$400, %ecx\n"
     "	mov	3f(%rip), %r8\n	mov	4f(%rip), %r9\n"
     "1:	call	2f\n	call	2f\n"
     "	test	$3, %cl\n	jnz	5f\n	xchg	%r8, %r9\n	mov	%r8, 2f(%rip)\n"
     "5:	dec	%ecx\n	jnz	1b\n	shl	$32, %rbx\n	or	%rbx, %rax\n"
     "	hlt\n"
     "	.balign 8\n"
     /* nop; inc eax; ret */
     "3:	.byte	0x0f, 0x1f, 0x44, 0x00, 0x00, 0xff, 0xc0, 0xc3\n"
     "4:	.byte	0xe9, 3, 0, 0, 0, 0xff, 0xc0, 0xc3\n"		/* jmp +3 */
     "2:	.byte	0x0f, 0x1f, 0x44, 0x00, 0x00, 0xff, 0xc0, 0xc3\n"
     "	inc	%ebx\n	ret\n");

static void test_label(void **state)
{
	uint64_t r;

	LOAD(&t, label);
	r = run_rax();
	/* 400 iterations, flipped after the first and then after every fourth */
	assert_int_equal((uint32_t)r + (r >> 32), 800);
	assert_int_equal((uint32_t)r, 2 * (1 + 49 * 4 + 3));
}

/* A guest that compiles: writes a new function at a new place each time and calls it. */
CODE(compiler, "64",
     "	xor	%eax, %eax\n	mov	$600, %ecx\n	mov	$0x40000, %edi\n"
     "1:	mov	$0xb8, %dl\n	mov	%dl, (%rdi)\n	mov	%ecx, 1(%rdi)\n"
     "	movl	$0xc3d00148, 5(%rdi)\n"			/* add rax, rdx; ret */
     "	mov	%rax, %rdx\n	call	*%rdi\n"
     "	add	$37, %rdi\n	cmp	$0x41f00, %rdi\n	jb	2f\n"
     "	mov	$0x40000, %edi\n"
     "2:	dec	%ecx\n	jnz	1b\n	hlt\n");

static void test_compiler(void **state)
{
	LOAD(&t, compiler);
	assert_int_equal(run_rax(), 600 * 601 / 2);
}

/* Two addresses of one page: executed through one, written through the other. */
CODE(alias, "64",
     "	xor	%eax, %eax\n	mov	$200, %ecx\n	mov	$0x811000, %ebx\n"
     "	mov	$0x11000, %esi\n"
     "	mov	$0xc3, %dl\n	movb	$0xba, (%rsi)\n	movb	%dl, 5(%rsi)\n"
     "1:	mov	%ecx, 1(%rbx)\n	call	*%rsi\n	add	%edx, %eax\n"
     "	mov	%ecx, 1(%rsi)\n	call	*%rbx\n	add	%edx, %eax\n"
     "	dec	%ecx\n	jnz	1b\n	hlt\n");

static void test_alias(void **state)
{
	LOAD(&t, alias);
	sys_put(&t, 0x3000 + 8 * 4, 0x87, 8);	/* 8 MiB: physical 0 again */
	assert_int_equal(run_rax(), 200 * 201);
}

/* One address, two pages by turns: INVLPG, and CR3 loads. */
CODE(remap, "64",
     "	xor	%eax, %eax\n	mov	$100, %ecx\n	mov	$0x3028, %ebx\n"
     "	mov	$0xa11000, %esi\n"
     "	movl	$0x1b8, 0x11000\n	movw	$0xc300, 0x11004\n"
     "	movl	$0x100b8, 0x211000\n	movw	$0xc300, 0x211004\n	xor	%edi, %edi\n"
     "1:	movq	$0x87, (%rbx)\n	invlpg	0xa00000\n	call	*%rsi\n"
     "	add	%rax, %rdi\n"
     "	movq	$0x200087, (%rbx)\n	mov	%cr3, %rdx\n	mov	%rdx, %cr3\n"
     "	call	*%rsi\n	add	%rax, %rdi\n"
     "	dec	%ecx\n	jnz	1b\n	mov	%rdi, %rax\n	hlt\n");

static void test_remap(void **state)
{
	LOAD(&t, remap);
	assert_int_equal(run_rax(), 100 * (1 + 0x100));
}

/* The same bytes as 64-bit and as 32-bit code, by turns. */
CODE(modes, "64",
     "	xor	%ebx, %ebx\n	mov	$50, %ecx\n	xor	%eax, %eax\n"
     "1:	call	7f\n"
     "	pushq	$0x08\n	lea	3f(%rip), %rdx\n	push	%rdx\n	lretq\n"
     "3:	.code32\n"
     "	call	7f\n"
     "	ljmp	$0x18, $0x10000 + 4f - modes\n"
     "4:	.code64\n"
     "	dec	%ecx\n	jnz	1b\n	hlt\n"
     "	.balign 4\n"
     /* 64-bit: inc rax; shl ebx,0.  32-bit: dec eax; inc eax; then the same. */
     "7:	.byte	0x48, 0xff, 0xc0\n	.byte	0xc1, 0xe3, 0x00\n	ret\n");

static void test_modes(void **state)
{
	LOAD(&t, modes);
	assert_int_equal(run_rax(), 50);
}

/* A device writes the function that the CPU calls, until it returns the last number. */
CODE(caller, "64",
     "	xor	%ebx, %ebx\n	mov	$0x11000, %esi\n"
     "1:	call	*%rsi\n	cmp	%ebx, %eax\n	jb	9f\n	mov	%eax, %ebx\n"
     "	cmp	$3000, %eax\n	jne	1b\n	hlt\n"
     "9:	mov	$-1, %eax\n	hlt\n");

static void *device(void *arg)
{
	for (uint32_t i = 1; i <= 3000; i++)
		if (!gm_write_le32(t.vm->mem, GPA(0x11004), i))
			return arg;
	return NULL;
}

static void test_device(void **state)
{
	static const uint8_t f[] = { 0x90, 0x90, 0x90, 0xb8, 0, 0, 0, 0, 0xc3 };
	pthread_t th;
	void *r;

	LOAD(&t, caller);
	assert_true(gm_write(t.vm->mem, GPA(0x11000), f, sizeof(f)));
	assert_int_equal(pthread_create(&th, NULL, device, &t), 0);
	assert_int_equal(run_rax(), 3000);
	pthread_join(th, &r);
	assert_null(r);
}

/* An instruction over two pages, changed in the one and in the other. */
CODE(crossing, "64",
     "	xor	%eax, %eax\n	mov	$60, %ecx\n	mov	$0x11ffd, %esi\n"
     "	movb	$0xba, (%rsi)\n	movb	$0xc3, 5(%rsi)\n	movl	$0, 1(%rsi)\n"
     "1:	mov	%cl, 1(%rsi)\n	call	*%rsi\n	add	%edx, %eax\n"
     "	mov	%cl, 3(%rsi)\n	call	*%rsi\n	add	%edx, %eax\n"
     "	movb	$0, 3(%rsi)\n	dec	%ecx\n	jnz	1b\n	hlt\n");

static void test_crossing(void **state)
{
	LOAD(&t, crossing);
	assert_int_equal(run_rax(), 1830 * 2 + (1830 << 16));
}

/*
 * A function whose second block is one instruction in two pages, MOV EDX,imm32 at
 * 0x11ffd, led to by a block that stores AL at RSI when it is called at its start.
 */
static const uint8_t crosser[] = {
	0x88, 0x06, 0xff, 0xc3,				/* mov [rsi], al; inc ebx */
	0x90, 0x90, 0x90, 0x90, 0x90, 0x90, 0x90, 0x90, 0x90,
	0xba, 0x01, 0x00, 0x10, 0x00,			/* mov edx, 0x100001 */
	0x48, 0x01, 0xd7, 0xc3,				/* add rdi, rdx; ret */
};
#define CROSSER_OFF 0xff0
#define CROSSER_N1 16u

static void put_crosser(uint64_t first, uint64_t second, uint8_t imm)
{
	uint8_t b[sizeof(crosser)];

	memcpy(b, crosser, sizeof(b));
	b[CROSSER_N1] = imm;
	assert_true(gm_write(t.vm->mem, GPA(first + CROSSER_OFF), b, CROSSER_N1));
	assert_true(gm_write(t.vm->mem, GPA(second), b + CROSSER_N1, sizeof(b) - CROSSER_N1));
}

/* Its own second page is written by the block in front of it, then by its caller. */
CODE(cross_store, "64",
     "	xor	%edi, %edi\n	mov	$100, %ecx\n	mov	$0x12000, %esi\n"
     "	mov	$0x11ff0, %r8d\n"
     "1:	mov	%ecx, %eax\n	call	*%r8\n	movb	$7, (%rsi)\n	mov	$7, %al\n"
     "	call	*%r8\n	call	*%r8\n	dec	%ecx\n	jnz	1b\n	mov	%rdi, %rax\n"
     "	hlt\n");

static void test_cross_store(void **state)
{
	LOAD(&t, cross_store);
	put_crosser(0x11000, 0x12000, 0);
	assert_int_equal(run_rax(), 300 + (5050ull << 16) + (1400 << 16));
}

#define CROSS_PT 0x54000

/* At 0xa00000: 0x50000, and behind it what its page table says. */
static void map_crosser(uint64_t second)
{
	sys_put(&t, 0x3000 + 8 * 5, CROSS_PT | 7, 8);
	sys_put(&t, CROSS_PT, 0x50007, 8);
	sys_put(&t, CROSS_PT + 8, second, 8);
}

/* The second page is another one by turns: INVLPG of it, and CR3 loads. */
CODE(cross_remap, "64",
     "	xor	%edi, %edi\n	mov	$100, %ecx\n	mov	$0x20000, %esi\n"
     "	mov	$0xa00ff0, %r8d\n"
     "1:	movq	$0x51007, 0x54008\n	invlpg	0xa01000\n"
     "	call	*%r8\n	call	*%r8\n"
     "	movq	$0x52007, 0x54008\n	invlpg	0xa01000\n	call	*%r8\n"
     "	movq	$0x51007, 0x54008\n	mov	%cr3, %rdx\n	mov	%rdx, %cr3\n"
     "	call	*%r8\n"
     /* many of them, each seen for the first time */
     "	mov	%ecx, %eax\n	shl	$12, %eax\n	add	$0x80007, %eax\n"
     "	mov	%rax, 0x54008\n	invlpg	0xa01000\n	call	*%r8\n"
     "	dec	%ecx\n	jnz	1b\n	mov	%rdi, %rax\n	hlt\n");

static void test_cross_remap(void **state)
{
	LOAD(&t, cross_remap);
	put_crosser(0x50000, 0x51000, 0x10);
	put_crosser(0x50000, 0x52000, 0x20);
	for (unsigned i = 1; i <= 100; i++)
		put_crosser(0x50000, 0x80000 + i * 4096, (uint8_t)i);
	map_crosser(0x51007);
	assert_int_equal(run_rax(), 100 * (3 * 0x100001ull + 0x200001) + 100 + (5050ull << 16));
}

/* It is taken away: #PF of the second page's first byte, at the instruction. */
CODE(cross_gone, "64",
     "	xor	%edi, %edi\n	mov	$40, %ecx\n	mov	$0x20000, %esi\n"
     "	mov	$0xa00ff0, %r8d\n	xor	%ebx, %ebx\n"
     "1:	call	*%r8\n	dec	%ecx\n	jnz	1b\n"
     "	movq	$0, 0x54008\n	invlpg	0xa01000\n	call	*%r8\n	hlt\n");

static void test_cross_gone(void **state)
{
	struct frame f;

	LOAD(&t, cross_gone);
	put_crosser(0x50000, 0x51000, 0x10);
	map_crosser(0x51007);
	f = sys_run(&t);
	assert_int_equal(f.vec, 14);
	assert_int_equal(f.ip, 0xa00ffd);
	assert_int_equal(t.st.cr2, 0xa01000);
	assert_int_equal(f.err & ~0x10u, 0);
	assert_int_equal(t.st.gpr[R_RBX], 41);
	assert_int_equal(t.st.gpr[R_RDI], 40 * 0x100001);
	/* It comes back with other bytes, and the program goes on. */
	put_crosser(0x50000, 0x53000, 0x30);
	sys_put(&t, CROSS_PT + 8, 0x53007, 8);
	t.st.rip = f.ip;
	t.st.gpr[R_RSP] = f.sp;
	assert_int_equal(svm_run(&t), EXIT_HLT);
	assert_int_equal(t.st.gpr[R_RDI], 40 * 0x100001 + 0x300001);
}

/* Another processor rewrites the second page's part each time the first one has seen it. */
CODE(cross_reader, "64",
     "	mov	$1, %ebp\n	mov	$0x11ff4, %r8d\n	mov	$2000000000, %r10d\n"
     "1:	call	*%r8\n	shr	$16, %edx\n	cmp	%ebp, %edx\n	je	2f\n"
     "	pause\n	dec	%r10\n	jnz	1b\n	mov	$-1, %eax\n	hlt\n"
     "2:	mov	%ebp, 0x20000\n	inc	%ebp\n	cmp	$200, %ebp\n	jne	1b\n"
     "	mov	%ebp, %eax\n	hlt\n");
CODE(cross_writer, "64",
     "	mov	$1, %ecx\n"
     "1:	mov	%cl, 0x12000\n"
     "2:	pause\n	cmp	%ecx, 0x20000\n	jb	2b\n"
     "	inc	%ecx\n	cmp	$200, %ecx\n	jne	1b\n	hlt\n");

static void *run_writer(void *arg)
{
	struct vcpu *v = arg;

	return (void *)(uintptr_t)v->ops->run(v);
}

static void test_cross_other(void **state)
{
	struct svm two = { .vm = t.vm, .v = t.vm->cpus[1] };
	struct err e = { 0 };
	pthread_t th;
	void *why;

	sys_start(&two, 64, 0);
	two.st.rip = 0x14000;
	two.st.mp_state = MP_RUNNABLE;
	assert_true(two.v->ops->set_state(two.v, &two.st, &e));
	assert_true(gm_write(t.vm->mem, GPA(0x14000), cross_writer,
			     (size_t)(cross_writer_end - cross_writer)));
	LOAD(&t, cross_reader);
	put_crosser(0x11000, 0x12000, 0);
	assert_int_equal(pthread_create(&th, NULL, run_writer, two.v), 0);
	assert_int_equal(run_rax(), 200);
	pthread_join(th, &why);
	assert_int_equal((uintptr_t)why, EXIT_HLT);
}

#define T(f, k) { #f, f, start_tier, stop_tier, (void *)&tiers[k] }
#define TIERS(f) T(f, 0), T(f, 1), T(f, 2)
#define T2(f, k) { #f, f, start_two, stop_tier, (void *)&tiers[k] }
#define TIERS2(f) T2(f, 0), T2(f, 1), T2(f, 2)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TIERS(test_loop), TIERS(test_kinds), TIERS(test_mixed), TIERS(test_label),
		TIERS(test_compiler), TIERS(test_alias), TIERS(test_remap), TIERS(test_modes),
		TIERS(test_device), TIERS(test_crossing),
		TIERS(test_cross_store), TIERS(test_cross_remap), TIERS(test_cross_gone),
		TIERS2(test_cross_other),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
