/* SPDX-License-Identifier: MIT */
/* Shared by the files that translate one block (jit_block.c, jit_int.c, jit_mem.c, jit_rows.c). */
#ifndef HV_SOFT_JIT_TRANS_H
#define HV_SOFT_JIT_TRANS_H

#include "jit.h"

/* What is emitted for a uop. */
enum jit_kind {
	JK_CALLOUT,	/* its handler */
	JK_SIDE,	/* the interpreter goes on here */
	JK_TAIL,	/* its handler, which ends the block */
	JK_GUARD,	/* is the next instruction allowed? */
	JK_CONT,	/* end of the block without a branch */
	JK_GENERIC,	/* struct jit_row says all */
	JK_NOP, JK_PAUSE, JK_MOV_IMM, JK_LEA, JK_PUSH, JK_PUSH_I, JK_POP, JK_LEAVE, JK_BSWAP,
	JK_CBW,
	JK_CWD, JK_MUL, JK_CMPXCHG, JK_CARRY, JK_SYS, JK_SSE, JK_X87,
	JK_VEX,
	/* From here on: may fault. */
	JK_DIV, JK_IDIV, JK_CLI, JK_AC, JK_PUSHF, JK_PUSH_M, JK_MOVS, JK_STOS, JK_LODS,
	JK_BRANCHES,	/* from here on: ends the block */
	JK_JCC = JK_BRANCHES, JK_JMP, JK_CALL, JK_CALL_E, JK_JMP_E, JK_RET,
};

enum {			/* struct jit_row.use */
	U_ER = 1, U_EW = 2, U_GR = 4, U_GW = 8,
	U_I8 = 16,	/* 8-bit immediate */
	U_IZ = 32,	/* immediate of the operand size, at most 32 bits */
	U_E8 = 64,	/* E is a byte, */
	U_E16 = 128,	/* ... a word, */
	U_E32 = 256,	/* ... a doubleword, whatever the operand size */
	U_REGONLY = 512,	/* native only with a register */
	U_CC = 1024,	/* opcode | condition */
};

/* Effect on the arithmetic flags. */
enum jit_flag_kind {
	FK_NONE, FK_ALL, FK_ADC, FK_INC, FK_SHIFT, FK_ROT, FK_RC, FK_BT, FK_MUL, FK_SCAN, FK_CC,
	FK_CF_CHAIN, FK_OF_CHAIN,	/* ADCX, ADOX */
};

struct jit_row {
	uop_fn fn;
	uint8_t kind;
	uint8_t flags;		/* enum jit_flag_kind */
	uint16_t use;
	int8_t ext;		/* ModRM.reg; NO_REG: the G operand */
	uint32_t op, op8;	/* opcode for 16 to 64 bits, for bytes (0: none) */
};

const struct jit_row *jit_row_of(unsigned row);		/* NULL: none */

struct plan {
	const struct jit_row *r;
	uint8_t kind;
	bool faults;		/* may fault: all flags must be known before it */
	uint16_t reads, must, may;	/* flags: read; written in any case; perhaps written */
	uint16_t live;		/* flags needed after it */
	uint8_t need, after;	/* enum fpu_live: for it; until the next call to C behind it */
};

/* Out-of-line part of a uop: its handler, then on behind it; or the interpreter from it on. */
struct slow {
	uint8_t *from[4];	/* displacements of the jumps to it */
	unsigned n;
	const struct uop *u;
	const uint8_t *back;
	bool side, to_eflags;
	bool next;		/* not back: the interpreter goes on behind it */
	uint8_t need;		/* enum fpu_live to load again */
	const struct jit_window *window;	/* side, and say which */
};

/* Out-of-line part: load what is not live (jit_live.c). */
struct reload {
	uint8_t *from;
	const uint8_t *back;
	const struct uop *u;	/* the interpreter goes on here if that is not possible */
	uint8_t need;
};

/* Out-of-line part of the block's end (jit_ends.c). */
struct late {
	uint8_t kind;
	uint8_t *from;		/* displacement of the jump to it */
	const uint8_t *back;
	struct jit_link *link;
	int32_t sp_lag;
};

/* T1 is the delta of the page(s) at [gpr + lo, gpr + hi) (jit_win.c). */
struct window {
	bool open, write;
	uint8_t gpr;
	int32_t lo, hi;
};

/* What a uop asked of jit_mem(). */
struct mem_use {
	uint8_t n, size;
	bool write, aligned;
};

#define MAX_SLOW 70
#define MAX_LATE 6

/* Out-of-line part of a check against a slot (jit_slot.c). */
struct miss {
	uint8_t *from;
	const uint8_t *back;
	struct jit_place *place;
	struct slow *slow;
	uint8_t align, slot;
	bool write;
};

/* Registers of an access, and the slot that those have in this block. */
struct slot_pick {
	uint8_t base, index;
	bool write;
	uint8_t slot;
};

/* T0 = address of @span bytes, aligned to 1 << @align. */
struct slot_access {
	unsigned base, index, span;
	uint8_t align;
	bool write;
	bool by_host;		/* T0 + T1 is the host's address; else T1 = delta */
};

struct trans {
	struct soft *s;
	struct block *b;
	struct jit_block *t;
	struct emit e;
	unsigned word;		/* EM_W in 64-bit code, else 0: width of addresses and stack */
	bool in_rax, in_efl;	/* where the guest's flags are */
	struct slow slow[MAX_SLOW * 2];
	unsigned nslow;
	struct reload reload[MAX_SLOW];
	unsigned nreload;
	struct late late[MAX_LATE];
	unsigned nlate;
	int scratch;		/* free after mem_operand() */
	struct slow *cur;	/* of the current uop */
	const struct plan *p, *plan;
	unsigned at, nplan;	/* the current uop, how many there are */
	struct window win;
	int32_t sp_lag;		/* the guest's RSP is the host register's value and this */
	struct mem_use access[MAX_SLOW];
	struct miss misses[MAX_SLOW * 4];
	unsigned nmisses;
	struct slot_pick picks[12];
	unsigned npicks;
	/* jit_loop.c */
	struct jit_loop *loop;	/* NULL: not one */
	bool quick;		/* emitting the version without checks */
	int8_t group[MAX_SLOW];
	int8_t delta_in[8];	/* register that holds the delta of a group all the time, or -1 */
	uint8_t *back, *to_head, *try_it;	/* the way back: code, jumps to the head, to it */
	const uint8_t *done;	/* the jump out of the loop */
};

/* Host register of a guest register, NO_REG if it lives in memory. */
static inline int home(unsigned off)
{
	return jit_home[off >> 3 & 15];
}

static inline struct hop slot(unsigned off)
{
	return hop_mem(H_STATE, STATE(gpr) + (int32_t)(off & ~7u));
}

/* Host register with the guest's value: its home, or @scratch. */
static inline int use_gpr(struct trans *t, unsigned off, int scratch)
{
	int h = home(off);

	if (h >= 0)
		return h;
	em_load(&t->e, scratch, slot(off));
	return scratch;
}

static inline void put_gpr(struct trans *t, unsigned off, int reg)
{
	int h = home(off);

	if (h < 0)
		em_store(&t->e, slot(off), reg);
	else if (h != reg)
		em_mov_rr(&t->e, h, reg);
}

static inline unsigned em_size(unsigned size)
{
	return size == 8 ? EM_W : size == 2 ? EM_16 : size == 1 ? EM_8 : 0;
}

/* jit_mem.c */
bool jit_ea_ok(const struct uop *u);
/* True: *m is the operand, all of whose registers have homes. */
bool jit_ea_direct(const struct uop *u, struct hop *m);
void jit_save_flags(struct trans *t);		/* into rax */
void jit_need_flags(struct trans *t, unsigned mask);	/* in EFLAGS */
void jit_lea(struct trans *t, const struct uop *u, bool t1_free);	/* T0 = effective address */
/* Address check of the memory operand; where it is on the host.  t->scratch is free then. */
struct hop jit_mem(struct trans *t, const struct uop *u, unsigned size, bool write);
/* The same, of an operand that must be aligned to its size (a power of 2). */
struct hop jit_mem_aligned(struct trans *t, const struct uop *u, unsigned size, bool write);
/* [register + disp] of @size bytes; T1 is spoiled, t->scratch free. */
struct hop jit_at(struct trans *t, unsigned gpr, int32_t disp, unsigned size, bool write);
/* The same, as wide as the mode's stack. */
struct hop jit_stack(struct trans *t, unsigned gpr, int32_t disp, bool write);
void jit_slow_jump(struct trans *t, unsigned cc);
/*
 * RSP moves.  Inside a window on the stack, where nothing can fault, that is
 * put off: jit_sp_settle() in front of what needs the register.
 */
void jit_sp_move(struct trans *t, int32_t words);
void jit_sp_settle(struct trans *t);

/* jit_slot.c */
bool jit_slot_ok(const struct trans *t);	/* for the current uop */
void jit_slot_check(struct trans *t, const struct slot_access *a);
/* In the head of a block that may become hot: NULL, or the jump out to JX_HOT. */
uint8_t *jit_emit_sample(struct trans *t);
void jit_emit_miss(struct trans *t, const struct miss *m);

/* jit_win.c */
bool jit_win_hit(const struct trans *t, unsigned gpr, int32_t disp, unsigned size, bool write);
void jit_win_open(struct trans *t, unsigned gpr, int32_t lo, int32_t hi, bool write);
bool jit_win_plan(const struct trans *t, unsigned gpr, int32_t *lo, int32_t *hi, bool *write);
void jit_win_pass(struct trans *t, const struct uop *u);

/* jit_block.c */
void jit_emit_one(struct trans *t, const struct plan *p, unsigned i);
void jit_exit(struct trans *t, enum jit_exit how, const void *arg);
void jit_emit_side(struct trans *t, const struct uop *u);	/* the interpreter goes on here */

const struct jit_callout *jit_make_callout(struct trans *t, const struct uop *u);

/* jit_sys.c */
void jit_make_tail(struct emit *e, const uint8_t *bare);
void jit_emit_tail(struct trans *t, const struct uop *u);
void jit_emit_guard(struct trans *t);
void jit_emit_sys(struct trans *t, const struct uop *u);

/* jit_ends.c */
void jit_emit_end(struct trans *t, const struct uop *u);
void jit_emit_late(struct trans *t);
/* T0 = RIP -> T0 = RIP + key, T1 = offset into jit_tab; the jump taken if it is not there. */
uint8_t *jit_emit_probe(struct emit *e);
/* T0 = RIP + key -> the field at @to: its page. */
void jit_emit_page(struct emit *e, int reg, int32_t to);

/* jit_live.c */
/* Bits of fpu_live that tell whether all of @need is there. */
unsigned jit_tell(unsigned need);
void jit_need_live(struct trans *t, unsigned need, const struct uop *u);
void jit_live_again(struct trans *t, unsigned need);
void jit_emit_reload(struct trans *t, const struct reload *r);

/* jit_loop.c */
void jit_plan_loop(struct trans *t, const struct plan *p, unsigned n);
uint8_t *jit_loop_back(struct trans *t, uint8_t *site);
void jit_emit_loop(struct trans *t, const struct plan *p, unsigned n);
struct hop jit_group_operand(struct trans *t, const struct uop *u, unsigned group);

/* jit_sse.c */
/* What must be live for a native form of @u (0: none), and whether it may fault; its flags. */
unsigned jit_sse_plan(const struct uop *u, struct plan *p);
void jit_emit_sse(struct trans *t, const struct uop *u);

/* jit_x87.c */
unsigned jit_x87_plan(const struct uop *u, struct plan *p);
void jit_emit_x87(struct trans *t, const struct uop *u);

/* jit_int.c */
bool jit_high_ok(const struct jit_row *r, const struct uop *u);	/* AH, CH, DH, BH */
bool jit_is_high(const struct jit_row *r, const struct uop *u);
unsigned jit_e_size(const struct uop *u, const struct jit_row *r);
void jit_emit_uop(struct trans *t, const struct uop *u);

/* jit_avx.c */
bool jit_vex_plan(const struct block *b, const struct uop *u, struct plan *p);
void jit_emit_vex(struct trans *t, const struct uop *u);

#endif
