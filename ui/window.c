/* SPDX-License-Identifier: MIT */
/*
 * The window: SDL2 events to guest input, guest picture to a view.
 *
 * Everything here is the main thread.  The picture is brought up to date at
 * 60 Hz while it moves and at 10 Hz while it stands still; pixels are copied
 * out under dev_lock and uploaded without it.  Keys travel by scancode (SDL
 * scancodes are USB HID usages).  A click captures the mouse, Ctrl+Alt+G
 * releases it; the title says so all the while.
 */
#include "ui.h"
#include "view.h"
#include "../src/input.h"
#include "../src/log.h"
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>

#define FRAME_MS 16
#define STILL_MS 100
#define STILL_AFTER 30		/* frames without damage */

struct window {
	struct vm *vm;
	const struct config *cfg;
	char title[200];
	SDL_Window *win;
	const struct view_ops *ops;
	void *view;
	uint32_t *shadow;	/* last picture, tightly packed */
	unsigned w, h;
	unsigned still;
	Uint64 drawn_at;	/* SDL ticks */
	bool captured, present, blank, user_sized, quit_asked;
	unsigned buttons;
	Uint32 wake_event;
	_Atomic bool wake_posted;
};

/* Any thread: make SDL_WaitEventTimeout() return. */
static void wake(void *opaque)
{
	struct window *w = opaque;
	SDL_Event ev = { .type = w->wake_event };

	if (!atomic_exchange(&w->wake_posted, true))
		SDL_PushEvent(&ev);
}

static void update_title(struct window *w)
{
	char t[300];
	const char *state = vm_status(w->vm) == VM_PAUSED ? " [paused]" :
			    vm_status(w->vm) == VM_STOPPED ? " [stopped]" : "";

	snprintf(t, sizeof(t), "%s%s - hvrun%s", w->title, state,
		 w->captured ? " - Ctrl+Alt+G releases the mouse" : "");
	SDL_SetWindowTitle(w->win, t);
}

static bool try_view(struct window *w, const struct view_ops *ops)
{
	w->win = SDL_CreateWindow(
		w->title, SDL_WINDOWPOS_UNDEFINED, SDL_WINDOWPOS_UNDEFINED, 720, 400,
		SDL_WINDOW_RESIZABLE | SDL_WINDOW_ALLOW_HIGHDPI | ops->window_flags);
	if (!w->win)
		return false;
	w->view = ops->open(w->win);
	if (w->view) {
		w->ops = ops;
		return true;
	}
	SDL_DestroyWindow(w->win);
	w->win = NULL;
	return false;
}

static void set_hints(void)
{
	SDL_SetHint(SDL_HINT_NO_SIGNAL_HANDLERS, "1");
	SDL_SetHint(SDL_HINT_QUIT_ON_LAST_WINDOW_CLOSE, "0");
	SDL_SetHint(SDL_HINT_VIDEO_X11_FORCE_EGL, "1");
	SDL_SetHint(SDL_HINT_ALLOW_ALT_TAB_WHILE_GRABBED, "0");
	SDL_SetHint(SDL_HINT_APP_NAME, "hvrun");
	if (!getenv("SDL_VIDEODRIVER") && getenv("WAYLAND_DISPLAY"))
		SDL_SetHint(SDL_HINT_VIDEODRIVER, "wayland,x11");
	SDL_GL_SetAttribute(SDL_GL_CONTEXT_MAJOR_VERSION, 3);
	SDL_GL_SetAttribute(SDL_GL_CONTEXT_MINOR_VERSION, 3);
	SDL_GL_SetAttribute(SDL_GL_CONTEXT_PROFILE_MASK, SDL_GL_CONTEXT_PROFILE_CORE);
}

/* Without a display SDL picks a driver that shows nothing: only wanted when asked for by name. */
static bool visible_driver(void)
{
	const char *driver = SDL_GetCurrentVideoDriver();

	return getenv("SDL_VIDEODRIVER") ||
	       (driver && strcmp(driver, "offscreen") && strcmp(driver, "dummy"));
}

struct window *window_open(struct vm *vm, const struct config *cfg, const char *title,
			   struct err *e)
{
	struct window *w;

	set_hints();
	if (SDL_Init(SDL_INIT_VIDEO) < 0) {
		err_set(e, HV_EXIT_HOST,
			"cannot open a window: %s; use --display none to run without",
			SDL_GetError());
		return NULL;
	}
	if (!visible_driver()) {
		SDL_Quit();
		err_set(e, HV_EXIT_HOST, "cannot open a window: there is no display (DISPLAY and "
			"WAYLAND_DISPLAY are not set); use --display none to run without");
		return NULL;
	}
	w = hv_zalloc(sizeof(*w));
	w->vm = vm;
	w->cfg = cfg;
	snprintf(w->title, sizeof(w->title), "%s", title);
	w->wake_event = SDL_RegisterEvents(1);
	if (!try_view(w, &view_gl_ops) && !try_view(w, &view_soft_ops)) {
		err_set(e, HV_EXIT_HOST,
			"cannot open a window: %s; use --display none to run without",
			SDL_GetError());
		window_close(w);
		return NULL;
	}
	SDL_EnableScreenSaver();
	update_title(w);
	return w;
}

void window_close(struct window *w)
{
	if (w->view)
		w->ops->close(w->view);
	if (w->win)
		SDL_DestroyWindow(w->win);
	SDL_Quit();
	free(w->shadow);
	free(w);
}

/* ---- picture --------------------------------------------------------------- */

/* Where the picture goes: largest size of the same shape; whole multiples stay sharp. */
static SDL_Rect place(const struct window *w, bool *smooth)
{
	int dw, dh;
	double k;
	SDL_Rect r;

	SDL_GetWindowSizeInPixels(w->win, &dw, &dh);
	k = SDL_min((double)dw / w->w, (double)dh / w->h);
	*smooth = k != (double)(int)k;
	r.w = (int)(w->w * k);
	r.h = (int)(w->h * k);
	r.x = (dw - r.w) / 2;
	r.y = (dh - r.h) / 2;
	return r;
}

static void follow_size(struct window *w, unsigned width, unsigned height)
{
	free(w->shadow);
	w->shadow = hv_zalloc((size_t)width * height * 4);
	w->w = width;
	w->h = height;
	w->ops->resize(w->view, width, height);
	if (!w->user_sized)
		SDL_SetWindowSize(w->win, (int)width, (int)height);
}

static void copy_rect(struct window *w, const struct surface *s, struct rect r)
{
	for (unsigned y = r.y; y < r.y + r.h; y++)
		memcpy(w->shadow + (size_t)y * w->w + r.x, s->pixels + (size_t)y * s->stride + r.x,
		       (size_t)r.w * 4);
}

static void update_picture(struct window *w)
{
	struct display *d = w->vm->display;
	struct rect rects[DISPLAY_MAX_RECTS];
	struct surface *s;
	bool resized, blank;
	unsigned n;

	vm_lock(w->vm);
	display_refresh(d);
	n = display_take_damage(d, rects, &resized);
	s = display_surface(d);
	blank = display_blank(d);
	if (resized || s->w != w->w || s->h != w->h) {
		follow_size(w, s->w, s->h);
		rects[0] = (struct rect){ 0, 0, s->w, s->h };
		n = 1;
	}
	for (unsigned i = 0; i < n; i++)
		copy_rect(w, s, rects[i]);
	vm_unlock(w->vm);
	for (unsigned i = 0; i < n; i++)
		w->ops->upload(w->view, w->shadow, w->w, rects[i]);
	w->still = n ? 0 : w->still + 1;
	w->present |= n || blank != w->blank;
	w->blank = blank;
}

static void show_picture(struct window *w)
{
	bool smooth;
	SDL_Rect r;

	if (!w->present || !w->w)
		return;
	w->present = false;
	r = place(w, &smooth);
	w->ops->present(w->view, r, smooth, w->blank);
}

/* ---- input ------------------------------------------------------------------- */

static void capture(struct window *w, bool on)
{
	if (w->captured == on)
		return;
	w->captured = on;
	SDL_SetRelativeMouseMode(on ? SDL_TRUE : SDL_FALSE);
	SDL_SetWindowKeyboardGrab(w->win, on ? SDL_TRUE : SDL_FALSE);
	w->buttons = 0;
	update_title(w);
}

static void release_keys(struct window *w)
{
	vm_lock(w->vm);
	input_release_all(w->vm->input);
	vm_unlock(w->vm);
}

static void on_key(struct window *w, const SDL_KeyboardEvent *k)
{
	bool down = k->type == SDL_KEYDOWN;
	bool leave = (k->keysym.mod & KMOD_CTRL) && (k->keysym.mod & KMOD_ALT) &&
		     k->keysym.scancode == SDL_SCANCODE_G;

	if (k->repeat)
		return;
	if (leave) {
		if (down) {
			capture(w, !w->captured);
			release_keys(w);
		}
		return;
	}
	vm_lock(w->vm);
	input_key(w->vm->input, (uint16_t)k->keysym.scancode, down);
	vm_unlock(w->vm);
	w->still = 0;
}

static unsigned button_bit(Uint8 b)
{
	static const uint8_t bits[] = { 0, MOUSE_LEFT, MOUSE_MIDDLE, MOUSE_RIGHT, MOUSE_SIDE,
					MOUSE_EXTRA };

	return b < ARRAY_SIZE(bits) ? bits[b] : 0;
}

static void send_rel(struct window *w, int dx, int dy, int dz)
{
	vm_lock(w->vm);
	input_rel(w->vm->input, dx, dy, dz, w->buttons);
	vm_unlock(w->vm);
	w->still = 0;
}

static void on_button(struct window *w, const SDL_MouseButtonEvent *b)
{
	if (!w->captured) {	/* the click that captures is not the guest's */
		if (b->type == SDL_MOUSEBUTTONDOWN && b->button == SDL_BUTTON_LEFT)
			capture(w, true);
		return;
	}
	if (b->type == SDL_MOUSEBUTTONDOWN)
		w->buttons |= button_bit(b->button);
	else
		w->buttons &= ~button_bit(b->button);
	send_rel(w, 0, 0, 0);
}

/* The VM runs on while the question is open; all grabs are released first. */
static void ask_close(struct window *w, struct session *s)
{
	static const SDL_MessageBoxButtonData buttons[] = {
		{ SDL_MESSAGEBOX_BUTTON_ESCAPEKEY_DEFAULT, 0, "Cancel" },
		{ 0, 2, "Power off" },
		{ SDL_MESSAGEBOX_BUTTON_RETURNKEY_DEFAULT, 1, "Shut down" },
	};
	SDL_MessageBoxData box = {
		.flags = SDL_MESSAGEBOX_WARNING, .window = w->win, .title = "Close hvrun",
		.message = "The guest is still running.\n\n"
			   "Shut down asks it to end; power off is like pulling the plug.",
		.numbuttons = ARRAY_SIZE(buttons), .buttons = buttons,
	};
	int hit = 0;

	capture(w, false);
	release_keys(w);
	if (vm_status(w->vm) == VM_STOPPED) {
		session_quit(s, HV_EXIT_OK);
		return;
	}
	if (SDL_ShowMessageBox(&box, &hit) < 0)
		hit = 1;	/* no dialog possible: the gentle way */
	if (hit == 1)
		vm_power_button(w->vm);
	else if (hit == 2)
		session_quit(s, HV_EXIT_OK);
}

static void on_window(struct window *w, const SDL_WindowEvent *e)
{
	switch (e->event) {
	case SDL_WINDOWEVENT_FOCUS_LOST:
		capture(w, false);
		release_keys(w);
		break;
	case SDL_WINDOWEVENT_RESIZED:
		w->user_sized = true;	/* only sent for resizes that we did not ask for */
		/* fall through */
	case SDL_WINDOWEVENT_EXPOSED:
	case SDL_WINDOWEVENT_SIZE_CHANGED:
		w->present = true;
		break;
	default:
		break;
	}
}

static void on_event(struct window *w, const SDL_Event *e)
{
	switch (e->type) {
	case SDL_KEYDOWN:
	case SDL_KEYUP:
		on_key(w, &e->key);
		break;
	case SDL_MOUSEMOTION:
		if (w->captured)
			send_rel(w, e->motion.xrel, e->motion.yrel, 0);
		break;
	case SDL_MOUSEBUTTONDOWN:
	case SDL_MOUSEBUTTONUP:
		on_button(w, &e->button);
		break;
	case SDL_MOUSEWHEEL:
		if (w->captured)
			send_rel(w, 0, 0, -e->wheel.y);
		break;
	case SDL_WINDOWEVENT:
		on_window(w, &e->window);
		if (e->window.event == SDL_WINDOWEVENT_CLOSE)
			w->quit_asked = true;
		break;
	case SDL_QUIT:
		w->quit_asked = true;
		break;
	default:
		if (e->type == w->wake_event)
			atomic_store(&w->wake_posted, false);
		break;
	}
}

/* ---- loop ---------------------------------------------------------------------- */

static int wait_ms(const struct window *w, const struct session *s)
{
	int frame = w->still < STILL_AFTER ? FRAME_MS : STILL_MS, t = session_timeout_ms(s);

	return t >= 0 && t < frame ? t : frame;
}

int window_run(struct window *w, struct session *s)
{
	SDL_Event ev;

	session_set_wakeup(s, wake, w);
	do {
		if (SDL_WaitEventTimeout(&ev, wait_ms(w, s)))
			do
				on_event(w, &ev);
			while (SDL_PollEvent(&ev));
		if (w->quit_asked) {
			w->quit_asked = false;
			ask_close(w, s);
		}
		if (w->present || SDL_GetTicks64() - w->drawn_at >= FRAME_MS) {
			w->drawn_at = SDL_GetTicks64();
			update_picture(w);
			show_picture(w);
		}
	} while (session_step(s));
	session_set_wakeup(s, NULL, NULL);
	capture(w, false);
	return session_exit_code(s);
}
