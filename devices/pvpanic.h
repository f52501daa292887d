/* SPDX-License-Identifier: MIT */
/* Paravirtual panic port; wiring for the board. */
#ifndef HV_PVPANIC_H
#define HV_PVPANIC_H

#include "../src/device.h"

#define PVPANIC_PORT 0x505

extern const struct device_ops pvpanic_ops;

/* Events since the last reset: bit 0 panicked, bit 1 goes on to a crash kernel. */
uint8_t pvpanic_seen(struct device *d);

#endif
