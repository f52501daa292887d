/* SPDX-License-Identifier: MIT */
/*
 * Virtio SCSI host device (VIRTIO 1.2, 5.6): control, event and request
 * queues in front of disks and CD drives (scsi_disk.c, scsi_cd.c), each LUN 0
 * of a target of its own; commands are in scsi_req.c.  Events tell of another
 * medium or size (VIRTIO_SCSI_F_CHANGE).
 *
 * Left out: bidirectional commands, protection information, hot-plug of
 * targets; a command cannot be aborted, its abort waits for its end.
 */
#include "scsi_int.h"
#include <stdio.h>
#include <stdlib.h>

#define MAX_REQUEST_QUEUES 4u
#define Q_CONTROL 0
#define Q_EVENT 1

#define F_HOTPLUG 1	/* never used, but without it Linux gives no event buffers */
#define F_CHANGE 2
#define EVENT_LEN 16u

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

/* ---- Control queue ---- */

static void drain_all(struct virtio_scsi *s)
{
	while (s->inflight)
		for (unsigned i = 0; i < VIRTIO_SCSI_TARGETS; i++)
			if (s->target[i].used && vscsi_block(&s->target[i]))
				block_drain(vscsi_block(&s->target[i]));
}

static uint8_t task_management(struct virtio_scsi *s, const uint8_t *req)
{
	uint8_t response;
	struct target *t = vscsi_find_target(s, req + 8, &response);

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
			vscsi_serve(s, q);
		n++;
	}
	for (unsigned i = 0; i < VIRTIO_SCSI_TARGETS; i++)
		if (s->target[i].used && vscsi_block(&s->target[i]))
			block_poll(vscsi_block(&s->target[i]));
	vscsi_flush_queues(s);
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
		block_set_batch(b, on ? vscsi_flush_queues : NULL, on ? s : NULL);
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
		watch(s, vscsi_block(&s->target[i]), true);
	return virtio_realize(&s->v, &scsi_class, s->nrequest + Q_REQUEST, QUEUE_SIZE, e);
}

static void scsi_unrealize(struct device *d)
{
	struct virtio_scsi *s = scsi_of(virtio_of(d));

	virtio_unrealize(&s->v);
	for (unsigned i = 0; i < VIRTIO_SCSI_TARGETS; i++)
		watch(s, vscsi_block(&s->target[i]), false);
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
