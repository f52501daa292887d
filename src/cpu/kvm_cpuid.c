/* SPDX-License-Identifier: MIT */
/*
 * CPUID of a KVM guest: what the kernel supports on this host, less what
 * this machine does not offer (nested virtualization, SGX, processor trace),
 * plus the topology: one package, one thread a core, APIC ID = vCPU index.
 * Leaves: Intel SDM vol. 2 "CPUID", AMD APM vol. 3 appendix E.
 */
#include "kvm_int.h"
#include <errno.h>
#include <stdlib.h>
#include <sys/ioctl.h>

#define MAX_ENTRIES 256

static struct kvm_cpuid2 *cpuid_alloc(unsigned n)
{
	struct kvm_cpuid2 *c = hv_zalloc(sizeof(*c) + n * sizeof(c->entries[0]));

	c->nent = n;
	return c;
}

struct kvm_cpuid2 *kvm_supported_cpuid(int dev_fd, struct err *e)
{
	struct kvm_cpuid2 *c = cpuid_alloc(MAX_ENTRIES);

	if (!ioctl(dev_fd, KVM_GET_SUPPORTED_CPUID, c))
		return c;
	err_errno(e, HV_EXIT_NO_KVM, errno, "KVM does not tell its CPUID");
	free(c);
	return NULL;
}

static unsigned id_bits(unsigned n)
{
	unsigned bits = 0;

	while (1u << bits < n)
		bits++;
	return bits;
}

static struct kvm_cpuid_entry2 *find(struct kvm_cpuid2 *c, uint32_t fn)
{
	for (unsigned i = 0; i < c->nent; i++)
		if (c->entries[i].function == fn)
			return &c->entries[i];
	return NULL;
}

/* Features that the kernel could pass on and this machine does not offer. */
static const struct cpuid_clear {
	uint32_t fn, index;
	uint32_t ebx, ecx, edx;
} cleared[] = {
	{ 1, 0, 0, 1u << 5 | 1u << 6 | 1u << 27, 0 },	/* VMX, SMX; OSXSAVE follows CR4 */
	{ 7, 0, 1u << 2 | 1u << 25, 1u << 30, 0 },	/* SGX, processor trace; SGX_LC */
	{ 0x80000001, 0, 0, 1u << 2, 0 },		/* SVM */
	{ 0x12, 0, ~0u, ~0u, ~0u },
	{ 0x14, 0, ~0u, ~0u, ~0u },
	{ 0x8000000a, 0, ~0u, ~0u, ~0u },
	{ 0x8000001f, 0, ~0u, ~0u, ~0u },		/* memory encryption */
};

static void clear_features(struct kvm_cpuid_entry2 *en)
{
	for (unsigned i = 0; i < ARRAY_SIZE(cleared); i++) {
		const struct cpuid_clear *m = &cleared[i];

		if (m->fn != en->function || m->index != en->index)
			continue;
		en->ebx &= ~m->ebx;
		en->ecx &= ~m->ecx;
		en->edx &= ~m->edx;
	}
	if (en->function == 0x8000000a || en->function == 0x8000001f)
		en->eax = 0;
}

static void fix_leaf1(struct kvm_cpuid_entry2 *en, const struct kvm_cpu *c, unsigned ncpus)
{
	en->ebx = (en->ebx & 0xffff) | MIN(1u << id_bits(ncpus), 255u) << 16 |
		  c->vcpu->index << 24;
	en->ecx |= 1u << 31 | 1u << 21;		/* hypervisor present, x2APIC */
	if (ioctl(c->kv->dev_fd, KVM_CHECK_EXTENSION, KVM_CAP_TSC_DEADLINE_TIMER) > 0)
		en->ecx |= 1u << 24;
	en->edx &= ~(1u << 28);
	en->edx |= ncpus > 1 ? 1u << 28 : 0;	/* HTT: EBX[23:16] is valid */
}

/* Caches: level 1 and 2 belong to a core, level 3 to the package. */
static void fix_cache_sharing(struct kvm_cpuid_entry2 *en, unsigned ncpus)
{
	unsigned level = en->eax >> 5 & 7;

	if (!(en->eax & 31))
		return;
	en->eax &= 0x3fff;
	if (level >= 3)
		en->eax |= ((1u << id_bits(ncpus)) - 1) << 14;
	if (en->function == 4)
		en->eax |= ((1u << id_bits(ncpus)) - 1) << 26;
}

static void fix_amd(struct kvm_cpuid_entry2 *en, const struct kvm_cpu *c, unsigned ncpus)
{
	if (en->function == 0x80000008) {
		en->ecx = id_bits(ncpus) << 12 | (ncpus - 1);
	} else if (en->function == 0x8000001e) {
		en->eax = c->vcpu->index;
		en->ebx = c->vcpu->index;	/* core ID; one thread a core */
		en->ecx = 0;			/* node 0, one node */
		en->edx = 0;
	}
}

/* Leaves 0xB and 0x1F: threads (one), cores, end. */
static void put_topology(struct kvm_cpuid2 *cp, uint32_t fn, const struct kvm_cpu *c,
			 unsigned ncpus)
{
	for (uint32_t i = 0; i < 3; i++) {
		struct kvm_cpuid_entry2 *en = &cp->entries[cp->nent++];

		*en = (struct kvm_cpuid_entry2){
			.function = fn, .index = i, .flags = KVM_CPUID_FLAG_SIGNIFCANT_INDEX,
			.eax = i == 1 ? id_bits(ncpus) : 0,
			.ebx = i == 0 ? 1 : i == 1 ? ncpus : 0,
			.ecx = i | (i < 2 ? (i + 1) << 8 : 0),
			.edx = c->vcpu->index,
		};
	}
}

static bool is_topology(uint32_t fn)
{
	return fn == 0xb || fn == 0x1f;
}

bool kvm_set_cpuid(struct kvm_cpu *c, struct err *e)
{
	const struct kvm_cpuid2 *from = c->kv->cpuid;
	struct kvm_cpuid2 *to = cpuid_alloc(from->nent + 8);
	unsigned ncpus = c->vcpu->vm->ncpus;
	struct kvm_cpuid_entry2 *zero;
	bool ok;

	to->nent = 0;
	for (unsigned i = 0; i < from->nent; i++) {
		struct kvm_cpuid_entry2 *en;

		if (is_topology(from->entries[i].function))
			continue;
		en = &to->entries[to->nent++];
		*en = from->entries[i];
		clear_features(en);
		if (en->function == 1)
			fix_leaf1(en, c, ncpus);
		else if (en->function == 4 || en->function == 0x8000001d)
			fix_cache_sharing(en, ncpus);
		else
			fix_amd(en, c, ncpus);
	}
	zero = find(to, 0);
	if (zero && zero->eax < 0xb)
		zero->eax = 0xb;
	put_topology(to, 0xb, c, ncpus);
	if (zero && zero->eax >= 0x1f)
		put_topology(to, 0x1f, c, ncpus);
	ok = !ioctl(c->fd, KVM_SET_CPUID2, to);
	if (!ok)
		err_errno(e, HV_EXIT_NO_KVM, errno, "KVM refused the CPUID of vCPU %u",
			  c->vcpu->index);
	free(to);
	return ok;
}
