/* SPDX-License-Identifier: MIT */
/* Comparing pictures with reviewed ones; see golden.h. */
#include "golden.h"
#include <png.h>
#include <stdio.h>
#include <stdlib.h>

#define STEP 17		/* 255 / 15 */
#define NEAR (2 * STEP)

static uint8_t shade(uint32_t v)
{
	unsigned y = (299 * (v >> 16 & 0xff) + 587 * (v >> 8 & 0xff) + 114 * (v & 0xff)) / 1000;

	return (uint8_t)((y + STEP / 2) / STEP * STEP);
}

/* Four bits a pixel keep the files small. */
static bool save(const char *path, const uint8_t *grey, unsigned w, unsigned h)
{
	FILE *f = fopen(path, "wb");
	png_structp png = png_create_write_struct(PNG_LIBPNG_VER_STRING, NULL, NULL, NULL);
	png_infop info = png ? png_create_info_struct(png) : NULL;
	uint8_t *row = hv_zalloc(w + 1);

	if (!f || !info || setjmp(png_jmpbuf(png)))
		return false;
	png_init_io(png, f);
	png_set_compression_level(png, 9);
	png_set_IHDR(png, info, w, h, 4, PNG_COLOR_TYPE_GRAY, PNG_INTERLACE_NONE,
		     PNG_COMPRESSION_TYPE_DEFAULT, PNG_FILTER_TYPE_DEFAULT);
	png_set_filter(png, 0, PNG_FILTER_NONE);
	png_write_info(png, info);
	png_set_packing(png);
	for (unsigned y = 0; y < h; y++) {
		for (unsigned x = 0; x < w; x++)
			row[x] = grey[(size_t)y * w + x] / STEP;
		png_write_row(png, row);
	}
	png_write_end(png, NULL);
	png_destroy_write_struct(&png, &info);
	free(row);
	return fclose(f) == 0;
}

static uint8_t *load(const char *path, unsigned w, unsigned h)
{
	png_image im = { .version = PNG_IMAGE_VERSION };
	uint8_t *px = NULL;

	if (!png_image_begin_read_from_file(&im, path))
		return NULL;
	im.format = PNG_FORMAT_GRAY;
	if (im.width == w && im.height == h) {
		px = hv_zalloc(PNG_IMAGE_SIZE(im));
		if (!png_image_finish_read(&im, NULL, px, 0, NULL)) {
			free(px);
			px = NULL;
		}
	}
	png_image_free(&im);
	return px;
}

static size_t differing(const uint8_t *a, const uint8_t *b, size_t n)
{
	size_t bad = 0;

	for (size_t i = 0; i < n; i++)
		bad += abs(a[i] - b[i]) > NEAR;
	return bad;
}

bool golden_check(const char *name, const uint32_t *pixels, unsigned w, unsigned h,
		  unsigned stride, const char *out, char *why, size_t len)
{
	uint8_t *now = hv_zalloc((size_t)w * h), *was;
	char path[300];
	size_t bad;

	for (unsigned y = 0; y < h; y++)
		for (unsigned x = 0; x < w; x++)
			now[(size_t)y * w + x] = shade(pixels[(size_t)y * stride + x]);
	snprintf(path, sizeof(path), "tests/golden/%s.png", name);
	if (getenv("HV_GOLDEN_UPDATE")) {
		bool ok = save(path, now, w, h);

		free(now);
		return ok;
	}
	was = load(path, w, h);
	bad = was ? differing(now, was, (size_t)w * h) : (size_t)w * h;
	if (bad * 1000 > (size_t)w * h) {
		snprintf(why, len, "%s: %zu of %zu pixels differ%s; see %s/%s.png", name, bad,
			 (size_t)w * h, was ? "" : " (no such picture of this size)", out, name);
		snprintf(path, sizeof(path), "%s/%s.png", out, name);
		save(path, now, w, h);
	}
	free(was);
	free(now);
	return bad * 1000 <= (size_t)w * h;
}
