/* SPDX-License-Identifier: MIT */
/* Decimal adjustment (Intel SDM vol. 2, AAA to DAS), BOUND. */
#include "intops.h"

static void set_szp(struct soft *s, uint8_t r, uint32_t fl)
{
	fl |= r ? 0 : FL_ZF;
	fl |= r & 0x80 ? FL_SF : 0;
	fl |= __builtin_parity(r) ? 0 : FL_PF;
	soft_set_arith(s, fl);
}

static const struct uop *daa_das(struct soft *s, const struct uop *u, bool sub)
{
	uint32_t old = soft_arith(s), fl = 0;
	uint8_t al = rd8(s, R_RAX * 8), r = al;
	bool low = (al & 15) > 9 || old & FL_AF, high = al > 0x99 || old & FL_CF;

	if (low) {
		r = (uint8_t)(sub ? r - 6 : r + 6);
		fl |= FL_AF;
		if (sub && al < 6)
			fl |= FL_CF;
	}
	if (high) {
		r = (uint8_t)(sub ? r - 0x60 : r + 0x60);
		fl |= FL_CF;
	}
	wr8(s, R_RAX * 8, r);
	set_szp(s, r, fl);
	NEXT(s, u);
}

HN(h_daa)
{
	return daa_das(s, u, false);
}

HN(h_das)
{
	return daa_das(s, u, true);
}

static const struct uop *aaa_aas(struct soft *s, const struct uop *u, int sign)
{
	uint16_t ax = rd16(s, R_RAX * 8);
	bool adjust = (ax & 15) > 9 || soft_arith(s) & FL_AF;

	if (adjust)
		ax = (uint16_t)(ax + sign * 0x106);
	wr16(s, R_RAX * 8, ax & 0xff0f);
	set_szp(s, ax & 0x0f, adjust ? FL_AF | FL_CF : 0);
	NEXT(s, u);
}

HN(h_aaa)
{
	return aaa_aas(s, u, 1);
}

HN(h_aas)
{
	return aaa_aas(s, u, -1);
}

HN(h_aam)
{
	uint8_t al = rd8(s, R_RAX * 8);

	if (!u->imm8)
		soft_fault(s, u, EXC_DE);
	wr16(s, R_RAX * 8, (uint16_t)(al / u->imm8 << 8 | al % u->imm8));
	set_szp(s, rd8(s, R_RAX * 8), 0);
	NEXT(s, u);
}

HN(h_aad)
{
	uint8_t r = (uint8_t)(rd8(s, R_RAX * 8) + rd8(s, R_RAX * 8 + 1) * u->imm8);

	wr16(s, R_RAX * 8, r);
	set_szp(s, r, 0);
	NEXT(s, u);
}

HN(h_salc)
{
	wr8(s, R_RAX * 8, soft_cf(s) ? 0xff : 0);
	NEXT(s, u);
}

HN(h_bound)
{
	uint64_t lin = uop_lin(s, u, u->osize * 2u, false);
	int64_t lo = sext(soft_ld(s, u, lin, u->osize), u->osize);
	int64_t hi = sext(soft_ld(s, u, lin + u->osize, u->osize), u->osize);
	int64_t v = sext(soft_rd_gpr(s, u->reg, u->osize), u->osize);

	if (v < lo || v > hi)
		soft_fault(s, u, EXC_BR);
	NEXT(s, u);
}
