/* SPDX-License-Identifier: MIT */
/*
 * Serial ATA AHCI host bus adapter (AHCI 1.3.1) with six ports, as the
 * Intel ICH9 has it (document 316972, chapter 14): registers, resets,
 * interrupts.  Commands: ahci_cmd.c, frames: ahci_fis.c, drives: ata.h.
 *
 * Left out: hot-plug of drives, port multipliers, command completion
 * coalescing, enclosure management, link power states (accepted, nothing
 * sleeps), index/data ports.
 */
#include "ahci_int.h"
#include "../src/vm.h"
#include <stdio.h>

#define BAR_ABAR 5
#define ABAR_SIZE 0x1000u
#define PORT_BASE 0x100u
#define PORT_SIZE 0x80u

/* CAP (3.1.1): 6 ports, 32 slots, AHCI only, Gen 3, CLO, activity LED, NCQ, 64-bit */
#define CAP_VALUE ((AHCI_PORTS - 1) | 31u << 8 | 1u << 18 | 3u << 20 | 1u << 24 | 1u << 25 | \
		   1u << 30 | 1u << 31)
#define VERSION 0x00010301u
#define GHC_HR (1u << 0)
#define GHC_IE (1u << 1)
#define GHC_AE (1u << 31)

#define SSTS_UP 0x133u		/* device present, Gen 3, interface active */
#define SERR_X (1u << 26)
#define SERR_N (1u << 16)
#define IE_MASK 0xfdc000ffu	/* bits of PxIE that exist */
#define CMD_RW (CMD_ST | CMD_FRE | CMD_ATAPI | 0xfe000000u)

/* HBA registers */
enum { R_CAP = 0x00, R_GHC = 0x04, R_IS = 0x08, R_PI = 0x0c, R_VS = 0x10 };
/* Port registers (3.3) */
enum {
	PX_CLB = 0x00, PX_CLBU = 0x04, PX_FB = 0x08, PX_FBU = 0x0c, PX_IS = 0x10, PX_IE = 0x14,
	PX_CMD = 0x18, PX_TFD = 0x20, PX_SIG = 0x24, PX_SSTS = 0x28, PX_SCTL = 0x2c,
	PX_SERR = 0x30, PX_SACT = 0x34, PX_CI = 0x38,
};

static const struct state_field port_state[] = {
	STATE_STRUCT(struct ahci_port, ata, ata_port_state),
	STATE_U32(struct ahci_port, is),
	STATE_U32(struct ahci_port, ie),
	STATE_U32(struct ahci_port, cmd),
	STATE_U32(struct ahci_port, sctl),
	STATE_U32(struct ahci_port, serr),
	STATE_U32(struct ahci_port, sact),
	STATE_U32(struct ahci_port, ci),
	STATE_U64(struct ahci_port, clb),
	STATE_U64(struct ahci_port, fb),
	STATE_U32(struct ahci_port, sig),
	STATE_BOOL(struct ahci_port, link),
	STATE_BOOL(struct ahci_port, srst),
	STATE_BOOL(struct ahci_port, fis_due),
	STATE_BOOL(struct ahci_port, halted),
	STATE_END
};

static const struct state_field ahci_state[] = {
	PCI_STATE(struct ahci, pci),
	STATE_U32(struct ahci, ghc),
	STATE_U32(struct ahci, is),
	STATE_STRUCTS(struct ahci, port, port_state),
	STATE_END
};

static struct ahci *to_ahci(struct device *d)
{
	return container_of(d, struct ahci, pci.dev);
}

/* ---- Interrupts (5.6.2) ---- */

/* Bits that only mirror PxSERR. */
static uint32_t port_is(const struct ahci_port *p)
{
	return p->is | (p->serr & SERR_X ? IS_PCS : 0) | (p->serr & SERR_N ? IS_PRCS : 0);
}

static void update_irq(struct ahci *s)
{
	uint32_t old = s->is;
	bool level, was = s->pci.intx_level;

	for (unsigned i = 0; i < AHCI_PORTS; i++)
		if (port_is(&s->port[i]) & s->port[i].ie)
			s->is |= 1u << i;
	level = s->ghc & GHC_IE && s->is;
	pci_set_irq(&s->pci, level);
	/* 2.3 and 5.6.2: a message when a port comes into IS, and when IE opens the gate. */
	if (level && (!was || s->is & ~old))
		pci_msi_notify(&s->pci);
}

void ahci_event(struct ahci_port *p, uint32_t bits)
{
	p->is |= bits;
	update_irq(p->hba);
}

/* ---- Resets (10.4) ---- */

/* The device comes up: it reports its presence and sends its signature. */
static void link_up(struct ahci_port *p)
{
	struct ata_drive *u = &p->ata.unit[0];

	p->link = u->present;
	p->srst = false;
	p->sig = UINT32_MAX;
	p->fis_due = false;
	if (!p->link)
		return;
	p->serr |= SERR_X;
	ata_signature(u);
	ahci_signature(p);
	update_irq(p->hba);
}

static void comreset(struct ahci_port *p)
{
	ahci_abandon(p);
	ata_reset(&p->ata);
	p->link = false;
	p->ci = p->sact = 0;
}

static void reset_port(struct ahci_port *p)
{
	comreset(p);
	p->is = p->ie = p->sctl = p->serr = 0;
	p->clb = p->fb = 0;
	p->cmd = CMD_SUD | CMD_POD;
	p->halted = false;
	link_up(p);
}

static void hba_reset(struct ahci *s)
{
	s->ghc = GHC_AE;
	s->is = 0;
	for (unsigned i = 0; i < AHCI_PORTS; i++)
		reset_port(&s->port[i]);
	s->is = 0;
	update_irq(s);
}

/* ---- Port registers ---- */

static uint32_t read_tfd(const struct ahci_port *p)
{
	const struct ata_drive *u = &p->ata.unit[0];

	return p->link ? u->status | (uint32_t)u->error << 8 : 0x7f;
}

static uint32_t read_cmd(const struct ahci_port *p)
{
	uint32_t v = p->cmd;

	v |= v & CMD_ST ? CMD_CR : 0;
	v |= v & CMD_FRE ? CMD_FR : 0;
	return v | (uint32_t)(p->slot >= 0 ? p->slot : 0) << 8;
}

static uint32_t port_read(struct ahci_port *p, unsigned reg)
{
	switch (reg) {
	case PX_CLB:
		return p->clb;
	case PX_CLBU:
		return p->clb >> 32;
	case PX_FB:
		return p->fb;
	case PX_FBU:
		return p->fb >> 32;
	case PX_IS:
		return port_is(p);
	case PX_IE:
		return p->ie;
	case PX_CMD:
		return read_cmd(p);
	case PX_TFD:
		return read_tfd(p);
	case PX_SIG:
		return p->sig;
	case PX_SSTS:
		return p->link ? SSTS_UP : 0;
	case PX_SCTL:
		return p->sctl;
	case PX_SERR:
		return p->serr;
	case PX_SACT:
		return p->sact;
	case PX_CI:
		return p->ci;
	default:
		return 0;
	}
}

/* 3.3.7 and 10.3: start and stop of the command list and of FIS receive. */
static void write_cmd(struct ahci_port *p, uint32_t v)
{
	uint32_t old = p->cmd;
	struct ata_drive *u = &p->ata.unit[0];

	p->cmd = (v & CMD_RW) | CMD_SUD | CMD_POD;
	if (old & CMD_ST && !(v & CMD_ST)) {
		ahci_abandon(p);
		p->ci = p->sact = 0;
		p->halted = false;
		if (p->link && u->status & (ST_BSY | ST_DRQ))
			u->status = ST_DRDY | ST_DSC;
	}
	if (v & CMD_CLO && !(old & CMD_ST))
		u->status &= ~(ST_BSY | ST_DRQ);
	if (v & CMD_FRE && !(old & CMD_FRE) && p->fis_due) {
		p->fis_due = false;
		ahci_post_d2h(p, false);
	}
	ahci_process(p);
}

static void write_sctl(struct ahci_port *p, uint32_t v)
{
	uint32_t old = p->sctl & 15;

	p->sctl = v & 0xfff;
	if ((v & 15) == 1 || (v & 15) == 4) {	/* COMRESET, or interface off */
		if (old != (v & 15))
			comreset(p);
	} else if (old == 1 || old == 4) {
		link_up(p);
	}
}

static void port_write(struct ahci_port *p, unsigned reg, uint32_t v)
{
	switch (reg) {
	case PX_CLB:
		p->clb = (p->clb & ~0xffffffffull) | (v & ~0x3ffu);
		break;
	case PX_CLBU:
		p->clb = (uint32_t)p->clb | (uint64_t)v << 32;
		break;
	case PX_FB:
		p->fb = (p->fb & ~0xffffffffull) | (v & ~0xffu);
		break;
	case PX_FBU:
		p->fb = (uint32_t)p->fb | (uint64_t)v << 32;
		break;
	case PX_IS:
		p->is &= ~v;
		break;
	case PX_IE:
		p->ie = v & IE_MASK;
		break;
	case PX_CMD:
		write_cmd(p, v);
		break;
	case PX_SCTL:
		write_sctl(p, v);
		break;
	case PX_SERR:
		p->serr &= ~v;
		break;
	case PX_SACT:
		p->sact |= p->cmd & CMD_ST ? v : 0;
		break;
	case PX_CI:
		p->ci |= p->cmd & CMD_ST ? v : 0;
		ahci_process(p);
		break;
	}
	update_irq(p->hba);
}

/* ---- Bus ---- */

static uint64_t abar_read(struct device *d, uint64_t off, unsigned size)
{
	struct ahci *s = to_ahci(d);

	if (off >= PORT_BASE) {
		unsigned n = (off - PORT_BASE) / PORT_SIZE;

		return n < AHCI_PORTS ? port_read(&s->port[n], (off - PORT_BASE) % PORT_SIZE) : 0;
	}
	switch (off) {
	case R_CAP:
		return CAP_VALUE;
	case R_GHC:
		return s->ghc;
	case R_IS:
		return s->is;
	case R_PI:
		return (1u << AHCI_PORTS) - 1;
	case R_VS:
		return VERSION;
	default:
		return 0;
	}
}

static void abar_write(struct device *d, uint64_t off, unsigned size, uint64_t val)
{
	struct ahci *s = to_ahci(d);

	if (off >= PORT_BASE) {
		unsigned n = (off - PORT_BASE) / PORT_SIZE;

		if (n < AHCI_PORTS)
			port_write(&s->port[n], (off - PORT_BASE) % PORT_SIZE, val);
		return;
	}
	if (off == R_GHC) {
		if (val & GHC_HR)
			hba_reset(s);
		else
			s->ghc = (val & GHC_IE) | GHC_AE;
	} else if (off == R_IS) {
		s->is &= ~(uint32_t)val;
		s->pci.intx_level = false;	/* what is left asks again */
	}
	update_irq(s);
}

static const struct io_ops abar_io = {
	.read = abar_read, .write = abar_write, .min_size = 4, .max_size = 4,
};

/* ---- Life ---- */

static void process_all(void *opaque)
{
	struct ahci *s = opaque;

	for (unsigned i = 0; i < AHCI_PORTS; i++)
		ahci_process(&s->port[i]);
}

static void cfg_written(struct pci_dev *d, unsigned off, unsigned size, uint32_t old)
{
	if (off <= PCI_COMMAND && PCI_COMMAND < off + size)	/* bus mastering may be on now */
		process_all(container_of(d, struct ahci, pci));
}

static void init_port(struct ahci *s, unsigned i)
{
	struct ahci_port *p = &s->port[i];

	p->hba = s;
	p->index = i;
	p->ata.tr = &ahci_transport;
	p->ata.dev = &s->pci.dev;
	p->ata.unit[0].sata = true;
	p->slot = -1;
	for (unsigned k = 0; k < AHCI_SLOTS; k++) {
		p->req[k].port = p;
		p->req[k].slot = k;
	}
}

static bool ahci_realize(struct device *d, struct err *e)
{
	static const struct pci_id id = {
		.vendor = 0x8086, .device = 0x2922, .class_code = 0x0106, .prog_if = 0x01,
		.revision = 2, .subsys_vendor = 0x1af4, .subsys_id = 0x1100, .int_pin = 1,
	};
	struct ahci *s = to_ahci(d);

	pci_init(&s->pci, &id);
	s->pci.cfg_written = cfg_written;
	pci_msi_init(&s->pci);
	s->work = (struct loop_work){ .fn = process_all, .opaque = s };
	for (unsigned i = 0; i < AHCI_PORTS; i++) {
		init_port(s, i);
		if (s->wiring[i].used &&
		    !ata_attach(&s->port[i].ata, 0, s->wiring[i].block, s->wiring[i].cdrom,
				s->wiring[i].readonly, s->wiring[i].serial, e))
			return false;
	}
	return pci_bar_io(&s->pci, BAR_ABAR, PCI_BAR_MEM32, ABAR_SIZE, &abar_io, e);
}

static void ahci_reset(struct device *d)
{
	struct ahci *s = to_ahci(d);

	hba_reset(s);
	for (unsigned i = 0; i < AHCI_PORTS; i++)
		ata_power_on(&s->port[i].ata);
	pci_reset(&s->pci);
}

static void ahci_unrealize(struct device *d)
{
	struct ahci *s = to_ahci(d);

	for (unsigned i = 0; i < AHCI_PORTS; i++) {
		ahci_abandon(&s->port[i]);
		for (unsigned k = 0; k < AHCI_SLOTS; k++)
			sg_free(&s->port[i].req[k].sg);
	}
}

static void ahci_pre_save(struct device *d)
{
	for (unsigned i = 0; i < AHCI_PORTS; i++)
		ahci_drain(&to_ahci(d)->port[i]);
}

static bool port_valid(struct ahci_port *p)
{
	return ata_state_valid(&p->ata) && p->ata.sel == 0 && p->ata.xfer == XFER_NONE &&
	       !ata_busy(&p->ata) && (!p->link || p->ata.unit[0].present);
}

static bool ahci_post_load(struct device *d, struct err *e)
{
	struct ahci *s = to_ahci(d);

	for (unsigned i = 0; i < AHCI_PORTS; i++) {
		struct ahci_port *p = &s->port[i];

		if (!port_valid(p))
			return err_set(e, HV_EXIT_IMAGE, "the saved AHCI state is not valid");
		p->clb &= ~0x3ffull;
		p->fb &= ~0xffull;
		p->cmd &= CMD_RW | CMD_SUD | CMD_POD;
		p->issued = 0;
		p->slot = -1;
	}
	if (!pci_post_load(&s->pci, e))
		return false;
	update_irq(s);
	loop_post(d->vm->loop, &s->work);
	return true;
}

void ahci_set_drive(struct device *d, unsigned port, struct block *block, bool cdrom,
		    bool readonly, const char *serial)
{
	struct ahci *s = to_ahci(d);

	HV_BUG_ON(port >= AHCI_PORTS || s->wiring[port].used);
	s->wiring[port].used = true;
	s->wiring[port].block = block;
	s->wiring[port].cdrom = cdrom;
	s->wiring[port].readonly = readonly;
	snprintf(s->wiring[port].serial, sizeof(s->wiring[port].serial), "%s", serial);
}

void ahci_set_medium(struct device *d, unsigned port, struct block *block)
{
	struct ahci_port *p = &to_ahci(d)->port[port];

	HV_BUG_ON(port >= AHCI_PORTS || !p->ata.unit[0].cdrom);
	ahci_drain(p);
	cd_set_medium(&p->ata.unit[0].cd, block);
}

static struct media_tray tray(struct device *d, unsigned port, bool wish)
{
	return cd_tray(&to_ahci(d)->port[port].ata.unit[0].cd, wish);
}

/* See ata_power_on(). */
static bool resized(struct device *d, unsigned port)
{
	return false;
}

const struct media_ops ahci_media = {
	.set = ahci_set_medium, .tray = tray, .resized = resized,
};

const struct device_ops ahci_ops = {
	.name = "ahci",
	.size = sizeof(struct ahci),
	.realize = ahci_realize,
	.reset = ahci_reset,
	.unrealize = ahci_unrealize,
	.state = ahci_state,
	.state_version = 1,
	.post_load = ahci_post_load,
	.pre_save = ahci_pre_save,
};
