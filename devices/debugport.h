/* SPDX-License-Identifier: MIT */
/* Debug ports: wiring for the board. */
#ifndef HV_DEBUGPORT_H
#define HV_DEBUGPORT_H

#include "../src/device.h"

struct chardev;

extern const struct device_ops debugexit_ops, debugcon_ops;

/* A write of @v to @port (@width bytes: 1, 2 or 4) ends the machine with vm_debug_exit(v). */
void debugexit_wire(struct device *d, uint16_t port, unsigned width);
/* Bytes written to @port go to @chr; NULL: to the log, by lines. */
void debugcon_wire(struct device *d, uint16_t port, struct chardev *chr);

#endif
