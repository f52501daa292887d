/* SPDX-License-Identifier: MIT */
/*
 * EFLAGS from the lazy state and back (see intops.h for the representation).
 * Flags that the architecture leaves undefined come out as zero, or as the
 * kind's rule gives them.
 */
#include "intops.h"

bool soft_cf(const struct soft *s)
{
	uint64_t a = s->cc_src1, b = s->cc_src2, r = s->cc_res;
	unsigned top = CC_BITS(s->cc_op) - 1;

	switch (CC_KIND(s->cc_op)) {
	case CC_EFLAGS:
		return r & FL_CF;
	case CC_ADD:
		return r << (63 - top) < a << (63 - top);
	case CC_ADC:
		return ((a & b) | ((a | b) & ~r)) >> top & 1;
	case CC_SUB:
		return a < b;
	case CC_SBB:
		return ((~a & b) | ((~a | b) & r)) >> top & 1;
	case CC_LOGIC:
		return false;
	default:
		return a;
	}
}

static bool cc_of(const struct soft *s)
{
	uint64_t a = s->cc_src1, b = s->cc_src2, r = s->cc_res;
	unsigned top = CC_BITS(s->cc_op) - 1;

	switch (CC_KIND(s->cc_op)) {
	case CC_ADD:
	case CC_ADC:
		return ((a ^ r) & (b ^ r)) >> top & 1;
	case CC_SUB:
	case CC_SBB:
		return ((a ^ b) & (a ^ r)) >> top & 1;
	case CC_LOGIC:
		return false;
	case CC_INC:
		return (int64_t)r == -(int64_t)(1ull << (top - 1)) * 2;
	case CC_DEC:
		return r == (1ull << top) - 1;
	default:
		return b;
	}
}

static uint32_t cc_af(const struct soft *s)
{
	switch (CC_KIND(s->cc_op)) {
	case CC_ADD:
	case CC_ADC:
	case CC_SUB:
	case CC_SBB:
		return (s->cc_src1 ^ s->cc_src2 ^ s->cc_res) & FL_AF;
	case CC_INC:
		return (s->cc_res & 15) == 0 ? FL_AF : 0;
	case CC_DEC:
		return (s->cc_res & 15) == 15 ? FL_AF : 0;
	default:
		return 0;
	}
}

uint32_t soft_arith(const struct soft *s)
{
	uint32_t fl;

	if (CC_KIND(s->cc_op) == CC_EFLAGS)
		return (uint32_t)s->cc_res & FL_ARITH;
	fl = soft_cf(s) ? FL_CF : 0;
	fl |= cc_of(s) ? FL_OF : 0;
	fl |= cc_af(s);
	fl |= s->cc_res == 0 ? FL_ZF : 0;
	fl |= (int64_t)s->cc_res < 0 ? FL_SF : 0;
	fl |= __builtin_parity(s->cc_res & 0xff) ? 0 : FL_PF;
	return fl;
}

bool soft_cond(const struct soft *s, unsigned cc)
{
	uint32_t fl = soft_arith(s);
	bool lt = !(fl & FL_SF) != !(fl & FL_OF), r;

	switch (cc >> 1 & 7) {
	case 0:
		r = fl & FL_OF;
		break;
	case 1:
		r = fl & FL_CF;
		break;
	case 2:
		r = fl & FL_ZF;
		break;
	case 3:
		r = fl & (FL_CF | FL_ZF);
		break;
	case 4:
		r = fl & FL_SF;
		break;
	case 5:
		r = fl & FL_PF;
		break;
	case 6:
		r = lt;
		break;
	default:
		r = lt || fl & FL_ZF;
		break;
	}
	return r != (cc & 1);
}

bool soft_cc(const struct soft *s, unsigned cc)
{
	bool r;

	switch (cc >> 1 & 7) {
	case 1:
		r = cc_cond(s, 2);
		break;
	case 2:
		r = cc_cond(s, 4);
		break;
	case 3:
		r = cc_cond(s, 6);
		break;
	case 4:
		r = cc_cond(s, 8);
		break;
	case 6:
		r = cc_cond(s, 12);
		break;
	case 7:
		r = cc_cond(s, 14);
		break;
	default:
		return soft_cond(s, cc);
	}
	return r != (cc & 1);
}

uint32_t soft_get_eflags(const struct soft *s)
{
	return (s->eflags & ~FL_ARITH) | soft_arith(s) | 2;
}

void soft_set_eflags(struct soft *s, uint32_t fl)
{
	uint32_t changed = s->eflags ^ fl;

	soft_set_arith(s, fl);
	s->eflags = (fl & ~FL_ARITH) | 2;
	if (changed & (FL_VM | FL_TF | FL_AC))
		soft_update_mode(s);
}

uint64_t soft_rd_gpr(const struct soft *s, unsigned off, unsigned size)
{
	switch (size) {
	case 1:
		return rd8(s, off);
	case 2:
		return rd16(s, off);
	case 4:
		return rd32(s, off);
	default:
		return rd64(s, off);
	}
}

void soft_wr_gpr(struct soft *s, unsigned off, unsigned size, uint64_t v)
{
	switch (size) {
	case 1:
		wr8(s, off, (uint8_t)v);
		break;
	case 2:
		wr16(s, off, (uint16_t)v);
		break;
	case 4:
		wr32(s, off, (uint32_t)v);
		break;
	default:
		wr64(s, off, v);
	}
}
