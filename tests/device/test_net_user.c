/* SPDX-License-Identifier: MIT */
/*
 * User networking against the real libslirp: a guest made of frames talks
 * ARP, DHCP and TCP to servers on the host's loopback.
 */
#include "../../src/loop.h"
#include "../../src/net.h"
#include "../lib/testvm.h"
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#define GUEST 0x0a00020fu
#define HOST 0x0a000202u
#define PROTO_TCP 6
#define PROTO_UDP 17
enum { FIN = 1, SYN = 2, RST = 4, PSH = 8, ACK = 16 };

static struct vm *vm;
static struct net *net;
static uint8_t rx[512][2000];
static size_t rx_len[512];
static unsigned nrx, taken;
static bool deaf;
static const uint8_t guest_mac[6] = { 0x52, 0x54, 0, 1, 2, 3 };
static uint8_t host_mac[6];

static bool can_receive(void *nic)
{
	return !deaf;
}

static void receive(void *nic, const uint8_t *frame, size_t len)
{
	assert_true(len >= 14 && len <= NET_MAX_FRAME);
	if (nrx == ARRAY_SIZE(rx) || len > sizeof(rx[0]))
		return;
	memcpy(rx[nrx], frame, len);
	rx_len[nrx++] = len;
}

static const struct nic_ops nic = { .can_receive = can_receive, .receive = receive };

static void open_net(bool restrict_host, const struct net_forward *f, unsigned n)
{
	struct net_user_config cfg = { restrict_host, f, n };
	struct err e = { 0 };

	net = net_user_open(&cfg, vm->loop, vm->clock, &e);
	if (!net)
		fail_msg("%s", e.msg);
	net_attach(net, &nic, NULL);
}

static int setup(void **st)
{
	vm = tvm_new(0);
	nrx = taken = 0;
	deaf = false;
	memset(host_mac, 0xff, 6);
	return 0;
}

static int teardown(void **st)
{
	if (net)
		net_close(net);
	net = NULL;
	tvm_free(vm);
	return 0;
}

static void send_frame(const uint8_t *f, size_t len)
{
	struct iovec iov[2] = { { (void *)(uintptr_t)f, len / 2 },
				{ (void *)(uintptr_t)(f + len / 2), len - len / 2 } };

	vm_lock(vm);
	net->ops->send(net, iov, 2, len);
	vm_unlock(vm);
}

/* The next frame from the network, waiting for the host as long as needed (bounded). */
static uint8_t *next_frame(size_t *len)
{
	for (unsigned i = 0; taken == nrx && i < 50; i++)
		loop_poll(vm->loop, 100);
	if (taken == nrx)
		return NULL;
	*len = rx_len[taken];
	return rx[taken++];
}

static void eth(uint8_t *f, uint16_t type)
{
	memcpy(f, host_mac, 6);
	memcpy(f + 6, guest_mac, 6);
	st_be16(f + 12, type);
}

static void send_arp(unsigned op, uint32_t target)
{
	uint8_t f[42] = { 0 };

	eth(f, 0x0806);
	st_be16(f + 14, 1);
	st_be16(f + 16, 0x0800);
	f[18] = 6;
	f[19] = 4;
	st_be16(f + 20, (uint16_t)op);
	memcpy(f + 22, guest_mac, 6);
	st_be32(f + 28, GUEST);
	memcpy(f + 32, host_mac, 6);
	st_be32(f + 38, target);
	send_frame(f, sizeof(f));
}

/* Ask for the gateway's address; afterwards libslirp knows ours as well. */
static void arp(void)
{
	size_t len;
	uint8_t *f;

	send_arp(1, HOST);
	f = next_frame(&len);
	assert_non_null(f);
	assert_int_equal(ld_be16(f + 12), 0x0806);
	assert_int_equal(ld_be16(f + 20), 2);
	assert_int_equal(ld_be32(f + 28), HOST);
	memcpy(host_mac, f + 22, 6);
}

static uint16_t checksum(uint32_t sum, const uint8_t *p, size_t n)
{
	for (; n > 1; p += 2, n -= 2)
		sum += ld_be16(p);
	if (n)
		sum += (uint32_t)*p << 8;
	while (sum >> 16)
		sum = (sum & 0xffff) + (sum >> 16);
	return (uint16_t)~sum;
}

/* Frame @f with the transport part (@len bytes) already at f + 34. */
static void send_ip(uint8_t *f, unsigned proto, uint32_t src, uint32_t dst, size_t len)
{
	uint8_t *ip = f + 14, *t = f + 34;
	unsigned sum_at = proto == PROTO_TCP ? 16 : 6;

	eth(f, 0x0800);
	memset(ip, 0, 20);
	ip[0] = 0x45;
	st_be16(ip + 2, (uint16_t)(20 + len));
	ip[8] = 64;
	ip[9] = (uint8_t)proto;
	st_be32(ip + 12, src);
	st_be32(ip + 16, dst);
	st_be16(ip + 10, checksum(0, ip, 20));
	st_be16(t + sum_at, 0);
	st_be16(t + sum_at, checksum((src >> 16) + (src & 0xffff) + (dst >> 16) + (dst & 0xffff) +
				     proto + (uint32_t)len, t, len));
	send_frame(f, 34 + len);
}

/* --- a TCP end --- */

struct tcp {
	uint16_t port, peer;
	uint32_t seq, ack;
	char data[256];		/* last segment received */
	size_t len;
	unsigned flags;
};

static void tcp_send(struct tcp *t, unsigned flags, const char *data)
{
	uint8_t f[400] = { 0 }, *h = f + 34;
	size_t n = data ? strlen(data) : 0;

	st_be16(h, t->port);
	st_be16(h + 2, t->peer);
	st_be32(h + 4, t->seq);
	st_be32(h + 8, t->ack);
	h[12] = 0x50;
	h[13] = (uint8_t)flags;
	st_be16(h + 14, 8192);
	memcpy(h + 20, data ? data : "", n);
	send_ip(f, PROTO_TCP, GUEST, HOST, 20 + n);
	t->seq += (uint32_t)n + (flags & SYN ? 1 : 0) + (flags & FIN ? 1 : 0);
}

/* Wait for a segment with one of @flags (0: any with data); answers ARP meanwhile. */
static bool tcp_wait(struct tcp *t, unsigned flags)
{
	size_t len;
	uint8_t *f;

	while ((f = next_frame(&len)) != NULL) {
		uint8_t *h = f + 34;
		size_t hlen;

		if (ld_be16(f + 12) == 0x0806 && ld_be16(f + 20) == 1)
			send_arp(2, HOST);
		if (ld_be16(f + 12) != 0x0800 || f[23] != PROTO_TCP ||
		    (t->port && ld_be16(h + 2) != t->port))
			continue;
		hlen = (h[12] >> 4) * 4u;
		t->len = ld_be16(f + 16) - 20 - hlen;
		t->flags = h[13];
		assert_true(t->len < sizeof(t->data));
		memcpy(t->data, h + hlen, t->len);
		t->data[t->len] = 0;
		if (flags ? !(t->flags & flags) : !t->len)
			continue;
		t->port = ld_be16(h + 2);
		t->peer = ld_be16(h);
		t->ack = ld_be32(h + 4) + (uint32_t)t->len + (t->flags & (SYN | FIN) ? 1 : 0);
		return true;
	}
	return false;
}

static int listener(uint16_t *port)
{
	struct sockaddr_in a = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	socklen_t n = sizeof(a);
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);

	assert_true(fd >= 0);
	assert_int_equal(bind(fd, (struct sockaddr *)&a, sizeof(a)), 0);
	assert_int_equal(listen(fd, 4), 0);
	assert_int_equal(getsockname(fd, (struct sockaddr *)&a, &n), 0);
	*port = ntohs(a.sin_port);
	return fd;
}

static void test_arp(void **st)
{
	open_net(false, NULL, 0);
	arp();
	assert_int_not_equal(host_mac[0], 0xff);
}

/* --- DHCP (RFC 2131) --- */

static void dhcp_send(unsigned type, uint32_t request)
{
	uint8_t f[400] = { 0 }, *u = f + 34, *d = u + 8, *o = d + 240;

	st_be16(u, 68);
	st_be16(u + 2, 67);
	st_be16(u + 4, 8 + 300);
	d[0] = 1;
	d[1] = 1;
	d[2] = 6;
	st_be32(d + 4, 0x12345678);
	memcpy(d + 28, guest_mac, 6);
	st_be32(d + 236, 0x63825363);
	*o++ = 53;
	*o++ = 1;
	*o++ = (uint8_t)type;
	if (request) {
		*o++ = 50;
		*o++ = 4;
		st_be32(o, request);
		o += 4;
	}
	*o = 255;
	memset(host_mac, 0xff, 6);
	send_ip(f, PROTO_UDP, 0, 0xffffffff, 8 + 300);
}

/* Option @code of a reply, or NULL. */
static const uint8_t *dhcp_option(const uint8_t *f, size_t len, unsigned code)
{
	for (size_t i = 34 + 8 + 240; i + 1 < len && f[i] != 255; i += 2u + f[i + 1])
		if (f[i] == code)
			return f + i + 2;
	return NULL;
}

static void test_dhcp(void **st)
{
	size_t len;
	uint8_t *f;

	open_net(false, NULL, 0);
	dhcp_send(1, 0);
	f = next_frame(&len);
	assert_non_null(f);
	assert_int_equal(f[23], PROTO_UDP);
	assert_int_equal(*dhcp_option(f, len, 53), 2);		/* offer */
	assert_int_equal(ld_be32(f + 34 + 8 + 16), GUEST);
	dhcp_send(3, GUEST);
	f = next_frame(&len);
	assert_non_null(f);
	assert_int_equal(*dhcp_option(f, len, 53), 5);		/* acknowledged */
	assert_int_equal(ld_be32(dhcp_option(f, len, 3)), HOST);	/* router */
	assert_int_equal(ld_be32(dhcp_option(f, len, 6)), HOST + 1);	/* DNS */
	assert_int_equal(ld_be32(f + 34 + 8 + 20), HOST);	/* next server; no boot file */
	assert_int_equal(f[34 + 8 + 108], 0);
}

/* Connection from the guest to a server on the host's loopback, both ways, closed by it. */
static void test_tcp(void **st)
{
	struct tcp t = { .port = 40000, .seq = 1000 };
	int fd, c;
	char buf[64];
	ssize_t n = -1;

	fd = listener(&t.peer);
	open_net(false, NULL, 0);
	arp();
	tcp_send(&t, SYN, NULL);
	assert_true(tcp_wait(&t, SYN));
	assert_int_equal(t.flags & (SYN | ACK), SYN | ACK);
	tcp_send(&t, ACK, NULL);
	c = accept(fd, NULL, NULL);
	assert_true(c >= 0);
	tcp_send(&t, ACK | PSH, "hello host");
	for (unsigned i = 0; n < 0 && i < 50; i++) {
		loop_poll(vm->loop, 0);
		poll(&(struct pollfd){ c, POLLIN, 0 }, 1, 100);
		n = recv(c, buf, sizeof(buf), MSG_DONTWAIT);
	}
	assert_int_equal(n, 10);
	assert_memory_equal(buf, "hello host", 10);
	assert_int_equal(send(c, "hello guest", 11, 0), 11);
	assert_true(tcp_wait(&t, 0));
	assert_string_equal(t.data, "hello guest");
	tcp_send(&t, ACK, NULL);
	close(c);
	assert_true(tcp_wait(&t, FIN));
	tcp_send(&t, ACK | FIN, NULL);
	close(fd);
}

/* Nobody listens: the guest is told at once. */
static void test_tcp_refused(void **st)
{
	struct tcp t = { .port = 40000, .seq = 1000 };

	close(listener(&t.peer));
	open_net(false, NULL, 0);
	arp();
	tcp_send(&t, SYN, NULL);
	assert_true(tcp_wait(&t, RST));
}

/* restrict_host: 10.0.2.2 does not lead to the host's loopback. */
static void test_restrict(void **st)
{
	struct tcp t = { .port = 40000, .seq = 1000 };
	int fd = listener(&t.peer);
	size_t len;
	uint8_t *f;

	open_net(true, NULL, 0);
	arp();
	tcp_send(&t, SYN, NULL);
	f = next_frame(&len);
	assert_non_null(f);
	assert_int_equal(f[23], 1);	/* ICMP */
	assert_int_equal(f[34], 3);	/* destination unreachable */
	assert_int_equal(accept(fd, NULL, NULL), -1);
	assert_int_equal(errno, EAGAIN);
	close(fd);
}

/* Host port to guest port; a port in use is an error that names it. */
static void test_forward(void **st)
{
	struct sockaddr_in a = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	struct net_forward fw = { .guest_port = 22 };
	struct net_user_config cfg = { .forwards = &fw, .nforwards = 1 };
	struct tcp t = { .seq = 5000 };
	struct err e = { 0 };
	char buf[16] = { 0 };
	int fd = listener(&fw.host_port), c;

	assert_null(net_user_open(&cfg, vm->loop, vm->clock, &e));
	assert_non_null(strstr(e.msg, "127.0.0.1"));
	assert_int_equal(e.exit_code, HV_EXIT_HOST);
	close(fd);
	open_net(false, &fw, 1);
	arp();
	c = socket(AF_INET, SOCK_STREAM, 0);
	a.sin_port = htons(fw.host_port);
	assert_int_equal(connect(c, (struct sockaddr *)&a, sizeof(a)), 0);
	assert_true(tcp_wait(&t, SYN));
	assert_int_equal(t.port, 22);
	tcp_send(&t, SYN | ACK, NULL);
	assert_true(tcp_wait(&t, ACK));
	tcp_send(&t, ACK | PSH, "banner");
	for (unsigned i = 0; !buf[0] && i < 50; i++) {
		loop_poll(vm->loop, 0);
		poll(&(struct pollfd){ c, POLLIN, 0 }, 1, 100);
		(void)!recv(c, buf, sizeof(buf), MSG_DONTWAIT);
	}
	assert_string_equal(buf, "banner");
	close(c);
	assert_true(tcp_wait(&t, FIN | RST));
}

static void test_bad_address(void **st)
{
	struct net_forward fw = { .host_addr = "::1", .host_port = 2222, .guest_port = 22 };
	struct net_user_config cfg = { .forwards = &fw, .nforwards = 1 };
	struct err e = { 0 };

	assert_null(net_user_open(&cfg, vm->loop, vm->clock, &e));
	assert_int_equal(e.exit_code, HV_EXIT_USAGE);
}

/* Frames wait, bounded, while the guest does not receive; order is kept. */
static void test_queue(void **st)
{
	unsigned before;

	open_net(false, NULL, 0);
	arp();
	before = nrx;
	deaf = true;
	for (unsigned i = 0; i < 400; i++)
		send_arp(1, HOST);
	loop_poll(vm->loop, 0);
	assert_int_equal(nrx, before);
	deaf = false;
	vm_lock(vm);
	net->ops->resume(net);
	vm_unlock(vm);
	assert_int_equal(nrx, before + 256);
}

/* Without connections nothing is waited for: no timer, no descriptor event. */
static void test_idle(void **st)
{
	open_net(false, NULL, 0);
	arp();
	loop_poll(vm->loop, 0);
	assert_int_equal(vclock_next(vm->clock), UINT64_MAX);
	tvm_advance(vm, 3600 * NS_PER_SEC);
	arp();
}

/* An hour of silence must not make a new connection look old. */
static void test_stale_clock(void **st)
{
	open_net(false, NULL, 0);
	tvm_advance(vm, 3600 * NS_PER_SEC);
	net_close(net);
	net = NULL;
	test_tcp(st);
}

/* Noise in valid and invalid frames, all lengths. */
static void test_fuzz(void **st)
{
	static uint8_t f[2000];
	uint32_t seed = 31337;

	open_net(true, NULL, 0);
	arp();
	for (unsigned i = 0; i < 20000; i++) {
		size_t len = 0;

		for (unsigned k = 0; k < 80; k++) {
			seed = seed * 1664525 + 1013904223;
			f[k] = (uint8_t)(seed >> 24);
		}
		len = (seed >> 4) % 1600;
		eth(f, seed >> 30 == 0 ? 0x0806 : seed >> 30 == 1 ? 0x86dd : 0x0800);
		if (seed & 1)
			f[14] = 0x45;
		f[23] = "\1\6\21\2"[seed >> 2 & 3];
		/* To the gateway, whose loopback is closed: nothing may leave the machine. */
		st_be32(f + 26, GUEST);
		st_be32(f + 30, HOST);
		if (seed & 0x100 && len >= 60) {	/* past the header checks */
			f[14] = 0x45;
			st_be16(f + 16, (uint16_t)(len - 14 - (seed >> 10 & 3)));
			st_be16(f + 20, seed & 0x200 ? seed >> 12 & 0x2003 : 0);
			st_be16(f + 24, 0);
			st_be16(f + 24, checksum(0, f + 14, 20));
			if (f[23] == PROTO_UDP)
				st_be16(f + 40, 0);	/* no checksum */
			if (f[23] == PROTO_UDP)
				st_be16(f + 38, (uint16_t)(len - 34));
		}
		send_frame(f, len);
		if (i % 64 == 0) {
			tvm_advance(vm, 50 * NS_PER_MS);
			loop_poll(vm->loop, 0);
			nrx = taken = 0;
		}
	}
}

int main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
	const struct CMUnitTest tests[] = {
		T(test_arp), T(test_dhcp), T(test_tcp), T(test_tcp_refused), T(test_restrict),
		T(test_forward), T(test_bad_address), T(test_queue), T(test_idle),
		T(test_stale_clock), T(test_fuzz),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
