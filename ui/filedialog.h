/* SPDX-License-Identifier: MIT */
/*
 * Choosing a file: the desktop's portal by D-Bus, else zenity or kdialog.
 * Neither blocks; the owner asks now and then.  Where none of them is to be
 * had, filedialog_open() returns NULL and the owner shows a browser
 * (browser.h) inside its window.  Main thread only.
 */
#ifndef HV_FILEDIALOG_H
#define HV_FILEDIALOG_H

#include <SDL.h>
#include <stdbool.h>
#include <stddef.h>

struct filedialog;

enum filedialog_state { FILEDIALOG_OPEN, FILEDIALOG_CHOSEN, FILEDIALOG_CANCELLED,
			FILEDIALOG_FAILED };

/* @parent may be NULL.  @iso: only CD images are wanted (a filter that the user can leave). */
struct filedialog *filedialog_open(SDL_Window *parent, const char *title, bool iso);
/* What has become of it; FILEDIALOG_CHOSEN: the file is in @out. */
enum filedialog_state filedialog_poll(struct filedialog *d, char *out, size_t len);
void filedialog_close(struct filedialog *d);	/* withdraws it; NULL: nothing */

#endif
