/* SPDX-License-Identifier: MIT */
/* The i440FX/PIIX chipset: wiring for the board. */
#ifndef HV_CHIPSET_H
#define HV_CHIPSET_H

#include "../src/pci.h"

struct block;
struct media_ops;

extern const struct device_ops i440fx_ops, piix3_ops, piix4_pm_ops, piix3_ide_ops;

/* Slots and functions, as PC firmware expects them. */
#define CHIPSET_I440FX_DEVFN PCI_DEVFN(0, 0)
#define CHIPSET_PIIX3_DEVFN PCI_DEVFN(1, 0)
#define CHIPSET_IDE_DEVFN PCI_DEVFN(1, 1)
#define CHIPSET_PM_DEVFN PCI_DEVFN(1, 3)

/* What firmware programs (and the ACPI tables say). */
#define CHIPSET_PM_BASE 0x600
#define CHIPSET_SCI_IRQ 9
#define CHIPSET_ACPI_ENABLE 0xf1	/* written to port 0xB2 */
#define CHIPSET_ACPI_DISABLE 0xf0
#define CHIPSET_S5_TYPE 0
#define CHIPSET_S3_TYPE 1

/*
 * i440FX.  @ram: block whose offset equals the guest address (below 4 GiB);
 * @bios: firmware image whose last 128 KiB show at E0000-FFFFF.
 */
void i440fx_set_memory(struct device *d, struct gm_block *ram, struct gm_block *bios);
struct pci_bus *i440fx_bus(struct device *d);	/* after realize */
/* Direct boot: all of C0000-FFFFF becomes RAM, as firmware leaves it. */
void i440fx_open_pam(struct device *d);

/* PIIX3: ISA interrupt @irq comes out here (to the 8259 and the IOAPIC). */
void piix3_set_irq_out(struct device *d, unsigned irq, struct irq_line out);
struct irq_line piix3_isa_line(struct device *d, unsigned irq);	/* for ISA devices */
struct irq_line piix3_pirq_line(struct device *d, unsigned link);	/* PIRQA-D# */
struct irq_line piix3_sci_line(struct device *d);

uint16_t piix4_pm_base(struct device *d);	/* where its I/O space is decoded; 0: nowhere */
void piix4_pm_set_sci(struct device *d, struct irq_line sci);
/* SMI#, before realize; empty: no system management mode. */
void piix4_pm_set_smi(struct device *d, struct irq_line smi);
/* A rise sets general purpose event @n (0-15). */
struct irq_line piix4_pm_gpe_line(struct device *d, unsigned n);
/* IRQ 8: the clock's alarm wakes a sleeping machine. */
struct irq_line piix4_pm_rtc_line(struct device *d);
/* Keys wake it too; after all keyboards are made, which get none meanwhile. */
void piix4_pm_watch_keys(struct device *d);

/* IDE: @unit 0-3 = primary master, slave, secondary master, slave.  @block NULL: empty CD. */
void ide_set_drive(struct device *d, unsigned unit, struct block *block, bool cdrom,
		   bool readonly, const char *serial);
extern const struct media_ops ide_media;
void ide_set_irqs(struct device *d, struct irq_line primary, struct irq_line secondary);

#endif
