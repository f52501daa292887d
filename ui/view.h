/* SPDX-License-Identifier: MIT */
/*
 * The picture in the window: a texture that follows the guest's surface.
 *
 * Two implementations behind one struct of calls: OpenGL through libepoxy
 * (view_gl.c) and SDL's software renderer (view_soft.c).  Main thread only.
 */
#ifndef HV_VIEW_H
#define HV_VIEW_H

#include "../src/display.h"
#include <SDL.h>

struct view;

struct view_ops {
	const char *name;
	Uint32 window_flags;		/* for SDL_CreateWindow */
	void *(*open)(SDL_Window *win);	/* NULL: not possible here */
	/* The guest's picture has a new size. */
	void (*resize)(void *view, unsigned w, unsigned h);
	/* @pixels: whole picture, @stride pixels a row; @r changed. */
	void (*upload)(void *view, const uint32_t *pixels, unsigned stride, struct rect r);
	/* Draw into @dst (drawable pixels), letterbox elsewhere, and show. */
	void (*present)(void *view, SDL_Rect dst, bool smooth, bool blank);
	void (*close)(void *view);
};

extern const struct view_ops view_gl_ops, view_soft_ops;

#endif
