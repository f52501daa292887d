/* SPDX-License-Identifier: MIT */
/* Real-time clock and CMOS memory: wiring for the board. */
#ifndef HV_MC146818_H
#define HV_MC146818_H

#include "../src/device.h"

#define RTC_CENTURY 0x32	/* CMOS index of the century, for the FADT */

extern const struct device_ops mc146818_ops;

/*
 * Before device_realize().  @fixed_utc: seconds since 1970 at virtual time 0,
 * for tests; 0 follows the host's UTC.
 */
void rtc_wire(struct device *d, struct irq_line irq8, uint64_t fixed_utc);
/* Configuration bytes (memory size, boot order) at 0x0e-0x7f; after realize, kept over resets. */
void rtc_set_cmos(struct device *d, unsigned index, uint8_t val);
uint8_t rtc_get_cmos(struct device *d, unsigned index);
/* Port 0x70 bit 7. */
bool rtc_nmi_masked(struct device *d);

#endif
