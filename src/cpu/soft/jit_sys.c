/* SPDX-License-Identifier: MIT */
/*
 * Translated system code: the privilege check, short system instructions
 * natively, and the way through those that end a block.
 *
 * SYSCALL, IRET, MOV CR3, WRMSR, STI and their like stay with their handlers.
 * Behind the handler the translated code of where it went is entered at once,
 * unless the run loop has something to do.  After STI, MOV SS and POP SS that
 * entry does not look at the request word, so that no interrupt comes before
 * the next instruction has been executed.
 */
#include "jit_trans.h"
#include "sys_int.h"

/* ---- behind a handler -------------------------------------------------------------- */
static const void *next_code(struct soft *s)
{
	struct jit_target *e;
	struct block *b;

	if (atomic_load_explicit(s->req, memory_order_relaxed) || s->intr_latched ||
	    s->nmi_latched || s->halted || s->wait_sipi || s->triple_fault ||
	    (s->mode & (MODE_CS64 | MODE_TF | MODE_CODE_BP)) != MODE_CS64)
		return NULL;
	e = soft_jit_slot(s, s->rip);
	if (unlikely(e->tag != s->rip + s->jit_key)) {
		s->gpr[GPR_RIP] = s->rip;
		b = soft_jc_find(s);
		if (!b || !b->jit_entry || b->transient)
			return NULL;
		soft_jit_learn(s, s->rip, b);
	}
	return e->code;
}

/* The handler that ends a block; where to go on, NULL: in the run loop. */
static const void *run_tail(struct soft *s, const struct jit_callout *c)
{
	const uint8_t *code;

	s->cur = c->b;
	s->gpr[GPR_RIP] = s->jit_page + (c->b->off & 4095);
	s->jit_cut = false;
	soft_jit_flags_out(s);
	if (c->u.fn(s, &c->u)) {
		s->rip = UOP_NEXT_RIP(s, &c->u);
		if (!(s->mode & MODE_CS64))
			s->rip = (uint32_t)s->rip;
	}
	code = next_code(s);
	if (!code)
		return NULL;
	if (s->intr_shadow) {
		s->intr_shadow = s->ss_shadow = false;
		code += s->jit->past_poll;
	}
	s->eflags &= ~FL_RF;
	s->jit_page = s->rip & ~4095ull;
	soft_jit_flags_in(s);
	return code;
}

/* Jumped to with T1 = struct jit_callout; registers are in the state. */
void jit_make_tail(struct emit *e, const uint8_t *bare)
{
	uint8_t *stay;

	em_load(e, 4, hop_mem(H_STATE, STATE(jit_sp)));
	em_lea(e, 7, hop_mem(H_STATE, -STATE_BIAS));
	em_mov_rr(e, 6, H_T1);
	em_mov_imm64(e, 0, (uintptr_t)run_tail);
	em_op(e, 0, 0xff, 2, hop_reg(0));
	em_mov_rr(e, H_T1, 0);
	em_op(e, EM_W, 0x85, 0, hop_reg(0));
	stay = em_jcc(e, 5);
	em_mov_imm64(e, H_T0, JX_LEAVE);
	em_fix(em_jmp(e), bare);
	em_fix(stay, e->p);
	jit_emit_reload_gprs(e);
	em_op(e, 0, 0xff, 4, hop_reg(H_T1));
}

void jit_emit_tail(struct trans *t, const struct uop *u)
{
	jit_save_flags(t);
	em_mov_imm64(&t->e, H_T1, (uintptr_t)jit_make_callout(t, u));
	em_fix(em_jmp(&t->e), t->s->jit->tail);
}

/* ---- natively ----------------------------------------------------------------------- */
static void only_kernel(struct trans *t)
{
	jit_save_flags(t);
	em_op(&t->e, 0, 0x80, 7, hop_mem(H_STATE, STATE(cpl)));
	em8(&t->e, 0);
	jit_slow_jump(t, 5);
	t->in_efl = false;
}

/* In front of a privileged instruction: with less privilege the interpreter faults. */
void jit_emit_guard(struct trans *t)
{
	only_kernel(t);
	t->cur->side = true;
}

static void gen_swapgs(struct trans *t)
{
	struct hop gs = hop_mem(H_STATE, STATE(seg) + SEG_GS * (int32_t)sizeof(struct x86_seg) +
					 (int32_t)offsetof(struct x86_seg, base));
	struct hop other = hop_mem(H_STATE, STATE(kernel_gs_base));

	em_load(&t->e, H_T0, gs);
	em_load(&t->e, H_T1, other);
	em_store(&t->e, other, H_T0);
	em_store(&t->e, gs, H_T1);
}

/* STAC, CLAC: at CPL 0 with SMAP in force they choose the table. */
static void gen_ac(struct trans *t, bool set)
{
	int32_t table = (set ? TLB_KERN_AC : TLB_KERN) * (int32_t)sizeof(t->s->tlbs[0]);
	struct emit *e = &t->e;

	only_kernel(t);
	em_op(e, 0, 0xf7, 0, hop_mem(H_STATE, STATE(cr4)));
	em32(e, (uint32_t)CR4_SMAP);
	jit_slow_jump(t, 4);
	em_alu_imm(e, 0, set ? 1 : 4, hop_mem(H_STATE, STATE(eflags)),
		   set ? (int32_t)FL_AC : ~(int32_t)FL_AC);
	em_lea(e, H_T0, hop_mem(H_STATE, STATE(tlbs) + table));
	em_store(e, hop_mem(H_STATE, STATE(tlb)), H_T0);
	em_op(e, 0, 0xc6, 0, hop_mem(H_STATE, STATE(slots_ok)));
	em8(e, !set);
}

static void gen_direction(struct trans *t, bool set)
{
	jit_save_flags(t);
	em_alu_imm(&t->e, 0, set ? 1 : 4, hop_mem(H_STATE, STATE(eflags)),
		   set ? (int32_t)FL_DF : ~(int32_t)FL_DF);
	t->in_efl = false;
}

void jit_emit_sys(struct trans *t, const struct uop *u)
{
	uop_fn fn = t->p->r->fn;

	if (fn == op_swapgs) {
		gen_swapgs(t);
	} else if (fn == op_stac || fn == op_clac) {
		gen_ac(t, fn == op_stac);
	} else if (fn == h_cld || fn == h_std) {
		gen_direction(t, fn == h_std);
	} else {	/* fences: themselves */
		em8(&t->e, 0x0f);
		em8(&t->e, 0xae);
		em8(&t->e, 0xc0 | (unsigned)(soft_optable[u->row].ext & 7) << 3);
	}
}
