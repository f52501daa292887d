/* SPDX-License-Identifier: MIT */
/*
 * The commands of a disk: SBC-3 (T10/BSR INCITS 514) with SPC-4 for the
 * primary ones.  Blocks of 512 bytes, 4 KiB physical ones.
 *
 * Left out: protection information, reservations, WRITE SAME of anything but
 * zeros, more than one range in UNMAP, self-test, logs.
 */
#include "scsi_disk.h"

#define MAX_UNMAP (1u << 22)	/* blocks of one command */
#define MAX_ZEROES (1u << 16)	/* 32 MiB: one command must not take seconds */

const struct state_field scsi_disk_state[] = {
	STATE_BOOL(struct scsi_disk, wcache),
	STATE_BOOL(struct scsi_disk, resized),
	STATE_END
};

void disk_reset(struct scsi_disk *d)
{
	d->wcache = true;
	d->resized = false;
}

static uint64_t blocks(const struct scsi_disk *d)
{
	return block_info(d->block)->size / SCSI_DISK_BLOCK;
}

static void ok(struct scsi_result *r)
{
	*r = (struct scsi_result){ .what = SCSI_DONE };
}

typedef void disk_fn(struct scsi_disk *d, const uint8_t *p, uint8_t *b, struct scsi_result *r);

/* ---- Blocks ---- */

struct span { uint64_t lba; uint32_t n; };

/* Address and length by the form of the command: the top three bits of its code. */
static struct span span_of(const uint8_t *p)
{
	switch (p[0] >> 5) {
	case 0:
		return (struct span){ (uint32_t)(p[1] & 31) << 16 | p[2] << 8 | p[3],
				      p[4] ? p[4] : 256 };
	case 1:
	case 2:
		return (struct span){ ld_be32(p + 2), ld_be16(p + 7) };
	case 5:
		return (struct span){ ld_be32(p + 2), ld_be32(p + 6) };
	default:
		return (struct span){ ld_be64(p + 2), ld_be32(p + 10) };
	}
}

static bool span_ok(const struct scsi_disk *d, struct span s, struct scsi_result *r)
{
	if (range_ok(s.lba, s.n, blocks(d)))
		return true;
	scsi_fail(r, KEY_ILLEGAL, ASC_LBA_RANGE);
	return false;
}

static bool may_write(const struct scsi_disk *d, struct scsi_result *r)
{
	if (!d->readonly)
		return true;
	scsi_fail(r, KEY_PROTECT, ASC_PROTECTED);
	return false;
}

static void set_span(struct scsi_result *r, enum scsi_outcome what, struct span s)
{
	*r = (struct scsi_result){ .what = s.n ? what : SCSI_DONE,
				   .off = s.lba * SCSI_DISK_BLOCK,
				   .len = (uint64_t)s.n * SCSI_DISK_BLOCK };
	if (r->what != SCSI_DONE && r->len > BLOCK_MAX_BYTES && what != SCSI_IO)
		scsi_fail(r, KEY_ILLEGAL, ASC_INVALID_FIELD);
}

static void cmd_read(struct scsi_disk *d, const uint8_t *p, uint8_t *b, struct scsi_result *r)
{
	struct span s = span_of(p);

	if (p[0] >> 5 && p[1] >> 5)	/* protection information */
		scsi_fail(r, KEY_ILLEGAL, ASC_INVALID_FIELD);
	else if (span_ok(d, s, r))
		set_span(r, SCSI_READ, s);
}

static void cmd_write(struct scsi_disk *d, const uint8_t *p, uint8_t *b, struct scsi_result *r)
{
	struct span s = span_of(p);

	if (p[0] >> 5 && p[1] >> 5) {
		scsi_fail(r, KEY_ILLEGAL, ASC_INVALID_FIELD);
		return;
	}
	if (!may_write(d, r) || !span_ok(d, s, r))
		return;
	set_span(r, SCSI_WRITE, s);
	if (r->what == SCSI_WRITE)
		r->fua = !d->wcache || (p[0] >> 5 && p[1] & 8);
}

/* VERIFY without a comparison: the address is all there is to verify. */
static void cmd_verify(struct scsi_disk *d, const uint8_t *p, uint8_t *b, struct scsi_result *r)
{
	if (p[1] & 6)
		scsi_fail(r, KEY_ILLEGAL, ASC_INVALID_FIELD);
	else if (span_ok(d, span_of(p), r))
		ok(r);
}

static void cmd_sync(struct scsi_disk *d, const uint8_t *p, uint8_t *b, struct scsi_result *r)
{
	if (span_ok(d, span_of(p), r))
		*r = (struct scsi_result){ .what = SCSI_IO, .op = BLOCK_FLUSH };
}

static void cmd_capacity10(struct scsi_disk *d, const uint8_t *p, uint8_t *b,
			   struct scsi_result *r)
{
	st_be32(b, MIN(blocks(d) - 1, UINT32_MAX));
	st_be32(b + 4, SCSI_DISK_BLOCK);
	scsi_reply(r, 8, 8);
}

static void cmd_service_in(struct scsi_disk *d, const uint8_t *p, uint8_t *b,
			   struct scsi_result *r)
{
	if ((p[1] & 31) != 0x10) {		/* READ CAPACITY (16) only */
		scsi_fail(r, KEY_ILLEGAL, ASC_INVALID_FIELD);
		return;
	}
	st_be64(b, blocks(d) - 1);
	st_be32(b + 8, SCSI_DISK_BLOCK);
	b[13] = 3;				/* 8 blocks to a physical one */
	b[14] = d->readonly ? 0 : 0x80;		/* LBPME: UNMAP works */
	scsi_reply(r, 32, ld_be32(p + 10));
}

/* ---- UNMAP, WRITE SAME, MODE SELECT: parameters come first ---- */

static void want_params(struct scsi_result *r, uint32_t len)
{
	if (len > SCSI_PARAMS_MAX)
		scsi_fail(r, KEY_ILLEGAL, ASC_INVALID_FIELD);
	else
		*r = (struct scsi_result){ .what = len ? SCSI_PARAMS : SCSI_DONE, .len = len };
}

static void cmd_unmap(struct scsi_disk *d, const uint8_t *p, uint8_t *b, struct scsi_result *r)
{
	if (p[1] & 1)				/* ANCHOR */
		scsi_fail(r, KEY_ILLEGAL, ASC_INVALID_FIELD);
	else if (may_write(d, r))
		want_params(r, ld_be16(p + 7));
}

static void params_unmap(struct scsi_disk *d, const uint8_t *p, const uint8_t *data, uint32_t len,
			 struct scsi_result *r)
{
	struct span s;

	if (len < 8 || ld_be16(data + 2) > len - 8 || ld_be16(data + 2) % 16) {
		scsi_fail(r, KEY_ILLEGAL, ASC_PARAM_LENGTH);
		return;
	}
	ok(r);
	if (!ld_be16(data + 2))
		return;
	s = (struct span){ ld_be64(data + 8), ld_be32(data + 16) };
	if (ld_be16(data + 2) > 16 || s.n > MAX_UNMAP) {
		scsi_fail(r, KEY_ILLEGAL, ASC_INVALID_PARAM);
	} else if (span_ok(d, s, r)) {
		set_span(r, SCSI_IO, s);
		r->op = BLOCK_DISCARD;
	}
}

static bool same_span(const struct scsi_disk *d, const uint8_t *p, struct scsi_result *r,
		      struct span *s)
{
	*s = span_of(p);
	if (!may_write(d, r))
		return false;
	if (p[1] & 0xf0 || !s->n || s->n > MAX_ZEROES) {	/* VPD B0h: WSNZ, maximum */
		scsi_fail(r, KEY_ILLEGAL, ASC_INVALID_FIELD);
		return false;
	}
	return span_ok(d, *s, r);
}

static void write_zeroes(const struct scsi_disk *d, struct span s, struct scsi_result *r)
{
	set_span(r, SCSI_IO, s);
	r->op = BLOCK_WRITE_ZEROES;
	r->fua = !d->wcache;
}

static void cmd_write_same(struct scsi_disk *d, const uint8_t *p, uint8_t *b,
			   struct scsi_result *r)
{
	struct span s;

	if (!same_span(d, p, r, &s))
		return;
	if (p[0] == 0x93 && p[1] & 1)		/* NDOB: no data, zeros */
		write_zeroes(d, s, r);
	else
		want_params(r, SCSI_DISK_BLOCK);
}

static void params_write_same(struct scsi_disk *d, const uint8_t *p, const uint8_t *data,
			      uint32_t len, struct scsi_result *r)
{
	struct span s;

	for (uint32_t i = 0; i < len; i++)
		if (data[i]) {
			scsi_fail(r, KEY_ILLEGAL, ASC_INVALID_PARAM);
			return;
		}
	if (same_span(d, p, r, &s))
		write_zeroes(d, s, r);
}

/* ---- INQUIRY (SPC-4 6.6, 7.8; SBC-3 6.5) ---- */

static unsigned vpd_page(const struct scsi_disk *d, uint8_t page, uint8_t *b)
{
	static const uint8_t pages[] = { 0x00, 0x80, 0x83, 0xb0, 0xb1, 0xb2 };
	unsigned n = (unsigned)strlen(d->serial);

	switch (page) {
	case 0x00:
		memcpy(b, pages, sizeof(pages));
		return sizeof(pages);
	case 0x80:
		memcpy(b, d->serial, n);
		return n;
	case 0x83:			/* one designator: ASCII, vendor specific */
		b[0] = 2;
		b[3] = n;
		memcpy(b + 4, d->serial, n);
		return 4 + n;
	case 0xb0:
		b[0] = 1;		/* WSNZ */
		st_be16(b + 2, 8);
		st_be32(b + 4, (uint32_t)MIN(BLOCK_MAX_BYTES / SCSI_DISK_BLOCK, 65535u));
		st_be32(b + 16, MAX_UNMAP);
		st_be32(b + 20, 1);	/* ranges */
		st_be32(b + 24, 8);
		st_be64(b + 32, MAX_ZEROES);
		return 60;
	case 0xb1:
		st_be16(b, 1);		/* does not rotate */
		return 60;
	case 0xb2:
		b[1] = d->readonly ? 0 : 0xe0;	/* UNMAP, WRITE SAME (16) and (10) */
		b[2] = 2;			/* thin */
		return 4;
	default:
		return 0;
	}
}

static void cmd_inquiry(struct scsi_disk *d, const uint8_t *p, uint8_t *b, struct scsi_result *r)
{
	unsigned n;

	if (p[1] & 1) {
		n = vpd_page(d, p[2], b + 4);
		b[1] = p[2];
		st_be16(b + 2, n);
		if (n)
			scsi_reply(r, n + 4, ld_be16(p + 3));
		else
			scsi_fail(r, KEY_ILLEGAL, ASC_INVALID_FIELD);
		return;
	}
	if (p[2]) {
		scsi_fail(r, KEY_ILLEGAL, ASC_INVALID_FIELD);
		return;
	}
	b[2] = 6;			/* SPC-4 */
	b[3] = 0x02;
	b[4] = 31;
	b[7] = 0x02;			/* CMDQUE */
	memcpy(b + 8, "HVRUN   ", 8);
	memcpy(b + 16, "HARDDISK        ", 16);
	memcpy(b + 32, "1.0 ", 4);
	scsi_reply(r, 36, ld_be16(p + 3));
}

/* ---- Mode pages (SPC-4 7.5; SBC-3 6.4) ---- */

static unsigned mode_page(const struct scsi_disk *d, uint8_t code, unsigned control, uint8_t *b)
{
	b[0] = code;
	if (code == 0x08) {		/* caching: WCE can be changed */
		b[1] = 18;
		b[2] = control == 0 ? (d->wcache ? 4 : 0) : control == 1 || control == 2 ? 4 : 0;
		return 20;
	}
	b[1] = 10;			/* 0Ah, control */
	return 12;
}

static void mode_sense(struct scsi_disk *d, const uint8_t *p, unsigned hdr, uint32_t alloc,
		       uint8_t *b, struct scsi_result *r)
{
	uint8_t page = p[2] & 0x3f, control = p[2] >> 6;
	uint8_t flags = (d->readonly ? 0x80 : 0) | 0x10;	/* WP; DPO and FUA work */
	unsigned len = hdr;

	if (control == 3) {
		scsi_fail(r, KEY_ILLEGAL, ASC_SAVING);
		return;
	}
	if (page != 0x08 && page != 0x0a && page != 0x3f) {
		scsi_fail(r, KEY_ILLEGAL, ASC_INVALID_FIELD);
		return;
	}
	if (page != 0x0a)
		len += mode_page(d, 0x08, control, b + len);
	if (page != 0x08)
		len += mode_page(d, 0x0a, control, b + len);
	if (hdr == 8) {
		st_be16(b, len - 2);
		b[3] = flags;
	} else {
		b[0] = len - 1;
		b[2] = flags;
	}
	scsi_reply(r, len, alloc);
}

static void cmd_mode6(struct scsi_disk *d, const uint8_t *p, uint8_t *b, struct scsi_result *r)
{
	mode_sense(d, p, 4, p[4], b, r);
}

static void cmd_mode10(struct scsi_disk *d, const uint8_t *p, uint8_t *b, struct scsi_result *r)
{
	mode_sense(d, p, 8, ld_be16(p + 7), b, r);
}

static void cmd_select(struct scsi_disk *d, const uint8_t *p, uint8_t *b, struct scsi_result *r)
{
	if ((p[1] & 0x11) != 0x10)	/* page format, nothing saved */
		scsi_fail(r, KEY_ILLEGAL, ASC_INVALID_FIELD);
	else
		want_params(r, p[0] == 0x15 ? p[4] : ld_be16(p + 7));
}

static void params_select(struct scsi_disk *d, const uint8_t *p, const uint8_t *data,
			  uint32_t len, struct scsi_result *r)
{
	uint32_t hdr = p[0] == 0x15 ? 4 : 8, at;
	bool wcache = d->wcache;

	if (len < hdr) {
		scsi_fail(r, KEY_ILLEGAL, ASC_PARAM_LENGTH);
		return;
	}
	at = hdr + (hdr == 4 ? data[3] : ld_be16(data + 6));
	while (at + 2 <= len) {
		uint8_t code = data[at] & 0x7f, n = data[at + 1];

		if (at + 2 + n > len || (code != 0x08 && code != 0x0a) ||
		    n != (code == 0x08 ? 18 : 10)) {
			scsi_fail(r, KEY_ILLEGAL, ASC_INVALID_PARAM);
			return;
		}
		if (code == 0x08)
			wcache = data[at + 2] & 4;
		at += 2 + n;
	}
	ok(r);
	if (d->wcache && !wcache)	/* what is in the cache now must go out */
		*r = (struct scsi_result){ .what = SCSI_IO, .op = BLOCK_FLUSH };
	d->wcache = wcache;
}

/* ---- The rest ---- */

static void cmd_ok(struct scsi_disk *d, const uint8_t *p, uint8_t *b, struct scsi_result *r)
{
	ok(r);
}

/* Sense data travels with each response, so there is none left to ask for. */
static void cmd_sense(struct scsi_disk *d, const uint8_t *p, uint8_t *b, struct scsi_result *r)
{
	struct scsi_sense s = { d->resized ? KEY_ATTENTION : KEY_NONE,
				d->resized ? ASC_CAPACITY_CHANGED : ASC_NONE };

	d->resized = false;
	scsi_put_sense(b, &s);
	scsi_reply(r, SCSI_SENSE_LEN, p[4]);
}

static const struct disk_row {
	uint8_t op;
	bool no_attention;
	disk_fn *run;
	void (*params)(struct scsi_disk *d, const uint8_t *p, const uint8_t *data, uint32_t len,
		       struct scsi_result *r);
} commands[] = {
	{ 0x00, false, cmd_ok, NULL }, { 0x03, true, cmd_sense, NULL },
	{ 0x08, false, cmd_read, NULL }, { 0x0a, false, cmd_write, NULL },
	{ 0x12, true, cmd_inquiry, NULL }, { 0x15, false, cmd_select, params_select },
	{ 0x1a, false, cmd_mode6, NULL }, { 0x1b, false, cmd_ok, NULL },	/* start, stop */
	{ 0x1e, false, cmd_ok, NULL },						/* prevent */
	{ 0x25, false, cmd_capacity10, NULL }, { 0x28, false, cmd_read, NULL },
	{ 0x2a, false, cmd_write, NULL }, { 0x2f, false, cmd_verify, NULL },
	{ 0x35, false, cmd_sync, NULL }, { 0x41, false, cmd_write_same, params_write_same },
	{ 0x42, false, cmd_unmap, params_unmap }, { 0x55, false, cmd_select, params_select },
	{ 0x5a, false, cmd_mode10, NULL }, { 0x88, false, cmd_read, NULL },
	{ 0x8a, false, cmd_write, NULL }, { 0x8f, false, cmd_verify, NULL },
	{ 0x91, false, cmd_sync, NULL }, { 0x93, false, cmd_write_same, params_write_same },
	{ 0x9e, false, cmd_service_in, NULL }, { 0xa8, false, cmd_read, NULL },
	{ 0xaa, false, cmd_write, NULL },
};

static const struct disk_row *find(uint8_t op)
{
	for (unsigned i = 0; i < ARRAY_SIZE(commands); i++)
		if (commands[i].op == op)
			return &commands[i];
	return NULL;
}

void disk_command(struct scsi_disk *d, const uint8_t *cdb, uint8_t *buf, struct scsi_result *r)
{
	const struct disk_row *row = find(cdb[0]);

	if (!row) {
		scsi_fail(r, KEY_ILLEGAL, ASC_INVALID_OP);
	} else if (d->resized && !row->no_attention) {
		d->resized = false;
		scsi_fail(r, KEY_ATTENTION, ASC_CAPACITY_CHANGED);
	} else {
		row->run(d, cdb, buf, r);
	}
}

void disk_params(struct scsi_disk *d, const uint8_t *cdb, const uint8_t *data, uint32_t len,
		 struct scsi_result *r)
{
	const struct disk_row *row = find(cdb[0]);

	HV_BUG_ON(!row || !row->params);
	row->params(d, cdb, data, len, r);
}
