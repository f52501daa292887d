/* SPDX-License-Identifier: MIT */
/*
 * ATA ports: the command in progress and its data, between buffer, disk and
 * host; see ata.h.  Nothing is saved in the middle of a disk request: saving
 * waits for it.
 */
#include "ata.h"
#include <stdio.h>

static const struct state_field unit_state[] = {
	STATE_U8S(struct ata_drive, feature),
	STATE_U8S(struct ata_drive, count),
	STATE_U8S(struct ata_drive, lo),
	STATE_U8S(struct ata_drive, mid),
	STATE_U8S(struct ata_drive, hi),
	STATE_U8(struct ata_drive, device),
	STATE_U8(struct ata_drive, status),
	STATE_U8(struct ata_drive, error),
	STATE_U8(struct ata_drive, multi),
	STATE_U8(struct ata_drive, dma_mode),
	STATE_U8(struct ata_drive, heads),
	STATE_U8(struct ata_drive, spt),
	STATE_BOOL(struct ata_drive, wcache),
	STATE_STRUCT(struct ata_drive, cd, scsi_cd_state),
	STATE_BOOL(struct ata_drive, ncq_failed),
	STATE_U8(struct ata_drive, ncq_tag),
	STATE_U8(struct ata_drive, ncq_error),
	STATE_U64(struct ata_drive, ncq_lba),
	STATE_END
};

const struct state_field ata_port_state[] = {
	STATE_STRUCTS(struct ata_port, unit, unit_state),
	STATE_U8(struct ata_port, sel),
	STATE_U8(struct ata_port, xfer),
	STATE_BOOL(struct ata_port, dma),
	STATE_BOOL(struct ata_port, lba48),
	STATE_BOOL(struct ata_port, fua),
	STATE_U8(struct ata_port, block_sectors),
	STATE_U16(struct ata_port, byte_limit),
	STATE_U64(struct ata_port, lba),
	STATE_U32(struct ata_port, left),
	STATE_U32(struct ata_port, pos),
	STATE_U32(struct ata_port, end),
	STATE_U32(struct ata_port, len),
	STATE_U8S(struct ata_port, buf),
	STATE_END
};

void ata_finish(struct ata_port *p, uint8_t status, uint8_t error)
{
	struct ata_drive *u = ata_unit(p);

	u->status = status;
	u->error = error;
	p->xfer = XFER_NONE;
	p->dma = false;
	p->left = p->pos = p->end = p->len = 0;
	p->tr->raise(p);
}

void ata_finish_ok(struct ata_port *p)
{
	ata_finish(p, ST_DRDY | ST_DSC, 0);
}

void ata_finish_abort(struct ata_port *p)
{
	ata_finish(p, ST_DRDY | ST_DSC | ST_ERR, ER_ABRT);
}

static void request_done(struct block_req *r, int error)
{
	struct ata_port *p = r->opaque;

	p->inflight = false;
	if (!p->aborting)
		p->then(p, error);
}

void ata_submit(struct ata_port *p, enum block_op op, uint64_t off, uint32_t len,
		void (*then)(struct ata_port *p, int error))
{
	struct ata_drive *u = ata_unit(p);
	bool data = op == BLOCK_READ || op == BLOCK_WRITE;

	HV_BUG_ON(p->inflight || (data && len > ATA_BUF));
	u->status = ST_BSY;
	p->then = then;
	p->inflight = true;
	p->iov = (struct iovec){ p->buf, data ? len : 0 };
	p->req = (struct block_req){ .op = op, .off = off, .len = len, .iov = &p->iov,
				     .niov = data, .done = request_done, .opaque = p };
	block_submit(u->cdrom ? u->cd.block : u->block, &p->req);
}

void ata_abort(struct ata_port *p)
{
	p->aborting = true;
	if (p->inflight)
		block_drain(p->req.block);
	p->aborting = false;
	p->xfer = XFER_NONE;
	p->dma = false;
	p->left = p->pos = p->end = p->len = 0;
}

void ata_drain(struct ata_port *p)
{
	while (p->inflight)
		block_drain(p->req.block);
}

/* ---- Addresses (6.2 of the specification) ---- */

uint64_t ata_get_lba(const struct ata_drive *u, bool lba48)
{
	uint64_t lba = u->lo[0] | (uint64_t)u->mid[0] << 8 | (uint64_t)u->hi[0] << 16;
	uint32_t cyl = u->mid[0] | u->hi[0] << 8;

	if (lba48)
		return lba | (uint64_t)u->lo[1] << 24 | (uint64_t)u->mid[1] << 32 |
		       (uint64_t)u->hi[1] << 40;
	if (u->device & DEV_LBA)
		return lba | (uint64_t)(u->device & 15) << 24;
	if (!u->lo[0] || u->lo[0] > u->spt || (u->device & 15) >= u->heads)
		return UINT64_MAX;	/* no such place; CHS sectors count from 1 */
	return ((uint64_t)cyl * u->heads + (u->device & 15)) * u->spt + u->lo[0] - 1;
}

void ata_set_lba(struct ata_drive *u, uint64_t lba, bool lba48)
{
	u->lo[0] = lba;
	u->mid[0] = lba >> 8;
	u->hi[0] = lba >> 16;
	if (lba48) {
		u->lo[1] = lba >> 24;
		u->mid[1] = lba >> 32;
		u->hi[1] = lba >> 40;
	} else {
		u->device = (u->device & 0xf0) | (lba >> 24 & 15);
	}
}

uint32_t ata_get_count(const struct ata_drive *u, bool lba48)
{
	uint32_t n = lba48 ? u->count[0] | u->count[1] << 8 : u->count[0];

	return n ? n : lba48 ? 65536 : 256;
}

/* ---- Disk transfers ---- */

/* A host I/O error: unreadable there, or the write is refused. */
void ata_io_error(struct ata_port *p)
{
	struct ata_drive *u = ata_unit(p);

	if (!(u->device & DEV_LBA) && !p->lba48)
		ata_finish(p, ST_DRDY | ST_DSC | ST_ERR, p->xfer == XFER_READ ? ER_UNC : ER_ABRT);
	else {
		ata_set_lba(u, p->lba, p->lba48);
		ata_finish(p, ST_DRDY | ST_DSC | ST_ERR, p->xfer == XFER_READ ? ER_UNC : ER_ABRT);
	}
}

void ata_flushed(struct ata_port *p, int error)
{
	if (error)
		ata_io_error(p);
	else
		ata_finish_ok(p);
}

/* All sectors are on the disk; without write cache, or FUA, they must stay there. */
void ata_write_complete(struct ata_port *p)
{
	if (p->fua || !ata_unit(p)->wcache)
		ata_submit(p, BLOCK_FLUSH, 0, 0, ata_flushed);
	else
		ata_finish_ok(p);
}

uint32_t ata_piece(const struct ata_port *p)
{
	uint32_t max = p->dma ? ATA_BUF / ATA_SECTOR : p->block_sectors;

	return MIN(p->left, max);
}

void ata_open_window(struct ata_port *p, uint32_t len, bool irq)
{
	p->pos = 0;
	p->end = p->len = len;
	ata_unit(p)->status = ST_DRDY | ST_DSC | ST_DRQ;
	if (irq)
		p->tr->raise(p);
	if (p->tr->window)
		p->tr->window(p);
}

static void pio_read_done(struct ata_port *p, int error)
{
	uint32_t n = ata_piece(p);

	if (error) {
		ata_io_error(p);
		return;
	}
	p->lba += n;
	p->left -= n;
	ata_open_window(p, n * ATA_SECTOR, true);
}

static void pio_read(struct ata_port *p)
{
	ata_submit(p, BLOCK_READ, p->lba * ATA_SECTOR, ata_piece(p) * ATA_SECTOR, pio_read_done);
}

static void pio_write_done(struct ata_port *p, int error)
{
	uint32_t n = p->len / ATA_SECTOR;

	if (error) {
		ata_io_error(p);
		return;
	}
	p->lba += n;
	p->left -= n;
	if (!p->left) {
		ata_write_complete(p);
		return;
	}
	ata_open_window(p, ata_piece(p) * ATA_SECTOR, true);
}

void ata_window_done(struct ata_port *p)
{
	switch (p->xfer) {
	case XFER_READ:
		if (p->left) {
			pio_read(p);
		} else {
			ata_unit(p)->status = ST_DRDY | ST_DSC;
			p->xfer = XFER_NONE;
		}
		break;
	case XFER_WRITE:
		ata_submit(p, BLOCK_WRITE, p->lba * ATA_SECTOR, p->len, pio_write_done);
		break;
	case XFER_PACKET:
		atapi_command(p);
		break;
	case XFER_REPLY:
		atapi_next(p);
		break;
	default:
		break;
	}
}

void ata_start_read(struct ata_port *p)
{
	p->xfer = XFER_READ;
	if (!p->dma) {
		pio_read(p);
		return;
	}
	ata_unit(p)->status = ST_DRDY | ST_DSC | ST_DRQ;
	p->tr->dma_kick(p);
}

void ata_start_write(struct ata_port *p)
{
	p->xfer = XFER_WRITE;
	if (!p->dma) {
		ata_open_window(p, ata_piece(p) * ATA_SECTOR, false);
		return;
	}
	ata_unit(p)->status = ST_DRDY | ST_DSC | ST_DRQ;
	p->tr->dma_kick(p);
}

/* ---- Life ---- */

bool ata_attach(struct ata_port *p, unsigned unit, struct block *block, bool cdrom,
		bool readonly, const char *serial, struct err *e)
{
	struct ata_drive *u = &p->unit[unit];

	HV_BUG_ON(unit > 1 || u->present);
	u->present = true;
	u->cdrom = cdrom;
	u->readonly = cdrom || readonly || (block && block_info(block)->readonly);
	snprintf(u->serial, sizeof(u->serial), "%s", serial);
	if (cdrom) {
		u->cd.block = block;
		cd_reset(&u->cd);
		return true;
	}
	u->block = block;
	u->nsectors = block_info(block)->size / ATA_SECTOR;
	return u->nsectors || err_set(e, HV_EXIT_IMAGE, "the disk image is smaller than a sector");
}

static void reset_unit(struct ata_drive *u)
{
	memset(u->feature, 0, sizeof(u->feature));
	memset(u->count, 0, sizeof(u->count));
	memset(u->lo, 0, sizeof(u->lo));
	memset(u->mid, 0, sizeof(u->mid));
	memset(u->hi, 0, sizeof(u->hi));
	u->device = 0;
	u->multi = ATA_MULTI_MAX;
	u->dma_mode = 0;
	u->heads = 16;
	u->spt = 63;
	u->wcache = true;
	cd_reset(&u->cd);
	u->ncq_failed = false;
	u->ncq_tag = u->ncq_error = 0;
	u->ncq_lba = 0;
	ata_signature(u);
}

void ata_reset(struct ata_port *p)
{
	ata_abort(p);
	reset_unit(&p->unit[0]);
	reset_unit(&p->unit[1]);
	p->sel = 0;
	p->lba48 = p->fua = false;
	p->block_sectors = 0;
	p->lba = 0;
	p->byte_limit = 0;
	memset(p->buf, 0, sizeof(p->buf));
}

/*
 * IDENTIFY DEVICE tells one size from power-on to power-off: a driver that finds another
 * one after an error (or after sleep) gives the disk up.
 */
void ata_power_on(struct ata_port *p)
{
	for (unsigned i = 0; i < 2; i++)
		if (p->unit[i].present && !p->unit[i].cdrom)
			p->unit[i].nsectors = block_info(p->unit[i].block)->size / ATA_SECTOR;
}

static bool unit_valid(const struct ata_drive *u)
{
	return u->multi <= ATA_MULTI_MAX && u->heads && u->heads <= 16 && u->spt;
}

bool ata_state_valid(const struct ata_port *p)
{
	const struct ata_drive *u = &p->unit[p->sel & 1];
	uint64_t have = u->cdrom ? u->cd.nblocks : u->nsectors;

	if (p->sel > 1 || p->xfer >= XFER_MAX || p->len > ATA_BUF || p->end > p->len ||
	    p->pos > p->end || !unit_valid(&p->unit[0]) || !unit_valid(&p->unit[1]))
		return false;
	if (p->xfer != XFER_NONE && !u->present)
		return false;
	/* A window with nothing in it would never be closed. */
	if (p->xfer != XFER_NONE && (!p->dma || p->xfer == XFER_PACKET) && p->pos == p->end)
		return false;
	if (p->xfer == XFER_PACKET && p->len != 12)
		return false;
	if (p->xfer == XFER_TRIM && (!p->dma || p->pos || p->end || !p->len ||
				     p->len % ATA_SECTOR || u->readonly || u->cdrom))
		return false;
	if (p->xfer == XFER_REPLY && (!u->cdrom || !p->byte_limit || p->byte_limit & 1))
		return false;
	if (p->xfer == XFER_WRITE && (u->readonly || u->cdrom || p->len % ATA_SECTOR ||
				      p->len / ATA_SECTOR > p->left))
		return false;
	if ((p->xfer == XFER_READ || p->xfer == XFER_WRITE) && p->left &&
	    (u->cdrom || !p->block_sectors || p->block_sectors > ATA_MULTI_MAX))
		return false;
	return !p->left || (have && range_ok(p->lba, p->left, have));
}
