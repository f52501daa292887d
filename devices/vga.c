/* SPDX-License-Identifier: MIT */
/*
 * Standard VGA with the Bochs VBE extensions, PCI 1234:1111: the registers.
 *
 * IBM VGA Technical Reference (PS/2 Hardware Interface, 1990) for ports
 * 3B0-3DF; the Bochs "VBE Display API" (index 1CE, data 1CF/1D0; id B0C5)
 * for linear modes.  BAR 0 is the frame buffer, BAR 2 repeats the ports at
 * 400h and the VBE registers at 500h, as SeaVGABIOS and Linux know it.
 * The vertical interrupt (CRTC 11h) is there to be polled in input status 0;
 * it has no line: on cards since the VGA's first years a jumper keeps it off
 * IRQ 2, which is the SCI's here, and guests leave it armed.
 * Left out: DDC/EDID, the sleep port 3C3.
 */
#include "vga_int.h"

PCI_DEVICE_CHECK(struct vga);

/* Not in IBM's manual, in every VGA: the data latch of the read plane, the 3C0 flip-flop. */
#define CR_LATCH 0x22
#define CR_FLIP_FLOP 0x24
#define CR11_ARM 0x10		/* clear: the vertical interrupt's latch is held at 0 */

/* Bits that exist; the others read as 0 (Technical Reference, register pictures). */
static const uint8_t seq_bits[SEQ_NUM] = { 0x03, 0x3d, 0x0f, 0x3f, 0x0e };
static const uint8_t gr_bits[GR_NUM] = { 0x0f, 0x0f, 0x0f, 0x1f, 0x03, 0x7b, 0x0f, 0x0f, 0xff };

static uint8_t attr_bits(unsigned i)
{
	static const uint8_t bits[] = { 0xef, 0xff, 0x3f, 0x0f, 0x0f };

	return i < AT_MODE ? 0x3f : i - AT_MODE < ARRAY_SIZE(bits) ? bits[i - AT_MODE] : 0;
}

/* ---- VGA ports -------------------------------------------------------------- */

static uint8_t dac_data_read(struct vga *v)
{
	uint8_t b = v->dac[v->dac_read * 3 + v->dac_sub];

	if (++v->dac_sub == 3) {
		v->dac_sub = 0;
		v->dac_read++;
	}
	return b;
}

static void dac_data_write(struct vga *v, uint8_t b)
{
	bool dac8 = v->vbe[VBE_ENABLE] & VBE_DAC8;

	v->dac_cache[v->dac_sub] = b;
	if (++v->dac_sub < 3)
		return;
	v->dac_sub = 0;
	for (unsigned i = 0; i < 3; i++)
		v->dac[v->dac_write * 3 + i] = v->dac_cache[i] & (dac8 ? 0xff : 0x3f);
	v->dac_write++;
}

static void attr_write(struct vga *v, uint8_t b)
{
	if (!v->st_flip)
		v->at_idx = b & 0x3f;
	else
		v->at[v->at_idx & 31] = b & attr_bits(v->at_idx & 31);
	v->st_flip ^= 1;
}

static void crtc_write(struct vga *v, uint8_t b)
{
	unsigned i = v->cr_idx;

	if (i >= CR_NUM)
		return;
	if (i <= CR_OVERFLOW && v->cr[CR_VSYNC_END] & 0x80) {	/* write protection */
		if (i == CR_OVERFLOW)
			v->cr[i] = (uint8_t)((v->cr[i] & ~0x10) | (b & 0x10));
		return;
	}
	if (i == CR_VSYNC_END && b & ~v->cr[i] & CR11_ARM)
		v->vint_seen = vga_pictures_ended(v, vclock_now(dev_clock(&v->pci.dev)));
	v->cr[i] = b;
}

/* Input status 0: a colour monitor answers the sense; the vertical interrupt's latch. */
static uint8_t status0(struct vga *v)
{
	bool vint = v->cr[CR_VSYNC_END] & CR11_ARM &&
		    vga_pictures_ended(v, vclock_now(dev_clock(&v->pci.dev))) != v->vint_seen;

	return 0x10 | (vint ? 0x80 : 0);
}

static uint8_t crtc_read(const struct vga *v)
{
	if (v->cr_idx < CR_NUM)
		return v->cr[v->cr_idx];
	if (v->cr_idx == CR_LATCH)
		return v->latch[v->gr[GR_READ_MAP] & 3];
	return v->cr_idx == CR_FLIP_FLOP ? (uint8_t)(v->st_flip << 7) : 0;
}

/*
 * Misc output bit 0 moves the CRTC from 3B4 to 3D4.  3D4 answers in monochrome
 * modes too, unlike IBM's: SeaVGABIOS leaves mode 7 through it.
 */
static bool wrong_crtc(const struct vga *v, unsigned port)
{
	return port < 0x3c0 && v->misc & 1;
}

static uint8_t port_read(struct vga *v, unsigned port)
{
	if (wrong_crtc(v, port))
		return 0xff;
	switch (port) {
	case 0x3c0:
		return v->at_idx;
	case 0x3c1:
		return v->at[v->at_idx & 31];
	case 0x3c2:
		return status0(v);
	case 0x3c4:
		return v->seq_idx;
	case 0x3c5:
		return v->seq_idx < SEQ_NUM ? v->seq[v->seq_idx] : 0;
	case 0x3c6:
		return v->dac_mask;
	case 0x3c7:
		return v->dac_state;
	case 0x3c8:
		return v->dac_write;
	case 0x3c9:
		return dac_data_read(v);
	case 0x3ca:
		return v->feature;
	case 0x3cc:
		return v->misc;
	case 0x3ce:
		return v->gr_idx;
	case 0x3cf:
		return v->gr_idx < GR_NUM ? v->gr[v->gr_idx] : 0;
	case 0x3b4:
	case 0x3d4:
		return v->cr_idx;
	case 0x3b5:
	case 0x3d5:
		return crtc_read(v);
	case 0x3ba:
	case 0x3da:
		v->st_flip = 0;
		return vga_status1(v, vclock_now(dev_clock(&v->pci.dev)));
	default:
		return 0xff;
	}
}

static void port_write(struct vga *v, unsigned port, uint8_t b)
{
	if (wrong_crtc(v, port))
		return;
	vga_touched(v);
	switch (port) {
	case 0x3c0:
		attr_write(v, b);
		break;
	case 0x3c2:
		v->misc = b & 0xef;
		break;
	case 0x3c4:
		v->seq_idx = b;
		break;
	case 0x3c5:
		if (v->seq_idx < SEQ_NUM)
			v->seq[v->seq_idx] = b & seq_bits[v->seq_idx];
		break;
	case 0x3c6:
		v->dac_mask = b;
		break;
	case 0x3c7:
		v->dac_read = b;
		v->dac_sub = 0;
		v->dac_state = 3;
		break;
	case 0x3c8:
		v->dac_write = b;
		v->dac_sub = 0;
		v->dac_state = 0;
		break;
	case 0x3c9:
		dac_data_write(v, b);
		break;
	case 0x3ce:
		v->gr_idx = b;
		break;
	case 0x3cf:
		if (v->gr_idx < GR_NUM)
			v->gr[v->gr_idx] = b & gr_bits[v->gr_idx];
		break;
	case 0x3b4:
	case 0x3d4:
		v->cr_idx = b;
		break;
	case 0x3b5:
	case 0x3d5:
		crtc_write(v, b);
		break;
	case 0x3ba:
	case 0x3da:
		v->feature = b & 3;
		break;
	default:
		break;
	}
}

static uint64_t ports_read(struct device *d, uint64_t off, unsigned size)
{
	return port_read((struct vga *)d, 0x3b0 + (unsigned)off);
}

static void ports_write(struct device *d, uint64_t off, unsigned size, uint64_t val)
{
	port_write((struct vga *)d, 0x3b0 + (unsigned)off, (uint8_t)val);
}

static const struct io_ops ports_ops = { ports_read, ports_write, 1, 1 };

/* BAR 2: 400h + n = port 3C0 + n, 500h + 2 n = VBE register n. */
static uint64_t mmio_read(struct device *d, uint64_t off, unsigned size)
{
	struct vga *v = (struct vga *)d;
	uint16_t val;

	if (off >= 0x400 && off < 0x420)
		return port_read(v, 0x3c0 + (unsigned)off - 0x400) |
		       (size == 2 ? (uint64_t)port_read(v, 0x3c1 + (unsigned)off - 0x400) << 8 : 0);
	if (off < 0x500 || off >= 0x500 + 2 * VBE_NUM)
		return 0xffff;
	val = vga_vbe_read(v, (unsigned)(off - 0x500) / 2);
	return off & 1 ? val >> 8 : val;
}

static void mmio_write(struct device *d, uint64_t off, unsigned size, uint64_t val)
{
	struct vga *v = (struct vga *)d;

	if (off >= 0x400 && off < 0x420) {
		for (unsigned i = 0; i < size; i++)
			port_write(v, 0x3c0 + (unsigned)off - 0x400 + i, (uint8_t)(val >> i * 8));
		return;
	}
	if (off < 0x500 || off >= 0x500 + 2 * VBE_NUM || off & 1)
		return;
	vga_vbe_write(v, (unsigned)(off - 0x500) / 2, (uint16_t)val);
}

static const struct io_ops mmio_ops = { mmio_read, mmio_write, 1, 2 };

/* ---- life -------------------------------------------------------------------- */

struct plain_vga {
	struct vga v;
};

const struct state_field vga_core_fields[] = {
	STATE_U8(struct vga, misc), STATE_U8(struct vga, feature), STATE_U8(struct vga, st_flip),
	STATE_U8(struct vga, seq_idx), STATE_U8(struct vga, gr_idx), STATE_U8(struct vga, cr_idx),
	STATE_U8(struct vga, at_idx), STATE_U8S(struct vga, seq), STATE_U8S(struct vga, gr),
	STATE_U8S(struct vga, cr), STATE_U8S(struct vga, at), STATE_U8S(struct vga, latch),
	STATE_U8(struct vga, dac_mask), STATE_U8(struct vga, dac_state),
	STATE_U8(struct vga, dac_read), STATE_U8(struct vga, dac_write),
	STATE_U8(struct vga, dac_sub), STATE_U8S(struct vga, dac), STATE_U8S(struct vga, dac_cache),
	STATE_U16(struct vga, vbe_idx), STATE_U16S(struct vga, vbe),
	STATE_ROW_(struct vga, vint_seen, uint64_t, F_U64, 2),
	STATE_END
};

static const struct state_field vga_state[] = {
	PCI_STATE(struct plain_vga, v.pci), STATE_STRUCT(struct plain_vga, v, vga_core_fields),
	STATE_END
};

bool vga_set_rom(struct device *d, const uint8_t *rom, size_t len, struct err *e)
{
	struct vga *v = (struct vga *)d;
	uint64_t size = 4096;
	struct gm_block *b;

	if (!rom || !len)
		return true;
	if (len > KiB(256))
		return err_set(e, HV_EXIT_GENERIC, "the VGA BIOS is larger than 256 KiB");
	while (size < len)
		size *= 2;
	b = gm_block_new(dev_mem(d), "vgarom", size, e);
	if (!b)
		return false;
	v->pci.bars[PCI_ROM_SLOT].block = b;
	return gm_block_write(b, 0, rom, len);
}

struct gm_block *vga_take_rom(struct vga *v)
{
	struct gm_block *rom = v->pci.bars[PCI_ROM_SLOT].block;

	v->pci.bars[PCI_ROM_SLOT].block = NULL;
	return rom;
}

static void tell(void *opaque)
{
	vga_touched(opaque);
}

/* Any thread; once until the next harvest. */
static void vram_written(void *opaque)
{
	struct vga *v = opaque;

	loop_post(v->pci.dev.vm->loop, &v->news);
}

bool vga_core_realize(struct vga *v, struct gm_block *rom, const struct display_source *src,
		      struct err *e)
{
	struct device *d = &v->pci.dev;

	v->vram = gm_block_new(dev_mem(d), "vram", VGA_VRAM_SIZE, e);
	if (!v->vram || !pci_bar_mem(&v->pci, 0, PCI_BAR_PREF32, v->vram, GM_DIRTY_LOG, e) ||
	    !pci_bar_io(&v->pci, 2, PCI_BAR_MEM32, 4096, &mmio_ops, e) ||
	    (rom && !pci_bar_mem(&v->pci, PCI_ROM_SLOT, PCI_BAR_MEM32, rom, GM_READONLY, e)))
		return false;
	v->ports = (struct io_region){
		.kind = BUS_PIO, .base = 0x3b0, .len = 0x30, .ops = &ports_ops, .name = "vga"
	};
	v->dispi = (struct io_region){ .kind = BUS_PIO, .base = 0x1ce, .len = 3,
				       .ops = &vga_dispi_ops,
				       .name = "vbe" };
	v->window = (struct io_region){ .kind = BUS_MMIO, .base = 0xa0000, .len = 0x20000,
					.ops = &vga_window_ops, .name = "vga-window" };
	v->news = (struct loop_work){ .fn = tell, .opaque = v };
	v->bell = (struct bell){ .fn = vram_written, .opaque = v };
	gm_dirty_set_bell(v->vram, &v->bell);
	if (d->vm->display)
		display_set_source(d->vm->display, src);
	return dev_add_region(d, &v->ports, e) && dev_add_region(d, &v->dispi, e) &&
	       dev_add_region(d, &v->window, e);
}

static bool vga_realize(struct device *d, struct err *e)
{
	static const struct pci_id id = { .vendor = 0x1234,
					  .device = 0x1111,
					  .subsys_vendor = 0x1af4,
					  .subsys_id = 0x1100,
					  .class_code = 0x0300,
					  .revision = 2 };
	struct vga *v = (struct vga *)d;
	struct display_source src = { .refresh = vga_refresh, .text = vga_text,
				      .rest_ms = vga_rest_ms, .dev = v };
	struct gm_block *rom = vga_take_rom(v);

	pci_init(&v->pci, &id);
	return vga_core_realize(v, rom, &src, e);
}

void vga_core_reset(struct vga *v)
{
	size_t from = offsetof(struct vga, misc), to = offsetof(struct vga, redraw);

	memset((char *)v + from, 0, to - from);
	v->misc = 1;
	v->dac_mask = 0xff;
	v->vbe[VBE_ID] = 0xb0c5;
	v->redraw = true;
	vga_touched(v);
}

static void vga_reset(struct device *d)
{
	struct vga *v = (struct vga *)d;

	pci_reset(&v->pci);
	vga_core_reset(v);
}

void vga_core_unrealize(struct vga *v)
{
	struct display_source none = { 0 };

	if (v->vram)
		gm_dirty_set_bell(v->vram, NULL);
	loop_unpost(v->pci.dev.vm->loop, &v->news);
	if (v->pci.dev.vm->display)
		display_set_source(v->pci.dev.vm->display, &none);
}

static void vga_unrealize(struct device *d)
{
	vga_core_unrealize((struct vga *)d);
}

bool vga_core_post_load(struct vga *v, struct err *e)
{
	if (v->dac_sub > 2 || v->st_flip > 1 || v->vbe[VBE_BANK] >= VGA_VRAM_SIZE / 0x10000 ||
	    (vga_vbe_on(v) && !vga_vbe_mode_ok(v)))
		return err_set(e, HV_EXIT_IMAGE, "impossible VGA register values");
	v->redraw = true;
	vga_touched(v);
	return true;
}

static bool vga_post_load(struct device *d, struct err *e)
{
	struct vga *v = (struct vga *)d;

	return vga_core_post_load(v, e) && pci_post_load(&v->pci, e);
}

const struct device_ops vga_ops = {
	.name = "vga", .size = sizeof(struct vga), .realize = vga_realize, .reset = vga_reset,
	.unrealize = vga_unrealize, .state = vga_state, .state_version = 2,
	.post_load = vga_post_load,
};
