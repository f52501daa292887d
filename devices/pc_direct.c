/* SPDX-License-Identifier: MIT */
/*
 * Direct boot: what PC firmware would have left behind for the kernel.
 *
 * Shadow RAM open, PCI functions with resources and interrupts, the PM block
 * at its address, ACPI and SMBIOS tables in memory, the BIOS data area's few
 * fields that kernels read, the screen in text mode.  There are no BIOS services.
 */
#include "pc_int.h"
#include "parport.h"
#include "vga.h"
#include "../src/vm.h"
#include <stdio.h>

#define EBDA 0x9fc00u
#define RSDP_AT 0xf5000u	/* scanned by those who have no better pointer */
#define SMBIOS_AT 0xf5100u
#define SMBIOS64_AT 0xf5140u
#define IO_FIRST 0xc000u
#define IO_END 0x10000u
#define MEM_FIRST 0xe0000000u
#define MEM_END 0xfec00000u

static const uint8_t link_irq[4] = { 10, 10, 11, 11 };	/* as SeaBIOS routes PIRQA-D# */

/* ---- Tables ---- */

static bool put_tables(struct pc *pc)
{
	struct guest_mem *gm = dev_mem(&pc->dev);

	return gm_write(gm, GPA(pc->tables_at), pc->acpi.data, pc->acpi.len) &&
	       gm_write(gm, GPA(pc->tables_at + pc->acpi.len), pc->smbios.tables,
			pc->smbios.len) &&
	       gm_write(gm, GPA(RSDP_AT), pc->acpi.rsdp, sizeof(pc->acpi.rsdp)) &&
	       gm_write(gm, GPA(SMBIOS_AT), pc->smbios.anchor, sizeof(pc->smbios.anchor)) &&
	       gm_write(gm, GPA(SMBIOS64_AT), pc->smbios.anchor64, sizeof(pc->smbios.anchor64));
}

static bool put_bda(struct pc *pc)
{
	static const uint16_t com[4] = { 0x3f8, 0x2f8, 0x3e8, 0x2e8 };
	struct guest_mem *gm = dev_mem(&pc->dev);
	bool ok = true;
	unsigned n = 0;

	for (unsigned i = 0; i < 4; i++)
		if (pc->cfg->serial[i])
			ok = ok && gm_write_le16(gm, GPA(0x400 + 2 * n++), com[i]);
	if (pc->cfg->parallel)
		ok = ok && gm_write_le16(gm, GPA(0x408), PARPORT_BASE);
	return ok && gm_write_le16(gm, GPA(0x40e), EBDA >> 4) &&
	       gm_write_le16(gm, GPA(0x413), EBDA >> 10) && gm_write_le16(gm, GPA(EBDA), 1);
}

static bool add_e820(struct boot_config *c, uint64_t from, uint64_t to, uint32_t type)
{
	HV_BUG_ON(c->ne820 == BOOT_MAX_E820 || to <= from);
	c->e820[c->ne820++] = (struct boot_e820){ from, to - from, type };
	return true;
}

bool pc_direct_setup(struct pc *pc, struct err *e)
{
	size_t len = pc->acpi.len + pc->smbios.len;
	struct boot_config c = {
		.kernel = pc->cfg->kernel, .initrd = pc->cfg->initrd,
		.modules = pc->cfg->modules, .nmodules = pc->cfg->nmodules,
		.append = pc->cfg->append, .rsdp = RSDP_AT,
		.text_screen = pc->vga && vga_has_font(pc->vga),
	};

	pc->tables_at = (pc->ram_low - len) & ~0xfffull;
	c.ram_below_4g = pc->tables_at;
	acpi_relocate(&pc->acpi, pc->tables_at);
	smbios_relocate(&pc->smbios, pc->tables_at + pc->acpi.len);
	add_e820(&c, 0, EBDA, 1);
	add_e820(&c, EBDA, 0xa0000, 2);
	add_e820(&c, 0xf0000, 0x100000, 2);
	add_e820(&c, 0x100000, pc->tables_at, 1);
	add_e820(&c, pc->tables_at, pc->ram_low, 3);
	add_e820(&c, 0xfeff8000, 0xff000000, 2);
	add_e820(&c, 0xfffc0000, GiB(4), 2);
	if (pc->ram_high)
		add_e820(&c, GiB(4), GiB(4) + pc->ram_high, 1);
	pc->boot = boot_open(pc->dev.vm, &c, e);
	return pc->boot != NULL;
}

/* ---- PCI ---- */

static bool take(uint64_t *next, uint64_t end, uint64_t size, uint64_t *at)
{
	*at = (*next + size - 1) & ~(size - 1);
	if (!range_ok(*at, size, end))
		return false;
	*next = *at + size;
	return true;
}

static void assign_bars(struct pc *pc, struct pci_dev *d, uint64_t *io, uint64_t *mem)
{
	for (unsigned n = 0; n < PCI_NUM_BARS; n++) {
		const struct pci_bar *b = &d->bars[n];
		bool is_io = b->type == PCI_BAR_IO;
		uint64_t at;

		if (b->type == PCI_BAR_NONE)
			continue;
		if (!take(is_io ? io : mem, is_io ? IO_END : MEM_END, b->size, &at)) {
			log_warn("no room for BAR %u of PCI %02x.%x", n, d->devfn >> 3,
				 d->devfn & 7);
			continue;
		}
		pci_cfg_write(pc->bus, d->devfn, PCI_BAR0 + 4 * n, 4, at);
	}
}

static void setup_pci(struct pc *pc)
{
	uint64_t io = IO_FIRST, mem = MEM_FIRST;

	for (unsigned i = 0; i < 4; i++)
		pci_cfg_write(pc->bus, CHIPSET_PIIX3_DEVFN, 0x60 + i, 1, link_irq[i]);
	bus_write_locked(pc->dev.vm->bus, BUS_PIO, 0x4d0, 1, 0x00);
	bus_write_locked(pc->dev.vm->bus, BUS_PIO, 0x4d1, 1, 0x0c);
	bus_write_locked(pc->dev.vm->bus, BUS_PIO, 0xd6, 1, 0xc0);	/* DMA: cascade, */
	bus_write_locked(pc->dev.vm->bus, BUS_PIO, 0xd4, 1, 0x00);	/* let through */
	pci_cfg_write(pc->bus, CHIPSET_PM_DEVFN, 0x40, 4, CHIPSET_PM_BASE | 1);
	pci_cfg_write(pc->bus, CHIPSET_PM_DEVFN, 0x80, 1, 1);
	if (pci_bus_dev(pc->bus, CHIPSET_IDE_DEVFN))	/* decode both channels */
		pci_cfg_write(pc->bus, CHIPSET_IDE_DEVFN, 0x40, 4, 0x80008000);
	for (unsigned devfn = 0; devfn < 256; devfn++) {
		struct pci_dev *d = pci_bus_dev(pc->bus, devfn);
		unsigned pin;

		if (!d || devfn == CHIPSET_I440FX_DEVFN || devfn == CHIPSET_PIIX3_DEVFN)
			continue;
		assign_bars(pc, d, &io, &mem);
		pin = d->id.int_pin;
		if (devfn == CHIPSET_PM_DEVFN)
			pci_cfg_write(pc->bus, devfn, PCI_INT_LINE, 1, CHIPSET_SCI_IRQ);
		else if (pin)
			pci_cfg_write(pc->bus, devfn, PCI_INT_LINE, 1,
				      link_irq[pci_intx_link(devfn >> 3, pin)]);
		pci_cfg_write(pc->bus, devfn, PCI_COMMAND, 2, PCI_CMD_IO | PCI_CMD_MEM);
	}
}

static void setup_board(struct pc *pc)
{
	i440fx_open_pam(pc->i440fx);
	setup_pci(pc);
	if (pc->vga)
		vga_start_text(pc->vga);
}

/* The FACS tells where the guest goes on (ACPI 6.5, 5.2.10). */
void pc_direct_wake(void *opaque)
{
	struct pc *pc = opaque;
	uint8_t vector[4] = { 0 };
	struct err e = { 0 };
	uint32_t facs = ld_le32(pc->acpi.data + pc->acpi.fadt + 36);

	setup_board(pc);
	if (!gm_read(dev_mem(&pc->dev), GPA(facs + 12), vector, 4) || ld_le32(vector) >= MiB(1) ||
	    !boot_wake(pc->dev.vm, ld_le32(vector), &e))
		log_error("the guest sleeps without a waking vector");
}

void pc_direct_reset(void *opaque)
{
	struct pc *pc = opaque;
	struct err e = { 0 };

	setup_board(pc);
	HV_BUG_ON(!put_tables(pc) || !put_bda(pc));
	if (!boot_enter(pc->boot, &e))	/* the files changed since the start */
		log_error("cannot restart the kernel: %s", e.msg);
}
