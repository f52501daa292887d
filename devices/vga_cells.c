/* SPDX-License-Identifier: MIT */
/*
 * VGA text modes: character cells, the two fonts of plane 2, cursor, blinking,
 * underline, into an XRGB8888 surface.
 *
 * IBM VGA Technical Reference, "Alphanumeric Modes", "CRT Controller" (cursor),
 * "Attribute Controller".  Cells are drawn one by one where they changed; a
 * picture that is panned, scrolled by lines, split or cut goes line by line.
 */
#include "vga_int.h"

#define CURSOR_FRAMES 8u	/* on, then off */
#define BLINK_FRAMES 16u

#define CELL_CURSOR 0x10000u	/* in vga.cells, above the attribute */
#define CELL_HIDDEN 0x20000u

struct text {
	struct vga_frame f;
	unsigned cursor_ma, cursor_start, cursor_end, underline;
	bool cursor;
	bool cursor_seen, blink_seen;
};

bool vga_text_geometry(const struct vga *v, unsigned *cols, unsigned *rows, unsigned *cell_h)
{
	struct vga_frame f;

	if (vga_vbe_on(v) || v->gr[GR_MISC] & 1)
		return false;
	vga_frame_get(v, &f);
	*cols = f.chars;
	*cell_h = f.cell_h;
	*rows = f.lines / f.doubled / f.cell_h;
	return *rows && f.cell_h > 1 && *cols * *rows <= VGA_MAX_CELLS;
}

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

/* The cell at counter @ma: character, attribute and what the moment adds. */
static uint32_t cell_at(const struct vga *v, struct text *t, unsigned ma)
{
	uint8_t quad[4] = { 0 };
	uint32_t cell;

	if (!gm_block_read(v->vram, vga_address(v, &t->f, ma, 0) * 4u, quad, 4))
		return 0;
	cell = quad[0] | (uint32_t)quad[1] << 8;
	if (t->cursor && (ma & 0xffff) == t->cursor_ma) {
		t->cursor_seen = true;
		cell |= v->cursor_on ? CELL_CURSOR : 0;
	}
	if (cell & 0x8000 && v->at[AT_MODE] & 8) {
		t->blink_seen = true;
		cell |= v->blink_on ? CELL_HIDDEN : 0;
	}
	return cell;
}

/* One scan of a cell: f.dots dots. */
static void cell_dots(const struct vga *v, const struct text *t, uint32_t cell, unsigned scan,
		      uint32_t *out)
{
	uint8_t ch = (uint8_t)cell, attr = (uint8_t)(cell >> 8);
	uint32_t fg = v->palette[attr & 15];
	uint32_t bg = v->palette[attr >> 4 & (v->at[AT_MODE] & 8 ? 7 : 15)];
	unsigned dots = v->font[attr >> 3 & 1][ch * 32 + (scan & 31)] << 1;

	if (v->at[AT_MODE] & 4 && ch >= 0xc0 && ch <= 0xdf)
		dots |= dots >> 1 & 1;
	if (v->at[AT_MODE] & 2 && (attr & 0x77) == 1 && scan == t->underline)
		dots = 0x1ff;
	if (cell & CELL_HIDDEN)
		dots = 0;
	if (cell & CELL_CURSOR && scan >= t->cursor_start && scan <= t->cursor_end)
		dots = 0x1ff;
	for (unsigned x = 0; x < t->f.dots; x++)
		out[x] = dots << x & 0x100 ? fg : bg;
}

static void draw_cell(const struct vga *v, const struct text *t, struct surface *s, unsigned col,
		      unsigned row, uint32_t cell)
{
	unsigned w = t->f.dots, n = t->f.hscale, rep = t->f.doubled / t->f.every;
	unsigned y = row * t->f.cell_h * rep;

	for (unsigned i = 0; i < t->f.cell_h * rep; i++, y++) {
		uint32_t dots[9], *p = s->pixels + (size_t)y * s->stride + col * w * n;

		cell_dots(v, t, cell, i / rep, dots);
		for (unsigned x = 0; x < w * n; x++)
			p[x] = dots[x / n];
	}
}

static void draw_row(struct vga *v, struct text *t, struct display *d, unsigned row)
{
	unsigned first = UINT32_MAX, last = 0, ma = t->f.start + row * t->f.pitch;
	unsigned w = t->f.dots * t->f.hscale, h = t->f.cell_h * t->f.doubled / t->f.every;

	for (unsigned col = 0; col < t->f.chars; col++, ma++) {
		uint32_t cell = cell_at(v, t, ma);

		if (v->cells[row * t->f.chars + col] == cell && !v->redraw)
			continue;
		v->cells[row * t->f.chars + col] = cell;
		draw_cell(v, t, display_surface(d), col, row, cell);
		first = MIN(first, col);
		last = col;
	}
	if (first <= last)
		display_damage(d, (struct rect){ first * w, row * h, (last - first + 1) * w, h });
}

/* Rows that lie whole and unmoved on the screen. */
static bool is_plain(const struct vga_frame *f)
{
	return !f->pan && !f->preset && f->split >= f->lines &&
	       f->lines % (f->doubled * f->cell_h) == 0;
}

static void draw_lines(struct vga *v, struct text *t, struct display *d)
{
	struct surface *s = display_surface(d);
	uint32_t dots[(256 + 1) * 9];

	for (unsigned y = 0; y < s->h; y++) {
		struct vga_line l;

		vga_line_get(&t->f, y * t->f.every, &l);
		for (unsigned c = 0; c <= t->f.chars; c++)
			cell_dots(v, t, cell_at(v, t, l.ma + c), l.scan, dots + c * t->f.dots);
		vga_put_line(&t->f, s, y, dots + l.pan);
	}
	display_damage(d, (struct rect){ 0, 0, s->w, s->h });
}

static void cursor_get(const struct vga *v, struct text *t)
{
	unsigned skew = v->cr[CR_CUR_END] >> 5 & 3;

	t->cursor_ma = ((unsigned)(v->cr[CR_CUR_HI] << 8 | v->cr[CR_CUR_LO]) + skew) & 0xffff;
	t->cursor_start = v->cr[CR_CUR_START] & 31;
	t->cursor_end = v->cr[CR_CUR_END] & 31;
	t->cursor = !(v->cr[CR_CUR_START] & 32) && t->cursor_start <= t->cursor_end;
	t->underline = v->cr[CR_UNDERLINE] & 31;
}

/* The counters of the blinking; true: something on the screen may have changed by it. */
static bool blink(struct vga *v)
{
	uint64_t n = vga_frame_number(v, vclock_now(dev_clock(&v->pci.dev)));
	bool cursor = !(n / CURSOR_FRAMES & 1), hidden = n / BLINK_FRAMES & 1;
	bool changed = cursor != v->cursor_on || hidden != v->blink_on;

	v->cursor_on = cursor;
	v->blink_on = hidden;
	return changed;
}

void vga_refresh_text(struct vga *v, struct display *d)
{
	unsigned cols, rows, cell_h, was = v->blinks;
	struct text t = { 0 };
	bool blinked;

	vga_frame_get(v, &t.f);
	if (!vga_text_geometry(v, &cols, &rows, &cell_h) ||
	    !display_resize(d, t.f.chars * t.f.dots * t.f.hscale, t.f.lines / t.f.every))
		return;
	cursor_get(v, &t);
	vga_set_key(v, 1, &t.f);
	vga_update_palette(v, false);
	load_fonts(v);
	blinked = blink(v);
	if (is_plain(&t.f)) {
		for (unsigned row = 0; row < rows; row++)
			draw_row(v, &t, d, row);
	} else if (v->redraw || v->window_dirty || blinked) {
		draw_lines(v, &t, d);
	} else {
		v->blinks = was;
		return;
	}
	v->blinks = t.cursor_seen ? CURSOR_FRAMES : t.blink_seen ? BLINK_FRAMES : 0;
}

size_t vga_text(void *dev, char *buf, size_t len)
{
	struct vga *v = dev;
	unsigned cols, rows, cell_h;
	struct vga_frame f;
	size_t n = 0;

	if (!len || !vga_text_geometry(v, &cols, &rows, &cell_h))
		return 0;
	vga_frame_get(v, &f);
	for (unsigned row = 0; row < rows && n + cols + 1 < len; row++) {
		unsigned ma = f.start + row * f.pitch;

		for (unsigned col = 0; col < cols; col++, ma++) {
			uint8_t ch = ' ';

			if (!gm_block_read(v->vram, vga_address(v, &f, ma, 0) * 4u, &ch, 1))
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
