/* SPDX-License-Identifier: MIT */
/*
 * libFuzzer target: machine files.  The input is the text of a NAME.hvm: read,
 * put into a configuration (so it meets every option's parser), written again,
 * and what was written reads the same.
 */
#include "fuzz.h"
#include "../../src/config.h"
#include "../../src/machine.h"
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

static char top[] = "/dev/shm/hvrun-fuzz.XXXXXX", file[sizeof(top) + 40];

static void remove_all(void)
{
	char old[sizeof(file) + 2];

	snprintf(old, sizeof(old), "%s~", file);
	unlink(file);
	unlink(old);
	for (unsigned up = 0; up < 3; up++) {	/* machines, hvrun, the temporary one */
		*strrchr(file, '/') = 0;
		rmdir(file);
	}
}

/* The folder is the user's own: names may be anything (else most would be refused at once). */
int LLVMFuzzerInitialize(int *argc, char ***argv)
{
	char mine[sizeof(file) - 8];

	log_open("/dev/null");
	if (!mkdtemp(top))
		abort();
	setenv("XDG_DATA_HOME", top, 1);
	if (!machine_dir(MACHINE_DIR_DATA, mine, sizeof(mine), NULL))
		abort();
	snprintf(file, sizeof(file), "%s/x.hvm", mine);
	atexit(remove_all);
	return 0;
}

static void check_same(const struct machine *a, const struct machine *b)
{
	if (a->n != b->n)
		abort();
	for (unsigned i = 0; i < a->n; i++)
		if (!a->lines[i].key != !b->lines[i].key ||
		    (a->lines[i].key && strcmp(a->lines[i].key, b->lines[i].key)) ||
		    strcmp(a->lines[i].value, b->lines[i].value))
			abort();
}

static void use(struct machine *m)
{
	struct err e = { 0 };
	struct machine *again;
	struct config c;

	config_init(&c);
	if (!machine_apply(m, &c, &e) && !e.msg[0])
		abort();
	config_free(&c);
	if (!machine_save(m, &e))
		return;
	again = machine_open(file, &e);
	if (!again)
		abort();
	check_same(m, again);
	machine_free(again);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	struct err e = { 0 };
	struct machine *m;
	FILE *f = len <= 8192 ? fopen(file, "w") : NULL;

	if (!f)
		return 0;
	fwrite(data, 1, len, f);
	fclose(f);
	m = machine_open(file, &e);
	if (!m && !e.msg[0])
		abort();
	if (m)
		use(m);
	machine_free(m);
	return 0;
}
