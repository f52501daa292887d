/* SPDX-License-Identifier: MIT */
/*
 * The software CPU as an engine (cpu/vcpu.h): creation, reset, INIT and
 * SIPI (Intel SDM vol. 3, 9.1 and 9.4), state exchange.
 */
#include "jit.h"
#include "verify.h"
#include <stdlib.h>

static bool soft_probe(struct err *e)
{
	return true;
}

static bool soft_vm_init(struct vm *vm, struct err *e)
{
	gm_code_enable(vm->mem);
	soft_optable_init();
	soft_spec_init();
	soft_avx_init();
	soft_mmu_vm_init(vm);
	return !vm->soft.verify || soft_verify_vm_init(vm);
}

static void soft_vm_free(struct vm *vm)
{
	if (vm->engine_data)
		soft_verify_vm_free(vm);
}

static void soft_vcpu_free(struct vcpu *v)
{
	struct soft *s = v->impl;

	if (!s)
		return;
	soft_jit_free(s);
	soft_verify_free(s);
	soft_blocks_free(s);
	soft_fpu_free(s);
	free(s);
	v->impl = NULL;
}

static bool soft_vcpu_init(struct vcpu *v, struct err *e)
{
	struct soft *s = aligned_alloc(4096, (sizeof(*s) + 4095) & ~4095ul);

	if (!s)
		return err_set(e, HV_EXIT_HOST, "not enough memory for vCPU %u", v->index);
	memset(s, 0, sizeof(*s));
	s->vcpu = v;
	s->req = &v->req;
	s->tlb = s->tlbs[TLB_KERN];
	soft_tlb_init(s);
	v->impl = s;
	if (!soft_blocks_init(s) || !soft_fpu_init(s)) {
		soft_vcpu_free(v);
		return err_set(e, HV_EXIT_HOST, "not enough memory for vCPU %u", v->index);
	}
	if (v->vm->soft.verify && !soft_verify_init(s)) {
		soft_vcpu_free(v);
		return err_set(e, HV_EXIT_HOST, "not enough memory for vCPU %u", v->index);
	}
	if (!soft_jit_init(s) && v->vm->soft.verify) {
		soft_vcpu_free(v);
		return err_set(e, HV_EXIT_HOST, "nothing to verify: no translator on this host");
	}
	soft_blocks_flush(s);
	v->ops->reset(v);
	return true;
}

/* What power-on and INIT have in common: SDM vol. 3 table 9-1. */
static void reset_common(struct soft *s, bool init_only)
{
	uint32_t id[4];

	memset(s->gpr, 0, sizeof(s->gpr));
	soft_cpuid(s, 1, 0, id);
	s->gpr[R_RDX] = id[0];
	s->rip = 0xfff0;
	s->eflags = 2;
	soft_set_arith(s, 0);
	s->halted = s->intr_shadow = s->nmi_blocked = s->triple_fault = false;
	s->nmi_latched = s->intr_latched = s->init_latched = false;
	s->delivering = 0;
	if (!init_only) {
		s->smm = s->smi_latched = false;
		s->smbase = 0x30000;
	}
	s->wait_sipi = s->vcpu->index != 0;
	soft_sys_reset(s, init_only);
	soft_fpu_reset(s, init_only);
	soft_tlb_flush(s, false);
	soft_update_mode(s);
}

static void soft_reset(struct vcpu *v)
{
	reset_common(v->impl, false);
	vcpu_clear(v, ~(uint32_t)VCPU_REQ_LEAVE);
}

void soft_init_signal(struct soft *s)
{
	const struct apic *a = &s->vcpu->apic;

	reset_common(s, true);
	if (!a->ops)
		return;
	soft_dev_lock(s);
	a->ops->init(a->opaque);
	soft_dev_unlock(s);
}

void soft_sipi(struct soft *s, uint8_t vector)
{
	if (!s->wait_sipi)
		return;
	s->wait_sipi = false;
	soft_set_seg_real(s, SEG_CS, (uint16_t)(vector << 8));
	s->rip = 0;
	soft_update_mode(s);
}

static void soft_kick(struct vcpu *v)
{
	/* The request word is polled. */
}

/* ---- state -------------------------------------------------------------------- */
/* Fields with the same name and type in struct soft and struct x86_state. */
#define SAME_FIELDS(X) \
	X(rip) X(seg) X(ldt) X(tr) X(gdt) X(idt) X(cr0) X(cr2) X(cr3) X(cr4) X(efer) X(xcr0) X(dr) \
	X(star) X(lstar) X(cstar) X(sfmask) X(kernel_gs_base) X(sysenter_cs) X(sysenter_esp) \
	X(sysenter_eip) X(pat) X(misc_enable) X(tsc_aux) X(tsc_adjust) X(tsc_deadline) X(pv_time) \
	X(mtrr_def) \
	X(mtrr_fix) X(mtrr_var) X(smbase)

static void soft_get_state(struct vcpu *v, struct x86_state *st)
{
	struct soft *s = v->impl;
	const struct apic *a = &v->apic;

	memset(st, 0, sizeof(*st));
#define GET(f) memcpy(&st->f, &s->f, sizeof(st->f));
	SAME_FIELDS(GET)
#undef GET
	memcpy(st->gpr, s->gpr, sizeof(st->gpr));
	st->rflags = soft_get_eflags(s);
	st->tsc = soft_rdtsc(s);
	if (a->ops) {
		st->cr8 = a->ops->get_tpr(a->opaque) >> 4;
		st->apic_base = a->ops->get_base(a->opaque);
	}
	soft_fpu_sync_out(s);
	memcpy(st->xsave, s->fx, sizeof(st->xsave));
	st->mp_state = s->wait_sipi ? MP_WAIT_SIPI : s->halted ? MP_HALTED : MP_RUNNABLE;
	st->nmi_blocked = s->nmi_blocked;
	st->nmi_pending = s->nmi_latched || atomic_load(&v->req) & VCPU_REQ_NMI;
	st->intr_shadow = s->intr_shadow;
	st->smm = s->smm;
	st->smi_pending = s->smi_latched || atomic_load(&v->req) & VCPU_REQ_SMI;
	st->init_pending = s->init_latched;
}

static bool soft_set_state(struct vcpu *v, const struct x86_state *st, struct err *e)
{
	struct soft *s = v->impl;
	const struct apic *a = &v->apic;

	if (st->xcr0 & ~soft_xcr0_mask())
		return err_set(e, HV_EXIT_HOST, "the saved machine uses vector registers (XCR0 "
			       "%#llx) that this host has not; load it on a newer host",
			       (unsigned long long)st->xcr0);
#define SET(f) memcpy(&s->f, &st->f, sizeof(st->f));
	SAME_FIELDS(SET)
#undef SET
	memcpy(s->gpr, st->gpr, sizeof(st->gpr));
	s->gpr[GPR_ZERO] = 0;
	s->eflags = ((uint32_t)st->rflags & ~FL_ARITH) | 2;
	soft_set_arith(s, (uint32_t)st->rflags);
	s->tsc_offset += st->tsc - soft_rdtsc(s);
	if (a->ops) {
		a->ops->set_base(a->opaque, st->apic_base);
		a->ops->set_tpr(a->opaque, (uint8_t)(st->cr8 << 4));
	}
	memcpy(s->fx, st->xsave, sizeof(st->xsave));
	soft_fpu_sync_in(s);
	s->wait_sipi = st->mp_state == MP_WAIT_SIPI;
	s->halted = st->mp_state == MP_HALTED;
	s->nmi_blocked = st->nmi_blocked;
	s->nmi_latched = st->nmi_pending;
	s->intr_shadow = st->intr_shadow;
	s->smm = st->smm;
	s->smi_latched = st->smi_pending;
	s->init_latched = st->init_pending;
	s->intr_latched = true;		/* ask the APIC */
	s->triple_fault = false;
	s->delivering = 0;
	soft_tlb_flush(s, false);
	soft_blocks_flush(s);
	soft_mmu_state_loaded(s);
	s->cpl = !(st->cr0 & 1) ? 0 : st->rflags & FL_VM ? 3 : st->seg[SEG_SS].attr >> 5 & 3;
	soft_update_mode(s);
	return true;
}

const struct cpu_ops soft_cpu_ops = {
	.name = "soft",
	.probe = soft_probe,
	.vm_init = soft_vm_init,
	.vm_free = soft_vm_free,
	.vcpu_init = soft_vcpu_init,
	.vcpu_free = soft_vcpu_free,
	.reset = soft_reset,
	.run = soft_run,
	.kick = soft_kick,
	.get_state = soft_get_state,
	.set_state = soft_set_state,
	.set_a20 = soft_set_a20,
	.has_smm = true,
};
