/* SPDX-License-Identifier: MIT */
/* Shared by the files of the VHD format; vhd.c says what it is.  Not for other files. */
#ifndef HV_VHD_INT_H
#define HV_VHD_INT_H

#include "bat.h"

#define SECTOR 512u
#define UNUSED 0xffffffffu
#define PAGE 2048u
#define W2RU 0x57327275u		/* locator: relative name, UTF-16LE */

enum { TYPE_FIXED = 2, TYPE_DYNAMIC = 3, TYPE_DIFF = 4 };

struct vhd {
	struct bat b;
	bool fixed;
	uint32_t type, bitmap_len;
	uint64_t table_off, table_len;
	uint64_t first;			/* the first byte for blocks */
	uint8_t footer[SECTOR], dyn[1024];
};

extern const struct image_tool vhd_tool;

/* Of the @n bytes at @p, those of the sum itself at @at left out. */
uint32_t vhd_checksum(const uint8_t *p, size_t n, size_t at);
bool vhd_footer_ok(const uint8_t *f);
bool vhd_read_dynamic(struct vhd *v, struct err *e);	/* header of table and blocks */
/* The name in one of the locators, else the one in the header. */
bool vhd_parent_name(struct vhd *v, char *name, size_t n);

#endif
