/* SPDX-License-Identifier: MIT */
/* Drawing helpers; see draw.h. */
#include "draw.h"
#include "../src/util.h"
#include <stdio.h>

const SDL_Color draw_text_c = { 0xec, 0xee, 0xf0, 0xff }, draw_dim_c = { 0x8a, 0x90, 0x96, 0xff },
		draw_danger_c = { 0xff, 0x8a, 0x80, 0xff }, draw_lit_c = { 0x7c, 0xd9, 0x92, 0xff };

void draw_fill(SDL_Surface *s, SDL_Rect r, Uint32 c)
{
	SDL_FillRect(s, &r, c);
}

void draw_frame(SDL_Surface *s, SDL_Rect r, int t, Uint32 c)
{
	draw_fill(s, (SDL_Rect){ r.x, r.y, r.w, t }, c);
	draw_fill(s, (SDL_Rect){ r.x, r.y + r.h - t, r.w, t }, c);
	draw_fill(s, (SDL_Rect){ r.x, r.y, t, r.h }, c);
	draw_fill(s, (SDL_Rect){ r.x + r.w - t, r.y, t, r.h }, c);
}

void draw_cut(SDL_Surface *s, struct font *f, int x, int y, int max, SDL_Color c,
	      const char *text)
{
	char cut[300];
	size_t n = strlen(text);

	if (font_width(f, text) <= max) {
		font_draw(f, s, x, y, c, text);
		return;
	}
	n = MIN(n, sizeof(cut) - 8);
	do {
		while (n && ((unsigned char)text[--n] & 0xc0) == 0x80)
			;
		snprintf(cut, sizeof(cut), "%.*s\xe2\x80\xa6", (int)n, text);
	} while (n && font_width(f, cut) > max);
	font_draw(f, s, x, y, c, cut);
}

SDL_Surface *draw_surface(SDL_Surface *old, int w, int h)
{
	if (old && old->w == w && old->h == h)
		return old;
	SDL_FreeSurface(old);
	return SDL_CreateRGBSurfaceWithFormat(0, w, h, 32, SDL_PIXELFORMAT_ARGB8888);
}
