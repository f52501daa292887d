/* SPDX-License-Identifier: MIT */
/*
 * Virtual machine generation ID (Microsoft, "Virtual Machine Generation ID",
 * 2012): 16 bytes that are another value in every copy of a machine.  Guests
 * reseed their random numbers when they change.
 *
 * The ID lies in a page of its own that the guest can only read; ACPI names
 * the address and forwards the notification.  A machine loaded from a saved
 * state has the ID of the process that loads it: when it is another than the
 * saved one the guest is told as soon as it runs, since its memory comes back
 * in no fixed order with the devices.
 */
#include "vmgenid.h"

struct vmgenid {
	struct device dev;
	uint8_t mine[16];		/* of this process */
	struct irq_line gpe;
	struct gm_block *page;
	/* state */
	uint8_t guid[16];		/* what the guest knows */
	struct vtimer notify;
};
DEVICE_CHECK(struct vmgenid);

static const struct state_field vmgenid_fields[] = {
	STATE_U8S(struct vmgenid, guid), STATE_TIMER(struct vmgenid, notify),
	STATE_END
};

static void publish(struct vmgenid *s)
{
	memcpy(s->guid, s->mine, sizeof(s->guid));
	HV_BUG_ON(!gm_block_write(s->page, 0, s->guid, sizeof(s->guid)));
}

static void notify_guest(void *opaque)
{
	struct vmgenid *s = opaque;

	publish(s);
	irq_pulse(&s->gpe);
}

void vmgenid_change(struct device *d, const uint8_t guid[16])
{
	struct vmgenid *s = (struct vmgenid *)d;

	memcpy(s->mine, guid, sizeof(s->mine));
	notify_guest(s);
}

static bool vmgenid_realize(struct device *d, struct err *e)
{
	struct vmgenid *s = (struct vmgenid *)d;

	vtimer_init(&s->notify, dev_clock(d), notify_guest, s);
	s->page = gm_block_new(dev_mem(d), "vmgenid", GM_PAGE, e);
	return s->page && gm_slot_add(dev_mem(d), GPA(VMGENID_ADDR), GM_PAGE, s->page, 0,
				      GM_READONLY, e);
}

static void vmgenid_reset(struct device *d)
{
	struct vmgenid *s = (struct vmgenid *)d;

	vtimer_cancel(&s->notify);
	publish(s);
}

static void vmgenid_unrealize(struct device *d)
{
	vtimer_cancel(&((struct vmgenid *)d)->notify);
}

static bool vmgenid_post_load(struct device *d, struct err *e)
{
	struct vmgenid *s = (struct vmgenid *)d;

	if (memcmp(s->guid, s->mine, sizeof(s->guid)))
		vtimer_arm(&s->notify, vclock_now(dev_clock(d)));
	return true;
}

void vmgenid_wire(struct device *d, const uint8_t guid[16], struct irq_line gpe)
{
	struct vmgenid *s = (struct vmgenid *)d;

	memcpy(s->mine, guid, sizeof(s->mine));
	s->gpe = gpe;
}

const struct device_ops vmgenid_ops = {
	.name = "vmgenid",
	.size = sizeof(struct vmgenid),
	.realize = vmgenid_realize,
	.reset = vmgenid_reset,
	.unrealize = vmgenid_unrealize,
	.state = vmgenid_fields,
	.state_version = 1,
	.post_load = vmgenid_post_load,
};
