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

#include "state.h"

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

#include "optable.h"

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
