/* SPDX-License-Identifier: MIT */
/* AHCI host bus adapter: wiring for the board. */
#ifndef HV_AHCI_H
#define HV_AHCI_H

#include "../src/pci.h"

struct block;
struct media_ops;

#define AHCI_PORTS 6

extern const struct device_ops ahci_ops;

/* Before realize: a disk or (with or without medium) a CD drive on port @port. */
void ahci_set_drive(struct device *d, unsigned port, struct block *block, bool cdrom,
		    bool readonly, const char *serial);
/* Under dev_lock: another medium, or none, in the CD drive on @port. */
void ahci_set_medium(struct device *d, unsigned port, struct block *block);
extern const struct media_ops ahci_media;

#endif
