/* SPDX-License-Identifier: MIT */
/*
 * The seam between a local APIC model and the CPU that owns it.
 *
 * devices/lapic.c implements struct apic_ops; the software CPU calls it.
 * With KVM the local APIC is in the kernel and this seam is unused, except
 * for struct extint (the 8259 pair), which both engines share.
 *
 * Locking: all calls under vm->dev_lock, except apic_ops.pending, which
 * reads one atomic word.
 */
#ifndef HV_APIC_H
#define HV_APIC_H

#include <stdbool.h>
#include <stdint.h>

/* Events that an APIC (or the board) raises at a CPU; values are request bits (cpu/vcpu.h). */
enum cpu_event {
	CPU_EV_INTR = 1u << 0,	/* a maskable interrupt may be pending: re-evaluate */
	CPU_EV_NMI = 1u << 1,
	CPU_EV_SMI = 1u << 2,
	CPU_EV_INIT = 1u << 3,
	CPU_EV_SIPI = 1u << 4,	/* arg = vector */
};

/* How an APIC signals its CPU.  May be called from any thread that holds dev_lock. */
struct cpu_signal {
	void (*raise)(void *cpu, enum cpu_event ev, unsigned arg);
	void (*lower)(void *cpu, enum cpu_event ev);
	void *cpu;
};

/* The 8259 pair as seen at INTA: returns the vector (0-255; spurious included). */
struct extint {
	int (*inta)(void *opaque);
	void *opaque;
};

struct apic_ops {
	/* Highest deliverable vector, moved IRR -> ISR; ExtINT goes to the 8259.  -1: none. */
	int (*ack)(void *apic);
	/* True if ack() would return a vector. */
	bool (*has_intr)(void *apic);
	uint8_t (*get_tpr)(void *apic);		/* CR8 << 4 */
	void (*set_tpr)(void *apic, uint8_t tpr);
	uint64_t (*get_base)(void *apic);	/* IA32_APIC_BASE */
	bool (*set_base)(void *apic, uint64_t val);	/* false: #GP */
	bool (*rdmsr)(void *apic, uint32_t msr, uint64_t *val);	/* 0x800-0x8ff, 0x6e0; false: #GP */
	bool (*wrmsr)(void *apic, uint32_t msr, uint64_t val);
	/* xAPIC page access, offset inside the 4 KiB page; size 1, 2, 4, 8. */
	uint32_t (*mmio_read)(void *apic, unsigned off);
	void (*mmio_write)(void *apic, unsigned off, uint32_t val);
	void (*init)(void *apic);		/* INIT: all but the APIC ID and base */
};

struct apic {
	const struct apic_ops *ops;
	void *opaque;
};

#endif
