/* SPDX-License-Identifier: MIT */
/* Files replaced as a whole; see savefile.h. */
#include "savefile.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static bool write_all(int fd, const char *p, size_t n)
{
	while (n) {
		ssize_t done = write(fd, p, n);

		if (done < 0 && errno != EINTR)
			return false;
		if (done > 0) {
			p += done;
			n -= (size_t)done;
		}
	}
	return fsync(fd) == 0;
}

/* The name is durable too.  Best effort: some file systems cannot sync a folder. */
static void sync_folder(const char *path)
{
	char dir[PATH_MAX];
	const char *slash = strrchr(path, '/');
	int fd;

	snprintf(dir, sizeof(dir), "%.*s", slash ? (int)(slash - path + 1) : 1,
		 slash ? path : ".");
	fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0)
		return;
	if (fsync(fd) < 0)
		errno = 0;
	close(fd);
}

/* The old content gets a second name, so that PATH is there at every moment. */
static void keep_previous(const char *path)
{
	char old[PATH_MAX];

	if (snprintf(old, sizeof(old), "%s" SAVEFILE_PREVIOUS, path) >= (int)sizeof(old))
		return;
	unlink(old);
	if (link(path, old) < 0)
		errno = 0;	/* nothing there yet, or no links here */
}

enum manner { REPLACE, REPLACE_KEEP, CREATE };

/* Into its place, complete. */
static int put(const char *tmp, const char *path, enum manner how)
{
	struct stat st;

	if (how == REPLACE_KEEP)
		keep_previous(path);
	if (how != CREATE)
		return rename(tmp, path) < 0 ? errno : 0;
	if (!renameat2(AT_FDCWD, tmp, AT_FDCWD, path, RENAME_NOREPLACE))
		return 0;
	if (errno != EINVAL && errno != ENOSYS)
		return errno;
	if (lstat(path, &st) == 0)	/* this file system cannot say it in one step */
		return EEXIST;
	return rename(tmp, path) < 0 ? errno : 0;
}

static int save(const char *path, const void *data, size_t len, unsigned mode, enum manner how)
{
	char tmp[PATH_MAX];
	int fd, err = 0;

	if (snprintf(tmp, sizeof(tmp), "%s.XXXXXX", path) >= (int)sizeof(tmp))
		return ENAMETOOLONG;
	fd = mkostemp(tmp, O_CLOEXEC);
	if (fd < 0)
		return errno;
	if (fchmod(fd, mode) < 0 || !write_all(fd, data, len))
		err = errno;
	if (close(fd) < 0 && !err)
		err = errno;
	if (!err)
		err = put(tmp, path, how);
	if (err)
		unlink(tmp);
	else
		sync_folder(path);
	return err;
}

int savefile_write(const char *path, const void *data, size_t len, unsigned mode, bool keep)
{
	return save(path, data, len, mode, keep ? REPLACE_KEEP : REPLACE);
}

int savefile_create(const char *path, const void *data, size_t len, unsigned mode)
{
	return save(path, data, len, mode, CREATE);
}
