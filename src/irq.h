/* SPDX-License-Identifier: MIT */
/*
 * Interrupt lines and messages as values.
 *
 * A line has level semantics: the owner calls irq_set() with the level that
 * its state implies, as often as it likes.  Sinks are idempotent.
 * All of it runs under vm->dev_lock.
 */
#ifndef HV_IRQ_H
#define HV_IRQ_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct irq_line {
	void (*set)(void *sink, unsigned pin, bool level);
	void *sink;
	unsigned pin;
};

/* An unconnected line (set == NULL) swallows the call. */
static inline void irq_set(const struct irq_line *l, bool level)
{
	if (l->set)
		l->set(l->sink, l->pin, level);
}

static inline void irq_pulse(const struct irq_line *l)
{
	irq_set(l, true);
	irq_set(l, false);
}

/*
 * Wired-OR of up to 32 sources onto one line (PCI INTx links, SCI).
 * Embed one per output; irq_fanin_line(f, n) is the line of source n.
 */
struct irq_fanin {
	struct irq_line out;
	uint32_t levels;
};
struct irq_line irq_fanin_line(struct irq_fanin *f, unsigned source);

/*
 * One line to several sinks (ISA IRQ n: 8259 and IOAPIC).  At most 4.
 */
struct irq_fanout {
	struct irq_line out[4];
	unsigned n;
};
struct irq_line irq_fanout_line(struct irq_fanout *f);

/*
 * Where messages go: the local APICs.  Set by the CPU engine (in-kernel) or
 * by devices/lapic.c (software CPU).  addr/data as on the bus (Intel SDM
 * vol. 3 "Message Signalled Interrupts").
 */
struct msi_sink {
	void (*send)(void *opaque, uint64_t addr, uint32_t data);
	/* Tells the engine that IOAPIC pin @gsi now sends this message, so that it can
	 * report EOIs of its vector.  Optional. */
	void (*route)(void *opaque, unsigned gsi, uint64_t addr, uint32_t data, bool level);
	void *opaque;
};

static inline void msi_send(const struct msi_sink *s, uint64_t addr, uint32_t data)
{
	if (s->send)
		s->send(s->opaque, addr, data);
}

#endif
