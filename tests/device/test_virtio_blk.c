/* SPDX-License-Identifier: MIT */
/*
 * virtio-blk with a disk in memory behind the block seam; sections of
 * VIRTIO 1.2.  Requests complete when the test says so, in its order.
 */
#include "../../src/block.h"
#include "../lib/vguest.h"
#include <errno.h>
#include <stdlib.h>

#define DISK MiB(1)
#define HDR 0x80000u
#define DATA 0x90000u
#define STATUS 0xf0000u

enum { T_IN = 0, T_OUT = 1, T_FLUSH = 4, T_GET_ID = 8, T_DISCARD = 11, T_ZEROES = 13 };
enum { F_RO = 5, F_FLUSH = 9, F_WCE = 11, F_MQ = 12 };

/* --- the disk: stands in for src/block.c --- */

struct block {
	struct block_info info;
	uint8_t data[DISK];
	struct block_req *pending[600];
	unsigned npending, flushes, submitted, drains;
	int fail_with;
	bool hold;		/* complete only in disk_run() */
};

static struct block disk;

const struct block_info *block_info(const struct block *b)
{
	return &b->info;
}

static void disk_perform(struct block_req *r)
{
	uint64_t at = r->off;

	if (r->op == BLOCK_FLUSH)
		disk.flushes++;
	if (disk.fail_with) {
		r->done(r, disk.fail_with);
		return;
	}
	assert_true(range_ok(r->off, r->len, DISK));
	for (unsigned i = 0; i < r->niov; at += r->iov[i++].iov_len) {
		if (r->op == BLOCK_READ)
			memcpy(r->iov[i].iov_base, disk.data + at, r->iov[i].iov_len);
		else
			memcpy(disk.data + at, r->iov[i].iov_base, r->iov[i].iov_len);
	}
	if (r->op == BLOCK_WRITE_ZEROES || r->op == BLOCK_DISCARD)
		memset(disk.data + r->off, 0, r->len);
	r->done(r, 0);
}

static void (*batch_end)(void *opaque);
static void *batch_opaque;

/* Complete everything, the newest first. */
static void disk_run(void)
{
	while (disk.npending)
		disk_perform(disk.pending[--disk.npending]);
	if (batch_end)
		batch_end(batch_opaque);
}

void block_submit(struct block *b, struct block_req *r)
{
	uint64_t total = 0;

	assert_true(disk.npending < ARRAY_SIZE(disk.pending));
	for (unsigned i = 0; i < r->niov; i++)
		total += r->iov[i].iov_len;
	if (r->op == BLOCK_READ || r->op == BLOCK_WRITE)
		assert_int_equal(total, r->len);
	b->submitted++;
	b->pending[b->npending++] = r;
}

void block_drain(struct block *b)
{
	b->drains++;
	disk_run();
}

/* Other parts of the library know these. */
struct block *block_open(const char *path, const char *format, unsigned flags,
			 struct loop *loop, struct err *e)
{
	return NULL;
}

void block_close(struct block *b)
{
}

bool block_resize(struct block *b, uint64_t size, struct err *e)
{
	return false;
}

bool block_is_file(const struct block *b, uint64_t dev, uint64_t ino)
{
	return false;
}

void block_count(struct block *b, struct block_activity *a)
{
}

void block_set_batch(struct block *b, void (*end)(void *opaque), void *opaque)
{
	batch_end = end;
	batch_opaque = opaque;
}

void block_poll(struct block *b)
{
}

/* --- guest side --- */

static struct vm *vm;
static struct vguest g;
static struct vgq q[2];
static unsigned wanted_queues = 1;
static bool legacy_off;

static void wire(struct device *d)
{
	vg_give_bus(d);
	virtio_of(d)->disable_legacy = legacy_off;
	virtio_blk_setup(d, &disk, "SERIAL-0123456789ABCDEF", wanted_queues);
}

static int setup(void **st)
{
	memset(&disk, 0, sizeof(disk));
	disk.info.size = DISK;
	wanted_queues = 2;
	vm = tvm_new(MiB(4));
	vg_init(&g, vm, tvm_add(vm, &virtio_blk_ops, "disk0", wire));
	return 0;
}

static int teardown(void **st)
{
	tvm_free(vm);
	vg_buses_free();
	return 0;
}

static void run(void)
{
	vm_lock(vm);
	disk_run();
	vm_unlock(vm);
}

static void put_header(uint64_t at, uint32_t type, uint64_t sector)
{
	uint8_t h[16] = { 0 };

	st_le32(h, type);
	st_le64(h + 8, sector);
	vg_put(&g, at, h, sizeof(h));
}

static uint8_t status_at(uint64_t at)
{
	uint8_t s;

	vg_get(&g, at, &s, 1);
	return s;
}

/* Submit one request; the data part is read by the device unless @in. */
static void submit(unsigned qi, uint32_t type, uint64_t sector, bool in, uint32_t len)
{
	struct vgbuf b[3] = { { HDR, 16 }, { DATA, len }, { STATUS, 1 } };
	uint8_t poison = 0xee;

	put_header(HDR, type, sector);
	vg_put(&g, STATUS, &poison, 1);
	if (!len) {
		b[1] = b[2];
		vg_add(&q[qi], b, 1, 1);
	} else {
		vg_add(&q[qi], b, in ? 1 : 2, in ? 2 : 1);
	}
	vg_kick(&q[qi]);
}

/* Submit, complete, and return the status; *written the used length. */
static uint8_t request(uint32_t type, uint64_t sector, bool in, uint32_t len, uint32_t *written)
{
	uint16_t head;

	submit(0, type, sector, in, len);
	run();
	assert_true(vg_used(&q[0], &head, written));
	return status_at(STATUS);
}

static void started(uint64_t features)
{
	vg_start(&g, features, q, 2);
}

/* 5.2.4: configuration */
static void test_config(void **st)
{
	assert_int_equal(vg_cfg_rd(&g, PCI_VENDOR_ID, 4), 0x10011af4);
	assert_int_equal(vg_rd(&g, VG_CONFIG, 4), DISK / 512);
	assert_int_equal(vg_rd(&g, VG_CONFIG + 4, 4), 0);
	assert_int_equal(vg_rd(&g, VG_CONFIG + 12, 4), 254);
	assert_int_equal(vg_rd(&g, VG_CONFIG + 20, 4), 512);
	assert_int_equal(vg_rd(&g, VG_CONFIG + 32, 1), 1);	/* writeback */
	assert_int_equal(vg_rd(&g, VG_CONFIG + 34, 2), 2);	/* num_queues */
	assert_int_equal(vg_rd(&g, VG_CONFIG + 0x100, 4), 0);
	vg_wr(&g, VG_CONFIG, 4, 5);				/* read-only field */
	assert_int_equal(vg_rd(&g, VG_CONFIG, 4), DISK / 512);
	/* The legacy block has the same bytes behind its header. */
	assert_int_equal(tvm_inl(vm, VG_IO + 0x14), DISK / 512);
}

static void test_read_write(void **st)
{
	uint8_t buf[1024];
	uint32_t n;

	started(VIRTIO_BIT(F_FLUSH));
	for (unsigned i = 0; i < sizeof(buf); i++)
		buf[i] = (uint8_t)(i * 7);
	vg_put(&g, DATA, buf, sizeof(buf));
	assert_int_equal(request(T_OUT, 3, false, 1024, &n), 0);
	assert_int_equal(n, 1);
	assert_memory_equal(disk.data + 3 * 512, buf, sizeof(buf));
	assert_int_equal(disk.flushes, 0);

	memset(disk.data + 512, 0x5a, 512);
	assert_int_equal(request(T_IN, 1, true, 512, &n), 0);
	assert_int_equal(n, 513);
	vg_get(&g, DATA, buf, 512);
	assert_memory_equal(buf, disk.data + 512, 512);
	assert_int_not_equal(g.irq.level, 0);
}

/* 2.7.4 (any layout): header, data and status may be cut anywhere. */
static void test_split_anywhere(void **st)
{
	struct vgbuf b[] = {
		{ HDR, 5 }, { HDR + 5, 11 },
		{ DATA, 100 }, { DATA + 200, 300 }, { DATA + 600, 113 },
	};
	uint16_t head;
	uint32_t n;

	started(VIRTIO_BIT(F_FLUSH));
	memset(disk.data, 0x33, 512);
	put_header(HDR, T_IN, 0);
	vg_add(&q[0], b, 2, 3);
	vg_kick(&q[0]);
	run();
	assert_true(vg_used(&q[0], &head, &n));
	assert_int_equal(n, 513);
	assert_int_equal(status_at(DATA + 712), 0);	/* last byte of the last buffer */
	assert_int_equal(status_at(DATA + 711), 0x33);
	assert_int_equal(status_at(DATA + 499), 0x33);
	assert_int_equal(status_at(DATA + 500), 0);
}

static void test_flush_and_id(void **st)
{
	char id[21] = { 0 };
	uint32_t n;

	started(VIRTIO_BIT(F_FLUSH));
	assert_int_equal(request(T_FLUSH, 0, false, 0, &n), 0);
	assert_int_equal(disk.flushes, 1);
	assert_int_equal(request(T_GET_ID, 0, true, 20, &n), 0);
	assert_int_equal(n, 21);
	vg_get(&g, DATA, id, 20);
	assert_string_equal(id, "SERIAL-0123456789ABC");
	assert_int_equal(request(T_GET_ID, 0, true, 10, &n), 1);
}

/* 5.2.6.2: no FLUSH negotiated, or the cache switched off: write-through. */
static void test_writethrough(void **st)
{
	uint32_t n;

	started(0);
	assert_int_equal(request(T_OUT, 0, false, 512, &n), 0);
	assert_int_equal(disk.flushes, 1);
	started(VIRTIO_BIT(F_FLUSH) | VIRTIO_BIT(F_WCE));
	assert_int_equal(request(T_OUT, 0, false, 512, &n), 0);
	assert_int_equal(disk.flushes, 1);
	vg_wr(&g, VG_CONFIG + 32, 1, 0);
	assert_int_equal(vg_rd(&g, VG_CONFIG + 32, 1), 0);
	assert_int_equal(request(T_OUT, 0, false, 512, &n), 0);
	assert_int_equal(disk.flushes, 2);
	vg_wr(&g, 0x14, 1, 0);
	assert_int_equal(vg_rd(&g, VG_CONFIG + 32, 1), 1);
}

static void put_range(uint64_t sector, uint32_t n, uint32_t flags)
{
	uint8_t r[16];

	st_le64(r, sector);
	st_le32(r + 8, n);
	st_le32(r + 12, flags);
	vg_put(&g, DATA, r, sizeof(r));
}

static void test_discard_zeroes(void **st)
{
	uint32_t n;

	started(VIRTIO_BIT(F_FLUSH));
	memset(disk.data, 0xff, DISK);
	put_range(8, 2, 0);
	assert_int_equal(request(T_DISCARD, 0, false, 16, &n), 0);
	assert_int_equal(disk.data[8 * 512], 0);
	assert_int_equal(disk.data[10 * 512], 0xff);
	put_range(16, 1, 1);
	assert_int_equal(request(T_ZEROES, 0, false, 16, &n), 0);
	assert_int_equal(disk.data[16 * 512], 0);
	assert_int_equal(request(T_DISCARD, 0, false, 16, &n), 2);	/* unmap is for zeroes */
	put_range(16, 1, 2);
	assert_int_equal(request(T_ZEROES, 0, false, 16, &n), 2);
	put_range(DISK / 512, 1, 0);
	assert_int_equal(request(T_DISCARD, 0, false, 16, &n), 1);
	put_range(UINT64_MAX, UINT32_MAX, 0);
	assert_int_equal(request(T_ZEROES, 0, false, 16, &n), 1);
	assert_int_equal(request(T_DISCARD, 0, false, 15, &n), 1);
}

/* Rule: a malformed request is still completed. */
static void test_malformed(void **st)
{
	struct vgbuf b[] = { { HDR, 8 }, { STATUS, 1 }, { 0x7fff0000, 512 } };
	uint32_t n, submitted;
	uint16_t head;

	started(VIRTIO_BIT(F_FLUSH));
	submitted = disk.submitted;
	assert_int_equal(request(T_IN, DISK / 512, true, 512, &n), 1);	/* past the end */
	assert_int_equal(n, 0);
	assert_int_equal(request(T_IN, DISK / 512 - 1, true, 1024, &n), 1);
	assert_int_equal(request(T_IN, UINT64_MAX / 512, true, 1024, &n), 1);
	assert_int_equal(request(T_OUT, UINT64_MAX, false, 512, &n), 1);
	assert_int_equal(n, 1);
	assert_int_equal(request(T_IN, 0, true, 511, &n), 1);
	assert_int_equal(request(77, 0, true, 512, &n), 2);		/* unknown: UNSUPP */
	vg_add(&q[0], b, 1, 1);						/* header too short */
	vg_kick(&q[0]);
	assert_true(vg_used(&q[0], &head, &n));
	assert_int_equal(status_at(STATUS), 1);
	vg_add(&q[0], b, 1, 0);						/* no status byte */
	vg_kick(&q[0]);
	assert_true(vg_used(&q[0], &head, &n));
	assert_int_equal(n, 0);
	b[0].len = 16;							/* data not in RAM */
	b[1] = b[2];
	b[2] = (struct vgbuf){ STATUS, 1 };
	put_header(HDR, T_IN, 0);
	vg_add(&q[0], b, 1, 2);
	vg_kick(&q[0]);
	assert_true(vg_used(&q[0], &head, &n));
	assert_int_equal(status_at(STATUS), 1);
	assert_int_equal(disk.submitted, submitted);
	assert_int_equal(vg_rd(&g, 0x14, 1), 15);			/* still alive */
}

static void test_io_error(void **st)
{
	uint32_t n;

	started(VIRTIO_BIT(F_FLUSH));
	disk.fail_with = EIO;
	assert_int_equal(request(T_IN, 0, true, 512, &n), 1);
	assert_int_equal(request(T_FLUSH, 0, false, 0, &n), 1);
	assert_int_equal(n, 1);
	disk.fail_with = 0;
	assert_int_equal(request(T_IN, 0, true, 512, &n), 0);
}

static void test_readonly(void **st)
{
	uint32_t n;

	disk.info.readonly = true;
	vg_wr(&g, 0, 4, 0);
	assert_true(vg_rd(&g, 4, 4) & 1u << F_RO);
	started(VIRTIO_BIT(F_FLUSH));
	assert_int_equal(request(T_OUT, 0, false, 512, &n), 1);
	put_range(0, 1, 0);
	assert_int_equal(request(T_DISCARD, 0, false, 16, &n), 1);
	assert_int_equal(request(T_IN, 0, true, 512, &n), 0);
	assert_int_equal(disk.submitted, 1);
}

/* Completions out of order, on two queues, each with its own ring. */
static void test_queues(void **st)
{
	uint16_t head[3];
	uint32_t n;

	started(VIRTIO_BIT(F_FLUSH) | VIRTIO_BIT(F_MQ));
	submit(0, T_IN, 0, true, 512);
	submit(0, T_IN, 1, true, 512);
	submit(1, T_IN, 2, true, 512);
	assert_false(vg_used(&q[0], &head[0], &n));
	run();
	assert_true(vg_used(&q[0], &head[0], &n) && vg_used(&q[0], &head[1], &n));
	assert_int_equal(head[0], 3);	/* the newest first */
	assert_int_equal(head[1], 0);
	assert_true(vg_used(&q[1], &head[2], &n));
	assert_false(vg_used(&q[1], &head[2], &n));
}

/* More waiting requests than the work budget: the rest is served from the loop. */
static void test_budget(void **st)
{
	struct vgbuf b[2] = { { HDR, 16 }, { STATUS, 1 } };
	struct vgq big;

	assert_true(vg_negotiate(&g, VIRTIO_BIT(F_FLUSH)));
	vg_queue(&g, &big, 0, 256);
	vg_driver_ok(&g);
	put_header(HDR, T_FLUSH, 0);
	for (unsigned i = 0; i < 128; i++)
		vg_add(&big, b, 1, 1);
	vg_kick(&big);
	assert_int_equal(disk.npending, VIRTIO_KICK_BUDGET);
	loop_poll(vm->loop, 0);
	loop_poll(vm->loop, 0);
	assert_int_equal(disk.npending, 128);
	run();
}

/* A full ring in flight, then reset: drained, and nothing of it is seen afterwards. */
static void test_reset_in_flight(void **st)
{
	uint8_t idx[2];
	uint32_t n;

	started(VIRTIO_BIT(F_FLUSH));
	for (unsigned i = 0; i < 20; i++)
		submit(0, T_IN, i, true, 512);
	assert_int_equal(disk.npending, 20);
	vg_wr(&g, 0x14, 1, 0);
	assert_int_equal(disk.npending, 0);
	assert_int_equal(disk.drains, 1);
	vg_get(&g, q[0].used + 2, idx, 2);
	assert_int_equal(ld_le16(idx), 0);
	assert_int_equal(status_at(STATUS), 0xee);
	for (unsigned round = 0; round < 40; round++) {	/* no slot leaked */
		started(VIRTIO_BIT(F_FLUSH));
		for (unsigned i = 0; i < 21; i++)
			submit(0, T_IN, i, true, 512);
		vg_wr(&g, 0x14, 1, 0);
		g.heap = 0x10000;
		vg_put(&g, 0x10000, (uint8_t[0x2000]){ 0 }, 0x2000);
	}
	started(VIRTIO_BIT(F_FLUSH));
	assert_int_equal(request(T_IN, 0, true, 512, &n), 0);
}

static void test_broken_in_flight(void **st)
{
	uint16_t head;
	uint32_t n;

	started(VIRTIO_BIT(F_FLUSH));
	submit(0, T_IN, 0, true, 512);
	vg_offer(&q[0], 5000);
	vg_kick(&q[0]);
	assert_true(vg_rd(&g, 0x14, 1) & VIRTIO_S_NEEDS_RESET);
	run();
	assert_false(vg_used(&q[0], &head, &n));
	started(VIRTIO_BIT(F_FLUSH));
	assert_int_equal(request(T_IN, 0, true, 512, &n), 0);
}

/* Closing the machine with requests in flight. */
static void test_free_in_flight(void **st)
{
	started(VIRTIO_BIT(F_FLUSH));
	submit(0, T_IN, 0, true, 512);
	submit(1, T_OUT, 0, false, 512);
}

static void poke(struct vm *pvm, struct device *d)
{
	uint32_t n;

	vm = pvm;
	vg_init(&g, pvm, d);
	started(VIRTIO_BIT(F_FLUSH) | VIRTIO_BIT(F_WCE));
	vg_wr(&g, VG_CONFIG + 32, 1, 0);
	request(T_IN, 5, true, 512, &n);
	submit(1, T_IN, 0, true, 512);	/* pre_save waits for it */
}

static void test_roundtrip(void **st)
{
	tvm_check_roundtrip(&virtio_blk_ops, wire, poke);
	vg_buses_free();
}

static void test_reset(void **st)
{
	tvm_check_reset(&virtio_blk_ops, wire, poke);
	vg_buses_free();
}

/* Random headers, lengths and ring contents. */
static void test_fuzz(void **st)
{
	uint32_t seed = 99;
	uint16_t head;
	uint32_t n;

	for (unsigned round = 0; round < 4000; round++) {
		struct vgbuf b[6];
		unsigned total, nout;

		if (round % 16 == 0) {
			g.heap = 0x10000;
			vg_put(&g, 0x10000, (uint8_t[0x2000]){ 0 }, 0x2000);
			started(round & 16 ? VIRTIO_BIT(F_FLUSH) : 0);
		}
		for (unsigned i = 0; i < 6; i++) {
			seed = seed * 1664525 + 1013904223;
			b[i].at = seed >> 12 & 1 ? DATA + (seed >> 16) : seed;
			b[i].len = seed >> 13 & 1 ? seed >> 20 & ~511u : seed >> 20 & 31;
		}
		total = 1 + (seed >> 8) % 6;
		nout = (seed >> 24) % (total + 1);
		if (seed & 0x10000) {
			b[0] = (struct vgbuf){ HDR, 16 };
			put_header(HDR, (seed >> 5) % 14, seed >> 28);
		}
		vg_add(&q[0], b, nout, total - nout);
		vg_kick(&q[0]);
		if (seed & 0x40000)
			run();
		while (vg_used(&q[0], &head, &n))
			;
	}
	run();
}

int main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
	const struct CMUnitTest tests[] = {
		T(test_config), T(test_read_write), T(test_split_anywhere),
		T(test_flush_and_id), T(test_writethrough), T(test_discard_zeroes),
		T(test_malformed), T(test_io_error), T(test_readonly), T(test_queues),
		T(test_budget), T(test_reset_in_flight), T(test_broken_in_flight),
		T(test_free_in_flight), T(test_fuzz),
		cmocka_unit_test(test_roundtrip), cmocka_unit_test(test_reset),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
