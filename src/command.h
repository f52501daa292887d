/* SPDX-License-Identifier: MIT */
/*
 * `hvrun list`, `create`, `edit` and so on: commands about machines.  The
 * library window runs the same commands as processes of their own.
 */
#ifndef HV_COMMAND_H
#define HV_COMMAND_H

#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>

#define COMMAND_NONE (-1)

/* What the user interface finds out for `hvrun doctor`: a line for people. */
typedef bool (*command_check)(char *out, size_t len);

/* COMMAND_NONE: argv[1] is no command; else the exit code. */
int command_main(int argc, char **argv, command_check gl);
/* For --help, and the COMMANDS section of hvrun(1). */
void command_help(FILE *out);
void command_man(FILE *out);
/* One by one, for completions: NULL past the end.  @args: "NAME [--unset KEY]". */
const char *command_name(unsigned i, const char **args, const char **help);

#endif
