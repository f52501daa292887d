/* SPDX-License-Identifier: MIT */
/*
 * What to tell the user when KVM cannot go on: the reason, where the guest
 * was, the instruction there, and the way out.
 */
#include "kvm_int.h"
#include <stdio.h>
#include <sys/ioctl.h>

/* The software CPU's disassembler (soft/soft.h, of which only this is wanted). */
unsigned soft_disas(const uint8_t *bytes, size_t n, unsigned bits, uint64_t rip, char *out,
		    size_t out_len);

#define INSN_MAX 15

struct where {
	uint64_t rip, lin;
	unsigned bits;
	uint8_t insn[INSN_MAX];
	unsigned n;
};

static unsigned code_bits(const struct kvm_sregs *s)
{
	if (s->efer & 1 << 10 && s->cs.l)
		return 64;
	return s->cs.db ? 32 : 16;
}

static void read_insn(struct kvm_cpu *c, struct where *w)
{
	for (w->n = 0; w->n < INSN_MAX; w->n++) {
		struct kvm_translation t = { .linear_address = w->lin + w->n };

		if (ioctl(c->fd, KVM_TRANSLATE, &t) < 0 || !t.valid)
			break;
		if (!gm_read(c->kv->vm->mem, GPA(t.physical_address), &w->insn[w->n], 1))
			break;
	}
}

static bool find_where(struct kvm_cpu *c, struct where *w)
{
	struct kvm_regs r;
	struct kvm_sregs s;

	if (ioctl(c->fd, KVM_GET_REGS, &r) < 0 || ioctl(c->fd, KVM_GET_SREGS, &s) < 0)
		return false;
	w->rip = r.rip;
	w->bits = code_bits(&s);
	w->lin = w->bits == 64 ? r.rip : (uint32_t)(s.cs.base + r.rip);
	read_insn(c, w);
	return true;
}

/* "cli" or "fa ..." */
static void insn_text(const struct where *w, char *out, size_t len)
{
	char text[64];
	unsigned used = soft_disas(w->insn, w->n, w->bits, w->rip, text, sizeof(text));
	unsigned n = w->n;
	size_t at = 0;

	if (used && used <= n)
		n = used;
	out[0] = 0;
	for (unsigned i = 0; i < n && at + 4 < len; i++)
		at += (size_t)snprintf(out + at, len - at, "%s%02x", i ? " " : "", w->insn[i]);
	if (used && used <= w->n)
		snprintf(out + at, len - at, " (%s)", text);
}

void kvm_fail_text(struct kvm_cpu *c, const char *what)
{
	struct vcpu *v = c->vcpu;
	struct where w = { 0 };
	char insn[128];

	if (!find_where(c, &w)) {
		snprintf(v->fail, sizeof(v->fail), "vCPU %u: %s; try --engine soft", v->index,
			 what);
		return;
	}
	insn_text(&w, insn, sizeof(insn));
	snprintf(v->fail, sizeof(v->fail),
		 "vCPU %u: %s at %u-bit RIP %#llx (linear %#llx), instruction %s; "
		 "try --engine soft", v->index, what, w.bits, (unsigned long long)w.rip,
		 (unsigned long long)w.lin, insn[0] ? insn : "unreadable");
}

void kvm_fail_internal(struct kvm_cpu *c)
{
	static const char *const names[] = {
		[KVM_INTERNAL_ERROR_EMULATION] = "KVM cannot emulate an instruction",
		[KVM_INTERNAL_ERROR_SIMUL_EX] = "KVM: simultaneous exceptions",
		[KVM_INTERNAL_ERROR_DELIVERY_EV] = "KVM: fault while delivering an event",
		[KVM_INTERNAL_ERROR_UNEXPECTED_EXIT_REASON] = "KVM: unexpected processor exit",
	};
	uint32_t sub = c->run->internal.suberror;
	char other[64];

	if (sub < ARRAY_SIZE(names) && names[sub]) {
		kvm_fail_text(c, names[sub]);
		return;
	}
	snprintf(other, sizeof(other), "KVM internal error %u", sub);
	kvm_fail_text(c, other);
}
