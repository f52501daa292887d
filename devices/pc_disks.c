/* SPDX-License-Identifier: MIT */
/*
 * The board's disks: which controller gets which drive, and what firmware
 * calls it (paths of the fw_cfg file "bootorder").
 */
#include "pc_int.h"
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

static bool add_virtio_disk(struct pc *pc, const struct pc_disk *disk, unsigned n, struct err *e)
{
	struct device *d = pc_pci_create(pc, &virtio_blk_ops, "disk", n, e);
	char serial[21];

	if (!d)
		return false;
	snprintf(serial, sizeof(serial), "HV%05u", n);
	virtio_blk_setup(d, disk->block, disk->serial[0] ? disk->serial : serial, disk->queues);
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

static bool add_ide_disk(struct pc *pc, const struct pc_disk *disk, unsigned n, unsigned *used,
			 struct err *e)
{
	char serial[21];
	unsigned unit;

	if (!take_ide_unit(used, disk->cdrom, &unit))
		return err_set(e, HV_EXIT_USAGE, "too many IDE drives: there is room for 4");
	if (!pc->ide) {
		pc->ide = device_create(pc->dev.vm, &piix3_ide_ops, "ide");
		pci_place(pc->ide, pc->bus, CHIPSET_IDE_DEVFN);
		ide_set_irqs(pc->ide, piix3_isa_line(pc->piix3, 14), piix3_isa_line(pc->piix3, 15));
	}
	snprintf(serial, sizeof(serial), "HV%05u", n);
	ide_set_drive(pc->ide, unit, disk->block, disk->cdrom, disk->readonly || disk->cdrom,
		      disk->serial[0] ? disk->serial : serial);
	boot_path(disk->cdrom ? pc->boot_cds : pc->boot_disks,
		  "/pci@i0cf8/ide@1,1/drive@%u/disk@%u\n", unit / 2, unit & 1);
	return true;
}

bool pc_add_disks(struct pc *pc, struct err *e)
{
	unsigned used = 0;

	for (unsigned i = 0; i < pc->cfg->ndisks; i++) {
		const struct pc_disk *disk = &pc->cfg->disks[i];
		bool ok;

		if (!disk->block && !disk->cdrom)
			return err_set(e, HV_EXIT_USAGE, "disk %u has no image", i);
		if (disk->cdrom || disk->bus == PC_DISK_IDE)
			ok = add_ide_disk(pc, disk, i, &used, e);
		else
			ok = add_virtio_disk(pc, disk, i, e);
		if (!ok)
			return false;
	}
	return !pc->ide || device_realize(pc->ide, e);
}
