/* SPDX-License-Identifier: MIT */
/*
 * A run of one machine as the user asked for it: the script of --expect and
 * --send, the time limit, what a power-off or reset means, and the exit
 * status.  The headless loop and the window both drive it.
 *
 * All calls from the main thread.  News (guest output, machine events,
 * signals) make session_fd() readable.
 */
#ifndef HV_SESSION_H
#define HV_SESSION_H

#include "chardev.h"
#include "config.h"
#include "vm.h"

struct session;
struct control;
struct disk_hold;
struct disk_trouble;

/*
 * Before vm_start(): hooks vm->notify and taps @console (COM1's back end; may
 * be NULL when the configuration has no script).  Blocks SIGINT, SIGTERM and
 * SIGHUP and takes them over.  NULL + @e.
 */
struct session *session_new(struct vm *vm, const struct config *cfg, struct chardev *console,
			    struct err *e);
void session_free(struct session *s);

/* Before vm_start(): work off @h with the rest of the news. */
void session_set_disks(struct session *s, struct disk_hold *h);
/* The host's disk is full or fails and the guest waits for it; false: all is well. */
bool session_disk_trouble(const struct session *s, struct disk_trouble *out);

/* @fn is called now and then while the machine runs, for its picture in the library. */
void session_set_picture(struct session *s, void (*fn)(void *opaque), void *opaque);

/* Requests from other processes come in by @c, which outlives the session. */
void session_set_control(struct session *s, struct control *c);
/* Somebody wants a window: the request, else NULL; answered with "ok" or why not. */
const char *session_show_wanted(const struct session *s);
void session_show_answer(struct session *s, const char *text);

/*
 * Somebody looks on and is asked (a window; not where a script decides): a
 * guest that crashes again and again is then paused instead of ended.
 */
void session_set_attended(struct session *s, bool attended);
bool session_reset_loop(const struct session *s);
void session_end_reset_loop(struct session *s);		/* go on after it */

/* Why the guest's start gets nowhere, and the remedy; NULL: it goes on.  See diagnose.h. */
const char *session_diagnosis(const struct session *s);

int session_fd(const struct session *s);
/* Milliseconds until session_step() must be called again; -1: only on news. */
int session_timeout_ms(const struct session *s);
/* Called with no locks held on any thread when there is news; may only signal. */
void session_set_wakeup(struct session *s, void (*fn)(void *opaque), void *opaque);

/* Work off the news.  false: the run is over, session_exit_code() is final. */
bool session_step(struct session *s);
int session_exit_code(const struct session *s);
/* End of the run asked by the user (window closed). */
void session_quit(struct session *s, int exit_code);
/* The end was the guest's: it has powered off. */
bool session_guest_off(const struct session *s);
/* One line about the end that the user should read; "" when all went as asked. */
const char *session_message(const struct session *s);

#endif
