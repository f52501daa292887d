/* SPDX-License-Identifier: MIT */
/*
 * Text of the user interface: one sans-serif family at one size, found by
 * fontconfig for the user's language, drawn by SDL2_ttf.  Main thread only.
 */
#ifndef HV_FONT_H
#define HV_FONT_H

#include <SDL.h>
#include <stdbool.h>

struct font;

/* @px: height of an em in pixels.  NULL: no usable font on this computer. */
struct font *font_open(double px);
void font_close(struct font *f);

int font_height(const struct font *f);			/* pixels from line to line */
int font_width(struct font *f, const char *utf8);	/* pixels */
/* Draw with the top left at @x, @y; clipped to @s.  Blends into an ARGB surface. */
void font_draw(struct font *f, SDL_Surface *s, int x, int y, SDL_Color c, const char *utf8);

#endif
