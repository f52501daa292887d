/* SPDX-License-Identifier: MIT */
/*
 * Shifts, rotates and double shifts (Intel SDM vol. 2, SAL/SAR/SHL/SHR, RCL
 * and so on, SHLD).  The count is masked first; a masked count of zero
 * changes neither flags nor destination.  OF is computed as for a count of 1
 * whatever the count.
 */
#include "alu.h"

struct sh {
	uint64_t r;
	bool cf, of;
	uint8_t kind;		/* lazy flags kind; CC_EFLAGS: only CF and OF change */
	bool nop;
};

static inline struct sh do_shl(uint64_t a, unsigned c, unsigned bits, const struct soft *s)
{
	struct sh o = { .kind = CC_SHL };

	o.cf = bits == 64 ? a >> (64 - c) & 1 : a << c >> bits & 1;
	o.r = a << c;
	o.of = (o.r >> (bits - 1) & 1) != o.cf;
	return o;
}

static inline struct sh do_shr(uint64_t a, unsigned c, unsigned bits, const struct soft *s)
{
	return (struct sh){ .kind = CC_SHR, .r = a >> c, .cf = a >> (c - 1) & 1,
			    .of = a >> (bits - 1) & 1 };
}

static inline struct sh do_sar(uint64_t a, unsigned c, unsigned bits, const struct soft *s)
{
	int64_t v = (int64_t)(a << (64 - bits)) >> (64 - bits);

	return (struct sh){ .kind = CC_SAR, .r = (uint64_t)(v >> c), .cf = v >> (c - 1) & 1 };
}

static inline struct sh do_rol(uint64_t a, unsigned c, unsigned bits, const struct soft *s)
{
	struct sh o = { .kind = CC_EFLAGS };

	c &= bits - 1;
	o.r = c ? a << c | a >> (bits - c) : a;
	o.cf = o.r & 1;
	o.of = (o.r >> (bits - 1) & 1) != o.cf;
	return o;
}

static inline struct sh do_ror(uint64_t a, unsigned c, unsigned bits, const struct soft *s)
{
	struct sh o = { .kind = CC_EFLAGS };

	c &= bits - 1;
	o.r = c ? a >> c | a << (bits - c) : a;
	o.cf = o.r >> (bits - 1) & 1;
	o.of = (o.r >> (bits - 2) & 1) != o.cf;
	return o;
}

static inline struct sh do_rcl(uint64_t a, unsigned c, unsigned bits, const struct soft *s)
{
	struct sh o = { .kind = CC_EFLAGS, .cf = soft_cf(s) };

	if (bits < 32)
		c %= bits + 1;
	o.nop = !c;
	for (o.r = a; c; c--) {
		bool top = o.r >> (bits - 1) & 1;

		o.r = o.r << 1 | o.cf;
		o.cf = top;
	}
	o.of = (o.r >> (bits - 1) & 1) != o.cf;
	return o;
}

static inline struct sh do_rcr(uint64_t a, unsigned c, unsigned bits, const struct soft *s)
{
	struct sh o = { .kind = CC_EFLAGS, .cf = soft_cf(s) };

	if (bits < 32)
		c %= bits + 1;
	o.nop = !c;
	for (o.r = a; c; c--) {
		bool low = o.r & 1;

		o.r = o.r >> 1 | (uint64_t)o.cf << (bits - 1);
		o.cf = low;
	}
	o.of = (o.r >> (bits - 2) & 1) != (o.r >> (bits - 1) & 1);
	return o;
}

static inline void sh_flags(struct soft *s, const struct sh *o, unsigned lg)
{
	if (o->nop)
		return;
	if (o->kind == CC_EFLAGS) {
		soft_set_arith(s, (soft_arith(s) & ~(FL_CF | FL_OF)) | (o->cf ? FL_CF : 0) |
				  (o->of ? FL_OF : 0));
		return;
	}
	cc_set(s, CC(o->kind, lg), sext(o->r, 1u << lg), o->cf, o->of);
}

/* @from: i (immediate) or c (CL). */
#define COUNT_i(s, u) (u)->imm8
#define COUNT_c(s, u) rd8((s), R_RCX * 8)
#define SHIFT_SIZE(op, from, n) \
static HN(op##_##from##_r##n) \
{ \
	unsigned c = COUNT_##from(s, u) & (n == 64 ? 63 : 31); \
	if (likely(c)) { \
		struct sh o = do_##op(rd##n(s, u->rm), c, n, s); \
		wr##n(s, u->rm, (UT(n))o.r); \
		sh_flags(s, &o, LG##n); \
	} else if (n == 32) { \
		wr32(s, u->rm, rd32(s, u->rm)); \
	} \
	NEXT(s, u); \
} \
static HN(op##_##from##_n##n) \
{ \
	unsigned c = COUNT_##from(s, u) & (n == 64 ? 63 : 31); \
	if (likely(c)) \
		wr##n(s, u->rm, (UT(n))do_##op(rd##n(s, u->rm), c, n, s).r); \
	else if (n == 32) \
		wr32(s, u->rm, rd32(s, u->rm)); \
	NEXT(s, u); \
} \
static HN(op##_##from##_m##n) \
{ \
	unsigned c = COUNT_##from(s, u) & (n == 64 ? 63 : 31); \
	uint64_t lin = uop_lin(s, u, n / 8, true); \
	uint64_t a = soft_rmw_ld(s, u, lin, n / 8); \
	if (c) { \
		struct sh o = do_##op(a, c, n, s); \
		soft_st##n(s, u, lin, (UT(n))o.r); \
		sh_flags(s, &o, LG##n); \
	} \
	return u + 1; \
}
#define SHIFT(op, from) \
	SHIFT_SIZE(op, from, 8) SHIFT_SIZE(op, from, 16) SHIFT_SIZE(op, from, 32) \
	SHIFT_SIZE(op, from, 64) \
	static const struct uop_spec sp_##op##_##from = { .generic = h_##op##_##from, \
		.r = SIZES(op##_##from##_r), .m = SIZES(op##_##from##_m), \
		.n = SIZES(op##_##from##_n) }; \
	HN(h_##op##_##from) { return SPEC_CALL(sp_##op##_##from, s, u); }
#define SHIFTS(op) SHIFT(op, i) SHIFT(op, c)
SHIFTS(rol) SHIFTS(ror) SHIFTS(rcl) SHIFTS(rcr) SHIFTS(shl) SHIFTS(shr) SHIFTS(sar)

const struct uop_spec *const soft_spec_shift[] = {
#define BOTH(op) &sp_##op##_i, &sp_##op##_c
	BOTH(rol), BOTH(ror), BOTH(rcl), BOTH(rcr), BOTH(shl), BOTH(shr), BOTH(sar), NULL,
};

/* Left: bits enter from the top of @b.  16-bit counts above 16 are undefined: b, then a again. */
static void shxd(struct soft *s, const struct uop *u, unsigned c, bool left)
{
	unsigned bits = u->osize * 8u, lg = lg_size(u->osize);
	bool mem = !(u->flags & UOP_MOD3), cf;
	uint64_t lin = mem ? uop_lin(s, u, u->osize, true) : 0;
	uint64_t a = mem ? soft_rmw_ld(s, u, lin, u->osize) : soft_rd_gpr(s, u->rm, u->osize);
	uint64_t b = soft_rd_gpr(s, u->reg, u->osize), r;
	unsigned __int128 w;

	c &= bits == 64 ? 63 : 31;
	if (!c) {
		if (!mem)
			soft_wr_gpr(s, u->rm, u->osize, a);
		return;
	}
	if (left) {
		w = (unsigned __int128)a << bits | b;
		if (bits == 16)
			w = w << 16 | a;
		r = (uint64_t)(w << c >> (bits == 16 ? 32 : bits));
		cf = bits == 16 ? w >> (48 - c) & 1 : a >> (bits - c) & 1;
	} else {
		w = (unsigned __int128)b << bits | a;
		if (bits == 16)
			w |= (unsigned __int128)a << 32;
		r = (uint64_t)(w >> c);
		cf = w >> (c - 1) & 1;
	}
	r = zext(r, u->osize);
	if (mem)
		soft_st(s, u, lin, u->osize, r);
	else
		soft_wr_gpr(s, u->rm, u->osize, r);
	cc_set(s, CC(CC_SHL, lg), sext(r, u->osize), cf, (r ^ a) >> (bits - 1) & 1);
}

HN(h_shld_i)
{
	shxd(s, u, u->imm8, true);
	return u + 1;
}

HN(h_shld_c)
{
	shxd(s, u, rd8(s, R_RCX * 8), true);
	return u + 1;
}

HN(h_shrd_i)
{
	shxd(s, u, u->imm8, false);
	return u + 1;
}

HN(h_shrd_c)
{
	shxd(s, u, rd8(s, R_RCX * 8), false);
	return u + 1;
}
