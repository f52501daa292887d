/* SPDX-License-Identifier: MIT */
/* hvrun edit and delete. */
#include "command_int.h"
#include "img_int.h"
#include "log.h"
#include "savefile.h"
#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <sys/stat.h>
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

/* ---- delete ------------------------------------------------------------------------ */

/* Does any other machine have the file? */
static bool shared(const struct machine *m, const char *file)
{
	unsigned n;
	struct machine **list = machine_list(&n);
	bool found = false;
	const char *v;

	for (unsigned i = 0; i < n && !found; i++) {
		if (!strcmp(list[i]->path, m->path))
			continue;
		for (unsigned k = 0; (v = machine_get(list[i], "disk", k)) && !found; k++) {
			char *other = machine_file_of(list[i], v);

			found = !strcmp(other, file);
			free(other);
		}
	}
	machine_list_free(list, n);
	return found;
}

static uint64_t bytes_of(const char *path)
{
	struct stat st;

	return stat(path, &st) == 0 && S_ISREG(st.st_mode) ? (uint64_t)st.st_blocks * 512 : 0;
}

/* Goes through the files that go with the machine; @remove: and removes them. */
static uint64_t each_file(const struct machine *m, bool disks, bool remove)
{
	static const char *const own[] = { "png", "log", "state", "lock", "sock" };
	char path[PATH_MAX];
	uint64_t sum = 0;
	const char *v;

	for (unsigned i = 0; disks && (v = machine_get(m, "disk", i)); i++) {
		char *file = machine_file_of(m, v);
		uint64_t n = bytes_of(file);

		if (!n || shared(m, file)) {
			if (n && !remove)
				log_info("kept, another machine has it: %s", file);
		} else if (!remove) {
			printf("%s\t%s\n", img_bytes(n), file);
			sum += n;
		} else if (unlink(file) < 0) {
			log_warn("cannot remove %s: %s", file, strerror(errno));
		}
		free(file);
	}
	for (unsigned i = 0; remove && i < ARRAY_SIZE(own); i++)
		if (machine_path(m, own[i], path, sizeof(path), NULL))
			unlink(path);
	if (!remove)
		printf("%s\t%s\n", img_bytes(bytes_of(m->path)), m->path);
	return sum;
}

static bool confirm(const struct command_args *a, struct err *e)
{
	char answer[16] = "";

	if (a->yes)
		return true;
	if (!isatty(STDIN_FILENO))
		return USAGE(e, "nothing was removed: --yes is needed without a terminal");
	fputs("Remove? [y/N] ", stdout);
	fflush(stdout);
	if (fgets(answer, sizeof(answer), stdin) && (*answer == 'y' || *answer == 'Y'))
		return true;
	return err_set(e, HV_EXIT_GENERIC, "nothing was removed");
}

static void remove_previous(const struct machine *m)
{
	char old[PATH_MAX];

	if (snprintf(old, sizeof(old), "%s" SAVEFILE_PREVIOUS, m->path) < (int)sizeof(old))
		unlink(old);	/* mostly there is none */
}

int command_delete(struct command_args *a, struct err *e)
{
	struct machine *m = machine_find(a->pos[0], e);
	bool ok = m != NULL;
	uint64_t sum;

	/* Held while its files go, so that nobody starts it. */
	ok = ok && machine_lock(m, e);
	if (ok) {
		sum = each_file(m, a->disks, false);
		printf("%s\tin all\n", img_bytes(sum));
		ok = confirm(a, e);
	}
	if (ok && unlink(m->path) < 0)
		ok = err_errno(e, HV_EXIT_HOST, errno, "cannot remove %s", m->path);
	if (ok) {
		remove_previous(m);
		each_file(m, a->disks, true);
	}
	if (m && m->lock_fd >= 0) {
		close(m->lock_fd);	/* without a note of use */
		m->lock_fd = -1;
	}
	machine_free(m);
	return ok ? 0 : e->exit_code;
}
