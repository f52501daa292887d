/* SPDX-License-Identifier: MIT */
/*
 * The manifest of an OVF package (DMTF DSP0243 2.1, clause 6.1 "OVF package
 * manifest"): a digest of each of its files, SHA1(NAME)= HEX a line.
 *
 * The text comes from strangers: names are only looked up by the caller,
 * numbers of lines and their lengths are bounded.
 */
#ifndef HV_MANIFEST_H
#define HV_MANIFEST_H

#include "err.h"
#include "util.h"

#define MANIFEST_MAX (1u << 20)		/* bytes of text */

/* Where the caller has a file of the package. */
struct manifest_file {
	int fd;
	uint64_t at, size;
};

/* @name as a descriptor (the callee's to close) and a range in it.  false: there is none. */
typedef bool (*manifest_find)(void *opaque, const char *name, struct manifest_file *f);

/*
 * Reads all files that @text names and compares; @path is what messages call the package.
 * false + @e: a file is missing, differs, or a line is not understood.
 */
bool manifest_check(const char *text, size_t len, const char *path, manifest_find find,
		    void *opaque, struct err *e);
/* Does a line of @text speak of the file @name? */
bool manifest_names(const char *text, size_t len, const char *name);

#endif
