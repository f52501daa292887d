/* SPDX-License-Identifier: MIT */
/*
 * ATAPI: the packet protocol (ATA/ATAPI-6 section 9.8) in front of a CD drive
 * (scsi_cd.c).
 *
 * A reply is built in the port's buffer, clipped to the allocation length of
 * the command, and handed out in DRQ blocks of at most the host's byte count
 * limit, or by DMA.
 */
#include "ata.h"
#include <errno.h>

/* ---- Ends of commands ---- */

static void end_ok(struct ata_port *p)
{
	struct ata_drive *u = ata_unit(p);

	u->count[0] = IR_COD | IR_IO;
	ata_finish(p, ST_DRDY, 0);
}

static void fail(struct ata_port *p, const struct scsi_sense *s)
{
	struct ata_drive *u = ata_unit(p);

	u->count[0] = IR_COD | IR_IO;
	u->cd.sense = *s;
	ata_finish(p, ST_DRDY | ST_ERR, s->key << 4 | ER_ABRT);
}

void atapi_read_failed(struct ata_port *p)
{
	struct scsi_result r;

	cd_read_failed(&ata_unit(p)->cd, &r);
	fail(p, &r.sense);
}

void atapi_dma_done(struct ata_port *p, bool ok)
{
	if (ok)
		end_ok(p);
	else
		fail(p, &(struct scsi_sense){ KEY_ABORTED, ASC_NONE });
}

/* ---- Data to the host ---- */

/* Offer the next DRQ block of buf[pos, len). */
static void open_block(struct ata_port *p)
{
	struct ata_drive *u = ata_unit(p);
	uint32_t n = MIN(p->len - p->pos, p->byte_limit);

	p->end = p->pos + n;
	u->mid[0] = n;
	u->hi[0] = n >> 8;
	u->count[0] = IR_IO;
	u->status = ST_DRDY | ST_DRQ;
	p->tr->raise(p);
	if (p->tr->window)
		p->tr->window(p);
}

static void fetched(struct ata_port *p, int error)
{
	if (error)
		atapi_read_failed(p);
	else
		open_block(p);
}

static void fetch_done(struct ata_port *p, int error)
{
	uint32_t n = MIN(p->left, ATA_BUF / CD_SECTOR);

	if (!error) {
		p->pos = p->end = 0;
		p->len = n * CD_SECTOR;
		p->lba += n;
		p->left -= n;
	}
	p->after_fetch(p, error);
}

void atapi_fetch(struct ata_port *p, void (*then)(struct ata_port *p, int error))
{
	uint32_t n = MIN(p->left, ATA_BUF / CD_SECTOR);

	p->after_fetch = then;
	/* In the middle of a command its medium may have been taken out. */
	if (cd_readable(&ata_unit(p)->cd, p->lba * CD_SECTOR, n * CD_SECTOR))
		ata_submit(p, BLOCK_READ, p->lba * CD_SECTOR, n * CD_SECTOR, fetch_done);
	else
		then(p, EIO);
}

void atapi_next(struct ata_port *p)
{
	if (p->pos < p->len)
		open_block(p);
	else if (p->left)
		atapi_fetch(p, fetched);
	else
		end_ok(p);
}

/* buf[0, len) is the answer. */
static void reply(struct ata_port *p, uint32_t len)
{
	p->pos = p->end = 0;
	p->len = len;
	p->left = 0;
	p->xfer = XFER_REPLY;
	if (!p->dma) {
		open_block(p);
		return;
	}
	ata_unit(p)->status = ST_DRDY | ST_DRQ;
	p->tr->dma_kick(p);
}

static void read_medium(struct ata_port *p, const struct scsi_result *r)
{
	p->lba = r->off / CD_SECTOR;
	p->left = r->len / CD_SECTOR;
	p->pos = p->end = p->len = 0;
	p->xfer = XFER_REPLY;
	ata_unit(p)->status = ST_DRDY | ST_DRQ;
	if (p->dma)
		p->tr->dma_kick(p);
	else
		atapi_fetch(p, fetched);
}

void atapi_command(struct ata_port *p)
{
	struct ata_drive *u = ata_unit(p);
	uint8_t cdb[16] = { 0 };
	struct scsi_result r;

	memcpy(cdb, p->buf, ATA_PACKET_LEN);
	memset(p->buf, 0, SCSI_REPLY_MAX);
	p->xfer = XFER_NONE;
	u->status = ST_BSY;
	cd_command(&u->cd, cdb, p->buf, &r);
	if (r.what == SCSI_READ)
		read_medium(p, &r);
	else if (r.what == SCSI_REPLY)
		reply(p, r.len);
	else if (r.what == SCSI_DONE)
		end_ok(p);
	else
		fail(p, &r.sense);
}

void atapi_packet(struct ata_port *p)
{
	struct ata_drive *u = ata_unit(p);
	uint32_t limit = u->mid[0] | u->hi[0] << 8;

	if (u->feature[0] & 2) {	/* overlapped */
		ata_finish(p, ST_DRDY | ST_ERR, ER_ABRT);
		return;
	}
	/* 9.8: an odd limit below FFFFh counts one less; zero is not allowed, take the most. */
	p->byte_limit = !limit || limit == 0xffff ? 0xfffe : MAX(limit & ~1u, 2);
	p->dma = u->feature[0] & 1;
	p->xfer = XFER_PACKET;
	p->left = 0;
	p->pos = 0;
	p->end = p->len = ATA_PACKET_LEN;
	u->count[0] = IR_COD;
	u->status = ST_DRDY | ST_DRQ;
	if (p->tr->window)
		p->tr->window(p);
}

/* IDENTIFY PACKET DEVICE (8.16): the words that differ from an ATA disk. */
void atapi_identify(uint8_t *id)
{
	static const struct { uint8_t word; uint16_t val; } rows[] = {
		{ 0, 0x85c0 }, { 49, 0x0b00 }, { 51, 0x0200 }, { 53, 6 }, { 64, 3 }, { 65, 120 },
		{ 66, 120 }, { 67, 120 }, { 68, 120 }, { 80, 0x0070 }, { 82, 0x0210 },
		{ 83, 0x4000 }, { 84, 0x4000 }, { 85, 0x0210 }, { 87, 0x4000 },
	};

	for (unsigned i = 0; i < ARRAY_SIZE(rows); i++)
		st_le16(id + 2 * rows[i].word, rows[i].val);
}
