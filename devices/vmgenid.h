/* SPDX-License-Identifier: MIT */
/* Virtual machine generation ID: wiring for the board. */
#ifndef HV_VMGENID_H
#define HV_VMGENID_H

#include "../src/device.h"

#define VMGENID_ADDR 0xfeff8000u	/* a page of its own, reserved in the memory map */
#define VMGENID_GPE 5

extern const struct device_ops vmgenid_ops;

/* @gpe is pulsed when the ID has changed under a running guest.  Before device_realize(). */
void vmgenid_wire(struct device *d, const uint8_t guid[16], struct irq_line gpe);
/* A new ID for a running guest; under dev_lock. */
void vmgenid_change(struct device *d, const uint8_t guid[16]);

#endif
