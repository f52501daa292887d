/* SPDX-License-Identifier: MIT */
/* Machine files and the options in them: file names, the way into a struct config. */
#include "machine.h"
#include "log.h"
#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

/* How a key's value begins with a file name. */
enum names { NO_FILE, WHOLE, UP_TO_COMMA, UP_TO_BLANK };

static enum names names_file(const char *key, const char *value)
{
	static const struct { const char *key; enum names how; } keys[] = {
		{ "disk", UP_TO_COMMA }, { "cdrom", UP_TO_COMMA }, { "floppy", UP_TO_COMMA },
		{ "kernel", WHOLE }, { "initrd", WHOLE }, { "nvram", WHOLE },
		{ "module", UP_TO_BLANK }, { "firmware", WHOLE },
	};

	if (!strcmp(key, "firmware") && (!strcmp(value, "bios") || !strcmp(value, "uefi")))
		return NO_FILE;
	if (!strncmp(value, "none", 4) && (!value[4] || value[4] == ',') &&
	    (!strcmp(key, "cdrom") || !strcmp(key, "floppy")))
		return NO_FILE;		/* an empty drive */
	for (unsigned i = 0; i < ARRAY_SIZE(keys); i++)
		if (!strcmp(keys[i].key, key))
			return keys[i].how;
	return NO_FILE;
}

/* Bytes of @v that are the file's name, commas still doubled. */
static size_t name_len(enum names how, const char *v)
{
	size_t n = 0;

	if (how == UP_TO_BLANK)
		return strcspn(v, " ");
	if (how == WHOLE)
		return strlen(v);
	for (; v[n]; n++) {
		if (v[n] != ',')
			continue;
		if (v[n + 1] != ',')
			break;
		n++;
	}
	return n;
}

/* "DIR/" in front, its commas doubled where they separate. */
static char *put_before(const char *dir, size_t dir_len, enum names how, const char *value)
{
	char *out = hv_zalloc(2 * dir_len + strlen(value) + 2), *w = out;

	for (size_t i = 0; i < dir_len; i++) {
		*w++ = dir[i];
		if (dir[i] == ',' && how == UP_TO_COMMA)
			*w++ = ',';
	}
	*w++ = '/';
	memcpy(w, value, strlen(value) + 1);
	return out;
}

char *machine_absolute(const char *key, const char *value)
{
	enum names how = names_file(key, value);
	char dir[PATH_MAX];

	if (!how || value[0] == '/' || !*value || !getcwd(dir, sizeof(dir)))
		return hv_strdup(value);
	return put_before(dir, strlen(dir), how, value);
}

char *machine_from_folder(const struct machine *m, const char *key, const char *value)
{
	enum names how = names_file(key, value);

	if (!how || value[0] == '/' || !*value)
		return hv_strdup(value);
	return put_before(m->path, (size_t)(strrchr(m->path, '/') - m->path), how, value);
}

/* Leaves only the file's name of @s. */
static void keep_name(enum names how, char *s)
{
	size_t n = name_len(how, s);
	char *w = s;

	for (size_t i = 0; i < n; i++) {
		*w++ = s[i];
		i += how == UP_TO_COMMA && s[i] == ',';
	}
	*w = 0;
}

char *machine_file_of(const struct machine *m, const char *value)
{
	char *s = machine_from_folder(m, "disk", value);

	keep_name(UP_TO_COMMA, s);
	return s;
}

/* ---- machine files from elsewhere ------------------------------------------------- */

/* Not in the user's folder of machines: it may have come with a download. */
static bool is_foreign(const struct machine *m)
{
	char mine[PATH_MAX], here[PATH_MAX];
	struct stat a, b;

	snprintf(here, sizeof(here), "%.*s", (int)(strrchr(m->path, '/') - m->path + 1), m->path);
	return !machine_dir(MACHINE_DIR_DATA, mine, sizeof(mine), NULL) || stat(mine, &a) < 0 ||
	       stat(here, &b) < 0 || a.st_dev != b.st_dev || a.st_ino != b.st_ino;
}

/* Symbolic links followed; a file that is not there yet is where its folder is. */
static bool is_below(const struct machine *m, char *file)
{
	size_t n = (size_t)(strrchr(m->path, '/') - m->path) + 1;
	char real[PATH_MAX];

	if (!realpath(file, real)) {
		*strrchr(file, '/') = 0;
		if (!realpath(*file ? file : "/", real))
			return true;	/* nor is that: opening it will say so */
		strncat(real, "/", sizeof(real) - strlen(real) - 1);
	}
	return !strncmp(real, m->path, n);
}

/* @value, its name seen from @m's folder, stays within it. */
static bool stays_inside(const struct machine *m, const char *key, const char *value)
{
	static const char *const backends[] = { "serial", "parallel", "console", "channel",
						"sound" };
	enum names how = names_file(key, value);
	char *file;
	bool ok;

	for (unsigned i = 0; i < ARRAY_SIZE(backends); i++)
		if (!strcmp(key, backends[i]))
			return !strstr(value, "file:") && !strstr(value, "unix:") &&
			       !strstr(value, "wav:");
	if (!how || *value != '/')
		return true;
	file = hv_strdup(value);
	keep_name(how, file);
	ok = is_below(m, file);
	free(file);
	return ok;
}

static bool check_foreign(const struct machine *m, const char *key, const char *value,
			  struct err *e)
{
	char mine[PATH_MAX] = "the folder of machines";

	if (!is_foreign(m) || stays_inside(m, key, value))
		return true;
	machine_dir(MACHINE_DIR_DATA, mine, sizeof(mine), NULL);
	return err_set(e, HV_EXIT_USAGE, "%s: '%s = %s' reaches out of the folder of this file, "
		       "which is none of your machines; if you trust it, copy it to %s", m->path,
		       key, value, mine);
}

static bool apply_line(struct machine *m, const struct machine_line *l, struct config *c,
		       struct err *e)
{
	char *value;

	switch (config_key(l->key)) {
	case CFG_KEY_UNKNOWN:
		log_warn("%s: '%s' is not known to this version; left alone", m->path, l->key);
		return true;
	case CFG_KEY_RUN_ONLY:
		log_warn("%s: '%s' is for the command line; left alone", m->path, l->key);
		return true;
	default:
		break;
	}
	if (m->nheld == ARRAY_SIZE(m->held))
		return err_set(e, HV_EXIT_USAGE, "%s: too many lines", m->path);
	value = machine_from_folder(m, l->key, l->value);
	m->held[m->nheld++] = value;
	if (!check_foreign(m, l->key, value, e))
		return false;
	return config_set(c, l->key, value, e) || err_prefix(e, "%s", m->path);
}

bool machine_apply(struct machine *m, struct config *c, struct err *e)
{
	for (unsigned i = 0; i < m->n; i++)
		if (m->lines[i].key && !apply_line(m, &m->lines[i], c, e))
			return false;
	if (!c->name)
		c->name = m->name;
	return true;
}

static bool same_file(const char *a, const struct stat *b)
{
	struct stat st;

	return stat(a, &st) == 0 && st.st_dev == b->st_dev && st.st_ino == b->st_ino;
}

static bool first_is(const struct machine *m, const char *key, const struct stat *st)
{
	const char *v = machine_get(m, key, 0);
	char *file = v ? machine_file_of(m, v) : NULL;
	bool same = file && same_file(file, st);

	free(file);
	return same;
}

struct machine *machine_of_disk(const char *disk)
{
	struct machine **list, *found = NULL;
	struct stat st;
	unsigned n;

	if (stat(disk, &st) < 0)
		return NULL;
	list = machine_list(&n);
	for (unsigned i = 0; i < n && !found; i++)
		if (first_is(list[i], "disk", &st) ||
		    (!machine_get(list[i], "disk", 0) && first_is(list[i], "cdrom", &st)))
			found = machine_open(list[i]->path, NULL);
	machine_list_free(list, n);
	return found;
}
