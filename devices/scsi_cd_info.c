/* SPDX-License-Identifier: MIT */
/*
 * What a CD/DVD-ROM drive tells about the disc in it and about itself
 * (MMC-3, T10/1363-D): tables of contents, sub-channel, disc and track
 * information, features.  The disc is one closed session with one data track.
 */
#include "scsi_cd_int.h"

#define CD_MAX_BLOCKS 360000u	/* 80 minutes; what is larger is a DVD */
#define LEAD_OUT 0xaa

enum { PROFILE_CD_ROM = 0x0008, PROFILE_DVD_ROM = 0x0010 };

static void illegal(struct scsi_result *r)
{
	scsi_fail(r, KEY_ILLEGAL, ASC_INVALID_FIELD);
}

/* ---- READ TOC/PMA/ATIP (6.30) ---- */

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

/* Format 0: the track and the lead-out. */
static unsigned toc_tracks(struct scsi_cd *cd, uint8_t first, bool msf, uint8_t *b)
{
	unsigned len = 4;

	if (first <= 1) {
		toc_track(b + len, 1, msf, 0);
		len += 8;
	}
	toc_track(b + len, LEAD_OUT, msf, cd_blocks(cd));
	return len + 8;
}

/* Format 2: the lead-in as it is on disc; addresses always as minute, second, frame. */
static unsigned toc_full(struct scsi_cd *cd, uint8_t *b)
{
	static const uint8_t points[] = { 0xa0, 0xa1, 0xa2, 1 };
	unsigned len = 4;

	for (unsigned i = 0; i < ARRAY_SIZE(points); i++, len += 11) {
		uint8_t *p = b + len, at[4] = { 0 };

		p[0] = 1;			/* session */
		p[1] = 0x14;			/* data track */
		p[3] = points[i];
		if (points[i] == 0xa0 || points[i] == 0xa1) {
			p[8] = 1;		/* first and last track */
			continue;
		}
		put_msf(at, true, points[i] == 1 ? 0 : cd_blocks(cd));
		memcpy(p + 8, at + 1, 3);
	}
	return len;
}

void cd_cmd_toc(struct scsi_cd *cd, const uint8_t *p, uint8_t *b, struct scsi_result *r)
{
	unsigned format = p[9] >> 6 ? p[9] >> 6 : p[2] & 15, len = 12;
	bool msf = p[1] & 2;

	b[2] = b[3] = 1;
	if (format > 2 || (format == 0 && p[6] > 1 && p[6] != LEAD_OUT)) {
		illegal(r);
		return;
	}
	if (format == 0)
		len = toc_tracks(cd, p[6], msf, b);
	else if (format == 1)		/* first track of the last session */
		toc_track(b + 4, 1, msf, 0);
	else
		len = toc_full(cd, b);
	st_be16(b, len - 2);
	scsi_reply(r, len, ld_be16(p + 7));
}

/* ---- Other information ---- */

/* READ SUB-CHANNEL (6.28): nothing plays; catalogue number and ISRC are not there. */
void cd_cmd_subchannel(struct scsi_cd *cd, const uint8_t *p, uint8_t *b, struct scsi_result *r)
{
	static const uint8_t length[4] = { 0, 12, 20, 20 };
	bool sub_q = p[2] & 0x40;

	if (sub_q && (!p[3] || p[3] > 3)) {
		illegal(r);
		return;
	}
	b[1] = 0x15;			/* no audio status to tell */
	if (sub_q) {
		b[3] = length[p[3]];
		b[4] = p[3];
	}
	if (sub_q && p[3] == 1) {
		b[5] = 0x14;
		b[6] = b[7] = 1;	/* track, index */
		put_msf(b + 8, p[1] & 2, 0);
		put_msf(b + 12, p[1] & 2, 0);
		if (p[1] & 2)
			b[14] = 0;	/* relative: from the start of the track */
	}
	scsi_reply(r, sub_q ? 4u + length[p[3]] : 4, ld_be16(p + 7));
}

void cd_cmd_disc_info(struct scsi_cd *cd, const uint8_t *p, uint8_t *b, struct scsi_result *r)
{
	st_be16(b, 32);
	b[2] = 0x0e;			/* complete, last session complete */
	b[3] = b[4] = b[5] = b[6] = 1;
	b[7] = 0x20;			/* unrestricted use */
	scsi_reply(r, 34, ld_be16(p + 7));
}

/* READ TRACK INFORMATION (6.31), by address, by track or by session */
void cd_cmd_track_info(struct scsi_cd *cd, const uint8_t *p, uint8_t *b, struct scsi_result *r)
{
	uint32_t n = ld_be32(p + 2);
	unsigned by = p[1] & 3;

	if (by == 3 || (by == 0 ? n >= cd_blocks(cd) : n != 1)) {
		illegal(r);
		return;
	}
	st_be16(b, 34);
	b[2] = b[3] = 1;		/* track, session */
	b[5] = 0x04;			/* data, recorded in one piece */
	b[6] = 0x01;			/* mode 1 */
	st_be32(b + 24, cd_blocks(cd));
	scsi_reply(r, 36, ld_be16(p + 7));
}

/* ---- GET CONFIGURATION (6.6, features in 5.3) ---- */

enum { ALWAYS = 3 /* persistent and current */, WITH_DISC = 0, WITH_CD = 4, WITH_DVD = 8 };

static const struct cd_feature {
	uint16_t code;
	uint8_t when, len;
	uint8_t data[8];
} features[] = {
	{ 0x0000, ALWAYS, 8, { 0, PROFILE_DVD_ROM, 0, 0, 0, PROFILE_CD_ROM } },
	{ 0x0001, ALWAYS, 4, { 0, 0, 0, 2 } },			/* core: ATAPI */
	{ 0x0002, ALWAYS, 4, { 0 } },				/* morphing */
	{ 0x0003, ALWAYS, 4, { 0x29 } },			/* tray, eject, lock */
	{ 0x0010, WITH_DISC, 8, { 0, 0, 0x08, 0, 0, 1 } },	/* random readable: 2048 bytes */
	{ 0x001e, WITH_CD, 4, { 0 } },				/* CD read */
	{ 0x001f, WITH_DVD, 4, { 0 } },				/* DVD read */
	{ 0x0100, ALWAYS, 0, { 0 } },				/* power management */
	{ 0x0105, ALWAYS, 0, { 0 } },				/* time-out */
};

static bool is_current(const struct cd_feature *f, uint16_t profile)
{
	switch (f->when) {
	case WITH_DISC:
		return profile != 0;
	case WITH_CD:
		return profile == PROFILE_CD_ROM;
	case WITH_DVD:
		return profile == PROFILE_DVD_ROM;
	default:
		return true;
	}
}

static unsigned put_feature(const struct cd_feature *f, uint16_t profile, uint8_t *p)
{
	st_be16(p, f->code);
	p[2] = (f->when == ALWAYS ? 2 : 0) | is_current(f, profile);
	p[3] = f->len;
	memcpy(p + 4, f->data, f->len);
	if (f->code == 0) {
		p[4 + 2] = profile == PROFILE_DVD_ROM;
		p[4 + 6] = profile == PROFILE_CD_ROM;
	}
	return 4u + f->len;
}

/* RT: 0 all from the given one on, 1 of those the current ones, 2 the given one */
void cd_cmd_config(struct scsi_cd *cd, const uint8_t *p, uint8_t *b, struct scsi_result *r)
{
	uint32_t n = cd_blocks(cd);
	uint16_t profile = !n ? 0 : n > CD_MAX_BLOCKS ? PROFILE_DVD_ROM : PROFILE_CD_ROM;
	unsigned rt = p[1] & 3, first = ld_be16(p + 2), len = 8;

	if (rt == 3) {
		illegal(r);
		return;
	}
	for (unsigned i = 0; i < ARRAY_SIZE(features); i++) {
		const struct cd_feature *f = &features[i];

		if (f->code < first || (rt == 2 && f->code != first) ||
		    (rt == 1 && !is_current(f, profile)))
			continue;
		len += put_feature(f, profile, b + len);
	}
	st_be32(b, len - 4);
	st_be16(b + 6, profile);
	scsi_reply(r, len, ld_be16(p + 7));
}
