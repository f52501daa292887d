/* SPDX-License-Identifier: MIT */
/*
 * AHCI through its registers: ATA disk on port 0, CD drive on port 1, image
 * files behind.  Sections: AHCI 1.3.1, Serial ATA 3.0, ATA/ATAPI-6, MMC-3.
 */
#include "../lib/diskguest.h"
#include "../../devices/ahci.h"
#include "../../src/hostfile.h"
#include "../../src/loop.h"
#include "../../src/media.h"
#include <errno.h>

#define SECTORS 8192u
#define CD_BLOCKS 300u
#define HBA DG_BAR_AT(5)
#define PORT(n) (HBA + 0x100 + 0x80 * (n))
#define CLB 0x10000u		/* + 0x1000 a port */
#define FB 0x18000u
#define TABLE 0x20000u		/* + 0x1000 a slot */
#define DATA 0x100000u

enum { GHC = 4, IS = 8, PI = 0xc, VS = 0x10 };
enum { PX_CLB = 0, PX_FB = 8, PX_IS = 0x10, PX_IE = 0x14, PX_CMD = 0x18, PX_TFD = 0x20,
       PX_SIG = 0x24, PX_SSTS = 0x28, PX_SCTL = 0x2c, PX_SERR = 0x30, PX_SACT = 0x34,
       PX_CI = 0x38 };

static struct diskguest g;

static uint32_t rd(uint64_t at)
{
	return tvm_rd32(g.vm, at);
}

static void wr(uint64_t at, uint32_t v)
{
	tvm_wr32(g.vm, at, v);
}

static void wire(struct device *d)
{
	dg_place(d);
	ahci_set_drive(d, 0, g.disk, false, false, "SERIAL1");
	ahci_set_drive(d, 1, g.cd, true, true, "SERIAL2");
}

/* 10.1.2: memory, FIS receive, clean errors, start. */
static void start_port(unsigned n)
{
	wr(PORT(n) + PX_CLB, CLB + 0x1000 * n);
	wr(PORT(n) + PX_FB, FB + 0x1000 * n);
	wr(PORT(n) + PX_CMD, 0x10);
	wr(PORT(n) + PX_SERR, 0xffffffff);
	wr(PORT(n) + PX_IS, 0xffffffff);
	wr(PORT(n) + PX_IE, 0xffffffff);
	wr(PORT(n) + PX_CMD, 0x11);
}

static int setup(void **st)
{
	g.vm = tvm_new(MiB(4));
	g.disk = dg_image(g.vm, SECTORS, BLOCK_DISCARD_ON);
	g.cd = dg_image(g.vm, CD_BLOCKS * 4, BLOCK_RDONLY);
	g.d = tvm_add(g.vm, &ahci_ops, "ahci", wire);
	dg_enable(&g);
	wr(HBA + GHC, 2);
	start_port(0);
	start_port(1);
	return 0;
}

static int teardown(void **st)
{
	hostfile_fault = NULL;
	vm_lock(g.vm);
	g.d->ops->reset(g.d);
	vm_unlock(g.vm);
	dg_close(g.vm, g.disk);
	dg_close(g.vm, g.cd);
	tvm_free(g.vm);
	return 0;
}

static void put(uint64_t at, const void *p, size_t n)
{
	assert_true(gm_write(g.vm->mem, GPA(at), p, n));
}

static void prd(unsigned slot, unsigned i, uint64_t at, uint32_t len)
{
	uint8_t raw[16] = { 0 };

	st_le64(raw, at);
	st_le32(raw + 12, len - 1);
	put(TABLE + 0x1000 * slot + 0x80 + 16 * i, raw, 16);
}

static void header(unsigned port, unsigned slot, uint32_t flags, unsigned prds)
{
	uint8_t raw[32] = { 0 };

	st_le32(raw, 5 | flags | prds << 16);
	st_le64(raw + 8, TABLE + 0x1000 * slot);
	put(CLB + 0x1000 * port + 32 * slot, raw, 32);
}

/* A command FIS (Serial ATA 10.3.4); for queued ones @n goes to the features. */
static void command(unsigned slot, uint8_t op, uint64_t lba, uint32_t n)
{
	bool ncq = op == 0x60 || op == 0x61;
	uint8_t f[64] = { 0x27, 0x80, op, 0, lba, lba >> 8, lba >> 16, 0x40, lba >> 24, lba >> 32,
			  lba >> 40, 0 };

	if (ncq) {
		f[3] = n, f[11] = n >> 8, f[12] = slot << 3;
	} else {
		f[12] = n, f[13] = n >> 8;
	}
	put(TABLE + 0x1000 * slot, f, sizeof(f));
}

static void wait_ci(unsigned port, uint32_t bits)
{
	for (unsigned i = 0; i < 1000; i++) {
		if (!((rd(PORT(port) + PX_CI) | rd(PORT(port) + PX_SACT)) & bits) ||
		    rd(PORT(port) + PX_IS) & 1u << 30)
			return;
		loop_poll(g.vm->loop, 100);
	}
	fail_msg("slots %#x never end", bits);
}

static void run(unsigned port, unsigned slot)
{
	wr(PORT(port) + PX_CI, 1u << slot);
	wait_ci(port, 1u << slot);
}

static uint32_t word_at(uint64_t at)
{
	uint32_t v;

	assert_true(gm_read_le32(g.vm->mem, GPA(at), &v));
	return v;
}

/* 3.1, 3.3: identity, link, signatures. */
static void test_registers(void **st)
{
	assert_int_equal(dg_cfg_rd(g.vm, 0), 0x29228086);
	assert_int_equal(dg_cfg_rd(g.vm, 8) >> 8, 0x010601);
	assert_int_equal(rd(HBA) & 0x1f, 5);
	assert_int_equal(rd(HBA) >> 30, 3);
	assert_int_equal(rd(HBA + PI), 0x3f);
	assert_int_equal(rd(HBA + VS), 0x10301);
	assert_int_equal(rd(PORT(0) + PX_SSTS) & 15, 3);
	assert_int_equal(rd(PORT(0) + PX_SIG), 0x101);
	assert_int_equal(rd(PORT(1) + PX_SIG), 0xeb140101);
	assert_int_equal(rd(PORT(2) + PX_SSTS), 0);
	assert_int_equal(rd(PORT(0) + PX_TFD), 0x150);
	assert_int_equal(rd(PORT(0) + PX_CMD) & 0xc011, 0xc011);
	/* 4.2.1: the first D2H FIS waited for FRE. */
	assert_int_equal(word_at(FB + 0x40) & 0xff, 0x34);
	assert_int_equal(word_at(FB + 0x40 + 12) & 0xff, 1);
	/* 3.1.2: AE stays, HR resets all. */
	wr(HBA + GHC, 1);
	assert_int_equal(rd(HBA + GHC), 0x80000000);
	assert_int_equal(rd(PORT(0) + PX_CMD) & 0xc011, 0);
	assert_int_equal(rd(PORT(0) + PX_CLB), 0);
	assert_int_equal(rd(HBA + 0xfc), 0);
	assert_int_equal(rd(PORT(6) + 8), 0);
}

static void test_identify(void **st)
{
	uint8_t id[512];

	command(0, 0xec, 0, 0);
	prd(0, 0, DATA, 512);
	header(0, 0, 0, 1);
	run(0, 0);
	assert_true(gm_read(g.vm->mem, GPA(DATA), id, 512));
	assert_int_equal(ld_le32(id + 120), SECTORS);
	assert_int_equal(ld_le16(id + 2 * 76) & 0x100, 0x100);
	assert_int_equal(ld_le16(id + 2 * 75), 31);
	assert_int_equal(ld_le16(id + 2 * 169), 1);
	assert_int_equal(word_at(CLB + 4), 512);		/* PRDBC */
	assert_int_equal(rd(PORT(0) + PX_IS) & 0x43, 2);	/* PIO setup FIS, no D2H */
	assert_int_equal(rd(HBA + IS), 1);
	assert_int_equal(dg_cfg_rd(g.vm, 4) >> 16 & 8, 8);	/* INTx */
	wr(PORT(0) + PX_IS, 2);
	wr(HBA + IS, 1);
	assert_int_equal(dg_cfg_rd(g.vm, 4) >> 16 & 8, 0);
}

static uint32_t identified_size(void)
{
	command(0, 0xec, 0, 0);
	prd(0, 0, DATA, 512);
	header(0, 0, 0, 1);
	run(0, 0);
	return word_at(DATA + 120);
}

/* One size from reset to reset: Linux gives a disk up whose size changes under it. */
static void test_resize(void **st)
{
	struct err e = { 0 };

	vm_lock(g.vm);
	assert_true(block_resize(g.disk, (SECTORS + 64) * 512, &e));
	assert_false(ahci_media.resized(g.d, 0));
	vm_unlock(g.vm);
	assert_int_equal(identified_size(), SECTORS);
	wr(PORT(0) + PX_CMD, 0x10);
	wr(PORT(0) + PX_SCTL, 1);
	wr(PORT(0) + PX_SCTL, 0);
	start_port(0);
	assert_int_equal(identified_size(), SECTORS);
	vm_lock(g.vm);
	g.d->ops->reset(g.d);
	vm_unlock(g.vm);
	dg_enable(&g);
	start_port(0);
	assert_int_equal(identified_size(), SECTORS + 64);
}

/* PCI 3.0, 6.8.1: a message for a port's bit coming on, and nothing on INTx. */
static void test_msi(void **st)
{
	unsigned cap = dg_cfg_rd(g.vm, 0x34) & 0xff;

	assert_int_equal(dg_cfg_rd(g.vm, cap) & 0xff, 5);
	dg_cfg_wr(g.vm, cap + 4, 0xfee01003);
	assert_int_equal(dg_cfg_rd(g.vm, cap + 4), 0xfee01000);
	dg_cfg_wr(g.vm, cap + 12, 0x4123);
	dg_cfg_wr(g.vm, cap, 0x00010000);
	assert_int_equal(dg_cfg_rd(g.vm, cap) >> 16, 0x81);
	g.msis = 0;
	command(0, 0xec, 0, 0);
	prd(0, 0, DATA, 512);
	header(0, 0, 0, 1);
	run(0, 0);
	assert_int_equal(g.msis, 1);
	assert_int_equal(g.msi_data, 0x4123);
	/* The port's bit is still on: no further message until software clears it. */
	run(0, 0);
	assert_int_equal(g.msis, 1);
	/* 5.6.2: IS cleared before the port's own bits: it comes on again. */
	wr(HBA + IS, 1);
	assert_int_equal(g.msis, 2);
	wr(PORT(0) + PX_IS, 0xffffffff);
	wr(HBA + IS, 1);
	assert_int_equal(g.msis, 2);
	run(0, 0);
	assert_int_equal(g.msis, 3);
	assert_int_equal(rd(HBA + IS), 1);
	dg_cfg_wr(g.vm, cap, 0);
	g.d->ops->reset(g.d);
	assert_int_equal(dg_cfg_rd(g.vm, cap) >> 16, 0x80);
}

/* READ and WRITE DMA EXT, scattered; FUA flushes. */
static void test_dma(void **st)
{
	static uint8_t buf[1536];

	command(1, 0x25, 100, 8);
	prd(1, 0, DATA + 2, 510);
	prd(1, 1, DATA + 0x1000, 8 * 512 - 510);
	header(0, 1, 0, 2);
	run(0, 1);
	assert_int_equal(rd(PORT(0) + PX_IS) & 0x40000003, 1);
	assert_int_equal(word_at(CLB + 32 + 4), 4096);
	assert_true(gm_read(g.vm->mem, GPA(DATA + 2), buf, 510));
	assert_true(gm_read(g.vm->mem, GPA(DATA + 0x1000), buf + 510, 2));
	dg_check(buf, 100);
	dg_check_at(g.vm, DATA + 0x1002, 101, 7);
	memset(buf, 0x5c, sizeof(buf));
	put(DATA, buf, sizeof(buf));
	command(2, 0x3d, 7, 3);
	prd(2, 0, DATA, 1536);
	header(0, 2, 0x40, 1);
	run(0, 2);
	command(3, 0x25, 7, 3);
	prd(3, 0, DATA + 0x4000, 1536);
	header(0, 3, 0, 1);
	run(0, 3);
	assert_int_equal(word_at(DATA + 0x4000), 0x5c5c5c5c);
	assert_int_equal(word_at(DATA + 0x4000 + 1532), 0x5c5c5c5c);
	command(3, 0xea, 0, 0);		/* FLUSH CACHE EXT */
	header(0, 3, 0, 0);
	run(0, 3);
	assert_int_equal(rd(PORT(0) + PX_TFD) & 0xff, 0x50);
}

/* Serial ATA 13.6: 32 at once; PxCI falls when taken, PxSACT when done. */
static void test_ncq(void **st)
{
	for (unsigned s = 0; s < 32; s++) {
		command(s, s & 1 ? 0x61 : 0x60, s * 8 + (s & 1 ? 4096 : 0), 8);
		if (s & 1)
			for (unsigned i = 0; i < 4096; i += 4)
				assert_true(gm_write_le32(g.vm->mem, GPA(DATA + 0x1000 * s + i),
							  dg_word(4096 + s * 8 + i / 512,
								  i % 512 / 4)));
		prd(s, 0, DATA + 0x1000 * s, 4096);
		header(0, s, s & 1 ? 0x40 : 0, 1);
	}
	wr(PORT(0) + PX_SACT, 0xffffffff);
	wr(PORT(0) + PX_CI, 0xffffffff);
	assert_int_equal(rd(PORT(0) + PX_CI), 0);
	wait_ci(0, 0xffffffff);
	assert_int_equal(rd(PORT(0) + PX_IS) & 0x40000008, 8);
	for (unsigned s = 0; s < 32; s += 2)
		dg_check_at(g.vm, DATA + 0x1000 * s, s * 8, 8);
	assert_int_equal(word_at(FB + 0x58) & 0xff, 0xa1);
}

/* 6.2.2.2, ACS-3 A.14: an error stops the queue; log 10h names the command. */
static void test_ncq_error(void **st)
{
	uint8_t log[512];

	command(5, 0x60, SECTORS - 1, 2);
	prd(5, 0, DATA, 1024);
	header(0, 5, 0, 1);
	wr(PORT(0) + PX_SACT, 1u << 5);
	run(0, 5);
	assert_int_equal(rd(PORT(0) + PX_IS) & 0x40000008, 0x40000008);
	assert_int_equal(rd(PORT(0) + PX_SACT), 1u << 5);
	assert_int_equal(rd(PORT(0) + PX_TFD) & 0xff01, 0x1001);
	command(0, 0xec, 0, 0);
	wr(PORT(0) + PX_CI, 1);		/* not taken until ST was off */
	assert_int_equal(rd(PORT(0) + PX_CI), 1);
	wr(PORT(0) + PX_CMD, 0x10);
	assert_int_equal(rd(PORT(0) + PX_SACT) | rd(PORT(0) + PX_CI), 0);
	wr(PORT(0) + PX_IS, 0xffffffff);
	wr(PORT(0) + PX_CMD, 0x11);
	command(1, 0x2f, 0x10, 1);
	prd(1, 0, DATA, 512);
	header(0, 1, 0, 1);
	run(0, 1);
	assert_true(gm_read(g.vm->mem, GPA(DATA), log, 512));
	assert_int_equal(log[0], 5);
	assert_int_equal(log[3], 0x10);
	assert_int_equal(ld_le16(log + 4), SECTORS - 1);
}

/* 6.2.2.1: PxCI keeps the failed command; TRIM; write cache off. */
static void test_errors(void **st)
{
	uint64_t range[64] = { 64 | 8ull << 48, (SECTORS - 1) | 2ull << 48 };

	command(4, 0x25, SECTORS, 1);
	prd(4, 0, DATA, 512);
	header(0, 4, 0, 1);
	run(0, 4);
	assert_int_equal(rd(PORT(0) + PX_CI), 1u << 4);
	assert_int_equal(rd(PORT(0) + PX_CMD) >> 8 & 31, 0);
	assert_int_equal(rd(PORT(0) + PX_TFD) & 0xff01, 0x1001);
	wr(PORT(0) + PX_CMD, 0x10);
	start_port(0);
	command(4, 0x25, 0, 8);		/* a PRDT that is too short: overflow */
	header(0, 4, 0, 1);
	run(0, 4);
	assert_int_equal(rd(PORT(0) + PX_IS) & 0x41000000, 0x41000000);
	wr(PORT(0) + PX_CMD, 0x10);
	start_port(0);
	put(DATA, range, 512);
	command(6, 0x06, 0, 1);
	assert_true(gm_write(g.vm->mem, GPA(TABLE + 0x6003), &(uint8_t){ 1 }, 1));
	prd(6, 0, DATA, 512);
	header(0, 6, 0x40, 1);
	run(0, 6);			/* the second range is outside of the disk */
	assert_int_equal(rd(PORT(0) + PX_TFD) & 0xff01, 0x1001);
	wr(PORT(0) + PX_CMD, 0x10);
	start_port(0);
	command(7, 0x25, 64, 8);
	prd(7, 0, DATA, 4096);
	header(0, 7, 0, 1);
	run(0, 7);
	assert_int_equal(word_at(DATA + 8), 0);		/* the first one was freed */
}

static void packet(const uint8_t *p, unsigned slot, bool dma, uint32_t len)
{
	uint8_t cdb[16] = { 0 }, feature = dma;

	command(slot, 0xa0, 0, 0);
	put(TABLE + 0x1000 * slot + 3, &feature, 1);
	memcpy(cdb, p, 12);
	put(TABLE + 0x1000 * slot + 0x40, cdb, 16);
	prd(slot, 0, DATA, len ? len : 2);
	header(1, slot, 0x20, len != 0);
	run(1, slot);
}

/* Sense key of the last command; the port is running again. */
static unsigned sense(void)
{
	static const uint8_t req[12] = { 3, 0, 0, 0, 18 };

	if (rd(PORT(1) + PX_TFD) & 1) {
		wr(PORT(1) + PX_CMD, 0x10);
		start_port(1);
	}
	packet(req, 9, false, 18);
	return word_at(DATA) >> 16 & 15;
}

static void test_cd(void **st)
{
	uint8_t inquiry[12] = { 0x12, 0, 0, 0, 36 }, rd10[12] = { 0x28, 0, 0, 0, 0, 9, 0, 0, 20 };
	uint8_t bad[12] = { 0x28, 0, 0xff };

	packet(inquiry, 0, false, 36);
	assert_int_equal(word_at(DATA) & 0xff, 5);
	assert_int_equal(rd(PORT(1) + PX_IS) & 3, 3);	/* PIO setup, then D2H */
	packet(rd10, 1, true, 20 * 2048);
	dg_check_at(g.vm, DATA, 36, 80);
	assert_int_equal(word_at(CLB + 0x1000 + 32 + 4), 20 * 2048);
	packet(rd10, 2, false, 20 * 2048);		/* by PIO: many windows */
	dg_check_at(g.vm, DATA, 36, 80);
	bad[8] = 1;
	packet(bad, 3, true, 2048);
	assert_int_equal(rd(PORT(1) + PX_TFD) >> 12 & 15, 5);
	assert_int_equal(sense(), 5);
}

/* MMC-3 6.6, 6.42: lock, eject, another medium. */
static void test_medium(void **st)
{
	uint8_t lock[12] = { 0x1e, 0, 0, 0, 1 }, eject[12] = { 0x1b, 0, 0, 0, 2 };
	uint8_t load[12] = { 0x1b, 0, 0, 0, 3 }, ready[12] = { 0 };
	uint8_t event[12] = { 0x4a, 1, 0, 0, 0x10, 0, 0, 0, 8 };
	struct block *other = dg_image(g.vm, 40, BLOCK_RDONLY);
	uint8_t cap[12] = { 0x25 };

	packet(lock, 0, false, 0);
	packet(eject, 0, false, 0);
	assert_int_equal(sense(), 5);
	lock[4] = 0;
	packet(lock, 0, false, 0);
	packet(eject, 0, false, 0);
	packet(ready, 0, false, 0);
	assert_int_equal(sense(), 2);
	packet(event, 0, false, 8);
	assert_int_equal(word_at(DATA + 4) & 0xffff, 0x0103);	/* removal; tray open */
	packet(load, 0, false, 0);
	packet(ready, 0, false, 0);
	assert_int_equal(sense(), 6);
	packet(ready, 0, false, 0);
	assert_int_equal(rd(PORT(1) + PX_TFD) & 1, 0);
	vm_lock(g.vm);
	ahci_set_medium(g.d, 1, other);
	vm_unlock(g.vm);
	packet(event, 0, false, 8);
	assert_int_equal(word_at(DATA + 4) & 0xffff, 0x0202);	/* new medium, present */
	packet(cap, 0, false, 8);
	assert_int_equal(sense(), 6);
	packet(cap, 0, false, 8);
	assert_int_equal(__builtin_bswap32(word_at(DATA)), 9);
	vm_lock(g.vm);
	ahci_set_medium(g.d, 1, NULL);
	vm_unlock(g.vm);
	packet(cap, 0, false, 8);
	assert_int_equal(sense(), 2);
	dg_close(g.vm, other);
}

/* 10.4: software reset by two control FISes, COMRESET, command list override. */
static void test_resets(void **st)
{
	uint8_t f[64] = { 0x27, 0 };

	f[15] = 4;
	put(TABLE, f, sizeof(f));
	header(0, 0, 0x500, 0);
	run(0, 0);
	f[15] = 0;
	put(TABLE + 0x1000, f, sizeof(f));
	header(0, 1, 0, 0);
	run(0, 1);
	assert_int_equal(rd(PORT(0) + PX_TFD), 0x150);
	wr(PORT(0) + PX_CMD, 0x10);
	wr(PORT(0) + PX_SCTL, 1);
	assert_int_equal(rd(PORT(0) + PX_SSTS), 0);
	assert_int_equal(rd(PORT(0) + PX_TFD), 0x7f);
	wr(PORT(0) + PX_SCTL, 0);
	assert_int_equal(rd(PORT(0) + PX_SSTS), 0x133);
	assert_int_equal(rd(PORT(0) + PX_IS) & 0x40, 0x40);	/* mirrors PxSERR.X */
	wr(PORT(0) + PX_SERR, 1u << 26);
	assert_int_equal(rd(PORT(0) + PX_IS) & 0x40, 0);
}

static int fail_io(struct hostfile *f, enum hf_op op, uint64_t off, uint64_t len)
{
	return op == HF_READ ? EIO : 0;
}

static void test_host_error(void **st)
{
	command(0, 0x25, 9, 1);
	prd(0, 0, DATA, 512);
	header(0, 0, 0, 1);
	hostfile_fault = fail_io;
	run(0, 0);
	assert_int_equal(rd(PORT(0) + PX_TFD) & 0xff01, 0x4001);
}

/* A stop in the middle: the late completions change nothing. */
static void test_abandon(void **st)
{
	for (unsigned s = 0; s < 8; s++) {
		command(s, 0x60, s, 1);
		prd(s, 0, DATA + 512 * s, 512);
		header(0, s, 0, 1);
	}
	wr(PORT(0) + PX_SACT, 0xff);
	wr(PORT(0) + PX_CI, 0xff);
	wr(PORT(0) + PX_CMD, 0x10);
	assert_int_equal(rd(PORT(0) + PX_SACT) | rd(PORT(0) + PX_CI), 0);
	wr(PORT(0) + PX_IS, 0xffffffff);
	loop_poll(g.vm->loop, 0);
	assert_int_equal(rd(PORT(0) + PX_IS), 0);
	start_port(0);
	command(0, 0x60, 3, 1);
	wr(PORT(0) + PX_SACT, 1);
	run(0, 0);
	dg_check_at(g.vm, DATA, 3, 1);
}

/* Random registers, lists, tables and frames: nothing may crash or hang. */
static void test_hostile(void **st)
{
	uint64_t seed = 20260101;

	for (unsigned round = 0; round < 400; round++) {
		for (unsigned s = 0; s < 32; s++) {
			uint64_t raw[12];

			for (unsigned i = 0; i < ARRAY_SIZE(raw); i++)
				raw[i] = dg_random(&seed);
			put(TABLE + 0x1000 * s, raw, sizeof(raw));
			if (raw[0] & 1)		/* mostly frames that mean something */
				command(s, raw[1], raw[2] % (2 * SECTORS), raw[3] % 300);
			for (unsigned i = 0; i < 4; i++)
				prd(s, i, raw[4 + i] & 2 ? raw[4 + i] : raw[4 + i] % MiB(5),
				    1 + raw[8] % 70000);
			header(round & 1, s, raw[9] & 0xffe0, raw[10] % 6);
		}
		for (unsigned i = 0; i < 30; i++) {
			uint64_t r = dg_random(&seed), reg = r % 0x40 * 4;

			if (reg != 0 && reg != 8 && reg != 4 && reg != 0xc)
				wr((r & 1 ? PORT(round & 1) : HBA) + reg % 0x80, r >> 32);
			if (r % 7 == 0)
				loop_poll(g.vm->loop, 0);
		}
		wr(PORT(round & 1) + PX_SCTL, 0);
		start_port(round & 1);
		wr(PORT(round & 1) + PX_SACT, dg_random(&seed));
		wr(PORT(round & 1) + PX_CI, dg_random(&seed));
		loop_poll(g.vm->loop, 0);
	}
	vm_lock(g.vm);
	g.d->ops->pre_save(g.d);
	vm_unlock(g.vm);
}

static void poke(struct vm *v, struct device *d)
{
	struct vm *old = g.vm;
	struct device *old_d = g.d;

	g.vm = v;
	g.d = d;
	dg_enable(&g);
	wr(HBA + GHC, 2);
	start_port(0);
	command(0, 0xec, 0, 0);
	prd(0, 0, DATA, 512);
	header(0, 0, 0, 1);
	wr(PORT(0) + PX_CI, 1);
	wr(PORT(1) + PX_SCTL, 1);
	g.vm = old;
	g.d = old_d;
}

static void test_generic(void **st)
{
	tvm_check_roundtrip(&ahci_ops, wire, poke);
	tvm_check_reset(&ahci_ops, wire, poke);
}

#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(test_registers), T(test_identify), T(test_resize), T(test_msi), T(test_dma),
		T(test_ncq), T(test_ncq_error),
		T(test_errors), T(test_cd), T(test_medium), T(test_resets), T(test_host_error),
		T(test_abandon), T(test_hostile), T(test_generic),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
