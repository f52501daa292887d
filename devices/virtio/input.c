/* SPDX-License-Identifier: MIT */
/*
 * Virtio input devices (VIRTIO 1.2, 5.8): a keyboard with LEDs, and a tablet
 * (absolute pointer, wheel, five buttons).  Event codes are Linux's.
 *
 * They take input from the user only while a driver runs; before that the
 * PS/2 devices have it.  Events wait in a ring while the guest has no buffer;
 * when it is full, a packet is dropped as a whole, except that the tablet's
 * next packet carries its complete state anyway.
 */
#include "../../src/input.h"
#include "input_int.h"
#include "virtio.h"
#include <linux/input-event-codes.h>

#define Q_EVENT 0
#define Q_STATUS 1
#define EVENT_LEN 8u
#define PENDING 256u		/* power of two */
#define CONFIG_LEN 136u
#define ABS_MAX_VALUE 32767u

enum { CFG_UNSET, CFG_NAME, CFG_SERIAL, CFG_IDS, CFG_PROP = 0x10, CFG_EV_BITS, CFG_ABS_INFO };

struct in_event {
	uint16_t type, code;
	uint32_t value;
};

struct virtio_input {
	struct virtio_dev v;	/* must stay first */
	const struct input_kind *kind;
	uint8_t select, subsel;
	struct in_event ring[PENDING];
	uint32_t head, count;
	uint32_t buttons;	/* of the tablet, as sent */
	uint32_t leds;
	struct virtq_elem elem;
};
VIRTIO_CHECK(struct virtio_input, v);

/* One of the two devices. */
struct input_kind {
	const char *name;
	uint16_t product;
	/* Bits of event type @type into @bits; returns bytes used. */
	unsigned (*bits)(unsigned type, uint8_t *bits);
	struct input_ops ops;
};

static const struct state_field in_event_fields[] = {
	STATE_U16(struct in_event, type), STATE_U16(struct in_event, code),
	STATE_U32(struct in_event, value), STATE_END
};

static const struct state_field input_state[] = {
	VIRTIO_STATE(struct virtio_input, v),
	STATE_U8(struct virtio_input, select),
	STATE_U8(struct virtio_input, subsel),
	STATE_STRUCTS(struct virtio_input, ring, in_event_fields),
	STATE_U32(struct virtio_input, head),
	STATE_U32(struct virtio_input, count),
	STATE_U32(struct virtio_input, buttons),
	STATE_U32(struct virtio_input, leds),
	STATE_END
};

static struct virtio_input *input_of(struct virtio_dev *v)
{
	return container_of(v, struct virtio_input, v);
}

/* ---- events ----------------------------------------------------------------- */
static void deliver(struct virtio_input *in)
{
	struct virtq *q = &in->v.vq[Q_EVENT];
	unsigned n = 0;

	while (in->count && n++ < VIRTIO_KICK_BUDGET && virtio_active(&in->v, Q_EVENT) &&
	       virtq_pop(q, &in->elem)) {
		const struct in_event *e = &in->ring[in->head];
		uint8_t raw[EVENT_LEN];

		st_le16(raw, e->type);
		st_le16(raw + 2, e->code);
		st_le32(raw + 4, e->value);
		virtq_push(q, in->elem.head,
			   virtq_write(q, &in->elem, 0, raw, EVENT_LEN) ? EVENT_LEN : 0);
		in->head = (in->head + 1) & (PENDING - 1);
		in->count--;
	}
	if (n)
		virtio_flush(&in->v, Q_EVENT);
	if (n > VIRTIO_KICK_BUDGET)
		virtio_requeue(&in->v, Q_EVENT);
}

/* A packet of @n events, closed by SYN_REPORT. */
static void send(struct virtio_input *in, const struct in_event *e, unsigned n)
{
	static const struct in_event syn = { EV_SYN, SYN_REPORT, 0 };

	if (!n || in->count + n + 1 > PENDING)
		return;
	for (unsigned i = 0; i <= n; i++)
		in->ring[(in->head + in->count++) & (PENDING - 1)] = i < n ? e[i] : syn;
	deliver(in);
}

static bool driver_runs(void *dev)
{
	return virtio_active(&((struct virtio_input *)dev)->v, Q_EVENT);
}

static void send_key(void *dev, uint16_t hid, bool down)
{
	struct in_event e = { EV_KEY, virtio_input_keycode(hid), down };

	if (e.code)
		send(dev, &e, 1);
}

static void send_abs(void *dev, unsigned x, unsigned y, int dz, unsigned buttons)
{
	static const uint16_t codes[] = { BTN_LEFT, BTN_RIGHT, BTN_MIDDLE, BTN_SIDE, BTN_EXTRA };
	struct virtio_input *in = dev;
	struct in_event e[8] = { { EV_ABS, ABS_X, x }, { EV_ABS, ABS_Y, y } };
	unsigned n = 2;

	if (in->count + ARRAY_SIZE(e) + 1 > PENDING)
		return;		/* the guest does not listen: the next one tells all */
	for (unsigned i = 0; i < ARRAY_SIZE(codes); i++)
		if ((buttons ^ in->buttons) >> i & 1)
			e[n++] = (struct in_event){ EV_KEY, codes[i], buttons >> i & 1 };
	if (dz)
		e[n++] = (struct in_event){ EV_REL, REL_WHEEL, (uint32_t)dz };
	in->buttons = buttons & 31;
	send(in, e, n);
}

/* 5.8.6.2: the driver's events set LEDs. */
static void read_status(struct virtio_input *in)
{
	struct virtq *q = &in->v.vq[Q_STATUS];
	unsigned n = 0;

	while (n++ < VIRTIO_KICK_BUDGET && virtq_pop(q, &in->elem)) {
		uint8_t raw[EVENT_LEN];

		if (virtq_read(q, &in->elem, 0, raw, EVENT_LEN) && ld_le16(raw) == EV_LED &&
		    ld_le16(raw + 2) < 3) {
			uint32_t bit = 1u << ld_le16(raw + 2);

			in->leds = ld_le32(raw + 4) ? in->leds | bit : in->leds & ~bit;
			input_set_leds(in->v.pci.dev.vm->input, in->leds);
		}
		virtq_push(q, in->elem.head, 0);
	}
	virtio_flush(&in->v, Q_STATUS);
	if (n > VIRTIO_KICK_BUDGET)
		virtio_requeue(&in->v, Q_STATUS);
}

static void input_kick(struct virtio_dev *v, unsigned q)
{
	if (q == Q_EVENT)
		deliver(input_of(v));
	else
		read_status(input_of(v));
}

/* ---- configuration (5.8.4) ---------------------------------------------------- */
static void set_bit(uint8_t *bits, unsigned n, unsigned *used)
{
	bits[n / 8] |= (uint8_t)(1u << (n & 7));
	*used = MAX(*used, n / 8 + 1);
}

static unsigned keyboard_bits(unsigned type, uint8_t *bits)
{
	unsigned used = 0;

	if (type == EV_KEY)
		for (unsigned hid = 0; hid < 256; hid++)
			if (virtio_input_keycode((uint16_t)hid))
				set_bit(bits, virtio_input_keycode((uint16_t)hid), &used);
	for (unsigned led = 0; type == EV_LED && led < 3; led++)
		set_bit(bits, led, &used);
	if (type == EV_REP)
		used = 1;
	return used;
}

static unsigned tablet_bits(unsigned type, uint8_t *bits)
{
	unsigned used = 0;

	for (unsigned b = BTN_LEFT; type == EV_KEY && b <= BTN_EXTRA; b++)
		set_bit(bits, b, &used);
	if (type == EV_REL)
		set_bit(bits, REL_WHEEL, &used);
	if (type == EV_ABS) {
		set_bit(bits, ABS_X, &used);
		set_bit(bits, ABS_Y, &used);
	}
	return used;
}

static unsigned put_ids(const struct virtio_input *in, uint8_t *u)
{
	st_le16(u, 6);			/* BUS_VIRTUAL */
	st_le16(u + 2, 0x1af4);
	st_le16(u + 4, in->kind->product);
	st_le16(u + 6, 1);
	return 8;
}

static unsigned fill(const struct virtio_input *in, uint8_t *u)
{
	switch (in->select) {
	case CFG_NAME:
		memcpy(u, in->kind->name, strlen(in->kind->name));
		return (unsigned)strlen(in->kind->name);
	case CFG_IDS:
		return put_ids(in, u);
	case CFG_EV_BITS:
		return in->kind->bits(in->subsel, u);
	case CFG_ABS_INFO:
		if (!in->kind->ops.abs || in->subsel > ABS_Y)
			return 0;
		st_le32(u + 4, ABS_MAX_VALUE);
		return 20;
	default:
		return 0;
	}
}

static void input_get_config(const struct virtio_dev *v, uint8_t *cfg)
{
	const struct virtio_input *in = container_of(v, const struct virtio_input, v);

	cfg[0] = in->select;
	cfg[1] = in->subsel;
	cfg[2] = (uint8_t)fill(in, cfg + 8);
}

static void input_set_config(struct virtio_dev *v, const uint8_t *cfg, unsigned off, unsigned len)
{
	struct virtio_input *in = input_of(v);

	if (off < 2) {
		in->select = cfg[0];
		in->subsel = cfg[1];
	}
}

static uint64_t input_features(const struct virtio_dev *v)
{
	return 0;
}

static void input_quiesce(struct virtio_dev *v)
{
	struct virtio_input *in = input_of(v);

	in->select = in->subsel = 0;
	memset(in->ring, 0, sizeof(in->ring));
	in->head = in->count = in->buttons = in->leds = 0;
}

/* ---- life ------------------------------------------------------------------------ */
static const struct virtio_class input_class = {
	.type = VIRTIO_ID_INPUT,
	.class_code = 0x0980,
	.config_len = CONFIG_LEN,
	.features = input_features,
	.get_config = input_get_config,
	.set_config = input_set_config,
	.kick = input_kick,
	.reset = input_quiesce,
};

static const struct input_kind keyboard = {
	.name = "hvrun Keyboard", .product = 1, .bits = keyboard_bits,
	.ops = { .key = send_key, .active = driver_runs },
}, tablet = {
	.name = "hvrun Tablet", .product = 2, .bits = tablet_bits,
	.ops = { .abs = send_abs, .active = driver_runs },
};

static bool realize(struct device *d, const struct input_kind *kind, struct err *e)
{
	struct virtio_input *in = input_of(virtio_of(d));

	in->kind = kind;
	in->v.disable_legacy = true;
	if (d->vm->input)
		input_add(d->vm->input, &kind->ops, in);
	return virtio_realize(&in->v, &input_class, 2, 64, e);
}

static bool keyboard_realize(struct device *d, struct err *e)
{
	return realize(d, &keyboard, e);
}

static bool tablet_realize(struct device *d, struct err *e)
{
	return realize(d, &tablet, e);
}

static void input_unrealize(struct device *d)
{
	virtio_unrealize(virtio_of(d));
}

static bool input_post_load(struct device *d, struct err *e)
{
	struct virtio_input *in = input_of(virtio_of(d));

	in->head &= PENDING - 1;
	in->count = MIN(in->count, PENDING);
	in->buttons &= 31;
	in->leds &= 7;
	return virtio_post_load(&in->v, e);
}

#define INPUT_OPS(id, realize_fn) \
	{ .name = id, .size = sizeof(struct virtio_input), .realize = realize_fn, \
	  .reset = virtio_reset, .unrealize = input_unrealize, .state = input_state, \
	  .state_version = 1, .post_load = input_post_load }

const struct device_ops virtio_keyboard_ops = INPUT_OPS("virtio-keyboard", keyboard_realize),
			virtio_tablet_ops = INPUT_OPS("virtio-tablet", tablet_realize);
