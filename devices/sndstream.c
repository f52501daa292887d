/* SPDX-License-Identifier: MIT */
/* Sound streams by the virtual clock; see sndstream.h. */
#include "sndstream.h"
#include "../src/vm.h"

#define TICK_MS 10u		/* how often samples move when the guest wants no news earlier */
#define MIN_TICK_US 500u
#define BUF 4096u		/* bytes; at least SND_MAX_FRAME */
#define MAX_DONE (1ull << 40)

static const struct state_field fmt_fields[] = {
	STATE_U32(struct snd_format, rate), STATE_U8(struct snd_format, channels),
	STATE_U8(struct snd_format, bytes),
	STATE_END
};

const struct state_field snd_stream_fields[] = {
	STATE_TIMER(struct snd_stream, timer), STATE_U64(struct snd_stream, origin),
	STATE_U64(struct snd_stream, done), STATE_STRUCT(struct snd_stream, fmt, fmt_fields),
	STATE_BOOL(struct snd_stream, running),
	STATE_END
};

bool snd_format_ok(const struct snd_format *f)
{
	return f->rate >= AUDIO_MIN_RATE && f->rate <= AUDIO_MAX_RATE && f->channels &&
	       f->channels <= SND_MAX_CHANNELS && (f->bytes == 1 || f->bytes == 2 || f->bytes == 4);
}

static int16_t get_sample(const uint8_t *p, unsigned bytes)
{
	switch (bytes) {
	case 1: return (int16_t)((p[0] - 0x80) << 8);
	case 2: return (int16_t)ld_le16(p);
	default: return (int16_t)ld_le16(p + 2);	/* the upper half */
	}
}

static void put_sample(uint8_t *p, unsigned bytes, int16_t v)
{
	memset(p, 0, bytes);
	if (bytes == 1)
		p[0] = (uint8_t)((v >> 8) + 0x80);
	else
		st_le16(p + bytes - 2, (uint16_t)v);
}

/* Between the guest's frames and left and right; one channel is heard on both sides. */
static void to_stereo(const struct snd_format *f, const uint8_t *buf, int16_t *out, uint32_t n)
{
	for (uint32_t i = 0; i < n; i++, buf += snd_frame_bytes(f)) {
		out[2 * i] = get_sample(buf, f->bytes);
		out[2 * i + 1] = f->channels > 1 ? get_sample(buf + f->bytes, f->bytes) :
						   out[2 * i];
	}
}

static void from_stereo(const struct snd_format *f, const int16_t *in, uint8_t *buf, uint32_t n)
{
	for (uint32_t i = 0; i < n; i++)
		for (unsigned c = 0; c < f->channels; c++, buf += f->bytes)
			put_sample(buf, f->bytes, c < 2 ? in[2 * i + c] : 0);
}

/* @n frames, at most a buffer of them. */
static void move(struct snd_stream *s, uint32_t n)
{
	int16_t stereo[2 * BUF];
	uint8_t buf[BUF];
	uint32_t len = n * snd_frame_bytes(&s->fmt), got;

	if (s->ops->capture) {
		audio_record(s->voice, stereo, n);
		from_stereo(&s->fmt, stereo, buf, n);
		s->ops->copy(s, buf, len);
		return;
	}
	got = s->ops->copy(s, buf, len);
	HV_BUG_ON(got > len);
	memset(buf + got, s->fmt.bytes == 1 ? 0x80 : 0, len - got);
	to_stereo(&s->fmt, buf, stereo, n);
	audio_play(s->voice, stereo, n);
}

static uint64_t frames_ns(const struct snd_stream *s, uint64_t frames)
{
	return muldiv64(frames, NS_PER_SEC, s->fmt.rate);
}

/* Frames that the clock asks for; what is too late is forgotten. */
static uint32_t due(struct snd_stream *s, uint64_t now)
{
	uint64_t want, late = s->fmt.rate * SND_LATE_MS / 1000;

	want = now > s->origin ? muldiv64(now - s->origin, s->fmt.rate, NS_PER_SEC) : 0;
	if (want <= s->done)
		return 0;
	want -= s->done;
	if (want > late) {
		s->origin = now - frames_ns(s, late);
		s->done = 0;
		want = late;
	}
	return (uint32_t)want;
}

static void arm(struct snd_stream *s, uint64_t now)
{
	uint32_t bytes = s->ops->next_event(s);
	uint64_t frames = (uint64_t)s->fmt.rate * TICK_MS / 1000;

	if (bytes)
		frames = MIN(frames, bytes / snd_frame_bytes(&s->fmt) + 1);
	vtimer_arm(&s->timer, MAX(s->origin + frames_ns(s, s->done + frames) + 1,
				  now + MIN_TICK_US * NS_PER_US));
}

void snd_stream_sync(struct snd_stream *s)
{
	uint64_t now = vclock_now(s->clock);
	uint32_t n, part;

	if (!s->running || s->moving)
		return;
	s->moving = true;
	n = due(s, now);
	s->done += n;
	for (uint32_t left = n; left; left -= part) {
		part = MIN(left, BUF / snd_frame_bytes(&s->fmt));
		move(s, part);
	}
	if (s->done > s->fmt.rate) {	/* keeps the numbers small */
		uint64_t whole = s->done / s->fmt.rate;

		s->origin += whole * NS_PER_SEC;
		s->done -= whole * s->fmt.rate;
	}
	s->moving = false;
	if (n)
		s->ops->moved(s);
	if (s->running)
		arm(s, now);
}

static void tick(void *opaque)
{
	snd_stream_sync(opaque);
}

void snd_stream_init(struct snd_stream *s, struct device *d, const struct snd_stream_ops *ops,
		     struct audio_voice *voice)
{
	*s = (struct snd_stream){ .ops = ops, .clock = dev_clock(d), .voice = voice };
	vtimer_init(&s->timer, s->clock, tick, s);
}

void snd_stream_free(struct snd_stream *s)
{
	if (!s->ops)
		return;
	snd_stream_stop(s);
	audio_voice_free(s->voice);
	s->voice = NULL;
}

void snd_stream_start(struct snd_stream *s, const struct snd_format *f)
{
	HV_BUG_ON(!snd_format_ok(f));
	s->fmt = *f;
	s->origin = vclock_now(s->clock);
	s->done = 0;
	s->running = true;
	audio_voice_start(s->voice, f->rate);
	arm(s, s->origin);
}

void snd_stream_stop(struct snd_stream *s)
{
	s->fmt = (struct snd_format){ 0 };
	s->origin = s->done = 0;
	s->running = false;
	vtimer_cancel(&s->timer);
	audio_voice_stop(s->voice);
}

void snd_stream_set_voice(struct snd_stream *s, struct audio_voice *voice)
{
	if (voice == s->voice)
		return;
	if (s->running)
		audio_voice_stop(s->voice);
	s->voice = voice;
	if (s->running)
		audio_voice_start(voice, s->fmt.rate);
}

bool snd_stream_post_load(struct snd_stream *s)
{
	if (!s->running) {
		snd_stream_stop(s);
		return true;
	}
	if (!snd_format_ok(&s->fmt) || s->done > MAX_DONE)
		return false;
	audio_voice_start(s->voice, s->fmt.rate);
	if (!vtimer_armed(&s->timer))
		vtimer_arm(&s->timer, vclock_now(s->clock));
	return true;
}
