/* SPDX-License-Identifier: MIT */
/*
 * The local APIC's timer (Intel SDM vol. 3A, 11.5.4): one-shot and periodic
 * counts of virtual nanoseconds, and the TSC deadline.
 */
#include "lapic_int.h"

static uint64_t lapic_now(const struct lapic *l)
{
	return vclock_now(dev_clock((struct device *)&l->dev));
}

static uint64_t timer_divide(const struct lapic *l)
{
	unsigned code = (l->tdcr & 3) | (l->tdcr >> 1 & 4);

	return code == 7 ? 1 : 2ull << code;
}

static uint64_t timer_period(const struct lapic *l)
{
	return l->tmict * timer_divide(l);	/* ns */
}

uint64_t lapic_tsc(const struct lapic *l)
{
	return l->w.tsc ? l->w.tsc(l->w.sig.cpu) : lapic_now(l);
}

static void timer_arm_deadline(struct lapic *l)
{
	uint64_t tsc = lapic_tsc(l), left = l->tsc_deadline > tsc ? l->tsc_deadline - tsc : 0;
	uint64_t hz = l->w.tsc && l->w.tsc_hz ? l->w.tsc_hz : NS_PER_SEC;

	/* A deadline of centuries is none: look again after a day. */
	left = left > hz * 86400 ? hz * 86400 : left;
	vtimer_arm(&l->timer, lapic_now(l) + muldiv64(left, NS_PER_SEC, hz) + (left ? 1 : 0));
}

/* Next expiry of the counting modes; in periodic mode the first after now. */
static void timer_arm_count(struct lapic *l)
{
	uint64_t period = timer_period(l), now = lapic_now(l), gone = now - l->timer_start;

	if (lapic_timer_mode(l) != TIMER_PERIODIC && gone >= period)
		vtimer_cancel(&l->timer);
	else if (lapic_timer_mode(l) == TIMER_PERIODIC && period < MIN_PERIOD_NS)
		vtimer_arm(&l->timer, now + MIN_PERIOD_NS);
	else
		vtimer_arm(&l->timer, l->timer_start + (gone / period + 1) * period);
}

void lapic_timer_rearm(struct lapic *l)
{
	bool deadline = lapic_timer_mode(l) == TIMER_DEADLINE;

	if (lapic_enabled(l) && deadline && l->tsc_deadline)
		timer_arm_deadline(l);
	else if (lapic_enabled(l) && !deadline && l->tmict)
		timer_arm_count(l);
	else
		vtimer_cancel(&l->timer);
}

void lapic_timer_expired(void *opaque)
{
	struct lapic *l = opaque;

	if (lapic_timer_mode(l) == TIMER_DEADLINE) {
		if (!l->tsc_deadline)
			return;
		if (lapic_tsc(l) < l->tsc_deadline) {
			timer_arm_deadline(l);
			return;
		}
		l->tsc_deadline = 0;
	} else if (lapic_timer_mode(l) == TIMER_PERIODIC) {
		timer_arm_count(l);	/* missed periods merge into this interrupt */
	}
	lapic_lvt_fire(l, LVT_TIMER);
}

uint32_t lapic_timer_count(const struct lapic *l)
{
	uint64_t period = timer_period(l), gone = lapic_now(l) - l->timer_start;

	if (!period || lapic_timer_mode(l) == TIMER_DEADLINE)
		return 0;
	if (lapic_timer_mode(l) == TIMER_PERIODIC)
		gone %= period;
	else if (gone >= period)
		return 0;
	return (uint32_t)((period - gone + timer_divide(l) - 1) / timer_divide(l));
}

/* The count goes on from its present value when the divisor changes. */
void lapic_timer_set_divide(struct lapic *l, uint32_t v)
{
	uint64_t left = lapic_timer_count(l);

	l->tdcr = v & 0xb;
	if (!l->tmict || lapic_timer_mode(l) == TIMER_DEADLINE)
		return;
	l->timer_start = lapic_now(l) - (l->tmict - left) * timer_divide(l);
	lapic_timer_rearm(l);
}

void lapic_timer_set_lvt(struct lapic *l, uint32_t v)
{
	unsigned old = lapic_timer_mode(l);

	l->lvt[LVT_TIMER] = v;
	if (TIMER_MODE(v) == old)
		return;
	/* 11.5.4.1: a change to or from deadline mode disarms the timer. */
	if (old == TIMER_DEADLINE || TIMER_MODE(v) == TIMER_DEADLINE)
		l->tmict = l->tsc_deadline = 0;
	lapic_timer_rearm(l);
}

void lapic_timer_set_initial(struct lapic *l, uint32_t v)
{
	if (lapic_timer_mode(l) == TIMER_DEADLINE)
		return;
	l->tmict = v;
	l->timer_start = lapic_now(l);
	lapic_timer_rearm(l);
}
