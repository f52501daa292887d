/* SPDX-License-Identifier: MIT */
/*
 * Virtio SCSI, request queues (VIRTIO 1.2, 5.6.6.1): a command from the queue
 * to the target and its answer back; data of the medium goes between guest
 * memory and block layer without a copy.
 */
#include "scsi_int.h"

struct target *vscsi_find_target(struct virtio_scsi *s, const uint8_t *lun, uint8_t *response)
{
	struct target *t = &s->target[lun[1] % VIRTIO_SCSI_TARGETS];

	*response = R_BAD_TARGET;
	if (lun[0] != 1 || lun[1] >= VIRTIO_SCSI_TARGETS || !t->used)
		return NULL;
	*response = R_INCORRECT_LUN;
	return (lun[2] & 0x3f) || lun[3] ? NULL : t;
}

static void respond(struct scsi_slot *sl, uint8_t response, uint8_t status,
		    const struct scsi_sense *sense)
{
	struct virtio_scsi *s = sl->s;
	struct virtq *q = &s->v.vq[sl->queue];
	uint8_t r[RESP_LEN] = { 0 };
	struct scsi_queue *sq = &s->queues[sl->queue - Q_REQUEST];

	if (sense) {
		st_le32(r, SCSI_SENSE_LEN);
		scsi_put_sense(r + 12, sense);
	}
	st_le32(r + 4, sl->resid);
	r[10] = status;
	r[11] = response;
	if (!virtq_write(q, sl->elem, 0, r, sizeof(r)))
		virtio_fail(&s->v, "response outside RAM");
	virtq_push(q, sl->head, (uint32_t)MIN(RESP_LEN + sl->moved, UINT32_MAX));
	s->dirty |= 1u << sl->queue;
	sq->free[sq->nfree++] = sl->index;
}

static void respond_ok(struct scsi_slot *sl)
{
	respond(sl, R_OK, SCSI_GOOD, NULL);
}

static void respond_sense(struct scsi_slot *sl, const struct scsi_sense *sense)
{
	respond(sl, R_OK, SCSI_CHECK, sense);
}

void vscsi_flush_queues(void *opaque)
{
	struct virtio_scsi *s = opaque;
	uint32_t dirty = s->dirty;

	s->dirty = 0;
	for (unsigned q = 0; q < s->v.nqueues; q++)
		if (dirty >> q & 1)
			virtio_flush(&s->v, q);
}

static void io_failed(struct scsi_slot *sl)
{
	struct target *t = &sl->s->target[sl->target];
	struct scsi_result r;
	bool read = sl->req.op == BLOCK_READ;

	if (t->cdrom)
		cd_read_failed(&t->cd, &r);
	else
		scsi_fail(&r, KEY_MEDIUM, read ? ASC_READ_ERROR : ASC_WRITE_ERROR);
	sl->moved = 0;
	respond_sense(sl, &r.sense);
}

static void io_done(struct block_req *br, int error)
{
	struct scsi_slot *sl = br->opaque;
	struct virtio_scsi *s = sl->s;
	bool current = sl->generation == s->generation;

	if (!error && sl->flush_after && current) {
		sl->flush_after = false;
		br->op = BLOCK_FLUSH;
		br->off = br->len = 0;
		block_submit(vscsi_block(&s->target[sl->target]), br);
		return;
	}
	virtq_unmap(&s->v.vq[sl->queue], &sl->io, br->op == BLOCK_READ ? UINT64_MAX : 0);
	s->inflight--;
	if (!current) {		/* the device was reset meanwhile */
		struct scsi_queue *sq = &s->queues[sl->queue - Q_REQUEST];

		sq->free[sq->nfree++] = sl->index;
		return;
	}
	if (error)
		io_failed(sl);
	else
		respond_ok(sl);
}

static void submit(struct scsi_slot *sl, struct target *t, enum block_op op,
		   const struct scsi_result *r)
{
	sl->req = (struct block_req){
		.op = op, .off = r->off, .len = r->len, .iov = sl->io.iov, .niov = sl->io.n,
		.done = io_done, .opaque = sl,
	};
	sl->flush_after = r->fua;
	sl->s->inflight++;
	block_submit(vscsi_block(t), &sl->req);
}

static void transfer(struct scsi_slot *sl, struct target *t, const struct virtq_elem *e,
		     const struct scsi_result *r)
{
	bool read = r->what == SCSI_READ;
	uint64_t have = read ? e->in_len - RESP_LEN : e->out_len - REQ_LEN;

	if (have < r->len) {
		respond(sl, R_OVERRUN, SCSI_GOOD, NULL);
		return;
	}
	if (!virtq_map(&sl->s->v.vq[sl->queue], e, read, read ? RESP_LEN : REQ_LEN, r->len,
		       &sl->io)) {
		respond(sl, R_FAILURE, SCSI_GOOD, NULL);
		return;
	}
	sl->resid = (uint32_t)(have - r->len);
	sl->moved = read ? (uint32_t)r->len : 0;
	submit(sl, t, read ? BLOCK_READ : BLOCK_WRITE, r);
}

static void reply(struct scsi_slot *sl, const struct virtq_elem *e, const uint8_t *buf,
		  const struct scsi_result *r)
{
	uint64_t have = e->in_len - RESP_LEN, n = MIN(have, r->len);

	if (!virtq_write(&sl->s->v.vq[sl->queue], e, RESP_LEN, buf, n)) {
		respond(sl, R_FAILURE, SCSI_GOOD, NULL);
		return;
	}
	sl->resid = (uint32_t)MIN(have - n, UINT32_MAX);
	sl->moved = (uint32_t)n;
	respond_ok(sl);
}

/* What every target answers, whatever sits there. */
static bool common_command(const uint8_t *cdb, uint8_t *buf, struct scsi_result *r)
{
	if (cdb[0] != 0xa0)		/* REPORT LUNS */
		return false;
	st_be32(buf, 8);		/* one entry: LUN 0 */
	scsi_reply(r, 16, ld_be32(cdb + 6));
	return true;
}

static void run_command(struct scsi_slot *sl, struct target *t, const struct virtq_elem *e,
			const uint8_t *cdb, uint8_t *buf, struct scsi_result *r)
{
	uint8_t params[SCSI_PARAMS_MAX];

	if (common_command(cdb, buf, r))
		return;
	if (t->cdrom) {
		cd_command(&t->cd, cdb, buf, r);
		if (cdb[0] == 0x12 && r->what == SCSI_REPLY) {
			buf[2] = 5;	/* SPC-3, not ATAPI */
			buf[3] = 2;
		}
		return;
	}
	disk_command(&t->disk, cdb, buf, r);
	if (r->what != SCSI_PARAMS)
		return;
	if (e->out_len - REQ_LEN < r->len ||
	    !virtq_read(&sl->s->v.vq[sl->queue], e, REQ_LEN, params, r->len))
		scsi_fail(r, KEY_ILLEGAL, ASC_PARAM_LENGTH);
	else
		disk_params(&t->disk, cdb, params, (uint32_t)r->len, r);
}

static void command(struct scsi_slot *sl, struct target *t, const struct virtq_elem *e,
		    const uint8_t *cdb)
{
	uint8_t buf[SCSI_REPLY_MAX] = { 0 };
	struct scsi_result r;

	run_command(sl, t, e, cdb, buf, &r);
	switch (r.what) {
	case SCSI_READ:
	case SCSI_WRITE:
		transfer(sl, t, e, &r);
		break;
	case SCSI_REPLY:
		reply(sl, e, buf, &r);
		break;
	case SCSI_IO:
		submit(sl, t, r.op, &r);
		break;
	case SCSI_DONE:
		sl->resid = (uint32_t)MIN(e->in_len - RESP_LEN, UINT32_MAX);
		respond_ok(sl);
		break;
	default:
		respond_sense(sl, &r.sense);
		break;
	}
}

static struct scsi_slot *slot_get(struct virtio_scsi *s, unsigned q, const struct virtq_elem *e)
{
	struct scsi_queue *sq = &s->queues[q - Q_REQUEST];
	struct scsi_slot *sl;

	HV_BUG_ON(!sq->nfree);	/* virtq_pop() bounds what is in flight */
	sl = &sq->slots[sq->free[--sq->nfree]];
	sl->index = (uint16_t)(sl - sq->slots);
	sl->elem = &sq->elems[sl->index];
	*sl->elem = *e;
	sl->s = s;
	sl->queue = (uint16_t)q;
	sl->head = e->head;
	sl->generation = s->generation;
	sl->flush_after = false;
	sl->resid = sl->moved = 0;
	sl->io.n = 0;
	return sl;
}

void vscsi_serve(struct virtio_scsi *s, unsigned q)
{
	const struct virtq_elem *e = &s->elem;
	uint8_t head[REQ_LEN], response;
	struct scsi_slot *sl;
	struct target *t;

	if (e->out_len < REQ_LEN || e->in_len < RESP_LEN ||
	    !virtq_read(&s->v.vq[q], e, 0, head, sizeof(head))) {
		virtio_fail(&s->v, "request without header or response");
		return;
	}
	sl = slot_get(s, q, e);
	t = vscsi_find_target(s, head, &response);
	if (!t) {
		respond(sl, response, SCSI_GOOD, NULL);
		return;
	}
	sl->target = head[1];
	command(sl, t, e, head + 19);
}
