/* SPDX-License-Identifier: MIT */
/*
 * Direct boot: a kernel file placed into guest memory and entered without
 * firmware.
 *
 * Understands Linux bzImage (decompressed here, on the host), ELF kernels
 * with a PVH note, and multiboot v1 images with modules.  All of it treats
 * the files as hostile.
 *
 * boot_open() does everything that can fail for a reason the user should
 * read, memory contents included; boot_enter() is called at every machine
 * reset and places the contents again when the guest has run since.
 */
#ifndef HV_BOOT_H
#define HV_BOOT_H

#include "err.h"
#include "util.h"

struct vm;
struct boot;

/* What a file is, by its content. */
enum boot_kind {
	BOOT_UNKNOWN,		/* also: too short, or not recognised */
	BOOT_KERNEL_BZIMAGE,
	BOOT_KERNEL_ELF,	/* x86 ELF: PVH, multiboot or plain vmlinux */
	BOOT_KERNEL_MULTIBOOT,	/* flat image with a multiboot header */
	BOOT_ISO,		/* ISO 9660 volume (and no hard disk signature needed) */
	BOOT_DISK,		/* partitioned or bootable disk, or a known disk format */
};

/* false + @e: cannot be opened or read, or is a directory. */
bool boot_sniff(const char *path, enum boot_kind *kind, struct err *e);
static inline bool boot_is_kernel(enum boot_kind k)
{
	return k == BOOT_KERNEL_BZIMAGE || k == BOOT_KERNEL_ELF || k == BOOT_KERNEL_MULTIBOOT;
}

/* BIOS memory map entry (ACPI 6.5 table 15.4). */
struct boot_e820 {
	uint64_t addr, len;
	uint32_t type;		/* 1 RAM, 2 reserved, 3 ACPI data, 4 NVS */
};
#define BOOT_MAX_E820 16
#define BOOT_MAX_MODULES 16

struct boot_config {
	const char *kernel;
	const char *initrd;		/* or NULL */
	const char *const *modules;	/* multiboot */
	unsigned nmodules;
	const char *append;		/* or NULL */
	struct boot_e820 e820[BOOT_MAX_E820];
	unsigned ne820;
	uint64_t rsdp;			/* guest address of the ACPI RSDP; 0: none */
	bool text_screen;		/* the screen will be in VGA text mode 3, 8 x 16 font */
	uint64_t ram_below_4g;		/* contents are placed below this */
};

/* @cfg is copied; strings must outlive the result.  NULL + @e. */
struct boot *boot_open(struct vm *vm, const struct boot_config *cfg, struct err *e);
/* After a reset, vCPUs stopped, under dev_lock: memory contents and the BSP's state. */
bool boot_enter(struct boot *b, struct err *e);
void boot_close(struct boot *b);
/* After the reset of a wake-up from S3: the first CPU starts at the guest's waking vector. */
bool boot_wake(struct vm *vm, uint32_t vector, struct err *e);

#endif
