/* SPDX-License-Identifier: MIT */
/*
 * Floating point and vectors.  Only operations that IEEE 754 defines exactly, so that
 * every processor and every emulator must give the same bits; no fused multiply-add.
 */
#include "bench.h"
#include <immintrin.h>
#include <math.h>
#include <string.h>

/* Five bodies, all pairs. */
struct body {
	double p[3], v[3], mass;
};
static struct body bodies[5];

static void prepare_nbody(void)
{
	uint64_t seed = 11;
	int i, k;

	for (i = 0; i < 5; i++) {
		for (k = 0; k < 3; k++) {
			bodies[i].p[k] = (double)(rnd(&seed) % 2000) / 100 - 10 + i * 5;
			bodies[i].v[k] = (double)(rnd(&seed) % 2000) / 5000 - 0.2;
		}
		bodies[i].mass = 0.01 + (double)(rnd(&seed) % 1000) / 500;
	}
}

static NOINLINE void step(double dt)
{
	double d[3], dist2, mag;
	int i, j, k;

	for (i = 0; i < 5; i++)
		for (j = i + 1; j < 5; j++) {
			for (k = 0; k < 3; k++)
				d[k] = bodies[i].p[k] - bodies[j].p[k];
			dist2 = d[0] * d[0] + d[1] * d[1] + d[2] * d[2] + 0.01;
			mag = dt / (dist2 * sqrt(dist2));
			for (k = 0; k < 3; k++) {
				bodies[i].v[k] -= d[k] * bodies[j].mass * mag;
				bodies[j].v[k] += d[k] * bodies[i].mass * mag;
			}
		}
	for (i = 0; i < 5; i++)
		for (k = 0; k < 3; k++)
			bodies[i].p[k] += dt * bodies[i].v[k];
}

static uint64_t run_nbody(uint64_t n)
{
	while (n--)
		step(0.001);
	return hash_bytes(bodies, sizeof(bodies));
}

#define DIM 160
static double ma[DIM][DIM], mb[DIM][DIM], mc[DIM][DIM];

static void prepare_matmul(void)
{
	int i, j;

	for (i = 0; i < DIM; i++)
		for (j = 0; j < DIM; j++) {
			ma[i][j] = (i * 3 + j) % 17 / 8.0 - 1;
			mb[i][j] = (i + j * 5) % 13 / 4.0 - 1.5;
			mc[i][j] = 0;
		}
}

static uint64_t run_matmul(uint64_t n)
{
	int i, j, k;
	double s;

	while (n--)
		for (i = 0; i < DIM; i++)
			for (j = 0; j < DIM; j++) {
				for (s = mc[i][j] * 0.5, k = 0; k < DIM; k++)
					s += ma[i][k] * mb[k][j];
				mc[i][j] = s;
			}
	return hash_bytes(mc, sizeof(mc));
}

/* Buffers of 16 KB for the vector rows. */
static uint8_t va[16384] __attribute__((aligned(64))), vb[16384] __attribute__((aligned(64)));

static void prepare_vec(void)
{
	uint64_t seed = 3;
	size_t i;

	for (i = 0; i < sizeof(va); i++) {
		va[i] = (uint8_t)rnd(&seed);
		vb[i] = (uint8_t)rnd(&seed);
	}
}

static void prepare_dbl(void)
{
	uint64_t seed = 4;
	double x;
	size_t i;

	for (i = 0; i < sizeof(va); i += 8) {
		x = 1 + (double)(rnd(&seed) & 0xffff) / 65536;
		memcpy(va + i, &x, 8);
		x = 1 + (double)(rnd(&seed) & 0xffff) / 65536;
		memcpy(vb + i, &x, 8);
	}
}

static uint64_t run_sse2int(uint64_t n)
{
	__m128i acc = _mm_setzero_si128(), *a = (__m128i *)va, *b = (__m128i *)vb, x, y;
	uint64_t out[2];
	size_t i;

	while (n--)
		for (i = 0; i < sizeof(va) / 16; i++) {
			x = _mm_load_si128(&a[i]);
			y = _mm_load_si128(&b[i]);
			x = _mm_add_epi32(x, _mm_shuffle_epi32(y, 0x4e));
			y = _mm_xor_si128(y, _mm_slli_epi32(x, 5));
			x = _mm_add_epi64(x, _mm_mul_epu32(x, y));
			acc = _mm_add_epi8(acc, _mm_unpacklo_epi8(x, y));
			acc = _mm_max_epi16(acc, _mm_srli_epi16(y, 3));
			acc = _mm_sub_epi16(acc, _mm_mullo_epi16(x, y));
			_mm_store_si128(&a[i], x);
		}
	_mm_storeu_si128((__m128i *)out, acc);
	return out[0] ^ out[1] ^ hash_bytes(va, sizeof(va));
}

static uint64_t run_sse2dbl(uint64_t n)
{
	__m128d acc = _mm_setzero_pd(), half = _mm_set1_pd(0.5), one = _mm_set1_pd(1), x, y;
	double *a = (double *)va, *b = (double *)vb;
	uint64_t out[2];
	size_t i;

	while (n--)
		for (i = 0; i < sizeof(va) / 8; i += 2) {
			x = _mm_load_pd(a + i);
			y = _mm_load_pd(b + i);
			x = _mm_add_pd(_mm_mul_pd(x, half), _mm_mul_pd(y, half));
			y = _mm_sub_pd(_mm_mul_pd(x, y), one);
			acc = _mm_add_pd(acc, _mm_max_pd(x, y));
			acc = _mm_mul_pd(acc, half);
			if (!(i & 30))
				acc = _mm_add_pd(acc, _mm_div_pd(y, x));
			_mm_store_pd(a + i, x);
		}
	_mm_storeu_pd((double *)out, acc);
	return mix(out[0], out[1]) ^ hash_bytes(va, sizeof(va));
}

static int no_avx2(void)
{
	return !__builtin_cpu_supports("avx2");
}

__attribute__((target("avx2")))
static uint64_t run_avx2(uint64_t n)
{
	__m256i acc = _mm256_setzero_si256(), *a = (__m256i *)va, *b = (__m256i *)vb, x, y;
	__m256d sum = _mm256_setzero_pd(), half = _mm256_set1_pd(0.5), d;
	uint64_t out[4], outd[4];
	size_t i;

	while (n--)
		for (i = 0; i < sizeof(va) / 32; i++) {
			x = _mm256_load_si256(&a[i]);
			y = _mm256_load_si256(&b[i]);
			x = _mm256_add_epi32(x, _mm256_permute4x64_epi64(y, 0x4e));
			y = _mm256_xor_si256(y, _mm256_slli_epi32(x, 5));
			x = _mm256_add_epi32(x, _mm256_mullo_epi32(x, y));
			acc = _mm256_add_epi8(acc, _mm256_shuffle_epi8(x, y));
			acc = _mm256_max_epu8(acc, _mm256_srli_epi16(y, 3));
			d = _mm256_cvtepi32_pd(_mm256_castsi256_si128(y));
			sum = _mm256_add_pd(_mm256_mul_pd(sum, half), d);
			_mm256_store_si256(&a[i], x);
		}
	_mm256_storeu_si256((__m256i *)out, acc);
	_mm256_storeu_pd((double *)outd, sum);
	return hash_bytes(out, sizeof(out)) ^ hash_bytes(outd, sizeof(outd)) ^
	       hash_bytes(va, sizeof(va));
}

static uint64_t run_x87(uint64_t n)
{
	static long double tab[64];
	long double x = 1, y = 2, s = 0;
	uint64_t h = 0, part[2];
	uint64_t i;

	for (i = 0; i < 64; i++)
		tab[i] = 1.0L + (long double)i / 64;
	for (i = 0; i < n; i++) {
		x = x * 0.75L + tab[i & 63];
		y = y * 0.5L + x;
		s += y - x * 0.25L;
		if (!(i & 7))
			s = s / tab[(i >> 3) & 63];
		if (!(i & 31))
			tab[i >> 5 & 63] += 0.125L + (long double)(int)s * 0.0001L;
	}
	memset(part, 0, sizeof(part));
	memcpy(part, &s, 10);
	h = mix(mix(h, part[0]), part[1]);
	memcpy(part, &y, 10);
	return mix(mix(h, part[0]), part[1]);
}

const struct row fp_rows[] = {
	{ "nbody", 1000000, prepare_nbody, run_nbody, NULL },
	{ "matmul", 50, prepare_matmul, run_matmul, NULL },
	{ "sse2int", 40000, prepare_vec, run_sse2int, NULL },
	{ "sse2dbl", 30000, prepare_dbl, run_sse2dbl, NULL },
	{ "avx2", 60000, prepare_vec, run_avx2, no_avx2 },
	{ "x87", 10000000, NULL, run_x87, NULL },
	{ NULL, 0, NULL, NULL, NULL },
};
