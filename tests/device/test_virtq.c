/* SPDX-License-Identifier: MIT */
/* Split virtqueues against hostile rings; sections of VIRTIO 1.2. */
#include "../../devices/virtio/virtq.h"
#include "../lib/testvm.h"
#include <stdlib.h>

#define RAM MiB(1)
#define SIZE 8u
#define DESC 0x1000u
#define AVAIL 0x2000u
#define USED 0x3000u
#define TABLE 0x4000u
#define DATA 0x8000u

enum { NEXT = 1, WRITE = 2, INDIRECT = 4 };

static struct vm *vm;
static struct virtq q;
static struct virtq_elem el;
static const char *failed;
static uint16_t avail_idx;

static void on_fail(struct virtq *vq, const char *why)
{
	failed = why;
}

static void put(uint64_t at, const void *p, size_t n)
{
	assert_true(gm_write(vm->mem, GPA(at), p, n));
}

static uint16_t get16(uint64_t at)
{
	uint16_t v;

	assert_true(gm_read_le16(vm->mem, GPA(at), &v));
	return v;
}

static void put16(uint64_t at, uint16_t v)
{
	put(at, &v, 2);
}

static void desc_at(uint64_t table, unsigned i, uint64_t at, uint32_t len, uint16_t flags,
		    uint16_t next)
{
	uint8_t raw[16];

	st_le64(raw, at);
	st_le32(raw + 8, len);
	st_le16(raw + 12, flags);
	st_le16(raw + 14, next);
	put(table + 16 * i, raw, 16);
}

static void desc(unsigned i, uint64_t at, uint32_t len, uint16_t flags, uint16_t next)
{
	desc_at(DESC, i, at, len, flags, next);
}

static void offer(uint16_t head)
{
	put16(AVAIL + 4 + 2 * (avail_idx % SIZE), head);
	put16(AVAIL + 2, ++avail_idx);
}

static int setup(void **st)
{
	vm = tvm_new(RAM);
	virtq_init(&q, vm->mem, SIZE, on_fail, NULL);
	q.desc = DESC;
	q.avail = AVAIL;
	q.used = USED;
	assert_true(virtq_layout_ok(&q));
	q.ready = true;
	failed = NULL;
	avail_idx = 0;
	return 0;
}

static int teardown(void **st)
{
	tvm_free(vm);
	return 0;
}

/* The queue must refuse and stay refused. */
static void assert_broken(void)
{
	assert_false(virtq_pop(&q, &el));
	assert_non_null(failed);
	assert_true(q.broken);
	assert_false(virtq_pop(&q, &el));
	assert_false(virtq_flush(&q));
}

static void test_pop_push(void **st)
{
	uint8_t used[8];

	assert_false(virtq_pop(&q, &el));
	desc(3, DATA, 16, NEXT, 5);
	desc(5, DATA + 0x100, 512, NEXT | WRITE, 0);
	desc(0, DATA + 0x400, 1, WRITE, 0);
	offer(3);
	assert_true(virtq_pop(&q, &el));
	assert_int_equal(el.head, 3);
	assert_int_equal(el.nout, 1);
	assert_int_equal(el.nin, 2);
	assert_int_equal(el.out_len, 16);
	assert_int_equal(el.in_len, 513);
	assert_int_equal(el.seg[2].at, DATA + 0x400);
	assert_false(virtq_pop(&q, &el));

	virtq_push(&q, 3, 513);
	assert_int_equal(get16(USED + 2), 0);	/* not before the flush */
	assert_true(virtq_flush(&q));
	assert_int_equal(get16(USED + 2), 1);
	assert_true(gm_read(vm->mem, GPA(USED + 4), used, 8));
	assert_int_equal(ld_le32(used), 3);
	assert_int_equal(ld_le32(used + 4), 513);
	assert_false(virtq_flush(&q));
	assert_null(failed);
}

static void test_index_wraps(void **st)
{
	q.last_avail = q.shadow = avail_idx = 0xfffe;
	q.used_idx = q.published = 0xfffe;
	put16(AVAIL + 2, avail_idx);
	desc(1, DATA, 4, 0, 0);
	for (unsigned i = 0; i < 5; i++) {
		offer(1);
		assert_true(virtq_pop(&q, &el));
		virtq_push(&q, el.head, 0);
		assert_true(virtq_flush(&q));
	}
	assert_int_equal(q.last_avail, 3);
	assert_int_equal(get16(USED + 2), 3);
	assert_null(failed);
}

static void test_unpop(void **st)
{
	desc(0, DATA, 4, WRITE, 0);
	desc(1, DATA, 4, WRITE, 0);
	offer(0);
	offer(1);
	assert_true(virtq_pop(&q, &el) && virtq_pop(&q, &el));
	virtq_unpop(&q, 2);
	assert_true(virtq_waiting(&q));
	assert_true(virtq_pop(&q, &el));
	assert_int_equal(el.head, 0);
	assert_int_equal(q.inflight, 1);
}

/* 2.7.7: VIRTQ_AVAIL_F_NO_INTERRUPT */
static void test_no_interrupt(void **st)
{
	desc(0, DATA, 4, 0, 0);
	offer(0);
	put16(AVAIL, 1);
	assert_true(virtq_pop(&q, &el));
	virtq_push(&q, 0, 0);
	assert_false(virtq_flush(&q));
	assert_int_equal(get16(USED + 2), 1);
}

/* 2.7.10: used_event and avail_event */
static void test_event_idx(void **st)
{
	q.event_idx = true;
	put16(AVAIL + 4 + 2 * SIZE, 1);		/* used_event: the second one */
	desc(0, DATA, 4, 0, 0);
	for (unsigned i = 0; i < 3; i++)
		offer(0);
	for (unsigned i = 0; i < 3; i++) {
		assert_true(virtq_pop(&q, &el));
		virtq_push(&q, 0, 0);
		assert_int_equal(virtq_flush(&q), i == 1);
	}
	assert_int_equal(get16(USED + 4 + 8 * SIZE), 0);
	assert_false(virtq_pop(&q, &el));	/* drained: asks for the next one */
	assert_int_equal(get16(USED + 4 + 8 * SIZE), 3);
}

/* One flush for a batch that steps over used_event interrupts once. */
static void test_event_idx_batch(void **st)
{
	q.event_idx = true;
	put16(AVAIL + 4 + 2 * SIZE, 1);
	desc(0, DATA, 4, 0, 0);
	for (unsigned i = 0; i < 4; i++) {
		offer(0);
		assert_true(virtq_pop(&q, &el));
		virtq_push(&q, 0, 0);
	}
	assert_true(virtq_flush(&q));
}

static void test_loop(void **st)
{
	desc(0, DATA, 0, NEXT, 1);
	desc(1, DATA, 0, NEXT, 0);
	offer(0);
	assert_broken();
}

static void test_loop_with_bytes(void **st)
{
	desc(0, DATA, 4, NEXT, 0);
	offer(0);
	assert_broken();
}

static void test_head_out_of_range(void **st)
{
	offer(SIZE);
	assert_broken();
}

static void test_next_out_of_range(void **st)
{
	desc(0, DATA, 4, NEXT, SIZE);
	offer(0);
	assert_broken();
}

static void test_avail_jump(void **st)
{
	put16(AVAIL + 2, SIZE + 1);
	assert_broken();
}

/* 2.7.4.2: all readable descriptors come before the writable ones. */
static void test_order(void **st)
{
	desc(0, DATA, 4, NEXT | WRITE, 1);
	desc(1, DATA, 4, 0, 0);
	offer(0);
	assert_broken();
}

static void test_wrapping_descriptor(void **st)
{
	desc(0, UINT64_MAX - 10, 100, 0, 0);
	offer(0);
	assert_broken();
}

/* 2.7.5.1: not more than 2^32 bytes in a chain */
static void test_huge_chain(void **st)
{
	desc(0, 0, UINT32_MAX, NEXT, 1);
	desc(1, 0, UINT32_MAX, 0, 0);
	offer(0);
	assert_broken();
}

static void test_huge_but_legal(void **st)
{
	struct virtq_io *io = malloc(sizeof(*io));

	desc(0, DATA, UINT32_MAX, 0, 0);	/* legal length, but not RAM */
	offer(0);
	assert_true(virtq_pop(&q, &el));
	assert_false(virtq_map(&q, &el, false, 0, el.out_len, io));
	assert_int_equal(io->n, 0);
	assert_null(failed);
	free(io);
}

static void test_rings_outside_ram(void **st)
{
	q.avail = RAM;
	assert_broken();
}

static void test_table_outside_ram(void **st)
{
	offer(0);
	q.desc = 0x7fffffff0000;
	assert_broken();
}

static void test_used_outside_ram(void **st)
{
	desc(0, DATA, 4, 0, 0);
	offer(0);
	q.used = RAM - 4;
	assert_true(virtq_pop(&q, &el));
	virtq_push(&q, 0, 0);
	assert_true(q.broken);
	assert_false(virtq_flush(&q));
}

/* The same head offered again and again without waiting: bounded by the size. */
static void test_too_many_in_flight(void **st)
{
	desc(0, DATA, 4, 0, 0);
	for (unsigned i = 0; i < SIZE; i++) {
		offer(0);
		assert_true(virtq_pop(&q, &el));
	}
	offer(0);
	assert_broken();
}

/* 2.7.5.3.2: chained descriptors, then one indirect; its WRITE flag is ignored. */
static void test_indirect(void **st)
{
	desc(0, DATA, 16, NEXT, 1);
	desc(1, TABLE, 3 * 16, INDIRECT | WRITE, 0);
	desc_at(TABLE, 0, DATA + 0x100, 8, NEXT, 2);
	desc_at(TABLE, 2, DATA + 0x200, 32, WRITE, 0);
	offer(0);
	assert_true(virtq_pop(&q, &el));
	assert_int_equal(el.out_len, 24);
	assert_int_equal(el.in_len, 32);
	assert_int_equal(el.nout, 2);
	assert_int_equal(el.seg[2].at, DATA + 0x200);
}

static void test_indirect_long(void **st)
{
	const unsigned n = 200;		/* more than the queue size: seg_max allows it */

	desc(0, TABLE, n * 16, INDIRECT, 0);
	for (unsigned i = 0; i < n; i++)
		desc_at(TABLE, i, DATA + i, 1, i + 1 < n ? NEXT : 0, (uint16_t)(i + 1));
	offer(0);
	assert_true(virtq_pop(&q, &el));
	assert_int_equal(el.nout, n);
}

static void test_indirect_nested(void **st)
{
	desc(0, TABLE, 16, INDIRECT, 0);
	desc_at(TABLE, 0, TABLE, 16, INDIRECT, 0);
	offer(0);
	assert_broken();
}

static void test_indirect_with_next(void **st)
{
	desc(0, TABLE, 16, INDIRECT | NEXT, 1);
	desc(1, DATA, 4, 0, 0);
	offer(0);
	assert_broken();
}

static void test_indirect_bad_length(void **st)
{
	desc(0, TABLE, 20, INDIRECT, 0);
	offer(0);
	assert_broken();
}

static void test_indirect_empty(void **st)
{
	desc(0, TABLE, 0, INDIRECT, 0);
	offer(0);
	assert_broken();
}

static void test_indirect_loop(void **st)
{
	desc(0, TABLE, 16, INDIRECT, 0);
	desc_at(TABLE, 0, DATA, 0, NEXT, 0);
	offer(0);
	assert_broken();
}

static void test_indirect_index(void **st)
{
	desc(0, TABLE, 16, INDIRECT, 0);
	desc_at(TABLE, 0, DATA, 4, NEXT, 1);
	offer(0);
	assert_broken();
}

static void test_copy(void **st)
{
	char buf[16] = { 0 };

	put(DATA, "hello", 5);
	put(DATA + 0x100, "world", 5);
	desc(0, DATA, 5, NEXT, 1);
	desc(1, DATA + 0x100, 5, NEXT, 2);
	desc(2, DATA + 0x200, 3, NEXT | WRITE, 3);
	desc(3, DATA + 0x300, 8, WRITE, 0);
	offer(0);
	assert_true(virtq_pop(&q, &el));
	assert_true(virtq_read(&q, &el, 3, buf, 7));
	assert_string_equal(buf, "loworld");
	assert_false(virtq_read(&q, &el, 3, buf, 8));
	assert_false(virtq_read(&q, &el, 100, buf, 1));
	assert_true(virtq_write(&q, &el, 1, "abcdefgh", 8));
	assert_true(gm_read(vm->mem, GPA(DATA + 0x201), buf, 2));
	assert_true(gm_read(vm->mem, GPA(DATA + 0x300), buf + 2, 6));
	assert_memory_equal(buf, "abcdefgh", 8);
	assert_false(virtq_write(&q, &el, 1, "abcdefghijk", 11));
}

static void test_map(void **st)
{
	struct virtq_io *io = malloc(sizeof(*io));

	desc(0, DATA, 100, NEXT, 1);
	desc(1, DATA + 0x200, 100, NEXT, 2);
	desc(2, RAM - 8, 16, WRITE, 0);
	offer(0);
	assert_true(virtq_pop(&q, &el));
	assert_true(virtq_map(&q, &el, false, 50, 100, io));
	assert_int_equal(io->n, 2);
	assert_int_equal(io->iov[0].iov_len, 50);
	assert_int_equal(io->iov[1].iov_len, 50);
	memcpy(io->iov[0].iov_base, "x", 1);
	virtq_unmap(&q, io, 0);
	assert_int_equal(get16(DATA + 50) & 0xff, 'x');
	assert_false(virtq_map(&q, &el, true, 0, 16, io));	/* runs out of RAM */
	assert_true(virtq_map(&q, &el, true, 0, 8, io));
	virtq_unmap(&q, io, 8);
	assert_false(virtq_map(&q, &el, false, 150, 51, io));	/* longer than the request */
	free(io);
}

/* Guest memory full of noise: no crash, no endless loop, every pop within bounds. */
static void test_fuzz(void **st)
{
	static uint8_t noise[0x8000];
	uint32_t seed = 12345;

	for (unsigned round = 0; round < 3000; round++) {
		for (unsigned i = 0; i < sizeof(noise); i++) {
			seed = seed * 1664525 + 1013904223;
			noise[i] = seed >> 24 & (round & 1 ? 0x0f : 0xff);
		}
		put(0, noise, sizeof(noise));
		virtq_reset(&q);
		q.desc = DESC;
		q.avail = AVAIL;
		q.used = USED;
		q.ready = true;
		q.event_idx = round & 2;
		for (unsigned n = 0; n < SIZE; n++) {
			put16(AVAIL + 2, q.last_avail + 1);
			put16(AVAIL + 4 + 2 * (q.last_avail % SIZE), (seed >> n) % SIZE);
			if (!virtq_pop(&q, &el))
				break;
			assert_in_range(el.nout + el.nin, 0, VIRTQ_MAX_SEGS);
			virtq_push(&q, el.head, 1);
			(void)virtq_flush(&q);
		}
	}
}

int main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
	const struct CMUnitTest tests[] = {
		T(test_pop_push), T(test_index_wraps), T(test_unpop), T(test_no_interrupt),
		T(test_event_idx), T(test_event_idx_batch), T(test_loop),
		T(test_loop_with_bytes), T(test_head_out_of_range), T(test_next_out_of_range),
		T(test_avail_jump), T(test_order), T(test_wrapping_descriptor),
		T(test_huge_chain), T(test_huge_but_legal), T(test_rings_outside_ram),
		T(test_table_outside_ram), T(test_used_outside_ram),
		T(test_too_many_in_flight), T(test_indirect), T(test_indirect_long),
		T(test_indirect_nested), T(test_indirect_with_next),
		T(test_indirect_bad_length), T(test_indirect_empty), T(test_indirect_loop),
		T(test_indirect_index), T(test_copy), T(test_map), T(test_fuzz),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
