/* SPDX-License-Identifier: MIT */
/* IN and OUT; the string forms are in string.c. */
#include "intops.h"

static const struct uop *in(struct soft *s, const struct uop *u, uint16_t port)
{
	uint64_t v;

	soft_check_io(s, u, port, u->osize);
	v = soft_bus_read(s, BUS_PIO, port, u->osize);
	soft_wr_gpr(s, R_RAX * 8, u->osize, v);
	return u + 1;
}

static const struct uop *out(struct soft *s, const struct uop *u, uint16_t port)
{
	soft_check_io(s, u, port, u->osize);
	soft_bus_write(s, BUS_PIO, port, u->osize, soft_rd_gpr(s, R_RAX * 8, u->osize));
	return u + 1;
}

HN(h_in_i)
{
	return in(s, u, u->imm8);
}

HN(h_in_d)
{
	return in(s, u, rd16(s, R_RDX * 8));
}

HN(h_out_i)
{
	return out(s, u, u->imm8);
}

HN(h_out_d)
{
	return out(s, u, rd16(s, R_RDX * 8));
}
