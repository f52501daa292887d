/* SPDX-License-Identifier: MIT */
/*
 * Why a start gets nowhere: what firmware, boot loaders and kernels say when
 * they give up, and processors that nothing can wake, each with a remedy.
 */
#ifndef HV_DIAGNOSE_H
#define HV_DIAGNOSE_H

#include "config.h"

struct vm;

/* By what is on the screen or the console (either may be ""); NULL: nothing known. */
const char *diagnose_text(const char *screen, const char *console);
/*
 * Look at a running machine: screen, @console (the tail of COM1), processors.
 * Pauses it for an instant.  NULL: nothing to say.  Main thread.
 */
const char *diagnose(struct vm *vm, const struct config *cfg, const char *console);

#endif
