/* SPDX-License-Identifier: MIT */
/*
 * The VGA's Bochs VBE extensions ("VBE Display API" of the Bochs project,
 * interface B0C5): the index and data ports 1CE/1CF, and the scan-out of the
 * linear modes of 8, 15, 16, 24 and 32 bits a pixel.
 *
 * In 4-bit modes the planes stay what they are in a VGA, with more memory
 * behind the window: vga_mem.c and vga_crtc.c do those.
 */
#include "vga_int.h"

/* Bytes of video memory that @pixels of a line take, in all planes together. */
static unsigned bytes_of(unsigned bpp, unsigned pixels)
{
	return bpp == 4 ? pixels / 2 : pixels * ((bpp + 7) / 8);
}

bool vga_vbe_mode_ok(const struct vga *v)
{
	unsigned bpp = v->vbe[VBE_BPP];
	uint64_t pitch = bytes_of(bpp, v->vbe[VBE_XRES]);

	if (bpp != 4 && bpp != 8 && bpp != 15 && bpp != 16 && bpp != 24 && bpp != 32)
		return false;
	return v->vbe[VBE_XRES] && v->vbe[VBE_YRES] && v->vbe[VBE_XRES] <= DISPLAY_MAX_DIM &&
	       v->vbe[VBE_YRES] <= DISPLAY_MAX_DIM &&
	       pitch * v->vbe[VBE_YRES] <= VGA_VRAM_SIZE;
}

static void vbe_clear(struct vga *v)
{
	static const uint8_t zero[65536];

	for (uint64_t off = 0; off < VGA_VRAM_SIZE; off += sizeof(zero))
		if (!gm_block_write(v->vram, off, zero, sizeof(zero)))
			return;
}

static void vbe_enable(struct vga *v, uint16_t val)
{
	bool was = vga_vbe_on(v);

	if (val & VBE_EN && !was) {
		if (!vga_vbe_mode_ok(v)) {
			dev_guest_error(&v->pci.dev, "VBE mode %ux%ux%u is impossible",
					v->vbe[VBE_XRES], v->vbe[VBE_YRES], v->vbe[VBE_BPP]);
			return;
		}
		v->vbe[VBE_VIRT_W] = v->vbe[VBE_XRES];
		v->vbe[VBE_X_OFF] = v->vbe[VBE_Y_OFF] = 0;
		if (!(val & VBE_NOCLEAR))
			vbe_clear(v);
	}
	v->vbe[VBE_ENABLE] = val & (VBE_EN | VBE_CAPS | VBE_DAC8 | VBE_LFB | VBE_NOCLEAR);
	v->vbe[VBE_BANK] = 0;
	v->redraw = true;
}

uint16_t vga_vbe_read(struct vga *v, unsigned reg)
{
	unsigned bpp = v->vbe[VBE_BPP], pitch;

	if (v->vbe[VBE_ENABLE] & VBE_CAPS && reg >= VBE_XRES && reg <= VBE_BPP)
		return reg == VBE_XRES ? 2560 : reg == VBE_YRES ? 1600 : 32;
	switch (reg) {
	case VBE_VIRT_H:
		pitch = bytes_of(bpp, v->vbe[VBE_VIRT_W]);
		return pitch ? (uint16_t)MIN(VGA_VRAM_SIZE / pitch, 0xffffu) : 0;
	case VBE_MEM_64K:
		return (uint16_t)(VGA_VRAM_SIZE >> 16);
	default:
		return reg < VBE_NUM ? v->vbe[reg] : 0;
	}
}

void vga_vbe_write(struct vga *v, unsigned reg, uint16_t val)
{
	vga_touched(v);
	switch (reg) {
	case VBE_ID:
		if (val >= 0xb0c0 && val <= 0xb0c5)
			v->vbe[VBE_ID] = val;
		break;
	case VBE_XRES:
	case VBE_YRES:
	case VBE_BPP:
		if (!vga_vbe_on(v))
			v->vbe[reg] = val;
		break;
	case VBE_ENABLE:
		vbe_enable(v, val);
		break;
	case VBE_BANK:
		v->vbe[VBE_BANK] = val & (VGA_VRAM_SIZE / 0x10000 - 1);
		break;
	case VBE_VIRT_W:
		if (val >= v->vbe[VBE_XRES] && val <= DISPLAY_MAX_DIM)
			v->vbe[VBE_VIRT_W] = val;
		break;
	case VBE_X_OFF:
	case VBE_Y_OFF:
		v->vbe[reg] = val;
		break;
	default:
		break;
	}
}

static uint64_t dispi_read(struct device *d, uint64_t off, unsigned size)
{
	struct vga *v = (struct vga *)d;

	return off == 0 ? v->vbe_idx : vga_vbe_read(v, v->vbe_idx);
}

static void dispi_write(struct device *d, uint64_t off, unsigned size, uint64_t val)
{
	struct vga *v = (struct vga *)d;

	if (off == 0)
		v->vbe_idx = (uint16_t)val;
	else
		vga_vbe_write(v, v->vbe_idx, (uint16_t)val);
}

/* Ports 1CE (index), 1CF and 1D0 (data): word registers at byte distance. */
const struct io_ops vga_dispi_ops = { dispi_read, dispi_write, 1, 2 };

/* ---- Scan-out of the linear modes ---- */

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

static void set_key(struct vga *v, uint32_t w, uint32_t h, uint32_t bpp, uint32_t pitch,
		    uint32_t off)
{
	uint32_t key[VGA_KEY] = { 3, w, h, bpp, pitch, off };

	if (memcmp(v->mode_key, key, sizeof(key)))
		v->redraw = true;
	memcpy(v->mode_key, key, sizeof(key));
}

/* 8 bits a pixel index the DAC; the attribute controller is not in the way. */
static void update_palette(struct vga *v)
{
	for (unsigned i = 0; i < 256; i++) {
		uint32_t c = vga_dac_colour(v, i & v->dac_mask);

		if (v->palette[i] != c)
			v->redraw = true;
		v->palette[i] = c;
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

void vga_refresh_vbe(struct vga *v, struct display *d)
{
	unsigned w = v->vbe[VBE_XRES], h = v->vbe[VBE_YRES], bpp = v->vbe[VBE_BPP];
	unsigned bytes_pp = (bpp + 7) / 8, from = UINT32_MAX, to = 0;
	uint64_t pitch = (uint64_t)MAX(v->vbe[VBE_VIRT_W], v->vbe[VBE_XRES]) * bytes_pp;
	uint64_t off = v->vbe[VBE_Y_OFF] * pitch + (uint64_t)v->vbe[VBE_X_OFF] * bytes_pp;
	bool slot = v->pci.bars[0].slot;

	v->blinks = 0;
	if (!display_resize(d, w, h))
		return;
	set_key(v, w, h, bpp, (uint32_t)pitch, (uint32_t)off);
	if (bpp == 8)
		update_palette(v);
	if (!slot && v->window_dirty)
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
