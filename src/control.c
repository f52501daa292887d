/* SPDX-License-Identifier: MIT */
/* The control socket; see control.h. */
#include "control.h"
#include "machine.h"
#include <errno.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#define CALL_SECONDS 20
#define CONNECT_SECONDS 3		/* for a place in the queue of a machine that hangs */

struct control {
	int ep, listener[2], client;	/* -1: none */
	char path[108];
	char buf[CONTROL_MAX + 1];
	size_t len;
};

static bool fill_addr(const struct machine *m, struct sockaddr_un *a, struct err *e)
{
	char path[4096];

	*a = (struct sockaddr_un){ .sun_family = AF_UNIX };
	if (!machine_path(m, "sock", path, sizeof(path), e))
		return false;
	if (snprintf(a->sun_path, sizeof(a->sun_path), "%s", path) >= (int)sizeof(a->sun_path))
		return err_set(e, HV_EXIT_HOST, "%s: the path is too long for a socket", path);
	return true;
}

static socklen_t process_addr(pid_t pid, struct sockaddr_un *a)
{
	*a = (struct sockaddr_un){ .sun_family = AF_UNIX };
	return (socklen_t)(offsetof(struct sockaddr_un, sun_path) + 1) +
	       (socklen_t)snprintf(a->sun_path + 1, sizeof(a->sun_path) - 1, "hvrun-%u-%d",
				   (unsigned)getuid(), (int)pid);
}

static bool listen_at(struct control *c, unsigned i, const struct sockaddr_un *a, socklen_t len)
{
	struct epoll_event ev = { .events = EPOLLIN };
	int fd = c->listener[i] = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

	return fd >= 0 && bind(fd, (const struct sockaddr *)a, len) == 0 && listen(fd, 4) == 0 &&
	       epoll_ctl(c->ep, EPOLL_CTL_ADD, fd, &ev) == 0;
}

/* The machine's lock is held: a socket that lies there is of a dead process. */
static bool open_file(struct control *c, const struct machine *m, struct err *e)
{
	struct sockaddr_un a;

	if (!fill_addr(m, &a, e))
		return false;
	unlink(a.sun_path);
	if (!listen_at(c, 1, &a, sizeof(a)))
		return err_errno(e, HV_EXIT_HOST, errno, "cannot open the socket %s", a.sun_path);
	memcpy(c->path, a.sun_path, sizeof(c->path));
	return true;
}

/* Anybody may have taken the process's name: a machine is then asked by its file's socket. */
static void open_process(struct control *c)
{
	struct sockaddr_un a;
	socklen_t n = process_addr(getpid(), &a);

	if (listen_at(c, 0, &a, n))
		return;
	if (c->listener[0] >= 0)
		close(c->listener[0]);
	c->listener[0] = -1;
}

struct control *control_open(const struct machine *m, struct err *e)
{
	struct control *c = hv_zalloc(sizeof(*c));

	c->listener[0] = c->listener[1] = c->client = -1;
	c->ep = epoll_create1(EPOLL_CLOEXEC);
	if (c->ep >= 0)
		open_process(c);
	if (c->ep < 0 || (!m && c->listener[0] < 0))
		err_errno(e, HV_EXIT_HOST, errno, "cannot open a socket for other processes");
	else if (!m || open_file(c, m, e))
		return c;
	control_close(c);
	return NULL;
}

static void hang_up(struct control *c)
{
	if (c->client >= 0)
		close(c->client);
	c->client = -1;
	c->len = 0;
}

void control_close(struct control *c)
{
	if (!c)
		return;
	hang_up(c);
	for (unsigned i = 0; i < 2; i++)
		if (c->listener[i] >= 0)
			close(c->listener[i]);
	if (c->ep >= 0)
		close(c->ep);
	if (*c->path)
		unlink(c->path);
	free(c);
}

int control_fd(const struct control *c)
{
	return c->ep;
}

static bool same_user(int fd)
{
	struct ucred u;
	socklen_t n = sizeof(u);

	return getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &u, &n) == 0 &&
	       (u.uid == getuid() || u.uid == 0);
}

/* One at a time; a newer one takes the place of one that says nothing. */
static void take_client(struct control *c)
{
	struct epoll_event ev = { .events = EPOLLIN };
	int fd = -1;

	if (c->listener[0] >= 0)
		fd = accept4(c->listener[0], NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
	if (fd < 0 && c->listener[1] >= 0)
		fd = accept4(c->listener[1], NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
	if (fd < 0)
		return;
	if (!same_user(fd) || epoll_ctl(c->ep, EPOLL_CTL_ADD, fd, &ev) < 0) {
		close(fd);
		return;
	}
	hang_up(c);
	c->client = fd;
}

char *control_next(struct control *c)
{
	char *end;
	ssize_t n;

	take_client(c);
	if (c->client < 0)
		return NULL;
	n = recv(c->client, c->buf + c->len, CONTROL_MAX - c->len, 0);
	if (n > 0)
		c->len += (size_t)n;
	else if (n == 0 || errno != EAGAIN)
		hang_up(c);
	c->buf[c->len] = 0;
	end = strstr(c->buf, "\n\n");
	if (c->client < 0 || (!end && c->len < CONTROL_MAX))
		return NULL;
	if (!end) {
		hang_up(c);
		return NULL;
	}
	*end = 0;
	return c->buf;
}

void control_answer(struct control *c, const char *text)
{
	char line[600];
	int n = snprintf(line, sizeof(line), "%s\n", text);

	if (c->client >= 0 && send(c->client, line, (size_t)MIN(n, 599), MSG_NOSIGNAL) < 0)
		n = 0;	/* it has gone: nobody to tell */
	hang_up(c);
}

/* ---- the other side ------------------------------------------------------------- */

/* One request over @fd, connected or -1; closes it. */
static bool call(int fd, const char *who, const char *command, char *answer, size_t len,
		 struct err *e)
{
	struct timeval limit = { .tv_sec = CALL_SECONDS };
	ssize_t n = -1;

	if (fd >= 0 && setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit)) == 0 &&
	    send(fd, command, strlen(command), MSG_NOSIGNAL) == (ssize_t)strlen(command) &&
	    send(fd, "\n\n", 2, MSG_NOSIGNAL) == 2)
		n = recv(fd, answer, len - 1, 0);
	if (n <= 0)
		err_errno(e, HV_EXIT_GENERIC, n ? errno : ECONNRESET, "%s runs, but does not "
			  "answer", who);
	if (fd >= 0)
		close(fd);
	answer[MAX(n, 0)] = 0;
	answer[strcspn(answer, "\n")] = 0;
	return n > 0;
}

static int connect_to(const struct sockaddr_un *a, socklen_t len)
{
	struct timeval soon = { .tv_sec = CONNECT_SECONDS };
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0), err;

	if (fd < 0 || (setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &soon, sizeof(soon)) == 0 &&
		       connect(fd, (const struct sockaddr *)a, len) == 0))
		return fd;
	err = errno;
	close(fd);
	errno = err;
	return -1;
}

bool control_call(const struct machine *m, const char *command, char *answer, size_t len,
		  struct err *e)
{
	struct sockaddr_un a;
	char who[300];

	if (!fill_addr(m, &a, e))
		return false;
	snprintf(who, sizeof(who), "machine %.280s", m->name);
	return call(connect_to(&a, sizeof(a)), who, command, answer, len, e);
}

bool control_call_process(pid_t pid, const char *command, char *answer, size_t len, struct err *e)
{
	struct sockaddr_un a;
	socklen_t n = process_addr(pid, &a);
	struct ucred u;
	socklen_t un = sizeof(u);
	int fd = connect_to(&a, n);
	char who[32];

	snprintf(who, sizeof(who), "process %d", (int)pid);
	/* Anybody may take a name: it must be that process itself. */
	if (fd < 0 || getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &u, &un) || u.pid != pid ||
	    u.uid != getuid()) {
		if (fd >= 0)
			close(fd);
		return err_set(e, HV_EXIT_LOCKED, "%s is no hvrun of yours that could be asked",
			       who);
	}
	return call(fd, who, command, answer, len, e);
}

static const char *const display_vars[] = { "DISPLAY", "WAYLAND_DISPLAY", "XAUTHORITY",
					    "XDG_RUNTIME_DIR", "DBUS_SESSION_BUS_ADDRESS" };

bool control_show(const struct machine *m, struct err *e)
{
	char text[CONTROL_MAX] = "show", answer[600];

	for (unsigned i = 0; i < ARRAY_SIZE(display_vars); i++) {
		const char *v = getenv(display_vars[i]);
		size_t n = strlen(text);

		if (v && !strchr(v, '\n') && n + strlen(v) + 40 < sizeof(text))
			snprintf(text + n, sizeof(text) - n, "\n%s=%s", display_vars[i], v);
	}
	if (!control_call(m, text, answer, sizeof(answer), e))
		return false;
	return !strcmp(answer, "ok") || err_set(e, HV_EXIT_GENERIC, "%s: %s", m->name, answer);
}

void control_take_display(const char *request)
{
	for (unsigned i = 0; i < ARRAY_SIZE(display_vars); i++) {
		char line[64], value[CONTROL_MAX];
		const char *at;

		snprintf(line, sizeof(line), "\n%s=", display_vars[i]);
		at = strstr(request, line);
		if (!at) {
			if (strcmp(display_vars[i], "XDG_RUNTIME_DIR"))
				unsetenv(display_vars[i]);
			continue;
		}
		at += strlen(line);
		snprintf(value, sizeof(value), "%.*s", (int)strcspn(at, "\n"), at);
		setenv(display_vars[i], value, 1);
	}
}
