/* SPDX-License-Identifier: MIT */
/* Between the parts of the case generator: its state, random values (diff_values.c), bytes. */
#ifndef HV_DIFF_GEN_H
#define HV_DIFF_GEN_H

#include "diff.h"

struct gen {
	struct diff_case *c;
	uint64_t rng;
	uint8_t *p;			/* next byte */
	const struct optable_row *row;
	const struct optable_info *inf;
	bool p66, p67, rexw;
	uint8_t rex;
	bool vex_l, vex_w, vex_odd;	/* odd: perhaps no such form */
	uint8_t vex_v;			/* vvvv, a register number */
	unsigned seg;			/* SEG_* or SEG_NUM */
	unsigned osize, asize;
	unsigned mem_len;
	uint64_t target;		/* linear address the memory operand is steered to */
	uint32_t fixed;			/* registers that later steps must not change */
	bool plain;			/* an inner instruction of a sequence: registers only */
	uint8_t *rip_disp;		/* to be made relative at the end */
	int reg, rm;			/* GPR numbers of register operands, -1 none */
	bool is_mem;
};

uint64_t g_rnd(struct gen *g);
unsigned g_below(struct gen *g, unsigned n);
bool g_pct(struct gen *g, unsigned p);		/* true in @p of 100 cases */
uint64_t g_value(struct gen *g);			/* biased to edges */
void g_fill(struct gen *g, uint8_t *b, unsigned len);	/* vectors of integers or reals */
void g_float80(struct gen *g, uint8_t *b);
/* XSAVE image; @wild: unmasked exceptions, odd tags and control bits. */
void g_fx_state(struct gen *g, uint8_t *fx, bool wild);

/* ---- diff_encode.c ---- */
/* Once: later steps see it as fixed. */
void g_set_gpr(struct gen *g, unsigned n, uint64_t v);
void g_put(struct gen *g, uint64_t v, unsigned n);
/* Of an operand, by its letter in the table. */
unsigned g_size_of(const struct gen *g, char letter);
bool g_has_kind(const struct gen *g, unsigned kind);
/* The mnemonic is, begins with. */
bool g_is(const struct gen *g, const char *mnem);
bool g_starts(const struct gen *g, const char *mnem);
unsigned g_memory_size(const struct gen *g);
void g_prefixes(struct gen *g);
uint64_t g_ea_for(struct gen *g, uint64_t target);
uint64_t g_ea_mask(const struct gen *g, uint64_t v);
uint64_t g_ea_reg(struct gen *g, uint64_t ea);
void g_modrm(struct gen *g);

#endif
