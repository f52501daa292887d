/* SPDX-License-Identifier: MIT */
/*
 * What the board needs of the CPUs without knowing them: signals from local
 * APICs, the 8259's INTR for engines with APICs of their own,
 * address line 20, the TSC.
 */
#include "vcpu.h"

const char *vm_engine_name(const struct vm *vm)
{
	return vm->engine->name;
}

bool vm_has_lapic(const struct vm *vm)
{
	return vm->engine->has_lapic;
}

static void signal_raise(void *cpu, enum cpu_event ev, unsigned arg)
{
	struct vcpu *v = cpu;

	if (ev == CPU_EV_SIPI)
		atomic_store(&v->sipi_vector, arg);
	vcpu_request(v, ev);
}

static void signal_lower(void *cpu, enum cpu_event ev)
{
	vcpu_clear(cpu, ev);
}

struct cpu_signal vm_cpu_signal(struct vm *vm, unsigned cpu)
{
	HV_BUG_ON(cpu >= vm->ncpus);
	return (struct cpu_signal){ signal_raise, signal_lower, vm->cpus[cpu] };
}

void vm_set_apic(struct vm *vm, unsigned cpu, struct apic a)
{
	HV_BUG_ON(cpu >= vm->ncpus);
	vm->cpus[cpu]->apic = a;
}

static void extint_set(void *sink, unsigned pin, bool level)
{
	struct vm *vm = sink;

	vm->engine->extint(vm, level);
}

struct irq_line vm_extint_line(struct vm *vm)
{
	if (!vm->engine->extint)
		return (struct irq_line){ 0 };
	return (struct irq_line){ extint_set, vm, 0 };
}

static void smi_set(void *sink, unsigned pin, bool level)
{
	struct vm *vm = sink;

	if (level)
		vcpu_request(vm->cpus[0], VCPU_REQ_SMI);
}

struct irq_line vm_smi_line(struct vm *vm)
{
	if (!vm->engine->has_smm)
		return (struct irq_line){ 0 };
	return (struct irq_line){ smi_set, vm, 0 };
}

static void a20_set(void *sink, unsigned pin, bool level)
{
	struct vm *vm = sink;

	vm->engine->set_a20(vm, level);
}

struct irq_line vm_a20_line(struct vm *vm)
{
	if (!vm->engine->set_a20)
		return (struct irq_line){ 0 };
	return (struct irq_line){ a20_set, vm, 0 };
}

static uint64_t read_tsc(void *cpu)
{
	struct vcpu *v = cpu;

	return v->ops->read_tsc(v);
}

uint64_t (*vm_cpu_tsc(struct vm *vm, uint64_t *hz))(void *cpu)
{
	if (!vm->engine->read_tsc || !vm->engine->tsc_hz)
		return NULL;
	*hz = vm->engine->tsc_hz();
	return read_tsc;
}
