/* SPDX-License-Identifier: MIT */
/*
 * The shape of a device: one const descriptor, one struct that begins with
 * struct device, one file.
 *
 * Life: device_create() -> realize -> reset -> (reset | save | load)* ->
 * unrealize.  realize allocates, maps regions and claims lines; reset puts
 * every guest-visible register to its power-on value; both under dev_lock or
 * before the VM runs.
 */
#ifndef HV_DEVICE_H
#define HV_DEVICE_H

#include "bus.h"
#include "clock.h"
#include "err.h"
#include "irq.h"
#include "log.h"
#include "mem.h"
#include "state.h"
#include "util.h"

struct vm;
struct device;

struct device_ops {
	const char *name;	/* stable: names the state section */
	size_t size;		/* of the instance struct */
	bool (*realize)(struct device *d, struct err *e);
	void (*reset)(struct device *d);
	void (*unrealize)(struct device *d);	/* may be NULL */
	const struct state_field *state;	/* NULL: no state (then say why in the file) */
	uint8_t state_version;
	/* Validates loaded fields (hostile) and re-derives the rest; NULL: nothing to check. */
	bool (*post_load)(struct device *d, struct err *e);
	void (*pre_save)(struct device *d);	/* may be NULL */
};

struct device {
	const struct device_ops *ops;
	struct vm *vm;
	const char *id;		/* unique in the VM with ops->name, e.g. "com1" */
	struct log_limit guest_errs;
	bool realized;
	struct device *next;	/* vm's list, in creation order */
};

/*
 * Allocate and link an instance (not yet realized): the caller sets its
 * wiring fields (irq_line, back ends), then device_realize().  @id is copied.
 */
struct device *device_create(struct vm *vm, const struct device_ops *ops, const char *id);
bool device_realize(struct device *d, struct err *e);
struct device *device_find(struct vm *vm, const char *ops_name, const char *id);
/* Reset / save / load every realized device in creation order; under dev_lock. */
void devices_reset(struct vm *vm);
void devices_free(struct vm *vm);

/* A guest's mistake: logged at a bounded rate, then answered as hardware would. */
void dev_guest_error(struct device *d, const char *fmt, ...) HV_PRINTF(2, 3);

/* Shorthands used by nearly every device. */
bool dev_add_region(struct device *d, struct io_region *r, struct err *e);
struct vclock *dev_clock(struct device *d);
struct guest_mem *dev_mem(struct device *d);

#define DEVICE_CHECK(T) \
	_Static_assert(offsetof(T, dev) == 0, #T " must begin with struct device dev")

#endif
