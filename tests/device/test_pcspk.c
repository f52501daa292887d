/* SPDX-License-Identifier: MIT */
/* The PC speaker: 8254 channel 2 and port 0x61 to what is heard. */
#include "../lib/sndguest.h"
#include "../../devices/i8254.h"
#include "../../devices/pcspk.h"

static struct vm *vm;
static void wire(struct device *d)
{
	snd_ear(d->vm);
	pcspk_wire(d, tvm_add(d->vm, &i8254_ops, "pit", NULL));
}

static int setup(void **st)
{
	vm = tvm_new(0);
	tvm_add(vm, &pcspk_ops, "speaker", wire);
	return 0;
}

static int teardown(void **st)
{
	snd_done(vm);
	return 0;
}

static void tone(unsigned divisor)
{
	tvm_outb(vm, 0x43, 0xb6);	/* channel 2, word, mode 3 */
	tvm_outb(vm, 0x42, (uint8_t)divisor);
	tvm_outb(vm, 0x42, (uint8_t)(divisor >> 8));
}

static unsigned rises(size_t from, size_t to)
{
	unsigned n = 0;

	for (size_t i = from + 1; i < to; i++)
		n += audio_left(ear.frames[i - 1]) < 0 && audio_left(ear.frames[i]) >= 0;
	return n;
}

/* 1193182 Hz / 1193 = 1000 Hz, a square wave, while port 0x61 lets it through. */
static void test_beep(void **st)
{
	unsigned high = 0;
	size_t n;

	tone(1193);
	tvm_advance(vm, NS_PER_SEC);
	assert_int_equal(ear.n, 0);	/* silent, and nothing runs */
	assert_true(vclock_next(vm->clock) > vclock_now(vm->clock) + NS_PER_SEC);
	tvm_outb(vm, 0x61, 3);
	tvm_advance(vm, NS_PER_SEC);
	assert_in_range(ear.n, 47500, 48000);
	assert_in_range(rises(0, ear.n), 985, 1000);
	for (size_t i = 24000; i < 24480; i++)	/* most samples are no edge */
		high += audio_left(ear.frames[i]) > 3000;
	assert_in_range(high, 215, 245);
	tvm_outb(vm, 0x61, 0);
	tvm_advance(vm, 500 * NS_PER_MS);
	n = ear.n;
	assert_in_range(n, 48000, 48000 + 48 * 250);	/* off soon after */
	assert_in_range(rises(50000, n), 0, 1);	/* comes to rest */
	assert_in_range(audio_left(ear.frames[n - 1]) + 5, 0, 10);
	tvm_advance(vm, NS_PER_SEC);
	assert_int_equal(ear.n, n);
}

/* Another pitch in the middle; a line that stands still costs nothing after a while. */
static void test_change(void **st)
{
	size_t n;

	tone(2711);			/* 440 Hz */
	tvm_outb(vm, 0x61, 3);
	tvm_advance(vm, 500 * NS_PER_MS);
	n = ear.n;
	assert_in_range(rises(0, n), 212, 221);
	tone(596);			/* 2000 Hz */
	tvm_advance(vm, 500 * NS_PER_MS);
	assert_in_range(rises(n, ear.n), 980, 1003);
	tvm_outb(vm, 0x61, 2);		/* gate off: OUT stays high */
	tvm_advance(vm, NS_PER_SEC);
	n = ear.n;
	tvm_advance(vm, NS_PER_SEC);
	assert_int_equal(ear.n, n);
}

/* The line moved by hand, as programs do that play samples. */
static void test_by_hand(void **st)
{
	tone(1);
	tvm_outb(vm, 0x43, 0xb0);	/* mode 0, count reached at once: OUT high */
	tvm_outb(vm, 0x42, 1);
	tvm_outb(vm, 0x42, 0);
	for (unsigned i = 0; i < 500; i++) {
		tvm_outb(vm, 0x61, i & 1 ? 1 : 3);
		tvm_advance(vm, NS_PER_MS);
	}
	assert_in_range(rises(0, ear.n), 245, 251);
}

static void poke(struct vm *v, struct device *d)
{
	vm = v;
	tone(1193);
	tvm_outb(vm, 0x61, 3);
	tvm_advance(vm, 37 * NS_PER_MS);
}

/* The high pass holds no more than it can come to: its sums do not overflow. */
static void test_hostile(void **st)
{
	struct device *d = device_find(vm, "pcspk", "speaker");
	struct state_buf b = { 0 }, after = { 0 };
	struct err e = { 0 };
	size_t pos = 0, head;

	poke(vm, d);
	state_save_device(&b, d);
	head = 4 + 2 + 5 + 2 + 7 + 1 + 4 + 4;
	st_le32(b.data + b.len - 4, INT32_MAX);		/* the last output */
	st_le32(b.data + head - 4, crc32c(0, b.data + head, b.len - head));
	vm_lock(vm);
	assert_true(state_load_device(d, b.data, b.len, &pos, &e));
	state_save_device(&after, d);
	vm_unlock(vm);
	assert_int_equal(ld_le32(after.data + after.len - 4), 256 * INT16_MAX);
	tvm_advance(vm, 10 * NS_PER_MS);
	state_buf_free(&b);
	state_buf_free(&after);
}

static void test_generic(void **st)
{
	tvm_check_roundtrip(&pcspk_ops, wire, poke);
	tvm_check_reset(&pcspk_ops, wire, poke);
	snd_done(NULL);
}

#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(test_beep), T(test_change), T(test_by_hand), T(test_hostile),
		cmocka_unit_test(test_generic),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
