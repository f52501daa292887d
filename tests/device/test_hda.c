/* SPDX-License-Identifier: MIT */
/* HD Audio through the bus; sections of the HDA specification 1.0a. */
#include "../lib/sndguest.h"
#include "../../devices/hda.h"

#define BAR 0xe0000000u
#define CORB 0x10000u
#define RIRB 0x11000u
#define BDL 0x12000u
#define POS 0x13000u
#define BUF 0x20000u
#define SD_OUT 0x100u		/* stream 4, the first output */
#define SD_IN 0x80u

static struct vm *vm;
static struct device *hda;

static uint32_t rd(unsigned off, unsigned size)
{
	return (uint32_t)bus_read(vm->bus, BUS_MMIO, BAR + off, size);
}

static void wr(unsigned off, unsigned size, uint32_t v)
{
	bus_write(vm->bus, BUS_MMIO, BAR + off, size, v);
}

static void bring_up(void)
{
	snd_cfg_wr(vm, 0x10, BAR);
	snd_cfg_wr(vm, 0x04, 6);
	wr(0x08, 4, 1);
}

static int setup(void **st)
{
	vm = tvm_new(MiB(2));
	hda = tvm_add(vm, &hda_ops, "sound0", snd_place);
	bring_up();
	return 0;
}

static int teardown(void **st)
{
	snd_done(vm);
	return 0;
}

/* 3.4.3: a command by the immediate registers. */
static uint32_t verb(uint32_t cmd)
{
	wr(0x60, 4, cmd);
	wr(0x68, 2, 3);
	assert_int_equal(rd(0x68, 2), 2);
	return rd(0x64, 4);
}

static uint32_t param(unsigned node, unsigned p)
{
	return verb(node << 20 | 0xf0000 | p);
}

/* 3.3.2-3.3.9 */
static void test_identity(void **st)
{
	assert_int_equal(snd_cfg_rd(vm, 0), 0x26688086);
	assert_int_equal(snd_cfg_rd(vm, 8) >> 16, 0x0403);
	assert_int_equal(rd(0, 2), 0x4401);	/* 4 out, 4 in, 64-bit */
	assert_int_equal(rd(2, 2), 0x0100);
	assert_int_equal(rd(0x0e, 2), 1);	/* the codec at address 0 woke up */
	wr(0x0e, 2, 1);				/* write 1 to clear */
	assert_int_equal(rd(0x0e, 2), 0);
	assert_int_equal(rd(0x4e, 1), 0x42);
	wr(0x20, 4, ~0u);
	assert_int_equal(rd(0x20, 4), 0xc00000ff);
	wr(0x08, 4, 0);				/* reset: nothing but GCTL takes writes (3.3.7) */
	wr(0x20, 4, ~0u);
	assert_int_equal(rd(0x20, 4), 0);
	assert_int_equal(rd(0x08, 4), 0);
	wr(0x08, 4, 1);
	tvm_advance(vm, NS_PER_MS);
	assert_int_equal(rd(0x30, 4), 24000);	/* 24 MHz (3.3.16) */
	assert_int_equal(rd(0x2030, 4), 24000);
	assert_int_equal(rd(0x1000, 4), 0);
	assert_int_equal(rd(0x3ffc, 4), 0);
}

/* Chapter 7: the tree of nodes as a driver walks it. */
static void test_codec(void **st)
{
	assert_int_equal(param(0, 4), 0x10001);		/* one function, node 1 */
	assert_int_equal(param(1, 5), 1);		/* audio */
	assert_int_equal(param(1, 4), 0x20004);
	assert_int_equal(param(2, 9) >> 20, 0);		/* DAC */
	assert_int_equal(param(3, 9) >> 20, 4);		/* pin */
	assert_int_equal(param(4, 9) >> 20, 1);		/* ADC */
	assert_int_equal(verb(3u << 20 | 0xf0200), 2);	/* line out <- DAC */
	assert_int_equal(verb(4u << 20 | 0xf0200), 5);	/* ADC <- line in */
	assert_int_equal(verb(3u << 20 | 0xf1c00), 0x01014010);
	assert_int_equal(param(2, 0x12), 0x80034a4a);
	assert_int_equal(verb(2u << 20 | 0xba000), 0x4a);	/* 0 dB, left */
	verb(2u << 20 | 0x3a0ff);			/* left: mute, gain beyond the top */
	assert_int_equal(verb(2u << 20 | 0xba000), 0xca);
	assert_int_equal(verb(2u << 20 | 0xb8000), 0x4a);	/* right is as it was */
	verb(2u << 20 | 0x70630);
	assert_int_equal(verb(2u << 20 | 0xf0600), 0x30);
	verb(2u << 20 | 0x24011);
	assert_int_equal(verb(2u << 20 | 0xa0000), 0x4011);
	verb(1u << 20 | 0x7ff00);			/* function reset (7.3.3.33) */
	assert_int_equal(verb(2u << 20 | 0xba000), 0x4a);
	assert_int_equal(verb(0xffu << 20 | 0xf0000), 0);	/* no such node */
	wr(0x60, 4, 0x100f0000);			/* no such codec: no answer */
	wr(0x68, 2, 3);
	assert_int_equal(rd(0x68, 2), 0);
}

/* 4.4.1, 4.4.2: commands by CORB, answers by RIRB, the interrupt after N. */
static void test_rings(void **st)
{
	uint32_t v;

	wr(0x40, 4, CORB), wr(0x50, 4, RIRB);
	wr(0x4a, 2, 0x8000);
	assert_int_equal(rd(0x4a, 2), 0x8000);
	wr(0x4a, 2, 0);
	wr(0x58, 2, 0x8000);
	assert_int_equal(rd(0x58, 2), 0);
	wr(0x5a, 2, 2);
	wr(0x5c, 1, 3), wr(0x4c, 1, 2);
	wr(0x20, 4, 0xc0000000);
	assert_int_equal(ear.irq.level, 0);
	for (unsigned i = 1; i <= 3; i++)
		assert_true(gm_write_le32(vm->mem, GPA(CORB + 4 * i), 0xf0000 | (i == 3) << 20 |
					  (i == 3 ? 5 : 0)));
	wr(0x48, 2, 3);
	assert_int_equal(rd(0x4a, 2), 3);
	assert_int_equal(rd(0x58, 2), 3);
	assert_true(gm_read_le32(vm->mem, GPA(RIRB + 8), &v));
	assert_int_equal(v, param(0, 0));
	assert_true(gm_read_le32(vm->mem, GPA(RIRB + 24), &v));
	assert_int_equal(v, 1);
	assert_int_equal(rd(0x24, 4), 0xc0000000);
	assert_true(ear.irq.level != 0);
	wr(0x5d, 1, 5);
	assert_int_equal(ear.irq.level, 0);
	/* the pointer runs round the ring, and a ring outside RAM stops with an error */
	wr(0x48, 2, 2);
	assert_int_equal(rd(0x4a, 2), 2);
	wr(0x44, 4, 0x100);
	wr(0x48, 2, 9);
	assert_int_equal(rd(0x4d, 1), 1);
	assert_int_equal(rd(0x4c, 1), 0);
}

static void bdl(unsigned i, uint64_t at, uint32_t len, bool ioc)
{
	assert_true(gm_write_le64(vm->mem, GPA(BDL + 16 * i), at));
	assert_true(gm_write_le32(vm->mem, GPA(BDL + 16 * i + 8), len));
	assert_true(gm_write_le32(vm->mem, GPA(BDL + 16 * i + 12), ioc));
}

static unsigned msis;

static void msi_seen(void *opaque, uint64_t addr, uint32_t data)
{
	assert_int_equal(addr, 0xfee01000);
	assert_int_equal(data, 0x4041);
	msis++;
}

/* PCI 2.3, 6.8: the capability at 60h; messages instead of the line, one for each new cause. */
static void test_msi(void **st)
{
	vm->msi = (struct msi_sink){ .send = msi_seen };
	msis = 0;
	assert_int_equal(snd_cfg_rd(vm, 0x40) & 1, 1);		/* HDCTL is where it was */
	assert_int_equal(snd_cfg_rd(vm, 0x34) & 0xff, 0x60);
	assert_int_equal(snd_cfg_rd(vm, 0x60) & 0xff, 5);
	snd_cfg_wr(vm, 0x64, 0xfee01000);
	snd_cfg_wr(vm, 0x68, 0);
	snd_cfg_wr(vm, 0x6c, 0x4041);
	snd_cfg_wr(vm, 0x60, 0x10000);
	wr(0x0c, 2, 1);				/* WAKEEN, and STATESTS is set */
	assert_int_equal(msis, 0);
	wr(0x20, 4, 0xc0000000);		/* the gate opens */
	assert_int_equal(msis, 1);
	assert_int_equal(ear.irq.level, 0);
	wr(0x20, 4, 0xc0000000);
	assert_int_equal(msis, 1);		/* nothing new */
	wr(0x0e, 2, 1);
	wr(0x08, 4, 0), wr(0x08, 4, 1);
	wr(0x0c, 2, 1), wr(0x20, 4, 0xc0000000);
	assert_int_equal(msis, 2);
}

/* 7.3.3.14, 7.3.3.15: a microphone of the host is a plug in the line-in jack. */
static void test_jack(void **st)
{
	uint32_t v;

	assert_int_equal(param(3, 9) & 0x80, 0x80);		/* tells unasked */
	assert_int_equal(param(5, 0x0c), 0x24);			/* in, presence */
	assert_int_equal(verb(5u << 20 | 0xf0900), 1u << 31);
	assert_int_equal(verb(3u << 20 | 0xf0900), 1u << 31);
	audio_set_mic(vm->audio, AUDIO_MIC_OFF);
	assert_int_equal(verb(5u << 20 | 0xf0900), 0);
	assert_int_equal(rd(0x58, 2), 0);			/* nobody wanted to know */
	wr(0x50, 4, RIRB), wr(0x5a, 2, 9), wr(0x5c, 1, 3);
	wr(0x20, 4, 0xc0000000);
	verb(5u << 20 | 0x70885);				/* enabled, tag 5 */
	assert_int_equal(verb(5u << 20 | 0xf0800), 0x85);
	audio_set_mic(vm->audio, AUDIO_MIC_ON);
	assert_int_equal(rd(0x58, 2), 0);			/* GCTL does not take them */
	wr(0x08, 4, 0x101);
	audio_set_mic(vm->audio, AUDIO_MIC_TONE);		/* plugged already */
	assert_int_equal(rd(0x58, 2), 0);
	audio_set_mic(vm->audio, AUDIO_MIC_OFF);
	assert_int_equal(rd(0x58, 2), 1);
	assert_true(gm_read_le32(vm->mem, GPA(RIRB + 8), &v));
	assert_int_equal(v, 5u << 26);
	assert_true(gm_read_le32(vm->mem, GPA(RIRB + 12), &v));
	assert_int_equal(v, 0x10);				/* unsolicited, codec 0 */
	assert_true(ear.irq.level != 0);
	wr(0x5d, 1, 5);
	assert_int_equal(ear.irq.level, 0);
	assert_int_equal(verb(5u << 20 | 0xf0900), 0);
}

/* Two buffers of 1200 frames (25 ms), 48 kHz, 16 bits, stereo, stream number 3. */
static void start(unsigned sd, uint32_t ctl)
{
	bdl(0, BUF, 4800, true);
	bdl(1, BUF + 4800, 4800, false);
	wr(sd + 8, 4, 9600);
	wr(sd + 0xc, 2, 1);
	wr(sd + 0x12, 2, 0x0011);
	wr(sd + 0x18, 4, BDL);
	wr(sd, 4, 0x300002 | ctl);
}

/* 4.5: playing, the interrupt at the end of a buffer, positions, wrapping. */
static void test_play(void **st)
{
	uint32_t pos;

	snd_ramp(vm, BUF, 0, 2400);
	verb(2u << 20 | 0x70630);
	wr(0x70, 4, POS | 1);
	wr(0x20, 4, 0xc0000010);
	start(SD_OUT, 4);
	tvm_advance(vm, 20 * NS_PER_MS);
	assert_int_equal(rd(SD_OUT + 4, 4), 20 * 48 * 4);
	assert_int_equal(rd(SD_OUT + 3, 1), 0x20);
	assert_int_equal(ear.n, 960);
	assert_int_equal(ear.rate, 48000);
	for (unsigned i = 0; i < 960; i++)
		assert_int_equal(ear.frames[i], snd_ramp_frame(i));
	assert_true(gm_read_le32(vm->mem, GPA(POS + 32), &pos));
	assert_int_equal(pos, 20 * 48 * 4);
	tvm_advance(vm, 6 * NS_PER_MS);		/* past the first buffer */
	assert_int_equal(rd(SD_OUT + 3, 1), 0x24);
	assert_int_equal(rd(0x24, 4), 0x80000010);
	assert_true(ear.irq.level != 0);
	wr(SD_OUT + 3, 1, 4);
	assert_int_equal(ear.irq.level, 0);
	tvm_advance(vm, 30 * NS_PER_MS);	/* 56 ms: round the ring */
	assert_int_equal(rd(SD_OUT + 4, 4), 6 * 48 * 4);
	assert_int_equal(ear.frames[2399], snd_ramp_frame(2399));
	assert_int_equal(ear.frames[2400], snd_ramp_frame(0));
	assert_int_equal(rd(SD_OUT + 3, 1), 0x20);	/* the second one did not ask */
	wr(SD_OUT, 3, 0x300000);		/* stop: goes on where it was (4.5.4) */
	tvm_advance(vm, NS_PER_SEC);
	assert_int_equal(rd(SD_OUT + 4, 4), 6 * 48 * 4);
	assert_int_equal(ear.n, 56 * 48);
	wr(SD_OUT, 3, 0x300002);
	tvm_advance(vm, NS_PER_MS);
	assert_int_equal(rd(SD_OUT + 4, 4), 7 * 48 * 4);
	assert_int_equal(ear.frames[56 * 48], snd_ramp_frame(6 * 48));
	wr(SD_OUT, 3, 1);			/* stream reset (3.3.35) */
	assert_int_equal(rd(SD_OUT, 1), 1);
	assert_int_equal(rd(SD_OUT + 4, 4), 0);
	wr(SD_OUT, 3, 0);
	assert_int_equal(rd(SD_OUT, 1), 0);
}

/* A look at the position moves what is due. */
static void later(unsigned ms)
{
	tvm_advance(vm, ms * NS_PER_MS);
	rd(SD_OUT + 4, 4);
}

/* The codec hears only the stream that its converter is set to; mute and pin are obeyed. */
static void test_route(void **st)
{
	snd_ramp(vm, BUF, 1, 2400);
	start(SD_OUT, 0);
	later(10);
	assert_int_equal(ear.n, 0);
	assert_int_equal(rd(SD_OUT + 4, 4), 10 * 48 * 4);	/* it runs all the same */
	verb(2u << 20 | 0x70630);
	verb(2u << 20 | 0x3b0ca);		/* mute both */
	later(5);
	assert_true(ear.n >= 240 && !ear.frames[ear.n - 1]);
	verb(2u << 20 | 0x3a04a);		/* left: 0 dB */
	verb(2u << 20 | 0x39044);		/* right: -6 dB */
	later(5);
	assert_int_equal(audio_left(ear.frames[ear.n - 1]), 960);
	assert_in_range(-audio_right(ear.frames[ear.n - 1]), 480, 482);
	verb(3u << 20 | 0x70700);		/* pin off */
	later(5);
	assert_int_equal(ear.frames[ear.n - 1], 0);
}

/* 3.7.1: other formats: 44.1 kHz, mono, 32 bits. */
static void test_formats(void **st)
{
	verb(2u << 20 | 0x70630);
	for (unsigned i = 0; i < 2400; i++)
		assert_true(gm_write_le32(vm->mem, GPA(BUF + 4 * i), (uint32_t)i << 16 | 0x1234));
	bdl(0, BUF, 4800, true);
	bdl(1, BUF + 4800, 4800, false);
	wr(SD_OUT + 8, 4, 9600);
	wr(SD_OUT + 0xc, 2, 1);
	wr(SD_OUT + 0x12, 2, 0x4040);
	wr(SD_OUT + 0x18, 4, BDL);
	wr(SD_OUT, 4, 0x300002);
	later(10);
	assert_true(ear.n == 441 && ear.rate == 44100);
	for (unsigned i = 0; i < 441; i++)
		assert_int_equal(ear.frames[i], audio_frame((int16_t)i, (int16_t)i));
	wr(SD_OUT, 3, 0x300000);
	wr(SD_OUT + 0x12, 2, 0x0071);		/* no such width: does not run */
	wr(SD_OUT, 3, 0x300002);
	later(10);
	assert_int_equal(ear.n, 441);
}

static void test_record(void **st)
{
	uint32_t a, b;

	verb(4u << 20 | 0x70630);
	start(SD_IN, 4);
	tvm_advance(vm, 30 * NS_PER_MS);
	assert_int_equal(rd(SD_IN + 3, 1), 0x24);
	assert_int_equal(rd(SD_IN + 4, 4), 30 * 48 * 4);
	assert_true(gm_read_le32(vm->mem, GPA(BUF + 4 * 27), &a));	/* top of the tone */
	assert_true(gm_read_le32(vm->mem, GPA(BUF + 4 * 1500), &b));
	assert_true(audio_left(a) != 0 && audio_left(a) == audio_right(a) && b == 0);
}

/* No RAM, no bytes, no length, no mastering: nothing breaks, the clock goes on. */
static void test_hostile(void **st)
{
	uint64_t r = 1;

	verb(2u << 20 | 0x70630);
	start(SD_OUT, 0);
	wr(SD_OUT, 3, 0x300000);
	bdl(0, 0, 0, true), bdl(1, 0, 0, true);
	wr(SD_OUT + 0x18, 4, BDL);
	wr(SD_OUT, 3, 0x300002);
	tvm_advance(vm, 20 * NS_PER_MS);
	assert_true(rd(SD_OUT + 3, 1) & 0x10);	/* descriptor error */
	bdl(0, ~0ull - 16, 0xffffffff, true);	/* runs over the end of everything */
	tvm_advance(vm, 20 * NS_PER_MS);
	wr(SD_OUT + 0x1c, 4, 0xffffffff);	/* the list itself is nowhere */
	tvm_advance(vm, 20 * NS_PER_MS);
	wr(SD_OUT + 8, 4, 0);
	tvm_advance(vm, 20 * NS_PER_MS);
	snd_cfg_wr(vm, 4, 2);
	tvm_advance(vm, 20 * NS_PER_MS);
	snd_cfg_wr(vm, 4, 6);
	for (unsigned i = 0; i < 20000; i++) {
		r = r * 6364136223846793005ull + 1442695040888963407ull;
		wr((r >> 33) % 0x184, 1u << (r >> 20) % 3, (uint32_t)(r >> 28));
		rd((r >> 43) % 0x184 & ~3u, 4);
		if (i % 16 == 0)
			tvm_advance(vm, (r >> 40) % NS_PER_MS);
		if (i % 64 == 0)
			wr(8, 4, 1);
	}
}

/* A list of crumbs is not worked through at any price: the rest is silence. */
static void test_crumbs(void **st)
{
	unsigned heard = 0;

	verb(2u << 20 | 0x70630);
	start(SD_OUT, 0);
	wr(SD_OUT, 3, 0x300000);
	for (unsigned i = 0; i < 2400; i++)
		assert_true(gm_write_le32(vm->mem, GPA(BUF + 4 * i), 0x40004000));
	for (unsigned i = 0; i < 256; i++)
		bdl(i, BUF, 2, false);
	wr(SD_OUT + 0xc, 2, 255);
	wr(SD_OUT + 0x18, 4, BDL);
	wr(SD_OUT, 3, 0x300002);
	tvm_advance(vm, 200 * NS_PER_MS);
	for (size_t i = 0; i < ear.n; i++)
		heard += ear.frames[i] != 0;
	assert_true(heard && heard < ear.n);
}

static void poke(struct vm *v, struct device *d)
{
	vm = v;
	bring_up();
	snd_ramp(vm, BUF, 0, 2400);
	verb(2u << 20 | 0x70630);
	verb(2u << 20 | 0x39044);
	wr(0x20, 4, 0xc0000010);
	start(SD_OUT, 4);
	start(SD_IN, 4);
	tvm_advance(vm, 27 * NS_PER_MS);
}

static void test_generic(void **st)
{
	tvm_check_roundtrip(&hda_ops, snd_place, poke);
	tvm_check_reset(&hda_ops, snd_place, poke);
	snd_done(NULL);
}

#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(test_identity), T(test_codec), T(test_rings), T(test_msi), T(test_jack),
		T(test_play), T(test_route),
		T(test_formats), T(test_record), T(test_hostile), T(test_crumbs),
		cmocka_unit_test(test_generic),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
