/* SPDX-License-Identifier: MIT */
/*
 * The widget layer: a panel is a short list of widgets that is rebuilt
 * whenever what it shows may have changed, keeps the focus over rebuilds, and
 * is drawn into a surface of its own, which a view blends over the picture.
 *
 * Everything can be reached by keyboard: arrows and Tab move the focus, Enter
 * and Space act, Escape closes; what does not fit the window scrolls after
 * the focus, by wheel and by page keys.  Sizes follow the user interface's
 * scale.
 * Main thread only.
 */
#ifndef HV_PANEL_H
#define HV_PANEL_H

#include "font.h"

#define PANEL_WIDGETS 64
#define PANEL_TEXT 160
#define PANEL_RIGHT 80
#define PANEL_END 100000	/* scroll: as far as it goes */

enum widget_kind {
	W_TITLE,	/* large text */
	W_TEXT,		/* a line to read */
	W_SEPARATOR,
	W_ITEM,		/* menu row: text left, key or arrow right */
	W_BUTTON,	/* sheets: side by side at the bottom */
	W_LIGHT,	/* strip: text; lit when checked */
	W_GAP,		/* strip: what follows goes to the right end */
	W_FIELD,	/* label, and a line of text to edit */
	W_CHOICE,	/* label, and one of several values: arrows or clicks change it */
	W_CHECK,	/* box and text; lit when checked */
};

struct widget {
	uint8_t kind;
	bool disabled, checked, danger;
	int id;			/* 0: takes no focus */
	SDL_Rect r;		/* in the panel */
	char text[PANEL_TEXT], right[PANEL_RIGHT];
	char *edit;		/* W_FIELD: the caller's buffer, of */
	size_t edit_len;	/* bytes */
};

enum panel_kind {
	PANEL_MENU,	/* column, as wide as its widest row */
	PANEL_SHEET,	/* question or note in the middle */
	PANEL_STRIP,	/* one row over the whole width */
};

struct panel {
	enum panel_kind kind;
	struct widget w[PANEL_WIDGETS];
	unsigned n;
	int focus;		/* widget index, -1: none */
	int hover;
	SDL_Point at;		/* of the top left, drawable pixels */
	int max_w;		/* buttons go below each other rather than wider; 0: no limit */
	int max_h;		/* what is higher scrolls, above the buttons; 0: no limit */
	int scroll;		/* pixels, */
	int body_h, view_h;	/* of what scrolls, and of the part of it that is seen */
	int shown_focus;	/* index of the widget that was scrolled to last */
	SDL_Surface *s;		/* ARGB8888; NULL before the first panel_end() */
	bool stacked;		/* the buttons are a column */
	size_t caret;		/* byte of the field that has the focus */
	double scale;		/* as drawn last */
	bool alarm;		/* red ground */
};

/*
 * Values that panel_key() and panel_mouse() return besides widget ids (> 0).
 * NEXT and PREV are wishes for the choice that has the focus; Enter in a
 * field, choice or check box is the panel's first button.
 */
enum { PANEL_NOTHING = 0, PANEL_CLOSE = -1, PANEL_BACK = -2, PANEL_MOVED = -3, PANEL_NEXT = -4,
       PANEL_PREV = -5, PANEL_EDITED = -6 };

void panel_begin(struct panel *p, enum panel_kind kind);
struct widget *panel_add(struct panel *p, enum widget_kind kind, int id, const char *text);
/* Lay out and draw.  @min_w: at least so many pixels wide (strips: exactly). */
void panel_end(struct panel *p, struct font *f, double scale, int min_w);
void panel_free(struct panel *p);

/* A key press: the id of the widget that acts, or PANEL_*. */
int panel_key(struct panel *p, SDL_Keycode key, SDL_Keymod mod);
/* Typed text, UTF-8: PANEL_EDITED when a field took it. */
int panel_type(struct panel *p, const char *utf8);
int panel_focus_id(const struct panel *p);		/* 0: none */
void panel_set_focus(struct panel *p, int id);
/* The pointer at window position @x, @y (drawable pixels); @press: button went down. */
int panel_mouse(struct panel *p, int x, int y, bool press);
bool panel_contains(const struct panel *p, int x, int y);
/* The wheel, @by rows up: PANEL_MOVED when that scrolled. */
int panel_wheel(struct panel *p, int by);

#endif
