/* SPDX-License-Identifier: MIT */
/* virtio-snd through a driver; sections of VIRTIO 1.2. */
#include "../lib/sndguest.h"
#include "../lib/vguest.h"

#define REQ 0x80000u
#define ANS 0x80100u
#define HDR 0x80800u
#define STS 0x81000u		/* of transfer i: + 16 i */
#define BUF 0x90000u
#define OK 0x8000u
#define BAD 0x8001u
#define UNSUPPORTED 0x8002u
#define IO_ERR 0x8003u
#define PERIOD 1920u		/* 480 frames, 10 ms */

static struct vm *vm;
static struct vguest g;
static struct vgq q[4];

static void place(struct device *d)
{
	vg_give_bus(d);
	snd_ear(d->vm);
}

static int setup(void **st)
{
	vm = tvm_new(MiB(4));
	vg_init(&g, vm, tvm_add(vm, &virtio_sound_ops, "dut", place));
	vg_start(&g, 0, q, 4);
	return 0;
}

static int teardown(void **st)
{
	snd_done(vm);
	vg_buses_free();
	return 0;
}

/* A control request of @n words; the status. */
static uint32_t request(const uint32_t *words, unsigned n, uint32_t answer)
{
	struct vgbuf b[2] = { { REQ, n * 4 }, { ANS, 4 + answer } };
	uint16_t head;
	uint32_t len, status;

	vg_put(&g, REQ, words, n * 4);
	vg_add(&q[0], b, 1, 1);
	vg_kick(&q[0]);
	assert_true(vg_used(&q[0], &head, &len));
	vg_get(&g, ANS, &status, 4);
	assert_int_equal(len, 4 + (status == OK ? answer : 0));
	return status;
}

#define DO(answer, ...) \
	request((uint32_t[]){ __VA_ARGS__ }, sizeof((uint32_t[]){ __VA_ARGS__ }) / 4, answer)

static uint8_t answer8(unsigned at)
{
	uint8_t v;

	vg_get(&g, ANS + 4 + at, &v, 1);
	return v;
}

/* S16, 48 kHz: format 5, rate 7 (5.14.6.6.3). */
static uint32_t params(unsigned id, unsigned channels, unsigned format, unsigned rate)
{
	return DO(0, 0x101, id, 4 * PERIOD, PERIOD, 0, channels | format << 8 | rate << 16);
}

/* Buffer @i of PERIOD bytes to queue @queue, as stream @id. */
static void xfer(unsigned queue, unsigned id, unsigned i, uint32_t len)
{
	struct vgbuf out[3] = { { HDR + 16 * i, 4 }, { BUF + i * PERIOD, len },
				{ STS + 16 * i, 8 } };

	vg_put(&g, HDR + 16 * i, &id, 4);
	vg_add(&q[queue], out, queue == 2 ? 2 : 1, queue == 2 ? 1 : 2);
	vg_kick(&q[queue]);
}

static uint32_t status_of(unsigned i)
{
	uint32_t v;

	vg_get(&g, STS + 16 * i, &v, 4);
	return v;
}

/* 5.14.4, 5.14.6.4.1, 5.14.6.6.2, 5.14.6.9.1 */
static void test_info(void **st)
{
	assert_int_equal(vg_cfg_rd(&g, 0, 4), 0x10591af4);
	assert_int_equal(vg_rd(&g, VG_CONFIG, 4), 2);
	assert_int_equal(vg_rd(&g, VG_CONFIG + 4, 4), 2);
	assert_int_equal(vg_rd(&g, VG_CONFIG + 8, 4), 2);
	assert_int_equal(DO(64, 0x100, 0, 2, 32), OK);
	assert_true(answer8(24) == 0 && answer8(25) == 1 && answer8(26) == 2);
	assert_true(answer8(32 + 24) == 1);
	assert_int_equal(answer8(8), 0x30);		/* U8, S16 */
	assert_int_equal(DO(24, 1, 1, 1, 24), OK);
	assert_int_equal(answer8(16), 1);
	assert_int_equal(DO(48, 0x200, 0, 2, 24), OK);
	assert_true(answer8(5) == 2 && answer8(6) == 3 && answer8(7) == 4 && answer8(24 + 4) == 1);
	assert_int_equal(DO(96, 0x100, 0, 3, 32), BAD);	/* there are two */
	assert_int_equal(DO(96, 0x100, ~0u, 2, 32), BAD);
	assert_int_equal(DO(64, 0x100, 0, 2, 8), BAD);	/* items too small */
	assert_int_equal(DO(32, 0x100, 0, 2, 32), BAD);	/* answer too small */
	assert_int_equal(DO(64, 0x100, 0, 2, 0x80000000), BAD);
	assert_int_equal(DO(0, 2, 0, 1, 2), UNSUPPORTED);
	assert_int_equal(DO(0, 0x4711), UNSUPPORTED);
}

/* 5.14.6.6.1: what may follow what. */
static void test_states(void **st)
{
	assert_int_equal(DO(0, 0x102, 0), BAD);
	assert_int_equal(params(2, 2, 5, 7), BAD);
	assert_int_equal(params(0, 3, 5, 7), UNSUPPORTED);
	assert_int_equal(params(0, 0, 5, 7), UNSUPPORTED);
	assert_int_equal(params(0, 2, 19, 7), UNSUPPORTED);
	assert_int_equal(params(0, 2, 5, 13), UNSUPPORTED);
	assert_int_equal(params(0, 2, 5, 255), UNSUPPORTED);
	assert_int_equal(DO(0, 0x101, 0, 100, 33, 0, 0x070502), BAD);
	assert_int_equal(DO(0, 0x101, 0, 0, 0, 0, 0x070502), BAD);
	assert_int_equal(DO(0, 0x101, 0), BAD);
	assert_int_equal(params(0, 2, 5, 7), OK);
	assert_int_equal(DO(0, 0x104, 0), BAD);
	assert_int_equal(DO(0, 0x102, 0), OK);
	assert_int_equal(DO(0, 0x105, 0), BAD);
	assert_int_equal(DO(0, 0x104, 0), OK);
	assert_int_equal(DO(0, 0x104, 0), BAD);
	assert_int_equal(params(0, 2, 5, 7), BAD);
	assert_int_equal(DO(0, 0x103, 0), BAD);
	assert_int_equal(DO(0, 0x105, 0), OK);
	assert_int_equal(DO(0, 0x104, 0), OK);
	assert_int_equal(DO(0, 0x105, 0), OK);
	assert_int_equal(DO(0, 0x103, 0), OK);
	assert_int_equal(DO(0, 0x102, 0), OK);
}

static void prepare(unsigned id)
{
	assert_int_equal(params(id, 2, 5, 7), OK);
	assert_int_equal(DO(0, 0x102, id), OK);
}

/* Buffers wait for the start, come back when they are played, and all at release. */
static void test_play(void **st)
{
	uint16_t head;
	uint32_t len;

	snd_ramp(vm, BUF, 0, 480 * 6);
	prepare(0);
	for (unsigned i = 0; i < 6; i++)
		xfer(2, 0, i, PERIOD);
	tvm_advance(vm, 100 * NS_PER_MS);
	assert_false(vg_used(&q[2], &head, &len));
	assert_int_equal(DO(0, 0x104, 0), OK);
	tvm_advance(vm, 25 * NS_PER_MS);
	for (unsigned i = 0; i < 2; i++) {
		assert_true(vg_used(&q[2], &head, &len));
		assert_int_equal(len, 8);
		assert_int_equal(status_of(i), OK);
	}
	assert_false(vg_used(&q[2], &head, &len));
	tvm_advance(vm, 10 * NS_PER_MS);
	assert_true(vg_used(&q[2], &head, &len));
	assert_in_range(ear.n, 1440, 1700);
	for (unsigned i = 0; i < ear.n; i++)
		assert_int_equal(ear.frames[i], snd_ramp_frame(i));
	assert_int_equal(DO(0, 0x105, 0), OK);
	assert_false(vg_used(&q[2], &head, &len));
	assert_int_equal(DO(0, 0x103, 0), OK);
	for (unsigned i = 3; i < 6; i++)
		assert_true(vg_used(&q[2], &head, &len));
	assert_false(vg_used(&q[2], &head, &len));
	xfer(2, 0, 6, PERIOD);		/* released: nobody will play it */
	assert_true(vg_used(&q[2], &head, &len));
	assert_int_equal(status_of(6), IO_ERR);
}

static void test_record(void **st)
{
	uint16_t head;
	uint32_t len;
	uint32_t f;

	prepare(1);
	xfer(3, 1, 0, PERIOD);
	xfer(3, 1, 1, PERIOD);
	assert_int_equal(DO(0, 0x104, 1), OK);
	tvm_advance(vm, 15 * NS_PER_MS);
	assert_true(vg_used(&q[3], &head, &len));
	assert_int_equal(len, PERIOD + 8);
	assert_int_equal(status_of(0), OK);
	vg_get(&g, BUF + 4 * 320, &f, 4);
	assert_true(f && audio_left(f) == audio_right(f));
	assert_false(vg_used(&q[3], &head, &len));
	tvm_advance(vm, 50 * NS_PER_MS);	/* an overrun breaks nothing */
	assert_true(vg_used(&q[3], &head, &len));
}

/* Wrong stream, no header, no room for a status, no RAM: each comes back, the next one plays. */
static void test_hostile(void **st)
{
	uint16_t head;
	uint32_t len;

	snd_ramp(vm, BUF, 1, 480 * 8);
	prepare(0);
	assert_int_equal(DO(0, 0x104, 0), OK);
	xfer(2, 1, 0, PERIOD);
	vg_add(&q[2], &(struct vgbuf){ BUF, 2 }, 1, 0);
	vg_add(&q[2], &(struct vgbuf){ STS, 3 }, 0, 1);
	xfer(2, 0, 1, 0 + 1);
	vg_add(&q[2], (struct vgbuf[]){ { HDR + 16, 4 }, { 0xfffffff0, 4000 },
							{ STS + 64, 8 } }, 2, 1);
	xfer(2, 0, 2, PERIOD);
	tvm_advance(vm, 100 * NS_PER_MS);
	for (unsigned i = 0; i < 6; i++)
		assert_true(vg_used(&q[2], &head, &len));
	assert_false(vg_used(&q[2], &head, &len));
	assert_int_equal(status_of(0), BAD);
	assert_int_equal(status_of(2), OK);
	/* control requests without room for an answer, or without bytes */
	vg_add(&q[0], &(struct vgbuf){ REQ, 16 }, 1, 0);
	vg_add(&q[0], &(struct vgbuf){ ANS, 4 }, 0, 1);
	vg_kick(&q[0]);
	assert_true(vg_used(&q[0], &head, &len) && len == 0);
	assert_true(vg_used(&q[0], &head, &len) && len == 4);
}

static void poke(struct vm *v, struct device *d)
{
	vm = v;
	vg_init(&g, v, d);
	vg_start(&g, 0, q, 4);
	snd_ramp(vm, BUF, 0, 480 * 6);
	prepare(0);
	prepare(1);
	for (unsigned i = 0; i < 6; i++)
		xfer(2, 0, i, PERIOD);
	assert_int_equal(DO(0, 0x104, 0), OK);
	tvm_advance(vm, 25 * NS_PER_MS);
}

static void test_generic(void **st)
{
	tvm_check_roundtrip(&virtio_sound_ops, place, poke);
	tvm_check_reset(&virtio_sound_ops, place, poke);
	snd_done(NULL);
	vg_buses_free();
}

/* Saved in the middle of a buffer: it goes on there. */
static void test_save(void **st)
{
	struct state_buf b = { 0 };

	vm = tvm_new(MiB(4));
	poke(vm, tvm_add(vm, &virtio_sound_ops, "dut", place));
	state_save_device(&b, &g.v->pci.dev);
	assert_int_equal(ear.n, 960);
	tvm_advance(vm, 30 * NS_PER_MS);
	for (unsigned i = 0; i < ear.n; i++)
		assert_int_equal(ear.frames[i], snd_ramp_frame(i));
	assert_in_range(ear.n, 2400, 2700);
	state_buf_free(&b);
	snd_done(vm);
	vg_buses_free();
}

#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(test_info), T(test_states), T(test_play), T(test_record), T(test_hostile),
		cmocka_unit_test(test_generic), cmocka_unit_test(test_save),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
