/* SPDX-License-Identifier: MIT */
/*
 * Intel 82077AA floppy disk controller in its PC/AT mode (Intel 290166-007):
 * registers, phases and the commands without data; fdc_data.c has the others.
 *
 * Heads move and sectors come by in no time worth waiting for; every command
 * still ends some microseconds after its last byte, as drivers expect.  A
 * drive answers when the DOR selects it with its motor on.  The disk is what
 * an image holds: 512-byte sectors in the standard order, no deleted marks.
 *
 * Left out: PS/2 and Model 30 modes (status registers A and B), FM, tape,
 * power down, formatting to another layout than the image has.
 */
#include "fdc_int.h"
#include "i8237.h"
#include "../src/media.h"

#define RESET_NS (50 * NS_PER_US)
#define SEEK_NS (100 * NS_PER_US)
#define START_NS (20 * NS_PER_US)

#define MSR_RQM 0x80
#define MSR_DIO 0x40
#define MSR_NDM 0x20
#define MSR_CB 0x10

#define DSR_RESET 0x80
#define DIR_CHANGED 0x80

static const struct state_field drive_fields[] = {
	STATE_U8(struct fdc_drive, pos), STATE_BOOL(struct fdc_drive, changed),
	STATE_END
};

static const struct state_field fdc_fields[] = {
	STATE_STRUCTS(struct fdc, drive, drive_fields), STATE_U8(struct fdc, dor),
	STATE_U8(struct fdc, tdr), STATE_U8(struct fdc, rate), STATE_U8(struct fdc, precomp),
	STATE_U8(struct fdc, phase), STATE_U8S(struct fdc, cmd), STATE_U8(struct fdc, ncmd),
	STATE_U8S(struct fdc, result), STATE_U8(struct fdc, nres), STATE_U8(struct fdc, res_pos),
	STATE_BOOL(struct fdc, irq_level), STATE_U8(struct fdc, srt_hut),
	STATE_U8(struct fdc, hlt_nd), STATE_U8(struct fdc, config), STATE_U8(struct fdc, pretrk),
	STATE_U8(struct fdc, perp), STATE_U8(struct fdc, sc_eot), STATE_BOOL(struct fdc, lock),
	STATE_U8(struct fdc, seeking), STATE_U8(struct fdc, sense), STATE_U8S(struct fdc, pcn),
	STATE_U8S(struct fdc, sense_st0), STATE_BOOL(struct fdc, resetting),
	STATE_BOOL(struct fdc, starting), STATE_TIMER(struct fdc, timer),
	STATE_TIMER(struct fdc, overrun), STATE_STRUCT(struct fdc, x, fdc_xfer_state),
	STATE_U8S(struct fdc, buf), STATE_U8S(struct fdc, host),
	STATE_END
};

static struct fdc *to_fdc(struct device *d)
{
	return (struct fdc *)d;
}

/* DMAGATE# opens the interrupt's driver, too (2.1.3). */
static void update_irq(struct fdc *s)
{
	irq_set(&s->irq, s->irq_level && s->dor & DOR_DMAGATE && s->dor & DOR_NRESET);
}

void fdc_set_irq(struct fdc *s, bool level)
{
	s->irq_level = level;
	update_irq(s);
}

/* ---- Drives ---- */

struct fdc_drive *fdc_selected(struct fdc *s)
{
	unsigned n = s->dor & 3;

	if (n >= FDC_DRIVES || !s->drive[n].present || !(s->dor & 0x10u << n))
		return NULL;
	return &s->drive[n];
}

const struct fdc_format *fdc_readable(struct fdc *s, bool mfm, unsigned head)
{
	struct fdc_drive *dr = fdc_selected(s);
	const struct fdc_format *f = dr ? dr->fmt : NULL;

	if (!f || !mfm || f->rate != s->rate || head >= f->heads || dr->pos >= f->cyls)
		return NULL;
	return f;
}

/* Step pulses: the heads stop at either end; the first one resets the change line. */
void fdc_step_to(struct fdc *s, struct fdc_drive *dr, unsigned unit, int cyl)
{
	int pos = dr->pos + cyl - s->pcn[unit & 3];

	if (cyl != s->pcn[unit & 3] && dr->fmt)
		dr->changed = false;
	dr->pos = (uint8_t)(pos < 0 ? 0 : MIN(pos, FDC_MAX_CYL));
}

/* ---- Phases ---- */

static void back_to_command(struct fdc *s)
{
	s->phase = PH_COMMAND;
	s->ncmd = s->nres = s->res_pos = 0;
}

void fdc_result(struct fdc *s, const uint8_t *bytes, unsigned n, bool irq)
{
	HV_BUG_ON(n > sizeof(s->result));
	memcpy(s->result, bytes, n);
	s->nres = (uint8_t)n;
	s->res_pos = 0;
	s->phase = PH_RESULT;
	if (irq)
		fdc_set_irq(s, true);
}

static void arm(struct fdc *s, uint64_t ns)
{
	uint64_t at = vclock_now(dev_clock(&s->dev)) + ns;

	if (!vtimer_armed(&s->timer) || at < s->timer.deadline)
		vtimer_arm(&s->timer, at);
}

static void begin_seek(struct fdc *s, unsigned unit)
{
	s->seeking |= 1u << unit;
	arm(s, SEEK_NS);
	back_to_command(s);
}

/* ---- Commands (section 5) ---- */

static void cmd_specify(struct fdc *s)
{
	s->srt_hut = s->cmd[1];
	s->hlt_nd = s->cmd[2];
	back_to_command(s);
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
	back_to_command(s);
}

static void cmd_configure(struct fdc *s)
{
	s->config = s->cmd[2] & 0x7f;
	s->pretrk = s->cmd[3];
	back_to_command(s);
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
	arm(s, START_NS);
}

static void cmd_read_id(struct fdc *s)
{
	s->phase = PH_EXEC;
	s->starting = true;
	arm(s, START_NS);
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

static void command_byte(struct fdc *s, uint8_t v)
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

static void timer_fired(void *opaque)
{
	struct fdc *s = opaque;

	if (s->resetting) {
		s->resetting = false;
		s->sense = 0x0f;
		for (unsigned n = 0; n < 4; n++)
			s->sense_st0[n] = (uint8_t)(0xc0 | n);
		fdc_set_irq(s, true);
	}
	if (s->seeking) {
		s->sense |= s->seeking;
		s->seeking = 0;
		fdc_set_irq(s, true);
	}
	if (s->starting) {
		s->starting = false;
		if ((s->cmd[0] & 0x1f) == 0x0a)
			read_id_done(s);
		else
			fdc_data_start(s);
	}
}

/* ---- Reset (section 4) ---- */

static void reset_core(struct fdc *s)
{
	vtimer_cancel(&s->timer);
	fdc_data_abort(s);
	back_to_command(s);
	memset(s->cmd, 0, sizeof(s->cmd));
	memset(s->result, 0, sizeof(s->result));
	s->seeking = s->sense = 0;
	s->resetting = s->starting = false;
	s->perp &= 0x3c;
	if (s->lock) {
		s->config &= ~(CONF_EIS | CONF_NOPOLL);
	} else {
		s->config = CONF_NOFIFO;
		s->pretrk = 0;
	}
	s->irq_level = false;
}

/* Polling finds four drives whose ready state changed. */
static void leave_reset(struct fdc *s)
{
	if (s->config & CONF_NOPOLL)
		return;
	s->resetting = true;
	arm(s, RESET_NS);
}

static void dor_write(struct fdc *s, uint8_t v)
{
	uint8_t old = s->dor;

	s->dor = v;
	if (!(v & DOR_NRESET))
		reset_core(s);
	else if (!(old & DOR_NRESET))
		leave_reset(s);
	update_irq(s);
}

static void dsr_write(struct fdc *s, uint8_t v)
{
	s->rate = v & 3;
	s->precomp = v >> 2 & 7;
	if (v & DSR_RESET && s->dor & DOR_NRESET) {	/* clears itself */
		reset_core(s);
		leave_reset(s);
		update_irq(s);
	}
}

/* ---- Registers (section 2.1) ---- */

static uint8_t main_status(const struct fdc *s)
{
	if (!(s->dor & DOR_NRESET))
		return 0;
	switch (s->phase) {
	case PH_COMMAND:
		return MSR_RQM | (s->ncmd ? MSR_CB : 0) | s->seeking;
	case PH_RESULT:
		return MSR_RQM | MSR_DIO | MSR_CB | s->seeking;
	default:
		if (s->hlt_nd & HLT_ND)
			return MSR_CB | MSR_NDM | (s->x.data ? MSR_RQM : 0) |
			       (s->x.to_host ? MSR_DIO : 0) | s->seeking;
		return MSR_CB | s->seeking;
	}
}

static uint8_t data_read(struct fdc *s)
{
	uint8_t v;

	if (!(s->dor & DOR_NRESET))
		return 0xff;
	if (s->phase == PH_EXEC)
		return s->hlt_nd & HLT_ND && s->x.data && s->x.to_host ? fdc_pio_read(s) : 0xff;
	if (s->phase != PH_RESULT)
		return 0xff;
	if (s->res_pos == 0 && s->nres == 7)
		fdc_set_irq(s, false);
	v = s->result[s->res_pos++];
	if (s->res_pos == s->nres)
		back_to_command(s);
	return v;
}

static void data_write(struct fdc *s, uint8_t v)
{
	if (!(s->dor & DOR_NRESET))
		return;
	if (s->phase == PH_EXEC && s->hlt_nd & HLT_ND && s->x.data && !s->x.to_host)
		fdc_pio_write(s, v);
	else if (s->phase == PH_COMMAND)
		command_byte(s, v);
	else
		dev_guest_error(&s->dev, "data %#x written out of turn", v);
}

static uint64_t regs_read(struct device *d, uint64_t off, unsigned size)
{
	struct fdc *s = to_fdc(d);

	switch (off) {
	case 2:
		return s->dor;
	case 3:
		return 0xfc | s->tdr;
	case 4:
		return main_status(s);
	case 5:
		return data_read(s);
	default:
		return 0xff;	/* status registers A and B exist on PS/2 only */
	}
}

static void regs_write(struct device *d, uint64_t off, unsigned size, uint64_t val)
{
	struct fdc *s = to_fdc(d);

	if (off == 2)
		dor_write(s, (uint8_t)val);
	else if (off == 3)
		s->tdr = val & 3;
	else if (off == 4)
		dsr_write(s, (uint8_t)val);
	else if (off == 5)
		data_write(s, (uint8_t)val);
}

/* DIR: the rest of the byte was the hard disk controller's. */
static uint64_t dir_read(struct device *d, uint64_t off, unsigned size)
{
	struct fdc_drive *dr = fdc_selected(to_fdc(d));

	return dr && dr->changed ? DIR_CHANGED : 0;
}

static void ccr_write(struct device *d, uint64_t off, unsigned size, uint64_t val)
{
	to_fdc(d)->rate = val & 3;
}

static const struct io_ops regs_io = { regs_read, regs_write, 1, 1 };
static const struct io_ops dir_io = { dir_read, ccr_write, 1, 1 };

/* ---- Life ---- */

static bool fdc_realize(struct device *d, struct err *e)
{
	struct fdc *s = to_fdc(d);

	vtimer_init(&s->timer, dev_clock(d), timer_fired, s);
	vtimer_init(&s->overrun, dev_clock(d), fdc_overrun, s);
	isa_dma_attach(s->dma, FDC_DMA, (struct isa_dma_peer){ fdc_dma_granted, s });
	s->io[0] = (struct io_region){ .kind = BUS_PIO, .base = 0x3f0, .len = 6, .ops = &regs_io,
		.name = "fdc" };
	s->io[1] = (struct io_region){ .kind = BUS_PIO, .base = 0x3f7, .len = 1, .ops = &dir_io,
		.name = "fdc-dir" };
	return dev_add_region(d, &s->io[0], e) && dev_add_region(d, &s->io[1], e);
}

static void fdc_reset(struct device *d)
{
	struct fdc *s = to_fdc(d);

	s->dor = s->tdr = s->precomp = s->perp = 0;
	s->rate = 2;
	s->lock = false;
	s->srt_hut = s->hlt_nd = s->sc_eot = 0;
	reset_core(s);
	memset(s->pcn, 0, sizeof(s->pcn));
	memset(s->sense_st0, 0, sizeof(s->sense_st0));
	for (unsigned n = 0; n < FDC_DRIVES; n++) {
		s->drive[n].pos = 0;
		s->drive[n].changed = true;
	}
	update_irq(s);
}

static void fdc_unrealize(struct device *d)
{
	struct fdc *s = to_fdc(d);

	vtimer_cancel(&s->timer);
	fdc_data_abort(s);
}

static void fdc_pre_save(struct device *d)
{
	fdc_data_drain(to_fdc(d));
}

static bool fdc_post_load(struct device *d, struct err *e)
{
	struct fdc *s = to_fdc(d);
	const struct fdc_cmd *c = find_command(s->cmd[0]);

	if (s->phase > PH_RESULT || (s->ncmd && !c) ||
	    (s->phase == PH_COMMAND && s->ncmd && s->ncmd >= c->len) ||
	    (s->phase == PH_RESULT && (s->nres > sizeof(s->result) || s->res_pos >= s->nres)) ||
	    (s->phase == PH_EXEC && s->ncmd > sizeof(s->cmd)) ||
	    (s->starting && (s->phase != PH_EXEC || s->x.data)) || !fdc_data_valid(s))
		return err_set(e, HV_EXIT_IMAGE, "82077: the saved state is not valid");
	s->rate &= 3;
	s->tdr &= 3;
	s->seeking &= 15;
	s->sense &= 15;
	for (unsigned n = 0; n < FDC_DRIVES; n++)
		s->drive[n].pos = MIN(s->drive[n].pos, FDC_MAX_CYL);
	update_irq(s);
	return true;
}

/* ---- Wiring and disks ---- */

static const struct fdc_format formats[] = {
	{ 5760, 80, 2, 36, 3, 5 }, { 2880, 80, 2, 18, 0, 4 }, { 3360, 80, 2, 21, 0, 4 },
	{ 3444, 82, 2, 21, 0, 4 }, { 2400, 80, 2, 15, 0, 2 }, { 1440, 80, 2, 9, 2, 3 },
	{ 720, 40, 2, 9, 2, 1 }, { 640, 40, 2, 8, 2, 1 }, { 360, 40, 1, 9, 2, 1 },
	{ 320, 40, 1, 8, 2, 1 },
};

/* The end of a 1.44 or 2.88 MB image may be missing: as boot floppies are handed out. */
static const struct fdc_format *format_of(struct block *b, struct err *e)
{
	uint64_t size = block_info(b)->size;

	for (unsigned i = 0; i < ARRAY_SIZE(formats); i++)
		if (size == (uint64_t)formats[i].sectors * FDC_SECTOR)
			return &formats[i];
	for (unsigned i = 2; i-- > 0;)		/* 1.44 MB, 2.88 MB */
		if (size && size < (uint64_t)formats[i].sectors * FDC_SECTOR)
			return &formats[i];
	err_set(e, HV_EXIT_IMAGE, "%s has %llu bytes, too much for a floppy disk (at most 2949120)",
		block_info(b)->path, (unsigned long long)size);
	return NULL;
}

/* Which disks go into which drive: the same size, up to its density. */
static bool fits(uint8_t drive, uint8_t disk)
{
	static const uint8_t takes[6] = { 0, 1 << 1, 1 << 2, 1 << 3, 1 << 3 | 1 << 4,
					  1 << 3 | 1 << 4 | 1 << 5 };

	return drive < ARRAY_SIZE(takes) && takes[drive] >> disk & 1;
}

void fdc_wire(struct device *d, struct irq_line irq, struct device *dma)
{
	to_fdc(d)->irq = irq;
	to_fdc(d)->dma = dma;
}

static void put_disk(struct fdc_drive *dr, struct block *b, const struct fdc_format *f,
		     bool readonly)
{
	dr->block = b;
	dr->fmt = f;
	dr->readonly = b && (readonly || block_info(b)->readonly);
}

bool fdc_set_drive(struct device *d, unsigned unit, struct block *block, bool readonly,
		   struct err *e)
{
	struct fdc_drive *dr = &to_fdc(d)->drive[unit];
	const struct fdc_format *f = NULL;

	HV_BUG_ON(unit >= FDC_DRIVES || dr->present);
	if (block && !(f = format_of(block, e)))
		return false;
	dr->present = true;
	dr->cmos = f ? f->cmos : 4;
	put_disk(dr, block, f, readonly);
	return true;
}

static bool medium_fits(struct device *d, unsigned unit, struct block *block, struct err *e)
{
	const struct fdc_format *f = format_of(block, e);

	return f && (fits(to_fdc(d)->drive[unit].cmos, f->cmos) ||
		     err_set(e, HV_EXIT_IMAGE, "%s does not fit into this floppy drive",
			     block_info(block)->path));
}

bool fdc_set_medium(struct device *d, unsigned unit, struct block *block, bool readonly,
		    struct err *e)
{
	struct fdc *s = to_fdc(d);
	const struct fdc_format *f = NULL;

	HV_BUG_ON(unit >= FDC_DRIVES || !s->drive[unit].present);
	if (block && !medium_fits(d, unit, block, e))
		return false;
	if (block)
		f = format_of(block, e);
	fdc_data_drain(s);
	put_disk(&s->drive[unit], block, f, readonly);
	s->drive[unit].changed = true;
	return true;
}

static void medium_set(struct device *d, unsigned unit, struct block *block)
{
	struct err e = { 0 };

	HV_BUG_ON(!fdc_set_medium(d, unit, block, false, &e));
}

/* No lock, no tray: whoever pulls the disk out has it. */
static struct media_tray medium_tray(struct device *d, unsigned unit, bool wish)
{
	return (struct media_tray){ false, false };
}

const struct media_ops fdc_media = { .set = medium_set, .tray = medium_tray, .fits = medium_fits };

uint8_t fdc_cmos_types(struct device *d)
{
	const struct fdc *s = to_fdc(d);

	return (uint8_t)(s->drive[0].cmos << 4 | s->drive[1].cmos);
}

const struct device_ops fdc_ops = {
	.name = "i82077",
	.size = sizeof(struct fdc),
	.realize = fdc_realize,
	.reset = fdc_reset,
	.unrealize = fdc_unrealize,
	.state = fdc_fields,
	.state_version = 1,
	.post_load = fdc_post_load,
	.pre_save = fdc_pre_save,
};
