/* SPDX-License-Identifier: MIT */
/* Log lines; see log.h.  One write(2) a line, so that threads do not interleave. */
#include "log.h"
#include "util.h"
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <unistd.h>

static int log_fd = STDERR_FILENO;
static enum log_level log_max = LOG_INFO;

bool log_open(const char *path)
{
	int fd = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);

	if (fd < 0)
		return false;
	log_fd = fd;
	return true;
}

void log_set_level(enum log_level max)
{
	log_max = max;
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
