/* SPDX-License-Identifier: MIT */
/* The choice of the engine: names, the line for the user, the cost of measuring. */
#include "../lib/testvm.h"
#include "../../src/cpu/engine_int.h"
#include "../../src/cpu/vcpu.h"
#include <stdio.h>

static void names(void **state)
{
	struct err e = { 0 };
	char why[300] = "";

	assert_ptr_equal(engine_choose("soft", why, sizeof(why), &e), &soft_cpu_ops);
	assert_true(why[0]);
	assert_null(engine_choose("xen", why, sizeof(why), &e));
	assert_int_equal(e.exit_code, HV_EXIT_USAGE);
	assert_non_null(strstr(e.msg, "\"xen\""));
	assert_non_null(strstr(e.msg, "auto, kvm or soft"));
}

/* Demanded and not there: an error with its own exit status, never another engine. */
static void kvm_demanded(void **state)
{
	struct err e = { 0 };
	char why[300] = "";
	const struct cpu_ops *ops = engine_choose("kvm", why, sizeof(why), &e);

	if (ops) {
		assert_ptr_equal(ops, &kvm_cpu_ops);
		return;
	}
	assert_int_equal(e.exit_code, HV_EXIT_NO_KVM);
	assert_true(e.msg[0]);
}

static void auto_measures(void **state)
{
	char why[300] = "";
	struct err e = { 0 };
	const struct cpu_ops *ops = engine_choose("auto", why, sizeof(why), &e);
	double rate = 0;

	assert_non_null(ops);
	assert_true(why[0]);
	assert_null(strchr(why, '\n'));
	printf("%s\n", why);
	if (!kvm_measure(&rate, &e)) {
		assert_ptr_equal(ops, &soft_cpu_ops);
		assert_non_null(strstr(why, e.msg));
		return;
	}
	assert_true(rate > 0);
	/* What no interpreter reaches is hardware; what any hardware reaches is not interpreted. */
	if (rate > 1.5e9)
		assert_ptr_equal(ops, &kvm_cpu_ops);
	if (rate < 2e7)
		assert_ptr_equal(ops, &soft_cpu_ops);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(names),
		cmocka_unit_test(kvm_demanded),
		cmocka_unit_test(auto_measures),
	};

	return cmocka_run_group_tests_name("engine", tests, NULL, NULL);
}
