/* SPDX-License-Identifier: MIT */
/*
 * Open Virtualization Appliances (DMTF DSP0243): a tar archive with a
 * description and stream-optimized VMDK disks.  The first disk, memory and
 * processor count are taken over; the rest of the description is not.
 */
#ifndef HV_OVA_H
#define HV_OVA_H

#include "machine.h"

/* A tar archive whose first member is an .ovf? */
bool ova_is(const char *path);
/*
 * Converts the disk to a qcow2 image in the folder of disks, whose path goes
 * into @disk, and adds all to @m.  false + @e: nothing is left behind.
 */
bool ova_import(struct machine *m, const char *path, char *disk, size_t len, struct err *e);

#endif
