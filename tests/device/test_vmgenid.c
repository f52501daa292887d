/* SPDX-License-Identifier: MIT */
/* The generation ID as a guest sees it: its page, and the event when it changes. */
#include "../../devices/vmgenid.h"
#include "../lib/testvm.h"

static const uint8_t one[16] = { 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16 };
static const uint8_t two[16] = { 0xff, 2, 3 };
static const uint8_t *mine = one;
static struct test_irq irq;

static void wire(struct device *d)
{
	vmgenid_wire(d, mine, test_irq_line(&irq, VMGENID_GPE));
}

static void expect_guid(struct vm *vm, const uint8_t guid[16])
{
	uint8_t got[16];

	assert_true(gm_read(vm->mem, GPA(VMGENID_ADDR), got, 16));
	assert_memory_equal(got, guid, 16);
}

static void test_page(void **state)
{
	struct vm *vm = tvm_new(MiB(1));
	struct device *d;

	mine = one;
	irq = (struct test_irq){ 0 };
	d = tvm_add(vm, &vmgenid_ops, "vmgenid", wire);
	expect_guid(vm, one);
	assert_false(gm_write(vm->mem, GPA(VMGENID_ADDR), two, 16));
	assert_int_equal(irq.rises[VMGENID_GPE], 0);
	vm_lock(vm);
	vmgenid_change(d, two);
	vm_unlock(vm);
	expect_guid(vm, two);
	assert_int_equal(irq.rises[VMGENID_GPE], 1);
	assert_int_equal(irq.level, 0);
	vm_lock(vm);
	d->ops->reset(d);
	vm_unlock(vm);
	expect_guid(vm, two);
	tvm_free(vm);
}

/* A saved machine in another process: its own ID, and the guest hears of it. */
static void test_restored(void **state)
{
	struct vm *a = tvm_new(MiB(1)), *b;
	struct state_buf saved = { 0 };
	struct err e = { 0 };
	struct device *d;
	size_t pos = 0;

	mine = one;
	state_save_device(&saved, tvm_add(a, &vmgenid_ops, "vmgenid", wire));
	tvm_free(a);
	irq = (struct test_irq){ 0 };
	mine = two;
	b = tvm_new(MiB(1));
	d = tvm_add(b, &vmgenid_ops, "vmgenid", wire);
	vm_lock(b);
	assert_true(state_load_device(d, saved.data, saved.len, &pos, &e));
	vm_unlock(b);
	tvm_advance(b, 1);
	expect_guid(b, two);
	assert_int_equal(irq.rises[VMGENID_GPE], 1);
	tvm_free(b);
	state_buf_free(&saved);
	mine = one;
}

static void poke(struct vm *vm, struct device *d)
{
}

static void test_generic(void **state)
{
	mine = one;
	tvm_check_roundtrip(&vmgenid_ops, wire, poke);
	tvm_check_reset(&vmgenid_ops, wire, poke);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_page), cmocka_unit_test(test_restored),
		cmocka_unit_test(test_generic),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
