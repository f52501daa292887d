/* SPDX-License-Identifier: MIT */
/*
 * The flash chip through the bus (Intel 290667 "StrataFlash" section 4,
 * JESD68.01), its file, and what firmware a medium asks for.
 */
#include "../lib/testvm.h"
#include "../../devices/pflash.h"
#include "../../src/firmware.h"
#include "../../src/loop.h"
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#define AT 0xffc00000ull
#define LEN 0x4000u

static struct vm *vm;
static struct device *flash;

static void wire(struct device *d)
{
	pflash_wire(d, GPA(AT), LEN, NULL);
}

static int setup(void **st)
{
	vm = tvm_new(MiB(1));
	flash = tvm_add(vm, &pflash_ops, "nvram", wire);
	return 0;
}

static int teardown(void **st)
{
	tvm_free(vm);
	return 0;
}

static void wr(uint64_t off, uint8_t v)
{
	bus_write(vm->bus, BUS_MMIO, AT + off, 1, v);
}

static uint8_t rd(uint64_t off)
{
	return bus_read(vm->bus, BUS_MMIO, AT + off, 1);
}

/* What a load sees: the slot in array mode, else the chip. */
static uint8_t load(uint64_t off)
{
	uint8_t v;

	return gm_read(vm->mem, GPA(AT + off), &v, 1) ? v : rd(off);
}

/* 4.6, 4.5: programming clears bits, only erasing sets them, a block of 4 KiB at once. */
static void test_program_erase(void **st)
{
	assert_int_equal(load(5), 0xff);
	wr(5, 0x40);
	wr(5, 0xf0);
	assert_int_equal(load(5), 0x80);	/* status: ready */
	wr(5, 0x10);
	wr(5, 0x3c);
	wr(5, 0xff);
	assert_int_equal(load(5), 0x30);
	wr(0x1fff, 0x10), wr(0x1fff, 0), wr(0, 0xff);
	wr(0x100, 0x20);
	wr(0x100, 0xd0);
	wr(0, 0xff);
	assert_int_equal(load(5), 0xff);
	assert_int_equal(load(0x1fff), 0);	/* the next block stays */
}

/* While the slot is away no card's BAR takes its place. */
static void test_place_is_kept(void **st)
{
	struct gm_block *rom = gm_block_new(vm->mem, "rom", LEN, NULL);
	struct gm_slot *card = gm_slot_add(vm->mem, GPA(0), LEN, rom, 0, GM_DISABLED, NULL);

	wr(0, 0x90);
	assert_false(gm_slot_set(vm->mem, card, GPA(AT), rom, 0, 0));
	wr(0, 0xff);
	assert_int_equal(load(0), 0xff);
}

/* 4.5: erase set-up not followed by confirm sets SR.5 and SR.4 and erases nothing. */
static void test_wrong_sequence(void **st)
{
	wr(9, 0x10), wr(9, 0x12), wr(9, 0xff);
	wr(9, 0x20), wr(9, 0x55);
	assert_int_equal(load(9), 0xb0);
	wr(9, 0x50);
	assert_int_equal(load(9), 0);
	wr(9, 0xff);
	assert_int_equal(load(9), 0x12);
}

/* How UEFI firmware tells flash from ROM and RAM. */
static void test_detection(void **st)
{
	wr(0, 0x50);
	assert_int_not_equal(load(0), 0x50);
	wr(0, 0x70);
	assert_int_equal(load(0), 0);
	wr(0, 0xff);
	assert_int_equal(load(0), 0xff);
}

/* Table 5 (identifier codes); JESD68.01: QRY, geometry. */
static void test_identity(void **st)
{
	wr(0, 0x90);
	assert_int_equal(load(0), 0x89);
	assert_int_equal(load(1), 0x18);
	wr(0x55, 0x98);
	assert_int_equal(load(0x10), 'Q');
	assert_int_equal(load(0x11), 'R');
	assert_int_equal(load(0x12), 'Y');
	assert_int_equal(load(0x27), 14);		/* 2^14 bytes */
	assert_int_equal(load(0x2d), LEN / 4096 - 1);	/* blocks - 1, of 16 * 256 bytes */
	assert_int_equal(load(0x2f), 16);
	assert_int_equal(load(0xff), 0);
	wr(0, 0x13);					/* 4.1: unknown command: array */
	assert_int_equal(load(0x10), 0xff);
}

static void poke(struct vm *v, struct device *d)
{
	vm = v;
	wr(7, 0x10), wr(7, 1);
	wr(7, 0x20);
}

static void test_generic(void **st)
{
	tvm_check_roundtrip(&pflash_ops, wire, poke);
	tvm_check_reset(&pflash_ops, wire, poke);
}

static void test_storm(void **st)
{
	uint64_t r = 88172645463325252ull;

	for (unsigned i = 0; i < 200000; i++) {
		r ^= r << 13, r ^= r >> 7, r ^= r << 17;
		if (r & 1)
			bus_write(vm->bus, BUS_MMIO, AT + (r >> 8) % LEN, 1u << (r >> 4 & 3),
				  r >> 32);
		else
			bus_read(vm->bus, BUS_MMIO, AT + (r >> 8) % LEN, 1u << (r >> 4 & 3));
	}
}

/* ---- The file ---- */

static struct block *file;

static void wire_file(struct device *d)
{
	pflash_wire(d, GPA(AT), LEN, file);
}

static void open_file(const char *path)
{
	struct err e = { 0 };

	vm = vm_new(true, &e);
	file = block_open(path, "raw", 0, vm->loop, &e);
	if (!file)
		fail_msg("%s", e.msg);
	flash = tvm_add(vm, &pflash_ops, "nvram", wire_file);
}

static void close_file(void)
{
	devices_free(vm);
	block_close(file);
	vm_free(vm);
}

/* What was programmed is there for the next machine, and for a reader while this one runs. */
static void test_file(void **st)
{
	char path[] = "/tmp/hv-nvram-XXXXXX";
	int fd = mkstemp(path);
	uint8_t b[4];

	assert_int_equal(ftruncate(fd, LEN), 0);
	assert_int_equal(pwrite(fd, "\xff\xff\xaa\xff", 4, 0x1200), 4);
	open_file(path);
	assert_int_equal(load(0x1202), 0xaa);
	wr(0x1200, 0x10), wr(0x1200, 0x5a);
	wr(0x1203, 0x10), wr(0x1203, 0x81);
	wr(0, 0xff);
	block_drain(file);
	assert_int_equal(pread(fd, b, 4, 0x1200), 4);
	assert_memory_equal(b, "\x5a\xff\xaa\x81", 4);
	wr(0x3000, 0x20), wr(0x3000, 0xd0);	/* never returns to array mode */
	close_file();
	assert_int_equal(pread(fd, b, 4, 0x3ffc), 4);
	assert_memory_equal(b, "\xff\xff\xff\xff", 4);
	open_file(path);
	assert_int_equal(load(0x1203), 0x81);
	close_file();
	close(fd);
	unlink(path);
}

/* ---- Media ---- */

static uint8_t media[256 * 1024];

static bool uefi(bool cdrom, bool *blank)
{
	char path[] = "/tmp/hv-media-XXXXXX";
	int fd = mkstemp(path);
	struct err e = { 0 };
	bool yes;

	assert_int_equal(write(fd, media, sizeof(media)), sizeof(media));
	close(fd);
	vm = vm_new(true, &e);
	file = block_open(path, "raw", BLOCK_RDONLY, vm->loop, &e);
	assert_non_null(file);
	yes = firmware_media_uefi(file, cdrom, blank);
	block_close(file);
	vm_free(vm);
	unlink(path);
	return yes;
}

static const uint8_t esp[16] = { 0x28, 0x73, 0x2a, 0xc1, 0x1f, 0xf8, 0xd2, 0x11,
				 0xba, 0x4b, 0x00, 0xa0, 0xc9, 0x3e, 0xc9, 0x3b };

static void make_gpt(void)
{
	memset(media, 0, sizeof(media));
	media[510] = 0x55, media[511] = 0xaa;
	media[446 + 4] = 0xee;
	memcpy(media + 512, "EFI PART", 8);
	st_le64(media + 512 + 72, 2);
	st_le32(media + 512 + 80, 128);
	st_le32(media + 512 + 84, 128);
	memcpy(media + 1024 + 128, esp, 16);
}

static void test_disks(void **st)
{
	static const uint8_t bios_boot[16] = "Hah!IdontNeedEFI";
	bool blank;

	memset(media, 0, sizeof(media));
	assert_false(uefi(false, &blank));
	assert_true(blank);
	make_gpt();
	assert_true(uefi(false, &blank));
	assert_false(blank);
	media[0] = 0xfa;			/* boot code alone: partitioning tools write it */
	assert_true(uefi(false, &blank));
	memcpy(media + 1024, bios_boot, 16);	/* and GRUB for BIOS: both can start it */
	assert_false(uefi(false, &blank));
	memset(media + 1024, 0, 16);
	media[1024 + 48] = 4;			/* legacy BIOS bootable */
	assert_false(uefi(false, &blank));
	make_gpt();
	st_le64(media + 512 + 72, UINT64_MAX);	/* entries nowhere */
	assert_false(uefi(false, &blank));
	st_le64(media + 512 + 72, 2);
	st_le32(media + 512 + 80, UINT32_MAX);
	assert_true(uefi(false, &blank));
	memset(media, 0, sizeof(media));	/* MBR with an ESP */
	media[510] = 0x55, media[511] = 0xaa;
	media[446 + 4] = 0xef;
	assert_true(uefi(false, &blank));
	media[3] = 1;
	assert_false(uefi(false, &blank));
}

/* El Torito 2.0: boot record in sector 17, catalog with validation and section entries. */
static void test_cds(void **st)
{
	uint8_t *cat = media + 20 * 2048;
	bool blank;

	memset(media, 0, sizeof(media));
	assert_false(uefi(true, &blank));
	assert_true(blank);
	memcpy(media + 17 * 2048, "\0CD001\1EL TORITO SPECIFICATION", 30);
	st_le32(media + 17 * 2048 + 0x47, 20);
	cat[0] = 1, cat[1] = 0xef;
	cat[32] = 0x88;
	assert_true(uefi(true, &blank));
	cat[1] = 0;				/* the first entry is for BIOS */
	cat[64] = 0x91, cat[65] = 0xef, cat[96] = 0x88;
	assert_false(uefi(true, &blank));
	assert_false(blank);
	cat[32] = 0;				/* not bootable: only the section is */
	assert_true(uefi(true, &blank));
	st_le32(media + 17 * 2048 + 0x47, UINT32_MAX);
	assert_false(uefi(true, &blank));
}

#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(test_program_erase), T(test_wrong_sequence), T(test_place_is_kept),
		T(test_detection), T(test_identity),
		T(test_storm), cmocka_unit_test(test_generic), cmocka_unit_test(test_file),
		cmocka_unit_test(test_disks), cmocka_unit_test(test_cds),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
