/* SPDX-License-Identifier: MIT */
/* Texts in the user's language; catalogues are in ui/po/. */
#ifndef HV_TEXT_H
#define HV_TEXT_H

#include <libintl.h>

#define _(s) gettext(s)
#define N_(s) (s)

void text_open(void);	/* once, before the first text */

#endif
