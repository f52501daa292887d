/* SPDX-License-Identifier: MIT */
/*
 * Virtio SCSI host device (VIRTIO 1.2, 5.6): control, event and request
 * queues in front of disks and CD drives (scsi_disk.c, scsi_cd.c), each LUN 0
 * of a target of its own.
 *
 * Data of the medium goes between guest memory and block layer without a
 * copy.  Events tell of another medium or size (VIRTIO_SCSI_F_CHANGE).
 *
 * Left out: bidirectional commands, protection information, hot-plug of
 * targets; a command cannot be aborted, its abort waits for its end.
 */
#include "scsi.h"
#include "virtio.h"
#include "../scsi_cd.h"
#include "../scsi_disk.h"
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#define QUEUE_SIZE 128u
#define Q_CONTROL 0
#define Q_EVENT 1
#define Q_REQUEST 2		/* the first of them */
#define MAX_REQUEST_QUEUES 4u

#define F_HOTPLUG 1	/* never used, but without it Linux gives no event buffers */
#define F_CHANGE 2
#define CDB_SIZE 32u
#define SENSE_SIZE 96u
#define REQ_LEN (19u + CDB_SIZE)
#define RESP_LEN (12u + SENSE_SIZE)
#define EVENT_LEN 16u

/* Responses (5.6.6.1) */
enum { R_OK = 0, R_OVERRUN = 1, R_BAD_TARGET = 3, R_FAILURE = 9, R_FUNCTION_OK = 0,
       R_REJECTED = 11, R_INCORRECT_LUN = 12 };
/* Control requests (5.6.6.2) */
enum { T_TMF = 0, T_AN_QUERY = 1, T_AN_SUBSCRIBE = 2 };
enum { TMF_ABORT = 0, TMF_ABORT_SET = 1, TMF_CLEAR_ACA = 2, TMF_CLEAR_SET = 3, TMF_NEXUS = 4,
       TMF_LUN_RESET = 5, TMF_QUERY = 6, TMF_QUERY_SET = 7 };
/* Events (5.6.6.3) */
#define EV_PARAM_CHANGE 3
#define EV_MISSED 0x80000000u

enum { CFG_NUM_QUEUES = 0, CFG_SEG_MAX = 4, CFG_MAX_SECTORS = 8, CFG_CMD_PER_LUN = 12,
       CFG_EVENT_SIZE = 16, CFG_SENSE_SIZE = 20, CFG_CDB_SIZE = 24, CFG_MAX_CHANNEL = 28,
       CFG_MAX_TARGET = 30, CFG_MAX_LUN = 32, CFG_LEN = 36 };

struct target {
	bool used, cdrom;
	struct scsi_disk disk;
	struct scsi_cd cd;
};

struct scsi_slot {
	struct block_req req;
	struct virtio_scsi *s;
	uint32_t generation;
	uint16_t queue, index, head;
	bool flush_after;
	uint8_t target;
	uint32_t resid, moved;
	struct virtq_elem *elem;	/* where the response goes */
	struct virtq_io io;
};

struct scsi_queue {
	struct scsi_slot *slots;
	struct virtq_elem *elems;	/* one a slot; pages untouched until used */
	uint16_t free[QUEUE_SIZE], nfree;
};

struct virtio_scsi {
	struct virtio_dev v;	/* must stay first */
	struct target target[VIRTIO_SCSI_TARGETS];
	unsigned nrequest;	/* queues */
	struct scsi_queue *queues;
	bool missed;		/* an event found no buffer */
	/* not saved */
	uint32_t generation;
	unsigned inflight;
	uint32_t dirty;		/* queues with completions since the last interrupt */
	struct virtq_elem elem;
};
VIRTIO_CHECK(struct virtio_scsi, v);

static const struct state_field target_state[] = {
	STATE_STRUCT(struct target, disk, scsi_disk_state),
	STATE_STRUCT(struct target, cd, scsi_cd_state),
	STATE_END
};

static const struct state_field scsi_state[] = {
	VIRTIO_STATE(struct virtio_scsi, v),
	STATE_STRUCTS(struct virtio_scsi, target, target_state),
	STATE_BOOL(struct virtio_scsi, missed),
	STATE_END
};

static struct virtio_scsi *scsi_of(struct virtio_dev *v)
{
	return container_of(v, struct virtio_scsi, v);
}

static uint64_t scsi_features(const struct virtio_dev *v)
{
	return VIRTIO_BIT(F_CHANGE) | VIRTIO_BIT(F_HOTPLUG);
}

static void scsi_get_config(const struct virtio_dev *v, uint8_t *cfg)
{
	st_le32(cfg + CFG_NUM_QUEUES, v->nqueues - Q_REQUEST);
	st_le32(cfg + CFG_SEG_MAX, VIRTQ_MAX_SEGS - 2);
	st_le32(cfg + CFG_MAX_SECTORS, 0xffff);
	st_le32(cfg + CFG_CMD_PER_LUN, QUEUE_SIZE);
	st_le32(cfg + CFG_EVENT_SIZE, EVENT_LEN);
	st_le32(cfg + CFG_SENSE_SIZE, SENSE_SIZE);
	st_le32(cfg + CFG_CDB_SIZE, CDB_SIZE);
	st_le16(cfg + CFG_MAX_TARGET, VIRTIO_SCSI_TARGETS - 1);
	st_le32(cfg + CFG_MAX_LUN, 0);
}

/* ---- Addresses (5.6.6.1): 1, target, LUN in two bytes, zeros ---- */

static struct target *find_target(struct virtio_scsi *s, const uint8_t *lun, uint8_t *response)
{
	struct target *t = &s->target[lun[1] % VIRTIO_SCSI_TARGETS];

	*response = R_BAD_TARGET;
	if (lun[0] != 1 || lun[1] >= VIRTIO_SCSI_TARGETS || !t->used)
		return NULL;
	*response = R_INCORRECT_LUN;
	return (lun[2] & 0x3f) || lun[3] ? NULL : t;
}

static struct block *block_of(const struct target *t)
{
	return t->cdrom ? t->cd.block : t->disk.block;
}

/* ---- Completion ---- */

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

static void flush_queues(void *opaque)
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
		block_submit(block_of(&s->target[sl->target]), br);
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

/* ---- Requests ---- */

static void submit(struct scsi_slot *sl, struct target *t, enum block_op op,
		   const struct scsi_result *r)
{
	sl->req = (struct block_req){
		.op = op, .off = r->off, .len = r->len, .iov = sl->io.iov, .niov = sl->io.n,
		.done = io_done, .opaque = sl,
	};
	sl->flush_after = r->fua;
	sl->s->inflight++;
	block_submit(block_of(t), &sl->req);
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

static void serve(struct virtio_scsi *s, unsigned q)
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
	t = find_target(s, head, &response);
	if (!t) {
		respond(sl, response, SCSI_GOOD, NULL);
		return;
	}
	sl->target = head[1];
	command(sl, t, e, head + 19);
}

/* ---- Control queue ---- */

static void drain_all(struct virtio_scsi *s)
{
	while (s->inflight)
		for (unsigned i = 0; i < VIRTIO_SCSI_TARGETS; i++)
			if (s->target[i].used && block_of(&s->target[i]))
				block_drain(block_of(&s->target[i]));
}

static uint8_t task_management(struct virtio_scsi *s, const uint8_t *req)
{
	uint8_t response;
	struct target *t = find_target(s, req + 8, &response);

	if (!t)
		return response;
	switch (ld_le32(req + 4)) {
	case TMF_LUN_RESET:
	case TMF_NEXUS:
		drain_all(s);
		if (t->cdrom)
			cd_reset(&t->cd);
		else
			disk_reset(&t->disk);
		return R_FUNCTION_OK;
	case TMF_ABORT:
	case TMF_ABORT_SET:
	case TMF_CLEAR_SET:
		drain_all(s);
		return R_FUNCTION_OK;
	case TMF_QUERY:
	case TMF_QUERY_SET:
		return R_FUNCTION_OK;	/* the task is not there any more */
	default:
		return R_REJECTED;
	}
}

static void control(struct virtio_scsi *s)
{
	const struct virtq_elem e = s->elem;
	struct virtq *q = &s->v.vq[Q_CONTROL];
	uint8_t req[24] = { 0 }, answer[5] = { 0 };
	uint32_t type, len;

	if (!virtq_read(q, &e, 0, req, MIN(sizeof(req), e.out_len)) || e.out_len < 4) {
		virtio_fail(&s->v, "control request without a type");
		return;
	}
	type = ld_le32(req);
	len = type == T_TMF ? 1 : 5;
	if (type == T_TMF)
		answer[0] = e.out_len < 24 ? R_REJECTED : task_management(s, req);
	else if (type != T_AN_QUERY && type != T_AN_SUBSCRIBE)
		answer[4] = R_REJECTED;
	if (!virtq_write(q, &e, 0, answer, MIN(len, e.in_len)))
		virtio_fail(&s->v, "control response outside RAM");
	virtq_push(q, e.head, (uint32_t)MIN(len, e.in_len));
	s->dirty |= 1u << Q_CONTROL;
}

/* ---- Event queue ---- */

static void send_event(struct virtio_scsi *s, uint32_t event, unsigned target, uint32_t reason)
{
	struct virtq *q = &s->v.vq[Q_EVENT];
	uint8_t ev[EVENT_LEN] = { 0 };

	if (!virtio_has(&s->v, F_CHANGE) || !virtio_active(&s->v, Q_EVENT))
		return;
	if (!virtq_pop(q, &s->elem)) {
		s->missed = true;
		return;
	}
	if (s->missed)
		event |= EV_MISSED;
	s->missed = false;
	st_le32(ev, event);
	ev[4] = 1;
	ev[5] = (uint8_t)target;
	st_le32(ev + 12, reason);
	if (s->elem.in_len < EVENT_LEN || !virtq_write(q, &s->elem, 0, ev, sizeof(ev)))
		virtio_fail(&s->v, "event buffer too short or outside RAM");
	virtq_push(q, s->elem.head, EVENT_LEN);
	virtio_flush(&s->v, Q_EVENT);
}

static void scsi_kick(struct virtio_dev *v, unsigned q)
{
	struct virtio_scsi *s = scsi_of(v);
	unsigned n = 0;

	if (q == Q_EVENT)	/* buffers for later */
		return;
	while (n < VIRTIO_KICK_BUDGET && virtq_pop(&v->vq[q], &s->elem)) {
		if (q == Q_CONTROL)
			control(s);
		else
			serve(s, q);
		n++;
	}
	for (unsigned i = 0; i < VIRTIO_SCSI_TARGETS; i++)
		if (s->target[i].used && block_of(&s->target[i]))
			block_poll(block_of(&s->target[i]));
	flush_queues(s);
	if (n == VIRTIO_KICK_BUDGET)
		virtio_requeue(v, q);
}

/* ---- Life ---- */

static void scsi_quiesce(struct virtio_dev *v)
{
	struct virtio_scsi *s = scsi_of(v);

	s->generation++;
	drain_all(s);
	s->missed = false;
	s->dirty = 0;
	for (unsigned i = 0; i < VIRTIO_SCSI_TARGETS; i++) {
		disk_reset(&s->target[i].disk);
		cd_reset(&s->target[i].cd);
	}
}

static const struct virtio_class scsi_class = {
	.type = VIRTIO_ID_SCSI,
	.legacy_id = 0x1004,
	.class_code = 0x0100,
	.config_len = CFG_LEN,
	.packed = true,
	.features = scsi_features,
	.get_config = scsi_get_config,
	.kick = scsi_kick,
	.reset = scsi_quiesce,
};

void virtio_scsi_set_drive(struct device *d, unsigned target, struct block *block, bool cdrom,
			   bool readonly, const char *serial)
{
	struct target *t = &scsi_of(virtio_of(d))->target[target];

	HV_BUG_ON(target >= VIRTIO_SCSI_TARGETS || t->used || (!block && !cdrom));
	t->used = true;
	t->cdrom = cdrom;
	if (cdrom) {
		t->cd.block = block;
		return;
	}
	t->disk.block = block;
	t->disk.readonly = readonly || block_info(block)->readonly;
	snprintf(t->disk.serial, sizeof(t->disk.serial), "%s", serial);
}

static void watch(struct virtio_scsi *s, struct block *b, bool on)
{
	if (b)
		block_set_batch(b, on ? flush_queues : NULL, on ? s : NULL);
}

void virtio_scsi_set_medium(struct device *d, unsigned target, struct block *block)
{
	struct virtio_scsi *s = scsi_of(virtio_of(d));
	struct target *t = &s->target[target];

	HV_BUG_ON(target >= VIRTIO_SCSI_TARGETS || !t->cdrom);
	drain_all(s);
	watch(s, t->cd.block, false);
	cd_set_medium(&t->cd, block);
	watch(s, block, true);
	/* 5.6.6.3.3: sense code and qualifier of "medium may have changed" */
	send_event(s, EV_PARAM_CHANGE, target, ASC_MEDIUM_CHANGED >> 8);
}

static struct media_tray tray(struct device *d, unsigned target, bool wish)
{
	struct virtio_scsi *s = scsi_of(virtio_of(d));
	bool before = s->target[target].cd.event;
	struct media_tray t = cd_tray(&s->target[target].cd, wish);

	/* The guest polls for the request (GET EVENT STATUS); the event makes it look. */
	if (wish && t.locked && !before)
		send_event(s, EV_PARAM_CHANGE, target, ASC_MEDIUM_CHANGED >> 8);
	return t;
}

/* 5.6.6.3.3, SPC-4 5.14: an event, and unit attention "capacity data has changed". */
static bool resized(struct device *d, unsigned target)
{
	struct virtio_scsi *s = scsi_of(virtio_of(d));

	s->target[target].disk.resized = true;
	send_event(s, EV_PARAM_CHANGE, target,
		   (ASC_CAPACITY_CHANGED & 0xff) << 8 | ASC_CAPACITY_CHANGED >> 8);
	return true;
}

const struct media_ops virtio_scsi_media = {
	.set = virtio_scsi_set_medium, .tray = tray, .resized = resized,
};

static void alloc_queues(struct virtio_scsi *s)
{
	s->queues = hv_zalloc(s->nrequest * sizeof(*s->queues));
	for (unsigned i = 0; i < s->nrequest; i++) {
		struct scsi_queue *q = &s->queues[i];

		q->slots = hv_zalloc(QUEUE_SIZE * sizeof(*q->slots));
		q->elems = hv_zalloc(QUEUE_SIZE * sizeof(*q->elems));
		for (unsigned k = 0; k < QUEUE_SIZE; k++)
			q->free[k] = (uint16_t)(QUEUE_SIZE - 1 - k);
		q->nfree = QUEUE_SIZE;
	}
}

static bool scsi_realize(struct device *d, struct err *e)
{
	struct virtio_scsi *s = scsi_of(virtio_of(d));

	s->nrequest = MIN(MAX(d->vm->ncpus, 1u), MAX_REQUEST_QUEUES);
	alloc_queues(s);
	for (unsigned i = 0; i < VIRTIO_SCSI_TARGETS; i++)
		watch(s, block_of(&s->target[i]), true);
	return virtio_realize(&s->v, &scsi_class, s->nrequest + Q_REQUEST, QUEUE_SIZE, e);
}

static void scsi_unrealize(struct device *d)
{
	struct virtio_scsi *s = scsi_of(virtio_of(d));

	virtio_unrealize(&s->v);
	for (unsigned i = 0; i < VIRTIO_SCSI_TARGETS; i++)
		watch(s, block_of(&s->target[i]), false);
	for (unsigned i = 0; i < s->nrequest; i++) {
		free(s->queues[i].slots);
		free(s->queues[i].elems);
	}
	free(s->queues);
}

static void scsi_pre_save(struct device *d)
{
	drain_all(scsi_of(virtio_of(d)));
}

static bool scsi_post_load(struct device *d, struct err *e)
{
	return virtio_post_load(virtio_of(d), e);
}

const struct device_ops virtio_scsi_ops = {
	.name = "virtio-scsi",
	.size = sizeof(struct virtio_scsi),
	.realize = scsi_realize,
	.reset = virtio_reset,
	.unrealize = scsi_unrealize,
	.state = scsi_state,
	.state_version = 1,
	.post_load = scsi_post_load,
	.pre_save = scsi_pre_save,
};
