/* SPDX-License-Identifier: MIT */
/*
 * A full disk, or one that fails, stops the machine instead of its guest's
 * data: the machine is paused with a message, the requests that failed are
 * tried again every second, and it goes on when they went through.
 *
 * Main thread, except that block.c may call in from any.
 */
#ifndef HV_DISKHOLD_H
#define HV_DISKHOLD_H

#include "block.h"
#include "vm.h"

struct disk_hold;

struct disk_hold *disk_hold_new(struct vm *vm);
void disk_hold_free(struct disk_hold *h);	/* the disks are closed */
void disk_hold_add(struct disk_hold *h, struct block *b);
/* @b is about to be closed. */
void disk_hold_remove(struct disk_hold *h, struct block *b);
/* Called on any thread when disk_hold_step() has something to do; may only signal. */
void disk_hold_set_wakeup(struct disk_hold *h, void (*fn)(void *opaque), void *opaque);
/* Milliseconds until the next disk_hold_step(); -1: nothing is held. */
int disk_hold_timeout_ms(const struct disk_hold *h);
void disk_hold_step(struct disk_hold *h);

/* What the guest waits for, for a window to show; main thread.  false: nothing. */
struct disk_trouble {
	char path[4096];
	enum block_op op;
	int error;		/* errno: ENOSPC, EDQUOT, EIO ... */
	char text[512];		/* the whole message, one sentence or two */
};
bool disk_hold_trouble(const struct disk_hold *h, struct disk_trouble *out);

#endif
