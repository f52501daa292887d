/* SPDX-License-Identifier: MIT */
/* 8254 and port 0x61 through their ports; sections of the Intel data sheet 231164-005. */
#include "../../devices/i8254.h"
#include "../lib/testvm.h"

#define HZ 1193182ull

static struct test_irq irq;
static struct vm *vm;

static void wire(struct device *d)
{
	i8254_set_irq0(d, test_irq_line(&irq, 0));
}

static int setup(void **state)
{
	irq = (struct test_irq){ 0 };
	vm = tvm_new(0);
	tvm_add(vm, &i8254_ops, "pit", wire);
	return 0;
}

static int teardown(void **state)
{
	tvm_free(vm);
	return 0;
}

/* Half a clock beyond @n ticks from the last call's grid. */
static void ticks(uint64_t n)
{
	tvm_advance(vm, n * NS_PER_SEC / HZ + 1);
}

static void program(unsigned ch, unsigned mode, uint16_t count)
{
	tvm_outb(vm, 0x43, (uint8_t)(ch << 6 | 0x30 | mode << 1));
	tvm_outb(vm, (uint16_t)(0x40 + ch), (uint8_t)count);
	tvm_outb(vm, (uint16_t)(0x40 + ch), (uint8_t)(count >> 8));
}

static unsigned count(unsigned ch)
{
	unsigned lo;

	tvm_outb(vm, 0x43, (uint8_t)(ch << 6));
	lo = tvm_inb(vm, (uint16_t)(0x40 + ch));
	return lo | (unsigned)tvm_inb(vm, (uint16_t)(0x40 + ch)) << 8;
}

static bool out2(void) { return tvm_inb(vm, 0x61) & 0x20; }

/* "MODE 0": OUT low until the count ends, then high; it goes on counting. */
static void test_mode0(void **state)
{
	program(0, 0, 1000);
	assert_int_equal(irq.level, 0);
	ticks(400);
	assert_int_equal(count(0), 600);
	ticks(590);
	assert_int_equal(irq.rises[0], 0);
	ticks(20);
	assert_int_equal(irq.rises[0], 1);
	assert_int_equal(irq.level, 1);
	assert_in_range(count(0), 0xfff0, 0xfff8);
	ticks(100000);
	assert_int_equal(irq.rises[0], 1);
}

/* "MODE 2": one interrupt a period, without drift over a long time. */
static void test_mode2_rate(void **state)
{
	unsigned base;

	program(0, 2, 11932);			/* 99.998 Hz */
	base = irq.rises[0];			/* OUT goes high with the control word */
	for (unsigned i = 0; i < 600; i++)
		tvm_advance(vm, 100 * NS_PER_MS);
	assert_int_equal(irq.rises[0] - base, 60 * HZ / 11932);
	ticks(1);
	assert_in_range(count(0), 1, 11932);
}

/* "MODE 3": counts down by two. */
static void test_mode3_count(void **state)
{
	unsigned a, b;

	program(0, 3, 0);			/* 65536 */
	a = count(0);
	ticks(1000);
	b = count(0);
	assert_int_equal((a - b) & 0xffff, 2000);
}

/* "MODE 2/3": a new count waits for the end of the period. */
static void test_new_count_is_deferred(void **state)
{
	unsigned base;

	program(0, 2, 10000);
	base = irq.rises[0];
	ticks(15000);
	assert_int_equal(irq.rises[0] - base, 1);
	tvm_outb(vm, 0x40, 1000 & 0xff);
	tvm_outb(vm, 0x40, 1000 >> 8);
	ticks(4900);
	assert_int_equal(irq.rises[0] - base, 1);
	ticks(200);
	assert_int_equal(irq.rises[0] - base, 2);
	ticks(5000);
	assert_int_equal(irq.rises[0] - base, 7);
}

/* "MODE 4": one strobe. */
static void test_mode4(void **state)
{
	unsigned base;

	program(0, 4, 100);
	base = irq.rises[0];
	ticks(99);
	assert_int_equal(irq.rises[0], base);
	ticks(3);
	assert_int_equal(irq.rises[0], base + 1);
	ticks(200000);
	assert_int_equal(irq.rises[0], base + 1);
}

/* PIIX3 2.5.6.1 port 61h: gate and OUT of channel 2, as TSC calibration uses them. */
static void test_port61_gate(void **state)
{
	unsigned held;

	tvm_outb(vm, 0x61, 0);
	program(2, 0, 1000);
	ticks(2000);
	assert_false(out2());			/* gate low: does not count */
	tvm_outb(vm, 0x61, 1);
	ticks(300);
	tvm_outb(vm, 0x61, 0);
	held = count(2);
	assert_in_range(held, 699, 701);
	ticks(5000);
	assert_int_equal(count(2), held);
	tvm_outb(vm, 0x61, 1);
	ticks(690);
	assert_false(out2());
	ticks(20);
	assert_true(out2());
	assert_int_equal(tvm_inb(vm, 0x61) & 0x0f, 1);
}

/* "MODE 1": the gate's edge starts the shot, and again. */
static void test_mode1(void **state)
{
	tvm_outb(vm, 0x61, 0);
	program(2, 1, 100);
	assert_true(out2());
	tvm_outb(vm, 0x61, 1);
	assert_false(out2());
	ticks(60);
	tvm_outb(vm, 0x61, 0);
	tvm_outb(vm, 0x61, 1);
	ticks(60);
	assert_false(out2());
	ticks(50);
	assert_true(out2());
}

static void test_refresh_toggles(void **state)
{
	uint8_t a = tvm_inb(vm, 0x61) & 0x10;

	tvm_advance(vm, 15085);
	assert_int_not_equal(tvm_inb(vm, 0x61) & 0x10, a);
}

/* "Counter Latch Command": the first latch holds until it is read. */
static void test_latch(void **state)
{
	program(0, 2, 5000);
	ticks(1000);
	tvm_outb(vm, 0x43, 0);
	ticks(1000);
	tvm_outb(vm, 0x43, 0);
	assert_int_equal(tvm_inb(vm, 0x40), 4000 & 0xff);
	assert_int_equal(tvm_inb(vm, 0x40), 4000 >> 8);
	assert_int_equal(count(0), 3000);
}

/* "Read-Back Command": status first, then the latched count. */
static void test_read_back(void **state)
{
	program(0, 2, 5000);
	ticks(1000);
	tvm_outb(vm, 0x43, 0xc2);
	assert_int_equal(tvm_inb(vm, 0x40), 0x80 | 0x30 | 2 << 1);
	assert_int_equal(tvm_inb(vm, 0x40), 4000 & 0xff);
	assert_int_equal(tvm_inb(vm, 0x40), 4000 >> 8);
	tvm_outb(vm, 0x43, 0x70);		/* channel 1, mode 0, no count yet */
	tvm_outb(vm, 0x43, 0xe4);
	assert_int_equal(tvm_inb(vm, 0x41), 0x40 | 0x30);
}

static void test_bcd(void **state)
{
	tvm_outb(vm, 0x43, 0xb1);		/* channel 2, mode 0, BCD */
	tvm_outb(vm, 0x61, 1);
	tvm_outb(vm, 0x42, 0x00);
	tvm_outb(vm, 0x42, 0x10);		/* 1000 */
	ticks(1);
	assert_int_equal(count(2), 0x0999);
}

/* A loop thread that comes late makes up for the lost ticks, but not for all of a long sleep. */
static void test_late_ticks(void **state)
{
	unsigned base;

	program(0, 2, 11932);
	base = irq.rises[0];
	vm_lock(vm);
	vclock_set(vm->clock, vclock_now(vm->clock) + 55 * NS_PER_MS);
	vclock_run(vm->clock);
	vm_unlock(vm);
	tvm_advance(vm, 45 * NS_PER_MS);
	assert_in_range(irq.rises[0] - base, 9, 10);
	base = irq.rises[0];
	vm_lock(vm);
	vclock_set(vm->clock, vclock_now(vm->clock) + 3600 * NS_PER_SEC);
	vclock_run(vm->clock);
	vm_unlock(vm);
	tvm_advance(vm, 1000 * NS_PER_MS);
	assert_in_range(irq.rises[0] - base, 100, 130);
}

static void poke(struct vm *v, struct device *d)
{
	vm = v;
	program(0, 2, 1234);
	program(1, 3, 18);
	program(2, 1, 77);
	tvm_outb(v, 0x61, 3);
	tvm_outb(v, 0x43, 0xc4);
	tvm_outb(v, 0x42, 5);
}

static void poke_late(struct vm *v, struct device *d)
{
	poke(v, d);
	ticks(100000);
}

static void test_roundtrip(void **state)
{
	tvm_check_roundtrip(&i8254_ops, wire, poke_late);
}

static void test_reset(void **state)
{
	tvm_check_reset(&i8254_ops, wire, poke);
}

#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(test_mode0), T(test_mode2_rate), T(test_mode3_count),
		T(test_new_count_is_deferred), T(test_mode4), T(test_port61_gate), T(test_mode1),
		T(test_refresh_toggles), T(test_latch), T(test_read_back), T(test_bcd),
		T(test_late_ticks), cmocka_unit_test(test_roundtrip), cmocka_unit_test(test_reset),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
