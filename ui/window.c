/* SPDX-License-Identifier: MIT */
/*
 * The window: SDL2 events to guest input, guest picture to a view.
 *
 * Everything here is the main thread.  The picture is brought up to date when
 * the guest has changed it, at most 60 times a second; pixels are copied once,
 * from the display's surface into the view's texture, under dev_lock.
 * Closing never stops the guest by itself: a sheet inside the window asks.
 */
#include "window_int.h"
#include "../src/audio.h"
#include "../src/diskhold.h"
#include <errno.h>

#define DIAGNOSIS_MS 60000

void window_title(struct window *w)
{
	char t[300], screen[16] = "";
	const char *state = vm_status(w->vm) == VM_PAUSED ? " [paused]" :
			    vm_status(w->vm) == VM_STOPPED ? " [stopped]" :
			    vm_status(w->vm) == VM_SUSPENDED ? " [asleep]" : "";

	if (w->shown)
		snprintf(screen, sizeof(screen), " (%u)", w->shown + 1);
	snprintf(t, sizeof(t), "%s%s%s - hvrun%s", w->title, screen, state,
		 w->keys.captured ? " - Ctrl+Alt+G releases the mouse" : "");
	SDL_SetWindowTitle(w->win, t);
}

static bool try_view(struct window *w, const struct view_ops *ops, Uint32 flags)
{
	w->win = SDL_CreateWindow(
		w->title, SDL_WINDOWPOS_UNDEFINED, SDL_WINDOWPOS_UNDEFINED, 720, 400,
		SDL_WINDOW_RESIZABLE | SDL_WINDOW_ALLOW_HIGHDPI | ops->window_flags | flags);
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

/*
 * Whether the processor draws by OpenGL or by itself: on X11 the latter sends
 * what has changed only, where an emulated OpenGL draws whole frames.
 */
static bool slow_gl(void)
{
	const char *driver = SDL_GetCurrentVideoDriver();

	return driver && !strcmp(driver, "x11") && view_gl_emulated();
}

static void drop_view(struct window *w)
{
	w->ops->close(w->view);
	SDL_DestroyWindow(w->win);
	w->view = NULL;
	w->win = NULL;
}

static bool open_gl(struct window *w, bool fast)
{
	if (!try_view(w, &view_gl_ops, SDL_WINDOW_HIDDEN))
		return false;
	if (fast && slow_gl()) {
		drop_view(w);
		return false;
	}
	SDL_ShowWindow(w->win);
	return true;
}

static bool open_view(struct window *w)
{
	if (w->cfg->gl != CFG_GL_OFF && open_gl(w, w->cfg->gl == CFG_GL_AUTO))
		return true;
	if (w->cfg->gl == CFG_GL_ON)
		return false;
	/* Not on every screen (of 30 bits, say), which OpenGL may still do. */
	return try_view(w, &view_soft_ops, 0) ||
	       (w->cfg->gl == CFG_GL_AUTO && open_gl(w, false));
}

struct window *window_open(struct vm *vm, const struct config *cfg, const char *title,
			   struct err *e)
{
	struct window *w;

	if (!ui_open(e))
		return NULL;
	w = hv_zalloc(sizeof(*w));
	w->vm = vm;
	w->cfg = cfg;
	snprintf(w->title, sizeof(w->title), "%s", title);
	if (!wait_open(w, e)) {
		window_close(w);
		return NULL;
	}
	if (!open_view(w)) {
		bool gl = cfg->gl == CFG_GL_ON;

		err_set(e, HV_EXIT_HOST,
			"cannot open a window%s: %s; use --display %s to %s without",
			gl ? " with OpenGL 3.3" : "", SDL_GetError(), gl ? "window" : "none",
			gl ? "draw" : "run");
		window_close(w);
		return NULL;
	}
	SDL_EnableScreenSaver();
	shell_open(w);
	media_open(w);
	window_title(w);
	window_set_fullscreen(w, cfg->fullscreen);
	return w;
}

void window_set_net(struct window *w, struct net *net)
{
	w->net = net;
}

void window_set_record(struct window *w, struct record **record)
{
	w->record = record;
}

static void drop_window(struct window *w)
{
	lost_begin();
	media_close(w);
	shell_close(w);
	if (w->cursor)
		SDL_FreeCursor(w->cursor);
	w->cursor = NULL;
	lost_room();
	if (w->view)
		w->ops->close(w->view);
	lost_room();
	if (w->win)
		SDL_DestroyWindow(w->win);
	w->view = NULL;
	w->win = NULL;
	lost_room();
	SDL_QuitSubSystem(SDL_INIT_VIDEO);	/* the sound plays on */
	lost_end();
}

bool window_check_gl(char *out, size_t len)
{
	struct window w = { .title = "hvrun" };
	bool ok = false;

	ui_hints();
	if ((!getenv("DISPLAY") && !getenv("WAYLAND_DISPLAY") && !getenv("SDL_VIDEODRIVER")) ||
	    SDL_Init(SDL_INIT_VIDEO) < 0) {
		snprintf(out, len, "not tried: no display");
	} else if (try_view(&w, &view_gl_ops, SDL_WINDOW_HIDDEN)) {
		ok = true;
		view_gl_describe(out, len);
		w.ops->close(w.view);
		SDL_DestroyWindow(w.win);
	} else {
		snprintf(out, len, "OpenGL 3.3 is not there: %s", SDL_GetError());
	}
	SDL_Quit();
	return ok;
}

void window_close(struct window *w)
{
	drop_window(w);
	wait_close(w);
	free(w->keys.paste);
	free(w);
}

/* ---- following the machine ------------------------------------------------ */

/* A guest's driver for a tablet may have come or gone. */
static void follow_pointer(struct window *w)
{
	bool absolute;

	vm_lock(w->vm);
	absolute = input_has_abs(w->vm->input);
	vm_unlock(w->vm);
	if (absolute && !w->keys.absolute)
		keys_capture(w, false);
	w->keys.absolute = absolute;
}

/* The guest's pointer becomes the host's while it is over the picture. */
static void follow_cursor(struct window *w)
{
	const struct cursor *c;
	SDL_Surface *s = NULL;
	uint32_t argb[CURSOR_DIM * CURSOR_DIM] = { 0 };
	unsigned hot_x = 0, hot_y = 0;
	bool own;

	vm_lock(w->vm);
	if (!display_cursor(window_display(w), &w->cursor_serial, &c)) {
		vm_unlock(w->vm);
		return;
	}
	own = c != NULL;
	if (c) {
		if (c->visible)
			memcpy(argb, c->argb, sizeof(argb));
		hot_x = c->hot_x;
		hot_y = c->hot_y;
	}
	vm_unlock(w->vm);
	if (own)
		s = SDL_CreateRGBSurfaceWithFormatFrom(argb, CURSOR_DIM, CURSOR_DIM, 32,
						       CURSOR_DIM * 4, SDL_PIXELFORMAT_ARGB8888);
	if (w->cursor)
		SDL_FreeCursor(w->cursor);
	w->cursor = s ? SDL_CreateColorCursor(s, (int)hot_x, (int)hot_y) : NULL;
	SDL_FreeSurface(s);
	keys_cursor(w);
}

/* A disk of the host that is full or broken, a guest that only crashes: said in the window. */
static void follow_trouble(struct window *w)
{
	struct disk_trouble t;
	bool disk = session_disk_trouble(w->session, &t), loop = session_reset_loop(w->session);

	if (disk != (*w->trouble != 0)) {
		*w->trouble = 0;
		if (disk)
			snprintf(w->trouble, sizeof(w->trouble), "%.400s: %s", t.path,
				 strerror(t.error));
		w->trouble_full = disk && (t.error == ENOSPC || t.error == EDQUOT);
		w->shell.dirty = true;
	}
	if (session_diagnosis(w->session) != w->diagnosis) {
		w->diagnosis = session_diagnosis(w->session);
		shell_notice(w, w->diagnosis ? w->diagnosis : "", DIAGNOSIS_MS);
	}
	if (loop != w->reset_loop) {
		w->reset_loop = loop;
		if (loop)
			shell_show_sheet(w, SHEET_RESETS);
		w->shell.dirty = true;
	}
}

/* The host stays awake for somebody who watches a guest that fills the screen or plays. */
static void follow_watching(struct window *w)
{
	bool sound;
	bool watch;

	bell_arm(&w->wait.sound_bell);
	sound = audio_playing(w->vm->audio);
	watch = (w->fullscreen || sound) && vm_status(w->vm) == VM_RUNNING && !w->blank &&
		SDL_GetWindowFlags(w->win) & SDL_WINDOW_INPUT_FOCUS;
	if (watch == w->awake)
		return;
	w->awake = watch;
	if (watch)
		SDL_DisableScreenSaver();
	else
		SDL_EnableScreenSaver();
}

/* Host side of the picture's state. */
static void follow_machine(struct window *w)
{
	bool dim = vm_status(w->vm) != VM_RUNNING;

	if (dim != w->dim) {
		w->present = w->shell.dirty = true;
		window_title(w);
	}
	w->dim = dim;
	follow_trouble(w);
	follow_watching(w);
	picture_tell_size(w);
	follow_cursor(w);
	media_step(w);
	shell_update(w);
	if (w->strip_was != window_strip_height(w)) {
		w->strip_was = window_strip_height(w);
		window_follow(w);
		w->present = true;
	}
}

/* ---- events ------------------------------------------------------------------- */

static void ask_close(struct window *w)
{
	if (vm_status(w->vm) == VM_STOPPED) {
		session_quit(w->session, HV_EXIT_OK);
	} else if (w->shell.font) {
		shell_show_sheet(w, SHEET_CLOSE);
	} else {	/* nothing can be drawn: the gentle way, then the hard one */
		if (w->close_asked++)
			session_quit(w->session, HV_EXIT_OK);
		else
			vm_power_button(w->vm);
	}
}

static void on_window(struct window *w, const SDL_WindowEvent *e)
{
	switch (e->event) {
	case SDL_WINDOWEVENT_FOCUS_LOST:
		keys_capture(w, false);
		keys_release(w);
		break;
	case SDL_WINDOWEVENT_RESIZED:
		w->user_sized = true;	/* only sent for resizes that we did not ask for */
		w->resize_at = SDL_GetTicks64() + RESIZE_MS;
		w->present = w->whole = w->shell.dirty = true;
		break;
	case SDL_WINDOWEVENT_EXPOSED:
	case SDL_WINDOWEVENT_SIZE_CHANGED:
		w->present = w->whole = w->shell.dirty = true;
		break;
	default:
		break;
	}
}

static void on_event(struct window *w, const SDL_Event *e)
{
	wait_event(w, e);
	switch (e->type) {
	case SDL_KEYDOWN:
	case SDL_KEYUP:
	case SDL_MOUSEMOTION:
	case SDL_MOUSEBUTTONDOWN:
	case SDL_MOUSEBUTTONUP:
	case SDL_MOUSEWHEEL:
		keys_event(w, e);
		break;
	case SDL_WINDOWEVENT:
		on_window(w, &e->window);
		if (e->window.event == SDL_WINDOWEVENT_CLOSE)
			w->quit_asked = true;
		break;
	case SDL_DROPFILE:
		media_drop(w, e->drop.file);
		SDL_free(e->drop.file);
		break;
	case SDL_TEXTINPUT:
		media_type(w, e->text.text);
		break;
	case SDL_QUIT:
		w->quit_asked = true;
		break;
	default:
		break;
	}
}

/* ---- loop ---------------------------------------------------------------------- */

void window_frame(struct window *w)
{
	w->drawn_at = SDL_GetTicks64();
	w->wait.look = false;
	if (!window_hidden(w) && wait_picture(w))
		picture_update(w);
	follow_pointer(w);
	follow_machine(w);
	keys_paste_step(w);
	picture_show(w);
}

static bool step(struct window *w, struct session *s)
{
	SDL_Event ev;
	bool go;

	wait_for(w, s);
	while (!w->lost && SDL_PollEvent(&ev))
		on_event(w, &ev);
	if (w->quit_asked) {
		w->quit_asked = false;
		ask_close(w);
	}
	lost_look(w);
	if (w->lost)
		return false;
	go = session_step(s);
	if (go && wait_frame(w))
		window_frame(w);
	if (session_show_wanted(s)) {
		SDL_RestoreWindow(w->win);
		SDL_RaiseWindow(w->win);
		session_show_answer(s, "ok");
	}
	return go && !w->detach && !w->lost;
}

/* A run that nobody scripted ended badly, or shall stay: what the window says; SHEET_NONE: goes. */
static enum sheet last_sheet(const struct window *w, const struct session *s)
{
	if (!w->shell.font || w->cfg->nsteps || w->cfg->nfail_on || w->cfg->timeout_ms)
		return SHEET_NONE;
	if (session_exit_code(s) == HV_EXIT_ENGINE)
		return SHEET_END;
	return w->cfg->stay && session_guest_off(s) ? SHEET_OFF : SHEET_NONE;
}

static void show_end(struct window *w, const struct session *s, enum sheet sheet)
{
	SDL_Event ev;

	snprintf(w->shell.message, sizeof(w->shell.message), "%s", session_message(s));
	w->shell.failed = sheet == SHEET_END;
	shell_show_sheet(w, sheet);
	while (!w->quit_asked && !w->ended && !w->lost) {
		if (!w->shell.sheet)	/* back from the log */
			shell_show_sheet(w, sheet);
		if (wait_frame(w))
			window_frame(w);
		wait_for(w, NULL);
		while (!w->lost && SDL_PollEvent(&ev))
			on_event(w, &ev);
		lost_look(w);
	}
}

bool window_again(const struct window *w, bool *boot_menu)
{
	*boot_menu = w->again_menu;
	return w->again;
}

int window_run(struct window *w, struct session *s)
{
	enum sheet sheet;

	w->session = s;
	lost_watch(w);
	wait_begin(w);
	session_set_attended(s, w->shell.font != NULL);
	while (step(w, s))
		;
	wait_end(w);
	session_set_attended(s, false);
	if (w->lost || w->detach) {
		log_info("%s; the guest runs on", w->lost ? "the display is gone" :
			 "the window was closed");
		return UI_LEFT;
	}
	keys_capture(w, false);
	sheet = last_sheet(w, s);
	if (sheet && !w->again)
		show_end(w, s, sheet);
	return session_exit_code(s);
}
