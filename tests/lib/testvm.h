/* SPDX-License-Identifier: MIT */
/*
 * Test harness: a machine with a manual clock and no CPU, whose devices are
 * poked through the bus, and a sink that records interrupt lines.
 */
#ifndef HV_TESTVM_H
#define HV_TESTVM_H

#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "../../src/vm.h"

/* New machine, manual clock, no vCPUs, @ram bytes of RAM at 0 (0: none). */
struct vm *tvm_new(uint64_t ram);
void tvm_free(struct vm *vm);
/* Create, realize and reset a device; the caller may set wiring in @setup (may be NULL). */
struct device *tvm_add(struct vm *vm, const struct device_ops *ops, const char *id,
		       void (*setup)(struct device *d));

uint8_t tvm_inb(struct vm *vm, uint16_t port);
uint16_t tvm_inw(struct vm *vm, uint16_t port);
uint32_t tvm_inl(struct vm *vm, uint16_t port);
void tvm_outb(struct vm *vm, uint16_t port, uint8_t v);
void tvm_outw(struct vm *vm, uint16_t port, uint16_t v);
void tvm_outl(struct vm *vm, uint16_t port, uint32_t v);
uint32_t tvm_rd32(struct vm *vm, uint64_t addr);
void tvm_wr32(struct vm *vm, uint64_t addr, uint32_t v);
void tvm_advance(struct vm *vm, uint64_t ns);	/* virtual time, runs timers */

/* Records the level of up to 32 lines and how often each rose. */
struct test_irq {
	uint32_t level;
	unsigned rises[32];
};
struct irq_line test_irq_line(struct test_irq *t, unsigned pin);

/*
 * The generic tests every device must pass: save == save after load into a
 * fresh instance (poke through @poke first); reset of a poked device ==
 * fresh device.  @setup as in tvm_add(), for each instance.
 */
void tvm_check_roundtrip(const struct device_ops *ops, void (*setup)(struct device *d),
			 void (*poke)(struct vm *vm, struct device *d));
void tvm_check_reset(const struct device_ops *ops, void (*setup)(struct device *d),
		     void (*poke)(struct vm *vm, struct device *d));

#endif
