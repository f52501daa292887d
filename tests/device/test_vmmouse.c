/* SPDX-License-Identifier: MIT */
/* VMware's absolute mouse: commands in registers, in the order in which drivers give them. */
#include "../../devices/i8042.h"
#include "../../devices/vmmouse.h"
#include "../../src/input.h"
#include "../lib/testvm.h"

#define MAGIC 0x564d5868u

static struct vm *vm;
static struct device *kbc;
static struct test_irq irq;
static struct input *in;
static uint32_t r[6];

static void wire_kbc(struct device *d)
{
	const struct i8042_wiring w = { .irq1 = test_irq_line(&irq, 1),
					.irq12 = test_irq_line(&irq, 12) };

	i8042_wire(d, &w);
}

static void wire(struct device *d)
{
	kbc = tvm_add(d->vm, &i8042_ops, "kbc", wire_kbc);
	vmmouse_wire(d, kbc);
}

static int setup(void **state)
{
	irq = (struct test_irq){ 0 };
	vm = tvm_new(0);
	vm->input = in = input_new();
	tvm_add(vm, &vmmouse_ops, "vmmouse", wire);
	return 0;
}

static int teardown(void **state)
{
	tvm_free(vm);
	input_free(in);
	return 0;
}

/* IN EAX, DX; true: somebody answered. */
static bool call(uint32_t cmd, uint32_t arg)
{
	bool answered;

	r[0] = MAGIC, r[1] = arg, r[2] = cmd, r[3] = 0x5658, r[4] = r[5] = 0;
	vm_lock(vm);
	answered = vm->regport.in(vm->regport.opaque, r);
	vm_unlock(vm);
	return answered;
}

static void enable(void)
{
	call(41, 0x45414552);
	call(40, 0);
	assert_int_equal(r[0], 1);
	call(39, 1);
	assert_int_equal(r[0], 0x3442554a);
	call(41, 0x53424152);
}

static void mouse(uint8_t v)
{
	tvm_outb(vm, 0x64, 0xd4);
	tvm_outb(vm, 0x60, v);
	assert_int_equal(tvm_inb(vm, 0x60), 0xfa);
}

static void test_detect(void **state)
{
	assert_int_equal(vm->regport.port, 0x5658);
	assert_true(call(10, 0));
	assert_int_equal(r[1], MAGIC);
	assert_int_not_equal(r[0], UINT32_MAX);
	call(40, 0);
	assert_int_equal(r[0], 0xffff0000);	/* off */
	assert_false(input_has_abs(in));
	call(999, 0);
	assert_int_equal(r[0], UINT32_MAX);
	r[0] = 1;
	vm_lock(vm);
	assert_false(vm->regport.in(vm->regport.opaque, r));
	vm_unlock(vm);
	enable();
	assert_true(input_has_abs(in));
	call(41, 0x4c455252);			/* relative again */
	assert_false(input_has_abs(in));
}

/* An event is four words, announced by a PS/2 report without motion. */
static void test_events(void **state)
{
	enable();
	tvm_outb(vm, 0x64, 0x60);
	tvm_outb(vm, 0x60, 0x47);
	mouse(0xf4);
	input_abs(in, 32767, 16384, 0, MOUSE_LEFT);
	assert_int_equal(irq.level >> 12 & 1, 1);
	assert_int_equal(tvm_inb(vm, 0x60) & 0xc8, 0x08);
	assert_int_equal(tvm_inb(vm, 0x60), 0);
	assert_int_equal(tvm_inb(vm, 0x60), 0);
	assert_int_equal(tvm_inb(vm, 0x64) & 1, 0);
	call(40, 0);
	assert_int_equal(r[0], 4);
	call(39, 4);
	assert_int_equal(r[0], 0x20);
	assert_int_equal(r[1], 0xffff);
	assert_int_equal(r[2], 0x8001);
	assert_int_equal(r[3], 0);
	input_abs(in, 1, 2, 0, MOUSE_LEFT);	/* motion that was not read yet merges */
	input_abs(in, 3, 4, 0, MOUSE_LEFT);
	input_abs(in, 3, 4, 2, MOUSE_LEFT);	/* wheel and buttons do not */
	input_abs(in, 3, 4, 0, MOUSE_RIGHT);
	call(40, 0);
	assert_int_equal(r[0], 12);
	call(39, 4);
	assert_int_equal(r[1], 6);
	call(39, 4);
	assert_int_equal(r[3], 0xfe);
	call(39, 4);
	assert_int_equal(r[0], 0x10);
}

static void test_mistakes(void **state)
{
	enable();
	for (unsigned i = 0; i < 1000; i++)	/* nobody reads: the newest event stays */
		input_abs(in, i, i, 0, i & 1);
	call(40, 0);
	assert_in_range(r[0], 200, 256);
	for (unsigned left = r[0] / 4; left; left--)
		call(39, 4);
	assert_int_equal(r[1], 999 << 1);
	call(39, 4);				/* more than there is: start anew */
	assert_int_equal(r[0], UINT32_MAX);
	call(40, 0);
	assert_int_equal(r[0], 0xffff0000);
	enable();
	call(39, 0xffffffff);
	assert_int_equal(r[0], UINT32_MAX);
}

static void poke(struct vm *v, struct device *d)
{
	vm = v;
	call(41, 0x45414552);
	call(39, 1);
	call(41, 0x53424152);
	call(41, 0x45414552);
}

static void test_generic(void **state)
{
	tvm_check_roundtrip(&vmmouse_ops, wire, poke);
	tvm_check_reset(&vmmouse_ops, wire, poke);
}

#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(test_detect), T(test_events), T(test_mistakes), cmocka_unit_test(test_generic),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
