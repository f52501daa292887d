/* SPDX-License-Identifier: MIT */
/* SMBIOS tables: entry points, every structure, and dmidecode's opinion where it is installed. */
#include "../lib/testvm.h"
#include "../../devices/smbios.h"
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#define AT 0x20u	/* where dmidecode's files have the tables */

static void build(struct smbios *s)
{
	struct smbios_config cfg = { .name = "vm one", .ncpus = 3, .ram = GiB(40),
				     .ram_below_4g = GiB(3) };

	smbios_build(&cfg, s);
	smbios_relocate(s, AT);
}

static uint8_t sum(const uint8_t *p, size_t n)
{
	uint8_t v = 0;

	while (n--)
		v += *p++;
	return v;
}

/* DSP0134 3.0, 5.2.1 and 5.2.2. */
static void test_entry_points(void **st)
{
	struct smbios s;

	build(&s);
	assert_memory_equal(s.anchor, "_SM_", 4);
	assert_int_equal(sum(s.anchor, 31), 0);
	assert_int_equal(sum(s.anchor + 16, 15), 0);
	assert_int_equal(s.anchor[6], 3);
	assert_int_equal(ld_le16(s.anchor + 22), s.len);
	assert_int_equal(ld_le32(s.anchor + 24), AT);
	assert_memory_equal(s.anchor64, "_SM3_", 5);
	assert_int_equal(sum(s.anchor64, s.anchor64[6]), 0);
	assert_int_equal(s.anchor64[7], 3);
	assert_int_equal(ld_le32(s.anchor64 + 12), s.len);
	assert_int_equal(ld_le64(s.anchor64 + 16), AT);
	smbios_free(&s);
}

/* 6.1: formatted area, strings, two zeros; handles differ; the last is type 127. */
static void test_structures(void **st)
{
	unsigned n = 0, types[128] = { 0 };
	uint64_t memory = 0;
	struct smbios s;
	size_t at = 0;
	uint8_t type;

	build(&s);
	do {
		const uint8_t *p = s.tables + at;

		assert_true(at + 4 <= s.len && at + p[1] + 2 <= s.len);
		type = p[0];
		types[type & 127]++;
		if (type == 17)
			memory += ld_le16(p + 12) == 0x7fff ? ld_le32(p + 28) : ld_le16(p + 12);
		at += p[1];
		while (at + 2 <= s.len && (s.tables[at] || s.tables[at + 1]))
			at++;
		at += 2;
		n++;
	} while (type != 127);
	assert_int_equal(at, s.len);
	assert_int_equal(n, ld_le16(s.anchor + 28));
	assert_int_equal(types[4], 3);
	assert_int_equal(types[17], 3);		/* 16 + 16 + 8 GiB */
	assert_int_equal(types[19], 2);
	assert_int_equal(memory, 40 * 1024);
	smbios_free(&s);
}

static void decode(const struct smbios *s, const uint8_t *anchor, size_t len, const char *want)
{
	char path[] = "/tmp/hv-smbios-XXXXXX", cmd[300];
	uint8_t head[AT] = { 0 };
	FILE *f = fdopen(mkstemp(path), "wb");

	assert_non_null(f);
	memcpy(head, anchor, len);
	assert_int_equal(fwrite(head, 1, AT, f), AT);
	assert_int_equal(fwrite(s->tables, 1, s->len, f), s->len);
	fclose(f);
	snprintf(cmd, sizeof(cmd), "PATH=$PATH:/usr/sbin; dmidecode --from-dump %s >%s.txt 2>&1 && "
		 "grep -q '%s' %s.txt && grep -q 'Serial Number: vm one' %s.txt && "
		 "! grep -qiE 'wrong|invalid|broken|truncated|<BAD' %s.txt", path, path, want, path,
		 path, path);
	if (system(cmd)) {
		snprintf(cmd, sizeof(cmd), "cat %s.txt", path);
		(void)!system(cmd);
		fail_msg("dmidecode does not like the tables");
	}
	snprintf(cmd, sizeof(cmd), "rm %s %s.txt", path, path);
	(void)!system(cmd);
}

static void test_dmidecode(void **st)
{
	struct smbios s;

	if (access("/usr/sbin/dmidecode", X_OK)) {
		print_message("skipped: no dmidecode\n");
		return;
	}
	build(&s);
	decode(&s, s.anchor, sizeof(s.anchor), "SMBIOS 3.0 present");
	decode(&s, s.anchor64, sizeof(s.anchor64), "SMBIOS 3.0.0 present");
	smbios_free(&s);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_entry_points), cmocka_unit_test(test_structures),
		cmocka_unit_test(test_dmidecode),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
