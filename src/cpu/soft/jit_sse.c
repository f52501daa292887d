/* SPDX-License-Identifier: MIT */
/*
 * SSE to SSE4.2, MMX and what converts between them, natively: the
 * instruction itself, on host registers of the same number.
 *
 * What obeys MXCSR needs it live with all exceptions masked (FX_FP).
 */
#include "jit_trans.h"

struct sse_form {
	uint8_t reg_kind, rm_kind;	/* K_V, K_G or 0; K_W, K_U, K_M, K_E, K_R */
	char size;			/* of the r/m operand in memory */
	bool to_rm;			/* r/m is the destination */
	bool imm;
};

static bool vector_rm(unsigned kind)
{
	return kind == K_W || kind == K_U || kind == K_M || kind == K_Q || kind == K_N;
}

static bool rm_ok(unsigned kind)
{
	return vector_rm(kind) || kind == K_E || kind == K_R;
}

static bool sse_form(unsigned row, struct sse_form *f)
{
	const struct optable_info *inf = &soft_optable_info[row];
	const struct opd *a = &inf->opd[0], *b = &inf->opd[1];

	*f = (struct sse_form){ .imm = inf->n > 1 && inf->opd[inf->n - 1].kind == K_I };
	if (inf->n < 2 || inf->n > 3 || (inf->n == 3 && !f->imm))
		return false;
	if ((a->kind == K_U || a->kind == K_N) && b->kind == K_I) {
		f->rm_kind = a->kind;
		f->to_rm = true;
	} else if ((a->kind == K_V || a->kind == K_P) && rm_ok(b->kind)) {
		f->reg_kind = a->kind;
		f->rm_kind = b->kind;
		f->size = b->size;
	} else if (a->kind == K_G && vector_rm(b->kind)) {
		f->reg_kind = K_G;
		f->rm_kind = b->kind;
		f->size = b->size;
	} else if (rm_ok(a->kind) && (b->kind == K_V || b->kind == K_P)) {
		f->reg_kind = b->kind;
		f->rm_kind = a->kind;
		f->size = a->size;
		f->to_rm = true;
	} else {
		return false;
	}
	return true;
}

static unsigned mem_size(const struct sse_form *f, const struct uop *u)
{
	switch (f->size) {
	case 'x':
		return 16;
	case 'q':
		return 8;
	case 'd':
		return 4;
	case 'y':
		return u->flags & UOP_REXW ? 8 : 4;
	case 'w':
		return 2;
	case 'b':
		return 1;
	default:
		return 0;
	}
}

static bool needs_mxcsr(const struct optable_row *r)
{
	if (r->map == M3A)
		return (r->opcode >= 0x08 && r->opcode <= 0x0b) || r->opcode == 0x40 ||
		       r->opcode == 0x41;
	if (r->map != M0F)
		return false;
	switch (r->opcode) {
	case 0x2a: case 0x2c ... 0x2f: case 0x51 ... 0x53: case 0x58 ... 0x5f: case 0x7c: case 0x7d:
	case 0xc2: case 0xd0: case 0xe6:
		return true;
	default:
		return false;
	}
}

/* PCMPxSTRx. */
static bool string_compare(const struct optable_row *r)
{
	return r->map == M3A && r->opcode >= 0x60 && r->opcode <= 0x63;
}

static bool mmx_kind(unsigned kind)
{
	return kind == K_P || kind == K_Q || kind == K_N;
}

unsigned jit_sse_plan(const struct uop *u, struct plan *p)
{
	const struct optable_row *r = &soft_optable[u->row];
	uint32_t attr = soft_optable_info[u->row].attr;
	bool mem = !(u->flags & UOP_MOD3);
	unsigned need = 0;
	struct sse_form f;

	if (!(attr & (A_SSE | A_MMX)) || !(attr & A_COPY_OK) || !sse_form(u->row, &f))
		return 0;
	/* Masked stores. */
	if ((r->map == M0F && r->opcode == 0xf7) || (mem && !mem_size(&f, u)))
		return 0;
	if (attr & A_SSE || f.reg_kind == K_V || f.rm_kind == K_U)
		need |= FX_VEC;
	if (attr & A_MMX || mmx_kind(f.reg_kind) || mmx_kind(f.rm_kind))
		need |= FX_X87;
	if (need & FX_X87 && !jit_x87_possible)
		return 0;
	if (needs_mxcsr(r))
		need |= FX_FP | FX_VEC;
	p->kind = JK_SSE;
	p->need = (uint8_t)need;
	p->must = p->may = r->fout ? FL_ARITH : 0;
	p->faults = mem;
	return need;
}

/* ---- emission --------------------------------------------------------------------- */
static unsigned sse_opcode(const struct optable_row *r)
{
	static const uint8_t prefix[] = { [P_ANY] = 0, [P_NP] = 0, [P_66] = 0x66, [P_F3] = 0xf3,
					  [P_F2] = 0xf2 };
	unsigned op = r->opcode;

	/* Non-temporal stores are plain ones: nobody waits for their order. */
	if (r->map == M0F && op == 0x2b)
		op = 0x29;
	else if (r->map == M0F && op == 0xe7)
		op = 0x7f;
	return OPX((unsigned)prefix[r->prefix], (unsigned)r->map, op);
}

static struct hop rm_operand(struct trans *t, const struct uop *u, const struct sse_form *f)
{
	const struct optable_row *r = &soft_optable[u->row];
	unsigned size = mem_size(f, u);

	t->scratch = H_T1;
	if (!(u->flags & UOP_MOD3))
		return r->attr & A_ALIGN16 ? jit_mem_aligned(t, u, size, f->to_rm) :
					     jit_mem(t, u, size, f->to_rm);
	if (vector_rm(f->rm_kind))
		return hop_reg(u->rm);
	if (f->to_rm)
		return hop_reg(home(u->rm) < 0 ? H_T0 : home(u->rm));
	return hop_reg(use_gpr(t, u->rm, H_T0));
}

static int reg_operand(struct trans *t, const struct uop *u, const struct sse_form *f)
{
	if (f->reg_kind == K_G)
		return home(u->reg) < 0 ? t->scratch : home(u->reg);
	if (f->reg_kind)
		return u->reg;
	return soft_optable[u->row].ext & 7;
}

/* PINSRx, MOVD, CVTSI2xx and their like take the general register's width from REX.W. */
static unsigned width(const struct sse_form *f, const struct uop *u)
{
	bool gpr = f->reg_kind == K_G || f->rm_kind == K_E ||
		   string_compare(&soft_optable[u->row]);

	return gpr && u->flags & UOP_REXW ? EM_W : 0;
}

void jit_emit_sse(struct trans *t, const struct uop *u)
{
	const struct optable_row *r = &soft_optable[u->row];
	struct sse_form f;
	struct hop m;
	int reg;

	sse_form(u->row, &f);
	m = rm_operand(t, u, &f);
	reg = reg_operand(t, u, &f);
	/* All flags are new: rax is free.  RDX is in its place, and the result goes to RCX. */
	if (string_compare(r))
		em_mov_rr(&t->e, 0, jit_home[R_RAX]);
	em_op(&t->e, width(&f, u), sse_opcode(r), reg, m);
	if (f.imm)
		em8(&t->e, u->imm8);
	if (f.to_rm && !m.mem && !vector_rm(f.rm_kind))
		put_gpr(t, u->rm, m.reg);
	else if (f.reg_kind == K_G)
		put_gpr(t, u->reg, reg);
	if (t->p->may) {
		t->in_efl = true;
		t->in_rax = false;
	}
}
