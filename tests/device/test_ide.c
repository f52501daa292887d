/* SPDX-License-Identifier: MIT */
/*
 * IDE through its ports: the ATA disk on an image file, bus master, saved
 * state; test_ide_cd.c has the CD.  Sections: ATA/ATAPI-6 (T13/1410D), Bus
 * Master IDE 1.0.
 */
#include "../lib/ideguest.h"
#include "../../src/hostfile.h"
#include "../../src/loop.h"
#include "../../src/media.h"
#include <errno.h>

/* 9.12: signatures after reset; an absent slave shows status 0. */
static void test_signature(void **st)
{
	assert_int_equal(tvm_inb(ig.vm, 0x1f7), 0x50);
	assert_int_equal(tvm_inb(ig.vm, 0x1f4) | tvm_inb(ig.vm, 0x1f5) << 8, 0);
	assert_int_equal(tvm_inb(ig.vm, 0x174) | tvm_inb(ig.vm, 0x175) << 8, 0xeb14);
	tvm_outb(ig.vm, 0x1f6, 0xb0);
	assert_int_equal(tvm_inb(ig.vm, 0x1f7), 0);
	tvm_outb(ig.vm, 0x3f6, 4);
	assert_int_equal(tvm_inb(ig.vm, 0x3f6) & 0x80, 0);	/* slave is selected: absent */
	tvm_outb(ig.vm, 0x3f6, 0);
	assert_int_equal(tvm_inb(ig.vm, 0x1f7), 0x50);
	assert_int_equal(tvm_inb(ig.vm, 0x1f1), 1);
}

/* 8.15 */
static void test_identify(void **st)
{
	uint16_t id[256];

	tvm_outb(ig.vm, 0x1f6, 0xe0);
	tvm_outb(ig.vm, 0x1f7, 0xec);
	assert_int_equal(ig_settle(0x1f0) & 0x09, 0x08);
	assert_int_equal(ig.irqs.level, 1u << 14);
	assert_int_equal(tvm_inb(ig.vm, 0x1f7) & 0x08, 0x08);
	assert_int_equal(ig.irqs.level, 0);
	ig_read_window(0x1f0, id, 256);
	assert_int_equal(id[60] | (uint32_t)id[61] << 16, IG_DISK_SECTORS);
	assert_int_equal(id[100], IG_DISK_SECTORS);
	assert_int_equal(id[10], 'S' << 8 | 'E');
	assert_int_equal(id[83] & 0x0400, 0x0400);
	assert_int_equal(tvm_inb(ig.vm, 0x1f7), 0x50);
	/* 8.15.5.1: a packet device aborts it and shows its signature. */
	tvm_outb(ig.vm, 0x177, 0xec);
	assert_int_equal(ig_settle(0x170) & 1, 1);
	assert_int_equal(tvm_inb(ig.vm, 0x174), 0x14);
	tvm_outb(ig.vm, 0x177, 0xa1);
	assert_int_equal(ig_settle(0x170) & 0x09, 0x08);
	ig_read_window(0x170, id, 256);
	assert_int_equal(id[0], 0x85c0);
}

static void test_pio_read(void **st)
{
	uint16_t buf[256];

	ig_task(0x1f0, 0xe0, 77, 3, false);
	tvm_outb(ig.vm, 0x1f7, 0x20);
	for (unsigned i = 0; i < 3; i++) {
		assert_int_equal(ig_settle(0x1f0), 0x58);
		assert_int_equal(ig.irqs.level, 1u << 14);
		tvm_inb(ig.vm, 0x1f7);
		ig_read_window(0x1f0, buf, 256);
		dg_check(buf, 77 + i);
	}
	assert_int_equal(tvm_inb(ig.vm, 0x1f7), 0x50);
	assert_int_equal(ig.irqs.rises[14], 3);
	/* READ MULTIPLE EXT: one interrupt a block of 16. */
	ig_task(0x1f0, 0xe0, 1000, 20, true);
	tvm_outb(ig.vm, 0x1f7, 0x29);
	for (unsigned i = 0; i < 20; i++) {
		if (i % 16 == 0)
			ig_settle(0x1f0);
		tvm_inb(ig.vm, 0x1f7);
		ig_read_window(0x1f0, buf, 256);
		dg_check(buf, 1000 + i);
	}
	assert_int_equal(ig.irqs.rises[14], 5);
}

/* 6.2: cylinder 1, head 2, sector 3 of 16 heads and 63 sectors. */
static void test_chs(void **st)
{
	uint16_t buf[256];

	ig_task(0x1f0, 0xa2, 1 << 8 | 3, 1, false);
	tvm_outb(ig.vm, 0x1f6, 0xa2);
	tvm_outb(ig.vm, 0x1f7, 0x20);
	assert_int_equal(ig_settle(0x1f0), 0x58);
	ig_read_window(0x1f0, buf, 256);
	dg_check(buf, (1 * 16 + 2) * 63 + 2);
	ig_task(0x1f0, 0xa2, 1 << 8 | 64, 1, false);	/* there is no sector 64 */
	tvm_outb(ig.vm, 0x1f7, 0x20);
	assert_int_equal(ig_settle(0x1f0) & 1, 1);
	assert_int_equal(tvm_inb(ig.vm, 0x1f1), 0x10);
	tvm_outb(ig.vm, 0x1f2, 17);			/* INITIALIZE DEVICE PARAMETERS: 4 heads */
	tvm_outb(ig.vm, 0x1f6, 0xa3);
	tvm_outb(ig.vm, 0x1f7, 0x91);
	assert_int_equal(ig_settle(0x1f0), 0x50);
	ig_task(0x1f0, 0xa3, 2 << 8 | 17, 1, false);
	tvm_outb(ig.vm, 0x1f6, 0xa3);
	tvm_outb(ig.vm, 0x1f7, 0x20);
	assert_int_equal(ig_settle(0x1f0), 0x58);
	ig_read_window(0x1f0, buf, 256);
	dg_check(buf, (2 * 4 + 3) * 17 + 16);
	tvm_outb(ig.vm, 0x1f6, 0xa4);			/* nor a head 4 now */
	tvm_outb(ig.vm, 0x1f7, 0x20);
	assert_int_equal(ig_settle(0x1f0) & 1, 1);
	assert_int_equal(tvm_inb(ig.vm, 0x1f1), 0x10);
}

static uint16_t identify_word(unsigned base, unsigned word)
{
	uint16_t id[256];

	tvm_outb(ig.vm, base + 7, base == 0x170 ? 0xa1 : 0xec);
	assert_int_equal(ig_settle(base) & 0x09, 0x08);
	ig_read_window(base, id, 256);
	return id[word];
}

static bool set_mode(unsigned base, uint8_t mode)
{
	tvm_outb(ig.vm, base + 1, 0x03);
	tvm_outb(ig.vm, base + 2, mode);
	tvm_outb(ig.vm, base + 7, 0xef);
	return !(ig_settle(base) & 1);
}

/* One size from reset to reset: Linux gives a disk up whose size changes under it. */
static void test_resize(void **st)
{
	struct err e = { 0 };

	vm_lock(ig.vm);
	assert_true(block_resize(ig.disk, (IG_DISK_SECTORS + 64) * 512, &e));
	assert_false(ide_media.resized(ig.ide, 0));
	vm_unlock(ig.vm);
	assert_int_equal(identify_word(0x1f0, 60), IG_DISK_SECTORS);
	tvm_outb(ig.vm, 0x3f6, 4);		/* SRST is no such reset */
	tvm_outb(ig.vm, 0x3f6, 0);
	assert_int_equal(identify_word(0x1f0, 60), IG_DISK_SECTORS);
	vm_lock(ig.vm);
	ig.ide->ops->reset(ig.ide);
	vm_unlock(ig.vm);
	ig_enable();
	assert_int_equal(identify_word(0x1f0, 60), IG_DISK_SECTORS + 64);
	assert_int_equal(identify_word(0x1f0, 100), IG_DISK_SECTORS + 64);
}

/* 8.46.10, table 44: modes that exist, and what IDENTIFY says is chosen (words 63, 88) */
static void test_transfer_modes(void **st)
{
	for (unsigned base = 0x1f0; base >= 0x170; base -= 0x80) {
		tvm_outb(ig.vm, base + 6, 0xe0);
		assert_int_equal(identify_word(base, 63), 0x0007);
		assert_int_equal(identify_word(base, 88), 0x003f);
		assert_true(set_mode(base, 0x22));
		assert_int_equal(identify_word(base, 63), 0x0407);
		assert_true(set_mode(base, 0x45));
		assert_int_equal(identify_word(base, 63), 0x0007);
		assert_int_equal(identify_word(base, 88), 0x203f);
		assert_true(set_mode(base, 0x0c));	/* PIO 4: DMA stays as it is */
		assert_true(set_mode(base, 0x01));
		assert_int_equal(identify_word(base, 88), 0x203f);
		assert_false(set_mode(base, 0x0d));
		assert_false(set_mode(base, 0x12));	/* single word: gone */
		assert_false(set_mode(base, 0x23));
		assert_false(set_mode(base, 0x46));
		assert_false(set_mode(base, 0xff));
		assert_int_equal(identify_word(base, 88), 0x203f);
	}
	tvm_outb(ig.vm, 0x1f7, 0x98);			/* CHECK POWER MODE as ATA-3 had it */
	assert_int_equal(ig_settle(0x1f0), 0x50);
	assert_int_equal(tvm_inb(ig.vm, 0x1f2), 0xff);
}

static void test_pio_write(void **st)
{
	uint16_t buf[256];

	ig_task(0x1f0, 0xe0, 5, 2, false);
	tvm_outb(ig.vm, 0x1f7, 0x30);
	for (unsigned s = 0; s < 2; s++) {
		assert_int_equal(ig_settle(0x1f0), 0x58);
		for (unsigned i = 0; i < 256; i++)
			tvm_outw(ig.vm, 0x1f0, 0x4000 + s * 256 + i);
	}
	assert_int_equal(ig_settle(0x1f0), 0x50);
	tvm_outb(ig.vm, 0x1f7, 0xe7);
	assert_int_equal(ig_settle(0x1f0), 0x50);
	ig_task(0x1f0, 0xe0, 6, 1, false);
	tvm_outb(ig.vm, 0x1f7, 0x20);
	assert_int_equal(ig_settle(0x1f0), 0x58);
	ig_read_window(0x1f0, buf, 256);
	for (unsigned i = 0; i < 256; i++)
		assert_int_equal(buf[i], 0x4100 + i);
}

/* 6.2 and 9.5: out of range is refused before anything moves. */
static void test_range(void **st)
{
	ig_task(0x1f0, 0xe0, IG_DISK_SECTORS - 1, 2, false);
	tvm_outb(ig.vm, 0x1f7, 0x20);
	assert_int_equal(ig_settle(0x1f0) & 1, 1);
	assert_int_equal(tvm_inb(ig.vm, 0x1f1), 0x10);
	ig_task(0x1f0, 0xe0, 0xffffffffffffull, 0, true);
	tvm_outb(ig.vm, 0x1f7, 0x24);
	assert_int_equal(ig_settle(0x1f0) & 1, 1);
	tvm_outb(ig.vm, 0x1f7, 0x5c);		/* no such command */
	assert_int_equal(ig_settle(0x1f0) & 1, 1);
	assert_int_equal(tvm_inb(ig.vm, 0x1f1), 0x04);
	assert_int_equal(tvm_inw(ig.vm, 0x1f0), 0xffff);
	tvm_outb(ig.vm, 0x1f2, 3);			/* not a power of two */
	tvm_outb(ig.vm, 0x1f7, 0xc6);
	assert_int_equal(ig_settle(0x1f0) & 1, 1);
}

static int fail_io(struct hostfile *f, enum hf_op op, uint64_t off, uint64_t len)
{
	return op == HF_READ || op == HF_WRITE || op == HF_SYNC ? EIO : 0;
}

static void test_host_error(void **st)
{
	ig_task(0x1f0, 0xe0, 9, 1, false);
	hostfile_fault = fail_io;
	tvm_outb(ig.vm, 0x1f7, 0x20);
	assert_int_equal(ig_settle(0x1f0) & 0x89, 0x01);
	assert_int_equal(tvm_inb(ig.vm, 0x1f1), 0x40);
	assert_int_equal(tvm_inb(ig.vm, 0x1f3), 9);
	hostfile_fault = NULL;
	tvm_outb(ig.vm, 0x1f7, 0x20);
	assert_int_equal(ig_settle(0x1f0), 0x58);
}

/* ---- Bus master ---- */

static void dma(uint8_t cmd, uint64_t lba, unsigned n)
{
	tvm_outl(ig.vm, IG_BM + 4, IG_PRDT);
	tvm_outb(ig.vm, IG_BM + 2, 0x06);
	ig_task(0x1f0, 0xe0, lba, n, true);
	tvm_outb(ig.vm, IG_BM, cmd == 0x25 ? 8 : 0);
	tvm_outb(ig.vm, 0x1f7, cmd);
	tvm_outb(ig.vm, IG_BM, cmd == 0x25 ? 9 : 1);
}

static void test_dma_read(void **st)
{
	uint8_t buf[512];

	ig_prd(0, IG_DATA, 0x300, false);		/* regions need not match sectors */
	ig_prd(1, IG_DATA + 0x8000, 0, true);		/* 64 KiB */
	dma(0x25, 200, 100);
	assert_int_equal(ig_settle(0x1f0), 0x50);
	assert_int_equal(tvm_inb(ig.vm, IG_BM + 2) & 7, 4);
	assert_int_equal(ig.irqs.level, 1u << 14);
	assert_true(gm_read(ig.vm->mem, GPA(IG_DATA), buf, 512));
	dg_check(buf, 200);
	assert_true(gm_read(ig.vm->mem, GPA(IG_DATA + 0x8000 - 0x300 + 99 * 512), buf, 512));
	dg_check(buf, 299);
	tvm_outb(ig.vm, IG_BM, 0);
}

static void test_dma_write(void **st)
{
	uint8_t buf[512];

	memset(buf, 0xa5, sizeof(buf));
	for (unsigned i = 0; i < 8; i++)
		assert_true(gm_write(ig.vm->mem, GPA(IG_DATA + 512 * i), buf, 512));
	ig_prd(0, IG_DATA, 8 * 512, true);
	dma(0x3d, 50, 8);			/* FUA */
	assert_int_equal(ig_settle(0x1f0), 0x50);
	ig_prd(0, IG_DATA + 0x10000, 0x400, true);
	dma(0x25, 57, 2);
	assert_int_equal(ig_settle(0x1f0), 0x50);
	assert_true(gm_read(ig.vm->mem, GPA(IG_DATA + 0x10000), buf, 512));
	assert_int_equal(buf[0], 0xa5);
	assert_true(gm_read(ig.vm->mem, GPA(IG_DATA + 0x10200), buf, 512));
	dg_check(buf, 58);
}

/* 3.1: tables too short, outside of memory, endless, wrong direction. */
static void test_dma_hostile(void **st)
{
	ig_prd(0, IG_DATA, 0x200, true);
	dma(0x25, 0, 8);
	assert_int_equal(ig_settle(0x1f0) & 1, 1);
	assert_int_equal(tvm_inb(ig.vm, IG_BM + 2) & 1, 0);
	tvm_outb(ig.vm, IG_BM, 0);
	ig_prd(0, 0xfffffffe, 0x1000, true);
	dma(0x25, 0, 8);
	assert_int_equal(ig_settle(0x1f0) & 1, 1);
	assert_int_equal(tvm_inb(ig.vm, IG_BM + 2) & 3, 2);
	tvm_outb(ig.vm, IG_BM, 0);
	tvm_outb(ig.vm, IG_BM + 2, 6);
	tvm_outl(ig.vm, IG_BM + 4, 0xfffffffc);	/* the table itself */
	ig_task(0x1f0, 0xe0, 0, 8, true);
	tvm_outb(ig.vm, 0x1f7, 0x25);
	tvm_outb(ig.vm, IG_BM, 9);
	assert_int_equal(ig_settle(0x1f0) & 1, 1);
	tvm_outb(ig.vm, IG_BM, 0);
	ig_prd(0, IG_DATA, 0x1000, true);
	tvm_outl(ig.vm, IG_BM + 4, IG_PRDT);
	tvm_outb(ig.vm, 0x1f7, 0x25);
	tvm_outb(ig.vm, IG_BM, 1);			/* from memory, but the command reads */
	assert_int_equal(ig_settle(0x1f0) & 1, 1);
}

/* A reset in the middle: the late completion changes nothing. */
static void test_reset_in_flight(void **st)
{
	ig_prd(0, IG_DATA, 0, true);
	dma(0x25, 0, 64);
	tvm_outb(ig.vm, 0x3f6, 4);
	assert_int_equal(tvm_inb(ig.vm, 0x1f7), 0x80);
	tvm_outb(ig.vm, 0x3f6, 0);
	loop_poll(ig.vm->loop, 0);
	assert_int_equal(tvm_inb(ig.vm, 0x1f7), 0x50);
	ig_task(0x1f0, 0xe0, 1, 1, false);
	tvm_outb(ig.vm, 0x1f7, 0x20);
	vm_lock(ig.vm);
	ig.ide->ops->reset(ig.ide);
	vm_unlock(ig.vm);
	loop_poll(ig.vm->loop, 0);
	ig_enable();
	assert_int_equal(tvm_inb(ig.vm, 0x1f7), 0x50);
}

/* ---- Generic ---- */

static void poke(struct vm *v, struct device *d)
{
	ig.vm = v;
	ig_enable();
	tvm_outb(v, 0x1f6, 0xe0);
	tvm_outb(v, 0x1f7, 0xec);		/* a window half read */
	tvm_inw(v, 0x1f0);
	tvm_outl(v, IG_BM + 4, 0x1234);
	tvm_outb(v, 0x174, 2);
	tvm_outb(v, 0x177, 0xa0);		/* a packet half written */
	tvm_outw(v, 0x170, 0x12);
}

static void test_generic(void **st)
{
	struct vm *mine = ig.vm;

	tvm_check_roundtrip(&piix3_ide_ops, ig_wire, poke);
	tvm_check_reset(&piix3_ide_ops, ig_wire, poke);
	tvm_check_roundtrip(&piix3_ide_ops, ig_wire_empty, poke);
	ig.vm = mine;
}

/* Saved state with a position outside of the buffer is refused. */
static void test_hostile_state(void **st)
{
	struct state_buf b = { 0 };
	struct err e = { 0 };
	unsigned refused = 0;

	vm_lock(ig.vm);
	state_save_device(&b, ig.ide);
	vm_unlock(ig.vm);
	assert_true(b.len > 0);
	state_buf_free(&b);
	tvm_outb(ig.vm, 0x1f6, 0xe0);
	tvm_outb(ig.vm, 0x1f7, 0xec);
	assert_true(ig.ide->ops->post_load(ig.ide, &e));
	/* Poke every counter of the channel's port through the state table's view. */
	for (const struct state_field *f = ig.ide->ops->state[1].sub[0].sub; f->kind; f++) {
		uint8_t *p = (uint8_t *)ig.ide + ig.ide->ops->state[1].off +
			     ig.ide->ops->state[1].sub[0].off + f->off, old[8];

		if (f->kind == F_STRUCT || f->kind == F_BYTES || f->kind == F_BOOL)
			continue;
		memcpy(old, p, f->size);
		memset(p, 0xfe, f->size);
		refused += !ig.ide->ops->post_load(ig.ide, &e);
		memcpy(p, old, f->size);
	}
	assert_true(refused >= 5);
}

#define T(f) cmocka_unit_test_setup_teardown(f, ig_setup, ig_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(test_signature), T(test_identify), T(test_resize), T(test_pio_read), T(test_chs),
		T(test_pio_write), T(test_range), T(test_host_error), T(test_dma_read),
		T(test_dma_write), T(test_dma_hostile), T(test_reset_in_flight),
		T(test_transfer_modes), T(test_generic), T(test_hostile_state),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
