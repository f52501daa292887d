/* SPDX-License-Identifier: MIT */
/*
 * Virtio entropy device (VIRTIO 1.2, 5.4) from the host's getrandom().
 *
 * The rate is bounded: QUOTA bytes a period of virtual time; a request that
 * finds the quota used up waits for the next period.  A buffer may be
 * filled in part (5.4.6.1).
 */
#include "virtio.h"
#include <sys/random.h>

#define PERIOD_NS (100 * NS_PER_MS)
#define QUOTA 65536u
#define CHUNK 256u		/* getrandom() fills that much without being interrupted */
#define REQUEST_MAX 4096u

struct virtio_rng {
	struct virtio_dev v;	/* must stay first */
	uint32_t quota;		/* bytes left in this period */
	struct vtimer period;	/* armed while the quota is not full */
	struct virtq_elem elem;
};
VIRTIO_CHECK(struct virtio_rng, v);

static const struct state_field rng_state[] = {
	VIRTIO_STATE(struct virtio_rng, v),
	STATE_U32(struct virtio_rng, quota),
	STATE_TIMER(struct virtio_rng, period),
	STATE_END
};

static struct virtio_rng *rng_of(struct virtio_dev *v)
{
	return container_of(v, struct virtio_rng, v);
}

static uint64_t rng_features(const struct virtio_dev *v)
{
	return 0;
}

static void rng_get_config(const struct virtio_dev *v, uint8_t *cfg)
{
}

/* Bytes written at the front of the request; short when a buffer is not RAM. */
static uint32_t fill(struct virtio_rng *r, uint32_t len)
{
	uint8_t buf[CHUNK];
	uint32_t done = 0;

	while (done < len) {
		uint32_t n = MIN(len - done, CHUNK);

		if (getrandom(buf, n, 0) != (ssize_t)n ||
		    !virtq_write(&r->v.vq[0], &r->elem, done, buf, n))
			break;
		done += n;
	}
	return done;
}

static void rng_kick(struct virtio_dev *v, unsigned q)
{
	struct virtio_rng *r = rng_of(v);
	unsigned n = 0;

	while (n < VIRTIO_KICK_BUDGET && r->quota && virtq_pop(&v->vq[q], &r->elem)) {
		uint32_t len = (uint32_t)MIN(r->elem.in_len, MIN(r->quota, REQUEST_MAX));

		virtq_push(&v->vq[q], r->elem.head, fill(r, len));
		r->quota -= MAX(MIN(len, r->quota), 1u);
		n++;
	}
	virtio_flush(v, q);
	if (r->quota < QUOTA && !vtimer_armed(&r->period))
		vtimer_arm(&r->period, vclock_now(dev_clock(&v->pci.dev)) + PERIOD_NS);
	if (n == VIRTIO_KICK_BUDGET)
		virtio_requeue(v, q);
}

static void period_over(void *opaque)
{
	struct virtio_rng *r = opaque;
	bool waiting = !r->quota;

	r->quota = QUOTA;
	if (waiting)
		virtio_notify(&r->v, 0);
}

static void rng_quiesce(struct virtio_dev *v)
{
	struct virtio_rng *r = rng_of(v);

	r->quota = QUOTA;
	vtimer_cancel(&r->period);
}

static const struct virtio_class rng_class = {
	.type = VIRTIO_ID_RNG,
	.legacy_id = 0x1005,
	.class_code = 0x00ff,
	.features = rng_features,
	.get_config = rng_get_config,
	.kick = rng_kick,
	.reset = rng_quiesce,
};

static bool rng_realize(struct device *d, struct err *e)
{
	struct virtio_rng *r = rng_of(virtio_of(d));

	vtimer_init(&r->period, dev_clock(d), period_over, r);
	return virtio_realize(&r->v, &rng_class, 1, 64, e);
}

static void rng_unrealize(struct device *d)
{
	virtio_unrealize(virtio_of(d));
}

static bool rng_post_load(struct device *d, struct err *e)
{
	struct virtio_rng *r = rng_of(virtio_of(d));

	if (r->quota > QUOTA)
		r->quota = QUOTA;
	if (r->quota < QUOTA && !vtimer_armed(&r->period))
		r->quota = QUOTA;
	return virtio_post_load(&r->v, e);
}

const struct device_ops virtio_rng_ops = {
	.name = "virtio-rng",
	.size = sizeof(struct virtio_rng),
	.realize = rng_realize,
	.reset = virtio_reset,
	.unrealize = rng_unrealize,
	.state = rng_state,
	.state_version = 1,
	.post_load = rng_post_load,
};
