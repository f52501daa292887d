/* SPDX-License-Identifier: MIT */
/* Where machines live, and what is known of their runs; see machine.h. */
#include "machine_int.h"
#include "log.h"
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

/* ---- directories ------------------------------------------------------------- */

static bool make_dirs(char *path, mode_t mode)
{
	for (char *p = path + 1; *p; p++) {
		if (*p != '/')
			continue;
		*p = 0;
		if (mkdir(path, mode) < 0 && errno != EEXIST) {
			*p = '/';
			return false;
		}
		*p = '/';
	}
	return mkdir(path, mode) == 0 || errno == EEXIST;
}

/* The run directory is ours alone: nobody else may have made it. */
static bool is_private(const char *path)
{
	struct stat st;

	return lstat(path, &st) == 0 && S_ISDIR(st.st_mode) && st.st_uid == getuid() &&
	       !(st.st_mode & 077);
}

static bool base_dir(enum machine_dir d, char *out, size_t len)
{
	static const struct { const char *env, *home, *sub; } rows[] = {
		[MACHINE_DIR_DATA] = { "XDG_DATA_HOME", ".local/share", "hvrun/machines" },
		[MACHINE_DIR_DISKS] = { "XDG_DATA_HOME", ".local/share", "hvrun/disks" },
		[MACHINE_DIR_CACHE] = { "XDG_CACHE_HOME", ".cache", "hvrun" },
		[MACHINE_DIR_RUN] = { "XDG_RUNTIME_DIR", NULL, "hvrun" },
	};
	const char *env = getenv(rows[d].env), *home = getenv("HOME");
	int n;

	if (env && *env == '/')
		n = snprintf(out, len, "%s/%s", env, rows[d].sub);
	else if (d == MACHINE_DIR_RUN)
		n = snprintf(out, len, "/tmp/hvrun-%u", (unsigned)getuid());
	else if (home && *home == '/')
		n = snprintf(out, len, "%s/%s/%s", home, rows[d].home, rows[d].sub);
	else
		return false;
	return n > 0 && (size_t)n < len;
}

bool machine_dir(enum machine_dir d, char *out, size_t len, struct err *e)
{
	if (!base_dir(d, out, len))
		return err_set(e, HV_EXIT_HOST, "no place for machines: neither HOME nor the XDG "
			       "directories are set");
	if (!make_dirs(out, 0700))
		return err_errno(e, HV_EXIT_HOST, errno, "cannot make the folder %s", out);
	if (d == MACHINE_DIR_RUN && !is_private(out))
		return err_set(e, HV_EXIT_HOST, "%s belongs to another user or is open to others; "
			       "remove it", out);
	return true;
}

bool machine_path(const struct machine *m, const char *what, char *out, size_t len,
		  struct err *e)
{
	bool run = !strcmp(what, "lock") || !strcmp(what, "sock");
	char dir[PATH_MAX];

	if (!machine_dir(run ? MACHINE_DIR_RUN : MACHINE_DIR_CACHE, dir, sizeof(dir), e))
		return false;
	if (snprintf(out, len, "%s/%s.%s", dir, m->id, what) >= (int)len)
		return err_set(e, HV_EXIT_HOST, "%s: the path is too long", dir);
	return true;
}

/* ---- lock ---------------------------------------------------------------------- */

/* Both times of interest are the times when this file was written. */
static void note_use(const struct machine *m, const char *what)
{
	char path[PATH_MAX];
	FILE *f;

	if (!machine_path(m, "state", path, sizeof(path), NULL) || !(f = fopen(path, "we")))
		return;
	fprintf(f, "%s %lld\n", what, (long long)time(NULL));
	fclose(f);
}

static int lock_op(int fd, int cmd, struct flock *fl)
{
	*fl = (struct flock){ .l_type = F_WRLCK, .l_whence = SEEK_SET };
	return fcntl(fd, cmd, fl);
}

static pid_t read_pid(int fd)
{
	char buf[32] = "";

	return pread(fd, buf, sizeof(buf) - 1, 0) > 0 ? (pid_t)atol(buf) : 0;
}

bool machine_lock(struct machine *m, struct err *e)
{
	char path[PATH_MAX], pid[32];
	struct flock fl;
	int fd, n;

	if (!machine_path(m, "lock", path, sizeof(path), e))
		return false;
	fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (fd < 0)
		return err_errno(e, HV_EXIT_HOST, errno, "cannot open %s", path);
	if (lock_op(fd, F_OFD_SETLK, &fl) < 0) {
		err_set(e, HV_EXIT_LOCKED, "machine %s is running already (process %d)", m->name,
			(int)read_pid(fd));
		close(fd);
		return false;
	}
	n = snprintf(pid, sizeof(pid), "%d\n", (int)getpid());
	if (ftruncate(fd, 0) < 0 || pwrite(fd, pid, (size_t)n, 0) != n)
		log_warn("%s: %s", path, strerror(errno));
	m->lock_fd = fd;
	note_use(m, "started");
	return true;
}

void machine_unlock(struct machine *m)
{
	if (m->lock_fd < 0)
		return;
	note_use(m, "ended");
	close(m->lock_fd);	/* the file stays: who opened it already may lock it next */
	m->lock_fd = -1;
}

/* ---- state ------------------------------------------------------------------------ */

static void ask_lock(const struct machine *m, struct machine_state *s)
{
	char path[PATH_MAX];
	struct flock fl;
	int fd;

	if (!machine_path(m, "lock", path, sizeof(path), NULL))
		return;
	fd = open(path, O_RDWR | O_CLOEXEC | O_NOFOLLOW);
	if (fd < 0)
		return;
	s->running = lock_op(fd, F_OFD_GETLK, &fl) == 0 && fl.l_type != F_UNLCK;
	s->pid = s->running ? read_pid(fd) : 0;
	close(fd);
}

void machine_state(const struct machine *m, struct machine_state *s)
{
	char path[PATH_MAX];
	struct stat st;
	const char *v;

	*s = (struct machine_state){ 0 };
	ask_lock(m, s);
	if (machine_path(m, "state", path, sizeof(path), NULL) && stat(path, &st) == 0)
		s->used = st.st_mtime;
	for (unsigned i = 0; (v = machine_get(m, "disk", i)); i++) {
		char *file = machine_file_of(m, v);

		if (stat(file, &st) == 0 && S_ISREG(st.st_mode))
			s->bytes += (uint64_t)st.st_blocks * 512;
		free(file);
	}
}

/* ---- from the command line ----------------------------------------------------------- */

static struct machine *named(const struct config *c, struct err *e)
{
	const char *arg = c->files[0];
	size_t n = strlen(arg), k = strlen(MACHINE_SUFFIX);
	struct err none = { 0 };
	struct machine *m;

	if (n > k && !strcmp(arg + n - k, MACHINE_SUFFIX))
		return machine_find(arg, e);
	if (access(arg, F_OK) < 0) {
		m = strchr(arg, '/') ? NULL : machine_find(arg, &none);
		if (!m && none.exit_code && none.exit_code != HV_EXIT_USAGE)
			*e = none;
		return m;
	}
	if (!machine_wants_remembering(c) || c->nfiles != 1 || c->ndisks)
		return NULL;
	return machine_of_disk(arg);
}

bool machine_choose(struct config *c, int argc, char **argv, struct machine **out,
		    struct err *e)
{
	*out = NULL;
	if (!c->nfiles)
		return true;
	e->exit_code = 0;
	*out = named(c, e);
	if (!*out)
		return !e->exit_code;
	config_free(c);
	config_init(c);
	if (!machine_apply(*out, c, e) || !config_parse_more(c, argc, argv, e))
		return false;
	c->nfiles--;
	memmove(c->files, c->files + 1, c->nfiles * sizeof(c->files[0]));
	return true;
}
