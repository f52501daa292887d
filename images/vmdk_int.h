/* SPDX-License-Identifier: MIT */
/*
 * Inside of the VMDK format (VMware's Virtual Disk Format 1.1 and 5.0 notes):
 * a text descriptor, in its own file or inside the only extent, and extents
 * that are flat or sparse (grain directory, grain tables, grains).
 */
#ifndef HV_VMDK_INT_H
#define HV_VMDK_INT_H

#include "bat.h"

#define VMDK_SECTOR 512u
#define VMDK_MAX_EXTENTS 1100u
#define VMDK_MAX_DESC (64u * 1024)
#define VMDK_MAX_SPARSE (2ull << 40)	/* bytes: 32-bit sector numbers */
#define VMDK_GTES 512u

#define VF_NEWLINE (1u << 0)
#define VF_RGD (1u << 1)
#define VF_ZEROED (1u << 2)
#define VF_COMPRESSED (1u << 16)
#define VF_MARKERS (1u << 17)
#define VF_KNOWN (VF_NEWLINE | VF_RGD | VF_ZEROED | VF_COMPRESSED | VF_MARKERS)
#define GD_AT_END UINT64_MAX

enum { VH_VERSION = 4, VH_FLAGS = 8, VH_CAPACITY = 12, VH_GRAIN = 20, VH_DESC = 28,
       VH_DESC_SIZE = 36, VH_GTES = 44, VH_RGD = 48, VH_GD = 56, VH_OVERHEAD = 64,
       VH_UNCLEAN = 72, VH_NEWLINES = 73, VH_COMPRESS = 77 };

enum { MARK_EOS = 0, MARK_GT = 1, MARK_GD = 2, MARK_FOOTER = 3 };

enum vmdk_kind { VMDK_FLAT, VMDK_SPARSE, VMDK_ZERO };

struct vmdk_extent {
	enum vmdk_kind kind;
	struct hostfile own, *f;	/* own.fd -1: f is the image's file */
	uint64_t base, size;		/* guest bytes */
	uint64_t flat_off;
	/* sparse */
	struct bat b;
	uint32_t flags, gtes, *gd, *rgd;
	uint64_t gd_off, rgd_off;	/* bytes */
	uint64_t overhead;		/* bytes before the first grain */
};

/* Writing a stream from start to end. */
struct vmdk_stream {
	uint32_t *gd, gt[VMDK_GTES];
	uint64_t ngd, at;		/* sectors */
	uint64_t table;			/* which table gt[] is; UINT64_MAX: none yet */
	uint64_t next;			/* grain that may come next */
	bool any;
};

struct vmdk {
	struct image *im;
	char type[40], parent[1024];
	uint32_t cid, parent_cid;
	uint64_t cid_at;		/* of its digits in the descriptor's file; 0: none */
	bool cid_fresh;			/* changed since the image was opened */
	pthread_mutex_t cid_lock;
	struct vmdk_extent *ext;
	unsigned n;
	struct vmdk_stream *stream;
};

/* vmdk_sparse.c */
bool vmdk_open_sparse(struct vmdk *v, struct vmdk_extent *x, uint8_t *hdr, struct err *e);
/* A header in @h (512 bytes); sizes in sectors; returns the sectors before the first grain. */
uint64_t vmdk_sparse_header(uint8_t *h, uint64_t capacity, uint64_t desc, bool stream);
int vmdk_write_sparse(struct hostfile *f, const uint8_t *h);
/* vmdk_desc.c */
bool vmdk_parse(struct vmdk *v, char *text, bool extents, struct err *e);
/* vmdk_stream.c */
bool vmdk_stream_open(struct vmdk *v, struct err *e);
int vmdk_stream_grain(struct vmdk *v, uint64_t off, const uint8_t *packed, uint32_t len);
int vmdk_stream_raw(struct vmdk *v, uint64_t off, uint64_t len, const struct iovec *iov,
		    unsigned niov);
int vmdk_stream_end(struct vmdk *v);
int vmdk_pack(struct image *im, const uint8_t *in, uint8_t *out, uint32_t *len);
/* vmdk_grow.c */
bool vmdk_resize(struct image *im, uint64_t size, struct err *e);
/* vmdk_create.c */
extern const struct image_opt_help vmdk_options[];
bool vmdk_create(struct image_create *c, struct err *e);

#endif
