/* SPDX-License-Identifier: MIT */
/* Private to devices/ide*.c: channels, drives, and what the ATAPI part needs. */
#ifndef HV_IDE_INT_H
#define HV_IDE_INT_H

#include "chipset.h"
#include "../src/block.h"

#define IDE_BUF KiB(32)
#define IDE_MULTI_MAX 16
#define SECTOR 512u
#define CD_SECTOR 2048u

/* Status */
#define ST_ERR 0x01
#define ST_DRQ 0x08
#define ST_DSC 0x10
#define ST_DRDY 0x40
#define ST_BSY 0x80
/* Error */
#define ER_ABRT 0x04
#define ER_IDNF 0x10
#define ER_UNC 0x40
/* Interrupt reason in the count register (ATAPI) */
#define IR_COD 0x01
#define IR_IO 0x02

/* What the data port or bus master does next. */
enum ide_xfer {
	XFER_NONE,
	XFER_READ,		/* buf -> host, sectors follow while left */
	XFER_WRITE,		/* host -> buf -> disk */
	XFER_PACKET,		/* host -> command block */
	XFER_REPLY,		/* buf -> host, ATAPI; sectors follow while left */
	XFER_MAX,
};

struct ide_unit {
	/* immutable after realize */
	struct block *block;
	bool present, cdrom, readonly;
	char serial[21];
	uint64_t nsectors;	/* of 512 bytes */
	/* task file: [0] most recent, [1] previous content */
	uint8_t feature[2], count[2], lo[2], mid[2], hi[2];
	uint8_t device, status, error;
	uint8_t multi, dma_mode, heads, spt;
	bool wcache;
	/* ATAPI */
	uint8_t sense_key, asc;
};

struct ide_channel {
	struct ide *ide;
	struct ide_unit unit[2];
	struct irq_line irq;
	struct io_region cmd_region, ctl_region;
	uint8_t sel, control;
	bool irq_level;
	/* command in progress */
	uint8_t xfer;			/* enum ide_xfer */
	bool dma;			/* by the bus master */
	bool lba48, fua;
	uint8_t block_sectors;		/* of one DRQ block */
	uint64_t lba;			/* units of SECTOR, ATAPI: CD_SECTOR */
	uint32_t left;			/* sectors not yet in buf or on disk */
	uint16_t byte_limit;		/* ATAPI: of one DRQ block; even, not 0 */
	uint32_t pos, end, len;		/* in buf: next byte, end of DRQ block, end of data */
	uint8_t buf[IDE_BUF];
	/* bus master */
	uint8_t bm_cmd, bm_status;
	uint32_t bm_addr, bm_next;	/* table; next entry */
	uint32_t prd_addr, prd_left;	/* rest of the current region */
	uint16_t prd_count;		/* entries read: bounds the walk */
	bool prd_last;
	/* request in flight: buf belongs to it */
	bool inflight, aborting;
	struct block_req req;
	struct iovec iov;
	void (*then)(struct ide_channel *c, int error);
	void (*after_fetch)(struct ide_channel *c, int error);
};

struct ide {
	struct pci_dev pci;
	struct ide_channel ch[2];
	struct { struct block *block; bool cdrom, readonly; char serial[21]; bool used; } wiring[4];
};

static inline struct ide_unit *ide_unit(struct ide_channel *c)
{
	return &c->unit[c->sel];
}

/* Start an asynchronous request on buf; @then runs with BSY still set. */
void ide_submit(struct ide_channel *c, enum block_op op, uint64_t off, uint32_t len,
		void (*then)(struct ide_channel *c, int error));
void ide_raise(struct ide_channel *c);
/* The command ends, with an interrupt. */
void ide_finish(struct ide_channel *c, uint8_t status, uint8_t error);
/* The bus master may run now if it is started. */
void ide_dma_kick(struct ide_channel *c);

/* ATAPI (ide_atapi.c) */
void atapi_packet(struct ide_channel *c);		/* PACKET was written */
void atapi_command(struct ide_channel *c);		/* 12 bytes are in buf */
void atapi_next(struct ide_channel *c);			/* the host took a DRQ block */
void atapi_dma_done(struct ide_channel *c, bool ok);
void atapi_identify(struct ide_channel *c, uint8_t *id);
/* XFER_REPLY by DMA: fill buf with the next sectors, then @then. */
void atapi_fetch(struct ide_channel *c, void (*then)(struct ide_channel *c, int error));
void atapi_fail(struct ide_channel *c, uint8_t key, uint8_t asc);

#endif
