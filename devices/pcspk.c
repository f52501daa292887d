/* SPDX-License-Identifier: MIT */
/*
 * The PC speaker: OUT of 8254 channel 2, let through by bit 1 of port 0x61
 * (PIIX3 data sheet, 2.5.6.1), as a membrane that cannot hold a level hears
 * it.  Whatever moves the line is heard: square waves of mode 3, and games
 * that play samples by pulse widths.
 *
 * Runs while the line moves and LINGER_NS beyond.
 */
#include "pcspk.h"
#include "i8254.h"
#include "sndstream.h"
#include "../src/vm.h"

#define RATE 48000u
#define OVER 4u			/* looks at the line for each sample */
#define AMPLITUDE 12000
#define LOUDEST (256 * INT16_MAX)	/* of the high pass */
#define LINGER_NS (200 * NS_PER_MS)
#define LOST_NS (50 * NS_PER_MS)

struct pcspk {
	struct device dev;
	struct device *pit;	/* immutable after realize */
	struct snd_stream snd;
	uint64_t at;		/* virtual ns of the next look */
	uint64_t until;		/* virtual ns up to which a still line is played too */
	uint32_t part;		/* of a ns, in RATE * OVER ths */
	uint32_t in, out;	/* of the high pass: last input; last output, 8 bits of fraction */
};
DEVICE_CHECK(struct pcspk);

static const struct state_field pcspk_fields[] = {
	SND_STATE(struct pcspk, snd), STATE_U64(struct pcspk, at), STATE_U64(struct pcspk, until),
	STATE_U32(struct pcspk, part), STATE_U32(struct pcspk, in), STATE_U32(struct pcspk, out),
	STATE_END
};

static struct pcspk *spk_of(struct snd_stream *s)
{
	return container_of(s, struct pcspk, snd);
}

/* One sample: how long the line was high, less what never changes. */
static int16_t sample(struct pcspk *p)
{
	uint32_t high = 0;
	int32_t out;

	for (unsigned i = 0; i < OVER; i++) {
		high += i8254_speaker(p->pit, p->at) ? AMPLITUDE / OVER : 0;
		p->part += NS_PER_SEC % (RATE * OVER);
		p->at += NS_PER_SEC / (RATE * OVER) + p->part / (RATE * OVER);
		p->part %= RATE * OVER;
	}
	out = (int32_t)p->out;
	out += ((int32_t)high - (int32_t)p->in) * 256 - out / 256;	/* from 30 Hz on */
	out = MAX(MIN(out, LOUDEST), -LOUDEST);
	if (high != p->in)
		p->until = p->at + LINGER_NS;
	p->in = high;
	p->out = (uint32_t)out;
	return (int16_t)(out / 256);
}

static uint32_t spk_copy(struct snd_stream *s, uint8_t *buf, uint32_t len)
{
	for (uint32_t i = 0; i < len; i += 2)
		st_le16(buf + i, (uint16_t)sample(spk_of(s)));
	return len;
}

static uint32_t spk_next_event(struct snd_stream *s)
{
	return 0;
}

static void spk_silence(struct pcspk *p)
{
	snd_stream_stop(&p->snd);
	p->at = p->until = 0;
	p->part = p->in = p->out = 0;
}

static void spk_moved(struct snd_stream *s)
{
	struct pcspk *p = spk_of(s);
	uint64_t now = vclock_now(s->clock);

	if (now > p->at + LOST_NS)	/* the host was away */
		p->at = now;
	if (now > p->until)
		spk_silence(p);
}

static const struct snd_stream_ops spk_ops = {
	.name = "speaker", .copy = spk_copy, .next_event = spk_next_event, .moved = spk_moved,
};

/* Before and after each change of channel 2 and port 0x61. */
static void spk_changed(void *opaque)
{
	struct pcspk *p = opaque;
	static const struct snd_format f = { .rate = RATE, .channels = 1, .bytes = 2 };

	snd_stream_sync(&p->snd);
	if (!i8254_speaker_on(p->pit))
		return;
	p->until = vclock_now(dev_clock(&p->dev)) + LINGER_NS;
	if (p->snd.running)
		return;
	p->at = vclock_now(dev_clock(&p->dev));
	snd_stream_start(&p->snd, &f);
}

static bool pcspk_realize(struct device *d, struct err *e)
{
	struct pcspk *p = container_of(d, struct pcspk, dev);

	snd_stream_init(&p->snd, d, &spk_ops, audio_voice_new(d->vm->audio, spk_ops.name, false));
	i8254_set_speaker(p->pit, spk_changed, p);
	return true;
}

static void pcspk_unrealize(struct device *d)
{
	struct pcspk *p = container_of(d, struct pcspk, dev);

	snd_stream_free(&p->snd);
}

static void pcspk_reset(struct device *d)
{
	spk_silence(container_of(d, struct pcspk, dev));
}

static bool pcspk_post_load(struct device *d, struct err *e)
{
	struct pcspk *p = container_of(d, struct pcspk, dev);

	p->part %= RATE * OVER;
	p->in = MIN(p->in, (uint32_t)AMPLITUDE);
	p->out = (uint32_t)MAX(MIN((int32_t)p->out, LOUDEST), -LOUDEST);
	return snd_stream_post_load(&p->snd) ||
	       err_set(e, HV_EXIT_IMAGE, "speaker: stream out of range");
}

void pcspk_wire(struct device *d, struct device *pit)
{
	container_of(d, struct pcspk, dev)->pit = pit;
}

const struct device_ops pcspk_ops = {
	.name = "pcspk",
	.size = sizeof(struct pcspk),
	.realize = pcspk_realize,
	.reset = pcspk_reset,
	.unrealize = pcspk_unrealize,
	.state = pcspk_fields,
	.state_version = 1,
	.post_load = pcspk_post_load,
};
