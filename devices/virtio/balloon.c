/* SPDX-License-Identifier: MIT */
/*
 * Virtio memory balloon (VIRTIO 1.2, 5.5) with free page reporting (5.5.6.7):
 * pages that the guest reports as free, or puts into the balloon, go back to
 * the host at once.
 *
 * Queues are numbered as drivers do it: those of features that are not
 * offered do not count, so reporting is the third.
 *
 * Left out: statistics, free page hinting (for migration), page poison.
 */
#include "virtio.h"

#define QUEUE_SIZE 128u
#define INFLATEQ 0
#define DEFLATEQ 1
#define REPORTQ 2
#define PFN_SHIFT 12
#define MAX_PFNS 256u

enum { F_DEFLATE_ON_OOM = 2, F_REPORTING = 5 };
enum { CFG_NUM_PAGES = 0, CFG_ACTUAL = 4, CFG_LEN = 8 };

struct virtio_balloon {
	struct virtio_dev v;	/* must stay first */
	uint32_t target, actual;	/* pages of 4 KiB */
	struct virtq_elem elem;
};
VIRTIO_CHECK(struct virtio_balloon, v);

static const struct state_field balloon_state[] = {
	VIRTIO_STATE(struct virtio_balloon, v),
	STATE_U32(struct virtio_balloon, target),
	STATE_U32(struct virtio_balloon, actual),
	STATE_END
};

static struct virtio_balloon *balloon_of(struct virtio_dev *v)
{
	return container_of(v, struct virtio_balloon, v);
}

static uint64_t features(const struct virtio_dev *v)
{
	return VIRTIO_BIT(F_DEFLATE_ON_OOM) | VIRTIO_BIT(F_REPORTING);
}

static void get_config(const struct virtio_dev *v, uint8_t *cfg)
{
	const struct virtio_balloon *b = container_of(v, struct virtio_balloon, v);

	st_le32(cfg + CFG_NUM_PAGES, b->target);
	st_le32(cfg + CFG_ACTUAL, b->actual);
}

static void set_config(struct virtio_dev *v, const uint8_t *cfg, unsigned off, unsigned len)
{
	balloon_of(v)->actual = ld_le32(cfg + CFG_ACTUAL);
}

/* 5.5.6: an array of page numbers. */
static void inflate(struct virtio_balloon *b)
{
	struct virtq *q = &b->v.vq[INFLATEQ];
	uint64_t n = b->elem.out_len / 4;
	uint8_t pfns[MAX_PFNS * 4];

	for (uint64_t done = 0; done < n && done < MAX_PFNS * 4; done += MAX_PFNS) {
		uint32_t part = MIN(n - done, MAX_PFNS);

		if (!virtq_read(q, &b->elem, done * 4, pfns, part * 4))
			return;
		for (uint32_t i = 0; i < part; i++)
			gm_discard(dev_mem(&b->v.pci.dev),
				   GPA((uint64_t)ld_le32(pfns + 4 * i) << PFN_SHIFT), GM_PAGE);
	}
}

/* 5.5.6.7: the buffers themselves are the free memory. */
static void report(struct virtio_balloon *b)
{
	for (unsigned i = 0; i < b->elem.nin; i++) {
		const struct virtq_seg *s = &b->elem.seg[b->elem.nout + i];

		gm_discard(dev_mem(&b->v.pci.dev), GPA(s->at), s->len);
	}
}

static void kick(struct virtio_dev *v, unsigned q)
{
	struct virtio_balloon *b = balloon_of(v);
	unsigned done = 0;

	while (done++ < VIRTIO_KICK_BUDGET && virtq_pop(&v->vq[q], &b->elem)) {
		if (q == INFLATEQ)
			inflate(b);
		else if (q == REPORTQ && virtio_has(v, F_REPORTING))
			report(b);
		virtq_push(&v->vq[q], b->elem.head, 0);
	}
	virtio_flush(v, q);
	if (done > VIRTIO_KICK_BUDGET)
		virtio_requeue(v, q);
}

static void quiesce(struct virtio_dev *v)
{
	balloon_of(v)->actual = 0;
}

void virtio_balloon_set_target(struct device *d, uint64_t bytes)
{
	struct virtio_balloon *b = balloon_of(virtio_of(d));

	b->target = (uint32_t)MIN(bytes >> PFN_SHIFT, UINT32_MAX);
	virtio_config_changed(&b->v);
}

uint64_t virtio_balloon_size(struct device *d)
{
	return (uint64_t)balloon_of(virtio_of(d))->actual << PFN_SHIFT;
}

static const struct virtio_class balloon_class = {
	.type = VIRTIO_ID_BALLOON,
	.legacy_id = 0x1002,
	.class_code = 0x00ff,
	.config_len = CFG_LEN,
	.features = features,
	.get_config = get_config,
	.set_config = set_config,
	.kick = kick,
	.reset = quiesce,
};

static bool balloon_realize(struct device *d, struct err *e)
{
	return virtio_realize(virtio_of(d), &balloon_class, 3, QUEUE_SIZE, e);
}

static void balloon_unrealize(struct device *d)
{
	virtio_unrealize(virtio_of(d));
}

static bool balloon_post_load(struct device *d, struct err *e)
{
	return virtio_post_load(virtio_of(d), e);
}

const struct device_ops virtio_balloon_ops = {
	.name = "virtio-balloon",
	.size = sizeof(struct virtio_balloon),
	.realize = balloon_realize,
	.reset = virtio_reset,
	.unrealize = balloon_unrealize,
	.state = balloon_state,
	.state_version = 1,
	.post_load = balloon_post_load,
};
