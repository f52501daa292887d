/* SPDX-License-Identifier: MIT */
/* The table of commands, their arguments, and `hvrun list`; see command.h. */
#include "command_int.h"
#include "img_int.h"
#include "log.h"
#include "optdoc.h"
#include <stdlib.h>
#include <time.h>

#define USAGE(e, ...) err_set(e, HV_EXIT_USAGE, __VA_ARGS__)

const struct command commands[] = {
	{ "list", "[--json]", "All machines: name, state, last use, size.", false, 0, 0,
	  command_list },
	{ "create", "NAME [--new-disk SIZE|none] [OPTIONS] [FILE...]",
	  "Make a machine of ISO images, disk images, an OVA, or a new empty disk (--new-disk "
	  "SIZE; made by itself beside an ISO image unless none).",
	  true, 0, 0, command_create },
	{ "edit", "NAME [--unset KEY] [OPTIONS]",
	  "Change options of a machine, or remove them with --unset; without options open its file "
	  "in $VISUAL or $EDITOR.",
	  true, 0, 0, command_edit },
	{ "duplicate", "NAME NEW", "A copy with own copies of the disks.", false, 2, 2,
	  command_duplicate },
	{ "clone", "NAME NEW",
	  "A linked clone: its disks hold only what differs from NAME's, which must not be changed "
	  "any more.",
	  false, 2, 2, command_clone },
	{ "delete", "NAME [--disks] [--yes]",
	  "Remove a machine; with --disks also its disk images, and the parts and firmware "
	  "variables beside them. Says what goes; asks first without --yes.",
	  false, 1, 1, command_delete },
	{ "doctor", "[--json]",
	  "Check this computer: KVM, permissions, graphics, firmware, programs; says what to do.",
	  false, 0, 0, command_doctor },
	{ 0 },
};

/* ---- arguments ----------------------------------------------------------------- */

/* --NAME VALUE or --NAME=VALUE; NULL: another option, or (with @e) without a value. */
static const char *value_option(const char *name, int argc, char **argv, int *i, struct err *e)
{
	size_t n = strlen(name);

	if (strncmp(argv[*i], name, n) || (argv[*i][n] && argv[*i][n] != '='))
		return NULL;
	if (argv[*i][n])
		return argv[*i] + n + 1;
	if (*i + 1 < argc)
		return argv[++*i];
	USAGE(e, "%s needs a value", name);
	return NULL;
}

static bool own_option(struct command_args *a, int argc, char **argv, int *i, struct err *e)
{
	static const struct { const char *name; size_t off; } flags[] = {
		{ "--json", offsetof(struct command_args, json) },
		{ "--yes", offsetof(struct command_args, yes) },
		{ "--disks", offsetof(struct command_args, disks) },
		{ "--help", offsetof(struct command_args, help) },
	};
	const char *v;

	for (size_t k = 0; k < ARRAY_SIZE(flags); k++)
		if (!strcmp(argv[*i], flags[k].name))
			return *(bool *)((char *)a + flags[k].off) = true;
	v = value_option("--new-disk", argc, argv, i, e);
	if (v)
		a->new_disk = v;
	else if (!e->exit_code && (v = value_option("--unset", argc, argv, i, e)) &&
		 a->nunset < COMMAND_MAX_UNSET)
		a->unset[a->nunset++] = v;
	return v || e->exit_code;
}

static bool take_args(const struct command *c, struct command_args *a, int argc, char **argv,
		      struct err *e)
{
	bool only_files = false;

	a->argv = hv_zalloc(((size_t)argc + 1) * sizeof(*a->argv));
	a->argv[a->argc++] = argv[0];
	e->exit_code = 0;
	for (int i = 2; i < argc && !e->exit_code; i++) {
		only_files |= !strcmp(argv[i], "--");
		if (!only_files && own_option(a, argc, argv, &i, e))
			continue;
		if (c->options)
			a->argv[a->argc++] = argv[i];
		else if (argv[i][0] == '-')
			USAGE(e, "hvrun %s has no option %s; it takes: %s", c->name, argv[i],
			      c->args);
		else if (a->npos == c->max)
			USAGE(e, "hvrun %s takes: %s", c->name, *c->args ? c->args : "nothing");
		else
			a->pos[a->npos++] = argv[i];
	}
	if (!e->exit_code && !a->help && a->npos < c->min)
		USAGE(e, "hvrun %s needs: %s", c->name, c->args);
	return !e->exit_code;
}

int command_main(int argc, char **argv, command_check gl)
{
	struct command_args a = { .gl = gl };
	struct err e = { 0 };
	const struct command *c = commands;
	int rc;

	while (c->name && (argc < 2 || strcmp(argv[1], c->name)))
		c++;
	if (!c->name)
		return COMMAND_NONE;
	if (!take_args(c, &a, argc, argv, &e)) {
		rc = e.exit_code;
	} else if (a.help) {
		printf("Usage: hvrun %s %s\n\n%s\n", c->name, c->args, c->help);
		rc = 0;
	} else {
		rc = c->run(&a, &e);
	}
	if (e.msg[0])
		log_error("%s", e.msg);
	free(a.argv);
	return rc;
}

void command_help(FILE *out)
{
	fputs("\nMachines, one file each (hvrun NAME starts one; none of these: the library):\n\n",
	      out);
	for (const struct command *c = commands; c->name; c++) {
		fprintf(out, "  hvrun %s %s\n", c->name, c->args);
		optdoc_help(out, c->help);
	}
}

const char *command_name(unsigned i, const char **args, const char **help)
{
	if (i + 1 >= ARRAY_SIZE(commands))
		return NULL;
	*args = commands[i].args;
	*help = commands[i].help;
	return commands[i].name;
}

void command_man(FILE *out)
{
	fputs(".SH MACHINES\n", out);
	optdoc_roff(out,
		    "A machine is a text file, ~/.local/share/hvrun/machines/NAME.hvm, with one "
		    "option of this page a line, KEY = VALUE, where KEY is the option's name "
		    "without its dashes; flags take yes or no. Lines that start with # are "
		    "comments. Relative file names start at the file's folder; NAME.hvm~ is the "
		    "text before the last change. hvrun NAME and hvrun NAME.hvm start it; a "
		    "NAME.hvm in another folder may only name files in that folder or below. "
		    "Options on the command line come after those of the file. An image that is "
		    "opened in a window becomes a machine by itself (--no-remember: not).\n");
	for (const struct command *c = commands; c->name; c++) {
		fprintf(out, ".TP\n.B hvrun %s\n", c->name);
		optdoc_roff(out, c->args);
		fputs("\n.br\n", out);
		optdoc_roff(out, c->help);
		fputc('\n', out);
	}
}

/* ---- list ----------------------------------------------------------------------- */

static void when(int64_t sec, char *out, size_t len)
{
	time_t t = (time_t)sec;
	struct tm tm;

	if (!sec || !localtime_r(&t, &tm) || !strftime(out, len, "%Y-%m-%d %H:%M", &tm))
		snprintf(out, len, "never");
}

static void list_json(struct machine **list, unsigned n)
{
	struct img_json j = { .out = stdout };

	json_begin(&j, NULL, '[');
	for (unsigned i = 0; i < n; i++) {
		struct machine_state s;

		machine_state(list[i], &s);
		json_begin(&j, NULL, '{');
		json_string(&j, "name", list[i]->name);
		json_string(&j, "title", machine_title(list[i]));
		json_string(&j, "file", list[i]->path);
		json_string(&j, "state", s.running ? "running" : "off");
		if (s.running)
			json_number(&j, "pid", (uint64_t)s.pid);
		json_number(&j, "last-used", (uint64_t)s.used);
		json_number(&j, "disk-bytes", s.bytes);
		for (unsigned k = 0; k < list[i]->n; k++)
			if (list[i]->lines[k].key && !config_key_is_list(list[i]->lines[k].key) &&
			    strcmp(list[i]->lines[k].key, "name"))
				json_string(&j, list[i]->lines[k].key, list[i]->lines[k].value);
		json_end(&j, '}');
	}
	json_end(&j, ']');
}

static void list_text(struct machine **list, unsigned n)
{
	int width = 4;

	for (unsigned i = 0; i < n; i++)
		width = MAX(width, (int)MIN(strlen(list[i]->name), 40u));
	if (n)
		printf("%-*s  %-8s %-16s  %s\n", width, "NAME", "STATE", "LAST USED", "DISKS");
	for (unsigned i = 0; i < n; i++) {
		struct machine_state s;
		char t[32];

		machine_state(list[i], &s);
		when(s.used, t, sizeof(t));
		printf("%-*s  %-8s %-16s  %s\n", width, list[i]->name,
		       s.running ? "running" : "off", t, img_bytes(s.bytes));
	}
}

int command_list(struct command_args *a, struct err *e)
{
	unsigned n;
	struct machine **list = machine_list(&n);

	if (a->json)
		list_json(list, n);
	else if (n)
		list_text(list, n);
	else
		log_info("no machines yet: hvrun create, or open an image in a window");
	machine_list_free(list, n);
	return 0;
}
