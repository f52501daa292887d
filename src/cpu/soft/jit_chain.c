/* SPDX-License-Identifier: MIT */
/*
 * The check of a load that leads to its own next address, as in a list.
 *
 * Such a loop waits for one load after the other, and with the TLB's check
 * (jit_mem.c) for the way to the entry between them as well.  Here the delta
 * comes from a table of its own, one instruction behind the address (BEXTR),
 * and the load goes on with it; the tag is looked at beside that.  This takes
 * six instructions more, so it is for hot places that a slot was no help for.
 */
#include "jit_trans.h"

#define TLB_BITS_AT (12u | TLB_BITS << 8)	/* BEXTR: start, length */

bool jit_chain_ok(const struct trans *t, unsigned gpr, unsigned size, bool write)
{
	const struct uop *u = &t->b->u[t->at];
	const struct jit_row *r = t->p->r;

	if ((!t->b->hot && !t->s->jit->check) || u->disp != (int16_t)u->disp)
		return false;
	return t->p->kind == JK_GENERIC && r->use & U_ER && r->use & U_GW && size == 8 && !write &&
	       !(u->flags & UOP_MOD3) && u->base == gpr && u->reg == gpr * 8 &&
	       soft_has_feat(F_BMI1);
}

/* [gpr + disp, ... + 8): T1 = delta, T0 is spoiled. */
struct hop jit_chain_check(struct trans *t, unsigned gpr, int32_t disp)
{
	struct hop flags = hop_mem(H_STATE, STATE(jit_flags));
	int base = jit_home[gpr], from = base;
	struct emit *e = &t->e;

	t->win.open = false;
	t->in_efl = false;
	if (disp) {
		em_lea(e, H_T0, hop_mem(base, disp));
		from = H_T0;
	}
	em_mov_imm64(e, H_T1, TLB_BITS_AT);
	em_vex(e, 2, 0, true, false, H_T1, 0xf7, H_T1, hop_reg(from));	/* bextr */
	em_load(e, H_T0, hop_mem(H_STATE, STATE(delta)));
	em_load(e, H_T1, hop_sib(H_T0, H_T1, 3, 0));
	em_lea(e, H_T0, hop_mem(base, disp));
	em_op(e, 0, 0xc1, 5, hop_reg(H_T0));
	em8(e, 12 - 5);
	em_alu_imm(e, 0, 4, hop_reg(H_T0), (TLB_SIZE - 1) << 5);
	em_op(e, EM_W, 0x03, H_T0, hop_mem(H_STATE, STATE(tlb)));
	em_store(e, flags, H_FLAGS);		/* a third register */
	em_lea(e, H_FLAGS, hop_mem(base, disp + 7));
	em_alu_imm(e, EM_W, 4, hop_reg(H_FLAGS), -4096);
	em_op(e, EM_W, 0x3b, H_FLAGS, hop_mem(H_T0, offsetof(struct soft_tlbe, tag_r)));
	em_load(e, H_FLAGS, flags);
	jit_slow_jump(t, 5);
	return hop_sib(base, H_T1, 0, disp);
}
