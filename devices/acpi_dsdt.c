/* SPDX-License-Identifier: MIT */
/*
 * The DSDT of the board (ACPI 6.5 ch. 5.2.11.1, 6 and 19): PCI root with its
 * interrupt links, ISA devices, CPUs, sleep states; encoded by aml.c.
 */
#include "acpi_int.h"
#include "chipset.h"
#include "hpet.h"
#include "pvpanic.h"
#include "vmgenid.h"
#include <stdio.h>

#define PCI_HOLE_END 0xfebfffffu
#define PCI_HIGH_END (GiB(1024) - 1)	/* UEFI firmware uses the top of 40 bits */

static void dsdt_io_windows(struct aml *a)
{
	static const struct { uint16_t min, max; } io[] = { { 0, 0xcf7 }, { 0xd00, 0xffff } };

	for (unsigned i = 0; i < ARRAY_SIZE(io); i++)
		aml_res_window(a, 1, 2, io[i].min, io[i].max);
}

static void dsdt_pci_crs(struct aml *a, const struct acpi_config *cfg)
{
	uint64_t high = MAX(cfg->ram - cfg->ram_below_4g, 0) + GiB(4);
	uint64_t low = cfg->ram_below_4g <= GiB(2) ? GiB(2) : cfg->ram_below_4g;
	size_t r;

	aml_name(a, "_CRS");
	r = aml_res_begin(a);
	aml_res_window(a, 2, 2, 0, 0);
	aml_res_io(a, 0xcf8, 8);
	dsdt_io_windows(a);
	aml_res_window(a, 0, 4, 0xa0000, 0xbffff);
	aml_res_window(a, 0, 4, low, PCI_HOLE_END);
	high = (high + GiB(1) - 1) & ~(GiB(1) - 1);
	aml_res_window(a, 0, 8, high, PCI_HIGH_END);
	aml_res_end(a, r);
}

/* 6.2.13: every slot and pin to one of the four links. */
static void dsdt_prt(struct aml *a)
{
	size_t outer, inner;

	aml_name(a, "_PRT");
	outer = aml_package(a, 31 * 4);
	for (unsigned slot = 1; slot < 32; slot++) {
		for (unsigned pin = 0; pin < 4; pin++) {
			char link[] = "\\_SB.LNKA";

			link[8] += pci_intx_link(slot, pin + 1);
			inner = aml_package(a, 4);
			aml_int(a, (uint64_t)slot << 16 | 0xffff);
			aml_int(a, pin);
			aml_path(a, link);
			aml_int(a, 0);
			aml_end(a, inner);
		}
	}
	aml_end(a, outer);
}

/* Methods of one interrupt link over its PIRQRC register PRQn (6.2.1, 6.2.2, 6.2.16, 6.2.17). */
static void link_methods(struct aml *a, const char *prq)
{
	size_t m, s;

	m = aml_method(a, "_STA", 0, false);
	aml_byte(a, 0xa0);			/* If (PRQn & 0x80) */
	s = aml_begin(a);
	aml_byte(a, 0x7b), aml_path(a, prq), aml_int(a, 0x80), aml_byte(a, 0);
	aml_byte(a, 0xa4), aml_int(a, 0x09);	/* Return (present, not enabled) */
	aml_end(a, s);
	aml_byte(a, 0xa4), aml_int(a, 0x0b);
	aml_end(a, m);

	m = aml_method(a, "_DIS", 0, false);	/* PRQn |= 0x80 */
	aml_byte(a, 0x7d), aml_path(a, prq), aml_int(a, 0x80), aml_path(a, prq);
	aml_end(a, m);

	m = aml_method(a, "_CRS", 0, true);
	aml_name(a, "CRS0");
	s = aml_res_begin(a);
	aml_res_interrupts(a, &(uint32_t){ 0 }, 1);
	aml_res_end(a, s);
	aml_byte(a, 0x8a), aml_path(a, "CRS0"), aml_int(a, 5), aml_path(a, "IRQN");
	aml_byte(a, 0xa0);			/* If (PRQn < 0x80) IRQN = PRQn */
	s = aml_begin(a);
	aml_byte(a, 0x95), aml_path(a, prq), aml_int(a, 0x80);
	aml_byte(a, 0x70), aml_path(a, prq), aml_path(a, "IRQN");
	aml_end(a, s);
	aml_byte(a, 0xa4), aml_path(a, "CRS0");
	aml_end(a, m);

	m = aml_method(a, "_SRS", 1, true);	/* PRQn = the interrupt in Arg0 */
	aml_byte(a, 0x8a), aml_byte(a, 0x68), aml_int(a, 5), aml_path(a, "IRQN");
	aml_byte(a, 0x70), aml_path(a, "IRQN"), aml_path(a, prq);
	aml_end(a, m);
}

static void dsdt_links(struct aml *a)
{
	static const uint32_t possible[] = { 5, 10, 11 };
	size_t f = (aml_op2(a, "\x5b\x81"), aml_begin(a)), d, r;

	aml_path(a, "PCI0.ISA_.P40C");
	aml_byte(a, 0x01);		/* byte access, no lock, preserve */
	for (unsigned i = 0; i < 4; i++) {
		aml_path(a, (const char *[]){ "PRQ0", "PRQ1", "PRQ2", "PRQ3" }[i]);
		aml_byte(a, 8);		/* bits */
	}
	aml_end(a, f);
	for (unsigned i = 0; i < 4; i++) {
		char name[] = "LNKA", prq[] = "PRQ0";

		name[3] += i;
		prq[3] += i;
		d = aml_device(a, name);
		aml_name_eisaid(a, "_HID", "PNP0C0F");
		aml_name_int(a, "_UID", i + 1);
		aml_name(a, "_PRS");
		r = aml_res_begin(a);
		aml_res_interrupts(a, possible, ARRAY_SIZE(possible));
		aml_res_end(a, r);
		link_methods(a, prq);
		aml_end(a, d);
	}
}

struct isa_row {
	char name[5];
	char hid[8];
	uint8_t uid;
	int8_t irq;
	struct { uint16_t base; uint8_t len; } io[2];
	int8_t com;		/* COM index + 1: only when that port exists; 5: LPT1 */
};

static const struct isa_row isa_rows[] = {
	{ "KBD_", "PNP0303", 0, 1, { { 0x60, 1 }, { 0x64, 1 } }, 0 },
	{ "MOU_", "PNP0F13", 0, 12, { { 0, 0 } }, 0 },
	{ "RTC_", "PNP0B00", 0, 8, { { 0x70, 8 } }, 0 },
	{ "COM1", "PNP0501", 1, 4, { { 0x3f8, 8 } }, 1 },
	{ "COM2", "PNP0501", 2, 3, { { 0x2f8, 8 } }, 2 },
	{ "COM3", "PNP0501", 3, 4, { { 0x3e8, 8 } }, 3 },
	{ "COM4", "PNP0501", 4, 3, { { 0x2e8, 8 } }, 4 },
	{ "LPT1", "PNP0400", 1, 7, { { 0x378, 8 } }, 5 },
};

static void dsdt_isa_row(struct aml *a, const struct isa_row *row)
{
	size_t d = aml_device(a, row->name), r;

	aml_name_eisaid(a, "_HID", row->hid);
	if (row->uid)
		aml_name_int(a, "_UID", row->uid);
	aml_name(a, "_CRS");
	r = aml_res_begin(a);
	for (unsigned i = 0; i < ARRAY_SIZE(row->io); i++)
		if (row->io[i].len)
			aml_res_io(a, row->io[i].base, row->io[i].len);
	aml_res_irq(a, row->irq);
	aml_res_end(a, r);
	aml_end(a, d);
}

/* The 8237 pair with its page registers; channel 4 is the cascade. */
static void dsdt_dma(struct aml *a)
{
	static const struct { uint16_t base; uint8_t len; } io[] = {
		{ 0x00, 16 }, { 0x81, 3 }, { 0x87, 1 }, { 0x89, 3 }, { 0x8f, 1 }, { 0xc0, 32 },
	};
	size_t d = aml_device(a, "DMAC"), r;

	aml_name_eisaid(a, "_HID", "PNP0200");
	aml_name(a, "_CRS");
	r = aml_res_begin(a);
	for (unsigned i = 0; i < ARRAY_SIZE(io); i++)
		aml_res_io(a, io[i].base, io[i].len);
	aml_res_dma(a, 4);
	aml_res_end(a, r);
	aml_end(a, d);
}

/* _FDI (9.9.2): type, geometry and the parameters of int 13h for the drive's densest disk. */
static void dsdt_floppy_drive(struct aml *a, unsigned n, uint8_t type)
{
	static const struct { uint8_t max_cyl, spt, gap, gap_fmt; } geo[6] = {
		{ 0 }, { 39, 9, 0x2a, 0x50 }, { 79, 15, 0x1b, 0x54 }, { 79, 9, 0x2a, 0x50 },
		{ 79, 18, 0x1b, 0x6c }, { 79, 36, 0x1b, 0x54 },
	};
	const uint16_t row[16] = { n, type, geo[type].max_cyl, geo[type].spt, 1, 0xaf, 2, 0x25, 2,
				   geo[type].spt, geo[type].gap, 0xff, geo[type].gap_fmt, 0xf6,
				   0x0f, 8 };
	char name[] = "FLP0";
	size_t d, p;

	name[3] += n;
	d = aml_device(a, name);
	aml_name_int(a, "_ADR", n);
	aml_name(a, "_FDI");
	p = aml_package(a, ARRAY_SIZE(row));
	for (unsigned i = 0; i < ARRAY_SIZE(row); i++)
		aml_int(a, row[i]);
	aml_end(a, p);
	aml_end(a, d);
}

static void dsdt_floppy(struct aml *a, uint8_t types)
{
	uint8_t fde[20] = { [0] = types >> 4 != 0, [4] = (types & 15) != 0, [16] = 2 };
	size_t d, r;

	if (!types)
		return;
	d = aml_device(a, "FDC0");
	aml_name_eisaid(a, "_HID", "PNP0700");
	aml_name(a, "_CRS");
	r = aml_res_begin(a);
	aml_res_io(a, 0x3f2, 4);
	aml_res_io(a, 0x3f7, 1);
	aml_res_irq(a, 6);
	aml_res_dma(a, 2);
	aml_res_end(a, r);
	aml_name(a, "_FDE");
	aml_buffer(a, fde, sizeof(fde));
	for (unsigned n = 0; n < 2; n++)
		if (types >> (4 - 4 * n) & 15)
			dsdt_floppy_drive(a, n, MIN(types >> (4 - 4 * n) & 15, 5));
	aml_end(a, d);
}

static void dsdt_pvpanic(struct aml *a)
{
	size_t d = aml_device(a, "PEVT"), r;

	aml_name(a, "_HID");
	aml_string(a, "QEMU0001");	/* the id that drivers look for */
	aml_name(a, "_CRS");
	r = aml_res_begin(a);
	aml_res_io(a, PVPANIC_PORT, 1);
	aml_res_end(a, r);
	aml_name_int(a, "_STA", 0x0f);
	aml_end(a, d);
}

static void dsdt_isa(struct aml *a, const struct acpi_config *cfg)
{
	uint8_t ports = (cfg->com_ports & 15) | cfg->parallel << 4;
	size_t d = aml_device(a, "ISA_");

	aml_name_int(a, "_ADR", 0x00010000);
	aml_op2(a, "\x5b\x80");			/* OperationRegion (P40C, PCI_Config, 0x60, 4) */
	aml_path(a, "P40C");
	aml_byte(a, 2);
	aml_int(a, 0x60);
	aml_int(a, 4);
	for (unsigned i = 0; i < ARRAY_SIZE(isa_rows); i++)
		if (!isa_rows[i].com || ports >> (isa_rows[i].com - 1) & 1)
			dsdt_isa_row(a, &isa_rows[i]);
	dsdt_dma(a);
	dsdt_floppy(a, cfg->floppy_types);
	dsdt_pvpanic(a);
	aml_end(a, d);
}

static void dsdt_hpet(struct aml *a)
{
	size_t d = aml_device(a, "HPET"), r;

	aml_name_eisaid(a, "_HID", "PNP0103");
	aml_name_int(a, "_UID", 0);
	aml_name(a, "_CRS");
	r = aml_res_begin(a);
	aml_res_memory(a, HPET_BASE, 0x400);
	aml_res_end(a, r);
	aml_end(a, d);
}

/* The ID's address as (low, high), and its event. */
static void dsdt_vmgenid(struct aml *a)
{
	size_t d = aml_device(a, "VGEN"), p;

	aml_name(a, "_HID");
	aml_string(a, "HVRN0001");
	aml_name(a, "_CID");
	aml_string(a, "VM_Gen_Counter");
	aml_name(a, "_DDN");
	aml_string(a, "VM_Gen_Counter");
	aml_name(a, "ADDR");
	p = aml_package(a, 2);
	aml_int(a, VMGENID_ADDR);
	aml_int(a, 0);
	aml_end(a, p);
	aml_end(a, d);
}

static void gpe_vmgenid(struct aml *a)
{
	size_t s = aml_scope(a, "\\_GPE"), m = aml_method(a, "_E05", 0, false);

	_Static_assert(VMGENID_GPE == 5, "the method's name has the number");
	aml_byte(a, 0x86);			/* Notify (VGEN, 0x80) */
	aml_path(a, "\\_SB.VGEN");
	aml_int(a, 0x80);
	aml_end(a, m);
	aml_end(a, s);
}

static void dsdt_cpus(struct aml *a, unsigned n)
{
	for (unsigned i = 0; i < n; i++) {
		char name[8];
		size_t d;

		snprintf(name, sizeof(name), "C%03X", i & 0xfff);
		d = aml_device(a, name);
		aml_name(a, "_HID");
		aml_string(a, "ACPI0007");
		aml_name_int(a, "_UID", i);
		aml_end(a, d);
	}
}

/* 7.4.2: SLP_TYP for PM1a and PM1b */
static void dsdt_sleep_state(struct aml *a, const char *name, unsigned type)
{
	size_t p;

	aml_name(a, name);
	p = aml_package(a, 4);
	for (unsigned i = 0; i < 4; i++)
		aml_int(a, i < 2 ? type : 0);
	aml_end(a, p);
}

void acpi_build_dsdt(struct aml *a, const struct acpi_config *cfg, struct acpi_tables *t)
{
	size_t at = acpi_table_begin(a, "DSDT", 2), sb, d;

	sb = aml_scope(a, "\\_SB_");
	d = aml_device(a, "PCI0");
	aml_name_eisaid(a, "_HID", "PNP0A03");
	aml_name_int(a, "_UID", 0);
	aml_name_int(a, "_ADR", 0);
	dsdt_pci_crs(a, cfg);
	dsdt_prt(a);
	dsdt_isa(a, cfg);
	aml_end(a, d);
	dsdt_links(a);
	if (cfg->hpet)
		dsdt_hpet(a);
	if (cfg->vmgenid)
		dsdt_vmgenid(a);
	dsdt_cpus(a, cfg->ncpus);
	aml_end(a, sb);
	if (cfg->vmgenid)
		gpe_vmgenid(a);
	dsdt_sleep_state(a, "\\_S3_", CHIPSET_S3_TYPE);
	dsdt_sleep_state(a, "\\_S5_", CHIPSET_S5_TYPE);
	acpi_table_end(a, t, at);
}
