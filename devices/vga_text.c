/* SPDX-License-Identifier: MIT */
/*
 * VGA text mode for kernels that are started without firmware: what INT 10h
 * AX=0003h leaves behind (80 x 25 cells of 9 x 16, IBM VGA register values as
 * in the FreeVGA documentation), done through the card's own ports.
 *
 * The 8 x 16 font is the one in the machine's VGA BIOS.
 */
#include "vga_int.h"
#include <stdlib.h>

#define GLYPHS 256u
#define GLYPH_ROWS 16u

static const uint8_t seq3[] = { 0x03, 0x00, 0x03, 0x00, 0x02 };
static const uint8_t crtc3[] = {
	0x5f, 0x4f, 0x50, 0x82, 0x55, 0x81, 0xbf, 0x1f, 0x00, 0x4f, 0x0d, 0x0e, 0x00,
	0x00, 0x00, 0x00, 0x9c, 0x8e, 0x8f, 0x28, 0x1f, 0x96, 0xb9, 0xa3, 0xff,
};
static const uint8_t gr3[] = { 0x00, 0x00, 0x00, 0x00, 0x00, 0x10, 0x0e, 0x00, 0xff };
static const uint8_t at3[] = {
	0x00, 0x01, 0x02, 0x03, 0x04, 0x05, 0x14, 0x07, 0x38, 0x39, 0x3a,
	0x3b, 0x3c, 0x3d, 0x3e, 0x3f, 0x0c, 0x00, 0x0f, 0x08, 0x00,
};

static void out(struct device *d, unsigned port, uint8_t v)
{
	bus_write_locked(d->vm->bus, BUS_PIO, port, 1, v);
}

static void out_indexed(struct device *d, unsigned port, const uint8_t *v, unsigned n)
{
	for (unsigned i = 0; i < n; i++) {
		out(d, port, (uint8_t)i);
		out(d, port + 1, v[i]);
	}
}

static void set_reg(struct device *d, unsigned port, unsigned index, uint8_t v)
{
	out(d, port, (uint8_t)index);
	out(d, port + 1, v);
}

/* Intensities of the 64 EGA colours, 6 bits each. */
static void set_dac(struct device *d)
{
	out(d, 0x3c6, 0xff);
	out(d, 0x3c8, 0);
	for (unsigned c = 0; c < 64; c++) {
		out(d, 0x3c9, (uint8_t)((c >> 2 & 1) * 0x2a + (c >> 5 & 1) * 0x15));
		out(d, 0x3c9, (uint8_t)((c >> 1 & 1) * 0x2a + (c >> 4 & 1) * 0x15));
		out(d, 0x3c9, (uint8_t)((c & 1) * 0x2a + (c >> 3 & 1) * 0x15));
	}
}

static void set_mode3(struct device *d)
{
	out(d, 0x3c2, 0x67);
	out_indexed(d, 0x3c4, seq3, ARRAY_SIZE(seq3));
	set_reg(d, 0x3d4, CR_VSYNC_END, 0);	/* unlocks registers 0 to 7 */
	out_indexed(d, 0x3d4, crtc3, ARRAY_SIZE(crtc3));
	out_indexed(d, 0x3ce, gr3, ARRAY_SIZE(gr3));
	bus_read_locked(d->vm->bus, BUS_PIO, 0x3da, 1);
	for (unsigned i = 0; i < ARRAY_SIZE(at3); i++) {
		out(d, 0x3c0, (uint8_t)i);
		out(d, 0x3c0, at3[i]);
	}
	out(d, 0x3c0, 0x20);			/* palette to the screen */
	set_dac(d);
}

/* Plane 2, 32 bytes a character. */
static void load_font(struct device *d, const uint8_t *font)
{
	set_reg(d, 0x3c4, SEQ_MAP_MASK, 4);
	set_reg(d, 0x3c4, SEQ_MEM_MODE, 6);
	set_reg(d, 0x3ce, GR_MODE, 0);
	set_reg(d, 0x3ce, GR_MISC, 4);
	for (unsigned i = 0; i < GLYPHS * GLYPH_ROWS; i++)
		bus_write_locked(d->vm->bus, BUS_MMIO,
				 0xa0000 + i / GLYPH_ROWS * 32 + i % GLYPH_ROWS, 1, font[i]);
	set_reg(d, 0x3c4, SEQ_MAP_MASK, seq3[SEQ_MAP_MASK]);
	set_reg(d, 0x3c4, SEQ_MEM_MODE, seq3[SEQ_MEM_MODE]);
	set_reg(d, 0x3ce, GR_MODE, gr3[GR_MODE]);
	set_reg(d, 0x3ce, GR_MISC, gr3[GR_MISC]);
}

/* A table of 8 x 16 glyphs: known by an empty glyph 0 and code page 437's faces and A. */
static const uint8_t *find_font(const uint8_t *rom, size_t len)
{
	static const uint8_t face[GLYPH_ROWS] = {
		0, 0, 0x7e, 0x81, 0xa5, 0x81, 0x81, 0xbd, 0x99, 0x81, 0x81, 0x7e,
	};
	const uint8_t *at = rom, *end = rom + len;

	while ((at = memmem(at, (size_t)(end - at), face, sizeof(face)))) {
		if (at - rom >= (ptrdiff_t)GLYPH_ROWS &&
		    end - at >= (ptrdiff_t)((GLYPHS - 1) * GLYPH_ROWS))
			return at - GLYPH_ROWS;
		at++;
	}
	return NULL;
}

/* Copies the font to @font. */
static bool read_font(struct device *d, uint8_t font[GLYPHS * GLYPH_ROWS])
{
	const struct pci_bar *bar = &((struct vga *)d)->pci.bars[PCI_ROM_SLOT];
	const uint8_t *at = NULL;
	uint8_t *rom;

	if (!bar->block)
		return false;
	rom = hv_zalloc(bar->size);
	if (gm_block_read(bar->block, 0, rom, bar->size))
		at = find_font(rom, bar->size);
	if (at)
		memcpy(font, at, GLYPHS * GLYPH_ROWS);
	free(rom);
	return at != NULL;
}

bool vga_has_font(struct device *d)
{
	uint8_t font[GLYPHS * GLYPH_ROWS];

	return read_font(d, font);
}

void vga_start_text(struct device *d)
{
	uint8_t font[GLYPHS * GLYPH_ROWS];

	if (!read_font(d, font))
		return;
	set_mode3(d);
	load_font(d, font);
	for (unsigned i = 0; i < 80 * 25; i++)
		bus_write_locked(d->vm->bus, BUS_MMIO, 0xb8000 + 2 * i, 2, 0x0720);
}
