/* SPDX-License-Identifier: MIT */
/*
 * File dialogs; see filedialog.h.  The portal is org.freedesktop.portal
 * .FileChooser version 1 and later; its answer comes as the signal Response
 * of a request object whose name is known before the call.
 */
#include "filedialog.h"
#include "../src/util.h"
#include <SDL_syswm.h>
#include <dbus/dbus.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#define PORTAL "org.freedesktop.portal.Desktop"
#define PORTAL_PATH "/org/freedesktop/portal/desktop"
#define CALL_MS 3000		/* a desktop that does not answer so long has no portal */

struct filedialog {
	DBusConnection *bus;	/* the portal's, or */
	char handle[256];
	pid_t pid;		/* of zenity or kdialog, which writes the name to */
	int out;
	enum filedialog_state state;
	char text[4096];
	size_t len;
};

/* ---- portal ---------------------------------------------------------------------- */

/* "x11:HEX", so that the dialog stays over its window; "" elsewhere. */
static void parent_name(SDL_Window *win, char *out, size_t len)
{
	SDL_SysWMinfo info;

	*out = 0;
	SDL_VERSION(&info.version);
#ifdef SDL_VIDEO_DRIVER_X11
	if (win && SDL_GetWindowWMInfo(win, &info) && info.subsystem == SDL_SYSWM_X11)
		snprintf(out, len, "x11:%lx", (unsigned long)info.info.x11.window);
#endif
}

static void add_string(DBusMessageIter *dict, const char *key, const char *value)
{
	DBusMessageIter e, v;

	dbus_message_iter_open_container(dict, DBUS_TYPE_DICT_ENTRY, NULL, &e);
	dbus_message_iter_append_basic(&e, DBUS_TYPE_STRING, &key);
	dbus_message_iter_open_container(&e, DBUS_TYPE_VARIANT, "s", &v);
	dbus_message_iter_append_basic(&v, DBUS_TYPE_STRING, &value);
	dbus_message_iter_close_container(&e, &v);
	dbus_message_iter_close_container(dict, &e);
}

/* (sa(us)): a name and patterns. */
static void add_filter(DBusMessageIter *list, const char *name, const char *const *globs)
{
	DBusMessageIter s, a, g;
	dbus_uint32_t zero = 0;

	dbus_message_iter_open_container(list, DBUS_TYPE_STRUCT, NULL, &s);
	dbus_message_iter_append_basic(&s, DBUS_TYPE_STRING, &name);
	dbus_message_iter_open_container(&s, DBUS_TYPE_ARRAY, "(us)", &a);
	for (; *globs; globs++) {
		dbus_message_iter_open_container(&a, DBUS_TYPE_STRUCT, NULL, &g);
		dbus_message_iter_append_basic(&g, DBUS_TYPE_UINT32, &zero);
		dbus_message_iter_append_basic(&g, DBUS_TYPE_STRING, globs);
		dbus_message_iter_close_container(&a, &g);
	}
	dbus_message_iter_close_container(&s, &a);
	dbus_message_iter_close_container(list, &s);
}

static void add_filters(DBusMessageIter *dict)
{
	static const char *const iso[] = { "*.iso", "*.ISO", NULL }, *const all[] = { "*", NULL };
	const char *key = "filters";
	DBusMessageIter e, v, list;

	dbus_message_iter_open_container(dict, DBUS_TYPE_DICT_ENTRY, NULL, &e);
	dbus_message_iter_append_basic(&e, DBUS_TYPE_STRING, &key);
	dbus_message_iter_open_container(&e, DBUS_TYPE_VARIANT, "a(sa(us))", &v);
	dbus_message_iter_open_container(&v, DBUS_TYPE_ARRAY, "(sa(us))", &list);
	add_filter(&list, "ISO", iso);
	add_filter(&list, "*", all);
	dbus_message_iter_close_container(&v, &list);
	dbus_message_iter_close_container(&e, &v);
	dbus_message_iter_close_container(dict, &e);
}

static DBusMessage *build_call(SDL_Window *win, const char *title, const char *token, bool iso)
{
	DBusMessage *m = dbus_message_new_method_call(PORTAL, PORTAL_PATH,
						      "org.freedesktop.portal.FileChooser",
						      "OpenFile");
	char parent[64];
	const char *p = parent;
	DBusMessageIter it, dict;

	parent_name(win, parent, sizeof(parent));
	dbus_message_iter_init_append(m, &it);
	dbus_message_iter_append_basic(&it, DBUS_TYPE_STRING, &p);
	dbus_message_iter_append_basic(&it, DBUS_TYPE_STRING, &title);
	dbus_message_iter_open_container(&it, DBUS_TYPE_ARRAY, "{sv}", &dict);
	add_string(&dict, "handle_token", token);
	if (iso)
		add_filters(&dict);
	dbus_message_iter_close_container(&it, &dict);
	return m;
}

static void listen(struct filedialog *d)
{
	char rule[400];

	snprintf(rule, sizeof(rule), "type='signal',interface='org.freedesktop.portal.Request',"
		 "member='Response',path='%s'", d->handle);
	dbus_bus_add_match(d->bus, rule, NULL);
}

/* ":1.42" and a token name the request. */
static void name_handle(struct filedialog *d, const char *token)
{
	char sender[100];

	snprintf(sender, sizeof(sender), "%s", dbus_bus_get_unique_name(d->bus) + 1);
	for (char *p = sender; *p; p++)
		if (*p == '.')
			*p = '_';
	snprintf(d->handle, sizeof(d->handle), PORTAL_PATH "/request/%s/%s", sender, token);
}

static bool open_portal(struct filedialog *d, SDL_Window *win, const char *title, bool iso)
{
	static unsigned serial;
	DBusMessage *call, *reply;
	char token[40];

	if (!getenv("DBUS_SESSION_BUS_ADDRESS") ||
	    !(d->bus = dbus_bus_get_private(DBUS_BUS_SESSION, NULL)))
		return false;
	dbus_connection_set_exit_on_disconnect(d->bus, FALSE);
	snprintf(token, sizeof(token), "hvrun%u", ++serial);
	name_handle(d, token);
	listen(d);
	call = build_call(win, title, token, iso);
	reply = dbus_connection_send_with_reply_and_block(d->bus, call, CALL_MS, NULL);
	dbus_message_unref(call);
	if (reply) {
		dbus_message_unref(reply);
		return true;
	}
	dbus_connection_close(d->bus);
	dbus_connection_unref(d->bus);
	d->bus = NULL;
	return false;
}

static int hex(char c)
{
	return c >= '0' && c <= '9' ? c - '0' : (c | 32) >= 'a' && (c | 32) <= 'f' ?
	       (c | 32) - 'a' + 10 : -1;
}

/* file:///a%20b */
static bool from_uri(const char *uri, char *out, size_t len)
{
	size_t n = 0;

	if (strncmp(uri, "file://", 7))
		return false;
	for (uri = strchr(uri + 7, '/'); uri && *uri && n + 1 < len; uri++) {
		if (*uri == '%' && hex(uri[1]) >= 0 && hex(uri[2]) >= 0) {
			out[n++] = (char)(hex(uri[1]) << 4 | hex(uri[2]));
			uri += 2;
		} else {
			out[n++] = *uri;
		}
	}
	out[n] = 0;
	return n > 0;
}

/* a{sv} with uris = as; the first one. */
static bool take_uri(struct filedialog *d, DBusMessageIter *it)
{
	DBusMessageIter dict, e, v, list;
	const char *key, *uri;

	if (dbus_message_iter_get_arg_type(it) != DBUS_TYPE_ARRAY)
		return false;
	for (dbus_message_iter_recurse(it, &dict);
	     dbus_message_iter_get_arg_type(&dict) == DBUS_TYPE_DICT_ENTRY;
	     dbus_message_iter_next(&dict)) {
		dbus_message_iter_recurse(&dict, &e);
		dbus_message_iter_get_basic(&e, &key);
		if (strcmp(key, "uris") || !dbus_message_iter_next(&e))
			continue;
		dbus_message_iter_recurse(&e, &v);
		if (dbus_message_iter_get_arg_type(&v) != DBUS_TYPE_ARRAY)
			return false;
		dbus_message_iter_recurse(&v, &list);
		if (dbus_message_iter_get_arg_type(&list) != DBUS_TYPE_STRING)
			return false;
		dbus_message_iter_get_basic(&list, &uri);
		return from_uri(uri, d->text, sizeof(d->text));
	}
	return false;
}

static void on_signal(struct filedialog *d, DBusMessage *m)
{
	dbus_uint32_t code = 2;
	DBusMessageIter it;

	if (!dbus_message_is_signal(m, "org.freedesktop.portal.Request", "Response") ||
	    !dbus_message_has_path(m, d->handle) || !dbus_message_has_signature(m, "ua{sv}") ||
	    !dbus_message_iter_init(m, &it))
		return;
	dbus_message_iter_get_basic(&it, &code);
	dbus_message_iter_next(&it);
	d->state = code == 1 ? FILEDIALOG_CANCELLED :
		   !code && take_uri(d, &it) ? FILEDIALOG_CHOSEN : FILEDIALOG_FAILED;
}

static void poll_portal(struct filedialog *d)
{
	DBusMessage *m;

	if (!dbus_connection_read_write(d->bus, 0)) {
		d->state = FILEDIALOG_FAILED;	/* the bus is gone */
		return;
	}
	while (d->state == FILEDIALOG_OPEN && (m = dbus_connection_pop_message(d->bus))) {
		on_signal(d, m);
		dbus_message_unref(m);
	}
}

/* ---- zenity, kdialog ------------------------------------------------------------------ */

static bool in_path(const char *name)
{
	char copy[4096], full[4400], *rest = copy, *dir;
	const char *path = getenv("PATH");

	snprintf(copy, sizeof(copy), "%s", path ? path : "/usr/bin:/bin");
	while ((dir = strsep(&rest, ":"))) {
		snprintf(full, sizeof(full), "%s/%s", dir, name);
		if (access(full, X_OK) == 0)
			return true;
	}
	return false;
}

static void child(const char *title, bool iso, bool zenity, int out)
{
	const char *z[] = { "zenity", "--file-selection", "--title", title,
			    iso ? "--file-filter=ISO | *.iso *.ISO" : NULL,
			    "--file-filter=* | *", NULL };
	const char *k[] = { "kdialog", "--title", title, "--getopenfilename", ".",
			    iso ? "*.iso *.ISO|ISO" : NULL, NULL };
	int null = open("/dev/null", O_RDWR);
	sigset_t none;

	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
	dup2(null, 0);
	dup2(out, 1);
	dup2(null, 2);
	closefrom(3);
	execvp(zenity ? z[0] : k[0], (char *const *)(zenity ? z : k));
	_exit(127);
}

static bool open_program(struct filedialog *d, const char *title, bool iso)
{
	bool zenity = in_path("zenity");
	int fd[2];

	if ((!zenity && !in_path("kdialog")) || pipe2(fd, O_CLOEXEC | O_NONBLOCK) < 0)
		return false;
	d->pid = fork();
	if (d->pid == 0)
		child(title, iso, zenity, fd[1]);
	close(fd[1]);
	d->out = fd[0];
	if (d->pid > 0)
		return true;
	close(d->out);
	return false;
}

static void poll_program(struct filedialog *d)
{
	ssize_t n;
	int status;

	while ((n = read(d->out, d->text + d->len, sizeof(d->text) - 1 - d->len)) > 0)
		d->len += (size_t)n;
	if (n < 0 && errno == EAGAIN)
		return;
	if (waitpid(d->pid, &status, WNOHANG) != d->pid)
		return;
	d->pid = 0;
	d->len -= d->len && d->text[d->len - 1] == '\n';	/* a name may have others */
	d->text[d->len] = 0;
	if (WIFEXITED(status) && WEXITSTATUS(status) == 0 && d->text[0] == '/')
		d->state = FILEDIALOG_CHOSEN;
	else
		d->state = WIFEXITED(status) && WEXITSTATUS(status) == 1 ? FILEDIALOG_CANCELLED :
			   FILEDIALOG_FAILED;
}

/* ---- both --------------------------------------------------------------------------------- */

struct filedialog *filedialog_open(SDL_Window *parent, const char *title, bool iso)
{
	struct filedialog *d = hv_zalloc(sizeof(*d));

	d->out = -1;
	if (open_portal(d, parent, title, iso) || open_program(d, title, iso))
		return d;
	free(d);
	return NULL;
}

enum filedialog_state filedialog_poll(struct filedialog *d, char *out, size_t len)
{
	if (d->state == FILEDIALOG_OPEN) {
		if (d->bus)
			poll_portal(d);
		else
			poll_program(d);
	}
	if (d->state == FILEDIALOG_CHOSEN)
		snprintf(out, len, "%s", d->text);
	return d->state;
}

static void withdraw(struct filedialog *d)
{
	DBusMessage *m = dbus_message_new_method_call(PORTAL, d->handle,
						      "org.freedesktop.portal.Request", "Close");

	dbus_message_set_no_reply(m, TRUE);
	dbus_connection_send(d->bus, m, NULL);
	dbus_connection_flush(d->bus);
	dbus_message_unref(m);
}

void filedialog_close(struct filedialog *d)
{
	if (!d)
		return;
	if (d->bus) {
		if (d->state == FILEDIALOG_OPEN)
			withdraw(d);
		dbus_connection_close(d->bus);
		dbus_connection_unref(d->bus);
	}
	if (d->pid > 0) {
		kill(d->pid, SIGTERM);
		waitpid(d->pid, NULL, 0);
	}
	if (d->out >= 0)
		close(d->out);
	free(d);
}
