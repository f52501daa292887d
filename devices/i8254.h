/* SPDX-License-Identifier: MIT */
/* 8254 timer and port 0x61: wiring for the board. */
#ifndef HV_I8254_H
#define HV_I8254_H

#include "../src/device.h"

extern const struct device_ops i8254_ops;

/* Output of channel 0; before device_realize(). */
void i8254_set_irq0(struct device *d, struct irq_line irq0);

/* For the speaker: @changed comes before and after each change of channel 2 and port 0x61. */
void i8254_set_speaker(struct device *d, void (*changed)(void *opaque), void *opaque);
/* The speaker's line at @when of the virtual clock, not before the last change. */
bool i8254_speaker(struct device *d, uint64_t when);
bool i8254_speaker_on(struct device *d);	/* port 0x61 lets OUT through */

#endif
