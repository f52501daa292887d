/* SPDX-License-Identifier: MIT */
/*
 * The sound seam: voices between the sound devices and a back end (the
 * host's sound system, a WAV file, nothing).
 *
 * A voice is one direction of one device: stereo frames of 16-bit samples at
 * the rate that the guest chose.  The device moves them by the virtual clock
 * (devices/sndstream.h), so a paused machine is silent and the guest's time
 * decides the pitch.  A back end with a thread of its own takes them from a
 * ring without locks and resamples; one without gets them at once.
 *
 * Locking: the device side runs under dev_lock; audio_pull() and
 * audio_push() on one thread of the back end.
 */
#ifndef HV_AUDIO_H
#define HV_AUDIO_H

#include "bell.h"
#include "err.h"
#include "util.h"

struct audio;
struct audio_voice;
struct vclock;

#define AUDIO_MAX_VOICES 8
#define AUDIO_RING 65536u	/* frames; a power of two */
#define AUDIO_MIN_RATE 1000u
#define AUDIO_MAX_RATE 192000u
#define AUDIO_UNITY 65536u	/* gain 1 */

/* What guests hear at their microphone. */
enum audio_mic { AUDIO_MIC_OFF, AUDIO_MIC_ON, AUDIO_MIC_TONE };

struct audio_backend {
	const char *name;
	/* Frames of a voice, under dev_lock; NULL: the back end calls audio_pull(). */
	void (*play)(struct audio *a, struct audio_voice *v, const uint32_t *frames, size_t n);
	/* A voice began to play or to record; under dev_lock, may only signal; or NULL. */
	void (*wake)(struct audio *a);
	void (*close)(struct audio *a);	/* of its own data, before the voices go; or NULL */
};

/* ---- composition ---- */

/* @spec: "none" or "wav:FILE".  NULL + @e. */
struct audio *audio_open(const char *spec, struct vclock *clk, struct err *e);
struct audio *audio_new(const struct audio_backend *ops, struct vclock *clk, void *opaque);
/* Before the machine runs, later under dev_lock: sound cards show it as a jack that is plugged. */
void audio_set_mic(struct audio *a, enum audio_mic mic);
void audio_close(struct audio *a);	/* after devices_free(); NULL is fine */
bool audio_playing(const struct audio *a);	/* any thread */
/* Rung when a voice starts or stops; NULL: none is.  Under dev_lock. */
void audio_set_bell(struct audio *a, struct bell *b);

/* ---- device side ---- */

/* @a NULL: a voice is NULL too, and everything below takes that. */
struct audio_voice *audio_voice_new(struct audio *a, const char *name, bool capture);
void audio_voice_free(struct audio_voice *v);
void audio_voice_start(struct audio_voice *v, unsigned rate);	/* a rate within the limits */
void audio_voice_stop(struct audio_voice *v);
/* @plugged is called, under dev_lock, when the microphone comes or goes; one device, NULL: none. */
void audio_watch_mic(struct audio *a, void (*plugged)(void *opaque, bool on), void *opaque);
/* Gain of left and right, AUDIO_UNITY at most. */
void audio_voice_gain(struct audio_voice *v, uint32_t left, uint32_t right);
/* @n frames of left and right; never blocks, what finds no room is dropped. */
void audio_play(struct audio_voice *v, const int16_t *frames, size_t n);
/* Fills all of @frames, with silence where there is nothing. */
void audio_record(struct audio_voice *v, int16_t *frames, size_t n);

/* ---- back end side ---- */

void *audio_opaque(const struct audio *a);
struct vclock *audio_clock(const struct audio *a);
enum audio_mic audio_mic(const struct audio *a);
struct audio_voice *audio_voice(struct audio *a, unsigned i);	/* i < AUDIO_MAX_VOICES */
unsigned audio_voice_index(const struct audio *a, const struct audio_voice *v);
const char *audio_voice_name(const struct audio_voice *v);
bool audio_voice_captures(const struct audio_voice *v);
bool audio_voice_running(const struct audio_voice *v);
unsigned audio_voice_rate(const struct audio_voice *v);
unsigned audio_voice_starts(const struct audio_voice *v);	/* counts audio_voice_start() */
/* Is there anything in the ring? */
bool audio_voice_pending(const struct audio_voice *v);
/*
 * Up to @n frames (left in the low half) for playing.  Waits until some have
 * gathered before it begins, and after running dry; follows the back end's
 * clock, and skips when that is far too slow.  Voices that record are read by
 * audio_record() in the same way.
 */
size_t audio_pull(struct audio_voice *v, uint32_t *frames, size_t n);
void audio_push(struct audio_voice *v, const uint32_t *frames, size_t n);

static inline uint32_t audio_frame(int16_t l, int16_t r)
{
	return (uint16_t)l | (uint32_t)(uint16_t)r << 16;
}
static inline int16_t audio_left(uint32_t f) { return (int16_t)f; }
static inline int16_t audio_right(uint32_t f) { return (int16_t)(f >> 16); }

/* audio_wav.c */
struct audio *audio_wav_open(const char *path, struct vclock *clk, struct err *e);

#endif
