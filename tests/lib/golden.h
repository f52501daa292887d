/* SPDX-License-Identifier: MIT */
/*
 * Pictures that somebody has looked at: tests/golden/NAME.png, 16 shades of
 * grey.  HV_GOLDEN_UPDATE=1 writes them anew.
 */
#ifndef HV_GOLDEN_H
#define HV_GOLDEN_H

#include "../../src/util.h"

/*
 * @pixels XRGB8888, @stride a row.  false: another size, or more than one
 * pixel of a thousand differs by three shades and more; what came instead is
 * in @out/NAME.png then, and @why says so.
 */
bool golden_check(const char *name, const uint32_t *pixels, unsigned w, unsigned h,
		  unsigned stride, const char *out, char *why, size_t len);

#endif
