/* SPDX-License-Identifier: MIT */
/* The library's sheets: which is open, the small ones, and what their buttons do. */
#include "library_int.h"
#include "../src/util.h"
#include <stdio.h>

/* ---- building ------------------------------------------------------------------- */

struct widget *lib_field(struct library *l, int id, const char *label, char *buf, size_t len)
{
	struct widget *w = panel_add(&l->sheet, W_FIELD, id, label);

	w->edit = buf;
	w->edit_len = len;
	return w;
}

void lib_button(struct library *l, int id, const char *text)
{
	panel_add(&l->sheet, W_BUTTON, id, text);
}

static void build_copy(struct library *l)
{
	panel_add(&l->sheet, W_TITLE, 0, l->form.linked ? _("Linked clone") : _("Duplicate"));
	panel_add(&l->sheet, W_TEXT, 0, l->form.linked ?
		  _("Keeps only what differs. Leave the original as it is from now on.") :
		  _("The copy gets disks of its own."));
	lib_field(l, LIB_NAME, _("Name"), l->form.name, sizeof(l->form.name));
	lib_button(l, LIB_DO, l->form.linked ? _("Clone") : _("Duplicate"));
	lib_button(l, LIB_CANCEL, _("Cancel"));
}

static void build_delete(struct library *l)
{
	char line[PANEL_TEXT], size[24];

	snprintf(line, sizeof(line), _("Delete %s?"), l->target);
	panel_add(&l->sheet, W_TITLE, 0, line);
	panel_add(&l->sheet, W_TEXT, 0, _("Its settings, picture and log are removed."));
	lib_bytes(l->form.frees, size, sizeof(size));
	snprintf(line, sizeof(line), _("Remove its disk images too, %s"), size);
	panel_add(&l->sheet, W_CHECK, LIB_WITH_DISKS, line)->checked = l->form.with_disks;
	lib_button(l, LIB_CANCEL, _("Cancel"));
	panel_add(&l->sheet, W_BUTTON, LIB_DO, _("Delete"))->danger = true;
}

/* Lines of l->message, the last ones that fit. */
static void build_lines(struct library *l, unsigned max, unsigned columns)
{
	const char *p = l->message;
	char line[PANEL_TEXT];

	columns = MIN(columns, PANEL_TEXT - 1u);
	while (*p && l->sheet.n < max) {
		size_t n = strcspn(p, "\n");

		if (n > columns) {
			n = columns;
			while (n > columns / 2 && p[n] != ' ')
				n--;
			if (p[n] != ' ')
				n = columns;
			while (n > 1 && ((unsigned char)p[n] & 0xc0) == 0x80)
				n--;
		}
		snprintf(line, sizeof(line), "%.*s", (int)n, p);
		panel_add(&l->sheet, W_TEXT, 0, line);
		p += n;
		p += strspn(p, " ");
		p += *p == '\n';
	}
}

void lib_sheet_build(struct library *l)
{
	panel_begin(&l->sheet, PANEL_SHEET);
	switch (l->kind) {
	case LSHEET_NEW:
		lib_build_new(l);
		break;
	case LSHEET_SETTINGS:
		lib_build_settings(l);
		break;
	case LSHEET_COPY:
		build_copy(l);
		break;
	case LSHEET_DELETE:
		build_delete(l);
		break;
	case LSHEET_BROWSE:
		browser_build(&l->browser, &l->sheet,
			      (int)(l->s->h / (font_height(l->font) + 8 * l->scale)));
		break;
	default:
		panel_add(&l->sheet, W_TITLE, 0, l->kind == LSHEET_LOG ? l->target : "hvrun");
		build_lines(l, PANEL_WIDGETS - 4, 90);
		lib_button(l, LIB_CANCEL, _("Close"));
		break;
	}
	l->sheet.max_w = l->s->w;
	l->sheet.max_h = l->s->h;
	panel_end(&l->sheet, l->font, l->scale, (int)(420 * l->scale));
	if (!l->sheet.s)
		return;
	l->sheet.at.x = MAX((l->s->w - l->sheet.s->w) / 2, 0);
	l->sheet.at.y = MAX((l->s->h - l->sheet.s->h) * 2 / 5, 0);
}

/* ---- opening ---------------------------------------------------------------------- */

void lib_sheet(struct library *l, enum lib_sheet kind)
{
	if (l->kind == LSHEET_BROWSE)
		browser_close(&l->browser);
	if (kind != LSHEET_BROWSE)
		l->under = LSHEET_NONE;
	l->kind = kind;
	l->menu_open = false;
	l->sheet.focus = -1;
	l->sheet.hover = -1;
	l->sheet.scroll = kind == LSHEET_LOG ? PANEL_END : 0;
	l->dirty = true;
}

/* Closed, the sheet that it is about is there again. */
void lib_message(struct library *l, const char *text)
{
	enum lib_sheet under = l->kind == LSHEET_MESSAGE || l->kind == LSHEET_BROWSE ? l->under :
			       l->kind == LSHEET_NEW || l->kind == LSHEET_SETTINGS ||
			       l->kind == LSHEET_COPY ? l->kind : LSHEET_NONE;

	snprintf(l->message, sizeof(l->message), "%s", text);
	lib_sheet(l, LSHEET_MESSAGE);
	l->under = under;
}

static void close_sheet(struct library *l)
{
	lib_sheet(l, l->kind == LSHEET_MESSAGE ? l->under : LSHEET_NONE);
}

static void open_log(struct library *l, const struct card *c)
{
	char path[4096];
	FILE *f = NULL;
	size_t n = 0;

	if (machine_path(c->m, "log", path, sizeof(path), NULL))
		f = fopen(path, "re");
	if (f) {
		if (fseek(f, -(long)sizeof(l->message) + 1, SEEK_END) < 0)
			rewind(f);
		n = fread(l->message, 1, sizeof(l->message) - 1, f);
		fclose(f);
	}
	l->message[n] = 0;
	if (!n)
		snprintf(l->message, sizeof(l->message), "%s", _("Nothing was logged."));
	lib_sheet(l, LSHEET_LOG);
}

void lib_sheet_of_card(struct library *l, const struct card *c, enum lib_action a)
{
	char base[MACHINE_NAME_MAX + 1];

	snprintf(l->target, sizeof(l->target), "%s", c->m->name);
	if (a == LIB_SETTINGS) {
		lib_sheet_settings(l, c);
	} else if (a == LIB_LOG) {
		open_log(l, c);
	} else if (a == LIB_DELETE) {
		l->form = (struct form){ .frees = c->state.bytes };
		lib_sheet(l, LSHEET_DELETE);
	} else {
		l->form = (struct form){ .linked = a == LIB_CLONE };
		snprintf(base, sizeof(base), "%s", c->m->name);
		machine_free_name(base, l->form.name, sizeof(l->form.name));
		lib_sheet(l, LSHEET_COPY);
	}
}

/* ---- acting ------------------------------------------------------------------------- */

static void do_copy(struct library *l)
{
	struct args a = { .n = 0 };
	struct err e = { 0 };
	char text[200];

	if (!machine_name_ok(l->form.name, &e)) {
		lib_message(l, e.msg);
		return;
	}
	arg(&a, l->form.linked ? "clone" : "duplicate");
	arg(&a, "%s", l->target);
	arg(&a, "%s", l->form.name);
	snprintf(text, sizeof(text), _("Making %s"), l->form.name);
	job_run(l, &a, text, NULL);
	lib_sheet(l, LSHEET_NONE);
}

static void do_delete(struct library *l)
{
	struct args a = { .n = 0 };
	char text[200];

	arg(&a, "delete");
	arg(&a, "%s", l->target);
	arg(&a, "--yes");
	if (l->form.with_disks)
		arg(&a, "--disks");
	snprintf(text, sizeof(text), _("Deleting %s"), l->target);
	job_run(l, &a, text, NULL);
	lib_sheet(l, LSHEET_NONE);
}

static void do_it(struct library *l, bool start)
{
	if (l->kind == LSHEET_NEW)
		lib_do_new(l, start);
	else if (l->kind == LSHEET_SETTINGS)
		lib_do_settings(l);
	else if (l->kind == LSHEET_COPY)
		do_copy(l);
	else if (l->kind == LSHEET_DELETE)
		do_delete(l);
}

static void react_id(struct library *l, int id)
{
	switch (id) {
	case LIB_CANCEL:
		close_sheet(l);
		break;
	case LIB_DO:
	case LIB_DO_START:
		do_it(l, id == LIB_DO_START);
		break;
	case LIB_BROWSE:
	case LIB_BROWSE_FLOPPY:
		l->form.to_floppy = id == LIB_BROWSE_FLOPPY;
		lib_choose_file(l, l->kind == LSHEET_SETTINGS && id == LIB_BROWSE);
		break;
	case LIB_EJECT:
		*l->form.file.now = 0;
		break;
	case LIB_MORE:
		l->form.more = !l->form.more;
		break;
	case LIB_MIC:
		l->form.mic = !l->form.mic;
		break;
	case LIB_THROW:
		l->form.discard = !l->form.discard;
		break;
	case LIB_WITH_DISKS:
		l->form.with_disks = !l->form.with_disks;
		break;
	default:
		break;
	}
}

void lib_sheet_react(struct library *l, int hit)
{
	if (hit == PANEL_NOTHING)
		return;
	l->dirty = true;
	if (hit == PANEL_CLOSE)
		close_sheet(l);
	else if (hit == PANEL_NEXT || hit == PANEL_PREV)
		form_step(&l->form, panel_focus_id(&l->sheet), hit == PANEL_NEXT ? 1 : -1);
	else if (hit > 0)
		react_id(l, hit);
}
