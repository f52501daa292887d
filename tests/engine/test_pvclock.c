/* SPDX-License-Identifier: MIT */
/* The paravirtual clock: what a guest computes from memory is the machine's time. */
#include "softvm.h"
#include <time.h>

#define TIME 0x5000u
#define WALL 0x5100u

/* As Linux' pvclock_clocksource_read(). */
static uint64_t guest_ns(struct svm *t, struct soft *s)
{
	uint8_t b[32];
	uint64_t delta;

	assert_true(gm_read(t->vm->mem, GPA(TIME), b, sizeof(b)));
	assert_int_equal(ld_le32(b) & 1, 0);
	assert_int_equal(b[29] & 1, 1);		/* one time for all CPUs */
	delta = soft_rdtsc(s) - ld_le64(b + 8);
	delta = (int8_t)b[28] < 0 ? delta >> -(int8_t)b[28] : delta << b[28];
	return ld_le64(b + 16) + (uint64_t)((unsigned __int128)delta * ld_le32(b + 24) >> 32);
}

static void test_time(void **st)
{
	struct svm t = { 0 };
	struct soft *s;
	uint64_t v;

	svm_init(&t);
	s = t.v->impl;
	tvm_advance(t.vm, 123456789);
	assert_true(soft_wrmsr(s, 0x4b564d01, TIME | 1));
	assert_true(soft_rdmsr(s, 0x4b564d01, &v));
	assert_int_equal(v, TIME | 1);
	assert_int_equal(guest_ns(&t, s), vclock_now(t.vm->clock));
	tvm_advance(t.vm, 987654321987);
	assert_int_equal(guest_ns(&t, s), vclock_now(t.vm->clock));
	assert_true(soft_wrmsr(s, 0x10, 42));	/* the TSC jumps, time does not */
	assert_int_equal(guest_ns(&t, s), vclock_now(t.vm->clock));
	assert_true(soft_wrmsr(s, 0x3b, 1ull << 40));
	tvm_advance(t.vm, 1);
	assert_int_equal(guest_ns(&t, s), vclock_now(t.vm->clock));
	assert_true(soft_wrmsr(s, 0x4b564d01, TIME + 0x800));	/* off: memory is left alone */
	assert_true(gm_read_le64(t.vm->mem, GPA(TIME + 0x800), &v));
	assert_int_equal(v, 0);
	assert_true(soft_wrmsr(s, 0x4b564d01, ~0ull));		/* nowhere */
	svm_free(&t);
}

static void test_wall(void **st)
{
	struct svm t = { 0 };
	struct timespec now;
	uint8_t b[12];
	int64_t off;

	svm_init(&t);
	tvm_advance(t.vm, 5 * NS_PER_SEC);
	assert_true(soft_wrmsr(t.v->impl, 0x4b564d00, WALL));
	clock_gettime(CLOCK_REALTIME, &now);
	assert_true(gm_read(t.vm->mem, GPA(WALL), b, sizeof(b)));
	off = (int64_t)now.tv_sec - ld_le32(b + 4);
	assert_in_range(off, 5, 6 + 5);
	svm_free(&t);
}

static void test_cpuid(void **st)
{
	struct svm t = { 0 };
	uint32_t out[4];

	svm_init(&t);
	soft_cpuid(t.v->impl, 0x40000100, 0, out);
	assert_memory_equal(&out[1], "KVMK", 4);
	assert_true(out[0] >= 0x40000101);
	soft_cpuid(t.v->impl, 0x40000101, 0, out);
	assert_int_equal(out[0] & (1u << 3 | 1u << 24), 1u << 3 | 1u << 24);
	soft_cpuid(t.v->impl, 0x40000000, 0, out);
	assert_memory_equal(&out[1], "hvru", 4);
	svm_free(&t);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_time), cmocka_unit_test(test_wall),
		cmocka_unit_test(test_cpuid),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
