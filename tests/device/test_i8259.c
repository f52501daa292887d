/* SPDX-License-Identifier: MIT */
/* 8259A pair through its ports; sections of the Intel data sheet 231468-003. */
#include "../../devices/i8259.h"
#include "../lib/testvm.h"

static struct test_irq intr;
static struct vm *vm;
static struct device *pic;

static void setup_wiring(struct device *d)
{
	i8259_set_intr(d, test_irq_line(&intr, 0));
}

/* "Initialization Command Words": the PC's usual programming. */
static void program(uint8_t icw4_master)
{
	static const uint8_t base[2] = { 0x30, 0x38 };

	for (unsigned n = 0; n < 2; n++) {
		uint16_t port = n ? 0xa0 : 0x20;

		tvm_outb(vm, port, 0x11);
		tvm_outb(vm, port + 1, base[n]);
		tvm_outb(vm, port + 1, n ? 2 : 4);
		tvm_outb(vm, port + 1, n ? 1 : icw4_master);
		tvm_outb(vm, port + 1, 0);
	}
}

static int setup(void **state)
{
	intr = (struct test_irq){ 0 };
	vm = tvm_new(0);
	pic = tvm_add(vm, &i8259_ops, "pic", setup_wiring);
	program(1);
	return 0;
}

static int teardown(void **state)
{
	tvm_free(vm);
	return 0;
}

static void line(unsigned irq, bool level)
{
	struct irq_line l = i8259_line(pic, irq);

	irq_set(&l, level);
}

static void edge(unsigned irq)
{
	line(irq, false);
	line(irq, true);
}

static bool asserted(void) { return intr.level & 1; }

/* "Interrupt Sequence": INT, INTA gives ICW2 | level, ISR set, EOI clears. */
static void test_vector_and_eoi(void **state)
{
	edge(1);
	assert_true(asserted());
	assert_int_equal(i8259_inta(pic), 0x31);
	assert_false(asserted());
	tvm_outb(vm, 0x20, 0x0b);		/* OCW3: read ISR */
	assert_int_equal(tvm_inb(vm, 0x20), 0x02);
	tvm_outb(vm, 0x20, 0x20);		/* non-specific EOI */
	assert_int_equal(tvm_inb(vm, 0x20), 0);
}

/* "Fully Nested Mode": lower priorities wait, higher interrupt. */
static void test_nesting(void **state)
{
	edge(3);
	assert_int_equal(i8259_inta(pic), 0x33);
	edge(4);
	assert_false(asserted());
	edge(1);
	assert_true(asserted());
	assert_int_equal(i8259_inta(pic), 0x31);
	tvm_outb(vm, 0x20, 0x61);		/* specific EOI 1 */
	assert_false(asserted());
	tvm_outb(vm, 0x20, 0x63);
	assert_int_equal(i8259_inta(pic), 0x34);
}

/* "Interrupt Mask Register": masked requests stay in IRR. */
static void test_mask(void **state)
{
	tvm_outb(vm, 0x21, 0x10);
	edge(4);
	assert_false(asserted());
	tvm_outb(vm, 0x20, 0x0a);
	assert_int_equal(tvm_inb(vm, 0x20), 0x10);
	tvm_outb(vm, 0x21, 0);
	assert_true(asserted());
	assert_int_equal(tvm_inb(vm, 0x21), 0);
}

/* "Cascade Mode": the slave supplies the vector; both need an EOI. */
static void test_cascade(void **state)
{
	edge(8);
	edge(12);
	assert_int_equal(i8259_inta(pic), 0x38);
	assert_false(asserted());
	tvm_outb(vm, 0xa0, 0x20);
	assert_false(asserted());		/* IR2 is in service at the master */
	tvm_outb(vm, 0x20, 0x20);
	assert_true(asserted());
	assert_int_equal(i8259_inta(pic), 0x3c);
}

/* "Special Fully Nested Mode": the serving slave may interrupt again. */
static void test_special_fully_nested(void **state)
{
	program(0x11);
	edge(12);
	assert_int_equal(i8259_inta(pic), 0x3c);
	edge(9);
	assert_true(asserted());
	assert_int_equal(i8259_inta(pic), 0x39);
}

/* A level request that went away before INTA: IR7 of the chip, no ISR bit. */
static void test_spurious(void **state)
{
	tvm_outb(vm, 0x4d0, 0x20);
	line(5, true);
	assert_true(asserted());
	line(5, false);
	assert_int_equal(i8259_inta(pic), 0x37);
	tvm_outb(vm, 0x20, 0x0b);
	assert_int_equal(tvm_inb(vm, 0x20), 0);
}

/* A request masked between INT and INTA at the slave takes INT away, and is not lost. */
static void test_masked_slave(void **state)
{
	edge(14);
	assert_true(asserted());
	tvm_outb(vm, 0xa1, 0x40);
	assert_false(asserted());
	assert_int_equal(i8259_inta(pic), 0x37);	/* spurious, from the master */
	tvm_outb(vm, 0xa1, 0);
	assert_int_equal(i8259_inta(pic), 0x3e);
}

/* PIIX3 2.5.5.7: level inputs request as long as they are high. */
static void test_level(void **state)
{
	tvm_outb(vm, 0x4d1, 0xff);
	assert_int_equal(tvm_inb(vm, 0x4d1), 0xde);
	tvm_outb(vm, 0x4d0, 0xff);
	assert_int_equal(tvm_inb(vm, 0x4d0), 0xf8);
	line(11, true);
	assert_int_equal(i8259_inta(pic), 0x3b);
	tvm_outb(vm, 0xa0, 0x20);
	tvm_outb(vm, 0x20, 0x20);
	assert_true(asserted());
	assert_int_equal(i8259_inta(pic), 0x3b);
	line(11, false);
	tvm_outb(vm, 0xa0, 0x20);
	tvm_outb(vm, 0x20, 0x20);
	assert_false(asserted());
}

/* "Automatic End of Interrupt Mode", and rotation in it. */
static void test_aeoi(void **state)
{
	program(3);
	tvm_outb(vm, 0x20, 0x80);		/* rotate in AEOI */
	edge(0);
	edge(1);
	assert_int_equal(i8259_inta(pic), 0x30);
	tvm_outb(vm, 0x20, 0x0b);
	assert_int_equal(tvm_inb(vm, 0x20), 0);
	edge(0);
	assert_int_equal(i8259_inta(pic), 0x31);	/* 0 is last now */
	assert_int_equal(i8259_inta(pic), 0x30);
}

/* "Automatic/Specific Rotation". */
static void test_rotation(void **state)
{
	tvm_outb(vm, 0x20, 0xc0 | 5);		/* 5 lowest: 6 highest */
	edge(5);
	edge(6);
	assert_int_equal(i8259_inta(pic), 0x36);
	tvm_outb(vm, 0x20, 0xa0);		/* rotate on non-specific EOI: 6 lowest */
	edge(6);
	edge(7);
	assert_int_equal(i8259_inta(pic), 0x37);
}

/* "Special Mask Mode": masked in-service levels inhibit nothing. */
static void test_special_mask(void **state)
{
	edge(1);
	assert_int_equal(i8259_inta(pic), 0x31);
	edge(6);
	assert_false(asserted());
	tvm_outb(vm, 0x21, 0x02);
	tvm_outb(vm, 0x20, 0x68);
	assert_true(asserted());
	assert_int_equal(i8259_inta(pic), 0x36);
	tvm_outb(vm, 0x20, 0x20);		/* non-specific EOI spares the masked one */
	tvm_outb(vm, 0x20, 0x0b);
	assert_int_equal(tvm_inb(vm, 0x20), 0x02);
}

/* "Poll Command": the next read acknowledges. */
static void test_poll(void **state)
{
	edge(4);
	tvm_outb(vm, 0x20, 0x0c);
	assert_int_equal(tvm_inb(vm, 0x20), 0x84);
	assert_false(asserted());
	tvm_outb(vm, 0x20, 0x0c);
	assert_int_equal(tvm_inb(vm, 0x20), 0);
}

/* "ICW1" clears IMR and the edge memory. */
static void test_icw1(void **state)
{
	tvm_outb(vm, 0x21, 0xff);
	edge(3);
	tvm_outb(vm, 0x20, 0x11);
	tvm_outb(vm, 0x21, 0x40);
	tvm_outb(vm, 0x21, 4);
	tvm_outb(vm, 0x21, 1);
	assert_int_equal(tvm_inb(vm, 0x21), 0);
	assert_int_equal(tvm_inb(vm, 0x20), 0);
	assert_false(asserted());
	edge(3);
	assert_int_equal(i8259_inta(pic), 0x43);
}

static void poke(struct vm *v, struct device *d)
{
	vm = v;
	pic = d;
	program(0x11);
	tvm_outb(v, 0x4d0, 0x20);
	tvm_outb(v, 0xa1, 0x55);
	edge(1);
	i8259_inta(d);
	edge(3);
	edge(9);
	line(1, false);
	line(3, false);
	line(9, false);
	tvm_outb(v, 0x20, 0xc2);
	tvm_outb(v, 0x20, 0x6b);
	tvm_outb(v, 0xa0, 0x11);
	tvm_outb(v, 0xa1, 0x70);
}

static void test_roundtrip(void **state)
{
	tvm_check_roundtrip(&i8259_ops, setup_wiring, poke);
}

static void test_reset(void **state)
{
	tvm_check_reset(&i8259_ops, setup_wiring, poke);
}

#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(test_vector_and_eoi), T(test_nesting), T(test_mask), T(test_cascade),
		T(test_special_fully_nested), T(test_spurious), T(test_masked_slave),
		T(test_level), T(test_aeoi), T(test_rotation), T(test_special_mask), T(test_poll),
		T(test_icw1), cmocka_unit_test(test_roundtrip), cmocka_unit_test(test_reset),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
