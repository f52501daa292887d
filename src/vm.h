/* SPDX-License-Identifier: MIT */
/*
 * One virtual machine: memory, buses, clock, loop, devices, vCPUs, and the
 * control calls that a user interface may make.
 *
 * Lock order: dev_lock > back-end locks > leaf locks.  No lock is held
 * across a call into a user interface.
 *
 * Threads: one per vCPU (guest code; takes dev_lock for device accesses),
 * one loop thread (fds, timers, completions; under dev_lock), the main
 * thread (window or headless control; takes dev_lock for short calls).
 */
#ifndef HV_VM_H
#define HV_VM_H

#include "cpu_options.h"
#include "apic.h"
#include "device.h"
#include <pthread.h>

struct loop;
struct cpu_ops;
struct vcpu;
struct display;
struct input;
struct audio;
struct x86_state;
struct media;

#define VM_MAX_CPUS 64

/* VM_SUSPENDED: the guest sleeps (ACPI S3); its memory is kept, the CPUs are off. */
enum vm_status { VM_CREATED, VM_RUNNING, VM_PAUSED, VM_STOPPED, VM_SUSPENDED };

/*
 * What devices_reset() stands for.  On the way into S3 all devices lose power
 * but those that keep memory, time and the wake-up logic; waking is a reset in
 * which the chipset keeps the firmware's shadow.
 */
enum vm_reset_kind { VM_RESET_COLD, VM_RESET_SLEEP, VM_RESET_WAKE };

/* Why the machine stopped or reset. */
enum vm_event {
	VM_EV_POWEROFF,		/* guest: ACPI S5 */
	VM_EV_RESET,		/* guest: any reset path */
	VM_EV_TRIPLE_FAULT,	/* reset by shutdown cycle */
	VM_EV_ENGINE_FAIL,	/* engine stopped; text in vm->fail */
	VM_EV_DEBUG_EXIT,	/* guest wrote the debug-exit port; arg = value */
	VM_EV_POWERDOWN_REQ,	/* host asked for ACPI shutdown */
	VM_EV_SUSPEND,		/* guest: ACPI S3 */
	VM_EV_WAKE,
};

/*
 * A port that answers in registers of the CPU that reads 32 bits from it:
 * gpr[] is EAX, EBX, ECX, EDX, ESI, EDI.  false: nobody there, all ones.
 * Under dev_lock; set before the machine starts.
 */
struct vm_regport {
	uint16_t port;
	bool (*in)(void *opaque, uint32_t gpr[6]);	/* NULL: no such port */
	void *opaque;
};

struct vm {
	pthread_mutex_t dev_lock;
	struct guest_mem *mem;		/* immutable after vm_new() */
	struct bus *bus;		/* likewise */
	struct vclock *clock;
	struct loop *loop;
	struct device *devices;		/* creation order; under dev_lock */
	struct vcpu *cpus[VM_MAX_CPUS];	/* immutable after start */
	unsigned ncpus;
	const struct cpu_ops *engine;
	void *engine_data;		/* per-VM data of the engine */
	struct cpu_options soft;	/* of the software CPU; before vm_set_engine() */
	struct msi_sink msi;		/* where messages go; immutable after start */
	struct extint extint;		/* the 8259 pair; set by the board */
	struct vm_regport regport;
	struct irq_line nmi;		/* board-raised NMI */
	struct display *display;	/* primary display, may be NULL */
	struct input *input;
	struct audio *audio;		/* NULL: nobody listens; set before devices are made */
	struct media *media;		/* drives, media.c; NULL: none */
	/* IOAPIC's EOI entry point; called by lapic.c or the KVM engine, under dev_lock. */
	void (*eoi)(void *opaque, uint8_t vector);
	void *eoi_opaque;
	/* Board hooks: put CPUs and memory into start state after a reset (direct boot). */
	void (*board_reset)(void *opaque);
	void *board_opaque;
	/* After a wake-up: what firmware will do, or already did.  Under dev_lock. */
	void (*board_wake)(void *opaque);
	/* ACPI buttons; set by the PM device. */
	void (*power_button)(void *opaque);
	void (*sleep_button)(void *opaque);
	void *power_button_opaque;
	enum vm_reset_kind reset_kind;	/* for reset() of the devices; under dev_lock */
	/* Upward notice on any thread, no locks held; may only record and signal. */
	void (*notify)(void *opaque, enum vm_event ev, unsigned arg);
	void *notify_opaque;
	bool reset_stops;		/* --on-reset exit: a guest reset stops the machine */
	char fail[512];			/* text of VM_EV_ENGINE_FAIL; under dev_lock */

	/* Private to vm.c, under ctl_lock */
	pthread_mutex_t ctl_lock;	/* leaf: nothing is taken while it is held */
	pthread_cond_t ctl_cond;
	pthread_t ctl_thread;
	enum vm_status status;
	unsigned park;			/* why vCPUs must park: PARK_* bits of vm.c */
	unsigned parked;		/* vCPU threads in the parking place */
	unsigned pending;		/* work for the control thread: CTL_* bits of vm.c */
	bool quit, started;
	bool asleep;			/* S3; before vm_start(): loaded that way */
	bool loaded;			/* snapshot_load(): vm_start() goes on from there */
};

/* Machine without devices.  @manual_clock for tests.  NULL + @e. */
struct vm *vm_new(bool manual_clock, struct err *e);
void vm_free(struct vm *vm);		/* stops first */

/* Engine and CPU count: creates vm->cpus; before devices are realized. */
bool vm_set_engine(struct vm *vm, const struct cpu_ops *ops, unsigned ncpus, struct err *e);

/* Reset everything and start the vCPU threads and the loop. */
bool vm_start(struct vm *vm, struct err *e);
void vm_stop(struct vm *vm);		/* join vCPUs; idempotent; not from vCPU or loop threads */
void vm_pause(struct vm *vm);		/* returns when every vCPU is parked */
void vm_resume(struct vm *vm);
enum vm_status vm_status(struct vm *vm);

/*
 * Requests from devices (any thread, dev_lock held or not): vCPUs stop at
 * the next block boundary, the control thread does the rest.
 */
void vm_request_reset(struct vm *vm);
void vm_request_poweroff(struct vm *vm);
void vm_triple_fault(struct vm *vm);
void vm_engine_failed(struct vm *vm, const char *text);
void vm_debug_exit(struct vm *vm, unsigned value);
void vm_request_suspend(struct vm *vm);		/* S3 */
void vm_request_wake(struct vm *vm);		/* nothing happens when it does not sleep */
/* ACPI buttons (host request); a sleeping guest wakes by either. */
void vm_power_button(struct vm *vm);
void vm_sleep_button(struct vm *vm);

/*
 * CPU wiring for the board, which does not see struct vcpu (src/cpu/wire.c).
 */
const char *vm_engine_name(const struct vm *vm);	/* "kvm", "soft" */
bool vm_has_lapic(const struct vm *vm);		/* local APICs are the engine's */
struct cpu_signal vm_cpu_signal(struct vm *vm, unsigned cpu);
void vm_set_apic(struct vm *vm, unsigned cpu, struct apic a);
/* A rise is an SMI to the first CPU; empty: the engine has no system management mode. */
struct irq_line vm_smi_line(struct vm *vm);
/* INTR of the 8259 pair, for engines with local APICs of their own. */
struct irq_line vm_extint_line(struct vm *vm);
/* Address line 20: true lets it pass.  Engines without the mask ignore it. */
struct irq_line vm_a20_line(struct vm *vm);
/* Guest TSC of the CPU whose cpu_signal.cpu is @cpu; NULL: the engine offers none. */
uint64_t (*vm_cpu_tsc(struct vm *vm, uint64_t *hz))(void *cpu);

static inline void vm_lock(struct vm *vm) { pthread_mutex_lock(&vm->dev_lock); }
static inline void vm_unlock(struct vm *vm) { pthread_mutex_unlock(&vm->dev_lock); }

#endif
