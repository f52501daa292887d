/* SPDX-License-Identifier: MIT */
/* Voices: rings, gain, microphone; the WAV file. */
#include "../lib/testvm.h"
#include "../../src/audio.h"
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

static unsigned wakes;

static void woken(struct audio *a)
{
	wakes++;
}

static const struct audio_backend pull_backend = { .name = "pull", .wake = woken };

static int16_t block[2 * 96000];

static void fill(unsigned n, int16_t l, int16_t r)
{
	for (unsigned i = 0; i < n; i++) {
		block[2 * i] = l;
		block[2 * i + 1] = r;
	}
}

/* A voice gathers 100 ms, plays without a hole, waits anew when dry, skips what is late. */
static void test_ring(void **st)
{
	struct vclock *clk = vclock_new(true);
	struct audio *a = audio_new(&pull_backend, clk, NULL);
	struct audio_voice *v = audio_voice_new(a, "v", false);
	static uint32_t out[AUDIO_RING];

	wakes = 0;
	audio_voice_start(v, 48000);
	assert_true(wakes == 1 && audio_playing(a));
	fill(4000, 1000, -1000);
	audio_play(v, block, 2500);
	assert_int_equal(wakes, 2);
	assert_int_equal(audio_pull(v, out, 100), 0);	/* 2500 < 4800 */
	audio_play(v, block, 2500);
	assert_int_equal(wakes, 2);			/* it was not empty */
	assert_int_equal(audio_pull(v, out, 3000), 3000);
	assert_true(out[2999] == audio_frame(1000, -1000));
	assert_in_range(audio_pull(v, out, 3000), 1999, 2080);	/* dry: gather again */
	audio_play(v, block, 3000);
	assert_int_equal(audio_pull(v, out, 100), 0);
	audio_voice_stop(v);				/* the end is heard */
	assert_in_range(audio_pull(v, out, 5000), 3000, 3001);
	assert_false(audio_voice_pending(v) || audio_playing(a));
	audio_voice_start(v, 48000);
	fill(30000, 5, 5);
	audio_play(v, block, 30000);			/* 625 ms wait: down to 100 ms */
	assert_int_equal(audio_pull(v, out, AUDIO_RING), 4800);
	for (unsigned i = 0; i < 4; i++)
		audio_play(v, block, 30000);		/* no room: dropped, never blocks */
	audio_voice_free(v);
	audio_close(a);
	vclock_free(clk);
}

/* The back end's clock is 1.5 % off for half a minute: no hole, hardly any drift. */
static void test_drift(void **st)
{
	struct vclock *clk = vclock_new(true);
	static uint32_t out[2000];

	for (unsigned take = 1008; take <= 1040; take += 32) {
		struct audio *a = audio_new(&pull_backend, clk, NULL);
		struct audio_voice *v = audio_voice_new(a, "v", false);
		int16_t last = 0;

		audio_voice_start(v, 48000);
		for (unsigned i = 0; i < 1400; i++) {	/* a slow ramp, up and down */
			for (unsigned k = 0; k < 1024; k++) {
				unsigned t = (i * 1024 + k) % 60000;

				block[2 * k] = (int16_t)(t < 30000 ? t : 60000 - t);
				block[2 * k + 1] = (int16_t)-block[2 * k];
			}
			audio_play(v, block, 1024);
			if (i < 5)
				continue;
			assert_int_equal(audio_pull(v, out, take), take);
			for (unsigned k = 0; k < take; k++) {
				assert_in_range(audio_left(out[k]) - last + 2, 0, 4);
				assert_int_equal(audio_left(out[k]), -audio_right(out[k]));
				last = audio_left(out[k]);
			}
		}
		audio_close(a);
	}
	vclock_free(clk);
}

static void *player(void *arg)
{
	struct audio_voice *v = arg;
	int16_t f[2 * 64];

	for (unsigned n = 0; n < 300000;) {
		for (unsigned i = 0; i < 64; i++, n++) {
			f[2 * i] = (int16_t)(n % 30000);
			f[2 * i + 1] = (int16_t)-f[2 * i];
		}
		audio_play(v, f, 64);
	}
	return NULL;
}

/* Guest and host on two threads: each frame arrives whole. */
static void test_threads(void **st)
{
	struct vclock *clk = vclock_new(true);
	struct audio *a = audio_new(&pull_backend, clk, NULL);
	struct audio_voice *v = audio_voice_new(a, "v", false);
	uint32_t out[512];
	pthread_t t;
	size_t total = 0;

	audio_voice_start(v, 48000);
	assert_int_equal(pthread_create(&t, NULL, player, v), 0);
	for (unsigned i = 0; i < 2000; i++) {
		size_t got = audio_pull(v, out, 512);

		for (size_t k = 0; k < got; k++) {
			assert_int_equal(audio_left(out[k]), -audio_right(out[k]));
		}
		total += got;
	}
	pthread_join(t, NULL);
	assert_true(audio_voice_pending(v) || total);
	audio_close(a);
	vclock_free(clk);
}

static void test_gain(void **st)
{
	struct vclock *clk = vclock_new(true);
	struct audio *a = audio_new(&pull_backend, clk, NULL);
	struct audio_voice *v = audio_voice_new(a, "v", false);
	uint32_t out[4];

	audio_voice_start(v, 8000);
	audio_voice_gain(v, AUDIO_UNITY / 2, 1u << 30);	/* never above 1 */
	fill(1000, INT16_MIN, INT16_MIN);
	audio_play(v, block, 1000);
	assert_int_equal(audio_pull(v, out, 4), 4);
	assert_true(audio_left(out[0]) == -16384 && audio_right(out[0]) == INT16_MIN);
	for (unsigned i = 1; i < AUDIO_MAX_VOICES; i++)
		assert_non_null(audio_voice_new(a, "v", false));
	assert_null(audio_voice_new(a, "one too many", false));
	assert_null(audio_voice_new(NULL, "no back end", false));
	audio_voice_start(NULL, 48000);			/* nobody hears: no harm */
	audio_play(NULL, block, 10);
	audio_voice_stop(NULL);
	audio_voice_free(NULL);
	audio_close(a);
	vclock_free(clk);
}

static unsigned rises(const int16_t *s, unsigned n)
{
	unsigned count = 0;

	for (unsigned i = 1; i < n; i++)
		count += s[2 * i - 2] < 0 && s[2 * i] >= 0;
	return count;
}

static void test_microphone(void **st)
{
	struct vclock *clk = vclock_new(true);
	struct audio *a = audio_new(&pull_backend, clk, NULL);
	struct audio_voice *v = audio_voice_new(a, "mic", true);
	uint32_t said[3] = { audio_frame(1, 2), audio_frame(3, 4), audio_frame(5, 6) };

	audio_voice_start(v, 44100);
	fill(44100, 7, 7);
	audio_record(v, block, 44100);			/* off: silence */
	assert_int_equal(rises(block, 44100), 0);
	assert_true(!block[0] && !block[88199]);
	audio_set_mic(a, AUDIO_MIC_TONE);
	audio_record(v, block, 22050);			/* without a step at the seam */
	audio_record(v, block + 44100, 22050);
	assert_in_range(rises(block, 44100), 439, 440);
	audio_set_mic(a, AUDIO_MIC_ON);
	for (unsigned i = 0; i < 5000; i++)
		audio_push(v, said, 1);
	audio_voice_start(v, 44100);			/* said before: not heard */
	audio_record(v, block, 5);
	assert_int_equal(block[0], 0);
	audio_push(v, said, 3);
	audio_record(v, block, 5);			/* gathers first */
	assert_int_equal(block[0], 0);
	for (unsigned i = 0; i < 5000; i++)
		audio_push(v, said + 1, 1);
	audio_record(v, block, 5);
	assert_true(block[0] == 1 && block[5] == 6 && block[6] == 3 && block[9] == 4);
	audio_record(NULL, block, 5);
	audio_close(a);
	vclock_free(clk);
}

static char path[64];

/* Samples of the WAV file at @path; checks its header. */
static unsigned read_wav(int16_t *out, unsigned max)
{
	uint8_t h[44];
	FILE *f = fopen(path, "rb");
	unsigned n;

	assert_non_null(f);
	assert_int_equal(fread(h, 1, 44, f), 44);
	assert_memory_equal(h, "RIFF", 4);
	assert_memory_equal(h + 8, "WAVEfmt ", 8);
	assert_true(ld_le16(h + 20) == 1 && ld_le16(h + 22) == 2 && ld_le32(h + 24) == 48000 &&
		    ld_le16(h + 34) == 16);
	n = (unsigned)fread(out, 4, max, f);
	fclose(f);
	assert_int_equal(ld_le32(h + 40), n * 4);
	assert_int_equal(ld_le32(h + 4), n * 4 + 36);
	return n;
}

/* Two voices on one time line: mixed where both sound, clipped, a long pause shortened. */
static void test_wav(void **st)
{
	static int16_t got[2 * 400000];
	struct vclock *clk = vclock_new(true);
	struct err e = { 0 };
	struct audio_voice *v, *w;
	struct audio *a;
	char spec[80];
	unsigned n;

	snprintf(path, sizeof(path), "/tmp/hvrun-wav-%d", (int)getpid());
	snprintf(spec, sizeof(spec), "wav:%s", path);
	a = audio_open(spec, clk, &e);
	assert_non_null(a);
	v = audio_voice_new(a, "v", false);
	w = audio_voice_new(a, "w", false);
	vclock_advance(clk, 3 * NS_PER_SEC);	/* silence before the first sound is not kept */
	audio_voice_start(v, 48000);
	audio_voice_start(w, 24000);
	fill(48000, 20000, -20000);
	audio_play(v, block, 48000);
	vclock_advance(clk, NS_PER_SEC / 2);
	audio_voice_start(w, 24000);		/* from the middle, at another rate */
	audio_play(w, block, 24000);
	audio_voice_stop(v);
	vclock_advance(clk, 100 * NS_PER_SEC);
	audio_voice_start(v, 48000);
	audio_play(v, block, 10);
	audio_close(a);
	n = read_wav(got, 400000);
	assert_int_equal(n, 24000 + 48000 + 48000 + 10);
	assert_true(got[2 * 100] == 20000 && got[2 * 100 + 1] == -20000);
	assert_true(got[2 * 40000] == 32767 && got[2 * 40000 + 1] == -32768);
	assert_true(got[2 * 60000] == 20000 && got[2 * 80000] == 0 && got[2 * 120005] == 20000);
	unlink(path);
	vclock_free(clk);
}

static void test_open(void **st)
{
	struct vclock *clk = vclock_new(true);
	struct err e = { 0 };
	struct audio *a = audio_open("none", clk, &e);

	assert_non_null(a);
	audio_close(a);
	assert_null(audio_open("wav:/no/such/folder/x.wav", clk, &e));
	assert_int_equal(e.exit_code, HV_EXIT_HOST);
	assert_null(audio_open("oss", clk, &e));
	assert_int_equal(e.exit_code, HV_EXIT_USAGE);
	audio_close(NULL);
	vclock_free(clk);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_ring), cmocka_unit_test(test_drift),
		cmocka_unit_test(test_threads),
		cmocka_unit_test(test_gain),
		cmocka_unit_test(test_microphone), cmocka_unit_test(test_wav),
		cmocka_unit_test(test_open),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
