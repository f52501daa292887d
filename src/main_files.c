/* SPDX-License-Identifier: MIT */
/* The files of the command line: what each of them is; see main_int.h. */
#include "main_int.h"
#include "block.h"
#include "boot.h"
#include "ova.h"
#include <sys/stat.h>

/* A size that no hard disk has, and no kernel or ISO image inside. */
static bool is_floppy(const char *path, enum boot_kind kind)
{
	struct stat st;

	return (kind == BOOT_DISK || kind == BOOT_UNKNOWN) && stat(path, &st) == 0 &&
	       S_ISREG(st.st_mode) && (st.st_size == KiB(1440) || st.st_size == KiB(2880));
}

static bool take_floppy(struct config *c, const char *path, struct err *e)
{
	struct cfg_disk *d = &c->floppies[c->nfloppies];

	if (c->nfloppies == CFG_MAX_FLOPPIES)
		return err_set(e, HV_EXIT_USAGE, "too many floppy disks: a PC has %d drives",
			       CFG_MAX_FLOPPIES);
	c->nfloppies++;
	*d = (struct cfg_disk){ 0 };
	d->path = d->spec = hv_strdup(path);
	return true;
}

/* Positional arguments get roles by content. */
static bool take_file(struct config *c, const char *path, struct err *e)
{
	enum boot_kind kind;
	struct cfg_disk *d;

	if (!boot_sniff(path, &kind, e))
		return false;
	if (block_is_recorded(path))	/* the guest wrote what looks like a kernel or an ISO */
		kind = BOOT_DISK;
	else if (ova_is(path))
		return err_set(e, HV_EXIT_USAGE, "%s is a packed machine; make it one of yours: "
			       "hvrun create NAME '%s', then: hvrun NAME", path, path);
	if (boot_is_kernel(kind)) {
		if (c->kernel)
			return err_set(e, HV_EXIT_USAGE, "%s and %s are both kernels; name one",
				       c->kernel, path);
		c->kernel = path;
		return true;
	}
	if (is_floppy(path, kind))
		return take_floppy(c, path, e);
	if (c->ndisks == CFG_MAX_DISKS)
		return err_set(e, HV_EXIT_USAGE, "too many disks: at most %d", CFG_MAX_DISKS);
	d = &c->disks[c->ndisks++];
	*d = (struct cfg_disk){ .cdrom = kind == BOOT_ISO, .readonly = kind == BOOT_ISO,
				.positional = true };
	d->path = d->spec = hv_strdup(path);
	return true;
}

bool main_take_files(struct config *c, struct err *e)
{
	for (unsigned i = 0; i < c->nfiles; i++)
		if (!take_file(c, c->files[i], e))
			return false;
	if (!c->kernel && (c->initrd || c->append || c->nmodules))
		return err_set(e, HV_EXIT_USAGE, "--%s needs --kernel", c->initrd ? "initrd" :
			       c->append ? "append" : "module");
	if (!c->kernel && !c->ndisks && !c->nfloppies && !c->firmware)
		return err_set(e, HV_EXIT_USAGE,
			       "nothing to run: give a disk image, an ISO image or "
			       "a kernel, for example: hvrun disk.img (hvrun --help lists all)");
	return true;
}
