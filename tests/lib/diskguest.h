/* SPDX-License-Identifier: MIT */
/*
 * For tests of PCI disk controllers: image files with a known pattern, a
 * machine with a host bridge, the function's BARs, waiting for completions.
 */
#ifndef HV_DISKGUEST_H
#define HV_DISKGUEST_H

#include "testvm.h"
#include "../../src/block.h"
#include "../../src/pci.h"

#define DG_DEVFN PCI_DEVFN(5, 0)
#define DG_BAR 0xe0000000u	/* BAR n at DG_BAR + n * 1 MiB */
#define DG_BAR_AT(n) (DG_BAR + (n) * 0x100000u)

struct diskguest {
	struct vm *vm;
	struct device *d;
	struct block *disk, *cd;
	unsigned msis;
	uint32_t msi_data;
};

/* Image of @sectors in which every word tells where it is; opened. */
struct block *dg_image(struct vm *vm, uint32_t sectors, unsigned flags);
uint32_t dg_word(uint32_t sector, unsigned i);
void dg_check(const void *p, uint32_t sector);	/* 512 bytes of the pattern */
void dg_check_at(struct vm *vm, uint64_t at, uint32_t sector, unsigned n);

/* Setup callbacks: put the function on the bus of a host bridge of its own. */
void dg_place(struct device *d);
/* Program BARs, enable decoding and bus mastering; records messages. */
void dg_enable(struct diskguest *g);
uint32_t dg_cfg_rd(struct vm *vm, unsigned off);
void dg_cfg_wr(struct vm *vm, unsigned off, uint32_t v);
void dg_close(struct vm *vm, struct block *b);

/* A reproducible random stream. */
uint64_t dg_random(uint64_t *s);

#endif
