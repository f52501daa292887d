/* SPDX-License-Identifier: MIT */
/*
 * How the window sleeps.  While the guest's screen stands still and nobody
 * touches anything the process's main thread waits in one poll() without a
 * limit: for the display server, for the session's news, and for bells that
 * the machine rings when its screen, its drives or its sound have changed.
 * Everything that must happen at a time (a cursor that blinks, a notice that
 * goes away) limits the wait.
 *
 * SDL waits by itself only where its video driver cannot be waited for.
 */
#include "window_int.h"
#include "../src/audio.h"
#include <SDL_syswm.h>
#include <errno.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#define FRAME_MS 16
#define STILL_MS 100
#define STILL_AFTER 30		/* frames without damage */
#define LIVELY_FOR_MS 500	/* something that SDL does late may be on its way: */
#define LIVELY_MS 50		/* it is asked so often */
#define REPEAT_MS 25		/* SDL repeats held keys when it is asked */
#define AWAKE_MS 20000		/* SDL calms an X server's screen saver when it is asked */

/* ---- waking: any thread ---------------------------------------------------------- */

static void wake(struct window *w)
{
	SDL_Event ev = { .type = w->wait.event };
	uint64_t one = 1;

	if (atomic_exchange(&w->wait.woken, true))
		return;
	if (w->wait.display_fd < 0)
		SDL_PushEvent(&ev);
	while (write(w->wait.fd, &one, sizeof(one)) < 0 && errno == EINTR)
		;
}

static void on_news(void *opaque)
{
	struct window *w = opaque;

	atomic_store(&w->wait.news, true);
	wake(w);
}

static void on_picture(void *opaque)
{
	struct window *w = opaque;

	atomic_store(&w->wait.picture, true);
	wake(w);
}

static void on_lights(void *opaque)
{
	struct window *w = opaque;

	atomic_store(&w->wait.lights, true);
	wake(w);
}

bool wait_open(struct window *w, struct err *e)
{
	struct wait *t = &w->wait;

	t->display_fd = -1;
	t->event = SDL_RegisterEvents(1);
	t->picture_bell = (struct bell){ .fn = on_picture, .opaque = w };
	t->lights_bell = (struct bell){ .fn = on_lights, .opaque = w };
	t->sound_bell = (struct bell){ .fn = on_news, .opaque = w };
	t->fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	return t->fd >= 0 || err_errno(e, HV_EXIT_HOST, errno, "cannot watch for events");
}

void wait_close(struct window *w)
{
	if (w->wait.fd >= 0)
		close(w->wait.fd);
}

static void hang_bells(struct window *w, bool up)
{
	struct wait *t = &w->wait;

	vm_lock(w->vm);
	vm_media_set_bell(w->vm, up ? &t->lights_bell : NULL);
	audio_set_bell(w->vm->audio, up ? &t->sound_bell : NULL);
	if (w->net)
		w->net->bell = up ? &t->lights_bell : NULL;
	for (unsigned i = 0; i < display_scanouts(w->vm->display); i++)
		display_set_bell(display_scanout(w->vm->display, i), NULL);
	if (up)
		display_set_bell(window_display(w), &t->picture_bell);
	vm_unlock(w->vm);
}

void wait_begin(struct window *w)
{
	session_set_wakeup(w->session, on_news, w);
	hang_bells(w, true);
	bell_arm(&w->wait.sound_bell);
	w->wait.polite = !strcmp(SDL_GetCurrentVideoDriver(), "wayland");
	w->wait.look = true;
	SDL_EventState(SDL_SYSWMEVENT, SDL_ENABLE);
}

void wait_end(struct window *w)
{
	hang_bells(w, false);
	session_set_wakeup(w->session, NULL, NULL);
	SDL_EventState(SDL_SYSWMEVENT, SDL_DISABLE);
}

void wait_other_display(struct window *w)
{
	hang_bells(w, true);
	w->wait.picture = true;
}

/* ---- how long -------------------------------------------------------------------- */

bool window_hidden(const struct window *w)
{
	return SDL_GetWindowFlags(w->win) & (SDL_WINDOW_HIDDEN | SDL_WINDOW_MINIMIZED);
}

/* SDL ticks, 0: never */
static Uint64 sooner(Uint64 a, Uint64 b)
{
	return a && (!b || a < b) ? a : b;
}

bool wait_picture(struct window *w)
{
	struct wait *t = &w->wait;

	return t->picture || !w->w || (t->rest_until && SDL_GetTicks64() >= t->rest_until);
}

/* @rest: what display_rest_ms() says. */
void wait_rest(struct window *w, int rest)
{
	if (!rest)
		rest = w->still < STILL_AFTER ? FRAME_MS : STILL_MS;
	w->wait.rest_until = rest > 0 ? SDL_GetTicks64() + (Uint64)rest : 0;
}

/* When the next frame is due: the soonest of all that changes what the window shows. */
static Uint64 frame_due(const struct window *w)
{
	const struct wait *t = &w->wait;
	bool soon = t->look || w->shell.dirty || w->keys.paste, seen = !window_hidden(w);
	Uint64 at = media_due(w);

	if (soon || (seen && (t->picture || w->present || !w->w)))
		at = sooner(at, w->drawn_at + FRAME_MS);
	if (seen && vm_status(w->vm) == VM_RUNNING)
		at = sooner(at, t->rest_until);
	if (w->shell.notice[0])
		at = sooner(at, w->shell.notice_until);
	return w->mode == SCALE_FIT ? sooner(at, w->resize_at) : at;
}

bool wait_frame(const struct window *w)
{
	Uint64 at = frame_due(w);

	return at && SDL_GetTicks64() >= at;
}

/* What SDL does by itself, but only while it is asked for events. */
static Uint64 sdl_due(const struct window *w, Uint64 now)
{
	Uint64 at = w->awake ? now + AWAKE_MS : 0;

	if (now < w->wait.lively_until)
		at = sooner(at, now + LIVELY_MS);
	return w->wait.polite && w->wait.key_held ? sooner(at, now + REPEAT_MS) : at;
}

static int wait_ms(const struct window *w, const struct session *s)
{
	Uint64 now = SDL_GetTicks64(), at = sooner(frame_due(w), sdl_due(w, now));
	int ms = s ? session_timeout_ms(s) : -1, due;

	if (!at)
		return ms;
	due = at > now ? (int)(at - now) : 0;
	return ms < 0 ? due : MIN(ms, due);
}

/* ---- waiting --------------------------------------------------------------------- */

static void wait_fds(struct window *w, const struct session *s, int ms)
{
	struct pollfd p[] = { { .fd = w->wait.display_fd, .events = POLLIN | POLLRDHUP },
			      { .fd = w->wait.fd, .events = POLLIN },
			      { .fd = s ? session_fd(s) : -1, .events = POLLIN } };

	/* What a driver has read while it drew waits in the library, not in the socket. */
	SDL_PumpEvents();
	if (SDL_HasEvents(SDL_FIRSTEVENT, SDL_LASTEVENT))
		ms = 0;
	if (poll(p, ARRAY_SIZE(p), ms) <= 0)
		return;
	w->lost |= (p[0].revents & (POLLHUP | POLLRDHUP | POLLERR)) != 0;
	w->wait.look |= p[2].revents != 0;
}

void wait_for(struct window *w, const struct session *s)
{
	struct wait *t = &w->wait;
	int ms = wait_ms(w, s);
	uint64_t n;

	if (t->display_fd >= 0)
		wait_fds(w, s, ms);
	else
		SDL_WaitEventTimeout(NULL, ms < 0 ? STILL_MS : MIN(ms, STILL_MS));
	if (read(t->fd, &n, sizeof(n)) < 0)
		n = 0;			/* something else */
	atomic_store(&t->woken, false);
	t->look |= atomic_exchange(&t->news, false) || (s && !session_timeout_ms(s));
}

/* SDL tells of a focus that an X server gives or takes a while later. */
static bool is_focus(const SDL_Event *e)
{
#ifdef SDL_VIDEO_DRIVER_X11
	const SDL_SysWMmsg *m = e->syswm.msg;

	return e->type == SDL_SYSWMEVENT && m->subsystem == SDL_SYSWM_X11 &&
	       (m->msg.x11.event.type == FocusIn || m->msg.x11.event.type == FocusOut);
#else
	return false;
#endif
}

void wait_event(struct window *w, const SDL_Event *e)
{
	struct wait *t = &w->wait;
	bool typed = e->type == SDL_KEYDOWN && shell_modal(w);	/* an input method may answer */

	t->look |= e->type != SDL_SYSWMEVENT && e->type != t->event;
	if (e->type == SDL_KEYDOWN || e->type == SDL_KEYUP)
		t->key_held = e->type == SDL_KEYDOWN;
	if (typed || is_focus(e))
		t->lively_until = SDL_GetTicks64() + LIVELY_FOR_MS;
}
