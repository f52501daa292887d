/* SPDX-License-Identifier: MIT */
/*
 * IDE through its ports: the ATAPI CD drive.  Sections: MMC-3 where no other is
 * named, ATA/ATAPI-6 (T13/1410D).
 */
#include "../lib/ideguest.h"

static void packet(const uint8_t *p, uint16_t limit, bool use_dma)
{
	tvm_outb(ig.vm, 0x176, 0xa0);
	tvm_outb(ig.vm, 0x171, use_dma);
	tvm_outb(ig.vm, 0x174, limit);
	tvm_outb(ig.vm, 0x175, limit >> 8);
	tvm_outb(ig.vm, 0x177, 0xa0);
	assert_int_equal(tvm_inb(ig.vm, 0x172) & 3, 1);
	for (unsigned i = 0; i < 12; i += 2)
		tvm_outw(ig.vm, 0x170, ld_le16(p + i));
}

/* Take a whole reply; returns its length. */
static unsigned take(uint8_t *buf, unsigned max)
{
	unsigned n = 0;

	while (ig_settle(0x170) & 0x08) {
		unsigned len = tvm_inb(ig.vm, 0x174) | tvm_inb(ig.vm, 0x175) << 8;

		assert_int_equal(tvm_inb(ig.vm, 0x172) & 3, 2);
		tvm_inb(ig.vm, 0x177);
		for (unsigned i = 0; i < len; i += 2) {
			uint16_t w = tvm_inw(ig.vm, 0x170);

			if (n + 2 <= max)
				st_le16(buf + n, w);
			n += 2;
		}
	}
	assert_int_equal(tvm_inb(ig.vm, 0x172) & 3, 3);
	return n;
}

static void test_cd_basics(void **st)
{
	uint8_t buf[512];
	uint8_t inquiry[12] = { 0x12, 0, 0, 0, 36 }, cap[12] = { 0x25 }, ready[12] = { 0 };
	uint8_t toc[12] = { 0x43, 0, 0, 0, 0, 0, 0, 1, 0 }, bad[12] = { 0xff };
	uint8_t sense[12] = { 0x03, 0, 0, 0, 18 }, mode[12] = { 0x5a, 0, 0x2a, 0, 0, 0, 0, 0, 40 };

	packet(ready, 0xfffe, false);
	assert_int_equal(ig_settle(0x170), 0x40);
	packet(inquiry, 0xfffe, false);
	assert_int_equal(take(buf, sizeof(buf)), 36);
	assert_int_equal(buf[0], 5);
	packet(cap, 0xfffe, false);
	assert_int_equal(take(buf, sizeof(buf)), 8);
	assert_int_equal(ld_be32(buf), IG_CD_BLOCKS - 1);
	assert_int_equal(ld_be32(buf + 4), 2048);
	packet(toc, 0xfffe, false);
	assert_int_equal(take(buf, sizeof(buf)), 20);
	assert_int_equal(ld_be32(buf + 16), IG_CD_BLOCKS);
	packet(mode, 0xfffe, false);
	assert_int_equal(take(buf, sizeof(buf)), 28);
	packet(bad, 0xfffe, false);
	assert_int_equal(ig_settle(0x170), 0x41);
	assert_int_equal(tvm_inb(ig.vm, 0x171) >> 4, 5);
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
	assert_int_equal(ld_be32(buf + 8), IG_CD_BLOCKS);
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
	assert_int_equal(ig_settle(0x170) & 1, 1);
	toc[2] = 0, toc[6] = 2;			/* there is no second track */
	packet(toc, 0xfffe, false);
	assert_int_equal(ig_settle(0x170) & 1, 1);
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
	assert_int_equal(ld_be32(buf + 24), IG_CD_BLOCKS);
	track[5] = 2;
	packet(track, 0xfffe, false);
	assert_int_equal(ig_settle(0x170) & 1, 1);
	packet(msf, 0xfffe, false);			/* blocks 5 and 6 */
	assert_int_equal(take(buf, sizeof(buf)), 4096);
	dg_check(buf, 20);
	msf[4] = 1;
	packet(msf, 0xfffe, false);
	assert_int_equal(ig_settle(0x170) & 1, 1);
	packet(play, 0xfffe, false);
	assert_int_equal(ig_settle(0x170) & 1, 1);
	assert_int_equal(tvm_inb(ig.vm, 0x171) >> 4, 5);
}

static void test_cd_read(void **st)
{
	static uint8_t buf[40 * 2048];
	uint8_t rd[12] = { 0x28, 0, 0, 0, 0, 10, 0, 0, 40 };

	packet(rd, 1000, false);		/* blocks of 1000 bytes */
	assert_int_equal(take(buf, sizeof(buf)) >= 40 * 2048, 1);
	dg_check(buf, 40);
	dg_check(buf + 39 * 2048 + 1536, 49 * 4 + 3);
	rd[0] = 0xa8, rd[8] = 0, rd[9] = 40;	/* READ(12) by DMA */
	ig_prd(0, IG_DATA, 0, false);
	ig_prd(1, IG_DATA + 0x10000, 0, true);
	tvm_outl(ig.vm, IG_BM + 12, IG_PRDT);
	tvm_outb(ig.vm, IG_BM + 8, 9);
	packet(rd, 0, true);
	assert_int_equal(ig_settle(0x170), 0x40);
	assert_int_equal(tvm_inb(ig.vm, IG_BM + 10) & 7, 4);
	assert_true(gm_read(ig.vm->mem, GPA(IG_DATA + 39 * 2048), buf, 2048));
	dg_check(buf, 49 * 4);
	rd[2] = 0xff;
	packet(rd, 0, false);
	assert_int_equal(ig_settle(0x170) & 1, 1);
	assert_int_equal(tvm_inb(ig.vm, 0x171) >> 4, 5);
}

/* Empty, and no disk on the other channel: refused, never waited for. */
static void test_no_medium(void **st)
{
	struct vm *mine = ig.vm;
	uint8_t ready[12] = { 0 }, rd[12] = { 0x28, 0, 0, 0, 0, 0, 0, 0, 1 };

	ig.vm = tvm_new(MiB(1));
	tvm_add(ig.vm, &piix3_ide_ops, "ide", ig_wire_empty);
	ig_enable();
	assert_int_equal(tvm_inb(ig.vm, 0x1f7), 0);	/* no drive on the channel */
	tvm_outb(ig.vm, 0x1f2, 0x55);
	assert_int_equal(tvm_inb(ig.vm, 0x1f2), 0);
	tvm_outb(ig.vm, 0x1f7, 0x20);
	packet(ready, 0, false);
	assert_int_equal(ig_settle(0x170) & 1, 1);
	assert_int_equal(tvm_inb(ig.vm, 0x171) >> 4, 2);
	packet(rd, 0, false);
	assert_int_equal(ig_settle(0x170) & 1, 1);
	tvm_outb(ig.vm, 0x171, 0x82);	/* SET FEATURES: a CD drive has no write cache */
	tvm_outb(ig.vm, 0x177, 0xef);
	assert_int_equal(ig_settle(0x170) & 1, 1);
	tvm_free(ig.vm);
	ig.vm = mine;
}

#define T(f) cmocka_unit_test_setup_teardown(f, ig_setup, ig_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(test_cd_basics), T(test_cd_toc), T(test_cd_info), T(test_cd_read),
		T(test_no_medium),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
