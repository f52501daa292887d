/* SPDX-License-Identifier: MIT */
/*
 * Disassembler: the instruction table read backwards, in Intel syntax as
 * GNU objdump writes it where that is no extra work (sizes of memory
 * operands are given only when no register tells them).
 */
#include "intops.h"
#include <stdarg.h>
#include <stdio.h>

struct text {
	char *p;
	size_t len, pos;
};

static void put(struct text *t, const char *fmt, ...) HV_PRINTF(2, 3);
static void put(struct text *t, const char *fmt, ...)
{
	va_list ap;
	int n;

	va_start(ap, fmt);
	n = vsnprintf(t->p + t->pos, t->len - t->pos, fmt, ap);
	va_end(ap);
	if (n > 0)
		t->pos = MIN(t->pos + (size_t)n, t->len - 1);
}

static const char *const names[16] = {
	"ax", "cx", "dx", "bx", "sp", "bp", "si", "di",
	"r8", "r9", "r10", "r11", "r12", "r13", "r14", "r15",
};
static const char *const segs[8] = { "es", "cs", "ss", "ds", "fs", "gs", "?", "?" };

/* Register number @n as @size bytes. */
static void put_reg(struct text *t, unsigned n, unsigned size)
{
	static const char *const bytes[8] = { "al", "cl", "dl", "bl", "spl", "bpl", "sil", "dil" };

	if (n >= 8)
		put(t, "%s%s", names[n], size == 1 ? "b" : size == 2 ? "w" : size == 4 ? "d" : "");
	else if (size == 1)
		put(t, "%s", bytes[n]);
	else
		put(t, "%s%s", size == 8 ? "r" : size == 4 ? "e" : "", names[n]);
}

/* From a byte offset into s->gpr. */
static void put_gpr(struct text *t, unsigned off, unsigned size)
{
	static const char *const high[4] = { "ah", "ch", "dh", "bh" };

	if (off & 7)
		put(t, "%s", high[off >> 3 & 3]);
	else
		put_reg(t, off / 8, size);
}

static void put_vec(struct text *t, unsigned n, unsigned size)
{
	put(t, "%cmm%u", size == 32 ? 'y' : 'x', n);
}

/* Gathers: indices of 4 bytes in even opcodes, of 8 in odd ones. */
static unsigned element_bytes(const struct uop *u)
{
	return u->vex & VEX_W ? 8 : 4;
}

static unsigned index_bytes(const struct uop *u)
{
	bool narrow = !(soft_optable[u->row].opcode & 1) && u->vex & VEX_W;

	return narrow ? 16 : VEX_LEN(u);
}

static void put_disp(struct text *t, int64_t disp, bool alone, unsigned asize)
{
	uint64_t mask = ~0ull >> (64 - asize * 8);

	if (alone)
		put(t, "0x%llx", (unsigned long long)((uint64_t)disp & mask));
	else if (disp < 0)
		put(t, "-0x%llx", (unsigned long long)-(uint64_t)disp);
	else if (disp)
		put(t, "+0x%llx", (unsigned long long)disp);
}

/* @vsib: size of the vector register with the indices, or 0. */
static void put_mem(struct text *t, const struct uop *u, unsigned bytes, uint64_t rip,
		    unsigned vsib)
{
	static const char *const ptr[33] = {
		[1] = "BYTE PTR ", [2] = "WORD PTR ", [4] = "DWORD PTR ", [8] = "QWORD PTR ",
		[10] = "TBYTE PTR ", [16] = "XMMWORD PTR ", [32] = "YMMWORD PTR ",
	};
	bool none = u->base == GPR_ZERO && u->index == GPR_ZERO && !vsib;

	if (bytes <= 32 && ptr[bytes])
		put(t, "%s", ptr[bytes]);
	if (u->flags & UOP_SEGOVR || (none && u->asize != 8))
		put(t, "%s:", segs[u->seg & 7]);
	if (u->base == GPR_RIP) {
		put(t, "[rip%+lld]", (long long)(u->disp - u->len));
		return;
	}
	if (none && u->flags & UOP_SEGOVR) {
		put_disp(t, u->disp, true, u->asize);
		return;
	}
	put(t, "[");
	if (u->base != GPR_ZERO)
		put_reg(t, u->base, u->asize);
	if (u->index != GPR_ZERO) {
		put(t, "%s", u->base != GPR_ZERO ? "+" : "");
		put_reg(t, u->index, u->asize);
		if (u->asize != 2)
			put(t, "*%u", 1u << u->scale);
	}
	if (vsib) {
		put(t, "%s", u->base != GPR_ZERO ? "+" : "");
		put_vec(t, u->rm, vsib);
		put(t, "*%u", 1u << u->scale);
	}
	put_disp(t, u->disp, none, u->asize);
	put(t, "]");
}

static unsigned opd_bytes(const struct opd *o, const struct uop *u, unsigned vsize)
{
	if (o->bytes)
		return o->bytes;
	switch (o->size) {
	case 'b': case 'w': case 'd': case 'q': case 'o': case 'h': case 'f': case 'e':
		return soft_vex_bytes(o, u);
	case 'x':
		return soft_optable[u->row].map >= V0F ? VEX_LEN(u) : 16;
	case 'y':
		return u->flags & UOP_REXW ? 8 : 4;
	case 'z':
		return MIN(vsize, 4u);
	case 'v':
		return vsize;
	default:
		return o->kind == K_Q ? 8 : 0;
	}
}

static void put_imm(struct text *t, const struct opd *o, const struct uop *u, uint64_t v)
{
	if (soft_optable[u->row].map >= V0F)
		v &= 0xff;
	else if (o->size == 'b' || !o->size)
		v = u->osize > 1 && (int64_t)v < 0 ? zext(v, u->osize) : v & 0xff;
	else
		v = zext(v, u->osize);
	put(t, "0x%llx", (unsigned long long)v);
}

static void put_string(struct text *t, const struct opd *o, const struct uop *u, unsigned size)
{
	static const char *const ptr[9] = {
		[1] = "BYTE", [2] = "WORD", [4] = "DWORD", [8] = "QWORD",
	};

	put(t, "%s PTR %s:[", ptr[size], o->kind == K_X ? segs[u->seg] : "es");
	put_reg(t, o->kind == K_X ? R_RSI : R_RDI, u->asize);
	put(t, "]");
}

static void put_fixed(struct text *t, const struct opd *o, unsigned size)
{
	if (o->size == 'B')
		put(t, "cl");
	else if (o->size == 'W')
		put(t, "dx");
	else
		put_reg(t, o->num, size);
}

static void put_operand(struct text *t, const struct opd *o, const struct uop *u, unsigned vsize,
			uint64_t rip, bool second_imm, bool bits64)
{
	unsigned size = opd_bytes(o, u, vsize);
	bool is_reg = u->flags & UOP_MOD3;

	switch (o->kind) {
	case K_E:
	case K_R:
	case K_W:
	case K_U:
	case K_Q:
	case K_N:
	case K_M:
		if (!is_reg)
			put_mem(t, u, size, rip, 0);
		else if (o->kind == K_W || o->kind == K_U)
			put_vec(t, u->rm, size);
		else if (o->kind == K_Q || o->kind == K_N)
			put(t, "mm%u", u->rm);
		else
			put_gpr(t, u->rm, o->kind == K_R ? 4 : size);
		break;
	case K_G:
		put_gpr(t, u->reg, size);
		break;
	case K_Z:
		put_gpr(t, u->rm, size);
		break;
	case K_I:
		put_imm(t, o, u, second_imm ? u->imm8 : u->imm);
		break;
	case K_J:
		put(t, "0x%llx", (unsigned long long)((rip + u->imm) & (uint64_t)u->disp));
		break;
	case K_A:
		put(t, "0x%llx:0x%llx", (unsigned long long)(u->imm >> 32),
		    (unsigned long long)(uint32_t)u->imm);
		break;
	case K_O:
		put(t, "%s:0x%llx", segs[u->seg & 7],
		    (unsigned long long)zext((uint64_t)u->disp, u->asize));
		break;
	case K_S:
		put(t, "%s", segs[u->reg & 7]);
		break;
	case K_C:
		put(t, "cr%u", u->reg);
		break;
	case K_D:
		put(t, "dr%u", u->reg);
		break;
	case K_V:
		put_vec(t, u->reg, size);
		break;
	case K_H:
		put_vec(t, VEX_V(u), size);
		break;
	case K_L:
		put_vec(t, u->imm8 >> 4 & (bits64 ? 15 : 7), size);
		break;
	case K_B:
		put_reg(t, VEX_V(u), size);
		break;
	case K_T:
		put_mem(t, u, element_bytes(u), rip, index_bytes(u));
		break;
	case K_P:
		put(t, "mm%u", u->reg);
		break;
	case K_ST:
		put(t, "st");
		break;
	case K_STI:
		put(t, "st(%u)", u->rm & 7);
		break;
	case K_X:
	case K_Y:
		put_string(t, o, u, size);
		break;
	case K_FIX:
		put_fixed(t, o, size);
		break;
	case K_ONE:
		put(t, "1");
		break;
	}
}

/* Effective size of v operands, from the uop's own size where its first operand is one. */
static unsigned v_size(const struct optable_info *inf, const struct uop *u, unsigned bits)
{
	for (unsigned i = 0; i < inf->n; i++)
		if (inf->opd[i].size == 'v')
			return u->osize;
	if (bits == 64)
		return u->flags & UOP_REXW ? 8 : u->flags & UOP_P66 ? 2 : 4;
	return (bits == 32) == !(u->flags & UOP_P66) ? 4 : 2;
}

static void put_mnemonic(struct text *t, const struct optable_row *r,
			 const struct optable_info *inf, const struct uop *u)
{
	static const char *const cbw[4] = { "", "cbw", "cwde", "cdqe" };
	static const char *const cwd[4] = { "", "cwd", "cdq", "cqo" };
	static const char *const jcxz[4] = { "", "jcxz", "jecxz", "jrcxz" };
	unsigned lg = lg_size(u->osize);

	if (u->flags & UOP_LOCK)
		put(t, "lock ");
	if (inf->attr & A_REPSTR) {
		bool cmp = !strcmp(r->mnem, "cmps") || !strcmp(r->mnem, "scas");

		if (u->flags & (UOP_REP | UOP_REPNE))
			put(t, "%s ", u->flags & UOP_REPNE ? "repnz" : cmp ? "repz" : "rep");
	}
	if (r->map == M1 && r->opcode == 0x98)
		put(t, "%s", cbw[lg]);
	else if (r->map == M1 && r->opcode == 0x99)
		put(t, "%s", cwd[lg]);
	else if (r->map == M1 && r->opcode == 0xe3)
		put(t, "%s", jcxz[lg_size(u->asize)]);
	else if (u->flags & UOP_REXW && !strcmp(r->mnem, "cmpxchg8b"))
		put(t, "cmpxchg16b");
	else
		put(t, "%s", r->mnem);
}

unsigned soft_disas(const uint8_t *bytes, size_t n, unsigned bits, uint64_t rip, char *out,
		    size_t out_len)
{
	unsigned mode = MODE_PE | MODE_LMA | (bits == 64 ? MODE_CS64 : bits == 32 ? MODE_CS32 : 0);
	struct text t = { out, out_len, 0 };
	const struct optable_info *inf;
	struct uop u;
	int len;

	soft_optable_init();	/* the KVM engine comes here too */
	len = soft_decode(bytes, n, mode, 0, &u);
	if (!out_len)
		return 0;
	out[0] = 0;
	if (len <= 0) {
		put(&t, "(bad)");
		return 0;
	}
	inf = &soft_optable_info[u.row];
	put_mnemonic(&t, &soft_optable[u.row], inf, &u);
	for (unsigned i = 0, imms = 0; i < inf->n; i++) {
		put(&t, "%s", i ? "," : " ");
		put_operand(&t, &inf->opd[i], &u, v_size(inf, &u, bits), rip, imms > 0,
			    bits == 64);
		imms += inf->opd[i].kind == K_I;
	}
	return (unsigned)len;
}
