/* SPDX-License-Identifier: MIT */
/* A SCSI disk as a command set (SBC-3, SPC-4), without a transport. */
#ifndef HV_SCSI_DISK_H
#define HV_SCSI_DISK_H

#include "scsi.h"

#define SCSI_DISK_BLOCK 512u
#define SCSI_PARAMS_MAX 512u	/* longest parameter list a command takes */

struct scsi_disk {
	struct block *block;	/* immutable, as readonly and serial */
	bool readonly;
	char serial[21];
	/* guest-visible */
	bool wcache;
	bool resized;		/* unit attention pending: the capacity is another one */
};

extern const struct state_field scsi_disk_state[];

void disk_reset(struct scsi_disk *d);
/* As cd_command().  SCSI_PARAMS: call disk_params() with what the host sent. */
void disk_command(struct scsi_disk *d, const uint8_t *cdb, uint8_t *buf, struct scsi_result *r);
void disk_params(struct scsi_disk *d, const uint8_t *cdb, const uint8_t *data, uint32_t len,
		 struct scsi_result *r);

#endif
