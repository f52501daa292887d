/* SPDX-License-Identifier: MIT */
/* One option as documentation sees it: what --help, hvrun(1) and shell completions print. */
#ifndef HV_OPTDOC_H
#define HV_OPTDOC_H

#include <stdbool.h>

struct option_doc {
	const char *name;	/* without "--" */
	char letter;		/* 0: none */
	const char *arg;	/* NULL: a flag; "a|b|FILE": words in small letters are values */
	const char *help;
};

#endif
