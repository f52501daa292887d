/* SPDX-License-Identifier: MIT */
/* Block allocation tables: life, pages, flushing, check; see bat.h. */
#include "bat_int.h"
#include <errno.h>
#include <stdlib.h>

#define BUDGET (16u << 20)		/* bytes of loaded pages */

bool bat_init(struct bat *b, struct err *e)
{
	uint64_t block = 1ull << b->bits;
	pthread_rwlockattr_t a;

	b->n = (b->size + block - 1) >> b->bits;
	b->npages = (b->n + b->page_n - 1) / b->page_n;
	if (b->npages > BAT_MAX_PAGES)
		return err_set(e, HV_EXIT_IMAGE, "%s: a block table of %llu entries; damaged?",
			       b->im->path, (unsigned long long)b->n);
	b->page = calloc(b->npages + 1, sizeof(*b->page));
	if (!b->page)
		return err_set(e, HV_EXIT_HOST, "%s: out of memory", b->im->path);
	b->readonly = b->im->flags & BLOCK_RDONLY;
	pthread_rwlockattr_init(&a);
	pthread_rwlockattr_setkind_np(&a, PTHREAD_RWLOCK_PREFER_WRITER_NONRECURSIVE_NP);
	pthread_rwlock_init(&b->lock, &a);
	pthread_rwlockattr_destroy(&a);
	pthread_mutex_init(&b->cache_lock, NULL);
	return true;
}

void bat_free(struct bat *b)
{
	if (!b->page)
		return;
	for (uint64_t i = 0; i < b->npages; i++)
		free(b->page[i].e);
	free(b->page);
	free(b->unpacked);
	b->page = NULL;
	pthread_rwlock_destroy(&b->lock);
	pthread_mutex_destroy(&b->cache_lock);
}

bool bat_may_grow(struct bat *b, uint64_t size, struct err *e)
{
	uint64_t blocks = (size >> b->bits) + ((size & ((1ull << b->bits) - 1)) != 0);
	int err;

	if (size < b->size)
		return err_set(e, HV_EXIT_USAGE, "%s: %s images cannot shrink; convert it to a "
			       "smaller one", b->im->path, b->im->fmt->name);
	if (b->im->backing)
		return err_set(e, HV_EXIT_USAGE, "%s: has a parent of a fixed size; convert it to "
			       "one image first", b->im->path);
	if (size > IMAGE_MAX_SIZE || (blocks + b->page_n - 1) / b->page_n > BAT_MAX_PAGES)
		return err_set(e, HV_EXIT_USAGE, "%s: too large for its table; convert it to "
			       "qcow2", b->im->path);
	err = bat_flush(b);
	return !err || err_errno(e, HV_EXIT_HOST, err, "%s: cannot write", b->im->path);
}

bool bat_grown(struct bat *b, uint64_t old, struct err *e)
{
	uint64_t block = 1ull << b->bits, end = MIN((old + block - 1) & ~(block - 1), b->size);
	int err = 0;

	b->im->size = b->base + b->size;
	bat_free(b);
	b->loaded = b->ndirty = b->hand = 0;
	b->unpacked = NULL;
	b->unpacked_host = 0;
	if (!bat_init(b, e))
		return false;
	if (old < end)
		err = bat_io(b, BLOCK_DISCARD, old, end - old, NULL, 0, 0);
	return !err || err_errno(e, HV_EXIT_HOST, err, "%s: cannot write", b->im->path);
}

/* Second chance among the clean pages; dirty ones wait for a flush. */
static void make_room(struct bat *b)
{
	uint64_t budget = MAX(BUDGET / (b->page_n * 8ull), 4ull);

	for (uint64_t i = 0; b->loaded >= budget && i < 2 * b->npages; i++) {
		struct bat_page *p = &b->page[b->hand];

		b->hand = (b->hand + 1) % b->npages;
		if (!p->e || p->dirty)
			continue;
		if (p->recent) {
			p->recent = false;
			continue;
		}
		free(p->e);
		p->e = NULL;
		b->loaded--;
	}
}

int bat_get_page(struct bat *b, uint64_t i, struct bat_page **out)
{
	struct bat_page *p = &b->page[i];
	int err;

	if (!p->e) {
		make_room(b);
		p->e = calloc(b->page_n, sizeof(*p->e));
		err = p->e ? b->ops->load(b, i, p->e) : ENOMEM;
		if (err) {
			free(p->e);
			p->e = NULL;
			return err;
		}
		b->loaded++;
	}
	p->recent = true;
	*out = p;
	return 0;
}

int bat_get(struct bat *b, uint64_t block, uint64_t *e)
{
	struct bat_page *p;
	int err = bat_get_page(b, block / b->page_n, &p);

	*e = err ? BAT_BAD : p->e[block % b->page_n];
	return err;
}

int bat_set(struct bat *b, uint64_t block, uint64_t e)
{
	struct bat_page *p;
	int err = bat_get_page(b, block / b->page_n, &p);

	if (err)
		return err;
	p->e[block % b->page_n] = e;
	b->ndirty += !p->dirty;
	p->dirty = true;
	return 0;
}

int bat_flush_pages(struct bat *b)
{
	int err = 0;

	if (!b->ndirty)
		return 0;
	err = hf_sync(b->f);
	if (!err && b->ops->begin_store)
		err = b->ops->begin_store(b);
	for (uint64_t i = 0; i < b->npages && b->ndirty && !err; i++) {
		if (!b->page[i].dirty)
			continue;
		err = b->ops->store(b, i, b->page[i].e);
		if (!err) {
			b->page[i].dirty = false;
			b->ndirty--;
		}
	}
	if (!err && b->ops->end_store)
		err = b->ops->end_store(b);
	return err;
}

int bat_flush(struct bat *b)
{
	int err;

	if (b->readonly)
		return 0;
	pthread_rwlock_wrlock(&b->lock);
	err = bat_flush_pages(b);
	pthread_rwlock_unlock(&b->lock);
	return err ? err : hf_sync(b->f);
}

int bat_io(struct bat *b, enum block_op op, uint64_t off, uint64_t len, const struct iovec *iov,
	   unsigned niov, uint64_t iov_off)
{
	if (op == BLOCK_READ)
		return bat_read(b, off, len, iov, niov, iov_off);
	if (op == BLOCK_FLUSH)
		return bat_flush(b);
	if (b->readonly)
		return EROFS;
	return op == BLOCK_WRITE ? bat_write(b, off, len, iov, niov, iov_off) :
		bat_zero(b, off, len, op == BLOCK_DISCARD);
}

struct use {
	uint64_t host, block;
};

static int by_host(const void *x, const void *y)
{
	uint64_t a = ((const struct use *)x)->host, c = ((const struct use *)y)->host;

	return a < c ? -1 : a > c;
}

/* Collect every entry that leads somewhere; drop or count those that cannot. */
static int collect(struct bat *b, struct image_check *r, uint64_t first, uint64_t before,
		   uint64_t stride, struct use *u, uint64_t *n)
{
	int err = 0;

	for (uint64_t i = 0; i < b->n && !err; i++) {
		uint64_t e, host;

		err = bat_get(b, i, &e);
		host = BAT_HOST(e);
		if (err || e == BAT_NONE || e == BAT_ZERO)
			continue;
		if (e == BAT_BAD || host < first + before || host - before > b->end ||
		    (!(e & BAT_PACKED) && stride > b->end - (host - before))) {
			image_damage(r, 1, "block %llu leads to a wrong place",
				     (unsigned long long)i);
			if (r->repair && !b->readonly) {
				err = bat_set(b, i, BAT_NONE);
				r->errors_fixed++;
			}
			continue;
		}
		u[(*n)++] = (struct use){ host - before, i };
	}
	return err;
}

bool bat_check(struct bat *b, struct image_check *r, uint64_t first, uint64_t before,
	       uint64_t stride, struct err *e)
{
	struct use *u = calloc(b->n + 1, sizeof(*u));
	uint64_t n = 0, room;
	int err = u ? collect(b, r, first, before, stride, u, &n) : ENOMEM;
	bool packed = b->ops->unpack;

	if (!err) {
		qsort(u, n, sizeof(*u), by_host);
		for (uint64_t i = 1; i < n; i++)
			if (u[i].host - u[i - 1].host < (packed ? 1 : stride))
				image_damage(r, 1, "blocks %llu and %llu overlap",
					     (unsigned long long)u[i - 1].block,
					     (unsigned long long)u[i].block);
		room = b->end > first ? (b->end - first) / stride : 0;
		if (!packed && room > n)
			r->leaks += room - n;
		r->allocated += n;
		r->total += b->n;
	}
	free(u);
	return !err || err_errno(e, HV_EXIT_IMAGE, err, "%s: cannot read the block table",
				 b->im->path);
}
