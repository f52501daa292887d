/* SPDX-License-Identifier: MIT */
/*
 * libFuzzer target: descriptions of packed machines.  The input is the text of
 * an .ovf, and also an archive that may or may not be an OVA.
 */
#include "fuzz.h"
#include "../../src/ova.h"
#include "../../src/ovf.h"
#include <stdlib.h>

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
	log_open("/dev/null");
	return 0;
}

static void check(const struct ovf *o)
{
	/* What the importer relies on. */
	if (o->ndisks > OVF_DISKS || strnlen(o->name, sizeof(o->name)) == sizeof(o->name))
		abort();
	for (unsigned i = 0; i < o->ndisks; i++)
		if (!o->disk[i].bus || !memchr(o->disk[i].file, 0, sizeof(o->disk[i].file)))
			abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	static struct ovf o;
	struct err e = { 0 };
	char path[64];
	int fd;

	if (len > 65536)
		return 0;
	if (ovf_parse((const char *)data, len, &o, &e))
		check(&o);
	else if (!e.msg[0])
		abort();
	fd = fuzz_file(data, len, NULL, 0, path, sizeof(path));
	if (fd >= 0) {
		ova_is(path);
		close(fd);
	}
	return 0;
}
