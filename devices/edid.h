/* SPDX-License-Identifier: MIT */
/* Monitor identification (VESA E-EDID 1.4): one base block. */
#ifndef HV_EDID_H
#define HV_EDID_H

#include <stdint.h>

#define EDID_SIZE 128u
#define EDID_MAX_DIM 4095u	/* a detailed timing has 12 bits */

/*
 * A monitor of @w x @h pixels (clipped to EDID_MAX_DIM) that prefers them at
 * 60 Hz; @nth, from 0, is in its name and serial number.
 */
void edid_make(uint8_t out[EDID_SIZE], unsigned nth, unsigned w, unsigned h);

#endif
