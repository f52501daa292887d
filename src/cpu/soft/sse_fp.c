/* SPDX-License-Identifier: MIT */
/*
 * SSE to SSE4.1 floating point arithmetic, compares and conversions (Intel
 * SDM vol. 2), by the host's instruction under the guest's MXCSR (fpu.h).
 */
#include "fpu.h"

/* r11 = the address after the instruction: where the SIGFPE handler goes on. */
#define SKIP "lea 1f(%%rip), %%r11\n\t"

#define F_BIN(name, insn, src) \
	const struct uop *h_##name(struct soft *s, const struct uop *u) \
	{ \
		__m128i b = src(s, u), *d = xmm(s, u->reg), a = *d; \
		mx_enter(s); \
		asm volatile(SKIP insn " %1, %0\n1:" : "+x"(a) : "x"(b) : "r11", "memory"); \
		mx_check(s, u); \
		*d = a; \
		NEXT(s, u); \
	}
#define F_PACKED(n) F_BIN(n##ps, #n "ps", src_x) F_BIN(n##pd, #n "pd", src_x)
#define F_ALL(n) F_PACKED(n) F_BIN(n##ss, #n "ss", src_d) F_BIN(n##sd, #n "sd", src_q)

F_ALL(add) F_ALL(sub) F_ALL(mul) F_ALL(div) F_ALL(min) F_ALL(max) F_ALL(sqrt)
F_PACKED(addsub) F_PACKED(hadd) F_PACKED(hsub)
F_BIN(rcpps, "rcpps", src_x) F_BIN(rcpss, "rcpss", src_d)
F_BIN(rsqrtps, "rsqrtps", src_x) F_BIN(rsqrtss, "rsqrtss", src_d)
F_BIN(cvtps2pd, "cvtps2pd", src_q) F_BIN(cvtpd2ps, "cvtpd2ps", src_x)
F_BIN(cvtss2sd, "cvtss2sd", src_d) F_BIN(cvtsd2ss, "cvtsd2ss", src_q)
F_BIN(cvtdq2ps, "cvtdq2ps", src_x) F_BIN(cvtdq2pd, "cvtdq2pd", src_q)
F_BIN(cvtps2dq, "cvtps2dq", src_x) F_BIN(cvttps2dq, "cvttps2dq", src_x)
F_BIN(cvtpd2dq, "cvtpd2dq", src_x) F_BIN(cvttpd2dq, "cvttpd2dq", src_x)

#define F_IMM(name, count, src) \
	STUB_TABLE(soft_stub_##name, count, #name " $stub_i, %xmm1, %xmm0"); \
	const struct uop *h_##name(struct soft *s, const struct uop *u) \
	{ \
		__m128i b = src(s, u), *d = xmm(s, u->reg), a = *d; \
		mx_enter(s); \
		a = STUB(soft_stub_##name, u->imm & ((count) - 1))(a, b); \
		mx_check(s, u); \
		*d = a; \
		NEXT(s, u); \
	}
F_IMM(cmpps, 8, src_x) F_IMM(cmppd, 8, src_x) F_IMM(cmpss, 8, src_d) F_IMM(cmpsd, 8, src_q)
F_IMM(roundps, 16, src_x) F_IMM(roundpd, 16, src_x) F_IMM(roundss, 16, src_d)
F_IMM(roundsd, 16, src_q)
F_IMM(dpps, 256, src_x) F_IMM(dppd, 256, src_x)

#define F_COMIS(name, src) \
	const struct uop *h_##name(struct soft *s, const struct uop *u) \
	{ \
		__m128i b = src(s, u), a = *xmm(s, u->reg); \
		bool z, p, c; \
		mx_enter(s); \
		asm volatile(SKIP #name " %4, %3\n1:" : "=@ccz"(z), "=@ccp"(p), "=@ccc"(c) \
			     : "x"(a), "x"(b) : "r11", "memory"); \
		mx_check(s, u); \
		soft_set_arith(s, (z ? FL_ZF : 0) | (p ? FL_PF : 0) | (c ? FL_CF : 0)); \
		NEXT(s, u); \
	}
F_COMIS(comiss, src_d) F_COMIS(ucomiss, src_d) F_COMIS(comisd, src_q) F_COMIS(ucomisd, src_q)

/* Integer register or memory to scalar. */
#define F_SI2(name) \
	const struct uop *h_##name(struct soft *s, const struct uop *u) \
	{ \
		bool w = u->flags & UOP_REXW, r = u->flags & UOP_MOD3; \
		uint64_t v = w ? (r ? rd64(s, u->rm) : soft_ld64(s, u, uop_lin(s, u, 8, false))) \
			       : (r ? rd32(s, u->rm) : soft_ld32(s, u, uop_lin(s, u, 4, false))); \
		__m128i *d = xmm(s, u->reg), a = *d; \
		mx_enter(s); \
		if (w) \
			asm volatile(SKIP #name "q %1, %0\n1:" : "+x"(a) \
				     : "r"(v) : "r11", "memory"); \
		else \
			asm volatile(SKIP #name "l %k1, %0\n1:" : "+x"(a) \
				     : "r"(v) : "r11", "memory"); \
		mx_check(s, u); \
		*d = a; \
		NEXT(s, u); \
	}
F_SI2(cvtsi2ss) F_SI2(cvtsi2sd)

#define F_2SI(name, src) \
	const struct uop *h_##name(struct soft *s, const struct uop *u) \
	{ \
		__m128i b = src(s, u); \
		uint64_t v = 0; \
		mx_enter(s); \
		if (u->flags & UOP_REXW) \
			asm volatile(SKIP #name " %1, %q0\n1:" : "+r"(v) \
				     : "x"(b) : "r11", "memory"); \
		else \
			asm volatile(SKIP #name " %1, %k0\n1:" : "+r"(v) \
				     : "x"(b) : "r11", "memory"); \
		mx_check(s, u); \
		wr64(s, u->reg, v); \
		NEXT(s, u); \
	}
F_2SI(cvtss2si, src_d) F_2SI(cvttss2si, src_d) F_2SI(cvtsd2si, src_q) F_2SI(cvttsd2si, src_q)

/* ---- between MMX and XMM: the MMX side is in mmx.c's image ------------------------- */
static uint64_t mm_src(struct soft *s, const struct uop *u)
{
	const struct fx_image *img = x87_img(s);	/* also frees the host's MM0 */

	if (!(u->flags & UOP_MOD3))
		return soft_ld64(s, u, uop_lin(s, u, 8, false));
	return img->st[((u->rm & 7) - FSW_TOP(img->fsw)) & 7].mant;
}

/* A memory operand makes no transition to MMX. */
#define F_PI2(name) \
	const struct uop *h_##name(struct soft *s, const struct uop *u) \
	{ \
		__m128i *d = xmm(s, u->reg), a = *d; \
		uint64_t v; \
		if (u->flags & UOP_MOD3) \
			soft_mf_check(s, u); \
		v = mm_src(s, u); \
		mx_enter(s); \
		asm volatile(SKIP "movq %1, %%mm0\n\t" #name " %%mm0, %0\n1:\temms" \
			     : "+x"(a) : "r"(v) : "r11", "memory", "mm0"); \
		if (u->flags & UOP_MOD3) \
			soft_mmx_enter(s);	/* also if the conversion faults */ \
		mx_check(s, u); \
		*d = a; \
		return u + 1; \
	}
F_PI2(cvtpi2ps) F_PI2(cvtpi2pd)

#define F_2PI(name, src) \
	const struct uop *h_##name(struct soft *s, const struct uop *u) \
	{ \
		__m128i b; \
		uint64_t v; \
		soft_mf_check(s, u); \
		b = src(s, u); \
		mx_enter(s); \
		asm volatile(SKIP #name " %1, %%mm0\n1:\tmovq %%mm0, %0\n\temms" \
			     : "=r"(v) : "x"(b) : "r11", "memory", "mm0"); \
		soft_mmx_enter(s);	/* also if the conversion faults */ \
		mx_check(s, u); \
		mmx_write(s, u->reg, v); \
		return u + 1; \
	}
F_2PI(cvtps2pi, src_q) F_2PI(cvttps2pi, src_q) F_2PI(cvtpd2pi, src_x) F_2PI(cvttpd2pi, src_x)
