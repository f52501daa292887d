/* SPDX-License-Identifier: MIT */
/*
 * The commands of a CD/DVD-ROM drive: MMC-3 (T10/1363-D), with SPC-3 for the
 * primary ones.  Read-only media of one data track; a tray that the guest
 * and the user can open.
 *
 * Left out: audio, writing, multi-session, changers.
 */
#include "scsi_cd_int.h"

#define MODE_BUF 64

/* Media events (MMC-3 6.6.3) */
enum { EV_NONE = 0, EV_EJECT_REQUEST = 1, EV_NEW_MEDIUM = 2, EV_REMOVAL = 3 };

const struct state_field scsi_cd_state[] = {
	STATE_BOOL(struct scsi_cd, open),
	STATE_BOOL(struct scsi_cd, locked),
	STATE_U8(struct scsi_cd, event),
	STATE_BOOL(struct scsi_cd, changed),
	STATE_U8(struct scsi_cd, sense.key),
	STATE_U16(struct scsi_cd, sense.asc),
	STATE_END
};

void cd_set_medium(struct scsi_cd *cd, struct block *block)
{
	bool had = cd->block && !cd->open;

	cd->block = block;
	cd->nblocks = block ? block_info(block)->size / CD_SECTOR : 0;
	cd->open = false;
	cd->changed = block != NULL;
	cd->event = block ? EV_NEW_MEDIUM : had ? EV_REMOVAL : EV_NONE;
}

void cd_reset(struct scsi_cd *cd)
{
	cd->nblocks = cd->block ? block_info(cd->block)->size / CD_SECTOR : 0;
	cd->open = cd->locked = cd->changed = false;
	cd->event = EV_NONE;
	cd->sense = (struct scsi_sense){ 0 };
}

struct media_tray cd_tray(struct scsi_cd *cd, bool wish)
{
	if (wish && cd->locked && !cd->open)
		cd->event = EV_EJECT_REQUEST;
	return (struct media_tray){ .open = cd->open, .locked = cd->locked };
}

bool cd_readable(const struct scsi_cd *cd, uint64_t off, uint64_t len)
{
	return cd->block && !cd->changed && range_ok(off, len, (uint64_t)cd_blocks(cd) * CD_SECTOR);
}

static void ok(struct scsi_result *r)
{
	*r = (struct scsi_result){ .what = SCSI_DONE };
}

static void read_blocks(struct scsi_cd *cd, uint32_t lba, uint32_t n, struct scsi_result *r)
{
	if (!range_ok(lba, n, cd_blocks(cd)))
		scsi_fail(r, KEY_ILLEGAL, ASC_LBA_RANGE);
	else if (!n)
		ok(r);
	else
		*r = (struct scsi_result){ .what = SCSI_READ, .off = (uint64_t)lba * CD_SECTOR,
					   .len = (uint64_t)n * CD_SECTOR };
}

/* ---- Commands ---- */

static void cmd_ready(struct scsi_cd *cd, const uint8_t *p, uint8_t *b, struct scsi_result *r)
{
	ok(r);
}

static void cmd_sense(struct scsi_cd *cd, const uint8_t *p, uint8_t *b, struct scsi_result *r)
{
	struct scsi_sense attention = { KEY_ATTENTION, ASC_MEDIUM_CHANGED };

	scsi_put_sense(b, cd->changed && !cd->sense.key ? &attention : &cd->sense);
	if (!cd->sense.key)
		cd->changed = false;
	scsi_reply(r, SCSI_SENSE_LEN, p[4]);
}

static void cmd_inquiry(struct scsi_cd *cd, const uint8_t *p, uint8_t *b, struct scsi_result *r)
{
	if (p[1] & 1 || p[2]) {
		scsi_fail(r, KEY_ILLEGAL, ASC_INVALID_FIELD);
		return;
	}
	b[0] = 0x05;		/* CD-ROM */
	b[1] = 0x80;		/* removable */
	b[3] = 0x21;		/* ATAPI, response format 1 */
	b[4] = 31;
	memcpy(b + 8, "HVRUN   ", 8);
	memcpy(b + 16, "DVD-ROM         ", 16);
	memcpy(b + 32, "1.0 ", 4);
	scsi_reply(r, 36, ld_be16(p + 3));
}

static void cmd_capacity(struct scsi_cd *cd, const uint8_t *p, uint8_t *b, struct scsi_result *r)
{
	st_be32(b, cd_blocks(cd) - 1);
	st_be32(b + 4, CD_SECTOR);
	scsi_reply(r, 8, 8);
}

static void cmd_read10(struct scsi_cd *cd, const uint8_t *p, uint8_t *b, struct scsi_result *r)
{
	read_blocks(cd, ld_be32(p + 2), ld_be16(p + 7), r);
}

static void cmd_read12(struct scsi_cd *cd, const uint8_t *p, uint8_t *b, struct scsi_result *r)
{
	read_blocks(cd, ld_be32(p + 2), ld_be32(p + 6), r);
}

/* User data of mode 1 sectors only. */
static void read_user_data(struct scsi_cd *cd, uint8_t what, uint32_t lba, uint32_t n,
			   struct scsi_result *r)
{
	if ((what & 0xf8) == 0)
		ok(r);
	else if ((what & 0xf8) != 0x10)
		scsi_fail(r, KEY_ILLEGAL, ASC_INVALID_FIELD);
	else
		read_blocks(cd, lba, n, r);
}

static void cmd_read_cd(struct scsi_cd *cd, const uint8_t *p, uint8_t *b, struct scsi_result *r)
{
	read_user_data(cd, p[9], ld_be32(p + 2), (uint32_t)p[6] << 16 | p[7] << 8 | p[8], r);
}

/* From minute, second, frame up to (not with) another. */
static void cmd_read_cd_msf(struct scsi_cd *cd, const uint8_t *p, uint8_t *b,
			    struct scsi_result *r)
{
	uint32_t from = (p[3] * 60u + p[4]) * 75 + p[5], to = (p[6] * 60u + p[7]) * 75 + p[8];

	if (from < 150 || to < from)
		scsi_fail(r, KEY_ILLEGAL, ASC_LBA_RANGE);
	else
		read_user_data(cd, p[9], from - 150, to - from, r);
}

static void cmd_verify(struct scsi_cd *cd, const uint8_t *p, uint8_t *b, struct scsi_result *r)
{
	if (range_ok(ld_be32(p + 2), ld_be16(p + 7), cd_blocks(cd)))
		ok(r);
	else
		scsi_fail(r, KEY_ILLEGAL, ASC_LBA_RANGE);
}

/* There is no audio track to play. */
static void cmd_play(struct scsi_cd *cd, const uint8_t *p, uint8_t *b, struct scsi_result *r)
{
	scsi_fail(r, KEY_ILLEGAL, ASC_ILLEGAL_MODE);
}

struct mode_page { uint8_t code, len; uint8_t data[20]; };

static const struct mode_page mode_pages[] = {
	{ 0x01, 6, { 0, 5 } },				/* error recovery */
	{ 0x0e, 14, { 4 } },				/* CD audio control */
	/* Capabilities: reads CD-R/RW/DVD; tray loader, eject, lock */
	{ 0x2a, 18, { 0x3b, 0, 0, 0x40 | 0x01, 0x29, 0, 0x0b, 0x00, 0, 2, 0, 0, 0x0b, 0x00 } },
};

/* Current values; @hdr is the length of the header, 4 (6-byte command) or 8. */
static void mode_sense(struct scsi_cd *cd, const uint8_t *p, unsigned hdr, uint32_t alloc,
		       uint8_t *b, struct scsi_result *r)
{
	unsigned len = hdr, page = p[2] & 0x3f;

	if (p[2] >> 6 == 3) {
		scsi_fail(r, KEY_ILLEGAL, ASC_SAVING);
		return;
	}
	for (unsigned i = 0; i < ARRAY_SIZE(mode_pages); i++) {
		const struct mode_page *m = &mode_pages[i];

		if (page != 0x3f && page != m->code)
			continue;
		HV_BUG_ON(len + 2u + m->len > MODE_BUF);
		b[len] = m->code;
		b[len + 1] = m->len;
		if (p[2] >> 6 == 0) {	/* changeable and default: zero */
			memcpy(b + len + 2, m->data, m->len);
			if (m->code == 0x2a && cd->locked)
				b[len + 6] |= 0x02;
		}
		len += 2 + m->len;
	}
	if (len == hdr) {
		scsi_fail(r, KEY_ILLEGAL, ASC_INVALID_FIELD);
		return;
	}
	if (hdr == 8)
		st_be16(b, len - 2);
	else
		b[0] = len - 1;
	scsi_reply(r, len, alloc);
}

static void cmd_mode6(struct scsi_cd *cd, const uint8_t *p, uint8_t *b, struct scsi_result *r)
{
	mode_sense(cd, p, 4, p[4], b, r);
}

static void cmd_mode10(struct scsi_cd *cd, const uint8_t *p, uint8_t *b, struct scsi_result *r)
{
	mode_sense(cd, p, 8, ld_be16(p + 7), b, r);
}

/* Polled only; media events are class 4, and reported once. */
static void cmd_event(struct scsi_cd *cd, const uint8_t *p, uint8_t *b, struct scsi_result *r)
{
	if (!(p[1] & 1)) {
		scsi_fail(r, KEY_ILLEGAL, ASC_INVALID_FIELD);
		return;
	}
	b[3] = 0x10;
	if (!(p[4] & 0x10)) {
		st_be16(b, 2);
		b[2] = 0x80;		/* no such class */
		scsi_reply(r, 4, ld_be16(p + 7));
		return;
	}
	st_be16(b, 6);
	b[2] = 0x04;
	b[4] = cd->event;
	b[5] = (cd->block && !cd->open ? 0x02 : 0) | (cd->open ? 0x01 : 0);
	cd->event = EV_NONE;
	scsi_reply(r, 8, ld_be16(p + 7));
}

static void cmd_mechanism(struct scsi_cd *cd, const uint8_t *p, uint8_t *b,
			  struct scsi_result *r)
{
	b[5] = 1;
	scsi_reply(r, 8, ld_be16(p + 8));
}

/* START STOP UNIT: with LoEj the tray moves. */
static void cmd_start_stop(struct scsi_cd *cd, const uint8_t *p, uint8_t *b,
			   struct scsi_result *r)
{
	bool load = p[4] & 1;

	if (p[4] & 2 && !load && cd->locked) {
		scsi_fail(r, cd->block ? KEY_ILLEGAL : KEY_NOT_READY, ASC_REMOVAL_PREVENTED);
		return;
	}
	if (p[4] & 2 && load == cd->open) {
		cd->open = !load;
		cd->changed = load && cd->block;
		cd->event = !cd->block ? EV_NONE : load ? EV_NEW_MEDIUM : EV_REMOVAL;
	}
	ok(r);
}

static void cmd_prevent(struct scsi_cd *cd, const uint8_t *p, uint8_t *b, struct scsi_result *r)
{
	cd->locked = p[4] & 1;
	ok(r);
}

enum { NEEDS_MEDIUM = 1, NO_ATTENTION = 2 };

static const struct cd_row {
	uint8_t op, flags;
	cd_fn *run;
} commands[] = {
	{ 0x00, NEEDS_MEDIUM, cmd_ready },
	{ 0x03, NO_ATTENTION, cmd_sense },
	{ 0x12, NO_ATTENTION, cmd_inquiry },
	{ 0x1a, 0, cmd_mode6 },
	{ 0x1b, 0, cmd_start_stop },
	{ 0x1e, 0, cmd_prevent },
	{ 0x25, NEEDS_MEDIUM, cmd_capacity },
	{ 0x28, NEEDS_MEDIUM, cmd_read10 },
	{ 0x2b, NEEDS_MEDIUM, cmd_ready },	/* seek */
	{ 0x2f, NEEDS_MEDIUM, cmd_verify },
	{ 0x42, NEEDS_MEDIUM, cd_cmd_subchannel },
	{ 0x43, NEEDS_MEDIUM, cd_cmd_toc },
	{ 0x45, NEEDS_MEDIUM, cmd_play },
	{ 0x46, NO_ATTENTION, cd_cmd_config },
	{ 0x47, NEEDS_MEDIUM, cmd_play },
	{ 0x4a, NO_ATTENTION, cmd_event },
	{ 0x4b, NEEDS_MEDIUM, cmd_play },	/* pause, resume */
	{ 0x4e, NEEDS_MEDIUM, cmd_ready },	/* stop playing */
	{ 0x51, NEEDS_MEDIUM, cd_cmd_disc_info },
	{ 0x52, NEEDS_MEDIUM, cd_cmd_track_info },
	{ 0x5a, 0, cmd_mode10 },
	{ 0xa8, NEEDS_MEDIUM, cmd_read12 },
	{ 0xb9, NEEDS_MEDIUM, cmd_read_cd_msf },
	{ 0xbb, 0, cmd_ready },			/* set speed */
	{ 0xbd, 0, cmd_mechanism },
	{ 0xbe, NEEDS_MEDIUM, cmd_read_cd },
};

static void run(struct scsi_cd *cd, const struct cd_row *row, const uint8_t *p, uint8_t *b,
		struct scsi_result *r)
{
	if (!row) {
		scsi_fail(r, KEY_ILLEGAL, ASC_INVALID_OP);
	} else if (cd->changed && !(row->flags & NO_ATTENTION)) {
		cd->changed = false;
		scsi_fail(r, KEY_ATTENTION, ASC_MEDIUM_CHANGED);
	} else if (row->flags & NEEDS_MEDIUM && !cd_blocks(cd)) {
		scsi_fail(r, KEY_NOT_READY, cd->open ? ASC_TRAY_OPEN : ASC_NO_MEDIUM);
	} else {
		row->run(cd, p, b, r);
	}
}

void cd_command(struct scsi_cd *cd, const uint8_t *cdb, uint8_t *buf, struct scsi_result *r)
{
	const struct cd_row *row = NULL;

	for (unsigned i = 0; i < ARRAY_SIZE(commands) && !row; i++)
		if (commands[i].op == cdb[0])
			row = &commands[i];
	run(cd, row, cdb, buf, r);
	if (r->what == SCSI_FAILED)
		cd->sense = r->sense;
	else
		cd->sense = (struct scsi_sense){ 0 };
}

void cd_read_failed(struct scsi_cd *cd, struct scsi_result *r)
{
	if (!cd_blocks(cd))
		scsi_fail(r, KEY_NOT_READY, cd->open ? ASC_TRAY_OPEN : ASC_NO_MEDIUM);
	else if (cd->changed)
		scsi_fail(r, KEY_ATTENTION, ASC_MEDIUM_CHANGED);
	else
		scsi_fail(r, KEY_MEDIUM, ASC_READ_ERROR);
	cd->changed = false;
	cd->sense = r->sense;
}
