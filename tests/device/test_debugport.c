/* SPDX-License-Identifier: MIT */
/* Debug-exit and debug console ports. */
#include "../../devices/debugport.h"
#include "../../src/chardev.h"
#include "../lib/testvm.h"

static struct chardev *chr;
static char seen[32];
static size_t seen_len;

static void tap(void *opaque, const uint8_t *buf, size_t len)
{
	for (size_t i = 0; i < len && seen_len < sizeof(seen); i++)
		seen[seen_len++] = (char)buf[i];
}

static void wire_exit(struct device *d) { debugexit_wire(d, 0xf4, 4); }
static void wire_con(struct device *d) { debugcon_wire(d, 0xe9, chr); }
static void wire_log(struct device *d) { debugcon_wire(d, 0x402, NULL); }

static unsigned exits, exit_value;

static void notify(void *opaque, enum vm_event ev, unsigned arg)
{
	exits += ev == VM_EV_DEBUG_EXIT;
	exit_value = arg;
}

static void test_exit(void **state)
{
	struct vm *vm = tvm_new(0);

	vm->notify = notify;
	tvm_add(vm, &debugexit_ops, "exit", wire_exit);
	tvm_inb(vm, 0xf4);
	assert_int_equal(exits, 0);
	tvm_outl(vm, 0xf4, 0x12);
	assert_int_equal(exits, 1);
	assert_int_equal(exit_value, 0x12);
	tvm_free(vm);
}

static void test_console(void **state)
{
	struct char_tap t = { .output = tap };
	struct vm *vm = tvm_new(0);
	struct err e;

	chr = chardev_open("null", NULL, &e);
	chardev_add_tap(chr, &t);
	tvm_add(vm, &debugcon_ops, "con", wire_con);
	assert_int_equal(tvm_inb(vm, 0xe9), 0xe9);
	tvm_outb(vm, 0xe9, 'o');
	tvm_outb(vm, 0xe9, 'k');
	assert_int_equal(seen_len, 2);
	assert_memory_equal(seen, "ok", 2);
	tvm_free(vm);
	chardev_close(chr);
	chr = NULL;
}

/* A line of any length, without an end, stays inside its buffer. */
static void poke(struct vm *vm, struct device *d)
{
	for (unsigned i = 0; i < 1003; i++)
		tvm_outb(vm, 0x402, (uint8_t)(i % 255 + 11));
}

static void test_roundtrip(void **state)
{
	tvm_check_roundtrip(&debugcon_ops, wire_log, poke);
}

static void test_reset(void **state)
{
	tvm_check_reset(&debugcon_ops, wire_log, poke);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_exit), cmocka_unit_test(test_console),
		cmocka_unit_test(test_roundtrip), cmocka_unit_test(test_reset),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
