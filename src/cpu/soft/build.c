/* SPDX-License-Identifier: MIT */
/*
 * From bytes to uops: decodes the instructions of one block, with guards in
 * front of those that need a look, fused pairs and a closing uop.
 */
#include "build.h"

/* In place of what cannot be decoded. */
static HN(h_undefined)
{
	soft_fault(s, u, EXC_UD);
}

static HN(h_too_long)
{
	soft_fault_code(s, u, EXC_GP, 0);
}

/* Privilege and FPU availability, in front of instructions that need a look. */
HN(soft_h_guard)
{
	uint32_t attr = soft_optable_info[u->row].attr;
	bool ts = s->cr0 & 8, em = s->cr0 & 4;

	if (attr & A_PRIV && s->cpl)
		soft_fault_code(s, u, EXC_GP, 0);
	if (attr & A_SSE && (em || !(s->cr4 & 0x200)))
		soft_fault(s, u, EXC_UD);
	if (attr & A_MMX && em)
		soft_fault(s, u, EXC_UD);
	if (attr & A_AVX && (!(s->cr4 & 0x40000) || (s->xcr0 & 6) != 6))
		soft_fault(s, u, EXC_UD);
	if ((attr & (A_SSE | A_MMX | A_FPU | A_AVX) && ts) || (attr & A_FPU && em))
		soft_fault(s, u, EXC_NM);
	NEXT(s, u);
}

/* Closing uops: go on behind the block, directly or through the run loop. */
HN(soft_h_continue)
{
	return soft_fall(s, u);
}

static void add_uop(struct builder *w, const struct uop *u)
{
	w->b->u[w->nuops++] = *u;
}

static void add_guard(struct builder *w, const struct uop *u)
{
	uint32_t attr = soft_optable_info[u->row].attr;
	struct uop g = *u;

	if (!(attr & A_PRIV) && !(attr & A_AVX && w->mode & MODE_AVX_OFF) &&
	    !(attr & (A_FPU | A_SSE | A_MMX) && w->mode & MODE_FPU_OFF))
		return;
	g.fn = soft_h_guard;
	g.len = 0;
	add_uop(w, &g);
}

/* Jcc behind CMP or TEST: one handler for both. */
static void try_fuse(struct builder *w, const struct uop *jcc)
{
	struct uop *prev = &w->b->u[w->nuops - 1];
	const struct optable_row *r = &soft_optable[jcc->row];
	uop_fn fn;

	if (!w->nuops || !((r->map == M1 && (r->opcode & 0xf0) == 0x70) ||
			   (r->map == M0F && (r->opcode & 0xf0) == 0x80)))
		return;
	fn = soft_fuse(prev, r->opcode & 15);
	if (fn)
		prev->fn = fn;
}

static bool is_branch(const struct optable_info *inf, const struct uop *u)
{
	const struct optable_row *r = &soft_optable[u->row];

	if (inf->n && inf->opd[0].kind == K_J)
		return true;
	return r->map == M1 && ((r->opcode & 0xfe) == 0xc2 ||
				(r->opcode == 0xff && (r->ext == X_(2) || r->ext == X_(4))));
}

static void add_insn(struct builder *w, struct uop *u, unsigned len)
{
	const struct optable_info *inf = &soft_optable_info[u->row];

	add_guard(w, u);
	if (inf->attr & A_END) {
		w->ended = true;
		w->branch = is_branch(inf, u);
		if (w->branch && !w->single)
			try_fuse(w, u);
	}
	soft_specialise(u);
	add_uop(w, u);
	w->ninsns++;
	w->bytes += len;
}

/* Its bytes count too: other bytes there make another block. */
static void add_bad(struct builder *w, int why, unsigned len)
{
	struct uop u = { .fn = why == -EXC_UD ? h_undefined : h_too_long,
			 .off = (uint16_t)w->bytes };

	add_uop(w, &u);
	w->ninsns++;
	w->bytes += len;
	w->ended = true;
}

void soft_build_finish(struct builder *w)
{
	struct block *b = w->b;
	struct uop u = { .fn = w->ended || w->single ? soft_h_cut : soft_h_continue,
			 .off = (uint16_t)w->bytes };

	if (!w->branch)
		add_uop(w, &u);
	if (!w->s->vfy)		/* which looks at flags where nobody else can */
		soft_drop_flags(b->u, w->nuops);
	b->nuops = (uint16_t)w->nuops;
	b->n = (uint16_t)w->ninsns;
	b->bytes = (uint16_t)w->bytes;
	memset(&b->u[w->nuops++], 0, sizeof(struct uop));
}

/* Decode from @w->host, @avail bytes to the page end.  0 bytes: the first instruction crosses. */
void soft_build_page(struct builder *w, unsigned avail)
{
	unsigned max = w->single || w->crossing ? 1 : BUILD_INSNS;

	while (!w->ended && w->ninsns < max) {
		struct uop u;
		int r = soft_decode(w->host + w->bytes, avail - w->bytes, w->mode, w->bytes, &u);

		if (r == 0)
			break;
		if (r < 0)
			add_bad(w, r, MIN(avail - w->bytes, 15u));
		else
			add_insn(w, &u, (unsigned)r);
	}
}
