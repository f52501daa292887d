/* SPDX-License-Identifier: MIT */
/*
 * The input seam: keys by scancode and pointer motion from a viewer to the
 * devices that registered for them.  Under dev_lock.
 *
 * Keys are Linux-independent "hv keys": USB HID usage ids of page 7
 * (Universal Serial Bus HID Usage Tables 1.12, section 10), which is also
 * what SDL scancodes are.  The PS/2 keyboard maps them to set 2/1.
 *
 * Motion: dx to the right, dy down, dz > 0 = wheel away from the user (up).
 * buttons is the whole state, MOUSE_*.  An event goes to the device added
 * last that takes its kind and is active.
 */
#ifndef HV_INPUT_H
#define HV_INPUT_H

#include "util.h"

struct input;

enum { MOUSE_LEFT = 1, MOUSE_RIGHT = 2, MOUSE_MIDDLE = 4, MOUSE_SIDE = 8, MOUSE_EXTRA = 16 };

struct input_ops {
	void (*key)(void *dev, uint16_t hid, bool down);		/* or NULL */
	void (*rel)(void *dev, int dx, int dy, int dz, unsigned buttons);	/* or NULL */
	/* x, y in 0..32767 */
	void (*abs)(void *dev, unsigned x, unsigned y, int dz, unsigned buttons); /* or NULL */
	bool (*active)(void *dev);	/* has a driver now; NULL: always */
};

struct input *input_new(void);
void input_free(struct input *in);	/* after the devices that were added; NULL: nothing */
/* For a device's realize(); @ops and @dev stay as long as @in.  At most 8 devices. */
void input_add(struct input *in, const struct input_ops *ops, void *dev);

/* Nobody takes it: dropped.  A key that is held repeats as further @down. */
void input_key(struct input *in, uint16_t hid, bool down);
void input_rel(struct input *in, int dx, int dy, int dz, unsigned buttons);
void input_abs(struct input *in, unsigned x, unsigned y, int dz, unsigned buttons);
bool input_has_abs(const struct input *in);	/* does an active device take input_abs()? */
void input_release_all(struct input *in);	/* key-up for every key believed down */
/* LEDs as the guest set them (bit 0 num, 1 caps, 2 scroll), for the viewer. */
void input_set_leds(struct input *in, unsigned leds);
unsigned input_leds(const struct input *in);

#endif
