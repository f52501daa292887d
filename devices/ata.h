/* SPDX-License-Identifier: MIT */
/*
 * ATA drives as a command set (ATA/ATAPI-6, T13/1410D; words and commands of
 * ACS-3 where AHCI drivers want them), below any host interface.
 *
 * A struct ata_port is a cable with one or two drives, one command in
 * progress and one buffer.  The interface (PIIX channel, AHCI port) writes
 * the task file, calls ata_execute(), moves the data of PIO windows and, by
 * its struct ata_transport, of DMA.  Disk I/O is asynchronous: BSY stays set
 * until its completion.  Everything under vm->dev_lock.
 */
#ifndef HV_ATA_H
#define HV_ATA_H

#include "scsi_cd.h"
#include "../src/device.h"

#define ATA_BUF KiB(32)
#define ATA_MULTI_MAX 16
#define ATA_SECTOR 512u
#define ATA_PACKET_LEN 12

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
/* Device register */
#define DEV_LBA 0x40
#define DEV_SEL 0x10

/* What the data window or DMA does next. */
enum ata_xfer {
	XFER_NONE,
	XFER_READ,		/* buf -> host, sectors follow while left */
	XFER_WRITE,		/* host -> buf -> disk */
	XFER_PACKET,		/* host -> command block */
	XFER_REPLY,		/* buf -> host, ATAPI; sectors follow while left */
	XFER_TRIM,		/* host -> buf: ranges to discard; then pos walks them */
	XFER_MAX,
};

struct ata_drive {
	/* immutable after ata_attach() */
	struct block *block;	/* of a disk; a CD's is in cd */
	bool present, cdrom, readonly, sata;
	char serial[21];
	uint64_t nsectors;
	/* task file: [0] most recent, [1] previous content */
	uint8_t feature[2], count[2], lo[2], mid[2], hi[2];
	uint8_t device, status, error;
	uint8_t multi, dma_mode, heads, spt;
	bool wcache;
	struct scsi_cd cd;
	/* NCQ error log (page 10h): written by interfaces with queueing */
	bool ncq_failed;
	uint8_t ncq_tag, ncq_error;
	uint64_t ncq_lba;
};

struct ata_port;

struct ata_transport {
	/* The command ended, or (with DRQ) a PIO window wants attention. */
	void (*raise)(struct ata_port *p);
	/* A PIO window is open: buf[pos, end).  May be NULL: the host polls. */
	void (*window)(struct ata_port *p);
	/* A DMA command waits for its data phase: ata_dma_run() when it may. */
	void (*dma_kick)(struct ata_port *p);
	/* May the data phase go on? */
	bool (*dma_running)(struct ata_port *p);
	/* Move buf[0, len) to or from host memory; false: not possible, the command fails. */
	bool (*dma_copy)(struct ata_port *p, uint32_t len, bool to_host);
	/* The data phase is over. */
	void (*dma_stop)(struct ata_port *p);
};

struct ata_port {
	const struct ata_transport *tr;	/* immutable, as dev */
	struct device *dev;
	struct ata_drive unit[2];
	uint8_t sel;
	/* command in progress */
	uint8_t xfer;			/* enum ata_xfer */
	bool dma;
	bool lba48, fua;
	uint8_t block_sectors;		/* of one DRQ block */
	uint64_t lba;			/* units of ATA_SECTOR, ATAPI: CD_SECTOR */
	uint32_t left;			/* sectors not yet in buf or on disk */
	uint16_t byte_limit;		/* ATAPI: of one DRQ block; even, not 0 */
	uint32_t pos, end, len;		/* in buf: next byte, end of DRQ block, end of data */
	uint8_t buf[ATA_BUF];
	/* request in flight: buf belongs to it */
	bool inflight, aborting;
	struct block_req req;
	struct iovec iov;
	void (*then)(struct ata_port *p, int error);
	void (*after_fetch)(struct ata_port *p, int error);
};

static inline struct ata_drive *ata_unit(struct ata_port *p)
{
	return &p->unit[p->sel];
}

extern const struct state_field ata_port_state[];

/* ---- for host interfaces ---- */

/* Put a drive on the cable, before the machine runs; @block NULL: CD drive without medium. */
bool ata_attach(struct ata_port *p, unsigned unit, struct block *block, bool cdrom,
		bool readonly, const char *serial, struct err *e);
/* Power-on state; waits for the request in flight. */
void ata_reset(struct ata_port *p);
/* Of the machine, after ata_reset(): disks that became larger show it from now on. */
void ata_power_on(struct ata_port *p);
/* Forget the command in progress; waits for its request. */
void ata_abort(struct ata_port *p);
void ata_drain(struct ata_port *p);		/* finish the request in flight, for saving */
bool ata_state_valid(const struct ata_port *p);	/* of loaded state */
/* Registers after a reset (9.12). */
void ata_signature(struct ata_drive *u);
/* The selected drive gets command @op. */
void ata_execute(struct ata_port *p, uint8_t op);
/* The host has taken or filled the window. */
void ata_window_done(struct ata_port *p);
void ata_dma_run(struct ata_port *p);		/* start the data phase */
void ata_dma_refuse(struct ata_port *p);	/* it cannot start: end the command */
static inline bool ata_busy(struct ata_port *p)
{
	return ata_unit(p)->status & (ST_BSY | ST_DRQ);
}

/* Sector commands, for interfaces that do their own data transfers (NCQ). */
enum { ATA_F_LBA48 = 1, ATA_F_WRITE = 2, ATA_F_DMA = 4, ATA_F_MULTI = 8, ATA_F_FUA = 16 };
uint64_t ata_get_lba(const struct ata_drive *u, bool lba48);
uint32_t ata_get_count(const struct ata_drive *u, bool lba48);
void ata_set_lba(struct ata_drive *u, uint64_t lba, bool lba48);

/* ---- between ata_core.c, ata_cmd.c and ata_packet.c ---- */

/* Start an asynchronous request on buf; @then runs with BSY still set. */
void ata_submit(struct ata_port *p, enum block_op op, uint64_t off, uint32_t len,
		void (*then)(struct ata_port *p, int error));
/* The command ends, with an interrupt. */
void ata_finish(struct ata_port *p, uint8_t status, uint8_t error);
void ata_finish_ok(struct ata_port *p);
void ata_finish_abort(struct ata_port *p);
void ata_flushed(struct ata_port *p, int error);
void ata_io_error(struct ata_port *p);		/* the sectors at lba failed */
void ata_write_complete(struct ata_port *p);	/* all sectors are written: flush if asked to */
uint32_t ata_piece(const struct ata_port *p);	/* sectors of the next block or request */
/* Sector transfer set up in lba, left, dma ...: start it. */
void ata_start_read(struct ata_port *p);
void ata_start_write(struct ata_port *p);
void ata_start_trim(struct ata_port *p, uint32_t len);
/* Offer buf[0, len) as one PIO window, with an interrupt unless it is a first write block. */
void ata_open_window(struct ata_port *p, uint32_t len, bool irq);

void atapi_packet(struct ata_port *p);		/* PACKET was written */
void atapi_command(struct ata_port *p);		/* 12 bytes are in buf */
void atapi_next(struct ata_port *p);		/* the host took a DRQ block */
void atapi_dma_done(struct ata_port *p, bool ok);
void atapi_read_failed(struct ata_port *p);
void atapi_identify(uint8_t *id);
/* XFER_REPLY by DMA: fill buf with the next sectors, then @then. */
void atapi_fetch(struct ata_port *p, void (*then)(struct ata_port *p, int error));

#endif
