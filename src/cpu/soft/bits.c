/* SPDX-License-Identifier: MIT */
/*
 * Bit test and scan.  A register bit index with a memory operand addresses a
 * bit string: the index is signed and reaches beyond the operand.
 */
#include "intops.h"

enum bt_op { BT, BTS, BTR, BTC };

static inline uint64_t bt_apply(enum bt_op op, uint64_t a, uint64_t mask)
{
	switch (op) {
	case BTS:
		return a | mask;
	case BTR:
		return a & ~mask;
	case BTC:
		return a ^ mask;
	default:
		return a;
	}
}

static inline void bt_flag(struct soft *s, bool cf)
{
	soft_set_arith(s, (soft_arith(s) & ~FL_CF) | (cf ? FL_CF : 0));
}

static uint64_t bt_address(struct soft *s, const struct uop *u, int64_t index, bool write)
{
	uint64_t ea = uop_ea(s, u) + (uint64_t)((index >> (3 + lg_size(u->osize))) * u->osize);

	if (u->asize != 8)
		ea &= u->asize == 4 ? 0xffffffff : 0xffff;
	return ea_lin(s, u, ea, u->osize, write);
}

static inline const struct uop *bt(struct soft *s, const struct uop *u, enum bt_op op,
				   int64_t index)
{
	unsigned bit = (unsigned)index & (u->osize * 8u - 1);
	uint64_t mask = 1ull << bit, a, lin;
	struct rmw r;

	if (u->flags & UOP_MOD3) {
		a = soft_rd_gpr(s, u->rm, u->osize);
		if (op != BT)
			soft_wr_gpr(s, u->rm, u->osize, bt_apply(op, a, mask));
	} else if (op == BT) {
		a = soft_ld(s, u, bt_address(s, u, index, false), u->osize);
	} else {
		lin = bt_address(s, u, index, true);
		a = rmw_begin(s, u, &r, lin, u->osize, u->flags & UOP_LOCK);
		while (!rmw_commit(s, u, &r, &a, bt_apply(op, a, mask)))
			;
	}
	bt_flag(s, a & mask);
	return u + 1;
}

#define BT_PAIR(name, op) \
HN(h_##name##_g) { return bt(s, u, op, sext(soft_rd_gpr(s, u->reg, u->osize), u->osize)); } \
HN(h_##name##_i) { return bt(s, u, op, u->imm8 & (u->osize * 8 - 1)); }
BT_PAIR(bt, BT)
BT_PAIR(bts, BTS)
BT_PAIR(btr, BTR)
BT_PAIR(btc, BTC)

/* Source zero: ZF is set and the destination keeps its value, as all processors do. */
static void scan_done(struct soft *s, const struct uop *u, uint64_t v, unsigned index)
{
	if (v)
		soft_wr_gpr(s, u->reg, u->osize, index);
	soft_set_arith(s, v ? 0 : FL_ZF | FL_PF);
}

HN(h_bsf)
{
	uint64_t v = rd_e(s, u);

	scan_done(s, u, v, v ? (unsigned)__builtin_ctzll(v) : 0);
	NEXT(s, u);
}

HN(h_bsr)
{
	uint64_t v = rd_e(s, u);

	scan_done(s, u, v, v ? 63 - (unsigned)__builtin_clzll(v) : 0);
	NEXT(s, u);
}

HN(h_popcnt)
{
	uint64_t v = rd_e(s, u);

	soft_wr_gpr(s, u->reg, u->osize, (uint64_t)__builtin_popcountll(v));
	soft_set_arith(s, v ? 0 : FL_ZF);
	NEXT(s, u);
}
