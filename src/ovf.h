/* SPDX-License-Identifier: MIT */
/*
 * The description of a virtual machine in an OVF package (DMTF DSP0243 2.1,
 * with the CIM resource types of DSP1041): name, processors, memory, disks
 * and what they hang on, network cards.
 *
 * The text comes from strangers: no DOCTYPE, bounded depth, lengths and
 * counts; file names are only compared or, by the caller, confined.
 * Left out: more than one machine, the network's names, resource limits.
 */
#ifndef HV_OVF_H
#define HV_OVF_H

#include "err.h"
#include "util.h"

#define OVF_TEXT_MAX (4u << 20)
#define OVF_NAME 256
#define OVF_DISKS 16

struct ovf_disk {
	char file[OVF_NAME];	/* as the package calls it; "": an empty disk */
	const char *bus;	/* of --disk if=; NULL: the default */
	uint64_t capacity;	/* bytes; 0: not said */
};

struct ovf {
	char name[OVF_NAME];	/* "" when it has none */
	uint64_t memory;	/* bytes; 0: not said */
	unsigned cpus;		/* 0: not said */
	struct ovf_disk disk[OVF_DISKS];
	unsigned ndisks;
	unsigned nnics;
	bool virtio_net;	/* the first card */
	bool efi;
	char ignored[OVF_NAME];	/* what a user should know is not taken over; "" */
};

bool ovf_parse(const char *text, size_t len, struct ovf *out, struct err *e);

#endif
