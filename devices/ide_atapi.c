/* SPDX-License-Identifier: MIT */
/*
 * ATAPI CD-ROM on an IDE channel: the packet protocol (ATA/ATAPI-6 section
 * 9.8) and the MMC-3 commands that firmware and CD drivers use.
 *
 * A reply is built in the channel's buffer, clipped to the allocation length
 * of the command, and handed out in DRQ blocks of at most the host's byte
 * count limit, or by the bus master.
 *
 * Left out: audio, writing, multi-session, media change events.
 */
#include "ide_int.h"
#include "../src/vm.h"

#define KEY_NONE 0
#define KEY_NOT_READY 2
#define KEY_MEDIUM 3
#define KEY_ILLEGAL 5
#define ASC_INVALID_OP 0x20
#define ASC_LBA_RANGE 0x21
#define ASC_INVALID_FIELD 0x24
#define ASC_NO_MEDIUM 0x3a
#define ASC_READ_ERROR 0x11
#define PACKET_LEN 12
#define MODE_BUF 64

static uint32_t blocks(const struct ide_unit *u)
{
	return MIN(u->nsectors / 4, UINT32_MAX);
}

/* ---- Ends of commands ---- */

static void end_ok(struct ide_channel *c)
{
	struct ide_unit *u = ide_unit(c);

	u->count[0] = IR_COD | IR_IO;
	u->sense_key = u->asc = 0;
	ide_finish(c, ST_DRDY, 0);
}

void atapi_fail(struct ide_channel *c, uint8_t key, uint8_t asc)
{
	struct ide_unit *u = ide_unit(c);

	u->count[0] = IR_COD | IR_IO;
	u->sense_key = key;
	u->asc = asc;
	ide_finish(c, ST_DRDY | ST_ERR, key << 4 | ER_ABRT);
}

void atapi_dma_done(struct ide_channel *c, bool ok)
{
	if (ok)
		end_ok(c);
	else
		atapi_fail(c, 0xb, 0);		/* aborted command */
}

/* ---- Data to the host ---- */

/* Offer the next DRQ block of buf[pos, len). */
static void open_block(struct ide_channel *c)
{
	struct ide_unit *u = ide_unit(c);
	uint32_t n = MIN(c->len - c->pos, c->byte_limit);

	c->end = c->pos + n;
	u->mid[0] = n;
	u->hi[0] = n >> 8;
	u->count[0] = IR_IO;
	u->status = ST_DRDY | ST_DRQ;
	ide_raise(c);
}

static void fetched(struct ide_channel *c, int error)
{
	if (error)
		atapi_fail(c, KEY_MEDIUM, ASC_READ_ERROR);
	else
		open_block(c);
}

static void fetch_done(struct ide_channel *c, int error)
{
	uint32_t n = MIN(c->left, IDE_BUF / CD_SECTOR);

	if (!error) {
		c->pos = c->end = 0;
		c->len = n * CD_SECTOR;
		c->lba += n;
		c->left -= n;
	}
	c->after_fetch(c, error);
}

void atapi_fetch(struct ide_channel *c, void (*then)(struct ide_channel *c, int error))
{
	uint32_t n = MIN(c->left, IDE_BUF / CD_SECTOR);

	c->after_fetch = then;
	ide_submit(c, BLOCK_READ, c->lba * CD_SECTOR, n * CD_SECTOR, fetch_done);
}

void atapi_next(struct ide_channel *c)
{
	if (c->pos < c->len)
		open_block(c);
	else if (c->left)
		atapi_fetch(c, fetched);
	else
		end_ok(c);
}

/* buf[0, len) is the answer, of which the host takes @alloc at most. */
static void reply(struct ide_channel *c, uint32_t len, uint32_t alloc)
{
	c->pos = c->end = 0;
	c->len = MIN(len, alloc);
	c->left = 0;
	if (!c->len) {
		end_ok(c);
		return;
	}
	c->xfer = XFER_REPLY;
	if (!c->dma) {
		open_block(c);
		return;
	}
	ide_unit(c)->status = ST_DRDY | ST_DRQ;
	ide_dma_kick(c);
}

static void read_sectors(struct ide_channel *c, uint32_t lba, uint32_t n)
{
	struct ide_unit *u = ide_unit(c);

	if (!range_ok(lba, n, blocks(u))) {
		atapi_fail(c, KEY_ILLEGAL, ASC_LBA_RANGE);
		return;
	}
	if (!n) {
		end_ok(c);
		return;
	}
	c->lba = lba;
	c->left = n;
	c->pos = c->end = c->len = 0;
	c->xfer = XFER_REPLY;
	u->status = ST_DRDY | ST_DRQ;
	if (c->dma)
		ide_dma_kick(c);
	else
		atapi_fetch(c, fetched);
}

/* ---- Commands; @p is a copy of the packet, buf is zeroed ---- */

static void cmd_ready(struct ide_channel *c, const uint8_t *p)
{
	end_ok(c);
}

static void cmd_sense(struct ide_channel *c, const uint8_t *p)
{
	struct ide_unit *u = ide_unit(c);

	c->buf[0] = 0x70;
	c->buf[2] = u->sense_key;
	c->buf[7] = 10;
	c->buf[12] = u->asc;
	reply(c, 18, p[4]);
}

static void cmd_inquiry(struct ide_channel *c, const uint8_t *p)
{
	if (p[1] & 1) {
		atapi_fail(c, KEY_ILLEGAL, ASC_INVALID_FIELD);
		return;
	}
	c->buf[0] = 0x05;		/* CD-ROM */
	c->buf[1] = 0x80;		/* removable */
	c->buf[3] = 0x21;		/* ATAPI, response format 1 */
	c->buf[4] = 31;
	memcpy(c->buf + 8, "HVRUN   ", 8);
	memcpy(c->buf + 16, "DVD-ROM         ", 16);
	memcpy(c->buf + 32, "1.0 ", 4);
	reply(c, 36, ld_be16(p + 3));
}

static void cmd_capacity(struct ide_channel *c, const uint8_t *p)
{
	st_be32(c->buf, blocks(ide_unit(c)) - 1);
	st_be32(c->buf + 4, CD_SECTOR);
	reply(c, 8, 8);
}

static void cmd_read10(struct ide_channel *c, const uint8_t *p)
{
	read_sectors(c, ld_be32(p + 2), ld_be16(p + 7));
}

static void cmd_read12(struct ide_channel *c, const uint8_t *p)
{
	read_sectors(c, ld_be32(p + 2), ld_be32(p + 6));
}

/* READ CD: user data of mode 1 sectors only. */
static void cmd_read_cd(struct ide_channel *c, const uint8_t *p)
{
	uint32_t n = (uint32_t)p[6] << 16 | p[7] << 8 | p[8];

	if ((p[9] & 0xf8) == 0)
		end_ok(c);
	else if ((p[9] & 0xf8) != 0x10)
		atapi_fail(c, KEY_ILLEGAL, ASC_INVALID_FIELD);
	else
		read_sectors(c, ld_be32(p + 2), n);
}

static void put_msf(uint8_t *p, bool msf, uint32_t lba)
{
	if (!msf) {
		st_be32(p, lba);
		return;
	}
	lba += 150;
	p[1] = lba / 75 / 60;
	p[2] = lba / 75 % 60;
	p[3] = lba % 75;
}

static void toc_track(uint8_t *p, uint8_t track, bool msf, uint32_t lba)
{
	p[1] = 0x14;			/* data track */
	p[2] = track;
	put_msf(p + 4, msf, lba);
}

/* One data track and the lead-out. */
static void cmd_toc(struct ide_channel *c, const uint8_t *p)
{
	unsigned format = p[9] >> 6 ? p[9] >> 6 : p[2] & 15;
	bool msf = p[1] & 2;
	uint8_t *b = c->buf;
	unsigned len = 4;

	b[2] = b[3] = 1;
	if (format == 0) {
		if (p[6] > 1 && p[6] != 0xaa) {
			atapi_fail(c, KEY_ILLEGAL, ASC_INVALID_FIELD);
			return;
		}
		if (p[6] <= 1) {
			toc_track(b + len, 1, msf, 0);
			len += 8;
		}
		toc_track(b + len, 0xaa, msf, blocks(ide_unit(c)));
		len += 8;
	} else if (format == 1) {	/* last session */
		toc_track(b + len, 1, msf, 0);
		len += 8;
	} else {
		atapi_fail(c, KEY_ILLEGAL, ASC_INVALID_FIELD);
		return;
	}
	st_be16(b, len - 2);
	reply(c, len, ld_be16(p + 7));
}

struct mode_page { uint8_t code, len; uint8_t data[20]; };

static const struct mode_page mode_pages[] = {
	{ 0x01, 6, { 0, 5 } },				/* error recovery */
	{ 0x0e, 14, { 4 } },				/* CD audio control */
	{ 0x2a, 18, { 0x3b, 0, 0, 0x40 | 0x01, 0x29, 0, 0x0b, 0x00, 0, 2, 0, 0, 0x0b, 0x00 } },
};

/* Current values; @hdr is the length of the header, 4 (6-byte command) or 8. */
static void mode_sense(struct ide_channel *c, const uint8_t *p, unsigned hdr, uint32_t alloc)
{
	unsigned len = hdr, page = p[2] & 0x3f;

	if (p[2] >> 6 == 3) {
		atapi_fail(c, KEY_ILLEGAL, 0x39);	/* saving not supported */
		return;
	}
	for (unsigned i = 0; i < ARRAY_SIZE(mode_pages); i++) {
		const struct mode_page *m = &mode_pages[i];

		if (page != 0x3f && page != m->code)
			continue;
		HV_BUG_ON(len + 2u + m->len > MODE_BUF);
		c->buf[len] = m->code;
		c->buf[len + 1] = m->len;
		if (p[2] >> 6 == 0)	/* changeable and default: zero */
			memcpy(c->buf + len + 2, m->data, m->len);
		len += 2 + m->len;
	}
	if (len == hdr) {
		atapi_fail(c, KEY_ILLEGAL, ASC_INVALID_FIELD);
		return;
	}
	if (hdr == 8)
		st_be16(c->buf, len - 2);
	else
		c->buf[0] = len - 1;
	reply(c, len, alloc);
}

static void cmd_mode_sense6(struct ide_channel *c, const uint8_t *p)
{
	mode_sense(c, p, 4, p[4]);
}

static void cmd_mode_sense10(struct ide_channel *c, const uint8_t *p)
{
	mode_sense(c, p, 8, ld_be16(p + 7));
}

/* Profiles: DVD-ROM for what does not fit a CD, else CD-ROM; the core feature. */
static void cmd_configuration(struct ide_channel *c, const uint8_t *p)
{
	struct ide_unit *u = ide_unit(c);
	uint16_t profile = !u->block ? 0 : u->nsectors > 1440000 ? 0x10 : 0x08;
	uint8_t *b = c->buf;

	st_be16(b + 6, profile);
	b[10] = 0x03, b[11] = 8;	/* feature 0: profile list, persistent, current */
	st_be16(b + 12, 0x10);
	b[14] = profile == 0x10;
	st_be16(b + 16, 0x08);
	b[18] = profile == 0x08;
	st_be16(b + 20, 1);		/* feature 1: core, version 0 */
	b[22] = 0x03, b[23] = 8;
	st_be32(b + 24, 2);		/* ATAPI */
	st_be32(b, 32 - 4);
	reply(c, 32, ld_be16(p + 7));
}

/* Polled only; media events: new class 4, nothing happened, medium present or not. */
static void cmd_event_status(struct ide_channel *c, const uint8_t *p)
{
	if (!(p[1] & 1)) {
		atapi_fail(c, KEY_ILLEGAL, ASC_INVALID_FIELD);
		return;
	}
	c->buf[3] = 0x10;
	if (!(p[4] & 0x10)) {
		st_be16(c->buf, 2);
		c->buf[2] = 0x80;	/* no such class */
		reply(c, 4, ld_be16(p + 7));
		return;
	}
	st_be16(c->buf, 6);
	c->buf[2] = 0x04;
	c->buf[5] = ide_unit(c)->block ? 0x02 : 0x00;
	reply(c, 8, ld_be16(p + 7));
}

static void cmd_disc_info(struct ide_channel *c, const uint8_t *p)
{
	uint8_t *b = c->buf;

	st_be16(b, 32);
	b[2] = 0x0e;			/* complete, last session complete */
	b[3] = b[4] = b[5] = b[6] = 1;
	b[7] = 0x20;			/* unrestricted use */
	reply(c, 34, ld_be16(p + 7));
}

static void cmd_mechanism(struct ide_channel *c, const uint8_t *p)
{
	c->buf[5] = 1;
	reply(c, 8, ld_be16(p + 8));
}

enum { NEEDS_MEDIUM = 1, KEEPS_SENSE = 2 };

static const struct atapi_cmd {
	uint8_t op, flags;
	void (*run)(struct ide_channel *c, const uint8_t *p);
} commands[] = {
	{ 0x00, NEEDS_MEDIUM, cmd_ready },
	{ 0x03, KEEPS_SENSE, cmd_sense },
	{ 0x12, KEEPS_SENSE, cmd_inquiry },
	{ 0x1a, 0, cmd_mode_sense6 },
	{ 0x1b, 0, cmd_ready },			/* start, stop, load, eject: the tray stays */
	{ 0x1e, 0, cmd_ready },			/* prevent, allow removal */
	{ 0x25, NEEDS_MEDIUM, cmd_capacity },
	{ 0x28, NEEDS_MEDIUM, cmd_read10 },
	{ 0x2b, NEEDS_MEDIUM, cmd_ready },	/* seek */
	{ 0x43, NEEDS_MEDIUM, cmd_toc },
	{ 0x46, 0, cmd_configuration },
	{ 0x4a, 0, cmd_event_status },
	{ 0x51, NEEDS_MEDIUM, cmd_disc_info },
	{ 0x5a, 0, cmd_mode_sense10 },
	{ 0xa8, NEEDS_MEDIUM, cmd_read12 },
	{ 0xbb, 0, cmd_ready },			/* set speed */
	{ 0xbd, 0, cmd_mechanism },
	{ 0xbe, NEEDS_MEDIUM, cmd_read_cd },
};

void atapi_command(struct ide_channel *c)
{
	struct ide_unit *u = ide_unit(c);
	uint8_t p[PACKET_LEN];

	memcpy(p, c->buf, sizeof(p));
	memset(c->buf, 0, 512);
	c->xfer = XFER_NONE;
	u->status = ST_BSY;
	for (unsigned i = 0; i < ARRAY_SIZE(commands); i++) {
		const struct atapi_cmd *cmd = &commands[i];

		if (cmd->op != p[0])
			continue;
		if (cmd->flags & NEEDS_MEDIUM && !blocks(u)) {
			atapi_fail(c, KEY_NOT_READY, ASC_NO_MEDIUM);
			return;
		}
		cmd->run(c, p);
		return;
	}
	atapi_fail(c, KEY_ILLEGAL, ASC_INVALID_OP);
}

void atapi_packet(struct ide_channel *c)
{
	struct ide_unit *u = ide_unit(c);
	uint32_t limit = u->mid[0] | u->hi[0] << 8;

	if (u->feature[0] & 2) {	/* overlapped */
		ide_finish(c, ST_DRDY | ST_ERR, ER_ABRT);
		return;
	}
	/* 9.8: an odd limit below FFFFh counts one less; zero is not allowed, take the most. */
	c->byte_limit = !limit || limit == 0xffff ? 0xfffe : MAX(limit & ~1u, 2);
	c->dma = u->feature[0] & 1;
	c->xfer = XFER_PACKET;
	c->left = 0;
	c->pos = 0;
	c->end = c->len = PACKET_LEN;
	u->count[0] = IR_COD;
	u->status = ST_DRDY | ST_DRQ;
}

/* IDENTIFY PACKET DEVICE (8.16): the words that differ from an ATA disk. */
void atapi_identify(struct ide_channel *c, uint8_t *id)
{
	static const struct { uint8_t word; uint16_t val; } rows[] = {
		{ 0, 0x85c0 }, { 49, 0x0b00 }, { 51, 0x0200 }, { 53, 6 }, { 64, 3 }, { 65, 120 },
		{ 66, 120 }, { 67, 120 }, { 68, 120 }, { 80, 0x0070 }, { 82, 0x0210 },
		{ 83, 0x4000 }, { 84, 0x4000 }, { 85, 0x0210 }, { 87, 0x4000 }, { 93, 0x6001 },
	};

	for (unsigned i = 0; i < ARRAY_SIZE(rows); i++)
		st_le16(id + 2 * rows[i].word, rows[i].val);
}
