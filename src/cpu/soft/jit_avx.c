/* SPDX-License-Identifier: MIT */
/*
 * Instructions with VEX natively (Intel SDM vol. 2, 2.3): AVX, AVX2, FMA, F16C
 * and their like on host registers of the same number (FX_YMM), BMI on the
 * general registers' homes.  Masked moves and gathers go to handlers.
 */
#include "jit_trans.h"

/* Which fields of the encoding the operands are in. */
struct vex_form {
	const struct opd *reg, *v, *rm;
	bool imm;
};

static void vex_form(const struct uop *u, struct vex_form *f)
{
	const struct optable_info *inf = &soft_optable_info[u->row];

	*f = (struct vex_form){ 0 };
	for (unsigned i = 0; i < inf->n; i++) {
		const struct opd *o = &inf->opd[i];

		switch (o->kind) {
		case K_V: case K_G:
			f->reg = o;
			break;
		case K_H: case K_B:
			f->v = o;
			break;
		case K_W: case K_U: case K_M: case K_E: case K_R:
			f->rm = o;
			break;
		case K_I: case K_L:
			f->imm = true;
			break;
		}
	}
}

static bool is_gpr(const struct opd *o)
{
	return o->kind == K_E || o->kind == K_R || o->kind == K_G || o->kind == K_B;
}

static bool by_vex(uop_fn fn)
{
	return fn == h_vex || fn == h_vmov_ld || fn == h_vmov_st || fn == h_vpcmpstr ||
	       fn == h_vzeroupper || fn == h_vzeroall;
}

static bool zeroes(const struct optable_row *r)
{
	return r->map == V0F && r->opcode == 0x77;
}

bool jit_vex_plan(const struct block *b, const struct uop *u, struct plan *p)
{
	const struct optable_row *r = &soft_optable[u->row];
	struct vex_form f;

	if (r->map < V0F || (r->attr & A_AVX ? !by_vex(r->fn) : !(r->attr & A_COPY_OK)))
		return false;
	/* Outside 64-bit mode these leave YMM8-15 alone. */
	if (zeroes(r) && !(b->mode & MODE_CS64))
		return false;
	vex_form(u, &f);
	p->kind = JK_VEX;
	if (r->attr & A_AVX)
		p->need = FX_VEC | FX_YMM;
	if (r->attr & A_MXCSR)
		p->need |= FX_FP | FX_YMMFP;
	p->faults = f.rm && !(u->flags & UOP_MOD3);
	p->must = (uint16_t)r->fout;
	p->may = r->fout ? FL_ARITH : 0;
	return true;
}

static unsigned vex_opcode(const struct optable_row *r)
{
	/* Non-temporal stores are plain ones: nobody waits for their order. */
	if (r->map == V0F && r->opcode == 0x2b)
		return 0x29;
	if (r->map == V0F && r->opcode == 0xe7)
		return 0x7f;
	return r->opcode;
}

static struct hop rm_operand(struct trans *t, const struct uop *u, const struct opd *o, bool dest)
{
	t->scratch = H_T1;
	if (!(u->flags & UOP_MOD3)) {
		unsigned size = soft_vex_bytes(o, u);

		return soft_optable[u->row].attr & A_ALIGNV ? jit_mem_aligned(t, u, size, dest) :
							      jit_mem(t, u, size, dest);
	}
	if (!is_gpr(o))
		return hop_reg(u->rm);
	if (dest)
		return hop_reg(home(u->rm) < 0 ? H_T0 : home(u->rm));
	return hop_reg(use_gpr(t, u->rm, H_T0));
}

/* Register field: a vector, a general register (always a destination), or part of the opcode. */
static int reg_operand(struct trans *t, const struct uop *u, const struct opd *o)
{
	if (!o)
		return soft_optable[u->row].ext & 7;
	if (!is_gpr(o))
		return u->reg;
	return home(u->reg) < 0 ? t->scratch : home(u->reg);
}

/* Of three general registers, none may be left for this one: rax, whose flags wait elsewhere. */
static int v_operand(struct trans *t, const struct uop *u, const struct opd *o, bool dest)
{
	unsigned n = VEX_V(u);

	if (!o)
		return 0;
	if (!is_gpr(o) || jit_home[n] >= 0)
		return is_gpr(o) ? jit_home[n] : (int)n;
	if (!dest)
		em_load(&t->e, H_FLAGS, slot(n * 8));
	return H_FLAGS;
}

static void emit_vex(struct trans *t, const struct uop *u, int reg, int v, struct hop rm)
{
	static const uint8_t pp[] = { [P_66] = 1, [P_F3] = 2, [P_F2] = 3 };
	const struct optable_row *r = &soft_optable[u->row];
	bool gpr_w = soft_optable_info[u->row].attr & A_GPRW;

	em_vex(&t->e, r->map - V0F + 1u, pp[r->prefix],
	       gpr_w ? u->flags & UOP_REXW : u->vex & VEX_W, u->vex & VEX_L, (unsigned)v,
	       vex_opcode(r), reg, rm);
}

static void emit_gpr(struct trans *t, const struct uop *u, const struct vex_form *f)
{
	struct hop keep = hop_mem(H_STATE, STATE(jit_arg)), m;
	bool v_dest = soft_optable_info[u->row].opd[0].kind == K_B;
	bool v_wide = f->v && jit_home[VEX_V(u)] < 0;
	bool mulx = soft_optable[u->row].fn == h_mulx;
	bool park;
	int reg, v;

	m = rm_operand(t, u, f->rm, false);
	reg = reg_operand(t, u, f->reg);
	jit_need_flags(t, t->p->may ? t->p->live & ~t->p->must : 0);
	park = v_wide && !t->p->may && t->in_rax;
	if (park)
		em_store(&t->e, keep, H_FLAGS);
	v = v_operand(t, u, f->v, v_dest || mulx);
	emit_vex(t, u, reg, v, m);
	if (f->imm)
		em8(&t->e, u->imm8);
	if ((v_dest || mulx) && v_wide)
		em_store(&t->e, slot(VEX_V(u) * 8u), H_FLAGS);
	if (f->reg)
		put_gpr(t, u->reg, reg);
	if (park)
		em_load(&t->e, H_FLAGS, keep);
	if (t->p->may) {
		t->in_efl = true;
		t->in_rax = false;
	}
}

static void emit_vector(struct trans *t, const struct uop *u, const struct vex_form *f)
{
	const struct optable_row *r = &soft_optable[u->row];
	const struct opd *dest = &soft_optable_info[u->row].opd[0];
	struct hop m = rm_operand(t, u, f->rm, f->rm == dest && !r->fout);
	int reg = reg_operand(t, u, f->reg);

	/* All flags are new: rax is free.  RDX is in its place, and the result goes to RCX. */
	if (r->fn == h_vpcmpstr)
		em_mov_rr(&t->e, 0, jit_home[R_RAX]);
	emit_vex(t, u, reg, f->v ? (int)VEX_V(u) : 0, m);
	if (f->imm)
		em8(&t->e, u->imm8 & (r->attr & A_IS4 && !t->word ? 0x7f : 0xff));
	if (f->rm == dest && is_gpr(dest) && !m.mem)
		put_gpr(t, u->rm, m.reg);
	else if (f->reg == dest && is_gpr(dest))
		put_gpr(t, u->reg, reg);
	if (r->fout) {
		t->in_efl = true;
		t->in_rax = false;
	}
}

void jit_emit_vex(struct trans *t, const struct uop *u)
{
	const struct optable_row *r = &soft_optable[u->row];
	struct vex_form f;

	if (zeroes(r)) {
		em8(&t->e, 0xc5);
		em8(&t->e, u->vex & VEX_L ? 0xfc : 0xf8);
		em8(&t->e, 0x77);
		return;
	}
	vex_form(u, &f);
	if (r->attr & A_AVX)
		emit_vector(t, u, &f);
	else
		emit_gpr(t, u, &f);
}
