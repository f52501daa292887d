/* SPDX-License-Identifier: MIT */
/*
 * The window's insides, shared by the files of ui/ that make it up:
 *
 *   window.c   SDL window, events, loop
 *   picture.c  the guest's picture: size, place, scale, full screen
 *   guestkeys.c  keyboard and pointer to the guest, the host key
 *   shell.c    what is drawn over the picture: strip, menu, sheets
 *   menu.c     the menu's tables
 *   wait.c     how it sleeps until there is something to do
 *   action.c   what menu rows, host-key chords and buttons do
 *   sheet.c    the texts of the sheets
 *   media.c    discs: changed by menu and drop; the lights of the strip
 *   text.c     their language; catalogues are in ui/po/
 *
 * Main thread only; the machine is touched under dev_lock, for short calls.
 */
#ifndef HV_WINDOW_INT_H
#define HV_WINDOW_INT_H

#include "action.h"
#include "browser.h"
#include "filedialog.h"
#include "panel.h"
#include "text.h"
#include "ui.h"
#include "view.h"
#include "../src/input.h"
#include "../src/log.h"
#include "../src/media.h"
#include "../src/net.h"
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>

/* SCALE_FIT: the guest is asked for the window's size; scaled where it cannot follow. */
enum scale_mode { SCALE_FIT, SCALE_INTEGER, SCALE_ONE };

enum sheet {
	SHEET_NONE, SHEET_CLOSE, SHEET_POWEROFF, SHEET_RESET, SHEET_INFO, SHEET_LOG, SHEET_KEYS,
	SHEET_ABOUT, SHEET_END, SHEET_MESSAGE, SHEET_BROWSE, SHEET_EJECT, SHEET_OFF, SHEET_RESETS,
};

enum { SLOT_STRIP, SLOT_NOTICE, SLOT_MENU, SLOT_SUBMENU, SLOT_SHEET, SLOTS };
_Static_assert(SLOTS <= VIEW_PANELS, "a view slot for each panel");

struct shell {
	struct font *font;		/* NULL: nothing is drawn over the picture */
	double scale;			/* drawable pixels for one unit of layout */
	struct panel panel[SLOTS];
	bool shown[SLOTS];
	bool dirty;			/* panels must be built again */
	bool strip;			/* wanted when windowed */
	bool menu;			/* open */
	int submenu;			/* id of the open one, 0: none */
	bool in_submenu;		/* keys go there */
	enum sheet sheet;
	char message[400];		/* of SHEET_END and SHEET_MESSAGE */
	char notice[160];		/* line at the top, */
	Uint64 notice_until;		/* until these SDL ticks */
	char strip_text[200];		/* as drawn last */
	bool failed;			/* the engine: the strip is red */
};

struct keys {
	bool captured;			/* relative mouse */
	bool absolute;			/* the guest takes positions: nothing to capture */
	bool grab_keys;			/* all keys to the guest while focused */
	bool host_down, host_used;	/* Right Ctrl is held; a chord was typed with it */
	Uint64 host_tap;		/* when it was tapped last */
	unsigned buttons;
	bool down[512];			/* keys that the guest believes down */
	char *paste;			/* text that is being typed, or NULL */
	size_t paste_at;
};

/* What a light of the strip shows. */
enum { BUSY_READ = 1, BUSY_WRITE = 2 };

struct media {
	struct filedialog *dialog;	/* NULL: none is open */
	struct browser browser;		/* while SHEET_BROWSE is shown */
	unsigned slot;			/* of the CD drive that all of them are about */
	uint64_t reads[MEDIA_SLOTS], writes[MEDIA_SLOTS];	/* seen last, as what follows */
	uint64_t sent, received;
	Uint64 looked_at;
	unsigned disk, cd, net;		/* BUSY_* */
	bool is_cd[MEDIA_SLOTS], has_cd;
};

/* What wakes the window, and when it looks by itself. */
struct wait {
	int display_fd;		/* of the display server; -1: SDL must be asked */
	int fd;			/* eventfd, written by any thread */
	Uint32 event;		/* the same for SDL */
	_Atomic bool woken;	/* and not yet seen */
	_Atomic bool news, picture, lights;	/* of the machine; its screen; its drives */
	struct bell picture_bell, lights_bell, sound_bell;
	bool look;		/* something happened: the next frame brings all up to date */
	bool polite;		/* SDL repeats held keys itself */
	bool key_held;
	Uint64 lively_until;	/* SDL ticks: it may have something to say until then */
	Uint64 rest_until;	/* the guest's picture changes by itself; 0: it does not */
};

struct window {
	struct vm *vm;
	struct net *net;	/* for its light; NULL: no network */
	struct record **record;	/* of each scanout, where its recording is; NULL: cannot */
	const struct config *cfg;
	struct session *session;
	char title[200];
	SDL_Window *win;
	const struct view_ops *ops;
	void *view;
	unsigned w, h;
	unsigned shown;		/* the machine's scanout, see window_display() */
	unsigned still;		/* frames without damage, where only looking tells */
	Uint64 drawn_at;	/* SDL ticks */
	bool present, blank, dim, user_sized, quit_asked, detach, ended, fullscreen, smooth;
	bool again, again_menu;	/* start once more, with the boot menu */
	bool whole;		/* what the window showed may be lost: all must be drawn */
	bool lost;		/* the display server is gone */
	char trouble[600];	/* of the host's disk, "": none */
	bool trouble_full, reset_loop;
	const char *diagnosis;	/* of a start that gets nowhere, shown */
	bool awake;		/* the host's screen saver is kept off */
	Uint64 resize_at;	/* SDL ticks when the guest is told of the window's size, 0: not */
	unsigned cursor_serial;
	SDL_Cursor *cursor;	/* the guest's pointer */
	int strip_was;		/* window_strip_height() when the window was sized */
	unsigned close_asked;	/* without a font: times */
	enum scale_mode mode;
	SDL_Rect dst;		/* where the picture was drawn last, drawable pixels */
	struct wait wait;
	struct shell shell;
	struct keys keys;
	struct media media;
};

/* window.c */
void window_title(struct window *w);
void window_frame(struct window *w);	/* bring everything up to date and show it */

/* picture.c */
#define RESIZE_MS 150		/* so long without a change: the user is done dragging */
struct display *window_display(const struct window *w);	/* the scanout that is shown */
void window_next_display(struct window *w);
/* Drawable pixels at the bottom that the strip takes. */
int window_strip_height(const struct window *w);
void window_follow(struct window *w);	/* size the window after the guest's picture */
void window_set_fullscreen(struct window *w, bool on);
void window_set_mode(struct window *w, enum scale_mode mode);
void picture_update(struct window *w);	/* takes what the guest has drawn */
void picture_show(struct window *w);	/* if it must be shown anew */
void picture_tell_size(struct window *w);	/* once the dragging has stopped */

/* wait.c */
bool wait_open(struct window *w, struct err *e);
void wait_close(struct window *w);
void wait_begin(struct window *w);	/* from now on news of the machine wake it */
void wait_end(struct window *w);
/*
 * Sleep until there is an event, which is left to SDL_PollEvent(), or news, or
 * something is due.  @s NULL: nothing of the machine counts any more.
 */
void wait_for(struct window *w, const struct session *s);
void wait_event(struct window *w, const SDL_Event *e);	/* for each that came */
void wait_other_display(struct window *w);	/* window_display() is another one */
bool wait_frame(const struct window *w);	/* window_frame() is due */
bool wait_picture(struct window *w);		/* the guest's picture may be a new one */
void wait_rest(struct window *w, int rest);	/* it was looked at: display_rest_ms() */
bool window_hidden(const struct window *w);

/* lost.c */
void lost_watch(struct window *w);	/* w->lost is set when the display server goes */
/* Around the closing of the connection, and room() before each step of that: it may be dead. */
void lost_begin(void);
void lost_room(void);
void lost_end(void);
void lost_look(struct window *w);	/* where nothing tells: ask */

/* shell.c */
void shell_open(struct window *w);		/* finds fonts; draws nothing without */
void shell_close(struct window *w);
void shell_update(struct window *w);		/* builds what changed, hands it to the view */
void shell_show_sheet(struct window *w, enum sheet s);
void shell_message(struct window *w, const char *text);		/* a sheet that says so */
void shell_notice(struct window *w, const char *text, unsigned ms);	/* a line for a while */
void shell_menu(struct window *w, bool open);
bool shell_modal(const struct window *w);	/* the menu or a sheet takes keys and clicks */
/* false: not for the shell. */
bool shell_key(struct window *w, const SDL_KeyboardEvent *k);
bool shell_pointer(struct window *w, int x, int y, bool press);	/* drawable pixels */
void shell_wheel(struct window *w, int by);	/* of an open menu or sheet */

/* report.c */
void report_save(struct window *w);	/* what somebody who helps wants to know, into a file */

/* sheet.c */
void sheet_build(struct window *w, struct panel *p, enum sheet s);
void sheet_trouble(struct window *w, struct panel *p);	/* the host's disk is full or broken */

/* media.c */
void media_menu(struct window *w, struct panel *p);	/* rows of the media menu */
void media_do(struct window *w, enum action a);
void media_drop(struct window *w, const char *path);	/* a file was dropped on the window */
void media_step(struct window *w);	/* dialogs; lights, at most ten times a second */
Uint64 media_due(const struct window *w);	/* SDL ticks of the next one, 0: none */
bool media_key(struct window *w, const SDL_KeyboardEvent *k);	/* to the browser */
bool media_type(struct window *w, const char *utf8);
void media_hit(struct window *w, int id);
void media_wheel(struct window *w, int by);
void media_open(struct window *w);
void media_close(struct window *w);

/* menu.c */
void menu_build(struct window *w, struct panel *p, int submenu);	/* 0: the main menu */

/* guestkeys.c */
void keys_event(struct window *w, const SDL_Event *e);	/* keyboard and mouse events */
void keys_capture(struct window *w, bool on);
void keys_release(struct window *w);		/* everything up, in the guest */
/* A chord: all down in order, then up in the reverse order; 0-terminated. */
void keys_send(struct window *w, const uint16_t *hid);
void keys_cursor(struct window *w);		/* show the right pointer for where it is */
void keys_paste(struct window *w);		/* start typing the clipboard's text */
void keys_paste_step(struct window *w);		/* a frame has passed: next character */

#endif
