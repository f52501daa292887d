/* SPDX-License-Identifier: MIT */
/*
 * The KVM engine: guest code runs in the kernel's KVM (API 12).
 *
 * Interrupts: split irqchip.  The local APICs are in the kernel; 8259 pair,
 * IOAPIC and PIT are the same devices that the software CPU uses, and send
 * messages through vm->msi.  The kernel learns from the GSI routes which
 * vectors are level-triggered, and reports their EOIs.
 *
 * No exit needs guest registers, so neither GET_REGS nor the copies of
 * KVM_CAP_SYNC_REGS are paid on the way.  HLT, INIT and SIPI stay inside.
 *
 * Left out: SMM, user-space MSR exits, pause-time kvmclock notice.
 */
#include "kvm_int.h"
#include "../log.h"
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#define MSI_ADDR 0xfee00000u
#define MSI_DELIVERY_NMI (4u << 8)
#define MSI_TRIGGER_LEVEL (1u << 15)

static void on_kick(int sig)
{
}

/* Only a machine that was made shows that no other hypervisor holds the processor. */
static bool kvm_probe(struct err *e)
{
	int fd = kvm_open(e), vm = fd < 0 ? -1 : kvm_create_vm(fd, e);

	if (vm >= 0)
		close(vm);
	if (fd >= 0)
		close(fd);
	return vm >= 0;
}

/* ---- interrupts --------------------------------------------------------- */

static void msi_send_kvm(void *opaque, uint64_t addr, uint32_t data)
{
	struct kvm_vm *kv = opaque;
	struct kvm_msi m = { .address_lo = (uint32_t)addr, .address_hi = (uint32_t)(addr >> 32),
			     .data = data };

	/* 0: nobody took it (APIC off), as on a real bus. */
	if (ioctl(kv->vm_fd, KVM_SIGNAL_MSI, &m) < 0)
		log_limited(LOG_WARN, "kvm: MSI %#llx %#x: %s", (unsigned long long)addr, data,
			    strerror(errno));
}

static void routes_commit(struct kvm_vm *kv)
{
	union {
		char room[sizeof(struct kvm_irq_routing) +
			  KVM_IOAPIC_PINS * sizeof(struct kvm_irq_routing_entry)];
		struct kvm_irq_routing r;
	} t = { 0 };

	for (unsigned i = 0; i < KVM_IOAPIC_PINS; i++) {
		if (!kv->route[i].used)
			continue;
		t.r.entries[t.r.nr++] = (struct kvm_irq_routing_entry){
			.gsi = i, .type = KVM_IRQ_ROUTING_MSI,
			.u.msi = { .address_lo = (uint32_t)kv->route[i].addr,
				   .address_hi = (uint32_t)(kv->route[i].addr >> 32),
				   .data = kv->route[i].data },
		};
	}
	if (ioctl(kv->vm_fd, KVM_SET_GSI_ROUTING, &t) < 0)
		log_limited(LOG_WARN, "kvm: interrupt routing: %s", strerror(errno));
}

/* Only level-triggered pins matter: an edge needs no EOI. */
static void msi_route_kvm(void *opaque, unsigned gsi, uint64_t addr, uint32_t data, bool level)
{
	struct kvm_vm *kv = opaque;
	bool same;

	if (gsi >= KVM_IOAPIC_PINS)
		return;
	data |= level ? MSI_TRIGGER_LEVEL : 0;
	same = kv->route[gsi].used == level &&
	       (!level || (kv->route[gsi].addr == addr && kv->route[gsi].data == data));
	if (same)
		return;
	kv->route[gsi].used = level;
	kv->route[gsi].addr = addr;
	kv->route[gsi].data = data;
	routes_commit(kv);
}

static void nmi_set(void *sink, unsigned pin, bool level)
{
	if (level)
		msi_send_kvm(sink, MSI_ADDR, MSI_DELIVERY_NMI);
}

static void kvm_kick(struct vcpu *v);

static void kvm_extint(struct vm *vm, bool level)
{
	struct kvm_vm *kv = vm->engine_data;

	if (atomic_exchange(&kv->extint, level) != level && level && vm->cpus[0])
		kvm_kick(vm->cpus[0]);
}

/* INTA cycle, if the line is still up.  -1: nothing to inject. */
static int extint_ack(struct kvm_vm *kv)
{
	struct vm *vm = kv->vm;
	int vec = -1;

	vm_lock(vm);
	if (atomic_load(&kv->extint) && vm->extint.inta)
		vec = vm->extint.inta(vm->extint.opaque);
	vm_unlock(vm);
	return vec;
}

/*
 * Before KVM_RUN on the BSP: hand an acknowledged vector to the kernel when
 * it can take one, else ask for an exit as soon as it can.
 */
static void extint_inject(struct kvm_cpu *c)
{
	struct kvm_vm *kv = c->kv;

	if (c->run->ready_for_interrupt_injection) {
		struct kvm_interrupt irq;

		if (c->held_vector < 0 && atomic_load(&kv->extint))
			c->held_vector = extint_ack(kv);
		irq.irq = (uint32_t)c->held_vector;
		/* EEXIST: the kernel still has the one before. */
		if (c->held_vector >= 0 &&
		    (!ioctl(c->fd, KVM_INTERRUPT, &irq) || errno != EEXIST))
			c->held_vector = -1;
	}
	c->run->request_interrupt_window = c->held_vector >= 0 || atomic_load(&kv->extint);
}

/* ---- machine ------------------------------------------------------------ */

static bool enable_cap(int fd, uint32_t cap, uint64_t arg)
{
	struct kvm_enable_cap c = { .cap = cap, .args[0] = arg };

	return !ioctl(fd, KVM_ENABLE_CAP, &c);
}

static bool vm_setup(struct kvm_vm *kv, struct err *e)
{
	uint64_t ident = KVM_IDENTITY_MAP;
	int rc;

	kv->dev_fd = kvm_open(e);
	if (kv->dev_fd < 0)
		return false;
	kv->vm_fd = kvm_create_vm(kv->dev_fd, e);
	if (kv->vm_fd < 0)
		return false;
	if (ioctl(kv->vm_fd, KVM_SET_IDENTITY_MAP_ADDR, &ident) < 0 ||
	    ioctl(kv->vm_fd, KVM_SET_TSS_ADDR, KVM_TSS_ADDR) < 0)
		return err_errno(e, HV_EXIT_NO_KVM, errno, "KVM refused its reserved pages");
	/* Also: memory slots are cheap to add after a split irqchip, dear after a full one. */
	if (!enable_cap(kv->vm_fd, KVM_CAP_SPLIT_IRQCHIP, KVM_IOAPIC_PINS))
		return err_errno(e, HV_EXIT_NO_KVM, errno, "KVM refused the split irqchip");
	rc = ioctl(kv->dev_fd, KVM_GET_VCPU_MMAP_SIZE, 0);
	if (rc < (int)sizeof(struct kvm_run))
		return err_set(e, HV_EXIT_NO_KVM, "KVM gives no run area");
	kv->run_size = (size_t)rc;
	kv->cpuid = kvm_supported_cpuid(kv->dev_fd, e);
	return kv->cpuid != NULL;
}

static void kvm_vm_free(struct vm *vm)
{
	struct kvm_vm *kv = vm->engine_data;
	struct gm_listener none = { 0 };

	gm_set_listener(vm->mem, &none);
	if (kv->vm_fd >= 0)
		close(kv->vm_fd);
	if (kv->dev_fd >= 0)
		close(kv->dev_fd);
	free(kv->cpuid);
	free(kv);
	vm->engine_data = NULL;
}

static bool kvm_vm_init(struct vm *vm, struct err *e)
{
	struct kvm_vm *kv = hv_zalloc(sizeof(*kv));
	struct sigaction sa = { .sa_handler = on_kick, .sa_flags = SA_RESTART };

	kv->vm = vm;
	kv->dev_fd = kv->vm_fd = -1;
	vm->engine_data = kv;
	if (!vm_setup(kv, e)) {
		kvm_vm_free(vm);
		return false;
	}
	/* SA_RESTART does not restart KVM_RUN, but spares the devices an EINTR. */
	sigaction(KVM_KICK_SIGNAL, &sa, NULL);
	vm->msi = (struct msi_sink){ .send = msi_send_kvm, .route = msi_route_kvm, .opaque = kv };
	vm->nmi = (struct irq_line){ .set = nmi_set, .sink = kv };
	kvm_mem_attach(kv);
	return true;
}

static bool kvm_doorbell(struct vm *vm, enum bus_kind kind, uint64_t addr, unsigned len,
			 int eventfd, const uint64_t *match, bool add)
{
	struct kvm_vm *kv = vm->engine_data;
	struct kvm_ioeventfd io = {
		.addr = addr, .len = len, .fd = eventfd, .datamatch = match ? *match : 0,
		.flags = (kind == BUS_PIO ? KVM_IOEVENTFD_FLAG_PIO : 0u) |
			 (match ? KVM_IOEVENTFD_FLAG_DATAMATCH : 0u) |
			 (add ? 0u : KVM_IOEVENTFD_FLAG_DEASSIGN),
	};

	return !ioctl(kv->vm_fd, KVM_IOEVENTFD, &io);
}

/* ---- vCPU --------------------------------------------------------------- */

static void kvm_vcpu_free(struct vcpu *v)
{
	struct kvm_cpu *c = v->impl;

	if (c->run)
		munmap(c->run, c->kv->run_size);
	if (c->fd >= 0)
		close(c->fd);
	free(c);
	v->impl = NULL;
}

static bool vcpu_setup(struct kvm_cpu *c, struct err *e)
{
	void *p;

	c->fd = ioctl(c->kv->vm_fd, KVM_CREATE_VCPU, c->vcpu->index);
	if (c->fd < 0)
		return err_errno(e, HV_EXIT_HOST, errno, "KVM cannot create vCPU %u",
				 c->vcpu->index);
	p = mmap(NULL, c->kv->run_size, PROT_READ | PROT_WRITE, MAP_SHARED, c->fd, 0);
	if (p == MAP_FAILED)
		return err_errno(e, HV_EXIT_HOST, errno, "cannot map vCPU %u", c->vcpu->index);
	c->run = p;
	return kvm_set_cpuid(c, e) && kvm_capture_initial(c, e);
}

static bool kvm_vcpu_init(struct vcpu *v, struct err *e)
{
	struct kvm_cpu *c = hv_zalloc(sizeof(*c));

	c->vcpu = v;
	c->kv = v->vm->engine_data;
	c->fd = -1;
	c->held_vector = -1;
	v->impl = c;
	if (vcpu_setup(c, e))
		return true;
	kvm_vcpu_free(v);
	return false;
}

static void set_immediate_exit(struct kvm_cpu *c, uint8_t on)
{
	__atomic_store_n(&c->run->immediate_exit, on, __ATOMIC_SEQ_CST);
}

/*
 * The kicker sets its word, then immediate_exit, then looks at in_run; the
 * vCPU sets in_run, clears immediate_exit, then looks at the word.  So either
 * the vCPU sees the word, or KVM_RUN sees immediate_exit or the signal.
 */
static void kvm_kick(struct vcpu *v)
{
	struct kvm_cpu *c = v->impl;

	set_immediate_exit(c, 1);
	if (atomic_load(&c->in_run) && atomic_load(&c->tid) != gettid())
		syscall(SYS_tgkill, getpid(), atomic_load(&c->tid), KVM_KICK_SIGNAL);
}

/* A port that answers in registers (vm.h); EAX goes the way of every IN. */
static uint32_t in_registers(struct kvm_cpu *c, const struct vm_regport *rp)
{
	struct vm *vm = c->kv->vm;
	struct kvm_regs k;
	uint32_t r[6];
	bool answered;

	if (ioctl(c->fd, KVM_GET_REGS, &k) < 0)
		return UINT32_MAX;
	r[0] = (uint32_t)k.rax, r[1] = (uint32_t)k.rbx, r[2] = (uint32_t)k.rcx;
	r[3] = (uint32_t)k.rdx, r[4] = (uint32_t)k.rsi, r[5] = (uint32_t)k.rdi;
	vm_lock(vm);
	answered = rp->in(rp->opaque, r);
	vm_unlock(vm);
	if (!answered)
		return UINT32_MAX;
	k.rbx = r[1], k.rcx = r[2], k.rdx = r[3], k.rsi = r[4], k.rdi = r[5];
	return ioctl(c->fd, KVM_SET_REGS, &k) < 0 ? UINT32_MAX : r[0];
}

static void do_pio(struct kvm_cpu *c)
{
	const struct vm_regport *rp = &c->kv->vm->regport;
	const struct kvm_run *r = c->run;
	struct bus *bus = c->kv->vm->bus;
	unsigned size = r->io.size;
	uint8_t *p = (uint8_t *)c->run + r->io.data_offset;

	for (uint32_t i = 0; i < r->io.count; i++, p += size) {
		uint64_t val = 0;

		if (r->io.direction == KVM_EXIT_IO_OUT) {
			memcpy(&val, p, size);
			bus_write(bus, BUS_PIO, r->io.port, size, val);
		} else {
			bool regs = rp->in && r->io.port == rp->port && size == 4;

			val = regs ? in_registers(c, rp) :
				     bus_read(bus, BUS_PIO, r->io.port, size);
			memcpy(p, &val, size);
		}
	}
}

/* Accesses across a page come in parts of any length: powers of two, aligned, for the bus. */
static void do_mmio(struct kvm_cpu *c)
{
	struct kvm_run *r = c->run;
	struct bus *bus = c->kv->vm->bus;
	unsigned left = MIN(r->mmio.len, 8u);
	uint64_t at = r->mmio.phys_addr;
	uint8_t *p = r->mmio.data;

	while (left) {
		unsigned n = left >= 8 ? 8 : left >= 4 ? 4 : left >= 2 ? 2 : 1;
		uint64_t val = 0;

		if (r->mmio.is_write) {
			memcpy(&val, p, n);
			bus_write(bus, BUS_MMIO, at, n, val);
		} else {
			val = bus_read(bus, BUS_MMIO, at, n);
			memcpy(p, &val, n);
		}
		at += n;
		p += n;
		left -= n;
	}
}

static void do_eoi(struct kvm_cpu *c)
{
	struct vm *vm = c->kv->vm;

	vm_lock(vm);
	if (vm->eoi)
		vm->eoi(vm->eoi_opaque, c->run->eoi.vector);
	vm_unlock(vm);
}

static bool fail(struct kvm_cpu *c, enum vcpu_exit *out, const char *what)
{
	kvm_fail_text(c, what);
	*out = EXIT_FAIL;
	return true;
}

static bool fail_entry(struct kvm_cpu *c, enum vcpu_exit *out)
{
	char what[80];

	snprintf(what, sizeof(what), "the processor refused to enter the guest (reason %#llx)",
		 (unsigned long long)c->run->fail_entry.hardware_entry_failure_reason);
	return fail(c, out, what);
}

/* True: run() returns *out. */
static bool handle_exit(struct kvm_cpu *c, enum vcpu_exit *out)
{
	char what[64];

	switch (c->run->exit_reason) {
	case KVM_EXIT_IO:
		c->io_pending = true;
		do_pio(c);
		return false;
	case KVM_EXIT_MMIO:
		c->io_pending = true;
		do_mmio(c);
		return false;
	case KVM_EXIT_IOAPIC_EOI:
		do_eoi(c);
		return false;
	case KVM_EXIT_INTR:
	case KVM_EXIT_IRQ_WINDOW_OPEN:
		return false;
	case KVM_EXIT_SHUTDOWN:
		*out = EXIT_TRIPLE_FAULT;
		return true;
	case KVM_EXIT_INTERNAL_ERROR:
		kvm_fail_internal(c);
		*out = EXIT_FAIL;
		return true;
	case KVM_EXIT_FAIL_ENTRY:
		return fail_entry(c, out);
	default:
		snprintf(what, sizeof(what), "KVM stopped with the unknown exit %u",
			 c->run->exit_reason);
		return fail(c, out, what);
	}
}

static bool handle_errno(struct kvm_cpu *c, int errnum, enum vcpu_exit *out)
{
	char what[80];

	if (errnum == EINTR || errnum == EAGAIN)
		return false;
	snprintf(what, sizeof(what), "KVM_RUN: %s", strerror(errnum));
	return fail(c, out, what);
}

/* One stay in the guest.  True: run() returns *out. */
static bool enter_guest(struct kvm_cpu *c, enum vcpu_exit *out)
{
	int rc = ioctl(c->fd, KVM_RUN, 0);

	atomic_store(&c->in_run, false);
	c->io_pending = false;
	return rc < 0 ? handle_errno(c, errno, out) : handle_exit(c, out);
}

/* The kernel finishes an access only at its next entry: registers are not valid before. */
static bool complete_io(struct kvm_cpu *c, enum vcpu_exit *out)
{
	while (c->io_pending) {
		set_immediate_exit(c, 1);
		if (enter_guest(c, out))
			return true;
	}
	return false;
}

static void kvm_requests(struct kvm_cpu *c, uint32_t req)
{
	vcpu_clear(c->vcpu, req);
	if (req & VCPU_REQ_NMI)
		ioctl(c->fd, KVM_NMI, 0);
}

static void thread_enter(struct kvm_cpu *c)
{
	sigset_t set;

	if (atomic_load(&c->tid) == gettid())
		return;
	sigemptyset(&set);
	sigaddset(&set, KVM_KICK_SIGNAL);
	pthread_sigmask(SIG_UNBLOCK, &set, NULL);
	atomic_store(&c->tid, gettid());
}

static enum vcpu_exit kvm_run(struct vcpu *v)
{
	struct kvm_cpu *c = v->impl;
	enum vcpu_exit out = EXIT_KICKED;
	uint32_t req;

	thread_enter(c);
	for (;;) {
		atomic_store(&c->in_run, true);
		set_immediate_exit(c, 0);
		req = atomic_load(&v->req);
		if (req & VCPU_REQ_LEAVE)
			break;
		if (unlikely(req))
			kvm_requests(c, req);
		if (v->index == 0)
			extint_inject(c);
		if (enter_guest(c, &out))
			return out;
		if (unlikely(atomic_load(&c->kv->mem_failed))) {
			fail(c, &out, c->kv->mem_text);
			return out;
		}
	}
	atomic_store(&c->in_run, false);
	if (!complete_io(c, &out))
		out = EXIT_KICKED;
	return out;
}

const struct cpu_ops kvm_cpu_ops = {
	.name = "kvm",
	.probe = kvm_probe,
	.vm_init = kvm_vm_init,
	.vm_free = kvm_vm_free,
	.vcpu_init = kvm_vcpu_init,
	.vcpu_free = kvm_vcpu_free,
	.reset = kvm_reset,
	.run = kvm_run,
	.kick = kvm_kick,
	.get_state = kvm_get_state,
	.set_state = kvm_set_state,
	.extint = kvm_extint,
	.has_lapic = true,
	.doorbell = kvm_doorbell,
};
