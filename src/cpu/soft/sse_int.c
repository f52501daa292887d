/* SPDX-License-Identifier: MIT */
/*
 * SSE2 to SSE4.2 and SHA integer arithmetic on XMM registers (Intel SDM
 * vol. 2), by host instruction.
 */
#include "fpu.h"

#define X_BIN(name, src) \
	const struct uop *h_x_##name(struct soft *s, const struct uop *u) \
	{ \
		__m128i b = src(s, u), *d = xmm(s, u->reg), a = *d; \
		asm(#name " %1, %0" : "+x"(a) : "x"(b)); \
		*d = a; \
		NEXT(s, u); \
	}
#define X2(name) X_BIN(name, src_x)

X2(punpcklbw) X2(punpcklwd) X2(punpckldq) X2(punpcklqdq)
X2(punpckhbw) X2(punpckhwd) X2(punpckhdq) X2(punpckhqdq)
X2(packsswb) X2(packssdw) X2(packuswb) X2(packusdw)
X2(pcmpgtb) X2(pcmpgtw) X2(pcmpgtd) X2(pcmpgtq)
X2(pcmpeqb) X2(pcmpeqw) X2(pcmpeqd) X2(pcmpeqq)
X2(paddb) X2(paddw) X2(paddd) X2(paddq)
X2(psubb) X2(psubw) X2(psubd) X2(psubq)
X2(paddsb) X2(paddsw) X2(paddusb) X2(paddusw)
X2(psubsb) X2(psubsw) X2(psubusb) X2(psubusw)
X2(pmullw) X2(pmulhw) X2(pmulhuw) X2(pmuludq) X2(pmaddwd) X2(pmulld) X2(pmuldq)
X2(pminub) X2(pmaxub) X2(pminsw) X2(pmaxsw)
X2(pminsb) X2(pmaxsb) X2(pminuw) X2(pmaxuw) X2(pminsd) X2(pmaxsd) X2(pminud) X2(pmaxud)
X2(pavgb) X2(pavgw) X2(psadbw)
X2(pand) X2(pandn) X2(por) X2(pxor)
X2(psllw) X2(pslld) X2(psllq) X2(psrlw) X2(psrld) X2(psrlq) X2(psraw) X2(psrad)
X2(pshufb) X2(phaddw) X2(phaddd) X2(phaddsw) X2(phsubw) X2(phsubd) X2(phsubsw)
X2(pmaddubsw) X2(pmulhrsw) X2(psignb) X2(psignw) X2(psignd) X2(pabsb) X2(pabsw) X2(pabsd)
X2(phminposuw)
X2(aesimc) X2(aesenc) X2(aesenclast) X2(aesdec) X2(aesdeclast)
X2(sha1nexte) X2(sha1msg1) X2(sha1msg2) X2(sha256msg1) X2(sha256msg2)
X_BIN(pmovsxbw, src_q) X_BIN(pmovsxbd, src_d) X_BIN(pmovsxbq, src_w)
X_BIN(pmovsxwd, src_q) X_BIN(pmovsxwq, src_d) X_BIN(pmovsxdq, src_q)
X_BIN(pmovzxbw, src_q) X_BIN(pmovzxbd, src_d) X_BIN(pmovzxbq, src_w)
X_BIN(pmovzxwd, src_q) X_BIN(pmovzxwq, src_d) X_BIN(pmovzxdq, src_q)

/* Shifts of a register by an immediate: the host's form with the count in a register. */
#define X_SHI(name) \
	const struct uop *h_xi_##name(struct soft *s, const struct uop *u) \
	{ \
		__m128i *d = xmm(s, u->rm), a = *d; \
		asm(#name " %1, %0" : "+x"(a) : "x"(_mm_cvtsi32_si128((uint8_t)u->imm))); \
		*d = a; \
		NEXT(s, u); \
	}
X_SHI(psllw) X_SHI(pslld) X_SHI(psllq) X_SHI(psrlw) X_SHI(psrld) X_SHI(psrlq) X_SHI(psraw)
X_SHI(psrad)

#define X_SHB(name) \
	STUB_TABLE(soft_stub_##name, 17, #name " $stub_i, %xmm0"); \
	const struct uop *h_xi_##name(struct soft *s, const struct uop *u) \
	{ \
		__m128i *d = xmm(s, u->rm); \
		*d = STUB(soft_stub_##name, MIN((uint8_t)u->imm, 16))(*d, *d); \
		NEXT(s, u); \
	}
X_SHB(pslldq) X_SHB(psrldq)

/* Two operands and an immediate that selects one of @count encodings. */
#define X_IMM(name, count) \
	STUB_TABLE(soft_stub_##name, count, #name " $stub_i, %xmm1, %xmm0"); \
	const struct uop *h_x_##name(struct soft *s, const struct uop *u) \
	{ \
		__m128i b = src_x(s, u), *d = xmm(s, u->reg); \
		*d = STUB(soft_stub_##name, u->imm & ((count) - 1))(*d, b); \
		NEXT(s, u); \
	}
X_IMM(palignr, 256)
X_IMM(blendps, 16)
X_IMM(blendpd, 4)
X_IMM(pblendw, 256)
X_IMM(mpsadbw, 8)
X_IMM(pclmulqdq, 32)
X_IMM(sha1rnds4, 4)

STUB_TABLE(soft_stub_aeskey, 256, "aeskeygenassist $stub_i, %xmm1, %xmm0");

const struct uop *h_x_aeskey(struct soft *s, const struct uop *u)
{
	__m128i b = src_x(s, u);

	*xmm(s, u->reg) = STUB(soft_stub_aeskey, (uint8_t)u->imm)(b, b);
	NEXT(s, u);
}
