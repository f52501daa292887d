/* SPDX-License-Identifier: MIT */
/* Thumbnails; see thumb.h. */
#include "thumb.h"
#include <limits.h>
#include <png.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

/* Mean of the pixels that fall into one. */
static void box(uint8_t *out, const uint32_t *px, unsigned stride, unsigned x0, unsigned x1,
		unsigned y0, unsigned y1)
{
	uint32_t r = 0, g = 0, b = 0, n = (x1 - x0) * (y1 - y0);

	for (unsigned y = y0; y < y1; y++)
		for (unsigned x = x0; x < x1; x++) {
			uint32_t v = px[(size_t)y * stride + x];

			r += v >> 16 & 0xff;
			g += v >> 8 & 0xff;
			b += v & 0xff;
		}
	out[0] = (uint8_t)(r / n);
	out[1] = (uint8_t)(g / n);
	out[2] = (uint8_t)(b / n);
}

bool thumb_save(const char *path, const uint32_t *pixels, unsigned w, unsigned h,
		unsigned stride)
{
	double k = MAX(MAX((double)w / THUMB_W, (double)h / THUMB_H), 1.0);
	unsigned tw = MAX((unsigned)(w / k), 1u), th = MAX((unsigned)(h / k), 1u);
	png_image im = { .version = PNG_IMAGE_VERSION, .width = tw, .height = th,
			 .format = PNG_FORMAT_RGB };
	char tmp[PATH_MAX];
	uint8_t *rgb;
	bool ok;

	if (!w || !h || snprintf(tmp, sizeof(tmp), "%s.new", path) >= (int)sizeof(tmp))
		return false;
	rgb = hv_zalloc((size_t)tw * th * 3);
	for (unsigned y = 0; y < th; y++)
		for (unsigned x = 0; x < tw; x++) {
			unsigned x0 = (unsigned)((uint64_t)x * w / tw);
			unsigned y0 = (unsigned)((uint64_t)y * h / th);

			box(rgb + 3 * ((size_t)y * tw + x), pixels, stride, x0,
			    MAX((unsigned)((uint64_t)(x + 1) * w / tw), x0 + 1), y0,
			    MAX((unsigned)((uint64_t)(y + 1) * h / th), y0 + 1));
		}
	ok = png_image_write_to_file(&im, tmp, 0, rgb, 0, NULL);
	free(rgb);
	return ok && rename(tmp, path) == 0;
}

uint32_t *thumb_load(const char *path, unsigned *w, unsigned *h)
{
	png_image im = { .version = PNG_IMAGE_VERSION };
	uint32_t *px = NULL;

	if (!png_image_begin_read_from_file(&im, path))
		return NULL;
	im.format = PNG_FORMAT_BGRA;	/* ARGB8888 in words */
	if (im.width && im.height && im.width <= 4 * THUMB_W && im.height <= 4 * THUMB_H) {
		px = hv_zalloc(PNG_IMAGE_SIZE(im));
		if (!png_image_finish_read(&im, NULL, px, 0, NULL)) {
			free(px);
			px = NULL;
		}
	}
	*w = im.width;
	*h = im.height;
	png_image_free(&im);
	return px;
}
