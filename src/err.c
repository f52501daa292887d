/* SPDX-License-Identifier: MIT */
/* Host and set-up errors; see err.h. */
#include "err.h"
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

static void err_fill(struct err *e, int exit_code, const char *fmt, va_list ap)
{
	e->exit_code = exit_code;
	vsnprintf(e->msg, sizeof(e->msg), fmt, ap);
	for (char *p = e->msg; *p; p++)	/* one line, whatever a file name contained */
		if ((unsigned char)*p < ' ')
			*p = '?';
}

bool err_set(struct err *e, int exit_code, const char *fmt, ...)
{
	va_list ap;

	if (!e)
		return false;
	va_start(ap, fmt);
	err_fill(e, exit_code, fmt, ap);
	va_end(ap);
	return false;
}

bool err_errno(struct err *e, int exit_code, int errnum, const char *fmt, ...)
{
	va_list ap;
	size_t n;

	if (!e)
		return false;
	va_start(ap, fmt);
	err_fill(e, exit_code, fmt, ap);
	va_end(ap);
	n = strlen(e->msg);
	snprintf(e->msg + n, sizeof(e->msg) - n, ": %s", strerror(errnum));
	return false;
}

bool err_prefix(struct err *e, const char *fmt, ...)
{
	char old[sizeof(e->msg)];
	va_list ap;
	size_t n;

	if (!e)
		return false;
	memcpy(old, e->msg, sizeof(old));
	va_start(ap, fmt);
	err_fill(e, e->exit_code, fmt, ap);
	va_end(ap);
	n = strlen(e->msg);
	snprintf(e->msg + n, sizeof(e->msg) - n, ": %.*s", (int)(sizeof(old) - 1), old);
	return false;
}
