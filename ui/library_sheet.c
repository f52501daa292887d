/* SPDX-License-Identifier: MIT */
/* The library's sheets, and the hvrun commands that they end in. */
#include "library_int.h"
#include "../src/guess.h"
#include "../src/util.h"
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <strings.h>

#define CUSTOM 255u	/* place of a value that is in no list */

static const unsigned memories[] = { 64, 128, 256, 512, 1024, 2048, 3072, 4096, 6144, 8192, 12288,
				     16384, 24576, 32768 };
static const unsigned processors[] = { 1, 2, 3, 4, 6, 8, 12, 16 };
static const unsigned disks[] = { 0, 2, 4, 8, 16, 20, 32, 40, 64, 100, 128, 256, 512 };	/* GiB */

struct value {
	const char *option, *text;
};

static const struct value nets[] = {
	{ "user", N_("Through this computer (NAT)") },
	{ "user,model=e1000", N_("NAT, for old systems (e1000)") },
	{ "none", N_("None") },
};
static const struct value firmwares[] = {
	{ NULL, N_("By itself") }, { "bios", "BIOS" }, { "uefi", "UEFI" },
};
static const struct value boots[] = {
	{ NULL, N_("Disk, then CD") }, { "cd", N_("CD, then disk") }, { "menu", N_("Ask") },
};

static unsigned place_of(const unsigned *list, size_t n, unsigned v)
{
	for (size_t i = 0; i < n; i++)
		if (list[i] == v)
			return (unsigned)i;
	return CUSTOM;
}

static unsigned place_of_text(const struct value *list, size_t n, const char *v)
{
	for (size_t i = 0; i < n; i++)
		if (v ? list[i].option && !strcmp(list[i].option, v) : !list[i].option)
			return (unsigned)i;
	return v ? CUSTOM : 0;
}

/* ---- building ------------------------------------------------------------------- */

static struct widget *field(struct library *l, int id, const char *label, char *buf, size_t len)
{
	struct widget *w = panel_add(&l->sheet, W_FIELD, id, label);

	w->edit = buf;
	w->edit_len = len;
	return w;
}

static void choice(struct library *l, int id, const char *label, const char *fmt, ...)
	HV_PRINTF(4, 5);
static void choice(struct library *l, int id, const char *label, const char *fmt, ...)
{
	struct widget *w = panel_add(&l->sheet, W_CHOICE, id, label);
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(w->right, sizeof(w->right), fmt, ap);
	va_end(ap);
}

static void text_choice(struct library *l, int id, const char *label, const struct value *list,
			unsigned at)
{
	choice(l, id, label, "%s", at == CUSTOM ? _("As it is in the file") : _(list[at].text));
}

static void button(struct library *l, int id, const char *text)
{
	panel_add(&l->sheet, W_BUTTON, id, text);
}

static void build_resources(struct library *l)
{
	struct form *f = &l->form;
	unsigned long long mib = f->memory == CUSTOM ? f->memory_mib : memories[f->memory];

	if (mib >= 1024 && mib % 1024 == 0)
		choice(l, LIB_MEMORY, _("Memory"), "%llu GiB", mib / 1024);
	else
		choice(l, LIB_MEMORY, _("Memory"), "%llu MiB", mib);
	if (f->cpus == CUSTOM)
		choice(l, LIB_CPUS, _("Processors"), "%s", _("As it is in the file"));
	else
		choice(l, LIB_CPUS, _("Processors"), "%u", processors[f->cpus]);
}

static void build_new(struct library *l)
{
	struct form *f = &l->form;

	panel_add(&l->sheet, W_TITLE, 0, _("New machine"));
	field(l, LIB_NAME, _("Name"), f->name, sizeof(f->name));
	field(l, LIB_FILE, _("ISO, disk or OVA"), f->file, sizeof(f->file));
	snprintf(panel_add(&l->sheet, W_TEXT, 0, _("System"))->right, PANEL_RIGHT, "%s",
		 *f->os ? f->os : _("not known"));
	build_resources(l);
	if (disks[f->disk])
		choice(l, LIB_DISK, _("New disk"), "%u GiB", disks[f->disk]);
	else
		choice(l, LIB_DISK, _("New disk"), "%s", _("None"));
	text_choice(l, LIB_NET, _("Network"), nets, f->net);
	text_choice(l, LIB_FIRMWARE, _("Firmware"), firmwares, f->firmware);
	button(l, LIB_DO_START, _("Start"));
	button(l, LIB_DO, _("Only create"));
	button(l, LIB_BROWSE, _("Choose file..."));
	button(l, LIB_CANCEL, _("Cancel"));
}

static void build_settings(struct library *l)
{
	struct form *f = &l->form;

	panel_add(&l->sheet, W_TITLE, 0, l->target);
	field(l, LIB_NAME, _("Title"), f->name, sizeof(f->name));
	build_resources(l);
	field(l, LIB_FILE, _("CD"), f->file, sizeof(f->file));
	text_choice(l, LIB_NET, _("Network"), nets, f->net);
	text_choice(l, LIB_FIRMWARE, _("Firmware"), firmwares, f->firmware);
	text_choice(l, LIB_BOOT, _("Starts from"), boots, f->boot);
	panel_add(&l->sheet, W_CHECK, LIB_THROW, _("Throw all changes away at the end"))->checked =
		f->discard;
	button(l, LIB_DO, _("Save"));
	button(l, LIB_BROWSE, _("Choose CD..."));
	button(l, LIB_EJECT, _("No CD"));
	button(l, LIB_CANCEL, _("Cancel"));
}

static void build_copy(struct library *l)
{
	panel_add(&l->sheet, W_TITLE, 0, l->form.linked ? _("Linked clone") : _("Duplicate"));
	panel_add(&l->sheet, W_TEXT, 0, l->form.linked ?
		  _("Keeps only what differs. Leave the original as it is from now on.") :
		  _("The copy gets disks of its own."));
	field(l, LIB_NAME, _("Name"), l->form.name, sizeof(l->form.name));
	button(l, LIB_DO, l->form.linked ? _("Clone") : _("Duplicate"));
	button(l, LIB_CANCEL, _("Cancel"));
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
	button(l, LIB_CANCEL, _("Cancel"));
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
		build_new(l);
		break;
	case LSHEET_SETTINGS:
		build_settings(l);
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
		build_lines(l, 40, 90);
		button(l, LIB_CANCEL, _("Close"));
		break;
	}
	l->sheet.max_w = l->s->w;
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
	l->dirty = true;
}

void lib_message(struct library *l, const char *text)
{
	snprintf(l->message, sizeof(l->message), "%s", text);
	lib_sheet(l, LSHEET_MESSAGE);
}

static unsigned at_most(const unsigned *list, size_t n, unsigned v)
{
	unsigned at = 0;

	for (unsigned i = 0; i < n; i++)
		if (list[i] <= v)
			at = i;
	return at;
}

static void take_guess(struct form *f, const struct guess *g)
{
	f->memory = at_most(memories, ARRAY_SIZE(memories), (unsigned)(g->memory >> 20));
	f->cpus = at_most(processors, ARRAY_SIZE(processors), g->cpus);
	f->disk = g->kind == BOOT_DISK ? 0 :
		  at_most(disks, ARRAY_SIZE(disks), (unsigned)(g->disk >> 30));
}

static bool is_ova(const char *path)
{
	size_t n = strlen(path);

	return n > 4 && !strcasecmp(path + n - 4, ".ova");
}

void lib_sheet_file(struct library *l, const char *file)
{
	struct form *f = &l->form;
	const char *slash = strrchr(file, '/'), *base = slash ? slash + 1 : file;
	char stem[MACHINE_NAME_MAX + 1];
	struct err e = { 0 };
	struct guess g;

	snprintf(f->file, sizeof(f->file), "%s", file);
	l->dirty = true;
	if (l->kind != LSHEET_NEW)
		return;
	if (!guess_medium(file, &g, &e)) {
		lib_message(l, e.msg);
		return;
	}
	take_guess(f, &g);
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
	take_guess(&l->form, &g);
	lib_sheet(l, LSHEET_NEW);
	if (file)
		lib_sheet_file(l, file);
	else
		machine_free_name(_("machine"), l->form.name, sizeof(l->form.name));
}

static void open_settings(struct library *l, const struct card *c)
{
	struct form *f = &l->form;
	const char *v;
	uint64_t bytes;
	char *file;

	*f = (struct form){ .memory_mib = 1024 };
	snprintf(f->name, sizeof(f->name), "%s", machine_title(c->m));
	v = machine_get(c->m, "memory", 0);
	if (v && config_size(v, true, &bytes))
		f->memory_mib = bytes >> 20;
	f->memory = place_of(memories, ARRAY_SIZE(memories), (unsigned)f->memory_mib);
	v = machine_get(c->m, "cpus", 0);
	f->cpus = place_of(processors, ARRAY_SIZE(processors), v ? (unsigned)atoi(v) : 1);
	v = machine_get(c->m, "net", 0);
	f->net = place_of_text(nets, ARRAY_SIZE(nets), v ? v : "user");
	f->firmware = place_of_text(firmwares, ARRAY_SIZE(firmwares),
				    machine_get(c->m, "firmware", 0));
	v = machine_get(c->m, "boot", 0);
	f->boot = place_of_text(boots, ARRAY_SIZE(boots), v && !strcmp(v, "disk") ? NULL : v);
	v = machine_get(c->m, "discard", 0);
	f->discard = v && !strcmp(v, "yes");
	v = machine_get(c->m, "cdrom", 0);
	if (v) {
		file = machine_file_of(c->m, v);
		snprintf(f->file, sizeof(f->file), "%s", file);
		snprintf(f->file_was, sizeof(f->file_was), "%s", file);
		free(file);
	}
	lib_sheet(l, LSHEET_SETTINGS);
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
		open_settings(l, c);
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

struct args {
	const char *v[32];
	unsigned n;
	char text[12][300];
	unsigned texts;
};

static void arg(struct args *a, const char *s)
{
	if (a->n < ARRAY_SIZE(a->v) - 1)
		a->v[a->n++] = s;
}

static void argf(struct args *a, const char *fmt, ...) HV_PRINTF(2, 3);
static void argf(struct args *a, const char *fmt, ...)
{
	char *t = a->text[a->texts];
	va_list ap;

	if (a->texts + 1 < ARRAY_SIZE(a->text))
		a->texts++;
	va_start(ap, fmt);
	vsnprintf(t, sizeof(a->text[0]), fmt, ap);
	va_end(ap);
	arg(a, t);
}

static void arg_resources(struct args *a, const struct form *f)
{
	if (f->memory != CUSTOM)
		argf(a, "--memory=%uM", memories[f->memory]);
	if (f->cpus != CUSTOM)
		argf(a, "--cpus=%u", processors[f->cpus]);
	if (f->net != CUSTOM)
		argf(a, "--net=%s", nets[f->net].option);
}

static void do_new(struct library *l, bool start)
{
	struct form *f = &l->form;
	struct args a = { .n = 0 };
	struct err e = { 0 };
	char text[200];

	if (!machine_name_ok(f->name, &e)) {
		lib_message(l, e.msg);
		return;
	}
	arg(&a, "create");
	arg(&a, f->name);
	arg_resources(&a, f);
	if (disks[f->disk])
		argf(&a, "--new-disk=%uG", disks[f->disk]);
	else
		arg(&a, "--new-disk=none");
	if (f->firmware && f->firmware != CUSTOM)
		argf(&a, "--firmware=%s", firmwares[f->firmware].option);
	if (*f->file) {
		arg(&a, "--");
		arg(&a, f->file);
	}
	snprintf(text, sizeof(text), _("Making %s"), f->name);
	job_run(l, a.v, text, start ? f->name : NULL);
	lib_sheet(l, LSHEET_NONE);
}

static void set_or_unset(struct args *a, const char *key, const struct value *list, unsigned at)
{
	if (at == CUSTOM)
		return;
	if (list[at].option) {
		argf(a, "--%s=%s", key, list[at].option);
	} else {
		arg(a, "--unset");
		arg(a, key);
	}
}

/* --cdrom=FILE, commas doubled. */
static char *cd_option(const char *file)
{
	char *out = hv_zalloc(2 * strlen(file) + 16), *w = out + strlen("--cdrom=");

	memcpy(out, "--cdrom=", strlen("--cdrom="));
	for (; *file; file++) {
		*w++ = *file;
		if (*file == ',')
			*w++ = ',';
	}
	return out;
}

static void do_settings(struct library *l)
{
	struct form *f = &l->form;
	struct args a = { .n = 0 };
	char *cd = *f->file ? cd_option(f->file) : NULL;

	arg(&a, "edit");
	arg(&a, l->target);
	arg_resources(&a, f);
	set_or_unset(&a, "firmware", firmwares, f->firmware);
	set_or_unset(&a, "boot", boots, f->boot);
	arg(&a, "--unset");
	arg(&a, "discard");
	if (f->discard)
		arg(&a, "--discard");
	if (!*f->name || !strcmp(f->name, l->target)) {
		arg(&a, "--unset");
		arg(&a, "name");
	} else {
		argf(&a, "--name=%s", f->name);
	}
	if (strcmp(f->file, f->file_was)) {
		arg(&a, cd ? cd : "--unset");
		if (!cd)
			arg(&a, "cdrom");
	}
	job_run(l, a.v, _("Saving"), NULL);
	free(cd);
	lib_sheet(l, LSHEET_NONE);
}

static void do_copy(struct library *l)
{
	const char *args[] = { l->form.linked ? "clone" : "duplicate", l->target, l->form.name,
			       NULL };
	struct err e = { 0 };
	char text[200];

	if (!machine_name_ok(l->form.name, &e)) {
		lib_message(l, e.msg);
		return;
	}
	snprintf(text, sizeof(text), _("Making %s"), l->form.name);
	job_run(l, args, text, NULL);
	lib_sheet(l, LSHEET_NONE);
}

static void do_delete(struct library *l)
{
	const char *args[] = { "delete", l->target, "--yes", l->form.with_disks ? "--disks" : NULL,
			       NULL };
	char text[200];

	snprintf(text, sizeof(text), _("Deleting %s"), l->target);
	job_run(l, args, text, NULL);
	lib_sheet(l, LSHEET_NONE);
}

static void step_place(unsigned *at, size_t n, int by)
{
	if (*at == CUSTOM)
		*at = by > 0 ? 0 : (unsigned)n - 1;
	else
		*at = (unsigned)(((int)*at + by + (int)n) % (int)n);
}

static void step_choice(struct library *l, int id, int by)
{
	struct form *f = &l->form;

	switch (id) {
	case LIB_MEMORY:
		if (f->memory == CUSTOM)	/* from where it is in the row */
			f->memory = at_most(memories, ARRAY_SIZE(memories),
					    (unsigned)f->memory_mib);
		else
			step_place(&f->memory, ARRAY_SIZE(memories), by);
		break;
	case LIB_CPUS:
		step_place(&f->cpus, ARRAY_SIZE(processors), by);
		break;
	case LIB_DISK:
		step_place(&f->disk, ARRAY_SIZE(disks), by);
		break;
	case LIB_NET:
		step_place(&f->net, ARRAY_SIZE(nets), by);
		break;
	case LIB_FIRMWARE:
		step_place(&f->firmware, ARRAY_SIZE(firmwares), by);
		break;
	case LIB_BOOT:
		step_place(&f->boot, ARRAY_SIZE(boots), by);
		break;
	default:
		break;
	}
}

static void do_it(struct library *l, bool start)
{
	if (l->kind == LSHEET_NEW)
		do_new(l, start);
	else if (l->kind == LSHEET_SETTINGS)
		do_settings(l);
	else if (l->kind == LSHEET_COPY)
		do_copy(l);
	else if (l->kind == LSHEET_DELETE)
		do_delete(l);
}

static void react_id(struct library *l, int id)
{
	switch (id) {
	case LIB_CANCEL:
		lib_sheet(l, LSHEET_NONE);
		break;
	case LIB_DO:
	case LIB_DO_START:
		do_it(l, id == LIB_DO_START);
		break;
	case LIB_BROWSE:
		lib_choose_file(l, l->kind == LSHEET_SETTINGS);
		break;
	case LIB_EJECT:
		*l->form.file = 0;
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
		lib_sheet(l, LSHEET_NONE);
	else if (hit == PANEL_NEXT || hit == PANEL_PREV)
		step_choice(l, panel_focus_id(&l->sheet), hit == PANEL_NEXT ? 1 : -1);
	else if (hit > 0)
		react_id(l, hit);
}
