/* SPDX-License-Identifier: MIT */
/* Registers as rows over bytes; see regbytes.h. */
#include "regbytes.h"

uint32_t regbytes_get(const uint8_t *regs, unsigned off, unsigned size)
{
	uint32_t v = 0;

	HV_BUG_ON(size > 4 || !range_ok(off, size, REGBYTES_MAX));
	for (unsigned i = 0; i < size; i++)
		v |= (uint32_t)regs[off + i] << 8 * i;
	return v;
}

void regbytes_set(uint8_t *regs, unsigned off, unsigned size, uint32_t val)
{
	HV_BUG_ON(size > 4 || !range_ok(off, size, REGBYTES_MAX));
	for (unsigned i = 0; i < size; i++)
		regs[off + i] = (uint8_t)(val >> 8 * i);
}

void regbytes_add(struct regbytes *m, const struct reg_row *rows, unsigned n, unsigned base,
		  unsigned unit)
{
	for (unsigned i = 0; i < n; i++) {
		HV_BUG_ON(m->n == REGBYTES_ROWS);
		regbytes_set(m->rw, base + rows[i].off, rows[i].size, rows[i].rw);
		regbytes_set(m->w1c, base + rows[i].off, rows[i].size, rows[i].w1c);
		m->at[m->n].row = &rows[i];
		m->at[m->n].base = (uint16_t)base;
		m->at[m->n++].unit = (uint8_t)unit;
	}
}

void regbytes_reset(const struct regbytes *m, uint8_t *regs, unsigned base)
{
	for (unsigned i = 0; i < m->n; i++)
		if (m->at[i].base == base)
			regbytes_set(regs, base + m->at[i].row->off, m->at[i].row->size,
				     m->at[i].row->reset);
}

static void write_byte(const struct regbytes *m, uint8_t *regs, unsigned i, uint8_t val)
{
	uint8_t v = (uint8_t)((regs[i] & ~m->rw[i]) | (val & m->rw[i]));

	regs[i] = (uint8_t)(v & ~(val & m->w1c[i]));
}

void regbytes_write(const struct regbytes *m, uint8_t *regs, unsigned off, unsigned size,
		    uint32_t val, void *dev)
{
	uint8_t before[REGBYTES_MAX];

	HV_BUG_ON(size > 4 || !range_ok(off, size, REGBYTES_MAX));
	memcpy(before, regs, sizeof(before));
	for (unsigned i = 0; i < size; i++)
		write_byte(m, regs, off + i, (uint8_t)(val >> 8 * i));
	for (unsigned i = 0; i < m->n; i++) {
		const struct reg_row *r = m->at[i].row;
		unsigned at = m->at[i].base + r->off;

		if (r->wrote && at < off + size && off < at + r->size)
			r->wrote(dev, m->at[i].unit, regbytes_get(before, at, r->size));
	}
}
