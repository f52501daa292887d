/* SPDX-License-Identifier: MIT */
/* Picture without OpenGL: SDL's software renderer, a streaming texture, one texture a panel. */
#include "view.h"
#include <stdlib.h>

struct view_soft {
	SDL_Renderer *ren;
	SDL_Texture *tex;
	unsigned w, h;
	struct soft_panel {
		SDL_Texture *tex;
		SDL_Rect at;
	} panel[VIEW_PANELS];
};

static void *soft_open(SDL_Window *win)
{
	struct view_soft *v = hv_zalloc(sizeof(*v));

	v->ren = SDL_CreateRenderer(win, -1, SDL_RENDERER_SOFTWARE);
	if (v->ren)
		return v;
	free(v);
	return NULL;
}

static void soft_resize(void *view, unsigned w, unsigned h)
{
	struct view_soft *v = view;

	if (v->tex)
		SDL_DestroyTexture(v->tex);
	v->w = w;
	v->h = h;
	v->tex = SDL_CreateTexture(v->ren, SDL_PIXELFORMAT_RGB888, SDL_TEXTUREACCESS_STREAMING,
				   (int)w, (int)h);
}

static void soft_upload(void *view, const uint32_t *pixels, unsigned stride, struct rect r)
{
	struct view_soft *v = view;
	SDL_Rect sr = { (int)r.x, (int)r.y, (int)r.w, (int)r.h };

	if (v->tex)
		SDL_UpdateTexture(v->tex, &sr, pixels + (size_t)r.y * stride + r.x,
				  (int)stride * 4);
}

static void soft_set_panel(void *view, unsigned slot, SDL_Surface *s, SDL_Point at)
{
	struct view_soft *v = view;
	struct soft_panel *p = &v->panel[slot];

	if (p->tex)
		SDL_DestroyTexture(p->tex);
	p->tex = s ? SDL_CreateTextureFromSurface(v->ren, s) : NULL;
	if (!p->tex)
		return;
	SDL_SetTextureBlendMode(p->tex, SDL_BLENDMODE_BLEND);
	p->at = (SDL_Rect){ at.x, at.y, s->w, s->h };
}

static void soft_present(void *view, const struct view_frame *f)
{
	struct view_soft *v = view;
	Uint8 light = f->dim ? 153 : 255;

	SDL_SetRenderDrawColor(v->ren, 0x10, 0x12, 0x14, 0xff);
	SDL_RenderClear(v->ren);
	if (v->tex && !f->blank) {
		SDL_SetTextureScaleMode(v->tex,
					f->smooth ? SDL_ScaleModeLinear : SDL_ScaleModeNearest);
		SDL_SetTextureColorMod(v->tex, light, light, light);
		SDL_RenderCopy(v->ren, v->tex, NULL, &f->dst);
	}
	for (unsigned i = 0; i < VIEW_PANELS; i++)
		if (v->panel[i].tex)
			SDL_RenderCopy(v->ren, v->panel[i].tex, NULL, &v->panel[i].at);
	SDL_RenderPresent(v->ren);
}

static void soft_close(void *view)
{
	struct view_soft *v = view;

	for (unsigned i = 0; i < VIEW_PANELS; i++)
		if (v->panel[i].tex)
			SDL_DestroyTexture(v->panel[i].tex);
	if (v->tex)
		SDL_DestroyTexture(v->tex);
	SDL_DestroyRenderer(v->ren);
	free(v);
}

const struct view_ops view_soft_ops = {
	.name = "software", .open = soft_open, .resize = soft_resize, .upload = soft_upload,
	.panel = soft_set_panel, .present = soft_present, .close = soft_close,
};
