/* SPDX-License-Identifier: MIT */
/* I/O APIC through its window; sections of the 82093AA data sheet. */
#include "../../devices/ioapic.h"
#include "../lib/testvm.h"

static struct vm *vm;
static struct device *ioapic;
static unsigned sent, routed, last_gsi;
static uint64_t last_addr;
static uint32_t last_data;

static void send(void *opaque, uint64_t addr, uint32_t data)
{
	sent++;
	last_addr = addr;
	last_data = data;
}

static void route(void *opaque, unsigned gsi, uint64_t addr, uint32_t data, bool level)
{
	routed++;
	last_gsi = gsi;
}

static int inta(void *opaque) { return 0x55; }

static int setup(void **state)
{
	sent = routed = 0;
	vm = tvm_new(0);
	vm->msi = (struct msi_sink){ .send = send, .route = route };
	ioapic = tvm_add(vm, &ioapic_ops, "ioapic", NULL);
	return 0;
}

static int teardown(void **state)
{
	tvm_free(vm);
	return 0;
}

static void w(unsigned idx, uint32_t v)
{
	tvm_wr32(vm, IOAPIC_BASE, idx);
	tvm_wr32(vm, IOAPIC_BASE + 0x10, v);
}

static uint32_t r(unsigned idx)
{
	tvm_wr32(vm, IOAPIC_BASE, idx);
	return tvm_rd32(vm, IOAPIC_BASE + 0x10);
}

static void rte(unsigned pin, uint64_t v)
{
	w(0x11 + 2 * pin, (uint32_t)(v >> 32));
	w(0x10 + 2 * pin, (uint32_t)v);
}

static void line(unsigned pin, bool level)
{
	struct irq_line l = ioapic_line(ioapic, pin);

	vm_lock(vm);
	irq_set(&l, level);
	vm_unlock(vm);
}

/* 3.2: ID, version with 24 entries, all entries masked after reset. */
static void test_registers(void **state)
{
	assert_int_equal(r(1), 0x00170020);
	w(0, 0xffffffff);
	assert_int_equal(r(0), 0x0f000000);
	assert_int_equal(r(2), 0x0f000000);
	for (unsigned pin = 0; pin < 24; pin++)
		assert_int_equal(r(0x10 + 2 * pin), 0x10000);
	assert_int_equal(r(0x40), 0);
	w(0x40, 0xffffffff);
	w(0xff, 0xffffffff);
	rte(3, UINT64_MAX);			/* 12 and 14 read only, 17-55 reserved */
	assert_int_equal(r(0x16), 0x1afff);
	assert_int_equal(r(0x17), 0xff000000);
}

/* 3.2.4: an edge sends one message; fields as on the bus (SDM "MSI"). */
static void test_edge(void **state)
{
	rte(2, 5ull << 56 | 0x930);		/* lowest priority, logical, edge */
	line(2, true);
	assert_int_equal(sent, 1);
	assert_int_equal(last_addr, 0xfee0500c);
	assert_int_equal(last_data, 0x4130);
	line(2, true);
	assert_int_equal(sent, 1);
	line(2, false);
	line(2, true);
	assert_int_equal(sent, 2);
}

/* 3.2.4 bit 16: masked edges are not held pending. */
static void test_masked_edge(void **state)
{
	rte(4, 0x10041);
	line(4, true);
	rte(4, 0x41);
	assert_int_equal(sent, 0);
}

/* 3.2.4 bit 14: a level waits for the EOI of its vector, and sends again while asserted. */
static void test_level(void **state)
{
	rte(10, 0x1a061);			/* low active: lines carry assertion */
	line(10, true);
	assert_int_equal(sent, 0);
	rte(10, 0xa061);
	assert_int_equal(sent, 1);
	assert_int_equal(last_data, 0xc061);
	assert_int_equal(r(0x24), 0xe061);
	line(10, false);
	line(10, true);
	assert_int_equal(sent, 1);
	vm_lock(vm);
	vm->eoi(vm->eoi_opaque, 0x62);
	assert_int_equal(sent, 1);
	vm->eoi(vm->eoi_opaque, 0x61);
	vm_unlock(vm);
	assert_int_equal(sent, 2);
	line(10, false);
	tvm_wr32(vm, IOAPIC_BASE + 0x40, 0x61);	/* EOI register */
	assert_int_equal(sent, 2);
	assert_int_equal(r(0x24), 0xa061);
}

/* Guests for version 0x1x clear remote IRR by switching to edge and back. */
static void test_remote_irr_by_mode(void **state)
{
	rte(10, 0x8061);
	line(10, true);
	w(0x24, 0x10061);
	assert_int_equal(r(0x24), 0x10061);
	w(0x24, 0x8061);
	assert_int_equal(sent, 2);
}

/* 3.2.4 bits 10:8 = 111: the vector comes from the 8259. */
static void test_extint(void **state)
{
	vm->extint.inta = inta;
	rte(0, 0x700);
	line(0, true);
	assert_int_equal(last_data, 0x4055);
}

static void test_routes(void **state)
{
	routed = 0;
	rte(7, 0x33);
	assert_int_equal(routed, 2);
	assert_int_equal(last_gsi, 7);
}

static void poke(struct vm *v, struct device *d)
{
	vm = v;
	ioapic = d;
	w(0, 0x05000000);
	rte(3, 7ull << 56 | 0x8044);
	line(3, true);
	line(3, false);
	rte(9, 0x99);
}

static void test_roundtrip(void **state)
{
	tvm_check_roundtrip(&ioapic_ops, NULL, poke);
}

static void test_reset(void **state)
{
	tvm_check_reset(&ioapic_ops, NULL, poke);
}

#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(test_registers), T(test_edge), T(test_masked_edge), T(test_level),
		T(test_remote_irr_by_mode), T(test_extint), T(test_routes),
		cmocka_unit_test(test_roundtrip), cmocka_unit_test(test_reset),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
