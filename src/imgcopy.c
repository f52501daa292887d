/* SPDX-License-Identifier: MIT */
/*
 * Copying the content of one image into another: several threads, each
 * taking the next piece, reading it, dropping zeros, and writing it.
 *
 * Compressed units are packed in parallel and stored in the order of the
 * disk: a thread waits for its turn only to store.
 */
#include "img_int.h"

#include <errno.h>
#include <stdlib.h>

#define PIECE (2u << 20)		/* bytes a thread takes at once */
#define GRAIN 4096u			/* zeros shorter than this are written */

struct job {
	struct img_copy *c;
	pthread_mutex_t lock;		/* below */
	pthread_cond_t turn;
	uint64_t at;			/* next byte to hand out */
	uint64_t taken, stored;		/* tickets */
	int err;
	bool src_failed;
};

bool img_is_zero(const void *p, size_t n)
{
	const uint64_t *w = p;
	size_t i = 0;

	for (; i + 8 <= n / 8; i += 8)
		if (w[i] | w[i + 1] | w[i + 2] | w[i + 3] | w[i + 4] | w[i + 5] | w[i + 6] |
		    w[i + 7])
			return false;
	for (i *= 8; i < n; i++)
		if (((const uint8_t *)p)[i])
			return false;
	return true;
}

int img_chain_map(struct image *im, uint64_t off, uint64_t len, uint64_t *n, enum image_kind *k)
{
	int err = 0;

	for (; im; im = im->backing) {
		if (off >= im->size) {
			*n = len;
			*k = IMAGE_ZERO;
			return 0;
		}
		len = MIN(len, im->size - off);
		err = image_map(im, off, len, n, k);
		if (err || *k != IMAGE_BELOW)
			return err;
		len = *n;
	}
	*k = IMAGE_ZERO;
	*n = len;
	return 0;
}

/* The next piece with something to write: its place and kind.  Under the lock. */
static bool next_piece(struct job *j, uint64_t *off, uint64_t *len, enum image_kind *k)
{
	struct img_copy *c = j->c;

	while (!j->err && j->at < c->size) {
		uint64_t n, want = PIECE - j->at % PIECE;

		want = MIN(want, c->size - j->at);
		if (j->at >= c->src->size) {
			n = c->size - j->at;
			*k = IMAGE_ZERO;
		} else if (c->own_only) {
			j->err = image_map(c->src, j->at, MIN(want, c->src->size - j->at), &n, k);
		} else {
			j->err = img_chain_map(c->src, j->at, c->size - j->at, &n, k);
		}
		/* Packed units must not be cut: take whole pieces, zeros are found in them. */
		if (c->pack && *k != IMAGE_ZERO)
			n = want;
		else if (c->pack && n < want)
			*k = IMAGE_DATA, n = want;
		else if (c->pack && n > want)
			n -= (j->at + n) % PIECE;
		if (*k == IMAGE_DATA)
			n = MIN(n, want);
		if (j->err) {
			j->src_failed = true;
			break;
		}
		*off = j->at;
		*len = n;
		j->at += n;
		img_bar_update(c->bar, j->at);
		if (*k == IMAGE_BELOW || (*k == IMAGE_ZERO && c->fresh))
			continue;
		return true;
	}
	return false;
}

static int write_at(struct image *im, uint64_t off, uint8_t *buf, uint64_t len)
{
	struct iovec v = { buf, len };

	return image_io(im, BLOCK_WRITE, off, len, &v, 1);
}

/* Plain writing: runs of data, zeros skipped or written as such. */
static int write_sparse(struct img_copy *c, uint64_t off, uint8_t *buf, uint64_t len)
{
	uint64_t at = 0;
	int err = 0;

	while (at < len && !err) {
		bool zero = img_is_zero(buf + at, MIN(GRAIN, len - at));
		uint64_t n = MIN(GRAIN, len - at);

		while (at + n < len &&
		       img_is_zero(buf + at + n, MIN(GRAIN, len - at - n)) == zero)
			n += MIN(GRAIN, len - at - n);
		if (!zero)
			err = write_at(c->dst, off + at, buf + at, n);
		else if (!c->fresh)
			err = image_io(c->dst, BLOCK_WRITE_ZEROES, off + at, n, NULL, 0);
		at += n;
	}
	return err;
}

/* What packing made of one unit. */
struct packed {
	uint32_t len;		/* 0: as it is */
	bool zero;
};

static int pack_piece(struct img_copy *c, const uint8_t *buf, uint64_t len, uint32_t unit,
		      uint8_t *out, struct packed *p)
{
	const struct image_tool *t = c->dst->fmt->tool;
	int err = 0;

	for (uint64_t at = 0; at < len && !err; at += unit, p++, out += unit) {
		p->zero = img_is_zero(buf + at, unit);
		p->len = 0;
		if (!p->zero)
			err = t->pack(c->dst, buf + at, out, &p->len);
	}
	return err;
}

static int store_piece(struct img_copy *c, uint64_t off, uint8_t *buf, uint64_t len,
		       uint32_t unit, const uint8_t *out, const struct packed *p)
{
	const struct image_tool *t = c->dst->fmt->tool;
	int err = 0;

	for (uint64_t at = 0; at < len && !err; at += unit, p++, out += unit) {
		if (p->zero)
			continue;
		err = p->len ? t->write_packed(c->dst, off + at, out, p->len) :
			write_at(c->dst, off + at, buf + at, MIN(unit, len - at));
	}
	return err;
}

static void wait_turn(struct job *j, uint64_t ticket)
{
	pthread_mutex_lock(&j->lock);
	while (j->stored != ticket)
		pthread_cond_wait(&j->turn, &j->lock);
	pthread_mutex_unlock(&j->lock);
}

static void pass_turn(struct job *j)
{
	pthread_mutex_lock(&j->lock);
	j->stored++;
	pthread_cond_broadcast(&j->turn);
	pthread_mutex_unlock(&j->lock);
}

struct buffers {
	uint8_t *in, *out;
	struct packed *p;
};

static int do_piece(struct job *j, struct buffers *b, uint64_t off, uint64_t len,
		    enum image_kind k, uint64_t ticket, bool *src_failed)
{
	struct img_copy *c = j->c;
	uint32_t unit = c->pack ? c->dst->fmt->tool->pack_unit(c->dst) : 0;
	uint64_t have = off >= c->src->size ? 0 : MIN(len, c->src->size - off);
	struct iovec v = { b->in, have };
	int err = 0;

	if (k == IMAGE_ZERO && !c->pack)
		return image_io(c->dst, BLOCK_WRITE_ZEROES, off, len, NULL, 0);
	if (k != IMAGE_ZERO && have)
		err = image_io(c->src, BLOCK_READ, off, have, &v, 1);
	else
		have = 0;
	*src_failed = err != 0;
	if (!c->pack) {
		memset(b->in + have, 0, len - have);
		return err ? err : write_sparse(c, off, b->in, len);
	}
	memset(b->in + have, 0, (len + unit - 1) / unit * unit - have);
	if (!err)
		err = pack_piece(c, b->in, len, unit, b->out, b->p);
	wait_turn(j, ticket);
	if (!err)
		err = store_piece(c, off, b->in, len, unit, b->out, b->p);
	pass_turn(j);
	return err;
}

static bool buffers_init(const struct img_copy *c, struct buffers *b)
{
	uint32_t unit = c->pack ? c->dst->fmt->tool->pack_unit(c->dst) : 0;

	b->in = aligned_alloc(4096, PIECE + unit);
	b->out = c->pack ? malloc(PIECE + unit) : NULL;
	b->p = c->pack ? calloc(PIECE / unit + 2, sizeof(*b->p)) : NULL;
	return b->in && (!c->pack || (b->out && b->p));
}

static void *copier(void *arg)
{
	struct job *j = arg;
	struct buffers b = { 0 };
	uint64_t off, len, ticket;
	enum image_kind k;
	int err = buffers_init(j->c, &b) ? 0 : ENOMEM;
	bool src = false;

	for (;;) {
		pthread_mutex_lock(&j->lock);
		if (err && !j->err) {
			j->err = err;
			j->src_failed = src;
		}
		if (atomic_load(&img_cancelled) && !j->err)
			j->err = ECANCELED;
		if (j->err || !next_piece(j, &off, &len, &k)) {
			pthread_mutex_unlock(&j->lock);
			break;
		}
		ticket = j->taken++;
		j->c->written += k == IMAGE_DATA ? len : 0;
		pthread_mutex_unlock(&j->lock);
		err = do_piece(j, &b, off, len, k, ticket, &src);
	}
	free(b.in);
	free(b.out);
	free(b.p);
	return NULL;
}

bool img_copy_run(struct img_copy *c, struct err *e)
{
	struct job j = { .c = c };
	pthread_t t[16];
	unsigned n = 0;

	pthread_mutex_init(&j.lock, NULL);
	pthread_cond_init(&j.turn, NULL);
	while (n + 1 < MIN(c->threads, 16u) && !pthread_create(&t[n], NULL, copier, &j))
		n++;
	copier(&j);
	while (n)
		pthread_join(t[--n], NULL);
	pthread_mutex_destroy(&j.lock);
	pthread_cond_destroy(&j.turn);
	img_bar_end(c->bar, !j.err);
	if (j.err == ECANCELED)
		return img_was_cancelled(e);
	if (j.err && j.src_failed)
		return err_errno(e, HV_EXIT_IMAGE, j.err, "%s: cannot read the disk", c->src->path);
	return !j.err || err_errno(e, HV_EXIT_HOST, j.err, "%s: cannot write", c->dst->path);
}
