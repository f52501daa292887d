/* SPDX-License-Identifier: MIT */
/*
 * Differential test of the software CPU against the host: shared by the
 * generator (diff_gen.c), the native runner (diff_native.c), the interpreted
 * runner (diff_guest.c) and the comparison (engine/test_soft_diff.c).
 *
 * Both sides see the same linear addresses: one code page (filled with INT3,
 * no neighbours) and three data pages (two writable, one read-only, no
 * neighbours).  A case ends at the first exception; INT3 is the normal end.
 */
#ifndef HV_DIFF_H
#define HV_DIFF_H

#include "../../src/cpu/soft/soft.h"

#define DIFF_CODE 0x10000000ull
#define DIFF_DATA 0x20000000ull
#define DIFF_RW_LEN 0x2000u
#define DIFF_DATA_LEN 0x3000u
#define DIFF_FX_LEN 832u
#define DIFF_YMM 576u	/* upper halves of the YMM registers */

struct diff_state {
	uint64_t gpr[16], rip, rflags, fsbase, gsbase;
	uint8_t fx[DIFF_FX_LEN] __attribute__((aligned(64)));	/* XSAVE area up to AVX */
};

struct diff_patch {
	uint64_t at;
	unsigned len;
	uint8_t b[DIFF_FX_LEN];
};

struct diff_case {
	unsigned bits;			/* 32 or 64 */
	uint8_t code[128];
	unsigned len;			/* all instructions */
	unsigned rows[8], nrows;
	uint32_t undef;			/* flags undefined at the end */
	uint32_t undef_fault;		/* ... if the last instruction faults */
	unsigned osize;			/* of the last instruction */
	struct diff_state in;
	uint64_t target;		/* of the last instruction's memory operand */
	bool wide;			/* an operand of more parts than one */
	unsigned mem_len, seg;		/* seg: SEG_FS, SEG_GS of any instruction, or SEG_NUM */
	struct diff_patch patch[10];
	unsigned npatch;
};

struct diff_out {
	struct diff_state st;
	unsigned vector;		/* 3: ended at INT3; rip = that INT3 */
	uint32_t error;
	uint64_t cr2;
};

/* ---- diff_gen.c ---- */
void diff_gen_init(void);
bool diff_row_testable(unsigned row, unsigned bits);
/* Case number @n of the run with @seed; @row < 0: any. */
void diff_generate(struct diff_case *c, uint64_t seed, uint64_t n, int row);

/* ---- diff_native.c ---- */
bool diff_native_init(const uint8_t *data);	/* after the engine's own signal handlers */
extern uint8_t *diff_native_data;		/* writable view of the data pages */
void diff_native_run(const struct diff_case *c, struct diff_out *out);

/* ---- diff_guest.c ---- */
void diff_guest_init(const uint8_t *data);
struct vcpu *diff_guest_cpu(void);
extern uint8_t *diff_guest_data;
void diff_guest_run(const struct diff_case *c, struct diff_out *out);

#endif
