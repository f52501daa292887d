/* SPDX-License-Identifier: MIT */
/* virtio-scsi: wiring for the board. */
#ifndef HV_VIRTIO_SCSI_H
#define HV_VIRTIO_SCSI_H

#include <stdbool.h>

struct block;
struct media_ops;
struct device;
struct device_ops;

#define VIRTIO_SCSI_TARGETS 16

extern const struct device_ops virtio_scsi_ops;

/* Before realize: a disk or CD drive as LUN 0 of @target.  @block NULL: CD without medium. */
void virtio_scsi_set_drive(struct device *d, unsigned target, struct block *block, bool cdrom,
			   bool readonly, const char *serial);
/* Under dev_lock: another medium, or none, in the CD drive @target. */
void virtio_scsi_set_medium(struct device *d, unsigned target, struct block *block);
extern const struct media_ops virtio_scsi_media;

#endif
