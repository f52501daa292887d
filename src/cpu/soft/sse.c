/* SPDX-License-Identifier: MIT */
/*
 * SSE and SSE2 data movement, logic, shuffles and non-temporal forms (Intel
 * SDM vol. 2).  Non-temporal stores are plain stores.
 */
#include "fpu.h"

__m128i soft_ld128_slow(struct soft *s, const struct uop *u, uint64_t lin)
{
	__m128i v;

	soft_ld_buf(s, u, lin, &v, 16);
	return v;
}

void soft_st128_slow(struct soft *s, const struct uop *u, uint64_t lin, __m128i v)
{
	soft_st_buf(s, u, lin, &v, 16);
}

static inline uint64_t low64(__m128i v)
{
	return (uint64_t)_mm_cvtsi128_si64(v);
}

static inline uint64_t high64(__m128i v)
{
	return (uint64_t)_mm_cvtsi128_si64(_mm_unpackhi_epi64(v, v));
}

/* ---- 16 bytes ---------------------------------------------------------------- */
const struct uop *h_mova_ld(struct soft *s, const struct uop *u)
{
	*xmm(s, u->reg) = src_x(s, u);
	NEXT(s, u);
}

const struct uop *h_mova_st(struct soft *s, const struct uop *u)
{
	if (u->flags & UOP_MOD3)
		*xmm(s, u->rm) = *xmm(s, u->reg);
	else
		st128(s, u, lin128(s, u, true), *xmm(s, u->reg));
	NEXT(s, u);
}

const struct uop *h_movu_ld(struct soft *s, const struct uop *u)
{
	if (u->flags & UOP_MOD3)
		*xmm(s, u->reg) = *xmm(s, u->rm);
	else
		*xmm(s, u->reg) = ld128(s, u, uop_lin(s, u, 16, false));
	NEXT(s, u);
}

const struct uop *h_movu_st(struct soft *s, const struct uop *u)
{
	if (u->flags & UOP_MOD3)
		*xmm(s, u->rm) = *xmm(s, u->reg);
	else
		st128(s, u, uop_lin(s, u, 16, true), *xmm(s, u->reg));
	NEXT(s, u);
}

/* ---- scalars ------------------------------------------------------------------ */
const struct uop *h_movss_ld(struct soft *s, const struct uop *u)
{
	__m128i v = src_d(s, u);
	__m128i *d = xmm(s, u->reg);

	if (u->flags & UOP_MOD3)
		v = _mm_castps_si128(_mm_move_ss(_mm_castsi128_ps(*d), _mm_castsi128_ps(v)));
	*d = v;
	NEXT(s, u);
}

const struct uop *h_movss_st(struct soft *s, const struct uop *u)
{
	uint32_t v = (uint32_t)_mm_cvtsi128_si32(*xmm(s, u->reg));

	if (u->flags & UOP_MOD3)
		memcpy(xmm(s, u->rm), &v, 4);
	else
		soft_st32(s, u, uop_lin(s, u, 4, true), v);
	return u + 1;
}

const struct uop *h_movsd_ld(struct soft *s, const struct uop *u)
{
	__m128i v = src_q(s, u);
	__m128i *d = xmm(s, u->reg);

	if (u->flags & UOP_MOD3)
		v = _mm_castpd_si128(_mm_move_sd(_mm_castsi128_pd(*d), _mm_castsi128_pd(v)));
	*d = v;
	NEXT(s, u);
}

/* MOVSD, MOVLPS and MOVLPD stores. */
const struct uop *h_movsd_st(struct soft *s, const struct uop *u)
{
	uint64_t v = low64(*xmm(s, u->reg));

	if (u->flags & UOP_MOD3)
		memcpy(xmm(s, u->rm), &v, 8);
	else
		soft_st64(s, u, uop_lin(s, u, 8, true), v);
	return u + 1;
}

const struct uop *h_movq_ld(struct soft *s, const struct uop *u)
{
	*xmm(s, u->reg) = _mm_move_epi64(src_q(s, u));
	NEXT(s, u);
}

const struct uop *h_movq_st(struct soft *s, const struct uop *u)
{
	if (u->flags & UOP_MOD3)
		*xmm(s, u->rm) = _mm_move_epi64(*xmm(s, u->reg));
	else
		soft_st64(s, u, uop_lin(s, u, 8, true), low64(*xmm(s, u->reg)));
	NEXT(s, u);
}

/* MOVLPS/MOVLPD loads, MOVHLPS; MOVHPS/MOVHPD loads, MOVLHPS. */
const struct uop *h_movlp_ld(struct soft *s, const struct uop *u)
{
	__m128i *d = xmm(s, u->reg), v = src_q(s, u);

	if (u->flags & UOP_MOD3)
		v = _mm_unpackhi_epi64(v, v);
	*d = _mm_castpd_si128(_mm_move_sd(_mm_castsi128_pd(*d), _mm_castsi128_pd(v)));
	NEXT(s, u);
}

const struct uop *h_movhp_ld(struct soft *s, const struct uop *u)
{
	__m128i *d = xmm(s, u->reg), v = src_q(s, u);

	*d = _mm_unpacklo_epi64(*d, v);
	NEXT(s, u);
}

const struct uop *h_movhp_st(struct soft *s, const struct uop *u)
{
	soft_st64(s, u, uop_lin(s, u, 8, true), high64(*xmm(s, u->reg)));
	NEXT(s, u);
}

const struct uop *h_movddup(struct soft *s, const struct uop *u)
{
	__m128i v = src_q(s, u);

	*xmm(s, u->reg) = _mm_unpacklo_epi64(v, v);
	NEXT(s, u);
}

/* ---- to and from general registers ---------------------------------------------- */
const struct uop *h_movd_x(struct soft *s, const struct uop *u)
{
	uint64_t v;

	if (u->flags & UOP_REXW)
		v = u->flags & UOP_MOD3 ? rd64(s, u->rm) : soft_ld64(s, u, uop_lin(s, u, 8, false));
	else
		v = u->flags & UOP_MOD3 ? rd32(s, u->rm) : soft_ld32(s, u, uop_lin(s, u, 4, false));
	*xmm(s, u->reg) = _mm_cvtsi64_si128((long long)v);
	NEXT(s, u);
}

const struct uop *h_movd_st(struct soft *s, const struct uop *u)
{
	uint64_t v = low64(*xmm(s, u->reg));

	if (u->flags & UOP_REXW) {
		if (u->flags & UOP_MOD3)
			wr64(s, u->rm, v);
		else
			soft_st64(s, u, uop_lin(s, u, 8, true), v);
	} else {
		if (u->flags & UOP_MOD3)
			wr32(s, u->rm, (uint32_t)v);
		else
			soft_st32(s, u, uop_lin(s, u, 4, true), (uint32_t)v);
	}
	NEXT(s, u);
}

const struct uop *h_movnti(struct soft *s, const struct uop *u)
{
	if (u->flags & UOP_REXW)
		soft_st64(s, u, uop_lin(s, u, 8, true), rd64(s, u->reg));
	else
		soft_st32(s, u, uop_lin(s, u, 4, true), rd32(s, u->reg));
	NEXT(s, u);
}

#define X_MASK(name, insn) \
	const struct uop *h_##name(struct soft *s, const struct uop *u) \
	{ \
		uint32_t r; \
		asm(insn " %1, %0" : "=r"(r) : "x"(*xmm(s, u->rm))); \
		wr32(s, u->reg, r); \
		NEXT(s, u); \
	}
X_MASK(movmskps, "movmskps")
X_MASK(movmskpd, "movmskpd")
X_MASK(pmovmskb, "pmovmskb")

/* Bytes with a set mask bit, at DS:rDI; other bytes are not touched. */
void soft_mask_store(struct soft *s, const struct uop *u, const void *val, const void *msk,
		     unsigned n)
{
	const uint8_t *v = val, *mask = msk;
	uint64_t ea = s->gpr[R_RDI], lin;
	unsigned first = n, last = 0;

	if (u->asize != 8)
		ea &= u->asize == 4 ? 0xffffffffu : 0xffffu;
	lin = u->flags & UOP_FLATSEG ? ea : soft_seg_lin(s, u, u->seg, ea, n, true);
	for (unsigned i = 0; i < n; i++)
		if (mask[i] & 0x80) {
			first = MIN(first, i);
			last = i;
		}
	if (first == n)
		return;
	soft_probe_write(s, u, lin + first, 1);
	soft_probe_write(s, u, lin + last, 1);
	for (unsigned i = first; i <= last; i++)
		if (mask[i] & 0x80)
			soft_st8(s, u, lin + i, v[i]);
}

const struct uop *h_maskmovdqu(struct soft *s, const struct uop *u)
{
	soft_mask_store(s, u, xmm(s, u->reg), xmm(s, u->rm), 16);
	return u + 1;
}

/* ---- two operands, bitwise and shuffles -------------------------------------------- */
#define X_BIN(name, insn, src) \
	const struct uop *h_##name(struct soft *s, const struct uop *u) \
	{ \
		__m128i b = src(s, u), *d = xmm(s, u->reg), a = *d; \
		asm(insn " %1, %0" : "+x"(a) : "x"(b)); \
		*d = a; \
		NEXT(s, u); \
	}
X_BIN(andps, "andps", src_x)
X_BIN(andnps, "andnps", src_x)
X_BIN(orps, "orps", src_x)
X_BIN(xorps, "xorps", src_x)
X_BIN(unpcklps, "unpcklps", src_x)
X_BIN(unpckhps, "unpckhps", src_x)
X_BIN(unpcklpd, "unpcklpd", src_x)
X_BIN(unpckhpd, "unpckhpd", src_x)
X_BIN(movsldup, "movsldup", src_x)
X_BIN(movshdup, "movshdup", src_x)

#define X_IMM(name, insn, count, src) \
	STUB_TABLE(soft_stub_##name, count, insn " $stub_i, %xmm1, %xmm0"); \
	const struct uop *h_##name(struct soft *s, const struct uop *u) \
	{ \
		__m128i b = src(s, u), *d = xmm(s, u->reg); \
		*d = STUB(soft_stub_##name, u->imm & ((count) - 1))(*d, b); \
		NEXT(s, u); \
	}
X_IMM(pshufd, "pshufd", 256, src_x)
X_IMM(pshufhw, "pshufhw", 256, src_x)
X_IMM(pshuflw, "pshuflw", 256, src_x)
X_IMM(shufps, "shufps", 256, src_x)
X_IMM(shufpd, "shufpd", 4, src_x)

const struct uop *h_pinsrw(struct soft *s, const struct uop *u)
{
	uint16_t v = u->flags & UOP_MOD3 ? rd16(s, u->rm)
					 : soft_ld16(s, u, uop_lin(s, u, 2, false));

	memcpy((uint8_t *)xmm(s, u->reg) + 2 * (u->imm & 7), &v, 2);
	return u + 1;
}

const struct uop *h_pextrw_reg(struct soft *s, const struct uop *u)
{
	uint16_t v;

	memcpy(&v, (uint8_t *)xmm(s, u->rm) + 2 * (u->imm & 7), 2);
	wr32(s, u->reg, v);
	return u + 1;
}
