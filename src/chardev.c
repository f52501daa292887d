/* SPDX-License-Identifier: MIT */
/*
 * Character back ends; see chardev.h.
 *
 * Output goes to the taps at once and into a bounded ring, which the loop
 * thread writes out about a millisecond later: a guest that prints byte by
 * byte costs one write a batch.  A back end that takes nothing keeps the
 * newest OUT_MAX bytes, so a late reader of a socket sees the end of the
 * boot messages.
 *
 * The back ends themselves: chardev_stdio.c and chardev_unix.c; a file is open_file().
 */
#include "chardev_int.h"
#include "log.h"
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/timerfd.h>
#include <unistd.h>

#define OUT_MAX 65536u		/* kept while the back end takes nothing */
#define OUT_NOW 4096u		/* written without waiting for the timer */
#define FLUSH_NS 1000000L

/* ---- rings ---- */

/* Append, dropping the oldest bytes beyond the capacity; returns how many were dropped. */
static size_t ring_put(struct ring *r, const uint8_t *p, size_t n)
{
	size_t lost = 0, at, run;

	if (n > r->cap) {
		lost = n - r->cap;
		p += lost;
		n = r->cap;
	}
	if (n > r->cap - r->len) {
		size_t drop = n - (r->cap - r->len);

		r->head = (r->head + drop) % r->cap;
		r->len -= drop;
		lost += drop;
	}
	at = (r->head + r->len) % r->cap;
	run = MIN(n, r->cap - at);
	memcpy(r->buf + at, p, run);
	memcpy(r->buf, p + run, n - run);
	r->len += n;
	return lost;
}

/* Longest contiguous piece at the head. */
static size_t ring_head(const struct ring *r, const uint8_t **p)
{
	*p = r->buf + r->head;
	return MIN(r->len, r->cap - r->head);
}

static void ring_drop(struct ring *r, size_t n)
{
	r->head = (r->head + n) % r->cap;
	r->len -= n;
}

/* ---- output ---- */

static ssize_t write_some(struct chardev *c, const uint8_t *p, size_t n)
{
	ssize_t k;

	do
		k = c->send_out ? send(c->out_fd.fd, p, n, MSG_DONTWAIT | MSG_NOSIGNAL)
			      : write(c->out_fd.fd, p, n);
	while (k < 0 && errno == EINTR);
	return k;
}

/* A reader that went away (EPIPE) or a full disk: said once, then output is dropped. */
static void output_failed(struct chardev *c)
{
	if (c->kind == CHR_UNIX)
		return;		/* its hang-up event closes the connection */
	log_warn("serial output stopped: %s", strerror(errno));
	if (c->loop)
		loop_del_fd(c->loop, &c->out_fd);
	if (c->close_out)
		close(c->out_fd.fd);
	c->out_fd.fd = -1;
	c->out.len = 0;
}

static void watch_output(struct chardev *c, bool on)
{
	struct loop_fd *f = c->socket ? &c->in_fd : &c->out_fd;
	struct err e;

	c->blocked = on;
	if (!c->loop)
		return;
	if (c->socket)
		loop_mod_fd(c->loop, f, (f->events & LOOP_IN) | (on ? LOOP_OUT : 0));
	else if (on && !f->active)
		c->blocked = loop_add_fd(c->loop, f, &e);
	else if (!on)
		loop_del_fd(c->loop, f);
}

void chardev_flush(struct chardev *c)
{
	const uint8_t *p;
	size_t n;
	ssize_t k;

	while (c->out.len && c->out_fd.fd >= 0) {
		n = ring_head(&c->out, &p);
		k = write_some(c, p, n);
		if (k < 0 && errno == EAGAIN) {
			watch_output(c, true);
			return;
		}
		if (k <= 0) {
			output_failed(c);
			return;
		}
		ring_drop(&c->out, (size_t)k);
	}
	if (c->blocked)
		watch_output(c, false);
}

static void arm_flush(struct chardev *c)
{
	struct itimerspec ts = { .it_value = { 0, FLUSH_NS } };

	if (c->timer_armed || c->blocked)
		return;
	if (c->timer_fd.fd < 0 || timerfd_settime(c->timer_fd.fd, 0, &ts, NULL) < 0)
		chardev_flush(c);
	else
		c->timer_armed = true;
}

/* From the loop: the device may have waited for room. */
void chr_flush_on(struct chardev *c)
{
	chardev_flush(c);
	if (c->sink.writable && chardev_room(c))
		c->sink.writable(c->sink.dev);
}

size_t chardev_room(const struct chardev *c)
{
	if (!c || c->kind == CHR_NULL || (c->out_fd.fd < 0 && c->kind != CHR_UNIX))
		return SIZE_MAX;
	return c->out_fd.fd < 0 ? 0 : c->out.cap - c->out.len;
}

bool chardev_connected(const struct chardev *c)
{
	return c && (c->kind != CHR_UNIX || c->out_fd.fd >= 0);
}

static void on_timer(void *opaque, unsigned events)
{
	struct chardev *c = opaque;
	uint64_t ticks;

	c->timer_armed = false;
	if (read(c->timer_fd.fd, &ticks, sizeof(ticks)) == (ssize_t)sizeof(ticks))
		chr_flush_on(c);
}

void chardev_write(struct chardev *c, const uint8_t *buf, size_t len)
{
	if (!c)
		return;
	for (struct char_tap *t = c->taps; t; t = t->next)
		t->output(t->opaque, buf, len);
	if (c->kind == CHR_NULL || (c->out_fd.fd < 0 && c->kind != CHR_UNIX))
		return;
	if (ring_put(&c->out, buf, len) && c->out_fd.fd >= 0 && !c->said_dropped) {
		c->said_dropped = true;
		log_warn("serial reader too slow: the oldest output is dropped");
	}
	if (c->out_fd.fd < 0 || c->blocked)
		return;
	if (c->out.len >= OUT_NOW)
		chardev_flush(c);
	else
		arm_flush(c);
}

static void on_writable(void *opaque, unsigned events)
{
	chr_flush_on(opaque);
}

/* ---- input ---- */

static size_t sink_room(struct chardev *c)
{
	return c->sink.can_receive ? c->sink.can_receive(c->sink.dev) : 0;
}

static void drain_injected(struct chardev *c)
{
	const uint8_t *p;
	uint8_t part[256];
	size_t n;

	while (c->in.len && (n = sink_room(c)) != 0) {
		n = MIN(n, ring_head(&c->in, &p));
		n = MIN(n, sizeof(part));
		memcpy(part, p, n);	/* the sink may inject again */
		ring_drop(&c->in, n);
		c->sink.receive(c->sink.dev, part, n);
	}
}

/* A descriptor that nobody reads would report its hang-up for ever: unwatch it meanwhile. */
void chr_watch_input(struct chardev *c)
{
	struct loop_fd *f = &c->in_fd;
	bool want = f->fd >= 0 && !c->in.len && sink_room(c);
	unsigned keep = f->events & LOOP_OUT;
	struct err e;

	if (!c->loop || f->fd < 0)
		return;
	if (c->socket) {
		loop_mod_fd(c->loop, f, keep | (want ? LOOP_IN : 0));
	} else if (want && !f->active) {
		f->events = LOOP_IN;
		if (!loop_add_fd(c->loop, f, &e))
			f->fd = -1;
	} else if (!want) {
		loop_del_fd(c->loop, f);
	}
}

void chardev_accept_input(struct chardev *c)
{
	if (!c)
		return;
	drain_injected(c);
	chr_watch_input(c);
}

void chardev_inject(struct chardev *c, const uint8_t *buf, size_t len)
{
	if (!c)
		return;
	if (!c->in.buf)
		c->in = (struct ring){ .buf = hv_zalloc(CHR_IN_MAX), .cap = CHR_IN_MAX };
	if (ring_put(&c->in, buf, len))
		log_limited(LOG_WARN, "serial input queue full: the oldest bytes are dropped");
	chardev_accept_input(c);
}

static void input_ended(struct chardev *c)
{
	if (c->socket) {
		chr_unix_hangup(c);
		return;
	}
	loop_del_fd(c->loop, &c->in_fd);
	c->in_fd.fd = -1;
}

void chr_on_readable(void *opaque, unsigned events)
{
	struct chardev *c = opaque;
	size_t room = sink_room(c);
	uint8_t buf[1024];
	ssize_t n;

	if (c->socket && events & LOOP_OUT)
		chr_flush_on(c);
	if (!room || !(events & (LOOP_IN | LOOP_HUP))) {
		if (c->socket && events & LOOP_HUP)
			chr_unix_hangup(c);
		chr_watch_input(c);
		return;
	}
	n = read(c->in_fd.fd, buf, MIN(room, sizeof(buf)));
	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	if (n <= 0) {
		input_ended(c);
		return;
	}
	n = (ssize_t)(c->tty ? chr_filter_escape(c, buf, (size_t)n) : (size_t)n);
	if (n)
		c->sink.receive(c->sink.dev, buf, (size_t)n);
	chr_watch_input(c);
}

void chardev_attach(struct chardev *c, const struct char_sink *s)
{
	if (!c)
		return;
	c->sink = *s;
	chardev_accept_input(c);
}

void chardev_add_tap(struct chardev *c, struct char_tap *t)
{
	t->next = c->taps;
	c->taps = t;
}

/* ---- opening ---- */

static bool open_file(struct chardev *c, const char *path, struct err *e)
{
	int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NONBLOCK | O_NOCTTY,
		      0666);

	if (fd < 0)
		return err_errno(e, HV_EXIT_GENERIC, errno, "cannot write serial output to %s",
				 path);
	c->out_fd.fd = fd;
	c->close_out = true;
	return true;
}

static bool open_kind(struct chardev *c, const char *spec, struct err *e)
{
	if (!strcmp(spec, "null"))
		return true;
	if (!strcmp(spec, "stdio")) {
		c->kind = CHR_STDIO;
		chr_open_stdio(c);
		return true;
	}
	if (!strncmp(spec, "file:", 5) && spec[5]) {
		c->kind = CHR_FILE;
		return open_file(c, spec + 5, e);
	}
	if (!strncmp(spec, "unix:", 5) && spec[5]) {
		c->kind = CHR_UNIX;
		return chr_open_unix(c, spec + 5, e);
	}
	return err_set(e, HV_EXIT_USAGE,
		       "unknown serial port \"%s\": use stdio, null, file:PATH or unix:PATH", spec);
}

static bool open_timer(struct chardev *c, struct err *e)
{
	int fd;

	if (!c->loop || c->kind == CHR_NULL)
		return true;
	fd = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK);
	if (fd < 0)
		return err_errno(e, HV_EXIT_HOST, errno, "cannot create a timer");
	c->timer_fd = (struct loop_fd){ .fd = fd, .events = LOOP_IN, .fn = on_timer, .opaque = c };
	return loop_add_fd(c->loop, &c->timer_fd, e);
}

struct chardev *chardev_open(const char *spec, struct loop *loop, struct err *e)
{
	struct chardev *c = hv_zalloc(sizeof(*c));

	c->loop = loop;
	c->in_fd = (struct loop_fd){ .fd = -1, .fn = chr_on_readable, .opaque = c };
	c->out_fd = (struct loop_fd){ .fd = -1, .events = LOOP_OUT, .fn = on_writable,
		.opaque = c };
	c->listen_fd.fd = c->timer_fd.fd = -1;
	c->out = (struct ring){ .buf = hv_zalloc(OUT_MAX), .cap = OUT_MAX };
	if (!open_kind(c, spec, e) || !open_timer(c, e)) {
		chardev_close(c);
		return NULL;
	}
	/* A reader that leaves must not end the machine. */
	if (c->kind == CHR_STDIO)
		signal(SIGPIPE, SIG_IGN);
	return c;
}

static void close_fd(struct chardev *c, struct loop_fd *f, bool really)
{
	if (f->fd < 0)
		return;
	if (c->loop)
		loop_del_fd(c->loop, f);
	if (really)
		close(f->fd);
	f->fd = -1;
}

void chardev_close(struct chardev *c)
{
	if (!c)
		return;
	chardev_flush(c);
	close_fd(c, &c->timer_fd, true);
	close_fd(c, &c->listen_fd, true);
	close_fd(c, &c->out_fd, c->close_out);
	close_fd(c, &c->in_fd, c->socket);
	if (c->tty)
		chr_tty_restore();
	if (c->path)
		unlink(c->path);
	free(c->path);
	free(c->out.buf);
	free(c->in.buf);
	free(c);
}
