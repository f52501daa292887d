/* SPDX-License-Identifier: MIT */
/* What the user may choose about the software CPU; all zero: the defaults. */
#ifndef HV_CPU_OPTIONS_H
#define HV_CPU_OPTIONS_H

#include <stdbool.h>
#include <stdint.h>

struct cpu_options {
	bool no_jit;		/* interpret everything */
	bool verify;		/* every translated block is checked against the interpreter */
	bool stats;		/* say at the end what was translated */
	uint64_t jit_cache;	/* bytes of translated code, all vCPUs together; 0: default */
};

#define JIT_CACHE_DEFAULT ((uint64_t)64 << 20)
#define JIT_CACHE_MIN ((uint64_t)1 << 20)	/* per vCPU */
#define JIT_CACHE_MAX ((uint64_t)1 << 30)	/* likewise: jumps reach 2 GiB */

#endif
