/* SPDX-License-Identifier: MIT */
/*
 * One vCPU interface, two engines: KVM (kvm.c) and the software CPU (soft/).
 *
 * A vCPU is a thread in vcpu.c that calls ops->run() until it is told to
 * leave.  Device accesses are performed inside run() through bus_read() and
 * bus_write(): the software engine answers a load in the middle of an
 * instruction, and KVM wants its exit completed before anything else, so a
 * shared exit for them would buy nothing.
 *
 * Requests: any thread sets bits in vcpu->req (vcpu_request()); the engine
 * polls the word at block heads (software) or is kicked out of KVM_RUN
 * (KVM).  HLT sleeps on the word in vcpu.c.
 */
#ifndef HV_VCPU_H
#define HV_VCPU_H

#include "../vm.h"
#include "x86_state.h"
#include <stdatomic.h>
#include <setjmp.h>

/* Request bits; the first five are enum cpu_event. */
enum {
	VCPU_REQ_INTR = CPU_EV_INTR,
	VCPU_REQ_NMI = CPU_EV_NMI,
	VCPU_REQ_SMI = CPU_EV_SMI,
	VCPU_REQ_INIT = CPU_EV_INIT,
	VCPU_REQ_SIPI = CPU_EV_SIPI,
	VCPU_REQ_LEAVE = 1u << 8,	/* return EXIT_KICKED: pause, reset, quit */
	VCPU_REQ_TLB = 1u << 9,		/* software CPU: drop translations, then acknowledge */
};

enum vcpu_exit {
	EXIT_KICKED,		/* VCPU_REQ_LEAVE was seen */
	EXIT_HLT,		/* halted with nothing deliverable pending */
	EXIT_WAIT_SIPI,		/* application processor waiting for INIT/SIPI */
	EXIT_TRIPLE_FAULT,
	EXIT_FAIL,		/* vcpu->fail says why */
};

struct vcpu {
	struct vm *vm;
	unsigned index;			/* = APIC ID */
	const struct cpu_ops *ops;
	void *impl;			/* engine's own struct */
	struct apic apic;		/* software engine: set by devices/lapic.c wiring in pc.c */
	_Atomic uint32_t req;		/* VCPU_REQ_* */
	_Atomic uint32_t sipi_vector;
	_Atomic uint32_t sleeping;	/* futex word: 1 while in HLT sleep */
	uint32_t wake_mask; /* requests that end EXIT_HLT's sleep; engine sets, LEAVE implied */
	pthread_t thread;
	bool started;
	char fail[400];			/* vCPU thread writes, read after EXIT_FAIL */
};

struct cpu_ops {
	const char *name;		/* "kvm", "soft" */
	/* Usable here?  false + reason. */
	bool (*probe)(struct err *e);
	bool (*vm_init)(struct vm *vm,
			struct err *e); /* sets vm->engine_data, vm->msi if in-kernel */
	void (*vm_free)(struct vm *vm);
	bool (*vcpu_init)(struct vcpu *v, struct err *e);
	void (*vcpu_free)(struct vcpu *v);
	/* Power-on/INIT state; BSP runnable at F000:FFF0, APs in wait-for-SIPI.  vCPU stopped. */
	void (*reset)(struct vcpu *v);
	/* vCPU thread.  Returns when there is something for vcpu.c to do. */
	enum vcpu_exit (*run)(struct vcpu *v);
	/* A request bit was set: make run() look at it soon.  Any thread. */
	void (*kick)(struct vcpu *v);
	/* vCPU stopped (parked or before start). */
	void (*get_state)(struct vcpu *v, struct x86_state *s);
	bool (*set_state)(struct vcpu *v, const struct x86_state *s, struct err *e);
	/* 8259 INTR pin, for engines whose local APIC is not ours (NULL: lapic LINT0). */
	void (*extint)(struct vm *vm, bool level);
	/* Mask of address line 20, under dev_lock; may be NULL (KVM cannot). */
	void (*set_a20)(struct vm *vm, bool pass);
	/* The TSC as the guest reads it, and its rate, for our local APICs; may be NULL. */
	uint64_t (*read_tsc)(struct vcpu *v);
	uint64_t (*tsc_hz)(void);
	bool has_smm;			/* system management mode */
	bool has_lapic;			/* in-kernel local APIC: the board makes no lapic devices */
	/* Optional, see doorbell.h.  Under dev_lock. */
	bool (*doorbell)(struct vm *vm, enum bus_kind kind, uint64_t addr, unsigned len,
			 int eventfd, const uint64_t *match, bool add);
};

extern const struct cpu_ops soft_cpu_ops, kvm_cpu_ops;

/* Set request bits and kick/wake.  Any thread. */
void vcpu_request(struct vcpu *v, uint32_t bits);
static inline void vcpu_clear(struct vcpu *v, uint32_t bits)
{
	atomic_fetch_and(&v->req, ~bits);
}

/* vm.c: thread life. */
bool vcpu_start_thread(struct vcpu *v, struct err *e);
/* vCPU thread: blocks while the VM is paused; false: leave the thread. */
bool vm_park_here(struct vm *vm);

/*
 * The choice of --engine: NULL name or "auto" measures (see engine.c).
 * @why gets one line for the user.  NULL + @e when the named one is unusable.
 */
const struct cpu_ops *engine_choose(const char *name, char *why, size_t why_len, struct err *e);

#endif
