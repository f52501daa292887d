/* SPDX-License-Identifier: MIT */
/*
 * The local APIC's registers (Intel SDM vol. 3A, 11.4 to 11.8), as the xAPIC
 * page and as the x2APIC's MSRs (11.12).
 */
#include "lapic_int.h"

const uint32_t lapic_lvt_writable[LVT_COUNT] = {
	[LVT_TIMER] = 0x700ff, [LVT_THERMAL] = 0x107ff, [LVT_PERF] = 0x107ff,
	[LVT_LINT0] = 0x1a7ff, [LVT_LINT1] = 0x1a7ff, [LVT_ERROR] = 0x100ff,
};

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
				lapic_lint_service(l, n);
	}
	lapic_update(l);
}

static void lapic_set_lvt(struct lapic *l, unsigned n, uint32_t v)
{
	uint32_t ro = l->lvt[n] & LVT_REMOTE_IRR;

	v &= lapic_lvt_writable[n];
	if (!(l->svr & SVR_ENABLE))
		v |= LVT_MASKED;
	if (n == LVT_TIMER) {
		lapic_timer_set_lvt(l, v);
	} else {
		l->lvt[n] = v | (v & LVT_LEVEL ? ro : 0);
		if (v & LVT_LEVEL && (v >> 8 & 7) == MODE_FIXED)
			lapic_lint_service(l, n - LVT_LINT0);
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
	case R_LDR: *v = lapic_x2(l) ? lapic_x2_ldr(l->w.apic_id) : l->ldr; break;
	case R_SVR: *v = l->svr; break;
	case R_ISR ... R_ISR + 7: *v = l->isr[r - R_ISR]; break;
	case R_TMR ... R_TMR + 7: *v = l->tmr[r - R_TMR]; break;
	case R_IRR ... R_IRR + 7: *v = l->irr[r - R_IRR]; break;
	case R_ESR: *v = l->esr; break;
	case R_ICR_LO: *v = (uint32_t)l->icr; break;
	case R_LVT_TIMER ... R_LVT_ERROR: *v = l->lvt[r - R_LVT_TIMER]; break;
	case R_TMICT: *v = l->tmict; break;
	case R_TMCCT: *v = lapic_timer_count(l); break;
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
		lapic_timer_set_initial(l, v);
		break;
	case R_TDCR:
		lapic_timer_set_divide(l, v);
		break;
	default:
		return false;
	}
	return true;
}

/* ---- xAPIC page ---- */

uint32_t lapic_mmio_read(void *apic, unsigned off)
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

void lapic_mmio_write(void *apic, unsigned off, uint32_t v)
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
		lapic_icr_send(l);
		break;
	default:
		if (!lapic_write_reg(l, r, v))
			lapic_error(l, ESR_REGISTER);
	}
}

/* ---- MSRs (11.12) ---- */

bool lapic_rdmsr(void *apic, uint32_t msr, uint64_t *val)
{
	struct lapic *l = apic;
	unsigned r = msr - MSR_X2APIC;
	uint32_t v;

	if (msr == MSR_TSC_DEADLINE) {
		*val = lapic_timer_mode(l) == TIMER_DEADLINE ? l->tsc_deadline : 0;
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
		return val & ~(uint64_t)(lapic_lvt_writable[r - R_LVT_TIMER] | 0x5000);
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
	if (lapic_timer_mode(l) != TIMER_DEADLINE)
		return;		/* 11.5.4.1: ignored in the other modes */
	l->tsc_deadline = val;
	lapic_timer_rearm(l);
	if (val && lapic_tsc(l) >= val) {	/* in the past: now, without the loop thread */
		vtimer_cancel(&l->timer);
		lapic_timer_expired(l);
	}
}

bool lapic_wrmsr(void *apic, uint32_t msr, uint64_t val)
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
		lapic_icr_send(l);
		return true;
	}
	return lapic_write_reg(l, r, (uint32_t)val);
}
