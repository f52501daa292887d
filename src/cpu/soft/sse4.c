/* SPDX-License-Identifier: MIT */
/* SSE4.1 and SSE4.2 forms that are not plain two-operand arithmetic, and CRC32 (SDM vol. 2). */
#include "fpu.h"

/* ---- blends by XMM0, PTEST ------------------------------------------------------ */
#define X_BLENDV(name) \
	const struct uop *h_##name(struct soft *s, const struct uop *u) \
	{ \
		__m128i b = src_x(s, u), *d = xmm(s, u->reg), a = *d; \
		asm(#name " %2, %1, %0" : "+x"(a) : "x"(b), "Yz"(*xmm(s, 0))); \
		*d = a; \
		NEXT(s, u); \
	}
X_BLENDV(pblendvb) X_BLENDV(blendvps) X_BLENDV(blendvpd)
X_BLENDV(sha256rnds2)

const struct uop *h_ptest(struct soft *s, const struct uop *u)
{
	__m128i b = src_x(s, u);
	bool z, c;

	asm("ptest %3, %2" : "=@ccz"(z), "=@ccc"(c) : "x"(*xmm(s, u->reg)), "x"(b));
	soft_set_arith(s, (z ? FL_ZF : 0) | (c ? FL_CF : 0));
	NEXT(s, u);
}

/* ---- insert and extract ------------------------------------------------------------ */
const struct uop *h_pinsrb(struct soft *s, const struct uop *u)
{
	uint8_t v = u->flags & UOP_MOD3 ? rd8(s, u->rm) : soft_ld8(s, u, uop_lin(s, u, 1, false));

	((uint8_t *)xmm(s, u->reg))[u->imm & 15] = v;
	return u + 1;
}

const struct uop *h_pinsrd(struct soft *s, const struct uop *u)
{
	uint8_t *x = (uint8_t *)xmm(s, u->reg);
	uint64_t v;

	if (u->flags & UOP_REXW) {
		v = u->flags & UOP_MOD3 ? rd64(s, u->rm) : soft_ld64(s, u, uop_lin(s, u, 8, false));
		memcpy(x + 8 * (u->imm & 1), &v, 8);
	} else {
		v = u->flags & UOP_MOD3 ? rd32(s, u->rm) : soft_ld32(s, u, uop_lin(s, u, 4, false));
		memcpy(x + 4 * (u->imm & 3), &v, 4);
	}
	return u + 1;
}

const struct uop *h_pextrb(struct soft *s, const struct uop *u)
{
	uint8_t v = ((uint8_t *)xmm(s, u->reg))[u->imm & 15];

	if (u->flags & UOP_MOD3)
		wr32(s, u->rm, v);
	else
		soft_st8(s, u, uop_lin(s, u, 1, true), v);
	return u + 1;
}

const struct uop *h_pextrw(struct soft *s, const struct uop *u)
{
	uint16_t v;

	memcpy(&v, (uint8_t *)xmm(s, u->reg) + 2 * (u->imm & 7), 2);
	if (u->flags & UOP_MOD3)
		wr32(s, u->rm, v);
	else
		soft_st16(s, u, uop_lin(s, u, 2, true), v);
	return u + 1;
}

/* PEXTRD, PEXTRQ, EXTRACTPS. */
static const struct uop *extract(struct soft *s, const struct uop *u, bool wide)
{
	uint64_t v = 0;

	if (wide)
		memcpy(&v, (uint8_t *)xmm(s, u->reg) + 8 * (u->imm & 1), 8);
	else
		memcpy(&v, (uint8_t *)xmm(s, u->reg) + 4 * (u->imm & 3), 4);
	if (u->flags & UOP_MOD3)
		wr64(s, u->rm, v);
	else if (wide)
		soft_st64(s, u, uop_lin(s, u, 8, true), v);
	else
		soft_st32(s, u, uop_lin(s, u, 4, true), (uint32_t)v);
	return u + 1;
}

const struct uop *h_pextrd(struct soft *s, const struct uop *u)
{
	return extract(s, u, u->flags & UOP_REXW);
}

const struct uop *h_extractps(struct soft *s, const struct uop *u)
{
	return extract(s, u, false);
}

STUB_TABLE(soft_stub_insertps, 256, "insertps $stub_i, %xmm1, %xmm0");

/* A memory operand is the element itself: COUNT_S (bits 7:6) does not apply. */
const struct uop *h_insertps(struct soft *s, const struct uop *u)
{
	__m128i b = src_d(s, u), *d = xmm(s, u->reg);
	unsigned imm = (uint8_t)u->imm & (u->flags & UOP_MOD3 ? 0xff : 0x3f);

	*d = STUB(soft_stub_insertps, imm)(*d, b);
	NEXT(s, u);
}

/* ---- strings ---------------------------------------------------------------------------- */
STUB_TABLE(soft_stub_pcmpestrm, 256, ".byte 0x66, 0x0f, 0x3a, 0x60, 0xc1, stub_i");
STUB_TABLE(soft_stub_pcmpestri, 256, ".byte 0x66, 0x0f, 0x3a, 0x61, 0xc1, stub_i");
STUB_TABLE(soft_stub_pcmpestrm64, 256, ".byte 0x66, 0x48, 0x0f, 0x3a, 0x60, 0xc1, stub_i");
STUB_TABLE(soft_stub_pcmpestri64, 256, ".byte 0x66, 0x48, 0x0f, 0x3a, 0x61, 0xc1, stub_i");
STUB_TABLE(soft_stub_pcmpistrm, 256, ".byte 0x66, 0x0f, 0x3a, 0x62, 0xc1, stub_i");
STUB_TABLE(soft_stub_pcmpistri, 256, ".byte 0x66, 0x0f, 0x3a, 0x63, 0xc1, stub_i");

static const struct uop *string_cmp(struct soft *s, const struct uop *u, const char *table,
				    bool index)
{
	const char *fn = table + 8 * (unsigned)(uint8_t)u->imm;
	__m128i b = u->flags & UOP_MOD3 ? *xmm(s, u->rm) : ld128(s, u, uop_lin(s, u, 16, false));
	__m128i a = *xmm(s, u->reg), out;
	uint64_t rax = s->gpr[R_RAX], rdx = s->gpr[R_RDX], rcx;
	bool c, z, sf, o;

	asm volatile("movdqa %[a], %%xmm0\n\tmovdqa %[b], %%xmm1\n\tlea -128(%%rsp), %%rsp\n\t"
		     "call *%[fn]\n\tlea 128(%%rsp), %%rsp\n\tmovdqa %%xmm0, %[out]"
		     : [out] "=x"(out), "=c"(rcx), "=@ccc"(c), "=@ccz"(z), "=@ccs"(sf),
		       "=@cco"(o)
		     : [a] "x"(a), [b] "x"(b), "a"(rax), "d"(rdx), [fn] "r"(fn)
		     : "xmm0", "xmm1");
	if (index)
		wr32(s, R_RCX * 8, (uint32_t)rcx);
	else
		*xmm(s, 0) = out;
	soft_set_arith(s, (c ? FL_CF : 0) | (z ? FL_ZF : 0) | (sf ? FL_SF : 0) | (o ? FL_OF : 0));
	return u + 1;
}

const struct uop *h_pcmpestrm(struct soft *s, const struct uop *u)
{
	return string_cmp(s, u, u->flags & UOP_REXW ? soft_stub_pcmpestrm64 : soft_stub_pcmpestrm,
			  false);
}

const struct uop *h_pcmpestri(struct soft *s, const struct uop *u)
{
	return string_cmp(s, u, u->flags & UOP_REXW ? soft_stub_pcmpestri64 : soft_stub_pcmpestri,
			  true);
}

const struct uop *h_pcmpistrm(struct soft *s, const struct uop *u)
{
	return string_cmp(s, u, soft_stub_pcmpistrm, false);
}

const struct uop *h_pcmpistri(struct soft *s, const struct uop *u)
{
	return string_cmp(s, u, soft_stub_pcmpistri, true);
}

/* ---- CRC32 ------------------------------------------------------------------------------- */
const struct uop *h_crc32b(struct soft *s, const struct uop *u)
{
	uint8_t v = u->flags & UOP_MOD3 ? rd8(s, u->rm) : soft_ld8(s, u, uop_lin(s, u, 1, false));
	uint32_t r = rd32(s, u->reg);

	asm("crc32b %1, %0" : "+r"(r) : "q"(v));
	wr32(s, u->reg, r);
	NEXT(s, u);
}

/* The source's size: 66 and the code segment's default count, though F2 is mandatory. */
const struct uop *h_crc32(struct soft *s, const struct uop *u)
{
	bool reg = u->flags & UOP_MOD3, p66 = u->flags & UOP_P66;
	uint64_t r = rd32(s, u->reg), v;

	if (u->flags & UOP_REXW) {
		v = reg ? rd64(s, u->rm) : soft_ld64(s, u, uop_lin(s, u, 8, false));
		asm("crc32q %1, %0" : "+r"(r) : "r"(v));
	} else if (p66 == !(s->mode & (MODE_CS32 | MODE_CS64))) {
		v = reg ? rd32(s, u->rm) : soft_ld32(s, u, uop_lin(s, u, 4, false));
		asm("crc32l %k1, %k0" : "+r"(r) : "r"(v));
	} else {
		v = reg ? rd16(s, u->rm) : soft_ld16(s, u, uop_lin(s, u, 2, false));
		asm("crc32w %w1, %k0" : "+r"(r) : "r"(v));
	}
	wr64(s, u->reg, (uint32_t)r);
	NEXT(s, u);
}
