/* SPDX-License-Identifier: MIT */
/*
 * ACPI tables of the board (ACPI 6.5): RSDP, RSDT, XSDT, FADT (revision 3),
 * FACS, MADT, WAET, HPET; the DSDT is in acpi_dsdt.c.
 *
 * Pointers and checksums are kept as a list of fix-ups: firmware gets them as
 * its loader script, direct boot applies them here.
 *
 * Left out: S1, S2, S4, MCFG (there is no ECAM on an i440FX), NUMA, GPEs
 * with handlers (no hot-plug).
 */
#include "acpi_int.h"
#include "chipset.h"
#include "fwcfg.h"
#include "hpet.h"
#include <stdlib.h>

#define HDR_LEN 36
#define LAPIC_ADDR 0xfee00000u
#define IOAPIC_ADDR 0xfec00000u

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

size_t acpi_table_begin(struct aml *a, const char *sig, uint8_t rev)
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

void acpi_table_end(struct aml *a, struct acpi_tables *t, size_t at)
{
	st_le32(a->buf + at + 4, a->len - at);
	fix_checksum(t, false, at + 9, at, a->len - at);
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
	size_t at = acpi_table_begin(a, "FACP", 3);
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
	acpi_table_end(a, t, at);
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
	size_t at = acpi_table_begin(a, "APIC", 3);

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
	acpi_table_end(a, t, at);
	return at;
}

/* Windows ACPI Emulated Devices Table: RTC and PM timer need no work-arounds. */
static size_t build_waet(struct aml *a, struct acpi_tables *t)
{
	size_t at = acpi_table_begin(a, "WAET", 1);

	aml_le(a, 3, 4);
	acpi_table_end(a, t, at);
	return at;
}

/* IA-PC HPET 1.0a, 3.2.4 */
static size_t build_hpet(struct aml *a, struct acpi_tables *t)
{
	size_t at = acpi_table_begin(a, "HPET", 1);
	uint8_t address[12] = { 0, 64, 0, 0 };	/* system memory */

	st_le64(address + 4, HPET_BASE);
	aml_le(a, HPET_BLOCK_ID, 4);
	aml_bytes(a, address, sizeof(address));
	aml_byte(a, 0);				/* the first block */
	aml_le(a, 128, 2);			/* smallest period in ticks without loss */
	aml_byte(a, 0);
	acpi_table_end(a, t, at);
	return at;
}

static size_t build_sdt(struct aml *a, struct acpi_tables *t, const char *sig, unsigned width,
			const size_t *tables, unsigned n)
{
	size_t at = acpi_table_begin(a, sig, 1);

	for (unsigned i = 0; i < n; i++) {
		fix_pointer(t, false, a->len, width);
		aml_le(a, tables[i], width);
	}
	acpi_table_end(a, t, at);
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
	acpi_build_dsdt(&a, cfg, out);
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
