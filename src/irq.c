/* SPDX-License-Identifier: MIT */
/* Interrupt line fan-in and fan-out; see irq.h. */
#include "irq.h"
#include "util.h"

static void fanin_set(void *sink, unsigned pin, bool level)
{
	struct irq_fanin *f = sink;

	if (level)
		f->levels |= 1u << pin;
	else
		f->levels &= ~(1u << pin);
	irq_set(&f->out, f->levels != 0);
}

struct irq_line irq_fanin_line(struct irq_fanin *f, unsigned source)
{
	HV_BUG_ON(source >= 32);
	return (struct irq_line){ .set = fanin_set, .sink = f, .pin = source };
}

static void fanout_set(void *sink, unsigned pin, bool level)
{
	struct irq_fanout *f = sink;

	(void)pin;
	for (unsigned i = 0; i < f->n; i++)
		irq_set(&f->out[i], level);
}

struct irq_line irq_fanout_line(struct irq_fanout *f)
{
	return (struct irq_line){ .set = fanout_set, .sink = f };
}
