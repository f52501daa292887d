/* SPDX-License-Identifier: MIT */
/*
 * Drives and their media; see media.h.
 *
 * A new medium is opened before the old one goes: when that fails the drive
 * keeps what it has.  The opener's pointer (home) always names the medium in
 * the drive, so that whoever closes the disks at the end closes that one.
 */
#include "media.h"
#include <stdio.h>
#include <stdlib.h>
#include <strings.h>
#include <sys/stat.h>
#include <unistd.h>

#define FLOPPY_BYTES 2949120	/* the largest: 2.88 MB */

struct slot {
	struct media_drive drive;	/* block: under dev_lock */
	unsigned number;
	struct block_activity activity;
};

struct media {
	struct slot slot[MEDIA_SLOTS];
	unsigned n;
	void (*watch)(void *opaque, struct block *b, bool opened);
	void *watch_opaque;
};

void vm_media_add(struct vm *vm, const struct media_drive *drive)
{
	struct slot *s;

	if (!vm->media)
		vm->media = hv_zalloc(sizeof(*vm->media));
	HV_BUG_ON(vm->media->n == MEDIA_SLOTS);
	s = &vm->media->slot[vm->media->n++];
	s->drive = *drive;
	for (unsigned i = 0; i < vm->media->n; i++)
		s->number += vm->media->slot[i].drive.cdrom == drive->cdrom &&
			     vm->media->slot[i].drive.floppy == drive->floppy;
	if (drive->block)
		block_count(drive->block, &s->activity);
}

void vm_media_free(struct vm *vm)
{
	free(vm->media);
	vm->media = NULL;
}

void vm_media_set_watch(struct vm *vm, void (*watch)(void *opaque, struct block *b, bool opened),
			void *opaque)
{
	if (!vm->media)
		vm->media = hv_zalloc(sizeof(*vm->media));
	vm->media->watch = watch;
	vm->media->watch_opaque = opaque;
}

unsigned vm_media_count(const struct vm *vm)
{
	return vm->media ? vm->media->n : 0;
}

static bool removable(const struct media_drive *d)
{
	return (d->cdrom || d->floppy) && d->ops && d->home;
}

static struct slot *find(const struct vm *vm, unsigned slot)
{
	return slot < vm_media_count(vm) ? &vm->media->slot[slot] : NULL;
}

bool vm_media_info(struct vm *vm, unsigned slot, struct media_info *out)
{
	struct slot *s = find(vm, slot);
	const struct media_drive *d;

	if (!s)
		return false;
	d = &s->drive;
	*out = (struct media_info){ .cdrom = d->cdrom, .floppy = d->floppy, .number = s->number,
				    .removable = removable(d), .bus = d->bus };
	snprintf(out->label, sizeof(out->label), "%s %u (%s)", d->cdrom ? "CD drive" :
		 d->floppy ? "Floppy drive" : "Disk", s->number, d->bus);
	vm_lock(vm);
	if (removable(d)) {
		struct media_tray t = d->ops->tray(d->device, d->unit, false);

		out->open = t.open;
		out->locked = t.locked;
	}
	if (d->block) {
		const struct block_info *i = block_info(d->block);

		out->loaded = true;
		out->readonly = i->readonly;
		out->size = i->size;
		snprintf(out->path, sizeof(out->path), "%s", i->path);
	}
	vm_unlock(vm);
	return true;
}

void vm_media_activity(const struct vm *vm, unsigned slot, uint64_t *reads, uint64_t *writes)
{
	const struct slot *s = find(vm, slot);

	*reads = s ? atomic_load_explicit(&s->activity.reads, memory_order_relaxed) : 0;
	*writes = s ? atomic_load_explicit(&s->activity.writes, memory_order_relaxed) : 0;
}

void vm_media_set_bell(struct vm *vm, struct bell *b)
{
	for (unsigned i = 0; vm->media && i < vm->media->n; i++)
		vm->media->slot[i].activity.bell = b;
}

bool media_is_floppy(const char *path)
{
	const char *dot = strrchr(path, '.');
	struct stat st;

	return dot && (!strcasecmp(dot, ".vfd") || !strcasecmp(dot, ".img") ||
		       !strcasecmp(dot, ".flp")) &&
	       stat(path, &st) == 0 && S_ISREG(st.st_mode) && st.st_size > 0 &&
	       st.st_size <= FLOPPY_BYTES;
}

int vm_media_drop_slot(struct vm *vm, bool floppy)
{
	struct media_info i;
	int first = -1;

	for (unsigned n = 0; vm_media_info(vm, n, &i); n++) {
		if (floppy ? !i.floppy : !i.cdrom)
			continue;
		if (!i.loaded)
			return (int)n;
		if (first < 0)
			first = (int)n;
	}
	return first;
}

/* A slot whose medium may change now. */
static enum media_result may_change(struct vm *vm, unsigned slot, bool force, struct slot **out,
				    struct err *e)
{
	struct slot *s = *out = find(vm, slot);
	struct media_tray t;

	if (!s || !removable(&s->drive)) {
		err_set(e, HV_EXIT_USAGE, s ? "drive %u: its medium cannot be changed while the "
			"machine runs; only CD and floppy drives can" :
			"there is no drive %u", slot);
		return MEDIA_FAILED;
	}
	if (!s->drive.block)
		return MEDIA_DONE;
	vm_lock(vm);
	t = s->drive.ops->tray(s->drive.device, s->drive.unit, !force);
	vm_unlock(vm);
	if (!t.locked || t.open || force)
		return MEDIA_DONE;
	err_set(e, HV_EXIT_GENERIC, "%s is in use by the guest, which was asked to release it; "
		"eject it in the guest or try again", block_info(s->drive.block)->path);
	return MEDIA_ASKED;
}

static void change(struct vm *vm, struct slot *s, struct block *block)
{
	struct media *m = vm->media;
	struct block *old = s->drive.block;

	if (block)
		block_count(block, &s->activity);
	if (block && m->watch)
		m->watch(m->watch_opaque, block, true);
	vm_lock(vm);
	if (old)	/* what waits for the host is given up, not waited for */
		block_drain(old);
	s->drive.ops->set(s->drive.device, s->drive.unit, block);
	*s->drive.home = s->drive.block = block;
	if (old && m->watch)
		m->watch(m->watch_opaque, old, false);
	block_close(old);
	vm_unlock(vm);
}

enum media_result vm_media_insert(struct vm *vm, unsigned slot, const char *path, struct err *e)
{
	struct slot *s;
	struct block *block;
	enum media_result r = may_change(vm, slot, false, &s, e);

	if (r != MEDIA_DONE)
		return r;
	block = block_open(path, NULL, s->drive.floppy && access(path, W_OK) == 0 ? 0 :
			   BLOCK_RDONLY, vm->loop, e);
	if (!block)
		return MEDIA_FAILED;
	if (s->drive.ops->fits && !s->drive.ops->fits(s->drive.device, s->drive.unit, block, e)) {
		vm_lock(vm);
		block_close(block);
		vm_unlock(vm);
		return MEDIA_FAILED;
	}
	change(vm, s, block);
	log_info("%s is in %s drive %u", path, s->drive.floppy ? "floppy" : "CD", s->number);
	return MEDIA_DONE;
}

enum media_result vm_media_eject(struct vm *vm, unsigned slot, bool force, struct err *e)
{
	struct slot *s;
	enum media_result r = may_change(vm, slot, force, &s, e);

	if (r == MEDIA_DONE && s->drive.block)
		change(vm, s, NULL);
	return r;
}

bool vm_disk_resize(struct vm *vm, unsigned slot, uint64_t size, bool *told, struct err *e)
{
	struct slot *s = find(vm, slot);
	bool ok;

	if (!s || s->drive.cdrom || s->drive.floppy || !s->drive.ops || !s->drive.ops->resized)
		return err_set(e, HV_EXIT_USAGE, s ? "drive %u: is no disk that can become larger" :
			       "there is no drive %u", slot);
	vm_lock(vm);
	ok = block_resize(s->drive.block, size, e);
	*told = ok && s->drive.ops->resized(s->drive.device, s->drive.unit);
	vm_unlock(vm);
	return ok;
}

int vm_disk_of_file(struct vm *vm, uint64_t dev, uint64_t ino)
{
	for (unsigned i = 0; i < vm_media_count(vm); i++) {
		const struct media_drive *d = &vm->media->slot[i].drive;
		bool mine;

		vm_lock(vm);
		mine = d->block && block_is_file(d->block, dev, ino);
		vm_unlock(vm);
		if (mine)
			return (int)i;
	}
	return -1;
}
