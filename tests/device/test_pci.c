/* SPDX-License-Identifier: MIT */
/*
 * PCI through configuration mechanism #1: identity, BARs, INTx, MSI-X.
 * Sections: PCI Local Bus Specification 3.0.
 */
#include "../lib/testvm.h"
#include "../../devices/chipset.h"

#define DEVFN PCI_DEVFN(4, 0)

struct dummy {
	struct pci_dev pci;
	struct gm_block *vram;
	uint64_t last_off, last_val;
};

static const struct state_field dummy_state[] = {
	PCI_STATE(struct dummy, pci),
	STATE_END
};

static uint64_t dummy_read(struct device *d, uint64_t off, unsigned size)
{
	return 0x11223300 + off;
}

static void dummy_write(struct device *d, uint64_t off, unsigned size, uint64_t val)
{
	struct dummy *s = container_of(d, struct dummy, pci.dev);

	s->last_off = off;
	s->last_val = val;
}

static const struct io_ops dummy_io = {
	.read = dummy_read, .write = dummy_write, .min_size = 4, .max_size = 4,
};

static bool dummy_realize(struct device *d, struct err *e)
{
	static const struct pci_id id = { .vendor = 0x1234, .device = 0x5678,
		.class_code = 0x0280, .subsys_vendor = 0xaaaa, .subsys_id = 0xbbbb, .int_pin = 1 };
	struct dummy *s = container_of(d, struct dummy, pci.dev);

	pci_init(&s->pci, &id);
	s->vram = gm_block_new(d->vm->mem, "dummy", KiB(64), e);
	return pci_bar_io(&s->pci, 0, PCI_BAR_IO, 32, &dummy_io, e) &&
	       pci_bar_io(&s->pci, 1, PCI_BAR_MEM32, 4096, &dummy_io, e) &&
	       pci_bar_mem(&s->pci, 2, PCI_BAR_PREF64, s->vram, 0, e) &&
	       pci_msix_init(&s->pci, 3, 4, e);
}

static void dummy_reset(struct device *d)
{
	pci_reset(&container_of(d, struct dummy, pci.dev)->pci);
}

static bool dummy_post_load(struct device *d, struct err *e)
{
	return pci_post_load(&container_of(d, struct dummy, pci.dev)->pci, e);
}

static const struct device_ops dummy_ops = {
	.name = "dummy", .size = sizeof(struct dummy), .realize = dummy_realize,
	.reset = dummy_reset, .state = dummy_state, .state_version = 1,
	.post_load = dummy_post_load,
};

static struct vm *vm;
static struct dummy *dev;
static struct test_irq irqs;
static unsigned msis;
static uint64_t msi_addr;
static uint32_t msi_data;

/* Every instance gets a host bridge of its own in its machine. */
static void place(struct device *d)
{
	struct device *host = tvm_add(d->vm, &i440fx_ops, "host", NULL);

	pci_place(d, i440fx_bus(host), DEVFN);
}

static void msi_seen(void *opaque, uint64_t addr, uint32_t data)
{
	msis++;
	msi_addr = addr;
	msi_data = data;
}

static uint32_t cfg_rd(unsigned off, unsigned size)
{
	tvm_outl(vm, 0xcf8, 0x80000000u | DEVFN << 8 | (off & 0xfc));
	if (size == 4)
		return tvm_inl(vm, 0xcfc);
	return size == 2 ? tvm_inw(vm, 0xcfc + (off & 2)) : tvm_inb(vm, 0xcfc + (off & 3));
}

static void cfg_wr(unsigned off, unsigned size, uint32_t v)
{
	tvm_outl(vm, 0xcf8, 0x80000000u | DEVFN << 8 | (off & 0xfc));
	if (size == 4)
		tvm_outl(vm, 0xcfc, v);
	else if (size == 2)
		tvm_outw(vm, 0xcfc + (off & 2), v);
	else
		tvm_outb(vm, 0xcfc + (off & 3), v);
}

static int setup(void **st)
{
	struct irq_line l[4];

	vm = tvm_new(MiB(4));
	vm->msi = (struct msi_sink){ .send = msi_seen };
	dev = (struct dummy *)tvm_add(vm, &dummy_ops, "dut", place);
	memset(&irqs, 0, sizeof(irqs));
	msis = 0;
	for (unsigned i = 0; i < 4; i++)
		l[i] = test_irq_line(&irqs, i);
	pci_bus_set_intx(dev->pci.bus, l);
	return 0;
}

static int teardown(void **st)
{
	tvm_free(vm);
	return 0;
}

/* 3.2.2.3.2, 6.1: missing functions, other buses and a closed address read all-ones. */
static void test_mechanism(void **st)
{
	assert_int_equal(cfg_rd(0, 4), 0x56781234);
	assert_int_equal(cfg_rd(2, 2), 0x5678);
	assert_int_equal(cfg_rd(3, 1), 0x56);
	tvm_outl(vm, 0xcf8, 0x80000000u | PCI_DEVFN(9, 0) << 8);
	assert_int_equal(tvm_inl(vm, 0xcfc), 0xffffffff);
	tvm_outl(vm, 0xcf8, 0x80010000u | DEVFN << 8);
	assert_int_equal(tvm_inl(vm, 0xcfc), 0xffffffff);
	tvm_outl(vm, 0xcf8, DEVFN << 8);
	assert_int_equal(tvm_inl(vm, 0xcfc), 0xffffffff);
	/* Byte writes do not reach the address register; it reads back. */
	tvm_outl(vm, 0xcf8, 0x80000000u);
	tvm_outb(vm, 0xcf8, 0x44);
	assert_int_equal(tvm_inl(vm, 0xcf8), 0x80000000u);
}

/* 6.2: identity is read-only, status bits are write-one-to-clear. */
static void test_readonly(void **st)
{
	cfg_wr(0, 4, 0);
	cfg_wr(0x2c, 4, 0);
	cfg_wr(8, 4, 0xffffffff);
	assert_int_equal(cfg_rd(0, 4), 0x56781234);
	assert_int_equal(cfg_rd(0x2c, 4), 0xbbbbaaaa);
	assert_int_equal(cfg_rd(8, 4), 0x02800000);
	dev->pci.cfg[PCI_STATUS + 1] = 0x20;
	cfg_wr(PCI_STATUS, 2, 0x0000);
	assert_int_equal(cfg_rd(PCI_STATUS, 2) & 0x2000, 0x2000);
	cfg_wr(PCI_STATUS, 2, 0x2000);
	assert_int_equal(cfg_rd(PCI_STATUS, 2) & 0x2000, 0);
}

/* 6.2.5.1: sizing by all-ones. */
static void test_sizing(void **st)
{
	for (unsigned i = 0; i < 5; i++)
		cfg_wr(PCI_BAR0 + 4 * i, 4, 0xffffffff);
	assert_int_equal(cfg_rd(PCI_BAR0, 4), 0xffffffe1);
	assert_int_equal(cfg_rd(PCI_BAR0 + 4, 4), 0xfffff000);
	assert_int_equal(cfg_rd(PCI_BAR0 + 8, 4), 0xffff000c);
	assert_int_equal(cfg_rd(PCI_BAR0 + 12, 4), 0xffffffff);
	assert_int_equal(cfg_rd(PCI_BAR0 + 20, 4), 0);
}

static void test_io_bar(void **st)
{
	cfg_wr(PCI_BAR0, 4, 0xc000);
	assert_int_equal(tvm_inl(vm, 0xc004), 0xffffffff);
	cfg_wr(PCI_COMMAND, 2, PCI_CMD_IO);
	assert_int_equal(tvm_inl(vm, 0xc004), 0x11223304);
	tvm_outl(vm, 0xc008, 0xdead);
	assert_int_equal(dev->last_off, 8);
	assert_int_equal(dev->last_val, 0xdead);
	cfg_wr(PCI_BAR0, 4, 0xd000);
	assert_int_equal(tvm_inl(vm, 0xc004), 0xffffffff);
	assert_int_equal(tvm_inl(vm, 0xd004), 0x11223304);
	/* Over another device's ports it is not decoded; nothing else breaks. */
	cfg_wr(PCI_BAR0, 4, 0xce0);
	assert_int_equal(cfg_rd(0, 4), 0x56781234);
	cfg_wr(PCI_COMMAND, 2, 0);
	assert_int_equal(tvm_inl(vm, 0xd004), 0xffffffff);
}

static void test_mem_bars(void **st)
{
	uint32_t v = 0;

	cfg_wr(PCI_BAR0 + 4, 4, 0xe0000000);
	cfg_wr(PCI_BAR0 + 8, 4, 0);
	cfg_wr(PCI_BAR0 + 12, 4, 0x10);		/* 64 GiB */
	cfg_wr(PCI_COMMAND, 2, PCI_CMD_MEM);
	assert_int_equal(tvm_rd32(vm, 0xe0000010), 0x11223310);
	assert_true(gm_write_le32(vm->mem, GPA(GiB(64) + 8), 0x5aa5));
	assert_true(gm_block_read(dev->vram, 8, &v, 4));
	assert_int_equal(v, 0x5aa5);
	/* On top of RAM: refused, RAM stays. */
	cfg_wr(PCI_BAR0 + 12, 4, 0);
	cfg_wr(PCI_BAR0 + 8, 4, 0x100000);
	assert_true(gm_write_le32(vm->mem, GPA(0x100008), 1));
	assert_true(gm_block_read(dev->vram, 8, &v, 4));
	assert_int_equal(v, 0x5aa5);
}

/* 2.2.6, 6.2.2, 6.2.3: slot 4, INTA# is link (4 - 1) & 3 on a PC. */
static void test_intx(void **st)
{
	pci_set_irq(&dev->pci, true);
	assert_int_equal(irqs.level, 1u << 3);
	assert_int_equal(cfg_rd(PCI_STATUS, 2) & PCI_STATUS_INTX, PCI_STATUS_INTX);
	cfg_wr(PCI_COMMAND, 2, PCI_CMD_INTX_OFF);
	assert_int_equal(irqs.level, 0);
	assert_int_equal(cfg_rd(PCI_STATUS, 2) & PCI_STATUS_INTX, PCI_STATUS_INTX);
	cfg_wr(PCI_COMMAND, 2, 0);
	assert_int_equal(irqs.level, 1u << 3);
	pci_set_irq(&dev->pci, false);
	assert_int_equal(irqs.level, 0);
}

static void enable_msix(uint16_t ctrl)
{
	cfg_wr(PCI_BAR0 + 16, 4, 0xe0010000);
	cfg_wr(PCI_COMMAND, 2, PCI_CMD_MEM | PCI_CMD_MASTER);
	cfg_wr(dev->pci.msix.cap + 2, 2, ctrl);
}

/* 6.8.2, 6.8.3.4, 6.8.3.5 */
static void test_msix(void **st)
{
	uint8_t cap = cfg_rd(PCI_CAP_PTR, 1);

	assert_int_equal(cfg_rd(cap, 1), PCI_CAP_MSIX);
	assert_int_equal(cfg_rd(cap + 2, 2), 2);	/* table size - 1 */
	assert_int_equal(cfg_rd(cap + 4, 4), 4);	/* BAR 4, offset 0 */
	enable_msix(0x8000);
	assert_int_equal(tvm_rd32(vm, 0xe001000c), 1);	/* masked */
	tvm_wr32(vm, 0xe0010010, 0xfee01003);
	tvm_wr32(vm, 0xe0010018, 0x41);
	pci_msix_notify(&dev->pci, 1);
	assert_int_equal(msis, 0);
	assert_int_equal(tvm_rd32(vm, 0xe0010800), 2);	/* pending */
	tvm_wr32(vm, 0xe001001c, 0);			/* unmask: sent now */
	assert_int_equal(msis, 1);
	assert_int_equal(msi_addr, 0xfee01000);
	assert_int_equal(msi_data, 0x41);
	assert_int_equal(tvm_rd32(vm, 0xe0010800), 0);
	/* Function mask holds it back, too. */
	cfg_wr(cap + 2, 2, 0xc000);
	pci_msix_notify(&dev->pci, 1);
	assert_int_equal(msis, 1);
	cfg_wr(cap + 2, 2, 0x8000);
	assert_int_equal(msis, 2);
	/* INTx is silent while MSI-X is on; vectors out of range are ignored. */
	pci_set_irq(&dev->pci, true);
	assert_int_equal(irqs.level, 0);
	pci_msix_notify(&dev->pci, 3);
	pci_msix_notify(&dev->pci, 4000);
	assert_int_equal(msis, 2);
	/* Outside the table and the PBA there is nothing. */
	tvm_wr32(vm, 0xe0010800, 0xffffffff);
	assert_int_equal(tvm_rd32(vm, 0xe0010800), 0);
	assert_int_equal(tvm_rd32(vm, 0xe0010ffc), 0);
}

static void poke(struct vm *v, struct device *d)
{
	struct pci_dev *p = container_of(d, struct pci_dev, dev);

	vm = v;
	dev = (struct dummy *)d;
	p->bus = dev->pci.bus;
	cfg_wr(PCI_BAR0, 4, 0xc000);
	enable_msix(0x8000);
	cfg_wr(PCI_INT_LINE, 1, 11);
	tvm_wr32(v, 0xe0010010, 0xfee00000);
	pci_msix_notify(p, 0);
	pci_set_irq(p, true);
}

static void test_roundtrip(void **st)
{
	tvm_check_roundtrip(&dummy_ops, place, poke);
}

static void test_reset(void **st)
{
	tvm_check_reset(&dummy_ops, place, poke);
}

/* A saved function of another kind is refused. */
static void test_hostile(void **st)
{
	struct err e = { 0 };

	dev->pci.cfg[PCI_INT_PIN] = 9;
	assert_false(pci_post_load(&dev->pci, &e));
	dev->pci.cfg[PCI_INT_PIN] = 1;
	assert_true(pci_post_load(&dev->pci, &e));
}

#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(test_mechanism), T(test_readonly), T(test_sizing), T(test_io_bar),
		T(test_mem_bars), T(test_intx), T(test_msix), T(test_hostile),
		cmocka_unit_test(test_roundtrip), cmocka_unit_test(test_reset),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
