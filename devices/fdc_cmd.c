/* SPDX-License-Identifier: MIT */
/*
 * Commands of the 82077AA (Intel 290166-007, section 5): the table of them, and
 * what those without data do; fdc_data.c has the others.
 */
#include "fdc_int.h"

#define SEEK_NS (100 * NS_PER_US)
#define START_NS (20 * NS_PER_US)

static void begin_seek(struct fdc *s, unsigned unit)
{
	s->seeking |= 1u << unit;
	fdc_arm(s, SEEK_NS);
	fdc_end_command(s);
}

static void cmd_specify(struct fdc *s)
{
	s->srt_hut = s->cmd[1];
	s->hlt_nd = s->cmd[2];
	fdc_end_command(s);
}

/* 6.1.4: status register 3 */
static void cmd_sense_drive(struct fdc *s)
{
	struct fdc_drive *dr = fdc_selected(s);
	uint8_t st3 = 0x28 | (s->cmd[1] & 7);

	if (dr && dr->pos == 0)
		st3 |= 0x10;
	if (dr && dr->readonly)
		st3 |= 0x40;
	fdc_result(s, &st3, 1, false);
}

/* At most 79 step pulses until the track 0 signal (5.2.4). */
static void cmd_recalibrate(struct fdc *s)
{
	unsigned unit = s->cmd[1] & 3;
	struct fdc_drive *dr = fdc_selected(s);
	uint8_t st0 = ST0_SEEK_END | unit;

	if (dr) {
		if (dr->pos && dr->fmt)
			dr->changed = false;
		dr->pos = dr->pos > 79 ? dr->pos - 79 : 0;
	}
	if (!dr || dr->pos)
		st0 |= ST0_ABNORMAL | ST0_EC;
	s->pcn[unit] = 0;
	s->sense_st0[unit] = st0;
	begin_seek(s, unit);
}

static void seek_to(struct fdc *s, int cyl)
{
	unsigned unit = s->cmd[1] & 3;
	struct fdc_drive *dr = fdc_selected(s);

	if (dr)
		fdc_step_to(s, dr, unit, cyl);
	s->pcn[unit] = (uint8_t)cyl;
	s->sense_st0[unit] = ST0_SEEK_END | (s->cmd[1] & 7);
	begin_seek(s, unit);
}

static void cmd_seek(struct fdc *s)
{
	seek_to(s, s->cmd[2]);
}

/* 5.2.10: the present cylinder is what SENSE INTERRUPT tells of it, modulo 256 */
static void cmd_relative_seek(struct fdc *s)
{
	int by = s->cmd[2], pcn = s->pcn[s->cmd[1] & 3];

	seek_to(s, s->cmd[0] & 0x40 ? MIN(pcn + by, 255) : MAX(pcn - by, 0));
}

static void cmd_sense_interrupt(struct fdc *s)
{
	uint8_t r[2] = { ST0_INVALID };

	for (unsigned n = 0; n < 4; n++) {
		if (!(s->sense & 1u << n))
			continue;
		s->sense &= ~(1u << n);
		r[0] = s->sense_st0[n];
		r[1] = s->pcn[n];
		fdc_set_irq(s, false);
		fdc_result(s, r, 2, false);
		/* After a reset one interrupt stands for all four drives. */
		if (s->sense && (r[0] & 0xc0) != 0xc0)
			fdc_set_irq(s, true);
		return;
	}
	fdc_result(s, r, 1, false);
}

/* 5.2.7 */
static void cmd_dumpreg(struct fdc *s)
{
	uint8_t r[10] = {
		s->pcn[0], s->pcn[1], s->pcn[2], s->pcn[3], s->srt_hut, s->hlt_nd, s->sc_eot,
		(uint8_t)(s->lock << 7 | (s->perp & 0x3f)), s->config, s->pretrk,
	};

	fdc_result(s, r, sizeof(r), false);
}

static void cmd_version(struct fdc *s)
{
	fdc_result(s, (const uint8_t[]){ 0x90 }, 1, false);
}

/* 5.2.9: drive bits change only together with OW */
static void cmd_perpendicular(struct fdc *s)
{
	uint8_t v = s->cmd[1];

	s->perp = v & 0x80 ? v & 0x3f : (s->perp & 0x3c) | (v & 3);
	fdc_end_command(s);
}

static void cmd_configure(struct fdc *s)
{
	s->config = s->cmd[2] & 0x7f;
	s->pretrk = s->cmd[3];
	fdc_end_command(s);
}

static void cmd_lock(struct fdc *s)
{
	uint8_t r;

	s->lock = s->cmd[0] & 0x80;
	r = s->lock ? 0x10 : 0;
	fdc_result(s, &r, 1, false);
}

static void data_command(struct fdc *s, enum fdc_kind kind)
{
	fdc_data_command(s, kind);
	s->phase = PH_EXEC;
	s->starting = true;
	fdc_arm(s, START_NS);
}

static void cmd_read_id(struct fdc *s)
{
	s->phase = PH_EXEC;
	s->starting = true;
	fdc_arm(s, START_NS);
}

static void cmd_read(struct fdc *s) { data_command(s, K_READ); }
static void cmd_read_deleted(struct fdc *s) { data_command(s, K_READ_DELETED); }
static void cmd_read_track(struct fdc *s) { data_command(s, K_READ_TRACK); }
static void cmd_write(struct fdc *s) { data_command(s, K_WRITE); }
static void cmd_verify(struct fdc *s) { data_command(s, K_VERIFY); }
static void cmd_format(struct fdc *s) { data_command(s, K_FORMAT); }
static void cmd_scan_eq(struct fdc *s) { data_command(s, K_SCAN_EQ); }
static void cmd_scan_le(struct fdc *s) { data_command(s, K_SCAN_LE); }
static void cmd_scan_ge(struct fdc *s) { data_command(s, K_SCAN_GE); }

/* Table 5-1 */
static const struct fdc_cmd {
	uint8_t mask, code, len;
	void (*run)(struct fdc *s);
} commands[] = {
	{ 0x1f, 0x06, 9, cmd_read }, { 0x1f, 0x0c, 9, cmd_read_deleted },
	{ 0x1f, 0x02, 9, cmd_read_track }, { 0x1f, 0x05, 9, cmd_write },
	{ 0x1f, 0x09, 9, cmd_write }, { 0x1f, 0x16, 9, cmd_verify },
	{ 0x1f, 0x0d, 6, cmd_format }, { 0x1f, 0x11, 9, cmd_scan_eq },
	{ 0x1f, 0x19, 9, cmd_scan_le }, { 0x1f, 0x1d, 9, cmd_scan_ge },
	{ 0x1f, 0x0a, 2, cmd_read_id }, { 0xff, 0x07, 2, cmd_recalibrate },
	{ 0xff, 0x08, 1, cmd_sense_interrupt }, { 0xff, 0x03, 3, cmd_specify },
	{ 0xff, 0x04, 2, cmd_sense_drive }, { 0xff, 0x0f, 3, cmd_seek },
	{ 0xbf, 0x8f, 3, cmd_relative_seek }, { 0xff, 0x10, 1, cmd_version },
	{ 0xff, 0x0e, 1, cmd_dumpreg }, { 0xff, 0x12, 2, cmd_perpendicular },
	{ 0xff, 0x13, 4, cmd_configure }, { 0x7f, 0x14, 1, cmd_lock },
};

static const struct fdc_cmd *find_command(uint8_t code)
{
	for (unsigned i = 0; i < ARRAY_SIZE(commands); i++)
		if ((code & commands[i].mask) == commands[i].code)
			return &commands[i];
	return NULL;
}

void fdc_command_byte(struct fdc *s, uint8_t v)
{
	const struct fdc_cmd *c = find_command(s->ncmd ? s->cmd[0] : v);
	uint8_t st0 = ST0_INVALID;

	if (!c) {
		fdc_result(s, &st0, 1, false);
		return;
	}
	s->cmd[s->ncmd++] = v;
	if (s->ncmd == c->len)
		c->run(s);
}

/* The ID that comes by next (5.2.1); the disk turns with the clock. */
static void read_id_done(struct fdc *s)
{
	unsigned head = s->cmd[1] >> 2 & 1;
	const struct fdc_format *f = fdc_readable(s, s->cmd[0] & MFM_BIT, head);
	uint8_t r[7] = { s->cmd[1] & 7 };

	if (f) {
		r[3] = fdc_selected(s)->pos;
		r[4] = (uint8_t)head;
		r[5] = (uint8_t)(vclock_now(dev_clock(&s->dev)) / (200 * NS_PER_MS / f->spt) %
				 f->spt + 1);
		r[6] = 2;
	} else {
		r[0] |= ST0_ABNORMAL;
		r[1] = ST1_MA;
	}
	fdc_result(s, r, sizeof(r), true);
}

void fdc_command_due(struct fdc *s)
{
	if ((s->cmd[0] & 0x1f) == 0x0a)
		read_id_done(s);
	else
		fdc_data_start(s);
}

unsigned fdc_command_len(uint8_t code)
{
	const struct fdc_cmd *c = find_command(code);

	return c ? c->len : 0;
}
