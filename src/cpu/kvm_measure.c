/* SPDX-License-Identifier: MIT */
/*
 * How fast KVM is here: a plain loop on a scratch machine of one page,
 * under a time limit.  CPUID and capabilities do not tell: a KVM that
 * interprets ring 0 shows the same ones as one on hardware.
 */
#include "engine_int.h"
#include "kvm_int.h"
#include <errno.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#define LOOP_COUNT 1000000u
#define LIMIT_NS 6000000
#define LIMIT_AGAIN_NS 1000000	/* should the first signal come before KVM_RUN */
#define CODE_GPA 0x1000u

struct scratch {
	int dev, vm, cpu;
	void *page;
	struct kvm_run *run;
	size_t run_size;
};

static bool scratch_memory(struct scratch *s)
{
	struct kvm_userspace_memory_region r = { .guest_phys_addr = CODE_GPA,
						 .memory_size = GM_PAGE };

	s->page = mmap(NULL, GM_PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (s->page == MAP_FAILED)
		return false;
	memcpy(s->page, engine_loop, sizeof(engine_loop));
	r.userspace_addr = (uintptr_t)s->page;
	return !ioctl(s->vm, KVM_SET_USER_MEMORY_REGION, &r);
}

/* Flat 32-bit segments on top of what the kernel made. */
static bool scratch_cpu(struct scratch *s)
{
	struct kvm_regs regs = { .rip = CODE_GPA, .rcx = LOOP_COUNT, .rflags = 2 };
	struct kvm_sregs sr;
	struct kvm_segment flat = { .limit = 0xffffffff, .type = 3, .present = 1, .db = 1, .s = 1,
				    .g = 1, .selector = 16 };
	int rc;

	s->cpu = ioctl(s->vm, KVM_CREATE_VCPU, 0);
	rc = ioctl(s->dev, KVM_GET_VCPU_MMAP_SIZE, 0);
	if (s->cpu < 0 || rc < (int)sizeof(struct kvm_run))
		return false;
	s->run_size = (size_t)rc;
	s->run = mmap(NULL, s->run_size, PROT_READ | PROT_WRITE, MAP_SHARED, s->cpu, 0);
	if (s->run == MAP_FAILED || ioctl(s->cpu, KVM_GET_SREGS, &sr) < 0)
		return false;
	sr.ds = sr.es = sr.ss = sr.fs = sr.gs = flat;
	flat.type = 11;
	flat.selector = 8;
	sr.cs = flat;
	sr.cr0 |= 1;
	return !ioctl(s->cpu, KVM_SET_SREGS, &sr) && !ioctl(s->cpu, KVM_SET_REGS, &regs);
}

static bool scratch_new(struct scratch *s, struct err *e)
{
	uint64_t ident = KVM_IDENTITY_MAP;

	s->dev = kvm_open(e);
	if (s->dev < 0)
		return false;
	s->vm = kvm_create_vm(s->dev, e);
	if (s->vm < 0)
		return false;
	ioctl(s->vm, KVM_SET_IDENTITY_MAP_ADDR, &ident);
	ioctl(s->vm, KVM_SET_TSS_ADDR, KVM_TSS_ADDR);
	if (!scratch_memory(s) || !scratch_cpu(s))
		return err_errno(e, HV_EXIT_NO_KVM, errno, "KVM cannot make a small test machine");
	return true;
}

static void scratch_free(struct scratch *s)
{
	if (s->run != MAP_FAILED)
		munmap(s->run, s->run_size);
	if (s->page != MAP_FAILED)
		munmap(s->page, GM_PAGE);
	if (s->cpu >= 0)
		close(s->cpu);
	if (s->vm >= 0)
		close(s->vm);
	if (s->dev >= 0)
		close(s->dev);
}

static void on_limit(int sig)
{
}

static bool limit_start(timer_t *t)
{
	struct sigevent ev = { .sigev_notify = SIGEV_THREAD_ID, .sigev_signo = KVM_KICK_SIGNAL };
	struct itimerspec it = { .it_value.tv_nsec = LIMIT_NS,
				 .it_interval.tv_nsec = LIMIT_AGAIN_NS };
	struct sigaction sa = { .sa_handler = on_limit, .sa_flags = SA_RESTART };
	sigset_t set;

	sigaction(KVM_KICK_SIGNAL, &sa, NULL);
	sigemptyset(&set);
	sigaddset(&set, KVM_KICK_SIGNAL);
	pthread_sigmask(SIG_UNBLOCK, &set, NULL);
	ev._sigev_un._tid = gettid();
	return !timer_create(CLOCK_MONOTONIC, &ev, t) && !timer_settime(*t, 0, &it, NULL);
}

static bool scratch_run(struct scratch *s, double *per_s, struct err *e)
{
	uint64_t start = host_now_ns(), ns;
	struct kvm_regs regs;
	int rc = ioctl(s->cpu, KVM_RUN, 0), errnum = errno;

	ns = MAX(host_now_ns() - start, 1u);
	if (rc < 0 && errnum != EINTR)
		return err_errno(e, HV_EXIT_NO_KVM, errnum, "KVM does not run a plain loop");
	if (!rc && s->run->exit_reason != KVM_EXIT_HLT)
		return err_set(e, HV_EXIT_NO_KVM, "KVM does not run a plain loop (exit %u)",
			       s->run->exit_reason);
	if (ioctl(s->cpu, KVM_GET_REGS, &regs) < 0)
		return err_errno(e, HV_EXIT_NO_KVM, errno, "KVM does not tell the registers");
	*per_s = (double)(LOOP_COUNT - MIN(regs.rcx, LOOP_COUNT)) * ENGINE_LOOP_INSNS * 1e9 /
		 (double)ns;
	return true;
}

bool kvm_measure(double *per_s, struct err *e)
{
	struct scratch s = { .dev = -1, .vm = -1, .cpu = -1, .page = MAP_FAILED,
			     .run = MAP_FAILED };
	timer_t t;
	bool ok = scratch_new(&s, e);

	if (ok) {
		ok = limit_start(&t);
		if (ok) {
			ok = scratch_run(&s, per_s, e);
			timer_delete(t);
		} else {
			err_errno(e, HV_EXIT_HOST, errno, "no timer for the KVM test");
		}
	}
	scratch_free(&s);
	return ok;
}
