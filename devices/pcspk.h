/* SPDX-License-Identifier: MIT */
/* The PC speaker: wiring for the board. */
#ifndef HV_PCSPK_H
#define HV_PCSPK_H

#include "../src/device.h"

extern const struct device_ops pcspk_ops;

/* The timer whose channel 2 drives it; before device_realize(). */
void pcspk_wire(struct device *d, struct device *pit);

#endif
