/* SPDX-License-Identifier: MIT */
/*
 * Debug-exit port: a test guest writes its result here and the machine ends.
 *
 * The convention of the isa-debug-exit device that kvm-unit-tests and kernel
 * test suites write to (port 0xf4, sometimes 0x501); there is no data sheet.
 */
#include "debugport.h"
#include "../src/vm.h"

struct debugexit {
	struct device dev;
	/* immutable after realize */
	uint16_t port;
	unsigned width;
	struct io_region io;
};
DEVICE_CHECK(struct debugexit);

static void debugexit_write(struct device *d, uint64_t off, unsigned size, uint64_t val)
{
	vm_debug_exit(d->vm, (unsigned)val);
}

static const struct io_ops debugexit_io = {
	.write = debugexit_write, .min_size = 1, .max_size = 4,
};

static bool debugexit_realize(struct device *d, struct err *e)
{
	struct debugexit *s = (struct debugexit *)d;

	s->io = (struct io_region){ .kind = BUS_PIO, .base = s->port, .len = s->width,
		.ops = &debugexit_io, .name = "debug-exit" };
	return dev_add_region(d, &s->io, e);
}

void debugexit_wire(struct device *d, uint16_t port, unsigned width)
{
	struct debugexit *s = (struct debugexit *)d;

	HV_BUG_ON(width != 1 && width != 2 && width != 4);
	s->port = port;
	s->width = width;
}

/* No state: a write ends the machine. */
const struct device_ops debugexit_ops = {
	.name = "debugexit",
	.size = sizeof(struct debugexit),
	.realize = debugexit_realize,
};
