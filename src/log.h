/* SPDX-License-Identifier: MIT */
/*
 * Log: human lines on standard error, or in the file of --log.
 *
 * Thread-safe.  Guest-driven lines must go through dev_guest_error() or
 * log_limited(), which bound their rate.
 */
#ifndef HV_LOG_H
#define HV_LOG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum log_level { LOG_ERROR, LOG_WARN, LOG_INFO, LOG_DEBUG };

/* Send lines to @path (append) instead of stderr; false if it cannot be opened. */
bool log_open(const char *path);
/* Lines go to a new file @path, too; where that does not work, not. */
void log_copy(const char *path);
void log_set_level(enum log_level max);

/* The last lines, oldest first, whole lines, at most @len - 1 bytes.  Returns the length. */
size_t log_tail(char *buf, size_t len);

void log_line(enum log_level l, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

#define log_error(...) log_line(LOG_ERROR, __VA_ARGS__)
#define log_warn(...) log_line(LOG_WARN, __VA_ARGS__)
#define log_info(...) log_line(LOG_INFO, __VA_ARGS__)
#define log_debug(...) log_line(LOG_DEBUG, __VA_ARGS__)

/* One per call site; zero-initialised.  Allows a burst of 10, then 1 a second. */
struct log_limit {
	uint64_t window_ns;
	uint32_t used, dropped;
};

/* True if the line may be printed now; says once a window how many were dropped. */
bool log_allowed(struct log_limit *lim);

#define log_limited(level, ...) \
	do { \
		static struct log_limit lim_; \
		if (log_allowed(&lim_)) \
			log_line(level, __VA_ARGS__); \
	} while (0)

#endif
