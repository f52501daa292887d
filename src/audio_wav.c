/* SPDX-License-Identifier: MIT */
/*
 * Sound into a WAV file: 48 kHz, stereo, 16 bits (RIFF WAVE, format 1).
 *
 * The file's time is the machine's: voices that sound together are mixed,
 * and a pause between two sounds is kept, but never more than a second of it
 * when nothing else sounds.  Other rates are interpolated linearly.
 */
#include "audio.h"
#include "clock.h"
#include "log.h"
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

#define RATE 48000u
#define HEADER 44u
#define MAX_FRAMES ((UINT32_MAX - HEADER) / 4)	/* sizes in the header have 32 bits */
#define MAX_GAP RATE
#define CHUNK 2048u

struct wav_voice {
	unsigned starts;	/* audio_voice_starts() that the place belongs to */
	uint64_t at;		/* next frame of the file */
	uint32_t acc;		/* time since the last frame, in 1 / (RATE * rate) s */
	uint32_t last;		/* the frame before */
};

struct wav {
	int fd;
	char *path;
	bool failed;
	uint64_t origin;	/* virtual ns of frame 0 */
	uint64_t end;		/* frames in the file */
	uint64_t in_header;	/* frames that the header tells */
	struct wav_voice voices[AUDIO_MAX_VOICES];
	unsigned n;
	uint32_t buf[CHUNK];
};

static bool write_header(struct wav *w)
{
	uint8_t h[HEADER] = "RIFF....WAVEfmt ";
	uint32_t bytes = (uint32_t)(w->end * 4);

	st_le32(h + 4, bytes + HEADER - 8);
	st_le32(h + 16, 16);
	st_le16(h + 20, 1);		/* PCM */
	st_le16(h + 22, 2);
	st_le32(h + 24, RATE);
	st_le32(h + 28, RATE * 4);
	st_le16(h + 32, 4);
	st_le16(h + 34, 16);
	memcpy(h + 36, "data", 4);
	st_le32(h + 40, bytes);
	w->in_header = w->end;
	return pwrite(w->fd, h, sizeof(h), 0) == (ssize_t)sizeof(h);
}

static int16_t add(int16_t a, int16_t b)
{
	int sum = a + b;

	return (int16_t)(sum > INT16_MAX ? INT16_MAX : sum < INT16_MIN ? INT16_MIN : sum);
}

/* Add @n frames of w->buf to the file at frame @at. */
static bool mix(struct wav *w, uint64_t at, unsigned n)
{
	uint32_t old[CHUNK];
	off_t off = (off_t)(HEADER + at * 4);
	unsigned there = at < w->end ? (unsigned)MIN(w->end - at, n) : 0;

	if (there && pread(w->fd, old, there * 4, off) != (ssize_t)(there * 4))
		return false;
	for (unsigned i = 0; i < there; i++)
		w->buf[i] = audio_frame(add(audio_left(w->buf[i]), audio_left(old[i])),
					add(audio_right(w->buf[i]), audio_right(old[i])));
	if (pwrite(w->fd, w->buf, n * 4, off) != (ssize_t)(n * 4))
		return false;
	w->end = MAX(w->end, at + n);
	return w->end < w->in_header + RATE || write_header(w);
}

static void flush(struct wav *w, struct wav_voice *p)
{
	if (!w->n || w->failed)
		return;
	if (p->at + w->n > MAX_FRAMES) {
		log_warn("%s has reached the size limit of WAV files; no more sound is saved",
			 w->path);
		w->failed = true;
	} else if (!mix(w, p->at, w->n)) {
		log_warn("cannot write %s (%s); no more sound is saved", w->path, strerror(errno));
		w->failed = true;
	}
	p->at += w->n;
	w->n = 0;
}

/* Where a voice that begins now lands. */
static void begin(struct wav *w, struct wav_voice *p, uint64_t now)
{
	uint64_t at;

	if (!w->end)
		w->origin = now;
	at = muldiv64(now - MIN(now, w->origin), RATE, NS_PER_SEC);
	if (at > w->end + MAX_GAP) {
		w->origin += muldiv64(at - w->end - MAX_GAP, NS_PER_SEC, RATE);
		at = w->end + MAX_GAP;
	}
	p->at = at;
	p->acc = 0;
	p->last = 0;
}

static int16_t between(int16_t a, int16_t b, uint32_t acc)
{
	return (int16_t)(a + (int64_t)(b - a) * acc / RATE);
}

static void wav_play(struct audio *a, struct audio_voice *v, const uint32_t *frames, size_t n)
{
	struct wav *w = audio_opaque(a);
	struct wav_voice *p = &w->voices[audio_voice_index(a, v)];
	unsigned rate = audio_voice_rate(v);

	if (p->starts != audio_voice_starts(v)) {
		p->starts = audio_voice_starts(v);
		begin(w, p, vclock_now(audio_clock(a)));
	}
	for (size_t i = 0; i < n; i++) {
		for (; p->acc < RATE; p->acc += rate) {
			w->buf[w->n++] = audio_frame(
				between(audio_left(p->last), audio_left(frames[i]), p->acc),
				between(audio_right(p->last), audio_right(frames[i]), p->acc));
			if (w->n == CHUNK)
				flush(w, p);
		}
		p->acc -= RATE;
		p->last = frames[i];
	}
	flush(w, p);
}

static void wav_close(struct audio *a)
{
	struct wav *w = audio_opaque(a);

	if (!write_header(w) && !w->failed)
		log_warn("cannot write %s (%s)", w->path, strerror(errno));
	close(w->fd);
	free(w->path);
	free(w);
}

static const struct audio_backend wav_backend = {
	.name = "wav", .play = wav_play, .close = wav_close,
};

struct audio *audio_wav_open(const char *path, struct vclock *clk, struct err *e)
{
	struct wav *w = hv_zalloc(sizeof(*w));

	w->fd = open(path, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
	if (w->fd < 0 || !write_header(w)) {
		err_errno(e, HV_EXIT_HOST, errno, "cannot write the sound file %s", path);
		if (w->fd >= 0)
			close(w->fd);
		free(w);
		return NULL;
	}
	w->path = hv_strdup(path);
	return audio_new(&wav_backend, clk, w);
}
