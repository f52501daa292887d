/* SPDX-License-Identifier: MIT */
/*
 * The library window's insides, shared by its files:
 *
 *   library.c        the window, its loop, what actions do
 *   library_input.c  keys, pointer, drops, the menu of a card
 *   library_draw.c   tool bar and cards
 *   library_sheet.c  sheets: which is open, copy, delete, log, messages
 *   library_form.c   the sheets of a machine's settings: new and edit
 *   library_value.c  the values that those offer, to and from a machine's file
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
	LIB_NAME, LIB_FILE, LIB_BROWSE, LIB_MEMORY, LIB_CPUS, LIB_DISK, LIB_NET, LIB_FORWARDS,
	LIB_SOUND, LIB_MIC, LIB_FLOPPY, LIB_BROWSE_FLOPPY, LIB_FIRMWARE, LIB_BOOT, LIB_THROW,
	LIB_EJECT, LIB_MORE, LIB_WITH_DISKS, LIB_DO, LIB_DO_START, LIB_CANCEL,
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

/* A text that a sheet edits, and what it was before. */
struct form_text {
	char now[4096], was[4096];
};

/* What the sheets edit. */
struct form {
	char name[MACHINE_NAME_MAX + 1];
	struct form_text file;		/* medium; in settings: the CD */
	struct form_text floppy, forwards;
	char os[64];
	unsigned memory, cpus, disk;	/* places in the lists of library_value.c, or */
	unsigned net, sound, firmware, boot;	/* FORM_CUSTOM */
	uint64_t memory_mib;	/* as in the file, when not in the list */
	bool mic, discard, more, with_disks, linked;
	bool to_floppy;		/* the file that is being chosen is for that drive */
	uint64_t frees;		/* bytes of disks that delete would remove */
};

#define FORM_CUSTOM 255u	/* a value that is in no list: stays as it is in the file */

/* The arguments of an hvrun command. */
#define LIB_ARGS 64
struct args {
	char *v[LIB_ARGS];
	unsigned n;
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
void lib_filter(struct library *l);		/* the search has changed */
void lib_draw(struct library *l);		/* all, into l->s */
/* Chosen in a dialog, or dropped: what the open sheet wants it for, else a new machine. */
void lib_file_chosen(struct library *l, const char *file);

/* library_input.c */
void lib_event(struct library *l, const SDL_Event *e);
void lib_menu_build(struct library *l);		/* of the card with the focus */

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
void lib_sheet_of_card(struct library *l, const struct card *c, enum lib_action a);
void lib_message(struct library *l, const char *text);
struct widget *lib_field(struct library *l, int id, const char *label, char *buf, size_t len);
void lib_button(struct library *l, int id, const char *text);

/* library_form.c */
void lib_build_new(struct library *l);
void lib_build_settings(struct library *l);
void lib_sheet_new(struct library *l, const char *file);	/* NULL: none yet */
void lib_sheet_settings(struct library *l, const struct card *c);
void lib_sheet_file(struct library *l, const char *file);	/* chosen in a dialog, or dropped */
void lib_do_new(struct library *l, bool start);
void lib_do_settings(struct library *l);

/* library_value.c */
struct guess;
void form_guess(struct form *f, const struct guess *g);
void form_load(struct form *f, const struct machine *m);
/* What the choice @id shows, in the user's language; false: there is no such choice. */
bool form_shows(const struct form *f, int id, char *out, size_t len);
void form_step(struct form *f, int id, int by);		/* another value for the choice @id */
/* Can it be saved?  false + @e. */
bool form_ok(const struct form *f, struct err *e);
void form_args_new(const struct form *f, struct args *a);
void form_args_edit(const struct form *f, struct args *a);

/* library_job.c */
void arg(struct args *a, const char *fmt, ...) HV_PRINTF(2, 3);
/* Runs hvrun with @a, which is empty afterwards; @then: starts that machine, NULL: none. */
void job_run(struct library *l, struct args *a, const char *doing, const char *then);
void job_start_machine(struct library *l, const char *name, bool headless, bool discard);
bool job_any(const struct library *l);
void job_poll(struct library *l);

#endif
