/* SPDX-License-Identifier: MIT */
/*
 * libFuzzer target: the instruction decoder and the disassembler.  First
 * byte: code size; then instructions, each decoded from a block of exactly
 * the bytes that are left, so that the sanitizer watches the end.
 */
#include "fuzz.h"
#include "../../src/cpu/soft/soft.h"
#include <stdlib.h>

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
	soft_optable_init();
	return 0;
}

static void check(const struct uop *u, int r, size_t n)
{
	HV_BUG_ON(r > (int)MIN(n, 15u) || u->len != r || u->row >= soft_optable_rows);
	HV_BUG_ON(!u->osize || u->osize > 8 || u->base > GPR_RIP || u->index > GPR_RIP);
}

static unsigned one(const uint8_t *p, size_t n, unsigned which)
{
	static const unsigned modes[] = { 0, MODE_CS32 | MODE_PE, MODE_CS64 | MODE_PE | MODE_LMA,
					  MODE_PE, MODE_LMA | MODE_PE | MODE_CS32 };
	static const unsigned bits[] = { 16, 32, 64, 16, 32 };
	char text[128], tiny[5];
	struct uop u = { 0 }, again = { 0 };
	int r = soft_decode(p, n, modes[which], 0, &u);

	if (r > 0) {
		check(&u, r, n);
		/* The bytes behind it do not matter. */
		HV_BUG_ON(soft_decode(p, (size_t)r, modes[which], 0, &again) != r);
		HV_BUG_ON(soft_decode(p, (size_t)r - 1, modes[which], 0, &again) > 0);
	}
	soft_disas(p, n, bits[which], 0xfffffffffffffff0, text, sizeof(text));
	HV_BUG_ON(!memchr(text, 0, sizeof(text)));
	soft_disas(p, n, bits[which], 0, tiny, sizeof(tiny));
	return r > 0 ? (unsigned)r : 1;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	size_t n;

	if (len < 2 || len > 256)
		return 0;
	n = len - 1;
	for (size_t pos = 0; pos < n;) {
		uint8_t *heap = malloc(n - pos);

		memcpy(heap, data + 1 + pos, n - pos);
		pos += one(heap, n - pos, data[0] % 5);
		free(heap);
	}
	return 0;
}
