/* SPDX-License-Identifier: MIT */
/*
 * Sound through SDL: to PulseAudio, PipeWire, ALSA or what SDL finds.
 *
 * A thread of its own opens the host's device when a voice has something to
 * play and closes it when none had for a while: opening may block, and an
 * open device costs processor time even when it is silent.  SDL's callback
 * takes the voices' frames from their rings, resamples and mixes them.
 * The microphone is opened only while a guest records and --sound allows it.
 */
#include "ui.h"
#include "../src/audio.h"
#include "../src/log.h"
#include <SDL.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <time.h>

#define RATE 48000
#define PERIOD 1024		/* frames the host takes at once */
#define IDLE_NS 2000000000ull	/* silent for so long: close */
#define RETRY_NS 10000000000ull
#define LOOK_MS 500
#define CHUNK 1024u

struct converter {
	SDL_AudioStream *stream;
	unsigned rate;
};

struct sdl_audio {
	struct audio *audio;
	pthread_t thread;
	pthread_mutex_t lock;	/* leaf */
	pthread_cond_t cond;
	bool quit, woken;	/* under lock */

	/* The thread's own */
	SDL_AudioDeviceID out, in;
	bool sdl_up, complained;
	uint64_t retry_at;
	int out_rate;

	_Atomic uint64_t heard;		/* host ns of the last frame played */
	struct converter conv[AUDIO_MAX_VOICES];	/* callback, while a device is open */
};

/* ---- SDL's callbacks, on its threads ---- */

static bool fit_converter(struct converter *c, unsigned from, int to)
{
	if (c->stream && c->rate == from)
		return true;
	if (c->stream)
		SDL_FreeAudioStream(c->stream);
	c->stream = SDL_NewAudioStream(AUDIO_S16SYS, 2, (int)from, AUDIO_S16SYS, 2, to);
	c->rate = from;
	return c->stream != NULL;
}

/* Adds what voice @v has to say to @out. */
static bool mix_voice(struct sdl_audio *s, unsigned i, uint8_t *out, int len)
{
	struct audio_voice *v = audio_voice(s->audio, i);
	struct converter *c = &s->conv[i];
	uint32_t buf[CHUNK];
	uint8_t part[4096];
	size_t got = 1;

	if (!audio_voice_pending(v) && (!c->stream || !SDL_AudioStreamAvailable(c->stream)))
		return false;
	if (!fit_converter(c, audio_voice_rate(v), s->out_rate))
		return false;
	while (got && SDL_AudioStreamAvailable(c->stream) < len) {
		got = audio_pull(v, buf, CHUNK);
		if (got && SDL_AudioStreamPut(c->stream, buf, (int)(got * sizeof(*buf))))
			return false;
	}
	for (int n; len > 0; len -= n, out += n) {
		n = SDL_AudioStreamGet(c->stream, part, MIN(len, (int)sizeof(part)));
		if (n <= 0)
			break;
		SDL_MixAudioFormat(out, part, AUDIO_S16SYS, (Uint32)n, SDL_MIX_MAXVOLUME);
	}
	return true;
}

static void play(void *opaque, Uint8 *out, int len)
{
	struct sdl_audio *s = opaque;
	bool any = false;

	memset(out, 0, (size_t)len);
	for (unsigned i = 0; i < AUDIO_MAX_VOICES; i++)
		if (!audio_voice_captures(audio_voice(s->audio, i)))
			any |= mix_voice(s, i, out, len);
	if (any)
		s->heard = host_now_ns();
}

/* Every voice that records hears the same; SDL has resampled to RATE. */
static void record(void *opaque, Uint8 *in, int len)
{
	struct sdl_audio *s = opaque;
	uint8_t part[4096];

	for (unsigned i = 0; i < AUDIO_MAX_VOICES; i++) {
		struct audio_voice *v = audio_voice(s->audio, i);
		struct converter *c = &s->conv[i];
		int n;

		if (!audio_voice_captures(v) || !audio_voice_running(v))
			continue;
		if (c->rate != audio_voice_rate(v)) {
			if (c->stream)
				SDL_FreeAudioStream(c->stream);
			c->rate = audio_voice_rate(v);
			c->stream = SDL_NewAudioStream(AUDIO_S16SYS, 2, RATE, AUDIO_S16SYS, 2,
						       (int)c->rate);
		}
		if (!c->stream || SDL_AudioStreamPut(c->stream, in, len))
			continue;
		while ((n = SDL_AudioStreamGet(c->stream, part, sizeof(part))) > 0)
			audio_push(v, (const uint32_t *)(const void *)part, (size_t)n / 4);
	}
}

/* ---- the thread ---- */

static void complain(struct sdl_audio *s, const char *what)
{
	if (!s->complained)
		log_warn("no sound: cannot %s (%s); the guest plays unheard, --sound none leaves "
			 "its sound card out", what, SDL_GetError());
	s->complained = true;
	s->retry_at = host_now_ns() + RETRY_NS;
}

static SDL_AudioDeviceID open_device(struct sdl_audio *s, bool capture)
{
	SDL_AudioSpec want = { .freq = RATE, .format = AUDIO_S16SYS, .channels = 2,
			       .samples = PERIOD, .callback = capture ? record : play,
			       .userdata = s }, have;
	SDL_AudioDeviceID id;

	if (host_now_ns() < s->retry_at)
		return 0;
	if (!s->sdl_up && SDL_InitSubSystem(SDL_INIT_AUDIO)) {
		complain(s, "reach the host's sound system");
		return 0;
	}
	s->sdl_up = true;
	id = SDL_OpenAudioDevice(NULL, capture, &want, &have,
				 capture ? 0 : SDL_AUDIO_ALLOW_FREQUENCY_CHANGE);
	if (!id) {
		complain(s, capture ? "open the host's microphone" : "open the host's speakers");
		return 0;
	}
	if (!capture)
		s->out_rate = have.freq;
	SDL_PauseAudioDevice(id, 0);
	return id;
}

static void close_device(struct sdl_audio *s, SDL_AudioDeviceID *id, bool capture)
{
	if (!*id)
		return;
	SDL_CloseAudioDevice(*id);
	*id = 0;
	for (unsigned i = 0; i < AUDIO_MAX_VOICES; i++) {
		if (audio_voice_captures(audio_voice(s->audio, i)) != capture)
			continue;
		if (s->conv[i].stream)
			SDL_FreeAudioStream(s->conv[i].stream);
		s->conv[i] = (struct converter){ 0 };
	}
}

/* Does a voice have something to play (@capture: does one record)? */
static bool wanted(struct sdl_audio *s, bool capture)
{
	for (unsigned i = 0; i < AUDIO_MAX_VOICES; i++) {
		const struct audio_voice *v = audio_voice(s->audio, i);

		if (audio_voice_captures(v) == capture &&
		    (capture ? audio_voice_running(v) : audio_voice_pending(v)))
			return true;
	}
	return false;
}

static void look(struct sdl_audio *s)
{
	bool mic = audio_mic(s->audio) == AUDIO_MIC_ON && wanted(s, true);

	if (!s->out && wanted(s, false)) {
		s->heard = host_now_ns();
		s->out = open_device(s, false);
	} else if (s->out && host_now_ns() - s->heard > IDLE_NS) {
		close_device(s, &s->out, false);
	}
	if (mic && !s->in)
		s->in = open_device(s, true);
	else if (!mic)
		close_device(s, &s->in, true);
}

/* Until something happens, or for LOOK_MS while a device is open.  false: the end. */
static bool wait_news(struct sdl_audio *s)
{
	struct timespec until;
	bool go;

	clock_gettime(CLOCK_MONOTONIC, &until);
	until.tv_nsec += LOOK_MS * 1000000l;
	until.tv_sec += until.tv_nsec / 1000000000l;
	until.tv_nsec %= 1000000000l;
	pthread_mutex_lock(&s->lock);
	while (!s->woken && !s->quit) {
		if (!s->out && !s->in)
			pthread_cond_wait(&s->cond, &s->lock);
		else if (pthread_cond_timedwait(&s->cond, &s->lock, &until))
			break;
	}
	s->woken = false;
	go = !s->quit;
	pthread_mutex_unlock(&s->lock);
	return go;
}

static void *sound_thread(void *arg)
{
	struct sdl_audio *s = arg;

	pthread_setname_np(pthread_self(), "sound");
	while (wait_news(s))
		look(s);
	close_device(s, &s->out, false);
	close_device(s, &s->in, true);
	if (s->sdl_up)
		SDL_QuitSubSystem(SDL_INIT_AUDIO);
	SDL_TLSCleanup();	/* no thread of SDL's: its error text */
	return NULL;
}

static void signal_thread(struct sdl_audio *s, bool quit)
{
	pthread_mutex_lock(&s->lock);
	s->woken = true;
	s->quit |= quit;
	pthread_cond_signal(&s->cond);
	pthread_mutex_unlock(&s->lock);
}

static void sdl_wake(struct audio *a)
{
	signal_thread(audio_opaque(a), false);
}

static void sdl_close(struct audio *a)
{
	struct sdl_audio *s = audio_opaque(a);

	signal_thread(s, true);
	pthread_join(s->thread, NULL);
	pthread_mutex_destroy(&s->lock);
	pthread_cond_destroy(&s->cond);
	free(s);
}

static const struct audio_backend sdl_backend = {
	.name = "sdl", .wake = sdl_wake, .close = sdl_close,
};

struct audio *audio_sdl_open(struct vclock *clk, struct err *e)
{
	struct sdl_audio *s = hv_zalloc(sizeof(*s));
	pthread_condattr_t attr;
	sigset_t all, old;
	int rc;

	SDL_SetHint(SDL_HINT_NO_SIGNAL_HANDLERS, "1");
	SDL_SetHint(SDL_HINT_AUDIO_DEVICE_APP_NAME, "hvrun");
	pthread_mutex_init(&s->lock, NULL);
	pthread_condattr_init(&attr);
	pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
	pthread_cond_init(&s->cond, &attr);
	pthread_condattr_destroy(&attr);
	s->audio = audio_new(&sdl_backend, clk, s);
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &old);
	rc = pthread_create(&s->thread, NULL, sound_thread, s);
	pthread_sigmask(SIG_SETMASK, &old, NULL);
	if (rc) {
		err_errno(e, HV_EXIT_HOST, rc, "cannot start the sound thread");
		free(s->audio);
		free(s);
		return NULL;
	}
	return s->audio;
}
