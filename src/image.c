/* SPDX-License-Identifier: MIT */
/*
 * Opening a disk image: the host's answers turned into plain words, lock
 * before parse, format by name, record or content (imgformat.c), backing files
 * confined to the directory of the image that names them (and below), no chain deeper than
 * IMAGE_MAX_DEPTH, no loops.
 */
#include "imgtool.h"
#include "log.h"

#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <linux/openat2.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#define NOW_IOVS 64

static bool open_failed(const char *path, int errnum, bool rdonly, struct err *e)
{
	switch (errnum) {
	case ENOENT:
		return err_set(e, HV_EXIT_IMAGE, "%s: no such file; check the name", path);
	case ENOTDIR:
		return err_set(e, HV_EXIT_IMAGE, "%s: a part of this path is not a directory; "
			       "check the name", path);
	case EACCES:
	case EPERM:
	case EROFS:
		return err_set(e, HV_EXIT_IMAGE, "%s: no permission to %s it; %s", path,
			       rdonly ? "read" : "read and write", rdonly ?
			       "change its owner or mode" :
			       "change its owner or mode, or attach it read-only");
	case EISDIR:
		return err_set(e, HV_EXIT_IMAGE, "%s: is a directory, not a disk image; name a "
			       "file in it", path);
	case ETXTBSY:
		return err_set(e, HV_EXIT_LOCKED, "%s: in use as a program or swap file", path);
	default:
		return err_errno(e, HV_EXIT_IMAGE, errnum, "%s: cannot open the image", path);
	}
}

/* What kind of thing was opened, and is there anything in it. */
static bool check_file(struct image *im, struct err *e)
{
	struct stat st;
	uint64_t size = 0;
	int err;

	if (fstat(im->file.fd, &st))
		return err_errno(e, HV_EXIT_IMAGE, errno, "%s: cannot stat", im->path);
	if (S_ISDIR(st.st_mode))
		return open_failed(im->path, EISDIR, true, e);
	im->file.blockdev = S_ISBLK(st.st_mode);
	im->dev = im->file.blockdev ? st.st_rdev : st.st_dev;
	im->ino = im->file.blockdev ? 0 : st.st_ino;
	if (!S_ISREG(st.st_mode) && !im->file.blockdev)
		return err_set(e, HV_EXIT_IMAGE, "%s: is neither a file nor a block device; a disk "
			       "image must be one of them", im->path);
	err = hf_size(&im->file, &size);
	if (err)
		return err_errno(e, HV_EXIT_IMAGE, err, "%s: cannot find its size", im->path);
	if (size == 0)
		return err_set(e, HV_EXIT_IMAGE, "%s: the file is empty (0 bytes), so there is no "
			       "disk in it; create one: hvrun img create FILE 20G", im->path);
	return true;
}

static bool check_loop(const struct image *im, struct err *e)
{
	if (im->depth >= IMAGE_MAX_DEPTH)
		return err_set(e, HV_EXIT_IMAGE, "%s: more than %d images in the backing chain; "
			       "shorten it with qemu-img commit or convert", im->path,
			       IMAGE_MAX_DEPTH);
	for (const struct image *up = im->over; up; up = up->over)
		if (up->dev == im->dev && up->ino == im->ino)
			return err_set(e, HV_EXIT_IMAGE, "%s: the backing chain comes back to this "
				       "file (a loop)", im->path);
	return true;
}

static bool check_size(const struct image *im, struct err *e)
{
	if (im->size == 0)
		return err_set(e, HV_EXIT_IMAGE, "%s: the disk inside has size 0", im->path);
	if (im->size > IMAGE_MAX_SIZE)
		return err_set(e, HV_EXIT_IMAGE, "%s: the disk inside claims %llu bytes; more than "
			       "1 PiB is not supported (is the header damaged?)", im->path,
			       (unsigned long long)im->size);
	return true;
}

/* What is left when the format has gone. */
static void image_free(struct image *im)
{
	image_close(im->backing);
	hf_close(&im->file);
	format_guard_free(im->guard);
	while (im->nparts)
		free(im->part[--im->nparts]);
	free(im->part);
	free(im->path);
	free(im);
}

/* Owns @fd in every case. */
static struct image *image_from_fd(int fd, const char *path, const char *format, unsigned flags,
				   const struct image *over, struct err *e)
{
	struct image *im = hv_zalloc(sizeof(*im));

	hf_init(&im->file, fd, false);
	im->path = hv_strdup(path);
	im->flags = flags;
	im->over = over;
	im->depth = over ? over->depth + 1 : 0;
	if (!check_file(im, e) || !check_loop(im, e))
		goto fail;
	if (!(flags & BLOCK_NO_LOCK) && !image_lock(fd, path, flags & BLOCK_RDONLY, e))
		goto fail;
	if (!image_choose_format(im, format, e))
		goto fail;
	if (!im->fmt->open(im, e))
		goto fail;
	if (!check_size(im, e)) {
		im->fmt->close(im);
		goto fail;
	}
	image_record_format(im, format != NULL);
	return im;
fail:
	image_free(im);
	return NULL;
}

struct image *image_open(const char *path, const char *format, unsigned flags, struct err *e)
{
	bool throwaway = flags & BLOCK_THROWAWAY, rdonly = throwaway || (flags & BLOCK_RDONLY);
	unsigned base = (flags & ~BLOCK_THROWAWAY) | (rdonly ? BLOCK_RDONLY : 0);
	struct image *im;
	int fd;

	if (!strncmp(path, "null:", 5))
		return image_null(path + 5, flags & ~BLOCK_THROWAWAY, e);
	/* Not O_NONBLOCK's meaning for files: it keeps a FIFO from hanging us. */
	fd = open(path, (rdonly ? O_RDONLY : O_RDWR) | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);

	if (fd < 0) {
		open_failed(path, errno, rdonly, e);
		return NULL;
	}
	im = image_from_fd(fd, path, format, base, NULL, e);
	return im && throwaway ? image_throwaway(im, e) : im;
}

void image_close(struct image *im)
{
	if (!im)
		return;
	im->fmt->close(im);
	image_free(im);
}

static bool guarded(const struct image *im, uint64_t off, uint64_t len)
{
	return im->guard && (off < IMAGE_HEAD || off + len + 2 * IMAGE_TAIL > im->size);
}

int image_io(struct image *im, enum block_op op, uint64_t off, uint64_t len,
	     const struct iovec *iov, unsigned niov)
{
	if (op == BLOCK_DISCARD && !(im->flags & (BLOCK_DISCARD_ON | BLOCK_THROWAWAY)))
		return 0;
	if (op == BLOCK_WRITE && guarded(im, off, len))
		return image_guarded_write(im, off, len, iov, niov);
	return im->fmt->io(im, op, off, len, iov, niov);
}

int image_read_now(struct image *im, uint64_t off, uint64_t len, const struct iovec *iov,
		   unsigned niov)
{
	struct image_place p;
	struct iovec v[NOW_IOVS];
	uint64_t pos = 0, n;
	int err = 0;

	while (pos < len && !err) {
		err = image_place(im, false, off + pos, len - pos, &p);
		if (err)
			break;
		n = p.len;
		if (!p.file) {
			iov_zero(iov, niov, pos, n);
		} else if (n == len) {
			err = hf_read_now(p.file, iov, niov, p.off, n);
		} else {
			unsigned k = iov_slice(iov, niov, pos, n, v, NOW_IOVS, &n);

			err = hf_read_now(p.file, v, k, p.off, n);
		}
		image_unplace(p.held);
		pos += n;
	}
	return err;
}

int image_read_backing(struct image *im, uint64_t off, uint64_t len, const struct iovec *iov,
		       unsigned niov, uint64_t iov_off)
{
	struct image *below = im->backing;
	uint64_t have = !below || off >= below->size ? 0 : MIN(len, below->size - off), pos = 0;
	int err = 0;

	iov_zero(iov, niov, iov_off + have, len - have);
	while (pos < have && !err) {
		struct iovec v[NOW_IOVS];
		uint64_t n;
		unsigned k = iov_slice(iov, niov, iov_off + pos, have - pos, v, NOW_IOVS, &n);

		err = n ? image_io(below, BLOCK_READ, off + pos, n, v, k) : EINVAL;
		pos += n;
	}
	return err;
}

int image_place(struct image *im, bool write, uint64_t off, uint64_t len, struct image_place *p)
{
	*p = (struct image_place){ .file = &im->file, .off = off, .len = len };
	if (write && guarded(im, off, len))
		return EAGAIN;
	if (im->fmt->plain)
		return 0;
	return im->fmt->place ? im->fmt->place(im, write, off, p) : EAGAIN;
}

void image_unplace(struct image *held)
{
	if (held)
		held->fmt->unplace(held);
}

int image_read(struct image *im, uint64_t off, void *buf, size_t len)
{
	size_t n = off >= im->size ? 0 : MIN(len, im->size - off);
	struct iovec v = { buf, n };

	memset((uint8_t *)buf + n, 0, len - n);
	return n ? im->fmt->io(im, BLOCK_READ, off, n, &v, 1) : 0;
}

/* "proto:rest" before any slash is not a file name (nbd:, json:, file: ...). */
static bool is_url(const char *name)
{
	return name[strcspn(name, ":/")] == ':';
}

/* Open @rel below @dir without leaving it by "..", symbolic or magic links. */
static int open_beneath(const char *dir, const char *rel, int mode)
{
	struct open_how how = {
		.flags = (uint64_t)mode | O_CLOEXEC | O_NONBLOCK | O_NOCTTY,
		.resolve = RESOLVE_BENEATH | RESOLVE_NO_MAGICLINKS,
	};
	int dfd = open(dir, O_PATH | O_DIRECTORY | O_CLOEXEC), fd, err;

	if (dfd < 0)
		return -1;
	fd = (int)syscall(SYS_openat2, dfd, rel, &how, sizeof(how));
	/* A kernel before 5.6: a plain name in the same directory is still safe. */
	if (fd < 0 && errno == ENOSYS && !strchr(rel, '/') && strcmp(rel, ".."))
		fd = openat(dfd, rel, mode | O_CLOEXEC | O_NONBLOCK | O_NOCTTY | O_NOFOLLOW);
	err = errno;
	close(dfd);
	errno = err;
	return fd;
}

static bool outside(const struct image *im, const char *name, struct err *e)
{
	return err_set(e, HV_EXIT_IMAGE, "%s: its backing file '%.128s' is not in the same "
		       "directory or below; move it there, or: qemu-img rebase -u", im->path, name);
}

/* Absolute names count when they lead into the image's own directory. */
static const char *strip_directory(const char *dir, const char *name)
{
	char real[4096];
	size_t n;

	if (name[0] != '/')
		return name;
	if (!realpath(dir, real))
		return NULL;
	n = strlen(real);
	if (!strncmp(name, real, n) && name[n] == '/')
		return name + n + 1;
	n = strlen(dir);
	return !strncmp(name, dir, n) && name[n] == '/' ? name + n + 1 : NULL;
}

/* Open what @im calls @name; @path gets the name it was opened by. */
static int open_named(struct image *im, const char *name, int mode, char *path, size_t n,
		      struct err *e)
{
	char *copy = hv_strdup(im->path), *dir = dirname(copy);
	const char *rel = strip_directory(dir, name);
	int fd = -1;

	if (is_url(name)) {
		err_set(e, HV_EXIT_IMAGE, "%s: its backing file '%.128s' is an address, not a file "
			"name; hvrun opens files only", im->path, name);
	} else if (!rel || !*rel) {
		outside(im, name, e);
	} else {
		snprintf(path, n, "%.4095s/%.4000s", dir, rel);
		fd = open_beneath(dir, rel, mode);
		if (fd < 0 && (errno == EXDEV || errno == ELOOP))
			outside(im, name, e);
		else if (fd < 0)
			open_failed(path, errno, mode == O_RDONLY, e);
	}
	free(copy);
	return fd;
}

bool image_open_backing(struct image *im, const char *name, const char *format, struct err *e)
{
	unsigned flags = BLOCK_RDONLY | (im->flags & BLOCK_NO_LOCK);
	char path[8192];
	int fd;

	if (im->flags & IMAGE_NO_BACKING)
		return true;
	fd = open_named(im, name, O_RDONLY, path, sizeof(path), e);
	if (fd >= 0)
		im->backing = image_from_fd(fd, path, format, flags, im, e);
	return im->backing || err_prefix(e, "%s: backing file", im->path);
}

static void add_part(struct image *im, const char *path)
{
	char **more = realloc(im->part, (im->nparts + 1) * sizeof(*more));

	HV_BUG_ON(!more);
	more[im->nparts++] = hv_strdup(path);
	im->part = more;
}

int image_open_part(struct image *im, const char *name, bool rdonly, struct err *e)
{
	char path[8192];
	struct stat st;
	int fd = open_named(im, name, rdonly ? O_RDONLY : O_RDWR, path, sizeof(path), e);

	if (fd < 0)
		return -1;
	if (fstat(fd, &st) || !S_ISREG(st.st_mode)) {
		err_set(e, HV_EXIT_IMAGE, "%s: its part '%.128s' is not a file", im->path, name);
	} else if (st.st_dev == im->dev && st.st_ino == im->ino) {
		err_set(e, HV_EXIT_IMAGE, "%s: names itself as a part", im->path);
	} else if ((im->flags & BLOCK_NO_LOCK) || image_lock(fd, path, rdonly, e)) {
		add_part(im, path);
		return fd;
	}
	close(fd);
	return -1;
}
