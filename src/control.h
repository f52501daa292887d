/* SPDX-License-Identifier: MIT */
/*
 * The way into a machine that runs already: a socket of its own, for the
 * same user only, and a name without a file (unix(7), abstract) for who knows
 * its process, as the holder of an image.  A request is lines of text, ended by
 * an empty one; the first line is the command, the answer one line.
 *
 *   show     open a window, or bring it to the front; the other lines are the
 *            caller's display: DISPLAY=:0, WAYLAND_DISPLAY=..., XAUTHORITY=...
 *   status   "running", "paused", "asleep" (the guest, in S3) or "stopped"
 *   quit     power off
 *   resize   DEV INO =BYTES or +BYTES on the second line: make the disk in that image file
 *            larger; "ok WAS NOW told" or "ok WAS NOW later" (does the guest know?)
 */
#ifndef HV_CONTROL_H
#define HV_CONTROL_H

#include "err.h"
#include "util.h"
#include <sys/types.h>

struct control;
struct machine;

#define CONTROL_MAX 4096

/* Running machine: the socket of @m (NULL: by process only).  NULL + @e.  Main thread. */
struct control *control_open(const struct machine *m, struct err *e);
void control_close(struct control *c);		/* NULL: nothing */
int control_fd(const struct control *c);	/* readable: control_next() */
/*
 * The next whole request, NULL: none.  Valid until control_answer(), which
 * must follow.
 */
char *control_next(struct control *c);
void control_answer(struct control *c, const char *text);

/* Another process: send @command to the running @m.  false + @e. */
bool control_call(const struct machine *m, const char *command, char *answer, size_t len,
		  struct err *e);
/* To the hvrun with this process id.  false + @e: it is none of ours, or does not answer. */
bool control_call_process(pid_t pid, const char *command, char *answer, size_t len, struct err *e);
/* Ask the running @m for its window on this process's display. */
bool control_show(const struct machine *m, struct err *e);
/* What a show request said: takes it over as this process's environment. */
void control_take_display(const char *request);

#endif
