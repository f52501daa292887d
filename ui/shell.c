/* SPDX-License-Identifier: MIT */
/*
 * What is drawn over the guest's picture: the status strip, a notice, the
 * menu with one submenu, and sheets.  Panels are built again only when
 * something that they show has changed, so a still screen costs nothing.
 */
#include "window_int.h"

#define TEXT_PX 13.0	/* of the user interface's text at scale 1 */

/* ---- life ------------------------------------------------------------------ */
static double ui_scale(struct window *w)
{
	int lw, lh, dw, dh;

	SDL_GetWindowSize(w->win, &lw, &lh);
	SDL_GetWindowSizeInPixels(w->win, &dw, &dh);
	return ui_scale_of(lw > 0 ? (double)dw / lw : 1.0, w->cfg->ui_scale);
}

void shell_open(struct window *w)
{
	struct shell *sh = &w->shell;

	sh->scale = ui_scale(w);
	sh->font = font_open(TEXT_PX * sh->scale);
	sh->strip = sh->font != NULL;
	sh->dirty = true;
	if (!sh->font)
		log_warn("no font was found: menus and the status bar are not shown; install a "
			 "font, for example the package fonts-dejavu-core");
}

void shell_close(struct window *w)
{
	for (unsigned i = 0; i < SLOTS; i++)
		panel_free(&w->shell.panel[i]);
	font_close(w->shell.font);
	w->shell.font = NULL;
}

/* ---- what is open ------------------------------------------------------------- */
bool shell_modal(const struct window *w)
{
	return w->shell.menu || w->shell.sheet;
}

static void take_input(struct window *w)
{
	keys_capture(w, false);
	keys_release(w);
	w->shell.dirty = true;
}

void shell_menu(struct window *w, bool open)
{
	struct shell *sh = &w->shell;

	if (!sh->font || sh->menu == open)
		return;
	sh->menu = open;
	sh->submenu = 0;
	sh->in_submenu = false;
	sh->panel[SLOT_MENU].focus = -1;
	sh->panel[SLOT_MENU].scroll = 0;
	if (open)
		shell_show_sheet(w, SHEET_NONE);
	take_input(w);
}

void shell_show_sheet(struct window *w, enum sheet s)
{
	struct shell *sh = &w->shell;

	if (!sh->font || sh->sheet == s)
		return;
	sh->sheet = s;
	sh->panel[SLOT_SHEET].focus = -1;
	sh->panel[SLOT_SHEET].scroll = s == SHEET_LOG ? PANEL_END : 0;
	if (s) {
		sh->menu = false;
		take_input(w);
	}
	sh->dirty = true;
}

void shell_message(struct window *w, const char *text)
{
	snprintf(w->shell.message, sizeof(w->shell.message), "%s", text);
	w->shell.sheet = SHEET_NONE;
	shell_show_sheet(w, SHEET_MESSAGE);
}

void shell_notice(struct window *w, const char *text, unsigned ms)
{
	snprintf(w->shell.notice, sizeof(w->shell.notice), "%s", text);
	w->shell.notice_until = SDL_GetTicks64() + ms;
	w->shell.dirty = true;
}

/* ---- building -------------------------------------------------------------------- */
static const char *state_text(struct window *w)
{
	switch (vm_status(w->vm)) {
	case VM_PAUSED:
		return _("Paused");
	case VM_STOPPED:
		return _("Stopped");
	case VM_SUSPENDED:
		return _("Asleep: a key wakes it");
	default:
		return _("Running");
	}
}

/* What the strip says; also tells whether it must be drawn again. */
static void strip_text(struct window *w, char *out, size_t len)
{
	const char *how = w->keys.captured ? _("Right Ctrl or Ctrl+Alt+G releases the mouse") :
			  w->keys.absolute ? "" : _("Click to use the mouse");

	snprintf(out, len, "%s|%s|%ux%u|%d|%d|%u%u%u", state_text(w), how, w->w, w->h,
		 w->keys.grab_keys, action_checked(w, ACT_RECORD), w->media.disk, w->media.cd,
		 w->media.net);
}

/* Reading and writing differ in shape, not by colour only. */
static void add_light(struct panel *p, const char *name, unsigned busy, int id)
{
	static const char *const signs[] = { "\xe2\x96\xab", "\xe2\x96\xbc", "\xe2\x96\xb2",
					     "\xe2\x97\x86" };
	struct widget *g;
	char text[60];

	snprintf(text, sizeof(text), "%s %s", name, signs[busy & 3]);
	g = panel_add(p, W_LIGHT, id, text);
	g->checked = busy != 0;
}

static void add_lights(struct window *w, struct panel *p)
{
	add_light(p, _("Disk"), w->media.disk, ACT_M_MEDIA);
	if (w->media.has_cd)
		add_light(p, _("CD"), w->media.cd, ACT_M_MEDIA);
	if (w->net)
		add_light(p, _("Net"), w->media.net, ACT_INFO);
}

static void build_strip(struct window *w, struct panel *p, int width)
{
	struct shell *sh = &w->shell;
	char size[40];

	panel_begin(p, PANEL_STRIP);
	p->alarm = sh->failed;
	panel_add(p, W_TEXT, ACT_MENU, "\xe2\x98\xb0");
	panel_add(p, W_LIGHT, 0, state_text(w))->checked = vm_status(w->vm) == VM_RUNNING;
	if (w->keys.captured)
		panel_add(p, W_TEXT, ACT_CAPTURE, _("Right Ctrl or Ctrl+Alt+G releases the mouse"));
	else if (!w->keys.absolute)
		panel_add(p, W_TEXT, 0, _("Click to use the mouse"));
	panel_add(p, W_GAP, 0, NULL);
	if (action_checked(w, ACT_RECORD))
		panel_add(p, W_LIGHT, ACT_RECORD, _("Recording"))->checked = true;
	if (w->keys.grab_keys)
		panel_add(p, W_LIGHT, ACT_GRAB_KEYS, _("All keys to the guest"))->checked = true;
	add_lights(w, p);
	snprintf(size, sizeof(size), "%u x %u", w->w, w->h);
	panel_add(p, W_TEXT, ACT_INFO, size);
	panel_add(p, W_TEXT, ACT_KEYS, _("Right Ctrl"));
	panel_end(p, sh->font, sh->scale, width);
}

static void end_panel(struct window *w, struct panel *p)
{
	int dw;

	SDL_GetWindowSizeInPixels(w->win, &dw, &p->max_h);
	panel_end(p, w->shell.font, w->shell.scale, (int)(200 * w->shell.scale));
}

static void centre(struct window *w, struct panel *p, double where)
{
	int dw, dh;

	SDL_GetWindowSizeInPixels(w->win, &dw, &dh);
	if (!p->s)
		return;
	p->at.x = MAX((dw - p->s->w) / 2, 0);
	p->at.y = MAX((int)((dh - p->s->h) * where), 0);
}

static void build_menu(struct window *w)
{
	struct shell *sh = &w->shell;
	struct panel *m = &sh->panel[SLOT_MENU], *sub = &sh->panel[SLOT_SUBMENU];
	int dw, dh;

	menu_build(w, m, 0);
	end_panel(w, m);
	m->at = (SDL_Point){ 0, 0 };
	if (!sh->submenu)
		return;
	menu_build(w, sub, sh->submenu);
	end_panel(w, sub);
	SDL_GetWindowSizeInPixels(w->win, &dw, &dh);
	if (m->s && sub->s)	/* over the menu where there is no room beside it */
		sub->at = (SDL_Point){ MAX(MIN(m->s->w, dw - sub->s->w), 0), 0 };
}

static void place_strip(struct window *w)
{
	struct panel *p = &w->shell.panel[SLOT_STRIP];
	int dw, dh;

	SDL_GetWindowSizeInPixels(w->win, &dw, &dh);
	build_strip(w, p, dw);
	if (p->s)
		p->at = (SDL_Point){ 0, dh - p->s->h };
}

/* A line for a while at the top; while paused how to go on, in the middle. */
static void build_notice(struct window *w)
{
	struct panel *p = &w->shell.panel[SLOT_NOTICE];
	bool line = w->shell.notice[0] != 0;

	panel_begin(p, PANEL_SHEET);
	if (!line && *w->trouble)
		sheet_trouble(w, p);
	else
		panel_add(p, W_TEXT, 0, line ? w->shell.notice :
			  _("Paused - Right Ctrl + P goes on"));
	end_panel(w, p);
	centre(w, p, line ? 0.02 : 0.4);
}

static void choose_slots(struct window *w)
{
	struct shell *sh = &w->shell;

	sh->shown[SLOT_STRIP] = sh->strip && !w->fullscreen;
	sh->shown[SLOT_NOTICE] = sh->notice[0] || *w->trouble ||
				 (vm_status(w->vm) == VM_PAUSED && sh->sheet != SHEET_RESETS);
	sh->shown[SLOT_MENU] = sh->menu;
	sh->shown[SLOT_SUBMENU] = sh->menu && sh->submenu;
	sh->shown[SLOT_SHEET] = sh->sheet != SHEET_NONE;
}

static void build_all(struct window *w)
{
	struct shell *sh = &w->shell;
	int dh;

	choose_slots(w);
	if (sh->shown[SLOT_STRIP])
		place_strip(w);
	if (sh->shown[SLOT_NOTICE])
		build_notice(w);
	if (sh->menu)
		build_menu(w);
	if (sh->sheet) {
		SDL_GetWindowSizeInPixels(w->win, &sh->panel[SLOT_SHEET].max_w, &dh);
		sheet_build(w, &sh->panel[SLOT_SHEET], sh->sheet);
		end_panel(w, &sh->panel[SLOT_SHEET]);
		centre(w, &sh->panel[SLOT_SHEET], 0.4);
	}
}

void shell_update(struct window *w)
{
	struct shell *sh = &w->shell;
	char strip[sizeof(sh->strip_text)];

	if (!sh->font)
		return;
	if (sh->notice[0] && SDL_GetTicks64() >= sh->notice_until) {
		sh->notice[0] = 0;
		sh->dirty = true;
	}
	strip_text(w, strip, sizeof(strip));
	if (!sh->dirty && !strcmp(strip, sh->strip_text))
		return;
	snprintf(sh->strip_text, sizeof(sh->strip_text), "%s", strip);
	sh->dirty = false;
	build_all(w);
	for (unsigned i = 0; i < SLOTS; i++)
		w->ops->panel(w->view, i, sh->shown[i] ? sh->panel[i].s : NULL, sh->panel[i].at);
	w->present = true;
}

/* ---- input -------------------------------------------------------------------------- */
static void close_top(struct window *w)
{
	struct shell *sh = &w->shell;

	if (sh->sheet == SHEET_END || sh->sheet == SHEET_OFF) {
		action_do(w, ACT_END);
	} else if (sh->sheet) {
		shell_show_sheet(w, SHEET_NONE);
	} else if (sh->submenu) {
		sh->submenu = 0;
		sh->in_submenu = false;
	} else {
		shell_menu(w, false);
	}
	sh->dirty = true;
}

static struct panel *key_panel(struct shell *sh)
{
	return &sh->panel[sh->sheet ? SLOT_SHEET : sh->in_submenu ? SLOT_SUBMENU : SLOT_MENU];
}

static void react(struct window *w, int hit)
{
	if (hit == PANEL_NOTHING)
		return;
	w->shell.dirty = true;
	if (hit > 0 && w->shell.sheet == SHEET_BROWSE)
		media_hit(w, hit);
	else if (hit == PANEL_CLOSE || (hit == PANEL_BACK && w->shell.in_submenu))
		close_top(w);
	else if (hit > 0)
		action_do(w, (enum action)hit);
}

bool shell_key(struct window *w, const SDL_KeyboardEvent *k)
{
	struct shell *sh = &w->shell;

	if (!shell_modal(w))
		return false;
	if (media_key(w, k))
		return true;
	if (k->type == SDL_KEYDOWN)
		react(w, panel_key(key_panel(sh), k->keysym.sym, k->keysym.mod));
	return true;
}

void shell_wheel(struct window *w, int by)
{
	if (w->shell.sheet == SHEET_BROWSE)
		media_wheel(w, by);
	else if (shell_modal(w))
		react(w, panel_wheel(key_panel(&w->shell), by));
}

bool shell_pointer(struct window *w, int x, int y, bool press)
{
	struct shell *sh = &w->shell;

	if (!sh->font)
		return false;
	for (int i = SLOTS; i-- > 0;) {
		struct panel *p = &sh->panel[i];

		if (!sh->shown[i] || !panel_contains(p, x, y) || (sh->sheet && i < SLOT_SHEET))
			continue;
		if (i == SLOT_MENU && !press)
			sh->in_submenu = false;
		if (i == SLOT_SUBMENU && !press)
			sh->in_submenu = true;
		react(w, panel_mouse(p, x, y, press));
		return true;
	}
	if (press && sh->menu)
		shell_menu(w, false);
	return shell_modal(w);
}
