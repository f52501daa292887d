/* SPDX-License-Identifier: MIT */
/*
 * A CD/DVD-ROM drive as a command set: the MMC-3 commands that firmware and
 * CD drivers use, without a transport.  ATAPI (ata_packet.c) and virtio-scsi
 * put it on a bus.
 */
#ifndef HV_SCSI_CD_H
#define HV_SCSI_CD_H

#include "scsi.h"
#include "../src/media.h"

#define CD_SECTOR 2048u

struct scsi_cd {
	struct block *block;	/* NULL: no medium; changed by cd_set_medium() */
	uint64_t nblocks;	/* of CD_SECTOR; derived from block */
	/* guest-visible */
	bool open;		/* the tray is out: the medium cannot be reached */
	bool locked;		/* PREVENT MEDIUM REMOVAL */
	uint8_t event;		/* next media event to report (MMC-3 6.6.3) */
	bool changed;		/* unit attention pending */
	struct scsi_sense sense;	/* of the last command, for REQUEST SENSE */
};

extern const struct state_field scsi_cd_state[];

/* Power-on state; the medium stays, the tray closes. */
void cd_reset(struct scsi_cd *cd);
/* Another medium, or none; the guest sees the change.  No request may be in flight. */
void cd_set_medium(struct scsi_cd *cd, struct block *block);
/* How the tray is; @wish: the user wants the medium, a guest that holds it is told. */
struct media_tray cd_tray(struct scsi_cd *cd, bool wish);
/* Can [off, off + len) of the medium that a command began with still be read? */
bool cd_readable(const struct scsi_cd *cd, uint64_t off, uint64_t len);
/*
 * Run the command @cdb (12 bytes or more).  Replies are built in @buf, of at
 * least SCSI_REPLY_MAX bytes, zeroed by the caller.
 */
void cd_command(struct scsi_cd *cd, const uint8_t *cdb, uint8_t *buf, struct scsi_result *r);
/* The medium could not be read, or is not there any more. */
void cd_read_failed(struct scsi_cd *cd, struct scsi_result *r);

#endif
