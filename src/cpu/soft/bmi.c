/* SPDX-License-Identifier: MIT */
/*
 * BMI1, BMI2, LZCNT, MOVBE and ADX (Intel SDM vol. 2).  PDEP and PEXT use the
 * host's instruction; the rest is plain C.
 */
#include "intops.h"

static inline uint64_t rd_v(const struct soft *s, const struct uop *u)
{
	return soft_rd_gpr(s, VEX_V(u) * 8, u->osize);
}

static inline void wr_v(struct soft *s, const struct uop *u, uint64_t v)
{
	soft_wr_gpr(s, VEX_V(u) * 8, u->osize, v);
}

static inline void wr_g(struct soft *s, const struct uop *u, uint64_t v)
{
	soft_wr_gpr(s, u->reg, u->osize, v);
}

/* ZF and SF of the result, CF as given; the others are zero. */
static inline void result_flags(struct soft *s, const struct uop *u, uint64_t r, bool cf)
{
	soft_set_arith(s, (zext(r, u->osize) ? 0 : FL_ZF) |
			  (sext(r, u->osize) < 0 ? FL_SF : 0) | (cf ? FL_CF : 0));
}

/* ---- counts ------------------------------------------------------------------- */
/* CF: the source was zero; ZF: the result is. */
static void count_done(struct soft *s, const struct uop *u, uint64_t v, unsigned n)
{
	wr_g(s, u, n);
	soft_set_arith(s, (v ? 0 : FL_CF) | (n ? 0 : FL_ZF));
}

HN(h_tzcnt)
{
	uint64_t v = rd_e(s, u);

	count_done(s, u, v, v ? (unsigned)__builtin_ctzll(v) : u->osize * 8);
	NEXT(s, u);
}

HN(h_lzcnt)
{
	uint64_t v = rd_e(s, u);

	count_done(s, u, v, (v ? (unsigned)__builtin_clzll(v) : 64) - (64 - u->osize * 8));
	NEXT(s, u);
}

/* ---- MOVBE ---------------------------------------------------------------------- */
static inline uint64_t swapped(uint64_t v, unsigned size)
{
	return __builtin_bswap64(v) >> (64 - size * 8);
}

HN(h_movbe_ld)
{
	wr_g(s, u, swapped(rd_e(s, u), u->osize));
	NEXT(s, u);
}

HN(h_movbe_st)
{
	wr_e(s, u, swapped(soft_rd_gpr(s, u->reg, u->osize), u->osize));
	NEXT(s, u);
}

/* ---- ADX ------------------------------------------------------------------------- */
static const struct uop *add_carry(struct soft *s, const struct uop *u, uint32_t flag)
{
	uint64_t a = soft_rd_gpr(s, u->reg, u->osize), b = rd_e(s, u), r;
	uint32_t fl = soft_arith(s);
	bool carry;

	if (u->osize == 8) {
		carry = __builtin_add_overflow(a, b, &r);
		carry |= __builtin_add_overflow(r, (uint64_t)!!(fl & flag), &r);
	} else {
		r = a + b + !!(fl & flag);
		carry = r >> 32;
	}
	wr_g(s, u, r);
	soft_set_arith(s, (fl & ~flag) | (carry ? flag : 0));
	return u + 1;
}

HN(h_adcx) { return add_carry(s, u, FL_CF); }
HN(h_adox) { return add_carry(s, u, FL_OF); }

/* ---- bits ------------------------------------------------------------------------- */
HN(h_andn)
{
	uint64_t r = ~rd_v(s, u) & rd_e(s, u);

	wr_g(s, u, r);
	result_flags(s, u, r, false);
	NEXT(s, u);
}

HN(h_blsr)
{
	uint64_t v = rd_e(s, u), r = v & (v - 1);

	wr_v(s, u, r);
	result_flags(s, u, r, !v);
	NEXT(s, u);
}

HN(h_blsmsk)
{
	uint64_t v = rd_e(s, u), r = v ^ (v - 1);

	wr_v(s, u, r);
	result_flags(s, u, r, !v);
	NEXT(s, u);
}

HN(h_blsi)
{
	uint64_t v = rd_e(s, u), r = v & -v;

	wr_v(s, u, r);
	result_flags(s, u, r, v);
	NEXT(s, u);
}

static inline uint64_t low_bits(uint64_t v, unsigned n)
{
	return n < 64 ? v & ((1ull << n) - 1) : v;
}

HN(h_bextr)
{
	uint64_t v = rd_e(s, u), c = rd_v(s, u), r;
	unsigned start = c & 0xff;

	r = low_bits(start < u->osize * 8u ? v >> start : 0, c >> 8 & 0xff);
	wr_g(s, u, r);
	result_flags(s, u, r, false);
	NEXT(s, u);
}

HN(h_bzhi)
{
	uint64_t v = rd_e(s, u), r;
	unsigned n = rd_v(s, u) & 0xff;

	r = low_bits(v, n);
	wr_g(s, u, r);
	result_flags(s, u, r, n >= u->osize * 8u);
	NEXT(s, u);
}

HN(h_pdep)
{
	uint64_t mask = rd_e(s, u), r;

	asm("pdep %2, %1, %0" : "=r"(r) : "r"(rd_v(s, u)), "r"(mask));
	wr_g(s, u, r);
	NEXT(s, u);
}

HN(h_pext)
{
	uint64_t mask = rd_e(s, u), r;

	asm("pext %2, %1, %0" : "=r"(r) : "r"(rd_v(s, u)), "r"(mask));
	wr_g(s, u, r);
	NEXT(s, u);
}

/* The high half is written last: it stays if both go to one register. */
HN(h_mulx)
{
	unsigned __int128 r = (unsigned __int128)rd_e(s, u) *
			      soft_rd_gpr(s, R_RDX * 8, u->osize);

	wr_v(s, u, (uint64_t)r);
	wr_g(s, u, (uint64_t)(r >> (u->osize * 8)));
	NEXT(s, u);
}

/* ---- shifts without flags ------------------------------------------------------------ */
#define SHIFTX(name, expr) \
HN(h_##name) \
{ \
	uint64_t v = rd_e(s, u); \
	unsigned n = rd_v(s, u) & (u->osize * 8u - 1); \
	wr_g(s, u, expr); \
	NEXT(s, u); \
}
SHIFTX(shlx, v << n)
SHIFTX(shrx, v >> n)
SHIFTX(sarx, (uint64_t)(sext(v, u->osize) >> n))

HN(h_rorx)
{
	uint64_t v = rd_e(s, u);
	unsigned bits = u->osize * 8u, n = u->imm8 & (bits - 1);

	wr_g(s, u, n ? v >> n | v << (bits - n) : v);
	NEXT(s, u);
}
