/* SPDX-License-Identifier: MIT */
/* Parallel flash with firmware variables; wiring for the board. */
#ifndef HV_PFLASH_H
#define HV_PFLASH_H

#include "../src/device.h"

struct block;

#define PFLASH_ERASE_BLOCK 4096u

extern const struct device_ops pflash_ops;

/*
 * Before realize: @len bytes at guest address @at (multiples of the erase
 * block).  @file holds the contents and is written behind the guest's back
 * whenever it leaves programming mode; NULL: contents live as long as the
 * machine and start erased.
 */
void pflash_wire(struct device *d, gpa_t at, uint64_t len, struct block *file);

#endif
