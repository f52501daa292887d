/* SPDX-License-Identifier: MIT */
/*
 * The network seam: Ethernet frames between a NIC model and a back end.
 *
 * Both directions run under dev_lock.  Back ends live in src/net_*.c (user
 * NAT by libslirp in src/net_user.c).
 */
#ifndef HV_NET_H
#define HV_NET_H

#include "bell.h"
#include "err.h"
#include "util.h"
#include <sys/uio.h>

struct loop;
struct vclock;
struct net;

#define NET_MAX_FRAME 65550u	/* header + 64 KiB super-segment */

/* NIC side, implemented by the device. */
struct nic_ops {
	/* Room for one frame now?  false: the back end queues or drops. */
	bool (*can_receive)(void *nic);
	/* One frame to the guest.  @len is within NET_MAX_FRAME. */
	void (*receive)(void *nic, const uint8_t *frame, size_t len);
};

struct net_ops {
	const char *name;
	/* Frame from the guest; copied or sent before return. */
	void (*send)(struct net *n, const struct iovec *iov, unsigned niov, size_t len);
	/* The NIC can receive again (after can_receive() said no). */
	void (*resume)(struct net *n);
	void (*close)(struct net *n);
};

struct net {
	const struct net_ops *ops;
	/* Frames as the guest sees them; the back end counts. */
	_Atomic uint64_t sent, received;
	struct bell *bell;		/* rung for each of them; under dev_lock */
	const struct nic_ops *nic;	/* set by net_attach() */
	void *nic_opaque;
};

static inline void net_attach(struct net *n, const struct nic_ops *nic, void *opaque)
{
	n->nic = nic;
	n->nic_opaque = opaque;
}

struct net_forward {
	bool udp;
	char host_addr[64];	/* "127.0.0.1" by default */
	uint16_t host_port, guest_port;
};

struct net_user_config {
	bool restrict_host;	/* true: guest cannot reach host loopback by 10.0.2.2 */
	const struct net_forward *forwards;
	unsigned nforwards;
};

/* NAT by libslirp: guest 10.0.2.15, gateway/host 10.0.2.2, DNS 10.0.2.3.  NULL + @e. */
struct net *net_user_open(const struct net_user_config *cfg, struct loop *loop,
			  struct vclock *clk, struct err *e);
/* After vm_stop() (the loop must be still) and before vm_free() (timers live in its clock). */
void net_close(struct net *n);

#endif
