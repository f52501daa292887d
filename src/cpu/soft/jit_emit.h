/* SPDX-License-Identifier: MIT */
/*
 * Encoder of host instructions for the translator: the forms that it needs,
 * nothing else (Intel SDM vol. 2, chapter 2).
 *
 * Host registers: rbp = struct soft + 128 (so that the general registers and
 * the hot fields have 8-bit displacements); rax = the guest's arithmetic
 * flags as LAHF and SETO AL leave them; r14 and r15 are scratch; rsp is the
 * host's stack.  The other eleven hold guest registers (jit_home[]); the rest
 * of the guest's stay in memory.  Vector, x87 and MMX registers and MXCSR are
 * the guest's own as far as s->fpu_live says so (jit_live.c).
 */
#ifndef HV_SOFT_JIT_EMIT_H
#define HV_SOFT_JIT_EMIT_H

#include "intops.h"

#define H_FLAGS 0	/* rax */
#define H_STATE 5	/* rbp */
#define H_T0 14
#define H_T1 15
#define STATE_BIAS 128
#define STATE(field) ((int32_t)offsetof(struct soft, field) - STATE_BIAS)
#define NO_REG (-1)

/* Code is written through one mapping and runs in another, @rx_off bytes away. */
struct emit {
	uint8_t *p, *end;
	ptrdiff_t rx_off;
};

/* A register (base < 0 and no memory), or [base + index << scale + disp]. */
struct hop {
	bool mem;
	int8_t reg, base, index;
	uint8_t scale;
	int32_t disp;
};

static inline struct hop hop_reg(int reg)
{
	return (struct hop){ .reg = (int8_t)reg };
}

static inline struct hop hop_mem(int base, int32_t disp)
{
	return (struct hop){ .mem = true, .base = (int8_t)base, .index = NO_REG, .disp = disp };
}

static inline struct hop hop_sib(int base, int index, unsigned scale, int32_t disp)
{
	return (struct hop){ .mem = true, .base = (int8_t)base, .index = (int8_t)index,
			     .scale = (uint8_t)scale, .disp = disp };
}

#define EM_W 1		/* 64-bit operand */
#define EM_16 2		/* 16-bit operand: prefix 66 */
#define EM_8 4		/* byte registers: force REX for 4-7 */
#define EM_LOCK 8
#define EM_8RM 16	/* only the r/m operand is a byte */

static inline void em8(struct emit *e, unsigned v)
{
	if (likely(e->p < e->end))
		*e->p++ = (uint8_t)v;
}

static inline void em32(struct emit *e, uint32_t v)
{
	if (likely(e->end - e->p >= 4)) {
		memcpy(e->p, &v, 4);
		e->p += 4;
	} else {
		e->p = e->end;	/* full: the translation is thrown away */
	}
}

static inline void em64(struct emit *e, uint64_t v)
{
	em32(e, (uint32_t)v);
	em32(e, (uint32_t)(v >> 32));
}

static inline void em_imm(struct emit *e, unsigned size, uint64_t v)
{
	for (unsigned i = 0; i < size; i++)
		em8(e, (unsigned)(v >> 8 * i) & 0xff);
}

static inline void *em_rx(const struct emit *e, const uint8_t *p)
{
	return (void *)(uintptr_t)(p + e->rx_off);
}

/* Opcodes: map << 8 | byte, and the mandatory prefix in bits 16-23. */
#define OP1(op) (op)
#define OPF(op) (M0F << 8 | (op))
#define OPX(prefix, map, op) ((prefix) << 16 | (map) << 8 | (op))

static inline void em_modrm_mem(struct emit *e, unsigned reg, const struct hop *m)
{
	unsigned r = (reg & 7) << 3, idx = m->index < 0 ? 4 : m->index & 7;
	bool d8 = m->disp == (int8_t)m->disp;

	if (m->base < 0) {		/* [index << scale + disp32] */
		em8(e, r | 4);
		em8(e, (unsigned)m->scale << 6 | idx << 3 | 5);
		em32(e, (uint32_t)m->disp);
		return;
	}
	if (m->disp == 0 && (m->base & 7) != 5)
		;
	else
		r |= d8 ? 0x40 : 0x80;
	if (m->index < 0 && (m->base & 7) != 4) {
		em8(e, r | (m->base & 7));
	} else {
		em8(e, r | 4);
		em8(e, (unsigned)m->scale << 6 | idx << 3 | (m->base & 7u));
	}
	if (r & 0x40)
		em8(e, (uint8_t)m->disp);
	else if (r & 0x80)
		em32(e, (uint32_t)m->disp);
}

static inline void em_modrm(struct emit *e, int reg, const struct hop *rm)
{
	if (rm->mem)
		em_modrm_mem(e, (unsigned)reg, rm);
	else
		em8(e, 0xc0 | (unsigned)(reg & 7) << 3 | (unsigned)(rm->reg & 7));
}

static inline void em_op(struct emit *e, unsigned fl, unsigned op, int reg, struct hop rm)
{
	unsigned rex = fl & EM_W ? 8 : 0, map = op >> 8 & 0xff;
	bool byte_reg = fl & EM_8 && reg >= 4;
	bool byte_rm = fl & (EM_8 | EM_8RM) && !rm.mem && rm.reg >= 4;

	if (fl & EM_LOCK)
		em8(e, 0xf0);
	if (fl & EM_16)
		em8(e, 0x66);
	if (op >> 16)
		em8(e, op >> 16);
	rex |= reg & 8 ? 4 : 0;
	if (rm.mem)
		rex |= (rm.index > 0 && rm.index & 8 ? 2 : 0) |
		       (rm.base > 0 && rm.base & 8 ? 1 : 0);
	else
		rex |= rm.reg & 8 ? 1 : 0;
	if (rex || byte_reg || byte_rm)
		em8(e, 0x40 | rex);
	if (map)
		em8(e, 0x0f);
	if (map == M38 || map == M3A)
		em8(e, map == M38 ? 0x38 : 0x3a);
	em8(e, op & 0xff);
	em_modrm(e, reg, &rm);
}

/* VEX: @map 1 to 3, @pp 0 to 3 (none, 66, F3, F2). */
static inline void em_vex(struct emit *e, unsigned map, unsigned pp, bool w, bool l, unsigned v,
			  unsigned op, int reg, struct hop rm)
{
	unsigned last = (~v & 15) << 3 | (unsigned)l << 2 | pp, rxb = 0xe0;

	if (reg & 8)
		rxb &= ~0x80u;
	if (rm.mem && rm.index > 0 && rm.index & 8)
		rxb &= ~0x40u;
	if (rm.mem ? rm.base > 0 && rm.base & 8 : rm.reg & 8)
		rxb &= ~0x20u;
	if (map == 1 && !w && (rxb & 0x60) == 0x60) {
		em8(e, 0xc5);
		em8(e, (rxb & 0x80) | last);
	} else {
		em8(e, 0xc4);
		em8(e, rxb | map);
		em8(e, (unsigned)w << 7 | last);
	}
	em8(e, op);
	em_modrm(e, reg, &rm);
}

static inline void em_mov_rr(struct emit *e, int to, int from)
{
	em_op(e, EM_W, 0x8b, to, hop_reg(from));
}

static inline void em_load(struct emit *e, int to, struct hop m)
{
	em_op(e, EM_W, 0x8b, to, m);
}

static inline void em_store(struct emit *e, struct hop m, int from)
{
	em_op(e, EM_W, 0x89, from, m);
}

static inline void em_lea(struct emit *e, int to, struct hop m)
{
	em_op(e, EM_W, 0x8d, to, m);
}

static inline void em_mov_imm64(struct emit *e, int to, uint64_t v)
{
	if (v <= 0xffffffff) {
		if (to & 8)
			em8(e, 0x41);
		em8(e, 0xb8 | (unsigned)(to & 7));
		em32(e, (uint32_t)v);
		return;
	}
	em8(e, 0x48 | (unsigned)(to >> 3));
	em8(e, 0xb8 | (unsigned)(to & 7));
	em64(e, v);
}

/* add or and sub xor cmp (0-7) of a 32-bit immediate. */
static inline void em_alu_imm(struct emit *e, unsigned fl, unsigned n, struct hop rm, int32_t v)
{
	bool s = v == (int8_t)v;

	em_op(e, fl, s ? 0x83 : 0x81, (int)n, rm);
	em_imm(e, s ? 1 : 4, (uint32_t)v);
}

static inline void em_push(struct emit *e, unsigned reg)
{
	if (reg & 8)
		em8(e, 0x41);
	em8(e, 0x50 | (reg & 7));
}

static inline void em_pop(struct emit *e, unsigned reg)
{
	if (reg & 8)
		em8(e, 0x41);
	em8(e, 0x58 | (reg & 7));
}

/* Jumps to a place not known yet: the address of the displacement. */
static inline uint8_t *em_jcc(struct emit *e, unsigned cc)
{
	em8(e, 0x0f);
	em8(e, 0x80 | cc);
	em32(e, 0);
	return e->p - 4;
}

static inline uint8_t *em_jmp(struct emit *e)
{
	em8(e, 0xe9);
	em32(e, 0);
	return e->p - 4;
}

static inline uint8_t *em_call(struct emit *e)
{
	em8(e, 0xe8);
	em32(e, 0);
	return e->p - 4;
}

/* Both in the writable mapping. */
static inline void em_fix(uint8_t *at, const uint8_t *to)
{
	int32_t d = (int32_t)(to - (at + 4));

	memcpy(at, &d, 4);
}

#endif
