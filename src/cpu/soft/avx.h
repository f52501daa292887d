/* SPDX-License-Identifier: MIT */
/* Shared by the AVX handlers: the registers of the native stubs (avx_stub.c), YMM access. */
#ifndef HV_SOFT_AVX_H
#define HV_SOFT_AVX_H

#include "fpu.h"

/*
 * What a stub sees: mem is at [rdi], v h w l are YMM0 to YMM3 (ModRM.reg,
 * vvvv, ModRM.rm, is4), rax is ModRM.reg and rdx ModRM.rm as general
 * registers.  Results: mem, v, w, rax, rdx, rcx, flags.
 */
struct vex_regs {
	uint8_t mem[32], v[32], h[32], w[32], l[32];
	uint64_t rax, rdx, rcx, flags;
} __attribute__((aligned(32)));
void soft_vex_call(struct vex_regs *r, const void *stub);

/* Stub table, by row from the first A_AVX row on: L = 0, L = 1. */
extern const void *const __start_soft_vex_stubs[][2], *const __stop_soft_vex_stubs[][2];

/* Guest YMM register @n: halves in the XSAVE image. */
static inline uint8_t *ymm_high(struct soft *s, unsigned n)
{
	return s->fx + 576 + 16 * n;
}

static inline void ymm_get(struct soft *s, unsigned n, uint8_t *out)
{
	memcpy(out, xmm(s, n), 16);
	memcpy(out + 16, ymm_high(s, n), 16);
}

static inline void ymm_set(struct soft *s, unsigned n, const uint8_t *in)
{
	memcpy(xmm(s, n), in, 16);
	memcpy(ymm_high(s, n), in + 16, 16);
}

#endif
