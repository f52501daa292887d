/* SPDX-License-Identifier: MIT */
/*
 * Paravirtual panic port ("PVPANIC DEVICE", docs/specs/pvpanic of the QEMU
 * project): the guest's kernel tells that it crashed.  Port 505h, one byte:
 * bit 0 panicked, bit 1 panicked and goes on to a crash kernel; reading tells
 * which of them the machine knows.
 */
#include "pvpanic.h"
#include "../src/vm.h"

#define EV_PANICKED 1u
#define EV_CRASH_KERNEL 2u

struct pvpanic {
	struct device dev;
	struct io_region io;
	uint8_t seen;		/* since the last reset */
};
DEVICE_CHECK(struct pvpanic);

static const struct state_field pvpanic_state[] = {
	STATE_U8(struct pvpanic, seen),
	STATE_END
};

static uint64_t pvpanic_read(struct device *d, uint64_t off, unsigned size)
{
	return EV_PANICKED | EV_CRASH_KERNEL;
}

static void pvpanic_write(struct device *d, uint64_t off, unsigned size, uint64_t val)
{
	struct pvpanic *s = (struct pvpanic *)d;
	uint8_t fresh = val & (EV_PANICKED | EV_CRASH_KERNEL) & ~s->seen;

	s->seen |= fresh;
	if (fresh & EV_PANICKED)
		log_warn("the guest's kernel panicked");
	else if (fresh & EV_CRASH_KERNEL)
		log_warn("the guest's kernel panicked and starts its crash kernel");
}

static const struct io_ops pvpanic_io = {
	.read = pvpanic_read, .write = pvpanic_write, .min_size = 1, .max_size = 1,
};

static bool pvpanic_realize(struct device *d, struct err *e)
{
	struct pvpanic *s = (struct pvpanic *)d;

	s->io = (struct io_region){ .kind = BUS_PIO, .base = PVPANIC_PORT, .len = 1,
				    .ops = &pvpanic_io, .name = "pvpanic" };
	return dev_add_region(d, &s->io, e);
}

static void pvpanic_reset(struct device *d)
{
	((struct pvpanic *)d)->seen = 0;
}

static bool pvpanic_post_load(struct device *d, struct err *e)
{
	((struct pvpanic *)d)->seen &= EV_PANICKED | EV_CRASH_KERNEL;
	return true;
}

uint8_t pvpanic_seen(struct device *d)
{
	return ((struct pvpanic *)d)->seen;
}

const struct device_ops pvpanic_ops = {
	.name = "pvpanic",
	.size = sizeof(struct pvpanic),
	.realize = pvpanic_realize,
	.reset = pvpanic_reset,
	.state = pvpanic_state,
	.state_version = 1,
	.post_load = pvpanic_post_load,
};
