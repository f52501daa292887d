/* SPDX-License-Identifier: MIT */
/* Field table of a processor, and checks of what was loaded (Intel SDM vol. 3 chapter 2). */
#include "snapshot_int.h"

#define S(f) STATE_U64(struct x86_state, f)

static const struct state_field seg_fields[] = {
	STATE_U64(struct x86_seg, base),
	STATE_U32(struct x86_seg, limit),
	STATE_U32(struct x86_seg, attr),
	STATE_U16(struct x86_seg, sel),
	STATE_END
};

static const struct state_field dtable_fields[] = {
	STATE_U64(struct x86_dtable, base),
	STATE_U16(struct x86_dtable, limit),
	STATE_END
};

static const struct state_field x86_fields[] = {
	STATE_U64S(struct x86_state, gpr), S(rip), S(rflags),
	STATE_STRUCTS(struct x86_state, seg, seg_fields),
	STATE_STRUCT(struct x86_state, ldt, seg_fields),
	STATE_STRUCT(struct x86_state, tr, seg_fields),
	STATE_STRUCT(struct x86_state, gdt, dtable_fields),
	STATE_STRUCT(struct x86_state, idt, dtable_fields),
	S(cr0), S(cr2), S(cr3), S(cr4), S(cr8), S(efer), S(xcr0),
	STATE_U64S(struct x86_state, dr),
	S(star), S(lstar), S(cstar), S(sfmask), S(kernel_gs_base),
	S(sysenter_cs), S(sysenter_esp), S(sysenter_eip),
	S(pat), S(apic_base), S(misc_enable), S(tsc), S(tsc_aux), S(tsc_adjust), S(tsc_deadline),
	S(mtrr_def), STATE_U64S(struct x86_state, mtrr_fix), STATE_U64S(struct x86_state, mtrr_var),
	STATE_U8S(struct x86_state, xsave),
	STATE_U32(struct x86_state, mp_state),
	STATE_U8(struct x86_state, nmi_blocked), STATE_U8(struct x86_state, nmi_pending),
	STATE_U8(struct x86_state, intr_shadow), STATE_U8(struct x86_state, exc_pending),
	STATE_U8(struct x86_state, exc_vector), STATE_U8(struct x86_state, exc_has_code),
	STATE_U32(struct x86_state, exc_code),
	STATE_ROW_(struct x86_state, pv_time, uint64_t, F_U64, 2),
	STATE_ROW_(struct x86_state, smbase, uint32_t, F_U32, 3),
	STATE_ROW_(struct x86_state, smm, uint8_t, F_U8, 3),
	STATE_ROW_(struct x86_state, smi_pending, uint8_t, F_U8, 3),
	STATE_ROW_(struct x86_state, init_pending, uint8_t, F_U8, 3),
	STATE_END
};

const struct state_field snap_cpu_fields[] = {
	STATE_STRUCT(struct snap_cpu, s, x86_fields),
	STATE_U32(struct snap_cpu, req),
	STATE_U32(struct snap_cpu, sipi_vector),
	STATE_END
};

#define CR0_PE 1ull
#define CR0_NW (1ull << 29)
#define CR0_CD (1ull << 30)
#define CR0_PG (1ull << 31)
#define CR4_PAE 0x20ull
#define EFER_LME 0x100ull
#define EFER_LMA 0x400ull
#define EFER_KNOWN 0x200d01ull
#define MXCSR_OFF 24
#define MXCSR_KNOWN 0xffffu
#define XSTATE_BV_OFF 512
#define REQ_EVENTS (VCPU_REQ_INTR | VCPU_REQ_NMI | VCPU_REQ_SMI | VCPU_REQ_INIT | VCPU_REQ_SIPI)

static bool modes_agree(const struct x86_state *s)
{
	bool paging = s->cr0 & CR0_PG, lma = s->efer & EFER_LMA;

	if (paging && !(s->cr0 & CR0_PE))
		return false;
	if (s->cr0 & CR0_NW && !(s->cr0 & CR0_CD))
		return false;
	if (lma != (paging && s->efer & EFER_LME))
		return false;
	return !lma || s->cr4 & CR4_PAE;
}

bool snap_cpu_valid(const struct snap_cpu *c, struct err *e)
{
	const struct x86_state *s = &c->s;

	if (!modes_agree(s) || s->cr0 >> 32 || s->cr8 > 15 || s->efer & ~EFER_KNOWN ||
	    !(s->rflags & 2) || s->rflags >> 22 || !(s->xcr0 & 1) || s->xcr0 & ~7ull ||
	    ld_le32(s->xsave + MXCSR_OFF) & ~MXCSR_KNOWN ||
	    ld_le64(s->xsave + XSTATE_BV_OFF) & ~7ull || ld_le64(s->xsave + XSTATE_BV_OFF + 8) ||
	    s->mp_state > MP_WAIT_SIPI || s->nmi_blocked > 1 || s->nmi_pending > 1 ||
	    s->intr_shadow > 1 || s->exc_pending > 1 || s->exc_has_code > 1 ||
	    s->exc_vector > 31 || s->smm > 1 || s->smi_pending > 1 || s->init_pending > 1 ||
	    c->req & ~REQ_EVENTS || c->sipi_vector > 255)
		return err_set(e, HV_EXIT_IMAGE, "saved state: impossible processor state");
	return true;
}
