/* SPDX-License-Identifier: MIT */
/*
 * What the board tells firmware by fw_cfg: processors, memory map, boot order,
 * ACPI and SMBIOS tables.
 */
#include "pc_int.h"
#include "fwcfg.h"
#include "../src/vm.h"
#include <stdio.h>

static void add_e820(struct pc *pc)
{
	struct { uint64_t from, to; uint32_t type; } rows[] = {
		{ 0, pc->ram_low, 1 },
		{ 0xfeff8000, 0xff000000, 2 },	/* generation ID, pages of KVM */
		{ GiB(4), GiB(4) + pc->ram_high, 1 },
	};
	uint8_t raw[3 * 20];
	unsigned n = pc->ram_high ? 3 : 2;

	for (unsigned i = 0; i < n; i++) {
		st_le64(raw + 20 * i, rows[i].from);
		st_le64(raw + 20 * i + 8, rows[i].to - rows[i].from);
		st_le32(raw + 20 * i + 16, rows[i].type);
	}
	fwcfg_add_file(pc->fwcfg, "etc/e820", raw, 20 * n);
}

static void add_boot_order(struct pc *pc)
{
	bool cd_first = pc->cfg->boot == PC_BOOT_CD, fd_first = pc->cfg->boot == PC_BOOT_FLOPPY;
	char order[4 * PC_BOOT_PATHS];

	snprintf(order, sizeof(order), "%s%s%s%s", fd_first ? pc->boot_floppies : "",
		 cd_first ? pc->boot_cds : pc->boot_disks,
		 cd_first ? pc->boot_disks : pc->boot_cds, fd_first ? "" : pc->boot_floppies);
	if (order[0])	/* lines, the last one ended by a zero byte */
		fwcfg_add_file(pc->fwcfg, "bootorder", order, strlen(order) + 1);
	fwcfg_add_u16(pc->fwcfg, FWCFG_BOOT_MENU, pc->cfg->boot_menu);
}

/* Firmware chooses the base; SeaBIOS and UEFI firmware differ. */
static void tables_selected(void *opaque, uint8_t *data, size_t len)
{
	struct pc *pc = opaque;
	uint16_t base = piix4_pm_base(pc->pm);

	if (base)
		acpi_set_pm_base(&pc->acpi, data, base);
}

bool pc_make_fwcfg(struct pc *pc, struct err *e)
{
	/* Sleep states S0-S5: bit 7 = offered */
	static const uint8_t states[6] = { 128, 0, 0, 128 | CHIPSET_S3_TYPE, 0,
					   128 | CHIPSET_S5_TYPE };
	struct vm *vm = pc->dev.vm;
	struct device *d = device_create(vm, &fwcfg_ops, "fw_cfg");

	pc->fwcfg = d;
	if (!device_realize(d, e))
		return false;
	fwcfg_add_u16(d, FWCFG_NB_CPUS, vm->ncpus);
	fwcfg_add_u16(d, FWCFG_MAX_CPUS, vm->ncpus);
	fwcfg_add_key(d, FWCFG_IRQ0_OVERRIDE, &(uint32_t){ 1 }, 4);
	fwcfg_add_file(d, "etc/system-states", states, sizeof(states));
	fwcfg_add_file(d, "etc/s3-resume-vga-init", &(uint64_t){ 1 }, 8);
	add_e820(pc);
	add_boot_order(pc);
	acpi_to_fwcfg(&pc->acpi, d);
	fwcfg_on_select(d, ACPI_FILE_TABLES, tables_selected, pc);
	fwcfg_add_file(d, "etc/smbios/smbios-tables", pc->smbios.tables, pc->smbios.len);
	fwcfg_add_file(d, "etc/smbios/smbios-anchor", pc->smbios.anchor,
		       sizeof(pc->smbios.anchor));
	/* Without a screen the firmware talks on the first serial port. */
	if (!pc->cfg->display && pc->cfg->serial[0])
		fwcfg_add_file(d, "etc/sercon-port", &(uint64_t){ 0x3f8 }, 8);
	return true;
}
