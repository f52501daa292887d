/* SPDX-License-Identifier: MIT */
/* JSON on a stream, two blanks a level: just what `hvrun img --json` prints. */
#include "img_int.h"

static void text(FILE *f, const char *s)
{
	fputc('"', f);
	for (; *s; s++) {
		if (*s == '"' || *s == '\\')
			fprintf(f, "\\%c", *s);
		else if ((unsigned char)*s < 0x20)
			fprintf(f, "\\u%04x", (unsigned char)*s);
		else
			fputc(*s, f);
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
