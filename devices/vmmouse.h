/* SPDX-License-Identifier: MIT */
/* VMware's absolute mouse: wiring for the board. */
#ifndef HV_VMMOUSE_H
#define HV_VMMOUSE_H

#include "../src/device.h"

extern const struct device_ops vmmouse_ops;

/* @kbc: the i8042 whose mouse announces events.  Before device_realize(). */
void vmmouse_wire(struct device *d, struct device *kbc);

#endif
