/* SPDX-License-Identifier: MIT */
/* Layout, drawing and focus of panels; see panel.h. */
#include "panel.h"
#include "draw.h"
#include "../src/util.h"
#include <stdlib.h>

#define LABEL_W 130	/* of fields and choices, units of layout */

struct look {
	struct font *f;
	double k;
	int pad, row;
};

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

static bool is_input(const struct widget *w)
{
	return w->kind == W_FIELD || w->kind == W_CHOICE || w->kind == W_CHECK;
}

static bool can_focus(const struct widget *w)
{
	return w->id > 0 && !w->disabled &&
	       (w->kind == W_ITEM || w->kind == W_BUTTON || is_input(w));
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

static void take_focus(struct panel *p, int i)
{
	p->focus = i;
	if (i >= 0 && p->w[i].kind == W_FIELD)
		p->caret = strlen(p->w[i].edit);
}

static void keep_focus(struct panel *p)
{
	if (p->kind == PANEL_STRIP)
		p->focus = -1;
	else if (p->focus < 0 || p->focus >= (int)p->n || !can_focus(&p->w[p->focus]))
		take_focus(p, step_focus(p, -1, 1));
	if (p->hover >= (int)p->n)
		p->hover = -1;
}

/* ---- layout -------------------------------------------------------------------- */
static int text_w(const struct look *l, const struct widget *w)
{
	int n = font_width(l->f, w->text);

	if (w->kind == W_FIELD)
		return px(l, LABEL_W + 300);
	if (w->kind == W_CHOICE)
		return MAX(px(l, LABEL_W), n) + font_width(l->f, w->right) + px(l, 60);
	if (w->kind == W_CHECK)
		return n + px(l, 24);
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
	return w->kind == W_TITLE || is_input(w) ? l->row + px(l, 6) : l->row;
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
static SDL_Color ink(const struct widget *w, bool focus)
{
	if (focus)
		return draw_text_c;
	if (w->disabled)
		return draw_dim_c;
	if (w->kind == W_LIGHT)
		return w->checked ? draw_lit_c : draw_dim_c;
	return w->danger ? draw_danger_c : draw_text_c;
}

static int first_button(const struct panel *p)
{
	for (unsigned i = 0; i < p->n; i++)
		if (p->w[i].kind == W_BUTTON && can_focus(&p->w[i]))
			return p->w[i].id;
	return PANEL_NOTHING;
}

static void draw_back(struct panel *p, const struct look *l, unsigned i)
{
	const struct widget *w = &p->w[i];

	if (w->kind == W_SEPARATOR) {
		draw_fill(p->s, (SDL_Rect){ w->r.x, w->r.y + w->r.h / 2, w->r.w, px(l, 1) },
			  C_EDGE);
		return;
	}
	if (w->kind == W_BUTTON)
		draw_fill(p->s, w->r, C_BUTTON);
	/* What Enter in a field does. */
	if (w->kind == W_BUTTON && p->focus >= 0 && is_input(&p->w[p->focus]) &&
	    first_button(p) == w->id)
		draw_frame(p->s, w->r, px(l, 2), C_FOCUS);
	if ((int)i == p->hover && can_focus(w))
		draw_fill(p->s, w->r, C_HOVER);
	if ((int)i == p->focus)
		draw_fill(p->s, w->r, C_FOCUS);
	if ((int)i == p->focus && w->kind == W_BUTTON)
		draw_frame(p->s, w->r, px(l, 2), 0xffffffff);
}

static SDL_Rect box_of(const struct look *l, const struct widget *w)
{
	int x = px(l, LABEL_W);

	return (SDL_Rect){ w->r.x + x, w->r.y + px(l, 2), w->r.w - x, w->r.h - px(l, 4) };
}

/* The end of the text is what matters, and where the caret is. */
static void draw_field(struct panel *p, const struct look *l, const struct widget *w,
		       bool focus)
{
	SDL_Rect box = box_of(l, w), clip;
	int y = box.y + (box.h - font_height(l->f)) / 2, x = box.x + l->pad / 2, at;
	size_t caret = MIN(p->caret, strlen(w->edit));
	char head[512];

	draw_fill(p->s, box, C_FIELD);
	draw_frame(p->s, box, focus ? px(l, 2) : px(l, 1), focus ? C_FOCUS : C_EDGE);
	clip = (SDL_Rect){ x, box.y, box.w - l->pad, box.h };
	snprintf(head, sizeof(head), "%.*s", (int)(focus ? caret : strlen(w->edit)), w->edit);
	at = font_width(l->f, head);
	if (at > clip.w - px(l, 2))
		x -= at - clip.w + px(l, 2);
	SDL_SetClipRect(p->s, &clip);
	font_draw(l->f, p->s, x, y, draw_text_c, w->edit);
	if (focus)
		draw_fill(p->s, (SDL_Rect){ x + at, y, px(l, 2), font_height(l->f) }, 0xffffffff);
	SDL_SetClipRect(p->s, NULL);
}

static void draw_choice(struct panel *p, const struct look *l, const struct widget *w,
			bool focus)
{
	SDL_Rect box = box_of(l, w);
	SDL_Color c = focus ? draw_text_c : draw_dim_c;
	int y = box.y + (box.h - font_height(l->f)) / 2;
	static const char left[] = "\xe2\x97\x82", right[] = "\xe2\x96\xb8";

	draw_fill(p->s, box, C_BUTTON);
	if (focus)
		draw_frame(p->s, box, px(l, 2), C_FOCUS);
	font_draw(l->f, p->s, box.x + l->pad / 2, y, c, left);
	font_draw(l->f, p->s, box.x + box.w - l->pad / 2 - font_width(l->f, right), y, c, right);
	font_draw(l->f, p->s, box.x + (box.w - font_width(l->f, w->right)) / 2, y, draw_text_c,
		  w->right);
}

static void draw_check(struct panel *p, const struct look *l, const struct widget *w,
		       bool focus)
{
	int side = px(l, 14), y = w->r.y + (w->r.h - font_height(l->f)) / 2;
	SDL_Rect box = { w->r.x + l->pad / 2, w->r.y + (w->r.h - side) / 2, side, side };

	draw_fill(p->s, box, C_FIELD);
	draw_frame(p->s, box, focus ? px(l, 2) : px(l, 1), focus ? C_FOCUS : 0xff8a9096);
	if (w->checked)
		draw_fill(p->s, (SDL_Rect){ box.x + px(l, 4), box.y + px(l, 4), side - 2 * px(l, 4),
					    side - 2 * px(l, 4) }, 0xff7cd992);
	font_draw(l->f, p->s, box.x + side + l->pad, y, draw_text_c, w->text);
}

static bool draw_input(struct panel *p, const struct look *l, unsigned i)
{
	const struct widget *w = &p->w[i];
	bool focus = (int)i == p->focus;

	if (!is_input(w))
		return false;
	if (w->kind == W_CHECK) {
		draw_check(p, l, w, focus);
		return true;
	}
	draw_cut(p->s, l->f, w->r.x + l->pad / 2, w->r.y + (w->r.h - font_height(l->f)) / 2,
		 px(l, LABEL_W) - l->pad, draw_dim_c, w->text);
	if (w->kind == W_FIELD)
		draw_field(p, l, w, focus);
	else
		draw_choice(p, l, w, focus);
	return true;
}

static void draw_widget(struct panel *p, const struct look *l, unsigned i)
{
	const struct widget *w = &p->w[i];
	int y = w->r.y + (w->r.h - font_height(l->f)) / 2, x = w->r.x;
	bool focus = (int)i == p->focus;

	if (draw_input(p, l, i))
		return;
	draw_back(p, l, i);
	if (w->kind == W_BUTTON)
		x += (w->r.w - font_width(l->f, w->text)) / 2;
	else if (p->kind != PANEL_STRIP)
		x += w->kind == W_ITEM ? 2 * l->pad : l->pad / 2;
	if (w->checked && w->kind == W_ITEM)
		font_draw(l->f, p->s, w->r.x + l->pad / 2, y, draw_lit_c, "\xe2\x80\xa2");
	font_draw(l->f, p->s, x, y, ink(w, focus), w->text);
	if (*w->right)
		font_draw(l->f, p->s, w->r.x + w->r.w - l->pad / 2 - font_width(l->f, w->right), y,
			  focus ? draw_text_c : draw_dim_c, w->right);
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

	draw_fill(p->s, all, p->alarm ? C_ALARM : C_BACK);
	if (p->kind != PANEL_STRIP)
		draw_frame(p->s, all, px(l, 1), C_EDGE);
	for (unsigned i = 0; i < p->n; i++)
		draw_widget(p, l, i);
}

void panel_end(struct panel *p, struct font *f, double scale, int min_w)
{
	struct look l = look_of(f, scale);

	p->scale = scale;
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
int panel_focus_id(const struct panel *p)
{
	return p->focus >= 0 && p->focus < (int)p->n ? p->w[p->focus].id : 0;
}

void panel_set_focus(struct panel *p, int id)
{
	for (unsigned i = 0; i < p->n; i++)
		if (p->w[i].id == id && can_focus(&p->w[i]))
			take_focus(p, (int)i);
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
	return key != SDLK_SPACE && is_input(w) ? first_button(p) : w->id;
}

/* Left and right: out of and into submenus, through choices, else to the neighbour. */
static int sideways(struct panel *p, int by)
{
	if (p->kind == PANEL_MENU)
		return by < 0 ? PANEL_BACK : p->focus >= 0 ? p->w[p->focus].id : PANEL_NOTHING;
	if (focused(p, W_CHOICE))
		return by < 0 ? PANEL_PREV : PANEL_NEXT;
	take_focus(p, step_focus(p, p->focus, by));
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
		break;
	case SDLK_UP:
		by = -1;
		break;
	default:
		return PANEL_NOTHING;
	}
	take_focus(p, step_focus(p, p->focus, by));
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

	if (can_focus(w) && is_input(w))
		take_focus(p, hit);
	if (w->kind == W_FIELD)
		return PANEL_MOVED;
	if (w->kind == W_CHOICE)
		return x < w->r.x + (w->r.w + (int)(LABEL_W * p->scale)) / 2 ? PANEL_PREV :
			PANEL_NEXT;
	return w->id;
}

int panel_mouse(struct panel *p, int x, int y, bool press)
{
	SDL_Point at = { x - p->at.x, y - p->at.y };
	int hit = -1;

	for (unsigned i = 0; i < p->n; i++)
		if (p->w[i].id > 0 && !p->w[i].disabled && SDL_PointInRect(&at, &p->w[i].r))
			hit = (int)i;
	if (press)
		return hit >= 0 ? clicked(p, hit, at.x) : PANEL_NOTHING;
	if (hit == p->hover)
		return PANEL_NOTHING;
	p->hover = hit;
	/* What is typed goes where it was clicked, not where the pointer passes. */
	if (hit >= 0 && can_focus(&p->w[hit]) && !is_input(&p->w[hit]) && !focused(p, W_FIELD))
		p->focus = hit;
	return PANEL_MOVED;
}
