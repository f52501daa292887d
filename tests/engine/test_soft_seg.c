/* SPDX-License-Identifier: MIT */
/*
 * Segmentation of the software CPU: limits and types, segment register loads,
 * far jumps, calls, gates and returns (Intel SDM vol. 2 MOV, JMP, CALL, RET,
 * IRET; vol. 3 ch. 5).
 */
#include "softsys.h"
#include <stdio.h>

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

/* ---- limits and types ----------------------------------------------------------------- */
struct limit_case {
	uint32_t attr, limit;
	uint32_t off;
	bool ss, write, ok;
};

static void test_limits(void **state)
{
	static const struct limit_case cases[] = {
		{ 0x4093, 0xfff, 0xffc, false, false, true },
		{ 0x4093, 0xfff, 0xffd, false, false, false },
		{ 0x4093, 0xfff, 0xffffffff, false, false, false },
		{ 0x4093, 0xfff, 0xffd, true, true, false },
		{ 0x4093, 0xfff, 0xffc, true, true, true },
		{ 0xc093, 0x1fff, 0x1ffc, false, true, true },
		{ 0xc093, 0x1fff, 0x1ffd, false, true, false },
		{ 0x4097, 0xfff, 0x1000, false, true, true },		/* expand down, 32-bit */
		{ 0x4097, 0xfff, 0xfff, false, true, false },
		{ 0x4097, 0xfff, 0xffc, false, true, false },
		{ 0x4097, 0xfff, 0x20000, false, true, true },
		{ 0x0097, 0xfff, 0xfffc, false, true, true },		/* expand down, 16-bit */
		{ 0x0097, 0xfff, 0xfffd, false, true, false },
		{ 0x0097, 0xfff, 0x1000, true, true, true },
		{ 0x0097, 0xfff, 0x800, true, true, false },
		{ 0x4091, 0xfff, 0, false, false, true },		/* read-only */
		{ 0x4091, 0xfff, 0, false, true, false },
		{ 0x409b, 0xfff, 0, false, false, true },		/* code */
		{ 0x409b, 0xfff, 0, false, true, false },
	};

	for (unsigned i = 0; i < ARRAY_SIZE(cases); i++) {
		const struct limit_case *c = &cases[i];
		char what[32];

		snprintf(what, sizeof(what), "limit case %u", i);
		sys_start(&t, 32, 0);
		gdt(FREE, sys_desc(SVM_DATA, c->limit, c->attr));
		t.st.gpr[R_RAX] = FREE;
		t.st.gpr[R_RBX] = c->off;
		if (c->ss && c->write)		/* mov ss, eax; mov ss:[ebx], ecx; mov ss, edx */
			SYS_CODE(&t, 0x8e, 0xd0, 0x36, 0x89, 0x0b, 0x8e, 0xd2, 0xf4);
		else if (c->write)
			SYS_CODE(&t, 0x8e, 0xe0, 0x64, 0x89, 0x0b, 0xf4);
		else
			SYS_CODE(&t, 0x8e, 0xe0, 0x64, 0x8b, 0x0b, 0xf4);
		t.st.gpr[R_RDX] = KDS;
		/* the handler needs a good stack: a task-free way */
		if (c->ss && !c->ok) {
			enum vcpu_exit why = svm_run(&t);

			/* #SS cannot push on that stack if SP is outside of it */
			assert_true(why == EXIT_TRIPLE_FAULT || why == EXIT_HLT);
			if (why == EXIT_HLT)
				assert_int_equal((t.st.rip - 1 - SYS_HAND) / 16, EXC_SS);
			continue;
		}
		check(sys_run(&t), c->ok ? -1 : EXC_GP, 0, what);
	}
	sys_start(&t, 32, 0);			/* a null selector may be loaded, not used */
	SYS_CODE(&t, 0x8e, 0xe0, 0x90, 0x64, 0x8b, 0x0b, 0xf4);
	check(sys_run(&t), EXC_GP, 0, "null");
}

/* ---- MOV to a segment register ------------------------------------------------------------ */
/* By the pseudo code of MOV; -1: loads. */
static int mov_model(unsigned seg, unsigned cpl, uint16_t sel, uint32_t attr, bool lm,
		     uint32_t *err)
{
	unsigned dpl = attr >> 5 & 3, rpl = sel & 3;
	bool code = attr & 8, present = attr & 0x80;

	*err = sel & ~3u;
	if (!(sel & ~3u)) {
		*err = 0;
		return seg == SEG_SS && !(lm && cpl != 3 && rpl == cpl) ? EXC_GP : -1;
	}
	if (!(attr & 0x10))
		return EXC_GP;
	if (seg == SEG_SS) {
		if (rpl != cpl || dpl != cpl || code || !(attr & 2))
			return EXC_GP;
		return present ? -1 : EXC_SS;
	}
	if (code && !(attr & 2))
		return EXC_GP;
	if (!(code && attr & 4) && (rpl > dpl || cpl > dpl))
		return EXC_GP;
	return present ? -1 : EXC_NP;
}

static void test_mov_seg(void **state)
{
	static const uint8_t segs[] = { SEG_ES, SEG_SS, SEG_DS, SEG_FS, SEG_GS };

	for (unsigned n = 0; n < 2 * 2 * 4 * 5 * 256; n++) {
		unsigned attr = n & 0xff, seg = segs[(n >> 8) % 5], rpl = (n >> 8) / 5 & 3;
		unsigned cpl = (n >> 8) / 20 & 1 ? 3 : 0;
		bool lm = (n >> 8) / 40;
		uint16_t sel = (uint16_t)(FREE | rpl);
		uint8_t code[4] = { 0x8e, (uint8_t)(0xc0 | seg << 3), 0xcd, 0x80 };
		struct frame f;
		uint32_t err;
		int want;

		if (n % 7 && (attr & 0x60) != (cpl ? 0x60 : 0) && (attr & 0x60) != 0x20)
			continue;	/* a sample of the rest: each run costs */
		want = mov_model(seg, cpl, sel, attr, lm, &err);
		sys_start(&t, lm ? 64 : 32, cpl);
		gdt(FREE, sys_desc(0, (attr & 12) == 4 ? 0 : 0xffffffff, 0xc000 | attr));
		t.st.gpr[R_RAX] = sel;
		svm_code(&t, code, 4);
		f = sys_run(&t);
		if (f.vec != (want < 0 ? 0x80 : want) || (want >= 0 && f.err != err))
			fail_msg("seg %u cpl %u rpl %u attr %#x lm %d: vector %d code %#x, want %d",
				 seg, cpl, rpl, attr, lm, f.vec, f.err, want);
		assert_int_equal(sys_get(&t, SYS_GDT + FREE + 5, 1), want < 0 ? attr | 1 : attr);
	}
	for (unsigned n = 0; n < 80; n++) {	/* null, and beyond the table */
		unsigned seg = segs[n % 5], rpl = n / 5 & 3, cpl = n / 20 & 1 ? 3 : 0;
		bool lm = n / 40;
		uint8_t code[4] = { 0x8e, (uint8_t)(0xc0 | seg << 3), 0xcd, 0x80 };
		uint32_t err;
		int want = mov_model(seg, cpl, (uint16_t)rpl, 0, lm, &err);

		sys_start(&t, lm ? 64 : 32, cpl);
		t.st.gpr[R_RAX] = rpl;
		svm_code(&t, code, 4);
		check(sys_run(&t), want < 0 ? 0x80 : want, 0, "null");
		sys_start(&t, lm ? 64 : 32, cpl);
		t.st.gpr[R_RAX] = 0x200 | rpl;
		check(sys_run(&t), EXC_GP, 0x200, "beyond the GDT");
		sys_start(&t, lm ? 64 : 32, cpl);
		t.st.gpr[R_RAX] = 0x104 | rpl;
		check(sys_run(&t), EXC_GP, 0x104, "beyond the LDT");
		sys_start(&t, lm ? 64 : 32, cpl);
		t.st.ldt.attr |= SA_UNUSABLE;
		t.st.gpr[R_RAX] = 4 | rpl;
		check(sys_run(&t), EXC_GP, 4, "no LDT");
	}
	sys_start(&t, 32, 0);
	SYS_CODE(&t, 0x8e, 0xc8);
	check(sys_run(&t), EXC_UD, 0, "mov cs");
}

/* POP SS counts the old stack's width; 16-bit operands move 2 bytes. */
static void test_pop_seg(void **state)
{
	sys_start(&t, 32, 0);
	gdt(FREE, sys_desc(0, 0xffff, 0x0093));
	sys_put(&t, SVM_STACK, 0xdead0000 | FREE, 4);
	SYS_CODE(&t, 0x17, 0xf4);
	assert_int_equal(sys_run(&t).vec, -1);
	assert_int_equal(t.st.gpr[R_RSP], SVM_STACK + 4);
	assert_int_equal(t.st.seg[SEG_SS].sel, FREE);
	sys_start(&t, 32, 0);
	sys_put(&t, SVM_STACK, KDS, 2);
	SYS_CODE(&t, 0x66, 0x07, 0x66, 0x1e, 0xf4);	/* pop es; push ds */
	assert_int_equal(sys_run(&t).vec, -1);
	assert_int_equal(t.st.gpr[R_RSP], SVM_STACK);
	sys_start(&t, 64, 0);
	sys_put(&t, SVM_STACK, KDS, 8);
	SYS_CODE(&t, 0x0f, 0xa1, 0x0f, 0xa8, 0xf4);	/* pop fs; push gs */
	assert_int_equal(sys_run(&t).vec, -1);
	assert_int_equal(t.st.gpr[R_RSP], SVM_STACK);
	assert_int_equal(sys_get(&t, SVM_STACK, 8), KDS);
	sys_start(&t, 32, 0);				/* a bad one: nothing moved */
	sys_put(&t, SVM_STACK, 0x1234, 4);
	SYS_CODE(&t, 0x17, 0xf4);
	check(sys_run(&t), EXC_GP, 0x1234, "pop ss");
	assert_int_equal(t.st.gpr[R_RSP], SVM_STACK - 16);
}

/* ---- LAR, LSL, VERR, VERW -------------------------------------------------------------------- */
static void test_lar(void **state)
{
	for (unsigned n = 0; n < 2 * 256; n++) {
		unsigned attr = n & 0xff, type = attr & 15, dpl = attr >> 5 & 3;
		bool lm = n & 256, s = attr & 0x10, conf = s && (attr & 12) == 12;
		uint32_t lar = lm ? 0x1a04 : 0x1a3e, lsl = lm ? 0x0a04 : 0x0a0e;
		bool seen = conf || dpl == 3;
		uint64_t out;

		sys_start(&t, lm ? 64 : 32, 3);
		gdt(FREE, sys_desc(0x123456, 0x4567, attr));
		t.st.gpr[R_RAX] = FREE | 3;
		t.st.gpr[R_RBX] = t.st.gpr[R_RCX] = 0x5555;
		/*
		 * lar ebx, ax; setz dl; lsl ecx, ax; setz dh;
		 * verr ax; setz [rsi]; verw ax; setz [rsi + 1]
		 */
		SYS_CODE(&t, 0x0f, 0x02, 0xd8, 0x0f, 0x94, 0xc2, 0x0f, 0x03, 0xc8, 0x0f, 0x94, 0xc6,
			 0x0f, 0x00, 0xe0, 0x0f, 0x94, 0x06, 0x0f, 0x00, 0xe8, 0x0f, 0x94, 0x46,
				 0x01,
			 0xcd, 0x80);
		t.st.gpr[R_RSI] = SVM_DATA;
		check(sys_run(&t), 0x80, 0, "lar");
		out = sys_get(&t, SVM_DATA, 2);
		assert_int_equal(t.st.gpr[R_RDX] & 1, seen && (s || lar >> type & 1));
		assert_int_equal(t.st.gpr[R_RDX] >> 8 & 1, seen && (s || lsl >> type & 1));
		assert_int_equal(out & 1, seen && s && (!(attr & 8) || attr & 2));
		assert_int_equal(out >> 8, seen && s && !(attr & 8) && attr & 2);
		assert_int_equal(t.st.gpr[R_RBX], t.st.gpr[R_RDX] & 1 ? attr << 8 : 0x5555);
		assert_int_equal(t.st.gpr[R_RCX], t.st.gpr[R_RDX] >> 8 & 1 ? 0x4567 : 0x5555);
	}
}

/* ---- far jump and call ----------------------------------- */
/* Direct transfer to a segment at CPL 0 or 3; -1: goes. */
static int far_model(unsigned cpl, unsigned rpl, unsigned attr, uint32_t *err)
{
	unsigned dpl = attr >> 5 & 3;

	*err = FREE;
	if (!(attr & 0x10) || !(attr & 8))
		return EXC_GP;
	if (attr & 4 ? dpl > cpl : rpl > cpl || dpl != cpl)
		return EXC_GP;
	return attr & 0x80 ? -1 : EXC_NP;
}

static void test_far_direct(void **state)
{
	for (unsigned n = 0; n < 2 * 2 * 4 * 256; n++) {
		unsigned attr = n & 0xff, rpl = n >> 8 & 3, cpl = n & 0x400 ? 3 : 0;
		bool call = n & 0x800;
		uint16_t sel = (uint16_t)(FREE | rpl);
		const uint8_t code[] = { call ? 0x9a : 0xea, 0x20, 0, 1, 0, (uint8_t)sel, 0 };
		struct frame f;
		uint32_t err;
		int want = far_model(cpl, rpl, attr, &err);

		if (!(attr & 0x10) && 0x1232 >> (attr & 15) & 1)
			continue;	/* gates and TSSs: below */
		sys_start(&t, 32, cpl);
		gdt(FREE, sys_desc(0, 0xffffffff, 0xc000 | attr));
		svm_code(&t, code, sizeof(code));
		sys_put(&t, SVM_CODE + 0x20, 0x80cd, 2);
		f = sys_run(&t);
		if (f.vec != (want < 0 ? 0x80 : want) || (want >= 0 && f.err != err && attr & 0x10))
			fail_msg("cpl %u rpl %u attr %#x call %d: vector %d code %#x, want %d",
				 cpl, rpl,
				 attr, call, f.vec, f.err, want);
		if (want >= 0)
			continue;
		assert_int_equal(f.cs, FREE | cpl);
		assert_int_equal(f.ip, SVM_CODE + 0x22);
		if (call) {
			assert_int_equal(sys_get(&t, SVM_STACK - 8, 4), SVM_CODE + 7);
			assert_int_equal(sys_get(&t, SVM_STACK - 4, 2), cpl ? U32 : K32);
		}
	}
	sys_start(&t, 32, 0);		/* offset beyond the limit: #GP(0), null: #GP(0) */
	gdt(FREE, sys_desc(0, 0xfff, 0x409b));
	SYS_CODE(&t, 0xea, 0x00, 0x10, 0, 0, FREE, 0);
	check(sys_run(&t), EXC_GP, 0, "limit");
	sys_start(&t, 32, 0);
	SYS_CODE(&t, 0xea, 0x00, 0x10, 0, 0, 0, 0);
	check(sys_run(&t), EXC_GP, 0, "null");
	sys_start(&t, 64, 0);		/* L and D both: #GP(sel) */
	gdt(FREE, sys_desc(0, 0xfffff, 0xe09b));
	sys_put(&t, SVM_DATA, SVM_CODE, 4);
	sys_put(&t, SVM_DATA + 4, FREE, 2);
	t.st.gpr[R_RBX] = SVM_DATA;
	SYS_CODE(&t, 0xff, 0x2b);
	check(sys_run(&t), EXC_GP, FREE, "L and D");
}

static void call_gate_at(unsigned attr, uint16_t sel, uint32_t off, unsigned params)
{
	sys_gate(&t, SYS_GDT, FREE / 8, 8, attr, sel, off, params);
}

/* Call gates of 16 and 32 bits to an inner level: stack switch and parameters; and back. */
static void test_call_gate(void **state)
{
	for (unsigned i = 0; i < 4; i++) {
		unsigned n = i & 1 ? 4 : 2, params = i & 2 ? 3 : 0,
			sp = SYS_STACK0 - (4 + params) * n;
		const uint8_t code[] = { 0x9a, 0, 0, 0, 0, FREE | 3, 0, 0xcd, 0x80 };
		struct frame f;

		sys_start(&t, 32, 3);
		call_gate_at(n == 4 ? 0xec : 0xe4, K32, SVM_CODE + 0x100 - (n == 2 ? SVM_CODE : 0),
			     params);
		if (n == 2) {		/* 16-bit offsets: a segment that starts at the code */
			gdt(FREE + 8, sys_desc(SVM_CODE, 0xffff, 0x409b));
			gdt(FREE + 16, sys_desc(SVM_CODE, 0xffff, 0x40fb));
			call_gate_at(0xe4, FREE + 8, 0x100, params);
			t.st.seg[SEG_CS] = (struct x86_seg){ .base = SVM_CODE, .limit = 0xffff,
							     .attr = 0x40fb, .sel = FREE + 16 + 3 };
			t.st.rip = 0;
		}
		for (unsigned k = 0; k < 3; k++)
			sys_put(&t, SVM_STACK + k * n, 0x1111 * (k + 1), n);
		svm_code(&t, code, sizeof(code));
		sys_put(&t, SVM_CODE + 0x100, 0xf4, 1);
		assert_int_equal(sys_run(&t).vec, -1);
		assert_int_equal(t.st.gpr[R_RSP], sp);
		assert_int_equal(t.st.seg[SEG_SS].sel, KDS);
		assert_int_equal(t.st.seg[SEG_CS].sel, n == 4 ? K32 : FREE + 8);
		assert_int_equal(sys_get(&t, sp, n), n == 4 ? SVM_CODE + 7 : 7);
		assert_int_equal(sys_get(&t, sp + n, 2), n == 4 ? U32 : FREE + 16 + 3);
		for (unsigned k = 0; k < params; k++)
			assert_int_equal(sys_get(&t, sp + (2 + k) * n, n), 0x1111 * (k + 1));
		assert_int_equal(sys_get(&t, sp + (2 + params) * n, n),
				 SVM_STACK & (n == 4 ? ~0u : 0xffff));
		assert_int_equal(sys_get(&t, sp + (3 + params) * n, 2), UDS);
		/* back: RETF n drops the parameters on both stacks; DS of level 0 becomes null */
		t.st.rip = SVM_CODE + 0x110 - (n == 2 ? SVM_CODE : 0);
		t.st.seg[SEG_DS].sel = KDS;
		t.st.seg[SEG_DS].attr = 0xc093;
		sys_put(&t, SVM_CODE + 0x110, n == 4 ? 0x00ca : 0x00ca66, 3);
		sys_put(&t, SVM_CODE + 0x110 + (n == 4 ? 1 : 2), params * n, 2);
		f = sys_run(&t);
		assert_int_equal(f.vec, 0x80);
		assert_int_equal(f.sp, (SVM_STACK & (n == 4 ? ~0u : 0xffff)) + params * n);
		assert_int_equal(f.ss, UDS);
		assert_int_equal(t.st.seg[SEG_DS].sel, 0);
		assert_int_equal(t.st.seg[SEG_ES].sel, UDS);
	}
}

struct gate_case {
	unsigned attr;
	uint16_t sel;
	uint8_t rpl;
	bool jmp;
	int vec;
	uint32_t err;
};

static void test_call_gate_bad(void **state)
{
	static const struct gate_case cases[] = {
		{ 0x8c, K32, 3, false, EXC_GP, FREE }, { 0x6c, K32, 3, false, EXC_NP, FREE },
		{ 0xec, 0, 3, false, EXC_GP, 0 }, { 0xec, KDS, 3, false, EXC_GP, KDS },
		{ 0xec, 0x200, 3, false, EXC_GP, 0x200 },
		{ 0xec, FREE + 8, 3, false, EXC_NP, FREE + 8 },
		{ 0xec, K32, 3, true, EXC_GP, K32 },	/* a jump cannot change the level */
		{ 0xec, FREE + 16, 3, true, -1, 0 },	/* but it may go to conforming code */
		{ 0xec, FREE + 16, 3, false, -1, 0 },
		{ 0xcc, K32, 3, false, EXC_GP, FREE },
	};

	for (unsigned i = 0; i < ARRAY_SIZE(cases); i++) {
		const struct gate_case *c = &cases[i];
		const uint8_t code[] = { c->jmp ? 0xea : 0x9a, 0, 0, 0, 0,
					 (uint8_t)(FREE | c->rpl), 0 };
		char what[24];

		snprintf(what, sizeof(what), "gate case %u", i);
		sys_start(&t, 32, 3);
		call_gate_at(c->attr, c->sel, SVM_CODE + 0x100, 0);
		gdt(FREE + 8, 0x00cf1b000000ffff);
		gdt(FREE + 16, 0x00cf9f000000ffff);
		svm_code(&t, code, sizeof(code));
		sys_put(&t, SVM_CODE + 0x100, 0x80cd, 2);
		check(sys_run(&t), c->vec < 0 ? 0x80 : c->vec, c->err, what);
	}
	/* stacks: null #TS(0), DPL #TS(sel), not present #SS(sel), TSS too short #TS(tss) */
	for (unsigned i = 0; i < 4; i++) {
		static const struct { uint16_t ss; int vec; uint32_t err; } st[] = {
			{ 0, EXC_TS, 0 }, { UDS & ~3, EXC_TS, UDS & ~3 },
			{ FREE + 8, EXC_SS, FREE + 8 },
			{ KDS, EXC_TS, TSS },
		};
		const uint8_t code[] = { 0x9a, 0, 0, 0, 0, FREE | 3, 0 };
		struct frame f;

		sys_start(&t, 32, 3);
		call_gate_at(0xec, FREE + 16, SVM_CODE + 0x100, 0);	/* to level 1 */
		gdt(FREE + 8, 0x00cf33000000ffff);
		gdt(FREE + 16, 0x00cfbb000000ffff);
		sys_put(&t, SYS_TSS + 12, SYS_STACK0 - 0x800, 4);
		sys_put(&t, SYS_TSS + 16, i == 2 ? (FREE + 8) | 1 : st[i].ss, 2);
		if (i == 3)
			t.st.tr.limit = 0x10;
		svm_code(&t, code, sizeof(code));
		f = sys_run(&t);
		check(f, st[i].vec, st[i].err, "inner stack");
	}
}

/* A 64-bit call gate from compatibility mode and from 64-bit code. */
static void test_call_gate64(void **state)
{
	for (unsigned i = 0; i < 2; i++) {
		unsigned sp = SYS_STACK0 - 32;

		sys_start(&t, 64, 3);
		if (i)
			sys_segs(&t, U32, UDS);
		sys_gate(&t, SYS_GDT, 0, 8, 0, 0, 0, 0);
		sys_gate(&t, SYS_GDT + FREE, 0, 16, 0xec, K64, SVM_CODE + 0x100, 0);
		sys_put(&t, SVM_DATA + 4, FREE | 3, 2);
		t.st.gpr[R_RBX] = SVM_DATA;
		SYS_CODE(&t, 0xff, 0x1b);		/* call far [rbx] */
		sys_put(&t, SVM_CODE + 0x100, 0xf4, 1);
		assert_int_equal(sys_run(&t).vec, -1);
		assert_int_equal(t.st.gpr[R_RSP], sp);
		assert_int_equal(sys_get(&t, sp, 8), SVM_CODE + 2);
		assert_int_equal(sys_get(&t, sp + 8, 8), i ? U32 : U64);
		assert_int_equal(sys_get(&t, sp + 16, 8), SVM_STACK);
		assert_int_equal(sys_get(&t, sp + 24, 8), UDS);
		assert_int_equal(t.st.seg[SEG_CS].sel, K64);
		assert_int_equal(t.st.seg[SEG_SS].sel, 0);
		sys_put(&t, SYS_GDT + FREE + 8, 1ull << 40, 8);		/* upper type not 0 */
		t.st.rip = SVM_CODE;
		sys_segs(&t, i ? U32 : U64, UDS);
		t.st.gpr[R_RSP] = SVM_STACK;
		check(sys_run(&t), EXC_GP, FREE, "upper half");
	}
}

/* ---- IRET ------------------------------------------------ */
struct iret_case {
	uint16_t cs, ss;
	uint8_t bits;
	int vec;
	uint32_t err;
};

static void test_iret(void **state)
{
	static const struct iret_case cases[] = {
		{ U32, UDS, 32, 0x80, 0 }, { U32, 0, 32, EXC_GP, 0 }, { U32, KDS, 32, EXC_GP, KDS },
		{ U32, UDS & ~3, 32, EXC_GP, UDS & ~3 }, { 0, UDS, 32, EXC_GP, 0 },
		{ U32 & ~3, UDS, 32, EXC_GP, U32 & ~3 }, { KDS, UDS, 32, EXC_GP, KDS },
		{ FREE, UDS, 32, EXC_NP, FREE }, { U32, FREE + 8 + 3, 32, EXC_SS, FREE + 8 },
		{ U64, UDS, 64, 0x80, 0 }, { U32, UDS, 64, 0x80, 0 }, { U64, 3, 64, EXC_GP, 0 },
		{ K64, 0, 64, 0x80, 0 }, { K64, 3, 64, EXC_GP, 0 }, { K64, KDS, 64, 0x80, 0 },
		{ K32, 0, 64, EXC_GP, 0 }, { FREE + 16 + 3, UDS, 64, EXC_GP, FREE + 16 },
	};

	for (unsigned i = 0; i < ARRAY_SIZE(cases); i++) {
		const struct iret_case *c = &cases[i];
		unsigned n = c->bits / 8;
		char what[24];
		struct frame f;

		snprintf(what, sizeof(what), "iret case %u", i);
		sys_start(&t, c->bits, 0);
		gdt(FREE, 0x00cf1b000000ffff);
		gdt(FREE + 8, 0x00cf73000000ffff);
		gdt(FREE + 16, 0x00effb000000ffff);	/* L and D */
		sys_put(&t, SVM_STACK, SVM_CODE + 0x10, n);
		sys_put(&t, SVM_STACK + n, c->cs, n);
		sys_put(&t, SVM_STACK + 2 * n, 2 | FL_IOPL | FL_CF | FL_AC | FL_ID, n);
		sys_put(&t, SVM_STACK + 3 * n, SVM_STACK - 0x100, n);
		sys_put(&t, SVM_STACK + 4 * n, c->ss, n);
		if (n == 8)
			SYS_CODE(&t, 0x48, 0xcf);
		else
			SYS_CODE(&t, 0xcf);
		sys_put(&t, SVM_CODE + 0x10, 0x80cd, 2);
		f = sys_run(&t);
		check(f, c->vec, c->err, what);
		if (c->vec != 0x80)
			continue;
		assert_int_equal(f.cs, c->cs);
		assert_int_equal(f.flags, 2 | FL_IOPL | FL_CF | FL_AC | FL_ID);
		if (n == 8 || c->cs & 3) {
			assert_int_equal(f.sp, SVM_STACK - 0x100);
			assert_int_equal(f.ss, c->ss);
		}
	}
	sys_start(&t, 64, 0);			/* NT in long mode */
	t.st.rflags |= FL_NT;
	SYS_CODE(&t, 0x48, 0xcf);
	check(sys_run(&t), EXC_GP, 0, "NT");
	sys_start(&t, 32, 3);			/* level 3 changes neither IOPL nor IF nor VM */
	sys_put(&t, SVM_STACK, SVM_CODE + 0x10, 4);
	sys_put(&t, SVM_STACK + 4, U32, 4);
	sys_put(&t, SVM_STACK + 8, FL_IOPL | FL_IF | FL_VM | FL_VIF | FL_VIP | FL_AC | 2, 4);
	SYS_CODE(&t, 0xcf);
	sys_put(&t, SVM_CODE + 0x10, 0x80cd, 2);
	assert_int_equal(sys_run(&t).flags, FL_AC | 2);
	sys_start(&t, 32, 0);			/* to virtual-8086 mode: EIP above 64 KiB */
	sys_put(&t, SVM_STACK, 0x10000, 4);
	sys_put(&t, SVM_STACK + 4, 0x1000, 4);
	sys_put(&t, SVM_STACK + 8, FL_VM | 2, 4);
	check(sys_run(&t), EXC_GP, 0, "EIP");
	sys_start(&t, 32, 0);			/* and reserved flags */
	sys_put(&t, SVM_STACK, 0x10, 4);
	sys_put(&t, SVM_STACK + 8, 0xffffffff & ~FL_TF, 4);
	assert_int_equal(sys_run(&t).flags, 0x3f7fd7 & ~(FL_TF | FL_RF));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_limits, setup, teardown),
		cmocka_unit_test_setup_teardown(test_mov_seg, setup, teardown),
		cmocka_unit_test_setup_teardown(test_pop_seg, setup, teardown),
		cmocka_unit_test_setup_teardown(test_lar, setup, teardown),
		cmocka_unit_test_setup_teardown(test_far_direct, setup, teardown),
		cmocka_unit_test_setup_teardown(test_call_gate, setup, teardown),
		cmocka_unit_test_setup_teardown(test_call_gate_bad, setup, teardown),
		cmocka_unit_test_setup_teardown(test_call_gate64, setup, teardown),
		cmocka_unit_test_setup_teardown(test_iret, setup, teardown),
	};

	return cmocka_run_group_tests_name("soft-seg", tests, NULL, NULL);
}
