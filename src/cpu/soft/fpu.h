/* SPDX-License-Identifier: MIT */
/*
 * Shared by the x87, MMX and SSE handlers: register images, 128-bit memory
 * access, and the rules for borrowing the host's floating point unit.
 *
 * XMM registers live in s->fx (FXSAVE layout).  x87 and MMX registers live
 * in s->fpu->img, or in the host's (FX_X87): take them through x87_img().
 * soft_fpu_sync_out() copies them to s->fx.
 *
 * MXCSR: between mx_enter() and soft_fpu_park() the host's MXCSR is the
 * guest's (s->mx_live), flags and unmasked exceptions included.  Other code
 * of the process must never see it, so soft_fpu_park() runs before device
 * code and before the run loop returns.  An unmasked exception arrives as
 * SIGFPE; its handler skips the instruction and sets s->fp_fault.
 */
#ifndef HV_SOFT_FPU_H
#define HV_SOFT_FPU_H

#include "soft.h"
#include <emmintrin.h>

#define MXCSR_DEFAULT 0x1f80u
#define MXCSR_MASK 0xffffu	/* DAZ supported, nothing beyond */
#define FSW_ES 0x80u
#define FSW_B 0x8000u
#define FSW_TOP(sw) ((sw) >> 11 & 7)

struct fx_image {		/* Intel SDM vol. 1, 10.5.1 */
	uint16_t fcw, fsw;
	uint8_t ftw, pad;	/* bit set: register in use (physical order) */
	uint16_t fop;
	uint64_t fip, fdp;
	uint32_t mxcsr, mxcsr_mask;
	struct { uint64_t mant; uint16_t exp, pad[3]; } st[8];	/* ST(0)... */
	__m128i xmm[16];
	uint64_t rest[12];
};
_Static_assert(sizeof(struct fx_image) == 512, "FXSAVE area");

struct soft_fpu {
	struct fx_image img __attribute__((aligned(64)));	/* x87 part only */
	uint64_t xhdr[8];	/* makes it an XSAVE image */
	struct fx_image tmp __attribute__((aligned(64)));
	/* Last x87 instruction that was not a control instruction. */
	uint64_t fip, fdp;
	uint16_t fop, fcs, fds;
};

static inline struct fx_image *fx(struct soft *s)
{
	return (struct fx_image *)(void *)s->fx;
}

static inline __m128i *xmm(struct soft *s, unsigned n)
{
	return &fx(s)->xmm[n];
}

void soft_mx_install(void);
void soft_mx_load(struct soft *s);
HV_NORETURN void soft_mx_fault(struct soft *s, const struct uop *u);

/* Before the host instruction that obeys MXCSR, and after it. */
static inline void mx_enter(struct soft *s)
{
	if (unlikely(!s->mx_live))
		soft_mx_load(s);
}

static inline void mx_check(struct soft *s, const struct uop *u)
{
	if (unlikely(s->fp_fault))
		soft_mx_fault(s, u);
}

/* ---- memory --------------------------------------------------------------- */
__m128i soft_ld128_slow(struct soft *s, const struct uop *u, uint64_t lin);
void soft_st128_slow(struct soft *s, const struct uop *u, uint64_t lin, __m128i v);

static inline __m128i ld128(struct soft *s, const struct uop *u, uint64_t lin)
{
	const struct soft_tlbe *e = &s->tlb[lin >> 12 & (TLB_SIZE - 1)];

	if (likely(e->tag_r == ((lin + 15) & ~0xfffull)))
		return _mm_loadu_si128((const __m128i *)(uintptr_t)(lin + e->delta));
	return soft_ld128_slow(s, u, lin);
}

static inline void st128(struct soft *s, const struct uop *u, uint64_t lin, __m128i v)
{
	const struct soft_tlbe *e = &s->tlb[lin >> 12 & (TLB_SIZE - 1)];

	if (likely(e->tag_w == ((lin + 15) & ~0xfffull)))
		_mm_storeu_si128((__m128i *)(uintptr_t)(lin + e->delta), v);
	else
		soft_st128_slow(s, u, lin, v);
}

/* Linear address of a 16-byte operand that must be aligned. */
static inline uint64_t lin128(struct soft *s, const struct uop *u, bool write)
{
	uint64_t lin = uop_lin(s, u, 16, write);

	if (unlikely(lin & 15))
		soft_fault_code(s, u, EXC_GP, 0);
	return lin;
}

/* Source operand W: a register, or memory of 16 (aligned), 8, 4, 2 bytes. */
static inline __m128i src_x(struct soft *s, const struct uop *u)
{
	if (u->flags & UOP_MOD3)
		return *xmm(s, u->rm);
	return ld128(s, u, lin128(s, u, false));
}

static inline __m128i src_q(struct soft *s, const struct uop *u)
{
	if (u->flags & UOP_MOD3)
		return *xmm(s, u->rm);
	return _mm_cvtsi64_si128((long long)soft_ld64(s, u, uop_lin(s, u, 8, false)));
}

static inline __m128i src_d(struct soft *s, const struct uop *u)
{
	if (u->flags & UOP_MOD3)
		return *xmm(s, u->rm);
	return _mm_cvtsi32_si128((int)soft_ld32(s, u, uop_lin(s, u, 4, false)));
}

static inline __m128i src_w(struct soft *s, const struct uop *u)
{
	if (u->flags & UOP_MOD3)
		return *xmm(s, u->rm);
	return _mm_cvtsi32_si128(soft_ld16(s, u, uop_lin(s, u, 2, false)));
}

/* ---- x87 and MMX ----------------------------------------------------------- */
void soft_x87_store(struct soft *s);
static inline struct fx_image *x87_img(struct soft *s)
{
	if (unlikely(s->fpu_live & FX_X87))
		soft_x87_store(s);
	return &s->fpu->img;
}

/* #MF if an unmasked x87 exception is pending. */
void soft_mf_check(struct soft *s, const struct uop *u);
/* ES and B follow from flags and masks. */
static inline void x87_update_es(struct fx_image *f)
{
	if (f->fsw & ~f->fcw & 0x3f)
		f->fsw |= FSW_ES | FSW_B;
	else
		f->fsw &= (uint16_t)~(FSW_ES | FSW_B);
}
/* x87 -> MMX transition: TOP = 0, all registers valid. */
void soft_mmx_enter(struct soft *s);
static inline void mmx_write(struct soft *s, unsigned n, uint64_t v)
{
	struct fx_image *f = x87_img(s);

	f->st[n & 7].mant = v;
	f->st[n & 7].exp = 0xffff;
}
static inline uint64_t mmx_read(struct soft *s, unsigned n)
{
	return x87_img(s)->st[n & 7].mant;
}
void soft_mxcsr_write(struct soft *s, uint32_t v);

/* MASKMOVDQU, MASKMOVQ: bytes whose mask bit 7 is set, at DS:rDI. */
void soft_mask_store(struct soft *s, const struct uop *u, const void *val, const void *msk,
		     unsigned n);

/* Stubs "insn $i, %xmm1, %xmm0; ret", 8 bytes each, for i = 0, 1, 2...: a C function each. */
typedef __m128i (*stub2)(__m128i a, __m128i b);
#define STUB_TABLE(name, count, insn) \
	extern const char name[]; \
	asm(".pushsection soft_stubs,\"ax\",@progbits\n.balign 8\n.globl " #name "\n" \
	    #name ":\n.set stub_i, 0\n.rept " #count "\n" insn "\nret\n.balign 8\n" \
	    ".set stub_i, stub_i + 1\n.endr\n.popsection\n")
#define STUB(name, i) ((stub2)(uintptr_t)((name) + 8 * (unsigned)(i)))
/* Bounds given by the linker: SIGFPE inside means "return to the caller". */
extern const char __start_soft_stubs[], __stop_soft_stubs[];

#endif
