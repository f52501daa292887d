/* SPDX-License-Identifier: MIT */
/*
 * VGA scan-out: text, planar, CGA-compatible, 256-colour and VBE linear modes
 * into an XRGB8888 surface, drawing only what changed.
 *
 * IBM VGA Technical Reference, "CRT Controller" and "Attribute Controller".
 * Left out: pixel panning, smooth scrolling (PRESET_ROW), underline.
 */
#include "vga_int.h"

#define BLINK_NS 266000000ull	/* cursor: 16 of 60 frames; characters: twice that */

static unsigned vdisp_lines(const struct vga *v)
{
	return 1u + (v->cr[CR_VDISP_END] | (v->cr[CR_OVERFLOW] & 2u) << 7 |
		     (v->cr[CR_OVERFLOW] & 0x40u) << 3);
}

static unsigned line_compare(const struct vga *v)
{
	return v->cr[CR_LINE_COMPARE] | (v->cr[CR_OVERFLOW] & 0x10u) << 4 |
	       (v->cr[CR_MAX_SCAN] & 0x40u) << 3;
}

static unsigned start_address(const struct vga *v)
{
	return v->cr[CR_START_HI] << 8 | v->cr[CR_START_LO];
}

/* Memory address counter -> plane address: byte, word or doubleword mode. */
static unsigned crtc_address(const struct vga *v, unsigned ma, unsigned scan)
{
	unsigned a = ma;

	if (v->cr[CR_UNDERLINE] & 0x40)
		a = ma << 2;
	else if (!(v->cr[CR_MODE] & 0x40))
		a = ma << 1;
	if (!(v->cr[CR_MODE] & 1))
		a = (a & ~0x2000u) | (scan & 1) << 13;
	if (!(v->cr[CR_MODE] & 2))
		a = (a & ~0x4000u) | (scan >> 1 & 1) << 14;
	return a & VGA_PLANE_MASK;
}

static uint32_t dac_colour(const struct vga *v, unsigned i)
{
	const uint8_t *c = &v->dac[(i & 0xff) * 3];

	if (v->vbe[VBE_ENABLE] & VBE_DAC8)
		return (uint32_t)c[0] << 16 | (uint32_t)c[1] << 8 | c[2];
	return (uint32_t)((c[0] & 63) * 255 / 63) << 16 | (uint32_t)((c[1] & 63) * 255 / 63) << 8 |
	       (uint32_t)((c[2] & 63) * 255 / 63);
}

/* Attribute index 0-15 -> colour (palette register, colour select, DAC). */
static uint32_t attr_colour(const struct vga *v, unsigned i)
{
	unsigned p = v->at[i & v->at[AT_PLANES] & 15] & 63;

	if (v->at[AT_MODE] & 0x80)
		p = (p & 15) | (v->at[AT_COLOR_SEL] & 3u) << 4;
	p |= (v->at[AT_COLOR_SEL] & 0xcu) << 4;
	return dac_colour(v, p & v->dac_mask);
}

/* Recomputed each refresh; a changed palette redraws the picture. */
static void update_palette(struct vga *v, bool indexed256)
{
	for (unsigned i = 0; i < 256; i++) {
		uint32_t c = indexed256 ? dac_colour(v, i & v->dac_mask) : attr_colour(v, i);

		if (v->palette[i] != c) {
			v->palette[i] = c;
			v->redraw = true;
		}
	}
}

static bool graphics_mode(const struct vga *v)
{
	return v->gr[GR_MISC] & 1;
}

bool vga_text_geometry(const struct vga *v, unsigned *cols, unsigned *rows, unsigned *cell_h)
{
	if (vga_vbe_on(v) || graphics_mode(v))
		return false;
	*cell_h = (v->cr[CR_MAX_SCAN] & 31u) + 1;
	*cols = v->cr[CR_HDISP_END] + 1u;
	*rows = vdisp_lines(v) / *cell_h;
	if (v->cr[CR_MAX_SCAN] & 0x80)
		*rows /= 2;
	return *rows && *cell_h > 1 && *cols * *rows <= VGA_MAX_CELLS;
}

static void set_mode_key(struct vga *v, const uint32_t key[10])
{
	if (memcmp(v->mode_key, key, sizeof(v->mode_key)))
		v->redraw = true;
	memcpy(v->mode_key, key, sizeof(v->mode_key));
}

/* ---- text --------------------------------------------------------------- */

/* Plane 2 holds the fonts: 8 sets of 8 KiB, 32 bytes a character. */
static void load_fonts(struct vga *v)
{
	static const uint8_t bank[8] = { 0, 2, 4, 6, 1, 3, 5, 7 };
	uint8_t m = v->seq[SEQ_CHAR_MAP], quad[256 * 32 * 4];
	unsigned set[2] = { (m & 3u) | (m >> 2 & 4u), (m >> 2 & 3u) | (m >> 3 & 4u) };

	for (unsigned f = 0; f < 2; f++) {	/* attribute bit 3: 1 = set A (bits 2-3, 5) */
		uint8_t now[256 * 32];

		if (!gm_block_read(v->vram, bank[set[f]] * 0x2000u * 4, quad, sizeof(quad)))
			return;
		for (unsigned i = 0; i < sizeof(now); i++)
			now[i] = quad[i * 4 + 2];
		if (memcmp(now, v->font[f], sizeof(now))) {
			memcpy(v->font[f], now, sizeof(now));
			v->redraw = true;
		}
	}
}

struct text {
	unsigned cols, rows, cell_w, cell_h;
	unsigned cursor_ma, cursor_start, cursor_end;
	bool cursor;
};

static void draw_cell(struct vga *v, const struct text *t, struct surface *s, unsigned col,
		      unsigned row, uint32_t cell)
{
	uint8_t ch = (uint8_t)cell, attr = (uint8_t)(cell >> 8);
	bool blink = v->at[AT_MODE] & 8;
	const uint8_t *glyph = &v->font[attr >> 3 & 1][ch * 32];
	uint32_t fg = v->palette[attr & 15], bg = v->palette[attr >> 4 & (blink ? 7 : 15)];
	bool nine = t->cell_w == 9 && (v->at[AT_MODE] & 4) && ch >= 0xc0 && ch <= 0xdf;

	if (blink && attr & 0x80 && cell >> 17 & 1)
		fg = bg;
	for (unsigned y = 0; y < t->cell_h; y++) {
		uint32_t *p =
			s->pixels + (size_t)(row * t->cell_h + y) * s->stride + col * t->cell_w;
		uint8_t bits = glyph[y & 31];

		if (cell >> 16 & 1 && y >= t->cursor_start && y <= t->cursor_end)
			bits = 0xff;
		for (unsigned x = 0; x < 8; x++)
			p[x] = bits << x & 0x80 ? fg : bg;
		if (t->cell_w == 9)
			p[8] = bits & 1 && (nine || (cell >> 16 & 1 && bits == 0xff)) ? fg : bg;
	}
}

static void draw_text_row(struct vga *v, const struct text *t, struct display *d, unsigned row)
{
	unsigned first = UINT32_MAX, last = 0, pitch = v->cr[CR_OFFSET] * 2u;
	unsigned ma = start_address(v) + row * pitch;

	for (unsigned col = 0; col < t->cols; col++, ma++) {
		uint8_t quad[4] = { 0 };
		uint32_t cell;

		if (!gm_block_read(v->vram, crtc_address(v, ma & 0xffff, 0) * 4u, quad, 4))
			return;
		cell = quad[0] | (uint32_t)quad[1] << 8;
		if (t->cursor && v->cursor_on && (ma & 0xffff) == t->cursor_ma)
			cell |= 1u << 16;
		if (cell & 0x8000 && v->blink_on)
			cell |= 1u << 17;
		if (v->cells[row * t->cols + col] == cell && !v->redraw)
			continue;
		v->cells[row * t->cols + col] = cell;
		draw_cell(v, t, display_surface(d), col, row, cell);
		first = MIN(first, col);
		last = col;
	}
	if (first <= last)
		display_damage(d, (struct rect){ first * t->cell_w, row * t->cell_h,
						 (last - first + 1) * t->cell_w, t->cell_h });
}

static void refresh_text(struct vga *v, struct display *d)
{
	struct text t = { .cell_w = v->seq[SEQ_CLOCK] & 1 ? 8 : 9 };
	uint64_t now = vclock_now(v->pci.dev.vm->clock);

	if (!vga_text_geometry(v, &t.cols, &t.rows, &t.cell_h) ||
	    !display_resize(d, t.cols * t.cell_w, t.rows * t.cell_h))
		return;
	set_mode_key(v, (uint32_t[10]){ 1, t.cols, t.rows, t.cell_w, t.cell_h, v->at[AT_MODE] });
	update_palette(v, false);
	load_fonts(v);
	t.cursor_ma = (unsigned)(v->cr[CR_CUR_HI] << 8 | v->cr[CR_CUR_LO]);
	t.cursor_start = v->cr[CR_CUR_START] & 31;
	t.cursor_end = v->cr[CR_CUR_END] & 31;
	t.cursor = !(v->cr[CR_CUR_START] & 32) && t.cursor_start <= t.cursor_end;
	v->cursor_on = !(now / BLINK_NS & 1);
	v->blink_on = now / (2 * BLINK_NS) & 1;
	for (unsigned row = 0; row < t.rows; row++)
		draw_text_row(v, &t, d, row);
}

size_t vga_text(void *dev, char *buf, size_t len)
{
	struct vga *v = dev;
	unsigned cols, rows, cell_h;
	size_t n = 0;

	if (!len || !vga_text_geometry(v, &cols, &rows, &cell_h))
		return 0;
	for (unsigned row = 0; row < rows && n + cols + 1 < len; row++) {
		unsigned ma = start_address(v) + row * v->cr[CR_OFFSET] * 2u;

		for (unsigned col = 0; col < cols; col++, ma++) {
			uint8_t ch = ' ';

			if (!gm_block_read(v->vram, crtc_address(v, ma & 0xffff, 0) * 4u, &ch, 1))
				return 0;
			buf[n++] = ch >= ' ' && ch < 0x7f ? (char)ch : ch ? '?' : ' ';
		}
		while (n && buf[n - 1] == ' ')
			n--;
		buf[n++] = '\n';
	}
	buf[n] = '\0';
	return n;
}

/* ---- VGA graphics ---------------------------------------------------------- */

/* One character clock: 8 dots from 4 plane bytes. */
static void planar_dots(const struct vga *v, const uint8_t q[4], uint32_t *out)
{
	for (unsigned x = 0; x < 8; x++) {
		unsigned b = 7 - x;
		unsigned i = (q[0] >> b & 1u) | (q[1] >> b & 1u) << 1 | (q[2] >> b & 1u) << 2 |
			     (q[3] >> b & 1u) << 3;

		out[x] = v->palette[i];
	}
}

/* Shift-interleave (CGA 4-colour): two bits a dot from planes 0/1, high bits from 2/3. */
static void cga_dots(const struct vga *v, const uint8_t q[4], uint32_t *out)
{
	for (unsigned x = 0; x < 8; x++) {
		unsigned sh = 6 - (x & 3) * 2, p = x >> 2;

		out[x] = v->palette[(q[p] >> sh & 3u) | (q[p + 2] >> sh & 3u) << 2];
	}
}

struct gfx {
	unsigned chars, lines, cell_h, dots;	/* dots a character clock: 4 or 8 */
	bool collapse;				/* repeated lines are drawn once */
};

static void draw_gfx_line(const struct vga *v, const struct gfx *g, uint32_t *out, unsigned y)
{
	unsigned line = g->collapse ? y * g->cell_h : y, lc = line_compare(v);
	unsigned row, scan, ma;

	if (line > lc) {	/* split screen restarts at 0 */
		line -= lc + 1;
		ma = 0;
	} else {
		ma = start_address(v);
	}
	row = line / g->cell_h;
	scan = line % g->cell_h;
	ma += row * v->cr[CR_OFFSET] * 2u;
	for (unsigned c = 0; c < g->chars; c++, ma++, out += g->dots) {
		uint8_t q[4] = { 0 };

		if (!gm_block_read(v->vram, crtc_address(v, ma & 0xffff, scan) * 4u, q, 4))
			return;
		if (g->dots == 4)
			for (unsigned i = 0; i < 4; i++)
				out[i] = v->palette[q[i]];
		else if (v->gr[GR_MODE] & 0x20)
			cga_dots(v, q, out);
		else
			planar_dots(v, q, out);
	}
}

static void refresh_graphics(struct vga *v, struct display *d)
{
	struct gfx g = { .chars = v->cr[CR_HDISP_END] + 1u, .lines = vdisp_lines(v),
			 .cell_h = (v->cr[CR_MAX_SCAN] & 31u) + 1, .dots = 8 };
	struct surface *s;

	if (v->cr[CR_MAX_SCAN] & 0x80)
		g.lines /= 2;
	if (v->gr[GR_MODE] & 0x40)
		g.dots = 4;
	g.collapse = g.cell_h > 1 && (v->cr[CR_MODE] & 3) == 3;
	if (g.collapse)
		g.lines /= g.cell_h;
	if (!g.lines || !display_resize(d, g.chars * g.dots, g.lines))
		return;
	set_mode_key(v, (uint32_t[10]){ 2, g.chars, g.lines, g.cell_h, g.dots, v->gr[GR_MODE],
					v->cr[CR_MODE], v->cr[CR_OFFSET], start_address(v),
					line_compare(v) });
	update_palette(v, g.dots == 4);
	if (!v->redraw && !v->graphics_dirty)
		return;
	s = display_surface(d);
	for (unsigned y = 0; y < g.lines; y++)
		draw_gfx_line(v, &g, s->pixels + (size_t)y * s->stride, y);
	display_damage(d, (struct rect){ 0, 0, s->w, s->h });
}

/* ---- VBE linear modes ------------------------------------------------------- */

static void vbe_convert(const struct vga *v, unsigned bpp, const uint8_t *in, uint32_t *out,
			unsigned n)
{
	for (unsigned i = 0; i < n; i++) {
		uint16_t h;

		switch (bpp) {
		case 8:
			out[i] = v->palette[in[i]];
			break;
		case 15:
			h = ld_le16(in + i * 2);
			out[i] = (uint32_t)((h >> 10 & 31) * 255 / 31) << 16 |
				 (uint32_t)((h >> 5 & 31) * 255 / 31) << 8 | (h & 31u) * 255 / 31;
			break;
		case 16:
			h = ld_le16(in + i * 2);
			out[i] = (uint32_t)((h >> 11 & 31) * 255 / 31) << 16 |
				 (uint32_t)((h >> 5 & 63) * 255 / 63) << 8 | (h & 31u) * 255 / 31;
			break;
		case 24:
			out[i] = in[i * 3] | (uint32_t)in[i * 3 + 1] << 8 |
				 (uint32_t)in[i * 3 + 2] << 16;
			break;
		default:
			out[i] = ld_le32(in + i * 4) & 0xffffff;
			break;
		}
	}
}

static bool row_dirty(const struct vga *v, uint64_t off, uint64_t len)
{
	for (uint64_t p = off >> 12; p <= (off + len - 1) >> 12; p++)
		if (v->dirty[p >> 6 & (ARRAY_SIZE(v->dirty) - 1)] >> (p & 63) & 1)
			return true;
	return false;
}

static bool vbe_draw_row(struct vga *v, struct surface *s, unsigned y, unsigned bpp,
			 uint64_t off, uint64_t bytes)
{
	uint8_t line[DISPLAY_MAX_DIM * 4];

	if (bytes > sizeof(line) || !range_ok(off, bytes, VGA_VRAM_SIZE))
		return false;
	if (!v->redraw && !row_dirty(v, off, bytes))
		return false;
	if (!gm_block_read(v->vram, off, line, bytes))
		return false;
	vbe_convert(v, bpp, line, s->pixels + (size_t)y * s->stride, s->w);
	return true;
}

static void refresh_vbe(struct vga *v, struct display *d)
{
	unsigned w = v->vbe[VBE_XRES], h = v->vbe[VBE_YRES], bpp = v->vbe[VBE_BPP];
	unsigned bytes_pp = (bpp + 7) / 8, from = UINT32_MAX, to = 0;
	uint64_t pitch = (uint64_t)MAX(v->vbe[VBE_VIRT_W], v->vbe[VBE_XRES]) * bytes_pp;
	uint64_t off = v->vbe[VBE_Y_OFF] * pitch + (uint64_t)v->vbe[VBE_X_OFF] * bytes_pp;
	struct gm_slot *slot = v->pci.bars[0].slot;

	if (!display_resize(d, w, h))
		return;
	set_mode_key(v, (uint32_t[10]){ 3, w, h, bpp, (uint32_t)pitch, (uint32_t)off });
	if (bpp == 8)
		update_palette(v, true);
	if (slot)
		gm_dirty_harvest(v->pci.dev.vm->mem, slot, v->dirty);
	else if (v->graphics_dirty)
		v->redraw = true;
	for (unsigned y = 0; y < h; y++, off += pitch) {
		if (vbe_draw_row(v, display_surface(d), y, bpp, off, (uint64_t)w * bytes_pp)) {
			from = MIN(from, y);
			to = y;
		}
	}
	if (from <= to)
		display_damage(d, (struct rect){ 0, from, w, to - from + 1 });
}

void vga_refresh(void *dev)
{
	struct vga *v = dev;
	struct display *d = v->pci.dev.vm->display;
	bool blank = !(v->at_idx & 0x20) || v->seq[SEQ_CLOCK] & 0x20;

	if (!d)
		return;
	display_set_blank(d, blank && !vga_vbe_on(v));
	if (vga_vbe_on(v))
		refresh_vbe(v, d);
	else if (graphics_mode(v))
		refresh_graphics(v, d);
	else
		refresh_text(v, d);
	v->redraw = false;
	v->graphics_dirty = false;
}
