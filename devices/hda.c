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
#include "hda_int.h"
#include "regbytes.h"
#include "../src/vm.h"

#define NIN 4u
#define NOUT 4u
#define NSTREAM (NIN + NOUT)
#define BAR_SIZE 0x4000u
#define LINK_HZ 24000000u
#define MAX_BDL 256u
#define MAX_PIECES 512u		/* that samples asked for at once come in; drivers have few */

/* Registers (3.3) */
#define GCTL 0x08
#define GCTL_CRST 0x001u
#define GCTL_FCNTRL 0x002u
#define GCTL_UNSOL 0x100u
#define WAKEEN 0x0c
#define STATESTS 0x0e
#define GSTS 0x10
#define INTCTL 0x20
#define INTSTS 0x24
#define GLOBAL (1u << 31)
#define CONTROLLER (1u << 30)
#define WALCLK 0x30
#define CORBLBASE 0x40
#define CORBWP 0x48
#define CORBRP 0x4a
#define CORBCTL 0x4c
#define CORBSTS 0x4d
#define RIRBLBASE 0x50
#define RIRBWP 0x58
#define RINTCNT 0x5a
#define RIRBCTL 0x5c
#define RIRBSTS 0x5d
#define RING_RUN 0x02u
#define RESP_UNSOL 0x10u	/* in the upper half of an answer (4.4.2.1) */
#define ICOI 0x60
#define ICII 0x64
#define ICIS 0x68
#define DPLBASE 0x70
#define ALIAS 0x2000u		/* WALCLK and the positions are here too (3.3.44) */

/* Stream descriptors (3.3.35) */
#define SD(n) (0x80u + 0x20u * (n))
#define SD_END SD(NSTREAM)
#define SDCTL 0x00
#define SDCTL_SRST 0x01u
#define SDCTL_RUN 0x02u
#define SDSTS 0x03
#define SDSTS_BCIS 0x04u
#define SDSTS_DESE 0x10u
#define SDSTS_FIFORDY 0x20u
#define SDSTS_INTS 0x1cu	/* the same bits enable in SDCTL */
#define SDLPIB 0x04
#define SDCBL 0x08
#define SDLVI 0x0c
#define SDFMT 0x12
#define SDBDPL 0x18

struct hda_bdl {
	uint64_t addr;
	uint32_t len;		/* 0: not read yet */
	bool ioc;
};

struct hda_stream {
	struct snd_stream snd;
	struct hda *hda;	/* immutable */
	uint8_t n;
	uint8_t index;		/* of cur in the list */
	uint32_t off;		/* in cur */
	struct hda_bdl cur;
};

struct hda {
	struct pci_dev pci;	/* must stay first */
	struct regbytes map;	/* immutable after realize */
	struct audio_voice *voice[2];	/* DAC, ADC; likewise */
	uint8_t regs[REGBYTES_MAX];
	uint64_t wall_start;	/* virtual ns of WALCLK 0 */
	uint8_t responses;	/* since the last interrupt */
	struct hda_codec codec[1];
	struct hda_stream stream[NSTREAM];
};
PCI_DEVICE_CHECK(struct hda);

static const struct state_field bdl_fields[] = {
	STATE_U64(struct hda_bdl, addr), STATE_U32(struct hda_bdl, len),
	STATE_BOOL(struct hda_bdl, ioc),
	STATE_END
};

static const struct state_field stream_fields[] = {
	SND_STATE(struct hda_stream, snd), STATE_U8(struct hda_stream, index),
	STATE_U32(struct hda_stream, off), STATE_STRUCT(struct hda_stream, cur, bdl_fields),
	STATE_END
};

static const struct state_field hda_fields[] = {
	PCI_STATE(struct hda, pci), STATE_U8S(struct hda, regs), STATE_U64(struct hda, wall_start),
	STATE_U8(struct hda, responses), STATE_STRUCTS(struct hda, codec, hda_codec_fields),
	STATE_STRUCTS(struct hda, stream, stream_fields),
	STATE_END
};

static uint32_t get(const struct hda *h, unsigned off, unsigned size)
{
	return regbytes_get(h->regs, off, size);
}

static void set(struct hda *h, unsigned off, unsigned size, uint32_t val)
{
	regbytes_set(h->regs, off, size, val);
}

static uint64_t get_addr(const struct hda *h, unsigned off)
{
	return get(h, off, 4) | (uint64_t)get(h, off + 4, 4) << 32;
}

/* 3.3.14, 3.3.15; a message for each cause that is new, and when the gate opens. */
static void update_irq(struct hda *h)
{
	uint32_t ctl = get(h, INTCTL, 4), sts = 0, old = get(h, INTSTS, 4);
	bool level, was = h->pci.intx_level;

	for (unsigned n = 0; n < NSTREAM; n++)
		if (h->regs[SD(n) + SDSTS] & h->regs[SD(n) + SDCTL] & SDSTS_INTS)
			sts |= 1u << n;
	if ((h->regs[RIRBSTS] & h->regs[RIRBCTL] & 5) ||
	    (h->regs[CORBSTS] & h->regs[CORBCTL] & 1) ||
	    get(h, STATESTS, 2) & get(h, WAKEEN, 2))
		sts |= CONTROLLER;
	if (sts & ctl)
		sts |= GLOBAL;
	set(h, INTSTS, 4, sts);
	level = sts & ctl & GLOBAL;
	pci_set_irq(&h->pci, level);
	if (level && (!was || sts & ~old))
		pci_msi_notify(&h->pci);
}

/* ---- streams ---- */

static bool is_output(unsigned n)
{
	return n >= NIN;
}

static struct hda_stream *stream_of(struct snd_stream *s)
{
	return container_of(s, struct hda_stream, snd);
}

static bool master(struct hda_stream *st)
{
	return pci_master(&st->hda->pci);
}

static void next_entry(struct hda_stream *st)
{
	struct hda *h = st->hda;

	if (st->cur.ioc)
		h->regs[SD(st->n) + SDSTS] |= SDSTS_BCIS;
	st->index = st->index >= h->regs[SD(st->n) + SDLVI] ? 0 : st->index + 1;
	st->off = 0;
	st->cur.len = 0;
}

/* Read the entry at st->index, skipping empty ones.  false: none has bytes, or no RAM. */
static bool load_entry(struct hda_stream *st)
{
	uint64_t list = get_addr(st->hda, SD(st->n) + SDBDPL);

	for (unsigned tries = 0; tries < MAX_BDL; tries++) {
		uint8_t b[16];

		if (!gm_read(dev_mem(&st->hda->pci.dev), GPA(list + 16u * st->index), b, 16))
			return false;
		st->cur = (struct hda_bdl){ ld_le64(b), ld_le32(b + 8), b[12] & 1 };
		st->off = 0;
		if (st->cur.len)
			return true;
		next_entry(st);
	}
	return false;
}

/* A DMA that reaches no RAM moves zeros. */
static void dma(struct hda_stream *st, uint8_t *buf, uint32_t n)
{
	struct device *d = &st->hda->pci.dev;
	gpa_t at = GPA(st->cur.addr + st->off);
	bool ok = st->snd.ops->capture ? gm_write(dev_mem(d), at, buf, n) :
					 gm_read(dev_mem(d), at, buf, n);

	if (ok)
		return;
	dev_guest_error(d, "stream %u: buffer at %#llx is not RAM", st->n,
			(unsigned long long)at.v);
	if (!st->snd.ops->capture)
		memset(buf, 0, n);
}

static uint32_t hda_copy(struct snd_stream *s, uint8_t *buf, uint32_t len)
{
	struct hda_stream *st = stream_of(s);
	struct hda *h = st->hda;
	uint32_t done = 0, n, cbl = get(h, SD(st->n) + SDCBL, 4), pos, pieces = 0;

	if (!master(st) || !cbl)
		return 0;
	for (; done < len && pieces < MAX_PIECES; done += n, pieces++) {
		if (!st->cur.len && !load_entry(st)) {
			h->regs[SD(st->n) + SDSTS] |= SDSTS_DESE;
			return done;
		}
		pos = get(h, SD(st->n) + SDLPIB, 4);
		n = MIN(len - done, st->cur.len - st->off);
		n = MIN(n, pos < cbl ? cbl - pos : 1);
		dma(st, buf + done, n);
		st->off += n;
		set(h, SD(st->n) + SDLPIB, 4, pos + n < cbl ? pos + n : 0);
		if (st->off == st->cur.len)
			next_entry(st);
	}
	return done;
}

static uint32_t hda_next_event(struct snd_stream *s)
{
	struct hda_stream *st = stream_of(s);

	return st->cur.len - MIN(st->off, st->cur.len);
}

/* 3.6.1: the DMA position buffer */
static void write_position(struct hda_stream *st)
{
	struct hda *h = st->hda;
	uint64_t at = get_addr(h, DPLBASE);

	if (at & 1 && master(st) &&
	    !gm_write_le32(dev_mem(&h->pci.dev), GPA((at & ~0x7full) + 8u * st->n),
			   get(h, SD(st->n) + SDLPIB, 4)))
		dev_guest_error(&h->pci.dev, "position buffer at %#llx is not RAM",
				(unsigned long long)at);
}

static void hda_moved(struct snd_stream *s)
{
	write_position(stream_of(s));
	update_irq(stream_of(s)->hda);
}

static const struct snd_stream_ops play_ops = {
	.name = "hda-out", .copy = hda_copy, .next_event = hda_next_event, .moved = hda_moved,
};
static const struct snd_stream_ops record_ops = {
	.name = "hda-in", .capture = true, .copy = hda_copy, .next_event = hda_next_event,
	.moved = hda_moved,
};

/* 3.7.1 */
static bool stream_format(const struct hda *h, unsigned n, struct snd_format *f)
{
	static const uint8_t bytes[8] = { 1, 2, 4, 4, 4 };
	uint16_t v = (uint16_t)get(h, SD(n) + SDFMT, 2);

	f->rate = (v & 0x4000 ? 44100u : 48000u) * ((v >> 11 & 7) + 1) / ((v >> 8 & 7) + 1);
	f->channels = (uint8_t)((v & 0xf) + 1);
	f->bytes = bytes[v >> 4 & 7];
	return f->bytes && snd_format_ok(f);
}

/* Who hears stream @n: the codec's converter, when it is set to the stream's number. */
static struct audio_voice *listener(struct hda *h, unsigned n)
{
	unsigned tag = get(h, SD(n) + SDCTL, 3) >> 20;

	if (!tag || tag != hda_codec_stream(h->codec, !is_output(n)))
		return NULL;
	return h->voice[is_output(n) ? 0 : 1];
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
	for (unsigned n = 0; n < NSTREAM; n++)
		snd_stream_set_voice(&h->stream[n].snd, listener(h, n));
}

static void rewind_list(struct hda_stream *st)
{
	st->index = 0;
	st->off = 0;
	st->cur = (struct hda_bdl){ 0 };
}

static void stream_reset(struct hda *h, unsigned n)
{
	struct hda_stream *st = &h->stream[n];

	snd_stream_stop(&st->snd);
	rewind_list(st);
	regbytes_reset(&h->map, h->regs, SD(n));
}

static void stream_run(struct hda *h, unsigned n)
{
	struct hda_stream *st = &h->stream[n];
	struct snd_format f;

	if (!stream_format(h, n, &f)) {
		dev_guest_error(&h->pci.dev, "stream %u: format %#x does not exist", n,
				get(h, SD(n) + SDFMT, 2));
		return;
	}
	if (!st->cur.len && get(h, SD(n) + SDCBL, 4) && master(st) && !load_entry(st))
		h->regs[SD(n) + SDSTS] |= SDSTS_DESE;
	h->regs[SD(n) + SDSTS] |= SDSTS_FIFORDY;
	st->snd.voice = listener(h, n);
	snd_stream_start(&st->snd, &f);
	write_position(st);
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
	if (!gm_write(dev_mem(&h->pci.dev), GPA(get_addr(h, RIRBLBASE) + 8u * wp), b, 8))
		dev_guest_error(&h->pci.dev, "RIRB is not in RAM");
	set(h, RIRBWP, 2, wp);
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

		if (!gm_read_le32(dev_mem(&h->pci.dev), GPA(get_addr(h, CORBLBASE) + 4u * rp),
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
	    !(get(h, GCTL, 4) & GCTL_UNSOL) || !(h->regs[RIRBCTL] & RING_RUN))
		return;
	respond(h, val, RESP_UNSOL);
	h->responses = 0;
	h->regs[RIRBSTS] |= 1;
	update_irq(h);
}

/* ---- registers ---- */

static void controller_reset(struct hda *h)
{
	for (unsigned n = 0; n < NSTREAM; n++)
		stream_reset(h, n);
	regbytes_reset(&h->map, h->regs, 0);
	hda_codec_reset(h->codec);
	codec_changed(h);
	h->responses = 0;
	h->wall_start = 0;
}

static void wrote_gctl(void *dev, unsigned unit, uint32_t old)
{
	struct hda *h = dev;
	uint32_t v = get(h, GCTL, 4);

	if (!(v & GCTL_CRST)) {
		controller_reset(h);
		return;
	}
	if (!(old & GCTL_CRST)) {	/* the codec asks for its address */
		set(h, STATESTS, 2, 1);
		h->wall_start = vclock_now(dev_clock(&h->pci.dev));
	}
	if (v & GCTL_FCNTRL) {		/* flushed already */
		set(h, GCTL, 4, v & ~GCTL_FCNTRL);
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

	if (get(h, CORBRP, 2) & 0x8000)
		set(h, CORBRP, 2, 0x8000);
	else
		set(h, CORBRP, 2, old & 0xff);
}

static void wrote_rirbwp(void *dev, unsigned unit, uint32_t old)
{
	struct hda *h = dev;

	if (get(h, RIRBWP, 2) & 0x8000)
		set(h, RIRBWP, 2, 0);
}

/* 3.4.3: one command by registers */
static void wrote_icis(void *dev, unsigned unit, uint32_t old)
{
	struct hda *h = dev;
	bool answered;
	uint32_t val;

	if (!(h->regs[ICIS] & 1))
		return;
	val = command(h, get(h, ICOI, 4), &answered);
	h->regs[ICIS] &= (uint8_t)~1;
	if (!answered)
		return;
	set(h, ICII, 4, val);
	h->regs[ICIS] |= 2;
}

static void wrote_sdctl(void *dev, unsigned n, uint32_t old)
{
	struct hda *h = dev;
	uint32_t v = get(h, SD(n) + SDCTL, 3);

	if (v & SDCTL_SRST) {
		stream_reset(h, n);
		set(h, SD(n) + SDCTL, 3, SDCTL_SRST);
		return;
	}
	if (v & ~old & SDCTL_RUN) {
		stream_run(h, n);
	} else if (old & ~v & SDCTL_RUN) {
		snd_stream_sync(&h->stream[n].snd);
		snd_stream_stop(&h->stream[n].snd);
		h->regs[SD(n) + SDSTS] &= (uint8_t)~SDSTS_FIFORDY;
	} else {
		snd_stream_set_voice(&h->stream[n].snd, listener(h, n));
	}
}

static void wrote_list(void *dev, unsigned n, uint32_t old)
{
	rewind_list(&((struct hda *)dev)->stream[n]);
}

static const struct reg_row global_rows[] = {
	{ 0x00, 2, NOUT << 12 | NIN << 8 | 1, 0, 0, NULL },	/* GCAP: 64-bit addresses */
	{ 0x03, 1, 1, 0, 0, NULL },				/* version 1.0 */
	{ 0x04, 2, 0x3c, 0, 0, NULL }, { 0x06, 2, 0x1d, 0, 0, NULL },	/* payloads */
	{ GCTL, 4, 0, 0x103, 0, wrote_gctl },
	{ WAKEEN, 2, 0, 0x7fff, 0, NULL }, { STATESTS, 2, 0, 0, 0x7fff, NULL },
	{ GSTS, 2, 0, 0, 2, NULL },
	{ 0x18, 2, 0x30, 0, 0, NULL }, { 0x1a, 2, 0x18, 0, 0, NULL },
	{ INTCTL, 4, 0, GLOBAL | CONTROLLER | ((1u << NSTREAM) - 1), 0, NULL },
	{ INTSTS, 4, 0, 0, 0, NULL },
	{ 0x34, 4, 0, (1u << NSTREAM) - 1, 0, NULL },		/* SSYNC, ICH6's place */
	{ 0x38, 4, 0, (1u << NSTREAM) - 1, 0, NULL },		/* SSYNC, the specification's */
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
		set(h, WALCLK, 4, (uint32_t)muldiv64(
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
	return get(h, (unsigned)off, size);
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
	update_irq(h);
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
	for (unsigned n = 0; n < NSTREAM; n++) {
		h->stream[n].hda = h;
		h->stream[n].n = (uint8_t)n;
		snd_stream_init(&h->stream[n].snd, d, is_output(n) ? &play_ops : &record_ops, NULL);
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

	for (unsigned n = 0; n < NSTREAM; n++) {
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
	update_irq(h);
}

static bool post_load_stream(struct hda *h, unsigned n)
{
	struct hda_stream *st = &h->stream[n];

	st->snd.voice = listener(h, n);
	return st->off <= st->cur.len && (!st->cur.len || st->off < st->cur.len) &&
	       snd_stream_post_load(&st->snd);
}

static bool hda_post_load(struct device *d, struct err *e)
{
	struct hda *h = container_of(d, struct hda, pci.dev);

	for (unsigned n = 0; n < NSTREAM; n++)
		if (!post_load_stream(h, n))
			return err_set(e, HV_EXIT_IMAGE, "hda: stream %u out of range", n);
	codec_changed(h);
	update_irq(h);
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
