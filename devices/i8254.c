/* SPDX-License-Identifier: MIT */
/*
 * 8254 programmable interval timer with the PC's system control port 0x61.
 *
 * After: Intel 8254 data sheet (231164-005); PIIX3 data sheet, section
 * 2.5.4 "Counter/Timer" and 2.5.6.1 "NMI Status and Control Register".
 *
 * Counts are computed from the virtual clock when somebody looks; only
 * channel 0 has a timer, one event a period.  In periodic modes the line to
 * the interrupt controller falls just before it rises again, instead of when
 * OUT does: only the rising edge counts there.  Periods whose timer came late
 * are made up for by quicker ticks, up to MAX_OWED of them.  The clock pulse
 * that loads the counting element is not modelled.
 */
#include "i8254.h"

#define PIT_HZ 1193182ull
#define MAX_OWED 16u
#define MIN_TICK_NS 40000u	/* a faster rate only costs host time */

#define CTRL_LATCH 0
#define RW_WORD 3

#define P61_GATE2 0x01
#define P61_SPEAKER 0x02
#define P61_REFRESH 0x10
#define P61_OUT2 0x20
#define REFRESH_NS 15085u

struct pit_chan {
	uint64_t start;		/* virtual ns at which the count was @reload; while counting */
	uint64_t held;		/* ticks counted before the gate stopped it */
	uint32_t reload;	/* 1..65536 (10000 in BCD); 0: no count written yet */
	uint32_t next_reload;	/* modes 2 and 3: from the end of this period on; 0: none */
	uint16_t latch;
	uint8_t mode, rw, status;
	uint8_t low_byte;	/* first half of a word being written */
	bool bcd, gate, counting;
	bool triggered;		/* modes 1 and 5: gate rose since the mode was set */
	bool write_high, read_high;
	bool count_latched, status_latched, null_count;
};

struct i8254 {
	struct device dev;
	struct pit_chan chan[3];
	struct vtimer timer;	/* next edge of channel 0 */
	uint64_t edges;		/* periods of channel 0 signalled since chan[0].start */
	uint32_t owed;		/* late ticks still to deliver */
	uint8_t port61;		/* writable bits 0-3 */
	struct irq_line irq0;	/* immutable after realize */
	void (*changed)(void *opaque);	/* speaker; likewise */
	void *changed_opaque;
	struct io_region io[2];
};
DEVICE_CHECK(struct i8254);

static const struct state_field chan_fields[] = {
	STATE_U64(struct pit_chan, start), STATE_U64(struct pit_chan, held),
	STATE_U32(struct pit_chan, reload), STATE_U32(struct pit_chan, next_reload),
	STATE_U16(struct pit_chan, latch), STATE_U8(struct pit_chan, mode),
	STATE_U8(struct pit_chan, rw), STATE_U8(struct pit_chan, status),
	STATE_U8(struct pit_chan, low_byte), STATE_BOOL(struct pit_chan, bcd),
	STATE_BOOL(struct pit_chan, gate), STATE_BOOL(struct pit_chan, counting),
	STATE_BOOL(struct pit_chan, triggered), STATE_BOOL(struct pit_chan, write_high),
	STATE_BOOL(struct pit_chan, read_high), STATE_BOOL(struct pit_chan, count_latched),
	STATE_BOOL(struct pit_chan, status_latched), STATE_BOOL(struct pit_chan, null_count),
	STATE_END
};

static const struct state_field i8254_fields[] = {
	STATE_STRUCTS(struct i8254, chan, chan_fields), STATE_TIMER(struct i8254, timer),
	STATE_U64(struct i8254, edges), STATE_U32(struct i8254, owed),
	STATE_U8(struct i8254, port61),
	STATE_END
};

static uint64_t pit_now(struct i8254 *s)
{
	return vclock_now(dev_clock(&s->dev));
}

static uint64_t ticks_to_ns(uint64_t ticks)
{
	return muldiv64(ticks, NS_PER_SEC, PIT_HZ) + 1;	/* never early */
}

static bool chan_periodic(const struct pit_chan *c)
{
	return c->mode == 2 || c->mode == 3;
}

static uint64_t chan_ticks(const struct pit_chan *c, uint64_t now)
{
	if (!c->counting)
		return c->held;
	return now <= c->start ? 0 : muldiv64(now - c->start, PIT_HZ, NS_PER_SEC);
}

/* A new count in modes 2 and 3 takes over at the end of the period. */
static void chan_sync(struct pit_chan *c, uint64_t now)
{
	uint64_t ticks;

	if (!c->next_reload || !c->counting)
		return;
	ticks = chan_ticks(c, now);
	if (ticks < c->reload)
		return;
	c->start += ticks_to_ns(ticks - ticks % c->reload);
	c->reload = c->next_reload;
	c->next_reload = 0;
	c->null_count = false;
}

static bool chan_out(const struct pit_chan *c, uint64_t now)
{
	uint64_t t = chan_ticks(c, now);

	if (!c->reload)
		return c->mode != 0;
	switch (c->mode) {
	case 0: return t >= c->reload;
	case 1: return !c->triggered || t >= c->reload;
	case 2: return !c->counting || t % c->reload != c->reload - 1;
	case 3: return !c->counting || t % c->reload < (c->reload + 1) / 2;
	default: return t != c->reload;
	}
}

/* The counting element (data sheet, "Mode Definitions"). */
static uint16_t chan_count(const struct pit_chan *c, uint64_t now)
{
	uint64_t t = chan_ticks(c, now), modulus = c->bcd ? 10000 : 65536, v, half;

	if (!c->reload)
		return 0;
	if (c->mode == 2) {
		v = c->reload - t % c->reload;
	} else if (c->mode == 3) {
		half = (c->reload + 1) / 2;
		t %= c->reload;
		v = (c->reload & ~1u) - 2 * (t < half ? t : t - half);
	} else {
		v = c->reload + modulus - t % modulus;
	}
	v %= modulus;
	if (c->bcd)
		v = v / 1000 << 12 | v / 100 % 10 << 8 | v / 10 % 10 << 4 | v % 10;
	return (uint16_t)v;
}

/* Next rise of OUT of channel 0 in ns of the virtual clock; UINT64_MAX: none to come. */
static uint64_t irq0_next(struct i8254 *s)
{
	struct pit_chan *c = &s->chan[0];

	if (!c->reload || !c->counting)
		return UINT64_MAX;
	if (chan_periodic(c))
		return c->start + ticks_to_ns((s->edges + 1) * c->reload);
	if (s->edges || ((c->mode == 1 || c->mode == 5) && !c->triggered))
		return UINT64_MAX;
	return c->start + ticks_to_ns(c->reload + (c->mode >= 4));
}

static void irq0_rearm(struct i8254 *s)
{
	uint64_t next = irq0_next(s);

	if (next == UINT64_MAX) {
		vtimer_cancel(&s->timer);
		return;
	}
	if (s->owed)
		next = MIN(next, pit_now(s) + ticks_to_ns(s->chan[0].reload / 4));
	if (chan_periodic(&s->chan[0]))
		next = MAX(next, pit_now(s) + MIN_TICK_NS);
	vtimer_arm(&s->timer, next);
}

/* Channel 0 was programmed or its gate moved: the line takes its level, counting starts anew. */
static void irq0_restart(struct i8254 *s)
{
	s->edges = 0;
	s->owed = 0;
	irq_set(&s->irq0, chan_out(&s->chan[0], pit_now(s)));
	irq0_rearm(s);
}

static void irq0_tick(void *opaque)
{
	struct i8254 *s = opaque;
	struct pit_chan *c = &s->chan[0];
	uint64_t now = pit_now(s), periods, fresh;

	if (!c->reload || !c->counting)
		return;
	if (chan_periodic(c)) {
		periods = chan_ticks(c, now) / c->reload;
		fresh = periods > s->edges ? periods - s->edges : 0;
		s->edges = MAX(periods, s->edges);
		s->owed = (uint32_t)MIN(s->owed + fresh, MAX_OWED + 1);
		if (c->next_reload && fresh) {
			chan_sync(c, now);
			s->edges = 0;
		}
		s->owed -= s->owed ? 1 : 0;
	} else {
		s->edges = 1;
	}
	irq_set(&s->irq0, false);
	irq_set(&s->irq0, true);
	irq0_rearm(s);
}

/* Modes 2 and 3 while counting: @count is for the periods after the current one. */
static void chan_defer(struct i8254 *s, unsigned n, uint32_t count)
{
	struct pit_chan *c = &s->chan[n];
	uint64_t periods = chan_ticks(c, pit_now(s)) / c->reload;

	if (periods)
		c->start += ticks_to_ns(periods * c->reload);
	c->next_reload = count;
	if (n)
		return;
	if (periods > s->edges)
		s->owed = (uint32_t)MIN(s->owed + periods - s->edges, MAX_OWED);
	s->edges = 0;
	irq0_rearm(s);
}

static void pit_sync(struct i8254 *s, unsigned n)
{
	if (n)
		chan_sync(&s->chan[n], pit_now(s));
	else if (s->chan[0].next_reload && chan_ticks(&s->chan[0], pit_now(s)) >= s->chan[0].reload)
		irq0_tick(s);	/* its timer is late */
}

static void chan_load(struct i8254 *s, unsigned n, uint32_t count)
{
	struct pit_chan *c = &s->chan[n];
	uint64_t now = pit_now(s);
	bool gated = c->mode == 1 || c->mode == 5;

	if (c->bcd)
		count = (count >> 12) * 1000 + (count >> 8 & 15) * 100 + (count >> 4 & 15) * 10 +
			(count & 15);
	if (!count)
		count = c->bcd ? 10000 : 65536;
	if (chan_periodic(c) && c->counting) {
		chan_defer(s, n, count);
		return;
	}
	c->null_count = gated;
	c->reload = count;
	if (gated)
		return;		/* waits for the gate to rise */
	c->start = now;
	c->held = 0;
	c->counting = c->gate;
	if (n == 0)
		irq0_restart(s);
}

static void chan_write(struct i8254 *s, unsigned n, uint8_t val)
{
	struct pit_chan *c = &s->chan[n];

	pit_sync(s, n);
	c->null_count = true;
	if (c->rw == RW_WORD && !c->write_high) {
		c->low_byte = val;
		c->write_high = true;
		if (c->mode == 0) {	/* the first byte stops counting, OUT goes low */
			c->held = 0;
			c->counting = false;
			if (n == 0)
				irq0_restart(s);
		}
		return;
	}
	c->write_high = false;
	if (c->rw == RW_WORD)
		chan_load(s, n, (uint32_t)val << 8 | c->low_byte);
	else
		chan_load(s, n, c->rw == 2 ? (uint32_t)val << 8 : val);
}

static void chan_set_mode(struct i8254 *s, unsigned n, uint8_t val)
{
	struct pit_chan *c = &s->chan[n];

	*c = (struct pit_chan){ .gate = c->gate, .null_count = true };
	c->rw = val >> 4 & 3;
	c->mode = val >> 1 & 7;
	if (c->mode > 5)
		c->mode -= 4;	/* x10, x11 */
	c->bcd = val & 1;
	if (n == 0)
		irq0_restart(s);
}

static void latch_count(struct i8254 *s, unsigned n)
{
	struct pit_chan *c = &s->chan[n];

	if (c->count_latched)
		return;		/* ignored until the first one is read */
	c->latch = chan_count(c, pit_now(s));
	c->count_latched = true;
	c->read_high = c->rw == 2;
}

static void latch_status(struct i8254 *s, unsigned n)
{
	struct pit_chan *c = &s->chan[n];

	if (c->status_latched)
		return;
	c->status = (uint8_t)(chan_out(c, pit_now(s)) << 7 | c->null_count << 6 | c->rw << 4 |
			      c->mode << 1 | c->bcd);
	c->status_latched = true;
}

static void pit_control(struct i8254 *s, uint8_t val)
{
	unsigned n = val >> 6;

	if (n < 3) {
		pit_sync(s, n);
		if ((val >> 4 & 3) == CTRL_LATCH)
			latch_count(s, n);
		else
			chan_set_mode(s, n, val);
		return;
	}
	for (n = 0; n < 3; n++) {	/* read-back command */
		if (!(val & 2u << n))
			continue;
		pit_sync(s, n);
		if (!(val & 0x20))
			latch_count(s, n);
		if (!(val & 0x10))
			latch_status(s, n);
	}
}

static uint8_t chan_read(struct i8254 *s, unsigned n)
{
	struct pit_chan *c = &s->chan[n];
	bool high = c->rw == 2 || (c->rw == RW_WORD && c->read_high);
	uint16_t v;

	pit_sync(s, n);
	if (c->status_latched) {
		c->status_latched = false;
		return c->status;
	}
	v = c->count_latched ? c->latch : chan_count(c, pit_now(s));
	if (c->rw == RW_WORD)
		c->read_high = !high;
	if (c->rw != RW_WORD || high)
		c->count_latched = false;
	return (uint8_t)(high ? v >> 8 : v);
}

static void chan_set_gate(struct i8254 *s, unsigned n, bool gate)
{
	struct pit_chan *c = &s->chan[n];
	uint64_t now = pit_now(s);

	if (gate == c->gate)
		return;
	chan_sync(c, now);
	if (!gate && (c->mode == 0 || c->mode >= 2) && c->mode != 5) {
		c->held = chan_ticks(c, now);
		c->counting = false;
	} else if (gate && c->reload) {
		c->triggered = true;
		c->null_count = false;
		/* Modes 0 and 4 go on where they stopped, the others begin anew. */
		c->start = now - (c->mode == 0 || c->mode == 4 ? ticks_to_ns(c->held) - 1 : 0);
		c->counting = !c->write_high || c->mode != 0;
		if (c->next_reload) {
			c->reload = c->next_reload;
			c->next_reload = 0;
		}
	}
	c->gate = gate;
}

static void speaker_changed(struct i8254 *s)
{
	if (s->changed)
		s->changed(s->changed_opaque);
}

static uint64_t pit_read(struct device *d, uint64_t off, unsigned size)
{
	struct i8254 *s = (struct i8254 *)d;

	return off == 3 ? 0xff : chan_read(s, (unsigned)off & 3);	/* 3: write only */
}

static void pit_write(struct device *d, uint64_t off, unsigned size, uint64_t val)
{
	struct i8254 *s = (struct i8254 *)d;

	if (off >= 2)
		speaker_changed(s);
	if (off == 3)
		pit_control(s, (uint8_t)val);
	else
		chan_write(s, (unsigned)off & 3, (uint8_t)val);
	if (off >= 2)
		speaker_changed(s);
}

static uint64_t port61_read(struct device *d, uint64_t off, unsigned size)
{
	struct i8254 *s = (struct i8254 *)d;
	uint64_t now = pit_now(s);

	chan_sync(&s->chan[2], now);
	return s->port61 | (now / REFRESH_NS & 1 ? P61_REFRESH : 0) |
	       (chan_out(&s->chan[2], now) ? P61_OUT2 : 0);
}

static void port61_write(struct device *d, uint64_t off, unsigned size, uint64_t val)
{
	struct i8254 *s = (struct i8254 *)d;

	speaker_changed(s);
	s->port61 = val & 0x0f;
	chan_set_gate(s, 2, val & P61_GATE2);
	speaker_changed(s);
}

static const struct io_ops pit_io = { pit_read, pit_write, 1, 1 };
static const struct io_ops port61_io = { port61_read, port61_write, 1, 1 };

static bool i8254_realize(struct device *d, struct err *e)
{
	struct i8254 *s = (struct i8254 *)d;

	vtimer_init(&s->timer, dev_clock(d), irq0_tick, s);
	s->io[0] = (struct io_region){ .kind = BUS_PIO, .base = 0x40, .len = 4, .ops = &pit_io,
		.name = "pit" };
	s->io[1] = (struct io_region){ .kind = BUS_PIO, .base = 0x61, .len = 1,
		.ops = &port61_io, .name = "port61" };
	return dev_add_region(d, &s->io[0], e) && dev_add_region(d, &s->io[1], e);
}

/* Undefined in the chip; here: no counts, OUT low, gates of channels 0 and 1 tied high. */
static void i8254_reset(struct device *d)
{
	struct i8254 *s = (struct i8254 *)d;

	for (unsigned n = 0; n < 3; n++)
		s->chan[n] = (struct pit_chan){ .rw = RW_WORD, .gate = n < 2, .null_count = true };
	s->port61 = 0;
	irq0_restart(s);
}

static void i8254_unrealize(struct device *d)
{
	vtimer_cancel(&((struct i8254 *)d)->timer);
}

static bool i8254_post_load(struct device *d, struct err *e)
{
	struct i8254 *s = (struct i8254 *)d;

	for (unsigned n = 0; n < 3; n++) {
		const struct pit_chan *c = &s->chan[n];

		if (c->reload > 65536 || c->next_reload > 65536 || c->mode > 5 || c->rw > 3)
			return err_set(e, HV_EXIT_IMAGE, "8254: channel %u out of range", n);
	}
	s->owed = MIN(s->owed, MAX_OWED);
	s->edges = MIN(s->edges, 1ull << 36);
	return true;
}

void i8254_set_irq0(struct device *d, struct irq_line irq0)
{
	((struct i8254 *)d)->irq0 = irq0;
}

void i8254_set_speaker(struct device *d, void (*changed)(void *opaque), void *opaque)
{
	((struct i8254 *)d)->changed = changed;
	((struct i8254 *)d)->changed_opaque = opaque;
}

bool i8254_speaker(struct device *d, uint64_t when)
{
	struct i8254 *s = (struct i8254 *)d;

	chan_sync(&s->chan[2], when);
	return i8254_speaker_on(d) && chan_out(&s->chan[2], when);
}

bool i8254_speaker_on(struct device *d)
{
	return ((struct i8254 *)d)->port61 & P61_SPEAKER;
}

const struct device_ops i8254_ops = {
	.name = "i8254",
	.size = sizeof(struct i8254),
	.realize = i8254_realize,
	.reset = i8254_reset,
	.unrealize = i8254_unrealize,
	.state = i8254_fields,
	.state_version = 1,
	.post_load = i8254_post_load,
};
