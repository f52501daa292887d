/* SPDX-License-Identifier: MIT */
/* UTF-16 file names, see utf16.h.  Unpaired surrogates are no names. */
#include "utf16.h"

static size_t put_utf8(char *out, uint32_t c)
{
	if (c < 0x80) {
		out[0] = (char)c;
		return 1;
	}
	if (c < 0x800) {
		out[0] = (char)(0xc0 | c >> 6);
		out[1] = (char)(0x80 | (c & 63));
		return 2;
	}
	if (c < 0x10000) {
		out[0] = (char)(0xe0 | c >> 12);
		out[1] = (char)(0x80 | (c >> 6 & 63));
		out[2] = (char)(0x80 | (c & 63));
		return 3;
	}
	out[0] = (char)(0xf0 | c >> 18);
	out[1] = (char)(0x80 | (c >> 12 & 63));
	out[2] = (char)(0x80 | (c >> 6 & 63));
	out[3] = (char)(0x80 | (c & 63));
	return 4;
}

static uint32_t unit(const uint8_t *p, bool big_endian)
{
	return big_endian ? ld_be16(p) : ld_le16(p);
}

bool utf16_to_path(const uint8_t *raw, size_t len, bool big_endian, char *out, size_t n)
{
	size_t at = 0;

	for (size_t i = 0; i + 2 <= len; i += 2) {
		uint32_t c = unit(raw + i, big_endian);

		if (!c)
			break;
		if (c >= 0xd800 && c < 0xe000) {
			uint32_t low = i + 4 <= len ? unit(raw + i + 2, big_endian) : 0;

			if (c >= 0xdc00 || low < 0xdc00 || low >= 0xe000)
				return false;
			c = 0x10000 + ((c & 0x3ff) << 10 | (low & 0x3ff));
			i += 2;
		}
		if (at + 5 > n)
			return false;
		at += put_utf8(out + at, c == '\\' ? '/' : c);
	}
	out[at] = '\0';
	while (!strncmp(out, "./", 2))
		memmove(out, out + 2, strlen(out + 2) + 1);
	return out[0] != '\0';
}

static const uint8_t *get_utf8(const uint8_t *p, uint32_t *c)
{
	unsigned more = *p < 0x80 ? 0 : *p < 0xe0 ? 1 : *p < 0xf0 ? 2 : 3;

	*c = *p < 0x80 ? *p : *p & (0x3f >> more);
	for (p++; more && (*p & 0xc0) == 0x80; more--)
		*c = *c << 6 | (*p++ & 0x3f);
	return p;
}

static size_t put(uint8_t *out, size_t at, size_t cap, bool big_endian, uint32_t c)
{
	if (at + 2 > cap)
		return cap + 1;
	if (big_endian)
		st_be16(out + at, (uint16_t)c);
	else
		st_le16(out + at, (uint16_t)c);
	return at + 2;
}

size_t path_to_utf16(const char *path, bool big_endian, uint8_t *out, size_t cap)
{
	const uint8_t *p = (const uint8_t *)path;
	size_t at = 0;
	uint32_t c;

	if (*path != '/') {
		at = put(out, at, cap, big_endian, '.');
		at = put(out, at, cap, big_endian, '\\');
	}
	while (*p && at <= cap) {
		p = get_utf8(p, &c);
		if (c > 0xffff) {
			at = put(out, at, cap, big_endian, 0xd800 | ((c - 0x10000) >> 10 & 0x3ff));
			c = 0xdc00 | (c & 0x3ff);
		}
		at = put(out, at, cap, big_endian, c == '/' ? '\\' : c);
	}
	return at > cap ? 0 : at;
}
