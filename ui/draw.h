/* SPDX-License-Identifier: MIT */
/* Colours and small drawing helpers of the user interface; surfaces are ARGB8888. */
#ifndef HV_DRAW_H
#define HV_DRAW_H

#include "font.h"

#define C_BACK 0xfa1e2226u
#define C_ALARM 0xff8c1d18u
#define C_EDGE 0xff3a4046u
#define C_FOCUS 0xff2f6fd0u
#define C_HOVER 0xff30363cu
#define C_BUTTON 0xff333a41u
#define C_FIELD 0xff14171au
#define C_PAGE 0xff16191cu
#define C_CARD 0xff22272cu
#define C_PICTURE 0xff101214u

extern const SDL_Color draw_text_c, draw_dim_c, draw_danger_c, draw_lit_c;

void draw_fill(SDL_Surface *s, SDL_Rect r, Uint32 c);
/* The outline of @r, @t pixels thick, inside it. */
void draw_frame(SDL_Surface *s, SDL_Rect r, int t, Uint32 c);
/* Text at most @max pixels wide; what does not fit ends with an ellipsis. */
void draw_cut(SDL_Surface *s, struct font *f, int x, int y, int max, SDL_Color c,
	      const char *text);
/* A surface of this size, kept when it fits; NULL: no memory. */
SDL_Surface *draw_surface(SDL_Surface *old, int w, int h);

#endif
