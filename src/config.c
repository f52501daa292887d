/* SPDX-License-Identifier: MIT */
/* The command line by the table of options (config_options.c); see config.h. */
#include "config_int.h"
#include <stdlib.h>

#define USAGE(e, ...) err_set(e, HV_EXIT_USAGE, __VA_ARGS__)

const struct option_row *config_find(const char *name, size_t n)
{
	for (unsigned i = 0; i < config_noptions; i++)
		if (strlen(config_options[i].name) == n && !memcmp(config_options[i].name, name, n))
			return &config_options[i];
	return NULL;
}

static const struct option_row *find_letter(char c)
{
	for (unsigned i = 0; i < config_noptions; i++)
		if (config_options[i].letter == c)
			return &config_options[i];
	return NULL;
}

/* Edit distance, for "did you mean". */
static unsigned distance(const char *a, size_t an, const char *b)
{
	unsigned row[64];
	size_t bn = strlen(b);

	if (bn > 62 || an > 62)
		return 99;
	for (unsigned j = 0; j <= bn; j++)
		row[j] = j;
	for (unsigned i = 1; i <= an; i++) {
		unsigned diag = row[0];

		row[0] = i;
		for (unsigned j = 1; j <= bn; j++) {
			unsigned sub = diag + (a[i - 1] != b[j - 1]);

			diag = row[j];
			row[j] = MIN(sub, MIN(row[j], row[j - 1]) + 1);
		}
	}
	return row[bn];
}

static bool unknown_option(const char *arg, size_t n, struct err *e)
{
	const char *best = NULL;
	unsigned best_d = n < 5 ? 0 : 4;	/* of a letter nothing can be guessed */

	for (unsigned i = 0; i < config_noptions; i++) {
		unsigned d = distance(arg + 2, n - 2, config_options[i].name);

		if (d < best_d) {
			best_d = d;
			best = config_options[i].name;
		}
	}
	if (best)
		return USAGE(e, "unknown option %.*s; did you mean --%s? (hvrun --help lists all)",
			     (int)n, arg, best);
	return USAGE(e, "unknown option %.*s; hvrun --help lists all", (int)n, arg);
}

bool config_apply(struct config *c, const struct option_row *o, const char *v, struct err *e)
{
	if (o->flag_off)
		*(bool *)((char *)c + o->flag_off - 1) = true;
	else if (o->str_off)
		*(const char **)((char *)c + o->str_off - 1) = v;
	else
		return o->parse(c, v, e);
	return true;
}

static bool parse_option(struct config *c, int argc, char **argv, int *i, struct err *e)
{
	const char *arg = argv[*i], *eq = NULL, *v = NULL;
	const struct option_row *o;
	size_t n = strlen(arg);

	if (arg[1] == '-') {
		eq = strchr(arg, '=');
		n = eq ? (size_t)(eq - arg) : n;
		o = config_find(arg + 2, n - 2);
		v = eq ? eq + 1 : NULL;
	} else {
		o = find_letter(arg[1]);
		v = arg[2] ? arg + 2 : NULL;
		n = 2;
	}
	if (!o)
		return unknown_option(arg, n, e);
	if (!o->arg && v)
		return USAGE(e, "--%s takes no value", o->name);
	if (o->arg && !v) {
		if (*i + 1 >= argc)
			return USAGE(e, "--%s needs a value: --%s %s", o->name, o->name, o->arg);
		v = argv[++*i];
	}
	return config_apply(c, o, v, e) && config_record(c, o, v, e);
}

bool config_check(const struct config *c, struct err *e)
{
	if (!c->kernel && c->nfiles == 0 && (c->initrd || c->append || c->nmodules))
		return USAGE(e, "--%s needs --kernel", c->initrd ? "initrd" :
			     c->append ? "append" : "module");
	if (c->nforwards && c->no_net)
		return USAGE(e, "--forward needs a network; leave --net none away");
	return config_check_engine(c, e);
}

void config_free(struct config *c)
{
	for (unsigned i = 0; i < c->ndisks; i++)
		free(c->disks[i].spec);
	for (unsigned i = 0; i < c->nfloppies; i++)
		free(c->floppies[i].spec);
	c->ndisks = c->nfloppies = 0;
}

void config_init(struct config *c)
{
	*c = (struct config){ .memory = GiB(1), .cpus = 1 };
}

bool config_parse(struct config *c, int argc, char **argv, struct err *e)
{
	config_init(c);
	return config_parse_more(c, argc, argv, e);
}

bool config_parse_more(struct config *c, int argc, char **argv, struct err *e)
{
	bool only_files = false;

	for (int i = 1; i < argc; i++) {
		if (!only_files && !strcmp(argv[i], "--")) {
			only_files = true;
		} else if (!only_files && !strcmp(argv[i], "--man")) {
			c->man = true;	/* for the build: prints hvrun(1) */
		} else if (!only_files && !strcmp(argv[i], "--completion") && i + 1 < argc) {
			c->completion = argv[++i];	/* likewise */
		} else if (!only_files && argv[i][0] == '-' && argv[i][1]) {
			if (!parse_option(c, argc, argv, &i, e))
				return false;
		} else if (c->nfiles == CFG_MAX_ARGS) {
			return USAGE(e, "too many files on the command line");
		} else {
			c->files[c->nfiles++] = argv[i];
		}
	}
	return config_check(c, e);
}
