/* SPDX-License-Identifier: MIT */
/*
 * The values that the library's sheets offer: lists, how they are shown, and
 * the way from a machine's file and into the options of hvrun create and edit.
 *
 * What stands in the file but in no list is shown as such and left alone.
 */
#include "library_int.h"
#include "../src/guess.h"
#include "../src/util.h"
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>

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
}, sounds[] = {
	{ NULL, N_("By itself") }, { "hda", "HD Audio" },
	{ "ac97", N_("AC'97, for old systems") }, { "virtio", "virtio" }, { "none", N_("None") },
}, firmwares[] = {
	{ NULL, N_("By itself") }, { "bios", "BIOS" }, { "uefi", "UEFI" },
}, boots[] = {
	{ NULL, N_("Disk, then CD") }, { "cd", N_("CD, then disk") },
	{ "floppy", N_("Floppy disk") }, { "menu", N_("Ask") },
};

/* One row a choice: a list of numbers or of values, and where its place is in the form. */
static const struct choice {
	int id;
	const char *key;		/* of the machine's file */
	size_t place;			/* in struct form */
	const unsigned *numbers;
	const struct value *values;
	size_t n;
} choices[] = {
#define NUMBERS(id, key, place, list) \
	{ id, key, offsetof(struct form, place), list, NULL, ARRAY_SIZE(list) }
#define VALUES(id, key, place, list) \
	{ id, key, offsetof(struct form, place), NULL, list, ARRAY_SIZE(list) }
	NUMBERS(LIB_MEMORY, "memory", memory, memories),
	NUMBERS(LIB_CPUS, "cpus", cpus, processors),
	NUMBERS(LIB_DISK, "new-disk", disk, disks),
	VALUES(LIB_NET, "net", net, nets), VALUES(LIB_SOUND, "sound", sound, sounds),
	VALUES(LIB_FIRMWARE, "firmware", firmware, firmwares),
	VALUES(LIB_BOOT, "boot", boot, boots),
};

static const struct choice *choice_of(int id)
{
	for (unsigned i = 0; i < ARRAY_SIZE(choices); i++)
		if (choices[i].id == id)
			return &choices[i];
	return NULL;
}

static unsigned *place(struct form *f, const struct choice *c)
{
	return (unsigned *)((char *)f + c->place);
}

static unsigned at(const struct form *f, const struct choice *c)
{
	return *(const unsigned *)((const char *)f + c->place);
}

/* ---- lists -------------------------------------------------------------------------- */

static unsigned place_of(const unsigned *list, size_t n, unsigned v)
{
	for (size_t i = 0; i < n; i++)
		if (list[i] == v)
			return (unsigned)i;
	return FORM_CUSTOM;
}

static unsigned place_of_text(const struct value *list, size_t n, const char *v)
{
	for (size_t i = 0; i < n; i++)
		if (v ? list[i].option && !strcmp(list[i].option, v) : !list[i].option)
			return (unsigned)i;
	return v ? FORM_CUSTOM : 0;
}

static unsigned at_most(const unsigned *list, size_t n, unsigned v)
{
	unsigned found = 0;

	for (unsigned i = 0; i < n; i++)
		if (list[i] <= v)
			found = i;
	return found;
}

static void show_mib(unsigned long long mib, char *out, size_t len)
{
	if (mib >= 1024 && mib % 1024 == 0)
		snprintf(out, len, "%llu GiB", mib / 1024);
	else
		snprintf(out, len, "%llu MiB", mib);
}

bool form_shows(const struct form *f, int id, char *out, size_t len)
{
	const struct choice *c = choice_of(id);
	unsigned i = c ? at(f, c) : 0;

	if (!c)
		return false;
	if (id == LIB_MEMORY)
		show_mib(i == FORM_CUSTOM ? f->memory_mib : memories[i], out, len);
	else if (i == FORM_CUSTOM)
		snprintf(out, len, "%s", _("As it is in the file"));
	else if (c->values)
		snprintf(out, len, "%s", _(c->values[i].text));
	else if (id != LIB_DISK)
		snprintf(out, len, "%u", c->numbers[i]);
	else if (disks[i])
		snprintf(out, len, "%u GiB", disks[i]);
	else
		snprintf(out, len, "%s", _("None"));
	return true;
}

void form_step(struct form *f, int id, int by)
{
	const struct choice *c = choice_of(id);
	unsigned *i = c ? place(f, c) : NULL;

	if (!c)
		return;
	if (*i != FORM_CUSTOM)
		*i = (unsigned)(((int)*i + by + (int)c->n) % (int)c->n);
	else if (id == LIB_MEMORY)	/* from where it is in the row */
		*i = at_most(memories, c->n, (unsigned)f->memory_mib);
	else
		*i = by > 0 ? 0 : (unsigned)c->n - 1;
}

/* ---- from a guess, from a file --------------------------------------------------------- */

void form_guess(struct form *f, const struct guess *g)
{
	f->memory = at_most(memories, ARRAY_SIZE(memories), (unsigned)(g->memory >> 20));
	f->cpus = at_most(processors, ARRAY_SIZE(processors), g->cpus);
	f->disk = g->kind == BOOT_DISK ? 0 :
		  at_most(disks, ARRAY_SIZE(disks), (unsigned)(g->disk >> 30));
}

static void load_file(struct form_text *t, const struct machine *m, const char *key)
{
	const char *v = machine_get(m, key, 0);
	char *file = v && strcmp(v, "none") ? machine_file_of(m, v) : NULL;

	snprintf(t->now, sizeof(t->now), "%s", file ? file : "");
	memcpy(t->was, t->now, sizeof(t->was));
	free(file);
}

/* MODEL[,mic=on|off]; with more it stays as it is. */
static void load_sound(struct form *f, const char *v)
{
	const char *rest = v ? strchr(v, ',') : NULL;
	char model[40] = "";

	f->mic = rest && !strcmp(rest, ",mic=on");
	if (v)
		snprintf(model, sizeof(model), "%.*s", (int)strcspn(v, ","), v);
	f->sound = rest && !f->mic && strcmp(rest, ",mic=off") ? FORM_CUSTOM :
		   place_of_text(sounds, ARRAY_SIZE(sounds), v ? model : NULL);
}

static void load_forwards(struct form_text *t, const struct machine *m)
{
	size_t n = 0;
	const char *v;

	*t->now = 0;
	for (unsigned i = 0; (v = machine_get(m, "forward", i)) && n < sizeof(t->now); i++)
		n += (size_t)snprintf(t->now + n, sizeof(t->now) - n, "%s%s", i ? " " : "", v);
	memcpy(t->was, t->now, sizeof(t->was));
}

void form_load(struct form *f, const struct machine *m)
{
	const char *v = machine_get(m, "memory", 0);
	uint64_t bytes;

	f->memory_mib = v && config_size(v, true, &bytes) ? bytes >> 20 : 1024;
	f->memory = place_of(memories, ARRAY_SIZE(memories), (unsigned)f->memory_mib);
	v = machine_get(m, "cpus", 0);
	f->cpus = place_of(processors, ARRAY_SIZE(processors), v ? (unsigned)atoi(v) : 1);
	v = machine_get(m, "net", 0);
	f->net = place_of_text(nets, ARRAY_SIZE(nets), v ? v : "user");
	f->firmware = place_of_text(firmwares, ARRAY_SIZE(firmwares),
				    machine_get(m, "firmware", 0));
	v = machine_get(m, "boot", 0);
	f->boot = place_of_text(boots, ARRAY_SIZE(boots), v && !strcmp(v, "disk") ? NULL : v);
	v = machine_get(m, "discard", 0);
	f->discard = v && !strcmp(v, "yes");
	load_sound(f, machine_get(m, "sound", 0));
	load_forwards(&f->forwards, m);
	load_file(&f->file, m, "cdrom");
	load_file(&f->floppy, m, "floppy");
}

/* ---- into options ------------------------------------------------------------------------ */

static void unset(struct args *a, const char *key)
{
	arg(a, "--unset");
	arg(a, "%s", key);
}

/* --KEY=FILE, commas doubled. */
static void file_arg(struct args *a, const char *key, const char *file)
{
	char *twice = hv_zalloc(2 * strlen(file) + 1), *w = twice;

	for (; *file; file++) {
		*w++ = *file;
		if (*file == ',')
			*w++ = ',';
	}
	arg(a, "--%s=%s", key, twice);
	free(twice);
}

static void numbers_args(const struct form *f, struct args *a)
{
	if (f->memory != FORM_CUSTOM)
		arg(a, "--memory=%uM", memories[f->memory]);
	if (f->cpus != FORM_CUSTOM)
		arg(a, "--cpus=%u", processors[f->cpus]);
}

/* @edit: what is by itself leaves the file. */
static void value_arg(const struct form *f, int id, struct args *a, bool edit)
{
	const struct choice *c = choice_of(id);
	unsigned i = at(f, c);

	if (i == FORM_CUSTOM)
		return;
	if (c->values[i].option)
		arg(a, "--%s=%s", c->key, c->values[i].option);
	else if (edit)
		unset(a, c->key);
}

static void sound_arg(const struct form *f, struct args *a, bool edit)
{
	const char *model = f->sound == FORM_CUSTOM ? NULL : sounds[f->sound].option;

	if (f->mic && f->sound != FORM_CUSTOM && (!model || strcmp(model, "none")))
		arg(a, "--sound=%s,mic=on", model ? model : "hda");
	else
		value_arg(f, LIB_SOUND, a, edit);
}

/* The next of the forwards, which blanks or commas part: its length, 0: no more. */
static int next_forward(const char **text)
{
	*text += strspn(*text, " ,");
	return (int)strcspn(*text, " ,");
}

static void forward_args(const char *text, struct args *a)
{
	int n;

	for (; (n = next_forward(&text)); text += n)
		arg(a, "--forward=%.*s", n, text);
}

bool form_ok(const struct form *f, struct err *e)
{
	const char *text = f->forwards.now;
	struct config c;
	bool ok = true;
	int n;

	config_init(&c);
	for (; ok && (n = next_forward(&text)); text += n) {
		char one[200];

		snprintf(one, sizeof(one), "%.*s", n, text);
		ok = config_set(&c, "forward", one, e);
	}
	config_free(&c);
	return ok;
}

void form_args_new(const struct form *f, struct args *a)
{
	numbers_args(f, a);
	if (disks[f->disk])
		arg(a, "--new-disk=%uG", disks[f->disk]);
	else
		arg(a, "--new-disk=none");
	value_arg(f, LIB_NET, a, false);
	value_arg(f, LIB_FIRMWARE, a, false);
	sound_arg(f, a, false);
	forward_args(f->forwards.now, a);
	if (*f->floppy.now)
		file_arg(a, "floppy", f->floppy.now);
}

static void changed_file(const struct form_text *t, const char *key, struct args *a)
{
	if (!strcmp(t->now, t->was))
		return;
	if (*t->now)
		file_arg(a, key, t->now);
	else
		unset(a, key);
}

void form_args_edit(const struct form *f, struct args *a)
{
	numbers_args(f, a);
	value_arg(f, LIB_NET, a, true);
	value_arg(f, LIB_FIRMWARE, a, true);
	value_arg(f, LIB_BOOT, a, true);
	sound_arg(f, a, true);
	unset(a, "discard");
	if (f->discard)
		arg(a, "--discard");
	changed_file(&f->file, "cdrom", a);
	changed_file(&f->floppy, "floppy", a);
	if (!strcmp(f->forwards.now, f->forwards.was))
		return;
	unset(a, "forward");
	forward_args(f->forwards.now, a);
}
