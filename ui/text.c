/* SPDX-License-Identifier: MIT */
/* The user's language: gettext with the catalogues beside the program, or installed. */
#include "text.h"
#include "../src/util.h"
#include <limits.h>
#include <locale.h>
#include <stdio.h>
#include <unistd.h>

/* PREFIX/share/locale of PREFIX/bin/hvrun; build/locale of build/VARIANT/hvrun. */
static bool find_catalogues(char *out, size_t len)
{
	static const char *const places[] = { "../share/locale", "../locale", "locale" };
	char exe[PATH_MAX];
	ssize_t n = readlink("/proc/self/exe", exe, sizeof(exe) - 1);
	char *slash;

	if (n <= 0)
		return false;
	exe[n] = 0;
	slash = strrchr(exe, '/');
	if (slash)
		*slash = 0;
	for (size_t i = 0; i < ARRAY_SIZE(places); i++) {
		int m = snprintf(out, len, "%s/%s", exe, places[i]);

		if (m > 0 && (size_t)m < len && access(out, R_OK) == 0)
			return true;
	}
	return false;
}

void text_open(void)
{
	char dir[PATH_MAX + 32];

	/*
	 * Texts only: numbers keep their point, and libX11 writes no window
	 * names that other programs cannot read in locales it does not know.
	 */
	setlocale(LC_MESSAGES, "");
	if (find_catalogues(dir, sizeof(dir)))
		bindtextdomain("hvrun", dir);
	bind_textdomain_codeset("hvrun", "UTF-8");
	textdomain("hvrun");
}
