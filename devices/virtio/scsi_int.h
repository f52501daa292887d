/* SPDX-License-Identifier: MIT */
/* Shared by scsi.c and scsi_req.c; not for other files. */
#ifndef HV_VIRTIO_SCSI_INT_H
#define HV_VIRTIO_SCSI_INT_H

#include "virtio.h"
#include "scsi.h"
#include "../scsi_cd.h"
#include "../scsi_disk.h"

#define QUEUE_SIZE 128u
#define Q_REQUEST 2		/* the first of them */

#define CDB_SIZE 32u
#define SENSE_SIZE 96u
#define REQ_LEN (19u + CDB_SIZE)
#define RESP_LEN (12u + SENSE_SIZE)

/* Responses (5.6.6.1) */
enum { R_OK = 0, R_OVERRUN = 1, R_BAD_TARGET = 3, R_FAILURE = 9, R_FUNCTION_OK = 0,
       R_REJECTED = 11, R_INCORRECT_LUN = 12 };

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

static inline struct block *vscsi_block(const struct target *t)
{
	return t->cdrom ? t->cd.block : t->disk.block;
}

/* scsi_req.c.  By address (5.6.6.1): 1, target, LUN in two bytes, zeros; NULL: @response. */
struct target *vscsi_find_target(struct virtio_scsi *s, const uint8_t *lun, uint8_t *response);
void vscsi_serve(struct virtio_scsi *s, unsigned q);	/* the request in s->elem */
void vscsi_flush_queues(void *opaque);			/* tell the guest of completions */

#endif
