/* SPDX-License-Identifier: MIT */
/*
 * Image locks: open-file-description locks on the bytes QEMU uses, so that
 * both refuse each other, plus one byte of our own far past any content.
 *
 * QEMU (block/file-posix.c, as documented in its block permission system)
 * marks "I use this permission" by a shared lock on byte 100 + n and "nobody
 * else may" on byte 200 + n, with n = 0 consistent read, 1 write, 3 resize;
 * a conflict is found by testing the opposite byte.  Everybody first takes
 * its bytes and then tests, so two openers may both fail but never both win.
 *
 * The kernel does not tell who holds such a lock; /proc/PID/fdinfo does.
 */
#include "image.h"
#include "log.h"

#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#define LOCK_USE 100
#define LOCK_DENY 200
#define PERM_READ 0
#define PERM_WRITE 1
#define PERM_RESIZE 3
#define LOCK_OWN 0x4856524e00000000ll	/* "HVRN" */

static int ofd(int fd, int cmd, short type, off_t at, struct flock *fl)
{
	*fl = (struct flock){ .l_type = type, .l_whence = SEEK_SET, .l_start = at, .l_len = 1 };
	return fcntl(fd, cmd, fl) < 0 ? errno : 0;
}

static int take(int fd, short type, off_t at)
{
	struct flock fl;

	return ofd(fd, F_OFD_SETLK, type, at, &fl);
}

/* Somebody else holds byte @at in any way. */
static bool held(int fd, off_t at, pid_t *pid)
{
	struct flock fl;

	/* A write lock may be tested for on a read-only descriptor too. */
	if (ofd(fd, F_OFD_GETLK, F_WRLCK, at, &fl) || fl.l_type == F_UNLCK)
		return false;
	if (fl.l_pid > 0)
		*pid = fl.l_pid;
	return true;
}

/* True if fdinfo text shows a lock that covers one of our bytes. */
static bool fdinfo_has_lock(const char *path)
{
	char line[512];
	FILE *f = fopen(path, "re");
	bool yes = false;

	while (f && !yes && fgets(line, sizeof(line), f))
		yes = !strncmp(line, "lock:", 5);
	if (f)
		fclose(f);
	return yes;
}

/* A descriptor of process @pid, other than our own @fd, with a lock on the file. */
static bool process_holds(const char *pid, int fd, const struct stat *want)
{
	char path[600];
	struct dirent *de;
	bool self = atoi(pid) == getpid(), found = false;
	DIR *d;

	snprintf(path, sizeof(path), "/proc/%s/fd", pid);
	d = opendir(path);
	while (d && !found && (de = readdir(d)) != NULL) {
		struct stat st;

		if (!isdigit((unsigned char)de->d_name[0]) || (self && atoi(de->d_name) == fd))
			continue;
		snprintf(path, sizeof(path), "/proc/%s/fd/%s", pid, de->d_name);
		if (stat(path, &st) || st.st_ino != want->st_ino || st.st_dev != want->st_dev)
			continue;
		snprintf(path, sizeof(path), "/proc/%s/fdinfo/%s", pid, de->d_name);
		found = fdinfo_has_lock(path);
	}
	if (d)
		closedir(d);
	return found;
}

pid_t image_lock_holder(int fd)
{
	struct stat st;
	struct dirent *de;
	pid_t pid = 0;
	DIR *d = opendir("/proc");

	if (d && !fstat(fd, &st)) {
		while (!pid && (de = readdir(d)) != NULL)
			if (isdigit((unsigned char)de->d_name[0]) &&
			    process_holds(de->d_name, fd, &st))
				pid = (pid_t)atoi(de->d_name);
	}
	if (d)
		closedir(d);
	return pid;
}

static void process_name(pid_t pid, char *name, size_t len)
{
	char path[64];
	FILE *f;

	snprintf(path, sizeof(path), "/proc/%d/comm", (int)pid);
	snprintf(name, len, "a program");
	f = fopen(path, "re");
	if (f && fgets(name, (int)len, f))
		name[strcspn(name, "\n")] = '\0';
	if (f)
		fclose(f);
}

static bool refuse(int fd, const char *path, bool shared, pid_t pid, struct err *e)
{
	char name[64];

	if (!pid)
		pid = image_lock_holder(fd);
	if (!pid)
		return err_set(e, HV_EXIT_LOCKED, "%s: in use by a process of another user; close "
			       "it there first", path);
	if (pid == getpid())
		return err_set(e, HV_EXIT_LOCKED, "%s: given twice (already open in this hvrun, "
			       "pid %d); name each disk once", path, (int)pid);
	process_name(pid, name, sizeof(name));
	return err_set(e, HV_EXIT_LOCKED, "%s: in use %sby %s (pid %d); close it there first",
		       path, shared ? "for writing " : "", name, (int)pid);
}

/* A file system without locks must not make the disk unusable. */
static bool cannot_lock(const char *path, int err)
{
	if (err == EAGAIN || err == EACCES)
		return false;
	log_warn("%s: the file system cannot lock files (%s): make sure that nothing else uses "
		 "the image", path, strerror(err));
	return true;
}

bool image_lock(int fd, const char *path, bool shared, struct err *e)
{
	static const off_t all[] = { LOCK_USE + PERM_READ, LOCK_DENY + PERM_WRITE,
				     LOCK_DENY + PERM_RESIZE, LOCK_USE + PERM_WRITE,
				     LOCK_USE + PERM_RESIZE };
	static const off_t tests[] = { LOCK_DENY + PERM_READ, LOCK_USE + PERM_WRITE,
				       LOCK_USE + PERM_RESIZE, LOCK_DENY + PERM_WRITE,
				       LOCK_DENY + PERM_RESIZE };
	unsigned n = shared ? 3 : 5;
	pid_t pid = 0;
	int err = take(fd, shared ? F_RDLCK : F_WRLCK, LOCK_OWN);

	for (unsigned i = 0; i < n && !err; i++)
		err = take(fd, F_RDLCK, all[i]);
	if (err)
		return cannot_lock(path, err) || refuse(fd, path, shared, 0, e);
	for (unsigned i = 0; i < n; i++)
		if (held(fd, tests[i], &pid))
			return refuse(fd, path, shared, pid, e);
	return true;
}
