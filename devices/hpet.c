/* SPDX-License-Identifier: MIT */
/*
 * High precision event timers (IA-PC HPET Specification 1.0a): one block, a
 * 64-bit counter of 10 ns and three comparators, all able to be periodic,
 * routed to IOAPIC pins 20-23 or, in legacy replacement mode, 0 and 1 in
 * place of the 8254 and the RTC.
 *
 * An edge leaves its line high until the next one: the 8259 forgets a request
 * that falls before it is acknowledged.  Periods whose timer came late are
 * made up for by quicker ticks, up to MAX_LATE of them.
 *
 * Left out: interrupts by message (FSB).
 */
#include "hpet.h"
#include "../src/vm.h"

#define TIMERS 3
#define TICK_NS 10u
#define PERIOD_FS 10000000ull	/* femtoseconds a tick */
#define MIN_TICK_NS 40000u	/* a faster rate only costs host time */
#define MAX_LATE 10u
#define FAR_TICKS (1ull << 56)	/* further away than any machine runs */

#define GEN_ENABLE 0x1
#define GEN_LEGACY 0x2

#define T_LEVEL 0x0002
#define T_ENABLE 0x0004
#define T_PERIODIC 0x0008
#define T_CAPS 0x0030		/* periodic, 64 bits */
#define T_VAL_SET 0x0040
#define T_32BIT 0x0100
#define T_ROUTE_SHIFT 9
#define T_WRITABLE (T_LEVEL | T_ENABLE | T_PERIODIC | T_VAL_SET | T_32BIT | 31 << T_ROUTE_SHIFT)
#define ROUTE_CAP (0xfull << HPET_FIRST_PIN)

struct hpet_timer {
	uint64_t config;	/* writable bits */
	uint64_t cmp, period;
	struct vtimer timer;
	struct hpet *block;
};

struct hpet {
	struct device dev;
	struct hpet_timer t[TIMERS];
	uint64_t general;
	uint64_t counter;	/* value while halted, and at @start */
	uint64_t start;		/* virtual ns of enabling */
	uint64_t status;
	uint8_t high;		/* edge-triggered timers whose line is up */
	bool pit_level, rtc_level;
	struct irq_line irq0, irq8, pin[HPET_PINS];
	struct io_region io;
};
DEVICE_CHECK(struct hpet);

static const struct state_field timer_fields[] = {
	STATE_U64(struct hpet_timer, config), STATE_U64(struct hpet_timer, cmp),
	STATE_U64(struct hpet_timer, period), STATE_TIMER(struct hpet_timer, timer),
	STATE_END
};

static const struct state_field hpet_fields[] = {
	STATE_STRUCTS(struct hpet, t, timer_fields), STATE_U64(struct hpet, general),
	STATE_U64(struct hpet, counter), STATE_U64(struct hpet, start),
	STATE_U64(struct hpet, status), STATE_U8(struct hpet, high),
	STATE_BOOL(struct hpet, pit_level), STATE_BOOL(struct hpet, rtc_level),
	STATE_END
};

static uint64_t hpet_now(const struct hpet *s)
{
	return vclock_now(s->dev.vm->clock);
}

static uint64_t main_counter(const struct hpet *s)
{
	uint64_t now = hpet_now(s);

	if (!(s->general & GEN_ENABLE) || now < s->start)
		return s->counter;
	return s->counter + (now - s->start) / TICK_NS;
}

/* ---- Interrupts (2.3.8, 2.4.5) ---- */

static bool timer_level(const struct hpet *s, unsigned n)
{
	if (!(s->general & GEN_ENABLE) || !(s->t[n].config & T_ENABLE))
		return false;
	return (s->t[n].config & T_LEVEL ? s->status : s->high) >> n & 1;
}

static void update_irqs(struct hpet *s)
{
	bool legacy = s->general & GEN_LEGACY, pin[HPET_PINS] = { false };

	for (unsigned n = legacy ? 2 : 0; n < TIMERS; n++) {
		unsigned route = s->t[n].config >> T_ROUTE_SHIFT & 31;

		if (route - HPET_FIRST_PIN < HPET_PINS)
			pin[route - HPET_FIRST_PIN] |= timer_level(s, n);
	}
	for (unsigned i = 0; i < HPET_PINS; i++)
		irq_set(&s->pin[i], pin[i]);
	irq_set(&s->irq0, legacy ? timer_level(s, 0) : s->pit_level);
	irq_set(&s->irq8, legacy ? timer_level(s, 1) : s->rtc_level);
}

static void fire(struct hpet *s, unsigned n)
{
	if (s->t[n].config & T_LEVEL) {
		s->status |= 1u << n;
	} else {
		s->high &= ~(1u << n);
		update_irqs(s);
		s->high |= 1u << n;
	}
	update_irqs(s);
}

static void pit_set(void *sink, unsigned pin, bool level)
{
	((struct hpet *)sink)->pit_level = level;
	update_irqs(sink);
}

static void rtc_set(void *sink, unsigned pin, bool level)
{
	((struct hpet *)sink)->rtc_level = level;
	update_irqs(sink);
}

/* ---- Comparators (2.3.9) ---- */

/* Ticks until the comparator matches next, FAR_TICKS and more: not in this life. */
static uint64_t ticks_to_match(const struct hpet_timer *t, uint64_t now)
{
	uint64_t diff = t->cmp - now;

	if (!(t->config & T_32BIT))
		return diff ? diff : UINT64_MAX;	/* this match has been */
	diff &= UINT32_MAX;
	return diff ? diff : 1ull << 32;
}

static void rearm(struct hpet *s, unsigned n)
{
	struct hpet_timer *t = &s->t[n];
	uint64_t ticks, ns;

	if (!(s->general & GEN_ENABLE) || !(t->config & T_ENABLE)) {
		vtimer_cancel(&t->timer);
		return;
	}
	ticks = ticks_to_match(t, main_counter(s));
	if (ticks >= FAR_TICKS) {
		vtimer_cancel(&t->timer);
		return;
	}
	ns = ticks * TICK_NS;
	if (t->config & T_PERIODIC)
		ns = MAX(ns, MIN_TICK_NS);
	vtimer_arm(&t->timer, hpet_now(s) + ns);
}

static uint64_t width_mask(const struct hpet_timer *t)
{
	return t->config & T_32BIT ? UINT32_MAX : UINT64_MAX;
}

/* On to the next period; what is long past is let go. */
static bool next_period(struct hpet_timer *t, uint64_t now)
{
	uint64_t mask = width_mask(t), late = (now - t->cmp) & mask;

	if (late / t->period > MAX_LATE)
		t->cmp += (late / t->period - MAX_LATE) * t->period;
	t->cmp = (t->cmp + t->period) & mask;
	late = (now - t->cmp) & mask;
	return late < mask / 2;		/* this one is due already */
}

static void timer_fired(void *opaque)
{
	struct hpet_timer *t = opaque;
	struct hpet *s = t->block;
	unsigned n = (unsigned)(t - s->t);

	if (t->config & T_PERIODIC && t->period && next_period(t, main_counter(s)))
		vtimer_arm(&t->timer, hpet_now(s) + MIN_TICK_NS);
	else
		rearm(s, n);
	fire(s, n);
}

/* ---- Registers (2.3) ---- */

static void write_general(struct hpet *s, uint64_t val)
{
	uint64_t old = s->general;

	if (old & ~val & GEN_ENABLE)
		s->counter = main_counter(s);
	if (val & ~old & GEN_ENABLE)
		s->start = hpet_now(s);
	s->general = val & (GEN_ENABLE | GEN_LEGACY);
	if ((old ^ s->general) & GEN_ENABLE)
		s->high = 0;
	for (unsigned n = 0; n < TIMERS; n++)
		rearm(s, n);
	update_irqs(s);
}

static void write_counter(struct hpet *s, uint64_t val)
{
	s->counter = val;
	s->start = hpet_now(s);
	for (unsigned n = 0; n < TIMERS; n++)
		rearm(s, n);
}

static void write_config(struct hpet *s, unsigned n, uint64_t val)
{
	struct hpet_timer *t = &s->t[n];
	uint64_t old = t->config;

	t->config = val & T_WRITABLE;
	if (old & ~t->config & T_LEVEL)
		s->status &= ~(1ull << n);
	if (!(t->config & T_ENABLE))
		s->high &= ~(1u << n);
	if (t->config & T_32BIT) {
		t->cmp &= UINT32_MAX;
		t->period &= UINT32_MAX;
	}
	rearm(s, n);
	update_irqs(s);
}

/* Periodic: the comparator itself only after VAL_SET, which that write clears. */
static void write_comparator(struct hpet *s, unsigned n, uint64_t val)
{
	struct hpet_timer *t = &s->t[n];

	val &= width_mask(t);
	if (!(t->config & T_PERIODIC) || t->config & T_VAL_SET)
		t->cmp = val;
	if (t->config & T_PERIODIC)
		t->period = val;
	t->config &= ~(uint64_t)T_VAL_SET;
	rearm(s, n);
}

static uint64_t read_reg(const struct hpet *s, unsigned reg)
{
	unsigned n = (reg - 0x100) >> 5;

	switch (reg) {
	case 0x000:
		return PERIOD_FS << 32 | HPET_BLOCK_ID;
	case 0x010:
		return s->general;
	case 0x020:
		return s->status;
	case 0x0f0:
		return main_counter(s);
	}
	if (reg < 0x100 || n >= TIMERS)
		return 0;
	if ((reg & 0x18) == 0)
		return s->t[n].config | T_CAPS | ROUTE_CAP << 32;
	return (reg & 0x18) == 8 ? s->t[n].cmp : 0;
}

static void write_reg(struct hpet *s, unsigned reg, uint64_t val)
{
	unsigned n = (reg - 0x100) >> 5;

	if (reg == 0x010) {
		write_general(s, val);
	} else if (reg == 0x020) {
		s->status &= ~val;
		update_irqs(s);
	} else if (reg == 0x0f0) {
		write_counter(s, val);
	} else if (reg >= 0x100 && n < TIMERS) {
		if ((reg & 0x18) == 0)
			write_config(s, n, val);
		else if ((reg & 0x18) == 8)
			write_comparator(s, n, val);
	}
}

static uint64_t hpet_read(struct device *d, uint64_t off, unsigned size)
{
	uint64_t v = read_reg((struct hpet *)d, (unsigned)off & ~7u);

	return off & 4 ? v >> 32 : v;
}

/* Half of a register: the other half stays (the status has nothing up there). */
static void hpet_write(struct device *d, uint64_t off, unsigned size, uint64_t val)
{
	struct hpet *s = (struct hpet *)d;
	unsigned reg = (unsigned)off & ~7u;
	uint64_t old = reg == 0x020 ? 0 : read_reg(s, reg);

	if (size == 4 && off & 4)
		val = val << 32 | (uint32_t)old;
	else if (size == 4)
		val = (old & ~(uint64_t)UINT32_MAX) | (uint32_t)val;
	write_reg(s, reg, val);
}

static const struct io_ops hpet_io = { hpet_read, hpet_write, 4, 8 };

/* ---- Life ---- */

static bool hpet_realize(struct device *d, struct err *e)
{
	struct hpet *s = (struct hpet *)d;

	for (unsigned n = 0; n < TIMERS; n++) {
		s->t[n].block = s;
		vtimer_init(&s->t[n].timer, dev_clock(d), timer_fired, &s->t[n]);
	}
	s->io = (struct io_region){ .kind = BUS_MMIO, .base = HPET_BASE, .len = 0x400,
				    .ops = &hpet_io, .name = "hpet" };
	return dev_add_region(d, &s->io, e);
}

/* Levels of 8254 and RTC are theirs. */
static void hpet_reset(struct device *d)
{
	struct hpet *s = (struct hpet *)d;

	s->general = s->counter = s->start = s->status = 0;
	s->high = 0;
	for (unsigned n = 0; n < TIMERS; n++) {
		vtimer_cancel(&s->t[n].timer);
		s->t[n].config = s->t[n].period = 0;
		s->t[n].cmp = UINT64_MAX;
	}
	update_irqs(s);
}

static void hpet_unrealize(struct device *d)
{
	for (unsigned n = 0; n < TIMERS; n++)
		vtimer_cancel(&((struct hpet *)d)->t[n].timer);
}

static bool hpet_post_load(struct device *d, struct err *e)
{
	struct hpet *s = (struct hpet *)d;

	s->general &= GEN_ENABLE | GEN_LEGACY;
	s->status &= 7;
	s->high &= 7;
	for (unsigned n = 0; n < TIMERS; n++)
		s->t[n].config &= T_WRITABLE;
	update_irqs(s);
	return true;
}

void hpet_wire(struct device *d, struct irq_line irq0, struct irq_line irq8,
	       const struct irq_line pins[HPET_PINS])
{
	struct hpet *s = (struct hpet *)d;

	s->irq0 = irq0;
	s->irq8 = irq8;
	memcpy(s->pin, pins, sizeof(s->pin));
}

struct irq_line hpet_pit_line(struct device *d)
{
	return (struct irq_line){ pit_set, d, 0 };
}

struct irq_line hpet_rtc_line(struct device *d)
{
	return (struct irq_line){ rtc_set, d, 0 };
}

const struct device_ops hpet_ops = {
	.name = "hpet",
	.size = sizeof(struct hpet),
	.realize = hpet_realize,
	.reset = hpet_reset,
	.unrealize = hpet_unrealize,
	.state = hpet_fields,
	.state_version = 1,
	.post_load = hpet_post_load,
};
