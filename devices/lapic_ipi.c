/* SPDX-License-Identifier: MIT */
/*
 * Messages between local APICs, and from devices to them: destinations (Intel
 * SDM vol. 3A, 11.6.2), MSIs (11.11), interprocessor interrupts (11.6.1).
 */
#include "lapic_int.h"

static bool match_logical(const struct lapic *l, uint32_t dest)
{
	uint32_t ldr = l->ldr >> 24;

	if (lapic_x2(l)) {
		ldr = lapic_x2_ldr(l->w.apic_id);
		return ldr >> 16 == dest >> 16 && ldr & dest & 0xffff;
	}
	if (l->dfr >> 28 == 0xf)
		return ldr & dest & 0xff;
	return l->dfr >> 28 == 0 && ldr >> 4 == (dest >> 4 & 0xf) && ldr & dest & 0xf;
}

static bool lapic_matches(const struct lapic *l, const struct lapic_msg *m)
{
	if (!lapic_enabled(l))
		return false;
	if (m->dest == BROADCAST || (!m->wide && m->dest == 0xff))
		return true;
	if (m->logical)
		return match_logical(l, m->dest);
	return m->dest == (lapic_x2(l) ? l->w.apic_id : l->id);
}

static void bus_deliver_lowest(struct lapic_bus *b, const struct lapic_msg *m)
{
	struct lapic *best = NULL;
	unsigned best_at = 0;

	for (unsigned i = 0; i < b->n; i++) {
		unsigned at = (b->next_lowest + i) % b->n;
		struct lapic *l = b->apic[at];

		if (!lapic_matches(l, m) || !lapic_soft_enabled(l))
			continue;
		if (best && lapic_ppr(l) >= lapic_ppr(best))
			continue;
		best = l;
		best_at = at;
	}
	if (!best)
		return;
	b->next_lowest = (best_at + 1) % b->n;
	lapic_accept(best, m);
}

static void bus_deliver(struct lapic_bus *b, const struct lapic_msg *m)
{
	if (m->lowest) {
		bus_deliver_lowest(b, m);
		return;
	}
	for (unsigned i = 0; i < b->n; i++)
		if (lapic_matches(b->apic[i], m))
			lapic_accept(b->apic[i], m);
}

/* 11.11: address bits 19:12 destination, 3 redirection hint, 2 mode; data as in an RTE. */
void lapic_bus_msi(void *opaque, uint64_t addr, uint32_t data)
{
	const struct lapic_msg m = {
		.dest = addr >> 12 & 0xff,
		.logical = addr & 4,
		.vector = data & 0xff,
		.mode = data >> 8 & 7,
		.level = data & ICR_LEVEL,
		.lowest = (data >> 8 & 7) == MODE_LOWEST || ((data >> 8 & 7) == 0 && (addr & 8)),
	};

	if ((addr & ~0xfffffull) == BASE_DEFAULT)
		bus_deliver(opaque, &m);
}

/* ---- interprocessor interrupts (11.6.1) ---- */

static void icr_shorthand(struct lapic *l, const struct lapic_msg *m, unsigned kind)
{
	struct lapic_bus *b = l->w.bus;

	for (unsigned i = 0; i < b->n; i++) {
		bool self = b->apic[i] == l;

		if (lapic_enabled(b->apic[i]) && (kind == 2 || self == (kind == 1)))
			lapic_accept(b->apic[i], m);
	}
}

void lapic_icr_send(struct lapic *l)
{
	uint32_t lo = (uint32_t)l->icr;
	unsigned kind = lo >> 18 & 3;
	struct lapic_msg m = {
		.vector = lo & 0xff,
		.mode = lo >> 8 & 7,
		.logical = lo & ICR_LOGICAL,
		.lowest = (lo >> 8 & 7) == MODE_LOWEST,
		.wide = lapic_x2(l),
		.dest = (uint32_t)(l->icr >> 32),
	};

	if (!m.wide)
		m.dest >>= 24;
	if (m.mode == MODE_INIT && lo & ICR_LEVEL && !(lo & ICR_ASSERT))
		return;		/* de-assert: only synchronised arbitration IDs */
	if (m.mode <= MODE_LOWEST && m.vector < 16) {
		lapic_error(l, ESR_SEND_VECTOR);
		return;
	}
	if (kind)
		icr_shorthand(l, &m, kind);
	else
		bus_deliver(l->w.bus, &m);
}
