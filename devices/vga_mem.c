/* SPDX-License-Identifier: MIT */
/*
 * The VGA's legacy memory window, A0000-BFFFF: planes, write modes 0-3,
 * read modes 0-1, chain-4, odd/even, and VBE banks.  All ways of addressing
 * share one data path, so latches and write modes work in each of them.
 *
 * IBM VGA Technical Reference (PS/2 Hardware Interface, 1990), "Graphics
 * Controller Registers".  Accesses go byte by byte, as on the 8-bit path.
 * Left out: 64 KiB cards (memory mode bit 1), the page bit of odd/even (misc
 * output bit 5).
 */
#include "vga_int.h"

static uint8_t vram_get(struct vga *v, uint32_t at)
{
	uint8_t b;

	return gm_block_read(v->vram, at & (VGA_VRAM_SIZE - 1), &b, 1) ? b : 0xff;
}

static void vram_put(struct vga *v, uint32_t at, uint8_t b)
{
	if (!v->window_dirty) {
		v->bell.armed = false;	/* the log need not tell */
		vga_touched(v);
	}
	v->window_dirty |= gm_block_write(v->vram, at & (VGA_VRAM_SIZE - 1), &b, 1);
}

/* Offset inside the mapped aperture, or -1 when the access misses it (GR6 bits 2-3). */
static int32_t aperture(const struct vga *v, uint64_t off)
{
	switch (v->gr[GR_MISC] >> 2 & 3) {
	case 0:
		return (int32_t)off;			/* A0000, 128 KiB */
	case 1:
		return off < 0x10000 ? (int32_t)off : -1;
	case 2:
		return off >= 0x10000 && off < 0x18000 ? (int32_t)off - 0x10000 : -1;
	default:
		return off >= 0x18000 ? (int32_t)off - 0x18000 : -1;
	}
}

/*
 * Where a byte of the window lies: the plane address, the planes that a write
 * can reach before the map mask, the plane that a read gives.
 */
struct spot {
	uint32_t addr;
	uint8_t planes, plane;
};

static bool spot_of(const struct vga *v, uint64_t off, bool write, struct spot *s)
{
	int32_t a = aperture(v, off);
	bool odd_even = write ? !(v->seq[SEQ_MEM_MODE] & 4) : v->gr[GR_MODE] & 0x10;
	uint8_t low = (uint8_t)(a & 3), read_map = v->gr[GR_READ_MAP] & 3;

	if (vga_vbe_planar(v)) {
		s->addr = v->vbe[VBE_BANK] * 0x10000u + (uint32_t)(off & 0xffff);
		s->planes = 15;
		s->plane = read_map;
		return true;
	}
	if (a < 0)
		return false;
	s->addr = (uint32_t)a & VGA_PLANE_MASK;
	if (v->seq[SEQ_MEM_MODE] & 8) {		/* chain 4: A0 and A1 choose the plane */
		s->addr &= ~3u;
		s->planes = (uint8_t)(1 << low);
		s->plane = low;
	} else if (odd_even) {			/* A16 takes the place of A0 */
		s->addr = (s->addr & ~1u) | ((uint32_t)a >> 16 & 1);
		s->planes = (uint8_t)(5 << (low & 1));
		s->plane = (read_map & 2) | (low & 1);
	} else {
		s->planes = 15;
		s->plane = read_map;
	}
	return true;
}

static uint8_t colour_compare(const struct vga *v)
{
	uint8_t out = 0xff;

	for (unsigned p = 0; p < 4; p++)
		if (v->gr[GR_DONT_CARE] >> p & 1)
			out &= v->gr[GR_COMPARE] >> p & 1 ? v->latch[p] : (uint8_t)~v->latch[p];
	return out;
}

/* A linear VBE mode: the window shows 64 KiB of the frame buffer. */
static bool is_bank(const struct vga *v)
{
	return vga_vbe_on(v) && !vga_vbe_planar(v);
}

static uint8_t window_read_byte(struct vga *v, uint64_t off)
{
	struct spot s;

	if (is_bank(v))
		return vram_get(v, v->vbe[VBE_BANK] * 0x10000u + (uint32_t)(off & 0xffff));
	if (!spot_of(v, off, false, &s))
		return 0xff;
	for (unsigned p = 0; p < 4; p++)
		v->latch[p] = vram_get(v, s.addr * 4 + p);
	return v->gr[GR_MODE] & 8 ? colour_compare(v) : v->latch[s.plane];
}

static uint8_t rotate(uint8_t b, unsigned n)
{
	return (uint8_t)(b >> n | b << (8 - n));
}

static uint8_t combine(const struct vga *v, uint8_t b, uint8_t latch)
{
	switch (v->gr[GR_ROTATE] >> 3 & 3) {
	case 1:
		return b & latch;
	case 2:
		return b | latch;
	case 3:
		return b ^ latch;
	default:
		return b;
	}
}

/* The byte that write mode @mode gives plane @p, before the map mask. */
static uint8_t plane_value(const struct vga *v, unsigned p, uint8_t cpu)
{
	uint8_t mask = v->gr[GR_BIT_MASK], latch = v->latch[p], b;
	uint8_t sr = v->gr[GR_SET_RESET] >> p & 1 ? 0xff : 0;

	switch (v->gr[GR_MODE] & 3) {
	case 0:
		b = rotate(cpu, v->gr[GR_ROTATE] & 7);
		if (v->gr[GR_ENABLE_SR] >> p & 1)
			b = sr;
		break;
	case 1:
		return latch;
	case 2:
		b = cpu >> p & 1 ? 0xff : 0;
		break;
	default:
		mask &= rotate(cpu, v->gr[GR_ROTATE] & 7);
		b = sr;
		break;
	}
	b = combine(v, b, latch);
	return (uint8_t)((b & mask) | (latch & ~mask));
}

static void window_write_byte(struct vga *v, uint64_t off, uint8_t b)
{
	struct spot s;

	if (is_bank(v)) {
		vram_put(v, v->vbe[VBE_BANK] * 0x10000u + (uint32_t)(off & 0xffff), b);
		return;
	}
	if (!spot_of(v, off, true, &s))
		return;
	for (unsigned p = 0; p < 4; p++)
		if (v->seq[SEQ_MAP_MASK] & s.planes & 1u << p)
			vram_put(v, s.addr * 4 + p, plane_value(v, p, b));
}

static uint64_t window_read(struct device *d, uint64_t off, unsigned size)
{
	uint64_t out = 0;

	for (unsigned i = 0; i < size; i++)
		out |= (uint64_t)window_read_byte((struct vga *)d, off + i) << i * 8;
	return out;
}

static void window_write(struct device *d, uint64_t off, unsigned size, uint64_t val)
{
	for (unsigned i = 0; i < size; i++)
		window_write_byte((struct vga *)d, off + i, (uint8_t)(val >> i * 8));
}

const struct io_ops vga_window_ops = { window_read, window_write, 1, 8 };
