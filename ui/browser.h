/* SPDX-License-Identifier: MIT */
/*
 * The built-in file browser: a sheet with the entries of a folder, for
 * desktops without file dialogs.  Hidden files are left out; images and
 * folders come first by name.  Main thread only.
 */
#ifndef HV_BROWSER_H
#define HV_BROWSER_H

#include "panel.h"

#define BROWSER_ROWS 14

struct browser_entry {
	char *name;
	bool folder;
};

struct browser {
	char dir[4096];
	struct browser_entry *e;
	unsigned n, top;
	unsigned rows;		/* that are shown */
	unsigned at;		/* the entry that has the focus */
	char chosen[4096 + 256];
	bool problem;		/* the folder cannot be read */
};

enum browser_result { BROWSER_STAYS, BROWSER_CHOSEN, BROWSER_CLOSED };

void browser_open(struct browser *b, const char *dir);	/* NULL: home */
void browser_close(struct browser *b);
/* Between panel_begin and panel_end; @height: of the window, in rows of text. */
void browser_build(struct browser *b, struct panel *p, int height);
enum browser_result browser_key(struct browser *b, SDL_Keycode key);
enum browser_result browser_type(struct browser *b, const char *utf8);	/* jumps to a name */
enum browser_result browser_hit(struct browser *b, int id);	/* widget ids of the panel */
void browser_wheel(struct browser *b, int by);

#endif
