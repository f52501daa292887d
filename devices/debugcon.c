/* SPDX-License-Identifier: MIT */
/*
 * Debug console: bytes written to one port (0xe9 as in Bochs, 0x402 for
 * SeaBIOS) go to a character back end, or to the log by lines.  Reading gives
 * 0xe9, by which guests detect the port.
 */
#include "debugport.h"
#include "../src/chardev.h"

struct debugcon {
	struct device dev;
	uint8_t line[120];	/* for the log */
	uint8_t len;
	/* immutable after realize */
	uint16_t port;
	struct chardev *chr;
	struct io_region io;
};
DEVICE_CHECK(struct debugcon);

static const struct state_field debugcon_fields[] = {
	STATE_U8S(struct debugcon, line), STATE_U8(struct debugcon, len),
	STATE_END
};

static void debugcon_log(struct debugcon *s, uint8_t c)
{
	if (c != '\n' && c != '\r')
		s->line[s->len++] = c >= 0x20 && c < 0x7f ? c : '.';
	if (s->len == 0 || (c != '\n' && s->len < sizeof(s->line)))
		return;
	log_debug("port %#x: %.*s", s->port, s->len, (const char *)s->line);
	s->len = 0;
}

static uint64_t debugcon_read(struct device *d, uint64_t off, unsigned size)
{
	return 0xe9;
}

static void debugcon_write(struct device *d, uint64_t off, unsigned size, uint64_t val)
{
	struct debugcon *s = (struct debugcon *)d;
	uint8_t c = (uint8_t)val;

	if (s->chr)
		chardev_write(s->chr, &c, 1);
	else
		debugcon_log(s, c);
}

static const struct io_ops debugcon_io = { debugcon_read, debugcon_write, 1, 1 };

static bool debugcon_realize(struct device *d, struct err *e)
{
	struct debugcon *s = (struct debugcon *)d;

	s->io = (struct io_region){ .kind = BUS_PIO, .base = s->port, .len = 1,
		.ops = &debugcon_io, .name = "debugcon" };
	return dev_add_region(d, &s->io, e);
}

static void debugcon_reset(struct device *d)
{
	struct debugcon *s = (struct debugcon *)d;

	memset(s->line, 0, sizeof(s->line));
	s->len = 0;
}

static bool debugcon_post_load(struct device *d, struct err *e)
{
	struct debugcon *s = (struct debugcon *)d;

	if (s->len >= sizeof(s->line))
		return err_set(e, HV_EXIT_IMAGE, "debug console: line of %u bytes", s->len);
	return true;
}

void debugcon_wire(struct device *d, uint16_t port, struct chardev *chr)
{
	struct debugcon *s = (struct debugcon *)d;

	s->port = port;
	s->chr = chr;
}

const struct device_ops debugcon_ops = {
	.name = "debugcon",
	.size = sizeof(struct debugcon),
	.realize = debugcon_realize,
	.reset = debugcon_reset,
	.state = debugcon_fields,
	.state_version = 1,
	.post_load = debugcon_post_load,
};
