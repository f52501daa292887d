/* SPDX-License-Identifier: MIT */
/*
 * Character back end: this process's standard input and output.
 *
 * On a terminal, Ctrl-] q ends the program (as SIGTERM would) and Ctrl-]
 * Ctrl-] sends one Ctrl-]: everything else belongs to the guest.
 */
#include "chardev_int.h"
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <termios.h>
#include <unistd.h>

#define ESCAPE 0x1d		/* Ctrl-] */

/* ---- the terminal: one per process, so its saved modes may be static ---- */

static struct termios tty_saved;
static int tty_fd = -1;

void chr_tty_restore(void)
{
	if (tty_fd >= 0)
		tcsetattr(tty_fd, TCSADRAIN, &tty_saved);
	tty_fd = -1;
}

static bool tty_raw(int fd)
{
	static bool registered;
	struct termios t;

	/* A background process would be stopped by SIGTTOU. */
	if (tty_fd >= 0 || !isatty(fd) || tcgetpgrp(fd) != getpgrp() || tcgetattr(fd, &t) < 0)
		return false;
	tty_saved = t;
	t.c_iflag &= ~(unsigned)(BRKINT | ICRNL | INLCR | IGNCR | INPCK | ISTRIP | IXON);
	t.c_lflag &= ~(unsigned)(ECHO | ECHONL | ICANON | IEXTEN | ISIG);
	t.c_cc[VMIN] = 1;
	t.c_cc[VTIME] = 0;
	if (tcsetattr(fd, TCSADRAIN, &t) < 0)
		return false;
	tty_fd = fd;
	if (!registered)
		registered = atexit(chr_tty_restore) == 0;
	return true;
}

size_t chr_filter_escape(struct chardev *c, uint8_t *buf, size_t len)
{
	size_t n = 0;

	for (size_t i = 0; i < len; i++) {
		if (c->escape && buf[i] == 'q')
			kill(getpid(), SIGTERM);
		if (!c->escape && buf[i] == ESCAPE) {
			c->escape = true;
			continue;
		}
		if (!c->escape || buf[i] == ESCAPE)
			buf[n++] = buf[i];
		c->escape = false;
	}
	return n;
}

/*
 * O_NONBLOCK belongs to the open file, which the shell shares: open pipes
 * and terminals anew instead.
 */
static void stdio_output(struct chardev *c)
{
	struct stat st;
	int fd = -1;

	c->out_fd.fd = STDOUT_FILENO;
	if (fstat(STDOUT_FILENO, &st) < 0)
		c->out_fd.fd = -1;
	else if (S_ISFIFO(st.st_mode) || S_ISCHR(st.st_mode))
		fd = open("/proc/self/fd/1", O_WRONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
	else
		c->send_out = S_ISSOCK(st.st_mode);
	if (fd < 0)
		return;
	c->out_fd.fd = fd;
	c->close_out = true;
}

/* Regular files cannot be watched: take what they hold as typed. */
static void stdio_input(struct chardev *c)
{
	struct stat st;
	uint8_t buf[4096];
	size_t total = 0;
	ssize_t n;

	if (fstat(STDIN_FILENO, &st) < 0 || !c->loop)
		return;
	if (!S_ISREG(st.st_mode)) {
		c->in_fd.fd = STDIN_FILENO;
		c->tty = tty_raw(STDIN_FILENO);
		return;
	}
	while (total < CHR_IN_MAX && (n = read(STDIN_FILENO, buf, sizeof(buf))) > 0) {
		chardev_inject(c, buf, (size_t)n);
		total += (size_t)n;
	}
}

void chr_open_stdio(struct chardev *c)
{
	stdio_output(c);
	stdio_input(c);
}
