/* SPDX-License-Identifier: MIT */
/*
 * Architectural state of one x86-64 processor, as both engines exchange it
 * (Intel SDM vol. 1 ch. 3, vol. 3 ch. 2).  Values only: no host pointers.
 */
#ifndef HV_X86_STATE_H
#define HV_X86_STATE_H

#include <stdint.h>
#include <stdbool.h>

enum { R_RAX, R_RCX, R_RDX, R_RBX, R_RSP, R_RBP, R_RSI, R_RDI,
       R_R8, R_R9, R_R10, R_R11, R_R12, R_R13, R_R14, R_R15 };
enum { SEG_ES, SEG_CS, SEG_SS, SEG_DS, SEG_FS, SEG_GS, SEG_NUM };

/* Segment register with its descriptor cache.  attr: bits 0-7 access byte, 12-15 G/D/L/AVL
 * as in descriptor bits 52-55 (AVL=12, L=13, DB=14, G=15); bit 16: unusable. */
struct x86_seg {
	uint64_t base;
	uint32_t limit;		/* in bytes, already scaled */
	uint32_t attr;
	uint16_t sel;
	uint16_t pad[3];
};

struct x86_dtable { uint64_t base; uint16_t limit; uint16_t pad[3]; };

enum x86_mp { MP_RUNNABLE, MP_HALTED, MP_WAIT_SIPI };

struct x86_state {
	uint64_t gpr[16], rip, rflags;
	struct x86_seg seg[SEG_NUM], ldt, tr;
	struct x86_dtable gdt, idt;
	uint64_t cr0, cr2, cr3, cr4, cr8, efer, xcr0;
	uint64_t dr[8];
	uint64_t star, lstar, cstar, sfmask, kernel_gs_base;
	uint64_t sysenter_cs, sysenter_esp, sysenter_eip;
	uint64_t pat, apic_base, misc_enable, tsc, tsc_aux, tsc_adjust, tsc_deadline;
	uint64_t pv_time;	/* KVM's MSR 4b564d01 */
	uint64_t mtrr_def, mtrr_fix[11], mtrr_var[16];
	uint8_t xsave[832];	/* standard-format XSAVE area: legacy 512 + header 64 + AVX 256 */
	uint32_t mp_state;	/* enum x86_mp */
	uint8_t nmi_blocked, nmi_pending, intr_shadow, exc_pending, exc_vector, exc_has_code;
	uint32_t exc_code;
	/* System management mode; zero where the engine has none. */
	uint32_t smbase;
	uint8_t smm, smi_pending, init_pending;	/* INIT waits for RSM */
};

#endif
