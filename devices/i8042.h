/* SPDX-License-Identifier: MIT */
/* Keyboard controller: wiring for the board. */
#ifndef HV_I8042_H
#define HV_I8042_H

#include "../src/device.h"

extern const struct device_ops i8042_ops;

struct i8042_wiring {
	struct irq_line irq1, irq12;
	struct irq_line a20;	/* true: address line 20 passes; driven at reset too */
};

/* The mouse sends a report although it did not move (vmmouse.c). */
void i8042_announce_mouse(struct device *d);

/* Before device_realize(); keys and motion come from vm->input, if there is one then. */
void i8042_wire(struct device *d, const struct i8042_wiring *w);

#endif
