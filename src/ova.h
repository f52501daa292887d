/* SPDX-License-Identifier: MIT */
/*
 * Open Virtualization packages (DMTF DSP0243): an OVA, which is a tar archive
 * with a description and its disks, or the description (.ovf) with the disks
 * beside it.  Taken over: disks and their buses, memory, processors, whether
 * there is a network and with which card, UEFI.
 *
 * Archives are read in place; nothing in them chooses a file name on the
 * host.  A manifest's digests are verified (manifest.h), a signature is not.
 */
#ifndef HV_OVA_H
#define HV_OVA_H

#include "machine.h"

/* A tar archive with an .ovf in it, or an .ovf? */
bool ova_is(const char *path);
/*
 * Converts the disks to qcow2 images in the folder of disks and adds all to
 * @m, but for what @m has already.  @made hears of each new image.
 * false + @e: images that @made heard of are left to the caller.
 */
bool ova_import(struct machine *m, const char *path,
		void (*made)(void *opaque, const char *disk), void *opaque, struct err *e);

#endif
