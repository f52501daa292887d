/* SPDX-License-Identifier: MIT */
/* Between the choice of the engine and the engines it measures. */
#ifndef HV_ENGINE_INT_H
#define HV_ENGINE_INT_H

#include "../err.h"
#include <stdint.h>

/*
 * The measured program, 32-bit protected mode, ring 0: ECX times two
 * instructions, then HLT.  Position-independent.
 */
#define ENGINE_LOOP_INSNS 2
static const uint8_t engine_loop[] = {
	0x49,			/* 1: dec %ecx */
	0x75, 0xfd,		/* jnz 1b */
	0xf4,			/* hlt */
};

/* Instructions a second of the loop on a scratch machine; about 10 ms at most. */
bool kvm_measure(double *per_s, struct err *e);

#endif
