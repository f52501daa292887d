/* SPDX-License-Identifier: MIT */
/*
 * Host and set-up errors: what failed, why, and what to do about it.
 *
 * One of the three error worlds (the others: dev_guest_error() for guest
 * mistakes, HV_BUG_ON() for our own).  A function that can fail for a host
 * reason returns false (or NULL) and fills the caller's struct err; the
 * composition root prints it and exits with its code.
 */
#ifndef HV_ERR_H
#define HV_ERR_H

#include <stdbool.h>

/* Process exit codes: part of the command-line contract (hvrun(1)). */
enum hv_exit {
	HV_EXIT_OK = 0,
	HV_EXIT_GENERIC = 1,
	HV_EXIT_EXPECT = 3,	/* --fail-on seen, or the expectation cannot come */
	HV_EXIT_RESET = 4,	/* guest reset with --on-reset exit */
	HV_EXIT_ENGINE = 5,	/* triple fault, engine internal error */
	HV_EXIT_IMAGE = 6,	/* image unreadable or corrupt */
	HV_EXIT_LOCKED = 7,	/* image in use by another process */
	HV_EXIT_NO_KVM = 8,	/* KVM demanded but unavailable */
	HV_EXIT_HOST = 9,	/* host resource: memory, disk full */
	HV_EXIT_NO_START = 10,	/* the guest's start got nowhere, and the time is over */
	HV_EXIT_USAGE = 64,
	HV_EXIT_TIMEOUT = 124,
	HV_EXIT_DEBUG_BASE = 193,	/* + guest value <= 62 */
};

struct err {
	int exit_code;		/* enum hv_exit */
	char msg[512];		/* one line, no newline, no "hvrun:" prefix */
};

/*
 * Fill @e (may be NULL: the caller does not care) and return false, so that
 * "return err_set(e, ...)" ends a function.  Never allocates.
 */
bool err_set(struct err *e, int exit_code, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));

/* As err_set(), with ": strerror(errnum)" appended. */
bool err_errno(struct err *e, int exit_code, int errnum, const char *fmt, ...)
	__attribute__((format(printf, 4, 5)));

/* Put "context: " in front of the message already in @e; returns false. */
bool err_prefix(struct err *e, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

#endif
