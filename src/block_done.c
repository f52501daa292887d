/* SPDX-License-Identifier: MIT */
/*
 * Completions of the disk seam: the lists of requests, what gathers on the
 * done list, who calls done() and when, and the drains that wait for all.
 */
#include "block_int.h"

void req_list_init(struct req_list *l)
{
	l->head = NULL;
	l->tail = &l->head;
}

void req_list_add(struct req_list *l, struct block_req *r)
{
	r->next = NULL;
	*l->tail = r;
	l->tail = &r->next;
}

struct block_req *req_list_take(struct req_list *l)
{
	struct block_req *r = l->head;

	if (r) {
		l->head = r->next;
		if (!l->head)
			l->tail = &l->head;
		r->next = NULL;
	}
	return r;
}

/* Under b->lock: to the done list; true: the loop must be told. */
bool block_add_done(struct block *b, struct block_req *r, int error)
{
	bool post = !b->posted;

	r->error = error;
	req_list_add(&b->done, r);
	b->posted = true;
	return post;
}

/* A completion outside of the workers, under dev_lock. */
void block_finish_here(struct block *b, struct block_req *r, int error)
{
	bool post = false;

	pthread_mutex_lock(&b->lock);
	if (b->batch_end) {	/* block_poll() follows */
		r->error = error;
		req_list_add(&b->done, r);
	} else {
		post = block_add_done(b, r, error);
	}
	pthread_mutex_unlock(&b->lock);
	if (post)
		loop_post(b->loop, &b->work);
}

/* Deliver completions, one at a time so that a done() may drain or submit. */
void block_deliver(void *block)
{
	struct block *b = block;
	bool outer = b->delivering;
	struct block_req *r;
	unsigned n;

	b->delivering = true;
	do {
		n = 0;
		pthread_mutex_lock(&b->lock);
		while ((r = req_list_take(&b->done)) != NULL) {
			pthread_mutex_unlock(&b->lock);
			r->done(r, r->error);
			n++;
			pthread_mutex_lock(&b->lock);
		}
		pthread_mutex_unlock(&b->lock);
		if (n && b->batch_end)
			b->batch_end(b->batch_opaque);
	} while (n);
	b->delivering = outer;
	if (b->aio)
		aio_submit(b->aio);
}

void block_set_batch(struct block *b, void (*end)(void *opaque), void *opaque)
{
	b->batch_end = end;
	b->batch_opaque = opaque;
}

void block_poll(struct block *b)
{
	if (b->aio)
		aio_reap(b->aio, false);
	if (!b->delivering)
		block_deliver(b);
}

void block_completion_work(void *opaque)
{
	struct block *b = opaque;
	bool closed;

	pthread_mutex_lock(&b->lock);
	b->posted = false;
	closed = b->closed;
	pthread_mutex_unlock(&b->lock);
	if (closed)
		block_free(b);
	else
		block_deliver(b);
}

void block_drain(struct block *b)
{
	bool again;

	do {
		while (b->aio && aio_busy(b->aio))
			aio_reap(b->aio, true);
		pthread_mutex_lock(&b->lock);
		b->draining++;
		block_requeue_stopped(b);
		while (b->busy)
			pthread_cond_wait(&b->quiet, &b->lock);
		b->draining--;
		pthread_mutex_unlock(&b->lock);
		block_deliver(b);
		pthread_mutex_lock(&b->lock);
		again = b->busy || b->done.head || b->stopped.head;
		pthread_mutex_unlock(&b->lock);
		again |= b->aio && aio_busy(b->aio);
	} while (again);
}

/* As block_drain(), but what the host cannot serve stays kept.  false: there is such a thing. */
bool block_settle(struct block *b)
{
	bool again, kept;

	do {
		while (b->aio && aio_busy(b->aio))
			aio_reap(b->aio, true);
		pthread_mutex_lock(&b->lock);
		b->hurry++;
		pthread_cond_broadcast(&b->more);
		while (b->busy)
			pthread_cond_wait(&b->quiet, &b->lock);
		b->hurry--;
		pthread_mutex_unlock(&b->lock);
		block_deliver(b);
		pthread_mutex_lock(&b->lock);
		again = b->busy || b->done.head;
		kept = b->stopped.head;
		pthread_mutex_unlock(&b->lock);
		again |= b->aio && aio_busy(b->aio);
	} while (again && !kept);
	return !kept;
}
