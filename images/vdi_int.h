/* SPDX-License-Identifier: MIT */
/* Shared by the files of the VDI format; vdi.c says what it is.  Not for other files. */
#ifndef HV_VDI_INT_H
#define HV_VDI_INT_H

#include "bat.h"

#define SIGNATURE 0xbeda107fu
#define HDR 512u
#define NOT_HERE 0xffffffffu
#define ZEROS 0xfffffffeu
#define PAGE 4096u
#define MAX_BLOCKS (32u << 20)

enum { TYPE_DYNAMIC = 1, TYPE_FIXED = 2, TYPE_UNDO = 3, TYPE_DIFF = 4 };
enum { H_TYPE = 0x4c, H_BMAP = 0x154, H_DATA = 0x158, H_SECTOR = 0x168, H_SIZE = 0x170,
       H_BLOCK = 0x178, H_EXTRA = 0x17c, H_BLOCKS = 0x180, H_ALLOCATED = 0x184,
       H_UUID = 0x188, H_LINK = 0x1a8 };

struct vdi {
	struct bat b;
	uint8_t hdr[HDR];
	uint32_t bmap_off, data_off;
	uint32_t stored;		/* count of blocks in the file's header */
};

extern const struct image_tool vdi_tool;

/* v->hdr and all that follows from it, out of the file.  false + @e. */
bool vdi_read_header(struct vdi *v, struct err *e);
/* Where in the file block @n begins, and how many blocks the file has. */
uint64_t vdi_block_end(const struct vdi *v, uint64_t n);
uint32_t vdi_blocks_in_file(const struct vdi *v);
/* The table's entry for what bat_get() gave. */
uint32_t vdi_to_disk(const struct vdi *v, uint64_t e);
/* Room at the file's end for @block; errno value. */
int vdi_place(struct bat *b, uint64_t block, uint64_t *host);

#endif
