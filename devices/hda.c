/* SPDX-License-Identifier: MIT */
/*
 * Intel High Definition Audio controller of the ICH6 (8086:2668) with one
 * codec at address 0.
 *
 * After: High Definition Audio Specification, revision 1.0a, chapters 3 and
 * 4; Intel ICH6 data sheet (301473), chapter 19.  Four input and four output
 * streams; the codec listens to one of each.
 *
 * Commands are answered at once.  Left out: waking by a jack while the link is
 * in reset, striping, FIFO errors.
 */
#include "hda.h"
#include "hda_regs.h"

#define BAR_SIZE 0x4000u
#define LINK_HZ 24000000u
#define EACH_STREAM ((1u << HDA_NSTREAM) - 1)

static const struct state_field hda_fields[] = {
	PCI_STATE(struct hda, pci), STATE_U8S(struct hda, regs), STATE_U64(struct hda, wall_start),
	STATE_U8(struct hda, responses), STATE_STRUCTS(struct hda, codec, hda_codec_fields),
	STATE_STRUCTS(struct hda, stream, hda_stream_fields),
	STATE_END
};

/* 3.3.14, 3.3.15; a message for each cause that is new, and when the gate opens. */
void hda_update_irq(struct hda *h)
{
	uint32_t ctl = hda_get(h, INTCTL, 4), sts = 0, old = hda_get(h, INTSTS, 4);
	bool level, was = h->pci.intx_level;

	for (unsigned n = 0; n < HDA_NSTREAM; n++)
		if (h->regs[SD(n) + SDSTS] & h->regs[SD(n) + SDCTL] & SDSTS_INTS)
			sts |= 1u << n;
	if ((h->regs[RIRBSTS] & h->regs[RIRBCTL] & 5) ||
	    (h->regs[CORBSTS] & h->regs[CORBCTL] & 1) ||
	    hda_get(h, STATESTS, 2) & hda_get(h, WAKEEN, 2))
		sts |= CONTROLLER;
	if (sts & ctl)
		sts |= GLOBAL;
	hda_set(h, INTSTS, 4, sts);
	level = sts & ctl & GLOBAL;
	pci_set_irq(&h->pci, level);
	if (level && (!was || sts & ~old))
		pci_msi_notify(&h->pci);
}

/* The codec was told another stream number or gain. */
static void codec_changed(void *opaque)
{
	struct hda *h = opaque;
	uint32_t l, r;

	for (unsigned i = 0; i < 2; i++) {
		hda_codec_gain(h->codec, i, &l, &r);
		audio_voice_gain(h->voice[i], l, r);
	}
	for (unsigned n = 0; n < HDA_NSTREAM; n++)
		snd_stream_set_voice(&h->stream[n].snd, hda_listener(h, n));
}

/* ---- rings of commands and responses (4.4) ---- */

static uint32_t command(struct hda *h, uint32_t cmd, bool *answered)
{
	*answered = !(cmd >> 28);	/* codec 0 alone is there */
	return *answered ? hda_codec_command(h->codec, cmd & 0x0fffffff) : 0;
}

static void respond(struct hda *h, uint32_t val, uint32_t how)
{
	uint8_t wp = (uint8_t)(h->regs[RIRBWP] + 1), b[8] = { 0 };

	if (!(h->regs[RIRBCTL] & RING_RUN))
		return;
	st_le32(b, val);
	st_le32(b + 4, how);
	if (!gm_write(dev_mem(&h->pci.dev), GPA(hda_get_addr(h, RIRBLBASE) + 8u * wp), b, 8))
		dev_guest_error(&h->pci.dev, "RIRB is not in RAM");
	hda_set(h, RIRBWP, 2, wp);
	if (++h->responses >= (h->regs[RINTCNT] ? h->regs[RINTCNT] : 256)) {
		h->responses = 0;
		h->regs[RIRBSTS] |= 1;
	}
}

static void run_corb(struct hda *h)
{
	bool any = false, answered;

	while (h->regs[CORBCTL] & RING_RUN && pci_master(&h->pci) &&
	       h->regs[CORBRP] != h->regs[CORBWP]) {
		uint8_t rp = (uint8_t)(h->regs[CORBRP] + 1);
		uint32_t cmd, val;

		if (!gm_read_le32(dev_mem(&h->pci.dev), GPA(hda_get_addr(h, CORBLBASE) + 4u * rp),
				  &cmd)) {
			h->regs[CORBSTS] |= 1;	/* CMEI */
			h->regs[CORBCTL] &= (uint8_t)~RING_RUN;
			break;
		}
		h->regs[CORBRP] = rp;
		val = command(h, cmd, &answered);
		if (answered)
			respond(h, val, 0);
		any |= answered;
	}
	if (any && h->responses) {	/* the link is quiet now */
		h->responses = 0;
		h->regs[RIRBSTS] |= 1;
	}
}

/* 4.4.2.2, 7.3.3.14: the driver looks at the pin then. */
static void mic_plugged(void *opaque, bool on)
{
	struct hda *h = opaque;
	uint32_t val;

	if (!hda_codec_plug(h->codec, on, &val) || !pci_master(&h->pci) ||
	    !(hda_get(h, GCTL, 4) & GCTL_UNSOL) || !(h->regs[RIRBCTL] & RING_RUN))
		return;
	respond(h, val, RESP_UNSOL);
	h->responses = 0;
	h->regs[RIRBSTS] |= 1;
	hda_update_irq(h);
}

/* ---- registers ---- */

static void controller_reset(struct hda *h)
{
	for (unsigned n = 0; n < HDA_NSTREAM; n++)
		hda_stream_reset(h, n);
	regbytes_reset(&h->map, h->regs, 0);
	hda_codec_reset(h->codec);
	codec_changed(h);
	h->responses = 0;
	h->wall_start = 0;
}

static void wrote_gctl(void *dev, unsigned unit, uint32_t old)
{
	struct hda *h = dev;
	uint32_t v = hda_get(h, GCTL, 4);

	if (!(v & GCTL_CRST)) {
		controller_reset(h);
		return;
	}
	if (!(old & GCTL_CRST)) {	/* the codec asks for its address */
		hda_set(h, STATESTS, 2, 1);
		h->wall_start = vclock_now(dev_clock(&h->pci.dev));
	}
	if (v & GCTL_FCNTRL) {		/* flushed already */
		hda_set(h, GCTL, 4, v & ~GCTL_FCNTRL);
		h->regs[GSTS] |= 2;
	}
}

static void wrote_corb(void *dev, unsigned unit, uint32_t old)
{
	run_corb(dev);
}

/* 3.3.21: bit 15 resets the pointer and reads back until it is cleared. */
static void wrote_corbrp(void *dev, unsigned unit, uint32_t old)
{
	struct hda *h = dev;

	if (hda_get(h, CORBRP, 2) & 0x8000)
		hda_set(h, CORBRP, 2, 0x8000);
	else
		hda_set(h, CORBRP, 2, old & 0xff);
}

static void wrote_rirbwp(void *dev, unsigned unit, uint32_t old)
{
	struct hda *h = dev;

	if (hda_get(h, RIRBWP, 2) & 0x8000)
		hda_set(h, RIRBWP, 2, 0);
}

/* 3.4.3: one command by registers */
static void wrote_icis(void *dev, unsigned unit, uint32_t old)
{
	struct hda *h = dev;
	bool answered;
	uint32_t val;

	if (!(h->regs[ICIS] & 1))
		return;
	val = command(h, hda_get(h, ICOI, 4), &answered);
	h->regs[ICIS] &= (uint8_t)~1;
	if (!answered)
		return;
	hda_set(h, ICII, 4, val);
	h->regs[ICIS] |= 2;
}

static void wrote_sdctl(void *dev, unsigned n, uint32_t old)
{
	struct hda *h = dev;
	uint32_t v = hda_get(h, SD(n) + SDCTL, 3);

	if (v & SDCTL_SRST) {
		hda_stream_reset(h, n);
		hda_set(h, SD(n) + SDCTL, 3, SDCTL_SRST);
		return;
	}
	if (v & ~old & SDCTL_RUN) {
		hda_stream_run(h, n);
	} else if (old & ~v & SDCTL_RUN) {
		snd_stream_sync(&h->stream[n].snd);
		snd_stream_stop(&h->stream[n].snd);
		h->regs[SD(n) + SDSTS] &= (uint8_t)~SDSTS_FIFORDY;
	} else {
		snd_stream_set_voice(&h->stream[n].snd, hda_listener(h, n));
	}
}

static void wrote_list(void *dev, unsigned n, uint32_t old)
{
	hda_rewind_list(&((struct hda *)dev)->stream[n]);
}

static const struct reg_row global_rows[] = {
	{ 0x00, 2, HDA_NOUT << 12 | HDA_NIN << 8 | 1, 0, 0, NULL },	/* GCAP: 64-bit addresses */
	{ 0x03, 1, 1, 0, 0, NULL },				/* version 1.0 */
	{ 0x04, 2, 0x3c, 0, 0, NULL }, { 0x06, 2, 0x1d, 0, 0, NULL },	/* payloads */
	{ GCTL, 4, 0, 0x103, 0, wrote_gctl },
	{ WAKEEN, 2, 0, 0x7fff, 0, NULL }, { STATESTS, 2, 0, 0, 0x7fff, NULL },
	{ GSTS, 2, 0, 0, 2, NULL },
	{ 0x18, 2, 0x30, 0, 0, NULL }, { 0x1a, 2, 0x18, 0, 0, NULL },
	{ INTCTL, 4, 0, GLOBAL | CONTROLLER | EACH_STREAM, 0, NULL },
	{ INTSTS, 4, 0, 0, 0, NULL },
	{ 0x34, 4, 0, EACH_STREAM, 0, NULL },		/* SSYNC, ICH6's place */
	{ 0x38, 4, 0, EACH_STREAM, 0, NULL },		/* SSYNC, the specification's */
	{ CORBLBASE, 4, 0, ~0x7fu, 0, NULL }, { CORBLBASE + 4, 4, 0, ~0u, 0, NULL },
	{ CORBWP, 2, 0, 0xff, 0, wrote_corb }, { CORBRP, 2, 0, 0x8000, 0, wrote_corbrp },
	{ CORBCTL, 1, 0, 3, 0, wrote_corb }, { CORBSTS, 1, 0, 0, 1, NULL },
	{ 0x4e, 1, 0x42, 0, 0, NULL },				/* 256 entries, nothing else */
	{ RIRBLBASE, 4, 0, ~0x7fu, 0, NULL }, { RIRBLBASE + 4, 4, 0, ~0u, 0, NULL },
	{ RIRBWP, 2, 0, 0x8000, 0, wrote_rirbwp }, { RINTCNT, 2, 0, 0xff, 0, NULL },
	{ RIRBCTL, 1, 0, 7, 0, NULL }, { RIRBSTS, 1, 0, 0, 5, NULL },
	{ 0x5e, 1, 0x42, 0, 0, NULL },
	{ ICOI, 4, 0, ~0u, 0, NULL }, { ICII, 4, 0, 0, 0, NULL }, { ICIS, 2, 0, 1, 2, wrote_icis },
	{ DPLBASE, 4, 0, ~0x7eu, 0, NULL }, { DPLBASE + 4, 4, 0, ~0u, 0, NULL },
};

static const struct reg_row stream_rows[] = {
	{ SDCTL, 3, 0x040000, 0xf3001f, 0, wrote_sdctl },
	{ SDSTS, 1, 0, 0, SDSTS_INTS, NULL },
	{ SDLPIB, 4, 0, 0, 0, NULL }, { SDCBL, 4, 0, ~0u, 0, NULL },
	{ SDLVI, 2, 0, 0xff, 0, NULL },
	{ 0x10, 2, 0x77, 0, 0, NULL },				/* FIFO size */
	{ SDFMT, 2, 0, 0x7f7f, 0, NULL },
	{ SDBDPL, 4, 0, ~0x7fu, 0, wrote_list }, { SDBDPL + 4, 4, 0, ~0u, 0, wrote_list },
};

/* What the clock moves is brought up to date when somebody looks. */
static void refresh(struct hda *h, unsigned off, unsigned size)
{
	if (off < WALCLK + 4 && off + size > WALCLK && h->regs[GCTL] & GCTL_CRST)
		hda_set(h, WALCLK, 4, (uint32_t)muldiv64(
			vclock_now(dev_clock(&h->pci.dev)) - h->wall_start, LINK_HZ, NS_PER_SEC));
	if (off >= SD(0) && off < SD_END)
		snd_stream_sync(&h->stream[(off - SD(0)) / 0x20].snd);
}

static uint64_t hda_read(struct device *d, uint64_t off, unsigned size)
{
	struct hda *h = container_of(d, struct hda, pci.dev);

	if (off >= ALIAS)
		off -= ALIAS;
	if (!range_ok(off, size, SD_END))
		return 0;
	refresh(h, (unsigned)off, size);
	return hda_get(h, (unsigned)off, size);
}

static void hda_write(struct device *d, uint64_t off, unsigned size, uint64_t val)
{
	struct hda *h = container_of(d, struct hda, pci.dev);

	if (!range_ok(off, size, SD_END))
		return;
	if (!(h->regs[GCTL] & GCTL_CRST) && (off >= GCTL + 4 || off + size <= GCTL))
		return;		/* in reset (3.3.7) */
	if (off >= SD(0))
		snd_stream_sync(&h->stream[(off - SD(0)) / 0x20].snd);
	regbytes_write(&h->map, h->regs, (unsigned)off, size, (uint32_t)val, h);
	hda_update_irq(h);
}

static const struct io_ops hda_io = { hda_read, hda_write, 1, 4 };

/* ---- life ---- */

static bool hda_realize(struct device *d, struct err *e)
{
	static const struct pci_id id = {
		.vendor = 0x8086, .device = 0x2668, .class_code = 0x0403, .revision = 1,
		.subsys_vendor = 0x1af4, .subsys_id = 0x1100, .int_pin = 1,
	};
	struct hda *h = container_of(d, struct hda, pci.dev);

	pci_init(&h->pci, &id);
	h->pci.cfg[0x40] = 1;		/* HDCTL: the pins carry HD Audio, not AC'97 */
	h->pci.next_cap_off = 0x60;	/* behind it (ICH6 19.1.24) */
	pci_msi_init(&h->pci);
	regbytes_add(&h->map, global_rows, ARRAY_SIZE(global_rows), 0, 0);
	h->voice[0] = audio_voice_new(d->vm->audio, "hda-out", false);
	h->voice[1] = audio_voice_new(d->vm->audio, "hda-in", true);
	for (unsigned n = 0; n < HDA_NSTREAM; n++) {
		hda_stream_init(h, n);
		regbytes_add(&h->map, stream_rows, ARRAY_SIZE(stream_rows), SD(n), n);
	}
	h->codec->changed = codec_changed;
	h->codec->opaque = h;
	h->codec->line_in = d->vm->audio && audio_mic(d->vm->audio) != AUDIO_MIC_OFF;
	audio_watch_mic(d->vm->audio, mic_plugged, h);
	return pci_bar_io(&h->pci, 0, PCI_BAR_MEM32, BAR_SIZE, &hda_io, e);
}

static void hda_unrealize(struct device *d)
{
	struct hda *h = container_of(d, struct hda, pci.dev);

	for (unsigned n = 0; n < HDA_NSTREAM; n++) {
		h->stream[n].snd.voice = NULL;
		snd_stream_free(&h->stream[n].snd);
	}
	audio_watch_mic(d->vm->audio, NULL, NULL);
	audio_voice_free(h->voice[0]);
	audio_voice_free(h->voice[1]);
}

static void hda_reset(struct device *d)
{
	struct hda *h = container_of(d, struct hda, pci.dev);

	pci_reset(&h->pci);
	h->pci.cfg[0x40] = 1;
	controller_reset(h);
	hda_update_irq(h);
}

static bool hda_post_load(struct device *d, struct err *e)
{
	struct hda *h = container_of(d, struct hda, pci.dev);

	for (unsigned n = 0; n < HDA_NSTREAM; n++)
		if (!hda_stream_post_load(h, n))
			return err_set(e, HV_EXIT_IMAGE, "hda: stream %u out of range", n);
	codec_changed(h);
	hda_update_irq(h);
	return pci_post_load(&h->pci, e);
}

const struct device_ops hda_ops = {
	.name = "hda",
	.size = sizeof(struct hda),
	.realize = hda_realize,
	.reset = hda_reset,
	.unrealize = hda_unrealize,
	.state = hda_fields,
	.state_version = 1,
	.post_load = hda_post_load,
};
