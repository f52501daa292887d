/* SPDX-License-Identifier: MIT */
/* Layout and drawing of panels; see panel.h. */
#include "panel_int.h"
#include "draw.h"
#include "../src/util.h"
#include <stdlib.h>

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
	if (p->kind != kind) {
		p->focus = p->hover = -1;
		p->scroll = 0;
	}
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

static void keep_focus(struct panel *p)
{
	if (p->kind == PANEL_STRIP)
		p->focus = -1;
	else if (p->focus < 0 || p->focus >= (int)p->n || !panel_can_focus(&p->w[p->focus]))
		panel_take_focus(p, panel_step_focus(p, -1, 1));
	if (p->hover >= (int)p->n)
		p->hover = -1;
}

/* ---- layout -------------------------------------------------------------------- */
static int text_w(const struct look *l, const struct widget *w)
{
	int n = font_width(l->f, w->text);

	if (w->kind == W_FIELD)
		return px(l, PANEL_LABEL_W + 300);
	if (w->kind == W_CHOICE)
		return MAX(px(l, PANEL_LABEL_W), n) + font_width(l->f, w->right) + px(l, 60);
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
	for (unsigned i = p->n; i-- > gap + 1;) {
		int w = text_w(l, &p->w[i]);

		if (end - w < width / 3)
			break;		/* too narrow for all of it: the last ones matter most */
		end -= w;
		p->w[i].r = (SDL_Rect){ end, 0, w, l->row };
		end -= px(l, 14);
	}
	for (unsigned i = 0; i < gap; i++) {
		int w = text_w(l, &p->w[i]);

		if (x + w > end)
			break;
		p->w[i].r = (SDL_Rect){ x, 0, w, l->row };
		x += w + px(l, 14);
	}
	return (SDL_Point){ width, l->row };
}

static int widget_h(const struct look *l, const struct widget *w)
{
	if (w->kind == W_SEPARATOR)
		return px(l, 9);
	return w->kind == W_TITLE || panel_is_input(w) ? l->row + px(l, 6) : l->row;
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
	p->body_h = y;
	y = layout_buttons(p, l, width, y);
	if (p->stacked)
		p->body_h = y;
	p->view_h = p->body_h;
	if (p->max_h && y + l->pad / 2 > p->max_h)
		p->view_h = MAX(p->max_h - (y - p->body_h) - l->pad / 2, l->row);
	return (SDL_Point){ width, y - p->body_h + p->view_h + l->pad / 2 };
}

/* Scroll to the focus when it has moved, then move everything there. */
static void scroll(struct panel *p, const struct look *l)
{
	const struct widget *f = p->focus >= 0 ? &p->w[p->focus] : NULL;

	if (f && p->focus != p->shown_focus && !panel_stays(p, f)) {
		if (f->r.y < p->scroll + l->row)
			p->scroll = f->r.y - l->row;
		else if (f->r.y + f->r.h > p->scroll + p->view_h - l->row / 2)
			p->scroll = f->r.y + f->r.h - p->view_h + l->row / 2;
	}
	p->shown_focus = p->focus;
	p->scroll = MAX(MIN(p->scroll, p->body_h - p->view_h), 0);
	for (unsigned i = 0; i < p->n; i++) {
		bool stays = panel_stays(p, &p->w[i]);

		p->w[i].r.y -= stays ? p->body_h - p->view_h : p->scroll;
		p->w[i].r.w -= stays || p->view_h == p->body_h ? 0 : px(l, 4);	/* for the bar */
	}
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
	if (w->kind == W_BUTTON && p->focus >= 0 && panel_is_input(&p->w[p->focus]) &&
	    panel_first_button(p) == w->id)
		draw_frame(p->s, w->r, px(l, 2), C_FOCUS);
	if ((int)i == p->hover && panel_can_focus(w))
		draw_fill(p->s, w->r, C_HOVER);
	if ((int)i == p->focus)
		draw_fill(p->s, w->r, C_FOCUS);
	if ((int)i == p->focus && w->kind == W_BUTTON)
		draw_frame(p->s, w->r, px(l, 2), 0xffffffff);
}

static SDL_Rect box_of(const struct look *l, const struct widget *w)
{
	int x = px(l, PANEL_LABEL_W);

	return (SDL_Rect){ w->r.x + x, w->r.y + px(l, 2), w->r.w - x, w->r.h - px(l, 4) };
}

/* The end of the text is what matters, and where the caret is. */
static void draw_field(struct panel *p, const struct look *l, const struct widget *w,
		       bool focus)
{
	SDL_Rect box = box_of(l, w), clip, was;
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
	SDL_GetClipRect(p->s, &was);
	SDL_IntersectRect(&clip, &was, &clip);
	SDL_SetClipRect(p->s, &clip);
	font_draw(l->f, p->s, x, y, draw_text_c, w->edit);
	if (focus)
		draw_fill(p->s, (SDL_Rect){ x + at, y, px(l, 2), font_height(l->f) }, 0xffffffff);
	SDL_SetClipRect(p->s, &was);
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

	if (!panel_is_input(w))
		return false;
	if (w->kind == W_CHECK) {
		draw_check(p, l, w, focus);
		return true;
	}
	draw_cut(p->s, l->f, w->r.x + l->pad / 2, w->r.y + (w->r.h - font_height(l->f)) / 2,
		 px(l, PANEL_LABEL_W) - l->pad, draw_dim_c, w->text);
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

	if (!w->r.h || draw_input(p, l, i))
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

/* How much of the panel is seen, and which part. */
static void draw_bar(struct panel *p, const struct look *l)
{
	int w = px(l, 4), x = p->s->w - w - px(l, 2);
	int h = MAX((int)((int64_t)p->view_h * p->view_h / p->body_h), px(l, 12));
	int y = (int)((int64_t)(p->view_h - h) * p->scroll / (p->body_h - p->view_h));

	draw_fill(p->s, (SDL_Rect){ x, 0, w, p->view_h }, C_FIELD);
	draw_fill(p->s, (SDL_Rect){ x, y, w, h }, 0xff8a9096);
}

static void draw(struct panel *p, const struct look *l)
{
	SDL_Rect all = { 0, 0, p->s->w, p->s->h };

	draw_fill(p->s, all, p->alarm ? C_ALARM : C_BACK);
	if (p->kind != PANEL_STRIP)
		draw_frame(p->s, all, px(l, 1), C_EDGE);
	for (unsigned i = 0; i < p->n; i++)
		if (panel_stays(p, &p->w[i]))
			draw_widget(p, l, i);
	if (p->kind != PANEL_STRIP)
		SDL_SetClipRect(p->s, &(SDL_Rect){ 0, px(l, 1), all.w, p->view_h - px(l, 1) });
	for (unsigned i = 0; i < p->n; i++)
		if (!panel_stays(p, &p->w[i]))
			draw_widget(p, l, i);
	SDL_SetClipRect(p->s, NULL);
	if (p->kind != PANEL_STRIP && p->view_h < p->body_h)
		draw_bar(p, l);
}

void panel_end(struct panel *p, struct font *f, double scale, int min_w)
{
	struct look l = look_of(f, scale);
	SDL_Point size;

	p->scale = scale;
	keep_focus(p);
	size = p->kind == PANEL_STRIP ? layout_strip(p, &l, MAX(min_w, 1)) :
		layout_column(p, &l, min_w);
	if (p->kind != PANEL_STRIP)
		scroll(p, &l);
	if (make_surface(p, size))
		draw(p, &l);
}

void panel_free(struct panel *p)
{
	SDL_FreeSurface(p->s);
	p->s = NULL;
	p->n = 0;
}
