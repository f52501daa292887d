/* SPDX-License-Identifier: MIT */
/*
 * Beside the random differential test: every value of the 8-bit arithmetic
 * and shift instructions, by a loop that runs on the host and in the
 * interpreter; what the CPUID model does not advertise must raise #UD
 * although the host may execute it; XSAVE, MXCSR and x87 rules.
 */
#include "../lib/diff.h"
#include "../lib/testvm.h"
#include <stdio.h>
#include <stdlib.h>

static uint8_t zero[DIFF_DATA_LEN];

static int setup(void **state)
{
	diff_guest_init(zero);
	return !diff_native_init(zero);
}

/*
 * rbx = hash over ecx = 0...1FFFF of AX, DX and the flags in r8, after the
 * four bytes at +17 with AL = CL = ecx[7:0], DL = ecx[15:8], CF = ecx[16].
 */
static const uint8_t loop[] = {
	0x31, 0xc9,			/* xor ecx, ecx */
	0x31, 0xdb,			/* xor ebx, ebx */
	0x49, 0x89, 0xe2,		/* mov r10, rsp */
	0x0f, 0xb6, 0xc1,		/* 7: movzx eax, cl */
	0x0f, 0xb6, 0xd5,		/* movzx edx, ch */
	0x0f, 0xba, 0xe1, 0x10,		/* bt ecx, 16 */
	0x90, 0x90, 0x90, 0x90,		/* 17: the instruction */
	0x9c,				/* pushfq */
	0x5e,				/* pop rsi */
	0x44, 0x21, 0xc6,		/* and esi, r8d */
	0x0f, 0x1f, 0x40, 0x00,		/* nop */
	0xc1, 0xe6, 0x10,		/* shl esi, 16 */
	0x01, 0xf0,			/* add eax, esi */
	0x48, 0x69, 0xdb, 0x3f, 0x00, 0x01, 0x00,	/* imul rbx, rbx, 1003fh */
	0x48, 0x01, 0xc3,		/* add rbx, rax */
	0x48, 0x01, 0xd3,		/* add rbx, rdx */
	0xff, 0xc1,			/* inc ecx */
	0x81, 0xf9, 0x00, 0x00, 0x02, 0x00,	/* cmp ecx, 20000h */
	0x75, 0xc6,			/* jne 7 */
};
_Static_assert(sizeof(loop) <= 64, "diff_case.code");

static void base_case(struct diff_case *c)
{
	static const uint16_t fcw = 0x37f;
	static const uint32_t mxcsr = 0x1f80;

	memset(c, 0, sizeof(*c));
	c->bits = 64;
	c->in.rip = DIFF_CODE + 0x100;
	c->in.rflags = 0x202;
	c->in.gpr[R_RSP] = DIFF_DATA + 0x1000;
	memcpy(c->in.fx, &fcw, 2);
	memcpy(c->in.fx + 24, &mxcsr, 4);
}

static void exhaust(const char *name, const uint8_t *insn, unsigned len, uint32_t flags)
{
	static struct diff_case c;
	static struct diff_out h, g;

	base_case(&c);
	memcpy(c.code, loop, sizeof(loop));
	memcpy(c.code + 17, insn, len);
	c.code[sizeof(loop) - 1] = (uint8_t)(7 - (int)sizeof(loop));
	c.len = sizeof(loop);
	c.in.gpr[R_R8] = flags;
	diff_native_run(&c, &h);
	diff_guest_run(&c, &g);
	assert_int_equal(h.st.gpr[R_RCX], 0x20000);
	if (h.vector != 3 || g.vector != 3 || h.st.gpr[R_RBX] != g.st.gpr[R_RBX])
		fail_msg("%s: host %016llx (vector %u), interpreter %016llx (vector %u)", name,
			 (unsigned long long)h.st.gpr[R_RBX], h.vector,
			 (unsigned long long)g.st.gpr[R_RBX], g.vector);
}

#define NOT(f) (FL_ARITH & ~(f))

static void test_alu8(void **state)
{
	static const char *const names[] = {
		"add", "or", "adc", "sbb", "and", "sub", "xor", "cmp"
	};
	static const struct { const char *name; uint8_t b[2]; uint32_t flags; } others[] = {
		{ "test", { 0x84, 0xd0 }, NOT(FL_AF) }, { "not", { 0xf6, 0xd0 }, FL_ARITH },
		{ "neg", { 0xf6, 0xd8 }, FL_ARITH }, { "inc", { 0xfe, 0xc0 }, FL_ARITH },
		{ "dec", { 0xfe, 0xc8 }, FL_ARITH }, { "mul", { 0xf6, 0xe2 }, FL_CF | FL_OF },
		{ "imul", { 0xf6, 0xea }, FL_CF | FL_OF },
	};

	for (unsigned i = 0; i < 8; i++) {
		uint8_t b[2] = { (uint8_t)(i * 8), 0xd0 };
		bool logic = i == 1 || i == 4 || i == 6;

		exhaust(names[i], b, 2, logic ? NOT(FL_AF) : FL_ARITH);
	}
	for (size_t i = 0; i < ARRAY_SIZE(others); i++)
		exhaust(others[i].name, others[i].b, 2, others[i].flags);
}

static void test_shift8(void **state)
{
	for (unsigned n = 0; n < 8; n++) {
		uint8_t by1[2] = { 0xd0, (uint8_t)(0xc0 | n << 3) };
		uint8_t bycl[2] = { 0xd2, (uint8_t)(0xc2 | n << 3) };
		uint32_t af = n < 4 ? 0 : FL_AF;

		exhaust("shift by 1", by1, 2, NOT(af));
		/* OF is undefined for counts above 1, CF for SHL and SHR at counts above 8. */
		exhaust("shift by CL", bycl, 2, NOT(af | FL_OF | (n < 4 || n == 7 ? 0 : FL_CF)));
	}
}

/* ---- not advertised ------------------------------------------------------------ */
static const struct { const char *name; uint8_t n, b[8]; } absent[] = {
	{ "EVEX vmovdqa64", 6, { 0x62, 0xf1, 0xfd, 0x48, 0x6f, 0xc1 } },
	{ "kmovw", 4, { 0xc5, 0xf8, 0x92, 0xc1 } },
	{ "vpdpbusd", 5, { 0xc4, 0xe2, 0x71, 0x50, 0xc2 } },
	{ "vpmadd52luq", 5, { 0xc4, 0xe2, 0xf1, 0xb4, 0xc2 } },
	{ "FMA4 vfmaddps", 6, { 0xc4, 0xe3, 0x71, 0x68, 0xc2, 0x30 } },
	{ "gf2p8mulb", 5, { 0x66, 0x0f, 0x38, 0xcf, 0xc1 } },
	{ "gf2p8affineqb", 6, { 0x66, 0x0f, 0x3a, 0xce, 0xc1, 1 } },
	{ "xsaves", 4, { 0x0f, 0xc7, 0x2c, 0x24 } },
	{ "xrstors", 4, { 0x0f, 0xc7, 0x1c, 0x24 } },
	{ "rdpru", 3, { 0x0f, 0x01, 0xfd } },
	{ "monitorx", 3, { 0x0f, 0x01, 0xfa } },
	{ "vmmcall", 3, { 0x0f, 0x01, 0xd9 } },
	{ "vmcall", 3, { 0x0f, 0x01, 0xc1 } },
	{ "xend", 3, { 0x0f, 0x01, 0xd5 } },
	{ "xbegin", 6, { 0xc7, 0xf8, 0, 0, 0, 0 } },
	{ "extrq", 4, { 0x66, 0x0f, 0x79, 0xc1 } },
	{ "insertq", 4, { 0xf2, 0x0f, 0x79, 0xc1 } },
	{ "movntss", 5, { 0xf3, 0x0f, 0x2b, 0x04, 0x24 } },
	{ "movntsd", 5, { 0xf2, 0x0f, 0x2b, 0x04, 0x24 } },
	{ "3DNow! pfadd", 4, { 0x0f, 0x0f, 0xc1, 0x9e } },
	{ "femms", 2, { 0x0f, 0x0e } },
	{ "ptwrite", 4, { 0xf3, 0x0f, 0xae, 0xe0 } },
	{ "umonitor", 4, { 0xf3, 0x0f, 0xae, 0xf0 } },
	{ "movdiri", 5, { 0x0f, 0x38, 0xf9, 0x04, 0x24 } },
	{ "movdir64b", 6, { 0x66, 0x0f, 0x38, 0xf8, 0x04, 0x24 } },
	{ "ud0", 3, { 0x0f, 0xff, 0xc0 } },
	{ "salc", 1, { 0xd6 } },
	{ "XOP", 6, { 0x8f, 0xe9, 0x78, 0x81, 0xc1, 0 } },
};

static void test_absent(void **state)
{
	static struct diff_case c;
	static struct diff_out g;

	for (size_t i = 0; i < ARRAY_SIZE(absent); i++) {
		base_case(&c);
		memcpy(c.code, absent[i].b, absent[i].n);
		c.len = absent[i].n;
		diff_guest_run(&c, &g);
		if (g.vector != EXC_UD || g.st.rip != c.in.rip)
			fail_msg("%s: vector %u, not #UD", absent[i].name, g.vector);
	}
}

/* TZCNT and LZCNT without their CPUID bits are BSF and BSR (SDM vol. 2). */
static void test_bit_scan_fallback(void **state)
{
	static const uint8_t code[] = { 0xf3, 0x0f, 0xbd, 0xc1 };	/* lzcnt eax, ecx */
	static struct diff_case c;
	static struct diff_out g;

	base_case(&c);
	memcpy(c.code, code, sizeof(code));
	c.len = sizeof(code);
	c.in.gpr[R_RCX] = 0x00010000;
	diff_guest_run(&c, &g);
	assert_int_equal(g.vector, EXC_BP);
	assert_int_equal(g.st.gpr[R_RAX], soft_has_feat(F_LZCNT) ? 15 : 16);
}

/* ---- state --------------------------------------------------------------------- */
/* SDM vol. 1, 13.4.2: XSAVE, other values, XRSTOR gives the registers back. */
static void test_xsave_roundtrip(void **state)
{
	static const uint8_t code[] = {
		0xd9, 0xe8,			/* fld1 */
		0x0f, 0xae, 0x23,		/* xsave [rbx] */
		0xdb, 0xe3,			/* fninit */
		0x66, 0x0f, 0xef, 0xc9,		/* pxor xmm1, xmm1 */
		0x0f, 0xae, 0x2b,		/* xrstor [rbx] */
	};
	static struct diff_case c;
	static struct diff_out g;
	uint64_t bv;

	base_case(&c);
	memcpy(c.code, code, sizeof(code));
	c.len = sizeof(code);
	c.in.gpr[R_RAX] = 7;
	c.in.gpr[R_RBX] = DIFF_DATA + 0x400;
	memset(c.in.fx + 160, 0xa5, 64);
	memset(c.in.fx + DIFF_YMM, 0x5a, 32);
	memset(diff_guest_data, 0, DIFF_DATA_LEN);
	diff_guest_run(&c, &g);
	assert_int_equal(g.vector, EXC_BP);
	memcpy(&bv, diff_guest_data + 0x400 + 512, 8);
	assert_int_equal(bv, soft_xcr0_mask());
	assert_memory_equal(g.st.fx + 160, c.in.fx + 160, 256);
	assert_memory_equal(g.st.fx + DIFF_YMM, c.in.fx + DIFF_YMM, 256);
	assert_int_equal(g.st.fx[4], 0x80);
	assert_int_equal(ld_le64(g.st.fx + 32), 1ull << 63);
}

/* SDM vol. 1, 13.10 and 13.8.2: XSAVEC writes what is in use; XRSTOR sets the rest to zero. */
static void test_xsavec(void **state)
{
	static const uint8_t code[] = {
		0x0f, 0xc7, 0x23,		/* xsavec [rbx] */
		0xc5, 0xf5, 0x76, 0xc9,		/* vpcmpeqd ymm1, ymm1, ymm1 */
		0x0f, 0xae, 0x2b,		/* xrstor [rbx] */
		0xb9, 1, 0, 0, 0,		/* mov ecx, 1 */
		0x0f, 0x01, 0xd0,		/* xgetbv: XCR0 and in use */
	};
	static struct diff_case c;
	static struct diff_out g;

	if (!soft_has_feat(F_AVX2))
		skip();
	base_case(&c);
	memcpy(c.code, code, sizeof(code));
	c.len = sizeof(code);
	c.in.gpr[R_RAX] = 7;
	c.in.gpr[R_RBX] = DIFF_DATA + 0x400;
	memset(c.in.fx + 160 + 16 * 3, 0xa5, 16);
	memset(diff_guest_data, 0x77, DIFF_DATA_LEN);
	memset(diff_guest_data + 0x400 + 528, 0, 48);
	diff_guest_run(&c, &g);
	assert_int_equal(g.vector, EXC_BP);
	assert_int_equal(g.st.gpr[R_RAX], 2);
	assert_memory_equal(g.st.fx + 160, c.in.fx + 160, 256);
	assert_memory_equal(g.st.fx + DIFF_YMM, c.in.fx + DIFF_YMM, 256);
	assert_int_equal(ld_le64(diff_guest_data + 0x400 + 512), 2);
	assert_int_equal(ld_le64(diff_guest_data + 0x400 + 520), 1ull << 63 | 7);
	assert_int_equal(ld_le64(diff_guest_data + 0x400 + 576), 0x7777777777777777);

}

/* SDM vol. 1, 13.5.3 and 14.3: no AVX before XCR0 says so; BMI does not mind. */
static void test_avx_off(void **state)
{
	static const uint8_t vex[] = { 0xc5, 0xf9, 0x6f, 0xc1 };	/* vmovdqa xmm0, xmm1 */
	static const uint8_t bmi[] = { 0xc4, 0xe2, 0x78, 0xf2, 0xc0 };	/* andn eax, eax, eax */
	struct vcpu *v = diff_guest_cpu();
	struct x86_state *st = hv_zalloc(sizeof(*st)), *keep = hv_zalloc(sizeof(*keep));
	static struct diff_case c;
	static struct diff_out g;
	struct err e = { 0 };

	if (!soft_has_feat(F_AVX2) || !soft_has_feat(F_BMI1))
		skip();
	base_case(&c);
	v->ops->get_state(v, keep);
	for (unsigned i = 0; i < 6; i++) {
		*st = *keep;
		if (i % 3 == 0)
			st->xcr0 = 3;
		else if (i % 3 == 1)
			st->cr4 &= ~0x40000ull;
		else
			st->cr0 |= 8;		/* TS */
		assert_true(v->ops->set_state(v, st, &e));
		c.len = i < 3 ? sizeof(vex) : sizeof(bmi);
		memcpy(c.code, i < 3 ? vex : bmi, c.len);
		diff_guest_run(&c, &g);
		assert_int_equal(g.vector, i >= 3 ? EXC_BP : i == 2 ? EXC_NM : EXC_UD);
	}
	assert_true(v->ops->set_state(v, keep, &e));
	st->xcr0 = 0xe7;
	assert_false(v->ops->set_state(v, st, &e));
	free(st);
	free(keep);
}

/* SDM vol. 1, 8.1.8 and 8.3.1: FNSTENV gives instruction and operand pointers, never the host's. */
static void test_fip(void **state)
{
	static const uint8_t code[] = {
		0xd9, 0x03,			/* fld dword [rbx] */
		0xd9, 0x73, 0x40,		/* fnstenv [rbx + 40h] */
	};
	static struct diff_case c;
	static struct diff_out g;

	base_case(&c);
	memcpy(c.code, code, sizeof(code));
	c.len = sizeof(code);
	c.in.gpr[R_RBX] = DIFF_DATA + 0x400;
	diff_guest_run(&c, &g);
	assert_int_equal(g.vector, EXC_BP);
	assert_int_equal(ld_le32(diff_guest_data + 0x44c), DIFF_CODE + 0x100);
	assert_int_equal(ld_le32(diff_guest_data + 0x454), DIFF_DATA + 0x400);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_alu8),
		cmocka_unit_test(test_shift8),
		cmocka_unit_test(test_absent),
		cmocka_unit_test(test_bit_scan_fallback),
		cmocka_unit_test(test_xsave_roundtrip),
		cmocka_unit_test(test_xsavec),
		cmocka_unit_test(test_avx_off),
		cmocka_unit_test(test_fip),
	};

	return cmocka_run_group_tests(tests, setup, NULL);
}
