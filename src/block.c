/* SPDX-License-Identifier: MIT */
/*
 * Requests from controllers to the image and back.
 *
 * A read that the page cache can serve is copied at once (RWF_NOWAIT), and
 * so is a short write to it.  Other transfers whose bytes lie in one piece in
 * a file (image_place()) go to io_uring (aio.h), and everything else, and
 * what did not go through whole there, to threads (block_work.c).
 * Completions gather on the done list; the loop thread, or the controller at
 * the end of its own submission (block_poll()), calls every done() that is
 * due, then the batch's end (block_done.c).  Requests are not ordered against
 * each other, as on real disks with a queue; a flush covers what was completed
 * before it was submitted.
 */
#include "block_int.h"
#include "clock.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#define INLINE_MAX (192u << 10)	/* longest read that is copied at once */
#define WRITE_NOW_MAX (64u << 10)	/* longest write that is done at once */
#define PAGE 4096u
#define SLOW_NS 4000000ull		/* a write that took this long has waited */
#define SLOW_PAUSE_NS 200000000ull	/* then writes are left to others for a while */
#define SLOW_PAUSE_MAX_NS 10000000000ull

void block_free(struct block *b)
{
	pthread_mutex_destroy(&b->lock);
	pthread_cond_destroy(&b->more);
	pthread_cond_destroy(&b->quiet);
	free(b);
}

static struct block *block_new(struct image *im, struct loop *loop)
{
	struct block *b = hv_zalloc(sizeof(*b));
	pthread_condattr_t attr;

	b->im = im;
	b->loop = loop;
	b->work.fn = block_completion_work;
	b->work.opaque = b;
	pthread_mutex_init(&b->lock, NULL);
	pthread_condattr_init(&attr);
	pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);	/* as host_now_ns() */
	pthread_cond_init(&b->more, &attr);
	pthread_condattr_destroy(&attr);
	pthread_cond_init(&b->quiet, NULL);
	req_list_init(&b->queue);
	req_list_init(&b->done);
	req_list_init(&b->stopped);
	b->info.size = im->size;
	b->info.readonly = im->flags & BLOCK_RDONLY;
	b->info.format = im->flags & BLOCK_THROWAWAY ? im->backing->fmt->name : im->fmt->name;
	snprintf(b->info.path, sizeof(b->info.path), "%s", im->path);
	return b;
}

static void aio_done(void *opaque, void *tag, int result);

struct block *block_open(const char *path, const char *format, unsigned flags,
			 struct loop *loop, struct err *e)
{
	struct image *im = image_open(path, format, flags, e);
	struct block *b;
	int err;

	if (!im)
		return NULL;
	b = block_new(im, loop);
	pthread_mutex_lock(&b->lock);
	err = block_start_worker(b);
	pthread_mutex_unlock(&b->lock);
	if (err) {
		err_errno(e, HV_EXIT_HOST, err, "%s: cannot start a disk thread", path);
		image_close(im);
		block_free(b);
		return NULL;
	}
	if ((im->fmt->plain || im->fmt->place) && !(flags & BLOCK_THREADS))
		b->aio = aio_new(loop, aio_done, block_deliver, b);
	if (b->aio && flags & BLOCK_LOOK)
		aio_assume_lone(b->aio);
	return b;
}

bool block_set_options(struct block *b, const struct block_options *o, struct err *e)
{
	b->opt = *o;
	b->iops.rate = o->iops;
	b->bps.rate = o->bps;
	if (o->cache != BLOCK_CACHE_NONE)
		return true;
	for (struct image *im = b->im; im; im = im->backing) {
		/* The layer of thrown-away changes is nobody's file. */
		int err = im->fmt->probe && im->file.fd >= 0 ? hf_open_direct(&im->file) : 0;

		if (err)
			return err_errno(e, HV_EXIT_HOST, err, "%s: cache=none is not possible on "
					 "this file system; use cache=writeback", im->path);
	}
	return true;
}

const struct block_info *block_info(const struct block *b)
{
	return &b->info;
}

bool block_is_file(const struct block *b, uint64_t dev, uint64_t ino)
{
	return b->im->file.fd >= 0 && b->im->dev == dev && b->im->ino == ino;
}

static bool aligned(uint64_t v)
{
	return (v & (BLOCK_SECTOR - 1)) == 0;
}

static int check_request(const struct block *b, const struct block_req *r)
{
	switch (r->op) {
	case BLOCK_FLUSH:
		return 0;
	case BLOCK_READ:
	case BLOCK_WRITE:
		if (r->len > BLOCK_MAX_BYTES || iov_total(r->iov, r->niov) != r->len)
			return EINVAL;
		break;
	case BLOCK_DISCARD:
	case BLOCK_WRITE_ZEROES:
		break;
	default:
		return ENOTSUP;
	}
	if (r->op != BLOCK_READ && b->info.readonly)
		return EROFS;
	if (!aligned(r->off) || !aligned(r->len) || !range_ok(r->off, r->len, b->info.size))
		return EINVAL;
	return 0;
}

/* A transfer that was cut short, or failed, is done again by a thread, which has the last word. */
static void aio_done(void *opaque, void *tag, int result)
{
	struct block *b = opaque;
	struct block_req *r = tag;

	image_unplace(r->held);
	r->held = NULL;
	if (result < 0 || (uint64_t)result != r->expect) {
		block_to_workers(b, r);
		return;
	}
	pthread_mutex_lock(&b->lock);
	r->error = 0;
	req_list_add(&b->done, r);		/* aio_reap()'s callers block_deliver */
	pthread_mutex_unlock(&b->lock);
}

static bool limited(const struct block *b)
{
	return b->opt.iops || b->opt.bps;
}

static bool instant(struct block *b, const struct block_req *r)
{
	return b->im->fmt->instant && !limited(b) && !hostfile_fault;
}

static bool cached_read(struct block *b, const struct block_req *r)
{
	return r->op == BLOCK_READ && r->len <= INLINE_MAX && !limited(b) &&
	       image_read_now(b->im, r->off, r->len, r->iov, r->niov) == 0;
}

/*
 * A short write of whole pages to the page cache takes a microsecond or two.
 * When it does not (too many dirty pages, a busy journal), writes are left to
 * the ring and the threads, for longer each time.
 */
static bool write_now(struct block *b, const struct block_req *r, const struct image_place *p)
{
	uint64_t start = host_now_ns(), took;
	int err;

	if (r->len > WRITE_NOW_MAX || (p->off | r->len) & (PAGE - 1) || start < b->writes_from)
		return false;
	err = hf_pwritev(p->file, r->iov, r->niov, p->off);
	took = host_now_ns() - start;
	if (took > SLOW_NS) {
		b->write_pause = MIN(MAX(b->write_pause * 2, SLOW_PAUSE_NS), SLOW_PAUSE_MAX_NS);
		b->writes_from = start + took + b->write_pause;
	} else {
		b->write_pause -= b->write_pause / 256;
	}
	return !err;	/* else a thread tries again and has the last word */
}

/*
 * A long read from the page cache is one long copy: another processor does
 * most of it, and this one, which would have to wait, a piece at its front,
 * of whole elements.  Returns how many, with the first one done: 0 also when
 * that is not in the cache.
 */
static unsigned own_part(const struct block_req *r, const struct image_place *p, uint64_t *len)
{
	unsigned n = 0;

	*len = 0;
	if (r->op != BLOCK_READ || r->len < 2 * INLINE_MAX || r->iov[0].iov_len > INLINE_MAX ||
	    hf_read_now(p->file, r->iov, 1, p->off, r->iov[0].iov_len))
		return 0;
	while (*len + r->iov[n].iov_len <= INLINE_MAX)
		*len += r->iov[n++].iov_len;
	return n;
}

static bool queue_transfer(struct block *b, struct block_req *r, struct image_place *p, int fd)
{
	unsigned how = fd != p->file->fd ? AIO_DIRECT : r->len > INLINE_MAX ? AIO_COPIES : 0;
	uint64_t own = 0, first = r->iov[0].iov_len;
	unsigned n = how == AIO_COPIES && b->aio ? own_part(r, p, &own) : 0;

	if (!b->aio || !aio_queue(b->aio, r->op == BLOCK_WRITE, fd, r->iov + n, r->niov - n,
				 p->off + own, how, r))
		return false;
	r->expect = r->len - own;
	if (n) {
		aio_submit(b->aio);
		if (hf_read_now(p->file, r->iov + 1, n - 1, p->off + first, own - first))
			r->expect = UINT64_MAX;		/* a thread reads all of it */
	}
	r->held = p->held;
	p->held = NULL;
	if (!b->batch_end)
		aio_submit(b->aio);
	return true;
}

/*
 * Straight to the file, past the threads: done at once, or in the ring.  What a
 * thread would do beyond the transfer itself stays with the threads.
 */
static bool straight(struct block *b, struct block_req *r, bool *done)
{
	bool write = r->op == BLOCK_WRITE, ok = false;
	struct image_place p;
	int fd;

	*done = false;
	if ((r->op != BLOCK_READ && !write) || !r->len || limited(b) || hostfile_fault ||
	    (write && b->opt.cache == BLOCK_CACHE_WRITETHROUGH) || b->im->flags & BLOCK_THREADS ||
	    image_place(b->im, write, r->off, r->len, &p))
		return false;
	if (p.file && p.len == r->len && !(write && atomic_load(&p.file->sync_failed))) {
		fd = hf_transfer_fd(p.file, r->iov, r->niov, p.off);
		*done = write && fd == p.file->fd && write_now(b, r, &p);
		ok = *done || queue_transfer(b, r, &p, fd);
	}
	image_unplace(p.held);
	return ok;
}

void block_count(struct block *b, struct block_activity *a)
{
	b->activity = a;
}

static void count(struct block *b, const struct block_req *r)
{
	_Atomic uint64_t *n = r->op == BLOCK_READ ? &b->activity->reads : &b->activity->writes;

	/* Under dev_lock: one writer. */
	if (r->op != BLOCK_FLUSH)
		atomic_store_explicit(n, atomic_load_explicit(n, memory_order_relaxed) + 1,
				      memory_order_relaxed);
	bell_ring(b->activity->bell);
}

void block_submit(struct block *b, struct block_req *r)
{
	int err = check_request(b, r);
	bool done;

	r->block = b;
	r->retried = false;
	if (b->activity)
		count(b, r);
	r->held = NULL;
	done = err || instant(b, r) || cached_read(b, r);
	if (!done && !straight(b, r, &done))
		block_to_workers(b, r);
	else if (done)
		block_finish_here(b, r, err);
}

bool block_resize(struct block *b, uint64_t size, struct err *e)
{
	const struct image_tool *tool = b->im->fmt->tool;
	struct iovec none = { NULL, 0 };

	if (b->info.readonly || !tool || !tool->resize)
		return err_set(e, HV_EXIT_USAGE, "%s: cannot be resized (read-only, changes thrown "
			       "away, or no format for it)", b->info.path);
	if (size % BLOCK_SECTOR || size > IMAGE_MAX_SIZE || size < b->info.size)
		return err_set(e, HV_EXIT_USAGE, "%s: a disk in use can only grow, in sectors of "
			       "%u bytes", b->info.path, BLOCK_SECTOR);
	if (!block_settle(b))
		return err_set(e, HV_EXIT_HOST, "%s: the guest waits for the host's disk; make "
			       "room there first", b->info.path);
	if (!tool->resize(b->im, size, e) || image_io(b->im, BLOCK_FLUSH, 0, 0, &none, 0))
		return e->msg[0] ? false : err_set(e, HV_EXIT_HOST, "%s: cannot write",
						   b->info.path);
	b->info.size = b->im->size;
	return true;
}

void block_close(struct block *b)
{
	bool posted;

	if (!b)
		return;
	block_drain(b);
	pthread_mutex_lock(&b->lock);
	b->quit = true;
	pthread_cond_broadcast(&b->more);
	pthread_mutex_unlock(&b->lock);
	for (unsigned i = 0; i < b->nthreads; i++)
		pthread_join(b->threads[i], NULL);
	aio_free(b->aio);
	image_close(b->im);
	/* A notice still in the running loop's queue points at b: then the loop frees it. */
	pthread_mutex_lock(&b->lock);
	b->closed = true;
	posted = b->posted;
	pthread_mutex_unlock(&b->lock);
	if (!posted || loop_unpost(b->loop, &b->work))
		block_free(b);
}
