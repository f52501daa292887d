/* SPDX-License-Identifier: MIT */
/* Inside of the commands: arguments, one function each. */
#ifndef HV_COMMAND_INT_H
#define HV_COMMAND_INT_H

#include "command.h"
#include "machine_int.h"

#define COMMAND_MAX_UNSET 16

struct command_args {
	const char *pos[3];		/* without the command's name; not for create and edit */
	unsigned npos;
	bool json, yes, disks, help;
	const char *new_disk;
	const char *unset[COMMAND_MAX_UNSET];
	unsigned nunset;
	int argc;			/* the rest, for config_parse(); argv[0] is a filler */
	char **argv;
	command_check gl;
};

struct command {
	const char *name, *args, *help;
	bool options;			/* takes those of a machine, too */
	unsigned min, max;		/* positional arguments when not */
	int (*run)(struct command_args *a, struct err *e);	/* exit code; @e for the message */
};

extern const struct command commands[];

int command_list(struct command_args *a, struct err *e);
int command_create(struct command_args *a, struct err *e);
int command_edit(struct command_args *a, struct err *e);
int command_delete(struct command_args *a, struct err *e);
int command_duplicate(struct command_args *a, struct err *e);
int command_clone(struct command_args *a, struct err *e);
int command_doctor(struct command_args *a, struct err *e);

/* Would hvrun start with this file's options?  false + @e. */
bool command_check_machine(struct machine *m, struct err *e);
/* A file name in the folder of disks that is free: NAME.EXT, NAME-2.EXT, ... */
bool command_disk_path(const char *name, const char *ext, char *out, size_t len, struct err *e);
/* `hvrun img ARGS...` in this process, quietly; NULL-terminated. */
bool command_img(const char *const *args, struct err *e);

#endif
