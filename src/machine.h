/* SPDX-License-Identifier: MIT */
/*
 * Machines: one text file each, NAME.hvm, in the user's data directory.
 *
 * A line is KEY = VALUE, where KEY is an option of the command line without
 * its dashes; options that may be repeated may be repeated here.  Lines that
 * start with # and blank lines are kept, as are keys that this version does
 * not know (a warning names them).  A value may stand in "double quotes" to
 * keep blanks at its ends.  Relative file names start at the file's folder.
 * Files are replaced whole, by rename.
 *
 *   machines  $XDG_DATA_HOME/hvrun/machines/NAME.hvm   (~/.local/share)
 *   disks     $XDG_DATA_HOME/hvrun/disks/              (made by hvrun create)
 *   picture, log and time of the last run
 *             $XDG_CACHE_HOME/hvrun/NAME.{png,log,state}  (~/.cache)
 *   lock and control socket of a running machine
 *             $XDG_RUNTIME_DIR/hvrun/NAME.{lock,sock}
 *
 * Main thread only.
 */
#ifndef HV_MACHINE_H
#define HV_MACHINE_H

#include "config.h"
#include <sys/types.h>

#define MACHINE_SUFFIX ".hvm"
#define MACHINE_NAME_MAX 100

struct machine_line {
	char *key;		/* NULL: @value is a whole line, without meaning */
	char *value;
};

struct machine {
	char *path;		/* absolute */
	char *name;		/* the file's, without suffix */
	char *id;		/* names its files in cache and run directories */
	struct machine_line *lines;
	unsigned n;
	char *held[CFG_MAX_GIVEN];	/* strings that a config points into */
	unsigned nheld;
	int lock_fd;		/* -1: not running here */
	bool fresh;		/* has no file yet */
};

enum machine_dir { MACHINE_DIR_DATA, MACHINE_DIR_DISKS, MACHINE_DIR_CACHE, MACHINE_DIR_RUN };

/* The directory, made when missing; false + @e: no place for it. */
bool machine_dir(enum machine_dir d, char *out, size_t len, struct err *e);

/* Letters of any language, digits, blanks...: what can be a file's name and seen. */
bool machine_name_ok(const char *name, struct err *e);
/* A free name like @want: "debian", "debian 2", ... */
void machine_free_name(const char *want, char *out, size_t len);

/* An empty one called @name, saved nowhere yet; NULL + @e: bad name, or it exists. */
struct machine *machine_new(const char *name, struct err *e);
/* Reads the file @path.  Any content is accepted; NULL + @e: unreadable, or far too large. */
struct machine *machine_open(const char *path, struct err *e);
/* @arg is a file NAME.hvm or the name of a machine; NULL + @e (HV_EXIT_USAGE: there is none). */
struct machine *machine_find(const char *arg, struct err *e);
/* The machine whose first disk or CD is the file @disk; NULL: none. */
struct machine *machine_of_disk(const char *disk);
/* The text that it replaces stays in NAME.hvm~.  A new one replaces none: false + @e then. */
bool machine_save(struct machine *m, struct err *e);
void machine_free(struct machine *m);		/* NULL: nothing; gives the lock up */

/* All machines by name; the array and its elements are the caller's. */
struct machine **machine_list(unsigned *n);
void machine_list_free(struct machine **list, unsigned n);

/* Value @nth of @key, NULL: there are not so many. */
const char *machine_get(const struct machine *m, const char *key, unsigned nth);
/* Title for people: name = ..., else the file's name. */
const char *machine_title(const struct machine *m);
void machine_set(struct machine *m, const char *key, const char *value);	/* NULL: remove */
void machine_add(struct machine *m, const char *key, const char *value);
/* The file of a disk or cdrom value, absolute, without options; the caller frees. */
char *machine_file_of(const struct machine *m, const char *value);
/* @value with its file name made absolute, seen from the current folder; the caller frees. */
char *machine_absolute(const char *key, const char *value);
/* The same, seen from the folder of @m's file. */
char *machine_from_folder(const struct machine *m, const char *key, const char *value);

/* Puts all keys into @c, which must not outlive @m. */
bool machine_apply(struct machine *m, struct config *c, struct err *e);

/* ---- what is known of its runs (machine_run.c) ----------------------------- */

struct machine_state {
	bool running;
	pid_t pid;		/* while running */
	int64_t used;		/* seconds since 1970 of the last start or end; 0: never */
	uint64_t bytes;		/* that its disks take on the host */
};

void machine_state(const struct machine *m, struct machine_state *s);
/* A file of this machine: "png", "log", "state" in the cache, "lock", "sock" of the run. */
bool machine_path(const struct machine *m, const char *what, char *out, size_t len,
		  struct err *e);
/* It runs from now on in this process; HV_EXIT_LOCKED: it runs already. */
bool machine_lock(struct machine *m, struct err *e);
void machine_unlock(struct machine *m);

/*
 * Does the command line in @c name a machine?  Then @c is read again: the
 * machine's options, then @argv's.  *out is NULL when there is none.
 */
bool machine_choose(struct config *c, int argc, char **argv, struct machine **out,
		    struct err *e);
/*
 * An image that is opened in a window for the first time becomes a machine,
 * to be saved when it has started; @c gets what is sensible for the system on
 * it.  NULL: not wanted, or not possible (which is no error).
 */
struct machine *machine_remember(struct config *c);

#endif
