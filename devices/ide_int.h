/* SPDX-License-Identifier: MIT */
/* Private to devices/ide*.c: the channels of the PIIX3's IDE function. */
#ifndef HV_IDE_INT_H
#define HV_IDE_INT_H

#include "ata.h"
#include "chipset.h"

struct ide;

struct ide_channel {
	struct ide *ide;
	struct ata_port port;
	struct irq_line irq;
	struct io_region cmd_region, ctl_region;
	uint8_t control;
	bool irq_level;
	/* bus master */
	uint8_t bm_cmd, bm_status;
	uint32_t bm_addr, bm_next;	/* table; next entry */
	uint32_t prd_addr, prd_left;	/* rest of the current region */
	uint16_t prd_count;		/* entries read: bounds the walk */
	bool prd_last;
};

struct ide {
	struct pci_dev pci;
	struct ide_channel ch[2];
	struct { struct block *block; bool cdrom, readonly; char serial[21]; bool used; } wiring[4];
};

#define BM_ACTIVE 0x01
#define BM_INT 0x04

/* Bus master (ide_dma.c) */
extern const struct io_ops ide_bm_io;
void ide_dma_kick(struct ide_channel *c);
bool ide_dma_running(struct ata_port *p);
bool ide_dma_copy(struct ata_port *p, uint32_t len, bool to_host);
void ide_dma_stop(struct ata_port *p);

#endif
