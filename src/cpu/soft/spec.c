/* SPDX-License-Identifier: MIT */
/* From a row's general handler to the variant for a uop's size and form. */
#include "intops.h"
#include <pthread.h>

static const struct uop_spec *spec_of[2048];	/* by row; written once */

static const struct uop_spec *const *const families[] = {
	soft_spec_alu, soft_spec_cmp, soft_spec_mov, soft_spec_ctrl, soft_spec_shift,
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
