/* SPDX-License-Identifier: MIT */
/*
 * The board: memory map, devices and who is wired to which interrupt of an
 * i440FX/PIIX3 PC.
 *
 *	0-9FFFF		RAM
 *	A0000-BFFFF	VGA window
 *	C0000-FFFFF	RAM or firmware ROM, by the i440FX's PAM registers
 *	100000-		RAM, at most to 3 GiB; the rest from 4 GiB
 *	top of 4 GiB	firmware ROM
 *
 * Every ISA interrupt leaves the PIIX3 and goes to the 8259 pair and to the
 * IOAPIC pin of the same number, but the timer's (IRQ 0) to pin 2.
 *
 */
#include "pc_int.h"
#include "ac97.h"
#include "debugport.h"
#include "e1000.h"
#include "fdc.h"
#include "hda.h"
#include "hpet.h"
#include "i8042.h"
#include "i8237.h"
#include "i8254.h"
#include "i8259.h"
#include "ioapic.h"
#include "mc146818.h"
#include "ns16550.h"
#include "parport.h"
#include "pcspk.h"
#include "pvpanic.h"
#include "vga.h"
#include "virtio/virtio.h"
#include "vmgenid.h"
#include "vmmouse.h"
#include "../src/block.h"
#include "../src/display.h"
#include "../src/input.h"
#include "../src/vm.h"
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#define RAM_LOW_MAX GiB(3)
#define DEBUGCON_PORT 0x402
#define FIRST_FREE_SLOT 3

/* ---- The board as a device ---- */

static bool pc_realize(struct device *d, struct err *e)
{
	return true;
}

static void pc_unrealize(struct device *d)
{
	struct pc *pc = container_of(d, struct pc, dev);

	boot_close(pc->boot);
	acpi_free(&pc->acpi);
	smbios_free(&pc->smbios);
	input_free(d->vm->input);
	display_free(d->vm->display);
	d->vm->input = NULL;
	d->vm->display = NULL;
}

/* No state of its own: everything here is wiring, made again from the configuration. */
static const struct device_ops pc_ops = {
	.name = "pc",
	.size = sizeof(struct pc),
	.realize = pc_realize,
	.unrealize = pc_unrealize,
};

/* ---- Memory ---- */

static bool add_ram(struct pc *pc, struct err *e)
{
	struct guest_mem *gm = dev_mem(&pc->dev);
	uint64_t ram = pc->cfg->ram;
	struct gm_block *high;

	if (ram < PC_MIN_RAM || ram > PC_MAX_RAM || ram % MiB(1))
		return err_set(e, HV_EXIT_USAGE, "memory must be %llu MiB to %llu GiB, in"
			       " whole MiB",
			       (unsigned long long)(PC_MIN_RAM >> 20),
			       (unsigned long long)(PC_MAX_RAM >> 30));
	pc->ram_low = MIN(ram, RAM_LOW_MAX);
	pc->ram_high = ram - pc->ram_low;
	gm_set_ram_size(gm, ram, pc->ram_low);
	pc->ram = gm_block_new(gm, "guestram", pc->ram_low, e);
	if (!pc->ram || !gm_slot_add(gm, GPA(0), 0xa0000, pc->ram, 0, 0, e) ||
	    !gm_slot_add(gm, GPA(MiB(1)), pc->ram_low - MiB(1), pc->ram, MiB(1), 0, e))
		return false;
	if (!pc->ram_high)
		return true;
	high = gm_block_new(gm, "guestram-high", pc->ram_high, e);
	return high && gm_slot_add(gm, GPA(GiB(4)), pc->ram_high, high, 0, 0, e);
}

/* ---- Devices ---- */

static bool add_chipset(struct pc *pc, struct err *e)
{
	struct vm *vm = pc->dev.vm;
	struct irq_line pirq[4];

	pc->i440fx = device_create(vm, &i440fx_ops, "host");
	i440fx_set_memory(pc->i440fx, pc->ram, pc->bios);
	if (!device_realize(pc->i440fx, e))
		return false;
	pc->bus = i440fx_bus(pc->i440fx);
	pc->piix3 = device_create(vm, &piix3_ops, "isa");
	pci_place(pc->piix3, pc->bus, CHIPSET_PIIX3_DEVFN);
	if (!device_realize(pc->piix3, e))
		return false;
	for (unsigned i = 0; i < 4; i++)
		pirq[i] = piix3_pirq_line(pc->piix3, i);
	pci_bus_set_intx(pc->bus, pirq);
	pc->pm = device_create(vm, &piix4_pm_ops, "pm");
	pci_place(pc->pm, pc->bus, CHIPSET_PM_DEVFN);
	piix4_pm_set_sci(pc->pm, piix3_sci_line(pc->piix3));
	piix4_pm_set_smi(pc->pm, vm_smi_line(vm));
	return device_realize(pc->pm, e);
}

static bool add_interrupts(struct pc *pc, struct err *e)
{
	struct vm *vm = pc->dev.vm;

	if (!vm_has_lapic(vm) && !lapic_add_all(vm, &pc->lapics, e))
		return false;
	pc->pic = device_create(vm, &i8259_ops, "pic");
	i8259_set_intr(pc->pic, vm_has_lapic(vm) ? vm_extint_line(vm) :
					lapic_extint_line(&pc->lapics));
	vm->extint = (struct extint){ i8259_inta, pc->pic };
	pc->ioapic = device_create(vm, &ioapic_ops, "ioapic");
	if (!device_realize(pc->pic, e) || !device_realize(pc->ioapic, e))
		return false;
	for (unsigned i = 0; i < 16; i++) {
		struct irq_fanout *f = &pc->isa[i];

		f->out[f->n++] = i8259_line(pc->pic, i);
		if (i != 2)
			f->out[f->n++] = ioapic_line(pc->ioapic, i ? i : 2);
		piix3_set_irq_out(pc->piix3, i, irq_fanout_line(f));
	}
	return true;
}

static struct irq_line isa_irq(struct pc *pc, unsigned irq)
{
	return piix3_isa_line(pc->piix3, irq);
}

/* CMOS bytes that firmware and old systems read. */
static void fill_cmos(struct pc *pc)
{
	uint64_t ext = MIN((pc->ram_low >> 10) - 1024, 0xffff);
	uint64_t above16 = pc->ram_low > MiB(16) ? MIN((pc->ram_low - MiB(16)) >> 16, 0xffff) : 0;
	unsigned nfd = pc->cfg->nfloppies;
	uint8_t floppies = nfd ? (uint8_t)(1 | (nfd - 1) << 6) : 0;
	struct { uint8_t index, val; } rows[] = {
		{ 0x10, pc->fdc ? fdc_cmos_types(pc->fdc) : 0 },
		{ 0x14, 0x06 | floppies },		/* FPU, mouse */
		{ 0x15, 640 & 0xff }, { 0x16, 640 >> 8 },
		{ 0x17, ext & 0xff }, { 0x18, ext >> 8 },
		{ 0x30, ext & 0xff }, { 0x31, ext >> 8 },
		{ 0x34, above16 & 0xff }, { 0x35, above16 >> 8 },
		/* third boot device; no floppy signature check */
		{ 0x38, 0x01 | (pc->cfg->boot == PC_BOOT_FLOPPY ? 0x30 : 0x10) },
		{ 0x3d, pc->cfg->boot == PC_BOOT_FLOPPY ? 0x21 :
			pc->cfg->boot == PC_BOOT_CD ? 0x23 : 0x32 },
		{ 0x5b, pc->ram_high >> 16 & 0xff }, { 0x5c, pc->ram_high >> 24 & 0xff },
		{ 0x5d, pc->ram_high >> 32 & 0xff },
		{ 0x5f, pc->dev.vm->ncpus - 1 },
	};

	for (unsigned i = 0; i < ARRAY_SIZE(rows); i++)
		rtc_set_cmos(pc->rtc, rows[i].index, rows[i].val);
}

static bool add_serial(struct pc *pc, struct err *e)
{
	static const uint16_t ports[PC_MAX_SERIAL] = { 0x3f8, 0x2f8, 0x3e8, 0x2e8 };

	pc->com[0].out = isa_irq(pc, 4);
	pc->com[1].out = isa_irq(pc, 3);
	for (unsigned i = 0; i < PC_MAX_SERIAL; i++) {
		struct device *d;
		char id[8];

		if (!pc->cfg->serial[i])
			continue;
		snprintf(id, sizeof(id), "com%u", i + 1);
		d = device_create(pc->dev.vm, &ns16550_ops, id);
		ns16550_wire(d, ports[i], irq_fanin_line(&pc->com[i & 1], i / 2),
			     pc->cfg->serial[i]);
		if (!device_realize(d, e))
			return false;
	}
	return true;
}

static bool add_parallel(struct pc *pc, struct err *e)
{
	struct device *d;

	if (!pc->cfg->parallel)
		return true;
	d = device_create(pc->dev.vm, &parport_ops, "lpt1");
	parport_wire(d, isa_irq(pc, PARPORT_IRQ), pc->cfg->parallel);
	return device_realize(d, e);
}

/* Off unless asked for: guests that read it instead of the TSC leave the CPU each time. */
static bool add_hpet(struct pc *pc, struct err *e)
{
	struct irq_line pins[HPET_PINS];

	if (!pc->cfg->hpet)
		return true;
	for (unsigned i = 0; i < HPET_PINS; i++)
		pins[i] = ioapic_line(pc->ioapic, HPET_FIRST_PIN + i);
	pc->hpet = device_create(pc->dev.vm, &hpet_ops, "hpet");
	hpet_wire(pc->hpet, isa_irq(pc, 0), isa_irq(pc, 8), pins);
	return device_realize(pc->hpet, e);
}

/* Only where somebody listens. */
static bool add_speaker(struct pc *pc, struct device *pit, struct err *e)
{
	struct device *d;

	if (!pc->dev.vm->audio)
		return true;
	d = device_create(pc->dev.vm, &pcspk_ops, "speaker");
	pcspk_wire(d, pit);
	return device_realize(d, e);
}

static bool add_isa(struct pc *pc, struct err *e)
{
	struct vm *vm = pc->dev.vm;
	struct device *pit = device_create(vm, &i8254_ops, "pit");
	struct device *kbc;

	if (!add_hpet(pc, e))
		return false;
	i8254_set_irq0(pit, pc->hpet ? hpet_pit_line(pc->hpet) : isa_irq(pc, 0));
	pc->rtc = device_create(vm, &mc146818_ops, "rtc");
	pc->isa[8].out[pc->isa[8].n++] = piix4_pm_rtc_line(pc->pm);
	rtc_wire(pc->rtc, pc->hpet ? hpet_rtc_line(pc->hpet) : isa_irq(pc, 8), 0);
	kbc = device_create(vm, &i8042_ops, "kbc");
	i8042_wire(kbc, &(struct i8042_wiring){ .irq1 = isa_irq(pc, 1), .irq12 = isa_irq(pc, 12),
						.a20 = vm_a20_line(vm) });
	pc->dma = device_create(vm, &i8237_ops, "dma");
	if (!device_realize(pit, e) || !device_realize(pc->rtc, e) || !device_realize(kbc, e) ||
	    !device_realize(pc->dma, e) || !pc_add_floppies(pc, isa_irq(pc, FDC_IRQ), e))
		return false;
	fill_cmos(pc);
	return add_speaker(pc, pit, e) && add_serial(pc, e) && add_parallel(pc, e);
}

static bool add_debug_ports(struct pc *pc, struct err *e)
{
	struct device *d = device_create(pc->dev.vm, &pvpanic_ops, "pvpanic");

	if (!device_realize(d, e))
		return false;
	if (pc->cfg->debugcon) {
		d = device_create(pc->dev.vm, &debugcon_ops, "debugcon");
		debugcon_wire(d, DEBUGCON_PORT, pc->cfg->debugcon);
		if (!device_realize(d, e))
			return false;
	}
	if (pc->cfg->debug_exit <= 0)
		return true;
	if (pc->cfg->debug_exit > 0xfffc)
		return err_set(e, HV_EXIT_USAGE, "the debug-exit port must be 1 to 0xfffc");
	d = device_create(pc->dev.vm, &debugexit_ops, "debugexit");
	debugexit_wire(d, pc->cfg->debug_exit, 4);
	return device_realize(d, e);
}

struct device *pc_pci_create(struct pc *pc, const struct device_ops *ops, const char *prefix,
			     unsigned n, struct err *e)
{
	struct device *d;
	char id[32];

	if (pc->next_slot > 31) {
		err_set(e, HV_EXIT_USAGE, "too many devices: all PCI slots are in use");
		return NULL;
	}
	snprintf(id, sizeof(id), "%s%u", prefix, n);
	d = device_create(pc->dev.vm, ops, id);
	pci_place(d, pc->bus, PCI_DEVFN(pc->next_slot++, 0));
	return d;
}

static bool add_display(struct pc *pc, struct err *e)
{
	const char *path = pc->cfg->vgabios ? pc->cfg->vgabios :
			   pc->cfg->vga_std ? PC_VGABIOS_STD : PC_VGABIOS_VIRTIO;
	struct device *d;
	uint8_t *rom;
	size_t len;
	bool ok;

	if (!pc->cfg->display)
		return true;
	if (!pc_read_file(path, "VGA BIOS", "", KiB(256), &rom, &len, e))
		return false;
	d = device_create(pc->dev.vm, pc->cfg->vga_std ? &vga_ops : &virtio_vga_ops, "vga");
	pci_place(d, pc->bus, PCI_DEVFN(2, 0));
	if (!pc->cfg->vga_std && pc->cfg->outputs)
		virtio_vga_set_outputs(d, pc->cfg->outputs);
	ok = vga_set_rom(d, rom, len, e);
	free(rom);
	pc->vga = d;
	return ok && device_realize(d, e);
}

static bool add_nics(struct pc *pc, struct err *e)
{
	for (unsigned i = 0; i < pc->cfg->nnics; i++) {
		bool e1000 = pc->cfg->nics[i].model == PC_NIC_E1000;
		struct device *d = pc_pci_create(pc, e1000 ? &e1000_ops : &virtio_net_ops,
						 "net", i, e);
		uint8_t mac[6] = { 0x52, 0x54, 0x00, 0x12, 0x34, 0x56 + i };
		static const uint8_t none[6];

		if (!d)
			return false;
		if (memcmp(pc->cfg->nics[i].mac, none, 6))
			memcpy(mac, pc->cfg->nics[i].mac, 6);
		if (e1000)
			e1000_setup(d, pc->cfg->nics[i].net, mac);
		else
			virtio_net_setup(d, pc->cfg->nics[i].net, mac);
		if (!device_realize(d, e))
			return false;
	}
	return true;
}

static bool add_sound(struct pc *pc, struct err *e)
{
	static const struct device_ops *const cards[] = { [PC_SOUND_HDA] = &hda_ops,
						   [PC_SOUND_AC97] = &ac97_ops,
						   [PC_SOUND_VIRTIO] = &virtio_sound_ops };
	struct device *d;

	if (pc->cfg->sound == PC_SOUND_NONE)
		return true;
	d = pc_pci_create(pc, cards[pc->cfg->sound], "sound", 0, e);
	return d && device_realize(d, e);
}

/* Beside the PS/2 devices: they serve guests that have a driver. */
static bool add_input(struct pc *pc, struct err *e)
{
	const struct device_ops *const ops[] = { &virtio_keyboard_ops, &virtio_tablet_ops };

	for (unsigned i = 0; pc->cfg->display && i < ARRAY_SIZE(ops); i++) {
		struct device *d = pc_pci_create(pc, ops[i], "input", i, e);

		if (!d || !device_realize(d, e))
			return false;
	}
	return true;
}

static bool add_rng(struct pc *pc, struct err *e)
{
	struct device *d;

	if (pc->cfg->no_rng)
		return true;
	d = pc_pci_create(pc, &virtio_rng_ops, "rng", 0, e);
	return d && device_realize(d, e);
}

static bool add_vmmouse(struct pc *pc, struct err *e)
{
	struct device *d;

	if (!pc->cfg->vmmouse)
		return true;
	d = device_create(pc->dev.vm, &vmmouse_ops, "vmmouse");
	vmmouse_wire(d, device_find(pc->dev.vm, i8042_ops.name, "kbc"));
	return device_realize(d, e);
}

static bool add_vmgenid(struct pc *pc, struct err *e)
{
	struct device *d;

	if (!pc->cfg->vmgenid)
		return true;
	d = device_create(pc->dev.vm, &vmgenid_ops, "vmgenid");
	vmgenid_wire(d, pc->cfg->generation, piix4_pm_gpe_line(pc->pm, VMGENID_GPE));
	return device_realize(d, e);
}

/* One device for the console and all channels. */
static bool add_console(struct pc *pc, struct err *e)
{
	const struct pc_config *cfg = pc->cfg;
	struct device *d;

	if (!cfg->console && !cfg->nchannels)
		return true;
	d = pc_pci_create(pc, &virtio_console_ops, "console", 0, e);
	if (!d)
		return false;
	if (cfg->console)
		virtio_console_set_port(d, 0, "", cfg->console);
	for (unsigned i = 0; i < cfg->nchannels; i++)
		virtio_console_set_port(d, i + 1, cfg->channels[i].name, cfg->channels[i].chr);
	return device_realize(d, e);
}

/* Free pages go back to the host; the machine works without it when no slot is left. */
static bool add_balloon(struct pc *pc, struct err *e)
{
	struct device *d;

	if (pc->cfg->no_balloon || pc->next_slot > 31)
		return true;
	d = pc_pci_create(pc, &virtio_balloon_ops, "balloon", 0, e);
	return d && device_realize(d, e);
}

static void make_tables(struct pc *pc)
{
	struct acpi_config a = { .ncpus = pc->dev.vm->ncpus, .ram = pc->cfg->ram,
				 .ram_below_4g = pc->ram_low, .display = pc->cfg->display,
				 .hpet = pc->cfg->hpet, .vmgenid = pc->cfg->vmgenid,
				 .parallel = pc->cfg->parallel != NULL,
				 .floppy_types = pc->fdc ? fdc_cmos_types(pc->fdc) : 0 };
	struct smbios_config s = { .name = pc->cfg->name, .ncpus = pc->dev.vm->ncpus,
				   .ram = pc->cfg->ram, .ram_below_4g = pc->ram_low };

	for (unsigned i = 0; i < PC_MAX_SERIAL; i++)
		a.com_ports |= (pc->cfg->serial[i] != NULL) << i;
	acpi_build(&a, &pc->acpi);
	smbios_build(&s, &pc->smbios);
}

/* Firmware knows a wake-up from S3 by the shutdown code. */
static void firmware_wake(void *opaque)
{
	struct pc *pc = opaque;

	rtc_set_cmos(pc->rtc, 0x0f, 0xfe);
}

bool pc_create(struct vm *vm, const struct pc_config *cfg, struct err *e)
{
	struct pc *pc = container_of(device_create(vm, &pc_ops, "pc"), struct pc, dev);

	HV_BUG_ON(cfg->ndisks > PC_MAX_DISKS || cfg->nnics > PC_MAX_NICS ||
		  cfg->nmodules > PC_MAX_MODULES);
	pc->cfg = cfg;
	pc->next_slot = FIRST_FREE_SLOT;
	if (!device_realize(&pc->dev, e))
		return false;
	if (!vm->input)
		vm->input = input_new();
	if (cfg->display && !vm->display)
		vm->display = display_new();
	if (!add_ram(pc, e) || (!cfg->kernel && !pc_add_firmware(pc, e)) || !add_chipset(pc, e) ||
	    !add_interrupts(pc, e) || !add_isa(pc, e) || !add_debug_ports(pc, e) ||
	    !add_display(pc, e) || !add_nics(pc, e) || !pc_add_disks(pc, e) || !add_rng(pc, e) ||
	    !add_vmmouse(pc, e) || !add_input(pc, e) || !add_console(pc, e) || !add_sound(pc, e) ||
	    !add_balloon(pc, e) || !add_vmgenid(pc, e))
		return false;
	piix4_pm_watch_keys(pc->pm);
	make_tables(pc);
	vm->board_opaque = pc;
	vm->board_wake = cfg->kernel ? pc_direct_wake : firmware_wake;
	if (!cfg->kernel)
		return pc_make_fwcfg(pc, e);
	if (!pc_direct_setup(pc, e))
		return false;
	vm->board_reset = pc_direct_reset;
	return true;
}
