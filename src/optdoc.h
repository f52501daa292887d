/* SPDX-License-Identifier: MIT */
/* One option as documentation sees it: what --help, hvrun(1) and shell completions print. */
#ifndef HV_OPTDOC_H
#define HV_OPTDOC_H

#include <stdbool.h>
#include <stdio.h>

struct option_doc {
	const char *name;	/* without "--" */
	char letter;		/* 0: none */
	const char *arg;	/* NULL: a flag; "a|b|FILE": words in small letters are values */
	const char *help;
};

/* @text below its option, indented and broken at 78 columns, with a line end. */
void optdoc_help(FILE *out, const char *text);
/* @text with what roff would take for its own (backslash, dash) escaped; no line end. */
void optdoc_roff(FILE *out, const char *text);

#endif
