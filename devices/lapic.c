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
#include "lapic_int.h"
#include <stdio.h>

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

/* ---- priorities (11.8.3) ---- */

uint32_t lapic_ppr(const struct lapic *l)
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

void lapic_update(struct lapic *l)
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

void lapic_accept_fixed(struct lapic *l, uint8_t vector, bool level)
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

void lapic_accept(struct lapic *l, const struct lapic_msg *m)
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

/* ---- local vector table (11.5.1) ---- */

void lapic_lvt_fire(struct lapic *l, unsigned n)
{
	uint32_t lvt = l->lvt[n];
	struct lapic_msg m = { .vector = lvt & 0xff, .mode = lvt >> 8 & 7 };

	if (n == LVT_TIMER || n == LVT_ERROR)
		m.mode = MODE_FIXED;
	if (!(lvt & LVT_MASKED))
		lapic_accept(l, &m);
}

void lapic_error(struct lapic *l, uint32_t bit)
{
	bool first = !(l->esr_pending & bit);

	l->esr_pending |= bit;
	/* A bad vector in this very entry must not report itself again. */
	if (first && (l->lvt[LVT_ERROR] & 0xff) >= 16)
		lapic_lvt_fire(l, LVT_ERROR);
}

void lapic_lint_service(struct lapic *l, unsigned n)
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
		lapic_lint_service(l, n);
	else if (rose)
		lapic_lvt_fire(l, LVT_LINT0 + n);
}

static void bus_set_extint(void *sink, unsigned pin, bool level)
{
	struct lapic_bus *b = sink;

	for (unsigned i = 0; i < b->n; i++)
		lapic_set_lint(b->apic[i], 0, level);
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
	vtimer_init(&l->timer, dev_clock(d), lapic_timer_expired, l);
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
		l->lvt[n] &= lapic_lvt_writable[n] | LVT_REMOTE_IRR;
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
	return (struct msi_sink){ .send = lapic_bus_msi, .opaque = b };
}

bool lapic_add_all(struct vm *vm, struct lapic_bus *b, struct err *e)
{
	for (unsigned i = 0; i < vm->ncpus; i++) {
		struct lapic_wiring w = { .bus = b, .apic_id = i, .bsp = i == 0,
					  .sig = vm_cpu_signal(vm, i) };
		struct device *d;
		char id[16];

		snprintf(id, sizeof(id), "%u", i);
		d = device_create(vm, &lapic_ops, id);
		w.tsc = vm_cpu_tsc(vm, &w.tsc_hz);
		lapic_wire(d, &w);
		if (!device_realize(d, e))
			return false;
		vm_set_apic(vm, i, lapic_apic(d));
	}
	vm->msi = lapic_msi_sink(b);
	return true;
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
