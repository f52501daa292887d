/* SPDX-License-Identifier: MIT */
/* virtio-net with a back end that records; sections of VIRTIO 1.2. */
#include "../../src/net.h"
#include "../lib/vguest.h"
#include <stdlib.h>

#define HDR 12u
#define BUF 0x80000u

enum { F_MAC = 5, F_MRG = 15, F_STATUS = 16 };

/* --- the back end --- */

struct fake_net {
	struct net net;
	uint8_t sent[70000];
	size_t sent_len;
	unsigned nsent, resumed;
	bool echo;		/* deliver back to the guest at once, inside send() */
};

static struct fake_net wire_end;

static void fake_send(struct net *n, const struct iovec *iov, unsigned niov, size_t len)
{
	size_t at = 0;

	assert_true(len <= NET_MAX_FRAME);
	for (unsigned i = 0; i < niov; i++) {
		memcpy(wire_end.sent + at, iov[i].iov_base, iov[i].iov_len);
		at += iov[i].iov_len;
	}
	assert_int_equal(at, len);
	wire_end.sent_len = len;
	wire_end.nsent++;
	if (wire_end.echo && n->nic->can_receive(n->nic_opaque))
		n->nic->receive(n->nic_opaque, wire_end.sent, len);
}

static void fake_resume(struct net *n)
{
	wire_end.resumed++;
}

static void fake_close(struct net *n)
{
}

static const struct net_ops fake_ops = {
	.name = "fake", .send = fake_send, .resume = fake_resume, .close = fake_close,
};

/* --- guest side --- */

static struct vm *vm;
static struct vguest g;
static struct vgq q[2];		/* receive, transmit */
static const uint8_t mac[6] = { 0x52, 0x54, 0, 0x12, 0x34, 0x56 };

static void wire(struct device *d)
{
	vg_give_bus(d);
	virtio_net_setup(d, &wire_end.net, mac);
}

static int setup_wire(void **st)
{
	memset(&wire_end, 0, sizeof(wire_end));
	wire_end.net.ops = &fake_ops;
	return 0;
}

static int setup(void **st)
{
	setup_wire(st);
	vm = tvm_new(MiB(4));
	vg_init(&g, vm, tvm_add(vm, &virtio_net_ops, "nic0", wire));
	return 0;
}

static int teardown(void **st)
{
	tvm_free(vm);
	vg_buses_free();
	return 0;
}

static void started(uint64_t features)
{
	vg_start(&g, features, q, 2);
}

static bool can_receive(void)
{
	bool ok;

	vm_lock(vm);
	ok = wire_end.net.nic->can_receive(wire_end.net.nic_opaque);
	vm_unlock(vm);
	return ok;
}

static void receive(const uint8_t *frame, size_t len)
{
	vm_lock(vm);
	wire_end.net.nic->receive(wire_end.net.nic_opaque, frame, len);
	vm_unlock(vm);
}

static void offer_rx(uint64_t at, uint32_t len)
{
	vg_add(&q[0], &(struct vgbuf){ at, len }, 0, 1);
	vg_kick(&q[0]);
}

/* 5.1.4 */
static void test_config(void **st)
{
	uint8_t m[6];

	assert_int_equal(vg_cfg_rd(&g, PCI_VENDOR_ID, 4), 0x10001af4);
	assert_int_equal(vg_cfg_rd(&g, PCI_CLASS_DEVICE, 2), 0x0200);
	for (unsigned i = 0; i < 6; i++)
		m[i] = (uint8_t)vg_rd(&g, VG_CONFIG + i, 1);
	assert_memory_equal(m, mac, 6);
	assert_int_equal(vg_rd(&g, VG_CONFIG + 6, 2), 1);	/* link up */
	vg_wr(&g, VG_CONFIG, 4, 0);				/* not writable (5.1.4.2) */
	assert_int_equal(vg_rd(&g, VG_CONFIG, 4), 0x12005452);
	tvm_outb(vm, VG_IO + 0x12, 1);
	tvm_outb(vm, VG_IO + 0x14 + 5, 0x99);			/* legacy drivers may */
	assert_int_equal(vg_rd(&g, VG_CONFIG + 4, 2), 0x9934);
	tvm_outb(vm, VG_IO + 0x12, 0);
	assert_int_equal(vg_rd(&g, VG_CONFIG + 4, 2), 0x5634);
}

/* 5.1.6.2: the header is cut off, however the frame is scattered. */
static void test_transmit(void **st)
{
	struct vgbuf b[3] = { { BUF, 5 }, { BUF + 0x100, 40 }, { BUF + 0x200, 27 } };
	uint8_t data[100];
	uint16_t head;
	uint32_t n;

	started(0);
	for (unsigned i = 0; i < 100; i++)
		data[i] = (uint8_t)i;
	vg_put(&g, BUF, data, 5);
	vg_put(&g, BUF + 0x100, data + 5, 40);
	vg_put(&g, BUF + 0x200, data + 45, 27);
	vg_add(&q[1], b, 3, 0);
	vg_kick(&q[1]);
	assert_int_equal(wire_end.nsent, 1);
	assert_int_equal(wire_end.sent_len, 72 - HDR);
	assert_memory_equal(wire_end.sent, data + HDR, 72 - HDR);
	assert_true(vg_used(&q[1], &head, &n));
	assert_int_equal(n, 0);
}

static void test_transmit_bad(void **st)
{
	struct vgbuf b = { BUF, 5 };
	uint16_t head;
	uint32_t n;

	started(0);
	vg_add(&q[1], &b, 1, 0);	/* not even a header */
	b.len = HDR + 13;
	vg_add(&q[1], &b, 1, 0);	/* runt */
	b.len = NET_MAX_FRAME + HDR + 1;
	vg_add(&q[1], &b, 1, 0);	/* giant */
	b = (struct vgbuf){ 0x7fff0000, 100 };
	vg_add(&q[1], &b, 1, 0);	/* not RAM */
	b = (struct vgbuf){ BUF, 100 };
	vg_add(&q[1], &b, 0, 1);	/* writable only */
	b.len = HDR + 14;
	vg_add(&q[1], &b, 1, 0);
	vg_kick(&q[1]);
	for (unsigned i = 0; i < 6; i++)
		assert_true(vg_used(&q[1], &head, &n));
	assert_int_equal(wire_end.nsent, 1);
	assert_int_equal(vg_rd(&g, 0x14, 1), 15);
}

/* 5.1.6.4: header with num_buffers 1, then the frame */
static void test_receive(void **st)
{
	uint8_t frame[60], got[80];
	uint16_t head;
	uint32_t n;

	memset(frame, 0xab, sizeof(frame));
	assert_false(can_receive());
	started(0);
	assert_false(can_receive());	/* no buffers */
	offer_rx(BUF, 1526);
	assert_true(can_receive());
	receive(frame, 60);
	assert_true(vg_used(&q[0], &head, &n));
	assert_int_equal(n, 60 + HDR);
	vg_get(&g, BUF, got, 72);
	for (unsigned i = 0; i < 10; i++)
		assert_int_equal(got[i], 0);
	assert_int_equal(ld_le16(got + 10), 1);
	assert_memory_equal(got + HDR, frame, 60);
	assert_int_not_equal(g.irq.level, 0);
	assert_false(can_receive());
}

/* The legacy header without mergeable buffers has 10 bytes (5.1.6.1). */
static void test_receive_legacy(void **st)
{
	uint8_t frame[60] = { 1 }, got[80];
	uint16_t head;
	uint32_t n;
	struct vgq *r = &q[0];

	tvm_outb(vm, VG_IO + 0x12, 3);
	tvm_outl(vm, VG_IO + 4, 0);
	tvm_outw(vm, VG_IO + 0x0e, 0);
	*r = (struct vgq){ .g = &g, .size = 256, .desc = 0x40000, .avail = 0x41000,
			    .used = 0x42000 };
	tvm_outl(vm, VG_IO + 8, 0x40);
	tvm_outb(vm, VG_IO + 0x12, 7);
	vg_add(r, &(struct vgbuf){ BUF, 1526 }, 0, 1);
	tvm_outw(vm, VG_IO + 0x10, 0);
	receive(frame, 60);
	assert_true(vg_used(r, &head, &n));
	assert_int_equal(n, 70);
	vg_get(&g, BUF, got, 70);
	assert_memory_equal(got + 10, frame, 60);
}

/* 5.1.6.4.1: one frame over several buffers */
static void test_mergeable(void **st)
{
	uint8_t frame[1000], got[1100];
	uint16_t head;
	uint32_t n, total = 0;

	for (unsigned i = 0; i < sizeof(frame); i++)
		frame[i] = (uint8_t)(i * 3);
	started(VIRTIO_BIT(F_MRG));
	for (unsigned i = 0; i < 4; i++)
		offer_rx(BUF + 300 * i, 300);
	receive(frame, sizeof(frame));
	for (unsigned i = 0; i < 4; i++) {
		assert_true(vg_used(&q[0], &head, &n));
		total += n;
	}
	assert_int_equal(total, 1012);
	vg_get(&g, BUF, got, 1012);
	assert_int_equal(ld_le16(got + 10), 4);
	assert_memory_equal(got + HDR, frame, 1000);
}

/* Too few buffers: the frame is dropped, the buffers stay. */
static void test_mergeable_short(void **st)
{
	static uint8_t frame[1000];
	uint16_t head;
	uint32_t n;

	started(VIRTIO_BIT(F_MRG));
	offer_rx(BUF, 300);
	offer_rx(BUF + 300, 300);
	receive(frame, sizeof(frame));
	assert_false(vg_used(&q[0], &head, &n));
	receive(frame, 500);
	assert_true(vg_used(&q[0], &head, &n));
	assert_int_equal(head, 0);
	assert_true(vg_used(&q[0], &head, &n));
	/* Without the feature a frame must fit into one buffer. */
	started(0);
	offer_rx(BUF, 300);
	offer_rx(BUF + 300, 300);
	receive(frame, 500);
	assert_false(vg_used(&q[0], &head, &n));
	receive(frame, 200);
	assert_true(vg_used(&q[0], &head, &n));
}

static void test_receive_bad_buffers(void **st)
{
	static uint8_t frame[100];
	uint16_t head;
	uint32_t n;

	started(0);
	offer_rx(BUF, 8);		/* no room for the header */
	receive(frame, 100);
	assert_false(vg_used(&q[0], &head, &n));
	assert_true(vg_rd(&g, 0x14, 1) & VIRTIO_S_NEEDS_RESET);
	started(0);
	offer_rx(0x7fff0000, 2000);	/* not RAM */
	receive(frame, 100);
	assert_true(vg_rd(&g, 0x14, 1) & VIRTIO_S_NEEDS_RESET);
	assert_false(can_receive());
	started(0);
	vg_add(&q[0], &(struct vgbuf){ BUF, 2000 }, 1, 0);	/* nothing writable */
	receive(frame, 100);
	assert_true(vg_rd(&g, 0x14, 1) & VIRTIO_S_NEEDS_RESET);
}

static void test_resume(void **st)
{
	started(VIRTIO_BIT(VIRTIO_F_EVENT_IDX));
	wire_end.resumed = 0;
	assert_false(can_receive());	/* asks for a notification */
	offer_rx(BUF, 2000);
	assert_int_equal(wire_end.resumed, 1);
	assert_true(can_receive());
}

/* A back end that answers inside send(). */
static void test_echo(void **st)
{
	uint8_t out[60], got[60];
	uint16_t head;
	uint32_t n;

	started(VIRTIO_BIT(F_MRG));
	wire_end.echo = true;
	memset(out, 0x77, sizeof(out));
	vg_put(&g, BUF + HDR, out, sizeof(out));
	offer_rx(BUF + 0x1000, 2000);
	vg_add(&q[1], &(struct vgbuf){ BUF, 72 }, 1, 0);
	vg_kick(&q[1]);
	assert_true(vg_used(&q[0], &head, &n));
	assert_true(vg_used(&q[1], &head, &n));
	vg_get(&g, BUF + 0x1000 + HDR, got, 60);
	assert_memory_equal(got, out, 60);
}

static void poke(struct vm *pvm, struct device *d)
{
	static uint8_t frame[100];

	vm = pvm;
	vg_init(&g, pvm, d);
	tvm_outb(vm, VG_IO + 0x12, 1);
	tvm_outb(vm, VG_IO + 0x14, 0x98);
	tvm_outb(vm, VG_IO + 0x12, 0);
	started(VIRTIO_BIT(F_MRG));
	offer_rx(BUF, 500);
	receive(frame, 100);
	vg_add(&q[1], &(struct vgbuf){ BUF, 100 }, 1, 0);
	vg_kick(&q[1]);
}

static void test_roundtrip(void **st)
{
	tvm_check_roundtrip(&virtio_net_ops, wire, poke);
	vg_buses_free();
}

static void test_reset(void **st)
{
	tvm_check_reset(&virtio_net_ops, wire, poke);
	vg_buses_free();
}

static void test_fuzz(void **st)
{
	static uint8_t frame[4000];
	uint32_t seed = 5, n;
	uint16_t head;

	wire_end.echo = true;
	for (unsigned round = 0; round < 20000; round++) {
		struct vgbuf b[4];
		unsigned total;

		if (round % 16 == 0) {
			g.heap = 0x10000;
			vg_put(&g, 0x10000, (uint8_t[0x2000]){ 0 }, 0x2000);
			started(round & 16 ? VIRTIO_BIT(F_MRG) : 0);
		}
		for (unsigned i = 0; i < 4; i++) {
			seed = seed * 1664525 + 1013904223;
			b[i].at = BUF + (seed >> 24 == 0 ? 0x7fff0000 : seed >> 16);
			b[i].len = seed >> 12 & 1 ? seed >> 20 : seed >> 28;
		}
		total = 1 + (seed >> 8) % 4;
		if (seed & 0x1000)
			vg_add(&q[1], b, total, 0);
		else
			vg_add(&q[0], b, (seed >> 9) % 8 == 0, total - ((seed >> 9) % 8 == 0) ?: 1);
		vg_kick(&q[seed >> 12 & 1]);
		if (seed & 0x6000)
			receive(frame, 14 + (seed >> 16) % 3900);
		while (vg_used(&q[0], &head, &n) || vg_used(&q[1], &head, &n))
			;
	}
}

int main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
	const struct CMUnitTest tests[] = {
		T(test_config), T(test_transmit), T(test_transmit_bad), T(test_receive),
		T(test_receive_legacy), T(test_mergeable), T(test_mergeable_short),
		T(test_receive_bad_buffers), T(test_resume), T(test_echo), T(test_fuzz),
		cmocka_unit_test_setup(test_roundtrip, setup_wire),
		cmocka_unit_test_setup(test_reset, setup_wire),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
