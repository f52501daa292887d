/* SPDX-License-Identifier: MIT */
/* Between block.c, block_cross.c and build.c: how blocks of decoded code come to be. */
#ifndef HV_SOFT_BUILD_H
#define HV_SOFT_BUILD_H

#include "jit.h"

#define BUILD_INSNS 32u
#define BUILD_UOPS (BUILD_INSNS * 2 + 3)	/* guards; closing uop; link */

struct builder {
	struct soft *s;
	struct block *b;
	const uint8_t *host;	/* first byte of the block */
	uint32_t mode;
	unsigned nuops, ninsns, bytes;
	bool ended, branch;
	bool single;		/* one instruction, then the run loop */
	bool crossing;		/* one instruction */
};

/* ---- build.c ---- */
/* Decode from @w->host, @avail bytes to the page end.  0 bytes: the first instruction crosses. */
void soft_build_page(struct builder *w, unsigned avail);
void soft_build_finish(struct builder *w);

/* ---- block.c ---- */
extern _Atomic uint32_t soft_never_gen;		/* blocks compare with 0 */
const struct uop *soft_h_cut(struct soft *s, const struct uop *u);	/* leaves the block */
struct block *soft_block_alloc(struct soft *s);
/* Keep a copy of the bytes behind the uops, and the arena up to there. */
void soft_block_commit(struct builder *w, const uint8_t *bytes);
void soft_block_insert(struct soft *s, struct block *b);
void soft_block_kill(struct soft *s, struct block *b);
/* Announce code at [off, off+len) of a page; returns the generation to remember. */
uint32_t soft_mark_code(struct soft *s, struct gm_block *b, uint64_t off, unsigned len);
/* False: another vCPU wrote the page meanwhile. */
bool soft_still_marked(struct gm_block *b, uint64_t off, unsigned len, uint32_t gen);

/* ---- block_cross.c ---- */
/* The instruction at @lin, whose first page is @pg, needs bytes of the next page. */
struct block *soft_cross_build(struct soft *s, uint32_t mode, const struct gm_page *pg,
			       uint64_t lin);
/* @b is first in its chain with these bytes' place; the one whose second page is mapped now. */
struct block *soft_cross_pick(struct soft *s, struct block *b, uint64_t lin);
/* The same without a walk: NULL unless all is fresh. */
struct block *soft_cross_known(struct soft *s, struct block *b, uint64_t lin);
bool soft_cross_fresh(const struct block *b);
bool soft_cross_revive(struct soft *s, struct block *b);

#endif
