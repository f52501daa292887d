/* SPDX-License-Identifier: MIT */
/* Block allocation tables: pages, reading, writing, flushing; see bat.h. */
#include "bat.h"
#include "../src/log.h"

#include <errno.h>
#include <stdlib.h>

#define BUDGET (16u << 20)		/* bytes of loaded pages */
#define MAX_DIRTY 64u
#define IOVS 64
#define SECTOR 512u

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
	int err;

	if (size < b->size)
		return err_set(e, HV_EXIT_USAGE, "%s: %s images cannot shrink; convert it to a "
			       "smaller one", b->im->path, b->im->fmt->name);
	if (b->im->backing)
		return err_set(e, HV_EXIT_USAGE, "%s: has a parent of a fixed size; convert it to "
			       "one image first", b->im->path);
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

/* ---- pages ------------------------------------------------------------------ */

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

static int get_page(struct bat *b, uint64_t i, struct bat_page **out)
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
	int err = get_page(b, block / b->page_n, &p);

	*e = err ? BAT_BAD : p->e[block % b->page_n];
	return err;
}

int bat_set(struct bat *b, uint64_t block, uint64_t e)
{
	struct bat_page *p;
	int err = get_page(b, block / b->page_n, &p);

	if (err)
		return err;
	p->e[block % b->page_n] = e;
	b->ndirty += !p->dirty;
	p->dirty = true;
	return 0;
}

/* Exclusive.  Data first, then what points to it. */
static int flush_pages(struct bat *b)
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
	err = flush_pages(b);
	pthread_rwlock_unlock(&b->lock);
	return err ? err : hf_sync(b->f);
}

/* ---- reading ------------------------------------------------------------------ */

int bat_read_backing(struct image *im, uint64_t off, uint64_t len, const struct iovec *iov,
		     unsigned niov, uint64_t iov_off)
{
	struct image *below = im->backing;
	uint64_t have = !below || off >= below->size ? 0 : MIN(len, below->size - off), pos = 0;
	int err = 0;

	iov_zero(iov, niov, iov_off + have, len - have);
	while (pos < have && !err) {
		struct iovec v[IOVS];
		uint64_t n;
		unsigned k = iov_slice(iov, niov, iov_off + pos, have - pos, v, IOVS, &n);

		err = n ? image_io(below, BLOCK_READ, off + pos, n, v, k) : EINVAL;
		pos += n;
	}
	return err;
}

static int move_data(struct bat *b, bool write, uint64_t host, uint64_t len,
		     const struct iovec *iov, unsigned niov, uint64_t iov_off)
{
	uint64_t pos = 0;
	int err = 0;

	while (pos < len && !err) {
		struct iovec v[IOVS];
		uint64_t n;
		unsigned k = iov_slice(iov, niov, iov_off + pos, len - pos, v, IOVS, &n);

		if (!n)
			return EINVAL;
		err = write ? hf_pwritev(b->f, v, k, host + pos)
			    : hf_preadv(b->f, v, k, host + pos);
		pos += n;
	}
	return err;
}

static bool bit(const uint8_t *bits, uint64_t i)
{
	return bits[i / 8] >> (i % 8) & 1;
}

/* Sectors from @s on, before @max, that are all here or all not. */
static uint64_t bit_run(const uint8_t *bits, uint64_t s, uint64_t max, bool *here)
{
	uint64_t i = s;

	*here = bit(bits, s);
	while (i < max && bit(bits, i) == *here)
		i++;
	return i - s;
}

static int load_bitmap(struct bat *b, uint64_t block, uint64_t host, uint8_t **bits)
{
	int err;

	*bits = calloc(1, (1ull << b->bits) / SECTOR / 8 + SECTOR);
	err = *bits ? b->ops->bitmap(b, block, host, *bits) : ENOMEM;
	if (err) {
		free(*bits);
		*bits = NULL;
	}
	return err;
}

/* A block that turned out to be complete needs no second look. */
static void settle(struct bat *b, uint64_t block, const uint8_t *bits)
{
	struct bat_page *p;
	uint64_t all = (1ull << b->bits) / SECTOR;
	bool here;

	if (bit_run(bits, 0, all, &here) != all || !here)
		return;
	pthread_mutex_lock(&b->cache_lock);
	if (!get_page(b, block / b->page_n, &p))
		p->e[block % b->page_n] &= ~BAT_PARTIAL;
	pthread_mutex_unlock(&b->cache_lock);
}

static int read_partial(struct bat *b, uint64_t e, uint64_t off, uint64_t len,
			const struct iovec *iov, unsigned niov, uint64_t iov_off)
{
	uint64_t block = off >> b->bits, in = off & ((1ull << b->bits) - 1);
	uint8_t *bits;
	int err = load_bitmap(b, block, BAT_HOST(e), &bits);
	bool here = false;

	while (len && !err) {
		uint64_t n = bit_run(bits, in / SECTOR, (in + len + SECTOR - 1) / SECTOR, &here);

		n = MIN(n * SECTOR - in % SECTOR, len);
		err = here ? move_data(b, false, BAT_HOST(e) + in, n, iov, niov, iov_off) :
			bat_read_backing(b->im, b->base + (block << b->bits) + in, n, iov, niov,
					 iov_off);
		in += n;
		iov_off += n;
		len -= n;
	}
	if (!err && here)
		settle(b, block, bits);
	free(bits);
	return err;
}

static int read_packed(struct bat *b, uint64_t e, uint64_t in, uint64_t len,
		       const struct iovec *iov, unsigned niov, uint64_t iov_off)
{
	uint64_t host = BAT_HOST(e);
	int err = 0;

	pthread_mutex_lock(&b->cache_lock);
	if (!b->unpacked)
		b->unpacked = malloc(1ull << b->bits);
	if (!b->unpacked)
		err = ENOMEM;
	if (!err && b->unpacked_host != host) {
		b->unpacked_host = 0;
		err = b->ops->unpack(b, host, b->unpacked);
		if (!err)
			b->unpacked_host = host;
	}
	if (!err)
		iov_from_buf(iov, niov, iov_off, b->unpacked + in, len);
	pthread_mutex_unlock(&b->cache_lock);
	return err;
}

static int read_entry(struct bat *b, uint64_t e, uint64_t off, uint64_t len,
		      const struct iovec *iov, unsigned niov, uint64_t iov_off)
{
	uint64_t in = off & ((1ull << b->bits) - 1);

	if (e == BAT_NONE)
		return bat_read_backing(b->im, b->base + off, len, iov, niov, iov_off);
	if (e == BAT_ZERO) {
		iov_zero(iov, niov, iov_off, len);
		return 0;
	}
	if (e == BAT_BAD) {
		log_limited(LOG_ERROR, "%s: damaged: block %llu has an invalid entry", b->im->path,
			    (unsigned long long)(off >> b->bits));
		return EIO;
	}
	if (e & BAT_PACKED)
		return read_packed(b, e, in, len, iov, niov, iov_off);
	if (e & BAT_PARTIAL)
		return read_partial(b, e, off, len, iov, niov, iov_off);
	return move_data(b, false, BAT_HOST(e) + in, len, iov, niov, iov_off);
}

static int get_shared(struct bat *b, uint64_t block, uint64_t *e)
{
	int err;

	pthread_mutex_lock(&b->cache_lock);
	err = bat_get(b, block, e);
	pthread_mutex_unlock(&b->cache_lock);
	return err;
}

static bool plain(uint64_t e)
{
	return e > 511 && !(e & 511);
}

/* Bytes from @off that one entry, or adjacent plain ones, serve; shared. */
static int run_of(struct bat *b, uint64_t off, uint64_t len, uint64_t *e, uint64_t *n)
{
	uint64_t block = off >> b->bits, size = 1ull << b->bits, next;
	int err = get_shared(b, block, e);

	*n = MIN(size - (off & (size - 1)), len);
	while (!err && *n < len) {
		err = get_shared(b, ++block, &next);
		if (err || (plain(*e) ? next != *e + ((block - (off >> b->bits)) << b->bits) :
			    next != *e || *e > BAT_ZERO))
			break;
		*n = MIN(*n + size, len);
	}
	return err;
}

static int bat_read(struct bat *b, uint64_t off, uint64_t len, const struct iovec *iov,
		    unsigned niov, uint64_t iov_off)
{
	int err = 0;

	pthread_rwlock_rdlock(&b->lock);
	while (len && !err) {
		uint64_t e, n;

		err = run_of(b, off, len, &e, &n);
		if (!err)
			err = read_entry(b, e, off, n, iov, niov, iov_off);
		off += n;
		iov_off += n;
		len -= n;
	}
	pthread_rwlock_unlock(&b->lock);
	return err;
}

static int place_entry(struct bat *b, uint64_t e, uint64_t off, struct image_place *p)
{
	struct image *below = b->im->backing;

	if (e == BAT_NONE && below && b->base + off < below->size)
		return image_place(below, false, b->base + off,
				   MIN(p->len, below->size - b->base - off), p);
	if (!plain(e) && e != BAT_NONE && e != BAT_ZERO)
		return EAGAIN;
	p->file = plain(e) ? b->f : NULL;
	p->off = BAT_HOST(e) + (off & ((1ull << b->bits) - 1));
	return 0;
}

int bat_place(struct bat *b, bool write, uint64_t off, struct image_place *p)
{
	uint64_t block = off >> b->bits, size = 1ull << b->bits, e = BAT_BAD;
	int err = EAGAIN;

	if (write || pthread_rwlock_tryrdlock(&b->lock))
		return EAGAIN;
	if (!pthread_mutex_trylock(&b->cache_lock)) {
		struct bat_page *page = &b->page[block / b->page_n];

		if (page->e) {
			page->recent = true;
			e = page->e[block % b->page_n];
			err = 0;
		}
		pthread_mutex_unlock(&b->cache_lock);
	}
	p->len = MIN(p->len, size - (off & (size - 1)));
	if (!err)
		err = place_entry(b, e, off, p);
	pthread_rwlock_unlock(&b->lock);
	return err;
}

/* ---- writing ------------------------------------------------------------------- */

/* [from, to) of a new block at @host as it was seen before. */
static int fill_part(struct bat *b, uint64_t block, uint64_t e, uint64_t host, uint64_t from,
		     uint64_t to)
{
	struct iovec v = { NULL, to - from };
	int err;

	if (from >= to)
		return 0;
	if (!b->fill_alloc && (e == BAT_ZERO || (e == BAT_NONE && !b->im->backing)))
		return 0;	/* new space is zeros */
	v.iov_base = calloc(1, v.iov_len);
	if (!v.iov_base)
		return ENOMEM;
	err = read_entry(b, e, (block << b->bits) + from, v.iov_len, &v, 1, 0);
	if (!err)
		err = hf_pwrite(b->f, v.iov_base, v.iov_len, host + from);
	free(v.iov_base);
	return err;
}

static int write_new(struct bat *b, uint64_t e, uint64_t off, uint64_t len,
		     const struct iovec *iov, unsigned niov, uint64_t iov_off)
{
	uint64_t size = 1ull << b->bits, block = off >> b->bits, in = off & (size - 1), host;
	int err = b->ndirty > MAX_DIRTY ? flush_pages(b) : 0;

	if (!err)
		err = b->ops->place(b, block, &host);
	if (!err)
		err = fill_part(b, block, e, host, 0, in);
	if (!err)
		err = fill_part(b, block, e, host, in + len, size);
	if (!err && iov)
		err = move_data(b, true, host + in, len, iov, niov, iov_off);
	return err ? err : bat_set(b, block, host);
}

/* The missing sectors from below, then the mark that all are here. */
static int complete_block(struct bat *b, uint64_t block, uint64_t *e)
{
	uint64_t sectors = (1ull << b->bits) / SECTOR, s = 0, n;
	uint8_t *bits;
	int err = load_bitmap(b, block, BAT_HOST(*e), &bits);
	bool here;

	for (; !err && s < sectors; s += n) {
		struct iovec v;

		n = bit_run(bits, s, sectors, &here);
		if (here)
			continue;
		v = (struct iovec){ calloc(n, SECTOR), n * SECTOR };
		err = !v.iov_base ? ENOMEM :
			bat_read_backing(b->im, b->base + (block << b->bits) + s * SECTOR,
					 v.iov_len, &v, 1, 0);
		if (!err)
			err = hf_pwrite(b->f, v.iov_base, v.iov_len, BAT_HOST(*e) + s * SECTOR);
		free(v.iov_base);
	}
	free(bits);
	if (!err)
		err = hf_sync(b->f);
	return err ? err : b->ops->complete(b, block, e);
}

static int write_exclusive(struct bat *b, uint64_t off, uint64_t len, const struct iovec *iov,
			   unsigned niov, uint64_t iov_off)
{
	uint64_t e, in = off & ((1ull << b->bits) - 1);
	int err = bat_get(b, off >> b->bits, &e);

	if (err)
		return err;
	if (e == BAT_BAD || (e > 511 && (e & BAT_PACKED)))
		return EIO;
	if (e > 511 && (e & BAT_PARTIAL))
		err = complete_block(b, off >> b->bits, &e);
	if (err)
		return err;
	if (plain(e))
		return move_data(b, true, BAT_HOST(e) + in, len, iov, niov, iov_off);
	return write_new(b, e, off, len, iov, niov, iov_off);
}

static int bat_write(struct bat *b, uint64_t off, uint64_t len, const struct iovec *iov,
		     unsigned niov, uint64_t iov_off)
{
	int err = 0;

	while (len && !err) {
		uint64_t e, n;
		bool here;

		pthread_rwlock_rdlock(&b->lock);
		err = run_of(b, off, len, &e, &n);
		here = !err && plain(e);
		if (here)
			err = move_data(b, true, BAT_HOST(e) + (off & ((1ull << b->bits) - 1)), n,
					iov, niov, iov_off);
		pthread_rwlock_unlock(&b->lock);
		if (!err && !here) {
			n = MIN((1ull << b->bits) - (off & ((1ull << b->bits) - 1)), len);
			pthread_rwlock_wrlock(&b->lock);
			err = write_exclusive(b, off, n, iov, niov, iov_off);
			pthread_rwlock_unlock(&b->lock);
		}
		off += n;
		iov_off += n;
		len -= n;
	}
	return err;
}

/* ---- zeros ------------------------------------------------------------------------ */

static int write_zero_data(struct bat *b, uint64_t off, uint64_t len)
{
	static const uint8_t zeros[65536];
	int err = 0;

	while (len && !err) {
		struct iovec v = { (void *)zeros, MIN(len, sizeof(zeros)) };

		err = write_exclusive(b, off, v.iov_len, &v, 1, 0);
		off += v.iov_len;
		len -= v.iov_len;
	}
	return err;
}

/* Inside one block; exclusive. */
static int zero_block(struct bat *b, uint64_t off, uint64_t len)
{
	uint64_t e, in = off & ((1ull << b->bits) - 1), end = b->size - off;
	bool whole = !in && (len == 1ull << b->bits || len == end);
	int err = bat_get(b, off >> b->bits, &e);

	if (err || e == BAT_ZERO || (e == BAT_NONE && !b->im->backing))
		return err;
	if (plain(e))
		return hf_zero(b->f, BAT_HOST(e) + in, len, b->im->flags & BLOCK_DISCARD_ON);
	if (e == BAT_NONE && whole && b->can_zero)
		return bat_set(b, off >> b->bits, BAT_ZERO);
	return write_zero_data(b, off, len);
}

static int bat_zero(struct bat *b, uint64_t off, uint64_t len, bool discard)
{
	int err = 0;

	while (len && !err) {
		uint64_t n = MIN((1ull << b->bits) - (off & ((1ull << b->bits) - 1)), len), e;

		pthread_rwlock_wrlock(&b->lock);
		err = b->ndirty > MAX_DIRTY ? flush_pages(b) : 0;
		if (!err)
			err = bat_get(b, off >> b->bits, &e);
		/* A discard must not cost space. */
		if (!err && (!discard || plain(e)))
			err = zero_block(b, off, n);
		pthread_rwlock_unlock(&b->lock);
		off += n;
		len -= n;
	}
	return err;
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

/* ---- hvrun img ---------------------------------------------------------------------- */

static int map_partial(struct bat *b, uint64_t e, uint64_t off, uint64_t *n, enum image_kind *k)
{
	uint64_t in = off & ((1ull << b->bits) - 1);
	uint8_t *bits;
	bool here;
	int err = load_bitmap(b, off >> b->bits, BAT_HOST(e), &bits);

	if (err)
		return err;
	*n = MIN(bit_run(bits, in / SECTOR, (1ull << b->bits) / SECTOR, &here) * SECTOR -
		 in % SECTOR, *n);
	*k = here ? IMAGE_DATA : IMAGE_BELOW;
	free(bits);
	return 0;
}

int bat_map(struct bat *b, uint64_t off, uint64_t len, uint64_t *n, enum image_kind *k)
{
	uint64_t e;
	int err;

	pthread_rwlock_rdlock(&b->lock);
	err = run_of(b, off, MIN(len, b->size - off), &e, n);
	*k = e == BAT_NONE ? IMAGE_BELOW : e == BAT_ZERO ? IMAGE_ZERO : IMAGE_DATA;
	if (!err && e > 511 && (e & BAT_PARTIAL))
		err = map_partial(b, e, off, n, k);
	pthread_rwlock_unlock(&b->lock);
	return err;
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
