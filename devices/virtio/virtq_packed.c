/* SPDX-License-Identifier: MIT */
/*
 * Packed virtqueues (VIRTIO 1.2, 2.8): one ring of descriptors that both
 * sides write, in turns marked by wrap counters; event suppression
 * structures in the driver and device areas (2.8.10).
 *
 * The flags of a batch's first used descriptor are written last, so the
 * driver sees all of the batch or nothing, as devices that merge buffers need.
 */
#include "virtq_int.h"

#define F_AVAIL (1u << 7)
#define F_USED (1u << 15)
#define EVENT_DISABLE 1
#define EVENT_DESC 2
#define WRAP_BIT 0x8000u

struct pdesc {
	uint64_t at;
	uint32_t len;
	uint16_t id, flags;
};

/* Alignment: 2.8, table. */
bool packed_layout_ok(const struct virtq *q)
{
	const uint64_t top = UINT64_MAX - KiB(64);

	return is_pow2(q->size) && q->size <= q->max && !(q->desc & 15) && !(q->avail & 3) &&
	       !(q->used & 3) && q->desc <= top && q->avail <= top && q->used <= top;
}

static uint64_t desc_at(const struct virtq *q, unsigned pos)
{
	return q->desc + (uint64_t)pos * DESC_SIZE;
}

static bool read_desc(struct virtq *q, uint64_t at, struct pdesc *d)
{
	uint8_t raw[DESC_SIZE];

	if (!gm_read(q->gm, GPA(at), raw, sizeof(raw)))
		return virtq_fail(q, "descriptor outside RAM");
	d->at = ld_le64(raw);
	d->len = ld_le32(raw + 8);
	d->id = ld_le16(raw + 12);
	d->flags = ld_le16(raw + 14);
	return true;
}

/* 2.8.1: available when the avail bit is our wrap counter and the used bit is not. */
static bool head_available(struct virtq *q)
{
	uint16_t flags;

	if (!gm_read_le16(q->gm, GPA(desc_at(q, q->last_avail) + 14), &flags))
		return virtq_fail(q, "descriptor outside RAM");
	if (!(flags & F_AVAIL) == q->avail_wrap || !(flags & F_USED) != q->avail_wrap)
		return false;
	/* The rest of the descriptor was written before its flags. */
	atomic_thread_fence(memory_order_acquire);
	return true;
}

bool packed_waiting(struct virtq *q)
{
	uint16_t where = q->last_avail | (q->avail_wrap ? WRAP_BIT : 0);

	if (!q->ready || q->broken)
		return false;
	if (head_available(q))
		return true;
	if (q->broken || !q->event_idx)
		return false;
	/* Ask for the next one, then look again: it may have come meanwhile. */
	if (!gm_write_le32(q->gm, GPA(q->used), where | EVENT_DESC << 16))
		return virtq_fail(q, "device area outside RAM");
	atomic_thread_fence(memory_order_seq_cst);
	return head_available(q);
}

static bool walk_indirect(struct virtq *q, struct virtq_elem *e, const struct pdesc *d)
{
	unsigned size;
	struct pdesc t;

	if (!virtq_indirect(q, d->at, d->len, d->flags, &size))
		return false;
	for (unsigned i = 0; i < size; i++) {
		if (!read_desc(q, d->at + (uint64_t)i * DESC_SIZE, &t))
			return false;
		if (t.flags & DESC_F_INDIRECT)
			return virtq_fail(q, "nested indirect descriptor");
		if (!virtq_add_seg(q, e, t.at, t.len, t.flags))
			return false;
	}
	return true;
}

/* *n: descriptors of the ring that the request takes; its last one names it. */
static bool walk(struct virtq *q, struct virtq_elem *e, unsigned *n)
{
	unsigned pos = q->last_avail;
	struct pdesc d;

	for (*n = 1; *n <= q->size; ++*n) {
		if (!read_desc(q, desc_at(q, pos), &d))
			return false;
		e->head = d.id;
		if (d.flags & DESC_F_INDIRECT)
			return *n == 1 ? walk_indirect(q, e, &d) :
			       virtq_fail(q, "indirect descriptor inside a chain");
		if (!virtq_add_seg(q, e, d.at, d.len, d.flags))
			return false;
		if (!(d.flags & DESC_F_NEXT))
			return true;
		pos = pos + 1 == q->size ? 0 : pos + 1;
	}
	return virtq_fail(q, "descriptor chain longer than the ring");
}

static void advance(uint16_t *pos, bool *wrap, unsigned n, unsigned size)
{
	unsigned at = *pos + n;

	if (at >= size) {
		at -= size;
		*wrap = !*wrap;
	}
	*pos = at;
}

bool packed_pop(struct virtq *q, struct virtq_elem *e)
{
	unsigned n;

	if (!packed_waiting(q))
		return false;
	e->nout = e->nin = 0;
	e->out_len = e->in_len = 0;
	if (!walk(q, e, &n))
		return false;
	if (e->head >= q->size || q->taken[e->head])
		return virtq_fail(q, "buffer ID out of range or in use");
	if (q->inflight_descs + n > q->size)
		return virtq_fail(q, "more requests than descriptors");
	q->taken[e->head] = n;
	q->order[q->pops++ % VIRTQ_MAX_SIZE] = e->head;
	advance(&q->last_avail, &q->avail_wrap, n, q->size);
	q->inflight++;
	q->inflight_descs += n;
	return true;
}

void packed_unpop(struct virtq *q, unsigned n)
{
	HV_BUG_ON(n > q->inflight);
	while (n--) {
		uint16_t id = q->order[--q->pops % VIRTQ_MAX_SIZE];
		unsigned k = q->taken[id];

		if (k > q->last_avail) {
			q->last_avail += q->size;
			q->avail_wrap = !q->avail_wrap;
		}
		q->last_avail -= k;
		q->inflight--;
		q->inflight_descs -= k;
		q->taken[id] = 0;
	}
}

void packed_push(struct virtq *q, uint16_t id, uint32_t len)
{
	uint16_t flags = (q->used_wrap ? F_AVAIL | F_USED : 0) | (len ? DESC_F_WRITE : 0);
	uint64_t at = desc_at(q, q->used_idx);
	unsigned n;

	if (!q->ready || q->broken)
		return;
	HV_BUG_ON(!q->inflight || id >= q->size || !q->taken[id]);
	n = q->taken[id];
	q->taken[id] = 0;
	q->inflight--;
	q->inflight_descs -= n;
	if (!gm_write_le32(q->gm, GPA(at + 8), len) || !gm_write_le16(q->gm, GPA(at + 12), id)) {
		virtq_fail(q, "descriptor outside RAM");
		return;
	}
	atomic_thread_fence(memory_order_release);
	if (!q->batch) {
		q->first_at = at;
		q->first_flags = flags;
	} else if (!gm_write_le16(q->gm, GPA(at + 14), flags)) {
		virtq_fail(q, "descriptor outside RAM");
		return;
	}
	q->batch += n;
	advance(&q->used_idx, &q->used_wrap, n, q->size);
}

/* 2.8.10: does the driver want to hear of the last @n descriptors? */
static bool wanted(struct virtq *q, unsigned n)
{
	uint16_t off, flags, event;

	if (!gm_read_le16(q->gm, GPA(q->avail), &off) ||
	    !gm_read_le16(q->gm, GPA(q->avail + 2), &flags))
		return virtq_fail(q, "driver area outside RAM");
	if ((flags & 3) != EVENT_DESC || !q->event_idx)
		return (flags & 3) != EVENT_DISABLE;
	event = off & ~WRAP_BIT;
	if (!(off & WRAP_BIT) == q->used_wrap)	/* of the lap before */
		event -= q->size;
	return (uint16_t)(q->used_idx - event - 1) < (uint16_t)n;
}

bool packed_flush(struct virtq *q)
{
	unsigned n = q->batch;

	if (!n || !q->ready || q->broken)
		return false;
	atomic_thread_fence(memory_order_release);
	if (!gm_write_le16(q->gm, GPA(q->first_at + 14), q->first_flags))
		return virtq_fail(q, "descriptor outside RAM");
	q->batch = 0;
	/* The descriptors must be visible before the driver's wish is read. */
	atomic_thread_fence(memory_order_seq_cst);
	return wanted(q, n);
}
