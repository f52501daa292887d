/* SPDX-License-Identifier: MIT */
/*
 * The guest's MXCSR on the host, and unmasked SSE exceptions (Intel SDM
 * vol. 1, 11.5).  See fpu.h for the rule.
 *
 * While a vCPU thread has the guest's MXCSR loaded, an unmasked exception is
 * a SIGFPE.  The handler notes the flags that the processor computed, gives
 * the host its default MXCSR back and skips the instruction; the interpreter
 * then raises #XM with registers unchanged.  Handlers put the address after
 * the instruction in r11; stubs (fpu.h) simply return.
 */
#include "fpu.h"
#include <pthread.h>
#include <signal.h>
#include <ucontext.h>

#define CR4_OSXMMEXCPT 0x400u

static __thread struct soft *volatile mx_owner;
static struct sigaction old_action;

static void chain(int sig, siginfo_t *si, void *ctx)
{
	if (old_action.sa_flags & SA_SIGINFO) {
		old_action.sa_sigaction(sig, si, ctx);
	} else if (old_action.sa_handler != SIG_DFL && old_action.sa_handler != SIG_IGN) {
		old_action.sa_handler(sig);
	} else {
		signal(sig, SIG_DFL);	/* the instruction is repeated and kills us */
	}
}

static void on_sigfpe(int sig, siginfo_t *si, void *ctx)
{
	greg_t *r = ((ucontext_t *)ctx)->uc_mcontext.gregs;
	struct soft *s = mx_owner;
	uintptr_t pc = (uintptr_t)r[REG_RIP];

	if (!s || !s->mx_live || si->si_code == FPE_INTDIV) {
		chain(sig, si, ctx);
		return;
	}
	if (pc >= (uintptr_t)__start_soft_stubs && pc < (uintptr_t)__stop_soft_stubs) {
		r[REG_RIP] = *(greg_t *)r[REG_RSP];
		r[REG_RSP] += 8;
	} else {
		r[REG_RIP] = r[REG_R11];
	}
	fx(s)->mxcsr = ((ucontext_t *)ctx)->uc_mcontext.fpregs->mxcsr & MXCSR_MASK;
	((ucontext_t *)ctx)->uc_mcontext.fpregs->mxcsr = MXCSR_DEFAULT;
	s->mx_live = s->mx_native = false;
	s->fp_fault = true;
}

static void install(void)
{
	struct sigaction sa = { .sa_sigaction = on_sigfpe, .sa_flags = SA_SIGINFO | SA_ONSTACK };

	sigaction(SIGFPE, &sa, &old_action);
}

void soft_mx_install(void)
{
	static pthread_once_t once = PTHREAD_ONCE_INIT;

	pthread_once(&once, install);
}

void soft_mx_load(struct soft *s)
{
	mx_owner = s;
	s->mx_live = true;
	s->mx_native = (fx(s)->mxcsr & 0x1f80) == 0x1f80;
	_mm_setcsr(fx(s)->mxcsr);
}

void soft_fpu_park_slow(struct soft *s)
{
	if (s->fpu_live & FX_X87)
		soft_x87_store(s);
	if (!s->mx_live)
		return;
	fx(s)->mxcsr = _mm_getcsr();
	_mm_setcsr(MXCSR_DEFAULT);
	s->mx_live = s->mx_native = false;
}

void soft_mx_fault(struct soft *s, const struct uop *u)
{
	s->fp_fault = false;
	soft_fault(s, u, s->cr4 & CR4_OSXMMEXCPT ? EXC_XM : EXC_UD);
}

void soft_mxcsr_write(struct soft *s, uint32_t v)
{
	soft_fpu_park(s);
	fx(s)->mxcsr = v;
}

const struct uop *h_ldmxcsr(struct soft *s, const struct uop *u)
{
	uint32_t v = soft_ld32(s, u, uop_lin(s, u, 4, false));

	if (v & ~MXCSR_MASK)
		soft_fault_code(s, u, EXC_GP, 0);
	soft_mxcsr_write(s, v);
	return u + 1;
}

const struct uop *h_stmxcsr(struct soft *s, const struct uop *u)
{
	uint64_t lin = uop_lin(s, u, 4, true);

	soft_fpu_park(s);
	soft_st32(s, u, lin, fx(s)->mxcsr);
	return u + 1;
}
