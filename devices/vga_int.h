/* SPDX-License-Identifier: MIT */
/*
 * VGA, private interface between vga.c (registers, PCI), vga_mem.c (the
 * A0000 window) and vga_draw.c (scan-out).
 *
 * Video memory is kept as the hardware interleaves it: byte 4 * address +
 * plane, which is also the byte order of the linear modes.
 */
#ifndef HV_VGA_INT_H
#define HV_VGA_INT_H

#include "vga.h"
#include "../src/display.h"
#include "../src/pci.h"
#include "../src/vm.h"
#include "virtio/virtio.h"

#define VGA_VRAM_SIZE MiB(16)
#define VGA_PLANE_MASK 0xffffu	/* 64 KiB a plane in the legacy window */
#define VGA_MAX_CELLS (256 * 128)

enum { SEQ_RESET, SEQ_CLOCK, SEQ_MAP_MASK, SEQ_CHAR_MAP, SEQ_MEM_MODE, SEQ_NUM = 8 };
enum { GR_SET_RESET, GR_ENABLE_SR, GR_COMPARE, GR_ROTATE, GR_READ_MAP, GR_MODE, GR_MISC,
       GR_DONT_CARE, GR_BIT_MASK, GR_NUM = 16 };
enum { CR_HDISP_END = 1, CR_OVERFLOW = 7, CR_PRESET_ROW, CR_MAX_SCAN, CR_CUR_START, CR_CUR_END,
       CR_START_HI, CR_START_LO, CR_CUR_HI, CR_CUR_LO, CR_VSYNC_START, CR_VSYNC_END, CR_VDISP_END,
       CR_OFFSET, CR_UNDERLINE, CR_VBLANK_START, CR_VBLANK_END, CR_MODE, CR_LINE_COMPARE,
       CR_NUM = 32 };
enum { AT_MODE = 16, AT_OVERSCAN, AT_PLANES, AT_PEL_PAN, AT_COLOR_SEL, AT_NUM = 32 };
enum { VBE_ID, VBE_XRES, VBE_YRES, VBE_BPP, VBE_ENABLE, VBE_BANK, VBE_VIRT_W, VBE_VIRT_H, VBE_X_OFF,
       VBE_Y_OFF, VBE_MEM_64K, VBE_NUM = 16 };
#define VBE_EN 0x01
#define VBE_CAPS 0x02
#define VBE_DAC8 0x20
#define VBE_LFB 0x40
#define VBE_NOCLEAR 0x80

struct vga {
	union {				/* must stay first */
		struct pci_dev pci;
		struct virtio_dev virtio;	/* virtio-vga: one function is both */
	};
	struct gm_block *vram;	/* immutable after realize */
	struct io_region ports, window, dispi;

	uint8_t misc, feature, st_flip;	/* st_flip: attribute flip-flop, 0 = index */
	uint8_t seq_idx, gr_idx, cr_idx, at_idx;
	uint8_t seq[SEQ_NUM], gr[GR_NUM], cr[CR_NUM], at[AT_NUM];
	uint8_t latch[4];
	uint8_t dac_mask, dac_state, dac_read, dac_write, dac_sub;
	uint8_t dac[768], dac_cache[3];
	uint16_t vbe_idx, vbe[VBE_NUM];
	uint64_t retrace_origin;	/* virtual ns of a frame start */

	/* scan-out cache, derived: not saved */
	bool redraw;			/* everything must be drawn again */
	bool graphics_dirty;		/* the window was written in a graphics mode */
	uint32_t mode_key[10];		/* what the picture's shape depends on */
	uint32_t cells[VGA_MAX_CELLS];	/* text: character | attribute << 8 | state as last drawn */
	uint8_t font[2][256 * 32];
	bool cursor_on, blink_on;	/* phases of the blink counters */
	uint32_t palette[256];
	uint64_t dirty[VGA_VRAM_SIZE / 4096 / 64];
};

/*
 * vga.c: a VGA inside another PCI function.  The order is vga_take_rom(),
 * pci_init() by the owner, vga_core_realize().
 */
extern const struct state_field vga_core_fields[];
struct gm_block *vga_take_rom(struct vga *v);
bool vga_core_realize(struct vga *v, struct gm_block *rom, const struct display_source *src,
		      struct err *e);
void vga_core_unrealize(struct vga *v);
void vga_core_reset(struct vga *v);	/* all but the PCI registers */
bool vga_core_post_load(struct vga *v, struct err *e);

/* vga_mem.c: the handlers of the A0000-BFFFF window. */
extern const struct io_ops vga_window_ops;
/* Bank offset for VBE banked modes; true when VBE is on. */
static inline bool vga_vbe_on(const struct vga *v)
{
	return v->vbe[VBE_ENABLE] & VBE_EN;
}

/* vga_draw.c */
void vga_refresh(void *dev);
size_t vga_text(void *dev, char *buf, size_t len);
/* Visible size in text cells; false in graphics modes. */
bool vga_text_geometry(const struct vga *v, unsigned *cols, unsigned *rows, unsigned *cell_h);

#endif
