/* SPDX-License-Identifier: MIT */
/* Block allocation tables: writing, zeros and discards; see bat.h. */
#include "bat_int.h"
#include <errno.h>
#include <stdlib.h>

#define MAX_DIRTY 64u

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
	err = bat_read_entry(b, e, (block << b->bits) + from, v.iov_len, &v, 1, 0);
	if (!err)
		err = hf_pwrite(b->f, v.iov_base, v.iov_len, host + from);
	free(v.iov_base);
	return err;
}

static int write_new(struct bat *b, uint64_t e, uint64_t off, uint64_t len,
		     const struct iovec *iov, unsigned niov, uint64_t iov_off)
{
	uint64_t size = 1ull << b->bits, block = off >> b->bits, in = off & (size - 1), host;
	int err = b->ndirty > MAX_DIRTY ? bat_flush_pages(b) : 0;

	if (!err)
		err = b->ops->place(b, block, &host);
	if (!err)
		err = fill_part(b, block, e, host, 0, in);
	if (!err)
		err = fill_part(b, block, e, host, in + len, size);
	if (!err && iov)
		err = hf_move(b->f, true, host + in, len, iov, niov, iov_off);
	return err ? err : bat_set(b, block, host);
}

/* The missing sectors from below, then the mark that all are here. */
static int complete_block(struct bat *b, uint64_t block, uint64_t *e)
{
	uint64_t sectors = (1ull << b->bits) / SECTOR, s = 0, n;
	uint8_t *bits;
	int err = bat_load_bitmap(b, block, BAT_HOST(*e), &bits);
	bool here;

	for (; !err && s < sectors; s += n) {
		struct iovec v;

		n = bat_bit_run(bits, s, sectors, &here);
		if (here)
			continue;
		v = (struct iovec){ calloc(n, SECTOR), n * SECTOR };
		err = !v.iov_base ? ENOMEM :
			image_read_backing(b->im, b->base + (block << b->bits) + s * SECTOR,
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
	if (bat_plain(e))
		return hf_move(b->f, true, BAT_HOST(e) + in, len, iov, niov, iov_off);
	return write_new(b, e, off, len, iov, niov, iov_off);
}

int bat_write(struct bat *b, uint64_t off, uint64_t len, const struct iovec *iov, unsigned niov,
	      uint64_t iov_off)
{
	int err = 0;

	while (len && !err) {
		uint64_t e, n;
		bool here;

		pthread_rwlock_rdlock(&b->lock);
		err = bat_run_of(b, off, len, &e, &n);
		here = !err && bat_plain(e);
		if (here)
			err = hf_move(b->f, true, BAT_HOST(e) + (off & ((1ull << b->bits) - 1)), n,
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
	if (bat_plain(e))
		return hf_zero(b->f, BAT_HOST(e) + in, len, b->im->flags & BLOCK_DISCARD_ON);
	if (e == BAT_NONE && whole && b->can_zero)
		return bat_set(b, off >> b->bits, BAT_ZERO);
	return write_zero_data(b, off, len);
}

int bat_zero(struct bat *b, uint64_t off, uint64_t len, bool discard)
{
	int err = 0;

	while (len && !err) {
		uint64_t n = MIN((1ull << b->bits) - (off & ((1ull << b->bits) - 1)), len), e;

		pthread_rwlock_wrlock(&b->lock);
		err = b->ndirty > MAX_DIRTY ? bat_flush_pages(b) : 0;
		if (!err)
			err = bat_get(b, off >> b->bits, &e);
		/* A discard must not cost space. */
		if (!err && (!discard || bat_plain(e)))
			err = zero_block(b, off, n);
		pthread_rwlock_unlock(&b->lock);
		off += n;
		len -= n;
	}
	return err;
}
