/* SPDX-License-Identifier: MIT */
/* The lockstep mode (--engine soft,verify), as the rest of the software CPU sees it; verify.c. */
#ifndef HV_SOFT_VERIFY_H
#define HV_SOFT_VERIFY_H

#include "soft.h"

struct block;
struct soft_verify;

bool soft_verify_vm_init(struct vm *vm);
void soft_verify_vm_free(struct vm *vm);
bool soft_verify_init(struct soft *s);
void soft_verify_free(struct soft *s);
/* In place of entering the translated code of s->cur. */
const struct uop *soft_verify_unit(struct soft *s);
/* A difference was found: the machine stops. */
bool soft_verify_failed(const struct soft *s);

/* Memory, see tlb.c.  A write or read of a page was translated; true: @pg is now a shadow. */
bool soft_verify_access(struct soft *s, uint64_t lin, bool write, struct gm_page *pg);
/* A write tag for @e is wanted. */
bool soft_verify_tag(struct soft *s, struct soft_tlbe *e);
/* The rest of the page at @host from @off may be written directly. */
bool soft_verify_span(struct soft *s, const uint8_t *host, size_t off);
/* [off, off + len) of the page at @host was written. */
void soft_verify_stored(struct soft *s, const uint8_t *host, size_t off, size_t len);
/* A page walk reads @pg. */
void soft_verify_walk(struct soft *s, struct gm_page *pg);
/* Something is about to happen that cannot be done twice. */
void soft_verify_effect(struct soft *s);

/* Only one vCPU executes at a time. */
void soft_verify_lock(struct soft *s);
void soft_verify_unlock(struct soft *s);
void soft_verify_turn(struct soft *s);	/* let others have a go now and then */

/*
 * Translation: true if the block must end in front of @u, which is not
 * repeatable or reads flags that are undefined (@undef, kept up to date).
 */
bool soft_verify_stops(const struct uop *u, bool callout, uint32_t *undef);
void soft_verify_translated(struct block *b);

#endif
