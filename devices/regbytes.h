/* SPDX-License-Identifier: MIT */
/*
 * Registers as rows over bytes, for chips whose drivers access parts of a
 * register, or two at once.  A row tells reset value, writable and
 * write-1-to-clear bits, and who hears of a write.
 */
#ifndef HV_REGBYTES_H
#define HV_REGBYTES_H

#include "../src/util.h"

#define REGBYTES_MAX 0x200u
#define REGBYTES_ROWS 128u

struct reg_row {
	uint16_t off;
	uint8_t size;		/* 1..4 */
	uint32_t reset, rw, w1c;
	/* Written, in part or whole; @old: the value before, @unit: of regbytes_add(). */
	void (*wrote)(void *dev, unsigned unit, uint32_t old);
};

struct regbytes {
	uint8_t rw[REGBYTES_MAX], w1c[REGBYTES_MAX];
	struct {
		const struct reg_row *row;
		uint16_t base;
		uint8_t unit;
	} at[REGBYTES_ROWS];
	unsigned n;
};

/* Add @n rows at @base; set-up only. */
void regbytes_add(struct regbytes *m, const struct reg_row *rows, unsigned n, unsigned base,
		  unsigned unit);
/* The rows of one @base to their reset values. */
void regbytes_reset(const struct regbytes *m, uint8_t *regs, unsigned base);
/* [off, off+size) lies inside REGBYTES_MAX. */
uint32_t regbytes_get(const uint8_t *regs, unsigned off, unsigned size);
void regbytes_set(uint8_t *regs, unsigned off, unsigned size, uint32_t val);
/* A guest's write; @dev goes to the rows' wrote(). */
void regbytes_write(const struct regbytes *m, uint8_t *regs, unsigned off, unsigned size,
		    uint32_t val, void *dev);

#endif
