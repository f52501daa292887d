/* SPDX-License-Identifier: MIT */
/*
 * Virtio network device (VIRTIO 1.2, 5.1) on the net seam: one receive and
 * one transmit queue, mergeable receive buffers, link status.
 *
 * NOTYET(virtio-net): checksum and segmentation offloads (5.1.3.1), the
 * control queue, several queue pairs.
 */
#include "virtio.h"
#include "../../src/net.h"

#define QUEUE_SIZE 256u
#define RXQ 0
#define TXQ 1
#define MIN_FRAME 14u		/* an Ethernet header */
#define MAX_RX_BUFFERS 64u	/* of one merged frame */

/* Feature bits (5.1.3) */
enum { F_MAC = 5, F_MRG_RXBUF = 15, F_STATUS = 16 };

/* Device configuration (5.1.4) */
enum { CFG_MAC = 0, CFG_STATUS = 6, CFG_LEN = 8 };
#define S_LINK_UP 1

/* struct virtio_net_hdr (5.1.6): num_buffers exists with MRG_RXBUF or VERSION_1 */
#define HDR_LEGACY 10u
#define HDR_FULL 12u
#define HDR_NUM_BUFFERS 10

struct virtio_net {
	struct virtio_dev v;	/* must stay first */

	struct net *net;	/* immutable after realize */
	uint8_t mac_default[6];	/* likewise */

	uint8_t mac[6];		/* legacy drivers may change it */

	/* Scratch; receiving may happen inside sending, so each has its own. */
	struct virtq_elem tx, rx, rx_more;
	struct virtq_io tx_io;
};
VIRTIO_CHECK(struct virtio_net, v);

static const struct state_field net_state[] = {
	VIRTIO_STATE(struct virtio_net, v),
	STATE_U8S(struct virtio_net, mac),
	STATE_END
};

static struct virtio_net *net_of(struct virtio_dev *v)
{
	return container_of(v, struct virtio_net, v);
}

static uint64_t net_features(const struct virtio_dev *v)
{
	return VIRTIO_BIT(F_MAC) | VIRTIO_BIT(F_STATUS) | VIRTIO_BIT(F_MRG_RXBUF);
}

static void net_get_config(const struct virtio_dev *v, uint8_t *cfg)
{
	const struct virtio_net *n = container_of(v, struct virtio_net, v);

	memcpy(cfg + CFG_MAC, n->mac, sizeof(n->mac));
	st_le16(cfg + CFG_STATUS, S_LINK_UP);
}

/* 5.1.4.2: only the legacy interface has a writable MAC. */
static void net_set_config(struct virtio_dev *v, const uint8_t *cfg, unsigned off, unsigned len)
{
	struct virtio_net *n = net_of(v);

	if (v->legacy)
		memcpy(n->mac, cfg + CFG_MAC, sizeof(n->mac));
}

static unsigned hdr_len(const struct virtio_dev *v)
{
	return virtio_has(v, VIRTIO_F_VERSION_1) || virtio_has(v, F_MRG_RXBUF) ? HDR_FULL :
										 HDR_LEGACY;
}

/* --- transmit --- */

/* The header asks for nothing, as no offload is offered; it is skipped unread. */
static void transmit_one(struct virtio_net *n)
{
	struct virtq *q = &n->v.vq[TXQ];
	const struct virtq_elem *e = &n->tx;
	unsigned hdr = hdr_len(&n->v);
	uint64_t len = e->out_len - hdr;

	if (e->out_len < hdr + MIN_FRAME || len > NET_MAX_FRAME) {
		dev_guest_error(&n->v.pci.dev, "frame of %llu bytes with its header",
				(unsigned long long)e->out_len);
		return;
	}
	if (!virtq_map(q, e, false, hdr, len, &n->tx_io)) {
		dev_guest_error(&n->v.pci.dev, "frame outside RAM");
		return;
	}
	n->net->ops->send(n->net, n->tx_io.iov, n->tx_io.n, len);
	virtq_unmap(q, &n->tx_io, 0);
}

static void transmit(struct virtio_net *n)
{
	struct virtq *q = &n->v.vq[TXQ];
	unsigned done = 0;

	while (done < VIRTIO_KICK_BUDGET && virtq_pop(q, &n->tx)) {
		transmit_one(n);
		virtq_push(q, n->tx.head, 0);
		done++;
	}
	virtio_flush(&n->v, TXQ);
	if (done == VIRTIO_KICK_BUDGET)
		virtio_requeue(&n->v, TXQ);
}

/* --- receive --- */

static bool net_can_receive(void *opaque)
{
	struct virtio_net *n = opaque;

	return virtio_active(&n->v, RXQ) && virtq_waiting(&n->v.vq[RXQ]);
}

/* Where a frame stands while it is laid into buffers. */
struct rx_state {
	const uint8_t *frame;
	size_t left;
	unsigned count;		/* buffers taken */
	struct { uint16_t head; uint32_t len; } used[MAX_RX_BUFFERS];
};

/* Put the header (first buffer only) and as much of the frame as fits into the buffer @e. */
static bool fill_buffer(struct virtio_net *n, const struct virtq_elem *e, struct rx_state *r)
{
	static const uint8_t hdr[HDR_FULL] = { [HDR_NUM_BUFFERS] = 1 };
	struct virtq *q = &n->v.vq[RXQ];
	unsigned hlen = r->count ? 0 : hdr_len(&n->v);
	size_t part;

	if (e->in_len < hlen) {
		virtio_fail(&n->v, "receive buffer smaller than its header");
		return false;
	}
	part = MIN(e->in_len - hlen, r->left);
	if (!virtq_write(q, e, 0, hdr, hlen) || !virtq_write(q, e, hlen, r->frame, part)) {
		virtio_fail(&n->v, "receive buffer outside RAM");
		return false;
	}
	r->used[r->count].head = e->head;
	r->used[r->count].len = (uint32_t)(hlen + part);
	r->frame += part;
	r->left -= part;
	return true;
}

/* False: too few or bad buffers. */
static bool fill_buffers(struct virtio_net *n, struct rx_state *r)
{
	unsigned max = virtio_has(&n->v, F_MRG_RXBUF) ? MAX_RX_BUFFERS : 1;
	bool ok = true;

	while (ok && r->left) {
		struct virtq_elem *e = r->count ? &n->rx_more : &n->rx;

		if (r->count == max || !virtq_pop(&n->v.vq[RXQ], e))
			return false;
		ok = fill_buffer(n, e, r);
		r->count++;
	}
	return ok;
}

/*
 * One frame over as many buffers as it needs (5.1.6.4).  When they do not
 * suffice all go back and the frame is dropped, as on a real wire.
 */
static void net_receive(void *opaque, const uint8_t *frame, size_t len)
{
	struct virtio_net *n = opaque;
	struct virtq *q = &n->v.vq[RXQ];
	struct rx_state r = { .frame = frame, .left = len };
	uint8_t count[2];

	if (!virtio_active(&n->v, RXQ) || !len || len > NET_MAX_FRAME)
		return;
	if (!fill_buffers(n, &r)) {
		virtq_unpop(q, r.count);
		return;
	}
	st_le16(count, (uint16_t)r.count);
	if (r.count > 1 && !virtq_write(q, &n->rx, HDR_NUM_BUFFERS, count, sizeof(count)))
		virtio_fail(&n->v, "receive buffer outside RAM");
	for (unsigned i = 0; i < r.count; i++)
		virtq_push(q, r.used[i].head, r.used[i].len);
	virtio_flush(&n->v, RXQ);
}

static const struct nic_ops net_nic = {
	.can_receive = net_can_receive,
	.receive = net_receive,
};

static void net_kick(struct virtio_dev *v, unsigned q)
{
	struct virtio_net *n = net_of(v);

	if (q == TXQ)
		transmit(n);
	else
		n->net->ops->resume(n->net);	/* new receive buffers */
}

/* --- life --- */

static void net_quiesce(struct virtio_dev *v)
{
	struct virtio_net *n = net_of(v);

	memcpy(n->mac, n->mac_default, sizeof(n->mac));
}

static const struct virtio_class net_class = {
	.type = VIRTIO_ID_NET,
	.legacy_id = 0x1000,
	.class_code = 0x0200,
	.config_len = CFG_LEN,
	.features = net_features,
	.get_config = net_get_config,
	.set_config = net_set_config,
	.kick = net_kick,
	.reset = net_quiesce,
};

void virtio_net_setup(struct device *d, struct net *net, const uint8_t mac[6])
{
	struct virtio_net *n = net_of(virtio_of(d));

	n->net = net;
	memcpy(n->mac_default, mac, sizeof(n->mac_default));
}

static bool net_realize(struct device *d, struct err *e)
{
	struct virtio_net *n = net_of(virtio_of(d));

	HV_BUG_ON(!n->net);
	if (!virtio_realize(&n->v, &net_class, 2, QUEUE_SIZE, e))
		return false;
	net_attach(n->net, &net_nic, n);
	return true;
}

static void net_unrealize(struct device *d)
{
	virtio_unrealize(virtio_of(d));
}

static bool net_post_load(struct device *d, struct err *e)
{
	return virtio_post_load(virtio_of(d), e);
}

const struct device_ops virtio_net_ops = {
	.name = "virtio-net",
	.size = sizeof(struct virtio_net),
	.realize = net_realize,
	.reset = virtio_reset,
	.unrealize = net_unrealize,
	.state = net_state,
	.state_version = 1,
	.post_load = net_post_load,
};
