/* SPDX-License-Identifier: MIT */
/*
 * PCI bus: configuration space, base address registers, INTx and MSI-X
 * (PCI Local Bus Specification 3.0, chapters 6 and 6.8).
 *
 * One flat bus of 32 slots.  Configuration space is bytes with a mask of
 * writable and of write-1-to-clear bits; BAR decoding, interrupt routing and
 * MSI-X state are derived from the bytes after every write, on reset and
 * after loading, so there is only one copy of the truth.
 *
 * Left out: bridges, MSI with several messages or masks, power management,
 * BIST, fast back-to-back, parity.
 */
#include "pci.h"
#include "vm.h"
#include <stdlib.h>

#define PCI_CMD_RW (PCI_CMD_IO | PCI_CMD_MEM | PCI_CMD_MASTER | PCI_CMD_INTX_OFF | \
		    0x008 /* special cycles */ | 0x040 /* parity */ | 0x100 /* SERR# */)
#define PCI_STATUS_W1C 0xf900
#define PCI_BAR_IS_IO 0x1u
#define PCI_BAR_IS_64 0x4u
#define PCI_BAR_IS_PREF 0x8u
#define PCI_ROM_ENABLE 0x1u

#define MSI_CTRL 2		/* offset in the capability (6.8.1), as what follows */
#define MSI_ADDR 4
#define MSI_DATA 12
#define MSI_LEN 14
#define MSI_CTRL_ENABLE 0x0001
#define MSI_CTRL_64 0x0080
#define MSIX_CTRL 2		/* offset in the capability */
#define MSIX_CTRL_ENABLE 0x8000
#define MSIX_CTRL_MASKALL 0x4000
#define MSIX_VEC_MASKED 0x1
#define MSIX_PBA_OFF 0x800	/* in the BAR, after the largest table */

struct pci_bus {
	struct vm *vm;
	struct pci_dev *devs[256];	/* by devfn */
	struct irq_line intx[4];
	unsigned asserted[4];		/* functions that pull each link */
};

const struct state_field pci_state_fields[] = {
	STATE_U8S(struct pci_dev, cfg),
	STATE_BOOL(struct pci_dev, intx_level),
	STATE_U8S(struct pci_dev, msix.table),
	STATE_U8S(struct pci_dev, msix.pba),
	STATE_END
};

/* ---- Bus ---- */

struct pci_bus *pci_bus_new(struct vm *vm)
{
	struct pci_bus *b = hv_zalloc(sizeof(*b));

	b->vm = vm;
	return b;
}

void pci_bus_free(struct pci_bus *b)
{
	free(b);
}

void pci_bus_set_intx(struct pci_bus *b, const struct irq_line intx[4])
{
	memcpy(b->intx, intx, sizeof(b->intx));
}

struct pci_dev *pci_bus_dev(struct pci_bus *b, uint8_t devfn)
{
	return b->devs[devfn];
}

/* ---- INTx ---- */

bool pci_msix_enabled(const struct pci_dev *d)
{
	return d->msix.nvec &&
	       ld_le16(d->cfg + d->msix.cap + MSIX_CTRL) & MSIX_CTRL_ENABLE;
}

bool pci_msi_enabled(const struct pci_dev *d)
{
	return d->msi_cap && ld_le16(d->cfg + d->msi_cap + MSI_CTRL) & MSI_CTRL_ENABLE;
}

bool pci_master(const struct pci_dev *d)
{
	return d->cfg[PCI_COMMAND] & PCI_CMD_MASTER;
}

static void update_intx(struct pci_dev *d)
{
	bool masked = ld_le16(d->cfg + PCI_COMMAND) & PCI_CMD_INTX_OFF ||
		      pci_msix_enabled(d) || pci_msi_enabled(d);
	bool out = d->intx_level && !masked && d->cfg[PCI_INT_PIN];
	unsigned link;

	/* 6.2.3: the status bit shows the request even while INTx is disabled. */
	d->cfg[PCI_STATUS] &= ~PCI_STATUS_INTX;
	d->cfg[PCI_STATUS] |= d->intx_level ? PCI_STATUS_INTX : 0;
	if (out == d->intx_out || !d->bus)
		return;
	d->intx_out = out;
	link = pci_intx_link(d->devfn >> 3, d->cfg[PCI_INT_PIN]);
	d->bus->asserted[link] += out ? 1 : -1;
	irq_set(&d->bus->intx[link], d->bus->asserted[link] > 0);
}

void pci_set_irq(struct pci_dev *d, bool level)
{
	d->intx_level = level;
	update_intx(d);
}

/* ---- MSI (6.8.1) ---- */

void pci_msi_init(struct pci_dev *d)
{
	HV_BUG_ON(d->msi_cap);
	d->msi_cap = pci_add_cap(d, PCI_CAP_MSI, MSI_LEN);
	st_le16(d->cfg + d->msi_cap + MSI_CTRL, MSI_CTRL_64);
	st_le16(d->wmask + d->msi_cap + MSI_CTRL, MSI_CTRL_ENABLE);
	st_le64(d->wmask + d->msi_cap + MSI_ADDR, ~3ull);
	st_le16(d->wmask + d->msi_cap + MSI_DATA, 0xffff);
}

void pci_msi_notify(struct pci_dev *d)
{
	const uint8_t *cap = d->cfg + d->msi_cap;

	if (pci_msi_enabled(d) && pci_master(d))
		msi_send(&d->dev.vm->msi, ld_le64(cap + MSI_ADDR), ld_le16(cap + MSI_DATA));
}

/* ---- MSI-X (6.8.2) ---- */

static bool msix_bit(struct pci_dev *d, unsigned vec, int set)
{
	uint8_t *p = &d->msix.pba[vec / 8], bit = 1u << (vec & 7);
	bool old = *p & bit;

	if (set >= 0)
		*p = set ? *p | bit : *p & ~bit;
	return old;
}

void pci_msix_notify(struct pci_dev *d, unsigned vec)
{
	const uint8_t *ent;

	if (!pci_msix_enabled(d) || vec >= d->msix.nvec)
		return;
	ent = d->msix.table + vec * 16;
	if (ld_le16(d->cfg + d->msix.cap + MSIX_CTRL) & MSIX_CTRL_MASKALL ||
	    ent[12] & MSIX_VEC_MASKED) {
		msix_bit(d, vec, 1);
		return;
	}
	msix_bit(d, vec, 0);
	if (pci_master(d))
		msi_send(&d->dev.vm->msi, ld_le64(ent), ld_le32(ent + 8));
}

/* Something was unmasked: send what was held back. */
static void msix_flush(struct pci_dev *d)
{
	for (unsigned i = 0; i < d->msix.nvec; i++)
		if (msix_bit(d, i, -1))
			pci_msix_notify(d, i);
}

static uint64_t msix_read(struct device *dev, uint64_t off, unsigned size)
{
	struct pci_dev *d = container_of(dev, struct pci_dev, dev);
	uint8_t v[8] = { 0 };

	if (range_ok(off, size, d->msix.nvec * 16))
		memcpy(v, d->msix.table + off, size);
	else if (off >= MSIX_PBA_OFF &&
		 range_ok(off - MSIX_PBA_OFF, size, sizeof(d->msix.pba)))
		memcpy(v, d->msix.pba + (off - MSIX_PBA_OFF), size);
	return ld_le64(v);
}

static void msix_write(struct device *dev, uint64_t off, unsigned size, uint64_t val)
{
	struct pci_dev *d = container_of(dev, struct pci_dev, dev);
	uint8_t v[8];

	if (!range_ok(off, size, d->msix.nvec * 16))
		return;		/* the PBA is read-only */
	st_le64(v, val);
	memcpy(d->msix.table + off, v, size);
	d->msix.table[off / 16 * 16] &= ~3;	/* address is dword aligned */
	msix_flush(d);
}

static const struct io_ops msix_io = {
	.read = msix_read, .write = msix_write, .min_size = 4, .max_size = 8,
};

bool pci_msix_init(struct pci_dev *d, unsigned nvec, unsigned bar, struct err *e)
{
	uint8_t *cap;

	HV_BUG_ON(!nvec || nvec > PCI_MSIX_MAX || d->msix.nvec);
	if (!pci_bar_io(d, bar, PCI_BAR_MEM32, 4096, &msix_io, e))
		return false;
	d->msix.nvec = nvec;
	d->msix.bar = bar;
	d->msix.cap = pci_add_cap(d, PCI_CAP_MSIX, 12);
	cap = d->cfg + d->msix.cap;
	st_le16(cap + MSIX_CTRL, nvec - 1);
	st_le32(cap + 4, bar);
	st_le32(cap + 8, MSIX_PBA_OFF | bar);
	st_le16(d->wmask + d->msix.cap + MSIX_CTRL, MSIX_CTRL_ENABLE | MSIX_CTRL_MASKALL);
	for (unsigned i = 0; i < nvec; i++)
		d->msix.table[i * 16 + 12] = MSIX_VEC_MASKED;
	return true;
}

/* ---- BARs (6.2.5) ---- */

static unsigned bar_off(unsigned n)
{
	return n == PCI_ROM_SLOT ? PCI_ROM_BAR : PCI_BAR0 + 4 * n;
}

static bool bar_is_64(const struct pci_bar *b)
{
	return b->type == PCI_BAR_MEM64 || b->type == PCI_BAR_PREF64;
}

/* Where the registers say that BAR @n decodes now; UINT64_MAX: nowhere. */
static uint64_t bar_target(const struct pci_dev *d, unsigned n)
{
	const struct pci_bar *b = &d->bars[n];
	uint32_t lo = ld_le32(d->cfg + bar_off(n));
	uint64_t at = lo, limit = b->type == PCI_BAR_IO ? 0x10000 : GiB(4);
	uint16_t need = b->type == PCI_BAR_IO ? PCI_CMD_IO : PCI_CMD_MEM;

	if (!(d->cfg[PCI_COMMAND] & need))
		return UINT64_MAX;
	if (n == PCI_ROM_SLOT && !(lo & PCI_ROM_ENABLE))
		return UINT64_MAX;
	if (bar_is_64(b)) {
		at |= (uint64_t)ld_le32(d->cfg + bar_off(n) + 4) << 32;
		limit = 1ull << 52;
	}
	at &= ~(b->size - 1);
	/* Address 0 means "not assigned"; the top of the space is a sizing probe. */
	if (!at || !range_ok(at, b->size, limit) || at + b->size == limit)
		return UINT64_MAX;
	return at;
}

static bool bar_map_slot(struct pci_dev *d, struct pci_bar *b, uint64_t at)
{
	struct guest_mem *gm = d->dev.vm->mem;

	if (at != UINT64_MAX &&
	    gm_slot_set(gm, b->slot, GPA(at), b->block, 0, b->slot_flags))
		return true;
	(void)!gm_slot_set(gm, b->slot, GPA(0), b->block, 0, b->slot_flags | GM_DISABLED);
	return at == UINT64_MAX;
}

static void update_bars(struct pci_dev *d)
{
	for (unsigned n = 0; n <= PCI_ROM_SLOT; n++) {
		struct pci_bar *b = &d->bars[n];
		uint64_t at;
		bool ok;

		if (b->type == PCI_BAR_NONE)
			continue;
		at = bar_target(d, n);
		if (at == b->mapped_at)
			continue;
		if (b->block)
			ok = bar_map_slot(d, b, at);
		else
			ok = bus_move(d->dev.vm->bus, &b->region, at == UINT64_MAX ? 0 : at,
				      at != UINT64_MAX) || at == UINT64_MAX;
		if (!ok)
			dev_guest_error(&d->dev, "BAR %u at %#llx overlaps something", n,
					(unsigned long long)at);
		b->mapped_at = ok ? at : UINT64_MAX;
	}
}

static void bar_common(struct pci_dev *d, unsigned n, enum pci_bar_type type, uint64_t size)
{
	struct pci_bar *b = &d->bars[n];
	unsigned off = bar_off(n);
	uint32_t flags = 0;

	HV_BUG_ON(n > PCI_ROM_SLOT || b->type != PCI_BAR_NONE || !is_pow2(size));
	b->type = type;
	b->size = size;
	b->mapped_at = UINT64_MAX;
	HV_BUG_ON(bar_is_64(b) && n >= PCI_NUM_BARS - 1);
	if (type == PCI_BAR_IO)
		flags |= PCI_BAR_IS_IO;
	if (bar_is_64(b))
		flags |= PCI_BAR_IS_64;
	if (type == PCI_BAR_PREF32 || type == PCI_BAR_PREF64)
		flags |= PCI_BAR_IS_PREF;
	st_le32(d->cfg + off, n == PCI_ROM_SLOT ? 0 : flags);
	st_le32(d->wmask + off, (uint32_t)~(size - 1) | (n == PCI_ROM_SLOT ? PCI_ROM_ENABLE : 0));
	if (bar_is_64(b))
		st_le32(d->wmask + off + 4, (uint32_t)(~(size - 1) >> 32));
}

bool pci_bar_io(struct pci_dev *d, unsigned n, enum pci_bar_type type, uint64_t size,
		const struct io_ops *ops, struct err *e)
{
	HV_BUG_ON(size < (type == PCI_BAR_IO ? 4 : 16));
	bar_common(d, n, type, size);
	d->bars[n].region = (struct io_region){
		.kind = type == PCI_BAR_IO ? BUS_PIO : BUS_MMIO, .len = size,
		.ops = ops, .dev = &d->dev, .name = d->dev.id,
	};
	return true;
}

bool pci_bar_mem(struct pci_dev *d, unsigned n, enum pci_bar_type type, struct gm_block *block,
		 unsigned flags, struct err *e)
{
	HV_BUG_ON(type == PCI_BAR_IO || type == PCI_BAR_NONE);
	bar_common(d, n, type, gm_block_size(block));
	d->bars[n].block = block;
	d->bars[n].slot_flags = flags;
	d->bars[n].slot = gm_slot_add(d->dev.vm->mem, GPA(0), gm_block_size(block), block, 0,
				      flags | GM_DISABLED, e);
	return d->bars[n].slot != NULL;
}

/* ---- Functions ---- */

void pci_init(struct pci_dev *d, const struct pci_id *id)
{
	HV_BUG_ON(!d->bus || d->bus->devs[d->devfn] || id->int_pin > 4);
	d->bus->devs[d->devfn] = d;
	d->id = *id;
	st_le16(d->cfg + PCI_VENDOR_ID, id->vendor);
	st_le16(d->cfg + PCI_DEVICE_ID, id->device);
	st_le16(d->cfg + PCI_SUBSYS_VENDOR, id->subsys_vendor);
	st_le16(d->cfg + PCI_SUBSYS_ID, id->subsys_id);
	st_le16(d->cfg + PCI_CLASS_DEVICE, id->class_code);
	d->cfg[PCI_CLASS_PROG] = id->prog_if;
	d->cfg[PCI_REVISION] = id->revision;
	d->cfg[PCI_INT_PIN] = id->int_pin;
	st_le16(d->wmask + PCI_COMMAND, PCI_CMD_RW);
	st_le16(d->w1c + PCI_STATUS, PCI_STATUS_W1C);
	d->wmask[PCI_CACHE_LINE] = 0xff;
	d->wmask[PCI_LATENCY] = 0xff;
	d->wmask[PCI_INT_LINE] = 0xff;
	d->next_cap_off = 0x40;
}

uint8_t pci_add_cap(struct pci_dev *d, uint8_t cap_id, uint8_t len)
{
	uint8_t off = d->next_cap_off;

	HV_BUG_ON(len < 2 || off + len > PCI_CFG_SIZE);
	d->cfg[off] = cap_id;
	d->cfg[off + 1] = d->cfg[PCI_CAP_PTR];
	d->cfg[PCI_CAP_PTR] = off;
	d->cfg[PCI_STATUS] |= PCI_STATUS_CAPS;
	d->next_cap_off = (off + len + 3) & ~3;
	return off;
}

void pci_reset(struct pci_dev *d)
{
	for (unsigned i = 0; i < PCI_CFG_SIZE; i++)
		d->cfg[i] &= ~(d->wmask[i] | d->w1c[i]);
	d->intx_level = false;
	memset(d->msix.table, 0, sizeof(d->msix.table));
	memset(d->msix.pba, 0, sizeof(d->msix.pba));
	for (unsigned i = 0; i < d->msix.nvec; i++)
		d->msix.table[i * 16 + 12] = MSIX_VEC_MASKED;
	update_bars(d);
	update_intx(d);
}

bool pci_post_load(struct pci_dev *d, struct err *e)
{
	if (ld_le16(d->cfg + PCI_VENDOR_ID) != d->id.vendor ||
	    ld_le16(d->cfg + PCI_DEVICE_ID) != d->id.device ||
	    ld_le16(d->cfg + PCI_CLASS_DEVICE) != d->id.class_code ||
	    d->cfg[PCI_INT_PIN] != d->id.int_pin)
		return err_set(e, HV_EXIT_IMAGE, "the saved PCI function %02x.%x is another device",
			       d->devfn >> 3, d->devfn & 7);
	update_bars(d);
	update_intx(d);
	return true;
}

/* ---- Configuration cycles ---- */

uint32_t pci_cfg_read(struct pci_bus *b, uint8_t devfn, unsigned off, unsigned size)
{
	struct pci_dev *d = b->devs[devfn];
	uint8_t v[4] = { 0 };
	uint32_t val;

	if (!d || !range_ok(off, size, PCI_CFG_SIZE) || size > 4)
		return UINT32_MAX;
	memcpy(v, d->cfg + off, size);
	val = ld_le32(v);
	return d->cfg_read ? d->cfg_read(d, off, size, val) : val;
}

static bool touches(unsigned off, unsigned size, unsigned from, unsigned len)
{
	return off < from + len && from < off + size;
}

void pci_cfg_write(struct pci_bus *b, uint8_t devfn, unsigned off, unsigned size, uint32_t val)
{
	struct pci_dev *d = b->devs[devfn];
	uint32_t old = 0;

	if (!d || !range_ok(off, size, PCI_CFG_SIZE) || size > 4)
		return;
	for (unsigned i = 0; i < size; i++) {
		uint8_t *p = &d->cfg[off + i], m = d->wmask[off + i], v = val >> (8 * i);

		old |= (uint32_t)*p << (8 * i);
		*p = (*p & ~m) | (v & m);
		*p &= ~(v & d->w1c[off + i]);
	}
	if (touches(off, size, PCI_COMMAND, 2) || touches(off, size, PCI_BAR0, 24) ||
	    touches(off, size, PCI_ROM_BAR, 4))
		update_bars(d);
	update_intx(d);
	if (d->msix.nvec && touches(off, size, d->msix.cap, 4))
		msix_flush(d);
	if (d->cfg_written)
		d->cfg_written(d, off, size, old);
}
