/* SPDX-License-Identifier: MIT */
/*
 * Shared by the files of the lockstep mode; verify.c says how it works.
 * Not for other files.
 */
#ifndef HV_SOFT_VERIFY_INT_H
#define HV_SOFT_VERIFY_INT_H

#include "fpu.h"
#include "jit.h"
#include "sys_int.h"
#include "verify.h"

#define VERIFY_CHAIN 6u
#define MAX_PAGES 64u
#define MAX_LINS 4u
#define MAX_PATCHES 1024u
#define MAX_TAGS 256u

enum verify_phase { VFY_IDLE, VFY_REF, VFY_NATIVE };
enum verify_result { VFY_END, VFY_FAULT, VFY_EFFECT, VFY_TOO_MUCH };

struct vpage {
	uint8_t *host;			/* the guest's page */
	uint8_t *old, *shadow;		/* as it was; for translated code */
	uint64_t lin[MAX_LINS];
	unsigned nlin;
	bool fast;			/* a write tag would be allowed */
	bool table;			/* walked: A and D bits come and go */
	uint64_t mask[64];		/* bytes written by the interpreter */
};

#define SNAP_BYTES offsetof(struct soft, in_guest)

/* Everything that an instruction of a unit can change, memory aside. */
struct snap {
	uint8_t regs[SNAP_BYTES];
	uint8_t fx[sizeof(((struct soft *)0)->fx)];
	struct soft_fpu fpu;
	struct soft_exc exc;
	uint32_t flags;
	uint8_t delivering;
};

struct soft_verify {
	enum verify_phase phase;
	bool failed, stopped, skip;
	enum verify_result ref, native;
	struct snap before, after, got;
	sigjmp_buf outer;
	/* The unit: its blocks, where they start. */
	unsigned n;
	struct block *blk[VERIFY_CHAIN];
	uint64_t rip[VERIFY_CHAIN];
	struct uop *patched;		/* a uop that stops the interpreter */
	uop_fn patched_fn;
	struct vpage page[MAX_PAGES];
	unsigned npages;
	uint8_t *space;			/* of old and shadow */
	struct { struct soft_tlbe *e, was, is; } patch[MAX_PATCHES];
	unsigned npatches;
	struct soft_tlbe *tag[MAX_TAGS];	/* write tags given between units */
	unsigned ntags;
	_Atomic uint32_t no_req;	/* nobody interrupts a unit */
	unsigned turn;
	uint64_t units, blocks, effects, skipped, retries;
};

/* What differs, a line each; n is 0 if nothing does. */
struct verify_report {
	char text[4096];
	size_t n;
};

/* ---- verify_mem.c ---- */
void verify_drop_tags(struct soft *s);	/* write tags given between units */
void verify_take_back(struct soft_verify *v);	/* memory as before the unit */
/* First byte in which the shadow is not as the interpreter left the page; 4096: none. */
unsigned verify_page_differs(const struct vpage *p);
/* The TLB leads translated code to the shadows (@all: by any linear address), and back. */
void verify_shadow_tlb(struct soft *s, bool all);
void verify_restore_tlb(struct soft *s);

/* ---- verify_flags.c ---- */
uint32_t verify_undefined_flags(const struct soft_verify *v);	/* where the unit ended */

/* ---- verify_run.c ---- */
void verify_save(struct soft *s, struct snap *p);
void verify_load(struct soft *s, const struct snap *p);
/* The unit by the interpreter, which finds out how far it goes; by translated code. */
enum verify_result verify_run_ref(struct soft *s);
enum verify_result verify_run_native(struct soft *s);
void verify_do_once(struct soft *s);

/* ---- verify_report.c ---- */
void verify_compare(struct soft_verify *v, struct verify_report *r);
void verify_report(struct soft *s, const struct verify_report *r);

#endif
