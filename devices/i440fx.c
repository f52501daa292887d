/* SPDX-License-Identifier: MIT */
/*
 * Intel 82441FX (440FX PMC): host bridge, PCI configuration mechanism #1,
 * the PAM shadow RAM registers, and the reset control register (Intel
 * document 290549-001; port CF9h belongs to the PIIX3, document 290550-002
 * section 2.4.1, and is decoded here because it lies inside CF8h-CFBh).
 *
 * PAM: each of the 13 areas of C0000-FFFFF is one memory slot that shows
 * RAM, read-only RAM or the firmware ROM.  Where reads come from the ROM and
 * writes go to RAM (RE=0, WE=1) a bus region behind the slot takes the writes.
 *
 * SMRAM (3.2.21): G_SMRAME shows the RAM behind the VGA window to processors in
 * system management mode, with D_CLS to their code fetches only; D_OPEN shows
 * it to all; D_LCK closes it for good and freezes the register.
 *
 * Left out: DRAM row registers, error reporting.
 */
#include "chipset.h"
#include "../src/vm.h"

#define CFG_PAM0 0x59
#define CFG_SMRAM 0x72
#define SMRAM_OPEN 0x40
#define SMRAM_CLOSED 0x20
#define SMRAM_LOCK 0x10
#define SMRAM_ENABLE 0x08
#define SMRAM_BITS 0x7f
#define SMRAM_BASE 0x02		/* A0000-BFFFF, the only one there is */
#define SMRAM_AT 0xa0000u
#define SMRAM_LEN 0x20000u
#define PAM_RE 1
#define PAM_WE 2
#define PAM_AREAS 13
#define PAM_START 0xc0000u
#define RCR_HARD 0x02
#define RCR_GO 0x04
#define CFGADDR_ENABLE 0x80000000u

struct i440fx {
	struct pci_dev pci;
	struct pci_bus *bus;
	struct gm_block *ram, *bios;	/* immutable after realize; may be NULL in tests */
	struct gm_slot *pam[PAM_AREAS], *smram;
	struct io_region pam_write;		/* enabled while an area has RE=0, WE=1 */
	struct io_region addr_region, data_region;
	uint32_t config_addr;
	uint8_t rcr;
};
PCI_DEVICE_CHECK(struct i440fx);

static const struct state_field i440fx_state[] = {
	PCI_STATE(struct i440fx, pci),
	STATE_U32(struct i440fx, config_addr),
	STATE_U8(struct i440fx, rcr),
	STATE_END
};

static struct i440fx *to_i440fx(struct device *d)
{
	return container_of(d, struct i440fx, pci.dev);
}

/* ---- PAM (3.2.18): area 0 is F0000-FFFFF, 1..12 are 16 KiB each from C0000 ---- */

static uint64_t pam_base(unsigned area)
{
	return area ? 0xc0000 + (area - 1) * KiB(16) : 0xf0000;
}

static uint64_t pam_len(unsigned area)
{
	return area ? KiB(16) : KiB(64);
}

static unsigned pam_attr(const struct i440fx *s, unsigned area)
{
	uint8_t v = s->pci.cfg[CFG_PAM0 + (area + 1) / 2];

	/* PAM0 uses its high nibble only; then low, high, low, high ... */
	return area & 1 ? v & 3 : v >> 4 & 3;
}

/* Where the firmware image shows @gpa; false: no ROM there. */
static bool rom_offset(const struct i440fx *s, uint64_t gpa, uint64_t *off)
{
	uint64_t size = s->bios ? gm_block_size(s->bios) : 0, from_end = MiB(1) - gpa;

	if (from_end > size || gpa < 0xe0000)
		return false;
	*off = size - from_end;
	return true;
}

static void update_pam(struct i440fx *s)
{
	struct guest_mem *gm = s->pci.dev.vm->mem;
	bool write_only = false;

	for (unsigned i = 0; i < PAM_AREAS; i++) {
		uint64_t at = pam_base(i), off;
		unsigned attr = pam_attr(s, i);
		bool ok = true;

		if (!s->pam[i])
			continue;
		if (attr & PAM_RE)
			ok = gm_slot_set(gm, s->pam[i], GPA(at), s->ram, at,
					 GM_RESERVED | (attr & PAM_WE ? 0 : GM_READONLY));
		else if (rom_offset(s, at, &off))
			ok = gm_slot_set(gm, s->pam[i], GPA(at), s->bios, off,
					 GM_RESERVED | GM_READONLY);
		else
			ok = gm_slot_set(gm, s->pam[i], GPA(at), s->ram, at,
					 GM_RESERVED | GM_DISABLED);
		HV_BUG_ON(!ok);
		write_only |= attr == PAM_WE;
	}
	if (s->ram && !bus_move(s->pci.dev.vm->bus, &s->pam_write, PAM_START, write_only))
		dev_guest_error(&s->pci.dev, "write-only shadow RAM below a device");
}

/* What no slot answers: holes, and writes to ROM. */
static uint64_t pam_read(struct device *d, uint64_t off, unsigned size)
{
	return UINT64_MAX;
}

static void pam_write(struct device *d, uint64_t off, unsigned size, uint64_t val)
{
	struct i440fx *s = to_i440fx(d);
	uint64_t at = PAM_START + off;
	unsigned area = at >= 0xf0000 ? 0 : 1 + (unsigned)(off / KiB(16));
	uint8_t b[8];

	st_le64(b, val);
	if (pam_attr(s, area) == PAM_WE && !gm_block_write(s->ram, at, b, size))
		dev_guest_error(d, "shadow RAM outside memory");
}

static const struct io_ops pam_ops = {
	.read = pam_read, .write = pam_write, .min_size = 1, .max_size = 8,
};

/* ---- SMRAM ---- */

static void update_smram(struct i440fx *s)
{
	uint8_t v = s->pci.cfg[CFG_SMRAM];
	bool open = (v & (SMRAM_OPEN | SMRAM_ENABLE)) == (SMRAM_OPEN | SMRAM_ENABLE);

	if (v & SMRAM_LOCK)
		s->pci.wmask[CFG_SMRAM] = 0;
	if (!s->smram)
		return;
	HV_BUG_ON(!gm_slot_set(s->pci.dev.vm->mem, s->smram, GPA(SMRAM_AT), s->ram, SMRAM_AT,
			       GM_RESERVED | (open ? 0 : GM_DISABLED)));
	gm_set_smram(s->pci.dev.vm->mem, GPA(SMRAM_AT), SMRAM_LEN,
		     v & SMRAM_ENABLE ? s->ram : NULL, SMRAM_AT, v & SMRAM_CLOSED);
}

static void smram_written(struct i440fx *s)
{
	uint8_t *v = &s->pci.cfg[CFG_SMRAM];

	if (*v & SMRAM_LOCK)
		*v &= ~SMRAM_OPEN;
	update_smram(s);
}

void i440fx_open_pam(struct device *d)
{
	struct i440fx *s = to_i440fx(d);

	s->pci.cfg[CFG_PAM0] = 0x30;
	memset(s->pci.cfg + CFG_PAM0 + 1, 0x33, 6);
	update_pam(s);
}

static void cfg_written(struct pci_dev *p, unsigned off, unsigned size, uint32_t old)
{
	if (off + size > CFG_PAM0 && off <= CFG_PAM0 + 6)
		update_pam(to_i440fx(&p->dev));
	if (off <= CFG_SMRAM && off + size > CFG_SMRAM)
		smram_written(to_i440fx(&p->dev));
}

/* ---- Ports ---- */

static uint64_t addr_read(struct device *d, uint64_t off, unsigned size)
{
	struct i440fx *s = to_i440fx(d);

	if (size == 4)
		return s->config_addr;
	return off == 1 && size == 1 ? s->rcr : (size == 1 ? 0xff : 0xffff);
}

static void rcr_write(struct i440fx *s, uint8_t v)
{
	/* The reset happens on the 0 -> 1 edge of bit 2; bit 1 (hard or CPU only) is the
	 * same to us: with PIIX3 firmware both are used to restart the machine. */
	if (v & RCR_GO && !(s->rcr & RCR_GO))
		vm_request_reset(s->pci.dev.vm);
	s->rcr = v & (RCR_HARD | RCR_GO);
}

static void addr_write(struct device *d, uint64_t off, unsigned size, uint64_t val)
{
	struct i440fx *s = to_i440fx(d);

	/* Only a full dword reaches the address register. */
	if (size == 4)
		s->config_addr = val & 0x80fffffc;
	else if (off == 1 && size == 1)
		rcr_write(s, val);
}

static uint64_t data_read(struct device *d, uint64_t off, unsigned size)
{
	struct i440fx *s = to_i440fx(d);
	uint32_t a = s->config_addr;

	if (!(a & CFGADDR_ENABLE) || a >> 16 & 0xff)
		return UINT64_MAX;
	return pci_cfg_read(s->bus, a >> 8, (a & 0xfc) + off, size);
}

static void data_write(struct device *d, uint64_t off, unsigned size, uint64_t val)
{
	struct i440fx *s = to_i440fx(d);
	uint32_t a = s->config_addr;

	if (a & CFGADDR_ENABLE && !(a >> 16 & 0xff))
		pci_cfg_write(s->bus, a >> 8, (a & 0xfc) + off, size, val);
}

static const struct io_ops addr_io = {
	.read = addr_read, .write = addr_write, .min_size = 1, .max_size = 4,
};
static const struct io_ops data_io = {
	.read = data_read, .write = data_write, .min_size = 1, .max_size = 4,
};

/* ---- Life ---- */

static bool realize_pam(struct i440fx *s, struct err *e)
{
	for (unsigned i = 0; s->ram && i < PAM_AREAS; i++) {
		s->pam[i] = gm_slot_add(s->pci.dev.vm->mem, GPA(pam_base(i)), pam_len(i), s->ram,
					pam_base(i), GM_RESERVED | GM_DISABLED, e);
		if (!s->pam[i])
			return false;
	}
	if (!s->ram)
		return true;
	s->pam_write = (struct io_region){ .kind = BUS_MMIO, .base = PAM_START, .len = KiB(256),
					   .ops = &pam_ops, .dev = &s->pci.dev, .name = "pam" };
	s->smram = gm_slot_add(s->pci.dev.vm->mem, GPA(SMRAM_AT), SMRAM_LEN, s->ram, SMRAM_AT,
			       GM_RESERVED | GM_DISABLED, e);
	return s->smram != NULL;
}

static bool i440fx_realize(struct device *d, struct err *e)
{
	static const struct pci_id id = {
		.vendor = 0x8086, .device = 0x1237, .class_code = 0x0600, .revision = 2,
		/* SeaBIOS looks here to find out that the machine is virtual */
		.subsys_vendor = 0x1af4, .subsys_id = 0x1100,
	};
	struct i440fx *s = to_i440fx(d);

	s->bus = pci_bus_new(d->vm);
	pci_place(d, s->bus, CHIPSET_I440FX_DEVFN);
	pci_init(&s->pci, &id);
	memset(s->pci.wmask + 0x50, 0xff, 0x4c);	/* 3.2.11-3.2.25 */
	s->pci.wmask[CFG_PAM0] = 0x30;
	memset(s->pci.wmask + CFG_PAM0 + 1, 0x33, 6);
	s->pci.cfg_written = cfg_written;
	if (!realize_pam(s, e))
		return false;
	s->addr_region = (struct io_region){ .kind = BUS_PIO, .base = 0xcf8, .len = 4,
					     .ops = &addr_io, .name = "pci-address" };
	s->data_region = (struct io_region){ .kind = BUS_PIO, .base = 0xcfc, .len = 4,
					     .ops = &data_io, .name = "pci-data" };
	return dev_add_region(d, &s->addr_region, e) && dev_add_region(d, &s->data_region, e);
}

static void i440fx_reset(struct device *d)
{
	struct i440fx *s = to_i440fx(d);

	s->config_addr = 0;
	s->rcr = 0;
	/* Firmware finds its shadow as it left it: SeaBIOS tells a wake-up from a start by it. */
	if (d->vm->reset_kind != VM_RESET_COLD)
		return;
	pci_reset(&s->pci);
	s->pci.cfg[CFG_SMRAM] = SMRAM_BASE;
	s->pci.wmask[CFG_SMRAM] = SMRAM_BITS & ~7;
	update_pam(s);
	update_smram(s);
}

static void i440fx_unrealize(struct device *d)
{
	pci_bus_free(to_i440fx(d)->bus);
}

static bool i440fx_post_load(struct device *d, struct err *e)
{
	struct i440fx *s = to_i440fx(d);

	s->config_addr &= 0x80fffffc;
	s->pci.cfg[CFG_SMRAM] = (s->pci.cfg[CFG_SMRAM] & SMRAM_BITS & ~7) | SMRAM_BASE;
	s->pci.wmask[CFG_SMRAM] = SMRAM_BITS & ~7;
	update_pam(s);
	smram_written(s);
	return pci_post_load(&s->pci, e);
}

void i440fx_set_memory(struct device *d, struct gm_block *ram, struct gm_block *bios)
{
	to_i440fx(d)->ram = ram;
	to_i440fx(d)->bios = bios;
}

struct pci_bus *i440fx_bus(struct device *d)
{
	return to_i440fx(d)->bus;
}

const struct device_ops i440fx_ops = {
	.name = "i440fx",
	.size = sizeof(struct i440fx),
	.realize = i440fx_realize,
	.reset = i440fx_reset,
	.unrealize = i440fx_unrealize,
	.state = i440fx_state,
	.state_version = 1,
	.post_load = i440fx_post_load,
};
