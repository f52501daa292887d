/* SPDX-License-Identifier: MIT */
/* Focus, keys, typed text and pointer of panels; see panel.h. */
#include "panel_int.h"
#include "../src/util.h"

/* ---- focus ----------------------------------------------------------------------- */

bool panel_is_input(const struct widget *w)
{
	return w->kind == W_FIELD || w->kind == W_CHOICE || w->kind == W_CHECK;
}

bool panel_can_focus(const struct widget *w)
{
	return w->id > 0 && !w->disabled &&
	       (w->kind == W_ITEM || w->kind == W_BUTTON || panel_is_input(w));
}

int panel_step_focus(const struct panel *p, int from, int by)
{
	int n = (int)p->n, i = from;

	for (int k = 0; k < n; k++) {
		i = (i + by + n) % n;
		if (panel_can_focus(&p->w[i]))
			return i;
	}
	return -1;
}

void panel_take_focus(struct panel *p, int i)
{
	p->focus = i;
	if (i >= 0 && p->w[i].kind == W_FIELD)
		p->caret = strlen(p->w[i].edit);
}

int panel_first_button(const struct panel *p)
{
	for (unsigned i = 0; i < p->n; i++)
		if (p->w[i].kind == W_BUTTON && panel_can_focus(&p->w[i]))
			return p->w[i].id;
	return PANEL_NOTHING;
}

int panel_focus_id(const struct panel *p)
{
	return p->focus >= 0 && p->focus < (int)p->n ? p->w[p->focus].id : 0;
}

void panel_set_focus(struct panel *p, int id)
{
	for (unsigned i = 0; i < p->n; i++)
		if (p->w[i].id == id && panel_can_focus(&p->w[i]))
			panel_take_focus(p, (int)i);
}

static struct widget *focused(struct panel *p, enum widget_kind kind)
{
	return p->focus >= 0 && p->focus < (int)p->n && p->w[p->focus].kind == kind ?
	       &p->w[p->focus] : NULL;
}

static void cut_out(struct widget *w, size_t from, size_t to)
{
	memmove(w->edit + from, w->edit + to, strlen(w->edit + to) + 1);
}

static size_t before(const char *s, size_t at)
{
	while (at && ((unsigned char)s[--at] & 0xc0) == 0x80)
		;
	return at;
}

static size_t after(const char *s, size_t at)
{
	if (s[at])
		at++;
	while (((unsigned char)s[at] & 0xc0) == 0x80)
		at++;
	return at;
}

int panel_type(struct panel *p, const char *utf8)
{
	struct widget *w = focused(p, W_FIELD);
	size_t n = strlen(utf8), len;

	if (!w)
		return PANEL_NOTHING;
	len = strlen(w->edit);
	p->caret = MIN(p->caret, len);
	if (len + n >= w->edit_len || strpbrk(utf8, "\n\r\t"))
		return PANEL_NOTHING;
	memmove(w->edit + p->caret + n, w->edit + p->caret, len - p->caret + 1);
	memcpy(w->edit + p->caret, utf8, n);
	p->caret += n;
	return PANEL_EDITED;
}

/* Keys that a field keeps; PANEL_NOTHING: not one of them. */
static int field_key(struct panel *p, struct widget *w, SDL_Keycode key)
{
	size_t len = strlen(w->edit), at = p->caret = MIN(p->caret, len);

	switch (key) {
	case SDLK_LEFT:
		p->caret = before(w->edit, at);
		return PANEL_MOVED;
	case SDLK_RIGHT:
		p->caret = after(w->edit, at);
		return PANEL_MOVED;
	case SDLK_HOME:
		p->caret = 0;
		return PANEL_MOVED;
	case SDLK_END:
		p->caret = len;
		return PANEL_MOVED;
	case SDLK_BACKSPACE:
		p->caret = before(w->edit, at);
		cut_out(w, p->caret, at);
		return PANEL_EDITED;
	case SDLK_DELETE:
		cut_out(w, at, after(w->edit, at));
		return PANEL_EDITED;
	default:
		return PANEL_NOTHING;
	}
}

static int act(const struct panel *p, SDL_Keycode key)
{
	const struct widget *w = p->focus >= 0 ? &p->w[p->focus] : NULL;

	if (!w)
		return PANEL_NOTHING;
	if (key == SDLK_SPACE && w->kind == W_FIELD)
		return PANEL_NOTHING;	/* comes as text */
	if (key == SDLK_SPACE && w->kind == W_CHOICE)
		return PANEL_NEXT;
	return key != SDLK_SPACE && panel_is_input(w) ? panel_first_button(p) : w->id;
}

/* Left and right: out of and into submenus, through choices, else to the neighbour. */
static int sideways(struct panel *p, int by)
{
	if (p->kind == PANEL_MENU)
		return by < 0 ? PANEL_BACK : p->focus >= 0 ? p->w[p->focus].id : PANEL_NOTHING;
	if (focused(p, W_CHOICE))
		return by < 0 ? PANEL_PREV : PANEL_NEXT;
	panel_take_focus(p, panel_step_focus(p, p->focus, by));
	return PANEL_MOVED;
}

static int scroll_by(struct panel *p, int by)
{
	int was = p->scroll;

	p->scroll = MAX(MIN(was + by, p->body_h - p->view_h), 0);
	return p->scroll != was ? PANEL_MOVED : PANEL_NOTHING;
}

int panel_wheel(struct panel *p, int by)
{
	return scroll_by(p, -(int)(by * 40 * p->scale));
}

/* Nothing but buttons to go to: the arrows scroll. */
static bool only_text(const struct panel *p)
{
	for (unsigned i = 0; i < p->n; i++)
		if (panel_can_focus(&p->w[i]) && !panel_stays(p, &p->w[i]))
			return false;
	return p->view_h < p->body_h;
}

static int up_down(struct panel *p, int by)
{
	if (only_text(p))
		return panel_wheel(p, -by);
	panel_take_focus(p, panel_step_focus(p, p->focus, by));
	return PANEL_MOVED;
}

int panel_key(struct panel *p, SDL_Keycode key, SDL_Keymod mod)
{
	struct widget *field = focused(p, W_FIELD);
	int hit = field ? field_key(p, field, key) : PANEL_NOTHING, by = 1;

	if (hit != PANEL_NOTHING)
		return hit;
	switch (key) {
	case SDLK_ESCAPE:
		return PANEL_CLOSE;
	case SDLK_RETURN:
	case SDLK_KP_ENTER:
	case SDLK_SPACE:
		return act(p, key);
	case SDLK_LEFT:
		return sideways(p, -1);
	case SDLK_RIGHT:
		return sideways(p, 1);
	case SDLK_TAB:
		by = mod & KMOD_SHIFT ? -1 : 1;
		break;
	case SDLK_DOWN:
		return up_down(p, 1);
	case SDLK_UP:
		return up_down(p, -1);
	case SDLK_PAGEDOWN:
		return scroll_by(p, p->view_h * 3 / 4);
	case SDLK_PAGEUP:
		return scroll_by(p, -p->view_h * 3 / 4);
	default:
		return PANEL_NOTHING;
	}
	panel_take_focus(p, panel_step_focus(p, p->focus, by));
	return PANEL_MOVED;
}

bool panel_contains(const struct panel *p, int x, int y)
{
	return p->s && x >= p->at.x && y >= p->at.y && x < p->at.x + p->s->w &&
	       y < p->at.y + p->s->h;
}

static int clicked(struct panel *p, int hit, int x)
{
	const struct widget *w = &p->w[hit];

	if (panel_can_focus(w) && panel_is_input(w))
		panel_take_focus(p, hit);
	if (w->kind == W_FIELD)
		return PANEL_MOVED;
	if (w->kind == W_CHOICE)
		return x < w->r.x + (w->r.w + (int)(PANEL_LABEL_W * p->scale)) / 2 ? PANEL_PREV :
			PANEL_NEXT;
	return w->id;
}

int panel_mouse(struct panel *p, int x, int y, bool press)
{
	SDL_Point at = { x - p->at.x, y - p->at.y };
	int hit = -1;

	for (unsigned i = 0; i < p->n; i++)
		if (p->w[i].id > 0 && !p->w[i].disabled && SDL_PointInRect(&at, &p->w[i].r) &&
		    (p->kind == PANEL_STRIP || panel_stays(p, &p->w[i]) || at.y < p->view_h))
			hit = (int)i;
	if (press)
		return hit >= 0 ? clicked(p, hit, at.x) : PANEL_NOTHING;
	if (hit == p->hover)
		return PANEL_NOTHING;
	p->hover = hit;
	/* What is typed goes where it was clicked, not where the pointer passes. */
	if (hit >= 0 && panel_can_focus(&p->w[hit]) && !panel_is_input(&p->w[hit]) &&
	    !focused(p, W_FIELD))
		p->focus = hit;
	return PANEL_MOVED;
}
