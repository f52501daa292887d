/* SPDX-License-Identifier: MIT */
/*
 * Host file access for image formats: full transfers over preadv/pwritev,
 * holes by fallocate(2), sticky fdatasync(2) failure, scatter-gather helpers.
 */
#include "hostfile.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/falloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/xattr.h>
#include <unistd.h>

#define HF_IOVS 64
#define HF_DIRECT_MAX 4096u
#define HF_ZERO_CHUNK (64u * 1024)
#define HF_RESERVE (64u * 1024)	/* bytes of a write: less is not worth the call */

int (*hostfile_fault)(struct hostfile *f, enum hf_op op, uint64_t off, uint64_t len);

static int fault(struct hostfile *f, enum hf_op op, uint64_t off, uint64_t len)
{
	/* After a failed sync the page cache may have dropped data: no later success counts. */
	if (op != HF_READ && atomic_load(&f->sync_failed))
		return EIO;
	return unlikely(hostfile_fault != NULL) ? hostfile_fault(f, op, off, len) : 0;
}

void hf_init(struct hostfile *f, int fd, bool blockdev)
{
	memset(f, 0, sizeof(*f));
	f->fd = fd;
	f->direct_fd = -1;
	f->blockdev = blockdev;
}

void hf_close(struct hostfile *f)
{
	if (f->fd >= 0)
		close(f->fd);
	if (f->direct_fd >= 0)
		close(f->direct_fd);
	f->fd = f->direct_fd = -1;
}

/* Smallest alignment that a read takes: the logical block size of the device below. */
static int probe_align(int fd, uint32_t *align)
{
	uint8_t *buf = aligned_alloc(HF_DIRECT_MAX, 2 * HF_DIRECT_MAX);
	int err = ENOMEM;

	for (uint32_t a = 512; buf && a <= HF_DIRECT_MAX; a *= 2) {
		ssize_t r = pread(fd, buf + a, a, a);

		err = r < 0 ? errno : 0;
		*align = a;
		if (err != EINVAL)
			break;
	}
	free(buf);
	return err;
}

int hf_open_direct(struct hostfile *f)
{
	char self[64];
	int flags = fcntl(f->fd, F_GETFL), fd, err;

	snprintf(self, sizeof(self), "/proc/self/fd/%d", f->fd);
	fd = flags < 0 ? -1 : open(self, (flags & O_ACCMODE) | O_DIRECT | O_CLOEXEC);
	if (fd < 0)
		return errno;
	err = probe_align(fd, &f->direct_align);
	if (err) {
		close(fd);
		return err;
	}
	f->direct_fd = fd;
	return 0;
}

int hf_transfer_fd(const struct hostfile *f, const struct iovec *v, unsigned n, uint64_t off)
{
	uint64_t bits = off;

	if (f->direct_fd < 0)
		return f->fd;
	for (unsigned i = 0; i < n; i++)
		bits |= (uintptr_t)v[i].iov_base | v[i].iov_len;
	return bits & (f->direct_align - 1) ? f->fd : f->direct_fd;
}

int hf_size(struct hostfile *f, uint64_t *size)
{
	off_t end = lseek(f->fd, 0, SEEK_END);	/* works for block devices too */

	if (end < 0)
		return errno;
	*size = (uint64_t)end;
	return 0;
}

uint64_t iov_total(const struct iovec *iov, unsigned niov)
{
	uint64_t sum = 0;

	for (unsigned i = 0; i < niov; i++)
		sum += iov[i].iov_len;
	return sum;
}

unsigned iov_slice(const struct iovec *src, unsigned niov, uint64_t off, uint64_t len,
		   struct iovec *dst, unsigned max, uint64_t *got)
{
	unsigned n = 0;

	*got = 0;
	for (unsigned i = 0; i < niov && n < max && *got < len; i++) {
		if (off >= src[i].iov_len) {
			off -= src[i].iov_len;
			continue;
		}
		dst[n].iov_base = (uint8_t *)src[i].iov_base + off;
		dst[n].iov_len = MIN(src[i].iov_len - off, len - *got);
		*got += dst[n++].iov_len;
		off = 0;
	}
	return n;
}

enum iov_dir { IOV_ZERO, IOV_FROM, IOV_TO };

static void iov_copy(const struct iovec *iov, unsigned niov, uint64_t off, uint8_t *buf,
		     uint64_t len, enum iov_dir dir)
{
	for (unsigned i = 0; i < niov && len; i++) {
		if (off >= iov[i].iov_len) {
			off -= iov[i].iov_len;
			continue;
		}
		uint8_t *at = (uint8_t *)iov[i].iov_base + off;
		size_t n = MIN(iov[i].iov_len - off, len);

		if (dir == IOV_ZERO)
			memset(at, 0, n);
		else if (dir == IOV_FROM)
			memcpy(at, buf, n);
		else
			memcpy(buf, at, n);
		buf = buf ? buf + n : NULL;
		len -= n;
		off = 0;
	}
}

void iov_zero(const struct iovec *iov, unsigned niov, uint64_t off, uint64_t len)
{
	iov_copy(iov, niov, off, NULL, len, IOV_ZERO);
}

void iov_from_buf(const struct iovec *iov, unsigned niov, uint64_t off, const void *buf,
		  uint64_t len)
{
	iov_copy(iov, niov, off, (uint8_t *)buf, len, IOV_FROM);
}

void iov_to_buf(const struct iovec *iov, unsigned niov, uint64_t off, void *buf, uint64_t len)
{
	iov_copy(iov, niov, off, buf, len, IOV_TO);
}

int hf_preadv(struct hostfile *f, const struct iovec *iov, unsigned niov, uint64_t off)
{
	uint64_t len = iov_total(iov, niov), pos = 0;
	int err = fault(f, HF_READ, off, len);

	if (err)
		return err;
	if (off > INT64_MAX || len > INT64_MAX - off)
		return EINVAL;
	while (pos < len) {
		struct iovec v[HF_IOVS];
		uint64_t got;
		unsigned n = iov_slice(iov, niov, pos, len - pos, v, HF_IOVS, &got);
		int fd = hf_transfer_fd(f, v, n, off + pos);
		ssize_t r = preadv(fd, v, (int)n, (off_t)(off + pos));

		if (r < 0 && errno == EINVAL && fd != f->fd)
			r = preadv(f->fd, v, (int)n, (off_t)(off + pos));
		if (r < 0 && errno == EINTR)
			continue;
		if (r < 0)
			return errno;
		if (r == 0) {
			iov_zero(iov, niov, pos, len - pos);
			break;
		}
		pos += (uint64_t)r;
	}
	return 0;
}

int hf_read_now(struct hostfile *f, const struct iovec *iov, unsigned niov, uint64_t off,
		uint64_t len)
{
	ssize_t r;

	if (hostfile_fault || f->direct_fd >= 0 || niov > IOV_MAX || off > INT64_MAX)
		return EAGAIN;
	r = preadv2(f->fd, iov, (int)niov, (off_t)off, RWF_NOWAIT);
	return r >= 0 && (uint64_t)r == len ? 0 : EAGAIN;
}

static int do_fallocate(struct hostfile *f, int mode, uint64_t off, uint64_t len)
{
	int r;

	do
		r = fallocate(f->fd, mode | FALLOC_FL_KEEP_SIZE, (off_t)off, (off_t)len);
	while (r < 0 && errno == EINTR);
	return r < 0 ? errno : 0;
}

static bool not_supported(int err)
{
	return err == EOPNOTSUPP || err == ENOSYS || err == EINVAL || err == ENODEV;
}

/*
 * Blocks for a large write to a new file, in one piece: on ext4 a write costs
 * a third less than one that has each block promised by itself.  Whether they
 * are to be had the write finds out.
 */
static void reserve(struct hostfile *f, uint64_t off, uint64_t len)
{
	if (f->no_sync && len >= HF_RESERVE && !f->blockdev && !atomic_load(&f->no_reserve) &&
	    not_supported(do_fallocate(f, 0, off, len)))
		atomic_store(&f->no_reserve, true);
}

int hf_pwritev(struct hostfile *f, const struct iovec *iov, unsigned niov, uint64_t off)
{
	uint64_t len = iov_total(iov, niov), pos = 0;
	int err = fault(f, HF_WRITE, off, len);

	if (err)
		return err;
	if (off > INT64_MAX || len > INT64_MAX - off)
		return EFBIG;
	reserve(f, off, len);
	while (pos < len) {
		struct iovec v[HF_IOVS];
		uint64_t got;
		unsigned n = iov_slice(iov, niov, pos, len - pos, v, HF_IOVS, &got);
		int fd = hf_transfer_fd(f, v, n, off + pos);
		ssize_t r = pwritev(fd, v, (int)n, (off_t)(off + pos));

		if (r < 0 && errno == EINVAL && fd != f->fd)
			r = pwritev(f->fd, v, (int)n, (off_t)(off + pos));
		if (r < 0 && errno == EINTR)
			continue;
		if (r < 0)
			return errno;
		if (r == 0)
			return ENOSPC;
		pos += (uint64_t)r;
	}
	return 0;
}

int hf_move(struct hostfile *f, bool write, uint64_t at, uint64_t len, const struct iovec *iov,
	    unsigned niov, uint64_t iov_off)
{
	uint64_t pos = 0;
	int err = 0;

	while (pos < len && !err) {
		struct iovec v[HF_IOVS];
		uint64_t n;
		unsigned k = iov_slice(iov, niov, iov_off + pos, len - pos, v, HF_IOVS, &n);

		if (!n)
			return EINVAL;
		err = write ? hf_pwritev(f, v, k, at + pos) : hf_preadv(f, v, k, at + pos);
		pos += n;
	}
	return err;
}

int hf_pread(struct hostfile *f, void *buf, size_t len, uint64_t off)
{
	struct iovec v = { buf, len };

	return hf_preadv(f, &v, 1, off);
}

int hf_pwrite(struct hostfile *f, const void *buf, size_t len, uint64_t off)
{
	struct iovec v = { (void *)buf, len };

	return hf_pwritev(f, &v, 1, off);
}

int hf_sync(struct hostfile *f)
{
	int err = fault(f, HF_SYNC, 0, 0);

	if (!err && !f->no_sync && fdatasync(f->fd) < 0)
		err = errno;
	if (err == EINVAL || err == EROFS)	/* special file without a sync */
		err = 0;
	if (err)
		atomic_store(&f->sync_failed, true);
	return err;
}

int hf_punch(struct hostfile *f, uint64_t off, uint64_t len)
{
	int err = fault(f, HF_PUNCH, off, len);

	if (err || !len || atomic_load(&f->no_punch))
		return err;
	err = do_fallocate(f, FALLOC_FL_PUNCH_HOLE, off, len);
	if (not_supported(err)) {
		atomic_store(&f->no_punch, true);
		return 0;
	}
	return err;
}

static int write_zeros(struct hostfile *f, uint64_t off, uint64_t len)
{
	static const uint8_t zeros[HF_ZERO_CHUNK];
	int err = 0;

	while (len && !err) {
		size_t n = MIN(len, sizeof(zeros));

		err = hf_pwrite(f, zeros, n, off);
		off += n;
		len -= n;
	}
	return err;
}

int hf_zero(struct hostfile *f, uint64_t off, uint64_t len, bool unmap)
{
	uint64_t end = 0;
	int err = fault(f, HF_ZERO, off, len);

	if (err || !len)
		return err;
	/* fallocate() keeps the size; a range past the end must be written to exist. */
	if (hf_size(f, &end) || off > end || len > end - off)
		return write_zeros(f, off, len);
	if (unmap && !atomic_load(&f->no_punch) &&
	    !do_fallocate(f, FALLOC_FL_PUNCH_HOLE, off, len))
		return 0;
	if (!atomic_load(&f->no_zero)) {
		err = do_fallocate(f, FALLOC_FL_ZERO_RANGE, off, len);
		if (!not_supported(err))
			return err;
		atomic_store(&f->no_zero, true);
	}
	return write_zeros(f, off, len);
}

int hf_truncate(struct hostfile *f, uint64_t size)
{
	int err = fault(f, HF_TRUNCATE, size, 0);

	if (err)
		return err;
	if (size > INT64_MAX)
		return EFBIG;
	do
		err = ftruncate(f->fd, (off_t)size) < 0 ? errno : 0;
	while (err == EINTR);
	return err;
}

int hf_get_note(struct hostfile *f, const char *name, char *buf, size_t n)
{
	ssize_t len = fgetxattr(f->fd, name, buf, n - 1);
	int err = len < 0 ? errno : 0;

	buf[len < 0 ? 0 : len] = '\0';
	/* No such attribute, no such thing here, or not for this kind of file. */
	return err == ENODATA || err == EOPNOTSUPP || err == EPERM || err == ENOSYS ? 0 : err;
}

int hf_set_note(struct hostfile *f, const char *name, const char *text)
{
	int err = fault(f, HF_XATTR, 0, text ? strlen(text) : 0), r;

	if (err)
		return err;
	r = text ? fsetxattr(f->fd, name, text, strlen(text), 0) : fremovexattr(f->fd, name);
	return r < 0 ? errno : 0;
}
