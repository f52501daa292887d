/* SPDX-License-Identifier: MIT */
/* fw_cfg: named data for firmware; wiring for the board. */
#ifndef HV_FWCFG_H
#define HV_FWCFG_H

#include "../src/device.h"

extern const struct device_ops fwcfg_ops;

/* Well-known keys. */
#define FWCFG_NB_CPUS 0x05
#define FWCFG_BOOT_MENU 0x0e
#define FWCFG_MAX_CPUS 0x0f
#define FWCFG_IRQ0_OVERRIDE 0x8002

/* Before the machine runs; data is copied. */
void fwcfg_add_key(struct device *d, uint16_t key, const void *data, size_t len);
void fwcfg_add_file(struct device *d, const char *name, const void *data, size_t len);
/*
 * @fn may bring a file's contents up to date (same length) each time the guest
 * selects it.  One a machine.
 */
void fwcfg_on_select(struct device *d, const char *name,
		     void (*fn)(void *opaque, uint8_t *data, size_t len), void *opaque);
static inline void fwcfg_add_u16(struct device *d, uint16_t key, uint16_t v)
{
	fwcfg_add_key(d, key, &v, sizeof(v));
}

#endif
