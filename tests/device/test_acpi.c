/* SPDX-License-Identifier: MIT */
/* ACPI tables: structure, checksums, and the disassembler's opinion where it is installed. */
#include "../lib/testvm.h"
#include "../../devices/acpi.h"
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#define BASE 0x7fe0000

static uint8_t sum(const uint8_t *p, size_t n)
{
	uint8_t s = 0;

	while (n--)
		s += *p++;
	return s;
}

static void build(struct acpi_tables *t)
{
	struct acpi_config cfg = { .ncpus = 3, .ram = GiB(5), .ram_below_4g = GiB(3),
				   .display = true, .com_ports = 3,
				   .floppy_types = 0x45, .hpet = true, .vmgenid = true,
				   .parallel = true };

	acpi_build(&cfg, t);
	acpi_relocate(t, BASE);
}

static const uint8_t *at(const struct acpi_tables *t, uint64_t addr)
{
	assert_true(addr >= BASE && addr - BASE <= t->len - 36);
	return t->data + (addr - BASE);
}

/* ACPI 6.5, 5.2.5.3 and 5.2.6: every checksum is zero, XSDT and RSDT agree. */
static void test_chain(void **state)
{
	struct acpi_tables t;
	const uint8_t *rsdt, *xsdt;
	bool fadt = false, madt = false;

	build(&t);
	assert_memory_equal(t.rsdp, "RSD PTR ", 8);
	assert_int_equal(sum(t.rsdp, 20), 0);
	assert_int_equal(sum(t.rsdp, 36), 0);
	rsdt = at(&t, ld_le32(t.rsdp + 16));
	xsdt = at(&t, ld_le64(t.rsdp + 24));
	assert_memory_equal(rsdt, "RSDT", 4);
	assert_memory_equal(xsdt, "XSDT", 4);
	assert_int_equal((ld_le32(rsdt + 4) - 36) / 4, (ld_le32(xsdt + 4) - 36) / 8);
	for (unsigned i = 0; i < (ld_le32(rsdt + 4) - 36) / 4; i++) {
		const uint8_t *p = at(&t, ld_le64(xsdt + 36 + 8 * i));

		assert_int_equal(ld_le32(rsdt + 36 + 4 * i), ld_le64(xsdt + 36 + 8 * i));
		assert_int_equal(sum(p, ld_le32(p + 4)), 0);
		if (!memcmp(p, "FACP", 4)) {
			const uint8_t *facs = at(&t, ld_le32(p + 36));
			const uint8_t *dsdt = at(&t, ld_le64(p + 140));

			fadt = true;
			assert_memory_equal(facs, "FACS", 4);
			assert_int_equal((facs - t.data) % 64, 0);
			assert_memory_equal(dsdt, "DSDT", 4);
			assert_int_equal(sum(dsdt, ld_le32(dsdt + 4)), 0);
		}
		madt |= !memcmp(p, "APIC", 4);
	}
	assert_true(fadt && madt);
	acpi_free(&t);
}

static void run_iasl(const struct acpi_tables *t, const char *sig)
{
	char dir[] = "/tmp/hv-acpi-XXXXXX", cmd[600];
	const uint8_t *p = NULL;
	FILE *f;

	for (size_t i = 0; i + 36 <= t->len; i += 16)
		if (!memcmp(t->data + i, sig, 4))
			p = t->data + i;
	assert_non_null(p);
	assert_non_null(mkdtemp(dir));
	snprintf(cmd, sizeof(cmd), "%s/t.aml", dir);
	f = fopen(cmd, "wb");
	assert_non_null(f);
	assert_int_equal(fwrite(p, 1, ld_le32(p + 4), f), ld_le32(p + 4));
	fclose(f);
	snprintf(cmd, sizeof(cmd), "cd %s && iasl -d t.aml >d.log 2>&1 && iasl -vw 6074 -tc t.dsl"
		 " >c.log 2>&1 && ! grep -qE 'Error +[0-9]|[1-9][0-9]* Errors' c.log", dir);
	if (system(cmd) != 0) {
		snprintf(cmd, sizeof(cmd), "cat %s/d.log %s/c.log", dir, dir);
		(void)!system(cmd);
		fail_msg("iasl does not accept %s", sig);
	}
	snprintf(cmd, sizeof(cmd), "rm -rf %s", dir);
	(void)!system(cmd);
}

static void test_iasl(void **state)
{
	struct acpi_tables t;

	if (system("command -v iasl >/dev/null 2>&1") != 0)
		skip();
	build(&t);
	run_iasl(&t, "DSDT");
	run_iasl(&t, "APIC");
	run_iasl(&t, "FACP");
	run_iasl(&t, "HPET");
	acpi_free(&t);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_chain),
		cmocka_unit_test(test_iasl),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
