/* SPDX-License-Identifier: MIT */
/*
 * All devices: one explicit list, no registration magic.  tests/fuzz/test_storm.c fails
 * when a device of the board is missing here, or when none of its machines has one.
 */
#include "all.h"
#include "ac97.h"
#include "ahci.h"
#include "chipset.h"
#include "debugport.h"
#include "e1000.h"
#include "fdc.h"
#include "fwcfg.h"
#include "hda.h"
#include "hpet.h"
#include "i8042.h"
#include "i8237.h"
#include "i8254.h"
#include "i8259.h"
#include "ioapic.h"
#include "lapic.h"
#include "mc146818.h"
#include "ns16550.h"
#include "nvme.h"
#include "parport.h"
#include "pcspk.h"
#include "pflash.h"
#include "pvpanic.h"
#include "vga.h"
#include "vmgenid.h"
#include "vmmouse.h"
#include "virtio/scsi.h"
#include "virtio/virtio.h"

const struct device_ops *const all_device_ops[] = {
	&i440fx_ops, &piix3_ops, &piix4_pm_ops, &piix3_ide_ops, &ahci_ops, &nvme_ops,
	&hpet_ops, &i8237_ops, &fdc_ops,
	&i8259_ops, &ioapic_ops, &lapic_ops, &i8254_ops, &mc146818_ops, &i8042_ops,
	&ns16550_ops, &parport_ops, &fwcfg_ops, &debugcon_ops, &debugexit_ops, &vga_ops,
	&pflash_ops, &e1000_ops, &pvpanic_ops, &vmgenid_ops, &vmmouse_ops,
	&hda_ops, &ac97_ops, &pcspk_ops, &virtio_sound_ops,
	&virtio_blk_ops, &virtio_scsi_ops, &virtio_net_ops, &virtio_rng_ops, &virtio_vga_ops,
	&virtio_keyboard_ops, &virtio_tablet_ops, &virtio_balloon_ops, &virtio_console_ops,
	NULL
};
