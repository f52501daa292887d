/* SPDX-License-Identifier: MIT */
/*
 * The paravirtual clock of KVM guests (Linux Documentation/virt/kvm/x86/msr.rst
 * and cpuid.rst): two MSRs that name a place in guest memory for the time.
 *
 * A guest that knows it need not measure the TSC against the PIT or the PM
 * timer, which goes wrong when the host gives its processors to others
 * meanwhile.  The TSC counts virtual nanoseconds and never changes its rate,
 * so the structures are written once, and again when the guest sets its TSC.
 */
#include "sys_int.h"
#include <time.h>

#define ENABLE 1u
#define TSC_STABLE 1u

static void put(struct soft *s, uint64_t at, const uint8_t *p, size_t n)
{
	soft_dev_lock(s);
	if (!gm_write(s->vcpu->vm->mem, GPA(at), p, n))
		log_limited(LOG_DEBUG, "guest's clock lies outside memory");
	soft_dev_unlock(s);
}

/* Nanoseconds = (TSC - stamp) * 2 * mul / 2^32 + time. */
void soft_pvclock_update(struct soft *s)
{
	uint64_t tsc = soft_rdtsc(s);
	uint8_t b[32] = { 2 };		/* even version: whole */

	if (!(s->pv_time & ENABLE))
		return;
	st_le64(b + 8, tsc);
	st_le64(b + 16, tsc - s->tsc_offset);
	st_le32(b + 24, 0x80000000u);
	b[28] = 1;
	b[29] = TSC_STABLE;
	put(s, s->pv_time & ~1ull, b, sizeof(b));
}

void soft_pvclock_set(struct soft *s, uint64_t val)
{
	s->pv_time = val;
	soft_pvclock_update(s);
}

/* Seconds and nanoseconds since 1970 at virtual time 0. */
void soft_pvclock_wall(struct soft *s, uint64_t at)
{
	uint64_t up = vclock_now(s->vcpu->vm->clock), ns;
	struct timespec now;
	uint8_t b[12] = { 2 };

	clock_gettime(CLOCK_REALTIME, &now);
	ns = (uint64_t)now.tv_sec * NS_PER_SEC + (uint64_t)now.tv_nsec - up;
	st_le32(b + 4, (uint32_t)(ns / NS_PER_SEC));
	st_le32(b + 8, (uint32_t)(ns % NS_PER_SEC));
	put(s, at & ~3ull, b, sizeof(b));
}
