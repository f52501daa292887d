/* SPDX-License-Identifier: MIT */
/* Sizes, times and escapes as they are written on the command line. */
#include "config.h"
#include <ctype.h>
#include <errno.h>
#include <stdlib.h>

bool config_size(const char *s, bool mib, uint64_t *out)
{
	static const char units[] = "KMGT";
	unsigned long long v;
	const char *u;
	unsigned shift = mib ? 20 : 0;
	char *end;

	errno = 0;
	v = strtoull(s, &end, 10);
	if (end == s || errno || !isdigit((unsigned char)*s))
		return false;
	if (*end) {
		u = strchr(units, toupper((unsigned char)*end));
		if (!u)
			return false;
		shift = 10 * (unsigned)(u - units + 1);
		end++;
		if (!strcasecmp(end, "iB") || !strcasecmp(end, "B"))
			end += strlen(end);
	}
	if (*end || (v << shift) >> shift != v)
		return false;
	*out = (uint64_t)v << shift;
	return true;
}

bool config_time_ms(const char *s, uint64_t *out)
{
	static const struct { const char *unit; uint64_t ms; } units[] = {
		{ "", 1000 }, { "s", 1000 }, { "ms", 1 }, { "m", 60000 }, { "h", 3600000 },
	};
	char *end;
	double v;

	if (!isdigit((unsigned char)*s))
		return false;
	v = strtod(s, &end);
	for (unsigned i = 0; i < ARRAY_SIZE(units); i++) {
		if (strcmp(end, units[i].unit))
			continue;
		if (!(v * (double)units[i].ms <= 1e12))
			return false;
		*out = (uint64_t)(v * (double)units[i].ms);
		return true;
	}
	return false;
}

static int hex_digit(char c)
{
	return c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 :
	       c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

size_t config_unescape(const char *s, char *out)
{
	static const char from[] = "nrte\\", to[] = "\n\r\t\x1b\\";
	size_t n = 0;

	for (; *s; s++) {
		const char *p;

		if (*s != '\\' || !s[1]) {
			out[n++] = *s;
			continue;
		}
		s++;
		p = strchr(from, *s);
		if (p) {
			out[n++] = to[p - from];
		} else if (*s == 'x' && hex_digit(s[1]) >= 0 && hex_digit(s[2]) >= 0) {
			out[n++] = (char)(hex_digit(s[1]) << 4 | hex_digit(s[2]));
			s += 2;
		} else {
			out[n++] = '\\';
			out[n++] = *s;
		}
	}
	return n;
}
