/* SPDX-License-Identifier: MIT */
/* What each action does; see action.h. */
#include "window_int.h"
#include "../src/audio.h"
#include "../src/display.h"
#include "../src/record.h"
#include <errno.h>
#include <sys/stat.h>
#include <time.h>

/* USB HID usages of the keys that are sent here. */
enum {
	HID_F1 = 0x3a, HID_PRTSC = 0x46, HID_BACKSPACE = 0x2a, HID_DELETE = 0x4c,
	HID_LCTRL = 0xe0, HID_LALT = 0xe2, HID_LSUPER = 0xe3, HID_RCTRL = 0xe4,
};

static void send3(struct window *w, uint16_t a, uint16_t b, uint16_t c)
{
	const uint16_t keys[] = { a, b, c, 0 };

	keys_send(w, keys);
}

static void send_vt(struct window *w, enum action a)
{
	send3(w, HID_LCTRL, HID_LALT, (uint16_t)(HID_F1 + (a - ACT_SEND_VT1)));
}

/* What the user keeps: in the folder that @env names, else the home directory, else here. */
static void free_path(char *out, size_t len, const char *env, const char *ext)
{
	const char *dir = getenv(env), *home = getenv("HOME");
	char stamp[40];
	time_t now = time(NULL);
	struct tm tm;

	strftime(stamp, sizeof(stamp), "%Y%m%d-%H%M%S", localtime_r(&now, &tm));
	if (!dir || !*dir)
		dir = home && *home ? home : ".";
	for (unsigned i = 0; i < 100; i++) {
		struct stat st;

		if (i)
			snprintf(out, len, "%s/hvrun-%s-%u.%s", dir, stamp, i, ext);
		else
			snprintf(out, len, "%s/hvrun-%s.%s", dir, stamp, ext);
		if (stat(out, &st) && errno == ENOENT)
			return;
	}
}

static void screenshot(struct window *w)
{
	char path[1024], text[1200];
	struct err e = { 0 };
	bool ok;

	free_path(path, sizeof(path), "XDG_PICTURES_DIR", "png");
	vm_lock(w->vm);
	display_refresh(window_display(w));
	ok = display_screenshot(window_display(w), path, &e);
	vm_unlock(w->vm);
	if (!ok) {
		shell_message(w, e.msg);
		return;
	}
	snprintf(text, sizeof(text), _("Saved %s"), path);
	shell_notice(w, text, 4000);
	log_info("screenshot: %s", path);
}

static void toggle_record(struct window *w)
{
	char path[1024], text[1200];
	struct err e = { 0 };
	bool ok;

	if (w->record[w->shown]) {
		ok = record_stop(w->record[w->shown], &e);
		w->record[w->shown] = NULL;
		snprintf(text, sizeof(text), "%s", ok ? _("The recording is saved") : e.msg);
	} else {
		free_path(path, sizeof(path), "XDG_VIDEOS_DIR", "webm");
		w->record[w->shown] = record_start(w->vm, w->shown, path, &e);
		ok = w->record[w->shown] != NULL;
		snprintf(text, sizeof(text), _("Recording to %s"), path);
		log_info("recording to %s", path);
	}
	if (ok)
		shell_notice(w, text, 4000);
	else
		shell_message(w, e.msg);
}

static void toggle_pause(struct window *w)
{
	session_end_reset_loop(w->session);
	if (vm_status(w->vm) == VM_PAUSED)
		vm_resume(w->vm);
	else
		vm_pause(w->vm);
	window_title(w);
	w->present = true;
}

static void shut_down(struct window *w)
{
	if (vm_status(w->vm) == VM_PAUSED)
		toggle_pause(w);
	vm_power_button(w->vm);
	shell_notice(w, _("The guest was asked to shut down"), 4000);
}

/* The button of a laptop: asks the guest to suspend, wakes it when it does. */
static void press_sleep(struct window *w)
{
	bool asleep = vm_status(w->vm) == VM_SUSPENDED;

	vm_sleep_button(w->vm);
	if (!asleep)
		shell_notice(w, _("The guest was asked to sleep"), 4000);
}

static void reset(struct window *w)
{
	if (vm_status(w->vm) == VM_PAUSED)
		toggle_pause(w);
	vm_request_reset(w->vm);
}

static void toggle_strip(struct window *w)
{
	w->shell.strip = !w->shell.strip;
	window_follow(w);
}

static void toggle_grab(struct window *w)
{
	w->keys.grab_keys = !w->keys.grab_keys;
	SDL_SetWindowKeyboardGrab(w->win, w->keys.grab_keys || w->keys.captured);
}

/* A guest with HD Audio sees a plug that comes and goes. */
static void toggle_mic(struct window *w)
{
	bool on = audio_mic(w->vm->audio) == AUDIO_MIC_OFF;

	vm_lock(w->vm);
	audio_set_mic(w->vm->audio, on ? AUDIO_MIC_ON : AUDIO_MIC_OFF);
	vm_unlock(w->vm);
	shell_notice(w, on ? _("The guest can hear the microphone") :
		     _("The guest cannot hear the microphone"), 4000);
}

static void show_menu(struct window *w, enum action a)
{
	if (a == ACT_MENU) {
		shell_menu(w, !w->shell.menu);
		return;
	}
	w->shell.submenu = (int)a;
	w->shell.in_submenu = true;
	w->shell.panel[SLOT_SUBMENU].focus = -1;
	w->shell.panel[SLOT_SUBMENU].scroll = 0;
}

static void do_machine(struct window *w, enum action a)
{
	switch (a) {
	case ACT_PAUSE:
		toggle_pause(w);
		break;
	case ACT_SLEEP:
		press_sleep(w);
		break;
	case ACT_SHUTDOWN:
		shut_down(w);
		break;
	case ACT_RESET_NOW:
		reset(w);
		break;
	case ACT_POWEROFF_NOW:
		session_quit(w->session, HV_EXIT_OK);
		break;
	case ACT_HEADLESS:
		w->detach = true;
		break;
	case ACT_END:
		w->ended = true;
		break;
	case ACT_AGAIN:
	case ACT_AGAIN_MENU:
		w->again = w->ended = true;
		w->again_menu = a == ACT_AGAIN_MENU;
		session_quit(w->session, HV_EXIT_OK);
		break;
	case ACT_GO_ON:
		session_end_reset_loop(w->session);
		reset(w);
		break;
	case ACT_REPORT:
		report_save(w);
		break;
	default:
		break;
	}
}

static void do_keyboard(struct window *w, enum action a)
{
	switch (a) {
	case ACT_SEND_CAD:
		send3(w, HID_LCTRL, HID_LALT, HID_DELETE);
		break;
	case ACT_SEND_CAB:
		send3(w, HID_LCTRL, HID_LALT, HID_BACKSPACE);
		break;
	case ACT_SEND_PRTSC:
		send3(w, HID_PRTSC, 0, 0);
		break;
	case ACT_SEND_SUPER:
		send3(w, HID_LSUPER, 0, 0);
		break;
	case ACT_SEND_HOST:
		send3(w, HID_RCTRL, 0, 0);
		break;
	case ACT_PASTE:
		keys_paste(w);
		break;
	case ACT_GRAB_KEYS:
		toggle_grab(w);
		break;
	case ACT_CAPTURE:
		keys_capture(w, !w->keys.captured);
		break;
	default:
		send_vt(w, a);
		break;
	}
}

static void do_view(struct window *w, enum action a)
{
	switch (a) {
	case ACT_FULLSCREEN:
		window_set_fullscreen(w, !w->fullscreen);
		break;
	case ACT_NEXT_DISPLAY:
		window_next_display(w);
		break;
	case ACT_FIT:
		window_set_mode(w, SCALE_FIT);
		break;
	case ACT_INTEGER:
		window_set_mode(w, SCALE_INTEGER);
		break;
	case ACT_ONE:
		window_set_mode(w, SCALE_ONE);
		break;
	case ACT_SMOOTH:
		w->smooth = !w->smooth;
		break;
	case ACT_STRIP:
		toggle_strip(w);
		break;
	case ACT_RECORD:
		toggle_record(w);
		break;
	default:
		screenshot(w);
		break;
	}
	w->present = true;
}

static enum sheet sheet_of(enum action a)
{
	switch (a) {
	case ACT_RESET:
		return SHEET_RESET;
	case ACT_POWEROFF:
		return SHEET_POWEROFF;
	case ACT_CLOSE:
		return SHEET_CLOSE;
	case ACT_INFO:
		return SHEET_INFO;
	case ACT_LOG:
		return SHEET_LOG;
	case ACT_KEYS:
		return SHEET_KEYS;
	case ACT_ABOUT:
		return SHEET_ABOUT;
	default:
		return SHEET_NONE;
	}
}

void action_do(struct window *w, enum action a)
{
	if (!action_enabled(w, a))
		return;
	w->shell.dirty = true;
	if (a >= ACT_MENU && a <= ACT_M_LAST) {
		show_menu(w, a);
		return;
	}
	shell_menu(w, false);
	shell_show_sheet(w, sheet_of(a));
	if (a >= ACT_PAUSE && a <= ACT_CANCEL)
		do_machine(w, a);
	else if (a >= ACT_SEND_CAD && a <= ACT_SEND_VT12)
		do_keyboard(w, a);
	else if (a >= ACT_FULLSCREEN && a <= ACT_SCREENSHOT)
		do_view(w, a);
	else if (a == ACT_MIC)
		toggle_mic(w);
	else if (a >= ACT_INSERT && a <= ACT_LAST)
		media_do(w, a);
}

bool action_enabled(struct window *w, enum action a)
{
	enum vm_status st = vm_status(w->vm);

	switch (a) {
	case ACT_PAUSE:
	case ACT_RESET:
	case ACT_SHUTDOWN:
	case ACT_HEADLESS:
		return st == VM_RUNNING || st == VM_PAUSED;
	case ACT_SLEEP:
		return st == VM_RUNNING || st == VM_SUSPENDED;
	case ACT_PASTE:
		return SDL_HasClipboardText();
	case ACT_CAPTURE:
		return !w->keys.absolute;
	case ACT_NEXT_DISPLAY:
		return display_scanouts(w->vm->display) > 1;
	case ACT_RECORD:
		return w->record != NULL;
	case ACT_MIC:
		return w->vm->audio != NULL;
	default:
		return true;
	}
}

bool action_checked(struct window *w, enum action a)
{
	switch (a) {
	case ACT_PAUSE:
		return vm_status(w->vm) == VM_PAUSED;
	case ACT_GRAB_KEYS:
		return w->keys.grab_keys;
	case ACT_CAPTURE:
		return w->keys.captured;
	case ACT_FULLSCREEN:
		return w->fullscreen;
	case ACT_FIT:
		return w->mode == SCALE_FIT;
	case ACT_INTEGER:
		return w->mode == SCALE_INTEGER;
	case ACT_ONE:
		return w->mode == SCALE_ONE;
	case ACT_SMOOTH:
		return w->smooth;
	case ACT_STRIP:
		return w->shell.strip;
	case ACT_MIC:
		return w->vm->audio && audio_mic(w->vm->audio) != AUDIO_MIC_OFF;
	case ACT_RECORD:
		return w->record && w->record[w->shown];
	default:
		return false;
	}
}

/* ---- chords with the host key ---------------------------------------------------- */
static const struct {
	SDL_Scancode sc;
	enum action a;
	const char *text;
} chords[] = {
	{ SDL_SCANCODE_M, ACT_MENU, "M" },
	{ SDL_SCANCODE_F, ACT_FULLSCREEN, "F" },
	{ SDL_SCANCODE_N, ACT_NEXT_DISPLAY, "N" },
	{ SDL_SCANCODE_G, ACT_CAPTURE, "G" },
	{ SDL_SCANCODE_P, ACT_PAUSE, "P" },
	{ SDL_SCANCODE_R, ACT_RESET, "R" },
	{ SDL_SCANCODE_H, ACT_SHUTDOWN, "H" },
	{ SDL_SCANCODE_E, ACT_SCREENSHOT, "E" },
	{ SDL_SCANCODE_C, ACT_RECORD, "C" },
	{ SDL_SCANCODE_V, ACT_PASTE, "V" },
	{ SDL_SCANCODE_K, ACT_GRAB_KEYS, "K" },
	{ SDL_SCANCODE_1, ACT_ONE, "1" },
	{ SDL_SCANCODE_0, ACT_FIT, "0" },
	{ SDL_SCANCODE_Q, ACT_CLOSE, "Q" },
	{ SDL_SCANCODE_I, ACT_INFO, "I" },
	{ SDL_SCANCODE_L, ACT_LOG, "L" },
	{ SDL_SCANCODE_SLASH, ACT_KEYS, "?" },
	{ SDL_SCANCODE_DELETE, ACT_SEND_CAD, "Del" },
	{ SDL_SCANCODE_BACKSPACE, ACT_SEND_CAB, "Backspace" },
};

enum action action_of_chord(SDL_Scancode sc)
{
	if (sc >= SDL_SCANCODE_F1 && sc <= SDL_SCANCODE_F12)
		return (enum action)(ACT_SEND_VT1 + (sc - SDL_SCANCODE_F1));
	for (size_t i = 0; i < ARRAY_SIZE(chords); i++)
		if (chords[i].sc == sc)
			return chords[i].a;
	return ACT_NONE;
}

const char *action_chord_text(enum action a)
{
	static const char *const vt[] = { "F1", "F2", "F3", "F4", "F5", "F6",
					  "F7", "F8", "F9", "F10", "F11", "F12" };

	if (a >= ACT_SEND_VT1 && a <= ACT_SEND_VT12)
		return vt[a - ACT_SEND_VT1];
	for (size_t i = 0; i < ARRAY_SIZE(chords); i++)
		if (chords[i].a == a)
			return chords[i].text;
	return "";
}
