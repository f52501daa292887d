/* SPDX-License-Identifier: MIT */
/*
 * Key and pointer events on their way from a viewer to the devices; see
 * input.h.  The device that was added last gets an event that it can take now.
 */
#include "input.h"
#include <stdlib.h>

#define INPUT_MAX_DEVS 8
#define INPUT_KEYS 256

struct input {
	struct {
		const struct input_ops *ops;
		void *dev;
	} devs[INPUT_MAX_DEVS];
	unsigned n;
	uint64_t down[INPUT_KEYS / 64];
	uint8_t owner[INPUT_KEYS];	/* device + 1 that got the key-down */
	unsigned buttons, leds;
	unsigned x, y;		/* last absolute position */
};

struct input *input_new(void)
{
	return hv_zalloc(sizeof(struct input));
}

void input_free(struct input *in)
{
	free(in);
}

void input_add(struct input *in, const struct input_ops *ops, void *dev)
{
	HV_BUG_ON(in->n == INPUT_MAX_DEVS);
	in->devs[in->n].ops = ops;
	in->devs[in->n++].dev = dev;
}

static bool active(const struct input *in, unsigned i)
{
	return !in->devs[i].ops->active || in->devs[i].ops->active(in->devs[i].dev);
}

void input_key(struct input *in, uint16_t hid, bool down)
{
	uint64_t bit = 1ull << (hid & 63);
	uint64_t *word;

	if (hid >= INPUT_KEYS)
		return;
	word = &in->down[hid / 64];
	if (!down && !(*word & bit))
		return;		/* released while another window had the keyboard */
	*word = down ? *word | bit : *word & ~bit;
	if (!down && in->owner[hid]) {	/* a driver may have come meanwhile */
		unsigned i = in->owner[hid] - 1u;

		in->owner[hid] = 0;
		in->devs[i].ops->key(in->devs[i].dev, hid, false);
		return;
	}
	for (unsigned i = in->n; i-- > 0;) {
		if (!in->devs[i].ops->key || !active(in, i))
			continue;
		in->owner[hid] = down ? (uint8_t)(i + 1) : 0;
		in->devs[i].ops->key(in->devs[i].dev, hid, down);
		return;
	}
}

void input_rel(struct input *in, int dx, int dy, int dz, unsigned buttons)
{
	in->buttons = buttons;
	for (unsigned i = in->n; i-- > 0;) {
		if (!in->devs[i].ops->rel || !active(in, i))
			continue;
		in->devs[i].ops->rel(in->devs[i].dev, dx, dy, dz, buttons);
		return;
	}
}

void input_abs(struct input *in, unsigned x, unsigned y, int dz, unsigned buttons)
{
	in->buttons = buttons;
	in->x = MIN(x, 32767u);
	in->y = MIN(y, 32767u);
	for (unsigned i = in->n; i-- > 0;) {
		if (!in->devs[i].ops->abs || !active(in, i))
			continue;
		in->devs[i].ops->abs(in->devs[i].dev, in->x, in->y, dz, buttons);
		return;
	}
}

bool input_has_abs(const struct input *in)
{
	for (unsigned i = 0; i < in->n; i++)
		if (in->devs[i].ops->abs && active(in, i))
			return true;
	return false;
}

void input_release_all(struct input *in)
{
	for (unsigned hid = 0; hid < INPUT_KEYS; hid++)
		if (in->down[hid / 64] >> (hid & 63) & 1)
			input_key(in, (uint16_t)hid, false);
	if (!in->buttons)
		return;
	if (input_has_abs(in))
		input_abs(in, in->x, in->y, 0, 0);
	else
		input_rel(in, 0, 0, 0, 0);
}

void input_set_leds(struct input *in, unsigned leds)
{
	in->leds = leds & 7;
}

unsigned input_leds(const struct input *in)
{
	return in->leds;
}
