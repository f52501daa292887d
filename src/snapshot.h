/* SPDX-License-Identifier: MIT */
/*
 * Save and load of a whole machine: clock, CPUs, devices, memory.
 *
 * The stream describes the state only.  It is loaded into a machine of the
 * same description (engine apart) that was never started; back ends (disks,
 * network) are the caller's, and disks must have the contents that they had
 * when the machine was saved.
 */
#ifndef HV_SNAPSHOT_H
#define HV_SNAPSHOT_H

#include "err.h"
#include <stdio.h>

struct vm;

/* The machine is paused.  Requests in flight are finished first. */
bool snapshot_save(struct vm *vm, FILE *out, struct err *e);
/*
 * Before vm_start(), which then goes on from the loaded state.  false + @e:
 * the stream is damaged or of another machine; @vm can only be freed.
 */
bool snapshot_load(struct vm *vm, FILE *in, struct err *e);

#endif
