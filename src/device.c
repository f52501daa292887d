/* SPDX-License-Identifier: MIT */
/* Device life cycle; see device.h. */
#include "vm.h"
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

struct device *device_create(struct vm *vm, const struct device_ops *ops, const char *id)
{
	struct device *d = hv_zalloc(ops->size), **tail = &vm->devices;

	HV_BUG_ON(device_find(vm, ops->name, id));
	d->ops = ops;
	d->vm = vm;
	d->id = hv_strdup(id);
	while (*tail)
		tail = &(*tail)->next;
	*tail = d;
	return d;
}

bool device_realize(struct device *d, struct err *e)
{
	HV_BUG_ON(d->realized);
	if (!d->ops->realize(d, e))
		return err_prefix(e, "%s %s", d->ops->name, d->id);
	d->realized = true;
	return true;
}

struct device *device_find(struct vm *vm, const char *ops_name, const char *id)
{
	for (struct device *d = vm->devices; d; d = d->next)
		if (!strcmp(d->ops->name, ops_name) && !strcmp(d->id, id))
			return d;
	return NULL;
}

void devices_reset(struct vm *vm)
{
	for (struct device *d = vm->devices; d; d = d->next)
		if (d->realized && d->ops->reset)
			d->ops->reset(d);
}

/* Last created goes first: devices may use those created before them. */
static void unrealize_from(struct device *d)
{
	if (!d)
		return;
	unrealize_from(d->next);
	if (d->realized && d->ops->unrealize)
		d->ops->unrealize(d);
	d->realized = false;
}

/* All let go before the first is freed: lines and wires go in both directions. */
void devices_free(struct vm *vm)
{
	unrealize_from(vm->devices);
	for (struct device *d = vm->devices, *next; d; d = next) {
		next = d->next;
		free((void *)(uintptr_t)d->id);
		free(d);
	}
	vm->devices = NULL;
}

void dev_guest_error(struct device *d, const char *fmt, ...)
{
	char msg[300];
	va_list ap;

	if (!log_allowed(&d->guest_errs))
		return;
	va_start(ap, fmt);
	vsnprintf(msg, sizeof(msg), fmt, ap);
	va_end(ap);
	log_warn("%s %s: guest: %s", d->ops->name, d->id, msg);
}

bool dev_add_region(struct device *d, struct io_region *r, struct err *e)
{
	r->dev = d;
	return bus_add(d->vm->bus, r, e);
}

struct vclock *dev_clock(struct device *d)
{
	return d->vm->clock;
}

struct guest_mem *dev_mem(struct device *d)
{
	return d->vm->mem;
}
