/* SPDX-License-Identifier: MIT */
/*
 * What `hvrun img` (src/img*.c) may do with a format beyond reading and
 * writing: create, map, check, resize, snapshot, pack.  A member that is
 * NULL is something the format cannot do.
 *
 * Set-up thread only, except map, pack and write_packed, which are as
 * thread-safe as block_format.io.
 */
#ifndef HV_IMGTOOL_H
#define HV_IMGTOOL_H

#include "image.h"

/* More of enum block_flags, for image_open(): only the tool asks for these. */
#define IMAGE_LENIENT (1u << 16) /* open for check: damage is no refusal, nothing is repaired */
#define IMAGE_NO_BACKING (1u << 17)	/* what is not in this file reads as zeros */
#define IMAGE_NEW (1u << 18)		/* just created, to be filled from start to end */
#define IMAGE_KEEP_ID (1u << 19)	/* written, and yet the parent that its child knows */

enum image_kind { IMAGE_DATA, IMAGE_ZERO, IMAGE_BELOW };

#define IMAGE_MAX_OPTS 24

struct image_opt {
	const char *name, *value;
};

/* A format's create options: name, what it takes, what it does. */
struct image_opt_help {
	const char *name, *arg, *help;
};

struct image_create {
	const char *path;
	uint64_t size;			/* bytes; 0 with a backing file: as that one */
	const char *backing, *backing_fmt;	/* NULL: none */
	const struct image *backing_im;	/* open read-only while creating, or NULL */
	bool packed;			/* will be written by write_packed() in ascending order */
	bool no_sync;			/* will be filled now, and synced then */
	struct image_opt opt[IMAGE_MAX_OPTS];
	unsigned nopt;
	/* Told of long work; false: give up.  NULL: nobody looks. */
	bool (*step)(void *opaque, uint64_t done, uint64_t total);
	void *step_opaque;
	char **made;			/* files created so far, for removal on failure */
	unsigned nmade;
};

struct image_check {
	bool repair;			/* in */
	uint64_t leaks, errors;		/* found: space lost; damage */
	uint64_t leaks_fixed, errors_fixed;
	uint64_t allocated, total;	/* units of the format (clusters, blocks) */
	char first[256];		/* the first damage in words, or "" */
};

struct image_snap {
	char id[32], name[256];
	uint64_t vm_bytes, disk_size;
	uint64_t sec, vm_ns;
};

enum image_snap_op { SNAP_CREATE, SNAP_APPLY, SNAP_DELETE,
		     SNAP_VIEW /* a read-only image shows it until closed */ };

#define IMAGE_MAX_FIELDS 24

/* Facts about an image for `img info`, beyond size and backing file. */
struct image_info {
	struct { char name[24], value[80]; } field[IMAGE_MAX_FIELDS];
	unsigned n;
	char backing[1024], backing_fmt[32];	/* "" : none */
	bool dirty, corrupt;
};

struct image_tool {
	const struct image_opt_help *options;	/* NULL-terminated by name */
	/* Make the file (image_create_file()); everything readable by open() at the end. */
	bool (*create)(struct image_create *c, struct err *e);
	/* The kind of [off, off + *n), 1 <= *n <= len. */
	int (*map)(struct image *im, uint64_t off, uint64_t len, uint64_t *n, enum image_kind *k);
	bool (*check)(struct image *im, struct image_check *c, struct err *e);
	bool (*resize)(struct image *im, uint64_t size, struct err *e);
	void (*info)(struct image *im, struct image_info *i);
	bool (*snapshot)(struct image *im, enum image_snap_op op, const char *name, struct err *e);
	/* Snapshot @i; false past the last one. */
	bool (*snapshot_list)(struct image *im, unsigned i, struct image_snap *s);
	/* Rewrite the reference to the backing file; NULL: none.  Content is not looked at. */
	bool (*set_backing)(struct image *im, const char *name, const char *fmt, struct err *e);
	/* Forget everything written, so that the backing file shows. */
	bool (*make_empty)(struct image *im, struct err *e);
	/* Compressed writing: unit in bytes (0: this image cannot), packing, storing. */
	uint32_t (*pack_unit)(struct image *im);
	/* @unit bytes of @in; *len = 0: does not get smaller. */
	int (*pack)(struct image *im, const uint8_t *in, uint8_t *out, uint32_t *len);
	int (*write_packed)(struct image *im, uint64_t off, const uint8_t *packed, uint32_t len);
	bool (*only_packed)(struct image *im);	/* NULL: no */
	bool thin;		/* unwritten space takes no room */
};

/* imgcreate.c */
const char *image_opt(const struct image_create *c, const char *name);	/* NULL: not given */
/* Sizes like 64k; false + @e: not one, or no power of two inside [min, max]. */
bool image_opt_pow2(const struct image_create *c, const char *name, uint64_t min, uint64_t max,
		    uint64_t *v, struct err *e);
bool image_opt_bool(const struct image_create *c, const char *name, bool *v, struct err *e);
/* New file, refusing one that exists; -1 + @e.  Remembered in c->made. */
int image_create_file(struct image_create *c, const char *path, struct err *e);
/* Make an image; on failure nothing is left of it. */
/* For formats: tells c->step; 0 or ECANCELED. */
int image_create_step(const struct image_create *c, uint64_t done, uint64_t total);
bool image_create(const struct block_format *fmt, struct image_create *c, struct err *e);
void image_create_undo(struct image_create *c);		/* remove what was made */
void image_create_end(struct image_create *c);		/* free the list only */
const struct block_format *image_format(const char *name, struct err *e);
bool image_size(const char *s, uint64_t *v);	/* 10G, 512M, 1.5T, bytes */
/* map() with the answer "data" where a format has none. */
int image_map(struct image *im, uint64_t off, uint64_t len, uint64_t *n, enum image_kind *k);
void image_field(struct image_info *i, const char *name, const char *fmt, ...) HV_PRINTF(3, 4);
void image_damage(struct image_check *c, uint64_t n, const char *fmt, ...) HV_PRINTF(3, 4);

#endif
