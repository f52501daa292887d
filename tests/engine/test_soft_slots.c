/* SPDX-License-Identifier: MIT */
/*
 * Places of translated code that remember the page they used last
 * (src/cpu/soft/jit_slot.c): each program makes one remember a page, then
 * takes away what it was allowed to do there.  On every tier, as one answer
 * must come from all.  Intel SDM vol. 3, 4.6, 4.10.4, 6.14 and 17.2.
 */
#include "softsys.h"
#include <stdlib.h>

static struct svm t;

static const struct tier {
	const char *jit;
	bool verify;
} tiers[] = {
	{ "0", false }, { "1", false }, { "16", false }, { "1", true }, { NULL, false },
};

static int start_tier(void **state)
{
	const struct tier *k = *state;
	struct err e = { 0 };

	if (k->jit)
		setenv("HV_JIT", k->jit, 1);
	else
		unsetenv("HV_JIT");	/* slots for hot blocks only */
	memset(&t, 0, sizeof(t));
	t.vm = tvm_new(4 << 20);
	t.vm->soft.verify = k->verify;
	if (!vm_set_engine(t.vm, &soft_cpu_ops, 1, &e))
		return -1;
	t.v = t.vm->cpus[0];
	sys_start(&t, 64, 0);
	return 0;
}

static int stop_tier(void **state)
{
	svm_free(&t);
	return 0;
}

#define PT 0x60000

/* 0xa00000: 0x50000 and 0x51000, by a page table. */
static void map_pages(void)
{
	sys_put(&t, 0x3000 + 8 * 5, PT | 7, 8);
	sys_put(&t, PT, 0x50007, 8);
	sys_put(&t, PT + 8, 0x51007, 8);
	for (unsigned i = 0; i < 8; i++)
		sys_put(&t, 0x50000 + i * 4096, i + 1, 8);
}

/* The program ends with that exception. */
#define EXPECT_FAULT(program, exc) do { \
	LOAD(&t, program); \
	assert_int_equal(sys_run(&t).vec, exc); \
} while (0)

static void expect_pf(struct frame f, uint32_t err, uint64_t cr2)
{
	assert_int_equal(f.vec, EXC_PF);
	assert_int_equal(f.err, err);
	assert_int_equal(t.st.cr2, cr2);
}

/* Another page behind the address: INVLPG; CR3. */
CODE(remap, "64",
     "mov $0xa00000, %ebx\n xor %eax, %eax\n mov $40, %ecx\n"
     "1: movq $0x50007, 0x60000\n invlpg (%rbx)\n call 2f\n call 2f\n"
     "movq $0x52007, 0x60000\n invlpg (%rbx)\n call 2f\n"
     "movq $0x53007, 0x60000\n mov %cr3, %rdx\n mov %rdx, %cr3\n call 2f\n"
     "dec %ecx\n jnz 1b\n hlt\n"
     "2: add (%rbx), %rax\n mov (%rbx), %rdx\n add (%rbx,%rcx,8), %rdi\n addq $0, (%rbx)\n ret");

static void test_remap(void **state)
{
	map_pages();
	LOAD(&t, remap);
	assert_int_equal(svm_run(&t), EXIT_HLT);
	assert_int_equal(t.st.gpr[R_RAX], 40 * (1 + 1 + 3 + 4));
}

/* The page becomes read-only. */
CODE(readonly, "64",
     "mov $0xa00000, %ebx\n mov $40, %ecx\n jmp 1f\n"
     "3: movq $0x50005, 0x60000\n invlpg (%rbx)\n mov $1, %ecx\n"
     "1: mov (%rbx), %rax\n mov %rcx, 8(%rbx)\n add $1, %rdx\n dec %ecx\n jnz 1b\n jmp 3b");

static void test_readonly(void **state)
{
	map_pages();
	t.st.cr0 |= CR0_WP;
	LOAD(&t, readonly);
	expect_pf(sys_run(&t), 3, 0xa00008);
	assert_int_equal(t.st.gpr[R_RDX], 40);
	assert_int_equal(sys_get(&t, 0x50008, 8), 1);
}

/* The same after so many times that the block is hot, and through several places. */
CODE(hot, "64",
     "mov $0xa00000, %ebx\n mov $1000000, %ecx\n xor %esi, %esi\n jmp 1f\n"
     "3: movq $0x50005, 0x60000\n invlpg (%rbx)\n mov $1, %ecx\n"
     "1: call 2f\n add $1, %rdx\n dec %ecx\n jnz 1b\n jmp 3b\n"
     "2: mov (%rbx), %rax\n add (%rbx,%rsi,8), %rdi\n mov %rcx, 8(%rbx)\n"
     "test $1, %cl\n jz 4f\n mov %rcx, 8(%rbx,%rsi)\n 4: ret");

static void test_hot(void **state)
{
	map_pages();
	t.st.cr0 |= CR0_WP;
	LOAD(&t, hot);
	expect_pf(sys_run(&t), 3, 0xa00008);
	assert_int_equal(t.st.gpr[R_RDX], 1000000);
	assert_int_equal(t.st.gpr[R_RDI], 1000001);
	assert_int_equal(sys_get(&t, 0x50008, 8), 1);
}

/* A user page, with STAC and without. */
CODE(smap, "64",
     "mov $0xa00000, %ebx\n mov $40, %ecx\n stac\n jmp 1f\n"
     "3: clac\n mov $1, %ecx\n"
     "1: add (%rbx), %rax\n mov (%rbx,%rsi), %rdi\n dec %ecx\n jnz 1b\n jmp 3b");

static void test_smap(void **state)
{
	map_pages();
	for (unsigned i = 0; i < 5; i++)	/* the rest is the supervisor's */
		sys_put(&t, 0x3000 + 8 * i, i << 21 | 0x83, 8);
	t.st.cr4 |= CR4_SMAP;
	LOAD(&t, smap);
	expect_pf(sys_run(&t), 1, 0xa00000);
	assert_int_equal(t.st.gpr[R_RAX], 40);
}

/* A data breakpoint is armed. */
CODE(watch, "64",
     "mov $0xa00000, %ebx\n mov $40, %ecx\n jmp 1f\n"
     "3: mov %rbx, %dr0\n mov $0xf0002, %edx\n mov %rdx, %dr7\n mov $1, %ecx\n"
     "1: add (%rbx), %rax\n dec %ecx\n jnz 1b\n jmp 3b");

static void test_watch(void **state)
{
	map_pages();
	EXPECT_FAULT(watch, EXC_DB);
	assert_int_equal(t.st.gpr[R_RAX], 41);
	assert_int_equal(t.st.dr[6] & 15, 1);
}

/* Then over the end of the page: the next one is another. */
CODE(over, "64",
     "mov $0xa00ff0, %ebx\n mov $12, %ecx\n"
     "1: mov (%rbx), %rax\n mov %rcx, %rsi\n neg %rsi\n mov %rsi, (%rbx)\n mov (%rbx), %rdx\n"
     "cmp %rdx, %rsi\n jne 2f\n"
     "inc %rbx\n dec %ecx\n jnz 1b\n hlt\n 2: ud2");

static void test_over(void **state)
{
	map_pages();
	sys_put(&t, PT + 8, 0x57007, 8);
	sys_put(&t, 0x57000, 0x08000000, 8);
	LOAD(&t, over);
	assert_int_equal(sys_run(&t).vec, -1);
	assert_int_equal(sys_get(&t, 0x50fff, 1), 0xff);
	assert_int_equal(sys_get(&t, 0x57000, 4), 0x08ffffff);
	assert_int_equal(sys_get(&t, 0x51000, 8), 2);
}

/* Then not aligned, in a form that wants it. */
CODE(align, "64",
     "mov $0xa00100, %ebx\n mov $40, %ecx\n jmp 1f\n"
     "3: lea 8(%rbx), %rbx\n mov $1, %ecx\n"
     "1: paddd (%rbx), %xmm0\n paddd (%rbx,%rsi), %xmm1\n inc %rax\n dec %ecx\n jnz 1b\n jmp 3b");

static void test_align(void **state)
{
	map_pages();
	EXPECT_FAULT(align, EXC_GP);
	assert_int_equal(t.st.gpr[R_RAX], 40);
}

/* Then not canonical. */
CODE(hole, "64",
     "mov $0xa00100, %ebx\n mov $40, %ecx\n jmp 1f\n"
     "3: btc $62, %rbx\n mov $1, %ecx\n"
     "1: mov (%rbx), %rdx\n inc %rax\n dec %ecx\n jnz 1b\n jmp 3b");

static void test_hole(void **state)
{
	map_pages();
	EXPECT_FAULT(hole, EXC_GP);
	assert_int_equal(t.st.gpr[R_RAX], 40);
}

/* Then at CPL 3, by the same code: a page that the supervisor alone may use. */
CODE(user, "64",
     "mov $0xa00000, %ebx\n mov $0x20000, %r8d\n mov $40, %ecx\n call 1f\n"
     "pushq $0x2b\n pushq $0x30000\n pushf\n pushq $0x33\n lea 4f(%rip), %rdx\n"
     "push %rdx\n iretq\n"
     "4: mov $40, %ecx\n mov %r8, %rbx\n call 1f\n mov $0xa00000, %ebx\n mov $1, %ecx\n"
     "call 1f\n"
     "1: add (%rbx), %rax\n dec %ecx\n jnz 1b\n ret");

static void test_user(void **state)
{
	map_pages();
	sys_put(&t, PT, 0x50003, 8);
	sys_put(&t, SVM_DATA, 0x100, 8);
	LOAD(&t, user);
	expect_pf(sys_run(&t), 5, 0xa00000);
	assert_int_equal(t.st.gpr[R_RAX], 40 + 40 * 0x100);
}

/*
 * Runs of pushes and pops with other things between, on a stack that walks from
 * one page into another; returns to where no call came from, the last one to an
 * address that is not canonical: RSP is right whoever looks.
 */
CODE(stack, "64",
     "mov $0x41400, %esp\n mov $200, %ecx\n mov $3, %eax\n mov $5, %ebx\n xor %r10d, %r10d\n"
     "1: push %rax\n mov %rcx, %rax\n push %rbx\n push $77\n add %rax, %rbx\n push %rsp\n"
     "pop %rdx\n pop %rsi\n pop %rdi\n xor %edi, %esi\n pop %rbp\n add %rbp, %rbx\n"
     "add %rdx, %rbx\n add %rsi, %rbx\n call 2f\n call 4f\n push %rbx\n dec %ecx\n jnz 1b\n"
     "mov $1, %r10d\n shl $62, %r10\n call 4f\n"
     "2: push %rbx\n push %rcx\n mov %rsp, %r8\n pop %rax\n add %r8, %rbx\n pop %r9\n ret\n"
     "4: lea 3f(%rip), %rdx\n xor %r10, %rdx\n push %rdx\n push %rbx\n push %rax\n pop %rax\n"
     "pop %rbx\n ret\n"
     "3: ret $0");

static void test_stack(void **state)
{
	uint64_t rax = 3, rbx = 5, sp = 0x41400;
	struct frame f;

	LOAD(&t, stack);
	f = sys_run(&t);
	for (unsigned i = 200; i; i--, sp -= 8) {
		uint64_t was = rax, kept = rbx;

		rbx += i + was + sp - 24 + (uint32_t)(77 ^ kept);
		rbx += sp - 24;
		rax = i;
	}
	assert_int_equal(f.vec, EXC_GP);
	assert_int_equal(f.err, 0);
	assert_int_equal(f.sp, sp - 16);
	assert_true(t.st.gpr[R_RAX] == rax);
	assert_true(t.st.gpr[R_RBX] == rbx);
	assert_true(t.st.gpr[R_RBP] == 2);
	assert_true(sys_get(&t, f.sp, 8) >> 62 == 1);
}

#define T(f, k) { #f, f, start_tier, stop_tier, (void *)&tiers[k] }
#define TIERS(f) T(f, 0), T(f, 1), T(f, 2), T(f, 3)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(test_hot, 0), T(test_hot, 2), T(test_hot, 4), TIERS(test_remap),
		TIERS(test_readonly), TIERS(test_smap), TIERS(test_watch),
		TIERS(test_over), TIERS(test_align), TIERS(test_hole), TIERS(test_user),
		TIERS(test_stack),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
