/* SPDX-License-Identifier: MIT */
/* Machine files: reading, changing, writing; see machine.h. */
#include "machine.h"
#include "log.h"
#include "savefile.h"
#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#define FILE_MAX (256u << 10)
#define HEADER "# A machine of hvrun: an option of hvrun(1) a line, without its dashes."

/* ---- lines -------------------------------------------------------------------- */

static void push(struct machine *m, const char *key, const char *value)
{
	void *p = realloc(m->lines, (m->n + 1) * sizeof(*m->lines));

	HV_BUG_ON(!p);
	m->lines = p;
	m->lines[m->n++] = (struct machine_line){ key ? hv_strdup(key) : NULL, hv_strdup(value) };
}

static void drop(struct machine *m, unsigned i)
{
	free(m->lines[i].key);
	free(m->lines[i].value);
	memmove(&m->lines[i], &m->lines[i + 1], (m->n - i - 1) * sizeof(*m->lines));
	m->n--;
}

static bool is_key(const struct machine_line *l, const char *key)
{
	return l->key && !strcmp(l->key, key);
}

const char *machine_get(const struct machine *m, const char *key, unsigned nth)
{
	for (unsigned i = 0; i < m->n; i++)
		if (is_key(&m->lines[i], key) && !nth--)
			return m->lines[i].value;
	return NULL;
}

const char *machine_title(const struct machine *m)
{
	const char *name = machine_get(m, "name", 0);

	return name && *name ? name : m->name;
}

void machine_add(struct machine *m, const char *key, const char *value)
{
	unsigned at = 0;

	push(m, key, value);
	for (unsigned i = 0; i + 1 < m->n; i++)	/* beside the others of its kind */
		if (is_key(&m->lines[i], key))
			at = i + 1;
	if (at) {
		struct machine_line l = m->lines[m->n - 1];

		memmove(&m->lines[at + 1], &m->lines[at], (m->n - 1 - at) * sizeof(l));
		m->lines[at] = l;
	}
}

void machine_set(struct machine *m, const char *key, const char *value)
{
	bool done = !value;

	for (unsigned i = 0; i < m->n;) {
		if (!is_key(&m->lines[i], key)) {
			i++;
		} else if (done) {
			drop(m, i);
		} else {
			free(m->lines[i].value);
			m->lines[i++].value = hv_strdup(value);
			done = true;
		}
	}
	if (!done)
		push(m, key, value);
}

/* ---- text ------------------------------------------------------------------------- */

static char *trim(char *s)
{
	char *end;

	s += strspn(s, " \t\r");
	end = s + strlen(s);
	while (end > s && strchr(" \t\r", end[-1]))
		*--end = 0;
	return s;
}

/* The key of "KEY = VALUE", and where its value begins; NULL: the line is none. */
static char *take_key(char *line, char **value)
{
	char *key = line + strspn(line, " \t");
	size_t n = strspn(key, "abcdefghijklmnopqrstuvwxyz0123456789-");
	char *eq = key + n + strspn(key + n, " \t");

	if (!n || *eq != '=')
		return NULL;
	key[n] = 0;
	*value = eq + 1;
	return key;
}

/* What is no KEY = VALUE is kept as it is. */
static void parse_line(struct machine *m, char *line)
{
	char *value, *key = take_key(line, &value);
	size_t n;

	if (!key) {
		push(m, NULL, line);
		return;
	}
	value = trim(value);
	n = strlen(value);
	if (n >= 2 && value[0] == '"' && value[n - 1] == '"') {
		value[n - 1] = 0;
		value++;
	}
	push(m, key, value);
}

static void parse(struct machine *m, char *text)
{
	while (*text) {
		size_t n = strcspn(text, "\n");
		char *next = text + n + (text[n] == '\n');

		text[n] = 0;
		parse_line(m, text);
		text = next;
	}
}

static bool needs_quotes(const char *v)
{
	size_t n = strlen(v);

	return n && (strchr(" \t\r\"", v[0]) || strchr(" \t\r\"", v[n - 1]));
}

static void write_text(const struct machine *m, FILE *f)
{
	for (unsigned i = 0; i < m->n; i++) {
		const struct machine_line *l = &m->lines[i];
		const char *q = l->key && needs_quotes(l->value) ? "\"" : "";

		fprintf(f, "%s%s%s%s%s\n", l->key ? l->key : "", l->key ? " = " : "", q, l->value,
			q);
	}
}

/* ---- files ------------------------------------------------------------------------- */

static struct machine *blank(const char *path)
{
	struct machine *m = hv_zalloc(sizeof(*m));
	const char *slash = strrchr(path, '/'), *base = slash ? slash + 1 : path;
	size_t n = strlen(base), s = strlen(MACHINE_SUFFIX);
	char dir[PATH_MAX], id[MACHINE_NAME_MAX + 32];

	m->lock_fd = -1;
	m->path = hv_strdup(path);
	m->name = hv_strdup(base);
	if (n > s && !strcmp(base + n - s, MACHINE_SUFFIX))
		m->name[n - s] = 0;
	if (machine_dir(MACHINE_DIR_DATA, dir, sizeof(dir), NULL) && slash &&
	    strlen(dir) == (size_t)(slash - path) && !memcmp(dir, path, strlen(dir)))
		snprintf(id, sizeof(id), "%.*s", MACHINE_NAME_MAX, m->name);
	else	/* elsewhere: may be called as another one */
		snprintf(id, sizeof(id), "%.*s-%08x", MACHINE_NAME_MAX, m->name,
			 crc32c(0, path, strlen(path)));
	m->id = hv_strdup(id);
	return m;
}

bool machine_name_ok(const char *name, struct err *e)
{
	for (const char *p = name; *p; p++)
		if ((unsigned char)*p < ' ' || *p == '/' || *p == 0x7f)
			return err_set(e, HV_EXIT_USAGE, "a machine's name has no slashes and no "
				       "control characters");
	if (!*name || *name == '.' || *name == '-' || strlen(name) > MACHINE_NAME_MAX)
		return err_set(e, HV_EXIT_USAGE, "'%.120s' is no name for a machine: at most %d "
			       "bytes, not starting with a dot or a dash", name, MACHINE_NAME_MAX);
	return true;
}

static bool name_path(const char *name, char *out, size_t len, struct err *e)
{
	char dir[PATH_MAX];

	if (!machine_name_ok(name, e) || !machine_dir(MACHINE_DIR_DATA, dir, sizeof(dir), e))
		return false;
	if (snprintf(out, len, "%s/%s" MACHINE_SUFFIX, dir, name) >= (int)len)
		return err_set(e, HV_EXIT_USAGE, "%s: the path is too long", dir);
	return true;
}

void machine_free_name(const char *want, char *out, size_t len)
{
	char path[PATH_MAX], base[MACHINE_NAME_MAX - 8];
	size_t n = 0;

	for (; *want && n + 1 < sizeof(base); want++)
		base[n++] = (unsigned char)*want < ' ' || *want == '/' ? '_' : *want;
	while (n && ((unsigned char)base[n - 1] & 0xc0) == 0x80 && *want)
		n--;	/* not half a character */
	base[n] = 0;
	if (!machine_name_ok(base, NULL))
		snprintf(base, sizeof(base), "machine");
	snprintf(out, len, "%s", base);
	for (unsigned i = 2; i < 1000; i++) {
		if (!name_path(out, path, sizeof(path), NULL) || access(path, F_OK) < 0)
			return;
		snprintf(out, len, "%s %u", base, i);
	}
}

static bool taken(const char *name, struct err *e)
{
	return err_set(e, HV_EXIT_USAGE, "there is a machine %s already; choose another name, "
		       "or change it with: hvrun edit", name);
}

struct machine *machine_new(const char *name, struct err *e)
{
	struct machine *m;
	char path[PATH_MAX];

	if (!name_path(name, path, sizeof(path), e))
		return NULL;
	if (access(path, F_OK) == 0) {
		taken(name, e);
		return NULL;
	}
	m = blank(path);
	m->fresh = true;
	push(m, NULL, HEADER);
	return m;
}

static char *read_text(const char *path, struct err *e)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
	char *buf = hv_zalloc(FILE_MAX + 1);
	struct stat st;
	ssize_t n;
	size_t len = 0;

	if (fd < 0 || fstat(fd, &st) < 0) {
		err_errno(e, HV_EXIT_GENERIC, errno, "cannot open %s", path);
	} else if (!S_ISREG(st.st_mode) || st.st_size > (off_t)FILE_MAX) {
		err_set(e, HV_EXIT_USAGE, "%s is no machine file", path);
	} else {
		while ((n = read(fd, buf + len, FILE_MAX - len)) > 0)
			len += (size_t)n;
		close(fd);
		if (!memchr(buf, 0, len))
			return buf;
		err_set(e, HV_EXIT_USAGE, "%s is no machine file: it is not text", path);
		fd = -1;
	}
	if (fd >= 0)
		close(fd);
	free(buf);
	return NULL;
}

struct machine *machine_open(const char *path, struct err *e)
{
	char real[PATH_MAX], *text;
	struct machine *m;

	if (!realpath(path, real)) {
		err_errno(e, HV_EXIT_USAGE, errno, "cannot open %s", path);
		return NULL;
	}
	text = read_text(real, e);
	if (!text)
		return NULL;
	m = blank(real);
	parse(m, text);
	free(text);
	return m;
}

static bool has_suffix(const char *s)
{
	size_t n = strlen(s), k = strlen(MACHINE_SUFFIX);

	return n > k && !strcmp(s + n - k, MACHINE_SUFFIX);
}

struct machine *machine_find(const char *arg, struct err *e)
{
	char path[PATH_MAX];

	if (has_suffix(arg) && (strchr(arg, '/') || access(arg, F_OK) == 0))
		return machine_open(arg, e);
	if (!strchr(arg, '/') && name_path(arg, path, sizeof(path), e) && access(path, F_OK) == 0)
		return machine_open(path, e);
	err_set(e, HV_EXIT_USAGE, "there is no machine %s; hvrun list shows them all", arg);
	return NULL;
}

bool machine_save(struct machine *m, struct err *e)
{
	char *text = NULL;
	size_t len = 0;
	FILE *f;
	int err;

	for (unsigned i = 0; i < m->n; i++)
		if (strchr(m->lines[i].value, '\n'))
			return err_set(e, HV_EXIT_USAGE, "%s: a value cannot hold a line break",
				       m->lines[i].key ? m->lines[i].key : m->name);
	f = open_memstream(&text, &len);
	HV_BUG_ON(!f);
	write_text(m, f);
	fclose(f);
	err = m->fresh ? savefile_create(m->path, text, len, 0644) :
			 savefile_write(m->path, text, len, 0644, true);
	free(text);
	if (m->fresh && err == EEXIST)
		return taken(m->name, e);
	m->fresh = m->fresh && err;
	return !err || err_errno(e, HV_EXIT_HOST, err, "cannot write %s", m->path);
}

void machine_free(struct machine *m)
{
	if (!m)
		return;
	machine_unlock(m);
	while (m->n)
		drop(m, m->n - 1);
	for (unsigned i = 0; i < m->nheld; i++)
		free(m->held[i]);
	free(m->lines);
	free(m->path);
	free(m->name);
	free(m->id);
	free(m);
}

static int by_name(const void *a, const void *b)
{
	return strcasecmp(machine_title(*(struct machine *const *)a),
			  machine_title(*(struct machine *const *)b));
}

struct machine **machine_list(unsigned *n)
{
	struct machine **list = NULL;
	char dir[PATH_MAX], path[PATH_MAX + 300];
	struct dirent *de;
	DIR *d;

	*n = 0;
	if (!machine_dir(MACHINE_DIR_DATA, dir, sizeof(dir), NULL) || !(d = opendir(dir)))
		return NULL;
	while ((de = readdir(d))) {
		struct machine *m;

		if (de->d_name[0] == '.' || !has_suffix(de->d_name))
			continue;
		snprintf(path, sizeof(path), "%s/%s", dir, de->d_name);
		m = machine_open(path, NULL);
		if (!m)
			continue;
		list = realloc(list, (*n + 1) * sizeof(*list));
		HV_BUG_ON(!list);
		list[(*n)++] = m;
	}
	closedir(d);
	if (*n)
		qsort(list, *n, sizeof(*list), by_name);
	return list;
}

void machine_list_free(struct machine **list, unsigned n)
{
	for (unsigned i = 0; i < n; i++)
		machine_free(list[i]);
	free(list);
}
