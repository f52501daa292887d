/* SPDX-License-Identifier: MIT */
/*
 * Requests that the submitting vCPU looks for itself (loop_look(), aio.h):
 * each completes once and with the right bytes, whoever finds it: the look,
 * the loop when the vCPU was called away, a drain, or the next access.
 */
#include "../lib/imgtest.h"

#include "../../src/clock.h"
#include "../../src/loop.h"

#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <unistd.h>
#include <cmocka.h>

#define CHUNK 4096u
#define CHUNKS 256u

struct fixture {
	pthread_mutex_t lock;
	struct vclock *clk;
	struct loop *loop;
	struct block *b;
	_Atomic uint32_t word;		/* of the vCPU that this thread plays */
	uint8_t *buf;
	struct iovec v;
	struct block_req r;
	_Atomic int calls;
	int error;
	unsigned batches;
};

static void end_of_batch(void *opaque)
{
	((struct fixture *)opaque)->batches++;
}

static void done(struct block_req *r, int error)
{
	struct fixture *x = r->opaque;

	x->error = error;
	atomic_fetch_add(&x->calls, 1);
}

/* @holes: only the first half has room on the host's disk. */
static void setup(struct fixture *x, enum block_cache cache, bool holes)
{
	struct block_options o = { .cache = cache };
	const char *path = it_path("look.raw");
	struct err e = { 0 };

	memset(x, 0, sizeof(*x));
	x->buf = aligned_alloc(CHUNK, CHUNK * CHUNKS);
	for (unsigned i = 0; i < CHUNK * CHUNKS; i++)
		x->buf[i] = (uint8_t)(i / CHUNK * 7 + i);
	it_write_file(path, x->buf, CHUNK * CHUNKS / (holes ? 2 : 1));
	assert_int_equal(truncate(path, CHUNK * CHUNKS), 0);
	pthread_mutex_init(&x->lock, NULL);
	x->clk = vclock_new(true);
	x->loop = loop_new(&x->lock, x->clk, &e);
	assert_non_null(x->loop);
	x->b = block_open(path, "raw", BLOCK_LOOK, x->loop, &e);
	assert_non_null(x->b);
	block_set_batch(x->b, end_of_batch, x);
	if (!block_set_options(x->b, &o, &e)) {
		print_message("%s\n", e.msg);
		skip();
	}
}

static void teardown(struct fixture *x)
{
	pthread_mutex_lock(&x->lock);
	block_close(x->b);
	pthread_mutex_unlock(&x->lock);
	loop_free(x->loop);
	vclock_free(x->clk);
	pthread_mutex_destroy(&x->lock);
	free(x->buf);
}

/* As a vCPU does it: a kick, in a device access.  true: the vCPU shall look. */
static bool kick(struct fixture *x, bool write, unsigned chunk)
{
	bool look;

	x->v = (struct iovec){ x->buf + chunk * CHUNK, CHUNK };
	x->r = (struct block_req){ .op = write ? BLOCK_WRITE : BLOCK_READ, .off = chunk * CHUNK,
				   .len = CHUNK, .iov = &x->v, .niov = 1, .done = done,
				   .opaque = x };
	atomic_store(&x->calls, 0);
	x->error = -1;
	pthread_mutex_lock(&x->lock);
	loop_access(x->loop, true);
	block_submit(x->b, &x->r);
	block_poll(x->b);
	look = loop_access(x->loop, false);
	pthread_mutex_unlock(&x->lock);
	return look;
}

static void finish(struct fixture *x)
{
	for (unsigned n = 0; !atomic_load(&x->calls) && n < 3000; n++)
		loop_poll(x->loop, 10);		/* a lost wake-up is a failure, not a hang */
	assert_int_equal(atomic_load(&x->calls), 1);
	assert_int_equal(x->error, 0);
}

static void check_chunk(const struct fixture *x, unsigned chunk, unsigned add)
{
	for (unsigned i = chunk * CHUNK; i < (chunk + 1) * CHUNK; i++)
		assert_int_equal(x->buf[i], (uint8_t)(i / CHUNK * 7 + i + add));
}

static void clear_chunk(struct fixture *x, unsigned chunk)
{
	memset(x->buf + chunk * CHUNK, 0, CHUNK);
}

/* The vCPU looks, and what it does not find comes through the loop. */
static void look_for(enum block_cache cache)
{
	struct fixture x;
	unsigned looks = 0;

	setup(&x, cache, false);
	for (unsigned i = 0; i < CHUNKS; i++) {
		clear_chunk(&x, i);
		if (kick(&x, false, i)) {
			loop_look(x.loop, &x.word, 1);
			looks++;
		}
		finish(&x);
		check_chunk(&x, i, 0);
	}
	assert_int_equal(x.batches, CHUNKS);
	if (cache == BLOCK_CACHE_NONE)	/* nothing but a completion inside the access spares it */
		assert_true(looks > 0);
	teardown(&x);
}

static void test_look(void **state)
{
	look_for(BLOCK_CACHE_NONE);
	look_for(BLOCK_CACHE_WRITEBACK);
}

/* An interrupt is there already: the vCPU goes on at once, the loop finds the completion. */
static void test_called_away(void **state)
{
	struct fixture x;

	setup(&x, BLOCK_CACHE_NONE, false);
	atomic_store(&x.word, 1);
	for (unsigned i = 0; i < CHUNKS; i++) {
		clear_chunk(&x, i);
		if (kick(&x, false, i))
			loop_look(x.loop, &x.word, 1);
		finish(&x);
		check_chunk(&x, i, 0);
	}
	teardown(&x);
}

/* Reset, pause, snapshot: another thread drains, before the vCPU has looked or while it does. */
static void test_drained(void **state)
{
	struct fixture x;

	setup(&x, BLOCK_CACHE_NONE, false);
	for (unsigned i = 0; i < CHUNKS; i++) {
		bool look;

		clear_chunk(&x, i);
		look = kick(&x, false, i);
		pthread_mutex_lock(&x.lock);
		block_drain(x.b);
		pthread_mutex_unlock(&x.lock);
		assert_int_equal(atomic_load(&x.calls), 1);
		if (look)
			loop_look(x.loop, &x.word, 1);
		finish(&x);
		check_chunk(&x, i, 0);
	}
	teardown(&x);
}

/* Two accesses before the look, and no access at all: nothing is lost. */
static void test_not_alone(void **state)
{
	struct fixture x, y;

	setup(&x, BLOCK_CACHE_NONE, false);
	for (unsigned i = 0; i + 1 < CHUNKS; i += 2) {
		bool look = kick(&x, false, i);

		y.v = (struct iovec){ x.buf + (i + 1) * CHUNK, CHUNK };
		y.r = (struct block_req){ .op = BLOCK_READ, .off = (i + 1) * CHUNK, .len = CHUNK,
					  .iov = &y.v, .niov = 1, .done = done, .opaque = &y };
		y.calls = 0;
		clear_chunk(&x, i + 1);
		pthread_mutex_lock(&x.lock);
		block_submit(x.b, &y.r);
		block_poll(x.b);
		pthread_mutex_unlock(&x.lock);
		if (look)
			loop_look(x.loop, &x.word, 1);
		finish(&x);
		for (unsigned n = 0; !y.calls && n < 3000; n++)
			loop_poll(x.loop, 10);
		assert_int_equal(y.calls, 1);
		assert_int_equal(y.error, 0);
		check_chunk(&x, i, 0);
		check_chunk(&x, i + 1, 0);
	}
	teardown(&x);
}

/* Writes too, where the host has to find room for them as well: those begin anew elsewhere. */
static void test_writes(void **state)
{
	struct fixture x;

	setup(&x, BLOCK_CACHE_NONE, true);
	for (unsigned i = 0; i < CHUNKS; i++) {
		for (unsigned k = i * CHUNK; k < (i + 1) * CHUNK; k++)
			x.buf[k] = (uint8_t)(x.buf[k] + 1);
		if (kick(&x, true, i))
			loop_look(x.loop, &x.word, 1);
		finish(&x);
		clear_chunk(&x, i);
		if (kick(&x, false, i))
			loop_look(x.loop, &x.word, 1);
		finish(&x);
		check_chunk(&x, i, 1);
	}
	teardown(&x);
}

/* The file became shorter: what is gone reads as zeros. */
static void test_cut_short(void **state)
{
	struct fixture x;

	setup(&x, BLOCK_CACHE_NONE, false);
	assert_int_equal(truncate(it_path("look.raw"), CHUNK * CHUNKS / 2), 0);
	for (unsigned i = 0; i < CHUNKS; i++) {
		if (kick(&x, false, i))
			loop_look(x.loop, &x.word, 1);
		finish(&x);
		if (i < CHUNKS / 2)
			check_chunk(&x, i, 0);
		for (unsigned k = 0; i >= CHUNKS / 2 && k < CHUNK; k++)
			assert_int_equal(x.buf[i * CHUNK + k], 0);
	}
	teardown(&x);
}

struct helpers {
	struct fixture *x;
	_Atomic bool stop;
};

/* What other threads do meanwhile: an interrupt for the vCPU, a drain, the same look. */
static void *disturb(void *arg)
{
	struct helpers *h = arg;
	struct fixture *x = h->x;

	for (unsigned i = 0; !atomic_load(&h->stop); i++) {
		atomic_store(&x->word, i % 5 == 0);
		if (i % 3 == 0) {
			pthread_mutex_lock(&x->lock);
			block_drain(x->b);
			pthread_mutex_unlock(&x->lock);
		}
		loop_idle(x->loop, &x->word, 1);
		usleep(i % 7 * 20);
	}
	return NULL;
}

static void test_among_threads(void **state)
{
	struct fixture x;
	struct helpers h = { &x, false };
	struct err e = { 0 };
	pthread_t t;

	setup(&x, BLOCK_CACHE_NONE, false);
	assert_true(loop_start(x.loop, &e));
	assert_int_equal(pthread_create(&t, NULL, disturb, &h), 0);
	for (unsigned i = 0; i < 4 * CHUNKS; i++) {
		clear_chunk(&x, i % CHUNKS);
		if (kick(&x, false, i % CHUNKS))
			loop_look(x.loop, &x.word, 1);
		while (!atomic_load(&x.calls))
			loop_idle(x.loop, &x.word, 1);
		pthread_mutex_lock(&x.lock);
		assert_int_equal(atomic_load(&x.calls), 1);
		assert_int_equal(x.error, 0);
		check_chunk(&x, i % CHUNKS, 0);
		pthread_mutex_unlock(&x.lock);
	}
	atomic_store(&h.stop, true);
	pthread_join(t, NULL);
	loop_stop(x.loop);
	teardown(&x);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_look),
		cmocka_unit_test(test_called_away),
		cmocka_unit_test(test_drained),
		cmocka_unit_test(test_not_alone),
		cmocka_unit_test(test_writes),
		cmocka_unit_test(test_cut_short),
		cmocka_unit_test(test_among_threads),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
