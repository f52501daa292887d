/* SPDX-License-Identifier: MIT */
/*
 * Exceptions and interrupts of the software CPU: delivery in every mode,
 * virtual-8086 mode with VME, double and triple faults, error codes, NMI,
 * shadows, HLT (Intel SDM vol. 3 ch. 6, 20).
 */
#include "softsys.h"

static struct svm t;
static struct soft *s;

/* ---- an interrupt controller of one vector -------------------------------------- */
static int pending = -1;

static int fake_ack(void *o)
{
	int v = pending;

	pending = -1;
	return v;
}

static uint64_t fake_base(void *o) { return 0xfee00900; }
static bool fake_set_base(void *o, uint64_t v) { return true; }
static uint8_t fake_tpr(void *o) { return 0; }
static void fake_set_tpr(void *o, uint8_t v) { }
static void fake_init(void *o) { }

static const struct apic_ops fake = {
	.ack = fake_ack, .get_base = fake_base, .set_base = fake_set_base, .get_tpr = fake_tpr,
	.set_tpr = fake_set_tpr, .init = fake_init,
};

static int setup(void **state)
{
	svm_init(&t);
	s = t.v->impl;
	t.v->apic.ops = &fake;
	pending = -1;
	return 0;
}

static int teardown(void **state)
{
	t.v->apic.ops = NULL;
	svm_free(&t);
	return 0;
}

static void check(struct frame f, int vec, uint64_t ip, const char *what)
{
	if (f.vec != vec || f.ip != ip)
		fail_msg("%s: vector %d at %#llx, expected %d at %#llx", what, f.vec,
			 (unsigned long long)f.ip, vec, (unsigned long long)ip);
}

#define STEP(what, vec, ip) check(sys_run(&t), vec, ip, what)

/* ---- delivery ------------------------------------------------------------------------- */
static void test_real(void **state)
{
	struct frame f;

	sys_start(&t, 16, 0);
	t.st.rflags |= FL_IF | FL_AC | FL_CF;
	SYS_CODE(&t, 0xcd, 0x21);
	f = sys_run(&t);
	check(f, 0x21, 2, "int 21h");
	assert_int_equal(f.cs, 0x1000);
	assert_int_equal(f.flags, 2 | FL_IF | FL_CF);
	assert_int_equal(t.st.gpr[R_RSP], 0x8000 - 6);
	assert_int_equal(t.st.rflags, 2 | FL_CF);
	sys_start(&t, 16, 0);
	SYS_CODE(&t, 0xf7, 0xf1);		/* div cx: a fault, IP at it; no error code */
	f = sys_run(&t);
	check(f, EXC_DE, 0, "div");
	sys_start(&t, 16, 0);
	t.st.gpr[R_RBX] = 0xffff;
	SYS_CODE(&t, 0x8b, 0x07); /* mov ax, [bx]: beyond the limit, #GP without code */
	check(sys_run(&t), EXC_GP, 0, "limit");
	assert_int_equal(t.st.gpr[R_RSP], 0x8000 - 6);
	sys_start(&t, 16, 0);
	t.st.idt.limit = 4 * 0x21 + 2;		/* vector 21h outside: #GP */
	SYS_CODE(&t, 0xcd, 0x21);
	check(sys_run(&t), EXC_GP, 0, "IDT limit");
	sys_start(&t, 16, 0);
	t.st.idt.limit = 4 * 8 + 3;		/* only #DF fits */
	check(sys_run(&t), EXC_DF, 0, "IDT limit, #DF");
	sys_start(&t, 16, 0);
	t.st.idt.limit = 0;
	assert_int_equal(sys_run(&t).vec, -2);
	sys_start(&t, 16, 0);
	t.st.gpr[R_RSP] = 1; /* the push wraps over the limit: #SS, then #DF, shut down */
	assert_int_equal(sys_run(&t).vec, -2);
}

/* 16- and 32-bit, interrupt and trap gates, from CPL 0 and 3. */
static void test_prot_gates(void **state)
{
	static const uint8_t types[] = { 6, 7, 14, 15 };

	for (unsigned i = 0; i < 8; i++) {
		unsigned type = types[i & 3], n = type & 8 ? 4 : 2, cpl = i & 4 ? 3 : 0;
		struct frame f;

		sys_start(&t, 32, cpl);
		sys_gate(&t, SYS_IDT, 0x40, 8, 0xe0 | type, K32, SYS_HAND + 0x400, 0);
		t.st.rflags |= FL_IF | FL_NT | FL_AC | FL_CF;
		SYS_CODE(&t, 0xcd, 0x40);
		f = sys_run_n(&t, n);
		check(f, 0x40, n == 4 ? SVM_CODE + 2 : 2, "gate");
		assert_int_equal(f.cs, cpl ? U32 : K32);
		assert_int_equal(f.flags,
				 (2 | FL_IF | FL_NT | FL_AC | FL_CF) & (n == 4 ? ~0u : 0xffff));
		assert_int_equal(t.st.rflags, 2 | FL_CF | FL_AC | (type & 1 ? FL_IF : 0));
		assert_int_equal(t.st.seg[SEG_CS].sel, K32);
		if (cpl) {
			assert_int_equal(f.ss, UDS);
			assert_int_equal(f.sp, SVM_STACK & (n == 4 ? ~0u : 0xffff));
			assert_int_equal(t.st.seg[SEG_SS].sel, KDS);
			assert_int_equal(t.st.gpr[R_RSP], SYS_STACK0 - 5 * n);
		} else {
			assert_int_equal(t.st.gpr[R_RSP], SVM_STACK - 3 * n);
		}
		/* an error code is as wide as the gate */
		sys_start(&t, 32, cpl);
		sys_gate(&t, SYS_IDT, EXC_GP, 8, 0x80 | type, K32, SYS_HAND + 16 * EXC_GP, 0);
		t.st.gpr[R_RAX] = 0x1234;
		SYS_CODE(&t, 0x8e, 0xe0);	/* mov fs, ax */
		f = sys_run_n(&t, n);
		check(f, EXC_GP, n == 4 ? SVM_CODE : 0, "error code");
		assert_int_equal(f.err, 0x1234);
		assert_int_equal(t.st.gpr[R_RSP], (cpl ? SYS_STACK0 - 6 * n : SVM_STACK - 4 * n));
		assert_int_equal(f.flags & FL_RF, n == 4 ? FL_RF : 0);
	}
}

struct bad_gate {
	unsigned attr;
	uint16_t sel;
	uint8_t cpl;
	int vec;
	uint32_t err;
};

/* INT 40h through gates that must not work: EXT is 0. */
static void test_bad_gates(void **state)
{
	static const struct bad_gate cases[] = {
		{ 0x8e, K32, 3, EXC_GP, 0x202 }, { 0x6e, K32, 3, EXC_NP, 0x202 },
		{ 0x0e, K32, 3, EXC_GP, 0x202 }, { 0xe4, K32, 0, EXC_GP, 0x202 },
		{ 0xec, K32, 0, EXC_GP, 0x202 }, { 0xed, K32, 0, EXC_GP, 0x202 },
		{ 0xe2, K32, 0, EXC_GP, 0x202 }, { 0xfe, K32, 0, EXC_GP, 0x202 },
		{ 0xee, 0, 0, EXC_GP, 0 }, { 0xee, 3, 0, EXC_GP, 0 },
		{ 0xee, KDS, 0, EXC_GP, KDS }, { 0xee, 0x200, 0, EXC_GP, 0x200 },
		{ 0xee, U32, 0, EXC_GP, U32 & ~3 }, { 0xee, FREE, 0, EXC_NP, FREE },
		{ 0xe5, 4, 0, EXC_GP, 4 }, { 0xe5, KDS, 0, EXC_GP, KDS },
		{ 0xe5, TSS, 0, EXC_GP, TSS }, { 0xe5, FREE + 8, 0, EXC_NP, FREE + 8 },
	};

	for (unsigned i = 0; i < ARRAY_SIZE(cases) * 2; i++) {
		const struct bad_gate *c = &cases[i / 2];
		bool ext = i & 1;
		struct frame f;

		if (ext && (c->vec == EXC_GP && c->cpl))
			continue;	/* the gate's DPL does not matter to an interrupt */
		sys_start(&t, 32, c->cpl);
		sys_put(&t, SYS_GDT + FREE, 0x00cf1b000000ffff, 8);
		sys_put(&t, SYS_GDT + FREE + 8, sys_desc(SYS_TSS, 0xfff, 0x09), 8);
		sys_gate(&t, SYS_IDT, 0x40, 8, c->attr, c->sel, SYS_HAND + 0x400, 0);
		SYS_CODE(&t, 0xcd, 0x40);
		if (ext) {
			pending = 0x40;
			t.st.rflags |= FL_IF;
		}
		f = sys_run(&t);
		if (f.vec != c->vec || f.err != (c->err | ext) || f.ip != SVM_CODE)
			fail_msg("case %u: vector %d code %#x", i, f.vec, f.err);
	}
}

static void test_long(void **state)
{
	struct frame f;

	for (unsigned i = 0; i < 4; i++) {
		unsigned cpl = i & 1 ? 3 : 0, ist = i & 2 ? 3 : 0;

		sys_start(&t, 64, cpl);
		sys_put(&t, SYS_TSS + 0x24 + 8 * 2, 0x3d008, 8);
		sys_gate(&t, SYS_IDT, 0x40, 16, 0xee, K64, SYS_HAND + 0x400, ist);
		t.st.gpr[R_RSP] = SVM_STACK - 3;
		t.st.rflags |= FL_IF;
		SYS_CODE(&t, 0xcd, 0x40);
		f = sys_run(&t);
		check(f, 0x40, SVM_CODE + 2, "int");
		assert_int_equal(f.cs, cpl ? U64 : K64);
		assert_int_equal(f.ss, cpl ? UDS : KDS);
		assert_int_equal(f.sp, SVM_STACK - 3);
		assert_int_equal(t.st.gpr[R_RSP], (ist	 ? 0x3d000
						   : cpl ? SYS_STACK0
							 : SVM_STACK - 16) -
							  40);
		assert_int_equal(t.st.seg[SEG_SS].sel, cpl ? 0 : KDS);
	}
	sys_start(&t, 64, 0);		/* handler not 64-bit code */
	sys_gate(&t, SYS_IDT, 0x40, 16, 0xee, K32, SYS_HAND + 0x400, 0);
	SYS_CODE(&t, 0xcd, 0x40);
	f = sys_run(&t);
	check(f, EXC_GP, SVM_CODE, "CS.L");
	assert_int_equal(f.err, K32);
	sys_start(&t, 64, 0);		/* handler not canonical */
	sys_gate(&t, SYS_IDT, 0x40, 16, 0xee, K64, 1ull << 47, 0);
	f = sys_run(&t);
	check(f, EXC_GP, SVM_CODE, "offset");
	assert_int_equal(f.err, 0);
	sys_start(&t, 64, 3);		/* stack not canonical: #SS, delivered on the good IST */
	sys_put(&t, SYS_TSS + 4, (1ull << 47) + 0x100, 8);
	sys_put(&t, SYS_TSS + 0x24, 0x3d000, 8);
	sys_gate(&t, SYS_IDT, EXC_SS, 16, 0x8e, K64, SYS_HAND + 16 * EXC_SS, 1);
	f = sys_run(&t);
	check(f, EXC_SS, SVM_CODE, "RSP0");
	assert_int_equal(f.err, 0);
	sys_start(&t, 64, 3);		/* TSS too short: #TS */
	t.st.tr.limit = 10;
	sys_put(&t, SYS_TSS + 4, 0, 8);
	f = sys_run(&t);
	assert_int_equal(f.vec, -2);	/* and so are all the others */
	sys_start(&t, 64, 0);		/* types 5, 6, 7 are not for long mode */
	for (unsigned type = 0; type < 14; type++) {
		sys_start(&t, 64, 0);
		sys_gate(&t, SYS_IDT, 0x40, 16, 0xe0 | type, K64, SYS_HAND + 0x400, 0);
		f = sys_run(&t);
		check(f, EXC_GP, SVM_CODE, "type");
		assert_int_equal(f.err, 0x202);
	}
}

/* ---- virtual-8086 mode ------------------------------------------------------------------- */
static void v86(unsigned iopl, uint64_t cr4, uint32_t flags, bool redirect)
{
	sys_start(&t, V86, 0);
	t.st.rflags |= iopl << 12 | flags;
	t.st.cr4 |= cr4;
	sys_put(&t, SYS_TSS + 0x66, 0x88, 2);
	for (unsigned i = 0; i < 32; i += 8)
		sys_put(&t, SYS_TSS + 0x68 + i, redirect ? 0 : ~0ull, 8);
	for (unsigned i = 0; i < 256; i++)	/* the 8086 handlers: 0000:9000 + n */
		sys_put(&t, 4 * i, 0x9000 + i, 4);
	for (unsigned i = 0; i < 256; i++)
		sys_put(&t, 0x9000 + i, 0xcc, 1);	/* INT3: reports where we are */
	for (unsigned i = 1; i < SEG_NUM; i++) {
		t.st.seg[i].sel += i == SEG_CS ? 0 : i;
		t.st.seg[i].base += i == SEG_CS ? 0 : 16 * i;
	}
}

static void test_v86_frame(void **state)
{
	struct frame f;
	uint64_t sp;

	v86(3, 0, FL_IF, false);
	SYS_CODE(&t, 0xcd, 0x40);
	f = sys_run(&t);
	check(f, 0x40, 2, "int");
	assert_int_equal(f.cs, 0x1000);
	assert_int_equal(f.flags, 2 | FL_VM | FL_IF | FL_IOPL);
	assert_int_equal(t.st.rflags & (FL_VM | FL_IF), 0);
	sp = t.st.gpr[R_RSP];
	assert_int_equal(sp, SYS_STACK0 - 36);
	assert_int_equal(sys_get(&t, sp + 12, 4), 0x8000);
	assert_int_equal(sys_get(&t, sp + 16, 4), 0x2002);	/* SS, ES, DS, FS, GS */
	assert_int_equal(sys_get(&t, sp + 20, 4), 0x2000);
	assert_int_equal(sys_get(&t, sp + 24, 4), 0x2003);
	assert_int_equal(sys_get(&t, sp + 28, 4), 0x2004);
	assert_int_equal(sys_get(&t, sp + 32, 4), 0x2005);
	for (unsigned i = 0; i < SEG_NUM; i++)
		if (i != SEG_CS && i != SEG_SS)
			assert_int_equal(t.st.seg[i].sel, 0);
	/* and back: IRET at CPL 0 */
	sys_put(&t, SYS_HAND + 0x400, 0xcf, 1);
	sys_put(&t, sp + 32, 0x4321, 4);
	v86(3, 0, FL_IF, false);
	sys_put(&t, SYS_HAND + 0x400, 0xcf, 1);
	SYS_CODE(&t, 0xcd, 0x40, 0x8c, 0xe8, 0x8c, 0xd3, 0xcc);	/* mov ax,gs; mov bx,ss; int3 */
	f = sys_run(&t);
	check(f, EXC_BP, 7, "IRET to V86");
	assert_int_equal(t.st.gpr[R_RAX], 0x2005);
	assert_int_equal(t.st.gpr[R_RBX], 0x2002);
	assert_int_equal(f.flags, 2 | FL_VM | FL_IF | FL_IOPL);
	assert_int_equal(sys_get(&t, t.st.gpr[R_RSP] + 12, 4), 0x8000);
	/* a handler at CPL 3 is refused */
	v86(3, 0, 0, false);
	sys_gate(&t, SYS_IDT, 0x40, 8, 0xee, U32, SYS_HAND + 0x400, 0);
	SYS_CODE(&t, 0xcd, 0x40);
	f = sys_run(&t);
	check(f, EXC_GP, 0, "handler at CPL 3");
	assert_int_equal(f.err, U32 & ~3);
}

struct v86_case {
	uint8_t iopl, vme;
	bool redirect;
	int vec;		/* -1: went to the 8086 handler */
};

/* INT n: SDM vol. 3 table 20-2. */
static void test_v86_int(void **state)
{
	static const struct v86_case cases[] = {
		{ 3, 0, true, 0x40 }, { 0, 0, true, EXC_GP }, { 0, 1, false, EXC_GP },
		{ 3, 1, false, 0x40 }, { 3, 1, true, -1 }, { 0, 1, true, -1 },
	};

	for (unsigned i = 0; i < ARRAY_SIZE(cases) * 2; i++) {
		const struct v86_case *c = &cases[i / 2];
		uint32_t vif = i & 1 ? FL_VIF : 0;
		struct frame f;

		v86(c->iopl, c->vme ? CR4_VME : 0, FL_IF | FL_CF | vif, c->redirect);
		SYS_CODE(&t, 0xcd, 0x40);
		f = sys_run(&t);
		if (c->vec >= 0) {
			check(f, c->vec, c->vec == EXC_GP ? 0 : 2, "V86 INT");
			assert_int_equal(f.cs, 0x1000);
			continue;
		}
		check(f, EXC_BP, 0x9041, "redirected");
		assert_int_equal(f.cs, 0);
		assert_int_equal(f.flags & FL_IF, c->iopl == 3 ? 0 : FL_IF);
		assert_int_equal(f.flags & FL_VIF, c->iopl == 3 ? vif : 0);
		/* the 16-bit frame: IF is VIF and IOPL is 3 when IOPL < 3 */
		assert_int_equal(sys_get(&t, 0x20020 + 0x8000 - 6, 2), 2);
		assert_int_equal(sys_get(&t, 0x20020 + 0x8000 - 4, 2), 0x1000);
		assert_int_equal(sys_get(&t, 0x20020 + 0x8000 - 2, 2),
				 2 | FL_CF | FL_IOPL | (c->iopl == 3 || vif ? FL_IF : 0));
	}
	v86(0, 0, 0, false);		/* INT3 and INTO do not look at IOPL */
	SYS_CODE(&t, 0xcc);
	STEP("int3", EXC_BP, 1);
}

/* CLI, STI, PUSHF, POPF with and without VME; expected: fault, or IF and VIF after. */
struct vif_case {
	uint8_t code[2];
	uint8_t iopl;
	bool vme;
	uint32_t before, after;	/* after 0: #GP */
	uint16_t stack, stack_after;
};

static void test_v86_flags(void **state)
{
	static const struct vif_case cases[] = {
		{ { 0xfa }, 3, false, FL_IF, FL_VM, 0, 0 },
		{ { 0xfa }, 0, false, FL_IF, 0, 0, 0 },
		{ { 0xfa }, 0, true, FL_IF | FL_VIF, FL_IF | FL_VM, 0, 0 },
		{ { 0xfb }, 0, true, FL_IF, FL_IF | FL_VIF | FL_VM, 0, 0 },
		{ { 0xfb }, 0, true, FL_IF | FL_VIP, 0, 0, 0 },
		{ { 0xfb }, 3, true, 0, FL_IF | FL_VM, 0, 0 },
		{ { 0x9c }, 0, false, 0, 0, 0, 0 },
		{ { 0x9c }, 0, true, FL_IF, FL_IF | FL_VM, 0, FL_IOPL | 2 },
		{ { 0x9c }, 0, true, FL_VIF, FL_VIF | FL_VM, 0, FL_IOPL | FL_IF | 2 },
		{ { 0x66, 0x9c }, 0, true, 0, 0, 0, 0 },
		{ { 0x9d }, 0, true, FL_IF, FL_IF | FL_VIF | FL_VM, FL_IF, 0 },
		{ { 0x9d }, 0, true, FL_VIF, FL_VM, 0, 0 },
		{ { 0x9d }, 0, true, FL_VIP, 0, FL_IF, 0 },
		{ { 0x9d }, 0, true, 0, 0, FL_TF, 0 },
		{ { 0x9d }, 0, false, 0, 0, 0, 0 },
		{ { 0x9d }, 3, false, FL_IF, FL_VM, 0, 0 },
		{ { 0x66, 0x9d }, 0, true, 0, 0, 0, 0 },
		{ { 0xcf }, 0, false, 0, 0, 0, 0 },
	};

	for (unsigned i = 0; i < ARRAY_SIZE(cases); i++) {
		const struct vif_case *c = &cases[i];
		unsigned n = c->code[1] ? 2 : 1;
		uint8_t code[3] = { c->code[0], n == 2 ? c->code[1] : 0xcc, 0xcc };
		struct frame f;

		v86(c->iopl, c->vme ? CR4_VME : 0, c->before, false);
		sys_put(&t, 0x20020 + 0x8000, c->stack, 2);
		svm_code(&t, code, 3);
		f = sys_run(&t);
		if (f.vec != (c->after ? EXC_BP : EXC_GP))
			fail_msg("case %u: vector %d", i, f.vec);
		if (c->after && (f.flags & (FL_IF | FL_VIF | FL_VIP | FL_VM)) != c->after)
			fail_msg("case %u: flags %#llx", i, (unsigned long long)f.flags);
		if (c->stack_after)
			assert_int_equal(sys_get(&t, 0x20020 + 0x7ffe, 2), c->stack_after);
	}
}

/* CR4.PVI at CPL 3: CLI and STI change VIF. */
static void test_pvi(void **state)
{
	for (unsigned i = 0; i < 8; i++) {
		bool pvi = i & 1, sti = i & 2, vip = i & 4;
		struct frame f;

		sys_start(&t, 32, 3);
		t.st.cr4 |= pvi ? CR4_PVI : 0;
		t.st.rflags |= FL_IF | (sti ? 0 : FL_VIF) | (vip ? FL_VIP : 0);
		if (sti)
			SYS_CODE(&t, 0xfb, 0xcd, 0x80);
		else
			SYS_CODE(&t, 0xfa, 0xcd, 0x80);
		f = sys_run(&t);
		assert_int_equal(f.vec, pvi && !(sti && vip) ? 0x80 : EXC_GP);
		if (f.vec == 0x80)
			assert_int_equal(f.flags & (FL_IF | FL_VIF), FL_IF | (sti ? FL_VIF : 0));
	}
}

/* ---- double and triple faults -----------------------------------------------------------------
 */
/*
 * First exception, and what its delivery meets: a gate that is not present
 * (#NP), or one in a page that is not (#PF).
 */
static void test_double(void **state)
{
	static const struct { uint8_t code[3], vec, cls; } first[] = {
		{ { 0x0f, 0x0b }, EXC_UD, 0 },
		{ { 0xf7, 0xf1 }, EXC_DE, 1 },
		{ { 0x8e, 0xe0 }, EXC_GP, 1 },		/* mov fs, eax */
		{ { 0x8b, 0x03 }, EXC_PF, 2 },		/* mov eax, [rbx] */
		{ { 0xcd, 0x40 }, 0x40, 0 },
		{ { 0xcc }, EXC_BP, 0 },
	};

	for (unsigned i = 0; i < ARRAY_SIZE(first) * 2; i++) {
		unsigned cls = first[i / 2].cls, vec = first[i / 2].vec;
		bool by_pf = i & 1;
		struct frame f;
		int want = cls == 2 || (cls == 1 && !by_pf) ? EXC_DF : by_pf ? EXC_PF : EXC_NP;

		sys_start(&t, 64, 0);
		t.st.gpr[R_RBX] = 0x600000000;		/* not mapped */
		t.st.gpr[R_RAX] = 0x1234;
		svm_code(&t, first[i / 2].code, 3);
		if (by_pf && vec == EXC_PF)	/* handler's stack is not there */
			sys_gate(&t, SYS_IDT, vec, 16, 0xee, K64, SYS_HAND + 16 * vec, 2);
		else if (by_pf)
			sys_gate(&t, SYS_IDT, vec, 16, 0xee, K64, SYS_HAND + 16 * vec, 2);
		else
			sys_gate(&t, SYS_IDT, vec, 16, 0x6e, K64, SYS_HAND + 16 * vec, 0);
		sys_put(&t, SYS_TSS + 0x24 + 8, 0x600001000, 8);
		f = sys_run(&t);
		if (f.vec != want || f.ip != SVM_CODE)
			fail_msg("vector %u, %s: %d at %#llx", vec, by_pf ? "#PF" : "#NP", f.vec,
				 (unsigned long long)f.ip);
		if (want == EXC_DF)
			assert_int_equal(f.err, 0);
		if (want == EXC_NP)
			assert_int_equal(f.err, vec << 3 | 2 | (vec != 0x40 && vec != EXC_BP));
		/* and #DF that cannot be delivered either */
		if (want != EXC_DF)
			continue;
		sys_start(&t, 64, 0);
		t.st.gpr[R_RBX] = 0x600000000;
		t.st.gpr[R_RAX] = 0x1234;
		sys_gate(&t, SYS_IDT, vec, 16, 0x6e, K64, 0, 0);
		sys_gate(&t, SYS_IDT, EXC_DF, 16, by_pf ? 0xee : 0x6e, K64, SYS_HAND,
			 by_pf ? 2 : 0);
		sys_put(&t, SYS_TSS + 0x24 + 8, 0x600001000, 8);
		assert_int_equal(sys_run(&t).vec, -2);
	}
}

/* ---- NMI, shadows, HLT --------------------------------------------------------------------------
 */
CODE(nmi_code, "64", "nop; nop; hlt");

static void test_nmi(void **state)
{
	struct frame f;

	sys_start(&t, 64, 0);
	LOAD(&t, nmi_code);
	t.st.nmi_pending = 1;
	f = sys_run(&t);
	check(f, EXC_NMI, SVM_CODE, "NMI");
	assert_true(t.st.nmi_blocked);
	t.st.nmi_pending = 1;		/* another one waits ... */
	t.st.rip = SVM_CODE;
	assert_int_equal(sys_run(&t).vec, -1);
	sys_start(&t, 64, 0);		/* ... for IRET, here one that faults */
	t.st.nmi_blocked = t.st.nmi_pending = 1;
	SYS_CODE(&t, 0x48, 0xcf);
	for (unsigned i = 0; i < 40; i += 8)
		sys_put(&t, SVM_STACK + i, 0, 8);
	f = sys_run(&t);
	check(f, EXC_NMI, SYS_HAND + 16 * EXC_GP, "NMI after the fault of IRET");
	sys_start(&t, 64, 0);		/* and a good one */
	t.st.nmi_blocked = t.st.nmi_pending = 1;
	sys_put(&t, SVM_STACK, SVM_CODE + 0x20, 8);
	sys_put(&t, SVM_STACK + 8, K64, 8);
	sys_put(&t, SVM_STACK + 16, 2 | FL_RF, 8);
	sys_put(&t, SVM_STACK + 24, SVM_STACK, 8);
	sys_put(&t, SVM_STACK + 32, KDS, 8);
	f = sys_run(&t);
	check(f, EXC_NMI, SVM_CODE + 0x20, "NMI after IRET");
	assert_int_equal(f.flags, 2 | FL_RF);	/* an interrupt does not lose RF */
}

static void irq(unsigned vec)
{
	pending = (int)vec;
}

static void test_shadows(void **state)
{
	sys_start(&t, 64, 0);
	irq(0x50);
	SYS_CODE(&t, 0xfb, 0x90, 0x90, 0xf4);		/* sti; nop; nop; hlt */
	STEP("sti", 0x50, SVM_CODE + 2);
	sys_start(&t, 64, 0);
	irq(0x50);
	SYS_CODE(&t, 0xfb, 0xfa, 0x90, 0xf4);		/* sti; cli */
	assert_int_equal(sys_run(&t).vec, -1);
	sys_start(&t, 64, 0);
	irq(0x50);
	SYS_CODE(&t, 0xfb, 0xf4);			/* sti; hlt: wakes, behind HLT */
	STEP("sti; hlt", 0x50, SVM_CODE + 2);
	sys_start(&t, 64, 0);
	irq(0x50);
	t.st.intr_shadow = 1;
	t.st.rflags |= FL_IF;
	STEP("shadow in the state", 0x50, SVM_CODE + 1);
	sys_start(&t, 64, 0);
	t.st.gpr[R_RAX] = KDS;
	irq(0x50);
	t.st.rflags |= FL_IF;
	t.st.intr_shadow = 1;
	SYS_CODE(&t, 0x8e, 0xd0, 0x90, 0x90, 0xf4);	/* mov ss, eax; nop */
	STEP("mov ss", 0x50, SVM_CODE + 3);
	sys_start(&t, 64, 0);
	SYS_CODE(&t, 0xf4);
	t.st.nmi_pending = 1;
	t.st.nmi_blocked = 0;
	t.st.mp_state = MP_HALTED;
	STEP("NMI", EXC_NMI, SVM_CODE);
}

/* #AC: CPL 3, EFLAGS.AC and CR0.AM together. */
static void test_align(void **state)
{
	for (unsigned i = 0; i < 8; i++) {
		struct frame f;

		sys_start(&t, 64, i & 1 ? 3 : 0);
		t.st.rflags |= i & 2 ? FL_AC : 0;
		t.st.cr0 |= i & 4 ? CR0_AM : 0;
		t.st.gpr[R_RBX] = SVM_DATA + 2;
		SYS_CODE(&t, 0x66, 0x8b, 0x03, 0x8b, 0x03, 0xcd, 0x80);
		f = sys_run(&t);
		check(f, i == 7 ? EXC_AC : 0x80, SVM_CODE + (i == 7 ? 3 : 7), "align");
		if (i == 7)
			assert_int_equal(f.err, 0);
	}
}

/* Priority and kind of the pushed RIP at a few faults. */
static void test_faults(void **state)
{
	struct frame f;

	sys_start(&t, 64, 0);
	t.st.rip = 1ull << 46;		/* fetch: #PF, then not canonical: #GP */
	f = sys_run(&t);
	check(f, EXC_PF, 1ull << 46, "fetch");
	assert_true(t.st.cr2 == 1ull << 46);
	sys_start(&t, 64, 0);
	t.st.gpr[R_RBX] = 1ull << 47;
	SYS_CODE(&t, 0x8b, 0x03);
	f = sys_run(&t);
	check(f, EXC_GP, SVM_CODE, "canonical");
	assert_int_equal(f.err, 0);
	sys_start(&t, 64, 0);
	t.st.gpr[R_RBP] = 1ull << 47;
	SYS_CODE(&t, 0x8b, 0x45, 0x00);
	STEP("canonical by RBP", EXC_SS, SVM_CODE);
	sys_start(&t, 64, 3);		/* privileged */
	SYS_CODE(&t, 0xf4);
	STEP("hlt", EXC_GP, SVM_CODE);
	sys_start(&t, 64, 0);		/* lock where there is none */
	SYS_CODE(&t, 0xf0, 0x90);
	STEP("lock", EXC_UD, SVM_CODE);
	sys_start(&t, 64, 0);		/* MONITOR, MWAIT are not advertised */
	SYS_CODE(&t, 0x0f, 0x01, 0xc8);
	STEP("monitor", EXC_UD, SVM_CODE);
	sys_start(&t, 64, 0);
	SYS_CODE(&t, 0x0f, 0x01, 0xc9);
	STEP("mwait", EXC_UD, SVM_CODE);
	sys_start(&t, 64, 0);		/* longer than 15 bytes */
	SYS_CODE(&t, 0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x66,
		 0x66, 0x66, 0x90);
	STEP("length", EXC_GP, SVM_CODE);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_real, setup, teardown),
		cmocka_unit_test_setup_teardown(test_prot_gates, setup, teardown),
		cmocka_unit_test_setup_teardown(test_bad_gates, setup, teardown),
		cmocka_unit_test_setup_teardown(test_long, setup, teardown),
		cmocka_unit_test_setup_teardown(test_v86_frame, setup, teardown),
		cmocka_unit_test_setup_teardown(test_v86_int, setup, teardown),
		cmocka_unit_test_setup_teardown(test_v86_flags, setup, teardown),
		cmocka_unit_test_setup_teardown(test_pvi, setup, teardown),
		cmocka_unit_test_setup_teardown(test_double, setup, teardown),
		cmocka_unit_test_setup_teardown(test_nmi, setup, teardown),
		cmocka_unit_test_setup_teardown(test_shadows, setup, teardown),
		cmocka_unit_test_setup_teardown(test_align, setup, teardown),
		cmocka_unit_test_setup_teardown(test_faults, setup, teardown),
	};

	return cmocka_run_group_tests_name("soft-excp", tests, NULL, NULL);
}
