/* SPDX-License-Identifier: MIT */
/*
 * Run a differential case on the host: load every register, jump to the
 * code, catch the signal that ends it on an alternate stack.  FS and GS bases
 * are the case's own meanwhile, so the handler touches no thread-local data
 * before it has put ours back.
 */
#include "diff.h"
#include <signal.h>
#include <stdio.h>
#include <sys/mman.h>
#include <ucontext.h>
#include <unistd.h>

uint8_t *diff_native_data;
static uint8_t *code_view;		/* writable view of the code page */

/* Used by the assembly below. */
struct native_regs {
	uint64_t gpr[16];		/* 0 */
	uint64_t rflags, rip, fs, gs;	/* 128, 136, 144, 152 */
	uint64_t host_rsp;		/* 160 */
	struct { uint32_t off; uint16_t sel, pad; } far;	/* 168 */
	uint64_t compat;		/* 176 */
	uint8_t pad[8];
	uint8_t fx[DIFF_FX_LEN];	/* 192 */
} diff_regs __attribute__((aligned(64)));
_Static_assert(offsetof(struct native_regs, fx) == 192, "assembly");

int diff_no_avx;			/* the host has no YMM registers */
static volatile bool active;
static struct diff_out *volatile result;
static uint64_t host_fs, host_gs;
static struct sigaction old[NSIG];
void diff_enter(void);
extern const char diff_resume[];

asm(".pushsection .text\n"
    ".globl diff_enter, diff_resume\n"
    "diff_enter:\n"
    "push %rbx; push %rbp; push %r12; push %r13; push %r14; push %r15\n"
    "lea diff_regs(%rip), %r15\n"
    "mov %rsp, 160(%r15)\n"
    "cmpl $0, diff_no_avx(%rip)\n"
    "jne 2f\n"
    "mov $7, %eax; xor %edx, %edx; xrstor64 192(%r15)\n"
    "jmp 3f\n"
    "2: fxrstor64 192(%r15)\n"
    "3:\n"
    "mov 144(%r15), %rax; wrfsbase %rax\n"
    "mov 152(%r15), %rax; wrgsbase %rax\n"
    "mov $0x2b, %eax; mov %eax, %ds; mov %eax, %es\n"
    "cmpq $0, 176(%r15)\n"
    "pushq 128(%r15)\n"
    "jne 1f\n"
    "popfq\n"
    "mov 0(%r15), %rax; mov 8(%r15), %rcx; mov 16(%r15), %rdx; mov 24(%r15), %rbx\n"
    "mov 32(%r15), %rsp; mov 40(%r15), %rbp; mov 48(%r15), %rsi; mov 56(%r15), %rdi\n"
    "mov 64(%r15), %r8; mov 72(%r15), %r9; mov 80(%r15), %r10; mov 88(%r15), %r11\n"
    "mov 96(%r15), %r12; mov 104(%r15), %r13; mov 112(%r15), %r14; mov 120(%r15), %r15\n"
    "jmp *diff_regs+136(%rip)\n"
    "1: popfq\n"
    "mov 0(%r15), %rax; mov 8(%r15), %rcx; mov 16(%r15), %rdx; mov 24(%r15), %rbx\n"
    "mov 32(%r15), %rsp; mov 40(%r15), %rbp; mov 48(%r15), %rsi; mov 56(%r15), %rdi\n"
    "ljmpl *168(%r15)\n"
    "diff_resume:\n"
    "pop %r15; pop %r14; pop %r13; pop %r12; pop %rbp; pop %rbx\n"
    "ret\n"
    ".popsection\n");

#define BASE_RW(name, insn) \
	static inline uint64_t rd_##name(void) \
	{ \
		uint64_t v; \
		asm volatile("rd" insn " %0" : "=r"(v)); \
		return v; \
	} \
	static inline void wr_##name(uint64_t v) \
	{ \
		asm volatile("wr" insn " %0" : : "r"(v) : "memory"); \
	}
BASE_RW(fs, "fsbase")
BASE_RW(gs, "gsbase")

static void chain(int sig, siginfo_t *si, void *ctx)
{
	if (old[sig].sa_flags & SA_SIGINFO)
		old[sig].sa_sigaction(sig, si, ctx);
	else
		signal(sig, SIG_DFL);
}

static void capture(struct diff_out *o, ucontext_t *uc)
{
	static const int map[16] = { REG_RAX, REG_RCX, REG_RDX, REG_RBX, REG_RSP, REG_RBP, REG_RSI,
				     REG_RDI, REG_R8, REG_R9, REG_R10, REG_R11, REG_R12, REG_R13,
				     REG_R14, REG_R15 };
	greg_t *g = uc->uc_mcontext.gregs;

	for (unsigned i = 0; i < 16; i++)
		o->st.gpr[i] = (uint64_t)g[map[i]];
	o->st.rip = (uint64_t)g[REG_RIP];
	o->st.rflags = (uint64_t)g[REG_EFL];
	o->vector = (unsigned)g[REG_TRAPNO];
	o->error = (uint32_t)g[REG_ERR];
	o->cr2 = (uint64_t)g[REG_CR2];
	memcpy(o->st.fx, uc->uc_mcontext.fpregs, 512);
	memset(o->st.fx + 512, 0, DIFF_FX_LEN - 512);
	if (!diff_no_avx && ((uint8_t *)uc->uc_mcontext.fpregs)[512] & 4)
		memcpy(o->st.fx + DIFF_YMM, (uint8_t *)uc->uc_mcontext.fpregs + DIFF_YMM, 256);
	if (o->vector == EXC_BP)
		o->st.rip--;
}

static __attribute__((no_stack_protector)) void on_signal(int sig, siginfo_t *si, void *ctx)
{
	ucontext_t *uc = ctx;
	greg_t *g = uc->uc_mcontext.gregs;

	if (!active) {
		chain(sig, si, ctx);
		return;
	}
	result->st.fsbase = rd_fs();
	result->st.gsbase = rd_gs();
	wr_fs(host_fs);
	wr_gs(host_gs);
	asm volatile("pushfq; andq $~0x40400, (%%rsp); popfq" ::: "memory", "cc");
	active = false;
	capture(result, uc);
	uc->uc_mcontext.fpregs->mxcsr = 0x1f80;
	uc->uc_mcontext.fpregs->cwd = 0x37f;
	uc->uc_mcontext.fpregs->swd = 0;
	uc->uc_mcontext.fpregs->ftw = 0;
	g[REG_RIP] = (greg_t)(uintptr_t)diff_resume;
	g[REG_RSP] = (greg_t)diff_regs.host_rsp;
	g[REG_EFL] = 0x202;
	g[REG_CSGSFS] = (g[REG_CSGSFS] & ~0xffffll) | 0x33;
}

static void *map_at(int fd, uint64_t at, size_t len, int prot, off_t off)
{
	void *p = mmap((void *)(uintptr_t)at, len, prot,
		       MAP_SHARED | MAP_POPULATE | (at ? MAP_FIXED_NOREPLACE : 0), fd, off);

	return p == MAP_FAILED ? NULL : p;
}

static void touch(const volatile uint8_t *p, size_t len)
{
	for (size_t i = 0; i < len; i += 4096)
		(void)p[i];
}

static bool map_pages(const uint8_t *data)
{
	int fd = memfd_create("diff", MFD_CLOEXEC);

	if (fd < 0 || ftruncate(fd, 0x1000 + DIFF_DATA_LEN))
		return false;
	code_view = map_at(fd, 0, 0x1000, PROT_READ | PROT_WRITE, 0);
	diff_native_data = map_at(fd, 0, DIFF_DATA_LEN, PROT_READ | PROT_WRITE, 0x1000);
	if (!code_view || !diff_native_data)
		return false;
	memset(code_view, 0xcc, 0x1000);
	memcpy(diff_native_data, data, DIFF_DATA_LEN);
	if (!map_at(fd, DIFF_CODE, 0x1000, PROT_READ | PROT_EXEC, 0) ||
	    !map_at(fd, DIFF_DATA, DIFF_RW_LEN, PROT_READ | PROT_WRITE, 0x1000) ||
	    !map_at(fd, DIFF_DATA + DIFF_RW_LEN, DIFF_DATA_LEN - DIFF_RW_LEN, PROT_READ,
		    0x1000 + DIFF_RW_LEN))
		return false;
	touch((uint8_t *)(uintptr_t)DIFF_CODE, 0x1000);
	touch((uint8_t *)(uintptr_t)DIFF_DATA, DIFF_DATA_LEN);
	close(fd);
	return true;
}

bool diff_native_init(const uint8_t *data)
{
	static const int sigs[] = { SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGTRAP };
	struct sigaction sa = { .sa_sigaction = on_signal,
				.sa_flags = SA_SIGINFO | SA_ONSTACK | SA_NODEFER };
	stack_t ss = { .ss_size = 1 << 16 };

	diff_no_avx = !(soft_xcr0_mask() & 4);

	ss.ss_sp =
		mmap(NULL, ss.ss_size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (ss.ss_sp == MAP_FAILED || sigaltstack(&ss, NULL))
		return false;
	for (size_t i = 0; i < ARRAY_SIZE(sigs); i++)
		if (sigaction(sigs[i], &sa, &old[sigs[i]]))
			return false;
	return map_pages(data);
}

void diff_native_run(const struct diff_case *c, struct diff_out *out)
{
	size_t off = c->in.rip - DIFF_CODE, n = MIN(c->len, 0x1000 - off);

	memcpy(code_view + off, c->code, n);
	for (unsigned i = 0; i < c->npatch; i++)
		memcpy(diff_native_data + (c->patch[i].at - DIFF_DATA), c->patch[i].b,
		       c->patch[i].len);
	memcpy(diff_regs.gpr, c->in.gpr, sizeof(diff_regs.gpr));
	memcpy(diff_regs.fx, c->in.fx, DIFF_FX_LEN);
	memset(diff_regs.fx + 512, 0, 64);
	diff_regs.fx[512] = 7;
	diff_regs.rflags = c->in.rflags;
	diff_regs.rip = c->in.rip;
	diff_regs.far.off = (uint32_t)c->in.rip;
	diff_regs.far.sel = 0x23;
	diff_regs.compat = c->bits == 32;
	diff_regs.fs = c->in.fsbase;
	diff_regs.gs = c->in.gsbase;
	result = out;
	host_fs = rd_fs();
	host_gs = rd_gs();
	active = true;
	diff_enter();
	memset(code_view + off, 0xcc, n);
}
