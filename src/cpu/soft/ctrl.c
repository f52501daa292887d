/* SPDX-License-Identifier: MIT */
/*
 * Near jumps, calls, returns, loops, the stack, and the flag instructions.
 * Branches end a block: they go on through its link (intops.h).
 */
#include "intops.h"

void soft_push(struct soft *s, const struct uop *u, unsigned size, uint64_t v)
{
	uint64_t sp = (sp_get(s) - size) & sp_mask(s);

	soft_st(s, u, stack_lin(s, u, sp, size, true), size, v);
	sp_set(s, sp);
}

uint64_t soft_peek(struct soft *s, const struct uop *u, unsigned size, unsigned skip)
{
	return soft_ld(s, u, stack_lin(s, u, (sp_get(s) + skip) & sp_mask(s), size, false), size);
}

/* ---- jumps ------------------------------------------------------------------- */
#define JCC(name, cc) \
HN(h_j##name) { if (cc_cond(s, cc)) return soft_take(s, u); return soft_fall(s, u); }
JCC(o, 0) JCC(no, 1) JCC(b, 2) JCC(nb, 3) JCC(z, 4) JCC(nz, 5) JCC(be, 6) JCC(nbe, 7)
JCC(s, 8) JCC(ns, 9) JCC(p, 10) JCC(np, 11) JCC(l, 12) JCC(nl, 13) JCC(le, 14) JCC(nle, 15)

HN(h_jmp)
{
	return soft_take(s, u);
}

/* An indirect target must be canonical or within the limit before anything changes. */
static void check_target(struct soft *s, const struct uop *u, uint64_t rip)
{
	if (s->mode & MODE_CS64 ? (uint64_t)sext(rip, 6) != rip : rip > s->seg[SEG_CS].limit)
		soft_fault_code(s, u, EXC_GP, 0);
}

/* The 64-bit forms do only TLB hits themselves: no stack frame, no spills. */
static COLD HN(call_slow)
{
	soft_push(s, u, u->osize, UOP_NEXT_RIP(s, u));
	return soft_take(s, u);
}

static HN(call64)
{
	uint64_t sp = s->gpr[R_RSP] - 8;
	mem64_t *p = tlb_w(s, sp, 8);

	if (unlikely(!p))
		return call_slow(s, u);
	*p = UOP_NEXT_RIP(s, u);
	s->gpr[R_RSP] = sp;
	return soft_take(s, u);
}

HN(h_call)
{
	return call_slow(s, u);
}

HN(h_call_e)
{
	uint64_t rip = rd_e(s, u);

	check_target(s, u, rip);
	soft_push(s, u, u->osize, UOP_NEXT_RIP(s, u));
	s->gpr[GPR_RIP] = rip;
	return soft_goto(s);
}

HN(h_jmp_e)
{
	uint64_t rip = rd_e(s, u);

	check_target(s, u, rip);
	s->gpr[GPR_RIP] = rip;
	return soft_goto(s);
}

static COLD HN(ret_slow)
{
	uint64_t rip = soft_peek(s, u, u->osize, 0);

	check_target(s, u, rip);
	sp_set(s, sp_get(s) + u->osize + u->imm);
	s->gpr[GPR_RIP] = rip;
	return soft_goto(s);
}

static HN(ret64)
{
	const mem64_t *p = tlb_r(s, s->gpr[R_RSP], 8);
	uint64_t rip = p ? *p : 1ull << 63;

	if (unlikely((uint64_t)sext(rip, 6) != rip))
		return ret_slow(s, u);
	s->gpr[R_RSP] += 8 + u->imm;
	s->gpr[GPR_RIP] = rip;
	return soft_goto(s);
}

HN(h_ret)
{
	return ret_slow(s, u);
}

/* Counter of LOOP and JCXZ: by address size. */
static inline uint64_t count_dec(struct soft *s, const struct uop *u)
{
	uint64_t c = zext(s->gpr[R_RCX] - 1, u->asize);

	soft_wr_gpr(s, R_RCX * 8, u->asize, c);
	return c;
}

HN(h_loop)
{
	if (count_dec(s, u))
		return soft_take(s, u);
	return soft_fall(s, u);
}

HN(h_loope)
{
	if (count_dec(s, u) && cc_cond(s, 4))
		return soft_take(s, u);
	return soft_fall(s, u);
}

HN(h_loopne)
{
	if (count_dec(s, u) && !cc_cond(s, 4))
		return soft_take(s, u);
	return soft_fall(s, u);
}

HN(h_jcxz)
{
	if (!zext(s->gpr[R_RCX], u->asize))
		return soft_take(s, u);
	return soft_fall(s, u);
}

/* ---- stack ------------------------------------------------------------------- */
static HN(push64_r)
{
	uint64_t sp = s->gpr[R_RSP] - 8;
	mem64_t *p = tlb_w(s, sp, 8);

	if (unlikely(!p))
		return h_push(s, u);
	*p = rd64(s, u->rm);
	s->gpr[R_RSP] = sp;
	NEXT(s, u);
}

static HN(pop64_r)
{
	const mem64_t *p = tlb_r(s, s->gpr[R_RSP], 8);

	if (unlikely(!p))
		return h_pop(s, u);
	s->gpr[R_RSP] += 8;
	wr64(s, u->rm, *p);
	NEXT(s, u);
}

static HN(push32_r)
{
	soft_push(s, u, 4, rd32(s, u->rm));
	NEXT(s, u);
}

static HN(pop32_r)
{
	uint32_t v = (uint32_t)soft_peek(s, u, 4, 0);

	sp_set(s, sp_get(s) + 4);
	wr32(s, u->rm, v);
	NEXT(s, u);
}

HN(h_push)
{
	soft_push(s, u, u->osize, rd_e(s, u));
	NEXT(s, u);
}

HN(h_push_i)
{
	soft_push(s, u, u->osize, u->imm);
	NEXT(s, u);
}

/* The address of a memory destination uses the incremented stack pointer. */
HN(h_pop)
{
	uint64_t v = soft_peek(s, u, u->osize, 0), old = s->gpr[R_RSP], ea, sp;

	sp_set(s, sp_get(s) + u->osize);
	if (u->flags & UOP_MOD3) {
		soft_wr_gpr(s, u->rm, u->osize, v);
		NEXT(s, u);
	}
	sp = s->gpr[R_RSP];
	ea = uop_ea(s, u);
	s->gpr[R_RSP] = old;
	soft_st(s, u, ea_lin(s, u, ea, u->osize, true), u->osize, v);
	s->gpr[R_RSP] = sp;
	NEXT(s, u);
}

static const struct uop_spec sp_push = {
	.generic = h_push, .faults = true, .r = { NULL, NULL, push32_r, push64_r },
}, sp_pop = {
	.generic = h_pop, .faults = true, .r = { NULL, NULL, pop32_r, pop64_r },
}, sp_call = {
	.generic = h_call, .m = { NULL, NULL, NULL, call64 },
}, sp_ret = {
	.generic = h_ret, .m = { NULL, NULL, NULL, ret64 },
};

const struct uop_spec *const soft_spec_ctrl[] = { &sp_push, &sp_pop, &sp_call, &sp_ret, NULL };

/* Opcodes 06 0e 16 1e, 0f a0, 0f a8: the segment is in the opcode.  32 bits: upper half is zero. */
HN(h_push_seg)
{
	unsigned seg = u->imm8 & 0x80 ? SEG_FS + (u->imm8 >> 3 & 1) : u->imm8 >> 3;

	soft_push(s, u, u->osize, s->seg[seg].sel);
	NEXT(s, u);
}

HN(h_pusha)
{
	unsigned n = u->osize;
	uint64_t sp = sp_get(s), m = sp_mask(s);

	/* First and last decide whether it faults; the middle lies between them. */
	for (unsigned i = 0; i < 8; i++)
		soft_probe_write(s, u, stack_lin(s, u, (sp - (i + 1) * n) & m, n, true), n);
	for (unsigned i = 0; i < 8; i++)
		soft_st(s, u, stack_lin(s, u, (sp - (i + 1) * n) & m, n, true), n, s->gpr[i]);
	sp_set(s, sp - 8 * n);
	NEXT(s, u);
}

HN(h_popa)
{
	unsigned n = u->osize;
	uint64_t v[8];

	for (unsigned i = 0; i < 8; i++)
		v[i] = soft_peek(s, u, n, i * n);
	sp_set(s, sp_get(s) + 8 * n);
	for (unsigned i = 0; i < 8; i++)
		if (7 - i != R_RSP)
			soft_wr_gpr(s, (7 - i) * 8, n, v[i]);
	return u + 1;
}

/* SDM vol. 2 ENTER: the frame pointers of @level enclosing procedures are copied. */
HN(h_enter)
{
	unsigned n = u->osize, level = u->imm8 & 31;
	uint64_t m = sp_mask(s), sp = (sp_get(s) - n) & m, frame = sp, bp = s->gpr[R_RBP];

	soft_st(s, u, stack_lin(s, u, sp, n, true), n, bp);
	for (unsigned i = 1; i < level; i++) {
		uint64_t v;

		bp -= n;
		v = soft_ld(s, u, stack_lin(s, u, bp & m, n, false), n);
		sp = (sp - n) & m;
		soft_st(s, u, stack_lin(s, u, sp, n, true), n, v);
	}
	if (level) {
		sp = (sp - n) & m;
		soft_st(s, u, stack_lin(s, u, sp, n, true), n, frame);
	}
	sp = (sp - (uint16_t)u->imm) & m;
	soft_probe_write(s, u, stack_lin(s, u, sp, n, true), n);
	soft_wr_gpr(s, R_RBP * 8, n, frame);
	sp_set(s, sp);
	NEXT(s, u);
}

HN(h_leave)
{
	uint64_t m = sp_mask(s), bp = s->gpr[R_RBP] & m;
	uint64_t v = soft_ld(s, u, stack_lin(s, u, bp, u->osize, false), u->osize);

	sp_set(s, bp + u->osize);
	soft_wr_gpr(s, R_RBP * 8, u->osize, v);
	NEXT(s, u);
}

/* ---- flags ------------------------------------------------------------------- */
static unsigned iopl(const struct soft *s)
{
	return s->eflags >> 12 & 3;
}

/* VIF stands for IF: 16-bit PUSHF, POPF in virtual-8086 mode with CR4.VME (SDM vol. 3, 20.3). */
static bool flags_virtual(struct soft *s, const struct uop *u)
{
	if (!(s->mode & MODE_VM86) || iopl(s) == 3)
		return false;
	if (!(s->cr4 & 1) || u->osize != 2)
		soft_fault_code(s, u, EXC_GP, 0);
	return true;
}

HN(h_pushf)
{
	uint32_t fl = soft_get_eflags(s) & ~(FL_VM | FL_RF);

	if (flags_virtual(s, u))
		fl = (fl & ~FL_IF) | FL_IOPL | (fl & FL_VIF ? FL_IF : 0);
	soft_push(s, u, u->osize, fl);
	NEXT(s, u);
}

static HN(popf_virtual)
{
	uint32_t mask = FL_ARITH | FL_TF | FL_DF | FL_NT | FL_VIF;
	uint32_t fl = (uint32_t)soft_peek(s, u, 2, 0), old = soft_get_eflags(s);

	if (fl & FL_TF || (fl & FL_IF && old & FL_VIP))
		soft_fault_code(s, u, EXC_GP, 0);
	fl |= fl & FL_IF ? FL_VIF : 0;
	sp_set(s, sp_get(s) + 2);
	soft_set_eflags(s, ((old & ~mask) | (fl & mask)) & ~FL_RF);
	return u + 1;
}

HN(h_popf)
{
	uint32_t mask = FL_ARITH | FL_TF | FL_DF | FL_NT, fl, old = soft_get_eflags(s);

	if (flags_virtual(s, u))
		return popf_virtual(s, u);
	if (u->osize > 2)
		mask |= FL_AC | FL_ID;
	if (!(s->mode & MODE_PE) || (s->cpl == 0 && !(s->mode & MODE_VM86)))
		mask |= FL_IOPL;
	if (!(s->mode & MODE_PE) || s->cpl <= iopl(s))
		mask |= FL_IF;
	fl = (uint32_t)soft_peek(s, u, u->osize, 0);
	sp_set(s, sp_get(s) + u->osize);
	soft_set_eflags(s, ((old & ~mask) | (fl & mask)) & ~FL_RF);
	return u + 1;
}

/* CLI, STI: the flag they may change, IF or (CR4.VME, CR4.PVI at CPL 3) VIF. */
static uint32_t if_flag(struct soft *s, const struct uop *u)
{
	bool v86 = s->mode & MODE_VM86;

	if (!(s->mode & MODE_PE) || s->cpl <= iopl(s))
		return FL_IF;
	if (!(s->cr4 & (v86 ? 1 : 2)) || s->cpl != 3)
		soft_fault_code(s, u, EXC_GP, 0);
	return FL_VIF;
}

HN(h_cli)
{
	s->eflags &= ~if_flag(s, u);
	NEXT(s, u);
}

HN(h_sti)
{
	if (if_flag(s, u) == FL_VIF) {
		if (s->eflags & FL_VIP)
			soft_fault_code(s, u, EXC_GP, 0);
		s->eflags |= FL_VIF;
		return u + 1;
	}
	if (!(s->eflags & FL_IF))
		s->intr_shadow = true;
	s->eflags |= FL_IF;
	return u + 1;
}

HN(h_cld)
{
	s->eflags &= ~FL_DF;
	NEXT(s, u);
}

HN(h_std)
{
	s->eflags |= FL_DF;
	NEXT(s, u);
}

HN(h_cmc)
{
	soft_set_arith(s, soft_arith(s) ^ FL_CF);
	NEXT(s, u);
}

HN(h_clc)
{
	soft_set_arith(s, soft_arith(s) & ~FL_CF);
	NEXT(s, u);
}

HN(h_stc)
{
	soft_set_arith(s, soft_arith(s) | FL_CF);
	NEXT(s, u);
}
