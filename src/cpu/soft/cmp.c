/* SPDX-License-Identifier: MIT */
/*
 * CMP and TEST, alone and fused with the conditional jump that follows: the
 * pair is one handler on the first of two uops (flags are still recorded).
 * The jump's own uop is at u + 1 and its link at u + 2.
 */
#include "alu.h"

/* Conditions by number; O, NO, P, NP are not fused.  a, b unsigned operands, r result. */
#define C_cmp_2(n) (a < b)
#define C_cmp_3(n) (a >= b)
#define C_cmp_4(n) (a == b)
#define C_cmp_5(n) (a != b)
#define C_cmp_6(n) (a <= b)
#define C_cmp_7(n) (a > b)
#define C_cmp_8(n) ((ST(n))r < 0)
#define C_cmp_9(n) ((ST(n))r >= 0)
#define C_cmp_12(n) ((ST(n))a < (ST(n))b)
#define C_cmp_13(n) ((ST(n))a >= (ST(n))b)
#define C_cmp_14(n) ((ST(n))a <= (ST(n))b)
#define C_cmp_15(n) ((ST(n))a > (ST(n))b)
#define C_test_2(n) false
#define C_test_3(n) true
#define C_test_4(n) (r == 0)
#define C_test_5(n) (r != 0)
#define C_test_6(n) (r == 0)
#define C_test_7(n) (r != 0)
#define C_test_8(n) ((ST(n))r < 0)
#define C_test_9(n) ((ST(n))r >= 0)
#define C_test_12(n) ((ST(n))r < 0)
#define C_test_13(n) ((ST(n))r >= 0)
#define C_test_14(n) ((ST(n))r <= 0)
#define C_test_15(n) ((ST(n))r > 0)

/* Operands by form. */
#define A_eg_r(n) rd##n(s, u->rm)
#define B_eg_r(n) rd##n(s, u->reg)
#define A_eg_m(n) soft_ld##n(s, u, uop_lin(s, u, n / 8, false))
#define B_eg_m(n) rd##n(s, u->reg)
#define A_ei_r(n) rd##n(s, u->rm)
#define B_ei_r(n) (UT(n))u->imm
#define A_ei_m(n) soft_ld##n(s, u, uop_lin(s, u, n / 8, false))
#define B_ei_m(n) (UT(n))u->imm
#define A_ge_r(n) rd##n(s, u->reg)
#define B_ge_r(n) rd##n(s, u->rm)
#define A_ge_m(n) rd##n(s, u->reg)
#define B_ge_m(n) soft_ld##n(s, u, uop_lin(s, u, n / 8, false))

/* Quick memory forms: p is the host address, NULL sends the uop to the general form. */
#define A_eg_f(n) *p
#define B_eg_f(n) rd##n(s, u->reg)
#define A_ei_f(n) *p
#define B_ei_f(n) (UT(n))u->imm
#define A_ge_f(n) rd##n(s, u->reg)
#define B_ge_f(n) *p
#define TRY_r(slow, n)
#define TRY_m(slow, n)
#define TRY_f(slow, n) \
	const mem##n##_t *p = tlb_r(s, fast_ea(s, u), n / 8); \
	if (unlikely(!p)) \
		return slow(s, u);

#define CMP_BODY(op, form, n) \
	UT(n) a = A_##form(n), b = B_##form(n); \
	op_##op(n, a, b, r); \
	cc_##op(n, a, b, r);
#define PLAIN(op, form, t, n) \
static HN(op##_##form##_##t##n) \
{ \
	TRY_##t(op##_##form##_m##n, n) \
	CMP_BODY(op, form##_##t, n) \
	NEXT(s, u); \
}
#define FUSED(op, form, t, n, c) \
static HN(op##_##form##_##t##n##_j##c) \
{ \
	TRY_##t(op##_##form##_m##n##_j##c, n) \
	CMP_BODY(op, form##_##t, n) \
	if (C_##op##_##c(n)) \
		return soft_take(s, u + 1); \
	return soft_fall(s, u + 1); \
}
#define CONDS(X, op, form, t, n) \
	X(op, form, t, n, 2) X(op, form, t, n, 3) X(op, form, t, n, 4) X(op, form, t, n, 5) \
	X(op, form, t, n, 6) X(op, form, t, n, 7) X(op, form, t, n, 8) X(op, form, t, n, 9) \
	X(op, form, t, n, 12) X(op, form, t, n, 13) X(op, form, t, n, 14) X(op, form, t, n, 15)
#define ENTRY(op, form, t, n, c) [c] = op##_##form##_##t##n##_j##c,
#define FORM(op, form, t) \
	PLAIN(op, form, t, 8) PLAIN(op, form, t, 16) PLAIN(op, form, t, 32) PLAIN(op, form, t, 64) \
	CONDS(FUSED, op, form, t, 8) CONDS(FUSED, op, form, t, 16) \
	CONDS(FUSED, op, form, t, 32) CONDS(FUSED, op, form, t, 64) \
	static const uop_fn fuse_##op##_##form##_##t[4][16] = { \
		{ CONDS(ENTRY, op, form, t, 8) }, { CONDS(ENTRY, op, form, t, 16) }, \
		{ CONDS(ENTRY, op, form, t, 32) }, { CONDS(ENTRY, op, form, t, 64) } };
#define PAIR(op, form, name) \
	FORM(op, form, r) FORM(op, form, m) FORM(op, form, f) \
	static const struct uop_spec sp_##op##_##form = { \
		.generic = name, .r = SIZES(op##_##form##_r), .m = SIZES(op##_##form##_m), \
		.fuse_r = fuse_##op##_##form##_r, .fuse_m = fuse_##op##_##form##_m, \
		.fuse_f = fuse_##op##_##form##_f, .f = SIZES(op##_##form##_f) }; \
	HN(name) { return SPEC_CALL(sp_##op##_##form, s, u); }

PAIR(cmp, eg, h_cmp_eg)
PAIR(cmp, ei, h_cmp_ei)
PAIR(cmp, ge, h_cmp_ge)
PAIR(test, eg, h_test_eg)
PAIR(test, ei, h_test_ei)

const struct uop_spec *const soft_spec_cmp[] = {
	&sp_cmp_eg, &sp_cmp_ei, &sp_cmp_ge, &sp_test_eg, &sp_test_ei, NULL,
};
