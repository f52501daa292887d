/* SPDX-License-Identifier: MIT */
/* hvrun create, duplicate, clone: new machines and their disks. */
#include "command_int.h"
#include "guess.h"
#include "img.h"
#include "imgtool.h"
#include "log.h"
#include "ova.h"
#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <unistd.h>

#define USAGE(e, ...) err_set(e, HV_EXIT_USAGE, __VA_ARGS__)
#define MADE_MAX 32

/* Disks made so far, to be removed when something fails later. */
struct made {
	char *path[MADE_MAX];
	unsigned n;
};

static void end_made(struct made *d, bool keep)
{
	for (unsigned i = 0; i < d->n; i++) {
		if (!keep)
			unlink(d->path[i]);
		free(d->path[i]);
	}
	d->n = 0;
}

static void note_made(struct made *d, const char *path)
{
	if (d->n < MADE_MAX)
		d->path[d->n++] = hv_strdup(path);
}

bool command_check_machine(struct machine *m, struct err *e)
{
	struct config c;
	bool ok;

	config_init(&c);
	ok = machine_apply(m, &c, e) && config_check(&c, e);
	config_free(&c);
	return ok;
}

bool command_disk_path(const char *name, const char *ext, char *out, size_t len, struct err *e)
{
	char dir[PATH_MAX];

	if (!machine_dir(MACHINE_DIR_DISKS, dir, sizeof(dir), e))
		return false;
	for (unsigned i = 1; i < 1000; i++) {
		int n = i == 1 ? snprintf(out, len, "%s/%s.%s", dir, name, ext) :
				 snprintf(out, len, "%s/%s-%u.%s", dir, name, i, ext);

		if (n < 0 || (size_t)n >= len)
			break;
		if (access(out, F_OK) < 0)
			return true;
	}
	return err_set(e, HV_EXIT_HOST, "%s: no free name for a disk of %s", dir, name);
}

bool command_img(const char *const *args, struct err *e)
{
	char *argv[16] = { (char *)"img" };
	int n = 1, rc;

	while (*args && n < 15)
		argv[n++] = (char *)*args++;
	rc = img_main(n, argv);
	/* It has said itself what is wrong. */
	return !rc || err_set(e, rc, "hvrun img %s failed", argv[1]);
}

static bool empty_disk(struct machine *m, struct made *d, uint64_t size, struct err *e)
{
	char path[PATH_MAX], *v;
	struct image_create c = { .path = path, .size = size };
	const struct block_format *fmt = image_format("qcow2", e);

	if (!fmt || !command_disk_path(m->name, "qcow2", path, sizeof(path), e) ||
	    !image_create(fmt, &c, e))
		return false;
	image_create_end(&c);
	note_made(d, path);
	v = machine_value_of(path);
	machine_add(m, "disk", v);
	free(v);
	return true;
}

static void made_disk(void *opaque, const char *disk)
{
	note_made(opaque, disk);
}

/* A file of the command line in its role; *g is what the first one lets hope for. */
static bool add_file(struct machine *m, struct made *d, const char *file, struct guess *g,
		     bool first, struct err *e)
{
	struct guess here;
	char *v;

	if (ova_is(file))
		return ova_import(m, file, made_disk, d, e);
	if (!guess_medium(file, &here, e))
		return false;
	if (first)
		*g = here;
	v = machine_value_of(file);
	if (boot_is_kernel(here.kind))
		machine_set(m, "kernel", v);
	else
		machine_add(m, here.kind == BOOT_ISO ? "cdrom" : "disk", v);
	free(v);
	return true;
}

static bool wants_disk(const struct command_args *a, const struct machine *m,
		       const struct guess *g, uint64_t *size, struct err *e)
{
	*size = 0;
	if (a->new_disk && strcmp(a->new_disk, "none"))
		return image_size(a->new_disk, size) ||
		       USAGE(e, "--new-disk %s is not a size; write for example 32G, or none",
			     a->new_disk);
	if (!a->new_disk && machine_get(m, "cdrom", 0) && !machine_get(m, "disk", 0))
		*size = g->disk;
	return true;
}

static bool fill(struct machine *m, struct command_args *a, struct config *c, struct made *d,
		 struct err *e)
{
	struct guess g;
	uint64_t size;

	guess_default(&g);
	machine_add_given(m, c, true);
	for (unsigned i = 1; i < c->nfiles; i++)
		if (!add_file(m, d, c->files[i], &g, i == 1, e))
			return false;
	if (c->ndisks && c->nfiles < 2 && !guess_medium(c->disks[0].path, &g, e))
		return false;
	if (!wants_disk(a, m, &g, &size, e) || (size && !empty_disk(m, d, size, e)))
		return false;
	machine_add_defaults(m, &g);
	if (!machine_get(m, "disk", 0) && !machine_get(m, "cdrom", 0) &&
	    !machine_get(m, "kernel", 0) && !machine_get(m, "firmware", 0))
		return USAGE(e, "%s would have nothing to start: give an image, or --new-disk 32G",
			     m->name);
	return command_check_machine(m, e) && machine_save(m, e);
}

int command_create(struct command_args *a, struct err *e)
{
	struct machine *m = NULL;
	struct made made = { .n = 0 };
	struct config c;
	bool ok = config_parse(&c, a->argc, a->argv, e);

	if (ok && !c.nfiles)
		ok = USAGE(e, "hvrun create needs a name: hvrun create NAME [OPTIONS] [FILE...]");
	if (ok)
		ok = (m = machine_new(c.files[0], e)) != NULL;
	ok = ok && fill(m, a, &c, &made, e);
	end_made(&made, ok);
	if (ok)
		printf("%s\n", m->path);
	machine_free(m);
	config_free(&c);
	return ok ? 0 : e->exit_code;
}

/* ---- copies ------------------------------------------------------------------------ */

/* The format that a disk's value names; NULL: none. */
static char *format_of(const char *value)
{
	char *format = NULL;
	struct config c;

	config_init(&c);
	if (config_set(&c, "disk", value, NULL) && c.disks[0].format)
		format = hv_strdup(c.disks[0].format);
	config_free(&c);
	return format;
}

/* The part of a disk's value behind its file name, without what belongs to the old file. */
static void keys_of(const char *value, char *out, size_t len)
{
	const char *p = value;

	*out = 0;
	for (; *p; p++) {
		if (*p != ',')
			continue;
		if (p[1] != ',')
			break;
		p++;
	}
	while (*p == ',') {
		size_t n = strcspn(p + 1, ",");

		if (strncmp(p + 1, "format=", 7) && strlen(out) + n + 2 < len)
			strncat(out, p, n + 1);
		p += n + 1;
	}
}

static bool copy_disk(const struct machine *from, struct machine *to, const char *value,
		      bool linked, struct made *made, struct err *e)
{
	char dst[PATH_MAX], keys[300], *src = machine_file_of(from, value), *v, *all;
	char *format = format_of(value);
	const char *copy[] = { "convert", "-q", "-O", "qcow2", src, dst, "-f", format, NULL };
	const char *link[] = { "create", "-q", "-b", src, dst, "-F", format, NULL };
	size_t n;
	bool ok;

	if (!format)	/* by its record or content, as at its start */
		copy[6] = link[5] = NULL;
	ok = command_disk_path(to->name, "qcow2", dst, sizeof(dst), e) &&
	     command_img(linked ? link : copy, e);

	if (ok) {
		note_made(made, dst);
		keys_of(value, keys, sizeof(keys));
		v = machine_value_of(dst);
		n = strlen(v) + strlen(keys) + 1;
		all = hv_zalloc(n);
		snprintf(all, n, "%s%s", v, keys);
		machine_add(to, "disk", all);
		free(all);
		free(v);
	}
	free(format);
	free(src);
	return ok;
}

static bool copy_lines(const struct machine *from, struct machine *to, bool linked,
		       struct made *made, struct err *e)
{
	for (unsigned i = 0; i < from->n; i++) {
		const struct machine_line *l = &from->lines[i];
		char *value;

		if (!l->key || !strcmp(l->key, "name") || !strcmp(l->key, "nvram"))
			continue;
		if (!strcmp(l->key, "disk")) {
			if (!copy_disk(from, to, l->value, linked, made, e))
				return false;
			continue;
		}
		value = machine_from_folder(from, l->key, l->value);
		machine_add(to, l->key, value);
		free(value);
	}
	return machine_save(to, e);
}

static int make_copy(struct command_args *a, bool linked, struct err *e)
{
	struct machine *from = machine_find(a->pos[0], e), *to = NULL;
	struct made made = { .n = 0 };
	struct machine_state s;
	bool ok = from != NULL;

	if (ok) {
		machine_state(from, &s);
		if (s.running)
			ok = err_set(e, HV_EXIT_LOCKED, "machine %s is running; shut it down first",
				     from->name);
	}
	ok = ok && (to = machine_new(a->pos[1], e)) && copy_lines(from, to, linked, &made, e);
	end_made(&made, ok);
	if (ok)
		printf("%s\n", to->path);
	machine_free(from);
	machine_free(to);
	return ok ? 0 : e->exit_code;
}

int command_duplicate(struct command_args *a, struct err *e)
{
	return make_copy(a, false, e);
}

int command_clone(struct command_args *a, struct err *e)
{
	return make_copy(a, true, e);
}
