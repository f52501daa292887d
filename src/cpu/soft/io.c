/* SPDX-License-Identifier: MIT */
/* IN and OUT; the string forms are in string.c. */
#include "intops.h"

/* A port that answers in registers (vm.h). */
static void in_registers(struct soft *s, const struct vm_regport *rp)
{
	static const uint8_t reg[6] = { R_RAX, R_RBX, R_RCX, R_RDX, R_RSI, R_RDI };
	uint32_t r[6];
	bool answered;

	for (unsigned i = 0; i < 6; i++)
		r[i] = (uint32_t)soft_rd_gpr(s, reg[i] * 8, 4);
	soft_dev_lock(s);
	answered = rp->in(rp->opaque, r);
	soft_dev_unlock(s);
	if (!answered)
		soft_wr_gpr(s, R_RAX * 8, 4, UINT32_MAX);
	for (unsigned i = 0; answered && i < 6; i++)
		soft_wr_gpr(s, reg[i] * 8, 4, r[i]);
}

static const struct uop *in(struct soft *s, const struct uop *u, uint16_t port)
{
	const struct vm_regport *rp = &s->vcpu->vm->regport;
	uint64_t v;

	soft_check_io(s, u, port, u->osize);
	if (rp->in && port == rp->port && u->osize == 4) {
		in_registers(s, rp);
		return u + 1;
	}
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
