/* SPDX-License-Identifier: MIT */
/* Private to devices/scsi_cd*.c. */
#ifndef HV_SCSI_CD_INT_H
#define HV_SCSI_CD_INT_H

#include "scsi_cd.h"

/* A command: @p the packet, @b the zeroed reply. */
typedef void cd_fn(struct scsi_cd *cd, const uint8_t *p, uint8_t *b, struct scsi_result *r);

/* Blocks that the guest can read: 0 without a medium or with the tray out. */
static inline uint32_t cd_blocks(const struct scsi_cd *cd)
{
	return cd->open ? 0 : MIN(cd->nblocks, UINT32_MAX);
}

/* scsi_cd_info.c: what the drive tells about its disc and itself */
cd_fn cd_cmd_toc, cd_cmd_subchannel, cd_cmd_disc_info, cd_cmd_track_info, cd_cmd_config;

#endif
