/* SPDX-License-Identifier: MIT */
/*
 * Fast system calls of the software CPU, SWAPGS and the FS and GS bases, and
 * instructions that need a level or a mode (Intel SDM vol. 2; AMD APM vol. 2
 * ch. 6, vol. 3).
 */
#include "softsys.h"

SVM_EACH_TEST(t)

static void check(struct frame f, int vec, const char *what)
{
	if (f.vec != vec || (vec == EXC_GP && f.err))
		fail_msg("%s: vector %d code %#x at %#llx, expected %d", what, f.vec, f.err,
			 (unsigned long long)f.ip, vec);
}

/* ---- system calls ---------------------------------------- */
static void start_syscall(unsigned cpl, bool compat)
{
	sys_start(&t, 64, cpl);
	if (compat)
		sys_segs(&t, cpl ? U32 : K32, cpl ? UDS : KDS);
	t.st.efer |= EFER_SCE;
	t.st.star = (uint64_t)0x1b << 48 | (uint64_t)K32 << 32;
	t.st.lstar = SVM_CODE + 0x80;
	t.st.cstar = SVM_CODE + 0x90;
	t.st.sfmask = FL_IF | FL_DF | FL_CF;
	sys_put(&t, SVM_CODE + 0x80, 0xf4, 1);
	sys_put(&t, SVM_CODE + 0x90, 0xf4, 1);
}

static void check_seg(unsigned seg, uint16_t sel, uint32_t attr)
{
	assert_int_equal(t.st.seg[seg].sel, sel);
	assert_int_equal(t.st.seg[seg].base, 0);
	assert_int_equal(t.st.seg[seg].limit, 0xffffffff);
	assert_int_equal(t.st.seg[seg].attr, attr);
}

static void test_syscall(void **state)
{
	struct frame f;

	for (unsigned compat = 0; compat < 2; compat++) {
		start_syscall(3, compat);
		t.st.rflags |= FL_CF | FL_ZF | FL_DF | FL_AC | FL_IF;
		SYS_CODE(&t, 0x0f, 0x05);
		check(sys_run(&t), -1, "syscall");
		assert_int_equal(t.st.rip, SVM_CODE + (compat ? 0x91 : 0x81));
		assert_int_equal(t.st.gpr[R_RCX], SVM_CODE + 2);
		assert_int_equal(t.st.gpr[R_R11], 2 | FL_CF | FL_ZF | FL_DF | FL_AC | FL_IF);
		assert_int_equal(t.st.rflags, 2 | FL_ZF | FL_AC);
		check_seg(SEG_CS, K32, 0xa09b);
		check_seg(SEG_SS, KDS, 0xc093);
		start_syscall(0, false);
		t.st.gpr[R_RCX] = SVM_CODE + 0x10;
		t.st.gpr[R_R11] = ~0ull & ~(uint64_t)FL_TF;
		if (compat)
			SYS_CODE(&t, 0x0f, 0x07);
		else
			SYS_CODE(&t, 0x48, 0x0f, 0x07);
		sys_put(&t, SVM_CODE + 0x10, 0x80cd, 2);
		f = sys_run(&t);
		check(f, 0x80, "sysret");
		assert_int_equal(f.cs, compat ? 0x1b : 0x2b);
		assert_int_equal(f.ss, 0x23);
		assert_int_equal(f.flags, 0x3c7fd7 & ~FL_TF);
	}
	start_syscall(3, false);
	t.st.efer &= ~EFER_SCE;
	SYS_CODE(&t, 0x0f, 0x05);
	check(sys_run(&t), EXC_UD, "no SCE");
	start_syscall(3, false);
	SYS_CODE(&t, 0x48, 0x0f, 0x07);
	check(sys_run(&t), EXC_GP, "sysret at CPL 3");
}

static void test_sysenter(void **state)
{
	struct frame f;

	for (unsigned i = 0; i < 4; i++) {
		bool lm = i & 1, back64 = i & 2 && lm;

		sys_start(&t, lm ? 64 : 32, 3);
		t.st.sysenter_cs = K32 | 3;
		t.st.sysenter_eip = SVM_CODE + 0x80;
		t.st.sysenter_esp = SYS_STACK0;
		t.st.rflags |= FL_IF | FL_CF;
		SYS_CODE(&t, 0x0f, 0x34);
		sys_put(&t, SVM_CODE + 0x80, 0xf4, 1);
		check(sys_run(&t), -1, "sysenter");
		assert_int_equal(t.st.rip, SVM_CODE + 0x81);
		assert_int_equal(t.st.gpr[R_RSP], SYS_STACK0);
		assert_int_equal(t.st.rflags, 2 | FL_CF);
		check_seg(SEG_CS, K32, lm ? 0xa09b : 0xc09b);
		check_seg(SEG_SS, KDS, 0xc093);
		sys_start(&t, lm ? 64 : 32, 0);
		t.st.sysenter_cs = K32;
		t.st.gpr[R_RCX] = SVM_STACK;
		t.st.gpr[R_RDX] = SVM_CODE + 0x10;
		if (back64)
			SYS_CODE(&t, 0x48, 0x0f, 0x35);
		else
			SYS_CODE(&t, 0x0f, 0x35);
		sys_put(&t, SVM_CODE + 0x10, 0x80cd, 2);
		f = sys_run(&t);
		check(f, 0x80, "sysexit");
		assert_int_equal(f.cs, back64 ? K32 + 32 + 3 : K32 + 16 + 3);
		assert_int_equal(f.ss, back64 ? K32 + 40 + 3 : K32 + 24 + 3);
		assert_int_equal(f.sp, SVM_STACK);
	}
	sys_start(&t, 64, 3);
	t.st.sysenter_cs = 3;
	SYS_CODE(&t, 0x0f, 0x34);
	check(sys_run(&t), EXC_GP, "no CS");
	sys_start(&t, 64, 0);
	t.st.sysenter_cs = K32;
	t.st.gpr[R_RDX] = 1ull << 47;
	SYS_CODE(&t, 0x48, 0x0f, 0x35);
	check(sys_run(&t), EXC_GP, "canonical");
}

static void test_gs(void **state)
{
	sys_start(&t, 64, 0);
	t.st.seg[SEG_GS].base = 0x1111;
	t.st.kernel_gs_base = 0xffff888000000000;
	SYS_CODE(&t, 0x0f, 0x01, 0xf8, 0xf4);
	check(sys_run(&t), -1, "swapgs");
	assert_true(t.st.seg[SEG_GS].base == 0xffff888000000000 && t.st.kernel_gs_base == 0x1111);
	sys_start(&t, 64, 3);
	check(sys_run(&t), EXC_GP, "swapgs at CPL 3");
	sys_start(&t, 32, 0);
	check(sys_run(&t), EXC_UD, "swapgs outside 64-bit mode");
	sys_start(&t, 64, 3);
	t.st.cr4 |= CR4_FSGSBASE;
	t.st.gpr[R_RAX] = 0x123456789a;
	/* wrfsbase rax; wrgsbase eax; rdfsbase rbx; rdgsbase rcx; int 80h */
	SYS_CODE(&t, 0xf3, 0x48, 0x0f, 0xae, 0xd0, 0xf3, 0x0f, 0xae, 0xd8, 0xf3, 0x48, 0x0f, 0xae,
		 0xc3,
		 0xf3, 0x48, 0x0f, 0xae, 0xc9, 0xcd, 0x80);
	check(sys_run(&t), 0x80, "fsgsbase");
	assert_true(t.st.gpr[R_RBX] == 0x123456789a && t.st.gpr[R_RCX] == 0x3456789a);
	sys_start(&t, 64, 3);
	check(sys_run(&t), EXC_UD, "no CR4.FSGSBASE");
	sys_start(&t, 64, 3);
	t.st.cr4 |= CR4_FSGSBASE;
	t.st.gpr[R_RAX] = 1ull << 47;
	check(sys_run(&t), EXC_GP, "canonical");
}

/* ---- instructions that need a level or a mode ------------ */
static void test_privileged(void **state)
{
	static const uint8_t codes[][4] = {
		{ 0x0f, 0x06 }, { 0x0f, 0x08 }, { 0x0f, 0x09 }, { 0x0f, 0x30 }, { 0x0f, 0x32 },
		{ 0x0f, 0x00, 0xd0 }, { 0x0f, 0x00, 0xd8 }, { 0x0f, 0x01, 0x16 }, { 0x0f, 0x01,
			0x1e },
		{ 0x0f, 0x01, 0xf0 }, { 0x0f, 0x01, 0x3e }, { 0x0f, 0x20, 0xc0 }, { 0x0f, 0x21,
			0xc0 },
		{ 0x0f, 0x23, 0xc0 }, { 0x0f, 0x35 }, { 0xf4 }, { 0xfa }, { 0xfb }, { 0xec },
			{ 0xee },
	};
	static const uint8_t not_real[][4] = {
		{ 0x0f, 0x00, 0xc0 }, { 0x0f, 0x00, 0xc8 }, { 0x0f, 0x00, 0xd0 }, { 0x0f, 0x00,
			0xd8 },
		{ 0x0f, 0x00, 0xe0 }, { 0x0f, 0x00, 0xe8 }, { 0x0f, 0x02, 0xc0 }, { 0x0f, 0x03,
			0xc0 },
		{ 0x63, 0xc0 },
	};

	for (unsigned i = 0; i < ARRAY_SIZE(codes); i++) {
		sys_start(&t, 64, 3);
		sys_put(&t, SYS_TSS + 0x66, 0xffff, 2);
		svm_code(&t, codes[i], 4);
		check(sys_run(&t), EXC_GP, "privileged");
	}
	for (unsigned i = 0; i < ARRAY_SIZE(not_real); i++) {
		sys_start(&t, 16, 0);
		svm_code(&t, not_real[i], 4);
		check(sys_run(&t), EXC_UD, "real mode");
		sys_start(&t, V86, 0);
		svm_code(&t, not_real[i], 4);
		check(sys_run(&t), EXC_UD, "virtual-8086 mode");
	}
	sys_start(&t, 64, 3);		/* TSD */
	t.st.cr4 |= CR4_TSD;
	SYS_CODE(&t, 0x0f, 0x31);
	check(sys_run(&t), EXC_GP, "rdtsc");
	for (unsigned type = 0; type < 6; type++)
		for (unsigned b = 0; b < 64; b += 3) {
			bool bad = type > 3 || b >= 12 || type < 2;

			sys_start(&t, 64, 0);
			t.st.gpr[R_RAX] = type;
			t.st.gpr[R_RBX] = SVM_DATA;
			sys_put(&t, SVM_DATA, 1ull << b, 8);
			sys_put(&t, SVM_DATA + 8, 0, 8);
			SYS_CODE(&t, 0x66, 0x0f, 0x38, 0x82, 0x03, 0xf4);
			check(sys_run(&t), bad ? EXC_GP : -1, "invpcid");
		}
}

/* LTR, LLDT: types, and 16-byte descriptors in long mode. */
static void test_ltr(void **state)
{
	for (unsigned n = 0; n < 128; n++) {
		unsigned type = n & 15, ltr = n & 16 ? 1 : 0;
		bool lm = n & 32, present = n & 64;
		bool ok = ltr ? type == 9 || (type == 1 && !lm) : type == 2;
		const uint8_t code[] = { 0x0f, 0x00, (uint8_t)(0xd0 | ltr << 3), 0xf4 };
		struct frame f;

		sys_start(&t, lm ? 64 : 32, 0);
		sys_put(&t, SYS_GDT + FREE, sys_desc(0x7800, 0x67, type | (present ? 0x80 : 0)), 8);
		sys_put(&t, SYS_GDT + FREE + 8, 0xffff8880, 8);
		t.st.gpr[R_RAX] = FREE;
		svm_code(&t, code, sizeof(code));
		f = sys_run(&t);
		assert_int_equal(f.vec, !ok ? EXC_GP : present ? -1 : EXC_NP);
		if (f.vec >= 0) {
			assert_int_equal(f.err, FREE);
			continue;
		}
		assert_true((ltr ? t.st.tr.base : t.st.ldt.base) == (lm ? 0xffff888000007800 :
			0x7800));
		assert_int_equal(sys_get(&t, SYS_GDT + FREE + 5, 1) & 15, ltr ? type | 2 : type);
		if (!lm)
			continue;
		for (unsigned i = 0; i < 2; i++) {	/* upper type; base not canonical */
			sys_start(&t, 64, 0);
			sys_put(&t, SYS_GDT + FREE, sys_desc(0x7800, 0x67, type | 0x80), 8);
			sys_put(&t, SYS_GDT + FREE + 8, i ? 0x8000 : 0x20000000000, 8);
			t.st.gpr[R_RAX] = FREE;
			f = sys_run(&t);
			assert_int_equal(f.vec, EXC_GP);
			assert_int_equal(f.err, FREE);
		}
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_syscall, setup, teardown),
		cmocka_unit_test_setup_teardown(test_sysenter, setup, teardown),
		cmocka_unit_test_setup_teardown(test_gs, setup, teardown),
		cmocka_unit_test_setup_teardown(test_privileged, setup, teardown),
		cmocka_unit_test_setup_teardown(test_ltr, setup, teardown),
	};

	return cmocka_run_group_tests_name("soft-syscall", tests, NULL, NULL);
}
