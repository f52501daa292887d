/* SPDX-License-Identifier: MIT */
/*
 * What the parts of the disk seam share: block.c (requests in), block_work.c
 * (the threads, limits, errors that stop the machine), block_done.c
 * (completions out, drains).
 */
#ifndef HV_BLOCK_INT_H
#define HV_BLOCK_INT_H

#include "aio.h"
#include "block.h"
#include "imgtool.h"
#include "loop.h"
#include <pthread.h>

#define BLOCK_WORKERS 4

struct req_list {
	struct block_req *head, **tail;
};

/* Rate limit: a request may start when due has come; each one moves it by its cost. */
struct limit {
	uint64_t rate;			/* a second; 0: none */
	uint64_t due;			/* host ns */
};

struct block {
	struct image *im;
	struct block_info info;		/* immutable */
	struct block_options opt;	/* likewise, after block_set_options() */
	struct loop *loop;
	struct loop_work work;
	struct block_activity *activity;	/* NULL: nobody looks */
	/* under dev_lock */
	struct aio *aio;		/* NULL: threads only */
	void (*batch_end)(void *opaque);
	void *batch_opaque;
	bool delivering;
	uint64_t writes_from, write_pause;	/* host ns: no writes at once before; how long */
	void (*on_stop)(void *opaque, struct block *b, enum block_op op, int error); /* immutable */
	void *stop_opaque;
	pthread_mutex_t lock;		/* protects everything below */
	pthread_cond_t more, quiet;
	struct req_list queue, done, stopped;
	unsigned busy;			/* queued or with a worker */
	unsigned idle, nthreads;
	unsigned draining;		/* limits do not count, errors go to the guest */
	unsigned hurry;			/* limits do not count */
	struct limit iops, bps;
	unsigned retrying;		/* requests that were kept and are tried again */
	bool stop_told;			/* on_stop has heard of an error since the last retry */
	bool posted, quit, closed;
	pthread_t threads[BLOCK_WORKERS];
};

void req_list_init(struct req_list *l);
void req_list_add(struct req_list *l, struct block_req *r);
struct block_req *req_list_take(struct req_list *l);	/* NULL: empty */

/* block_done.c */
/* Under b->lock: to the done list; true: the loop must be told (loop_post()). */
bool block_add_done(struct block *b, struct block_req *r, int error);
/* A completion outside of the workers, under dev_lock. */
void block_finish_here(struct block *b, struct block_req *r, int error);
void block_deliver(void *block);
void block_completion_work(void *block);
/* As block_drain(), but what the host cannot serve stays kept.  false: there is such a thing. */
bool block_settle(struct block *b);

/* block_work.c */
int block_start_worker(struct block *b);	/* under b->lock; 0 or errno */
void block_to_workers(struct block *b, struct block_req *r);
void block_requeue_stopped(struct block *b);	/* under b->lock */

/* block.c */
void block_free(struct block *b);

#endif
