/* SPDX-License-Identifier: MIT */
/* Test harness; see testvm.h. */
#include "testvm.h"
#include <stdlib.h>

struct vm *tvm_new(uint64_t ram)
{
	struct err e = { 0 };
	struct vm *vm = vm_new(true, &e);
	struct gm_block *b;

	assert_non_null(vm);
	vm->soft.verify = getenv("HV_VERIFY") != NULL;	/* every test program in lockstep */
	if (!ram)
		return vm;
	b = gm_block_new(vm->mem, "ram", ram, &e);
	assert_non_null(b);
	assert_non_null(gm_slot_add(vm->mem, GPA(0), ram, b, 0, 0, &e));
	gm_set_ram_size(vm->mem, ram, ram);
	return vm;
}

void tvm_free(struct vm *vm)
{
	vm_free(vm);
}

struct device *tvm_add(struct vm *vm, const struct device_ops *ops, const char *id,
		       void (*setup)(struct device *d))
{
	struct device *d = device_create(vm, ops, id);
	struct err e = { 0 };

	if (setup)
		setup(d);
	if (!device_realize(d, &e))
		fail_msg("realize %s: %s", ops->name, e.msg);
	if (ops->reset)
		ops->reset(d);
	return d;
}

uint8_t tvm_inb(struct vm *vm, uint16_t port)
{
	return (uint8_t)bus_read(vm->bus, BUS_PIO, port, 1);
}

uint16_t tvm_inw(struct vm *vm, uint16_t port)
{
	return (uint16_t)bus_read(vm->bus, BUS_PIO, port, 2);
}

uint32_t tvm_inl(struct vm *vm, uint16_t port)
{
	return (uint32_t)bus_read(vm->bus, BUS_PIO, port, 4);
}

void tvm_outb(struct vm *vm, uint16_t port, uint8_t v)
{
	bus_write(vm->bus, BUS_PIO, port, 1, v);
}

void tvm_outw(struct vm *vm, uint16_t port, uint16_t v)
{
	bus_write(vm->bus, BUS_PIO, port, 2, v);
}

void tvm_outl(struct vm *vm, uint16_t port, uint32_t v)
{
	bus_write(vm->bus, BUS_PIO, port, 4, v);
}

uint32_t tvm_rd32(struct vm *vm, uint64_t addr)
{
	return (uint32_t)bus_read(vm->bus, BUS_MMIO, addr, 4);
}

void tvm_wr32(struct vm *vm, uint64_t addr, uint32_t v)
{
	bus_write(vm->bus, BUS_MMIO, addr, 4, v);
}

void tvm_advance(struct vm *vm, uint64_t ns)
{
	vm_lock(vm);
	vclock_advance(vm->clock, ns);
	vm_unlock(vm);
}

static void test_irq_set(void *sink, unsigned pin, bool level)
{
	struct test_irq *t = sink;

	if (level && !(t->level >> pin & 1))
		t->rises[pin]++;
	t->level = (t->level & ~(1u << pin)) | (uint32_t)level << pin;
}

struct irq_line test_irq_line(struct test_irq *t, unsigned pin)
{
	return (struct irq_line){ .set = test_irq_set, .sink = t, .pin = pin };
}

static struct state_buf save(struct device *d)
{
	struct state_buf b = { 0 };

	state_save_device(&b, d);
	return b;
}

static void assert_same(const struct device *d, struct state_buf *a, struct state_buf *b)
{
	static char text[2][20000];

	assert_int_equal(a->len, b->len);
	if (!memcmp(a->data, b->data, a->len))
		return;
	state_dump(d->ops->state, d, text[0], sizeof(text[0]));
	fail_msg("state of %s differs; it is now:\n%s", d->ops->name, text[0]);
}

#define TVM_RAM MiB(4)

void tvm_check_roundtrip(const struct device_ops *ops, void (*setup)(struct device *d),
			 void (*poke)(struct vm *vm, struct device *d))
{
	struct vm *a = tvm_new(TVM_RAM), *b = tvm_new(TVM_RAM);
	struct device *da = tvm_add(a, ops, "dut", setup), *db;
	struct state_buf one, two;
	struct err e = { 0 };
	size_t pos = 0;

	poke(a, da);
	one = save(da);
	db = tvm_add(b, ops, "dut", setup);
	if (!state_load_device(db, one.data, one.len, &pos, &e))
		fail_msg("load %s: %s", ops->name, e.msg);
	assert_int_equal(pos, one.len);
	two = save(db);
	assert_same(db, &one, &two);
	state_buf_free(&one);
	state_buf_free(&two);
	tvm_free(a);
	tvm_free(b);
}

void tvm_check_reset(const struct device_ops *ops, void (*setup)(struct device *d),
		     void (*poke)(struct vm *vm, struct device *d))
{
	struct vm *vm = tvm_new(TVM_RAM);
	struct device *d = tvm_add(vm, ops, "dut", setup);
	struct state_buf fresh = save(d), again;

	poke(vm, d);
	vm_lock(vm);
	ops->reset(d);
	vm_unlock(vm);
	again = save(d);
	assert_same(d, &fresh, &again);
	state_buf_free(&fresh);
	state_buf_free(&again);
	tvm_free(vm);
}
