/* SPDX-License-Identifier: MIT */
/* The input seam: routing, releases, LEDs. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "../../src/input.h"

struct rec {
	unsigned downs, ups, rels, abss, buttons, x, y;
};

static void key(void *dev, uint16_t hid, bool down)
{
	struct rec *r = dev;

	r->downs += down;
	r->ups += !down;
}

static void rel(void *dev, int dx, int dy, int dz, unsigned buttons)
{
	struct rec *r = dev;

	r->rels++;
	r->buttons = buttons;
}

static void abs_(void *dev, unsigned x, unsigned y, int dz, unsigned buttons)
{
	struct rec *r = dev;

	r->abss++;
	r->buttons = buttons;
	r->x = x;
	r->y = y;
}

static const struct input_ops kbd = { .key = key }, mouse = { .rel = rel };
static const struct input_ops tablet = { .abs = abs_ };

/* The device added last takes the event. */
static void test_routing(void **state)
{
	struct input *in = input_new();
	struct rec a = { 0 }, b = { 0 }, m = { 0 }, t = { 0 };

	input_key(in, 4, true);			/* nobody there */
	input_add(in, &kbd, &a);
	input_add(in, &mouse, &m);
	assert_false(input_has_abs(in));
	input_add(in, &kbd, &b);
	input_add(in, &tablet, &t);
	assert_true(input_has_abs(in));
	input_key(in, 5, true);
	input_rel(in, 1, 1, 0, 1);
	input_abs(in, 40000, 5, 0, 2);
	assert_int_equal(a.downs, 0);
	assert_int_equal(b.downs, 1);
	assert_int_equal(m.rels, 1);
	assert_int_equal(t.x, 32767);
	assert_int_equal(t.buttons, 2);
	input_free(in);
}

/* Key-ups without key-down are dropped; release_all ends everything, once. */
static void test_release_all(void **state)
{
	struct input *in = input_new();
	struct rec k = { 0 }, m = { 0 };

	input_add(in, &kbd, &k);
	input_add(in, &mouse, &m);
	input_key(in, 9, false);
	input_key(in, 0xffff, true);
	assert_int_equal(k.ups + k.downs, 0);
	input_key(in, 4, true);
	input_key(in, 4, true);			/* auto-repeat passes */
	input_key(in, 0xe7, true);
	input_rel(in, 0, 0, 0, MOUSE_LEFT);
	assert_int_equal(k.downs, 3);
	input_release_all(in);
	assert_int_equal(k.ups, 2);
	assert_int_equal(m.buttons, 0);
	input_release_all(in);
	assert_int_equal(k.ups, 2);
	assert_int_equal(m.rels, 2);
	input_free(in);
}

static void test_leds(void **state)
{
	struct input *in = input_new();

	input_set_leds(in, 0xff);
	assert_int_equal(input_leds(in), 7);
	input_free(in);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_routing), cmocka_unit_test(test_release_all),
		cmocka_unit_test(test_leds),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
