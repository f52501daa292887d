/* SPDX-License-Identifier: MIT */
/*
 * VGA, private interface between vga.c (registers, PCI), vga_vbe.c (linear
 * modes), vga_mem.c (the A0000 window), vga_crtc.c (addresses and time of the
 * scan), vga_draw.c and vga_cells.c (the picture).
 *
 * Video memory is kept as the hardware interleaves it: byte 4 * address +
 * plane, which is also the byte order of the linear modes.
 */
#ifndef HV_VGA_INT_H
#define HV_VGA_INT_H

#include "vga.h"
#include "../src/display.h"
#include "../src/loop.h"
#include "../src/pci.h"
#include "../src/vm.h"
#include "virtio/virtio.h"

#define VGA_VRAM_SIZE MiB(16)
#define VGA_PLANE_MASK 0xffffu	/* 64 KiB a plane in the legacy window */
#define VGA_MAX_CELLS (256 * 128)
#define VGA_KEY 20u

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
	uint64_t vint_seen;		/* pictures ended when the vertical interrupt was armed */

	/* scan-out cache, derived: not saved */
	bool redraw;			/* everything must be drawn again */
	bool window_dirty;		/* video memory was written through the window */
	uint32_t mode_key[VGA_KEY];	/* what the picture's shape depends on */
	uint32_t cells[VGA_MAX_CELLS];	/* text: character | attribute << 8 | state as last drawn */
	uint8_t font[2][256 * 32];
	bool cursor_on, blink_on;	/* phases of the blink counters */
	unsigned blinks;		/* something does after so many frames; 0: nothing */
	struct bell bell;		/* rung by writes to the frame buffer: posts the work */
	struct loop_work news;
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

/* vga_vbe.c */
extern const struct io_ops vga_dispi_ops;
uint16_t vga_vbe_read(struct vga *v, unsigned reg);
void vga_vbe_write(struct vga *v, unsigned reg, uint16_t val);
bool vga_vbe_mode_ok(const struct vga *v);
void vga_refresh_vbe(struct vga *v, struct display *d);	/* the linear modes */
static inline bool vga_vbe_on(const struct vga *v)
{
	return v->vbe[VBE_ENABLE] & VBE_EN;
}
/* 16 colours: the planes of the VGA, only larger. */
static inline bool vga_vbe_planar(const struct vga *v)
{
	return vga_vbe_on(v) && v->vbe[VBE_BPP] == 4;
}

/* Something that the picture depends on has changed. */
static inline void vga_touched(struct vga *v)
{
	if (v->pci.dev.vm->display)
		display_changed(v->pci.dev.vm->display);
}

/* vga_crtc.c: which address is fetched for which scan line. */
struct vga_frame {
	unsigned chars;		/* character clocks a line */
	unsigned dots;		/* dots a character clock: 4, 8 or 9 */
	unsigned lines;		/* scan lines of the tube */
	unsigned doubled;	/* 2: the row scan counter runs at half speed */
	unsigned cell_h;	/* row scans a row */
	unsigned split;		/* first scan line below the line compare */
	unsigned start, pitch;	/* memory address counter at the top; its step a row */
	unsigned preset;	/* first row scan at the top */
	unsigned pan;		/* dots to the left */
	bool pan_top;		/* only above the split */
	bool big;		/* VBE planes: no wrap at 64 KiB, no address tricks */
	unsigned hscale, every;	/* picture: dots drawn so wide, of the lines each nth */
};
struct vga_line {
	unsigned ma, scan, pan;
};
void vga_frame_get(const struct vga *v, struct vga_frame *f);
void vga_line_get(const struct vga_frame *f, unsigned line, struct vga_line *l);
/* The plane address that counter @ma puts on the bus in row scan @scan. */
unsigned vga_address(const struct vga *v, const struct vga_frame *f, unsigned ma, unsigned scan);
uint8_t vga_status1(const struct vga *v, uint64_t now);
uint64_t vga_frame_number(const struct vga *v, uint64_t now);
/* Nanoseconds until vga_frame_number() is a multiple of @frames. */
uint64_t vga_frames_ns(const struct vga *v, uint64_t now, unsigned frames);
uint64_t vga_pictures_ended(const struct vga *v, uint64_t now);	/* last line shown, so often */

/* vga_draw.c */
void vga_refresh(void *dev);
int vga_rest_ms(void *dev);
void vga_set_key(struct vga *v, unsigned kind, const struct vga_frame *f);
void vga_update_palette(struct vga *v, bool indexed256);
uint32_t vga_dac_colour(const struct vga *v, unsigned i);
/* @dots of a line to the surface, each f->hscale wide. */
void vga_put_line(const struct vga_frame *f, struct surface *s, unsigned y, const uint32_t *dots);

/* vga_cells.c: text */
void vga_refresh_text(struct vga *v, struct display *d);
size_t vga_text(void *dev, char *buf, size_t len);
/* Whole rows on the screen; false in graphics modes. */
bool vga_text_geometry(const struct vga *v, unsigned *cols, unsigned *rows, unsigned *cell_h);

#endif
