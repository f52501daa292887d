/* SPDX-License-Identifier: MIT */
/* 82077AA floppy disk controller: wiring for the board. */
#ifndef HV_FDC_H
#define HV_FDC_H

#include "../src/device.h"

#define FDC_DRIVES 2
#define FDC_IRQ 6
#define FDC_DMA 2

struct block;
struct media_ops;

extern const struct device_ops fdc_ops;
extern const struct media_ops fdc_media;	/* unit: drive 0 or 1 */

/* Before device_realize().  @dma: a realized i8237. */
void fdc_wire(struct device *d, struct irq_line irq, struct device *dma);
/*
 * Put drive @unit there, of the kind that fits @block's size (NULL: 1.44 MB,
 * empty).  false + @e: it is larger than any floppy disk.  Before device_realize().
 */
bool fdc_set_drive(struct device *d, unsigned unit, struct block *block, bool readonly,
		   struct err *e);
/*
 * Exchange the disk of a running machine (@block NULL: take it out), under
 * dev_lock: the change line tells the guest.  The old block is not used any
 * more.  false + @e: the size does not fit this drive; nothing changed.
 */
bool fdc_set_medium(struct device *d, unsigned unit, struct block *block, bool readonly,
		    struct err *e);
/* What CMOS byte 10h says: drive A in the high half; 1-5 = 360K, 1.2M, 720K, 1.44M, 2.88M. */
uint8_t fdc_cmos_types(struct device *d);

#endif
