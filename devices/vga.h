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

/* The ROM has the 8 x 16 font that vga_start_text() needs. */
bool vga_has_font(struct device *d);
/* Text mode 3 with the font of the ROM, as firmware leaves it.  After a reset, under dev_lock. */
void vga_start_text(struct device *d);

#endif
