/* SPDX-License-Identifier: MIT */
/*
 * The board: a PC of the i440FX/PIIX3 family, composed from a description.
 *
 * Order for the composition root: vm_new(), open the back ends,
 * vm_set_engine(), pc_create(), vm_start().  The description, and everything
 * it points to, must live as long as the machine; back ends are closed by
 * whoever opened them, after vm_stop() and before vm_free().
 */
#ifndef HV_PC_H
#define HV_PC_H

#include "../src/vm.h"
#include "../src/err.h"

struct block;
struct chardev;
struct net;

#define PC_MAX_DISKS 16		/* of them at most 4 on IDE, 6 on AHCI, CD drives included */
#define PC_MAX_FLOPPIES 2
#define PC_MAX_CHANNELS 6
#define PC_MAX_NICS 4
#define PC_MAX_SERIAL 4
#define PC_MAX_MODULES 16
#define PC_MIN_RAM MiB(8)
#define PC_MAX_RAM GiB(512)

enum pc_disk_if { PC_DISK_VIRTIO, PC_DISK_IDE, PC_DISK_AHCI, PC_DISK_NVME, PC_DISK_SCSI };

struct pc_disk {
	struct block *block;		/* NULL: drive without medium (CD only) */
	enum pc_disk_if bus;
	struct block **home;		/* CD: kept at the current medium (media.h); or NULL */
	bool cdrom;			/* ATAPI drive; not on virtio, NVMe (then: IDE) */
	bool readonly;
	char serial[21];		/* "": derived from the position */
	unsigned queues;		/* virtio: 0 = default */
};

/* A drive that fits the size of its disk. */
struct pc_floppy {
	struct block *block;		/* NULL: empty */
	struct block **home;		/* kept at the current medium (media.h); or NULL */
	bool readonly;
};

struct pc_channel {
	const char *name;		/* 1 to 63 characters */
	struct chardev *chr;
};

enum pc_nic_model { PC_NIC_VIRTIO, PC_NIC_E1000 };

struct pc_nic {
	enum pc_nic_model model;
	struct net *net;
	uint8_t mac[6];			/* all zero: 52:54:00:12:34:56 + index */
};

/* What firmware tries first; PC_BOOT_DEFAULT: disk, then CD, then floppy. */
enum pc_boot { PC_BOOT_DEFAULT, PC_BOOT_DISK, PC_BOOT_CD, PC_BOOT_FLOPPY };

enum pc_sound { PC_SOUND_NONE, PC_SOUND_HDA, PC_SOUND_AC97, PC_SOUND_VIRTIO };

struct pc_config {
	const char *name;		/* SMBIOS product serial, window title; may be NULL */
	uint64_t ram;			/* bytes, multiple of 1 MiB */
	const char *firmware;		/* NULL: Debian's SeaBIOS */
	struct block *nvram;		/* flash with UEFI variables, below the ROM; or NULL */
	const char *vgabios;		/* NULL: Debian's SeaVGABIOS for the card */
	struct pc_disk disks[PC_MAX_DISKS];
	unsigned ndisks;
	struct pc_floppy floppies[PC_MAX_FLOPPIES];
	unsigned nfloppies;		/* 0: no controller either */
	struct pc_nic nics[PC_MAX_NICS];
	unsigned nnics;
	struct chardev *serial[PC_MAX_SERIAL];	/* NULL: no such port */
	struct chardev *parallel;	/* paper of the printer on LPT1; NULL: no such port */
	struct chardev *console;	/* hvc0; NULL: none */
	struct pc_channel channels[PC_MAX_CHANNELS];
	unsigned nchannels;
	struct chardev *debugcon;	/* port 0x402, firmware messages; NULL: none */
	int debug_exit;			/* I/O port of the debug-exit device; <= 0: none */
	bool display;			/* make a VGA device (and keep vm->display) */
	bool vga_std;			/* plain VGA instead of virtio-vga */
	unsigned outputs;		/* screens of virtio-vga; 0: one */
	enum pc_sound sound;		/* heard by vm->audio */
	bool no_balloon;		/* leave virtio-balloon out */
	bool hpet;
	bool vmmouse;			/* absolute mouse by VMware's port */
	bool vmgenid;			/* offer a generation ID: */
	uint8_t generation[16];		/* a GUID as it lies in memory */
	bool no_rng;			/* leave virtio-rng out */
	enum pc_boot boot;
	bool boot_menu;
	/* Direct boot: no firmware runs when kernel is set. */
	const char *kernel;
	const char *initrd;		/* Linux, PVH */
	const char *modules[PC_MAX_MODULES];	/* multiboot: "path args" */
	unsigned nmodules;
	const char *append;
};

/* Firmware files used when the configuration names none. */
#define PC_FIRMWARE "/usr/share/seabios/bios-256k.bin"
#define PC_VGABIOS_STD "/usr/share/seabios/vgabios-stdvga.bin"
#define PC_VGABIOS_VIRTIO "/usr/share/seabios/vgabios-virtio.bin"

/*
 * Fill @vm with memory and devices.  vm->engine and vm->cpus are set.
 * false + @e: host or configuration error, nothing is running.
 */
bool pc_create(struct vm *vm, const struct pc_config *cfg, struct err *e);

#endif
