/* SPDX-License-Identifier: MIT */
/* 8254 timer and port 0x61: wiring for the board. */
#ifndef HV_I8254_H
#define HV_I8254_H

#include "../src/device.h"

extern const struct device_ops i8254_ops;

/* Output of channel 0; before device_realize(). */
void i8254_set_irq0(struct device *d, struct irq_line irq0);

#endif
