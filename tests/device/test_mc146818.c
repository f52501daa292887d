/* SPDX-License-Identifier: MIT */
/* RTC and CMOS through ports 0x70/0x71; sections of the Motorola data sheet ADI1170. */
#include "../../devices/mc146818.h"
#include "../lib/testvm.h"

#define T0 951782399ull		/* 2000-02-28 23:59:59 UTC, a Monday */

static struct test_irq irq;
static struct vm *vm;
static struct device *rtc;

static void wire(struct device *d)
{
	rtc_wire(d, test_irq_line(&irq, 8), T0);
}

static int setup(void **state)
{
	irq = (struct test_irq){ 0 };
	vm = tvm_new(0);
	rtc = tvm_add(vm, &mc146818_ops, "rtc", wire);
	return 0;
}

static int teardown(void **state)
{
	tvm_free(vm);
	return 0;
}

static uint8_t r(uint8_t i)
{
	tvm_outb(vm, 0x70, i);
	return tvm_inb(vm, 0x71);
}

static void w(uint8_t i, uint8_t v)
{
	tvm_outb(vm, 0x70, i);
	tvm_outb(vm, 0x71, v);
}

static bool asserted(void) { return irq.level >> 8 & 1; }

static void assert_date(uint8_t cent, uint8_t y, uint8_t mo, uint8_t d, uint8_t h, uint8_t mi,
			uint8_t s)
{
	assert_int_equal(r(0x32), cent);
	assert_int_equal(r(9), y);
	assert_int_equal(r(8), mo);
	assert_int_equal(r(7), d);
	assert_int_equal(r(4), h);
	assert_int_equal(r(2), mi);
	assert_int_equal(r(0), s);
}

/* "Time, Calendar, and Alarm Locations": BCD, leap day of a year divisible by 400 */
static void test_time_bcd(void **state)
{
	assert_date(0x20, 0x00, 0x02, 0x28, 0x23, 0x59, 0x59);
	assert_int_equal(r(6), 2);
	tvm_advance(vm, NS_PER_SEC);
	assert_date(0x20, 0x00, 0x02, 0x29, 0x00, 0x00, 0x00);
	tvm_advance(vm, 86400 * NS_PER_SEC);
	assert_date(0x20, 0x00, 0x03, 0x01, 0x00, 0x00, 0x00);
	assert_int_equal(r(0x0d), 0x80);	/* VRT */
}

/* Register B: DM binary, 24/12 */
static void test_binary_12h(void **state)
{
	w(0x0b, 0x04);
	assert_date(20, 0, 2, 28, 0x80 | 11, 59, 59);
	tvm_advance(vm, NS_PER_SEC);
	assert_int_equal(r(4), 12);		/* midnight is 12 AM */
	tvm_advance(vm, 12 * 3600 * NS_PER_SEC);
	assert_int_equal(r(4), 0x80 | 12);
	w(0x0b, 0x06);
	assert_int_equal(r(4), 12);
}

/* Register A: UIP 244 us before the update */
static void test_uip(void **state)
{
	assert_int_equal(r(0x0a) & 0x80, 0);
	tvm_advance(vm, NS_PER_SEC - 240000);
	assert_int_equal(r(0x0a) & 0x80, 0x80);
	assert_int_equal(r(0), 0x59);
	tvm_advance(vm, 240000);
	assert_int_equal(r(0x0a) & 0x80, 0);
	assert_int_equal(r(0), 0x00);
}

/* Register B SET freezes; setting as Linux does it, with the divider held: +500 ms */
static void test_set_time(void **state)
{
	w(0x0b, 0x82);
	w(0x0a, 0x76);
	tvm_advance(vm, 5 * NS_PER_SEC);
	assert_int_equal(r(0), 0x59);
	w(0x32, 0x20); w(9, 0x24); w(8, 0x12); w(7, 0x31); w(4, 0x23); w(2, 0x59); w(0, 0x58);
	w(0x0b, 0x02);
	w(0x0a, 0x26);
	assert_date(0x20, 0x24, 0x12, 0x31, 0x23, 0x59, 0x58);
	tvm_advance(vm, 499 * NS_PER_MS);
	assert_int_equal(r(0), 0x58);
	tvm_advance(vm, 2 * NS_PER_MS);
	assert_int_equal(r(0), 0x59);
	tvm_advance(vm, NS_PER_SEC);
	assert_date(0x20, 0x25, 0x01, 0x01, 0x00, 0x00, 0x00);
	assert_int_equal(r(6), 4);		/* a Wednesday */
}

/* Nonsense in the registers neither crashes nor hangs. */
static void test_garbage_time(void **state)
{
	w(0x0b, 0x82);
	for (uint8_t i = 0; i < 10; i++)
		w(i, 0xff);
	w(0x32, 0xff);
	w(0x0b, 0x72);
	tvm_advance(vm, 3 * NS_PER_SEC);
	for (uint8_t i = 0; i < 10; i++)
		r(i);
	w(0x0b, 0x06);
	assert_in_range(r(0), 0, 59);
	assert_in_range(r(8), 1, 12);
}

/* Register C: flags, IRQF, cleared by reading */
static void test_update_interrupt(void **state)
{
	r(0x0c);
	w(0x0b, 0x12);
	tvm_advance(vm, 999 * NS_PER_MS);
	assert_false(asserted());
	tvm_advance(vm, NS_PER_MS);
	assert_true(asserted());
	assert_int_equal(r(0x0c) & 0x90, 0x90);
	assert_false(asserted());
	assert_int_equal(r(0x0c) & 0x90, 0);
	tvm_advance(vm, 10 * NS_PER_SEC);
	assert_int_equal(irq.rises[8], 2);	/* unanswered: stays */
	w(0x0b, 0x02);
	assert_false(asserted());
}

/* UF without interrupt, polled */
static void test_update_polled(void **state)
{
	r(0x0c);
	assert_int_equal(r(0x0c) & 0x10, 0);
	tvm_advance(vm, NS_PER_SEC);
	assert_int_equal(r(0x0c) & 0x90, 0x10);
}

/* "Alarm": exact, and with don't-care codes */
static void test_alarm(void **state)
{
	w(5, 0x00); w(3, 0x01); w(1, 0x05);
	r(0x0c);
	w(0x0b, 0x22);
	tvm_advance(vm, 65 * NS_PER_SEC);
	assert_false(asserted());
	tvm_advance(vm, NS_PER_SEC);
	assert_true(asserted());
	assert_int_equal(r(0x0c) & 0xa0, 0xa0);
	w(5, 0xff); w(3, 0xc0); w(1, 0x30);	/* every minute at :30 */
	tvm_advance(vm, 180 * NS_PER_SEC);
	assert_true(asserted());
	for (unsigned i = 0; i < 3; i++) {
		r(0x0c);
		tvm_advance(vm, 60 * NS_PER_SEC);
		assert_true(asserted());
	}
	assert_int_equal(irq.rises[8], 5);
}

/* Table 5: periodic rates */
static void test_periodic(void **state)
{
	r(0x0c);
	w(0x0a, 0x26);				/* 1024 Hz */
	w(0x0b, 0x42);
	for (unsigned i = 0; i < 1000; i++) {
		tvm_advance(vm, NS_PER_MS);
		if (asserted())
			assert_int_equal(r(0x0c) & 0xc0, 0xc0);
	}
	assert_in_range(irq.rises[8], 998, 1001);
	w(0x0a, 0x2f);				/* 2 Hz */
	r(0x0c);
	irq.rises[8] = 0;
	for (unsigned i = 0; i < 100; i++) {
		tvm_advance(vm, 50 * NS_PER_MS);
		r(0x0c);
	}
	assert_in_range(irq.rises[8], 9, 11);
	w(0x0b, 0x02);
	w(0x0a, 0x26);
	r(0x0c);
	tvm_advance(vm, 2 * NS_PER_MS);
	assert_int_equal(r(0x0c) & 0xc0, 0x40);	/* PF without PIE */
}

/* PIIX3 2.5.5.8: 128 bytes, NMI mask in bit 7 of port 0x70 */
static void test_cmos_nmi(void **state)
{
	rtc_set_cmos(rtc, 0x10, 0x40);
	assert_int_equal(r(0x10), 0x40);
	w(0x7f, 0x5a);
	assert_int_equal(rtc_get_cmos(rtc, 0x7f), 0x5a);
	tvm_outb(vm, 0x70, 0x90);
	assert_true(rtc_nmi_masked(rtc));
	assert_int_equal(tvm_inb(vm, 0x71), 0x40);
	tvm_outb(vm, 0x70, 0x10);
	assert_false(rtc_nmi_masked(rtc));
}

/* "RESET": the battery keeps time and memory */
static void test_reset_keeps_memory(void **state)
{
	w(0x20, 0x77);
	w(0x0b, 0x72);
	vm_lock(vm);
	mc146818_ops.reset(rtc);
	vm_unlock(vm);
	assert_int_equal(r(0x20), 0x77);
	assert_int_equal(r(0x0b), 0x02);
	assert_int_equal(r(0), 0x59);
}

static void poke(struct vm *v, struct device *d)
{
	vm = v;
	w(0x0b, 0x72);
	r(0x0c);
	tvm_outb(v, 0x70, 0x8a);
}

static void poke_more(struct vm *v, struct device *d)
{
	poke(v, d);
	w(9, 0x31);
	w(0x40, 1);
	tvm_advance(v, 2500 * NS_PER_MS);
}

static void test_roundtrip(void **state)
{
	tvm_check_roundtrip(&mc146818_ops, wire, poke_more);
}

static void test_reset(void **state)
{
	tvm_check_reset(&mc146818_ops, wire, poke);
}

#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(test_time_bcd), T(test_binary_12h), T(test_uip), T(test_set_time),
		T(test_garbage_time), T(test_update_interrupt), T(test_update_polled),
		T(test_alarm), T(test_periodic), T(test_cmos_nmi), T(test_reset_keeps_memory),
		cmocka_unit_test(test_roundtrip), cmocka_unit_test(test_reset),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
