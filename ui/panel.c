/* SPDX-License-Identifier: MIT */
/* Layout, drawing and focus of panels; see panel.h. */
#include "panel.h"
#include "../src/util.h"
#include <stdlib.h>

struct look {
	struct font *f;
	double k;
	int pad, row;
};

static const SDL_Color text_c = { 0xec, 0xee, 0xf0, 0xff }, dim_c = { 0x8a, 0x90, 0x96, 0xff },
		       danger_c = { 0xff, 0x8a, 0x80, 0xff }, lit_c = { 0x7c, 0xd9, 0x92, 0xff };
#define C_BACK 0xfa1e2226u
#define C_EDGE 0xff3a4046u
#define C_FOCUS 0xff2f6fd0u
#define C_HOVER 0xff30363cu
#define C_BUTTON 0xff333a41u

static int px(const struct look *l, double v)
{
	return (int)(v * l->k + 0.5);
}

static struct look look_of(struct font *f, double scale)
{
	struct look l = { .f = f, .k = scale };

	l.pad = px(&l, 10);
	l.row = font_height(f) + px(&l, 8);
	return l;
}

/* ---- building ---------------------------------------------------------------- */
void panel_begin(struct panel *p, enum panel_kind kind)
{
	if (p->kind != kind)
		p->focus = p->hover = -1;
	p->kind = kind;
	p->n = 0;
}

struct widget *panel_add(struct panel *p, enum widget_kind kind, int id, const char *text)
{
	struct widget *w = &p->w[MIN(p->n, PANEL_WIDGETS - 1u)];

	*w = (struct widget){ .kind = (uint8_t)kind, .id = id };
	snprintf(w->text, sizeof(w->text), "%s", text ? text : "");
	p->n = MIN(p->n + 1, (unsigned)PANEL_WIDGETS);
	return w;
}

static bool can_focus(const struct widget *w)
{
	return w->id > 0 && !w->disabled && (w->kind == W_ITEM || w->kind == W_BUTTON);
}

static int step_focus(const struct panel *p, int from, int by)
{
	int n = (int)p->n, i = from;

	for (int k = 0; k < n; k++) {
		i = (i + by + n) % n;
		if (can_focus(&p->w[i]))
			return i;
	}
	return -1;
}

static void keep_focus(struct panel *p)
{
	if (p->kind == PANEL_STRIP)
		p->focus = -1;
	else if (p->focus < 0 || p->focus >= (int)p->n || !can_focus(&p->w[p->focus]))
		p->focus = step_focus(p, -1, 1);
	if (p->hover >= (int)p->n)
		p->hover = -1;
}

/* ---- layout -------------------------------------------------------------------- */
static int text_w(const struct look *l, const struct widget *w)
{
	int n = font_width(l->f, w->text);

	if (*w->right)
		n += font_width(l->f, w->right) + px(l, 24);
	return n;
}

static SDL_Point layout_strip(struct panel *p, const struct look *l, int width)
{
	int x = l->pad, end = width - l->pad;
	unsigned gap = p->n;

	for (unsigned i = 0; i < p->n; i++)
		if (p->w[i].kind == W_GAP)
			gap = i;
	for (unsigned i = 0; i < gap; i++) {
		p->w[i].r = (SDL_Rect){ x, 0, text_w(l, &p->w[i]), l->row };
		x += p->w[i].r.w + px(l, 14);
	}
	for (unsigned i = p->n; i-- > gap + 1;) {
		int w = text_w(l, &p->w[i]);

		end -= w;
		p->w[i].r = (SDL_Rect){ end, 0, w, l->row };
		end -= px(l, 14);
	}
	return (SDL_Point){ width, l->row };
}

static int widget_h(const struct look *l, const struct widget *w)
{
	if (w->kind == W_SEPARATOR)
		return px(l, 9);
	return w->kind == W_TITLE ? l->row + px(l, 6) : l->row;
}

/* The window is too narrow for a row of buttons: a column. */
static int stack_buttons(struct panel *p, const struct look *l, int width, int y)
{
	for (unsigned i = 0; i < p->n; i++) {
		struct widget *w = &p->w[i];

		if (w->kind != W_BUTTON)
			continue;
		w->r = (SDL_Rect){ l->pad, y + px(l, 6), width - 2 * l->pad, l->row + px(l, 4) };
		y += l->row + px(l, 10);
	}
	return y + px(l, 2);
}

/* Buttons share the last row of a sheet, right-aligned. */
static int layout_buttons(struct panel *p, const struct look *l, int width, int y)
{
	int x = width - l->pad;
	bool any = false;

	if (p->stacked)
		return stack_buttons(p, l, width, y);
	for (unsigned i = p->n; i-- > 0;) {
		struct widget *w = &p->w[i];

		if (w->kind != W_BUTTON)
			continue;
		any = true;
		w->r.w = font_width(l->f, w->text) + px(l, 28);
		w->r.h = l->row + px(l, 4);
		x -= w->r.w;
		w->r.x = x;
		w->r.y = y + px(l, 8);
		x -= px(l, 8);
	}
	return any ? y + l->row + px(l, 12) : y;
}

static int buttons_w(const struct panel *p, const struct look *l)
{
	int w = 0;

	for (unsigned i = 0; i < p->n; i++)
		if (p->w[i].kind == W_BUTTON)
			w += font_width(l->f, p->w[i].text) + px(l, 36);
	return w;
}

static SDL_Point layout_column(struct panel *p, const struct look *l, int width)
{
	int y = l->pad / 2;

	p->stacked = p->max_w && buttons_w(p, l) + 2 * l->pad > p->max_w;
	if (!p->stacked)
		width = MAX(width, buttons_w(p, l) + 2 * l->pad);
	for (unsigned i = 0; i < p->n; i++)
		if (p->w[i].kind != W_BUTTON || p->stacked)
			width = MAX(width, text_w(l, &p->w[i]) + 4 * l->pad);
	for (unsigned i = 0; i < p->n; i++) {
		struct widget *w = &p->w[i];

		if (w->kind == W_BUTTON)
			continue;
		w->r = (SDL_Rect){ l->pad / 2, y, width - l->pad, widget_h(l, w) };
		y += w->r.h;
	}
	y = layout_buttons(p, l, width, y);
	return (SDL_Point){ width, y + l->pad / 2 };
}

/* ---- drawing --------------------------------------------------------------------- */
static void fill(SDL_Surface *s, SDL_Rect r, Uint32 c)
{
	SDL_FillRect(s, &r, c);
}

static void frame(SDL_Surface *s, SDL_Rect r, int t, Uint32 c)
{
	fill(s, (SDL_Rect){ r.x, r.y, r.w, t }, c);
	fill(s, (SDL_Rect){ r.x, r.y + r.h - t, r.w, t }, c);
	fill(s, (SDL_Rect){ r.x, r.y, t, r.h }, c);
	fill(s, (SDL_Rect){ r.x + r.w - t, r.y, t, r.h }, c);
}

static SDL_Color ink(const struct widget *w, bool focus)
{
	if (focus)
		return text_c;
	if (w->disabled)
		return dim_c;
	if (w->kind == W_LIGHT)
		return w->checked ? lit_c : dim_c;
	return w->danger ? danger_c : text_c;
}

static void draw_back(struct panel *p, const struct look *l, unsigned i)
{
	const struct widget *w = &p->w[i];

	if (w->kind == W_SEPARATOR) {
		fill(p->s, (SDL_Rect){ w->r.x, w->r.y + w->r.h / 2, w->r.w, px(l, 1) }, C_EDGE);
		return;
	}
	if (w->kind == W_BUTTON)
		fill(p->s, w->r, C_BUTTON);
	if ((int)i == p->hover && can_focus(w))
		fill(p->s, w->r, C_HOVER);
	if ((int)i == p->focus)
		fill(p->s, w->r, C_FOCUS);
	if ((int)i == p->focus && w->kind == W_BUTTON)
		frame(p->s, w->r, px(l, 2), 0xffffffff);
}

static void draw_widget(struct panel *p, const struct look *l, unsigned i)
{
	const struct widget *w = &p->w[i];
	int y = w->r.y + (w->r.h - font_height(l->f)) / 2, x = w->r.x;
	bool focus = (int)i == p->focus;

	draw_back(p, l, i);
	if (w->kind == W_BUTTON)
		x += (w->r.w - font_width(l->f, w->text)) / 2;
	else if (p->kind != PANEL_STRIP)
		x += w->kind == W_ITEM ? 2 * l->pad : l->pad / 2;
	if (w->checked && w->kind == W_ITEM)
		font_draw(l->f, p->s, w->r.x + l->pad / 2, y, lit_c, "\xe2\x80\xa2");
	font_draw(l->f, p->s, x, y, ink(w, focus), w->text);
	if (*w->right)
		font_draw(l->f, p->s, w->r.x + w->r.w - l->pad / 2 - font_width(l->f, w->right), y,
			  focus ? text_c : dim_c, w->right);
}

static bool make_surface(struct panel *p, SDL_Point size)
{
	if (p->s && p->s->w == size.x && p->s->h == size.y)
		return true;
	SDL_FreeSurface(p->s);
	p->s = SDL_CreateRGBSurfaceWithFormat(0, size.x, size.y, 32, SDL_PIXELFORMAT_ARGB8888);
	return p->s != NULL;
}

static void draw(struct panel *p, const struct look *l)
{
	SDL_Rect all = { 0, 0, p->s->w, p->s->h };

	fill(p->s, all, C_BACK);
	if (p->kind != PANEL_STRIP)
		frame(p->s, all, px(l, 1), C_EDGE);
	for (unsigned i = 0; i < p->n; i++)
		draw_widget(p, l, i);
}

void panel_end(struct panel *p, struct font *f, double scale, int min_w)
{
	struct look l = look_of(f, scale);

	keep_focus(p);
	if (make_surface(p, p->kind == PANEL_STRIP ? layout_strip(p, &l, MAX(min_w, 1)) :
			    layout_column(p, &l, min_w)))
		draw(p, &l);
}

void panel_free(struct panel *p)
{
	SDL_FreeSurface(p->s);
	p->s = NULL;
	p->n = 0;
}

/* ---- input ------------------------------------------------------------------------- */
int panel_key(struct panel *p, SDL_Keycode key, SDL_Keymod mod)
{
	int by = 0;

	switch (key) {
	case SDLK_ESCAPE:
		return PANEL_CLOSE;
	case SDLK_RETURN:
	case SDLK_KP_ENTER:
	case SDLK_SPACE:
		return p->focus >= 0 ? p->w[p->focus].id : PANEL_NOTHING;
	case SDLK_TAB:
		by = mod & KMOD_SHIFT ? -1 : 1;
		break;
	case SDLK_DOWN:
		by = 1;
		break;
	case SDLK_UP:
		by = -1;
		break;
	case SDLK_LEFT:
		if (p->kind == PANEL_MENU)
			return PANEL_BACK;
		by = -1;
		break;
	case SDLK_RIGHT:
		if (p->kind == PANEL_MENU)
			return p->focus >= 0 ? p->w[p->focus].id : PANEL_NOTHING;
		by = 1;
		break;
	default:
		return PANEL_NOTHING;
	}
	p->focus = step_focus(p, p->focus, by);
	return PANEL_MOVED;
}

bool panel_contains(const struct panel *p, int x, int y)
{
	return p->s && x >= p->at.x && y >= p->at.y && x < p->at.x + p->s->w &&
	       y < p->at.y + p->s->h;
}

int panel_mouse(struct panel *p, int x, int y, bool press)
{
	SDL_Point at = { x - p->at.x, y - p->at.y };
	int hit = -1;

	for (unsigned i = 0; i < p->n; i++)
		if (p->w[i].id > 0 && !p->w[i].disabled && SDL_PointInRect(&at, &p->w[i].r))
			hit = (int)i;
	if (press)
		return hit >= 0 ? p->w[hit].id : PANEL_NOTHING;
	if (hit == p->hover)
		return PANEL_NOTHING;
	p->hover = hit;
	if (hit >= 0 && can_focus(&p->w[hit]))
		p->focus = hit;
	return PANEL_MOVED;
}
