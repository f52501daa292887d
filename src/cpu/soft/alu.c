/* SPDX-License-Identifier: MIT */
/* ADD OR ADC SBB AND SUB XOR, NOT NEG INC DEC (Intel SDM vol. 2). */
#include "alu.h"

ALU_ALL(add, none)
ALU_ALL(or, none)
ALU_ALL(adc, carry)
ALU_ALL(sbb, carry)
ALU_ALL(and, none)
ALU_ALL(sub, none)
ALU_ALL(xor, none)

/* One operand: b is unused. */
#define SRC_none(n) 0
#define op_not(n, a, b, r) UT(n) r = (UT(n))~((a) | (b))
#define cc_not(n, a, b, r)
#define op_neg(n, a, b, r) UT(n) r = (UT(n))(b - (a))
#define cc_neg(n, a, b, r) cc_set(s, CC(CC_SUB, LG##n), SEXT(n, r), 0, a)
#define op_inc(n, a, b, r) UT(n) r = (UT(n))((a) + 1u + b)
#define cc_inc(n, a, b, r) cc_set(s, CC(CC_INC, LG##n), SEXT(n, r), carry, 0)
#define op_dec(n, a, b, r) UT(n) r = (UT(n))((a) - 1u - b)
#define cc_dec(n, a, b, r) cc_set(s, CC(CC_DEC, LG##n), SEXT(n, r), carry, 0)
/* CF survives INC and DEC; loops of them find it in place. */
static inline bool old_carry(const struct soft *s)
{
	unsigned k = CC_KIND(s->cc_op);

	if (likely(k == CC_INC || k == CC_DEC))
		return s->cc_src1;
	return cf_fast(s);
}
#define PRE_keep HV_UNUSED const bool carry = old_carry(s);

ALU_E(not, none, none, h_not)
ALU_E(neg, none, none, h_neg)
ALU_E(inc, none, keep, h_inc)
ALU_E(dec, none, keep, h_dec)

const struct uop_spec *const soft_spec_alu[] = {
#define ALL(op) &sp_##op##_eg, &sp_##op##_ei, &sp_##op##_ge
	ALL(add), ALL(or), ALL(adc), ALL(sbb), ALL(and), ALL(sub), ALL(xor),
	&sp_not_enone, &sp_neg_enone, &sp_inc_enone, &sp_dec_enone, NULL,
};
