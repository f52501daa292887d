/* SPDX-License-Identifier: MIT */
/*
 * Doorbells: guest writes to a notify register that reach an eventfd without
 * a stop of the vCPU, where the engine can do that.
 *
 * The caller keeps its bus region as well: it answers where the engine has
 * no doorbells (software CPU: the calls return false) and reads.
 *
 * Locking: under vm->dev_lock, or before the machine runs.  A doorbell must
 * be removed before its region moves, and before its eventfd is closed.
 */
#ifndef HV_DOORBELL_H
#define HV_DOORBELL_H

#include "bus.h"

struct vm;

/*
 * A write of @len bytes (1, 2, 4, 8; 0 = any length) at @addr signals
 * @eventfd; with @match only when the value written equals it.
 */
bool vm_doorbell_add(struct vm *vm, enum bus_kind kind, uint64_t addr, unsigned len, int eventfd,
		     const uint64_t *match);
void vm_doorbell_del(struct vm *vm, enum bus_kind kind, uint64_t addr, unsigned len, int eventfd,
		     const uint64_t *match);

#endif
