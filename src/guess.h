/* SPDX-License-Identifier: MIT */
/*
 * Which system is on a medium, by the name of an ISO volume or the file
 * systems of a disk, and what such a system likes to have.  A guess: wrong
 * costs nothing but a setting.
 */
#ifndef HV_GUESS_H
#define HV_GUESS_H

#include "boot.h"

struct guess {
	const char *os;		/* "Debian", "Windows", "Linux"; "" unknown */
	char title[64];		/* the volume's name, else os */
	uint64_t memory;	/* bytes; never more than half of this computer's */
	unsigned cpus;		/* never more than this computer has */
	uint64_t disk;		/* bytes of a new disk for its installation */
	enum boot_kind kind;
};

/* Looks into the file @path (any disk format).  false + @e: unreadable. */
bool guess_medium(const char *path, struct guess *g, struct err *e);
/* What a machine with nothing known about it gets. */
void guess_default(struct guess *g);

#endif
