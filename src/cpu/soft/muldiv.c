/* SPDX-License-Identifier: MIT */
/* MUL IMUL DIV IDIV; flags that are undefined follow the low half of the result. */
#include "alu.h"

typedef unsigned __int128 u128;
typedef __int128 s128;

static void mul_flags(struct soft *s, const struct uop *u, uint64_t low, bool over)
{
	cc_set(s, CC(CC_MUL, lg_size(u->osize)), sext(low, u->osize), over, over);
}

/* The double-width accumulator: AX, or DX:AX and wider. */
static void acc_write(struct soft *s, unsigned size, u128 v)
{
	if (size == 1) {
		wr16(s, R_RAX * 8, (uint16_t)v);
		return;
	}
	soft_wr_gpr(s, R_RAX * 8, size, (uint64_t)v);
	soft_wr_gpr(s, R_RDX * 8, size, (uint64_t)(v >> (size * 8)));
}

static u128 acc_read(const struct soft *s, unsigned size)
{
	if (size == 1)
		return rd16(s, R_RAX * 8);
	return (u128)soft_rd_gpr(s, R_RDX * 8, size) << (size * 8) |
	       soft_rd_gpr(s, R_RAX * 8, size);
}

HN(h_mul)
{
	u128 p = (u128)rd_e(s, u) * soft_rd_gpr(s, R_RAX * 8, u->osize);

	acc_write(s, u->osize, p);
	mul_flags(s, u, (uint64_t)p, p >> (u->osize * 8) != 0);
	NEXT(s, u);
}

HN(h_imul1)
{
	s128 p = (s128)sext(rd_e(s, u), u->osize) *
		 sext(soft_rd_gpr(s, R_RAX * 8, u->osize), u->osize);

	acc_write(s, u->osize, (u128)p);
	mul_flags(s, u, (uint64_t)p, sext((uint64_t)p, u->osize) != p);
	NEXT(s, u);
}

static inline void imul_to(struct soft *s, const struct uop *u, int64_t a, int64_t b)
{
	int64_t r, low;
	bool over = __builtin_mul_overflow(a, b, &r);

	low = sext((uint64_t)r, u->osize);
	soft_wr_gpr(s, u->reg, u->osize, (uint64_t)r);
	cc_set(s, CC(CC_MUL, lg_size(u->osize)), low, over || low != r, over || low != r);
}

HN(h_imul2)
{
	int64_t b = sext(rd_e(s, u), u->osize);

	imul_to(s, u, sext(soft_rd_gpr(s, u->reg, u->osize), u->osize), b);
	return u + 1;
}

HN(h_imul3)
{
	imul_to(s, u, sext(rd_e(s, u), u->osize), (int64_t)u->imm);
	return u + 1;
}

/* 32 and 64 bits; @src of the other factor: g (two operands) or i (three). */
#define IMUL_A_g(n) (ST(n))rd##n(s, u->reg)
#define IMUL_A_i(n) (ST(n))u->imm
#define IMUL_DO(src, n, e) \
	ST(n) a = IMUL_A_##src(n), b = (ST(n))(e), r; \
	bool over = __builtin_mul_overflow(a, b, &r); \
	wr##n(s, u->reg, (UT(n))r); \
	cc_set(s, CC(CC_MUL, LG##n), r, over, over); \
	NEXT(s, u);
#define IMUL(src, n) \
static HN(imul_##src##_r##n) { IMUL_DO(src, n, rd##n(s, u->rm)) } \
static HN(imul_##src##_m##n) { IMUL_DO(src, n, soft_ld##n(s, u, uop_lin(s, u, n / 8, false))) }
IMUL(g, 32) IMUL(g, 64) IMUL(i, 32) IMUL(i, 64)

#define MUL(n, wide) \
static HN(mul_r##n) \
{ \
	wide p = (wide)rd##n(s, u->rm) * rd##n(s, R_RAX * 8); \
	bool over = p >> n; \
	wr##n(s, R_RAX * 8, (UT(n))p); \
	wr##n(s, R_RDX * 8, (UT(n))(p >> n)); \
	cc_set(s, CC(CC_MUL, LG##n), SEXT(n, p), over, over); \
	NEXT(s, u); \
}
MUL(32, uint64_t) MUL(64, u128)

static const struct uop_spec sp_imul2 = {
	.generic = h_imul2, .r = { NULL, NULL, imul_g_r32, imul_g_r64 },
	.m = { NULL, NULL, imul_g_m32, imul_g_m64 },
}, sp_imul3 = {
	.generic = h_imul3, .r = { NULL, NULL, imul_i_r32, imul_i_r64 },
	.m = { NULL, NULL, imul_i_m32, imul_i_m64 },
}, sp_mul = {
	.generic = h_mul, .r = { NULL, NULL, mul_r32, mul_r64 },
};

const struct uop_spec *const soft_spec_muldiv[] = { &sp_imul2, &sp_imul3, &sp_mul, NULL };

static void div_result(struct soft *s, unsigned size, uint64_t q, uint64_t r)
{
	if (size == 1) {
		wr16(s, R_RAX * 8, (uint16_t)((q & 0xff) | r << 8));
		return;
	}
	soft_wr_gpr(s, R_RAX * 8, size, q);
	soft_wr_gpr(s, R_RDX * 8, size, r);
}

HN(h_div)
{
	uint64_t d = rd_e(s, u), q, r;
	u128 n = acc_read(s, u->osize);

	if (n >> (u->osize * 8) >= d)	/* also d == 0 */
		soft_fault(s, u, EXC_DE);
	if (u->osize < 8) {
		q = (uint64_t)n / d;
		r = (uint64_t)n % d;
	} else {
		q = (uint64_t)(n / d);
		r = (uint64_t)(n % d);
	}
	div_result(s, u->osize, q, r);
	return u + 1;
}

HN(h_idiv)
{
	int64_t d = sext(rd_e(s, u), u->osize);
	u128 raw = acc_read(s, u->osize), mag, qm, dm;
	unsigned bits = u->osize * 8;
	bool nneg = raw >> (2 * bits - 1) & 1, qneg = nneg != (d < 0);

	if (bits < 64 && nneg)
		raw |= ~(u128)0 << (2 * bits);
	mag = nneg ? -raw : raw;
	dm = d < 0 ? -(u128)(s128)d : (u128)d;
	if (!d || mag / dm > ((u128)1 << (bits - 1)) - !qneg)
		soft_fault(s, u, EXC_DE);
	qm = mag / dm;
	mag -= qm * dm;
	div_result(s, u->osize, qneg ? -(uint64_t)qm : (uint64_t)qm,
		   zext(nneg ? -(uint64_t)mag : (uint64_t)mag, u->osize));
	return u + 1;
}
