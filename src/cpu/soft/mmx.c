/* SPDX-License-Identifier: MIT */
/*
 * MMX, and the MMX forms that SSE to SSSE3 added (Intel SDM vol. 1 ch. 9).
 * The registers are the x87 ones, named as if TOP were 0; each instruction
 * runs on the host's MM0 and MM1 and leaves the host's x87 empty (EMMS).
 */
#include "fpu.h"

/* Register @n before the transition to MMX. */
static uint64_t mm_old(struct soft *s, unsigned n)
{
	const struct fx_image *img = x87_img(s);

	return img->st[((n & 7) - FSW_TOP(img->fsw)) & 7].mant;
}

/* Source operand Q: checks, loads (may fault), then makes the transition. */
static inline uint64_t src_mm(struct soft *s, const struct uop *u)
{
	uint64_t v;

	soft_mf_check(s, u);
	if (u->flags & UOP_MOD3) {
		soft_mmx_enter(s);
		return mmx_read(s, u->rm);
	}
	v = soft_ld64(s, u, uop_lin(s, u, 8, false));
	soft_mmx_enter(s);
	return v;
}

static inline uint64_t src_mm32(struct soft *s, const struct uop *u)
{
	uint64_t v;

	if (u->flags & UOP_MOD3)
		return src_mm(s, u);
	soft_mf_check(s, u);
	v = soft_ld32(s, u, uop_lin(s, u, 4, false));
	soft_mmx_enter(s);
	return v;
}

#define M_BIN(name, src) \
	const struct uop *h_m_##name(struct soft *s, const struct uop *u) \
	{ \
		uint64_t b = src(s, u), a = mmx_read(s, u->reg); \
		asm volatile("movq %1, %%mm1\n\tmovq %0, %%mm0\n\t" #name " %%mm1, %%mm0\n\t" \
			     "movq %%mm0, %0\n\temms" : "+r"(a) : "r"(b) : "mm0", "mm1"); \
		mmx_write(s, u->reg, a); \
		return u + 1; \
	}
#define M2(name) M_BIN(name, src_mm)

M_BIN(punpcklbw, src_mm32) M_BIN(punpcklwd, src_mm32) M_BIN(punpckldq, src_mm32)
M2(punpckhbw) M2(punpckhwd) M2(punpckhdq)
M2(packsswb) M2(packssdw) M2(packuswb)
M2(pcmpgtb) M2(pcmpgtw) M2(pcmpgtd) M2(pcmpeqb) M2(pcmpeqw) M2(pcmpeqd)
M2(paddb) M2(paddw) M2(paddd) M2(paddq) M2(psubb) M2(psubw) M2(psubd) M2(psubq)
M2(paddsb) M2(paddsw) M2(paddusb) M2(paddusw) M2(psubsb) M2(psubsw) M2(psubusb) M2(psubusw)
M2(pmullw) M2(pmulhw) M2(pmulhuw) M2(pmuludq) M2(pmaddwd)
M2(pminub) M2(pmaxub) M2(pminsw) M2(pmaxsw) M2(pavgb) M2(pavgw) M2(psadbw)
M2(pand) M2(pandn) M2(por) M2(pxor)
M2(psllw) M2(pslld) M2(psllq) M2(psrlw) M2(psrld) M2(psrlq) M2(psraw) M2(psrad)
M2(pshufb) M2(phaddw) M2(phaddd) M2(phaddsw) M2(phsubw) M2(phsubd) M2(phsubsw)
M2(pmaddubsw) M2(pmulhrsw) M2(psignb) M2(psignw) M2(psignd) M2(pabsb) M2(pabsw) M2(pabsd)

#define M_SHI(name) \
	const struct uop *h_mi_##name(struct soft *s, const struct uop *u) \
	{ \
		uint64_t a, n = (uint8_t)u->imm; \
		soft_mf_check(s, u); \
		soft_mmx_enter(s); \
		a = mmx_read(s, u->rm); \
		asm volatile("movq %1, %%mm1\n\tmovq %0, %%mm0\n\t" #name " %%mm1, %%mm0\n\t" \
			     "movq %%mm0, %0\n\temms" : "+r"(a) : "r"(n) : "mm0", "mm1"); \
		mmx_write(s, u->rm, a); \
		return u + 1; \
	}
M_SHI(psllw) M_SHI(pslld) M_SHI(psllq) M_SHI(psrlw) M_SHI(psrld) M_SHI(psrlq) M_SHI(psraw)
M_SHI(psrad)

/* ---- moves ---------------------------------------------------------------------- */
const struct uop *h_m_movq_ld(struct soft *s, const struct uop *u)
{
	uint64_t v = src_mm(s, u);

	mmx_write(s, u->reg, v);
	return u + 1;
}

/* MOVQ and MOVNTQ stores. */
const struct uop *h_m_movq_st(struct soft *s, const struct uop *u)
{
	soft_mf_check(s, u);
	if (!(u->flags & UOP_MOD3)) {
		soft_st64(s, u, uop_lin(s, u, 8, true), mm_old(s, u->reg));
		soft_mmx_enter(s);
		return u + 1;
	}
	soft_mmx_enter(s);
	mmx_write(s, u->rm, mmx_read(s, u->reg));
	return u + 1;
}

const struct uop *h_m_movd_ld(struct soft *s, const struct uop *u)
{
	bool w = u->flags & UOP_REXW;
	uint64_t v;

	soft_mf_check(s, u);
	if (u->flags & UOP_MOD3)
		v = w ? rd64(s, u->rm) : rd32(s, u->rm);
	else if (w)
		v = soft_ld64(s, u, uop_lin(s, u, 8, false));
	else
		v = soft_ld32(s, u, uop_lin(s, u, 4, false));
	soft_mmx_enter(s);
	mmx_write(s, u->reg, v);
	return u + 1;
}

const struct uop *h_m_movd_st(struct soft *s, const struct uop *u)
{
	uint64_t v = mm_old(s, u->reg);
	bool w = u->flags & UOP_REXW;

	soft_mf_check(s, u);
	if (u->flags & UOP_MOD3)
		wr64(s, u->rm, w ? v : (uint32_t)v);
	else if (w)
		soft_st64(s, u, uop_lin(s, u, 8, true), v);
	else
		soft_st32(s, u, uop_lin(s, u, 4, true), (uint32_t)v);
	soft_mmx_enter(s);
	return u + 1;
}

const struct uop *h_maskmovq(struct soft *s, const struct uop *u)
{
	uint64_t v = mm_old(s, u->reg), mask = mm_old(s, u->rm);

	soft_mf_check(s, u);
	soft_mask_store(s, u, &v, &mask, 8);
	soft_mmx_enter(s);
	return u + 1;
}

const struct uop *h_movq2dq(struct soft *s, const struct uop *u)
{
	soft_mf_check(s, u);
	soft_mmx_enter(s);
	*xmm(s, u->reg) = _mm_cvtsi64_si128((long long)mmx_read(s, u->rm));
	return u + 1;
}

const struct uop *h_movdq2q(struct soft *s, const struct uop *u)
{
	soft_mf_check(s, u);
	soft_mmx_enter(s);
	mmx_write(s, u->reg, (uint64_t)_mm_cvtsi128_si64(*xmm(s, u->rm)));
	return u + 1;
}

/* ---- with an immediate ------------------------------------------------------------- */
const struct uop *h_m_pshufw(struct soft *s, const struct uop *u)
{
	uint64_t b = src_mm(s, u), v = 0;

	for (unsigned i = 0; i < 4; i++)
		v |= (b >> (u->imm >> 2 * i & 3) * 16 & 0xffff) << i * 16;
	mmx_write(s, u->reg, v);
	return u + 1;
}

const struct uop *h_m_palignr(struct soft *s, const struct uop *u)
{
	uint64_t b = src_mm(s, u);
	unsigned __int128 v = (unsigned __int128)mmx_read(s, u->reg) << 64 | b;
	unsigned n = (uint8_t)u->imm;

	mmx_write(s, u->reg, n < 16 ? (uint64_t)(v >> n * 8) : 0);
	return u + 1;
}

const struct uop *h_m_pinsrw(struct soft *s, const struct uop *u)
{
	unsigned at = (u->imm & 3) * 16;
	uint64_t v;

	soft_mf_check(s, u);
	v = u->flags & UOP_MOD3 ? rd16(s, u->rm) : soft_ld16(s, u, uop_lin(s, u, 2, false));
	soft_mmx_enter(s);
	mmx_write(s, u->reg, (mmx_read(s, u->reg) & ~(0xffffull << at)) | v << at);
	return u + 1;
}

const struct uop *h_m_pextrw(struct soft *s, const struct uop *u)
{
	soft_mf_check(s, u);
	soft_mmx_enter(s);
	wr32(s, u->reg, (uint16_t)(mmx_read(s, u->rm) >> (u->imm & 3) * 16));
	return u + 1;
}

const struct uop *h_m_pmovmskb(struct soft *s, const struct uop *u)
{
	uint64_t v;
	uint32_t r;

	soft_mf_check(s, u);
	soft_mmx_enter(s);
	v = mmx_read(s, u->rm) & 0x8080808080808080ull;
	r = (uint32_t)(v * 0x0002040810204081ull >> 56);
	wr32(s, u->reg, r);
	return u + 1;
}
