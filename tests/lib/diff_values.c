/* SPDX-License-Identifier: MIT */
/* Random values for the case generator: integers, reals of three sizes, FXSAVE images. */
#include "diff_gen.h"

uint64_t g_rnd(struct gen *g)
{
	uint64_t z = (g->rng += 0x9e3779b97f4a7c15ull);

	z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9ull;
	z = (z ^ z >> 27) * 0x94d049bb133111ebull;
	return z ^ z >> 31;
}

unsigned g_below(struct gen *g, unsigned n)
{
	return (unsigned)((g_rnd(g) >> 32) * n >> 32);
}

bool g_pct(struct gen *g, unsigned p)
{
	return g_below(g, 100) < p;
}

uint64_t g_value(struct gen *g)
{
	switch (g_below(g, 12)) {
	case 0:
		return 0;
	case 1:
		return ~0ull;
	case 2:
		return 1ull << g_below(g, 64);
	case 3:
		return (1ull << g_below(g, 64)) - 1;
	case 4:
		return -(1ull << g_below(g, 64));
	case 5:
		return g_below(g, 256);
	case 6:
		return (uint64_t)(int64_t)(int8_t)g_below(g, 256);
	case 7:
		return (uint64_t)(int64_t)(int32_t)g_rnd(g);
	case 8:
		return g_rnd(g) & 0x8080808080808080ull;
	case 9:
		return g_rnd(g) >> g_below(g, 64);
	default:
		return g_rnd(g);
	}
}

static uint32_t float32(struct gen *g)
{
	static const uint32_t edge[] = {
		0,	    0x80000000, 0x3f800000, 0xbf800000, 0x7f800000, 0xff800000, 0x7fc00000,
		0xffc12345, 0x7f800001, 0xffbfffff, 1,		0x80000001, 0x007fffff, 0x00800000,
		0x80800000, 0x7f7fffff, 0xff7fffff, 0x4f000000, 0xcf000000, 0x5f000000, 0xdf000000,
		0x4effffff, 0x3f000000, 0x3fc00000, 0x40200000,
	};

	if (g_pct(g, 35))
		return edge[g_below(g, ARRAY_SIZE(edge))];
	if (g_pct(g, 70))
		return (uint32_t)(g_rnd(g) & 0x807fffff) | (100 + g_below(g, 56)) << 23;
	return (uint32_t)g_rnd(g);
}

static uint64_t float64(struct gen *g)
{
	static const uint64_t edge[] = {
		0, 1ull << 63, 0x3ff0000000000000, 0xbff0000000000000, 0x7ff0000000000000,
		0xfff0000000000000, 0x7ff8000000000000, 0xfff8000000012345, 0x7ff0000000000001,
		0xfff7ffffffffffff, 1, 0x8000000000000001, 0x000fffffffffffff, 0x0010000000000000,
		0x7fefffffffffffff, 0xffefffffffffffff, 0x41e0000000000000, 0xc1e0000000000000,
		0x41dfffffffc00000, 0x43e0000000000000, 0xc3e0000000000000, 0x3fe0000000000000,
		0x3690000000000000, 0x380fffffe0000000, 0x47efffffe0000000, 0x47f0000000000000,
	};

	if (g_pct(g, 35))
		return edge[g_below(g, ARRAY_SIZE(edge))];
	if (g_pct(g, 70))
		return (g_rnd(g) & 0x800fffffffffffff) | (uint64_t)(950 + g_below(g, 150)) << 52;
	return g_rnd(g);
}

void g_fill(struct gen *g, uint8_t *b, unsigned len)
{
	unsigned kind = g_below(g, 4);

	for (unsigned i = 0; i < len; i += 8) {
		uint64_t v = kind == 0 ? float32(g) | (uint64_t)float32(g) << 32 :
			     kind == 1 ? float64(g) : kind == 2 ? g_value(g) : g_rnd(g);

		memcpy(b + i, &v, MIN(8u, len - i));
	}
}

void g_float80(struct gen *g, uint8_t *b)
{
	static const struct { uint16_t exp; uint64_t mant;
	} edge[] = {
		{ 0, 0 },
		{ 0x8000, 0 },
		{ 0x3fff, 1ull << 63 },
		{ 0xbfff, 1ull << 63 },
		{ 0x7fff, 1ull << 63 },
		{ 0xffff, 1ull << 63 },
		{ 0x7fff, 3ull << 62 },
		{ 0xffff, 3ull << 62 },
		{ 0x7fff, 0xa000000000000000 },
		{ 0, 1 },
		{ 0, 1ull << 63 },
		{ 0x7ffe, ~0ull },
		{ 1, 1ull << 63 },
		{ 0x4000, 1 },
		{ 0x7fff, 0 },
		{ 0x403e, ~0ull },
		{ 0x401e, 1ull << 63 },
		{ 0xc03e, 1ull << 63 },
		{ 0x4000, 0xc90fdaa22168c235 },
	};
	uint64_t mant;
	uint16_t exp;

	if (g_pct(g, 35)) {
		unsigned i = g_below(g, ARRAY_SIZE(edge));

		mant = edge[i].mant;
		exp = edge[i].exp;
	} else {
		mant = g_rnd(g) | 1ull << 63;
		if (g_pct(g, 30))
			mant &= ~0ull << g_below(g, 64);
		exp = (uint16_t)((g_rnd(g) & 0x8000) | (g_pct(g, 80) ? 0x3fff - 70 + g_below(g, 140)
								     : g_below(g, 0x8000)));
		mant |= 1ull << 63;
	}
	memcpy(b, &mant, 8);
	memcpy(b + 8, &exp, 2);
}

/* ---- state ------------------------------------------------------------------- */
void g_fx_state(struct gen *g, uint8_t *fx, bool wild)
{
	uint16_t fcw = 0x37f, fsw = 0;
	uint32_t mxcsr = 0x1f80;

	memset(fx, 0, DIFF_FX_LEN);
	if (wild) {
		fcw = (uint16_t)(0x40 | (g_rnd(g) & 0xf00) |
				 (g_pct(g, 70) ? 0x3f : g_rnd(g) & 0x3f));
		fsw = (uint16_t)(g_rnd(g) & 0x7f00);
		if (g_pct(g, 50))
			fsw |= g_rnd(g) & 0x7f & (g_pct(g, 85) ? fcw | 0x40 : 0x7f);
		if (fsw & ~fcw & 0x3f)
			fsw |= 0x8080;
		fx[4] = (uint8_t)(g_pct(g, 50) ? 0xff : g_rnd(g));
		mxcsr = (uint32_t)((g_rnd(g) & 0xe040) |
				   (g_pct(g, 60) ? 0x1f80 : g_rnd(g) & 0x1f80) | (g_rnd(g) & 0x3f));
	}
	memcpy(fx, &fcw, 2);
	memcpy(fx + 2, &fsw, 2);
	memcpy(fx + 24, &mxcsr, 4);
	for (unsigned i = 0; i < 8; i++) {
		g_float80(g, fx + 32 + 16 * i);
		if (g_pct(g, 20))
			g_fill(g, fx + 32 + 16 * i, 8);
	}
	for (unsigned i = 0; i < 16; i++)
		g_fill(g, fx + 160 + 16 * i, 16);
	for (unsigned i = 0; i < 16 && !g_pct(g, 10); i++)
		g_fill(g, fx + DIFF_YMM + 16 * i, 16);
}
