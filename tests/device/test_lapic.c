/* SPDX-License-Identifier: MIT */
/* Local APICs through the CPU's calls; sections of Intel SDM vol. 3A, chapter 11. */
#include "../../devices/lapic.h"
#include "../lib/testvm.h"

#define NCPU 3

enum { ID = 0x20, VER = 0x30, TPR = 0x80, PPR = 0xa0, EOI = 0xb0, LDR = 0xd0, DFR = 0xe0,
       SVR = 0xf0, ISR = 0x100, TMR = 0x180, IRR = 0x200, ESR = 0x280, ICR = 0x300, ICR2 = 0x310,
       LVT_TIMER = 0x320, LINT0 = 0x350, LINT1 = 0x360, LVT_ERR = 0x370, TMICT = 0x380,
       TMCCT = 0x390, TDCR = 0x3e0 };

struct cpu {
	unsigned intr, nmi, smi, init, sipi, sipi_vec;
};

static struct cpu cpu[NCPU];
static struct lapic_bus bus;
static struct vm *vm;
static struct device *dev[NCPU];
static struct apic ap[NCPU];
static unsigned next_id;
static unsigned eois, last_eoi;
static uint64_t tsc_now;

static void raise_ev(void *c, enum cpu_event ev, unsigned arg)
{
	struct cpu *p = c;

	p->intr |= ev == CPU_EV_INTR;
	p->nmi += ev == CPU_EV_NMI;
	p->smi += ev == CPU_EV_SMI;
	p->init += ev == CPU_EV_INIT;
	p->sipi += ev == CPU_EV_SIPI;
	if (ev == CPU_EV_SIPI)
		p->sipi_vec = arg;
}

static void lower_ev(void *c, enum cpu_event ev)
{
	if (ev == CPU_EV_INTR)
		((struct cpu *)c)->intr = 0;
}

static uint64_t read_tsc(void *c)
{
	return tsc_now + vclock_now(vm->clock) * 2;	/* 2 GHz */
}

static void wire(struct device *d)
{
	const struct lapic_wiring w = {
		.bus = &bus, .apic_id = next_id, .bsp = next_id == 0,
		.sig = { raise_ev, lower_ev, &cpu[next_id] }, .tsc = read_tsc,
		.tsc_hz = 2000000000,
	};

	lapic_wire(d, &w);
	next_id = (next_id + 1) % NCPU;
}

static void wire_single(struct device *d)
{
	bus = (struct lapic_bus){ 0 };
	next_id = 0;
	vm = d->vm;
	wire(d);
}

static void on_eoi(void *opaque, uint8_t vector)
{
	eois++;
	last_eoi = vector;
}

static int pic_vector = 0x28;
static int inta(void *opaque) { return pic_vector; }

static void w(unsigned n, unsigned off, uint32_t v) { ap[n].ops->mmio_write(ap[n].opaque, off, v); }
static uint32_t r(unsigned n, unsigned off) { return ap[n].ops->mmio_read(ap[n].opaque, off); }
static int ack(unsigned n) { return ap[n].ops->ack(ap[n].opaque); }
static bool has(unsigned n) { return ap[n].ops->has_intr(ap[n].opaque); }
static bool wrmsr(unsigned n, uint32_t m, uint64_t v)
{
	return ap[n].ops->wrmsr(ap[n].opaque, m, v);
}

static uint64_t rdmsr(unsigned n, uint32_t m)
{
	uint64_t v = 0xdead;

	assert_true(ap[n].ops->rdmsr(ap[n].opaque, m, &v));
	return v;
}

static bool set_base(unsigned n, uint64_t v) { return ap[n].ops->set_base(ap[n].opaque, v); }

static int setup(void **state)
{
	memset(cpu, 0, sizeof(cpu));
	bus = (struct lapic_bus){ 0 };
	eois = next_id = 0;
	tsc_now = 1000;
	vm = tvm_new(0);
	vm->eoi = on_eoi;
	for (unsigned n = 0; n < NCPU; n++) {
		dev[n] = tvm_add(vm, &lapic_ops, n == 0 ? "0" : n == 1 ? "1" : "2", wire);
		ap[n] = lapic_apic(dev[n]);
		w(n, SVR, 0x1ff);
	}
	vm->msi = lapic_msi_sink(&bus);
	return 0;
}

static int teardown(void **state)
{
	tvm_free(vm);
	return 0;
}

/* 11.4.7.1 and table 11-1 */
static void test_reset_values(void **state)
{
	struct device *d;

	next_id = 2;
	d = tvm_add(vm, &lapic_ops, "3", wire);
	ap[2] = lapic_apic(d);
	assert_int_equal(r(2, ID), 2u << 24);
	assert_int_equal(r(2, VER), 0x50014);
	assert_int_equal(r(2, SVR), 0xff);
	assert_int_equal(r(2, DFR), 0xffffffff);
	assert_int_equal(r(2, LINT0), 0x10000);
	assert_int_equal(ap[2].ops->get_base(ap[2].opaque), 0xfee00800);
	assert_int_equal(ap[0].ops->get_base(ap[0].opaque), 0xfee00900);
}

/* 11.8.3, 11.8.4: priorities, PPR, nesting, EOI */
static void test_priority(void **state)
{
	msi_send(&vm->msi, 0xfee00000, 0x41);
	msi_send(&vm->msi, 0xfee00000, 0x35);
	assert_true(cpu[0].intr);
	assert_int_equal(ack(0), 0x41);
	assert_int_equal(r(0, ISR + 0x20), 2);
	assert_int_equal(r(0, PPR), 0x40);
	assert_false(has(0));
	assert_false(cpu[0].intr);
	msi_send(&vm->msi, 0xfee00000, 0x4f);	/* same class: waits */
	assert_int_equal(ack(0), -1);
	msi_send(&vm->msi, 0xfee00000, 0x50);
	assert_int_equal(ack(0), 0x50);
	w(0, EOI, 0);
	w(0, EOI, 0);
	assert_int_equal(ack(0), 0x4f);
	w(0, EOI, 0);
	ap[0].ops->set_tpr(ap[0].opaque, 0x30);
	assert_false(has(0));
	w(0, TPR, 0x20);
	assert_true(cpu[0].intr);
	assert_int_equal(ack(0), 0x35);
	assert_int_equal(r(0, PPR), 0x30);
}

/* 11.8.5: the EOI of a level-triggered vector is broadcast */
static void test_eoi_broadcast(void **state)
{
	msi_send(&vm->msi, 0xfee00000, 0x61);
	msi_send(&vm->msi, 0xfee00000, 0xc062);
	assert_int_equal(r(0, TMR + 0x30), 4);
	assert_int_equal(ack(0), 0x62);
	w(0, EOI, 0);
	assert_int_equal(eois, 1);
	assert_int_equal(last_eoi, 0x62);
	assert_int_equal(ack(0), 0x61);
	w(0, EOI, 0);
	assert_int_equal(eois, 1);
}

static void ipi(unsigned from, uint32_t dest, uint32_t lo)
{
	w(from, ICR2, dest << 24);
	w(from, ICR, lo);
}

/* 11.6.1, 11.6.2.1: physical destinations, broadcast, shorthands */
static void test_ipi_physical(void **state)
{
	ipi(0, 1, 0x4051);
	assert_int_equal(ack(1), 0x51);
	assert_false(has(0) || has(2));
	ipi(0, 0xff, 0x4052);
	assert_int_equal(ack(0), 0x52);
	assert_true(has(2));
	ipi(1, 0, 0x44060);			/* self */
	assert_int_equal(ack(1), 0x60);
	ipi(1, 0, 0xc4070);			/* all but self */
	assert_int_equal(ack(0), 0x70);
	assert_int_equal(ack(2), 0x70);
	assert_int_equal(ack(1), -1);
	ipi(1, 0, 0x84080);			/* all */
	for (unsigned n = 0; n < NCPU; n++)
		assert_int_equal(ack(n), 0x80);
	assert_int_equal(r(1, ICR), 0x84080);	/* delivery status idle */
}

/* 11.6.2.2: flat and cluster */
static void test_ipi_logical(void **state)
{
	for (unsigned n = 0; n < NCPU; n++)
		w(n, LDR, 1u << (24 + n));
	ipi(0, 6, 0x4851);
	assert_false(has(0));
	assert_true(has(1) && has(2));
	ack(1);
	ack(2);
	for (unsigned n = 0; n < NCPU; n++) {
		w(n, EOI, 0);
		w(n, DFR, 0x0fffffff);
		w(n, LDR, (n == 2 ? 0x21u : 0x11u << n) << 24);
	}
	ipi(0, 0x11, 0x4852);			/* cluster 1: CPU 0 = 0x11; CPU 1 = 0x22 */
	assert_true(has(0));
	assert_false(has(1) || has(2));
	ipi(0, 0x23, 0x4853);			/* cluster 2, members 0 and 1 */
	assert_true(has(1) && has(2));
}

/* 11.6.2.4: lowest priority, ties spread */
static void test_lowest_priority(void **state)
{
	unsigned got[NCPU] = { 0 };

	for (unsigned n = 0; n < NCPU; n++)
		w(n, LDR, 1u << (24 + n));
	w(0, TPR, 0xf0);
	for (unsigned i = 0; i < 8; i++) {
		msi_send(&vm->msi, 0xfee0700c, 0x4000 | 0x100 | (0x40 + i));
		for (unsigned n = 0; n < NCPU; n++)
			while (ack(n) >= 0) {
				got[n]++;
				w(n, EOI, 0);
			}
	}
	assert_int_equal(got[0], 0);
	assert_int_equal(got[1], 4);
	assert_int_equal(got[2], 4);
}

/* 11.6.1: the other delivery modes; B.4 of the MP specification: INIT-SIPI-SIPI */
static void test_signals(void **state)
{
	ipi(0, 1, 0xc500);
	ipi(0, 1, 0x8500);			/* INIT level de-assert does nothing */
	ipi(0, 1, 0x4699);
	assert_int_equal(cpu[1].init, 1);
	assert_int_equal(cpu[1].sipi, 1);
	assert_int_equal(cpu[1].sipi_vec, 0x99);
	ipi(0, 2, 0x4400);
	ipi(0, 2, 0x4200);
	assert_int_equal(cpu[2].nmi, 1);
	assert_int_equal(cpu[2].smi, 1);
	assert_int_equal(cpu[0].nmi + cpu[0].init + cpu[0].sipi, 0);
}

/* 11.4.7.2: software-disabled: nothing fixed is accepted, LVTs are masked, NMI still comes */
static void test_software_disable(void **state)
{
	w(0, LVT_TIMER, 0x31);
	w(0, SVR, 0xff);
	assert_int_equal(r(0, LVT_TIMER), 0x10031);
	w(0, LVT_TIMER, 0x31);
	assert_int_equal(r(0, LVT_TIMER), 0x10031);
	msi_send(&vm->msi, 0xfee00000, 0x44);
	assert_int_equal(r(0, IRR + 0x20), 0);
	msi_send(&vm->msi, 0xfee00000, 0x400);
	assert_int_equal(cpu[0].nmi, 1);
}

/* 11.5.3: illegal vectors and registers; a write latches */
static void test_esr(void **state)
{
	w(0, LVT_ERR, 0x3e);
	ipi(0, 1, 0x4005);
	assert_int_equal(r(0, ESR), 0);
	w(0, ESR, 0);
	assert_int_equal(r(0, ESR), 0x20);
	assert_int_equal(ack(0), 0x3e);
	w(0, EOI, 0);
	msi_send(&vm->msi, 0xfee01000, 0x4003);
	w(1, ESR, 0);
	assert_int_equal(r(1, ESR), 0x40);
	r(1, 0x3f0);
	w(1, ESR, 0);
	assert_int_equal(r(1, ESR), 0x80);
	w(1, ESR, 0);
	assert_int_equal(r(1, ESR), 0);
}

/* 11.5.4: one-shot and periodic, divide values */
static void test_timer(void **state)
{
	w(0, LVT_TIMER, 0x31);
	w(0, TDCR, 0xb);			/* by 1 */
	w(0, TMICT, 1000000);
	tvm_advance(vm, 400000);
	assert_int_equal(r(0, TMCCT), 600000);
	assert_false(has(0));
	tvm_advance(vm, 600000);
	assert_int_equal(ack(0), 0x31);
	w(0, EOI, 0);
	assert_int_equal(r(0, TMCCT), 0);
	tvm_advance(vm, 5000000);
	assert_false(has(0));
	w(0, TDCR, 3);				/* by 16 */
	w(0, LVT_TIMER, 0x20031);
	w(0, TMICT, 62500);			/* 1 ms */
	for (unsigned i = 0; i < 5; i++) {
		tvm_advance(vm, 999999);
		assert_false(has(0));
		tvm_advance(vm, 1);
		assert_int_equal(ack(0), 0x31);
		w(0, EOI, 0);
	}
	w(0, LVT_TIMER, 0x30031);		/* masked: counts silently */
	tvm_advance(vm, 3000000);
	assert_false(has(0));
	w(0, TMICT, 0);
	w(0, LVT_TIMER, 0x20031);
	tvm_advance(vm, 3000000);
	assert_false(has(0));
}

/* 11.5.4.1: TSC deadline */
static void test_deadline(void **state)
{
	assert_true(wrmsr(0, 0x6e0, 5000));	/* ignored outside the mode */
	assert_int_equal(rdmsr(0, 0x6e0), 0);
	w(0, LVT_TIMER, 0x40032);
	assert_true(wrmsr(0, 0x6e0, read_tsc(NULL) + 2000000));
	tvm_advance(vm, 999990);
	assert_false(has(0));
	assert_int_not_equal(rdmsr(0, 0x6e0), 0);
	tvm_advance(vm, 20);
	assert_int_equal(ack(0), 0x32);
	w(0, EOI, 0);
	assert_int_equal(rdmsr(0, 0x6e0), 0);
	assert_true(wrmsr(0, 0x6e0, 1));	/* past: at once */
	assert_int_equal(ack(0), 0x32);
	w(0, EOI, 0);
	assert_true(wrmsr(0, 0x6e0, UINT64_MAX));
	tvm_advance(vm, 100 * NS_PER_SEC);
	assert_false(has(0));
	assert_true(wrmsr(0, 0x6e0, read_tsc(NULL) + 1000));
	assert_true(wrmsr(0, 0x6e0, 0));	/* disarm */
	tvm_advance(vm, NS_PER_SEC);
	assert_false(has(0));
	w(0, TMICT, 77);
	assert_int_equal(r(0, TMICT), 0);
}

/* 11.5.1 and MP specification 3.6.2: virtual wire through LINT0, NMI on LINT1 */
static void test_lint(void **state)
{
	struct irq_line intr = lapic_extint_line(&bus), nmi = lapic_lint(dev[0], 1);

	vm->extint.inta = inta;
	w(0, LINT0, 0x700);
	irq_set(&intr, true);
	assert_true(has(0));
	assert_false(has(1));			/* masked there */
	msi_send(&vm->msi, 0xfee00000, 0x41);
	assert_int_equal(ack(0), 0x41);
	assert_int_equal(ack(0), 0x28);		/* not subject to the PPR */
	irq_set(&intr, false);
	assert_false(has(0));
	w(0, LINT1, 0x400);
	irq_set(&nmi, true);
	irq_set(&nmi, true);
	assert_int_equal(cpu[0].nmi, 1);
	w(0, LINT0, 0x10700);
	irq_set(&intr, true);
	assert_false(has(0));
	assert_true(set_base(0, 0xfee00100));	/* APIC off: straight to the CPU */
	assert_int_equal(ack(0), 0x28);
}

/* 11.12: x2APIC */
static void test_x2apic(void **state)
{
	uint64_t v;

	assert_false(wrmsr(1, 0x808, 0));
	assert_false(set_base(1, 0xfee00400));		/* EXTD without EN */
	assert_true(set_base(1, 0xfee00c00));
	assert_false(set_base(1, 0xfee00800));		/* not back to xAPIC */
	assert_int_equal(rdmsr(1, 0x802), 1);
	assert_int_equal(rdmsr(1, 0x80d), 2);		/* logical: cluster 0, bit 1 */
	assert_int_equal(r(1, ID), 0xffffffff);
	assert_false(wrmsr(1, 0x802, 1));		/* read only */
	assert_false(wrmsr(1, 0x80b, 1));		/* EOI: only 0 */
	assert_false(wrmsr(1, 0x808, 0x100));
	assert_false(wrmsr(1, 0x80f, 1ull << 32));
	assert_false(ap[1].ops->rdmsr(ap[1].opaque, 0x80e, &v));	/* no DFR */
	assert_false(ap[1].ops->rdmsr(ap[1].opaque, 0x831, &v));
	assert_true(wrmsr(1, 0x83f, 0x55));		/* SELF IPI */
	assert_int_equal(ack(1), 0x55);
	assert_true(wrmsr(1, 0x80b, 0));
	assert_true(wrmsr(1, 0x830, 2ull << 32 | 0x4056));
	assert_int_equal(ack(2), 0x56);
	assert_true(wrmsr(1, 0x830, 0xffffffffull << 32 | 0x4066));
	assert_int_equal(ack(0), 0x66);
	assert_int_equal(ack(1), 0x66);
	assert_true(set_base(2, 0xfee00c00));
	assert_true(wrmsr(1, 0x830, 0x4ull << 32 | 0x4877));	/* logical bit 2 */
	assert_int_equal(ack(2), 0x77);
	assert_true(set_base(1, 0xfee00000));
	assert_false(set_base(1, 0xfee00c00));		/* only by way of xAPIC */
	assert_true(set_base(1, 0xfee00800));
	assert_int_equal(r(1, SVR), 0xff);
	assert_false(set_base(1, 0xfee00801));
}

static void test_init(void **state)
{
	msi_send(&vm->msi, 0xfee01000, 0x41);
	w(1, LDR, 0x02000000);
	ap[1].ops->init(ap[1].opaque);
	assert_false(has(1));
	assert_int_equal(r(1, ID), 1u << 24);
	assert_int_equal(r(1, LDR), 0);
	assert_int_equal(r(1, SVR), 0xff);
}

static void poke(struct vm *v, struct device *d)
{
	ap[0] = lapic_apic(d);
	w(0, SVR, 0x1f0);
	w(0, LDR, 0x01000000);
	w(0, LVT_TIMER, 0x20031);
	w(0, TDCR, 3);
	w(0, TMICT, 100000);
	w(0, TPR, 0x10);
	ipi(0, 0, 0x44061);
	ipi(0, 0, 0x44041);
	ack(0);
	ipi(0, 0, 0x44002);
}

static void test_roundtrip(void **state)
{
	tvm_check_roundtrip(&lapic_ops, wire_single, poke);
}

static void test_reset(void **state)
{
	tvm_check_reset(&lapic_ops, wire_single, poke);
}

#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(test_reset_values), T(test_priority), T(test_eoi_broadcast),
		T(test_ipi_physical), T(test_ipi_logical), T(test_lowest_priority),
		T(test_signals), T(test_software_disable), T(test_esr), T(test_timer),
		T(test_deadline), T(test_lint), T(test_x2apic), T(test_init),
		cmocka_unit_test(test_roundtrip), cmocka_unit_test(test_reset),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
