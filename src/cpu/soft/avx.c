/* SPDX-License-Identifier: MIT */
/*
 * Vector instructions with VEX (Intel SDM vol. 2): AVX, AVX2, FMA, F16C and
 * the VEX forms of older ones.  h_vex is the handler of nearly all rows: it
 * fetches the operands that the row names, runs the host's instruction on
 * fixed registers (avx_stub.c) and stores the result.  The moves, which are
 * frequent, go without; masked and gathered accesses are in avx_mem.c.
 */
#include "avx.h"
#include "intops.h"

static unsigned first_row;

void soft_avx_init(void)
{
	unsigned n = 0;

	for (unsigned i = soft_optable_rows; i-- > 0;)
		if (soft_optable[i].attr & A_AVX) {
			first_row = i;
			n++;
		}
	HV_BUG_ON(n != (unsigned)(__stop_soft_vex_stubs - __start_soft_vex_stubs));
}

static const void *stub_of(const struct uop *u)
{
	const char *p = __start_soft_vex_stubs[u->row - first_row][!!(u->vex & VEX_L)];

	return soft_optable[u->row].attr & A_IMM ? p + 8 * (size_t)u->imm8 : p;
}

/* ---- operands ------------------------------------------------------------------ */
static uint64_t vec_lin(struct soft *s, const struct uop *u, unsigned len, bool write)
{
	uint64_t lin = uop_lin(s, u, len, write);

	if (soft_optable[u->row].attr & A_ALIGNV && unlikely(lin & (len - 1)))
		soft_fault_code(s, u, EXC_GP, 0);
	return lin;
}

static void vec_load(struct soft *s, const struct uop *u, void *dst, unsigned len)
{
	uint64_t lin = vec_lin(s, u, len, false);
	const void *p = tlb_r(s, lin, len);

	if (likely(p))
		memcpy(dst, p, len);
	else if (len <= 8)
		st_le64(dst, soft_ld(s, u, lin, len));
	else
		soft_ld_buf(s, u, lin, dst, len);
}

static void vec_store(struct soft *s, const struct uop *u, const void *src, unsigned len)
{
	uint64_t lin = vec_lin(s, u, len, true);
	void *p = tlb_w(s, lin, len);

	if (likely(p))
		memcpy(p, src, len);
	else if (len <= 8)
		soft_st(s, u, lin, len, ld_le64(src));
	else
		soft_st_buf(s, u, lin, src, len);
}

static void probe_store(struct soft *s, const struct uop *u, unsigned len)
{
	uint64_t lin = vec_lin(s, u, len, true);

	if (!tlb_w(s, lin, len))
		soft_probe_write(s, u, lin, len);
}

static void get_operand(struct soft *s, const struct uop *u, const struct opd *o,
			struct vex_regs *r)
{
	bool reg = u->flags & UOP_MOD3;

	switch (o->kind) {
	case K_V:
		ymm_get(s, u->reg, r->v);
		break;
	case K_H:
		ymm_get(s, VEX_V(u), r->h);
		break;
	case K_L:
		ymm_get(s, u->imm8 >> 4 & (s->mode & MODE_CS64 ? 15 : 7), r->l);
		break;
	case K_W:
	case K_U:
	case K_M:
		if (reg)
			ymm_get(s, u->rm, r->w);
		else
			vec_load(s, u, o->kind == K_M ? r->mem : r->w, soft_vex_bytes(o, u));
		break;
	case K_E:
	case K_R:
		if (reg)
			r->rdx = rd64(s, u->rm);
		else
			vec_load(s, u, &r->rdx, soft_vex_bytes(o, u));
		break;
	}
}

static void put_result(struct soft *s, const struct uop *u, const struct opd *o,
		       struct vex_regs *r)
{
	bool reg = u->flags & UOP_MOD3;

	switch (o->kind) {
	case K_V:
		ymm_set(s, u->reg, r->v);
		break;
	case K_H:
		ymm_set(s, VEX_V(u), r->v);
		break;
	case K_W:
	case K_U:
	case K_M:
		if (reg)
			ymm_set(s, u->rm, r->w);
		else
			vec_store(s, u, o->kind == K_M ? r->mem : r->w, soft_vex_bytes(o, u));
		break;
	case K_G:
		wr64(s, u->reg, r->rax);
		break;
	case K_E:
	case K_R:
		if (reg)
			wr64(s, u->rm, r->rdx);
		else
			vec_store(s, u, &r->rdx, soft_vex_bytes(o, u));
		break;
	}
}

const struct uop *h_vex(struct soft *s, const struct uop *u)
{
	const struct optable_info *inf = &soft_optable_info[u->row];
	struct vex_regs r = { 0 };

	/* A destination register is fetched too: FMA and GATHER read it. */
	for (unsigned i = 0; i < inf->n; i++)
		if (i || inf->opd[0].kind == K_V)
			get_operand(s, u, &inf->opd[i], &r);
	/* A store that faults leaves MXCSR alone. */
	if (inf->opd[0].kind == K_W && !(u->flags & UOP_MOD3))
		probe_store(s, u, soft_vex_bytes(&inf->opd[0], u));
	mx_enter(s);
	soft_vex_call(&r, stub_of(u));
	mx_check(s, u);
	if (soft_optable[u->row].fout)
		soft_set_arith(s, (uint32_t)r.flags);
	else
		put_result(s, u, &inf->opd[0], &r);
	return u + 1;
}

/* The lengths in EAX and EDX, the results in ECX or XMM0 are implicit. */
const struct uop *h_vpcmpstr(struct soft *s, const struct uop *u)
{
	struct vex_regs r = { .rax = s->gpr[R_RAX], .rdx = s->gpr[R_RDX] };

	ymm_get(s, u->reg, r.v);
	get_operand(s, u, &soft_optable_info[u->row].opd[1], &r);
	soft_vex_call(&r, stub_of(u));
	if (soft_optable[u->row].opcode & 1)
		wr32(s, R_RCX * 8, (uint32_t)r.rcx);
	else
		ymm_set(s, 0, r.v);
	soft_set_arith(s, (uint32_t)r.flags);
	return u + 1;
}

/* ---- moves ----------------------------------------------------------------------- */
const struct uop *h_vmov_ld(struct soft *s, const struct uop *u)
{
	uint8_t b[32] __attribute__((aligned(32))) = { 0 };
	unsigned len = VEX_LEN(u);

	if (!(u->flags & UOP_MOD3)) {
		vec_load(s, u, b, len);
	} else {
		memcpy(b, xmm(s, u->rm), 16);
		if (len == 32)
			memcpy(b + 16, ymm_high(s, u->rm), 16);
	}
	ymm_set(s, u->reg, b);
	return u + 1;
}

const struct uop *h_vmov_st(struct soft *s, const struct uop *u)
{
	uint8_t b[32] __attribute__((aligned(32))) = { 0 };
	unsigned len = VEX_LEN(u);

	memcpy(b, xmm(s, u->reg), 16);
	if (len == 32)
		memcpy(b + 16, ymm_high(s, u->reg), 16);
	if (u->flags & UOP_MOD3)
		ymm_set(s, u->rm, b);
	else
		vec_store(s, u, b, len);
	return u + 1;
}

static unsigned registers(const struct soft *s)
{
	return s->mode & MODE_CS64 ? 16 : 8;
}

const struct uop *h_vzeroupper(struct soft *s, const struct uop *u)
{
	memset(ymm_high(s, 0), 0, 16 * registers(s));
	return u + 1;
}

const struct uop *h_vzeroall(struct soft *s, const struct uop *u)
{
	memset(ymm_high(s, 0), 0, 16 * registers(s));
	memset(xmm(s, 0), 0, 16 * registers(s));
	return u + 1;
}
