/* SPDX-License-Identifier: MIT */
/*
 * User networking: NAT by libslirp (>= 4.7), without privileges.
 *
 * libslirp is single-threaded and built around poll(): it names the sockets
 * it waits for (fill) and is told what happened (poll).  Its sockets live in
 * a private epoll set whose descriptor is the only one the loop sees; the
 * sets are compared after every change and only differences reach the
 * kernel, so an idle guest costs nothing.
 *
 * Everything runs under dev_lock: frames from the guest on a vCPU thread,
 * sockets and timers on the loop thread.  Frames are copied and their length
 * is checked in both directions; TFTP, boot file, SMB and IPv6 are off, and
 * IPv4 fragments are dropped.
 */
#include "clock.h"
#include "log.h"
#include "loop.h"
#include "net.h"
#include <arpa/inet.h>
#include <errno.h>
#include <slirp/libslirp.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <unistd.h>

#define MIN_FRAME 14u
#define PADDED_FRAME 60u	/* shortest frame on an Ethernet wire, checksum not counted */
#define ETH_ARP 0x0806
#define ETH_IPV4 0x0800
#define IPV4_FRAGMENT 0x3fff	/* more fragments, or an offset */
#define QUEUE_FRAMES 256u	/* frames kept for a guest that does not receive */
#define QUEUE_BYTES KiB(1024)
#define MAX_EVENTS 64
#define STALE_NS (100 * NS_PER_MS)
#define SLIRP_IDLE_MS 1000u	/* time-out libslirp asks for when it waits for nothing */

struct frame {
	struct frame *next;
	size_t len;
	uint8_t data[];
};

/* One socket, indexed by its descriptor. */
struct sock {
	bool used, watched;
	uint32_t wanted;	/* epoll mask that libslirp asked for in this round */
	uint32_t armed;		/* epoll mask in the kernel */
	uint32_t got;		/* epoll events since the last round */
	uint32_t round;
};

struct net_user {
	struct net net;		/* must stay first */
	Slirp *slirp;
	struct loop *loop;
	struct vclock *clk;
	struct loop_fd ep;	/* the private epoll set */
	struct loop_work sync_work;
	struct vtimer timeout;
	uint64_t polled_at;	/* libslirp's notion of now */
	struct sock *socks;
	int nsocks;
	uint32_t round;
	/* Frames that wait for the guest */
	struct frame *head, **tail;
	unsigned nframes;
	size_t nbytes;
	uint8_t out[NET_MAX_FRAME];	/* private copy of the frame being sent */
};

/* --- frames to the guest --- */

static void enqueue(struct net_user *u, const void *buf, size_t len)
{
	struct frame *f;

	if (u->nframes == QUEUE_FRAMES || len > QUEUE_BYTES - u->nbytes)
		return;		/* as a full switch port does; TCP sends again */
	f = malloc(sizeof(*f) + len);
	if (!f)
		return;
	f->next = NULL;
	f->len = len;
	memcpy(f->data, buf, len);
	*u->tail = f;
	u->tail = &f->next;
	u->nframes++;
	u->nbytes += len;
}

static struct frame *dequeue(struct net_user *u)
{
	struct frame *f = u->head;

	u->head = f->next;
	if (!u->head)
		u->tail = &u->head;
	u->nframes--;
	u->nbytes -= f->len;
	return f;
}

static bool nic_ready(struct net_user *u)
{
	return u->net.nic && u->net.nic->can_receive(u->net.nic_opaque);
}

static ssize_t on_send_packet(const void *buf, size_t len, void *opaque)
{
	struct net_user *u = opaque;

	if (len < MIN_FRAME || len > NET_MAX_FRAME)
		return (ssize_t)len;
	u->net.received++;
	bell_ring(u->net.bell);
	if (!u->head && nic_ready(u))
		u->net.nic->receive(u->net.nic_opaque, buf, len);
	else
		enqueue(u, buf, len);
	return (ssize_t)len;
}

static void user_resume(struct net *n)
{
	struct net_user *u = container_of(n, struct net_user, net);

	while (u->head && nic_ready(u)) {
		struct frame *f = dequeue(u);

		n->nic->receive(n->nic_opaque, f->data, f->len);
		free(f);
	}
}

/* --- sockets --- */

static uint32_t to_epoll(int ev)
{
	return (ev & SLIRP_POLL_IN ? EPOLLIN : 0) | (ev & SLIRP_POLL_OUT ? EPOLLOUT : 0) |
	       (ev & SLIRP_POLL_PRI ? EPOLLPRI : 0);
}

static int from_epoll(uint32_t ev)
{
	return (ev & EPOLLIN ? SLIRP_POLL_IN : 0) | (ev & EPOLLOUT ? SLIRP_POLL_OUT : 0) |
	       (ev & EPOLLPRI ? SLIRP_POLL_PRI : 0) | (ev & EPOLLERR ? SLIRP_POLL_ERR : 0) |
	       (ev & EPOLLHUP ? SLIRP_POLL_HUP : 0);
}

static struct sock *sock_of(struct net_user *u, int fd)
{
	return fd >= 0 && fd < u->nsocks ? &u->socks[fd] : NULL;
}

static bool grow(struct net_user *u, int fd)
{
	int n = MAX(fd + 1, u->nsocks * 2);
	struct sock *s = realloc(u->socks, (size_t)n * sizeof(*s));

	if (!s)
		return false;
	memset(s + u->nsocks, 0, (size_t)(n - u->nsocks) * sizeof(*s));
	u->socks = s;
	u->nsocks = n;
	return true;
}

/* The index that libslirp keeps for a socket is its descriptor. */
static int on_add_poll(int fd, int events, void *opaque)
{
	struct net_user *u = opaque;
	struct sock *s;

	if (fd < 0 || (fd >= u->nsocks && !grow(u, fd)))
		return -1;
	s = &u->socks[fd];
	if (s->round != u->round)
		s->wanted = 0;
	s->round = u->round;
	s->used = true;
	s->wanted |= to_epoll(events);
	return fd;
}

static int on_get_revents(int idx, void *opaque)
{
	struct sock *s = sock_of(opaque, idx);

	return s ? from_epoll(s->got & (s->wanted | EPOLLERR | EPOLLHUP)) : 0;
}

static void unwatch(struct net_user *u, struct sock *s)
{
	if (s->watched)
		epoll_ctl(u->ep.fd, EPOLL_CTL_DEL, (int)(s - u->socks), NULL);
	*s = (struct sock){ 0 };
}

/* Called before libslirp closes the socket: the number may be used again at once. */
static void on_unregister_fd(int fd, void *opaque)
{
	struct sock *s = sock_of(opaque, fd);

	if (s)
		unwatch(opaque, s);
}

static void on_register_fd(int fd, void *opaque)
{
	on_unregister_fd(fd, opaque);
}

static void watch(struct net_user *u, struct sock *s)
{
	int fd = (int)(s - u->socks);
	struct epoll_event ev = { .events = s->wanted, .data.fd = fd };
	int op = s->watched ? EPOLL_CTL_MOD : EPOLL_CTL_ADD;

	if (s->watched && s->armed == s->wanted)
		return;
	/* A socket closed behind our back left the set by itself. */
	if (epoll_ctl(u->ep.fd, op, fd, &ev) < 0 && op == EPOLL_CTL_MOD && errno == ENOENT)
		epoll_ctl(u->ep.fd, EPOLL_CTL_ADD, fd, &ev);
	s->watched = true;
	s->armed = s->wanted;
}

/*
 * Ask libslirp what it waits for and bring the epoll set into line.  A socket
 * it does not name is taken out: EPOLLHUP cannot be masked and would spin.
 */
static void sync_sockets(void *opaque)
{
	struct net_user *u = opaque;
	uint32_t ms = UINT32_MAX;

	u->round++;
	slirp_pollfds_fill(u->slirp, &ms, on_add_poll, u);
	for (int i = 0; i < u->nsocks; i++) {
		struct sock *s = &u->socks[i];

		if (!s->used)
			continue;
		if (s->round == u->round && s->wanted)
			watch(u, s);
		else
			unwatch(u, s);
	}
	if (ms < SLIRP_IDLE_MS)
		vtimer_arm(&u->timeout, vclock_now(u->clk) + ms * NS_PER_MS);
	else
		vtimer_cancel(&u->timeout);
}

/* Report what happened since the last sync, then sync again. */
static void process(struct net_user *u)
{
	struct epoll_event ev[MAX_EVENTS];
	int n = epoll_wait(u->ep.fd, ev, MAX_EVENTS, 0);

	for (int i = 0; i < n; i++) {
		struct sock *s = sock_of(u, ev[i].data.fd);

		if (s)
			s->got = ev[i].events;
	}
	u->polled_at = vclock_now(u->clk);
	slirp_pollfds_poll(u->slirp, 0, on_get_revents, u);
	for (int i = 0; i < u->nsocks; i++)
		u->socks[i].got = 0;
	sync_sockets(u);
}

static void on_epoll(void *opaque, unsigned events)
{
	process(opaque);
}

static void on_timeout(void *opaque)
{
	process(opaque);
}

/* --- other services for libslirp --- */

static void on_guest_error(const char *msg, void *opaque)
{
	log_limited(LOG_WARN, "network: guest: %s", msg);
}

static int64_t on_clock(void *opaque)
{
	struct net_user *u = opaque;

	return (int64_t)vclock_now(u->clk);
}

static void *on_timer_new(SlirpTimerCb cb, void *cb_opaque, void *opaque)
{
	struct net_user *u = opaque;
	struct vtimer *t = hv_zalloc(sizeof(*t));

	vtimer_init(t, u->clk, cb, cb_opaque);
	return t;
}

static void on_timer_free(void *timer, void *opaque)
{
	vtimer_cancel(timer);
	free(timer);
}

static void on_timer_mod(void *timer, int64_t expire_ms, void *opaque)
{
	vtimer_arm(timer, expire_ms > 0 ? (uint64_t)expire_ms * NS_PER_MS : 0);
}

static void on_notify(void *opaque)
{
	struct net_user *u = opaque;

	loop_post(u->loop, &u->sync_work);
}

static const SlirpCb callbacks = {
	.send_packet = on_send_packet,
	.guest_error = on_guest_error,
	.clock_get_ns = on_clock,
	.timer_new = on_timer_new,
	.timer_free = on_timer_free,
	.timer_mod = on_timer_mod,
	.register_poll_fd = on_register_fd,
	.unregister_poll_fd = on_unregister_fd,
	.notify = on_notify,
};

/* --- frames from the guest --- */

/*
 * Only ARP and whole IPv4 packets reach libslirp.  Its reassembly (4.7)
 * corrupts memory when fed hostile fragments, and what else it parses (IPv6,
 * NC-SI) is of no use here.
 * NOTYET(net): IPv4 fragments from the guest, i.e. datagrams over 1472 bytes.
 */
static bool acceptable(const uint8_t *f)
{
	switch (ld_be16(f + 12)) {
	case ETH_ARP:
		return true;
	case ETH_IPV4:
		return !(ld_be16(f + 20) & IPV4_FRAGMENT);
	default:
		return false;
	}
}

/*
 * libslirp reads ARP frames in place, so it gets a copy that the guest cannot
 * change, zero-padded to the Ethernet minimum.
 */
static void user_send(struct net *n, const struct iovec *iov, unsigned niov, size_t len)
{
	struct net_user *u = container_of(n, struct net_user, net);
	size_t at = 0;

	if (len < MIN_FRAME || len > sizeof(u->out))
		return;
	n->sent++;
	bell_ring(n->bell);
	for (unsigned i = 0; i < niov && at < len; i++) {
		size_t part = MIN(iov[i].iov_len, len - at);

		memcpy(u->out + at, iov[i].iov_base, part);
		at += part;
	}
	if (at < PADDED_FRAME) {
		memset(u->out + at, 0, PADDED_FRAME - at);
		at = PADDED_FRAME;
	}
	if (!acceptable(u->out))
		return;
	/* libslirp reads the clock only in poll; with a stale one new sockets expire at once. */
	if (vclock_now(u->clk) - u->polled_at > STALE_NS)
		process(u);
	slirp_input(u->slirp, u->out, (int)at);
	loop_post(u->loop, &u->sync_work);
}

/* --- life --- */

static void user_close(struct net *n)
{
	struct net_user *u = container_of(n, struct net_user, net);

	n->nic = NULL;
	if (u->slirp)
		slirp_cleanup(u->slirp);
	vtimer_cancel(&u->timeout);
	if (u->ep.fd >= 0) {
		loop_del_fd(u->loop, &u->ep);
		close(u->ep.fd);
	}
	while (u->head)
		free(dequeue(u));
	free(u->socks);
	free(u);
}

static const struct net_ops user_ops = {
	.name = "user",
	.send = user_send,
	.resume = user_resume,
	.close = user_close,
};

static bool add_forward(struct net_user *u, const struct net_forward *f, struct err *e)
{
	const char *addr = f->host_addr[0] ? f->host_addr : "127.0.0.1";
	struct in_addr host, guest = { 0 };	/* 0: the first DHCP lease */

	if (inet_pton(AF_INET, addr, &host) != 1)
		return err_set(e, HV_EXIT_USAGE,
			       "port forward: \"%s\" is not an IPv4 address", addr);
	if (slirp_add_hostfwd(u->slirp, f->udp, host, f->host_port, guest, f->guest_port) < 0)
		return err_errno(e, HV_EXIT_HOST, errno,
				 "port forward: cannot listen on %s %s:%u (choose another port)",
				 f->udp ? "UDP" : "TCP", addr, f->host_port);
	return true;
}

/* 10.0.2.0/24: gateway and host .2, DNS .3, guest .15. */
static Slirp *new_slirp(struct net_user *u, const struct net_user_config *cfg)
{
	SlirpConfig sc = {
		.version = SLIRP_CONFIG_VERSION_MIN,
		.in_enabled = true,
		.disable_host_loopback = cfg->restrict_host,
	};

	inet_pton(AF_INET, "10.0.2.0", &sc.vnetwork);
	inet_pton(AF_INET, "255.255.255.0", &sc.vnetmask);
	inet_pton(AF_INET, "10.0.2.2", &sc.vhost);
	inet_pton(AF_INET, "10.0.2.3", &sc.vnameserver);
	inet_pton(AF_INET, "10.0.2.15", &sc.vdhcp_start);
	return slirp_new(&sc, &callbacks, u);
}

static bool set_up(struct net_user *u, const struct net_user_config *cfg, struct err *e)
{
	unsigned major = 0, minor = 0;

	if (sscanf(slirp_version_string(), "%u.%u", &major, &minor) != 2 ||
	    major * 1000 + minor < 4007)
		return err_set(e, HV_EXIT_HOST, "libslirp %s is too old: 4.7 or later is needed",
			       slirp_version_string());
	if (u->ep.fd < 0)
		return err_errno(e, HV_EXIT_HOST, errno, "cannot create the network's epoll set");
	u->slirp = new_slirp(u, cfg);
	if (!u->slirp)
		return err_set(e, HV_EXIT_HOST, "libslirp refused its configuration");
	for (unsigned i = 0; i < cfg->nforwards; i++)
		if (!add_forward(u, &cfg->forwards[i], e))
			return false;
	if (!loop_add_fd(u->loop, &u->ep, e))
		return false;
	sync_sockets(u);
	return true;
}

struct net *net_user_open(const struct net_user_config *cfg, struct loop *loop,
			  struct vclock *clk, struct err *e)
{
	struct net_user *u = hv_zalloc(sizeof(*u));

	u->net.ops = &user_ops;
	u->loop = loop;
	u->clk = clk;
	u->tail = &u->head;
	u->sync_work = (struct loop_work){ .fn = sync_sockets, .opaque = u };
	u->ep = (struct loop_fd){ .fd = epoll_create1(EPOLL_CLOEXEC), .events = LOOP_IN,
				  .fn = on_epoll, .opaque = u };
	vtimer_init(&u->timeout, clk, on_timeout, u);
	if (!set_up(u, cfg, e)) {
		user_close(&u->net);
		return NULL;
	}
	return &u->net;
}
