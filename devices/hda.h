/* SPDX-License-Identifier: MIT */
/* Intel High Definition Audio: controller (hda.c) and codec (hda_codec.c). */
#ifndef HV_HDA_H
#define HV_HDA_H

#include "../src/pci.h"

/* device_create(), pci_place(), device_realize(); heard by vm->audio. */
extern const struct device_ops hda_ops;

#endif
