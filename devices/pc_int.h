/* SPDX-License-Identifier: MIT */
/* Private to devices/pc*.c: the board's own struct. */
#ifndef HV_PC_INT_H
#define HV_PC_INT_H

#include "acpi.h"
#include "chipset.h"
#include "lapic.h"
#include "pc.h"
#include "smbios.h"
#include "../src/boot.h"

#define PC_BOOT_PATHS 2048

/* A device like any other, so that it ends with the machine; created first, freed last. */
struct pc {
	struct device dev;
	const struct pc_config *cfg;
	uint64_t ram_low, ram_high;	/* below and from 4 GiB */
	struct gm_block *ram, *bios;
	struct pci_bus *bus;
	struct device *i440fx, *piix3, *pm, *hpet, *dma, *fdc, *ide, *ahci, *scsi, *pic, *ioapic,
		*rtc, *fwcfg, *vga;
	struct lapic_bus lapics;
	struct irq_fanout isa[16];	/* each to the 8259 and the IOAPIC */
	struct irq_fanin com[2];	/* IRQ 4 and 3, two ports each */
	unsigned next_slot;		/* PCI */
	unsigned ide_used, ahci_used, scsi_used;	/* IDE units (bits), ports, targets */
	/* firmware paths, a line each */
	char boot_disks[PC_BOOT_PATHS], boot_cds[PC_BOOT_PATHS], boot_floppies[PC_BOOT_PATHS];
	struct acpi_tables acpi;
	struct smbios smbios;
	/* Direct boot */
	struct boot *boot;
	uint64_t tables_at;		/* ACPI, then SMBIOS tables, to the end of ram_low */
};

/* A function @prefix@n on the next free slot; NULL + @e: none left. */
struct device *pc_pci_create(struct pc *pc, const struct device_ops *ops, const char *prefix,
			     unsigned n, struct err *e);
bool pc_add_disks(struct pc *pc, struct err *e);
/* The controller with its drives, when there are any. */
bool pc_add_floppies(struct pc *pc, struct irq_line irq, struct err *e);

/* A whole file; @hint ends the message when it cannot be opened. */
bool pc_read_file(const char *path, const char *what, const char *hint, size_t max,
		  uint8_t **data, size_t *len, struct err *e);
/* Firmware ROM at the top of 4 GiB and, below it, the flash with its variables. */
bool pc_add_firmware(struct pc *pc, struct err *e);

/* Firmware's data by fw_cfg. */
bool pc_make_fwcfg(struct pc *pc, struct err *e);

/* Direct boot: open the kernel; the reset hook does what firmware would have done. */
bool pc_direct_setup(struct pc *pc, struct err *e);
void pc_direct_reset(void *opaque);
void pc_direct_wake(void *opaque);

#endif
