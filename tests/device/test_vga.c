/* SPDX-License-Identifier: MIT */
/* VGA: registers (IBM VGA Technical Reference), planes, text and VBE scan-out. */
#include "../lib/testvm.h"
#include "../../devices/vga.h"
#include "../../src/display.h"
#include "../../src/pci.h"
#include <stdio.h>
#include <unistd.h>

static struct pci_bus *buses[8];
static struct display *displays[8];
static unsigned nmade;

static void on_bus(struct device *d)
{
	struct pci_dev *p = (struct pci_dev *)d;

	assert_true(nmade < ARRAY_SIZE(buses) && !d->vm->display);
	p->bus = buses[nmade] = pci_bus_new(d->vm);
	p->devfn = PCI_DEVFN(2, 0);
	d->vm->display = displays[nmade++] = display_new();
}

/* The machines are gone. */
static int clean_up(void **st)
{
	while (nmade) {
		display_free(displays[--nmade]);
		pci_bus_free(buses[nmade]);
	}
	return 0;
}

static void seq(struct vm *vm, uint8_t i, uint8_t v)
{
	tvm_outb(vm, 0x3c4, i);
	tvm_outb(vm, 0x3c5, v);
}

static void gr(struct vm *vm, uint8_t i, uint8_t v)
{
	tvm_outb(vm, 0x3ce, i);
	tvm_outb(vm, 0x3cf, v);
}

static void crtc(struct vm *vm, uint8_t i, uint8_t v)
{
	tvm_outb(vm, 0x3d4, i);
	tvm_outb(vm, 0x3d5, v);
}

static void attr(struct vm *vm, uint8_t i, uint8_t v)
{
	tvm_inb(vm, 0x3da);
	tvm_outb(vm, 0x3c0, i);
	tvm_outb(vm, 0x3c0, v);
	tvm_outb(vm, 0x3c0, 0x20);
}

/* Mode 3 as a BIOS sets it: 80x25, 9x16 cells (Technical Reference, "BIOS modes"). */
static void mode3(struct vm *vm)
{
	static const uint8_t cr[] = { 0x5f, 0x4f, 0x50, 0x82, 0x55, 0x81, 0xbf, 0x1f, 0, 0x4f, 0x0d,
				      0x0e, 0, 0, 0, 0, 0x9c, 0x8e, 0x8f, 0x28, 0x1f, 0x96, 0xb9,
				      0xa3, 0xff };

	tvm_outb(vm, 0x3c2, 0x67);
	seq(vm, 1, 0);
	crtc(vm, 0x11, 0);	/* take the write protection off */
	for (unsigned i = 0; i < sizeof(cr); i++)
		if (i != 0x11)
			crtc(vm, (uint8_t)i, cr[i]);
	crtc(vm, 0x11, 0x8e);
	for (uint8_t i = 0; i < 16; i++)
		attr(vm, i, i);
	attr(vm, 0x10, 0x0c);
	attr(vm, 0x12, 0x0f);
	attr(vm, 0x13, 8);	/* nine dots: not panned */
	for (unsigned i = 0; i < 16; i++) {
		tvm_outb(vm, 0x3c8, (uint8_t)i);
		for (unsigned c = 0; c < 3; c++)
			tvm_outb(vm, 0x3c9, i >> (2 - c) & 1 ? 63 : 0);
	}
	/* font: plane 2, planar access; character 'A' = all dots, ' ' = none */
	seq(vm, 2, 4);
	seq(vm, 4, 6);
	gr(vm, 5, 0);
	gr(vm, 6, 0x04);
	gr(vm, 8, 0xff);
	for (unsigned y = 0; y < 16; y++)
		bus_write(vm->bus, BUS_MMIO, 0xa0000 + 'A' * 32 + y, 1, 0xff);
	seq(vm, 2, 3);
	seq(vm, 4, 2);
	gr(vm, 5, 0x10);
	gr(vm, 6, 0x0e);
}

static uint32_t pixel(struct vm *vm, unsigned x, unsigned y)
{
	struct surface *s = display_surface(vm->display);

	return s->pixels[y * s->stride + x];
}

/* A ROM with code page 437's first glyphs and one for 'A' at an odd place. */
static void on_bus_with_rom(struct device *d)
{
	static const uint8_t face[16] = { 0, 0, 0x7e, 0x81, 0xa5, 0x81, 0x81, 0xbd, 0x99, 0x81,
					  0x81, 0x7e };
	static const uint8_t a[16] = { 0, 0, 0x10, 0x38, 0x6c, 0xc6, 0xc6, 0xfe, 0xc6, 0xc6 };
	uint8_t rom[8192] = { 0x55, 0xaa };

	memcpy(rom + 333 + 16, face, 16);
	memcpy(rom + 333 + 'A' * 16, a, 16);
	on_bus(d);
	assert_true(vga_set_rom(d, rom, sizeof(rom), NULL));
}

static void test_start_text(void **st)
{
	struct vm *vm = tvm_new(MiB(1));
	struct device *d = tvm_add(vm, &vga_ops, "vga", on_bus_with_rom);
	char text[8192];

	assert_true(vga_has_font(d));
	vga_start_text(d);
	bus_write(vm->bus, BUS_MMIO, 0xb8000, 2, 0x1c41);	/* 'A', light red on blue */
	display_refresh(vm->display);
	assert_int_equal(display_surface(vm->display)->w, 720);
	assert_int_equal(display_surface(vm->display)->h, 400);
	assert_int_equal(pixel(vm, 3, 2), 0xff5555);	/* row 2 of the glyph: 00010000 */
	assert_int_equal(pixel(vm, 2, 2), 0x0000aa);
	assert_int_equal(pixel(vm, 0, 5), 0xff5555);	/* row 5: 11000110 */
	assert_int_equal(pixel(vm, 4, 5), 0x0000aa);
	assert_int_equal(pixel(vm, 300, 200), 0);
	assert_true(display_text(vm->display, text, sizeof(text)) > 0);
	assert_memory_equal(text, "A\n", 2);
	tvm_free(vm);
}

/* A ROM without a font, a font cut off by the end: none. */
static void cut_rom(struct device *d)
{
	uint8_t rom[4096] = { 0x55, 0xaa };

	memcpy(rom + 1000, "\0\0\x7e\x81\xa5\x81\x81\xbd\x99\x81\x81\x7e\0\0\0\0", 16);
	on_bus(d);
	assert_true(vga_set_rom(d, rom, sizeof(rom), NULL));
}

static void test_no_font(void **st)
{
	struct vm *vm = tvm_new(MiB(1)), *vm2 = tvm_new(MiB(1));

	assert_false(vga_has_font(tvm_add(vm, &vga_ops, "vga", on_bus)));
	assert_false(vga_has_font(tvm_add(vm2, &vga_ops, "vga", cut_rom)));
	tvm_free(vm);
	tvm_free(vm2);
}

static void test_text(void **st)
{
	struct vm *vm = tvm_new(MiB(1));
	struct rect r[DISPLAY_MAX_RECTS];
	bool resized;
	char text[8192];

	tvm_add(vm, &vga_ops, "vga", on_bus);
	mode3(vm);
	for (unsigned i = 0; i < 2000; i++)
		bus_write(vm->bus, BUS_MMIO, 0xb8000 + i * 2, 2, 0x0720);
	bus_write(vm->bus, BUS_MMIO, 0xb8000 + (80 + 2) * 2, 2, 0x1441); /* 'A', red on blue */
	assert_int_equal(bus_read(vm->bus, BUS_MMIO, 0xb8000 + (80 + 2) * 2, 2), 0x1441);
	display_refresh(vm->display);
	assert_int_equal(display_surface(vm->display)->w, 720);
	assert_int_equal(display_surface(vm->display)->h, 400);
	assert_int_equal(pixel(vm, 2 * 9, 16), 0xff0000);	/* colour 4 of the test palette */
	assert_int_equal(pixel(vm, 2 * 9 + 7, 31), 0xff0000);
	assert_int_equal(pixel(vm, 2 * 9 + 8, 16), 0x0000ff);	/* ninth dot: background */
	assert_int_equal(pixel(vm, 3 * 9, 16), 0);
	assert_true(display_text(vm->display, text, sizeof(text)) > 0);
	assert_memory_equal(text, "\n  A\n", 5);
	display_take_damage(vm->display, r, &resized);
	display_refresh(vm->display);	/* nothing changed: no damage */
	assert_int_equal(display_take_damage(vm->display, r, &resized), 0);
	bus_write(vm->bus, BUS_MMIO, 0xb8000 + 79 * 2, 2, 0x1441);
	display_refresh(vm->display);
	assert_int_equal(display_take_damage(vm->display, r, &resized), 1);
	assert_int_equal(r[0].x, 79 * 9);
	assert_int_equal(r[0].h, 16);
	tvm_free(vm);
}

static void test_planes(void **st)
{
	struct vm *vm = tvm_new(MiB(1));

	tvm_add(vm, &vga_ops, "vga", on_bus);
	tvm_outb(vm, 0x3c2, 1);
	seq(vm, 4, 6);
	gr(vm, 6, 5);
	gr(vm, 5, 0);
	gr(vm, 8, 0xff);
	seq(vm, 2, 0x0f);
	gr(vm, 0, 5);	/* set/reset planes 0 and 2 */
	gr(vm, 1, 0x0f);
	bus_write(vm->bus, BUS_MMIO, 0xa0010, 1, 0);
	for (uint8_t p = 0; p < 4; p++) {
		gr(vm, 4, p);
		assert_int_equal(bus_read(vm->bus, BUS_MMIO, 0xa0010, 1), p & 1 ? 0 : 0xff);
	}
	gr(vm, 5, 8);	/* read mode 1: colour compare with 5 */
	gr(vm, 2, 5);
	gr(vm, 7, 0x0f);
	assert_int_equal(bus_read(vm->bus, BUS_MMIO, 0xa0010, 1), 0xff);
	gr(vm, 2, 4);
	assert_int_equal(bus_read(vm->bus, BUS_MMIO, 0xa0010, 1), 0);
	gr(vm, 5, 2);	/* write mode 2 with a bit mask: one dot becomes colour 2 */
	gr(vm, 1, 0);
	gr(vm, 8, 0x80);
	bus_read(vm->bus, BUS_MMIO, 0xa0010, 1);
	bus_write(vm->bus, BUS_MMIO, 0xa0010, 1, 2);
	gr(vm, 5, 0);
	gr(vm, 4, 0);
	assert_int_equal(bus_read(vm->bus, BUS_MMIO, 0xa0010, 1), 0x7f);
	gr(vm, 4, 1);
	assert_int_equal(bus_read(vm->bus, BUS_MMIO, 0xa0010, 1), 0x80);
	tvm_free(vm);
}

static void vbe(struct vm *vm, uint16_t i, uint16_t v)
{
	tvm_outw(vm, 0x1ce, i);
	tvm_outw(vm, 0x1cf, v);
}

static void test_vbe(void **st)
{
	struct vm *vm = tvm_new(MiB(1));
	struct device *d = tvm_add(vm, &vga_ops, "vga", on_bus);
	struct pci_dev *p = (struct pci_dev *)d;
	uint32_t px = 0x00123456;
	struct err e;

	tvm_outw(vm, 0x1ce, 0);
	assert_int_equal(tvm_inw(vm, 0x1cf), 0xb0c5);
	vbe(vm, 1, 60000);	/* impossible: stays off */
	vbe(vm, 2, 60000);
	vbe(vm, 3, 32);
	vbe(vm, 4, 0x41);
	tvm_outw(vm, 0x1ce, 4);
	assert_int_equal(tvm_inw(vm, 0x1cf), 0);
	vbe(vm, 1, 640);
	vbe(vm, 2, 480);
	vbe(vm, 4, 0x41);
	pci_cfg_write(p->bus, p->devfn, PCI_BAR0, 4, 0xe0000000);
	pci_cfg_write(p->bus, p->devfn, PCI_COMMAND, 2, PCI_CMD_MEM | PCI_CMD_IO);
	assert_true(gm_write(vm->mem, GPA(0xe0000000 + (640 * 10 + 20) * 4), &px, 4));
	display_refresh(vm->display);
	assert_int_equal(display_surface(vm->display)->w, 640);
	assert_int_equal(pixel(vm, 20, 10), 0x123456);
	assert_true(display_screenshot(vm->display, "/tmp/hvrun-test-vga.png", &e));
	assert_int_equal(unlink("/tmp/hvrun-test-vga.png"), 0);
	assert_false(display_screenshot(vm->display, "/dev/null/x.png", &e));
	vbe(vm, 9, 0xffff);	/* scan-out far outside video memory: nothing is read */
	vbe(vm, 8, 0xffff);
	display_refresh(vm->display);
	tvm_free(vm);
}

/* Random register and window writes never leave video memory (run under ASan). */
static void test_storm(void **st)
{
	struct vm *vm = tvm_new(MiB(1));
	uint64_t x = 88172645463325252ull;

	tvm_add(vm, &vga_ops, "vga", on_bus);
	for (unsigned i = 0; i < 60000; i++) {
		x ^= x << 13;
		x ^= x >> 7;
		x ^= x << 17;
		if (x >> 40 & 1)
			tvm_outb(vm, (uint16_t)(0x3b0 + x % 0x30), (uint8_t)(x >> 32));
		else if (x >> 41 & 1)
			vbe(vm, (uint16_t)(x >> 8 & 15), (uint16_t)(x >> 16));
		else
			bus_write(vm->bus, BUS_MMIO, 0xa0000 + (x >> 20 & 0x1ffff),
				  1 << (x >> 44 & 3), x);
		if (i % 200 == 0)
			display_refresh(vm->display);
	}
	tvm_free(vm);
}

/* Technical Reference, CRTC 11h bits 4 and 5, input status 0 bit 7: set when a picture ends. */
static void test_vertical_interrupt(void **st)
{
	struct vm *vm = tvm_new(0);

	tvm_add(vm, &vga_ops, "vga", on_bus);
	mode3(vm);
	crtc(vm, 0x11, 0x0e);			/* bit 4 clear: held */
	tvm_advance(vm, 40 * NS_PER_MS);
	assert_int_equal(tvm_inb(vm, 0x3c2), 0x10);
	while (!(tvm_inb(vm, 0x3da) & 8))	/* into the retrace: the picture has just ended */
		tvm_advance(vm, 10 * NS_PER_US);
	crtc(vm, 0x11, 0x1e);
	assert_int_equal(tvm_inb(vm, 0x3c2), 0x10);
	tvm_advance(vm, 12 * NS_PER_MS);	/* 70 Hz: 14.3 ms */
	assert_int_equal(tvm_inb(vm, 0x3c2), 0x10);
	tvm_advance(vm, 3 * NS_PER_MS);
	assert_int_equal(tvm_inb(vm, 0x3c2), 0x90);
	crtc(vm, 0x11, 0x3e);			/* bit 5 only keeps it from the processor */
	assert_int_equal(tvm_inb(vm, 0x3c2), 0x90);
	crtc(vm, 0x11, 0x2e);
	assert_int_equal(tvm_inb(vm, 0x3c2), 0x10);
	crtc(vm, 0x11, 0x3e);
	tvm_advance(vm, 15 * NS_PER_MS);
	assert_int_equal(tvm_inb(vm, 0x3c2), 0x90);
	tvm_free(vm);
}

static void poke(struct vm *vm, struct device *d)
{
	mode3(vm);
	vbe(vm, 1, 800);
	vbe(vm, 2, 600);
	vbe(vm, 3, 16);
	vbe(vm, 4, 0x41);
}

static void test_state(void **st)
{
	tvm_check_roundtrip(&vga_ops, on_bus, poke);
	tvm_check_reset(&vga_ops, on_bus, poke);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_teardown(test_text, clean_up),
		cmocka_unit_test_teardown(test_planes, clean_up),
		cmocka_unit_test_teardown(test_start_text, clean_up),
		cmocka_unit_test_teardown(test_no_font, clean_up),
		cmocka_unit_test_teardown(test_vbe, clean_up),
		cmocka_unit_test_teardown(test_vertical_interrupt, clean_up),
		cmocka_unit_test_teardown(test_storm, clean_up),
		cmocka_unit_test_teardown(test_state, clean_up),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
