/* SPDX-License-Identifier: MIT */
/*
 * Shared by the system half of the software CPU: paging, segmentation,
 * exceptions, far transfers, system instructions.  Not for other files.
 */
#ifndef HV_SOFT_SYS_INT_H
#define HV_SOFT_SYS_INT_H

#include "soft.h"

/* pvclock.c: writes of the MSRs; the guest set its TSC. */
void soft_pvclock_set(struct soft *s, uint64_t val);
void soft_pvclock_wall(struct soft *s, uint64_t at);
void soft_pvclock_update(struct soft *s);

#define CR0_PE 0x1ull
#define CR0_MP 0x2ull
#define CR0_EM 0x4ull
#define CR0_TS 0x8ull
#define CR0_ET 0x10ull
#define CR0_NE 0x20ull
#define CR0_WP 0x10000ull
#define CR0_AM 0x40000ull
#define CR0_NW 0x20000000ull
#define CR0_CD 0x40000000ull
#define CR0_PG 0x80000000ull

#define CR4_VME 0x1ull
#define CR4_PVI 0x2ull
#define CR4_TSD 0x4ull
#define CR4_DE 0x8ull
#define CR4_PSE 0x10ull
#define CR4_PAE 0x20ull
#define CR4_MCE 0x40ull
#define CR4_PGE 0x80ull
#define CR4_PCE 0x100ull
#define CR4_OSFXSR 0x200ull
#define CR4_OSXMMEXCPT 0x400ull
#define CR4_FSGSBASE 0x10000ull
#define CR4_PCIDE 0x20000ull
#define CR4_OSXSAVE 0x40000ull
#define CR4_SMEP 0x100000ull
#define CR4_SMAP 0x200000ull

#define EFER_SCE 0x1ull
#define EFER_LME 0x100ull
#define EFER_LMA 0x400ull
#define EFER_NXE 0x800ull
#define EFER_AIBRSE 0x200000ull	/* APM vol. 2, 3.1.7 */

#define DR6_BS 0x4000u
#define DR6_BD 0x2000u
#define DR6_BT 0x8000u
#define DR6_FIXED 0xffff0ff0u
#define DR7_GD 0x2000u

/* struct x86_seg attr */
#define SA_TYPE 0xfu
#define SA_ACCESSED 0x1u
#define SA_RW 0x2u		/* data: writable, code: readable */
#define SA_DC 0x4u		/* data: expand down, code: conforming */
#define SA_CODE 0x8u
#define SA_S 0x10u
#define SA_DPL_SHIFT 5
#define SA_P 0x80u
#define SA_L 0x2000u
#define SA_DB 0x4000u
#define SA_G 0x8000u
#define SA_UNUSABLE 0x10000u
#define SA_DPL(attr) ((attr) >> SA_DPL_SHIFT & 3)

/* EFLAGS bits that exist. */
#define FL_DEFINED (FL_ARITH | FL_TF | FL_IF | FL_DF | FL_IOPL | FL_NT | FL_RF | FL_VM | FL_AC | \
		    FL_VIF | FL_VIP | FL_ID)

#define PHYS_BITS 40
#define PHYS_MASK ((1ull << PHYS_BITS) - 1)

static inline bool canonical(uint64_t lin)
{
	return (uint64_t)((int64_t)(lin << 16) >> 16) == lin;
}

static inline bool soft_pe(const struct soft *s) { return s->cr0 & CR0_PE; }
static inline bool soft_v86(const struct soft *s) { return s->eflags & FL_VM; }
static inline bool soft_lma(const struct soft *s) { return s->efer & EFER_LMA; }
static inline unsigned soft_iopl(const struct soft *s) { return s->eflags >> 12 & 3; }

/* ---- smm.c ---- */
/* Enter system management mode; s->rip is the next instruction. */
void soft_smi(struct soft *s);

/* Memory as this processor sees it; @code: a fetch. */
static inline bool soft_phys_page(struct soft *s, uint64_t phys, bool code, struct gm_page *out)
{
	if (unlikely(s->smm))
		return gm_lookup_smm(s->vcpu->vm->mem, phys, code, out);
	return gm_lookup(s->vcpu->vm->mem, phys, out);
}

/* ---- mmu.c ---- */
enum soft_access { ACC_R, ACC_W, ACC_X };

struct soft_walk {
	uint64_t phys;
	uint64_t perm; /* PTE_RW, PTE_US (all levels and-ed), PTE_NX (or-ed), PTE_D of the leaf */
	bool global, large;	/* large: the leaf maps more than 4 KiB */
};
#define PTE_P 0x1ull
#define PTE_RW 0x2ull
#define PTE_US 0x4ull
#define PTE_A 0x20ull
#define PTE_D 0x40ull
#define PTE_PS 0x80ull
#define PTE_G 0x100ull
#define PTE_NX (1ull << 63)

/* false: page fault with *code.  @table says with whose rights. */
bool soft_mmu_walk(struct soft *s, uint64_t lin, enum soft_access acc, unsigned table,
		   struct soft_walk *w, uint32_t *code);
/* May a page with these rights be accessed that way? */
bool soft_mmu_allowed(const struct soft *s, uint64_t perm, enum soft_access acc, unsigned table);
/* PAE: load the four PDPTEs from @cr3; false: reserved bits. */
bool soft_mmu_load_pdptes(struct soft *s, uint64_t cr3);
uint64_t soft_mmu_read_phys(struct soft *s, uint64_t phys, unsigned size);

/* ---- tlb.c ---- */
void soft_sys_probe_write(struct soft *s, const struct uop *u, uint64_t lin, unsigned len);
void soft_tlb_select(struct soft *s);	/* point s->tlb to the table in force */
/* Explicit accesses with the rights of the privilege level about to be entered. */
uint64_t soft_ld_as(struct soft *s, const struct uop *u, uint64_t lin, unsigned size, bool user);
void soft_st_as(struct soft *s, const struct uop *u, uint64_t lin, unsigned size, uint64_t v,
		bool user);
unsigned soft_tlb_table(const struct soft *s);	/* of explicit accesses now */

/* ---- seg.c ---- */
struct desc {
	uint64_t raw, hi;	/* hi: second half of a 16-byte system descriptor */
	uint64_t lin;		/* where it was read */
};
static inline uint64_t desc_base(const struct desc *d)
{
	return (d->raw >> 16 & 0xffffff) | (d->raw >> 56 << 24);
}
static inline uint32_t desc_attr(const struct desc *d)
{
	return (d->raw >> 40 & 0xff) | (uint32_t)(d->raw >> 52 & 0xf) << 12;
}
static inline uint32_t desc_limit(const struct desc *d)
{
	uint32_t l = (d->raw & 0xffff) | (uint32_t)(d->raw >> 48 & 0xf) << 16;

	return desc_attr(d) & SA_G ? l << 12 | 0xfff : l;
}
static inline unsigned desc_dpl(const struct desc *d) { return d->raw >> 45 & 3; }
static inline bool desc_present(const struct desc *d) { return d->raw >> 47 & 1; }
static inline unsigned desc_type(const struct desc *d) { return d->raw >> 40 & 0xf; }
static inline bool desc_is_seg(const struct desc *d) { return d->raw >> 44 & 1; }
static inline bool desc_is_code(const struct desc *d)
{
	return (d->raw >> 43 & 3) == 3;
}
/* False when the selector points outside its table. */
bool soft_desc_read(struct soft *s, const struct uop *u, uint16_t sel, struct desc *d);
/* The same with @vector(sel) as fault. */
void soft_desc_get(struct soft *s, const struct uop *u, uint16_t sel, unsigned vector,
		   struct desc *d);
void soft_desc_get_hi(struct soft *s, const struct uop *u, uint16_t sel, unsigned vector,
		      struct desc *d);
void soft_desc_set_accessed(struct soft *s, const struct uop *u, struct desc *d);
void soft_seg_from_desc(struct x86_seg *sg, uint16_t sel, const struct desc *d);
void soft_seg_null(struct x86_seg *sg, uint16_t sel);
/* Checks of an SS load at privilege @cpl; faults with @vec_bad (#GP, #TS). */
void soft_check_ss(struct soft *s, const struct uop *u, uint16_t sel, unsigned cpl,
		   unsigned vec_bad, unsigned vec_np, struct desc *d);
/* Null data segments that a return to an outer level may not keep. */
void soft_drop_segs(struct soft *s);
/* Offset check against a code segment about to be loaded; #GP(0). */
void soft_check_target(struct soft *s, const struct uop *u, const struct x86_seg *cs,
		       uint64_t *rip);

/* A stack under construction: pushes and pops that touch no register until committed. */
struct stk {
	uint64_t sp, base, mask;
	uint32_t limit, attr;
	bool flat, user;	/* 64-bit; with CPL 3 rights */
};
void stk_current(const struct soft *s, struct stk *k);
void stk_from_seg(const struct soft *s, struct stk *k, const struct x86_seg *ss, uint64_t sp,
		  unsigned cpl);
/* @ss_code: error code of #SS. */
void stk_push(struct soft *s, const struct uop *u, struct stk *k, uint64_t v, unsigned size,
	      uint32_t ss_code);
uint64_t stk_pop(struct soft *s, const struct uop *u, struct stk *k, unsigned size);
void stk_commit(struct soft *s, const struct stk *k);

/* ---- excp.c ---- */
/* Interrupt delivery on behalf of instruction @u (INT n, INT3, INTO, INT1), rip at @u. */
enum soft_int_kind { INT_N, INT_3, INT_1 };	/* INT_3: also INTO; INT_1: no gate DPL check */
void soft_int(struct soft *s, const struct uop *u, unsigned vector, enum soft_int_kind kind);
/* A fault's error code: selector and EXT as the event being delivered demands. */
static inline uint32_t ext_code(const struct soft *s, uint16_t sel)
{
	return (sel & ~3u) | (s->delivering && s->exc.ext ? 1 : 0);
}
void soft_db_trap(struct soft *s, uint32_t dr6_bits);

/* ---- task.c ---- */
enum task_why { TASK_JMP, TASK_CALL, TASK_INT, TASK_IRET };
/* @u: see soft_fault(); @next_rip is saved in the old TSS.  Leaves rip set. */
void soft_task_switch(struct soft *s, const struct uop *u, uint16_t sel, const struct desc *d,
		      enum task_why why, uint64_t next_rip, bool has_code, uint32_t code);
/* SS:ESP for level @pl from the current TSS. */
void soft_tss_stack(struct soft *s, const struct uop *u, unsigned pl, uint16_t *ss, uint64_t *sp);

/* ---- control.c ---- */
bool soft_set_cr0(struct soft *s, uint64_t v);	/* false: #GP(0) */
bool soft_set_cr3(struct soft *s, uint64_t v);
bool soft_set_cr4(struct soft *s, uint64_t v);
bool soft_set_efer(struct soft *s, uint64_t v);

/* End of a handler that changed what the decoder depends on. */
static inline const struct uop *uop_leave(struct soft *s, const struct uop *u)
{
	s->rip = UOP_NEXT_RIP(s, u);
	if (!(s->mode & MODE_CS64))
		s->rip &= 0xffffffffu;
	return NULL;
}

static inline uint64_t gpr_get(const struct soft *s, unsigned off, unsigned size)
{
	const uint8_t *p = (const uint8_t *)s->gpr + off;

	return size == 8 ? ld_le64(p) : size == 4 ? ld_le32(p) : size == 2 ? ld_le16(p) : *p;
}

static inline void gpr_set(struct soft *s, unsigned off, unsigned size, uint64_t v)
{
	uint8_t *p = (uint8_t *)s->gpr + off;

	if (size >= 4)		/* 32-bit results clear the upper half */
		st_le64(p, size == 8 ? v : (uint32_t)v);
	else if (size == 2)
		st_le16(p, (uint16_t)v);
	else
		*p = (uint8_t)v;
}

/* Of a control or debug register's operand. */
static inline unsigned soft_native_size(const struct soft *s)
{
	return s->mode & MODE_CS64 ? 8 : 4;
}

static inline HV_NORETURN void soft_gp0(struct soft *s, const struct uop *u)
{
	soft_fault_code(s, u, EXC_GP, 0);
}

/* A 16-bit operand in a register or in memory. */
static inline uint16_t uop_ld_ew(struct soft *s, const struct uop *u)
{
	return u->flags & UOP_MOD3 ? rd16(s, u->rm) : soft_ld16(s, u, uop_lin(s, u, 2, false));
}

/* SLDT, STR, SMSW: register as wide as the operand, memory always 16 bits. */
static inline const struct uop *uop_st_word(struct soft *s, const struct uop *u, uint64_t v)
{
	if (u->flags & UOP_MOD3)
		gpr_set(s, u->rm, u->osize, v);
	else
		soft_st16(s, u, uop_lin(s, u, 2, true), (uint16_t)v);
	return u + 1;
}

/* Wrap a linear address outside long mode. */
static inline uint64_t lin_wrap(const struct soft *s, uint64_t lin)
{
	return soft_lma(s) ? lin : lin & 0xffffffffu;
}

#endif
