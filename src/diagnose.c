/* SPDX-License-Identifier: MIT */
/* The table of give-ups; see diagnose.h. */
#include "diagnose.h"
#include "cpu/vcpu.h"
#include "display.h"
#include <stdlib.h>

#define RFLAGS_IF 0x200

/* The first row that matches wins: a panic's own reason stands before "panic". */
static const struct { const char *seen, *say; } rows[] = {
	{ "Unable to mount root fs",
	  "the kernel found no root file system: root= (--append) must name a disk that this "
	  "machine has, and the kernel or its --initrd the driver for it" },
	{ "No working init found",
	  "the kernel found no init on its root file system: wrong disk, or a damaged --initrd" },
	{ "Dropping to a shell",
	  "the initrd waits in a shell: root= names no disk that this machine has" },
	{ "emergency mode",
	  "the guest started in emergency mode: a file system of its fstab is missing" },
	{ "Kernel panic - not syncing", "the guest's kernel panicked: see its last lines" },
	{ "No bootable device",
	  "no bootable device: the disk has no boot loader; give an installation CD with --cdrom, "
	  "or try --firmware uefi" },
	{ "No bootable option or device",
	  "no bootable device: UEFI found no boot loader on disk or CD; try --firmware bios" },
	{ "Boot failed: not a bootable disk",
	  "the disk has no boot loader: give an installation CD with --cdrom, or try "
	  "--firmware uefi" },
	{ "UEFI Interactive Shell",
	  "UEFI found nothing to start and shows its shell: no EFI boot loader on disk or CD" },
	{ "grub rescue>",
	  "GRUB does not find its own files: the disk changed since GRUB was installed" },
	{ "grub>", "GRUB waits at its prompt: it found no menu (grub.cfg)" },
	{ "Could not find kernel image",
	  "SYSLINUX waits at its prompt: the kernel of its configuration is missing" },
	{ "No DEFAULT or UI configuration directive",
	  "SYSLINUX waits at its prompt: it has no configuration" },
	{ "Missing operating system", "the disk's active partition holds no operating system" },
	{ "Operating System not found", "the disk holds no operating system" },
	{ "BOOTMGR is missing", "Windows' boot manager is missing on the disk" },
	{ "NTLDR is missing", "Windows' loader is missing on the disk" },
	{ "System halted", "the guest halted itself: see its last lines" },
};

const char *diagnose_text(const char *screen, const char *console)
{
	for (unsigned i = 0; i < ARRAY_SIZE(rows); i++)
		if (strstr(screen, rows[i].seen) || strstr(console, rows[i].seen))
			return rows[i].say;
	return NULL;
}

/* Every processor halted and deaf: nothing but a reset or an NMI ends that. */
static bool all_dead(struct vm *vm)
{
	unsigned halted = 0;

	vm_pause(vm);
	for (unsigned i = 0; vm_status(vm) == VM_PAUSED && i < vm->ncpus; i++) {
		struct x86_state s;

		vm->engine->get_state(vm->cpus[i], &s);
		halted += s.mp_state == MP_HALTED && !(s.rflags & RFLAGS_IF);
		halted += s.mp_state == MP_WAIT_SIPI;
	}
	vm_resume(vm);
	return halted == vm->ncpus;
}

static bool mute_kernel(const struct config *cfg, const char *console)
{
	return cfg->kernel && cfg->display == DISPLAY_NONE && !*console &&
	       (!cfg->append || !strstr(cfg->append, "console="));
}

const char *diagnose(struct vm *vm, const struct config *cfg, const char *console)
{
	static char screen[200 * 100 * 4];
	const char *say;
	size_t n = 0;

	vm_lock(vm);
	if (vm->display)
		n = display_text(vm->display, screen, sizeof(screen) - 1);
	vm_unlock(vm);
	screen[MIN(n, sizeof(screen) - 1)] = 0;
	say = diagnose_text(screen, console);
	if (say)
		return say;
	if (vm_status(vm) == VM_RUNNING && all_dead(vm))
		return "the guest's processors are halted with interrupts off: it stopped for good";
	if (mute_kernel(cfg, console))
		return "the kernel prints nothing on COM1: add console=ttyS0 to --append";
	return NULL;
}
