/* SPDX-License-Identifier: MIT */
/*
 * Local APIC, private interface between lapic.c (priorities, local vectors,
 * the CPU's calls), lapic_ipi.c (messages between them), lapic_timer.c and
 * lapic_regs.c (the xAPIC page and the x2APIC's MSRs).
 */
#ifndef HV_LAPIC_INT_H
#define HV_LAPIC_INT_H

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

/* A message on its way, from an ICR, the I/O APIC or a device. */
struct lapic_msg {
	uint32_t dest;
	uint8_t vector, mode;
	bool logical, level, lowest;
	bool wide;		/* @dest has 32 bits (x2APIC sender) */
};

static inline bool lapic_enabled(const struct lapic *l) { return l->base & BASE_EN; }
static inline bool lapic_x2(const struct lapic *l) { return l->base & BASE_X2; }
static inline bool lapic_soft_enabled(const struct lapic *l)
{
	return lapic_enabled(l) && l->svr & SVR_ENABLE;
}

static inline void vec_set(uint32_t *map, unsigned v) { map[v >> 5] |= 1u << (v & 31); }
static inline void vec_clear(uint32_t *map, unsigned v) { map[v >> 5] &= ~(1u << (v & 31)); }
static inline bool vec_test(const uint32_t *map, unsigned v) { return map[v >> 5] >> (v & 31) & 1; }

/* -1: none */
static inline int vec_highest(const uint32_t *map)
{
	for (int i = 7; i >= 0; i--)
		if (map[i])
			return i * 32 + 31 - __builtin_clz(map[i]);
	return -1;
}

static inline uint32_t lapic_x2_ldr(uint32_t id)
{
	return id >> 4 << 16 | 1u << (id & 15);
}

static inline unsigned lapic_timer_mode(const struct lapic *l)
{
	return TIMER_MODE(l->lvt[LVT_TIMER]);
}

/* lapic.c */
uint32_t lapic_ppr(const struct lapic *l);
/* Recompute what the CPU may take and tell it; ends every state change. */
void lapic_update(struct lapic *l);
void lapic_accept_fixed(struct lapic *l, uint8_t vector, bool level);
void lapic_accept(struct lapic *l, const struct lapic_msg *m);
void lapic_lvt_fire(struct lapic *l, unsigned n);
void lapic_error(struct lapic *l, uint32_t bit);
void lapic_lint_service(struct lapic *l, unsigned n);

/* lapic_ipi.c */
void lapic_bus_msi(void *opaque, uint64_t addr, uint32_t data);
void lapic_icr_send(struct lapic *l);	/* the message in the interrupt command register */

/* lapic_timer.c */
uint64_t lapic_tsc(const struct lapic *l);
void lapic_timer_expired(void *opaque);
void lapic_timer_rearm(struct lapic *l);
uint32_t lapic_timer_count(const struct lapic *l);
void lapic_timer_set_divide(struct lapic *l, uint32_t v);
void lapic_timer_set_lvt(struct lapic *l, uint32_t v);
void lapic_timer_set_initial(struct lapic *l, uint32_t v);

/* lapic_regs.c; the functions are rows of struct apic_ops */
extern const uint32_t lapic_lvt_writable[LVT_COUNT];
uint32_t lapic_mmio_read(void *apic, unsigned off);
void lapic_mmio_write(void *apic, unsigned off, uint32_t v);
bool lapic_rdmsr(void *apic, uint32_t msr, uint64_t *val);
bool lapic_wrmsr(void *apic, uint32_t msr, uint64_t val);

#endif
