/* SPDX-License-Identifier: MIT */
/*
 * virtio-scsi through its queues: a disk (target 0), a CD drive (target 1),
 * image files behind.  Sections: VIRTIO 1.2, SPC-4, SBC-3, MMC-3.
 */
#include "../lib/diskguest.h"
#include "../lib/vguest.h"
#include "../../devices/virtio/scsi.h"
#include "../../src/media.h"
#include "../../src/hostfile.h"
#include "../../src/loop.h"
#include <errno.h>

#define SECTORS 4096u
#define CD_BLOCKS 300u
#define REQ 0x80000u
#define RESP 0x81000u
#define OUT 0x90000u
#define IN 0xa0000u

static struct vm *vm;
static struct vguest g;
static struct vgq q[3];		/* control, event, request */
static struct block *disk, *cd;
static struct device *dev;
static uint8_t resp[108], in[65536];
static uint32_t used;

static void wire(struct device *d)
{
	vg_give_bus(d);
	virtio_scsi_set_drive(d, 0, disk, false, false, "SERIAL-SCSI");
	virtio_scsi_set_drive(d, 1, cd, true, true, "");
}

static int setup(void **st)
{
	vm = tvm_new(MiB(4));
	disk = dg_image(vm, SECTORS, BLOCK_DISCARD_ON);
	cd = dg_image(vm, CD_BLOCKS * 4, BLOCK_RDONLY);
	dev = tvm_add(vm, &virtio_scsi_ops, "scsi0", wire);
	vg_init(&g, vm, dev);
	vg_start(&g, VIRTIO_BIT(2), q, 3);
	return 0;
}

static int teardown(void **st)
{
	hostfile_fault = NULL;
	devices_free(vm);
	dg_close(vm, disk);
	dg_close(vm, cd);
	tvm_free(vm);
	vg_buses_free();
	return 0;
}

static void wait_used(struct vgq *vq)
{
	uint16_t head;

	for (unsigned i = 0; i < 1000; i++) {
		if (vg_used(vq, &head, &used))
			return;
		loop_poll(vm->loop, 100);
	}
	fail_msg("no completion");
}

/* One command; returns the status, the response in resp[], data in in[]. */
static unsigned run(uint8_t lun1, uint8_t lun3, const uint8_t *cdb, unsigned n, const void *out,
		    uint32_t out_len, uint32_t in_len)
{
	uint8_t r[51] = { 1, lun1, 0x40, lun3 };
	struct vgbuf b[4] = { { REQ, 51 } };
	unsigned nout = 1, k = 1;

	memcpy(r + 19, cdb, n);
	vg_put(&g, REQ, r, sizeof(r));
	memset(resp, 0xee, sizeof(resp));
	vg_put(&g, RESP, resp, sizeof(resp));
	if (out_len) {
		vg_put(&g, OUT, out, out_len);
		b[k++] = (struct vgbuf){ OUT, out_len };
		nout++;
	}
	b[k++] = (struct vgbuf){ RESP, 108 };
	if (in_len)
		b[k++] = (struct vgbuf){ IN, in_len };
	vg_add(&q[2], b, nout, k - nout);
	vg_kick(&q[2]);
	wait_used(&q[2]);
	vg_get(&g, RESP, resp, sizeof(resp));
	vg_get(&g, IN, in, MIN(in_len, sizeof(in)));
	return resp[10];
}

#define CMD(target, in_len, ...) \
	run(target, 0, (const uint8_t[16]){ __VA_ARGS__ }, 16, NULL, 0, in_len)
#define PUT(data, len, ...) run(0, 0, (const uint8_t[16]){ __VA_ARGS__ }, 16, data, len, 0)

static void expect_sense(unsigned key, unsigned asc)
{
	assert_int_equal(resp[11], 0);
	assert_int_equal(resp[10], 2);
	assert_int_equal(ld_le32(resp), 18);
	assert_int_equal(resp[14], key);
	assert_int_equal(resp[24], asc);
}

/* 5.6.4 */
static void test_config(void **st)
{
	assert_int_equal(vg_cfg_rd(&g, 0, 4), 0x10041af4);
	assert_int_equal(vg_rd(&g, VG_CONFIG, 4), 1);
	assert_int_equal(vg_rd(&g, VG_CONFIG + 20, 4), 96);
	assert_int_equal(vg_rd(&g, VG_CONFIG + 24, 4), 32);
	assert_int_equal(vg_rd(&g, VG_CONFIG + 30, 2), 15);
}

/* SPC-4 6.6, 6.33, 7.8; SBC-3 5.15, 5.16 */
static void test_inquiry(void **st)
{
	assert_int_equal(CMD(0, 96, 0x12, 0, 0, 0, 96), 0);
	assert_int_equal(in[0], 0);
	assert_memory_equal(in + 8, "HVRUN   HARDDISK", 16);
	assert_int_equal(ld_le32(resp + 4), 96 - 36);		/* residue */
	assert_int_equal(used, 108 + 36);
	assert_int_equal(CMD(0, 64, 0x12, 1, 0x80, 0, 64), 0);
	assert_memory_equal(in + 4, "SERIAL-SCSI", 11);
	assert_int_equal(CMD(0, 64, 0x12, 1, 0xb0, 0, 64), 0);
	assert_int_equal(ld_be32(in + 20), 1u << 22);
	assert_int_equal(CMD(0, 64, 0x12, 1, 0xb2, 0, 64), 0);
	assert_int_equal(in[5], 0xe0);
	CMD(0, 64, 0x12, 1, 0x77, 0, 64);
	expect_sense(5, 0x24);
	assert_int_equal(CMD(0, 8, 0x25), 0);
	assert_int_equal(ld_be32(in), SECTORS - 1);
	assert_int_equal(CMD(0, 32, 0x9e, 0x10, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 32), 0);
	assert_int_equal(ld_be64(in), SECTORS - 1);
	assert_int_equal(in[14], 0x80);
	assert_int_equal(CMD(0, 16, 0xa0, 0, 0, 0, 0, 0, 0, 0, 0, 16), 0);
	assert_int_equal(ld_be32(in), 8);
	CMD(0, 0, 0xcc);
	expect_sense(5, 0x20);
	/* 5.6.6.1: no such target, no such LUN */
	assert_int_equal(CMD(7, 36, 0x12, 0, 0, 0, 36), 0);
	assert_int_equal(resp[11], 3);
	run(0, 1, (const uint8_t[16]){ 0x12, 0, 0, 0, 36 }, 16, NULL, 0, 36);
	assert_int_equal(resp[11], 12);
}

static void test_read_write(void **st)
{
	static uint8_t buf[8192];

	assert_int_equal(CMD(0, 8 * 512, 0x28, 0, 0, 0, 0, 100, 0, 0, 8), 0);
	for (unsigned i = 0; i < 8; i++)
		dg_check(in + 512 * i, 100 + i);
	assert_int_equal(used, 108 + 4096);
	assert_int_equal(CMD(0, 512, 0x08, 0, 0, 9, 1), 0);
	dg_check(in, 9);
	assert_int_equal(CMD(0, 512, 0x88, 0, 0, 0, 0, 0, 0, 0, 0, 11, 0, 0, 0, 1), 0);
	dg_check(in, 11);
	memset(buf, 0x3a, sizeof(buf));
	assert_int_equal(PUT(buf, 1024, 0x2a, 8, 0, 0, 0, 5, 0, 0, 2), 0);	/* FUA */
	assert_int_equal(CMD(0, 2048, 0xa8, 0, 0, 0, 0, 4, 0, 0, 0, 4), 0);
	dg_check(in, 4);
	assert_memory_equal(in + 512, buf, 1024);
	dg_check(in + 1536, 7);
	assert_int_equal(CMD(0, 0, 0x35), 0);
	CMD(0, 512, 0x28, 0, 0, 0, SECTORS >> 8, SECTORS & 255, 0, 0, 1);
	expect_sense(5, 0x21);
	CMD(0, 512, 0x88, 0, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0, 0, 0, 1);
	expect_sense(5, 0x21);
	CMD(0, 512, 0x28, 0, 0, 0, 0, 0, 0, 0, 2);	/* room for one block of two */
	assert_int_equal(resp[11], 1);
}

/* SBC-3 5.28, 5.42, 5.43 */
static void test_unmap(void **st)
{
	uint8_t p[24] = { 0, 22, 0, 16 }, zero[512] = { 0 };

	st_be64(p + 8, 64);
	st_be32(p + 16, 8);
	assert_int_equal(PUT(p, 24, 0x42, 0, 0, 0, 0, 0, 0, 0, 24), 0);
	assert_int_equal(CMD(0, 9 * 512, 0x28, 0, 0, 0, 0, 64, 0, 0, 9), 0);
	assert_memory_equal(in, zero, 512);
	dg_check(in + 8 * 512, 72);
	st_be64(p + 8, SECTORS);
	PUT(p, 24, 0x42, 0, 0, 0, 0, 0, 0, 0, 24);
	expect_sense(5, 0x21);
	PUT(p, 24, 0x42, 0, 0, 0, 0, 0, 0, 0, 20);	/* list cut short */
	expect_sense(5, 0x1a);
	assert_int_equal(PUT(zero, 512, 0x93, 8, 0, 0, 0, 0, 0, 0, 0, 200, 0, 0, 0, 3), 0);
	assert_int_equal(CMD(0, 2048, 0x28, 0, 0, 0, 0, 200, 0, 0, 4), 0);
	assert_memory_equal(in + 1024, zero, 512);
	dg_check(in + 1536, 203);
	assert_int_equal(CMD(0, 0, 0x93, 1, 0, 0, 0, 0, 0, 0, 0, 220, 0, 0, 0, 1), 0); /* NDOB */
	zero[9] = 1;
	PUT(zero, 512, 0x41, 0, 0, 0, 0, 200, 0, 0, 1);
	expect_sense(5, 0x26);
	PUT(zero, 512, 0x41, 0, 0, 0, 0, 200, 0, 0, 0);
	expect_sense(5, 0x24);
}

/* SPC-4 6.10, 6.11, 7.5.6: the write cache switch. */
static void test_mode(void **st)
{
	uint8_t sel[24] = { 0, 0, 0, 0, 0x08, 18, 0 };

	assert_int_equal(CMD(0, 64, 0x1a, 0, 0x08, 0, 64), 0);
	assert_int_equal(in[6], 4);
	assert_int_equal(in[2] & 0x90, 0x10);
	assert_int_equal(PUT(sel, 24, 0x15, 0x10, 0, 0, 24), 0);
	assert_int_equal(CMD(0, 64, 0x5a, 0, 0x3f, 0, 0, 0, 0, 0, 64), 0);
	assert_int_equal(in[10], 0);
	sel[5] = 200;
	PUT(sel, 24, 0x15, 0x10, 0, 0, 24);
	expect_sense(5, 0x26);
	CMD(0, 64, 0x1a, 0, 0x33, 0, 64);
	expect_sense(5, 0x24);
}

static void test_cd(void **st)
{
	struct block *other = dg_image(vm, 40, BLOCK_RDONLY);
	struct vgbuf ev = { OUT, 16 };
	uint8_t e[16];

	assert_int_equal(CMD(1, 36, 0x12, 0, 0, 0, 36), 0);
	assert_int_equal(in[0], 5);
	assert_int_equal(in[2], 5);
	assert_int_equal(CMD(1, 8 * 2048, 0x28, 0, 0, 0, 0, 3, 0, 0, 8), 0);
	for (unsigned i = 0; i < 32; i++)
		dg_check(in + 512 * i, 12 + i);
	vg_add(&q[1], &ev, 0, 1);
	vg_kick(&q[1]);
	vm_lock(vm);
	virtio_scsi_set_medium(dev, 1, other);
	vm_unlock(vm);
	wait_used(&q[1]);
	vg_get(&g, OUT, e, 16);
	assert_int_equal(ld_le32(e), 3);
	assert_int_equal(e[5], 1);
	assert_int_equal(ld_le32(e + 12), 0x28);
	CMD(1, 8, 0x25);
	expect_sense(6, 0x28);
	assert_int_equal(CMD(1, 8, 0x25), 0);
	assert_int_equal(ld_be32(in), 9);
	vm_lock(vm);
	virtio_scsi_set_medium(dev, 1, NULL);	/* no buffer: this event is missed */
	vm_unlock(vm);
	CMD(1, 8, 0x25);
	expect_sense(2, 0x3a);
	dg_close(vm, other);
}

/* SPC-4 5.14, VIRTIO 5.6.6.3.3: a disk that grows says so, and has the new size. */
static void test_resize(void **st)
{
	struct media_drive drive = { .bus = "SCSI", .ops = &virtio_scsi_media, .device = dev,
				     .unit = 0, .block = disk };
	struct vgbuf ev = { OUT, 16 };
	struct err err = { 0 };
	uint8_t e[16];
	bool told = false;

	vm_media_add(vm, &drive);
	vg_add(&q[1], &ev, 0, 1);
	vg_kick(&q[1]);
	assert_false(vm_disk_resize(vm, 0, (SECTORS - 8) * 512, &told, &err));
	assert_false(vm_disk_resize(vm, 0, SECTORS * 512 + 1, &told, &err));
	assert_false(vm_disk_resize(vm, 1, SECTORS * 1024, &told, &err));
	assert_true(vm_disk_resize(vm, 0, SECTORS * 1024, &told, &err));
	assert_true(told);
	wait_used(&q[1]);
	vg_get(&g, OUT, e, 16);
	assert_int_equal(ld_le32(e), 3);
	assert_int_equal(e[5], 0);
	assert_int_equal(ld_le32(e + 12), 0x092a);
	CMD(0, 8, 0x25);
	expect_sense(6, 0x2a);
	assert_int_equal(CMD(0, 8, 0x25), 0);
	assert_int_equal(ld_be32(in), SECTORS * 2 - 1);
	assert_int_equal(CMD(0, 512, 0x28, 0, 0, 0, SECTORS >> 8, 0, 0, 0, 1), 0);
	for (unsigned i = 0; i < 512; i++)
		assert_int_equal(in[i], 0);
}

static int fail_io(struct hostfile *f, enum hf_op op, uint64_t off, uint64_t len)
{
	return op == HF_READ || op == HF_WRITE ? EIO : 0;
}

static void test_errors(void **st)
{
	uint8_t buf[512] = { 0 };

	hostfile_fault = fail_io;
	CMD(0, 512, 0x28, 0, 0, 0, 0, 1, 0, 0, 1);
	expect_sense(3, 0x11);
	PUT(buf, 512, 0x2a, 0, 0, 0, 0, 1, 0, 0, 1);
	expect_sense(3, 0x0c);
	CMD(1, 2048, 0x28, 0, 0, 0, 0, 1, 0, 0, 1);
	expect_sense(3, 0x11);
}

/* 5.6.6.2 */
static void test_control(void **st)
{
	struct vgbuf b[2] = { { REQ, 24 }, { RESP, 5 } };
	uint8_t r[24] = { 0 }, a[5];
	static const struct { uint8_t type, sub, target, answer; } rows[] = {
		{ 0, 0, 0, 0 }, { 0, 5, 0, 0 }, { 0, 5, 1, 0 }, { 0, 5, 9, 3 }, { 0, 2, 0, 11 },
	};

	for (unsigned i = 0; i < ARRAY_SIZE(rows); i++) {
		memset(r, 0, sizeof(r));
		r[0] = rows[i].type, r[4] = rows[i].sub, r[8] = 1, r[9] = rows[i].target;
		vg_put(&g, REQ, r, 24);
		vg_add(&q[0], b, 1, 1);
		vg_kick(&q[0]);
		wait_used(&q[0]);
		vg_get(&g, RESP, a, 5);
		assert_int_equal(a[0], rows[i].answer);
	}
	r[0] = 2;
	vg_put(&g, REQ, r, 24);
	vg_add(&q[0], b, 1, 1);
	vg_kick(&q[0]);
	wait_used(&q[0]);
	assert_int_equal(used, 5);
}

/* Device reset and a fresh start, with clean rings. */
static void restart(void)
{
	static const uint8_t zero[0x10000];

	vg_wr(&g, 0x14, 1, 0);
	g.heap = 0x10000;
	vg_put(&g, g.heap, zero, sizeof(zero));
	vg_start(&g, VIRTIO_BIT(2), q, 3);
}

/* Reset with requests under way; then the queues work again. */
static void test_reset_in_flight(void **st)
{
	uint8_t r[51] = { 1, 0 };
	struct vgbuf b[3] = { { REQ, 51 }, { RESP, 108 }, { IN, 4096 } };

	r[19] = 0x28, r[27] = 8;
	vg_put(&g, REQ, r, sizeof(r));
	for (unsigned i = 0; i < 16; i++)
		vg_add(&q[2], b, 1, 2);
	vg_kick(&q[2]);
	vg_wr(&g, 0x14, 1, 0);
	assert_int_equal(vg_rd(&g, 0x14, 1), 0);
	loop_poll(vm->loop, 0);
	restart();
	assert_int_equal(CMD(0, 512, 0x28, 0, 0, 0, 0, 1, 0, 0, 1), 0);
	dg_check(in, 1);
}

/* Random bytes in requests, command blocks, parameters and descriptors. */
static void test_hostile(void **st)
{
	static const uint8_t ops[] = { 0x00, 0x03, 0x08, 0x0a, 0x12, 0x15, 0x1a, 0x1b, 0x25, 0x28,
				       0x2a, 0x35, 0x41, 0x42, 0x43, 0x46, 0x4a, 0x55, 0x5a, 0x88,
				       0x8a, 0x93, 0x9e, 0xa0, 0xa8, 0xaa, 0xbd, 0xbe };
	uint64_t seed = 4711;

	for (unsigned i = 0; i < 6000; i++) {
		uint8_t r[64];
		struct vgbuf b[4];
		unsigned qi = i % 16 ? 2 : 0;
		uint16_t head;

		for (unsigned k = 0; k < sizeof(r); k += 8)
			st_le64(r + k, dg_random(&seed));
		if (i % 5) {
			r[0] = 1, r[1] &= 1, r[2] = r[3] = 0;
			r[19] = ops[r[20] % sizeof(ops)];
			r[21] = r[22] = 0;
		}
		vg_put(&g, REQ, r, sizeof(r));
		for (unsigned k = 0; k < 512; k += 8) {
			st_le64(r, dg_random(&seed));
			vg_put(&g, OUT + k, r, 8);
		}
		b[0] = (struct vgbuf){ REQ, i % 50 ? 51 : r[1] };
		b[1] = (struct vgbuf){ OUT, 8 + dg_random(&seed) % 600 };
		b[2] = (struct vgbuf){ RESP, i % 60 ? 108 : 1 + r[2] % 120 };
		b[3] = (struct vgbuf){ i % 70 ? IN : 0xfffff000, 1 + dg_random(&seed) % 70000 };
		vg_add(&q[qi], b, 2, 2);
		vg_kick(&q[qi]);
		loop_poll(vm->loop, 0);
		while (vg_used(&q[qi], &head, &used))
			;
		if (vg_rd(&g, 0x14, 1) & 0x40 || i % 40 == 39)
			restart();
	}
}

static void poke(struct vm *v, struct device *d)
{
	struct vguest o;
	struct vgq oq[3];

	vg_init(&o, v, d);
	vg_start(&o, VIRTIO_BIT(2), oq, 3);
	v->msi = (struct msi_sink){ 0 };
}

static void test_generic(void **st)
{
	tvm_check_roundtrip(&virtio_scsi_ops, wire, poke);
	tvm_check_reset(&virtio_scsi_ops, wire, poke);
}

#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(test_config), T(test_inquiry), T(test_read_write), T(test_unmap), T(test_mode),
		T(test_cd), T(test_resize), T(test_errors), T(test_control),
		T(test_reset_in_flight),
		T(test_hostile), T(test_generic),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
