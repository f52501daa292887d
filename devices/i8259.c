/* SPDX-License-Identifier: MIT */
/*
 * Two cascaded 8259A interrupt controllers with the edge/level registers of
 * the PIIX3.
 *
 * After: Intel 8259A data sheet (231468-003) and 82371SB (PIIX3) data sheet,
 * section 2.5.5 "Interrupt Controller Registers".  The names ICW/OCW are theirs.
 *
 * Differences: the MCS-80/85 call sequence (ICW4 uPM = 0) is not produced,
 * buffered mode has no meaning here, and ICW1.LTIM is replaced by ELCR as in
 * the PIIX3.  An edge stays latched in IRR when its line falls before INTA
 * (the chip would give a spurious IR7 then): short pulses are not lost.
 * The cascade input follows the slave's INT output as a level.
 */
#include "i8259.h"
#include "../src/vm.h"

#define ICW1_IC4 0x01
#define ICW1_SNGL 0x02
#define ICW1_INIT 0x10
#define ICW4_AEOI 0x02
#define ICW4_SFNM 0x10
#define OCW3_SELECT 0x08
#define CASCADE 2

struct pic {
	uint8_t irr, imr, isr;
	uint8_t lines;		/* input levels */
	uint8_t elcr;		/* 1: level triggered */
	uint8_t vector;		/* ICW2 */
	uint8_t icw3;
	uint8_t top;		/* input that has the highest priority now */
	uint8_t icw_step;	/* ICW expected at the odd port; 0: none (OCW1) */
	bool single, need_icw4;
	bool aeoi, sfnm, rotate_aeoi, special_mask;
	bool read_isr, poll;
};

struct i8259 {
	struct device dev;
	struct pic pic[2];
	struct irq_line intr;			/* immutable after realize */
	struct io_region io[3];
};
DEVICE_CHECK(struct i8259);

static const struct state_field pic_fields[] = {
	STATE_U8(struct pic, irr), STATE_U8(struct pic, imr), STATE_U8(struct pic, isr),
	STATE_U8(struct pic, lines), STATE_U8(struct pic, elcr), STATE_U8(struct pic, vector),
	STATE_U8(struct pic, icw3), STATE_U8(struct pic, top), STATE_U8(struct pic, icw_step),
	STATE_BOOL(struct pic, single), STATE_BOOL(struct pic, need_icw4),
	STATE_BOOL(struct pic, aeoi), STATE_BOOL(struct pic, sfnm),
	STATE_BOOL(struct pic, rotate_aeoi), STATE_BOOL(struct pic, special_mask),
	STATE_BOOL(struct pic, read_isr), STATE_BOOL(struct pic, poll),
	STATE_END
};

static const struct state_field i8259_fields[] = {
	STATE_STRUCTS(struct i8259, pic, pic_fields),
	STATE_END
};

/* Position of the highest-priority set bit of @bits, counted from the top input; 8: none. */
static unsigned pic_rank(const struct pic *p, uint8_t bits)
{
	unsigned i;

	for (i = 0; i < 8; i++)
		if (bits & 1u << ((p->top + i) & 7))
			break;
	return i;
}

/* Input that INT is asserted for, -1: none. */
static int pic_pending(const struct i8259 *s, unsigned n)
{
	const struct pic *p = &s->pic[n];
	uint8_t serving = p->isr;
	unsigned rank = pic_rank(p, p->irr & ~p->imr);

	if (p->special_mask)
		serving &= ~p->imr;
	/* Special fully nested: the master lets the serving slave interrupt again. */
	if (p->sfnm && n == 0)
		serving &= (uint8_t)~(1u << CASCADE);
	if (rank >= pic_rank(p, serving))
		return -1;
	return (p->top + rank) & 7;
}

static void i8259_update(struct i8259 *s)
{
	struct pic *m = &s->pic[0];
	bool slave = !m->single && pic_pending(s, 1) >= 0;

	m->irr &= (uint8_t)~(1u << CASCADE);
	if (slave)
		m->irr |= 1u << CASCADE;
	irq_set(&s->intr, pic_pending(s, 0) >= 0);
}

static void i8259_set_irq(void *sink, unsigned pin, bool level)
{
	struct i8259 *s = sink;
	struct pic *p = &s->pic[pin >> 3 & 1];
	uint8_t bit = (uint8_t)(1u << (pin & 7));

	if (pin == CASCADE)
		return;
	if (level && (p->elcr & bit || !(p->lines & bit)))
		p->irr |= bit;
	else if (!level && p->elcr & bit)
		p->irr &= ~bit;
	p->lines = level ? p->lines | bit : p->lines & ~bit;
	i8259_update(s);
}

static void pic_accept(struct pic *p, unsigned irq)
{
	uint8_t bit = (uint8_t)(1u << irq);

	if (!(p->elcr & bit))
		p->irr &= ~bit;
	if (!p->aeoi)
		p->isr |= bit;
	else if (p->rotate_aeoi)
		p->top = (irq + 1) & 7;
}

int i8259_inta(void *opaque)
{
	struct i8259 *s = opaque;
	int irq = pic_pending(s, 0), vec;

	if (irq < 0)
		return (s->pic[0].vector & 0xf8) | 7;	/* spurious: no ISR bit */
	pic_accept(&s->pic[0], (unsigned)irq);
	vec = (s->pic[0].vector & 0xf8) | irq;
	if (irq == CASCADE && !s->pic[0].single) {
		irq = pic_pending(s, 1);
		if (irq >= 0)
			pic_accept(&s->pic[1], (unsigned)irq);
		vec = (s->pic[1].vector & 0xf8) | (irq < 0 ? 7 : irq);
	}
	i8259_update(s);
	return vec;
}

/* Reading after OCW3 P = 1 acknowledges without a vector (data sheet "Poll Command"). */
static uint8_t pic_poll(struct i8259 *s, unsigned n)
{
	int irq = pic_pending(s, n);

	s->pic[n].poll = false;
	if (irq < 0)
		return 0;
	pic_accept(&s->pic[n], (unsigned)irq);
	i8259_update(s);
	return 0x80 | (uint8_t)irq;
}

static void pic_icw1(struct pic *p, uint8_t val)
{
	p->imr = p->isr = 0;
	p->irr &= p->elcr;	/* edge sense is reset */
	p->top = 0;
	p->special_mask = p->read_isr = p->poll = false;
	p->aeoi = p->sfnm = p->rotate_aeoi = false;
	p->single = val & ICW1_SNGL;
	p->need_icw4 = val & ICW1_IC4;
	p->icw_step = 2;
}

/* @irq was in service (non-specific) or is named by the command. */
static void pic_eoi(struct pic *p, unsigned irq, bool rotate)
{
	p->isr &= (uint8_t)~(1u << irq);
	if (rotate)
		p->top = (irq + 1) & 7;
}

static void pic_ocw2(struct pic *p, uint8_t val)
{
	unsigned cmd = val >> 5, level = val & 7, rank;
	uint8_t serving = p->special_mask ? p->isr & ~p->imr : p->isr;

	switch (cmd) {
	case 0:
	case 4:
		p->rotate_aeoi = cmd == 4;
		break;
	case 1:
	case 5:
		rank = pic_rank(p, serving);
		if (rank < 8)
			pic_eoi(p, (p->top + rank) & 7, cmd == 5);
		break;
	case 3:
	case 7:
		pic_eoi(p, level, cmd == 7);
		break;
	case 6:
		p->top = (level + 1) & 7;
		break;
	}
}

static void pic_ocw3(struct pic *p, uint8_t val)
{
	if (val & 0x40)
		p->special_mask = val & 0x20;
	p->poll = val & 4;
	if (!p->poll && val & 2)
		p->read_isr = val & 1;
}

static void pic_write_odd(struct pic *p, uint8_t val)
{
	switch (p->icw_step) {
	case 2:
		p->vector = val;
		p->icw_step = !p->single ? 3 : p->need_icw4 ? 4 : 0;
		break;
	case 3:
		p->icw3 = val;
		p->icw_step = p->need_icw4 ? 4 : 0;
		break;
	case 4:
		p->aeoi = val & ICW4_AEOI;
		p->sfnm = val & ICW4_SFNM;
		p->icw_step = 0;
		break;
	default:
		p->imr = val;
	}
}

static void i8259_write_chip(struct i8259 *s, unsigned n, uint64_t off, uint8_t val)
{
	struct pic *p = &s->pic[n];

	if (off & 1)
		pic_write_odd(p, val);
	else if (val & ICW1_INIT)
		pic_icw1(p, val);
	else if (val & OCW3_SELECT)
		pic_ocw3(p, val);
	else
		pic_ocw2(p, val);
	i8259_update(s);
}

static uint64_t i8259_read_chip(struct i8259 *s, unsigned n, uint64_t off)
{
	struct pic *p = &s->pic[n];

	if (p->poll)
		return pic_poll(s, n);
	if (off & 1)
		return p->imr;
	return p->read_isr ? p->isr : p->irr;
}

static uint64_t master_read(struct device *d, uint64_t off, unsigned size)
{
	return i8259_read_chip((struct i8259 *)d, 0, off);
}

static void master_write(struct device *d, uint64_t off, unsigned size, uint64_t val)
{
	i8259_write_chip((struct i8259 *)d, 0, off, (uint8_t)val);
}

static uint64_t slave_read(struct device *d, uint64_t off, unsigned size)
{
	return i8259_read_chip((struct i8259 *)d, 1, off);
}

static void slave_write(struct device *d, uint64_t off, unsigned size, uint64_t val)
{
	i8259_write_chip((struct i8259 *)d, 1, off, (uint8_t)val);
}

static uint64_t elcr_read(struct device *d, uint64_t off, unsigned size)
{
	return ((struct i8259 *)d)->pic[off & 1].elcr;
}

/* IRQ 0-2, 8 and 13 are always edge triggered (PIIX3 2.5.5.7). */
static void elcr_write(struct device *d, uint64_t off, unsigned size, uint64_t val)
{
	static const uint8_t writable[2] = { 0xf8, 0xde };
	struct i8259 *s = (struct i8259 *)d;
	struct pic *p = &s->pic[off & 1];

	p->elcr = (uint8_t)val & writable[off & 1];
	p->irr = (p->irr & ~p->elcr) | (p->lines & p->elcr);
	i8259_update(s);
}

static const struct io_ops master_io = { master_read, master_write, 1, 1 };
static const struct io_ops slave_io = { slave_read, slave_write, 1, 1 };
static const struct io_ops elcr_io = { elcr_read, elcr_write, 1, 1 };

static bool i8259_realize(struct device *d, struct err *e)
{
	struct i8259 *s = (struct i8259 *)d;

	s->io[0] = (struct io_region){ .kind = BUS_PIO, .base = 0x20, .len = 2,
		.ops = &master_io, .name = "pic-master" };
	s->io[1] = (struct io_region){ .kind = BUS_PIO, .base = 0xa0, .len = 2,
		.ops = &slave_io, .name = "pic-slave" };
	s->io[2] = (struct io_region){ .kind = BUS_PIO, .base = 0x4d0, .len = 2,
		.ops = &elcr_io, .name = "pic-elcr" };
	for (unsigned i = 0; i < ARRAY_SIZE(s->io); i++)
		if (!dev_add_region(d, &s->io[i], e))
			return false;
	return true;
}

static void i8259_reset(struct device *d)
{
	struct i8259 *s = (struct i8259 *)d;

	for (unsigned n = 0; n < 2; n++) {
		uint8_t lines = s->pic[n].lines;	/* belong to their drivers */

		s->pic[n] = (struct pic){ .lines = lines };
	}
	i8259_update(s);
}

static bool i8259_post_load(struct device *d, struct err *e)
{
	struct i8259 *s = (struct i8259 *)d;

	for (unsigned n = 0; n < 2; n++) {
		s->pic[n].top &= 7;
		if (s->pic[n].icw_step > 4)
			return err_set(e, HV_EXIT_IMAGE, "8259A: no initialisation step %u",
				       s->pic[n].icw_step);
	}
	irq_set(&s->intr, pic_pending(s, 0) >= 0);
	return true;
}

void i8259_set_intr(struct device *d, struct irq_line intr)
{
	((struct i8259 *)d)->intr = intr;
}

struct irq_line i8259_line(struct device *d, unsigned irq)
{
	HV_BUG_ON(irq > 15);
	return (struct irq_line){ .set = i8259_set_irq, .sink = d, .pin = irq };
}

const struct device_ops i8259_ops = {
	.name = "i8259",
	.size = sizeof(struct i8259),
	.realize = i8259_realize,
	.reset = i8259_reset,
	.state = i8259_fields,
	.state_version = 1,
	.post_load = i8259_post_load,
};
