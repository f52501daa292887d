/* SPDX-License-Identifier: MIT */
/*
 * The software CPU, private interface between its files.
 *
 * One struct soft per vCPU, used only by its own thread except where marked.
 * The decoder turns bytes into blocks of struct uop (decode.c, block.c); the
 * dispatcher calls uop->fn one after another (dispatch.c).  Everything that a
 * translator would share lives here: the table, the state, the TLB.
 *
 * Faults: exactly one way.  A handler that faults calls soft_fault() (or a
 * helper that does), which records the exception and siglongjmps to the run
 * loop with architectural state as before the instruction.  Hence the rule
 * for handlers: do every access that may fault before changing a register,
 * and hold no lock across one.
 */
#ifndef HV_SOFT_H
#define HV_SOFT_H

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
#define TLB_BITS 11
#define TLB_SIZE (1u << TLB_BITS)
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
	uint64_t tlb_used[TLB_TABLES][TLB_SIZE / 64], tlb_global[TLB_TABLES][TLB_SIZE / 64];
	uint64_t tlb_large[TLB_TABLES][TLB_SIZE / 64];	/* pieces of pages above 4 KiB */
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

/* Vectors */
enum { EXC_DE, EXC_DB, EXC_NMI, EXC_BP, EXC_OF, EXC_BR, EXC_UD, EXC_NM, EXC_DF, EXC_TS = 10,
       EXC_NP, EXC_SS, EXC_GP, EXC_PF, EXC_MF = 16, EXC_AC, EXC_MC, EXC_XM };

/* ---- dispatch.c, excp.c ------------------------------------------------ */
/* Raise before any state change; u names the faulting instruction (may be NULL: s->rip). */
HV_NORETURN void soft_fault(struct soft *s, const struct uop *u, unsigned vector);
HV_NORETURN void soft_fault_code(struct soft *s, const struct uop *u, unsigned vector,
				 uint32_t code);
/*
 * After siglongjmp to fault_jmp: deliver s->exc, with double and triple fault
 * (sets triple_fault).  May itself siglongjmp to fault_jmp again, so call it
 * with that jump buffer still live: if (sigsetjmp(...)) soft_take_fault(s);
 */
void soft_take_fault(struct soft *s);
/* Deliver through IDT/IVT: external interrupts, NMI, INT n (soft_int); s->rip is pushed. */
void soft_deliver(struct soft *s, unsigned vector, bool has_code, uint32_t code, bool soft_int);
/*
 * Debugging, only needed for blocks with MODE_TF or MODE_CODE_BP (both: one
 * instruction a block).  Before it: false if an instruction breakpoint fired
 * instead (#DB was delivered, look up s->rip).  After it, with the mode that
 * was in force before it: single step and data breakpoints.
 */
bool soft_debug_before(struct soft *s);
void soft_debug_after(struct soft *s, uint32_t mode_before);
/* RIP of the instruction after u. */
#define UOP_NEXT_RIP(s, u) ((s)->gpr[GPR_RIP] + (u)->off + (u)->len)
#define UOP_RIP(s, u) ((s)->gpr[GPR_RIP] + (u)->off)

/* Recompute mode, cpl's TLB table and cached predicates after any change of CR0/4, EFER,
 * EFLAGS.VM/TF/AC, a segment register, DR7, A20. */
void soft_update_mode(struct soft *s);

/* ---- jit_flow.c ----------------------------------------------------------- */
/* Translations were dropped: of every page (but global ones), of the page at @lin. */
void soft_jit_unmap(struct soft *s, bool keep_global);
void soft_jit_unmap_space(struct soft *s, unsigned space);
void soft_jit_switch(struct soft *s, unsigned from, unsigned to);	/* address spaces */
void soft_jit_unmap_page(struct soft *s, uint64_t lin);
/* ---- jit_slot.c ------------------------------------------------------------ */
void soft_slots_init(struct soft *s);
void soft_slots_clear(struct soft *s);
void soft_slots_switch(struct soft *s);		/* all but those of global pages */
void soft_slots_drop_page(struct soft *s, uint64_t lin);
void soft_slots_protect(struct soft *s, const uint8_t *host);	/* a page of the guest's */
/* s->mode changed. */
static inline void soft_jit_new_mode(struct soft *s)
{
	uint32_t m = s->mode;

	s->jit_key = s->jit_keys[(m & MODE_CS64 ? 1 : 0) | (m & MODE_LMA ? 2 : 0) |
				 (m & MODE_CPL3 ? 4 : 0) | (m & MODE_FPU_OFF ? 8 : 0)];
}

/* ---- flags.c ------------------------------------------------------------ */
uint32_t soft_get_eflags(const struct soft *s);		/* complete EFLAGS, bit 1 set */
void soft_set_eflags(struct soft *s, uint32_t fl);	/* raw: no privilege checks, updates mode */
bool soft_cond(const struct soft *s, unsigned cc);	/* Jcc condition 0-15 */
bool soft_cf(const struct soft *s);
uint32_t soft_arith(const struct soft *s);		/* the six arithmetic flags */
static inline void soft_set_arith(struct soft *s, uint32_t fl)	/* replaces all six */
{
	s->cc_op = CC(CC_EFLAGS, 0);
	s->cc_res = fl & FL_ARITH;
}

/* ---- seg.c ------------------------------------------------------------- */
/* Linear address of a memory operand with segment checks; write: for the type check. */
uint64_t soft_seg_lin(struct soft *s, const struct uop *u, unsigned seg, uint64_t ea,
		      unsigned len, bool write);
/* MOV/POP to a data segment register, with all checks and faults. */
void soft_load_seg(struct soft *s, const struct uop *u, unsigned seg, uint16_t sel);
void soft_set_seg_real(struct soft *s, unsigned seg, uint16_t sel);

static inline uint64_t uop_ea(const struct soft *s, const struct uop *u)
{
	uint64_t ea = s->gpr[u->base] + (s->gpr[u->index] << u->scale) + (int64_t)u->disp;

	if (unlikely(u->asize != 8))
		ea &= u->asize == 4 ? 0xffffffffu : 0xffffu;
	return ea;
}

/* Linear address of the memory operand of @u for an access of @len bytes. */
static inline uint64_t uop_lin(struct soft *s, const struct uop *u, unsigned len, bool write)
{
	uint64_t ea = uop_ea(s, u);

	if (likely(u->flags & UOP_FLATSEG))
		return ea;
	if (s->mode & MODE_CS64)
		return ea + s->seg[u->seg].base;
	return soft_seg_lin(s, u, u->seg, ea, len, write);
}

/* ---- mmu.c, tlb.c -------------------------------------------------------- */
/* Slow paths: TLB miss, page crossing, MMIO, code page.  Fault through soft_fault_code(). */
uint64_t soft_ld_slow(struct soft *s, const struct uop *u, uint64_t lin, unsigned size);
void soft_st_slow(struct soft *s, const struct uop *u, uint64_t lin, unsigned size, uint64_t v);
/* Any length up to 4096, both pages checked first.  For SSE, FXSAVE, descriptors. */
void soft_ld_buf(struct soft *s, const struct uop *u, uint64_t lin, void *dst, size_t len);
void soft_st_buf(struct soft *s, const struct uop *u, uint64_t lin, const void *src, size_t len);
/* Fault now if [lin, lin+len) could not be written. */
void soft_probe_write(struct soft *s, const struct uop *u, uint64_t lin, size_t len);
/*
 * Host address of [lin, ...) for direct access, with *len = bytes to the end
 * of the page; NULL if the page is not plain RAM (MMIO, code on write): then
 * use the ld/st functions.  Faults like the access itself.
 */
void *soft_host_ptr(struct soft *s, const struct uop *u, uint64_t lin, bool write, size_t *len);
/* System accesses (descriptor tables, TSS): supervisor rights whatever the CPL. */
uint64_t soft_sys_ld(struct soft *s, const struct uop *u, uint64_t lin, unsigned size);
void soft_sys_st(struct soft *s, const struct uop *u, uint64_t lin, unsigned size, uint64_t v);
/* Translate for instruction fetch; faults; false in *ram: not RAM/ROM (fetch from MMIO). */
void soft_fetch_page(struct soft *s, uint64_t lin, struct gm_page *out, bool *ram);
void soft_tlb_init(struct soft *s);
void soft_tlb_flush(struct soft *s, bool keep_global);
void soft_tlb_flush_page(struct soft *s, uint64_t lin);
/* Address spaces: what a PCID stands for, all but global; one page of it; go to another. */
void soft_tlb_flush_pcid(struct soft *s, unsigned pcid);
void soft_tlb_flush_pcid_page(struct soft *s, unsigned pcid, uint64_t lin);
void soft_tlb_load_pcid(struct soft *s, unsigned pcid, bool keep);
/* cpu_ops.set_a20. */
void soft_set_a20(struct vm *vm, bool pass);
/* CR4.DE: I/O breakpoints. */
void soft_note_io_bp(struct soft *s, unsigned port, unsigned size);
/* After all registers were replaced: load the PDPTEs where PAE paging is in force. */
void soft_mmu_state_loaded(struct soft *s);
/* Drop write tags for a block's page on every vCPU and wait until done (code was found there). */
void soft_protect_code(struct soft *s, struct gm_block *b, uint64_t block_off);
/* Serve VCPU_REQ_TLB; also called while waiting for others. */
void soft_tlb_ack(struct soft *s);
/*
 * run() calls soft_guest_enter() first and soft_guest_leave() before every
 * return.  Between them dev_lock is only taken through these: whoever waits
 * for this vCPU to drop translations must not wait for dev_lock.
 */
void soft_guest_enter(struct soft *s);
void soft_guest_leave(struct soft *s);
void soft_dev_lock(struct soft *s);
void soft_dev_unlock(struct soft *s);
uint64_t soft_bus_read(struct soft *s, enum bus_kind k, uint64_t addr, unsigned size);
void soft_bus_write(struct soft *s, enum bus_kind k, uint64_t addr, unsigned size, uint64_t v);
/* From cpu_ops.vm_init, after gm_code_enable(); v->impl must be the struct soft. */
void soft_mmu_vm_init(struct vm *vm);
/*
 * Host address for a locked read-modify-write, code pages included, so that
 * it stays atomic there; NULL if the access crosses a page, is not plain RAM
 * or meets a breakpoint.  Call soft_rmw_done() after the write.
 */
void *soft_rmw_ptr(struct soft *s, const struct uop *u, uint64_t lin, unsigned size);
void soft_rmw_done(struct soft *s, const struct uop *u, unsigned size);

/* ---- control.c, system.c, msr.c, cpuid.c --------------------------------------------- */
/* System registers as after power-on (init_only: as after INIT); softcpu.c does the rest. */
void soft_sys_reset(struct soft *s, bool init_only);
/* #GP(0) unless IOPL or the TSS bitmap allows it. */
void soft_check_io(struct soft *s, const struct uop *u, unsigned port, unsigned size);
uint64_t soft_rdtsc(const struct soft *s);
uint64_t soft_tsc_hz(void);		/* of the guest's TSC */
bool soft_rdmsr(struct soft *s, uint32_t msr, uint64_t *val);	/* false: #GP */
bool soft_wrmsr(struct soft *s, uint32_t msr, uint64_t val);

#define SOFT_LD(bits, size) \
	static inline uint##bits##_t soft_ld##bits(struct soft *s, const struct uop *u, \
						   uint64_t lin) \
	{ \
		const struct soft_tlbe *e = &s->tlb[lin >> 12 & (TLB_SIZE - 1)]; \
		if (likely(e->tag_r == ((lin + (size)-1) & ~0xfffull))) { \
			uint##bits##_t v; \
			memcpy(&v, (const void *)(uintptr_t)(lin + e->delta), sizeof(v)); \
			return v; \
		} \
		return (uint##bits##_t)soft_ld_slow(s, u, lin, size); \
	} \
	static inline void soft_st##bits(struct soft *s, const struct uop *u, uint64_t lin, \
					 uint##bits##_t v) \
	{ \
		const struct soft_tlbe *e = &s->tlb[lin >> 12 & (TLB_SIZE - 1)]; \
		if (likely(e->tag_w == ((lin + (size)-1) & ~0xfffull))) \
			memcpy((void *)(uintptr_t)(lin + e->delta), &v, sizeof(v)); \
		else \
			soft_st_slow(s, u, lin, size, v); \
	}
SOFT_LD(8, 1) SOFT_LD(16, 2) SOFT_LD(32, 4) SOFT_LD(64, 8)
#undef SOFT_LD

/* ---- general registers --------------------------------------------------- */
/* @off: byte offset into s->gpr (uop.reg, uop.rm; gpr number * 8).  32-bit writes zero-extend. */
static inline uint8_t rd8(const struct soft *s, unsigned off)
{ return ((const uint8_t *)s->gpr)[off]; }
static inline uint16_t rd16(const struct soft *s, unsigned off)
{ return *(const uint16_t *)((const uint8_t *)s->gpr + off); }
static inline uint32_t rd32(const struct soft *s, unsigned off)
{ return *(const uint32_t *)((const uint8_t *)s->gpr + off); }
static inline uint64_t rd64(const struct soft *s, unsigned off)
{ return *(const uint64_t *)((const uint8_t *)s->gpr + off); }
static inline void wr8(struct soft *s, unsigned off, uint8_t v)
{ ((uint8_t *)s->gpr)[off] = v; }
static inline void wr16(struct soft *s, unsigned off, uint16_t v)
{ *(uint16_t *)((uint8_t *)s->gpr + off) = v; }
static inline void wr32(struct soft *s, unsigned off, uint32_t v)
{ *(uint64_t *)((uint8_t *)s->gpr + off) = v; }
static inline void wr64(struct soft *s, unsigned off, uint64_t v)
{ *(uint64_t *)((uint8_t *)s->gpr + off) = v; }
uint64_t soft_rd_gpr(const struct soft *s, unsigned off, unsigned size);	/* zero-extended */
void soft_wr_gpr(struct soft *s, unsigned off, unsigned size, uint64_t v);

/* ---- block.c: code blocks and self-modifying code ------------------------ */
/*
 * A page with decoded code has lines set in its gm_code and no write tag in
 * any TLB.  soft_st_slow() and soft_st_buf(), having stored to such a page
 * (any size, u = the instruction), call soft_code_store(): if a marked line
 * was hit it forgets the page's marks (a write tag may be given again at the
 * next miss), moves the generation on, and cuts the running block after @u,
 * so that the next instruction is fetched anew.  Blocks compare generations
 * at entry, and re-mark and re-protect the page before they run again.
 */
void soft_code_store(struct soft *s, const struct uop *u, struct gm_block *b, uint64_t off,
		     size_t len);
enum vcpu_exit soft_run(struct vcpu *v);
void soft_init_signal(struct soft *s);
void soft_sipi(struct soft *s, uint8_t vector);
bool soft_blocks_init(struct soft *s);
void soft_blocks_free(struct soft *s);
void soft_blocks_flush(struct soft *s);		/* drop everything (set_state, tests) */

/* ---- decode.c ------------------------------------------------------------ */
/*
 * Decode one instruction of @n bytes at @p in @mode.  Returns its length, 0:
 * more bytes needed, negative: -EXC_UD or -EXC_GP (too long).  Offsets
 * (off, branch target, RIP-relative) are as if it were first in its block
 * plus @off.  Needs soft_optable_init().
 */
int soft_decode(const uint8_t *p, size_t n, unsigned mode, unsigned off, struct uop *u);
/* Rows for an opcode in the order of trial, closed by ROW_END. */
#define ROW_END 0xffff
const uint16_t *soft_opcode_rows(unsigned map, uint8_t opcode);
void soft_optable_init(void);	/* idempotent; any thread; after it soft_has_feat() is fixed */

/* ---- optable ------------------------------------------------------------- */
/*
 * Row of the instruction table (optable.def and its family files
 * optable_int.def, optable_bmi.def, optable_sys.def, optable_fpu.def,
 * optable_sse.def, optable_avx.def):
 *
 * The row is the prototype: handlers need no other declaration.  Rows are
 * tried in the order mandatory prefix, exact ModRM, /n, any; a row whose
 * feature is not advertised does not exist (F3 0F BD without LZCNT is BSR).
 * A Z operand (register in the opcode) makes one row stand for 8 opcodes.
 * uop.osize comes from the first operand that is not an immediate.
 *
 *   OP(map, prefix, opcode, ext, "mnemonic", "operands", attr, feat, fin, fout, fundef, handler)
 *
 * map: M1 one-byte, M0F, M38 (0F 38), M3A (0F 3A); V0F, V38, V3A: the same with VEX.
 * prefix: P_ANY (66 is operand size), P_NP, P_66, P_F3, P_F2 (mandatory prefix, SSE; VEX.pp).
 * ext: X_NONE, or X_(n) = ModRM.reg n any mod, X_M(n) memory only, X_R(n) register only,
 *      X_RM(byte) = the exact ModRM byte (x87, 0F 01), X_MEM / X_REG without /n.
 * operands, comma separated, Intel order and SDM vol. 2 appendix A.2 letters:
 *   Eb Ev Ed Eq Ew Ey(32/64) Gb Gv Gw Gy Ib Iw Iz(16/32, sign-extended) Iv Jb Jz
 *   Mb Mw Md Mq Mx(16 bytes) M(address) Rb Rw(r32/m8, r32/m16) Ob Ov Ap Mp Sw Cd Dd
 *   Zv Zb(opcode register) AL AX eAX rAX DX CL 1 Xb Xv Yb Yv(string source, destination)
 *   Vx(xmm reg) Wx(xmm/m128) Wd Wq(xmm/m32, m64) Ux(xmm rm only) Pq Qq(mm, mm/m64) Nq
 *   ST STi m32fp ...
 *   VEX rows: x is the vector length (16 or 32 bytes), h f e its half, fourth and eighth,
 *   o always 16 bytes; Hx Ho (vvvv) By (vvvv, general register) Lx (register in imm8[7:4])
 *   Tx (memory with vector indices; rm is the index register)
 * attr: A_* bits below.  feat: F_* CPUID gate: clear -> #UD.
 * fin/fout/fundef: flags read, written, left undefined (FL_* masks).
 */
enum op_attr {
	A_LOCK = 1 << 0,	/* LOCK allowed with a memory destination */
	A_END = 1 << 1,		/* ends the block (branches, mode changes, may stop) */
	A_D64 = 1 << 2,		/* default 64-bit operand size in 64-bit mode (push, near branch) */
	A_F64 = 1 << 3,		/* forced 64-bit operand size */
	A_NO64 = 1 << 4,	/* #UD in 64-bit mode */
	A_ONLY64 = 1 << 5,
	A_PRIV = 1 << 6,	/* #GP(0) when CPL > 0 */
	A_MODRM = 1 << 7,	/* has ModRM (set by table init from operands/ext) */
	A_FPU = 1 << 8,		/* x87: CR0.EM/TS checks */
	A_SSE = 1 << 9,		/* SSE: CR0.EM, CR4.OSFXSR, TS checks */
	A_MMX = 1 << 10,
	A_REPSTR = 1 << 11,	/* string instruction with REP forms */
	A_NOREAL = 1 << 12,	/* #UD in real and virtual-8086 mode */
	A_NOTEST = 1 << 13,	/* the differential generator skips it (system) */
	A_ALIGN16 = 1 << 14,	/* legacy SSE alignment: #GP(0) when not 16-byte aligned */
	A_COPY_OK = 1 << 15,	/* a translator may copy its bytes */
	A_NO66 = 1 << 16,	/* 66 is ignored */
	A_SERIAL = 1 << 17,
	/* VEX rows.  Neither A_L0, A_L1 nor A_LIG: both vector lengths. */
	A_L0 = 1 << 18,		/* VEX.L must be 0 */
	A_L1 = 1 << 19,		/* VEX.L must be 1 */
	A_LIG = 1 << 20,	/* VEX.L is ignored */
	A_W0 = 1 << 21,		/* VEX.W must be 0 */
	A_W1 = 1 << 22,		/* VEX.W must be 1 */
	A_NOV = 1 << 23,	/* VEX.vvvv must be 1111b */
	A_Y2 = 1 << 24,		/* VEX.L = 1 is AVX2 */
	A_AVX = 1 << 25,	/* CR4.OSXSAVE, XCR0[2:1] and TS checks */
	A_MXCSR = 1 << 26,	/* obeys MXCSR; legacy SSE rows do not say */
	A_ALIGNV = 1 << 27,	/* #GP(0) when the memory operand is not aligned to its size */
	A_GPRW = 1 << 28,	/* W is a general register's width (set by table init) */
	A_IS4 = 1 << 29,	/* fourth register in the immediate (L operand) */
	A_IMM = 1 << 30,	/* VEX vector row with an immediate */
	A_NOAC = 1u << 31,	/* never #AC: masked and gathered elements */
};

enum op_feat {
	F_BASE,
	F_FPU,
	F_MMX,
	F_SSE,
	F_SSE2,
	F_SSE3,
	F_SSSE3,
	F_SSE41,
	F_SSE42,
	F_POPCNT,
	F_AES,
	F_PCLMUL,
	F_CX16,
	F_LAHF64,
	F_RDTSCP,
	F_FSGSBASE,
	F_XSAVE,
	F_XSAVEOPT,
	F_SYSCALL,
	F_CLFSH,
	F_INVPCID,
	F_SMAP,
	F_RDRAND,
	F_RDSEED,
	F_MOVBE,
	F_ADX,
	F_PREFETCHW,
	F_MONITOR,
	F_BMI1,
	F_BMI2,
	F_LZCNT,
	F_AVX,
	F_AVX2,
	F_FMA,
	F_F16C,
	F_VAES,
	F_VPCLMUL,
	F_SHA,
	F_CLFLUSHOPT,
	F_CLWB,
	F_CLZERO,
	F_RDPID,
	F_XSAVEC,
	F_XGETBV1,
	F_NEVER,
	F_COUNT
};

enum { M1, M0F, M38, M3A, V0F, V38, V3A, MAPS };
enum { P_ANY, P_NP, P_66, P_F3, P_F2 };
#define X_NONE (-1)
#define X_(n) (n)
#define X_M(n) (0x10 | (n))
#define X_R(n) (0x20 | (n))
#define X_MEM 0x40
#define X_REG 0x80
#define X_RM(b) (0x100 | (b))

/* Operand as parsed from the row: where it is encoded, how wide it is. */
enum opd_kind {
	K_NONE, K_E, K_G, K_I, K_J, K_M, K_O, K_A, K_S, K_C, K_D, K_Z, K_FIX, K_ONE, K_V, K_W, K_U,
	K_P, K_Q, K_N, K_ST, K_STI, K_X, K_Y, K_R, K_H, K_B, K_L, K_T
};
struct opd {
	uint8_t kind;		/* enum opd_kind */
	char size;		/* b w d q v y z x o h f e p(far pointer) or 0 */
	uint8_t num;		/* K_FIX: register number */
	uint16_t bytes; /* memory operand size if not by size letter (m80fp, m512), else 0 */
};

struct optable_row {
	uint8_t map, prefix, opcode;
	int16_t ext;
	const char *mnem, *operands;
	uint32_t attr;
	uint8_t feat;
	uint32_t fin, fout, fundef;
	uop_fn fn;
};
extern const struct optable_row soft_optable[];
extern const unsigned soft_optable_rows;
/* Parsed at init: up to 4 operands and attr with A_MODRM filled in. */
extern struct optable_info {
	struct opd opd[4];
	uint8_t n;
	uint32_t attr;
} *soft_optable_info;

/* Bytes of memory operand @o of @u, an instruction with VEX. */
unsigned soft_vex_bytes(const struct opd *o, const struct uop *u);

bool soft_has_feat(enum op_feat f);	/* advertised by soft_cpuid() */
void soft_cpuid(struct soft *s, uint32_t leaf, uint32_t sub, uint32_t out[4]);

/* ---- disas.c ------------------------------------------------------------- */
/* One instruction at @bytes (@n available) for code size 16/32/64: text; returns its length, 0 bad.
 */
unsigned soft_disas(const uint8_t *bytes, size_t n, unsigned bits, uint64_t rip, char *out,
		    size_t out_len);

/* ---- fpu.c --------------------------------------------------------------- */
bool soft_fpu_init(struct soft *s);
void soft_fpu_free(struct soft *s);
void soft_fpu_reset(struct soft *s, bool init_only);
/* Bits that XCR0 may have; components not in their initial state (xsave.c). */
uint64_t soft_xcr0_mask(void);
uint64_t soft_xinuse(struct soft *s);
/* Bring s->fx up to date / take it over (FXSAVE image at offset 0). */
void soft_fpu_sync_out(struct soft *s);
void soft_fpu_sync_in(struct soft *s);
/* Give the host its own MXCSR and x87 back: before device code and before leaving run(). */
void soft_fpu_park_slow(struct soft *s);
static inline void soft_fpu_park(struct soft *s)
{
	if (unlikely(s->mx_live || s->fpu_live))
		soft_fpu_park_slow(s);
}

/* Prototypes of all handlers. */
#define OP(map, prefix, opcode, ext, mnem, operands, attr, feat, fin, fout, fundef, handler) \
	const struct uop *handler(struct soft *s, const struct uop *u);
#include "optable.def"
#undef OP

#endif
