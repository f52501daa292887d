/* SPDX-License-Identifier: MIT */
/*
 * Voices and their rings; see audio.h.
 *
 * The ring has one writer and one reader: the device's side under dev_lock
 * and the back end's thread.  head and tail count frames since the start and
 * wrap; each side writes its own.
 */
#include "audio.h"
#include "clock.h"
#include <stdatomic.h>
#include <stdlib.h>

#define GATHER_MS 100u		/* before a voice is heard: covers late timers */
#define LOW_MS 60u		/* less waits: play slower, by ONE / BEND at most */
#define HIGH_MS 160u		/* more waits: faster; twice that is the most */
#define LATE_MS 600u		/* more than that waits: go on with GATHER_MS */
#define ONE 65536u		/* speed 1 */
#define BEND 25u
#define TONE_HZ 440u		/* of AUDIO_MIC_TONE */
#define CHUNK 512u

struct audio_voice {
	struct audio *audio;
	const char *name;	/* NULL: free */
	bool capture;
	_Atomic unsigned rate, starts;
	_Atomic bool running;
	uint32_t gain[2];	/* under dev_lock */
	uint64_t tone;		/* frames of the tone so far; under dev_lock */
	bool gathering;		/* the ring's reader only */
	uint32_t frac;		/* of a frame, in ONEths; likewise */
	_Atomic uint32_t head, tail;
	uint32_t ring[AUDIO_RING];
};

struct audio {
	const struct audio_backend *ops;
	struct vclock *clock;
	void *opaque;
	struct bell *bell;
	_Atomic enum audio_mic mic;
	void (*plugged)(void *opaque, bool on);
	void *plugged_opaque;
	struct audio_voice voices[AUDIO_MAX_VOICES];
};

/* ---- composition ---- */

static void play_nothing(struct audio *a, struct audio_voice *v, const uint32_t *frames, size_t n)
{
}

static const struct audio_backend none_backend = { .name = "none", .play = play_nothing };

struct audio *audio_new(const struct audio_backend *ops, struct vclock *clk, void *opaque)
{
	struct audio *a = hv_zalloc(sizeof(*a));

	a->ops = ops;
	a->clock = clk;
	a->opaque = opaque;
	return a;
}

struct audio *audio_open(const char *spec, struct vclock *clk, struct err *e)
{
	if (!strncmp(spec, "wav:", 4))
		return audio_wav_open(spec + 4, clk, e);
	if (!strcmp(spec, "none"))
		return audio_new(&none_backend, clk, NULL);
	err_set(e, HV_EXIT_USAGE, "there is no sound back end '%s'; use sdl, wav:FILE or none",
		spec);
	return NULL;
}

void audio_set_mic(struct audio *a, enum audio_mic mic)
{
	bool was = a->mic != AUDIO_MIC_OFF, on = mic != AUDIO_MIC_OFF;

	a->mic = mic;
	if (a->plugged && on != was)
		a->plugged(a->plugged_opaque, on);
}

void audio_close(struct audio *a)
{
	if (!a)
		return;
	if (a->ops->close)
		a->ops->close(a);
	free(a);
}

void audio_set_bell(struct audio *a, struct bell *b)
{
	if (a)
		a->bell = b;
}

bool audio_playing(const struct audio *a)
{
	for (unsigned i = 0; a && i < AUDIO_MAX_VOICES; i++)
		if (a->voices[i].running && !a->voices[i].capture)
			return true;
	return false;
}

/* ---- device side ---- */

void audio_watch_mic(struct audio *a, void (*plugged)(void *opaque, bool on), void *opaque)
{
	if (!a)
		return;
	a->plugged = plugged;
	a->plugged_opaque = opaque;
}

struct audio_voice *audio_voice_new(struct audio *a, const char *name, bool capture)
{
	for (unsigned i = 0; a && i < AUDIO_MAX_VOICES; i++) {
		struct audio_voice *v = &a->voices[i];

		if (v->name)
			continue;
		v->audio = a;
		v->capture = capture;
		v->gain[0] = v->gain[1] = AUDIO_UNITY;
		v->gathering = true;
		v->rate = 48000;
		v->name = name;
		return v;
	}
	return NULL;	/* heard by nobody */
}

void audio_voice_free(struct audio_voice *v)
{
	if (!v)
		return;
	v->running = false;
	v->tail = v->head;
	v->name = NULL;
}

static void wake(struct audio_voice *v)
{
	if (v->audio->ops->wake)
		v->audio->ops->wake(v->audio);
}

void audio_voice_start(struct audio_voice *v, unsigned rate)
{
	if (!v)
		return;
	HV_BUG_ON(rate < AUDIO_MIN_RATE || rate > AUDIO_MAX_RATE);
	v->rate = rate;
	v->starts++;
	if (v->capture) {	/* what was said before does not count */
		v->tail = v->head;
		v->gathering = true;
		v->frac = 0;
	}
	v->running = true;
	wake(v);
	bell_ring(v->audio->bell);
}

void audio_voice_stop(struct audio_voice *v)
{
	if (!v || !v->running)
		return;
	v->running = false;
	wake(v);
	bell_ring(v->audio->bell);
}

void audio_voice_gain(struct audio_voice *v, uint32_t left, uint32_t right)
{
	if (!v)
		return;
	v->gain[0] = MIN(left, AUDIO_UNITY);
	v->gain[1] = MIN(right, AUDIO_UNITY);
}

static int16_t scale(int16_t s, uint32_t gain)
{
	return (int16_t)((int64_t)s * gain / AUDIO_UNITY);
}

/* Into the ring, as much as there is room. */
static void put(struct audio_voice *v, const uint32_t *frames, size_t n)
{
	uint32_t head = atomic_load_explicit(&v->head, memory_order_relaxed);
	uint32_t used = head - atomic_load_explicit(&v->tail, memory_order_acquire);

	n = MIN(n, AUDIO_RING - used);
	for (size_t i = 0; i < n; i++)
		v->ring[(head + i) % AUDIO_RING] = frames[i];
	atomic_store_explicit(&v->head, head + (uint32_t)n, memory_order_release);
}

static size_t take(struct audio_voice *v, uint32_t *frames, size_t n)
{
	uint32_t tail = atomic_load_explicit(&v->tail, memory_order_relaxed);
	uint32_t used = atomic_load_explicit(&v->head, memory_order_acquire) - tail;

	n = MIN(n, used);
	for (size_t i = 0; i < n; i++)
		frames[i] = v->ring[(tail + i) % AUDIO_RING];
	atomic_store_explicit(&v->tail, tail + (uint32_t)n, memory_order_release);
	return n;
}

void audio_play(struct audio_voice *v, const int16_t *frames, size_t n)
{
	uint32_t buf[CHUNK];
	bool was_empty;

	if (!v || v->capture)
		return;
	was_empty = !audio_voice_pending(v);
	for (size_t done = 0, part; done < n; done += part) {
		part = MIN(n - done, CHUNK);
		for (size_t i = 0; i < part; i++)
			buf[i] = audio_frame(scale(frames[2 * (done + i)], v->gain[0]),
					     scale(frames[2 * (done + i) + 1], v->gain[1]));
		if (v->audio->ops->play)
			v->audio->ops->play(v->audio, v, buf, part);
		else
			put(v, buf, part);
	}
	if (was_empty)
		wake(v);
}

/* A triangle: exact, and without a table. */
static int16_t tone_sample(uint64_t n, unsigned rate)
{
	int64_t phase = (int64_t)(n * TONE_HZ * 4 % (4ull * rate));	/* 0..4 rate: a period */

	phase = phase > 2 * (int64_t)rate ? 3 * (int64_t)rate - phase : phase - (int64_t)rate;
	return (int16_t)(phase * 8192 / (int64_t)rate);
}

static uint32_t waiting(const struct audio_voice *v)
{
	return v->head - v->tail;
}

/* Reader's side: what lies there for longer than anybody wants to wait is skipped. */
static void skip_late(struct audio_voice *v)
{
	uint32_t used = waiting(v), rate = v->rate;

	if (used > MIN(rate * LATE_MS / 1000, AUDIO_RING / 2))
		v->tail += used - rate * GATHER_MS / 1000;
}

/*
 * The host's sound clock is not the guest's: what waits grows or shrinks.
 * Before a hole has to be made the speed gives way a little.
 */
static uint32_t speed(const struct audio_voice *v)
{
	uint32_t used = waiting(v), low = v->rate * LOW_MS / 1000, high = v->rate * HIGH_MS / 1000;

	if (!v->running)
		return ONE;
	if (used < low)
		return ONE - ONE / BEND * (low - used) / low;
	return used > high ? ONE + ONE / BEND * MIN(used - high, high) / high : ONE;
}

static int16_t between(int16_t a, int16_t b, uint32_t frac)
{
	return (int16_t)(a + (int32_t)((int64_t)(b - a) * frac / ONE));
}

/* take() at another speed; the last frame stays for the next time. */
static size_t take_at(struct audio_voice *v, uint32_t step, uint32_t *frames, size_t n)
{
	uint32_t tail = v->tail, used = waiting(v), at = 0;
	size_t got = 0;

	for (; got < n && at + 1 < used; got++) {
		uint32_t a = v->ring[(tail + at) % AUDIO_RING];
		uint32_t b = v->ring[(tail + at + 1) % AUDIO_RING];

		frames[got] = audio_frame(between(audio_left(a), audio_left(b), v->frac),
					  between(audio_right(a), audio_right(b), v->frac));
		v->frac += step;
		at += v->frac / ONE;
		v->frac %= ONE;
	}
	v->tail = tail + MIN(at, used);
	return got;
}

size_t audio_pull(struct audio_voice *v, uint32_t *frames, size_t n)
{
	uint32_t step;
	size_t got;

	skip_late(v);
	if (v->gathering && v->running && waiting(v) < v->rate * GATHER_MS / 1000)
		return 0;
	step = speed(v);
	if (!v->running)
		v->frac = 0;
	got = step == ONE && !v->frac ? take(v, frames, n) : take_at(v, step, frames, n);
	v->gathering = got < n;
	if (v->gathering)
		v->frac = 0;
	return got;
}

/* Frames that the back end pushed; the rest stays silent. */
static void from_host(struct audio_voice *v, int16_t *frames, size_t n)
{
	uint32_t buf[CHUNK];

	for (size_t done = 0, got = 1; done < n && got; done += got) {
		got = audio_pull(v, buf, MIN(n - done, CHUNK));
		for (size_t i = 0; i < got; i++) {
			frames[2 * (done + i)] = audio_left(buf[i]);
			frames[2 * (done + i) + 1] = audio_right(buf[i]);
		}
	}
}

void audio_record(struct audio_voice *v, int16_t *frames, size_t n)
{
	memset(frames, 0, n * 2 * sizeof(*frames));
	if (!v || !v->capture || v->audio->mic == AUDIO_MIC_OFF)
		return;
	if (v->audio->mic == AUDIO_MIC_ON)
		from_host(v, frames, n);
	for (size_t i = 0; i < n && v->audio->mic == AUDIO_MIC_TONE; i++)
		frames[2 * i] = frames[2 * i + 1] = tone_sample(v->tone++, v->rate);
	for (size_t i = 0; i < 2 * n; i++)
		frames[i] = scale(frames[i], v->gain[i & 1]);
}

/* ---- back end side ---- */

void *audio_opaque(const struct audio *a) { return a->opaque; }
struct vclock *audio_clock(const struct audio *a) { return a->clock; }
enum audio_mic audio_mic(const struct audio *a) { return a->mic; }
const char *audio_voice_name(const struct audio_voice *v) { return v->name; }
bool audio_voice_captures(const struct audio_voice *v) { return v->capture; }
bool audio_voice_running(const struct audio_voice *v) { return v->running; }
unsigned audio_voice_rate(const struct audio_voice *v) { return v->rate; }
unsigned audio_voice_starts(const struct audio_voice *v) { return v->starts; }

struct audio_voice *audio_voice(struct audio *a, unsigned i)
{
	return &a->voices[i];
}

unsigned audio_voice_index(const struct audio *a, const struct audio_voice *v)
{
	return (unsigned)(v - a->voices);
}

bool audio_voice_pending(const struct audio_voice *v)
{
	return waiting(v) != 0;
}

void audio_push(struct audio_voice *v, const uint32_t *frames, size_t n)
{
	/* Only the reader skips: here the newest is lost when the guest does not read. */
	put(v, frames, n);
}
