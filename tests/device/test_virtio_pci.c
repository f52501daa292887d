/* SPDX-License-Identifier: MIT */
/*
 * The virtio PCI transport through the bus, modern and legacy, on the
 * simplest device (entropy), and the entropy device itself.  Sections: VIRTIO 1.2.
 */
#include "../lib/vguest.h"
#include <stdlib.h>

static struct vm *vm;
static struct vguest g;
static bool modern_only;

static void wire(struct device *d)
{
	vg_give_bus(d);
	virtio_of(d)->disable_legacy = modern_only;
}

static void start(bool no_legacy)
{
	modern_only = no_legacy;
	vm = tvm_new(MiB(4));
	vg_init(&g, vm, tvm_add(vm, &virtio_rng_ops, "rng0", wire));
}

static int setup(void **st)
{
	start(false);
	return 0;
}

static int setup_modern(void **st)
{
	start(true);
	return 0;
}

static int teardown(void **st)
{
	tvm_free(vm);
	vg_buses_free();
	return 0;
}

/* 4.1.2: identities */
static void test_id_transitional(void **st)
{
	assert_int_equal(vg_cfg_rd(&g, PCI_VENDOR_ID, 4), 0x10051af4);
	assert_int_equal(vg_cfg_rd(&g, PCI_REVISION, 1), 0);
	assert_int_equal(vg_cfg_rd(&g, PCI_SUBSYS_VENDOR, 4), 0x00041af4);
	assert_int_equal(vg_cfg_rd(&g, PCI_BAR0, 4) & 1, 1);
}

static void test_id_modern(void **st)
{
	assert_int_equal(vg_cfg_rd(&g, PCI_VENDOR_ID, 4), 0x10441af4);
	assert_true(vg_cfg_rd(&g, PCI_REVISION, 1) >= 1);
	assert_true(vg_cfg_rd(&g, PCI_SUBSYS_ID, 2) >= 0x40);
	assert_int_equal(vg_cfg_rd(&g, PCI_BAR0, 4), 0);	/* no legacy block */
}

/* 4.1.4: the capability list leads to every structure, inside the BAR. */
static void test_caps(void **st)
{
	unsigned seen = 0, at = vg_cfg_rd(&g, PCI_CAP_PTR, 1), ttl = 20;

	for (; at && ttl; at = vg_cfg_rd(&g, at + 1, 1), ttl--) {
		unsigned type = vg_cfg_rd(&g, at + 3, 1);

		if (vg_cfg_rd(&g, at, 1) != 9)
			continue;
		seen |= 1u << type;
		assert_true(vg_cfg_rd(&g, at + 2, 1) >= 16);
		if (type == 5)
			continue;
		assert_int_equal(vg_cfg_rd(&g, at + 4, 1), 4);
		assert_true(vg_cfg_rd(&g, at + 8, 4) + vg_cfg_rd(&g, at + 12, 4) <= 0x4000);
		if (type == 2)
			assert_int_equal(vg_cfg_rd(&g, at + 16, 4), 4);
	}
	assert_true(ttl);
	assert_int_equal(seen, 1 << 1 | 1 << 2 | 1 << 3 | 1 << 5);	/* no configuration */
}

/* 2.2: features by halves; unknown selectors read 0 (4.1.4.3.1) */
static void test_features(void **st)
{
	vg_wr(&g, 0, 4, 0);
	assert_int_equal(vg_rd(&g, 4, 4), 3u << 28);	/* INDIRECT_DESC, EVENT_IDX */
	vg_wr(&g, 0, 4, 1);
	assert_int_equal(vg_rd(&g, 4, 4), 1);		/* VERSION_1 */
	vg_wr(&g, 0, 4, 2);
	assert_int_equal(vg_rd(&g, 4, 4), 0);
	vg_wr(&g, 0, 4, UINT32_MAX);
	assert_int_equal(vg_rd(&g, 4, 4), 0);
}

static void test_negotiation(void **st)
{
	assert_true(vg_negotiate(&g, VIRTIO_BIT(VIRTIO_F_EVENT_IDX)));
	/* Fixed from then on */
	vg_wr(&g, 0x08, 4, 0);
	vg_wr(&g, 0x0c, 4, 0);
	assert_int_equal(vg_rd(&g, 0x0c, 4), 1u << 29);
	/* 2.2.2: a feature that was not offered: no FEATURES_OK */
	assert_false(vg_negotiate(&g, VIRTIO_BIT(40)));
	assert_int_equal(vg_rd(&g, 0x14, 1), 3);
	/* 6.2: nor without VERSION_1 */
	vg_wr(&g, 0x14, 1, 0);
	vg_wr(&g, 0x14, 1, 11);
	assert_int_equal(vg_rd(&g, 0x14, 1), 3);
	/* DRIVER_OK needs FEATURES_OK (3.1.1) */
	vg_wr(&g, 0x14, 1, 7);
	assert_int_equal(vg_rd(&g, 0x14, 1), 3);
}

/* 4.1.4.3: queue registers */
static void test_queue_registers(void **st)
{
	assert_int_equal(vg_rd(&g, 0x12, 2), 1);
	assert_true(vg_negotiate(&g, 0));
	assert_int_equal(vg_rd(&g, 0x18, 2), 64);
	vg_wr(&g, 0x18, 2, 63);			/* not a power of two */
	assert_int_equal(vg_rd(&g, 0x18, 2), 64);
	vg_wr(&g, 0x18, 2, 128);		/* larger than offered */
	assert_int_equal(vg_rd(&g, 0x18, 2), 64);
	vg_wr(&g, 0x18, 2, 16);
	assert_int_equal(vg_rd(&g, 0x18, 2), 16);
	vg_wr(&g, 0x20, 4, 0x12340);
	vg_wr(&g, 0x24, 4, 0x1);
	assert_int_equal(vg_rd(&g, 0x20, 4), 0x12340);
	assert_int_equal(vg_rd(&g, 0x24, 4), 1);
	assert_int_equal(vg_rd(&g, 0x1e, 2), 0);
	vg_wr(&g, 0x1c, 2, 1);
	assert_int_equal(vg_rd(&g, 0x1c, 2), 1);
	vg_wr(&g, 0x20, 4, 0);			/* fixed while enabled */
	vg_wr(&g, 0x18, 2, 8);
	vg_wr(&g, 0x1c, 2, 0);			/* 4.1.4.3.2: never written as 0 */
	assert_int_equal(vg_rd(&g, 0x20, 4), 0x12340);
	assert_int_equal(vg_rd(&g, 0x18, 2), 16);
	assert_int_equal(vg_rd(&g, 0x1c, 2), 1);
	/* 4.1.5.1.3: a queue that does not exist has size 0 */
	vg_wr(&g, 0x16, 2, 1);
	assert_int_equal(vg_rd(&g, 0x18, 2), 0);
	vg_wr(&g, 0x16, 2, 0xffff);
	assert_int_equal(vg_rd(&g, 0x18, 2), 0);
	vg_wr(&g, 0x1c, 2, 1);
	vg_wr(&g, 0x20, 4, 5);
}

/* 4.1.5.1.2: a vector that does not exist reads back as NO_VECTOR */
static void test_vectors(void **st)
{
	assert_int_equal(vg_rd(&g, 0x10, 2), 0xffff);
	vg_wr(&g, 0x10, 2, 1);
	vg_wr(&g, 0x1a, 2, 0);
	assert_int_equal(vg_rd(&g, 0x10, 2), 1);
	assert_int_equal(vg_rd(&g, 0x1a, 2), 0);
	vg_wr(&g, 0x10, 2, 2);
	vg_wr(&g, 0x1a, 2, 700);
	assert_int_equal(vg_rd(&g, 0x10, 2), 0xffff);
	assert_int_equal(vg_rd(&g, 0x1a, 2), 0xffff);
}

static void test_reset_status(void **st)
{
	struct vgq q;

	vg_start(&g, 0, &q, 1);
	vg_wr(&g, 0x14, 1, 0);
	assert_int_equal(vg_rd(&g, 0x14, 1), 0);
	assert_int_equal(vg_rd(&g, 0x1c, 2), 0);
	assert_int_equal(vg_rd(&g, 0x20, 4), 0);
	assert_int_equal(vg_rd(&g, 0x18, 2), 64);
}

static void request(struct vgq *q, uint64_t at, uint32_t len)
{
	vg_add(q, &(struct vgbuf){ at, len }, 0, 1);
	vg_kick(q);
}

static bool all_zero(uint64_t at, unsigned len)
{
	uint8_t b, any = 0;

	for (unsigned i = 0; i < len; i++) {
		vg_get(&g, at + i, &b, 1);
		any |= b;
	}
	return !any;
}

/* 5.4.6 and 4.1.4.5: random bytes arrive, INTx is level triggered through the ISR */
static void test_rng_intx(void **st)
{
	struct vgq q;
	uint16_t head;
	uint32_t len;

	vg_start(&g, 0, &q, 1);
	request(&q, 0x80000, 64);
	assert_true(vg_used(&q, &head, &len));
	assert_int_equal(len, 64);
	assert_false(all_zero(0x80000, 64));
	assert_true(all_zero(0x80040, 64));
	assert_int_not_equal(g.irq.level, 0);
	assert_int_equal(vg_rd(&g, VG_ISR, 1), VIRTIO_ISR_QUEUE);
	assert_int_equal(g.irq.level, 0);
	assert_int_equal(vg_rd(&g, VG_ISR, 1), 0);
}

static void enable_msix(void)
{
	unsigned cap = vg_cfg_rd(&g, PCI_CAP_PTR, 1);

	while (vg_cfg_rd(&g, cap, 1) != 0x11)
		cap = vg_cfg_rd(&g, cap + 1, 1);
	for (unsigned i = 0; i < 2; i++) {
		tvm_wr32(vm, VG_MSIX + 16 * i, 0xfee00000);
		tvm_wr32(vm, VG_MSIX + 16 * i + 4, 0);
		tvm_wr32(vm, VG_MSIX + 16 * i + 8, 0x40 + i);
		tvm_wr32(vm, VG_MSIX + 16 * i + 12, 0);
	}
	vg_cfg_wr(&g, cap + 2, 2, 0x8000);
}

/* 4.1.5.1.2: queue and configuration events by message; no INTx, no queue bit in the ISR */
static void test_msix(void **st)
{
	struct vgq q;

	enable_msix();
	vg_start(&g, 0, &q, 1);
	request(&q, 0x80000, 8);
	assert_int_equal(g.msis, 0);	/* no vector yet */
	vg_wr(&g, 0x1a, 2, 1);
	vg_wr(&g, 0x10, 2, 0);
	request(&q, 0x80000, 8);
	assert_int_equal(g.msis, 1);
	assert_int_equal(g.msi_data, 0x41);
	assert_int_equal(vg_rd(&g, VG_ISR, 1), 0);
	/* A broken ring: NEEDS_RESET and a configuration interrupt (2.1.2) */
	vg_offer(&q, 77);
	vg_kick(&q);
	assert_int_equal(vg_rd(&g, 0x14, 1), 15 | VIRTIO_S_NEEDS_RESET);
	assert_int_equal(g.msis, 2);
	assert_int_equal(g.msi_data, 0x40);
	assert_int_equal(vg_rd(&g, 0x15, 1), 1);	/* generation */
	assert_int_equal(g.irq.level, 0);
	/* It works again after a reset. */
	vg_start(&g, 0, &q, 1);
	vg_wr(&g, 0x1a, 2, 1);
	request(&q, 0x80000, 8);
	assert_int_equal(g.msis, 3);
}

static void test_not_started(void **st)
{
	struct vgq q;
	uint16_t head;
	uint32_t len;

	vg_wr(&g, VG_NOTIFY, 2, 0);
	assert_true(vg_negotiate(&g, 0));
	vg_queue(&g, &q, 0, 16);
	request(&q, 0x80000, 16);
	assert_false(vg_used(&q, &head, &len));	/* before DRIVER_OK (3.1.1) */
	vg_driver_ok(&g);
	assert_true(vg_used(&q, &head, &len));	/* what was queued is served then */
	/* Without bus mastering nothing moves. */
	vg_cfg_wr(&g, PCI_COMMAND, 2, PCI_CMD_MEM);
	request(&q, 0x80000, 16);
	assert_false(vg_used(&q, &head, &len));
}

static void test_wrong_order(void **st)
{
	vg_wr(&g, 0x1c, 2, 1);			/* enabled before FEATURES_OK */
	assert_int_equal(vg_rd(&g, 0x1c, 2), 0);
	assert_true(vg_negotiate(&g, 0));
	vg_wr(&g, 0x20, 4, 7);			/* misaligned */
	vg_wr(&g, 0x1c, 2, 1);
	assert_int_equal(vg_rd(&g, 0x1c, 2), 0);
	assert_int_equal(vg_rd(&g, 0x14, 1) & VIRTIO_S_NEEDS_RESET, VIRTIO_S_NEEDS_RESET);
	vg_wr(&g, VG_NOTIFY + 4 * 900, 2, 900);	/* no such queue */
	vg_wr(&g, 0x0e, 1, 5);			/* odd width */
}

/* 4.1.4.9: registers through configuration space, as firmware does */
static void test_cfg_window(void **st)
{
	unsigned cap = vg_cfg_rd(&g, PCI_CAP_PTR, 1);

	while (vg_cfg_rd(&g, cap, 1) != 9 || vg_cfg_rd(&g, cap + 3, 1) != 5)
		cap = vg_cfg_rd(&g, cap + 1, 1);
	vg_cfg_wr(&g, cap + 4, 1, 4);
	vg_cfg_wr(&g, cap + 8, 4, 0x14);
	vg_cfg_wr(&g, cap + 12, 4, 1);
	vg_cfg_wr(&g, cap + 16, 4, 3);
	assert_int_equal(vg_rd(&g, 0x14, 1), 3);
	assert_int_equal(vg_cfg_rd(&g, cap + 16, 1), 3);
	vg_cfg_wr(&g, cap + 8, 4, 0x12);
	vg_cfg_wr(&g, cap + 12, 4, 2);
	assert_int_equal(vg_cfg_rd(&g, cap + 16, 2), 1);
	/* Nonsense reaches nothing. */
	vg_cfg_wr(&g, cap + 8, 4, 0xfffffffc);
	vg_cfg_wr(&g, cap + 12, 4, 4);
	vg_cfg_wr(&g, cap + 16, 4, 0);
	(void)vg_cfg_rd(&g, cap + 16, 4);
	vg_cfg_wr(&g, cap + 12, 4, 0x80000000);
	(void)vg_cfg_rd(&g, cap + 16, 4);
	assert_int_equal(vg_rd(&g, 0x14, 1), 3);
}

/* 4.1.4.10 and 2.7.2: the legacy block */
static void legacy_start(struct vgq *q)
{
	tvm_outb(vm, VG_IO + 0x12, 0);
	tvm_outb(vm, VG_IO + 0x12, 3);
	assert_int_equal(tvm_inl(vm, VG_IO), 7u << 27);	/* ANY_LAYOUT, INDIRECT, EVENT_IDX */
	tvm_outl(vm, VG_IO + 4, 0xffffffff);
	assert_int_equal(tvm_inl(vm, VG_IO + 4), 7u << 27);	/* masked */
	tvm_outl(vm, VG_IO + 4, 0);
	tvm_outw(vm, VG_IO + 0x0e, 0);
	assert_int_equal(tvm_inw(vm, VG_IO + 0x0c), 64);
	*q = (struct vgq){ .g = &g, .size = 64, .desc = 0x40000, .avail = 0x40400,
			    .used = 0x41000 };
	tvm_outl(vm, VG_IO + 8, 0x40);
	assert_int_equal(tvm_inl(vm, VG_IO + 8), 0x40);
	tvm_outb(vm, VG_IO + 0x12, 7);
}

static void test_legacy(void **st)
{
	uint8_t zero[0x2000] = { 0 };
	struct vgq q;
	uint16_t head;
	uint32_t len;

	legacy_start(&q);
	vg_add(&q, &(struct vgbuf){ 0x80000, 32 }, 0, 1);
	tvm_outw(vm, VG_IO + 0x10, 0);
	assert_true(vg_used(&q, &head, &len));
	assert_int_equal(len, 32);
	assert_int_not_equal(g.irq.level, 0);
	assert_int_equal(tvm_inb(vm, VG_IO + 0x13), 1);
	assert_int_equal(g.irq.level, 0);
	tvm_outb(vm, VG_IO + 0x12, 0);
	assert_int_equal(tvm_inl(vm, VG_IO + 8), 0);
	/* Vectors appear in the block with MSI-X. */
	vg_put(&g, 0x40000, zero, sizeof(zero));
	enable_msix();
	legacy_start(&q);
	tvm_outw(vm, VG_IO + 0x16, 1);
	assert_int_equal(tvm_inw(vm, VG_IO + 0x16), 1);
	tvm_outw(vm, VG_IO + 0x14, 9);
	assert_int_equal(tvm_inw(vm, VG_IO + 0x14), 0xffff);
	vg_add(&q, &(struct vgbuf){ 0x80000, 32 }, 0, 1);
	tvm_outw(vm, VG_IO + 0x10, 0);
	assert_int_equal(g.msis, 1);
	/* A queue page of 0 resets the device. */
	tvm_outl(vm, VG_IO + 8, 0);
	assert_int_equal(tvm_inb(vm, VG_IO + 0x12), 0);
}

/* Rate: after the quota a request waits for the next period of virtual time. */
static void test_rng_quota(void **st)
{
	struct vgq q;
	uint16_t head;
	uint32_t len, total = 0;
	unsigned left = 0;

	vg_start(&g, 0, &q, 1);
	for (unsigned i = 0; i < 20; i++)
		request(&q, 0x80000, 8192);	/* filled in part: 4096 each */
	while (vg_used(&q, &head, &len))
		total += len;
	assert_int_equal(total, 65536);
	tvm_advance(vm, 200 * NS_PER_MS);
	while (vg_used(&q, &head, &len))
		left++;
	assert_int_equal(left, 4);
}

static void test_rng_bad_buffers(void **st)
{
	struct vgq q;
	uint16_t head;
	uint32_t len;

	vg_start(&g, 0, &q, 1);
	request(&q, 0x7fff00000000, 64);	/* not RAM */
	assert_true(vg_used(&q, &head, &len));
	assert_int_equal(len, 0);
	vg_add(&q, &(struct vgbuf){ 0x80000, 8 }, 1, 0);	/* nothing writable */
	vg_kick(&q);
	assert_true(vg_used(&q, &head, &len));
	assert_int_equal(len, 0);
}

static void poke(struct vm *pvm, struct device *d)
{
	struct vgq q;

	vg_init(&g, pvm, d);
	vm = pvm;
	enable_msix();
	vg_start(&g, VIRTIO_BIT(VIRTIO_F_EVENT_IDX), &q, 1);
	vg_wr(&g, 0x1a, 2, 1);
	request(&q, 0x80000, 100);
}

static void test_roundtrip(void **st)
{
	tvm_check_roundtrip(&virtio_rng_ops, wire, poke);
	vg_buses_free();
}

static void test_reset(void **st)
{
	tvm_check_reset(&virtio_rng_ops, wire, poke);
	vg_buses_free();
}

/* A restored device goes on where the saved one was. */
static void test_resume(void **st)
{
	struct state_buf b = { 0 };
	struct err e;
	struct vgq q;
	uint16_t head;
	uint32_t len;
	size_t pos = 0;

	vg_start(&g, 0, &q, 1);
	request(&q, 0x80000, 10);
	assert_true(vg_used(&q, &head, &len));
	state_save_device(&b, &g.v->pci.dev);
	vg_wr(&g, 0x14, 1, 0);
	assert_true(state_load_device(&g.v->pci.dev, b.data, b.len, &pos, &e));
	request(&q, 0x80000, 20);
	assert_true(vg_used(&q, &head, &len));
	assert_int_equal(len, 20);
	state_buf_free(&b);
}

/* Every byte of a saved state changed in turn: refused or harmless. */
static void test_hostile_state(void **st)
{
	struct state_buf b = { 0 };
	struct err e;
	struct vgq q;

	vg_start(&g, 0, &q, 1);
	vm_lock(vm);
	for (uint32_t n = 1; n <= 2000; n++) {
		uint32_t off = n * 2654435761u;
		size_t pos = 0, hdr = 4 + 2 + strlen("virtio-rng") + 2 + strlen("rng0") + 1 + 8;

		b.len = 0;
		state_save_device(&b, &g.v->pci.dev);
		/* the queues are at the end */
		off = off % (b.len - hdr) / 2 + (b.len - hdr) / 2;
		b.data[hdr + off] ^= (uint8_t)(1u << n % 8);
		st_le32(b.data + hdr - 4, crc32c(0, b.data + hdr, b.len - hdr));
		if (state_load_device(&g.v->pci.dev, b.data, b.len, &pos, &e)) {
			virtio_notify(g.v, 0);
			g.v->status &= ~VIRTIO_S_NEEDS_RESET;
		}
	}
	vm_unlock(vm);
	state_buf_free(&b);
}

static uint32_t seed;

static uint32_t rnd(void)
{
	seed = seed * 1664525 + 1013904223;
	return seed >> 8;
}

/* Random register and memory writes: nothing crashes, hangs or leaves bounds. */
static void test_fuzz(void **st)
{
	static const uint8_t widths[] = { 1, 2, 4 };
	static const uint8_t zero[0x2000];

	seed = 4711;
	for (unsigned i = 0; i < 200000; i++) {
		unsigned w = widths[rnd() % 3], off = rnd() % 0x40 & ~(w - 1);
		uint32_t val = rnd() & 1 ? rnd() % 16 : rnd() << 8 | rnd();

		switch (rnd() % 8) {
		case 0:
			bus_write(vm->bus, BUS_PIO, VG_IO + off % 32, w, val);
			break;
		case 1:
			(void)bus_read(vm->bus, BUS_PIO, VG_IO + off % 32, w);
			break;
		case 2:
			vg_cfg_wr(&g, (off + (rnd() & 0x40)) & 0xfc, 4, val);
			vg_cfg_wr(&g, PCI_BAR0, 4, VG_IO);
			vg_cfg_wr(&g, PCI_BAR0 + 4, 4, VG_MSIX);
			vg_cfg_wr(&g, PCI_BAR0 + 16, 4, VG_BAR);
			vg_cfg_wr(&g, PCI_BAR0 + 20, 4, 0);
			vg_cfg_wr(&g, PCI_COMMAND, 2, 7);
			break;
		case 3:
			(void)vg_rd(&g, (rnd() % 4) << 12 | off, w);
			break;
		case 4:
			vg_wr(&g, VG_NOTIFY, 2, 0);
			break;
		case 5:
			assert_true(gm_write(vm->mem, GPA(rnd() % 0x20000), &val, 4));
			break;
		default:
			vg_wr(&g, (rnd() % 4) << 12 | off, w, val);
		}
		if (i % 5000 == 0) {
			g.heap = 0x10000;
			vg_put(&g, g.heap, zero, sizeof(zero));
			vg_start(&g, VIRTIO_BIT(VIRTIO_F_EVENT_IDX), &(struct vgq){ 0 }, 1);
		}
	}
}

int main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
	const struct CMUnitTest tests[] = {
		T(test_id_transitional),
		cmocka_unit_test_setup_teardown(test_id_modern, setup_modern, teardown),
		T(test_caps), T(test_features), T(test_negotiation), T(test_queue_registers),
		T(test_vectors), T(test_reset_status), T(test_rng_intx), T(test_msix),
		T(test_not_started), T(test_wrong_order), T(test_cfg_window), T(test_legacy),
		T(test_rng_quota), T(test_rng_bad_buffers), T(test_resume),
		T(test_hostile_state), T(test_fuzz),
		cmocka_unit_test(test_roundtrip), cmocka_unit_test(test_reset),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
