/* SPDX-License-Identifier: MIT */
/* AC'97 of the 82801AA through the bus; sections of the AC '97 2.3 and ICH documents. */
#include "../lib/sndguest.h"
#include "../../devices/ac97.h"

#define NAM 0xc000u
#define NABM 0xc400u
#define BDL 0x10000u
#define BUF 0x20000u
#define PI 0x00u
#define PO 0x10u
#define MC 0x20u

static struct vm *vm;

static void bring_up(void)
{
	snd_cfg_wr(vm, 0x10, NAM);
	snd_cfg_wr(vm, 0x14, NABM);
	snd_cfg_wr(vm, 0x04, 5);
	tvm_outl(vm, NABM + 0x2c, 2);	/* out of cold reset */
	tvm_outw(vm, NAM + 0x02, 0);
	tvm_outw(vm, NAM + 0x18, 0x0808);
	tvm_outw(vm, NAM + 0x1c, 0);
}

static int setup(void **st)
{
	vm = tvm_new(MiB(2));
	tvm_add(vm, &ac97_ops, "sound0", snd_place);
	bring_up();
	return 0;
}

static int teardown(void **st)
{
	snd_done(vm);
	return 0;
}

static void test_identity(void **st)
{
	assert_int_equal(snd_cfg_rd(vm, 0), 0x24158086);
	assert_int_equal(snd_cfg_rd(vm, 8) >> 16, 0x0401);
	assert_int_equal(snd_cfg_rd(vm, 0x10) & 1, 1);
	assert_int_equal(tvm_inl(vm, NABM + 0x30), 0x100);	/* primary codec ready */
	tvm_outl(vm, NABM + 0x2c, 0);				/* cold reset */
	assert_int_equal(tvm_inl(vm, NABM + 0x30), 0);
	tvm_outl(vm, NABM + 0x2c, 6);				/* warm reset clears itself */
	assert_int_equal(tvm_inl(vm, NABM + 0x2c), 2);
	assert_int_equal(tvm_inb(vm, NABM + 0x34), 0);		/* access semaphore is free */
	assert_int_equal(tvm_inw(vm, NABM + PO + 6), 1);	/* halted */
}

/* 5.7: reset values, what a 5-bit volume keeps, the reset register; 5.8: rates. */
static void test_mixer(void **st)
{
	tvm_outw(vm, NAM, 0);
	assert_int_equal(tvm_inw(vm, NAM + 0x02), 0x8000);
	assert_int_equal(tvm_inw(vm, NAM + 0x18), 0x8808);
	assert_int_equal(tvm_inw(vm, NAM + 0x1c), 0x8000);
	tvm_outw(vm, NAM + 0x02, 0xffff);
	assert_int_equal(tvm_inw(vm, NAM + 0x02), 0x9f1f);
	assert_int_equal(tvm_inw(vm, NAM + 0x26), 0x000f);
	assert_int_equal(tvm_inl(vm, NAM + 0x7c), 0x76008384);
	tvm_outw(vm, NAM + 0x28, 0xffff);
	assert_int_equal(tvm_inw(vm, NAM + 0x28), 1);
	tvm_outw(vm, NAM + 0x2c, 44100);	/* without VRA it stays (5.8.2) */
	assert_int_equal(tvm_inw(vm, NAM + 0x2c), 48000);
	tvm_outw(vm, NAM + 0x2a, 1);
	tvm_outw(vm, NAM + 0x2c, 44100);
	assert_int_equal(tvm_inw(vm, NAM + 0x2c), 44100);
	tvm_outw(vm, NAM + 0x2c, 0xffff);
	assert_int_equal(tvm_inw(vm, NAM + 0x2c), 48000);
	tvm_outw(vm, NAM + 0x2c, 0);
	assert_int_equal(tvm_inw(vm, NAM + 0x2c), 4000);
	tvm_outw(vm, NAM + 0x2a, 0);
	assert_int_equal(tvm_inw(vm, NAM + 0x2c), 48000);
}

static void bd(unsigned i, uint32_t at, uint16_t samples, uint16_t flags)
{
	assert_true(gm_write_le32(vm->mem, GPA(BDL + 8 * i), at));
	assert_true(gm_write_le32(vm->mem, GPA(BDL + 8 * i + 4), samples | (uint32_t)flags << 16));
}

/* Buffers of 480 frames (10 ms), an interrupt after each. */
static void start(unsigned box, uint8_t lvi)
{
	for (unsigned i = 0; i < 32; i++)
		bd(i, BUF + 1920 * i, 960, 0x8000);
	tvm_outl(vm, NABM + box, BDL);
	tvm_outb(vm, NABM + box + 5, lvi);
	tvm_outb(vm, NABM + box + 0xb, 0x15);
}

static void test_play(void **st)
{
	snd_ramp(vm, BUF, 0, 480 * 32);
	start(PO, 2);
	assert_int_equal(tvm_inb(vm, NABM + PO + 0xa), 1);	/* prefetched index */
	assert_int_equal(tvm_inw(vm, NABM + PO + 6), 0);
	tvm_advance(vm, 5 * NS_PER_MS);
	assert_int_equal(tvm_inw(vm, NABM + PO + 8), 480);	/* PICB: samples left */
	assert_int_equal(ear.n, 240);
	assert_int_equal(ear.irq.level, 0);
	tvm_advance(vm, 6 * NS_PER_MS);
	assert_int_equal(tvm_inb(vm, NABM + PO + 4), 1);
	assert_int_equal(tvm_inw(vm, NABM + PO + 6), 8);	/* BCIS */
	assert_int_equal(tvm_inl(vm, NABM + 0x30), 0x140);
	assert_true(ear.irq.level != 0);
	tvm_outw(vm, NABM + PO + 6, 0x1c);
	assert_int_equal(ear.irq.level, 0);
	tvm_advance(vm, 30 * NS_PER_MS);			/* past the last valid one */
	assert_int_equal(tvm_inw(vm, NABM + PO + 6), 0xf);	/* DCH CELV LVBCI BCIS */
	assert_int_equal(ear.frames[1439], snd_ramp_frame(1439));
	assert_int_equal(tvm_inb(vm, NABM + PO + 4), 2);
	tvm_advance(vm, NS_PER_SEC);
	assert_int_equal(tvm_inb(vm, NABM + PO + 4), 2);
	tvm_outb(vm, NABM + PO + 5, 31);			/* more: goes on with the next */
	tvm_advance(vm, 5 * NS_PER_MS);
	assert_int_equal(tvm_inb(vm, NABM + PO + 4), 3);
	assert_int_equal(tvm_inw(vm, NABM + PO + 6) & 3, 0);
	tvm_outb(vm, NABM + PO + 0xb, 0);			/* pause, then go on */
	assert_int_equal(tvm_inw(vm, NABM + PO + 6) & 1, 1);
	assert_int_equal(tvm_inw(vm, NABM + PO + 8), 480);
	tvm_advance(vm, NS_PER_SEC);
	tvm_outb(vm, NABM + PO + 0xb, 1);
	tvm_advance(vm, 2 * NS_PER_MS);
	assert_int_equal(tvm_inw(vm, NABM + PO + 8), 480 - 192);
	tvm_outb(vm, NABM + PO + 0xb, 0);
	tvm_outb(vm, NABM + PO + 0xb, 2);			/* reset of the box */
	assert_int_equal(tvm_inl(vm, NABM + PO), 0);
	assert_int_equal(tvm_inb(vm, NABM + PO + 4), 0);
	assert_int_equal(tvm_inb(vm, NABM + PO + 0xb), 0);
	assert_int_equal(tvm_inw(vm, NABM + PO + 6), 1);
}

/* Master and PCM volume add up in steps of 1.5 dB; mute; 44.1 kHz. */
static void test_volume(void **st)
{
	for (unsigned i = 0; i < 2400; i++)
		assert_true(gm_write_le32(vm->mem, GPA(BUF + 4 * i), audio_frame(10000, 10000)));
	tvm_outw(vm, NAM + 0x2a, 1);
	tvm_outw(vm, NAM + 0x2c, 44100);
	tvm_outw(vm, NAM + 0x02, 0x0200);
	tvm_outw(vm, NAM + 0x18, 0x0a08);
	start(PO, 31);
	tvm_advance(vm, 5 * NS_PER_MS);
	tvm_inw(vm, NABM + PO + 8);
	assert_int_equal(ear.rate, 44100);
	assert_int_equal(ear.n, 220);
	assert_in_range(audio_left(ear.frames[100]), 5010, 5013);	/* -6 dB */
	assert_int_equal(audio_right(ear.frames[100]), 10000);
	tvm_outw(vm, NAM + 0x02, 0x8000);
	tvm_advance(vm, 2 * NS_PER_MS);
	tvm_inw(vm, NABM + PO + 8);
	assert_int_equal(ear.frames[ear.n - 1], 0);
}

static void test_record(void **st)
{
	uint32_t a;
	uint16_t m;

	start(PI, 31);
	tvm_advance(vm, 15 * NS_PER_MS);
	assert_int_equal(tvm_inb(vm, NABM + PI + 4), 1);
	assert_int_equal(tvm_inl(vm, NABM + 0x30), 0x120);
	assert_true(gm_read_le32(vm->mem, GPA(BUF + 4 * 320), &a));
	assert_true(audio_left(a) == audio_right(a) && a);
	start(MC, 31);			/* mono: a buffer is twice as long */
	tvm_advance(vm, 15 * NS_PER_MS);
	assert_int_equal(tvm_inl(vm, NABM + 0x30), 0x120);
	tvm_advance(vm, 10 * NS_PER_MS);
	assert_int_equal(tvm_inl(vm, NABM + 0x30), 0x1a0);
	assert_true(gm_read_le16(vm->mem, GPA(BUF + 2 * 1000), &m));
	assert_int_not_equal(m, 0);
}

/* Empty buffers, a list or buffers outside RAM, random accesses: no hang, no crash. */
static void test_hostile(void **st)
{
	uint64_t r = 1;

	start(PO, 31);
	for (unsigned i = 0; i < 32; i++)
		bd(i, 0xfffffff0, i & 1 ? 0xffff : 0, 0xc000);
	tvm_advance(vm, 100 * NS_PER_MS);
	for (unsigned i = 0; i < 32; i++)
		bd(i, 0, 0, 0x8000);
	tvm_advance(vm, 3 * NS_PER_SEC);
	tvm_outl(vm, NABM + PO, 0xfffffff8);
	tvm_outb(vm, NABM + PO + 5, 7);
	tvm_advance(vm, 100 * NS_PER_MS);
	for (unsigned i = 0; i < 20000; i++) {
		r = r * 6364136223846793005ull + 1442695040888963407ull;
		bus_write(vm->bus, BUS_PIO, (r & 1 ? NAM : NABM) + (r >> 33) % 0x40,
			  1u << (r >> 20) % 3, (uint32_t)(r >> 28));
		tvm_inl(vm, NABM + ((r >> 43) % 0x40 & ~3u));
		if (i % 16 == 0)
			tvm_advance(vm, (r >> 40) % NS_PER_MS);
		if (i % 64 == 0)
			tvm_outl(vm, NABM + 0x2c, 2);
	}
}

static void poke(struct vm *v, struct device *d)
{
	vm = v;
	bring_up();
	tvm_outw(vm, NAM + 0x2a, 1);
	tvm_outw(vm, NAM + 0x32, 8000);
	snd_ramp(vm, BUF, 0, 2400);
	start(PO, 31);
	start(PI, 3);
	tvm_advance(vm, 27 * NS_PER_MS);
}

static void test_generic(void **st)
{
	tvm_check_roundtrip(&ac97_ops, snd_place, poke);
	tvm_check_reset(&ac97_ops, snd_place, poke);
	snd_done(NULL);
}

#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(test_identity), T(test_mixer), T(test_play), T(test_volume), T(test_record),
		T(test_hostile), cmocka_unit_test(test_generic),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
