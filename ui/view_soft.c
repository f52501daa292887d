/* SPDX-License-Identifier: MIT */
/* Picture without OpenGL: SDL's software renderer and one streaming texture. */
#include "view.h"
#include <stdlib.h>

struct view_soft {
	SDL_Renderer *ren;
	SDL_Texture *tex;
	unsigned w, h;
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

static void soft_present(void *view, SDL_Rect dst, bool smooth, bool blank)
{
	struct view_soft *v = view;

	SDL_SetRenderDrawColor(v->ren, 0x10, 0x12, 0x14, 0xff);
	SDL_RenderClear(v->ren);
	if (v->tex && !blank) {
		SDL_SetTextureScaleMode(v->tex,
					smooth ? SDL_ScaleModeLinear : SDL_ScaleModeNearest);
		SDL_RenderCopy(v->ren, v->tex, NULL, &dst);
	}
	SDL_RenderPresent(v->ren);
}

static void soft_close(void *view)
{
	struct view_soft *v = view;

	if (v->tex)
		SDL_DestroyTexture(v->tex);
	SDL_DestroyRenderer(v->ren);
	free(v);
}

const struct view_ops view_soft_ops = {
	.name = "software", .open = soft_open, .resize = soft_resize, .upload = soft_upload,
	.present = soft_present, .close = soft_close,
};
