/* SPDX-License-Identifier: MIT */
/*
 * Inside of the VHDX format ([MS-VHDX] 8.0): two headers, two region tables,
 * a log for changes of metadata, a metadata region, a block table.
 *
 * The block table changes through the log only: an entry with the new 4 KiB
 * pages is synced before the pages are written in place, so that a page is
 * never torn.  Replay at open undoes nothing and repeats at most once.
 */
#ifndef HV_VHDX_INT_H
#define HV_VHDX_INT_H

#include "bat.h"
#include <stdatomic.h>

#define VX_PAGE 4096u
#define VX_HEADER1 0x10000u
#define VX_HEADER2 0x20000u
#define VX_REGIONS1 0x30000u
#define VX_REGIONS2 0x40000u
#define VX_MAX_LOG (8u << 20)
#define VX_TABLE_PAGE 4096u		/* blocks in a page of bat.h */

enum { VX_NOT_PRESENT = 0, VX_UNDEFINED = 1, VX_ZERO = 2, VX_UNMAPPED = 3, VX_PRESENT = 6,
       VX_PARTIAL = 7 };
enum { HD_SEQ = 8, HD_FILE_GUID = 16, HD_DATA_GUID = 32, HD_LOG_GUID = 48, HD_LOG_VERSION = 64,
       HD_VERSION = 66, HD_LOG_LEN = 68, HD_LOG_OFF = 72 };

/* A page that a read-only image takes from its log. */
struct vx_patch {
	uint64_t off;
	uint8_t data[VX_PAGE];
};

struct vhdx {
	struct bat b;
	uint8_t hdr[VX_PAGE];		/* the current header */
	uint64_t log_off, log_len, meta_off, bat_off;
	uint64_t size_at;		/* of the item with the disk's size */
	uint64_t bat_n;			/* entries in the table, bitmaps included */
	uint32_t sector, ratio;		/* logical sector size; payload entries per bitmap entry */
	bool im_readonly, has_parent;
	atomic_bool writing;		/* the headers say that the log is in use */
	pthread_mutex_t begin_lock;
	uint8_t disk_id[16], linkage[16];
	char parent[1024];
	uint64_t file_size;
	uint64_t seq, head;		/* of the log: next number, next offset */
	struct vx_patch *patch;		/* read-only replay */
	unsigned npatch;
};

extern const uint8_t vx_guid_bat[16], vx_guid_meta[16];

uint32_t vx_checksum(const uint8_t *p, size_t n);	/* bytes 4..8 count as zeros */
bool vx_bad(const struct vhdx *v, struct err *e, const char *what);
/* Metadata as the log has it. */
int vx_pread(struct vhdx *v, void *buf, size_t len, uint64_t off);
int vx_write_headers(struct vhdx *v);
/* vhdx_meta.c: region tables, metadata items, parent */
bool vx_read_regions(struct vhdx *v, struct err *e);
bool vx_read_metadata(struct vhdx *v, struct err *e);
/* vhdx_log.c */
bool vx_replay(struct vhdx *v, struct err *e);
/* The log comes into use, the file's identity changes: before the first write. */
int vx_begin_writing(struct vhdx *v);
/* @n pages of 4 KiB to @off[]: into the log, synced, then in place. */
int vx_logged_write(struct vhdx *v, const uint64_t *off, const uint8_t *pages, unsigned n);
/* vhdx_grow.c */
bool vhdx_resize(struct image *im, uint64_t size, struct err *e);
/* vhdx_create.c */
extern const struct image_opt_help vhdx_options[];
bool vhdx_create(struct image_create *c, struct err *e);
void vx_new_guid(uint8_t *g);

#endif
