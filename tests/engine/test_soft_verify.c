/* SPDX-License-Identifier: MIT */
/*
 * The lockstep mode: it finds translations that are wrong (planted: another
 * opcode is emitted), names the place, and lets right ones pass, with faults,
 * device accesses, stores into code and undefined flags in the middle.
 */
#include "softsys.h"
#include <stdlib.h>

static struct svm t;

static void begin(const char *plant)
{
	struct err e = { 0 };

	if (plant)
		setenv("HV_TEST_PLANT", plant, 1);
	else
		unsetenv("HV_TEST_PLANT");
	memset(&t, 0, sizeof(t));
	t.vm = tvm_new(4 << 20);
	t.vm->soft.verify = true;
	assert_true(vm_set_engine(t.vm, &soft_cpu_ops, 1, &e));
	t.v = t.vm->cpus[0];
}

/* A loop over memory, with a call: every register, flag and byte of it counts. */
CODE(program, "64",
     "mov $40, %ecx\n mov $0x20000, %ebx\n mov $7, %edx\n xor %eax, %eax\n"
     "1: add %edx, %eax\n adc %ecx, %edx\n mov %eax, (%rbx)\n sub %ecx, 8(%rbx)\n"
     "lea 4(%rbx), %rbx\n call 2f\n xchg %eax, %edx\n test $3, %al\n setp %sil\n"
     "cmovz %rdx, %r9\n dec %ecx\n jnz 1b\n hlt\n"
     "2: push %rdx\n shl $3, %rax\n pop %rdx\n imul %rdx, %rax\n and $0x7f, %r9d\n ret");

static enum vcpu_exit run_program(void)
{
	svm_start(&t, 64);
	LOAD(&t, program);
	return svm_run(&t);
}

static void test_right(void **state)
{
	begin(NULL);
	assert_int_equal(run_program(), EXIT_HLT);
	svm_free(&t);
}

/* Wrong arithmetic, flags, registers, memory: opcode that is meant, opcode that is emitted. */
static void test_planted(void **state)
{
	static const char *const plants[] = {
		"01,29",	/* add: sub */
		"11,01",	/* adc: add */
		"29,2b",	/* sub to memory: from memory */
		"89,01",	/* mov to memory: add to memory */
		"87,89",	/* xchg: mov */
		"190,191",	/* set a condition: the opposite (rows add the condition) */
		"1af,1bd",	/* imul: bsr */
	};

	for (unsigned i = 0; i < ARRAY_SIZE(plants); i++) {
		begin(plants[i]);
		if (run_program() != EXIT_FAIL)
			fail_msg("%s was not found", plants[i]);
		assert_non_null(strstr(t.v->fail, "differs from the interpreter"));
		svm_free(&t);
	}
	unsetenv("HV_TEST_PLANT");
}

/* A page fault in the middle of a block, after half of its stores; the handler is a HLT. */
CODE(faulting, "64",
     "mov $0x20000, %ebx\n mov $3, %ecx\n"
     "1: mov %rcx, (%rbx)\n add $9, %rax\n mov %rax, 8(%rbx)\n sub $5, %rdx\n"
     "dec %ecx\n jnz 1b\n mov %rax, 16(%rbx)\n cmp $1, %rdx\n mov %rax, 0x600000000000\n"
     "mov %rax, 24(%rbx)\n hlt");

static void test_fault(void **state)
{
	struct frame f;

	begin(NULL);
	sys_start(&t, 64, 0);
	LOAD(&t, faulting);
	f = sys_run(&t);
	assert_int_equal(f.vec, EXC_PF);
	assert_int_equal(sys_get(&t, SVM_DATA + 16, 8), 27);
	assert_int_equal(sys_get(&t, SVM_DATA + 24, 8), 0);
	assert_int_equal(f.flags & FL_ARITH, FL_SF | FL_PF);
	svm_free(&t);
}

/* A block that stores into its own next instruction, and into a later block. */
CODE(patching, "64",
     "mov $5, %ecx\n xor %eax, %eax\n"
     "1: movb %cl, 2f+1(%rip)\n nop\n 2: mov $99, %dl\n movzbl %dl, %edx\n add %edx, %eax\n"
     "movb %cl, 3f+1(%rip)\n jmp 3f\n 3: mov $99, %dl\n movzbl %dl, %edx\n add %edx, %eax\n"
     "dec %ecx\n jnz 1b\n hlt");

static void test_patching(void **state)
{
	begin(NULL);
	svm_start(&t, 64);
	LOAD(&t, patching);
	assert_int_equal(svm_run(&t), EXIT_HLT);
	assert_int_equal(t.st.gpr[R_RAX], 2 * (5 + 4 + 3 + 2 + 1));
	svm_free(&t);
}

/* Unmapped physical memory (all-ones, nobody listens) counts as a device. */
CODE(device, "64",
     "mov $6, %ecx\n mov $0x20000000, %ebx\n mov $0x20000, %esi\n"
     "1: add $3, %rdi\n mov %rdi, (%rsi)\n mov (%rbx), %eax\n add %rax, %rdi\n"
     "mov %edi, (%rbx)\n add %rdi, 8(%rsi)\n dec %ecx\n jnz 1b\n hlt");

static void test_device(void **state)
{
	uint64_t rdi = 0, sum = 0;

	begin(NULL);
	svm_start(&t, 64);
	LOAD(&t, device);
	sys_put(&t, SVM_DATA + 8, 0, 8);
	assert_int_equal(svm_run(&t), EXIT_HLT);
	for (unsigned i = 0; i < 6; i++) {
		rdi += 3 + 0xffffffffull;
		sum += rdi;
	}
	assert_true(t.st.gpr[R_RDI] == rdi);
	assert_true(sys_get(&t, SVM_DATA + 8, 8) == sum);
	svm_free(&t);
}

/* Flags left undefined and then pushed, across blocks: no difference to be believed. */
CODE(undefined, "64",
     "mov $50, %ecx\n xor %ebx, %ebx\n"
     "1: imul %rcx, %rbx\n and $0xff, %ebx\n jmp 2f\n 2: pushf\n pop %rax\n add %ecx, %ebx\n"
     "shl %cl, %rbx\n pushf\n pop %rax\n and $0x8c1, %eax\n bsf %rcx, %rdx\n lahf\n"
     "dec %ecx\n jnz 1b\n hlt");

static void test_undefined(void **state)
{
	begin(NULL);
	svm_start(&t, 64);
	LOAD(&t, undefined);
	assert_int_equal(svm_run(&t), EXIT_HLT);
	svm_free(&t);
}

/* The stack is read after CLAC where it was written before, and written once more. */
CODE(clac, "64",
     "mov $60, %ecx\n xor %ebx, %ebx\n"
     "1: stac\n push %rcx\n mov (%rsp), %rdx\n pop %rdx\n clac\n push %rcx\n"
     "mov (%rsp), %rdx\n add %rdx, %rbx\n mov %rbx, (%rsp)\n stac\n mov (%rsp), %rdx\n"
     "mov %rcx, (%rsp)\n clac\n pop %rax\n dec %ecx\n jnz 1b\n hlt");

static void test_clac(void **state)
{
	begin(NULL);
	svm_start(&t, 64);
	for (unsigned i = 0; i < 16; i++)	/* no user pages there */
		sys_put(&t, 0x3000 + 8 * i, i << 21 | 0x83, 8);
	t.st.cr4 |= CR4_SMAP;
	LOAD(&t, clac);
	assert_int_equal(svm_run(&t), EXIT_HLT);
	assert_int_equal(t.st.gpr[R_RBX], 60 * 61 / 2);
	svm_free(&t);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_right), cmocka_unit_test(test_planted),
		cmocka_unit_test(test_fault), cmocka_unit_test(test_patching),
		cmocka_unit_test(test_device), cmocka_unit_test(test_undefined),
		cmocka_unit_test(test_clac),
	};

	unsetenv("HV_JIT");
	return cmocka_run_group_tests(tests, NULL, NULL);
}
