/* SPDX-License-Identifier: MIT */
/*
 * Model-specific registers (Intel SDM vol. 4; AMD APM vol. 2 appendix A).
 *
 * Plain storage is a row; the rest has a function.  Unknown registers raise
 * #GP, except ranges that guests probe unchecked, which read 0.
 */
#include "sys_int.h"

#define MSR_TSC 0x10
#define MSR_APIC_BASE 0x1b
#define MSR_TSC_ADJUST 0x3b
#define MSR_EFER 0xc0000080
#define MSR_PV_WALL 0x4b564d00
#define MSR_PV_TIME 0x4b564d01
#define MSR_FS_BASE 0xc0000100
#define MSR_GS_BASE 0xc0000101

enum msr_check { CHK_NONE, CHK_CANON, CHK_U32, CHK_PAT, CHK_MTRR_DEF, CHK_MTRR_FIX, CHK_MTRR_VAR };

struct msr_row {
	uint32_t msr;
	uint16_t n;		/* consecutive registers in an array */
	uint16_t off;		/* uint64_t in struct soft */
	uint8_t check;
};

#define M(m, f, c) { m, 1, offsetof(struct soft, f), c }
static const struct msr_row rows[] = {
	M(0x174, sysenter_cs, CHK_NONE), M(0x175, sysenter_esp, CHK_CANON),
	M(0x176, sysenter_eip, CHK_CANON), M(0x1a0, misc_enable, CHK_NONE),
	M(0x277, pat, CHK_PAT), M(0x2ff, mtrr_def, CHK_MTRR_DEF),
	{ 0x200, 16, offsetof(struct soft, mtrr_var), CHK_MTRR_VAR },
	{ 0x250, 1, offsetof(struct soft, mtrr_fix[0]), CHK_MTRR_FIX },
	{ 0x258, 2, offsetof(struct soft, mtrr_fix[1]), CHK_MTRR_FIX },
	{ 0x268, 8, offsetof(struct soft, mtrr_fix[3]), CHK_MTRR_FIX },
	M(0xc0000081, star, CHK_NONE), M(0xc0000082, lstar, CHK_CANON),
	M(0xc0000083, cstar, CHK_CANON), M(0xc0000084, sfmask, CHK_U32),
	M(0xc0000102, kernel_gs_base, CHK_CANON), M(0xc0000103, tsc_aux, CHK_U32),
	M(MSR_FS_BASE, seg[SEG_FS].base, CHK_CANON), M(MSR_GS_BASE, seg[SEG_GS].base, CHK_CANON),
};

/* Registers that exist and read as a constant; writes are ignored. */
static const struct { uint32_t first, last; uint64_t val; } fixed[] = {
	{ 0x17, 0x17, 0 },			/* platform id */
	{ 0x8b, 0x8b, 0x0b002116 },		/* microcode revision */
	{ 0xfe, 0xfe, 0x508 },			/* MTRRcap: 8 variable, fixed, write-combining */
	{ 0x179, 0x179, 0 }, { 0x17a, 0x17b, 0 },	/* MCG_CAP: no banks */
	{ 0x1d9, 0x1d9, 0 },			/* debugctl */
	{ 0xc0010010, 0xc0010010, 0 },		/* SYSCFG */
	{ 0xc0010015, 0xc0010015, 1u << 24 },	/* HWCR: TSC at the P0 frequency */
	{ 0xc0011029, 0xc0011029, 2 },		/* DE_CFG: LFENCE serialises */
	{ 0xc0010000, 0xc0011fff, 0 },		/* the rest of AMD's implementation registers */
};

uint64_t soft_tsc_hz(void)
{
	return NS_PER_SEC;
}

/* The virtual clock itself: in step with every timer, stopped while paused, equal on all CPUs. */
uint64_t soft_rdtsc(const struct soft *s)
{
	return vclock_now(s->vcpu->vm->clock) + s->tsc_offset;
}

static const struct msr_row *find_row(uint32_t msr)
{
	for (unsigned i = 0; i < ARRAY_SIZE(rows); i++)
		if (msr - rows[i].msr < rows[i].n)
			return &rows[i];
	return NULL;
}

static uint64_t *row_field(struct soft *s, const struct msr_row *r, uint32_t msr)
{
	return (uint64_t *)((char *)s + r->off) + (msr - r->msr);
}

static bool pat_ok(uint64_t v)
{
	for (unsigned i = 0; i < 8; i++) {
		unsigned t = v >> 8 * i & 0xff;

		if (t > 7 || t == 2 || t == 3)
			return false;
	}
	return true;
}

static bool is_apic_msr(uint32_t msr)
{
	return msr == 0x6e0 || (msr >= 0x800 && msr < 0x900);
}

static bool apic_access(struct soft *s, uint32_t msr, bool write, uint64_t *val)
{
	const struct apic *a = &s->vcpu->apic;
	bool ok;

	if (!a->ops)
		return false;
	soft_dev_lock(s);
	if (msr == MSR_APIC_BASE && write)
		ok = a->ops->set_base(a->opaque, *val);
	else if (msr == MSR_APIC_BASE)
		*val = a->ops->get_base(a->opaque), ok = true;
	else if (write)
		ok = a->ops->wrmsr(a->opaque, msr, *val);
	else
		ok = a->ops->rdmsr(a->opaque, msr, val);
	soft_dev_unlock(s);
	if (ok && write && msr == MSR_APIC_BASE)
		soft_tlb_flush(s, false);	/* the page may have moved */
	return ok;
}

static bool read_fixed(uint32_t msr, uint64_t *val)
{
	for (unsigned i = 0; i < ARRAY_SIZE(fixed); i++)
		if (msr >= fixed[i].first && msr <= fixed[i].last) {
			*val = fixed[i].val;
			return true;
		}
	return false;
}

bool soft_rdmsr(struct soft *s, uint32_t msr, uint64_t *val)
{
	const struct msr_row *r = find_row(msr);

	if (r) {
		*val = *row_field(s, r, msr);
		return true;
	}
	if (is_apic_msr(msr) || msr == MSR_APIC_BASE)
		return apic_access(s, msr, false, val);
	switch (msr) {
	case MSR_TSC:
		*val = soft_rdtsc(s);
		return true;
	case MSR_TSC_ADJUST:
		*val = s->tsc_adjust;
		return true;
	case MSR_EFER:
		*val = s->efer;
		return true;
	case MSR_PV_TIME:
		*val = s->pv_time;
		return true;
	default:
		if (read_fixed(msr, val))
			return true;
		log_limited(LOG_DEBUG, "guest reads unknown MSR %#x", msr);
		return false;
	}
}

static bool mtrr_type(unsigned t)
{
	return t < 7 && t != 2 && t != 3;
}

/* Reserved bits and types: SDM vol. 3, 12.11.2. */
static bool mtrr_ok(const struct msr_row *r, uint32_t msr, uint64_t v)
{
	if (r->check == CHK_MTRR_DEF)
		return !(v & ~0xcffull) && mtrr_type(v & 0xff);
	if (r->check == CHK_MTRR_VAR)
		return !(v & ~PHYS_MASK) &&
		       (msr & 1 ? !(v & 0x7ff) : !(v & 0xf00) && mtrr_type(v & 0xff));
	for (unsigned i = 0; i < 8; i++)
		if (!mtrr_type(v >> 8 * i & 0xff))
			return false;
	return true;
}

static bool row_ok(const struct msr_row *r, uint32_t msr, uint64_t v)
{
	switch (r->check) {
	case CHK_CANON:
		return canonical(v);
	case CHK_U32:
		return !(v >> 32);
	case CHK_PAT:
		return pat_ok(v);
	case CHK_NONE:
		return true;
	default:
		return mtrr_ok(r, msr, v);
	}
}

bool soft_wrmsr(struct soft *s, uint32_t msr, uint64_t val)
{
	const struct msr_row *r = find_row(msr);
	uint64_t old;

	if (r) {
		if (!row_ok(r, msr, val))
			return false;
		*row_field(s, r, msr) = val;
		return true;
	}
	if (is_apic_msr(msr) || msr == MSR_APIC_BASE)
		return apic_access(s, msr, true, &val);
	switch (msr) {
	case MSR_TSC:
		old = soft_rdtsc(s);
		s->tsc_offset += val - old;
		s->tsc_adjust += val - old;
		soft_pvclock_update(s);
		return true;
	case MSR_TSC_ADJUST:
		s->tsc_offset += val - s->tsc_adjust;
		s->tsc_adjust = val;
		soft_pvclock_update(s);
		return true;
	case MSR_PV_TIME:
		soft_pvclock_set(s, val);
		return true;
	case MSR_PV_WALL:
		soft_pvclock_wall(s, val);
		return true;
	case MSR_EFER:
		return soft_set_efer(s, val);
	default:
		if (read_fixed(msr, &old))
			return true;
		log_limited(LOG_DEBUG, "guest writes unknown MSR %#x", msr);
		return false;
	}
}
