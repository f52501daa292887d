/* SPDX-License-Identifier: MIT */
/* The library's two large sheets: a new machine, and a machine's settings. */
#include "library_int.h"
#include "../src/guess.h"
#include "../src/media.h"
#include "../src/util.h"
#include <stdio.h>
#include <stdlib.h>
#include <strings.h>

/* ---- building --------------------------------------------------------------------- */

static void choice(struct library *l, int id, const char *label)
{
	struct widget *w = panel_add(&l->sheet, W_CHOICE, id, label);

	HV_BUG_ON(!form_shows(&l->form, id, w->right, sizeof(w->right)));
}

static void check(struct library *l, int id, const char *text, bool on)
{
	panel_add(&l->sheet, W_CHECK, id, text)->checked = on;
}

static void text(struct library *l, int id, const char *label, struct form_text *t)
{
	lib_field(l, id, label, t->now, sizeof(t->now));
}

static void build_resources(struct library *l)
{
	choice(l, LIB_MEMORY, _("Memory"));
	choice(l, LIB_CPUS, _("Processors"));
}

/* What most never change. */
static void build_rest(struct library *l)
{
	struct widget *hint;

	text(l, LIB_FORWARDS, _("Forwarded ports"), &l->form.forwards);
	hint = panel_add(&l->sheet, W_TEXT, 0, _("tcp:2222:22 makes port 22 of the guest port "
						 "2222 of this computer"));
	hint->disabled = true;
	choice(l, LIB_SOUND, _("Sound"));
	check(l, LIB_MIC, _("The guest may use the microphone"), l->form.mic);
	text(l, LIB_FLOPPY, _("Floppy disk"), &l->form.floppy);
}

void lib_build_new(struct library *l)
{
	struct form *f = &l->form;

	panel_add(&l->sheet, W_TITLE, 0, _("New machine"));
	lib_field(l, LIB_NAME, _("Name"), f->name, sizeof(f->name));
	text(l, LIB_FILE, _("ISO, disk or OVA"), &f->file);
	snprintf(panel_add(&l->sheet, W_TEXT, 0, _("System"))->right, PANEL_RIGHT, "%s",
		 *f->os ? f->os : _("not known"));
	build_resources(l);
	choice(l, LIB_DISK, _("New disk"));
	choice(l, LIB_NET, _("Network"));
	choice(l, LIB_FIRMWARE, _("Firmware"));
	check(l, LIB_MORE, _("More settings"), f->more);
	if (f->more)
		build_rest(l);
	lib_button(l, LIB_DO_START, _("Start"));
	lib_button(l, LIB_DO, _("Only create"));
	lib_button(l, LIB_BROWSE, _("Choose file..."));
	lib_button(l, LIB_CANCEL, _("Cancel"));
}

void lib_build_settings(struct library *l)
{
	struct form *f = &l->form;

	panel_add(&l->sheet, W_TITLE, 0, l->target);
	lib_field(l, LIB_NAME, _("Title"), f->name, sizeof(f->name));
	build_resources(l);
	text(l, LIB_FILE, _("CD"), &f->file);
	choice(l, LIB_NET, _("Network"));
	choice(l, LIB_FIRMWARE, _("Firmware"));
	choice(l, LIB_BOOT, _("Starts from"));
	build_rest(l);
	check(l, LIB_THROW, _("Throw all changes away at the end"), f->discard);
	lib_button(l, LIB_DO, _("Save"));
	lib_button(l, LIB_BROWSE, _("Choose CD..."));
	lib_button(l, LIB_EJECT, _("No CD"));
	lib_button(l, LIB_BROWSE_FLOPPY, _("Choose floppy..."));
	lib_button(l, LIB_CANCEL, _("Cancel"));
}

/* ---- opening ---------------------------------------------------------------------- */

static bool is_ova(const char *path)
{
	const char *dot = strrchr(path, '.');

	return dot && !strcasecmp(dot, ".ova");
}

static void set_file(struct library *l, const char *file)
{
	struct form *f = &l->form;
	bool floppy = f->to_floppy || (l->kind == LSHEET_SETTINGS && media_is_floppy(file));
	struct form_text *t = floppy ? &f->floppy : &f->file;

	snprintf(t->now, sizeof(t->now), "%s", file);
	f->to_floppy = false;
	l->dirty = true;
}

void lib_sheet_file(struct library *l, const char *file)
{
	struct form *f = &l->form;
	const char *slash = strrchr(file, '/'), *base = slash ? slash + 1 : file;
	char stem[MACHINE_NAME_MAX + 1];
	struct err e = { 0 };
	struct guess g;

	set_file(l, file);
	if (l->kind != LSHEET_NEW)
		return;
	if (!guess_medium(file, &g, &e)) {
		lib_message(l, e.msg);
		return;
	}
	form_guess(f, &g);
	snprintf(f->os, sizeof(f->os), "%s", g.title);
	if (is_ova(file))
		f->disk = 0;
	if (*f->name)
		return;
	snprintf(stem, sizeof(stem), "%s", base);
	if (strrchr(stem, '.') > stem)
		*strrchr(stem, '.') = 0;
	machine_free_name(stem, f->name, sizeof(f->name));
}

void lib_sheet_new(struct library *l, const char *file)
{
	struct guess g;

	l->form = (struct form){ .name = "" };
	guess_default(&g);
	form_guess(&l->form, &g);
	lib_sheet(l, LSHEET_NEW);
	if (file)
		lib_sheet_file(l, file);
	else
		machine_free_name(_("machine"), l->form.name, sizeof(l->form.name));
}

void lib_sheet_settings(struct library *l, const struct card *c)
{
	l->form = (struct form){ .more = true };
	snprintf(l->form.name, sizeof(l->form.name), "%s", machine_title(c->m));
	form_load(&l->form, c->m);
	lib_sheet(l, LSHEET_SETTINGS);
}

/* ---- acting ------------------------------------------------------------------------- */

void lib_do_new(struct library *l, bool start)
{
	struct form *f = &l->form;
	struct args a = { .n = 0 };
	struct err e = { 0 };
	char doing[200];

	if (!machine_name_ok(f->name, &e) || !form_ok(f, &e)) {
		lib_message(l, e.msg);
		return;
	}
	arg(&a, "create");
	arg(&a, "%s", f->name);
	form_args_new(f, &a);
	if (*f->file.now) {
		arg(&a, "--");
		arg(&a, "%s", f->file.now);
	}
	snprintf(doing, sizeof(doing), _("Making %s"), f->name);
	job_run(l, &a, doing, start ? f->name : NULL);
	lib_sheet(l, LSHEET_NONE);
}

void lib_do_settings(struct library *l)
{
	struct form *f = &l->form;
	struct args a = { .n = 0 };
	struct err e = { 0 };

	if (!form_ok(f, &e)) {
		lib_message(l, e.msg);
		return;
	}
	arg(&a, "edit");
	arg(&a, "%s", l->target);
	form_args_edit(f, &a);
	if (!*f->name || !strcmp(f->name, l->target)) {
		arg(&a, "--unset");
		arg(&a, "name");
	} else {
		arg(&a, "--name=%s", f->name);
	}
	job_run(l, &a, _("Saving"), NULL);
	lib_sheet(l, LSHEET_NONE);
}
