/* SPDX-License-Identifier: MIT */
/*
 * The arithmetic macros: each operation in every size, once for registers,
 * once for memory, once for locked memory.  alu.c and alu2.c expand them.
 */
#ifndef HV_SOFT_ALU_H
#define HV_SOFT_ALU_H

#include "intops.h"

#define UT(n) uint##n##_t
#define ST(n) int##n##_t
#define SEXT(n, v) ((int64_t)(ST(n))(v))

/* op_X(n, a, b, r): r = a X b.  cc_X: lazy flags of it. */
#define op_add(n, a, b, r) UT(n) r = (UT(n))((a) + (b))
#define cc_add(n, a, b, r) cc_set(s, CC(CC_ADD, LG##n), SEXT(n, r), a, b)
#define op_sub(n, a, b, r) UT(n) r = (UT(n))((a) - (b))
#define cc_sub(n, a, b, r) cc_set(s, CC(CC_SUB, LG##n), SEXT(n, r), a, b)
#define op_adc(n, a, b, r) UT(n) r = (UT(n))((a) + (b) + carry)
#define cc_adc(n, a, b, r) cc_set(s, CC(CC_ADC, LG##n), SEXT(n, r), a, b)
#define op_sbb(n, a, b, r) UT(n) r = (UT(n))((a) - (b) - carry)
#define cc_sbb(n, a, b, r) cc_set(s, CC(CC_SBB, LG##n), SEXT(n, r), a, b)
#define op_and(n, a, b, r) UT(n) r = (UT(n))((a) & (b))
#define op_or(n, a, b, r) UT(n) r = (UT(n))((a) | (b))
#define op_xor(n, a, b, r) UT(n) r = (UT(n))((a) ^ (b))
#define cc_and(n, a, b, r) cc_logic(s, LG##n, SEXT(n, r))
#define cc_or cc_and
#define cc_xor cc_and
#define op_cmp op_sub
#define cc_cmp cc_sub
#define op_test op_and
#define cc_test cc_and
/* Declared only where the operation has a carry in. */
#define PRE_none
#define PRE_carry const bool carry = cf_fast(s);

#define SRC_g(n) rd##n(s, u->reg)
#define SRC_i(n) ((UT(n))u->imm)

/* Destination E: register, memory, locked memory; @src: g (register) or i (immediate). */
#define ALU_E_SIZE(op, src, pre, n) \
static HN(op##_e##src##_r##n) \
{ \
	UT(n) a = rd##n(s, u->rm), b = SRC_##src(n); \
	PRE_##pre \
	op_##op(n, a, b, r); \
	wr##n(s, u->rm, r); \
	cc_##op(n, a, b, r); \
	NEXT(s, u); \
} \
static HN(op##_e##src##_n##n) \
{ \
	UT(n) a = rd##n(s, u->rm), b = SRC_##src(n); \
	PRE_##pre \
	op_##op(n, a, b, r); \
	wr##n(s, u->rm, r); \
	NEXT(s, u); \
} \
static COLD HN(op##_e##src##_slow##n) \
{ \
	uint64_t lin = uop_lin(s, u, n / 8, true); \
	UT(n) a = (UT(n))soft_rmw_ld(s, u, lin, n / 8), b = SRC_##src(n); \
	PRE_##pre \
	op_##op(n, a, b, r); \
	soft_st_slow(s, u, lin, n / 8, r); \
	cc_##op(n, a, b, r); \
	return u + 1; \
} \
static HN(op##_e##src##_m##n) \
{ \
	uint64_t lin = uop_lin(s, u, n / 8, true); \
	mem##n##_t *p = tlb_w(s, lin, n / 8); \
	UT(n) a, b = SRC_##src(n); \
	if (unlikely(!p)) \
		return op##_e##src##_slow##n(s, u); \
	PRE_##pre \
	a = *p; \
	op_##op(n, a, b, r); \
	*p = r; \
	cc_##op(n, a, b, r); \
	NEXT(s, u); \
} \
static HN(op##_e##src##_f##n) \
{ \
	mem##n##_t *p = tlb_w(s, fast_ea(s, u), n / 8); \
	UT(n) a, b = SRC_##src(n); \
	if (unlikely(!p)) \
		return op##_e##src##_m##n(s, u); \
	PRE_##pre \
	a = *p; \
	op_##op(n, a, b, r); \
	*p = r; \
	cc_##op(n, a, b, r); \
	NEXT(s, u); \
} \
static __attribute__((no_sanitize("alignment"))) HN(op##_e##src##_l##n) \
{ \
	uint64_t lin = uop_lin(s, u, n / 8, true); \
	UT(n) *p = soft_rmw_ptr(s, u, lin, n / 8), a, b = SRC_##src(n); \
	PRE_##pre \
	if (!p) { \
		const struct uop *next; \
		soft_split_lock(s); \
		next = op##_e##src##_slow##n(s, u); \
		soft_split_unlock(s); \
		return next; \
	} \
	a = __atomic_load_n(p, __ATOMIC_RELAXED); \
	for (;;) { \
		op_##op(n, a, b, r); \
		if (__atomic_compare_exchange_n(p, &a, r, true, __ATOMIC_SEQ_CST, \
						__ATOMIC_RELAXED)) { \
			soft_rmw_done(s, u, n / 8); \
			cc_##op(n, a, b, r); \
			return u + 1; \
		} \
	} \
}

#define SIZES(p) { p##8, p##16, p##32, p##64 }
#define ALU_E(op, src, pre, name) \
	ALU_E_SIZE(op, src, pre, 8) ALU_E_SIZE(op, src, pre, 16) \
	ALU_E_SIZE(op, src, pre, 32) ALU_E_SIZE(op, src, pre, 64) \
	static const struct uop_spec sp_##op##_e##src = { \
		.generic = name, .r = SIZES(op##_e##src##_r), .m = SIZES(op##_e##src##_m), \
		.l = SIZES(op##_e##src##_l), .f = SIZES(op##_e##src##_f), \
		.n = SIZES(op##_e##src##_n) }; \
	HN(name) { return SPEC_CALL(sp_##op##_e##src, s, u); }

/* Destination G, source E. */
#define ALU_G_SIZE(op, pre, n) \
static HN(op##_ge_r##n) \
{ \
	UT(n) a = rd##n(s, u->reg), b = rd##n(s, u->rm); \
	PRE_##pre \
	op_##op(n, a, b, r); \
	wr##n(s, u->reg, r); \
	cc_##op(n, a, b, r); \
	NEXT(s, u); \
} \
static HN(op##_ge_n##n) \
{ \
	UT(n) a = rd##n(s, u->reg), b = rd##n(s, u->rm); \
	PRE_##pre \
	op_##op(n, a, b, r); \
	wr##n(s, u->reg, r); \
	NEXT(s, u); \
} \
static HN(op##_ge_m##n) \
{ \
	UT(n) a = rd##n(s, u->reg), b = soft_ld##n(s, u, uop_lin(s, u, n / 8, false)); \
	PRE_##pre \
	op_##op(n, a, b, r); \
	wr##n(s, u->reg, r); \
	cc_##op(n, a, b, r); \
	NEXT(s, u); \
}
#define ALU_G_FAST(op, pre, n) \
static HN(op##_ge_f##n) \
{ \
	const mem##n##_t *p = tlb_r(s, fast_ea(s, u), n / 8); \
	UT(n) a = rd##n(s, u->reg), b; \
	if (unlikely(!p)) \
		return op##_ge_m##n(s, u); \
	PRE_##pre \
	b = *p; \
	op_##op(n, a, b, r); \
	wr##n(s, u->reg, r); \
	cc_##op(n, a, b, r); \
	NEXT(s, u); \
}
#define ALU_G(op, pre, name) \
	ALU_G_SIZE(op, pre, 8) ALU_G_SIZE(op, pre, 16) ALU_G_SIZE(op, pre, 32) \
	ALU_G_SIZE(op, pre, 64) \
	ALU_G_FAST(op, pre, 8) ALU_G_FAST(op, pre, 16) ALU_G_FAST(op, pre, 32) \
	ALU_G_FAST(op, pre, 64) \
	static const struct uop_spec sp_##op##_ge = { \
		.generic = name, .r = SIZES(op##_ge_r), .m = SIZES(op##_ge_m), \
		.f = SIZES(op##_ge_f), .n = SIZES(op##_ge_n) }; \
	HN(name) { return SPEC_CALL(sp_##op##_ge, s, u); }

#define ALU_ALL(op, pre) \
	ALU_E(op, g, pre, h_##op##_eg) ALU_E(op, i, pre, h_##op##_ei) ALU_G(op, pre, h_##op##_ge)

#endif
