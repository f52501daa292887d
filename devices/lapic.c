/* SPDX-License-Identifier: MIT */
/*
 * Local APIC of the software CPU: xAPIC and x2APIC.
 *
 * After: Intel SDM vol. 3A, chapter "Advanced Programmable Interrupt
 * Controller (APIC)" (section numbers below are of its 11.x numbering,
 * edition 083; older editions count 10.x).  Version 0x14, six LVT entries,
 * no EOI-broadcast suppression.  The timer counts nanoseconds of the virtual
 * clock (a 1 GHz bus clock) and the TSC-deadline timer the TSC of the guest.
 *
 * Left out: arbitration priority, CMCI, performance and thermal events (their
 * LVT entries are registers only).  As firmware expects it, LINT0 of the
 * bootstrap processor starts as unmasked ExtINT.
 */
#include "lapic.h"
#include <stdatomic.h>

/* Register index = xAPIC offset >> 4 = x2APIC MSR - 0x800. */
enum {
	R_ID = 0x02, R_VERSION = 0x03, R_TPR = 0x08, R_APR = 0x09, R_PPR = 0x0a, R_EOI = 0x0b,
	R_RRD = 0x0c, R_LDR = 0x0d, R_DFR = 0x0e, R_SVR = 0x0f, R_ISR = 0x10, R_TMR = 0x18,
	R_IRR = 0x20, R_ESR = 0x28, R_ICR_LO = 0x30, R_ICR_HI = 0x31, R_LVT_TIMER = 0x32,
	R_LVT_THERMAL = 0x33, R_LVT_PERF = 0x34, R_LVT_LINT0 = 0x35, R_LVT_LINT1 = 0x36,
	R_LVT_ERROR = 0x37, R_TMICT = 0x38, R_TMCCT = 0x39, R_TDCR = 0x3e, R_SELF_IPI = 0x3f,
};
enum { LVT_TIMER, LVT_THERMAL, LVT_PERF, LVT_LINT0, LVT_LINT1, LVT_ERROR, LVT_COUNT };
enum { MODE_FIXED, MODE_LOWEST, MODE_SMI, MODE_NMI = 4, MODE_INIT, MODE_SIPI, MODE_EXTINT };

#define LAPIC_VERSION (0x14u | (LVT_COUNT - 1) << 16)
#define MSR_TSC_DEADLINE 0x6e0u
#define MSR_X2APIC 0x800u

#define BASE_BSP (1ull << 8)
#define BASE_X2 (1ull << 10)
#define BASE_EN (1ull << 11)
#define BASE_ADDR 0x000ffffffffff000ull
#define BASE_DEFAULT 0xfee00000ull

#define SVR_ENABLE 0x100u
#define LVT_MASKED (1u << 16)
#define LVT_LEVEL (1u << 15)
#define LVT_REMOTE_IRR (1u << 14)
#define TIMER_MODE(lvt) ((lvt) >> 17 & 3)
enum { TIMER_ONESHOT, TIMER_PERIODIC, TIMER_DEADLINE };

#define ESR_SEND_VECTOR 0x20u
#define ESR_RECV_VECTOR 0x40u
#define ESR_REGISTER 0x80u

#define ICR_LOGICAL (1u << 11)
#define ICR_ASSERT (1u << 14)
#define ICR_LEVEL (1u << 15)
#define BROADCAST 0xffffffffu
#define MIN_PERIOD_NS 50000u	/* bound of what a guest's timer may cost the host */
#define EXTINT_WORD 0x100u

static const uint32_t lvt_writable[LVT_COUNT] = {
	[LVT_TIMER] = 0x700ff, [LVT_THERMAL] = 0x107ff, [LVT_PERF] = 0x107ff,
	[LVT_LINT0] = 0x1a7ff, [LVT_LINT1] = 0x1a7ff, [LVT_ERROR] = 0x100ff,
};

struct lapic {
	struct device dev;
	uint64_t base;			/* IA32_APIC_BASE */
	uint32_t id;			/* xAPIC ID register >> 24; x2APIC uses wiring.apic_id */
	uint32_t tpr, ldr, dfr, svr, esr, esr_pending, tmict, tdcr;
	uint64_t icr;
	uint32_t lvt[LVT_COUNT];
	uint32_t isr[8], irr[8], tmr[8];
	uint64_t timer_start;		/* virtual ns at which the count was tmict */
	uint64_t tsc_deadline;		/* 0: disarmed */
	struct vtimer timer;
	bool lint[2];			/* input levels */
	_Atomic uint32_t deliverable;	/* 0: nothing; EXTINT_WORD; else vector + 1 */
	struct lapic_wiring w;		/* immutable after realize */
};
DEVICE_CHECK(struct lapic);

static const struct state_field lapic_fields[] = {
	STATE_U64(struct lapic, base), STATE_U32(struct lapic, id), STATE_U32(struct lapic, tpr),
	STATE_U32(struct lapic, ldr), STATE_U32(struct lapic, dfr), STATE_U32(struct lapic, svr),
	STATE_U32(struct lapic, esr), STATE_U32(struct lapic, esr_pending),
	STATE_U32(struct lapic, tmict), STATE_U32(struct lapic, tdcr),
	STATE_U64(struct lapic, icr), STATE_U32S(struct lapic, lvt),
	STATE_U32S(struct lapic, isr), STATE_U32S(struct lapic, irr),
	STATE_U32S(struct lapic, tmr), STATE_U64(struct lapic, timer_start),
	STATE_U64(struct lapic, tsc_deadline), STATE_TIMER(struct lapic, timer),
	STATE_BOOLS(struct lapic, lint),
	STATE_END
};

/* A message on its way, from an ICR, the I/O APIC or a device. */
struct lapic_msg {
	uint32_t dest;
	uint8_t vector, mode;
	bool logical, level, lowest;
	bool wide;		/* @dest has 32 bits (x2APIC sender) */
};

static void lapic_error(struct lapic *l, uint32_t bit);

static bool lapic_enabled(const struct lapic *l) { return l->base & BASE_EN; }
static bool lapic_x2(const struct lapic *l) { return l->base & BASE_X2; }
static bool lapic_soft_enabled(const struct lapic *l)
{
	return lapic_enabled(l) && l->svr & SVR_ENABLE;
}

/* ---- vectors and priorities (11.8.3) ---- */

static void vec_set(uint32_t *map, unsigned v) { map[v >> 5] |= 1u << (v & 31); }
static void vec_clear(uint32_t *map, unsigned v) { map[v >> 5] &= ~(1u << (v & 31)); }
static bool vec_test(const uint32_t *map, unsigned v) { return map[v >> 5] >> (v & 31) & 1; }

/* -1: none */
static int vec_highest(const uint32_t *map)
{
	for (int i = 7; i >= 0; i--)
		if (map[i])
			return i * 32 + 31 - __builtin_clz(map[i]);
	return -1;
}

static uint32_t lapic_ppr(const struct lapic *l)
{
	int isr = vec_highest(l->isr);
	uint32_t serving = isr < 0 ? 0 : (uint32_t)isr & 0xf0;

	return (l->tpr & 0xf0) >= serving ? l->tpr : serving;
}

/* The 8259's INTR reaches the CPU through an ExtINT pin, or directly with the APIC off. */
static bool lapic_extint(const struct lapic *l)
{
	uint32_t lvt = l->lvt[LVT_LINT0];

	if (!l->lint[0] || !l->dev.vm->extint.inta)
		return false;
	if (!lapic_enabled(l))
		return l->w.bsp;
	return !(lvt & LVT_MASKED) && (lvt >> 8 & 7) == MODE_EXTINT;
}

static int lapic_fixed(const struct lapic *l)
{
	int v = lapic_soft_enabled(l) ? vec_highest(l->irr) : -1;

	return v >= 0 && ((uint32_t)v & 0xf0) > (lapic_ppr(l) & 0xf0) ? v : -1;
}

/* Recompute what the CPU may take and tell it; ends every state change. */
static void lapic_update(struct lapic *l)
{
	int v = lapic_fixed(l);
	uint32_t word = v >= 0 ? (uint32_t)v + 1 : lapic_extint(l) ? EXTINT_WORD : 0;

	atomic_store(&l->deliverable, word);
	if (word && l->w.sig.raise)
		l->w.sig.raise(l->w.sig.cpu, CPU_EV_INTR, 0);
	else if (!word && l->w.sig.lower)
		l->w.sig.lower(l->w.sig.cpu, CPU_EV_INTR);
}

static void lapic_signal(struct lapic *l, enum cpu_event ev, unsigned arg)
{
	if (l->w.sig.raise)
		l->w.sig.raise(l->w.sig.cpu, ev, arg);
}

static void lapic_accept_fixed(struct lapic *l, uint8_t vector, bool level)
{
	if (!lapic_soft_enabled(l))
		return;
	if (vector < 16) {
		lapic_error(l, ESR_RECV_VECTOR);
		return;
	}
	vec_set(l->irr, vector);
	if (level)
		vec_set(l->tmr, vector);
	else
		vec_clear(l->tmr, vector);
	lapic_update(l);
}

static void lapic_accept(struct lapic *l, const struct lapic_msg *m)
{
	switch (m->mode) {
	case MODE_FIXED:
	case MODE_LOWEST:
		lapic_accept_fixed(l, m->vector, m->level);
		break;
	case MODE_SMI:
		lapic_signal(l, CPU_EV_SMI, 0);
		break;
	case MODE_NMI:
		lapic_signal(l, CPU_EV_NMI, 0);
		break;
	case MODE_INIT:
		lapic_signal(l, CPU_EV_INIT, 0);
		break;
	case MODE_SIPI:
		lapic_signal(l, CPU_EV_SIPI, m->vector);
		break;
	}	/* ExtINT by message: the I/O APIC has asked the 8259 already */
}

/* ---- destinations (11.6.2) ---- */

static uint32_t x2_ldr(uint32_t id)
{
	return id >> 4 << 16 | 1u << (id & 15);
}

static bool match_logical(const struct lapic *l, uint32_t dest)
{
	uint32_t ldr = l->ldr >> 24;

	if (lapic_x2(l)) {
		ldr = x2_ldr(l->w.apic_id);
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
static void bus_msi(void *opaque, uint64_t addr, uint32_t data)
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

static void icr_send(struct lapic *l)
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

/* ---- local vector table (11.5.1) ---- */

static void lvt_fire(struct lapic *l, unsigned n)
{
	uint32_t lvt = l->lvt[n];
	struct lapic_msg m = { .vector = lvt & 0xff, .mode = lvt >> 8 & 7 };

	if (n == LVT_TIMER || n == LVT_ERROR)
		m.mode = MODE_FIXED;
	if (!(lvt & LVT_MASKED))
		lapic_accept(l, &m);
}

static void lapic_error(struct lapic *l, uint32_t bit)
{
	bool first = !(l->esr_pending & bit);

	l->esr_pending |= bit;
	/* A bad vector in this very entry must not report itself again. */
	if (first && (l->lvt[LVT_ERROR] & 0xff) >= 16)
		lvt_fire(l, LVT_ERROR);
}

static void lint_service_level(struct lapic *l, unsigned n)
{
	uint32_t *lvt = &l->lvt[LVT_LINT0 + n];

	if (!l->lint[n] || *lvt & (LVT_MASKED | LVT_REMOTE_IRR) || !lapic_soft_enabled(l))
		return;
	*lvt |= LVT_REMOTE_IRR;
	lapic_accept_fixed(l, *lvt & 0xff, true);
}

static void lapic_set_lint(void *sink, unsigned n, bool level)
{
	struct lapic *l = sink;
	uint32_t lvt = l->lvt[LVT_LINT0 + n];
	bool rose = level && !l->lint[n];
	unsigned mode = lvt >> 8 & 7;

	l->lint[n] = level;
	if (n == 0)
		lapic_update(l);
	if (mode == MODE_EXTINT || !lapic_enabled(l))
		return;
	if (mode == MODE_FIXED && lvt & LVT_LEVEL)
		lint_service_level(l, n);
	else if (rose)
		lvt_fire(l, LVT_LINT0 + n);
}

static void bus_set_extint(void *sink, unsigned pin, bool level)
{
	struct lapic_bus *b = sink;

	for (unsigned i = 0; i < b->n; i++)
		lapic_set_lint(b->apic[i], 0, level);
}

/* ---- timer (11.5.4) ---- */

static uint64_t lapic_now(const struct lapic *l)
{
	return vclock_now(dev_clock((struct device *)&l->dev));
}

static unsigned timer_mode(const struct lapic *l)
{
	return TIMER_MODE(l->lvt[LVT_TIMER]);
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

static uint64_t lapic_tsc(const struct lapic *l)
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

	if (timer_mode(l) != TIMER_PERIODIC && gone >= period)
		vtimer_cancel(&l->timer);
	else if (timer_mode(l) == TIMER_PERIODIC && period < MIN_PERIOD_NS)
		vtimer_arm(&l->timer, now + MIN_PERIOD_NS);
	else
		vtimer_arm(&l->timer, l->timer_start + (gone / period + 1) * period);
}

static void timer_rearm(struct lapic *l)
{
	bool deadline = timer_mode(l) == TIMER_DEADLINE;

	if (lapic_enabled(l) && deadline && l->tsc_deadline)
		timer_arm_deadline(l);
	else if (lapic_enabled(l) && !deadline && l->tmict)
		timer_arm_count(l);
	else
		vtimer_cancel(&l->timer);
}

static void timer_expired(void *opaque)
{
	struct lapic *l = opaque;

	if (timer_mode(l) == TIMER_DEADLINE) {
		if (!l->tsc_deadline)
			return;
		if (lapic_tsc(l) < l->tsc_deadline) {
			timer_arm_deadline(l);
			return;
		}
		l->tsc_deadline = 0;
	} else if (timer_mode(l) == TIMER_PERIODIC) {
		timer_arm_count(l);	/* missed periods merge into this interrupt */
	}
	lvt_fire(l, LVT_TIMER);
}

static uint32_t timer_count(const struct lapic *l)
{
	uint64_t period = timer_period(l), gone = lapic_now(l) - l->timer_start;

	if (!period || timer_mode(l) == TIMER_DEADLINE)
		return 0;
	if (timer_mode(l) == TIMER_PERIODIC)
		gone %= period;
	else if (gone >= period)
		return 0;
	return (uint32_t)((period - gone + timer_divide(l) - 1) / timer_divide(l));
}

/* The count goes on from its present value when the divisor changes. */
static void timer_set_divide(struct lapic *l, uint32_t v)
{
	uint64_t left = timer_count(l);

	l->tdcr = v & 0xb;
	if (!l->tmict || timer_mode(l) == TIMER_DEADLINE)
		return;
	l->timer_start = lapic_now(l) - (l->tmict - left) * timer_divide(l);
	timer_rearm(l);
}

static void timer_set_lvt(struct lapic *l, uint32_t v)
{
	unsigned old = timer_mode(l);

	l->lvt[LVT_TIMER] = v;
	if (TIMER_MODE(v) == old)
		return;
	/* 11.5.4.1: a change to or from deadline mode disarms the timer. */
	if (old == TIMER_DEADLINE || TIMER_MODE(v) == TIMER_DEADLINE)
		l->tmict = l->tsc_deadline = 0;
	timer_rearm(l);
}

static void timer_set_initial(struct lapic *l, uint32_t v)
{
	if (timer_mode(l) == TIMER_DEADLINE)
		return;
	l->tmict = v;
	l->timer_start = lapic_now(l);
	timer_rearm(l);
}

/* ---- registers ---- */

static void lapic_eoi(struct lapic *l)
{
	struct vm *vm = l->dev.vm;
	int v = vec_highest(l->isr);

	if (v < 0)
		return;
	vec_clear(l->isr, (unsigned)v);
	if (vec_test(l->tmr, (unsigned)v)) {
		for (unsigned n = 0; n < 2; n++)
			if ((l->lvt[LVT_LINT0 + n] & 0xff) == (unsigned)v)
				l->lvt[LVT_LINT0 + n] &= ~LVT_REMOTE_IRR;
		if (vm->eoi)
			vm->eoi(vm->eoi_opaque, (uint8_t)v);
		for (unsigned n = 0; n < 2; n++)
			if (l->lvt[LVT_LINT0 + n] & LVT_LEVEL)
				lint_service_level(l, n);
	}
	lapic_update(l);
}

static void lapic_set_lvt(struct lapic *l, unsigned n, uint32_t v)
{
	uint32_t ro = l->lvt[n] & LVT_REMOTE_IRR;

	v &= lvt_writable[n];
	if (!(l->svr & SVR_ENABLE))
		v |= LVT_MASKED;
	if (n == LVT_TIMER) {
		timer_set_lvt(l, v);
	} else {
		l->lvt[n] = v | (v & LVT_LEVEL ? ro : 0);
		if (v & LVT_LEVEL && (v >> 8 & 7) == MODE_FIXED)
			lint_service_level(l, n - LVT_LINT0);
	}
	lapic_update(l);
}

static void lapic_set_svr(struct lapic *l, uint32_t v)
{
	l->svr = v & 0x1ff;
	if (!(v & SVR_ENABLE))	/* 11.4.7.2 */
		for (unsigned n = 0; n < LVT_COUNT; n++)
			l->lvt[n] |= LVT_MASKED;
	lapic_update(l);
}

static uint32_t lapic_read_id(const struct lapic *l)
{
	return lapic_x2(l) ? l->w.apic_id : l->id << 24;
}

/* false: no such register */
static bool lapic_read_reg(struct lapic *l, unsigned r, uint32_t *v)
{
	switch (r) {
	case R_ID: *v = lapic_read_id(l); break;
	case R_VERSION: *v = LAPIC_VERSION; break;
	case R_TPR: *v = l->tpr; break;
	case R_PPR: *v = lapic_ppr(l); break;
	case R_LDR: *v = lapic_x2(l) ? x2_ldr(l->w.apic_id) : l->ldr; break;
	case R_SVR: *v = l->svr; break;
	case R_ISR ... R_ISR + 7: *v = l->isr[r - R_ISR]; break;
	case R_TMR ... R_TMR + 7: *v = l->tmr[r - R_TMR]; break;
	case R_IRR ... R_IRR + 7: *v = l->irr[r - R_IRR]; break;
	case R_ESR: *v = l->esr; break;
	case R_ICR_LO: *v = (uint32_t)l->icr; break;
	case R_LVT_TIMER ... R_LVT_ERROR: *v = l->lvt[r - R_LVT_TIMER]; break;
	case R_TMICT: *v = l->tmict; break;
	case R_TMCCT: *v = timer_count(l); break;
	case R_TDCR: *v = l->tdcr; break;
	default: return false;
	}
	return true;
}

static void lapic_write_esr(struct lapic *l)
{
	l->esr = l->esr_pending;	/* 11.5.3: a write latches what came since the last one */
	l->esr_pending = 0;
}

static bool lapic_write_reg(struct lapic *l, unsigned r, uint32_t v)
{
	switch (r) {
	case R_TPR:
		l->tpr = v & 0xff;
		lapic_update(l);
		break;
	case R_EOI:
		lapic_eoi(l);
		break;
	case R_SVR:
		lapic_set_svr(l, v);
		break;
	case R_ESR:
		lapic_write_esr(l);
		break;
	case R_LVT_TIMER ... R_LVT_ERROR:
		lapic_set_lvt(l, r - R_LVT_TIMER, v);
		break;
	case R_TMICT:
		timer_set_initial(l, v);
		break;
	case R_TDCR:
		timer_set_divide(l, v);
		break;
	default:
		return false;
	}
	return true;
}

/* ---- xAPIC page ---- */

static uint32_t lapic_mmio_read(void *apic, unsigned off)
{
	struct lapic *l = apic;
	unsigned r = off >> 4 & 0xff;
	uint32_t v = 0;

	if (!lapic_enabled(l) || lapic_x2(l))
		return 0xffffffff;
	switch (r) {
	case R_ICR_HI: v = (uint32_t)(l->icr >> 32); break;
	case R_DFR: v = l->dfr; break;
	case R_APR:
	case R_RRD:
	case R_EOI: break;
	default:
		if (!lapic_read_reg(l, r, &v))
			lapic_error(l, ESR_REGISTER);
	}
	return v >> (off & 3) * 8;
}

static void lapic_mmio_write(void *apic, unsigned off, uint32_t v)
{
	struct lapic *l = apic;
	unsigned r = off >> 4 & 0xff;

	if (!lapic_enabled(l) || lapic_x2(l) || off & 0xf)
		return;
	switch (r) {
	case R_ID: l->id = v >> 24; break;
	case R_LDR: l->ldr = v & 0xff000000; break;
	case R_DFR: l->dfr = v | 0x0fffffff; break;
	case R_ICR_HI: l->icr = (uint32_t)l->icr | (uint64_t)v << 32; break;
	case R_ICR_LO:
		l->icr = (l->icr & 0xffffffff00000000ull) | (v & 0xccfff);
		icr_send(l);
		break;
	default:
		if (!lapic_write_reg(l, r, v))
			lapic_error(l, ESR_REGISTER);
	}
}

/* ---- MSRs (11.12) ---- */

static bool lapic_rdmsr(void *apic, uint32_t msr, uint64_t *val)
{
	struct lapic *l = apic;
	unsigned r = msr - MSR_X2APIC;
	uint32_t v;

	if (msr == MSR_TSC_DEADLINE) {
		*val = timer_mode(l) == TIMER_DEADLINE ? l->tsc_deadline : 0;
		return true;
	}
	if (!lapic_x2(l) || msr < MSR_X2APIC || r > 0xff)
		return false;
	if (r == R_ICR_LO) {
		*val = l->icr;
		return true;
	}
	if (!lapic_read_reg(l, r, &v))
		return false;
	*val = v;
	return true;
}

/* Bits that must be zero in x2APIC mode (table 11-6): a set one is #GP. */
static bool x2_reserved(unsigned r, uint64_t val)
{
	if (r == R_ICR_LO)
		return val & 0xfff32000;	/* not 12: the old delivery status */
	if (val >> 32)
		return true;
	switch (r) {
	case R_TPR: return val & ~0xffull;
	case R_EOI:
	case R_ESR: return val != 0;
	case R_SVR: return val & ~0x1ffull;
	case R_TDCR: return val & ~0xbull;
	case R_SELF_IPI: return val & ~0xffull;
	case R_LVT_TIMER ... R_LVT_ERROR:
		return val & ~(uint64_t)(lvt_writable[r - R_LVT_TIMER] | 0x5000);
	default: return false;
	}
}

static void x2_self_ipi(struct lapic *l, uint8_t vector)
{
	if (vector < 16)
		lapic_error(l, ESR_SEND_VECTOR);
	else
		lapic_accept_fixed(l, vector, false);
}

static void lapic_write_deadline(struct lapic *l, uint64_t val)
{
	if (timer_mode(l) != TIMER_DEADLINE)
		return;		/* 11.5.4.1: ignored in the other modes */
	l->tsc_deadline = val;
	timer_rearm(l);
	if (val && lapic_tsc(l) >= val) {	/* in the past: now, without the loop thread */
		vtimer_cancel(&l->timer);
		timer_expired(l);
	}
}

static bool lapic_wrmsr(void *apic, uint32_t msr, uint64_t val)
{
	struct lapic *l = apic;
	unsigned r = msr - MSR_X2APIC;

	if (msr == MSR_TSC_DEADLINE) {
		lapic_write_deadline(l, val);
		return true;
	}
	if (!lapic_x2(l) || msr < MSR_X2APIC || r > 0xff || x2_reserved(r, val))
		return false;
	if (r == R_SELF_IPI) {
		x2_self_ipi(l, (uint8_t)val);
		return true;
	}
	if (r == R_ICR_LO) {
		l->icr = val;
		icr_send(l);
		return true;
	}
	return lapic_write_reg(l, r, (uint32_t)val);
}

/* ---- the CPU's calls ---- */

static int lapic_ack(void *apic)
{
	struct lapic *l = apic;
	int v = lapic_fixed(l);
	const struct extint *x = &l->dev.vm->extint;

	if (v >= 0) {
		vec_clear(l->irr, (unsigned)v);
		vec_set(l->isr, (unsigned)v);
	} else if (lapic_extint(l)) {
		v = x->inta(x->opaque) & 0xff;
	}
	lapic_update(l);
	return v;
}

static bool lapic_has_intr(void *apic)
{
	return atomic_load_explicit(&((struct lapic *)apic)->deliverable, memory_order_acquire);
}

static uint8_t lapic_get_tpr(void *apic)
{
	return (uint8_t)((struct lapic *)apic)->tpr;
}

static void lapic_set_tpr(void *apic, uint8_t tpr)
{
	struct lapic *l = apic;

	l->tpr = tpr;
	lapic_update(l);
}

/* 11.4.7.1: state after power-up and INIT, but for ID and base. */
static void lapic_init(void *apic)
{
	struct lapic *l = apic;

	l->tpr = l->ldr = l->esr = l->esr_pending = l->tmict = l->tdcr = 0;
	l->icr = l->tsc_deadline = l->timer_start = 0;
	l->dfr = 0xffffffff;
	l->svr = 0xff;
	memset(l->isr, 0, sizeof(l->isr));
	memset(l->irr, 0, sizeof(l->irr));
	memset(l->tmr, 0, sizeof(l->tmr));
	for (unsigned n = 0; n < LVT_COUNT; n++)
		l->lvt[n] = LVT_MASKED;
	if (l->base & BASE_BSP)
		l->lvt[LVT_LINT0] = MODE_EXTINT << 8;
	vtimer_cancel(&l->timer);
	lapic_update(l);
}

static uint64_t lapic_get_base(void *apic)
{
	return ((struct lapic *)apic)->base;
}

/* 11.12.5: from x2APIC only to disabled, into x2APIC only from enabled. */
static bool lapic_set_base(void *apic, uint64_t val)
{
	struct lapic *l = apic;
	uint64_t mode = val & (BASE_EN | BASE_X2), old = l->base & (BASE_EN | BASE_X2);

	if (val & ~(BASE_ADDR | BASE_BSP | BASE_EN | BASE_X2) || mode == BASE_X2)
		return false;
	if ((old == (BASE_EN | BASE_X2) && mode == BASE_EN) ||
	    (old == 0 && mode == (BASE_EN | BASE_X2)))
		return false;
	l->base = val;
	if (mode == old)
		return true;
	if (!mode)
		lapic_init(l);
	if (mode & BASE_X2)
		l->id = l->w.apic_id & 0xff;
	lapic_update(l);
	return true;
}

static const struct apic_ops lapic_apic_ops = {
	.ack = lapic_ack,
	.has_intr = lapic_has_intr,
	.get_tpr = lapic_get_tpr,
	.set_tpr = lapic_set_tpr,
	.get_base = lapic_get_base,
	.set_base = lapic_set_base,
	.rdmsr = lapic_rdmsr,
	.wrmsr = lapic_wrmsr,
	.mmio_read = lapic_mmio_read,
	.mmio_write = lapic_mmio_write,
	.init = lapic_init,
};

/* ---- life ---- */

static bool lapic_realize(struct device *d, struct err *e)
{
	struct lapic *l = (struct lapic *)d;
	struct lapic_bus *b = l->w.bus;

	if (!b || b->n == VM_MAX_CPUS)
		return err_set(e, HV_EXIT_GENERIC, "too many local APICs");
	vtimer_init(&l->timer, dev_clock(d), timer_expired, l);
	b->apic[b->n++] = l;
	return true;
}

static void lapic_reset(struct device *d)
{
	struct lapic *l = (struct lapic *)d;

	l->id = l->w.apic_id & 0xff;
	l->base = BASE_DEFAULT | BASE_EN | (l->w.bsp ? BASE_BSP : 0);
	lapic_init(l);
}

static void lapic_unrealize(struct device *d)
{
	struct lapic *l = (struct lapic *)d;
	struct lapic_bus *b = l->w.bus;

	vtimer_cancel(&l->timer);
	for (unsigned i = 0; i < b->n; i++)
		if (b->apic[i] == l)
			b->apic[i--] = b->apic[--b->n];
}

static bool lapic_post_load(struct device *d, struct err *e)
{
	struct lapic *l = (struct lapic *)d;
	uint64_t mode = l->base & (BASE_EN | BASE_X2);

	if (l->base & ~(BASE_ADDR | BASE_BSP | BASE_EN | BASE_X2) || mode == BASE_X2)
		return err_set(e, HV_EXIT_IMAGE, "local APIC %u: impossible base %#llx",
			       l->w.apic_id, (unsigned long long)l->base);
	l->id &= 0xff;
	l->tpr &= 0xff;
	l->tdcr &= 0xb;
	for (unsigned n = 0; n < LVT_COUNT; n++)
		l->lvt[n] &= lvt_writable[n] | LVT_REMOTE_IRR;
	l->isr[0] &= 0xffff0000;	/* vectors below 16 do not exist */
	l->irr[0] &= 0xffff0000;
	lapic_update(l);
	return true;
}

void lapic_wire(struct device *d, const struct lapic_wiring *w)
{
	((struct lapic *)d)->w = *w;
}

struct apic lapic_apic(struct device *d)
{
	return (struct apic){ .ops = &lapic_apic_ops, .opaque = d };
}

struct irq_line lapic_lint(struct device *d, unsigned n)
{
	HV_BUG_ON(n > 1);
	return (struct irq_line){ .set = lapic_set_lint, .sink = d, .pin = n };
}

struct irq_line lapic_extint_line(struct lapic_bus *b)
{
	return (struct irq_line){ .set = bus_set_extint, .sink = b };
}

struct msi_sink lapic_msi_sink(struct lapic_bus *b)
{
	return (struct msi_sink){ .send = bus_msi, .opaque = b };
}

const struct device_ops lapic_ops = {
	.name = "lapic",
	.size = sizeof(struct lapic),
	.realize = lapic_realize,
	.reset = lapic_reset,
	.unrealize = lapic_unrealize,
	.state = lapic_fields,
	.state_version = 1,
	.post_load = lapic_post_load,
};
