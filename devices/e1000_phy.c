/* SPDX-License-Identifier: MIT */
/*
 * 82540EM: the serial EEPROM (Intel 317453-006 chapter 5; Microwire, 64 words,
 * by EERD or bit by bit through EECD) and the M88E1000 PHY by MDIC (13.4.3,
 * IEEE 802.3 clause 22 registers).  The link is always up at 1000 Mb/s.
 *
 * Left out: writing the EEPROM (refused as by its write protection).
 */
#include "e1000_int.h"

/* ---- PHY ---- */

#define MDIC_READY 0x10000000u
#define MDIC_ERROR 0x40000000u
#define MDIC_INT 0x20000000u

/* Power-on values; the partner can do all up to 1000BASE-T full duplex. */
void e1000_phy_reset(struct e1000 *s)
{
	static const struct { uint8_t reg; uint16_t val; } rows[] = {
		{ 0, 0x1140 },	/* autonegotiate, full duplex, 1000 */
		{ 1, 0x796d },	/* abilities, autonegotiation done, link */
		{ 2, 0x0141 }, { 3, 0x0c20 },	/* M88E1000 */
		{ 4, 0x0de1 }, { 5, 0xc1e1 }, { 6, 0x000f },
		{ 9, 0x0e00 }, { 10, 0x7c00 }, { 15, 0x3000 },
		{ 16, 0x0360 }, { 17, 0xac08 },	/* 1000, full, resolved, link */
		{ 20, 0x0d60 },
	};

	memset(s->phy, 0, sizeof(s->phy));
	for (unsigned i = 0; i < ARRAY_SIZE(rows); i++)
		s->phy[rows[i].reg] = rows[i].val;
}

static void phy_write(struct e1000 *s, unsigned reg, uint16_t val)
{
	static const uint32_t writable = 1u << 0 | 1u << 4 | 1u << 7 | 1u << 9 | 1u << 16 |
					 1u << 18 | 1u << 20 | 1u << 29 | 1u << 30 | 1u << 31;

	if (!(writable >> reg & 1))
		return;
	if (reg == 0) {
		bool restart = val & 0x0200;

		if (val & 0x8000)
			e1000_phy_reset(s);
		else
			s->phy[0] = val & ~0x0200;
		if (restart)	/* negotiation ends at once */
			e1000_interrupt(s, ICR_LSC);
		return;
	}
	s->phy[reg] = val;
}

void e1000_mdic(struct e1000 *s, uint32_t val)
{
	unsigned phy = val >> 21 & 31, reg = val >> 16 & 31, op = val >> 26 & 3;
	uint32_t *mdic = e1000_reg(s, R_MDIC);

	*mdic = (val & 0x2fffffff) | MDIC_READY;
	if (phy != 1 || (op != 1 && op != 2))
		*mdic |= MDIC_ERROR;
	else if (op == 1)
		phy_write(s, reg, val);
	else
		*mdic = (*mdic & ~0xffffu) | s->phy[reg];
	if (val & MDIC_INT)
		e1000_interrupt(s, ICR_MDAC);
}

/* ---- EEPROM ---- */

/* 5.6: words 0-2 the address, 3Fh makes the sum BABAh. */
void e1000_eeprom_fill(struct e1000 *s)
{
	static const struct { uint8_t word; uint16_t val; } rows[] = {
		{ 3, 0x0000 }, { 4, 0xffff }, { 5, 0xffff }, { 8, 0x1000 }, { 9, 0x0001 },
		{ 10, 0x4408 }, { 11, 0x001e }, { 12, 0x8086 }, { 13, 0x100e }, { 14, 0x8086 },
		{ 15, 0x3040 }, { 16, 0x0008 }, { 17, 0x2000 }, { 18, 0x7e14 }, { 19, 0x0048 },
		{ 20, 0x1000 }, { 21, 0x00d8 }, { 23, 0x2700 }, { 24, 0x6cc9 }, { 25, 0x3150 },
		{ 26, 0x0722 }, { 27, 0x040b }, { 28, 0x0984 }, { 30, 0xc000 }, { 31, 0x0706 },
	};
	uint16_t sum = 0;

	memset(s->eeprom, 0, sizeof(s->eeprom));
	for (unsigned i = 0; i < 3; i++)
		s->eeprom[i] = ld_le16(s->mac + 2 * i);
	for (unsigned i = 0; i < ARRAY_SIZE(rows); i++)
		s->eeprom[rows[i].word] = rows[i].val;
	for (unsigned i = 0; i < 63; i++)
		sum += s->eeprom[i];
	s->eeprom[63] = 0xbaba - sum;
}

/* 13.4.4 */
void e1000_eerd(struct e1000 *s, uint32_t val)
{
	unsigned word = val >> 8 & 0xff;

	if (!(val & 1)) {
		*e1000_reg(s, R_EERD) = val;
		return;
	}
	*e1000_reg(s, R_EERD) = (uint32_t)(word < 64 ? s->eeprom[word] : 0xffff) << 16 |
				(val & 0xff00) | 0x10;
}

#define EECD_SK 0x01u
#define EECD_CS 0x02u
#define EECD_DI 0x04u
#define EECD_DO 0x08u
#define EECD_REQ 0x40u
#define EECD_GNT 0x80u
#define EECD_PRES 0x100u
#define EE_COMMAND_BITS 9u	/* start, two of opcode, six of address */
#define EE_READ 6u

uint32_t e1000_eecd_read(struct e1000 *s)
{
	uint32_t v = *e1000_reg(s, R_EECD) & (EECD_SK | EECD_CS | EECD_DI | EECD_REQ);

	if (v & EECD_REQ)
		v |= EECD_GNT;
	if (!s->ee_nout || s->ee_out >> (s->ee_nout - 1) & 1)
		v |= EECD_DO;	/* idle: ready */
	return v | EECD_PRES;
}

/* One rising edge of the clock: a bit in, or the next bit out. */
static void ee_clock(struct e1000 *s, bool bit)
{
	if (s->ee_nout > 1) {
		s->ee_nout--;
		return;
	}
	if (s->ee_nout == 1) {		/* sequential read goes on behind the last bit */
		s->ee_nout = 0;
		return;
	}
	if (!s->ee_nin && !bit)		/* before the start bit */
		return;
	s->ee_in = s->ee_in << 1 | bit;
	if (++s->ee_nin < EE_COMMAND_BITS)
		return;
	if (s->ee_in >> 6 == EE_READ) {
		s->ee_out = s->eeprom[s->ee_in & 63];	/* a zero bit comes first */
		s->ee_nout = 17;
	}
	s->ee_in = s->ee_nin = 0;
}

void e1000_eecd_write(struct e1000 *s, uint32_t val)
{
	bool clock = val & EECD_SK;

	*e1000_reg(s, R_EECD) = val & (EECD_SK | EECD_CS | EECD_DI | EECD_REQ);
	if (!(val & EECD_CS))
		s->ee_in = s->ee_out = s->ee_nin = s->ee_nout = 0;
	else if (clock && !s->ee_clock)
		ee_clock(s, val & EECD_DI);
	s->ee_clock = clock;
}
