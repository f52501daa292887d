/* SPDX-License-Identifier: MIT */
/*
 * NVMe through its registers and queues, with an image file behind it.
 * Sections of NVM Express 1.4.
 */
#include "../lib/diskguest.h"
#include "../../devices/nvme.h"
#include "../../src/hostfile.h"
#include "../../src/loop.h"
#include "../../src/media.h"
#include <errno.h>

/* Commands name the fields that matter. */
#pragma GCC diagnostic ignored "-Wmissing-field-initializers"

#define SECTORS 8192u
#define REGS DG_BAR_AT(0)
#define ASQ 0x10000u
#define ACQ 0x12000u
#define IOSQ 0x14000u
#define IOCQ 0x16000u
#define LIST 0x18000u
#define DATA 0x100000u
#define ENTRIES 32u

enum { CC = 0x14, CSTS = 0x1c, AQA = 0x24 };
#define CC_ENABLE (1u | 6u << 16 | 4u << 20)

static struct diskguest g;
static bool readonly;
static uint16_t tail[2], head[2];	/* admin and I/O */
static bool phase[2];
static uint16_t next_cid;

static uint32_t rd(uint32_t off)
{
	return tvm_rd32(g.vm, REGS + off);
}

static void wr(uint32_t off, uint32_t v)
{
	tvm_wr32(g.vm, REGS + off, v);
}

static void wire(struct device *d)
{
	dg_place(d);
	nvme_set_disk(d, g.disk, readonly, "SERIAL-NVME");
}

static void enable(void)
{
	wr(AQA, (ENTRIES - 1) | (ENTRIES - 1) << 16);
	wr(0x28, ASQ);
	wr(0x30, ACQ);
	wr(CC, CC_ENABLE);
	memset(tail, 0, sizeof(tail));
	memset(head, 0, sizeof(head));
	phase[0] = phase[1] = true;
}

struct cmd { uint8_t op; uint32_t nsid; uint64_t prp1, prp2; uint32_t dw[6]; uint8_t flags; };

/* Queue a command on admin (0) or I/O (1) queue; returns its identifier. */
static uint16_t queue(unsigned q, const struct cmd *c)
{
	uint8_t e[64] = { c->op, c->flags };

	st_le16(e + 2, ++next_cid);
	st_le32(e + 4, c->nsid);
	st_le64(e + 24, c->prp1);
	st_le64(e + 32, c->prp2);
	for (unsigned i = 0; i < 6; i++)
		st_le32(e + 40 + 4 * i, c->dw[i]);
	assert_true(gm_write(g.vm->mem, GPA((q ? IOSQ : ASQ) + 64 * tail[q]), e, 64));
	tail[q] = (tail[q] + 1) % ENTRIES;
	return next_cid;
}

static void ring(unsigned q)
{
	wr(0x1000 + 8 * q, tail[q]);
}

/* Next completion: status, *cid, *dw0; -1: none yet. */
static int reap(unsigned q, uint16_t *cid, uint32_t *dw0)
{
	uint8_t e[16];

	assert_true(gm_read(g.vm->mem, GPA((q ? IOCQ : ACQ) + 16 * head[q]), e, 16));
	if ((e[14] & 1) != phase[q])
		return -1;
	if (++head[q] == ENTRIES) {
		head[q] = 0;
		phase[q] = !phase[q];
	}
	wr(0x1004 + 8 * q, head[q]);
	*dw0 = ld_le32(e);
	*cid = ld_le16(e + 12);
	return ld_le16(e + 14) >> 1 & 0x3fff;
}

static int wait_one(unsigned q, uint16_t *cid, uint32_t *dw0)
{
	for (unsigned i = 0; i < 1000; i++) {
		int s = reap(q, cid, dw0);

		if (s >= 0)
			return s;
		loop_poll(g.vm->loop, 100);
	}
	fail_msg("no completion");
	return -1;
}

static uint32_t result;

static int run(unsigned q, struct cmd c)
{
	uint16_t cid = queue(q, &c), got;
	int s;

	ring(q);
	s = wait_one(q, &got, &result);
	assert_int_equal(got, cid);
	return s;
}

static void make_queues(void)
{
	assert_int_equal(run(0, (struct cmd){ 5, 0, IOCQ, 0, { 1 | (ENTRIES - 1) << 16, 3 } }), 0);
	assert_int_equal(run(0, (struct cmd){ 1, 0, IOSQ, 0,
					      { 1 | (ENTRIES - 1) << 16, 1 | 1 << 16 } }), 0);
}

static int setup(void **st)
{
	readonly = false;
	g.vm = tvm_new(MiB(4));
	g.disk = dg_image(g.vm, SECTORS, BLOCK_DISCARD_ON);
	g.d = tvm_add(g.vm, &nvme_ops, "nvme", wire);
	g.msis = 0;
	dg_enable(&g);
	enable();
	make_queues();
	return 0;
}

static int teardown(void **st)
{
	hostfile_fault = NULL;
	vm_lock(g.vm);
	g.d->ops->reset(g.d);
	vm_unlock(g.vm);
	devices_free(g.vm);		/* lets go of the disk */
	dg_close(g.vm, g.disk);
	tvm_free(g.vm);
	return 0;
}

static uint32_t word_at(uint64_t at)
{
	uint32_t v;

	assert_true(gm_read_le32(g.vm->mem, GPA(at), &v));
	return v;
}

/* 3.1 */
static void test_registers(void **st)
{
	assert_int_equal(dg_cfg_rd(g.vm, 8) >> 8, 0x010802);
	assert_int_equal(rd(0) & 0x1ffff, 0x103ff);
	assert_int_equal(rd(4) & 0xff, 0x20);		/* stride 0, NVM command set */
	assert_int_equal(rd(8), 0x10400);
	assert_int_equal(rd(CSTS), 1);
	wr(0x0c, 5);
	assert_int_equal(rd(0x10), 5);
	wr(0x10, 4);
	assert_int_equal(rd(0x0c), 1);
	wr(CC, CC_ENABLE | 1 << 14);			/* 7.6.2: normal shutdown */
	assert_int_equal(rd(CSTS), 9);
	wr(CC, 0);
	assert_int_equal(rd(CSTS), 0);
	assert_int_equal(rd(AQA), (ENTRIES - 1) * 0x10001);
	wr(AQA, 0);
	wr(CC, CC_ENABLE);
	assert_int_equal(rd(CSTS) & 3, 2);		/* fatal: queues of one entry */
	wr(CC, 0);
	enable();
	assert_int_equal(rd(CSTS), 1);
	wr(CC, 0);
	wr(CC, CC_ENABLE | 5 << 7);			/* pages of 128 KiB */
	assert_int_equal(rd(CSTS) & 3, 2);
}

/* 5.15 */
static void test_identify(void **st)
{
	char sn[21] = { 0 };

	assert_int_equal(run(0, (struct cmd){ 6, 0, DATA, DATA + 4096, { 1 } }), 0);
	assert_true(gm_read(g.vm->mem, GPA(DATA + 4), sn, 20));
	assert_string_equal(sn, "SERIAL-NVME         ");
	assert_int_equal(word_at(DATA + 80), 0x10400);
	assert_int_equal(word_at(DATA + 516), 1);
	assert_int_equal(word_at(DATA + 520) & 0xffff, 0x0c);
	assert_int_equal(run(0, (struct cmd){ 6, 1, DATA, 0, { 0 } }), 0);
	assert_int_equal(word_at(DATA), SECTORS);
	assert_int_equal(word_at(DATA + 128), 9 << 16);
	assert_int_equal(run(0, (struct cmd){ 6, 0, DATA, 0, { 2 } }), 0);
	assert_int_equal(word_at(DATA), 1);
	assert_int_equal(word_at(DATA + 4), 0);
	assert_int_equal(run(0, (struct cmd){ 6, 1, DATA, 0, { 3 } }), 0);
	assert_int_equal(word_at(DATA) & 0xffff, 0x0801);
	assert_int_equal(run(0, (struct cmd){ 6, 2, DATA, 0, { 0 } }) & 0x7ff, 0x0b);
	assert_int_equal(run(0, (struct cmd){ 6, 1, DATA, 0, { 0x55 } }) & 0x7ff, 0x02);
	assert_int_equal(run(0, (struct cmd){ 0x77 }) & 0x7ff, 0x01);
}

/* 5.3 to 5.6: every way to create and delete queues wrongly. */
static void test_queues(void **st)
{
	static const struct { struct cmd c; int status; } bad[] = {
		{ { 5, 0, IOCQ, 0, { 1 | 3 << 16, 1 } }, 0x101 },	/* in use */
		{ { 5, 0, IOCQ, 0, { 0 | 3 << 16, 1 } }, 0x101 },
		{ { 5, 0, IOCQ, 0, { 900 | 3 << 16, 1 } }, 0x101 },
		{ { 1, 0, IOSQ, 0, { 1 | 3 << 16, 1 | 1 << 16 } }, 0x101 },
		{ { 0, 0, 0, 0, { 2 } }, 0x101 },
		{ { 4, 0, 0, 0, { 1 } }, 0x10c },			/* has a queue */
		{ { 0, 0, 0, 0, { 1 } }, 0 },
		{ { 1, 0, IOSQ, 0, { 1 | 3 << 16, 1 | 2 << 16 } }, 0x100 },
		{ { 1, 0, IOSQ, 0, { 1 | 0 << 16, 1 | 1 << 16 } }, 0x102 },
		{ { 1, 0, IOSQ, 0, { 1 | 0xffffu << 16, 1 | 1 << 16 } }, 0x102 },
		{ { 1, 0, IOSQ + 8, 0, { 1 | 3 << 16, 1 | 1 << 16 } }, 0x13 },
		{ { 1, 0, IOSQ, 0, { 1 | 3 << 16, 0 | 1 << 16 } }, 0x02 },
		{ { 4, 0, 0, 0, { 1 } }, 0 },
		{ { 5, 0, IOCQ, 0, { 1 | 3 << 16, 3 | 9 << 16 } }, 0x108 },
		{ { 5, 0, IOCQ, 0, { 1 | 3 << 16, 2 } }, 0x02 },
	};

	for (unsigned i = 0; i < ARRAY_SIZE(bad); i++)
		assert_int_equal(run(0, bad[i].c) & 0x7ff, bad[i].status);
	make_queues();
}

/* 6.9, 6.15 and 4.3: PRP pair and list, offsets, limits. */
static void test_read_write(void **st)
{
	uint64_t list[255];

	assert_int_equal(run(1, (struct cmd){ 2, 1, DATA + 512, 0, { 7, 0, 0 } }), 0);
	dg_check_at(g.vm, DATA + 512, 7, 1);
	assert_int_equal(run(1, (struct cmd){ 2, 1, DATA + 0xe00, DATA + 0x3000,
					      { 20, 0, 8 } }), 0);
	dg_check_at(g.vm, DATA + 0xe00, 20, 1);
	dg_check_at(g.vm, DATA + 0x3000, 21, 8);
	for (unsigned i = 0; i < 255; i++)
		list[i] = DATA + 0x10000 + 0x1000 * (254 - i);
	assert_true(gm_write(g.vm->mem, GPA(LIST), list, sizeof(list)));
	assert_int_equal(run(1, (struct cmd){ 2, 1, DATA, LIST, { 0, 0, 2047 } }), 0);
	dg_check_at(g.vm, DATA, 0, 8);
	dg_check_at(g.vm, DATA + 0x10000, 255 * 8, 8);
	/* The list goes on in another page: its first one has room for two entries. */
	list[0] = DATA + 0x5000, list[1] = LIST + 0x2000;
	assert_true(gm_write(g.vm->mem, GPA(LIST + 0xff0), list, 16));
	list[0] = DATA + 0x7000, list[1] = DATA + 0x9000;
	assert_true(gm_write(g.vm->mem, GPA(LIST + 0x2000), list, 16));
	assert_int_equal(run(1, (struct cmd){ 2, 1, DATA, LIST + 0xff0, { 64, 0, 31 } }), 0);
	dg_check_at(g.vm, DATA + 0x5000, 72, 8);
	dg_check_at(g.vm, DATA + 0x9000, 88, 8);
	/* A list that leads to its own end would never bring data. */
	list[0] = LIST + 0xff8;
	assert_true(gm_write(g.vm->mem, GPA(LIST + 0xff8), list, 8));
	assert_int_equal(run(1, (struct cmd){ 2, 1, DATA, LIST + 0xff8, { 64, 0, 31 } }) & 0x7ff,
			 0x13);
	assert_int_equal(run(1, (struct cmd){ 2, 1, DATA, 0, { SECTORS - 1, 0, 1 } }) & 0x7ff,
			 0x80);
	assert_int_equal(run(1, (struct cmd){ 2, 1, DATA, 0, { 0, 0xffffffff } }) & 0x7ff, 0x80);
	assert_int_equal(run(1, (struct cmd){ 2, 1, DATA, LIST, { 0, 0, 2048 } }) & 0x7ff, 0x02);
	assert_int_equal(run(1, (struct cmd){ 2, 2, DATA, 0, { 0 } }) & 0x7ff, 0x0b);
	assert_int_equal(run(1, (struct cmd){ 2, 1, DATA + 1, 0, { 0 } }) & 0x7ff, 0x13);
	assert_int_equal(run(1, (struct cmd){ 2, 1, DATA, DATA + 8, { 0, 0, 15 } }) & 0x7ff, 0x13);
	assert_int_equal(run(1, (struct cmd){ 2, 1, 0xfff00000, 0, { 0 } }) & 0x7ff, 0x04);
	assert_int_equal(run(1, (struct cmd){ 2, 1, DATA, 0, { 0 }, 0x40 }) & 0x7ff, 0x02);
	assert_int_equal(run(1, (struct cmd){ 2, 1, DATA, 0, { 0 }, 1 }) & 0x7ff, 0x02);
	assert_true(gm_write_le32(g.vm->mem, GPA(DATA), 0x12345678));
	assert_int_equal(run(1, (struct cmd){ 1, 1, DATA, 0, { 99, 0, 1u << 30 } }), 0);
	assert_int_equal(run(1, (struct cmd){ 0, 0xffffffff }), 0);
	assert_int_equal(run(1, (struct cmd){ 2, 1, DATA + 0x4000, 0, { 99 } }), 0);
	assert_int_equal(word_at(DATA + 0x4000), 0x12345678);
}

/* 6.16, 6.7: zeroes and ranges. */
static void test_zeroes(void **st)
{
	uint8_t r[48] = { 0 };

	assert_int_equal(run(1, (struct cmd){ 8, 1, 0, 0, { 5, 0, 2 | 1 << 25 } }), 0);
	assert_int_equal(run(1, (struct cmd){ 2, 1, DATA, 0, { 4, 0, 4 } }), 0);
	dg_check_at(g.vm, DATA, 4, 1);
	assert_int_equal(word_at(DATA + 512), 0);
	assert_int_equal(word_at(DATA + 4 * 512 - 4), 0);
	dg_check_at(g.vm, DATA + 2048, 8, 1);
	st_le32(r + 4, 8), st_le64(r + 8, 64);
	st_le32(r + 36, 8), st_le64(r + 40, 128);
	assert_true(gm_write(g.vm->mem, GPA(DATA), r, sizeof(r)));
	assert_int_equal(run(1, (struct cmd){ 9, 1, DATA, 0, { 2, 4 } }), 0);
	assert_int_equal(run(1, (struct cmd){ 2, 1, DATA, 0, { 128, 0, 7 } }), 0);
	assert_int_equal(word_at(DATA), 0);
	assert_int_equal(run(1, (struct cmd){ 2, 1, DATA, 0, { 72, 0, 7 } }), 0);
	dg_check_at(g.vm, DATA, 72, 8);
	st_le64(r + 40, SECTORS - 7);
	assert_true(gm_write(g.vm->mem, GPA(DATA), r, sizeof(r)));
	assert_int_equal(run(1, (struct cmd){ 9, 1, DATA, 0, { 2, 4 } }) & 0x7ff, 0x80);
}

/* 5.2, 5.14, 5.21 */
static void test_admin(void **st)
{
	uint16_t cid, aer;

	assert_int_equal(run(0, (struct cmd){ 9, 0, 0, 0, { 7, 15 | 15 << 16 } }), 0);
	assert_int_equal(result, 0);			/* one pair: one CPU */
	assert_int_equal(run(0, (struct cmd){ 10, 0, 0, 0, { 6 } }), 0);
	assert_int_equal(result, 1);
	assert_int_equal(run(0, (struct cmd){ 9, 0, 0, 0, { 6, 0 } }), 0);
	assert_int_equal(run(0, (struct cmd){ 10, 0, 0, 0, { 6 } }), 0);
	assert_int_equal(result, 0);
	assert_int_equal(run(0, (struct cmd){ 9, 0, 0, 0, { 6 | 1u << 31 } }) & 0x7ff, 0x10d);
	assert_int_equal(run(0, (struct cmd){ 9, 0, 0, 0, { 0x42 } }) & 0x7ff, 0x02);
	assert_int_equal(run(0, (struct cmd){ 8, 0, 0, 0, { 1 | 5 << 16 } }), 0);
	assert_int_equal(result, 1);
	assert_int_equal(run(0, (struct cmd){ 2, 0, DATA, 0, { 2 | 127u << 16 } }), 0);
	assert_int_equal(word_at(DATA + 3) & 0xff, 100);
	assert_int_equal(run(0, (struct cmd){ 2, 0, DATA, 0, { 0x99 | 3 << 16 } }) & 0x7ff, 0x109);
	assert_int_equal(run(0, (struct cmd){ 2, 0, DATA, 0, { 1 | 15 << 16, 0, 2 } }) & 0x7ff, 2);
	/* An event request waits; a bad doorbell is an event; the fifth one is too many. */
	aer = queue(0, &(struct cmd){ 12 });
	for (unsigned i = 0; i < 3; i++)
		queue(0, &(struct cmd){ 12 });
	ring(0);
	assert_int_equal(reap(0, &cid, &result), -1);
	assert_int_equal(run(0, (struct cmd){ 12 }) & 0x7ff, 0x105);
	wr(0x1008, 4000);
	assert_int_equal(wait_one(0, &cid, &result), 0);
	assert_int_equal(result, 0x10100);
	assert_true(cid >= aer && cid < aer + 4);
	wr(0x1000 + 8 * 3, 0);		/* masked until the log is read (RAE 0) */
	assert_int_equal(reap(0, &cid, &result), -1);
	queue(0, &(struct cmd){ 2, 0, DATA, 0, { 1 | 15u << 16 } });
	ring(0);
	assert_int_equal(wait_one(0, &cid, &result), 0);
	wr(0x1004, head[0]);
	assert_int_equal(wait_one(0, &cid, &result), 0);
	assert_int_equal(result, 0x10000);
}

static bool grow(uint32_t sectors)
{
	struct err e = { 0 };
	bool told;

	vm_lock(g.vm);
	assert_true(block_resize(g.disk, sectors * 512ull, &e));
	told = nvme_media.resized(g.d, 0);
	vm_unlock(g.vm);
	return told;
}

/* 5.14.1.4, 5.21.1.11, figures 150, 246: a notice that the namespace has another size. */
static void test_resize(void **st)
{
	uint16_t cid;

	assert_int_equal(run(0, (struct cmd){ 6, 0, DATA, 0, { 1 } }), 0);
	assert_int_equal(word_at(DATA + 92), 0x100);			/* OAES */
	queue(0, &(struct cmd){ 12 });
	queue(0, &(struct cmd){ 12 });
	ring(0);
	assert_false(grow(SECTORS + 64));	/* nobody asked for it; the list has it */
	assert_int_equal(reap(0, &cid, &result), -1);
	assert_int_equal(run(0, (struct cmd){ 2, 0, DATA, 0, { 4 | 0xffu << 16 } }), 0);
	assert_int_equal(word_at(DATA), 1);
	assert_int_equal(run(0, (struct cmd){ 9, 0, 0, 0, { 11, 0x1ff } }), 0);
	assert_int_equal(run(0, (struct cmd){ 10, 0, 0, 0, { 11 } }), 0);
	assert_int_equal(result, 0x11f);
	assert_true(grow(SECTORS + 128));
	assert_int_equal(wait_one(0, &cid, &result), 0);
	assert_int_equal(result, 0x40002);
	assert_true(grow(SECTORS + 192));	/* masked until the page is read with RAE clear */
	assert_int_equal(run(0, (struct cmd){ 2, 0, DATA, 0, { 4 | 1 << 15 | 0xffu << 16 } }), 0);
	assert_int_equal(word_at(DATA), 1);
	assert_int_equal(reap(0, &cid, &result), -1);
	assert_int_equal(run(0, (struct cmd){ 2, 0, DATA, 0, { 4 | 0xffu << 16 } }), 0);
	assert_int_equal(word_at(DATA), 1);
	assert_int_equal(wait_one(0, &cid, &result), 0);
	assert_int_equal(result, 0x40002);
	assert_int_equal(run(0, (struct cmd){ 2, 0, DATA, 0, { 4 | 0xffu << 16 } }), 0);
	assert_int_equal(word_at(DATA), 0);
	assert_int_equal(run(0, (struct cmd){ 6, 1, DATA, 0, { 0 } }), 0);
	assert_int_equal(word_at(DATA), SECTORS + 192);
	assert_int_equal(run(1, (struct cmd){ 1, 1, DATA, 0, { SECTORS + 191, 0, 0 } }), 0);
	assert_int_equal(run(1, (struct cmd){ 1, 1, DATA, 0, { SECTORS + 192, 0, 0 } }) & 0x7ff,
			 0x80);
}

/* 7.5: a message for each vector; INTx with its masks. */
static void test_interrupts(void **st)
{
	uint64_t msix = DG_BAR_AT(4);
	unsigned cap = 0x40;

	run(1, (struct cmd){ 0, 1 });
	queue(1, &(struct cmd){ 2, 1, DATA, 0, { 0 } });
	ring(1);
	for (unsigned i = 0; i < 1000 && !(dg_cfg_rd(g.vm, 4) >> 16 & 8); i++)
		loop_poll(g.vm->loop, 100);
	assert_int_equal(dg_cfg_rd(g.vm, 4) >> 16 & 8, 8);
	wr(0x0c, 1);
	assert_int_equal(dg_cfg_rd(g.vm, 4) >> 16 & 8, 0);
	wr(0x10, 1);
	reap(1, &next_cid, &result);
	assert_int_equal(dg_cfg_rd(g.vm, 4) >> 16 & 8, 0);
	tvm_wr32(g.vm, msix, 0xfee00000);
	tvm_wr32(g.vm, msix + 8, 0x41);
	tvm_wr32(g.vm, msix + 12, 0);
	dg_cfg_wr(g.vm, cap, dg_cfg_rd(g.vm, cap) | 0x80000000u);
	g.msis = 0;
	for (unsigned i = 0; i < 8; i++)
		queue(1, &(struct cmd){ 2, 1, DATA + 512 * i, 0, { i } });
	ring(1);
	for (unsigned i = 0; i < 8; i++)
		assert_int_equal(wait_one(1, &next_cid, &result), 0);
	assert_in_range(g.msis, 1, 8);
	assert_int_equal(g.msi_data, 0x41);
}

/* A full completion queue stops the fetching; taking entries starts it again. */
static void test_full(void **st)
{
	uint16_t cid;
	unsigned got = 0;

	assert_int_equal(run(0, (struct cmd){ 0, 0, 0, 0, { 1 } }), 0);
	assert_int_equal(run(0, (struct cmd){ 4, 0, 0, 0, { 1 } }), 0);
	assert_int_equal(run(0, (struct cmd){ 5, 0, IOCQ, 0, { 1 | 1 << 16, 3 } }), 0);
	assert_int_equal(run(0, (struct cmd){ 1, 0, IOSQ, 0,
					      { 1 | (ENTRIES - 1) << 16, 1 | 1 << 16 } }), 0);
	tail[1] = 0;
	for (unsigned i = 0; i < 20; i++)
		queue(1, &(struct cmd){ 2, 1, DATA + 512 * i, 0, { i } });
	ring(1);
	for (unsigned h = 0, p = 1, i = 0; got < 20 && i < 2000; i++) {
		uint32_t w = word_at(IOCQ + 16 * h + 12);

		if ((w >> 16 & 1) != p) {
			loop_poll(g.vm->loop, 10);
			continue;
		}
		got++;
		cid = w;
		(void)cid;
		h = (h + 1) % 2;
		p ^= h == 0;
		wr(0x100c, h);
	}
	assert_int_equal(got, 20);
	dg_check_at(g.vm, DATA, 0, 20);
}

static int fail_io(struct hostfile *f, enum hf_op op, uint64_t off, uint64_t len)
{
	return op == HF_READ || op == HF_WRITE ? EIO : 0;
}

static void test_errors(void **st)
{
	hostfile_fault = fail_io;
	assert_int_equal(run(1, (struct cmd){ 2, 1, DATA, 0, { 1 } }) & 0x7ff, 0x281);
	assert_int_equal(run(1, (struct cmd){ 1, 1, DATA, 0, { 1 } }) & 0x7ff, 0x280);
	hostfile_fault = NULL;
	assert_int_equal(run(0, (struct cmd){ 2, 0, DATA, 0, { 1 | 15u << 16 } }), 0);
	assert_int_equal(word_at(DATA), 2);		/* two errors so far */
	assert_int_equal(word_at(DATA + 8) & 0xffff, 1);
}

/* Disabled in the middle: late completions write nothing. */
static void test_reset_in_flight(void **st)
{
	for (unsigned i = 0; i < 16; i++)
		queue(1, &(struct cmd){ 2, 1, DATA + 512 * i, 0, { i } });
	ring(1);
	wr(CC, 0);
	assert_int_equal(rd(CSTS), 0);
	assert_true(gm_write(g.vm->mem, GPA(IOCQ), (uint8_t[512]){ 0 }, 512));
	loop_poll(g.vm->loop, 0);
	assert_int_equal(word_at(IOCQ + 12), 0);
	enable();
	make_queues();
	assert_int_equal(run(1, (struct cmd){ 2, 1, DATA, 0, { 3 } }), 0);
	dg_check_at(g.vm, DATA, 3, 1);
}

/* Random registers, doorbells, commands and lists. */
static void test_hostile(void **st)
{
	uint64_t seed = 777;

	for (unsigned round = 0; round < 300; round++) {
		uint64_t raw[64];

		for (unsigned i = 0; i < 64; i++)
			raw[i] = dg_random(&seed) % (i & 1 ? MiB(5) : UINT64_MAX) &
				 ~(i & 3 ? 0xfffull : 0);
		assert_true(gm_write(g.vm->mem, GPA(LIST + (round % 2 ? 0xe00 : 0)), raw,
				     sizeof(raw)));
		for (unsigned i = 0; i < 40; i++) {
			uint64_t r = dg_random(&seed), s = dg_random(&seed);
			struct cmd c = { r % 13, s % 3, r & 64 ? s : s % MiB(5),
					 LIST + (r >> 32 & 0xff8),
					 { s >> 32 & 0xffff, r & 128 ? s : 0, r >> 16 & 0xfff, r,
					   s, r }, r & 0x300 ? 0 : r >> 8 };

			queue(r >> 20 & 1, &c);
			if (r >> 24 & 1)
				ring(r >> 20 & 1);
			if (r % 11 == 0)
				wr(0x1000 + (s & 0xffc), r >> 32 & 0x3f);
			if (r % 17 == 0)
				wr(s & 0x3c, r >> 32);
			if (r % 5 == 0)
				loop_poll(g.vm->loop, 0);
		}
		if (round % 4 == 0) {
			wr(CC, 0);
			enable();
			queue(0, &(struct cmd){ 5, 0, IOCQ, 0, { 1 | (ENTRIES - 1) << 16, 3 } });
			queue(0, &(struct cmd){ 1, 0, IOSQ, 0,
						{ 1 | (ENTRIES - 1) << 16, 1 | 1 << 16 } });
			ring(0);
		}
	}
	vm_lock(g.vm);
	g.d->ops->pre_save(g.d);
	vm_unlock(g.vm);
}

static void poke(struct vm *v, struct device *d)
{
	struct diskguest old = g;

	g.vm = v;
	g.d = d;
	dg_enable(&g);
	enable();
	make_queues();
	run(1, (struct cmd){ 2, 1, DATA, 0, { SECTORS } });
	queue(0, &(struct cmd){ 12 });
	ring(0);
	v->msi = (struct msi_sink){ 0 };
	g = old;
}

static void test_generic(void **st)
{
	tvm_check_roundtrip(&nvme_ops, wire, poke);
	tvm_check_reset(&nvme_ops, wire, poke);
	dg_enable(&g);
}

#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(test_registers), T(test_identify), T(test_queues), T(test_read_write),
		T(test_zeroes), T(test_admin), T(test_interrupts), T(test_full), T(test_errors),
		T(test_resize),
		T(test_reset_in_flight), T(test_hostile), T(test_generic),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
