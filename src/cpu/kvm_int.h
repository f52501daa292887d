/* SPDX-License-Identifier: MIT */
/*
 * The KVM engine, private interface between its files.  Nothing outside
 * src/cpu/kvm*.c includes this, and nothing else knows <linux/kvm.h>.
 */
#ifndef HV_KVM_INT_H
#define HV_KVM_INT_H

#include "vcpu.h"
#include "../mem_cpu.h"
#include <linux/kvm.h>
#include <sys/types.h>

#define KVM_IOAPIC_PINS 24

/* Below the local APIC page and above the PCI window: for Intel hosts in real mode. */
#define KVM_IDENTITY_MAP 0xfeffc000ull
#define KVM_TSS_ADDR 0xfeffd000ull

#define KVM_KICK_SIGNAL SIGRTMIN

/* What the kernel was told about one slot; address 0 length 0: nothing. */
struct kvm_slot {
	uint64_t gpa, len;
	uint8_t *host;
	uint32_t flags;
};

/* Message of a level-triggered IOAPIC pin. */
struct kvm_route {
	uint64_t addr;
	uint32_t data;
	bool used;
};

/* Per VM: vm->engine_data. */
struct kvm_vm {
	struct vm *vm;
	int dev_fd, vm_fd;			/* immutable after vm_init */
	size_t run_size;
	struct kvm_cpuid2 *cpuid;		/* KVM_GET_SUPPORTED_CPUID, unfiltered */
	struct kvm_slot slots[GM_MAX_SLOTS];	/* under dev_lock */
	struct kvm_route route[KVM_IOAPIC_PINS];	/* under dev_lock */
	_Atomic bool extint;			/* level of the 8259's INTR */
	_Atomic bool mem_failed;		/* mem_text says why; the next run() fails */
	char mem_text[200];
};

/* Per vCPU: vcpu->impl. */
struct kvm_cpu {
	struct vcpu *vcpu;
	struct kvm_vm *kv;
	int fd;
	struct kvm_run *run;
	_Atomic pid_t tid;		/* thread inside run(), for the kick */
	_Atomic bool in_run;		/* in KVM_RUN or on the way: signals help */
	bool io_pending;		/* vCPU thread: the kernel has yet to finish it */
	int held_vector;		/* acknowledged at the 8259, not yet KVM's; -1 none */
	struct x86_state initial;	/* as the kernel made it: what reset restores */
	struct kvm_lapic_state lapic;	/* likewise */
};

/* kvm_cpuid.c */
struct kvm_cpuid2 *kvm_supported_cpuid(int dev_fd, struct err *e);
bool kvm_set_cpuid(struct kvm_cpu *c, struct err *e);

/* kvm_state.c */
void kvm_get_state(struct vcpu *v, struct x86_state *s);
bool kvm_set_state(struct vcpu *v, const struct x86_state *s, struct err *e);
bool kvm_capture_initial(struct kvm_cpu *c, struct err *e);
void kvm_reset(struct vcpu *v);

/* kvm_mem.c */
void kvm_mem_attach(struct kvm_vm *kv);

/* kvm_fail.c: the text of an exit that ends the machine, into v->fail. */
void kvm_fail_text(struct kvm_cpu *c, const char *what);
void kvm_fail_internal(struct kvm_cpu *c);

/* kvm_host.c: opening /dev/kvm, with an error that says what to do. */
int kvm_open(struct err *e);
int kvm_create_vm(int dev_fd, struct err *e);

#endif
