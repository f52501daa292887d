/* SPDX-License-Identifier: MIT */
/* Inside of machines: what machine*.c share. */
#ifndef HV_MACHINE_INT_H
#define HV_MACHINE_INT_H

#include "machine.h"

struct guess;

/* Options of the command line into the file; not @all: without those of one run. */
void machine_add_given(struct machine *m, const struct config *c, bool all);
void machine_add_defaults(struct machine *m, const struct guess *g);
/* @path as a value of disk or cdrom, absolute; the caller frees. */
char *machine_value_of(const char *path);
void machine_name_of_file(const char *path, char *out, size_t len);
/* A window for somebody, not a run that a script drives. */
bool machine_wants_remembering(const struct config *c);

#endif
