/* SPDX-License-Identifier: MIT */
/*
 * SSE to SSE4.2 natively: the instruction itself, on host registers of the
 * same number.  s->fx always holds what the registers hold (every write is
 * stored at once), so that handlers and faults need nothing; inside a block
 * a register is loaded only once (trans.xmms).
 *
 * What obeys MXCSR needs the guest's MXCSR in the host with all exceptions
 * masked (s->mx_native); else the handler does it.
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
	return kind == K_W || kind == K_U || kind == K_M;
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
	if (a->kind == K_U && b->kind == K_I) {
		f->rm_kind = K_U;
		f->to_rm = true;
	} else if (a->kind == K_V && rm_ok(b->kind)) {
		f->reg_kind = K_V;
		f->rm_kind = b->kind;
		f->size = b->size;
	} else if (a->kind == K_G && vector_rm(b->kind)) {
		f->reg_kind = K_G;
		f->rm_kind = b->kind;
		f->size = b->size;
	} else if (rm_ok(a->kind) && b->kind == K_V) {
		f->reg_kind = K_V;
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

bool jit_sse_needs_mxcsr(const struct uop *u)
{
	const struct optable_row *r = &soft_optable[u->row];

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

bool jit_sse_ok(const struct uop *u)
{
	const struct optable_row *r = &soft_optable[u->row];
	uint32_t attr = soft_optable_info[u->row].attr;
	struct sse_form f;

	if ((attr & (A_SSE | A_COPY_OK | A_MMX)) != (A_SSE | A_COPY_OK) || !sse_form(u->row, &f))
		return false;
	/* String compares with implicit operands; state; masked store. */
	if ((r->map == M3A && r->opcode >= 0x60 && r->opcode <= 0x62) ||
	    (r->map == M0F && (r->opcode == 0xae || r->opcode == 0xf7)))
		return false;
	if (!(u->flags & UOP_MOD3))
		return mem_size(&f, u) && jit_ea_ok(u);
	return true;
}

/* ---- registers ------------------------------------------------------------------ */
static struct hop image(unsigned n)
{
	return hop_mem(H_STATE, STATE(fx) + 160 + 16 * (int32_t)n);
}

void jit_load_xmms(struct emit *e, uint32_t set)
{
	for (; set; set &= set - 1) {
		unsigned n = (unsigned)__builtin_ctz(set);

		em_op(e, 0, OPF(0x28), (int)n, image(n));
	}
}

static int use_xmm(struct trans *t, unsigned n)
{
	jit_load_xmms(&t->e, 1u << n & ~t->xmms);
	t->xmms |= 1u << n;
	return (int)n;
}

static void wrote_xmm(struct trans *t, unsigned n)
{
	em_op(&t->e, 0, OPF(0x29), (int)n, image(n));
	t->xmms |= 1u << n;
}

/* The destination's old value does not matter. */
static bool overwrites(const struct optable_row *r, const struct uop *u)
{
	if (r->map != M0F)
		return false;
	switch (r->opcode) {
	case 0x10:
		return r->prefix == P_NP || r->prefix == P_66 || !(u->flags & UOP_MOD3);
	case 0x28: case 0x6e: case 0x6f: case 0x70: case 0x7e: case 0xf0:
		return true;
	default:
		return false;
	}
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

static void check_mxcsr(struct trans *t)
{
	jit_save_flags(t);
	em_op(&t->e, 0, 0x80, 7, hop_mem(H_STATE, STATE(mx_native)));
	em8(&t->e, 0);
	jit_slow_jump(t, 4);
	t->in_efl = false;
}

static void check_align(struct trans *t, struct hop m)
{
	em_lea(&t->e, t->scratch, m);
	em_op(&t->e, EM_8, 0xf6, 0, hop_reg(t->scratch));
	em8(&t->e, 15);
	jit_slow_jump(t, 5);
}

static struct hop rm_operand(struct trans *t, const struct uop *u, const struct sse_form *f)
{
	const struct optable_row *r = &soft_optable[u->row];

	t->scratch = H_T1;
	if (!(u->flags & UOP_MOD3)) {
		struct hop m = jit_mem(t, u, mem_size(f, u), f->to_rm);

		if (r->attr & A_ALIGN16)
			check_align(t, m);
		return m;
	}
	if (vector_rm(f->rm_kind))
		return hop_reg(use_xmm(t, u->rm));
	if (f->to_rm)
		return hop_reg(home(u->rm) < 0 ? H_T0 : home(u->rm));
	return hop_reg(use_gpr(t, u->rm, H_T0));
}

static int reg_operand(struct trans *t, const struct uop *u, const struct sse_form *f)
{
	const struct optable_row *r = &soft_optable[u->row];

	if (f->reg_kind == K_G)
		return home(u->reg) < 0 ? t->scratch : home(u->reg);
	if (f->reg_kind != K_V)
		return r->ext & 7;
	if (!f->to_rm && overwrites(r, u))
		return u->reg;
	return use_xmm(t, u->reg);
}

/* PINSRx, MOVD, CVTSI2xx and their like take the general register's width from REX.W. */
static unsigned width(const struct sse_form *f, const struct uop *u)
{
	bool gpr = f->reg_kind == K_G || f->rm_kind == K_E;

	return gpr && u->flags & UOP_REXW ? EM_W : 0;
}

void jit_emit_sse(struct trans *t, const struct uop *u)
{
	const struct optable_row *r = &soft_optable[u->row];
	struct sse_form f;
	struct hop m;
	int reg;

	sse_form(u->row, &f);
	if (jit_sse_needs_mxcsr(u))
		check_mxcsr(t);
	m = rm_operand(t, u, &f);
	reg = reg_operand(t, u, &f);
	if (r->map == M38 && (r->opcode == 0x10 || r->opcode == 0x14 || r->opcode == 0x15))
		use_xmm(t, 0);
	em_op(&t->e, width(&f, u), sse_opcode(r), reg, m);
	if (f.imm)
		em8(&t->e, u->imm8);
	if (f.to_rm && !m.mem && vector_rm(f.rm_kind))
		wrote_xmm(t, u->rm);
	else if (f.to_rm && !m.mem)
		put_gpr(t, u->rm, m.reg);
	else if (!f.to_rm && f.reg_kind == K_V && !r->fout)
		wrote_xmm(t, u->reg);
	else if (f.reg_kind == K_G)
		put_gpr(t, u->reg, reg);
	if (t->p->may) {
		t->in_efl = true;
		t->in_rax = false;
	}
}
