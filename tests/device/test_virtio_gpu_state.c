/* SPDX-License-Identifier: MIT */
/* The state of virtio-vga: saved and loaded, reset, hostile, of an older version. */
#include "../lib/gpuguest.h"
#include <stdlib.h>

static void poke(struct vm *pvm, struct device *d)
{
	gg_start_in(pvm, d);
	gg_make_2d();
	SEND(TRANSFER, 0, 0, 64, 32, 0, 0, 5, 0);
	SEND(SET_SCANOUT, 0, 0, 64, 32, 0, 5);
	SEND(CREATE_BLOB, 9, 1, 2, 1, 0, 0, 16384, 0, PIXELS, 0, 16384, 0);
	display_want_size(gg.vm->display, 900, 600);
	tvm_outb(gg.vm, 0x3c4, 2);
	tvm_outb(gg.vm, 0x3c5, 7);
}

static void poke_three(struct vm *pvm, struct device *d)
{
	poke(pvm, d);
	SEND(SCANOUT_BLOB, 0, 0, 20, 10, 1, 9, 20, 10, 2, 0, 160, 0, 0, 0, 80, 0, 0, 0);
	SEND(SET_SCANOUT, 8, 4, 16, 8, 2, 5);
	gg_send(1, UPDATE_CURSOR, (const uint32_t[]){ 2, 5, 6, 0, 5, 7, 2, 0 }, 8);
	display_want_size(gg_screen(1), 640, 480);
	display_want_size(gg_screen(2), 800, 608);
}

static void test_roundtrip(void **st)
{
	tvm_check_roundtrip(&virtio_vga_ops, gg_wire, poke);
	tvm_check_roundtrip(&virtio_vga_ops, gg_wire_three, poke_three);
	gg.vm = NULL;
}

static void test_reset(void **st)
{
	tvm_check_reset(&virtio_vga_ops, gg_wire, poke);
	tvm_check_reset(&virtio_vga_ops, gg_wire_three, poke_three);
	gg.vm = NULL;
}

/* Saves the device, puts @was back and loads: whether the saved state was taken. */
static bool load_over(struct virtio_vga *v, const struct gpu *was)
{
	struct device *d = &gg.g.v->pci.dev;
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
		struct virtio_vga *v = virtio_vga_of(gg.g.v);

		gg_make_2d();
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
		gg_teardown(st);
		gg_setup(st);
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
		struct virtio_vga *v = virtio_vga_of(gg.g.v);
		struct gpu_head *h = &v->gpu.head[rows[i].head];

		gg_make_2d();
		*was = v->gpu;
		v->gpu.nheads = rows[i].nheads;
		h->scan = (struct gpu_scanout){ .res = rows[i].res, .r = { rows[i].x, 0, 64, 32 } };
		h->want_h = rows[i].want_h;
		assert_int_equal(load_over(v, was), rows[i].ok);
		assert_int_equal(v->gpu.nheads, 3);
		assert_int_equal(h->scan.res, rows[i].ok ? 5 : 0);
		gg_look();
		gg_teardown(st);
		gg_setup_three(st);
	}
	free(was);
}

/* States of before there were several: the others are as after a reset. */
static void test_old_state(void **st)
{
	const struct device *d = &gg.g.v->pci.dev;
	struct state_field old[40];
	struct state_buf b = { 0 };
	struct gpu *gpu = &virtio_vga_of(gg.g.v)->gpu;
	struct err e = { 0 };
	size_t n = 0, pos = 0;

	gg_make_2d();
	assert_int_equal(SEND(SET_SCANOUT, 4, 4, 32, 16, 0, 5), OK);
	display_want_size(gg.vm->display, 900, 600);
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
	assert_true(state_load_device(&gg.g.v->pci.dev, b.data, b.len, &pos, &e));
	state_buf_free(&b);
	assert_true(gpu->active && gpu->head[0].scan.res == 5 && gpu->head[0].scan.r.w == 32);
	assert_int_equal(gpu->head[0].want_w, 896);
	assert_int_equal(gpu->nheads, 3);
	assert_true(!gpu->head[1].scan.res && gpu->head[1].want_w == 1024);
	gg_look();
	assert_int_equal(gg_pixel(0, 0, 0), 4 * 64 + 4);
	assert_true(display_blank(gg_screen(1)));
}

#define CASE(t) cmocka_unit_test_setup_teardown(t, gg_setup, gg_teardown)
#define THREE(t) cmocka_unit_test_setup_teardown(t, gg_setup_three, gg_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		CASE(test_hostile_load), THREE(test_hostile_scanouts), THREE(test_old_state),
		cmocka_unit_test_teardown(test_roundtrip, gg_teardown),
		cmocka_unit_test_teardown(test_reset, gg_teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
