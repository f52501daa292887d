/* SPDX-License-Identifier: MIT */
/*
 * What a user interface offers to main*.c: run the session on the main
 * thread until it ends, return the exit status.
 */
#ifndef HV_UI_H
#define HV_UI_H

#include "../src/net.h"
#include "../src/session.h"

/* The session is not over: the window has gone, or somebody wants to see one. */
#define UI_LEFT (-1)

/* No window.  UI_LEFT: session_show_wanted(). */
int headless_run(struct session *s);

/*
 * A window (SDL2).  Opened before the guest starts so that a missing display
 * is reported first; window_run() drives input and drawing until the end.
 */
struct record;
struct window;
struct window *window_open(struct vm *vm, const struct config *cfg, const char *title,
			   struct err *e);
int window_run(struct window *w, struct session *s);	/* UI_LEFT: the guest runs on */
/* After window_run(): the same machine shall be started again, as it was or with a boot menu. */
bool window_again(const struct window *w, bool *boot_menu);
void window_close(struct window *w);
void window_set_net(struct window *w, struct net *net);		/* its light; NULL: none */
/* @record[i] is the recording of scanout i that runs; the window starts and ends it there. */
void window_set_record(struct window *w, struct record **record);

/* The library: all machines in a window.  The exit code; @e says why it could not open. */
int library_run(double ui_scale, struct err *e);

/* For both windows: SDL with our hints, the user's language.  false + @e. */
bool ui_open(struct err *e);
void ui_hints(void);
/*
 * Drawable pixels for one of the window's units, @ratio, or what the desktop
 * asks for where that is one (Xft.dpi, GDK_SCALE, QT_SCALE_FACTOR); @wish: --ui-scale, 0: none.
 */
double ui_scale_of(double ratio, double wish);

/* For hvrun doctor: can windows be drawn with OpenGL, and by what?  A line into @out. */
bool window_check_gl(char *out, size_t len);

/* The host's speakers and microphone (SDL2); see src/audio.h. */
struct audio;
struct vclock;
struct audio *audio_sdl_open(struct vclock *clk, struct err *e);

#endif
