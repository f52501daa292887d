/* SPDX-License-Identifier: MIT */
/*
 * The library: the window of hvrun without an argument.  One picture drawn
 * by the processor and shown whole when something changed; the machines are
 * looked at every two seconds while the window can be seen.
 */
#include "library_int.h"
#include "ui.h"
#include "../src/log.h"
#include "../src/thumb.h"
#include "../src/util.h"
#include <stdio.h>
#include <stdlib.h>
#include <strings.h>
#include <sys/stat.h>

#define TEXT_PX 13.0
#define LOOK_MS 2000
#define NOTICE_MS 6000
#define POLL_MS 100		/* while a command or a dialog is open */

/* ---- machines --------------------------------------------------------------------- */

struct card *lib_card(struct library *l)
{
	return l->focus >= 0 && (unsigned)l->focus < l->n ? &l->cards[l->focus] : NULL;
}

static bool matches(const struct library *l, const struct machine *m)
{
	return !*l->search || strcasestr(machine_title(m), l->search) ||
	       strcasestr(m->name, l->search);
}

static SDL_Surface *load_picture(const char *path)
{
	unsigned w, h;
	uint32_t *px = thumb_load(path, &w, &h);
	SDL_Surface *s = px ? SDL_CreateRGBSurfaceWithFormat(0, (int)w, (int)h, 32,
							     SDL_PIXELFORMAT_ARGB8888) : NULL;

	for (unsigned y = 0; s && y < h; y++)
		memcpy((char *)s->pixels + (size_t)y * (size_t)s->pitch, px + (size_t)y * w,
		       (size_t)w * 4);
	free(px);
	return s;
}

static void take_picture(struct card *c, struct card *old)
{
	char path[4096];
	struct stat st;

	if (!machine_path(c->m, "png", path, sizeof(path), NULL) || stat(path, &st) < 0)
		return;
	c->picture_time = st.st_mtime;
	if (old && old->picture && old->picture_time == c->picture_time) {
		c->picture = old->picture;
		old->picture = NULL;
		return;
	}
	c->picture = load_picture(path);
}

static struct card *find_card(struct card *cards, unsigned n, const char *path)
{
	for (unsigned i = 0; i < n; i++)
		if (!strcmp(cards[i].m->path, path))
			return &cards[i];
	return NULL;
}

static void free_cards(struct card *cards, unsigned n)
{
	for (unsigned i = 0; i < n; i++) {
		SDL_FreeSurface(cards[i].picture);
		machine_free(cards[i].m);
	}
	free(cards);
}

void lib_filter(struct library *l)
{
	struct card *c;
	int first = -1;

	for (unsigned i = 0; i < l->n; i++) {
		l->cards[i].shown = matches(l, l->cards[i].m);
		if (l->cards[i].shown && first < 0)
			first = (int)i;
	}
	c = lib_card(l);
	if (l->focus >= 0 && (!c || !c->shown))
		l->focus = first < 0 ? -1 : first;
	l->dirty = true;
}

static bool same_card(const struct card *a, const struct card *b)
{
	return b && a->state.running == b->state.running && a->state.used == b->state.used &&
	       a->state.bytes == b->state.bytes && a->picture_time == b->picture_time &&
	       !strcmp(machine_title(a->m), machine_title(b->m));
}

void lib_look(struct library *l)
{
	unsigned n, old_n = l->n;
	struct machine **list = machine_list(&n);
	struct card *old = l->cards, *now = hv_zalloc((n + 1) * sizeof(*now)), *was = lib_card(l);
	char focus[4096] = "";
	bool changed = n != old_n;

	if (was)
		snprintf(focus, sizeof(focus), "%s", was->m->path);
	for (unsigned i = 0; i < n; i++) {
		struct card *before = find_card(old, old_n, list[i]->path);

		now[i].m = list[i];
		machine_state(list[i], &now[i].state);
		take_picture(&now[i], before);
		changed |= !same_card(&now[i], before);
		if (!strcmp(list[i]->path, focus))
			l->focus = (int)i;
	}
	free(list);
	free_cards(old, old_n);
	l->cards = now;
	l->n = n;
	l->looked_at = SDL_GetTicks64();
	if (!old_n && n)
		l->focus = 0;
	if (changed)
		lib_filter(l);
	else
		for (unsigned i = 0; i < n; i++)
			now[i].shown = matches(l, now[i].m);
}

/* ---- actions ----------------------------------------------------------------------- */

void lib_notice(struct library *l, const char *text)
{
	snprintf(l->notice, sizeof(l->notice), "%s", text);
	l->notice_until = SDL_GetTicks64() + NOTICE_MS;
	l->dirty = true;
}

void lib_choose_file(struct library *l, bool iso)
{
	char dir[4096];
	char *slash;

	if (l->dialog)
		return;
	l->dialog = filedialog_open(l->win, iso ? _("Choose a CD image") :
				    _("Choose an ISO, disk image or OVA"), iso);
	if (l->dialog)
		return;
	snprintf(dir, sizeof(dir), "%s", l->form.to_floppy ? l->form.floppy.now : l->form.file.now);
	slash = strrchr(dir, '/');
	if (slash)
		*slash = 0;
	browser_open(&l->browser, slash ? dir : NULL);
	l->under = l->kind;
	lib_sheet(l, LSHEET_BROWSE);
}

void lib_file_chosen(struct library *l, const char *file)
{
	if (l->kind == LSHEET_NEW || l->kind == LSHEET_SETTINGS)
		lib_sheet_file(l, file);
	else
		lib_sheet_new(l, file);
}

static void poll_dialog(struct library *l)
{
	char file[4096];
	enum filedialog_state st = filedialog_poll(l->dialog, file, sizeof(file));

	if (st == FILEDIALOG_OPEN)
		return;
	filedialog_close(l->dialog);
	l->dialog = NULL;
	l->dirty = true;
	if (st == FILEDIALOG_CHOSEN)
		lib_file_chosen(l, file);
}

static void start(struct library *l, const struct card *c, enum lib_action a)
{
	if (c->state.running && a != LIB_START)
		lib_notice(l, _("It is running already"));
	else	/* a running one shows its window */
		job_start_machine(l, c->m->name, a == LIB_HEADLESS, a == LIB_DISCARD);
}

void lib_do(struct library *l, enum lib_action a)
{
	struct card *c = lib_card(l);

	l->menu_open = false;
	l->dirty = true;
	if (a == LIB_NEW)
		lib_sheet_new(l, NULL);
	else if (a == LIB_OPEN)
		lib_choose_file(l, false);
	else if (!c)
		return;
	else if (a == LIB_START || a == LIB_HEADLESS || a == LIB_DISCARD)
		start(l, c, a);
	else
		lib_sheet_of_card(l, c, a);
}

/* ---- drawing and life --------------------------------------------------------------------- */

static void set_scale(struct library *l, double k)
{
	if (l->font && k == l->scale)
		return;
	font_close(l->font);
	font_close(l->big);
	l->scale = k;
	l->font = font_open(TEXT_PX * k);
	l->big = font_open(TEXT_PX * 1.7 * k);
}

void lib_draw(struct library *l)
{
	int w = 0, h = 0, lw = 1, lh = 1;

	SDL_GetRendererOutputSize(l->ren, &w, &h);
	SDL_GetWindowSize(l->win, &lw, &lh);
	set_scale(l, ui_scale_of((double)w / MAX(lw, 1), l->scale_wish));
	l->s = draw_surface(l->s, MAX(w, 1), MAX(h, 1));
	if (!l->s || !l->font || !l->big)
		return;
	l->dirty = false;
	lib_layout(l);
	lib_paint(l);
	if (l->menu_open) {
		lib_menu_build(l);
		SDL_BlitSurface(l->menu.s, NULL, l->s, &(SDL_Rect){ l->menu.at.x, l->menu.at.y,
								    0, 0 });
	}
	if (l->kind) {
		lib_sheet_build(l);
		SDL_BlitSurface(l->sheet.s, NULL, l->s, &(SDL_Rect){ l->sheet.at.x, l->sheet.at.y,
								     0, 0 });
	}
}

static void show(struct library *l)
{
	int w = 0, h = 0;

	if (l->tex)
		SDL_QueryTexture(l->tex, NULL, NULL, &w, &h);
	if (!l->tex || w != l->s->w || h != l->s->h) {
		if (l->tex)
			SDL_DestroyTexture(l->tex);
		l->tex = SDL_CreateTexture(l->ren, SDL_PIXELFORMAT_ARGB8888,
					   SDL_TEXTUREACCESS_STREAMING, l->s->w, l->s->h);
	}
	if (!l->tex)
		return;
	SDL_UpdateTexture(l->tex, NULL, l->s->pixels, l->s->pitch);
	SDL_RenderCopy(l->ren, l->tex, NULL, NULL);
	SDL_RenderPresent(l->ren);
}

struct library *lib_open(double ui_scale, struct err *e)
{
	struct library *l = hv_zalloc(sizeof(*l));
	double k = ui_scale_of(1.0, ui_scale);

	l->scale_wish = ui_scale;
	l->hover = -9;
	l->focus = -1;
	l->dirty = true;
	if (!ui_open(e)) {
		free(l);
		return NULL;
	}
	l->win = SDL_CreateWindow(_("Machines - hvrun"), SDL_WINDOWPOS_UNDEFINED,
				  SDL_WINDOWPOS_UNDEFINED, (int)(1024 * k), (int)(640 * k),
				  SDL_WINDOW_RESIZABLE | SDL_WINDOW_ALLOW_HIGHDPI);
	l->ren = l->win ? SDL_CreateRenderer(l->win, -1, SDL_RENDERER_SOFTWARE) : NULL;
	set_scale(l, k);
	if (!l->ren || !l->font || !l->big) {
		err_set(e, HV_EXIT_HOST, "cannot open the library's window: %s",
			l->ren ? "there is no font; install fonts-dejavu-core" : SDL_GetError());
		lib_close(l);
		return NULL;
	}
	SDL_EnableScreenSaver();
	SDL_StartTextInput();
	lib_look(l);
	return l;
}

void lib_close(struct library *l)
{
	filedialog_close(l->dialog);
	browser_close(&l->browser);
	free_cards(l->cards, l->n);
	panel_free(&l->menu);
	panel_free(&l->sheet);
	font_close(l->font);
	font_close(l->big);
	SDL_FreeSurface(l->s);
	if (l->tex)
		SDL_DestroyTexture(l->tex);
	if (l->ren)
		SDL_DestroyRenderer(l->ren);
	if (l->win)
		SDL_DestroyWindow(l->win);
	SDL_Quit();
	free(l);
}

static int wait_ms(const struct library *l)
{
	if (job_any(l) || l->dialog)
		return POLL_MS;
	return SDL_GetWindowFlags(l->win) & (SDL_WINDOW_HIDDEN | SDL_WINDOW_MINIMIZED) ?
	       10 * LOOK_MS : LOOK_MS;
}

static void step(struct library *l)
{
	SDL_Event e;

	if (l->dirty) {
		lib_draw(l);
		show(l);
	}
	if (SDL_WaitEventTimeout(&e, wait_ms(l)))
		do
			lib_event(l, &e);
		while (SDL_PollEvent(&e));
	job_poll(l);
	if (l->dialog)
		poll_dialog(l);
	if (*l->notice && SDL_GetTicks64() >= l->notice_until && !job_any(l)) {
		*l->notice = 0;
		l->dirty = true;
	}
	if (!l->looked_at || SDL_GetTicks64() - l->looked_at >= LOOK_MS)
		lib_look(l);
}

int library_run(double ui_scale, struct err *e)
{
	struct library *l = lib_open(ui_scale, e);

	if (!l)
		return e->exit_code;
	while (!l->quit)
		step(l);
	lib_close(l);
	return 0;
}
