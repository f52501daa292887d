/* SPDX-License-Identifier: MIT */
/* Inside of `hvrun img`: arguments, one function a command, the copy engine, the bar. */
#ifndef HV_IMG_INT_H
#define HV_IMG_INT_H

#include "imgtool.h"
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>

#define IMG_MAX_POS 4

struct img_args {
	const char *pos[IMG_MAX_POS];
	unsigned npos;
	const char *format, *out_format, *backing, *backing_fmt, *snapshot;
	struct image_opt opt[IMAGE_MAX_OPTS];
	unsigned nopt;
	unsigned threads;
	bool json, quiet, progress, compress, repair, force, unsafe, shrink, no_sync, help;
	char *owned[IMAGE_MAX_OPTS];	/* the strings behind opt[] */
};

struct img_command {
	const char *name, *args, *help;
	unsigned min, max;		/* positional arguments */
	const char *letters;		/* of the options it takes */
	int (*run)(struct img_args *a, struct err *e);	/* exit code; @e for the message */
};

extern const struct img_command img_commands[];
int img_create(struct img_args *a, struct err *e);
int img_info(struct img_args *a, struct err *e);
int img_check(struct img_args *a, struct err *e);
int img_convert(struct img_args *a, struct err *e);
int img_resize(struct img_args *a, struct err *e);
int img_compare(struct img_args *a, struct err *e);
int img_snapshot(struct img_args *a, struct err *e);
int img_commit(struct img_args *a, struct err *e);
int img_rebase(struct img_args *a, struct err *e);

/* No process, nor this one, has the file open as an image; else false + @e. */
bool img_not_in_use(const char *path, struct err *e);

/* ---- progress (imgbar.c) --------------------------------------------------- */

struct img_bar {
	const char *what;		/* "convert" */
	uint64_t total;
	_Atomic uint64_t done;
	bool shown, json, wide;
	uint64_t start_ns, last_ns;	/* the drawing thread only */
	uint64_t moved;			/* bytes read or written, for the rate */
};

extern atomic_bool img_cancelled;	/* Ctrl-C, SIGTERM */
void img_catch_signals(void);
void img_bar_begin(struct img_bar *b, const struct img_args *a, const char *what, uint64_t total);
/* Draws at most ten times a second; any thread that holds the caller's lock. */
void img_bar_update(struct img_bar *b, uint64_t done);
void img_bar_end(struct img_bar *b, bool ok);
/* "1.5 GiB" into one of a few static buffers. */
const char *img_bytes(uint64_t n);

/* ---- copying (imgcopy.c) ---------------------------------------------------- */

struct img_copy {
	struct image *src, *dst;
	bool pack;			/* compressed units, in ascending order */
	bool fresh;			/* dst reads as zeros everywhere: skip zeros */
	bool own_only;			/* only what src itself holds, not its backing file */
	uint64_t size;			/* bytes to copy */
	unsigned threads;
	struct img_bar *bar;
	uint64_t written;		/* out: bytes of data */
};

/* false: @e, ECANCELED as "cancelled". */
bool img_copy_run(struct img_copy *c, struct err *e);
/* Data or zeros, seen through the whole chain. */
int img_chain_map(struct image *im, uint64_t off, uint64_t len, uint64_t *n, enum image_kind *k);
bool img_is_zero(const void *p, size_t n);
bool img_was_cancelled(struct err *e);	/* sets the message; returns false */

/* ---- output (imgjson.c) ------------------------------------------------------ */

struct img_json {
	FILE *out;
	unsigned depth;
	bool more;
};

void json_begin(struct img_json *j, const char *key, char bracket);
void json_end(struct img_json *j, char bracket);
void json_string(struct img_json *j, const char *key, const char *v);
void json_number(struct img_json *j, const char *key, uint64_t v);
void json_bool(struct img_json *j, const char *key, bool v);

#endif
