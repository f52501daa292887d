/* SPDX-License-Identifier: MIT */
/*
 * PS/2 mouse: standard, IntelliMouse (wheel) and IntelliMouse Explorer (five
 * buttons).
 *
 * After: IBM PS/2 Hardware Interface Technical Reference, "Auxiliary Device
 * Commands"; the wheel protocols as in Microsoft's "Scroll Wheel and Fifth
 * Button" hardware notes: sample rates 200, 100, 80 select ID 3 and then
 * 200, 200, 80 ID 4.
 *
 * A report is made when the last one has been read, so motion merges while
 * the guest is slow; the sample rate only reads back.  Resolution and 2:1
 * scaling are kept without effect: the viewer's acceleration applies.
 */
#include "ps2.h"

#define OUT_CAP 16u

enum {
	MOUSE_ACK = 0xfa, MOUSE_NAK = 0xfe, MOUSE_BAT_OK = 0xaa,
	CMD_SCALE1 = 0xe6, CMD_SCALE2 = 0xe7, CMD_RESOLUTION = 0xe8, CMD_STATUS = 0xe9,
	CMD_STREAM = 0xea, CMD_POLL = 0xeb, CMD_UNWRAP = 0xec, CMD_WRAP = 0xee, CMD_REMOTE = 0xf0,
	CMD_ID = 0xf2, CMD_RATE = 0xf3, CMD_ENABLE = 0xf4, CMD_DISABLE = 0xf5, CMD_DEFAULT = 0xf6,
	CMD_RESEND = 0xfe, CMD_RESET = 0xff,
};

const struct state_field ps2mouse_fields[] = {
	FIFO_STATE(struct ps2mouse, out), STATE_U8(struct ps2mouse, id),
	STATE_U8(struct ps2mouse, rate), STATE_U8(struct ps2mouse, resolution),
	STATE_U8(struct ps2mouse, cmd), STATE_U8(struct ps2mouse, knock),
	STATE_U8(struct ps2mouse, buttons), STATE_U8(struct ps2mouse, sent_buttons),
	STATE_U8(struct ps2mouse, last), STATE_BOOL(struct ps2mouse, reporting),
	STATE_BOOL(struct ps2mouse, remote), STATE_BOOL(struct ps2mouse, wrap),
	STATE_BOOL(struct ps2mouse, scaling2), STATE_U32(struct ps2mouse, dx),
	STATE_U32(struct ps2mouse, dy), STATE_U32(struct ps2mouse, dz),
	STATE_END
};

static int take(uint32_t *sum, int lo, int hi)
{
	int v = (int)*sum;

	v = v < lo ? lo : v > hi ? hi : v;
	*sum -= (uint32_t)v;
	return v;
}

/* One movement report; what does not fit stays for the next. */
static void put_report(struct ps2mouse *m)
{
	int dx = take(&m->dx, -255, 255), dy = take(&m->dy, -255, 255);
	int dz = m->id ? take(&m->dz, -8, 7) : 0;

	if (!m->id)
		m->dz = 0;
	fifo_push(&m->out, (uint8_t)(0x08 | (m->buttons & 7) | (dx < 0 ? 0x10 : 0) |
				     (dy < 0 ? 0x20 : 0)));
	fifo_push(&m->out, (uint8_t)dx);
	fifo_push(&m->out, (uint8_t)dy);
	if (m->id == 3)
		fifo_push(&m->out, (uint8_t)dz);
	else if (m->id == 4)
		fifo_push(&m->out, (uint8_t)((dz & 0xf) | (m->buttons & 0x18) << 1));
	m->sent_buttons = m->buttons;
}

static bool news(const struct ps2mouse *m)
{
	return m->dx || m->dy || (m->id && m->dz) || m->buttons != m->sent_buttons;
}

static void stream(struct ps2mouse *m)
{
	if (m->reporting && !m->remote && !m->wrap && news(m) && fifo_empty(&m->out))
		put_report(m);
}

void ps2mouse_announce(struct ps2mouse *m)
{
	if (!m->reporting || m->remote || m->wrap || !fifo_empty(&m->out))
		return;
	put_report(m);
	m->host.ready(m->host.opaque);
}

static uint32_t add_clamped(uint32_t sum, int d)
{
	int v = (int)sum + MAX(-4096, MIN(4096, d));

	return (uint32_t)MAX(-8192, MIN(8192, v));
}

static void mouse_rel(void *dev, int dx, int dy, int dz, unsigned buttons)
{
	struct ps2mouse *m = dev;

	m->buttons = buttons & 0x1f;
	if (!m->reporting && !m->remote)
		return;
	m->dx = add_clamped(m->dx, dx);
	m->dy = add_clamped(m->dy, dy > -4096 ? -dy : 4096);
	m->dz = add_clamped(m->dz, dz > -4096 ? -dz : 4096);
	stream(m);
	m->host.ready(m->host.opaque);
}

const struct input_ops ps2mouse_input = { .rel = mouse_rel };

/* ---- commands ---- */

static void mouse_defaults(struct ps2mouse *m)
{
	m->rate = 100;
	m->resolution = 2;
	m->reporting = m->remote = m->wrap = m->scaling2 = false;
	m->cmd = m->knock = 0;
	m->dx = m->dy = m->dz = 0;
	fifo_clear(&m->out);
}

static void answer(struct ps2mouse *m, uint8_t v)
{
	fifo_push(&m->out, v);
}

/* knock: 1 = 200 came; 2 = 200, 100; 3 = 200, 200. */
static void mouse_set_rate(struct ps2mouse *m, uint8_t rate)
{
	uint8_t was = m->knock;

	m->rate = rate;
	m->knock = 0;
	if (rate == 200)
		m->knock = was == 1 || was == 3 ? 3 : 1;
	else if (rate == 100 && (was == 1 || was == 3))
		m->knock = 2;
	else if (rate == 80 && was == 2 && m->id == 0)
		m->id = 3;
	else if (rate == 80 && was == 3 && m->id)
		m->id = 4;
}

static void mouse_parameter(struct ps2mouse *m, uint8_t v)
{
	if (m->cmd == CMD_RATE)
		mouse_set_rate(m, v);
	else
		m->resolution = v & 3;
	m->cmd = 0;
	answer(m, MOUSE_ACK);
}

static void mouse_status(struct ps2mouse *m)
{
	uint8_t b = m->buttons;

	answer(m, (uint8_t)((b & 1) << 2 | (b & 2) >> 1 | (b & 4) >> 1 | m->scaling2 << 4 |
			    m->reporting << 5 | m->remote << 6));
	answer(m, m->resolution);
	answer(m, m->rate);
}

static void mouse_reset_command(struct ps2mouse *m)
{
	mouse_defaults(m);
	m->id = 0;
	answer(m, MOUSE_ACK);
	answer(m, MOUSE_BAT_OK);
	answer(m, 0);
}

/* false: unknown */
static bool mouse_mode(struct ps2mouse *m, uint8_t v)
{
	switch (v) {
	case CMD_SCALE1:
	case CMD_SCALE2: m->scaling2 = v == CMD_SCALE2; return true;
	case CMD_STREAM: m->remote = false; return true;
	case CMD_REMOTE: m->remote = true; return true;
	case CMD_WRAP: m->wrap = true; return true;
	case CMD_UNWRAP: m->wrap = false; return true;
	case CMD_ENABLE:
	case CMD_DISABLE: m->reporting = v == CMD_ENABLE; return true;
	case CMD_DEFAULT: mouse_defaults(m); return true;
	case CMD_RATE:
	case CMD_RESOLUTION: m->cmd = v; return true;
	default: return false;
	}
}

static void mouse_command(struct ps2mouse *m, uint8_t v)
{
	switch (v) {
	case CMD_RESET:
		mouse_reset_command(m);
		return;
	case CMD_RESEND:
		answer(m, m->last);
		return;
	case CMD_STATUS:
		answer(m, MOUSE_ACK);
		mouse_status(m);
		return;
	case CMD_ID:
		answer(m, MOUSE_ACK);
		answer(m, m->id);
		return;
	case CMD_POLL:
		answer(m, MOUSE_ACK);
		put_report(m);
		return;
	default:
		answer(m, mouse_mode(m, v) ? MOUSE_ACK : MOUSE_NAK);
	}
}

void ps2mouse_write(struct ps2mouse *m, uint8_t v)
{
	fifo_clear(&m->out);	/* a command cancels what was under way */
	if (m->wrap && v != CMD_RESET && v != CMD_UNWRAP)
		answer(m, v);
	else if (m->cmd)
		mouse_parameter(m, v);
	else
		mouse_command(m, v);
	m->host.ready(m->host.opaque);
}

bool ps2mouse_read(struct ps2mouse *m, uint8_t *v)
{
	if (fifo_empty(&m->out))
		stream(m);
	if (!fifo_pop(&m->out, v))
		return false;
	if (*v != MOUSE_NAK)
		m->last = *v;
	return true;
}

void ps2mouse_reset(struct ps2mouse *m)
{
	fifo_init(&m->out, OUT_CAP);
	mouse_defaults(m);
	m->id = m->buttons = m->sent_buttons = m->last = 0;
}

bool ps2mouse_valid(const struct ps2mouse *m)
{
	return fifo_valid(&m->out) && m->out.cap == OUT_CAP &&
	       (m->id == 0 || m->id == 3 || m->id == 4);
}
