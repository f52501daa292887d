/* SPDX-License-Identifier: MIT */
/* Guest programs on an engine; see guestrun.h. */
#include "guestrun.h"
#include "../../src/device.h"
#include "guestboard.h"
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define CONSOLE_PORT 0xe9
#define EXIT_PORT 0xf4

enum { ENTER_REAL, ENTER_PROT, ENTER_LONG };

struct guest {
	struct guest_result *out;
	struct vm *vm;
	int enter;
	pthread_mutex_t lock;
	pthread_cond_t cond;
	bool done;
};

/* ---- the two ports ------------------------------------------------------ */

struct ports {
	struct device dev;
	struct guest *g;
	struct io_region console, exit;
};
DEVICE_CHECK(struct ports);

static void console_write(struct device *d, uint64_t off, unsigned size, uint64_t val)
{
	struct guest_result *r = ((struct ports *)d)->g->out;

	if (r->console_len < sizeof(r->console) - 1)
		r->console[r->console_len++] = (char)val;
}

static uint64_t console_read(struct device *d, uint64_t off, unsigned size)
{
	return 0xe9;
}

static void finish(struct guest *g, enum guest_end end, unsigned value)
{
	pthread_mutex_lock(&g->lock);
	if (!g->done) {
		g->out->end = end;
		g->out->value = value;
		g->done = true;
		pthread_cond_signal(&g->cond);
	}
	pthread_mutex_unlock(&g->lock);
}

static void exit_write(struct device *d, uint64_t off, unsigned size, uint64_t val)
{
	finish(((struct ports *)d)->g, GUEST_EXIT, (unsigned)val);
}

static uint64_t exit_read(struct device *d, uint64_t off, unsigned size)
{
	return 0xff;
}

static const struct io_ops console_io = { console_read, console_write, 1, 1 };
static const struct io_ops exit_io = { exit_read, exit_write, 1, 1 };

static bool ports_realize(struct device *d, struct err *e)
{
	struct ports *p = (struct ports *)d;

	p->console = (struct io_region){ .kind = BUS_PIO, .base = CONSOLE_PORT, .len = 1,
					 .ops = &console_io, .dev = d, .name = "console" };
	p->exit = (struct io_region){ .kind = BUS_PIO, .base = EXIT_PORT, .len = 1,
				      .ops = &exit_io, .dev = d, .name = "exit" };
	return dev_add_region(d, &p->console, e) && dev_add_region(d, &p->exit, e);
}

/* No state: what arrived belongs to the test. */
static const struct device_ops ports_ops = {
	.name = "guest-ports", .size = sizeof(struct ports), .realize = ports_realize,
};

/* ---- entry states ------------------------------------------------------- */

#define ATTR_CODE32 0xc09bu
#define ATTR_DATA 0xc093u
#define ATTR_CODE64 0xa09bu
#define ATTR_REAL 0x93u

static void put64(struct vm *vm, uint64_t at, uint64_t v)
{
	HV_BUG_ON(!gm_write_le64(vm->mem, GPA(at), v));
}

static void put_tables(struct vm *vm)
{
	put64(vm, 0x1000, 0);
	put64(vm, 0x1008, 0x00cf9b000000ffff);
	put64(vm, 0x1010, 0x00cf93000000ffff);
	put64(vm, 0x1018, 0x00af9b000000ffff);
	put64(vm, 0x2000, 0x3003);
	put64(vm, 0x3000, 0x4003);
	put64(vm, 0x3018, 0x5003);
	for (uint64_t i = 0; i < 512; i++) {
		put64(vm, 0x4000 + i * 8, i << 21 | 0x83);
		put64(vm, 0x5000 + i * 8, 0xc0000000 | i << 21 | 0x9b);
	}
}

static void enter_real(struct x86_state *s)
{
	for (int i = 0; i < SEG_NUM; i++)
		s->seg[i] = (struct x86_seg){ .limit = 0xffff,
					      .attr = i == SEG_CS ? 0x9b : ATTR_REAL };
	s->rip = 0x7c00;
	s->gpr[R_RSP] = 0x7000;
}

static void enter_flat(struct x86_state *s, bool lm)
{
	for (int i = 0; i < SEG_NUM; i++)
		s->seg[i] = (struct x86_seg){ .limit = 0xffffffff, .attr = ATTR_DATA, .sel = 16 };
	s->seg[SEG_CS].sel = lm ? 24 : 8;
	s->seg[SEG_CS].attr = lm ? ATTR_CODE64 : ATTR_CODE32;
	s->gdt = (struct x86_dtable){ .base = 0x1000, .limit = 31 };
	s->cr0 = 0x31;
	s->rip = 0x10000;
	s->gpr[R_RSP] = 0x8000;
	if (!lm)
		return;
	s->cr0 |= 0x80000002;
	s->cr3 = 0x2000;
	s->cr4 = 0x620;		/* PAE, OSFXSR, OSXMMEXCPT */
	s->efer = 0x500;
}

static void on_reset(void *opaque)
{
	struct guest *g = opaque;
	struct vcpu *v = g->vm->cpus[0];
	struct x86_state s;
	struct err e;

	v->ops->get_state(v, &s);
	s.rflags = 2;
	memset(s.gpr, 0, sizeof(s.gpr));
	if (g->enter == ENTER_REAL)
		enter_real(&s);
	else
		enter_flat(&s, g->enter == ENTER_LONG);
	if (!v->ops->set_state(v, &s, &e)) {
		snprintf(g->out->text, sizeof(g->out->text), "%s", e.msg);
		finish(g, GUEST_NO_ENGINE, 0);
	}
}

static void on_event(void *opaque, enum vm_event ev, unsigned arg)
{
	struct guest *g = opaque;

	if (ev == VM_EV_ENGINE_FAIL) {
		snprintf(g->out->text, sizeof(g->out->text), "%s", g->vm->fail);
		finish(g, GUEST_FAIL, 0);
	} else if (ev == VM_EV_TRIPLE_FAULT) {
		finish(g, GUEST_TRIPLE, 0);
	}
}

/* ---- machine ------------------------------------------------------------ */

static bool load(struct guest *g, const char *path, struct err *e)
{
	const char *base = strrchr(path, '/') ? strrchr(path, '/') + 1 : path;
	static uint8_t buf[65536];
	FILE *f = fopen(path, "rb");
	size_t n;

	if (!f)
		return err_errno(e, 1, errno, "%s", path);
	n = fread(buf, 1, sizeof(buf), f);
	fclose(f);
	g->enter = !strncmp(base, "real", 4) ? ENTER_REAL :
		   !strncmp(base, "prot", 4) ? ENTER_PROT : ENTER_LONG;
	put_tables(g->vm);
	if (!gm_write(g->vm->mem, GPA(g->enter == ENTER_REAL ? 0x7c00 : 0x10000), buf, n))
		return err_set(e, 1, "%s does not fit", path);
	return true;
}

static bool build(struct guest *g, const struct cpu_ops *ops, unsigned ncpus, struct err *e)
{
	struct device *ports;
	struct gm_block *ram;

	g->vm = vm_new(false, e);
	if (g->vm)
		g->vm->soft.verify = getenv("HV_VERIFY") != NULL;
	if (!g->vm || !vm_set_engine(g->vm, ops, ncpus, e))
		return false;
	ram = gm_block_new(g->vm->mem, "ram", GUEST_RAM, e);
	if (!ram || !gm_slot_add(g->vm->mem, GPA(0), GUEST_RAM, ram, 0, 0, e))
		return false;
	ports = device_create(g->vm, &ports_ops, "ports");
	((struct ports *)ports)->g = g;
	if (!device_realize(ports, e) || !guest_board(g->vm, e))
		return false;
	g->vm->reset_stops = true;
	g->vm->notify = on_event;
	g->vm->notify_opaque = g;
	g->vm->board_reset = on_reset;
	g->vm->board_opaque = g;
	return true;
}

static bool wait_done(struct guest *g, unsigned ms)
{
	struct timespec ts;
	int rc = 0;

	clock_gettime(CLOCK_REALTIME, &ts);
	ts.tv_sec += ms / 1000;
	ts.tv_nsec += (long)(ms % 1000) * 1000000;
	if (ts.tv_nsec >= 1000000000) {
		ts.tv_sec++;
		ts.tv_nsec -= 1000000000;
	}
	pthread_mutex_lock(&g->lock);
	while (!g->done && !rc)
		rc = pthread_cond_timedwait(&g->cond, &g->lock, &ts);
	rc = g->done;
	pthread_mutex_unlock(&g->lock);
	return rc;
}

static void collect(struct guest *g)
{
	struct guest_result *out = g->out;
	static uint8_t win[GUEST_RESULT_LEN];

	vm_pause(g->vm);
	g->vm->engine->get_state(g->vm->cpus[0], &out->state);
	HV_BUG_ON(!gm_read(g->vm->mem, GPA(GUEST_RESULT), win, sizeof(win)));
	memcpy(out->window, win, sizeof(out->window));
	out->hash = 0xcbf29ce484222325;
	for (size_t i = 0; i < sizeof(win); i++)
		out->hash = (out->hash ^ win[i]) * 0x100000001b3;
}

static void child(const struct cpu_ops *ops, const char *path, unsigned ncpus, unsigned ms,
		  struct guest_result *out)
{
	struct guest g = { .out = out, .lock = PTHREAD_MUTEX_INITIALIZER,
			   .cond = PTHREAD_COND_INITIALIZER };
	uint64_t start;
	struct err e = { 0 };

	if (!build(&g, ops, ncpus, &e) || !load(&g, path, &e) || !vm_start(g.vm, &e)) {
		snprintf(out->text, sizeof(out->text), "%s", e.msg);
		out->end = GUEST_NO_ENGINE;
		return;
	}
	start = host_now_ns();
	if (!wait_done(&g, ms))
		out->end = GUEST_TIMEOUT;
	out->seconds = (double)(host_now_ns() - start) / 1e9;
	if (out->end != GUEST_NO_ENGINE)
		collect(&g);
	vm_free(g.vm);
}

static void watch(pid_t pid, unsigned ms, struct guest_result *out)
{
	uint64_t end = host_now_ns() + (uint64_t)(ms + 3000) * 1000000;
	int status;

	while (waitpid(pid, &status, WNOHANG) == 0) {
		if (host_now_ns() < end) {
			nanosleep(&(struct timespec){ .tv_nsec = 2000000 }, NULL);
			continue;
		}
		kill(pid, SIGKILL);
		out->end = GUEST_STUCK;
		/* One that hangs in the kernel is left behind. */
		for (int i = 0; i < 500 && waitpid(pid, &status, WNOHANG) == 0; i++)
			nanosleep(&(struct timespec){ .tv_nsec = 2000000 }, NULL);
		return;
	}
	if (!WIFEXITED(status) || WEXITSTATUS(status)) {
		out->end = GUEST_FAIL;
		snprintf(out->text, sizeof(out->text), "the process ended with status %#x", status);
	}
}

void guest_run(const struct cpu_ops *ops, const char *path, unsigned ncpus, unsigned ms,
	       struct guest_result *out)
{
	struct guest_result *shared = mmap(NULL, sizeof(*shared), PROT_READ | PROT_WRITE,
					   MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	pid_t pid;

	HV_BUG_ON(shared == MAP_FAILED);
	shared->end = GUEST_TIMEOUT;
	fflush(NULL);
	pid = fork();
	if (!pid) {
		child(ops, path, ncpus, ms, shared);
		_exit(0);
	}
	HV_BUG_ON(pid < 0);
	watch(pid, ms, shared);
	*out = *shared;
	munmap(shared, sizeof(*shared));
}

const char *guest_end_name(enum guest_end end)
{
	static const char *const names[] = { "exit", "time limit", "stuck, killed", "triple fault",
					     "engine failure", "no engine" };

	return names[end];
}
