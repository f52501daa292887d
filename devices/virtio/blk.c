/* SPDX-License-Identifier: MIT */
/*
 * Virtio block device (VIRTIO 1.2, 5.2) on the block seam.
 *
 * Several queues; read, write, flush, get-ID, discard and write-zeroes.
 * Requests live in slots allocated at realize, as many a queue as it has
 * descriptors.  A request that makes no sense is completed with an error.
 * Without VIRTIO_BLK_F_FLUSH, or with the write cache switched off, a write
 * completes after a flush (5.2.6.2).
 *
 * Left out: zoned storage, secure erase, lifetime, SCSI passthrough.
 */
#include "virtio.h"
#include "../../src/media.h"
#include <errno.h>
#include <stdlib.h>

#define SECTOR 512u
#define QUEUE_SIZE 256u
#define SERIAL_LEN 20u
#define HEADER_LEN 16u
#define MAX_DISCARD_SECTORS (1u << 22)		/* 2 GiB */
#define MAX_ZEROES_SECTORS (1u << 16)		/* 32 MiB: one request must not take seconds */

/* Feature bits (5.2.3) */
enum {
	F_SEG_MAX = 2, F_RO = 5, F_BLK_SIZE = 6, F_FLUSH = 9, F_TOPOLOGY = 10, F_CONFIG_WCE = 11,
	F_MQ = 12, F_DISCARD = 13, F_WRITE_ZEROES = 14,
};

/* Device configuration (5.2.4) */
enum {
	CFG_CAPACITY = 0, CFG_SEG_MAX = 12, CFG_BLK_SIZE = 20, CFG_PHYSICAL_EXP = 24,
	CFG_MIN_IO = 26, CFG_OPT_IO = 28, CFG_WRITEBACK = 32, CFG_NUM_QUEUES = 34,
	CFG_MAX_DISCARD = 36, CFG_MAX_DISCARD_SEG = 40, CFG_DISCARD_ALIGN = 44,
	CFG_MAX_ZEROES = 48, CFG_MAX_ZEROES_SEG = 52, CFG_ZEROES_MAY_UNMAP = 56, CFG_LEN = 60,
};

/* Request types and status (5.2.6) */
enum { T_IN = 0, T_OUT = 1, T_FLUSH = 4, T_GET_ID = 8, T_DISCARD = 11, T_WRITE_ZEROES = 13 };
enum { S_OK = 0, S_IOERR = 1, S_UNSUPP = 2 };
#define RANGE_F_UNMAP 1

struct blk_slot {
	struct block_req req;
	struct virtio_blk *blk;
	uint32_t generation;
	uint16_t queue, index, head;
	uint64_t status_at;	/* guest address of the status byte */
	uint32_t ok_len, err_len;	/* bytes written at the front of the writable part */
	bool flush_after;
	struct virtq_io io;
};

struct blk_queue {
	struct blk_slot *slots;	/* QUEUE_SIZE of them; pages untouched until used */
	uint16_t free[QUEUE_SIZE], nfree;
};

struct virtio_blk {
	struct virtio_dev v;	/* must stay first */

	/* Immutable after realize */
	struct block *block;
	char serial[SERIAL_LEN + 1];
	unsigned queues_wanted;
	struct blk_queue *queues;

	uint8_t writeback;	/* guest's write cache switch */
	uint32_t generation;	/* of requests: a reset starts a new one */
	unsigned inflight;
	uint32_t dirty;		/* queues with completions since the last interrupt */
	struct virtq_elem elem;	/* scratch while a request is parsed */
};
VIRTIO_CHECK(struct virtio_blk, v);

static const struct state_field blk_state[] = {
	VIRTIO_STATE(struct virtio_blk, v),
	STATE_U8(struct virtio_blk, writeback),
	STATE_END
};

static struct virtio_blk *blk_of(struct virtio_dev *v)
{
	return container_of(v, struct virtio_blk, v);
}

static uint64_t capacity(const struct virtio_blk *b)
{
	return block_info(b->block)->size / SECTOR;
}

static bool readonly(const struct virtio_blk *b)
{
	return block_info(b->block)->readonly;
}

static uint64_t blk_features(const struct virtio_dev *v)
{
	const struct virtio_blk *b = container_of(v, struct virtio_blk, v);
	uint64_t f = VIRTIO_BIT(F_SEG_MAX) | VIRTIO_BIT(F_BLK_SIZE) | VIRTIO_BIT(F_FLUSH) |
		     VIRTIO_BIT(F_TOPOLOGY) | VIRTIO_BIT(F_CONFIG_WCE);

	if (v->nqueues > 1)
		f |= VIRTIO_BIT(F_MQ);
	if (readonly(b))
		return f | VIRTIO_BIT(F_RO);
	return f | VIRTIO_BIT(F_DISCARD) | VIRTIO_BIT(F_WRITE_ZEROES);
}

static void blk_get_config(const struct virtio_dev *v, uint8_t *cfg)
{
	const struct virtio_blk *b = container_of(v, struct virtio_blk, v);

	st_le64(cfg + CFG_CAPACITY, capacity(b));
	st_le32(cfg + CFG_SEG_MAX, VIRTQ_MAX_SEGS - 2);
	st_le32(cfg + CFG_BLK_SIZE, SECTOR);
	cfg[CFG_PHYSICAL_EXP] = 3;		/* 4 KiB physical blocks */
	st_le16(cfg + CFG_MIN_IO, 8);
	cfg[CFG_WRITEBACK] = b->writeback;
	st_le16(cfg + CFG_NUM_QUEUES, v->nqueues);
	st_le32(cfg + CFG_MAX_DISCARD, MAX_DISCARD_SECTORS);
	st_le32(cfg + CFG_MAX_DISCARD_SEG, 1);
	st_le32(cfg + CFG_DISCARD_ALIGN, 8);
	st_le32(cfg + CFG_MAX_ZEROES, MAX_ZEROES_SECTORS);
	st_le32(cfg + CFG_MAX_ZEROES_SEG, 1);
	cfg[CFG_ZEROES_MAY_UNMAP] = 1;
}

static void blk_set_config(struct virtio_dev *v, const uint8_t *cfg, unsigned off, unsigned len)
{
	if (virtio_has(v, F_CONFIG_WCE) && off <= CFG_WRITEBACK && CFG_WRITEBACK < off + len)
		blk_of(v)->writeback = cfg[CFG_WRITEBACK] & 1;
}

/* 5.2.6.2: who cannot flush gets write-through. */
static bool writethrough(const struct virtio_blk *b)
{
	if (virtio_has(&b->v, F_CONFIG_WCE))
		return !b->writeback;
	return !virtio_has(&b->v, F_FLUSH);
}

/* --- slots --- */

static struct blk_slot *slot_get(struct virtio_blk *b, unsigned q)
{
	struct blk_queue *bq = &b->queues[q];
	struct blk_slot *s;

	HV_BUG_ON(!bq->nfree);	/* virtq_pop() bounds what is in flight */
	s = &bq->slots[bq->free[--bq->nfree]];
	s->index = (uint16_t)(s - bq->slots);
	s->queue = (uint16_t)q;
	s->blk = b;
	s->generation = b->generation;
	s->flush_after = false;
	s->io.n = 0;
	return s;
}

static void slot_put(struct blk_slot *s)
{
	struct blk_queue *bq = &s->blk->queues[s->queue];

	bq->free[bq->nfree++] = s->index;
}

/* Status byte, used entry; the caller flushes. */
static void finish(struct blk_slot *s, uint8_t status)
{
	struct virtio_blk *b = s->blk;
	struct virtq *q = &b->v.vq[s->queue];

	if (!gm_write(q->gm, GPA(s->status_at), &status, 1))
		virtio_fail(&b->v, "status byte outside RAM");
	virtq_push(q, s->head, status == S_OK ? s->ok_len : s->err_len);
	slot_put(s);
}

static void blk_done(struct block_req *r, int error)
{
	struct blk_slot *s = r->opaque;
	struct virtio_blk *b = s->blk;
	unsigned q = s->queue;
	bool current = s->generation == b->generation;

	if (!error && s->flush_after && current) {
		s->flush_after = false;
		r->op = BLOCK_FLUSH;
		r->off = r->len = 0;
		block_submit(b->block, r);
		return;
	}
	virtq_unmap(&b->v.vq[q], &s->io, r->op == BLOCK_READ ? UINT64_MAX : 0);
	b->inflight--;
	if (!current) {		/* the device was reset meanwhile */
		slot_put(s);
		return;
	}
	finish(s, error ? S_IOERR : S_OK);
	b->dirty |= 1u << q;
}

/* The end of a batch of completions: one interrupt a queue. */
static void flush_queues(void *opaque)
{
	struct virtio_blk *b = opaque;
	uint32_t dirty = b->dirty;

	b->dirty = 0;
	for (unsigned q = 0; q < b->v.nqueues; q++)
		if (dirty >> q & 1)
			virtio_flush(&b->v, q);
}

static void submit(struct blk_slot *s, enum block_op op, uint64_t off, uint64_t len)
{
	struct virtio_blk *b = s->blk;

	s->req = (struct block_req){
		.op = op, .off = off, .len = len, .iov = s->io.iov, .niov = s->io.n,
		.done = blk_done, .opaque = s,
	};
	s->flush_after = op != BLOCK_READ && op != BLOCK_FLUSH && writethrough(b);
	b->inflight++;
	block_submit(b->block, &s->req);
}

/* --- requests: each submits and returns true, or leaves @status for an immediate answer --- */

static bool sectors_ok(const struct virtio_blk *b, uint64_t sector, uint64_t len)
{
	return !(len % SECTOR) && range_ok(sector, len / SECTOR, capacity(b));
}

static bool do_rw(struct blk_slot *s, const struct virtq_elem *e, bool read, uint64_t sector,
		  uint8_t *status)
{
	struct virtio_blk *b = s->blk;
	uint64_t len = read ? e->in_len - 1 : e->out_len - HEADER_LEN;

	*status = S_IOERR;
	if (!sectors_ok(b, sector, len) || (!read && readonly(b)))
		return false;
	if (!len) {
		*status = S_OK;
		return false;
	}
	if (!virtq_map(&b->v.vq[s->queue], e, read, read ? 0 : HEADER_LEN, len, &s->io))
		return false;
	if (read)
		s->ok_len = (uint32_t)MIN(e->in_len, UINT32_MAX);
	submit(s, read ? BLOCK_READ : BLOCK_WRITE, sector * SECTOR, len);
	return true;
}

static bool do_get_id(struct blk_slot *s, const struct virtq_elem *e, uint8_t *status)
{
	char id[SERIAL_LEN] = { 0 };

	memcpy(id, s->blk->serial, strnlen(s->blk->serial, SERIAL_LEN));
	*status = e->in_len - 1 >= SERIAL_LEN &&
		  virtq_write(&s->blk->v.vq[s->queue], e, 0, id, sizeof(id)) ? S_OK : S_IOERR;
	s->ok_len = e->in_len - 1 == SERIAL_LEN ? SERIAL_LEN + 1 : SERIAL_LEN;
	return false;
}

/* One struct virtio_blk_discard_write_zeroes: u64 sector, u32 sectors, u32 flags. */
static bool do_range(struct blk_slot *s, const struct virtq_elem *e, bool zeroes,
		     uint8_t *status)
{
	struct virtio_blk *b = s->blk;
	uint8_t raw[16];
	uint64_t sector;
	uint32_t n, flags;

	*status = S_IOERR;
	if (readonly(b) || e->out_len != HEADER_LEN + sizeof(raw) ||
	    !virtq_read(&b->v.vq[s->queue], e, HEADER_LEN, raw, sizeof(raw)))
		return false;
	sector = ld_le64(raw);
	n = ld_le32(raw + 8);
	flags = ld_le32(raw + 12);
	if (flags & ~(zeroes ? RANGE_F_UNMAP : 0u)) {	/* 5.2.6.2: unknown or unfit flag */
		*status = S_UNSUPP;
		return false;
	}
	if (n > (zeroes ? MAX_ZEROES_SECTORS : MAX_DISCARD_SECTORS) ||
	    !range_ok(sector, n, capacity(b)))
		return false;
	*status = S_OK;
	if (!n)
		return false;
	submit(s, zeroes ? BLOCK_WRITE_ZEROES : BLOCK_DISCARD, sector * SECTOR,
	       (uint64_t)n * SECTOR);
	return true;
}

static bool dispatch(struct blk_slot *s, const struct virtq_elem *e, uint8_t *status)
{
	uint8_t head[HEADER_LEN];

	*status = S_IOERR;
	if (!virtq_read(&s->blk->v.vq[s->queue], e, 0, head, sizeof(head)))
		return false;
	switch (ld_le32(head)) {
	case T_IN:
		return do_rw(s, e, true, ld_le64(head + 8), status);
	case T_OUT:
		return do_rw(s, e, false, ld_le64(head + 8), status);
	case T_FLUSH:
		submit(s, BLOCK_FLUSH, 0, 0);
		return true;
	case T_GET_ID:
		return do_get_id(s, e, status);
	case T_DISCARD:
		return do_range(s, e, false, status);
	case T_WRITE_ZEROES:
		return do_range(s, e, true, status);
	default:
		*status = S_UNSUPP;
		return false;
	}
}

/*
 * The status byte is the last one of the writable part (5.2.6).  The used
 * length counts what was written without a gap from the start (2.7.8.2), so a
 * status behind data that was not written counts for nothing.
 */
static void serve(struct virtio_blk *b, unsigned q)
{
	const struct virtq_elem *e = &b->elem;
	struct blk_slot *s;
	const struct virtq_seg *last;
	uint8_t status;

	if (!e->in_len) {
		dev_guest_error(&b->v.pci.dev, "request without a status byte");
		virtq_push(&b->v.vq[q], e->head, 0);
		return;
	}
	s = slot_get(b, q);
	last = &e->seg[e->nout + e->nin - 1];
	s->head = e->head;
	s->ok_len = s->err_len = e->in_len == 1;
	s->status_at = last->at + last->len - 1;
	if (!dispatch(s, e, &status))
		finish(s, status);
}

static void blk_kick(struct virtio_dev *v, unsigned q)
{
	struct virtio_blk *b = blk_of(v);
	unsigned n = 0;

	while (n < VIRTIO_KICK_BUDGET && virtq_pop(&v->vq[q], &b->elem)) {
		serve(b, q);
		n++;
	}
	block_poll(b->block);
	virtio_flush(v, q);
	if (n == VIRTIO_KICK_BUDGET)
		virtio_requeue(v, q);
}

/* --- life --- */

static void blk_quiesce(struct virtio_dev *v)
{
	struct virtio_blk *b = blk_of(v);

	b->generation++;
	b->dirty = 0;
	if (b->inflight)
		block_drain(b->block);
	b->writeback = 1;
}

static const struct virtio_class blk_class = {
	.type = VIRTIO_ID_BLOCK,
	.legacy_id = 0x1001,
	.class_code = 0x0100,
	.config_len = CFG_LEN,
	.packed = true,
	.features = blk_features,
	.get_config = blk_get_config,
	.set_config = blk_set_config,
	.kick = blk_kick,
	.reset = blk_quiesce,
};

void virtio_blk_setup(struct device *d, struct block *block, const char *serial, unsigned queues)
{
	struct virtio_blk *b = blk_of(virtio_of(d));

	b->block = block;
	b->queues_wanted = queues;
	if (serial)
		memcpy(b->serial, serial, strnlen(serial, SERIAL_LEN));
}

/* 5.2.3.2: the capacity field has changed; a driver reads it again. */
static bool resized(struct device *d, unsigned unit)
{
	virtio_config_changed(virtio_of(d));
	return true;
}

const struct media_ops virtio_blk_media = { .resized = resized };

static void alloc_queues(struct virtio_blk *b, unsigned n)
{
	b->queues = hv_zalloc(n * sizeof(*b->queues));
	for (unsigned i = 0; i < n; i++) {
		b->queues[i].slots = hv_zalloc(QUEUE_SIZE * sizeof(struct blk_slot));
		for (unsigned k = 0; k < QUEUE_SIZE; k++)
			b->queues[i].free[k] = (uint16_t)(QUEUE_SIZE - 1 - k);
		b->queues[i].nfree = QUEUE_SIZE;
	}
}

static bool blk_realize(struct device *d, struct err *e)
{
	struct virtio_blk *b = blk_of(virtio_of(d));
	unsigned n = b->queues_wanted ? b->queues_wanted : d->vm->ncpus;

	HV_BUG_ON(!b->block);
	n = MIN(MAX(n, 1u), VIRTIO_MAX_QUEUES);
	alloc_queues(b, n);
	block_set_batch(b->block, flush_queues, b);
	return virtio_realize(&b->v, &blk_class, n, QUEUE_SIZE, e);
}

static void blk_unrealize(struct device *d)
{
	struct virtio_blk *b = blk_of(virtio_of(d));

	virtio_unrealize(&b->v);
	block_set_batch(b->block, NULL, NULL);
	for (unsigned i = 0; i < b->v.nqueues; i++)
		free(b->queues[i].slots);
	free(b->queues);
}

/* A snapshot holds no requests: wait for those in flight. */
static void blk_pre_save(struct device *d)
{
	struct virtio_blk *b = blk_of(virtio_of(d));

	if (b->inflight)
		block_drain(b->block);
}

static bool blk_post_load(struct device *d, struct err *e)
{
	struct virtio_blk *b = blk_of(virtio_of(d));

	b->writeback &= 1;
	return virtio_post_load(&b->v, e);
}

const struct device_ops virtio_blk_ops = {
	.name = "virtio-blk",
	.size = sizeof(struct virtio_blk),
	.realize = blk_realize,
	.reset = virtio_reset,
	.unrealize = blk_unrealize,
	.state = blk_state,
	.state_version = 1,
	.post_load = blk_post_load,
	.pre_save = blk_pre_save,
};
