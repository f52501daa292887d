/* SPDX-License-Identifier: MIT */
/* What tlb.c and tlb_access.c share: one page's translation. */
#ifndef HV_SOFT_TLB_INT_H
#define HV_SOFT_TLB_INT_H

#include "sys_int.h"

struct xlat {
	struct gm_page pg;
	uint64_t phys;
	bool ram;
};

/* Every access must be looked at (#AC, data breakpoints): the table in force is never filled. */
bool soft_tlb_watched(const struct soft *s);
bool soft_data_bp_armed(const struct soft *s);
bool soft_is_apic_page(struct soft *s, uint64_t phys);
bool soft_align_checked(const struct soft *s);
/* The kernel's table for accesses with supervisor rights whatever the CPL. */
unsigned soft_sys_table(const struct soft *s);
HV_NORETURN void soft_fault_noncanonical(struct soft *s, const struct uop *u);
/* Walks and fills @table; faults. */
void soft_translate(struct soft *s, const struct uop *u, uint64_t lin, enum soft_access acc,
		    unsigned table, struct xlat *x);

#endif
