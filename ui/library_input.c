/* SPDX-License-Identifier: MIT */
/* Keys, pointer and drops of the library, and the menu of a card. */
#include "library_int.h"
#include "../src/util.h"
#include <stdio.h>
#include <stdlib.h>

/* ---- menu ---------------------------------------------------------------------------- */

static void menu_row(struct library *l, enum lib_action a, const char *text, const char *key,
		     bool disabled)
{
	struct widget *w = panel_add(&l->menu, W_ITEM, (int)a, text);

	w->disabled = disabled;
	snprintf(w->right, sizeof(w->right), "%s", key);
}

void lib_menu_build(struct library *l)
{
	const struct card *c = lib_card(l);
	bool runs = c && c->state.running;

	panel_begin(&l->menu, PANEL_MENU);
	menu_row(l, LIB_START, runs ? _("Show its window") : _("Start"), "Enter", !c);
	menu_row(l, LIB_HEADLESS, _("Start without a window"), "", !c || runs);
	menu_row(l, LIB_DISCARD, _("Start, throwing changes away"), "", !c || runs);
	panel_add(&l->menu, W_SEPARATOR, 0, NULL);
	menu_row(l, LIB_SETTINGS, _("Settings..."), "F2", !c);
	menu_row(l, LIB_DUPLICATE, _("Duplicate..."), "", !c || runs);
	menu_row(l, LIB_CLONE, _("Linked clone..."), "", !c || runs);
	menu_row(l, LIB_LOG, _("Log"), "", !c);
	panel_add(&l->menu, W_SEPARATOR, 0, NULL);
	menu_row(l, LIB_DELETE, _("Delete..."), "Del", !c || runs);
	l->menu.max_h = l->s->h;
	panel_end(&l->menu, l->font, l->scale, (int)(200 * l->scale));
}

static void open_menu(struct library *l, int x, int y)
{
	if (!lib_card(l))
		return;
	l->menu_open = true;
	l->menu.focus = l->menu.hover = -1;
	l->menu.scroll = 0;
	lib_menu_build(l);
	if (!l->menu.s)
		return;
	l->menu.at.x = MAX(MIN(x, l->s->w - l->menu.s->w), 0);
	l->menu.at.y = MAX(MIN(y, l->s->h - l->menu.s->h), 0);
	l->dirty = true;
}

/* ---- keys --------------------------------------------------------------------------- */

static void activate(struct library *l)
{
	if (l->focus == -2)
		lib_do(l, LIB_OPEN);
	else if (l->focus < 0)
		lib_do(l, LIB_NEW);
	else
		lib_do(l, LIB_START);
}

/* To the @by-th next card that is shown. */
static void move(struct library *l, int by)
{
	int at = l->focus < 0 ? -1 : l->focus, dir = by < 0 ? -1 : 1, left = abs(by), last = at;

	for (int i = at + dir; i >= 0 && i < (int)l->n && left; i += dir)
		if (l->cards[i].shown) {
			last = i;
			left--;
		}
	if (last >= 0)
		l->focus = last;
	lib_show_focus(l);
	l->dirty = true;
}

static void tab(struct library *l)
{
	l->focus = l->focus >= 0 ? -2 : l->focus == -2 ? -1 : l->n ? 0 : -2;
	lib_filter(l);
}

static void backspace(struct library *l)
{
	size_t n = strlen(l->search);

	while (n && ((unsigned char)l->search[--n] & 0xc0) == 0x80)
		;
	l->search[n] = 0;
	lib_filter(l);
}

static void chord(struct library *l, SDL_Keycode key)
{
	if (key == SDLK_n)
		lib_do(l, LIB_NEW);
	else if (key == SDLK_o)
		lib_do(l, LIB_OPEN);
	else if (key == SDLK_q || key == SDLK_w)
		l->quit = true;
}

static void grid_key(struct library *l, const SDL_Keysym *k)
{
	struct card *c = lib_card(l);

	switch (k->sym) {
	case SDLK_RIGHT:
		move(l, 1);
		break;
	case SDLK_LEFT:
		move(l, -1);
		break;
	case SDLK_DOWN:
		move(l, l->focus < 0 ? 1 : l->columns);
		break;
	case SDLK_UP:
		move(l, -l->columns);
		break;
	case SDLK_HOME:
		move(l, -(int)l->n);
		break;
	case SDLK_END:
		move(l, (int)l->n);
		break;
	case SDLK_TAB:
		tab(l);
		break;
	case SDLK_RETURN:
	case SDLK_KP_ENTER:
		activate(l);
		break;
	case SDLK_BACKSPACE:
		backspace(l);
		break;
	case SDLK_ESCAPE:
		*l->search = 0;
		lib_filter(l);
		break;
	case SDLK_F2:
		lib_do(l, LIB_SETTINGS);
		break;
	case SDLK_DELETE:
		if (c && !c->state.running)
			lib_do(l, LIB_DELETE);
		break;
	case SDLK_F10:
	case SDLK_APPLICATION:
	case SDLK_MENU:
		if (c)
			open_menu(l, c->r.x + c->r.w / 2, c->r.y + c->r.h / 2);
		break;
	default:
		if (k->mod & KMOD_CTRL)
			chord(l, k->sym);
		break;
	}
}

static void menu_react(struct library *l, int hit)
{
	if (hit == PANEL_CLOSE || hit == PANEL_BACK)
		l->menu_open = false;
	else if (hit > 0)
		lib_do(l, (enum lib_action)hit);
	if (hit != PANEL_NOTHING)
		l->dirty = true;
}

static void browse_react(struct library *l, enum browser_result r)
{
	enum lib_sheet under = l->under;
	char file[sizeof(l->browser.chosen)];

	l->dirty = true;
	if (r == BROWSER_STAYS)
		return;
	snprintf(file, sizeof(file), "%s", l->browser.chosen);
	lib_sheet(l, under);
	if (r == BROWSER_CHOSEN)
		lib_file_chosen(l, file);
}

static void key(struct library *l, const SDL_Keysym *k)
{
	if (l->kind == LSHEET_BROWSE)
		browse_react(l, browser_key(&l->browser, k->sym));
	else if (l->kind)
		lib_sheet_react(l, panel_key(&l->sheet, k->sym, (SDL_Keymod)k->mod));
	else if (l->menu_open)
		menu_react(l, panel_key(&l->menu, k->sym, (SDL_Keymod)k->mod));
	else
		grid_key(l, k);
}

static void typed(struct library *l, const char *text)
{
	size_t n = strlen(l->search);

	if (SDL_GetModState() & KMOD_CTRL)
		return;
	if (l->kind == LSHEET_BROWSE) {
		browse_react(l, browser_type(&l->browser, text));
	} else if (l->kind) {
		lib_sheet_react(l, panel_type(&l->sheet, text));
	} else if (!l->menu_open && (n || strcmp(text, " ")) &&
		   n + strlen(text) < sizeof(l->search)) {
		memcpy(l->search + n, text, strlen(text) + 1);
		lib_filter(l);
	}
}

/* ---- pointer --------------------------------------------------------------------------- */

static void to_pixels(struct library *l, int *x, int *y)
{
	int lw = 0, lh = 0;

	if (l->win)
		SDL_GetWindowSize(l->win, &lw, &lh);
	if (lw > 0 && lh > 0) {
		*x = *x * l->s->w / lw;
		*y = *y * l->s->h / lh;
	}
}

static void press(struct library *l, int x, int y, const SDL_MouseButtonEvent *b)
{
	int hit = lib_hit(l, x, y);

	if (hit == -1 || hit == -2) {
		l->focus = hit;
		activate(l);
	} else if (hit >= 0) {
		l->focus = hit;
		l->dirty = true;
		if (b->button == SDL_BUTTON_RIGHT)
			open_menu(l, x, y);
		else if (b->clicks >= 2)
			lib_do(l, LIB_START);
	} else if (hit == -9 && !l->n) {
		lib_do(l, LIB_OPEN);
	}
}

static void pointer(struct library *l, int x, int y, const SDL_MouseButtonEvent *b)
{
	struct panel *p = l->kind ? &l->sheet : l->menu_open ? &l->menu : NULL;
	int hit;

	to_pixels(l, &x, &y);
	if (!p) {
		hit = lib_hit(l, x, y);
		l->dirty |= hit != l->hover;
		l->hover = hit;
		if (b)
			press(l, x, y, b);
		return;
	}
	if (!panel_contains(p, x, y)) {
		if (b && p == &l->menu)
			menu_react(l, PANEL_CLOSE);
		return;
	}
	hit = panel_mouse(p, x, y, b != NULL);
	if (l->kind == LSHEET_BROWSE && hit > 0 && b)
		browse_react(l, browser_hit(&l->browser, hit));
	else if (l->kind)
		lib_sheet_react(l, hit);
	else
		menu_react(l, hit);
}

static void wheel(struct library *l, int by)
{
	if (l->kind == LSHEET_BROWSE)
		browser_wheel(&l->browser, -3 * by);
	else if (l->kind || l->menu_open)
		panel_wheel(l->kind ? &l->sheet : &l->menu, by);
	else
		l->scroll = MAX(l->scroll - (int)(by * 60 * l->scale), 0);
	l->dirty = true;
}

void lib_event(struct library *l, const SDL_Event *e)
{
	switch (e->type) {
	case SDL_KEYDOWN:
		key(l, &e->key.keysym);
		break;
	case SDL_TEXTINPUT:
		typed(l, e->text.text);
		break;
	case SDL_MOUSEMOTION:
		pointer(l, e->motion.x, e->motion.y, NULL);
		break;
	case SDL_MOUSEBUTTONDOWN:
		pointer(l, e->button.x, e->button.y, &e->button);
		break;
	case SDL_MOUSEWHEEL:
		wheel(l, e->wheel.y);
		break;
	case SDL_DROPFILE:
		l->form.to_floppy = false;
		lib_file_chosen(l, e->drop.file);
		SDL_free(e->drop.file);
		break;
	case SDL_WINDOWEVENT:
		l->dirty = true;
		break;
	case SDL_QUIT:
		l->quit = true;
		break;
	default:
		break;
	}
	if (e->type == SDL_WINDOWEVENT && e->window.event == SDL_WINDOWEVENT_CLOSE)
		l->quit = true;
}
