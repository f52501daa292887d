/* SPDX-License-Identifier: MIT */
/* ACPI tables of the board: built once, then placed by firmware or by us. */
#ifndef HV_ACPI_H
#define HV_ACPI_H

#include "../src/device.h"

#define ACPI_MAX_FIXUPS 64
#define ACPI_RSDP_LEN 36

struct acpi_config {
	unsigned ncpus;
	uint64_t ram, ram_below_4g;
	bool display, hpet, vmgenid, parallel;
	uint8_t com_ports;		/* one bit each, COM1 first */
	uint8_t floppy_types;		/* as in CMOS byte 10h; 0: no controller */
};

/* A pointer in the tables (or the RSDP) that must be moved, or a checksum to make. */
struct acpi_fixup {
	enum { ACPI_FIX_POINTER, ACPI_FIX_CHECKSUM } kind;
	bool in_rsdp;
	uint32_t at;			/* offset of pointer or checksum byte */
	uint32_t size;			/* of the pointer: 4 or 8 */
	uint32_t start, len;		/* checksummed range */
};

struct acpi_tables {
	uint8_t *data;			/* all tables; pointers are offsets into it */
	size_t len;
	uint8_t rsdp[ACPI_RSDP_LEN];
	struct acpi_fixup fix[ACPI_MAX_FIXUPS];	/* in the order to apply */
	unsigned nfix;
	uint32_t fadt;			/* its offset in data */
};

void acpi_build(const struct acpi_config *cfg, struct acpi_tables *out);
/* Tell the tables in @data (a copy of t->data) where firmware put the PM registers. */
void acpi_set_pm_base(const struct acpi_tables *t, uint8_t *data, uint16_t pm);
void acpi_free(struct acpi_tables *t);
/* Final pointers and checksums for tables that will lie at @base (64-byte aligned). */
void acpi_relocate(struct acpi_tables *t, uint64_t base);
#define ACPI_FILE_TABLES "etc/acpi/tables"
/* Hand the (not relocated) tables to firmware. */
void acpi_to_fwcfg(const struct acpi_tables *t, struct device *fwcfg);

#endif
