/* SPDX-License-Identifier: MIT */
/*
 * The picture in the window: a texture that follows the guest's surface.
 *
 * Two implementations behind one struct of calls: OpenGL through libepoxy
 * (view_gl.c), and the processor (view_soft.c) where there is no graphics card.
 * Main thread only.
 */
#ifndef HV_VIEW_H
#define HV_VIEW_H

#include "../src/display.h"
#include <SDL.h>

#define VIEW_PANELS 6	/* slots, drawn in this order over the picture */

/* How a frame is shown; all in drawable pixels. */
struct view_frame {
	SDL_Rect dst;		/* where the guest's picture goes; letterbox elsewhere */
	bool smooth;		/* linear filter, else nearest */
	bool blank;		/* no picture */
	bool dim;		/* picture at 60 % */
	bool whole;		/* what the window showed before may be lost */
};

struct view_ops {
	const char *name;
	Uint32 window_flags;		/* for SDL_CreateWindow */
	void *(*open)(SDL_Window *win);	/* NULL: not possible here */
	/* The guest's picture has a new size. */
	void (*resize)(void *view, unsigned w, unsigned h);
	/* @pixels: whole picture, @stride pixels a row; @r changed. */
	void (*upload)(void *view, const uint32_t *pixels, unsigned stride, struct rect r);
	/* What slot @slot shows from now on, top left at @at: ARGB8888, copied; NULL: nothing. */
	void (*panel)(void *view, unsigned slot, SDL_Surface *s, SDL_Point at);
	void (*present)(void *view, const struct view_frame *f);
	void (*close)(void *view);
};

extern const struct view_ops view_gl_ops, view_soft_ops;
/* Which OpenGL the open view uses, for people. */
void view_gl_describe(char *out, size_t len);
/* The open view's OpenGL has no graphics card: it is a program on the processor. */
bool view_gl_emulated(void);

#endif
