/* SPDX-License-Identifier: MIT */
/*
 * Between panel.c, which lays panels out and draws them, and panel_input.c,
 * which has their focus, keys and pointer.
 */
#ifndef HV_PANEL_INT_H
#define HV_PANEL_INT_H

#include "panel.h"

#define PANEL_LABEL_W 130	/* of fields and choices, units of layout */

bool panel_is_input(const struct widget *w);
bool panel_can_focus(const struct widget *w);
/* The next widget that takes the focus, @by 1 or -1; -1: there is none. */
int panel_step_focus(const struct panel *p, int from, int by);
void panel_take_focus(struct panel *p, int i);
int panel_first_button(const struct panel *p);	/* its id; PANEL_NOTHING: none */
/* Stays where it is while the rest scrolls: a sheet's row of buttons. */
static inline bool panel_stays(const struct panel *p, const struct widget *w)
{
	return w->kind == W_BUTTON && !p->stacked;
}

#endif
