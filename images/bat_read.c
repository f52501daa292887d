/* SPDX-License-Identifier: MIT */
/* Block allocation tables: reading, and where data is; see bat.h. */
#include "bat_int.h"
#include "../src/log.h"
#include <errno.h>
#include <stdlib.h>

static bool bit(const uint8_t *bits, uint64_t i)
{
	return bits[i / 8] >> (i % 8) & 1;
}

uint64_t bat_bit_run(const uint8_t *bits, uint64_t s, uint64_t max, bool *here)
{
	uint64_t i = s;

	*here = bit(bits, s);
	while (i < max && bit(bits, i) == *here)
		i++;
	return i - s;
}

int bat_load_bitmap(struct bat *b, uint64_t block, uint64_t host, uint8_t **bits)
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

	if (bat_bit_run(bits, 0, all, &here) != all || !here)
		return;
	pthread_mutex_lock(&b->cache_lock);
	if (!bat_get_page(b, block / b->page_n, &p))
		p->e[block % b->page_n] &= ~BAT_PARTIAL;
	pthread_mutex_unlock(&b->cache_lock);
}

static int read_partial(struct bat *b, uint64_t e, uint64_t off, uint64_t len,
			const struct iovec *iov, unsigned niov, uint64_t iov_off)
{
	uint64_t block = off >> b->bits, in = off & ((1ull << b->bits) - 1);
	uint8_t *bits;
	int err = bat_load_bitmap(b, block, BAT_HOST(e), &bits);
	bool here = false;

	while (len && !err) {
		uint64_t end = (in + len + SECTOR - 1) / SECTOR;
		uint64_t n = bat_bit_run(bits, in / SECTOR, end, &here);

		n = MIN(n * SECTOR - in % SECTOR, len);
		err = here ? hf_move(b->f, false, BAT_HOST(e) + in, n, iov, niov, iov_off) :
			image_read_backing(b->im, b->base + (block << b->bits) + in, n, iov, niov,
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

int bat_read_entry(struct bat *b, uint64_t e, uint64_t off, uint64_t len, const struct iovec *iov,
		   unsigned niov, uint64_t iov_off)
{
	uint64_t in = off & ((1ull << b->bits) - 1);

	if (e == BAT_NONE)
		return image_read_backing(b->im, b->base + off, len, iov, niov, iov_off);
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
	return hf_move(b->f, false, BAT_HOST(e) + in, len, iov, niov, iov_off);
}

static int get_shared(struct bat *b, uint64_t block, uint64_t *e)
{
	int err;

	pthread_mutex_lock(&b->cache_lock);
	err = bat_get(b, block, e);
	pthread_mutex_unlock(&b->cache_lock);
	return err;
}

int bat_run_of(struct bat *b, uint64_t off, uint64_t len, uint64_t *e, uint64_t *n)
{
	uint64_t block = off >> b->bits, size = 1ull << b->bits, next;
	int err = get_shared(b, block, e);

	*n = MIN(size - (off & (size - 1)), len);
	while (!err && *n < len) {
		err = get_shared(b, ++block, &next);
		if (err || (bat_plain(*e) ? next != *e + ((block - (off >> b->bits)) << b->bits) :
			    next != *e || *e > BAT_ZERO))
			break;
		*n = MIN(*n + size, len);
	}
	return err;
}

int bat_read(struct bat *b, uint64_t off, uint64_t len, const struct iovec *iov, unsigned niov,
	     uint64_t iov_off)
{
	int err = 0;

	pthread_rwlock_rdlock(&b->lock);
	while (len && !err) {
		uint64_t e, n;

		err = bat_run_of(b, off, len, &e, &n);
		if (!err)
			err = bat_read_entry(b, e, off, n, iov, niov, iov_off);
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
	if (!bat_plain(e) && e != BAT_NONE && e != BAT_ZERO)
		return EAGAIN;
	p->file = bat_plain(e) ? b->f : NULL;
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

static int map_partial(struct bat *b, uint64_t e, uint64_t off, uint64_t *n, enum image_kind *k)
{
	uint64_t in = off & ((1ull << b->bits) - 1);
	uint8_t *bits;
	bool here;
	int err = bat_load_bitmap(b, off >> b->bits, BAT_HOST(e), &bits);

	if (err)
		return err;
	*n = MIN(bat_bit_run(bits, in / SECTOR, (1ull << b->bits) / SECTOR, &here) * SECTOR -
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
	err = bat_run_of(b, off, MIN(len, b->size - off), &e, n);
	*k = e == BAT_NONE ? IMAGE_BELOW : e == BAT_ZERO ? IMAGE_ZERO : IMAGE_DATA;
	if (!err && e > 511 && (e & BAT_PARTIAL))
		err = map_partial(b, e, off, n, k);
	pthread_rwlock_unlock(&b->lock);
	return err;
}
