/* SPDX-License-Identifier: MIT */
/*
 * The VGA's CRT controller: which memory address belongs to which scan line,
 * and where the beam is.
 *
 * IBM VGA Technical Reference (PS/2 Hardware Interface, 1990), "CRT
 * Controller Registers".  The table of address outputs is the one at register
 * 17h: word mode puts bit 13 or 15 on A0, doubleword mode shifts by two, and
 * row scans 0 and 1 may take the places of A13 and A14 (CGA, Hercules).
 *
 * Left out: display skew, the horizontal retrace select (17h bit 2), the
 * counts by two and by four, changes in the middle of a frame.
 */
#include "vga_int.h"

#define CLOCK_25 25175000u
#define CLOCK_28 28322000u
#define MIN_LINES 64u		/* fewer: nobody has programmed the timing */

static unsigned bits(unsigned v, unsigned from, unsigned to)
{
	return (v >> from & 1) << to;
}

static unsigned vdisp_lines(const struct vga *v)
{
	unsigned o = v->cr[CR_OVERFLOW];

	return 1u + (v->cr[CR_VDISP_END] | bits(o, 1, 8) | bits(o, 6, 9));
}

static unsigned line_compare(const struct vga *v)
{
	return v->cr[CR_LINE_COMPARE] | bits(v->cr[CR_OVERFLOW], 4, 8) |
	       bits(v->cr[CR_MAX_SCAN], 6, 9);
}

static unsigned gcd(unsigned a, unsigned b)
{
	while (b) {
		unsigned r = a % b;

		a = b;
		b = r;
	}
	return a;
}

/*
 * Dots and lines that hardware only repeats are drawn once, as long as the
 * picture keeps its shape: 320 x 200 stays that, 640 x 200 becomes 640 x 400.
 */
static void picture_scale(const struct vga *v, struct vga_frame *f, bool text)
{
	unsigned h = v->seq[SEQ_CLOCK] & 8 ? 2 : 1, rep = f->doubled, g;

	if (f->dots == 4)
		h *= 2;
	if (!text && (v->cr[CR_MODE] & 3) == 3)	/* no row scan in the address */
		rep *= f->cell_h;
	g = gcd(h, rep);
	f->hscale = h / g;
	f->every = g;
}

/* Dots to the left (attribute register 13h). */
static unsigned panning(const struct vga *v, unsigned dots)
{
	unsigned p = v->at[AT_PEL_PAN];

	if (dots == 9)
		return p >= 8 ? 0 : p + 1;
	return dots == 4 ? (p & 7) / 2 : p & 7;
}

static void vbe_planes(const struct vga *v, struct vga_frame *f)
{
	*f = (struct vga_frame){
		.chars = v->vbe[VBE_XRES] / 8u, .dots = 8, .lines = v->vbe[VBE_YRES],
		.doubled = 1, .cell_h = 1, .split = UINT32_MAX, .big = true,
		.pitch = MAX(v->vbe[VBE_VIRT_W], v->vbe[VBE_XRES]) / 8u,
		.pan = v->vbe[VBE_X_OFF] & 7, .hscale = 1, .every = 1,
	};
	f->start = v->vbe[VBE_Y_OFF] * f->pitch + v->vbe[VBE_X_OFF] / 8u;
}

void vga_frame_get(const struct vga *v, struct vga_frame *f)
{
	bool text = !(v->gr[GR_MISC] & 1);

	if (vga_vbe_planar(v)) {
		vbe_planes(v, f);
		return;
	}
	*f = (struct vga_frame){
		.chars = v->cr[CR_HDISP_END] + 1u, .lines = vdisp_lines(v),
		.doubled = v->cr[CR_MAX_SCAN] & 0x80 ? 2 : 1,
		.cell_h = (v->cr[CR_MAX_SCAN] & 31u) + 1, .split = line_compare(v) + 1,
		.start = (v->cr[CR_START_HI] << 8 | v->cr[CR_START_LO]) +
			 (v->cr[CR_PRESET_ROW] >> 5 & 3u),
		.pitch = v->cr[CR_OFFSET] * 2u, .preset = v->cr[CR_PRESET_ROW] & 31u,
		.pan_top = v->at[AT_MODE] & 0x20,
	};
	f->dots = text && !(v->seq[SEQ_CLOCK] & 1) ? 9 : 8;
	if (!text && v->gr[GR_MODE] & 0x40)
		f->dots = 4;
	f->pan = panning(v, f->dots);
	picture_scale(v, f, text);
}

void vga_line_get(const struct vga_frame *f, unsigned line, struct vga_line *l)
{
	bool below = line >= f->split;
	unsigned scans = (below ? line - f->split : line) / f->doubled + (below ? 0 : f->preset);

	l->ma = (below ? 0 : f->start) + scans / f->cell_h * f->pitch;
	l->scan = scans % f->cell_h;
	l->pan = below && f->pan_top ? 0 : f->pan;
}

unsigned vga_address(const struct vga *v, const struct vga_frame *f, unsigned ma, unsigned scan)
{
	uint8_t mode = v->cr[CR_MODE];
	unsigned a = ma & 0xffff;

	if (f->big)
		return ma & (VGA_VRAM_SIZE / 4 - 1);
	if (v->cr[CR_UNDERLINE] & 0x40)
		a <<= 2;
	else if (!(mode & 0x40))
		a = a << 1 | (a >> (mode & 0x20 ? 15 : 13) & 1);
	if (!(mode & 1))
		a = (a & ~0x2000u) | (scan & 1) << 13;
	if (!(mode & 2))
		a = (a & ~0x4000u) | (scan >> 1 & 1) << 14;
	return a & VGA_PLANE_MASK;
}

/* ---- Time ---- */

struct beam {
	uint64_t dot;		/* since ever */
	unsigned line_dots, lines;
};

static void beam_get(const struct vga *v, uint64_t now, struct beam *b)
{
	unsigned o = v->cr[CR_OVERFLOW], dots = v->seq[SEQ_CLOCK] & 1 ? 8 : 9;
	uint32_t hz = v->misc & 0x0c ? CLOCK_28 : CLOCK_25;

	if (v->seq[SEQ_CLOCK] & 8)
		dots *= 2;
	b->line_dots = (v->cr[0] + 5u) * dots;
	b->lines = (v->cr[6] | bits(o, 0, 8) | bits(o, 5, 9)) + 2u;
	if (b->lines < MIN_LINES || v->cr[0] < 32) {
		b->line_dots = 800;
		b->lines = 449;
	}
	b->dot = muldiv64(now, hz, NS_PER_SEC);
}

uint64_t vga_frame_number(const struct vga *v, uint64_t now)
{
	struct beam b;

	beam_get(v, now, &b);
	return b.dot / ((uint64_t)b.line_dots * b.lines);
}

uint64_t vga_frames_ns(const struct vga *v, uint64_t now, unsigned frames)
{
	uint32_t hz = v->misc & 0x0c ? CLOCK_28 : CLOCK_25;
	struct beam b;
	uint64_t dots;

	beam_get(v, now, &b);
	dots = (uint64_t)b.line_dots * b.lines * frames;
	return muldiv64(dots - b.dot % dots, NS_PER_SEC, hz) + 1;
}

uint64_t vga_pictures_ended(const struct vga *v, uint64_t now)
{
	unsigned shown = vdisp_lines(v);
	struct beam b;

	beam_get(v, now, &b);
	shown = MIN(shown, b.lines);
	return (b.dot / b.line_dots + b.lines - shown) / b.lines;
}

static bool in_vretrace(const struct vga *v, unsigned line)
{
	unsigned o = v->cr[CR_OVERFLOW];
	unsigned from = v->cr[CR_VSYNC_START] | bits(o, 2, 8) | bits(o, 7, 9);
	unsigned len = (v->cr[CR_VSYNC_END] - from) & 15;

	return line >= from && line - from < (len ? len : 16);
}

/* Two of the eight colour outputs, chosen by attribute register 12h bits 4-5. */
static uint8_t video_feedback(const struct vga *v, uint8_t colour)
{
	static const uint8_t out[4][2] = { { 0, 2 }, { 4, 5 }, { 1, 3 }, { 6, 7 } };
	const uint8_t *o = out[v->at[AT_PLANES] >> 4 & 3];

	return (uint8_t)((colour >> o[0] & 1) << 4 | (colour >> o[1] & 1) << 5);
}

/* Input status 1.  The feedback sees the border's colour, and 0 inside the picture. */
uint8_t vga_status1(const struct vga *v, uint64_t now)
{
	struct beam b;
	unsigned line, x, shown;
	bool retrace, off;

	beam_get(v, now, &b);
	line = (unsigned)(b.dot / b.line_dots % b.lines);
	x = (unsigned)(b.dot % b.line_dots);
	shown = (v->cr[CR_HDISP_END] + 1u) * (b.line_dots / (v->cr[0] + 5u));
	if (b.line_dots == 800 && b.lines == 449 && v->cr[CR_VDISP_END] == 0) {
		retrace = line >= 412 && line < 414;	/* unprogrammed: as in mode 3 */
		off = line >= 400 || x >= 640;
	} else {
		retrace = in_vretrace(v, line);
		off = line >= vdisp_lines(v) || x >= shown;
	}
	return (uint8_t)((retrace ? 8 : 0) | off |
			 (off ? video_feedback(v, v->at[AT_OVERSCAN]) : 0));
}
