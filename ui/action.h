/* SPDX-License-Identifier: MIT */
/*
 * Everything a user can ask of a running machine's window, by one number:
 * menu rows, buttons of sheets and host-key chords all name these.
 */
#ifndef HV_ACTION_H
#define HV_ACTION_H

#include "../src/media.h"
#include <SDL.h>
#include <stdbool.h>

struct window;

enum action {
	ACT_NONE,
	/* Menus */
	ACT_MENU, ACT_M_MACHINE, ACT_M_MEDIA, ACT_M_KEYBOARD,
	ACT_M_VIEW, ACT_M_HELP, ACT_M_LAST = ACT_M_HELP,
	/* Machine */
	ACT_PAUSE, ACT_SLEEP, ACT_RESET, ACT_SHUTDOWN, ACT_POWEROFF, ACT_CLOSE, ACT_INFO, ACT_LOG,
	/* Their sheets */
	ACT_RESET_NOW, ACT_POWEROFF_NOW, ACT_HEADLESS, ACT_END, ACT_AGAIN, ACT_AGAIN_MENU,
	ACT_GO_ON,
	ACT_REPORT, ACT_CANCEL,
	/* Keyboard */
	ACT_SEND_CAD, ACT_SEND_CAB, ACT_SEND_PRTSC, ACT_SEND_SUPER, ACT_SEND_HOST, ACT_PASTE,
	ACT_GRAB_KEYS, ACT_CAPTURE,
	ACT_SEND_VT1, ACT_SEND_VT12 = ACT_SEND_VT1 + 11,
	/* View */
	ACT_FULLSCREEN, ACT_NEXT_DISPLAY, ACT_FIT, ACT_INTEGER, ACT_ONE, ACT_SMOOTH, ACT_STRIP,
	ACT_RECORD, ACT_SCREENSHOT,
	/* Devices */
	ACT_MIC,
	/* Help */
	ACT_KEYS, ACT_ABOUT,
	/* Media; + slot of vm_media_*() */
	ACT_INSERT, ACT_EJECT = ACT_INSERT + MEDIA_SLOTS, ACT_EJECT_NOW = ACT_EJECT + MEDIA_SLOTS,
	ACT_LAST = ACT_EJECT_NOW + MEDIA_SLOTS - 1,
};

void action_do(struct window *w, enum action a);
bool action_enabled(struct window *w, enum action a);
bool action_checked(struct window *w, enum action a);
/* Host key + @sc; ACT_NONE: no such chord. */
enum action action_of_chord(SDL_Scancode sc);
/* How the chord is written in menus, "" for none. */
const char *action_chord_text(enum action a);

#endif
