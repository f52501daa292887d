/* SPDX-License-Identifier: MIT */
/* Packed virtqueues without a device: VIRTIO 1.2, 2.8. */
#include "../lib/testvm.h"
#include "../../devices/virtio/virtq.h"
#include "../lib/diskguest.h"

#define RING 0x1000u
#define DRIVER 0x2000u
#define DEVICE 0x2100u
#define TABLE 0x3000u
#define DATA 0x10000u
#define SIZE 8u
enum { NEXT = 1, WRITE = 2, INDIRECT = 4, AVAIL = 0x80, USED = 0x8000 };

static struct vm *vm;
static struct virtq q;
static struct virtq_elem e;
static const char *failed;

static void on_fail(struct virtq *vq, const char *why)
{
	failed = why;
}

static int setup(void **st)
{
	vm = tvm_new(MiB(1));
	failed = NULL;
	virtq_init(&q, vm->mem, SIZE, on_fail, NULL);
	q.desc = RING, q.avail = DRIVER, q.used = DEVICE;
	q.packed = true;
	assert_true(virtq_layout_ok(&q));
	q.ready = true;
	return 0;
}

static int teardown(void **st)
{
	tvm_free(vm);
	return 0;
}

static void put(uint64_t at, uint64_t addr, uint32_t len, uint16_t id, uint16_t flags)
{
	uint8_t raw[16];

	st_le64(raw, addr);
	st_le32(raw + 8, len);
	st_le16(raw + 12, id);
	st_le16(raw + 14, flags);
	assert_true(gm_write(vm->mem, GPA(at), raw, sizeof(raw)));
}

static void desc(unsigned pos, uint32_t len, uint16_t id, uint16_t flags, bool wrap)
{
	put(RING + 16 * pos, DATA + 0x100 * pos, len, id, flags | (wrap ? AVAIL : USED));
}

static uint16_t flags_at(unsigned pos)
{
	uint16_t f;

	assert_true(gm_read_le16(vm->mem, GPA(RING + 16 * pos + 14), &f));
	return f;
}

static void event(uint16_t off, uint16_t flags)
{
	assert_true(gm_write_le16(vm->mem, GPA(DRIVER), off));
	assert_true(gm_write_le16(vm->mem, GPA(DRIVER + 2), flags));
}

/* 2.8.1, 2.8.5: chains, IDs of the last descriptor, used entries skip the chain's length. */
static void test_chain(void **st)
{
	uint32_t v;

	assert_false(virtq_pop(&q, &e));
	desc(0, 10, 99, NEXT, true);
	desc(1, 20, 98, NEXT | WRITE, true);
	desc(2, 30, 5, WRITE, true);
	desc(3, 7, 2, 0, true);
	assert_true(virtq_pop(&q, &e));
	assert_int_equal(e.head, 5);
	assert_true(e.nout == 1 && e.nin == 2 && e.out_len == 10 && e.in_len == 50);
	assert_true(virtq_pop(&q, &e));
	assert_int_equal(e.head, 2);
	assert_false(virtq_pop(&q, &e));
	/* Out of order; nothing shows before the flush, then all of it. */
	virtq_push(&q, 2, 0);
	virtq_push(&q, 5, 44);
	assert_int_equal(flags_at(0) & (AVAIL | USED), AVAIL);
	assert_true(virtq_flush(&q));
	assert_int_equal(flags_at(0), AVAIL | USED);
	assert_int_equal(flags_at(1), AVAIL | USED | WRITE);
	assert_true(gm_read_le32(vm->mem, GPA(RING + 16 + 8), &v));
	assert_int_equal(v, 44);
	assert_int_equal(q.used_idx, 4);
	assert_null(failed);
}

/* 2.8.1: both wrap counters turn. */
static void test_wrap(void **st)
{
	bool wrap = true;
	unsigned pos = 0;

	for (unsigned i = 0; i < 100; i++) {
		for (unsigned k = 0; k < 3; k++) {
			desc(pos, 1, i % SIZE, k < 2 ? NEXT : 0, wrap);
			pos = (pos + 1) % SIZE;
			wrap ^= pos == 0;
		}
		assert_true(virtq_pop(&q, &e));
		assert_int_equal(e.nout, 3);
		assert_int_equal(e.head, i % SIZE);
		if (i % 7 == 3) {	/* given back and taken again */
			virtq_unpop(&q, 1);
			assert_true(virtq_pop(&q, &e));
			assert_int_equal(e.head, i % SIZE);
		}
		assert_false(virtq_pop(&q, &e));
		virtq_push(&q, i % SIZE, 0);
		assert_true(virtq_flush(&q));
		assert_int_equal(q.used_idx, pos);
		assert_true(q.used_wrap == wrap && q.avail_wrap == wrap);
	}
	assert_null(failed);
}

/* 2.8.7 */
static void test_indirect(void **st)
{
	put(TABLE, DATA, 16, 0, 0);
	put(TABLE + 16, DATA + 64, 32, 0, WRITE);
	put(RING, TABLE, 32, 3, INDIRECT | AVAIL);
	assert_true(virtq_pop(&q, &e));
	assert_true(e.head == 3 && e.nout == 1 && e.nin == 1 && e.in_len == 32);
	put(RING + 16, TABLE, 33, 4, INDIRECT | AVAIL);
	assert_false(virtq_pop(&q, &e));
	assert_non_null(failed);
}

/* 2.8.10: event suppression both ways. */
static void test_events(void **st)
{
	uint32_t v;

	q.event_idx = true;
	event(0, 1);		/* disabled */
	desc(0, 1, 0, 0, true);
	assert_true(virtq_pop(&q, &e));
	virtq_push(&q, 0, 0);
	assert_false(virtq_flush(&q));
	event(2 | 0x8000, 2);	/* when descriptor 2 of this lap is used */
	for (unsigned i = 1; i < 4; i++) {
		desc(i, 1, i, 0, true);
		assert_true(virtq_pop(&q, &e));
		virtq_push(&q, i, 0);
		assert_int_equal(virtq_flush(&q), i == 2);
	}
	assert_false(virtq_pop(&q, &e));
	assert_true(gm_read_le32(vm->mem, GPA(DEVICE), &v));
	assert_int_equal(v, 0x20000 | 0x8000 | 4);	/* tell us of the next one */
	event(1, 2);		/* descriptor 1 of the next lap */
	for (unsigned i = 4; i < 10; i++) {
		desc(i % SIZE, 1, i % SIZE, 0, i < SIZE);
		assert_true(virtq_pop(&q, &e));
		virtq_push(&q, i % SIZE, 0);
		assert_int_equal(virtq_flush(&q), i == 9);
	}
	event(0, 0);
	desc(2, 1, 2, 0, false);
	assert_true(virtq_pop(&q, &e));
	virtq_push(&q, 2, 0);
	assert_true(virtq_flush(&q));
}

/* IDs in use, out of range, endless chains, rings outside of memory. */
static void test_refused(void **st)
{
	desc(0, 1, SIZE, 0, true);
	assert_false(virtq_pop(&q, &e));
	assert_non_null(failed);
	teardown(NULL);
	setup(NULL);
	desc(0, 1, 1, 0, true);
	desc(1, 1, 1, 0, true);
	assert_true(virtq_pop(&q, &e));
	assert_false(virtq_pop(&q, &e));
	assert_non_null(failed);
	teardown(NULL);
	setup(NULL);
	for (unsigned i = 0; i < SIZE; i++)
		desc(i, 1, 0, NEXT, true);
	assert_false(virtq_pop(&q, &e));
	assert_non_null(failed);
	teardown(NULL);
	setup(NULL);
	q.desc = 0xfff00000;
	assert_false(virtq_pop(&q, &e));
	assert_non_null(failed);
	q.desc = RING + 8;
	assert_false(virtq_layout_ok(&q));
}

/* Random rings: every request that comes out can be completed. */
static void test_hostile(void **st)
{
	uint64_t seed = 99;

	for (unsigned round = 0; round < 20000; round++) {
		uint16_t heads[SIZE];
		unsigned n = 0;
		uint64_t r = dg_random(&seed);

		q.event_idx = r & 1;
		event(r >> 8, r >> 24 & 3);
		for (unsigned i = 0; i < SIZE; i++) {
			uint64_t d = dg_random(&seed);

			put(RING + 16 * i, d & 1 ? d >> 20 : TABLE,
			    d & 2 ? d >> 8 & 0xff0 : d >> 40, d >> 5 & (d & 4 ? 7 : 0xffff),
			    d >> 30 & (d & 8 ? 0xffff : 0x8083));
			put(TABLE + 16 * (d >> 60), d, d >> 44, 0, d >> 24 & 7);
		}
		while (n < SIZE && virtq_pop(&q, &e)) {
			assert_true(e.nout + e.nin <= VIRTQ_MAX_SEGS);
			heads[n++] = e.head;
		}
		while (n)
			virtq_push(&q, heads[--n], 1);
		virtq_flush(&q);
		if (q.broken) {
			virtq_reset(&q);
			q.desc = RING, q.avail = DRIVER, q.used = DEVICE;
			q.packed = q.ready = true;
		}
	}
}

#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(test_chain), T(test_wrap), T(test_indirect), T(test_events), T(test_refused),
		T(test_hostile),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
