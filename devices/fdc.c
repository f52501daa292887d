/* SPDX-License-Identifier: MIT */
/*
 * Intel 82077AA floppy disk controller in its PC/AT mode (Intel 290166-007):
 * registers, phases, reset; fdc_cmd.c has the commands, fdc_data.c those that move
 * data, fdc_drive.c the drives.
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

#define RESET_NS (50 * NS_PER_US)

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

/* ---- Phases ---- */

void fdc_end_command(struct fdc *s)
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

void fdc_arm(struct fdc *s, uint64_t ns)
{
	uint64_t at = vclock_now(dev_clock(&s->dev)) + ns;

	if (!vtimer_armed(&s->timer) || at < s->timer.deadline)
		vtimer_arm(&s->timer, at);
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
		fdc_command_due(s);
	}
}

/* ---- Reset (section 4) ---- */

static void reset_core(struct fdc *s)
{
	vtimer_cancel(&s->timer);
	fdc_data_abort(s);
	fdc_end_command(s);
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
	fdc_arm(s, RESET_NS);
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
		fdc_end_command(s);
	return v;
}

static void data_write(struct fdc *s, uint8_t v)
{
	if (!(s->dor & DOR_NRESET))
		return;
	if (s->phase == PH_EXEC && s->hlt_nd & HLT_ND && s->x.data && !s->x.to_host)
		fdc_pio_write(s, v);
	else if (s->phase == PH_COMMAND)
		fdc_command_byte(s, v);
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
	unsigned len = fdc_command_len(s->cmd[0]);

	if (s->phase > PH_RESULT || (s->ncmd && !len) ||
	    (s->phase == PH_COMMAND && s->ncmd && s->ncmd >= len) ||
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

/* ---- Wiring ---- */

void fdc_wire(struct device *d, struct irq_line irq, struct device *dma)
{
	to_fdc(d)->irq = irq;
	to_fdc(d)->dma = dma;
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
