/* SPDX-License-Identifier: MIT */
/* Helpers of the image tests, see imgtest.h. */
#include "imgtest.h"

#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>
/* last: it needs the four above */
#include <cmocka.h>

static char dir[128];
static pid_t dir_owner;

uint64_t rng_next(struct rng *r)
{
	uint64_t z = r->s += 0x9e3779b97f4a7c15ull;	/* splitmix64 */

	z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9ull;
	z = (z ^ z >> 27) * 0x94d049bb133111ebull;
	return z ^ z >> 31;
}

uint64_t rng_below(struct rng *r, uint64_t n)
{
	return rng_next(r) % n;
}

static void remove_dir(void)
{
	if (dir[0] && getpid() == dir_owner && !getenv("HV_TEST_KEEP"))
		it_run("rm -rf '%s'", dir);
}

const char *it_dir(void)
{
	if (!dir[0]) {
		const char *tmp = getenv("TMPDIR");

		snprintf(dir, sizeof(dir), "%.80s/hvrun-img-XXXXXX", tmp && *tmp ? tmp : "/tmp");
		HV_BUG_ON(!mkdtemp(dir));
		dir_owner = getpid();
		atexit(remove_dir);
	}
	return dir;
}

const char *it_path(const char *name)
{
	static char buf[256][256];
	static unsigned next;
	char *p = buf[next++ % 256];

	snprintf(p, sizeof(buf[0]), "%s/%s", it_dir(), name);
	return p;
}

int it_run(const char *fmt, ...)
{
	char cmd[4096], full[4200];
	va_list ap;
	int st;

	va_start(ap, fmt);
	vsnprintf(cmd, sizeof(cmd), fmt, ap);
	va_end(ap);
	snprintf(full, sizeof(full), "{ %s; } >/dev/null 2>&1", cmd);
	st = system(full);
	return st >= 0 && WIFEXITED(st) ? WEXITSTATUS(st) : -1;
}

bool it_have(const char *tool)
{
	return it_run("command -v %s", tool) == 0;
}

void it_skip_without(const char *tool)
{
	if (!it_have(tool)) {
		print_message("skipped: %s is not installed\n", tool);
		skip();
	}
}

void it_write_file(const char *path, const void *data, size_t len)
{
	int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0600);

	assert_true(fd >= 0);
	while (len) {
		ssize_t n = write(fd, data, len);

		assert_true(n > 0);
		data = (const uint8_t *)data + n;
		len -= (size_t)n;
	}
	close(fd);
}

uint8_t *it_read_file(const char *path, size_t *len)
{
	struct stat st;
	int fd = open(path, O_RDONLY);
	uint8_t *p;

	assert_true(fd >= 0);
	assert_int_equal(fstat(fd, &st), 0);
	*len = (size_t)st.st_size;
	p = malloc(*len + 1);
	assert_int_equal(read(fd, p, *len), *len);
	close(fd);
	return p;
}

int it_read(struct image *im, uint64_t off, void *buf, uint64_t len)
{
	struct iovec v = { buf, len };

	return image_io(im, BLOCK_READ, off, len, &v, 1);
}

int it_write(struct image *im, uint64_t off, const void *buf, uint64_t len)
{
	struct iovec v = { (void *)buf, len };

	return image_io(im, BLOCK_WRITE, off, len, &v, 1);
}

int it_op(struct image *im, enum block_op op, uint64_t off, uint64_t len)
{
	return image_io(im, op, off, len, NULL, 0);
}

void it_random_ops(struct image *im, struct rng *r, unsigned n)
{
	static uint8_t buf[65536];

	for (unsigned i = 0; im->size && i < n; i++) {
		/* mostly the start, where the data is; the rest anywhere */
		uint64_t span = rng_below(r, 4) ? MIN(im->size, 8u << 20) : im->size;
		uint64_t off = rng_below(r, span / 512) * 512, len = 512 * (1 + rng_below(r, 128));

		len = MIN(len, im->size - off);
		switch (rng_below(r, 6)) {
		case 0: case 1:
			it_read(im, off, buf, len);
			break;
		case 2: case 3:
			it_write(im, off, buf, len);
			break;
		case 4:
			it_op(im, rng_below(r, 2) ? BLOCK_DISCARD : BLOCK_WRITE_ZEROES, off, len);
			break;
		default:
			it_op(im, BLOCK_FLUSH, 0, 0);
		}
	}
}

struct image *it_open(const char *path, const char *fmt, unsigned flags)
{
	struct err e = { 0 };
	struct image *im = image_open(path, fmt, flags, &e);

	if (!im)
		fail_msg("%s", e.msg);
	return im;
}

long it_peak_rss(void)
{
	struct rusage u;

	getrusage(RUSAGE_SELF, &u);
	return u.ru_maxrss;
}

uint64_t it_kill_writer(void (*writer)(void *opaque, int report), void *opaque,
			unsigned reports, uint64_t none)
{
	uint64_t last = none, v;
	int p[2];
	pid_t pid;

	assert_int_equal(pipe(p), 0);
	pid = fork();
	if (pid == 0) {
		close(p[0]);
		writer(opaque, p[1]);
		_exit(0);
	}
	close(p[1]);
	while (reports-- && read(p[0], &v, sizeof(v)) == sizeof(v))
		last = v;
	kill(pid, SIGKILL);
	waitpid(pid, NULL, 0);
	while (read(p[0], &v, sizeof(v)) == sizeof(v))
		last = v;
	close(p[0]);
	return last;
}
