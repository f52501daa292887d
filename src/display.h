/* SPDX-License-Identifier: MIT */
/*
 * The display seam: a device owns a struct display; viewers (window,
 * screenshot, tests) read it.
 *
 * The device renders into surface (XRGB8888) when a viewer asks with
 * display_refresh(), under dev_lock, and reports damage.  Nothing is
 * rendered when nobody looks, so a still or unwatched screen costs nothing.
 *
 * A machine has one or more scanouts (monitors).  Each is a struct display
 * with its own picture, damage, pointer and source; vm->display is scanout 0,
 * where the VGA is seen, and finds the others.
 */
#ifndef HV_DISPLAY_H
#define HV_DISPLAY_H

#include "bell.h"
#include "err.h"
#include "util.h"

struct rect { unsigned x, y, w, h; };

struct surface {
	uint32_t *pixels;	/* XRGB8888, owned by display */
	unsigned w, h;
	unsigned stride;	/* in pixels */
};

#define DISPLAY_MAX_DIM 8192u
#define DISPLAY_MAX_RECTS 32

#define DISPLAY_MAX_SCANOUTS 16u

#define CURSOR_DIM 64u

/* The guest's pointer image; straight alpha. */
struct cursor {
	bool visible;
	unsigned w, h, hot_x, hot_y;	/* at most CURSOR_DIM */
	uint32_t argb[CURSOR_DIM * CURSOR_DIM];
};

struct display;

/* A scanout's part of a desktop of @w x @h that spreads over several. */
struct display_place {
	struct rect r;
	unsigned w, h;
};

struct display_source {
	/* Bring the surface up to date; resizes and damages through the calls below. */
	void (*refresh)(void *dev);
	/* Text-mode contents as UTF-8 lines for --expect console; 0 when in graphics. */
	size_t (*text)(void *dev, char *buf, size_t len);
	/* The viewer would like this size (pixels); false: the guest cannot.  NULL: never. */
	bool (*want_size)(void *dev, unsigned w, unsigned h);
	/*
	 * Milliseconds after which refresh() may find something new that display_changed()
	 * does not tell of, such as a cursor that blinks; -1: never.  NULL: at any time.
	 */
	int (*rest_ms)(void *dev);
	/* Where the scanout lies in the guest's desktop.  NULL: it is all of it. */
	void (*place)(void *dev, struct display_place *out);
	void *dev;
};

struct display *display_new(void);	/* scanout 0 */
void display_free(struct display *d);	/* with the others */
/* The device has @n scanouts; those that are there stay as they are.  On scanout 0. */
void display_set_scanouts(struct display *d, unsigned n);
unsigned display_scanouts(const struct display *d);
/* Scanout @i of the machine whose scanout 0 is @d; NULL: there is none. */
struct display *display_scanout(struct display *d, unsigned i);
void display_set_source(struct display *d, const struct display_source *src);

/* Device side, inside refresh(). */
bool display_resize(struct display *d, unsigned w, unsigned h);	/* false: absurd size */
struct surface *display_surface(struct display *d);
void display_damage(struct display *d, struct rect r);	/* clipped; 32 then bounding box */
void display_set_blank(struct display *d, bool blank);
/* The device, at any time under dev_lock: a refresh() would find something new. */
void display_changed(struct display *d);
/* The pointer's image, from a device that keeps it apart from the picture.  NULL: it does not. */
void display_set_cursor(struct display *d, const struct cursor *c);

/* Viewer side, under dev_lock. */
void display_refresh(struct display *d);
/* Rung, under dev_lock, when a refresh would find something new; NULL: none is. */
void display_set_bell(struct display *d, struct bell *b);
/* When to refresh though there was no news: milliseconds, 0: often, -1: not at all. */
int display_rest_ms(struct display *d);
/* Another number for each picture: counts what changed. */
uint64_t display_serial(const struct display *d);
/* Take the damage since the last call: number of rectangles; *resized is set once a change. */
unsigned display_take_damage(struct display *d, struct rect out[DISPLAY_MAX_RECTS],
			     bool *resized);
bool display_blank(const struct display *d);
/*
 * The pointer's image if it changed since *serial, which is updated; false:
 * nothing new.  *out is NULL when the guest draws its pointer itself.
 */
bool display_cursor(const struct display *d, unsigned *serial, const struct cursor **out);
/* Ask the guest for a picture of @w x @h; false: it cannot. */
bool display_want_size(struct display *d, unsigned w, unsigned h);
struct display_place display_place(struct display *d);
size_t display_text(struct display *d, char *buf, size_t len);
/* Write the current picture as PNG (libpng). */
bool display_screenshot(struct display *d, const char *path, struct err *e);

#endif
