/* SPDX-License-Identifier: MIT */
/*
 * The life of a machine that sleeps (ACPI S3) under SeaBIOS: suspended, paused
 * and resumed meanwhile, saved and loaded asleep, woken, reset.
 */
#include "../lib/testvm.h"
#include "../../devices/pc.h"
#include "../../src/cpu/vcpu.h"
#include "../../src/input.h"
#include "../../src/snapshot.h"
#include <stdio.h>
#include <time.h>
#include <unistd.h>

#define PM1_CNT 0x604
#define SLEEP (1u << 10 | 1u << 13)	/* SLP_TYP of S3, SLP_EN */

static const struct pc_config cfg = { .ram = MiB(16), .display = true };

static struct vm *machine(void)
{
	struct vm *vm;
	struct err e = { 0 };

	vm = vm_new(false, &e);
	assert_true(vm_set_engine(vm, &soft_cpu_ops, 2, &e));
	if (!pc_create(vm, &cfg, &e))
		fail_msg("%s", e.msg);
	return vm;
}

static void nap(void)
{
	nanosleep(&(struct timespec){ .tv_nsec = 2000000 }, NULL);
}

static void wait_status(struct vm *vm, enum vm_status want)
{
	for (unsigned i = 0; i < 15000 && vm_status(vm) != want; i++)
		nap();
	assert_int_equal(vm_status(vm), want);
}

static uint32_t in(struct vm *vm, uint16_t port)
{
	return (uint32_t)bus_read(vm->bus, BUS_PIO, port, 2);
}

/* Started, and far enough that the firmware has placed the PM registers. */
static struct vm *running(void)
{
	struct vm *vm = machine();
	struct err e = { 0 };

	assert_true(vm_start(vm, &e));
	for (unsigned i = 0; i < 15000 && in(vm, PM1_CNT) == 0xffff; i++)
		nap();
	assert_int_not_equal(in(vm, PM1_CNT), 0xffff);
	return vm;
}

/* Firmware that finds nothing to wake restarts the machine, and loses the request: again. */
static void go_to_sleep(struct vm *vm)
{
	for (unsigned i = 0; i < 15000 && vm_status(vm) != VM_SUSPENDED; i++) {
		if (in(vm, PM1_CNT) != 0xffff)
			bus_write(vm->bus, BUS_PIO, PM1_CNT, 2, SLEEP);
		nap();
	}
	assert_int_equal(vm_status(vm), VM_SUSPENDED);
}

static void test_wake(void **st)
{
	struct vm *vm = running();

	go_to_sleep(vm);
	vm_pause(vm);
	assert_int_equal(vm_status(vm), VM_PAUSED);
	vm_resume(vm);
	assert_int_equal(vm_status(vm), VM_SUSPENDED);
	vm_power_button(vm);
	wait_status(vm, VM_RUNNING);
	go_to_sleep(vm);
	vm_sleep_button(vm);
	wait_status(vm, VM_RUNNING);
	go_to_sleep(vm);
	vm_lock(vm);
	input_key(vm->input, 4, false);		/* a release does not wake */
	input_key(vm->input, 4, true);
	vm_unlock(vm);
	wait_status(vm, VM_RUNNING);
	go_to_sleep(vm);
	vm_request_reset(vm);			/* the user's reset button */
	wait_status(vm, VM_RUNNING);
	vm_free(vm);
}

/* Woken while paused: goes on when the user says so. */
static void test_wake_paused(void **st)
{
	struct vm *vm = running();

	go_to_sleep(vm);
	vm_pause(vm);
	vm_power_button(vm);
	for (unsigned i = 0; i < 20; i++)
		nap();
	assert_int_equal(vm_status(vm), VM_PAUSED);
	vm_resume(vm);
	wait_status(vm, VM_RUNNING);
	vm_free(vm);
}

static void test_saved_asleep(void **st)
{
	struct vm *vm = running(), *other = machine();
	FILE *f = tmpfile();
	struct err e = { 0 };

	go_to_sleep(vm);
	vm_pause(vm);
	assert_true(snapshot_save(vm, f, &e));
	vm_free(vm);
	rewind(f);
	if (!snapshot_load(other, f, &e) || !vm_start(other, &e))
		fail_msg("%s", e.msg);
	fclose(f);
	assert_int_equal(vm_status(other), VM_SUSPENDED);
	vm_power_button(other);
	wait_status(other, VM_RUNNING);
	vm_free(other);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_wake), cmocka_unit_test(test_wake_paused),
		cmocka_unit_test(test_saved_asleep),
	};

	if (access(PC_FIRMWARE, R_OK) || access(PC_VGABIOS_VIRTIO, R_OK)) {
		print_message("skipped: no SeaBIOS\n");
		return 0;
	}
	return cmocka_run_group_tests(tests, NULL, NULL);
}
