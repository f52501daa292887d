/* SPDX-License-Identifier: MIT */
/* Shared by acpi.c and acpi_dsdt.c; not for other files. */
#ifndef HV_ACPI_INT_H
#define HV_ACPI_INT_H

#include "acpi.h"
#include "aml.h"

/* ---- acpi.c ---- */
/* A table's header (ACPI 6.5, 5.2.6); where it begins. */
size_t acpi_table_begin(struct aml *a, const char *sig, uint8_t rev);
void acpi_table_end(struct aml *a, struct acpi_tables *t, size_t at);

/* ---- acpi_dsdt.c ---- */
void acpi_build_dsdt(struct aml *a, const struct acpi_config *cfg, struct acpi_tables *t);

#endif
