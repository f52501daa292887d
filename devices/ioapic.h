/* SPDX-License-Identifier: MIT */
/* I/O APIC: wiring for the board. */
#ifndef HV_IOAPIC_H
#define HV_IOAPIC_H

#include "../src/device.h"

#define IOAPIC_BASE 0xfec00000u
#define IOAPIC_PINS 24

/* realize() sets vm->eoi; messages go to vm->msi, ExtINT vectors come from vm->extint. */
extern const struct device_ops ioapic_ops;

/* Input @pin; true = asserted, whatever polarity the guest programs. */
struct irq_line ioapic_line(struct device *d, unsigned pin);

#endif
