/* SPDX-License-Identifier: MIT */
/* Log lines; see log.h.  One write(2) a line, so that threads do not interleave. */
#include "log.h"
#include "util.h"
#include <fcntl.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <unistd.h>

static int log_fd = STDERR_FILENO, copy_fd = -1;
static enum log_level log_max = LOG_INFO;

bool log_open(const char *path)
{
	int fd = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);

	if (fd < 0)
		return false;
	log_fd = fd;
	return true;
}

void log_copy(const char *path)
{
	copy_fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_APPEND | O_CLOEXEC, 0600);
}

void log_set_level(enum log_level max)
{
	log_max = max;
}

/* The last lines for a user interface: a ring of bytes. */
#define TAIL_BYTES 4096u
static struct {
	pthread_mutex_t lock;
	char ring[TAIL_BYTES];
	size_t end;		/* bytes ever written */
} tail = { .lock = PTHREAD_MUTEX_INITIALIZER };

static void keep_tail(const char *s, size_t n)
{
	pthread_mutex_lock(&tail.lock);
	for (size_t i = 0; i < n; i++)
		tail.ring[tail.end++ % TAIL_BYTES] = s[i];
	pthread_mutex_unlock(&tail.lock);
}

size_t log_tail(char *buf, size_t len)
{
	size_t n, skip = 0;

	pthread_mutex_lock(&tail.lock);
	n = MIN(MIN(tail.end, (size_t)TAIL_BYTES), len - 1);
	for (size_t i = 0; i < n; i++)
		buf[i] = tail.ring[(tail.end - n + i) % TAIL_BYTES];
	buf[n] = 0;
	if (n < tail.end)	/* the first line is cut */
		skip = strcspn(buf, "\n") + 1;
	pthread_mutex_unlock(&tail.lock);
	if (skip > n)
		skip = n;
	memmove(buf, buf + skip, n - skip + 1);
	return n - skip;
}

void log_line(enum log_level l, const char *fmt, ...)
{
	static const char *const prefix[] = { "error: ", "warning: ", "", "debug: " };
	char buf[1200];
	va_list ap;
	int n, m;

	if (l > log_max)
		return;
	n = snprintf(buf, sizeof(buf), "hvrun: %s", prefix[l]);
	va_start(ap, fmt);
	m = vsnprintf(buf + n, sizeof(buf) - (size_t)n - 1, fmt, ap);
	va_end(ap);
	if (m > 0)
		n += MIN(m, (int)sizeof(buf) - n - 2);
	buf[n++] = '\n';
	keep_tail(buf, (size_t)n);
	if (copy_fd >= 0 && write(copy_fd, buf, (size_t)n) < 0)
		copy_fd = -1;	/* full disk: the other place still has it */
	if (write(log_fd, buf, (size_t)n) < 0)
		return;	/* nowhere left to complain */
}

#define LIMIT_BURST 10u
#define LIMIT_WINDOW_NS 10000000000ull

bool log_allowed(struct log_limit *lim)
{
	uint64_t now = host_now_ns();

	if (now - lim->window_ns > LIMIT_WINDOW_NS || !lim->window_ns) {
		if (lim->dropped)
			log_line(LOG_WARN, "(%u similar lines left out)", lim->dropped);
		lim->window_ns = now;
		lim->used = lim->dropped = 0;
	}
	if (lim->used >= LIMIT_BURST) {
		lim->dropped++;
		return false;
	}
	lim->used++;
	return true;
}
