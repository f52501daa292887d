/* SPDX-License-Identifier: MIT */
/* Character back end: a listening UNIX socket, one client at a time; see chardev_int.h. */
#include "chardev_int.h"
#include "log.h"
#include <errno.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

void chr_unix_hangup(struct chardev *c)
{
	struct err e;

	loop_del_fd(c->loop, &c->in_fd);
	close(c->in_fd.fd);
	c->in_fd.fd = c->out_fd.fd = -1;
	c->in_fd.events = 0;
	c->blocked = c->said_dropped = false;
	if (c->sink.opened) {		/* the next one does not get the rest of this */
		c->out.len = 0;
		c->sink.opened(c->sink.dev, false);
	}
	if (!loop_add_fd(c->loop, &c->listen_fd, &e))
		log_warn("%s", e.msg);
}

static void on_connect(void *opaque, unsigned events)
{
	struct chardev *c = opaque;
	int fd = accept4(c->listen_fd.fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
	struct err e;

	if (fd < 0)
		return;
	loop_del_fd(c->loop, &c->listen_fd);	/* one client at a time; others wait */
	c->in_fd = (struct loop_fd){ .fd = fd, .fn = chr_on_readable, .opaque = c };
	if (!loop_add_fd(c->loop, &c->in_fd, &e)) {
		close(fd);
		c->in_fd.fd = -1;
		return;
	}
	c->out_fd.fd = fd;
	if (c->sink.opened)
		c->sink.opened(c->sink.dev, true);
	chr_flush_on(c);
	chr_watch_input(c);
}

static bool socket_alive(const struct sockaddr_un *sa)
{
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	bool alive = fd >= 0 && (connect(fd, (const struct sockaddr *)sa, sizeof(*sa)) == 0 ||
				 errno == EAGAIN);	/* others wait there already */

	if (fd >= 0)
		close(fd);
	return alive;
}

bool chr_open_unix(struct chardev *c, const char *path, struct err *e)
{
	struct sockaddr_un sa = { .sun_family = AF_UNIX };
	struct stat st;
	int fd;

	if (!c->loop || strlen(path) >= sizeof(sa.sun_path))
		return err_set(e, HV_EXIT_USAGE, "socket path too long (at most %zu bytes): %s",
			       sizeof(sa.sun_path) - 1, path);
	memcpy(sa.sun_path, path, strlen(path) + 1);
	if (lstat(path, &st) == 0) {
		if (!S_ISSOCK(st.st_mode))
			return err_set(e, HV_EXIT_USAGE, "%s exists and is no socket; name another",
				       path);
		if (socket_alive(&sa))
			return err_set(e, HV_EXIT_LOCKED, "socket %s is in use", path);
		unlink(path);	/* left over from a process that died */
	}
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	c->listen_fd = (struct loop_fd){ .fd = fd, .events = LOOP_IN, .fn = on_connect,
		.opaque = c };
	c->socket = c->send_out = true;
	if (fd < 0 || bind(fd, (struct sockaddr *)&sa, sizeof(sa)) < 0)
		return err_errno(e, HV_EXIT_GENERIC, errno, "cannot create socket %s", path);
	c->path = hv_strdup(path);
	if (chmod(path, 0600) < 0 || listen(fd, 4) < 0)
		return err_errno(e, HV_EXIT_GENERIC, errno, "cannot listen on %s", path);
	return loop_add_fd(c->loop, &c->listen_fd, e);
}
