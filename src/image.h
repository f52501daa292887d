/* SPDX-License-Identifier: MIT */
/*
 * One open disk image and the chain below it: what src/block.c, the formats
 * in images/ and the tests use.  Devices use block.h only.
 *
 * image_io() may be called from several threads at once; formats lock
 * themselves.  Opening and closing belong to one set-up thread.
 */
#ifndef HV_IMAGE_H
#define HV_IMAGE_H

#include "block.h"
#include "hostfile.h"

#define IMAGE_MAX_DEPTH 8		/* images in a backing chain */
#define IMAGE_MAX_SIZE (1ull << 50)	/* bytes the guest may see */
#define IMAGE_HEAD 4096			/* bytes a probe gets */
#define IMAGE_TAIL 512			/* and from the end of the file */

struct image {
	const struct block_format *fmt;
	struct hostfile file;		/* fd -1: no file of its own */
	char *path;
	unsigned flags;			/* enum block_flags */
	uint64_t size;			/* bytes the guest sees; set by open() */
	void *priv;			/* the format's */
	struct image *backing;		/* owned; closed after the format's close() */
	const struct image *over;	/* the image this one backs, NULL for the top */
	unsigned depth;			/* 0 = top */
	uint64_t dev, ino;
	char **part;			/* paths of its other files (image_open_part()) */
	unsigned nparts;
	struct format_guard *guard;	/* imgformat.c; NULL: none needed */
};

struct image_tool;

/* A piece of the disk that lies in one piece of a file. */
struct image_place {
	struct hostfile *file;		/* NULL: reads as zeros */
	uint64_t off, len;		/* in the file; at most what was asked for */
	struct image *held;		/* image_unplace() */
};

struct block_format {
	const char *name;
	/*
	 * 0..100: how sure, from the first @n bytes (IMAGE_HEAD), followed by the
	 * last IMAGE_TAIL bytes of the file, and the file's size.
	 */
	int (*probe)(const uint8_t *head, size_t n, uint64_t file_size);
	/* im->file is open and locked, path and flags are set; fills size and priv. */
	bool (*open)(struct image *im, struct err *e);
	/* Any thread: one request, already inside [0, size); 0 or a positive errno. */
	int (*io)(struct image *im, enum block_op op, uint64_t off, uint64_t len,
		  const struct iovec *iov, unsigned niov);
	void (*close)(struct image *im);	/* flushes caches; may block */
	const struct image_tool *tool;		/* imgtool.h; NULL: I/O only */
	bool instant;	/* io() never waits */
	bool plain;	/* byte n of the disk is byte n of im->file */
	/*
	 * Any thread: where [off, off + p->len) is, p->len cut to one piece, so that a
	 * transfer may go straight there; never waits.  0, or EAGAIN: io() must do it.
	 * With p->held the place stays true until unplace(), which any thread may call.
	 */
	int (*place)(struct image *im, bool write, uint64_t off, struct image_place *p);
	void (*unplace)(struct image *im);
};

/* Table of the formats, NULL-terminated, raw last; in images/all.c. */
extern const struct block_format *const block_formats[];

/*
 * Which format (imgformat.c).  choose: by @name, else by the record on the
 * file, else by content; sets im->fmt.  record: after a successful open, so
 * that a disk once taken for raw stays raw whatever its guest writes; where
 * the file cannot carry the record, im->guard refuses such writes.
 */
bool image_choose_format(struct image *im, const char *name, struct err *e);
void image_record_format(struct image *im, bool named);
int image_guarded_write(struct image *im, uint64_t off, uint64_t len,
			const struct iovec *iov, unsigned niov);
void format_guard_free(struct format_guard *g);

struct image *image_open(const char *path, const char *format, unsigned flags, struct err *e);
void image_close(struct image *im);
int image_io(struct image *im, enum block_op op, uint64_t off, uint64_t len,
	     const struct iovec *iov, unsigned niov);
/* From the backing image, zeros where it ends or there is none; @iov from @iov_off on. */
int image_read_backing(struct image *im, uint64_t off, uint64_t len, const struct iovec *iov,
		       unsigned niov, uint64_t iov_off);
/* As block_format.place, for @len bytes of any image. */
int image_place(struct image *im, bool write, uint64_t off, uint64_t len, struct image_place *p);
void image_unplace(struct image *held);	/* NULL: nothing was held */
/* Without waiting: 0, or EAGAIN (nothing can be said about the buffer then). */
int image_read_now(struct image *im, uint64_t off, uint64_t len, const struct iovec *iov,
		   unsigned niov);
/* Read for an image above: zeros past the end. */
int image_read(struct image *im, uint64_t off, void *buf, size_t len);

/*
 * Open the backing file @name of @im (format by name, or NULL: by content)
 * read-only, confined to the directory of @im.
 */
bool image_open_backing(struct image *im, const char *name, const char *format, struct err *e);

/*
 * Open the further file @name of @im (extent, parent) for a format's own
 * use, confined in the same way, read-write unless @rdonly, and locked.  -1 + @e.
 */
int image_open_part(struct image *im, const char *name, bool rdonly, struct err *e);

/* A disk of @size without content; images/null.c. */
struct image *image_null(const char *size, unsigned flags, struct err *e);

/* A writable image over @base whose changes vanish; owns @base, also on failure. */
struct image *image_throwaway(struct image *base, struct err *e);

/*
 * Take the lock that keeps hvrun and QEMU off each other's images; @shared
 * for read-only use.  Held until the descriptor is closed.  A refusal names
 * the holder (HV_EXIT_LOCKED).
 */
bool image_lock(int fd, const char *path, bool shared, struct err *e);
/* The process that holds a lock on the open file; 0: none that we can see. */
pid_t image_lock_holder(int fd);

#endif
