/* SPDX-License-Identifier: MIT */
/*
 * VGA scan-out: the colours, and the graphics modes of the VGA proper
 * (planar, CGA-compatible, 256 colours) into an XRGB8888 surface.
 *
 * IBM VGA Technical Reference, "Graphics Modes", "Attribute Controller",
 * "Video Digital-to-Analog Converter".  Left out: the overscan border, and
 * modes that load the shift registers every second or fourth clock.
 */
#include "vga_int.h"

#define BLINK_FRAMES 16u

/* ---- Colours ---- */

uint32_t vga_dac_colour(const struct vga *v, unsigned i)
{
	const uint8_t *c = &v->dac[(i & 0xff) * 3];

	if (v->vbe[VBE_ENABLE] & VBE_DAC8)
		return (uint32_t)c[0] << 16 | (uint32_t)c[1] << 8 | c[2];
	return (uint32_t)((c[0] & 63) * 255 / 63) << 16 | (uint32_t)((c[1] & 63) * 255 / 63) << 8 |
	       (uint32_t)((c[2] & 63) * 255 / 63);
}

/* Attribute index 0-15 -> DAC index (palette register, colour select). */
static unsigned attr_index(const struct vga *v, unsigned i)
{
	unsigned p = v->at[i & v->at[AT_PLANES] & 15] & 63;

	if (v->at[AT_MODE] & 0x80)
		p = (p & 15) | (v->at[AT_COLOR_SEL] & 3u) << 4;
	return p | (v->at[AT_COLOR_SEL] & 0xcu) << 4;
}

/* 256 colours: each half passes the palette registers on its own. */
static unsigned attr_index256(const struct vga *v, unsigned i)
{
	unsigned planes = v->at[AT_PLANES] & 15;

	return (v->at[i >> 4 & planes] & 15u) << 4 | (v->at[i & planes] & 15u);
}

/* Recomputed each refresh; a changed palette redraws the picture. */
void vga_update_palette(struct vga *v, bool indexed256)
{
	for (unsigned i = 0; i < 256; i++) {
		unsigned index = indexed256 ? attr_index256(v, i) : attr_index(v, i);
		uint32_t c = vga_dac_colour(v, index & v->dac_mask);

		if (v->palette[i] != c) {
			v->palette[i] = c;
			v->redraw = true;
		}
	}
}

/* ---- Shape ---- */

/* A picture of another shape, or fetched in another way, is drawn anew. */
void vga_set_key(struct vga *v, unsigned kind, const struct vga_frame *f)
{
	uint32_t key[VGA_KEY] = {
		kind, f->chars, f->dots, f->lines, f->doubled, f->cell_h, f->split, f->start,
		f->pitch, f->preset, f->pan, f->pan_top, f->hscale, f->every, v->gr[GR_MODE],
		v->cr[CR_MODE], v->cr[CR_UNDERLINE], v->at[AT_MODE], f->big,
		(uint32_t)(v->cr[CR_CUR_START] << 8 | v->cr[CR_CUR_END]),
	};

	if (memcmp(v->mode_key, key, sizeof(key)))
		v->redraw = true;
	memcpy(v->mode_key, key, sizeof(key));
}

void vga_put_line(const struct vga_frame *f, struct surface *s, unsigned y, const uint32_t *dots)
{
	uint32_t *out = s->pixels + (size_t)y * s->stride;

	if (f->hscale == 1) {
		memcpy(out, dots, s->w * sizeof(*out));
		return;
	}
	for (unsigned x = 0; x < s->w; x++)
		out[x] = dots[x / f->hscale];
}

/* ---- VGA graphics ---- */

/* One character clock: 8 dots from 4 plane bytes. */
static void planar_dots(const struct vga *v, const uint8_t q[4], uint32_t *out)
{
	bool blinks = v->at[AT_MODE] & 8;

	for (unsigned x = 0; x < 8; x++) {
		unsigned b = 7 - x;
		unsigned i = (q[0] >> b & 1u) | (q[1] >> b & 1u) << 1 | (q[2] >> b & 1u) << 2 |
			     (q[3] >> b & 1u) << 3;

		if (blinks)	/* colours 0-7 show as 8-15, those blink */
			i = v->blink_on ? i ^ 8 : i | 8;
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

static bool draw_line(const struct vga *v, const struct vga_frame *f, struct surface *s,
		      unsigned y)
{
	uint32_t dots[DISPLAY_MAX_DIM + 16], *out = dots;
	struct vga_line l;

	vga_line_get(f, y * f->every, &l);
	for (unsigned c = 0; c <= f->chars; c++, out += f->dots) {	/* one more: panning */
		uint8_t q[4] = { 0 };

		if (!gm_block_read(v->vram, vga_address(v, f, l.ma + c, l.scan) * 4u, q, 4))
			return false;
		if (f->dots == 4)
			for (unsigned i = 0; i < 4; i++)
				out[i] = v->palette[q[i]];
		else if (v->gr[GR_MODE] & 0x20 && !f->big)
			cga_dots(v, q, out);
		else
			planar_dots(v, q, out);
	}
	vga_put_line(f, s, y, dots + l.pan);
	return true;
}

static void refresh_graphics(struct vga *v, struct display *d)
{
	struct vga_frame f;
	struct surface *s;
	bool on;

	vga_frame_get(v, &f);
	if (!f.chars || f.chars * f.dots > DISPLAY_MAX_DIM || f.lines < f.every ||
	    !display_resize(d, f.chars * f.dots * f.hscale, f.lines / f.every))
		return;
	vga_set_key(v, 2, &f);
	vga_update_palette(v, f.dots == 4);
	on = vga_frame_number(v, vclock_now(dev_clock(&v->pci.dev))) / BLINK_FRAMES & 1;
	if (v->at[AT_MODE] & 8 && on != v->blink_on)
		v->redraw = true;
	v->blink_on = on;
	v->blinks = v->at[AT_MODE] & 8 ? BLINK_FRAMES : 0;
	if (!v->redraw && !v->window_dirty)
		return;
	s = display_surface(d);
	for (unsigned y = 0; y < s->h; y++)
		if (!draw_line(v, &f, s, y))
			return;
	display_damage(d, (struct rect){ 0, 0, s->w, s->h });
}

/* The frame buffer's log; in the VGA's own modes any write there counts. */
static void harvest(struct vga *v)
{
	struct gm_slot *slot = v->pci.bars[0].slot;

	bell_arm(&v->bell);
	if (slot && gm_dirty_harvest(v->pci.dev.vm->mem, slot, v->dirty))
		v->window_dirty = true;
}

void vga_refresh(void *dev)
{
	struct vga *v = dev;
	struct display *d = v->pci.dev.vm->display;
	bool blank = !(v->at_idx & 0x20) || v->seq[SEQ_CLOCK] & 0x20 || !(v->cr[CR_MODE] & 0x80);

	if (!d)
		return;
	display_set_blank(d, blank && !vga_vbe_on(v));
	harvest(v);
	if (vga_vbe_on(v) && !vga_vbe_planar(v))
		vga_refresh_vbe(v, d);
	else if (vga_vbe_on(v) || v->gr[GR_MISC] & 1)
		refresh_graphics(v, d);
	else
		vga_refresh_text(v, d);
	v->redraw = false;
	v->window_dirty = false;
}

int vga_rest_ms(void *dev)
{
	struct vga *v = dev;

	if (v->pci.bars[0].slot && !gm_dirty_tells(v->pci.dev.vm->mem))
		return 0;
	if (!v->blinks || display_blank(v->pci.dev.vm->display))
		return -1;
	return (int)(vga_frames_ns(v, vclock_now(dev_clock(&v->pci.dev)), v->blinks) /
		     NS_PER_MS) + 1;
}
