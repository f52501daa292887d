/* SPDX-License-Identifier: MIT */
/* Rows that move memory: the C library's copy, string instructions, locked ones. */
#include "bench.h"
#include <string.h>

#define BLOCK (64 << 10)
#define LARGE (16 << 20)
static uint8_t *src, *dst;

static void fill(size_t size)
{
	uint64_t seed = 5;
	size_t i;

	src = grab(size);
	dst = grab(size);
	for (i = 0; i < size; i++)
		src[i] = (uint8_t)rnd(&seed);
}

static void prepare_block(void) { fill(BLOCK + 64); }
static void prepare_large(void) { fill(LARGE); }

/* One large copy and a few small ones of odd lengths. */
static uint64_t run_memcpy(uint64_t n)
{
	uint64_t i;

	for (i = 0; i < n; i++) {
		memcpy(dst, src + (i & 31), BLOCK);
		memcpy(dst + (i & 1023), src + (i & 511), 5 + (i & 63));
		memcpy(dst + 2048 + (i & 1023), src + (i & 511), 300 + (i & 255));
		__asm__ volatile("" : : : "memory");
	}
	return hash_bytes(dst, BLOCK);
}

static uint64_t run_movsb(uint64_t n)
{
	while (n--) {
		void *d = dst, *s = src;
		size_t c = LARGE;

		__asm__ volatile("rep movsb" : "+D"(d), "+S"(s), "+c"(c) : : "memory");
		src[n & (LARGE - 1)] ^= 1;
	}
	return hash_bytes(dst, LARGE);
}

static uint64_t run_atomic(uint64_t n)
{
	static uint64_t w[8];
	uint64_t i, h = 0, old;

	for (i = 0; i < n; i++) {
		h += __atomic_fetch_add(&w[0], i, __ATOMIC_SEQ_CST);
		__atomic_or_fetch(&w[1], i << 3, __ATOMIC_SEQ_CST);
		h ^= __atomic_exchange_n(&w[2], h, __ATOMIC_SEQ_CST);
		old = w[3];
		__atomic_compare_exchange_n(&w[3], &old, old + (i & 7), 0, __ATOMIC_SEQ_CST,
					    __ATOMIC_SEQ_CST);
	}
	return h ^ hash_bytes(w, sizeof(w));
}

const struct row mem_rows[] = {
	{ "memcpy", 30000, prepare_block, run_memcpy, NULL },
	{ "movsb", 6, prepare_large, run_movsb, NULL },
	{ "atomic", 5000000, NULL, run_atomic, NULL },
	{ NULL, 0, NULL, NULL, NULL },
};
