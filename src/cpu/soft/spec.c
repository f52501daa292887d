/* SPDX-License-Identifier: MIT */
/* From a row's general handler to the variant for a uop's size and form. */
#include "intops.h"
#include <pthread.h>

static const struct uop_spec *spec_of[2048];	/* by row; written once */

static const struct uop_spec *const *const families[] = {
	soft_spec_alu, soft_spec_cmp, soft_spec_mov, soft_spec_ctrl, soft_spec_shift,
	soft_spec_muldiv,
};

static const struct uop_spec *find_spec(uop_fn fn)
{
	for (size_t f = 0; f < ARRAY_SIZE(families); f++)
		for (const struct uop_spec *const *p = families[f]; *p; p++)
			if ((*p)->generic == fn)
				return *p;
	return NULL;
}

static void init_once(void)
{
	HV_BUG_ON(soft_optable_rows > ARRAY_SIZE(spec_of));
	for (unsigned i = 0; i < soft_optable_rows; i++)
		spec_of[i] = find_spec(soft_optable[i].fn);
}

void soft_spec_init(void)
{
	static pthread_once_t once = PTHREAD_ONCE_INIT;

	pthread_once(&once, init_once);
}

static bool quick(const struct uop *u)
{
	return u->asize == 8 && u->flags & UOP_FLATSEG && !(u->flags & UOP_LOCK);
}

void soft_specialise(struct uop *u)
{
	const struct uop_spec *sp = spec_of[u->row];
	unsigned lg = lg_size(u->osize);
	uop_fn fn;

	if (!sp)
		return;
	fn = u->flags & UOP_MOD3 ? sp->r[lg] : u->flags & UOP_LOCK ? sp->l[lg] :
	     quick(u) && sp->f[lg] ? sp->f[lg] : sp->m[lg];
	if (sp->cc_r && u->flags & UOP_MOD3)
		fn = sp->cc_r[lg][u->imm8 & 15];
	else if (sp->cc_f && quick(u))
		fn = sp->cc_f[lg][u->imm8 & 15];
	if (fn)
		u->fn = fn;
}

uop_fn soft_fuse(const struct uop *u, unsigned cc)
{
	const struct uop_spec *sp = spec_of[u->row];
	const uop_fn (*t)[16];

	if (!sp)
		return NULL;
	t = u->flags & UOP_MOD3 ? sp->fuse_r : quick(u) ? sp->fuse_f : sp->fuse_m;
	return t ? t[lg_size(u->osize)][cc] : NULL;
}

/* Cannot fault and cannot leave the block: its flags may go unseen. */
static bool pure(const struct uop *u, const struct uop_spec *sp)
{
	if (!sp || sp->faults)
		return false;
	if (!(u->flags & UOP_MOD3))
		return sp->generic == h_lea;
	return u->fn == sp->r[lg_size(u->osize)] || sp->fuse_r || sp->cc_r;
}

/* Flags read and surely written: an immediate shift count is known not to be zero. */
static void flag_use(const struct uop *u, uint32_t *in, uint32_t *out)
{
	const struct optable_row *r = &soft_optable[u->row];

	*in = r->fin;
	*out = r->fout;
	if (!r->fin || !r->fout || r->map != M1 || (r->opcode & 0xec) != 0xc0)
		return;
	/* C0, C1, D0, D1, D2, D3: shifts and rotates. */
	if ((r->opcode & 0xee) == 0xc0 && r->ext != X_(2) && r->ext != X_(3) &&
	    u->imm8 & (u->osize == 8 ? 63 : 31))
		*in = 0;
	else
		*out = 0;
}

void soft_drop_flags(struct uop *u, unsigned n)
{
	uint32_t dead = 0;	/* flags that are written again before anybody can look */

	while (n--) {
		const struct optable_row *r = &soft_optable[u[n].row];
		const struct uop_spec *sp = spec_of[u[n].row];
		uint32_t all = r->fout | r->fundef, in, out;

		if (r->attr & A_END || !pure(&u[n], sp)) {
			dead = 0;
			continue;
		}
		if (all && !(all & ~dead) && sp->n[lg_size(u[n].osize)])
			u[n].fn = sp->n[lg_size(u[n].osize)];
		flag_use(&u[n], &in, &out);
		dead = (dead | out) & ~in;
	}
}
