/* SPDX-License-Identifier: MIT */
/*
 * virtio-vga through its queues (VIRTIO 1.2, 5.7): scanouts, blobs, cursor,
 * resize, bad guests; test_virtio_gpu_outputs.c has more than one screen,
 * test_virtio_gpu_state.c its saved state.
 */
#include "../lib/gpuguest.h"

static uint32_t pixel(unsigned x, unsigned y)
{
	struct surface *s = display_surface(gg.vm->display);

	return s->pixels[y * s->stride + x];
}

static void test_2d(void **st)
{
	struct rect r[DISPLAY_MAX_RECTS];
	bool resized;

	gg_make_2d();
	assert_int_equal(SEND(TRANSFER, 0, 0, 64, 32, 0, 0, 5, 0), OK);
	assert_int_equal(SEND(SET_SCANOUT, 0, 0, 64, 32, 0, 5), OK);
	display_refresh(gg.vm->display);
	assert_int_equal(display_surface(gg.vm->display)->w, 64);
	assert_int_equal(pixel(0, 0), 0);
	assert_int_equal(pixel(37, 1), 101);		/* across the first two pieces */
	assert_int_equal(pixel(63, 31), 64 * 32 - 1);
	/* A part: 8 x 4 at (10, 20); nothing is seen before the flush. */
	display_take_damage(gg.vm->display, r, &resized);
	gg_draw(PIXELS, 64 * 32, 0x1000);
	assert_int_equal(SEND(TRANSFER, 10, 20, 8, 4, (20 * 64 + 10) * 4, 0, 5, 0), OK);
	display_refresh(gg.vm->display);
	assert_int_equal(display_take_damage(gg.vm->display, r, &resized), 0);
	assert_int_equal(SEND(FLUSH, 10, 20, 8, 4, 5, 0), OK);
	display_refresh(gg.vm->display);
	assert_int_equal(display_take_damage(gg.vm->display, r, &resized), 1);
	assert_true(r[0].x == 10 && r[0].y == 20 && r[0].w == 8 && r[0].h == 4);
	assert_int_equal(pixel(10, 20), 0x1000 + 20 * 64 + 10);
	assert_int_equal(pixel(17, 23), 0x1000 + 23 * 64 + 17);
	assert_int_equal(pixel(9, 20), 20 * 64 + 9);
}

/* Only a part of a resource is shown; formats keep their byte order. */
static void test_part_and_formats(void **st)
{
	static const struct { uint32_t format, shown; } f[] = {
		{ 1, 0x332211 }, { 2, 0x332211 }, { 3, 0x223344 }, { 4, 0x223344 },
		{ 67, 0x112233 }, { 134, 0x112233 }, { 68, 0x443322 }, { 121, 0x443322 },
	};
	static const uint8_t bytes[4] = { 0x11, 0x22, 0x33, 0x44 };

	for (unsigned i = 0; i < ARRAY_SIZE(f); i++) {
		assert_int_equal(SEND(CREATE_2D, 7, f[i].format, 16, 16), OK);
		assert_int_equal(SEND(ATTACH, 7, 1, PIXELS, 0, 1024, 0), OK);
		for (unsigned p = 0; p < 256; p++)
			vg_put(&gg.g, PIXELS + p * 4, p == 5 * 16 + 6 ? bytes :
			       (const uint8_t[4]){ 0 }, 4);
		assert_int_equal(SEND(TRANSFER, 0, 0, 16, 16, 0, 0, 7, 0), OK);
		assert_int_equal(SEND(SET_SCANOUT, 4, 4, 8, 8, 0, 7), OK);
		display_refresh(gg.vm->display);
		assert_int_equal(display_surface(gg.vm->display)->w, 8);
		assert_int_equal(pixel(2, 1), f[i].shown);
		assert_int_equal(pixel(3, 1), 0);
		assert_int_equal(SEND(UNREF, 7, 0), OK);
	}
	display_refresh(gg.vm->display);
	assert_true(display_blank(gg.vm->display));	/* its resource is gone */
}

static void test_blob(void **st)
{
	gg_draw(PIXELS, 4096, 0x2000);
	/* id, guest memory, flags, 1 entry, blob id 0, size 16384 */
	assert_int_equal(SEND(CREATE_BLOB, 9, 1, 2, 1, 0, 0, 16384, 0, PIXELS, 0, 16384, 0), OK);
	/* 20 x 10 of it, 40 pixels a line, from offset 80 */
	assert_int_equal(SEND(SCANOUT_BLOB, 0, 0, 20, 10, 0, 9, 20, 10, 2, 0, 160, 0, 0, 0, 80, 0,
			      0, 0), OK);
	display_refresh(gg.vm->display);
	assert_int_equal(pixel(0, 0), 0x2000 + 20);
	assert_int_equal(pixel(19, 9), 0x2000 + 20 + 9 * 40 + 19);
	gg_draw(PIXELS, 4096, 0x3000);			/* no transfer is needed */
	assert_int_equal(SEND(FLUSH, 3, 3, 1, 1, 9, 0), OK);
	display_refresh(gg.vm->display);
	assert_int_equal(pixel(3, 3), 0x3000 + 20 + 3 * 40 + 3);
	assert_int_equal(pixel(4, 3), 0x2000 + 20 + 3 * 40 + 4);
	/* Lines behind the blob's end */
	assert_int_equal(SEND(SCANOUT_BLOB, 0, 0, 20, 103, 0, 9, 20, 103, 2, 0, 160, 0, 0, 0, 80,
			      0, 0, 0), E_PARAMETER);
	assert_int_equal(SEND(SCANOUT_BLOB, 0, 0, 20, 10, 0, 9, 20, 10, 2, 0, 0xffffffff, 0, 0, 0,
			      80, 0, 0, 0), E_PARAMETER);
}

static void test_bad_commands(void **st)
{
	gg_make_2d();
	assert_int_equal(SEND(CREATE_2D, 5, 2, 64, 32), E_RESOURCE);
	assert_int_equal(SEND(CREATE_2D, 0, 2, 64, 32), E_RESOURCE);
	assert_int_equal(SEND(CREATE_2D, 6, 5, 64, 32), E_PARAMETER);
	assert_int_equal(SEND(CREATE_2D, 6, 2, 0, 32), E_PARAMETER);
	assert_int_equal(SEND(CREATE_2D, 6, 2, 8193, 32), E_PARAMETER);
	assert_int_equal(SEND(CREATE_2D, 6, 2, 8192, 8000), OK);
	assert_int_equal(SEND(CREATE_2D, 7, 2, 8192, 8192), E_MEMORY);
	assert_int_equal(SEND(TRANSFER, 0, 0, 65, 32, 0, 0, 5, 0), E_PARAMETER);
	assert_int_equal(SEND(TRANSFER, 1, 0, 0xffffffff, 32, 0, 0, 5, 0), E_PARAMETER);
	assert_int_equal(SEND(TRANSFER, 0, 0, 64, 32, 4, 0, 5, 0), E_UNSPEC);	/* too far */
	assert_int_equal(SEND(TRANSFER, 0, 0, 8, 8, 0, 0x80000000, 5, 0), E_PARAMETER);
	assert_int_equal(SEND(TRANSFER, 0, 0, 8, 8, 0, 0, 99, 0), E_RESOURCE);
	assert_int_equal(SEND(SET_SCANOUT, 0, 0, 64, 33, 0, 5), E_PARAMETER);
	assert_int_equal(SEND(SET_SCANOUT, 0, 0, 64, 32, 1, 5), E_SCANOUT);
	assert_int_equal(SEND(SET_SCANOUT, 0, 0, 64, 32, 0, 8), E_RESOURCE);
	assert_int_equal(SEND(ATTACH, 5, 1, PIXELS, 0, 16, 0), E_UNSPEC);	/* has one */
	assert_int_equal(SEND(ATTACH, 6, 100, PIXELS, 0, 16, 0), E_PARAMETER);	/* list too short */
	assert_int_equal(SEND(ATTACH, 6, 0xffffffff, PIXELS, 0, 16, 0), E_PARAMETER);
	assert_int_equal(SEND(ATTACH, 6, 1, 0xf0000000, 0xf, 16, 0), OK);	/* not RAM */
	assert_int_equal(SEND(TRANSFER, 0, 0, 1, 1, 0, 0, 6, 0), E_UNSPEC);
	assert_int_equal(SEND(DETACH, 6, 0), OK);
	assert_int_equal(SEND(FLUSH, 0, 0, 1, 1, 77, 0), E_RESOURCE);
	assert_int_equal(SEND(CREATE_BLOB, 9, 2, 2, 1, 0, 0, 16384, 0, PIXELS, 0, 16384, 0),
			 E_PARAMETER);
	assert_int_equal(SEND(0x999, 1), E_UNSPEC);
	assert_int_equal(SEND(TRANSFER, 0, 0, 64), E_UNSPEC);	/* cut off */
	assert_int_equal(SEND(TRANSFER, 0, 0, 64, 32, 0, 0, 5, 0), OK);	/* still works */
}

/* The tables are packed: a resource in the middle goes, the others keep their backing. */
static void test_backing_moves(void **st)
{
	gg_draw(PIXELS, 256, 0x100);
	for (unsigned id = 1; id <= 3; id++) {
		assert_int_equal(SEND(CREATE_2D, id, 2, 4, 4), OK);
		assert_int_equal(SEND(ATTACH, id, 2, PIXELS + id * 64, 0, 32, 0,
				      PIXELS + id * 64 + 32, 0, 32, 0), OK);
	}
	assert_int_equal(SEND(UNREF, 2, 0), OK);
	assert_int_equal(SEND(TRANSFER, 0, 0, 4, 4, 0, 0, 3, 0), OK);
	assert_int_equal(SEND(SET_SCANOUT, 0, 0, 4, 4, 0, 3), OK);
	display_refresh(gg.vm->display);
	assert_int_equal(pixel(3, 3), 0x100 + 3 * 16 + 15);
}

static void test_edid_and_resize(void **st)
{
	uint8_t info[40], edid[EDID_SIZE];
	unsigned sum = 0;

	assert_false(display_want_size(gg.vm->display, 1000, 700));	/* no driver */
	gg_make_2d();
	assert_int_equal(SEND(SET_SCANOUT, 0, 0, 64, 32, 0, 5), OK);
	assert_true(display_want_size(gg.vm->display, 1001, 700));
	assert_int_equal(vg_rd(&gg.g, VG_CONFIG, 4), 1);		/* events_read: display */
	vg_wr(&gg.g, VG_CONFIG + 4, 4, 1);
	assert_int_equal(vg_rd(&gg.g, VG_CONFIG, 4), 0);
	assert_int_equal(SEND(DISPLAY_INFO, 0), OK_INFO);
	vg_get(&gg.g, ANSWER + HDR, info, sizeof(info));
	assert_int_equal(ld_le32(info + 8), 1000);
	assert_int_equal(ld_le32(info + 12), 700);
	assert_int_equal(ld_le32(info + 16), 1);
	assert_int_equal(ld_le32(info + 24 + 8), 0);
	assert_int_equal(SEND(EDID, 0, 0), OK_EDID);
	vg_get(&gg.g, ANSWER + HDR + 8, edid, sizeof(edid));
	for (unsigned i = 0; i < EDID_SIZE; i++)
		sum += edid[i];
	assert_int_equal(sum & 255, 0);
	assert_int_equal(edid[54 + 2] | (edid[54 + 4] & 0xf0) << 4, 1000);
	assert_int_equal(edid[54 + 5] | (edid[54 + 7] & 0xf0) << 4, 700);
	assert_int_equal(SEND(EDID, 1, 0), E_SCANOUT);
}

static void test_cursor(void **st)
{
	const struct cursor *c = NULL;
	unsigned serial = 0;

	display_cursor(gg.vm->display, &serial, &c);
	gg_draw(PIXELS, 64 * 64, 0xff000000);
	assert_int_equal(SEND(CREATE_2D, 3, 1, 64, 64), OK);
	assert_int_equal(SEND(ATTACH, 3, 1, PIXELS, 0, 16384, 0), OK);
	assert_int_equal(SEND(TRANSFER, 0, 0, 64, 64, 0, 0, 3, 0), OK);
	assert_int_equal(gg_send(1, UPDATE_CURSOR, (const uint32_t[]){ 0, 5, 6, 0, 3, 7, 200,
			 0 }, 8), OK);
	assert_true(display_cursor(gg.vm->display, &serial, &c));
	assert_non_null(c);
	assert_true(c->visible && c->hot_x == 7 && c->hot_y == 63);
	assert_int_equal(c->argb[100], 0xff000064);
	assert_false(display_cursor(gg.vm->display, &serial, &c));
	gg_send(1, UPDATE_CURSOR, (const uint32_t[]){ 0, 5, 6, 0, 0, 0, 0, 0 }, 8);
	assert_true(display_cursor(gg.vm->display, &serial, &c));
	assert_false(c->visible);
}

/* A reset of the virtio part gives the screen back to the VGA. */
static void test_vga_returns(void **st)
{
	gg_make_2d();
	assert_int_equal(SEND(SET_SCANOUT, 0, 0, 64, 32, 0, 5), OK);
	display_refresh(gg.vm->display);
	assert_int_equal(display_surface(gg.vm->display)->w, 64);
	vg_wr(&gg.g, 0x14, 1, 0);
	tvm_outb(gg.vm, 0x1ce, 0);		/* VBE answers all the while */
	bus_write(gg.vm->bus, BUS_PIO, 0x1ce, 2, 1);
	bus_write(gg.vm->bus, BUS_PIO, 0x1cf, 2, 320);
	bus_write(gg.vm->bus, BUS_PIO, 0x1ce, 2, 2);
	bus_write(gg.vm->bus, BUS_PIO, 0x1cf, 2, 200);
	bus_write(gg.vm->bus, BUS_PIO, 0x1ce, 2, 3);
	bus_write(gg.vm->bus, BUS_PIO, 0x1cf, 2, 32);
	bus_write(gg.vm->bus, BUS_PIO, 0x1ce, 2, 4);
	bus_write(gg.vm->bus, BUS_PIO, 0x1cf, 2, 0x41);
	bus_write(gg.vm->bus, BUS_MMIO, 0xf0000000, 4, 0x123456);
	display_refresh(gg.vm->display);
	assert_int_equal(display_surface(gg.vm->display)->w, 320);
}

/* Any words, any order: answered, never more. */
static void test_fuzz(void **st)
{
	static const uint32_t cmds[] = { DISPLAY_INFO, CREATE_2D, UNREF, SET_SCANOUT, FLUSH,
					 TRANSFER, ATTACH, DETACH, EDID, CREATE_BLOB, SCANOUT_BLOB,
					 UPDATE_CURSOR, 0x301, 0x10b };
	static const uint32_t values[] = { 0, 1, 2, 3, 4, 8, 16, 64, 67, 160, 4096, PIXELS,
					   0xffffffff, 0x80000000, 8192, 1000 };
	uint32_t seed = 7, w[32];

	for (unsigned round = 0; round < 40000; round++) {
		unsigned n = seed >> 8 & 31;

		for (unsigned i = 0; i < n; i++) {
			seed = seed * 1664525 + 1013904223;
			w[i] = values[seed >> 20 & 15];
		}
		seed = seed * 1664525 + 1013904223;
		gg_send(seed >> 16 & 1, cmds[(seed >> 20) % ARRAY_SIZE(cmds)], w, n);
		for (unsigned i = 0; !(round & 15) && i < display_scanouts(gg.vm->display); i++)
			display_refresh(gg_screen(i));
	}
}

#define CASE(t) cmocka_unit_test_setup_teardown(t, gg_setup, gg_teardown)
#define THREE(t) cmocka_unit_test_setup_teardown(t, gg_setup_three, gg_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		CASE(test_2d), CASE(test_part_and_formats), CASE(test_blob),
		CASE(test_bad_commands), CASE(test_backing_moves), CASE(test_edid_and_resize),
		CASE(test_cursor), CASE(test_vga_returns), CASE(test_fuzz), THREE(test_fuzz),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
