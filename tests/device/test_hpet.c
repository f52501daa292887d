/* SPDX-License-Identifier: MIT */
/* HPET through its registers; sections of the IA-PC HPET Specification 1.0a. */
#include "../../devices/hpet.h"
#include "../lib/testvm.h"

#define CONF(n) (0x100 + 0x20 * (n))
#define CMP(n) (0x108 + 0x20 * (n))

static struct test_irq irq;
static struct vm *vm;
static struct device *hpet;

static void wire(struct device *d)
{
	struct irq_line pins[HPET_PINS];

	for (unsigned i = 0; i < HPET_PINS; i++)
		pins[i] = test_irq_line(&irq, HPET_FIRST_PIN + i);
	hpet_wire(d, test_irq_line(&irq, 0), test_irq_line(&irq, 8), pins);
}

static int setup(void **state)
{
	irq = (struct test_irq){ 0 };
	vm = tvm_new(0);
	hpet = tvm_add(vm, &hpet_ops, "hpet", wire);
	return 0;
}

static int teardown(void **state)
{
	tvm_free(vm);
	return 0;
}

static uint64_t rd(unsigned reg)
{
	return bus_read(vm->bus, BUS_MMIO, HPET_BASE + reg, 8);
}

static void wr(unsigned reg, uint64_t v)
{
	bus_write(vm->bus, BUS_MMIO, HPET_BASE + reg, 8, v);
}

/* 2.3.4: 10 ns, three 64-bit timers, legacy replacement */
static void test_capabilities(void **state)
{
	assert_int_equal(rd(0), 10000000ull << 32 | 0x8086a201);
	assert_int_equal(tvm_rd32(vm, HPET_BASE + 4), 10000000);
	for (unsigned n = 0; n < 3; n++) {
		assert_int_equal(rd(CONF(n)), 0x00f0000000000030ull);
		assert_int_equal(rd(CMP(n)), UINT64_MAX);
	}
	assert_int_equal(rd(CONF(3)), 0);
	wr(CONF(1), UINT64_MAX);
	assert_int_equal(rd(CONF(1)), 0x00f0000000003f7eull);
}

/* 2.3.5, 2.3.7: the counter runs while enabled and keeps its value */
static void test_counter(void **state)
{
	tvm_advance(vm, 1000);
	assert_int_equal(rd(0xf0), 0);
	wr(0xf0, 0xfffffff0);
	wr(0x10, 1);
	tvm_advance(vm, 1000);
	assert_int_equal(rd(0xf0), 0xfffffff0ull + 100);
	assert_int_equal(tvm_rd32(vm, HPET_BASE + 0xf4), 1);
	wr(0x10, 0);
	tvm_advance(vm, 1000);
	assert_int_equal(rd(0xf0), 0xfffffff0ull + 100);
	tvm_wr32(vm, HPET_BASE + 0xf0, 5);
	assert_int_equal(rd(0xf0), 1ull << 32 | 5);
}

/* 2.3.9.2.1: one shot, edge-triggered, routed to an IOAPIC pin */
static void test_one_shot(void **state)
{
	wr(CONF(2), 0x4 | 21 << 9);
	wr(CMP(2), 100000);
	wr(0x10, 1);
	tvm_advance(vm, 999990);
	assert_int_equal(irq.rises[21], 0);
	tvm_advance(vm, 20);
	assert_int_equal(irq.rises[21], 1);
	assert_int_equal(rd(0x20), 0);			/* no status in edge mode */
	tvm_advance(vm, NS_PER_SEC);
	assert_int_equal(irq.rises[21], 1);
	wr(CMP(2), rd(0xf0) + 1000);
	tvm_advance(vm, 11000);
	assert_int_equal(irq.rises[21], 2);
}

/* 2.3.9: a 32-bit timer matches again each time the low half comes round */
static void test_32bit(void **state)
{
	wr(CONF(0), 0x104 | 20 << 9);
	wr(CMP(0), 0x500000064ull);
	assert_int_equal(rd(CMP(0)), 100);
	wr(0x10, 1);
	tvm_advance(vm, 1001);
	assert_int_equal(irq.rises[20], 1);
	tvm_advance(vm, (1ull << 32) * 10);
	assert_int_equal(irq.rises[20], 2);
}

/* 2.3.9.2.2: periodic; the first write after VAL_SET is the comparator, the next the period */
static void test_periodic(void **state)
{
	wr(CONF(0), 0x4c | 20 << 9);
	wr(CMP(0), 50000);
	wr(CMP(0), 100000);
	assert_int_equal(rd(CMP(0)), 50000);
	assert_int_equal(rd(CONF(0)) & 0x40, 0);
	wr(0x10, 1);
	tvm_advance(vm, 500 * NS_PER_US + 10);
	assert_int_equal(irq.rises[20], 1);
	assert_int_equal(rd(CMP(0)), 150000);
	tvm_advance(vm, 100 * NS_PER_MS);
	assert_int_equal(irq.rises[20], 101);
}

/* 2.3.6: level-triggered until the status bit is written */
static void test_level(void **state)
{
	wr(CONF(1), 0x6 | 22 << 9);
	wr(CMP(1), 1000);
	wr(0x10, 1);
	tvm_advance(vm, 10010);
	assert_int_equal(irq.level, 1u << 22);
	assert_int_equal(rd(0x20), 2);
	wr(0x20, 1);
	assert_int_equal(irq.level, 1u << 22);
	wr(0x20, 2);
	assert_int_equal(irq.level, 0);
	assert_int_equal(rd(0x20), 0);
}

/* 2.4.5 legacy replacement: the 8254 and the RTC are cut off, timers 0 and 1 take their lines */
static void test_legacy(void **state)
{
	struct irq_line pit = hpet_pit_line(hpet), rtc = hpet_rtc_line(hpet);

	irq_set(&pit, true);
	irq_set(&rtc, true);
	assert_int_equal(irq.level, 0x101);
	wr(0x10, 2);
	assert_int_equal(irq.level, 0);
	irq_set(&pit, false);
	wr(CONF(0), 0x4 | 20 << 9);
	wr(CONF(1), 0x4);
	wr(CMP(0), 100);
	wr(CMP(1), 200);
	wr(0x10, 3);
	tvm_advance(vm, 1001);
	assert_int_equal(irq.level, 0x001);
	tvm_advance(vm, 1001);
	assert_int_equal(irq.level, 0x101);
	assert_int_equal(irq.rises[20], 0);
	wr(0x10, 0);
	assert_int_equal(irq.level, 0x100);		/* the RTC's */
}

/* A loop that comes late: some ticks are made up for, a long sleep is not. */
static void test_late(void **state)
{
	unsigned base;

	wr(CONF(0), 0x4c | 20 << 9);
	wr(CMP(0), 100000);
	wr(0x10, 1);
	tvm_advance(vm, NS_PER_MS + 10);
	base = irq.rises[20];
	vm_lock(vm);
	vclock_set(vm->clock, vclock_now(vm->clock) + 5 * NS_PER_MS);
	vclock_run(vm->clock);
	vm_unlock(vm);
	tvm_advance(vm, 900 * NS_PER_US);
	assert_int_equal(irq.rises[20] - base, 5);
	base = irq.rises[20];
	vm_lock(vm);
	vclock_set(vm->clock, vclock_now(vm->clock) + 3600 * NS_PER_SEC);
	vclock_run(vm->clock);
	vm_unlock(vm);
	tvm_advance(vm, 900 * NS_PER_US);
	assert_in_range(irq.rises[20] - base, 1, 13);
	base = irq.rises[20];
	tvm_advance(vm, 100 * NS_PER_MS);
	assert_in_range(irq.rises[20] - base, 100, 101);
}

/* Periods of nothing: no storm, no hang. */
static void test_tiny_period(void **state)
{
	wr(CONF(0), 0x4c | 20 << 9);
	wr(CMP(0), 0);
	wr(CMP(0), 0);
	wr(0x10, 1);
	tvm_advance(vm, 10 * NS_PER_MS);
	wr(CONF(0), 0x4c | 20 << 9);
	wr(CMP(0), rd(0xf0) + 10);
	wr(CMP(0), 1);
	irq.rises[20] = 0;
	tvm_advance(vm, 10 * NS_PER_MS);
	assert_in_range(irq.rises[20], 1, 251);
}

static void poke(struct vm *v, struct device *d)
{
	vm = v;
	tvm_advance(v, 12345);
	wr(0xf0, 77);
	wr(0x10, 3);
	wr(CONF(0), 0x4c | 20 << 9);
	wr(CMP(0), 5000);
	wr(CMP(0), 900);
	wr(CONF(2), 0x6 | 23 << 9);
	wr(CMP(2), 300);
	tvm_advance(v, 30000);
}

static void test_roundtrip(void **state)
{
	tvm_check_roundtrip(&hpet_ops, wire, poke);
}

static void test_reset(void **state)
{
	tvm_check_reset(&hpet_ops, wire, poke);
}

#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(test_capabilities), T(test_counter), T(test_one_shot), T(test_32bit),
		T(test_periodic), T(test_level), T(test_legacy), T(test_late),
		T(test_tiny_period), cmocka_unit_test(test_roundtrip),
		cmocka_unit_test(test_reset),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
