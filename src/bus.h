/* SPDX-License-Identifier: MIT */
/*
 * Port and MMIO dispatch: one API for both address spaces.
 *
 * A region belongs to a device and declares which access sizes its handlers
 * take; the dispatcher splits larger accesses, widens smaller ones (reads
 * only), zero-extends, and answers holes with all-ones.  Handlers get an
 * offset relative to the region.  Two enabled regions never overlap.
 *
 * Locking: bus_read()/bus_write() take vm->dev_lock around the handler.
 * Regions change only under dev_lock.
 */
#ifndef HV_BUS_H
#define HV_BUS_H

#include "err.h"
#include "util.h"
#include <pthread.h>

struct device;
struct bus;

enum bus_kind { BUS_PIO, BUS_MMIO };

struct io_ops {
	/* Under dev_lock.  @off is inside the region; @size within [min_size, max_size]. */
	uint64_t (*read)(struct device *d, uint64_t off, unsigned size);
	void (*write)(struct device *d, uint64_t off, unsigned size, uint64_t val);
	uint8_t min_size, max_size;	/* 1, 2, 4 or 8 */
};

/*
 * Embedded in the device that owns it; the bus keeps a pointer while it is
 * enabled.  Fill with designated initialisers, then bus_add().
 */
struct io_region {
	enum bus_kind kind;
	uint64_t base, len;
	const struct io_ops *ops;
	struct device *dev;	/* passed to the handlers */
	const char *name;
	bool enabled;		/* bus.c only */
};

struct bus *bus_new(pthread_mutex_t *dev_lock);
void bus_free(struct bus *b);

/* Enable @r.  false + @e when it overlaps another region or leaves the address space. */
bool bus_add(struct bus *b, struct io_region *r, struct err *e);
/* Disable; no effect when it is not enabled.  Under dev_lock (or before start). */
void bus_remove(struct bus *b, struct io_region *r);
/*
 * Move to @base and enable or disable, as guests do with BARs.  An overlap
 * leaves the region disabled and returns false: the guest's mistake, nothing breaks.
 */
bool bus_move(struct bus *b, struct io_region *r, uint64_t base, bool enable);

/* Guest accesses, from vCPU threads without dev_lock.  @size 1, 2, 4 or 8. */
uint64_t bus_read(struct bus *b, enum bus_kind k, uint64_t addr, unsigned size);
void bus_write(struct bus *b, enum bus_kind k, uint64_t addr, unsigned size, uint64_t val);

/* The same for callers that hold dev_lock (tests, device models, monitors). */
uint64_t bus_read_locked(struct bus *b, enum bus_kind k, uint64_t addr, unsigned size);
void bus_write_locked(struct bus *b, enum bus_kind k, uint64_t addr, unsigned size, uint64_t val);

#endif
