/* SPDX-License-Identifier: MIT */
/* virtio-vga through its queues (VIRTIO 1.2, 5.7): scanouts, blobs, cursor, resize, bad guests. */
#include "../lib/vguest.h"
#include "../../devices/edid.h"
#include "../../devices/vga.h"
#include "../../devices/virtio/gpu_int.h"
#include "../../src/display.h"
#include <stdlib.h>

#define F_EDID VIRTIO_BIT(1)
#define F_BLOB VIRTIO_BIT(3)
#define PIXELS 0x100000u	/* guest memory for images */
#define CMD 0x40000u
#define ANSWER 0x60000u
#define HDR 24u

enum {
	DISPLAY_INFO = 0x100, CREATE_2D, UNREF, SET_SCANOUT, FLUSH, TRANSFER, ATTACH, DETACH,
	EDID = 0x10a, CREATE_BLOB = 0x10c, SCANOUT_BLOB, UPDATE_CURSOR = 0x300,
	OK = 0x1100, OK_INFO, OK_EDID = 0x1104,
	E_UNSPEC = 0x1200, E_MEMORY, E_SCANOUT, E_RESOURCE, E_CONTEXT, E_PARAMETER,
};

static struct vm *vm;
static struct vguest g;
static struct vgq q[2];
static struct display *made[8];
static unsigned nmade;

static void wire(struct device *d)
{
	vg_give_bus(d);
	d->vm->display = made[nmade++] = display_new();
}

static void wire_three(struct device *d)
{
	wire(d);
	virtio_vga_set_outputs(d, 3);
}

static void start_in(struct vm *in, struct device *d)
{
	vm = in;
	vg_init(&g, vm, d);
	vg_cfg_wr(&g, PCI_BAR0, 4, 0xf0000000);
	vg_start(&g, F_EDID | F_BLOB, q, 2);
}

static void setup_with(void (*wiring)(struct device *d))
{
	struct vm *v = tvm_new(MiB(4));

	start_in(v, tvm_add(v, &virtio_vga_ops, "vga", wiring));
}

static int setup(void **st)
{
	setup_with(wire);
	return 0;
}

static int setup_three(void **st)
{
	setup_with(wire_three);
	return 0;
}

static int teardown(void **st)
{
	if (vm)
		tvm_free(vm);
	vm = NULL;
	vg_buses_free();
	while (nmade)
		display_free(made[--nmade]);
	return 0;
}

/* Send @n words behind a header of type @cmd with a fence; the answer's type. */
static uint32_t send_words(unsigned queue, uint32_t cmd, const uint32_t *w, unsigned n)
{
	uint8_t hdr[HDR] = { 0 }, got[HDR];
	uint32_t len;
	uint16_t head;

	st_le32(hdr, cmd);
	st_le32(hdr + 4, 1);
	st_le64(hdr + 8, 0x1122334455667788);
	vg_put(&g, CMD, hdr, HDR);
	vg_put(&g, CMD + HDR, w, n * 4ul);
	vg_add(&q[queue], (struct vgbuf[]){ { CMD, HDR + n * 4 }, { ANSWER, 2048 } }, 1, 1);
	vg_kick(&q[queue]);
	assert_true(vg_used(&q[queue], &head, &len));
	assert_true(len >= HDR);
	vg_get(&g, ANSWER, got, HDR);
	assert_int_equal(ld_le32(got + 4), 1);
	assert_true(ld_le64(got + 8) == 0x1122334455667788);
	return ld_le32(got);
}
#define SEND(cmd, ...) \
	send_words(0, cmd, (const uint32_t[]){ __VA_ARGS__ }, \
		   sizeof((const uint32_t[]){ __VA_ARGS__ }) / 4)

static uint32_t pixel(unsigned x, unsigned y)
{
	struct surface *s = display_surface(vm->display);

	return s->pixels[y * s->stride + x];
}

static void draw(uint64_t at, unsigned n, uint32_t first)
{
	for (unsigned i = 0; i < n; i++) {
		uint32_t p = first + i;

		vg_put(&g, at + i * 4, &p, 4);
	}
}

/* Resource 5, 64 x 32 BGRX: backing in three pieces that do not follow each other. */
static void make_2d(void)
{
	draw(PIXELS, 64 * 32, 0);
	vg_put(&g, PIXELS + 0x10000, "", 1);
	assert_int_equal(SEND(CREATE_2D, 5, 2, 64, 32), OK);
	assert_int_equal(SEND(ATTACH, 5, 3, PIXELS, 0, 100 * 4, 0, PIXELS + 400, 0, 1000 * 4, 0,
			      PIXELS + 4400, 0, 948 * 4, 0), OK);
}

static void test_2d(void **st)
{
	struct rect r[DISPLAY_MAX_RECTS];
	bool resized;

	make_2d();
	assert_int_equal(SEND(TRANSFER, 0, 0, 64, 32, 0, 0, 5, 0), OK);
	assert_int_equal(SEND(SET_SCANOUT, 0, 0, 64, 32, 0, 5), OK);
	display_refresh(vm->display);
	assert_int_equal(display_surface(vm->display)->w, 64);
	assert_int_equal(pixel(0, 0), 0);
	assert_int_equal(pixel(37, 1), 101);		/* across the first two pieces */
	assert_int_equal(pixel(63, 31), 64 * 32 - 1);
	/* A part: 8 x 4 at (10, 20); nothing is seen before the flush. */
	display_take_damage(vm->display, r, &resized);
	draw(PIXELS, 64 * 32, 0x1000);
	assert_int_equal(SEND(TRANSFER, 10, 20, 8, 4, (20 * 64 + 10) * 4, 0, 5, 0), OK);
	display_refresh(vm->display);
	assert_int_equal(display_take_damage(vm->display, r, &resized), 0);
	assert_int_equal(SEND(FLUSH, 10, 20, 8, 4, 5, 0), OK);
	display_refresh(vm->display);
	assert_int_equal(display_take_damage(vm->display, r, &resized), 1);
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
			vg_put(&g, PIXELS + p * 4, p == 5 * 16 + 6 ? bytes :
			       (const uint8_t[4]){ 0 }, 4);
		assert_int_equal(SEND(TRANSFER, 0, 0, 16, 16, 0, 0, 7, 0), OK);
		assert_int_equal(SEND(SET_SCANOUT, 4, 4, 8, 8, 0, 7), OK);
		display_refresh(vm->display);
		assert_int_equal(display_surface(vm->display)->w, 8);
		assert_int_equal(pixel(2, 1), f[i].shown);
		assert_int_equal(pixel(3, 1), 0);
		assert_int_equal(SEND(UNREF, 7, 0), OK);
	}
	display_refresh(vm->display);
	assert_true(display_blank(vm->display));	/* its resource is gone */
}

static void test_blob(void **st)
{
	draw(PIXELS, 4096, 0x2000);
	/* id, guest memory, flags, 1 entry, blob id 0, size 16384 */
	assert_int_equal(SEND(CREATE_BLOB, 9, 1, 2, 1, 0, 0, 16384, 0, PIXELS, 0, 16384, 0), OK);
	/* 20 x 10 of it, 40 pixels a line, from offset 80 */
	assert_int_equal(SEND(SCANOUT_BLOB, 0, 0, 20, 10, 0, 9, 20, 10, 2, 0, 160, 0, 0, 0, 80, 0,
			      0, 0), OK);
	display_refresh(vm->display);
	assert_int_equal(pixel(0, 0), 0x2000 + 20);
	assert_int_equal(pixel(19, 9), 0x2000 + 20 + 9 * 40 + 19);
	draw(PIXELS, 4096, 0x3000);			/* no transfer is needed */
	assert_int_equal(SEND(FLUSH, 3, 3, 1, 1, 9, 0), OK);
	display_refresh(vm->display);
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
	make_2d();
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
	draw(PIXELS, 256, 0x100);
	for (unsigned id = 1; id <= 3; id++) {
		assert_int_equal(SEND(CREATE_2D, id, 2, 4, 4), OK);
		assert_int_equal(SEND(ATTACH, id, 2, PIXELS + id * 64, 0, 32, 0,
				      PIXELS + id * 64 + 32, 0, 32, 0), OK);
	}
	assert_int_equal(SEND(UNREF, 2, 0), OK);
	assert_int_equal(SEND(TRANSFER, 0, 0, 4, 4, 0, 0, 3, 0), OK);
	assert_int_equal(SEND(SET_SCANOUT, 0, 0, 4, 4, 0, 3), OK);
	display_refresh(vm->display);
	assert_int_equal(pixel(3, 3), 0x100 + 3 * 16 + 15);
}

static void test_edid_and_resize(void **st)
{
	uint8_t info[40], edid[EDID_SIZE];
	unsigned sum = 0;

	assert_false(display_want_size(vm->display, 1000, 700));	/* no driver */
	make_2d();
	assert_int_equal(SEND(SET_SCANOUT, 0, 0, 64, 32, 0, 5), OK);
	assert_true(display_want_size(vm->display, 1001, 700));
	assert_int_equal(vg_rd(&g, VG_CONFIG, 4), 1);		/* events_read: display */
	vg_wr(&g, VG_CONFIG + 4, 4, 1);
	assert_int_equal(vg_rd(&g, VG_CONFIG, 4), 0);
	assert_int_equal(SEND(DISPLAY_INFO, 0), OK_INFO);
	vg_get(&g, ANSWER + HDR, info, sizeof(info));
	assert_int_equal(ld_le32(info + 8), 1000);
	assert_int_equal(ld_le32(info + 12), 700);
	assert_int_equal(ld_le32(info + 16), 1);
	assert_int_equal(ld_le32(info + 24 + 8), 0);
	assert_int_equal(SEND(EDID, 0, 0), OK_EDID);
	vg_get(&g, ANSWER + HDR + 8, edid, sizeof(edid));
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

	display_cursor(vm->display, &serial, &c);
	draw(PIXELS, 64 * 64, 0xff000000);
	assert_int_equal(SEND(CREATE_2D, 3, 1, 64, 64), OK);
	assert_int_equal(SEND(ATTACH, 3, 1, PIXELS, 0, 16384, 0), OK);
	assert_int_equal(SEND(TRANSFER, 0, 0, 64, 64, 0, 0, 3, 0), OK);
	assert_int_equal(send_words(1, UPDATE_CURSOR, (const uint32_t[]){ 0, 5, 6, 0, 3, 7, 200,
			 0 }, 8), OK);
	assert_true(display_cursor(vm->display, &serial, &c));
	assert_non_null(c);
	assert_true(c->visible && c->hot_x == 7 && c->hot_y == 63);
	assert_int_equal(c->argb[100], 0xff000064);
	assert_false(display_cursor(vm->display, &serial, &c));
	send_words(1, UPDATE_CURSOR, (const uint32_t[]){ 0, 5, 6, 0, 0, 0, 0, 0 }, 8);
	assert_true(display_cursor(vm->display, &serial, &c));
	assert_false(c->visible);
}

/* ---- several scanouts ---------------------------------------------------------- */
static struct display *screen(unsigned i)
{
	struct display *d = display_scanout(vm->display, i);

	assert_non_null(d);
	return d;
}

static uint32_t pixel_of(unsigned i, unsigned x, unsigned y)
{
	struct surface *s = display_surface(screen(i));

	assert_true(x < s->w && y < s->h);
	return s->pixels[y * s->stride + x];
}

/* Everything brought up to date, no damage left. */
static void look(void)
{
	struct rect r[DISPLAY_MAX_RECTS];
	bool resized;

	for (unsigned i = 0; i < 3; i++) {
		display_refresh(screen(i));
		display_take_damage(screen(i), r, &resized);
	}
}

/* What of scanout @i has changed since: one rectangle, or nothing with w 0. */
static struct rect changed(unsigned i)
{
	struct rect r[DISPLAY_MAX_RECTS] = { 0 };
	bool resized;
	unsigned n;

	display_refresh(screen(i));
	n = display_take_damage(screen(i), r, &resized);
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

	assert_int_equal(display_scanouts(vm->display), 3);
	assert_null(display_scanout(vm->display, 3));
	assert_int_equal(vg_rd(&g, VG_CONFIG + 8, 4), 3);
	make_2d();
	assert_int_equal(SEND(SET_SCANOUT, 0, 0, 64, 32, 0, 5), OK);
	assert_true(display_want_size(screen(1), 640, 480));
	assert_int_equal(vg_rd(&g, VG_CONFIG, 4), 1);
	assert_int_equal(SEND(DISPLAY_INFO, 0), OK_INFO);
	vg_get(&g, ANSWER + HDR, info, sizeof(info));
	for (unsigned i = 0; i < 16; i++) {
		static const unsigned x[3] = { 0, 1280, 1920 }, w[3] = { 1280, 640, 1024 };

		assert_int_equal(ld_le32(info + 24 * i), i < 3 ? x[i] : 0);
		assert_int_equal(ld_le32(info + 24 * i + 8), i < 3 ? w[i] : 0);
		assert_int_equal(ld_le32(info + 24 * i + 16), i < 3);
	}
	for (unsigned i = 0; i < 3; i++) {
		assert_int_equal(SEND(EDID, i, 0), OK_EDID);
		vg_get(&g, ANSWER + HDR + 8, edid[i], EDID_SIZE);
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
	make_2d();
	assert_int_equal(SEND(TRANSFER, 0, 0, 64, 32, 0, 0, 5, 0), OK);
	assert_int_equal(SEND(CREATE_2D, 6, 2, 16, 8), OK);
	assert_int_equal(SEND(ATTACH, 6, 1, PIXELS + 0x4000, 0, 512, 0), OK);
	draw(PIXELS + 0x4000, 128, 0x5000);
	assert_int_equal(SEND(TRANSFER, 0, 0, 16, 8, 0, 0, 6, 0), OK);
	assert_int_equal(SEND(SET_SCANOUT, 0, 0, 64, 32, 0, 5), OK);
	assert_int_equal(SEND(SET_SCANOUT, 0, 0, 16, 8, 1, 6), OK);
	look();
	assert_int_equal(pixel_of(0, 63, 31), 64 * 32 - 1);
	assert_int_equal(display_surface(screen(1))->w, 16);
	assert_int_equal(pixel_of(1, 15, 7), 0x507f);
	assert_true(display_blank(screen(2)) && !display_blank(screen(1)));
	assert_int_equal(display_text(screen(2), (char[16]){ 0 }, 16), 0);
	assert_int_equal(SEND(FLUSH, 2, 3, 4, 5, 6, 0), OK);
	assert_rect(changed(0), 0, 0, 0, 0);
	assert_rect(changed(1), 2, 3, 4, 5);
	assert_int_equal(SEND(UNREF, 6, 0), OK);
	look();
	assert_true(display_blank(screen(1)) && !display_blank(screen(0)));
	assert_int_equal(SEND(SET_SCANOUT, 0, 0, 0, 0, 0, 0), OK);
	look();
	assert_true(display_blank(screen(0)));
}

/* One picture that two scanouts show parts of, overlapping; a flush reaches each its part. */
static void test_scanouts_shared(void **st)
{
	struct display_place p;

	make_2d();
	assert_int_equal(SEND(TRANSFER, 0, 0, 64, 32, 0, 0, 5, 0), OK);
	assert_int_equal(SEND(SET_SCANOUT, 0, 0, 40, 32, 0, 5), OK);
	assert_int_equal(SEND(SET_SCANOUT, 32, 8, 32, 24, 2, 5), OK);
	look();
	assert_int_equal(pixel_of(0, 33, 9), 9 * 64 + 33);
	assert_int_equal(pixel_of(2, 1, 1), 9 * 64 + 33);
	draw(PIXELS, 64 * 32, 0x1000);
	assert_int_equal(SEND(TRANSFER, 0, 0, 64, 32, 0, 0, 5, 0), OK);
	assert_int_equal(SEND(FLUSH, 30, 4, 20, 8, 5, 0), OK);
	assert_rect(changed(0), 30, 4, 10, 8);
	assert_rect(changed(2), 0, 0, 18, 4);
	assert_int_equal(pixel_of(2, 17, 3), 0x1000 + 11 * 64 + 49);
	assert_int_equal(pixel_of(2, 18, 3), 11 * 64 + 50);
	assert_int_equal(SEND(FLUSH, 0, 0, 8, 8, 5, 0), OK);	/* not in the second one's */
	assert_rect(changed(0), 0, 0, 8, 8);
	assert_rect(changed(2), 0, 0, 0, 0);
	p = display_place(screen(2));
	assert_rect(p.r, 32, 8, 32, 24);
	assert_true(p.w == 64 && p.h == 32);
}

/* Where the pointer's positions are scaled to: two pictures are taken to be side by side. */
static void test_scanouts_place(void **st)
{
	struct display_place p;

	make_2d();
	assert_int_equal(SEND(CREATE_2D, 6, 2, 16, 48), OK);
	assert_int_equal(SEND(SET_SCANOUT, 8, 8, 32, 16, 0, 5), OK);
	look();
	p = display_place(screen(0));		/* alone: all there is */
	assert_rect(p.r, 0, 0, 32, 16);
	assert_true(p.w == 32 && p.h == 16);
	assert_int_equal(SEND(SET_SCANOUT, 0, 0, 16, 48, 1, 6), OK);
	look();
	p = display_place(screen(1));
	assert_rect(p.r, 32, 0, 16, 48);
	assert_true(p.w == 48 && p.h == 48);
	/* Parts of one blob that do not touch: where they are in it. */
	assert_int_equal(SEND(CREATE_BLOB, 9, 1, 2, 1, 0, 0, 16384, 0, PIXELS, 0, 16384, 0), OK);
	for (uint32_t i = 0; i < 2; i++)
		assert_int_equal(SEND(SCANOUT_BLOB, i * 30, 0, 20, 10, i, 9, 50, 10, 2, 0, 200, 0,
				      0, 0, 0, 0, 0, 0), OK);
	look();
	p = display_place(screen(1));
	assert_rect(p.r, 30, 0, 20, 10);
	assert_true(p.w == 50 && p.h == 10);
}

/* Scanout numbers that the device has not. */
static void test_scanouts_bad(void **st)
{
	static const uint32_t bad[] = { 3, 15, 16, 0x80000000, 0xffffffff };

	make_2d();
	assert_int_equal(SEND(CREATE_BLOB, 9, 1, 2, 1, 0, 0, 16384, 0, PIXELS, 0, 16384, 0), OK);
	for (unsigned i = 0; i < ARRAY_SIZE(bad); i++) {
		assert_int_equal(SEND(SET_SCANOUT, 0, 0, 64, 32, bad[i], 5), E_SCANOUT);
		assert_int_equal(SEND(SCANOUT_BLOB, 0, 0, 20, 10, bad[i], 9, 20, 10, 2, 0, 160, 0,
				      0, 0, 80, 0, 0, 0), E_SCANOUT);
		assert_int_equal(SEND(EDID, bad[i], 0), E_SCANOUT);
		assert_int_equal(send_words(1, UPDATE_CURSOR, (const uint32_t[]){ bad[i], 0, 0, 0,
				 5, 0, 0, 0 }, 8), E_SCANOUT);
	}
	assert_int_equal(SEND(SCANOUT_BLOB, 0, 0, 20, 10, 2, 9, 20, 10, 2, 0, 160, 0, 0, 0, 80, 0,
			      0, 0), OK);
	draw(PIXELS, 4096, 0x2000);
	look();
	assert_int_equal(pixel_of(2, 19, 9), 0x2000 + 20 + 9 * 40 + 19);
}

static void test_scanouts_cursor(void **st)
{
	const struct cursor *c = NULL;
	unsigned serial[2] = { 0 };

	draw(PIXELS, 64 * 64, 0xff000000);
	assert_int_equal(SEND(CREATE_2D, 3, 1, 64, 64), OK);
	assert_int_equal(SEND(ATTACH, 3, 1, PIXELS, 0, 16384, 0), OK);
	assert_int_equal(SEND(TRANSFER, 0, 0, 64, 64, 0, 0, 3, 0), OK);
	display_cursor(screen(0), &serial[0], &c);
	assert_int_equal(send_words(1, UPDATE_CURSOR, (const uint32_t[]){ 1, 5, 6, 0, 3, 7, 2, 0 },
			 8), OK);
	assert_false(display_cursor(screen(0), &serial[0], &c));
	assert_true(display_cursor(screen(1), &serial[1], &c));
	assert_true(c && c->visible && c->hot_x == 7);
	assert_int_equal(c->argb[9], 0xff000009);
}

/* A reset of the virtio part gives the screen back to the VGA. */
static void test_vga_returns(void **st)
{
	make_2d();
	assert_int_equal(SEND(SET_SCANOUT, 0, 0, 64, 32, 0, 5), OK);
	display_refresh(vm->display);
	assert_int_equal(display_surface(vm->display)->w, 64);
	vg_wr(&g, 0x14, 1, 0);
	tvm_outb(vm, 0x1ce, 0);		/* VBE answers all the while */
	bus_write(vm->bus, BUS_PIO, 0x1ce, 2, 1);
	bus_write(vm->bus, BUS_PIO, 0x1cf, 2, 320);
	bus_write(vm->bus, BUS_PIO, 0x1ce, 2, 2);
	bus_write(vm->bus, BUS_PIO, 0x1cf, 2, 200);
	bus_write(vm->bus, BUS_PIO, 0x1ce, 2, 3);
	bus_write(vm->bus, BUS_PIO, 0x1cf, 2, 32);
	bus_write(vm->bus, BUS_PIO, 0x1ce, 2, 4);
	bus_write(vm->bus, BUS_PIO, 0x1cf, 2, 0x41);
	bus_write(vm->bus, BUS_MMIO, 0xf0000000, 4, 0x123456);
	display_refresh(vm->display);
	assert_int_equal(display_surface(vm->display)->w, 320);
}

static void poke(struct vm *pvm, struct device *d)
{
	start_in(pvm, d);
	make_2d();
	SEND(TRANSFER, 0, 0, 64, 32, 0, 0, 5, 0);
	SEND(SET_SCANOUT, 0, 0, 64, 32, 0, 5);
	SEND(CREATE_BLOB, 9, 1, 2, 1, 0, 0, 16384, 0, PIXELS, 0, 16384, 0);
	display_want_size(vm->display, 900, 600);
	tvm_outb(vm, 0x3c4, 2);
	tvm_outb(vm, 0x3c5, 7);
}

static void poke_three(struct vm *pvm, struct device *d)
{
	poke(pvm, d);
	SEND(SCANOUT_BLOB, 0, 0, 20, 10, 1, 9, 20, 10, 2, 0, 160, 0, 0, 0, 80, 0, 0, 0);
	SEND(SET_SCANOUT, 8, 4, 16, 8, 2, 5);
	send_words(1, UPDATE_CURSOR, (const uint32_t[]){ 2, 5, 6, 0, 5, 7, 2, 0 }, 8);
	display_want_size(screen(1), 640, 480);
	display_want_size(screen(2), 800, 608);
}

static void test_roundtrip(void **st)
{
	tvm_check_roundtrip(&virtio_vga_ops, wire, poke);
	tvm_check_roundtrip(&virtio_vga_ops, wire_three, poke_three);
	vm = NULL;
}

static void test_reset(void **st)
{
	tvm_check_reset(&virtio_vga_ops, wire, poke);
	tvm_check_reset(&virtio_vga_ops, wire_three, poke_three);
	vm = NULL;
}

/* Saves the device, puts @was back and loads: whether the saved state was taken. */
static bool load_over(struct virtio_vga *v, const struct gpu *was)
{
	struct device *d = &g.v->pci.dev;
	struct state_buf b = { 0 };
	struct err e = { 0 };
	size_t pos = 0;
	bool ok;

	state_save_device(&b, d);
	v->gpu = *was;
	ok = state_load_device(d, b.data, b.len, &pos, &e);
	state_buf_free(&b);
	return ok;
}

/* A saved state with impossible backing is refused, and the device is as after a reset. */
static void test_hostile_load(void **st)
{
	static const struct { uint32_t first[2], n[2], nentries, want_w; bool ok; } rows[] = {
		{ { 0, 3 }, { 3, 1 }, 4, 800, true },
		{ { 0, 1 }, { 3, 1 }, 4, 800, false },		/* one entry of two */
		{ { 0, 0xfffffff0 }, { 3, 0x20 }, 4, 800, false },
		{ { 0xffffff00, 3 }, { 3, 1 }, 4, 800, false },
		{ { 0, 3 }, { 3, 1 }, 0xffffffff, 800, false },
		{ { 0, 0xffffff }, { 3, 0xffffff }, 4, ~0u, false },	/* refused before that */
	};
	struct gpu *was = hv_zalloc(sizeof(*was));

	for (unsigned i = 0; i < ARRAY_SIZE(rows); i++) {
		struct virtio_vga *v = virtio_vga_of(g.v);

		make_2d();
		assert_int_equal(SEND(CREATE_2D, 6, 2, 4, 4), OK);
		assert_int_equal(SEND(ATTACH, 6, 1, PIXELS, 0, 64, 0), OK);
		*was = v->gpu;
		for (unsigned j = 0; j < 2; j++) {
			v->gpu.res[j].first = rows[i].first[j];
			v->gpu.res[j].n = rows[i].n[j];
		}
		v->gpu.nentries = rows[i].nentries;
		v->gpu.head[0].want_w = rows[i].want_w;
		assert_int_equal(load_over(v, was), rows[i].ok);
		assert_int_equal(v->gpu.res[1].id, rows[i].ok ? 6 : 0);
		teardown(st);
		setup(st);
	}
	free(was);
}

/* Scanouts of a saved state: only as many as here, each possible. */
static void test_hostile_scanouts(void **st)
{
	static const struct { uint32_t nheads, head, res, x, want_h; bool ok; } rows[] = {
		{ 3, 2, 5, 0, 608, true }, { 3, 2, 5, 1, 608, false }, { 3, 2, 6, 0, 608, false },
		{ 3, 1, 0, 0, 4096, false }, { 2, 2, 5, 0, 608, false },
		{ 0xffffffff, 2, 5, 0, 608, false }, { 0, 2, 5, 0, 608, false },
	};
	struct gpu *was = hv_zalloc(sizeof(*was));

	for (unsigned i = 0; i < ARRAY_SIZE(rows); i++) {
		struct virtio_vga *v = virtio_vga_of(g.v);
		struct gpu_head *h = &v->gpu.head[rows[i].head];

		make_2d();
		*was = v->gpu;
		v->gpu.nheads = rows[i].nheads;
		h->scan = (struct gpu_scanout){ .res = rows[i].res, .r = { rows[i].x, 0, 64, 32 } };
		h->want_h = rows[i].want_h;
		assert_int_equal(load_over(v, was), rows[i].ok);
		assert_int_equal(v->gpu.nheads, 3);
		assert_int_equal(h->scan.res, rows[i].ok ? 5 : 0);
		look();
		teardown(st);
		setup_three(st);
	}
	free(was);
}

/* States of before there were several: the others are as after a reset. */
static void test_old_state(void **st)
{
	const struct device *d = &g.v->pci.dev;
	struct state_field old[40];
	struct state_buf b = { 0 };
	struct gpu *gpu = &virtio_vga_of(g.v)->gpu;
	struct err e = { 0 };
	size_t n = 0, pos = 0;

	make_2d();
	assert_int_equal(SEND(SET_SCANOUT, 4, 4, 32, 16, 0, 5), OK);
	display_want_size(vm->display, 900, 600);
	for (const struct state_field *f = virtio_vga_ops.state; n < 40; f++) {
		if (f->since <= 2)
			old[n++] = *f;
		if (f->kind == F_END)
			break;
	}
	assert_int_equal(old[n - 1].kind, F_END);
	state_save(&b, d->ops->name, d->id, 2, old, d);
	d->ops->reset((struct device *)(uintptr_t)d);
	assert_int_equal(gpu->head[0].scan.res, 0);
	assert_true(state_load_device(&g.v->pci.dev, b.data, b.len, &pos, &e));
	state_buf_free(&b);
	assert_true(gpu->active && gpu->head[0].scan.res == 5 && gpu->head[0].scan.r.w == 32);
	assert_int_equal(gpu->head[0].want_w, 896);
	assert_int_equal(gpu->nheads, 3);
	assert_true(!gpu->head[1].scan.res && gpu->head[1].want_w == 1024);
	look();
	assert_int_equal(pixel_of(0, 0, 0), 4 * 64 + 4);
	assert_true(display_blank(screen(1)));
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
		send_words(seed >> 16 & 1, cmds[(seed >> 20) % ARRAY_SIZE(cmds)], w, n);
		for (unsigned i = 0; !(round & 15) && i < display_scanouts(vm->display); i++)
			display_refresh(screen(i));
	}
}

#define CASE(t) cmocka_unit_test_setup_teardown(t, setup, teardown)
#define THREE(t) cmocka_unit_test_setup_teardown(t, setup_three, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		CASE(test_2d), CASE(test_part_and_formats), CASE(test_blob),
		CASE(test_bad_commands), CASE(test_backing_moves), CASE(test_edid_and_resize),
		CASE(test_cursor), CASE(test_vga_returns), CASE(test_fuzz),
		CASE(test_hostile_load), THREE(test_scanouts_listed), THREE(test_scanouts_apart),
		THREE(test_scanouts_shared), THREE(test_scanouts_place), THREE(test_scanouts_bad),
		THREE(test_scanouts_cursor), THREE(test_fuzz), THREE(test_hostile_scanouts),
		THREE(test_old_state),
		cmocka_unit_test_teardown(test_roundtrip, teardown),
		cmocka_unit_test_teardown(test_reset, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
