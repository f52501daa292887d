/* SPDX-License-Identifier: MIT */
/*
 * What the library does, it does by running hvrun again: a crash of one
 * machine touches no other, and the command line has all the code.
 */
#include "library_int.h"
#include "../src/util.h"
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#define SETTLED_MS 4000		/* a machine that lives so long has started */

static struct job *free_job(struct library *l)
{
	for (unsigned i = 0; i < LIB_JOBS; i++)
		if (!l->jobs[i].pid)
			return &l->jobs[i];
	return NULL;
}

bool job_any(const struct library *l)
{
	for (unsigned i = 0; i < LIB_JOBS; i++)
		if (l->jobs[i].pid && !l->jobs[i].settled)
			return true;
	return false;
}

/* A machine outlives the library: no terminal, no descriptor of ours. */
static void child(char *const *argv, int out, bool own_session)
{
	sigset_t none;
	int null = open("/dev/null", O_RDWR);

	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
	if (own_session)
		setsid();
	dup2(null, 0);
	dup2(out, 1);
	dup2(out, 2);
	closefrom(3);
	execv("/proc/self/exe", argv);
	_exit(127);
}

void arg(struct args *a, const char *fmt, ...)
{
	va_list ap;
	char *s;

	if (a->n >= LIB_ARGS - 1)
		return;
	va_start(ap, fmt);
	if (vasprintf(&s, fmt, ap) >= 0)
		a->v[a->n++] = s;
	va_end(ap);
}

static void launch(struct library *l, const struct args *args, bool stays, const char *doing,
		   const char *then)
{
	struct job *j = free_job(l);
	char *argv[LIB_ARGS + 1] = { (char *)"hvrun" };

	if (!j) {
		lib_notice(l, _("Still busy"));
		return;
	}
	memcpy(argv + 1, args->v, args->n * sizeof(argv[0]));
	*j = (struct job){ .out = memfd_create("hvrun-says", MFD_CLOEXEC), .stays = stays,
			   .since = SDL_GetTicks64() };
	snprintf(j->then, sizeof(j->then), "%s", then ? then : "");
	snprintf(j->doing, sizeof(j->doing), "%s", doing);
	j->pid = fork();
	if (j->pid == 0)
		child(argv, j->out, stays);
	if (j->pid < 0) {
		j->pid = 0;
		lib_message(l, strerror(errno));
		return;
	}
	lib_notice(l, doing);
}

static void run(struct library *l, struct args *a, bool stays, const char *doing,
		const char *then)
{
	launch(l, a, stays, doing, then);
	while (a->n)
		free(a->v[--a->n]);
}

void job_run(struct library *l, struct args *a, const char *doing, const char *then)
{
	run(l, a, false, doing, then);
}

/* By its file: a name alone could be a command's, or a file's in this folder. */
void job_start_machine(struct library *l, const char *name, bool headless, bool discard)
{
	struct args a = { .n = 0 };
	struct err e = { 0 };
	char text[200], dir[4096];

	if (!machine_dir(MACHINE_DIR_DATA, dir, sizeof(dir), &e)) {
		lib_message(l, e.msg);
		return;
	}
	arg(&a, "%s/%s" MACHINE_SUFFIX, dir, name);
	arg(&a, headless ? "--display=none" : "--display=window");
	arg(&a, headless ? "--serial=null" : "--on-poweroff=stay");
	if (discard)
		arg(&a, "--discard");
	snprintf(text, sizeof(text), _("Starting %s"), name);
	run(l, &a, true, text, NULL);
}

/* Its last lines, without the program's name in front. */
static void tell_failure(struct library *l, const struct job *j)
{
	char buf[1500], *p = buf, *line;
	off_t end = lseek(j->out, 0, SEEK_END), most = sizeof(buf) - 1;
	ssize_t n = pread(j->out, buf, sizeof(buf) - 1, MAX(end - most, 0));

	buf[MAX(n, 0)] = 0;
	while ((line = strstr(p, "hvrun: error: ")))
		p = line + strlen("hvrun: error: ");
	p[strcspn(p, "\n")] = 0;
	lib_message(l, *p ? p : _("hvrun could not be started"));
}

static void job_done(struct library *l, struct job *j, int status)
{
	bool ok = WIFEXITED(status) && WEXITSTATUS(status) == 0;
	struct job was = *j;

	j->pid = 0;
	*l->notice = 0;
	l->looked_at = 0;
	l->dirty = true;
	if (!ok && !was.settled)
		tell_failure(l, &was);
	close(was.out);
	if (ok && *was.then)
		job_start_machine(l, was.then, false, false);
}

void job_poll(struct library *l)
{
	for (unsigned i = 0; i < LIB_JOBS; i++) {
		struct job *j = &l->jobs[i];
		int status = 0;
		pid_t pid = j->pid ? waitpid(j->pid, &status, WNOHANG) : 0;

		if (pid == j->pid && pid) {
			job_done(l, j, status);
		} else if (j->pid && j->stays && !j->settled &&
			   SDL_GetTicks64() - j->since > SETTLED_MS) {
			j->settled = true;	/* it runs */
			*l->notice = 0;
			l->dirty = true;
		}
	}
}
