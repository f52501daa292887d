/* SPDX-License-Identifier: MIT */
/*
 * PIIX3 IDE, function 1: two channels in compatibility mode with ATA disks
 * (ATA/ATAPI-6, T13/1410D) and bus master DMA (Intel 290550-002 section 2.7,
 * "Programming Interface for Bus Master IDE Controller" revision 1.0).
 *
 * A channel has one command in progress and one buffer.  Disk I/O is
 * asynchronous: BSY stays set until the request's completion on the loop
 * thread.  Bus master transfers go through the buffer in pieces; every PRD
 * entry is read once, and a table has at most 64 KiB of them.
 *
 * Left out: native mode, SMART, security, TRIM, PIO timing.  Nothing is
 * saved in the middle of a disk request: saving waits for it.
 */
#include "ide_int.h"
#include "../src/vm.h"
#include <stdio.h>

#define CFG_IDETIM 0x40		/* one word a channel; bit 15: decode its ports */
#define BM_START 0x01
#define BM_TO_MEMORY 0x08
#define BM_ACTIVE 0x01
#define BM_ERROR 0x02
#define BM_INT 0x04
#define PRD_MAX 8192

#define CTL_NIEN 0x02
#define CTL_SRST 0x04
#define CTL_HOB 0x80
#define DEV_LBA 0x40
#define DEV_SEL 0x10

static const struct state_field unit_state[] = {
	STATE_U8S(struct ide_unit, feature),
	STATE_U8S(struct ide_unit, count),
	STATE_U8S(struct ide_unit, lo),
	STATE_U8S(struct ide_unit, mid),
	STATE_U8S(struct ide_unit, hi),
	STATE_U8(struct ide_unit, device),
	STATE_U8(struct ide_unit, status),
	STATE_U8(struct ide_unit, error),
	STATE_U8(struct ide_unit, multi),
	STATE_U8(struct ide_unit, dma_mode),
	STATE_U8(struct ide_unit, heads),
	STATE_U8(struct ide_unit, spt),
	STATE_BOOL(struct ide_unit, wcache),
	STATE_U8(struct ide_unit, sense_key),
	STATE_U8(struct ide_unit, asc),
	STATE_END
};

static const struct state_field channel_state[] = {
	STATE_STRUCTS(struct ide_channel, unit, unit_state),
	STATE_U8(struct ide_channel, sel),
	STATE_U8(struct ide_channel, control),
	STATE_BOOL(struct ide_channel, irq_level),
	STATE_U8(struct ide_channel, xfer),
	STATE_BOOL(struct ide_channel, dma),
	STATE_BOOL(struct ide_channel, lba48),
	STATE_BOOL(struct ide_channel, fua),
	STATE_U8(struct ide_channel, block_sectors),
	STATE_U16(struct ide_channel, byte_limit),
	STATE_U64(struct ide_channel, lba),
	STATE_U32(struct ide_channel, left),
	STATE_U32(struct ide_channel, pos),
	STATE_U32(struct ide_channel, end),
	STATE_U32(struct ide_channel, len),
	STATE_U8S(struct ide_channel, buf),
	STATE_U8(struct ide_channel, bm_cmd),
	STATE_U8(struct ide_channel, bm_status),
	STATE_U32(struct ide_channel, bm_addr),
	STATE_U32(struct ide_channel, bm_next),
	STATE_U32(struct ide_channel, prd_addr),
	STATE_U32(struct ide_channel, prd_left),
	STATE_U16(struct ide_channel, prd_count),
	STATE_BOOL(struct ide_channel, prd_last),
	STATE_END
};

static const struct state_field ide_state[] = {
	PCI_STATE(struct ide, pci),
	STATE_STRUCTS(struct ide, ch, channel_state),
	STATE_END
};

static struct ide *to_ide(struct device *d)
{
	return container_of(d, struct ide, pci.dev);
}

/* ---- Interrupt and completion ---- */

static void update_irq(struct ide_channel *c)
{
	irq_set(&c->irq, c->irq_level && !(c->control & CTL_NIEN));
}

void ide_raise(struct ide_channel *c)
{
	c->irq_level = true;
	c->bm_status |= BM_INT;
	update_irq(c);
}

void ide_finish(struct ide_channel *c, uint8_t status, uint8_t error)
{
	struct ide_unit *u = ide_unit(c);

	u->status = status;
	u->error = error;
	c->xfer = XFER_NONE;
	c->dma = false;
	c->left = c->pos = c->end = c->len = 0;
	ide_raise(c);
}

static void finish_ok(struct ide_channel *c)
{
	ide_finish(c, ST_DRDY | ST_DSC, 0);
}

static void finish_abort(struct ide_channel *c)
{
	ide_finish(c, ST_DRDY | ST_DSC | ST_ERR, ER_ABRT);
}

static void request_done(struct block_req *r, int error)
{
	struct ide_channel *c = r->opaque;

	c->inflight = false;
	if (!c->aborting)
		c->then(c, error);
}

void ide_submit(struct ide_channel *c, enum block_op op, uint64_t off, uint32_t len,
		void (*then)(struct ide_channel *c, int error))
{
	HV_BUG_ON(c->inflight || len > IDE_BUF);
	ide_unit(c)->status = ST_BSY;
	c->then = then;
	c->inflight = true;
	c->iov = (struct iovec){ c->buf, len };
	c->req = (struct block_req){ .op = op, .off = off, .len = len, .iov = &c->iov,
				     .niov = len ? 1 : 0, .done = request_done, .opaque = c };
	block_submit(ide_unit(c)->block, &c->req);
}

/* Wait for the request in flight and forget the command. */
static void abort_command(struct ide_channel *c)
{
	c->aborting = true;
	if (c->inflight)
		block_drain(c->req.block);
	c->aborting = false;
	c->xfer = XFER_NONE;
	c->dma = false;
	c->left = c->pos = c->end = c->len = 0;
}

/* ---- Addresses (6.2 of the specification) ---- */

static uint64_t get_lba(const struct ide_unit *u, bool lba48)
{
	uint64_t lba = u->lo[0] | (uint64_t)u->mid[0] << 8 | (uint64_t)u->hi[0] << 16;
	uint32_t cyl = u->mid[0] | u->hi[0] << 8;

	if (lba48)
		return lba | (uint64_t)u->lo[1] << 24 | (uint64_t)u->mid[1] << 32 |
		       (uint64_t)u->hi[1] << 40;
	if (u->device & DEV_LBA)
		return lba | (uint64_t)(u->device & 15) << 24;
	if (!u->lo[0])
		return UINT64_MAX;	/* CHS sectors count from 1 */
	return ((uint64_t)cyl * u->heads + (u->device & 15)) * u->spt + u->lo[0] - 1;
}

static void set_lba(struct ide_unit *u, uint64_t lba, bool lba48)
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

static uint32_t get_count(const struct ide_unit *u, bool lba48)
{
	uint32_t n = lba48 ? u->count[0] | u->count[1] << 8 : u->count[0];

	return n ? n : lba48 ? 65536 : 256;
}

static bool in_range(const struct ide_unit *u, uint64_t lba, uint32_t n)
{
	return range_ok(lba, n, u->nsectors);
}

/* ---- Disk transfers ---- */

/* A host I/O error: unreadable there, or the write is refused. */
static void io_error(struct ide_channel *c)
{
	struct ide_unit *u = ide_unit(c);

	if (!(u->device & DEV_LBA) && !c->lba48)
		ide_finish(c, ST_DRDY | ST_DSC | ST_ERR, c->xfer == XFER_READ ? ER_UNC : ER_ABRT);
	else {
		set_lba(u, c->lba, c->lba48);
		ide_finish(c, ST_DRDY | ST_DSC | ST_ERR, c->xfer == XFER_READ ? ER_UNC : ER_ABRT);
	}
}

static void flushed(struct ide_channel *c, int error)
{
	if (error)
		io_error(c);
	else
		finish_ok(c);
}

/* All sectors are on the disk; without write cache, or FUA, they must stay there. */
static void write_complete(struct ide_channel *c)
{
	if (c->fua || !ide_unit(c)->wcache)
		ide_submit(c, BLOCK_FLUSH, 0, 0, flushed);
	else
		finish_ok(c);
}

static uint32_t piece(const struct ide_channel *c)
{
	uint32_t max = c->dma ? IDE_BUF / SECTOR : c->block_sectors;

	return MIN(c->left, max);
}

static void open_window(struct ide_channel *c, uint32_t len)
{
	c->pos = 0;
	c->end = c->len = len;
	ide_unit(c)->status = ST_DRDY | ST_DSC | ST_DRQ;
}

static void pio_read_done(struct ide_channel *c, int error)
{
	uint32_t n = piece(c);

	if (error) {
		io_error(c);
		return;
	}
	c->lba += n;
	c->left -= n;
	open_window(c, n * SECTOR);
	ide_raise(c);
}

static void pio_read(struct ide_channel *c)
{
	ide_submit(c, BLOCK_READ, c->lba * SECTOR, piece(c) * SECTOR, pio_read_done);
}

static void pio_write_done(struct ide_channel *c, int error)
{
	uint32_t n = c->len / SECTOR;

	if (error) {
		io_error(c);
		return;
	}
	c->lba += n;
	c->left -= n;
	if (!c->left) {
		write_complete(c);
		return;
	}
	open_window(c, piece(c) * SECTOR);
	ide_raise(c);
}

/* The host has taken or filled a DRQ block. */
static void window_done(struct ide_channel *c)
{
	switch (c->xfer) {
	case XFER_READ:
		if (c->left) {
			pio_read(c);
		} else {
			ide_unit(c)->status = ST_DRDY | ST_DSC;
			c->xfer = XFER_NONE;
		}
		break;
	case XFER_WRITE:
		ide_submit(c, BLOCK_WRITE, c->lba * SECTOR, c->len, pio_write_done);
		break;
	case XFER_PACKET:
		atapi_command(c);
		break;
	case XFER_REPLY:
		atapi_next(c);
		break;
	default:
		break;
	}
}

/* ---- Bus master ---- */

static void bm_stop(struct ide_channel *c, uint8_t set)
{
	c->bm_status = (c->bm_status & ~BM_ACTIVE) | set;
}

/* Next region of the table; false: end, or not in memory. */
static bool next_prd(struct ide_channel *c, bool *bad)
{
	uint8_t raw[8];

	*bad = false;
	if (c->prd_last || c->prd_count >= PRD_MAX)
		return false;
	if (!gm_read(dev_mem(&c->ide->pci.dev), GPA(c->bm_next), raw, sizeof(raw))) {
		*bad = true;
		return false;
	}
	c->prd_addr = ld_le32(raw) & ~1u;
	c->prd_left = ld_le32(raw + 4) & 0xfffe;
	if (!c->prd_left)
		c->prd_left = 65536;
	c->prd_last = raw[7] & 0x80;
	c->prd_count++;
	c->bm_next += 8;
	return true;
}

/* Move buf[0, len) to or from the regions.  false: stopped, with the reason in bm_status. */
static bool prd_copy(struct ide_channel *c, uint32_t len, bool to_memory)
{
	struct guest_mem *gm = dev_mem(&c->ide->pci.dev);
	uint32_t done = 0, n;
	bool bad = false;

	while (done < len) {
		if (!c->prd_left && !next_prd(c, &bad))
			break;
		n = MIN(len - done, c->prd_left);
		bad = to_memory ? !gm_write(gm, GPA(c->prd_addr), c->buf + done, n) :
				  !gm_read(gm, GPA(c->prd_addr), c->buf + done, n);
		if (bad)
			break;
		c->prd_addr += n;
		c->prd_left -= n;
		done += n;
	}
	if (done == len)
		return true;
	dev_guest_error(&c->ide->pci.dev, bad ? "PRD outside of memory" : "PRD table too short");
	bm_stop(c, bad ? BM_ERROR : 0);
	return false;
}

static void dma_fail(struct ide_channel *c)
{
	if (c->xfer == XFER_REPLY)
		atapi_dma_done(c, false);
	else
		finish_abort(c);
}

static void dma_end(struct ide_channel *c)
{
	bm_stop(c, 0);
	if (c->xfer == XFER_REPLY)
		atapi_dma_done(c, true);
	else if (c->xfer == XFER_WRITE)
		write_complete(c);
	else
		finish_ok(c);
}

static void dma_step(struct ide_channel *c);

static void dma_read_done(struct ide_channel *c, int error)
{
	uint32_t n = piece(c);

	if (error) {
		bm_stop(c, 0);
		io_error(c);
		return;
	}
	if (!prd_copy(c, n * SECTOR, true)) {
		dma_fail(c);
		return;
	}
	c->lba += n;
	c->left -= n;
	dma_step(c);
}

static void dma_write_done(struct ide_channel *c, int error)
{
	uint32_t n = piece(c);

	if (error) {
		bm_stop(c, 0);
		io_error(c);
		return;
	}
	c->lba += n;
	c->left -= n;
	dma_step(c);
}

static void dma_reply_ready(struct ide_channel *c, int error)
{
	if (error) {
		bm_stop(c, 0);
		atapi_fail(c, 3, 0x11);		/* unrecovered read error */
		return;
	}
	if (!prd_copy(c, c->len, true)) {
		dma_fail(c);
		return;
	}
	c->len = 0;
	dma_step(c);
}

static void dma_step(struct ide_channel *c)
{
	uint32_t len = piece(c) * SECTOR;

	if (!(c->bm_cmd & BM_START)) {	/* stopped by the guest */
		bm_stop(c, 0);
		dma_fail(c);
	} else if (c->xfer == XFER_REPLY && c->len) {
		dma_reply_ready(c, 0);
	} else if (!c->left) {
		dma_end(c);
	} else if (c->xfer == XFER_REPLY) {
		atapi_fetch(c, dma_reply_ready);
	} else if (c->xfer == XFER_READ) {
		ide_submit(c, BLOCK_READ, c->lba * SECTOR, len, dma_read_done);
	} else if (!prd_copy(c, len, false)) {
		dma_fail(c);
	} else {
		ide_submit(c, BLOCK_WRITE, c->lba * SECTOR, len, dma_write_done);
	}
}

void ide_dma_kick(struct ide_channel *c)
{
	if (!c->dma || c->xfer == XFER_PACKET || c->inflight ||
	    !(c->bm_cmd & BM_START) || !pci_master(&c->ide->pci))
		return;
	if (!(c->bm_cmd & BM_TO_MEMORY) != (c->xfer == XFER_WRITE)) {
		bm_stop(c, BM_ERROR);	/* 3.1: direction does not match the command */
		dma_fail(c);
		return;
	}
	dma_step(c);
}

static void bm_command(struct ide_channel *c, uint8_t v)
{
	bool start = v & BM_START && !(c->bm_cmd & BM_START);

	c->bm_cmd = v & (BM_START | BM_TO_MEMORY);
	if (!(v & BM_START)) {
		bm_stop(c, 0);
	} else if (start) {
		c->bm_next = c->bm_addr;
		c->prd_left = 0;
		c->prd_count = 0;
		c->prd_last = false;
		c->bm_status |= BM_ACTIVE;
		ide_dma_kick(c);
	}
}

static uint64_t bm_read(struct device *d, uint64_t off, unsigned size)
{
	struct ide_channel *c = &to_ide(d)->ch[off >> 3];
	uint8_t regs[8] = { c->bm_cmd, 0, c->bm_status, 0 };
	uint8_t out[4] = { 0 };

	st_le32(regs + 4, c->bm_addr);
	memcpy(out, regs + (off & 7), MIN(size, 8 - (off & 7)));
	return ld_le32(out);
}

static void bm_write(struct device *d, uint64_t off, unsigned size, uint64_t val)
{
	struct ide_channel *c = &to_ide(d)->ch[off >> 3];
	uint8_t addr[4];

	st_le32(addr, c->bm_addr);
	for (unsigned i = 0; i < size && (off & 7) + i < 8; i++) {
		uint8_t v = val >> (8 * i), r = (off & 7) + i;

		if (r == 0)
			bm_command(c, v);
		else if (r == 2)
			c->bm_status = (c->bm_status & ~(v & (BM_ERROR | BM_INT)) & ~0x60) |
				       (v & 0x60);
		else if (r >= 4)
			addr[r - 4] = v;
	}
	c->bm_addr = ld_le32(addr) & ~3u;
}

static const struct io_ops bm_io = {
	.read = bm_read, .write = bm_write, .min_size = 1, .max_size = 4,
};

/* ---- Commands ---- */

enum { F_LBA48 = 1, F_WRITE = 2, F_DMA = 4, F_MULTI = 8, F_FUA = 16,
       F_ATA = 32, F_ATAPI = 64, F_ANY = F_ATA | F_ATAPI };

struct ide_cmd {
	uint8_t first, last, flags;
	void (*run)(struct ide_channel *c, const struct ide_cmd *cmd);
};

/* Common part of all sector commands: false: ended with an error. */
static bool take_range(struct ide_channel *c, const struct ide_cmd *cmd)
{
	struct ide_unit *u = ide_unit(c);

	c->lba48 = cmd->flags & F_LBA48;
	c->fua = cmd->flags & F_FUA;
	c->lba = get_lba(u, c->lba48);
	c->left = get_count(u, c->lba48);
	c->block_sectors = cmd->flags & F_MULTI ? u->multi : 1;
	c->dma = cmd->flags & F_DMA;
	if ((cmd->flags & F_MULTI && !u->multi) || (cmd->flags & F_WRITE && u->readonly)) {
		finish_abort(c);
		return false;
	}
	if (!in_range(u, c->lba, c->left)) {
		ide_finish(c, ST_DRDY | ST_DSC | ST_ERR, ER_IDNF);
		return false;
	}
	return true;
}

static void cmd_rw(struct ide_channel *c, const struct ide_cmd *cmd)
{
	if (!take_range(c, cmd))
		return;
	c->xfer = cmd->flags & F_WRITE ? XFER_WRITE : XFER_READ;
	ide_unit(c)->status = ST_BSY;
	if (c->dma) {
		ide_unit(c)->status = ST_DRDY | ST_DSC | ST_DRQ;
		ide_dma_kick(c);
	} else if (c->xfer == XFER_READ) {
		pio_read(c);
	} else {
		open_window(c, piece(c) * SECTOR);	/* no interrupt for the first block */
	}
}

static void cmd_verify(struct ide_channel *c, const struct ide_cmd *cmd)
{
	if (take_range(c, cmd))
		finish_ok(c);
}

static void cmd_ok(struct ide_channel *c, const struct ide_cmd *cmd)
{
	finish_ok(c);
}

static void cmd_flush(struct ide_channel *c, const struct ide_cmd *cmd)
{
	if (ide_unit(c)->cdrom) {	/* write cache off: nothing to flush, maybe no medium */
		finish_ok(c);
		return;
	}
	c->lba48 = true;
	c->lba = 0;
	c->xfer = XFER_NONE;
	ide_submit(c, BLOCK_FLUSH, 0, 0, flushed);
}

static void cmd_native_max(struct ide_channel *c, const struct ide_cmd *cmd)
{
	struct ide_unit *u = ide_unit(c);
	bool lba48 = cmd->flags & F_LBA48;
	uint64_t last = u->nsectors - 1;

	set_lba(u, lba48 ? last : MIN(last, 0xfffffff), lba48);
	finish_ok(c);
}

static void cmd_set_multiple(struct ide_channel *c, const struct ide_cmd *cmd)
{
	struct ide_unit *u = ide_unit(c);
	uint8_t n = u->count[0];

	if (n > IDE_MULTI_MAX || (n && !is_pow2(n))) {
		finish_abort(c);
		return;
	}
	u->multi = n;
	finish_ok(c);
}

static void cmd_init_params(struct ide_channel *c, const struct ide_cmd *cmd)
{
	struct ide_unit *u = ide_unit(c);

	if (!u->count[0]) {
		finish_abort(c);
		return;
	}
	u->heads = (u->device & 15) + 1;
	u->spt = u->count[0];
	finish_ok(c);
}

static void cmd_check_power(struct ide_channel *c, const struct ide_cmd *cmd)
{
	ide_unit(c)->count[0] = 0xff;	/* active or idle */
	finish_ok(c);
}

static void cmd_set_features(struct ide_channel *c, const struct ide_cmd *cmd)
{
	struct ide_unit *u = ide_unit(c);

	switch (u->feature[0]) {
	case 0x02:
		u->wcache = true;
		break;
	case 0x82:
		u->wcache = false;
		cmd_flush(c, cmd);
		return;
	case 0x03:
		u->dma_mode = u->count[0];
		break;
	case 0xaa: case 0x55: case 0xcc: case 0x66: case 0x05: case 0x85:
		break;
	default:
		finish_abort(c);
		return;
	}
	finish_ok(c);
}

static void set_signature(struct ide_unit *u)
{
	u->count[0] = u->lo[0] = 1;
	u->mid[0] = u->cdrom ? 0x14 : 0;
	u->hi[0] = u->cdrom ? 0xeb : 0;
	u->device &= DEV_SEL;
	u->error = 0x01;		/* diagnostics passed */
	u->status = !u->present || u->cdrom ? 0 : ST_DRDY | ST_DSC;
}

static void cmd_diagnose(struct ide_channel *c, const struct ide_cmd *cmd)
{
	for (unsigned i = 0; i < 2; i++)
		set_signature(&c->unit[i]);
	c->sel = 0;
	ide_raise(c);
}

static void cmd_device_reset(struct ide_channel *c, const struct ide_cmd *cmd)
{
	set_signature(ide_unit(c));	/* no interrupt */
}

static void cmd_packet(struct ide_channel *c, const struct ide_cmd *cmd)
{
	atapi_packet(c);
}

/* ATA strings: two characters a word, first one in the high byte. */
static void id_string(uint8_t *id, unsigned word, unsigned len, const char *s)
{
	for (unsigned i = 0; i < len; i++)
		id[(word * 2 + i) ^ 1] = *s ? *s++ : ' ';
}

static void id_word(uint8_t *id, unsigned word, uint16_t v)
{
	st_le16(id + 2 * word, v);
}

struct id_row { uint8_t word; uint16_t val; };

static void id_modes(uint8_t *id, const struct ide_unit *u)
{
	uint8_t class = u->dma_mode & 0xf8, n = u->dma_mode & 7;

	id_word(id, 63, 0x07 | (class == 0x20 && n < 3 ? 0x100 << n : 0));
	id_word(id, 88, 0x3f | (class == 0x40 && n < 6 ? 0x100 << n : 0));
}

static void identify_ata(struct ide_unit *u, uint8_t *id)
{
	static const struct id_row rows[] = {
		{ 0, 0x0040 }, { 47, 0x8000 | IDE_MULTI_MAX }, { 48, 1 }, { 49, 0x0b00 },
		{ 50, 0x4000 }, { 51, 0x0200 }, { 52, 0x0200 }, { 53, 7 }, { 64, 3 }, { 65, 120 },
		{ 66, 120 }, { 67, 120 }, { 68, 120 }, { 80, 0x00f0 }, { 81, 0x16 },
		{ 82, 0x4020 }, { 83, 0x7400 }, { 84, 0x4040 }, { 86, 0x3400 }, { 87, 0x4040 },
		{ 93, 0x6001 },
	};
	uint32_t cyls = MIN(u->nsectors / (16 * 63), 16383);
	uint32_t cur = MIN(u->nsectors / (u->heads * u->spt), 65535), cap = cur * u->heads * u->spt;

	for (unsigned i = 0; i < ARRAY_SIZE(rows); i++)
		id_word(id, rows[i].word, rows[i].val);
	id_word(id, 1, cyls);
	id_word(id, 3, 16);
	id_word(id, 6, 63);
	id_string(id, 10, 20, u->serial);
	id_string(id, 23, 8, "1.0");
	id_string(id, 27, 40, "HVRUN HARDDISK");
	id_word(id, 54, cur);
	id_word(id, 55, u->heads);
	id_word(id, 56, u->spt);
	st_le32(id + 2 * 57, cap);
	id_word(id, 59, u->multi ? 0x100 | u->multi : 0);
	st_le32(id + 2 * 60, MIN(u->nsectors, 0xfffffff));
	id_modes(id, u);
	id_word(id, 85, 0x4000 | (u->wcache ? 0x20 : 0));
	st_le64(id + 2 * 100, u->nsectors);
}

/* IDENTIFY DEVICE on a CD drive aborts and leaves the signature, and the other way round. */
static void cmd_identify(struct ide_channel *c, const struct ide_cmd *cmd)
{
	struct ide_unit *u = ide_unit(c);
	bool packet = cmd->first == 0xa1;

	if (packet != u->cdrom) {
		if (u->cdrom)
			set_signature(u);
		finish_abort(c);
		return;
	}
	memset(c->buf, 0, SECTOR);
	if (packet) {
		atapi_identify(c, c->buf);
		id_string(c->buf, 10, 20, u->serial);
		id_string(c->buf, 23, 8, "1.0");
		id_string(c->buf, 27, 40, "HVRUN DVD-ROM");
		id_modes(c->buf, u);
	} else {
		identify_ata(u, c->buf);
	}
	c->xfer = XFER_READ;
	c->left = 0;
	open_window(c, SECTOR);
	ide_raise(c);
}

static const struct ide_cmd commands[] = {
	{ 0x08, 0x08, F_ATAPI, cmd_device_reset },
	{ 0x10, 0x1f, F_ATA, cmd_ok },				/* recalibrate */
	{ 0x20, 0x21, F_ATA, cmd_rw },
	{ 0x24, 0x24, F_ATA | F_LBA48, cmd_rw },
	{ 0x25, 0x25, F_ATA | F_LBA48 | F_DMA, cmd_rw },
	{ 0x27, 0x27, F_ATA | F_LBA48, cmd_native_max },
	{ 0x29, 0x29, F_ATA | F_LBA48 | F_MULTI, cmd_rw },
	{ 0x30, 0x31, F_ATA | F_WRITE, cmd_rw },
	{ 0x34, 0x34, F_ATA | F_WRITE | F_LBA48, cmd_rw },
	{ 0x35, 0x35, F_ATA | F_WRITE | F_LBA48 | F_DMA, cmd_rw },
	{ 0x39, 0x39, F_ATA | F_WRITE | F_LBA48 | F_MULTI, cmd_rw },
	{ 0x3d, 0x3d, F_ATA | F_WRITE | F_LBA48 | F_DMA | F_FUA, cmd_rw },
	{ 0x40, 0x41, F_ATA, cmd_verify },
	{ 0x42, 0x42, F_ATA | F_LBA48, cmd_verify },
	{ 0x70, 0x7f, F_ATA, cmd_ok },				/* seek */
	{ 0x90, 0x90, F_ANY, cmd_diagnose },
	{ 0x91, 0x91, F_ATA, cmd_init_params },
	{ 0xa0, 0xa0, F_ATAPI, cmd_packet },
	{ 0xa1, 0xa1, F_ANY, cmd_identify },
	{ 0xc4, 0xc4, F_ATA | F_MULTI, cmd_rw },
	{ 0xc5, 0xc5, F_ATA | F_WRITE | F_MULTI, cmd_rw },
	{ 0xc6, 0xc6, F_ATA, cmd_set_multiple },
	{ 0xc8, 0xc9, F_ATA | F_DMA, cmd_rw },
	{ 0xca, 0xcb, F_ATA | F_WRITE | F_DMA, cmd_rw },
	{ 0xce, 0xce, F_ATA | F_WRITE | F_LBA48 | F_MULTI | F_FUA, cmd_rw },
	{ 0xe0, 0xe3, F_ANY, cmd_ok },				/* standby, idle */
	{ 0xe5, 0xe5, F_ANY, cmd_check_power },
	{ 0xe6, 0xe6, F_ANY, cmd_ok },				/* sleep */
	{ 0xe7, 0xe7, F_ATA, cmd_flush },
	{ 0xea, 0xea, F_ATA | F_LBA48, cmd_flush },
	{ 0xec, 0xec, F_ANY, cmd_identify },
	{ 0xef, 0xef, F_ANY, cmd_set_features },
	{ 0xf8, 0xf8, F_ATA, cmd_native_max },
};

static void execute(struct ide_channel *c, uint8_t op)
{
	struct ide_unit *u = ide_unit(c);

	if (!u->present && op != 0x90)
		return;
	if (c->inflight) {
		dev_guest_error(&c->ide->pci.dev, "command %#x while busy", op);
		return;
	}
	c->xfer = XFER_NONE;
	c->dma = false;
	c->irq_level = false;
	update_irq(c);
	u->error = 0;
	for (unsigned i = 0; i < ARRAY_SIZE(commands); i++) {
		const struct ide_cmd *cmd = &commands[i];

		if (op >= cmd->first && op <= cmd->last &&
		    cmd->flags & (u->cdrom ? F_ATAPI : F_ATA)) {
			cmd->run(c, cmd);
			return;
		}
	}
	finish_abort(c);
}

/* ---- Ports ---- */

static uint64_t data_read(struct ide_channel *c, unsigned size)
{
	uint8_t v[4] = { 0xff, 0xff, 0xff, 0xff };
	uint32_t n;

	if (!(ide_unit(c)->status & ST_DRQ) || c->dma ||
	    (c->xfer != XFER_READ && c->xfer != XFER_REPLY))
		return UINT64_MAX;
	n = MIN(size, c->end - c->pos);
	memcpy(v, c->buf + c->pos, n);
	c->pos += n;
	if (c->pos == c->end)
		window_done(c);
	return ld_le32(v);
}

static void data_write(struct ide_channel *c, unsigned size, uint32_t val)
{
	uint8_t v[4];
	uint32_t n;

	if (!(ide_unit(c)->status & ST_DRQ) ||
	    (c->xfer != XFER_PACKET && (c->xfer != XFER_WRITE || c->dma)))
		return;
	st_le32(v, val);
	n = MIN(size, c->end - c->pos);
	memcpy(c->buf + c->pos, v, n);
	c->pos += n;
	if (c->pos == c->end)
		window_done(c);
}

static bool selected_missing(struct ide_channel *c)
{
	return !ide_unit(c)->present && (c->sel || !c->unit[1].present);
}

static uint8_t reg_read(struct ide_channel *c, unsigned reg)
{
	const struct ide_unit *u = ide_unit(c);
	bool hob = c->control & CTL_HOB;

	if (!c->unit[0].present && !c->unit[1].present)
		return 0;
	switch (reg) {
	case 1:
		return hob ? u->feature[1] : u->error;
	case 2:
		return u->count[hob];
	case 3:
		return u->lo[hob];
	case 4:
		return u->mid[hob];
	case 5:
		return u->hi[hob];
	case 6:
		return u->device | 0xa0;
	default:
		return selected_missing(c) ? 0 : u->status;
	}
}

/* Both drives take what is written to the task file. */
static void reg_write(struct ide_channel *c, unsigned reg, uint8_t v)
{
	c->control &= ~CTL_HOB;
	if (reg == 7) {
		execute(c, v);
		return;
	}
	for (unsigned i = 0; i < 2; i++) {
		struct ide_unit *u = &c->unit[i];
		uint8_t *pair[] = { NULL, u->feature, u->count, u->lo, u->mid, u->hi };

		if (reg == 6) {
			u->device = v;
		} else {
			pair[reg][1] = pair[reg][0];
			pair[reg][0] = v;
		}
	}
	/* Choosing the other drive in the middle of a command would mix them up. */
	if (reg == 6 && !c->inflight && c->xfer == XFER_NONE)
		c->sel = v & DEV_SEL ? 1 : 0;
}

static struct ide_channel *cmd_channel(struct device *d, bool second)
{
	return &to_ide(d)->ch[second];
}

static uint64_t cmd_read(struct ide_channel *c, uint64_t off, unsigned size)
{
	uint64_t v = 0;

	if (off == 0)
		return data_read(c, size);
	for (unsigned i = 0; i < size && off + i < 8; i++)
		v |= (uint64_t)reg_read(c, off + i) << (8 * i);
	if (off + size > 7) {		/* reading the status acknowledges */
		c->irq_level = false;
		update_irq(c);
	}
	return v;
}

static void cmd_write(struct ide_channel *c, uint64_t off, unsigned size, uint64_t val)
{
	if (off == 0) {
		data_write(c, size, val);
		return;
	}
	for (unsigned i = 0; i < size && off + i < 8; i++)
		reg_write(c, off + i, val >> (8 * i));
}

static void ctl_write(struct ide_channel *c, uint8_t v)
{
	uint8_t old = c->control;

	c->control = v & (CTL_NIEN | CTL_SRST | CTL_HOB);
	if (v & CTL_SRST && !(old & CTL_SRST)) {
		abort_command(c);
		c->irq_level = false;
		c->bm_status &= ~BM_ACTIVE;
		for (unsigned i = 0; i < 2; i++)
			c->unit[i].status = c->unit[i].present ? ST_BSY : 0;
	} else if (!(v & CTL_SRST) && old & CTL_SRST) {
		c->sel = 0;
		for (unsigned i = 0; i < 2; i++)
			set_signature(&c->unit[i]);
	}
	update_irq(c);
}

/* One pair of handlers a channel: the region does not say which one it is. */
#define CHANNEL_IO(name, n) \
	static uint64_t name##_cmd_read(struct device *d, uint64_t off, unsigned size) \
	{ return cmd_read(cmd_channel(d, n), off, size); } \
	static void name##_cmd_write(struct device *d, uint64_t off, unsigned size, uint64_t v) \
	{ cmd_write(cmd_channel(d, n), off, size, v); } \
	static uint64_t name##_ctl_read(struct device *d, uint64_t off, unsigned size) \
	{ return reg_read(cmd_channel(d, n), 7); } \
	static void name##_ctl_write(struct device *d, uint64_t off, unsigned size, uint64_t v) \
	{ ctl_write(cmd_channel(d, n), v); } \
	static const struct io_ops name##_cmd_io = { \
		.read = name##_cmd_read, .write = name##_cmd_write, \
		.min_size = 1, .max_size = 4 }; \
	static const struct io_ops name##_ctl_io = { \
		.read = name##_ctl_read, .write = name##_ctl_write, .min_size = 1, .max_size = 1 };
CHANNEL_IO(primary, 0)
CHANNEL_IO(secondary, 1)

/* ---- Configuration and life ---- */

static void update_decode(struct ide *s)
{
	static const uint16_t cmd[2] = { 0x1f0, 0x170 }, ctl[2] = { 0x3f6, 0x376 };
	struct bus *bus = s->pci.dev.vm->bus;

	for (unsigned i = 0; i < 2; i++) {
		struct ide_channel *c = &s->ch[i];
		bool on = s->pci.cfg[PCI_COMMAND] & PCI_CMD_IO &&
			  s->pci.cfg[CFG_IDETIM + 2 * i + 1] & 0x80;

		if ((!bus_move(bus, &c->cmd_region, cmd[i], on) ||
		     !bus_move(bus, &c->ctl_region, ctl[i], on)) && on)
			dev_guest_error(&s->pci.dev, "IDE ports overlap another device");
	}
}

static void cfg_written(struct pci_dev *p, unsigned off, unsigned size, uint32_t old)
{
	struct ide *s = container_of(p, struct ide, pci);

	update_decode(s);
	for (unsigned i = 0; i < 2; i++)	/* bus mastering may have come on */
		ide_dma_kick(&s->ch[i]);
}

static void init_channel(struct ide *s, unsigned i)
{
	struct ide_channel *c = &s->ch[i];

	c->ide = s;
	c->cmd_region = (struct io_region){
		.kind = BUS_PIO, .len = 8, .dev = &s->pci.dev, .name = "ide",
		.ops = i ? &secondary_cmd_io : &primary_cmd_io };
	c->ctl_region = (struct io_region){
		.kind = BUS_PIO, .len = 1, .dev = &s->pci.dev, .name = "ide-control",
		.ops = i ? &secondary_ctl_io : &primary_ctl_io };
}

static bool ide_realize(struct device *d, struct err *e)
{
	static const struct pci_id id = {
		.vendor = 0x8086, .device = 0x7010, .class_code = 0x0101, .prog_if = 0x80,
		.subsys_vendor = 0x1af4, .subsys_id = 0x1100,
	};
	struct ide *s = to_ide(d);

	pci_init(&s->pci, &id);
	memset(s->pci.wmask + CFG_IDETIM, 0xff, 5);
	s->pci.cfg_written = cfg_written;
	for (unsigned i = 0; i < 4; i++) {
		struct ide_unit *u = &s->ch[i / 2].unit[i & 1];

		if (!s->wiring[i].used)
			continue;
		u->present = true;
		u->block = s->wiring[i].block;
		u->cdrom = s->wiring[i].cdrom;
		u->readonly = s->wiring[i].readonly || (u->block && block_info(u->block)->readonly);
		u->nsectors = u->block ? block_info(u->block)->size / SECTOR : 0;
		memcpy(u->serial, s->wiring[i].serial, sizeof(u->serial));
		if (!u->cdrom && !u->nsectors)
			return err_set(e, HV_EXIT_IMAGE, "the disk image is smaller than a sector");
	}
	init_channel(s, 0);
	init_channel(s, 1);
	return pci_bar_io(&s->pci, 4, PCI_BAR_IO, 16, &bm_io, e);
}

static void reset_unit(struct ide_unit *u)
{
	memset(u->feature, 0, sizeof(u->feature));
	memset(u->count, 0, sizeof(u->count));
	memset(u->lo, 0, sizeof(u->lo));
	memset(u->mid, 0, sizeof(u->mid));
	memset(u->hi, 0, sizeof(u->hi));
	u->device = 0;
	u->multi = IDE_MULTI_MAX;
	u->dma_mode = 0;
	u->heads = 16;
	u->spt = 63;
	u->wcache = true;
	u->sense_key = u->asc = 0;
	set_signature(u);
}

static void ide_reset(struct device *d)
{
	struct ide *s = to_ide(d);

	for (unsigned i = 0; i < 2; i++) {
		struct ide_channel *c = &s->ch[i];

		abort_command(c);
		reset_unit(&c->unit[0]);
		reset_unit(&c->unit[1]);
		c->sel = c->control = 0;
		c->irq_level = false;
		c->lba48 = c->fua = false;
		c->block_sectors = 0;
		c->lba = 0;
		c->byte_limit = 0;
		memset(c->buf, 0, sizeof(c->buf));
		c->bm_cmd = c->bm_status = 0;
		c->bm_addr = c->bm_next = c->prd_addr = c->prd_left = 0;
		c->prd_count = 0;
		c->prd_last = false;
		update_irq(c);
	}
	pci_reset(&s->pci);
	update_decode(s);
}

static void ide_pre_save(struct device *d)
{
	struct ide *s = to_ide(d);

	for (unsigned i = 0; i < 2; i++)
		while (s->ch[i].inflight)
			block_drain(s->ch[i].req.block);
}

static void ide_unrealize(struct device *d)
{
	abort_command(&to_ide(d)->ch[0]);
	abort_command(&to_ide(d)->ch[1]);
}

static bool unit_valid(const struct ide_unit *u)
{
	return u->multi <= IDE_MULTI_MAX && u->heads && u->heads <= 16 && u->spt;
}

static bool channel_valid(const struct ide_channel *c)
{
	const struct ide_unit *u = &c->unit[c->sel & 1];
	uint64_t have = u->cdrom ? u->nsectors / 4 : u->nsectors;

	if (c->sel > 1 || c->xfer >= XFER_MAX || c->len > IDE_BUF || c->end > c->len ||
	    c->pos > c->end || !unit_valid(&c->unit[0]) || !unit_valid(&c->unit[1]))
		return false;
	if (c->xfer != XFER_NONE && !u->present)
		return false;
	/* A window with nothing in it would never be closed. */
	if (c->xfer != XFER_NONE && (!c->dma || c->xfer == XFER_PACKET) && c->pos == c->end)
		return false;
	if (c->xfer == XFER_PACKET && c->len != 12)
		return false;
	if (c->xfer == XFER_REPLY && (!u->cdrom || !c->byte_limit || c->byte_limit & 1))
		return false;
	if (c->xfer == XFER_WRITE && (u->readonly || u->cdrom || c->len % SECTOR ||
				      c->len / SECTOR > c->left))
		return false;
	if ((c->xfer == XFER_READ || c->xfer == XFER_WRITE) && c->left &&
	    (u->cdrom || !c->block_sectors || c->block_sectors > IDE_MULTI_MAX))
		return false;
	return !c->left || (u->block && range_ok(c->lba, c->left, have));
}

static bool ide_post_load(struct device *d, struct err *e)
{
	struct ide *s = to_ide(d);

	if (!channel_valid(&s->ch[0]) || !channel_valid(&s->ch[1]))
		return err_set(e, HV_EXIT_IMAGE, "the saved IDE state is not valid");
	if (!pci_post_load(&s->pci, e))
		return false;
	update_decode(s);
	for (unsigned i = 0; i < 2; i++) {
		s->ch[i].bm_addr &= ~3u;
		update_irq(&s->ch[i]);
	}
	return true;
}

void ide_set_drive(struct device *d, unsigned unit, struct block *block, bool cdrom,
		   bool readonly, const char *serial)
{
	struct ide *s = to_ide(d);

	HV_BUG_ON(unit > 3 || s->wiring[unit].used);
	s->wiring[unit].used = true;
	s->wiring[unit].block = block;
	s->wiring[unit].cdrom = cdrom;
	s->wiring[unit].readonly = readonly;
	snprintf(s->wiring[unit].serial, sizeof(s->wiring[unit].serial), "%s", serial);
}

void ide_set_irqs(struct device *d, struct irq_line primary, struct irq_line secondary)
{
	to_ide(d)->ch[0].irq = primary;
	to_ide(d)->ch[1].irq = secondary;
}

const struct device_ops piix3_ide_ops = {
	.name = "piix3-ide",
	.size = sizeof(struct ide),
	.realize = ide_realize,
	.reset = ide_reset,
	.unrealize = ide_unrealize,
	.state = ide_state,
	.state_version = 1,
	.post_load = ide_post_load,
	.pre_save = ide_pre_save,
};
