/* SPDX-License-Identifier: MIT */
/*
 * Real-time clock with 128 bytes of CMOS memory at ports 0x70 and 0x71.
 *
 * After: Motorola MC146818 data sheet (ADI1170); PIIX3 data sheet, section
 * 2.5.5.8 "Real Time Clock" for the NMI mask.
 *
 * Time is UTC of the host (or of the virtual clock in tests) plus an offset
 * that changes when the guest sets the clock; flags are computed when
 * somebody looks, and timers run only for enabled interrupts.  An update takes
 * no time after its 244 us of warning.  Left out: daylight saving, square
 * wave, a day of the week that differs from the date.  A reset keeps the time
 * and the memory, as the battery does.
 */
#include "mc146818.h"
#include "../src/vm.h"
#include <time.h>

enum {
	R_SEC, R_SEC_ALARM, R_MIN, R_MIN_ALARM, R_HOUR, R_HOUR_ALARM, R_WDAY, R_MDAY, R_MONTH,
	R_YEAR, R_A, R_B, R_C, R_D,
};

#define A_UIP 0x80
#define A_DIVIDER 0x70
#define A_DIV_32K 0x20
#define A_DIV_RESET 0x60	/* 11x */
#define A_RATE 0x0f

#define B_SET 0x80
#define B_PIE 0x40
#define B_AIE 0x20
#define B_UIE 0x10
#define B_BINARY 0x04
#define B_24H 0x02

#define C_IRQF 0x80
#define C_PF 0x40
#define C_AF 0x20
#define C_UF 0x10

#define D_VRT 0x80
#define HOUR_PM 0x80
#define ALARM_ANY 0xc0
#define UIP_NS 244000u
#define DAY 86400u

struct rtc {
	struct device dev;
	uint8_t cmos[128];
	uint8_t index;		/* port 0x70 with the NMI bit */
	uint64_t offset_ns;	/* guest's time - base time, modulo 2^64 */
	uint64_t seen_sec;	/* second up to which UF and AF are accounted */
	uint64_t seen_tick;	/* likewise for PF */
	struct vtimer periodic, update;
	struct irq_line irq;	/* immutable after realize, as fixed_utc */
	uint64_t fixed_utc;
	struct io_region io;
};
DEVICE_CHECK(struct rtc);

static const struct state_field rtc_fields[] = {
	STATE_U8S(struct rtc, cmos), STATE_U8(struct rtc, index),
	STATE_U64(struct rtc, offset_ns), STATE_U64(struct rtc, seen_sec),
	STATE_U64(struct rtc, seen_tick), STATE_TIMER(struct rtc, periodic),
	STATE_TIMER(struct rtc, update),
	STATE_END
};

/* ---- time ---- */

static uint64_t rtc_base_ns(struct rtc *s)
{
	struct timespec ts;

	if (s->fixed_utc)
		return s->fixed_utc * NS_PER_SEC + vclock_now(dev_clock(&s->dev));
	clock_gettime(CLOCK_REALTIME, &ts);
	return (uint64_t)ts.tv_sec * NS_PER_SEC + (uint64_t)ts.tv_nsec;
}

static uint64_t rtc_now_ns(struct rtc *s)
{
	return rtc_base_ns(s) + s->offset_ns;
}

/* The seconds count unless the guest sets them or holds the divider. */
static bool rtc_running(const struct rtc *s)
{
	return !(s->cmos[R_B] & B_SET) && (s->cmos[R_A] & A_DIVIDER) == A_DIV_32K;
}

/* Days since 1970-01-01 of a proleptic Gregorian date; any month number counts on. */
static int64_t days_from_date(int64_t y, int64_t m, int64_t d)
{
	int64_t era, yoe, doy;

	y += m <= 2 ? -1 : 0;
	m = (m + 9) % 12;	/* March = 0 */
	era = (y >= 0 ? y : y - 399) / 400;
	yoe = y - era * 400;
	doy = (153 * m + 2) / 5 + d - 1;
	return era * 146097 + yoe * 365 + yoe / 4 - yoe / 100 + doy - 719468;
}

static void date_from_days(int64_t days, unsigned *y, unsigned *m, unsigned *d)
{
	int64_t z = days + 719468, era = (z >= 0 ? z : z - 146096) / 146097;
	int64_t doe = z - era * 146097;
	int64_t yoe = (doe - doe / 1460 + doe / 36524 - doe / 146096) / 365;
	int64_t doy = doe - (365 * yoe + yoe / 4 - yoe / 100), mp = (5 * doy + 2) / 153;

	*d = (unsigned)(doy - (153 * mp + 2) / 5 + 1);
	*m = (unsigned)(mp < 10 ? mp + 3 : mp - 9);
	*y = (unsigned)(yoe + era * 400 + (*m <= 2));
}

static uint8_t rtc_encode(const struct rtc *s, unsigned v)
{
	return (uint8_t)(s->cmos[R_B] & B_BINARY ? v : v / 10 % 10 << 4 | v % 10);
}

static unsigned rtc_decode(const struct rtc *s, uint8_t v)
{
	return s->cmos[R_B] & B_BINARY ? v : (v >> 4) * 10u + (v & 15);
}

static uint8_t rtc_encode_hour(const struct rtc *s, unsigned h)
{
	if (s->cmos[R_B] & B_24H)
		return rtc_encode(s, h);
	return rtc_encode(s, h % 12 ? h % 12 : 12) | (h >= 12 ? HOUR_PM : 0);
}

static unsigned rtc_decode_hour(const struct rtc *s, uint8_t v)
{
	if (s->cmos[R_B] & B_24H)
		return rtc_decode(s, v);
	return rtc_decode(s, v & 0x7f) % 12 + (v & HOUR_PM ? 12 : 0);
}

/* Put the running time into the registers. */
static void rtc_to_regs(struct rtc *s)
{
	uint64_t sec = rtc_now_ns(s) / NS_PER_SEC;
	unsigned y, m, d, tod = (unsigned)(sec % DAY);

	date_from_days((int64_t)(sec / DAY), &y, &m, &d);
	s->cmos[R_SEC] = rtc_encode(s, tod % 60);
	s->cmos[R_MIN] = rtc_encode(s, tod / 60 % 60);
	s->cmos[R_HOUR] = rtc_encode_hour(s, tod / 3600);
	s->cmos[R_WDAY] = rtc_encode(s, (unsigned)((sec / DAY + 4) % 7) + 1);	/* Sunday = 1 */
	s->cmos[R_MDAY] = rtc_encode(s, d);
	s->cmos[R_MONTH] = rtc_encode(s, m);
	s->cmos[R_YEAR] = rtc_encode(s, y % 100);
	s->cmos[RTC_CENTURY] = rtc_encode(s, y / 100);
}

/* The registers become the time, with @frac ns of the second gone. */
static void rtc_from_regs(struct rtc *s, uint64_t frac)
{
	int64_t year = (int64_t)rtc_decode(s, s->cmos[RTC_CENTURY]) * 100 +
		       rtc_decode(s, s->cmos[R_YEAR]);
	int64_t days = days_from_date(year, rtc_decode(s, s->cmos[R_MONTH]),
				      rtc_decode(s, s->cmos[R_MDAY]));
	int64_t sec = days * DAY + (int64_t)rtc_decode_hour(s, s->cmos[R_HOUR]) * 3600 +
		      rtc_decode(s, s->cmos[R_MIN]) * 60 + rtc_decode(s, s->cmos[R_SEC]);

	s->offset_ns = (uint64_t)sec * NS_PER_SEC + frac - rtc_base_ns(s);
	s->seen_sec = rtc_now_ns(s) / NS_PER_SEC;
}

/* ---- flags and interrupts ---- */

/* Periodic rate, table 5 (32.768 kHz): ns between events, 0: none. */
static uint64_t rtc_period(const struct rtc *s)
{
	unsigned rs = s->cmos[R_A] & A_RATE;

	if (!rs || (s->cmos[R_A] & A_DIVIDER) != A_DIV_32K)
		return 0;
	if (rs <= 2)
		rs += 7;
	return (NS_PER_SEC << (rs - 1)) / 32768;
}

static bool alarm_field(unsigned want, uint8_t reg, unsigned have)
{
	return (reg & ALARM_ANY) == ALARM_ANY || want == have;
}

/* First second in (@from, @from + a day] that matches the alarm; 0: none does. */
static uint64_t rtc_next_alarm(const struct rtc *s, uint64_t from)
{
	const uint8_t *r = s->cmos;
	unsigned sec = rtc_decode(s, r[R_SEC_ALARM]), min = rtc_decode(s, r[R_MIN_ALARM]);
	unsigned hour = rtc_decode_hour(s, r[R_HOUR_ALARM]);

	for (uint64_t t = from + 1; t <= from + DAY;) {
		unsigned tod = (unsigned)(t % DAY), now = tod % 60;

		if (!alarm_field(hour, r[R_HOUR_ALARM], tod / 3600))
			t += 3600 - tod % 3600;
		else if (!alarm_field(min, r[R_MIN_ALARM], tod / 60 % 60))
			t += 60 - tod % 60;
		else if (!alarm_field(sec, r[R_SEC_ALARM], now))
			t += sec > now && sec < 60 ? sec - now : 60 - now;
		else
			return t;
	}
	return 0;
}

/* Bring PF, AF and UF up to date. */
static void rtc_account(struct rtc *s)
{
	uint64_t now = rtc_now_ns(s), sec = now / NS_PER_SEC, period = rtc_period(s), hit;

	if (period && now / period != s->seen_tick)
		s->cmos[R_C] |= C_PF;
	s->seen_tick = period ? now / period : 0;
	if (rtc_running(s) && sec != s->seen_sec) {
		s->cmos[R_C] |= C_UF;
		hit = rtc_next_alarm(s, s->seen_sec);
		if (hit && hit <= sec)
			s->cmos[R_C] |= C_AF;
	}
	s->seen_sec = sec;
}

static void rtc_update_irq(struct rtc *s)
{
	bool on = s->cmos[R_C] & s->cmos[R_B] & (C_PF | C_AF | C_UF);

	s->cmos[R_C] = (s->cmos[R_C] & ~C_IRQF) | (on ? C_IRQF : 0);
	irq_set(&s->irq, on);
}

static void arm_in(struct rtc *s, struct vtimer *t, uint64_t ns)
{
	vtimer_arm(t, vclock_now(dev_clock(&s->dev)) + ns);
}

static void rtc_rearm(struct rtc *s)
{
	uint64_t now = rtc_now_ns(s), sec = now / NS_PER_SEC, period = rtc_period(s), next = 0;

	if (s->cmos[R_B] & B_PIE && period)
		arm_in(s, &s->periodic, (now / period + 1) * period - now);
	else
		vtimer_cancel(&s->periodic);
	if (rtc_running(s) && s->cmos[R_B] & B_UIE)
		next = sec + 1;
	else if (rtc_running(s) && s->cmos[R_B] & B_AIE)
		/* The host's clock may step: look at least every minute. */
		next = MIN(rtc_next_alarm(s, sec) - 1, sec + 60 - 1) + 1;
	if (next)
		arm_in(s, &s->update, next * NS_PER_SEC - now);
	else
		vtimer_cancel(&s->update);
}

static void rtc_on_timer(void *opaque)
{
	struct rtc *s = opaque;

	rtc_account(s);
	rtc_update_irq(s);
	rtc_rearm(s);
}

/* ---- registers ---- */

static bool is_time_reg(unsigned r)
{
	return r == R_SEC || r == R_MIN || r == R_HOUR || (r >= R_WDAY && r <= R_YEAR) ||
	       r == RTC_CENTURY;
}

static void rtc_write_time(struct rtc *s, unsigned r, uint8_t val)
{
	uint64_t frac;

	if (rtc_running(s))
		rtc_to_regs(s);
	s->cmos[r] = val;
	if (!rtc_running(s))
		return;
	frac = rtc_now_ns(s) % NS_PER_SEC;
	rtc_from_regs(s, frac);
}

/* Registers A and B may stop or start the clock: the registers hold the time while it stands. */
static void rtc_write_control(struct rtc *s, unsigned r, uint8_t val)
{
	bool was = rtc_running(s), divider_was = (s->cmos[R_A] & A_DIV_RESET) == A_DIV_RESET;
	uint64_t frac = rtc_now_ns(s) % NS_PER_SEC;

	rtc_account(s);
	if (was)
		rtc_to_regs(s);
	if (r == R_B && val & B_SET)
		val &= ~B_UIE;		/* SET clears UIE */
	s->cmos[r] = r == R_A ? val & 0x7f : val;
	/* The first update comes 500 ms after the divider is let go. */
	if (divider_was && rtc_running(s))
		frac = NS_PER_SEC / 2;
	if (rtc_running(s) && !was)
		rtc_from_regs(s, frac);
	s->seen_tick = rtc_period(s) ? rtc_now_ns(s) / rtc_period(s) : 0;
}

static void rtc_write_data(struct rtc *s, unsigned r, uint8_t val)
{
	if (r == R_C || r == R_D)
		return;
	if (r == R_A || r == R_B)
		rtc_write_control(s, r, val);
	else if (is_time_reg(r))
		rtc_write_time(s, r, val);
	else
		s->cmos[r] = val;
	rtc_update_irq(s);
	rtc_rearm(s);
}

static bool rtc_uip(struct rtc *s)
{
	return rtc_running(s) && rtc_now_ns(s) % NS_PER_SEC >= NS_PER_SEC - UIP_NS;
}

static uint8_t rtc_read_c(struct rtc *s)
{
	uint8_t v;

	rtc_account(s);
	rtc_update_irq(s);
	v = s->cmos[R_C];
	s->cmos[R_C] = 0;
	rtc_update_irq(s);
	return v;
}

static uint8_t rtc_read_data(struct rtc *s, unsigned r)
{
	if (r == R_A)
		return s->cmos[R_A] | (rtc_uip(s) ? A_UIP : 0);
	if (r == R_C)
		return rtc_read_c(s);
	if (r == R_D)
		return D_VRT;
	if (is_time_reg(r) && rtc_running(s))
		rtc_to_regs(s);
	return s->cmos[r];
}

static uint64_t rtc_read(struct device *d, uint64_t off, unsigned size)
{
	struct rtc *s = (struct rtc *)d;

	return off ? rtc_read_data(s, s->index & 0x7f) : 0xff;	/* 0x70 is write only */
}

static void rtc_write(struct device *d, uint64_t off, unsigned size, uint64_t val)
{
	struct rtc *s = (struct rtc *)d;

	if (off)
		rtc_write_data(s, s->index & 0x7f, (uint8_t)val);
	else
		s->index = (uint8_t)val;
}

static const struct io_ops rtc_io = { rtc_read, rtc_write, 1, 1 };

static bool rtc_realize(struct device *d, struct err *e)
{
	struct rtc *s = (struct rtc *)d;

	vtimer_init(&s->periodic, dev_clock(d), rtc_on_timer, s);
	vtimer_init(&s->update, dev_clock(d), rtc_on_timer, s);
	s->cmos[R_A] = A_DIV_32K | 6;
	s->cmos[R_B] = B_24H;
	s->cmos[R_D] = D_VRT;
	s->io = (struct io_region){ .kind = BUS_PIO, .base = 0x70, .len = 2, .ops = &rtc_io,
		.name = "rtc" };
	return dev_add_region(d, &s->io, e);
}

/* The RESET pin (data sheet, "RESET"): interrupts and flags off, nothing else. */
static void rtc_reset(struct device *d)
{
	struct rtc *s = (struct rtc *)d;

	if (d->vm->reset_kind == VM_RESET_SLEEP)	/* the battery: its alarm may wake us */
		return;
	s->index = 0;
	s->cmos[R_B] &= ~(B_PIE | B_AIE | B_UIE | 0x08);
	s->cmos[R_C] = 0;
	if (rtc_running(s))
		rtc_to_regs(s);
	s->seen_sec = rtc_now_ns(s) / NS_PER_SEC;
	s->seen_tick = rtc_period(s) ? rtc_now_ns(s) / rtc_period(s) : 0;
	rtc_update_irq(s);
	rtc_rearm(s);
}

static void rtc_unrealize(struct device *d)
{
	struct rtc *s = (struct rtc *)d;

	vtimer_cancel(&s->periodic);
	vtimer_cancel(&s->update);
}

static bool rtc_post_load(struct device *d, struct err *e)
{
	struct rtc *s = (struct rtc *)d;

	s->cmos[R_A] &= 0x7f;
	rtc_update_irq(s);
	return true;
}

void rtc_wire(struct device *d, struct irq_line irq8, uint64_t fixed_utc)
{
	struct rtc *s = (struct rtc *)d;

	s->irq = irq8;
	s->fixed_utc = fixed_utc;
}

void rtc_set_cmos(struct device *d, unsigned index, uint8_t val)
{
	HV_BUG_ON(index <= R_D || index >= 128);
	((struct rtc *)d)->cmos[index] = val;
}

uint8_t rtc_get_cmos(struct device *d, unsigned index)
{
	HV_BUG_ON(index >= 128);
	return ((struct rtc *)d)->cmos[index];
}

bool rtc_nmi_masked(struct device *d)
{
	return ((struct rtc *)d)->index & 0x80;
}

const struct device_ops mc146818_ops = {
	.name = "mc146818",
	.size = sizeof(struct rtc),
	.realize = rtc_realize,
	.reset = rtc_reset,
	.unrealize = rtc_unrealize,
	.state = rtc_fields,
	.state_version = 1,
	.post_load = rtc_post_load,
};
