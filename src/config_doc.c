/* SPDX-License-Identifier: MIT */
/* --help and the OPTIONS section of hvrun(1), both from the option table. */
#include "config_int.h"
#include "optdoc.h"

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
		fprintf(out, "%s%s\n", o->arg ? " " : "", o->arg ? o->arg : "");
		optdoc_help(out, o->help);
	}
	fputs("\nExit status: 0 the guest powered off or the script was satisfied, 1 error,\n"
	      "3 expectation failed, 4 guest reset (--on-reset exit), 5 triple fault or engine\n"
	      "error, 6 image unreadable, 7 image in use, 8 no KVM, 9 host resources, 10 timeout\n"
	      "of a start that got nowhere, 64 wrong use, 124 timeout, 128+N signal N, 193+V\n"
	      "guest code V.\n", out);
}

void config_man(FILE *out)
{
	for (unsigned i = 0; i < config_noptions; i++) {
		const struct option_row *o = &config_options[i];

		fputs(".TP\n.B ", out);
		if (o->letter)
			fprintf(out, "\\-%c, ", o->letter);
		fputs("\\-\\-", out);
		optdoc_roff(out, o->name);
		if (o->arg) {
			fputs(" \\fI", out);
			optdoc_roff(out, o->arg);
			fputs("\\fR", out);
		}
		fputc('\n', out);
		optdoc_roff(out, o->help);
		fputc('\n', out);
	}
}
