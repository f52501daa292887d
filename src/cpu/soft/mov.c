/* SPDX-License-Identifier: MIT */
/* Data movement: MOV, LEA, extensions, XCHG, CMOVcc, SETcc, and small converters. */
#include "alu.h"

#define MOV_SIZE(n) \
static HN(mov_eg_r##n) { wr##n(s, u->rm, rd##n(s, u->reg)); NEXT(s, u); } \
static HN(mov_eg_m##n) \
{ soft_st##n(s, u, uop_lin(s, u, n / 8, true), rd##n(s, u->reg)); NEXT(s, u); } \
static HN(mov_ge_r##n) { wr##n(s, u->reg, rd##n(s, u->rm)); NEXT(s, u); } \
static HN(mov_ge_m##n) \
{ wr##n(s, u->reg, soft_ld##n(s, u, uop_lin(s, u, n / 8, false))); NEXT(s, u); } \
static HN(mov_ei_r##n) { wr##n(s, u->rm, (UT(n))u->imm); NEXT(s, u); } \
static HN(mov_ei_m##n) \
{ soft_st##n(s, u, uop_lin(s, u, n / 8, true), (UT(n))u->imm); NEXT(s, u); } \
static HN(lea_m##n) { wr##n(s, u->reg, (UT(n))uop_ea(s, u)); NEXT(s, u); } \
static HN(lea_f##n) { wr##n(s, u->reg, (UT(n))fast_ea(s, u)); NEXT(s, u); } \
static HN(mov_eg_f##n) \
{ \
	mem##n##_t *p = tlb_w(s, fast_ea(s, u), n / 8); \
	if (unlikely(!p)) \
		return mov_eg_m##n(s, u); \
	*p = rd##n(s, u->reg); \
	NEXT(s, u); \
} \
static HN(mov_ei_f##n) \
{ \
	mem##n##_t *p = tlb_w(s, fast_ea(s, u), n / 8); \
	if (unlikely(!p)) \
		return mov_ei_m##n(s, u); \
	*p = (UT(n))u->imm; \
	NEXT(s, u); \
} \
static HN(mov_ge_f##n) \
{ \
	const mem##n##_t *p = tlb_r(s, fast_ea(s, u), n / 8); \
	if (unlikely(!p)) \
		return mov_ge_m##n(s, u); \
	wr##n(s, u->reg, *p); \
	NEXT(s, u); \
}
MOV_SIZE(8) MOV_SIZE(16) MOV_SIZE(32) MOV_SIZE(64)

/* From E of n bits, zero- (z) or sign-extended (s), to G of the operand size. */
#define EXT_SIZE(x, n, ctype, to) \
static HN(mov##x##n##_r##to) \
{ wr##to(s, u->reg, (UT(to))(ctype)rd##n(s, u->rm)); NEXT(s, u); } \
static HN(mov##x##n##_m##to) \
{ wr##to(s, u->reg, (UT(to))(ctype)soft_ld##n(s, u, uop_lin(s, u, n / 8, false))); NEXT(s, u); } \
static HN(mov##x##n##_f##to) \
{ \
	const mem##n##_t *p = tlb_r(s, fast_ea(s, u), n / 8); \
	if (unlikely(!p)) \
		return mov##x##n##_m##to(s, u); \
	wr##to(s, u->reg, (UT(to))(ctype)*p); \
	NEXT(s, u); \
}
#define EXT(x, n, ctype) \
	EXT_SIZE(x, n, ctype, 16) EXT_SIZE(x, n, ctype, 32) EXT_SIZE(x, n, ctype, 64)
EXT(zx, 8, uint8_t)
EXT(zx, 16, uint16_t)
EXT(sx, 8, int8_t)
EXT(sx, 16, int16_t)
EXT(sxd, 32, int32_t)

#define SPEC(name, gen, R, M, F) \
	static const struct uop_spec sp_##name = { .generic = gen, .r = R, .m = M, .f = F }; \
	HN(gen) { return SPEC_CALL(sp_##name, s, u); }
#define SIZES3(p) { NULL, p##16, p##32, p##64 }
SPEC(mov_eg, h_mov_eg, SIZES(mov_eg_r), SIZES(mov_eg_m), SIZES(mov_eg_f))
SPEC(mov_ge, h_mov_ge, SIZES(mov_ge_r), SIZES(mov_ge_m), SIZES(mov_ge_f))
SPEC(mov_ei, h_mov_ei, SIZES(mov_ei_r), SIZES(mov_ei_m), SIZES(mov_ei_f))
SPEC(lea, h_lea, { NULL }, SIZES(lea_m), SIZES(lea_f))
SPEC(movzx8, h_movzx8, SIZES3(movzx8_r), SIZES3(movzx8_m), SIZES3(movzx8_f))
SPEC(movzx16, h_movzx16, SIZES3(movzx16_r), SIZES3(movzx16_m), SIZES3(movzx16_f))
SPEC(movsx8, h_movsx8, SIZES3(movsx8_r), SIZES3(movsx8_m), SIZES3(movsx8_f))
SPEC(movsx16, h_movsx16, SIZES3(movsx16_r), SIZES3(movsx16_m), SIZES3(movsx16_f))
SPEC(movsxd, h_movsxd, SIZES3(movsxd32_r), SIZES3(movsxd32_m), SIZES3(movsxd32_f))

/* Store of a selector: 16 bits to memory, zero-extended to a register. */
HN(h_mov_es)
{
	uint16_t sel = s->seg[u->reg].sel;

	if (u->flags & UOP_MOD3)
		soft_wr_gpr(s, u->rm, u->osize, sel);
	else
		soft_st16(s, u, uop_lin(s, u, 2, true), sel);
	NEXT(s, u);
}

HN(h_cmov)
{
	uint64_t v = rd_e(s, u);

	if (soft_cc(s, u->imm8 & 15))
		soft_wr_gpr(s, u->reg, u->osize, v);
	else if (u->osize == 4)	/* the upper half is cleared even so */
		wr32(s, u->reg, rd32(s, u->reg));
	NEXT(s, u);
}

HN(h_setcc)
{
	wr_e(s, u, soft_cc(s, u->imm8 & 15));
	NEXT(s, u);
}

/* By condition: CMOV of 32 and 64 bits, SETcc of a register. */
#define CMOV(n, c) \
static HN(cmov_r##n##_##c) \
{ \
	wr##n(s, u->reg, cc_cond(s, c) ? rd##n(s, u->rm) : rd##n(s, u->reg)); \
	NEXT(s, u); \
} \
static HN(cmov_f##n##_##c) \
{ \
	const mem##n##_t *p = tlb_r(s, fast_ea(s, u), n / 8); \
	if (unlikely(!p)) \
		return h_cmov(s, u); \
	wr##n(s, u->reg, cc_cond(s, c) ? *p : rd##n(s, u->reg)); \
	NEXT(s, u); \
}
#define SETCC(n, c) static HN(set_r##n##_##c) { wr8(s, u->rm, cc_cond(s, c)); NEXT(s, u); }
#define BY_CC(X, n) \
	X(n, 0) X(n, 1) X(n, 2) X(n, 3) X(n, 4) X(n, 5) X(n, 6) X(n, 7) X(n, 8) X(n, 9) X(n, 10) \
	X(n, 11) X(n, 12) X(n, 13) X(n, 14) X(n, 15)
BY_CC(CMOV, 32) BY_CC(CMOV, 64) BY_CC(SETCC, 8)
#define E_CMOV_R(n, c) cmov_r##n##_##c,
#define E_CMOV_F(n, c) cmov_f##n##_##c,
#define E_SETCC(n, c) set_r##n##_##c,
static const uop_fn cmov_r[4][16] = {
	[LG32] = { BY_CC(E_CMOV_R, 32) }, [LG64] = { BY_CC(E_CMOV_R, 64) },
};
static const uop_fn cmov_f[4][16] = {
	[LG32] = { BY_CC(E_CMOV_F, 32) }, [LG64] = { BY_CC(E_CMOV_F, 64) },
};
static const uop_fn set_r[4][16] = { [LG8] = { BY_CC(E_SETCC, 8) } };
static const struct uop_spec sp_cmov = { .generic = h_cmov, .cc_r = cmov_r, .cc_f = cmov_f };
static const struct uop_spec sp_setcc = { .generic = h_setcc, .cc_r = set_r };

const struct uop_spec *const soft_spec_mov[] = {
	&sp_mov_eg, &sp_mov_ge, &sp_mov_ei, &sp_lea, &sp_movzx8, &sp_movzx16, &sp_movsx8,
	&sp_movsx16, &sp_movsxd, &sp_cmov, &sp_setcc, NULL,
};

HN(h_bswap)
{
	if (u->osize == 8)
		wr64(s, u->rm, __builtin_bswap64(rd64(s, u->rm)));
	else if (u->osize == 4)
		wr32(s, u->rm, __builtin_bswap32(rd32(s, u->rm)));
	else
		wr16(s, u->rm, 0);	/* undefined; what processors do */
	NEXT(s, u);
}

/* With memory LOCK is implied. */
HN(h_xchg)
{
	uint64_t v = soft_rd_gpr(s, u->reg, u->osize), old;
	struct rmw r;

	if (u->flags & UOP_MOD3) {
		old = soft_rd_gpr(s, u->rm, u->osize);
		soft_wr_gpr(s, u->rm, u->osize, v);
	} else {
		old = rmw_begin(s, u, &r, uop_lin(s, u, u->osize, true), u->osize, true);
		while (!rmw_commit(s, u, &r, &old, v))
			;
	}
	soft_wr_gpr(s, u->reg, u->osize, old);
	return u + 1;
}

HN(h_xadd)
{
	uint64_t b = soft_rd_gpr(s, u->reg, u->osize), a;
	struct rmw r;

	if (u->flags & UOP_MOD3) {
		a = soft_rd_gpr(s, u->rm, u->osize);
		soft_wr_gpr(s, u->reg, u->osize, a);
		soft_wr_gpr(s, u->rm, u->osize, a + b);
	} else {
		a = rmw_begin(s, u, &r, uop_lin(s, u, u->osize, true), u->osize,
			      u->flags & UOP_LOCK);
		while (!rmw_commit(s, u, &r, &a, a + b))
			;
		soft_wr_gpr(s, u->reg, u->osize, a);
	}
	cc_set(s, CC(CC_ADD, lg_size(u->osize)), sext(a + b, u->osize), a, b);
	return u + 1;
}

HN(h_cmpxchg)
{
	uint64_t acc = soft_rd_gpr(s, R_RAX * 8, u->osize), a;
	uint64_t v = soft_rd_gpr(s, u->reg, u->osize);
	struct rmw r;

	if (u->flags & UOP_MOD3) {
		a = soft_rd_gpr(s, u->rm, u->osize);
		/* Not written if unequal: a 32-bit destination keeps its upper half. */
		if (a == acc)
			soft_wr_gpr(s, u->rm, u->osize, v);
	} else {
		a = rmw_begin(s, u, &r, uop_lin(s, u, u->osize, true), u->osize,
			      u->flags & UOP_LOCK);
		while (!rmw_commit(s, u, &r, &a, a == acc ? v : a))
			;
	}
	if (a != acc)
		soft_wr_gpr(s, R_RAX * 8, u->osize, a);
	cc_set(s, CC(CC_SUB, lg_size(u->osize)), sext(acc - a, u->osize), acc, a);
	return u + 1;
}

static void set_zf(struct soft *s, bool zf)
{
	soft_set_arith(s, (soft_arith(s) & ~FL_ZF) | (zf ? FL_ZF : 0));
}

static HN(cmpxchg8b)
{
	uint64_t acc = (uint32_t)s->gpr[R_RAX] | s->gpr[R_RDX] << 32, a;
	uint64_t v = (uint32_t)s->gpr[R_RBX] | s->gpr[R_RCX] << 32;
	struct rmw r;

	a = rmw_begin(s, u, &r, uop_lin(s, u, 8, true), 8, u->flags & UOP_LOCK);
	while (!rmw_commit(s, u, &r, &a, a == acc ? v : a))
		;
	if (a != acc) {
		wr32(s, R_RAX * 8, (uint32_t)a);
		wr32(s, R_RDX * 8, (uint32_t)(a >> 32));
	}
	set_zf(s, a == acc);
	return u + 1;
}

typedef unsigned __int128 u128;

static bool cas128(void *p, u128 *old, u128 v)
{
	uint64_t lo = (uint64_t)*old, hi = (uint64_t)(*old >> 64);
	bool ok;

	asm volatile("lock cmpxchg16b %1" : "=@ccz"(ok), "+m"(*(char (*)[16])p), "+a"(lo), "+d"(hi)
		     : "b"((uint64_t)v), "c"((uint64_t)(v >> 64)) : "memory");
	*old = (u128)hi << 64 | lo;
	return ok;
}

static HN(cmpxchg16b)
{
	u128 acc = (u128)s->gpr[R_RDX] << 64 | s->gpr[R_RAX], a = acc;
	u128 v = (u128)s->gpr[R_RCX] << 64 | s->gpr[R_RBX];
	uint64_t lin = uop_lin(s, u, 16, true);
	void *p;
	bool ok;

	if (lin & 15)
		soft_fault_code(s, u, EXC_GP, 0);
	p = soft_rmw_ptr(s, u, lin, 16);
	if (p) {
		ok = cas128(p, &a, v);
		soft_rmw_done(s, u, 16);
	} else {
		soft_probe_write(s, u, lin, 16);
		soft_ld_buf(s, u, lin, &a, 16);
		ok = a == acc;
		if (ok)
			soft_st_buf(s, u, lin, &v, 16);
	}
	if (!ok) {
		s->gpr[R_RAX] = (uint64_t)a;
		s->gpr[R_RDX] = (uint64_t)(a >> 64);
	}
	set_zf(s, ok);
	return u + 1;
}

HN(h_cmpxchg8b)
{
	if (!(u->flags & UOP_REXW))
		return cmpxchg8b(s, u);
	if (!soft_has_feat(F_CX16))
		soft_fault(s, u, EXC_UD);
	return cmpxchg16b(s, u);
}

HN(h_xlat)
{
	uint64_t ea = s->gpr[R_RBX] + rd8(s, R_RAX * 8);

	if (u->asize != 8)
		ea &= u->asize == 4 ? 0xffffffff : 0xffff;
	wr8(s, R_RAX * 8, soft_ld8(s, u, ea_lin(s, u, ea, 1, false)));
	NEXT(s, u);
}

HN(h_cbw)
{
	soft_wr_gpr(s, R_RAX * 8, u->osize,
		    (uint64_t)sext(s->gpr[R_RAX], u->osize / 2));
	NEXT(s, u);
}

HN(h_cwd)
{
	soft_wr_gpr(s, R_RDX * 8, u->osize, sext(s->gpr[R_RAX], u->osize) < 0 ? ~0ull : 0);
	NEXT(s, u);
}

HN(h_lahf)
{
	wr8(s, R_RAX * 8 + 1, (uint8_t)((soft_arith(s) & 0xd5) | 2));
	NEXT(s, u);
}

HN(h_sahf)
{
	soft_set_arith(s, (soft_arith(s) & FL_OF) | (rd8(s, R_RAX * 8 + 1) & 0xd5));
	NEXT(s, u);
}

HN(h_nop)
{
	NEXT(s, u);
}

HN(h_pause)
{
	__builtin_ia32_pause();
	NEXT(s, u);
}

HN(h_ud)
{
	soft_fault(s, u, EXC_UD);
}
