/* SPDX-License-Identifier: MIT */
/*
 * PCI: configuration space, BARs, INTx and MSI-X (PCI Local Bus 3.0).
 *
 * A PCI function embeds struct pci_dev (which begins with struct device).
 * In realize it calls pci_init() with its identity, then pci_bar() for each
 * BAR and pci_add_cap()/pci_msix_init() for capabilities.  The host bridge
 * (devices/i440fx.c) creates the bus and decodes 0xCF8/0xCFC.
 * Under vm->dev_lock throughout.
 */
#ifndef HV_PCI_H
#define HV_PCI_H

#include "device.h"

struct pci_bus;
struct pci_dev;

#define PCI_NUM_BARS 6
#define PCI_ROM_SLOT 6
#define PCI_CFG_SIZE 256
#define PCI_DEVFN(slot, fn) ((uint8_t)((slot) << 3 | (fn)))

/* Offsets in configuration space */
#define PCI_VENDOR_ID 0x00
#define PCI_DEVICE_ID 0x02
#define PCI_COMMAND 0x04
#define PCI_CMD_IO 0x001
#define PCI_CMD_MEM 0x002
#define PCI_CMD_MASTER 0x004
#define PCI_CMD_INTX_OFF 0x400
#define PCI_STATUS 0x06
#define PCI_STATUS_INTX 0x008
#define PCI_STATUS_CAPS 0x010
#define PCI_REVISION 0x08
#define PCI_CLASS_PROG 0x09
#define PCI_CLASS_DEVICE 0x0a
#define PCI_CACHE_LINE 0x0c
#define PCI_LATENCY 0x0d
#define PCI_HEADER_TYPE 0x0e
#define PCI_BAR0 0x10
#define PCI_SUBSYS_VENDOR 0x2c
#define PCI_SUBSYS_ID 0x2e
#define PCI_ROM_BAR 0x30
#define PCI_CAP_PTR 0x34
#define PCI_INT_LINE 0x3c
#define PCI_INT_PIN 0x3d

#define PCI_CAP_MSI 0x05
#define PCI_CAP_MSIX 0x11

struct pci_id {
	uint16_t vendor, device, subsys_vendor, subsys_id;
	uint16_t class_code;	/* base << 8 | sub */
	uint8_t prog_if, revision;
	uint8_t int_pin;	/* 0 none, 1 = INTA# */
};

enum pci_bar_type { PCI_BAR_NONE, PCI_BAR_IO, PCI_BAR_MEM32, PCI_BAR_MEM64, PCI_BAR_PREF32,
		    PCI_BAR_PREF64 };

struct pci_bar {
	enum pci_bar_type type;
	uint64_t size;		/* power of two */
	struct io_region region;	/* register BAR: dispatched to io_ops */
	struct gm_slot *slot;	/* memory BAR (VRAM, ROM): shown by a slot instead */
	struct gm_block *block;
	unsigned slot_flags;
	uint64_t mapped_at;	/* UINT64_MAX: not decoded now */
};

#define PCI_MSIX_MAX 128	/* vectors of one function */

struct pci_msix {
	uint8_t table[PCI_MSIX_MAX * 16], pba[PCI_MSIX_MAX / 8];
	unsigned nvec;		/* 0: no MSI-X */
	uint8_t cap, bar;
};

struct pci_dev {
	struct device dev;	/* must stay first */
	struct pci_bus *bus;	/* set before realize by whoever creates the device */
	uint8_t devfn;		/* likewise */
	struct pci_id id;	/* immutable after pci_init() */
	uint8_t cfg[PCI_CFG_SIZE];
	uint8_t wmask[PCI_CFG_SIZE];	/* guest-writable bits */
	uint8_t w1c[PCI_CFG_SIZE];	/* write-1-to-clear bits */
	struct pci_bar bars[PCI_NUM_BARS + 1];	/* [PCI_ROM_SLOT] = expansion ROM */
	struct pci_msix msix;
	uint8_t msi_cap;		/* 0: no MSI */
	uint8_t next_cap_off;
	bool intx_level;	/* the function's own request, before masking */
	bool intx_out;		/* pci.c only: what the bus sees now */
	/* Optional hooks, for functions with registers of their own in config space. */
	void (*cfg_written)(struct pci_dev *d, unsigned off, unsigned size, uint32_t old);
	uint32_t (*cfg_read)(struct pci_dev *d, unsigned off, unsigned size, uint32_t val);
};

#define PCI_DEVICE_CHECK(T) \
	_Static_assert(offsetof(T, pci) == 0, #T " must begin with struct pci_dev pci")

/* Rows for the state table of every PCI function; put PCI_STATE(T, pci) first. */
extern const struct state_field pci_state_fields[];
#define PCI_STATE(T, m) STATE_STRUCT(T, m, pci_state_fields)

/* After device_create(), before device_realize(): where the function sits. */
static inline void pci_place(struct device *d, struct pci_bus *bus, uint8_t devfn)
{
	struct pci_dev *p = container_of(d, struct pci_dev, dev);

	p->bus = bus;
	p->devfn = devfn;
}

void pci_init(struct pci_dev *d, const struct pci_id *id);
/* Register BAR @n: accesses go to @ops with offsets relative to the BAR; size power of two. */
bool pci_bar_io(struct pci_dev *d, unsigned n, enum pci_bar_type type, uint64_t size,
		const struct io_ops *ops, struct err *e);
/* Memory BAR @n (or PCI_ROM_SLOT): shows @block; @flags enum gm_flags. */
bool pci_bar_mem(struct pci_dev *d, unsigned n, enum pci_bar_type type, struct gm_block *block,
		 unsigned flags, struct err *e);
/* Append a capability of @len bytes (id + next included); returns its offset; read-only bits. */
uint8_t pci_add_cap(struct pci_dev *d, uint8_t cap_id, uint8_t len);
/* MSI-X with table and PBA in a BAR of their own (BAR @bar, 4 KiB or larger). */
bool pci_msix_init(struct pci_dev *d, unsigned nvec, unsigned bar, struct err *e);

/* MSI with one message, for functions without MSI-X. */
void pci_msi_init(struct pci_dev *d);

/* Call from the device's reset: command, BARs, MSI-X off; identity kept. */
void pci_reset(struct pci_dev *d);
/* Call from the device's post_load: validates and re-maps the BARs. */
bool pci_post_load(struct pci_dev *d, struct err *e);

/* Level of the function's INTx; masked by PCI_CMD_INTX_OFF, MSI and MSI-X enable. */
void pci_set_irq(struct pci_dev *d, bool level);
bool pci_msix_enabled(const struct pci_dev *d);
bool pci_msi_enabled(const struct pci_dev *d);
void pci_msi_notify(struct pci_dev *d);	/* ignored unless enabled */
/* Send vector @vec (pending bit if masked); ignored if out of range or disabled. */
void pci_msix_notify(struct pci_dev *d, unsigned vec);
/* True if the function may read and write guest memory (bus master enable). */
bool pci_master(const struct pci_dev *d);

/* Bus: created by the host bridge.  @intx[4] are the links PIRQA-D#. */
struct pci_bus *pci_bus_new(struct vm *vm);
void pci_bus_free(struct pci_bus *b);
void pci_bus_set_intx(struct pci_bus *b, const struct irq_line intx[4]);
/* Link 0-3 (PIRQA-D#) of @pin (1 = INTA#) of @slot, as PC firmware expects on the PIIX3. */
static inline unsigned pci_intx_link(unsigned slot, unsigned pin)
{
	return (slot + pin + 2) & 3;
}
/* Host-bridge side: configuration cycles.  Missing functions read all-ones. */
uint32_t pci_cfg_read(struct pci_bus *b, uint8_t devfn, unsigned off, unsigned size);
void pci_cfg_write(struct pci_bus *b, uint8_t devfn, unsigned off, unsigned size, uint32_t val);
/* Iterate functions (ACPI, tests): NULL at the end. */
struct pci_dev *pci_bus_dev(struct pci_bus *b, uint8_t devfn);

#endif
