/* SPDX-License-Identifier: MIT */
/* SMBIOS tables of the board. */
#ifndef HV_SMBIOS_H
#define HV_SMBIOS_H

#include "../src/util.h"

#define SMBIOS_ANCHOR_LEN 31
#define SMBIOS_ANCHOR64_LEN 24

struct smbios_config {
	const char *name;	/* may be NULL */
	unsigned ncpus;
	uint64_t ram, ram_below_4g;
};

struct smbios {
	uint8_t anchor[SMBIOS_ANCHOR_LEN], anchor64[SMBIOS_ANCHOR64_LEN];
	uint8_t *tables;	/* to be freed with free() */
	size_t len;
};

/* The anchor's address and checksums are for firmware, or smbios_relocate(). */
void smbios_build(const struct smbios_config *cfg, struct smbios *out);
void smbios_relocate(struct smbios *s, uint32_t tables_at);
void smbios_free(struct smbios *s);

#endif
