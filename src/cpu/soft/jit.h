/* SPDX-License-Identifier: MIT */
/*
 * The translator, private interface: hot blocks of 64-bit code become host
 * code; everything that has no native form calls the interpreter's handler.
 *
 * A translated block is entered through its first uop (soft_h_jit), chains
 * to others of its kind directly, and comes back to soft_h_jit with one of
 * enum jit_exit.  Code and chains belong to one vCPU and are dropped together
 * with its blocks.
 */
#ifndef HV_SOFT_JIT_H
#define HV_SOFT_JIT_H

#include "jit_emit.h"
#include <stdio.h>

enum jit_exit {
	JX_LEAVE,	/* s->rip is set: to the run loop */
	JX_GOTO,	/* jit_arg = rip */
	JX_BLOCK,	/* jit_arg = block to be looked up again */
	JX_LINK,	/* jit_arg = struct jit_link */
	JX_UOP,		/* jit_arg = uop of s->cur for the interpreter */
	JX_HOT,		/* jit_arg = block that was sampled */
	JX_WINDOW,	/* jit_arg = struct jit_window of s->cur that failed */
};

/* A uop executed by its handler from translated code; what follows it as its neighbour returns. */
struct jit_callout {
	struct uop u;
	uop_fn ret;
	struct block *b;
	bool sets_flags;
};

/*
 * A jump that may be chained: at @site (writable) either to @stub or to a
 * block's code.  Into another page: at @key the sum of key and page that the
 * chain is good for; @patience: what does not match is looked up that often.
 */
struct jit_link {
	struct block *from;
	uint8_t *site, *stub, *key;
	int32_t delta;		/* of the target from the block's start */
	int32_t patience;
};

/* A common check for several accesses: [gpr + lo, gpr + hi), from this uop on. */
struct jit_window {
	const struct uop *u;
	int32_t lo, hi;
	uint8_t gpr;
};

/* An access that is checked against a slot (jit_slot.c). */
struct jit_place {
	struct block *b;
	uint16_t uop;
	int32_t left;		/* misses until it is looked at */
	uint32_t times;		/* that it should have been */
	uint64_t since;		/* host's TSC when it was */
	uint32_t off, last;	/* of the slot; of the access's last byte */
};

struct jit_block {
	uint8_t *poll;		/* entries (writable addresses): request check, then ... */
	uint8_t *check;		/* ... generation check, then ... */
	uint8_t *body;
	uint8_t *gen;		/* the generation inside the check, */
	uint8_t *gen2;		/* ... of the second page, or NULL */
	unsigned misses;	/* of windows, weighted */
	unsigned nlinks;
	struct jit_link link[2];
	struct uop *stop;	/* where the interpreter takes over (JX_UOP), or NULL */
	uint32_t len;		/* of the code, from @poll */
	uint16_t fl_read, fl_kill, fl_undef;	/* verify.c */
};

/* Memory operands of a loop that are checked together: [base + (index << scale) + lo, span). */
struct jit_group {
	uint8_t base, index, scale;
	uint8_t align;		/* ... and aligned so at arel */
	bool write;
	bool fixed;		/* base stays: its value is part of the delta */
	uint16_t span;
	int32_t lo, arel;	/* as the registers are at the start of an iteration */
	int32_t step;		/* of the address from one iteration to the next */
};

struct jit_loop {
	struct block *b;
	int32_t skip;		/* times round until the quick version is tried */
	uint8_t ngroups, live;	/* live: bits of fpu_live that must be set */
	uint8_t reg, width;	/* what tells iterations apart */
	uint8_t fails, shorts;
	bool midway;		/* the next run begins somewhere in the loop: says nothing */
	int64_t step, before;	/* of reg: in an iteration, in it before its end is looked for */
	uint64_t start, end;	/* of the last run */
	struct jit_group g[8];
};

#define JT_HASH 0x9e3779b1u	/* index into jit_tab: upper bits of the product with RIP */

struct soft_jit {
	uint8_t *rw, *rx;
	size_t size, used, stubs;
	size_t touched;		/* code memory that has pages */
	unsigned threshold;
	uint64_t (*enter)(struct soft *s, const void *code);
	uint8_t *callout, *exit, *lookup;	/* stubs, writable addresses */
	uint8_t *fpu_load, *fpu_store, *loop_try;
	uint8_t *missed, *missed_call, *tail;
	uint8_t *slot_miss[2][2];	/* [CPL 3][write] */
	unsigned slot_next[2];
	uint64_t reviewed, misses_then;
	unsigned hot, plain;	/* blocks with slots; places gone back to the TLB */
	ptrdiff_t past_poll;	/* from a block's poll to its check */
	uint64_t blocks, native, called;	/* statistics; time is only taken for them */
	uint64_t ns, timed;
	unsigned emptied;
	FILE *map;			/* for profiling, or NULL */
	bool check;		/* decode emitted code again: jit_check.c */
	unsigned plant, planted;	/* test of the tests: opcode, wrong one in its place */
};

_Static_assert(offsetof(struct jit_callout, ret) == sizeof(struct uop) &&
	       offsetof(struct uop, fn) == 0, "the neighbour's handler");

extern const int8_t jit_home[16];

const struct uop *soft_h_jit_return(struct soft *s, const struct uop *u); /* ends a call-out */
bool soft_jit_init(struct soft *s);
void soft_jit_free(struct soft *s);
void soft_jit_flush(struct soft *s);	/* with the blocks */
/* A block was built: count its executions. */
void soft_jit_watch(struct soft *s, struct block *b);
/* A stale block is good again: new generation, no chains from it. */
void soft_jit_revived(struct soft *s, struct block *b);

/* jit_live.c */
uint8_t *jit_make_load(struct emit *e);
uint8_t *jit_make_store(struct emit *e);
void jit_emit_store(struct emit *e, const uint8_t *store);
extern bool jit_x87_possible;	/* the host can */
void soft_jit_flags_in(struct soft *s);	/* between jit_flags and the interpreter's form */
void soft_jit_flags_out(struct soft *s);

/* jit_flow.c: where an indirect jump to @rip would be kept */
struct jit_target *soft_jit_slot(struct soft *s, uint64_t rip);
void soft_jit_learn(struct soft *s, uint64_t rip, const struct block *b);
/* s->rip is at @b, which lies in two pages, and both are mapped as it wants them. */
void soft_jit_crossed(struct soft *s, struct block *b);
/* After JX_GOTO, JX_LINK */
const struct uop *soft_jit_go_rip(struct soft *s);
const struct uop *soft_jit_go_link(struct soft *s, struct jit_link *l);
const struct uop *soft_jit_go_window(struct soft *s, const struct jit_window *w);

/* jit_check.c: our own bug unless this is code as we emit it. */
void soft_jit_check(const struct soft_jit *j, const uint8_t *code, size_t len);

/* For verify.c.  Enter @b's code, whose first byte is at gpr[GPR_RIP]; then s->rip is right. */
enum jit_exit soft_jit_run(struct soft *s, struct block *b);
/* JX_LINK or JX_GOTO led to @b at gpr[GPR_RIP]: what the two above do to chain it. */
void soft_jit_arrived(struct soft *s, enum jit_exit how, const struct block *b);

/* jit_map.c: what was translated, for scripts/jit-profile */
void soft_jit_map_open(struct soft_jit *j, unsigned cpu);
void soft_jit_map_close(struct soft_jit *j);
void soft_jit_map_block(const struct soft *s, const struct block *b);

/* jit.c: the guest's general registers to and from memory */
void jit_emit_spill(struct emit *e);
void jit_emit_reload_gprs(struct emit *e);

/* jit_loop.c */
uint8_t *jit_make_try(struct emit *e);

/* jit_slot.c */
void jit_make_slot_stubs(struct emit *e, struct soft_jit *j);
/* After JX_HOT. */
void soft_jit_sampled(struct soft *s, struct block *b);
void soft_jit_resample(struct soft *s);
void soft_jit_review(struct soft *s);		/* s->jit_bad is set; between blocks */

/* jit_flow.c: translate @b once more, and lead the old translation there. */
void soft_jit_again(struct soft *s, struct block *b);

/* jit_block.c */
bool soft_jit_translate(struct soft *s, struct block *b);
void soft_jit_rows_init(void);

/* block.c */
void *soft_arena_alloc(struct soft *s, size_t n);	/* NULL: full */
const struct uop *soft_h_continue(struct soft *s, const struct uop *u);
const struct uop *soft_h_guard(struct soft *s, const struct uop *u);

#endif
