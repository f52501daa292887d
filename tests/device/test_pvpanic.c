/* SPDX-License-Identifier: MIT */
/* The panic port (pvpanic specification): what it knows, what it remembers. */
#include "../../devices/pvpanic.h"
#include "../lib/testvm.h"

static void test_events(void **st)
{
	struct vm *vm = tvm_new(0);
	struct device *d = tvm_add(vm, &pvpanic_ops, "pvpanic", NULL);

	log_set_level(LOG_ERROR);
	assert_int_equal(tvm_inb(vm, PVPANIC_PORT), 3);
	tvm_outb(vm, PVPANIC_PORT, 0xfc);	/* unknown events */
	assert_int_equal(pvpanic_seen(d), 0);
	tvm_outb(vm, PVPANIC_PORT, 2);
	assert_int_equal(pvpanic_seen(d), 2);
	tvm_outb(vm, PVPANIC_PORT, 1);
	assert_int_equal(pvpanic_seen(d), 3);
	log_set_level(LOG_WARN);
	tvm_free(vm);
}

static void poke(struct vm *vm, struct device *d)
{
	tvm_outb(vm, PVPANIC_PORT, 1);
}

static void test_generic(void **st)
{
	log_set_level(LOG_ERROR);
	tvm_check_roundtrip(&pvpanic_ops, NULL, poke);
	tvm_check_reset(&pvpanic_ops, NULL, poke);
	log_set_level(LOG_WARN);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_events), cmocka_unit_test(test_generic),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
