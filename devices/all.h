/* SPDX-License-Identifier: MIT */
/* NULL-terminated list of every device's ops. */
#ifndef HV_ALL_H
#define HV_ALL_H

#include "../src/device.h"

extern const struct device_ops *const all_device_ops[];

#endif
