/* SPDX-License-Identifier: MIT */
/* Text of --help and hvrun(1); see optdoc.h. */
#include "optdoc.h"
#include <string.h>

#define INDENT 10
#define WIDTH 78

void optdoc_help(FILE *out, const char *text)
{
	size_t col = INDENT;

	fprintf(out, "%*s", INDENT, "");
	while (*text) {
		size_t n = strcspn(text, " ");

		if (col > INDENT && col + 1 + n > WIDTH) {
			fprintf(out, "\n%*s", INDENT, "");
			col = INDENT;
		} else if (col > INDENT) {
			fputc(' ', out);
			col++;
		}
		fwrite(text, 1, n, out);
		col += n;
		text += n + (text[n] == ' ');
	}
	fputc('\n', out);
}

void optdoc_roff(FILE *out, const char *text)
{
	for (; *text; text++) {
		if (*text == '\\')
			fputs("\\e", out);
		else if (*text == '-')
			fputs("\\-", out);
		else
			fputc(*text, out);
	}
}
