/* SPDX-License-Identifier: MIT */
/*
 * Private to src/chardev*.c: what a character back end is made of.  All under dev_lock.
 *
 * A new kind: a file with its chr_open_KIND(), which fills in_fd, out_fd and what else it
 * has, and a line in open_kind() (chardev.c).
 */
#ifndef HV_CHARDEV_INT_H
#define HV_CHARDEV_INT_H

#include "chardev.h"
#include "loop.h"

#define CHR_IN_MAX (1u << 20)	/* injected bytes waiting for the guest */

enum chr_kind { CHR_NULL, CHR_STDIO, CHR_FILE, CHR_UNIX };

struct ring {
	uint8_t *buf;
	size_t cap, head, len;
};

struct chardev {
	enum chr_kind kind;
	struct loop *loop;
	struct char_sink sink;
	struct char_tap *taps;
	struct ring out, in;
	struct loop_fd in_fd, out_fd, listen_fd, timer_fd;	/* fd -1: none */
	bool socket;		/* in_fd and out_fd are one connection */
	bool send_out, close_out, timer_armed, blocked, said_dropped;
	bool escape;		/* Ctrl-] seen on the terminal */
	bool tty;
	char *path;		/* socket to unlink */
};

/* chardev.c.  From the loop: @opaque is the struct chardev whose in_fd has news. */
void chr_on_readable(void *opaque, unsigned events);
/* What is buffered can go out now; the device may have waited for room. */
void chr_flush_on(struct chardev *c);
/* Watch in_fd exactly while the device takes input. */
void chr_watch_input(struct chardev *c);

/* chardev_stdio.c */
void chr_open_stdio(struct chardev *c);
/* Take the escape character out of what was typed; returns the remaining length. */
size_t chr_filter_escape(struct chardev *c, uint8_t *buf, size_t len);
void chr_tty_restore(void);	/* the terminal as it was; any number of times */

/* chardev_unix.c.  false + @e; chardev_close() closes what is open then. */
bool chr_open_unix(struct chardev *c, const char *path, struct err *e);
void chr_unix_hangup(struct chardev *c);	/* wait for the next client */

#endif
