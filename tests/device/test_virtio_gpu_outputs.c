/* SPDX-License-Identifier: MIT */
/* virtio-vga with three outputs (VIRTIO 1.2, 5.7). */
#include "../lib/gpuguest.h"

/* What of scanout @i has changed since: one rectangle, or nothing with w 0. */
static struct rect changed(unsigned i)
{
	struct rect r[DISPLAY_MAX_RECTS] = { 0 };
	bool resized;
	unsigned n;

	display_refresh(gg_screen(i));
	n = display_take_damage(gg_screen(i), r, &resized);
	assert_true(n <= 1 && !resized);
	return n ? r[0] : (struct rect){ 0 };
}

static void assert_rect(struct rect got, unsigned x, unsigned y, unsigned w, unsigned h)
{
	if (got.x != x || got.y != y || got.w != w || got.h != h)
		fail_msg("%u,%u %ux%u instead of %u,%u %ux%u", got.x, got.y, got.w, got.h, x, y, w,
			 h);
}

/* 5.7.4, 5.7.6.8: as many as the board gave, side by side, each with an EDID of its own. */
static void test_scanouts_listed(void **st)
{
	uint8_t info[16 * 24], edid[3][EDID_SIZE];

	assert_int_equal(display_scanouts(gg.vm->display), 3);
	assert_null(display_scanout(gg.vm->display, 3));
	assert_int_equal(vg_rd(&gg.g, VG_CONFIG + 8, 4), 3);
	gg_make_2d();
	assert_int_equal(SEND(SET_SCANOUT, 0, 0, 64, 32, 0, 5), OK);
	assert_true(display_want_size(gg_screen(1), 640, 480));
	assert_int_equal(vg_rd(&gg.g, VG_CONFIG, 4), 1);
	assert_int_equal(SEND(DISPLAY_INFO, 0), OK_INFO);
	vg_get(&gg.g, ANSWER + HDR, info, sizeof(info));
	for (unsigned i = 0; i < 16; i++) {
		static const unsigned x[3] = { 0, 1280, 1920 }, w[3] = { 1280, 640, 1024 };

		assert_int_equal(ld_le32(info + 24 * i), i < 3 ? x[i] : 0);
		assert_int_equal(ld_le32(info + 24 * i + 8), i < 3 ? w[i] : 0);
		assert_int_equal(ld_le32(info + 24 * i + 16), i < 3);
	}
	for (unsigned i = 0; i < 3; i++) {
		assert_int_equal(SEND(EDID, i, 0), OK_EDID);
		vg_get(&gg.g, ANSWER + HDR + 8, edid[i], EDID_SIZE);
		assert_int_equal(ld_le32(edid[i] + 12), i + 1);
		assert_int_equal(edid[i][113], '1' + i);
	}
	assert_memory_equal(edid[0] + 95, "hvrun\n", 6);
	assert_memory_equal(edid[2] + 95, "hvrun 3\n", 8);
	assert_int_equal(edid[1][54 + 2] | (edid[1][54 + 4] & 0xf0) << 4, 640);
	assert_int_equal(SEND(EDID, 3, 0), E_SCANOUT);
}

/* A resource each; scanout 2 stays off. */
static void test_scanouts_apart(void **st)
{
	gg_make_2d();
	assert_int_equal(SEND(TRANSFER, 0, 0, 64, 32, 0, 0, 5, 0), OK);
	assert_int_equal(SEND(CREATE_2D, 6, 2, 16, 8), OK);
	assert_int_equal(SEND(ATTACH, 6, 1, PIXELS + 0x4000, 0, 512, 0), OK);
	gg_draw(PIXELS + 0x4000, 128, 0x5000);
	assert_int_equal(SEND(TRANSFER, 0, 0, 16, 8, 0, 0, 6, 0), OK);
	assert_int_equal(SEND(SET_SCANOUT, 0, 0, 64, 32, 0, 5), OK);
	assert_int_equal(SEND(SET_SCANOUT, 0, 0, 16, 8, 1, 6), OK);
	gg_look();
	assert_int_equal(gg_pixel(0, 63, 31), 64 * 32 - 1);
	assert_int_equal(display_surface(gg_screen(1))->w, 16);
	assert_int_equal(gg_pixel(1, 15, 7), 0x507f);
	assert_true(display_blank(gg_screen(2)) && !display_blank(gg_screen(1)));
	assert_int_equal(display_text(gg_screen(2), (char[16]){ 0 }, 16), 0);
	assert_int_equal(SEND(FLUSH, 2, 3, 4, 5, 6, 0), OK);
	assert_rect(changed(0), 0, 0, 0, 0);
	assert_rect(changed(1), 2, 3, 4, 5);
	assert_int_equal(SEND(UNREF, 6, 0), OK);
	gg_look();
	assert_true(display_blank(gg_screen(1)) && !display_blank(gg_screen(0)));
	assert_int_equal(SEND(SET_SCANOUT, 0, 0, 0, 0, 0, 0), OK);
	gg_look();
	assert_true(display_blank(gg_screen(0)));
}

/* One picture that two scanouts show parts of, overlapping; a flush reaches each its part. */
static void test_scanouts_shared(void **st)
{
	struct display_place p;

	gg_make_2d();
	assert_int_equal(SEND(TRANSFER, 0, 0, 64, 32, 0, 0, 5, 0), OK);
	assert_int_equal(SEND(SET_SCANOUT, 0, 0, 40, 32, 0, 5), OK);
	assert_int_equal(SEND(SET_SCANOUT, 32, 8, 32, 24, 2, 5), OK);
	gg_look();
	assert_int_equal(gg_pixel(0, 33, 9), 9 * 64 + 33);
	assert_int_equal(gg_pixel(2, 1, 1), 9 * 64 + 33);
	gg_draw(PIXELS, 64 * 32, 0x1000);
	assert_int_equal(SEND(TRANSFER, 0, 0, 64, 32, 0, 0, 5, 0), OK);
	assert_int_equal(SEND(FLUSH, 30, 4, 20, 8, 5, 0), OK);
	assert_rect(changed(0), 30, 4, 10, 8);
	assert_rect(changed(2), 0, 0, 18, 4);
	assert_int_equal(gg_pixel(2, 17, 3), 0x1000 + 11 * 64 + 49);
	assert_int_equal(gg_pixel(2, 18, 3), 11 * 64 + 50);
	assert_int_equal(SEND(FLUSH, 0, 0, 8, 8, 5, 0), OK);	/* not in the second one's */
	assert_rect(changed(0), 0, 0, 8, 8);
	assert_rect(changed(2), 0, 0, 0, 0);
	p = display_place(gg_screen(2));
	assert_rect(p.r, 32, 8, 32, 24);
	assert_true(p.w == 64 && p.h == 32);
}

/* Where the pointer's positions are scaled to: two pictures are taken to be side by side. */
static void test_scanouts_place(void **st)
{
	struct display_place p;

	gg_make_2d();
	assert_int_equal(SEND(CREATE_2D, 6, 2, 16, 48), OK);
	assert_int_equal(SEND(SET_SCANOUT, 8, 8, 32, 16, 0, 5), OK);
	gg_look();
	p = display_place(gg_screen(0));		/* alone: all there is */
	assert_rect(p.r, 0, 0, 32, 16);
	assert_true(p.w == 32 && p.h == 16);
	assert_int_equal(SEND(SET_SCANOUT, 0, 0, 16, 48, 1, 6), OK);
	gg_look();
	p = display_place(gg_screen(1));
	assert_rect(p.r, 32, 0, 16, 48);
	assert_true(p.w == 48 && p.h == 48);
	/* Parts of one blob that do not touch: where they are in it. */
	assert_int_equal(SEND(CREATE_BLOB, 9, 1, 2, 1, 0, 0, 16384, 0, PIXELS, 0, 16384, 0), OK);
	for (uint32_t i = 0; i < 2; i++)
		assert_int_equal(SEND(SCANOUT_BLOB, i * 30, 0, 20, 10, i, 9, 50, 10, 2, 0, 200, 0,
				      0, 0, 0, 0, 0, 0), OK);
	gg_look();
	p = display_place(gg_screen(1));
	assert_rect(p.r, 30, 0, 20, 10);
	assert_true(p.w == 50 && p.h == 10);
}

/* Scanout numbers that the device has not. */
static void test_scanouts_bad(void **st)
{
	static const uint32_t bad[] = { 3, 15, 16, 0x80000000, 0xffffffff };

	gg_make_2d();
	assert_int_equal(SEND(CREATE_BLOB, 9, 1, 2, 1, 0, 0, 16384, 0, PIXELS, 0, 16384, 0), OK);
	for (unsigned i = 0; i < ARRAY_SIZE(bad); i++) {
		assert_int_equal(SEND(SET_SCANOUT, 0, 0, 64, 32, bad[i], 5), E_SCANOUT);
		assert_int_equal(SEND(SCANOUT_BLOB, 0, 0, 20, 10, bad[i], 9, 20, 10, 2, 0, 160, 0,
				      0, 0, 80, 0, 0, 0), E_SCANOUT);
		assert_int_equal(SEND(EDID, bad[i], 0), E_SCANOUT);
		assert_int_equal(gg_send(1, UPDATE_CURSOR, (const uint32_t[]){ bad[i], 0, 0, 0,
				 5, 0, 0, 0 }, 8), E_SCANOUT);
	}
	assert_int_equal(SEND(SCANOUT_BLOB, 0, 0, 20, 10, 2, 9, 20, 10, 2, 0, 160, 0, 0, 0, 80, 0,
			      0, 0), OK);
	gg_draw(PIXELS, 4096, 0x2000);
	gg_look();
	assert_int_equal(gg_pixel(2, 19, 9), 0x2000 + 20 + 9 * 40 + 19);
}

static void test_scanouts_cursor(void **st)
{
	const struct cursor *c = NULL;
	unsigned serial[2] = { 0 };

	gg_draw(PIXELS, 64 * 64, 0xff000000);
	assert_int_equal(SEND(CREATE_2D, 3, 1, 64, 64), OK);
	assert_int_equal(SEND(ATTACH, 3, 1, PIXELS, 0, 16384, 0), OK);
	assert_int_equal(SEND(TRANSFER, 0, 0, 64, 64, 0, 0, 3, 0), OK);
	display_cursor(gg_screen(0), &serial[0], &c);
	assert_int_equal(gg_send(1, UPDATE_CURSOR, (const uint32_t[]){ 1, 5, 6, 0, 3, 7, 2, 0 },
			 8), OK);
	assert_false(display_cursor(gg_screen(0), &serial[0], &c));
	assert_true(display_cursor(gg_screen(1), &serial[1], &c));
	assert_true(c && c->visible && c->hot_x == 7);
	assert_int_equal(c->argb[9], 0xff000009);
}

#define THREE(t) cmocka_unit_test_setup_teardown(t, gg_setup_three, gg_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		THREE(test_scanouts_listed), THREE(test_scanouts_apart),
		THREE(test_scanouts_shared), THREE(test_scanouts_place), THREE(test_scanouts_bad),
		THREE(test_scanouts_cursor),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
