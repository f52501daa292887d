/* SPDX-License-Identifier: MIT */
/*
 * Split virtqueues (VIRTIO 1.2, 2.7): descriptor table, available and used
 * ring, indirect tables (2.7.5.3), notification suppression by flags and by
 * VIRTIO_F_EVENT_IDX (2.7.7, 2.7.10); the common part of split and packed
 * ones (virtq_packed.c).
 *
 * Ring memory is reached by small gm_* copies: every guest value is read once
 * into a local.
 */
#include "virtq_int.h"

#define AVAIL_F_NO_INTERRUPT 1

struct desc {
	uint64_t at;
	uint32_t len;
	uint16_t flags, next;
};

const struct state_field virtq_state_fields[] = {
	STATE_U16(struct virtq, size),
	STATE_U16(struct virtq, vector),
	STATE_BOOL(struct virtq, ready),
	STATE_U64(struct virtq, desc),
	STATE_U64(struct virtq, avail),
	STATE_U64(struct virtq, used),
	STATE_U16(struct virtq, last_avail),
	STATE_U16(struct virtq, used_idx),
	STATE_BOOL(struct virtq, avail_wrap),
	STATE_BOOL(struct virtq, used_wrap),
	STATE_END
};

bool virtq_fail(struct virtq *q, const char *why)
{
	if (!q->broken) {
		q->broken = true;
		q->fail(q, why);
	}
	return false;
}

void virtq_init(struct virtq *q, struct guest_mem *gm, uint16_t max,
		void (*failed)(struct virtq *q, const char *why), void *opaque)
{
	HV_BUG_ON(!is_pow2(max) || max > VIRTQ_MAX_SIZE);
	*q = (struct virtq){ .gm = gm, .max = max, .fail = failed, .opaque = opaque };
	virtq_reset(q);
}

void virtq_reset(struct virtq *q)
{
	q->size = q->max;
	q->vector = VIRTQ_NO_VECTOR;
	q->ready = q->event_idx = q->packed = q->broken = false;
	q->desc = q->avail = q->used = 0;
	q->last_avail = q->used_idx = q->shadow = q->published = q->inflight = 0;
	q->avail_wrap = q->used_wrap = true;	/* 2.8.1; split rings have no use for them */
	q->inflight_descs = q->batch = q->pops = 0;
	memset(q->taken, 0, sizeof(q->taken));
}

/* Alignment: 2.7, table; no ring may wrap around the end of the address space. */
bool virtq_layout_ok(const struct virtq *q)
{
	const uint64_t top = UINT64_MAX - KiB(64);

	if (q->packed)
		return packed_layout_ok(q);
	return is_pow2(q->size) && q->size <= q->max && !(q->desc & 15) && !(q->avail & 1) &&
	       !(q->used & 3) && q->desc <= top && q->avail <= top && q->used <= top;
}

bool virtq_post_load(struct virtq *q)
{
	q->shadow = q->last_avail;
	q->published = q->used_idx;
	q->inflight = q->inflight_descs = q->batch = q->pops = 0;
	memset(q->taken, 0, sizeof(q->taken));
	q->broken = false;
	if (q->packed && (q->last_avail >= q->size || q->used_idx >= q->size))
		return false;
	if (!is_pow2(q->size) || q->size > q->max)
		return !q->max && !q->ready;
	return !q->ready || virtq_layout_ok(q);
}

/* Anything available, by what the guest last published? */
static bool refresh(struct virtq *q)
{
	uint16_t idx;

	if (q->shadow != q->last_avail)
		return true;
	if (!gm_read_le16(q->gm, GPA(q->avail + 2), &idx))
		return virtq_fail(q, "available ring outside RAM");
	if ((uint16_t)(idx - q->last_avail) > q->size)
		return virtq_fail(q, "available index jumped");
	/* Pairs with the driver's barrier before its store of idx (2.7.13.3). */
	atomic_thread_fence(memory_order_acquire);
	q->shadow = idx;
	return idx != q->last_avail;
}

bool virtq_waiting(struct virtq *q)
{
	if (q->packed)
		return packed_waiting(q);
	if (!q->ready || q->broken)
		return false;
	if (refresh(q))
		return true;
	if (q->broken || !q->event_idx)
		return false;
	/* Ask for the next one, then look again: it may have come meanwhile (2.7.10). */
	if (!gm_write_le16(q->gm, GPA(q->used + 4 + 8ull * q->size), q->last_avail))
		return virtq_fail(q, "used ring outside RAM");
	atomic_thread_fence(memory_order_seq_cst);
	return refresh(q);
}

static bool read_desc(struct virtq *q, uint64_t table, unsigned i, struct desc *d)
{
	uint8_t raw[DESC_SIZE];

	if (!gm_read(q->gm, GPA(table + (uint64_t)i * DESC_SIZE), raw, sizeof(raw)))
		return virtq_fail(q, "descriptor table outside RAM");
	d->at = ld_le64(raw);
	d->len = ld_le32(raw + 8);
	d->flags = ld_le16(raw + 12);
	d->next = ld_le16(raw + 14);
	return true;
}

bool virtq_add_seg(struct virtq *q, struct virtq_elem *e, uint64_t at, uint32_t len,
		   uint16_t flags)
{
	unsigned n = e->nout + e->nin;
	bool in = flags & DESC_F_WRITE;

	if (!in && e->nin)
		return virtq_fail(q, "readable descriptor after a writable one");
	if (!len)
		return true;
	if (at > UINT64_MAX - (len - 1))
		return virtq_fail(q, "descriptor wraps around");
	if (n == VIRTQ_MAX_SEGS)
		return virtq_fail(q, "descriptor chain too long");
	e->seg[n] = (struct virtq_seg){ at, len };
	if (in) {
		e->nin++;
		e->in_len += len;
	} else {
		e->nout++;
		e->out_len += len;
	}
	/* 2.7.5.1: a chain holds at most 2^32 bytes. */
	if (e->in_len + e->out_len > GiB(4))
		return virtq_fail(q, "descriptor chain over 4 GiB");
	return true;
}

/* Zero or more chained descriptors may precede it (2.7.5.3.2); nothing follows. */
bool virtq_indirect(struct virtq *q, uint64_t at, uint32_t len, uint16_t flags, unsigned *size)
{
	if (flags & DESC_F_NEXT)
		return virtq_fail(q, "indirect descriptor with a next one");
	if (!len || len % DESC_SIZE)
		return virtq_fail(q, "bad length of an indirect table");
	if (at > UINT64_MAX - (len - 1))
		return virtq_fail(q, "indirect table wraps around");
	*size = len / DESC_SIZE;
	return true;
}

static bool walk(struct virtq *q, struct virtq_elem *e)
{
	uint64_t table = q->desc;
	unsigned size = q->size, i = e->head;
	bool nested = false;
	struct desc d;

	/* The direct part has at most size descriptors, an indirect one VIRTQ_MAX_SEGS. */
	for (unsigned ttl = q->size + VIRTQ_MAX_SEGS; ttl; ttl--) {
		if (i >= size)
			return virtq_fail(q, "descriptor index outside its table");
		if (!read_desc(q, table, i, &d))
			return false;
		if (d.flags & DESC_F_INDIRECT) {
			if (nested)
				return virtq_fail(q, "nested indirect descriptor");
			if (!virtq_indirect(q, d.at, d.len, d.flags, &size))
				return false;
			table = d.at;
			nested = true;
			i = 0;
			continue;
		}
		if (!virtq_add_seg(q, e, d.at, d.len, d.flags))
			return false;
		if (!(d.flags & DESC_F_NEXT))
			return true;
		i = d.next;
	}
	return virtq_fail(q, "descriptor loop");
}

bool virtq_pop(struct virtq *q, struct virtq_elem *e)
{
	uint16_t head;

	if (q->packed)
		return packed_pop(q, e);
	if (!virtq_waiting(q))
		return false;
	if (q->inflight >= q->size)
		return virtq_fail(q, "more requests than descriptors");
	if (!gm_read_le16(q->gm, GPA(q->avail + 4 + 2ull * (q->last_avail & (q->size - 1))), &head))
		return virtq_fail(q, "available ring outside RAM");
	if (head >= q->size)
		return virtq_fail(q, "head outside the descriptor table");
	e->head = head;
	e->nout = e->nin = 0;
	e->out_len = e->in_len = 0;
	if (!walk(q, e))
		return false;
	q->last_avail++;
	q->inflight++;
	return true;
}

void virtq_unpop(struct virtq *q, unsigned n)
{
	if (q->packed) {
		packed_unpop(q, n);
		return;
	}
	HV_BUG_ON(n > q->inflight);
	q->last_avail -= n;
	q->inflight -= n;
}

void virtq_push(struct virtq *q, uint16_t head, uint32_t len)
{
	uint8_t raw[8];

	if (q->packed) {
		packed_push(q, head, len);
		return;
	}
	if (!q->ready || q->broken)
		return;
	HV_BUG_ON(!q->inflight);
	q->inflight--;
	st_le32(raw, head);
	st_le32(raw + 4, len);
	if (!gm_write(q->gm, GPA(q->used + 4 + 8ull * (q->used_idx & (q->size - 1))), raw,
		      sizeof(raw))) {
		virtq_fail(q, "used ring outside RAM");
		return;
	}
	q->used_idx++;
}

bool virtq_flush(struct virtq *q)
{
	uint16_t old = q->published, now = q->used_idx, v;

	if (q->packed)
		return packed_flush(q);
	if (old == now || !q->ready || q->broken)
		return false;
	atomic_thread_fence(memory_order_release);
	if (!gm_write_le16(q->gm, GPA(q->used + 2), now))
		return virtq_fail(q, "used ring outside RAM");
	q->published = now;
	/* The index must be visible before the guest's wish is read (2.7.7.2). */
	atomic_thread_fence(memory_order_seq_cst);
	if (!gm_read_le16(q->gm, GPA(q->event_idx ? q->avail + 4 + 2ull * q->size : q->avail), &v))
		return virtq_fail(q, "available ring outside RAM");
	if (!q->event_idx)
		return !(v & AVAIL_F_NO_INTERRUPT);
	return (uint16_t)(now - v - 1) < (uint16_t)(now - old);
}

/* Visits the pieces of [off, off+len) of one half of a request. */
struct cursor {
	const struct virtq_seg *s, *end;
	uint64_t off;
};

static struct cursor cursor_at(const struct virtq_elem *e, bool in, uint64_t off)
{
	struct cursor c = { .off = off };

	c.s = in ? e->seg + e->nout : e->seg;
	c.end = c.s + (in ? e->nin : e->nout);
	while (c.s < c.end && c.off >= c.s->len)
		c.off -= (c.s++)->len;
	return c;
}

/* Next piece of at most @want bytes; 0: the request ends here. */
static size_t cursor_next(struct cursor *c, uint64_t want, gpa_t *at)
{
	size_t n;

	if (c->s == c->end)
		return 0;
	n = MIN(want, c->s->len - c->off);
	*at = GPA(c->s->at + c->off);
	c->off += n;
	if (c->off == c->s->len) {
		c->s++;
		c->off = 0;
	}
	return n;
}

bool virtq_read(struct virtq *q, const struct virtq_elem *e, uint64_t off, void *dst, size_t len)
{
	struct cursor c = cursor_at(e, false, off);
	uint8_t *p = dst;
	gpa_t at;

	while (len) {
		size_t n = cursor_next(&c, len, &at);

		if (!n || !gm_read(q->gm, at, p, n))
			return false;
		p += n;
		len -= n;
	}
	return true;
}

bool virtq_write(struct virtq *q, const struct virtq_elem *e, uint64_t off, const void *src,
		 size_t len)
{
	struct cursor c = cursor_at(e, true, off);
	const uint8_t *p = src;
	gpa_t at;

	while (len) {
		size_t n = cursor_next(&c, len, &at);

		if (!n || !gm_write(q->gm, at, p, n))
			return false;
		p += n;
		len -= n;
	}
	return true;
}

/* Append the spans of [at, at+len): one per memory slot. */
static bool map_piece(struct virtq *q, gpa_t at, size_t len, bool in, struct virtq_io *io)
{
	while (len) {
		struct gm_span *s = &io->span[io->n];

		if (io->n == VIRTQ_MAX_IOV || !gm_map(q->gm, at, len, in, s))
			return false;
		HV_BUG_ON(!s->len || s->len > len);
		io->iov[io->n++] = (struct iovec){ s->host, s->len };
		at.v += s->len;
		len -= s->len;
	}
	return true;
}

bool virtq_map(struct virtq *q, const struct virtq_elem *e, bool in, uint64_t off, uint64_t len,
	       struct virtq_io *io)
{
	struct cursor c = cursor_at(e, in, off);
	gpa_t at;

	io->n = 0;
	while (len) {
		size_t n = cursor_next(&c, len, &at);

		if (!n || !map_piece(q, at, n, in, io)) {
			virtq_unmap(q, io, 0);
			return false;
		}
		len -= n;
	}
	return true;
}

void virtq_unmap(struct virtq *q, struct virtq_io *io, uint64_t dirtied)
{
	for (unsigned i = 0; i < io->n; i++) {
		size_t d = MIN(dirtied, io->span[i].len);

		gm_unmap(q->gm, &io->span[i], d);
		dirtied -= d;
	}
	io->n = 0;
}
