/* SPDX-License-Identifier: MIT */
/*
 * Hardware task switches of the software CPU, and the I/O permissions in a
 * TSS (Intel SDM vol. 3 ch. 8; vol. 1 ch. 19.5).
 */
#include "softsys.h"

SVM_EACH_TEST(t)

static void check(struct frame f, int vec, uint32_t err, const char *what)
{
	if (f.vec != vec || (sys_has_code(vec) && f.err != err))
		fail_msg("%s: vector %d code %#x at %#llx, expected %d code %#x", what, f.vec,
			 f.err,
			 (unsigned long long)f.ip, vec, err);
}

static void gdt(unsigned sel, uint64_t d)
{
	sys_put(&t, SYS_GDT + (sel & ~7u), d, 8);
}

/* ---- task switches --------------------------------------- */
#define NEW_TSS (FREE + 8)
#define NEW_BASE 0x7800u

/* A task at NEW_BASE that runs SVM_CODE + 0x100 at CPL 0. */
static void put_task(bool wide)
{
	unsigned n = wide ? 4 : 2, at = NEW_BASE + (wide ? 0x20 : 0x0e);

	for (unsigned i = 0; i < 0x68; i += 4)
		sys_put(&t, NEW_BASE + i, 0, 4);
	gdt(NEW_TSS, sys_desc(NEW_BASE, wide ? 0x67 : 0x2b, wide ? 0x89 : 0x81));
	gdt(FREE + 16, sys_desc(SVM_CODE, 0xffff, 0x409b));
	sys_put(&t, at, wide ? SVM_CODE + 0x100 : 0x100, n);
	sys_put(&t, at + n, 2 | FL_CF, n);
	for (unsigned i = 0; i < 8; i++)
		sys_put(&t, at + (2 + i) * n, 0x1000 + i, n);
	sys_put(&t, at + (2 + R_RSP) * n, 0xe000, n);
	for (unsigned i = 0; i < (wide ? 6 : 4); i++)
		sys_put(&t, at + (10 + i) * n, i == SEG_CS ? (wide ? K32 : FREE + 16) : KDS, 2);
	sys_put(&t, SVM_CODE + 0x100, 0xf4, 1);
}

static uint8_t tss_type(unsigned sel)
{
	return (uint8_t)sys_get(&t, SYS_GDT + sel + 5, 1);
}

static void test_task(void **state)
{
	for (unsigned i = 0; i < 16; i++) {
		bool wide = i & 1, call = i & 2, gate = i & 4, intr = i & 8;
		uint16_t sel = gate ? FREE : NEW_TSS;
		const uint8_t code[] = { call ? 0x9a : 0xea, 0, 0, 0, 0, (uint8_t)sel, 0, 0xf4 };
		bool nested = call || intr;

		sys_start(&t, 32, 0);
		put_task(wide);
		sys_gate(&t, SYS_GDT, FREE / 8, 8, 0x85, NEW_TSS, 0, 0);
		sys_gate(&t, SYS_IDT, 0x40, 8, 0x85, NEW_TSS, 0, 0);
		t.st.gpr[R_RBX] = 0x12345678;
		t.st.rflags |= FL_NT | FL_ZF;
		t.st.dr[7] = 0x7ff;
		if (intr)
			SYS_CODE(&t, 0xcd, 0x40, 0xf4);
		else
			svm_code(&t, code, sizeof(code));
		assert_int_equal(sys_run(&t).vec, -1);
		assert_int_equal(t.st.tr.sel, NEW_TSS);
		assert_int_equal(tss_type(NEW_TSS), wide ? 0x8b : 0x83);
		assert_int_equal(tss_type(TSS), nested ? 0x8b : 0x89);
		assert_int_equal(sys_get(&t, NEW_BASE, 2), nested ? TSS : 0);
		assert_int_equal(t.st.rflags, 2 | FL_CF | (nested ? FL_NT : 0));
		assert_true(t.st.cr0 & CR0_TS);
		assert_int_equal(t.st.dr[7] & 0x3ff, 0x2aa);
		assert_int_equal(t.st.gpr[R_RBX] & 0xffff, 0x1003);
		assert_int_equal(t.st.gpr[R_RSP] & 0xffff, 0xe000);
		assert_int_equal(t.st.rip, (wide ? SVM_CODE : 0) + 0x101);
		assert_int_equal(sys_get(&t, SYS_TSS + 0x20, 4), SVM_CODE + (intr ? 2 : 7));
		assert_int_equal(sys_get(&t, SYS_TSS + 0x24, 4), 2 | FL_NT | FL_ZF);
		assert_int_equal(sys_get(&t, SYS_TSS + 0x34, 4), 0x12345678);
		assert_int_equal(sys_get(&t, SYS_TSS + 0x4c, 2), K32);
		if (!nested)
			continue;
		/* IRET leads back */
		sys_put(&t, SVM_CODE + 0x101, 0xcf, 1);
		t.st.dr[7] = 0x400;
		assert_int_equal(sys_run(&t).vec, -1);
		assert_int_equal(t.st.tr.sel, TSS);
		assert_int_equal(tss_type(NEW_TSS), wide ? 0x89 : 0x81);
		assert_int_equal(tss_type(TSS), 0x8b);
		assert_int_equal(t.st.gpr[R_RBX], 0x12345678);
		assert_int_equal(t.st.rip, SVM_CODE + (intr ? 3 : 8));
		assert_true(t.st.rflags & FL_NT);
		assert_int_equal(sys_get(&t, NEW_BASE + (wide ? 0x24 : 0x10), 2), 2 | FL_CF);
	}
}

static void bad_task(int vec, uint32_t err, uint64_t ip, const char *what)
{
	const uint8_t code[] = { 0xea, 0, 0, 0, 0, NEW_TSS, 0, 0xf4 };
	struct frame f;

	svm_code(&t, code, sizeof(code));
	f = sys_run(&t);
	check(f, vec, err, what);
	assert_int_equal(f.ip, ip);
}

static void start_task(void)
{
	sys_start(&t, 32, 0);
	put_task(true);
}

/* LDT and CS: no stack is left to push on, so #TS goes by a task gate. */
static void task_ts(unsigned field)
{
	start_task();
	sys_put(&t, NEW_BASE + field, KDS, 2);
	gdt(FREE + 32, sys_desc(0x7900, 0x67, 0x89));
	for (unsigned i = 0; i < 0x68; i += 4)
		sys_put(&t, 0x7900 + i, i < 8 ? 0 : sys_get(&t, NEW_BASE + i, 4), 4);
	sys_put(&t, 0x7900 + 0x20, SYS_HAND + 16 * EXC_TS, 4);
	sys_put(&t, 0x7900 + 0x4c, K32, 2);
	sys_put(&t, 0x7900 + 0x60, 0, 2);
	sys_gate(&t, SYS_IDT, EXC_TS, 8, 0x85, FREE + 32, 0, 0);
	SYS_CODE(&t, 0xea, 0, 0, 0, 0, NEW_TSS, 0, 0xf4);
	assert_int_equal(sys_run(&t).vec, EXC_TS);
	assert_int_equal(t.st.tr.sel, FREE + 32);
	assert_int_equal(sys_get(&t, 0x7900, 2), NEW_TSS);
	assert_int_equal(sys_get(&t, 0xdffc, 4), KDS);		/* error code on the new stack */
}

/* Faults before the switch belong to the old task, later ones to the new. */
static void test_task_bad(void **state)
{
	const uint64_t nip = SVM_CODE + 0x100;

	start_task();
	gdt(NEW_TSS, sys_desc(NEW_BASE, 0x67, 0x8b));
	bad_task(EXC_GP, NEW_TSS, SVM_CODE, "busy");
	start_task();
	gdt(NEW_TSS, sys_desc(NEW_BASE, 0x67, 0x09));
	bad_task(EXC_NP, NEW_TSS, SVM_CODE, "not present");
	start_task();
	gdt(NEW_TSS, sys_desc(NEW_BASE, 0x66, 0x89));
	bad_task(EXC_TS, NEW_TSS, SVM_CODE, "limit");
	start_task();
	sys_put(&t, NEW_BASE + 0x48, TSS, 2);
	bad_task(EXC_TS, TSS, nip, "ES");
	assert_int_equal(t.st.tr.sel, NEW_TSS);
	start_task();
	gdt(FREE + 24, 0x00cf13000000ffff);
	sys_put(&t, NEW_BASE + 0x54, FREE + 24, 2);
	bad_task(EXC_NP, FREE + 24, nip, "DS not present");
	task_ts(0x60);
	task_ts(0x4c);
	start_task();			/* IRET with NT to a task that is not busy */
	t.st.rflags |= FL_NT;
	sys_put(&t, SYS_TSS, NEW_TSS, 2);
	SYS_CODE(&t, 0xcf);
	check(sys_run(&t), EXC_TS, NEW_TSS, "back link");
}

/* The T bit: #DB before the first instruction of the task. */
static void test_task_trap(void **state)
{
	struct frame f;

	start_task();
	sys_put(&t, NEW_BASE + 0x64, 1, 2);
	SYS_CODE(&t, 0xea, 0, 0, 0, 0, NEW_TSS, 0, 0xf4);
	f = sys_run(&t);
	check(f, EXC_DB, 0, "T bit");
	assert_int_equal(f.ip, SVM_CODE + 0x100);
	assert_int_equal(t.st.dr[6], DR6_FIXED | DR6_BT);
}

/* With paging the CR3 of the TSS is loaded; and a task in virtual-8086 mode. */
static void test_task_cr3(void **state)
{
	start_task();
	for (unsigned i = 0; i < 2; i++)
		sys_put(&t, 0x100000 + 0x1000 * i, 0x87, 4);
	t.st.cr3 = 0x100000;
	t.st.cr4 |= CR4_PSE;
	t.st.cr0 |= CR0_PG;
	sys_put(&t, NEW_BASE + 0x1c, 0x101000, 4);
	SYS_CODE(&t, 0xea, 0, 0, 0, 0, NEW_TSS, 0, 0xf4);
	assert_int_equal(sys_run(&t).vec, -1);
	assert_int_equal(t.st.cr3, 0x101000);
	start_task();
	sys_put(&t, NEW_BASE + 0x24, FL_VM | 2, 4);
	sys_put(&t, NEW_BASE + 0x20, 0x100, 4);
	sys_put(&t, NEW_BASE + 0x4c, SVM_CODE >> 4, 2);
	sys_put(&t, SVM_CODE + 0x100, 0xcc, 1);
	sys_put(&t, NEW_BASE + 4, SYS_STACK0, 4);
	sys_put(&t, NEW_BASE + 8, KDS, 2);
	SYS_CODE(&t, 0xea, 0, 0, 0, 0, NEW_TSS, 0, 0xf4);
	check(sys_run(&t), EXC_BP, 0, "V86 task");
	assert_int_equal(sys_get(&t, t.st.gpr[R_RSP] + 8, 4), FL_VM | 2);
}

/* ---- I/O permission -------------------------------------- */
static void test_io(void **state)
{
	for (unsigned i = 0; i < 32; i++) {
		bool v86 = i & 1, iopl3 = i & 2, open = i & 4, wide = i & 8, map = !(i & 16);
		struct frame f;
		bool ok = (iopl3 && !v86) || (map && open);

		sys_start(&t, v86 ? V86 : 32, 3);
		t.st.rflags |= iopl3 ? FL_IOPL : 0;
		sys_put(&t, SYS_TSS + 0x66, map ? 0x80 : 0xffff, 2);
		for (unsigned k = 0; k < 64; k += 8)
			sys_put(&t, SYS_TSS + 0x80 + k, ~0ull, 8);
		sys_put(&t, SYS_TSS + 0x80 + 0xe, open ? (wide ? 0xf07f : 0xff7f) : 0xffff, 2);
		if (wide) {
			if (open)
				sys_put(&t, SYS_TSS + 0x80 + 0xe, 0xf87f, 2);
			SYS_CODE(&t, 0xe7, 0x77, 0xcc);		/* out 0x77, ax or eax */
		} else {
			SYS_CODE(&t, 0xe6, 0x77, 0xcc);
		}
		f = sys_run(&t);
		check(f, ok ? EXC_BP : EXC_GP, 0, "out");
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_task, setup, teardown),
		cmocka_unit_test_setup_teardown(test_task_bad, setup, teardown),
		cmocka_unit_test_setup_teardown(test_task_trap, setup, teardown),
		cmocka_unit_test_setup_teardown(test_task_cr3, setup, teardown),
		cmocka_unit_test_setup_teardown(test_io, setup, teardown),
	};

	return cmocka_run_group_tests_name("soft-task", tests, NULL, NULL);
}
