/* SPDX-License-Identifier: MIT */
/*
 * Shared by the integer handlers: lazy flags, sized memory access, stack,
 * and the tables that replace a general handler by one for the operand size
 * and form at decode time.
 *
 * Lazy flags: cc_res is the result sign-extended to 64 bits, so that ZF and
 * SF need no size; cc_src1 and cc_src2 are the operands zero-extended (ADD to
 * SBB), or CF and OF as 0/1 (shifts, MUL; INC and DEC: only CF).
 */
#ifndef HV_SOFT_INTOPS_H
#define HV_SOFT_INTOPS_H

#include "soft.h"

#define HN(name) const struct uop *name(struct soft *s, const struct uop *u)
#define COLD __attribute__((noinline, cold))

/* Unaligned views of guest memory. */
typedef uint8_t mem8_t;
typedef uint16_t mem16_t __attribute__((aligned(1), may_alias));
typedef uint32_t mem32_t __attribute__((aligned(1), may_alias));
typedef uint64_t mem64_t __attribute__((aligned(1), may_alias));

#define CC_KIND(op) ((op) >> 2)
#define CC_BITS(op) (8u << ((op) & 3))
#define LG8 0
#define LG16 1
#define LG32 2
#define LG64 3

static inline void cc_set(struct soft *s, unsigned op, int64_t res, uint64_t a, uint64_t b)
{
	s->cc_op = op;
	s->cc_res = (uint64_t)res;
	s->cc_src1 = a;
	s->cc_src2 = b;
}

static inline void cc_logic(struct soft *s, unsigned lg, int64_t res)
{
	s->cc_op = CC(CC_LOGIC, lg);
	s->cc_res = (uint64_t)res;
}

/*
 * The quick memory form: 64-bit addressing, segment without base.  Handlers
 * of this form hand everything but a TLB hit to their general form.
 */
static inline uint64_t fast_ea(const struct soft *s, const struct uop *u)
{
	return s->gpr[u->base] + (s->gpr[u->index] << u->scale) + (uint64_t)u->disp;
}

static inline const void *tlb_r(const struct soft *s, uint64_t lin, unsigned size)
{
	const struct soft_tlbe *e = &s->tlb[lin >> 12 & (TLB_SIZE - 1)];

	if (likely(e->tag_r == ((lin + size - 1) & ~0xfffull)))
		return (const void *)(uintptr_t)(lin + e->delta);
	return NULL;
}

/* Write tag present for [lin, lin+size): its host address, else NULL. */
static inline void *tlb_w(struct soft *s, uint64_t lin, unsigned size)
{
	const struct soft_tlbe *e = &s->tlb[lin >> 12 & (TLB_SIZE - 1)];

	if (likely(e->tag_w == ((lin + size - 1) & ~0xfffull)))
		return (void *)(uintptr_t)(lin + e->delta);
	return NULL;
}

uint64_t soft_ld(struct soft *s, const struct uop *u, uint64_t lin, unsigned size);
void soft_st(struct soft *s, const struct uop *u, uint64_t lin, unsigned size, uint64_t v);
/* First half of a read-modify-write that missed: faults as a write does. */
uint64_t soft_rmw_ld(struct soft *s, const struct uop *u, uint64_t lin, unsigned size);

/* What host atomics cannot do (page crossing, MMIO): one at a time.  Freed at faults. */
void soft_split_lock(struct soft *s);
void soft_split_unlock(struct soft *s);

/*
 * A read-modify-write of any size, atomic if @lock: old = rmw_begin();
 * do new = f(old); while (!rmw_commit(&old, new)).
 */
struct rmw {
	void *p;
	uint64_t lin;
	unsigned size;
	bool split;
};
uint64_t rmw_begin(struct soft *s, const struct uop *u, struct rmw *r, uint64_t lin, unsigned size,
		   bool lock);
bool rmw_commit(struct soft *s, const struct uop *u, struct rmw *r, uint64_t *old, uint64_t v);

/* As uop_lin(), for an effective address that the handler computed. */
static inline uint64_t ea_lin(struct soft *s, const struct uop *u, uint64_t ea, unsigned len,
			      bool write)
{
	if (u->flags & UOP_FLATSEG)
		return ea;
	if (s->mode & MODE_CS64)
		return ea + s->seg[u->seg].base;
	return soft_seg_lin(s, u, u->seg, ea, len, write);
}

/* Operand E or G of any size, zero-extended. */
static inline uint64_t rd_e(struct soft *s, const struct uop *u)
{
	if (u->flags & UOP_MOD3)
		return soft_rd_gpr(s, u->rm, u->osize);
	return soft_ld(s, u, uop_lin(s, u, u->osize, false), u->osize);
}

static inline void wr_e(struct soft *s, const struct uop *u, uint64_t v)
{
	if (u->flags & UOP_MOD3)
		soft_wr_gpr(s, u->rm, u->osize, v);
	else
		soft_st(s, u, uop_lin(s, u, u->osize, true), u->osize, v);
}

static inline unsigned lg_size(unsigned size)
{
	return (unsigned)__builtin_ctz(size);
}

static inline int64_t sext(uint64_t v, unsigned size)
{
	unsigned sh = 64 - size * 8;

	return (int64_t)(v << sh) >> sh;
}

static inline uint64_t zext(uint64_t v, unsigned size)
{
	unsigned sh = 64 - size * 8;

	return v << sh >> sh;
}

/* soft_cf() inline. */
static inline bool cf_fast(const struct soft *s)
{
	uint64_t a = s->cc_src1, b = s->cc_src2, r = s->cc_res;
	unsigned k = CC_KIND(s->cc_op);

	if (k == CC_ADD || k == CC_ADC)
		return ((a & b) | ((a | b) & ~r)) >> (CC_BITS(s->cc_op) - 1) & 1;
	if (k == CC_SUB)
		return a < b;
	if (k == CC_LOGIC)
		return false;
	if (k == CC_EFLAGS)
		return r & FL_CF;
	return k == CC_SBB ? soft_cf(s) : a != 0;
}

/* ---- conditions -------------------------------------------------------------- */
/* As soft_cond(), quick for the usual producers; @cc a constant. */
static inline __attribute__((always_inline)) bool cc_cond(const struct soft *s, unsigned cc)
{
	unsigned k = CC_KIND(s->cc_op), sh = 64 - CC_BITS(s->cc_op);
	bool r;

	switch (cc >> 1) {
	case 1:
		if (k == CC_SUB)
			r = s->cc_src1 < s->cc_src2;
		else
			r = cf_fast(s);
		break;
	case 2:
		r = k != CC_EFLAGS ? s->cc_res == 0 : !!(s->cc_res & FL_ZF);
		break;
	case 3:
		if (k != CC_SUB)
			return soft_cond(s, cc);
		r = s->cc_src1 <= s->cc_src2;
		break;
	case 4:
		r = k != CC_EFLAGS ? (int64_t)s->cc_res < 0 : !!(s->cc_res & FL_SF);
		break;
	case 6:
	case 7:
		if (k == CC_LOGIC)
			r = (int64_t)s->cc_res < (cc >> 1 == 7);
		else if (k == CC_SUB)
			r = (int64_t)(s->cc_src1 << sh) < (int64_t)(s->cc_src2 << sh) ||
			    (cc >> 1 == 7 && s->cc_src1 == s->cc_src2);
		else
			return soft_cond(s, cc);
		break;
	default:
		return soft_cond(s, cc);
	}
	return r != (cc & 1);
}

bool soft_cc(const struct soft *s, unsigned cc);	/* cc_cond() with a variable condition */

/* ---- stack (ctrl.c) -------------------------------------------------------- */
/* Stack pointer with its width; push and pop move it only after the access. */
static inline uint64_t sp_mask(const struct soft *s)
{
	if (s->mode & MODE_CS64)
		return ~0ull;
	return s->mode & MODE_SS32 ? 0xffffffff : 0xffff;
}

static inline uint64_t sp_get(const struct soft *s)
{
	return s->gpr[R_RSP] & sp_mask(s);
}

static inline void sp_set(struct soft *s, uint64_t v)
{
	uint64_t m = sp_mask(s);

	if (m == 0xffff)
		wr16(s, R_RSP * 8, (uint16_t)v);
	else
		s->gpr[R_RSP] = v & m;
}

/* Linear address of stack offset @sp (already masked). */
static inline uint64_t stack_lin(struct soft *s, const struct uop *u, uint64_t sp, unsigned size,
				 bool write)
{
	if (s->mode & MODE_CS64) {
		uint64_t end = sp + size - 1;

		if (unlikely((uint64_t)((int64_t)(sp << 16) >> 16) != sp ||
			     (uint64_t)((int64_t)(end << 16) >> 16) != end))
			soft_fault_code(s, u, EXC_SS, 0);
		return sp;
	}
	if ((s->mode & (MODE_FLAT | MODE_SS32)) == (MODE_FLAT | MODE_SS32))
		return sp;
	return soft_seg_lin(s, u, SEG_SS, sp, size, write);
}

void soft_push(struct soft *s, const struct uop *u, unsigned size, uint64_t v);
/* Value at the top plus @skip bytes; does not move the stack pointer. */
uint64_t soft_peek(struct soft *s, const struct uop *u, unsigned size, unsigned skip);

/* ---- specialisation (spec.c) ------------------------------------------------ */
/*
 * For rows whose handler is @generic: variants by log2 of the operand size
 * for a register, a memory, and a locked memory operand; NULL: keep generic.
 * fuse_r, fuse_m, fuse_f: by size and condition, when a Jcc follows.
 */
struct uop_spec {
	uop_fn generic;
	uop_fn r[4], m[4], l[4];
	const uop_fn (*fuse_r)[16], (*fuse_m)[16], (*fuse_f)[16];
	uop_fn f[4];		/* quick memory form */
	uop_fn n[4];		/* register form whose flags nobody sees */
	bool faults;		/* the register form may fault (PUSH, POP) */
	/* By size and condition in imm8: register and quick memory form. */
	const uop_fn (*cc_r)[16], (*cc_f)[16];
};
extern const struct uop_spec *const soft_spec_alu[], *const soft_spec_cmp[], *const soft_spec_mov[],
	*const soft_spec_ctrl[], *const soft_spec_shift[], *const soft_spec_muldiv[];
void soft_spec_init(void);
void soft_avx_init(void);	/* avx.c */
/* Replace u->fn. */
void soft_specialise(struct uop *u);
/* Among @n finished uops of a block, use the forms without flags where that shows nowhere. */
void soft_drop_flags(struct uop *u, unsigned n);
/* The handler that does @u and the Jcc with condition @cc after it, or NULL. */
uop_fn soft_fuse(const struct uop *u, unsigned cc);

/* Body of a generic handler that has variants. */
#define SPEC_CALL(spec, s, u) \
	((u)->flags & UOP_MOD3 ? (spec).r : (u)->flags & UOP_LOCK ? (spec).l : (spec).m) \
		[lg_size((u)->osize)]((s), (u))

/* ---- block.c ----------------------------------------------------------------- */
struct block;
/* The slot after a block's last uop: where it goes directly. */
struct uop_link {
	struct block *taken, *fall;
};
#define LINK_NEVER ((struct block *)1)	/* another page: look it up each time */
_Static_assert(sizeof(struct uop_link) <= sizeof(struct uop), "link fits a uop");

struct block {
	struct block *hash_next;
	_Atomic uint32_t *genp;		/* generation of its page */
	uint32_t gen;
	uint32_t mode;
	uint16_t bytes, n, nuops;	/* length; instructions; uops without the link */
	bool cut;			/* a uop was replaced to leave the block early */
	bool narrow;			/* jit_win.c: no windows */
	/* jit_slot.c: with slots; but for these uops; when it was sampled, how often since */
	bool hot;
	uint8_t samples;
	uint64_t plain[2], sampled;
	bool transient;			/* entered through soft_goto_slow() and the run loop only */
	const uint8_t *host;		/* of the first byte */
	struct gm_block *gmb;
	uint64_t off;			/* of the first byte in gmb */
	const uint8_t *copy;		/* bytes as decoded */
	uop_fn fn0;			/* jit.h: of the first uop, while that is a hook */
	uint32_t heat;			/* executions so far */
	const void *jit_entry;		/* translated code, or NULL */
	struct jit_block *jit;
	struct cross *cross;		/* block_cross.c: its instruction lies in two pages */
	struct uop u[];
};

#define JC_BITS 13
struct jc_entry {
	uint64_t rip;
	uint32_t mode, pad;
	struct block *b;
};
/* What a block depends on in the page behind its own. */
struct cross {
	uint64_t key;			/* jit_flow.c: the page is mapped; 0: look it up */
	_Atomic uint32_t *genp;
	uint32_t gen;
	unsigned n1;			/* bytes in the first page */
	const uint8_t *host;		/* the second page */
	struct gm_block *gmb;
	uint64_t off;
};
struct block_cache {
	struct jc_entry jc[1 << JC_BITS];
	struct block **hash;
	uint8_t *map, *arena;		/* as mapped; from its first huge page on */
	size_t used;
	unsigned flushes;
	struct block *nowhere;		/* for what is no RAM */
};

static inline struct jc_entry *jc_slot(struct soft *s, uint64_t rip)
{
	return &s->blocks->jc[(rip ^ rip >> JC_BITS) & ((1u << JC_BITS) - 1)];
}

/* Find or build the block at s->rip; may fault (fetch).  Run loop only. */
struct block *soft_block_get(struct soft *s, uint32_t mode);
/* The same without a walk or building anything; NULL: not that simple. */
struct block *soft_block_ready(struct soft *s);
/* Continue at gpr[GPR_RIP], by any way. */
const struct uop *soft_goto_slow(struct soft *s);
/* Likewise, @delta from the block just left: remember the block in *@slot where that is safe. */
const struct uop *soft_goto_link(struct soft *s, struct block **slot, uint64_t delta);

const struct uop *soft_enter_slow(struct soft *s, struct block *b);
/* Find the block at gpr[GPR_RIP] and make it current; NULL: to the run loop. */
const struct uop *soft_goto_uop(struct soft *s, struct block **found);
/* Execute @b, whose first byte is at gpr[GPR_RIP]. */
static inline const struct uop *soft_enter(struct soft *s, struct block *b)
{
	if (unlikely(atomic_load_explicit(s->req, memory_order_relaxed) ||
		     atomic_load_explicit(b->genp, memory_order_relaxed) != b->gen ||
		     s->budget < 0))
		return soft_enter_slow(s, b);
	s->budget -= b->n;
	s->cur = b;
	GOTO_UOP(s, b->u);
}

/* The block at gpr[GPR_RIP] as last seen and still mapped there, or NULL. */
static inline struct block *soft_jc_find(struct soft *s)
{
	uint64_t rip = s->gpr[GPR_RIP];
	const struct jc_entry *j = jc_slot(s, rip);

	if (likely(j->rip == rip && j->mode == s->mode)) {
		uint64_t lin = s->mode & MODE_CS64 ? rip : (uint32_t)(rip + s->seg[SEG_CS].base);
		const struct soft_tlbe *e = &s->tlb[lin >> 12 & (TLB_SIZE - 1)];

		if (likely(e->tag_x == (lin & ~0xfffull) &&
			   (const uint8_t *)(uintptr_t)(lin + e->delta) == j->b->host))
			return j->b;
	}
	return NULL;
}

static inline const struct uop *soft_goto(struct soft *s)
{
	struct block *b = soft_jc_find(s);

	if (likely(b))
		return soft_enter(s, b);
	return soft_goto_slow(s);
}

static inline const struct uop *soft_goto_slot(struct soft *s, struct block **slot,
					       uint64_t delta)
{
	struct block *b = *slot;

	if (likely((uintptr_t)b > 1))
		return soft_enter(s, b);
	if (b == LINK_NEVER)
		return soft_goto(s);
	return soft_goto_link(s, slot, delta);
}

/*
 * A direct jump, u being the branch: uop.imm is the target's distance from
 * the block's start, uop.disp the mask for the new instruction pointer.
 */
static inline const struct uop *soft_take(struct soft *s, const struct uop *u)
{
	s->gpr[GPR_RIP] = (s->gpr[GPR_RIP] + u->imm) & (uint64_t)u->disp;
	return soft_goto_slot(s, &((struct uop_link *)(uintptr_t)(u + 1))->taken,
			      u->imm);
}

static inline const struct uop *soft_fall(struct soft *s, const struct uop *u)
{
	s->gpr[GPR_RIP] += u->off + u->len;
	return soft_goto_slot(s, &((struct uop_link *)(uintptr_t)(u + 1))->fall,
			      u->off + u->len);
}

#endif
