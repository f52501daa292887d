/* SPDX-License-Identifier: MIT */
/*
 * For profiling the translator: HV_JIT_MAP=FILE in the environment writes a line for
 * each translated block: host address, guest RIP, its bits, guest code, host code, all
 * hexadecimal.  scripts/jit-profile joins it with the samples of `perf record`.
 */
#include "jit_trans.h"
#include <stdio.h>
#include <stdlib.h>

static void put_hex(FILE *f, const uint8_t *p, size_t n)
{
	fputc(' ', f);
	for (; n--; p++) {
		fputc("0123456789abcdef"[*p >> 4], f);
		fputc("0123456789abcdef"[*p & 15], f);
	}
}

void soft_jit_map_open(struct soft_jit *j, unsigned cpu)
{
	const char *name = getenv("HV_JIT_MAP");

	if (name && *name)
		j->map = fopen(name, cpu ? "ae" : "we");
}

void soft_jit_map_close(struct soft_jit *j)
{
	if (j->map)
		fclose(j->map);
}

void soft_jit_map_block(const struct soft *s, const struct block *b)
{
	const struct soft_jit *j = s->jit;

	fprintf(j->map, "%llx %llx %u",
		(unsigned long long)(uintptr_t)(b->jit->poll - j->rw + j->rx),
		(unsigned long long)s->gpr[GPR_RIP], b->mode & MODE_CS64 ? 64 : 32);
	put_hex(j->map, b->copy, b->bytes);
	put_hex(j->map, b->jit->poll, b->jit->len);
	fputc('\n', j->map);
}
