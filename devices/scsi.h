/* SPDX-License-Identifier: MIT */
/*
 * What SCSI command sets (scsi_cd.c, scsi_disk.c) and their transports share:
 * status, sense data and the outcome of a command (SPC-4).
 */
#ifndef HV_SCSI_H
#define HV_SCSI_H

#include "../src/block.h"
#include "../src/state.h"

#define SCSI_REPLY_MAX 512u	/* longest reply that is not medium data */
#define SCSI_SENSE_LEN 18u

/* Status (SAM-5 5.3) */
#define SCSI_GOOD 0x00
#define SCSI_CHECK 0x02

/* Sense keys (SPC-4 4.5.6) */
enum {
	KEY_NONE = 0, KEY_NOT_READY = 2, KEY_MEDIUM = 3, KEY_HARDWARE = 4, KEY_ILLEGAL = 5,
	KEY_ATTENTION = 6, KEY_PROTECT = 7, KEY_ABORTED = 11,
};

/* Additional sense: code << 8 | qualifier */
enum {
	ASC_NONE = 0, ASC_WRITE_ERROR = 0x0c00, ASC_READ_ERROR = 0x1100,
	ASC_PARAM_LENGTH = 0x1a00, ASC_INVALID_OP = 0x2000, ASC_LBA_RANGE = 0x2100,
	ASC_INVALID_FIELD = 0x2400, ASC_LUN = 0x2500, ASC_INVALID_PARAM = 0x2600,
	ASC_PROTECTED = 0x2700, ASC_MEDIUM_CHANGED = 0x2800, ASC_POWER_ON = 0x2900,
	ASC_CAPACITY_CHANGED = 0x2a09, ASC_SAVING = 0x3900, ASC_NO_MEDIUM = 0x3a00,
	ASC_TRAY_OPEN = 0x3a02, ASC_TARGET_FAILURE = 0x4400, ASC_REMOVAL_PREVENTED = 0x5302,
	ASC_ILLEGAL_MODE = 0x6400,
};

struct scsi_sense {
	uint8_t key;
	uint16_t asc;
};

enum scsi_outcome {
	SCSI_DONE,		/* nothing to transfer */
	SCSI_REPLY,		/* buf[0, len) goes to the host */
	SCSI_READ,		/* off, len of the medium go to the host */
	SCSI_WRITE,		/* len bytes from the host go to off */
	SCSI_IO,		/* op on off, len; no data */
	SCSI_PARAMS,		/* len bytes of parameters come from the host first */
	SCSI_FAILED,		/* CHECK CONDITION with sense */
};

struct scsi_result {
	enum scsi_outcome what;
	enum block_op op;	/* SCSI_IO */
	bool fua;		/* SCSI_WRITE: flush afterwards */
	uint64_t off, len;	/* bytes */
	struct scsi_sense sense;
};

static inline void scsi_fail(struct scsi_result *r, uint8_t key, uint16_t asc)
{
	*r = (struct scsi_result){ .what = SCSI_FAILED, .sense = { key, asc } };
}

/* Fixed format sense data (SPC-4 4.5.3). */
static inline void scsi_put_sense(uint8_t *p, const struct scsi_sense *s)
{
	memset(p, 0, SCSI_SENSE_LEN);
	p[0] = 0x70;
	p[2] = s->key;
	p[7] = SCSI_SENSE_LEN - 8;
	p[12] = s->asc >> 8;
	p[13] = s->asc;
}

/* The reply in buf is @len bytes long, of which the host takes @alloc at most. */
static inline void scsi_reply(struct scsi_result *r, uint32_t len, uint32_t alloc)
{
	len = len < alloc ? len : alloc;
	*r = (struct scsi_result){ .what = len ? SCSI_REPLY : SCSI_DONE, .len = len };
}

#endif
