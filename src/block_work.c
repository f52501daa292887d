/* SPDX-License-Identifier: MIT */
/*
 * The threads of a disk: a small pool, started on demand, for requests that
 * neither the page cache nor the ring serves; the limits, which hold requests
 * back in the queue; and the errors that are kept until somebody made room.
 */
#include "block_int.h"
#include "clock.h"

#include <errno.h>
#include <signal.h>

#define BURST_NS 50000000ull	/* what a limit lets through at once after a pause */

/* Under b->lock: one request less with the workers. */
static void not_busy(struct block *b, struct block_req *r)
{
	if (r->retried)
		b->retrying--;
	r->retried = false;
	if (--b->busy == 0)
		pthread_cond_broadcast(&b->quiet);
}

/* Is this error one that stops the machine rather than going to the guest? */
static bool holds(const struct block *b, const struct block_req *r, int error)
{
	bool report = r->op == BLOCK_READ ? b->opt.report_read : b->opt.report_write;

	return error && b->on_stop && !report && !b->draining && error != EINVAL &&
	       error != EROFS && error != ENOTSUP;
}

static void worker_done(struct block *b, struct block_req *r, int error)
{
	enum block_op op = r->op;
	bool post = false, tell = false;

	pthread_mutex_lock(&b->lock);
	not_busy(b, r);
	if (holds(b, r, error)) {
		req_list_add(&b->stopped, r);
		tell = !b->stop_told;
		b->stop_told = true;
	} else {
		post = block_add_done(b, r, error);
	}
	pthread_mutex_unlock(&b->lock);
	if (post)
		loop_post(b->loop, &b->work);
	if (tell)
		b->on_stop(b->stop_opaque, b, op, error);
}

static int perform(struct block *b, const struct block_req *r)
{
	int err = image_io(b->im, r->op, r->off, r->len, r->iov, r->niov);

	if (!err && b->opt.cache == BLOCK_CACHE_WRITETHROUGH &&
	    (r->op == BLOCK_WRITE || r->op == BLOCK_WRITE_ZEROES))
		err = image_io(b->im, BLOCK_FLUSH, 0, 0, NULL, 0);
	return err;
}

static void charge(struct limit *l, uint64_t n, uint64_t now)
{
	uint64_t oldest = now > BURST_NS ? now - BURST_NS : 0;

	if (l->rate)
		l->due = MAX(l->due, oldest) + muldiv64(n, NS_PER_SEC, l->rate);
}

/* Under b->lock: the next request that may start; NULL: none, *@wait until when (0: unknown). */
static struct block_req *next_request(struct block *b, uint64_t *wait)
{
	struct block_req *r = b->queue.head;
	uint64_t now, due;

	*wait = 0;
	if (!r || (!b->iops.rate && !b->bps.rate) || r->op == BLOCK_FLUSH || b->draining ||
	    b->hurry)
		return req_list_take(&b->queue);
	now = host_now_ns();
	due = MAX(b->iops.due, b->bps.due);
	if (due > now) {
		*wait = due;
		return NULL;
	}
	charge(&b->iops, 1, now);
	charge(&b->bps, r->op == BLOCK_READ || r->op == BLOCK_WRITE ? r->len : 0, now);
	return req_list_take(&b->queue);
}

static void wait_for_work(struct block *b, uint64_t until)
{
	struct timespec ts = { (time_t)(until / NS_PER_SEC), (long)(until % NS_PER_SEC) };

	if (until) {
		pthread_cond_timedwait(&b->more, &b->lock, &ts);
		return;
	}
	b->idle++;
	pthread_cond_wait(&b->more, &b->lock);
	b->idle--;
}

static void *worker(void *arg)
{
	struct block *b = arg;
	struct block_req *r;
	uint64_t until;

	pthread_mutex_lock(&b->lock);
	while (!b->quit) {
		r = next_request(b, &until);
		if (!r) {
			wait_for_work(b, until);
			continue;
		}
		pthread_mutex_unlock(&b->lock);
		worker_done(b, r, perform(b, r));
		pthread_mutex_lock(&b->lock);
	}
	pthread_mutex_unlock(&b->lock);
	return NULL;
}

/* Under b->lock.  Signals stay with the main thread. */
int block_start_worker(struct block *b)
{
	sigset_t all, old;
	int err;

	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &old);
	err = pthread_create(&b->threads[b->nthreads], NULL, worker, b);
	pthread_sigmask(SIG_SETMASK, &old, NULL);
	if (err)
		return err;
	pthread_setname_np(b->threads[b->nthreads++], "hv-block");
	return 0;
}

void block_to_workers(struct block *b, struct block_req *r)
{
	pthread_mutex_lock(&b->lock);
	req_list_add(&b->queue, r);
	b->busy++;
	/* More threads are a bonus: with one already running a failure to start is no error. */
	if (b->idle == 0 && b->nthreads < BLOCK_WORKERS)
		block_start_worker(b);
	pthread_cond_signal(&b->more);
	pthread_mutex_unlock(&b->lock);
}

/* ---- Errors that stop the machine ---- */

void block_on_stop(struct block *b, void (*stop)(void *opaque, struct block *b, enum block_op op,
						 int error), void *opaque)
{
	b->on_stop = stop;
	b->stop_opaque = opaque;
}

/* Under b->lock. */
void block_requeue_stopped(struct block *b)
{
	struct block_req *r;

	while ((r = req_list_take(&b->stopped)) != NULL) {
		r->retried = true;
		b->retrying++;
		b->busy++;
		req_list_add(&b->queue, r);
	}
	b->stop_told = false;
	pthread_cond_broadcast(&b->more);
}

void block_retry(struct block *b)
{
	pthread_mutex_lock(&b->lock);
	block_requeue_stopped(b);
	pthread_mutex_unlock(&b->lock);
}

bool block_held(struct block *b)
{
	bool held;

	pthread_mutex_lock(&b->lock);
	held = b->stopped.head || b->retrying;
	pthread_mutex_unlock(&b->lock);
	return held;
}
