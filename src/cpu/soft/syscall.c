/* SPDX-License-Identifier: MIT */
/*
 * Calls of the system by instruction: INT n and its short forms,
 * SYSCALL/SYSRET and SYSENTER/SYSEXIT (Intel SDM vol. 2; SYSCALL from
 * compatibility mode as in AMD APM vol. 3).
 */
#include "sys_int.h"

const struct uop *op_int3(struct soft *s, const struct uop *u)
{
	soft_int(s, u, EXC_BP, INT_3);
	return NULL;
}

const struct uop *op_int(struct soft *s, const struct uop *u)
{
	soft_int(s, u, u->imm8, INT_N);
	return NULL;
}

const struct uop *op_into(struct soft *s, const struct uop *u)
{
	if (!(soft_arith(s) & FL_OF))
		return uop_leave(s, u);
	soft_int(s, u, EXC_OF, INT_3);
	return NULL;
}

const struct uop *op_int1(struct soft *s, const struct uop *u)
{
	soft_int(s, u, EXC_DB, INT_1);
	return NULL;
}

static void flat_code(struct x86_seg *cs, uint16_t sel, unsigned dpl, bool l)
{
	*cs = (struct x86_seg){ .limit = 0xffffffffu, .sel = sel,
				.attr = 0x9b | dpl << SA_DPL_SHIFT | SA_G | (l ? SA_L : SA_DB) };
}

static void flat_stack(struct x86_seg *ss, uint16_t sel, unsigned dpl)
{
	*ss = (struct x86_seg){ .limit = 0xffffffffu, .sel = sel,
				.attr = 0x93 | dpl << SA_DPL_SHIFT | SA_G | SA_DB };
}

const struct uop *op_syscall(struct soft *s, const struct uop *u)
{
	uint16_t sel = s->star >> 32 & 0xfffc;
	uint32_t fl = soft_get_eflags(s) & ~FL_RF;
	uint64_t next = UOP_NEXT_RIP(s, u);

	if (!(s->efer & EFER_SCE) || !soft_pe(s))
		soft_fault(s, u, EXC_UD);
	if (soft_lma(s)) {
		s->rip = s->mode & MODE_CS64 ? s->lstar : s->cstar;
		s->gpr[R_RCX] = s->mode & MODE_CS64 ? next : (uint32_t)next;
		s->gpr[R_R11] = fl;
		soft_set_eflags(s, (fl & ~(uint32_t)s->sfmask) | 2);
		flat_code(&s->seg[SEG_CS], sel, 0, true);
	} else {
		s->gpr[R_RCX] = (uint32_t)next;
		s->rip = (uint32_t)s->star;
		soft_set_eflags(s, fl & ~(FL_IF | FL_VM));
		flat_code(&s->seg[SEG_CS], sel, 0, false);
	}
	flat_stack(&s->seg[SEG_SS], (uint16_t)(sel + 8), 0);
	s->cpl = 0;
	s->no_step = !(s->eflags & FL_TF);	/* masked before the trap would be taken */
	soft_update_mode(s);
	return NULL;
}

const struct uop *op_sysret(struct soft *s, const struct uop *u)
{
	uint16_t sel = s->star >> 48 & 0xffff;
	bool to64 = soft_lma(s) && u->flags & UOP_REXW;

	if (!(s->efer & EFER_SCE) || !soft_pe(s))
		soft_fault(s, u, EXC_UD);
	if (to64 && !canonical(s->gpr[R_RCX]))
		soft_gp0(s, u);
	s->rip = to64 ? s->gpr[R_RCX] : (uint32_t)s->gpr[R_RCX];
	flat_code(&s->seg[SEG_CS], (uint16_t)((to64 ? sel + 16 : sel) | 3), 3, to64);
	flat_stack(&s->seg[SEG_SS], (uint16_t)((sel + 8) | 3), 3);
	if (soft_lma(s))
		soft_set_eflags(s, (s->gpr[R_R11] & 0x3c7fd7) | 2);
	else
		soft_set_eflags(s, soft_get_eflags(s) | FL_IF);
	s->cpl = 3;
	soft_update_mode(s);
	s->no_step = true;
	if (s->eflags & FL_TF)	/* the trap that SYSCALL's mask held back */
		soft_db_trap(s, DR6_BS);
	return NULL;
}

const struct uop *op_sysenter(struct soft *s, const struct uop *u)
{
	uint16_t sel = s->sysenter_cs & 0xfffc;
	bool lma = soft_lma(s);

	if (!soft_pe(s) || !sel)
		soft_gp0(s, u);
	soft_set_eflags(s, soft_get_eflags(s) & ~(FL_VM | FL_IF | FL_RF));
	flat_code(&s->seg[SEG_CS], sel, 0, lma);
	flat_stack(&s->seg[SEG_SS], (uint16_t)(sel + 8), 0);
	s->gpr[R_RSP] = lma ? s->sysenter_esp : (uint32_t)s->sysenter_esp;
	s->rip = lma ? s->sysenter_eip : (uint32_t)s->sysenter_eip;
	s->cpl = 0;
	soft_update_mode(s);
	return NULL;
}

const struct uop *op_sysexit(struct soft *s, const struct uop *u)
{
	uint16_t sel = s->sysenter_cs & 0xfffc;
	bool to64 = u->flags & UOP_REXW;

	if (!soft_pe(s) || !sel)
		soft_gp0(s, u);
	if (to64 && (!canonical(s->gpr[R_RCX]) || !canonical(s->gpr[R_RDX])))
		soft_gp0(s, u);
	sel = (uint16_t)(sel + (to64 ? 32 : 16));
	flat_code(&s->seg[SEG_CS], sel | 3, 3, to64);
	flat_stack(&s->seg[SEG_SS], (uint16_t)((sel + 8) | 3), 3);
	s->gpr[R_RSP] = to64 ? s->gpr[R_RCX] : (uint32_t)s->gpr[R_RCX];
	s->rip = to64 ? s->gpr[R_RDX] : (uint32_t)s->gpr[R_RDX];
	s->cpl = 3;
	soft_update_mode(s);
	return NULL;
}
