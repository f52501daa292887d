/* SPDX-License-Identifier: MIT */
/* Interrupt chips for guest programs; see guestboard.h. */
#include "guestboard.h"
#include "../../devices/i8254.h"
#include "../../devices/i8259.h"
#include "../../devices/ioapic.h"
#include "../../devices/lapic.h"
#include <stdio.h>

#define RAISE_BASE 0xf5
#define RAISE_IRQ 11
#define TIMER_PIN 2

/* Owns the wiring of the board, and the raise ports. */
struct raise {
	struct device dev;
	struct io_region ports, msi;
	struct lapic_bus lapics;
	struct irq_fanout timer, line;
	struct irq_line out;
	unsigned missing;
};
DEVICE_CHECK(struct raise);

static void raise_write(struct device *d, uint64_t off, unsigned size, uint64_t val)
{
	struct raise *r = (struct raise *)d;

	if (off == 0)
		r->missing = (unsigned)val;
	else if (r->missing)
		r->missing--;
	irq_set(&r->out, r->missing != 0);
}

static uint64_t raise_read(struct device *d, uint64_t off, unsigned size)
{
	return ((struct raise *)d)->missing;
}

static void msi_write(struct device *d, uint64_t off, unsigned size, uint64_t val)
{
	msi_send(&d->vm->msi, 0xfee00000, (uint32_t)val);
}

static uint64_t msi_read(struct device *d, uint64_t off, unsigned size)
{
	return 0;
}

static const struct io_ops raise_io = { raise_read, raise_write, 1, 1 };
static const struct io_ops msi_io = { msi_read, msi_write, 4, 4 };

static bool raise_realize(struct device *d, struct err *e)
{
	struct raise *r = (struct raise *)d;

	r->ports = (struct io_region){ .kind = BUS_PIO, .base = RAISE_BASE, .len = 2,
				       .ops = &raise_io, .dev = d, .name = "raise" };
	r->msi = (struct io_region){ .kind = BUS_PIO, .base = 0xf8, .len = 4, .ops = &msi_io,
				     .dev = d, .name = "raise-msi" };
	return dev_add_region(d, &r->ports, e) && dev_add_region(d, &r->msi, e);
}

/* No state: wiring, and a test's counter. */
static const struct device_ops raise_ops = {
	.name = "guest-raise", .size = sizeof(struct raise), .realize = raise_realize,
};

static struct irq_line to_both(struct irq_fanout *f, struct device *pic, unsigned irq,
			       struct device *ioapic, unsigned pin)
{
	f->out[f->n++] = i8259_line(pic, irq);
	f->out[f->n++] = ioapic_line(ioapic, pin);
	return irq_fanout_line(f);
}

bool guest_board(struct vm *vm, struct err *e)
{
	struct raise *r = (struct raise *)device_create(vm, &raise_ops, "raise");
	struct device *pic, *ioapic, *pit;

	if (!vm_has_lapic(vm) && !lapic_add_all(vm, &r->lapics, e))
		return false;
	pic = device_create(vm, &i8259_ops, "pic");
	i8259_set_intr(pic, vm_has_lapic(vm) ? vm_extint_line(vm) :
			    lapic_extint_line(&r->lapics));
	vm->extint = (struct extint){ i8259_inta, pic };
	ioapic = device_create(vm, &ioapic_ops, "ioapic");
	pit = device_create(vm, &i8254_ops, "pit");
	if (!device_realize(pic, e) || !device_realize(ioapic, e))
		return false;
	i8254_set_irq0(pit, to_both(&r->timer, pic, 0, ioapic, TIMER_PIN));
	r->out = to_both(&r->line, pic, RAISE_IRQ, ioapic, RAISE_IRQ);
	return device_realize(pit, e) && device_realize(&r->dev, e);
}
