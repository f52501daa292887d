/* SPDX-License-Identifier: MIT */
/*
 * Lockstep, undefined flags: which flags an instruction, a block or a unit
 * leaves undefined (Intel SDM vol. 2) and which it reads, so that only
 * defined ones are compared and no unit depends on the others.
 */
#include "verify_int.h"

static bool may_keep_flags(const struct uop *u)
{
	const struct optable_row *r = &soft_optable[u->row];

	if (strstr(r->operands, "CL"))
		return true;
	return strstr(r->operands, "Ib") && (strchr("rs", r->mnem[0])) &&
	       !(u->imm8 & (u->osize == 8 ? 63 : 31));
}

static void step_undef(const struct uop *u, uint32_t *undef)
{
	const struct optable_row *r = &soft_optable[u->row];

	if (!u->len)
		return;
	if (!may_keep_flags(u))
		*undef &= ~r->fout;
	*undef |= r->fundef;
}

/* Not those that a shift or rotate reads only to keep them when its count is 0. */
static uint32_t flags_used(const struct uop *u)
{
	static const uint16_t cond[8] = {
		FL_OF, FL_CF, FL_ZF, FL_CF | FL_ZF, FL_SF, FL_PF, FL_SF | FL_OF,
		FL_SF | FL_OF | FL_ZF,
	};
	const struct optable_row *r = &soft_optable[u->row];

	if (r->fin && (r->mnem[0] == 'j' || !strncmp(r->mnem, "set", 3) ||
		       !strncmp(r->mnem, "cmov", 4)))
		return cond[r->opcode >> 1 & 7];
	if (!strncmp(r->mnem, "rc", 2) && r->mnem[3] == '\0')
		return FL_CF;
	return r->fout && r->fin & ~FL_CF && strchr("rs", r->mnem[0]) ? 0 : r->fin;
}

/* SDM vol. 2, SHLD and SHRD: counts above the operand size leave the result undefined. */
static bool undefined_result(const struct uop *u)
{
	const struct optable_row *r = &soft_optable[u->row];

	return u->osize == 2 && (!strcmp(r->mnem, "shld") || !strcmp(r->mnem, "shrd")) &&
	       (strstr(r->operands, "CL") || (u->imm8 & 31) > 16);
}

bool soft_verify_stops(const struct uop *u, bool callout, uint32_t *undef)
{
	const struct optable_row *r = &soft_optable[u->row];
	bool once = r->attr & A_NOTEST && (callout || !strncmp(r->mnem, "rd", 2)) &&
		    u->fn != h_cld && u->fn != h_std;

	if (!u->len)
		return false;
	if (once || undefined_result(u) || flags_used(u) & *undef)
		return true;
	step_undef(u, undef);
	return false;
}

/* What the block does to flags: read as they were before; surely replaced; left undefined. */
void soft_verify_translated(struct block *b)
{
	uint32_t read = 0, kill = 0, undef = 0;

	for (unsigned i = 0; i < b->nuops && &b->u[i] != b->jit->stop; i++) {
		const struct uop *u = &b->u[i];
		const struct optable_row *r = &soft_optable[u->row];

		if (!u->len)
			continue;
		read |= flags_used(u) & ~kill;
		if (!may_keep_flags(u))
			kill |= r->fout | r->fundef;
		step_undef(u, &undef);
	}
	b->jit->fl_read = (uint16_t)read;
	b->jit->fl_kill = (uint16_t)kill;
	b->jit->fl_undef = (uint16_t)undef;
}

uint32_t verify_undefined_flags(const struct soft_verify *v)
{
	const struct soft *end = (const void *)v->after.regs;
	uint32_t undef = 0, any = 0;

	for (unsigned i = 0; i < v->n; i++) {
		const struct block *b = v->blk[i];
		bool last = i + 1 == v->n;

		for (unsigned k = 0; k < b->nuops; k++) {
			if (last && (&b->u[k] == b->jit->stop ||
				     (v->ref == VFY_FAULT && v->rip[i] + b->u[k].off == end->rip)))
				return undef;
			step_undef(&b->u[k], &undef);
			if (last && v->ref == VFY_EFFECT)	/* where is not known */
				any |= undef;
		}
	}
	return undef | any;
}
