/* SPDX-License-Identifier: MIT */
/* Tool bar and cards of the library. */
#include "library_int.h"
#include "../src/util.h"
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#define CARD_W 232
#define CARD_H 218
#define PICTURE_H 145
#define GAP 16
#define BAR_H 52

static int px(const struct library *l, double v)
{
	return (int)(v * l->scale + 0.5);
}

/* ---- layout -------------------------------------------------------------------- */

static void layout_bar(struct library *l, int w)
{
	int h = px(l, 32), y = px(l, (BAR_H - 32) / 2.0), x = w - px(l, GAP);
	int nw = font_width(l->font, _("New...")) + px(l, 28);
	int ow = font_width(l->font, _("Open...")) + px(l, 28);

	l->new_r = (SDL_Rect){ x - nw, y, nw, h };
	x -= nw + px(l, 8);
	l->open_r = (SDL_Rect){ x - ow, y, ow, h };
	x -= ow + px(l, 8);
	l->search_r = (SDL_Rect){ px(l, GAP), y, MAX(MIN(x - px(l, GAP), px(l, 360)), px(l, 60)),
				  h };
}

void lib_layout(struct library *l)
{
	int w = l->s->w, h = l->s->h, gap = px(l, GAP), cw = px(l, CARD_W), ch = px(l, CARD_H);
	int at = 0, left;

	layout_bar(l, w);
	l->grid_r = (SDL_Rect){ 0, px(l, BAR_H), w, MAX(h - px(l, BAR_H) - px(l, 28), 1) };
	l->columns = MAX((w - gap) / (cw + gap), 1);
	left = MAX((w - l->columns * (cw + gap) + gap) / 2, gap);
	for (unsigned i = 0; i < l->n; i++) {
		struct card *c = &l->cards[i];

		if (!c->shown) {
			c->r = (SDL_Rect){ 0 };
			continue;
		}
		c->r = (SDL_Rect){ left + at % l->columns * (cw + gap),
				   l->grid_r.y + gap + at / l->columns * (ch + gap) - l->scroll,
				   cw, ch };
		at++;
	}
	l->content = (at + l->columns - 1) / l->columns * (ch + gap) + gap;
	if (l->scroll > MAX(l->content - l->grid_r.h, 0)) {
		l->scroll = MAX(l->content - l->grid_r.h, 0);
		lib_layout(l);
	}
}

void lib_show_focus(struct library *l)
{
	struct card *c = lib_card(l);

	if (!c || !c->shown)
		return;
	lib_layout(l);
	if (c->r.y < l->grid_r.y + px(l, GAP))
		l->scroll -= l->grid_r.y - c->r.y + px(l, GAP);
	else if (c->r.y + c->r.h > l->grid_r.y + l->grid_r.h)
		l->scroll += c->r.y + c->r.h + px(l, GAP) - l->grid_r.y - l->grid_r.h;
	l->scroll = MAX(l->scroll, 0);
	lib_layout(l);
}

int lib_hit(struct library *l, int x, int y)
{
	SDL_Point p = { x, y };

	if (SDL_PointInRect(&p, &l->new_r))
		return -1;
	if (SDL_PointInRect(&p, &l->open_r))
		return -2;
	if (SDL_PointInRect(&p, &l->search_r))
		return -3;
	if (SDL_PointInRect(&p, &l->grid_r))
		for (unsigned i = 0; i < l->n; i++)
			if (l->cards[i].shown && SDL_PointInRect(&p, &l->cards[i].r))
				return (int)i;
	return -9;
}

/* ---- drawing ---------------------------------------------------------------------- */

static void button(struct library *l, SDL_Rect r, const char *text, int id)
{
	int y = r.y + (r.h - font_height(l->font)) / 2;

	draw_fill(l->s, r, l->hover == id ? C_HOVER : C_BUTTON);
	if (l->focus == id)
		draw_frame(l->s, r, px(l, 2), 0xffffffff);
	font_draw(l->font, l->s, r.x + (r.w - font_width(l->font, text)) / 2, y, draw_text_c, text);
}

static void draw_bar(struct library *l)
{
	SDL_Rect all = { 0, 0, l->s->w, px(l, BAR_H) }, r = l->search_r;
	int y = r.y + (r.h - font_height(l->font)) / 2, x = r.x + px(l, 10);

	draw_fill(l->s, all, 0xff1e2226);
	draw_fill(l->s, (SDL_Rect){ 0, all.h - px(l, 1), all.w, px(l, 1) }, C_EDGE);
	draw_fill(l->s, r, C_FIELD);
	draw_frame(l->s, r, px(l, *l->search ? 2 : 1), *l->search ? C_FOCUS : C_EDGE);
	draw_cut(l->s, l->font, x, y, r.w - px(l, 20), *l->search ? draw_text_c : draw_dim_c,
		 *l->search ? l->search : _("Search: just type"));
	button(l, l->new_r, _("New..."), -1);
	button(l, l->open_r, _("Open..."), -2);
}

/* The picture of its last run, or its first letter. */
static void draw_picture(struct library *l, const struct card *c, SDL_Rect r)
{
	SDL_Rect dst = r;
	const char *t = machine_title(c->m);
	char letter[8] = "";
	double k;

	draw_fill(l->s, r, C_PICTURE);
	if (c->picture) {
		k = SDL_min((double)r.w / c->picture->w, (double)r.h / c->picture->h);
		dst.w = (int)(c->picture->w * k);
		dst.h = (int)(c->picture->h * k);
		dst.x += (r.w - dst.w) / 2;
		dst.y += (r.h - dst.h) / 2;
		SDL_SoftStretchLinear(c->picture, NULL, l->s, &dst);
		return;
	}
	for (unsigned i = 0; i < sizeof(letter) - 1 && t[i]; i++) {
		if (i && ((unsigned char)t[i] & 0xc0) != 0x80)
			break;
		letter[i] = t[i];
	}
	font_draw(l->big, l->s, r.x + (r.w - font_width(l->big, letter)) / 2,
		  r.y + (r.h - font_height(l->big)) / 2, draw_dim_c, letter);
}

void lib_bytes(uint64_t bytes, char *out, size_t len)
{
	static const char *const units[] = { "KiB", "MiB", "GiB", "TiB" };
	double v = (double)bytes / 1024;
	unsigned u = 0;

	while (v >= 1000 && u < 3) {
		v /= 1024;
		u++;
	}
	snprintf(out, len, "%.*f %s", v < 10 && u ? 1 : 0, v, units[u]);
}

static void describe(const struct card *c, char *out, size_t len)
{
	time_t t = (time_t)c->state.used;
	char when[40], size[24];
	struct tm tm;

	if (!t || !localtime_r(&t, &tm) || !strftime(when, sizeof(when), "%Y-%m-%d %H:%M", &tm))
		snprintf(when, sizeof(when), "%s", _("never used"));
	lib_bytes(c->state.bytes, size, sizeof(size));
	snprintf(out, len, c->state.bytes ? "%s, %s" : "%s", when, size);
}

static void draw_card(struct library *l, unsigned i)
{
	struct card *c = &l->cards[i];
	SDL_Rect r = c->r, pic = { r.x + px(l, 4), r.y + px(l, 4), r.w - px(l, 8),
				   px(l, PICTURE_H) };
	int x = r.x + px(l, 10), y = pic.y + pic.h + px(l, 8), lh = font_height(l->font);
	int max = r.w - px(l, 20);
	char line[120];

	draw_fill(l->s, r, l->hover == (int)i ? C_HOVER : C_CARD);
	draw_picture(l, c, pic);
	draw_cut(l->s, l->font, x, y, max, draw_text_c, machine_title(c->m));
	draw_cut(l->s, l->font, x, y + lh, max, c->state.running ? draw_lit_c : draw_dim_c,
		 c->state.running ? _("Running") : _("Off"));
	describe(c, line, sizeof(line));
	draw_cut(l->s, l->font, x, y + 2 * lh, max, draw_dim_c, line);
	draw_frame(l->s, r, px(l, l->focus == (int)i ? 3 : 1),
		   l->focus == (int)i ? C_FOCUS : C_EDGE);
}

static void middle(struct library *l, struct font *f, int y, SDL_Color c, const char *text)
{
	int w = MIN(font_width(f, text), l->s->w - px(l, 40));

	draw_cut(l->s, f, (l->s->w - w) / 2, y, l->s->w - px(l, 40), c, text);
}

/* Nothing there yet: the whole page takes drops. */
static void draw_empty(struct library *l)
{
	SDL_Rect g = l->grid_r, r = { g.x + px(l, 32), g.y + px(l, 32), g.w - px(l, 64),
				      g.h - px(l, 64) };
	int y = g.y + g.h / 2 - px(l, 30), dash = px(l, 12), t = px(l, 2);

	for (int x = r.x; x + dash <= r.x + r.w; x += 2 * dash) {
		draw_fill(l->s, (SDL_Rect){ x, r.y, dash, t }, 0xff565e66);
		draw_fill(l->s, (SDL_Rect){ x, r.y + r.h - t, dash, t }, 0xff565e66);
	}
	for (int k = r.y; k + dash <= r.y + r.h; k += 2 * dash) {
		draw_fill(l->s, (SDL_Rect){ r.x, k, t, dash }, 0xff565e66);
		draw_fill(l->s, (SDL_Rect){ r.x + r.w - t, k, t, dash }, 0xff565e66);
	}
	middle(l, l->big, y, draw_text_c, _("Drop an ISO or a disk image here"));
	middle(l, l->font, y + font_height(l->big) + px(l, 10), draw_dim_c,
	       _("or press Enter to make a new machine"));
}

static void draw_foot(struct library *l)
{
	int h = px(l, 28), y = l->s->h - h;
	const char *text = *l->notice ? l->notice : l->n ?
		_("Enter: start    Menu or right click: more    F2: settings    Ctrl+N: new") :
		_("Ctrl+N: new    Ctrl+O: open");

	draw_fill(l->s, (SDL_Rect){ 0, y, l->s->w, h }, 0xff1e2226);
	draw_cut(l->s, l->font, px(l, GAP), y + (h - font_height(l->font)) / 2,
		 l->s->w - px(l, 2 * GAP), *l->notice ? draw_text_c : draw_dim_c, text);
}

void lib_paint(struct library *l)
{
	bool any = false;

	draw_fill(l->s, (SDL_Rect){ 0, 0, l->s->w, l->s->h }, C_PAGE);
	SDL_SetClipRect(l->s, &l->grid_r);
	for (unsigned i = 0; i < l->n; i++)
		if (l->cards[i].shown) {
			any = true;
			if (SDL_HasIntersection(&l->cards[i].r, &l->grid_r))
				draw_card(l, i);
		}
	SDL_SetClipRect(l->s, NULL);
	if (!l->n)
		draw_empty(l);
	else if (!any)
		middle(l, l->font, l->grid_r.y + px(l, 60), draw_dim_c, _("Nothing found"));
	draw_bar(l);
	draw_foot(l);
}
