/* SPDX-License-Identifier: MIT */
/* New machines: of an image that was opened, of what hvrun create was told. */
#include "machine_int.h"
#include "guess.h"
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

/* Settings of one run rather than of a machine, unless asked for by hvrun create or edit. */
static bool passing(const char *key)
{
	static const char *const keys[] = { "display", "fullscreen", "ui-scale", "serial", "name",
					    "vnc", "discard" };

	for (unsigned i = 0; i < ARRAY_SIZE(keys); i++)
		if (!strcmp(keys[i], key))
			return true;
	return false;
}

void machine_add_given(struct machine *m, const struct config *c, bool all)
{
	for (unsigned i = 0; i < c->ngiven; i++) {
		const struct cfg_given *g = &c->given[i];
		char *v;

		if (!all && passing(g->key))
			continue;
		v = machine_absolute(g->key, g->value);
		if (config_key_is_list(g->key))
			machine_add(m, g->key, v);
		else
			machine_set(m, g->key, v);
		free(v);
	}
}

/* As a value of disk or cdrom: commas doubled. */
char *machine_value_of(const char *path)
{
	char real[PATH_MAX], *out, *w;

	if (!realpath(path, real))
		snprintf(real, sizeof(real), "%s", path);
	w = out = hv_zalloc(2 * strlen(real) + 1);
	for (const char *p = real; *p; p++) {
		*w++ = *p;
		if (*p == ',')
			*w++ = ',';
	}
	return out;
}

void machine_add_defaults(struct machine *m, const struct guess *g)
{
	char v[32];

	if (!machine_get(m, "memory", 0)) {
		snprintf(v, sizeof(v), "%lluM", (unsigned long long)(g->memory >> 20));
		machine_set(m, "memory", v);
	}
	if (!machine_get(m, "cpus", 0)) {
		snprintf(v, sizeof(v), "%u", g->cpus);
		machine_set(m, "cpus", v);
	}
}

/* "debian-12.img" -> "debian-12" */
void machine_name_of_file(const char *path, char *out, size_t len)
{
	const char *slash = strrchr(path, '/'), *base = slash ? slash + 1 : path;
	const char *dot = strrchr(base, '.');
	char stem[256];

	snprintf(stem, sizeof(stem), "%.*s", dot && dot > base ? (int)MIN(dot - base, 255) : 255,
		 base);
	machine_free_name(stem, out, len);
}

bool machine_wants_remembering(const struct config *c)
{
	bool window = c->display == DISPLAY_WINDOW ||
		      (c->display == DISPLAY_AUTO &&
		       (getenv("DISPLAY") || getenv("WAYLAND_DISPLAY")));

	return window && !c->no_remember && !c->discard && !c->timeout_ms &&
	       !c->nsteps && !c->nfail_on && !c->screenshot && !c->reset_exits && !c->debug_exit;
}

/*
 * The files of the command line are c->disks by now.  Nothing is said when it
 * does not work: the image runs all the same.
 */
struct machine *machine_remember(struct config *c)
{
	char name[MACHINE_NAME_MAX + 1];
	struct machine *m;
	struct guess g;
	bool memory = false, cpus = false;

	if (!machine_wants_remembering(c) || !c->ndisks || c->kernel ||
	    !guess_medium(c->disks[0].path, &g, NULL))
		return NULL;
	machine_name_of_file(c->disks[0].path, name, sizeof(name));
	m = machine_new(name, NULL);
	if (!m)
		return NULL;
	machine_add_given(m, c, false);
	memory = machine_get(m, "memory", 0) != NULL;
	cpus = machine_get(m, "cpus", 0) != NULL;
	machine_add_defaults(m, &g);
	for (unsigned i = 0; i < c->ndisks; i++) {
		char *v = machine_value_of(c->disks[i].path);

		if (c->disks[i].positional)
			machine_add(m, c->disks[i].cdrom ? "cdrom" : "disk", v);
		free(v);
	}
	c->memory = memory ? c->memory : g.memory;
	c->cpus = cpus ? c->cpus : g.cpus;
	return m;
}
