/* SPDX-License-Identifier: MIT */
/*
 * What the sound devices share: a stream of samples between guest memory and
 * a voice (src/audio.h), moved by the virtual clock.
 *
 * The device says how bytes get from or into its buffers; this part knows
 * when, how many, and what they mean.  A host that was away for long is not
 * made up for: more than SND_LATE_MS is left out.
 */
#ifndef HV_SNDSTREAM_H
#define HV_SNDSTREAM_H

#include "../src/audio.h"
#include "../src/device.h"

#define SND_MAX_CHANNELS 16u
#define SND_MAX_FRAME (SND_MAX_CHANNELS * 4u)	/* bytes */
#define SND_LATE_MS 250u

struct snd_format {
	uint32_t rate;
	uint8_t channels;	/* 1..SND_MAX_CHANNELS; the first two are heard */
	uint8_t bytes;		/* of a sample: 1 (unsigned), 2 or 4 (signed, little-endian) */
};

struct snd_stream;

struct snd_stream_ops {
	const char *name;
	bool capture;
	/*
	 * Move @len bytes from (capture: to) the guest's buffers; returns how
	 * many.  Fewer: there is no buffer now.
	 */
	uint32_t (*copy)(struct snd_stream *s, uint8_t *buf, uint32_t len);
	/* Bytes until the guest waits for news, 0: no matter. */
	uint32_t (*next_event)(struct snd_stream *s);
	/* After bytes moved, may stop the stream: positions, interrupts. */
	void (*moved)(struct snd_stream *s);
};

struct snd_stream {
	const struct snd_stream_ops *ops;
	struct vclock *clock;
	struct audio_voice *voice;	/* NULL: nobody listens */
	struct vtimer timer;
	uint64_t origin;	/* virtual ns of frame 0 */
	uint64_t done;		/* frames since then */
	struct snd_format fmt;	/* valid while running */
	bool running;
	bool moving;		/* inside snd_stream_sync() */
};

extern const struct state_field snd_stream_fields[];
#define SND_STATE(T, m) STATE_STRUCT(T, m, snd_stream_fields)
#define SND_STATES(T, m) STATE_STRUCTS(T, m, snd_stream_fields)

bool snd_format_ok(const struct snd_format *f);
static inline uint32_t snd_frame_bytes(const struct snd_format *f)
{
	return (uint32_t)f->channels * f->bytes;
}

/* In realize and unrealize. */
void snd_stream_init(struct snd_stream *s, struct device *d, const struct snd_stream_ops *ops,
		     struct audio_voice *voice);
void snd_stream_free(struct snd_stream *s);
/* @f is snd_format_ok().  A stream that runs goes on with the new format. */
void snd_stream_start(struct snd_stream *s, const struct snd_format *f);
void snd_stream_stop(struct snd_stream *s);
/* Another listener from now on. */
void snd_stream_set_voice(struct snd_stream *s, struct audio_voice *voice);
/* Move what is due by now; before the guest looks at a position. */
void snd_stream_sync(struct snd_stream *s);
/* Loaded state is hostile; false: not a state that a stream can have. */
HV_MUSTCHECK bool snd_stream_post_load(struct snd_stream *s);

#endif
