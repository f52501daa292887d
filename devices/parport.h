/* SPDX-License-Identifier: MIT */
/* Parallel port with a printer: wiring for the board. */
#ifndef HV_PARPORT_H
#define HV_PARPORT_H

#include "../src/device.h"

#define PARPORT_BASE 0x378
#define PARPORT_IRQ 7

struct chardev;

extern const struct device_ops parport_ops;

/* @chr takes what is printed; NULL: a port without a printer.  Before device_realize(). */
void parport_wire(struct device *d, struct irq_line irq, struct chardev *chr);

#endif
