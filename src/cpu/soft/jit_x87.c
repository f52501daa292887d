/* SPDX-License-Identifier: MIT */
/*
 * x87 natively, on the host's x87 (FX_X87), and the loads and stores of
 * control and status words.
 *
 * All exceptions are masked while the state is live, so nothing is ever
 * pending and FWAIT does nothing; a control word that unmasks one goes to its
 * handler, and the interpreter takes over.  What the host would tell of
 * itself (FNSTENV, FNSAVE, FXSAVE: instruction and data pointers) is always
 * done by handlers; the guest's pointers are those of the last instruction
 * that a handler executed.
 */
#include "jit_trans.h"

enum { X_REG_, X_LD, X_ST, X_FLAGS, X_STCW, X_STSW, X_STSW_AX, X_LDCW, X_WAIT, X_EMMS, X_LDMX,
       X_STMX };

static const struct form {
	uop_fn fn;
	uint8_t kind, size, need;
} forms[] = {
	{ h_x87_reg, X_REG_, 0, FX_X87 },
	{ h_x87_flags, X_FLAGS, 0, FX_X87 },
	{ h_x87_ld2, X_LD, 2, FX_X87 },
	{ h_x87_ld4, X_LD, 4, FX_X87 },
	{ h_x87_ld8, X_LD, 8, FX_X87 },
	{ h_x87_ld10, X_LD, 10, FX_X87 },
	{ h_x87_st2, X_ST, 2, FX_X87 },
	{ h_x87_st4, X_ST, 4, FX_X87 },
	{ h_x87_st8, X_ST, 8, FX_X87 },
	{ h_x87_st10, X_ST, 10, FX_X87 },
	{ h_fnstcw, X_STCW, 2, FX_X87 },
	{ h_fnstsw, X_STSW, 2, FX_X87 },
	{ h_fnstsw_ax, X_STSW_AX, 0, FX_X87 },
	{ h_fldcw, X_LDCW, 2, FX_X87 },
	{ h_fwait, X_WAIT, 0, FX_X87 },
	{ h_emms, X_EMMS, 0, FX_X87 },
	{ h_ldmxcsr, X_LDMX, 4, FX_FP | FX_VEC },
	{ h_stmxcsr, X_STMX, 4, FX_FP | FX_VEC },
};

static const struct form *form_of(const struct uop *u)
{
	uop_fn fn = soft_optable[u->row].fn;

	for (size_t i = 0; i < ARRAY_SIZE(forms); i++)
		if (forms[i].fn == fn)
			return &forms[i];
	return NULL;
}

unsigned jit_x87_plan(const struct uop *u, struct plan *p)
{
	const struct form *f = form_of(u);

	if (!f || (f->need & FX_X87 && !jit_x87_possible))
		return 0;
	p->kind = JK_X87;
	p->need = f->need;
	p->faults = f->size != 0;
	p->reads = (uint16_t)soft_optable[u->row].fin;
	p->may = soft_optable[u->row].fout ? FL_ARITH : 0;
	p->must = p->may & (FL_CF | FL_PF | FL_ZF);
	return p->need;
}

/* D8-DF and the ModRM byte of a register form. */
static void emit_reg(struct trans *t, const struct uop *u)
{
	const struct optable_row *r = &soft_optable[u->row];
	unsigned n = r->ext & 0x100 ? (unsigned)r->ext >> 3 & 7 : r->ext & 7u;

	em8(&t->e, r->opcode);
	em8(&t->e, 0xc0 | n << 3 | (u->rm & 7));
}

/* FCOMI and FCMOVcc. */
static void emit_flags(struct trans *t, const struct uop *u)
{
	const struct plan *p = t->p;

	jit_need_flags(t, p->reads | (p->may ? p->live & ~p->must : 0));
	emit_reg(t, u);
	if (p->may) {
		t->in_efl = true;
		t->in_rax = false;
	}
}

/* The host's AX is not the guest's. */
static void emit_stsw_ax(struct trans *t)
{
	em_mov_rr(&t->e, H_T0, H_FLAGS);
	em8(&t->e, 0xdf);
	em8(&t->e, 0xe0);
	em_op(&t->e, EM_16, 0x8b, jit_home[R_RAX], hop_reg(H_FLAGS));
	em_mov_rr(&t->e, H_FLAGS, H_T0);
}

/* FLDCW, LDMXCSR: from a copy, once it is known that it unmasks nothing. */
static void emit_load_control(struct trans *t, const struct uop *u, bool mxcsr)
{
	struct hop keep = hop_mem(H_STATE, STATE(jit_arg));
	struct hop m = jit_mem(t, u, mxcsr ? 4 : 2, false);
	struct emit *e = &t->e;

	em_op(e, 0, mxcsr ? 0x8b : OPF(0xb7), H_T0, m);
	em_op(e, 0, 0x89, H_T0, keep);
	em_alu_imm(e, 0, 6, hop_reg(H_T0), mxcsr ? 0x1f80 : 0x3f);
	em_op(e, 0, 0xf7, 0, hop_reg(H_T0));
	em32(e, mxcsr ? 0xffff1f80 : 0x3f);
	jit_slow_jump(t, 5);
	t->cur->next = true;
	em_op(e, 0, mxcsr ? OPF(0xae) : 0xd9, mxcsr ? 2 : 5, keep);
}

void jit_emit_x87(struct trans *t, const struct uop *u)
{
	const struct optable_row *r = &soft_optable[u->row];
	const struct form *f = form_of(u);

	switch (f->kind) {
	case X_REG_:
		emit_reg(t, u);
		break;
	case X_FLAGS:
		emit_flags(t, u);
		break;
	case X_LD:
		em_op(&t->e, 0, r->opcode, r->ext & 7, jit_mem(t, u, f->size, false));
		break;
	case X_ST:
	case X_STCW:
	case X_STSW:
		em_op(&t->e, 0, r->opcode, r->ext & 7, jit_mem(t, u, f->size, true));
		break;
	case X_STMX:
		em_op(&t->e, 0, OPF(0xae), 3, jit_mem(t, u, 4, true));
		break;
	case X_STSW_AX:
		emit_stsw_ax(t);
		break;
	case X_LDCW:
	case X_LDMX:
		emit_load_control(t, u, f->kind == X_LDMX);
		break;
	case X_EMMS:
		em8(&t->e, 0x0f);
		em8(&t->e, 0x77);
		break;
	}
}
