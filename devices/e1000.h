/* SPDX-License-Identifier: MIT */
/* Intel 82540EM network controller; wiring for the board. */
#ifndef HV_E1000_H
#define HV_E1000_H

#include "../src/pci.h"

struct net;

extern const struct device_ops e1000_ops;

void e1000_setup(struct device *d, struct net *n, const uint8_t mac[6]);

#endif
