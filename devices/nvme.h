/* SPDX-License-Identifier: MIT */
/* NVMe controller: wiring for the board. */
#ifndef HV_NVME_H
#define HV_NVME_H

#include "../src/pci.h"

struct block;
struct media_ops;

extern const struct device_ops nvme_ops;
extern const struct media_ops nvme_media;	/* unit: 0 */

/* Before realize.  @serial: up to 20 characters. */
void nvme_set_disk(struct device *d, struct block *block, bool readonly, const char *serial);

#endif
