/* SPDX-License-Identifier: MIT */
/* A CPU engine that never runs, see stubcpu.h. */
#include "stubcpu.h"

struct x86_state stub_cpu_state;

static bool stub_vm_init(struct vm *vm, struct err *e) { return true; }
static void stub_vm_free(struct vm *vm) { }
static bool stub_vcpu_init(struct vcpu *v, struct err *e) { return true; }
static void stub_vcpu_free(struct vcpu *v) { }
static void stub_reset(struct vcpu *v) { }
static void stub_kick(struct vcpu *v) { }

static void stub_get(struct vcpu *v, struct x86_state *s)
{
	memset(s, 0, sizeof(*s));
}

static bool stub_set(struct vcpu *v, const struct x86_state *s, struct err *e)
{
	stub_cpu_state = *s;
	return true;
}

const struct cpu_ops stub_cpu_ops = {
	.name = "stub", .vm_init = stub_vm_init, .vm_free = stub_vm_free,
	.vcpu_init = stub_vcpu_init, .vcpu_free = stub_vcpu_free, .reset = stub_reset,
	.kick = stub_kick, .get_state = stub_get, .set_state = stub_set,
};
