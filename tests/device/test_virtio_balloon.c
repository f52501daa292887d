/* SPDX-License-Identifier: MIT */
/* virtio-balloon through a driver; sections of VIRTIO 1.2. */
#include "../lib/vguest.h"

#define BUF 0x80000u

static struct vm *vm;
static struct vguest g;
static struct vgq q[3];

static void start(const struct device_ops *ops)
{
	vm = tvm_new(MiB(4));
	vg_init(&g, vm, tvm_add(vm, ops, "dut", vg_give_bus));
}

static void stop(void)
{
	tvm_free(vm);
	vg_buses_free();
}

static uint32_t peek(uint64_t at)
{
	uint32_t v;

	vg_get(&g, at, &v, 4);
	return v;
}

static void mark(uint64_t at)
{
	vg_put(&g, at, &(uint32_t){ 0x11223344 }, 4);
}

/* 5.5.6: page numbers go in; pages read as zero afterwards, their neighbours stay. */
static void test_inflate(void **st)
{
	uint32_t pfns[4] = { 0x200, 0x201, 0xffffffff, 0xfeffffff };
	uint16_t head;
	uint32_t len;

	start(&virtio_balloon_ops);
	vg_start(&g, 1u << 5, q, 3);
	mark(0x200000), mark(0x201ffc), mark(0x202000), mark(0x1ffffc);
	vg_put(&g, BUF, pfns, sizeof(pfns));
	vg_offer(&q[0], vg_add(&q[0], &(struct vgbuf){ BUF, sizeof(pfns) }, 1, 0));
	vg_kick(&q[0]);
	assert_true(vg_used(&q[0], &head, &len));
	assert_int_equal(peek(0x200000), 0);
	assert_int_equal(peek(0x201ffc), 0);
	assert_int_equal(peek(0x202000), 0x11223344);
	assert_int_equal(peek(0x1ffffc), 0x11223344);
	stop();
}

/* 5.5.6.7: the buffers are the free memory; only whole pages go. */
static void test_reporting(void **st)
{
	struct vgbuf b[2] = { { 0x300000, 0x4000 }, { 0x310800, 0x2000 } };

	start(&virtio_balloon_ops);
	vg_start(&g, 1u << 5, q, 3);
	mark(0x300000), mark(0x303000), mark(0x304000), mark(0x310800), mark(0x311000);
	mark(0x312000);
	vg_offer(&q[2], vg_add(&q[2], b, 0, 2));
	vg_offer(&q[2], vg_add(&q[2], &(struct vgbuf){ 0xfffff000, 0x100000 }, 0, 1));
	vg_kick(&q[2]);
	assert_int_equal(peek(0x300000), 0);
	assert_int_equal(peek(0x303000), 0);
	assert_int_equal(peek(0x304000), 0x11223344);
	assert_int_equal(peek(0x310800), 0x11223344);
	assert_int_equal(peek(0x311000), 0);
	assert_int_equal(peek(0x312000), 0x11223344);
	stop();
}

static void test_target(void **st)
{
	start(&virtio_balloon_ops);
	vg_start(&g, 0, q, 3);
	virtio_balloon_set_target(&g.v->pci.dev, MiB(1));
	assert_int_equal(vg_rd(&g, VG_CONFIG, 4), 256);
	vg_wr(&g, VG_CONFIG + 4, 4, 128);
	assert_int_equal(virtio_balloon_size(&g.v->pci.dev), KiB(512));
	stop();
}

static void poke(struct vm *v, struct device *d)
{
	vg_init(&g, v, d);
	vg_start(&g, 0, q, 3);
	vg_wr(&g, VG_CONFIG + 4, 4, 77);
}

static void test_generic(void **st)
{
	tvm_check_roundtrip(&virtio_balloon_ops, vg_give_bus, poke);
	tvm_check_reset(&virtio_balloon_ops, vg_give_bus, poke);
	vg_buses_free();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_inflate), cmocka_unit_test(test_reporting),
		cmocka_unit_test(test_target), cmocka_unit_test(test_generic),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
