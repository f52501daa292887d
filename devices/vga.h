/* SPDX-License-Identifier: MIT */
/* Standard VGA with Bochs VBE extensions, PCI 1234:1111; see vga.c. */
#ifndef HV_VGA_H
#define HV_VGA_H

#include "../src/device.h"

extern const struct device_ops vga_ops;

/*
 * Wiring, before realize: set pci.bus and pci.devfn (the instance begins with
 * struct pci_dev), then the expansion ROM (SeaVGABIOS), padded by the callee
 * to a power of two.  @rom is copied; NULL: no ROM.
 */
bool vga_set_rom(struct device *d, const uint8_t *rom, size_t len, struct err *e);

#endif
