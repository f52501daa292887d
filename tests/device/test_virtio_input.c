/* SPDX-License-Identifier: MIT */
/* Virtio keyboard and tablet (VIRTIO 1.2, 5.8): events, configuration, who gets the input. */
#include "../lib/vguest.h"
#include "../../src/input.h"
#include <linux/input-event-codes.h>
#include <stdlib.h>

#define BUF 0x80000u

static struct vm *vm;
static struct vguest g;
static struct vgq q[2];
static struct input *made[8];
static unsigned nmade, ps2_keys, ps2_moves, next_buf;

static void ps2_key(void *dev, uint16_t hid, bool down) { ps2_keys++; }
static void ps2_rel(void *dev, int dx, int dy, int dz, unsigned b) { ps2_moves++; }

static void wire(struct device *d)
{
	static const struct input_ops ps2 = { .key = ps2_key, .rel = ps2_rel };

	vg_give_bus(d);
	d->vm->input = made[nmade++] = input_new();
	input_add(d->vm->input, &ps2, NULL);
}

static void start(const struct device_ops *ops)
{
	vm = tvm_new(MiB(2));
	ps2_keys = ps2_moves = next_buf = 0;
	vg_init(&g, vm, tvm_add(vm, ops, "in0", wire));
}

static int teardown(void **st)
{
	if (vm)
		tvm_free(vm);
	vm = NULL;
	vg_buses_free();
	while (nmade)
		input_free(made[--nmade]);
	return 0;
}

static void give_buffers(unsigned n)
{
	for (unsigned i = 0; i < n; i++)
		vg_add(&q[0], &(struct vgbuf){ BUF + 8 * (next_buf++ % 1024), 8 }, 0, 1);
	vg_kick(&q[0]);
}

/* The next event arrived, at the @n-th buffer. */
static void expect_event(unsigned n, unsigned type, unsigned code, uint32_t value)
{
	uint8_t raw[8];
	uint16_t head;
	uint32_t len;

	assert_true(vg_used(&q[0], &head, &len));
	assert_int_equal(len, 8);
	vg_get(&g, BUF + 8 * n, raw, 8);
	assert_int_equal(ld_le16(raw), type);
	assert_int_equal(ld_le16(raw + 2), code);
	assert_int_equal(ld_le32(raw + 4), value);
}

static void expect_none(void)
{
	uint16_t head;
	uint32_t len;

	assert_false(vg_used(&q[0], &head, &len));
}

static void test_keyboard(void **st)
{
	start(&virtio_keyboard_ops);
	input_key(vm->input, 0x04, true);	/* no driver: PS/2 */
	input_key(vm->input, 0x04, false);
	assert_int_equal(ps2_keys, 2);
	vg_start(&g, 0, q, 2);
	give_buffers(3);
	input_key(vm->input, 0x04, true);
	assert_int_equal(ps2_keys, 2);
	expect_event(0, EV_KEY, KEY_A, 1);
	expect_event(1, EV_SYN, SYN_REPORT, 0);
	input_key(vm->input, 0x04, false);
	expect_event(2, EV_KEY, KEY_A, 0);
	expect_none();				/* the report waits for a buffer */
	give_buffers(1);
	expect_event(3, EV_SYN, SYN_REPORT, 0);
	input_key(vm->input, 0xfe, true);	/* no such key */
	give_buffers(2);
	expect_none();
	input_key(vm->input, 0xe7, true);
	expect_event(4, EV_KEY, KEY_RIGHTMETA, 1);
	expect_event(5, EV_SYN, SYN_REPORT, 0);
}

static void test_tablet(void **st)
{
	start(&virtio_tablet_ops);
	assert_false(input_has_abs(vm->input));
	vg_start(&g, 0, q, 2);
	assert_true(input_has_abs(vm->input));
	give_buffers(32);
	input_abs(vm->input, 100, 32767, 0, MOUSE_LEFT);
	expect_event(0, EV_ABS, ABS_X, 100);
	expect_event(1, EV_ABS, ABS_Y, 32767);
	expect_event(2, EV_KEY, BTN_LEFT, 1);
	expect_event(3, EV_SYN, SYN_REPORT, 0);
	input_abs(vm->input, 100, 5, -1, MOUSE_MIDDLE | MOUSE_EXTRA);
	expect_event(4, EV_ABS, ABS_X, 100);
	expect_event(5, EV_ABS, ABS_Y, 5);
	expect_event(6, EV_KEY, BTN_LEFT, 0);
	expect_event(7, EV_KEY, BTN_MIDDLE, 1);
	expect_event(8, EV_KEY, BTN_EXTRA, 1);
	expect_event(9, EV_REL, REL_WHEEL, (uint32_t)-1);
	expect_event(10, EV_SYN, SYN_REPORT, 0);
	input_key(vm->input, 4, true);		/* not the tablet's */
	assert_int_equal(ps2_keys, 1);
}

/* A guest that does not listen for a while gets the last state when it does. */
static void test_not_listening(void **st)
{
	unsigned n = 0;
	uint16_t head;
	uint32_t len;
	uint8_t raw[8];

	start(&virtio_tablet_ops);
	vg_start(&g, 0, q, 2);
	input_abs(vm->input, 1, 1, 0, MOUSE_LEFT);
	for (unsigned i = 0; i < 1000; i++)
		input_abs(vm->input, i, i, 0, MOUSE_LEFT);
	for (unsigned before = 1; before != n;) {
		before = n;
		give_buffers(16);
		while (vg_used(&q[0], &head, &len))
			n++;
	}
	assert_true(n > 200 && n <= 257);	/* bounded, whole packets */
	input_abs(vm->input, 7, 8, 0, 0);
	vg_get(&g, BUF + 8 * ((n + 2) % 1024), raw, 8);
	assert_int_equal(ld_le16(raw + 2), BTN_LEFT);
	assert_int_equal(ld_le32(raw + 4), 0);	/* the release is not lost */
}

static uint8_t config(unsigned select, unsigned subsel, uint8_t *u, unsigned n)
{
	vg_wr(&g, VG_CONFIG, 1, select);
	vg_wr(&g, VG_CONFIG + 1, 1, subsel);
	for (unsigned i = 0; i < n; i++)
		u[i] = (uint8_t)vg_rd(&g, VG_CONFIG + 8 + i, 1);
	return (uint8_t)vg_rd(&g, VG_CONFIG + 2, 1);
}

static void test_config(void **st)
{
	uint8_t u[128];

	start(&virtio_tablet_ops);
	assert_int_equal(config(1, 0, u, 12), 12);
	assert_memory_equal(u, "hvrun Tablet", 12);
	assert_int_equal(config(3, 0, u, 8), 8);
	assert_int_equal(config(0x11, EV_ABS, u, 1), 1);
	assert_int_equal(u[0], 3);
	assert_true(config(0x11, EV_KEY, u, 128) > BTN_LEFT / 8);
	assert_true(u[BTN_LEFT / 8] >> (BTN_LEFT & 7) & 1);
	assert_int_equal(config(0x11, EV_LED, u, 1), 0);
	assert_int_equal(config(0x12, ABS_Y, u, 20), 20);
	assert_int_equal(ld_le32(u), 0);
	assert_int_equal(ld_le32(u + 4), 32767);
	assert_int_equal(config(0x12, 40, u, 1), 0);
	assert_int_equal(config(0x77, 0xff, u, 1), 0);
}

static void test_leds(void **st)
{
	uint8_t raw[8] = { 0 };

	start(&virtio_keyboard_ops);
	vg_start(&g, 0, q, 2);
	st_le16(raw, EV_LED);
	st_le16(raw + 2, LED_CAPSL);
	st_le32(raw + 4, 1);
	vg_put(&g, BUF, raw, 8);
	vg_add(&q[1], &(struct vgbuf){ BUF, 8 }, 1, 0);
	vg_kick(&q[1]);
	assert_int_equal(input_leds(vm->input), 2);
	st_le16(raw + 2, 40);		/* no such light */
	vg_put(&g, BUF, raw, 8);
	vg_add(&q[1], &(struct vgbuf){ BUF, 5 }, 1, 0);	/* short */
	vg_add(&q[1], &(struct vgbuf){ BUF, 8 }, 1, 0);
	vg_kick(&q[1]);
	assert_int_equal(input_leds(vm->input), 2);
}

static void poke(struct vm *pvm, struct device *d)
{
	vm = pvm;
	vg_init(&g, pvm, d);
	vg_start(&g, 0, q, 2);
	input_abs(vm->input, 5, 6, 1, MOUSE_RIGHT);
	vg_wr(&g, VG_CONFIG, 1, 0x11);
	vg_wr(&g, VG_CONFIG + 1, 1, 3);
}

static void test_roundtrip(void **st)
{
	tvm_check_roundtrip(&virtio_tablet_ops, wire, poke);
	vm = NULL;
}

static void test_reset(void **st)
{
	tvm_check_reset(&virtio_tablet_ops, wire, poke);
	vm = NULL;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_teardown(test_keyboard, teardown),
		cmocka_unit_test_teardown(test_tablet, teardown),
		cmocka_unit_test_teardown(test_not_listening, teardown),
		cmocka_unit_test_teardown(test_config, teardown),
		cmocka_unit_test_teardown(test_leds, teardown),
		cmocka_unit_test_teardown(test_roundtrip, teardown),
		cmocka_unit_test_teardown(test_reset, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
