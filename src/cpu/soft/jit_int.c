/* SPDX-License-Identifier: MIT */
/* Native forms of the integer instructions inside a block. */
#include "jit_trans.h"

static void gen_imm(struct trans *t, const struct uop *u, const struct jit_row *r)
{
	if (r->use & U_I8)
		em8(&t->e, u->imm8);
	else if (r->use & U_IZ)
		em_imm(&t->e, MIN(u->osize, 4u), u->imm);
}

/* Opcode with the size and the immediate's short form. */
static void gen_op(struct trans *t, const struct uop *u, const struct jit_row *r, int g,
		   struct hop m)
{
	unsigned fl = em_size(u->osize), op = u->osize == 1 && r->op8 ? r->op8 : r->op;

	if (r->use & U_E8)
		fl |= EM_8RM;
	if (u->flags & UOP_LOCK)
		fl |= EM_LOCK;
	if (unlikely(t->s->jit->plant) && op == t->s->jit->plant)
		op = t->s->jit->planted;
	if (r->use & U_CC)
		op |= u->imm8 & 15;
	if (op == 0x81 && (int64_t)u->imm == (int8_t)u->imm) {
		em_op(&t->e, fl, 0x83, g, m);
		em8(&t->e, (uint8_t)u->imm);
		return;
	}
	em_op(&t->e, fl, op, g, m);
	gen_imm(t, u, r);
}

unsigned jit_e_size(const struct uop *u, const struct jit_row *r)
{
	return r->use & U_E8 ? 1 : r->use & U_E16 ? 2 : r->use & U_E32 ? 4 : u->osize;
}

/* The flags that the instruction needs in EFLAGS, and where they are after it. */
static void flags_before(struct trans *t)
{
	const struct plan *p = t->p;

	jit_need_flags(t, p->reads | (p->may ? p->live & ~p->must : 0));
}

static void flags_after(struct trans *t)
{
	if (!t->p->may)
		return;
	t->in_efl = true;
	t->in_rax = false;
}

/* Operand E is AH to BH: what sets all flags, which frees rax, and MOVZX. */
bool jit_high_ok(const struct jit_row *r, const struct uop *u)
{
	if (!(u->flags & UOP_MOD3) || !(u->rm & 7))
		return false;
	if (r->fn == h_movzx8)
		return true;
	return r->kind == JK_GENERIC && r->flags == FK_ALL && r->ext != NO_REG && u->osize == 1;
}

static void gen_high(struct trans *t, const struct uop *u)
{
	const struct jit_row *r = t->p->r;
	unsigned g = u->rm >> 3;

	if (r->fn == h_movzx8) {	/* rax is borrowed */
		em_mov_rr(&t->e, H_T1, H_FLAGS);
		em_mov_rr(&t->e, 0, jit_home[g]);
		em_op(&t->e, 0, OPF(0xb6), 0, hop_reg(4));
		em_mov_rr(&t->e, H_T0, 0);
		em_mov_rr(&t->e, H_FLAGS, H_T1);
		if (u->osize == 2) {
			int d = use_gpr(t, u->reg, H_T1);

			em_op(&t->e, EM_16, 0x8b, d, hop_reg(H_T0));
			put_gpr(t, u->reg, d);
		} else {
			put_gpr(t, u->reg, H_T0);
		}
		return;
	}
	em_mov_rr(&t->e, 0, jit_home[g]);
	em_op(&t->e, 0, r->op8, r->ext, hop_reg(4));
	gen_imm(t, u, r);
	if (r->use & U_EW)
		em_mov_rr(&t->e, jit_home[g], 0);
	flags_after(t);
}

bool jit_is_high(const struct jit_row *r, const struct uop *u)
{
	return u->flags & UOP_MOD3 && u->rm & 7 && r->use & (U_ER | U_EW) && jit_high_ok(r, u);
}

/* Is register operand E, without a home, fit to be the instruction's memory operand? */
static bool in_slot(const struct jit_row *r, const struct uop *u)
{
	if (home(u->rm) >= 0 || r->use & U_REGONLY || (r->use & (U_EW | U_GW)) == (U_EW | U_GW))
		return false;
	return !(r->use & U_EW) || u->osize == 8 || u->osize <= 2;
}

/*
 * MOV, ADD to XOR, CMP, TEST of two registers, G without a home: the other
 * direction has G in memory.
 */
static bool gen_swapped(struct trans *t, const struct uop *u)
{
	const struct jit_row *r = t->p->r;
	bool to_g = r->use & U_GW, ge = r->op & 2, test = r->op == 0x85;
	unsigned fl = em_size(u->osize), op = u->osize == 1 ? r->op8 : r->op;

	if (r->ext != NO_REG || home(u->reg) >= 0 || home(u->rm) < 0 || !(r->use & (U_GR | U_GW)) ||
	    (u->reg | u->rm) & 7 || !((r->op & ~0x3au) == 1 || (r->op & ~2u) == 0x89 || test))
		return false;
	if (to_g && u->osize == 4)
		return false;
	flags_before(t);
	em_op(&t->e, fl, test ? op : ge ? op & ~2u : op | 2, home(u->rm), slot(u->reg));
	return true;
}

static void gen_generic(struct trans *t, const struct uop *u)
{
	const struct jit_row *r = t->p->r;
	bool mem = !(u->flags & UOP_MOD3), g = r->ext == NO_REG;
	int er = NO_REG, gr = r->ext;
	struct hop m;

	if (jit_is_high(r, u)) {
		gen_high(t, u);
		return;
	}
	if (!mem && gen_swapped(t, u)) {
		flags_after(t);
		return;
	}
	if (mem) {
		m = jit_mem(t, u, jit_e_size(u, r), r->use & U_EW);
	} else if (in_slot(r, u)) {
		m = slot(u->rm);
		t->scratch = H_T0;
	} else {
		er = home(u->rm);
		if (er < 0 && (r->use & U_ER || u->osize < 4))
			er = use_gpr(t, u->rm, H_T0);
		else if (er < 0)
			er = H_T0;
		m = hop_reg(er);
		t->scratch = er == H_T0 ? H_T1 : H_T0;
	}
	if (g) {
		if (er >= 0 && u->reg >> 3 == u->rm >> 3)
			gr = er;
		else if (home(u->reg) < 0 && !(r->use & U_GR) && u->osize >= 4)
			gr = t->scratch;
		else
			gr = use_gpr(t, u->reg, t->scratch);
		if (er >= 0 && gr == er && home(u->reg) < 0 && !(r->use & U_ER) && r->use & U_GR)
			er = use_gpr(t, u->rm, H_T0);
	}
	flags_before(t);
	gen_op(t, u, r, gr, m);
	if (er >= 0 && r->use & U_EW)
		put_gpr(t, u->rm, er);
	if (g && r->use & U_GW)
		put_gpr(t, u->reg, gr);
	flags_after(t);
}

static void gen_mov_imm(struct trans *t, const struct uop *u)
{
	uint64_t v = u->osize == 4 ? (uint32_t)u->imm : u->imm;
	struct hop m;

	if (!(u->flags & UOP_MOD3)) {
		m = jit_mem(t, u, u->osize, true);
		gen_op(t, u, t->p->r, 0, m);
		return;
	}
	if (u->osize < 4) {
		int er = use_gpr(t, u->rm, H_T0);

		gen_op(t, u, t->p->r, 0, hop_reg(er));
		put_gpr(t, u->rm, er);
		return;
	}
	if (v == (uint64_t)(int32_t)v && v > 0x7fffffff) {
		m = home(u->rm) < 0 ? slot(u->rm) : hop_reg(home(u->rm));
		em_op(&t->e, EM_W, 0xc7, 0, m);
		em32(&t->e, (uint32_t)v);
		return;
	}
	em_mov_imm64(&t->e, home(u->rm) < 0 ? H_T0 : home(u->rm), v);
	put_gpr(t, u->rm, home(u->rm) < 0 ? H_T0 : home(u->rm));
}

static void gen_lea(struct trans *t, const struct uop *u)
{
	int d = home(u->reg);
	struct hop m;

	if (d >= 0 && u->osize >= 4 && jit_ea_direct(u, &m)) {
		em_op(&t->e, MIN(u->osize, u->asize) == 8 ? EM_W : 0, 0x8d, d, m);
		return;
	}
	jit_lea(t, u, true);
	if (u->osize == 2) {
		d = use_gpr(t, u->reg, H_T1);
		em_op(&t->e, EM_16, 0x8b, d, hop_reg(H_T0));
		put_gpr(t, u->reg, d);
		return;
	}
	if (d < 0) {
		if (u->osize == 4)
			em_op(&t->e, 0, 0x8b, H_T0, hop_reg(H_T0));
		put_gpr(t, u->reg, H_T0);
		return;
	}
	em_op(&t->e, em_size(u->osize), 0x8b, d, hop_reg(H_T0));
}

static void gen_push(struct trans *t, const struct uop *u)
{
	struct hop m = jit_stack(t, R_RSP, t->word ? -8 : -4, true);

	if (t->p->kind == JK_PUSH_I) {
		em_op(&t->e, t->word, 0xc7, 0, m);
		em32(&t->e, (uint32_t)u->imm);
	} else {
		em_op(&t->e, t->word, 0x89, use_gpr(t, u->rm, H_T0), m);
	}
	jit_sp_move(t, -1);
}

/* Through memory: the check of the stack needs both scratch registers. */
static void push_value(struct trans *t, int reg)
{
	struct hop keep = hop_mem(H_STATE, STATE(jit_arg)), m;

	em_store(&t->e, keep, reg);
	m = jit_stack(t, R_RSP, t->word ? -8 : -4, true);
	em_load(&t->e, H_T0, keep);
	em_op(&t->e, t->word, 0x89, H_T0, m);
	jit_sp_move(t, -1);
}

static void gen_push_m(struct trans *t, const struct uop *u)
{
	struct hop m = jit_mem(t, u, u->osize, false);

	em_op(&t->e, t->word, 0x8b, H_T0, m);
	push_value(t, H_T0);
}

static void gen_pushf(struct trans *t)
{
	struct emit *e = &t->e;

	t->win.open = false;
	jit_save_flags(t);
	em_op(e, 0, 0x8b, H_T0, hop_reg(H_FLAGS));
	em_op(e, 0, 0xc1, 5, hop_reg(H_T0));
	em8(e, 8);
	em_alu_imm(e, 0, 4, hop_reg(H_T0), 0xd5);
	em_op(e, 0, 0x8b, H_T1, hop_reg(H_FLAGS));
	em_alu_imm(e, 0, 4, hop_reg(H_T1), 1);
	em_op(e, 0, 0xc1, 4, hop_reg(H_T1));
	em8(e, 11);
	em_op(e, 0, 0x0b, H_T0, hop_reg(H_T1));
	em_op(e, 0, 0x0b, H_T0, hop_mem(H_STATE, STATE(eflags)));
	em_alu_imm(e, 0, 1, hop_reg(H_T0), 2);
	em_alu_imm(e, 0, 4, hop_reg(H_T0), ~(int32_t)(FL_VM | FL_RF));
	t->in_efl = false;
	push_value(t, H_T0);
}

static void gen_cli(struct trans *t)
{
	jit_save_flags(t);
	em_op(&t->e, 0, 0x80, 7, hop_mem(H_STATE, STATE(cpl)));
	em8(&t->e, 0);
	jit_slow_jump(t, 5);
	em_alu_imm(&t->e, 0, 4, hop_mem(H_STATE, STATE(eflags)), ~(int32_t)FL_IF);
	t->in_efl = false;
}

static void gen_carry(struct trans *t, const struct uop *u)
{
	uop_fn fn = t->p->r->fn;

	jit_save_flags(t);
	em_alu_imm(&t->e, 0, fn == h_clc ? 4 : fn == h_stc ? 1 : 6, hop_reg(H_FLAGS),
		   fn == h_clc ? ~0x100 : 0x100);
	t->in_efl = false;
}

/*
 * Out of line unless the quotient is sure to fit.  DIV: the high half is below
 * the divisor, which excludes zero.  IDIV: the dividend is no wider than the
 * divisor (CWD, as compilers do it), which is neither 0 nor -1.
 */
static void check_div(struct trans *t, unsigned w)
{
	struct emit *e = &t->e;

	if (t->p->kind == JK_DIV) {
		em_op(e, w, 0x3b, jit_home[R_RDX], hop_reg(H_T0));
		jit_slow_jump(t, 3);
		return;
	}
	em_op(e, w, 0x8b, H_T1, hop_reg(jit_home[R_RAX]));
	em_op(e, w, 0xc1, 7, hop_reg(H_T1));
	em8(e, w ? 63 : 31);
	em_op(e, w, 0x3b, H_T1, hop_reg(jit_home[R_RDX]));
	jit_slow_jump(t, 5);
	em_op(e, w, 0x8d, H_T1, hop_mem(H_T0, 1));
	em_alu_imm(e, w, 7, hop_reg(H_T1), 1);
	jit_slow_jump(t, 6);
}

static void gen_div(struct trans *t, const struct uop *u)
{
	unsigned w = em_size(u->osize);
	struct emit *e = &t->e;

	jit_save_flags(t);
	if (u->flags & UOP_MOD3)
		em_mov_rr(e, H_T0, use_gpr(t, u->rm, H_T0));
	else
		em_op(e, w, 0x8b, H_T0, jit_mem(t, u, u->osize, false));
	check_div(t, w);
	em_mov_rr(e, H_T1, H_FLAGS);
	em_mov_rr(e, 0, jit_home[R_RAX]);
	em_op(e, w, 0xf7, t->p->r->ext, hop_reg(H_T0));
	em_mov_rr(e, jit_home[R_RAX], 0);
	em_mov_rr(e, H_FLAGS, H_T1);
	t->in_efl = false;
}

static void gen_pop(struct trans *t, const struct uop *u)
{
	struct hop m = jit_stack(t, R_RSP, 0, false);
	int d = home(u->rm) < 0 ? H_T0 : home(u->rm);

	em_op(&t->e, t->word, 0x8b, d, m);
	put_gpr(t, u->rm, d);
	jit_sp_move(t, 1);
}

static void gen_leave(struct trans *t)
{
	struct hop m = jit_stack(t, R_RBP, 0, false);

	em_op(&t->e, t->word, 0x8b, H_T0, m);
	em_op(&t->e, t->word, 0x8d, jit_home[R_RSP], hop_mem(jit_home[R_RBP], t->word ? 8 : 4));
	em_mov_rr(&t->e, jit_home[R_RBP], H_T0);
}

static void gen_bswap(struct trans *t, const struct uop *u)
{
	int r = use_gpr(t, u->rm, H_T0);

	em8(&t->e, 0x40 | (u->osize == 8 ? 8u : 0) | (unsigned)(r >> 3));
	em8(&t->e, 0x0f);
	em8(&t->e, 0xc8 | (unsigned)(r & 7));
	put_gpr(t, u->rm, r);
}

static void gen_cbw(struct trans *t, const struct uop *u)
{
	int a = jit_home[R_RAX];

	if (u->osize == 8)
		em_op(&t->e, EM_W, 0x63, a, hop_reg(a));
	else if (u->osize == 4)
		em_op(&t->e, 0, OPF(0xbf), a, hop_reg(a));
	else
		em_op(&t->e, EM_16 | EM_8RM, OPF(0xbe), a, hop_reg(a));
}

/* The host's rax is borrowed; rdx is the guest's. */
static void gen_cwd(struct trans *t, const struct uop *u)
{
	em_mov_rr(&t->e, H_T1, H_FLAGS);
	em_mov_rr(&t->e, 0, jit_home[R_RAX]);
	if (u->osize != 4)
		em8(&t->e, u->osize == 8 ? 0x48 : 0x66);
	em8(&t->e, 0x99);
	em_mov_rr(&t->e, H_FLAGS, H_T1);
}

/* MUL, IMUL, CMPXCHG: rax is free, as all flags are new. */
static void gen_rax(struct trans *t, const struct uop *u)
{
	const struct jit_row *r = t->p->r;
	int g = r->ext, er = NO_REG;
	struct hop m;

	if (u->flags & UOP_MOD3) {
		er = use_gpr(t, u->rm, H_T0);
		m = hop_reg(er);
		t->scratch = H_T1;
	} else {
		m = jit_mem(t, u, u->osize, r->use & U_EW);
	}
	if (g == NO_REG)
		g = !m.mem && u->reg >> 3 == u->rm >> 3 ? er : use_gpr(t, u->reg, t->scratch);
	em_mov_rr(&t->e, 0, jit_home[R_RAX]);
	gen_op(t, u, r, g, m);
	if (!(r->use & U_EW) || m.mem) {
		em_mov_rr(&t->e, jit_home[R_RAX], 0);
	} else {
		/* CMPXCHG with RAX itself as destination: the destination wins. */
		if (u->rm >> 3 != R_RAX)
			em_mov_rr(&t->e, jit_home[R_RAX], 0);
		put_gpr(t, u->rm, er);
	}
	flags_after(t);
}

static void string_step(struct trans *t, unsigned gpr, const struct uop *u)
{
	em_op(&t->e, t->word, 0x8d, jit_home[gpr], hop_mem(jit_home[gpr], u->osize));
}

/* One element, upward. */
static void gen_string(struct trans *t, const struct uop *u)
{
	struct hop keep = hop_mem(H_STATE, STATE(jit_arg)), m;
	unsigned size = em_size(u->osize), byte = u->osize == 1;
	int a = jit_home[R_RAX];

	jit_save_flags(t);
	em_op(&t->e, 0, 0xf7, 0, hop_mem(H_STATE, STATE(eflags)));
	em32(&t->e, FL_DF);
	jit_slow_jump(t, 5);
	t->in_efl = false;
	if (t->p->kind != JK_STOS) {
		m = jit_at(t, R_RSI, 0, u->osize, false);
		if (t->p->kind == JK_LODS) {
			em_op(&t->e, size, byte ? 0x8a : 0x8b, a, m);
			string_step(t, R_RSI, u);
			return;
		}
		em_op(&t->e, size, byte ? 0x8a : 0x8b, H_T0, m);
		em_op(&t->e, size, byte ? 0x88 : 0x89, H_T0, keep);
	}
	m = jit_at(t, R_RDI, 0, u->osize, true);
	if (t->p->kind == JK_MOVS) {
		em_op(&t->e, size, byte ? 0x8a : 0x8b, H_T0, keep);
		a = H_T0;
		string_step(t, R_RSI, u);
	}
	em_op(&t->e, size, byte ? 0x88 : 0x89, a, m);
	string_step(t, R_RDI, u);
}

void jit_emit_uop(struct trans *t, const struct uop *u)
{
	switch (t->p->kind) {
	case JK_GENERIC:
		gen_generic(t, u);
		break;
	case JK_PAUSE:
		em8(&t->e, 0xf3);
		em8(&t->e, 0x90);
		break;
	case JK_MOV_IMM:
		gen_mov_imm(t, u);
		break;
	case JK_LEA:
		gen_lea(t, u);
		break;
	case JK_PUSH:
	case JK_PUSH_I:
		gen_push(t, u);
		break;
	case JK_PUSH_M:
		gen_push_m(t, u);
		break;
	case JK_PUSHF:
		gen_pushf(t);
		break;
	case JK_CLI:
		gen_cli(t);
		break;
	case JK_SYS:
	case JK_AC:
		jit_emit_sys(t, u);
		break;
	case JK_CARRY:
		gen_carry(t, u);
		break;
	case JK_DIV:
	case JK_IDIV:
		gen_div(t, u);
		break;
	case JK_POP:
		gen_pop(t, u);
		break;
	case JK_LEAVE:
		gen_leave(t);
		break;
	case JK_BSWAP:
		gen_bswap(t, u);
		break;
	case JK_CBW:
		gen_cbw(t, u);
		break;
	case JK_CWD:
		gen_cwd(t, u);
		break;
	case JK_MOVS:
	case JK_STOS:
	case JK_LODS:
		gen_string(t, u);
		break;
	case JK_MUL:
	case JK_CMPXCHG:
		gen_rax(t, u);
		break;
	default:
		break;
	}
}
