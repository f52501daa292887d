/* SPDX-License-Identifier: MIT */
/*
 * The library window's insides, shared by its files:
 *
 *   library.c        the window, its loop and events, what actions do
 *   library_draw.c   tool bar and cards
 *   library_sheet.c  sheets: new, settings, delete, log, messages
 *   library_job.c    hvrun commands as processes of their own
 *
 * Main thread only.  Machines are changed by running hvrun's commands, never here.
 */
#ifndef HV_LIBRARY_INT_H
#define HV_LIBRARY_INT_H

#include "browser.h"
#include "draw.h"
#include "filedialog.h"
#include "panel.h"
#include "text.h"
#include "../src/machine.h"

enum lib_action {
	LIB_NONE,
	/* tool bar */
	LIB_NEW, LIB_OPEN,
	/* of a card */
	LIB_START, LIB_HEADLESS, LIB_DISCARD, LIB_SETTINGS, LIB_DUPLICATE, LIB_CLONE, LIB_LOG,
	LIB_DELETE,
	/* in sheets */
	LIB_NAME, LIB_FILE, LIB_BROWSE, LIB_MEMORY, LIB_CPUS, LIB_DISK, LIB_NET, LIB_FIRMWARE,
	LIB_BOOT, LIB_THROW, LIB_EJECT, LIB_WITH_DISKS, LIB_DO, LIB_DO_START, LIB_CANCEL,
};

enum lib_sheet { LSHEET_NONE, LSHEET_NEW, LSHEET_SETTINGS, LSHEET_COPY, LSHEET_DELETE,
		 LSHEET_LOG, LSHEET_MESSAGE, LSHEET_BROWSE };

struct card {
	struct machine *m;
	struct machine_state state;
	SDL_Surface *picture;	/* of the last run, NULL: none */
	int64_t picture_time;
	SDL_Rect r;		/* in the window; empty: filtered out or scrolled away */
	bool shown;		/* the search finds it */
};

/* What the sheets edit. */
struct form {
	char name[MACHINE_NAME_MAX + 1];
	char file[4096];	/* medium; in settings: the CD, */
	char file_was[4096];	/* before it was edited */
	char os[64];
	unsigned memory, cpus, disk, net, firmware, boot;	/* places in the lists */
	uint64_t memory_mib;	/* as in the file, when not in the list */
	bool discard, with_disks, linked;
	uint64_t frees;		/* bytes of disks that delete would remove */
};

struct job {
	pid_t pid;		/* 0: none */
	int out;		/* what it says: a file without a name */
	bool stays, settled;	/* a machine; that surely runs */
	Uint64 since;
	char then[MACHINE_NAME_MAX + 1];	/* start this machine afterwards, "" */
	char doing[160];
};

#define LIB_JOBS 32

struct library {
	SDL_Window *win;
	SDL_Renderer *ren;
	SDL_Texture *tex;
	SDL_Surface *s;		/* the whole window */
	struct font *font, *big;
	double scale;
	double scale_wish;	/* --ui-scale, 0: the desktop's */
	struct card *cards;
	unsigned n;
	int focus;		/* card; -1: New, -2: Open */
	int hover;		/* likewise, -9: nothing */
	int columns, scroll, content;	/* of the grid: pixels */
	SDL_Rect new_r, open_r, search_r, grid_r;
	char search[100];
	char notice[200];
	Uint64 notice_until;
	bool dirty, quit, menu_open;
	struct panel menu, sheet;
	enum lib_sheet kind, under;	/* under: where the browser's file goes */
	struct browser browser;
	struct form form;
	char target[MACHINE_NAME_MAX + 1];	/* machine that sheet and menu are about */
	char message[2000];
	struct job jobs[LIB_JOBS];
	struct filedialog *dialog;
	Uint64 looked_at;	/* at the machines, SDL ticks */
};

/* library.c */
void lib_do(struct library *l, enum lib_action a);
void lib_notice(struct library *l, const char *text);
void lib_choose_file(struct library *l, bool iso);
struct card *lib_card(struct library *l);	/* the one with the focus; NULL */
struct library *lib_open(double ui_scale, struct err *e);
void lib_close(struct library *l);
void lib_look(struct library *l);		/* read the machines again */
void lib_draw(struct library *l);		/* all, into l->s */
void lib_event(struct library *l, const SDL_Event *e);

/* library_draw.c */
void lib_layout(struct library *l);
void lib_paint(struct library *l);		/* tool bar and cards */
int lib_hit(struct library *l, int x, int y);	/* as focus; -9: nothing; -3: search */
void lib_show_focus(struct library *l);		/* scroll there */

void lib_bytes(uint64_t bytes, char *out, size_t len);	/* "1.5 GiB" */

/* library_sheet.c */
void lib_sheet(struct library *l, enum lib_sheet kind);
void lib_sheet_build(struct library *l);
void lib_sheet_react(struct library *l, int hit);
void lib_sheet_new(struct library *l, const char *file);	/* NULL: none yet */
void lib_sheet_file(struct library *l, const char *file);	/* chosen in a dialog */
void lib_sheet_of_card(struct library *l, const struct card *c, enum lib_action a);
void lib_message(struct library *l, const char *text);

/* library_job.c */
/* Runs hvrun @args (NULL-terminated, at most 30). */
void job_run(struct library *l, const char *const *args, const char *doing, const char *then);
void job_start_machine(struct library *l, const char *name, bool headless, bool discard);
bool job_any(const struct library *l);
void job_poll(struct library *l);

#endif
