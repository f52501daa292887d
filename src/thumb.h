/* SPDX-License-Identifier: MIT */
/* Small pictures of machines for the library: written by the machine, read by the library. */
#ifndef HV_THUMB_H
#define HV_THUMB_H

#include "util.h"

#define THUMB_W 464u	/* at most */
#define THUMB_H 290u

/* XRGB8888 pixels, @stride a row, made smaller and saved as PNG by rename.  false: not saved. */
bool thumb_save(const char *path, const uint32_t *pixels, unsigned w, unsigned h,
		unsigned stride);
/* The PNG @path as ARGB8888 pixels, the caller's to free; NULL: none, or absurdly large. */
uint32_t *thumb_load(const char *path, unsigned *w, unsigned *h);

#endif
