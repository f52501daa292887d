/* SPDX-License-Identifier: MIT */
/*
 * Decoder and disassembler: encodings whose text and length GNU objdump
 * confirmed, encodings that do not exist, and random bytes, which must never
 * be read beyond their end.  Intel SDM vol. 2, chapter 2 and appendix A.
 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <stdlib.h>
#include <cmocka.h>
#include "../../src/cpu/soft/soft.h"

struct enc {
	unsigned bits;
	const char *hex, *text;
};

static const struct enc known[] = {
#include "soft_decode_cases.inc"
};

/* No such instruction, or not with these prefixes, or not advertised. */
static const struct enc bad[] = {
	{ 64, "06", NULL }, { 64, "27", NULL }, { 64, "60", NULL }, { 64, "d4 0a", NULL },
	{ 64, "62 f1 7c 48 58 c0", NULL },
	/* VEX: a prefix before it, vvvv in use, L, W or map that the row has not, no VSIB. */
	{ 64, "66 c5 f8 77", NULL }, { 64, "f2 c5 f8 77", NULL }, { 64, "f3 c5 f8 77", NULL },
	{ 64, "f0 c5 f8 77", NULL }, { 64, "48 c5 f8 77", NULL }, { 64, "c5 e8 77", NULL },
	{ 64, "c5 fd 6e c0", NULL }, { 64, "c4 e2 f9 18 c0", NULL }, { 64, "c4 e4 79 18 c0", NULL },
	{ 64, "c4 e0 79 18 c0", NULL }, { 64, "c5 e9 6f c0", NULL }, { 64, "c4 e2 79 90 00", NULL },
	{ 64, "c4 e2 79 90 c4", NULL }, { 64, "c4 e2 79 16 c0", NULL },
	{ 64, "c4 e2 7c f2 c0", NULL }, { 64, "c4 e3 6b f0 c0 05", NULL },
	{ 64, "f0 90", NULL }, { 64, "f0 01 c3", NULL }, { 64, "f0 89 03", NULL },
	{ 64, "f0 39 03", NULL }, { 64, "f0 0f a3 03", NULL }, { 64, "8d c0", NULL },
	{ 32, "8d c0", NULL }, { 64, "82 00 00", NULL },
	{ 64, "0f 38 f0 c3", NULL }, { 64, "0f c7 c8", NULL }, { 64, "8e fe", NULL },
	{ 64, "fe d0", NULL }, { 64, "ff f8", NULL },
};

static unsigned from_hex(const char *hex, uint8_t *out)
{
	unsigned n = 0;
	char *end;

	for (const char *p = hex; *p; p = end) {
		out[n++] = (uint8_t)strtoul(p, &end, 16);
		while (*end == ' ')
			end++;
	}
	return n;
}

static void test_known(void **state)
{
	for (size_t i = 0; i < ARRAY_SIZE(known); i++) {
		uint8_t b[16] = { 0 };
		unsigned n = from_hex(known[i].hex, b);
		char text[128];

		assert_int_equal(soft_disas(b, n, known[i].bits, 0x1000, text, sizeof(text)), n);
		assert_string_equal(text, known[i].text);
		/* One byte fewer is not enough. */
		n = soft_disas(b, n - 1, known[i].bits, 0x1000, text, sizeof(text));
		assert_int_equal(n, 0);
	}
}

static void test_bad(void **state)
{
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		uint8_t b[16] = { 0 };
		char text[128];

		from_hex(bad[i].hex, b);
		if (soft_disas(b, 15, bad[i].bits, 0, text, sizeof(text)))
			fail_msg("%s (%u bits) decodes as %s", bad[i].hex, bad[i].bits, text);
	}
}

/* Fifteen bytes are legal, sixteen are #GP (SDM vol. 2, 2.3.11). */
static void test_length_limit(void **state)
{
	uint8_t b[16];
	struct uop u;

	memset(b, 0x66, sizeof(b));
	b[14] = 0x90;
	assert_int_equal(soft_decode(b, sizeof(b), MODE_CS32, 0, &u), 15);
	b[14] = 0x66;
	b[15] = 0x90;
	assert_int_equal(soft_decode(b, sizeof(b), MODE_CS32, 0, &u), -EXC_GP);
}

/* In real and virtual-8086 mode C4 and C5 are LES and LDS only (SDM vol. 2, 2.3.5). */
static void test_vex_real_mode(void **state)
{
	static const uint8_t b[] = { 0xc5, 0xf8, 0x77, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0 };
	struct uop u;

	assert_int_equal(soft_decode(b, sizeof(b), 0, 0, &u), -EXC_UD);
	assert_int_equal(soft_decode(b, sizeof(b), MODE_PE | MODE_VM86, 0, &u), -EXC_UD);
	assert_int_equal(soft_decode(b, sizeof(b), MODE_PE, 0, &u), 3);
	assert_int_equal(soft_decode(b, sizeof(b), MODE_PE | MODE_CS32, 0, &u), 3);
}

/* A REX prefix counts only right before the opcode (SDM vol. 2, 2.2.1). */
static void test_rex_position(void **state)
{
	static const uint8_t b[] = { 0x48, 0x66, 0x01, 0xc3 };
	struct uop u;

	assert_int_equal(soft_decode(b, sizeof(b), MODE_CS64 | MODE_PE, 0, &u), 4);
	assert_int_equal(u.osize, 2);
}

static void test_random(void **state)
{
	static const unsigned modes[] = { 0, MODE_CS32 | MODE_PE, MODE_CS64 | MODE_PE | MODE_LMA };
	uint64_t x = 88172645463325252ull;

	for (unsigned i = 0; i < 300000; i++) {
		uint8_t b[15];
		size_t n = i % 15 + 1;
		uint8_t *heap = malloc(n);	/* the address sanitizer watches its end */
		struct uop u;
		int r;

		for (unsigned k = 0; k < 15; k++) {
			x ^= x << 13;
			x ^= x >> 7;
			x ^= x << 17;
			b[k] = (uint8_t)x;
		}
		memcpy(heap, b, n);
		r = soft_decode(heap, n, modes[i % 3], 0, &u);
		assert_true(r <= (int)n);
		if (r > 0) {
			assert_int_equal(u.len, r);
			assert_true(u.row < soft_optable_rows);
			assert_true(u.osize && u.osize <= 8);
			assert_true(u.base <= GPR_RIP && u.index <= GPR_RIP);
			/* Nor do the bytes behind it matter. */
			assert_int_equal(soft_decode(b, 15, modes[i % 3], 0, &u), r);
		}
		free(heap);
	}
}

static int setup(void **state)
{
	soft_optable_init();
	return 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_known), cmocka_unit_test(test_bad),
		cmocka_unit_test(test_length_limit), cmocka_unit_test(test_rex_position),
		cmocka_unit_test(test_vex_real_mode), cmocka_unit_test(test_random),
	};

	return cmocka_run_group_tests(tests, setup, NULL);
}
