/* SPDX-License-Identifier: MIT */
/*
 * Bounded cache of metadata tables (L2 tables, refcount blocks), one cluster
 * each, found by hash, replaced by second chance.  Only clean tables are
 * replaced: writing has an order that the cache does not know.
 */
#include "qcow2_int.h"

#include <errno.h>
#include <stdlib.h>

bool qc_cache_init(struct qc_cache *c, uint32_t n, uint32_t tsize)
{
	c->n = n;
	c->tsize = tsize;
	for (c->nbuckets = 16; c->nbuckets < n;)
		c->nbuckets *= 2;
	c->e = calloc(n, sizeof(*c->e));
	c->bucket = calloc(c->nbuckets, sizeof(*c->bucket));
	return c->e && c->bucket;
}

void qc_cache_free(struct qc_cache *c)
{
	for (uint32_t i = 0; c->e && i < c->n; i++)
		free(c->e[i].buf);
	free(c->e);
	free(c->bucket);
}

static uint32_t *chain(struct qc_cache *c, uint64_t off)
{
	uint64_t h = (off / c->tsize) * 0x9e3779b97f4a7c15ull;

	return &c->bucket[(h >> 32) & (c->nbuckets - 1)];
}

static struct qc_entry *lookup(struct qc_cache *c, uint64_t off)
{
	for (uint32_t i = *chain(c, off); i; i = c->e[i - 1].next)
		if (c->e[i - 1].off == off)
			return &c->e[i - 1];
	return NULL;
}

static void unhash(struct qc_cache *c, struct qc_entry *e)
{
	uint32_t *link = chain(c, e->off), me = (uint32_t)(e - c->e) + 1;

	while (*link && *link != me)
		link = &c->e[*link - 1].next;
	if (*link)
		*link = e->next;
	if (e->dirty)
		c->ndirty--;
	e->off = 0;
	e->dirty = 0;
}

void qc_cache_drop(struct qc_cache *c, uint64_t off)
{
	struct qc_entry *e = lookup(c, off);

	if (e)
		unhash(c, e);
}

/* An empty or clean, not recently used entry; NULL if all are dirty. */
static struct qc_entry *victim(struct qc_cache *c)
{
	for (uint32_t i = 0; i < 2 * c->n; i++) {
		struct qc_entry *e = &c->e[c->hand];

		c->hand = (c->hand + 1) % c->n;
		if (!e->off)
			return e;
		if (e->dirty)
			continue;
		if (!e->recent)
			return e;
		e->recent = false;
	}
	return NULL;
}

static int claim(struct qcow2 *q, struct qc_cache *c, uint64_t off, struct qc_entry **out)
{
	struct qc_entry *e = victim(c);
	int err;

	/* Refcounts may reach the disk early, so their cache can help itself. */
	if (!e && c == &q->rbc) {
		err = qc_cache_write(q, c);
		if (err)
			return err;
		e = victim(c);
	}
	if (!e)
		return EIO;
	if (!e->buf)
		e->buf = malloc(c->tsize);
	if (!e->buf)
		return ENOMEM;
	if (e->off)
		unhash(c, e);
	*out = e;
	return 0;
}

static void insert(struct qc_cache *c, struct qc_entry *e, uint64_t off)
{
	uint32_t *head = chain(c, off);

	e->off = off;
	e->recent = true;
	e->next = *head;
	*head = (uint32_t)(e - c->e) + 1;
}

struct qc_entry *qc_cache_peek(struct qc_cache *c, uint64_t off)
{
	struct qc_entry *e = lookup(c, off);

	if (e)
		e->recent = true;
	return e;
}

int qc_cache_get(struct qcow2 *q, struct qc_cache *c, uint64_t off, struct qc_entry **out)
{
	struct qc_entry *e = lookup(c, off);
	int err;

	if (!e) {
		err = claim(q, c, off, &e);
		if (!err)
			err = hf_pread(q->f, e->buf, c->tsize, off);
		if (err)
			return err;
		insert(c, e, off);
	}
	e->recent = true;
	*out = e;
	return 0;
}

int qc_cache_new(struct qcow2 *q, struct qc_cache *c, uint64_t off, struct qc_entry **out)
{
	struct qc_entry *e = lookup(c, off);
	int err = e ? 0 : claim(q, c, off, &e);

	if (err)
		return err;
	if (!e->off)
		insert(c, e, off);
	memset(e->buf, 0, c->tsize);
	qc_cache_mark(c, e, 0, c->tsize);
	*out = e;
	return 0;
}

void qc_cache_mark(struct qc_cache *c, struct qc_entry *e, uint32_t at, uint32_t len)
{
	uint32_t part = c->tsize / 64, first = at / part, last = (at + len - 1) / part;

	if (!e->dirty)
		c->ndirty++;
	for (uint32_t i = first; i <= last; i++)
		e->dirty |= 1ull << i;
}

/* Write the dirty parts of one table, adjacent ones in one go. */
static int write_entry(struct qcow2 *q, struct qc_cache *c, struct qc_entry *e)
{
	uint32_t part = c->tsize / 64;

	for (uint32_t i = 0; i < 64; i++) {
		uint32_t n = 0;
		int err;

		while (i + n < 64 && (e->dirty >> (i + n) & 1))
			n++;
		if (!n)
			continue;
		err = hf_pwrite(q->f, e->buf + i * part, (size_t)n * part, e->off + i * part);
		if (err)
			return err;
		i += n;
	}
	e->dirty = 0;
	c->ndirty--;
	return 0;
}

int qc_cache_write(struct qcow2 *q, struct qc_cache *c)
{
	int err = 0;

	for (uint32_t i = 0; i < c->n && c->ndirty && !err; i++)
		if (c->e[i].dirty)
			err = write_entry(q, c, &c->e[i]);
	return err;
}
