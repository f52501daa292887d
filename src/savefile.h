/* SPDX-License-Identifier: MIT */
/*
 * Small files that must survive a crash of anything: written beside their
 * place, synced, renamed, the folder synced.
 */
#ifndef HV_SAVEFILE_H
#define HV_SAVEFILE_H

#include "util.h"

/* What is added to the name of the previous content that is kept. */
#define SAVEFILE_PREVIOUS "~"

/*
 * @path becomes @len bytes of @data, mode @mode, or stays as it was.  With
 * @keep the content before is at PATH~ afterwards (where the file system has
 * links; else it is not kept).  Returns 0 or a positive errno.  Any thread;
 * two writers of one path: one of them wins whole.
 */
int savefile_write(const char *path, const void *data, size_t len, unsigned mode, bool keep);
/* The same for a new file: EEXIST where there is one; of two writers one gets that. */
int savefile_create(const char *path, const void *data, size_t len, unsigned mode);

#endif
