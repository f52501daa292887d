/* SPDX-License-Identifier: MIT */
/* hvrun edit. */
#include "command_int.h"
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#define USAGE(e, ...) err_set(e, HV_EXIT_USAGE, __VA_ARGS__)

/* ---- edit -------------------------------------------------------------------- */

/* The user's editor may be a command with arguments: the shell takes it apart. */
static bool run_editor(const char *path, struct err *e)
{
	const char *ed = getenv("VISUAL");
	char line[1024];
	int st = -1;
	pid_t pid;

	if (!ed || !*ed)
		ed = getenv("EDITOR");
	if (!ed || !*ed)
		ed = "vi";
	snprintf(line, sizeof(line), "exec %s \"$1\"", ed);
	pid = fork();
	if (pid == 0) {
		execl("/bin/sh", "sh", "-c", line, "sh", path, (char *)NULL);
		_exit(127);
	}
	if (pid < 0 || waitpid(pid, &st, 0) < 0 || !WIFEXITED(st) || WEXITSTATUS(st))
		return err_set(e, HV_EXIT_GENERIC, "the editor (%s) failed; set EDITOR", ed);
	return true;
}

static bool edit_by_hand(struct machine *m, struct err *e)
{
	struct machine *now;
	bool ok;

	if (!isatty(STDIN_FILENO) && !getenv("VISUAL") && !getenv("EDITOR"))
		return USAGE(e, "nothing to change: give options, for example --memory 4G");
	if (!run_editor(m->path, e) || !(now = machine_open(m->path, e)))
		return false;
	ok = command_check_machine(now, e);
	machine_free(now);
	return ok || err_prefix(e, "the file was saved, but the machine will not start");
}

static void take_given(struct machine *m, const struct config *c)
{
	for (unsigned i = 0; i < c->ngiven; i++)
		if (config_key_is_list(c->given[i].key))
			machine_set(m, c->given[i].key, NULL);	/* a new list */
	machine_add_given(m, c, true);
}

int command_edit(struct command_args *a, struct err *e)
{
	struct machine *m = NULL;
	struct config c;
	bool ok = config_parse(&c, a->argc, a->argv, e);

	if (ok && c.nfiles != 1)
		ok = USAGE(e, "hvrun edit needs the name of one machine");
	ok = ok && (m = machine_find(c.files[0], e));
	if (ok && !c.ngiven && !a->nunset) {
		ok = edit_by_hand(m, e);
	} else if (ok) {
		for (unsigned i = 0; i < a->nunset; i++)
			machine_set(m, a->unset[i], NULL);
		take_given(m, &c);
		ok = command_check_machine(m, e) && machine_save(m, e);
	}
	if (ok)
		printf("%s\n", m->path);
	machine_free(m);
	config_free(&c);
	return ok ? 0 : e->exit_code;
}
