/* SPDX-License-Identifier: MIT */
/*
 * Registers of a KVM vCPU to and from struct x86_state, and reset.
 *
 * Reset restores what the kernel made at vCPU creation, which is the
 * architectural power-on state with the BSP's LINT0 open for the 8259.
 *
 * NOTYET(snapshot): local APIC contents, an interrupt that was acknowledged
 * but not delivered, PDPTRs, and XSAVE components beyond AVX are not part of
 * struct x86_state.
 */
#include "kvm_int.h"
#include "../log.h"
#include <errno.h>
#include <sys/ioctl.h>

struct msr_map { uint32_t index; uint16_t off; };
#define MSR(i, m) { i, offsetof(struct x86_state, m) }

/* MISC_ENABLE first and the deadline last: other registers depend on them (SDM vol. 4). */
static const struct msr_map msr_map[] = {
	MSR(0x1a0, misc_enable), MSR(0xc0000081, star), MSR(0xc0000082, lstar),
	MSR(0xc0000083, cstar), MSR(0xc0000084, sfmask), MSR(0xc0000102, kernel_gs_base),
	MSR(0x174, sysenter_cs), MSR(0x175, sysenter_esp), MSR(0x176, sysenter_eip),
	MSR(0x277, pat), MSR(0xc0000103, tsc_aux), MSR(0x2ff, mtrr_def),
	MSR(0x250, mtrr_fix[0]), MSR(0x258, mtrr_fix[1]), MSR(0x259, mtrr_fix[2]),
	MSR(0x268, mtrr_fix[3]), MSR(0x269, mtrr_fix[4]), MSR(0x26a, mtrr_fix[5]),
	MSR(0x26b, mtrr_fix[6]), MSR(0x26c, mtrr_fix[7]), MSR(0x26d, mtrr_fix[8]),
	MSR(0x26e, mtrr_fix[9]), MSR(0x26f, mtrr_fix[10]),
	MSR(0x200, mtrr_var[0]), MSR(0x201, mtrr_var[1]), MSR(0x202, mtrr_var[2]),
	MSR(0x203, mtrr_var[3]), MSR(0x204, mtrr_var[4]), MSR(0x205, mtrr_var[5]),
	MSR(0x206, mtrr_var[6]), MSR(0x207, mtrr_var[7]), MSR(0x208, mtrr_var[8]),
	MSR(0x209, mtrr_var[9]), MSR(0x20a, mtrr_var[10]), MSR(0x20b, mtrr_var[11]),
	MSR(0x20c, mtrr_var[12]), MSR(0x20d, mtrr_var[13]), MSR(0x20e, mtrr_var[14]),
	MSR(0x20f, mtrr_var[15]),
	MSR(0x10, tsc), MSR(0x3b, tsc_adjust), MSR(0x6e0, tsc_deadline),
};
#undef MSR

/* KVM's paravirtual MSRs and their values after reset (kernel: virt/kvm/x86/msr.rst). */
static const struct kvm_msr_entry pv_reset[] = {
	{ .index = 0x4b564d01 }, { .index = 0x4b564d00 }, { .index = 0x4b564d02 },
	{ .index = 0x4b564d03 }, { .index = 0x4b564d04 }, { .index = 0x4b564d05, .data = 1 },
};

/* struct kvm_msrs ends in a flexible array: a union gives it room, as C allows. */
union msr_list {
	char room[sizeof(struct kvm_msrs) + 64 * sizeof(struct kvm_msr_entry)];
	struct kvm_msrs l;
};
_Static_assert(ARRAY_SIZE(msr_map) <= 64 && ARRAY_SIZE(pv_reset) <= 64, "room of msr_list");

/*
 * The ioctl stops at the first MSR that this host lacks: step over it.  Such
 * an MSR reads as 0 and its write is dropped, as the guest would see no such MSR.
 */
static void msrs_all(int fd, unsigned long op, union msr_list *all)
{
	union msr_list part;
	unsigned done = 0, n = all->l.nmsrs;

	while (done < n) {
		int rc;

		part.l.nmsrs = n - done;
		part.l.pad = 0;
		memcpy(part.l.entries, &all->l.entries[done],
		       (n - done) * sizeof(part.l.entries[0]));
		rc = ioctl(fd, op, &part);
		if (rc < 0)
			return;
		memcpy(&all->l.entries[done], part.l.entries,
		       (unsigned)rc * sizeof(part.l.entries[0]));
		done += (unsigned)rc;
		if (done < n)
			log_debug("kvm: MSR %#x is not available", all->l.entries[done].index);
		done++;
	}
}

static void get_msrs(int fd, struct x86_state *s)
{
	union msr_list all = { 0 };

	all.l.nmsrs = ARRAY_SIZE(msr_map);
	for (unsigned i = 0; i < ARRAY_SIZE(msr_map); i++)
		all.l.entries[i].index = msr_map[i].index;
	msrs_all(fd, KVM_GET_MSRS, &all);
	for (unsigned i = 0; i < ARRAY_SIZE(msr_map); i++)
		memcpy((char *)s + msr_map[i].off, &all.l.entries[i].data, 8);
}

static void set_msrs(int fd, const struct x86_state *s)
{
	union msr_list all = { 0 };

	all.l.nmsrs = ARRAY_SIZE(msr_map);
	for (unsigned i = 0; i < ARRAY_SIZE(msr_map); i++) {
		all.l.entries[i].index = msr_map[i].index;
		memcpy(&all.l.entries[i].data, (const char *)s + msr_map[i].off, 8);
	}
	msrs_all(fd, KVM_SET_MSRS, &all);
}

static void seg_from_kvm(struct x86_seg *d, const struct kvm_segment *k)
{
	*d = (struct x86_seg){
		.base = k->base, .limit = k->limit, .sel = k->selector,
		.attr = k->type | (uint32_t)k->s << 4 | (uint32_t)k->dpl << 5 |
			(uint32_t)k->present << 7 | (uint32_t)k->avl << 12 |
			(uint32_t)k->l << 13 | (uint32_t)k->db << 14 | (uint32_t)k->g << 15 |
			(uint32_t)k->unusable << 16,
	};
}

static void seg_to_kvm(struct kvm_segment *k, const struct x86_seg *d)
{
	*k = (struct kvm_segment){
		.base = d->base, .limit = d->limit, .selector = d->sel,
		.type = d->attr & 15, .s = d->attr >> 4 & 1, .dpl = d->attr >> 5 & 3,
		.present = d->attr >> 7 & 1, .avl = d->attr >> 12 & 1, .l = d->attr >> 13 & 1,
		.db = d->attr >> 14 & 1, .g = d->attr >> 15 & 1, .unusable = d->attr >> 16 & 1,
	};
}

/* kvm_regs keeps the registers in this order; ours is the encoding's. */
static void gpr_from_kvm(struct x86_state *s, const struct kvm_regs *r)
{
	const uint64_t low[8] = { r->rax, r->rcx, r->rdx, r->rbx, r->rsp, r->rbp, r->rsi, r->rdi };

	memcpy(s->gpr, low, sizeof(low));
	memcpy(s->gpr + 8, &r->r8, 8 * 8);
	s->rip = r->rip;
	s->rflags = r->rflags;
}

static void gpr_to_kvm(struct kvm_regs *r, const struct x86_state *s)
{
	*r = (struct kvm_regs){
		.rax = s->gpr[R_RAX], .rcx = s->gpr[R_RCX], .rdx = s->gpr[R_RDX],
		.rbx = s->gpr[R_RBX], .rsp = s->gpr[R_RSP], .rbp = s->gpr[R_RBP],
		.rsi = s->gpr[R_RSI], .rdi = s->gpr[R_RDI], .rip = s->rip, .rflags = s->rflags,
	};
	memcpy(&r->r8, s->gpr + 8, 8 * 8);
}

static void sregs_from_kvm(struct x86_state *s, const struct kvm_sregs *k)
{
	const struct kvm_segment *seg[SEG_NUM] = { &k->es, &k->cs, &k->ss, &k->ds, &k->fs, &k->gs };

	for (int i = 0; i < SEG_NUM; i++)
		seg_from_kvm(&s->seg[i], seg[i]);
	seg_from_kvm(&s->ldt, &k->ldt);
	seg_from_kvm(&s->tr, &k->tr);
	s->gdt = (struct x86_dtable){ .base = k->gdt.base, .limit = k->gdt.limit };
	s->idt = (struct x86_dtable){ .base = k->idt.base, .limit = k->idt.limit };
	s->cr0 = k->cr0;
	s->cr2 = k->cr2;
	s->cr3 = k->cr3;
	s->cr4 = k->cr4;
	s->cr8 = k->cr8;
	s->efer = k->efer;
	s->apic_base = k->apic_base;
}

static void sregs_to_kvm(struct kvm_sregs *k, const struct x86_state *s)
{
	struct kvm_segment *seg[SEG_NUM] = { &k->es, &k->cs, &k->ss, &k->ds, &k->fs, &k->gs };

	memset(k, 0, sizeof(*k));
	for (int i = 0; i < SEG_NUM; i++)
		seg_to_kvm(seg[i], &s->seg[i]);
	seg_to_kvm(&k->ldt, &s->ldt);
	seg_to_kvm(&k->tr, &s->tr);
	k->gdt.base = s->gdt.base;
	k->gdt.limit = s->gdt.limit;
	k->idt.base = s->idt.base;
	k->idt.limit = s->idt.limit;
	k->cr0 = s->cr0;
	k->cr2 = s->cr2;
	k->cr3 = s->cr3;
	k->cr4 = s->cr4;
	k->cr8 = s->cr8;
	k->efer = s->efer;
	k->apic_base = s->apic_base;
}

static void get_events(int fd, struct x86_state *s)
{
	struct kvm_vcpu_events ev = { 0 };

	if (ioctl(fd, KVM_GET_VCPU_EVENTS, &ev) < 0)
		return;
	s->exc_pending = ev.exception.injected;
	s->exc_vector = ev.exception.nr;
	s->exc_has_code = ev.exception.has_error_code;
	s->exc_code = ev.exception.error_code;
	s->nmi_blocked = ev.nmi.masked;
	s->nmi_pending = ev.nmi.pending;
	s->intr_shadow = ev.interrupt.shadow != 0;
}

static bool set_events(int fd, const struct x86_state *s)
{
	struct kvm_vcpu_events ev = {
		.exception = { .injected = s->exc_pending, .nr = s->exc_vector,
			       .has_error_code = s->exc_has_code, .error_code = s->exc_code },
		.nmi = { .pending = s->nmi_pending, .masked = s->nmi_blocked },
		.interrupt.shadow = s->intr_shadow ? KVM_X86_SHADOW_INT_STI : 0,
		.flags = KVM_VCPUEVENT_VALID_NMI_PENDING | KVM_VCPUEVENT_VALID_SHADOW,
	};

	return !ioctl(fd, KVM_SET_VCPU_EVENTS, &ev);
}

static const uint32_t mp_to_kvm[] = {
	[MP_RUNNABLE] = KVM_MP_STATE_RUNNABLE, [MP_HALTED] = KVM_MP_STATE_HALTED,
	[MP_WAIT_SIPI] = KVM_MP_STATE_UNINITIALIZED,
};

static enum x86_mp mp_from_kvm(uint32_t mp)
{
	switch (mp) {
	case KVM_MP_STATE_HALTED:
		return MP_HALTED;
	case KVM_MP_STATE_UNINITIALIZED:
	case KVM_MP_STATE_INIT_RECEIVED:
		return MP_WAIT_SIPI;
	default:
		return MP_RUNNABLE;
	}
}

static void get_xsave(int fd, struct x86_state *s)
{
	struct kvm_xcrs x = { 0 };
	struct kvm_xsave xs;

	memset(&xs, 0, sizeof(xs));
	if (!ioctl(fd, KVM_GET_XSAVE, &xs))
		memcpy(s->xsave, xs.region, sizeof(s->xsave));
	s->xsave[512] &= 7;
	if (!ioctl(fd, KVM_GET_XCRS, &x) && x.nr_xcrs)
		s->xcr0 = x.xcrs[0].value;
}

static bool set_xsave(int fd, const struct x86_state *s)
{
	struct kvm_xcrs x = { .nr_xcrs = 1, .xcrs[0].value = s->xcr0 ? s->xcr0 : 1 };
	struct kvm_xsave xs;

	memset(&xs, 0, sizeof(xs));
	memcpy(xs.region, s->xsave, sizeof(s->xsave));
	/* No XSAVE for the guest: then there is no XCR0 to set. */
	if (ioctl(fd, KVM_SET_XCRS, &x) < 0)
		log_debug("kvm: XCR0 %#llx refused", (unsigned long long)s->xcr0);
	return !ioctl(fd, KVM_SET_XSAVE, &xs);
}

static void get_debugregs(int fd, struct x86_state *s)
{
	struct kvm_debugregs d = { 0 };

	if (ioctl(fd, KVM_GET_DEBUGREGS, &d) < 0)
		return;
	memcpy(s->dr, d.db, sizeof(d.db));
	s->dr[6] = d.dr6;
	s->dr[7] = d.dr7;
}

static bool set_debugregs(int fd, const struct x86_state *s)
{
	struct kvm_debugregs d = { .dr6 = s->dr[6], .dr7 = s->dr[7] };

	memcpy(d.db, s->dr, sizeof(d.db));
	return !ioctl(fd, KVM_SET_DEBUGREGS, &d);
}

static bool read_state(int fd, struct x86_state *s)
{
	struct kvm_regs r;
	struct kvm_sregs sr;
	struct kvm_mp_state mp = { 0 };

	memset(s, 0, sizeof(*s));
	if (ioctl(fd, KVM_GET_REGS, &r) < 0 || ioctl(fd, KVM_GET_SREGS, &sr) < 0 ||
	    ioctl(fd, KVM_GET_MP_STATE, &mp) < 0)
		return false;
	gpr_from_kvm(s, &r);
	sregs_from_kvm(s, &sr);
	s->mp_state = mp_from_kvm(mp.mp_state);
	get_xsave(fd, s);
	get_msrs(fd, s);
	get_events(fd, s);
	get_debugregs(fd, s);
	return true;
}

void kvm_get_state(struct vcpu *v, struct x86_state *s)
{
	struct kvm_cpu *c = v->impl;

	if (!read_state(c->fd, s))
		log_error("kvm: cannot read the registers of vCPU %u: %s", v->index,
			  strerror(errno));
}

bool kvm_set_state(struct vcpu *v, const struct x86_state *s, struct err *e)
{
	struct kvm_cpu *c = v->impl;
	struct kvm_mp_state mp = { .mp_state = mp_to_kvm[MIN(s->mp_state, MP_WAIT_SIPI)] };
	struct kvm_regs r;
	struct kvm_sregs sr;
	const char *what = NULL;

	gpr_to_kvm(&r, s);
	sregs_to_kvm(&sr, s);
	if (!set_xsave(c->fd, s))
		what = "FPU registers";
	else if (ioctl(c->fd, KVM_SET_SREGS, &sr) < 0)
		what = "system registers";
	else if (ioctl(c->fd, KVM_SET_REGS, &r) < 0)
		what = "registers";
	if (!what) {
		set_msrs(c->fd, s);
		if (!set_events(c->fd, s))
			what = "pending events";
		else if (!set_debugregs(c->fd, s))
			what = "debug registers";
		else if (ioctl(c->fd, KVM_SET_MP_STATE, &mp) < 0)
			what = "run state";
	}
	if (what)
		return err_errno(e, HV_EXIT_ENGINE, errno, "KVM refused the %s of vCPU %u", what,
				 v->index);
	return true;
}

bool kvm_capture_initial(struct kvm_cpu *c, struct err *e)
{
	if (!read_state(c->fd, &c->initial) ||
	    ioctl(c->fd, KVM_GET_LAPIC, &c->lapic) < 0)
		return err_errno(e, HV_EXIT_NO_KVM, errno, "cannot read the state of vCPU %u",
				 c->vcpu->index);
	c->initial.tsc = 0;
	c->initial.tsc_adjust = 0;
	return true;
}

void kvm_reset(struct vcpu *v)
{
	struct kvm_cpu *c = v->impl;
	union msr_list all = { 0 };
	struct err e;

	c->held_vector = -1;
	all.l.nmsrs = ARRAY_SIZE(pv_reset);
	memcpy(all.l.entries, pv_reset, sizeof(pv_reset));
	msrs_all(c->fd, KVM_SET_MSRS, &all);
	/* SREGS carries APIC base; the APIC page follows it, the rest wants neither. */
	if (!kvm_set_state(v, &c->initial, &e))
		log_error("kvm: reset: %s", e.msg);
	if (ioctl(c->fd, KVM_SET_LAPIC, &c->lapic) < 0)
		log_error("kvm: reset of the local APIC %u: %s", v->index, strerror(errno));
}
