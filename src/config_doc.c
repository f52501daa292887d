/* SPDX-License-Identifier: MIT */
/* --help and the OPTIONS section of hvrun(1), both from the option table. */
#include "config_int.h"

static void wrap_text(FILE *out, const char *text, unsigned indent, unsigned width)
{
	unsigned col = indent;

	while (*text) {
		size_t n = strcspn(text, " ");

		if (col > indent && col + 1 + n > width) {
			fprintf(out, "\n%*s", (int)indent, "");
			col = indent;
		} else if (col > indent) {
			fputc(' ', out);
			col++;
		}
		fwrite(text, 1, n, out);
		col += (unsigned)n;
		text += n + (text[n] == ' ');
	}
	fputc('\n', out);
}

void config_help(FILE *out)
{
	fputs("Usage: hvrun [OPTIONS] [FILE...]\n\n"
	      "Runs a second operating system. Each FILE is a disk image, an ISO image, a\n"
	      "floppy disk image (1.44 or 2.88 MB) or a kernel, told apart by its content.\n"
	      "hvrun img --help: making, checking and converting disk images.\n\n", out);
	for (unsigned i = 0; i < config_noptions; i++) {
		const struct option_row *o = &config_options[i];

		if (o->letter)
			fprintf(out, "  -%c, --%s", o->letter, o->name);
		else
			fprintf(out, "      --%s", o->name);
		fprintf(out, "%s%s\n          ", o->arg ? " " : "", o->arg ? o->arg : "");
		wrap_text(out, o->help, 10, 78);
	}
	fputs("\nExit status: 0 the guest powered off or the script was satisfied, 1 error,\n"
	      "3 expectation failed, 4 guest reset (--on-reset exit), 5 triple fault or engine\n"
	      "error, 6 image unreadable, 7 image in use, 8 no KVM, 9 host resources, 10 timeout\n"
	      "of a start that got nowhere, 64 wrong use, 124 timeout, 128+N signal N, 193+V\n"
	      "guest code V.\n", out);
}

/* roff needs its backslashes and leading dots escaped. */
static void man_text(FILE *out, const char *s)
{
	for (; *s; s++) {
		if (*s == '\\')
			fputs("\\e", out);
		else if (*s == '-')
			fputs("\\-", out);
		else
			fputc(*s, out);
	}
}

void config_man(FILE *out)
{
	for (unsigned i = 0; i < config_noptions; i++) {
		const struct option_row *o = &config_options[i];

		fputs(".TP\n.B ", out);
		if (o->letter)
			fprintf(out, "\\-%c, ", o->letter);
		fputs("\\-\\-", out);
		man_text(out, o->name);
		if (o->arg) {
			fputs(" \\fI", out);
			man_text(out, o->arg);
			fputs("\\fR", out);
		}
		fputc('\n', out);
		man_text(out, o->help);
		fputc('\n', out);
	}
}
