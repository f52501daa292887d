/* SPDX-License-Identifier: MIT */
/* AC'97 sound of the 82801AA (ICH); see ac97.c. */
#ifndef HV_AC97_H
#define HV_AC97_H

#include "../src/pci.h"

/* device_create(), pci_place(), device_realize(); heard by vm->audio. */
extern const struct device_ops ac97_ops;

#endif
