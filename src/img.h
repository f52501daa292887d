/* SPDX-License-Identifier: MIT */
/* `hvrun img`: create, inspect, convert and change disk images without a guest. */
#ifndef HV_IMG_H
#define HV_IMG_H

#include "optdoc.h"
#include <stdio.h>

/* argv[0] is "img"; the exit code. */
int img_main(int argc, char **argv);
/* The DISK IMAGES section of hvrun(1). */
void img_man(FILE *out);
/* Its options and commands one by one, for completions: false, NULL past the end. */
bool img_option_doc(unsigned i, struct option_doc *out);
const char *img_command_name(unsigned i);

#endif
