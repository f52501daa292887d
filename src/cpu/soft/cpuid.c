/* SPDX-License-Identifier: MIT */
/*
 * CPUID of the software CPU: up to x86-64-v3, and only what is implemented here and
 * present on the host (AMD APM vol. 3 appendix E, Intel SDM vol. 2 CPUID).
 *
 * The model is "AuthenticAMD" family 1Ah: SYSCALL from compatibility mode
 * works, null selectors clear the base (leaf 80000021), and guests apply no
 * workaround for speculation faults that an interpreter does not have.
 */
#include "sys_int.h"
#include <cpuid.h>

#define FAMILY_MODEL 0x00b00f21u	/* family 1Ah, model 2, stepping 1 */

/* One row a feature: where the guest sees it, and where the host must have it (0: needs nothing).
 */
struct feature {
	uint32_t leaf;
	uint8_t sub, reg, bit;	/* reg: 0 EAX .. 3 EDX */
	uint8_t feat;		/* enum op_feat, F_BASE: no instruction depends on it */
	uint8_t host;		/* executed natively: the host must have it */
};

#define NATIVE 1
#define NATIVE_YMM 2	/* and its kernel must keep YMM registers */

enum { EAX, EBX, ECX, EDX };

static const struct feature features[] = {
	/* leaf 1 EDX */
	{ 1, 0, EDX, 0, F_FPU, true },
	{ 1, 0, EDX, 1, F_BASE, false }, /* fpu vme */
	{ 1, 0, EDX, 2, F_BASE, false },
	{ 1, 0, EDX, 3, F_BASE, false }, /* de pse */
	{ 1, 0, EDX, 4, F_BASE, false },
	{ 1, 0, EDX, 5, F_BASE, false }, /* tsc msr */
	{ 1, 0, EDX, 6, F_BASE, false },
	{ 1, 0, EDX, 7, F_BASE, false }, /* pae mce */
	{ 1, 0, EDX, 8, F_BASE, false },
	{ 1, 0, EDX, 9, F_BASE, false }, /* cx8 apic */
	{ 1, 0, EDX, 11, F_BASE, false },
	{ 1, 0, EDX, 12, F_BASE, false }, /* sep mtrr */
	{ 1, 0, EDX, 13, F_BASE, false },
	{ 1, 0, EDX, 14, F_BASE, false }, /* pge mca */
	{ 1, 0, EDX, 15, F_BASE, false },
	{ 1, 0, EDX, 16, F_BASE, false }, /* cmov pat */
	{ 1, 0, EDX, 17, F_BASE, false },
	{ 1, 0, EDX, 19, F_CLFSH, false }, /* pse36 clfsh */
	{ 1, 0, EDX, 23, F_MMX, true },
	{ 1, 0, EDX, 24, F_FPU, true }, /* mmx fxsr */
	{ 1, 0, EDX, 25, F_SSE, true },
	{ 1, 0, EDX, 26, F_SSE2, true },
	/* leaf 1 ECX */
	{ 1, 0, ECX, 0, F_SSE3, true },
	{ 1, 0, ECX, 1, F_PCLMUL, true },
	{ 1, 0, ECX, 9, F_SSSE3, true },
	{ 1, 0, ECX, 12, F_FMA, NATIVE_YMM },
	{ 1, 0, ECX, 13, F_CX16, true },
	{ 1, 0, ECX, 17, F_BASE, false },
	{ 1, 0, ECX, 19, F_SSE41, true }, /* pcid */
	{ 1, 0, ECX, 20, F_SSE42, true },
	{ 1, 0, ECX, 21, F_BASE, false }, /* x2apic */
	{ 1, 0, ECX, 22, F_MOVBE, true },
	{ 1, 0, ECX, 23, F_POPCNT, true },
	{ 1, 0, ECX, 24, F_BASE, false }, /* tsc-deadline */
	{ 1, 0, ECX, 25, F_AES, true },
	{ 1, 0, ECX, 26, F_XSAVE, false },
	{ 1, 0, ECX, 28, F_AVX, NATIVE_YMM },
	{ 1, 0, ECX, 29, F_F16C, NATIVE_YMM },
	{ 1, 0, ECX, 30, F_RDRAND, true },
	/* leaf 7 */
	{ 7, 0, EBX, 0, F_FSGSBASE, false },
	{ 7, 0, EBX, 1, F_BASE, false }, /* tsc_adjust */
	{ 7, 0, EBX, 3, F_BMI1, true },
	{ 7, 0, EBX, 5, F_AVX2, NATIVE_YMM },
	{ 7, 0, EBX, 7, F_BASE, false }, /* smep */
	{ 7, 0, EBX, 8, F_BMI2, true },
	{ 7, 0, EBX, 9, F_BASE, false },
	{ 7, 0, EBX, 10, F_INVPCID, false }, /* erms */
	{ 7, 0, EBX, 18, F_RDSEED, true },
	{ 7, 0, EBX, 19, F_ADX, true },
	{ 7, 0, EBX, 20, F_SMAP, false },
	{ 7, 0, EBX, 23, F_CLFLUSHOPT, false },
	{ 7, 0, EBX, 24, F_CLWB, false },
	{ 7, 0, EBX, 29, F_SHA, true },
	{ 7, 0, ECX, 9, F_VAES, NATIVE_YMM },
	{ 7, 0, ECX, 10, F_VPCLMUL, NATIVE_YMM },
	{ 7, 0, ECX, 22, F_RDPID, false },
	{ 7, 0, EDX, 4, F_BASE, false }, /* fsrm */
	/* leaf D.1 */
	{ 0xd, 1, EAX, 0, F_XSAVEOPT, false },
	{ 0xd, 1, EAX, 1, F_XSAVEC, false },
	{ 0xd, 1, EAX, 2, F_XGETBV1, false },
	/* leaf 80000001 */
	{ 0x80000001, 0, ECX, 0, F_LAHF64, false },
	{ 0x80000001, 0, ECX, 5, F_LZCNT, true },
	{ 0x80000001, 0, ECX, 8, F_PREFETCHW, false },
	{ 0x80000001, 0, EDX, 11, F_SYSCALL, false },
	{ 0x80000001, 0, EDX, 20, F_BASE, false }, /* nx */
	{ 0x80000001, 0, EDX, 26, F_BASE, false },
	{ 0x80000001, 0, EDX, 27, F_RDTSCP, false },
	{ 0x80000001, 0, EDX, 29, F_BASE, false }, /* lm */
	{ 0x80000008, 0, EBX, 0, F_CLZERO, false },
};

/* The host's kernel has enabled and saves YMM registers (SDM vol. 1, 14.3). */
static bool host_ymm(void)
{
	uint32_t r[4] = { 0 }, lo, hi;

	if (!__get_cpuid(1, &r[0], &r[1], &r[2], &r[3]) || !(r[2] >> 27 & 1))
		return false;
	__asm__ volatile("xgetbv" : "=a"(lo), "=d"(hi) : "c"(0));
	return (lo & 6) == 6;
}

static bool ask_host(const struct feature *f)
{
	uint32_t r[4] = { 0 };

	if (!f->host)
		return true;
	if (f->host == NATIVE_YMM && !host_ymm())
		return false;
	if (!__get_cpuid_count(f->leaf, f->sub, &r[0], &r[1], &r[2], &r[3]))
		return false;
	return r[f->reg] >> f->bit & 1;
}

static bool host_bits[ARRAY_SIZE(features)];

static void ask_host_once(void)
{
	for (unsigned i = 0; i < ARRAY_SIZE(features); i++)
		host_bits[i] = ask_host(&features[i]);
}

/* CPUID is a trap where the host itself is virtual: tens of microseconds. */
static bool host_has(const struct feature *f)
{
	static pthread_once_t once = PTHREAD_ONCE_INIT;

	pthread_once(&once, ask_host_once);
	return host_bits[f - features];
}

bool soft_has_feat(enum op_feat feat)
{
	if (feat == F_BASE)
		return true;
	for (unsigned i = 0; i < ARRAY_SIZE(features); i++)
		if (features[i].feat == feat)
			return host_has(&features[i]);
	return false;
}

/* Bits of register @reg of a leaf from the table. */
static uint32_t feature_bits(uint32_t leaf, unsigned sub, unsigned reg)
{
	uint32_t v = 0;

	for (unsigned i = 0; i < ARRAY_SIZE(features); i++) {
		const struct feature *f = &features[i];

		if (f->leaf == leaf && f->sub == sub && f->reg == reg && host_has(f))
			v |= 1u << f->bit;
	}
	return v;
}

static void text(uint32_t out[4], const char *s, unsigned a, unsigned b, unsigned c)
{
	out[a] = ld_le32(s);
	out[b] = ld_le32(s + 4);
	out[c] = ld_le32(s + 8);
}

/* Bits that hold an APIC ID. */
static unsigned id_bits(const struct soft *s)
{
	unsigned n = 0;

	while (1u << n < s->vcpu->vm->ncpus)
		n++;
	return n;
}

static void leaf1(struct soft *s, uint32_t out[4])
{
	unsigned n = s->vcpu->vm->ncpus;

	out[EAX] = FAMILY_MODEL;
	out[EBX] = s->vcpu->index << 24 | MIN(n, 255u) << 16 | 8u << 8;	/* CLFLUSH: 64 bytes */
	out[ECX] = feature_bits(1, 0, ECX) | 1u << 31;	/* hypervisor present */
	out[EDX] = feature_bits(1, 0, EDX);
	if (s->cr4 & CR4_OSXSAVE)
		out[ECX] |= 1u << 27;
	if (n > 1)
		out[EDX] |= 1u << 28;
	if (s->vcpu->apic.ops && !(s->vcpu->apic.ops->get_base(s->vcpu->apic.opaque) & 0x800))
		out[EDX] &= ~(1u << 9);
}

/* Extended topology: one thread a core, one package. */
static void leaf_b(struct soft *s, uint32_t sub, uint32_t out[4])
{
	out[ECX] = sub & 0xff;
	out[EDX] = s->vcpu->index;
	if (sub == 0) {
		out[EBX] = 1;
		out[ECX] |= 1 << 8;	/* SMT level */
	} else if (sub == 1) {
		out[EAX] = id_bits(s);
		out[EBX] = s->vcpu->vm->ncpus;
		out[ECX] |= 2 << 8;	/* core level */
	}
}

static void leaf_d(struct soft *s, uint32_t sub, uint32_t out[4])
{
	if (!soft_has_feat(F_XSAVE))
		return;
	if (sub == 0) {
		out[EAX] = (uint32_t)soft_xcr0_mask();
		out[EBX] = s->xcr0 & 4 ? 832 : 576;
		out[ECX] = out[EAX] & 4 ? 832 : 576;
	} else if (sub == 1) {
		out[EAX] = feature_bits(0xd, 1, EAX);
		out[EBX] = s->xcr0 & 4 ? 832 : 576;
	} else if (sub == 2 && soft_xcr0_mask() & 4) {
		out[EAX] = 256;
		out[EBX] = 576;
	}
}

static void basic(struct soft *s, uint32_t leaf, uint32_t sub, uint32_t out[4])
{
	switch (leaf) {
	case 0:
		out[EAX] = 0xd;
		text(out, "AuthenticAMD", EBX, EDX, ECX);
		break;
	case 1:
		leaf1(s, out);
		break;
	case 7:
		for (unsigned r = EBX; sub == 0 && r <= EDX; r++)
			out[r] = feature_bits(7, 0, r);
		break;
	case 0xb:
		leaf_b(s, sub, out);
		break;
	case 0xd:
		leaf_d(s, sub, out);
		break;
	default:
		break;
	}
}

static bool is_v3(void)
{
	static const uint8_t need[] = {
		F_AVX, F_AVX2, F_BMI1, F_BMI2, F_FMA, F_F16C, F_LZCNT, F_MOVBE, F_XSAVE,
	};

	for (size_t i = 0; i < ARRAY_SIZE(need); i++)
		if (!soft_has_feat(need[i]))
			return false;
	return true;
}

static void extended(struct soft *s, uint32_t leaf, uint32_t out[4])
{
	static const char brand[2][48] = {
		"hvrun software x86-64 processor (v2)",
		"hvrun software x86-64 processor (v3)",
	};

	switch (leaf) {
	case 0x80000000:
		out[EAX] = 0x80000021;
		text(out, "AuthenticAMD", EBX, EDX, ECX);
		break;
	case 0x80000001:
		out[EAX] = FAMILY_MODEL;
		out[ECX] = feature_bits(leaf, 0, ECX) |
			   (s->vcpu->vm->ncpus > 1 ? 2 : 0); /* CmpLegacy */
		/* the low bits repeat leaf 1, without SEP, MCA's neighbours and SSE */
		out[EDX] = feature_bits(leaf, 0, EDX) | (feature_bits(1, 0, EDX) & 0x0183f3ffu);
		break;
	case 0x80000002: case 0x80000003: case 0x80000004:
		memcpy(out, brand[is_v3()] + (leaf - 0x80000002) * 16, 16);
		break;
	case 0x80000005:	/* L1: 32 KiB, 8 ways, 64-byte lines; 64-entry TLBs */
		out[EAX] = out[EBX] = 0xff40ff40;
		out[ECX] = out[EDX] = 0x20080140;
		break;
	case 0x80000006:	/* L2: 512 KiB, 8 ways; L3: 16 MiB */
		out[ECX] = 0x02006140;
		out[EDX] = 0x00808140;
		break;
	case 0x80000007:
		out[EDX] = 1u << 8;	/* invariant TSC */
		break;
	case 0x80000008:
		out[EAX] = PHYS_BITS | 48 << 8;
		out[EBX] = feature_bits(leaf, 0, EBX);
		out[ECX] = id_bits(s) << 12 | (s->vcpu->vm->ncpus - 1);
		break;
	case 0x80000021:
		/* LFENCE serialises, null selector clears base, automatic IBRS */
		out[EAX] = 1u << 2 | 1u << 6 | 1u << 8;
		break;
	default:
		break;
	}
}

static void hypervisor(uint32_t leaf, uint32_t out[4])
{
	if (leaf == 0x40000000) {
		out[EAX] = 0x40000010;
		text(out, "hvrunhvrun\0\0", EBX, ECX, EDX);
	} else if (leaf == 0x40000010) {	/* timing: kHz of TSC and APIC bus */
		out[EAX] = (uint32_t)(soft_tsc_hz() / 1000);
		out[EBX] = 1000000;
	} else if (leaf == 0x40000100) {	/* a second set, where KVM guests also look */
		out[EAX] = 0x40000101;
		text(out, "KVMKVMKVM\0\0\0", EBX, ECX, EDX);
	} else if (leaf == 0x40000101) {	/* no I/O delays needed; clock, its TSC is stable */
		out[EAX] = 1u << 1 | 1u << 3 | 1u << 24;
	}
}

void soft_cpuid(struct soft *s, uint32_t leaf, uint32_t sub, uint32_t out[4])
{
	memset(out, 0, 4 * sizeof(out[0]));
	if (leaf >= 0x80000000)
		extended(s, leaf, out);
	else if (leaf >= 0x40000000 && leaf < 0x40000200)
		hypervisor(leaf, out);
	else
		basic(s, leaf, sub, out);
}
