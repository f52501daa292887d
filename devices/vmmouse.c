/* SPDX-License-Identifier: MIT */
/*
 * VMware's absolute mouse, for guests that have a driver for it and none for
 * a tablet: commands by a 32-bit IN from port 5658h with arguments and answers
 * in the CPU's registers (EAX "VMXh", ECX the command, EBX its argument; as
 * told by the register tables of open-vm-tools, backdoor_def.h, and VMware's
 * vmmouse driver, vmmouse_proto.h).
 *
 * Events wait in a queue of words, four an event.  A PS/2 report without
 * motion tells the driver, which sits on the PS/2 mouse, to look there.
 *
 * Left out: all other commands of that port.
 */
#include "vmmouse.h"
#include "i8042.h"
#include "../src/input.h"
#include "../src/vm.h"

#define PORT 0x5658
#define MAGIC 0x564d5868u
#define CMD_VERSION 10
#define CMD_DATA 39
#define CMD_STATUS 40
#define CMD_COMMAND 41
#define CMD_RESTRICT 86

#define POINTER_ENABLE 0x45414552u
#define POINTER_DISABLE 0x000000f5u
#define POINTER_RELATIVE 0x4c455252u
#define POINTER_ABSOLUTE 0x53424152u
#define POINTER_VERSION 0x3442554au
#define STATUS_OFF 0xffff0000u

#define EVENT_WORDS 4u
#define QUEUE 256u			/* words */

enum { EAX, EBX, ECX, EDX, ESI, EDI };

struct vmmouse {
	struct device dev;
	struct device *kbc;
	uint32_t queue[QUEUE];
	uint16_t head, count;
	bool enabled, absolute;
};
DEVICE_CHECK(struct vmmouse);

static const struct state_field vmmouse_fields[] = {
	STATE_U32S(struct vmmouse, queue), STATE_U16(struct vmmouse, head),
	STATE_U16(struct vmmouse, count), STATE_BOOL(struct vmmouse, enabled),
	STATE_BOOL(struct vmmouse, absolute),
	STATE_END
};

/* ---- the queue ---- */

static uint32_t *word(struct vmmouse *s, unsigned n)
{
	return &s->queue[(s->head + n) % QUEUE];
}

static void push(struct vmmouse *s, uint32_t v)
{
	if (s->count < QUEUE)
		*word(s, s->count++) = v;
}

static uint32_t pop(struct vmmouse *s)
{
	uint32_t v = *word(s, 0);

	s->head = (s->head + 1) % QUEUE;
	s->count--;
	return v;
}

static uint32_t buttons_of(unsigned b)
{
	return (b & MOUSE_LEFT ? 0x20 : 0) | (b & MOUSE_RIGHT ? 0x10 : 0) |
	       (b & MOUSE_MIDDLE ? 0x08 : 0);
}

/* Motion of a slow guest merges; a full queue keeps the newest event. */
static void pointer(void *dev, unsigned x, unsigned y, int dz, unsigned buttons)
{
	struct vmmouse *s = dev;
	const uint32_t event[EVENT_WORDS] = {
		buttons_of(buttons), x << 1 | x >> 14, y << 1 | y >> 14,
		(uint32_t)MAX(-127, MIN(127, -dz)) & 0xff,
	};
	bool last = s->count >= EVENT_WORDS && s->count % EVENT_WORDS == 0;
	uint32_t *flags = last ? word(s, s->count - EVENT_WORDS) : NULL;

	if (last && (s->count + EVENT_WORDS > QUEUE ||
		     (*flags == event[0] && !event[3] && !*word(s, s->count - 1))))
		s->count -= EVENT_WORDS;
	for (unsigned i = 0; i < EVENT_WORDS; i++)
		push(s, event[i]);
	i8042_announce_mouse(s->kbc);
}

static bool active(void *dev)
{
	const struct vmmouse *s = dev;

	return s->enabled && s->absolute;
}

static const struct input_ops vmmouse_input = { .abs = pointer, .active = active };

/* ---- commands ---- */

static void pointer_command(struct vmmouse *s, uint32_t command)
{
	switch (command) {
	case POINTER_ENABLE:
		s->enabled = true;
		s->head = s->count = 0;
		push(s, POINTER_VERSION);
		break;
	case POINTER_DISABLE:
		s->enabled = s->absolute = false;
		s->head = s->count = 0;
		break;
	case POINTER_RELATIVE:
	case POINTER_ABSOLUTE:
		s->absolute = command == POINTER_ABSOLUTE;
		break;
	default:
		dev_guest_error(&s->dev, "unknown pointer command %#x", command);
	}
}

static void pointer_data(struct vmmouse *s, uint32_t r[6])
{
	static const uint8_t order[6] = { EAX, EBX, ECX, EDX, ESI, EDI };
	uint32_t n = r[EBX];

	if (n > ARRAY_SIZE(order) || n > s->count) {
		dev_guest_error(&s->dev, "%u words wanted, %u there", n, s->count);
		s->enabled = s->absolute = false;	/* the driver starts anew */
		r[EAX] = UINT32_MAX;
		return;
	}
	for (uint32_t i = 0; i < n; i++)
		r[order[i]] = pop(s);
}

static bool regs_in(void *opaque, uint32_t r[6])
{
	struct vmmouse *s = opaque;

	if (r[EAX] != MAGIC)
		return false;
	switch (r[ECX] & 0xffff) {
	case CMD_VERSION:
		r[EAX] = 6;
		r[EBX] = MAGIC;
		r[ECX] = 4;			/* Workstation */
		break;
	case CMD_STATUS:
		r[EAX] = s->enabled ? s->count : STATUS_OFF;
		break;
	case CMD_DATA:
		pointer_data(s, r);
		break;
	case CMD_COMMAND:
		pointer_command(s, r[EBX]);
		r[EAX] = 0;
		break;
	case CMD_RESTRICT:
		r[EAX] = 0;
		break;
	default:
		r[EAX] = r[EBX] = UINT32_MAX;
	}
	return true;
}

/* ---- life ---- */

static bool vmmouse_realize(struct device *d, struct err *e)
{
	struct vmmouse *s = (struct vmmouse *)d;

	d->vm->regport = (struct vm_regport){ .port = PORT, .in = regs_in, .opaque = s };
	if (d->vm->input)
		input_add(d->vm->input, &vmmouse_input, s);
	return true;
}

static void vmmouse_reset(struct device *d)
{
	struct vmmouse *s = (struct vmmouse *)d;

	memset(s->queue, 0, sizeof(s->queue));
	s->head = s->count = 0;
	s->enabled = s->absolute = false;
}

static bool vmmouse_post_load(struct device *d, struct err *e)
{
	struct vmmouse *s = (struct vmmouse *)d;

	s->head %= QUEUE;
	s->count = MIN(s->count, QUEUE);
	return true;
}

void vmmouse_wire(struct device *d, struct device *kbc)
{
	((struct vmmouse *)d)->kbc = kbc;
}

const struct device_ops vmmouse_ops = {
	.name = "vmmouse",
	.size = sizeof(struct vmmouse),
	.realize = vmmouse_realize,
	.reset = vmmouse_reset,
	.state = vmmouse_fields,
	.state_version = 1,
	.post_load = vmmouse_post_load,
};
