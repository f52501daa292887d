/* SPDX-License-Identifier: MIT */
/* Parallel port through its registers (PC87332 data sheet, section 4; IEEE 1284). */
#include "../../devices/parport.h"
#include "../../src/chardev.h"
#include "../lib/testvm.h"

#define DATA 0x378
#define STATUS 0x379
#define CONTROL 0x37a

static struct test_irq irq;
static struct chardev *chr;
static struct vm *vm;
static char paper[64];
static size_t len;

static void printed(void *opaque, const uint8_t *buf, size_t n)
{
	assert_true(len + n < sizeof(paper));
	memcpy(paper + len, buf, n);
	len += n;
}
static struct char_tap tap = { .output = printed };

static void wire(struct device *d)
{
	parport_wire(d, test_irq_line(&irq, PARPORT_IRQ), chr);
}

static int setup(void **state)
{
	struct err e;

	irq = (struct test_irq){ 0 };
	memset(paper, 0, sizeof(paper));
	len = 0;
	vm = tvm_new(0);
	chr = chardev_open("null", NULL, &e);
	tap.next = NULL;
	chardev_add_tap(chr, &tap);
	tvm_add(vm, &parport_ops, "lpt1", wire);
	return 0;
}

static int teardown(void **state)
{
	chardev_close(chr);
	chr = NULL;
	tvm_free(vm);
	return 0;
}

/* The steps by which Linux's parport_pc finds port, direction and EPP. */
static void test_probe(void **state)
{
	for (unsigned v = 0xc; v < 0x10; v += 2) {
		tvm_outb(vm, CONTROL, (uint8_t)v);
		assert_int_equal(tvm_inb(vm, CONTROL), 0xc0 | v);
	}
	tvm_outb(vm, DATA, 0xaa);
	assert_int_equal(tvm_inb(vm, DATA), 0xaa);
	tvm_outb(vm, DATA, 0x55);
	assert_int_equal(tvm_inb(vm, DATA), 0x55);
	tvm_outb(vm, CONTROL, 0x2c);		/* direction: nobody drives the lines */
	assert_int_equal(tvm_inb(vm, DATA), 0xff);
	assert_int_equal(tvm_inb(vm, STATUS) & 1, 0);
	assert_int_equal(tvm_inb(vm, DATA + 4), 0xff);
	assert_int_equal(tvm_inb(vm, STATUS) & 1, 1);	/* EPP time-out */
	tvm_outb(vm, STATUS, 0xdf);
	assert_int_equal(tvm_inb(vm, STATUS) & 1, 0);
	tvm_outb(vm, DATA + 3, 1);
	assert_int_equal(tvm_inb(vm, STATUS) & 1, 1);
}

static void put(uint8_t c, uint8_t control)
{
	assert_int_equal(tvm_inb(vm, STATUS) & 0xf8, 0xd8);	/* ready, selected, no error */
	tvm_outb(vm, DATA, c);
	tvm_outb(vm, CONTROL, control | 1);
	tvm_outb(vm, CONTROL, control);
}

/* IEEE 1284 compatibility mode: a byte a strobe, an interrupt an acknowledge */
static void test_print(void **state)
{
	for (const char *p = "line one\n"; *p; p++)
		put((uint8_t)*p, 0x0c);
	assert_string_equal(paper, "line one\n");
	assert_int_equal(irq.rises[PARPORT_IRQ], 0);
	put('x', 0x1c);
	put('y', 0x1c);
	assert_int_equal(irq.rises[PARPORT_IRQ], 2);
	tvm_outb(vm, CONTROL, 0x0c);
	assert_int_equal(irq.level, 0);
	tvm_outb(vm, CONTROL, 0x08);		/* initialization: nothing is taken */
	tvm_outb(vm, CONTROL, 0x09);
	tvm_outb(vm, CONTROL, 0x0c);
	assert_string_equal(paper, "line one\nxy");
}

static void poke(struct vm *v, struct device *d)
{
	vm = v;
	tvm_outb(v, DATA, 0x41);
	tvm_outb(v, CONTROL, 0x1d);
	tvm_inb(v, DATA + 5);
}

static void test_generic(void **state)
{
	tvm_check_roundtrip(&parport_ops, wire, poke);
	tvm_check_reset(&parport_ops, wire, poke);
}

#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(test_probe), T(test_print), cmocka_unit_test(test_generic),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
