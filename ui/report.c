/* SPDX-License-Identifier: MIT */
/*
 * The report about a machine that cannot go on: version, engine, settings,
 * the error and the log, with the names of home directories left out.
 */
#include "window_int.h"
#include "../src/vm.h"
#include <sys/utsname.h>
#include <time.h>

/* Every occurrence of the home directory becomes "~". */
static void write_redacted(FILE *f, const char *text)
{
	const char *home = getenv("HOME"), *hit;
	size_t n = home ? strlen(home) : 0;

	while (n > 1 && (hit = strstr(text, home))) {
		fwrite(text, 1, (size_t)(hit - text), f);
		fputc('~', f);
		text = hit + n;
	}
	fputs(text, f);
}

static void write_report(struct window *w, FILE *f)
{
	const struct config *c = w->cfg;
	struct utsname u = { .release = "?" };
	char log[4000];

	uname(&u);
	fprintf(f, "hvrun %s, Linux %s %s\n", HVRUN_VERSION, u.release, u.machine);
	fprintf(f, "engine %s, %u processors, %llu MiB, picture %u x %u\n",
		vm_engine_name(w->vm), w->vm->ncpus, (unsigned long long)(c->memory >> 20), w->w,
		w->h);
	for (unsigned i = 0; i < c->ndisks; i++) {
		fprintf(f, "%s ", c->disks[i].cdrom ? "cdrom" : "disk");
		write_redacted(f, c->disks[i].path);
		fputc('\n', f);
	}
	fputs("\n[HV-CPU-01] ", f);
	write_redacted(f, w->shell.message);
	fputs("\n\nlog:\n", f);
	if (log_tail(log, sizeof(log)))
		write_redacted(f, log);
}

void report_save(struct window *w)
{
	const char *home = getenv("HOME");
	char path[1024], text[1200], stamp[40];
	time_t now = time(NULL);
	struct tm tm;
	FILE *f;

	strftime(stamp, sizeof(stamp), "%Y%m%d-%H%M%S", localtime_r(&now, &tm));
	snprintf(path, sizeof(path), "%s/hvrun-report-%s.txt", home && *home ? home : ".", stamp);
	f = fopen(path, "we");
	if (!f) {
		snprintf(text, sizeof(text), _("Cannot write %s"), path);
	} else {
		write_report(w, f);
		fclose(f);
		snprintf(text, sizeof(text), _("Saved %s"), path);
	}
	shell_notice(w, text, 8000);
}
