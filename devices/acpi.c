/* SPDX-License-Identifier: MIT */
/*
 * ACPI tables of the board (ACPI 6.5): RSDP, RSDT, XSDT, FADT (revision 3),
 * FACS, MADT, WAET, HPET and a DSDT made by the encoder in aml.c.
 *
 * Pointers and checksums are kept as a list of fix-ups: firmware gets them as
 * its loader script, direct boot applies them here.
 *
 * Left out: S1, S2, S4, MCFG (there is no ECAM on an i440FX), NUMA, GPEs
 * with handlers (no hot-plug).
 */
#include "acpi.h"
#include "aml.h"
#include "chipset.h"
#include "fwcfg.h"
#include "hpet.h"
#include "vmgenid.h"
#include "pvpanic.h"
#include <stdio.h>
#include <stdlib.h>

#define HDR_LEN 36
#define LAPIC_ADDR 0xfee00000u
#define IOAPIC_ADDR 0xfec00000u
#define PCI_HOLE_END 0xfebfffffu
#define PCI_HIGH_END (GiB(1024) - 1)	/* UEFI firmware uses the top of 40 bits */

/* ---- Fix-ups and table framing ---- */

static void fix(struct acpi_tables *t, struct acpi_fixup f)
{
	HV_BUG_ON(t->nfix == ACPI_MAX_FIXUPS);
	t->fix[t->nfix++] = f;
}

static void fix_pointer(struct acpi_tables *t, bool in_rsdp, uint32_t at, uint32_t size)
{
	fix(t, (struct acpi_fixup){ ACPI_FIX_POINTER, in_rsdp, at, size, 0, 0 });
}

static void fix_checksum(struct acpi_tables *t, bool in_rsdp, uint32_t at, uint32_t start,
			 uint32_t len)
{
	fix(t, (struct acpi_fixup){ ACPI_FIX_CHECKSUM, in_rsdp, at, 0, start, len });
}

static void pad_to(struct aml *a, size_t align)
{
	while (a->len % align)
		aml_byte(a, 0);
}

/* 5.2.6 */
static size_t table_begin(struct aml *a, const char *sig, uint8_t rev)
{
	size_t at;

	pad_to(a, 16);
	at = a->len;
	aml_bytes(a, sig, 4);
	aml_le(a, 0, 4);	/* length */
	aml_byte(a, rev);
	aml_byte(a, 0);		/* checksum */
	aml_bytes(a, "HVRUN ", 6);
	aml_bytes(a, "HVRUNPC ", 8);
	aml_le(a, 1, 4);
	aml_bytes(a, "HVR ", 4);
	aml_le(a, 1, 4);
	return at;
}

static void table_end(struct aml *a, struct acpi_tables *t, size_t at)
{
	st_le32(a->buf + at + 4, a->len - at);
	fix_checksum(t, false, at + 9, at, a->len - at);
}

/* ---- DSDT ---- */

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

static void build_dsdt(struct aml *a, const struct acpi_config *cfg, struct acpi_tables *t)
{
	size_t at = table_begin(a, "DSDT", 2), sb, d;

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
	table_end(a, t, at);
}

/* ---- Fixed tables ---- */

/* 5.2.10: alone at a 64-byte boundary, without checksum */
static size_t build_facs(struct aml *a)
{
	size_t at;

	pad_to(a, 64);
	at = a->len;
	aml_bytes(a, "FACS", 4);
	aml_le(a, 64, 4);
	for (unsigned i = 8; i < 64; i++)
		aml_byte(a, i == 32 ? 1 : 0);	/* version 1 */
	return at;
}

static void gas(uint8_t *p, uint8_t bits, uint8_t access, uint64_t addr)
{
	p[0] = 1;	/* system I/O */
	p[1] = bits;
	p[3] = access;
	st_le64(p + 4, addr);
}

/* PM1a event, control, timer, GPE0; by port and as generic addresses. */
static void fadt_pm(uint8_t *f, uint32_t pm)
{
	st_le32(f + 56, pm);
	st_le32(f + 64, pm + 4);
	st_le32(f + 76, pm + 8);
	st_le32(f + 80, pm + 12);
	gas(f + 148, 32, 2, pm);
	gas(f + 172, 16, 2, pm + 4);
	gas(f + 208, 32, 3, pm + 8);
	gas(f + 220, 32, 1, pm + 12);
}

void acpi_set_pm_base(const struct acpi_tables *t, uint8_t *data, uint16_t pm)
{
	fadt_pm(data + t->fadt, pm);
}

/* 5.2.9, revision 3 */
static size_t build_fadt(struct aml *a, const struct acpi_config *cfg, struct acpi_tables *t,
			 uint32_t facs, uint32_t dsdt)
{
	size_t at = table_begin(a, "FACP", 3);
	uint8_t f[244] = { 0 };

	st_le32(f + 36, facs);
	st_le32(f + 40, dsdt);
	st_le16(f + 46, CHIPSET_SCI_IRQ);
	st_le32(f + 48, 0xb2);
	f[52] = CHIPSET_ACPI_ENABLE;
	f[53] = CHIPSET_ACPI_DISABLE;
	f[88] = 4, f[89] = 2, f[91] = 4, f[92] = 4;
	st_le16(f + 96, 0xfff);			/* no C2 */
	st_le16(f + 98, 0xfff);			/* no C3 */
	f[108] = 0x32;				/* RTC century register */
	st_le16(f + 109, cfg->display ? 3 : 7);	/* legacy devices, 8042, no VGA */
	/* WBINVD, C1, reset register; both buttons and the RTC's wake-up are in PM1 */
	st_le32(f + 112, 1 | 1 << 2 | 1 << 10);
	gas(f + 116, 8, 1, 0xcf9);
	f[128] = 0x06;
	st_le64(f + 140, dsdt);			/* the FACS by its 32-bit pointer only */
	fadt_pm(f, CHIPSET_PM_BASE);
	aml_bytes(a, f + HDR_LEN, sizeof(f) - HDR_LEN);
	fix_pointer(t, false, at + 36, 4);
	fix_pointer(t, false, at + 40, 4);
	fix_pointer(t, false, at + 140, 8);
	table_end(a, t, at);
	return at;
}

static void madt_override(struct aml *a, uint8_t irq, uint32_t gsi, uint16_t flags)
{
	aml_byte(a, 2), aml_byte(a, 10), aml_byte(a, 0), aml_byte(a, irq);
	aml_le(a, gsi, 4);
	aml_le(a, flags, 2);
}

/* 5.2.12 */
static size_t build_madt(struct aml *a, const struct acpi_config *cfg, struct acpi_tables *t)
{
	static const uint8_t level_irqs[] = { 5, 9, 10, 11 };
	size_t at = table_begin(a, "APIC", 3);

	aml_le(a, LAPIC_ADDR, 4);
	aml_le(a, 1, 4);			/* there is an 8259 pair */
	for (unsigned i = 0; i < cfg->ncpus; i++) {
		aml_byte(a, 0), aml_byte(a, 8), aml_byte(a, i), aml_byte(a, i);
		aml_le(a, 1, 4);
	}
	aml_byte(a, 1), aml_byte(a, 12), aml_byte(a, 0), aml_byte(a, 0);
	aml_le(a, IOAPIC_ADDR, 4);
	aml_le(a, 0, 4);
	madt_override(a, 0, 2, 0);
	for (unsigned i = 0; i < ARRAY_SIZE(level_irqs); i++)
		madt_override(a, level_irqs[i], level_irqs[i], 0x0d);	/* high, level */
	aml_byte(a, 4), aml_byte(a, 6), aml_byte(a, 0xff);	/* NMI on every LINT1 */
	aml_le(a, 0, 2);
	aml_byte(a, 1);
	table_end(a, t, at);
	return at;
}

/* Windows ACPI Emulated Devices Table: RTC and PM timer need no work-arounds. */
static size_t build_waet(struct aml *a, struct acpi_tables *t)
{
	size_t at = table_begin(a, "WAET", 1);

	aml_le(a, 3, 4);
	table_end(a, t, at);
	return at;
}

/* IA-PC HPET 1.0a, 3.2.4 */
static size_t build_hpet(struct aml *a, struct acpi_tables *t)
{
	size_t at = table_begin(a, "HPET", 1);
	uint8_t address[12] = { 0, 64, 0, 0 };	/* system memory */

	st_le64(address + 4, HPET_BASE);
	aml_le(a, HPET_BLOCK_ID, 4);
	aml_bytes(a, address, sizeof(address));
	aml_byte(a, 0);				/* the first block */
	aml_le(a, 128, 2);			/* smallest period in ticks without loss */
	aml_byte(a, 0);
	table_end(a, t, at);
	return at;
}

static size_t build_sdt(struct aml *a, struct acpi_tables *t, const char *sig, unsigned width,
			const size_t *tables, unsigned n)
{
	size_t at = table_begin(a, sig, 1);

	for (unsigned i = 0; i < n; i++) {
		fix_pointer(t, false, a->len, width);
		aml_le(a, tables[i], width);
	}
	table_end(a, t, at);
	return at;
}

/* 5.2.5.3 */
static void build_rsdp(struct acpi_tables *t, uint32_t rsdt, uint64_t xsdt)
{
	memcpy(t->rsdp, "RSD PTR ", 8);
	memcpy(t->rsdp + 9, "HVRUN ", 6);
	t->rsdp[15] = 2;
	st_le32(t->rsdp + 16, rsdt);
	st_le32(t->rsdp + 20, ACPI_RSDP_LEN);
	st_le64(t->rsdp + 24, xsdt);
	fix_pointer(t, true, 16, 4);
	fix_pointer(t, true, 24, 8);
	fix_checksum(t, true, 8, 0, 20);
	fix_checksum(t, true, 32, 0, ACPI_RSDP_LEN);
}

void acpi_build(const struct acpi_config *cfg, struct acpi_tables *out)
{
	struct aml a = { 0 };
	size_t facs, dsdt, tables[4], rsdt, xsdt;
	unsigned n = 0;

	memset(out, 0, sizeof(*out));
	facs = build_facs(&a);
	pad_to(&a, 16);
	dsdt = a.len;
	build_dsdt(&a, cfg, out);
	tables[n++] = out->fadt = build_fadt(&a, cfg, out, facs, dsdt);
	tables[n++] = build_madt(&a, cfg, out);
	tables[n++] = build_waet(&a, out);
	if (cfg->hpet)
		tables[n++] = build_hpet(&a, out);
	rsdt = build_sdt(&a, out, "RSDT", 4, tables, n);
	xsdt = build_sdt(&a, out, "XSDT", 8, tables, n);
	build_rsdp(out, rsdt, xsdt);
	out->data = a.buf;
	out->len = a.len;
}

void acpi_free(struct acpi_tables *t)
{
	free(t->data);
	memset(t, 0, sizeof(*t));
}

/* ---- Placement ---- */

static uint8_t sum(const uint8_t *p, size_t n)
{
	uint8_t s = 0;

	while (n--)
		s += *p++;
	return s;
}

void acpi_relocate(struct acpi_tables *t, uint64_t base)
{
	for (unsigned i = 0; i < t->nfix; i++) {
		const struct acpi_fixup *f = &t->fix[i];
		uint8_t *in = f->in_rsdp ? t->rsdp : t->data, *p = in + f->at;

		if (f->kind == ACPI_FIX_CHECKSUM) {
			*p = 0;
			*p = -sum(in + f->start, f->len);
		} else if (f->size == 4) {
			st_le32(p, ld_le32(p) + base);
		} else {
			st_le64(p, ld_le64(p) + base);
		}
	}
}

#define FILE_TABLES ACPI_FILE_TABLES
#define FILE_RSDP "etc/acpi/rsdp"

/* Loader commands of SeaBIOS (src/fw/romfile_loader.h describes the layout). */
enum { LOADER_ALLOCATE = 1, LOADER_ADD_POINTER = 2, LOADER_ADD_CHECKSUM = 3 };
enum { ZONE_HIGH = 1, ZONE_FSEG = 2 };
#define LOADER_ENTRY 128
#define LOADER_NAME 56

static void loader_allocate(uint8_t *e, const char *file, uint32_t align, uint8_t zone)
{
	st_le32(e, LOADER_ALLOCATE);
	memcpy(e + 4, file, strlen(file));
	st_le32(e + 4 + LOADER_NAME, align);
	e[8 + LOADER_NAME] = zone;
}

static void loader_fixup(uint8_t *e, const struct acpi_fixup *f)
{
	const char *file = f->in_rsdp ? FILE_RSDP : FILE_TABLES;
	uint8_t *rest = e + 4 + LOADER_NAME;

	memcpy(e + 4, file, strlen(file));
	if (f->kind == ACPI_FIX_POINTER) {
		st_le32(e, LOADER_ADD_POINTER);
		memcpy(rest, FILE_TABLES, strlen(FILE_TABLES));
		st_le32(rest + LOADER_NAME, f->at);
		rest[LOADER_NAME + 4] = f->size;
	} else {
		st_le32(e, LOADER_ADD_CHECKSUM);
		st_le32(rest, f->at);
		st_le32(rest + 4, f->start);
		st_le32(rest + 8, f->len);
	}
}

void acpi_to_fwcfg(const struct acpi_tables *t, struct device *fwcfg)
{
	size_t len = (2 + t->nfix) * LOADER_ENTRY;
	uint8_t *script = hv_zalloc(len);

	loader_allocate(script, FILE_RSDP, 16, ZONE_FSEG);
	loader_allocate(script + LOADER_ENTRY, FILE_TABLES, 64, ZONE_HIGH);
	for (unsigned i = 0; i < t->nfix; i++)
		loader_fixup(script + (2 + i) * LOADER_ENTRY, &t->fix[i]);
	fwcfg_add_file(fwcfg, FILE_RSDP, t->rsdp, sizeof(t->rsdp));
	fwcfg_add_file(fwcfg, FILE_TABLES, t->data, t->len);
	fwcfg_add_file(fwcfg, "etc/table-loader", script, len);
	free(script);
}
