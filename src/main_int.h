/* SPDX-License-Identifier: MIT */
/*
 * Private to src/main*.c: the one run of the program.  Main thread only; files
 * that are given by name on the command line, the parts of the machine, and
 * pictures of its screen.
 */
#ifndef HV_MAIN_INT_H
#define HV_MAIN_INT_H

#include "config.h"
#include "display.h"
#include "firmware.h"
#include "session.h"
#include "../devices/pc.h"

struct window;
struct record;
struct machine;
struct disk_hold;

struct app {
	struct config cfg;
	struct machine *machine;	/* NULL: files of the command line only */
	struct record *record[DISPLAY_MAX_SCANOUTS];	/* NULL: nothing is recorded */
	struct control *control;	/* NULL: nobody can ask anything of it */
	bool again, again_menu;		/* start it once more afterwards */
	uint64_t kept;			/* display_serial() of the last thumbnail */
	bool remember;			/* it is new, to be saved when it has started */
	struct vm *vm;
	struct pc_config pc;
	struct block *blocks[PC_MAX_DISKS], *floppies[PC_MAX_FLOPPIES];
	struct chardev *serial[PC_MAX_SERIAL], *debugcon, *console, *parallel;
	struct chardev *channels[PC_MAX_CHANNELS];
	bool script_console;		/* --expect and --send mean the virtio console */
	struct net *net;
	struct audio *audio;
	struct firmware firmware;
	struct session *session;
	struct disk_hold *hold;
	struct window *window;
};

/*
 * main_files.c: positional arguments become disks, CDs, floppies or the kernel of @c, by
 * their contents.  false + @e: unreadable, too many, nothing to run.
 */
bool main_take_files(struct config *c, struct err *e);

/*
 * main_parts.c: from a->cfg to a->pc, with the back ends of all devices open.  a->vm is
 * there, its engine is not chosen.  false + @e: main_close_parts() closes what was opened.
 */
bool main_open_parts(struct app *a, struct err *e);
/* After devices_free(): disks are flushed and unlocked. */
void main_close_parts(struct app *a);

/* main_picture.c: the last picture, small, for the library.  @opaque: struct app. */
void main_keep_picture(void *opaque);
/* --screenshot-at-exit: FILE.png of the first screen, FILE-2.png of the second one. */
bool main_save_screenshot(struct app *a, struct err *e);
/* --record: FILE.webm of the first screen, FILE-2.webm of the second one. */
bool main_start_records(struct app *a, struct err *e);
void main_stop_records(struct app *a);	/* all that run */

#endif
