/* SPDX-License-Identifier: MIT */
/*
 * The other system instructions: MSRs, time, identification, random numbers,
 * caches and translations, HLT; the I/O permission check (Intel SDM vol. 2,
 * vol. 1 ch. 19.5; CLZERO as in AMD APM vol. 3).
 */
#include "sys_int.h"
#include "intops.h"

const struct uop *op_rdmsr(struct soft *s, const struct uop *u)
{
	uint64_t v;

	if (!soft_rdmsr(s, (uint32_t)s->gpr[R_RCX], &v))
		soft_gp0(s, u);
	s->gpr[R_RAX] = (uint32_t)v;
	s->gpr[R_RDX] = v >> 32;
	return u + 1;
}

const struct uop *op_wrmsr(struct soft *s, const struct uop *u)
{
	uint64_t v = (uint32_t)s->gpr[R_RAX] | s->gpr[R_RDX] << 32;

	if (!soft_wrmsr(s, (uint32_t)s->gpr[R_RCX], v))
		soft_gp0(s, u);
	return uop_leave(s, u);
}

static void check_tsd(struct soft *s, const struct uop *u)
{
	if (s->cr4 & CR4_TSD && s->cpl)
		soft_gp0(s, u);
}

const struct uop *op_rdtsc(struct soft *s, const struct uop *u)
{
	uint64_t v;

	check_tsd(s, u);
	v = soft_rdtsc(s);
	s->gpr[R_RAX] = (uint32_t)v;
	s->gpr[R_RDX] = v >> 32;
	return u + 1;
}

const struct uop *op_rdtscp(struct soft *s, const struct uop *u)
{
	op_rdtsc(s, u);
	s->gpr[R_RCX] = (uint32_t)s->tsc_aux;
	return u + 1;
}

const struct uop *op_rdpmc(struct soft *s, const struct uop *u)
{
	soft_gp0(s, u);	/* no counters */
}

const struct uop *op_cpuid(struct soft *s, const struct uop *u)
{
	uint32_t r[4];

	soft_cpuid(s, (uint32_t)s->gpr[R_RAX], (uint32_t)s->gpr[R_RCX], r);
	s->gpr[R_RAX] = r[0];
	s->gpr[R_RBX] = r[1];
	s->gpr[R_RCX] = r[2];
	s->gpr[R_RDX] = r[3];
	return u + 1;
}

static const struct uop *hw_random(struct soft *s, const struct uop *u, bool seed)
{
	unsigned long long v = 0;
	bool ok = false;

	for (unsigned i = 0; i < 10 && !ok; i++) {
		if (seed)
			__asm__ volatile("rdseed %0; setc %1" : "=r"(v), "=qm"(ok) : : "cc");
		else
			__asm__ volatile("rdrand %0; setc %1" : "=r"(v), "=qm"(ok) : : "cc");
	}
	gpr_set(s, u->rm, u->osize, ok ? v : 0);
	soft_set_arith(s, ok ? FL_CF : 0);
	return u + 1;
}

const struct uop *op_rdrand(struct soft *s, const struct uop *u) { return hw_random(s, u, false); }
const struct uop *op_rdseed(struct soft *s, const struct uop *u) { return hw_random(s, u, true); }

const struct uop *op_invlpg(struct soft *s, const struct uop *u)
{
	uint64_t ea = uop_ea(s, u);

	if (!(s->mode & MODE_CS64) || u->seg >= SEG_FS)
		ea += s->seg[u->seg].base;
	soft_tlb_flush_page(s, lin_wrap(s, ea));
	return uop_leave(s, u);
}

/* SDM vol. 2 INVPCID: one address, one PCID, everything, everything but global. */
const struct uop *op_invpcid(struct soft *s, const struct uop *u)
{
	uint64_t type = gpr_get(s, u->reg, soft_native_size(s));
	uint8_t d[16];

	if (s->cpl)
		soft_gp0(s, u);
	soft_ld_buf(s, u, uop_lin(s, u, 16, false), d, 16);
	if (type > 3 || ld_le64(d) >> 12 ||
	    (type < 2 && ld_le64(d) && !(s->cr4 & CR4_PCIDE)) ||
	    (type == 0 && !canonical(ld_le64(d + 8))))
		soft_gp0(s, u);
	if (type == 0)
		soft_tlb_flush_pcid_page(s, (unsigned)ld_le64(d), ld_le64(d + 8));
	else if (type == 1)
		soft_tlb_flush_pcid(s, (unsigned)ld_le64(d));
	else
		soft_tlb_flush(s, type == 3);
	return uop_leave(s, u);
}

/* WBINVD, INVD: the cache is always coherent here. */
const struct uop *op_nothing(struct soft *s, const struct uop *u)
{
	return u + 1;
}

const struct uop *op_clflush(struct soft *s, const struct uop *u)
{
	soft_ld8(s, u, uop_lin(s, u, 1, false));	/* faults like a load */
	return u + 1;
}

/* The 64-byte line that contains the address in rAX (AMD APM vol. 3). */
const struct uop *op_clzero(struct soft *s, const struct uop *u)
{
	static const uint8_t zero[64];
	uint64_t ea = s->gpr[R_RAX];

	if (u->asize != 8)
		ea &= u->asize == 4 ? 0xffffffff : 0xffff;
	soft_st_buf(s, u, ea_lin(s, u, ea, 1, true) & ~63ull, zero, 64);
	return u + 1;
}

const struct uop *op_rdpid(struct soft *s, const struct uop *u)
{
	s->gpr[u->rm >> 3] = s->mode & MODE_CS64 ? s->tsc_aux : (uint32_t)s->tsc_aux;
	return u + 1;
}

const struct uop *op_fence(struct soft *s, const struct uop *u)
{
	atomic_thread_fence(memory_order_seq_cst);
	return u + 1;
}

const struct uop *op_hlt(struct soft *s, const struct uop *u)
{
	s->halted = true;
	return uop_leave(s, u);
}

void soft_check_io(struct soft *s, const struct uop *u, unsigned port, unsigned size)
{
	uint16_t map;
	uint32_t bits;

	soft_note_io_bp(s, port, size);
	if (!soft_pe(s) || (!soft_v86(s) && s->cpl <= soft_iopl(s)))
		return;
	if (!(s->tr.attr & 8) || s->tr.limit < 0x67)	/* needs a 32- or 64-bit TSS */
		soft_gp0(s, u);
	map = (uint16_t)soft_sys_ld(s, u, s->tr.base + 0x66, 2);
	if (map + port / 8 + 1u > s->tr.limit)
		soft_gp0(s, u);
	bits = (uint32_t)soft_sys_ld(s, u, s->tr.base + map + port / 8, 2);
	if (bits >> (port & 7) & ((1u << size) - 1))
		soft_gp0(s, u);
}
