/* SPDX-License-Identifier: MIT */
/* 16550A serial port: wiring for the board. */
#ifndef HV_NS16550_H
#define HV_NS16550_H

#include "../src/device.h"

struct chardev;

extern const struct device_ops ns16550_ops;

/* Before device_realize(); @chr may be NULL (nothing attached, no carrier). */
void ns16550_wire(struct device *d, uint16_t port, struct irq_line irq, struct chardev *chr);

#endif
