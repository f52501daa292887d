/* SPDX-License-Identifier: MIT */
/*
 * Virtio core (VIRTIO 1.2, chapters 2, 3 and 6): device status, feature
 * negotiation, queue set-up, notification with a work budget, reset that
 * waits for requests in flight, NEEDS_RESET after a guest's mistake.
 *
 * Left out: RING_RESET, NOTIFICATION_DATA, shared memory.
 */
#include "virtio.h"

#define TRANSPORT_FEATURES \
	(VIRTIO_BIT(VIRTIO_F_INDIRECT_DESC) | VIRTIO_BIT(VIRTIO_F_EVENT_IDX))

const struct state_field virtio_state_fields[] = {
	STATE_U8(struct virtio_dev, status),
	STATE_U8(struct virtio_dev, isr),
	STATE_U8(struct virtio_dev, generation),
	STATE_BOOL(struct virtio_dev, legacy),
	STATE_U32(struct virtio_dev, offered_sel),
	STATE_U32(struct virtio_dev, accepted_sel),
	STATE_U64(struct virtio_dev, features),
	STATE_U16(struct virtio_dev, config_vector),
	STATE_U16(struct virtio_dev, queue_sel),
	STATE_STRUCTS(struct virtio_dev, vq, virtq_state_fields),
	STATE_END
};

static struct device *dev_of(struct virtio_dev *v)
{
	return &v->pci.dev;
}

static void queue_failed(struct virtq *q, const char *why)
{
	virtio_fail(q->opaque, why);
}

void virtio_fail(struct virtio_dev *v, const char *why)
{
	dev_guest_error(dev_of(v), "%s; stopped until the driver resets it", why);
	if (v->status & VIRTIO_S_NEEDS_RESET)
		return;
	v->status |= VIRTIO_S_NEEDS_RESET;
	/* 2.1.2: after DRIVER_OK the driver is told by a configuration change. */
	if (v->status & VIRTIO_S_DRIVER_OK)
		virtio_config_changed(v);
}

void virtio_config_changed(struct virtio_dev *v)
{
	v->generation++;
	virtio_pci_irq(v, v->config_vector, VIRTIO_ISR_CONFIG);
}

bool virtio_active(const struct virtio_dev *v, unsigned q)
{
	if (v->draining || v->status & VIRTIO_S_NEEDS_RESET || q >= v->nqueues || !v->vq[q].ready)
		return false;
	/* Legacy drivers may use queues before DRIVER_OK (3.1.2) and forget bus mastering. */
	return v->legacy || (v->status & VIRTIO_S_DRIVER_OK && pci_master(&v->pci));
}

void virtio_flush(struct virtio_dev *v, unsigned q)
{
	if (virtq_flush(&v->vq[q]))
		virtio_pci_irq(v, v->vq[q].vector, VIRTIO_ISR_QUEUE);
}

void virtio_notify(struct virtio_dev *v, unsigned q)
{
	if (virtio_active(v, q))
		v->cls->kick(v, q);
}

void virtio_requeue(struct virtio_dev *v, unsigned q)
{
	v->requeued |= 1u << q;
	loop_post(dev_of(v)->vm->loop, &v->work);
}

static void kick_requeued(void *opaque)
{
	struct virtio_dev *v = opaque;
	uint32_t todo = v->requeued;

	v->requeued = 0;
	for (unsigned q = 0; q < v->nqueues; q++)
		if (todo & 1u << q)
			virtio_notify(v, q);
}

uint64_t virtio_offered(const struct virtio_dev *v, bool legacy)
{
	uint64_t f = v->cls->features(v) | TRANSPORT_FEATURES;

	if (legacy)
		return f | VIRTIO_BIT(VIRTIO_F_ANY_LAYOUT);
	if (v->cls->packed)
		f |= VIRTIO_BIT(VIRTIO_F_RING_PACKED);
	return f | VIRTIO_BIT(VIRTIO_F_VERSION_1);
}

/* Features decide how the rings are read. */
static void features_settled(struct virtio_dev *v)
{
	for (unsigned i = 0; i < v->nqueues; i++) {
		v->vq[i].event_idx = virtio_has(v, VIRTIO_F_EVENT_IDX);
		v->vq[i].packed = virtio_has(v, VIRTIO_F_RING_PACKED);
	}
}

void virtio_write_features(struct virtio_dev *v, uint64_t val)
{
	if (v->status & (VIRTIO_S_FEATURES_OK | VIRTIO_S_DRIVER_OK)) {
		dev_guest_error(dev_of(v), "features written after negotiation");
		return;
	}
	v->features = val;
	if (v->legacy) {
		v->features &= virtio_offered(v, true);
		features_settled(v);
	}
}

/* 2.2.2: accept FEATURES_OK only for a subset of the offer that has VERSION_1 (6.2). */
static bool features_acceptable(const struct virtio_dev *v)
{
	return !(v->features & ~virtio_offered(v, false)) && virtio_has(v, VIRTIO_F_VERSION_1);
}

static void reset_registers(struct virtio_dev *v)
{
	v->status = v->isr = 0;
	v->generation = 0;
	v->legacy = false;
	v->offered_sel = v->accepted_sel = 0;
	v->features = 0;
	v->config_vector = VIRTQ_NO_VECTOR;
	v->queue_sel = 0;
	v->requeued = 0;
	for (unsigned i = 0; i < v->nqueues; i++)
		virtq_reset(&v->vq[i]);
	virtio_pci_update_irq(v);
}

/*
 * Until the device let go of guest memory the old status stays readable
 * (2.4.1: the driver waits for 0) and every other access is ignored, since
 * waiting for the back end lets other vCPUs in.
 */
static void quiesce(struct virtio_dev *v)
{
	v->draining = true;
	for (unsigned i = 0; i < v->nqueues; i++)
		v->vq[i].ready = false;
	v->cls->reset(v);
	v->draining = false;
}

void virtio_write_status(struct virtio_dev *v, uint8_t val)
{
	uint8_t set = val & ~v->status;

	if (v->draining)
		return;
	if (!val) {
		quiesce(v);
		reset_registers(v);
		return;
	}
	/* 2.1.1: a driver only ever adds bits; NEEDS_RESET is the device's. */
	if (v->status & ~val & ~VIRTIO_S_NEEDS_RESET)
		dev_guest_error(dev_of(v), "status bits cleared: %02x to %02x", v->status, val);
	set &= ~VIRTIO_S_NEEDS_RESET;
	if (set & VIRTIO_S_FEATURES_OK && !v->legacy) {
		if (features_acceptable(v))
			features_settled(v);
		else
			set &= ~VIRTIO_S_FEATURES_OK;
	}
	if (set & VIRTIO_S_DRIVER_OK && !v->legacy &&
	    !((v->status | set) & VIRTIO_S_FEATURES_OK)) {
		dev_guest_error(dev_of(v), "DRIVER_OK without FEATURES_OK");
		set &= ~VIRTIO_S_DRIVER_OK;
	}
	v->status |= set;
	if (set & VIRTIO_S_DRIVER_OK)
		for (unsigned q = 0; q < v->nqueues; q++)
			virtio_notify(v, q);
}

void virtio_enable_queue(struct virtio_dev *v, struct virtq *q)
{
	if (q->ready || v->draining)
		return;
	if (!v->legacy && !(v->status & VIRTIO_S_FEATURES_OK)) {
		dev_guest_error(dev_of(v), "queue enabled before FEATURES_OK");
		return;
	}
	if (!virtq_layout_ok(q)) {
		virtio_fail(v, "queue addresses unusable");
		return;
	}
	q->ready = true;
}

struct virtq *virtio_selected(struct virtio_dev *v)
{
	return v->queue_sel < v->nqueues ? &v->vq[v->queue_sel] : NULL;
}

uint32_t virtio_read_config(struct virtio_dev *v, unsigned off, unsigned size)
{
	uint8_t cfg[VIRTIO_MAX_CONFIG] = { 0 }, raw[4] = { 0 };

	v->cls->get_config(v, cfg);
	if (range_ok(off, size, v->cls->config_len))
		memcpy(raw, cfg + off, MIN(size, sizeof(raw)));
	return ld_le32(raw);
}

void virtio_write_config(struct virtio_dev *v, unsigned off, unsigned size, uint32_t val)
{
	uint8_t cfg[VIRTIO_MAX_CONFIG] = { 0 };

	if (!v->cls->set_config || !range_ok(off, size, v->cls->config_len) || v->draining)
		return;
	v->cls->get_config(v, cfg);
	memcpy(cfg + off, &val, MIN(size, sizeof(val)));
	v->cls->set_config(v, cfg, off, size);
}

bool virtio_realize(struct virtio_dev *v, const struct virtio_class *cls, unsigned nqueues,
		    uint16_t queue_max, struct err *e)
{
	HV_BUG_ON(!nqueues || nqueues > VIRTIO_MAX_QUEUES || cls->config_len > VIRTIO_MAX_CONFIG);
	v->cls = cls;
	v->nqueues = nqueues;
	v->work = (struct loop_work){ .fn = kick_requeued, .opaque = v };
	for (unsigned i = 0; i < nqueues; i++)
		virtq_init(&v->vq[i], dev_mem(dev_of(v)), queue_max, queue_failed, v);
	return virtio_pci_realize(v, e);
}

void virtio_unrealize(struct virtio_dev *v)
{
	v->requeued = 0;
	quiesce(v);
	v->draining = true;	/* nothing more is served */
}

void virtio_reset(struct device *d)
{
	struct virtio_dev *v = virtio_of(d);

	quiesce(v);
	pci_reset(&v->pci);
	reset_registers(v);
}

static bool bad_state(struct virtio_dev *v, struct err *e, const char *what)
{
	return err_set(e, HV_EXIT_GENERIC, "saved state of %s %s: bad %s", dev_of(v)->ops->name,
		       dev_of(v)->id, what);
}

bool virtio_post_load(struct virtio_dev *v, struct err *e)
{
	v->requeued = 0;
	if (!pci_post_load(&v->pci, e))
		return false;
	if (v->legacy && v->disable_legacy)
		return bad_state(v, e, "interface");
	if (v->features & ~virtio_offered(v, v->legacy) &&
	    (v->legacy || v->status & VIRTIO_S_FEATURES_OK))
		return bad_state(v, e, "features");
	features_settled(v);	/* decides how the queues are read */
	v->config_vector = virtio_pci_vector(v, v->config_vector);
	for (unsigned i = 0; i < VIRTIO_MAX_QUEUES; i++) {
		struct virtq *q = &v->vq[i];

		if (!virtq_post_load(q))
			return bad_state(v, e, "queue");
		q->vector = virtio_pci_vector(v, q->vector);
	}
	virtio_pci_update_irq(v);
	/* A queue may have been waiting for its turn: an extra look costs nothing. */
	for (unsigned i = 0; i < v->nqueues; i++)
		if (virtio_active(v, i))
			virtio_requeue(v, i);
	return true;
}
