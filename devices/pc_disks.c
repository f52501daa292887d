/* SPDX-License-Identifier: MIT */
/*
 * The board's disks: which controller gets which drive, and what firmware
 * calls it (paths of the fw_cfg file "bootorder").
 */
#include "ahci.h"
#include "fdc.h"
#include "nvme.h"
#include "../src/media.h"
#include "pc_int.h"
#include "virtio/scsi.h"
#include "virtio/virtio.h"
#include <stdarg.h>
#include <stdio.h>

static void HV_PRINTF(2, 3) boot_path(char *list, const char *fmt, ...)
{
	size_t have = strlen(list);
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(list + have, PC_BOOT_PATHS - have, fmt, ap);
	va_end(ap);
}

/* Where disk @n is: its own serial number or one made from its position. */
static const char *serial_of(const struct pc_disk *disk, unsigned n, char buf[21])
{
	snprintf(buf, 21, "HV%05u", n);
	return disk->serial[0] ? disk->serial : buf;
}

static char *boot_list(struct pc *pc, const struct pc_disk *disk)
{
	return disk->cdrom ? pc->boot_cds : pc->boot_disks;
}

/* What the user sees of it (media.h). */
static void add_slot(struct pc *pc, const struct pc_disk *disk, const char *bus,
		     const struct media_ops *ops, struct device *d, unsigned unit)
{
	struct media_drive m = { .bus = bus, .cdrom = disk->cdrom, .device = d, .unit = unit,
				 .ops = ops, .block = disk->block,
				 .home = disk->home };

	vm_media_add(pc->dev.vm, &m);
}

static bool add_virtio_disk(struct pc *pc, const struct pc_disk *disk, unsigned n, struct err *e)
{
	struct device *d = pc_pci_create(pc, &virtio_blk_ops, "disk", n, e);
	char serial[21];

	if (!d)
		return false;
	virtio_blk_setup(d, disk->block, serial_of(disk, n, serial), disk->queues);
	add_slot(pc, disk, "virtio", &virtio_blk_media, d, 0);
	boot_path(pc->boot_disks, "/pci@i0cf8/scsi@%x/disk@0,0\n", pc->next_slot - 1);
	return device_realize(d, e);
}

/* Disks from the first IDE position on, CD drives on the secondary channel's first. */
static bool take_ide_unit(unsigned *used, bool cdrom, unsigned *unit)
{
	static const uint8_t order[2][4] = { { 0, 1, 2, 3 }, { 2, 3, 1, 0 } };

	for (unsigned i = 0; i < 4; i++) {
		*unit = order[cdrom][i];
		if (!(*used & 1u << *unit)) {
			*used |= 1u << *unit;
			return true;
		}
	}
	return false;
}

static bool add_ide_disk(struct pc *pc, const struct pc_disk *disk, unsigned n, struct err *e)
{
	char serial[21];
	unsigned unit;

	if (!take_ide_unit(&pc->ide_used, disk->cdrom, &unit))
		return err_set(e, HV_EXIT_USAGE, "too many IDE drives: there is room for 4");
	if (!pc->ide) {
		pc->ide = device_create(pc->dev.vm, &piix3_ide_ops, "ide");
		pci_place(pc->ide, pc->bus, CHIPSET_IDE_DEVFN);
		ide_set_irqs(pc->ide, piix3_isa_line(pc->piix3, 14), piix3_isa_line(pc->piix3, 15));
	}
	ide_set_drive(pc->ide, unit, disk->block, disk->cdrom, disk->readonly || disk->cdrom,
		      serial_of(disk, n, serial));
	add_slot(pc, disk, "IDE", &ide_media, pc->ide, unit);
	boot_path(boot_list(pc, disk), "/pci@i0cf8/ide@1,1/drive@%u/disk@%u\n", unit / 2, unit & 1);
	return true;
}

static bool add_ahci_disk(struct pc *pc, const struct pc_disk *disk, unsigned n, struct err *e)
{
	char serial[21];

	if (pc->ahci_used == AHCI_PORTS)
		return err_set(e, HV_EXIT_USAGE, "too many AHCI drives: there is room for %d",
			       AHCI_PORTS);
	if (!pc->ahci) {
		pc->ahci = pc_pci_create(pc, &ahci_ops, "ahci", 0, e);
		if (!pc->ahci)
			return false;
	}
	ahci_set_drive(pc->ahci, pc->ahci_used, disk->block, disk->cdrom,
		       disk->readonly || disk->cdrom, serial_of(disk, n, serial));
	add_slot(pc, disk, "AHCI", &ahci_media, pc->ahci, pc->ahci_used);
	boot_path(boot_list(pc, disk), "/pci@i0cf8/sata@%x/drive@%u/disk@0\n",
		  container_of(pc->ahci, struct pci_dev, dev)->devfn >> 3, pc->ahci_used);
	pc->ahci_used++;
	return true;
}

static bool add_scsi_disk(struct pc *pc, const struct pc_disk *disk, unsigned n, struct err *e)
{
	char serial[21];

	if (pc->scsi_used == VIRTIO_SCSI_TARGETS)
		return err_set(e, HV_EXIT_USAGE, "too many SCSI drives: there is room for %d",
			       VIRTIO_SCSI_TARGETS);
	if (!pc->scsi) {
		pc->scsi = pc_pci_create(pc, &virtio_scsi_ops, "scsi", 0, e);
		if (!pc->scsi)
			return false;
	}
	virtio_scsi_set_drive(pc->scsi, pc->scsi_used, disk->block, disk->cdrom,
			      disk->readonly || disk->cdrom, serial_of(disk, n, serial));
	add_slot(pc, disk, "SCSI", &virtio_scsi_media, pc->scsi, pc->scsi_used);
	boot_path(boot_list(pc, disk), "/pci@i0cf8/scsi@%x/channel@0/disk@%x,0\n",
		  container_of(pc->scsi, struct pci_dev, dev)->devfn >> 3, pc->scsi_used);
	pc->scsi_used++;
	return true;
}

static bool add_nvme_disk(struct pc *pc, const struct pc_disk *disk, unsigned n, struct err *e)
{
	struct device *d = pc_pci_create(pc, &nvme_ops, "nvme", n, e);
	char serial[21];

	if (!d)
		return false;
	nvme_set_disk(d, disk->block, disk->readonly, serial_of(disk, n, serial));
	add_slot(pc, disk, "NVMe", &nvme_media, d, 0);
	boot_path(pc->boot_disks, "/pci@i0cf8/nvme@%x/namespace@1,0\n", pc->next_slot - 1);
	return device_realize(d, e);
}

static bool add_disk(struct pc *pc, unsigned n, struct err *e)
{
	const struct pc_disk *disk = &pc->cfg->disks[n];

	if (!disk->block && !disk->cdrom)
		return err_set(e, HV_EXIT_USAGE, "disk %u has no image", n);
	if (disk->bus == PC_DISK_SCSI)
		return add_scsi_disk(pc, disk, n, e);
	if (disk->bus == PC_DISK_AHCI)
		return add_ahci_disk(pc, disk, n, e);
	if (disk->cdrom || disk->bus == PC_DISK_IDE)
		return add_ide_disk(pc, disk, n, e);
	if (disk->bus == PC_DISK_NVME)
		return add_nvme_disk(pc, disk, n, e);
	return add_virtio_disk(pc, disk, n, e);
}

bool pc_add_floppies(struct pc *pc, struct irq_line irq, struct err *e)
{
	struct device *d;

	if (!pc->cfg->nfloppies)
		return true;
	HV_BUG_ON(pc->cfg->nfloppies > FDC_DRIVES);
	d = pc->fdc = device_create(pc->dev.vm, &fdc_ops, "fdc");
	fdc_wire(d, irq, pc->dma);
	for (unsigned i = 0; i < pc->cfg->nfloppies; i++) {
		const struct pc_floppy *f = &pc->cfg->floppies[i];

		if (!fdc_set_drive(d, i, f->block, f->readonly, e))
			return false;
		vm_media_add(pc->dev.vm, &(struct media_drive){ .bus = "fd", .floppy = true,
			.ops = &fdc_media, .device = d, .unit = i, .block = f->block,
			.home = f->home });
		boot_path(pc->boot_floppies, "/pci@i0cf8/isa@1/fdc@03f0/floppy@%u\n", i);
	}
	return device_realize(d, e);
}

bool pc_add_disks(struct pc *pc, struct err *e)
{
	for (unsigned i = 0; i < pc->cfg->ndisks; i++)
		if (!add_disk(pc, i, e))
			return false;
	return (!pc->ide || device_realize(pc->ide, e)) &&
	       (!pc->ahci || device_realize(pc->ahci, e)) &&
	       (!pc->scsi || device_realize(pc->scsi, e));
}
