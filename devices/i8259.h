/* SPDX-License-Identifier: MIT */
/* The 8259A pair: wiring for the board. */
#ifndef HV_I8259_H
#define HV_I8259_H

#include "../src/device.h"

extern const struct device_ops i8259_ops;

/* Where the master's INTR pin goes; before device_realize(). */
void i8259_set_intr(struct device *d, struct irq_line intr);
/* Input @irq, 0-15; 2 is the cascade and swallows its level. */
struct irq_line i8259_line(struct device *d, unsigned irq);
/* Interrupt acknowledge cycle, for struct extint: @opaque is the device. */
int i8259_inta(void *opaque);

#endif
