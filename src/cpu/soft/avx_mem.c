/* SPDX-License-Identifier: MIT */
/*
 * VMASKMOV, VPMASKMOV and the gathers (Intel SDM vol. 2): only elements whose
 * mask bit is set are accessed and may fault.
 */
#include "avx.h"
#include "intops.h"

static bool selected(const uint8_t *mask, unsigned i, unsigned size)
{
	return mask[i * size + size - 1] & 0x80;
}

/* Element @i of a masked move; the address wraps as its size says. */
static uint64_t element_lin(struct soft *s, const struct uop *u, unsigned i, unsigned size,
			    bool write)
{
	uint64_t ea = uop_ea(s, u) + i * size;

	if (u->asize != 8)
		ea &= u->asize == 4 ? 0xffffffff : 0xffff;
	return ea_lin(s, u, ea, size, write);
}

static const struct uop *mask_load(struct soft *s, const struct uop *u, unsigned size)
{
	uint8_t mask[32], v[32] = { 0 };

	ymm_get(s, VEX_V(u), mask);
	for (unsigned i = 0; i < VEX_LEN(u) / size; i++)
		if (selected(mask, i, size)) {
			uint64_t e = soft_ld(s, u, element_lin(s, u, i, size, false), size);

			memcpy(v + i * size, &e, size);
		}
	ymm_set(s, u->reg, v);
	return u + 1;
}

/* All faults before the first store. */
static const struct uop *mask_store(struct soft *s, const struct uop *u, unsigned size)
{
	unsigned n = VEX_LEN(u) / size;
	uint8_t mask[32], v[32];

	ymm_get(s, VEX_V(u), mask);
	ymm_get(s, u->reg, v);
	for (unsigned i = 0; i < n; i++)
		if (selected(mask, i, size))
			soft_probe_write(s, u, element_lin(s, u, i, size, true), size);
	for (unsigned i = 0; i < n; i++)
		if (selected(mask, i, size)) {
			uint64_t e = 0;

			memcpy(&e, v + i * size, size);
			soft_st(s, u, element_lin(s, u, i, size, true), size, e);
		}
	return u + 1;
}

HN(h_vmaskmov_ld4) { return mask_load(s, u, 4); }
HN(h_vmaskmov_ld8) { return mask_load(s, u, 8); }
HN(h_vmaskmov_st4) { return mask_store(s, u, 4); }
HN(h_vmaskmov_st8) { return mask_store(s, u, 8); }

/* ---- gathers --------------------------------------------------------------------- */
static uint64_t gather_lin(struct soft *s, const struct uop *u, const uint8_t *index, unsigned i,
			   unsigned isize, unsigned size)
{
	uint64_t v = 0, ea;

	memcpy(&v, index + i * isize, isize);
	ea = s->gpr[u->base] + ((uint64_t)sext(v, isize) << u->scale) + (uint64_t)u->disp;
	if (u->asize != 8)
		ea &= 0xffffffff;
	return ea_lin(s, u, ea, size, false);
}

/*
 * One element after another: where one faults, those before it are done and
 * their mask bits clear, so that the instruction goes on there when restarted.
 */
static const struct uop *gather(struct soft *s, const struct uop *u, unsigned isize, unsigned size)
{
	unsigned v = VEX_V(u), n = VEX_LEN(u) / MAX(isize, size);
	uint8_t mask[32], index[32], dst[32];

	if (u->reg == u->rm || u->reg == v || u->rm == v)
		soft_fault(s, u, EXC_UD);
	ymm_get(s, v, mask);
	ymm_get(s, u->rm, index);
	ymm_get(s, u->reg, dst);
	for (unsigned i = 0; i < n; i++) {
		uint64_t e;

		if (selected(mask, i, size)) {
			e = soft_ld(s, u, gather_lin(s, u, index, i, isize, size), size);
			memcpy(dst + i * size, &e, size);
			ymm_set(s, u->reg, dst);
		}
		memset(mask + i * size, 0, size);
		ymm_set(s, v, mask);
	}
	memset(dst + n * size, 0, 32 - n * size);
	memset(mask, 0, sizeof(mask));
	ymm_set(s, u->reg, dst);
	ymm_set(s, v, mask);
	return u + 1;
}

HN(h_vgather_dd) { return gather(s, u, 4, 4); }
HN(h_vgather_dq) { return gather(s, u, 4, 8); }
HN(h_vgather_qd) { return gather(s, u, 8, 4); }
HN(h_vgather_qq) { return gather(s, u, 8, 8); }
