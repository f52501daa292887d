/* SPDX-License-Identifier: MIT */
/* Local APICs of the software CPUs: wiring for the board. */
#ifndef HV_LAPIC_H
#define HV_LAPIC_H

#include "../src/vm.h"

struct lapic;

/* All local APICs of one machine; in the board's struct, filled by device_realize(). */
struct lapic_bus {
	struct lapic *apic[VM_MAX_CPUS];
	unsigned n;
	unsigned next_lowest;	/* where the search for the lowest priority starts: spreads ties */
};

struct lapic_wiring {
	struct lapic_bus *bus;
	uint32_t apic_id;
	bool bsp;
	struct cpu_signal sig;		/* sig.cpu is also the argument of tsc() */
	/*
	 * The TSC that the guest reads, and its rate, for the deadline timer.  NULL: virtual
	 * nanoseconds.  Called with dev_lock, from the CPU's own thread or the loop thread.
	 */
	uint64_t (*tsc)(void *cpu);
	uint64_t tsc_hz;
};

extern const struct device_ops lapic_ops;

/* One of each CPU of @vm, realized; they are on @b and receive the machine's MSIs. */
bool lapic_add_all(struct vm *vm, struct lapic_bus *b, struct err *e);
void lapic_wire(struct device *d, const struct lapic_wiring *w);	/* before realize */
struct apic lapic_apic(struct device *d);		/* what the CPU calls */
/* Local interrupt pin @n (0 or 1) of one APIC: LINT1 is the NMI in a PC. */
struct irq_line lapic_lint(struct device *d, unsigned n);
/* The 8259's INTR, wired to LINT0 of every APIC on the bus. */
struct irq_line lapic_extint_line(struct lapic_bus *b);
/* For vm->msi. */
struct msi_sink lapic_msi_sink(struct lapic_bus *b);

#endif
