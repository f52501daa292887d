/* SPDX-License-Identifier: MIT */
/* JSON on a stream, two blanks a level: just what `hvrun img --json` prints. */
#include "img_int.h"

/* Bytes of the UTF-8 character at @s; 0: it is none (file names need not be text). */
static unsigned utf8(const char *s)
{
	uint8_t c = (uint8_t)*s, second = (uint8_t)s[1];
	unsigned n = c < 0x80 ? 1 : c >= 0xc2 && c < 0xe0 ? 2 : (c & 0xf0) == 0xe0 ? 3 :
		     c >= 0xf0 && c < 0xf5 ? 4 : 0;

	for (unsigned i = 1; i < n; i++)
		if ((s[i] & 0xc0) != 0x80)
			return 0;
	/* too long, surrogates, past the last one */
	if ((c == 0xe0 && second < 0xa0) || (c == 0xed && second > 0x9f) ||
	    (c == 0xf0 && second < 0x90) || (c == 0xf4 && second > 0x8f))
		return 0;
	return n;
}

static void text(FILE *f, const char *s)
{
	fputc('"', f);
	for (unsigned n; *s; s += n) {
		n = utf8(s);
		if (*s == '"' || *s == '\\')
			fprintf(f, "\\%c", *s);
		else if ((unsigned char)*s < 0x20)
			fprintf(f, "\\u%04x", (unsigned char)*s);
		else if (n)
			fwrite(s, 1, n, f);
		else
			fputs("\\ufffd", f);
		n = n ? n : 1;
	}
	fputc('"', f);
}

static void start(struct img_json *j, const char *key)
{
	if (j->more)
		fputc(',', j->out);
	if (j->depth)
		fprintf(j->out, "\n%*s", (int)j->depth * 2, "");
	if (key) {
		text(j->out, key);
		fputs(": ", j->out);
	}
	j->more = true;
}

void json_begin(struct img_json *j, const char *key, char bracket)
{
	start(j, key);
	fputc(bracket, j->out);
	j->depth++;
	j->more = false;
}

void json_end(struct img_json *j, char bracket)
{
	j->depth--;
	if (j->more)
		fprintf(j->out, "\n%*s", (int)j->depth * 2, "");
	fputc(bracket, j->out);
	j->more = true;
	if (!j->depth)
		fputc('\n', j->out);
}

void json_string(struct img_json *j, const char *key, const char *v)
{
	start(j, key);
	text(j->out, v);
}

void json_number(struct img_json *j, const char *key, uint64_t v)
{
	start(j, key);
	fprintf(j->out, "%llu", (unsigned long long)v);
}

void json_bool(struct img_json *j, const char *key, bool v)
{
	start(j, key);
	fputs(v ? "true" : "false", j->out);
}
