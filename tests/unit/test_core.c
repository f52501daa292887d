/* SPDX-License-Identifier: MIT */
/* Core: bus dispatch, guest memory bounds, clock order, state streams, posted work. */
#include "../lib/testvm.h"
#include <pthread.h>
#include <stdatomic.h>
#include "../../src/fifo.h"
#include "../../src/loop.h"

struct echo {
	struct device dev;
	uint32_t reg;
	uint8_t bytes[3];
	bool flag;
	struct vtimer timer;
	struct fifo fifo;
	unsigned fired, last_size;
	struct io_region pio, mmio;
};

static uint64_t echo_read(struct device *d, uint64_t off, unsigned size)
{
	((struct echo *)d)->last_size = size;
	return 0x44332211u >> off * 8;
}

static void echo_write(struct device *d, uint64_t off, unsigned size, uint64_t val)
{
	struct echo *x = (struct echo *)d;

	x->last_size = size;
	x->reg = (uint32_t)(val << off * 8);
}

static const struct io_ops echo_io = { echo_read, echo_write, 1, 2 };
static const struct io_ops echo_io4 = { echo_read, echo_write, 4, 4 };

static void echo_fire(void *opaque)
{
	((struct echo *)opaque)->fired++;
}

static bool echo_realize(struct device *d, struct err *e)
{
	struct echo *x = (struct echo *)d;

	fifo_init(&x->fifo, 16);
	vtimer_init(&x->timer, dev_clock(d), echo_fire, x);
	x->pio = (struct io_region){ .kind = BUS_PIO, .base = 0x100, .len = 4, .ops = &echo_io,
				     .name = "echo" };
	x->mmio = (struct io_region){ .kind = BUS_MMIO, .base = 0x10000000, .len = 4,
				      .ops = &echo_io4, .name = "echo" };
	return dev_add_region(d, &x->pio, e) && dev_add_region(d, &x->mmio, e);
}

static void echo_reset(struct device *d)
{
	struct echo *x = (struct echo *)d;

	x->reg = 0;
	memset(x->bytes, 0, sizeof(x->bytes));
	x->flag = false;
	vtimer_cancel(&x->timer);
	fifo_init(&x->fifo, 16);
}

static const struct state_field echo_state[] = {
	STATE_U32(struct echo, reg), STATE_U8S(struct echo, bytes), STATE_BOOL(struct echo, flag),
	STATE_TIMER(struct echo, timer), FIFO_STATE(struct echo, fifo), STATE_END
};

static bool echo_post_load(struct device *d, struct err *e)
{
	return fifo_valid(&((struct echo *)d)->fifo) || err_set(e, HV_EXIT_IMAGE, "bad fifo");
}

static const struct device_ops echo_ops = {
	.name = "echo", .size = sizeof(struct echo), .realize = echo_realize, .reset = echo_reset,
	.state = echo_state, .state_version = 1, .post_load = echo_post_load,
};

static void echo_poke(struct vm *vm, struct device *d)
{
	struct echo *x = (struct echo *)d;

	tvm_outw(vm, 0x100, 0xbeef);
	x->bytes[1] = 7;
	x->flag = true;
	vtimer_arm(&x->timer, 12345);
	fifo_push(&x->fifo, 9);
}

static void test_bus(void **st)
{
	struct vm *vm = tvm_new(0);
	struct echo *x = (struct echo *)tvm_add(vm, &echo_ops, "e", NULL);
	struct io_region clash = { .kind = BUS_PIO, .base = 0x102, .len = 4, .ops = &echo_io,
				   .name = "clash" };
	struct err e;

	assert_int_equal(tvm_inb(vm, 0x101), 0x22);
	assert_int_equal(tvm_inl(vm, 0x100), 0x44332211);	/* split into two words */
	assert_int_equal(x->last_size, 2);
	assert_int_equal(tvm_inl(vm, 0x102), 0xffff4433);	/* runs into a hole */
	assert_int_equal(tvm_inw(vm, 0x3f0), 0xffff);
	assert_int_equal(bus_read(vm->bus, BUS_MMIO, 0x10000001, 1), 0x22);	/* widened */
	assert_int_equal(x->last_size, 4);
	tvm_outb(vm, 0xffff, 1);
	assert_true(bus_read(vm->bus, BUS_MMIO, UINT64_MAX, 8) == UINT64_MAX);
	assert_false(bus_add(vm->bus, &clash, &e));
	assert_true(bus_move(vm->bus, &clash, 0x104, true));
	assert_false(bus_move(vm->bus, &clash, 0xfffe, true));	/* leaves the port space */
	assert_false(clash.enabled);
	tvm_free(vm);
}

static void test_mem(void **st)
{
	struct vm *vm = tvm_new(MiB(1));
	struct guest_mem *gm = vm->mem;
	struct gm_block *rom = gm_block_new(gm, "rom", 8192, NULL);
	struct gm_slot *s = gm_slot_add(gm, GPA(MiB(1)), 8192, rom, 0, GM_READONLY, NULL);
	uint64_t bits[1];
	uint32_t v;
	uint8_t buf[16] = { 1, 2, 3, 4, 5, 6, 7, 8 };

	assert_non_null(s);
	assert_null(gm_slot_add(gm, GPA(MiB(1) - 4096), 8192, rom, 0, 0, NULL));
	assert_true(gm_write(gm, GPA(MiB(1) - 16), buf, 16));
	assert_false(gm_write(gm, GPA(MiB(1) - 8), buf, 16));	/* RAM then ROM: nothing written */
	assert_true(gm_read_le32(gm, GPA(MiB(1) - 16), &v));
	assert_int_equal(v, 0x04030201);
	assert_true(gm_read_le32(gm, GPA(MiB(1) - 2), &v));	/* crosses slots */
	assert_false(gm_read(gm, GPA(UINT64_MAX - 3), buf, 16));
	assert_false(gm_read(gm, GPA(MiB(1) + 8192), buf, 1));
	assert_false(gm_slot_set(gm, s, GPA(4096), rom, 0, 0));
	assert_true(gm_slot_set(gm, s, GPA(MiB(4)), rom, 0, GM_DIRTY_LOG));
	assert_true(gm_write(gm, GPA(MiB(4) + 4096), buf, 1));
	assert_true(gm_dirty_harvest(gm, s, bits));
	assert_int_equal(bits[0], 2);
	assert_false(gm_dirty_harvest(gm, s, bits));
	assert_false(gm_block_write(rom, 8192, buf, 1));
	tvm_free(vm);
}

static unsigned order[8], norder;

static void fire(void *opaque)
{
	order[norder++] = (unsigned)(uintptr_t)opaque;
}

static void test_clock(void **st)
{
	struct vclock *c = vclock_new(true);
	struct vtimer t[4];

	for (unsigned i = 0; i < 4; i++) {
		vtimer_init(&t[i], c, fire, (void *)(uintptr_t)i);
		vtimer_arm(&t[i], 100 - i * 10);
	}
	vtimer_cancel(&t[1]);
	assert_int_equal(vclock_next(c), 70);
	vtimer_arm(&t[3], 95);
	vclock_advance(c, 99);
	assert_int_equal(norder, 2);
	assert_int_equal(order[0], 2);
	assert_int_equal(order[1], 3);
	vclock_advance(c, 1);
	assert_int_equal(order[2], 0);
	assert_true(vclock_next(c) == UINT64_MAX);
	vclock_free(c);
}

/* A pause while others look: nobody sees the time of before it twice, or go back. */
struct clock_reader {
	struct vclock *c;
	_Atomic bool stop;
	uint64_t reads, back;
};

static void *read_clock(void *arg)
{
	struct clock_reader *r = arg;
	uint64_t last = 0;

	while (!atomic_load(&r->stop)) {
		uint64_t now = vclock_now(r->c);

		r->back += now < last;
		last = now;
		r->reads++;
	}
	return NULL;
}

static void test_clock_pause(void **state)
{
	struct clock_reader r = { .c = vclock_new(false) };
	pthread_t thread;

	vclock_resume(r.c);
	assert_int_equal(pthread_create(&thread, NULL, read_clock, &r), 0);
	for (unsigned i = 0; i < 200000; i++) {
		vclock_pause(r.c);
		vclock_resume(r.c);
	}
	atomic_store(&r.stop, true);
	pthread_join(thread, NULL);
	assert_true(r.back == 0);
	vclock_pause(r.c);
	assert_true(vclock_now(r.c) == vclock_now(r.c));
	vclock_free(r.c);
}

static void test_state(void **st)
{
	struct vm *vm = tvm_new(0);
	struct device *d = tvm_add(vm, &echo_ops, "e", NULL);
	struct state_buf b = { 0 };
	struct err e;
	unsigned refused = 0;

	echo_poke(vm, d);
	state_save_device(&b, d);
	for (size_t cut = 0; cut < b.len; cut++) {	/* every truncation is refused */
		size_t pos = 0;

		assert_false(state_load_device(d, b.data, cut, &pos, &e));
	}
	for (size_t i = 0; i < b.len; i++) {	/* so is every flipped bit */
		size_t pos = 0;

		b.data[i] ^= 0x10;
		refused += !state_load_device(d, b.data, b.len, &pos, &e);
		b.data[i] ^= 0x10;
	}
	assert_int_equal(refused, b.len);
	state_buf_free(&b);
	tvm_free(vm);
	tvm_check_roundtrip(&echo_ops, NULL, echo_poke);
	tvm_check_reset(&echo_ops, NULL, echo_poke);
}

static void count(void *opaque)
{
	++*(unsigned *)opaque;
}

static void test_loop(void **st)
{
	struct vm *vm = tvm_new(0);
	unsigned ran = 0;
	struct loop_work w = { .fn = count, .opaque = &ran };

	loop_post(vm->loop, &w);
	loop_post(vm->loop, &w);	/* queued once */
	loop_poll(vm->loop, 0);
	assert_int_equal(ran, 1);
	loop_post(vm->loop, &w);
	loop_poll(vm->loop, 0);
	assert_int_equal(ran, 2);
	tvm_free(vm);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_bus),   cmocka_unit_test(test_mem),
		cmocka_unit_test(test_clock), cmocka_unit_test(test_clock_pause),
		cmocka_unit_test(test_state),
		cmocka_unit_test(test_loop),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
