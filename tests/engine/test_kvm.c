/* SPDX-License-Identifier: MIT */
/*
 * The KVM engine beyond what guest programs show: state exchange, memory
 * slots, dirty log, doorbells, kick, reset, the text of a failure.  Skips
 * where /dev/kvm is missing or refused.  A hang ends by SIGALRM.
 */
#include "../lib/testvm.h"
#include "../../src/cpu/vcpu.h"
#include "../../src/doorbell.h"
#include <stdio.h>
#include <sys/eventfd.h>
#include <unistd.h>

#define CODE 0x1000u
#define RAM MiB(1)
#define ROM_AT 0xd0000000u
#define PORT 0x510

struct machine {
	struct vm *vm;
	struct gm_block *ram, *rom;
	struct gm_slot *rom_slot;
	struct device *dev;
	pthread_mutex_t lock;
	pthread_cond_t cond;
	bool done;
	enum vm_event ev;
	uint8_t val;
	unsigned bell_writes;
};

struct port {
	struct device dev;
	struct io_region out, bell;
	struct machine *m;
};

static void signal_done(struct machine *m, enum vm_event ev, uint8_t val)
{
	pthread_mutex_lock(&m->lock);
	if (!m->done) {
		m->done = true;
		m->ev = ev;
		m->val = val;
		pthread_cond_signal(&m->cond);
	}
	pthread_mutex_unlock(&m->lock);
}

static uint64_t port_read(struct device *d, uint64_t off, unsigned size)
{
	return 0;
}

static void port_write(struct device *d, uint64_t off, unsigned size, uint64_t val)
{
	signal_done(((struct port *)d)->m, VM_EV_DEBUG_EXIT, (uint8_t)val);
}

static void bell_write(struct device *d, uint64_t off, unsigned size, uint64_t val)
{
	((struct port *)d)->m->bell_writes++;
}

static const struct io_ops port_io = { port_read, port_write, 1, 1 };
static const struct io_ops bell_io = { port_read, bell_write, 1, 4 };

static bool port_realize(struct device *d, struct err *e)
{
	struct port *p = (struct port *)d;

	p->out = (struct io_region){ .kind = BUS_PIO, .base = PORT, .len = 1, .ops = &port_io,
				     .dev = d, .name = "out" };
	p->bell = (struct io_region){ .kind = BUS_MMIO, .base = 0xc0000000, .len = 4096,
				      .ops = &bell_io, .dev = d, .name = "bell" };
	return dev_add_region(d, &p->out, e) && dev_add_region(d, &p->bell, e);
}

static const struct device_ops port_ops = {
	.name = "test-port", .size = sizeof(struct port), .realize = port_realize,
};

static void on_reset(void *opaque)
{
	struct machine *m = opaque;
	struct vcpu *v = m->vm->cpus[0];
	struct x86_state s;
	struct err e;

	v->ops->get_state(v, &s);
	for (int i = 0; i < SEG_NUM; i++)
		s.seg[i] = (struct x86_seg){ .limit = 0xffffffff, .attr = 0xc093, .sel = 16 };
	s.seg[SEG_CS].attr = 0xc09b;
	s.seg[SEG_CS].sel = 8;
	s.cr0 = 0x31;
	s.rip = CODE;
	s.gpr[R_RSP] = 0x8000;
	assert_true(v->ops->set_state(v, &s, &e));
}

static void on_event(void *opaque, enum vm_event ev, unsigned arg)
{
	if (ev != VM_EV_RESET)
		signal_done(opaque, ev, 0);
}

static bool have_kvm(void)
{
	struct err e;

	if (kvm_cpu_ops.probe(&e))
		return true;
	printf("skipped: kvm: %s\n", e.msg);
	return false;
}

static void machine_new(struct machine *m)
{
	struct err e = { 0 };

	if (!have_kvm())
		skip();
	alarm(20);
	memset(m, 0, sizeof(*m));
	pthread_mutex_init(&m->lock, NULL);
	pthread_cond_init(&m->cond, NULL);
	m->vm = vm_new(false, &e);
	m->ram = gm_block_new(m->vm->mem, "ram", RAM, &e);
	m->rom = gm_block_new(m->vm->mem, "rom", KiB(64), &e);
	/* One slot before the engine, one after. */
	assert_non_null(gm_slot_add(m->vm->mem, GPA(0), RAM, m->ram, 0, 0, &e));
	if (!vm_set_engine(m->vm, &kvm_cpu_ops, 1, &e))
		fail_msg("%s", e.msg);
	m->rom_slot = gm_slot_add(m->vm->mem, GPA(ROM_AT), KiB(16), m->rom, 0, GM_READONLY, &e);
	assert_non_null(m->rom_slot);
	m->dev = device_create(m->vm, &port_ops, "port");
	((struct port *)m->dev)->m = m;
	assert_true(device_realize(m->dev, &e));
	m->vm->board_reset = on_reset;
	m->vm->board_opaque = m;
	m->vm->notify = on_event;
	m->vm->notify_opaque = m;
}

static void machine_run(struct machine *m, const void *code, size_t len)
{
	struct err e = { 0 };

	assert_true(gm_block_write(m->ram, CODE, code, len));
	if (!vm_start(m->vm, &e))
		fail_msg("%s", e.msg);
}

static void machine_wait(struct machine *m)
{
	pthread_mutex_lock(&m->lock);
	while (!m->done)
		pthread_cond_wait(&m->cond, &m->lock);
	pthread_mutex_unlock(&m->lock);
}

static void machine_end(struct machine *m)
{
	vm_free(m->vm);
	alarm(0);
}

/* out %al, PORT; cli; hlt */
#define FINISH 0x66, 0xba, PORT & 0xff, PORT >> 8, 0xee, 0xfa, 0xf4

static void state_round_trip(void **state)
{
	struct machine m;
	struct x86_state a, b;
	struct err e = { 0 };
	struct vcpu *v;

	machine_new(&m);
	v = m.vm->cpus[0];
	v->ops->reset(v);
	v->ops->get_state(v, &a);
	assert_int_equal(a.seg[SEG_CS].base, 0xffff0000);
	assert_int_equal(a.rip, 0xfff0);
	assert_int_equal(a.mp_state, MP_RUNNABLE);
	assert_true(a.apic_base & 1 << 8);
	for (unsigned i = 0; i < 16; i++)
		a.gpr[i] = 0x0101010101010101ull * (i + 1);
	for (unsigned i = 0; i < 4; i++)
		a.dr[i] = 0x1000 * (i + 1);
	a.rflags = 0x8d7;
	a.rip = 0x1234;
	a.seg[SEG_FS] = (struct x86_seg){ .base = 0x12340, .limit = 0xfffff, .attr = 0x93,
					  .sel = 0x1234 };
	a.gdt = (struct x86_dtable){ .base = 0x5000, .limit = 0x7f };
	a.idt = (struct x86_dtable){ .base = 0x6000, .limit = 0x3ff };
	a.cr2 = 0xdeadbeef;
	a.lstar = 0xffffffff81000000;
	a.star = 0x23001000000000;
	a.sfmask = 0x47700;
	a.kernel_gs_base = 0xffff888000000000;
	a.sysenter_eip = 0xffffffff82000000;
	a.pat = 0x0407050600070106;
	a.nmi_blocked = 1;
	for (unsigned i = 0; i < 16; i++)		/* XMM0 */
		a.xsave[160 + i] = (uint8_t)(i * 7);
	a.xsave[512] |= 3;
	if (!v->ops->set_state(v, &a, &e))
		fail_msg("%s", e.msg);
	v->ops->get_state(v, &b);
	b.tsc = a.tsc;
	assert_memory_equal(a.gpr, b.gpr, sizeof(a.gpr));
	assert_int_equal(b.rflags, a.rflags);
	assert_memory_equal(a.seg, b.seg, sizeof(a.seg));
	assert_memory_equal(&a.gdt, &b.gdt, sizeof(a.gdt));
	assert_memory_equal(&a.idt, &b.idt, sizeof(a.idt));
	assert_memory_equal(a.dr, b.dr, 4 * 8);
	assert_int_equal(b.cr2, a.cr2);
	assert_int_equal(b.lstar, a.lstar);
	assert_int_equal(b.star, a.star);
	assert_int_equal(b.sfmask, a.sfmask);
	assert_int_equal(b.kernel_gs_base, a.kernel_gs_base);
	assert_int_equal(b.sysenter_eip, a.sysenter_eip);
	assert_int_equal(b.pat, a.pat);
	assert_int_equal(b.nmi_blocked, 1);
	assert_memory_equal(a.xsave + 160, b.xsave + 160, 16);
	/* and reset takes it all back */
	v->ops->reset(v);
	v->ops->get_state(v, &b);
	assert_int_equal(b.rip, 0xfff0);
	assert_int_equal(b.lstar, 0);
	assert_int_equal(b.rflags, 2);
	assert_int_equal(b.nmi_blocked, 0);
	assert_int_equal(b.seg[SEG_FS].base, 0);
	assert_int_equal(b.xsave[160 + 1], 0);
	machine_end(&m);
}

/* A guest write to ROM is dropped; its read sees what the host wrote. */
static void rom_is_readonly(void **state)
{
	static const uint8_t code[] = {
		0xc6, 0x05, 0x03, 0x00, 0x00, 0xd0, 0x55,	/* movb $0x55, ROM_AT+3 */
		0xa0, 0x03, 0x00, 0x00, 0xd0,			/* mov ROM_AT+3, %al */
		FINISH
	};
	struct machine m;

	machine_new(&m);
	assert_true(gm_block_write(m.rom, 3, "\x77", 1));
	machine_run(&m, code, sizeof(code));
	machine_wait(&m);
	assert_int_equal(m.ev, VM_EV_DEBUG_EXIT);
	assert_int_equal(m.val, 0x77);
	machine_end(&m);
}

/* Re-pointed while the guest runs, as PAM does: the guest sees the other page. */
static void slot_moves(void **state)
{
	static const uint8_t code[] = {
		0xa0, 0x03, 0x00, 0x00, 0xd0,			/* 1: mov ROM_AT+3, %al */
		0x3c, 0x99,					/* cmp $0x99, %al */
		0x75, 0xf7,					/* jne 1b */
		FINISH
	};
	struct machine m;

	machine_new(&m);
	assert_true(gm_block_write(m.rom, KiB(32) + 3, "\x99", 1));
	machine_run(&m, code, sizeof(code));
	vm_lock(m.vm);
	assert_true(gm_slot_set(m.vm->mem, m.rom_slot, GPA(ROM_AT), m.rom, KiB(32), 0));
	vm_unlock(m.vm);
	machine_wait(&m);
	assert_int_equal(m.val, 0x99);
	machine_end(&m);
}

static void dirty_log(void **state)
{
	static const uint8_t code[] = {
		0xc6, 0x05, 0x10, 0x20, 0x00, 0xd0, 0x55,	/* movb $0x55, ROM_AT+0x2010 */
		FINISH
	};
	struct machine m;
	uint64_t bits[1];

	machine_new(&m);
	assert_true(gm_slot_set(m.vm->mem, m.rom_slot, GPA(ROM_AT), m.rom, KiB(16), GM_DIRTY_LOG));
	vm_lock(m.vm);
	assert_true(gm_dirty_harvest(m.vm->mem, m.rom_slot, bits));	/* new: all of it */
	assert_int_equal(bits[0], 0xf);
	assert_false(gm_dirty_harvest(m.vm->mem, m.rom_slot, bits));
	vm_unlock(m.vm);
	machine_run(&m, code, sizeof(code));
	machine_wait(&m);
	vm_lock(m.vm);
	assert_true(gm_dirty_harvest(m.vm->mem, m.rom_slot, bits));
	assert_int_equal(bits[0], 1 << 2);
	assert_false(gm_dirty_harvest(m.vm->mem, m.rom_slot, bits));
	vm_unlock(m.vm);
	machine_end(&m);
}

static uint64_t take_event(int fd)
{
	uint64_t n = 0;

	return read(fd, &n, sizeof(n)) == sizeof(n) ? n : 0;
}

static void doorbells(void **state)
{
	static const uint8_t code[] = {
		0x66, 0xc7, 0x05, 0x40, 0x00, 0x00, 0xc0, 0x01, 0x00,	/* movw $1, bell+0x40 */
		0x66, 0xc7, 0x05, 0x40, 0x00, 0x00, 0xc0, 0x02, 0x00,	/* movw $2, bell+0x40 */
		0x66, 0xc7, 0x05, 0x40, 0x00, 0x00, 0xc0, 0x02, 0x00,
		0x66, 0xc7, 0x05, 0x44, 0x00, 0x00, 0xc0, 0x02, 0x00,	/* movw $2, bell+0x44 */
		FINISH
	};
	struct machine m;
	uint64_t match = 2;
	int fd, gone;

	machine_new(&m);
	fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
	gone = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
	assert_true(vm_doorbell_add(m.vm, BUS_MMIO, 0xc0000040, 2, fd, &match));
	assert_false(vm_doorbell_add(m.vm, BUS_MMIO, 0xc0000040, 2, fd, &match));	/* taken */
	assert_true(vm_doorbell_add(m.vm, BUS_MMIO, 0xc0000044, 2, gone, NULL));
	vm_doorbell_del(m.vm, BUS_MMIO, 0xc0000044, 2, gone, NULL);
	machine_run(&m, code, sizeof(code));
	machine_wait(&m);
	assert_int_equal(take_event(fd), 2);
	assert_int_equal(take_event(gone), 0);
	assert_int_equal(m.bell_writes, 2);	/* value 1, and the bell taken away */
	machine_end(&m);
	close(fd);
	close(gone);
}

/* A guest that never exits is brought to a stop, and resumes where it was. */
static void pause_spinning(void **state)
{
	static const uint8_t code[] = { 0x40, 0xeb, 0xfd };	/* 1: inc %eax; jmp 1b */
	struct machine m;
	struct x86_state a, b;

	machine_new(&m);
	machine_run(&m, code, sizeof(code));
	for (unsigned i = 0; i < 20; i++) {
		vm_pause(m.vm);
		m.vm->engine->get_state(m.vm->cpus[0], &a);
		m.vm->engine->get_state(m.vm->cpus[0], &b);
		assert_int_equal(a.gpr[R_RAX], b.gpr[R_RAX]);
		assert_in_range(a.rip, CODE, CODE + 1);
		vm_resume(m.vm);
	}
	machine_end(&m);
}

/* Reset through the control thread: the second pass starts from the entry state. */
static void reset_restarts(void **state)
{
	static const uint8_t code[] = {
		0xfe, 0x05, 0x00, 0x50, 0x00, 0x00,		/* incb 0x5000 */
		0x80, 0x3d, 0x00, 0x50, 0x00, 0x00, 0x02,	/* cmpb $2, 0x5000 */
		0x74, 0x04,					/* je 2f */
		0x66, 0x40,					/* inc %ax */
		0xeb, 0xfc,					/* jmp . - 2 */
		0x04, 0x31,					/* 2: add $0x31, %al */
		FINISH
	};
	struct machine m;
	uint8_t n = 0;

	machine_new(&m);
	machine_run(&m, code, sizeof(code));
	while (!n)
		assert_true(gm_block_read(m.ram, 0x5000, &n, 1));
	vm_request_reset(m.vm);
	machine_wait(&m);
	assert_int_equal(m.ev, VM_EV_DEBUG_EXIT);
	assert_int_equal(m.val, 0x31);
	machine_end(&m);
}

/* Code where no memory is: the text names the place and the way out. */
static void failure_text(void **state)
{
	static const uint8_t code[] = { 0xb8, 0x00, 0x00, 0x00, 0xe0, 0xff, 0xe0 };
	struct machine m;

	machine_new(&m);
	machine_run(&m, code, sizeof(code));
	machine_wait(&m);
	if (m.ev != VM_EV_ENGINE_FAIL) {
		/* This kernel feeds the fetch from the hole: no failure to look at. */
		machine_end(&m);
		skip();
	}
	assert_non_null(strstr(m.vm->fail, "RIP 0xe0000000"));
	assert_non_null(strstr(m.vm->fail, "--engine soft"));
	machine_end(&m);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(state_round_trip),
		cmocka_unit_test(rom_is_readonly),
		cmocka_unit_test(slot_moves),
		cmocka_unit_test(dirty_log),
		cmocka_unit_test(doorbells),
		cmocka_unit_test(pause_spinning),
		cmocka_unit_test(reset_restarts),
		cmocka_unit_test(failure_text),
	};

	return cmocka_run_group_tests_name("kvm", tests, NULL, NULL);
}
