/* SPDX-License-Identifier: MIT */
/*
 * i440FX (290549), PIIX3 (290550) and PIIX4 power management (290562)
 * through the bus.
 */
#include "../lib/testvm.h"
#include "../../devices/chipset.h"
#include "../../src/mem_cpu.h"

static struct vm *vm;
static struct device *host, *isa, *pm;
static struct test_irq irqs;
static struct gm_block *ram, *bios;

static void cfg_wr(uint8_t devfn, unsigned off, unsigned size, uint32_t v)
{
	tvm_outl(vm, 0xcf8, 0x80000000u | devfn << 8 | (off & 0xfc));
	if (size == 4)
		tvm_outl(vm, 0xcfc, v);
	else if (size == 2)
		tvm_outw(vm, 0xcfc + (off & 2), v);
	else
		tvm_outb(vm, 0xcfc + (off & 3), v);
}

static uint32_t cfg_rd(uint8_t devfn, unsigned off)
{
	tvm_outl(vm, 0xcf8, 0x80000000u | devfn << 8 | (off & 0xfc));
	return tvm_inl(vm, 0xcfc);
}

static void set_memory(struct device *d)
{
	struct err e = { 0 };

	ram = gm_block_new(d->vm->mem, "r", MiB(2), &e);
	bios = gm_block_new(d->vm->mem, "b", KiB(256), &e);
	assert_true(gm_block_write(bios, KiB(256) - 16, "\xea\x5b\xe0\x00\xf0", 5));
	assert_true(gm_block_write(bios, KiB(128), "LOW!", 4));
	i440fx_set_memory(d, ram, bios);
}

static void on_bus(struct device *d)
{
	struct device *h = device_find(d->vm, "i440fx", "host");

	if (!h)
		h = tvm_add(d->vm, &i440fx_ops, "host", NULL);
	pci_place(d, i440fx_bus(h), d->ops == &piix3_ops ? CHIPSET_PIIX3_DEVFN : CHIPSET_PM_DEVFN);
}

static void wire_isa(struct device *d)
{
	on_bus(d);
	for (unsigned i = 0; i < 16; i++)
		piix3_set_irq_out(d, i, test_irq_line(&irqs, i));
}

static struct test_irq smi;

static void wire_pm(struct device *d)
{
	on_bus(d);
	piix4_pm_set_smi(d, test_irq_line(&smi, 0));
	if (isa)
		piix4_pm_set_sci(d, piix3_sci_line(isa));
}

static int setup(void **st)
{
	struct irq_line l[4];

	memset(&irqs, 0, sizeof(irqs));
	vm = tvm_new(0);
	host = tvm_add(vm, &i440fx_ops, "host", set_memory);
	isa = tvm_add(vm, &piix3_ops, "isa", wire_isa);
	pm = tvm_add(vm, &piix4_pm_ops, "pm", wire_pm);
	for (unsigned i = 0; i < 4; i++)
		l[i] = piix3_pirq_line(isa, i);
	pci_bus_set_intx(i440fx_bus(host), l);
	return 0;
}

static int teardown(void **st)
{
	tvm_free(vm);
	isa = NULL;
	return 0;
}

/* ---- i440FX ---- */

static uint32_t peek(uint64_t at)
{
	uint32_t v = 0xffffffff;

	return gm_read_le32(vm->mem, GPA(at), &v) ? v : 0xffffffff;
}

/* 3.2.18: PAM0 bits 4-5 are F0000-FFFFF; PAM1 low nibble is C0000-C3FFF ... */
static void test_pam(void **st)
{
	static const uint32_t base[13] = { 0xf0000, 0xc0000, 0xc4000, 0xc8000, 0xcc000, 0xd0000,
		0xd4000, 0xd8000, 0xdc000, 0xe0000, 0xe4000, 0xe8000, 0xec000 };

	assert_int_equal(peek(0xffff0), 0xf000e05b << 8 | 0xea);	/* reset: ROM */
	assert_int_equal(peek(0xe0000), ld_le32("LOW!"));
	assert_int_equal(peek(0xc0000), 0xffffffff);			/* no ROM there */
	assert_false(gm_write_le32(vm->mem, GPA(0xf0000), 1));
	for (unsigned i = 0; i < 13; i++) {
		unsigned reg = 0x59 + (i + 1) / 2, shift = i & 1 ? 0 : 4;

		cfg_wr(0, reg, 1, 3u << shift);
		assert_true(gm_write_le32(vm->mem, GPA(base[i]), 0x1000 + i));
		assert_int_equal(peek(base[i]), 0x1000 + i);
		cfg_wr(0, reg, 1, 1u << shift);		/* read-only RAM */
		assert_int_equal(peek(base[i]), 0x1000 + i);
		assert_false(gm_write_le32(vm->mem, GPA(base[i]), 0));
		cfg_wr(0, reg, 1, 0);
		assert_int_not_equal(peek(base[i]), 0x1000 + i);
		bus_write(vm->bus, BUS_MMIO, base[i], 4, 0x2000 + i);	/* to the ROM */
		cfg_wr(0, reg, 1, 2u << shift);		/* reads from ROM, writes to RAM */
		assert_false(gm_write_le32(vm->mem, GPA(base[i]), 0));
		assert_int_not_equal(peek(base[i]), 0x1000 + i);
		bus_write(vm->bus, BUS_MMIO, base[i] + 4, 4, 0x3000 + i);
		cfg_wr(0, reg, 1, 1u << shift);
		assert_int_equal(peek(base[i]), 0x1000 + i);
		assert_int_equal(peek(base[i] + 4), 0x3000 + i);
		cfg_wr(0, reg, 1, 0);
	}
	assert_int_equal(bus_read(vm->bus, BUS_MMIO, 0xc0000, 4), 0xffffffff);
}

/* 3.2.21 */
static void test_smram(void **st)
{
	cfg_wr(0, 0x72, 1, 0x4a);		/* open, enabled */
	assert_true(gm_write_le32(vm->mem, GPA(0xa8000), 0x534d4d21));
	assert_int_equal(peek(0xa8000), 0x534d4d21);
	cfg_wr(0, 0x72, 1, 0x0a);
	assert_int_equal(peek(0xa8000), 0xffffffff);
	cfg_wr(0, 0x72, 1, 0x42);		/* open, not enabled */
	assert_int_equal(peek(0xa8000), 0xffffffff);
	cfg_wr(0, 0x72, 1, 0x4d);		/* the base cannot be changed */
	assert_int_equal(cfg_rd(0, 0x70) >> 16 & 0xff, 0x4a);
	assert_int_equal(peek(0xa8000), 0x534d4d21);
	cfg_wr(0, 0x72, 1, 0x5a);		/* lock: closes */
	assert_int_equal(cfg_rd(0, 0x70) >> 16 & 0xff, 0x1a);
	assert_int_equal(peek(0xa8000), 0xffffffff);
	cfg_wr(0, 0x72, 1, 0x4a);		/* for good */
	assert_int_equal(cfg_rd(0, 0x70) >> 16 & 0xff, 0x1a);
	devices_reset(vm);
	assert_int_equal(cfg_rd(0, 0x70) >> 16 & 0xff, 0x02);
	cfg_wr(0, 0x72, 1, 0x4a);
	assert_int_equal(peek(0xa8000), 0x534d4d21);	/* kept over resets, as all RAM */
}

/* A card's memory BAR does not get into the places that the host bridge may open. */
static void test_card_below_1m(void **st)
{
	struct gm_block *rom = gm_block_new(vm->mem, "rom", KiB(64), NULL);
	struct gm_slot *card = gm_slot_add(vm->mem, GPA(0), KiB(64), rom, 0, GM_DISABLED, NULL);

	cfg_wr(0, 0x5a, 1, 0);
	assert_false(gm_slot_set(vm->mem, card, GPA(0xc0000), rom, 0, GM_READONLY));
	cfg_wr(0, 0x5a, 1, 3);
	assert_true(gm_write_le32(vm->mem, GPA(0xc0000), 0x12345678));
	assert_int_equal(peek(0xc0000), 0x12345678);
	assert_false(gm_slot_set(vm->mem, card, GPA(0xa0000), rom, 0, GM_READONLY));
	cfg_wr(0, 0x72, 1, 0x4a);
	assert_true(gm_write_le32(vm->mem, GPA(0xa8000), 1));
	assert_true(gm_slot_set(vm->mem, card, GPA(GiB(1)), rom, 0, GM_READONLY));
}

static void test_identity(void **st)
{
	assert_int_equal(cfg_rd(0, 0), 0x12378086);
	assert_int_equal(cfg_rd(0, 0x2c), 0x11001af4);
	assert_int_equal(cfg_rd(CHIPSET_PIIX3_DEVFN, 0), 0x70008086);
	assert_int_equal(cfg_rd(CHIPSET_PIIX3_DEVFN, 0x0c) >> 16 & 0xff, 0x80);
	assert_int_equal(cfg_rd(CHIPSET_PM_DEVFN, 0), 0x71138086);
	assert_int_equal(cfg_rd(0, 0x70) >> 16 & 0xff, 0x02);	/* SMRAM, 3.2.20 */
	assert_int_equal(cfg_rd(CHIPSET_PIIX3_DEVFN, 0x60), 0x80808080);
}

/* PIIX3 2.4.1: a reset on the rising edge of bit 2. */
static void test_reset_control(void **st)
{
	tvm_outb(vm, 0xcf9, 0x02);
	assert_int_equal(vm->pending, 0);
	tvm_outb(vm, 0xcf9, 0x06);
	assert_int_not_equal(vm->pending, 0);
	vm->pending = 0;
	assert_int_equal(tvm_inb(vm, 0xcf9), 0x06);
	tvm_outb(vm, 0xcf9, 0x06);
	assert_int_equal(vm->pending, 0);
}

/* ---- PIIX3 ---- */

/* 2.2.10: a link goes where PIRQRC says, and nowhere while bit 7 is set. */
static void test_pirq(void **st)
{
	struct irq_line a = piix3_pirq_line(isa, 0), b = piix3_pirq_line(isa, 1);

	irq_set(&a, true);
	assert_int_equal(irqs.level, 0);
	cfg_wr(CHIPSET_PIIX3_DEVFN, 0x60, 1, 10);
	assert_int_equal(irqs.level, 1u << 10);
	cfg_wr(CHIPSET_PIIX3_DEVFN, 0x61, 1, 10);
	irq_set(&b, true);
	irq_set(&a, false);
	assert_int_equal(irqs.level, 1u << 10);		/* shared */
	cfg_wr(CHIPSET_PIIX3_DEVFN, 0x61, 1, 11);
	assert_int_equal(irqs.level, 1u << 11);
	cfg_wr(CHIPSET_PIIX3_DEVFN, 0x61, 1, 8);	/* reserved */
	assert_int_equal(irqs.level, 0);
	cfg_wr(CHIPSET_PIIX3_DEVFN, 0x61, 1, 0x8b);
	assert_int_equal(irqs.level, 0);
}

static void test_isa_shared(void **st)
{
	struct irq_line dev = piix3_isa_line(isa, 11), a = piix3_pirq_line(isa, 0);

	cfg_wr(CHIPSET_PIIX3_DEVFN, 0x60, 1, 11);
	irq_set(&dev, true);
	irq_set(&a, true);
	irq_set(&dev, false);
	assert_int_equal(irqs.level, 1u << 11);
	irq_set(&a, false);
	assert_int_equal(irqs.level, 0);
}

/* ---- PIIX4 PM ---- */

static void pm_on(void)
{
	cfg_wr(CHIPSET_PM_DEVFN, 0x40, 4, 0x601);
	cfg_wr(CHIPSET_PM_DEVFN, 0x80, 1, 1);
}

static void test_pm_decode(void **st)
{
	assert_int_equal(tvm_inl(vm, 0x608), 0xffffffff);
	pm_on();
	assert_int_equal(cfg_rd(CHIPSET_PM_DEVFN, 0x40), 0x601);
	assert_int_equal(tvm_inw(vm, 0x604), 0);
	cfg_wr(CHIPSET_PM_DEVFN, 0x80, 1, 0);
	assert_int_equal(tvm_inl(vm, 0x608), 0xffffffff);
}

/* 7.1.10, 7.2.11: an SMI for a write to B2h when APMC_EN and SMI_EN allow it. */
static void test_smi(void **st)
{
	pm_on();
	memset(&smi, 0, sizeof(smi));
	assert_int_equal(cfg_rd(CHIPSET_PM_DEVFN, 0x58) >> 25 & 1, 0);
	tvm_outl(vm, 0x628, 1);
	tvm_outb(vm, 0xb2, 0x11);
	assert_int_equal(smi.rises[0], 0);
	cfg_wr(CHIPSET_PM_DEVFN, 0x58, 4, 1u << 25);
	tvm_outl(vm, 0x628, 0);
	tvm_outb(vm, 0xb2, 0x12);
	assert_int_equal(smi.rises[0], 0);
	assert_int_equal(tvm_inw(vm, 0x618), 0x20);		/* APM_STS, even so */
	tvm_outw(vm, 0x618, 0x20);
	assert_int_equal(tvm_inw(vm, 0x618), 0);
	tvm_outl(vm, 0x628, 0x10001);
	assert_int_equal(tvm_inl(vm, 0x628), 0x10001);
	tvm_outb(vm, 0xb2, 0x13);
	assert_int_equal(smi.level, 1);
	assert_int_equal(tvm_inb(vm, 0xb2), 0x13);
	assert_int_equal(tvm_inw(vm, 0x618), 0x20);
	smi.level = 0;
	tvm_outb(vm, 0xb2, CHIPSET_ACPI_ENABLE);		/* done by the chipset */
	tvm_outb(vm, 0xb3, 0x14);
	assert_int_equal(smi.level, 0);
}

/* An engine without system management mode: firmware finds it set up. */
static void wire_no_smm(struct device *d)
{
	on_bus(d);
}

static void test_no_smm(void **st)
{
	tvm_free(vm);
	vm = tvm_new(0);
	host = tvm_add(vm, &i440fx_ops, "host", set_memory);
	pm = tvm_add(vm, &piix4_pm_ops, "pm", wire_no_smm);
	pm_on();
	assert_int_equal(cfg_rd(CHIPSET_PM_DEVFN, 0x58) >> 25 & 1, 1);
	cfg_wr(CHIPSET_PM_DEVFN, 0x58, 4, 0);
	assert_int_equal(cfg_rd(CHIPSET_PM_DEVFN, 0x58) >> 25 & 1, 1);
	tvm_outl(vm, 0x628, 1);
	tvm_outb(vm, 0xb2, 0x11);
}

/* 3.2.21: what a processor in system management mode sees behind the VGA window. */
static void test_smram_smm(void **st)
{
	struct gm_page pg;

	assert_false(gm_lookup_smm(vm->mem, 0xa8000, true, &pg));
	cfg_wr(0, 0x72, 1, 0x0a);
	assert_true(gm_lookup_smm(vm->mem, 0xa8000, true, &pg));
	assert_true(pg.block == ram && pg.block_off == 0xa8000);
	assert_true(gm_lookup_smm(vm->mem, 0xbfff0, false, &pg));
	assert_false(gm_lookup(vm->mem, 0xa8000, &pg));
	assert_false(gm_lookup_smm(vm->mem, 0x9fff0, false, &pg));
	cfg_wr(0, 0x72, 1, 0x2a);		/* D_CLS */
	assert_true(gm_lookup_smm(vm->mem, 0xa8000, true, &pg));
	assert_true(pg.code_only);
	assert_false(gm_lookup_smm(vm->mem, 0xa8000, false, &pg));
	cfg_wr(0, 0x72, 1, 0x1a);		/* locked: still there inside */
	cfg_wr(0, 0x72, 1, 0x02);
	assert_true(gm_lookup_smm(vm->mem, 0xa8000, true, &pg));
	devices_reset(vm);
	assert_false(gm_lookup_smm(vm->mem, 0xa8000, true, &pg));
}

/* ACPI 6.5, 4.8.2.1, 4.8.3.3: 3.579545 MHz, 24 bits. */
static void test_pm_timer(void **st)
{
	uint32_t t0, t1;

	pm_on();
	t0 = tvm_inl(vm, 0x608);
	tvm_advance(vm, NS_PER_SEC);
	t1 = tvm_inl(vm, 0x608);
	assert_in_range((t1 - t0) & 0xffffff, 3579544, 3579546);
	tvm_advance(vm, 10 * NS_PER_SEC);
	assert_int_equal(tvm_inl(vm, 0x608) >> 24, 0);
}

/* 4.8.3.1.1: TMR_STS when the top bit changes; the SCI needs TMR_EN and SCI_EN. */
static void test_pm_carry(void **st)
{
	pm_on();
	tvm_outw(vm, 0x602, 1);
	tvm_outb(vm, 0xb2, CHIPSET_ACPI_ENABLE);
	assert_int_equal(tvm_inw(vm, 0x604) & 1, 1);
	tvm_advance(vm, 2 * NS_PER_SEC);
	assert_int_equal(irqs.level, 0);
	tvm_advance(vm, NS_PER_SEC / 2);	/* 2^23 / 3.58 MHz = 2.34 s */
	assert_int_equal(irqs.level, 1u << 9);
	assert_int_equal(tvm_inw(vm, 0x600) & 1, 1);
	tvm_outw(vm, 0x600, 1);
	assert_int_equal(irqs.level, 0);
	assert_int_equal(irqs.rises[9], 1);
	tvm_advance(vm, 3 * NS_PER_SEC);
	assert_int_equal(irqs.rises[9], 2);
	tvm_outb(vm, 0xb2, CHIPSET_ACPI_DISABLE);
	assert_int_equal(tvm_inw(vm, 0x604) & 1, 0);
	assert_int_equal(irqs.level, 0);
}

static void test_power_button(void **st)
{
	pm_on();
	tvm_outb(vm, 0xb2, CHIPSET_ACPI_ENABLE);
	vm_power_button(vm);
	assert_int_equal(irqs.level, 0);
	assert_int_equal(tvm_inw(vm, 0x600) & 0x100, 0x100);
	tvm_outw(vm, 0x602, 0x100);
	assert_int_equal(irqs.level, 1u << 9);
	tvm_outb(vm, 0x601, 1);			/* byte access clears the same bit */
	assert_int_equal(irqs.level, 0);
}

/* 4.8.3.2.1: SLP_EN with the S5 type; SLP_EN reads as zero. */
static void test_soft_off(void **st)
{
	pm_on();
	tvm_outw(vm, 0x604, 2u << 10 | 0x2000);	/* another type: nothing happens */
	assert_int_equal(vm->pending, 0);
	tvm_outw(vm, 0x604, CHIPSET_S5_TYPE << 10 | 0x2000);
	assert_int_not_equal(vm->pending, 0);
	assert_int_equal(tvm_inw(vm, 0x604) & 0x2000, 0);
	vm->pending = 0;
}

static void reset_as(enum vm_reset_kind kind)
{
	vm_lock(vm);
	vm->reset_kind = kind;
	devices_reset(vm);
	vm->reset_kind = VM_RESET_COLD;
	vm_unlock(vm);
}

/* ACPI 6.5, 16.1.6 and 4.8.3.1: what lies in the resume well, and what wakes. */
static void test_sleep(void **st)
{
	struct irq_line rtc = piix4_pm_rtc_line(pm);
	unsigned sleep;

	pm_on();
	cfg_wr(0, 0x5a, 1, 0x33);
	tvm_outb(vm, 0xb2, CHIPSET_ACPI_ENABLE);
	tvm_outw(vm, 0x602, 0x500);
	irq_set(&rtc, true);			/* awake: nobody asked */
	irq_set(&rtc, false);
	assert_int_equal(tvm_inw(vm, 0x600) & 0x8400, 0);
	tvm_outw(vm, 0x604, CHIPSET_S3_TYPE << 10 | 0x2001);
	sleep = vm->pending;
	assert_int_not_equal(sleep, 0);
	vm->pending = 0;
	reset_as(VM_RESET_SLEEP);
	assert_int_equal(tvm_inw(vm, 0x602), 0x500);	/* still decoded, still enabled */
	assert_int_equal(tvm_inw(vm, 0x604), 0);
	irq_set(&rtc, true);
	assert_int_not_equal(vm->pending, 0);
	assert_int_not_equal(vm->pending, sleep);
	vm->pending = 0;
	reset_as(VM_RESET_WAKE);
	assert_int_equal(tvm_inw(vm, 0x600) & 0x8f00, 0x8400);	/* WAK, RTC */
	assert_int_equal(cfg_rd(0, 0x58) >> 16 & 0xff, 0x33);		/* the firmware's shadow */
	tvm_outw(vm, 0x600, 0xffff);
	assert_int_equal(tvm_inw(vm, 0x600) & 0x8f00, 0);
	irq_set(&rtc, false);
	irq_set(&rtc, true);			/* awake again */
	assert_int_equal(vm->pending, 0);
	reset_as(VM_RESET_COLD);
	assert_int_equal(cfg_rd(0, 0x58) >> 16 & 0xff, 0);
}

/* An event that is already there ends the sleep at once; the alarm only when enabled. */
static void test_sleep_races(void **st)
{
	struct irq_line rtc = piix4_pm_rtc_line(pm);
	unsigned both;

	pm_on();
	tvm_outw(vm, 0x602, 0x200);
	vm_sleep_button(vm);
	assert_int_equal(tvm_inw(vm, 0x600) & 0x8200, 0x200);
	tvm_outw(vm, 0x604, CHIPSET_S3_TYPE << 10 | 0x2000);
	both = vm->pending;
	assert_int_not_equal(both & (both - 1), 0);	/* to sleep, and to wake */
	reset_as(VM_RESET_SLEEP);
	reset_as(VM_RESET_WAKE);
	vm->pending = 0;
	tvm_outw(vm, 0x600, 0xffff);
	tvm_outw(vm, 0x604, CHIPSET_S3_TYPE << 10 | 0x2000);
	vm->pending = 0;
	reset_as(VM_RESET_SLEEP);
	irq_set(&rtc, true);
	assert_int_equal(vm->pending, 0);
	vm_power_button(vm);
	assert_int_not_equal(vm->pending, 0);
	assert_int_equal(tvm_inw(vm, 0x600) & 0x8100, 0x8100);
	vm->pending = 0;
}

/* ---- Generic ---- */

static void poke_host(struct vm *v, struct device *d)
{
	vm = v;
	cfg_wr(0, 0x5a, 1, 0x33);
	cfg_wr(0, 0x72, 1, 0x48);
	tvm_outb(v, 0xcf9, 2);
}

static void poke_isa(struct vm *v, struct device *d)
{
	struct irq_line l = piix3_pirq_line(d, 2), k = piix3_isa_line(d, 4);

	vm = v;
	cfg_wr(CHIPSET_PIIX3_DEVFN, 0x62, 1, 5);
	irq_set(&l, true);
	irq_set(&k, true);
	irq_set(&l, false);
	irq_set(&k, false);
}

static void poke_pm(struct vm *v, struct device *d)
{
	vm = v;
	pm_on();
	tvm_outw(v, 0x602, 0x121);
	tvm_outb(v, 0xb2, CHIPSET_ACPI_ENABLE);
	tvm_outb(v, 0xb3, 0x77);
	tvm_outw(v, 0x60e, 0x8001);
	v->power_button(v->power_button_opaque);
	tvm_outw(v, 0x604, CHIPSET_S3_TYPE << 10 | 0x2000);
	v->pending = 0;
}

static void test_generic(void **st)
{
	isa = NULL;
	tvm_check_roundtrip(&i440fx_ops, NULL, poke_host);
	tvm_check_reset(&i440fx_ops, NULL, poke_host);
	tvm_check_reset(&piix3_ops, wire_isa, poke_isa);
	tvm_check_roundtrip(&piix3_ops, wire_isa, poke_isa);
	tvm_check_reset(&piix4_pm_ops, wire_pm, poke_pm);
	tvm_check_roundtrip(&piix4_pm_ops, wire_pm, poke_pm);
}

#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(test_pam), T(test_smram), T(test_card_below_1m),
		T(test_identity), T(test_reset_control), T(test_pirq),
		T(test_isa_shared), T(test_pm_decode), T(test_smi), T(test_no_smm),
		T(test_smram_smm), T(test_pm_timer), T(test_pm_carry),
		T(test_power_button), T(test_soft_off),
		T(test_sleep), T(test_sleep_races), cmocka_unit_test(test_generic),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
