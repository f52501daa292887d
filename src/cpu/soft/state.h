/* SPDX-License-Identifier: MIT */
/*
 * The software CPU: a decoded instruction, the TLB's entries, the state of a
 * vCPU.  Part of soft.h.
 */
#ifndef HV_SOFT_STATE_H
#define HV_SOFT_STATE_H

#include "../vcpu.h"
#include "../../bus.h"
#include "../../mem_cpu.h"

struct soft;
struct uop;

/*
 * A handler returns the next uop: u + 1 (always right for "go on after me",
 * also in A_END rows: a closing uop follows them that leaves the block), or
 * NULL after setting s->rip (and soft_update_mode() if modes changed).
 * NEXT is the fast form of "return u + 1": it calls the next handler as a
 * sibling call.  Use it in hot handlers that have no local variable whose
 * address escapes (else gcc makes it a real call and the stack grows).
 */
typedef const struct uop *(*uop_fn)(struct soft *s, const struct uop *u);
#if defined(__OPTIMIZE__) && !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__) && \
	!defined(SOFT_NO_THREADING)
#define NEXT(s, u) return (u)[1].fn(s, (u) + 1)
#define GOTO_UOP(s, u) return (u)->fn(s, u)
#else
#define NEXT(s, u) return (u) + 1
#define GOTO_UOP(s, u) return (u)
#endif

/* Slots of s->gpr beyond the 16 registers, so that an address needs no branches. */
#define GPR_ZERO 16	/* always 0: "no base", "no index" */
#define GPR_RIP 17	/* guest RIP (offset, not linear) of the first byte of the current block */

enum uop_flag {
	UOP_MOD3 = 1 << 0, /* ModRM names a register, no memory operand */
	UOP_LOCK = 1 << 1,
	UOP_REP = 1 << 2,     /* F3 */
	UOP_REPNE = 1 << 3,   /* F2 */
	UOP_FLATSEG = 1 << 4, /* 64-bit mode and segment without base: linear = effective address */
	UOP_REXW = 1 << 5,
	UOP_P66 = 1 << 6,    /* 66 prefix was present */
	UOP_SEGOVR = 1 << 7, /* a segment prefix was present */
};

enum uop_vex {			/* the rest of uop.vex */
	VEX_L = 1 << 4,		/* vectors are 32 bytes; clear where L is ignored */
	VEX_W = 1 << 5,		/* W as encoded; UOP_REXW is W as the width of a general register */
};
#define VEX_V(u) ((u)->vex & 15u)
#define VEX_LEN(u) ((u)->vex & VEX_L ? 32u : 16u)

/*
 * One decoded instruction.  reg/rm are BYTE offsets into s->gpr for general
 * registers (AH is offset 1), plain numbers for all other register files.
 * Gathers: rm is the vector register with the indices, index is GPR_ZERO.
 */
struct uop {
	uop_fn fn;
	uint64_t imm;		/* immediate, sign-extended to 64 bits; branch: target offset from
				 * the block's first byte; far pointer: offset | selector << 32 */
	int64_t disp;		/* RIP-relative: already made relative to the block's first byte;
				 * branch: mask for the new instruction pointer */
	uint16_t row;		/* index into soft_optable[] */
	uint16_t off;		/* of this instruction from the first byte of its block */
	uint8_t reg, rm;
	uint8_t base, index;	/* gpr slots 0-17 */
	uint8_t scale;		/* shift 0-3 */
	uint8_t seg;		/* SEG_*: segment of the memory operand */
	uint8_t osize, asize;	/* operand and address size in bytes: 1, 2, 4, 8 */
	uint8_t flags;		/* enum uop_flag */
	uint8_t len;		/* instruction length, 1-15 */
	uint8_t imm8;		/* second immediate (ENTER), else low byte of the immediate;
				 * rows without an immediate: the opcode (condition codes) */
	uint8_t vex;		/* VEX rows: vvvv (a register number) in bits 0-3, enum uop_vex */
};

/* ---- MMU -------------------------------------------------------------- */

/* Tag = linear page address when the access is allowed without further checks, else all-ones. */
struct soft_tlbe {
	uint64_t tag_r, tag_w, tag_x;
	uintptr_t delta;	/* host = linear + delta */
};
/* Where an indirect jump of translated code went: tag = rip + jit_key.  See jit_flow.c. */
struct jit_target {
	uint64_t tag;
	const void *code;
};
/* jit_slot.c: pages that places of translated code used last. */
#define SLOTS 192u
#define SAMPLERS 16u
struct soft_slots {
	uint64_t tag[SLOTS], delta[SLOTS], host[SLOTS], used[SLOTS / 64];
};
#define JT_BITS 13
#define JIT_CLASSES 16	/* modes that translated code runs in */
#define TLB_BITS 13	/* 32 MiB: fewer conflicts of a kernel's hot pages, too */
#define TLB_SIZE (1u << TLB_BITS)
#define TLB_WORDS (TLB_SIZE / 64)
#define TLB_NONE UINT64_MAX
/*
 * Which table is in force: user (one for each address space that is kept),
 * kernel with SMAP in force (AC=0), kernel otherwise.
 */
#define TLB_SPACES 6
enum { TLB_KERN = TLB_SPACES, TLB_KERN_AC, TLB_TABLES };
#define TLB_IS_USER(table) ((table) < TLB_SPACES)
#define PCID_NONE 0xffff

/* ---- lazy flags ------------------------------------------------------- */

/* cc_op = kind << 2 | log2(size); CC_EFLAGS: the bits are in cc_res itself. */
enum cc_kind {
	CC_EFLAGS, CC_ADD, CC_ADC, CC_SUB, CC_SBB, CC_LOGIC, CC_INC, CC_DEC, CC_SHL, CC_SHR,
	CC_SAR, CC_MUL, CC_KINDS
};
#define CC(kind, lg) ((kind) << 2 | (lg))
#define FL_CF 0x0001u
#define FL_PF 0x0004u
#define FL_AF 0x0010u
#define FL_ZF 0x0040u
#define FL_SF 0x0080u
#define FL_TF 0x0100u
#define FL_IF 0x0200u
#define FL_DF 0x0400u
#define FL_OF 0x0800u
#define FL_IOPL 0x3000u
#define FL_NT 0x4000u
#define FL_RF 0x10000u
#define FL_VM 0x20000u
#define FL_AC 0x40000u
#define FL_VIF 0x80000u
#define FL_VIP 0x100000u
#define FL_ID 0x200000u
#define FL_ARITH (FL_CF | FL_PF | FL_AF | FL_ZF | FL_SF | FL_OF)

/* Mode bits: part of a block's key, kept up to date by soft_update_mode(). */
enum soft_mode {
	MODE_CS64 = 1 << 0,	/* 64-bit code segment in long mode */
	MODE_CS32 = 1 << 1,	/* D bit: default operand and address size 32 */
	MODE_SS32 = 1 << 2,	/* B bit of SS (or 64-bit): stack pointer width */
	MODE_PE = 1 << 3,
	MODE_VM86 = 1 << 4,
	MODE_CPL3 = 1 << 5,
	MODE_TF = 1 << 6,	/* one instruction a block */
	MODE_FLAT = 1 << 7,	/* ES, SS, DS have base 0 and no effective limit (or CS64) */
	MODE_LMA = 1 << 8,
	MODE_CODE_BP = 1 << 9,	/* a breakpoint is armed in DR7: one instruction a block */
	MODE_FPU_OFF = 1 << 10,	/* CR0.EM, CR0.TS or no CR4.OSFXSR: check each FP instruction */
	MODE_A20_OFF = 1 << 11,
	MODE_AVX_OFF = 1 << 12,	/* CR0.TS, no CR4.OSXSAVE or not XCR0[2:1]: AVX must check */
};

/*
 * Guest state that translated code left in the host's registers.  C code only
 * ever sees FX_X87: the rest is stored on the way out (jit_live.c).
 */
enum fpu_live {
	FX_VEC = 1,	/* XMM0-15 */
	FX_FP = 2,	/* ... and MXCSR, with all exceptions masked */
	FX_YMM = 4,	/* upper halves of YMM0-15, and FX_VEC */
	FX_YMMFP = 8,	/* FX_FP and FX_YMM */
	FX_X87 = 16,	/* x87 and MMX, with all exceptions masked */
};

struct soft {
	/* hot: first two cache lines and their neighbours */
	uint64_t gpr[18];
	uint64_t cc_res, cc_src1, cc_src2;
	uint32_t cc_op;
	uint32_t eflags;	/* all but FL_ARITH */
	struct soft_tlbe *tlb;	/* table in force */
	uint64_t rip;		/* valid between blocks, and after a fault */
	uint32_t mode;		/* enum soft_mode */
	uint8_t cpl;
	bool intr_shadow;	/* STI, MOV SS, POP SS: no interrupts before the next instruction */
	bool nmi_blocked;
	bool halted;
	struct vcpu *vcpu;
	uint64_t insns;		/* retired, counted by blocks */
	uint64_t jit_page;	/* jit.h: RIP at the start of the page that runs */
	uint64_t jit_flags;	/* arithmetic flags: LAHF in bits 8-15, OF in bit 0 */
	uint64_t jit_arg;
	uint64_t jit_key;	/* jit_keys[] of the mode in force */
	uint64_t jit_next;	/* page that an indirect call goes to */
	uint64_t jit_sp, jit_lim;	/* host stack: first of the return frames, room for them */
	_Atomic uint32_t *req;	/* &vcpu->req */
	uint8_t fpu_live;	/* enum fpu_live: state that is in the host's registers */
	bool mx_live;		/* the host's MXCSR is the guest's: fpu.h */
	bool mx_native;		/* mx_live, and all exceptions are masked */
	bool jit_cut;		/* a handler called by translated code wrote code */
	bool slots_ok;		/* jit_slot.c: slots may be filled from the table in force */
	int32_t jit_left;	/* verify.h: blocks that translated code may still begin */
	struct soft_verify *vfy;	/* NULL: not --engine soft,verify */
	struct soft_jit *jit;	/* NULL: interpreter only */

	struct x86_seg seg[SEG_NUM], ldt, tr;
	struct x86_dtable gdt, idt;
	uint64_t cr0, cr2, cr3, cr4, efer, xcr0;
	uint64_t dr[8];
	uint64_t star, lstar, cstar, sfmask, kernel_gs_base;
	uint64_t sysenter_cs, sysenter_esp, sysenter_eip;
	uint64_t pat, misc_enable, tsc_aux, tsc_adjust, tsc_offset, tsc_deadline;
	uint64_t pv_time;		/* MSR of the paravirtual clock */
	uint64_t mtrr_def, mtrr_fix[11], mtrr_var[16];
	uint64_t pdpte[4];	/* PAE: cached at MOV CR3 */
	uint32_t smbase;
	bool smm;		/* in system management mode: smm.c */
	bool smi_latched;	/* SMI taken from the request word, not entered yet */
	bool init_latched;	/* INIT that waits for the end of system management mode */
	bool wait_sipi;
	bool rf_loaded;		/* the instruction just executed loaded EFLAGS.RF */
	bool no_step;		/* ... was INT n: no single-step trap after it */
	bool ss_shadow;		/* intr_shadow is of MOV SS or POP SS: holds debug traps too */
	uint8_t dr_hit;		/* data breakpoints met by the current instruction */
	/* Executing guest code, hence may use its write tags; cleared around dev_lock.  Any thread.
	 */
	_Atomic uint32_t in_guest;
	uint64_t tlb_used[TLB_TABLES][TLB_WORDS], tlb_global[TLB_TABLES][TLB_WORDS];
	uint64_t tlb_large[TLB_TABLES][TLB_WORDS];	/* pieces of pages above 4 KiB */
	uint64_t tlb_local[TLB_TABLES][TLB_WORDS / 64];	/* words that may have others than global */
	uint64_t tlb_gib;		/* hash of the GiBs with such pieces */
	unsigned space;			/* whose user table is in force */
	uint16_t space_pcid[TLB_SPACES];	/* PCID_NONE: nobody's */
	uint32_t space_used[TLB_SPACES], space_clock;
	_Atomic uint32_t a20_off;	/* any thread; MODE_A20_OFF follows */
	struct { struct gm_block *block; uint64_t off; } dirty_tags[64];
	unsigned n_dirty_tags;	/* write tags handed out for dirty-logged pages */
	struct gm_block *rmw_block;	/* code page that soft_rmw_ptr() gave out */
	uint64_t rmw_off;

	/* jit_loop.c: host - linear of each group, value of the register that ends the run ... */
	uint64_t loop_delta[8], loop_limit;
	uint64_t loop_left;	/* ... and when the loop was left before that */
	struct jit_loop *loop_last;

	/* XSAVE image, standard format: guest XMM at 160 and the upper halves of YMM at 576,
	 * 16 bytes a register, in place; x87/MMX/MXCSR as fpu.c keeps them */
	uint8_t fx[832] __attribute__((aligned(64)));

	struct soft_tlbe tlbs[TLB_TABLES][TLB_SIZE] __attribute__((aligned(64)));

	/* jit_flow.c: what was learnt about executable pages, by rights */
	uint64_t jit_keys[JIT_CLASSES], jit_seed;
	uint64_t jit_kept[TLB_SPACES][JIT_CLASSES];	/* keys of spaces not in force; 0: none */
	struct {
		uint64_t page[64];	/* hash of the pages that keys vouch for */
		uint64_t large;		/* the same for large ones, by GiB */
		bool local;		/* one of them was not global */
	} jit_exec[TLB_SPACES + 1];	/* users', the kernel's */
	struct jit_target jit_tab[1 << JT_BITS];
	struct soft_slots slots[2];	/* CPL 3: [1] */
	uint64_t slot_none;		/* tag of an empty one */
	uint64_t jit_misses, jit_bad;	/* struct jit_place to be looked at, or 0 */
	int32_t jit_count[SAMPLERS];	/* executions of blocks until one is sampled */
	bool slots_local;		/* a kernel slot is not of a global page */

	/* pending fault, set by soft_fault() */
	sigjmp_buf fault_jmp;
	struct soft_exc {
		uint8_t vector;
		bool has_code, soft_int, ext;
		uint32_t code;
		bool pending;	/* set by soft_fault(), cleared when its delivery begins */
	} exc;
	uint8_t delivering;	/* exception being delivered: double-fault logic */
	volatile bool fp_fault;	/* unmasked SSE exception, seen by the SIGFPE handler */

	/* dispatch.c */
	int64_t budget;		/* instructions until the next visit to the run loop */
	struct block *cur;	/* block being executed */
	bool split_locked;	/* holds the lock for what host atomics cannot do */
	bool nmi_latched;	/* NMI taken from the request word, not delivered yet */
	bool intr_latched;	/* INTR request seen while masked: ask the APIC when IF is set */
	bool triple_fault;	/* soft_deliver(): set it and return; run() leaves */
	struct block_cache *blocks;	/* block.c */
	struct soft_fpu *fpu;		/* fpu.c: anything beyond the image */
};

#endif
