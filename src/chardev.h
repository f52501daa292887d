/* SPDX-License-Identifier: MIT */
/*
 * The character seam: bytes between a serial port (or console) and a back
 * end (stdio, file, UNIX socket, expect engine, null).
 *
 * Locking: both directions under dev_lock.  A back end never blocks: output
 * that cannot be written now is buffered up to a bound, then dropped oldest
 * first with one log line.
 */
#ifndef HV_CHARDEV_H
#define HV_CHARDEV_H

#include "err.h"
#include "util.h"

struct loop;
struct chardev;

/* Device side. */
struct char_sink {
	size_t (*can_receive)(void *dev);	/* bytes the device takes now */
	void (*receive)(void *dev, const uint8_t *buf, size_t len);
	/* Optional: there is room again; somebody came or went at the other end. */
	void (*writable)(void *dev);
	void (*opened)(void *dev, bool open);
	void *dev;
};

/* Tap for the expect engine and the log: sees every byte the guest writes. */
struct char_tap {
	void (*output)(void *opaque, const uint8_t *buf, size_t len);
	void *opaque;
	struct char_tap *next;
};

/*
 * @spec: "stdio", "null", "file:PATH" (made anew), "unix:PATH" (listening socket, one client
 * at a time).  @loop NULL: output only, written at once (tests).  NULL + @e.
 */
struct chardev *chardev_open(const char *spec, struct loop *loop, struct err *e);
/* After devices_free(): writes what can go out now, puts a terminal back.  NULL: nothing. */
void chardev_close(struct chardev *c);
/* The device's side, copied; one at a time.  @c NULL is a port to nowhere, here and below. */
void chardev_attach(struct chardev *c, const struct char_sink *s);
/* Guest wrote bytes. */
void chardev_write(struct chardev *c, const uint8_t *buf, size_t len);
/* Bytes that can be written now without loss, and whether anybody is there to read them. */
size_t chardev_room(const struct chardev *c);
bool chardev_connected(const struct chardev *c);
/* The device can take input again. */
void chardev_accept_input(struct chardev *c);
/* @t is the caller's, and stays until chardev_close(); @c not NULL. */
void chardev_add_tap(struct chardev *c, struct char_tap *t);
/*
 * Host-side input as if typed (expect/send, tests); queued until the device takes it, the
 * oldest bytes beyond 1 MiB are dropped.
 */
void chardev_inject(struct chardev *c, const uint8_t *buf, size_t len);
/* Flush buffered output as far as it goes now (exit path); @c not NULL. */
void chardev_flush(struct chardev *c);

#endif
