/* SPDX-License-Identifier: MIT */
/*
 * The drives of a machine as its user sees them: one slot a disk, CD or floppy
 * drive, with what is in it, how busy it is, and the medium of CD and floppy
 * drives changed while the machine runs.
 *
 * Menus, dropped files and commands all end in vm_media_insert() and
 * vm_media_eject().  Calls from any one thread at a time, dev_lock not held,
 * except where said; the slots themselves do not change while the machine runs.
 */
#ifndef HV_MEDIA_H
#define HV_MEDIA_H

#include "block.h"
#include "vm.h"

#define MEDIA_SLOTS 18		/* as PC_MAX_DISKS and PC_MAX_FLOPPIES */

struct media_info {
	char label[48];	/* "CD drive 1 (IDE)", "Floppy drive 2 (fd)", "Disk 2 (virtio)"; English */
	bool cdrom, floppy;	/* neither: a disk */
	bool removable;		/* its medium can be inserted and ejected */
	unsigned number;	/* 1...: among the drives of its kind */
	const char *bus;	/* "IDE", "AHCI", "SCSI", "virtio", "NVMe" */
	bool loaded;		/* a medium lies in the drive */
	bool open;		/* the tray is out (by the guest): the guest sees no medium */
	bool locked;		/* the guest holds the medium */
	bool readonly;
	uint64_t size;		/* bytes, of the medium */
	char path[4096];	/* of the medium; "" without one */
};

enum media_result {
	MEDIA_DONE,
	MEDIA_ASKED,	/* the guest holds the medium and was asked to let it go; @e says so */
	MEDIA_FAILED,	/* nothing was changed; @e says why */
};

unsigned vm_media_count(const struct vm *vm);
/* false: no such slot. */
bool vm_media_info(struct vm *vm, unsigned slot, struct media_info *out);
/* Requests since the start, for activity lights; lock-free, any thread, any time. */
void vm_media_activity(const struct vm *vm, unsigned slot, uint64_t *reads, uint64_t *writes);
/* Rung for each request to any drive; NULL: none is.  Under dev_lock. */
void vm_media_set_bell(struct vm *vm, struct bell *b);
/* Does the file @path look like a floppy disk's image?  By name and size: it has no mark. */
bool media_is_floppy(const char *path);
/* Where a dropped CD or floppy goes: the first such drive that is empty, else the first; or -1. */
int vm_media_drop_slot(struct vm *vm, bool floppy);

/* Put the image @path into the drive, in place of what is there. */
enum media_result vm_media_insert(struct vm *vm, unsigned slot, const char *path, struct err *e);
/* Take the medium out; @force: also from a guest that holds it.  Empty already: MEDIA_DONE. */
enum media_result vm_media_eject(struct vm *vm, unsigned slot, bool force, struct err *e);

/*
 * Make a disk larger while the guest uses it.  @told: the guest hears of it now (virtio,
 * SCSI, NVMe); else it sees the new size after its next reset (AHCI and IDE have no such notice).
 */
bool vm_disk_resize(struct vm *vm, unsigned slot, uint64_t size, bool *told, struct err *e);
/* The slot whose image is the file (@dev, @ino) and keeps what is written to it; -1: none. */
int vm_disk_of_file(struct vm *vm, uint64_t dev, uint64_t ino);

/* ---- for the board and the composition root, before the machine starts ---- */

struct media_tray {
	bool open, locked;
};

/* How a controller's drive takes a change; called under dev_lock.  CD and floppy: set, tray. */
struct media_ops {
	/* NULL: none.  Finishes what is in flight; a command in progress fails cleanly. */
	void (*set)(struct device *d, unsigned unit, struct block *block);
	/* @wish: the user wants the medium; a guest that holds it is told. */
	struct media_tray (*tray)(struct device *d, unsigned unit, bool wish);
	/* Does the drive take it?  NULL: whatever it is. */
	bool (*fits)(struct device *d, unsigned unit, struct block *block, struct err *e);
	/* The disk is larger now.  true: the guest was told; NULL: the size never changes. */
	bool (*resized)(struct device *d, unsigned unit);
};

struct media_drive {
	const char *bus;
	bool cdrom, floppy;
	const struct media_ops *ops;	/* NULL: nothing ever changes */
	struct device *device;
	unsigned unit;
	struct block *block;		/* what is in it now; NULL: nothing */
	struct block **home;		/* opener's pointer, kept true when the medium changes */
};

void vm_media_add(struct vm *vm, const struct media_drive *drive);
/* Hears of every disk opened (true) and about to be closed (false) here. */
void vm_media_set_watch(struct vm *vm, void (*watch)(void *opaque, struct block *b, bool opened),
			void *opaque);
void vm_media_free(struct vm *vm);	/* by vm_free() */

#endif
