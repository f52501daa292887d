/* SPDX-License-Identifier: MIT */
/*
 * For tests of the IDE ports: a machine with the PIIX3's function, a disk on
 * the first channel and a CD on the second one (image files with the pattern
 * of diskguest.h), and what a driver does at the ports.
 */
#ifndef HV_IDEGUEST_H
#define HV_IDEGUEST_H

#include "diskguest.h"
#include "../../devices/chipset.h"

#define IG_DISK_SECTORS 4096u
#define IG_CD_BLOCKS 300u
#define IG_BM 0xc000		/* where the bus master's registers are */
#define IG_PRDT 0x1000		/* guest memory for its table, and for data */
#define IG_DATA 0x10000

/* The machine of the test that runs. */
extern struct ideguest {
	struct vm *vm;
	struct device *ide;
	struct block *disk, *cd;
	struct test_irq irqs;
} ig;

/* For cmocka_unit_test_setup_teardown() */
int ig_setup(void **st);
int ig_teardown(void **st);
/* For tvm_add(): both drives; no disk and an empty CD drive. */
void ig_wire(struct device *d);
void ig_wire_empty(struct device *d);
void ig_enable(void);		/* the PCI function: decoding, bus mastering */

/* Status once the drive is no longer busy; the alternate register leaves the interrupt. */
uint8_t ig_settle(unsigned base);
/* Address registers of the channel at @base; @ext: LBA48. */
void ig_task(unsigned base, uint8_t dev, uint64_t lba, unsigned n, bool ext);
void ig_read_window(unsigned base, uint16_t *buf, unsigned words);
/* Entry @n of the bus master's table; @len 0: 64 KiB. */
void ig_prd(unsigned n, uint32_t addr, uint16_t len, bool last);

#endif
