/* SPDX-License-Identifier: MIT */
/*
 * A display server that goes away takes no guest along: Xlib would end the
 * process and is kept from it (libX11 1.7 and newer go on after the error);
 * the Wayland connection is asked for its error.  Both libraries are SDL's
 * and are used here only when SDL has them.
 */
#include "window_int.h"
#include <SDL_syswm.h>
#ifdef SDL_VIDEO_DRIVER_X11
#include <X11/Xlibint.h>	/* the output buffer of struct _XDisplay */
#undef min
#undef max
#endif
#include <dlfcn.h>
#include <poll.h>

static struct lost {
	struct window *w;	/* the open one: there is never a second in a process */
	void *wayland;		/* its display, NULL: X11 */
	int (*wayland_error)(void *display);
	int fd;			/* of the connection to X, -1: none */
#ifdef SDL_VIDEO_DRIVER_X11
	Display *x;
	Window x_window;
	size_t x_room;		/* of its output buffer */
#endif
} lost;

#ifdef SDL_VIDEO_DRIVER_X11
/*
 * What Xlib does when a connection has ended; its own ends the process.  It
 * stands for all connections, as SDL has two: the program's symbol comes
 * before the library's (the Makefile exports it).
 */
void _XDefaultIOErrorExit(Display *display, void *opaque);
void _XDefaultIOErrorExit(Display *display, void *opaque)
{
	if (lost.w)
		lost.w->lost = true;
}

/* Nothing is printed; Xlib goes on as if nothing came any more. */
static int on_x_error(Display *display)
{
	if (lost.w)
		lost.w->lost = true;
	return 0;
}

/* A request that came too late, as for a window that has just gone: Xlib's own would exit. */
static int on_x_refusal(Display *display, XErrorEvent *ev)
{
	log_debug("X: request %u.%u was refused, error %u", ev->request_code, ev->minor_code,
		 ev->error_code);
	return 0;
}

static void watch_x(void)
{
	void *lib = dlopen("libX11.so.6", RTLD_LAZY | RTLD_NOLOAD);
	XIOErrorHandler (*set_io_handler)(XIOErrorHandler) = lib ?
		(XIOErrorHandler (*)(XIOErrorHandler))dlsym(lib, "XSetIOErrorHandler") : NULL;
	XErrorHandler (*set_handler)(XErrorHandler) = lib ?
		(XErrorHandler (*)(XErrorHandler))dlsym(lib, "XSetErrorHandler") : NULL;

	if (set_io_handler)
		set_io_handler(on_x_error);
	if (set_handler)
		set_handler(on_x_refusal);
}
#endif

static void watch_wayland(struct window *w, void *display)
{
	void *lib = dlopen("libwayland-client.so.0", RTLD_LAZY | RTLD_NOLOAD);
	int (*fd_of)(void *) = lib ? (int (*)(void *))dlsym(lib, "wl_display_get_fd") : NULL;

	if (lib)
		lost.wayland_error = (int (*)(void *))dlsym(lib, "wl_display_get_error");
	if (lost.wayland_error)
		lost.wayland = display;
	if (lost.wayland && fd_of)
		w->wait.display_fd = fd_of(display);
}

void lost_watch(struct window *w)
{
	SDL_SysWMinfo info;

	lost = (struct lost){ .w = w, .fd = -1 };
	w->wait.display_fd = -1;
	SDL_VERSION(&info.version);
	if (!SDL_GetWindowWMInfo(w->win, &info))
		return;
#ifdef SDL_VIDEO_DRIVER_X11
	if (info.subsystem == SDL_SYSWM_X11) {
		lost.x = info.info.x11.display;
		lost.x_window = info.info.x11.window;
		lost.fd = w->wait.display_fd = ConnectionNumber(lost.x);
		watch_x();
	}
#endif
#ifdef SDL_VIDEO_DRIVER_WAYLAND
	if (info.subsystem == SDL_SYSWM_WAYLAND)
		watch_wayland(w, info.info.wl.display);
#endif
}

#ifdef SDL_VIDEO_DRIVER_X11
#define X_ROOM_LEAST 2048u	/* Xlib's buffers are larger */

/* While XCB has the connection the buffer looks full, for Xlib to ask for it back. */
static void measure_room(void)
{
	if (lost.x && lost.x->bufmax > lost.x->buffer)
		lost.x_room = (size_t)(lost.x->bufmax - lost.x->buffer);
}
#endif

/*
 * What the dead connection was still to send stays in Xlib's buffer, or XCB
 * has it and does not give it back; the first request that does not fit then
 * crashes (GetReq of libX11 1.8 returns NULL).  Each step of closing the
 * window needs the room, and the server may go between two of them.
 */
void lost_room(void)
{
	if (lost.w)
		lost_look(lost.w);
#ifdef SDL_VIDEO_DRIVER_X11
	if (!lost.x || !lost.w || !lost.w->lost)
		return;
	lost.x->bufptr = lost.x->buffer;
	if (lost.x->bufmax == lost.x->buffer)
		lost.x->bufmax += MAX(lost.x_room, X_ROOM_LEAST);
#endif
}

/*
 * SDL waits without a limit for the news that its window has gone.  A server
 * that has gone, or goes while SDL waits, does not send it: it is said here,
 * and SDL drops what a living server sends later.
 */
void lost_begin(void)
{
#ifdef SDL_VIDEO_DRIVER_X11
	void *lib = dlopen("libX11.so.6", RTLD_LAZY | RTLD_NOLOAD);
	int (*put_back)(Display *, XEvent *) = lib ?
		(int (*)(Display *, XEvent *))dlsym(lib, "XPutBackEvent") : NULL;
	XEvent ev = { .xunmap = { .type = UnmapNotify, .display = lost.x, .event = lost.x_window,
				  .window = lost.x_window } };

	lost_room();
	if (lost.x && put_back)
		put_back(lost.x, &ev);
#endif
}

void lost_end(void)
{
	lost = (struct lost){ .fd = -1 };
}

/*
 * Before every frame: Mesa's software drivers never come back from a swap
 * whose connection has ended, so it is found out before.
 */
void lost_look(struct window *w)
{
	struct pollfd p = { .fd = lost.fd, .events = POLLRDHUP };

#ifdef SDL_VIDEO_DRIVER_X11
	measure_room();
#endif
	if (lost.fd >= 0 && poll(&p, 1, 0) > 0 && p.revents & (POLLHUP | POLLRDHUP | POLLERR))
		w->lost = true;
	if (lost.wayland && lost.wayland_error(lost.wayland))
		w->lost = true;
}
