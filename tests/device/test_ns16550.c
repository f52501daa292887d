/* SPDX-License-Identifier: MIT */
/* 16550A through its ports; sections of the PC16550D data sheet. */
#include "../../devices/ns16550.h"
#include "../../src/chardev.h"
#include "../lib/testvm.h"

#define COM 0x3f8

static struct test_irq irq;
static struct chardev *chr;
static struct vm *vm;
static uint8_t sent[64];
static size_t sent_len;

static void tap(void *opaque, const uint8_t *buf, size_t len)
{
	for (size_t i = 0; i < len && sent_len < sizeof(sent); i++)
		sent[sent_len++] = buf[i];
}
static struct char_tap out_tap = { .output = tap };

static void wire(struct device *d)
{
	ns16550_wire(d, COM, test_irq_line(&irq, 4), chr);
}

static void wire_alone(struct device *d)
{
	ns16550_wire(d, COM, test_irq_line(&irq, 4), NULL);
}

static int setup(void **state)
{
	struct err e;

	irq = (struct test_irq){ 0 };
	sent_len = 0;
	vm = tvm_new(0);
	chr = chardev_open("null", NULL, &e);
	out_tap.next = NULL;
	chardev_add_tap(chr, &out_tap);
	tvm_add(vm, &ns16550_ops, "com1", wire);
	return 0;
}

static int teardown(void **state)
{
	chardev_close(chr);
	tvm_free(vm);
	return 0;
}

static void w(unsigned r, uint8_t v) { tvm_outb(vm, (uint16_t)(COM + r), v); }
static uint8_t r(unsigned reg) { return tvm_inb(vm, (uint16_t)(COM + reg)); }
static bool asserted(void) { return irq.level >> 4 & 1; }
static void type(const char *s) { chardev_inject(chr, (const uint8_t *)s, strlen(s)); }

/* The steps by which Linux's 8250 driver finds a 16550A. */
static void test_autoconfig(void **state)
{
	w(1, 0);
	assert_int_equal(r(1), 0);
	w(1, 0x0f);
	assert_int_equal(r(1), 0x0f);
	w(1, 0);
	w(4, 0x10 | 0x0a);			/* 8.6.4: loopback RTS, OUT2 -> CTS, DCD */
	assert_int_equal(r(6) & 0xf0, 0x90);
	w(4, 0);
	w(2, 1);				/* 8.6.3: FIFOs enabled reads as 11 */
	assert_int_equal(r(2) >> 6, 3);
	w(7, 0xa5);
	assert_int_equal(r(7), 0xa5);
	w(3, 0x80);
	w(0, 0x01);
	w(1, 0x02);
	assert_int_equal(r(0), 1);
	assert_int_equal(r(1), 2);
	w(3, 3);
	assert_int_equal(r(1), 0);
}

/* 8.6.1/8.6.5: transmission is instantaneous; THRE interrupts again after each byte. */
static void test_transmit(void **state)
{
	w(4, 8);
	w(0, 'h');
	w(0, 'i');
	assert_int_equal(sent_len, 2);
	assert_memory_equal(sent, "hi", 2);
	assert_int_equal(r(5), 0x60);
	assert_false(asserted());
	w(1, 2);
	assert_true(asserted());
	assert_int_equal(r(2), 0x02);		/* IIR read resets it */
	assert_false(asserted());
	assert_int_equal(r(2), 0x01);
	w(0, '!');
	assert_true(asserted());
}

/* Without FIFO one byte at a time, the rest waits in the back end. */
static void test_receive_plain(void **state)
{
	w(4, 8);
	w(1, 1);
	type("ab");
	assert_true(asserted());
	assert_int_equal(r(2), 0x04);
	assert_int_equal(r(5) & 1, 1);
	assert_int_equal(r(0), 'a');
	assert_true(asserted());
	assert_int_equal(r(0), 'b');
	assert_false(asserted());
	assert_int_equal(r(5) & 1, 0);
}

/* 8.6.3 and 8.4 "FIFO interrupt mode": trigger level, time-out, IIR codes. */
static void test_trigger_and_timeout(void **state)
{
	w(4, 8);
	w(3, 3);				/* 8N1, divisor 12: 9600 baud */
	w(2, 0x81);				/* trigger 8 */
	w(1, 1);
	type("1234567");
	assert_false(asserted());
	tvm_advance(vm, 4 * 10 * NS_PER_SEC / 9600 - 1000);
	assert_false(asserted());
	tvm_advance(vm, 2000);
	assert_true(asserted());
	assert_int_equal(r(2), 0xcc);
	assert_int_equal(r(0), '1');		/* reading clears the time-out */
	assert_false(asserted());
	type("89");
	assert_int_equal(r(2), 0xc4);
	assert_true(asserted());
	assert_int_equal(r(0), '2');
	assert_false(asserted());
}

static void test_fifo_depth(void **state)
{
	w(2, 0xc1);
	type("0123456789abcdefXYZ");
	for (const char *p = "0123456789abcdefXYZ"; *p; p++)
		assert_int_equal(r(0), *p);
	assert_int_equal(r(5), 0x60);
	type("junk");
	w(2, 0xc3);				/* clear receiver */
	assert_int_equal(r(5) & 1, 0);
}

/* 8.6.4: in loopback THR feeds RBR; overruns keep the FIFO. */
static void test_loopback_overrun(void **state)
{
	w(2, 1);
	w(4, 0x18);
	w(1, 5);
	for (unsigned i = 0; i < 17; i++)
		w(0, (uint8_t)i);
	assert_int_equal(sent_len, 0);
	assert_int_equal(r(2) & 0xf, 0x06);	/* line status first */
	assert_false(asserted());		/* OUT2 is off the pin in loopback */
	assert_int_equal(r(5), 0x63);
	assert_int_equal(r(5), 0x61);		/* reading clears OE */
	assert_int_equal(r(2) & 0xf, 0x04);
	for (unsigned i = 0; i < 16; i++)
		assert_int_equal(r(0), i);
}

/* 8.6.7: deltas, cleared by reading; trailing edge of RI. */
static void test_modem_status(void **state)
{
	w(4, 0x10);
	r(6);
	w(1, 8);
	w(4, 0x10 | 4);
	assert_int_equal(r(6), 0x40);
	w(4, 0x10);
	assert_int_equal(r(2), 0x00);
	assert_int_equal(r(6), 0x04);
	w(4, 0x11);
	assert_int_equal(r(6), 0x22);
	assert_int_equal(r(6), 0x20);
	w(4, 0);
	assert_int_equal(r(6) & 0xf0, 0xb0);	/* attached: CTS, DSR, DCD */
}

/* 8.2 word length, 8.6.2 break: as diagnostics check them in loopback */
static void test_loopback_words(void **state)
{
	static const uint8_t mask[4] = { 0x1f, 0x3f, 0x7f, 0xff };

	w(4, 0x10);
	for (unsigned i = 0; i < 4; i++) {
		w(3, (uint8_t)i);
		w(0, 0xff);
		assert_int_equal(r(5) & 0x9f, 0x01);
		assert_int_equal(r(0), mask[i]);
	}
	w(4, 0x18);
	w(1, 0x04);				/* line status interrupt */
	w(3, 0x43);
	assert_int_equal(r(2), 0x06);
	assert_int_equal(r(5) & 0x1f, 0x11);
	assert_int_equal(r(0), 0);
	assert_int_equal(r(5) & 0x1f, 0);
	assert_int_equal(r(2), 0x01);
	w(3, 0x43);				/* still the same break */
	assert_int_equal(r(5) & 0x1f, 0);
}

/* 8.4: the four trigger levels of the receiver FIFO */
static void test_trigger_levels(void **state)
{
	static const uint8_t level[4] = { 1, 4, 8, 14 };

	w(4, 0x10);
	w(1, 0x01);
	w(3, 0x03);
	for (unsigned i = 0; i < 4; i++) {
		w(2, (uint8_t)(i << 6 | 7));
		for (unsigned n = 1; n <= level[i]; n++) {
			assert_int_equal(r(2), 0xc1);
			w(0, (uint8_t)n);
		}
		assert_int_equal(r(2), 0xc4);
		assert_int_equal(r(0), 1);
		assert_int_equal(r(2), 0xc1);
		w(2, 3);
	}
}

static void poke(struct vm *v, struct device *d)
{
	vm = v;
	w(3, 0x83);
	w(0, 1);
	w(3, 3);
	w(2, 0x81);
	w(1, 0x0f);
	w(4, 0x1b);
	w(0, 'x');
	w(7, 9);
}

static void test_roundtrip(void **state)
{
	tvm_check_roundtrip(&ns16550_ops, wire_alone, poke);
}

static void test_reset(void **state)
{
	tvm_check_reset(&ns16550_ops, wire_alone, poke);
}

#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(test_autoconfig), T(test_transmit), T(test_receive_plain),
		T(test_trigger_and_timeout), T(test_fifo_depth), T(test_loopback_overrun),
		T(test_modem_status), T(test_loopback_words), T(test_trigger_levels),
		 cmocka_unit_test(test_roundtrip),
		cmocka_unit_test(test_reset),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
