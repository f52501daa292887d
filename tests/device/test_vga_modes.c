/* SPDX-License-Identifier: MIT */
/*
 * VGA pictures, dot by dot.  Each mode is programmed with the register values
 * of the IBM VGA Technical Reference ("BIOS modes"), memory is filled through
 * the window, and every dot of the picture is compared with one computed here
 * from the mode's documented layout.
 */
#include "../lib/testvm.h"
#include "../../devices/vga.h"
#include "../../src/display.h"
#include "../../src/pci.h"

static struct pci_bus *bus;
static struct display *display;

static void on_bus(struct device *d)
{
	struct pci_dev *p = (struct pci_dev *)d;

	p->bus = bus = pci_bus_new(d->vm);
	p->devfn = PCI_DEVFN(2, 0);
	d->vm->display = display = display_new();
}

static struct vm *machine(void)
{
	struct vm *vm = tvm_new(MiB(1));

	tvm_add(vm, &vga_ops, "vga", on_bus);
	return vm;
}

static void done(struct vm *vm)
{
	tvm_free(vm);
	display_free(display);
	pci_bus_free(bus);
}

static void reg(struct vm *vm, uint16_t port, uint8_t i, uint8_t v)
{
	tvm_outb(vm, port, i);
	tvm_outb(vm, port + 1, v);
}

#define SEQ 0x3c4
#define GR 0x3ce
#define CRTC 0x3d4

static void attr(struct vm *vm, uint8_t i, uint8_t v)
{
	tvm_inb(vm, 0x3da);
	tvm_outb(vm, 0x3c0, i);
	tvm_outb(vm, 0x3c0, v);
	tvm_outb(vm, 0x3c0, 0x20);
}

struct mode {
	uint8_t misc, seq[5], cr[25], gr[9], at16[5];
};

static const struct mode m13 = { 0x63, { 3, 1, 15, 0, 14 },
	{ 0x5f, 0x4f, 0x50, 0x82, 0x54, 0x80, 0xbf, 0x1f, 0, 0x41, 0, 0, 0, 0, 0, 0, 0x9c, 0x8e,
	  0x8f, 0x28, 0x40, 0x96, 0xb9, 0xa3, 0xff },
	{ 0, 0, 0, 0, 0, 0x40, 5, 15, 0xff }, { 0x41, 0, 15, 0, 0 } };
static const struct mode m12 = { 0xe3, { 3, 1, 15, 0, 6 },
	{ 0x5f, 0x4f, 0x50, 0x82, 0x54, 0x80, 0x0b, 0x3e, 0, 0x40, 0, 0, 0, 0, 0, 0, 0xea, 0x8c,
	  0xdf, 0x28, 0, 0xe7, 4, 0xe3, 0xff },
	{ 0, 0, 0, 0, 0, 0, 5, 15, 0xff }, { 1, 0, 15, 0, 0 } };
static const struct mode m0d = { 0x63, { 3, 9, 15, 0, 6 },
	{ 0x2d, 0x27, 0x28, 0x90, 0x2b, 0x80, 0xbf, 0x1f, 0, 0xc0, 0, 0, 0, 0, 0, 0, 0x9c, 0x8e,
	  0x8f, 0x14, 0, 0x96, 0xb9, 0xe3, 0xff },
	{ 0, 0, 0, 0, 0, 0, 5, 15, 0xff }, { 1, 0, 15, 0, 0 } };
static const struct mode m04 = { 0x63, { 3, 9, 3, 0, 2 },
	{ 0x2d, 0x27, 0x28, 0x90, 0x2b, 0x80, 0xbf, 0x1f, 0, 0xc1, 0, 0, 0, 0, 0, 0, 0x9c, 0x8e,
	  0x8f, 0x14, 0, 0x96, 0xb9, 0xa2, 0xff },
	{ 0, 0, 0, 0, 0, 0x30, 15, 0, 0xff }, { 1, 0, 3, 0, 0 } };
static const struct mode m06 = { 0x63, { 3, 1, 1, 0, 6 },
	{ 0x5f, 0x4f, 0x50, 0x82, 0x54, 0x80, 0xbf, 0x1f, 0, 0xc1, 0, 0, 0, 0, 0, 0, 0x9c, 0x8e,
	  0x8f, 0x28, 0, 0x96, 0xb9, 0xc2, 0xff },
	{ 0, 0, 0, 0, 0, 0, 13, 0, 0xff }, { 1, 0, 1, 0, 0 } };
static const struct mode m03 = { 0x67, { 3, 0, 3, 0, 2 },
	{ 0x5f, 0x4f, 0x50, 0x82, 0x55, 0x81, 0xbf, 0x1f, 0, 0x4f, 0x20, 14, 0, 0, 0, 0, 0x9c, 0x8e,
	  0x8f, 0x28, 0x1f, 0x96, 0xb9, 0xa3, 0xff },
	{ 0, 0, 0, 0, 0, 0x10, 14, 0, 0xff }, { 0x0c, 0, 15, 8, 0 } };
static const struct mode m01 = { 0x67, { 3, 8, 3, 0, 2 },
	{ 0x2d, 0x27, 0x28, 0x90, 0x2b, 0xa0, 0xbf, 0x1f, 0, 0x4f, 0x20, 14, 0, 0, 0, 0, 0x9c, 0x8e,
	  0x8f, 0x14, 0x1f, 0x96, 0xb9, 0xa3, 0xff },
	{ 0, 0, 0, 0, 0, 0x10, 14, 0, 0xff }, { 0x0c, 0, 15, 8, 0 } };

/* DAC entry i, 6 bits a colour; all 256 differ. */
static unsigned dac6(unsigned i, unsigned c)
{
	return c == 0 ? i & 63 : c == 1 ? i >> 6 | (i & 3) << 4 : (i * 5) & 63;
}

static uint32_t rgb(unsigned i)
{
	return dac6(i, 0) * 255 / 63 << 16 | dac6(i, 1) * 255 / 63 << 8 | dac6(i, 2) * 255 / 63;
}

/* The palette registers are the identity, except where a test sets them. */
static void set_mode(struct vm *vm, const struct mode *m)
{
	tvm_outb(vm, 0x3c2, m->misc);
	for (uint8_t i = 0; i < 5; i++)
		reg(vm, SEQ, i, m->seq[i]);
	reg(vm, CRTC, 0x11, 0);
	for (uint8_t i = 0; i < 25; i++)
		if (i != 0x11)
			reg(vm, CRTC, i, m->cr[i]);
	reg(vm, CRTC, 0x11, m->cr[0x11]);
	for (uint8_t i = 0; i < 9; i++)
		reg(vm, GR, i, m->gr[i]);
	for (uint8_t i = 0; i < 16; i++)
		attr(vm, i, i);
	for (uint8_t i = 0; i < 5; i++)
		attr(vm, 16 + i, m->at16[i]);
	tvm_outb(vm, 0x3c6, 0xff);
	tvm_outb(vm, 0x3c8, 0);
	for (unsigned i = 0; i < 768; i++)
		tvm_outb(vm, 0x3c9, (uint8_t)dac6(i / 3, i % 3));
}

static void put(struct vm *vm, uint64_t at, uint8_t v)
{
	bus_write(vm->bus, BUS_MMIO, at, 1, v);
}

static uint8_t get(struct vm *vm, uint64_t at)
{
	return (uint8_t)bus_read(vm->bus, BUS_MMIO, at, 1);
}

typedef uint32_t (*expect_fn)(unsigned x, unsigned y);

static void check_at(struct vm *vm, unsigned w, unsigned h, expect_fn want, const char *f, int l)
{
	struct surface *s;

	display_refresh(vm->display);
	s = display_surface(vm->display);
	if (s->w != w || s->h != h) {
		print_error("picture %ux%u, not %ux%u\n", s->w, s->h, w, h);
		_fail(f, l);
	}
	for (unsigned y = 0; y < h; y++)
		for (unsigned x = 0; x < w; x++)
			if (s->pixels[y * s->stride + x] != want(x, y)) {
				print_error("dot %u,%u is %06x, not %06x\n", x, y,
					    s->pixels[y * s->stride + x], want(x, y));
				_fail(f, l);
			}
}
#define check(vm, w, h, want) check_at(vm, w, h, want, __FILE__, __LINE__)

static uint8_t noise(unsigned a)
{
	return (uint8_t)((a * 2654435761u) >> 24);
}

/* ---- 256 colours ---- */

static uint32_t want13(unsigned x, unsigned y) { return rgb(noise(y * 320 + x)); }
static uint32_t want13_mask(unsigned x, unsigned y) { return rgb(noise(y * 320 + x) & 0x3c); }
static uint32_t want13_pan(unsigned x, unsigned y) { return rgb(noise(y * 320 + x + 3)); }

static uint32_t want13_split(unsigned x, unsigned y)
{
	return y < 50 ? want13(x, y + 20) : want13(x, y - 50);
}

static uint32_t want13_split_pan(unsigned x, unsigned y)
{
	return y < 50 ? want13_pan(x, y + 20) : want13(x, y - 50);
}

static uint32_t want13_all_pan(unsigned x, unsigned y)
{
	return y < 50 ? want13_pan(x, y + 20) : want13_pan(x, y - 50);
}

/* Palette registers 2 and 3 exchanged: each half byte goes through them. */
static uint32_t want13_swap(unsigned x, unsigned y)
{
	unsigned v = noise(y * 320 + x), hi = v >> 4, lo = v & 15;

	hi = hi == 2 || hi == 3 ? hi ^ 1 : hi;
	lo = lo == 2 || lo == 3 ? lo ^ 1 : lo;
	return rgb(hi << 4 | lo);
}

static void test_mode13(void **st)
{
	struct vm *vm = machine();

	set_mode(vm, &m13);
	for (unsigned i = 0; i < 65536; i++)
		put(vm, 0xa0000 + i, noise(i));
	check(vm, 320, 200, want13);
	assert_int_equal(get(vm, 0xa0000 + 777), noise(777));
	tvm_outb(vm, 0x3c6, 0x3c);		/* PEL mask */
	check(vm, 320, 200, want13_mask);
	tvm_outb(vm, 0x3c6, 0xff);
	attr(vm, 2, 3);
	attr(vm, 3, 2);
	check(vm, 320, 200, want13_swap);
	attr(vm, 2, 2);
	attr(vm, 3, 3);
	reg(vm, CRTC, 0x18, 99);		/* split below tube line 99 */
	reg(vm, CRTC, 0x07, 0x0f);
	reg(vm, CRTC, 0x11, 0x0e);
	reg(vm, CRTC, 0x07, 0x0f);
	reg(vm, CRTC, 0x09, 0x01);
	reg(vm, CRTC, 0x0c, 20 * 80 >> 8);
	reg(vm, CRTC, 0x0d, 20 * 80 & 255);
	check(vm, 320, 200, want13_split);
	attr(vm, 0x13, 6);			/* 3 dots to the left, everywhere */
	check(vm, 320, 200, want13_all_pan);
	attr(vm, 0x10, 0x61);			/* only above the split */
	check(vm, 320, 200, want13_split_pan);
	done(vm);
}

static uint32_t want_x(unsigned x, unsigned y) { return rgb((x * 7 + y * 13) & 255); }
static uint32_t want_x2(unsigned x, unsigned y) { return rgb((x + y) & 255); }

/* Unchained, 320 x 240: "mode X". */
static void test_mode_x(void **st)
{
	struct vm *vm = machine();
	static const uint8_t cr[][2] = { { 0x11, 0x2c }, { 6, 0x0d }, { 7, 0x3e }, { 9, 0x41 },
		{ 0x10, 0xea }, { 0x11, 0xac }, { 0x12, 0xdf }, { 0x14, 0 }, { 0x15, 0xe7 },
		{ 0x16, 6 }, { 0x17, 0xe3 } };

	set_mode(vm, &m13);
	reg(vm, SEQ, 4, 6);
	tvm_outb(vm, 0x3c2, 0xe3);
	for (unsigned i = 0; i < ARRAY_SIZE(cr); i++)
		reg(vm, CRTC, cr[i][0], cr[i][1]);
	for (unsigned y = 0; y < 240; y++)
		for (unsigned x = 0; x < 320; x++) {
			reg(vm, SEQ, 2, (uint8_t)(1 << (x & 3)));
			put(vm, 0xa0000 + y * 80 + x / 4, (uint8_t)(x * 7 + y * 13));
			put(vm, 0xa4b00 + y * 80 + x / 4, (uint8_t)(x + y));	/* second page */
		}
	check(vm, 320, 240, want_x);
	reg(vm, CRTC, 0x0c, 0x4b);
	check(vm, 320, 240, want_x2);
	done(vm);
}

/* ---- 16 colours ---- */

static unsigned planar_colour(unsigned x, unsigned y, unsigned pitch)
{
	unsigned c = 0;

	for (unsigned p = 0; p < 4; p++)
		c |= (noise(p << 20 | (y * pitch + x / 8)) >> (7 - x % 8) & 1u) << p;
	return c;
}

static uint32_t want12(unsigned x, unsigned y) { return rgb(planar_colour(x, y, 80)); }
static uint32_t want0d(unsigned x, unsigned y) { return rgb(planar_colour(x, y, 40)); }
static uint32_t want0d_pan(unsigned x, unsigned y) { return rgb(planar_colour(x + 5, y, 40)); }
static uint32_t want0d_bytes(unsigned x, unsigned y) { return rgb(planar_colour(x + 21, y, 40)); }

static uint32_t want0d_planes(unsigned x, unsigned y)
{
	return rgb(planar_colour(x, y, 40) & 10);
}

static uint32_t want0d_select(unsigned x, unsigned y)
{
	return rgb(planar_colour(x, y, 40) | 0xd0);
}

static uint32_t want0d_blink0(unsigned x, unsigned y)
{
	return rgb(planar_colour(x, y, 40) | 8);
}

static uint32_t want0d_blink1(unsigned x, unsigned y)
{
	return rgb(planar_colour(x, y, 40) ^ 8);
}

static void fill_planes(struct vm *vm, unsigned bytes)
{
	for (unsigned p = 0; p < 4; p++) {
		reg(vm, SEQ, 2, (uint8_t)(1 << p));
		for (unsigned i = 0; i < bytes; i++)
			put(vm, 0xa0000 + i, noise(p << 20 | i));
	}
}

static void test_planar(void **st)
{
	struct vm *vm = machine();

	set_mode(vm, &m12);
	fill_planes(vm, 38400);
	check(vm, 640, 480, want12);
	set_mode(vm, &m0d);
	fill_planes(vm, 8200);
	check(vm, 320, 200, want0d);
	attr(vm, 0x13, 5);
	check(vm, 320, 200, want0d_pan);
	reg(vm, CRTC, 8, 2 << 5);		/* two bytes more */
	check(vm, 320, 200, want0d_bytes);
	reg(vm, CRTC, 8, 0);
	attr(vm, 0x13, 0);
	attr(vm, 0x12, 10);
	check(vm, 320, 200, want0d_planes);
	attr(vm, 0x12, 15);
	attr(vm, 0x10, 0x81);			/* bits 4-7 from the colour select register */
	attr(vm, 0x14, 0x0d);
	check(vm, 320, 200, want0d_select);
	attr(vm, 0x14, 0);
	attr(vm, 0x10, 9);			/* blinking: 16 frames, 16 frames */
	check(vm, 320, 200, want0d_blink0);
	tvm_advance(vm, 17 * (NS_PER_SEC / 70));
	check(vm, 320, 200, want0d_blink1);
	done(vm);
}

/* ---- CGA ---- */

static uint32_t want04(unsigned x, unsigned y)
{
	uint8_t b = noise((y & 1) * 8192 + y / 2 * 80 + x / 4);

	return rgb(b >> (6 - x % 4 * 2) & 3);
}

static uint32_t want06(unsigned x, unsigned y)
{
	uint8_t b = noise((y / 2 & 1) * 8192 + y / 4 * 80 + x / 8);

	return rgb(b >> (7 - x % 8) & 1);
}

static void test_cga(void **st)
{
	struct vm *vm = machine();

	set_mode(vm, &m04);
	for (unsigned i = 0; i < 16384; i++)
		put(vm, 0xb8000 + i, noise(i));
	check(vm, 320, 200, want04);
	assert_int_equal(get(vm, 0xb8000 + 8193), noise(8193));
	set_mode(vm, &m06);
	for (unsigned i = 0; i < 16384; i++)
		put(vm, 0xb8000 + i, noise(i));
	check(vm, 640, 400, want06);		/* 200 lines, doubled for the shape */
	done(vm);
}

/* ---- The data path: write modes, logic, latches, read modes ---- */

struct path {		/* the manual's words, one bit at a time */
	uint8_t mem[4], latch[4];
	unsigned set, enable, compare, rotate, logic, read_map, wmode, rmode, care, mask, map;
};

static void model_write(struct path *m, uint8_t cpu)
{
	uint8_t rot = (uint8_t)(cpu >> m->rotate | cpu << (8 - m->rotate));

	for (unsigned p = 0; p < 4; p++)
		for (unsigned b = 0; b < 8 && m->map >> p & 1; b++) {
			unsigned old = m->latch[p] >> b & 1, new, mask = m->mask >> b & 1;

			if (m->wmode == 0)
				new = m->enable >> p & 1 ? m->set >> p & 1 : rot >> b & 1;
			else if (m->wmode == 2)
				new = cpu >> p & 1;
			else
				new = m->set >> p & 1;
			if (m->wmode == 3)
				mask &= rot >> b & 1;
			new = m->logic == 1 ? new & old : m->logic == 2 ? new | old :
			      m->logic == 3 ? new ^ old : new;
			if (m->wmode == 1 || !mask)
				new = old;
			m->mem[p] = (uint8_t)((m->mem[p] & ~(1u << b)) | new << b);
		}
}

static uint8_t model_read(struct path *m)
{
	uint8_t out = 0;

	memcpy(m->latch, m->mem, 4);
	if (!m->rmode)
		return m->latch[m->read_map];
	for (unsigned b = 0; b < 8; b++) {
		bool same = true;

		for (unsigned p = 0; p < 4; p++)
			if (m->care >> p & 1 && (m->latch[p] >> b & 1) != (m->compare >> p & 1))
				same = false;
		out |= (uint8_t)(same << b);
	}
	return out;
}

static void load_path(struct vm *vm, struct path *m, uint64_t r)
{
	m->set = r & 15;
	m->enable = r >> 4 & 15;
	m->compare = r >> 8 & 15;
	m->rotate = r >> 12 & 7;
	m->logic = r >> 15 & 3;
	m->read_map = r >> 17 & 3;
	m->wmode = r >> 19 & 3;
	m->rmode = r >> 21 & 1;
	m->care = r >> 22 & 15;
	m->mask = r >> 26 & 255;
	m->map = r >> 34 & 15;
	reg(vm, GR, 0, (uint8_t)m->set);
	reg(vm, GR, 1, (uint8_t)m->enable);
	reg(vm, GR, 2, (uint8_t)m->compare);
	reg(vm, GR, 3, (uint8_t)(m->rotate | m->logic << 3));
	reg(vm, GR, 4, (uint8_t)m->read_map);
	reg(vm, GR, 5, (uint8_t)(m->wmode | m->rmode << 3));
	reg(vm, GR, 7, (uint8_t)m->care);
	reg(vm, GR, 8, (uint8_t)m->mask);
	reg(vm, SEQ, 2, (uint8_t)m->map);
}

static void test_data_path(void **st)
{
	struct vm *vm = machine();
	struct path m = { 0 };
	uint64_t x = 88172645463325252ull;

	set_mode(vm, &m12);
	for (unsigned i = 0; i < 20000; i++) {
		x ^= x << 13;
		x ^= x >> 7;
		x ^= x << 17;
		load_path(vm, &m, x);
		model_write(&m, (uint8_t)(x >> 40));
		put(vm, 0xa1234, (uint8_t)(x >> 40));
		assert_int_equal(get(vm, 0xa1234), model_read(&m));
		reg(vm, CRTC, 0x22, 0);		/* index of the latch register */
		assert_int_equal(tvm_inb(vm, CRTC + 1), m.latch[m.read_map]);
	}
	set_mode(vm, &m13);	/* the same path behind chain 4: exclusive or */
	put(vm, 0xa0101, 0x5a);
	reg(vm, GR, 3, 0x18);
	get(vm, 0xa0101);
	put(vm, 0xa0101, 0xff);
	assert_int_equal(get(vm, 0xa0101), 0xa5);
	done(vm);
}

/* ---- Text ---- */

static void glyphs(struct vm *vm)
{
	reg(vm, SEQ, 2, 4);
	reg(vm, SEQ, 4, 6);
	reg(vm, GR, 5, 0);
	reg(vm, GR, 6, 4);
	for (unsigned set = 0; set < 8; set++)
		for (unsigned i = 0; i < 256 * 32; i++)
			put(vm, 0xa0000 + set * 8192 + i, noise(set << 20 | i));
	reg(vm, SEQ, 2, 3);
	reg(vm, SEQ, 4, 2);
	reg(vm, GR, 5, 0x10);
	reg(vm, GR, 6, 14);
}

/* What the reference below knows of the machine. */
static struct {
	unsigned cols, dots, wide;	/* wide: each dot twice */
	unsigned font_a, font_b;	/* 8 KiB blocks of plane 2 */
	bool line_graphics, blink, hidden, mono;
	unsigned top, split, pan, preset, pan_top;
	unsigned cursor, cursor_from, cursor_to;	/* cell; none: ~0 */
} ref;

static uint32_t want_text(unsigned x, unsigned y)
{
	unsigned below = y >= ref.split, pan = below && ref.pan_top ? 0 : ref.pan;
	unsigned line = below ? y - ref.split : y + ref.preset;
	unsigned dot = x / (ref.wide ? 2 : 1) + pan, col = dot / ref.dots, bit = dot % ref.dots;
	unsigned cell = (below ? 0 : ref.top) + line / 16 * ref.cols + col, scan = line % 16;
	unsigned ch = noise(cell * 2), at = noise(cell * 2 + 1);
	unsigned block = at & 8 ? ref.font_a : ref.font_b;
	unsigned row = noise(block << 20 | (ch * 32 + scan));
	unsigned on = bit < 8 ? row >> (7 - bit) & 1 :
		      ref.line_graphics && ch >= 0xc0 && ch <= 0xdf ? row & 1 : 0;

	if (ref.mono && (at & 0x77) == 1 && scan == 13)
		on = 1;
	if (ref.blink && ref.hidden && at & 0x80)
		on = 0;
	if (cell == ref.cursor && scan >= ref.cursor_from && scan <= ref.cursor_to)
		on = 1;
	return rgb(on ? at & 15 : at >> 4 & (ref.blink ? 7 : 15));
}

static void text_mode(struct vm *vm, const struct mode *m, unsigned cols)
{
	set_mode(vm, m);
	glyphs(vm);
	for (unsigned i = 0; i < 32768; i++)
		put(vm, 0xb8000 + i, noise(i));
	memset(&ref, 0, sizeof(ref));
	ref.cols = cols;
	ref.dots = 9;
	ref.wide = cols == 40;
	ref.line_graphics = ref.blink = true;
	ref.split = ref.cursor = ~0u;
	attr(vm, 0x13, 8);
}

static void test_text(void **st)
{
	struct vm *vm = machine();

	text_mode(vm, &m03, 80);
	check(vm, 720, 400, want_text);
	reg(vm, SEQ, 3, 0x2d);		/* A: block 7 (at 56K), B: block 1 (at 16K) */
	ref.font_a = 7;
	ref.font_b = 2;
	check(vm, 720, 400, want_text);
	tvm_advance(vm, 17 * (NS_PER_SEC / 70));	/* half a blink later */
	ref.hidden = true;
	check(vm, 720, 400, want_text);
	attr(vm, 0x10, 4);		/* 16 backgrounds instead of blinking */
	ref.blink = false;
	check(vm, 720, 400, want_text);
	attr(vm, 0x10, 0);		/* ninth dot always background */
	ref.line_graphics = false;
	check(vm, 720, 400, want_text);
	reg(vm, SEQ, 1, 1);		/* 8 dots */
	attr(vm, 0x13, 0);
	ref.dots = 8;
	check(vm, 640, 400, want_text);
	attr(vm, 0x10, 2);		/* monochrome: underline in row 13 */
	reg(vm, CRTC, 0x14, 13);
	ref.mono = true;
	check(vm, 640, 400, want_text);
	text_mode(vm, &m01, 40);
	ref.hidden = true;
	check(vm, 720, 400, want_text);
	done(vm);
}

static void test_text_scroll(void **st)
{
	struct vm *vm = machine();

	text_mode(vm, &m03, 80);
	reg(vm, CRTC, 0x0d, 160);	/* two rows down, five scans and three dots more */
	reg(vm, CRTC, 8, 5);
	attr(vm, 0x13, 2);
	ref.top = 160;
	ref.preset = 5;
	ref.pan = 3;
	check(vm, 720, 400, want_text);
	reg(vm, CRTC, 0x18, 199);
	reg(vm, CRTC, 0x11, 0x0e);
	reg(vm, CRTC, 7, 0x0f);
	reg(vm, CRTC, 9, 0x0f);
	ref.split = 200;
	check(vm, 720, 400, want_text);
	attr(vm, 0x10, 0x2c);
	ref.pan_top = 1;
	check(vm, 720, 400, want_text);
	put(vm, 0xb8000, noise(0));	/* nothing new: the picture stays */
	check(vm, 720, 400, want_text);
	done(vm);
}

static void test_cursor(void **st)
{
	struct vm *vm = machine();

	text_mode(vm, &m03, 80);
	reg(vm, CRTC, 0x0e, 0x01);	/* cell 0x123 */
	reg(vm, CRTC, 0x0f, 0x23);
	reg(vm, CRTC, 0x0a, 3);
	reg(vm, CRTC, 0x0b, 9);
	ref.cursor = 0x123;
	ref.cursor_from = 3;
	ref.cursor_to = 9;
	check(vm, 720, 400, want_text);
	tvm_advance(vm, 9 * (NS_PER_SEC / 70));		/* 8 frames on, 8 off */
	ref.cursor = ~0u;
	check(vm, 720, 400, want_text);
	tvm_advance(vm, 24 * (NS_PER_SEC / 70));
	reg(vm, CRTC, 0x0b, 9 | 2 << 5);		/* skew: two cells to the right */
	ref.cursor = 0x125;
	check(vm, 720, 400, want_text);
	reg(vm, CRTC, 0x0b, 1);		/* end before start: none */
	ref.cursor = ~0u;
	check(vm, 720, 400, want_text);
	done(vm);
}

/* ---- Time ---- */

/* Mode 13h: 449 lines of 800 dots at 25.175 MHz; retrace from line 412 to 414. */
static void test_retrace(void **st)
{
	const uint64_t frame = 800ull * 449 * NS_PER_SEC / 25175000, line = 31778;
	struct vm *vm = machine();
	unsigned rises = 0, high = 0, off = 0, n = 0;
	bool was = false;

	set_mode(vm, &m13);
	for (uint64_t t = 0; t < 10 * frame; t += line / 7, n++) {
		uint8_t s = tvm_inb(vm, 0x3da);

		rises += s & 8 && !was;
		high += s >> 3 & 1;
		off += s & 1;
		was = s & 8;
		tvm_advance(vm, line / 7);
	}
	assert_int_equal(rises, 10);
	assert_in_range(high, 10 * 2 * 7 - 10, 10 * 2 * 7 + 10);	/* two lines a frame */
	/* shown: 400 of 449 lines, 640 of 800 dots */
	assert_in_range(off * 1000ull / n, 270, 305);
	done(vm);
}

/* ---- Registers ---- */

static void test_registers(void **st)
{
	struct vm *vm = machine();

	set_mode(vm, &m03);
	reg(vm, SEQ, 1, 0xff);		/* bits that do not exist read 0 */
	assert_int_equal(tvm_inb(vm, SEQ + 1), 0x3d);
	reg(vm, GR, 5, 0xff);
	assert_int_equal(tvm_inb(vm, GR + 1), 0x7b);
	attr(vm, 3, 0xff);
	tvm_inb(vm, 0x3da);
	tvm_outb(vm, 0x3c0, 3);
	assert_int_equal(tvm_inb(vm, 0x3c1), 0x3f);
	tvm_outb(vm, CRTC, 0x24);	/* the flip-flop now waits for data */
	assert_int_equal(tvm_inb(vm, CRTC + 1), 0x80);
	tvm_inb(vm, 0x3da);
	assert_int_equal(tvm_inb(vm, CRTC + 1), 0);
	reg(vm, CRTC, 0, 0x11);		/* protected by register 11h bit 7 */
	assert_int_equal(tvm_inb(vm, CRTC + 1), 0x5f);
	assert_int_equal(tvm_inb(vm, 0x3b4), 0xff);	/* colour: no CRTC there */
	tvm_outb(vm, 0x3c8, 5);
	assert_int_equal(tvm_inb(vm, 0x3c7), 0);	/* DAC: writing */
	tvm_outb(vm, 0x3c9, 0xff);
	tvm_outb(vm, 0x3c9, 2);
	tvm_outb(vm, 0x3c9, 3);
	assert_int_equal(tvm_inb(vm, 0x3c8), 6);
	tvm_outb(vm, 0x3c7, 5);
	assert_int_equal(tvm_inb(vm, 0x3c7), 3);	/* reading */
	assert_int_equal(tvm_inb(vm, 0x3c9), 0x3f);
	assert_int_equal(tvm_inb(vm, 0x3c9), 2);
	assert_int_equal(tvm_inb(vm, 0x3c9), 3);
	assert_int_equal(tvm_inb(vm, 0x3c9), dac6(6, 0));
	done(vm);
}

/* ---- VBE ---- */

static void vbe(struct vm *vm, uint16_t i, uint16_t v)
{
	tvm_outw(vm, 0x1ce, i);
	tvm_outw(vm, 0x1cf, v);
}

static unsigned vbe_bpp, vbe_x, vbe_y;

static uint32_t want_vbe(unsigned x, unsigned y)
{
	unsigned bytes = (vbe_bpp + 7) / 8;
	unsigned at = ((y + vbe_y) * 800 + x + vbe_x) * bytes;
	uint32_t v = 0;

	if (vbe_bpp == 4)
		return rgb(planar_colour(x + vbe_x, y + vbe_y, 100));
	for (unsigned i = 0; i < bytes; i++)
		v |= (uint32_t)noise(at + i) << i * 8;
	if (vbe_bpp == 8)
		return rgb(v);
	if (vbe_bpp == 15)
		return (v >> 10 & 31) * 255 / 31 << 16 | (v >> 5 & 31) * 255 / 31 << 8 |
		       (v & 31) * 255 / 31;
	if (vbe_bpp == 16)
		return (v >> 11 & 31) * 255 / 31 << 16 | (v >> 5 & 63) * 255 / 63 << 8 |
		       (v & 31) * 255 / 31;
	return v & 0xffffff;
}

/* 640 x 480 in a surface 800 wide, filled through the banks of the window. */
static void test_vbe_depths(void **st)
{
	static const uint8_t depths[] = { 4, 8, 15, 16, 24, 32 };
	struct vm *vm = machine();

	set_mode(vm, &m12);
	for (unsigned i = 0; i < ARRAY_SIZE(depths); i++) {
		unsigned planes, bytes;

		vbe_bpp = depths[i];
		vbe_x = vbe_y = 0;
		vbe(vm, 4, 0);
		vbe(vm, 1, 640);
		vbe(vm, 2, 480);
		vbe(vm, 3, (uint16_t)vbe_bpp);
		vbe(vm, 4, 0x41);
		vbe(vm, 6, 800);
		planes = vbe_bpp == 4 ? 4 : 1;
		bytes = vbe_bpp == 4 ? 800 * 500 / 8 : 800 * 500 * ((vbe_bpp + 7) / 8);
		for (unsigned p = 0; p < planes; p++) {
			reg(vm, SEQ, 2, planes == 4 ? (uint8_t)(1 << p) : 15);
			for (unsigned at = 0; at < bytes; at++) {
				if (at % 65536 == 0)
					vbe(vm, 5, (uint16_t)(at / 65536));
				put(vm, 0xa0000 + at % 65536, noise(p << 20 | at));
			}
		}
		check(vm, 640, 480, want_vbe);
		vbe(vm, 8, vbe_x = 21);
		vbe(vm, 9, vbe_y = 9);
		check(vm, 640, 480, want_vbe);
	}
	done(vm);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_mode13), cmocka_unit_test(test_mode_x),
		cmocka_unit_test(test_planar), cmocka_unit_test(test_cga),
		cmocka_unit_test(test_data_path), cmocka_unit_test(test_text),
		cmocka_unit_test(test_text_scroll), cmocka_unit_test(test_cursor),
		cmocka_unit_test(test_retrace), cmocka_unit_test(test_registers),
		cmocka_unit_test(test_vbe_depths),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
