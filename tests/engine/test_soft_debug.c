/* SPDX-License-Identifier: MIT */
/*
 * Single step and breakpoints of the software CPU, debug registers (Intel SDM
 * vol. 3 ch. 17).
 */
#include "softsys.h"

SVM_EACH_TEST(t)

static void check(struct frame f, int vec, uint64_t ip, const char *what)
{
	if (f.vec != vec || f.ip != ip)
		fail_msg("%s: vector %d at %#llx, expected %d at %#llx", what, f.vec,
			 (unsigned long long)f.ip, vec, (unsigned long long)ip);
}

#define STEP(what, vec, ip) check(sys_run(&t), vec, ip, what)

/* ---- single step ---- */
static void step(unsigned bits, const uint8_t *code, size_t n, uint64_t ip, uint32_t dr6)
{
	struct frame f;

	svm_code(&t, code, n);
	t.st.dr[6] = DR6_FIXED;
	f = sys_run(&t);
	check(f, EXC_DB, ip, "step");
	assert_int_equal(t.st.dr[6], DR6_FIXED | dr6);
	assert_int_equal(f.flags & FL_RF, 0);
}
#define STEPS(ip, dr6, ...) do { \
	static const uint8_t c_[] = { __VA_ARGS__, 0xf4 }; \
	step(64, c_, sizeof(c_), ip, dr6); } while (0)

static void tf(void)
{
	sys_start(&t, 64, 0);
	t.st.rflags |= FL_TF;
}

static void test_single_step(void **state)
{
	struct frame f;

	tf();
	STEPS(SVM_CODE + 1, DR6_BS, 0x90);
	tf();
	STEPS(SVM_CODE + 0x12, DR6_BS, 0xeb, 0x10);
	tf();
	STEPS(SVM_CODE + 1, DR6_BS, 0xf4);		/* HLT: the trap wakes */
	tf();
	t.st.gpr[R_RAX] = KDS;
	STEPS(SVM_CODE + 3, DR6_BS, 0x8e, 0xd0, 0x90);	/* over MOV SS */
	tf();
	t.st.gpr[R_RCX] = 3;
	t.st.gpr[R_RDI] = SVM_DATA;
	STEPS(SVM_CODE, DR6_BS, 0xf3, 0xaa);		/* each iteration */
	assert_int_equal(t.st.gpr[R_RCX], 2);
	tf();
	t.st.gpr[R_RCX] = 1;
	t.st.gpr[R_RDI] = SVM_DATA;
	STEPS(SVM_CODE + 2, DR6_BS, 0xf3, 0xaa);
	tf();
	SYS_CODE(&t, 0xcd, 0x40);			/* no trap behind INT n */
	f = sys_run(&t);
	check(f, 0x40, SVM_CODE + 2, "INT n");
	assert_int_equal(f.flags, 2 | FL_TF);
	assert_int_equal(t.st.rflags & FL_TF, 0);
	tf();
	SYS_CODE(&t, 0x0f, 0x0b);			/* a fault instead of the trap */
	STEP("ud2", EXC_UD, SVM_CODE);
	sys_start(&t, 64, 0);				/* POPF: after the next instruction */
	sys_put(&t, SVM_STACK, 2 | FL_TF, 8);
	STEPS(SVM_CODE + 2, DR6_BS, 0x9d, 0x90, 0x90);
	tf();						/* POPF that clears TF still traps */
	sys_put(&t, SVM_STACK, 2, 8);
	STEPS(SVM_CODE + 1, DR6_BS, 0x9d, 0x90, 0x90);
	sys_start(&t, 64, 0);				/* IRET likewise */
	sys_put(&t, SVM_STACK, SVM_CODE + 4, 8);
	sys_put(&t, SVM_STACK + 8, K64, 8);
	sys_put(&t, SVM_STACK + 16, 2 | FL_TF, 8);
	sys_put(&t, SVM_STACK + 24, SVM_STACK, 8);
	sys_put(&t, SVM_STACK + 32, KDS, 8);
	STEPS(SVM_CODE + 5, DR6_BS, 0x48, 0xcf, 0x90, 0x90, 0x90, 0x90);
}

static void syscall_msrs(void)
{
	t.st.efer |= EFER_SCE;
	t.st.star = (uint64_t)0x1b << 48 | (uint64_t)K32 << 32;
	t.st.lstar = SVM_CODE + 0x80;
	t.st.sfmask = 0;
}

/* SYSCALL and SYSRET: by the TF that they load. */
static void test_step_syscall(void **state)
{
	sys_start(&t, 64, 3);
	syscall_msrs();
	t.st.rflags |= FL_TF;
	STEPS(SVM_CODE + 0x80, DR6_BS, 0x0f, 0x05);
	sys_start(&t, 64, 3);
	syscall_msrs();
	t.st.rflags |= FL_TF;
	t.st.sfmask = FL_TF;
	sys_put(&t, SVM_CODE + 0x80, 0xf4, 1);
	SYS_CODE(&t, 0x0f, 0x05);
	assert_int_equal(sys_run(&t).vec, -1);
	assert_int_equal(t.st.gpr[R_R11], 2 | FL_TF);
	sys_start(&t, 64, 0);
	syscall_msrs();
	t.st.gpr[R_R11] = 2 | FL_TF;
	t.st.gpr[R_RCX] = SVM_CODE + 0x40;
	STEPS(SVM_CODE + 0x40, DR6_BS, 0x48, 0x0f, 0x07);
}

/* ---- breakpoints ---- */
static void bp(unsigned n, uint64_t at, unsigned rw, unsigned len)
{
	t.st.dr[n] = at;
	t.st.dr[7] |= 0x400 | 2u << 2 * n | rw << (16 + 4 * n) | len << (18 + 4 * n);
}

static void test_code_bp(void **state)
{
	struct frame f;

	for (unsigned n = 0; n < 4; n++) {
		sys_start(&t, 64, 0);
		bp(n, SVM_CODE + 2, 0, 0);
		STEPS(SVM_CODE + 2, 1u << n, 0x90, 0x90, 0x90, 0x90);
		t.st.rip = SVM_CODE + 2;		/* with RF it runs */
		t.st.rflags |= FL_RF;
		t.st.gpr[R_RSP] = SVM_STACK;
		f = sys_run(&t);
		assert_int_equal(f.vec, -1);
		assert_int_equal(t.st.rip, SVM_CODE + 5);
		assert_int_equal(t.st.rflags & FL_RF, 0);
	}
	sys_start(&t, 64, 0);		/* IRET with RF, the image that #DB handlers make */
	bp(0, SVM_CODE + 4, 0, 0);
	sys_put(&t, SVM_STACK, SVM_CODE + 4, 8);
	sys_put(&t, SVM_STACK + 8, K64, 8);
	sys_put(&t, SVM_STACK + 16, 2 | FL_RF, 8);
	sys_put(&t, SVM_STACK + 24, SVM_STACK, 8);
	sys_put(&t, SVM_STACK + 32, KDS, 8);
	SYS_CODE(&t, 0x48, 0xcf, 0x90, 0x90, 0x90, 0xeb, 0xfd);	/* 4: nop; jmp 4b */
	f = sys_run(&t);
	check(f, EXC_DB, SVM_CODE + 4, "second time round");
	sys_start(&t, 64, 0);		/* behind MOV SS it is lost */
	bp(0, SVM_CODE + 2, 0, 0);
	t.st.gpr[R_RAX] = KDS;
	SYS_CODE(&t, 0x8e, 0xd0, 0x90, 0xf4);
	assert_int_equal(sys_run(&t).vec, -1);
	sys_start(&t, 64, 0);		/* a MOV SS long ago does not matter */
	t.st.gpr[R_RAX] = KDS;
	t.st.gpr[R_RBX] = 0x402;
	t.st.dr[0] = SVM_CODE + 7;
	SYS_CODE(&t, 0x8e, 0xd0, 0x90, 0x90, 0x0f, 0x23, 0xfb, 0x90, 0xf4);	/* mov dr7, rbx */
	STEP("old MOV SS", EXC_DB, SVM_CODE + 7);
	sys_start(&t, 32, 0);		/* linear addresses */
	t.st.seg[SEG_CS].base = 0x1000;
	t.st.rip = SVM_CODE - 0x1000;
	bp(1, SVM_CODE + 1, 0, 0);
	SYS_CODE(&t, 0x90, 0x90, 0xf4);
	STEP("base", EXC_DB, SVM_CODE + 1 - 0x1000);
}

static void test_data_bp(void **state)
{
	for (unsigned i = 0; i < 64; i++) {
		unsigned rw = i & 1 ? 3 : 1, len = i >> 1 & 3, n = len == 2 ? 8 : len + 1;
		unsigned off = i >> 3;		/* of the byte accessed from SVM_DATA */
		bool hit = off >= 8 - n || n == 8;
		struct frame f;

		sys_start(&t, 64, 0);
		bp(2, SVM_DATA + 8 - n, rw, len);
		t.st.gpr[R_RBX] = SVM_DATA + off;
		SYS_CODE(&t, 0x88, 0x03, 0x90, 0xf4);		/* mov [rbx], al */
		f = sys_run(&t);
		assert_int_equal(f.vec, hit ? EXC_DB : -1);
		if (hit)
			check(f, EXC_DB, SVM_CODE + 2, "store");
		sys_start(&t, 64, 0);
		bp(2, SVM_DATA + 8 - n, rw, len);
		t.st.gpr[R_RBX] = SVM_DATA + off;
		SYS_CODE(&t, 0x8a, 0x03, 0x90, 0xf4);		/* mov al, [rbx] */
		f = sys_run(&t);
		assert_int_equal(f.vec, hit && rw == 3 ? EXC_DB : -1);
	}
	sys_start(&t, 64, 0);		/* over a border, and the shadow of MOV SS */
	bp(0, SVM_DATA + 4, 3, 0);
	t.st.gpr[R_RBX] = SVM_DATA + 1;
	STEPS(SVM_CODE + 3, 1, 0x48, 0x8b, 0x03, 0x90);
	sys_start(&t, 64, 0);
	bp(0, SVM_DATA, 3, 0);
	t.st.gpr[R_RBX] = SVM_DATA;
	sys_put(&t, SVM_DATA, KDS, 2);
	STEPS(SVM_CODE + 3, 1, 0x8e, 0x13, 0x90, 0x90);		/* mov ss, [rbx]; nop */
	sys_start(&t, 64, 0);		/* MOVS hits in its second element */
	bp(0, SVM_DATA + 1, 1, 0);
	t.st.gpr[R_RCX] = 5;
	t.st.gpr[R_RSI] = SVM_DATA + 0x100;
	t.st.gpr[R_RDI] = SVM_DATA;
	STEPS(SVM_CODE, 1, 0xf3, 0xa4);
	assert_int_equal(t.st.gpr[R_RCX], 3);
	sys_start(&t, 64, 0);		/* PUSH */
	bp(3, SVM_STACK - 8, 1, 2);
	STEPS(SVM_CODE + 1, 8, 0x50, 0x90);
}

static void test_other_debug(void **state)
{
	struct frame f;

	sys_start(&t, 64, 0);		/* I/O breakpoint */
	bp(0, 0x80, 2, 0);
	t.st.cr4 |= CR4_DE;
	STEPS(SVM_CODE + 2, 1, 0xe6, 0x80, 0x90);
	sys_start(&t, 64, 0);
	bp(0, 0x81, 2, 0);
	t.st.cr4 |= CR4_DE;
	SYS_CODE(&t, 0xe6, 0x80, 0xf4);
	assert_int_equal(sys_run(&t).vec, -1);
	sys_start(&t, 64, 0);		/* DR7.GD: a fault, GD is clear in the handler */
	t.st.dr[7] = 0x2400;
	SYS_CODE(&t, 0x0f, 0x21, 0xc0);
	f = sys_run(&t);
	check(f, EXC_DB, SVM_CODE, "GD");
	assert_int_equal(t.st.dr[6], DR6_FIXED | DR6_BD);
	assert_int_equal(t.st.dr[7], 0x400);
	sys_start(&t, 64, 3);		/* ICEBP: whatever the gate's DPL, no bit in DR6 */
	sys_gate(&t, SYS_IDT, EXC_DB, 16, 0x8e, K64, SYS_HAND + 16 * EXC_DB, 0);
	SYS_CODE(&t, 0xf1);
	f = sys_run(&t);
	check(f, EXC_DB, SVM_CODE + 1, "int1");
	assert_int_equal(t.st.dr[6], DR6_FIXED);
	sys_start(&t, 64, 3);
	sys_gate(&t, SYS_IDT, EXC_BP, 16, 0x8e, K64, SYS_HAND + 16 * EXC_BP, 0);
	SYS_CODE(&t, 0xcc);
	f = sys_run(&t);
	check(f, EXC_GP, SVM_CODE, "int3");
	assert_int_equal(f.err, 3 << 3 | 2);
	sys_start(&t, 64, 0);		/* DR4 with CR4.DE; upper half of DR7 */
	t.st.cr4 |= CR4_DE;
	SYS_CODE(&t, 0x0f, 0x21, 0xe0);
	STEP("DR4", EXC_UD, SVM_CODE);
	sys_start(&t, 64, 0);
	t.st.gpr[R_RAX] = 1ull << 32;
	SYS_CODE(&t, 0x0f, 0x23, 0xf8);
	STEP("DR7", EXC_GP, SVM_CODE);
	sys_start(&t, 64, 0);
	t.st.gpr[R_RAX] = 0xffffd7ff;
	SYS_CODE(&t, 0x0f, 0x23, 0xf8, 0xf4);
	(void)sys_run(&t);
	assert_int_equal(t.st.dr[7] & 0xdc00, 0x400);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_single_step, setup, teardown),
		cmocka_unit_test_setup_teardown(test_step_syscall, setup, teardown),
		cmocka_unit_test_setup_teardown(test_code_bp, setup, teardown),
		cmocka_unit_test_setup_teardown(test_data_bp, setup, teardown),
		cmocka_unit_test_setup_teardown(test_other_debug, setup, teardown),
	};

	return cmocka_run_group_tests_name("soft-debug", tests, NULL, NULL);
}
