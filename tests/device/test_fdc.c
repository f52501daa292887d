/* SPDX-License-Identifier: MIT */
/*
 * 82077AA through its ports with image files in its drives; sections of the
 * Intel data sheet 290166-007.
 */
#include "../../devices/fdc_int.h"
#include "../../devices/i8237.h"
#include "../../src/block.h"
#include "../../src/loop.h"
#include "../lib/testvm.h"
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#define BUF 0x20000

static struct vm *vm;
static struct device *fdc;
static struct block *disk[2];
static struct test_irq irq;
static char path[2][32];
static uint64_t disk_size = 1474560;
static bool write_protect;
static uint8_t res[10];

static uint8_t pattern(uint32_t sector, unsigned i)
{
	return (uint8_t)(sector * 13 + i + (sector >> 8));
}

static void make_image(unsigned n, uint64_t size)
{
	uint8_t b[512];
	int fd;

	strcpy(path[n], "/tmp/hv-fdc-XXXXXX");
	fd = mkstemp(path[n]);
	assert_true(fd >= 0);
	for (uint32_t s = 0; s < size / 512; s++) {
		for (unsigned i = 0; i < 512; i++)
			b[i] = pattern(s, i);
		assert_int_equal(write(fd, b, 512), 512);
	}
	close(fd);
}

static void wire(struct device *d)
{
	struct device *dma = tvm_add(d->vm, &i8237_ops, "dma", NULL);
	struct err e = { 0 };

	fdc_wire(d, test_irq_line(&irq, FDC_IRQ), dma);
	if (!fdc_set_drive(d, 0, disk[0], write_protect, &e))
		fail_msg("%s", e.msg);
}

static void out(uint8_t v)
{
	assert_int_equal(tvm_inb(vm, 0x3f4) & 0xc0, 0x80);	/* 2.1.5: RQM, to the controller */
	tvm_outb(vm, 0x3f5, v);
}

static unsigned result(void)
{
	unsigned n = 0;

	while ((tvm_inb(vm, 0x3f4) & 0xd0) == 0xd0 && n < sizeof(res))
		res[n++] = tvm_inb(vm, 0x3f5);
	return n;
}

#define CMD(...) command((const uint8_t[]){ __VA_ARGS__ }, sizeof((uint8_t[]){ __VA_ARGS__ }))
static void command(const uint8_t *c, size_t n)
{
	while (n--)
		out(*c++);
}

/* Time passes until the interrupt: virtual for the chip, real for the image's workers. */
static void wait_irq(void)
{
	for (unsigned i = 0; i < 2000 && !(irq.level >> FDC_IRQ & 1); i++) {
		tvm_advance(vm, 50 * NS_PER_US);
		loop_poll(vm->loop, 5);
	}
	assert_true(irq.level >> FDC_IRQ & 1);
}

static void sense(unsigned n)
{
	CMD(0x08);
	assert_int_equal(result(), n);
}

static void start(void)
{
	irq = (struct test_irq){ 0 };
	vm = tvm_new(MiB(1));
	disk[0] = NULL;
	if (disk_size) {
		struct err e = { 0 };

		make_image(0, disk_size);
		disk[0] = block_open(path[0], "raw", write_protect ? BLOCK_RDONLY : 0, vm->loop,
				     &e);
		assert_non_null(disk[0]);
	}
	fdc = tvm_add(vm, &fdc_ops, "fdc", wire);
	tvm_outb(vm, 0xd6, 0xc0);
	tvm_outb(vm, 0xd4, 0x00);
	tvm_outb(vm, 0x3f2, 0x1c);		/* out of reset, DMA and interrupt, motor A */
	tvm_outb(vm, 0x3f7, disk_size == 2949120 ? 3 : disk_size >= 1228800 ||
		 disk_size % 5 ? 0 : 2);
	wait_irq();
	for (unsigned i = 0; i < 4; i++) {	/* 4.2: after a reset four times */
		sense(2);
		assert_int_equal(res[0], 0xc0 | i);
	}
	CMD(0x03, 0xdf, 0x02);
}

static void stop(void)
{
	vm_lock(vm);
	fdc->ops->reset(fdc);
	for (unsigned i = 0; i < 2; i++)
		if (disk[i]) {
			block_close(disk[i]);
			unlink(path[i]);
			disk[i] = NULL;
		}
	vm_unlock(vm);
	loop_poll(vm->loop, 0);
	tvm_free(vm);
}

static int setup(void **state)
{
	disk_size = 1474560;
	write_protect = false;
	start();
	return 0;
}

static int teardown(void **state)
{
	stop();
	return 0;
}

static void restart(uint64_t size, bool readonly)
{
	stop();
	disk_size = size;
	write_protect = readonly;
	start();
}

/* Channel 2, @mode 44 to memory, 48 from it, 40 verify. */
static void dma(unsigned mode, uint32_t len)
{
	tvm_outb(vm, 0x0a, 6);
	tvm_outb(vm, 0x0c, 0);
	tvm_outb(vm, 0x0b, (uint8_t)(mode | 2));
	tvm_outb(vm, 0x04, 0);
	tvm_outb(vm, 0x04, 0);
	tvm_outb(vm, 0x81, BUF >> 16);
	tvm_outb(vm, 0x05, (uint8_t)(len - 1));
	tvm_outb(vm, 0x05, (uint8_t)((len - 1) >> 8));
	tvm_outb(vm, 0x0a, 2);
}

static void expect_result(unsigned st0, unsigned st1, unsigned st2)
{
	wait_irq();
	assert_int_equal(result(), 7);
	assert_int_equal(irq.level, 0);
	assert_int_equal(res[0], st0);
	assert_int_equal(res[1], st1);
	assert_int_equal(res[2], st2);
}

static void expect_next(unsigned c, unsigned h, unsigned r)
{
	assert_int_equal(res[3], c);
	assert_int_equal(res[4], h);
	assert_int_equal(res[5], r);
	assert_int_equal(res[6], 2);
}

static void seek(unsigned cyl)
{
	CMD(0x0f, 0x00, (uint8_t)cyl);
	assert_int_equal(tvm_inb(vm, 0x3f4) & 0x0f, 1);		/* drive A seeks */
	wait_irq();
	sense(2);
	assert_int_equal(res[0], 0x20);
	assert_int_equal(res[1], cyl);
}

static void assert_memory(uint32_t at, uint32_t sector, uint32_t n)
{
	for (uint32_t i = 0; i < n; i++) {
		uint8_t v = 0;

		assert_true(gm_read(vm->mem, GPA(at + i), &v, 1));
		assert_int_equal(v, pattern(sector + i / 512, i % 512));
	}
}

static uint8_t on_disk(uint32_t sector, unsigned i)
{
	uint8_t v = 0;
	FILE *f = fopen(path[0], "rb");

	assert_int_equal(fseek(f, (long)sector * 512 + i, SEEK_SET), 0);
	assert_int_equal(fread(&v, 1, 1, f), 1);
	fclose(f);
	return v;
}

/* 5.2.3, 5.2.4: reset, recalibrate, drive status */
static void test_seek(void **state)
{
	seek(40);
	CMD(0x04, 0x04);
	assert_int_equal(result(), 1);
	assert_int_equal(res[0], 0x2c);			/* not at track 0, head 1 */
	CMD(0x8f | 0x40, 0x00, 5);			/* relative, inwards */
	wait_irq();
	sense(2);
	assert_int_equal(res[1], 45);
	CMD(0x07, 0x00);
	wait_irq();
	sense(2);
	assert_int_equal(res[0], 0x20);
	assert_int_equal(res[1], 0);
	CMD(0x04, 0x00);
	result();
	assert_int_equal(res[0], 0x38);
	sense(1);					/* 5.2.1: nothing pending */
	assert_int_equal(res[0], 0x80);
}

/* A drive that is not there never shows track 0. */
static void test_no_drive(void **state)
{
	tvm_outb(vm, 0x3f2, 0x2d);
	CMD(0x07, 0x01);
	wait_irq();
	sense(2);
	assert_int_equal(res[0], 0x71);
	assert_int_equal(tvm_inb(vm, 0x3f7) & 0x80, 0);
}

/* 5.1.1: READ DATA by DMA, ended by terminal count; the result is the next sector. */
static void test_read(void **state)
{
	dma(0x44, 512);
	CMD(0xe6, 0x00, 0, 0, 1, 2, 18, 0x1b, 0xff);
	expect_result(0, 0, 0);
	expect_next(0, 0, 2);
	assert_memory(BUF, 0, 512);
	seek(3);
	dma(0x44, 18 * 512);				/* both sides: MT */
	CMD(0xe6, 0x00, 3, 0, 10, 2, 18, 0x1b, 0xff);
	expect_result(4, 0, 0);
	expect_next(3, 1, 10);
	assert_memory(BUF, 3 * 36 + 9, 18 * 512);
	dma(0x44, 18 * 512);				/* the whole side: table 6-3 */
	CMD(0x66, 0x04, 3, 1, 1, 2, 18, 0x1b, 0xff);
	expect_result(4, 0, 0);
	expect_next(4, 1, 1);
	assert_memory(BUF, 3 * 36 + 18, 18 * 512);
	dma(0x44, 700);					/* TC inside a sector */
	CMD(0xe6, 0x00, 3, 0, 1, 2, 18, 0x1b, 0xff);
	expect_result(0, 0, 0);
	expect_next(3, 0, 3);
	assert_memory(BUF, 3 * 36, 700);
}

/* 6.2: what ends a command with an error */
static void test_errors(void **state)
{
	dma(0x44, 4096);
	CMD(0x66, 0x00, 0, 0, 16, 2, 18, 0x1b, 0xff);	/* no TC at the end of the track */
	expect_result(0x40, 0x80, 0);
	CMD(0x66, 0x00, 0, 0, 19, 2, 20, 0x1b, 0xff);	/* no such sector */
	expect_result(0x40, 0x04, 0);
	CMD(0x66, 0x00, 7, 0, 1, 2, 18, 0x1b, 0xff);	/* the heads are elsewhere */
	expect_result(0x40, 0x04, 0x10);
	CMD(0x66, 0x00, 0, 0, 1, 3, 18, 0x1b, 0xff);	/* 1024-byte sectors */
	expect_result(0x40, 0x04, 0);
	CMD(0x26, 0x00, 0, 0, 1, 2, 18, 0x1b, 0xff);	/* FM */
	expect_result(0x40, 0x01, 0);
	tvm_outb(vm, 0x3f7, 2);				/* 250 kbps */
	CMD(0x66, 0x00, 0, 0, 1, 2, 18, 0x1b, 0xff);
	expect_result(0x40, 0x01, 0);
	tvm_outb(vm, 0x3f7, 0);
	tvm_outb(vm, 0x3f2, 0x0c);			/* motor off */
	CMD(0x66, 0x00, 0, 0, 1, 2, 18, 0x1b, 0xff);
	expect_result(0x40, 0x01, 0);
	tvm_outb(vm, 0x3f2, 0x1c);
	tvm_outb(vm, 0x0a, 6);				/* channel masked: overrun */
	CMD(0x66, 0x00, 0, 0, 1, 2, 18, 0x1b, 0xff);
	for (unsigned i = 0; i < 100 && !irq.level; i++) {
		tvm_advance(vm, 20 * NS_PER_MS);
		loop_poll(vm->loop, 5);
	}
	expect_result(0x40, 0x10, 0);
	CMD(0x18);					/* table 5-1: invalid */
	assert_int_equal(result(), 1);
	assert_int_equal(res[0], 0x80);
}

/* 5.1.3: WRITE DATA; the rest of a sector is zeros. */
static void test_write(void **state)
{
	uint8_t data[1100];

	memset(data, 0xa5, sizeof(data));
	assert_true(gm_write(vm->mem, GPA(BUF), data, sizeof(data)));
	seek(79);
	dma(0x48, 1100);
	CMD(0xc5, 0x04, 79, 1, 16, 2, 18, 0x1b, 0xff);
	expect_result(4, 0, 0);
	expect_next(80, 0, 1);
	assert_int_equal(on_disk(2877, 0), 0xa5);
	assert_int_equal(on_disk(2879, 75), 0xa5);
	assert_int_equal(on_disk(2879, 76), 0);
	assert_int_equal(on_disk(2876, 511), pattern(2876, 511));
	restart(1474560, true);
	dma(0x48, 512);
	CMD(0xc5, 0x00, 0, 0, 1, 2, 18, 0x1b, 0xff);
	expect_result(0x40, 0x02, 0);			/* write-protected */
	CMD(0x04, 0x00);
	result();
	assert_int_equal(res[0] & 0x40, 0x40);
}

/* 5.1.6: FORMAT TRACK with interleave, and what an image cannot hold */
static void test_format(void **state)
{
	uint8_t ids[18 * 4];

	for (unsigned i = 0; i < 18; i++)
		memcpy(ids + 4 * i, (uint8_t[]){ 5, 1, (uint8_t)(i * 7 % 18 + 1), 2 }, 4);
	assert_true(gm_write(vm->mem, GPA(BUF), ids, sizeof(ids)));
	seek(5);
	dma(0x48, sizeof(ids));
	CMD(0x4d, 0x04, 2, 18, 0x54, 0xf6);
	expect_result(4, 0, 0);
	for (unsigned i = 0; i < 18; i++)
		assert_int_equal(on_disk(5 * 36 + 18 + i, 100), 0xf6);
	assert_int_equal(on_disk(5 * 36 + 17, 0), pattern(5 * 36 + 17, 0));
	assert_int_equal(on_disk(6 * 36, 0), pattern(6 * 36, 0));
	dma(0x48, 9 * 4);
	CMD(0x4d, 0x04, 2, 9, 0x54, 0xf6);
	expect_result(0x54, 0, 0);
	ids[2] = 99;
	assert_true(gm_write(vm->mem, GPA(BUF), ids, sizeof(ids)));
	dma(0x48, sizeof(ids));
	CMD(0x4d, 0x04, 2, 18, 0x54, 0xe5);
	expect_result(0x54, 0, 0);
	assert_int_equal(on_disk(5 * 36 + 18, 0), 0xf6);
}

/* 3.2, 5.2.6: bytes by hand, an interrupt for each while the FIFO is off */
static void test_pio(void **state)
{
	unsigned rises;

	CMD(0x03, 0xdf, 0x03);
	rises = irq.rises[FDC_IRQ];
	CMD(0x66, 0x00, 0, 0, 17, 2, 18, 0x1b, 0xff);
	wait_irq();
	for (unsigned i = 0; i < 1024; i++) {
		assert_int_equal(tvm_inb(vm, 0x3f4), 0xf0);
		assert_int_equal(tvm_inb(vm, 0x3f5), pattern(16 + i / 512, i % 512));
	}
	expect_result(0x40, 0x80, 0);		/* nobody gives terminal count */
	assert_int_equal(irq.rises[FDC_IRQ] - rises, 1025);
	CMD(0x13, 0x00, 0x08, 0x00);			/* FIFO on */
	CMD(0x45, 0x00, 0, 0, 18, 2, 18, 0x1b, 0xff);
	wait_irq();
	for (unsigned i = 0; i < 512; i++) {
		assert_int_equal(tvm_inb(vm, 0x3f4), 0xb0);
		tvm_outb(vm, 0x3f5, (uint8_t)~i);
	}
	expect_result(0x40, 0x80, 0);
	assert_int_equal(on_disk(17, 3), 0xfc);
}

/* 5.1.5 VERIFY, 5.1.7 SCAN, 5.1.2 READ DELETED, 5.1.4 READ TRACK */
static void test_other_reads(void **state)
{
	uint8_t data[1024];

	CMD(0xf6, 0x80, 0, 0, 17, 2, 18, 0x1b, 4);	/* four sectors, over to side 1 */
	expect_result(4, 0, 0);
	expect_next(0, 1, 3);
	CMD(0x56, 0x00, 0, 0, 1, 2, 18, 0x1b, 0xff);
	expect_result(0, 0, 0);
	CMD(0x56, 0x00, 0, 0, 1, 2, 19, 0x1b, 0xff);
	expect_result(0x40, 0x04, 0);
	for (unsigned i = 0; i < 1024; i++)
		data[i] = pattern(i < 512 ? 99 : 3, i % 512);
	assert_true(gm_write(vm->mem, GPA(BUF), data, sizeof(data)));
	dma(0x48, 1024);
	CMD(0x51, 0x00, 0, 0, 3, 2, 18, 0x1b, 1);	/* sector 4 is equal */
	expect_result(0, 0, 0x08);
	expect_next(0, 0, 4);
	dma(0x44, 4096);
	CMD(0x4c, 0x00, 0, 0, 2, 2, 18, 0x1b, 0xff);
	expect_result(0, 0, 0x40);
	expect_next(0, 0, 3);
	assert_memory(BUF, 1, 512);
	dma(0x44, 18 * 512);
	CMD(0x42, 0x00, 0, 0, 9, 2, 18, 0x1b, 0xff);
	expect_result(0, 0, 0);
	assert_memory(BUF, 0, 18 * 512);
	CMD(0x4a, 0x00);
	expect_result(0, 0, 0);
	assert_in_range(res[5], 1, 18);
	assert_int_equal(res[6], 2);
}

/* 5.2.5-5.2.11: CONFIGURE, LOCK, DUMPREG, PERPENDICULAR, VERSION */
static void test_configure(void **state)
{
	CMD(0x10);
	assert_int_equal(result(), 1);
	assert_int_equal(res[0], 0x90);
	CMD(0x13, 0x00, 0x1a, 0x05);
	CMD(0x12, 0x84);
	CMD(0x12, 0x03);
	CMD(0x94);
	result();
	assert_int_equal(res[0], 0x10);
	seek(9);
	CMD(0x0e);
	assert_int_equal(result(), 10);
	assert_memory_equal(res, ((uint8_t[]){ 9, 0, 0, 0, 0xdf, 0x02, 0, 0x87, 0x1a, 5 }), 10);
	tvm_outb(vm, 0x3f4, 0x80);			/* reset, locked: polling is on again */
	wait_irq();
	for (unsigned i = 0; i < 4; i++)
		sense(2);
	CMD(0x0e);
	result();
	assert_int_equal(res[7], 0x84);
	assert_int_equal(res[8], 0x0a);
	assert_int_equal(res[9], 5);
	CMD(0x14);
	result();
	CMD(0x13, 0x00, 0x50, 0x00);			/* implied seek, no polling */
	dma(0x44, 512);
	CMD(0x66, 0x00, 20, 0, 1, 2, 18, 0x1b, 0xff);
	expect_result(0x20, 0, 0);
	assert_memory(BUF, 20 * 36, 512);
	tvm_outb(vm, 0x3f2, 0x18);			/* reset by the DOR */
	assert_int_equal(tvm_inb(vm, 0x3f4), 0);
	tvm_outb(vm, 0x3f2, 0x1c);
	wait_irq();
	CMD(0x08);
	result();
	CMD(0x0e);
	result();
	assert_int_equal(res[8], 0x20);
}

/* 2.1.7: the change line: on until a step with a disk inside */
static void test_change(void **state)
{
	struct err e = { 0 };

	assert_int_equal(tvm_inb(vm, 0x3f7), 0x80);
	seek(1);
	assert_int_equal(tvm_inb(vm, 0x3f7), 0);
	vm_lock(vm);
	assert_true(fdc_set_medium(fdc, 0, NULL, false, &e));
	vm_unlock(vm);
	seek(2);
	assert_int_equal(tvm_inb(vm, 0x3f7), 0x80);
	CMD(0x4a, 0x00);
	expect_result(0x40, 0x01, 0);
	make_image(1, 737280);
	disk[1] = block_open(path[1], "raw", 0, vm->loop, &e);
	vm_lock(vm);
	assert_true(fdc_set_medium(fdc, 0, disk[1], true, &e));
	vm_unlock(vm);
	assert_int_equal(tvm_inb(vm, 0x3f7), 0x80);
	seek(0);
	assert_int_equal(tvm_inb(vm, 0x3f7), 0);
	tvm_outb(vm, 0x3f7, 2);
	dma(0x44, 512);
	CMD(0x66, 0x04, 0, 1, 1, 2, 9, 0x1b, 0xff);
	expect_result(4, 0, 0);
	assert_memory(BUF, 9, 512);
}

/* Every size, at its rate: the last sector of the disk */
static void test_geometries(void **state)
{
	static const struct { uint32_t kib; uint8_t cyl, head, spt, cmos; } rows[] = {
		{ 160, 39, 0, 8, 1 }, { 180, 39, 0, 9, 1 }, { 320, 39, 1, 8, 1 },
		{ 360, 39, 1, 9, 1 }, { 720, 79, 1, 9, 3 }, { 1200, 79, 1, 15, 2 },
		{ 1440, 79, 1, 18, 4 }, { 1680, 79, 1, 21, 4 }, { 2880, 79, 1, 36, 5 },
	};

	for (unsigned i = 0; i < ARRAY_SIZE(rows); i++) {
		restart(rows[i].kib * 1024ull, false);
		assert_int_equal(fdc_cmos_types(fdc), rows[i].cmos << 4);
		seek(rows[i].cyl);
		dma(0x44, 512);
		CMD(0x66, (uint8_t)(rows[i].head << 2), rows[i].cyl, rows[i].head, rows[i].spt, 2,
		    rows[i].spt, 0x1b, 0xff);
		expect_result(rows[i].head << 2, 0, 0);
		assert_memory(BUF, rows[i].kib * 2 - 1, 512);
	}
}

static void test_bad_size(void **state)
{
	struct device *d = device_create(vm, &fdc_ops, "other");
	struct err e = { 0 };
	struct block *b;

	make_image(1, 6000 * 512);
	b = block_open(path[1], "raw", 0, vm->loop, &e);
	assert_false(fdc_set_drive(d, 0, b, false, &e));
	assert_non_null(strstr(e.msg, "2949120"));
	vm_lock(vm);
	block_close(b);
	vm_unlock(vm);
	unlink(path[1]);
}

/* An image that ends early is a 1.44 MB disk; what is missing reads as zeros. */
static void test_short(void **state)
{
	uint8_t v = 1;

	restart(37 * 512, false);
	dma(0x44, 1024);
	seek(1);
	CMD(0x66, 0x00, 1, 0, 1, 2, 18, 0x1b, 0xff);
	expect_result(0, 0, 0);
	assert_memory(BUF, 36, 512);
	assert_true(gm_read(vm->mem, GPA(BUF + 512), &v, 1));
	assert_int_equal(v, 0);
	dma(0x44, 512);
	seek(60);
	CMD(0x66, 0x00, 60, 0, 1, 2, 18, 0x1b, 0xff);
	expect_result(0, 0, 0);
	dma(0x48, 512);
	CMD(0x45, 0x00, 60, 0, 1, 2, 18, 0x1b, 0xff);
	expect_result(0x40, 0x20, 0x20);
}

/* Nonsense in every order: the controller stays alive and inside its arrays. */
static void test_random(void **state)
{
	uint32_t x = 12345;

	for (unsigned i = 0; i < 200000; i++) {
		x = x * 1664525 + 1013904223;
		if (x >> 30 == 0)
			tvm_inb(vm, (uint16_t)(0x3f0 + (x >> 8 & 7)));
		else if (x >> 28 == 4 && i % 50 == 0)
			tvm_advance(vm, 100 * NS_PER_US);
		else
			tvm_outb(vm, x >> 27 & 1 ? 0x3f5 : (uint16_t)(0x3f0 + (x >> 8 & 7)),
				 (uint8_t)(x >> 16));
		if (i % 1000 == 0)
			loop_poll(vm->loop, 0);
	}
}

static void poke_pio(struct vm *v, struct device *d)
{
	vm = v;
	fdc = d;
	tvm_outb(vm, 0x3f2, 0x1c);
	tvm_outb(vm, 0x3f7, 0);
	tvm_advance(vm, NS_PER_MS);
	CMD(0x03, 0xdf, 0x03);
	CMD(0x0f, 0x00, 2);
	CMD(0x45, 0x00, 2, 0, 18, 2, 18, 0x1b, 0xff);
	tvm_advance(vm, NS_PER_MS);
	for (unsigned i = 0; i < 10; i++)
		tvm_outb(vm, 0x3f5, (uint8_t)i);
}

static void poke_result(struct vm *v, struct device *d)
{
	vm = v;
	fdc = d;
	tvm_outb(vm, 0x3f2, 0x1c);
	CMD(0x13, 0x00, 0x1a, 0x05);
	CMD(0x94);
	tvm_inb(vm, 0x3f5);
	CMD(0x07, 0x00);
	CMD(0x0e);
	tvm_inb(vm, 0x3f5);
}

/* A drive without a disk is enough: what is in it is not state. */
static void wire_file(struct device *d)
{
	struct err e = { 0 };

	disk[0] = block_open(path[0], "raw", BLOCK_NO_LOCK, d->vm->loop, &e);
	assert_non_null(disk[0]);
	wire(d);
}

static void wire_empty(struct device *d)
{
	disk[0] = NULL;
	wire(d);
}

static void test_roundtrip(void **state)
{
	tvm_check_roundtrip(&fdc_ops, wire_empty, poke_pio);
	tvm_check_roundtrip(&fdc_ops, wire_empty, poke_result);
}

static void test_reset(void **state)
{
	tvm_check_reset(&fdc_ops, wire_empty, poke_pio);
	tvm_check_reset(&fdc_ops, wire_empty, poke_result);
}

/* No command can be about to start while another one moves data. */
static void test_hostile(void **state)
{
	struct state_buf b = { 0 };
	struct err e = { 0 };
	size_t pos = 0;

	poke_pio(vm, fdc);
	((struct fdc *)fdc)->starting = true;
	state_save_device(&b, fdc);
	((struct fdc *)fdc)->starting = false;
	vm_lock(vm);
	assert_false(state_load_device(fdc, b.data, b.len, &pos, &e));
	vm_unlock(vm);
	assert_int_equal(e.exit_code, HV_EXIT_IMAGE);
	state_buf_free(&b);
}

/* In the middle of a write by hand, with a disk. */
static void test_roundtrip_data(void **state)
{
	struct state_buf one = { 0 }, two = { 0 };
	struct err e = { 0 };
	struct device *other;
	struct vm *b = tvm_new(MiB(1));
	struct block *mine = disk[0];
	size_t pos = 0;

	poke_pio(vm, fdc);
	state_save_device(&one, fdc);
	other = tvm_add(b, &fdc_ops, "fdc", wire_file);
	vm_lock(b);
	if (!state_load_device(other, one.data, one.len, &pos, &e))
		fail_msg("%s", e.msg);
	state_save_device(&two, other);
	assert_int_equal(one.len, two.len);
	assert_memory_equal(one.data, two.data, one.len);
	vm_unlock(b);
	assert_int_equal(bus_read(b->bus, BUS_PIO, 0x3f4, 1), 0xb0);
	for (unsigned i = 10; i < 512; i++)
		bus_write(b->bus, BUS_PIO, 0x3f5, 1, i);
	vm_lock(b);
	block_drain(disk[0]);
	vm_unlock(b);
	assert_int_equal(bus_read(b->bus, BUS_PIO, 0x3f4, 1), 0xd0);
	vm_lock(b);
	other->ops->reset(other);
	block_close(disk[0]);
	vm_unlock(b);
	loop_poll(b->loop, 0);
	tvm_free(b);
	disk[0] = mine;
	state_buf_free(&one);
	state_buf_free(&two);
}

#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(test_seek), T(test_no_drive), T(test_read), T(test_errors), T(test_write),
		T(test_format), T(test_pio), T(test_other_reads), T(test_configure),
		T(test_change), T(test_geometries), T(test_bad_size), T(test_short), T(test_random),
		T(test_roundtrip_data), T(test_hostile), cmocka_unit_test(test_roundtrip),
		cmocka_unit_test(test_reset),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
