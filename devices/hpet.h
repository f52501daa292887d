/* SPDX-License-Identifier: MIT */
/* High precision event timers: wiring for the board. */
#ifndef HV_HPET_H
#define HV_HPET_H

#include "../src/device.h"

#define HPET_BASE 0xfed00000u
#define HPET_PINS 4			/* IOAPIC pins 20-23 */
#define HPET_FIRST_PIN 20
#define HPET_BLOCK_ID 0x8086a201u	/* low half of the capabilities, for the ACPI table */

extern const struct device_ops hpet_ops;

/*
 * @irq0, @irq8: ISA interrupts, which the block takes over in legacy
 * replacement mode; @pins: of the IOAPIC.  Before device_realize().
 */
void hpet_wire(struct device *d, struct irq_line irq0, struct irq_line irq8,
	       const struct irq_line pins[HPET_PINS]);
/* Where 8254 and RTC put their interrupts instead. */
struct irq_line hpet_pit_line(struct device *d);
struct irq_line hpet_rtc_line(struct device *d);

#endif
