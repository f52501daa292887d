/* SPDX-License-Identifier: MIT */
/*
 * Screen recording: the guest's picture as a WebM file (VP8 by libvpx),
 * without sound.  A thread of its own looks at the display 20 times a second
 * and writes what has changed; nothing is written while nothing changes.
 *
 * The film has the size of the picture at its start; a picture of another
 * size is fitted into it.
 */
#ifndef HV_RECORD_H
#define HV_RECORD_H

#include "err.h"
#include "util.h"

struct vm;
struct record;
struct film;

/*
 * Records scanout @screen, one that the machine has, until record_stop().  A
 * file that exists is not replaced.  NULL + @e.
 */
struct record *record_start(struct vm *vm, unsigned screen, const char *path, struct err *e);
/* dev_lock not held.  false + @e: the file is not whole (disk full).  NULL: nothing, true. */
bool record_stop(struct record *r, struct err *e);

/* The file alone: frames at times that do not fall. */
struct film *film_open(const char *path, unsigned w, unsigned h, struct err *e);
/* XRGB8888 of any size. */
bool film_frame(struct film *f, const uint32_t *px, unsigned w, unsigned h, unsigned stride,
		uint64_t ms);
bool film_close(struct film *f, uint64_t ms, struct err *e);

#endif
