/* SPDX-License-Identifier: MIT */
/*
 * Which firmware a machine starts with, and where UEFI firmware keeps its
 * variables: one file a machine, a copy of the firmware's own template.
 */
#ifndef HV_FIRMWARE_H
#define HV_FIRMWARE_H

#include "block.h"
#include "config.h"

#define FIRMWARE_UEFI "/usr/share/OVMF/OVMF_CODE_4M.fd"
#define FIRMWARE_NVRAM ".nvram"	/* its variables are in DISK.nvram, unless --nvram names a file */

struct firmware {
	const char *rom;	/* NULL: the board's BIOS */
	struct block *nvram;	/* NULL: none */
};

/*
 * Choose and open.  @disks[i] belongs to cfg->disks[i].  Before the loop
 * runs.  false + @e: nothing is left open.
 */
bool firmware_open(const struct config *cfg, struct block *const *disks, struct loop *loop,
		   struct firmware *out, struct err *e);
/* After the devices are gone. */
void firmware_close(struct firmware *f);

/*
 * Can only UEFI firmware start @b?  Disk: an EFI system partition and nothing
 * that a BIOS would start; CD: El Torito with EFI entries only.
 * @blank: nothing at all is there to start.
 */
bool firmware_media_uefi(struct block *b, bool cdrom, bool *blank);

#endif
