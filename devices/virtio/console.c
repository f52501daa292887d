/* SPDX-License-Identifier: MIT */
/*
 * Virtio console (VIRTIO 1.2, 5.3): port 0 is the console hvc0, the others
 * are named channels between programs of guest and host.
 *
 * A console never waits for its reader: as on a serial line the oldest output
 * is dropped.  A channel does: what the host does not take now stays in the
 * guest's buffers, and the guest knows whether somebody is there.  Messages
 * to the driver are kept as one bit a port and kind, so that a driver without
 * buffers for them loses none.
 *
 * Left out: console size, removal of ports.
 */
#include "../../src/chardev.h"
#include "virtio.h"
#include <stdio.h>

#define QUEUE_SIZE 128u
#define CTL_RX 2
#define CTL_TX 3
#define CHUNK 1024u
#define KICK_BYTES MiB(1)	/* that one kick moves; a chain may have 4 GiB */
#define CFG_LEN 12u		/* columns, rows, ports, emergency output */
#define CFG_MAX_PORTS 4
#define CFG_EMERG 8

enum { F_MULTIPORT = 1, F_EMERG_WRITE = 2 };

enum { DEVICE_READY = 0, DEVICE_ADD = 1, PORT_READY = 3, CONSOLE_PORT = 4, PORT_OPEN = 6,
       PORT_NAME = 7 };

/* Messages waiting for a control buffer, in the order in which they go. */
enum { P_ADD = 1, P_CONSOLE = 2, P_NAME = 4, P_OPEN = 8, P_ALL = 15 };

struct port {
	/* wiring */
	struct virtio_console *c;
	struct chardev *chr;
	char name[VIRTIO_CONSOLE_NAME + 1];	/* "": the console */
	bool present;
	/* state */
	bool ready;		/* the driver has set it up */
	bool guest_open, host_open;
	uint8_t pending;
	uint64_t tx_done;	/* bytes of the first request that the host has taken already */
};

struct virtio_console {
	struct virtio_dev v;	/* must stay first */
	struct port port[VIRTIO_CONSOLE_PORTS];
	unsigned nports;
	struct virtq_elem elem;
};
VIRTIO_CHECK(struct virtio_console, v);

static const struct state_field port_fields[] = {
	STATE_BOOL(struct port, ready), STATE_BOOL(struct port, guest_open),
	STATE_BOOL(struct port, host_open), STATE_U8(struct port, pending),
	STATE_U64(struct port, tx_done),
	STATE_END
};

static const struct state_field console_state[] = {
	VIRTIO_STATE(struct virtio_console, v),
	STATE_STRUCTS(struct virtio_console, port, port_fields),
	STATE_END
};

static struct virtio_console *console_of(struct virtio_dev *v)
{
	return container_of(v, struct virtio_console, v);
}

static unsigned rx_queue(const struct port *p)
{
	unsigned n = (unsigned)(p - p->c->port);

	return n ? 2 * n + 2 : 0;
}

static bool is_console(const struct port *p)
{
	return !p->name[0];
}

/* Does the guest listen?  A driver without multiport support always does. */
static bool listens(const struct port *p)
{
	return virtio_active(&p->c->v, rx_queue(p)) &&
	       (p->guest_open || !virtio_has(&p->c->v, F_MULTIPORT));
}

static bool somebody(const struct port *p)
{
	return p->present && (is_console(p) || chardev_connected(p->chr));
}

/* ---- host to guest ---- */

/* Bytes that fit into the first buffer; empty buffers go back. */
static size_t can_receive(void *dev)
{
	struct port *p = dev;
	unsigned qi = rx_queue(p);
	struct virtq *q = &p->c->v.vq[qi];
	struct virtq_elem *el = &p->c->elem;
	uint64_t room = 0;

	if (!listens(p))
		return 0;
	for (unsigned n = 0; n < VIRTIO_KICK_BUDGET && !room && virtq_pop(q, el); n++) {
		room = el->in_len;
		if (room)
			virtq_unpop(q, 1);
		else
			virtq_push(q, el->head, 0);
	}
	return (size_t)MIN(room, CHUNK);
}

static void receive(void *dev, const uint8_t *buf, size_t len)
{
	struct port *p = dev;
	unsigned qi = rx_queue(p);
	struct virtq *q = &p->c->v.vq[qi];
	struct virtq_elem *el = &p->c->elem;

	if (!virtq_pop(q, el))
		return;
	len = MIN(len, el->in_len);
	if (!virtq_write(q, el, 0, buf, len))
		len = 0;
	virtq_push(q, el->head, (uint32_t)len);
	virtio_flush(&p->c->v, qi);
}

/* ---- guest to host ---- */

/* One request, from where it was left; false: the host, or *@budget, takes no more now. */
static bool send_elem(struct port *p, struct virtq *q, uint64_t *budget)
{
	const struct virtq_elem *el = &p->c->elem;
	uint8_t buf[CHUNK];

	while (p->tx_done < el->out_len) {
		size_t n = (size_t)MIN(MIN(el->out_len - p->tx_done, sizeof(buf)), *budget);

		if (p->chr && !is_console(p))
			n = MIN(n, chardev_room(p->chr));
		if (!n)
			return false;
		if (!virtq_read(q, el, p->tx_done, buf, n))
			break;
		chardev_write(p->chr, buf, n);
		p->tx_done += n;
		*budget -= n;
	}
	p->tx_done = 0;
	return true;
}

static void transmit(struct port *p)
{
	unsigned qi = rx_queue(p) + 1, n;
	struct virtq *q = &p->c->v.vq[qi];
	uint64_t budget = KICK_BYTES;

	if (!virtio_active(&p->c->v, qi))
		return;
	for (n = 0; n < VIRTIO_KICK_BUDGET && virtq_pop(q, &p->c->elem); n++) {
		if (!send_elem(p, q, &budget)) {
			virtq_unpop(q, 1);
			break;
		}
		virtq_push(q, p->c->elem.head, 0);
	}
	virtio_flush(&p->c->v, qi);
	if (n == VIRTIO_KICK_BUDGET || !budget)
		virtio_requeue(&p->c->v, qi);
}

static void writable(void *dev)
{
	transmit(dev);
}

/* ---- control messages (5.3.6.2) ---- */

static unsigned message(const struct port *p, uint8_t bit, uint8_t *m)
{
	static const struct { uint8_t bit, event; } rows[] = {
		{ P_ADD, DEVICE_ADD }, { P_CONSOLE, CONSOLE_PORT }, { P_NAME, PORT_NAME },
		{ P_OPEN, PORT_OPEN },
	};

	memset(m, 0, 8);
	st_le32(m, (uint32_t)(p - p->c->port));
	for (unsigned i = 0; i < ARRAY_SIZE(rows); i++)
		if (rows[i].bit == bit)
			st_le16(m + 4, rows[i].event);
	st_le16(m + 6, bit == P_OPEN ? p->host_open : 1);
	if (bit != P_NAME)
		return 8;
	memcpy(m + 8, p->name, strlen(p->name));
	return 8 + (unsigned)strlen(p->name);
}

/* The next message to any port; false: none, or no buffer for it. */
static bool send_one(struct virtio_console *c)
{
	struct virtq *q = &c->v.vq[CTL_RX];
	uint8_t m[8 + VIRTIO_CONSOLE_NAME];
	struct port *p = c->port;
	uint8_t bit;
	unsigned len;

	while (p < c->port + c->nports && !p->pending)
		p++;
	if (p == c->port + c->nports || !virtq_pop(q, &c->elem))
		return false;
	bit = p->pending & -p->pending;
	p->pending &= ~bit;
	len = message(p, bit, m);
	if (c->elem.in_len < len || !virtq_write(q, &c->elem, 0, m, len))
		len = 0;
	virtq_push(q, c->elem.head, len);
	return true;
}

static void send_pending(struct virtio_console *c)
{
	bool sent = false;

	if (!virtio_has(&c->v, F_MULTIPORT) || !virtio_active(&c->v, CTL_RX))
		return;
	while (send_one(c))
		sent = true;
	if (sent)
		virtio_flush(&c->v, CTL_RX);
}

static void opened(void *dev, bool open)
{
	struct port *p = dev;

	p->host_open = open;
	if (!p->ready)
		return;
	p->pending |= P_OPEN;
	send_pending(p->c);
}

static void port_message(struct port *p, unsigned event, unsigned value)
{
	if (event == PORT_READY && value) {
		p->ready = true;
		p->pending |= is_console(p) ? P_CONSOLE | P_OPEN : P_NAME | P_OPEN;
	} else if (event == PORT_OPEN) {
		p->guest_open = value;
		chardev_accept_input(p->chr);
	}
}

static void control(struct virtio_console *c)
{
	struct virtq *q = &c->v.vq[CTL_TX];
	unsigned n;

	for (n = 0; n < VIRTIO_KICK_BUDGET && virtq_pop(q, &c->elem); n++) {
		uint8_t m[8] = { 0 };
		bool ok = virtq_read(q, &c->elem, 0, m, sizeof(m));
		uint32_t id = ld_le32(m), event = ld_le16(m + 4), value = ld_le16(m + 6);

		virtq_push(q, c->elem.head, 0);
		if (!ok)
			continue;
		if (event == DEVICE_READY && value) {
			for (unsigned i = 0; i < c->nports; i++)
				c->port[i].pending |= c->port[i].present ? P_ADD : 0;
		} else if (id < c->nports && c->port[id].present) {
			port_message(&c->port[id], event, value);
		}
	}
	virtio_flush(&c->v, CTL_TX);
	send_pending(c);
	if (n == VIRTIO_KICK_BUDGET)
		virtio_requeue(&c->v, CTL_TX);
}

static void kick(struct virtio_dev *v, unsigned q)
{
	struct virtio_console *c = console_of(v);
	struct port *p = &c->port[q < 2 ? 0 : (q - 2) / 2];

	if (q == CTL_RX)
		send_pending(c);
	else if (q == CTL_TX)
		control(c);
	else if (q & 1)
		transmit(p);
	else
		chardev_accept_input(p->chr);
}

/* ---- configuration ---- */

static uint64_t features(const struct virtio_dev *v)
{
	return VIRTIO_BIT(F_MULTIPORT) | VIRTIO_BIT(F_EMERG_WRITE);
}

static void get_config(const struct virtio_dev *v, uint8_t *cfg)
{
	st_le32(cfg + CFG_MAX_PORTS, container_of(v, struct virtio_console, v)->nports);
}

/* 5.3.4: one character without any queue */
static void set_config(struct virtio_dev *v, const uint8_t *cfg, unsigned off, unsigned len)
{
	struct virtio_console *c = console_of(v);

	if (off <= CFG_EMERG && off + len > CFG_EMERG)
		chardev_write(c->port[0].chr, cfg + CFG_EMERG, 1);
}

static void quiesce(struct virtio_dev *v)
{
	struct virtio_console *c = console_of(v);

	for (unsigned i = 0; i < VIRTIO_CONSOLE_PORTS; i++) {
		c->port[i].ready = c->port[i].guest_open = false;
		c->port[i].pending = 0;
		c->port[i].tx_done = 0;
	}
}

static const struct virtio_class console_class = {
	.type = VIRTIO_ID_CONSOLE,
	.legacy_id = 0x1003,
	.class_code = 0x0780,
	.config_len = CFG_LEN,
	.packed = true,
	.features = features,
	.get_config = get_config,
	.set_config = set_config,
	.kick = kick,
	.reset = quiesce,
};

/* ---- life ---- */

void virtio_console_set_port(struct device *d, unsigned n, const char *name, struct chardev *chr)
{
	struct virtio_console *c = console_of(virtio_of(d));

	HV_BUG_ON(n >= VIRTIO_CONSOLE_PORTS || (n && !*name));
	c->port[n].present = true;
	c->port[n].chr = chr;
	snprintf(c->port[n].name, sizeof(c->port[n].name), "%s", name);
	c->nports = MAX(c->nports, n + 1);
}

static bool console_realize(struct device *d, struct err *e)
{
	struct virtio_console *c = console_of(virtio_of(d));

	c->nports = MAX(c->nports, 1u);
	for (unsigned i = 0; i < VIRTIO_CONSOLE_PORTS; i++)
		c->port[i].c = c;
	if (!virtio_realize(&c->v, &console_class, 2 * c->nports + 2, QUEUE_SIZE, e))
		return false;
	for (unsigned i = 0; i < c->nports; i++) {
		struct port *p = &c->port[i];
		const struct char_sink sink = { .can_receive = can_receive, .receive = receive,
			.writable = is_console(p) ? NULL : writable,
			.opened = is_console(p) ? NULL : opened, .dev = p };

		chardev_attach(p->chr, &sink);
		p->host_open = somebody(p);
	}
	return true;
}

static void console_unrealize(struct device *d)
{
	virtio_unrealize(virtio_of(d));
}

static void loaded(struct port *p)
{
	bool open = somebody(p);

	p->pending &= p->present ? P_ALL : 0;
	if (p->host_open != open) {	/* who was connected then is not now */
		p->host_open = open;
		p->pending |= p->ready ? P_OPEN : 0;
	}
}

static bool console_post_load(struct device *d, struct err *e)
{
	struct virtio_console *c = console_of(virtio_of(d));

	if (!virtio_post_load(&c->v, e))
		return false;
	for (unsigned i = 0; i < VIRTIO_CONSOLE_PORTS; i++)
		loaded(&c->port[i]);
	return true;
}

const struct device_ops virtio_console_ops = {
	.name = "virtio-console",
	.size = sizeof(struct virtio_console),
	.realize = console_realize,
	.reset = virtio_reset,
	.unrealize = console_unrealize,
	.state = console_state,
	.state_version = 1,
	.post_load = console_post_load,
};
