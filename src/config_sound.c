/* SPDX-License-Identifier: MIT */
/* --sound CARD[,KEY=VALUE...] */
#include "config_int.h"
#include <stdlib.h>

#define USAGE(e, ...) err_set(e, HV_EXIT_USAGE, __VA_ARGS__)

static bool sound_card(struct config *c, const char *v, size_t n, struct err *e)
{
	static const char *const names[] = {
		[CFG_SOUND_NONE] = "none", [CFG_SOUND_HDA] = "hda", [CFG_SOUND_AC97] = "ac97",
		[CFG_SOUND_VIRTIO] = "virtio",
	};

	for (unsigned i = CFG_SOUND_NONE; i < ARRAY_SIZE(names); i++)
		if (strlen(names[i]) == n && !memcmp(v, names[i], n)) {
			c->sound = (enum cfg_sound)i;
			return true;
		}
	return USAGE(e, "--sound %.*s does not exist; use none, hda, ac97 or virtio", (int)n, v);
}

static bool sound_mic(struct config *c, const char *v, struct err *e)
{
	static const char *const names[] = {
		[AUDIO_MIC_OFF] = "off", [AUDIO_MIC_ON] = "on", [AUDIO_MIC_TONE] = "tone",
	};

	for (unsigned i = 0; i < ARRAY_SIZE(names); i++)
		if (!strcmp(v, names[i])) {
			c->sound_mic = (enum audio_mic)i;
			return true;
		}
	return USAGE(e, "--sound mic=%s does not exist; use off, on or tone", v);
}

/* backend= comes last: a file name may hold commas. */
bool config_sound(struct config *c, const char *v, struct err *e)
{
	size_t n = strcspn(v, ",");

	if (!sound_card(c, v, n, e))
		return false;
	for (v += n; *v; v += n) {
		v++;
		n = strcspn(v, ",");
		if (!strncmp(v, "backend=", 8)) {
			c->sound_backend = v + 8;
			return !strcmp(v + 8, "sdl") || !strcmp(v + 8, "none") ||
			       (!strncmp(v + 8, "wav:", 4) && v[12]) ||
			       USAGE(e, "--sound %s: use backend=sdl, backend=wav:FILE or "
				     "backend=none, as the last key", v);
		} else if (!strncmp(v, "mic=", 4)) {
			char word[8];

			snprintf(word, sizeof(word), "%.*s", (int)(n - 4), v + 4);
			if (!sound_mic(c, word, e))
				return false;
		} else {
			return USAGE(e, "--sound: unknown key '%.*s'; known: mic, backend", (int)n,
				     v);
		}
	}
	return true;
}
