/* SPDX-License-Identifier: MIT */
/*
 * The expectation engine: ordered expect/send steps and fail-on patterns
 * over the bytes a guest prints on its serial port.
 *
 * Matching sees a view without ANSI escape sequences and carriage returns.
 * Feed and step run on one thread (session.c); no locking here.
 */
#ifndef HV_EXPECT_H
#define HV_EXPECT_H

#include "config.h"

struct expect;

/* NULL + @e: a regular expression does not compile. */
struct expect *expect_new(const struct config *cfg, struct err *e);
void expect_free(struct expect *x);

enum expect_state { EXPECT_WAITING, EXPECT_DONE, EXPECT_FAILED };

/*
 * Take in guest output, run the steps as far as they go.  @send is called
 * for each --send that is due.  After EXPECT_FAILED expect_why() tells.
 */
enum expect_state expect_feed(struct expect *x, const char *buf, size_t len,
			      void (*send)(void *opaque, const char *buf, size_t len),
			      void *opaque);
/* The step that is waited for, "" when none; or the failure. */
const char *expect_why(const struct expect *x);
/* Last lines of the guest's output, for a failure report; valid until the next feed. */
const char *expect_tail(const struct expect *x, unsigned lines);

#endif
