/* SPDX-License-Identifier: MIT */
/*
 * EDID of the machine's monitor (VESA Enhanced EDID 1.4, section 3).
 *
 * One detailed timing, the preferred mode with the blanking of CVT reduced
 * blanking v1; 96 pixels an inch, so that guests do not scale by themselves.
 * Left out: extension blocks, standard timings beyond common ones.
 */
#include "edid.h"
#include "../src/util.h"
#include <stdio.h>

#define H_BLANK 160u
#define H_FRONT 48u
#define H_SYNC 32u
#define V_FRONT 3u
#define V_SYNC 6u
#define V_BLANK 30u
#define MAX_CLOCK 65535u	/* of 10 kHz */

/* 3.10.2: detailed timing descriptor. */
static void put_timing(uint8_t *d, unsigned w, unsigned h)
{
	uint64_t clock = (uint64_t)(w + H_BLANK) * (h + V_BLANK) * 60 / 10000;
	unsigned mm_w = w * 254 / 960, mm_h = h * 254 / 960;

	st_le16(d, (uint16_t)MIN(clock, MAX_CLOCK));
	d[2] = (uint8_t)w;
	d[3] = H_BLANK;
	d[4] = (uint8_t)((w >> 8) << 4);
	d[5] = (uint8_t)h;
	d[6] = V_BLANK;
	d[7] = (uint8_t)((h >> 8) << 4);
	d[8] = H_FRONT;
	d[9] = H_SYNC;
	d[10] = V_FRONT << 4 | V_SYNC;
	d[12] = (uint8_t)mm_w;
	d[13] = (uint8_t)mm_h;
	d[14] = (uint8_t)((mm_w >> 8 & 15) << 4 | (mm_h >> 8 & 15));
	d[17] = 0x1a;		/* digital separate sync, hsync + */
}

/* 3.10.3: display descriptor. */
static void put_text(uint8_t *d, uint8_t tag, const char *s)
{
	size_t n = strlen(s);

	d[3] = tag;
	memset(d + 5, ' ', 13);
	memcpy(d + 5, s, MIN(n, (size_t)13));
	if (n < 13)
		d[5 + n] = '\n';
}

static void put_range(uint8_t *d)
{
	static const uint8_t limits[] = { 0, 0, 0, 0xfd, 0, 50, 125, 30, 160, 66, 0, '\n', ' ', ' ',
					  ' ', ' ', ' ', ' ' };

	memcpy(d, limits, sizeof(limits));
}

void edid_make(uint8_t out[EDID_SIZE], unsigned nth, unsigned w, unsigned h)
{
	static const uint8_t head[] = {
		0x00, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x00,
		0x22, 0xd2,			/* maker "HVR" */
		0x01, 0x00, 0x00, 0x00, 0x00, 0x00,	/* product, serial number: below */
		0x01, 36, 0x01, 0x04,		/* week 1 of 2026, EDID 1.4 */
		0xa5,				/* digital, 8 bits a colour, DisplayPort */
	};
	/* sRGB (3.7) */
	static const uint8_t colour[] = { 0xee, 0x91, 0xa3, 0x54, 0x4c, 0x99, 0x26, 0x0f, 0x50,
					  0x54 };
	char name[14], serial[14];
	uint8_t sum = 0;

	snprintf(name, sizeof(name), nth ? "hvrun %u" : "hvrun", nth + 1);
	snprintf(serial, sizeof(serial), "%u", nth + 1);
	w = MAX(MIN(w, EDID_MAX_DIM), 1u);
	h = MAX(MIN(h, EDID_MAX_DIM), 1u);
	memset(out, 0, EDID_SIZE);
	memcpy(out, head, sizeof(head));
	st_le32(out + 12, nth + 1);
	out[21] = (uint8_t)MIN(w * 254 / 9600, 255u);
	out[22] = (uint8_t)MIN(h * 254 / 9600, 255u);
	out[23] = 120;				/* gamma 2.2 */
	out[24] = 0x06;				/* sRGB, preferred timing is native */
	memcpy(out + 25, colour, sizeof(colour));
	out[35] = 0x21;				/* 640x480, 800x600 at 60 Hz */
	out[36] = 0x08;				/* 1024x768 at 60 Hz */
	memset(out + 38, 1, 16);		/* no standard timings */
	put_timing(out + 54, w, h);
	put_range(out + 72);
	put_text(out + 90, 0xfc, name);
	put_text(out + 108, 0xff, serial);
	for (unsigned i = 0; i < EDID_SIZE - 1; i++)
		sum += out[i];
	out[EDID_SIZE - 1] = (uint8_t)-sum;
}
