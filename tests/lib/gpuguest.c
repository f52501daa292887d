/* SPDX-License-Identifier: MIT */
/* Tests of virtio-vga; see gpuguest.h. */
#include "gpuguest.h"

struct gpuguest gg;

void gg_wire(struct device *d)
{
	vg_give_bus(d);
	d->vm->display = gg.made[gg.nmade++] = display_new();
}

void gg_wire_three(struct device *d)
{
	gg_wire(d);
	virtio_vga_set_outputs(d, 3);
}

void gg_start_in(struct vm *in, struct device *d)
{
	gg.vm = in;
	vg_init(&gg.g, gg.vm, d);
	vg_cfg_wr(&gg.g, PCI_BAR0, 4, 0xf0000000);
	vg_start(&gg.g, F_EDID | F_BLOB, gg.q, 2);
}

static void setup_with(void (*wiring)(struct device *d))
{
	struct vm *v = tvm_new(MiB(4));

	gg_start_in(v, tvm_add(v, &virtio_vga_ops, "vga", wiring));
}

int gg_setup(void **st)
{
	setup_with(gg_wire);
	return 0;
}

int gg_setup_three(void **st)
{
	setup_with(gg_wire_three);
	return 0;
}

int gg_teardown(void **st)
{
	if (gg.vm)
		tvm_free(gg.vm);
	gg.vm = NULL;
	vg_buses_free();
	while (gg.nmade)
		display_free(gg.made[--gg.nmade]);
	return 0;
}

uint32_t gg_send(unsigned queue, uint32_t cmd, const uint32_t *w, unsigned n)
{
	uint8_t hdr[HDR] = { 0 }, got[HDR];
	uint32_t len;
	uint16_t head;

	st_le32(hdr, cmd);
	st_le32(hdr + 4, 1);
	st_le64(hdr + 8, 0x1122334455667788);
	vg_put(&gg.g, CMD, hdr, HDR);
	vg_put(&gg.g, CMD + HDR, w, n * 4ul);
	vg_add(&gg.q[queue], (struct vgbuf[]){ { CMD, HDR + n * 4 }, { ANSWER, 2048 } }, 1, 1);
	vg_kick(&gg.q[queue]);
	assert_true(vg_used(&gg.q[queue], &head, &len));
	assert_true(len >= HDR);
	vg_get(&gg.g, ANSWER, got, HDR);
	assert_int_equal(ld_le32(got + 4), 1);
	assert_true(ld_le64(got + 8) == 0x1122334455667788);
	return ld_le32(got);
}

void gg_draw(uint64_t at, unsigned n, uint32_t first)
{
	for (unsigned i = 0; i < n; i++) {
		uint32_t p = first + i;

		vg_put(&gg.g, at + i * 4, &p, 4);
	}
}

void gg_make_2d(void)
{
	gg_draw(PIXELS, 64 * 32, 0);
	vg_put(&gg.g, PIXELS + 0x10000, "", 1);
	assert_int_equal(SEND(CREATE_2D, 5, 2, 64, 32), OK);
	assert_int_equal(SEND(ATTACH, 5, 3, PIXELS, 0, 100 * 4, 0, PIXELS + 400, 0, 1000 * 4, 0,
			      PIXELS + 4400, 0, 948 * 4, 0), OK);
}

struct display *gg_screen(unsigned i)
{
	struct display *d = display_scanout(gg.vm->display, i);

	assert_non_null(d);
	return d;
}

uint32_t gg_pixel(unsigned i, unsigned x, unsigned y)
{
	struct surface *s = display_surface(gg_screen(i));

	assert_true(x < s->w && y < s->h);
	return s->pixels[y * s->stride + x];
}

void gg_look(void)
{
	struct rect r[DISPLAY_MAX_RECTS];
	bool resized;

	for (unsigned i = 0; i < 3; i++) {
		display_refresh(gg_screen(i));
		display_take_damage(gg_screen(i), r, &resized);
	}
}
