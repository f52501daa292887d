/* SPDX-License-Identifier: MIT */
/*
 * `hvrun img`: command table, option table, help and manual from both.
 */
#include "img.h"
#include "img_int.h"
#include "log.h"

#include <stdlib.h>

const struct img_command img_commands[] = {
	{ "create", "FILE [SIZE]",
	  "Make an empty image; with -b an overlay (linked clone) over a "
	  "backing file in the same directory, SIZE then being that of the backing file.",
	  1, 2, "fbFojqpC", img_create },
	{ "info", "FILE", "Show format, sizes, backing file, snapshots and properties.", 1, 1,
	  "fju", img_info },
	{ "check", "FILE",
	  "Check the structure; with --repair mend it. Exit status 0 sound, 3 only "
	  "lost space, 6 damaged.",
	  1, 1, "fjrq", img_check },
	{ "convert", "SOURCE TARGET",
	  "Copy a disk, with its backing files, into a new image of "
	  "another format.",
	  2, 2, "fOolcmqpCn", img_convert },
	{ "resize", "FILE SIZE",
	  "Set the size of the disk: 20G, +5G, or with --shrink -1G. A disk that a running hvrun "
	  "uses can grow: virtio, SCSI and NVMe tell the guest at once; AHCI and IDE have no such "
	  "notice, there the guest sees it after its next restart.",
	  2, 2, "fjsq", img_resize },
	{ "compare", "FILE1 FILE2",
	  "Compare what two guests would see (exit status 0 same, 1 "
	  "different); -f and -O name their formats.",
	  2, 2, "fOjqp", img_compare },
	{ "snapshot", "list|create|apply|delete FILE [NAME]",
	  "Internal snapshots of a qcow2 image.", 2, 3, "fj", img_snapshot },
	{ "commit", "FILE",
	  "Write the changes in an overlay into its backing file and empty the "
	  "overlay.",
	  1, 1, "fjqp", img_commit },
	{ "rebase", "FILE",
	  "Give an overlay another backing file (-b), keeping its content; with "
	  "--unsafe only change the name.",
	  1, 1, "fbFuqp", img_rebase },
	{ NULL, NULL, NULL, 0, 0, NULL, NULL },
};

struct img_option {
	char letter;
	const char *name, *arg, *help;
	size_t str_off, flag_off;	/* offset + 1 */
};

#define IMG_FORMATS "raw|qcow2|vdi|vmdk|vhd|vhdx"
#define STR(m) .str_off = offsetof(struct img_args, m) + 1
#define FLAG(m) .flag_off = offsetof(struct img_args, m) + 1
static const struct img_option options[] = {
	{ 'f', "format", IMG_FORMATS,
	  "Format of the image, or of the first of two; by content when not given, for create raw, "
	  "with a backing file qcow2.", STR(format) },
	{ 'O', "output-format", IMG_FORMATS, "Format of the second image or of the target.",
	  STR(out_format) },
	{ 'b', "backing", "FILE", "Backing file, relative to the image's directory and in it or "
	  "below.", STR(backing) },
	{ 'F', "backing-format", IMG_FORMATS, "Format of the backing file.", STR(backing_fmt) },
	{ 'o', "option", "NAME=VALUE[,...]", "Option of the new image's format; see below.",
	  0, 0 },
	{ 'l', "snapshot", "NAME", "Take the content as of this internal snapshot.",
	  STR(snapshot) },
	{ 'c', "compress", NULL, "Compress the target.", FLAG(compress) },
	{ 'm', "threads", "N", "Threads for copying, all processors by default.", 0, 0 },
	{ 'r', "repair", NULL, "Repair what can be repaired.", FLAG(repair) },
	{ 's', "shrink", NULL, "Allow cutting off the end of the disk.", FLAG(shrink) },
	{ 'u', "unsafe", NULL, "rebase: do not look at content. info: read an image in use.",
	  FLAG(unsafe) },
	{ 'C', "force", NULL, "Replace an existing target.", FLAG(force) },
	{ 'n', "no-sync", NULL, "Do not wait until the target is on the disk.", FLAG(no_sync) },
	{ 'j', "json", NULL, "Print JSON.", FLAG(json) },
	{ 'p', "progress", NULL, "Show progress even when standard error is no terminal.",
	  FLAG(progress) },
	{ 'q', "quiet", NULL, "Print errors only.", FLAG(quiet) },
	{ 'h', "help", NULL, "Show commands, options and formats.", FLAG(help) },
};

static const struct img_option *by_name(const char *s, size_t n)
{
	for (size_t i = 0; i < ARRAY_SIZE(options); i++)
		if (strlen(options[i].name) == n && !strncmp(options[i].name, s, n))
			return &options[i];
	return NULL;
}

static const struct img_option *by_letter(char c)
{
	/* C and n, s, u have long names only: a slip must not cost data. */
	for (size_t i = 0; i < ARRAY_SIZE(options); i++)
		if (options[i].letter == c && !strchr("Cnsur", c))
			return &options[i];
	return NULL;
}

static bool add_options(struct img_args *a, const char *v, struct err *e)
{
	char *s = hv_strdup(v), *save = NULL;

	for (char *p = strtok_r(s, ",", &save); p; p = strtok_r(NULL, ",", &save)) {
		char *eq = strchr(p, '=');

		if (!eq || a->nopt == IMAGE_MAX_OPTS) {
			free(s);
			return err_set(e, HV_EXIT_USAGE, "-o %s: write NAME=VALUE", v);
		}
		*eq = '\0';
		a->owned[a->nopt] = hv_zalloc(strlen(p) + strlen(eq + 1) + 2);
		memcpy(a->owned[a->nopt], p, strlen(p) + 1);
		memcpy(a->owned[a->nopt] + strlen(p) + 1, eq + 1, strlen(eq + 1) + 1);
		a->opt[a->nopt].name = a->owned[a->nopt];
		a->opt[a->nopt].value = a->owned[a->nopt] + strlen(p) + 1;
		a->nopt++;
	}
	free(s);
	return true;
}

static bool apply(struct img_args *a, const struct img_option *o, const char *v, struct err *e)
{
	if (o->flag_off)
		*(bool *)((char *)a + o->flag_off - 1) = true;
	else if (o->str_off)
		*(const char **)((char *)a + o->str_off - 1) = v;
	else if (o->letter == 'o')
		return add_options(a, v, e);
	else
		a->threads = (unsigned)strtoul(v, NULL, 10);
	return true;
}

static bool parse_one(struct img_args *a, const struct img_command *cmd, int argc, char **argv,
		      int *i, struct err *e)
{
	const char *arg = argv[*i], *eq = strchr(arg, '='), *v = NULL;
	size_t n = arg[1] != '-' ? 2 : eq ? (size_t)(eq - arg) : strlen(arg);
	const struct img_option *o = arg[1] == '-' ? by_name(arg + 2, n - 2) : by_letter(arg[1]);

	if (!o || (o->letter != 'h' && !strchr(cmd->letters, o->letter)))
		return err_set(e, HV_EXIT_USAGE,
			       "img %s has no option %.*s; hvrun img --help lists "
			       "all",
			       cmd->name, (int)n, arg);
	if (arg[1] == '-' && eq)
		v = eq + 1;
	else if (arg[1] != '-' && arg[2])
		v = arg + 2;
	if (!o->arg && v)
		return err_set(e, HV_EXIT_USAGE, "--%s takes no value", o->name);
	if (o->arg && !v && *i + 1 >= argc)
		return err_set(e, HV_EXIT_USAGE, "--%s needs a value: %s", o->name, o->arg);
	if (o->arg && !v)
		v = argv[++*i];
	return apply(a, o, v, e);
}

static bool parse(struct img_args *a, const struct img_command *cmd, int argc, char **argv,
		  struct err *e)
{
	bool only_names = false;

	for (int i = 2; i < argc; i++) {
		/* "-1G" is a size, not an option */
		bool size = argv[i][0] == '-' && argv[i][1] >= '0' && argv[i][1] <= '9';

		if (!only_names && !strcmp(argv[i], "--")) {
			only_names = true;
		} else if (!only_names && argv[i][0] == '-' && argv[i][1] && !size) {
			if (!parse_one(a, cmd, argc, argv, &i, e))
				return false;
		} else if (a->npos == IMG_MAX_POS) {
			return err_set(e, HV_EXIT_USAGE, "img %s: too many names", cmd->name);
		} else {
			a->pos[a->npos++] = argv[i];
		}
	}
	if (!a->help && (a->npos < cmd->min || a->npos > cmd->max))
		return err_set(e, HV_EXIT_USAGE, "img %s: write hvrun img %s %s", cmd->name,
			       cmd->name, cmd->args);
	return true;
}

static void help(FILE *f)
{
	fputs("Usage: hvrun img COMMAND [OPTIONS] FILE...\n\nCommands:\n", f);
	for (const struct img_command *c = img_commands; c->name; c++) {
		fprintf(f, "  %s %s\n", c->name, c->args);
		optdoc_help(f, c->help);
	}
	fputs("\nOptions:\n", f);
	for (size_t i = 0; i < ARRAY_SIZE(options); i++) {
		const struct img_option *o = &options[i];

		if (by_letter(o->letter))
			fprintf(f, "  -%c, ", o->letter);
		else
			fputs("      ", f);
		fprintf(f, "--%s%s%s\n", o->name, o->arg ? " " : "", o->arg ? o->arg : "");
		optdoc_help(f, o->help);
	}
	fputs("\nFormats and their options (-o):\n", f);
	for (unsigned i = 0; block_formats[i]; i++) {
		const struct image_tool *t = block_formats[i]->tool;

		fprintf(f, "  %s%s\n", block_formats[i]->name,
			t && t->create ? "" : " (read only)");
		for (const struct image_opt_help *o = t ? t->options : NULL; o && o->name; o++)
			fprintf(f, "          %s=%s: %s\n", o->name, o->arg, o->help);
	}
}

void img_man(FILE *f)
{
	fputs(".SH DISK IMAGES\n.B hvrun img\n"
	      "\\fICOMMAND\\fR [\\fIOPTIONS\\fR] \\fIFILE\\fR...\n"
	      ".PP\nMakes, checks and converts disk images. Long work shows a bar with bytes, "
	      "rate\n"
	      "and time left; Ctrl\\-C stops it and removes the target.\n"
	      ".PP\nAn image is locked while it is in use, so that a second hvrun, QEMU or\n"
	      "qemu\\-img is refused; several may read. Where the file system cannot lock, a\n"
	      "warning says so. On a read\\-only file system, or without permission to write,\n"
	      "an image opens with readonly=on or \\-\\-discard. A file that somebody else makes\n"
	      "longer keeps its size until the next start; what somebody else cuts off reads\n"
	      "as zeros. A full or failing host disk pauses the guest until it works again.\n",
	      f);
	for (const struct img_command *c = img_commands; c->name; c++) {
		fprintf(f, ".TP\n.B img %s \\fI", c->name);
		optdoc_roff(f, c->args);
		fputs("\\fR\n", f);
		optdoc_roff(f, c->help);
		fputc('\n', f);
	}
	for (size_t i = 0; i < ARRAY_SIZE(options); i++) {
		fputs(".TP\n.B ", f);
		if (by_letter(options[i].letter))
			fprintf(f, "\\-%c, ", options[i].letter);
		fputs("\\-\\-", f);
		optdoc_roff(f, options[i].name);
		if (options[i].arg) {
			fputs(" \\fI", f);
			optdoc_roff(f, options[i].arg);
			fputs("\\fR", f);
		}
		fputc('\n', f);
		optdoc_roff(f, options[i].help);
		fputc('\n', f);
	}
	for (unsigned i = 0; block_formats[i]; i++) {
		const struct image_tool *t = block_formats[i]->tool;

		for (const struct image_opt_help *o = t ? t->options : NULL; o && o->name; o++) {
			fprintf(f, ".TP\n.B \\-o %s=\\fI", o->name);
			optdoc_roff(f, o->arg);
			fprintf(f, "\\fR (%s)\n", block_formats[i]->name);
			optdoc_roff(f, o->help);
			fputc('\n', f);
		}
	}
}

bool img_option_doc(unsigned i, struct option_doc *out)
{
	if (i >= ARRAY_SIZE(options))
		return false;
	*out = (struct option_doc){ options[i].name,
				    by_letter(options[i].letter) ? options[i].letter : '\0',
				    options[i].arg, options[i].help };
	return true;
}

const char *img_command_name(unsigned i)
{
	return i + 1 < ARRAY_SIZE(img_commands) ? img_commands[i].name : NULL;
}

static const struct img_command *find(const char *name)
{
	for (const struct img_command *c = img_commands; c->name; c++)
		if (!strcmp(c->name, name))
			return c;
	return NULL;
}

int img_main(int argc, char **argv)
{
	const struct img_command *cmd = argc > 1 ? find(argv[1]) : NULL;
	struct img_args a = { 0 };
	struct err e = { 0 };
	int rc;

	if (argc > 1 && (!strcmp(argv[1], "--help") || !strcmp(argv[1], "-h"))) {
		help(stdout);
		return 0;
	}
	if (argc > 1 && !strcmp(argv[1], "--man")) {
		img_man(stdout);
		return 0;
	}
	if (!cmd) {
		if (argc > 1)
			log_error("img: there is no command %s; hvrun img --help lists all",
				  argv[1]);
		else
			log_error("img: give a command: create, info, check, convert, ...; hvrun "
				  "img --help lists all");
		return HV_EXIT_USAGE;
	}
	if (!parse(&a, cmd, argc, argv, &e)) {
		rc = e.exit_code;
	} else if (a.help) {
		help(stdout);
		rc = 0;
	} else {
		/* Who only reads may be ended anywhere. */
		if (cmd->run != img_info && (cmd->run != img_check || a.repair))
			img_catch_signals();
		rc = cmd->run(&a, &e);
	}
	if (e.msg[0])
		log_error("%s", e.msg);
	for (unsigned i = 0; i < a.nopt; i++)
		free(a.owned[i]);
	return rc;
}
