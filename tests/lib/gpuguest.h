/* SPDX-License-Identifier: MIT */
/*
 * For tests of virtio-vga: a machine with the card, of one output or of three,
 * and commands through its queues (VIRTIO 1.2, 5.7.6).
 */
#ifndef HV_GPUGUEST_H
#define HV_GPUGUEST_H

#include "vguest.h"
#include "../../devices/edid.h"
#include "../../devices/vga.h"
#include "../../devices/virtio/gpu_int.h"
#include "../../src/display.h"

#define F_EDID VIRTIO_BIT(1)
#define F_BLOB VIRTIO_BIT(3)
#define PIXELS 0x100000u	/* guest memory for images */
#define CMD 0x40000u
#define ANSWER 0x60000u
#define HDR 24u

enum {
	DISPLAY_INFO = 0x100, CREATE_2D, UNREF, SET_SCANOUT, FLUSH, TRANSFER, ATTACH, DETACH,
	EDID = 0x10a, CREATE_BLOB = 0x10c, SCANOUT_BLOB, UPDATE_CURSOR = 0x300,
	OK = 0x1100, OK_INFO, OK_EDID = 0x1104,
	E_UNSPEC = 0x1200, E_MEMORY, E_SCANOUT, E_RESOURCE, E_CONTEXT, E_PARAMETER,
};

/* The machine of the test that runs. */
extern struct gpuguest {
	struct vm *vm;
	struct vguest g;
	struct vgq q[2];		/* control, cursor */
	struct display *made[8];
	unsigned nmade;
} gg;

/* For tvm_add(), and for the state checks of testvm.h. */
void gg_wire(struct device *d);
void gg_wire_three(struct device *d);
void gg_start_in(struct vm *in, struct device *d);

/* For cmocka_unit_test_setup_teardown() */
int gg_setup(void **st);
int gg_setup_three(void **st);
int gg_teardown(void **st);

/* Send @n words behind a header of type @cmd with a fence; the answer's type. */
uint32_t gg_send(unsigned queue, uint32_t cmd, const uint32_t *w, unsigned n);
#define SEND(cmd, ...) \
	gg_send(0, cmd, (const uint32_t[]){ __VA_ARGS__ }, \
		sizeof((const uint32_t[]){ __VA_ARGS__ }) / 4)

/* @n words from @first on into guest memory. */
void gg_draw(uint64_t at, unsigned n, uint32_t first);
/* Resource 5, 64 x 32 BGRX: backing in three pieces that do not follow each other. */
void gg_make_2d(void);
struct display *gg_screen(unsigned i);
uint32_t gg_pixel(unsigned i, unsigned x, unsigned y);
/* Three outputs: everything brought up to date, no damage left. */
void gg_look(void);

#endif
