/* SPDX-License-Identifier: MIT */
/*
 * The guest's vector and x87 state in the host's registers (enum fpu_live).
 *
 * A block that needs some of it looks at s->fpu_live in front of its first
 * instruction, and again after each call to C; what is missing is loaded out
 * of line, so that chains of blocks pay one predicted branch each.  Vector
 * registers are stored whenever translated code is left for C, which uses
 * them; MXCSR and x87 stay until soft_fpu_park() or a handler that wants them
 * (x87_img()).
 *
 * With an exception unmasked MXCSR or x87 is not taken over: the block goes on
 * in the interpreter, whose handlers report it precisely.
 */
#include "jit_trans.h"
#include "fpu.h"
#include <cpuid.h>

/* XSAVE and XRSTOR are needed to move x87 state alone. */
bool jit_x87_possible;

#define LOAD_FAILED 0x80u
#define MUST_LOAD 0x100u

/* ---- loading --------------------------------------------------------------------- */
static __attribute__((target("general-regs-only"))) bool load_mxcsr(struct soft *s)
{
	uint32_t v;

	if (s->mx_native)
		return true;
	memcpy(&v, s->fx + 24, 4);
	if (s->mx_live || (v & 0x1f80) != 0x1f80)
		return false;
	asm volatile("ldmxcsr %0" : : "m"(v));
	s->mx_live = s->mx_native = true;
	return true;
}

static __attribute__((target("general-regs-only"))) bool load_x87(struct soft *s)
{
	struct soft_fpu *f = s->fpu;

	if (s->fpu_live & FX_X87)
		return true;
	if ((f->img.fcw & 0x3f) != 0x3f || f->img.fsw & FSW_ES)
		return false;
	f->xhdr[0] = 1;
	f->xhdr[1] = 0;
	asm volatile("xrstor64 %0" : : "m"(f->img), "m"(f->xhdr), "a"(1), "d"(0) : "memory");
	s->fpu_live |= FX_X87;
	return true;
}

/*
 * Make what is in @need live.  Returns what the caller still has to load of
 * the vector registers, which must be as they are until then, or LOAD_FAILED.
 */
static __attribute__((target("general-regs-only"))) uint64_t load(struct soft *s, unsigned need)
{
	unsigned get;

	if ((need & FX_X87 && !load_x87(s)) || (need & FX_FP && !load_mxcsr(s))) {
		HV_BUG_ON(need & MUST_LOAD);
		return LOAD_FAILED;
	}
	get = need & (FX_VEC | FX_YMM) & ~(unsigned)s->fpu_live;
	s->fpu_live |= (uint8_t)get;
	if (s->fpu_live & FX_VEC && s->mx_native)
		s->fpu_live |= s->fpu_live & FX_YMM ? FX_FP | FX_YMMFP : FX_FP;
	return get;
}

static struct hop image(unsigned n)
{
	return hop_mem(H_STATE, STATE(fx) + 160 + 16 * (int32_t)n);
}

static struct hop image_high(unsigned n)
{
	return hop_mem(H_STATE, STATE(fx) + 576 + 16 * (int32_t)n);
}

/* Called with T1 = what is needed; flags "not zero": not possible. */
uint8_t *jit_make_load(struct emit *e)
{
	static const uint8_t regs[] = { 0, 1, 2, 6, 7, 8, 9, 10, 11 };
	uint8_t *start = e->p, *done;
	unsigned a, b, c, d;

	jit_x87_possible = __get_cpuid(1, &a, &b, &c, &d) && c & bit_OSXSAVE;
	for (unsigned i = 0; i < ARRAY_SIZE(regs); i++)
		em_push(e, regs[i]);
	em_lea(e, 7, hop_mem(H_STATE, -STATE_BIAS));
	em_mov_rr(e, 6, H_T1);
	em_mov_imm64(e, 0, (uintptr_t)load);
	em_op(e, 0, 0xff, 2, hop_reg(0));
	em_mov_rr(e, H_T0, 0);
	for (unsigned i = ARRAY_SIZE(regs); i-- > 0;)
		em_pop(e, regs[i]);
	em_op(e, EM_8, 0xf6, 0, hop_reg(H_T0));
	em8(e, FX_VEC);
	done = em_jcc(e, 4);
	for (unsigned n = 0; n < 16; n++)
		em_op(e, 0, OPF(0x28), (int)n, image(n));
	em_fix(done, e->p);
	em_op(e, EM_8, 0xf6, 0, hop_reg(H_T0));
	em8(e, FX_YMM);
	done = em_jcc(e, 4);
	for (unsigned n = 0; n < 16; n++) {	/* vinsertf128 */
		em_vex(e, 3, 1, false, true, n, 0x18, (int)n, image_high(n));
		em8(e, 1);
	}
	em_fix(done, e->p);
	em_op(e, EM_8, 0xf6, 0, hop_reg(H_T0));
	em8(e, LOAD_FAILED);
	em8(e, 0xc3);
	return start;
}

/* ---- storing ----------------------------------------------------------------------- */
/* Spoils no general register. */
uint8_t *jit_make_store(struct emit *e)
{
	uint8_t *start = e->p, *none;

	for (unsigned n = 0; n < 16; n++)
		em_op(e, 0, OPF(0x29), (int)n, image(n));
	em_op(e, 0, 0xf6, 0, hop_mem(H_STATE, STATE(fpu_live)));
	em8(e, FX_YMM);
	none = em_jcc(e, 4);
	for (unsigned n = 0; n < 16; n++) {	/* vextractf128 */
		em_vex(e, 3, 1, false, true, 0, 0x19, (int)n, image_high(n));
		em8(e, 1);
	}
	em8(e, 0xc5);				/* vzeroupper */
	em8(e, 0xf8);
	em8(e, 0x77);
	em_fix(none, e->p);
	em_op(e, 0, 0x80, 4, hop_mem(H_STATE, STATE(fpu_live)));
	em8(e, FX_X87);
	em8(e, 0xc3);
	return start;
}

/* In front of C code: flags are spoiled. */
void jit_emit_store(struct emit *e, const uint8_t *store)
{
	uint8_t *none;

	em_op(e, 0, 0xf6, 0, hop_mem(H_STATE, STATE(fpu_live)));
	em8(e, FX_VEC);
	none = em_jcc(e, 4);
	em_fix(em_call(e), store);
	em_fix(none, e->p);
}

/* ---- in a block ---------------------------------------------------------------------- */
unsigned jit_tell(unsigned need)
{
	unsigned x87 = need & FX_X87;

	if (need & FX_YMM)
		return x87 | (need & FX_FP ? FX_YMMFP : FX_YMM);
	return x87 | (need & FX_FP ? FX_FP : need & FX_VEC);
}

void jit_need_live(struct trans *t, unsigned need, const struct uop *u)
{
	struct hop live = hop_mem(H_STATE, STATE(fpu_live));
	unsigned bits = jit_tell(need);
	struct reload *r;

	if (!need)
		return;
	if (bits & (bits - 1)) {
		em_op(&t->e, 0, OPF(0xb6), H_T0, live);
		em_op(&t->e, 0, 0xf7, 2, hop_reg(H_T0));
		em_op(&t->e, EM_8, 0xf6, 0, hop_reg(H_T0));
	} else {
		em_op(&t->e, 0, 0xf6, 0, live);
	}
	em8(&t->e, bits);
	HV_BUG_ON(t->nreload == ARRAY_SIZE(t->reload));
	r = &t->reload[t->nreload++];
	r->from = em_jcc(&t->e, bits & (bits - 1) ? 5 : 4);
	r->back = t->e.p;
	r->u = u;
	r->need = (uint8_t)need;
}

/* Behind a handler that was called out of line: as it was in front of it. */
void jit_live_again(struct trans *t, unsigned need)
{
	if (!need)
		return;
	em_mov_imm64(&t->e, H_T1, need | MUST_LOAD);
	em_fix(em_call(&t->e), t->s->jit->fpu_load);
}

/* The out-of-line part: false in flags, and the interpreter goes on. */
void jit_emit_reload(struct trans *t, const struct reload *r)
{
	em_fix(r->from, t->e.p);
	em_mov_imm64(&t->e, H_T1, r->need);
	em_fix(em_call(&t->e), t->s->jit->fpu_load);
	em_fix(em_jcc(&t->e, 4), r->back);
	jit_emit_side(t, r->u);
}

