/* SPDX-License-Identifier: MIT */
/*
 * The choice of the CPU engine.  "auto" takes KVM when it is there, allowed,
 * and faster than the software CPU on the same ring-0 loop; otherwise the
 * software CPU, and one line says why.
 */
#include "engine_int.h"
#include "vcpu.h"
#include "../mem.h"
#include <stdio.h>

/* No interpreter comes near this: then the software CPU need not be measured. */
#define SURELY_HARDWARE 1.5e9

#define SOFT_LOOP_COUNT 50000u
#define CODE_GPA 0x1000u

static void loop_state(struct x86_state *s)
{
	for (int i = 0; i < SEG_NUM; i++)
		s->seg[i] = (struct x86_seg){ .limit = 0xffffffff, .attr = 0xc093, .sel = 16 };
	s->seg[SEG_CS].sel = 8;
	s->seg[SEG_CS].attr = 0xc09b;
	s->cr0 |= 1;
	s->rip = CODE_GPA;
	s->gpr[R_RCX] = SOFT_LOOP_COUNT;
}

/* On a machine of one page, on this thread. */
static double soft_rate(struct vm *vm)
{
	struct vcpu *v;
	struct x86_state s;
	struct gm_block *b = gm_block_new(vm->mem, "scratch", GM_PAGE, NULL);
	uint64_t start, ns;

	if (!b || !gm_slot_add(vm->mem, GPA(CODE_GPA), GM_PAGE, b, 0, 0, NULL) ||
	    !gm_block_write(b, 0, engine_loop, sizeof(engine_loop)) ||
	    !vm_set_engine(vm, &soft_cpu_ops, 1, NULL))
		return 0;
	v = vm->cpus[0];
	v->ops->get_state(v, &s);
	loop_state(&s);
	if (!v->ops->set_state(v, &s, NULL))
		return 0;
	start = host_now_ns();
	if (v->ops->run(v) != EXIT_HLT)
		return 0;
	ns = MAX(host_now_ns() - start, 1u);
	return (double)SOFT_LOOP_COUNT * ENGINE_LOOP_INSNS * 1e9 / (double)ns;
}

static double soft_measure(void)
{
	struct vm *vm = vm_new(true, NULL);
	double rate = vm ? soft_rate(vm) : 0;

	vm_free(vm);
	return rate;
}

static const struct cpu_ops *choose_auto(char *why, size_t why_len)
{
	struct err e = { 0 };
	double kvm = 0, soft;

	if (!kvm_measure(&kvm, &e)) {
		snprintf(why, why_len, "software CPU: %s", e.msg);
		return &soft_cpu_ops;
	}
	if (kvm >= SURELY_HARDWARE) {
		snprintf(why, why_len, "KVM (%.0f million instructions/s measured)", kvm / 1e6);
		return &kvm_cpu_ops;
	}
	soft = soft_measure();
	if (kvm > soft) {
		snprintf(why, why_len,
			 "KVM (measured %.0f million instructions/s, software CPU %.0f)",
			 kvm / 1e6, soft / 1e6);
		return &kvm_cpu_ops;
	}
	snprintf(why, why_len,
		 "software CPU: KVM on this host is interpreted, measured %.1f million "
		 "instructions/s against %.0f", kvm / 1e6, soft / 1e6);
	return &soft_cpu_ops;
}

const struct cpu_ops *engine_choose(const char *name, char *why, size_t why_len, struct err *e)
{
	if (!name || !strcmp(name, "auto"))
		return choose_auto(why, why_len);
	if (!strcmp(name, "soft")) {
		snprintf(why, why_len, "software CPU, as asked");
		return &soft_cpu_ops;
	}
	if (strcmp(name, "kvm")) {
		err_set(e, HV_EXIT_USAGE, "no engine \"%s\"; take auto, kvm or soft", name);
		return NULL;
	}
	if (!kvm_cpu_ops.probe(e))
		return NULL;
	snprintf(why, why_len, "KVM, as asked");
	return &kvm_cpu_ops;
}
