/* SPDX-License-Identifier: MIT */
/*
 * The data phase of ATA commands by DMA: through the port's buffer, in
 * pieces, as the host interface lets it run (struct ata_transport).
 */
#include "ata.h"

static void dma_fail(struct ata_port *p)
{
	if (p->xfer == XFER_REPLY)
		atapi_dma_done(p, false);
	else
		ata_finish_abort(p);
}

static void dma_end(struct ata_port *p)
{
	p->tr->dma_stop(p);
	if (p->xfer == XFER_REPLY)
		atapi_dma_done(p, true);
	else if (p->xfer == XFER_WRITE)
		ata_write_complete(p);
	else
		ata_finish_ok(p);
}

/* DATA SET MANAGEMENT, TRIM (ACS-3 7.6): entries of 48 bits LBA, 16 bits length. */
static void trim_next(struct ata_port *p, int error)
{
	const struct ata_drive *u = ata_unit(p);
	uint64_t entry, lba, n;

	if (error) {
		ata_finish_abort(p);
		return;
	}
	while (p->pos < p->len) {
		entry = ld_le64(p->buf + p->pos);
		p->pos += 8;
		lba = entry & ((1ull << 48) - 1);
		n = entry >> 48;
		if (!n)
			continue;
		if (!range_ok(lba, n, u->nsectors)) {
			ata_finish(p, ST_DRDY | ST_DSC | ST_ERR, ER_IDNF);
			return;
		}
		ata_submit(p, BLOCK_DISCARD, lba * ATA_SECTOR, (uint32_t)n * ATA_SECTOR,
			   trim_next);
		return;
	}
	ata_finish_ok(p);
}

static void trim_run(struct ata_port *p)
{
	uint32_t len = p->len;

	if (!p->tr->dma_copy(p, len, false)) {
		dma_fail(p);
		return;
	}
	p->tr->dma_stop(p);
	trim_next(p, 0);
}

static void dma_step(struct ata_port *p);

static void dma_read_done(struct ata_port *p, int error)
{
	uint32_t n = ata_piece(p);

	if (error) {
		p->tr->dma_stop(p);
		ata_io_error(p);
		return;
	}
	if (!p->tr->dma_copy(p, n * ATA_SECTOR, true)) {
		dma_fail(p);
		return;
	}
	p->lba += n;
	p->left -= n;
	dma_step(p);
}

static void dma_write_done(struct ata_port *p, int error)
{
	uint32_t n = ata_piece(p);

	if (error) {
		p->tr->dma_stop(p);
		ata_io_error(p);
		return;
	}
	p->lba += n;
	p->left -= n;
	dma_step(p);
}

static void dma_reply_ready(struct ata_port *p, int error)
{
	if (error) {
		p->tr->dma_stop(p);
		atapi_read_failed(p);
		return;
	}
	if (!p->tr->dma_copy(p, p->len, true)) {
		dma_fail(p);
		return;
	}
	p->len = 0;
	dma_step(p);
}

static void dma_step(struct ata_port *p)
{
	uint32_t len = ata_piece(p) * ATA_SECTOR;

	if (!p->tr->dma_running(p)) {	/* stopped by the guest */
		p->tr->dma_stop(p);
		dma_fail(p);
	} else if (p->xfer == XFER_TRIM) {
		trim_run(p);
	} else if (p->xfer == XFER_REPLY && p->len) {
		dma_reply_ready(p, 0);
	} else if (!p->left) {
		dma_end(p);
	} else if (p->xfer == XFER_REPLY) {
		atapi_fetch(p, dma_reply_ready);
	} else if (p->xfer == XFER_READ) {
		ata_submit(p, BLOCK_READ, p->lba * ATA_SECTOR, len, dma_read_done);
	} else if (!p->tr->dma_copy(p, len, false)) {
		dma_fail(p);
	} else {
		ata_submit(p, BLOCK_WRITE, p->lba * ATA_SECTOR, len, dma_write_done);
	}
}

void ata_start_trim(struct ata_port *p, uint32_t len)
{
	p->xfer = XFER_TRIM;
	p->left = p->pos = p->end = 0;
	p->len = len;
	ata_unit(p)->status = ST_DRDY | ST_DSC | ST_DRQ;
	p->tr->dma_kick(p);
}

void ata_dma_run(struct ata_port *p)
{
	if (p->dma && p->xfer != XFER_NONE && p->xfer != XFER_PACKET && !p->inflight)
		dma_step(p);
}

void ata_dma_refuse(struct ata_port *p)
{
	if (p->dma && p->xfer != XFER_NONE && p->xfer != XFER_PACKET && !p->inflight)
		dma_fail(p);
}
