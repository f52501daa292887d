/* SPDX-License-Identifier: MIT */
/*
 * Media changed by the user while a machine runs (media.h), seen through an
 * IDE CD drive.  Sections: MMC-3 (T10/1363-D), ATA/ATAPI-6.
 */
#include "../lib/diskguest.h"
#include "../../devices/chipset.h"
#include "../../devices/fdc.h"
#include "../../devices/i8237.h"
#include "../../src/diskhold.h"
#include "../../src/hostfile.h"
#include "../../src/loop.h"
#include "../../src/media.h"
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

static struct vm *vm;
static struct device *ide;
static struct block *home;	/* as the composition root keeps it */
static char paths[2][32];
static unsigned opened, closed;

static void make_image(char *path, uint32_t first, uint32_t sectors)
{
	uint32_t buf[128];
	int fd;

	strcpy(path, "/tmp/hv-media-XXXXXX");
	fd = mkstemp(path);
	assert_true(fd >= 0);
	for (uint32_t s = 0; s < sectors; s++) {
		for (unsigned i = 0; i < 128; i++)
			buf[i] = dg_word(first + s, i);
		assert_int_equal(write(fd, buf, 512), 512);
	}
	close(fd);
}

static void wire(struct device *d)
{
	struct device *host = tvm_add(d->vm, &i440fx_ops, "host", NULL);

	pci_place(d, i440fx_bus(host), CHIPSET_IDE_DEVFN);
	ide_set_irqs(d, (struct irq_line){ 0 }, (struct irq_line){ 0 });
	ide_set_drive(d, 2, NULL, true, true, "SERIAL2");
}

static void watch(void *opaque, struct block *b, bool is_open)
{
	opened += is_open;
	closed += !is_open;
}

static int setup(void **st)
{
	struct media_drive disk = { .bus = "virtio" };
	struct media_drive cd = { .bus = "IDE", .cdrom = true, .ops = &ide_media, .unit = 2,
				  .home = &home };

	make_image(paths[0], 0, 400);
	make_image(paths[1], 1000, 80);
	vm = tvm_new(MiB(4));
	home = NULL;
	opened = closed = 0;
	cd.device = ide = tvm_add(vm, &piix3_ide_ops, "ide", wire);
	tvm_outl(vm, 0xcf8, 0x80000000u | CHIPSET_IDE_DEVFN << 8 | 4);
	tvm_outl(vm, 0xcfc, PCI_CMD_IO | PCI_CMD_MASTER);
	vm_media_add(vm, &disk);
	vm_media_add(vm, &cd);
	vm_media_set_watch(vm, watch, NULL);
	return 0;
}

static int teardown(void **st)
{
	vm_lock(vm);
	ide->ops->reset(ide);
	block_close(home);
	vm_unlock(vm);
	loop_poll(vm->loop, 0);
	tvm_free(vm);
	unlink(paths[0]);
	unlink(paths[1]);
	return 0;
}

static uint8_t settle(void)
{
	for (unsigned i = 0; i < 1000; i++) {
		uint8_t s = tvm_inb(vm, 0x376);

		if (!(s & 0x80))
			return s;
		loop_poll(vm->loop, 100);
	}
	fail_msg("busy for ever");
	return 0;
}

static uint8_t start(const uint8_t *p)
{
	tvm_outb(vm, 0x176, 0xa0);
	tvm_outb(vm, 0x171, 0);
	tvm_outb(vm, 0x174, 0);
	tvm_outb(vm, 0x175, 8);		/* blocks of one sector */
	tvm_outb(vm, 0x177, 0xa0);
	for (unsigned i = 0; i < 12; i += 2)
		tvm_outw(vm, 0x170, ld_le16(p + i));
	return settle();
}

/* One DRQ block; returns its length. */
static unsigned take(uint8_t *buf)
{
	unsigned len = tvm_inb(vm, 0x174) | tvm_inb(vm, 0x175) << 8;

	tvm_inb(vm, 0x177);
	for (unsigned i = 0; i < len; i += 2)
		st_le16(buf + i, tvm_inw(vm, 0x170));
	return len;
}

static unsigned sense(unsigned *asc)
{
	uint8_t b[2048];

	assert_true(start((const uint8_t[12]){ 0x03, 0, 0, 0, 18 }) & 8);
	take(b);
	*asc = b[12] << 8 | b[13];
	return b[2];
}

static void expect_sense(unsigned key, unsigned code)
{
	unsigned asc;

	assert_int_equal(sense(&asc), key);
	assert_int_equal(asc, code);
}

static unsigned event(void)
{
	uint8_t b[2048];

	assert_true(start((const uint8_t[12]){ 0x4a, 1, 0, 0, 0x10, 0, 0, 0, 8 }) & 8);
	take(b);
	return b[4] << 8 | b[5];
}

static const uint8_t ready[12];

static enum media_result insert(unsigned n)
{
	struct err e = { 0 };
	enum media_result r = vm_media_insert(vm, 1, paths[n], &e);

	assert_true(r == MEDIA_DONE || *e.msg);
	return r;
}

/* MMC-3 6.6.3 and 6.42: empty, new medium with attention, another, none. */
static void test_change(void **st)
{
	struct media_info i;
	uint8_t b[2048];

	assert_int_equal(vm_media_count(vm), 2);
	assert_true(vm_media_info(vm, 1, &i));
	assert_string_equal(i.label, "CD drive 1 (IDE)");
	assert_true(i.cdrom && !i.loaded && !i.open && !i.locked);
	assert_false(vm_media_info(vm, 2, &i));
	assert_true(start(ready) & 1);
	expect_sense(2, 0x3a00);

	assert_int_equal(insert(0), MEDIA_DONE);
	assert_true(vm_media_info(vm, 1, &i));
	assert_true(i.loaded && i.readonly && i.size == 400 * 512);
	assert_string_equal(i.path, paths[0]);
	assert_int_equal(event(), 0x0202);
	assert_true(start(ready) & 1);
	expect_sense(6, 0x2800);
	assert_false(start(ready) & 1);
	assert_true(start((const uint8_t[12]){ 0x28, [5] = 5, [8] = 1 }) & 8);
	assert_int_equal(take(b), 2048);
	dg_check(b, 20);

	assert_int_equal(insert(1), MEDIA_DONE);
	start(ready);
	assert_true(start((const uint8_t[12]){ 0x28, [5] = 5, [8] = 1 }) & 8);
	take(b);
	dg_check(b, 1020);

	assert_int_equal(vm_media_eject(vm, 1, false, NULL), MEDIA_DONE);
	assert_null(home);
	assert_int_equal(event(), 0x0300);
	assert_true(start(ready) & 1);
	expect_sense(2, 0x3a00);
	assert_int_equal(opened, 2);
	assert_int_equal(closed, 2);
}

/* What is no image, or not there, leaves the drive as it is; disks stay. */
static bool resized(struct device *d, unsigned unit)
{
	return true;
}

static void test_refused(void **st)
{
	static const struct media_ops grows = { .resized = resized };
	const struct media_drive scsi_cd = { .bus = "SCSI", .cdrom = true, .ops = &grows };
	struct err e = { 0 };
	bool told;

	vm_media_add(vm, &scsi_cd);
	assert_false(vm_disk_resize(vm, 2, MiB(1), &told, &e));	/* nothing is in it */
	assert_int_equal(e.exit_code, HV_EXIT_USAGE);
	insert(0);
	assert_int_equal(vm_media_insert(vm, 1, "/nonexistent.iso", &e), MEDIA_FAILED);
	assert_non_null(strstr(e.msg, "no such file"));
	start(ready);
	assert_false(start(ready) & 1);
	assert_int_equal(vm_media_insert(vm, 0, paths[0], &e), MEDIA_FAILED);
	assert_int_equal(vm_media_eject(vm, 0, true, &e), MEDIA_FAILED);
	assert_int_equal(vm_media_eject(vm, 7, true, &e), MEDIA_FAILED);
	assert_int_equal(opened, 1);
}

/* MMC-3 6.28: a guest that holds the medium is asked, and keeps it unless forced. */
static void test_locked(void **st)
{
	struct media_info i;

	insert(0);
	start(ready);
	event();
	assert_false(start((const uint8_t[12]){ 0x1e, [4] = 1 }) & 1);
	assert_true(vm_media_info(vm, 1, &i) && i.locked);
	assert_int_equal(insert(1), MEDIA_ASKED);
	assert_int_equal(vm_media_eject(vm, 1, false, NULL), MEDIA_ASKED);
	assert_int_equal(event(), 0x0102);
	assert_int_equal(event(), 0x0002);
	/* The guest lets it go: tray out, then the user changes it freely. */
	start((const uint8_t[12]){ 0x1e });
	start((const uint8_t[12]){ 0x1b, [4] = 2 });
	assert_true(vm_media_info(vm, 1, &i) && i.open && i.loaded);
	assert_int_equal(insert(1), MEDIA_DONE);
	assert_true(vm_media_info(vm, 1, &i) && !i.open && i.size == 80 * 512);
	start((const uint8_t[12]){ 0x1e, [4] = 1 });
	start((const uint8_t[12]){ 0x1e, [4] = 1 });
	assert_int_equal(vm_media_eject(vm, 1, true, NULL), MEDIA_DONE);
	assert_true(start(ready) & 1);
	expect_sense(2, 0x3a00);
}

/* A read in progress ends with an error when its medium goes; the drive works on. */
static void test_eject_in_read(void **st)
{
	uint8_t b[2048];

	for (unsigned again = 0; again < 2; again++) {
		unsigned n = 0, asc, key;

		insert(0);
		start(ready);
		/* 64 sectors: more than the drive's buffer holds */
		assert_true(start((const uint8_t[12]){ 0x28, [8] = 64 }) & 8);
		take(b);
		dg_check(b, 0);
		if (again)
			insert(1);
		else
			vm_media_eject(vm, 1, false, NULL);
		while (settle() & 8) {
			assert_int_equal(take(b), 2048);
			dg_check(b, 4 * ++n);	/* never of the other medium */
		}
		assert_true(n < 63);
		assert_true(tvm_inb(vm, 0x376) & 1);
		key = sense(&asc);
		assert_int_equal(key, again ? 6 : 2);
		assert_int_equal(asc, again ? 0x2800 : 0x3a00);
	}
	assert_true(start((const uint8_t[12]){ 0x28, [8] = 1 }) & 8);
	take(b);
	dg_check(b, 1000);
}

static void test_activity(void **st)
{
	uint64_t r, w;

	insert(0);
	start(ready);
	vm_media_activity(vm, 1, &r, &w);
	assert_int_equal(r, 0);
	start((const uint8_t[12]){ 0x28, [8] = 1 });
	take((uint8_t[2048]){ 0 });
	insert(1);
	start(ready);
	start((const uint8_t[12]){ 0x28, [8] = 1 });
	take((uint8_t[2048]){ 0 });
	vm_media_activity(vm, 1, &r, &w);
	assert_int_equal(r, 2);
	assert_int_equal(w, 0);
	assert_int_equal(vm_media_drop_slot(vm, false), 1);
}

static int full(struct hostfile *f, enum hf_op op, uint64_t off, uint64_t len)
{
	return op == HF_WRITE ? ENOSPC : 0;
}

static void written(struct block_req *r, int error)
{
	*(int *)r->opaque = error;
}

/* The host's disk is full: a window can say so, and it ends when there is space. */
static void test_trouble(void **st)
{
	struct disk_hold *h = disk_hold_new(vm);
	struct disk_trouble t;
	struct err e = { 0 };
	int result = -1;
	struct iovec v = { (uint8_t[512]){ 1 }, 512 };
	struct block_req r = { .op = BLOCK_WRITE, .len = 512, .iov = &v, .niov = 1,
			       .done = written, .opaque = &result };

	home = block_open(paths[0], "raw", 0, vm->loop, &e);
	disk_hold_add(h, home);
	disk_hold_step(h);
	assert_false(disk_hold_trouble(h, &t));
	hostfile_fault = full;
	vm_lock(vm);
	block_submit(home, &r);
	vm_unlock(vm);
	while (!disk_hold_trouble(h, &t)) {
		loop_poll(vm->loop, 1);
		disk_hold_step(h);
	}
	assert_int_equal(t.error, ENOSPC);
	assert_int_equal(t.op, BLOCK_WRITE);
	assert_string_equal(t.path, paths[0]);
	assert_non_null(strstr(t.text, "no space is left"));
	assert_true(disk_hold_timeout_ms(h) > 0);
	assert_int_equal(result, -1);
	hostfile_fault = NULL;
	while (disk_hold_trouble(h, &t)) {
		loop_poll(vm->loop, disk_hold_timeout_ms(h));
		disk_hold_step(h);
	}
	while (result < 0)
		loop_poll(vm->loop, 1);
	assert_int_equal(result, 0);
	assert_int_equal(disk_hold_timeout_ms(h), -1);
	disk_hold_remove(h, home);
	disk_hold_free(h);
}

/* A floppy drive: what fits goes in, the change line tells (82077AA, 2.1.7). */
static void wire_fdc(struct device *d)
{
	struct err e = { 0 };

	fdc_wire(d, (struct irq_line){ 0 }, tvm_add(d->vm, &i8237_ops, "dma", NULL));
	assert_true(fdc_set_drive(d, 0, NULL, false, &e));
}

static void test_floppy(void **st)
{
	struct media_drive drive = { .bus = "fd", .floppy = true, .ops = &fdc_media };
	struct block *fd_home = NULL;
	struct media_info i;
	struct err e = { 0 };
	char path[32];

	drive.device = tvm_add(vm, &fdc_ops, "fdc", wire_fdc);
	drive.home = &fd_home;
	vm_media_add(vm, &drive);
	assert_true(vm_media_info(vm, 2, &i));
	assert_string_equal(i.label, "Floppy drive 1 (fd)");
	assert_true(i.removable && i.floppy && !i.cdrom && !i.loaded);
	assert_int_equal(vm_media_drop_slot(vm, false), 1);	/* ISO images go elsewhere */
	make_image(path, 0, 2400);			/* 1.2 MB: 5 1/4 inch */
	assert_int_equal(vm_media_insert(vm, 2, path, &e), MEDIA_FAILED);
	assert_non_null(strstr(e.msg, "does not fit"));
	assert_null(fd_home);
	unlink(path);
	make_image(path, 0, 2880);
	assert_int_equal(vm_media_insert(vm, 2, path, &e), MEDIA_DONE);
	assert_non_null(fd_home);
	assert_true(vm_media_info(vm, 2, &i));
	assert_true(i.loaded && !i.readonly);
	tvm_outb(vm, 0x3f2, 0x1c);
	assert_int_equal(tvm_inb(vm, 0x3f7), 0x80);
	assert_int_equal(vm_media_eject(vm, 2, false, &e), MEDIA_DONE);
	assert_null(fd_home);
	unlink(path);
}

#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(test_change), T(test_refused), T(test_locked), T(test_eject_in_read),
		T(test_activity), T(test_floppy), T(test_trouble),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
