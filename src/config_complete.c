/* SPDX-License-Identifier: MIT */
/*
 * Completions for bash, zsh and fish, from the same tables as --help.
 *
 * Values come from an option's argument text: of "window|none|FILE" the
 * words in small letters are offered, a word in capitals is what the user
 * makes up (file names are completed by the shell), and "file:PATH" offers
 * "file:".
 */
#include "command.h"
#include "config_int.h"
#include "img.h"

/* Options of hvrun itself, and of hvrun img. */
struct option_set {
	bool (*at)(unsigned i, struct option_doc *out);
	const char *fn;		/* bash: name of its function */
	const char *when;	/* fish: condition */
};

static bool main_option(unsigned i, struct option_doc *out)
{
	if (i >= config_noptions)
		return false;
	*out = (struct option_doc){ config_options[i].name, config_options[i].letter,
				    config_options[i].arg, config_options[i].help };
	return true;
}

static const struct option_set main_set = { main_option, "_hvrun_main",
					    "not __fish_seen_subcommand_from img" };
static const struct option_set img_set = { img_option_doc, "_hvrun_img",
					   "__fish_seen_subcommand_from img" };

static bool small(char ch)
{
	return (ch >= 'a' && ch <= 'z') || (ch >= '0' && ch <= '9') || ch == '-';
}

/* Length of the value that the word at @s begins with, 0: what the user makes up. */
static size_t value_len(const char *s)
{
	size_t n = 0;

	while (small(s[n]))
		n++;
	if (!n || (s[n] && !strchr("|[,:", s[n])))
		return 0;
	return n + (s[n] == ':');
}

/* The next value of the argument text *@p, "user" or "file:", into @out; false at the end. */
static bool next_value(const char **p, char *out, size_t size)
{
	while (**p) {
		const char *word = *p, *s = word;
		size_t n = value_len(word);
		int depth = 0;

		for (; *s && (depth || *s != '|'); s++)
			depth += (*s == '[') - (*s == ']');
		*p = s + (*s == '|');
		if (n && n < size) {
			memcpy(out, word, n);
			out[n] = '\0';
			return true;
		}
	}
	return false;
}

static void put_values(FILE *out, const char *arg)
{
	char v[64];

	for (unsigned n = 0; arg && next_value(&arg, v, sizeof(v)); n++)
		fprintf(out, "%s%s", n ? " " : "", v);
}

static bool has_values(const char *arg)
{
	char v[64];

	return arg && next_value(&arg, v, sizeof(v));
}

static bool takes_file(const char *arg)
{
	return arg && (strstr(arg, "FILE") || strstr(arg, "PATH"));
}

/* The start of @help up to its first clause's end, with @escape'd characters after '\\'. */
static void put_short(FILE *out, const char *help, const char *escape)
{
	for (const char *s = help; *s && s - help < 72; s++) {
		if (strchr(".,;:(", *s) && (s[1] == ' ' || s[1] == '\0' || *s == '('))
			break;
		if (*s == ' ' && s[1] == '(')
			break;
		if (*s == '\'')
			fputs("'\\", out);	/* inside '': close, quote, open */
		else if (strchr(escape, *s))
			fputc('\\', out);
		fputc(*s, out);
		if (*s == '\'')
			fputc('\'', out);
	}
}

/* Command @i; @machine: its first argument is an existing one. */
static const char *command_at(unsigned i, bool *machine)
{
	const char *args, *help, *name = command_name(i, &args, &help);

	*machine = name && !strncmp(args, "NAME", 4) && strcmp(name, "create");
	return name;
}

/* Options of command @i alone, "--" in its arguments, each between @before and @after. */
static unsigned put_own_options(FILE *out, unsigned i, const char *before, const char *after)
{
	const char *args, *help;
	unsigned n = 0;

	if (!command_name(i, &args, &help))
		return 0;
	for (; (args = strstr(args, "--")); n++) {
		size_t len = strspn(args += 2, "abcdefghijklmnopqrstuvwxyz-");

		fprintf(out, "%s%.*s%s", before, (int)len, args, after);
	}
	return n;
}

/* The commands, or only those whose argument is a machine. */
static void put_commands(FILE *out, bool machines_only, const char *between)
{
	const char *name;
	bool machine;

	for (unsigned i = 0; (name = command_at(i, &machine)); i++)
		if (machine || !machines_only)
			fprintf(out, "%s%s", name, between);
}

/* ---- bash --------------------------------------------------------------- */

static void bash_set(FILE *out, const struct option_set *set)
{
	struct option_doc o;

	fprintf(out, "%s()\n{\n\tcase $1 in\n", set->fn);
	for (unsigned i = 0; set->at(i, &o); i++) {
		if (!has_values(o.arg))
			continue;
		fprintf(out, "\t--%s", o.name);
		if (o.letter)
			fprintf(out, "|-%c", o.letter);
		fputs(")\n\t\twords=\"", out);
		put_values(out, o.arg);
		fputs("\"; return ;;\n", out);
	}
	fputs("\tesac\n\tcase $2 in\n\t-*) words=\"", out);
	for (unsigned i = 0; set->at(i, &o); i++)
		fprintf(out, "%s--%s", i ? " " : "", o.name);
	fputs("\" ;;\n\tesac\n}\n\n", out);
}

/* Where a machine's name stands: the second word, behind such a command. */
static void put_machine_patterns(FILE *out)
{
	const char *name, *between = "";
	bool machine;

	for (unsigned i = 0; (name = command_at(i, &machine)); i++) {
		if (!machine)
			continue;
		fprintf(out, "%s2.*.%s", between, name);
		between = "|";
	}
}

static void bash(FILE *out)
{
	const char *name;
	bool machine;

	fputs("# bash completion of hvrun(1), made by hvrun --completion bash\n\n"
	      "_hvrun_machines()\n{\n\tlocal f IFS=$'\\n'\n"
	      "\tfor f in \"${XDG_DATA_HOME:-$HOME/.local/share}\"/hvrun/machines/*.hvm; do\n"
	      "\t\tf=${f##*/}\n\t\tf=${f%.hvm}\n"
	      "\t\t[ \"$f\" = '*' ] || [[ $f != \"$1\"* ]] || COMPREPLY+=(\"$f\")\n\tdone\n"
	      "\tcompopt -o filenames 2>/dev/null\n\treturn 0\n}\n\n", out);
	bash_set(out, &main_set);
	bash_set(out, &img_set);
	fputs("_hvrun()\n{\n"
	      "\tlocal cur=${COMP_WORDS[COMP_CWORD]} prev=${COMP_WORDS[COMP_CWORD-1]} words=\n"
	      "\t# --option=value comes as three words\n"
	      "\tif [ \"$cur\" = = ]; then\n\t\tcur=\n"
	      "\telif [ \"$prev\" = = ]; then\n\t\tprev=${COMP_WORDS[COMP_CWORD-2]}\n\tfi\n"
	      "\tif [ \"${COMP_WORDS[1]}\" = img ] && [ \"$COMP_CWORD\" -gt 2 ]; then\n"
	      "\t\t_hvrun_img \"$prev\" \"$cur\"\n"
	      "\telif [ \"${COMP_WORDS[1]}\" = img ] && [ \"$COMP_CWORD\" = 2 ]; then\n"
	      "\t\twords=\"", out);
	for (unsigned i = 0; (name = img_command_name(i)); i++)
		fprintf(out, "%s ", name);
	fputs("--help\"\n\telse\n\t\t_hvrun_main \"$prev\" \"$cur\"\n\tfi\n"
	      "\tCOMPREPLY=($(compgen -W \"$words\" -- \"$cur\"))\n"
	      "\tcase $COMP_CWORD.$cur.${COMP_WORDS[1]} in\n"
	      "\t1.-*) ;;\n\t1.*)\n\t\tCOMPREPLY=($(compgen -W \"", out);
	put_commands(out, false, " ");
	fputs("img\" -- \"$cur\"))\n\t\t_hvrun_machines \"$cur\"\n"
	      "\t\tlocal IFS=$'\\n'\n"
	      "\t\tCOMPREPLY+=($(compgen -f -- \"$cur\")) ;;\n\t2.-*) ;;\n", out);
	fputs("\t", out);
	put_machine_patterns(out);
	fputs(")\n\t\t_hvrun_machines \"$cur\" ;;\n\tesac\n"
	      "\tcase ${COMP_WORDS[1]}.$cur in\n", out);
	for (unsigned i = 0; (name = command_at(i, &machine)); i++) {
		fprintf(out, "\t%s.-*) COMPREPLY+=($(compgen -W \"", name);
		put_own_options(out, i, "--", " ");
		fputs("\" -- \"$cur\")) ;;\n", out);
	}
	fputs("\tesac\n"
	      "\t[[ ${COMPREPLY[0]} = *: ]] && compopt -o nospace 2>/dev/null\n"
	      "\treturn 0\n}\n\n"
	      "complete -o bashdefault -o default -F _hvrun hvrun\n", out);
}

/* ---- zsh ---------------------------------------------------------------- */

static void zsh_option(FILE *out, const char *name, const struct option_doc *o)
{
	char v[64];

	fprintf(out, "\t\t'*%s[", name);
	put_short(out, o->help, "[]:\\");
	fputc(']', out);
	if (o->arg && has_values(o->arg) && takes_file(o->arg)) {
		fputs(":value:{_alternative \"values:value:(", out);
		put_values(out, o->arg);
		fputs(")\" \"files:file:_files\"}", out);
	} else if (o->arg && has_values(o->arg)) {
		fputs(":value:(", out);
		for (const char *p = o->arg; next_value(&p, v, sizeof(v));)
			fprintf(out, "%.*s%s ", (int)strcspn(v, ":"), v,
				strchr(v, ':') ? "\\:" : "");
		fputc(')', out);
	} else if (o->arg) {
		fputs(takes_file(o->arg) ? ":file:_files" : ":value:", out);
	}
	fputs("'\n", out);
}

static void zsh_set(FILE *out, const char *name, const struct option_set *set)
{
	struct option_doc o;
	char text[64];

	fprintf(out, "\t%s=(\n", name);
	for (unsigned i = 0; set->at(i, &o); i++) {
		snprintf(text, sizeof(text), "--%s%s", o.name, o.arg ? "=" : "");
		zsh_option(out, text, &o);
		snprintf(text, sizeof(text), "-%c%s", o.letter, o.arg ? "+" : "");
		if (o.letter)
			zsh_option(out, text, &o);
	}
	fputs("\t)\n", out);
}

static void zsh(FILE *out)
{
	const char *name;
	bool machine;

	fputs("#compdef hvrun\n# zsh completion of hvrun(1), made by hvrun --completion zsh\n\n"
	      "_hvrun()\n{\n\tlocal -a opts\n"
	      "\tif (( CURRENT > 2 )) && [[ $words[2] == img ]]; then\n", out);
	zsh_set(out, "opts", &img_set);
	fputs("\t\t_arguments -s $opts '2:command:(", out);
	for (unsigned i = 0; (name = img_command_name(i)); i++)
		fprintf(out, "%s%s", i ? " " : "", name);
	fputs(")' '*:file:_files'\n\t\treturn\n\tfi\n", out);
	zsh_set(out, "opts", &main_set);
	fputs("\tcase $words[2] in\n", out);
	for (unsigned i = 0; (name = command_at(i, &machine)); i++) {
		fprintf(out, "\t%s) opts+=(", name);
		put_own_options(out, i, "--", " ");
		fputs(") ;;\n", out);
	}
	fputs("\tesac\n\t_arguments -s $opts '*:file:_files'\n"
	      "\tlocal -a machines\n"
	      "\tmachines=(${XDG_DATA_HOME:-$HOME/.local/share}/hvrun/machines/*.hvm(N:t:r))\n"
	      "\tcase $CURRENT.$words[2] in\n\t2.*) compadd img ", out);
	put_commands(out, false, " ");
	fputs("$machines ;;\n\t3.(", out);
	put_commands(out, true, "|");
	fputs(")) compadd $machines ;;\n\tesac\n}\n\n_hvrun \"$@\"\n", out);
}

/* ---- fish --------------------------------------------------------------- */

static void fish_set(FILE *out, const struct option_set *set)
{
	struct option_doc o;

	for (unsigned i = 0; set->at(i, &o); i++) {
		fprintf(out, "complete -c hvrun -n '%s' -l %s", set->when, o.name);
		if (o.letter)
			fprintf(out, " -s %c", o.letter);
		if (o.arg)
			fputs(takes_file(o.arg) ? " -r" : " -x", out);
		if (has_values(o.arg)) {
			fputs(" -a '", out);
			put_values(out, o.arg);
			fputc('\'', out);
		}
		fputs(" -d '", out);
		put_short(out, o.help, "\\");
		fputs("'\n", out);
	}
}

static void fish_commands(FILE *out)
{
	const char *name, *args, *help;
	bool machine;

	fputs("function __hvrun_machines\n\tset -l d ~/.local/share\n"
	      "\tset -q XDG_DATA_HOME; and set d $XDG_DATA_HOME\n"
	      "\tfor f in $d/hvrun/machines/*.hvm\n"
	      "\t\tstring replace -r '^.*/(.*)\\.hvm$' '$1' -- $f\n\tend\nend\n"
	      "complete -c hvrun -n __fish_use_subcommand -a '(__hvrun_machines)' -d Machine\n",
	      out);
	for (unsigned i = 0; (name = command_at(i, &machine)); i++) {
		char before[120];

		command_name(i, &args, &help);
		fprintf(out, "complete -c hvrun -n __fish_use_subcommand -a %s -d '", name);
		put_short(out, help, "\\");
		fputs("'\n", out);
		if (machine)
			fprintf(out, "complete -c hvrun -n '__fish_seen_subcommand_from %s' "
				"-a '(__hvrun_machines)'\n", name);
		snprintf(before, sizeof(before),
			 "complete -c hvrun -n '__fish_seen_subcommand_from %s' -l ", name);
		put_own_options(out, i, before, "\n");
	}
}

static void fish(FILE *out)
{
	const char *name;

	fputs("# fish completion of hvrun(1), made by hvrun --completion fish\n\n"
	      "complete -c hvrun -n __fish_use_subcommand -a img -d 'Disk images'\n", out);
	fish_commands(out);
	fish_set(out, &main_set);
	fputs("complete -c hvrun -n '__fish_seen_subcommand_from img' -a '", out);
	for (unsigned i = 0; (name = img_command_name(i)); i++)
		fprintf(out, "%s%s", i ? " " : "", name);
	fputs("'\n", out);
	fish_set(out, &img_set);
}

bool config_completion(FILE *out, const char *shell)
{
	static const struct { const char *name; void (*print)(FILE *out); } shells[] = {
		{ "bash", bash }, { "zsh", zsh }, { "fish", fish },
	};

	for (unsigned i = 0; i < ARRAY_SIZE(shells); i++)
		if (!strcmp(shell, shells[i].name)) {
			shells[i].print(out);
			return true;
		}
	return false;
}
