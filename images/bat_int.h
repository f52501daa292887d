/* SPDX-License-Identifier: MIT */
/* Shared by the files of the block allocation tables (bat.h); not for other files. */
#ifndef HV_BAT_INT_H
#define HV_BAT_INT_H

#include "bat.h"

#define SECTOR 512u

/* Nothing but an offset. */
static inline bool bat_plain(uint64_t e)
{
	return e > 511 && !(e & 511);
}

/* ---- bat.c ---- */
int bat_get_page(struct bat *b, uint64_t i, struct bat_page **out);
int bat_flush_pages(struct bat *b);	/* exclusive; data first, then what points to it */

/* ---- bat_read.c ---- */
/* Sectors from @s on, before @max, that are all here or all not. */
uint64_t bat_bit_run(const uint8_t *bits, uint64_t s, uint64_t max, bool *here);
int bat_load_bitmap(struct bat *b, uint64_t block, uint64_t host, uint8_t **bits);
int bat_read_entry(struct bat *b, uint64_t e, uint64_t off, uint64_t len, const struct iovec *iov,
		   unsigned niov, uint64_t iov_off);
/* Bytes from @off that one entry, or adjacent plain ones, serve; shared. */
int bat_run_of(struct bat *b, uint64_t off, uint64_t len, uint64_t *e, uint64_t *n);
int bat_read(struct bat *b, uint64_t off, uint64_t len, const struct iovec *iov, unsigned niov,
	     uint64_t iov_off);

/* ---- bat_write.c ---- */
int bat_write(struct bat *b, uint64_t off, uint64_t len, const struct iovec *iov, unsigned niov,
	      uint64_t iov_off);
int bat_zero(struct bat *b, uint64_t off, uint64_t len, bool discard);

#endif
