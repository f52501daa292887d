/* SPDX-License-Identifier: MIT */
/*
 * Keyboard controller, keyboard and mouse through ports 0x60, 0x64 and 0x92;
 * IBM PS/2 Hardware Interface Technical Reference.
 */
#include "../../devices/i8042.h"
#include "../../src/input.h"
#include "../lib/testvm.h"
#include <stdio.h>

static struct test_irq irq;
static struct vm *vm;
static struct input *in;

static void wire(struct device *d)
{
	const struct i8042_wiring w = {
		.irq1 = test_irq_line(&irq, 1), .irq12 = test_irq_line(&irq, 12),
		.a20 = test_irq_line(&irq, 20),
	};

	i8042_wire(d, &w);
}

static int setup(void **state)
{
	irq = (struct test_irq){ 0 };
	vm = tvm_new(0);
	vm->input = in = input_new();
	tvm_add(vm, &i8042_ops, "kbc", wire);
	return 0;
}

static int teardown(void **state)
{
	tvm_free(vm);
	input_free(in);
	return 0;
}

static void cmd(uint8_t v) { tvm_outb(vm, 0x64, v); }
static void data(uint8_t v) { tvm_outb(vm, 0x60, v); }
static uint8_t status(void) { return tvm_inb(vm, 0x64); }

static uint8_t get(void)
{
	assert_int_equal(status() & 1, 1);
	return tvm_inb(vm, 0x60);
}

static void expect(const char *hex)
{
	unsigned v;
	int n;

	for (; sscanf(hex, "%x%n", &v, &n) == 1; hex += n)
		assert_int_equal(get(), v);
	assert_int_equal(status() & 1, 0);
}

static void ctr(uint8_t v)
{
	cmd(0x60);
	data(v);
}

static void mouse(uint8_t v)
{
	cmd(0xd4);
	data(v);
	assert_int_equal(status() & 0x21, 0x21);
	assert_int_equal(get(), 0xfa);
}

static void key(uint16_t hid)
{
	input_key(in, hid, true);
	input_key(in, hid, false);
}

/* Controller commands: self test, line tests, command byte, RAM */
static void test_controller(void **state)
{
	cmd(0xaa);
	expect("55");
	assert_int_equal(status() & 0x1c, 0x1c);
	cmd(0xab);
	expect("00");
	cmd(0xa9);
	expect("00");
	ctr(0x44);
	cmd(0x20);
	expect("44");
	cmd(0xa7);
	cmd(0x20);
	expect("64");
	cmd(0xa8);
	cmd(0xad);
	cmd(0x20);
	expect("54");
	cmd(0xae);
	cmd(0x65);
	data(0x99);
	cmd(0x25);
	expect("99");
	cmd(0xd3);				/* as Linux tests for a mouse port */
	data(0x5a);
	assert_int_equal(status() & 0x21, 0x21);
	expect("5a");
	cmd(0xd2);
	data(0xa5);
	assert_int_equal(status() & 0x21, 0x01);
	expect("a5");
}

/* IRQ 1 and 12 follow the output buffer and the enable bits, with an edge a byte */
static void test_interrupts(void **state)
{
	ctr(0x47);
	input_key(in, 0x04, true);
	input_key(in, 0x05, true);
	assert_int_equal(irq.rises[1], 1);
	assert_int_equal(get(), 0x1e);
	assert_int_equal(irq.rises[1], 2);
	assert_int_equal(get(), 0x30);
	assert_int_equal(irq.level >> 1 & 1, 0);
	mouse(0xf4);
	assert_int_equal(irq.rises[12], 1);
	ctr(0x44);
	input_rel(in, 1, 0, 0, 0);
	assert_int_equal(irq.rises[12], 1);
	assert_int_equal(status() & 0x21, 0x21);
}

/* A20 by output port, DD/DF and port 0x92; reset leaves it open */
static void test_a20(void **state)
{
	assert_int_equal(irq.level >> 20 & 1, 1);
	cmd(0xd1);
	data(0xdd);
	assert_int_equal(irq.level >> 20 & 1, 0);
	cmd(0xd0);
	expect("cd");
	cmd(0xdf);
	assert_int_equal(irq.level >> 20 & 1, 1);
	cmd(0xdd);
	assert_int_equal(tvm_inb(vm, 0x92) & 2, 0);
	tvm_outb(vm, 0x92, 2);
	assert_int_equal(irq.level >> 20 & 1, 1);
	assert_int_equal(tvm_inb(vm, 0x92), 2);
}

/* Whether the control thread, which this machine lacks, has been asked for anything. */
static bool reset_asked(void)
{
	bool asked = vm->pending;

	vm->pending = 0;
	return asked;
}

static void test_reset_lines(void **state)
{
	cmd(0xff);
	assert_false(reset_asked());
	cmd(0xfe);
	assert_true(reset_asked());
	cmd(0xd1);
	data(0x02);
	assert_true(reset_asked());
	tvm_outb(vm, 0x92, 2);
	assert_false(reset_asked());
	tvm_outb(vm, 0x92, 3);
	assert_true(reset_asked());
}

/* Keyboard commands */
static void test_keyboard_commands(void **state)
{
	ctr(0x04);				/* no translation */
	data(0xff);
	expect("fa aa");
	data(0xf2);
	expect("fa ab 83");
	data(0xee);
	expect("ee");
	data(0xfe);
	expect("ee");
	data(0xed);
	expect("fa");
	data(0x06);				/* Num and Caps */
	expect("fa");
	assert_int_equal(input_leds(in), 3);
	data(0xf3);
	expect("fa");
	data(0x20);
	expect("fa");
	data(0xf0);
	expect("fa");
	data(0);
	expect("fa 02");
	data(0xf0);
	expect("fa");
	data(7);
	expect("fe");
	data(0x99);
	expect("fe");
	data(0xf5);
	expect("fa");
	key(0x04);
	assert_int_equal(status() & 1, 0);
	data(0xf4);
	expect("fa");
	key(0x04);
	expect("1c f0 1c");
	ctr(0x44);
	data(0xf2);
	expect("fa ab 41");			/* through the translation */
}

/* The same keys in set 2, translated, in set 1 and in set 3 */
static void test_scan_sets(void **state)
{
	static const struct {
		uint16_t hid;
		const char *set2, *set1, *set3;
	} k[] = {
		{ 0x04, "1c f0 1c", "1e 9e", "1c f0 1c" },
		{ 0x29, "76 f0 76", "01 81", "08 f0 08" },
		{ 0x40, "83 f0 83", "41 c1", "37 f0 37" },
		{ 0x45, "07 f0 07", "58 d8", "5e f0 5e" },
		{ 0x64, "61 f0 61", "56 d6", "13 f0 13" },
		{ 0x52, "e0 75 e0 f0 75", "e0 48 e0 c8", "63 f0 63" },
		{ 0x58, "e0 5a e0 f0 5a", "e0 1c e0 9c", "79 f0 79" },
		{ 0x54, "e0 4a e0 f0 4a", "e0 35 e0 b5", "77 f0 77" },
		{ 0xe7, "e0 27 e0 f0 27", "e0 5c e0 dc", "8c f0 8c" },
		{ 0x46, "e0 12 e0 7c e0 f0 7c e0 f0 12", "e0 2a e0 37 e0 b7 e0 aa", "57 f0 57" },
		{ 0x48, "e1 14 77 e1 f0 14 f0 77", "e1 1d 45 e1 9d c5", "62 f0 62" },
		{ 0x00, "", "", "" },
		{ 0xff, "", "", "" },
	};
	const uint8_t sets[4][2] = { { 2, 0x04 }, { 2, 0x44 }, { 1, 0x04 }, { 3, 0x04 } };

	for (unsigned s = 0; s < 4; s++) {
		ctr(0x04);
		data(0xf0);
		expect("fa");
		data(sets[s][0]);
		expect("fa");
		ctr(sets[s][1]);
		for (unsigned i = 0; i < ARRAY_SIZE(k); i++) {
			key(k[i].hid);
			expect(s == 0 ? k[i].set2 : s == 3 ? k[i].set3 : k[i].set1);
		}
	}
}

/* Alt+PrtSc is SysRq, Ctrl+Pause is Break */
static void test_special_keys(void **state)
{
	input_key(in, 0xe2, true);
	key(0x46);
	input_key(in, 0xe2, false);
	expect("38 54 d4 b8");
	input_key(in, 0xe0, true);
	key(0x48);
	input_key(in, 0xe0, false);
	expect("1d e0 46 e0 c6 9d");
	input_key(in, 0xe1, true);
	key(0x46);
	input_release_all(in);
	expect("2a e0 37 e0 b7 aa");
}

/* A full queue drops key-downs before key-ups. */
static void test_overflow(void **state)
{
	unsigned makes = 0, breaks = 0;
	uint8_t v;

	for (unsigned i = 0; i < 1000; i++)
		input_key(in, 0x04 + (i & 1), true);
	input_key(in, 0x04, false);
	data(0xee);
	while (status() & 1) {
		v = get();
		makes += v == 0x1e || v == 0x30;
		breaks += v == 0x9e;
	}
	assert_in_range(makes, 64, 128);
	assert_int_equal(breaks, 1);
}

/* A disabled interface holds its bytes */
static void test_disable_holds(void **state)
{
	cmd(0xad);
	key(0x04);
	assert_int_equal(status() & 1, 0);
	cmd(0xae);
	expect("1e 9e");
}

/* Mouse: reset, identify, status, streaming packets */
static void test_mouse(void **state)
{
	mouse(0xff);
	expect("aa 00");
	mouse(0xf2);
	expect("00");
	mouse(0xe8);
	mouse(3);
	mouse(0xe7);
	mouse(0xe9);
	expect("10 03 64");
	input_rel(in, 5, 5, 0, 0);		/* reporting is off */
	assert_int_equal(status() & 1, 0);
	mouse(0xf4);
	input_rel(in, 5, -3, 0, MOUSE_LEFT);
	assert_int_equal(status() & 0x21, 0x21);
	expect("09 05 03");
	input_rel(in, -1, 1, 0, MOUSE_RIGHT | MOUSE_MIDDLE);
	expect("3e ff ff");
	input_rel(in, 0, 0, 5, MOUSE_RIGHT | MOUSE_MIDDLE);	/* no wheel yet */
	assert_int_equal(status() & 1, 0);
	input_rel(in, 300, 0, 0, 0);
	expect("08 ff 00 08 2d 00");
	cmd(0xd4);
	data(0x77);
	expect("fe");
}

/* Motion merges while nobody reads */
static void test_mouse_merges(void **state)
{
	mouse(0xf4);
	for (unsigned i = 0; i < 10; i++)
		input_rel(in, 1, 0, 0, 0);
	expect("08 01 00 08 09 00");
}

static void rates(uint8_t a, uint8_t b, uint8_t c)
{
	mouse(0xf3);
	mouse(a);
	mouse(0xf3);
	mouse(b);
	mouse(0xf3);
	mouse(c);
	mouse(0xf2);
}

/* IntelliMouse and Explorer */
static void test_wheel(void **state)
{
	rates(200, 200, 80);
	expect("00");				/* only from ID 3 */
	rates(200, 100, 80);
	expect("03");
	mouse(0xf4);
	input_rel(in, 0, 0, 1, 0);		/* up is negative on the wire */
	expect("08 00 00 ff");
	rates(200, 200, 80);
	expect("04");
	input_rel(in, 0, 0, -2, MOUSE_SIDE);
	expect("08 00 00 12");
	input_rel(in, 0, 0, 0, MOUSE_EXTRA);
	expect("08 00 00 20");
	mouse(0xff);
	expect("aa 00");
	mouse(0xf2);
	expect("00");
}

/* Remote mode and wrap mode */
static void test_mouse_modes(void **state)
{
	mouse(0xf0);
	input_rel(in, 2, -2, 0, MOUSE_LEFT);
	assert_int_equal(status() & 1, 0);
	mouse(0xeb);
	expect("09 02 02");
	mouse(0xee);
	cmd(0xd4);
	data(0x12);
	expect("12");
	mouse(0xec);
	mouse(0xea);
}

/* SET TYPEMATIC RATE: the key pressed last repeats after the delay, until it is released */
static void test_typematic(void **state)
{
	unsigned n = 0;

	ctr(0x04);
	input_key(in, 0x04, true);
	expect("1c");
	tvm_advance(vm, 499 * NS_PER_MS);
	assert_int_equal(status() & 1, 0);
	input_key(in, 0x04, true);		/* a viewer's own repeat */
	assert_int_equal(status() & 1, 0);
	tvm_advance(vm, 2 * NS_PER_MS);
	expect("1c");
	tvm_advance(vm, 92 * NS_PER_MS);
	expect("1c");
	input_key(in, 0x05, true);		/* another one takes over */
	expect("32");
	input_key(in, 0x04, false);
	expect("f0 1c");
	tvm_advance(vm, 501 * NS_PER_MS);
	expect("32");
	input_key(in, 0x05, false);
	expect("f0 32");
	tvm_advance(vm, NS_PER_SEC);
	assert_int_equal(status() & 1, 0);
	data(0xf3);
	assert_int_equal(get(), 0xfa);
	data(0x00);				/* 250 ms, 30 a second */
	assert_int_equal(get(), 0xfa);
	input_key(in, 0x4f, true);
	expect("e0 74");
	for (unsigned i = 0; i < 1250; i++) {
		tvm_advance(vm, NS_PER_MS);
		for (; status() & 1; n++)
			get();
	}
	assert_in_range(n / 2, 30, 31);
	tvm_advance(vm, 100 * NS_PER_SEC);	/* nobody reads: no endless backlog */
	for (n = 0; status() & 1; n++)
		get();
	assert_in_range(n, 2, 20);
	input_key(in, 0x4f, false);
	expect("e0 f0 74");
	input_key(in, 0x48, true);		/* Pause does not repeat */
	expect("e1 14 77 e1 f0 14 f0 77");
	tvm_advance(vm, NS_PER_SEC);
	assert_int_equal(status() & 1, 0);
}

/* Key types of set 3: F7-FA for all keys, FB-FD for those named */
static void test_key_types(void **state)
{
	ctr(0x04);
	data(0xf0);
	get();
	data(3);
	get();
	data(0xf8);				/* make and break, no repeat */
	get();
	input_key(in, 0x04, true);
	tvm_advance(vm, NS_PER_SEC);
	expect("1c");
	input_key(in, 0x04, false);
	expect("f0 1c");
	data(0xf9);				/* make only */
	get();
	key(0x04);
	expect("1c");
	data(0xfb);				/* these are typematic */
	get();
	data(0x1c);
	get();
	data(0x32);
	get();
	data(0xf4);
	get();
	input_key(in, 0x05, true);
	tvm_advance(vm, 501 * NS_PER_MS);
	expect("32 32");
	input_key(in, 0x05, false);
	assert_int_equal(status() & 1, 0);
	data(0xfa);
	get();
	key(0x06);
	expect("21 f0 21");
}

static void poke(struct vm *v, struct device *d)
{
	vm = v;
	ctr(0x47);
	cmd(0xd4);
	data(0xf2);
	data(0xf0);
	data(3);
	data(0xed);
	cmd(0xd1);
	data(0xdd);
	cmd(0x60);
}

static void test_roundtrip(void **state)
{
	tvm_check_roundtrip(&i8042_ops, wire, poke);
}

static void test_reset(void **state)
{
	tvm_check_reset(&i8042_ops, wire, poke);
}

#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(test_controller), T(test_interrupts), T(test_a20), T(test_reset_lines),
		T(test_keyboard_commands), T(test_scan_sets), T(test_special_keys),
		T(test_overflow), T(test_disable_holds), T(test_mouse), T(test_mouse_merges),
		T(test_wheel), T(test_mouse_modes), T(test_typematic), T(test_key_types),
		cmocka_unit_test(test_roundtrip),
		cmocka_unit_test(test_reset),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
