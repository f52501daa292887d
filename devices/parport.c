/* SPDX-License-Identifier: MIT */
/*
 * Parallel port, bidirectional and with EPP registers (IBM PS/2 Technical
 * Reference, "Parallel Port Controller"; PC87332 data sheet, section 4), and
 * a printer at its end whose paper is a character back end (Centronics
 * handshake as in IEEE 1284-1994, compatibility mode).
 *
 * The printer takes a byte with the strobe and acknowledges at once; it is
 * busy while its back end is full.  It knows no EPP: those cycles time out,
 * which is how drivers find that the port has them.  The interrupt line stays
 * up until the next byte: the 8259 forgets what falls before it is
 * acknowledged.
 *
 * Left out: ECP.
 */
#include "parport.h"
#include "../src/chardev.h"

#define ST_NBUSY 0x80
#define ST_NACK 0x40
#define ST_SELECT 0x10
#define ST_NERROR 0x08
#define ST_ONES 0x06		/* not connected */
#define ST_TIMEOUT 0x01		/* of an EPP cycle */

#define CTL_STROBE 0x01
#define CTL_NINIT 0x04
#define CTL_IRQ 0x10
#define CTL_INPUT 0x20
#define CTL_ONES 0xc0

#define EPP_FIRST 3

struct parport {
	struct device dev;
	uint8_t data, control;
	bool timeout, acked;
	/* immutable after realize */
	struct irq_line irq;
	struct chardev *chr;
	struct io_region io;
};
DEVICE_CHECK(struct parport);

static const struct state_field parport_fields[] = {
	STATE_U8(struct parport, data), STATE_U8(struct parport, control),
	STATE_BOOL(struct parport, timeout), STATE_BOOL(struct parport, acked),
	STATE_END
};

static void update_irq(struct parport *s)
{
	irq_set(&s->irq, s->acked && s->control & CTL_IRQ);
}

static uint8_t status(const struct parport *s)
{
	uint8_t v = ST_ONES | (s->timeout ? ST_TIMEOUT : 0);

	if (!s->chr)			/* open inputs */
		return v | ST_NBUSY | ST_NACK | ST_NERROR;
	if (chardev_room(s->chr))
		v |= ST_NBUSY;
	if (chardev_connected(s->chr))
		v |= ST_SELECT | ST_NERROR;
	return v | ST_NACK;
}

/* The leading edge of the strobe; a printer being initialized takes nothing. */
static void strobe(struct parport *s)
{
	if (!s->chr || !(s->control & CTL_NINIT) || !chardev_room(s->chr))
		return;
	chardev_write(s->chr, &s->data, 1);
	s->acked = false;
	update_irq(s);
	s->acked = true;
}

static void control_write(struct parport *s, uint8_t v)
{
	uint8_t old = s->control;

	s->control = v & 0x3f;
	if (v & ~old & CTL_STROBE)
		strobe(s);
	if (!(v & CTL_IRQ))
		s->acked = false;
	update_irq(s);
}

static uint64_t parport_read(struct device *d, uint64_t off, unsigned size)
{
	struct parport *s = (struct parport *)d;

	switch (off) {
	case 0:
		return s->control & CTL_INPUT ? 0xff : s->data;
	case 1:
		return status(s);
	case 2:
		return s->control | CTL_ONES;
	default:
		s->timeout = true;
		return 0xff;
	}
}

static void parport_write(struct device *d, uint64_t off, unsigned size, uint64_t val)
{
	struct parport *s = (struct parport *)d;

	if (off == 0)
		s->data = (uint8_t)val;
	else if (off == 1)
		s->timeout = s->timeout && !(val & ST_TIMEOUT);	/* written 1: cleared */
	else if (off == 2)
		control_write(s, (uint8_t)val);
	else if (off >= EPP_FIRST)
		s->timeout = true;
}

static const struct io_ops parport_io = { parport_read, parport_write, 1, 1 };

static bool parport_realize(struct device *d, struct err *e)
{
	struct parport *s = (struct parport *)d;

	s->io = (struct io_region){ .kind = BUS_PIO, .base = PARPORT_BASE, .len = 8,
				    .ops = &parport_io, .name = "parport" };
	return dev_add_region(d, &s->io, e);
}

static void parport_reset(struct device *d)
{
	struct parport *s = (struct parport *)d;

	s->data = 0;
	s->control = CTL_NINIT;
	s->timeout = s->acked = false;
	update_irq(s);
}

static bool parport_post_load(struct device *d, struct err *e)
{
	struct parport *s = (struct parport *)d;

	s->control &= 0x3f;
	update_irq(s);
	return true;
}

void parport_wire(struct device *d, struct irq_line irq, struct chardev *chr)
{
	struct parport *s = (struct parport *)d;

	s->irq = irq;
	s->chr = chr;
}

const struct device_ops parport_ops = {
	.name = "parport",
	.size = sizeof(struct parport),
	.realize = parport_realize,
	.reset = parport_reset,
	.state = parport_fields,
	.state_version = 1,
	.post_load = parport_post_load,
};
