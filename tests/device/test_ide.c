/* SPDX-License-Identifier: MIT */
/*
 * IDE through its ports: ATA disk and ATAPI CD on image files.  Sections:
 * ATA/ATAPI-6 (T13/1410D), MMC-3, Bus Master IDE 1.0.
 */
#include "../lib/testvm.h"
#include "../../devices/chipset.h"
#include "../../src/block.h"
#include "../../src/hostfile.h"
#include "../../src/loop.h"
#include "../../src/media.h"
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#define DISK_SECTORS 4096u
#define CD_BLOCKS 300u
#define BM 0xc000
#define PRDT 0x1000
#define DATA 0x10000

static struct vm *vm;
static struct device *ide;
static struct block *disk, *cd;
static struct test_irq irqs;
static char disk_path[] = "/tmp/hv-ide-d-XXXXXX", cd_path[] = "/tmp/hv-ide-c-XXXXXX";

static uint32_t pattern(uint32_t sector, unsigned word)
{
	return sector * 0x9e3779b9u + word;
}

static void make_image(char *path, uint32_t sectors)
{
	int fd = mkstemp(path);
	uint32_t buf[128];

	assert_true(fd >= 0);
	for (uint32_t s = 0; s < sectors; s++) {
		for (unsigned i = 0; i < 128; i++)
			buf[i] = pattern(s, i);
		assert_int_equal(write(fd, buf, 512), 512);
	}
	close(fd);
}

static void place(struct device *d)
{
	struct device *host = tvm_add(d->vm, &i440fx_ops, "host", NULL);

	pci_place(d, i440fx_bus(host), CHIPSET_IDE_DEVFN);
}

static void wire(struct device *d)
{
	place(d);
	ide_set_irqs(d, test_irq_line(&irqs, 14), test_irq_line(&irqs, 15));
	ide_set_drive(d, 0, disk, false, false, "SERIAL1");
	ide_set_drive(d, 2, cd, true, true, "SERIAL2");
}

static void cfg_wr(unsigned off, uint32_t v)
{
	tvm_outl(vm, 0xcf8, 0x80000000u | CHIPSET_IDE_DEVFN << 8 | off);
	tvm_outl(vm, 0xcfc, v);
}

static void enable(void)
{
	cfg_wr(0x40, 0x80008000);
	cfg_wr(0x20, BM);
	cfg_wr(4, PCI_CMD_IO | PCI_CMD_MASTER);
}

static int setup(void **st)
{
	struct err e = { 0 };

	strcpy(disk_path + strlen(disk_path) - 6, "XXXXXX");
	strcpy(cd_path + strlen(cd_path) - 6, "XXXXXX");
	make_image(disk_path, DISK_SECTORS);
	make_image(cd_path, CD_BLOCKS * 4);
	vm = tvm_new(MiB(4));
	memset(&irqs, 0, sizeof(irqs));
	disk = block_open(disk_path, "raw", 0, vm->loop, &e);
	cd = block_open(cd_path, "raw", BLOCK_RDONLY, vm->loop, &e);
	assert_non_null(disk);
	assert_non_null(cd);
	ide = tvm_add(vm, &piix3_ide_ops, "ide", wire);
	enable();
	return 0;
}

static int teardown(void **st)
{
	hostfile_fault = NULL;
	vm_lock(vm);
	ide->ops->reset(ide);
	block_close(disk);
	block_close(cd);
	vm_unlock(vm);
	loop_poll(vm->loop, 0);		/* completion notices still queued */
	tvm_free(vm);
	unlink(disk_path);
	unlink(cd_path);
	return 0;
}

/* Status once the drive is no longer busy; the alternate register leaves the interrupt. */
static uint8_t settle(unsigned base)
{
	for (unsigned i = 0; i < 1000; i++) {
		uint8_t s = tvm_inb(vm, base + 0x206);

		if (!(s & 0x80))
			return s;
		loop_poll(vm->loop, 100);
	}
	fail_msg("busy for ever");
	return 0;
}

static void task(unsigned base, uint8_t dev, uint64_t lba, unsigned n, bool ext)
{
	tvm_outb(vm, base + 6, dev);
	if (ext) {
		tvm_outb(vm, base + 2, n >> 8);
		tvm_outb(vm, base + 3, lba >> 24);
		tvm_outb(vm, base + 4, lba >> 32);
		tvm_outb(vm, base + 5, lba >> 40);
	} else {
		tvm_outb(vm, base + 6, dev | (lba >> 24 & 15));
	}
	tvm_outb(vm, base + 2, n);
	tvm_outb(vm, base + 3, lba);
	tvm_outb(vm, base + 4, lba >> 8);
	tvm_outb(vm, base + 5, lba >> 16);
}

static void read_window(unsigned base, uint16_t *buf, unsigned words)
{
	for (unsigned i = 0; i < words; i++)
		buf[i] = tvm_inw(vm, base);
}

static void check_sector(const void *p, uint32_t sector)
{
	const uint32_t *w = p;

	for (unsigned i = 0; i < 128; i++)
		assert_int_equal(w[i], pattern(sector, i));
}

/* 9.12: signatures after reset; an absent slave shows status 0. */
static void test_signature(void **st)
{
	assert_int_equal(tvm_inb(vm, 0x1f7), 0x50);
	assert_int_equal(tvm_inb(vm, 0x1f4) | tvm_inb(vm, 0x1f5) << 8, 0);
	assert_int_equal(tvm_inb(vm, 0x174) | tvm_inb(vm, 0x175) << 8, 0xeb14);
	tvm_outb(vm, 0x1f6, 0xb0);
	assert_int_equal(tvm_inb(vm, 0x1f7), 0);
	tvm_outb(vm, 0x3f6, 4);
	assert_int_equal(tvm_inb(vm, 0x3f6) & 0x80, 0);	/* slave is selected: absent */
	tvm_outb(vm, 0x3f6, 0);
	assert_int_equal(tvm_inb(vm, 0x1f7), 0x50);
	assert_int_equal(tvm_inb(vm, 0x1f1), 1);
}

/* 8.15 */
static void test_identify(void **st)
{
	uint16_t id[256];

	tvm_outb(vm, 0x1f6, 0xe0);
	tvm_outb(vm, 0x1f7, 0xec);
	assert_int_equal(settle(0x1f0) & 0x09, 0x08);
	assert_int_equal(irqs.level, 1u << 14);
	assert_int_equal(tvm_inb(vm, 0x1f7) & 0x08, 0x08);
	assert_int_equal(irqs.level, 0);
	read_window(0x1f0, id, 256);
	assert_int_equal(id[60] | (uint32_t)id[61] << 16, DISK_SECTORS);
	assert_int_equal(id[100], DISK_SECTORS);
	assert_int_equal(id[10], 'S' << 8 | 'E');
	assert_int_equal(id[83] & 0x0400, 0x0400);
	assert_int_equal(tvm_inb(vm, 0x1f7), 0x50);
	/* 8.15.5.1: a packet device aborts it and shows its signature. */
	tvm_outb(vm, 0x177, 0xec);
	assert_int_equal(settle(0x170) & 1, 1);
	assert_int_equal(tvm_inb(vm, 0x174), 0x14);
	tvm_outb(vm, 0x177, 0xa1);
	assert_int_equal(settle(0x170) & 0x09, 0x08);
	read_window(0x170, id, 256);
	assert_int_equal(id[0], 0x85c0);
}

static void test_pio_read(void **st)
{
	uint16_t buf[256];

	task(0x1f0, 0xe0, 77, 3, false);
	tvm_outb(vm, 0x1f7, 0x20);
	for (unsigned i = 0; i < 3; i++) {
		assert_int_equal(settle(0x1f0), 0x58);
		assert_int_equal(irqs.level, 1u << 14);
		tvm_inb(vm, 0x1f7);
		read_window(0x1f0, buf, 256);
		check_sector(buf, 77 + i);
	}
	assert_int_equal(tvm_inb(vm, 0x1f7), 0x50);
	assert_int_equal(irqs.rises[14], 3);
	/* READ MULTIPLE EXT: one interrupt a block of 16. */
	task(0x1f0, 0xe0, 1000, 20, true);
	tvm_outb(vm, 0x1f7, 0x29);
	for (unsigned i = 0; i < 20; i++) {
		if (i % 16 == 0)
			settle(0x1f0);
		tvm_inb(vm, 0x1f7);
		read_window(0x1f0, buf, 256);
		check_sector(buf, 1000 + i);
	}
	assert_int_equal(irqs.rises[14], 5);
}

/* 6.2: cylinder 1, head 2, sector 3 of 16 heads and 63 sectors. */
static void test_chs(void **st)
{
	uint16_t buf[256];

	task(0x1f0, 0xa2, 1 << 8 | 3, 1, false);
	tvm_outb(vm, 0x1f6, 0xa2);
	tvm_outb(vm, 0x1f7, 0x20);
	assert_int_equal(settle(0x1f0), 0x58);
	read_window(0x1f0, buf, 256);
	check_sector(buf, (1 * 16 + 2) * 63 + 2);
	task(0x1f0, 0xa2, 1 << 8 | 64, 1, false);	/* there is no sector 64 */
	tvm_outb(vm, 0x1f7, 0x20);
	assert_int_equal(settle(0x1f0) & 1, 1);
	assert_int_equal(tvm_inb(vm, 0x1f1), 0x10);
	tvm_outb(vm, 0x1f2, 17);			/* INITIALIZE DEVICE PARAMETERS: 4 heads */
	tvm_outb(vm, 0x1f6, 0xa3);
	tvm_outb(vm, 0x1f7, 0x91);
	assert_int_equal(settle(0x1f0), 0x50);
	task(0x1f0, 0xa3, 2 << 8 | 17, 1, false);
	tvm_outb(vm, 0x1f6, 0xa3);
	tvm_outb(vm, 0x1f7, 0x20);
	assert_int_equal(settle(0x1f0), 0x58);
	read_window(0x1f0, buf, 256);
	check_sector(buf, (2 * 4 + 3) * 17 + 16);
	tvm_outb(vm, 0x1f6, 0xa4);			/* nor a head 4 now */
	tvm_outb(vm, 0x1f7, 0x20);
	assert_int_equal(settle(0x1f0) & 1, 1);
	assert_int_equal(tvm_inb(vm, 0x1f1), 0x10);
}

static uint16_t identify_word(unsigned base, unsigned word)
{
	uint16_t id[256];

	tvm_outb(vm, base + 7, base == 0x170 ? 0xa1 : 0xec);
	assert_int_equal(settle(base) & 0x09, 0x08);
	read_window(base, id, 256);
	return id[word];
}

static bool set_mode(unsigned base, uint8_t mode)
{
	tvm_outb(vm, base + 1, 0x03);
	tvm_outb(vm, base + 2, mode);
	tvm_outb(vm, base + 7, 0xef);
	return !(settle(base) & 1);
}

/* One size from reset to reset: Linux gives a disk up whose size changes under it. */
static void test_resize(void **st)
{
	struct err e = { 0 };

	vm_lock(vm);
	assert_true(block_resize(disk, (DISK_SECTORS + 64) * 512, &e));
	assert_false(ide_media.resized(ide, 0));
	vm_unlock(vm);
	assert_int_equal(identify_word(0x1f0, 60), DISK_SECTORS);
	tvm_outb(vm, 0x3f6, 4);		/* SRST is no such reset */
	tvm_outb(vm, 0x3f6, 0);
	assert_int_equal(identify_word(0x1f0, 60), DISK_SECTORS);
	vm_lock(vm);
	ide->ops->reset(ide);
	vm_unlock(vm);
	enable();
	assert_int_equal(identify_word(0x1f0, 60), DISK_SECTORS + 64);
	assert_int_equal(identify_word(0x1f0, 100), DISK_SECTORS + 64);
}

/* 8.46.10, table 44: modes that exist, and what IDENTIFY says is chosen (words 63, 88) */
static void test_transfer_modes(void **st)
{
	for (unsigned base = 0x1f0; base >= 0x170; base -= 0x80) {
		tvm_outb(vm, base + 6, 0xe0);
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
	tvm_outb(vm, 0x1f7, 0x98);			/* CHECK POWER MODE as ATA-3 had it */
	assert_int_equal(settle(0x1f0), 0x50);
	assert_int_equal(tvm_inb(vm, 0x1f2), 0xff);
}

static void test_pio_write(void **st)
{
	uint16_t buf[256];

	task(0x1f0, 0xe0, 5, 2, false);
	tvm_outb(vm, 0x1f7, 0x30);
	for (unsigned s = 0; s < 2; s++) {
		assert_int_equal(settle(0x1f0), 0x58);
		for (unsigned i = 0; i < 256; i++)
			tvm_outw(vm, 0x1f0, 0x4000 + s * 256 + i);
	}
	assert_int_equal(settle(0x1f0), 0x50);
	tvm_outb(vm, 0x1f7, 0xe7);
	assert_int_equal(settle(0x1f0), 0x50);
	task(0x1f0, 0xe0, 6, 1, false);
	tvm_outb(vm, 0x1f7, 0x20);
	assert_int_equal(settle(0x1f0), 0x58);
	read_window(0x1f0, buf, 256);
	for (unsigned i = 0; i < 256; i++)
		assert_int_equal(buf[i], 0x4100 + i);
}

/* 6.2 and 9.5: out of range is refused before anything moves. */
static void test_range(void **st)
{
	task(0x1f0, 0xe0, DISK_SECTORS - 1, 2, false);
	tvm_outb(vm, 0x1f7, 0x20);
	assert_int_equal(settle(0x1f0) & 1, 1);
	assert_int_equal(tvm_inb(vm, 0x1f1), 0x10);
	task(0x1f0, 0xe0, 0xffffffffffffull, 0, true);
	tvm_outb(vm, 0x1f7, 0x24);
	assert_int_equal(settle(0x1f0) & 1, 1);
	tvm_outb(vm, 0x1f7, 0x5c);		/* no such command */
	assert_int_equal(settle(0x1f0) & 1, 1);
	assert_int_equal(tvm_inb(vm, 0x1f1), 0x04);
	assert_int_equal(tvm_inw(vm, 0x1f0), 0xffff);
	tvm_outb(vm, 0x1f2, 3);			/* not a power of two */
	tvm_outb(vm, 0x1f7, 0xc6);
	assert_int_equal(settle(0x1f0) & 1, 1);
}

static int fail_io(struct hostfile *f, enum hf_op op, uint64_t off, uint64_t len)
{
	return op == HF_READ || op == HF_WRITE || op == HF_SYNC ? EIO : 0;
}

static void test_host_error(void **st)
{
	task(0x1f0, 0xe0, 9, 1, false);
	hostfile_fault = fail_io;
	tvm_outb(vm, 0x1f7, 0x20);
	assert_int_equal(settle(0x1f0) & 0x89, 0x01);
	assert_int_equal(tvm_inb(vm, 0x1f1), 0x40);
	assert_int_equal(tvm_inb(vm, 0x1f3), 9);
	hostfile_fault = NULL;
	tvm_outb(vm, 0x1f7, 0x20);
	assert_int_equal(settle(0x1f0), 0x58);
}

/* ---- Bus master ---- */

static void prd(unsigned n, uint32_t addr, uint16_t len, bool last)
{
	assert_true(gm_write_le32(vm->mem, GPA(PRDT + 8 * n), addr));
	assert_true(gm_write_le32(vm->mem, GPA(PRDT + 8 * n + 4), len | (last ? 0x80000000u : 0)));
}

static void dma(uint8_t cmd, uint64_t lba, unsigned n)
{
	tvm_outl(vm, BM + 4, PRDT);
	tvm_outb(vm, BM + 2, 0x06);
	task(0x1f0, 0xe0, lba, n, true);
	tvm_outb(vm, BM, cmd == 0x25 ? 8 : 0);
	tvm_outb(vm, 0x1f7, cmd);
	tvm_outb(vm, BM, cmd == 0x25 ? 9 : 1);
}

static void test_dma_read(void **st)
{
	uint8_t buf[512];

	prd(0, DATA, 0x300, false);		/* regions need not match sectors */
	prd(1, DATA + 0x8000, 0, true);		/* 64 KiB */
	dma(0x25, 200, 100);
	assert_int_equal(settle(0x1f0), 0x50);
	assert_int_equal(tvm_inb(vm, BM + 2) & 7, 4);
	assert_int_equal(irqs.level, 1u << 14);
	assert_true(gm_read(vm->mem, GPA(DATA), buf, 512));
	check_sector(buf, 200);
	assert_true(gm_read(vm->mem, GPA(DATA + 0x8000 - 0x300 + 99 * 512), buf, 512));
	check_sector(buf, 299);
	tvm_outb(vm, BM, 0);
}

static void test_dma_write(void **st)
{
	uint8_t buf[512];

	memset(buf, 0xa5, sizeof(buf));
	for (unsigned i = 0; i < 8; i++)
		assert_true(gm_write(vm->mem, GPA(DATA + 512 * i), buf, 512));
	prd(0, DATA, 8 * 512, true);
	dma(0x3d, 50, 8);			/* FUA */
	assert_int_equal(settle(0x1f0), 0x50);
	prd(0, DATA + 0x10000, 0x400, true);
	dma(0x25, 57, 2);
	assert_int_equal(settle(0x1f0), 0x50);
	assert_true(gm_read(vm->mem, GPA(DATA + 0x10000), buf, 512));
	assert_int_equal(buf[0], 0xa5);
	assert_true(gm_read(vm->mem, GPA(DATA + 0x10200), buf, 512));
	check_sector(buf, 58);
}

/* 3.1: tables too short, outside of memory, endless, wrong direction. */
static void test_dma_hostile(void **st)
{
	prd(0, DATA, 0x200, true);
	dma(0x25, 0, 8);
	assert_int_equal(settle(0x1f0) & 1, 1);
	assert_int_equal(tvm_inb(vm, BM + 2) & 1, 0);
	tvm_outb(vm, BM, 0);
	prd(0, 0xfffffffe, 0x1000, true);
	dma(0x25, 0, 8);
	assert_int_equal(settle(0x1f0) & 1, 1);
	assert_int_equal(tvm_inb(vm, BM + 2) & 3, 2);
	tvm_outb(vm, BM, 0);
	tvm_outb(vm, BM + 2, 6);
	tvm_outl(vm, BM + 4, 0xfffffffc);	/* the table itself */
	task(0x1f0, 0xe0, 0, 8, true);
	tvm_outb(vm, 0x1f7, 0x25);
	tvm_outb(vm, BM, 9);
	assert_int_equal(settle(0x1f0) & 1, 1);
	tvm_outb(vm, BM, 0);
	prd(0, DATA, 0x1000, true);
	tvm_outl(vm, BM + 4, PRDT);
	tvm_outb(vm, 0x1f7, 0x25);
	tvm_outb(vm, BM, 1);			/* from memory, but the command reads */
	assert_int_equal(settle(0x1f0) & 1, 1);
}

/* Rules 13 and 14: a reset in the middle, the late completion changes nothing. */
static void test_reset_in_flight(void **st)
{
	prd(0, DATA, 0, true);
	dma(0x25, 0, 64);
	tvm_outb(vm, 0x3f6, 4);
	assert_int_equal(tvm_inb(vm, 0x1f7), 0x80);
	tvm_outb(vm, 0x3f6, 0);
	loop_poll(vm->loop, 0);
	assert_int_equal(tvm_inb(vm, 0x1f7), 0x50);
	task(0x1f0, 0xe0, 1, 1, false);
	tvm_outb(vm, 0x1f7, 0x20);
	vm_lock(vm);
	ide->ops->reset(ide);
	vm_unlock(vm);
	loop_poll(vm->loop, 0);
	enable();
	assert_int_equal(tvm_inb(vm, 0x1f7), 0x50);
}

/* ---- ATAPI ---- */

static void packet(const uint8_t *p, uint16_t limit, bool use_dma)
{
	tvm_outb(vm, 0x176, 0xa0);
	tvm_outb(vm, 0x171, use_dma);
	tvm_outb(vm, 0x174, limit);
	tvm_outb(vm, 0x175, limit >> 8);
	tvm_outb(vm, 0x177, 0xa0);
	assert_int_equal(tvm_inb(vm, 0x172) & 3, 1);
	for (unsigned i = 0; i < 12; i += 2)
		tvm_outw(vm, 0x170, ld_le16(p + i));
}

/* Take a whole reply; returns its length. */
static unsigned take(uint8_t *buf, unsigned max)
{
	unsigned n = 0;

	while (settle(0x170) & 0x08) {
		unsigned len = tvm_inb(vm, 0x174) | tvm_inb(vm, 0x175) << 8;

		assert_int_equal(tvm_inb(vm, 0x172) & 3, 2);
		tvm_inb(vm, 0x177);
		for (unsigned i = 0; i < len; i += 2) {
			uint16_t w = tvm_inw(vm, 0x170);

			if (n + 2 <= max)
				st_le16(buf + n, w);
			n += 2;
		}
	}
	assert_int_equal(tvm_inb(vm, 0x172) & 3, 3);
	return n;
}

static void test_cd_basics(void **st)
{
	uint8_t buf[512];
	uint8_t inquiry[12] = { 0x12, 0, 0, 0, 36 }, cap[12] = { 0x25 }, ready[12] = { 0 };
	uint8_t toc[12] = { 0x43, 0, 0, 0, 0, 0, 0, 1, 0 }, bad[12] = { 0xff };
	uint8_t sense[12] = { 0x03, 0, 0, 0, 18 }, mode[12] = { 0x5a, 0, 0x2a, 0, 0, 0, 0, 0, 40 };

	packet(ready, 0xfffe, false);
	assert_int_equal(settle(0x170), 0x40);
	packet(inquiry, 0xfffe, false);
	assert_int_equal(take(buf, sizeof(buf)), 36);
	assert_int_equal(buf[0], 5);
	packet(cap, 0xfffe, false);
	assert_int_equal(take(buf, sizeof(buf)), 8);
	assert_int_equal(ld_be32(buf), CD_BLOCKS - 1);
	assert_int_equal(ld_be32(buf + 4), 2048);
	packet(toc, 0xfffe, false);
	assert_int_equal(take(buf, sizeof(buf)), 20);
	assert_int_equal(ld_be32(buf + 16), CD_BLOCKS);
	packet(mode, 0xfffe, false);
	assert_int_equal(take(buf, sizeof(buf)), 28);
	packet(bad, 0xfffe, false);
	assert_int_equal(settle(0x170), 0x41);
	assert_int_equal(tvm_inb(vm, 0x171) >> 4, 5);
	packet(sense, 0xfffe, false);
	assert_int_equal(take(buf, sizeof(buf)), 18);
	assert_int_equal(buf[2], 5);
	assert_int_equal(buf[12], 0x20);
	inquiry[4] = 5;				/* clipped to the allocation length */
	packet(inquiry, 0xfffe, false);
	assert_int_equal(take(buf, sizeof(buf)), 6);
}

/* MMC-3 6.30: the three formats of the table of contents */
static void test_cd_toc(void **st)
{
	uint8_t buf[512], toc[12] = { 0x43, 2, 0, 0, 0, 0, 0, 2, 0 };

	packet(toc, 0xfffe, false);		/* in minutes, seconds, frames */
	assert_int_equal(take(buf, sizeof(buf)), 20);
	assert_memory_equal(buf, ((uint8_t[]){ 0, 18, 1, 1, 0, 0x14, 1, 0, 0, 0, 2, 0 }), 12);
	assert_memory_equal(buf + 12, ((uint8_t[]){ 0, 0x14, 0xaa, 0, 0, 0, 6, 0 }), 8);
	toc[1] = 0, toc[6] = 0xaa;
	packet(toc, 0xfffe, false);
	assert_int_equal(take(buf, sizeof(buf)), 12);
	assert_int_equal(ld_be32(buf + 8), CD_BLOCKS);
	toc[2] = 1, toc[6] = 0;
	packet(toc, 0xfffe, false);
	assert_int_equal(take(buf, sizeof(buf)), 12);
	assert_int_equal(buf[6], 1);
	toc[2] = 2;				/* full: A0, A1, A2, track 1 */
	packet(toc, 0xfffe, false);
	assert_int_equal(take(buf, sizeof(buf)), 4 + 4 * 11);
	for (unsigned i = 0; i < 4; i++)
		assert_int_equal(buf[4 + 11 * i + 3], ((uint8_t[]){ 0xa0, 0xa1, 0xa2, 1 })[i]);
	assert_memory_equal(buf + 4 + 22 + 8, ((uint8_t[]){ 0, 6, 0 }), 3);
	toc[2] = 5;
	packet(toc, 0xfffe, false);
	assert_int_equal(settle(0x170) & 1, 1);
	toc[2] = 0, toc[6] = 2;			/* there is no second track */
	packet(toc, 0xfffe, false);
	assert_int_equal(settle(0x170) & 1, 1);
}

/* 6.6 GET CONFIGURATION, 6.28 READ SUB-CHANNEL, 6.31 READ TRACK INFORMATION, 6.16 ff. */
static void test_cd_info(void **st)
{
	uint8_t buf[512], config[12] = { 0x46, 0, 0, 0, 0, 0, 0, 2, 0 };
	uint8_t sub[12] = { 0x42, 2, 0x40, 1, 0, 0, 0, 0, 64 };
	uint8_t track[12] = { 0x52, 1, 0, 0, 0, 1, 0, 0, 64 };
	uint8_t msf[12] = { 0xb9, 0, 0, 0, 2, 5, 0, 2, 7, 0x10 };
	uint8_t play[12] = { 0x45, 0, 0, 0, 0, 0, 0, 0, 1 };
	unsigned all;

	packet(config, 0xfffe, false);
	all = take(buf, sizeof(buf));
	assert_int_equal(ld_be32(buf), all - 4);
	assert_int_equal(ld_be16(buf + 6), 0x08);	/* CD-ROM */
	config[1] = 2, config[3] = 0x10;		/* only random readable */
	packet(config, 0xfffe, false);
	assert_int_equal(take(buf, sizeof(buf)), 20);
	assert_int_equal(ld_be16(buf + 8), 0x10);
	assert_int_equal(buf[10] & 1, 1);
	assert_int_equal(ld_be32(buf + 12), 2048);
	config[3] = 0x1f, config[1] = 1;	/* current ones from DVD read on */
	packet(config, 0xfffe, false);
	take(buf, sizeof(buf));
	assert_int_equal(ld_be16(buf + 8), 0x100);
	packet(sub, 0xfffe, false);
	assert_int_equal(take(buf, sizeof(buf)), 16);
	assert_int_equal(buf[1], 0x15);
	assert_int_equal(buf[6], 1);
	packet(track, 0xfffe, false);
	assert_int_equal(take(buf, sizeof(buf)), 36);
	assert_int_equal(ld_be32(buf + 24), CD_BLOCKS);
	track[5] = 2;
	packet(track, 0xfffe, false);
	assert_int_equal(settle(0x170) & 1, 1);
	packet(msf, 0xfffe, false);			/* blocks 5 and 6 */
	assert_int_equal(take(buf, sizeof(buf)), 4096);
	check_sector(buf, 20);
	msf[4] = 1;
	packet(msf, 0xfffe, false);
	assert_int_equal(settle(0x170) & 1, 1);
	packet(play, 0xfffe, false);
	assert_int_equal(settle(0x170) & 1, 1);
	assert_int_equal(tvm_inb(vm, 0x171) >> 4, 5);
}

static void test_cd_read(void **st)
{
	static uint8_t buf[40 * 2048];
	uint8_t rd[12] = { 0x28, 0, 0, 0, 0, 10, 0, 0, 40 };

	packet(rd, 1000, false);		/* blocks of 1000 bytes */
	assert_int_equal(take(buf, sizeof(buf)) >= 40 * 2048, 1);
	check_sector(buf, 40);
	check_sector(buf + 39 * 2048 + 1536, 49 * 4 + 3);
	rd[0] = 0xa8, rd[8] = 0, rd[9] = 40;	/* READ(12) by DMA */
	prd(0, DATA, 0, false);
	prd(1, DATA + 0x10000, 0, true);
	tvm_outl(vm, BM + 12, PRDT);
	tvm_outb(vm, BM + 8, 9);
	packet(rd, 0, true);
	assert_int_equal(settle(0x170), 0x40);
	assert_int_equal(tvm_inb(vm, BM + 10) & 7, 4);
	assert_true(gm_read(vm->mem, GPA(DATA + 39 * 2048), buf, 2048));
	check_sector(buf, 49 * 4);
	rd[2] = 0xff;
	packet(rd, 0, false);
	assert_int_equal(settle(0x170) & 1, 1);
	assert_int_equal(tvm_inb(vm, 0x171) >> 4, 5);
}

/* ---- Generic ---- */

static void poke(struct vm *v, struct device *d)
{
	vm = v;
	enable();
	tvm_outb(v, 0x1f6, 0xe0);
	tvm_outb(v, 0x1f7, 0xec);		/* a window half read */
	tvm_inw(v, 0x1f0);
	tvm_outl(v, BM + 4, 0x1234);
	tvm_outb(v, 0x174, 2);
	tvm_outb(v, 0x177, 0xa0);		/* a packet half written */
	tvm_outw(v, 0x170, 0x12);
}

static void wire_absent(struct device *d)
{
	place(d);
	ide_set_irqs(d, test_irq_line(&irqs, 14), test_irq_line(&irqs, 15));
	ide_set_drive(d, 2, NULL, true, true, "EMPTY");
}

static void test_generic(void **st)
{
	struct vm *mine = vm;

	tvm_check_roundtrip(&piix3_ide_ops, wire, poke);
	tvm_check_reset(&piix3_ide_ops, wire, poke);
	tvm_check_roundtrip(&piix3_ide_ops, wire_absent, poke);
	vm = mine;
}

/* Rule 20: no medium. */
static void test_no_medium(void **st)
{
	struct vm *mine = vm;
	uint8_t ready[12] = { 0 }, rd[12] = { 0x28, 0, 0, 0, 0, 0, 0, 0, 1 };

	vm = tvm_new(MiB(1));
	tvm_add(vm, &piix3_ide_ops, "ide", wire_absent);
	enable();
	assert_int_equal(tvm_inb(vm, 0x1f7), 0);	/* no drive on the channel */
	tvm_outb(vm, 0x1f2, 0x55);
	assert_int_equal(tvm_inb(vm, 0x1f2), 0);
	tvm_outb(vm, 0x1f7, 0x20);
	packet(ready, 0, false);
	assert_int_equal(settle(0x170) & 1, 1);
	assert_int_equal(tvm_inb(vm, 0x171) >> 4, 2);
	packet(rd, 0, false);
	assert_int_equal(settle(0x170) & 1, 1);
	tvm_outb(vm, 0x171, 0x82);	/* SET FEATURES: a CD drive has no write cache */
	tvm_outb(vm, 0x177, 0xef);
	assert_int_equal(settle(0x170) & 1, 1);
	tvm_free(vm);
	vm = mine;
}

/* Saved state with a position outside of the buffer is refused. */
static void test_hostile_state(void **st)
{
	struct state_buf b = { 0 };
	struct err e = { 0 };
	unsigned refused = 0;

	vm_lock(vm);
	state_save_device(&b, ide);
	vm_unlock(vm);
	assert_true(b.len > 0);
	state_buf_free(&b);
	tvm_outb(vm, 0x1f6, 0xe0);
	tvm_outb(vm, 0x1f7, 0xec);
	assert_true(ide->ops->post_load(ide, &e));
	/* Poke every counter of the channel's port through the state table's view. */
	for (const struct state_field *f = ide->ops->state[1].sub[0].sub; f->kind; f++) {
		uint8_t *p = (uint8_t *)ide + ide->ops->state[1].off +
			     ide->ops->state[1].sub[0].off + f->off, old[8];

		if (f->kind == F_STRUCT || f->kind == F_BYTES || f->kind == F_BOOL)
			continue;
		memcpy(old, p, f->size);
		memset(p, 0xfe, f->size);
		refused += !ide->ops->post_load(ide, &e);
		memcpy(p, old, f->size);
	}
	assert_true(refused >= 5);
}

#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(test_signature), T(test_identify), T(test_resize), T(test_pio_read), T(test_chs),
		T(test_pio_write), T(test_range), T(test_host_error), T(test_dma_read),
		T(test_dma_write), T(test_dma_hostile), T(test_reset_in_flight),
		T(test_cd_basics), T(test_cd_toc), T(test_cd_info), T(test_transfer_modes),
		T(test_cd_read), T(test_no_medium), T(test_generic),
		T(test_hostile_state),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
