/* SPDX-License-Identifier: MIT */
/*
 * Streams of the HDA controller: buffer lists, DMA of samples, the position
 * in the buffer (High Definition Audio Specification 1.0a, 3.3.35 to 3.7.1).
 */
#include "hda_regs.h"

#define MAX_BDL 256u
#define MAX_PIECES 512u		/* that samples asked for at once come in; drivers have few */

static const struct state_field bdl_fields[] = {
	STATE_U64(struct hda_bdl, addr), STATE_U32(struct hda_bdl, len),
	STATE_BOOL(struct hda_bdl, ioc),
	STATE_END
};

const struct state_field hda_stream_fields[] = {
	SND_STATE(struct hda_stream, snd), STATE_U8(struct hda_stream, index),
	STATE_U32(struct hda_stream, off), STATE_STRUCT(struct hda_stream, cur, bdl_fields),
	STATE_END
};

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
	uint64_t list = hda_get_addr(st->hda, SD(st->n) + SDBDPL);

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
	uint32_t done = 0, n, cbl = hda_get(h, SD(st->n) + SDCBL, 4), pos, pieces = 0;

	if (!master(st) || !cbl)
		return 0;
	for (; done < len && pieces < MAX_PIECES; done += n, pieces++) {
		if (!st->cur.len && !load_entry(st)) {
			h->regs[SD(st->n) + SDSTS] |= SDSTS_DESE;
			return done;
		}
		pos = hda_get(h, SD(st->n) + SDLPIB, 4);
		n = MIN(len - done, st->cur.len - st->off);
		n = MIN(n, pos < cbl ? cbl - pos : 1);
		dma(st, buf + done, n);
		st->off += n;
		hda_set(h, SD(st->n) + SDLPIB, 4, pos + n < cbl ? pos + n : 0);
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
	uint64_t at = hda_get_addr(h, DPLBASE);

	if (at & 1 && master(st) &&
	    !gm_write_le32(dev_mem(&h->pci.dev), GPA((at & ~0x7full) + 8u * st->n),
			   hda_get(h, SD(st->n) + SDLPIB, 4)))
		dev_guest_error(&h->pci.dev, "position buffer at %#llx is not RAM",
				(unsigned long long)at);
}

static void hda_moved(struct snd_stream *s)
{
	write_position(stream_of(s));
	hda_update_irq(stream_of(s)->hda);
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
	uint16_t v = (uint16_t)hda_get(h, SD(n) + SDFMT, 2);

	f->rate = (v & 0x4000 ? 44100u : 48000u) * ((v >> 11 & 7) + 1) / ((v >> 8 & 7) + 1);
	f->channels = (uint8_t)((v & 0xf) + 1);
	f->bytes = bytes[v >> 4 & 7];
	return f->bytes && snd_format_ok(f);
}

struct audio_voice *hda_listener(struct hda *h, unsigned n)
{
	unsigned tag = hda_get(h, SD(n) + SDCTL, 3) >> 20;

	if (!tag || tag != hda_codec_stream(h->codec, !hda_is_output(n)))
		return NULL;
	return h->voice[hda_is_output(n) ? 0 : 1];
}

void hda_rewind_list(struct hda_stream *st)
{
	st->index = 0;
	st->off = 0;
	st->cur = (struct hda_bdl){ 0 };
}

void hda_stream_reset(struct hda *h, unsigned n)
{
	struct hda_stream *st = &h->stream[n];

	snd_stream_stop(&st->snd);
	hda_rewind_list(st);
	regbytes_reset(&h->map, h->regs, SD(n));
}

void hda_stream_run(struct hda *h, unsigned n)
{
	struct hda_stream *st = &h->stream[n];
	struct snd_format f;

	if (!stream_format(h, n, &f)) {
		dev_guest_error(&h->pci.dev, "stream %u: format %#x does not exist", n,
				hda_get(h, SD(n) + SDFMT, 2));
		return;
	}
	if (!st->cur.len && hda_get(h, SD(n) + SDCBL, 4) && master(st) && !load_entry(st))
		h->regs[SD(n) + SDSTS] |= SDSTS_DESE;
	h->regs[SD(n) + SDSTS] |= SDSTS_FIFORDY;
	st->snd.voice = hda_listener(h, n);
	snd_stream_start(&st->snd, &f);
	write_position(st);
}

void hda_stream_init(struct hda *h, unsigned n)
{
	h->stream[n].hda = h;
	h->stream[n].n = (uint8_t)n;
	snd_stream_init(&h->stream[n].snd, &h->pci.dev, hda_is_output(n) ? &play_ops : &record_ops,
			NULL);
}

bool hda_stream_post_load(struct hda *h, unsigned n)
{
	struct hda_stream *st = &h->stream[n];

	st->snd.voice = hda_listener(h, n);
	return st->off <= st->cur.len && (!st->cur.len || st->off < st->cur.len) &&
	       snd_stream_post_load(&st->snd);
}
